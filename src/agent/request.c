#include "agent/state.h"

#include "base/assert.h"
#include "base/mem.h"

/* A caller is told the truth after this long, whatever it is. Patroni waits 2 * max(10 s,
 * loop_wait). */
#define WAIT_MS 30000
/* What speaks against a request may go for so long. Afterwards nobody expects it to be carried out:
 * an objection that went hours later would take everybody by surprise. */
#define OBJECTION_MS 5000
#define WRITE_TIMEOUT_MS 3000

/* Room for a sentence with two names. */
#define TEXT_SIZE (2 * MEMBER_NAME_SIZE + 64)

/* The status for "not now, as far as is known": worth asking the members again before it is said.
 */
#define CANDIDATE_UNFIT 412

static void settle(struct waiter *waiter, int status, const char *text)
{
    agent_answer *answer = TAKE(waiter->answer);

    ASSERT(answer != NULL);
    answer(waiter->arg, status, text);
}

static struct waiter *find_free(struct agent *agent)
{
    for (size_t at = 0; at < WAITERS_MAX; at++) {
        if (agent->waiters[at].answer == NULL) {
            return &agent->waiters[at];
        }
    }
    return NULL;
}

/* The write of the failover key ended; the waiter is found again by its place. */
struct written {
    struct agent *agent;
    struct waiter *waiter;
};

static void settle_scheduled(struct waiter *waiter)
{
    settle(
        waiter, 202,
        waiter->request.leader[0] != '\0' ? "Switchover scheduled" : "Failover scheduled");
}

static void on_written(void *arg, enum dcs_outcome outcome, int64_t revision)
{
    AUTO_FREE struct written *written = arg;
    struct waiter *waiter = written->waiter;

    if (waiter->answer == NULL) {
        return;
    }
    if (outcome == DCS_REFUSED || outcome == DCS_LOST_RACE || revision < 0) {
        settle(waiter, 503, "failed to write the failover key into the store");
        return;
    }
    waiter->is_written = true;
    waiter->revision = revision;
    /* Whether it is in the store is not known after DCS_UNKNOWN: a reading will tell. What is to be
     * done at once shows whether it was. */
    if (outcome == DCS_DONE && waiter->request.scheduled_real_ms != 0) {
        settle_scheduled(waiter);
    }
}

static void write_request(struct agent *agent, struct waiter *waiter)
{
    struct dcs_txn txn = {.op_count = 1};
    struct written *written = mem_alloc(sizeof(*written));
    AUTO_FREE char *json = record_request_encode(&waiter->request);

    *written = (struct written){.agent = agent, .waiter = waiter};
    txn.ops[0] = (struct dcs_op){.kind = DCS_PUT, .key = KEY_FAILOVER, .value = json};
    dcs_txn(agent->ports.dcs, &txn, WRITE_TIMEOUT_MS, on_written, written);
}

static bool is_named(const char *name)
{
    return name[0] != '\0';
}

/* Why the request is impossible, or NULL; with the HTTP status for it. */
static const char *find_objection(
    const struct agent *agent, const struct failover_request *request, bool is_failover,
    int *ret_status)
{
    const char *holder = agent->cluster.leader;
    struct ha_view view;
    int candidate = HA_NOBODY;

    *ret_status = 400;
    if (!agent->has_cluster || !agent->dcs.is_connected) {
        *ret_status = 503;
        return "the store cannot be reached";
    }
    if (!is_failover && !is_named(holder)) {
        return "Switchover is not possible: the cluster has no leader";
    }
    if (is_named(request->leader) && !str_equal(request->leader, holder)) {
        return "leader name does not match";
    }
    if (is_named(request->candidate) && cluster_find(&agent->cluster, request->candidate) == NULL) {
        return "candidate does not exist";
    }
    agent_view(agent, &view);
    /* Its key may outlive its lease: then a person may name it to lead again. */
    if (is_named(request->candidate) && str_equal(request->candidate, holder) &&
        view.lease != HA_LEASE_EXPIRED) {
        return "candidate is the leader already";
    }
    /* As it will be when the request stands in the store: a failover may lose what a switchover may
     * not. */
    view.request = (struct ha_request){
        .is_present = true,
        .is_due = true,
        .leader = is_failover && !is_named(request->leader) ? HA_NOBODY : view.holder,
        .candidate = HA_NOBODY,
    };
    for (int at = 0; at < (int)view.member_count; at++) {
        if (str_equal(view.members[at].name, request->candidate)) {
            candidate = at;
        }
    }
    view.request.candidate = candidate;
    *ret_status = CANDIDATE_UNFIT;
    if (candidate != HA_NOBODY && ha_bar(&view, candidate) != NULL) {
        return ha_bar(&view, candidate);
    }
    if (candidate == HA_NOBODY && ha_best(&view, view.holder) == HA_NOBODY) {
        return "no good candidates have been found";
    }
    return NULL;
}

