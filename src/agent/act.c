#include "agent/state.h"

#include "base/assert.h"
#include "base/mem.h"

/* Bookkeeping transactions are given up after this long; nothing waits for them. */
#define RECORD_TIMEOUT_MS 2000

/* The same bookkeeping is not repeated sooner. */
#define RECORD_PAUSE_MS 200

/* More than a store can have given out between an old copy of it and now. */
#define FORGOTTEN_TIMELINES 200u

_Static_assert(FORGOTTEN_TIMELINES * 5 < ENGINE_TIMELINES_SKIPPED_MAX, "several times in a row");

#define HISTORY_REASON "no recovery target specified"

static struct dcs_compare compare_revision(const char *key, int64_t revision)
{
    if (revision == 0) {
        return (struct dcs_compare){.kind = DCS_IS_ABSENT, .key = key};
    }
    return (struct dcs_compare){.kind = DCS_REVISION_IS, .key = key, .revision = revision};
}

static struct dcs_op put(const char *key, const char *value, bool with_session)
{
    return (struct dcs_op){
        .kind = DCS_PUT, .key = key, .value = value, .with_session = with_session};
}

/* Send a change of the lease: t0 is read before anything leaves this host. */
static void begin_lease_txn(
    struct agent *agent, enum lease_txn txn, const struct lease_record *wanted, struct dcs_txn *out)
{
    struct lease_facts *lease = &agent->lease;
    AUTO_FREE char *json = record_lease_encode(wanted);

    ASSERT(lease->txn == LEASE_TXN_NONE);
    out->compares[out->compare_count++] = compare_revision(KEY_LEASE, lease->revision);
    out->ops[out->op_count++] = put(KEY_LEASE, json, false);
    lease->txn = txn;
    lease->wanted = *wanted;
    lease->over = lease->revision;
    lease->t0 = agent->ports.now(agent->ports.arg);
    lease->hold_ms = agent->times.hold_ms;
    lease->tried = lease->t0;
    dcs_txn(agent->ports.dcs, out, agent->times.request_ms, agent_on_lease_txn, agent);
}

/* The store may have been set back before this agent began (the agents must be restarted for that),
 * to a moment of the same lease. */
static bool is_holder_unheard(const struct agent *agent)
{
    const char *holder = agent->lease.record.holder;

    for (unsigned at = 0; at < agent->peer_count; at++) {
        if (str_equal(agent->peers[at].name, holder)) {
            return !instant_is_set(agent->peers[at].asked);
        }
    }
    return false;
}

/* A number that no promotion anywhere can have had: above all that were given out or seen, and not
 * the very next one, which is what PostgreSQL takes when somebody promotes a standby by hand. Two
 * histories under one number could not be told apart. And an even one, so that the number alone
 * tells who gave it (view.c). Timeline 1 has no standbys yet. */
static uint32_t next_timeline(const struct agent *agent)
{
    uint32_t newest = MAX(agent_past_timeline(agent), agent->cluster.history.timeline);

    newest = MAX(newest, agent->server.status.position.timeline);
    newest = MAX(newest, agent->server.status.history.timeline);
    for (unsigned at = 0; at < agent->peer_count; at++) {
        newest = MAX(newest, agent->peers[at].report.position.timeline);
        newest = MAX(newest, agent->peers[at].report.history.timeline);
    }
    /* Somebody who cannot be asked may have opened what the store has forgotten. */
    if (agent_is_store_old(agent) || is_holder_unheard(agent)) {
        newest += FORGOTTEN_TIMELINES;
    }
    return newest > 1 ? (newest + 3) & ~UINT32_C(1) : 2;
}

/* The guard moves a deadline forward only, and that of a renewal with a longer ttl may be later
 * than the ttl of now allows, also one of an agent before this: the others must wait so long. */
static int64_t needed_length_ms(const struct agent *agent)
{
    struct instant now = agent->ports.now(agent->ports.arg);
    const struct instant deadlines[] = {
        agent->lease.deadline, agent->server.status.deadline, agent->lease.armed};
    int64_t length_ms = agent->times.length_ms;

    for (size_t at = 0; at < ARRAY_LEN(deadlines); at++) {
        int64_t left_ms = instant_is_set(deadlines[at]) ? instant_left_ms(deadlines[at], now) : 0;

        if (left_ms > agent->times.hold_ms) {
            length_ms = MAX(length_ms, lease_length_ms(left_ms));
        }
    }
    return length_ms;
}

