#include "tests/sim/operator.h"
#include "tests/sim/sync.h"

#include "base/assert.h"

#define ASK_PAUSE_NS (5 * SECOND)
#define TTL_MIN_MS 3000

/* What people do: ask for a primary, switch maintenance mode, and what baton rightly leaves to
 * them. */

static void on_answer(void *arg, int status, const char *text)
{
    struct port *port = arg;

    port->sim->answer = status;
    sim_trace(port->sim, port->node, "sim.answer", "%d %s", status, text);
    mem_free(port);
}

void operator_ask(
    struct sim *sim, struct node *asked, const struct failover_request *request, bool is_failover)
{
    struct port *port;

    if (asked->agent == NULL || agent_is_frozen(sim, asked)) {
        return;
    }
    port = mem_alloc(sizeof(*port));
    *port = (struct port){sim, asked};
    sim->answer = 0;
    agent_request(asked->agent, request, is_failover, on_answer, port);
    agent_touch(sim, asked);
}

void operator_pause(struct sim *sim, bool is_paused)
{
    sim->settings.is_paused = is_paused;
    operator_write_config(sim);
}

void operator_write_config(struct sim *sim)
{
    char json[800];

    if (store_get(sim, KEY_CONFIG) == NULL) {
        return;
    }
    IGNORE(
        !str_format(
            json, sizeof(json), "{%s%s", sim->settings.is_paused ? "\"pause\":true," : "",
            sim->base_config + 1),
        "fits");
    sync_add_config(sim, json, sizeof(json));
    store_put(sim, KEY_CONFIG, json);
}

void operator_write_base(struct sim *sim, int64_t ttl_ms)
{
    IGNORE(
        !str_format(
            sim->base_config, sizeof(sim->base_config),
            "{\"ttl\":%d,\"loop_wait\":%d,\"retry_timeout\":%d,\"maximum_lag_on_failover\":%" PRId64
            ",\"primary_start_timeout\":%d%s,\"postgresql\":{\"use_pg_rewind\":true}}",
            (int)(ttl_ms / 1000), (int)(sim->shape.loop_wait_ms / 1000),
            (int)(sim->shape.retry_timeout_ms / 1000), sim->shape.maximum_lag,
            (int)(sim->shape.start_timeout_ms / 1000),
            sim->shape.is_failsafe ? ",\"failsafe_mode\":true" : ""),
        "fits");
    if (sim->shape.hang_timeout_ms > 0) {
        size_t length = strlen(sim->base_config) - 1;

        IGNORE(
            !str_format(
                sim->base_config + length, sizeof(sim->base_config) - length,
                ",\"baton\":{\"hang_timeout\":%d}}", (int)(sim->shape.hang_timeout_ms / 1000)),
            "fits");
    }
}

void operator_set_ttl(struct sim *sim, int64_t ttl_ms)
{
    sim_trace(sim, NULL, "OPERATOR", "ttl %" PRId64 " ms", ttl_ms);
    operator_write_base(sim, ttl_ms);
    operator_write_config(sim);
}

/* From that of the shape, which is what the checkers wait for, down to the smallest, and back. */
void operator_change_ttl(struct sim *sim, struct fault *fault, struct node *node)
{
    int64_t spare = (sim->shape.ttl_ms - TTL_MIN_MS) / 1000;

    ASSERT(node != NULL);
    if (spare > 0) {
        operator_set_ttl(
            sim, fault->is_over ? sim->shape.ttl_ms : TTL_MIN_MS + fault->amount % spare * 1000);
    }
}

void operator_clear(struct sim *sim, struct node *node)
{
    sim_trace(sim, node, "OPERATOR", "clears the data directory");
    if (node->disk.kind == DISK_PRESENT) {
        sim->check.loss_ns = sim->now_ns;
    }
    server_kill(sim, node, "the operator");
    node->disk = (struct disk){.end = {-1, 0}, .minimum = {-1, 0}, .upstream = -1};
    engine_changed(sim, node);
}

/* Made by an agent that died before it knew that another node's cluster was recorded, or promoted
 * by hand since: nobody can tell any more that it was never used. */
static bool is_foreign(const struct sim *sim, const struct node *node, const struct node *leader)
{
    ASSERT(sim->wal.count > 0);
    return node->disk.kind == DISK_PRESENT && node->disk.system_id != leader->disk.system_id &&
           (node->made_epoch != node->agent_epoch || wal_is_by_hand(&sim->wal, node->disk.end));
}

static struct position position_of(const struct sim *sim, const struct node *node)
{
    struct place end = node->disk.end;

