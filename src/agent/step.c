#include "agent/state.h"

#include "base/assert.h"
#include "base/mem.h"

/* While the lease is open, or about to be, the own position is asked for this often: a release may
 * wait for the last bytes. */
#define RACE_PROBE_MS 20

#define SYNC_PROBE_MS 250

/* The longest pause between turns, whatever loop_wait says: ages in what is shown stay honest.
 * After one that is much longer this agent was away, and perhaps its whole host. */
#define TURN_MAX_MS 1000
#define TURN_AWAY_MS (3 * TURN_MAX_MS)
#define TURN_LATE_MS 250

void agent_wake(struct agent *agent, int64_t ms)
{
    agent->wake_ms = MIN(agent->wake_ms, MAX(ms, (int64_t)1));
}

void agent_log(struct agent *agent, enum log_level level, const char *rule, const char *format, ...)
{
    char text[512];
    char term[24];
    va_list args;

    va_start(args, format);
    IGNORE(vsnprintf(text, sizeof(text), format, args) < 0, "cut is fine");
    va_end(args);
    IGNORE(!str_format(term, sizeof(term), "%" PRIu64, agent->lease.record.term), "fits");
    {
        const struct log_field fields[] = {
            {"node", agent->config->name}, {"rule", rule}, {"term", term}, {NULL, NULL}};

        agent->ports.log(agent->ports.arg, level, fields, text);
    }
}

struct agent *agent_new(const struct config *config, const struct agent_ports *ports)
{
    struct agent *agent = mem_alloc(sizeof(*agent));

    agent->config = config;
    agent->ports = *ports;
    ASSERT(ports->node_id != NULL);
    agent->cluster.settings = (struct cluster_settings)CLUSTER_SETTINGS_DEFAULT;
    agent->times = agent_times(agent);
    agent->sync.promised = ports->promised;
    agent->past.known = ports->past;
    agent->past.saved = ports->past;
    return agent;
}

void agent_free(struct agent *agent)
{
    if (agent == NULL) {
        return;
    }
    agent_drop_waiters(agent);
    mem_free(agent->config_json);
    mem_free(agent->history_json);
    mem_free(agent->failsafe_json);
    mem_free(agent);
}

void agent_start(struct agent *agent)
{
    const struct dcs_listener store = {
        .on_snapshot = agent_on_snapshot, .on_health = agent_on_health, .arg = agent};
    const struct engine_listener engine = {
        .on_status = agent_on_status,
        .on_order = agent_on_order,
        .on_ping = agent_on_ping,
        .arg = agent};

    agent->is_started = true;
    dcs_start(agent->ports.dcs, &store);
    engine_start(agent->ports.engine, &engine);
    agent_watch(agent);
}

static bool is_server_running(const struct agent *agent)
{
    enum server_state state = agent->server.status.state;

    return state == SERVER_STARTING || state == SERVER_STANDBY || state == SERVER_PRIMARY ||
           state == SERVER_STOPPING;
}

/* The guard drops a deadline with the processes that it was for; a server started since must get it
 * again. */
static void keep_armed(struct agent *agent, struct instant now)
{
    const struct engine_status *status = &agent->server.status;
    bool is_behind =
        !instant_is_set(status->deadline) ||
        instant_left_ms(agent->lease.deadline, now) > instant_left_ms(status->deadline, now);

    if (agent_holds(agent, now, NULL) && is_server_running(agent) && is_behind) {
        engine_arm(agent->ports.engine, agent->lease.deadline);
    }
    /* A standby that was started while the lease was held here, and that is not any more. */
    if (instant_is_set(status->deadline) && status->state == SERVER_STANDBY && agent->has_cluster &&
        !status->is_opened && !status->is_promoting && agent->server.order == ORDER_NONE &&
        agent->lease.txn == LEASE_TXN_NONE && agent->lease.doubtful == LEASE_TXN_NONE &&
        !agent_is_own(agent, &agent->lease.record)) {
        engine_disarm(agent->ports.engine);
    }
}

