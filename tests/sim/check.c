#include "tests/sim/sim.h"

#include "base/assert.h"

/* The judges. They look at the truth of the model, never at what an agent believes, but for one
 * question: whether an agent thinks that it holds the lease while somebody else takes it. */

/* What has been so for this long is known to everybody who can be reached. */
#define SETTLED_NS (2500 * MS)
/* An order to kill is on its way for so long. */
#define KILL_MARGIN_MS 100
#define BY_HAND_LIMIT_NS (4 * SECOND)
#define ABLE_PERIOD_NS (100 * MS)

void check_fail(struct sim *sim, enum verdict verdict, const char *format, ...)
{
    struct check *check = &sim->check;
    va_list args;

    if (check->verdict != VERDICT_FINE) {
        return;
    }
    check->verdict = verdict;
    va_start(args, format);
    IGNORE(vsnprintf(check->what, sizeof(check->what), format, args) < 0, "cut is fine");
    va_end(args);
    sim_trace(sim, NULL, verdict == VERDICT_SAFETY ? "VIOLATION" : "STUCK", "%s", check->what);
}

static bool is_excused(const struct sim *sim, const struct node *node)
{
    return sim->now_ns < MAX(node->excused_until_ns, node->clockless_until_ns) ||
           node->server.is_by_hand;
}

static struct place official(const struct sim *sim)
{
    return (struct place){sim->check.official, UINT64_MAX};
}

/* ---- B: who can acknowledge writes ---- */

/* The store was wiped or set back, and nobody who could be asked had seen what was in it: whoever
 * held the lease then goes on until it ends, in the same cluster or in the one of before. */
static bool is_of_forgotten(const struct sim *sim, const struct node *node)
{
    const struct check *check = &sim->check;
    bool is_holder = str_equal(check->back_holder, node->name) &&
                     sim->now_ns - check->back_ns < sim->shape.ttl_ms * MS;

    return check->is_forgotten && check->official >= 0 &&
           (is_holder || sim->wal.branches[check->official].system_id != node->disk.system_id);
}

void check_open(struct sim *sim)
{
    struct check *check = &sim->check;
    const struct node *open[NODES_MAX];
    unsigned count = 0;

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct node *node = &sim->nodes[at];

        check->last_open_ns = server_is_open(node) ? sim->now_ns : check->last_open_ns;
        if (server_is_open(node) && !node_is_frozen(sim, node) && !node->server.is_by_hand &&
            fence_muting(sim, node) == FENCES) {
            open[count++] = node;
        }
    }
    if (count > 0) {
        check->last_primary_ns = sim->now_ns;
    }
    for (unsigned at = 0; count > 1 && at < count; at++) {
        if (open[at]->disk.end.branch != check->official && !is_excused(sim, open[at]) &&
            !check_is_silenced(sim, open[at]) && !is_of_forgotten(sim, open[at])) {
            check_fail(
                sim, VERDICT_SAFETY, "B: %s and another node are open for writing at once",
                open[at]->name);
        }
    }
}

void check_ack(struct sim *sim, struct node *node, struct place end)
{
    struct check *check = &sim->check;

    if (node->server.is_by_hand) {
        return;
    }
    if (node->disk.end.branch != check->official) {
        /* The extension asks the clocks at the last moment: it needs no excuse but for a pause that
         * they do not show. */
        bool is_exact = fence_has(sim, FENCE_EXTENSION) && sim->now_ns >= node->clockless_until_ns;

        check->excused++;
        if (is_of_forgotten(sim, node)) {
            return;
        }
        if (check_is_silenced(sim, node) && wal_contains(&sim->wal, official(sim), end)) {
            return; /* confirmed before the promises, answered late, and not lost */
        }
        if (is_exact || !is_excused(sim, node)) {
            check_fail(
                sim, VERDICT_SAFETY, "B: %s acknowledges a write after another primary was opened",
                node->name);
        }
        return;
    }
    if (check->last_ack_ns != 0) {
        check->longest_gap_ns = MAX(check->longest_gap_ns, sim->now_ns - check->last_ack_ns);
    }
    if (sim->now_ns - check->lease_ns > sim->shape.ttl_ms * MS) {
        check_mark(sim, MARK_FAILSAFE_HELD);
    }
    check->last_ack_ns = sim->now_ns;
    check->last_primary_ns = sim->now_ns;
    check->acks++;
}

