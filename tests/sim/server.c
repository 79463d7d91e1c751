#include "tests/sim/sync.h"

#include "base/assert.h"

/* The guard and the database server of a node, as they are, whatever an agent believes. */

#define SHUTDOWN_RECORD 120
#define PROMOTE_RECORD 150
#define REPLAY_BYTES (1 << 20)
#define DRAIN_POLL_NS (5 * MS)
#define SENDER_TIMEOUT_NS (8 * SECOND)
#define RECEIVER_TIMEOUT_NS (6 * SECOND)

static void set_run(struct sim *sim, struct node *node, enum run run)
{
    static const char *const texts[] = {"down",      "starting", "standby",
                                        "promoting", "primary",  "stopping"};

    node->server.run = run;
    node->server.since_ns = sim->now_ns;
    sim_trace(
        sim, node, "server", "%s (branch %d, end %" PRIu64 ")", texts[run], node->disk.end.branch,
        node->disk.end.lsn);
    engine_changed(sim, node);
}

bool server_is_open(const struct node *node)
{
    return node->server.run == RUN_PRIMARY && node->server.has_clients;
}

bool server_is_stuck(const struct node *node)
{
    return node->silent_ns != 0 || node->disk_hung_ns != 0;
}

static struct node *upstream_of(struct sim *sim, const struct node *node)
{
    return node->disk.upstream >= 0 ? &sim->nodes[node->disk.upstream] : NULL;
}

/* ---- replication ---- */

static void on_receiver(struct sim *sim, struct event *event);

static void break_stream(struct sim *sim, struct node *node)
{
    if (node->server.is_streaming) {
        commit_detach(sim, node);
        node->server.is_streaming = false;
        node->server.is_push_under_way = false;
        engine_changed(sim, node);
    }
}

static bool is_sending(const struct node *upstream)
{
    return upstream->is_up && upstream->silent_ns == 0 && !upstream->server.is_dying &&
           (upstream->server.run == RUN_STANDBY || upstream->server.run == RUN_PRIMARY ||
            upstream->server.run == RUN_PROMOTING ||
            (upstream->server.run == RUN_STOPPING && upstream->server.was_primary));
}

static bool is_linked(const struct sim *sim, const struct node *a, const struct node *b)
{
    return !net_is_cut(sim, a->index, b->index) && !net_is_cut(sim, b->index, a->index);
}

static void open_if_consistent(struct sim *sim, struct node *node)
{
    if (node->server.run == RUN_STARTING && node->server.is_recovered &&
        wal_contains(&sim->wal, node->disk.end, node->disk.minimum)) {
        node->disk.minimum = (struct place){-1, 0};
        set_run(sim, node, RUN_STANDBY);
    }
}

static void on_replayed(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    node->disk.replayed = MAX(node->disk.replayed, (uint64_t)event->a);
}

/* Consistent already, but not all of the local log is replayed, and nobody sees how much there is:
 * the more has come since the last restartpoint, the more. */
static void replay_the_rest(struct sim *sim, struct node *node)
{
    struct disk *disk = &node->disk;
    const struct branch *branch = &sim->wal.branches[disk->end.branch];
    uint64_t least = branch->parent >= 0 ? branch->fork : 0;
    uint64_t back = (uint64_t)rng_log(sim, STREAM_REPLAY, 4000, REPLAY_BYTES);

    if (disk->checkpoint.branch == disk->end.branch) {
        least = MAX(least, disk->checkpoint.lsn);
    }
    disk->replayed = MIN(disk->end.lsn, MAX(least, disk->end.lsn - MIN(back, disk->end.lsn)));
    node->server.rest_ns = sim->now_ns + rng_between(sim, STREAM_SERVER, 0, sim->shape.replay_ns);
    sim_post(
        sim, node, ACTOR_SERVER, node->server.rest_ns - sim->now_ns,
        &(struct event){.run = on_replayed, .a = (int64_t)disk->end.lsn});
}

struct arrival {
    struct place end;
    unsigned upstream;
    uint32_t stream; /* number of the connection that carries it */
};

