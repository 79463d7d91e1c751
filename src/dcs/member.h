/* member.h - the etcd member that an agent runs itself when no external store is configured. The
 * second door of dcs/.
 *
 * It runs the program `etcd` under a guard of its own (io/guard_link.h; never armed), so that the
 * store outlives the agent, forms the cluster with the other agents' members (dcs/formation.h has
 * the rules and their reasons), restarts the server when it dies, and replaces it when its data is
 * damaged: the data directory is renamed aside, never deleted, and only while another member has a
 * leader; then it joins as a new member. One that was taken out, by its own agent or by another
 * member, stays out (a file beside its data directory says so) until store_member_join; its agent
 * uses the other members.
 *
 * The owner polls GET /baton/store of all configured peers (each one's REST address, every second
 * or so), answers it itself from store_member_answer, and passes what it hears on:
 *
 *     struct formation_peer peers[3] = {{.address = "10.0.0.1:8008"}, ...};
 *     if (formation_decode(body, length, &peers[0].answer, &e) < 0) {
 *         peers[0].answer.state = STORE_UNREACHABLE;
 *     }
 *     store_member_set_answers(member, peers, 3);
 *
 * and gives store_member_endpoints to etcd_new, later to etcd_set_endpoints.
 *
 * The names are store_member_* because a `struct member` is a node of the database cluster
 * (model/member.h). */
#pragma once

#include "dcs/formation.h"
#include "io/http.h"

struct store_member;

/* Texts are copied. Addresses are http://HOST:PORT, or https:// with all three TLS files, which
 * then serve for both clients and peers, with certificates required. */
struct store_member_options {
    const char *scope;
    const char *name;
    const char *client_url;
    const char *peer_url;
    const char *data_dir;
    const char *runtime_dir;   /* guard's socket, server's log, state file; at most 80 bytes */
    const char *guard_program; /* path of baton-guard */
    const char *etcd_program;  /* NULL: from PATH, then /usr/bin */
    const char *const *peers;  /* REST addresses of all agents, as configured */
    unsigned peer_count;       /* at most FORMATION_PEERS_MAX; 0 or 1: a store of one member */
    int heartbeat_ms;          /* 0: 50 */
    int election_ms;           /* 0: 500 */
    int64_t quota_bytes;       /* 0: etcd's default */
    const char *ca_file;       /* NULL or "": no TLS */
    const char *cert_file;
    const char *key_file;
};

/* Begin. Makes the folders (this blocks: start-up code). Never NULL; what is wrong shows in the
 * status. */
struct store_member *store_member_new(
    struct loop *loop, struct http *http, const struct store_member_options *options);

/* Let go; the server runs on. NULL is accepted. */
void store_member_free(struct store_member *member);

/* What the peers answered, COUNT of them (more than FORMATION_PEERS_MAX are ignored). */
void store_member_set_answers(
    struct store_member *member, const struct formation_peer *peers, unsigned count);

/* What this node answers. */
void store_member_answer(const struct store_member *member, struct store_answer *ret);

/* Client addresses: the own one first, then those of peers that are members. Returns how many. */
unsigned store_member_endpoints(
    const struct store_member *member, char (*urls)[ETCD_URL_SIZE], unsigned max);

/* One sentence for people, with a "hint:" line when they can act; and whether the server runs and
 * has a leader. */
const char *store_member_status(const struct store_member *member);
bool store_member_is_ready(const struct store_member *member);

/* What operators ask for; one thing at a time (ERR_CONFLICT). DONE comes once, perhaps at once,
 * unless freed before; WHY is a sentence when it failed.
 *
 * leave: take this member out for good: it is removed, the server ends, its data is renamed aside.
 * remove: take out the member called NAME (store_roll.h), whose host is gone. Both are refused when
 * the others could not go on without it. join: come back after having left. */
typedef void store_member_changed(void *arg, int result, const char *why);
void store_member_leave(struct store_member *member, store_member_changed *done, void *arg);
void store_member_remove(
    struct store_member *member, const char *name, store_member_changed *done, void *arg);
void store_member_join(struct store_member *member, store_member_changed *done, void *arg);

/* Stop the server (it is not started again); for tests and for a host that is taken down for
 * good. */
void store_member_stop(struct store_member *member);
