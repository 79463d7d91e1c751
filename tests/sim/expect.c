#include "tests/sim/scenario.h"

#include "base/parse.h"

/* What a scenario can wait for and demand: the truth of the model, not what an agent believes. */

#define WAIT_LIMIT_NS (60 * SECOND)
#define STEP_NS (10 * MS)

/* The rest of the words, from AT on. */
struct condition {
    const struct words *words;
    unsigned at;
    char why[200]; /* why it is not true, for people */
};

static const char *word(const struct condition *condition, unsigned offset)
{
    unsigned at = condition->at + offset;

    return at < condition->words->count ? condition->words->items[at] : "";
}

static struct node *open_node(struct sim *sim)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        if (server_is_open(&sim->nodes[at])) {
            return &sim->nodes[at];
        }
    }
    return NULL;
}

/* primary | primary in n1 n2 */
static bool is_primary(struct story *story, struct condition *condition)
{
    const struct node *open = open_node(story->sim);

    str_format(
        condition->why, sizeof(condition->why), "the primary is %s",
        open != NULL ? open->name : "nobody");
    if (open == NULL || !str_equal(open->name, story->sim->check.holder)) {
        return false;
    }
    if (!str_equal(word(condition, 1), "in")) {
        return true;
    }
    for (unsigned at = 2; word(condition, at)[0] != '\0'; at++) {
        if (str_equal(word(condition, at), open->name)) {
            return true;
        }
    }
    return false;
}

/* no primary */
static bool is_nobody(struct story *story, struct condition *condition)
{
    const struct node *open = open_node(story->sim);

    str_format(
        condition->why, sizeof(condition->why), "%s is writable", open != NULL ? open->name : "");
    return open == NULL;
}

/* converged: one primary, all others stream from it, the store says so */
static bool is_converged(struct story *story, struct condition *condition)
{
    return check_is_converged(story->sim, condition->why, sizeof(condition->why));
}

/* lost nothing: no acknowledged write is missing from the present primary's history */
static bool is_nothing_lost(struct story *story, struct condition *condition)
{
    str_format(
        condition->why, sizeof(condition->why), "%u acknowledged writes are lost",
        story->sim->check.lost);
    return story->sim->check.lost == 0;
}

/* lease n1 | lease nobody */
static bool is_lease_with(struct story *story, struct condition *condition)
{
    const char *holder = story->sim->check.holder;
    const char *wanted = word(condition, 1);

    str_format(condition->why, sizeof(condition->why), "the lease is with '%s'", holder);
    return str_equal(wanted, "nobody") ? holder[0] == '\0' : str_equal(wanted, holder);
}

/* answer 200: to the operator's last request */
static bool is_answered(struct story *story, struct condition *condition)
{
    int64_t wanted = 0;

    str_format(condition->why, sizeof(condition->why), "the answer is %d", story->sim->answer);
    if (parse_int(word(condition, 1), 0, 599, &wanted, NULL) < 0) {
        story_fail(story, "'%s' is no status", word(condition, 1));
    }
    return story->sim->answer == wanted;
}

static uint32_t read_nodes(struct story *story, const struct condition *condition)
{
    uint32_t bits = 0;

    for (unsigned at = 1; word(condition, at)[0] != '\0'; at++) {
        const struct node *node = str_equal(word(condition, at), "nobody")
                                      ? NULL
                                      : story_node(story, word(condition, at));

        bits |= node != NULL ? HA_BIT(node->index) : 0;
    }
    return bits;
}

/* sync n2 n3 | sync nobody (no commit waits): the names in the rule that the primary's backends
 * obey */
static bool is_sync(struct story *story, struct condition *condition)
{
    const struct node *open = open_node(story->sim);
    const struct rule *rule = open != NULL ? &open->server.commits.flag : NULL;

    str_format(
        condition->why, sizeof(condition->why), "the rule is %u of %x",
        rule != NULL ? rule->need : 0, rule != NULL ? rule->names : 0);
    return rule != NULL && rule->names == read_nodes(story, condition) &&
           rule->is_waiting == !str_equal(word(condition, 1), "nobody");
}

/* published n2 n3 | published nobody: the voters of the key sync, which is there */
static bool is_published(struct story *story, struct condition *condition)
{
    const struct sync_key *key = &story->sim->check.key;

    str_format(
        condition->why, sizeof(condition->why), "the key %s, with voters %x",
        key->is_published ? "is there" : "is not there", key->voters);
    return key->is_published && key->voters == read_nodes(story, condition);
}

/* asynchronous: no key stands for anything, and no commit waits */
static bool is_asynchronous(struct story *story, struct condition *condition)
{
    const struct node *open = open_node(story->sim);

    str_format(condition->why, sizeof(condition->why), "there is a key or a rule");
    return open != NULL && !story->sim->check.key.is_published &&
           !open->server.commits.flag.is_waiting;
}

