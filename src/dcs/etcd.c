#include "dcs/etcd.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "dcs/etcd_session.h"
#include "dcs/etcd_watch.h"

#define TTL_DEFAULT_MS INT64_C(30000)
#define RETRY_DEFAULT_MS INT64_C(10000)
#define MEMBERS_MS INT64_C(60000) /* how often the member list is read */
#define MEMBERS_FIRST_MS INT64_C(100)
#define MEMBERS_RETRY_MS INT64_C(5000) /* ... after a failure */

struct pending {
    struct pending *next;
    struct etcd *etcd;
    struct etcd_call *call; /* NULL: refused, DONE comes with the next turn of the loop */
    dcs_done *done;
    void *arg;
    int64_t lease;
};

/* The owner is told from `emit`, a timer, only: so nothing comes from within its calls, several
 * changes become one call, and it may free the driver within any of them. */
struct etcd {
    struct dcs dcs;
    struct etcd_pool *pool;
    struct etcd_watch *watch;     /* NULL until start */
    struct etcd_session *session; /* NULL until start */
    struct pending *txns;
    struct etcd_call *members_call;
    struct loop_timer *members_timer;
    struct loop_timer *emit;
    struct dcs_listener listener;
    char *prefix;
    int64_t ttl_ms;
    int64_t retry_ms;
    struct dcs_health health; /* as last told */
    bool is_health_told;
    bool is_snapshot_due;
    bool is_telling; /* on_emit runs, and releases the memory if it is freed meanwhile */
    bool is_freeing;
};

/* What the owner hears. */

static void compose_health(const struct etcd *etcd, struct dcs_health *ret)
{
    const char *problem = etcd_watch_problem(etcd->watch);
    const char *endpoint = etcd_watch_endpoint(etcd->watch);
    bool is_good = false;

    *ret = (struct dcs_health){
        .is_connected = etcd_watch_is_fresh(etcd->watch),
        .has_session = etcd_session_is_held(etcd->session) && !etcd->pool->is_replaced,
    };
    if (*endpoint == '\0') {
        endpoint = etcd->pool->endpoints[etcd->pool->preferred].url;
    }
    is_good = str_copy(ret->endpoint, sizeof(ret->endpoint), endpoint);
    /* Before the first read has ended, the attempts know more than the watch. */
    if (!ret->is_connected && problem[0] == '\0') {
        problem = etcd->pool->why[0] != '\0' ? etcd->pool->why : "connecting";
    }
    ret->is_replaced = etcd->pool->is_replaced;
    if (etcd->pool->is_replaced) {
        problem = "the store was replaced or restored: it knows less than it has told before. "
                  "Nothing is done until this agent is restarted";
    }
    is_good &= str_copy(ret->problem, sizeof(ret->problem), problem);
    IGNORE(!is_good, "for people; cut is fine");
}

static bool is_same_health(const struct dcs_health *a, const struct dcs_health *b)
{
    return a->is_connected == b->is_connected && a->has_session == b->has_session &&
           a->is_replaced == b->is_replaced && str_equal(a->endpoint, b->endpoint) &&
           str_equal(a->problem, b->problem);
}

static void tell_health(struct etcd *etcd)
{
    struct dcs_health health;

    compose_health(etcd, &health);
    if (etcd->is_health_told && is_same_health(&health, &etcd->health)) {
        return;
    }
    etcd->is_health_told = true;
    etcd->health = health;
    etcd->listener.on_health(etcd->listener.arg, &health);
}

static void tell_snapshot(struct etcd *etcd)
{
    struct dcs_entry entries[DCS_KEYS_MAX];
    struct dcs_snapshot snapshot;

    if (!etcd->is_snapshot_due || !etcd_watch_has_snapshot(etcd->watch)) {
        return;
    }
    etcd->is_snapshot_due = false;
    cache_snapshot(
        etcd_watch_cache(etcd->watch), etcd_session_lease(etcd->session), entries, &snapshot);
    etcd->listener.on_snapshot(etcd->listener.arg, &snapshot);
}

