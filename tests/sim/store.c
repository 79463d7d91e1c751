#include "tests/sim/sim.h"

#include "base/assert.h"

/* The store itself: versions, transactions, sessions. What an agent's process has of it is in
 * store_handle.c.
 *
 * A version is an immutable set of keys; all are kept until the end of the run, so that a late
 * watch event can still show an old one. */
#include "tests/sim/store.h"

#define SERVICE_MIN_NS (300 * MS / 1000)
#define SERVICE_MAX_NS (4 * MS)

/* A lost request is sent again by its host for so long. */
#define HELD_LIMIT_NS (10 * SECOND)
#define HELD_RETRY_NS (200 * MS)

struct store *store_new(struct sim *sim)
{
    struct store *store = mem_alloc(sizeof(*store));

    ASSERT(sim->store == NULL);
    store->slow = 1;
    store->has_quorum = true;
    store->versions = mem_alloc_array(1, sizeof(struct version *));
    store->versions[0] = mem_alloc(sizeof(struct version));
    store->versions[0]->revision = 1;
    store->version_count = 1;
    store->version_space = 1;
    return store;
}

void store_free(struct store *store)
{
    if (store == NULL) {
        return;
    }
    for (unsigned at = 0; at < store->version_count; at++) {
        mem_free(store->versions[at]);
    }
    for (unsigned at = 0; at < store->text_count; at++) {
        mem_free(store->texts[at]);
    }
    for (unsigned at = 0; at < store->waiting_count; at++) {
        message_free(store->waiting[at]);
    }
    mem_free(store->versions);
    mem_free(store->texts);
    mem_free(store);
}

void message_free(struct message *message)
{
    mem_free(message);
}

const struct version *store_newest(const struct store *store)
{
    return store->versions[store->version_count - 1];
}

static const struct key *find_key(const struct version *version, const char *name)
{
    for (unsigned at = 0; at < version->count; at++) {
        if (str_equal(version->keys[at].name, name)) {
            return &version->keys[at];
        }
    }
    return NULL;
}

static const char *keep_text(struct store *store, const char *text)
{
    if (store->text_count == store->text_space) {
        store->text_space = MAX(64u, store->text_space * 2);
        store->texts = mem_resize(store->texts, store->text_space * sizeof(*store->texts));
    }
    store->texts[store->text_count] = mem_dup(text);
    return store->texts[store->text_count++];
}

static void put_key(struct store *store, struct version *version, const struct key *key)
{
    unsigned at = 0;

    while (at < version->count && strcmp(version->keys[at].name, key->name) < 0) {
        at++;
    }
    if (at == version->count || !str_equal(version->keys[at].name, key->name)) {
        ASSERT(version->count < KEYS_MAX);
        memmove(
            &version->keys[at + 1], &version->keys[at],
            (version->count - at) * sizeof(version->keys[0]));
        version->count++;
        version->keys[at].name = keep_text(store, key->name);
    }
    version->keys[at].value = keep_text(store, key->value);
    version->keys[at].revision = version->revision;
    version->keys[at].session = key->session;
}

static bool delete_key(struct version *version, unsigned at)
{
    memmove(
        &version->keys[at], &version->keys[at + 1],
        (version->count - at - 1) * sizeof(version->keys[0]));
    version->count--;
    return true;
}

static void broadcast(struct sim *sim)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        store_show(sim, &sim->nodes[at]);
    }
}

/* What the checkers want to know of a commit. */
static void watch_keys(struct sim *sim, const struct version *before, const struct version *after)
{
    const struct key *old = find_key(before, KEY_LEASE);
    const struct key *new = find_key(after, KEY_LEASE);

    if (new != NULL && (old == NULL || old->revision != new->revision)) {
        check_lease(sim, old != NULL ? old->value : NULL, new->value);
    }
    old = find_key(before, KEY_STATUS);
    new = find_key(after, KEY_STATUS);
    if (new != NULL && (old == NULL || old->revision != new->revision)) {
        check_status(sim, new->value);
    }
    old = find_key(before, KEY_CONFIG);
    new = find_key(after, KEY_CONFIG);
    if (new != NULL && (old == NULL || old->revision != new->revision)) {
        check_config_changed(sim, new->value);
    }
    old = find_key(before, KEY_SYNC);
    new = find_key(after, KEY_SYNC);
    if ((old != NULL ? old->revision : 0) != (new != NULL ? new->revision : 0)) {
        check_sync_changed(sim);
    }
}

