#include "tests/sim/sim.h"

#include "base/assert.h"

/* What goes wrong. A seed draws a list of faults, explicit, so that it can be printed and made shorter. */

enum kind {
    KILL_SERVER,
    KILL_AGENT,
    KILL_NODE,
    POWER_ALL,
    FREEZE_AGENT,
    STALL_AGENT, /* in the middle of a turn */
    FREEZE_NODE,
    SUSPEND_NODE, /* the raw clock stands still */
    CUT_STORE,
    CUT_STORE_TO,
    CUT_STORE_FROM,
    CUT_PEER,
    CUT_PEER_ONE_WAY,
    ISOLATE,
    STORE_QUORUM,
    STORE_LEADER,
    STORE_SLOW,
    STORE_LATE, /* it commits in time, but its answers come late */
    STORE_SESSION,
    NET_SLOW,
    CLOCK_SLEW,
    CLOCK_REAL,
    BAD_DISK,
    BROKEN_DATA,
    LOST_DATA,
    SWITCHOVER,
    SWITCHOVER_CRASH, /* the primary loses power while it hands over */
    FAILOVER,
    BY_HAND,
    PAUSE,
    LEAVE,
    KINDS,
};

/* NEEDS_LENGTH: it ends. Weight: how often, of 1000, a seed has this kind at all. */
static const struct {
    const char *name;
    int weight;
    int64_t shortest_ns; /* 0: it has no length */
    int64_t longest_ns;
    unsigned most;
} kinds[KINDS] = {
    [KILL_SERVER] = {"kill-server", 300, 0, 0, 6},
    [KILL_AGENT] = {"kill-agent", 300, 400 * MS, 12 * SECOND, 5},
    [KILL_NODE] = {"kill-node", 350, SECOND, 12 * SECOND, 4},
    [POWER_ALL] = {"power-all", 80, SECOND, 6 * SECOND, 1},
    [FREEZE_AGENT] = {"freeze-agent", 250, 400 * MS, 12 * SECOND, 4},
    [STALL_AGENT] = {"stall-agent", 250, 100 * MS, 12 * SECOND, 5},
    [FREEZE_NODE] = {"freeze-node", 150, 200 * MS, 12 * SECOND, 3},
    [SUSPEND_NODE] = {"suspend-node", 100, 500 * MS, 12 * SECOND, 2},
    [CUT_STORE] = {"cut-store", 250, 100 * MS, 12 * SECOND, 4},
    [CUT_STORE_TO] = {"cut-store-to", 120, 100 * MS, 12 * SECOND, 3},
    [CUT_STORE_FROM] = {"cut-store-from", 150, 100 * MS, 12 * SECOND, 3},
    [CUT_PEER] = {"cut-peer", 200, 200 * MS, 12 * SECOND, 4},
    [CUT_PEER_ONE_WAY] = {"cut-peer-one-way", 120, 200 * MS, 12 * SECOND, 3},
    [ISOLATE] = {"isolate", 250, 200 * MS, 12 * SECOND, 3},
    [STORE_QUORUM] = {"store-quorum", 150, 200 * MS, 12 * SECOND, 2},
    [STORE_LEADER] = {"store-leader", 200, 0, 0, 5},
    [STORE_SLOW] = {"store-slow", 250, 500 * MS, 10 * SECOND, 3},
    [STORE_LATE] = {"store-late", 250, SECOND, 10 * SECOND, 3},
    [STORE_SESSION] = {"store-session", 120, 0, 0, 4},
    [NET_SLOW] = {"net-slow", 150, 500 * MS, 10 * SECOND, 3},
    [CLOCK_SLEW] = {"clock-slew", 400, 4 * SECOND, 25 * SECOND, 3},
    [CLOCK_REAL] = {"clock-real", 150, 0, 0, 3},
    [BAD_DISK] = {"bad-disk", 120, SECOND, 12 * SECOND, 2},
    [BROKEN_DATA] = {"broken-data", 100, 0, 0, 1},
    [LOST_DATA] = {"lost-data", 120, 0, 0, 1},
    [SWITCHOVER] = {"switchover", 400, 0, 0, 4},
    [SWITCHOVER_CRASH] = {"switchover-crash", 200, 2 * SECOND, 12 * SECOND, 2},
    [FAILOVER] = {"failover", 150, 0, 0, 3},
    [BY_HAND] = {"promote-by-hand", 100, 0, 0, 2},
    [PAUSE] = {"pause", 80, SECOND, 12 * SECOND, 1},
    [LEAVE] = {"leave", 150, 200 * MS, 12 * SECOND, 2},
};