    return node->disk.kind == DISK_PRESENT && end.branch >= 0
               ? (struct position){sim->wal.branches[end.branch].timeline, end.lsn}
               : (struct position){0};
}

/* It received what the primary's history has not, and is not consistent yet although it needs no
 * more than that history has: it answers nothing, and its control file does not tell. */
static bool is_standing(const struct sim *sim, const struct node *node, const struct node *leader)
{
    return node->disk.kind == DISK_PRESENT && node->server.run == RUN_STARTING &&
           !wal_contains(&sim->wal, leader->disk.end, node->disk.end);
}

/* Nobody has any more what the last primary had when it gave up the lease. */
static bool is_floor_gone(const struct sim *sim)
{
    const char *text = store_get(sim, KEY_LEASE);
    struct lease_record lease = {0};
    struct err e = {0};

    if (text == NULL || record_lease_decode(text, &lease, &e) < 0 || lease.floor.lsn == 0) {
        return false;
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        if (position_compare(position_of(sim, &sim->nodes[at]), lease.floor) >= 0) {
            return false;
        }
    }
    return true;
}

/* The store was set back, and no disk has kept that the newest timeline was given by a lease (it
 * was full, or failed): it looks as if somebody had promoted by hand. */
static bool is_past_gone(const struct sim *sim)
{
    int official = sim->check.official;

    for (unsigned at = 0; official >= 0 && at < sim->shape.node_count; at++) {
        if (sim->nodes[at].past.timeline >= sim->wal.branches[official].timeline) {
            return false;
        }
    }
    return sim->check.back_ns != 0 && official >= 0;
}

/* The store was set back, and a server that does not come up cannot tell whether it has more. */
static bool is_untold(const struct sim *sim)
{
    for (unsigned at = 0; sim->check.back_ns != 0 && at < sim->shape.node_count; at++) {
        if (sim->nodes[at].disk.kind != DISK_ABSENT && sim->nodes[at].server.run != RUN_STANDBY) {
            return true;
        }
    }
    return false;
}

/* A disk had said that it has more than there is, and nobody has that: what is left may lag too
 * much behind it, even if none of it was acknowledged. */
static bool is_tail_gone(const struct sim *sim)
{
    bool is_gone = sim->check.is_tail_lost;

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct place lied = sim->nodes[at].lied;
        bool is_kept = lied.lsn == 0;

        for (unsigned other = 0; other < sim->shape.node_count; other++) {
            is_kept = is_kept || wal_contains(&sim->wal, sim->nodes[other].disk.end, lied);
        }
        is_gone = is_gone || !is_kept;
    }
    return is_gone;
}

/* The holder has lost its data, and what is left was promoted by hand, or lags too much because a
 * disk had lied: baton does not choose that, so a person must. */
static void choose_by_hand(struct sim *sim, const struct node *holder)
{
    bool is_waiting =
        check_may_wait(sim) || is_floor_gone(sim) || is_past_gone(sim) || is_untold(sim);
    bool is_gone = is_tail_gone(sim);
    bool is_choice = holder == NULL || holder->disk.end.branch < 0 || is_gone ||
                     wal_is_by_hand(&sim->wal, holder->disk.end) || is_waiting;
    struct node *best = NULL;
    struct failover_request request = {0};

    if (!is_choice || sim->now_ns - sim->check.asked_ns < ASK_PAUSE_NS) {
        return;
    }
    sim->check.asked_ns = sim->now_ns;
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[at];

        if (node->server.run == RUN_STANDBY &&
            (is_waiting || is_gone || wal_is_by_hand(&sim->wal, node->disk.end)) &&
            (best == NULL ||
             position_compare(position_of(sim, node), position_of(sim, best)) > 0)) {
            best = node;
        }
    }
    if (best != NULL) {
        sim_trace(sim, best, "OPERATOR", "asks for a failover to what is left");
        str_copy(request.candidate, sizeof(request.candidate), best->name);
        operator_ask(sim, best, &request, true);
    }
}

void operator_repair(struct sim *sim)
{
    struct node *leader = sim_find(sim, sim->check.holder);

    if (leader == NULL || !server_is_open(leader)) {
        choose_by_hand(sim, leader);
        return;
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        struct node *node = &sim->nodes[at];

        if (node != leader && (node->disk.kind == DISK_BROKEN || is_foreign(sim, node, leader) ||
                               is_standing(sim, node, leader) ||
                               wal_has_twin(&sim->wal, node->disk.end, leader->disk.end))) {
            operator_clear(sim, node);
        }
    }
}