static void commit(struct sim *sim, const struct version *version)
{
    struct store *store = sim->store;
    size_t size =
        sizeof(*version) - sizeof(version->keys) + version->count * sizeof(version->keys[0]);
    struct version *kept = mem_alloc(size);

    memcpy(kept, version, size);
    if (store->version_count == store->version_space) {
        store->version_space *= 2;
        store->versions =
            mem_resize(store->versions, store->version_space * sizeof(*store->versions));
    }
    store->versions[store->version_count++] = kept;
    if (!store->is_restoring) {
        watch_keys(sim, store->versions[store->version_count - 2], kept);
    }
    broadcast(sim);
}

/* A copy of the newest version to be changed, with the next revision. Only what is in use is
 * copied. */
static void edit(const struct store *store, struct version *ret)
{
    const struct version *newest = store_newest(store);

    ret->revision = newest->revision + 1;
    ret->count = newest->count;
    memcpy(ret->keys, newest->keys, newest->count * sizeof(newest->keys[0]));
}

/* ---- sessions ---- */

static struct session *find_session(struct store *store, int64_t id)
{
    ASSERT(id >= 0);
    return id > 0 && id <= (int64_t)store->session_count ? &store->sessions[id - 1] : NULL;
}

bool session_is_alive(struct store *store, int64_t id)
{
    const struct session *session = find_session(store, id);

    return session != NULL && session->is_alive;
}

static void end_session(struct sim *sim, struct session *session)
{
    static struct version version;
    bool is_changed = false;

    if (!session->is_alive) {
        return;
    }
    session->is_alive = false;
    sim->nodes[session->node].unlisted_ns = sim->now_ns;
    edit(sim->store, &version);
    for (unsigned at = version.count; at > 0; at--) {
        if (version.keys[at - 1].session == session->id) {
            is_changed |= delete_key(&version, at - 1);
        }
    }
    sim_trace(
        sim, &sim->nodes[session->node], "store.session-end", "session %" PRId64, session->id);
    if (is_changed) {
        commit(sim, &version);
    }
}

static void on_session_due(struct sim *sim, struct event *event)
{
    struct session *session = find_session(sim->store, event->a);

    ASSERT(session != NULL);
    if (!session->is_alive) {
        return;
    }
    if (!sim->store->has_quorum || session->end_ns > sim->now_ns) {
        sim_post(
            sim, NULL, ACTOR_WORLD, MAX(session->end_ns - sim->now_ns, 100 * MS),
            &(struct event){.run = on_session_due, .a = session->id});
        return;
    }
    end_session(sim, session);
}

int64_t session_keep(struct sim *sim, struct node *node, int64_t id, int64_t ttl_ms)
{
    struct store *store = sim->store;
    struct session *session = find_session(store, id);

    if (session != NULL && !session->is_alive && store->is_false[node->index]) {
        return id;
    }
    if (session == NULL || !session->is_alive) {
        ASSERT(store->session_count < SESSIONS_MAX);
        session = &store->sessions[store->session_count++];
        *session = (struct session){
            .id = (int64_t)store->session_count, .node = node->index, .is_alive = true};
        session->end_ns = sim->now_ns + ttl_ms * MS;
        sim_post(
            sim, NULL, ACTOR_WORLD, ttl_ms * MS,
            &(struct event){.run = on_session_due, .a = session->id});
    }
    session->ttl_ms = ttl_ms;
    session->end_ns = MAX(session->end_ns, sim->now_ns + ttl_ms * MS);
    return session->id;
}

/* ---- transactions ---- */

static bool holds(const struct version *version, const struct change *change, unsigned at)
{
    const struct change_compare *compare = &change->compares[at];
    const struct key *key = find_key(version, compare->key);

    switch (compare->kind) {
    case DCS_IS_ABSENT:
        return key == NULL;
    case DCS_VALUE_IS:
        return key != NULL && str_equal(key->value, compare->value);
    case DCS_REVISION_IS:
        return key != NULL && key->revision == compare->revision;
    }
    return false;
}

static enum dcs_outcome apply(struct sim *sim, const struct change *change)
{
    static struct version version;
    struct store *store = sim->store;
    bool is_changed = false;

    for (unsigned at = 0; at < change->compare_count; at++) {
        if (!holds(store_newest(store), change, at)) {
            return DCS_LOST_RACE;
        }
    }
    for (unsigned at = 0; at < change->op_count; at++) {
        if (change->ops[at].with_session && !session_is_alive(store, change->session)) {
            return DCS_REFUSED;
        }
    }
    edit(store, &version);
    for (unsigned at = 0; at < change->op_count; at++) {
        const struct change_op *op = &change->ops[at];
        const struct key *known = find_key(&version, op->key);

        if (op->kind == DCS_PUT) {
            put_key(
                store, &version,
                &(struct key){
                    .name = op->key,
                    .value = op->value,
                    .session = op->with_session ? change->session : 0});
            is_changed = true;
        } else if (known != NULL) {
            is_changed |= delete_key(&version, (unsigned)(known - version.keys));
        }
    }
    if (is_changed) {
        commit(sim, &version);
    }
    return DCS_DONE;
}