struct node *sim_leader(struct sim *sim)
{
    struct node *holder = sim_find(sim, sim->check.holder);

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        if (server_is_open(&sim->nodes[at])) {
            return &sim->nodes[at];
        }
    }
    return holder != NULL ? holder : &sim->nodes[0];
}

void fault_format(const struct sim *sim, const struct fault *fault, char *buffer, size_t size)
{
    const char *node = fault->node < 0 ? "leader" : sim->nodes[fault->node].name;

    IGNORE(
        !str_format(
            buffer, size, "%3" PRId64 ".%03" PRId64 " %-16s %s (met %s) other %d amount %" PRId64
            " for %" PRId64 " ms",
            fault->at_ns / SECOND, fault->at_ns / MS % 1000, kinds[fault->kind].name, node,
            fault->is_applied ? sim->nodes[fault->resolved].name : "nobody", fault->other + 1,
            fault->amount, fault->length_ns / MS),
        "cut is fine");
}

/* ---- drawing ---- */

static void draw_kind(struct sim *sim, unsigned kind, int64_t span_ns)
{
    enum stream stream = (enum stream)(STREAM_FAULTS + (int)kind);
    unsigned count;

    if (!rng_chance(sim, stream, kinds[kind].weight)) {
        return;
    }
    count = (unsigned)rng_log(sim, stream, 1, kinds[kind].most);
    for (unsigned at = 0; at < count && sim->fault_count < FAULTS_MAX; at++) {
        struct fault *fault = &sim->faults[sim->fault_count++];

        *fault = (struct fault){.kind = kind, .is_off = fault->is_off};
        fault->at_ns = sim->now_ns + rng_between(sim, stream, 0, span_ns);
        fault->node = rng_chance(sim, stream, 550)
                          ? -1
                          : (int)rng_between(sim, stream, 0, sim->shape.node_count - 1);
        fault->other = (int)rng_between(sim, stream, 0, sim->shape.node_count - 1);
        fault->amount = rng_between(sim, stream, 0, 1000000);
        if (kinds[kind].shortest_ns > 0) {
            fault->length_ns = rng_log(sim, stream, kinds[kind].shortest_ns, kinds[kind].longest_ns);
        }
    }
}

void faults_draw(struct sim *sim)
{
    int64_t span_ns = rng_log(sim, STREAM_SHAPE, 3 * SECOND, 16 * SECOND);

    if (sim->shape.is_calm) {
        sim->faults[sim->fault_count++] = (struct fault){
            .is_off = sim->faults[0].is_off,
            .kind = rng_chance(sim, STREAM_SHAPE, 500) ? KILL_SERVER : KILL_NODE,
            .at_ns = sim->now_ns + rng_between(sim, STREAM_SHAPE, SECOND, 4 * SECOND),
            .node = -1,
            .length_ns = 20 * SECOND,
        };
        return;
    }
    for (unsigned kind = 0; kind < KINDS; kind++) {
        draw_kind(sim, kind, span_ns);
    }
}

/* ---- carrying out ---- */

static void cut_for(struct sim *sim, const struct fault *fault, int by)
{
    unsigned node = (unsigned)fault->resolved;
    unsigned other = (unsigned)fault->other;
    unsigned kind = fault->kind;

    if (kind == CUT_PEER || kind == CUT_PEER_ONE_WAY) {
        net_cut(sim, node, other, by);
    }
    if (kind == CUT_PEER) {
        net_cut(sim, other, node, by);
    }
    if (kind == CUT_STORE || kind == CUT_STORE_TO || kind == ISOLATE) {
        net_cut(sim, node, STORE_PLACE, by);
    }
    if (kind == CUT_STORE || kind == CUT_STORE_FROM || kind == ISOLATE) {
        net_cut(sim, STORE_PLACE, node, by);
    }
    for (unsigned at = 0; kind == ISOLATE && at < sim->shape.node_count; at++) {
        net_cut(sim, node, at, by);
        net_cut(sim, at, node, by);
    }
}

