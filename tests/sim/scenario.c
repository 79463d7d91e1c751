#include "tests/sim/scenario.h"
#include "tests/sim/operator.h"

#include "tests/sim/faults.h"
#include "tests/sim/sync.h"

#include "base/assert.h"
#include "base/parse.h"

#define FILE_SIZE_MAX (1 << 20)
#define DASHES "----\n"

/* So that n1 makes the cluster. */
#define HEAD_START_NS (200 * MS)

void story_fail(struct story *story, const char *format, ...)
{
    va_list args;

    if (story->problem[0] != '\0') {
        return;
    }
    va_start(args, format);
    IGNORE(vsnprintf(story->problem, sizeof(story->problem), format, args) < 0, "cut is fine");
    va_end(args);
}

struct node *story_node(struct story *story, const char *name)
{
    struct node *node =
        str_equal(name, "leader") ? sim_leader(story->sim) : sim_find(story->sim, name);

    if (node == NULL) {
        story_fail(story, "there is no node '%s'", name);
    }
    return node;
}

/* 300ms, 5s; a colon behind it is the sentence's. */
bool story_duration(struct story *story, const char *text, int64_t *ret_ns)
{
    char *end;
    long long value = strtoll(text, &end, 10);
    int64_t unit_ns = str_starts(end, "ns") ? 1 : str_starts(end, "ms") ? MS : SECOND;
    const char *rest = end + (unit_ns < SECOND ? 2 : str_starts(end, "s") ? 1 : 0);

    if (end == text || rest == end || value < 0 || value > 3600 * SECOND / unit_ns ||
        !(rest[0] == '\0' || str_equal(rest, ":"))) {
        story_fail(story, "'%s' is no time such as 300ms or 5s", text);
        return false;
    }
    *ret_ns = value * unit_ns;
    return true;
}

/* ---- the trace ---- */

static void add_line(struct sim *sim, const char *node, const char *rule, const char *text)
{
    struct story *story = sim->line_arg;
    int64_t at_ms = sim->now_ns / MS;

    str_addf(
        &story->trace, "%3" PRId64 ".%03" PRId64 " %-3s %-21s %s\n", at_ms / 1000, at_ms % 1000,
        node, rule, text);
}

static void on_decision(
    struct sim *sim, const struct node *node, const char *rule, const char *text)
{
    add_line(sim, node->name, rule, text);
}

/* ---- commands ---- */

static bool set_option(struct story *story, struct shape *shape, const char *text, uint64_t *seed)
{
    const struct {
        const char *name;
        int64_t *slot;
        int64_t unit_ns;
    } times[] = {
        {"ttl=", &shape->ttl_ms, MS},           {"start_timeout=", &shape->start_timeout_ms, MS},
        {"recovery=", &shape->recovery_ns, 1},  {"clone=", &shape->clone_ns, 1},
        {"replay=", &shape->replay_ns, 1},      {"lag=", &shape->lag_ns, 1},
        {"hang=", &shape->hang_timeout_ms, MS},
    };
    int64_t value = 0;

    if (str_starts(text, "seed=")) {
        if (parse_int(text + strlen("seed="), 0, INT64_MAX, &value, NULL) < 0) {
            story_fail(story, "'%s' is no seed", text);
        }
        *seed = (uint64_t)value;
        return true;
    }
    for (size_t at = 0; at < ARRAY_LEN(times); at++) {
        if (str_starts(text, times[at].name) &&
            story_duration(story, text + strlen(times[at].name), &value)) {
            *times[at].slot = value / times[at].unit_ns;
            return true;
        }
    }
    return false;
}

