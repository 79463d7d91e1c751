#include "dcs/etcd_watch.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"

#define PROBE_MIN_MS INT64_C(200)
#define PROBE_MAX_MS INT64_C(1000)
#define PAUSE_MIN_MS INT64_C(50) /* after a read that failed */
#define PAUSE_MAX_MS INT64_C(1000)
#define CREATE_MS INT64_C(1000) /* a watch must have begun by then */

struct etcd_watch {
    struct etcd_pool *pool;
    struct etcd_watch_listener listener;
    char *prefix;
    int64_t retry_ms;
    int64_t limit_ms; /* of the age of a reading; follows retry_ms with the next good one */
    struct loop_timer *tick;
    struct cache cache;
    bool has_snapshot;
    struct instant confirmed_at; /* when the last good quorum read was sent */

    struct etcd_call *read; /* in flight */
    struct loop_timer *read_again;
    int64_t pause_ms;
    bool is_asked;  /* the next read ends in on_change */
    bool is_needed; /* another read after the one in flight, which may be too old */

    struct http_request *stream;
    struct instant stream_at;
    struct str line; /* of the stream, not complete yet */
    char stream_url[ETCD_URL_SIZE];
    bool is_created;
    bool is_suspect;
    bool is_behind;          /* a read brought changes that the watch has not brought */
    bool was_behind;         /* ... already at the last tick */
    int64_t behind_revision; /* what the watch must get beyond */

    struct etcd_call *probe;
    char problem[256];
};

static void read_now(struct etcd_watch *watch);

static void set_problem(struct etcd_watch *watch, const char *problem)
{
    IGNORE(str_copy(watch->problem, sizeof(watch->problem), problem), "cut is fine");
    watch->listener.on_state(watch->listener.arg);
}

static int64_t probe_ms(const struct etcd_watch *watch)
{
    return MIN(MAX(watch->retry_ms / 10, PROBE_MIN_MS), PROBE_MAX_MS);
}

static void close_stream(struct etcd_watch *watch)
{
    http_cancel(watch->stream);
    watch->stream = NULL;
    str_fini(&watch->line);
    watch->line = (struct str)STR_INIT(ETCD_BODY_MAX);
    watch->is_created = false;
    watch->is_behind = false;
    watch->was_behind = false;
    watch->stream_url[0] = '\0';
}

/* The number of the endpoint that the watch is on; false if it is not an endpoint any more. */
static bool find_stream_endpoint(const struct etcd_watch *watch, unsigned *ret)
{
    for (unsigned at = 0; at < watch->pool->count; at++) {
        if (str_equal(watch->pool->endpoints[at].url, watch->stream_url)) {
            *ret = at;
            return true;
        }
    }
    return false;
}

static void suspect(struct etcd_watch *watch, const char *why)
{
    unsigned at = 0;

    if (find_stream_endpoint(watch, &at)) {
        etcd_pool_blame(watch->pool, at);
    }
    watch->is_suspect = true;
    set_problem(watch, why);
    read_now(watch);
}

/* The stream. */

/* One message; false: the stream is of no use any more. */
static bool on_line(struct etcd_watch *watch, const char *line, size_t length, bool *ret_changed)
{
    struct etcd_watch_answer answer;
    struct err e = {0};
    int r = etcd_wire_read_watch(line, length, watch->prefix, &watch->cache, &answer, &e);

    if (r < 0) {
        /* Half of the message may be in the cache: only a read makes it whole again. */
        watch->cache.revision = 0;
        watch->has_snapshot = false;
        set_problem(watch, err_text(&e));
        return false;
    }
    if (answer.is_canceled) {
        set_problem(watch, answer.reason);
        return false;
    }
    if (answer.is_created) {
        watch->is_created = true;
        watch->pause_ms = PAUSE_MIN_MS;
    }
    *ret_changed |= answer.is_changed;
    if (answer.revision > watch->behind_revision) {
        watch->is_behind = false;
        watch->was_behind = false;
    }
    return true;
}

static void read_again(struct etcd_watch *watch, const char *problem);

/* The stream has ended, or has to. One that never began would be opened again at once and for ever,
 * so that waits. */
static void replace_stream(struct etcd_watch *watch)
{
    bool was_created = watch->is_created;

    close_stream(watch);
    if (was_created) {
        read_now(watch);
    } else {
        read_again(watch, watch->problem);
    }
}

static void on_data(void *arg, const char *bytes, size_t length)
{
    struct etcd_watch *watch = arg;
    bool is_changed = false;
    bool is_good = true;
    size_t used = 0;

    str_add_length(&watch->line, bytes, length);
    is_good = !watch->line.is_cut;
    while (is_good && used < watch->line.length) {
        const char *start = watch->line.text + used;
        const char *end = memchr(start, '\n', watch->line.length - used);

        if (end == NULL) {
            break;
        }
        if (end > start) {
            is_good = on_line(watch, start, (size_t)(end - start), &is_changed);
        }
        used += (size_t)(end - start) + 1;
    }
    if (!is_good) {
        replace_stream(watch);
        return;
    }
    watch->line.length -= used;
    memmove(watch->line.text, watch->line.text + used, watch->line.length + 1);
    if (is_changed) {
        watch->listener.on_change(watch->listener.arg);
    }
}

