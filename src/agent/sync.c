#include "agent/state.h"

#include "base/assert.h"
#include "base/mem.h"

/* Synchronous modes in the agent: what the server was told, what the key sync says, what was
 * promised, and who is not heard any more.
 *
 * The holder of the lease is suspected when for SUSPECT_MS neither its agent has answered nor its
 * server: an agent that is restarted costs nobody the primary. A host that says itself that nobody
 * listens is believed sooner. Time in which this agent itself did not run does not count. */

/* Five heartbeats of 100 ms. */
#define SUSPECT_MS 500

/* Where the host refuses both: processes are gone, not only slow. */
#define SUSPECT_REFUSED_MS 250
#define REFUSED_WITHIN_MS 100

/* When its server is asked as well, how often, and how long an answer may take. */
#define PING_AFTER_MS 150
#define PING_EVERY_MS 100
#define PING_TIMEOUT_MS 250

/* A step that comes so late tells that this process or host was stopped. */
#define STALL_MS 250

/* A change of the key that nobody answered is tried again after this long; a promise that could not
 * be written down, too. */
#define PUT_TIMEOUT_MS 1000
#define PUT_RETRY_MS 200
#define PROMISE_RETRY_MS 1000

bool agent_is_sync(const struct agent *agent)
{
    return agent->cluster.settings.sync_mode != SYNC_OFF && agent->cluster.sync.leader[0] != '\0';
}

/* ---- who is heard ---- */

void agent_on_sign_of_life(struct peer_facts *peer, struct instant now)
{
    peer->heard = now;
    peer->pinged = (struct instant){0};
    peer->is_ping_lost = false;
    peer->is_ping_refused = false;
}

void agent_on_ping(void *arg, const char *name, bool is_alive)
{
    struct agent *agent = arg;
    struct peer_facts *peer = agent_peer(agent, name);

    if (peer == NULL || !peer->is_pinging) {
        return;
    }
    peer->is_pinging = false;
    if (is_alive) {
        agent_on_sign_of_life(peer, agent->ports.now(agent->ports.arg));
    } else if (instant_is_set(peer->pinged)) {
        peer->is_ping_lost = true;
        peer->is_ping_refused =
            instant_elapsed_max_ms(peer->pinged, agent->ports.now(agent->ports.arg)) <
            REFUSED_WITHIN_MS;
    }
}

static const struct peer_facts *holder_of(const struct agent *agent)
{
    for (unsigned at = 0; at < agent->peer_count; at++) {
        if (str_equal(agent->peers[at].name, agent->lease.record.holder)) {
            return &agent->peers[at];
        }
    }
    return NULL;
}

static int64_t silence_ms(
    const struct agent *agent, const struct peer_facts *peer, struct instant now)
{
    int64_t awake_ms = instant_elapsed_min_ms(agent->sync.awake, now);
    int64_t silent_ms = instant_elapsed_min_ms(peer->heard, now);

    return instant_is_set(peer->heard) ? MIN(awake_ms, silent_ms) : awake_ms;
}

bool agent_suspects(const struct agent *agent, struct instant now)
{
    const struct peer_facts *holder = holder_of(agent);

    return holder != NULL && agent_is_sync(agent) && !agent_holds(agent, now, NULL) &&
           holder->is_ping_lost &&
           silence_ms(agent, holder, now) >=
               (holder->is_ping_refused ? SUSPECT_REFUSED_MS : SUSPECT_MS);
}

bool agent_is_suspicion(const struct agent *agent)
{
    struct instant now = agent->ports.now(agent->ports.arg);
    uint64_t term = agent->lease.record.term;

    if (agent_suspects(agent, now)) {
        return true;
    }
    for (unsigned at = 0; at < agent->peer_count; at++) {
        const struct peer_facts *peer = &agent->peers[at];

        if (agent_is_fresh(agent, peer, now) && term != 0 && peer->report.suspected == term) {
            return true;
        }
    }
    return false;
}

