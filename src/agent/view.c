#include "agent/state.h"

#include "base/assert.h"

/* A peer is fresh if it answered within this many heartbeats, and settled after so many failures.
 */
#define FRESH_HEARTBEATS 3
#define FRESH_MIN_MS 1000
#define SETTLED_FAILURES 2

/* When the store comes back, all nodes see that at about the same time, and each has the others'
 * word that they do not: for so long that word is not the last one. */
#define STORE_RETURNS_MS 2000

/* A node to whom the lease was released goes first for this long. */
#define GRACE_MS 3000

/* After a pause of this agent its server and disk get so long to answer. */
#define WATCHED_MS ((int64_t)5000)
/* After a short one what they have answered meanwhile is read. */
#define RESUMED_MS ((int64_t)500)

/* A server with a full disk that was stopped in vain is not stopped again before this. */
#define ROOM_RETRY_MS ((int64_t)30000)
#define HEARTBEAT_MIN_MS 100
#define HEARTBEAT_MAX_MS 1000
#define HEARTBEATS_PER_TTL 20

int64_t agent_heartbeat_ms(const struct agent *agent)
{
    int64_t ms = agent->cluster.settings.ttl_ms / HEARTBEATS_PER_TTL;

    return MAX(HEARTBEAT_MIN_MS, MIN(ms, HEARTBEAT_MAX_MS));
}

bool agent_is_own(const struct agent *agent, const struct lease_record *record)
{
    return str_equal(record->holder, agent->config->name) &&
           str_equal(record->node, agent->ports.node_id);
}

struct lease_times agent_times(const struct agent *agent)
{
    struct lease_times times =
        lease_times(agent->cluster.settings.ttl_ms, agent->cluster.settings.loop_wait_ms);

    if (!str_equal(agent->config->watchdog.mode, "off")) {
        lease_watch(&times, agent->config->watchdog.safety_margin);
    }
    return times;
}

/* The number after the server's own is what PostgreSQL would take: a person promoted it after the
 * number was given, and is_stray could not tell the two apart. Nobody is promoted from timeline 1
 * to another number than 2. */
bool agent_is_reserved(const struct agent *agent)
{
    uint32_t own = agent->server.status.position.timeline;
    uint32_t given = agent->lease.record.timeline;

    return given > own && (given > own + 1 || own <= 1) && !agent->lease.is_timeline_used;
}

bool agent_holds(const struct agent *agent, struct instant now, int64_t *ret_left_ms)
{
    const struct lease_facts *lease = &agent->lease;
    int64_t left_ms;

    if (ret_left_ms != NULL) {
        *ret_left_ms = 0;
    }
    if (!instant_is_set(lease->deadline)) {
        return false;
    }
    if (agent->has_cluster && (!agent_is_own(agent, &lease->record) || agent_is_passed(agent))) {
        return false;
    }
    /* The agent before may have released the lease since it armed the guard, and that change may
     * still be on its way to the store. It never does while the server is the primary. */
    if (lease->is_adopted && agent->server.status.state != SERVER_PRIMARY) {
        return false;
    }
    left_ms = instant_left_ms(lease->deadline, now);
    if (left_ms < 0) {
        return false;
    }
    if (ret_left_ms != NULL) {
        *ret_left_ms = left_ms;
    }
    return true;
}

/* Members in the view: this node first, then the peers in the order of agent->peers. */
int agent_index_of(const struct agent *agent, const char *name)
{
    if (name[0] == '\0') {
        return HA_NOBODY;
    }
    if (str_equal(name, agent->config->name)) {
        return 0;
    }
    for (unsigned at = 0; at < agent->peer_count; at++) {
        if (str_equal(agent->peers[at].name, name)) {
            return (int)at + 1;
        }
    }
    return HA_STRANGER;
}

/* Whatever stood still together with this agent (a host that was frozen) is asked anew first. */
static bool has_hung(const struct agent *agent, struct instant since, struct instant now)
{
    int64_t limit_ms = agent->cluster.settings.hang_timeout_ms;

    return limit_ms > 0 && instant_is_set(since) &&
           instant_elapsed_min_ms(since, now) >= limit_ms &&
           instant_elapsed_min_ms(agent->server.watched, now) >= MIN(limit_ms, WATCHED_MS) &&
           (!instant_is_set(agent->server.resumed) ||
            instant_elapsed_min_ms(agent->server.resumed, now) >= RESUMED_MS);
}