/* blocked: nothing was acknowledged for two seconds, and somebody waits */
static bool is_blocked(struct story *story, struct condition *condition)
{
    const struct sim *sim = story->sim;
    const struct node *open = open_node(story->sim);
    bool is_waiting = false;

    for (unsigned at = 0; open != NULL && at < BACKENDS_MAX; at++) {
        is_waiting |= open->server.commits.backends[at].is_waiting;
    }
    str_format(
        condition->why, sizeof(condition->why), "%s; the last answer was %" PRId64 " ms ago",
        is_waiting ? "somebody waits" : "nobody waits",
        (sim->now_ns - sim->check.last_ack_ns) / MS);
    return is_waiting && sim->now_ns - sim->check.last_ack_ns > 2 * SECOND;
}

static const struct {
    const char *name;
    bool (*is_true)(struct story *story, struct condition *condition);
} conditions[] = {
    {"primary", is_primary},   {"no", is_nobody},           {"converged", is_converged},
    {"lost", is_nothing_lost}, {"lease", is_lease_with},    {"answer", is_answered},
    {"sync", is_sync},         {"published", is_published}, {"asynchronous", is_asynchronous},
    {"blocked", is_blocked},
};

static const struct {
    const char *name;
    enum run run;
} runs[] = {
    {"down", RUN_NONE},
    {"starting", RUN_STARTING},
    {"standby", RUN_STANDBY},
    {"stopping", RUN_STOPPING},
};

/* n1 writable | n1 not writable | n1 follows n2 | n1 down | n1 standby ... */
static bool is_node(struct story *story, struct condition *condition)
{
    const struct node *node = story_node(story, word(condition, 0));
    const char *what = word(condition, 1);

    if (node == NULL) {
        return false;
    }
    str_format(condition->why, sizeof(condition->why), "%s is not", node->name);
    if (str_equal(what, "not") && str_equal(word(condition, 2), "writable")) {
        str_format(condition->why, sizeof(condition->why), "%s is writable", node->name);
        return !server_is_open(node);
    }
    if (str_equal(what, "writable")) {
        return server_is_open(node);
    }
    if (str_equal(what, "follows")) {
        const struct node *upstream = story_node(story, word(condition, 2));

        return upstream != NULL && node->server.run == RUN_STANDBY && node->server.is_streaming &&
               node->disk.upstream == (int)upstream->index &&
               node->disk.end.branch == upstream->disk.end.branch;
    }
    for (size_t at = 0; at < ARRAY_LEN(runs); at++) {
        if (str_equal(what, runs[at].name)) {
            return node->server.run == runs[at].run;
        }
    }
    story_fail(story, "'%s' is no state of a node", what);
    return false;
}

static bool is_true(struct story *story, struct condition *condition)
{
    for (size_t at = 0; at < ARRAY_LEN(conditions); at++) {
        if (str_equal(word(condition, 0), conditions[at].name)) {
            return conditions[at].is_true(story, condition);
        }
    }
    return is_node(story, condition);
}

/* Until it is true, for LIMIT at most. */
static void wait_for(struct story *story, struct condition *condition, int64_t limit_ns)
{
    struct sim *sim = story->sim;
    int64_t begin_ns = sim->now_ns;

    while (story->problem[0] == '\0' && sim->check.verdict == VERDICT_FINE) {
        if (is_true(story, condition)) {
            return;
        }
        if (sim->now_ns - begin_ns >= limit_ns) {
            story_fail(story, "not so within %" PRId64 " ms: %s", limit_ns / MS, condition->why);
            return;
        }
        sim_run(sim, sim->now_ns + STEP_NS);
    }
}

/* All the time, for LENGTH. */
static void hold_for(struct story *story, struct condition *condition, int64_t length_ns)
{
    struct sim *sim = story->sim;
    int64_t end_ns = sim->now_ns + length_ns;

    while (story->problem[0] == '\0' && sim->check.verdict == VERDICT_FINE) {
        if (!is_true(story, condition)) {
            story_fail(story, "not so at %" PRId64 " ms: %s", sim->now_ns / MS, condition->why);
            return;
        }
        if (sim->now_ns >= end_ns) {
            return;
        }
        sim_run(sim, MIN(sim->now_ns + STEP_NS, end_ns));
    }
}

void story_wait(struct story *story, const struct words *words)
{
    struct condition condition = {.words = words};

    wait_for(story, &condition, WAIT_LIMIT_NS);
}

void story_expect(struct story *story, const struct words *words)
{
    struct condition condition = {.words = words, .at = 2};
    const char *kind = words->items[0];
    int64_t length_ns = 0;
    bool is_within = str_equal(kind, "within");

    if (!is_within && !str_equal(kind, "for")) {
        condition.at = 0;
        wait_for(story, &condition, 0);
        return;
    }
    if (words->count < 3) {
        story_fail(story, "expect %s TIME: CONDITION", kind);
        return;
    }
    if (!story_duration(story, words->items[1], &length_ns)) {
        return;
    }
    if (is_within) {
        wait_for(story, &condition, length_ns);
    } else {
        hold_for(story, &condition, length_ns);
    }
}