/* The leader key is what Patroni's world reads; it is put again with this session when it is
 * missing, and when it hangs on an earlier one (of the agent before, or with another ttl): that one
 * ends sooner than the hold does, or much later. */
static void renew(struct agent *agent, bool is_next_term)
{
    struct lease_record wanted = agent->lease.record;
    struct dcs_txn txn = {0};

    wanted.seq++;
    /* A store that was set back knows less than was seen, and so does this record. */
    if (is_next_term || agent_past_term(agent) > wanted.term) {
        uint64_t promised = agent_highest_promise(agent, agent->ports.now(agent->ports.arg));

        wanted.term = MAX(agent_past_term(agent) + 1, promised);
        wanted.seq = 1;
    }
    wanted.length_ms = needed_length_ms(agent);
    /* Never in advance: what somebody promoted by hand must be beyond all numbers that stand here
     * (ha_bar). */
    if (agent_needs_timeline(agent)) {
        wanted.timeline = next_timeline(agent);
    } else if (agent_is_opened_by_hand(agent)) {
        wanted.timeline = agent->server.status.position.timeline;
    }
    if (agent->cluster.leader[0] == '\0' && agent->cluster.revision >= agent->lease.known_at) {
        txn.compares[txn.compare_count++] =
            (struct dcs_compare){.kind = DCS_IS_ABSENT, .key = KEY_LEADER};
        if (agent->dcs.has_session) {
            txn.ops[txn.op_count++] = put(KEY_LEADER, agent->config->name, true);
        }
    } else {
        txn.compares[txn.compare_count++] = (struct dcs_compare){
            .kind = DCS_VALUE_IS, .key = KEY_LEADER, .value = agent->config->name};
        if (agent->dcs.has_session && !agent->is_leader_of_session) {
            txn.ops[txn.op_count++] = put(KEY_LEADER, agent->config->name, true);
        }
    }
    agent_name_failsafe(agent, &wanted);
    begin_lease_txn(agent, LEASE_TXN_RENEW, &wanted, &txn);
}

static void acquire(struct agent *agent)
{
    struct lease_record wanted = {
        .term = MAX(agent_past_term(agent) + 1, agent->sync.promised),
        .seq = 1,
        .length_ms = needed_length_ms(agent),
        .timeline = next_timeline(agent),
    };
    struct dcs_txn txn = {0};
    AUTO_FREE char *sync_json = NULL;

    if (!agent->dcs.has_session) {
        return;
    }
    agent_take_sync(agent, &txn, &sync_json);
    agent_name_failsafe(agent, &wanted);
    IGNORE(!str_copy(wanted.holder, sizeof(wanted.holder), agent->config->name), "same size");
    IGNORE(!str_copy(wanted.node, sizeof(wanted.node), agent->ports.node_id), "made that long");
    txn.compares[txn.compare_count++] =
        compare_revision(KEY_LEADER, agent->cluster.leader_revision);
    /* It may have allowed what is not allowed otherwise: only while it stands. */
    if (agent->cluster.has_request) {
        txn.compares[txn.compare_count++] =
            compare_revision(KEY_FAILOVER, agent->cluster.request_revision);
    }
    txn.ops[txn.op_count++] = put(KEY_LEADER, agent->config->name, true);
    begin_lease_txn(agent, LEASE_TXN_ACQUIRE, &wanted, &txn);
}

static void release(struct agent *agent, const struct ha_view *view, const struct ha_action *action)
{
    struct lease_record wanted = {
        .term = agent->lease.record.term,
        .seq = agent->lease.record.seq + 1,
        .length_ms = agent->times.length_ms,
        .timeline = agent->lease.record.timeline,
        .floor = action->floor,
    };
    struct dcs_txn txn = {0};
    AUTO_FREE char *status = NULL;

    if (action->member >= 0) {
        IGNORE(
            !str_copy(
                wanted.released_to, sizeof(wanted.released_to), view->members[action->member].name),
            "same size");
    }
    txn.ops[txn.op_count++] = (struct dcs_op){.kind = DCS_DELETE, .key = KEY_LEADER};
    if (action->floor.lsn != 0) {
        status = record_status_encode(action->floor.lsn, NULL, 0);
        txn.ops[txn.op_count++] = put(KEY_STATUS, status, false);
    }
    begin_lease_txn(agent, LEASE_TXN_RELEASE, &wanted, &txn);
    /* It may be applied at any moment from now on, answered or not: this node holds nothing any
     * more, until it takes the lease anew. */
    agent->lease.deadline = (struct instant){0};
    agent->lease.doubtful = LEASE_TXN_NONE;
}

