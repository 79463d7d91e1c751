#include "tests/sim/faults.h"

#include "base/assert.h"

/* Whether a fault hits anything. What is dead cannot be killed, what is cut cannot be cut again,
 * and a person whom nobody hears asks for nothing: such a fault happens, and is not counted. */

typedef bool hit_fn(const struct sim *sim, const struct fault *fault, const struct node *node);

/* ---- processes and hosts ---- */

static bool agent_there(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(sim != NULL && fault != NULL);
    return node->agent != NULL;
}

static bool agent_runs(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(fault != NULL);
    return node->agent != NULL && !agent_is_frozen(sim, node);
}

static bool any_agent(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(node != NULL);
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        if (agent_runs(sim, fault, &sim->nodes[at]) && sim->check.term > 0) {
            return true;
        }
    }
    return false;
}

static bool host_up(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(sim != NULL && fault != NULL);
    return node->is_up;
}

static bool any_host(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(fault != NULL && node != NULL);
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        if (sim->nodes[at].is_up) {
            return true;
        }
    }
    return false;
}

static bool host_runs(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(fault != NULL);
    return node->is_up && !node_is_frozen(sim, node);
}

static bool clock_right(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    enum upset by = fault->kind == SUSPEND_NODE ? UPSET_SUSPEND
                    : fault->kind == PAUSE_HOST ? UPSET_PAUSE
                                                : UPSET_STEP;

    return host_runs(sim, fault, node) && fault_may_upset(sim, node, by);
}

/* ---- the network ---- */

static bool is_open(const struct sim *sim, unsigned from, unsigned to)
{
    return from != to && !net_is_cut(sim, from, to) &&
           (from == STORE_PLACE || sim->nodes[from].is_up) &&
           (to == STORE_PLACE || sim->nodes[to].is_up);
}

static bool is_either_open(const struct sim *sim, unsigned a, unsigned b)
{
    return is_open(sim, a, b) || is_open(sim, b, a);
}

static bool store_linked(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(fault != NULL);
    return is_either_open(sim, node->index, STORE_PLACE);
}

static bool store_told(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(fault != NULL);
    return is_open(sim, node->index, STORE_PLACE);
}

static bool store_heard(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(fault != NULL);
    return is_open(sim, STORE_PLACE, node->index);
}

static bool peer_linked(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return is_either_open(sim, node->index, (unsigned)fault->other);
}

static bool peer_told(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return is_open(sim, node->index, (unsigned)fault->other);
}

/* As find_link in harsh.c chooses. */
static bool link_open(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return fault->amount % 2 == 0 ? store_linked(sim, fault, node) : peer_linked(sim, fault, node);
}

static bool any_link(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    bool is_any = store_linked(sim, fault, node);

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        is_any |= is_either_open(sim, node->index, at);
    }
    return is_any;
}

/* ---- the store ---- */

static bool store_serves(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return store_has_quorum(sim) && any_host(sim, fault, node);
}

static bool session_lives(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(fault != NULL);
    return store_has_session(sim, node->index);
}

static bool reads_fresh(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return agent_there(sim, fault, node) && !store_is_stale(sim, node->index);
}

/* ---- servers and disks ---- */

static bool server_lives(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(sim != NULL && fault != NULL);
    return node->server.run != RUN_NONE && !node->server.is_dying;
}

static bool server_works(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return server_lives(sim, fault, node) && !server_is_stuck(node) && host_runs(sim, fault, node);
}

static bool connects(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return server_works(sim, fault, node) && !node->has_no_connections;
}

static bool server_open(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(sim != NULL && fault != NULL);
    return server_is_open(node);
}

static bool promotable(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(fault != NULL);
    return node->server.run == RUN_STANDBY && !str_equal(sim->check.holder, node->name);
}

static bool disk_works(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return host_up(sim, fault, node) && node->disk.kind == DISK_PRESENT && node->disk_hung_ns == 0;
}

static bool disk_starts(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return disk_works(sim, fault, node) && !node->has_bad_disk;
}

static bool disk_takes(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return disk_works(sim, fault, node) && node->disk_failed_ns == 0;
}

static bool disk_has_room(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return disk_works(sim, fault, node) && node->disk_full_ns == 0;
}

static bool data_spare(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(fault != NULL);
    return fault_can_lose(sim, node);
}

static bool watchdog_works(
    const struct sim *sim, const struct fault *fault, const struct node *node)
{
    return host_up(sim, fault, node) && !node->is_watchdog_failed;
}

static hit_fn *const hits[KINDS] = {
    [KILL_SERVER] = server_lives,
    [KILL_AGENT] = agent_there,
    [KILL_NODE] = host_up,
    [POWER_ALL] = any_host,
    [FREEZE_AGENT] = agent_runs,
    [STALL_AGENT] = agent_runs,
    [FREEZE_NODE] = host_runs,
    [SUSPEND_NODE] = clock_right,
    [CUT_STORE] = store_linked,
    [CUT_STORE_TO] = store_told,
    [CUT_STORE_FROM] = store_heard,
    [CUT_PEER] = peer_linked,
    [CUT_PEER_ONE_WAY] = peer_told,
    [ISOLATE] = any_link,
    [EXPIRY] = store_serves,
    [STORE_QUORUM] = store_serves,
    [STORE_LEADER] = store_serves,
    [STORE_SLOW] = store_serves,
    [STORE_LATE] = store_serves,
    [STORE_SESSION] = session_lives,
    [NET_SLOW] = any_host,
    [CLOCK_SLEW] = any_host,
    [CLOCK_REAL] = host_up,
    [BAD_DISK] = disk_starts,
    [BROKEN_DATA] = data_spare,
    [LOST_DATA] = data_spare,
    [SWITCHOVER] = any_agent,
    [SWITCHOVER_CRASH] = host_up,
    [FAILOVER] = any_agent,
    [BY_HAND] = promotable,
    [PAUSE] = any_agent,
    [LEAVE] = agent_runs,
    [SLOW_LINK] = link_open,
    [LOSSY_LINK] = link_open,
    [PAUSE_HOST] = clock_right,
    [CLOCK_STEP] = clock_right,
    [LOSE_TAIL] = host_up,
    [STORE_STALE] = reads_fresh,
    [STORE_DENIAL] = store_serves,
    [STORE_FALSE] = session_lives,
    [SYNC_SWITCH] = any_agent,
    [SYNC_CANCEL] = server_open,
    [SYNC_FREEZE] = any_host,
    [SYNC_BREAK] = any_host,
    [FAILSAFE] = any_link,
    [HANG_SERVER] = server_works,
    [HANG_DISK] = disk_works,
    [FAIL_DISK] = disk_takes,
    [FILL_DISK] = disk_has_room,
    [FAIL_WATCHDOG] = watchdog_works,
    [STORE_BACK] = any_host,
    [NO_CONNECTIONS] = connects,
    [TTL_CHANGE] = any_agent,
};

bool fault_hits(const struct sim *sim, const struct fault *fault, const struct node *node)
{
    ASSERT(fault->kind < KINDS);
    return hits[fault->kind](sim, fault, node);
}