static void send_more(struct sim *sim, struct node *upstream, struct node *node);

static void on_arrival(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    const struct arrival *arrival = event->data;
    struct node *upstream = &sim->nodes[arrival->upstream];

    if (!node->server.is_streaming || node->server.stream != arrival->stream) {
        return;
    }
    node->server.is_push_under_way = false;
    ASSERT(wal_contains(&sim->wal, arrival->end, node->disk.end));
    node->disk.end = arrival->end;
    node->disk.changed_ns = sim->now_ns;
    node->disk.timeline_max =
        MAX(node->disk.timeline_max, sim->wal.branches[arrival->end.branch].timeline);
    node->server.has_received = true;
    sim_post(
        sim, node, ACTOR_SERVER, rng_between(sim, STREAM_SERVER, 100000, 3 * MS),
        &(struct event){.run = on_replayed, .a = (int64_t)arrival->end.lsn});
    open_if_consistent(sim, node);
    commit_confirm(sim, node);
    stream_push(sim, node);
    send_more(sim, upstream, node);
}

/* UPSTREAM has something that NODE, which streams from it, lacks: one batch at a time is on its
 * way. */
static void send_more(struct sim *sim, struct node *upstream, struct node *node)
{
    struct arrival *arrival;
    int64_t delay_ns;
    bool is_behind = node->disk.end.branch != upstream->disk.end.branch ||
                     node->disk.end.lsn < upstream->disk.end.lsn;

    if (!node->server.is_streaming || node->server.is_push_under_way || !is_behind ||
        node->server.upstream_epoch != upstream->server.epoch || !is_sending(upstream) ||
        node_is_frozen(sim, upstream)) {
        return;
    }
    delay_ns = net_delay(sim, upstream->index, node->index);
    if (delay_ns < 0) {
        return;
    }
    if (sim->shape.lag_ns > 0) {
        delay_ns += rng_between(sim, STREAM_NET, 0, sim->shape.lag_ns);
    }
    arrival = mem_alloc(sizeof(*arrival));
    *arrival = (struct arrival){upstream->disk.end, upstream->index, node->server.stream};
    node->server.is_push_under_way = true;
    sim_post(
        sim, node, ACTOR_SERVER, delay_ns, &(struct event){.run = on_arrival, .data = arrival});
}

void stream_push(struct sim *sim, struct node *upstream)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[at];

        if (node->disk.upstream == (int)upstream->index && node != upstream) {
            send_more(sim, upstream, node);
        }
    }
}

static void try_to_stream(struct sim *sim, struct node *node, struct node *upstream)
{
    struct place source = upstream->disk.end;

    if (!is_sending(upstream) || upstream->server.run == RUN_STOPPING || node->disk.is_starved ||
        upstream->has_no_connections || upstream->disk_hung_ns != 0 ||
        node_is_frozen(sim, upstream) || !is_linked(sim, node, upstream) ||
        !wal_can_stream(&sim->wal, source, node->disk.end)) {
        return;
    }
    if (!wal_contains(&sim->wal, source, node->disk.end)) {
        if (!wal_is_by_hand(&sim->wal, node->disk.end) && !wal_is_by_hand(&sim->wal, source) &&
            !sim->check.is_forgotten) {
            check_fail(
                sim, VERDICT_SAFETY,
                "%s (branch %d) streams from %s (branch %d): another history under the same "
                "timeline "
                "number %u",
                node->name, node->disk.end.branch, upstream->name, source.branch,
                sim->wal.branches[node->disk.end.branch].timeline);
        }
        return;
    }
    node->server.is_streaming = true;
    node->server.has_received = true;
    node->server.is_push_under_way = false;
    node->server.stream++;
    node->server.from = upstream->index;
    node->server.upstream_epoch = upstream->server.epoch;
    node->server.silent_ns = 0;
    sim_trace(sim, node, "server.stream", "from %s", upstream->name);
    engine_changed(sim, node);
    commit_attach(upstream, node, sim->now_ns);
    commit_confirm(sim, node);
    send_more(sim, upstream, node);
}