/* Whether every peer has answered a question that was put since SINCE, or has failed to answer one:
 * an objection that stands then is not one of yesterday. */
static bool is_all_heard(const struct agent *agent, struct instant since)
{
    for (unsigned at = 0; at < agent->peer_count; at++) {
        const struct peer_facts *peer = &agent->peers[at];

        if (instant_left_ms(peer->asked, since) < 0 && peer->failures <= peer->failures_before) {
            return false;
        }
    }
    return true;
}

/* Write the request as soon as nothing speaks against it; give up when what speaks against it is
 * fresh, or has spoken for long enough. */
static void check_request(struct agent *agent, struct waiter *waiter, int64_t age_ms)
{
    int status = 0;
    const char *objection = find_objection(agent, &waiter->request, waiter->is_failover, &status);

    if (objection == NULL && age_ms >= WAIT_MS) {
        settle(waiter, 503, "this agent stood still: nothing was written into the store");
    } else if (objection == NULL) {
        waiter->is_checked = true;
        write_request(agent, waiter);
    } else if (
        status != CANDIDATE_UNFIT || age_ms >= OBJECTION_MS || is_all_heard(agent, waiter->since)) {
        settle(waiter, status, objection);
    } else {
        agent_wake(agent, OBJECTION_MS - age_ms);
    }
}

/* A failure to answer counts when it comes after the newest question. */
static void note_failures(struct peer_facts *peer)
{
    peer->failures_before = MIN(peer->failures_before, peer->failures);
}

void agent_request(
    struct agent *agent, const struct failover_request *request, bool is_failover,
    agent_answer *answer, void *arg)
{
    struct waiter *waiter = find_free(agent);

    if (!agent->is_started) { /* no turn would ever answer */
        answer(arg, 503, "the agent is starting");
        return;
    }
    if (waiter == NULL) {
        answer(arg, 503, "too many requests are waiting already");
        return;
    }
    *waiter = (struct waiter){
        .answer = answer,
        .arg = arg,
        .request = *request,
        .is_failover = is_failover,
        .since = agent->ports.now(agent->ports.arg),
        .term = agent->lease.record.term,
    };
    for (unsigned at = 0; at < agent->peer_count; at++) {
        agent->peers[at].is_due = true;
        agent->peers[at].failures_before = agent->peers[at].failures;
    }
    agent_log(
        agent, LOG_LEVEL_INFO, "request.received", "%s asked for: from %s to %s",
        is_failover ? "failover" : "switchover",
        is_named(request->leader) ? request->leader : "whoever leads",
        is_named(request->candidate) ? request->candidate : "the best candidate");
}

/* Who runs as primary under a lease newer than when the question came, and is not whom it was to be
 * taken from; or "". */
static const char *find_successor(const struct agent *agent, const struct waiter *waiter)
{
    const char *leader = agent->cluster.leader;
    const struct member *member = cluster_find(&agent->cluster, leader);
    bool is_there = is_named(leader) && agent->lease.record.term > waiter->term &&
                    str_equal(leader, agent->lease.record.holder) && member != NULL &&
                    member->role == ROLE_PRIMARY && !str_equal(leader, waiter->request.leader);

    return is_there ? leader : "";
}

