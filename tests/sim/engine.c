#include "tests/sim/sync.h"

#include "base/assert.h"

/* The engine's driver: the part that lives in the agent's process. It passes orders on with a
 * delay, looks at the server and reports, late by a moment. Copying (clone, rewind, bootstrap) is
 * done by children of the agent and ends with it. */

struct sim_engine {
    struct engine engine;
    struct sim *sim;
    struct node *node;
    struct engine_listener listener;
    struct engine_order_args args; /* order ORDER_NONE: none in progress */
    uint32_t order_number;
    struct instant confirmed; /* deadline as last heard from the guard */
    int64_t reported_ns;      /* delivery of the newest status: they keep their order */
    uint32_t source_epoch;    /* of the server copied from */
    uint32_t tried_timeline;
    bool is_started;
};

/* What a start after a crash has to replay, by the time that it may take. */
#define RECOVERY_BYTES_PER_MS 50000u

/* ---- status ---- */

static enum server_state state_of(const struct node *node)
{
    switch (node->server.run) {
    case RUN_STARTING:
        return SERVER_STARTING;
    case RUN_STANDBY:
    case RUN_PROMOTING:
        return SERVER_STANDBY;
    case RUN_PRIMARY:
        return SERVER_PRIMARY;
    case RUN_STOPPING:
        return SERVER_STOPPING;
    case RUN_NONE:
        break;
    }
    switch (node->disk.kind) {
    case DISK_ABSENT:
        return SERVER_ABSENT;
    case DISK_BROKEN:
        return SERVER_BROKEN;
    case DISK_PRESENT:
        break;
    }
    return SERVER_DOWN;
}

static uint32_t timeline_of(const struct sim *sim, struct place place)
{
    return place.branch >= 0 ? sim->wal.branches[place.branch].timeline : 0;
}

static void fill_position(const struct sim *sim, const struct node *node, struct engine_status *ret)
{
    const struct disk *disk = &node->disk;
    struct place place = disk->end;

    if (ret->state == SERVER_STANDBY) {
        /* A receiver that does not reach anybody has been told where to begin. */
        ret->received_lsn =
            node->server.has_received || (disk->upstream >= 0 && disk->replayed == disk->end.lsn)
                ? disk->end.lsn
                : 0;
        ret->replayed_lsn = disk->replayed;
        place.lsn = MAX(ret->received_lsn, ret->replayed_lsn);
        place.lsn = MAX(place.lsn, node->server.tail);
    } else if (ret->state == SERVER_DOWN && disk->minimum.branch >= 0) {
        place = disk->minimum; /* as the control file has it */
    } else if (ret->state == SERVER_DOWN && !ret->is_end_known) {
        place = disk->checkpoint;
    } else if (ret->state == SERVER_STARTING || ret->state == SERVER_STOPPING) {
        place = (struct place){-1, 0};
    }
    if (ret->state == SERVER_STARTING && node->server.is_recovered && disk->minimum.branch >= 0) {
        ret->needed = (struct position){timeline_of(sim, disk->minimum), disk->minimum.lsn};
    }
    if (ret->is_end_known && !disk->is_clean) {
        ret->recovery_bytes = (uint64_t)(sim->shape.recovery_ns / MS) * RECOVERY_BYTES_PER_MS;
    }
    if (place.branch >= 0) {
        ret->position = (struct position){timeline_of(sim, place), place.lsn};
        ret->history = wal_history(&sim->wal, place.branch);
    }
}

static struct instant since(const struct sim *sim, const struct node *node, int64_t ns)
{
    return ns != 0 ? instant_add_ms(node_now(sim, node), -(sim->now_ns - ns) / MS)
                   : (struct instant){0};
}

static void fill_trouble(const struct sim *sim, const struct node *node, struct engine_status *ret)
{
    ret->silent = since(sim, node, node->silent_ns);
    if (node->disk_hung_ns != 0) {
        ret->disk = TROUBLE_DISK_HUNG;
        ret->disk_ill = since(sim, node, node->disk_hung_ns);
    } else if (node->disk_failed_ns != 0) {
        ret->disk = TROUBLE_DISK_FAILED;
        ret->disk_ill = since(sim, node, node->disk_failed_ns);
    } else if (node->disk_full_ns != 0) {
        ret->disk = TROUBLE_DISK_FULL;
        ret->disk_ill = since(sim, node, node->disk_full_ns);
    }
}

