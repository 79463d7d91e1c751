/* etcd_call.h - one question to the store: several attempts, on one server after the other, within
 * one deadline.
 *
 * A server whose leader has just died forwards writes to it until its election timeout, and those
 * are lost; one without a leader keeps them for seconds. So an attempt gets little time, and then
 * the next server is asked: as long as answers took lately, by mean and deviation, at least
 * ETCD_TRY_MIN_MS, doubled after every fourth attempt that ran out of time, at most
 * ETCD_TRY_MAX_MS. (Three members at 50/500 ms, leader killed: a swap is through after 0.5 to 1 s;
 * with 1000 ms for each attempt it took up to 1.5 s.) Less than a slow disk needs would be as bad:
 * the repetition of a write that was applied ends as "unknown". When all servers failed there is a
 * short pause. A token is fetched when the store wants one, once for all calls that wait.
 *
 * Writes (ETCD_GUARDED, ETCD_ONCE) go only to an endpoint that proved within the last seconds which
 * cluster it belongs to; otherwise it is asked first: maintenance/status, which a server without a
 * leader answers at once; or, when that is denied (etcd 3.6, and 3.5 from 3.5.28 on, keep it for
 * root), a linearizable read, which only a member with a leader answers. So a server that was wiped
 * or exchanged while the agent ran gets no write, and a server that is down costs a write nothing
 * but time. */
#pragma once

#include "dcs/etcd_pool.h"

#define ETCD_TRY_MIN_MS INT64_C(100)
#define ETCD_TRY_MAX_MS INT64_C(1000)

enum etcd_retry {
    ETCD_ANY,     /* may be repeated freely */
    ETCD_GUARDED, /* a write that cannot be applied twice: repeated, with `may_be_applied` set */
    ETCD_ONCE,    /* a write that could be: never repeated once it was sent */
    ETCD_HERE,    /* one attempt, on `endpoint` */
};

struct etcd_question {
    const char *path; /* below /v3; a literal */
    char *body;       /* taken over */
    enum etcd_retry retry;
    unsigned endpoint; /* for ETCD_HERE */
    int64_t timeout_ms;
};

struct etcd_reply {
    int result; /* 0: `body` is the answer; negative: none that is of use, see `error` and `why` */
    const char *body;
    size_t length;
    unsigned endpoint;
    bool may_be_applied;       /* by an attempt whose answer is missing, already or later */
    struct instant sent_at;    /* when the answered attempt was sent */
    struct etcd_header before; /* what was known then */
    struct etcd_error error;   /* the last one; kind NONE: no answer at all */
    const char *why;
};

typedef void etcd_done(void *arg, const struct etcd_reply *reply);

/* Ask; DONE comes once, from the loop or from etcd_pool_free, unless cancelled. */
struct etcd_call *etcd_call_start(
    struct etcd_pool *pool, const struct etcd_question *question, etcd_done *done, void *arg);

/* Forget it. NULL is accepted. */
void etcd_call_cancel(struct etcd_call *call);

/* For etcd_pool: end all calls (result ERR_UNAVAILABLE); endpoint number N is number PLACES[N] from
 * now on. */
void etcd_call_end_all(struct etcd_pool *pool);
void etcd_call_move_all(struct etcd_pool *pool, const unsigned *places);