static void on_apply(struct sim *sim, struct event *event)
{
    struct message *message = event->data;
    struct node *node = &sim->nodes[message->node];
    enum dcs_outcome outcome;

    if (!sim->store->has_quorum || message->incarnation != sim->store->incarnation) {
        store_receive(sim, TAKE(event->data));
        return;
    }
    sim->check.sent_ns = message->sent_ns;
    outcome = apply(sim, &message->change);
    if (outcome == DCS_DONE && sim->store->denial > 0 &&
        rng_chance(sim, STREAM_STORE, sim->store->denial)) {
        outcome = DCS_LOST_RACE;
    }
    store_reply(sim, node, message, outcome, store_newest(sim->store)->revision);
}

/* Without a majority a proposal is refused, or hangs and may yet be made when there is one again.
 * */
static void wait_for_quorum(struct sim *sim, struct message *message)
{
    struct store *store = sim->store;

    if (message->kind != MESSAGE_TXN || store->waiting_count == WAITING_MAX ||
        rng_chance(sim, STREAM_STORE, 400)) {
        if (message->kind == MESSAGE_TXN) {
            store_reply(sim, &sim->nodes[message->node], message, DCS_REFUSED, 0);
        }
        message_free(message);
        return;
    }
    store->waiting[store->waiting_count++] = message;
}

void store_receive(struct sim *sim, struct message *message)
{
    struct store *store = sim->store;
    struct node *node = &sim->nodes[message->node];
    int64_t delay_ns = rng_log(sim, STREAM_STORE, SERVICE_MIN_NS, SERVICE_MAX_NS) * store->slow;

    if (message->incarnation != store->incarnation) {
        message_free(message);
        return;
    }
    if (!store->has_quorum) {
        wait_for_quorum(sim, message);
        return;
    }
    switch (message->kind) {
    case MESSAGE_TXN:
        sim_post(
            sim, NULL, ACTOR_WORLD, delay_ns, &(struct event){.run = on_apply, .data = message});
        return;
    case MESSAGE_PING:
        message->session = session_keep(sim, node, message->session, message->ttl_ms);
        store_reply(sim, node, message, DCS_DONE, 0);
        break;
    case MESSAGE_REFRESH:
        store_reply(sim, node, message, DCS_DONE, 0);
        break;
    case MESSAGE_END: {
        struct session *session = find_session(store, message->session);

        if (session != NULL) {
            end_session(sim, session);
        }
        store_reply(sim, node, message, DCS_DONE, 0);
        break;
    }
    }
    message_free(message);
}

static void on_receive(struct sim *sim, struct event *event)
{
    struct message *message = event->data;
    int64_t delay_ns;

    if (event->a == 0) {
        store_receive(sim, TAKE(event->data));
        return;
    }
    /* It was lost and is sent again, until the link carries it or the host gives up. */
    if (!sim->nodes[message->node].is_up || sim->now_ns > event->a) {
        return;
    }
    delay_ns = net_delay(sim, message->node, STORE_PLACE);
    sim_post(
        sim, NULL, ACTOR_WORLD, delay_ns < 0 ? HELD_RETRY_NS : delay_ns,
        &(struct event){
            .run = on_receive, .data = TAKE(event->data), .a = delay_ns < 0 ? event->a : 0});
}

void store_send(struct sim *sim, struct node *node, struct message *message)
{
    int64_t delay_ns = net_delay(sim, node->index, STORE_PLACE);
    int64_t output_ns = agent_output_delay(sim, node);

    if (delay_ns >= 0) {
        sim_post(
            sim, NULL, ACTOR_WORLD, delay_ns + output_ns,
            &(struct event){.run = on_receive, .data = message});
    } else if (message->kind == MESSAGE_TXN && rng_chance(sim, STREAM_STORE, 300)) {
        sim_post(
            sim, NULL, ACTOR_WORLD, HELD_RETRY_NS + output_ns,
            &(struct event){.run = on_receive, .data = message, .a = sim->now_ns + HELD_LIMIT_NS});
    } else {
        message_free(message);
    }
}

/* ---- faults and operators ---- */

bool store_has_quorum(const struct sim *sim)
{
    return sim->store->has_quorum;
}