/* A calm cluster: nothing is drawn but small delays. */
static void do_cluster(struct story *story, const struct words *words)
{
    struct shape shape = {
        .ttl_ms = 3000,
        .loop_wait_ms = 1000,
        .retry_timeout_ms = 1000,
        .start_timeout_ms = 300000,
        .maximum_lag = 1048576,
        .pace_ns = 500 * MS,
        .think_ns = 200 * MS,
        .start_ns = 100 * MS,
        .recovery_ns = 500 * MS,
        .promote_ns = 100 * MS,
        .clone_ns = SECOND,
        .receiver_ns = 200 * MS,
        .clients = 2,
        .checked_limit_ms = 1000,
        .nofailover = -1,
        .nosync = -1,
    };
    uint64_t seed = 1;
    int64_t count = 0;

    if (story->sim != NULL || parse_int(words->items[0], 1, NODES_MAX, &count, NULL) < 0) {
        story_fail(story, "cluster N, once, with N from 1 to %d", NODES_MAX);
        return;
    }
    shape.node_count = (unsigned)count;
    for (unsigned at = 1; at < words->count; at++) {
        if (str_equal(words->items[at], "failsafe")) {
            shape.is_failsafe = true;
            continue;
        }
        if (!set_option(story, &shape, words->items[at], &seed) &&
            !sync_set_option(&shape, words->items[at])) {
            story_fail(story, "'%s' is no option of a cluster", words->items[at]);
        }
    }
    story->sim = sim_new(seed, &shape);
    story->sim->line_arg = story;
    story->sim->decision = on_decision;
    for (unsigned at = 0; at < shape.node_count; at++) {
        agent_begin(story->sim, &story->sim->nodes[at]);
        sim_run(story->sim, story->sim->now_ns + HEAD_START_NS);
    }
    check_able(story->sim);
}

/* A seed with faults of one's own instead of those that it draws: `fault` lines, then `play`. What
 * baton-sim --write has made of a failure. */
static void do_seed(struct story *story, const struct words *words)
{
    int64_t seed = 0;

    if (story->sim != NULL || parse_int(words->items[0], 0, INT64_MAX, &seed, NULL) < 0) {
        story_fail(story, "seed N, once, instead of a cluster");
        return;
    }
    story->sim = sim_new((uint64_t)seed, NULL);
    story->sim->is_scripted = true;
    story->sim->line_arg = story;
    story->sim->decision = on_decision;
}

static void do_play(struct story *story, const struct words *words)
{
    ASSERT(words->count == 0);
    if (!story->sim->is_scripted) {
        story_fail(story, "play is for a seed");
        return;
    }
    seed_run(story->sim);
}

static bool set_fault_option(struct story *story, struct fault *fault, const char *text)
{
    const struct {
        const char *name;
        int64_t *slot;
    } times[] = {{"at=", &fault->at_ns}, {"for=", &fault->length_ns}};
    const struct node *other;

    for (size_t at = 0; at < ARRAY_LEN(times); at++) {
        if (str_starts(text, times[at].name)) {
            return story_duration(story, text + strlen(times[at].name), times[at].slot);
        }
    }
    if (str_starts(text, "amount=")) {
        return parse_int(text + strlen("amount="), 0, INT64_MAX, &fault->amount, NULL) == 0;
    }
    if (!str_starts(text, "other=")) {
        return false;
    }
    other = story_node(story, text + strlen("other="));
    fault->other = other != NULL ? (int)other->index : 0;
    return other != NULL;
}

/* KIND n1|leader [at=12s] [for=5s] [other=n2] [amount=N]: one of the seeds' faults */
static void do_fault(struct story *story, const struct words *words)
{
    struct fault fault = {.node = -1, .at_ns = story->sim->now_ns};
    int kind = fault_find(words->items[0]);

    if (kind < 0) {
        story_fail(story, "'%s' is no kind of fault", words->items[0]);
        return;
    }
    fault.kind = (unsigned)kind;
    if (!str_equal(words->items[1], "leader")) {
        const struct node *node = story_node(story, words->items[1]);

        fault.node = node != NULL ? (int)node->index : -1;
    }
    for (unsigned at = 2; at < words->count; at++) {
        if (!set_fault_option(story, &fault, words->items[at])) {
            story_fail(story, "'%s' is no option of a fault", words->items[at]);
        }
    }
    if (!fault_add(story->sim, &fault)) {
        story_fail(story, "there are too many faults");
    }
}