void check_prevented(struct sim *sim, const struct node *node, enum fence fence)
{
    if (!node->server.is_by_hand && node->disk.end.branch != sim->check.official) {
        sim->check.prevented[fence]++;
    }
}

/* ---- T: the lease ---- */

static bool believes_to_hold(const struct sim *sim, const struct node *node)
{
    static struct api_snapshot snapshot;

    if (node->agent == NULL || agent_is_frozen(sim, node)) {
        return false;
    }
    agent_snapshot(node->agent, &snapshot);
    return snapshot.has_lease;
}

static bool is_request_present(const struct sim *sim)
{
    const char *request = store_get(sim, KEY_FAILOVER);

    return request != NULL && !str_equal(request, "{}");
}

/* It was promoted by hand and does not belong to the cluster's history any more: nobody may choose
 * it, whatever it has. */
static bool is_stray(const struct sim *sim, const struct node *node)
{
    struct place begin = {node->disk.end.branch, 0};

    return wal_is_by_hand(&sim->wal, node->disk.end) &&
           !wal_contains(&sim->wal, official(sim), begin);
}

/* The store was set back, and somebody had promoted by hand: which history is the cluster's is
 * recorded nowhere any more. */
static bool is_history_gone(const struct sim *sim)
{
    for (unsigned at = 0; sim->check.back_ns != 0 && at < sim->wal.count; at++) {
        if (sim->wal.branches[at].is_by_hand) {
            return true;
        }
    }
    return false;
}

static bool is_able(const struct sim *sim, const struct node *node)
{
    bool is_sound =
        node->is_up && node->agent != NULL && !node->is_leaving && !agent_is_frozen(sim, node) &&
        node->server.run == RUN_STANDBY &&
        (node->server.has_received || node->disk.replayed == node->disk.end.lsn) &&
        !node->config.tags.nofailover && !net_is_cut(sim, node->index, STORE_PLACE) &&
        !net_is_cut(sim, STORE_PLACE, node->index) && !net_is_poor(sim, STORE_PLACE, node->index) &&
        !store_is_false(sim, node->index) && store_has_quorum(sim) &&
        !store_is_of_before(sim, node) && !server_is_stuck(node) && node->disk_failed_ns == 0 &&
        node->disk_full_ns == 0 && !node->is_watchdog_failed;

    for (unsigned at = 0; is_sound && at < sim->shape.node_count; at++) {
        is_sound = !net_is_cut(sim, at, node->index) && !net_is_cut(sim, node->index, at) &&
                   !net_is_poor(sim, at, node->index);
    }
    return is_sound && sim->net.slow <= 2;
}

/* Its record went with its session, and TAKER has begun since: it has never heard of it. */
static bool is_unheard_of(const struct sim *sim, const struct node *node, const struct node *taker)
{
    char key[MEMBER_NAME_SIZE + sizeof(KEY_MEMBERS)];

    IGNORE(!str_format(key, sizeof(key), KEY_MEMBERS "%s", node->name), "made that long");
    return store_get(sim, key) == NULL && taker->agent_began_ns >= node->unlisted_ns;
}

/* Is there somebody whom TAKER must have known to be better: able for long, holding what was
 * acknowledged and TAKER lacks? */
