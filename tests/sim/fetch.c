#include "tests/sim/sync.h"

#include "base/assert.h"

/* The order FETCH: the end of a dead primary's log, from its agent into the log of a standby. The
 * bytes take their time; a piece of them is there before the rest, and stays there when the rest
 * does not come. */

#define TICK_NS (5 * MS)

/* Such a request may be answered: agent and host live, and the server is down. */
static bool is_giving(const struct sim *sim, const struct node *node, const struct node *source)
{
    return source != NULL && source != node && source->is_up && source->agent != NULL &&
           !node_is_frozen(sim, source) && sim->now_ns >= source->agent_frozen_until_ns &&
           !net_is_cut(sim, node->index, source->index) &&
           !net_is_cut(sim, source->index, node->index) && source->server.run == RUN_NONE &&
           source->disk.kind == DISK_PRESENT && !source->disk.is_torn && source->disk.is_end_read;
}

/* PART of 1000 of what is missing. What comes first is compared with what is here: another history
 * under the same number shows. */
static const char *take_bytes(
    struct sim *sim, struct node *node, const struct node *source, int64_t part)
{
    const struct engine_order_args *args = engine_args(node);
    uint64_t missing;

    if (!is_giving(sim, node, source) || source->disk.end.lsn < args->end.lsn) {
        return "the other agent does not give it";
    }
    if (node->disk.end.branch != source->disk.end.branch ||
        node->disk.system_id != source->disk.system_id) {
        return "the log here is not the beginning of the one that was sent";
    }
    if (node->disk.end.lsn < args->end.lsn) {
        missing = args->end.lsn - node->disk.end.lsn;
        node->disk.end.lsn += missing * (uint64_t)part / 1000;
        node->disk.replayed = node->disk.end.lsn;
        node->disk.changed_ns = sim->now_ns;
    }
    return NULL;
}

static void on_bytes(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    bool is_last = event->b != 0;
    const char *why;

    if (!engine_is_order(node, ORDER_FETCH, (uint32_t)event->a)) {
        return;
    }
    if (!driver_is_detached(node)) {
        engine_done(sim, node, ORDER_FETCH, ERR_CONFLICT, "the server is not detached any more");
        return;
    }
    why = take_bytes(
        sim, node, sim_find(sim, engine_args(node)->peer.name),
        is_last ? 1000 : rng_between(sim, STREAM_SYNC, 0, 1000));
    if (why == NULL && is_last) {
        node->server.tail = engine_args(node)->end.lsn;
    }
    if (why != NULL || is_last) {
        engine_done(sim, node, ORDER_FETCH, why != NULL ? ERR_UNAVAILABLE : 0, why);
        return;
    }
    sim_post(
        sim, node, ACTOR_AGENT, rng_log(sim, STREAM_SYNC, MS, 500 * MS),
        &(struct event){.run = on_bytes, .a = event->a, .b = 1});
}

static void on_tick(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (!engine_is_order(node, ORDER_FETCH, (uint32_t)event->a)) {
        return;
    }
    if (node->server.run != RUN_STANDBY) {
        engine_done(sim, node, ORDER_FETCH, ERR_DATABASE, "the server is gone");
        return;
    }
    sim_post(
        sim, node, ACTOR_AGENT,
        driver_is_detached(node) ? rng_log(sim, STREAM_SYNC, MS, 300 * MS) : TICK_NS,
        &(struct event){
            .run = driver_is_detached(node) ? on_bytes : on_tick, .a = event->a, .b = 0});
}

void fetch_begin(struct sim *sim, struct node *node, int64_t number)
{
    sim_post(sim, node, ACTOR_AGENT, TICK_NS, &(struct event){.run = on_tick, .a = number});
}