enum trouble agent_trouble(const struct agent *agent, struct instant now)
{
    const struct engine_status *status = &agent->server.status;

    if (has_hung(agent, status->silent, now)) {
        return TROUBLE_SILENT;
    }
    return has_hung(agent, status->disk_ill, now) ? status->disk : TROUBLE_NONE;
}

/* A receiver begins where the log ends that is here. The last checkpoint of a standby that was
 * stopped says how far it had replayed, and it may have confirmed more. That the replay has got to
 * where the log ended before the start says nothing more once a receiver may have come and gone
 * with a crash inside. */
bool agent_is_whole(const struct server_facts *facts, const struct engine_status *status)
{
    if (status->state == SERVER_DOWN) {
        return status->is_end_known || facts->elected.lsn != 0;
    }
    return status->state == SERVER_STANDBY &&
           (status->is_detached || status->received_lsn != 0 ||
            (!status->was_lost && facts->end.lsn != 0 &&
             position_compare(status->position, facts->end) >= 0));
}

static struct position own_position(const struct server_facts *facts)
{
    return facts->status.state == SERVER_DOWN && !facts->status.is_end_known &&
                   facts->elected.lsn != 0
               ? facts->elected
               : facts->status.position;
}

static void view_self(const struct agent *agent, struct instant now, struct ha_member *member)
{
    const struct engine_status *status = &agent->server.status;

    *member = (struct ha_member){
        .is_fresh = true,
        .is_settled = true,
        .dcs_ok = agent->dcs.is_connected,
        .server = agent->server.has_status ? status->state : SERVER_UNKNOWN,
        .is_streaming = status->is_streaming,
        .is_checkpointed = status->is_checkpointed,
        .position = own_position(&agent->server),
        .nofailover = agent->config->tags.nofailover || agent->config->tags.failover_priority <= 0,
        .priority = agent->config->tags.failover_priority,
        .clonefrom = agent->config->tags.clonefrom,
        .nosync = agent->config->tags.nosync,
        .sync_priority = agent->config->tags.sync_priority,
        .is_watchdog_failed = status->is_watchdog_failed,
        .trouble = agent_trouble(agent, now),
        .is_outgrown = status->is_outgrown,
        .is_whole = (status->state != SERVER_STANDBY && status->state != SERVER_DOWN) ||
                    agent_is_whole(&agent->server, &agent->server.status),
        .replayed_lsn = status->replayed_lsn,
    };
    IGNORE(!str_copy(member->name, sizeof(member->name), agent->config->name), "same size");
}

/* A report's state and role, as the state of its server. */
static enum server_state peer_server(const struct peer_report *report)
{
    switch (report->state) {
    case STATE_RUNNING:
        return report->role == ROLE_PRIMARY ? SERVER_PRIMARY : SERVER_STANDBY;
    case STATE_STARTING:
    case STATE_BOOTSTRAP_STARTING:
    case STATE_RESTARTING:
        return SERVER_STARTING;
    case STATE_STOPPING:
        return SERVER_STOPPING;
    case STATE_STOPPED:
    case STATE_CRASHED:
    case STATE_START_FAILED:
    case STATE_RESTART_FAILED:
        return SERVER_DOWN;
    case STATE_INITDB:
    case STATE_INITDB_FAILED:
    case STATE_CUSTOM_BOOTSTRAP:
    case STATE_CUSTOM_FAILED:
    case STATE_CREATING_REPLICA:
        return SERVER_ABSENT;
    case STATE_STOP_FAILED:
    case STATE_UNKNOWN:
        break;
    }
    return SERVER_UNKNOWN;
}

bool agent_is_fresh(const struct agent *agent, const struct peer_facts *peer, struct instant now)
{
    int64_t limit_ms = MAX(FRESH_HEARTBEATS * agent_heartbeat_ms(agent), (int64_t)FRESH_MIN_MS);

    return instant_is_set(peer->asked) && instant_elapsed_max_ms(peer->asked, now) <= limit_ms;
}