static void check_candidate(struct sim *sim, const struct node *taker)
{
    struct check *check = &sim->check;

    /* No data: they were lost while the question was on its way. */
    if (check->official < 0 || is_request_present(sim) || taker->disk.end.branch < 0 ||
        check->is_key_old || is_history_gone(sim)) {
        return;
    }
    /* What was acknowledged under a term that was forgotten lies on another branch than what was
     * acknowledged under the one after it: no choice keeps both. */
    for (unsigned at = 0; at < sim->shape.node_count && !check->is_forgotten; at++) {
        const struct node *node = &sim->nodes[at];
        struct place part = wal_meet(&sim->wal, node->disk.end, official(sim));
        uint64_t last;

        if (node == taker || node->able_since_ns == 0 || !is_able(sim, node) ||
            is_unheard_of(sim, node, taker) || is_stray(sim, node) ||
            (check->key.is_published && check->is_tail_lost) ||
            check->sent_ns - node->able_since_ns < SETTLED_NS ||
            check->sent_ns - node->disk.changed_ns < SETTLED_NS) {
            continue;
        }
        if (wal_lost(&sim->wal, part, taker->disk.end, &last) > 0) {
            check_fail(
                sim, VERDICT_SAFETY,
                "%s takes the lease although %s, which could, has acknowledged "
                "writes that it lacks",
                taker->name, node->name);
        }
    }
    /* Who is elected by the key has all that counts, and needs no other limit. */
    if (!check->key.is_published && !store_is_stale(sim, taker->index) &&
        check->status_lsn > taker->disk.end.lsn &&
        check->status_lsn - taker->disk.end.lsn > (uint64_t)sim->shape.maximum_lag &&
        sim->now_ns - check->status_changed_ns > SETTLED_NS &&
        sim->now_ns - taker->disk.changed_ns > SETTLED_NS) {
        check_fail(
            sim, VERDICT_SAFETY, "%s takes the lease although it lags more than allowed",
            taker->name);
    }
}

/* The operator takes the loss. */
bool check_is_forced(const struct sim *sim)
{
    const char *request = store_get(sim, KEY_FAILOVER);

    return is_request_present(sim) && strstr(request, "\"leader\"") == NULL;
}

/* NODE's server is the cluster's primary from now on, by right. IS_CHOSEN: with what it has, by an
 * operator's word. */
static void check_opened(struct sim *sim, const struct node *node, bool is_chosen)
{
    struct check *check = &sim->check;
    int branch = node->disk.end.branch;
    uint64_t last;
    unsigned lost;

    lost = wal_lost(&sim->wal, official(sim), node->disk.end, &last);
    if (lost > 0 && !check->is_loss_excused && !check->is_forgotten && !is_history_gone(sim)) {
        if (check->is_released) {
            check_fail(
                sim, VERDICT_SAFETY, "A: %u acknowledged writes are lost by a release to %s", lost,
                node->name);
        }
        if (sim->wal.branches[check->official].opener == node->index) {
            check_fail(
                sim, VERDICT_SAFETY, "A: %s lost %u acknowledged writes of its own", node->name,
                lost);
        }
    }
    check_sync_promoted(sim, node, check->is_forced || is_chosen);
    check->lost += lost;
    check->official = branch;
    check->is_released = false;
    check->is_loss_excused = false;
    sim_trace(
        sim, node, "sim.opened", "branch %d timeline %u, lost %u", branch,
        sim->wal.branches[branch].timeline, lost);
}

/* The store was set back, and nobody whom TAKER could ask has seen what it had since: who has it on
 * disk is dead, cut off, or has lost that disk. Terms and timelines may come again then. */
static bool is_forgotten(struct sim *sim, const struct node *taker)
{
    struct check *check = &sim->check;

    for (unsigned at = 0; at < sim->shape.node_count && !check->is_forgotten; at++) {
        const struct node *node = &sim->nodes[at];
        bool is_asked = node == taker || (node->able_since_ns != 0 &&
                                          sim->now_ns - node->able_since_ns > SETTLED_NS);

        if (check->back_ns == 0 || (is_asked && node->past.term >= check->term_max &&
                                    node->past.system_id == taker->disk.system_id)) {
            return false;
        }
    }
    check->is_forgotten = true;
    return true;
}