static void fill_status(const struct sim *sim, const struct node *node, struct engine_status *ret)
{
    const struct disk *disk = &node->disk;

    *ret = (struct engine_status){
        .state = state_of(node),
        .version = 150018,
        .deadline = node->guard.deadline,
        .is_opened = node->guard.is_open,
        .is_guarded = true,
        .is_promoting = node->server.run == RUN_PROMOTING &&
                        engine_in_progress(node) == ORDER_PROMOTE, /* nobody sees another's */
        .is_streaming = node->server.run == RUN_STANDBY && node->server.is_streaming,
        .is_checkpointed = disk->is_checkpointed,
    };
    ret->tried_timeline = node->engine->tried_timeline;
    ret->is_outgrown = ret->state == SERVER_STANDBY && node->server.is_outgrown;
    ret->looked = node_now(sim, node);
    ret->is_answering =
        (ret->state == SERVER_STANDBY || ret->state == SERVER_PRIMARY) && node->silent_ns == 0;
    ret->is_watchdog_failed = node->is_watchdog_failed;
    fill_trouble(sim, node, ret);
    if (disk->kind != DISK_PRESENT) {
        str_copy(
            ret->problem, sizeof(ret->problem),
            disk->kind == DISK_BROKEN ? "the control file is damaged" : "");
        return;
    }
    ret->system_id = disk->system_id;
    ret->was_clean = ret->state == SERVER_DOWN && disk->is_clean && !disk->is_torn;
    ret->is_torn = ret->state == SERVER_DOWN && disk->is_torn;
    ret->is_starved = disk->is_starved;
    ret->was_primary = ret->state == SERVER_DOWN && disk->was_primary;
    if (disk->is_torn) {
        return;
    }
    if (disk->upstream >= 0) {
        str_copy(ret->upstream, sizeof(ret->upstream), sim->nodes[disk->upstream].name);
    }
    driver_fill_status(sim, node, ret);
    fill_position(sim, node, ret);
}

static void on_status(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    const struct engine_status *status = event->data;

    node->engine->confirmed = status->deadline;
    node->engine->listener.on_status(node->engine->listener.arg, status);
    agent_touch(sim, node);
}

static int64_t next_report_delay(struct sim *sim, struct sim_engine *engine)
{
    int64_t at_ns = sim->now_ns + rng_log(sim, STREAM_SERVER, 100000, 3 * MS);

    engine->reported_ns = MAX(engine->reported_ns + 1, at_ns);
    return engine->reported_ns - sim->now_ns;
}

void engine_changed(struct sim *sim, struct node *node)
{
    struct engine_status *status;

    if (node->engine == NULL || !node->engine->is_started || !node->is_up) {
        return;
    }
    status = mem_alloc(sizeof(*status));
    fill_status(sim, node, status);
    driver_notice(sim, node);
    sim_post(
        sim, node, ACTOR_AGENT, next_report_delay(sim, node->engine),
        &(struct event){.run = on_status, .data = status});
}

static void on_probe(struct sim *sim, struct event *event)
{
    engine_changed(sim, &sim->nodes[event->node]);
    ASSERT(event->data == NULL);
}

static void on_pace(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    sim_post(
        sim, node, ACTOR_HOST, rng_log(sim, STREAM_SERVER, 100000, 2 * MS),
        &(struct event){.run = on_probe});
    sim_post(
        sim, node, ACTOR_AGENT, sim->shape.pace_ns,
        &(struct event){.run = on_pace, .a = event->a, .b = event->b});
}

/* ---- the end of orders ---- */

struct order_end {
    enum engine_order order;
    uint32_t number;
    int result;
    const char *why;
};

