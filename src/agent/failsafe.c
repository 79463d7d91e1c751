#include "agent/state.h"

#include "base/assert.h"
#include "base/mem.h"

/* Failsafe mode in the agent: who may hold the lease without the store, what was promised and
 * voted. The proof is in ha/failsafe.c. */

/* Between two rounds of questions, as a part of the time that one may take. */
#define ASK_PAUSE_PART 4

static bool is_before(uint64_t term, uint64_t seq, const struct failsafe_mark *mark)
{
    return term < mark->term || (term == mark->term && seq <= mark->seq);
}

static bool is_other_record(const struct agent *agent)
{
    return agent->lease.record.holder[0] != '\0' && !agent_is_own(agent, &agent->lease.record);
}

/* ---- the members in the record ---- */

static bool is_named(const struct lease_record *record, const char *name)
{
    for (unsigned at = 0; at < record->failsafe_count; at++) {
        if (str_equal(record->failsafe[at], name)) {
            return true;
        }
    }
    return false;
}

/* Patroni's nodes neither keep a promise nor vote: with one of them nobody holds without the
 * store. */
static bool is_possible(const struct agent *agent)
{
    const struct cluster *cluster = &agent->cluster;

    for (unsigned at = 0; at < cluster->member_count; at++) {
        if (!cluster->members[at].is_baton) {
            return false;
        }
    }
    return cluster->settings.is_failsafe && cluster->member_count > 1 &&
           cluster_find(cluster, agent->config->name) != NULL;
}

void agent_name_failsafe(const struct agent *agent, struct lease_record *wanted)
{
    const struct lease_facts *lease = &agent->lease;
    const struct lease_record *doubted = &lease->doubted;

    /* It may be committed still: one seq must not come with two lists. */
    if (lease->doubtful != LEASE_TXN_NONE && doubted->term == wanted->term &&
        doubted->seq == wanted->seq) {
        wanted->failsafe_count = doubted->failsafe_count;
        memcpy(wanted->failsafe, doubted->failsafe, sizeof(wanted->failsafe));
        return;
    }
    wanted->failsafe_count = 0;
    memset(wanted->failsafe, 0, sizeof(wanted->failsafe));
    if (!is_possible(agent)) {
        return;
    }
    for (unsigned at = 0; at < agent->cluster.member_count; at++) {
        IGNORE(
            !str_copy(
                wanted->failsafe[at], sizeof(wanted->failsafe[at]),
                agent->cluster.members[at].name),
            "same size");
    }
    wanted->failsafe_count = agent->cluster.member_count;
}

/* ---- holding ---- */

/* What may be in the store instead of the record that is known, or NULL. */
static const struct lease_record *alternative(const struct agent *agent)
{
    const struct lease_facts *lease = &agent->lease;
    const struct lease_record *doubted = &lease->doubted;

    if (lease->txn != LEASE_TXN_NONE) {
        return &lease->wanted;
    }
    if (lease->doubtful != LEASE_TXN_NONE &&
        (doubted->term > lease->record.term ||
         (doubted->term == lease->record.term && doubted->seq > lease->record.seq))) {
        return doubted;
    }
    return NULL;
}

static bool is_majority(const struct agent *agent, const struct lease_record *record)
{
    const struct failsafe_facts *facts = &agent->failsafe;
    unsigned count = 1; /* this node */

    if (!is_named(record, agent->config->name)) {
        return false;
    }
    for (unsigned at = 0; at < facts->promise_count; at++) {
        count += is_named(record, facts->promises[at]) ? 1 : 0;
    }
    return count >= ha_failsafe_promises(record->failsafe_count);
}

static bool is_held_by_most(const struct agent *agent)
{
    const struct lease_record *other = alternative(agent);

    return is_majority(agent, &agent->lease.record) && (other == NULL || is_majority(agent, other));
}

static bool is_ask_due(const struct agent *agent, struct instant now, int64_t left_ms)
{
    const struct failsafe_facts *facts = &agent->failsafe;

    return agent->has_cluster && agent->lease.record.failsafe_count > 0 && facts->pending == 0 &&
           left_ms <= agent->times.hold_ms / 2 &&
           (!instant_is_set(facts->t0) ||
            instant_elapsed_max_ms(facts->t0, now) >= agent->times.request_ms / ASK_PAUSE_PART);
}