static void check_taken(
    struct sim *sim, const struct lease_record *before, const struct lease_record *after)
{
    struct check *check = &sim->check;
    struct node *taker = sim_find(sim, after->holder);
    uint64_t last;

    ASSERT(taker != NULL);
    check->takeovers++;
    check->is_forced = check_is_forced(sim);
    check_sync_taken(sim, before, after);
    if (check_is_forced(sim) || wal_lost(&sim->wal, official(sim), taker->disk.end, &last) == 0) {
        check->is_released = false;
    }
    if (after->term != MAX(before->term, check->term_max) + 1 && !is_forgotten(sim, taker)) {
        check_fail(
            sim, VERDICT_SAFETY, "T: the term went from %" PRIu64 " to %" PRIu64, before->term,
            after->term);
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct node *node = &sim->nodes[at];

        /* Of another cluster, which the store knew before it was wiped. */
        if (node->disk.system_id != taker->disk.system_id && is_forgotten(sim, taker)) {
            continue;
        }
        if (node != taker && believes_to_hold(sim, node) && !check_is_silenced(sim, node) &&
            sim->now_ns >= MAX(node->excused_until_ns, node->clockless_until_ns)) {
            check_fail(
                sim, VERDICT_SAFETY, "T: %s takes the lease while %s still counts on it",
                taker->name, node->name);
        }
    }
    if (!str_equal(before->released_to, after->holder)) {
        check_candidate(sim, taker);
    }
    if (taker->server.is_by_hand && server_is_open(taker) && !taker->server.is_kill_asked &&
        sim->now_ns - taker->server.opened_ns < SECOND) {
        /* A DBA's promotion ended while the agent, which knew a standby, was taking the lease. One
         * that it has found meanwhile, and is killing, has never been the primary by right. */
        taker->server.is_by_hand = false;
        check->is_loss_excused = true;
        check_opened(sim, taker, true);
    }
}

static void check_released(
    struct sim *sim, const struct lease_record *before, const struct lease_record *after)
{
    const struct node *node = sim_find(sim, before->holder);
    struct place floor;
    uint64_t last;
    bool was_primary;

    if (node == NULL) {
        return;
    }
    /* Whoever was never opened in its term promises nothing by giving it up. */
    was_primary = sim->check.official >= 0 && node->disk.end.branch == sim->check.official &&
                  sim->wal.branches[sim->check.official].opener == node->index;
    /* What somebody promotes by hand in that moment is seen when it is open, and ended then. */
    if (server_is_open(node) || (node->server.run == RUN_PROMOTING && !node->server.is_by_hand)) {
        check_fail(sim, VERDICT_SAFETY, "%s released the lease while it was open", node->name);
    }
    /* Its log is complete: nothing of it may be lost, whether the record says where it ends or not.
     * One that was killed after it had been started again does not know that any more. */
    sim->check.is_released = was_primary && node->disk.is_clean &&
                             node->disk.complete.branch == node->disk.end.branch &&
                             node->disk.complete.lsn == node->disk.end.lsn;
    if (after->floor.lsn == 0 || node->disk.end.branch < 0) {
        return;
    }
    /* With a key the rest may be what nobody was told of: check_sync_promoted looks at that. */
    if (sim->check.key.is_published && after->floor.lsn < node->disk.end.lsn) {
        return;
    }
    /* It may run as a standby again by now: nothing was added to its log. The store may have made
     * the change so late that the disk has lost since what it said to have. A server that was
     * killed while it stopped has written its end, which nobody was told of. */
    floor = (struct place){node->disk.end.branch, after->floor.lsn};
    if ((floor.lsn > node->disk.end.lsn && node->lied.lsn < floor.lsn) ||
        wal_lost(&sim->wal, node->disk.end, floor, &last) > 0) {
        check_fail(
            sim, VERDICT_SAFETY,
            "%s released the lease with floor %" PRIu64 ", its log ends at %" PRIu64, node->name,
            after->floor.lsn, node->disk.end.lsn);
    }
    sim->check.is_released = was_primary;
}

