#include "tests/sim/faults.h"
#include "tests/sim/operator.h"

#include "tests/sim/sync.h"

#include "base/assert.h"

/* What goes wrong. A seed draws a list of faults, explicit, so that it can be printed and made
 * shorter. */

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

/* ---- carrying out ---- */

static void cut_by(struct sim *sim, const struct fault *fault, int by)
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
static struct node *find_candidate(
    struct sim *sim, const struct node *leader, const struct fault *fault)
{
    unsigned at = (unsigned)fault->other;
    bool is_leader = &sim->nodes[at] == leader && fault->amount % 8 != 0;

    return &sim->nodes[(at + (is_leader ? 1 : 0)) % sim->shape.node_count];
}

/* An operator asks one of the agents. */
static void ask(struct sim *sim, const struct fault *fault)
{
    const struct node *leader = sim_leader(sim);
    struct failover_request request = {0};
    bool is_failover = fault->kind == FAILOVER;

    if (!is_failover || fault->amount % 3 == 0) {
        str_copy(request.leader, sizeof(request.leader), leader->name);
    }
    if (is_failover || fault->amount % 4 != 0) {
        str_copy(
            request.candidate, sizeof(request.candidate), find_candidate(sim, leader, fault)->name);
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

bool fault_can_lose(const struct sim *sim, const struct node *node)
{
    return node->disk.kind == DISK_PRESENT && node->disk_hung_ns == 0 && sim->check.official >= 0 &&
           is_spare(sim, node);
}

void fault_lose_data(struct sim *sim, struct node *node, bool is_broken)
{
    if (!fault_can_lose(sim, node)) {
        return;
    }
    sim->check.is_loss_excused = true;
    sim->check.loss_ns = sim->now_ns;
    server_kill(sim, node, "its data is gone");
    if (is_broken) {
        node->disk.kind = DISK_BROKEN;
    } else {
        node->disk = (struct disk){.end = {-1, 0}, .minimum = {-1, 0}, .upstream = -1};
        if (node->agent ==
            NULL) { /* all of the disk; else the directory: a promise lies beside it */
            node->promised = 0;
            node->told = 0;
            node->past = (struct lease_past){0};
        }
    }
    engine_changed(sim, node);
}

#define SLEW_MAX_PPM 80000

/* One of the two clocks of a host may be wrong. Both within one lease are not promised: what the
 * raw clock misses in a suspend must not meet a slewed boot clock. */
#define UPSET_MEMORY_NS (12 * SECOND)

bool fault_may_upset(const struct sim *sim, const struct node *node, enum upset by)
{
    bool is_over = node->boot.ppm > -500 && node->boot.ppm < 500 && !node->raw.is_stopped &&
                   sim->now_ns - node->upset_ns > UPSET_MEMORY_NS;

    return node->upset == by || node->upset == UPSET_NONE || is_over;
}

bool fault_upset(struct sim *sim, struct node *node, enum upset by)
{
    if (!fault_may_upset(sim, node, by)) {
        return false;
    }
    node->upset = by;
    node->upset_ns = sim->now_ns;
    return true;
}

/* NTP slews one clock by up to 8 %; the other keeps the crystal's error. */
static void slew_one(struct sim *sim, struct node *node, int64_t ppm)
{
    if (!fault_upset(sim, node, UPSET_SLEW)) {
        return;
    }
    clock_set(&node->boot, sim->now_ns, ppm, false);
    guard_check(sim, node);
}

/* One node, or all but the one that leads: the worst for a lease. */
static void slew(struct sim *sim, struct node *node, const struct fault *fault, bool is_on)
{
    int64_t ppm = SLEW_MAX_PPM - fault->amount % 3 / 2 * (fault->amount % 60000);

    if (!is_on) {
        ppm = 0;
    } else if (fault->amount % 4 == 3) {
        ppm = -ppm;
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        bool is_meant =
            fault->amount % 2 == 0 ? &sim->nodes[at] != sim_leader(sim) : &sim->nodes[at] == node;

        if (is_meant || !is_on) {
            slew_one(sim, &sim->nodes[at], ppm);
        }
    }
}

#define LATE_NS (1800 * MS)
#define SILENT_AFTER_NS (1500 * MS)
#define SWAP_AFTER_NS (2000 * MS)

/* What EXPIRY does to the node that it meets. */
enum expiry {
    EXPIRY_FREEZE, /* answers come late, then its agent stands still */
    EXPIRY_CUT,    /* answers come late, then its questions are lost */
    EXPIRY_SWAP, /* its answers are lost, then its questions: what it hears says that it renewed */
};

static enum expiry expiry_of(const struct fault *fault)
{
    return (enum expiry)(fault->amount % 3);
}

static void on_silence(struct sim *sim, struct event *event)
{
    struct fault *fault = &sim->faults[event->a];
    struct node *node = &sim->nodes[fault->resolved];

    if (sim->is_healed || fault->is_over) {
        return;
    }
    store_set_late(sim, 0);
    if (expiry_of(fault) == EXPIRY_FREEZE) {
        agent_freeze(sim, node, fault->length_ns - SILENT_AFTER_NS);
        return;
    }
    if (expiry_of(fault) == EXPIRY_SWAP) {
        net_cut(sim, STORE_PLACE, node->index, -1);
    }
    net_cut(sim, node->index, STORE_PLACE, 1);
}

static void expire(struct sim *sim, struct fault *fault, struct node *node)
{
    bool is_swap = expiry_of(fault) == EXPIRY_SWAP;

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        if (&sim->nodes[at] != node) {
            slew_one(sim, &sim->nodes[at], SLEW_MAX_PPM);
        }
    }
    if (is_swap) {
        net_cut(sim, STORE_PLACE, node->index, 1);
    } else {
        store_set_late(sim, LATE_NS);
    }
    sim_post(
        sim, NULL, ACTOR_WORLD, is_swap ? SWAP_AFTER_NS : SILENT_AFTER_NS,
        &(struct event){.run = on_silence, .a = fault - sim->faults});
}

static void end_expire(struct sim *sim, struct fault *fault, struct node *node)
{
    store_set_late(sim, 0);
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        slew_one(sim, &sim->nodes[at], 0);
    }
    if (expiry_of(fault) != EXPIRY_FREEZE && net_is_cut(sim, node->index, STORE_PLACE)) {
        net_cut(sim, node->index, STORE_PLACE, -1);
    }
}

