#include "tests/sim/operator.h"
#include "tests/sim/sync.h"

#include "base/assert.h"

#define RING_LINES 4000

/* ---- events ---- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_push(struct sim *sim, const struct event *event)
{
    unsigned at = sim->heap_count++;

    if (sim->heap_count > sim->heap_space) {
        sim->heap_space = MAX(256u, sim->heap_space * 2);
        sim->heap = mem_resize(sim->heap, sim->heap_space * sizeof(*sim->heap));
    }
    while (at > 0 && is_before(event, &sim->heap[(at - 1) / 2])) {
        sim->heap[at] = sim->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->heap[at] = *event;
}

static struct event heap_pop(struct sim *sim)
{
    struct event top = sim->heap[0];
    struct event last = sim->heap[--sim->heap_count];
    unsigned at = 0;

    for (;;) {
        unsigned child = at * 2 + 1;

        if (child >= sim->heap_count) {
            break;
        }
        if (child + 1 < sim->heap_count && is_before(&sim->heap[child + 1], &sim->heap[child])) {
            child++;
        }
        if (!is_before(&sim->heap[child], &last)) {
            break;
        }
        sim->heap[at] = sim->heap[child];
        at = child;
    }
    if (sim->heap_count > 0) {
        sim->heap[at] = last;
    }
    return top;
}

static uint32_t epoch_of(const struct node *node, enum actor actor)
{
    switch (actor) {
    case ACTOR_AGENT:
        return node->agent_epoch;
    case ACTOR_HOST:
        return node->host_epoch;
    case ACTOR_SERVER:
        return node->server.epoch;
    case ACTOR_WORLD:
        break;
    }
    return 0;
}

bool node_is_frozen(const struct sim *sim, const struct node *node)
{
    return sim->now_ns < node->host_frozen_until_ns;
}

bool agent_is_frozen(const struct sim *sim, const struct node *node)
{
    return node_is_frozen(sim, node) || sim->now_ns < node->agent_frozen_until_ns;
}

static bool is_frozen(const struct sim *sim, const struct node *node, enum actor actor)
{
    if (actor == ACTOR_SERVER && server_is_stuck(node)) {
        return true;
    }
    return actor != ACTOR_WORLD &&
           (actor == ACTOR_AGENT ? agent_is_frozen(sim, node) : node_is_frozen(sim, node));
}

void sim_post(
    struct sim *sim, struct node *node, enum actor actor, int64_t delay_ns,
    const struct event *event)
{
    struct event planned = *event;

    ASSERT(delay_ns >= 0);
    planned.at_ns = sim->now_ns + delay_ns;
    planned.order = sim->orders++;
    planned.actor = actor;
    planned.node = node != NULL ? node->index : 0;
    planned.epoch = node != NULL ? epoch_of(node, actor) : 0;
    heap_push(sim, &planned);
}

static void keep_for_thaw(struct node *node, const struct event *event)
{
    if (node->frozen_count == node->frozen_space) {
        node->frozen_space = MAX(16u, node->frozen_space * 2);
        node->frozen = mem_resize(node->frozen, node->frozen_space * sizeof(*node->frozen));
    }
    node->frozen[node->frozen_count++] = *event;
}

/* What waited runs now, in the order in which it came; what is still frozen waits again. */
static void release_frozen(struct sim *sim, struct node *node)
{
    for (unsigned at = 0; at < node->frozen_count; at++) {
        struct event event = node->frozen[at];

        event.at_ns = sim->now_ns;
        event.order = sim->orders++;
        heap_push(sim, &event);
    }
    node->frozen_count = 0;
}

static void mix_hash(struct sim *sim, uint64_t value)
{
    sim->hash = (sim->hash ^ value) * UINT64_C(0x100000001B3);
    sim->hash ^= sim->hash >> 29;
}

