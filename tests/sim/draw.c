#include "tests/sim/faults.h"

#include "base/assert.h"

/* Which faults a seed has, and when.
 *
 * Each seed draws a few of some kinds, over some seconds. Two in three have a storm as well: bursts
 * of faults of all kinds, one upon the other, with pauses in which the cluster finds itself again,
 * or does not. A store that is set back is for seeds without a storm: what it has forgotten
 * is known to the disks of those that lived, and a storm takes that, too. */

#define BURSTS_LEAST 6
#define BURSTS_MOST 14
#define BURST_LEAST 8
#define BURST_MOST 24
#define BURST_SHORTEST_NS (100 * MS)
#define BURST_LONGEST_NS (3 * SECOND)
#define PAUSE_SHORTEST_NS (200 * MS)
#define PAUSE_LONGEST_NS (3 * SECOND)
/* Longer ones would cover the rest of the storm. */
#define STORM_LONGEST_NS (2500 * MS)
/* Until the loss of a standby has had all its consequences. */
#define SETTLED_NS (35 * SECOND)
#define ALONE_NS (120 * SECOND)

/* What seeds have that are about failsafe mode; the others have that seldom enough. */
static bool is_drawn(const struct sim *sim, unsigned kind)
{
    static const unsigned few[] = {KILL_NODE,  FREEZE_NODE, STALL_AGENT, CUT_PEER,
                                   CLOCK_SLEW, STORE_LATE,  FAILSAFE};

    if (kind == STORE_BACK && sim->shape.is_storm) {
        return false;
    }
    if (!sim->shape.is_cut_off) {
        return kind != FAILSAFE || sim->shape.is_failsafe;
    }
    for (size_t at = 0; at < ARRAY_LEN(few); at++) {
        if (few[at] == kind) {
            return true;
        }
    }
    return false;
}

static void draw_kind(struct sim *sim, unsigned kind, int64_t span_ns)
{
    enum stream stream = (enum stream)(STREAM_FAULTS + (int)kind);
    unsigned count;

    if (!is_drawn(sim, kind) || !rng_chance(sim, stream, fault_kind(kind)->weight)) {
        return;
    }
    count = (unsigned)rng_log(sim, stream, 1, fault_kind(kind)->most);
    for (unsigned at = 0; at < count && sim->fault_count < FAULTS_MAX; at++) {
        struct fault *fault = &sim->faults[sim->fault_count++];

        *fault = (struct fault){.kind = kind, .is_off = fault->is_off};
        fault->at_ns = sim->now_ns + rng_between(sim, stream, 0, span_ns);
        fault->node = rng_chance(sim, stream, 550)
                          ? -1
                          : (int)rng_between(sim, stream, 0, sim->shape.node_count - 1);
        fault->other = (int)rng_between(sim, stream, 0, sim->shape.node_count - 1);
        fault->amount = rng_between(sim, stream, 0, 1000000);
        if (fault_kind(kind)->shortest_ns > 0) {
            fault->length_ns =
                rng_log(sim, stream, fault_kind(kind)->shortest_ns, fault_kind(kind)->longest_ns);
        }
    }
}

/* What destroys data, or all at once, is not for every burst. */
static unsigned limit_of(unsigned kind)
{
    return fault_kind(kind)->most == 1 ? 3 : fault_kind(kind)->most * 6;
}

static unsigned draw_storm_kind(struct sim *sim, unsigned *counts)
{
    int64_t sum = 0;
    int64_t at;

    for (unsigned kind = 0; kind < TTL_CHANGE; kind++) {
        sum += is_drawn(sim, kind) && counts[kind] < limit_of(kind) ? fault_kind(kind)->weight : 0;
    }
    at = rng_between(sim, STREAM_STORM, 0, sum - 1);
    for (unsigned kind = 0; kind < TTL_CHANGE; kind++) {
        if (is_drawn(sim, kind) && counts[kind] < limit_of(kind)) {
            at -= fault_kind(kind)->weight;
        }
        if (at < 0) {
            counts[kind]++;
            return kind;
        }
    }
    return KILL_SERVER;
}

static void draw_burst(struct sim *sim, int64_t begin_ns, int64_t span_ns, unsigned *counts)
{
    unsigned count = (unsigned)rng_between(sim, STREAM_STORM, BURST_LEAST, BURST_MOST);

    for (unsigned at = 0; at < count && sim->fault_count < FAULTS_MAX; at++) {
        struct fault *fault = &sim->faults[sim->fault_count++];
        unsigned kind = draw_storm_kind(sim, counts);
        const struct fault_kind *row = fault_kind(kind);

        *fault = (struct fault){.kind = kind, .is_off = fault->is_off};
        fault->at_ns = begin_ns + rng_between(sim, STREAM_STORM, 0, span_ns);
        fault->node = rng_chance(sim, STREAM_STORM, 400)
                          ? -1
                          : (int)rng_between(sim, STREAM_STORM, 0, sim->shape.node_count - 1);
        fault->other = (int)rng_between(sim, STREAM_STORM, 0, sim->shape.node_count - 1);
        fault->amount = rng_between(sim, STREAM_STORM, 0, 1000000);
        if (row->shortest_ns > 0) {
            fault->length_ns = rng_log(
                sim, STREAM_STORM, row->shortest_ns,
                MAX(row->shortest_ns, MIN(row->longest_ns, STORM_LONGEST_NS)));
        }
    }
}

