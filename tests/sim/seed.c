#include "tests/sim/faults.h"
#include "tests/sim/operator.h"
#include "tests/sim/sync.h"

#include "base/assert.h"

/* One seed: draw a cluster and its faults, let them happen, heal, and judge. */

#define CONVERGE_LIMIT_NS (60 * SECOND)
#define QUIET_NS (2 * SECOND)
/* A person looks after this long. */
#define OPERATOR_NS (25 * SECOND)
#define EARLY_NS (500 * MS)
/* What one fault takes is judged after this long. */
#define CALM_NS (60 * SECOND)
/* Whoever is left may take over. */
#define CALM_LAG (16 * 1048576)
#define BEFORE_NS SECOND

void sim_shape_draw(struct sim *sim)
{
    struct shape *shape = &sim->shape;

    *shape = (struct shape){
        .node_count = (unsigned)rng_between(sim, STREAM_SHAPE, 1, 14),
        .ttl_ms = 1000 * rng_log(sim, STREAM_SHAPE, 3, 8),
        .loop_wait_ms = 1000,
        .retry_timeout_ms = 1000,
        .start_timeout_ms = rng_chance(sim, STREAM_SHAPE, 400) ? 2000 : 300000,
        .maximum_lag = rng_log(sim, STREAM_SHAPE, 20000, 1048576),
        .pace_ns = rng_log(sim, STREAM_SHAPE, 200 * MS, 1500 * MS),
        .think_ns = rng_log(sim, STREAM_SHAPE, 60 * MS, 600 * MS),
        .start_ns = rng_log(sim, STREAM_SHAPE, 30 * MS, 400 * MS),
        .recovery_ns = rng_log(sim, STREAM_SHAPE, 50 * MS, 6 * SECOND),
        .promote_ns = rng_log(sim, STREAM_SHAPE, 20 * MS, 400 * MS),
        .clone_ns = rng_log(sim, STREAM_SHAPE, 500 * MS, 5 * SECOND),
        .receiver_ns = rng_log(sim, STREAM_SHAPE, 100 * MS, 1500 * MS),
        .replay_ns =
            rng_chance(sim, STREAM_SHAPE, 500) ? 8 * rng_log(sim, STREAM_SHAPE, MS, SECOND) : 0,
        .lag_ns =
            rng_chance(sim, STREAM_SHAPE, 400) ? rng_log(sim, STREAM_SHAPE, MS, 2 * SECOND) : 0,
        .clients = (unsigned)rng_between(sim, STREAM_SHAPE, 1, 4),
        .checked_limit_ms = (int)rng_log(sim, STREAM_SHAPE, 800, 3000),
        .is_calm = rng_chance(sim, STREAM_SHAPE, 60),
        .is_early = rng_chance(sim, STREAM_SHAPE, 150),
        .nofailover = -1,
    };
    /* Most clusters have three nodes. */
    if (shape->node_count > 5) {
        shape->node_count = 3;
    }
    if (shape->node_count > 2 && rng_chance(sim, STREAM_SHAPE, 150)) {
        shape->nofailover = (int)rng_between(sim, STREAM_SHAPE, 0, shape->node_count - 1);
    }
    if (shape->is_calm) {
        shape->node_count = 3;
        shape->nofailover = -1;
        shape->is_early = false;
    }
    sync_draw(sim);
    if (shape->is_calm) {
        shape->nosync = -1; /* strict mode waits for whoever may confirm */
        shape->maximum_lag = CALM_LAG;
    }
    shape->is_failsafe = rng_chance(sim, STREAM_FAILSAFE, 400);
    shape->is_cut_off =
        shape->is_failsafe && !shape->is_calm && rng_chance(sim, STREAM_FAILSAFE, 300);
    /* The default is half a minute: seeds are over by then. */
    shape->hang_timeout_ms = 1000 * rng_log(sim, STREAM_TROUBLE, 1, 8);
    shape->is_storm = !shape->is_calm && !shape->is_cut_off && rng_chance(sim, STREAM_STORM, 850);
}

static void wait_for_convergence(struct sim *sim, int64_t limit_ns, const char *after)
{
    char why[200] = "";
    int64_t begin_ns = sim->now_ns;

    while (sim->check.verdict == VERDICT_FINE && !check_is_converged(sim, why, sizeof(why))) {
        if (sim->now_ns - begin_ns > limit_ns) {
            check_fail(
                sim, VERDICT_LIVENESS, "L: not well %" PRId64 " s after %s: %s", limit_ns / SECOND,
                after, why);
            return;
        }
        if (sim->now_ns - begin_ns > OPERATOR_NS) {
            operator_repair(sim);
        }
        sim_run(sim, sim->now_ns + 100 * MS);
    }
    sim->check.converged_ns = MAX(sim->check.converged_ns, sim->now_ns - begin_ns);
}

