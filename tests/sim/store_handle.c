#include "tests/sim/store.h"

#include "base/assert.h"

/* The driver of the store inside one agent's process: a watch, a session kept alive by pings, open
 * transactions. */

#define OPEN_MAX 48
#define PING_NS (400 * MS)
#define TTL_DEFAULT_MS 30000

struct open {
    int64_t number; /* 0: free */
    dcs_done *done;
    void *arg;
};

struct store_handle {
    struct dcs dcs;
    struct sim *sim;
    struct node *node;
    struct dcs_listener listener;
    struct dcs_health health;
    struct open open[OPEN_MAX];
    int64_t numbers;
    int64_t session; /* as known here; 0: none */
    int64_t ttl_ms;
    int64_t retry_timeout_ms;
    int64_t heard_ns;
    int64_t seen_revision;
    uint32_t incarnation; /* of the store that it goes by */
    bool is_started;
    bool is_given_up; /* the session was ended on purpose */
    bool is_freeing;
};

static void tell_health(struct store_handle *handle)
{
    struct dcs_health health = handle->health;

    health.has_session = handle->session != 0;
    if (health.is_connected == handle->health.is_connected &&
        health.has_session == handle->health.has_session) {
        return;
    }
    handle->health = health;
    handle->listener.on_health(handle->listener.arg, &handle->health);
    agent_touch(handle->sim, handle->node);
}

static void set_connected(struct store_handle *handle, bool is_connected)
{
    if (handle->health.is_connected == is_connected) {
        return;
    }
    handle->health.is_connected = is_connected;
    handle->health.has_session = handle->session != 0;
    str_copy(
        handle->health.problem, sizeof(handle->health.problem), is_connected ? "" : "no answer");
    handle->listener.on_health(handle->listener.arg, &handle->health);
    agent_touch(handle->sim, handle->node);
}

static void tell_snapshot(struct store_handle *handle, const struct version *version)
{
    struct dcs_entry entries[KEYS_MAX];
    struct dcs_snapshot snapshot = {version->revision, version->count, entries};

    for (unsigned at = 0; at < version->count; at++) {
        const struct key *key = &version->keys[at];

        entries[at] = (struct dcs_entry){
            key->name, key->value, key->revision,
            key->session != 0 && key->session == handle->session};
    }
    handle->seen_revision = version->revision;
    handle->listener.on_snapshot(handle->listener.arg, &snapshot);
    agent_touch(handle->sim, handle->node);
}

static struct message *new_message(
    struct store_handle *handle, enum message_kind kind, size_t texts)
{
    struct message *message = mem_alloc(sizeof(*message) + texts);

    *message = (struct message){
        .kind = kind,
        .node = handle->node->index,
        .epoch = handle->node->agent_epoch,
        .incarnation = handle->incarnation,
        .sent_ns = handle->sim->now_ns,
        .number = ++handle->numbers,
        .session = handle->session,
        .ttl_ms = handle->ttl_ms,
    };
    return message;
}

static struct open *find_open(struct store_handle *handle, int64_t number)
{
    for (size_t at = 0; at < OPEN_MAX; at++) {
        if (handle->open[at].number == number) {
            return &handle->open[at];
        }
    }
    return NULL;
}

static void end_open(
    struct store_handle *handle, int64_t number, enum dcs_outcome outcome, int64_t revision)
{
    struct open *open = find_open(handle, number);
    struct open ended;

    if (number == 0 || open == NULL) {
        return;
    }
    ended = *open;
    *open = (struct open){0};
    ended.done(ended.arg, outcome, revision);
    if (!handle->is_freeing) {
        agent_touch(handle->sim, handle->node);
    }
}

/* ---- what arrives ---- */

struct reply {
    enum message_kind kind;
    int64_t number;
    enum dcs_outcome outcome;
    int64_t revision;
    int64_t session;
    const struct version *version; /* PING REFRESH: what the store has */
};

static void on_reply(struct sim *sim, struct event *event)
{
    struct store_handle *handle = sim->nodes[event->node].store;
    const struct reply *reply = event->data;
    bool was_connected = handle->health.is_connected;

    handle->heard_ns = sim->now_ns;
    switch (reply->kind) {
    case MESSAGE_TXN:
        end_open(handle, reply->number, reply->outcome, reply->revision);
        return;
    case MESSAGE_END:
        return;
    case MESSAGE_PING:
        if (!handle->is_given_up && handle->session != reply->session) {
            handle->session = reply->session;
        }
        break;
    case MESSAGE_REFRESH:
        break;
    }
    set_connected(handle, true);
    tell_health(handle);
    if (!was_connected || reply->kind == MESSAGE_REFRESH ||
        reply->version->revision > handle->seen_revision) {
        if (reply->version->revision >= handle->seen_revision) {
            tell_snapshot(handle, reply->version);
        }
    }
}