static void on_record_txn(void *arg, enum dcs_outcome outcome, int64_t revision)
{
    struct agent *agent = arg;

    ASSERT(revision >= 0);
    agent->is_record_busy = false;
    if (outcome == DCS_LOST_RACE || outcome == DCS_UNKNOWN) {
        dcs_refresh(agent->ports.dcs);
    }
}

static void put_record(struct agent *agent, const struct dcs_txn *txn)
{
    ASSERT(!agent->is_record_busy);
    agent->is_record_busy = true;
    dcs_txn(agent->ports.dcs, txn, RECORD_TIMEOUT_MS, on_record_txn, agent);
}

static void claim(struct agent *agent)
{
    struct dcs_txn txn = {.compare_count = 1, .op_count = 1};

    txn.compares[0] = compare_revision(KEY_INITIALIZE, 0);
    txn.ops[0] = put(KEY_INITIALIZE, "", true);
    put_record(agent, &txn);
}

/* What it was, not what the cluster was made with: commits may wait for standbys by now. */
static const char *config_of(const struct agent *agent)
{
    return agent->config_json != NULL ? agent->config_json : agent->config->bootstrap.dcs_json;
}

static void initialize(struct agent *agent)
{
    struct dcs_txn txn = {.compare_count = 1, .op_count = 1};
    char system_id[24];

    IGNORE(
        !str_format(system_id, sizeof(system_id), "%" PRIu64, agent->server.status.system_id),
        "fits");
    txn.compares[0] = compare_revision(
        KEY_INITIALIZE, agent->cluster.has_initialize ? agent->cluster.initialize_revision : 0);
    txn.ops[0] = put(KEY_INITIALIZE, system_id, false);
    if (!agent->cluster.has_config && !agent_is_config_unknown(agent)) {
        txn.compares[txn.compare_count++] = compare_revision(KEY_CONFIG, 0);
        txn.ops[txn.op_count++] = put(KEY_CONFIG, config_of(agent), false);
    }
    put_record(agent, &txn);
}

static void put_config(struct agent *agent)
{
    struct dcs_txn txn = {.compare_count = 1, .op_count = 1};

    txn.compares[0] = compare_revision(KEY_CONFIG, 0);
    txn.ops[0] = put(KEY_CONFIG, config_of(agent), false);
    put_record(agent, &txn);
}

static struct dcs_compare compare_own_lease(const struct agent *agent)
{
    return (struct dcs_compare){
        .kind = DCS_VALUE_IS, .key = KEY_LEADER, .value = agent->config->name};
}

static void put_status(struct agent *agent)
{
    struct dcs_txn txn = {.compare_count = 1, .op_count = 1};
    AUTO_FREE char *json = record_status_encode(agent->server.status.position.lsn, NULL, 0);

    txn.compares[0] = compare_own_lease(agent);
    txn.ops[0] = put(KEY_STATUS, json, false);
    agent->status_lsn = agent->server.status.position.lsn;
    agent->status_at = agent->ports.now(agent->ports.arg);
    put_record(agent, &txn);
}

static void put_history(struct agent *agent)
{
    struct dcs_txn txn = {.compare_count = 2, .op_count = 2};
    char of[12];
    AUTO_FREE char *json = record_history_append(
        agent->history_json, &agent->server.status.history, HISTORY_REASON,
        agent->ports.real_ms(agent->ports.arg), agent->config->name, 0);

    txn.compares[0] = compare_own_lease(agent);
    txn.compares[1] = compare_revision(KEY_HISTORY, agent->cluster.history_revision);
    txn.ops[0] = put(KEY_HISTORY, json, false);
    IGNORE(
        !str_format(of, sizeof(of), "%" PRIu32, agent->server.status.history.timeline), "it fits");
    txn.ops[1] = put(KEY_HISTORY_OF, of, false);
    put_record(agent, &txn);
}