/* Until a primary stops again whose disk is full, and which could not hand over. */
#define ROOM_NS (42 * SECOND)

static int64_t outage_limit_ns(const struct sim *sim, const struct fault *fault)
{
    const struct shape *shape = &sim->shape;
    unsigned kind = fault->kind;
    int64_t limit_ns = shape->ttl_ms * MS + SECOND + shape->promote_ns + shape->think_ns * 2;

    /* The store may have the last renewal although nobody was told, and whoever is to take over may
     * have to find out that its changes do not arrive. */
    limit_ns += kind == KILL_SERVER || kind == KILL_NODE
                    ? 0
                    : (shape->loop_wait_ms + shape->checked_limit_ms) * MS;

    /* The server that dies starts again, and a standby that is new replays what it has. */
    limit_ns += MAX(shape->recovery_ns, shape->replay_ns);
    /* The barrier, and the first commit, behind what was on its way to the standby. */
    limit_ns += 3 * shape->lag_ns;
    /* Who has more than the new primary is rewound first. */
    limit_ns +=
        sim->settings.is_strict ? shape->clone_ns + shape->receiver_ns + 4 * shape->start_ns : 0;
    /* What hangs is seen to hang, and what is killed meanwhile does not end. */
    if (kind == HANG_SERVER || kind == HANG_DISK || kind == FAIL_DISK || kind == FILL_DISK) {
        limit_ns += shape->hang_timeout_ms * MS + 4 * SECOND;
    }
    /* A stop waits for the standby that was frozen before. */
    return limit_ns + (kind == FILL_DISK && sim->fault_count > 1 ? ROOM_NS : 0);
}

/* O: after one fault alone writing goes on within the ttl and a second, though the fault lasts, and
 * though a standby was lost before. */
static void judge_outage(struct sim *sim)
{
    int64_t gap_ns = MAX(sim->check.longest_gap_ns, sim->now_ns - sim->check.last_ack_ns);
    int64_t limit_ns = 0;

    for (unsigned at = 0; at < sim->fault_count; at++) {
        if (!sim->faults[at].is_off) {
            limit_ns = MAX(limit_ns, outage_limit_ns(sim, &sim->faults[at]));
        }
    }
    if (gap_ns > limit_ns) {
        check_fail(
            sim, VERDICT_LIVENESS,
            "O: nobody could write for %" PRId64 " ms, allowed are %" PRId64 " (%s)", gap_ns / MS,
            limit_ns / MS, fault_name(sim->faults[sim->fault_count - 1].kind));
    }
}

/* Also for a script: what follows must find its streams where the seed had them. */
static void draw_faults(struct sim *sim)
{
    struct fault given[FAULTS_MAX];
    unsigned count = sim->fault_count;

    memcpy(given, sim->faults, sizeof(given));
    sim->fault_count = 0;
    faults_draw(sim);
    if (sim->is_scripted) {
        memcpy(sim->faults, given, sizeof(given));
        sim->fault_count = count;
    }
}

void seed_run(struct sim *sim)
{
    int64_t last_ns = 0;
    unsigned takeovers;

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        agent_begin(sim, &sim->nodes[at]);
    }
    check_able(sim);
    if (sim->shape.is_early) {
        sim_run(sim, sim->now_ns + EARLY_NS);
    } else {
        wait_for_convergence(sim, CONVERGE_LIMIT_NS, "the beginning");
        sim_run(sim, sim->now_ns + BEFORE_NS);
    }
    draw_faults(sim);
    faults_plan(sim);
    last_ns = sim->now_ns;
    for (unsigned at = 0; at < sim->fault_count; at++) {
        const struct fault *fault = &sim->faults[at];

        if (!fault->is_off) {
            last_ns =
                MAX(last_ns, fault->at_ns +
                                 MIN(fault->length_ns, sim->shape.is_calm ? CALM_NS : 6 * SECOND));
        }
    }
    sim_run(sim, MAX(last_ns + SECOND, sim->now_ns + sim->shape.ttl_ms * MS + 4 * SECOND));
    if (sim->shape.is_calm) {
        judge_outage(sim);
    }
    if (sim->check.verdict != VERDICT_FINE) {
        return;
    }
    faults_heal(sim);
    /* What was frozen until now shows its consequences first. */
    sim_run(sim, sim->now_ns + sim->shape.ttl_ms * MS + SECOND);
    wait_for_convergence(sim, CONVERGE_LIMIT_NS, "the last fault");
    takeovers = sim->check.takeovers;
    sim_run(sim, sim->now_ns + QUIET_NS);
    if (sim->check.takeovers != takeovers) {
        check_fail(sim, VERDICT_LIVENESS, "F: the primary changes although all is well");
    }
    wait_for_convergence(sim, 5 * SECOND, "a quiet time");
}