static void do_run(struct story *story, const struct words *words)
{
    int64_t length_ns = 0;

    if (story_duration(story, words->items[0], &length_ns)) {
        sim_run(story->sim, story->sim->now_ns + length_ns);
    }
}

/* server | agent | node, then its name or "all" */
static void do_kill(struct story *story, const struct words *words)
{
    struct sim *sim = story->sim;
    const char *what = words->items[0];

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[at];

        if (!str_equal(words->items[1], "all") && !str_equal(words->items[1], node->name)) {
            continue;
        }
        if (str_equal(what, "server")) {
            server_kill(sim, node, "the story");
        } else if (str_equal(what, "agent")) {
            agent_kill(sim, node);
        } else if (str_equal(what, "node")) {
            node_power_off(sim, node);
        } else {
            story_fail(story, "kill server, agent or node");
        }
    }
}

static void do_start(struct story *story, const struct words *words)
{
    struct sim *sim = story->sim;

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[at];

        if (str_equal(words->items[1], "all") || str_equal(words->items[1], node->name)) {
            node_boot(sim, node);
            agent_begin(sim, node);
        }
    }
}

static void do_stop(struct story *story, const struct words *words)
{
    struct node *node = story_node(story, words->items[0]);

    if (node != NULL && node->agent != NULL) {
        node->is_leaving = true;
        agent_leave(node->agent);
        agent_touch(story->sim, node);
    }
}

static bool find_place(struct story *story, const char *name, unsigned *ret)
{
    const struct node *node = NULL;

    *ret = STORE_PLACE;
    if (!str_equal(name, "store")) {
        node = story_node(story, name);
        *ret = node != NULL ? node->index : 0;
    }
    return story->problem[0] == '\0';
}

static void do_cut(struct story *story, const struct words *words)
{
    unsigned a;
    unsigned b;

    if (find_place(story, words->items[0], &a) && find_place(story, words->items[1], &b)) {
        net_cut(story->sim, a, b, 1);
        net_cut(story->sim, b, a, 1);
    }
}

static void do_isolate(struct story *story, const struct words *words)
{
    unsigned node;

    if (!find_place(story, words->items[0], &node)) {
        return;
    }
    for (unsigned at = 0; at < PLACES; at++) {
        net_cut(story->sim, node, at, 1);
        net_cut(story->sim, at, node, 1);
    }
}

static void do_heal(struct story *story, const struct words *words)
{
    ASSERT(words->count == 0);
    memset(story->sim->net.cuts, 0, sizeof(story->sim->net.cuts));
    store_set_quorum(story->sim, true);
    for (unsigned at = 0; at < story->sim->shape.node_count; at++) {
        story->sim->nodes[at].has_bad_disk = false;
        story->sim->nodes[at].is_promotion_refused = false;
    }
}

static void do_store(struct story *story, const struct words *words)
{
    store_set_quorum(story->sim, str_equal(words->items[0], "up"));
}

static void do_end_session(struct story *story, const struct words *words)
{
    const struct node *node = story_node(story, words->items[0]);

    if (node != NULL) {
        store_expire_session(story->sim, node->index);
    }
}

static struct node *find_asked(struct sim *sim)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        if (sim->nodes[at].agent != NULL) {
            return &sim->nodes[at];
        }
    }
    return NULL;
}

/* switchover n1 [n2]: the first agent that runs is asked */
static void do_switchover(struct story *story, const struct words *words)
{
    struct failover_request request = {0};
    struct node *asked = find_asked(story->sim);

    if (asked == NULL) {
        story_fail(story, "no agent runs");
        return;
    }
    str_copy(request.leader, sizeof(request.leader), words->items[0]);
    str_copy(request.candidate, sizeof(request.candidate), words->count > 1 ? words->items[1] : "");
    operator_ask(story->sim, asked, &request, false);
}