void agent_drop_waiters(struct agent *agent)
{
    for (size_t at = 0; at < WAITERS_MAX; at++) {
        if (agent->waiters[at].answer != NULL) {
            settle(&agent->waiters[at], 503, "the agent was stopped");
        }
    }
}

/* The newest reading of the store has what was asked for. */
static bool is_standing(const struct agent *agent, const struct failover_request *request)
{
    const struct failover_request *known = &agent->cluster.request;

    return agent->cluster.has_request && str_equal(known->leader, request->leader) &&
           str_equal(known->candidate, request->candidate) &&
           known->scheduled_real_ms == request->scheduled_real_ms;
}

/* It was to be scheduled, and nobody knows whether the store has it. */
static void settle_doubtful(struct agent *agent, struct waiter *waiter, int64_t age_ms)
{
    if (is_standing(agent, &waiter->request)) {
        settle_scheduled(waiter);
    } else if (age_ms >= WAIT_MS) {
        settle(waiter, 503, "it is not known whether it is scheduled: see 'baton list'");
    } else {
        agent_wake(agent, WAIT_MS - age_ms);
    }
}

static void settle_carried_out(struct waiter *waiter, const char *leader)
{
    char text[TEXT_SIZE];

    IGNORE(
        !str_format(
            text, sizeof(text), "Successfully %s over to \"%s\"",
            is_named(waiter->request.leader) ? "switched" : "failed", leader),
        "cut is fine");
    settle(waiter, 200, text);
}

/* Who was asked for does not lead: that is no success, for a person wanted that one. */
static void settle_instead(struct waiter *waiter, const char *leader)
{
    char text[TEXT_SIZE];

    IGNORE(
        !str_format(
            text, sizeof(text), "%s over to \"%s\" instead of \"%s\"",
            is_named(waiter->request.leader) ? "Switched" : "Failed", leader,
            waiter->request.candidate),
        "cut is fine");
    settle(waiter, 503, text);
}

/* It is in the store: wait until somebody else leads. While it stands there the one that was asked
 * for may still come. */
static void settle_written(struct agent *agent, struct waiter *waiter, int64_t age_ms)
{
    const struct failover_request *request = &waiter->request;
    const char *leader = find_successor(agent, waiter);
    bool is_wanted = !is_named(request->candidate) || str_equal(request->candidate, leader);

    if (is_named(leader) && is_wanted) {
        settle_carried_out(waiter, leader);
    } else if (
        is_named(leader) && agent->cluster.revision >= waiter->revision &&
        !is_standing(agent, request)) {
        settle_instead(waiter, leader);
    } else if (age_ms >= WAIT_MS) {
        settle(
            waiter, 503,
            is_named(request->leader) ? "Switchover status unknown: see 'baton list' and the log"
                                      : "Failover status unknown: see 'baton list' and the log");
    } else {
        agent_wake(agent, WAIT_MS - age_ms);
    }
}

void agent_settle_waiters(struct agent *agent)
{
    struct instant now = agent->ports.now(agent->ports.arg);

    for (unsigned at = 0; at < agent->peer_count; at++) {
        note_failures(&agent->peers[at]);
    }
    for (size_t at = 0; at < WAITERS_MAX; at++) {
        struct waiter *waiter = &agent->waiters[at];
        int64_t age_ms = instant_elapsed_max_ms(waiter->since, now);

        if (waiter->answer != NULL && !waiter->is_checked) {
            check_request(agent, waiter, age_ms);
        }
        if (waiter->answer == NULL || !waiter->is_written) {
            continue;
        }
        if (waiter->request.scheduled_real_ms != 0) {
            settle_doubtful(agent, waiter, age_ms);
        } else {
            settle_written(agent, waiter, age_ms);
        }
    }
}