void check_lease(struct sim *sim, const char *before_json, const char *after_json)
{
    struct check *check = &sim->check;
    struct lease_record before = {0};
    struct lease_record after = {0};
    struct err e = {0};

    if ((before_json != NULL && record_lease_decode(before_json, &before, &e) < 0) ||
        record_lease_decode(after_json, &after, &e) < 0) {
        check_fail(sim, VERDICT_SAFETY, "the lease cannot be read: %s", err_text(&e));
        return;
    }
    if (after.term < before.term) {
        check_fail(sim, VERDICT_SAFETY, "T: the term fell to %" PRIu64, after.term);
    }
    if (after.holder[0] == '\0') {
        sim_trace(
            sim, NULL, "store.released", "term %" PRIu64 " to '%s'", after.term, after.released_to);
        check_released(sim, &before, &after);
    } else if (after.term != before.term) {
        sim_trace(sim, NULL, "store.taken", "term %" PRIu64 " by %s", after.term, after.holder);
        check_taken(sim, &before, &after);
    } else {
        if (!str_equal(before.holder, after.holder) || after.seq != before.seq + 1) {
            check_fail(
                sim, VERDICT_SAFETY, "T: term %" PRIu64 " belongs to %s and %s", after.term,
                before.holder, after.holder);
        }
    }
    check->lease_ns = sim->now_ns;
    check->term = after.term;
    check->term_max = MAX(check->term_max, after.term);
    IGNORE(!str_copy(check->holder, sizeof(check->holder), after.holder), "same size");
}

/* What is acknowledged does not change by it, nor who counts on the lease. */
void check_store_restored(struct sim *sim)
{
    const char *json = store_get(sim, KEY_LEASE);
    struct lease_record record = {0};

    if (json != NULL && record_lease_decode(json, &record, NULL) < 0) {
        check_fail(sim, VERDICT_SAFETY, "the lease cannot be read");
    }
    IGNORE(
        !str_copy(sim->check.back_holder, sizeof(sim->check.back_holder), sim->check.holder),
        "same size");
    sim->check.term = record.term;
    IGNORE(!str_copy(sim->check.holder, sizeof(sim->check.holder), record.holder), "same size");
    sim->check.status_lsn = 0;
    sim->check.back_ns = sim->now_ns;
    check_sync_restored(sim);
}

void check_status(struct sim *sim, const char *value)
{
    const char *at = strstr(value, "\"optime\":");

    if (at != NULL) {
        sim->check.status_lsn = strtoull(at + strlen("\"optime\":"), NULL, 10);
        sim->check.status_changed_ns = sim->now_ns;
    }
}

/* The store does not name it any more, since it was set back; its lease is in force all the same,
 * and nobody takes anything before that is over (T). */
static bool is_holding_still(const struct sim *sim, const struct node *node)
{
    const struct check *check = &sim->check;

    return check->back_ns != 0 && str_equal(check->back_holder, node->name) &&
           sim->now_ns - check->back_ns < sim->shape.ttl_ms * MS &&
           check->lease_ns < check->back_ns;
}

/* ---- P: promotions, and what is lost by them ---- */

void check_promote_order(struct sim *sim, struct node *node, struct instant deadline)
{
    if (!instant_is_set(deadline) || instant_left_ms(deadline, node_now(sim, node)) < 0) {
        check_fail(
            sim, VERDICT_SAFETY, "P: %s is to be promoted without an armed deadline", node->name);
    }
    if (!str_equal(sim->check.holder, node->name) && !is_excused(sim, node) &&
        !check_is_silenced(sim, node) && !is_holding_still(sim, node)) {
        check_fail(
            sim, VERDICT_SAFETY, "P: %s is to be promoted, but the lease is with '%s'", node->name,
            sim->check.holder);
    }
}