static void on_order_end(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct sim_engine *engine = node->engine;
    const struct order_end *end = event->data;
    struct err e = {0};

    if (engine->args.order != end->order || engine->order_number != end->number) {
        return;
    }
    engine->args.order = ORDER_NONE;
    if (end->result < 0) {
        err_set(&e, end->result, __FILE__, __LINE__, "%s", end->why);
    }
    engine->listener.on_order(engine->listener.arg, end->order, end->result, &e);
    agent_touch(sim, node);
}

void engine_done(
    struct sim *sim, struct node *node, enum engine_order order, int result, const char *why)
{
    struct order_end *end;

    if (node->engine == NULL || node->engine->args.order != order) {
        return;
    }
    engine_changed(sim, node);
    end = mem_alloc(sizeof(*end));
    *end = (struct order_end){order, node->engine->order_number, result, why};
    sim_post(
        sim, node, ACTOR_AGENT, next_report_delay(sim, node->engine),
        &(struct event){.run = on_order_end, .data = end});
}

enum engine_order engine_in_progress(const struct node *node)
{
    return node->engine != NULL ? node->engine->args.order : ORDER_NONE;
}

bool engine_is_order(const struct node *node, enum engine_order order, uint32_t number)
{
    return node->engine != NULL && node->engine->args.order == order &&
           node->engine->order_number == number;
}

const struct engine_order_args *engine_args(const struct node *node)
{
    return &node->engine->args;
}

/* Watches the server while an order waits for it: a server that is gone ends the order. */
#define WATCH_NS (20 * MS)

static void on_watch(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    enum engine_order order = node->engine->args.order;
    enum run run = node->server.run;

    if (order == ORDER_NONE || node->engine->order_number != (uint32_t)event->a) {
        return;
    }
    if ((order == ORDER_STOP && run == RUN_NONE) ||
        (order == ORDER_REVOKE && driver_is_detached(node))) {
        engine_done(sim, node, order, 0, NULL);
    } else if (
        (order == ORDER_PROMOTE && run != RUN_PROMOTING && run != RUN_PRIMARY) ||
        (order == ORDER_CHECKPOINT && run != RUN_PRIMARY) ||
        (order == ORDER_REVOKE && run != RUN_STANDBY) ||
        (order == ORDER_FOLLOW && run != RUN_STANDBY && run != RUN_STARTING)) {
        engine_done(sim, node, order, ERR_DATABASE, "the server is gone");
    } else {
        sim_post(sim, node, ACTOR_AGENT, WATCH_NS, &(struct event){.run = on_watch, .a = event->a});
        return;
    }
}

/* ---- copying ---- */

static struct node *source_of(struct sim *sim, const struct sim_engine *engine)
{
    return sim_find(sim, engine->args.peer.name);
}

static bool can_copy_from(const struct sim *sim, const struct node *node, const struct node *source)
{
    return source != NULL && source != node && source->is_up &&
           !net_is_cut(sim, node->index, source->index) &&
           !net_is_cut(sim, source->index, node->index) && !node_is_frozen(sim, source) &&
           !server_is_stuck(source) && !source->has_no_connections &&
           (source->server.run == RUN_STANDBY || source->server.run == RUN_PRIMARY);
}

static void copy_disk(struct sim *sim, struct node *node, const struct node *source)
{
    node->disk = (struct disk){
        .kind = DISK_PRESENT,
        .system_id = source->disk.system_id,
        .end = source->disk.end,
        .rule = source->disk.rule,
        .minimum = source->disk.end,
        .checkpoint = source->disk.checkpoint,
        .replayed = source->disk.checkpoint.lsn,
        .timeline_max = source->disk.timeline_max,
        .upstream = -1,
        .changed_ns = sim->now_ns,
        .is_checkpointed = true,
    };
}

/* Go back to the last common point and ask for everything up to the source's present end. Without a
 * checkpoint on its new timeline the source still claims the old one: pg_rewind sees nothing to do,
 * and says that all is well. */