/* An agent that can answer; another one than the leader's if there is one. */
static struct node *find_asked(struct sim *sim, const struct node *leader, int64_t amount)
{
    struct node *found = &sim->nodes[amount % sim->shape.node_count];

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[((int64_t)at + amount) % sim->shape.node_count];

        if (node->agent != NULL && !agent_is_frozen(sim, node) && node != leader &&
            !net_is_cut(sim, node->index, STORE_PLACE)) {
            found = node;
        }
    }
    return found;
}

/* The node that FAULT names, or the next one if it leads already; some operators do not look. */
static struct node *find_candidate(struct sim *sim, const struct node *leader, const struct fault *fault)
{
    unsigned at = (unsigned)fault->other;
    bool is_leader = &sim->nodes[at] == leader && fault->amount % 8 != 0;

    return &sim->nodes[(at + (is_leader ? 1 : 0)) % sim->shape.node_count];
}

/* An operator asks one of the agents. */
static void ask(struct sim *sim, const struct fault *fault, bool is_failover)
{
    const struct node *leader = sim_leader(sim);
    struct failover_request request = {0};

    if (!is_failover || fault->amount % 3 == 0) {
        str_copy(request.leader, sizeof(request.leader), leader->name);
    }
    if (is_failover || fault->amount % 4 != 0) {
        str_copy(
            request.candidate, sizeof(request.candidate),
            find_candidate(sim, leader, fault)->name);
    }
    if (fault->kind == SWITCHOVER && fault->amount % 2 == 0) {
        request.scheduled_real_ms =
            INT64_C(1795392000000) + sim->now_ns / MS + 1000 + fault->amount % 7000;
    }
    operator_ask(sim, find_asked(sim, leader, fault->amount), &request, is_failover);
}

/* Whether somebody else could carry on without NODE's data. */
static bool is_spare(const struct sim *sim, const struct node *node)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct node *other = &sim->nodes[at];

        if (other != node && other->disk.kind == DISK_PRESENT && other->server.run == RUN_STANDBY &&
            other->disk.end.branch == node->disk.end.branch &&
            other->disk.end.lsn + (uint64_t)sim->shape.maximum_lag / 2 > node->disk.end.lsn) {
            return true;
        }
    }
    return false;
}

void fault_lose_data(struct sim *sim, struct node *node, bool is_broken)
{
    if (node->disk.kind != DISK_PRESENT || sim->check.official < 0 || !is_spare(sim, node)) {
        return;
    }
    sim->check.is_loss_excused = true;
    server_kill(sim, node, "its data is gone");
    if (is_broken) {
        node->disk.kind = DISK_BROKEN;
    } else {
        node->disk = (struct disk){.end = {-1, 0}, .minimum = {-1, 0}, .upstream = -1};
    }
    engine_changed(sim, node);
}

/* NTP slews one clock by up to 8 %; the other keeps the crystal's error. */
static void slew_one(struct sim *sim, struct node *node, int64_t ppm)
{
    clock_set(&node->boot, sim->now_ns, ppm, false);
    guard_check(sim, node);
}

/* One node, or all but the one that leads: the worst for a lease. */
static void slew(struct sim *sim, struct node *node, const struct fault *fault, bool is_on)
{
    int64_t ppm = 80000 - fault->amount % 3 / 2 * (fault->amount % 60000);

    if (!is_on) {
        ppm = 0;
    } else if (fault->amount % 4 == 3) {
        ppm = -ppm;
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        bool is_meant = fault->amount % 2 == 0 ? &sim->nodes[at] != sim_leader(sim)
                                               : &sim->nodes[at] == node;

        if (is_meant || !is_on) {
            slew_one(sim, &sim->nodes[at], ppm);
        }
    }
}

static void suspend(struct sim *sim, struct node *node, const struct fault *fault)
{
    /* What the raw clock misses must not coincide with a slewed one: two faults at once are not promised. */
    if (node->boot.ppm < -500 || node->boot.ppm > 500) {
        return;
    }
    clock_set(&node->raw, sim->now_ns, node->raw.ppm, true);
    node_freeze(sim, node, fault->length_ns);
}

