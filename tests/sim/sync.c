#include "tests/sim/sync.h"
#include "tests/sim/operator.h"

#include "tests/sim/faults.h"

#include "base/assert.h"
#include "base/parse.h"

/* Synchronous modes as a seed draws them and people switch them, and the faults that are about
 * them. */

#define CANCEL_TIMES 30

void sync_draw(struct sim *sim)
{
    struct shape *shape = &sim->shape;

    shape->nosync = -1;
    if (!check_has_sync_rules()) {
        return;
    }
    shape->sync_mode = rng_chance(sim, STREAM_SYNC, 300)   ? SYNC_OFF
                       : rng_chance(sim, STREAM_SYNC, 400) ? SYNC_ON
                                                           : SYNC_QUORUM;
    shape->is_sync_strict = rng_chance(sim, STREAM_SYNC, 300);
    shape->sync_count =
        rng_chance(sim, STREAM_SYNC, 500) ? (int)rng_between(sim, STREAM_SYNC, 1, 3) : 0;
    if (shape->node_count > 2 && rng_chance(sim, STREAM_SYNC, 150)) {
        shape->nosync = (int)rng_between(sim, STREAM_SYNC, 0, shape->node_count - 1);
    }
    shape->end_known = rng_chance(sim, STREAM_SYNC, 150) ? 0 : 800;
}

static const char *mode_text(enum sync_mode mode)
{
    static const char *const texts[] = {"off", "on", "quorum"};

    return texts[mode];
}

bool sync_set_option(struct shape *shape, const char *text)
{
    int64_t number = 0;

    for (unsigned mode = SYNC_OFF; mode <= SYNC_QUORUM; mode++) {
        if (str_starts(text, "sync=") &&
            str_equal(text + strlen("sync="), mode_text((enum sync_mode)mode))) {
            shape->sync_mode = (enum sync_mode)mode;
            shape->end_known = mode != SYNC_OFF ? 1000 : 0;
            return true;
        }
    }
    if (str_starts(text, "count=")) {
        bool is_fine = parse_int(text + strlen("count="), 1, NODES_MAX, &number, NULL) == 0;

        shape->sync_count = (int)number;
        return is_fine;
    }
    if (str_starts(text, "nosync=n")) {
        bool is_fine = parse_int(text + strlen("nosync=n"), 1, NODES_MAX, &number, NULL) == 0;

        shape->nosync = (int)number - 1;
        return is_fine;
    }
    if (str_starts(text, "nofailover=n")) {
        bool is_fine = parse_int(text + strlen("nofailover=n"), 1, NODES_MAX, &number, NULL) == 0;

        shape->nofailover = (int)number - 1;
        return is_fine;
    }
    if (str_equal(text, "end=known") || str_equal(text, "end=unknown")) {
        shape->end_known = str_equal(text, "end=known") ? 1000 : 0;
        return true;
    }
    shape->is_sync_strict |= str_equal(text, "strict");
    return str_equal(text, "strict");
}

void sync_add_config(const struct sim *sim, char *json, size_t size)
{
    const struct settings *settings = &sim->settings;
    char count[64] = "";
    char *end = json + strlen(json) - 1;

    ASSERT(*end == '}');
    if (settings->mode == SYNC_OFF && !settings->is_strict && settings->count == 0) {
        return;
    }
    if (settings->count > 0) {
        str_format(count, sizeof(count), ",\"synchronous_node_count\":%d", settings->count);
    }
    IGNORE(
        !str_format(
            end, size - (size_t)(end - json),
            ",\"synchronous_mode\":\"%s\",\"synchronous_mode_strict\":%s%s}",
            mode_text(settings->mode), settings->is_strict ? "true" : "false", count),
        "fits");
}

/* ---- faults ---- */