bool sim_turn(struct sim *sim, int64_t until_ns)
{
    struct event event;
    struct node *node;

    if (sim->heap_count == 0 || sim->heap[0].at_ns > until_ns) {
        sim->now_ns = MAX(sim->now_ns, until_ns);
        return false;
    }
    event = heap_pop(sim);
    ASSERT(event.at_ns >= sim->now_ns);
    sim->now_ns = event.at_ns;
    node = &sim->nodes[event.node];
    if (event.actor != ACTOR_WORLD && event.epoch != epoch_of(node, event.actor)) {
        mem_free(event.data);
        return true;
    }
    if (is_frozen(sim, node, event.actor)) {
        keep_for_thaw(node, &event);
        return true;
    }
    if (event.actor == ACTOR_AGENT && node->busy_until_ns > sim->now_ns) {
        event.at_ns = node->busy_until_ns;
        heap_push(sim, &event);
        return true;
    }
    sim->events++;
    mix_hash(sim, (uint64_t)event.at_ns * 64 + event.node * 8 + (uint64_t)event.actor);
    event.run(sim, &event);
    mem_free(event.data);
    return true;
}

void sim_run(struct sim *sim, int64_t until_ns)
{
    while (sim->check.verdict == VERDICT_FINE && sim_turn(sim, until_ns)) {
    }
}

/* ---- the trace ---- */

static void ring_add(struct sim *sim, const char *text)
{
    char **slot;

    if (sim->ring == NULL) {
        sim->ring = mem_alloc_array(RING_LINES, sizeof(*sim->ring));
    }
    slot = &sim->ring[sim->ring_at++ % RING_LINES];
    mem_free(*slot);
    *slot = mem_dup(text);
}

void sim_ring_print(struct sim *sim, unsigned last)
{
    unsigned count = MIN(MIN(sim->ring_at, (unsigned)RING_LINES), last);

    for (unsigned at = sim->ring_at - count; at < sim->ring_at; at++) {
        printf("%s\n", sim->ring[at % RING_LINES]);
    }
}

static void trace_text(struct sim *sim, const char *node, const char *rule, const char *text)
{
    char line[700];
    int64_t at_ms = sim->now_ns / MS;

    for (const char *c = rule; *c != '\0'; c++) {
        mix_hash(sim, (uint64_t)(unsigned char)*c);
    }
    if (!sim->is_tracing) {
        return;
    }
    IGNORE(
        !str_format(
            line, sizeof(line), "%4" PRId64 ".%03" PRId64 " %-5s %-20s %s", at_ms / 1000,
            at_ms % 1000, node, rule, text),
        "cut is fine");
    if (sim->line != NULL) {
        sim->line(sim, line);
    } else {
        ring_add(sim, line);
    }
}

void sim_trace(struct sim *sim, const struct node *node, const char *rule, const char *format, ...)
{
    char text[600] = "";
    va_list args;

    if (sim->is_tracing) {
        va_start(args, format);
        IGNORE(vsnprintf(text, sizeof(text), format, args) < 0, "cut is fine");
        va_end(args);
    }
    trace_text(sim, node != NULL ? node->name : "-", rule, text);
}

/* ---- the ports of an agent ---- */

/* One for each node of the simulation that runs: agents are freed before it. */
static struct port ports[NODES_MAX];

static struct instant port_now(void *arg)
{
    struct port *port = arg;

    return node_now(port->sim, port->node);
}

static int64_t port_real_ms(void *arg)
{
    struct port *port = arg;

    /* 2026-11-23, and the host's own error. */
    return INT64_C(1795392000000) + port->sim->now_ns / MS + port->node->real_offset_ms;
}

static void port_poll(
    void *arg, const char *name, const char *api_url, int64_t timeout_ms, bool is_urgent)
{
    net_poll(arg, name, api_url, timeout_ms, is_urgent);
}

/* At once: a file that is late or lost is no more than an agent that has not seen it. */
static void port_remember(void *arg, const struct lease_past *past)
{
    const struct port *port = arg;
    struct err none = {0};

    if (port->node->disk_hung_ns != 0 || port->node->disk_failed_ns != 0) {
        agent_on_remembered(
            port->node->agent, FAIL(&none, ERR_IO, "the disk takes no write"), &none);
        return;
    }
    port->node->past = *past;
    agent_on_remembered(port->node->agent, 0, &none);
}

static void port_promise(void *arg, uint64_t term)
{
    const struct port *port = arg;

    driver_promise(port->sim, port->node, term);
}