static void suspend(struct sim *sim, struct fault *fault, struct node *node)
{
    if (!fault_upset(sim, node, UPSET_SUSPEND)) {
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

/* ---- one function for each kind, and one for its end: FAULT begins, NODE is whom it meets ---- */

static void kill_server(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_applied);
    server_kill(sim, node, "fault");
}

static void kill_agent(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_applied);
    agent_kill(sim, node);
}

static void kill_node(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_applied);
    node_power_off(sim, node);
}

static void bring_back(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_over);
    node_boot(sim, node);
    agent_begin(sim, node);
}

static void kill_all(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        kill_node(sim, fault, &sim->nodes[at]);
    }
}

static void bring_all_back(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        bring_back(sim, fault, &sim->nodes[at]);
    }
}

static void freeze_agent(struct sim *sim, struct fault *fault, struct node *node)
{
    agent_freeze(sim, node, fault->length_ns);
}

static void stall_agent(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(sim->shape.node_count > 0);
    node->stall_ns = fault->length_ns;
}

static void freeze_node(struct sim *sim, struct fault *fault, struct node *node)
{
    node_freeze(sim, node, fault->length_ns);
}

static void end_suspend(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_over);
    if (fault_upset(sim, node, UPSET_SUSPEND)) {
        clock_set(&node->raw, sim->now_ns, node->raw.ppm, false);
        guard_check(sim, node);
    }
}

static void cut(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    cut_by(sim, fault, 1);
}

static void end_cut(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    cut_by(sim, fault, -1);
}

static void lose_quorum(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL && fault->is_applied);
    store_set_quorum(sim, false);
}

static void find_quorum(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL && fault->is_over);
    store_set_quorum(sim, true);
}

static void change_store_leader(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL && fault->is_applied);
    store_change_leader(sim);
}

static void slow_store(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    store_set_slow(sim, fault->is_over ? 1 : 1 + (int)(fault->amount % 150));
}

static void late_store(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    store_set_late(sim, fault->is_over ? 0 : fault->amount % 1800 * MS);
}

static void end_session(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_applied);
    store_expire_session(sim, node->index);
}

static void slow_net(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    sim->net.slow = fault->is_over ? 1 : 1 + (int)(fault->amount % 60);
}

static void slew_clocks(struct sim *sim, struct fault *fault, struct node *node)
{
    slew(sim, node, fault, !fault->is_over);
}