void agent_watch(struct agent *agent)
{
    const struct config_watchdog *config = &agent->config->watchdog;
    bool is_off = str_equal(config->mode, "off");
    const struct engine_watch watch = {
        .device = is_off ? "" : config->device,
        .is_testing = str_equal(config->driver, "testing"),
        .is_required = str_equal(config->mode, "required"),
        .timeout_s = agent->times.watchdog_s,
        .left_ms = agent->times.watchdog_left_ms,
    };

    engine_watch(agent->ports.engine, &watch);
}

static void note_request_due(struct agent *agent, struct instant now)
{
    struct request_facts *request = &agent->request;
    int64_t left_ms = request->request.scheduled_real_ms - agent->ports.real_ms(agent->ports.arg);

    if (!request->is_present || instant_is_set(request->due)) {
        return;
    }
    if (left_ms <= 0) {
        request->due = now;
    } else {
        agent_wake(agent, left_ms);
    }
}

/* In failsafe mode the others are asked when half of the hold is over. */
static void plan_ask(struct agent *agent, const struct ha_view *view)
{
    int64_t half_ms = agent->times.hold_ms / 2;

    if (agent->cluster.settings.is_failsafe && agent->failsafe.pending == 0) {
        agent_wake(
            agent,
            view->lease_left_ms > half_ms ? view->lease_left_ms - half_ms + 1 : HEARTBEAT_RACE_MS);
    }
}

/* When time alone changes the view: deadlines, the end of another's lease, of a grace, of a
 * back-off. */
static void plan_wake(struct agent *agent, const struct ha_view *view, struct instant now)
{
    const struct lease_facts *lease = &agent->lease;

    if (view->lease == HA_LEASE_MINE) {
        agent_wake(agent, view->lease_left_ms + 1);
        agent_wake(agent, agent->times.renew_ms - instant_elapsed_max_ms(lease->tried, now));
        plan_ask(agent, view);
    }
    if (view->lease == HA_LEASE_OTHER && lease->record.holder[0] != '\0') {
        int64_t left_ms = MAX(lease->record.length_ms, agent->times.length_ms) -
                          instant_elapsed_min_ms(lease->seen, now);

        agent_wake(agent, MAX(left_ms, agent_bound_ms(agent, now)) + 1);
    }
    if (view->lease == HA_LEASE_FREE || view->lease == HA_LEASE_EXPIRED) {
        agent_wake(agent, HEARTBEAT_RACE_MS);
    }
    if (instant_left_ms(agent->server.promote_retry, now) > 0) {
        agent_wake(agent, instant_left_ms(agent->server.promote_retry, now) + 1);
    }
    if (instant_left_ms(agent->server.retry, now) > 0) {
        agent_wake(agent, instant_left_ms(agent->server.retry, now) + 1);
    }
}

/* Who confirms commits, and who has ceased to, should be known soon. */
static void probe_standbys(struct agent *agent, const struct ha_view *view, struct instant now)
{
    if (view->lease != HA_LEASE_MINE || view->server.state != SERVER_PRIMARY ||
        !agent_is_sync(agent)) {
        return;
    }
    if (instant_elapsed_max_ms(agent->probed, now) >= SYNC_PROBE_MS) {
        agent->probed = now;
        engine_probe(agent->ports.engine);
    }
    agent_wake(agent, SYNC_PROBE_MS);
}

/* A hand-over that was asked for will open the lease in a moment. */
static void probe_for_race(struct agent *agent, const struct ha_view *view, struct instant now)
{
    bool is_open = view->lease == HA_LEASE_FREE || view->lease == HA_LEASE_EXPIRED ||
                   (view->request.is_present && view->request.is_due);

    if (!is_open || view->server.state != SERVER_STANDBY || !view->dcs_ok) {
        return;
    }
    if (instant_elapsed_max_ms(agent->probed, now) >= RACE_PROBE_MS) {
        agent->probed = now;
        engine_probe(agent->ports.engine);
    }
    agent_wake(agent, RACE_PROBE_MS);
}