void agent_ping_holder(struct agent *agent, const struct ha_view *view)
{
    struct instant now = agent->ports.now(agent->ports.arg);
    struct peer_facts *holder = agent_peer(agent, agent->lease.record.holder);
    const struct member *member = cluster_find(&agent->cluster, agent->lease.record.holder);
    struct engine_peer peer = {0};

    if (view->lease != HA_LEASE_OTHER || !agent_is_sync(agent) || holder == NULL ||
        member == NULL) {
        return;
    }
    if (silence_ms(agent, holder, now) < PING_AFTER_MS) {
        agent_wake(agent, PING_AFTER_MS);
        return;
    }
    agent_wake(agent, PING_EVERY_MS / 2);
    if (holder->is_pinging || (instant_is_set(holder->pinged) &&
                               instant_elapsed_max_ms(holder->pinged, now) < PING_EVERY_MS)) {
        return;
    }
    holder->is_pinging = true;
    holder->pinged = now;
    IGNORE(!str_copy(peer.name, sizeof(peer.name), member->name), "same size");
    IGNORE(!str_copy(peer.conn_url, sizeof(peer.conn_url), member->conn_url), "same size");
    engine_ping(agent->ports.engine, &peer, PING_TIMEOUT_MS);
}

/* ---- promises ---- */

uint64_t agent_highest_promise(const struct agent *agent, struct instant now)
{
    uint64_t highest = 0;

    for (unsigned at = 0; at < agent->peer_count; at++) {
        const struct peer_facts *peer = &agent->peers[at];

        if (agent_is_fresh(agent, peer, now)) {
            highest = MAX(highest, peer->report.bound);
        }
    }
    return highest;
}

void agent_promise(struct agent *agent)
{
    ASSERT(!agent->sync.is_promising);
    agent->sync.is_promising = true;
    agent->ports.promise(agent->ports.arg, agent->lease.record.term + 1);
}

void agent_on_promise(struct agent *agent, uint64_t term, int result, const struct err *why)
{
    struct sync_facts *sync = &agent->sync;

    sync->is_promising = false;
    if (result < 0) {
        agent_log(
            agent, LOG_LEVEL_ERROR, "revoke.unwritten", "the promise could not be written down: %s",
            err_text(why));
        sync->promise_retry = instant_add_ms(agent->ports.now(agent->ports.arg), PROMISE_RETRY_MS);
        return;
    }
    sync->promised = MAX(sync->promised, term);
    agent_log(
        agent, LOG_LEVEL_WARNING, "revoke.promised",
        "promised: nothing is confirmed any more to a holder of a term before %" PRIu64, term);
}

/* ---- what time tells ---- */

static bool is_replicating(
    const struct agent *agent, const struct peer_facts *peer, uint64_t *ret_flushed)
{
    const struct engine_status *status = &agent->server.status;

    for (unsigned at = 0; at < status->standby_count; at++) {
        if (str_equal(status->standbys[at].name, peer->name)) {
            *ret_flushed = status->standbys[at].flushed_lsn;
            return true;
        }
    }
    *ret_flushed = 0;
    return false;
}

/* The server counts any connection by that name. A standby that has more than the switch to this
 * timeline is let in for a moment, and says that it has on disk what it has of another history;
 * until it says itself that it has gone over to this timeline, nothing that it confirms counts. */
static bool has_joined(const struct agent *agent, const struct peer_facts *peer, struct instant now)
{
    const struct peer_report *report = &peer->report;

    return agent_is_fresh(agent, peer, now) &&
           (!report->has_baton ||
            (report->is_streaming &&
             report->position.timeline == agent->server.status.position.timeline));
}

void agent_note_time(struct agent *agent, struct instant now)
{
    struct sync_facts *sync = &agent->sync;
    bool is_primary = agent->server.status.state == SERVER_PRIMARY;

    /* In force, or on a server that lets nothing through by any rule. */
    if (sync->has_rule && (!is_primary || agent->server.status.sync_serial == sync->serial)) {
        sync->mix = sync->rule;
        sync->is_mix_managed = sync->is_managed;
    }
    if (!instant_is_set(sync->awake) || instant_elapsed_max_ms(agent->stepped, now) > STALL_MS) {
        sync->awake = now;
    }
    for (unsigned at = 0; at < agent->peer_count; at++) {
        struct peer_facts *peer = &agent->peers[at];
        uint64_t flushed;

        peer->has_joined = is_primary && (peer->has_joined || has_joined(agent, peer, now));
        if (!is_primary || (peer->has_joined && is_replicating(agent, peer, &flushed) &&
                            agent_is_fresh(agent, peer, now))) {
            peer->together = now;
        }
    }
}

/* ---- the view ---- */