/* T0 is read before anything leaves this host. */
void agent_ask_failsafe(struct agent *agent)
{
    struct failsafe_facts *facts = &agent->failsafe;
    const struct lease_record *record = &agent->lease.record;
    const struct member *self = cluster_find(&agent->cluster, agent->config->name);
    struct failsafe_ask ask = {
        .term = record->term, .seq = record->seq, .length_ms = agent->times.length_ms};

    ASSERT(facts->pending == 0);
    IGNORE(!str_copy(ask.name, sizeof(ask.name), agent->config->name), "same size");
    IGNORE(!str_copy(ask.node, sizeof(ask.node), agent->ports.node_id), "made that long");
    facts->promise_count = 0;
    facts->t0 = agent->ports.now(agent->ports.arg);
    facts->hold_ms = agent->times.hold_ms;
    facts->term = record->term;
    for (unsigned at = 0; at < agent->peer_count; at++) {
        const struct member *member = cluster_find(&agent->cluster, agent->peers[at].name);

        if (member != NULL && member->api_url[0] != '\0') {
            AUTO_FREE char *body = NULL;

            IGNORE(!str_copy(ask.asked, sizeof(ask.asked), member->name), "same size");
            body = record_ask_encode(
                &ask, self != NULL ? self->conn_url : "", self != NULL ? self->api_url : "");
            facts->pending++;
            agent->ports.failsafe(
                agent->ports.arg, member->name, member->api_url, body, agent->times.request_ms);
        }
    }
    agent_wake(agent, 1);
}

/* The promises only make a hold longer that is still in force: what was given up stays given up. */
void agent_on_failsafe(struct agent *agent, const char *name, bool is_promised)
{
    struct failsafe_facts *facts = &agent->failsafe;
    struct instant now = agent->ports.now(agent->ports.arg);

    ASSERT(facts->pending > 0);
    facts->pending--;
    if (!is_promised || facts->promise_count == MEMBERS_MAX) {
        return;
    }
    IGNORE(!str_copy(facts->promises[facts->promise_count++], MEMBER_NAME_SIZE, name), "same size");
    if (agent_holds(agent, now, NULL) && agent_is_own(agent, &agent->lease.record) &&
        agent->lease.record.term == facts->term && is_held_by_most(agent)) {
        if (!facts->is_held) {
            agent_log(
                agent, LOG_LEVEL_WARNING, "failsafe.held",
                "most members promise not to take the lease: going on without the store");
        }
        facts->is_held = true;
        agent_hold(agent, facts->t0, facts->hold_ms);
    }
}

/* ---- promising ---- */

int64_t agent_bound_ms(const struct agent *agent, struct instant now)
{
    const struct failsafe_facts *facts = &agent->failsafe;
    int64_t left_ms = facts->bound_ms - instant_elapsed_min_ms(facts->bound, now);

    return instant_is_set(facts->bound) && is_other_record(agent) &&
                   facts->bound_term == agent->lease.record.term
               ? MAX(left_ms, (int64_t)0)
               : 0;
}

/* Why not, or NULL. */
static const char *refusal(const struct agent *agent, const struct failsafe_ask *ask)
{
    const struct lease_facts *lease = &agent->lease;

    if (agent_holds(agent, agent->ports.now(agent->ports.arg), NULL)) {
        return "Running as a leader";
    }
    if (!agent->has_cluster || !is_other_record(agent)) {
        return "no lease of another node is known here";
    }
    if (ask->term != lease->record.term || !str_equal(ask->name, lease->record.holder) ||
        !str_equal(ask->node, lease->record.node)) {
        return "another lease is known here";
    }
    if (is_before(ask->term, ask->seq, &agent->failsafe.refused)) {
        return "the lease counts as expired here, or was not renewed since this agent was started";
    }
    if (lease->txn != LEASE_TXN_NONE || lease->doubtful == LEASE_TXN_ACQUIRE) {
        return "this node is taking the lease";
    }
    if (agent->sync.is_promising || agent->sync.promised > ask->term) {
        return "this node has promised to confirm nothing to this holder";
    }
    return NULL;
}

bool agent_is_bound_to_patroni(const struct agent *agent, struct instant now)
{
    const struct failsafe_facts *facts = &agent->failsafe;
    const char *leader = agent->cluster.leader;

    return instant_is_set(facts->patroni_bound) &&
           instant_elapsed_min_ms(facts->patroni_bound, now) < agent->times.length_ms &&
           (leader[0] == '\0' || str_equal(leader, facts->patroni));
}

static const char *promise_patroni(struct agent *agent, const char *name)
{
    struct failsafe_facts *facts = &agent->failsafe;
    struct instant now = agent->ports.now(agent->ports.arg);
    const struct member *member = cluster_find(&agent->cluster, name);
    bool is_leader = str_equal(name, agent->cluster.leader);

    if (agent_holds(agent, now, NULL)) {
        return "Running as a leader";
    }
    if (agent->lease.txn != LEASE_TXN_NONE || member == NULL || member->is_baton ||
        (!is_leader &&
         !(agent_is_bound_to_patroni(agent, now) && str_equal(name, facts->patroni)))) {
        return "it is not known here as the leader";
    }
    facts->patroni_bound = now;
    IGNORE(!str_copy(facts->patroni, sizeof(facts->patroni), name), "same size");
    return NULL;
}