static void do_failover(struct story *story, const struct words *words)
{
    struct failover_request request = {0};
    struct node *asked = find_asked(story->sim);

    if (asked == NULL) {
        story_fail(story, "no agent runs");
        return;
    }
    str_copy(request.candidate, sizeof(request.candidate), words->items[0]);
    operator_ask(story->sim, asked, &request, true);
}

static void do_pause(struct story *story, const struct words *words)
{
    operator_pause(story->sim, str_equal(words->items[0], "on"));
}

/* sync=on strict ...: switch during the run; what is not named stays */
static void do_config(struct story *story, const struct words *words)
{
    struct sim *sim = story->sim;
    struct shape shape = sim->shape;

    shape.sync_mode = sim->settings.mode;
    shape.sync_count = sim->settings.count;
    for (unsigned at = 0; at < words->count; at++) {
        int64_t ttl_ns = 0;

        if (str_starts(words->items[at], "ttl=")) {
            if (story_duration(story, words->items[at] + strlen("ttl="), &ttl_ns)) {
                operator_set_ttl(sim, ttl_ns / MS);
            }
        } else if (!sync_set_option(&shape, words->items[at])) {
            story_fail(story, "'%s' cannot be configured", words->items[at]);
        }
    }
    sync_switch_to(sim, shape.sync_mode, shape.is_sync_strict, shape.sync_count);
}

static void do_delete(struct story *story, const struct words *words)
{
    store_delete(story->sim, words->items[0]);
}

static void do_promote(struct story *story, const struct words *words)
{
    struct node *node = story_node(story, words->items[0]);

    if (node == NULL || node->server.run != RUN_STANDBY) {
        story_fail(story, "%s is no standby", words->items[0]);
        return;
    }
    server_promote(story->sim, node, 0);
}

static void lose_data(struct story *story, const struct words *words, bool is_broken)
{
    struct node *node = story_node(story, words->items[0]);

    if (node == NULL || node->disk.kind != DISK_PRESENT) {
        story_fail(story, "%s has no data", words->items[0]);
        return;
    }
    fault_lose_data(story->sim, node, is_broken);
    if (node->disk.kind == DISK_PRESENT) {
        story_fail(story, "%s has the only copy of acknowledged writes", node->name);
    }
}

static void do_lose_data(struct story *story, const struct words *words)
{
    lose_data(story, words, false);
}

static void do_break_data(struct story *story, const struct words *words)
{
    lose_data(story, words, true);
}

static void do_starve(struct story *story, const struct words *words)
{
    struct node *node = story_node(story, words->items[0]);

    if (node != NULL) {
        node->disk.is_starved = true;
    }
}

static void do_outgrow(struct story *story, const struct words *words)
{
    struct node *node = story_node(story, words->items[0]);

    if (node != NULL) {
        node->server.is_outgrown = true;
        engine_changed(story->sim, node);
    }
}

static void do_refuse(struct story *story, const struct words *words)
{
    struct node *node = story_node(story, words->items[0]);

    if (node != NULL) {
        node->is_promotion_refused = true;
    }
}

static void do_keep_store(struct story *story, const struct words *words)
{
    ASSERT(words->count == 0);
    store_keep(story->sim);
}

/* As agents see it, they must be restarted for that. */
static void do_restore_store(struct story *story, const struct words *words)
{
    ASSERT(words->count == 0);
    for (unsigned at = 0; at < story->sim->shape.node_count; at++) {
        if (story->sim->nodes[at].agent != NULL) {
            story_fail(story, "agents must be dead when the store is set back");
        }
    }
    store_restore(story->sim);
}

static void do_clear_data(struct story *story, const struct words *words)
{
    struct node *node = story_node(story, words->items[0]);

    if (node != NULL) {
        operator_clear(story->sim, node);
    }
}