/* The WAL receiver's own life: connect, notice silence, connect again. */
static void on_receiver(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct server *server = &node->server;
    struct node *upstream = upstream_of(sim, node);
    bool is_wanted =
        sim->now_ns >= server->rest_ns &&
        ((server->run == RUN_STARTING && server->is_recovered) || server->run == RUN_STANDBY);

    ASSERT(event->data == NULL);
    if (server->run == RUN_PRIMARY || server->run == RUN_PROMOTING || server->run == RUN_STOPPING) {
        return;
    }
    if (server->is_streaming && upstream != NULL) {
        bool is_heard = upstream->is_up && is_linked(sim, node, upstream) &&
                        !node_is_frozen(sim, upstream) && upstream->silent_ns == 0;

        if (is_heard && upstream->server.epoch != server->upstream_epoch) {
            break_stream(sim, node);
        } else if (is_heard) {
            server->silent_ns = 0;
            commit_confirm(sim, node);
            send_more(sim, upstream, node);
        } else if (server->silent_ns == 0) {
            server->silent_ns = sim->now_ns;
        } else if (sim->now_ns - server->silent_ns > RECEIVER_TIMEOUT_NS) {
            break_stream(sim, node);
        }
    }
    if (!server->is_streaming && is_wanted && upstream != NULL && upstream != node) {
        try_to_stream(sim, node, upstream);
    }
    sim_post(sim, node, ACTOR_SERVER, sim->shape.receiver_ns, &(struct event){.run = on_receiver});
}

void server_follow(struct sim *sim, struct node *node, int upstream)
{
    node->disk.upstream = upstream;
    break_stream(sim, node);
    node->server.has_received = false;
    engine_changed(sim, node);
}

/* ---- clients ---- */

static void on_client(struct sim *sim, struct event *event);

/* A server that hangs does the same later, if it lives so long. */
#define HUNG_POLL_NS (20 * MS)

static bool is_hung(const struct node *node)
{
    return node->silent_ns != 0 || node->disk_hung_ns != 0 || node->disk_full_ns != 0;
}

static void on_ack(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (node->silent_ns != 0 || node->disk_hung_ns != 0) {
        sim_post(
            sim, node, ACTOR_SERVER, HUNG_POLL_NS,
            &(struct event){.run = on_ack, .a = event->a, .b = event->b});
    } else if (
        server_is_open(node) && commit_is_free(sim, node, (unsigned)event->b, (unsigned)event->a)) {
        server_answered(sim, node, (unsigned)event->b, true);
    }
}

void server_answered(struct sim *sim, struct node *node, unsigned client, bool is_acked)
{
    struct backend *backend = &node->server.commits.backends[client];
    struct write *write = &sim->wal.branches[backend->end.branch].writes[backend->write];
    enum fence fence = fence_muting(sim, node);

    backend->is_answered = false;
    if (!server_is_open(node)) {
        return;
    }
    if (is_acked && fence != FENCES) {
        check_prevented(sim, node, fence);
    } else if (is_acked) {
        write->acked_ns = sim->now_ns;
        check_ack(sim, node, backend->end);
        check_sync_ack(sim, node, backend);
    }
    sim_post(
        sim, node, ACTOR_SERVER,
        rng_log(sim, STREAM_CLIENT, sim->shape.think_ns / 4, sim->shape.think_ns * 2),
        &(struct event){.run = on_client, .b = client});
}

/* One transaction: its commit record is flushed now, its client is told a moment later, if the
 * server lives so long and nobody else must have it first (commit.c). */
static void on_client(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    unsigned write;

    ASSERT(event->data == NULL);
    if (!server_is_open(node)) {
        return;
    }
    if (is_hung(node)) {
        sim_post(
            sim, node, ACTOR_SERVER, HUNG_POLL_NS,
            &(struct event){.run = on_client, .b = event->b});
        return;
    }
    node->disk.end.lsn += (uint64_t)rng_log(sim, STREAM_CLIENT, 100, 20000);
    node->disk.changed_ns = sim->now_ns;
    write = wal_write(&sim->wal.branches[node->disk.end.branch], node->disk.end.lsn);
    sim_post(
        sim, node, ACTOR_SERVER, rng_log(sim, STREAM_CLIENT, 100000, 3 * MS),
        &(struct event){.run = on_ack, .a = (int64_t)write, .b = event->b});
    stream_push(sim, node);
}

