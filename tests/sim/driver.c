#include "tests/sim/sync.h"

#include "base/assert.h"

/* The driver's part in synchronous replication, and the disk behind the port `promise`: all that is
 * in node->driver ends with the agent's process, what is in node->disk and node->promised stays. */

#define WATCH_LEAST_NS (5 * MS)
#define WATCH_MOST_NS (80 * MS)
#define BARRIER_RECORD 80

void driver_begin(struct sim *sim, struct node *node)
{
    node->driver = (struct driver){0};
    driver_read_end(sim, node);
}

/* ---- the rule ---- */

static struct rule rule_of(struct sim *sim, const struct sync_rule *rule)
{
    struct rule made = {0};

    if (rule == NULL || !rule->is_waiting) {
        return made;
    }
    made = (struct rule){.is_waiting = true, .is_any = rule->is_any, .need = rule->need};
    if (!rule->is_any) {
        made.need = rule->count;
    }
    for (unsigned at = 0; at < rule->count; at++) {
        const struct node *node = sim_find(sim, rule->names[at]);

        made.names |= node != NULL ? HA_BIT(node->index) : 0;
    }
    return made;
}

static bool is_same(const struct rule *a, const struct rule *b)
{
    return a->is_waiting == b->is_waiting && a->is_any == b->is_any && a->need == b->need &&
           a->names == b->names && a->version == b->version;
}

static void on_watch(struct sim *sim, struct event *event);

static void watch(struct sim *sim, struct node *node)
{
    if (!node->driver.is_watching) {
        node->driver.is_watching = true;
        sim_post(
            sim, node, ACTOR_AGENT, rng_log(sim, STREAM_SYNC, WATCH_LEAST_NS, WATCH_MOST_NS),
            &(struct event){.run = on_watch});
    }
}

void driver_write_rule(struct sim *sim, struct node *node)
{
    struct driver *driver = &node->driver;

    if (!driver->is_set) {
        return;
    }
    driver->rule.version = node->disk.rule.version;
    if (!is_same(&driver->rule, &node->disk.rule) || driver->rule.version == 0) {
        driver->rule.version++;
        node->disk.rule = driver->rule;
        commit_reload(sim, node);
    }
    driver->is_written = true;
    watch(sim, node);
}

static void on_set(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (node->driver.serial == (uint64_t)event->a && node->disk.kind != DISK_ABSENT) {
        driver_write_rule(sim, node);
        sync_stage(sim, node, STAGE_WRITTEN);
        sim_trace(
            sim, node, "server.rule", "%s%u of %x, version %u",
            node->disk.rule.is_waiting ? "" : "none: ", node->disk.rule.need, node->disk.rule.names,
            node->disk.rule.version);
    }
}

void driver_set_sync(
    struct sim *sim, struct node *node, const struct sync_rule *rule, uint64_t serial,
    int64_t output_ns)
{
    struct driver *driver = &node->driver;

    check_rule_set(sim, node, rule);
    sync_stage(sim, node, STAGE_ASKED);
    sim->has_sync |= rule != NULL && rule->is_waiting;
    driver->rule = rule_of(sim, rule);
    driver->is_set = true;
    driver->is_written = false;
    driver->has_barrier = false;
    driver->serial = serial;
    sim_post(
        sim, node, ACTOR_AGENT,
        output_ns +
            rng_log(
                sim, STREAM_SYNC, 500000, rng_chance(sim, STREAM_SYNC, 50) ? 2 * SECOND : 30 * MS),
        &(struct event){.run = on_set, .a = (int64_t)serial});
}

/* ---- when it is in force ---- */

static bool is_same_server(const struct node *node)
{
    return node->driver.epoch == node->server.epoch &&
           node->driver.was_primary == (node->server.run == RUN_PRIMARY);
}

/* Everybody in the server has it. */
static bool is_loaded(const struct sim *sim, const struct node *node)
{
    const struct commits *commits = &node->server.commits;
    uint32_t version = node->driver.rule.version;
    bool is_everywhere = commits->parent.version == version && commits->flag.version == version;

    for (unsigned at = 0; is_everywhere && at < sim->shape.node_count; at++) {
        const struct sender *sender = &commits->senders[at];

        is_everywhere = !commit_is_attached(sim, sender) || sender->rule.version == version;
    }
    return is_everywhere || node->server.run == RUN_NONE;
}