static void on_crash(struct sim *sim, struct event *event)
{
    ASSERT(event->data == NULL);
    if (!sim->is_healed) {
        net_cut(sim, (unsigned)event->a, (unsigned)event->b, -1);
        node_power_off(sim, &sim->nodes[event->a]);
    }
}

static void begin(struct sim *sim, struct fault *fault, struct node *node)
{
    switch ((enum kind)fault->kind) {
    case KILL_SERVER:
        server_kill(sim, node, "fault");
        break;
    case KILL_AGENT:
        agent_kill(sim, node);
        break;
    case KILL_NODE:
        node_power_off(sim, node);
        break;
    case POWER_ALL:
        for (unsigned at = 0; at < sim->shape.node_count; at++) {
            node_power_off(sim, &sim->nodes[at]);
        }
        break;
    case FREEZE_AGENT:
        agent_freeze(sim, node, fault->length_ns);
        break;
    case STALL_AGENT:
        node->stall_ns = fault->length_ns;
        break;
    case FREEZE_NODE:
        node_freeze(sim, node, fault->length_ns);
        break;
    case SUSPEND_NODE:
        suspend(sim, node, fault);
        break;
    case CUT_STORE:
    case CUT_STORE_TO:
    case CUT_STORE_FROM:
    case CUT_PEER:
    case CUT_PEER_ONE_WAY:
    case ISOLATE:
        cut_for(sim, fault, 1);
        break;
    case STORE_QUORUM:
        store_set_quorum(sim, false);
        break;
    case STORE_LEADER:
        store_change_leader(sim);
        break;
    case STORE_SLOW:
        store_set_slow(sim, 1 + (int)(fault->amount % 150));
        break;
    case STORE_LATE:
        store_set_late(sim, fault->amount % 1800 * MS);
        break;
    case STORE_SESSION:
        store_expire_session(sim, node->index);
        break;
    case NET_SLOW:
        sim->net.slow = 1 + (int)(fault->amount % 60);
        break;
    case CLOCK_SLEW:
        slew(sim, node, fault, true);
        break;
    case CLOCK_REAL:
        node->real_offset_ms += (fault->amount - 500000) * 10;
        break;
    case BAD_DISK:
        node->has_bad_disk = true;
        break;
    case BROKEN_DATA:
        fault_lose_data(sim, node, true);
        break;
    case LOST_DATA:
        fault_lose_data(sim, node, false);
        if (node->disk.kind == DISK_ABSENT && node->agent != NULL && fault->amount % 2 == 0) {
            agent_kill(sim, node);
            node_make_id(sim, node);
            agent_begin(sim, node);
        }
        break;
    case SWITCHOVER:
        ask(sim, fault, false);
        break;
    case SWITCHOVER_CRASH:
        ask(sim, fault, false);
        /* The candidate falls behind meanwhile. */
        node = sim_leader(sim);
        fault->resolved = (int)node->index;
        fault->other = (int)find_candidate(sim, node, fault)->index;
        net_cut(sim, node->index, (unsigned)fault->other, 1);
        sim_post(
            sim, NULL, ACTOR_WORLD, 200 * MS + fault->amount % 1500 * MS, on_crash,
            fault->resolved, fault->other);
        break;
    case FAILOVER:
        ask(sim, fault, true);
        break;
    case BY_HAND:
        if (node->server.run == RUN_STANDBY && !str_equal(sim->check.holder, node->name)) {
            server_promote(sim, node, 0);
        }
        break;
    case PAUSE:
        operator_pause(sim, true);
        break;
    case LEAVE:
        if (node->agent != NULL) {
            node->is_leaving = true;
            agent_leave(node->agent);
            agent_touch(sim, node);
        }
        break;
    case KINDS:
        break;
    }
}