static struct ha_sync_rule view_rule(
    const struct agent *agent, const struct sync_rule *named, bool is_managed)
{
    struct ha_sync_rule rule = {
        .is_managed = is_managed,
        .is_waiting = named->is_waiting,
        .is_any = named->is_any,
        .need = named->need,
    };

    for (unsigned at = 0; at < named->count; at++) {
        int member = agent_index_of(agent, named->names[at]);

        rule.names |= member >= 0 ? HA_BIT(member) : 0;
        rule.strangers += member >= 0 ? 0 : 1;
    }
    return rule;
}

static struct ha_sync_key view_key(const struct agent *agent)
{
    const struct sync_record *record = &agent->cluster.sync;
    struct ha_sync_key key = {.quorum = record->quorum};

    for (unsigned at = 0; at < record->count; at++) {
        int member = agent_index_of(agent, record->voters[at]);

        key.voters |= member >= 0 ? HA_BIT(member) : 0;
        key.strangers += member >= 0 ? 0 : 1;
    }
    return key;
}

static void view_peer(
    const struct agent *agent, const struct peer_facts *peer, struct instant now,
    struct ha_member *member)
{
    const struct peer_report *report = &peer->report;
    uint64_t term = agent->lease.record.term;
    struct instant silent =
        instant_is_set(agent->sync.opened) ? agent->sync.opened : agent->server.ended;

    member->is_replicating =
        is_replicating(agent, peer, &member->flushed_lsn) && member->is_fresh && peer->has_joined;
    member->apart_ms =
        instant_is_set(peer->together) ? instant_elapsed_max_ms(peer->together, now) : INT64_MAX;
    member->is_current = instant_is_set(silent) && instant_is_set(peer->asked) &&
                         instant_elapsed_min_ms(silent, peer->asked) >= report->age_ms;
    member->is_suspecting = member->is_fresh && term != 0 && report->suspected == term;
    member->is_promised = member->is_fresh && report->promised > term;
    member->is_patroni = member->is_fresh && !report->has_baton;
}

/* What confirms is what it is taken for. */
static bool have_joined(const struct agent *agent, uint32_t names)
{
    for (unsigned at = 0; at < agent->peer_count; at++) {
        if ((names & HA_BIT(at + 1)) != 0 && !agent->peers[at].has_joined) {
            return false;
        }
    }
    return true;
}

void agent_view_sync(const struct agent *agent, struct instant now, struct ha_view *view)
{
    const struct sync_facts *facts = &agent->sync;
    const struct engine_status *status = &agent->server.status;
    struct ha_member *self = &view->members[0];

    view->sync = (struct ha_sync){
        .is_published = agent->cluster.sync.leader[0] != '\0',
        .leader = agent_index_of(agent, agent->cluster.sync.leader),
        .key = view_key(agent),
        .is_busy = facts->is_putting || facts->is_doubtful,
        .is_confirmed = facts->is_confirmed,
        .is_known = facts->has_rule,
        .rule = view_rule(agent, &facts->rule, facts->is_managed),
        .mix = view_rule(agent, &facts->mix, facts->is_mix_managed),
    };
    view->sync.is_settled =
        facts->has_rule && status->sync_serial == facts->serial &&
        (status->state != SERVER_PRIMARY || have_joined(agent, view->sync.rule.names));
    view->is_bound = agent->has_cluster && facts->promised > agent->lease.record.term &&
                     view->lease != HA_LEASE_MINE;
    view->is_promise_busy = facts->is_promising || (instant_is_set(facts->promise_retry) &&
                                                    instant_left_ms(facts->promise_retry, now) > 0);
    view->is_challenged = view->lease == HA_LEASE_MINE &&
                          agent_highest_promise(agent, now) > agent->lease.record.term;
    self->is_current = true;
    self->is_suspecting = agent_suspects(agent, now);
    self->is_promised = view->is_bound && view->server.is_detached && !view->server.is_busy;
    for (unsigned at = 0; at < agent->peer_count; at++) {
        view_peer(agent, &agent->peers[at], now, &view->members[at + 1]);
    }
}

/* ---- actions ---- */

static void add_name(struct sync_rule *rule, const char *name)
{
    unsigned at = rule->count;

    ASSERT(rule->count < MEMBERS_MAX);
    while (at > 0 && strcmp(rule->names[at - 1], name) > 0) {
        memcpy(rule->names[at], rule->names[at - 1], sizeof(rule->names[at]));
        at--;
    }
    IGNORE(!str_copy(rule->names[at], sizeof(rule->names[at]), name), "same size");
    rule->count++;
}