static void port_failsafe(
    void *arg, const char *name, const char *api_url, const char *body, int64_t timeout_ms)
{
    ASSERT(api_url[0] != '\0');
    net_failsafe(arg, name, body, timeout_ms);
}

static void port_log(
    void *arg, enum log_level level, const struct log_field *fields, const char *text)
{
    struct port *port = arg;
    const char *rule = "-";

    for (const struct log_field *field = fields; field->name != NULL; field++) {
        if (str_equal(field->name, "rule") && field->value != NULL) {
            rule = field->value;
        }
    }
    if (port->sim->decision != NULL && seam_rule(rule) < RULES_MAX) {
        port->sim->decision(port->sim, port->node, rule, text);
    }
    trace_text(port->sim, port->node->name, rule, text);
    ASSERT(level <= LOG_LEVEL_ERROR);
}

/* ---- the agent's process ---- */

static void on_step(struct sim *sim, struct event *event);

int64_t agent_output_delay(const struct sim *sim, const struct node *node)
{
    return MAX(node->output_after_ns - sim->now_ns, (int64_t)0);
}

void agent_touch(struct sim *sim, struct node *node)
{
    if (node->agent != NULL && !node->is_step_due) {
        node->is_step_due = true;
        sim_post(
            sim, node, ACTOR_AGENT, rng_log(sim, STREAM_AGENT, 2000, 4 * MS),
            &(struct event){.run = on_step, .a = (int64_t)node->step_timer});
    }
}

static void on_timer(struct sim *sim, struct event *event);

/* One timer event is under way at a time; it is set anew when it comes too early. */
static void want_step(struct sim *sim, struct node *node, int64_t at_ns)
{
    node->wake_ns = at_ns;
    if (node->timer_ns == 0 || at_ns < node->timer_ns) {
        node->timer_ns = at_ns;
        node->step_timer++;
        sim_post(
            sim, node, ACTOR_AGENT, at_ns - sim->now_ns,
            &(struct event){.run = on_timer, .a = (int64_t)node->step_timer});
    }
}

static void on_timer(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if ((uint32_t)event->a != node->step_timer) {
        return;
    }
    node->timer_ns = 0;
    if (sim->now_ns < node->wake_ns) {
        want_step(sim, node, node->wake_ns);
    } else {
        agent_touch(sim, node);
    }
}

static void on_step(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    int64_t stall_ns = node->stall_ns;
    int64_t wake_ms;
    int64_t wake_ns;

    ASSERT(event->data == NULL);
    node->is_step_due = false;
    if (stall_ns > 0) {
        node->stall_ns = 0;
        node->output_after_ns = sim->now_ns + stall_ns;
    }
    seam_watch(sim);
    wake_ms = agent_step(node->agent);
    ASSERT(wake_ms > 0);
    if (node->is_leaving && agent_is_done(node->agent)) {
        sim_trace(sim, node, "agent.exit", "it has left");
        dcs_end_session((struct dcs *)node->store);
        agent_kill(sim, node);
        return;
    }
    node->busy_until_ns = sim->now_ns + rng_log(sim, STREAM_AGENT, 20000, 2 * MS);
    wake_ns =
        clock_until(&node->boot, sim->now_ns, clock_now(&node->boot, sim->now_ns) + wake_ms * MS);
    /* A clock that stands still does so while its host is frozen: what thaws first sets it anew. */
    want_step(sim, node, sim->now_ns + (wake_ns == INT64_MAX ? wake_ms * MS : wake_ns));
    if (stall_ns > 0) {
        sim_trace(sim, node, "sim.stall", "stopped in the middle of a turn");
        /* What it has decided about a server that stands still happens when it goes on. */
        if (server_is_stuck(node) || node->disk_failed_ns != 0) {
            node->heard_ns = sim->now_ns + stall_ns;
        }
        agent_freeze(sim, node, stall_ns);
    }
}