static void finish(struct sim *sim, struct fault *fault, struct node *node)
{
    switch ((enum kind)fault->kind) {
    case KILL_AGENT:
    case KILL_NODE:
    case SWITCHOVER_CRASH:
        node_boot(sim, node);
        agent_begin(sim, node);
        break;
    case LEAVE:
        if (node->agent == NULL && node->is_up) {
            agent_begin(sim, node);
        }
        break;
    case POWER_ALL:
        for (unsigned at = 0; at < sim->shape.node_count; at++) {
            node_boot(sim, &sim->nodes[at]);
            agent_begin(sim, &sim->nodes[at]);
        }
        break;
    case SUSPEND_NODE:
        clock_set(&node->raw, sim->now_ns, node->raw.ppm, false);
        guard_check(sim, node);
        break;
    case CUT_STORE:
    case CUT_STORE_TO:
    case CUT_STORE_FROM:
    case CUT_PEER:
    case CUT_PEER_ONE_WAY:
    case ISOLATE:
        cut_for(sim, fault, -1);
        break;
    case STORE_QUORUM:
        store_set_quorum(sim, true);
        break;
    case STORE_SLOW:
        store_set_slow(sim, 1);
        break;
    case STORE_LATE:
        store_set_late(sim, 0);
        break;
    case NET_SLOW:
        sim->net.slow = 1;
        break;
    case CLOCK_SLEW:
        slew(sim, node, fault, false);
        break;
    case BAD_DISK:
        node->has_bad_disk = false;
        break;
    case PAUSE:
        operator_pause(sim, false);
        break;
    case KILL_SERVER:
    case FREEZE_AGENT:
    case STALL_AGENT:
    case FREEZE_NODE:
    case STORE_LEADER:
    case STORE_SESSION:
    case CLOCK_REAL:
    case BROKEN_DATA:
    case LOST_DATA:
    case SWITCHOVER:
    case FAILOVER:
    case BY_HAND:
    case KINDS:
        break;
    }
}

static void on_finish(struct sim *sim, struct event *event)
{
    struct fault *fault = &sim->faults[event->a];

    if (!fault->is_applied || fault->is_over) {
        return;
    }
    fault->is_over = true;
    sim_trace(sim, &sim->nodes[fault->resolved], "FAULT-END", "%s", kinds[fault->kind].name);
    finish(sim, fault, &sim->nodes[fault->resolved]);
}

static void on_begin(struct sim *sim, struct event *event)
{
    struct fault *fault = &sim->faults[event->a];
    struct node *node = fault->node < 0 ? sim_leader(sim) : &sim->nodes[fault->node];

    if (sim->is_healed) {
        return;
    }
    fault->is_applied = true;
    fault->resolved = (int)node->index;
    sim_trace(
        sim, node, "FAULT", "%s for %" PRId64 " ms, other n%d, amount %" PRId64,
        kinds[fault->kind].name, fault->length_ns / MS, fault->other + 1, fault->amount);
    begin(sim, fault, node);
    if (fault->length_ns > 0) {
        sim_post(sim, NULL, ACTOR_WORLD, fault->length_ns, on_finish, event->a, 0);
    }
}

void faults_plan(struct sim *sim)
{
    for (unsigned at = 0; at < sim->fault_count; at++) {
        if (!sim->faults[at].is_off) {
            sim_post(
                sim, NULL, ACTOR_WORLD, sim->faults[at].at_ns - sim->now_ns, on_begin, (int64_t)at, 0);
        }
    }
}

/* Everything is repaired; damaged data directories are cleared away by the operator. */
void faults_heal(struct sim *sim)
{
    sim->is_healed = true;
    sim_trace(sim, NULL, "HEAL", "all faults end");
    for (unsigned at = 0; at < sim->fault_count; at++) {
        struct fault *fault = &sim->faults[at];

        if (fault->is_applied && !fault->is_over) {
            fault->is_over = true;
            finish(sim, fault, &sim->nodes[fault->resolved]);
        }
    }
    memset(sim->net.cuts, 0, sizeof(sim->net.cuts));
    store_set_quorum(sim, true);
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[at];

        node->has_bad_disk = false;
        node->stall_ns = 0;
        node->real_offset_ms = 0;
        /* The operator lets everybody stand who is left: the others' data may be gone for good. */
        node->config.tags.nofailover = false;
        node_thaw(sim, node);
        clock_set(&node->boot, sim->now_ns, 0, false);
        clock_set(&node->raw, sim->now_ns, 0, false);
        guard_check(sim, node);
        node_boot(sim, node);
        if (node->agent != NULL && node->is_leaving) {
            agent_kill(sim, node);
        }
        agent_begin(sim, node);
        if (node->disk.kind == DISK_BROKEN) {
            operator_clear(sim, node);
        }
    }
}