static void rewind_disk(struct sim *sim, struct node *node, const struct node *source)
{
    struct place common = node->disk.end;

    if (!source->disk.is_checkpointed) {
        sim_trace(
            sim, node, "server.rewind", "no rewind required, says pg_rewind: no checkpoint there");
        return;
    }
    while (common.branch >= 0 && !wal_contains(&sim->wal, source->disk.end, common)) {
        const struct branch *branch = &sim->wal.branches[common.branch];
        struct place here = {common.branch, 0};

        if (wal_contains(&sim->wal, source->disk.end, here)) {
            /* The source left this branch earlier: find where, by its own path. */
            struct place at = source->disk.end;

            while (at.branch != common.branch) {
                at = (struct place){
                    sim->wal.branches[at.branch].parent, sim->wal.branches[at.branch].fork};
            }
            common = at;
            break;
        }
        common = (struct place){branch->parent, MIN(common.lsn, branch->fork)};
    }
    if (common.branch < 0) {
        node->disk.kind = DISK_BROKEN;
        return;
    }
    node->disk.end = common;
    node->disk.minimum = source->disk.end;
    node->disk.checkpoint = common;
    node->disk.replayed = common.lsn;
    node->disk.timeline_max = source->disk.timeline_max;
    node->disk.rule = source->disk.rule;
    node->disk.is_clean = false;
    node->disk.was_primary = false;
    node->disk.changed_ns = sim->now_ns;
}

/* A rewind was interrupted: neither the data that it had nor the data that it was to get. */
static void tear(struct node *node)
{
    node->disk.is_torn = true;
    node->disk.end = (struct place){-1, 0};
    node->disk.minimum = (struct place){-1, 0};
}

static void make_database(struct sim *sim, struct node *node)
{
    struct branch branch = {
        .parent = -1,
        .timeline = 1,
        .opener = node->index,
        .system_id = rng_next(sim, STREAM_SERVER) | 1};

    node->disk = (struct disk){
        .kind = DISK_PRESENT,
        .system_id = branch.system_id,
        .end = {wal_add(sim, &branch), 16777216},
        .minimum = {-1, 0},
        .upstream = -1,
        .timeline_max = 1,
        .is_clean = true,
        .is_checkpointed = true,
        .changed_ns = sim->now_ns,
    };
    node->disk.checkpoint = node->disk.end;
    node->disk.complete = node->disk.end;
    node->disk.replayed = node->disk.end.lsn;
    node->made_epoch = node->agent_epoch;
}

static void on_copied(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct sim_engine *engine = node->engine;
    struct node *source = source_of(sim, engine);
    enum engine_order order = engine->args.order;

    if (engine->order_number != (uint32_t)event->a || order == ORDER_NONE) {
        return;
    }
    if (node->disk_hung_ns != 0) {
        sim_post(
            sim, node, ACTOR_AGENT, WATCH_NS, &(struct event){.run = on_copied, .a = event->a});
        return;
    }
    if (order == ORDER_BOOTSTRAP) {
        make_database(sim, node);
        engine_done(sim, node, order, 0, NULL);
        return;
    }
    if (!can_copy_from(sim, node, source) || source->server.epoch != engine->source_epoch) {
        if (order == ORDER_REWIND) {
            tear(node);
        }
        engine_done(sim, node, order, ERR_NETWORK, "the source went away");
        return;
    }
    if (order == ORDER_CLONE) {
        copy_disk(sim, node, source);
    } else {
        rewind_disk(sim, node, source);
    }
    engine_done(sim, node, order, 0, NULL);
}

static void begin_copy(struct sim *sim, struct node *node)
{
    struct sim_engine *engine = node->engine;
    enum engine_order order = engine->args.order;
    struct node *source = source_of(sim, engine);
    int64_t length_ns = rng_log(sim, STREAM_SERVER, sim->shape.clone_ns / 8, sim->shape.clone_ns);

    if (node->server.run != RUN_NONE ||
        (order == ORDER_BOOTSTRAP && node->disk.kind != DISK_ABSENT) ||
        (order == ORDER_REWIND && node->disk.kind != DISK_PRESENT)) {
        engine_done(sim, node, order, ERR_CONFLICT, "the data directory is in use");
        return;
    }
    if (order == ORDER_REWIND && node->disk.is_torn) {
        check_fail(sim, VERDICT_SAFETY, "W: %s: a torn data directory is rewound", node->name);
    }
    if (order != ORDER_BOOTSTRAP) {
        if (!can_copy_from(sim, node, source)) {
            engine_done(sim, node, order, ERR_NETWORK, "the source does not answer");
            return;
        }
        check_replaced(sim, node, engine_order_text(order));
        engine->source_epoch = source->server.epoch;
    }
    if (order == ORDER_CLONE) {
        node->disk = (struct disk){.end = {-1, 0}, .minimum = {-1, 0}, .upstream = -1};
        engine_changed(sim, node);
    }
    sim_post(
        sim, node, ACTOR_AGENT, length_ns,
        &(struct event){.run = on_copied, .a = (int64_t)engine->order_number});
}

