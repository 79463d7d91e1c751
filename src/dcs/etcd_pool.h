/* etcd_pool.h - what is known about the servers of the store: where they are, which one answers,
 * how far the store was.
 *
 * Endpoints: those configured come first, in their order; those of the store's own member list are
 * added, except loopback addresses unless a configured one is loopback too (a server that
 * advertises "localhost" is reachable for itself only). `preferred` is the one that answered last;
 * a failure moves it on.
 *
 * Trust: the first answer fixes the cluster id for the life of this process. An endpoint with
 * another id is passed over. The revision and the Raft term seen in answers never go back: a quorum
 * read that is older comes from a server that lies (etcd issue 20418: stale reads after a pause)
 * and is passed over, too; when nothing but such answers come for REGRESS_MS, the store was wiped
 * or restored from a backup, and `is_replaced` stays set. */
#pragma once

#include "dcs/etcd.h"
#include "dcs/etcd_wire.h"
#include "io/http.h"
#include "model/model.h"

#define ETCD_POOL_MAX (ETCD_ENDPOINTS_MAX + ETCD_MEMBERS_MAX)

struct etcd_endpoint {
    char url[ETCD_URL_SIZE]; /* without a slash at its end */
    bool is_configured;
    bool is_beta;               /* etcd 3.3: /v3beta instead of /v3 */
    struct instant foreign_at;  /* when it answered for another cluster */
    struct instant verified_at; /* last good answer; unset by a failure */
};

struct etcd_call;

struct etcd_pool {
    struct loop *loop;
    struct http *http;
    struct http_tls tls;
    char *ca_file; /* owned, as are the next ones; NULL: none */
    char *cert_file;
    char *key_file;
    char *user;
    char *password;
    char *look;            /* the question who a server is: a linearizable read below our prefix */
    bool is_status_denied; /* maintenance/status is for others: `look` is asked instead */
    bool has_loopback;
    bool is_replaced;
    bool is_foreign; /* the last answer was for another cluster */
    unsigned count;  /* at least 1 */
    unsigned preferred;
    struct etcd_endpoint endpoints[ETCD_POOL_MAX];
    struct etcd_header
        known; /* cluster_id 0: nothing known yet; revision and raft_term: the largest seen */
    unsigned regress_count;
    struct instant regress_at;
    int64_t mean_us;      /* how long answers took lately */
    int64_t deviation_us; /* ... and how far they were from it */
    char why[256];        /* the last attempt that failed, for people */
    struct etcd_call *calls;
    struct http_request *auth_request; /* in flight; all calls without a token wait for it */
    unsigned auth_endpoint;
    bool is_auth_off;            /* the store says that it wants no authentication */
    uint64_t token_number;       /* counts tokens */
    char token[ETCD_TOKEN_SIZE]; /* "": none */
};

/* A pool of the configured endpoints; never NULL. OPTIONS are copied. */
struct etcd_pool *etcd_pool_new(struct loop *loop, const struct etcd_options *options);

/* Ends all calls: those with a DONE that must come get it. NULL is accepted. */
void etcd_pool_free(struct etcd_pool *pool);

/* Replace the configured endpoints; take over those that the store's member list names. */
void etcd_pool_set_endpoints(struct etcd_pool *pool, const char *const *urls, unsigned count);
void etcd_pool_learn(struct etcd_pool *pool, const struct etcd_members *members);

/* Where PATH ("/kv/range") of endpoint AT is. */
void etcd_pool_url(
    const struct etcd_pool *pool, unsigned at, const char *path, char *buffer, size_t size);

/* Endpoint AT failed; the next one to try after it. */
void etcd_pool_blame(struct etcd_pool *pool, unsigned at);
unsigned etcd_pool_next(const struct etcd_pool *pool, unsigned at);

/* Whether endpoint AT may get a write without asking it first who it is. */
bool etcd_pool_is_verified(const struct etcd_pool *pool, unsigned at);

/* Judge an answer of endpoint AT. BEFORE: what was known when its request was sent. IS_QUORUM: it
 * was a linearizable read, so being older than BEFORE proves something. False: do not use it (the
 * endpoint was blamed). */
bool etcd_pool_accept(
    struct etcd_pool *pool, unsigned at, const struct etcd_header *header,
    const struct etcd_header *before, bool is_quorum);
