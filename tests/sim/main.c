#include "tests/sim/coverage.h"
#include "tests/sim/faults.h"
#include "tests/sim/sim.h"

#include "base/assert.h"
#include "base/parse.h"

#include <time.h>

/* baton-sim: seeds and scenarios of the simulated cluster.
 *
 *     baton-sim --seeds 1000 [--from K]      many seeds, stop at the first failure
 *     baton-sim --seeds 50 --twice           each seed twice: the same, event by event
 *     baton-sim --seed K [--trace]           one seed; twice, to see that it is the same
 *     baton-sim --seed K --shrink [--trace]  leave out every fault that the failure does not need
 *     baton-sim --seed K --write FILE        make a scenario of it, after --shrink of what is left
 *     baton-sim --seeds K --without guard    without a fence (fence.c); --with gives one to all
 *     baton-sim --model                      the model of synchronous replication by itself
 *     baton-sim [--update] FILE...           scenario files
 *     baton-sim --rules --seeds N FILE...    is every rule reached by these together
 *
 * Exit codes: 0 fine, 1 liveness or a scenario, 2 safety, 3 usage, or one seed gave two runs. */

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
    bool is_twice;
    bool is_model;
    bool is_going_on;  /* --keep-going: count failures instead of stopping */
    const char *write; /* a scenario file, or NULL */
    char **files;
    int file_count;
};

struct result {
    enum verdict verdict;
    uint64_t hash;
    uint64_t events;
    unsigned fault_count;
    unsigned
        hits[FAULT_KINDS_MAX]; /* faults that hit something, by kind; their ends do not count */
    char what[512];
    struct check check;
    bool marks[MARKS];
};

static bool off[FAULTS_MAX];

/* Where the runs leave a scenario; NULL: nowhere. */
static const char *story_path;

static void print_line(struct sim *sim, const char *text)
{
    ASSERT(sim->is_tracing);
    printf("%s\n", text);
}

static void print_failure(struct sim *sim)
{
    const struct shape *shape = &sim->shape;

    if (sim->line == NULL) {
        sim_ring_print(sim, TRACE_LINES);
    }
    printf(
        "\nseed %" PRIu64 ": %u nodes, ttl %" PRId64 " ms, start timeout %" PRId64
        " ms, maximum lag %" PRId64 "\nfaults:\n",
        sim->seed, shape->node_count, shape->ttl_ms, shape->start_timeout_ms, shape->maximum_lag);
    for (unsigned at = 0; at < sim->fault_count; at++) {
        char text[200];

        fault_format(sim, &sim->faults[at], text, sizeof(text));
        if (!sim->faults[at].is_off) {
            printf("  %s\n", text);
        }
    }
}

/* The seed and what is left of its faults, as a scenario without a trace: it fails until the bug is
 * found, and then takes one (--update). */
