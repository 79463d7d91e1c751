#include "tests/sim/sim.h"

#include "base/assert.h"
#include "base/parse.h"

/* baton-sim: seeds and scenarios of the simulated cluster.
 *
 *     baton-sim --seeds 1000 [--from K]      many seeds, stop at the first failure
 *     baton-sim --seed K [--trace]           one seed; twice, to see that it is the same
 *     baton-sim --seed K --shrink            leave out every fault that the failure does not need
 *     baton-sim --rules --seeds N            which rules were never reached
 *     baton-sim --scenario FILE [--update]   a scenario file
 *
 * Exit codes: 0 fine, 1 liveness, 2 safety, 3 usage or a crash. */

#define EXIT_USAGE 3
#define TRACE_LINES 120

struct options {
    int64_t seed;
    int64_t from;
    int64_t seeds;
    bool has_seed;
    bool is_tracing;
    bool is_shrinking;
    bool is_rules;
    bool is_update;
    bool is_going_on; /* --keep-going: count failures instead of stopping */
    const char *scenario;
};

struct result {
    enum verdict verdict;
    uint64_t hash;
    uint64_t events;
    char what[512];
    struct check check;
};

static bool off[FAULTS_MAX];

static void print_line(struct sim *sim, const char *text)
{
    ASSERT(sim->is_tracing);
    printf("%s\n", text);
}

static struct result run(uint64_t seed, bool is_tracing, bool is_printing, bool *reached)
{
    struct sim *sim = sim_new(seed, NULL);
    struct result result = {0};

    sim->is_tracing = is_tracing;
    sim->line = is_printing ? print_line : NULL;
    for (unsigned at = 0; at < FAULTS_MAX; at++) {
        sim->faults[at].is_off = off[at];
    }
    seed_run(sim);
    result.verdict = sim->check.verdict;
    result.hash = sim->hash;
    result.events = sim->events;
    result.check = sim->check;
    memcpy(result.what, sim->check.what, sizeof(result.what));
    for (unsigned at = 0; reached != NULL && at < RULES_MAX; at++) {
        reached[at] |= sim->reached[at];
    }
    if (is_tracing && result.verdict != VERDICT_FINE) {
        const struct shape *shape = &sim->shape;

        if (!is_printing) {
            sim_ring_print(sim, TRACE_LINES);
        }
        printf(
            "\nseed %" PRIu64 ": %u nodes, ttl %" PRId64 " ms, start timeout %" PRId64
            " ms, maximum lag %" PRId64 "\nfaults:\n",
            seed, shape->node_count, shape->ttl_ms, shape->start_timeout_ms, shape->maximum_lag);
        for (unsigned at = 0; at < sim->fault_count; at++) {
            char text[200];

            fault_format(sim, &sim->faults[at], text, sizeof(text));
            if (!sim->faults[at].is_off) {
                printf("  %s\n", text);
            }
        }
    }
    sim_free(sim);
    return result;
}

static const char *verdict_text(enum verdict verdict)
{
    static const char *const texts[] = {"fine", "LIVENESS", "SAFETY"};

    return texts[verdict];
}

/* Leave out one fault after the other for as long as the same kind of failure remains. */
static void shrink(uint64_t seed, enum verdict verdict)
{
    bool is_smaller = true;

    while (is_smaller) {
        is_smaller = false;
        for (unsigned at = 0; at < FAULTS_MAX; at++) {
            if (off[at]) {
                continue;
            }
            off[at] = true;
            if (run(seed, false, false, NULL).verdict != verdict) {
                off[at] = false;
            } else if (at < FAULTS_MAX) {
                is_smaller |= false;
            }
        }
    }
}