/* ---- the server's life ---- */

static void end_run(struct sim *sim, struct node *node, bool is_clean)
{
    struct server *server = &node->server;
    bool was_primary = server->run == RUN_PRIMARY || server->was_primary;

    check_commits_end(sim, node);
    commit_detach(sim, node);
    node->disk.is_clean = is_clean;
    node->disk.was_primary = was_primary;
    node->disk.is_end_read = false;
    if (is_clean) {
        node->disk.checkpoint = node->disk.end;
        node->disk.is_checkpointed = true;
    }
    /* A standby's last checkpoint says what it has replayed; it may have more. */
    if (is_clean && was_primary) {
        node->disk.complete = node->disk.end;
        node->disk.replayed = node->disk.end.lsn;
    } else if (is_clean) {
        node->disk.complete = (struct place){-1, 0};
        node->disk.checkpoint.lsn = node->disk.replayed;
    }
    *server = (struct server){.epoch = server->epoch + 1};
    node->guard.deadline = (struct instant){0};
    node->guard.timer++;
    node->guard.is_killing = false;
    node->guard.is_open = false;
    driver_read_end(sim, node);
    set_run(sim, node, RUN_NONE);
    check_open(sim);
}

void server_kill(struct sim *sim, struct node *node, const char *why)
{
    if (node->server.run == RUN_NONE) {
        return;
    }
    if (node->server.is_dying && node->disk_hung_ns != 0) {
        return;
    }
    sim_trace(sim, node, "server.kill", "%s", why);
    node->silent_ns = 0;
    if (node->disk_hung_ns != 0) {
        node->server.was_primary = node->server.was_primary || node->server.run == RUN_PRIMARY;
        node->server.has_clients = false;
        node->server.is_dying = true;
        set_run(sim, node, RUN_STOPPING);
        check_open(sim);
        return;
    }
    end_run(sim, node, false);
}

static void on_recovered(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    ASSERT(event->data == NULL);
    if (node->has_bad_disk) {
        server_kill(sim, node, "the disk fails");
        return;
    }
    node->server.is_recovered = true;
    if (sim->shape.replay_ns > 0 && !node->disk.was_primary) {
        replay_the_rest(sim, node);
    } else {
        node->disk.replayed = node->disk.end.lsn;
    }
    open_if_consistent(sim, node);
    engine_changed(sim, node);
}

void server_start(struct sim *sim, struct node *node, int upstream)
{
    int64_t length_ns = rng_log(sim, STREAM_SERVER, sim->shape.start_ns, sim->shape.start_ns * 4);

    ASSERT(node->server.run == RUN_NONE);
    ASSERT(node->disk.kind == DISK_PRESENT);
    if (!node->disk.is_clean) {
        length_ns += rng_log(
            sim, STREAM_SERVER, MIN(20 * MS, sim->shape.recovery_ns), sim->shape.recovery_ns);
    }
    node->server = (struct server){.epoch = node->server.epoch + 1};
    node->disk.upstream = upstream;
    node->disk.is_clean = false;
    commit_start(node);
    set_run(sim, node, RUN_STARTING);
    sim_post(sim, node, ACTOR_SERVER, length_ns, &(struct event){.run = on_recovered});
    sim_post(
        sim, node, ACTOR_SERVER, rng_between(sim, STREAM_SERVER, 10 * MS, 60 * MS),
        &(struct event){.run = on_receiver});
}

static void on_auto_checkpoint(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    ASSERT(event->data == NULL);
    if (node->server.run == RUN_PRIMARY) {
        node->disk.is_checkpointed = true;
        node->disk.checkpoint = node->disk.end;
        engine_changed(sim, node);
    }
}

