#include "tests/sim/faults.h"

#include "base/assert.h"

/* Faults that lie, or that stop time: what was acknowledged is not there, what was applied is
 * denied, the clocks know nothing of a pause. */

/* ---- links: one direction only ---- */

/* From the node to another one, or between it and the store. */
static void find_link(const struct fault *fault, unsigned *ret_from, unsigned *ret_to)
{
    unsigned node = (unsigned)fault->resolved;
    unsigned other = fault->amount % 2 == 0 ? STORE_PLACE : (unsigned)fault->other;
    bool is_back = fault->amount % 4 < 2;

    *ret_from = is_back ? other : node;
    *ret_to = is_back ? node : other;
}

void harsh_slow_link(struct sim *sim, struct fault *fault, struct node *node)
{
    unsigned from;
    unsigned to;

    ASSERT(node != NULL);
    find_link(fault, &from, &to);
    sim->net.lag_ns[from][to] = fault->is_over ? 0 : (5 + fault->amount / 4 % 1500) * MS;
}

void harsh_lossy_link(struct sim *sim, struct fault *fault, struct node *node)
{
    unsigned from;
    unsigned to;

    ASSERT(node != NULL);
    find_link(fault, &from, &to);
    sim->net.loss[from][to] = fault->is_over ? 0 : 50 + (int)(fault->amount / 4 % 650);
}

/* ---- clocks ---- */

/* The machine under the host is stopped: no clock of it shows that afterwards. What it counted on
 * before, it counts on after: for a whole hold, whoever leads meanwhile. */
static void stop_clocks(struct sim *sim, struct node *node, bool is_stopped)
{
    struct lease_times times = lease_times(sim->shape.ttl_ms, sim->shape.loop_wait_ms);

    clock_set(&node->boot, sim->now_ns, node->boot.ppm, is_stopped);
    clock_set(&node->raw, sim->now_ns, node->raw.ppm, is_stopped);
    node->clockless_until_ns =
        is_stopped ? INT64_MAX : sim->now_ns + times.hold_ms * MS + EXCUSE_NS;
}

void harsh_pause(struct sim *sim, struct fault *fault, struct node *node)
{
    if (fault->is_over && node->clockless_until_ns == INT64_MAX) {
        stop_clocks(sim, node, false);
        guard_check(sim, node);
    } else if (!fault->is_over && fault_upset(sim, node, UPSET_PAUSE)) {
        stop_clocks(sim, node, true);
        node_freeze(sim, node, fault->length_ns);
    }
}

/* One of the two clocks jumps ahead; the other one knows better, so it is always the same one. */
void harsh_step(struct sim *sim, struct fault *fault, struct node *node)
{
    struct clock *clock = (sim->seed + node->index) % 2 == 0 ? &node->boot : &node->raw;

    if (fault_upset(sim, node, UPSET_STEP)) {
        clock->value_ns += (1 + fault->amount % 60000) * MS;
        guard_check(sim, node);
    }
}

/* ---- disks ---- */

/* The host loses power, and its disk had lied: the end of the log was never on it. */
void harsh_lose_tail(struct sim *sim, struct fault *fault, struct node *node)
{
    struct disk *disk = &node->disk;
    struct place before = disk->end;
    const struct branch *branch;
    uint64_t least;
    uint64_t last;

    ASSERT(fault->is_applied);
    if (!node->is_up) {
        return;
    }
    node_power_off(sim, node);
    if (disk->kind != DISK_PRESENT || disk->is_torn || before.branch < 0 ||
        disk->minimum.branch >= 0) {
        return;
    }
    branch = &sim->wal.branches[before.branch];
    least = branch->parent >= 0 ? branch->fork + 1 : before.lsn;
    if (disk->checkpoint.branch == before.branch) {
        least = MAX(least, disk->checkpoint.lsn);
    }
    disk->end.lsn = MAX(least, before.lsn - MIN(before.lsn, (uint64_t)fault->amount % 60000));
    disk->replayed = MIN(disk->replayed, disk->end.lsn);
    disk->complete = (struct place){-1, 0};
    disk->changed_ns = sim->now_ns;
    if (wal_lost(&sim->wal, before, disk->end, &last) > 0) {
        sim->check.is_loss_excused = true;
        sim->check.is_tail_lost = true;
        sim->check.loss_ns = sim->now_ns + SECOND; /* what it had confirmed is on its way */
    }
    node->lied = before;
    sim_trace(
        sim, node, "sim.tail", "the log ends at %" PRIu64 " instead of %" PRIu64, disk->end.lsn,
        before.lsn);
}

/* ---- the store ---- */

/* The member that NODE reads from stands still: its watch is silent, its readings are old. */
void harsh_stale_store(struct sim *sim, struct fault *fault, struct node *node)
{
    store_set_stale(sim, node->index, !fault->is_over);
}

/* A transaction that was applied is answered as one that lost: it was sent twice on the way. */
void harsh_deny(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    store_set_denial(sim, fault->is_over ? 0 : 50 + (int)(fault->amount % 700));
}

/* The session has ended and its keys are gone, but the store says that it lives. */
void harsh_false_session(struct sim *sim, struct fault *fault, struct node *node)
{
    store_set_false(sim, node->index, !fault->is_over);
    if (!fault->is_over) {
        store_expire_session(sim, node->index);
    }
}

/* ---- a server that lives and does not work ---- */

