#include "tests/sim/sync.h"

#include "base/assert.h"

/* Commits that wait for standbys, as PostgreSQL does it: a backend looks at a flag in shared memory
 * and sleeps; whoever sends log to a standby wakes it when enough have confirmed, by the rule that
 * this sender has loaded. Flag and senders load a new rule at times of their own, so that an old
 * one goes on releasing for a while. */

#define SENDER_SILENT_NS (8 * SECOND) /* wal_sender_timeout */

static int64_t answer_delay(struct sim *sim)
{
    return rng_log(sim, STREAM_SYNC, 20000, 3 * MS);
}

/* Between a signal and the process that takes notice. */
static int64_t load_delay(struct sim *sim)
{
    int per_mille = sim->shape.is_calm ? 0 : 150; /* else the outage that is measured is this */

    return rng_log(
        sim, STREAM_SYNC, MS, rng_chance(sim, STREAM_SYNC, per_mille) ? 3 * SECOND : 200 * MS);
}

bool commit_is_attached(const struct sim *sim, const struct sender *sender)
{
    return sender->is_attached &&
           (!sim->has_sync || sim->now_ns - sender->heard_ns < SENDER_SILENT_NS);
}

/* ---- answers ---- */

static void on_answer(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    server_answered(sim, node, (unsigned)event->a, event->b != 0);
}

static void answer(struct sim *sim, struct node *node, unsigned client, bool is_acked)
{
    struct backend *backend = &node->server.commits.backends[client];

    backend->is_waiting = false;
    backend->is_answered = true;
    sim_post(
        sim, node, ACTOR_SERVER, answer_delay(sim),
        &(struct event){.run = on_answer, .a = client, .b = is_acked});
}

/* Whoever waits for no more than UNTIL goes on. */
static unsigned wake(struct sim *sim, struct node *node, uint64_t until)
{
    unsigned count = 0;

    for (unsigned at = 0; at < BACKENDS_MAX; at++) {
        const struct backend *backend = &node->server.commits.backends[at];

        if (backend->is_waiting && backend->end.lsn <= until) {
            answer(sim, node, at, true);
            count++;
        }
    }
    return count;
}

bool commit_is_free(struct sim *sim, struct node *node, unsigned client, unsigned write)
{
    struct commits *commits = &node->server.commits;
    struct backend *backend = &commits->backends[client];
    int branch = node->disk.end.branch;

    ASSERT(client < BACKENDS_MAX);
    *backend = (struct backend){
        .end = {branch, sim->wal.branches[branch].writes[write].lsn}, .write = write};
    if (!sim->has_sync) {
        return true;
    }
    if (commits->flag.is_waiting && backend->end.lsn > commits->released) {
        backend->is_waiting = true;
    } else {
        answer(sim, node, client, true);
    }
    return false;
}

void commit_cancel(struct sim *sim, struct node *node)
{
    for (unsigned at = 0; at < BACKENDS_MAX; at++) {
        if (node->server.commits.backends[at].is_waiting) {
            check_mark(sim, MARK_CANCELLED);
            answer(sim, node, at, false);
        }
    }
}

/* ---- who confirms what ---- */

static bool is_named(const struct rule *rule, unsigned node)
{
    return rule->is_waiting && (rule->names & HA_BIT(node)) != 0;
}

/* Among those who count by what their own senders have loaded, in the order of their names. */
static unsigned candidates(const struct sim *sim, const struct node *node, uint64_t *ret)
{
    unsigned count = 0;

    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct sender *sender = &node->server.commits.senders[at];

        if (commit_is_attached(sim, sender) && is_named(&sender->rule, at)) {
            ret[count++] = sender->flushed;
        }
    }
    return count;
}

static int compare_down(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;

    return *left < *right ? 1 : *left > *right ? -1 : 0;
}

/* What the sender for the node AT may release: everything up to here. */
static uint64_t releasable(const struct sim *sim, const struct node *node, unsigned at)
{
    const struct rule *rule = &node->server.commits.senders[at].rule;
    uint64_t flushed[NODES_MAX];
    unsigned count = candidates(sim, node, flushed);

    if (!is_named(rule, at) || count < rule->need || rule->need == 0) {
        return 0;
    }
    if (!rule->is_any) {
        count = rule->need; /* the first ones */
    }
    qsort(flushed, count, sizeof(flushed[0]), compare_down);
    return flushed[rule->need - 1];
}

struct confirmation {
    unsigned by;
    uint32_t stream;
    uint64_t lsn;
};

