#include "dcs/etcd_call.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"

#define AUTH_TIMEOUT_MS 3000 /* etcd hashes passwords slowly on purpose */
#define AUTH_TRIES_MAX 2
#define API_TRIES_MAX 2
#define PAUSE_MIN_MS INT64_C(20)
#define PAUSE_MAX_MS INT64_C(500)

enum phase {
    PHASE_PAUSE,  /* the timer runs */
    PHASE_TOKEN,  /* waiting for a token, the timer runs to the deadline */
    PHASE_VERIFY, /* asking the endpoint who it is */
    PHASE_SEND,   /* the question is out */
};

struct etcd_call {
    struct etcd_call *next;
    struct etcd_pool *pool;
    const char *path;
    char *body;
    enum etcd_retry retry;
    etcd_done *done;
    void *arg;
    enum phase phase;
    struct loop_timer *timer;
    struct http_request *request;
    struct instant started_at;
    int64_t timeout_ms;
    int64_t pause_ms;
    unsigned endpoint;
    unsigned tried;    /* endpoints since the last pause */
    unsigned timeouts; /* attempts without an answer in time */
    unsigned auth_tries;
    unsigned api_tries;
    uint64_t token_number; /* of the token that the attempt used */
    bool is_look;          /* the server is asked who it is by a read */
    struct etcd_reply reply;
    char why[256];
};

static void step(struct etcd_call *call);

static int64_t left_ms(const struct etcd_call *call)
{
    return call->timeout_ms - instant_elapsed_max_ms(call->started_at, clock_now());
}

static int64_t try_ms(const struct etcd_call *call)
{
    int64_t part = MAX(call->pool->mean_us + 4 * call->pool->deviation_us, INT64_C(0)) / 1000;

    part = MAX(part, ETCD_TRY_MIN_MS);
    if (call->retry == ETCD_ONCE) {
        part = MAX(part, call->timeout_ms / 3);
    }
    part = MIN(part << MIN(call->timeouts / 4, 4U), ETCD_TRY_MAX_MS);
    return MIN(part, MAX(left_ms(call), INT64_C(1)));
}

static bool is_write(const struct etcd_call *call)
{
    return call->retry == ETCD_GUARDED || call->retry == ETCD_ONCE;
}