static void do_disk_full(struct story *story, const struct words *words)
{
    struct node *node = story_node(story, words->items[0]);

    if (node != NULL) {
        node->has_bad_disk = true;
        server_kill(story->sim, node, "the disk is full");
    }
}

static const struct {
    const char *name;
    unsigned least; /* words after it */
    unsigned most;
    void (*run)(struct story *story, const struct words *words);
} commands[] = {
    {"cluster", 1, WORDS_MAX, do_cluster}, /* N [ttl=3s] [start_timeout=2s] [seed=1] ... */
    {"seed", 1, 1, do_seed},               /* N, instead of a cluster */
    {"fault", 2, WORDS_MAX, do_fault},
    {"play", 0, 0, do_play},
    {"run", 1, 1, do_run},              /* 10s */
    {"wait", 1, WORDS_MAX, story_wait}, /* CONDITION */
    {"expect", 1, WORDS_MAX, story_expect},
    {"kill", 2, 2, do_kill},               /* server|agent|node n1|all */
    {"start", 2, 2, do_start},             /* node|agent n1|all */
    {"stop", 1, 1, do_stop},               /* n1: as systemd does it, agent and server */
    {"cut", 2, 2, do_cut},                 /* n1 store | n1 n2, both ways */
    {"isolate", 1, 1, do_isolate},         /* n1 from all */
    {"store", 1, 1, do_store},             /* up|down: it has a majority, or none */
    {"end-session", 1, 1, do_end_session}, /* n1: the store's session, with its keys */
    {"heal", 0, 0, do_heal},               /* network, store and disks */
    {"switchover", 1, 2, do_switchover},   /* n1 [n2] */
    {"failover", 1, 1, do_failover},       /* n2 */
    {"pause", 1, 1, do_pause},             /* on|off */
    {"config", 1, WORDS_MAX, do_config},   /* sync=off|on|quorum [strict] [count=2] [ttl=3s] */
    {"promote-by-hand", 1, 1, do_promote},
    {"lose-data", 1, 1, do_lose_data},     /* n1: the directory is gone */
    {"break-data", 1, 1, do_break_data},   /* n1: it cannot be used */
    {"clear-data", 1, 1, do_clear_data},   /* n1: an operator removes it */
    {"starve", 1, 1, do_starve},           /* n1, which is down: log that it needs is removed */
    {"refuse-promotion", 1, 1, do_refuse}, /* n1: promotions fail until `heal` */
    {"keep-store", 0, 0, do_keep_store},
    {"restore-store", 0, 0, do_restore_store}, /* as it was then, or empty; all agents are dead */
    {"outgrow", 1, 1, do_outgrow},             /* n1: its replay stops until a restart */
    {"disk-full", 1, 1, do_disk_full},         /* n1: the server dies, starts fail until `heal` */
    {"delete", 1, 1, do_delete},               /* a key of the store */
};

static void carry_out(struct story *story, const struct words *words)
{
    struct words rest = {.count = words->count - 1};

    memcpy(rest.items, words->items + 1, rest.count * sizeof(rest.items[0]));
    for (size_t at = 0; at < ARRAY_LEN(commands); at++) {
        if (!str_equal(commands[at].name, words->items[0])) {
            continue;
        }
        if (rest.count < commands[at].least || rest.count > commands[at].most) {
            story_fail(story, "%s has too many words, or too few", commands[at].name);
        } else if (story->sim == NULL && at > 1) {
            story_fail(story, "cluster comes first, or seed");
        } else {
            commands[at].run(story, &rest);
        }
        return;
    }
    story_fail(story, "'%s' is no command", words->items[0]);
}

/* ---- a file ---- */