/* ---- orders ---- */

static void on_checkpointed(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (node->server.run == RUN_PRIMARY) {
        node->disk.is_checkpointed = true;
        node->disk.checkpoint = node->disk.end;
        engine_changed(sim, node);
        engine_done(sim, node, ORDER_CHECKPOINT, 0, NULL);
    }
    ASSERT(event->data == NULL);
}

static void on_followed(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (node->server.run == RUN_STANDBY || node->server.run == RUN_STARTING) {
        server_follow(sim, node, (int)event->a);
        engine_done(sim, node, ORDER_FOLLOW, 0, NULL);
    }
}

static void begin_start(struct sim *sim, struct node *node, int upstream)
{
    if (node->server.run != RUN_NONE || node->disk.kind != DISK_PRESENT) {
        engine_done(sim, node, ORDER_START, ERR_CONFLICT, "it runs already, or there is no data");
        return;
    }
    if (node->disk.is_torn) {
        check_fail(sim, VERDICT_SAFETY, "W: %s: a torn data directory is started", node->name);
        return;
    }
    if (node->has_bad_disk && rng_chance(sim, STREAM_SERVER, 500)) {
        engine_done(sim, node, ORDER_START, ERR_DATABASE, "the server does not start");
        return;
    }
    driver_write_rule(sim, node);
    server_start(sim, node, upstream);
    engine_done(sim, node, ORDER_START, 0, NULL);
}

static void begin_promote(struct sim *sim, struct node *node)
{
    if (node->server.run == RUN_PROMOTING && !node->server.is_by_hand) {
        /* The agent that had begun it has died. Asked once more it goes on as it was. */
        node->engine->tried_timeline = node->engine->args.timeline;
        return;
    }
    if (node->server.run != RUN_STANDBY) {
        engine_done(sim, node, ORDER_PROMOTE, ERR_CONFLICT, "it is not a standby");
        return;
    }
    if (node->is_promotion_refused) {
        engine_done(sim, node, ORDER_PROMOTE, ERR_IO, "the log cannot be written");
        return;
    }
    node->engine->tried_timeline = node->engine->args.timeline;
    if (node->engine->args.timeline <= node->disk.timeline_max) {
        engine_done(sim, node, ORDER_PROMOTE, ERR_CONFLICT, "that timeline is known here already");
        return;
    }
    if (node->engine->args.timeline - sim->wal.branches[node->disk.end.branch].timeline >
        ENGINE_TIMELINES_SKIPPED_MAX) {
        engine_done(sim, node, ORDER_PROMOTE, ERR_LIMIT, "that timeline is too far above");
        return;
    }
    driver_write_rule(sim, node);
    node->guard.is_open = true;
    server_promote(sim, node, node->engine->args.timeline);
}

/* Its configuration has nobody to follow any more, and its receiver ends. */
static void on_revoked(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    ASSERT(event->data == NULL);
    if (node->server.run == RUN_STANDBY) {
        server_follow(sim, node, -1);
    }
}

static void begin_revoke(struct sim *sim, struct node *node)
{
    sim_post(
        sim, node, ACTOR_SERVER, rng_log(sim, STREAM_SYNC, 2 * MS, 120 * MS),
        &(struct event){.run = on_revoked});
}

