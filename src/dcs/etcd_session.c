#include "dcs/etcd_session.h"

#include "base/assert.h"
#include "base/mem.h"
#include "io/clock.h"

#define PAUSE_MS INT64_C(500) /* after a grant that failed */
#define INTERVAL_MIN_MS INT64_C(200)

struct etcd_session {
    struct etcd_pool *pool;
    void (*on_change)(void *arg);
    void *arg;
    struct loop_timer *timer; /* the next grant or keepalive */
    struct loop_timer *expiry;
    struct etcd_call *call;
    int64_t ttl_ms;         /* wanted */
    int64_t asked_ttl_ms;   /* of the lease, as asked for */
    int64_t asking_ttl_ms;  /* of the grant in flight */
    int64_t granted_ttl_ms; /* of the lease, as granted: never shorter than etcd's minimum */
    int64_t lease;          /* 0: none */
    bool is_ending;
    bool is_ended;
};

static void advance(void *arg);

static int64_t interval_ms(const struct etcd_session *session)
{
    return MAX(session->granted_ttl_ms / 3, INTERVAL_MIN_MS);
}

static void drop(struct etcd_session *session)
{
    session->lease = 0;
    loop_timer_stop(session->expiry);
    session->on_change(session->arg);
}

/* Confirmed by an answer to a request sent at SENT_AT. */
static void confirm(struct etcd_session *session, int64_t ttl_s, struct instant sent_at)
{
    int64_t age_ms = instant_elapsed_max_ms(sent_at, clock_now());

    session->granted_ttl_ms = ttl_s * 1000;
    loop_timer_start(session->expiry, MAX(session->granted_ttl_ms - age_ms, INT64_C(0)));
    loop_timer_start(
        session->timer, session->asked_ttl_ms == session->ttl_ms ? interval_ms(session) : 0);
}

/* Nobody confirmed it for a whole ttl. It may still live (its keys then stay), so it is asked about
 * on and on; it is only not counted as held. */
static void on_expiry(void *arg)
{
    drop((struct etcd_session *)arg);
}

static void on_grant(void *arg, const struct etcd_reply *reply)
{
    struct etcd_session *session = arg;
    int64_t lease = 0;
    int64_t ttl_s = 0;
    int r = reply->result;

    session->call = NULL;
    if (r == 0) {
        r = etcd_wire_read_lease(reply->body, reply->length, &lease, &ttl_s, NULL);
    }
    if (r < 0 || ttl_s <= 0) {
        loop_timer_start(session->timer, PAUSE_MS);
        return;
    }
    session->lease = lease;
    session->asked_ttl_ms = session->asking_ttl_ms;
    confirm(session, ttl_s, reply->sent_at);
    session->on_change(session->arg);
}

static void on_keepalive(void *arg, const struct etcd_reply *reply)
{
    struct etcd_session *session = arg;
    int64_t lease = 0;
    int64_t ttl_s = 0;
    int r = reply->result;

    session->call = NULL;
    if (r == 0) {
        r = etcd_wire_read_lease(reply->body, reply->length, &lease, &ttl_s, NULL);
    }
    if (r < 0 && reply->error.kind != ETCD_ERROR_NO_LEASE) {
        loop_timer_start(session->timer, MAX(interval_ms(session) / 4, INTERVAL_MIN_MS));
        return;
    }
    /* It ran out meanwhile, here or in the store. */
    if (session->lease == 0 || lease != session->lease || ttl_s <= 0) {
        if (session->lease != 0) {
            drop(session);
        }
        loop_timer_start(session->timer, 0);
        return;
    }
    confirm(session, ttl_s, reply->sent_at);
}

static void on_revoke(void *arg, const struct etcd_reply *reply)
{
    struct etcd_session *session = arg;

    IGNORE(reply->result, "what is not revoked runs out by itself");
    session->call = NULL;
    session->is_ended = true;
    drop(session);
}

static struct etcd_call *ask(
    struct etcd_session *session, const char *path, char *body, int64_t timeout_ms, etcd_done *done)
{
    return etcd_call_start(
        session->pool,
        &(struct etcd_question){
            .path = path, .body = body, .retry = ETCD_ANY, .timeout_ms = timeout_ms},
        done, session);
}

/* The next request, unless one is in flight. A lease keeps the ttl that it was granted with, so
 * another ttl takes another lease; the old one is held until that is there. Then its owner puts the
 * keys again, and the old lease runs out with nothing on it. */
static void advance(void *arg)
{
    struct etcd_session *session = arg;

    if (session->call != NULL || session->is_ending) {
        return;
    }
    if (session->lease != 0 && session->asked_ttl_ms == session->ttl_ms) {
        session->call =
            ask(session, "/lease/keepalive", etcd_wire_id((uint64_t)session->lease),
                interval_ms(session), on_keepalive);
        return;
    }
    session->asking_ttl_ms = session->ttl_ms;
    session->call =
        ask(session, "/lease/grant", etcd_wire_grant((session->ttl_ms + 999) / 1000),
            session->ttl_ms, on_grant);
}

struct etcd_session *etcd_session_new(
    struct etcd_pool *pool, int64_t ttl_ms, void (*on_change)(void *arg), void *arg)
{
    struct etcd_session *session = mem_alloc(sizeof(*session));

    session->pool = pool;
    session->on_change = on_change;
    session->arg = arg;
    session->ttl_ms = ttl_ms;
    session->timer = loop_timer_new(pool->loop, advance, session);
    session->expiry = loop_timer_new(pool->loop, on_expiry, session);
    loop_timer_start(session->timer, 0);
    return session;
}

void etcd_session_free(struct etcd_session *session)
{
    if (session == NULL) {
        return;
    }
    etcd_call_cancel(session->call);
    loop_timer_free(session->timer);
    loop_timer_free(session->expiry);
    mem_free(session);
}

void etcd_session_set_ttl(struct etcd_session *session, int64_t ttl_ms)
{
    if (session->ttl_ms != ttl_ms) {
        session->ttl_ms = ttl_ms;
        loop_timer_start(session->timer, 0);
    }
}

void etcd_session_lost(struct etcd_session *session, int64_t lease)
{
    if (session->lease != lease || session->lease == 0 || session->is_ending) {
        return;
    }
    etcd_call_cancel(session->call);
    session->call = NULL;
    drop(session);
    loop_timer_start(session->timer, 0);
}

void etcd_session_end(struct etcd_session *session, int64_t timeout_ms)
{
    if (session->is_ending) {
        return;
    }
    session->is_ending = true;
    etcd_call_cancel(session->call);
    session->call = NULL;
    loop_timer_stop(session->timer);
    if (session->lease == 0) {
        session->is_ended = true;
        session->on_change(session->arg);
        return;
    }
    session->call = ask(
        session, "/lease/revoke", etcd_wire_id((uint64_t)session->lease), timeout_ms, on_revoke);
}

int64_t etcd_session_lease(const struct etcd_session *session)
{
    return session->is_ending ? 0 : session->lease;
}

bool etcd_session_is_held(const struct etcd_session *session)
{
    return session->lease != 0 && !session->is_ended;
}