static void on_promoted(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct branch branch = {
        .parent = node->disk.end.branch,
        .fork = node->disk.end.lsn,
        .timeline = node->server.timeline,
        .system_id = node->disk.system_id,
        .opener = node->index,
        .is_by_hand = node->server.is_by_hand,
    };

    ASSERT(event->data == NULL);
    node->disk.end = (struct place){wal_add(sim, &branch), branch.fork + PROMOTE_RECORD};
    node->disk.timeline_max = branch.timeline;
    node->disk.changed_ns = sim->now_ns;
    node->disk.is_checkpointed = false;
    node->disk.was_primary = true;
    node->server.opened_ns = sim->now_ns;
    node->server.has_clients = true;
    node->server.is_streaming = false;
    set_run(sim, node, RUN_PRIMARY);
    check_promoted(sim, node, node->disk.end.branch);
    check_open(sim);
    engine_done(sim, node, ORDER_PROMOTE, 0, NULL);
    for (unsigned at = 0; at < sim->shape.clients; at++) {
        sim_post(
            sim, node, ACTOR_SERVER, rng_log(sim, STREAM_CLIENT, MS, sim->shape.think_ns),
            &(struct event){.run = on_client, .b = at});
    }
    sim_post(
        sim, node, ACTOR_SERVER, rng_log(sim, STREAM_SERVER, 300 * MS, 10 * SECOND),
        &(struct event){.run = on_auto_checkpoint});
    stream_push(sim, node);
}

void server_promote(struct sim *sim, struct node *node, uint32_t timeline)
{
    int64_t length_ns = rng_log(sim, STREAM_SERVER, 10 * MS, sim->shape.promote_ns);

    ASSERT(node->server.run == RUN_STANDBY);
    if (node->server.is_outgrown) {
        server_kill(sim, node, "recovery aborted because of insufficient parameter settings");
        return;
    }
    node->server.is_by_hand = timeline == 0;
    node->server.timeline = timeline != 0 ? timeline : node->disk.timeline_max + 1;
    length_ns += MAX(0, node->server.rest_ns - sim->now_ns);
    break_stream(sim, node);
    node->disk.replayed = node->disk.end.lsn;
    set_run(sim, node, RUN_PROMOTING);
    sim_post(sim, node, ACTOR_SERVER, length_ns, &(struct event){.run = on_promoted});
}

static bool is_drained(struct sim *sim, struct node *node)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *peer = &sim->nodes[at];
        bool is_attached = peer != node && peer->is_up && peer->server.is_streaming &&
                           peer->disk.upstream == (int)node->index &&
                           peer->server.upstream_epoch == node->server.epoch;

        if (!is_attached) {
            continue;
        }
        send_more(sim, node, peer);
        if (peer->disk.end.branch != node->disk.end.branch ||
            peer->disk.end.lsn < node->disk.end.lsn || !is_linked(sim, node, peer)) {
            return false;
        }
    }
    return true;
}

static void on_drain(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    ASSERT(event->data == NULL);
    if (is_drained(sim, node) || sim->now_ns > node->server.stop_limit_ns) {
        end_run(sim, node, true);
        engine_done(sim, node, ORDER_STOP, 0, NULL);
        return;
    }
    sim_post(sim, node, ACTOR_SERVER, DRAIN_POLL_NS, &(struct event){.run = on_drain});
}

static void on_stopped(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    ASSERT(event->data == NULL);
    if (node->server.was_primary) {
        node->disk.end.lsn += SHUTDOWN_RECORD;
        node->disk.changed_ns = sim->now_ns;
        node->server.stop_limit_ns = sim->now_ns + SENDER_TIMEOUT_NS;
        on_drain(sim, event);
        return;
    }
    end_run(sim, node, true);
    engine_done(sim, node, ORDER_STOP, 0, NULL);
}

