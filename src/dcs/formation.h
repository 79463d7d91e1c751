/* formation.h - how the agents' own etcd members find together. Pure.
 *
 * Each agent tells the others what it has (GET /baton/store); from its own state and the answers of
 * all configured peers it decides alone. The dangers are two clusters where one was meant, and a
 * member that comes back under its old identity without what it had voted and written. Hence:
 *
 *   START      there is data: go on with it, whatever the others say.
 *   JOIN       a peer belongs to a cluster that has a leader: be added to it. A member with our
 *              address is a former self that lost its data: it is removed first, so that the new
 *              one has a new identity.
 *   BOOTSTRAP  all listed peers answer and have nothing, and all list the same peers; or some have
 *              already begun to bootstrap with a cluster that names us, and all others have
 *              nothing.
 *   WAIT       anything else. One peer that does not answer may hold the data, or may be a member
 *              without a leader.
 *
 * Lists must agree only to form a store: a new host joins a running one although the old hosts do
 * not list it.
 *
 * Three fresh nodes: all answer "new", each computes the same initial cluster from the same
 * answers, each starts. One that is late sees "forming" and starts with what that one says, or sees
 * a member with a leader and joins. */
#pragma once

#include "dcs/etcd_wire.h"

#define FORMATION_PEERS_MAX ETCD_MEMBERS_MAX
#define FORMATION_CLUSTER_SIZE ((ETCD_NAME_SIZE + ETCD_URL_SIZE + 2) * FORMATION_PEERS_MAX)
#define FORMATION_TOKEN_SIZE 128
#define FORMATION_HASH_SIZE 17

enum store_state {
    STORE_UNREACHABLE, /* no answer, none that could be understood, or it cannot read its folder */
    STORE_NEW,         /* no data */
    STORE_FORMING,     /* bootstraps with `initial_cluster`; has not seen a leader yet */
    STORE_MEMBER,      /* has data of a cluster */
    STORE_LEFT,        /* was taken out, and stays out */
};

/* What one node answers to the others. */
struct store_answer {
    enum store_state state;
    bool has_leader; /* of MEMBER: its server runs and knows a leader */
    char name[ETCD_NAME_SIZE];
    char peer_url[ETCD_URL_SIZE];
    char client_url[ETCD_URL_SIZE];
    char cluster_id[24];            /* "": not known */
    char list[FORMATION_HASH_SIZE]; /* formation_hash of the peers that it is configured with */
    char token[FORMATION_TOKEN_SIZE];
    char initial_cluster[FORMATION_CLUSTER_SIZE]; /* of FORMING */
    char status[256];                             /* what it is doing, for people */
};

/* This node. */
struct formation_self {
    char name[ETCD_NAME_SIZE];
    char peer_url[ETCD_URL_SIZE];
    char client_url[ETCD_URL_SIZE];
    char list[FORMATION_HASH_SIZE];
    bool has_data;
};

/* A configured peer (its REST address) and its last answer. This node itself may be among them. */
struct formation_peer {
    char address[ETCD_URL_SIZE];
    struct store_answer answer;
};

enum formation_step {
    FORMATION_WAIT,
    FORMATION_START,
    FORMATION_BOOTSTRAP, /* with `token` and `initial_cluster`, state new */
    FORMATION_JOIN,      /* through one of `via` */
};

struct formation_plan {
    enum formation_step step;
    char why[256]; /* for people */
    char token[FORMATION_TOKEN_SIZE];
    char initial_cluster[FORMATION_CLUSTER_SIZE];
    unsigned via_count;
    char via[FORMATION_PEERS_MAX][ETCD_URL_SIZE]; /* client addresses of members */
};

/* Decide. PEERS: all configured peers, COUNT of them. */
void formation_decide(
    const struct formation_self *self, const struct formation_peer *peers, unsigned count,
    struct formation_plan *plan);

/* The same for every order of ADDRESSES, and different for another scope. */
void formation_hash(
    const char *scope, const char *const *addresses, unsigned count, char *ret, size_t size);

/* Names and addresses become arguments of etcd: whether TEXT could not turn into a list there. */
bool formation_is_plain(const char *text);

/* What to do about MEMBERS of a cluster that SELF (without data) is to be added to. */
enum formation_entry {
    FORMATION_ADD,      /* nothing in the way */
    FORMATION_REMOVE,   /* *ret_id is a former self: remove it, look again */
    FORMATION_OCCUPIED, /* another member has our name */
};
enum formation_entry formation_enter(
    const struct formation_self *self, const struct etcd_members *members, uint64_t *ret_id);

/* The initial cluster for a member that was added: all MEMBERS, ours under our name. False if ours
 * is missing. */
bool formation_cluster(
    const struct formation_self *self, const struct etcd_members *members, char *ret, size_t size);

/* The answer as JSON (mem_free), and back. */
char *formation_encode(const struct store_answer *answer);
MUST_CHECK int formation_decode(
    const char *json, size_t length, struct store_answer *ret, struct err *e);

/* Why a server that ended did so, from the end of what it printed. */
enum formation_end {
    END_OTHER,   /* no words for it; WHY is "" */
    END_PLACE,   /* the place, not the data: port in use, disk full, permissions */
    END_DAMAGED, /* its data directory */
    END_REMOVED, /* it was removed from its cluster */
};
enum formation_end formation_end_of(const char *output, char *why, size_t size);