static void view_peer(
    const struct agent *agent, const struct peer_facts *peer, struct ha_member *ret)
{
    const struct peer_report *report = &peer->report;
    const struct member *known = cluster_find(&agent->cluster, peer->name);
    struct instant now = agent->ports.now(agent->ports.arg);
    bool is_fresh = agent_is_fresh(agent, peer, now);

    bool is_dcs_ok = !report->has_baton || report->dcs_ok;
    bool may_connect =
        !is_dcs_ok && instant_elapsed_min_ms(agent->dcs_connected, now) < STORE_RETURNS_MS;

    *ret = (struct ha_member){
        .is_fresh = is_fresh,
        .is_settled = (is_fresh && !may_connect) || peer->failures >= SETTLED_FAILURES,
        .is_unasked = peer->failures == 0 && !instant_is_set(peer->asked),
        .dcs_ok = is_dcs_ok,
        .server = peer_server(report),
        .is_streaming = report->is_streaming,
        .is_checkpointed = known != NULL && known->is_checkpointed,
        .position = report->position,
        .nofailover = report->tags.nofailover || report->tags.failover_priority <= 0,
        .priority = report->tags.failover_priority,
        .clonefrom = report->tags.clonefrom,
        .nosync = report->tags.nosync,
        .sync_priority = report->tags.sync_priority,
        .is_watchdog_failed = report->is_watchdog_failed,
        .trouble = report->trouble,
        .is_outgrown = report->is_outgrown,
        .down_ms = report->down_ms,
        .is_whole = report->has_baton ? !report->is_partial : report->received_lsn != 0,
        .replayed_lsn = report->has_baton ? report->replayed_lsn : 0,
        .is_fetching = report->is_fetching,
        .is_offering = str_equal(report->tail_for, agent->config->name),
    };
    IGNORE(!str_copy(ret->name, sizeof(ret->name), peer->name), "same size");
}

bool agent_needs_timeline(const struct agent *agent)
{
    enum server_state state = agent->server.status.state;

    return (state == SERVER_STARTING || state == SERVER_STANDBY) &&
           !agent->server.status.is_promoting && agent->server.order != ORDER_PROMOTE &&
           !agent_is_reserved(agent);
}

/* A person promoted this server in the moment in which it took the lease: it leads by right, with a
 * number that nobody gave. The number in the lease is used by nobody; the others must know this
 * one, or they will count as promoted by hand when they have followed. */
bool agent_is_opened_by_hand(const struct agent *agent)
{
    const struct engine_status *status = &agent->server.status;

    return status->state == SERVER_PRIMARY && agent->server.order != ORDER_PROMOTE &&
           status->position.timeline % 2 == 1 &&
           status->position.timeline < agent->lease.record.timeline;
}

/* Who holds the lease now, and whether that is in force, seen from here.
 *
 * A leader key without a matching record belongs to a Patroni node: it is in force until the store
 * lets the key expire. Otherwise the record decides: in force until it has stood unchanged for its
 * own length on this node's clock. The own name in a record without a running deadline is a hold
 * from before (a restart of this host): nobody else can be using it. */
static void view_lease(const struct agent *agent, struct instant now, struct ha_view *view)
{
    const struct lease_facts *lease = &agent->lease;
    const struct lease_record *record = &lease->record;
    const char *leader = agent->cluster.leader;

    view->holder = agent_index_of(agent, record->holder);
    if (view->holder == 0 && !agent_is_own(agent, record)) {
        view->holder =
            HA_STRANGER; /* another node of this name, or this one before it lost its data */
    }
    view->is_lease_busy = lease->txn != LEASE_TXN_NONE;
    if (agent_holds(agent, now, &view->lease_left_ms)) {
        view->lease = HA_LEASE_MINE;
        view->holder = 0;
        view->is_renewal_due =
            agent->has_cluster &&
            (!instant_is_set(lease->tried) || agent_needs_timeline(agent) ||
             agent_is_opened_by_hand(agent) || record->length_ms < agent->times.length_ms ||
             instant_elapsed_max_ms(lease->tried, now) >= agent->times.renew_ms);
        return;
    }
    if (!agent->has_cluster) {
        view->lease = HA_LEASE_UNKNOWN;
        return;
    }
    if (leader[0] != '\0' && !str_equal(leader, record->holder) &&
        agent->cluster.revision >= lease->known_at) {
        view->lease = str_equal(leader, agent->config->name) ? HA_LEASE_EXPIRED : HA_LEASE_OTHER;
        view->holder = agent_index_of(agent, leader);
        return;
    }
    if (agent_is_bound_to_patroni(agent, now)) {
        view->lease = HA_LEASE_OTHER;
        view->holder = agent_index_of(agent, agent->failsafe.patroni);
        return;
    }
    if (record->holder[0] == '\0') {
        view->lease = HA_LEASE_FREE;
        view->released_to = agent_index_of(agent, record->released_to);
        view->is_grace = instant_elapsed_min_ms(lease->seen, now) < GRACE_MS;
        view->floor = record->floor;
        return;
    }
    if (agent_bound_ms(agent, now) == 0 &&
        (agent_is_own(agent, record) || instant_elapsed_min_ms(lease->seen, now) >=
                                            MAX(record->length_ms, agent->times.length_ms))) {
        view->lease = HA_LEASE_EXPIRED;
        return;
    }
    view->lease = HA_LEASE_OTHER;
}