/* A record that is written with the rule in force everywhere: who has it has all before it. */
static bool is_barrier_passed(struct sim *sim, struct node *node)
{
    struct driver *driver = &node->driver;
    unsigned count = 0;

    if (!driver->rule.is_waiting) {
        return true;
    }
    if (!driver->has_barrier) {
        driver->has_barrier = true;
        node->disk.end.lsn += BARRIER_RECORD;
        node->disk.changed_ns = sim->now_ns;
        driver->barrier = node->disk.end.lsn;
        stream_push(sim, node);
        sync_stage(sim, node, STAGE_BARRIER);
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct sender *sender = &node->server.commits.senders[at];

        if (commit_is_attached(sim, sender) && (driver->rule.names & HA_BIT(at)) != 0 &&
            sender->flushed >= driver->barrier) {
            count++;
        }
    }
    return count >= driver->rule.need;
}

static bool is_in_force(const struct node *node)
{
    return is_same_server(node) && node->driver.in_force == node->driver.serial;
}

static void on_watch(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct driver *driver = &node->driver;

    ASSERT(event->data == NULL);
    driver->is_watching = false;
    if (!driver->is_written) {
        return; /* who writes it watches again */
    }
    if (!is_same_server(node)) {
        driver->epoch = node->server.epoch;
        driver->was_primary = node->server.run == RUN_PRIMARY;
        driver->has_barrier = false;
        driver->in_force = 0;
    }
    if (is_loaded(sim, node) && (!driver->was_primary || is_barrier_passed(sim, node))) {
        driver->in_force = driver->serial;
        sync_stage(sim, node, STAGE_IN_FORCE);
        if (sim->has_sync) { /* else nobody is in a hurry */
            engine_changed(sim, node);
        }
        return;
    }
    watch(sim, node);
}

bool driver_is_detached(const struct node *node)
{
    return node->server.run == RUN_STANDBY && node->disk.upstream < 0 &&
           !node->server.is_streaming && node->disk.replayed >= node->disk.end.lsn;
}

static bool is_same_place(struct place a, struct place b)
{
    return a.branch == b.branch && a.lsn == b.lsn;
}

void driver_fill_status(const struct sim *sim, const struct node *node, struct engine_status *ret)
{
    ret->sync_serial = is_same_server(node) ? node->driver.in_force : 0;
    ret->looked = node_now(sim, node);
    ret->is_detached = driver_is_detached(node);
    ret->is_end_known = ret->state == SERVER_DOWN && !node->disk.is_torn &&
                        (node->disk.is_clean ? is_same_place(node->disk.complete, node->disk.end)
                                             : node->disk.was_primary && node->disk.is_end_read);
    for (unsigned at = 0; ret->state == SERVER_PRIMARY && at < sim->shape.node_count; at++) {
        const struct sender *sender = &node->server.commits.senders[at];

        if (commit_is_attached(sim, sender)) {
            struct engine_standby *standby = &ret->standbys[ret->standby_count++];

            str_copy(standby->name, sizeof(standby->name), sim->nodes[at].name);
            standby->flushed_lsn = sender->flushed;
        }
    }
}

/* The server is not the one that the rule was last seen in force on. */
void driver_notice(struct sim *sim, struct node *node)
{
    if (node->driver.is_set && !is_in_force(node)) {
        watch(sim, node);
    }
}

/* ---- the end of a log ---- */

static void on_end_read(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (node->server.run == RUN_NONE && node->server.epoch == (uint32_t)event->a &&
        node->disk.kind == DISK_PRESENT && !node->has_bad_disk) {
        node->disk.is_end_read = true;
        engine_changed(sim, node);
    }
}

void driver_read_end(struct sim *sim, struct node *node)
{
    if (node->server.run != RUN_NONE || node->disk.is_clean || !node->disk.was_primary ||
        node->disk.is_end_read || sim->shape.end_known == 0) {
        return;
    }
    if (!rng_chance(sim, STREAM_SYNC, sim->shape.end_known)) {
        check_mark(sim, MARK_END_UNKNOWN);
        return;
    }
    if (rng_chance(sim, STREAM_SYNC, 600)) {
        node->disk.is_end_read = !node->has_bad_disk; /* before it says that the server is down */
        return;
    }
    sim_post(
        sim, node, ACTOR_AGENT, rng_log(sim, STREAM_SYNC, 2 * MS, 400 * MS),
        &(struct event){.run = on_end_read, .a = node->server.epoch});
}

/* ---- is a peer's server alive ---- */

static void end_ping(struct sim *sim, struct node *node, uint32_t number, bool is_alive)
{
    struct ping *ping = &node->driver.pings[number % PINGS_MAX];

    if (ping->is_due && ping->number == number) {
        ping->is_due = false;
        engine_on_ping(sim, node, sim->nodes[ping->peer].name, is_alive);
    }
}

static void on_pong(struct sim *sim, struct event *event)
{
    end_ping(sim, &sim->nodes[event->node], (uint32_t)event->a, event->b != 0);
}