static int run_one(const struct options *options)
{
    uint64_t seed = (uint64_t)options->seed;
    struct result first = run(seed, options->is_tracing, options->is_tracing, NULL);
    struct result second;

    if (options->is_shrinking && first.verdict != VERDICT_FINE) {
        shrink(seed, first.verdict);
        first = run(seed, false, false, NULL);
    }
    second = run(seed, !options->is_tracing, false, NULL);
    printf(
        "seed %" PRIu64 " %s hash %016" PRIx64 " events %" PRIu64 " acks %u lost %u takeovers %u gap %"
        PRId64 " ms converged %" PRId64 " ms excused %u %s\n",
        seed, verdict_text(first.verdict), first.hash, first.events, first.check.acks,
        first.check.lost, first.check.takeovers, first.check.longest_gap_ns / MS,
        first.check.converged_ns / MS, first.check.excused, first.what);
    if (first.hash != second.hash || first.events != second.events) {
        printf("NOT DETERMINISTIC: hash %016" PRIx64 "\n", second.hash);
        return EXIT_USAGE;
    }
    return (int)first.verdict;
}

static void print_rules(const bool *reached)
{
    for (unsigned at = 0; ha_rule_at(at) != NULL; at++) {
        if (!reached[at]) {
            printf("never reached: %s\n", ha_rule_at(at)->id);
        }
    }
}

static int run_many(const struct options *options)
{
    static bool reached[RULES_MAX];
    uint64_t events = 0;
    unsigned counts[3] = {0};
    int worst = 0;
    int64_t slowest_ns = 0;
    unsigned lost = 0;

    for (int64_t at = 0; at < options->seeds; at++) {
        uint64_t seed = (uint64_t)(options->from + at);
        struct result result = run(seed, false, false, reached);

        events += result.events;
        counts[result.verdict]++;
        lost += result.check.lost;
        slowest_ns = MAX(slowest_ns, result.check.converged_ns);
        if (result.verdict == VERDICT_FINE) {
            continue;
        }
        worst = MAX(worst, (int)result.verdict);
        if (options->is_going_on) {
            printf("seed %" PRIu64 " %s %s\n", seed, verdict_text(result.verdict), result.what);
            continue;
        }
        result = run(seed, true, false, NULL);
        printf("seed %" PRIu64 " %s: %s\n", seed, verdict_text(result.verdict), result.what);
        return worst;
    }
    printf(
        "%" PRId64 " seeds: %u fine, %u liveness, %u safety; %" PRIu64
        " events; slowest convergence %" PRId64 " ms; %u writes lost within the rules\n",
        options->seeds, counts[0], counts[1], counts[2], events, slowest_ns / MS, lost);
    if (options->is_rules) {
        print_rules(reached);
    }
    return worst;
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: baton-sim --seeds N [--from K] [--keep-going] [--rules] | --seed K [--trace] "
        "[--shrink] | --scenario FILE [--update]\n");
    return EXIT_USAGE;
}

static bool read_number(int argc, char **argv, int *at, int64_t *ret)
{
    return *at + 1 < argc && parse_int(argv[++*at], 0, INT64_MAX, ret, NULL) == 0;
}

static bool read_options(int argc, char **argv, struct options *ret)
{
    for (int at = 1; at < argc; at++) {
        bool is_fine = true;

        if (str_equal(argv[at], "--seeds")) {
            is_fine = read_number(argc, argv, &at, &ret->seeds);
        } else if (str_equal(argv[at], "--from")) {
            is_fine = read_number(argc, argv, &at, &ret->from);
        } else if (str_equal(argv[at], "--seed")) {
            is_fine = read_number(argc, argv, &at, &ret->seed);
            ret->has_seed = true;
        } else if (str_equal(argv[at], "--scenario") && at + 1 < argc) {
            ret->scenario = argv[++at];
        } else if (str_equal(argv[at], "--trace")) {
            ret->is_tracing = true;
        } else if (str_equal(argv[at], "--shrink")) {
            ret->is_shrinking = true;
        } else if (str_equal(argv[at], "--rules")) {
            ret->is_rules = true;
        } else if (str_equal(argv[at], "--update")) {
            ret->is_update = true;
        } else if (str_equal(argv[at], "--keep-going")) {
            ret->is_going_on = true;
        } else {
            is_fine = false;
        }
        if (!is_fine) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options options = {0};

    if (!read_options(argc, argv, &options)) {
        return usage();
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (options.scenario != NULL) {
        return scenario_run(options.scenario, options.is_update);
    }
    if (options.has_seed) {
        return run_one(&options);
    }
    return options.seeds > 0 ? run_many(&options) : usage();
}