void store_reply(
    struct sim *sim, struct node *node, const struct message *message, enum dcs_outcome outcome,
    int64_t revision)
{
    int64_t delay_ns = net_delay(sim, STORE_PLACE, node->index);
    struct reply *reply;

    if (delay_ns < 0 || node->agent == NULL || node->agent_epoch != message->epoch) {
        return;
    }
    if (message->kind == MESSAGE_TXN && sim->store->late_ns > 0) {
        delay_ns += rng_between(sim, STREAM_STORE, 0, sim->store->late_ns);
    }
    reply = mem_alloc(sizeof(*reply));
    *reply = (struct reply){
        .kind = message->kind,
        .number = message->number,
        .outcome = outcome,
        .revision = revision,
        .session = message->session,
        .version = store_is_stale(sim, node->index) ? sim->store->stale[node->index]
                                                    : store_newest(sim->store),
    };
    sim_post(sim, node, ACTOR_AGENT, delay_ns, &(struct event){.run = on_reply, .data = reply});
}

static void on_show(struct sim *sim, struct event *event)
{
    struct store_handle *handle = sim->nodes[event->node].store;
    const struct version *version = sim->store->versions[event->a];

    handle->heard_ns = sim->now_ns;
    if (handle->health.is_connected && version->revision > handle->seen_revision) {
        tell_snapshot(handle, version);
    }
}

bool store_is_of_before(const struct sim *sim, const struct node *node)
{
    return node->store != NULL && node->store->incarnation != sim->store->incarnation;
}

/* A watch is one connection: its events keep their order; a missing one is made good by the next
 * ping. */
void store_show(struct sim *sim, struct node *node)
{
    int64_t *pipe = &sim->net.pipes[STORE_PLACE][node->index];
    int64_t delay_ns = net_delay(sim, STORE_PLACE, node->index);

    if (delay_ns < 0 || node->store == NULL || !node->store->is_started || node->agent == NULL ||
        store_is_stale(sim, node->index) || store_is_of_before(sim, node)) {
        return;
    }
    *pipe = MAX(*pipe, sim->now_ns + delay_ns * sim->store->slow);
    sim_post(
        sim, node, ACTOR_AGENT, *pipe - sim->now_ns,
        &(struct event){.run = on_show, .a = (int64_t)sim->store->version_count - 1});
}

/* ---- what the agent asks for ---- */

static void on_ping(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct store_handle *handle = node->store;

    ASSERT(event->data == NULL);
    if (sim->now_ns - handle->heard_ns > sim->shape.checked_limit_ms * MS) {
        set_connected(handle, false);
    }
    store_send(
        sim, node, new_message(handle, handle->is_given_up ? MESSAGE_REFRESH : MESSAGE_PING, 0));
    sim_post(sim, node, ACTOR_AGENT, PING_NS, &(struct event){.run = on_ping});
}

static void handle_start(struct dcs *dcs, const struct dcs_listener *listener)
{
    struct store_handle *handle = (struct store_handle *)dcs;

    handle->listener = *listener;
    handle->is_started = true;
    handle->heard_ns = handle->sim->now_ns;
    sim_post(handle->sim, handle->node, ACTOR_AGENT, MS, &(struct event){.run = on_ping});
}

static void on_refused(struct sim *sim, struct event *event)
{
    end_open(sim->nodes[event->node].store, event->a, DCS_REFUSED, 0);
}

static void on_timeout(struct sim *sim, struct event *event)
{
    end_open(sim->nodes[event->node].store, event->a, DCS_UNKNOWN, 0);
}

static const char *copy_text(char **room, const char *text)
{
    char *start = *room;
    size_t size;

    if (text == NULL) {
        return NULL;
    }
    size = strlen(text) + 1;
    memcpy(start, text, size);
    *room += size;
    return start;
}