const char *agent_failsafe(struct agent *agent, const struct failsafe_ask *ask)
{
    struct failsafe_facts *facts = &agent->failsafe;
    struct instant now = agent->ports.now(agent->ports.arg);
    const char *why;

    /* What one node promises would count as two promises. */
    if (ask->asked[0] != '\0' && !str_equal(ask->asked, agent->config->name)) {
        return "this is another member than the one that was asked: is the restapi.connect_address "
               "of that one right?";
    }
    if (ask->term == 0) {
        return promise_patroni(agent, ask->name);
    }
    why = refusal(agent, ask);
    if (why != NULL) {
        /* A store that was set back does not show the lease; others may have promised all the same,
         * before they were started again. */
        if (ask->term > agent->lease.record.term && ask->term == agent_past_term(agent)) {
            agent->past.claimed = now;
        }
        return why;
    }
    if (agent_bound_ms(agent, now) == 0) {
        agent_log(
            agent, LOG_LEVEL_WARNING, "failsafe.promise",
            "%s goes on without the store: promised not to take the lease", ask->name);
    }
    facts->bound = now;
    facts->bound_term = ask->term;
    facts->bound_ms =
        MAX(MAX(ask->length_ms, agent->lease.record.length_ms), agent->times.length_ms);
    return NULL;
}

/* ---- voting ---- */

void agent_begin_failsafe(struct agent *agent, const struct lease_record *record)
{
    agent->failsafe.refused = (struct failsafe_mark){record->term, record->seq};
}

/* A vote is of use to those who reach the store only; while nobody does, the holder may still
 * come. */
static bool is_vote_wanted(const struct agent *agent, struct instant now)
{
    bool is_wanted = agent->dcs.is_connected;

    for (unsigned at = 0; at < agent->peer_count; at++) {
        const struct peer_facts *peer = &agent->peers[at];

        is_wanted = is_wanted ||
                    (agent_is_fresh(agent, peer, now) && peer->report.has_baton &&
                     peer->report.dcs_ok && !str_equal(peer->name, agent->lease.record.holder));
    }
    return is_wanted;
}

void agent_vote(struct agent *agent, const struct ha_view *view, struct instant now)
{
    const struct lease_record *record = &agent->lease.record;

    if (view->lease == HA_LEASE_EXPIRED && is_other_record(agent) && record->failsafe_count > 0 &&
        !is_before(record->term, record->seq, &agent->failsafe.voted) &&
        is_vote_wanted(agent, now)) {
        agent->failsafe.voted = (struct failsafe_mark){record->term, record->seq};
        if (!is_before(record->term, record->seq, &agent->failsafe.refused)) {
            agent->failsafe.refused = agent->failsafe.voted;
        }
        agent_wake(agent, 1);
    }
}

/* ---- the view ---- */

static bool is_vote(
    const struct lease_record *record, const char *name, uint64_t term, uint64_t seq)
{
    return term == record->term && seq == record->seq && is_named(record, name) &&
           !str_equal(name, record->holder);
}

void agent_view_failsafe(const struct agent *agent, struct instant now, struct ha_view *view)
{
    const struct failsafe_facts *facts = &agent->failsafe;
    const struct lease_record *record = &agent->lease.record;
    struct ha_failsafe *failsafe = &view->failsafe;

    failsafe->is_bound = agent_bound_ms(agent, now) > 0 || agent_is_bound_to_patroni(agent, now);
    if (view->lease == HA_LEASE_MINE) {
        failsafe->is_due = is_ask_due(agent, now, view->lease_left_ms);
        failsafe->is_held = facts->is_held;
        failsafe->is_recorded = !agent->cluster.settings.is_failsafe || agent->is_failsafe_listed;
    }
    if (view->lease != HA_LEASE_EXPIRED || !is_other_record(agent)) {
        return;
    }
    failsafe->count = record->failsafe_count;
    if (is_vote(record, agent->config->name, facts->voted.term, facts->voted.seq)) {
        failsafe->votes |= HA_BIT(view->self);
    }
    for (unsigned at = 0; at < agent->peer_count; at++) {
        const struct peer_facts *peer = &agent->peers[at];

        if (is_vote(record, peer->name, peer->report.vote_term, peer->report.vote_seq)) {
            failsafe->votes |= HA_BIT(at + 1);
        }
    }
}