static void draw_storm(struct sim *sim)
{
    unsigned counts[KINDS] = {0};
    unsigned count = (unsigned)rng_between(sim, STREAM_STORM, BURSTS_LEAST, BURSTS_MOST);
    int64_t at_ns = sim->now_ns;

    for (unsigned at = 0; at < count; at++) {
        int64_t span_ns = rng_log(sim, STREAM_STORM, BURST_SHORTEST_NS, BURST_LONGEST_NS);

        draw_burst(sim, at_ns, span_ns, counts);
        at_ns += span_ns + rng_log(sim, STREAM_STORM, PAUSE_SHORTEST_NS, PAUSE_LONGEST_NS);
    }
}

/* One fault that lasts, mostly of the leader. Often it finds the cluster without one of its
 * standbys, for whatever reason; then nobody is left who could confirm, so not in strict mode. */
static void draw_alone(struct sim *sim)
{
    static const unsigned kinds[] = {
        KILL_SERVER,   KILL_SERVER,    KILL_SERVER,   KILL_NODE,        KILL_NODE,   KILL_NODE,
        KILL_AGENT,    FREEZE_AGENT,   FREEZE_NODE,   SUSPEND_NODE,     PAUSE_HOST,  CUT_STORE,
        CUT_STORE_TO,  CUT_STORE_FROM, CUT_PEER,      CUT_PEER_ONE_WAY, ISOLATE,     LOST_DATA,
        BROKEN_DATA,   LOSE_TAIL,      HANG_SERVER,   HANG_DISK,        FAIL_DISK,   FILL_DISK,
        FAIL_WATCHDOG, NO_CONNECTIONS, STORE_SESSION, STORE_LEADER,     STORE_STALE, STORE_FALSE,
        CLOCK_STEP,    CLOCK_REAL,     SYNC_FREEZE,   SWITCHOVER,       LEAVE};
    static const unsigned firsts[] = {KILL_NODE,    KILL_SERVER, KILL_AGENT, FREEZE_NODE,
                                      SUSPEND_NODE, ISOLATE,     CUT_STORE,  HANG_SERVER,
                                      HANG_DISK,    FAIL_DISK,   FILL_DISK};
    bool is_strict = sim->settings.mode != SYNC_OFF && sim->settings.is_strict;
    bool is_second = !is_strict && rng_chance(sim, STREAM_SHAPE, 500);
    unsigned count = sim->shape.node_count;
    unsigned standby =
        (sim_leader(sim)->index + 1 + (unsigned)rng_between(sim, STREAM_SHAPE, 0, 1)) % count;
    struct fault fault = {
        .kind = kinds[rng_between(sim, STREAM_SHAPE, 0, ARRAY_LEN(kinds) - 1)],
        .at_ns = sim->now_ns + rng_between(sim, STREAM_SHAPE, SECOND, 4 * SECOND),
        .node = rng_chance(sim, STREAM_SHAPE, 800) ? -1 : (int)standby,
        .other = (int)rng_between(sim, STREAM_SHAPE, 0, count - 1),
        .amount = rng_between(sim, STREAM_SHAPE, 0, 1000000),
        .length_ns = ALONE_NS,
    };

    if (is_second) {
        sim->faults[sim->fault_count++] = (struct fault){
            .is_off = sim->faults[0].is_off,
            .kind = firsts[rng_between(sim, STREAM_SHAPE, 0, ARRAY_LEN(firsts) - 1)],
            .at_ns = fault.at_ns,
            .node = (int)standby,
            .length_ns = ALONE_NS,
        };
        fault.at_ns += SETTLED_NS;
        fault.node = -1;
    }
    fault.is_off = sim->faults[sim->fault_count].is_off;
    sim->faults[sim->fault_count++] = fault;
}

void faults_draw(struct sim *sim)
{
    int64_t span_ns = rng_log(sim, STREAM_SHAPE, 3 * SECOND, 12 * SECOND);

    if (sim->shape.is_calm) {
        draw_alone(sim);
        return;
    }
    for (unsigned kind = 0; kind < (check_has_sync_rules() ? KINDS : SYNC_SWITCH); kind++) {
        draw_kind(sim, kind, span_ns);
    }
    if (sim->shape.is_storm) {
        draw_storm(sim);
    }
}