void store_set_quorum(struct sim *sim, bool has_quorum)
{
    struct store *store = sim->store;
    unsigned count = store->waiting_count;
    struct message *waiting[WAITING_MAX];

    if (store->has_quorum == has_quorum) {
        return;
    }
    store->has_quorum = has_quorum;
    if (!has_quorum) {
        return;
    }
    /* The new leader does not know how long they had left, so it gives all of them everything. */
    for (unsigned at = 0; at < store->session_count; at++) {
        struct session *session = &store->sessions[at];

        session->end_ns = MAX(session->end_ns, sim->now_ns + session->ttl_ms * MS);
    }
    memcpy(waiting, store->waiting, sizeof(waiting));
    store->waiting_count = 0;
    for (unsigned at = 0; at < count; at++) {
        if (rng_chance(sim, STREAM_STORE, 500)) {
            store_receive(sim, waiting[at]);
        } else {
            message_free(waiting[at]);
        }
    }
}

static void on_elected(struct sim *sim, struct event *event)
{
    ASSERT(event->data == NULL);
    store_set_quorum(sim, true);
}

void store_change_leader(struct sim *sim)
{
    if (sim->store->has_quorum) {
        store_set_quorum(sim, false);
        sim_post(
            sim, NULL, ACTOR_WORLD, rng_log(sim, STREAM_STORE, 50 * MS, 1500 * MS),
            &(struct event){.run = on_elected});
    }
}

void store_set_slow(struct sim *sim, int factor)
{
    sim->store->slow = factor;
}

void store_set_late(struct sim *sim, int64_t late_ns)
{
    sim->store->late_ns = late_ns;
}

void store_set_stale(struct sim *sim, unsigned node, bool is_stale)
{
    sim->store->stale[node] = is_stale ? store_newest(sim->store) : NULL;
}

bool store_is_stale(const struct sim *sim, unsigned node)
{
    return sim->store->stale[node] != NULL;
}

void store_set_false(struct sim *sim, unsigned node, bool is_false)
{
    sim->store->is_false[node] = is_false;
}

bool store_is_false(const struct sim *sim, unsigned node)
{
    return sim->store->is_false[node];
}

void store_set_denial(struct sim *sim, int per_mille)
{
    sim->store->denial = per_mille;
}

void store_expire_session(struct sim *sim, unsigned node)
{
    for (unsigned at = 0; at < sim->store->session_count; at++) {
        struct session *session = &sim->store->sessions[at];

        if (session->is_alive && session->node == node) {
            end_session(sim, session);
        }
    }
}

bool store_has_session(const struct sim *sim, unsigned node)
{
    for (unsigned at = 0; at < sim->store->session_count; at++) {
        if (sim->store->sessions[at].is_alive && sim->store->sessions[at].node == node) {
            return true;
        }
    }
    return false;
}

void store_put(struct sim *sim, const char *key, const char *value)
{
    static struct version version;

    edit(sim->store, &version);
    put_key(sim->store, &version, &(struct key){.name = key, .value = value});
    commit(sim, &version);
}

void store_keep(struct sim *sim)
{
    sim->store->kept = sim->store->version_count - 1;
}

/* Sessions live as long again as they may: those of agents that are gone end then. What is on its
 * way to the store of before never arrives. */
void store_restore(struct sim *sim)
{
    static struct version version;
    struct store *store = sim->store;
    const struct version *old = store->versions[store->kept];

    edit(store, &version);
    version.count = 0;
    for (unsigned at = 0; at < old->count; at++) {
        struct key key = old->keys[at];

        if (key.session == 0 || session_is_alive(store, key.session)) {
            put_key(store, &version, &key);
        }
    }
    for (unsigned at = 0; at < store->session_count; at++) {
        store->sessions[at].end_ns =
            MAX(store->sessions[at].end_ns, sim->now_ns + store->sessions[at].ttl_ms * MS);
    }
    memset(store->stale, 0, sizeof(store->stale));
    store->incarnation++;
    store->is_restoring = true;
    commit(sim, &version);
    store->is_restoring = false;
    check_store_restored(sim);
    sim_trace(sim, NULL, "store.restored", "%u keys", version.count);
}

void store_set_back(struct sim *sim, unsigned age)
{
    unsigned newest = sim->store->version_count - 1;

    sim->store->kept = newest - MIN(age, newest);
    store_restore(sim);
}

void store_delete(struct sim *sim, const char *key)
{
    static struct version version;
    const struct key *known;

    edit(sim->store, &version);
    known = find_key(&version, key);
    if (known != NULL) {
        delete_key(&version, (unsigned)(known - version.keys));
        commit(sim, &version);
    }
}

const char *store_get(const struct sim *sim, const char *key)
{
    const struct key *found = find_key(store_newest(sim->store), key);

    return found != NULL ? found->value : NULL;
}