/* The history that this node's data must be part of: the holder's, from itself or from the store.
 */
static const struct timeline_history *holder_history(const struct agent *agent, int holder)
{
    if (holder >= 1 && agent->peers[holder - 1].report.has_baton &&
        agent->peers[holder - 1].report.history.timeline != 0) {
        return &agent->peers[holder - 1].report.history;
    }
    return &agent->cluster.history;
}

static enum relation view_relation(const struct agent *agent, const struct ha_view *view)
{
    const struct engine_status *status = &agent->server.status;
    struct position needed = status->state == SERVER_STARTING ? status->needed : status->position;
    struct timeline_history history;

    if (view->lease != HA_LEASE_OTHER || view->holder < 1 ||
        (status->state == SERVER_DOWN && !status->was_clean)) {
        return RELATION_UNKNOWN;
    }
    if (!view->members[view->holder].is_fresh ||
        view->members[view->holder].server != SERVER_PRIMARY) {
        return RELATION_UNKNOWN;
    }
    history = *holder_history(agent, view->holder);
    if (history.timeline < view->members[view->holder].position.timeline) {
        /* The store's history has not caught up with the holder yet. */
        return RELATION_UNKNOWN;
    }
    return timeline_relate(needed, &history);
}

static void view_server(const struct agent *agent, struct instant now, struct ha_view *view)
{
    const struct server_facts *facts = &agent->server;
    const struct engine_status *status = &facts->status;
    struct ha_server *server = &view->server;
    int64_t left_ms = instant_left_ms(status->deadline, now);

    server->state = facts->has_status ? status->state : SERVER_UNKNOWN;
    server->is_busy = facts->order != ORDER_NONE;
    server->is_promoting = status->is_promoting || facts->order == ORDER_PROMOTE;
    server->was_clean = status->was_clean;
    server->was_primary = status->was_primary;
    server->is_torn = status->is_torn;
    server->is_starved = status->is_starved;
    server->is_armed = instant_is_set(status->deadline) && left_ms >= view->promote_budget_ms;
    server->is_start_due = !instant_is_set(facts->retry) || instant_left_ms(facts->retry, now) <= 0;
    server->is_promote_due =
        !instant_is_set(facts->promote_retry) || instant_left_ms(facts->promote_retry, now) <= 0;
    server->promote_failures = facts->promote_failures;
    server->is_virgin = facts->is_virgin;
    server->is_fetch_due =
        !instant_is_set(facts->fetch_retry) || instant_left_ms(facts->fetch_retry, now) <= 0;
    server->can_ship = agent->config->postgresql.replication.password[0] != '\0';
    server->recovery_bytes = status->recovery_bytes;
    server->is_detached = server->state == SERVER_STANDBY && status->is_detached;
    server->is_end_known =
        server->state == SERVER_DOWN && (status->is_end_known || facts->elected.lsn != 0);
    if (server->state == SERVER_DOWN && instant_is_set(facts->ended)) {
        server->ended_ms = instant_elapsed_max_ms(facts->ended, now);
    }
    server->can_rewind = !facts->has_rewind_failed && !facts->is_rewound;
    server->start_failures = MAX(facts->start_failures, facts->short_lives);
    server->system_id = status->system_id;
    server->upstream = agent_index_of(agent, status->upstream);
    if (server->state != SERVER_STANDBY && server->state != SERVER_PRIMARY &&
        instant_is_set(facts->answering)) {
        server->down_ms = instant_elapsed_max_ms(facts->answering, now);
    }
    if (server->state == SERVER_STOPPING && instant_is_set(facts->stopping)) {
        server->stopping_ms = instant_elapsed_max_ms(facts->stopping, now);
    }
    if (instant_is_set(facts->killed)) {
        server->killed_ms = instant_elapsed_min_ms(facts->killed, now);
    }
    server->is_room_tried = instant_is_set(facts->room_tried) &&
                            instant_elapsed_max_ms(facts->room_tried, now) < ROOM_RETRY_MS;
    server->is_whole = agent_is_whole(facts, &facts->status);
    server->relation = view_relation(agent, view);
}