static void jump_real_clock(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(sim->shape.node_count > 0);
    node->real_offset_ms += (fault->amount - 500000) * 10;
}

static void spoil_disk(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(sim->shape.node_count > 0);
    node->has_bad_disk = !fault->is_over;
}

static void break_data(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_applied);
    fault_lose_data(sim, node, true);
}

/* Half of those who lose their data are new hosts. */
static void lose_data(struct sim *sim, struct fault *fault, struct node *node)
{
    fault_lose_data(sim, node, false);
    if (node->disk.kind == DISK_ABSENT && node->agent != NULL && fault->amount % 2 == 0) {
        agent_kill(sim, node);
        node_make_id(sim, node);
        agent_begin(sim, node);
    }
}

static void ask_for_primary(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    ask(sim, fault);
}

/* The candidate falls behind, then the primary loses power. */
static void ask_and_crash(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    ask(sim, fault);
    node = sim_leader(sim);
    fault->resolved = (int)node->index;
    fault->other = (int)find_candidate(sim, node, fault)->index;
    net_cut(sim, node->index, (unsigned)fault->other, 1);
    sim_post(
        sim, NULL, ACTOR_WORLD, 200 * MS + fault->amount % 1500 * MS,
        &(struct event){.run = on_crash, .a = fault->resolved, .b = fault->other});
}

static void promote_by_hand(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_applied);
    if (node->server.run == RUN_STANDBY && !str_equal(sim->check.holder, node->name)) {
        server_promote(sim, node, 0);
    }
}

static void maintain(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    operator_pause(sim, !fault->is_over);
}

static void leave(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_applied);
    if (node->agent != NULL) {
        node->is_leaving = true;
        agent_leave(node->agent);
        agent_touch(sim, node);
    }
}

static void end_leave(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_over);
    agent_begin(sim, node);
}