void server_stop(struct sim *sim, struct node *node, enum stop_mode mode)
{
    if (node->server.run == RUN_NONE || node->server.run == RUN_STOPPING) {
        return;
    }
    if (mode == STOP_IMMEDIATE) {
        server_kill(sim, node, "immediate stop");
        return;
    }
    node->server.was_primary = node->server.run == RUN_PRIMARY;
    node->server.has_clients = false;
    break_stream(sim, node);
    /* What ran as this server's timers (promotion, clients, receiver) ends with the new epoch;
     * streams go on. */
    node->server.epoch++;
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *peer = &sim->nodes[at];

        if (peer->server.is_streaming && peer->disk.upstream == (int)node->index &&
            peer->server.upstream_epoch == node->server.epoch - 1) {
            peer->server.upstream_epoch++;
        }
    }
    set_run(sim, node, RUN_STOPPING);
    check_open(sim);
    sim_post(
        sim, node, ACTOR_SERVER, rng_log(sim, STREAM_SERVER, 20 * MS, 500 * MS),
        &(struct event){.run = on_stopped});
}

/* ---- the guard ---- */

static bool is_passed(const struct sim *sim, const struct node *node)
{
    return instant_is_set(node->guard.deadline) &&
           instant_left_ms(node->guard.deadline, node_now(sim, node)) < 0;
}

/* As slow as the lease allows for, often. */
static int64_t worst_or_less(struct sim *sim, int64_t most_ns)
{
    return rng_chance(sim, STREAM_GUARD, 300) ? most_ns
                                              : rng_between(sim, STREAM_GUARD, 0, most_ns);
}

static void on_guard_kill(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if ((uint32_t)event->a == node->guard.timer) {
        server_kill(sim, node, "the guard: the deadline has passed");
    }
}

/* The guard notices: nothing takes it back from here on, and every process is dead within the time
 * that lease.c grants. */
static void on_guard_timer(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if ((uint32_t)event->a != node->guard.timer || node->guard.is_killing ||
        !fence_has(sim, FENCE_GUARD)) {
        return;
    }
    if (!is_passed(sim, node)) {
        guard_check(sim, node);
        return;
    }
    node->guard.is_killing = true;
    sim_post(
        sim, node, ACTOR_HOST, worst_or_less(sim, GUARD_KILL_NS),
        &(struct event){.run = on_guard_kill, .a = (int64_t)node->guard.timer});
}

/* Set the timer for the deadline anew: it was moved, or a clock was. */
void guard_check(struct sim *sim, struct node *node)
{
    const struct guard *guard = &node->guard;
    int64_t boot_ns;
    int64_t raw_ns;
    int64_t wait_ns;

    if (!instant_is_set(guard->deadline) || guard->is_killing) {
        return;
    }
    boot_ns = clock_until(&node->boot, sim->now_ns, guard->deadline.boot_ns);
    raw_ns = clock_until(&node->raw, sim->now_ns, guard->deadline.raw_ns);
    wait_ns = MIN(boot_ns, raw_ns);
    node->guard.timer++;
    sim_post(
        sim, node, ACTOR_HOST, MIN(wait_ns, 3600 * SECOND) + worst_or_less(sim, GUARD_LATE_NS),
        &(struct event){.run = on_guard_timer, .a = (int64_t)node->guard.timer});
    fence_watch(sim, node, MIN(wait_ns, 3600 * SECOND));
}

void guard_on_arm(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct guard *guard = &node->guard;
    struct instant deadline = {event->a, event->b};

    if (node->server.run == RUN_NONE || guard->is_killing ||
        deadline.boot_ns < guard->deadline.boot_ns || deadline.raw_ns < guard->deadline.raw_ns) {
        return;
    }
    if (is_passed(sim, node)) {
        /* It reads the clock before it takes a message. */
        sim_post(
            sim, node, ACTOR_HOST, 0,
            &(struct event){.run = on_guard_timer, .a = (int64_t)guard->timer});
        return;
    }
    guard->deadline = deadline;
    guard_check(sim, node);
    engine_changed(sim, node);
}

void guard_on_disarm(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct guard *guard = &node->guard;

    if (guard->is_open || guard->is_killing || event->a != guard->deadline.boot_ns ||
        event->b != guard->deadline.raw_ns) {
        return;
    }
    guard->deadline = (struct instant){0};
    guard->timer++;
    engine_changed(sim, node);
}