/* Strangers are members no more: nobody of that name streams. */
static void name_rule(
    const struct ha_view *view, const struct ha_sync_rule *rule, struct sync_rule *ret)
{
    *ret = (struct sync_rule){
        .is_waiting = rule->is_waiting, .is_any = rule->is_any, .need = rule->need};
    for (unsigned at = 0; at < view->member_count; at++) {
        if ((rule->names & HA_BIT(at)) != 0) {
            add_name(ret, view->members[at].name);
        }
    }
}

static bool is_blocked(const struct sync_rule *rule)
{
    return rule->is_waiting && rule->count == 0;
}

/* As ha_rule_mix, by names: members may go meanwhile. */
static void mix_rule(struct sync_rule *mix, const struct sync_rule *rule)
{
    if (is_blocked(rule)) {
        return;
    }
    if (is_blocked(mix)) {
        *mix = *rule;
        return;
    }
    mix->is_waiting = mix->is_waiting && rule->is_waiting;
    mix->is_any = true;
    mix->need = MIN(mix->need, rule->need);
    for (unsigned at = 0; at < rule->count; at++) {
        bool is_known = false;

        for (unsigned other = 0; other < mix->count; other++) {
            is_known = is_known || str_equal(mix->names[other], rule->names[at]);
        }
        if (!is_known && mix->count < MEMBERS_MAX) {
            add_name(mix, rule->names[at]);
        } else if (!is_known) {
            mix->need = 0; /* no room to say who: nobody is safe with it */
        }
    }
}

static void set_rule(
    struct agent *agent, const struct ha_view *view, const struct ha_sync_rule *wanted)
{
    struct sync_facts *sync = &agent->sync;
    char text[SYNC_TEXT_SIZE];
    bool was_open = sync->has_rule && view->server.state == SERVER_PRIMARY;

    name_rule(view, wanted, &sync->rule);
    sync->has_rule = true;
    sync->is_managed = wanted->is_managed;
    if (!was_open) {
        sync->mix = sync->rule;
        sync->is_mix_managed = sync->is_managed;
    } else {
        mix_rule(&sync->mix, &sync->rule);
        sync->is_mix_managed = sync->is_mix_managed && sync->is_managed;
    }
    sync->serial++;
    engine_set_sync(agent->ports.engine, wanted->is_managed ? &sync->rule : NULL, sync->serial);
    if (view->server.state == SERVER_PRIMARY || view->lease == HA_LEASE_MINE) {
        sync_rule_format(&sync->rule, text);
        agent_log(agent, LOG_LEVEL_INFO, "sync.rule", "synchronous_standby_names: '%s'", text);
    }
}

static struct dcs_compare compare_key(int64_t revision)
{
    return (struct dcs_compare){
        .kind = revision == 0 ? DCS_IS_ABSENT : DCS_REVISION_IS,
        .key = KEY_SYNC,
        .revision = revision};
}

static void note_key(struct agent *agent, int64_t known_at)
{
    struct sync_facts *sync = &agent->sync;

    sync->newest = agent->cluster.sync;
    sync->newest_revision = agent->cluster.sync_revision;
    sync->known_at = known_at;
}

static void on_put(void *arg, enum dcs_outcome outcome, int64_t revision)
{
    struct agent *agent = arg;
    struct sync_facts *sync = &agent->sync;

    ASSERT(sync->is_putting);
    sync->is_putting = false;
    switch (outcome) {
    case DCS_DONE:
        sync->is_doubtful = false;
        agent->cluster.sync = sync->is_delete ? (struct sync_record){0} : sync->put;
        agent->cluster.sync_revision = sync->is_delete ? 0 : revision;
        sync->is_confirmed = true;
        note_key(agent, revision);
        break;
    case DCS_LOST_RACE:
        /* It may be the one before that nobody answered: until a reading shows what the key is now,
         * what is known of it is old. */
    case DCS_UNKNOWN:
        sync->is_doubtful = true;
        dcs_refresh(agent->ports.dcs);
        break;
    case DCS_REFUSED:
        break;
    }
}