static void view_request(const struct agent *agent, struct instant now, struct ha_view *view)
{
    const struct request_facts *facts = &agent->request;
    int64_t at_ms = facts->request.scheduled_real_ms;
    int64_t late_ms = at_ms != 0 ? agent->ports.real_ms(agent->ports.arg) - at_ms : 0;
    /* Under a lease before it came to nothing. */
    bool is_begun = facts->begun != 0 && facts->begun == agent->lease.record.term;

    view->request.leader = HA_NOBODY;
    view->request.candidate = HA_NOBODY;
    if (!facts->is_present) {
        return;
    }
    view->request = (struct ha_request){
        .is_present = true,
        .is_due = late_ms >= 0,
        .is_checkpointed = facts->is_checkpointed,
        .is_tried = facts->is_tried,
        .leader = agent_index_of(agent, facts->request.leader),
        .candidate = agent_index_of(agent, facts->request.candidate),
        .late_ms = is_begun ? 0 : MAX(late_ms, (int64_t)0),
        .age_ms = instant_is_set(facts->due) ? instant_elapsed_max_ms(facts->due, now) : 0,
    };
}

static enum ha_initialize view_initialize(const struct agent *agent)
{
    if (!agent->has_cluster || !agent->cluster.has_initialize) {
        return HA_INITIALIZE_ABSENT;
    }
    if (agent->cluster.system_id != 0) {
        return HA_INITIALIZE_SET;
    }
    return agent->is_initialize_of_session ? HA_INITIALIZE_MINE : HA_INITIALIZE_PENDING;
}

/* The last switch of this server's history is the last one in the store: numbers may have gaps. */
static bool is_history_known(const struct agent *agent)
{
    const struct timeline_history *own = &agent->server.status.history;
    const struct timeline_history *known = &agent->cluster.history;

    if (own->count == 0) {
        return true;
    }
    return known->count > 0 && known->timeline == own->timeline &&
           known->switches[known->count - 1].timeline == own->switches[own->count - 1].timeline &&
           known->switches[known->count - 1].lsn == own->switches[own->count - 1].lsn;
}

/* By baton, or by Patroni, who writes down what it left. */
static bool is_any_given(const struct agent *agent)
{
    return agent_past_timeline(agent) != 0 || agent->cluster.history.timeline != 0;
}

static bool is_given(const struct agent *agent, uint32_t timeline)
{
    const struct timeline_history *history = &agent->cluster.history;

    for (unsigned at = 0; at < history->count; at++) {
        if (history->switches[at].timeline == timeline) {
            return true;
        }
    }
    /* What Patroni opens is the number after the last that was left. What is written down of the
     * holder may be followed by a number that was reserved since and never opened. */
    return timeline == agent_past_timeline(agent) || timeline == agent->lease.record.timeline ||
           timeline == agent->cluster.history_of ||
           (timeline == history->timeline && timeline > agent->lease.record.timeline);
}

static bool is_known(const struct agent *agent, const struct ha_view *view, uint32_t timeline)
{
    for (unsigned at = 0; at < view->member_count; at++) {
        if (view->members[at].position.timeline == timeline) {
            return true;
        }
    }
    return is_given(agent, timeline);
}

static const struct timeline_history *member_history(const struct agent *agent, unsigned at)
{
    return at == 0 ? &agent->server.status.history : &agent->peers[at - 1].report.history;
}