static const struct fault_kind kinds[KINDS] = {
    [KILL_SERVER] = {"kill-server", 300, 0, 0, 6, kill_server, NULL},
    [KILL_AGENT] = {"kill-agent", 300, 400 * MS, 12 * SECOND, 5, kill_agent, bring_back},
    [KILL_NODE] = {"kill-node", 350, SECOND, 12 * SECOND, 4, kill_node, bring_back},
    [POWER_ALL] = {"power-all", 80, SECOND, 6 * SECOND, 1, kill_all, bring_all_back},
    [FREEZE_AGENT] = {"freeze-agent", 250, 400 * MS, 12 * SECOND, 4, freeze_agent, NULL},
    [STALL_AGENT] = {"stall-agent", 250, 100 * MS, 12 * SECOND, 5, stall_agent, NULL},
    [FREEZE_NODE] = {"freeze-node", 150, 200 * MS, 12 * SECOND, 3, freeze_node, NULL},
    [SUSPEND_NODE] = {"suspend-node", 100, 500 * MS, 12 * SECOND, 2, suspend, end_suspend},
    [CUT_STORE] = {"cut-store", 250, 100 * MS, 12 * SECOND, 4, cut, end_cut},
    [CUT_STORE_TO] = {"cut-store-to", 120, 100 * MS, 12 * SECOND, 3, cut, end_cut},
    [CUT_STORE_FROM] = {"cut-store-from", 150, 100 * MS, 12 * SECOND, 3, cut, end_cut},
    [CUT_PEER] = {"cut-peer", 200, 200 * MS, 12 * SECOND, 4, cut, end_cut},
    [CUT_PEER_ONE_WAY] = {"cut-peer-one-way", 120, 200 * MS, 12 * SECOND, 3, cut, end_cut},
    [ISOLATE] = {"isolate", 250, 200 * MS, 12 * SECOND, 3, cut, end_cut},
    [EXPIRY] = {"expiry", 250, 6 * SECOND, 12 * SECOND, 2, expire, end_expire},
    [STORE_QUORUM] = {"store-quorum", 150, 200 * MS, 12 * SECOND, 2, lose_quorum, find_quorum},
    [STORE_LEADER] = {"store-leader", 200, 0, 0, 5, change_store_leader, NULL},
    [STORE_SLOW] = {"store-slow", 250, 500 * MS, 10 * SECOND, 3, slow_store, slow_store},
    [STORE_LATE] = {"store-late", 250, SECOND, 10 * SECOND, 3, late_store, late_store},
    [STORE_SESSION] = {"store-session", 120, 0, 0, 4, end_session, NULL},
    [NET_SLOW] = {"net-slow", 150, 500 * MS, 10 * SECOND, 3, slow_net, slow_net},
    [CLOCK_SLEW] = {"clock-slew", 400, 4 * SECOND, 25 * SECOND, 3, slew_clocks, slew_clocks},
    [CLOCK_REAL] = {"clock-real", 150, 0, 0, 3, jump_real_clock, NULL},
    [BAD_DISK] = {"bad-disk", 120, SECOND, 12 * SECOND, 2, spoil_disk, spoil_disk},
    [BROKEN_DATA] = {"broken-data", 100, 0, 0, 1, break_data, NULL},
    [LOST_DATA] = {"lost-data", 120, 0, 0, 1, lose_data, NULL},
    [SWITCHOVER] = {"switchover", 400, 0, 0, 4, ask_for_primary, NULL},
    [SWITCHOVER_CRASH] =
        {"switchover-crash", 400, 2 * SECOND, 12 * SECOND, 2, ask_and_crash, bring_back},
    [FAILOVER] = {"failover", 150, 0, 0, 3, ask_for_primary, NULL},
    [BY_HAND] = {"promote-by-hand", 100, 0, 0, 2, promote_by_hand, NULL},
    [PAUSE] = {"pause", 80, SECOND, 12 * SECOND, 1, maintain, maintain},
    [LEAVE] = {"leave", 150, 200 * MS, 12 * SECOND, 2, leave, end_leave},
    [SLOW_LINK] = {"slow-link", 150, 500 * MS, 12 * SECOND, 4, harsh_slow_link, harsh_slow_link},
    [LOSSY_LINK] =
        {"lossy-link", 150, 500 * MS, 12 * SECOND, 4, harsh_lossy_link, harsh_lossy_link},
    [PAUSE_HOST] = {"pause-host", 120, 200 * MS, 12 * SECOND, 2, harsh_pause, harsh_pause},
    [CLOCK_STEP] = {"clock-step", 120, 0, 0, 2, harsh_step, NULL},
    [LOSE_TAIL] = {"lose-tail", 120, SECOND, 12 * SECOND, 2, harsh_lose_tail, bring_back},
    [STORE_STALE] =
        {"store-stale", 150, 200 * MS, 12 * SECOND, 3, harsh_stale_store, harsh_stale_store},
    [STORE_DENIAL] = {"store-denial", 120, 200 * MS, 12 * SECOND, 2, harsh_deny, harsh_deny},
    [STORE_FALSE] =
        {"store-false-session", 120, SECOND, 12 * SECOND, 2, harsh_false_session,
         harsh_false_session},
    [SYNC_SWITCH] = {"sync-switch", 200, 500 * MS, 10 * SECOND, 3, sync_switch, sync_switch},
    [SYNC_CANCEL] = {"sync-cancel", 100, 0, 0, 3, sync_cancel, NULL},
    [SYNC_FREEZE] = {"sync-freeze", 250, 300 * MS, 12 * SECOND, 4, sync_freeze, NULL},
    [SYNC_BREAK] = {"sync-break", 350, 2 * SECOND, 12 * SECOND, 3, sync_break, sync_mend},
    [FAILSAFE] = {"failsafe", 800, 3 * SECOND, 14 * SECOND, 3, harsh_failsafe, harsh_failsafe},
    [HANG_SERVER] =
        {"hang-server", 120, 500 * MS, 14 * SECOND, 3, harsh_hang_server, harsh_hang_server},
    [HANG_DISK] = {"hang-disk", 120, 500 * MS, 14 * SECOND, 3, harsh_hang_disk, harsh_hang_disk},
    [FAIL_DISK] = {"fail-disk", 100, 500 * MS, 14 * SECOND, 2, harsh_fail_disk, harsh_fail_disk},
    [FILL_DISK] = {"fill-disk", 100, 500 * MS, 14 * SECOND, 3, harsh_fill_disk, harsh_fill_disk},
    [FAIL_WATCHDOG] =
        {"fail-watchdog", 80, 500 * MS, 14 * SECOND, 2, harsh_fail_watchdog, harsh_fail_watchdog},
    [STORE_BACK] =
        {"store-back", 60, 2 * SECOND, 10 * SECOND, 1, harsh_set_store_back, harsh_set_store_back},
    [NO_CONNECTIONS] =
        {"no-connections", 120, 500 * MS, 12 * SECOND, 3, harsh_no_connections,
         harsh_no_connections},
    [TTL_CHANGE] =
        {"ttl-change", 200, 100 * MS, 10 * SECOND, 3, operator_change_ttl, operator_change_ttl},
};