static void put_failsafe(struct agent *agent)
{
    struct dcs_txn txn = {.compare_count = 1, .op_count = 1};
    AUTO_FREE char *json = record_failsafe_encode(&agent->cluster);

    txn.compares[0] = compare_own_lease(agent);
    txn.ops[0] = put(KEY_FAILSAFE, json, false);
    put_record(agent, &txn);
}

static void clear_request(struct agent *agent)
{
    struct dcs_txn txn = {.compare_count = 1, .op_count = 1};

    txn.compares[0] = compare_revision(KEY_FAILOVER, agent->cluster.request_revision);
    txn.ops[0] = put(KEY_FAILOVER, "{}", false);
    put_record(agent, &txn);
}

/* The peer to copy from, rewind to or follow; an empty name for none. */
static struct engine_peer engine_peer_of(
    const struct agent *agent, const struct ha_view *view, int member)
{
    struct engine_peer peer = {0};
    const struct member *known = NULL;

    if (member >= 0) {
        known = cluster_find(&agent->cluster, view->members[member].name);
    }
    if (known != NULL) {
        IGNORE(!str_copy(peer.name, sizeof(peer.name), known->name), "same size");
        IGNORE(!str_copy(peer.conn_url, sizeof(peer.conn_url), known->conn_url), "same size");
        IGNORE(!str_copy(peer.api_url, sizeof(peer.api_url), known->api_url), "same size");
    }
    return peer;
}

static const struct {
    enum ha_action_kind kind;
    enum engine_order order;
} orders[] = {
    {HA_BOOTSTRAP, ORDER_BOOTSTRAP}, {HA_CLONE, ORDER_CLONE},
    {HA_REWIND, ORDER_REWIND},       {HA_START, ORDER_START},
    {HA_STOP, ORDER_STOP},           {HA_PROMOTE, ORDER_PROMOTE},
    {HA_FOLLOW, ORDER_FOLLOW},       {HA_CHECKPOINT, ORDER_CHECKPOINT},
    {HA_REVOKE, ORDER_REVOKE},       {HA_FETCH, ORDER_FETCH},
};

static enum engine_order order_of(enum ha_action_kind kind)
{
    for (size_t at = 0; at < ARRAY_LEN(orders); at++) {
        if (orders[at].kind == kind) {
            return orders[at].order;
        }
    }
    return ORDER_NONE;
}

static void give_order(
    struct agent *agent, const struct ha_view *view, const struct ha_action *action)
{
    struct engine_order_args args = {
        .order = order_of(action->kind),
        .peer = engine_peer_of(agent, view, action->member),
        .stop_mode = action->stop_mode,
        .timeline = agent->lease.record.timeline,
        .end = action->kind == HA_FETCH ? action->floor : (struct position){0},
    };
    struct err e = {0};

    ASSERT(args.order != ORDER_NONE);
    if (agent->server.order != ORDER_NONE) {
        return;
    }
    if (engine_order(agent->ports.engine, &args, &e) < 0) {
        agent_log(agent, LOG_LEVEL_ERROR, action->rule, "%s", err_text(&e));
        agent->server.retry = instant_add_ms(agent->ports.now(agent->ports.arg), 1000);
        if (args.order == ORDER_PROMOTE) {
            agent->server.promote_retry = agent->server.retry;
        }
        return;
    }
    agent->server.order = args.order;
    if (args.order == ORDER_PROMOTE) {
        agent->lease.is_timeline_used = true;
    }
    if (action->is_for_request) {
        agent->request.begun = agent->lease.record.term;
        agent->request.is_tried = args.order == ORDER_STOP;
    }
    if (action->is_for_room) {
        agent->server.room_tried = agent->ports.now(agent->ports.arg);
    }
}

static void kill_server(struct agent *agent)
{
    engine_kill(agent->ports.engine);
    if (!instant_is_set(agent->server.killed)) {
        agent->server.killed = agent->ports.now(agent->ports.arg);
    }
}