void sync_switch_to(struct sim *sim, enum sync_mode mode, bool is_strict, int count)
{
    sim->settings.mode = mode;
    sim->settings.is_strict = is_strict;
    sim->settings.count = count;
    sim_trace(
        sim, NULL, "OPERATOR", "synchronous_mode %s%s, count %d", mode_text(mode),
        is_strict ? ", strict" : "", count);
    operator_write_config(sim);
}

void sync_switch(struct sim *sim, struct fault *fault, struct node *node)
{
    const struct shape *shape = &sim->shape;
    int64_t amount = fault->amount;

    ASSERT(node != NULL);
    if (fault->is_over && amount % 2 == 0) {
        sync_switch_to(sim, shape->sync_mode, shape->is_sync_strict, shape->sync_count);
        return;
    }
    amount = fault->is_over ? amount / 7 : amount;
    sync_switch_to(
        sim, (enum sync_mode)(amount / 3 % 3), amount / 9 % 4 == 0, (int)(amount / 36 % 3));
}

static void on_cancel(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (sim->is_healed) {
        return;
    }
    commit_cancel(sim, node);
    if (event->a > 0) {
        sim_post(
            sim, node, ACTOR_WORLD, rng_between(sim, STREAM_SYNC, 10 * MS, 150 * MS),
            &(struct event){.run = on_cancel, .a = event->a - 1});
    }
}

/* Somebody goes on cancelling queries. */
void sync_cancel(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(fault->is_applied);
    sim_post(sim, node, ACTOR_WORLD, 0, &(struct event){.run = on_cancel, .a = CANCEL_TIMES});
}

static struct node *find_voter(struct sim *sim, const struct fault *fault)
{
    struct node *leader = sim_leader(sim);
    struct node *found = leader;

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[((int64_t)at + fault->amount) % sim->shape.node_count];

        if (node != leader &&
            (found == leader || (sim->check.key.voters & HA_BIT(node->index)) != 0)) {
            found = node;
        }
    }
    return found;
}

/* A standby that confirms stands still, and comes back. */
void sync_freeze(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    node = find_voter(sim, fault);
    fault->resolved = (int)node->index;
    node_freeze(sim, node, fault->length_ns);
}

/* The rule must change, since a standby is gone for a while; at some stage of the change the
 * primary goes too. */
void sync_break(struct sim *sim, struct fault *fault, struct node *node)
{
    ASSERT(node != NULL);
    node = find_voter(sim, fault);
    sim->stage_fault = fault;
    if (fault->amount % 3 == 0) {
        server_kill(sim, node, "so that the rule changes");
    } else {
        node_freeze(sim, node, MIN(fault->length_ns, SECOND + fault->amount % 4000 * MS));
    }
}

void sync_mend(struct sim *sim, struct fault *fault, struct node *node)
{
    if (sim->stage_fault == fault) {
        sim->stage_fault = NULL;
    }
    node_boot(sim, node);
    agent_begin(sim, node);
}

static void on_break(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (sim->is_healed) {
        return;
    }
    switch (event->a % 4) {
    case 0:
        node_power_off(sim, node);
        break;
    case 1:
        server_kill(sim, node, "in the middle of a change of the rule");
        break;
    case 2:
        agent_kill(sim, node);
        break;
    default:
        node_freeze(sim, node, 500 * MS + event->a % 6000 * MS);
        break;
    }
}

void sync_stage(struct sim *sim, struct node *node, enum stage stage)
{
    struct fault *fault = sim->stage_fault;

    if (fault == NULL || (enum stage)(fault->amount / 3 % STAGES) != stage ||
        node != sim_leader(sim)) {
        return;
    }
    sim->stage_fault = NULL;
    fault->resolved = (int)node->index;
    sim_trace(sim, node, "FAULT", "at stage %u of a change of the rule", (unsigned)stage);
    check_mark(sim, (enum mark)(MARK_STAGES + stage));
    sim_post(
        sim, node, ACTOR_WORLD, fault->amount / 12 % 5 * MS,
        &(struct event){.run = on_break, .a = fault->amount / 60});
}