/* The order reaches the guard, the server, or the child that does it. */
static void on_order_begin(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    const struct sim_engine *engine = node->engine;
    const struct node *upstream;

    if (engine == NULL || engine->order_number != (uint32_t)event->a) {
        return;
    }
    upstream = sim_find(sim, engine->args.peer.name);
    switch (engine->args.order) {
    case ORDER_BOOTSTRAP:
    case ORDER_CLONE:
    case ORDER_REWIND:
        begin_copy(sim, node);
        return;
    case ORDER_START:
        begin_start(sim, node, upstream != NULL ? (int)upstream->index : -1);
        return;
    case ORDER_STOP:
        server_stop(sim, node, engine->args.stop_mode);
        break;
    case ORDER_PROMOTE:
        begin_promote(sim, node);
        break;
    case ORDER_CHECKPOINT:
        sim_post(
            sim, node, ACTOR_SERVER, rng_log(sim, STREAM_SERVER, 10 * MS, 400 * MS),
            &(struct event){.run = on_checkpointed});
        break;
    case ORDER_FOLLOW:
        sim_post(
            sim, node, ACTOR_SERVER, rng_log(sim, STREAM_SERVER, 3 * MS, 50 * MS),
            &(struct event){
                .run = on_followed, .a = upstream != NULL ? (int64_t)upstream->index : -1});
        break;
    case ORDER_REVOKE:
        begin_revoke(sim, node);
        break;
    case ORDER_FETCH:
        begin_revoke(sim, node);
        fetch_begin(sim, node, event->a);
        return;
    case ORDER_RELOAD:
    case ORDER_NONE:
        break;
    }
    sim_post(sim, node, ACTOR_AGENT, WATCH_NS, &(struct event){.run = on_watch, .a = event->a});
}

/* What the agent sends to its host. A turn that is stopped in the middle sends later, or never if
 * the process dies meanwhile. */
static void on_sent(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    const struct event *sent = event->data;

    sim_post(sim, node, ACTOR_HOST, sent->at_ns, sent);
}

static void send_to_host(struct sim_engine *engine, int64_t delay_ns, const struct event *event)
{
    int64_t output_ns = agent_output_delay(engine->sim, engine->node);
    struct event *late;

    if (output_ns == 0) {
        sim_post(engine->sim, engine->node, ACTOR_HOST, delay_ns, event);
        return;
    }
    late = mem_alloc(sizeof(*late));
    *late = *event;
    late->at_ns = delay_ns;
    sim_post(
        engine->sim, engine->node, ACTOR_AGENT, output_ns,
        &(struct event){.run = on_sent, .data = late});
}

static int engine_do_order(struct engine *base, const struct engine_order_args *args, struct err *e)
{
    struct sim_engine *engine = (struct sim_engine *)base;
    struct sim *sim = engine->sim;
    struct node *node = engine->node;

    if (engine->args.order != ORDER_NONE) {
        return FAIL(e, ERR_CONFLICT, "another order is in progress");
    }
    if (args->order == ORDER_PROMOTE) {
        check_promote_order(sim, node, engine->confirmed);
        if (!instant_is_set(engine->confirmed) ||
            instant_left_ms(engine->confirmed, node_now(sim, node)) < 0) {
            return FAIL(e, ERR_CONFLICT, "the guard holds no deadline");
        }
    }
    engine->args = *args;
    engine->order_number++;
    sim_trace(sim, node, "order", "%s %s", engine_order_text(args->order), args->peer.name);
    send_to_host(
        engine, rng_log(sim, STREAM_SERVER, 50000, 2 * MS),
        &(struct event){.run = on_order_begin, .a = (int64_t)engine->order_number});
    return 0;
}

static void engine_do_arm(struct engine *base, struct instant deadline)
{
    struct sim_engine *engine = (struct sim_engine *)base;

    send_to_host(
        engine, rng_log(engine->sim, STREAM_GUARD, 30000, MS),
        &(struct event){.run = guard_on_arm, .a = deadline.boot_ns, .b = deadline.raw_ns});
}

/* The guard hears everything in order: what was armed after this stays. */
static void engine_do_disarm(struct engine *base)
{
    struct sim_engine *engine = (struct sim_engine *)base;

    send_to_host(
        engine, rng_log(engine->sim, STREAM_GUARD, 30000, MS),
        &(struct event){
            .run = guard_on_disarm, .a = engine->confirmed.boot_ns, .b = engine->confirmed.raw_ns});
}