static bool write_story(const struct sim *sim, const char *path)
{
    FILE *file = fopen(path, "w");
    bool is_fine = file != NULL;

    if (file == NULL) {
        return false;
    }
    is_fine &= fprintf(file, "# %s\nseed %" PRIu64 "\n", sim->check.what, sim->seed) > 0;
    for (unsigned at = 0; at < sim->fault_count; at++) {
        char text[200];

        fault_write(sim, &sim->faults[at], text, sizeof(text));
        is_fine &= sim->faults[at].is_off || fprintf(file, "%s\n", text) > 0;
    }
    is_fine &= fprintf(file, "play\n") > 0;
    return fclose(file) == 0 && is_fine;
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
    result.fault_count = sim->fault_count;
    for (unsigned at = 0; at < sim->fault_count; at++) {
        result.hits[sim->faults[at].kind] += sim->faults[at].is_hit ? 1 : 0;
    }
    result.check = sim->check;
    memcpy(result.marks, sim->marks, sizeof(result.marks));
    memcpy(result.what, sim->check.what, sizeof(result.what));
    for (unsigned at = 0; reached != NULL && at < RULES_MAX; at++) {
        reached[at] |= sim->reached[at];
    }
    if (is_tracing && result.verdict != VERDICT_FINE) {
        print_failure(sim);
    }
    if (story_path != NULL && !write_story(sim, story_path)) {
        printf("FAIL sim/write cannot write %s\n", story_path);
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
static void shrink(uint64_t seed, const struct result *failure)
{
    bool is_smaller = true;

    while (is_smaller) {
        is_smaller = false;
        for (unsigned at = 0; at < failure->fault_count; at++) {
            if (off[at]) {
                continue;
            }
            off[at] = true;
            if (run(seed, false, false, NULL).verdict == failure->verdict) {
                is_smaller = true;
            } else {
                off[at] = false;
            }
        }
    }
}

static int run_one(const struct options *options)
{
    uint64_t seed = (uint64_t)options->seed;
    bool is_told = options->is_tracing && !options->is_shrinking;
    struct result first = run(seed, is_told, is_told, NULL);
    struct result second;

    if (options->is_shrinking && first.verdict != VERDICT_FINE) {
        shrink(seed, &first);
        first = run(seed, options->is_tracing, options->is_tracing, NULL);
    }
    story_path = options->write;
    second = run(seed, !options->is_tracing, false, NULL);
    printf(
        "seed %" PRIu64 " %s hash %016" PRIx64 " events %" PRIu64
        " acks %u lost %u takeovers %u gap %" PRId64 " ms converged %" PRId64 " ms excused %u %s\n",
        seed, verdict_text(first.verdict), first.hash, first.events, first.check.acks,
        first.check.lost, first.check.takeovers, first.check.longest_gap_ns / MS,
        first.check.converged_ns / MS, first.check.excused, first.what);
    if (first.hash != second.hash || first.events != second.events) {
        printf("NOT DETERMINISTIC: hash %016" PRIx64 "\n", second.hash);
        return EXIT_USAGE;
    }
    return (int)first.verdict;
}

static int run_twice(const struct options *options)
{
    for (int64_t at = 0; at < options->seeds; at++) {
        uint64_t seed = (uint64_t)(options->from + at);
        struct result first = run(seed, false, false, NULL);
        struct result second = run(seed, true, false, NULL);

        if (first.hash != second.hash || first.events != second.events) {
            printf("FAIL sim/determinism seed %" PRIu64 " differs from itself\n", seed);
            return EXIT_USAGE;
        }
    }
    printf("ok sim/determinism %" PRId64 " seeds\n", options->seeds);
    return 0;
}

/* Of processor time: what else runs on the machine does not count. */
static uint64_t per_second(uint64_t events)
{
    uint64_t used_ms = (uint64_t)clock() * 1000 / CLOCKS_PER_SEC;

    return events * 1000 / MAX(used_ms, (uint64_t)1);
}

static void count_marks(const struct result *result, unsigned *marks)
{
    for (unsigned at = 0; at < MARKS; at++) {
        marks[at] += result->marks[at] ? 1 : 0;
    }
}

static uint64_t count_hits(const struct result *result, uint64_t *hits)
{
    uint64_t count = 0;

    for (unsigned kind = 0; kind < FAULT_KINDS_MAX; kind++) {
        hits[kind] += result->hits[kind];
        count += result->hits[kind];
    }
    return count;
}

static void print_hits(const uint64_t *hits)
{
    printf("faults:");
    for (unsigned kind = 0; fault_name(kind) != NULL; kind++) {
        printf(" %s %" PRIu64, fault_name(kind), hits[kind]);
    }
    printf("\n");
}

/* In how many seeds what is wanted sometimes was met. */
static void print_marks(const unsigned *marks)
{
    for (unsigned at = 0; at < MARKS && check_has_sync_rules(); at++) {
        printf("  %6u %s\n", marks[at], check_mark_text((enum mark)at));
    }
}

static int run_many(const struct options *options)
{
    uint64_t events = 0;
    uint64_t faults = 0;
    unsigned counts[3] = {0};
    int worst = 0;
    int64_t slowest_ns = 0;
    unsigned lost = 0;
    unsigned excused = 0;
    unsigned prevented[FENCES] = {0};
    unsigned marks[MARKS] = {0};
    uint64_t hits[FAULT_KINDS_MAX] = {0};
    unsigned back_keys = 0;
    unsigned forgotten = 0;

    for (int64_t at = 0; at < options->seeds; at++) {
        uint64_t seed = (uint64_t)(options->from + at);
        struct result result = run(seed, false, false, NULL);

        count_marks(&result, marks);
        events += result.events;
        faults += count_hits(&result, hits);
        back_keys += result.check.back_keys;
        forgotten += result.check.is_forgotten ? 1 : 0;
        counts[result.verdict]++;
        lost += result.check.lost;
        excused += result.check.excused;
        for (unsigned fence = 0; fence < FENCES; fence++) {
            prevented[fence] += result.check.prevented[fence];
        }
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
        "%" PRId64 " seeds: %u fine, %u liveness, %u safety; %" PRIu64 " faults, %" PRIu64
        " events, %" PRIu64 "/s; slowest convergence %" PRId64
        " ms; %u writes lost within the rules\n",
        options->seeds, counts[0], counts[1], counts[2], faults, events, per_second(events),
        slowest_ns / MS, lost);
    printf("acknowledged beside another primary: %u; prevented:", excused);
    for (unsigned fence = FENCE_EXTENSION; fence < FENCES; fence++) {
        printf(" %s %u", fence_text(fence), prevented[fence]);
    }
    printf(
        "\nexcused: store set back to another key sync %u, and what it had been forgotten %u\n",
        back_keys, forgotten);
    print_hits(hits);
    print_marks(marks);
    return worst;
}

/* Scenarios, then seeds until every rule was reached. */
static int run_rules(const struct options *options)
{
    static bool reached[RULES_MAX];
    bool is_fine = true;

    for (int at = 0; at < options->file_count; at++) {
        is_fine &= scenario_run(options->files[at], false, reached);
    }
    for (int64_t at = 0; at < options->seeds && !coverage_is_full(reached); at++) {
        run((uint64_t)(options->from + at), false, false, reached);
    }
    return coverage_print(reached) && is_fine ? 0 : (int)VERDICT_LIVENESS;
}

static int run_scenarios(const struct options *options)
{
    bool is_fine = true;

    for (int at = 0; at < options->file_count; at++) {
        is_fine &= scenario_run(options->files[at], options->is_update, NULL);
    }
    return is_fine ? 0 : (int)VERDICT_LIVENESS;
}

static int usage(void)
{
    fprintf(
        stderr, "usage: baton-sim --seeds N [--from K] [--keep-going | --twice | --rules FILE...] "
                "[--with FENCE,...] [--without FENCE,...] | "
                "--seed K [--trace] [--shrink] [--write FILE] | --model | [--update] FILE...\n");
    return EXIT_USAGE;
}

static bool read_flag(const char *word, struct options *ret)
{
    const struct {
        const char *name;
        bool *slot;
    } flags[] = {
        {"--trace", &ret->is_tracing},       {"--shrink", &ret->is_shrinking},
        {"--rules", &ret->is_rules},         {"--update", &ret->is_update},
        {"--keep-going", &ret->is_going_on}, {"--twice", &ret->is_twice},
        {"--model", &ret->is_model},
    };

    for (size_t at = 0; at < ARRAY_LEN(flags); at++) {
        if (str_equal(word, flags[at].name)) {
            *flags[at].slot = true;
            return true;
        }
    }
    return false;
}

static bool is_text_option(const char *word)
{
    return str_equal(word, "--write") || str_equal(word, "--with") || str_equal(word, "--without");
}

static bool read_text(const char *word, const char *value, struct options *ret)
{
    if (str_equal(word, "--write")) {
        ret->write = value;
        return true;
    }
    return str_equal(word, "--with") ? fence_force(value) : fence_remove(value);
}

static bool read_options(int argc, char **argv, struct options *ret)
{
    int at = 1;

    for (; at < argc && str_starts(argv[at], "--"); at++) {
        int64_t *slot = str_equal(argv[at], "--seeds")  ? &ret->seeds
                        : str_equal(argv[at], "--from") ? &ret->from
                        : str_equal(argv[at], "--seed") ? &ret->seed
                                                        : NULL;

        if (is_text_option(argv[at])) {
            if (at + 1 == argc || !read_text(argv[at], argv[at + 1], ret)) {
                return false;
            }
            at++;
            continue;
        }
        if (slot == NULL
                ? !read_flag(argv[at], ret)
                : at + 1 == argc || parse_int(argv[at + 1], 0, INT64_MAX, slot, NULL) < 0) {
            return false;
        }
        ret->has_seed |= slot == &ret->seed;
        at += slot != NULL ? 1 : 0;
    }
    ret->files = argv + at;
    ret->file_count = argc - at;
    return ret->is_model || ret->has_seed || ret->seeds > 0 || ret->file_count > 0;
}

int main(int argc, char **argv)
{
    struct options options = {0};

    if (!read_options(argc, argv, &options)) {
        return usage();
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (options.is_model) {
        return model_test() ? 0 : (int)VERDICT_LIVENESS;
    }
    if (options.is_rules) {
        return run_rules(&options);
    }
    if (options.file_count > 0) {
        return run_scenarios(&options);
    }
    if (options.has_seed) {
        return run_one(&options);
    }
    return options.is_twice ? run_twice(&options) : run_many(&options);
}