static void on_confirmed(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct commits *commits = &node->server.commits;
    const struct confirmation *confirmation = event->data;
    struct sender *sender = &commits->senders[confirmation->by];
    uint64_t until;

    if (sender->stream != confirmation->stream) {
        return;
    }
    if (!commit_is_attached(sim, sender)) {
        /* Given up meanwhile: the standby is back with a new one. */
        sender->rule = commits->parent;
        sender->is_attached = true;
    }
    sender->flushed = MAX(sender->flushed, confirmation->lsn);
    sender->heard_ns = sim->now_ns;
    if (node->server.run != RUN_PRIMARY) {
        return;
    }
    until = releasable(sim, node, confirmation->by);
    commits->released = MAX(commits->released, until);
    if (wake(sim, node, commits->released) > 0 && sender->rule.version != node->disk.rule.version) {
        check_mark(sim, MARK_OLD_RULE);
    }
}

void commit_confirm(struct sim *sim, struct node *node)
{
    struct node *upstream = &sim->nodes[node->server.from];
    struct confirmation *confirmation;
    int64_t delay_ns;

    if (!sim->has_sync || !node->server.is_streaming || !upstream->is_up ||
        upstream->server.epoch != node->server.upstream_epoch ||
        net_is_cut(sim, node->index, upstream->index)) {
        return;
    }
    delay_ns = rng_log(sim, STREAM_SYNC, 50000, 4 * MS) * sim->net.slow;
    if (rng_chance(sim, STREAM_SYNC, 2)) {
        delay_ns += rng_between(sim, STREAM_SYNC, 0, 250 * MS);
    }
    check_confirmed(sim, node, upstream);
    confirmation = mem_alloc(sizeof(*confirmation));
    *confirmation = (struct confirmation){node->index, node->server.stream, node->disk.end.lsn};
    sim_post(
        sim, upstream, ACTOR_SERVER, delay_ns,
        &(struct event){.run = on_confirmed, .data = confirmation});
}

/* ---- connections ---- */

void commit_attach(struct node *upstream, struct node *node, int64_t now_ns)
{
    upstream->server.commits.senders[node->index] = (struct sender){
        .is_attached = true,
        .stream = node->server.stream,
        .heard_ns = now_ns,
        .rule = upstream->server.commits.parent,
    };
}

static void on_detached(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct sender *sender = &node->server.commits.senders[event->a];

    if (sender->stream == (uint32_t)event->b) {
        sender->is_attached = false;
        engine_changed(sim, node);
    }
}

/* The kernel tells the other side, if it lives and the way is free; else the sender only notices
 * that nobody answers. */
void commit_detach(struct sim *sim, struct node *node)
{
    struct node *upstream = &sim->nodes[node->server.from];

    if (!sim->has_sync || !node->server.is_streaming || !node->is_up || !upstream->is_up ||
        upstream->server.epoch != node->server.upstream_epoch ||
        net_is_cut(sim, node->index, upstream->index)) {
        return;
    }
    sim_post(
        sim, upstream, ACTOR_SERVER, rng_log(sim, STREAM_SYNC, 100000, 20 * MS),
        &(struct event){.run = on_detached, .a = node->index, .b = node->server.stream});
}

/* ---- loading a rule ---- */

void commit_start(struct node *node)
{
    node->server.commits.parent = node->disk.rule;
    node->server.commits.flag = node->disk.rule;
}

/* With the flag down, everybody who waits is let go. */
static void on_flag_loads(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    ASSERT(event->data == NULL);
    node->server.commits.flag = node->disk.rule;
    sync_stage(sim, node, STAGE_FLAG);
    if (!node->disk.rule.is_waiting && wake(sim, node, UINT64_MAX) > 0) {
        check_mark(sim, MARK_FLAG_DOWN);
    }
}

static void on_sender_loads(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct sender *sender = &node->server.commits.senders[event->a];

    if (sender->stream == (uint32_t)event->b) {
        sender->rule = node->disk.rule;
    }
}

/* The postmaster reads the file, then signals its children: one that it starts later has what it
 * has read. */
static void on_parent_loads(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    ASSERT(event->data == NULL);
    node->server.commits.parent = node->disk.rule;
    sim_post(sim, node, ACTOR_SERVER, load_delay(sim), &(struct event){.run = on_flag_loads});
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct sender *sender = &node->server.commits.senders[at];

        if (sender->is_attached) {
            sim_post(
                sim, node, ACTOR_SERVER, load_delay(sim),
                &(struct event){.run = on_sender_loads, .a = at, .b = sender->stream});
        }
    }
}

void commit_reload(struct sim *sim, struct node *node)
{
    if (node->server.run != RUN_NONE) {
        sim_post(sim, node, ACTOR_SERVER, load_delay(sim), &(struct event){.run = on_parent_loads});
    }
}