static void act_record(struct agent *agent, const struct ha_action *action)
{
    static const struct {
        enum ha_action_kind kind;
        void (*function)(struct agent *agent);
    } functions[] = {
        {HA_CLAIM, claim},
        {HA_INITIALIZE, initialize},
        {HA_PUT_CONFIG, put_config},
        {HA_PUT_STATUS, put_status},
        {HA_PUT_HISTORY, put_history},
        {HA_CLEAR_REQUEST, clear_request},
        {HA_PUT_FAILSAFE, put_failsafe},
    };

    struct instant now = agent->ports.now(agent->ports.arg);
    struct instant *recorded = &agent->recorded[action->kind];

    /* One at a time: the next turn, after the answer, asks again for what is still missing. What
     * cannot be satisfied must neither keep the others out nor press the store. */
    if (agent->is_record_busy) {
        return;
    }
    if (instant_is_set(*recorded) && instant_elapsed_max_ms(*recorded, now) < RECORD_PAUSE_MS) {
        agent_wake(agent, RECORD_PAUSE_MS);
        return;
    }
    *recorded = now;
    if (action->kind != HA_PUT_STATUS) {
        agent_log(
            agent, LOG_LEVEL_INFO, action->rule, "%s%s%s", action->why,
            action->detail != NULL ? ": " : "", action->detail != NULL ? action->detail : "");
    }
    for (size_t at = 0; at < ARRAY_LEN(functions); at++) {
        if (functions[at].kind == action->kind) {
            functions[at].function(agent);
        }
    }
}

/* One line when the decision of a topic changes, and no line while it stays. */
static void note_decision(
    struct agent *agent, enum ha_topic topic, const struct ha_view *view,
    const struct ha_action *action)
{
    struct decision_fact *last = &agent->decisions[topic];
    const char *about = action->about >= 0 ? view->members[action->about].name : "";
    char text[sizeof(last->text)];

    if (action->kind == HA_RENEW || action->kind == HA_ASK ||
        str_equal(action->rule, "lease.busy")) {
        return; /* routine */
    }
    /* Nearly every turn says what the one before said: sentences are static, so addresses tell. */
    if (last->rule == action->rule && last->why == action->why && last->detail == action->detail &&
        str_equal(last->about, about)) {
        return;
    }
    last->why = action->why;
    last->detail = action->detail;
    IGNORE(!str_copy(last->about, sizeof(last->about), about), "same size");
    IGNORE(
        !str_format(
            text, sizeof(text), "%s%s%s%s%s", action->why, about[0] != '\0' ? ": " : "", about,
            action->detail != NULL ? ": " : "", action->detail != NULL ? action->detail : ""),
        "cut is fine");
    if (str_equal(last->rule, action->rule) && str_equal(last->text, text)) {
        return;
    }
    last->rule = action->rule;
    IGNORE(!str_copy(last->text, sizeof(last->text), text), "same size");
    if (topic == TOPIC_SYNC && view->settings.sync_mode == SYNC_OFF &&
        action->kind != HA_DELETE_SYNC) {
        return; /* the usual case of those who have no use for it */
    }
    agent_log(
        agent, action->kind == HA_KILL ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, action->rule, "%s",
        text);
}

void agent_act(struct agent *agent, const struct ha_view *view, const struct ha_plan *plan)
{
    const struct ha_action *lease = &plan->actions[TOPIC_LEASE];
    const struct ha_action *server = &plan->actions[TOPIC_SERVER];
    const struct ha_action *sync = &plan->actions[TOPIC_SYNC];

    note_decision(agent, TOPIC_LEASE, view, lease);
    note_decision(agent, TOPIC_SERVER, view, server);
    note_decision(agent, TOPIC_SYNC, view, sync);
    if (server->kind == HA_KILL) {
        kill_server(agent);
    } else if (server->kind != HA_NOTHING) {
        give_order(agent, view, server);
    }
    if (lease->kind == HA_RENEW) {
        renew(agent, lease->is_next_term);
    } else if (lease->kind == HA_ACQUIRE) {
        acquire(agent);
    } else if (lease->kind == HA_RELEASE) {
        release(agent, view, lease);
    } else if (lease->kind == HA_PROMISE) {
        agent_promise(agent);
    } else if (lease->kind == HA_ASK) {
        agent_ask_failsafe(agent);
    }
    agent_act_sync(agent, view, sync);
    for (unsigned at = TOPIC_RECORD; at < plan->count; at++) {
        act_record(agent, &plan->actions[at]);
    }
}
