#include "agent/state.h"

#include "base/assert.h"

/* What was ever seen of the lease, beyond what the store says now.
 *
 * A store that was wiped or set back to an old copy shows a lower term than this node, or a peer,
 * has seen. Whoever held the lease since then may still count on it: it is in force until its
 * length has passed, and the store knows nothing of it. So whoever finds the store old takes
 * nothing before a whole length has passed since that reading (the argument is in ha/lease.c), and
 * then a higher term than any that was seen. What was seen lies on disk beside the data, because
 * the agents must be restarted to go by such a store (dcs/etcd.h).
 *
 * The last holder may read such a store as well: its own lease stands there, and it may be running.
 * Who hears of a higher term than it has ever held itself, or asked for, holds nothing.
 *
 * It is not waited for: a term that was not written down in time is known by whoever took it, and
 * by those who asked him. Of another cluster nothing counts. */

#define REMEMBER_RETRY_MS 1000

/* A peer that reads a moment earlier is no reason for a line. */
#define OLD_TOLD_MS 2000

/* Until the own data has been looked at, the store says whose it should be, and before that the
 * last agent here does: what was seen counts from the first answer on. */
uint64_t agent_system_id(const struct agent *agent)
{
    if (agent->server.status.system_id != 0) {
        return agent->server.status.system_id;
    }
    if (agent->cluster.system_id != 0) {
        return agent->cluster.system_id;
    }
    return agent->server.has_looked ? 0 : agent->past.known.system_id;
}

/* What is on disk may be of a cluster whose data was here before. */
static bool is_ours(const struct agent *agent, uint64_t system_id)
{
    return system_id != 0 && agent_system_id(agent) == system_id;
}

uint64_t agent_past_term(const struct agent *agent)
{
    uint64_t term = is_ours(agent, agent->past.known.system_id) ? agent->past.known.term : 0;

    for (unsigned at = 0; at < agent->peer_count; at++) {
        const struct peer_report *report = &agent->peers[at].report;

        if (report->has_baton && is_ours(agent, report->system_id)) {
            term = MAX(term, report->term);
        }
    }
    return MAX(term, agent->lease.record.term);
}

uint32_t agent_past_timeline(const struct agent *agent)
{
    uint32_t timeline =
        is_ours(agent, agent->past.known.system_id) ? agent->past.known.timeline : 0;

    for (unsigned at = 0; at < agent->peer_count; at++) {
        const struct peer_report *report = &agent->peers[at].report;

        if (report->has_baton && is_ours(agent, report->system_id)) {
            timeline = MAX(timeline, report->given_timeline);
        }
    }
    return MAX(timeline, agent->lease.record.timeline);
}

bool agent_is_store_old(const struct agent *agent)
{
    return agent->has_cluster && agent_past_term(agent) > agent->lease.record.term;
}

bool agent_is_passed(const struct agent *agent)
{
    const struct lease_facts *lease = &agent->lease;
    uint64_t own = is_ours(agent, agent->past.known.system_id) ? agent->past.known.own_term : 0;

    own = MAX(own, agent_is_own(agent, &lease->record) ? lease->record.term : 0);
    own = MAX(own, lease->txn != LEASE_TXN_NONE ? lease->wanted.term : 0);
    own = MAX(own, lease->doubtful != LEASE_TXN_NONE ? lease->doubted.term : 0);
    return agent->has_cluster && agent_past_term(agent) > own;
}

/* After each reading, and each own change, of the lease. The data is looked at first: what was seen
 * of another cluster is not forgotten because the agent was started with the wrong store. */
void agent_learn_past(struct agent *agent)
{
    const struct lease_record *record = &agent->lease.record;
    struct lease_past *known = &agent->past.known;

    if (!agent->has_cluster || record->term == 0 || agent->cluster.system_id == 0 ||
        agent->server.status.system_id != agent->cluster.system_id) {
        return;
    }
    if (known->system_id != agent->cluster.system_id) {
        *known = (struct lease_past){.system_id = agent->cluster.system_id};
    }
    if (record->term >= known->term) {
        known->term = record->term;
        known->length_ms = record->length_ms;
    }
    known->timeline = MAX(known->timeline, record->timeline);
    known->own_term = MAX(known->own_term, agent_is_own(agent, record) ? record->term : 0);
}

static bool is_same(const struct lease_past *a, const struct lease_past *b)
{
    return a->system_id == b->system_id && a->term == b->term && a->timeline == b->timeline &&
           a->length_ms == b->length_ms && a->own_term == b->own_term;
}

static void remember(struct agent *agent, struct instant now)
{
    struct past_facts *past = &agent->past;

    if (past->is_saving || is_same(&past->known, &past->saved) ||
        instant_left_ms(past->retry, now) > 0) {
        return;
    }
    past->is_saving = true;
    past->saving = past->known;
    agent->ports.remember(agent->ports.arg, &past->saving);
}

void agent_note_past(struct agent *agent, struct instant now)
{
    struct past_facts *past = &agent->past;

    agent_learn_past(agent);
    remember(agent, now);
    if (!agent_is_store_old(agent)) {
        past->old_since = (struct instant){0};
        past->is_told = false;
        return;
    }
    if (!instant_is_set(past->old_since)) {
        past->old_since = now;
    }
    if (!past->is_told && instant_elapsed_min_ms(past->old_since, now) >= OLD_TOLD_MS) {
        past->is_told = true;
        agent_log(
            agent, LOG_LEVEL_WARNING, "store.old",
            "the store is older than what was seen: it has term %" PRIu64 " of the lease, and term "
            "%" PRIu64 " was seen",
            agent->lease.record.term, agent_past_term(agent));
    }
}

static bool has_past(const struct agent *agent)
{
    bool is_any = agent->past.known.system_id != 0;

    for (unsigned at = 0; at < agent->peer_count; at++) {
        is_any = is_any || agent->peers[at].report.system_id != 0;
    }
    return is_any;
}

void agent_view_past(const struct agent *agent, struct instant now, struct ha_view *view)
{
    const struct past_facts *past = &agent->past;
    int64_t length_ms = MAX(agent->lease.record.length_ms, agent->times.length_ms);

    view->timeline = MAX(view->timeline, agent_past_timeline(agent));
    view->has_past = has_past(agent);
    view->is_store_old = agent_is_store_old(agent);
    if (is_ours(agent, past->known.system_id)) {
        length_ms = MAX(length_ms, past->known.length_ms);
    }
    view->is_old_new =
        view->is_store_old &&
        (!instant_is_set(past->old_since) ||
         instant_elapsed_min_ms(past->old_since, now) < length_ms ||
         (instant_is_set(past->claimed) && instant_elapsed_min_ms(past->claimed, now) < length_ms));
}

void agent_on_remembered(struct agent *agent, int result, const struct err *why)
{
    struct past_facts *past = &agent->past;

    ASSERT(past->is_saving);
    past->is_saving = false;
    if (result >= 0) {
        past->saved = past->saving;
        return;
    }
    past->retry = instant_add_ms(agent->ports.now(agent->ports.arg), REMEMBER_RETRY_MS);
    agent_log(agent, LOG_LEVEL_ERROR, "lease.remember", "%s", err_text(why));
}
