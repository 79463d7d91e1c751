#include "dcs/mem.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "dcs/cache.h"

#define TTL_DEFAULT_MS 30000
#define RETRY_DEFAULT_MS 10000

/* A transaction on its way: waiting, or ended with its DONE still to come. */
struct request {
    struct request *next;
    struct dcs_txn txn; /* texts owned */
    dcs_done *done;
    void *arg;
    int64_t deadline_ms;
    enum dcs_outcome outcome;
    int64_t revision;
    bool is_lost;    /* no answer will come before the deadline */
    bool is_ended;   /* outcome is set */
    bool is_refused; /* asked for with_session while there was none */
};

struct handle {
    struct dcs dcs;
    struct mem_store *store;
    struct handle *next;
    struct dcs_listener listener;
    struct dcs_health health;
    struct request *requests; /* in order of arrival */
    unsigned faults[MEM_FAULTS];
    int64_t ttl_ms;
    int64_t retry_ms;
    int64_t cut_at_ms;
    int64_t session;        /* as the handle knows it; 0: none */
    int64_t session_end_ms; /* when the store ends it unless kept alive */
    int64_t seen_revision;  /* of the last snapshot delivered */
    bool is_started;
    bool is_cut;
    bool is_snapshot_due;
    bool is_health_due;
    bool is_session_given_up;
};

struct mem_store {
    struct cache cache;
    struct handle *handles;
    int64_t now_ms;
    int64_t last_session;
    bool is_turning;
    struct handle *cursor; /* the next handle of the turn: dcs_free within a callback moves it */
    struct handle *current;
};

struct mem_store *mem_store_new(void)
{
    struct mem_store *store = mem_alloc(sizeof(*store));

    store->cache.revision = 1;
    return store;
}

void mem_store_free(struct mem_store *store)
{
    if (store == NULL) {
        return;
    }
    ASSERT(store->handles == NULL);
    cache_fini(&store->cache);
    mem_free(store);
}

static void txn_fini(struct dcs_txn *txn)
{
    for (unsigned at = 0; at < txn->compare_count; at++) {
        mem_free((void *)(uintptr_t)txn->compares[at].key);
        mem_free((void *)(uintptr_t)txn->compares[at].value);
    }
    for (unsigned at = 0; at < txn->op_count; at++) {
        mem_free((void *)(uintptr_t)txn->ops[at].key);
        mem_free((void *)(uintptr_t)txn->ops[at].value);
    }
}

static struct dcs_txn txn_copy(const struct dcs_txn *txn)
{
    struct dcs_txn copy = *txn;

    for (unsigned at = 0; at < txn->compare_count; at++) {
        const struct dcs_compare *compare = &txn->compares[at];

        copy.compares[at].key = mem_dup(compare->key);
        copy.compares[at].value = compare->value != NULL ? mem_dup(compare->value) : NULL;
    }
    for (unsigned at = 0; at < txn->op_count; at++) {
        const struct dcs_op *op = &txn->ops[at];

        copy.ops[at].key = mem_dup(op->key);
        copy.ops[at].value = op->value != NULL ? mem_dup(op->value) : NULL;
    }
    return copy;
}

static void request_end(struct request *request, enum dcs_outcome outcome, int64_t revision)
{
    request->is_ended = true;
    request->outcome = outcome;
    request->revision = revision;
}

static void session_end(struct mem_store *store, int64_t session)
{
    if (session != 0 && cache_delete_lease(&store->cache, session)) {
        store->cache.revision++;
    }
}

static void handle_renew(struct handle *handle)
{
    if (handle->session == 0 && !handle->is_session_given_up) {
        handle->session = ++handle->store->last_session;
    }
    if (handle->session != 0) {
        handle->session_end_ms = handle->store->now_ms + handle->ttl_ms;
    }
}

static void handle_start(struct dcs *dcs, const struct dcs_listener *listener)
{
    struct handle *handle = (struct handle *)dcs;

    ASSERT(!handle->is_started);
    handle->listener = *listener;
    handle->is_started = true;
    handle->is_snapshot_due = true;
    handle->is_health_due = true;
}

static void handle_txn(
    struct dcs *dcs, const struct dcs_txn *txn, int64_t timeout_ms, dcs_done *done, void *arg)
{
    struct handle *handle = (struct handle *)dcs;
    struct request *request = mem_alloc(sizeof(*request));
    struct request **end = &handle->requests;

    request->txn = txn_copy(txn);
    request->done = done;
    request->arg = arg;
    request->deadline_ms = handle->store->now_ms + timeout_ms;
    for (unsigned at = 0; at < txn->op_count; at++) {
        if (txn->ops[at].with_session && handle->session == 0) {
            request->is_refused = true;
        }
    }
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = request;
}

static void handle_refresh(struct dcs *dcs)
{
    struct handle *handle = (struct handle *)dcs;

    handle->is_snapshot_due = true;
}