static size_t text_size(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static struct message *pack(struct store_handle *handle, const struct dcs_txn *txn)
{
    struct message *message;
    size_t size = 0;
    char *room;

    for (unsigned at = 0; at < txn->compare_count; at++) {
        size += text_size(txn->compares[at].value);
    }
    for (unsigned at = 0; at < txn->op_count; at++) {
        size += text_size(txn->ops[at].value);
    }
    message = new_message(handle, MESSAGE_TXN, size);
    room = message->texts;
    message->change.compare_count = txn->compare_count;
    message->change.op_count = txn->op_count;
    message->change.session = handle->session;
    for (unsigned at = 0; at < txn->compare_count; at++) {
        const struct dcs_compare *from = &txn->compares[at];
        struct change_compare *to = &message->change.compares[at];

        to->kind = from->kind;
        to->revision = from->revision;
        to->value = copy_text(&room, from->value);
        IGNORE(!str_copy(to->key, sizeof(to->key), from->key), "keys are short");
    }
    for (unsigned at = 0; at < txn->op_count; at++) {
        const struct dcs_op *from = &txn->ops[at];
        struct change_op *to = &message->change.ops[at];

        to->kind = from->kind;
        to->with_session = from->with_session;
        to->value = copy_text(&room, from->value);
        IGNORE(!str_copy(to->key, sizeof(to->key), from->key), "keys are short");
    }
    return message;
}

static bool needs_session(const struct dcs_txn *txn)
{
    for (unsigned at = 0; at < txn->op_count; at++) {
        if (txn->ops[at].with_session) {
            return true;
        }
    }
    return false;
}

static void handle_txn(
    struct dcs *dcs, const struct dcs_txn *txn, int64_t timeout_ms, dcs_done *done, void *arg)
{
    struct store_handle *handle = (struct store_handle *)dcs;
    struct sim *sim = handle->sim;
    struct message *message = pack(handle, txn);
    struct open *open = find_open(handle, 0);
    bool is_cut = net_is_cut(sim, handle->node->index, STORE_PLACE);

    ASSERT(!handle->is_freeing);
    ASSERT(open != NULL);
    *open = (struct open){message->number, done, arg};
    if ((needs_session(txn) && handle->session == 0) ||
        (is_cut && rng_chance(sim, STREAM_STORE, 200))) {
        sim_post(
            sim, handle->node, ACTOR_AGENT, rng_between(sim, STREAM_STORE, 1000, 3 * MS),
            &(struct event){.run = on_refused, .a = message->number});
        message_free(message);
        return;
    }
    sim_post(
        sim, handle->node, ACTOR_AGENT, timeout_ms * MS,
        &(struct event){.run = on_timeout, .a = message->number});
    store_send(sim, handle->node, message);
}

static void handle_refresh(struct dcs *dcs)
{
    struct store_handle *handle = (struct store_handle *)dcs;

    if (!handle->is_freeing) {
        store_send(handle->sim, handle->node, new_message(handle, MESSAGE_REFRESH, 0));
    }
}

static void handle_set_times(struct dcs *dcs, int64_t ttl_ms, int64_t retry_timeout_ms)
{
    struct store_handle *handle = (struct store_handle *)dcs;

    handle->ttl_ms = ttl_ms;
    handle->retry_timeout_ms = retry_timeout_ms;
}

static void handle_end_session(struct dcs *dcs)
{
    struct store_handle *handle = (struct store_handle *)dcs;

    handle->is_given_up = true;
    if (handle->session != 0) {
        store_send(handle->sim, handle->node, new_message(handle, MESSAGE_END, 0));
        handle->session = 0;
    }
}

static void handle_free(struct dcs *dcs)
{
    struct store_handle *handle = (struct store_handle *)dcs;

    handle->is_freeing = true;
    for (size_t at = 0; at < OPEN_MAX; at++) {
        end_open(handle, handle->open[at].number, DCS_UNKNOWN, 0);
    }
    mem_free(handle);
}

static const struct dcs_driver driver = {
    .name = "simulated",
    .start = handle_start,
    .txn = handle_txn,
    .refresh = handle_refresh,
    .set_times = handle_set_times,
    .end_session = handle_end_session,
    .free = handle_free,
};

struct dcs *store_connect(struct sim *sim, struct node *node)
{
    struct store_handle *handle = mem_alloc(sizeof(*handle));

    handle->dcs.driver = &driver;
    handle->sim = sim;
    handle->node = node;
    handle->ttl_ms = TTL_DEFAULT_MS;
    handle->incarnation = sim->store->incarnation;
    str_copy(handle->health.endpoint, sizeof(handle->health.endpoint), "sim");
    return &handle->dcs;
}
