/* store_roll.h - the roll call of an etcd cluster: who is a member, who answers, who leads; and
 * whether a member may be taken out.
 *
 * The list comes from the first of VIA that answers (etcd answers it without a leader, too), then
 * every member is asked for its status, all at the same time. The way back to others is by the
 * addresses in it: members that joined after this node was configured are found like this. */
#pragma once

#include "dcs/formation.h"
#include "io/http.h"

struct roll_member {
    struct etcd_member member;
    bool answers;
};

struct store_roll {
    uint64_t cluster_id;
    uint64_t leader_id; /* 0: none is known to those that answer */
    unsigned count;
    struct roll_member members[ETCD_MEMBERS_MAX];
};

struct store_roll_call;

/* RESULT 0 and ROLL, or negative, WHY, and NULL. */
typedef void store_roll_done(void *arg, int result, const struct store_roll *roll, const char *why);

/* Begin. VIA (client addresses) is copied; TLS may be NULL and must outlive the call. DONE comes
 * once, from the loop, unless freed before; a call that is done has freed itself. */
struct store_roll_call *store_roll_call(
    struct http *http, const struct http_tls *tls, char (*via)[ETCD_URL_SIZE], unsigned via_count,
    store_roll_done *done, void *arg);
void store_roll_call_free(struct store_roll_call *call);

/* The members of ANSWER, which is etcd's to a question for its list, or why there are none. */
MUST_CHECK int store_read_members(
    const struct http_answer *answer, struct etcd_members *ret, struct err *e);

/* The name of a member, or "id" and its number in hex when it was added but never started. */
#define ROLL_NAME_SIZE ETCD_NAME_SIZE
void store_roll_name(const struct etcd_member *member, char *buffer);

/* The member called NAME, or with PEER_URL; NULL: none. */
const struct roll_member *store_roll_find(const struct store_roll *roll, const char *name);
const struct roll_member *store_roll_at(const struct store_roll *roll, const char *peer_url);

/* Whether MEMBER may be taken out: ERR_CONFLICT for the last voter and when those left could not
 * elect a leader, ERR_UNAVAILABLE while there is no leader, with what to do. */
MUST_CHECK int store_roll_check_removal(
    const struct store_roll *roll, const struct roll_member *member, struct err *e);

/* An answering voter other than MEMBER, or 0: who leads when it goes. */
uint64_t store_roll_heir(const struct store_roll *roll, const struct roll_member *member);

/* ROLL as the answers of the members that PEERS (COUNT of them) does not tell of, without this
 * node: appended to PEERS, at most MAX; the new count. ROLL may be old: an agent that answers knows
 * better what its member is, unless that one answered and had a leader. */
unsigned store_roll_add_peers(
    const struct store_roll *roll, const struct formation_self *self, struct formation_peer *peers,
    unsigned count, unsigned max);

/* As JSON (mem_free). */
char *store_roll_encode(const struct store_roll *roll);