static void handle_set_times(struct dcs *dcs, int64_t ttl_ms, int64_t retry_timeout_ms)
{
    struct handle *handle = (struct handle *)dcs;

    handle->ttl_ms = ttl_ms;
    handle->retry_ms = retry_timeout_ms;
}

static void handle_end_session(struct dcs *dcs)
{
    struct handle *handle = (struct handle *)dcs;

    if (!handle->is_cut) {
        session_end(handle->store, handle->session);
    }
    handle->session = 0;
    handle->is_session_given_up = true;
}

static void handle_free(struct dcs *dcs)
{
    struct handle *handle = (struct handle *)dcs;
    struct mem_store *store = handle->store;
    struct handle **link = &store->handles;

    while (*link != handle) {
        ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = handle->next;
    if (store->cursor == handle) {
        store->cursor = handle->next;
    }
    if (store->current == handle) {
        store->current = NULL;
    }
    while (handle->requests != NULL) {
        struct request *request = handle->requests;

        handle->requests = request->next;
        request->done(
            request->arg, request->is_ended ? request->outcome : DCS_UNKNOWN, request->revision);
        txn_fini(&request->txn);
        mem_free(request);
    }
    mem_free(handle);
}

static const struct dcs_driver mem_driver = {
    .name = "memory",
    .start = handle_start,
    .txn = handle_txn,
    .refresh = handle_refresh,
    .set_times = handle_set_times,
    .end_session = handle_end_session,
    .free = handle_free,
};

struct dcs *mem_store_connect(struct mem_store *store)
{
    struct handle *handle = mem_alloc(sizeof(*handle));
    struct handle **end = &store->handles;

    handle->dcs.driver = &mem_driver;
    handle->store = store;
    handle->ttl_ms = TTL_DEFAULT_MS;
    handle->retry_ms = RETRY_DEFAULT_MS;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = handle;
    return &handle->dcs;
}

/* Apply TXN; whether its conditions held. With more keys than the set can hold nothing is applied,
 * as with etcd's quota. */
static enum dcs_outcome apply(struct handle *handle, const struct dcs_txn *txn)
{
    struct cache *cache = &handle->store->cache;
    bool is_changed = false;

    for (unsigned at = 0; at < txn->compare_count; at++) {
        if (!cache_holds(cache, &txn->compares[at])) {
            return DCS_LOST_RACE;
        }
    }
    if (cache->count + txn->op_count > DCS_KEYS_MAX) {
        return DCS_REFUSED;
    }
    for (unsigned at = 0; at < txn->op_count; at++) {
        const struct dcs_op *op = &txn->ops[at];
        struct cache_entry entry = {
            .key = (char *)(uintptr_t)op->key,
            .value = (char *)(uintptr_t)op->value,
            .revision = cache->revision + 1,
            .lease = op->with_session ? handle->session : 0};

        if (op->kind == DCS_PUT) {
            is_changed |= cache_put(cache, &entry);
        } else {
            is_changed |= cache_delete(cache, op->key);
        }
    }
    cache->revision += is_changed ? 1 : 0;
    return DCS_DONE;
}

static bool take_fault(struct handle *handle, enum mem_fault fault)
{
    if (handle->faults[fault] == 0) {
        return false;
    }
    handle->faults[fault]--;
    return true;
}

static void request_apply(struct handle *handle, struct request *request)
{
    if (request->is_ended || request->is_lost) {
        return;
    }
    if (handle->is_cut && !request->is_refused) {
        return;
    }
    if (request->is_refused || take_fault(handle, MEM_REFUSE)) {
        request_end(request, DCS_REFUSED, 0);
    } else if (take_fault(handle, MEM_LOSE_ANSWER)) {
        request->is_lost = true;
        IGNORE(apply(handle, &request->txn), "nobody will hear of it");
    } else if (take_fault(handle, MEM_LOSE_REQUEST)) {
        request->is_lost = true;
    } else if (take_fault(handle, MEM_LOSE_RACE)) {
        request_end(request, DCS_LOST_RACE, handle->store->cache.revision);
    } else {
        enum dcs_outcome outcome = apply(handle, &request->txn);

        request_end(request, outcome, handle->store->cache.revision);
    }
}

/* Call DONE of one ended request; false if there is none, or HANDLE was freed by it. */
static bool deliver_done(struct handle *handle)
{
    struct mem_store *store = handle->store;
    struct request **link = &handle->requests;
    struct request *request = NULL;

    while (*link != NULL && !(*link)->is_ended) {
        link = &(*link)->next;
    }
    request = *link;
    if (request == NULL) {
        return false;
    }
    *link = request->next;
    request->done(request->arg, request->outcome, request->revision);
    txn_fini(&request->txn);
    mem_free(request);
    return store->current == handle;
}

static bool update_health(struct handle *handle)
{
    bool is_cut_long =
        handle->is_cut && handle->store->now_ms - handle->cut_at_ms >= handle->retry_ms;
    struct dcs_health health = {.is_connected = !is_cut_long, .has_session = handle->session != 0};

    str_copy(health.endpoint, sizeof(health.endpoint), "memory");
    if (is_cut_long) {
        str_copy(health.problem, sizeof(health.problem), "the store cannot be reached");
    }
    if (!handle->is_health_due && health.is_connected == handle->health.is_connected &&
        health.has_session == handle->health.has_session) {
        return false;
    }
    handle->is_health_due = false;
    handle->health = health;
    return true;
}

static bool deliver_snapshot(struct handle *handle)
{
    struct dcs_entry entries[DCS_KEYS_MAX];
    struct dcs_snapshot snapshot;

    if (handle->is_cut ||
        (!handle->is_snapshot_due && handle->seen_revision == handle->store->cache.revision)) {
        return false;
    }
    handle->is_snapshot_due = false;
    handle->seen_revision = handle->store->cache.revision;
    cache_snapshot(&handle->store->cache, handle->session, entries, &snapshot);
    handle->listener.on_snapshot(handle->listener.arg, &snapshot);
    return true;
}

/* All that is due for one handle. It may be freed by any callback; then store->current is NULL. */
static bool deliver(struct mem_store *store, struct handle *handle)
{
    bool is_called = false;

    store->current = handle;
    for (unsigned left = DCS_KEYS_MAX; left > 0 && store->current != NULL; left--) {
        bool has_more = false;

        for (struct request *at = handle->requests; at != NULL; at = at->next) {
            has_more |= at->is_ended;
        }
        if (!has_more) {
            break;
        }
        is_called = true;
        if (!deliver_done(handle)) {
            break;
        }
    }
    if (store->current != NULL && update_health(handle)) {
        is_called = true;
        handle->listener.on_health(handle->listener.arg, &handle->health);
    }
    if (store->current != NULL) {
        is_called |= deliver_snapshot(handle);
    }
    store->current = NULL;
    return is_called;
}

bool mem_store_turn(struct mem_store *store)
{
    bool is_called = false;

    ASSERT(!store->is_turning);
    store->is_turning = true;
    for (struct handle *handle = store->handles; handle != NULL; handle = handle->next) {
        if (!handle->is_started) {
            continue;
        }
        if (!handle->is_cut) {
            handle_renew(handle);
        }
        for (struct request *at = handle->requests; at != NULL; at = at->next) {
            request_apply(handle, at);
        }
    }
    store->cursor = store->handles;
    while (store->cursor != NULL) {
        struct handle *handle = store->cursor;

        store->cursor = handle->next;
        if (handle->is_started) {
            is_called |= deliver(store, handle);
        }
    }
    store->is_turning = false;
    return is_called;
}

void mem_store_advance(struct mem_store *store, int64_t ms)
{
    ASSERT(ms >= 0);
    store->now_ms += ms;
    for (struct handle *handle = store->handles; handle != NULL; handle = handle->next) {
        if (!handle->is_cut && handle->session != 0) {
            handle_renew(handle);
        } else if (handle->session != 0 && store->now_ms >= handle->session_end_ms) {
            session_end(store, handle->session);
            handle->session = 0;
        }
        for (struct request *at = handle->requests; at != NULL; at = at->next) {
            if (!at->is_ended && store->now_ms >= at->deadline_ms) {
                request_end(at, DCS_UNKNOWN, 0);
            }
        }
    }
}

void mem_store_cut(struct dcs *handle, bool is_cut)
{
    struct handle *cut = (struct handle *)handle;

    ASSERT(handle->driver == &mem_driver);
    if (cut->is_cut && !is_cut) {
        cut->is_snapshot_due = true;
    }
    if (!cut->is_cut && is_cut) {
        cut->cut_at_ms = cut->store->now_ms;
    }
    cut->is_cut = is_cut;
}

void mem_store_fault(struct dcs *handle, enum mem_fault fault, unsigned count)
{
    ASSERT(handle->driver == &mem_driver);
    ASSERT(fault < MEM_FAULTS);
    ((struct handle *)handle)->faults[fault] = count;
}

void mem_store_put(struct mem_store *store, const char *key, const char *value)
{
    struct cache_entry entry = {
        .key = (char *)(uintptr_t)key,
        .value = (char *)(uintptr_t)value,
        .revision = store->cache.revision + 1};
    bool is_changed = false;

    if (value != NULL) {
        is_changed = cache_put(&store->cache, &entry);
        ASSERT(is_changed);
    } else {
        is_changed = cache_delete(&store->cache, key);
    }
    store->cache.revision += is_changed ? 1 : 0;
}

const char *mem_store_get(const struct mem_store *store, const char *key)
{
    const struct cache_entry *entry = cache_find(&store->cache, key);

    return entry != NULL ? entry->value : NULL;
}

void mem_store_expire(struct dcs *handle)
{
    struct handle *expired = (struct handle *)handle;

    ASSERT(handle->driver == &mem_driver);
    session_end(expired->store, expired->session);
    expired->session = 0;
    expired->is_health_due = true;
}