struct question {
    unsigned from;
    uint32_t number;
    uint32_t epoch; /* of the agent that asks */
};

/* The kernel answers for a server that is not there, the server for itself; a frozen host's come
 * later. */
static void on_ping(struct sim *sim, struct event *event)
{
    const struct node *node = &sim->nodes[event->node];
    const struct question *question = event->data;
    struct node *asker = &sim->nodes[question->from];

    if (asker->engine == NULL || asker->agent_epoch != question->epoch ||
        net_is_cut(sim, node->index, asker->index)) {
        return;
    }
    sim_post(
        sim, asker, ACTOR_AGENT, rng_log(sim, STREAM_SYNC, 100000, 4 * MS) * sim->net.slow,
        &(struct event){.run = on_pong, .a = question->number, .b = node->server.run != RUN_NONE});
}

static void on_ping_timeout(struct sim *sim, struct event *event)
{
    end_ping(sim, &sim->nodes[event->node], (uint32_t)event->a, false);
}

void driver_ping(
    struct sim *sim, struct node *node, const char *name, int64_t timeout_ms, int64_t output_ns)
{
    struct node *peer = sim_find(sim, name);
    uint32_t number = ++node->driver.ping_count;
    struct ping *ping = &node->driver.pings[number % PINGS_MAX];
    struct question *question;

    ASSERT(peer != NULL);
    ASSERT(!ping->is_due);
    ASSERT(timeout_ms > 0);
    *ping = (struct ping){number, peer->index, true};
    sim_post(
        sim, node, ACTOR_AGENT, timeout_ms * MS,
        &(struct event){.run = on_ping_timeout, .a = number});
    if (net_is_cut(sim, node->index, peer->index) || !peer->is_up) {
        return;
    }
    question = mem_alloc(sizeof(*question));
    *question = (struct question){node->index, number, node->agent_epoch};
    sim_post(
        sim, peer, ACTOR_HOST,
        output_ns + rng_log(sim, STREAM_SYNC, 100000, 4 * MS) * sim->net.slow,
        &(struct event){.run = on_ping, .data = question});
}

/* ---- promises ---- */

/* The file's writers stand in a line, in the kernel: what hung with an agent that was killed is
 * there before what a later one writes. */
static void on_promise_written(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (node->disk_hung_ns != 0) {
        sim_post(
            sim, node, event->actor, WATCH_MOST_NS,
            &(struct event){.run = on_promise_written, .a = event->a, .b = event->b});
        return;
    }
    if (event->b != (int64_t)node->agent_epoch && (uint64_t)event->a < node->promised) {
        return;
    }
    check_promised(sim, node, (uint64_t)event->a);
    node->promised = (uint64_t)event->a;
}

static void on_promise_end(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct err e = {0};
    int result = 0;

    if (node->disk_hung_ns != 0 || (event->b != 0 && node->promised < (uint64_t)event->a)) {
        sim_post(
            sim, node, ACTOR_AGENT, WATCH_MOST_NS * 2,
            &(struct event){.run = on_promise_end, .a = event->a, .b = event->b});
        return;
    }
    if (event->b == 0) {
        result = FAIL(&e, ERR_IO, "the promise could not be written");
        check_mark(sim, MARK_PROMISE_FAILED);
    }
    node->driver.promise = 0;
    agent_on_promise(node->agent, (uint64_t)event->a, result, &e);
    agent_touch(sim, node);
}

/* An agent that dies meanwhile leaves it either way. */
void driver_promise(struct sim *sim, struct node *node, uint64_t term)
{
    bool is_fine =
        !node->has_bad_disk && node->disk_failed_ns == 0 && !rng_chance(sim, STREAM_SYNC, 20);
    bool is_written = is_fine || rng_chance(sim, STREAM_SYNC, 300);
    enum actor writer = rng_chance(sim, STREAM_SYNC, 500) ? ACTOR_HOST : ACTOR_AGENT;
    int64_t delay_ns =
        agent_output_delay(sim, node) +
        rng_log(sim, STREAM_SYNC, 200000, rng_chance(sim, STREAM_SYNC, 50) ? SECOND : 20 * MS);

    ASSERT(node->driver.promise == 0);
    node->driver.promise = term;
    if (is_written) {
        sim_post(
            sim, node, writer, delay_ns,
            &(struct event){
                .run = on_promise_written, .a = (int64_t)term, .b = (int64_t)node->agent_epoch});
    }
    sim_post(
        sim, node, ACTOR_AGENT, delay_ns + rng_log(sim, STREAM_SYNC, 50000, 2 * MS),
        &(struct event){.run = on_promise_end, .a = (int64_t)term, .b = is_fine});
}