void agent_begin(struct sim *sim, struct node *node)
{
    struct agent_ports agent_ports = {
        .node_id = node->id,
        .promised = node->promised,
        .past = node->past,
        .now = port_now,
        .real_ms = port_real_ms,
        .poll = port_poll,
        .promise = port_promise,
        .failsafe = port_failsafe,
        .remember = port_remember,
        .log = port_log,
        .arg = &ports[node->index],
    };

    if (node->agent != NULL || !node->is_up) {
        return;
    }
    ports[node->index] = (struct port){sim, node};
    sim_trace(sim, node, "agent.start", "the agent starts");
    node->agent_epoch++;
    node->agent_began_ns = sim->now_ns;
    node->is_misled = store_is_stale(sim, node->index);
    node->is_step_due = false;
    node->timer_ns = 0;
    node->is_leaving = false;
    node->output_after_ns = 0;
    node->stall_ns = 0;
    agent_ports.dcs = store_connect(sim, node);
    agent_ports.engine = engine_connect(sim, node);
    node->store = (struct store_handle *)agent_ports.dcs;
    node->engine = (struct sim_engine *)agent_ports.engine;
    node->agent = agent_new(&node->config, &agent_ports);
    agent_start(node->agent);
    agent_touch(sim, node);
}

void agent_kill(struct sim *sim, struct node *node)
{
    if (node->agent == NULL) {
        return;
    }
    sim_trace(sim, node, "agent.end", "the agent's process ends");
    /* Nothing reaches it any more; the store's open transactions end inside dcs_free, as dcs.h
     * says. */
    dcs_free((struct dcs *)node->store);
    engine_free((struct engine *)node->engine);
    agent_free(node->agent);
    node->agent = NULL;
    node->store = NULL;
    node->engine = NULL;
    node->agent_epoch++;
    node->able_since_ns = 0;
    node->agent_frozen_until_ns = 0;
    memset(node->polls, 0, sizeof(node->polls));
    memset(node->asks, 0, sizeof(node->asks));
}

static void on_thaw(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (event->a != 0 && event->a == node->host_frozen_until_ns) {
        guard_check(sim, node);
        check_open(sim);
    }
    release_frozen(sim, node);
}

void node_release(struct sim *sim, struct node *node)
{
    sim_post(sim, node, ACTOR_WORLD, 0, &(struct event){.run = on_thaw});
}

void agent_freeze(struct sim *sim, struct node *node, int64_t length_ns)
{
    node->agent_frozen_until_ns = MAX(node->agent_frozen_until_ns, sim->now_ns + length_ns);
    sim_post(sim, node, ACTOR_WORLD, length_ns, &(struct event){.run = on_thaw});
}

/* ---- hosts ---- */

void node_freeze(struct sim *sim, struct node *node, int64_t length_ns)
{
    if (sim->now_ns + length_ns <= node->host_frozen_until_ns) {
        return;
    }
    node->host_frozen_until_ns = sim->now_ns + length_ns;
    node->excused_until_ns = node->host_frozen_until_ns + EXCUSE_NS;
    sim_post(
        sim, node, ACTOR_WORLD, length_ns,
        &(struct event){.run = on_thaw, .a = node->host_frozen_until_ns});
    check_open(sim);
}

void node_thaw(struct sim *sim, struct node *node)
{
    bool was_host = node_is_frozen(sim, node);

    node->agent_frozen_until_ns = 0;
    node->output_after_ns = MIN(node->output_after_ns, sim->now_ns);
    node->host_frozen_until_ns = was_host ? sim->now_ns : 0;
    node->excused_until_ns = was_host ? sim->now_ns + EXCUSE_NS : node->excused_until_ns;
    sim_post(
        sim, node, ACTOR_WORLD, 0,
        &(struct event){.run = on_thaw, .a = node->host_frozen_until_ns});
}

void node_boot(struct sim *sim, struct node *node)
{
    int64_t ppm = rng_between(sim, STREAM_SHAPE, -450, 450);
    int64_t up_ns = rng_log(sim, STREAM_SHAPE, SECOND, 4000000 * SECOND);

    if (node->is_up) {
        return;
    }
    node->is_up = true;
    node->boot = (struct clock){.since_ns = sim->now_ns, .value_ns = up_ns, .ppm = ppm};
    node->raw = (struct clock){.since_ns = sim->now_ns, .value_ns = up_ns - SECOND / 2, .ppm = ppm};
    sim_trace(sim, node, "host.up", "the host is up");
}