static void send_put(struct agent *agent)
{
    struct sync_facts *sync = &agent->sync;
    struct dcs_txn txn = {.compare_count = 2, .op_count = 1};
    AUTO_FREE char *json = sync->is_delete ? NULL : record_sync_encode(&sync->put);

    txn.compares[0] =
        (struct dcs_compare){.kind = DCS_VALUE_IS, .key = KEY_LEADER, .value = agent->config->name};
    txn.compares[1] = compare_key(sync->put_over);
    txn.ops[0] = (struct dcs_op){
        .kind = sync->is_delete ? DCS_DELETE : DCS_PUT, .key = KEY_SYNC, .value = json};
    sync->is_putting = true;
    sync->put_at = agent->ports.now(agent->ports.arg);
    dcs_txn(agent->ports.dcs, &txn, PUT_TIMEOUT_MS, on_put, agent);
}

/* The one before may have been refused a moment ago. */
static bool is_put_early(struct agent *agent)
{
    struct instant now = agent->ports.now(agent->ports.arg);

    if (instant_is_set(agent->sync.put_at) &&
        instant_elapsed_max_ms(agent->sync.put_at, now) < PUT_RETRY_MS &&
        agent->sync.put_over == agent->cluster.sync_revision) {
        agent_wake(agent, PUT_RETRY_MS);
        return true;
    }
    return false;
}

static void put_key(struct agent *agent, const struct ha_view *view, const struct ha_action *action)
{
    struct sync_facts *sync = &agent->sync;
    struct sync_rule names = {0};

    if (is_put_early(agent)) {
        return;
    }
    sync->is_delete = action->kind == HA_DELETE_SYNC;
    sync->put = (struct sync_record){.quorum = action->sync_key.quorum};
    IGNORE(!str_copy(sync->put.leader, sizeof(sync->put.leader), agent->config->name), "same size");
    for (unsigned at = 0; at < view->member_count; at++) {
        if ((action->sync_key.voters & HA_BIT(at)) != 0) {
            add_name(&names, view->members[at].name);
        }
    }
    sync->put.count = names.count;
    memcpy(sync->put.voters, names.names, sizeof(sync->put.voters));
    sync->put_over = agent->cluster.sync_revision;
    send_put(agent);
}

void agent_act_sync(struct agent *agent, const struct ha_view *view, const struct ha_action *action)
{
    struct sync_facts *sync = &agent->sync;

    if (sync->is_doubtful && !sync->is_putting && view->lease == HA_LEASE_MINE &&
        !is_put_early(agent)) {
        send_put(agent);
    }
    if (action->kind == HA_SET_RULE) {
        set_rule(agent, view, &action->sync_rule);
        agent_wake(agent, 1);
    } else if (action->kind == HA_PUT_SYNC || action->kind == HA_DELETE_SYNC) {
        put_key(agent, view, action);
    }
}

/* ---- the key in readings of the store ---- */

/* What was sent with a comparison to a revision that the key no longer has cannot be applied. */
void agent_learn_sync(struct agent *agent, int64_t revision)
{
    struct sync_facts *sync = &agent->sync;

    if (revision < sync->known_at) {
        agent->cluster.sync = sync->newest;
        agent->cluster.sync_revision = sync->newest_revision;
        return;
    }
    note_key(agent, revision);
    if (sync->is_doubtful && agent->cluster.sync_revision != sync->put_over) {
        sync->is_doubtful = false;
    }
}

/* Whoever is elected has everything that was acknowledged; the others may not have it yet. Without
 * a key nobody knows that: then there is none until commits wait for somebody (sync.publish). */
void agent_take_sync(struct agent *agent, struct dcs_txn *out, char **ret_json)
{
    struct sync_facts *sync = &agent->sync;

    sync->is_taken = agent_is_sync(agent);
    sync->taken = (struct sync_record){0};
    out->compares[out->compare_count++] = compare_key(agent->cluster.sync_revision);
    if (sync->is_taken) {
        IGNORE(
            !str_copy(sync->taken.leader, sizeof(sync->taken.leader), agent->config->name),
            "same size");
        *ret_json = record_sync_encode(&sync->taken);
        out->ops[out->op_count++] =
            (struct dcs_op){.kind = DCS_PUT, .key = KEY_SYNC, .value = *ret_json};
    } else if (agent->cluster.sync_revision != 0) {
        out->ops[out->op_count++] = (struct dcs_op){.kind = DCS_DELETE, .key = KEY_SYNC};
    }
}

void agent_own_sync(struct agent *agent, int64_t revision)
{
    agent->cluster.sync = agent->sync.taken;
    agent->cluster.sync_revision = agent->sync.is_taken ? revision : 0;
    agent->sync.is_doubtful = false;
    agent->sync.is_confirmed = true;
    note_key(agent, revision);
}