const struct fault_kind *fault_kind(unsigned kind)
{
    ASSERT(kind < KINDS);
    return &kinds[kind];
}

const char *fault_name(unsigned kind)
{
    return kind < KINDS ? kinds[kind].name : NULL;
}

void fault_format(const struct sim *sim, const struct fault *fault, char *buffer, size_t size)
{
    const char *node = fault->node < 0 ? "leader" : sim->nodes[fault->node].name;

    IGNORE(
        !str_format(
            buffer, size,
            "%3" PRId64 ".%03" PRId64 " %-16s %s (met %s) other %d amount %" PRId64 " for %" PRId64
            " ms",
            fault->at_ns / SECOND, fault->at_ns / MS % 1000, kinds[fault->kind].name, node,
            fault->is_applied ? sim->nodes[fault->resolved].name : "nobody", fault->other + 1,
            fault->amount, fault->length_ns / MS),
        "cut is fine");
}

void fault_write(const struct sim *sim, const struct fault *fault, char *buffer, size_t size)
{
    IGNORE(
        !str_format(
            buffer, size, "fault %s %s at=%" PRId64 "ns for=%" PRId64 "ns other=%s amount=%" PRId64,
            kinds[fault->kind].name, fault->node < 0 ? "leader" : sim->nodes[fault->node].name,
            fault->at_ns, fault->length_ns, sim->nodes[fault->other].name, fault->amount),
        "fits");
}

int fault_find(const char *name)
{
    for (int kind = 0; kind < KINDS; kind++) {
        if (str_equal(kinds[kind].name, name)) {
            return kind;
        }
    }
    return -1;
}

/* ---- the course of events ---- */

static void end_fault(struct sim *sim, struct fault *fault)
{
    fault->is_over = true;
    if (kinds[fault->kind].finish != NULL) {
        kinds[fault->kind].finish(sim, fault, &sim->nodes[fault->resolved]);
    }
}

static void on_finish(struct sim *sim, struct event *event)
{
    struct fault *fault = &sim->faults[event->a];

    if (fault->is_applied && !fault->is_over) {
        sim_trace(sim, &sim->nodes[fault->resolved], "FAULT-END", "%s", kinds[fault->kind].name);
        end_fault(sim, fault);
    }
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
    fault->is_hit = fault_hits(sim, fault, node);
    sim_trace(
        sim, node, "FAULT", "%s for %" PRId64 " ms, other n%d, amount %" PRId64,
        kinds[fault->kind].name, fault->length_ns / MS, fault->other + 1, fault->amount);
    kinds[fault->kind].begin(sim, fault, node);
    if (fault->length_ns > 0) {
        sim_post(
            sim, NULL, ACTOR_WORLD, fault->length_ns,
            &(struct event){.run = on_finish, .a = event->a});
    }
}

static void plan(struct sim *sim, unsigned at)
{
    sim_post(
        sim, NULL, ACTOR_WORLD, MAX(sim->faults[at].at_ns - sim->now_ns, (int64_t)0),
        &(struct event){.run = on_begin, .a = (int64_t)at});
}

void faults_plan(struct sim *sim)
{
    for (unsigned at = 0; at < sim->fault_count; at++) {
        if (!sim->faults[at].is_off) {
            plan(sim, at);
        }
    }
}

bool fault_add(struct sim *sim, const struct fault *fault)
{
    if (sim->fault_count == FAULTS_MAX) {
        return false;
    }
    sim->faults[sim->fault_count++] = *fault;
    if (!sim->is_scripted) {
        plan(sim, sim->fault_count - 1);
    }
    return true;
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
            if (kinds[fault->kind].finish != NULL) {
                kinds[fault->kind].finish(sim, fault, &sim->nodes[fault->resolved]);
            }
        }
    }
    memset(sim->net.cuts, 0, sizeof(sim->net.cuts));
    memset(sim->net.lag_ns, 0, sizeof(sim->net.lag_ns));
    memset(sim->net.loss, 0, sizeof(sim->net.loss));
    store_set_quorum(sim, true);
    if (sim->check.back_ns != 0) {
        operator_write_config(sim); /* what the copy had may be older */
    }
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