void node_make_id(struct sim *sim, struct node *node)
{
    uint64_t high = rng_next(sim, STREAM_SHAPE);
    uint64_t low = rng_next(sim, STREAM_SHAPE);

    IGNORE(!str_format(node->id, sizeof(node->id), "%016" PRIx64 "%016" PRIx64, high, low), "fits");
}

void node_power_off(struct sim *sim, struct node *node)
{
    if (!node->is_up) {
        return;
    }
    sim_trace(sim, node, "host.off", "the host loses power");
    agent_kill(sim, node);
    node->is_up = false;
    node->disk_hung_ns = 0; /* a reset ends what hung */
    server_kill(sim, node, "power");
    node->host_epoch++;
    node->guard = (struct guard){0};
    check_open(sim);
}

struct node *sim_find(struct sim *sim, const char *name)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        if (str_equal(sim->nodes[at].name, name)) {
            return &sim->nodes[at];
        }
    }
    return NULL;
}

/* ---- a world ---- */

static void configure(struct sim *sim, struct node *node)
{
    struct config *config = &node->config;
    char json[800];

    operator_write_base(sim, sim->shape.ttl_ms);
    IGNORE(!str_copy(json, sizeof(json), sim->base_config), "larger");
    sync_add_config(sim, json, sizeof(json));
    str_copy(config->name, sizeof(config->name), node->name);
    str_copy(config->scope, sizeof(config->scope), "sim");
    str_copy(config->prefix, sizeof(config->prefix), "/service/sim/");
    str_format(
        config->restapi.connect.host, sizeof(config->restapi.connect.host), "10.0.0.%u",
        node->index + 1);
    config->restapi.connect.port = 8008;
    config->postgresql.connect = config->restapi.connect;
    config->postgresql.connect.port = 5432;
    config->bootstrap.dcs_json = mem_dup(json);
    str_copy(
        config->postgresql.replication.password, sizeof(config->postgresql.replication.password),
        "secret");
    config->tags = (struct member_tags)MEMBER_TAGS_DEFAULT;
    config->tags.nofailover = (int)node->index == sim->shape.nofailover;
    config->tags.nosync = (int)node->index == sim->shape.nosync;
}

struct sim *sim_new(uint64_t seed, const struct shape *shape)
{
    struct sim *sim = mem_alloc(sizeof(*sim));

    seam_reset();
    sim->seed = seed;
    sim->hash = seed;
    sim->net.slow = 1;
    sim->check.official = -1;
    sim->check.converged_ns = -1;
    sim->now_ns = SECOND;
    if (shape != NULL) {
        sim->shape = *shape;
        sim->fences = 1u << FENCE_GUARD;
    } else {
        sim_shape_draw(sim);
        fence_draw(sim);
    }
    sim->settings = (struct settings){
        .mode = sim->shape.sync_mode,
        .is_strict = sim->shape.is_sync_strict,
        .count = sim->shape.sync_count};
    sim->store = store_new(sim);
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[at];

        node->index = at;
        IGNORE(!str_format(node->name, sizeof(node->name), "n%u", at + 1), "fits");
        node->disk = (struct disk){.end = {-1, 0}, .minimum = {-1, 0}, .upstream = -1};
        node->real_offset_ms = rng_between(sim, STREAM_SHAPE, -100, 100);
        configure(sim, node);
        node_make_id(sim, node);
        node_boot(sim, node);
    }
    return sim;
}

void sim_free(struct sim *sim)
{
    if (sim == NULL) {
        return;
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[at];

        agent_kill(sim, node);
        for (unsigned event = 0; event < node->frozen_count; event++) {
            mem_free(node->frozen[event].data);
        }
        mem_free(node->frozen);
        mem_free(node->config.bootstrap.dcs_json);
    }
    for (unsigned at = 0; at < sim->heap_count; at++) {
        mem_free(sim->heap[at].data);
    }
    mem_free(sim->heap);
    store_free(sim->store);
    wal_fini(&sim->wal);
    for (unsigned at = 0; sim->ring != NULL && at < RING_LINES; at++) {
        mem_free(sim->ring[at]);
    }
    mem_free(sim->ring);
    mem_free(sim);
}