static void on_kill(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    enum engine_order order = engine_in_progress(node);

    ASSERT(event->data == NULL);
    if (node->server.epoch != (uint32_t)event->a) {
        return; /* said to the guard of an earlier run, by an agent that stood still meanwhile */
    }
    check_killed(sim, node);
    server_kill(sim, node, "the agent");
    if (order == ORDER_START || order == ORDER_FOLLOW) {
        engine_done(sim, node, order, ERR_DATABASE, "killed");
    }
}

static void engine_do_kill(struct engine *base)
{
    struct sim_engine *engine = (struct sim_engine *)base;

    engine->node->server.is_kill_asked = true;
    send_to_host(
        engine, rng_log(engine->sim, STREAM_GUARD, 50000, 50 * MS),
        &(struct event){.run = on_kill, .a = engine->node->server.epoch});
}

static void engine_do_probe(struct engine *base)
{
    struct sim_engine *engine = (struct sim_engine *)base;

    sim_post(
        engine->sim, engine->node, ACTOR_HOST, rng_log(engine->sim, STREAM_SERVER, 100000, 3 * MS),
        &(struct event){.run = on_probe});
}

static void engine_do_start(struct engine *base, const struct engine_listener *listener)
{
    struct sim_engine *engine = (struct sim_engine *)base;

    engine->listener = *listener;
    engine->is_started = true;
    driver_begin(engine->sim, engine->node);
    sim_post(
        engine->sim, engine->node, ACTOR_AGENT,
        rng_log(engine->sim, STREAM_SERVER, 2 * MS, 80 * MS), &(struct event){.run = on_pace});
}

static void engine_do_set_cluster(
    struct engine *base, const struct cluster *cluster, const char *config_json)
{
    ASSERT(base != NULL);
    ASSERT(cluster->member_count <= MEMBERS_MAX);
    ASSERT(config_json == NULL || config_json[0] != '\0');
}

/* The process is gone, and its children with it: a half-made copy is not a database, a half-rewound
 * one is damaged. */
static void engine_do_free(struct engine *base)
{
    struct sim_engine *engine = (struct sim_engine *)base;

    if (engine->args.order == ORDER_REWIND && engine->node->disk.kind == DISK_PRESENT &&
        engine->node->server.run == RUN_NONE && rng_chance(engine->sim, STREAM_SERVER, 500)) {
        tear(engine->node);
    }
    mem_free(engine);
}

static void engine_do_set_sync(struct engine *base, const struct sync_rule *rule, uint64_t serial)
{
    const struct sim_engine *engine = (struct sim_engine *)base;

    driver_set_sync(
        engine->sim, engine->node, rule, serial, agent_output_delay(engine->sim, engine->node));
}

static void engine_do_ping(struct engine *base, const struct engine_peer *peer, int64_t timeout_ms)
{
    const struct sim_engine *engine = (struct sim_engine *)base;

    driver_ping(
        engine->sim, engine->node, peer->name, timeout_ms,
        agent_output_delay(engine->sim, engine->node));
}

void engine_on_ping(struct sim *sim, struct node *node, const char *name, bool is_alive)
{
    node->engine->listener.on_ping(node->engine->listener.arg, name, is_alive);
    agent_touch(sim, node);
}

static const struct engine_driver driver = {
    .name = "simulated",
    .start = engine_do_start,
    .order = engine_do_order,
    .probe = engine_do_probe,
    .arm = engine_do_arm,
    .disarm = engine_do_disarm,
    .kill = engine_do_kill,
    .set_cluster = engine_do_set_cluster,
    .set_sync = engine_do_set_sync,
    .ping = engine_do_ping,
    .free = engine_do_free,
};

struct engine *engine_connect(struct sim *sim, struct node *node)
{
    struct sim_engine *engine = mem_alloc(sizeof(*engine));

    engine->engine.driver = &driver;
    engine->sim = sim;
    engine->node = node;
    return &engine->engine;
}