static void run_line(struct story *story, char *line)
{
    struct words words = {0};
    char shown[200];
    char *rest = NULL;

    line[strcspn(line, "#")] = '\0';
    IGNORE(!str_copy(shown, sizeof(shown), line), "cut is fine");
    shown[strcspn(shown, "\n")] = '\0';
    for (char *word = strtok_r(line, " \t\n", &rest); word != NULL;
         word = strtok_r(NULL, " \t\n", &rest)) {
        if (words.count == WORDS_MAX) {
            story_fail(story, "too many words");
            return;
        }
        words.items[words.count++] = word;
    }
    if (words.count == 0) {
        return;
    }
    if (story->sim != NULL) {
        str_addf(&story->trace, "> %s\n", shown);
    }
    carry_out(story, &words);
    if (story->sim != NULL && story->sim->check.verdict != VERDICT_FINE) {
        story_fail(story, "%s", story->sim->check.what);
    }
}

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = mem_alloc(FILE_SIZE_MAX);
    size_t length;

    if (file == NULL) {
        return mem_free(text);
    }
    length = fread(text, 1, FILE_SIZE_MAX - 1, file);
    text[length] = '\0';
    fclose(file);
    return text;
}

static bool write_whole(const char *path, const char *commands_text, const char *trace)
{
    FILE *file = fopen(path, "w");

    return file != NULL &&
           (fprintf(file, "%s" DASHES "%s", commands_text, trace) >= 0) + (fclose(file) == 0) == 2;
}

/* The first line that differs. */
static void show_difference(const char *expected, const char *found)
{
    unsigned line = 1;
    const char *from = expected;
    size_t at = 0;

    while (expected[at] != '\0' && expected[at] == found[at]) {
        if (expected[at++] == '\n') {
            line++;
            from = expected + at;
        }
    }
    found += from - expected;
    printf(
        "  trace line %u\n  expected: %.*s\n  found:    %.*s\n", line, (int)strcspn(from, "\n"),
        from, (int)strcspn(found, "\n"), found);
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static bool judge(struct story *story, const char *path, const char *commands_text, const char *old)
{
    const char *trace = str_text(&story->trace);

    if (story->problem[0] != '\0') {
        printf("FAIL scenario/%s line %u: %s\n", name_of(path), story->line, story->problem);
        printf("%s", trace);
        return false;
    }
    if (old == NULL) {
        printf("ok scenario/%s written\n", name_of(path));
        return write_whole(path, commands_text, trace);
    }
    if (!str_equal(old, trace)) {
        printf("FAIL scenario/%s another trace (--update accepts it)\n", name_of(path));
        show_difference(old, trace);
        return false;
    }
    printf("ok scenario/%s\n", name_of(path));
    return true;
}

bool scenario_run(const char *path, bool is_update, bool *reached)
{
    struct story story = {.trace = STR_INIT(FILE_SIZE_MAX)};
    AUTO_FREE char *text = read_whole(path);
    AUTO_FREE char *commands_text = NULL;
    char *dashes;
    bool is_fine;
    char *line;

    if (text == NULL) {
        printf("FAIL scenario/%s cannot be read\n", path);
        return false;
    }
    dashes = strstr(text, "\n" DASHES);
    if (dashes != NULL) {
        dashes[1] = '\0';
    }
    commands_text = mem_dup(text);
    line = text;
    while (line[0] != '\0' && story.problem[0] == '\0') {
        size_t length = strcspn(line, "\n");
        char *next = line + length + (line[length] == '\n' ? 1 : 0);

        line[length] = '\0';
        story.line++;
        run_line(&story, line);
        line = next;
    }
    for (unsigned at = 0; reached != NULL && story.sim != NULL && at < RULES_MAX; at++) {
        reached[at] |= story.sim->reached[at];
    }
    is_fine = judge(
        &story, path, commands_text,
        is_update        ? NULL
        : dashes != NULL ? dashes + 1 + strlen(DASHES)
                         : "");
    sim_free(story.sim);
    str_fini(&story.trace);
    return is_fine;
}