/* What was heard of positions before the lease was open may be outdated. */
static void note_opening(struct agent *agent, const struct ha_view *view, struct instant now)
{
    bool is_open = view->lease == HA_LEASE_FREE || view->lease == HA_LEASE_EXPIRED;

    if (is_open && !agent->sync.was_open) {
        agent->sync.opened = now;
    } else if (!is_open) {
        agent->sync.opened = (struct instant){0};
    }
    agent->sync.was_open = is_open;
}

int64_t agent_step(struct agent *agent)
{
    struct instant now = agent->ports.now(agent->ports.arg);
    int64_t late_ms = instant_is_set(agent->stepped)
                          ? instant_elapsed_max_ms(agent->stepped, now) - agent->wake_ms
                          : 0;
    struct ha_view view;
    struct ha_plan plan;

    agent->wake_ms = MIN((int64_t)TURN_MAX_MS, agent->cluster.settings.loop_wait_ms);
    agent_note_time(agent, now);
    if (!instant_is_set(agent->server.watched) ||
        instant_elapsed_max_ms(agent->stepped, now) > TURN_AWAY_MS) {
        agent->server.watched = now;
        agent_forget_failures(agent);
    }
    if (late_ms > TURN_LATE_MS) {
        agent->server.resumed = now;
    }
    agent_note_past(agent, now);
    agent->stepped = now;
    note_request_due(agent, now);
    keep_armed(agent, now);
    if (!agent_check_namesake(agent)) {
        return agent->wake_ms;
    }
    agent_view(agent, &view);
    note_opening(agent, &view, now);
    agent_vote(agent, &view, now);
    ha_decide(&view, &plan);
    agent_act(agent, &view, &plan);
    agent_publish(agent);
    agent_poll_peers(agent, &view);
    agent_settle_waiters(agent);
    agent_ping_holder(agent, &view);
    probe_for_race(agent, &view, now);
    probe_standbys(agent, &view, now);
    plan_wake(agent, &view, now);
    return agent->wake_ms;
}

void agent_look(struct agent *agent)
{
    agent->looked = agent->ports.now(agent->ports.arg);
    engine_probe(agent->ports.engine);
}

void agent_read_log(
    struct agent *agent, const struct tail_ask *ask, const char *mac, engine_log_done *done,
    void *arg)
{
    struct err why = {0};

    if (!agent_holds(agent, agent->ports.now(agent->ports.arg), NULL)) {
        done(arg, FAIL(&why, ERR_CONFLICT, "this node does not hold the lease"), NULL, 0, &why);
        return;
    }
    engine_read_log(agent->ports.engine, ask, mac, done, arg);
}

void agent_leave(struct agent *agent)
{
    if (!agent->is_leaving) {
        agent_log(agent, LOG_LEVEL_INFO, "agent.leave", "told to stop, with the server");
        agent->is_leaving = true;
    }
}

bool agent_is_done(const struct agent *agent)
{
    struct instant now = agent->ports.now(agent->ports.arg);

    return agent->is_leaving && agent->server.order == ORDER_NONE && !is_server_running(agent) &&
           agent->server.has_looked && agent->lease.txn == LEASE_TXN_NONE &&
           !agent_holds(agent, now, NULL);
}

bool agent_is_refused(const struct agent *agent)
{
    return agent->namesake == NAMESAKE_ALIVE;
}

static void show_decision(const struct decision_fact *fact, struct api_decision *ret)
{
    IGNORE(!str_copy(ret->rule, sizeof(ret->rule), fact->rule != NULL ? fact->rule : ""), "fits");
    IGNORE(!str_copy(ret->text, sizeof(ret->text), fact->text), "same size");
}