static void on_stream_end(void *arg, const struct http_answer *answer)
{
    struct etcd_watch *watch = arg;

    watch->stream = NULL;
    set_problem(watch, answer->result < 0 ? answer->why : "the store ended the watch");
    replace_stream(watch);
}

static void open_stream(struct etcd_watch *watch, unsigned endpoint)
{
    struct etcd_pool *pool = watch->pool;
    AUTO_FREE char *body = etcd_wire_watch(watch->prefix, watch->cache.revision + 1);
    char url[2 * ETCD_URL_SIZE];

    close_stream(watch);
    watch->is_suspect = false;
    IGNORE(
        !str_copy(watch->stream_url, sizeof(watch->stream_url), pool->endpoints[endpoint].url),
        "same size");
    etcd_pool_url(pool, endpoint, "/watch", url, sizeof(url));
    watch->stream_at = clock_now();
    watch->stream = http_start(
        pool->http,
        &(struct http_options){
            .method = "POST",
            .url = url,
            .body = body,
            .tls = &pool->tls,
            .content_type = "application/json",
            .timeout_ms = CREATE_MS,
            .on_data = on_data,
            .authorization = pool->token[0] != '\0' ? pool->token : NULL},
        on_stream_end, watch);
}

/* Reads. */

static void read_again(struct etcd_watch *watch, const char *problem)
{
    set_problem(watch, problem);
    loop_timer_start(watch->read_again, watch->pause_ms);
    watch->pause_ms = MIN(2 * watch->pause_ms, PAUSE_MAX_MS);
}

/* FRESH is a good quorum read. */
static void take_over(struct etcd_watch *watch, struct cache *fresh)
{
    int64_t old_revision = watch->cache.revision;
    bool is_changed = false;

    /* While it was on its way the watch may have brought newer things. */
    if (fresh->revision >= watch->cache.revision) {
        is_changed = !watch->has_snapshot || !cache_is_same(&watch->cache, fresh);
        cache_fini(&watch->cache);
        watch->cache = *fresh;
        *fresh = (struct cache){0};
    }
    if (is_changed && watch->has_snapshot && watch->stream != NULL && !watch->is_behind) {
        watch->is_behind = true;
        watch->was_behind = false;
        watch->behind_revision = old_revision;
    }
    watch->has_snapshot = true;
    /* With another read to come, this one may have been sent before it was asked for. */
    if (is_changed || (watch->is_asked && !watch->is_needed)) {
        watch->is_asked &= watch->is_needed;
        watch->listener.on_change(watch->listener.arg);
    }
}

static void on_read(void *arg, const struct etcd_reply *reply)
{
    struct etcd_watch *watch = arg;
    struct cache fresh = {0};
    struct etcd_header header;
    struct err e = {0};
    int r = reply->result;

    watch->read = NULL;
    if (r < 0) {
        read_again(watch, reply->why);
        return;
    }
    r = etcd_wire_read_range(reply->body, reply->length, watch->prefix, &fresh, &header, &e);
    if (r == 0 && !etcd_pool_accept(watch->pool, reply->endpoint, &header, &reply->before, true)) {
        r = FAIL(
            &e, ERR_CONFLICT,
            watch->pool->is_foreign
                ? "%s belongs to another cluster than before: was the store replaced or restored?"
                : "%s knows less than the store has told before: was it replaced or restored?",
            watch->pool->endpoints[reply->endpoint].url);
    }
    if (r < 0) {
        cache_fini(&fresh);
        read_again(watch, err_text(&e));
        return;
    }
    watch->confirmed_at = reply->sent_at;
    watch->limit_ms = watch->retry_ms;
    take_over(watch, &fresh);
    cache_fini(&fresh);
    if (watch->stream == NULL || watch->is_suspect) {
        open_stream(watch, reply->endpoint);
    }
    if (watch->is_created) {
        watch->pause_ms = PAUSE_MIN_MS;
    }
    set_problem(watch, "");
    if (watch->is_needed) {
        read_now(watch);
    }
}

static void read_now(struct etcd_watch *watch)
{
    if (watch->pool->is_replaced) {
        return;
    }
    if (watch->read != NULL) {
        watch->is_needed = true;
        return;
    }
    watch->is_needed = false;
    loop_timer_stop(watch->read_again);
    watch->read = etcd_call_start(
        watch->pool,
        &(struct etcd_question){
            .path = "/kv/range",
            .body = etcd_wire_range(watch->prefix),
            .retry = ETCD_ANY,
            .timeout_ms = MAX(watch->retry_ms / 2, PROBE_MAX_MS)},
        on_read, watch);
}