void harsh_hang_server(struct sim *sim, struct fault *fault, struct node *node)
{
    if (!fault->is_over && node->server.run == RUN_NONE) {
        return;
    }
    node->silent_ns = fault->is_over ? 0 : sim->now_ns;
    node->heard_ns = fault->is_over ? MAX(node->heard_ns, sim->now_ns) : node->heard_ns;
    node_release(sim, node);
    engine_changed(sim, node);
}

void harsh_hang_disk(struct sim *sim, struct fault *fault, struct node *node)
{
    node->disk_hung_ns = fault->is_over ? 0 : sim->now_ns;
    node->heard_ns = fault->is_over ? MAX(node->heard_ns, sim->now_ns) : node->heard_ns;
    if (fault->is_over && node->server.is_dying) {
        server_kill(sim, node, "the disk goes on: what was killed ends");
    }
    node_release(sim, node);
    engine_changed(sim, node);
}

void harsh_fail_disk(struct sim *sim, struct fault *fault, struct node *node)
{
    node->disk_failed_ns = fault->is_over ? 0 : sim->now_ns;
    node->heard_ns = fault->is_over ? MAX(node->heard_ns, sim->now_ns) : node->heard_ns;
    engine_changed(sim, node);
}

/* Nothing can be written but the log, which has room for its end. */
void harsh_fill_disk(struct sim *sim, struct fault *fault, struct node *node)
{
    node->disk_full_ns = fault->is_over ? 0 : sim->now_ns;
    engine_changed(sim, node);
}

void harsh_fail_watchdog(struct sim *sim, struct fault *fault, struct node *node)
{
    node->is_watchdog_failed = !fault->is_over;
    engine_changed(sim, node);
}

/* All of its connections are in use. Those that stream go on. */
void harsh_no_connections(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(sim->shape.node_count > 0);
    node->has_no_connections = !fault->is_over;
}

/* ---- failsafe mode ---- */

static void cut_both(struct sim *sim, unsigned a, unsigned b, int by)
{
    net_cut(sim, a, b, by);
    net_cut(sim, b, a, by);
}

static void on_restarted(struct sim *sim, struct event *event)
{
    agent_begin(sim, &sim->nodes[event->node]);
}

static void on_restart(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (!sim->is_healed && node->agent != NULL) {
        agent_kill(sim, node);
        sim_post(sim, node, ACTOR_WORLD, 150 * MS, &(struct event){.run = on_restarted});
    }
}

/* NODE cannot reach the store, others perhaps neither; it can reach some of them, and not
 * always: they help it, and others would take its lease. Agents that have promised or voted are
 * restarted. */
void harsh_failsafe(struct sim *sim, struct fault *fault, struct node *met)
{
    const struct node *node = fault->is_over ? met : sim_leader(sim);
    unsigned count = sim->shape.node_count;
    unsigned other = (node->index + 1 + (unsigned)(fault->amount / 8) % MAX(count - 1, 1u)) % count;
    unsigned third = (other + 1) % count == node->index ? (other + 2) % count : (other + 1) % count;
    int by = fault->is_over ? -1 : 1;

    fault->resolved = (int)node->index;
    cut_both(sim, node->index, STORE_PLACE, by);
    if (fault->amount % 2 == 0) {
        cut_both(sim, other, STORE_PLACE, by);
    }
    if (fault->amount / 2 % 2 == 0) {
        cut_both(sim, node->index, third, by);
    }
    if (!fault->is_over && fault->amount / 16 % 4 == 0) {
        /* Not only those who help: who is helped forgets as well. */
        sim_post(
            sim, &sim->nodes[node->index], ACTOR_WORLD,
            fault->amount % 991 * fault->length_ns / 991, &(struct event){.run = on_restart});
    }
    for (unsigned at = 0; !fault->is_over && at < 3 && fault->amount / 4 % 2 == 0; at++) {
        sim_post(
            sim, &sim->nodes[at % 2 == 0 ? other : third], ACTOR_WORLD,
            (fault->amount * (at + 1) % 997) * fault->length_ns / 997,
            &(struct event){.run = on_restart});
    }
}

/* ---- a store that is set back ---- */

/* All agents must be restarted to go by it: some are dead already, some live on without a store
 * until somebody comes to them. The copy is some changes old; sometimes there is none. */
void harsh_set_store_back(struct sim *sim, struct fault *fault, struct node *met)
{
    int64_t age = INT64_C(1) << fault->amount / 8 % 10;

    ASSERT(met != NULL);
    for (unsigned at = 0; fault->is_over && at < sim->shape.node_count; at++) {
        if (store_is_of_before(sim, &sim->nodes[at])) {
            agent_kill(sim, &sim->nodes[at]);
            agent_begin(sim, &sim->nodes[at]);
        }
    }
    if (fault->is_over) {
        return;
    }
    store_set_back(
        sim, fault->amount % 8 == 0 ? UINT32_MAX : (unsigned)(age + fault->amount % age));
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[at];
        int64_t wait_ns = fault->amount * (at + 1) % 997 * fault->length_ns / 997;
        bool is_dead = (fault->amount / 80 >> at) % 2 != 0;

        if (is_dead) {
            agent_kill(sim, node);
        }
        sim_post(
            sim, node, ACTOR_WORLD, wait_ns,
            &(struct event){.run = is_dead ? on_restarted : on_restart});
    }
}