static void unlink_call(struct etcd_call *call)
{
    struct etcd_call **link = &call->pool->calls;

    while (*link != call) {
        ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = call->next;
}

static void release(struct etcd_call *call)
{
    http_cancel(call->request);
    loop_timer_free(call->timer);
    mem_wipe(call->body, strlen(call->body));
    mem_free(call->body);
    mem_free(call);
}

/* The end of CALL; the pool may be gone when this returns. */
static void finish(struct etcd_call *call, int result)
{
    unlink_call(call);
    call->reply.result = result;
    call->reply.endpoint = call->endpoint;
    call->reply.why = call->why;
    loop_timer_stop(call->timer);
    call->done(call->arg, &call->reply);
    release(call);
}

static void complain(struct etcd_call *call, const char *what)
{
    IGNORE(
        str_format(
            call->why, sizeof(call->why), "%s: %s", call->pool->endpoints[call->endpoint].url,
            what),
        "cut is fine");
    IGNORE(!str_copy(call->pool->why, sizeof(call->pool->why), call->why), "same size");
}

/* The attempt brought nothing: another endpoint, after all of them a pause, in the end the end. */
static void try_next(struct etcd_call *call)
{
    if (call->retry == ETCD_HERE || left_ms(call) <= 0) {
        finish(call, ERR_UNAVAILABLE);
        return;
    }
    call->endpoint = etcd_pool_next(call->pool, call->endpoint);
    call->tried++;
    if (call->tried < call->pool->count) {
        step(call);
        return;
    }
    call->tried = 0;
    call->phase = PHASE_PAUSE;
    loop_timer_start(call->timer, MIN(call->pause_ms, left_ms(call)));
    call->pause_ms = MIN(2 * call->pause_ms, PAUSE_MAX_MS);
}

static void on_timer(void *arg)
{
    struct etcd_call *call = arg;

    if (left_ms(call) <= 0) {
        if (call->phase == PHASE_TOKEN) {
            complain(call, "no token in time");
        }
        finish(call, ERR_TIMEOUT);
        return;
    }
    if (call->phase == PHASE_PAUSE) {
        call->endpoint = call->pool->preferred;
        step(call);
    }
}

/* Tokens. */

/* A token came (or none is needed): all that wait go on. step() never ends a call, so the list
 * stays as it is. */
static void wake_waiting(struct etcd_pool *pool)
{
    for (struct etcd_call *call = pool->calls; call != NULL; call = call->next) {
        if (call->phase == PHASE_TOKEN) {
            loop_timer_stop(call->timer);
            call->phase = PHASE_PAUSE;
            loop_timer_start(call->timer, 0);
        }
    }
}

/* No token from this endpoint: all that wait try elsewhere, or end if the store refuses the user.
 * Ending one may free the pool; WAITING calls are marked first, and then each is looked up anew. */
static void fail_waiting(struct etcd_pool *pool, const struct etcd_error *error, const char *why)
{
    for (struct etcd_call *call = pool->calls; call != NULL; call = call->next) {
        if (call->phase != PHASE_TOKEN) {
            continue;
        }
        call->reply.error = *error;
        complain(call, why);
        if (error->kind == ETCD_ERROR_DEFINITE || call->retry == ETCD_HERE) {
            call->timeout_ms = 0; /* on_timer ends it */
        }
        call->phase = PHASE_PAUSE;
        loop_timer_start(call->timer, call->timeout_ms == 0 ? 0 : PAUSE_MIN_MS);
    }
}

static void on_token(void *arg, const struct http_answer *answer)
{
    struct etcd_pool *pool = arg;
    struct etcd_error error = {.kind = ETCD_ERROR_OTHER};
    struct err e = {0};
    int r = answer->result;

    pool->auth_request = NULL;
    if (r < 0) {
        etcd_pool_blame(pool, pool->auth_endpoint);
        fail_waiting(pool, &error, answer->why);
        return;
    }
    switch (etcd_wire_error(answer->status, answer->body, answer->length, &error)) {
    case ETCD_ERROR_NONE:
        r = etcd_wire_read_token(
            answer->body, answer->length, pool->token, sizeof(pool->token), &e);
        if (r < 0) {
            fail_waiting(pool, &error, err_text(&e));
            return;
        }
        pool->token_number++;
        wake_waiting(pool);
        return;
    case ETCD_ERROR_AUTH_OFF:
        pool->is_auth_off = true;
        wake_waiting(pool);
        return;
    case ETCD_ERROR_NO_API:
        pool->endpoints[pool->auth_endpoint].is_beta ^= true;
        fail_waiting(pool, &error, error.message);
        return;
    case ETCD_ERROR_DEFINITE:
        /* It may be another store's: whoever asks next asks elsewhere. */
    case ETCD_ERROR_AUTH:
    case ETCD_ERROR_NO_LEASE:
    case ETCD_ERROR_OTHER:
        etcd_pool_blame(pool, pool->auth_endpoint);
        fail_waiting(pool, &error, error.message);
        return;
    }
}

static void ask_token(struct etcd_call *call)
{
    struct etcd_pool *pool = call->pool;
    AUTO_FREE char *body = NULL;
    char url[2 * ETCD_URL_SIZE];

    call->phase = PHASE_TOKEN;
    loop_timer_start(call->timer, MAX(left_ms(call), INT64_C(1)));
    if (pool->auth_request != NULL) {
        return;
    }
    body = etcd_wire_authenticate(pool->user, pool->password);
    pool->auth_endpoint = call->endpoint;
    etcd_pool_url(pool, call->endpoint, "/auth/authenticate", url, sizeof(url));
    pool->auth_request = http_start(
        pool->http,
        &(struct http_options){
            .method = "POST",
            .url = url,
            .body = body,
            .tls = &pool->tls,
            .content_type = "application/json",
            .timeout_ms = AUTH_TIMEOUT_MS},
        on_token, pool);
    mem_wipe(body, strlen(body));
}

/* Attempts. */

static void on_answer(void *arg, const struct http_answer *answer);

static void send_to(struct etcd_call *call, const char *path, const char *body, int64_t timeout_ms)
{
    struct etcd_pool *pool = call->pool;
    char url[2 * ETCD_URL_SIZE];

    etcd_pool_url(pool, call->endpoint, path, url, sizeof(url));
    call->token_number = pool->token_number;
    call->reply.before = pool->known;
    call->reply.sent_at = clock_now();
    call->request = http_start(
        pool->http,
        &(struct http_options){
            .method = "POST",
            .url = url,
            .body = body,
            .tls = &pool->tls,
            .content_type = "application/json",
            .timeout_ms = timeout_ms,
            .authorization = pool->token[0] != '\0' ? pool->token : NULL},
        on_answer, call);
}

/* Start the next attempt; its end comes from the loop. */
static void step(struct etcd_call *call)
{
    const struct etcd_pool *pool = call->pool;

    if (pool->user != NULL && !pool->is_auth_off && pool->token[0] == '\0') {
        ask_token(call);
    } else if (is_write(call) && !etcd_pool_is_verified(pool, call->endpoint)) {
        call->phase = PHASE_VERIFY;
        call->is_look = pool->is_status_denied;
        if (call->is_look) {
            send_to(call, "/kv/range", pool->look, try_ms(call));
        } else {
            send_to(call, "/maintenance/status", "{}", try_ms(call));
        }
    } else {
        /* ETCD_ONCE as well gets a part only, though there is no second chance: a server that lost
         * its leader loses what was forwarded to it, and waiting longer does not bring it back. */
        call->phase = PHASE_SEND;
        send_to(
            call, call->path, call->body,
            call->retry == ETCD_HERE ? MAX(left_ms(call), INT64_C(1)) : try_ms(call));
    }
}

static void on_no_answer(struct etcd_call *call)
{
    etcd_pool_blame(call->pool, call->endpoint);
    if (call->phase == PHASE_SEND && is_write(call)) {
        call->reply.may_be_applied = true;
        if (call->retry == ETCD_ONCE) {
            finish(call, ERR_UNAVAILABLE);
            return;
        }
    }
    try_next(call);
}

/* A server that does not say who it is gets no write; another one may. One that has not proved
 * lately which store it is of may refuse because it is another's: the next call starts elsewhere.
 * (ETCD_HERE asks about that server, and a refusal is an answer.) */
static void on_refusal(struct etcd_call *call)
{
    if (call->phase == PHASE_VERIFY && !call->is_look) {
        call->pool->is_status_denied = true;
        step(call);
        return;
    }
    if (call->retry != ETCD_HERE && !etcd_pool_is_verified(call->pool, call->endpoint)) {
        etcd_pool_blame(call->pool, call->endpoint);
    }
    if (call->phase == PHASE_VERIFY) {
        try_next(call);
        return;
    }
    finish(call, ERR_CONFLICT);
}

static void on_error(struct etcd_call *call)
{
    struct etcd_pool *pool = call->pool;

    complain(call, call->reply.error.message);
    switch (call->reply.error.kind) {
    case ETCD_ERROR_AUTH:
        /* Another call may have fetched a new one meanwhile. */
        if (call->token_number == pool->token_number) {
            pool->token[0] = '\0';
            pool->is_auth_off = false;
        }
        if (pool->user != NULL && call->auth_tries++ < AUTH_TRIES_MAX) {
            step(call);
            return;
        }
        finish(call, ERR_DENIED);
        return;
    case ETCD_ERROR_NO_API:
        pool->endpoints[call->endpoint].is_beta ^= true;
        if (call->api_tries++ < API_TRIES_MAX) {
            step(call);
            return;
        }
        try_next(call);
        return;
    case ETCD_ERROR_DEFINITE:
        on_refusal(call);
        return;
    case ETCD_ERROR_NO_LEASE:
    case ETCD_ERROR_AUTH_OFF:
        finish(call, ERR_CONFLICT);
        return;
    case ETCD_ERROR_NONE:
    case ETCD_ERROR_OTHER:
        on_no_answer(call);
        return;
    }
}

/* Who answered; a linearizable read is answered only by one that has a leader. */
static int read_identity(
    const struct etcd_call *call, const struct http_answer *answer, struct etcd_status *ret,
    struct err *e)
{
    *ret = (struct etcd_status){.has_leader = true};
    return call->is_look ? etcd_wire_read_header(answer->body, answer->length, &ret->header, e)
                         : etcd_wire_read_status(answer->body, answer->length, ret, e);
}

/* The endpoint said who it is. Its revision may be older than what is known: a follower that lags
 * behind, or a server that was wiped. Either way it gets no write now. */
static void on_verified(struct etcd_call *call, const struct http_answer *answer)
{
    struct etcd_status status;
    struct err e = {0};
    int r = read_identity(call, answer, &status, &e);

    if (r < 0) {
        complain(call, err_text(&e));
        etcd_pool_blame(call->pool, call->endpoint);
        try_next(call);
    } else if (!etcd_pool_accept(
                   call->pool, call->endpoint, &status.header, &call->reply.before,
                   call->is_look)) {
        complain(call, "it belongs to another cluster, or knows less than was known before");
        try_next(call);
    } else if (!status.has_leader || status.is_learner) {
        complain(call, "it has no leader");
        etcd_pool_blame(call->pool, call->endpoint);
        try_next(call);
    } else {
        step(call);
    }
}

static void note_time(const struct etcd_call *call)
{
    struct etcd_pool *pool = call->pool;
    int64_t taken_us = instant_elapsed_max_ms(call->reply.sent_at, clock_now()) * 1000;
    int64_t error_us = taken_us - pool->mean_us;

    pool->mean_us += error_us / 8;
    pool->deviation_us += ((error_us < 0 ? -error_us : error_us) - pool->deviation_us) / 4;
}

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct etcd_call *call = arg;

    call->request = NULL;
    if (answer->result < 0) {
        complain(call, answer->why);
        call->timeouts += answer->result == ERR_TIMEOUT ? 1 : 0;
        on_no_answer(call);
        return;
    }
    if (etcd_wire_error(answer->status, answer->body, answer->length, &call->reply.error) !=
        ETCD_ERROR_NONE) {
        on_error(call);
        return;
    }
    if (call->phase == PHASE_VERIFY) {
        on_verified(call, answer);
        return;
    }
    if (call->retry != ETCD_HERE) {
        call->pool->preferred = call->endpoint;
        note_time(call);
    }
    call->reply.body = answer->body;
    call->reply.length = answer->length;
    finish(call, 0);
}