/* Who is promoted by hand gets the number after the one that it had, and those that baton gives are
 * even (next_timeline). An odd one may be of a time before baton; it is not when it follows one
 * that is known here. What was given is not always written down: a lease that was taken again tells
 * the newest number only, and the history may not have been written. Who is promoted by hand once
 * more gets the number after that one. Before any number was given all are of that time, also the
 * newest, which some members of a cluster that is taken over may not have heard of yet. */
static bool is_stray(
    const struct agent *agent, const struct ha_view *view, uint32_t timeline,
    const struct timeline_history *history)
{
    unsigned left = history->timeline == timeline ? history->count : 0;

    for (; is_any_given(agent); timeline--, left--) {
        if (timeline > 2 && timeline % 2 == 1 && is_known(agent, view, timeline - 1) &&
            !is_given(agent, timeline)) {
            return true;
        }
        if (left == 0 || history->switches[left - 1].timeline != timeline - 1 ||
            is_given(agent, timeline - 1)) {
            return false;
        }
    }
    return false;
}

static void mark_strays(const struct agent *agent, struct ha_view *view)
{
    for (unsigned at = 0; at < view->member_count; at++) {
        struct ha_member *member = &view->members[at];

        member->is_stray =
            is_stray(agent, view, member->position.timeline, member_history(agent, at));
    }
}

/* The history with the newest timeline that the cluster has given out: the last primary may have
 * ended before it wrote its own to the store. */
static const struct timeline_history *newest_history(
    const struct agent *agent, const struct ha_view *view)
{
    const struct timeline_history *newest = &agent->cluster.history;

    for (unsigned at = 0; at < view->member_count; at++) {
        const struct timeline_history *other = member_history(agent, at);

        if (view->members[at].is_fresh && !view->members[at].is_stray &&
            other->timeline == view->members[at].position.timeline &&
            other->timeline <= view->timeline && other->timeline > newest->timeline) {
            newest = other;
        }
    }
    return newest;
}

static void mark_shared(const struct agent *agent, struct ha_view *view)
{
    const struct timeline_history *history = newest_history(agent, view);

    for (unsigned at = 0; at < view->member_count; at++) {
        view->members[at].shared =
            timeline_shared(view->members[at].position, member_history(agent, at), history);
    }
}

/* It was gone when this agent began. What the cluster was made with may be less than commits wait
 * for, as the key sync shows: a person must write it. */
bool agent_is_config_unknown(const struct agent *agent)
{
    return agent->config_json == NULL && agent->cluster.sync.leader[0] != '\0';
}

void agent_view(const struct agent *agent, struct ha_view *view)
{
    struct instant now = agent->ports.now(agent->ports.arg);

    *view = (struct ha_view){
        .self = 0,
        .member_count = agent->peer_count + 1,
        .dcs_ok = agent->dcs.is_connected && agent->has_cluster,
        .is_read = agent->has_cluster,
        .holder = HA_NOBODY,
        .released_to = HA_NOBODY,
        .cluster_lsn = agent->cluster.status_lsn,
        .timeline = MAX(agent->lease.record.timeline, agent->cluster.history.timeline),
        .is_reserved = agent_is_reserved(agent),
        .initialize = view_initialize(agent),
        .system_id = agent->cluster.system_id,
        .has_config = agent->cluster.has_config || agent_is_config_unknown(agent),
        .settings = agent->cluster.settings,
        .promote_budget_ms = agent->times.promote_budget_ms,
        .is_leaving = agent->is_leaving,
    };
    view_self(agent, now, &view->members[0]);
    for (unsigned at = 0; at < agent->peer_count; at++) {
        view_peer(agent, &agent->peers[at], &view->members[at + 1]);
    }
    mark_strays(agent, view);
    mark_shared(agent, view);
    view_lease(agent, now, view);
    view_server(agent, now, view);
    view_request(agent, now, view);
    agent_view_sync(agent, now, view);
    agent_view_failsafe(agent, now, view);
    agent_view_past(agent, now, view);
    view->has_history = is_history_known(agent);
    view->is_status_due = agent->server.status.position.lsn != agent->status_lsn &&
                          (!instant_is_set(agent->status_at) ||
                           instant_elapsed_max_ms(agent->status_at, now) >=
                               MIN(agent->cluster.settings.loop_wait_ms, agent->times.renew_ms));
}