/* What is known of the other members, by their place in the reading of the store. */
static void show_peers(
    const struct agent *agent, const struct ha_view *view, struct instant now,
    struct api_snapshot *ret)
{
    memset(ret->has_report, 0, sizeof(ret->has_report));
    memset(ret->is_silent, 0, sizeof(ret->is_silent));
    memset(ret->report, 0, sizeof(ret->report));
    for (unsigned peer = 0; peer < agent->peer_count; peer++) {
        const struct peer_facts *facts = &agent->peers[peer];
        const struct ha_member *seen = &view->members[peer + 1];
        const struct member *member = cluster_find(&agent->cluster, facts->name);
        size_t at;

        if (member == NULL) {
            continue;
        }
        at = (size_t)(member - agent->cluster.members);
        if (seen->is_fresh) {
            ret->has_report[at] = true;
            ret->report[at] = &facts->report;
            ret->report_position[at] = facts->report.position;
            ret->report_received_lsn[at] = facts->report.received_lsn;
            ret->report_replayed_lsn[at] = facts->report.replayed_lsn;
        } else {
            ret->is_silent[at] = seen->is_settled;
            ret->silent_ms[at] =
                instant_is_set(facts->asked) ? instant_elapsed_max_ms(facts->asked, now) : 0;
        }
    }
}

void agent_snapshot(const struct agent *agent, struct api_snapshot *ret)
{
    struct instant now = agent->ports.now(agent->ports.arg);
    struct ha_view view;
    int heir;

    agent_view(agent, &view);
    heir = ha_tail_heir(&view);
    IGNORE(
        !str_copy(ret->tail_for, sizeof(ret->tail_for), heir >= 0 ? view.members[heir].name : ""),
        "same size");
    ret->is_fetching = agent->server.order == ORDER_FETCH;
    /* Field by field: this is large, and most of it is room for members that are not there. */
    ret->config = agent->config;
    cluster_copy(&ret->cluster, &agent->cluster);
    ret->server = agent->server.status;
    ret->state = agent_member_state(agent);
    ret->role = agent_member_role(agent);
    ret->has_lease = agent_holds(agent, now, NULL);
    ret->is_led = view.lease == HA_LEASE_MINE || view.lease == HA_LEASE_OTHER;
    ret->dcs_ok = agent->dcs.is_connected;
    ret->dcs_seen_real_ms = agent->dcs_seen_real_ms;
    ret->real_ms = agent->ports.real_ms(agent->ports.arg);
    ret->last_turn_ms = instant_elapsed_max_ms(agent->stepped, now);
    ret->is_candidate = ha_bar(&view, view.self) == NULL;
    ret->trouble = view.members[view.self].trouble;
    ret->down_ms = view.server.down_ms;
    ret->age_ms = instant_is_set(agent->server.status.looked)
                      ? instant_elapsed_max_ms(agent->server.status.looked, now)
                      : 0;
    ret->suspected = agent_suspects(agent, now) ? agent->lease.record.term : 0;
    ret->is_partial = !view.members[view.self].is_whole;
    ret->bound = agent->sync.promised;
    ret->promised = agent->server.status.is_detached && agent->server.order == ORDER_NONE
                        ? agent->sync.promised
                        : 0;
    ret->vote_term = agent->failsafe.voted.term;
    ret->vote_seq = agent->failsafe.voted.seq;
    ret->is_failsafe_active = view.failsafe.is_bound || view.failsafe.is_held;
    ret->failsafe_json = agent->failsafe_json;
    ret->system_id = agent_system_id(agent);
    ret->past_term = agent_past_term(agent);
    ret->past_timeline = agent_past_timeline(agent);
    ret->config_json = agent->config_json;
    ret->history_json = agent->history_json;
    ret->cluster.lease = agent->lease.record;
    show_decision(&agent->decisions[TOPIC_LEASE], &ret->lease);
    show_decision(&agent->decisions[TOPIC_SERVER], &ret->decision);
    show_decision(&agent->decisions[TOPIC_SYNC], &ret->sync);
    IGNORE(!str_copy(ret->dcs_endpoint, sizeof(ret->dcs_endpoint), agent->dcs.endpoint), "same");
    IGNORE(!str_copy(ret->dcs_problem, sizeof(ret->dcs_problem), agent->dcs.problem), "same");
    show_peers(agent, &view, now, ret);
}