struct etcd_call *etcd_call_start(
    struct etcd_pool *pool, const struct etcd_question *question, etcd_done *done, void *arg)
{
    struct etcd_call *call = mem_alloc(sizeof(*call));

    ASSERT(question->timeout_ms > 0);
    ASSERT(question->retry != ETCD_HERE || question->endpoint < pool->count);
    call->pool = pool;
    call->path = question->path;
    call->body = question->body;
    call->retry = question->retry;
    call->done = done;
    call->arg = arg;
    call->started_at = clock_now();
    call->timeout_ms = question->timeout_ms;
    call->pause_ms = PAUSE_MIN_MS;
    call->endpoint = question->retry == ETCD_HERE ? question->endpoint : pool->preferred;
    call->timer = loop_timer_new(pool->loop, on_timer, call);
    call->next = pool->calls;
    pool->calls = call;
    step(call);
    return call;
}

void etcd_call_cancel(struct etcd_call *call)
{
    if (call != NULL) {
        unlink_call(call);
        release(call);
    }
}

void etcd_call_end_all(struct etcd_pool *pool)
{
    http_cancel(pool->auth_request);
    pool->auth_request = NULL;
    while (pool->calls != NULL) {
        struct etcd_call *call = pool->calls;

        call->reply.may_be_applied |= is_write(call) && call->phase == PHASE_SEND;
        complain(call, "given up");
        finish(call, ERR_UNAVAILABLE);
    }
}

void etcd_call_move_all(struct etcd_pool *pool, const unsigned *places)
{
    for (struct etcd_call *call = pool->calls; call != NULL; call = call->next) {
        call->endpoint = places[call->endpoint];
    }
}