static void on_read_again(void *arg)
{
    read_now((struct etcd_watch *)arg);
}

/* The tick. */

static void on_probe(void *arg, const struct etcd_reply *reply)
{
    struct etcd_watch *watch = arg;
    struct etcd_status status;
    int r = reply->result;

    watch->probe = NULL;
    if (watch->stream == NULL) {
        return;
    }
    if (r < 0) {
        /* An error answer (no permission for status) is a sign of life as well. */
        if (reply->error.kind == ETCD_ERROR_NONE || reply->error.kind == ETCD_ERROR_OTHER) {
            suspect(watch, reply->why);
        }
        return;
    }
    r = etcd_wire_read_status(reply->body, reply->length, &status, NULL);
    if (r < 0 || !status.has_leader) {
        suspect(watch, "the store's server has no leader");
        return;
    }
    if (status.header.cluster_id != watch->pool->known.cluster_id) {
        suspect(watch, "the store's server belongs to another cluster than before");
    }
}

static void probe(struct etcd_watch *watch)
{
    unsigned endpoint = 0;

    if (watch->probe != NULL || watch->stream == NULL) {
        return;
    }
    if (!find_stream_endpoint(watch, &endpoint)) {
        suspect(watch, "the store's server is not a member any more");
        return;
    }
    watch->probe = etcd_call_start(
        watch->pool,
        &(struct etcd_question){
            .path = "/maintenance/status",
            .body = mem_dup("{}"),
            .retry = ETCD_HERE,
            .endpoint = endpoint,
            .timeout_ms = probe_ms(watch)},
        on_probe, watch);
}

static void on_tick(void *arg)
{
    struct etcd_watch *watch = arg;
    struct instant now = clock_now();

    loop_timer_start(watch->tick, probe_ms(watch));
    if (watch->stream != NULL && !watch->is_created &&
        instant_elapsed_max_ms(watch->stream_at, now) > CREATE_MS) {
        suspect(watch, "the store's server does not start a watch");
    } else if (watch->is_behind && watch->was_behind) {
        suspect(watch, "the watch lags behind the store");
    } else if (
        instant_elapsed_max_ms(watch->confirmed_at, now) >= watch->retry_ms / 2 &&
        watch->read == NULL && watch->has_snapshot) {
        read_now(watch);
    }
    watch->was_behind = watch->is_behind;
    probe(watch);
    watch->listener.on_state(watch->listener.arg);
}

struct etcd_watch *etcd_watch_new(
    struct etcd_pool *pool, const char *prefix, int64_t retry_timeout_ms,
    const struct etcd_watch_listener *listener)
{
    struct etcd_watch *watch = mem_alloc(sizeof(*watch));

    watch->pool = pool;
    watch->listener = *listener;
    watch->prefix = mem_dup(prefix);
    watch->retry_ms = retry_timeout_ms;
    watch->limit_ms = retry_timeout_ms;
    watch->pause_ms = PAUSE_MIN_MS;
    watch->line = (struct str)STR_INIT(ETCD_BODY_MAX);
    watch->tick = loop_timer_new(pool->loop, on_tick, watch);
    watch->read_again = loop_timer_new(pool->loop, on_read_again, watch);
    loop_timer_start(watch->tick, probe_ms(watch));
    read_now(watch);
    return watch;
}

void etcd_watch_free(struct etcd_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    etcd_call_cancel(watch->read);
    etcd_call_cancel(watch->probe);
    close_stream(watch);
    loop_timer_free(watch->tick);
    loop_timer_free(watch->read_again);
    cache_fini(&watch->cache);
    mem_free(watch->prefix);
    mem_free(watch);
}

void etcd_watch_set_times(struct etcd_watch *watch, int64_t retry_timeout_ms)
{
    /* A shorter time is no reason to call a reading old that was good enough a moment ago. */
    watch->retry_ms = retry_timeout_ms;
    watch->limit_ms = MAX(watch->limit_ms, retry_timeout_ms);
    if (watch->has_snapshot) {
        read_now(watch);
    }
}

void etcd_watch_refresh(struct etcd_watch *watch, bool is_asked)
{
    watch->is_asked |= is_asked;
    read_now(watch);
}

bool etcd_watch_is_fresh(const struct etcd_watch *watch)
{
    return watch->has_snapshot && !watch->pool->is_replaced &&
           instant_elapsed_max_ms(watch->confirmed_at, clock_now()) < watch->limit_ms;
}

bool etcd_watch_has_snapshot(const struct etcd_watch *watch)
{
    return watch->has_snapshot;
}

const struct cache *etcd_watch_cache(const struct etcd_watch *watch)
{
    return &watch->cache;
}

const char *etcd_watch_endpoint(const struct etcd_watch *watch)
{
    return watch->stream_url;
}

const char *etcd_watch_problem(const struct etcd_watch *watch)
{
    return watch->problem;
}