static void check_timeline(struct sim *sim, const struct node *node, int branch)
{
    const struct branch *opened = &sim->wal.branches[branch];

    for (int at = 0; at < branch; at++) {
        const struct branch *other = &sim->wal.branches[at];

        if (other->timeline == opened->timeline && other->system_id == opened->system_id &&
            !other->is_by_hand && !opened->is_by_hand && !sim->check.is_forgotten) {
            check_fail(
                sim, VERDICT_SAFETY, "P: %s opens timeline %u, which %s opened before", node->name,
                opened->timeline, sim->nodes[other->opener].name);
        }
    }
}

static void on_by_hand_limit(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (server_is_open(node) && node->server.is_by_hand && node->agent != NULL &&
        !agent_is_frozen(sim, node) &&
        sim->now_ns - MAX(node->agent_frozen_until_ns, node->host_frozen_until_ns) >
            BY_HAND_LIMIT_NS &&
        event->a == (int64_t)node->agent_epoch) {
        check_fail(sim, VERDICT_SAFETY, "%s was promoted by hand and is still open", node->name);
    }
}

/* A DBA's promotion must be killed soon. */
static void check_by_hand(struct sim *sim, struct node *node)
{
    sim_post(
        sim, node, ACTOR_SERVER, BY_HAND_LIMIT_NS,
        &(struct event){.run = on_by_hand_limit, .a = (int64_t)node->agent_epoch});
}

void check_promoted(struct sim *sim, struct node *node, int branch)
{
    struct check *check = &sim->check;
    bool is_chosen = false;

    check_timeline(sim, node, branch);
    if (node->server.is_by_hand && str_equal(check->holder, node->name)) {
        /* It took the lease meanwhile: from now on it is the primary by right. */
        node->server.is_by_hand = false;
        check->is_loss_excused = true;
        is_chosen = true;
    }
    if (node->server.is_by_hand) {
        check_by_hand(sim, node);
        return;
    }
    if (!str_equal(check->holder, node->name) && is_excused(sim, node)) {
        /* It was frozen in the middle: its guard will end it, and nothing that it does counts. */
        node->server.is_by_hand = true;
        return;
    }
    if (!str_equal(check->holder, node->name) && check_is_silenced(sim, node)) {
        /* By a lease that was revoked, which it does not know yet: it may be open, but nobody
         * confirms what it writes (check_ack). */
        return;
    }
    if (!str_equal(check->holder, node->name) && !is_holding_still(sim, node)) {
        if (is_of_forgotten(sim, node)) {
            return; /* of what was before: it is not the cluster's primary */
        }
        check_fail(
            sim, VERDICT_SAFETY, "P: %s was promoted, but the lease is with '%s'", node->name,
            check->holder);
    }
    check_opened(sim, node, is_chosen);
}

/* ---- K: servers that are killed ---- */

void check_killed(struct sim *sim, const struct node *node)
{
    int branch = node->disk.end.branch;
    /* Also one that is the primary by right since, if its agent is giving up the lease. */
    bool is_by_hand =
        node->server.is_by_hand || (branch >= 0 && sim->wal.branches[branch].is_by_hand);

    /* An agent that has just begun remembers no newer reading than the old one that it is given.
     * Who took a term that was forgotten may hear of the newest one later. */
    if (server_is_open(node) && !is_by_hand && !node->is_misled && node->silent_ns == 0 &&
        sim->now_ns - node->heard_ns > SECOND && node->disk_hung_ns == 0 &&
        node->disk_failed_ns == 0 && str_equal(sim->check.holder, node->name) &&
        sim->check.lease_ns >= sim->check.back_ns && sim->check.term == sim->check.term_max &&
        instant_is_set(node->guard.deadline) &&
        instant_left_ms(node->guard.deadline, node_now(sim, node)) > KILL_MARGIN_MS) {
        check_fail(
            sim, VERDICT_LIVENESS, "K: %s is killed by its agent although it holds the lease",
            node->name);
    }
}