static void txn_end(struct pending *txn, enum dcs_outcome outcome, int64_t revision)
{
    struct pending **link = &txn->etcd->txns;

    while (*link != txn) {
        ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = txn->next;
    txn->done(txn->arg, outcome, revision);
    mem_free(txn);
}

/* Ends one refused transaction; false: none. */
static bool tell_refused(struct etcd *etcd)
{
    for (struct pending *txn = etcd->txns; txn != NULL; txn = txn->next) {
        if (txn->call == NULL) {
            txn_end(txn, DCS_REFUSED, 0);
            return true;
        }
    }
    return false;
}

static void on_emit(void *arg)
{
    struct etcd *etcd = arg;
    bool has_more = true;

    etcd->is_telling = true;
    for (unsigned left = DCS_KEYS_MAX; left > 0 && has_more && !etcd->is_freeing; left--) {
        has_more = tell_refused(etcd);
    }
    if (has_more && !etcd->is_freeing) {
        loop_timer_start(etcd->emit, 0);
    }
    if (etcd->watch != NULL && !etcd->is_freeing) {
        tell_health(etcd);
    }
    if (etcd->watch != NULL && !etcd->is_freeing) {
        tell_snapshot(etcd);
    }
    etcd->is_telling = false;
    if (etcd->is_freeing) {
        mem_free(etcd);
    }
}

static void on_state(void *arg)
{
    struct etcd *etcd = arg;

    loop_timer_start(etcd->emit, 0);
}

static void on_change(void *arg)
{
    struct etcd *etcd = arg;

    etcd->is_snapshot_due = true;
    loop_timer_start(etcd->emit, 0);
}

/* Members. */

static void on_members(void *arg, const struct etcd_reply *reply)
{
    struct etcd *etcd = arg;
    struct etcd_members members;
    int r = reply->result;

    etcd->members_call = NULL;
    if (r == 0) {
        r = etcd_wire_read_members(reply->body, reply->length, &members, NULL);
    }
    if (r == 0 && members.cluster_id == etcd->pool->known.cluster_id) {
        etcd_pool_learn(etcd->pool, &members);
        loop_timer_start(etcd->members_timer, MEMBERS_MS);
        return;
    }
    /* At the start the list may come before the first read has told which cluster it is. */
    loop_timer_start(
        etcd->members_timer,
        etcd->pool->known.cluster_id == 0 ? MEMBERS_FIRST_MS : MEMBERS_RETRY_MS);
}

static void on_members_timer(void *arg)
{
    struct etcd *etcd = arg;

    etcd->members_call = etcd_call_start(
        etcd->pool,
        &(struct etcd_question){
            .path = "/cluster/member/list",
            .body = mem_dup("{}"),
            .retry = ETCD_ANY,
            .timeout_ms = MEMBERS_RETRY_MS},
        on_members, etcd);
}

/* The driver. */

static void etcd_start(struct dcs *dcs, const struct dcs_listener *listener)
{
    struct etcd *etcd = (struct etcd *)dcs;
    struct etcd_watch_listener watch_listener = {
        .on_change = on_change, .on_state = on_state, .arg = etcd};

    ASSERT(etcd->watch == NULL);
    etcd->listener = *listener;
    etcd->watch = etcd_watch_new(etcd->pool, etcd->prefix, etcd->retry_ms, &watch_listener);
    /* A new session makes other keys its own, so it is a change of the snapshot. */
    etcd->session = etcd_session_new(etcd->pool, etcd->ttl_ms, on_change, etcd);
    loop_timer_start(etcd->members_timer, 0);
}

/* Whether applying TXN makes one of its own conditions false for ever: a revision never comes
 * again. (A key that is absent, or has a value, may be so again, and then a repetition would do the
 * thing a second time.) */
static bool is_guarded(const struct dcs_txn *txn)
{
    for (unsigned at = 0; at < txn->compare_count; at++) {
        const struct dcs_compare *compare = &txn->compares[at];

        for (unsigned op = 0; op < txn->op_count; op++) {
            if (compare->kind == DCS_REVISION_IS && compare->revision > 0 &&
                str_equal(compare->key, txn->ops[op].key)) {
                return true;
            }
        }
    }
    return false;
}

/* Whether TXN can be sent at all now. */
static bool is_possible(const struct etcd *etcd, const struct dcs_txn *txn)
{
    if (etcd->watch == NULL || etcd->pool->is_replaced) {
        return false;
    }
    for (unsigned at = 0; at < txn->op_count; at++) {
        const struct dcs_op *op = &txn->ops[at];

        if (op->kind == DCS_PUT && strlen(op->value) > DCS_VALUE_MAX) {
            return false;
        }
        if (op->with_session && etcd_session_lease(etcd->session) == 0) {
            return false;
        }
    }
    return true;
}

static enum dcs_outcome outcome_of(
    struct etcd *etcd, const struct etcd_reply *reply, int64_t *ret_revision)
{
    struct etcd_header header;
    bool is_done = false;
    int r = reply->result;

    *ret_revision = 0;
    if (r < 0) {
        return reply->may_be_applied ? DCS_UNKNOWN : DCS_REFUSED;
    }
    r = etcd_wire_read_txn(reply->body, reply->length, &is_done, &header, NULL);
    if (r < 0 || !etcd_pool_accept(etcd->pool, reply->endpoint, &header, &reply->before, false)) {
        return DCS_UNKNOWN;
    }
    *ret_revision = header.revision;
    if (is_done) {
        return DCS_DONE;
    }
    return reply->may_be_applied ? DCS_UNKNOWN : DCS_LOST_RACE;
}

static void on_txn(void *arg, const struct etcd_reply *reply)
{
    struct pending *txn = arg;
    struct etcd *etcd = txn->etcd;
    int64_t revision = 0;
    enum dcs_outcome outcome = outcome_of(etcd, reply, &revision);

    txn->call = NULL;
    if (!etcd->is_freeing && reply->error.kind == ETCD_ERROR_NO_LEASE) {
        etcd_session_lost(etcd->session, txn->lease);
    }
    /* Whoever lost a race, or does not know, decided on an old snapshot or needs a new one. */
    if (!etcd->is_freeing && (outcome == DCS_LOST_RACE || outcome == DCS_UNKNOWN)) {
        etcd_watch_refresh(etcd->watch, false);
    }
    txn_end(txn, outcome, revision);
}

static void etcd_txn(
    struct dcs *dcs, const struct dcs_txn *txn, int64_t timeout_ms, dcs_done *done, void *arg)
{
    struct etcd *etcd = (struct etcd *)dcs;
    struct pending *new = mem_alloc(sizeof(*new));
    struct pending **end = &etcd->txns;

    ASSERT(!etcd->is_freeing);
    new->etcd = etcd;
    new->done = done;
    new->arg = arg;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = new;
    if (!is_possible(etcd, txn)) {
        loop_timer_start(etcd->emit, 0);
        return;
    }
    new->lease = etcd_session_lease(etcd->session);
    new->call = etcd_call_start(
        etcd->pool,
        &(struct etcd_question){
            .path = "/kv/txn",
            .body = etcd_wire_txn(etcd->prefix, txn, new->lease),
            .retry = is_guarded(txn) ? ETCD_GUARDED : ETCD_ONCE,
            .timeout_ms = timeout_ms},
        on_txn, new);
}

static void etcd_refresh(struct dcs *dcs)
{
    struct etcd *etcd = (struct etcd *)dcs;

    if (etcd->watch != NULL && !etcd->is_freeing) {
        etcd_watch_refresh(etcd->watch, true);
    }
}

static void etcd_set_times(struct dcs *dcs, int64_t ttl_ms, int64_t retry_timeout_ms)
{
    struct etcd *etcd = (struct etcd *)dcs;

    etcd->ttl_ms = ttl_ms;
    etcd->retry_ms = retry_timeout_ms;
    if (etcd->watch != NULL) {
        etcd_watch_set_times(etcd->watch, retry_timeout_ms);
        etcd_session_set_ttl(etcd->session, ttl_ms);
    }
}

static void etcd_end_session(struct dcs *dcs)
{
    struct etcd *etcd = (struct etcd *)dcs;

    if (etcd->session != NULL) {
        etcd_session_end(etcd->session, etcd->retry_ms);
    }
}

static void etcd_free(struct dcs *dcs)
{
    struct etcd *etcd = (struct etcd *)dcs;

    ASSERT(!etcd->is_freeing);
    etcd->is_freeing = true;
    etcd_watch_free(etcd->watch);
    etcd_session_free(etcd->session);
    etcd_call_cancel(etcd->members_call);
    loop_timer_free(etcd->members_timer);
    loop_timer_free(etcd->emit);
    while (tell_refused(etcd)) {
    }
    etcd_pool_free(etcd->pool);
    ASSERT(etcd->txns == NULL);
    mem_free(etcd->prefix);
    if (!etcd->is_telling) {
        mem_free(etcd);
    }
}

static const struct dcs_driver etcd_driver = {
    .name = "etcd",
    .start = etcd_start,
    .txn = etcd_txn,
    .refresh = etcd_refresh,
    .set_times = etcd_set_times,
    .end_session = etcd_end_session,
    .free = etcd_free,
};

struct dcs *etcd_new(struct loop *loop, const struct etcd_options *options)
{
    struct etcd *etcd = mem_alloc(sizeof(*etcd));

    ASSERT(options->prefix[0] != '\0');
    etcd->dcs.driver = &etcd_driver;
    etcd->pool = etcd_pool_new(loop, options);
    etcd->prefix = mem_dup(options->prefix);
    etcd->ttl_ms = options->ttl_ms > 0 ? options->ttl_ms : TTL_DEFAULT_MS;
    etcd->retry_ms = options->retry_timeout_ms > 0 ? options->retry_timeout_ms : RETRY_DEFAULT_MS;
    etcd->members_timer = loop_timer_new(loop, on_members_timer, etcd);
    etcd->emit = loop_timer_new(loop, on_emit, etcd);
    return &etcd->dcs;
}

void etcd_set_endpoints(struct dcs *dcs, const char *const *endpoints, unsigned count)
{
    struct etcd *etcd = (struct etcd *)dcs;

    ASSERT(dcs->driver == &etcd_driver);
    etcd_pool_set_endpoints(etcd->pool, endpoints, count);
}