/* ---- W: data directories ---- */

/* Also by one that has thawed just now, or that a fence silences until its deadline is set anew. */
static bool is_led(struct sim *sim)
{
    const struct node *leader = sim_find(sim, sim->check.holder);

    return leader != NULL && server_is_open(leader) && !node_is_frozen(sim, leader);
}

void check_replaced(struct sim *sim, struct node *node, const char *how)
{
    struct place part = wal_meet(&sim->wal, node->disk.end, official(sim));
    uint64_t last;

    /* Where there is nothing to replace: nor one that somebody had made by hand. */
    if (node->disk.kind == DISK_ABSENT && sim->now_ns - sim->check.last_open_ns <= SETTLED_NS) {
        return;
    }
    if (sim->now_ns - sim->check.last_primary_ns > SETTLED_NS && !is_led(sim)) {
        check_fail(sim, VERDICT_SAFETY, "W: %s: %s while there is no primary", node->name, how);
    }
    if (part.branch < 0) {
        return;
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct node *other = &sim->nodes[at];

        if (other != node && other->disk.kind == DISK_PRESENT &&
            wal_lost(&sim->wal, part, other->disk.end, &last) == 0) {
            return;
        }
    }
    check_fail(
        sim, VERDICT_SAFETY, "W: %s: %s destroys the last copy of acknowledged writes", node->name,
        how);
}

/* ---- who could be a candidate ---- */

static void on_able(struct sim *sim, struct event *event)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[at];

        if (!is_able(sim, node)) {
            node->able_since_ns = 0;
        } else if (node->able_since_ns == 0) {
            node->able_since_ns = sim->now_ns;
        }
    }
    ASSERT(event->data == NULL);
    if (sim->has_sync) {
        check_open(sim); /* it may be open for long without an answer to a client */
    }
    check_electors(sim);
    check_able(sim);
}

void check_able(struct sim *sim)
{
    sim_post(sim, NULL, ACTOR_WORLD, ABLE_PERIOD_NS, &(struct event){.run = on_able});
}

/* ---- L: what must come true when all is well again ---- */

static bool explain(char *why, size_t size, const struct node *node, const char *text)
{
    IGNORE(
        !str_format(
            why, size, "%s%s%s", node != NULL ? node->name : "", node != NULL ? ": " : "", text),
        "cut is fine");
    return false;
}

static bool is_node_converged(
    const struct node *node, const struct node *leader, char *why, size_t size)
{
    if (node->agent == NULL) {
        return explain(why, size, node, "no agent");
    }
    if (node == leader) {
        return true;
    }
    if (node->server.run != RUN_STANDBY) {
        return explain(why, size, node, "its server is not a standby");
    }
    if (!node->server.is_streaming || node->disk.upstream != (int)leader->index) {
        return explain(why, size, node, "it does not stream from the primary");
    }
    if (node->disk.end.branch != leader->disk.end.branch) {
        return explain(why, size, node, "it is not on the primary's timeline");
    }
    return true;
}

bool check_is_converged(struct sim *sim, char *why, size_t size)
{
    const struct node *leader = sim_find(sim, sim->check.holder);
    const char *key = store_get(sim, KEY_LEADER);
    const char *history = store_get(sim, KEY_HISTORY);

    if (leader == NULL || !server_is_open(leader)) {
        return explain(why, size, leader, "no primary holds the lease");
    }
    if (key == NULL || !str_equal(key, leader->name)) {
        return explain(why, size, NULL, "the leader key does not name the primary");
    }
    if (is_request_present(sim)) {
        return explain(why, size, NULL, "the failover request is still there");
    }
    if (history == NULL && sim->wal.branches[leader->disk.end.branch].timeline > 1) {
        return explain(why, size, NULL, "there is no history");
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        if (!is_node_converged(&sim->nodes[at], leader, why, size)) {
            return false;
        }
    }
    return check_is_sync_well(sim, leader, why, size);
}
