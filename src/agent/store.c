#include "agent/store.h"

#include "base/assert.h"
#include "base/mem.h"
#include "dcs/etcd.h"
#include "dcs/member.h"
#include "dcs/store_roll.h"

#define ENDPOINT_SIZE (HOST_SIZE + 24)

/* The peers are asked often while the store forms, and now and then later: members come and go. */
#define POLL_FORMING_MS 300
#define POLL_MS 2000
#define POLL_TIMEOUT_MS 1000

struct store {
    struct loop *loop;
    const struct config *config;
    struct client *client;
    struct dcs *drivers[STORE_DRIVERS_MAX];

    /* Of an own member; NULL and empty for an external store. */
    struct http *http;
    struct store_member *member;
    struct loop_timer *poll;
    unsigned peer_count;
    unsigned pending; /* answers still to come of this round */
    struct formation_peer peers[HOSTS_MAX];
    struct store_roll_call *roll_call; /* under way */
    struct store_roll roll;            /* the last one; no members: none yet */
    char roll_problem[256];            /* why there is no newer one; "" there is */
    struct api_call *change;           /* that an operator waits for */
    const char *change_text;           /* the answer when it is done */
    char guard_program[PATH_SIZE];
};

_Static_assert(HOSTS_MAX <= FORMATION_PEERS_MAX, "every configured peer can be a member");

static bool has_member(const struct store *store)
{
    return store->config->etcd.host_count == 0;
}

/* "http://host:port" of ADDRESS. */
static void format_url(const struct address *address, bool is_https, char *buffer, size_t size)
{
    char text[HOST_SIZE + 10];

    url_format_address(address->host, address->port, text, sizeof(text));
    IGNORE(
        !str_format(buffer, size, "%s://%s", is_https ? "https" : "http", text), "config limits");
}

int store_new(
    struct loop *loop, const struct config *config, struct client *client,
    const char *guard_program, struct store **ret, struct err *e)
{
    struct store *store = mem_alloc(sizeof(*store));

    store->loop = loop;
    store->config = config;
    store->client = client;
    *ret = store;
    if (!str_copy(store->guard_program, sizeof(store->guard_program), guard_program)) {
        return FAIL(e, ERR_LIMIT, "the path of the guard is too long");
    }
    return 0;
}

static unsigned own_endpoints(const struct store *store, char (*texts)[ENDPOINT_SIZE])
{
    char urls[HOSTS_MAX][ETCD_URL_SIZE];
    unsigned count = 0;

    if (store->member != NULL) {
        count = store_member_endpoints(store->member, urls, HOSTS_MAX);
    }
    for (unsigned at = 0; at < count; at++) {
        IGNORE(!str_copy(texts[at], ENDPOINT_SIZE, urls[at]), "both limit hosts");
    }
    if (count == 0) {
        format_url(&store->config->store.client, false, texts[0], ENDPOINT_SIZE);
        count = 1;
    }
    return count;
}

static unsigned endpoints_of(const struct store *store, char (*texts)[ENDPOINT_SIZE])
{
    const struct config_etcd *etcd = &store->config->etcd;

    if (has_member(store)) {
        return own_endpoints(store, texts);
    }
    for (unsigned at = 0; at < etcd->host_count; at++) {
        format_url(&etcd->hosts[at], etcd->is_https, texts[at], ENDPOINT_SIZE);
    }
    return etcd->host_count;
}

struct dcs *store_connect(struct store *store)
{
    const struct config_etcd *etcd = &store->config->etcd;
    char texts[HOSTS_MAX][ENDPOINT_SIZE];
    const char *endpoints[HOSTS_MAX];
    struct etcd_options options = {
        .endpoints = endpoints,
        .endpoint_count = endpoints_of(store, texts),
        .prefix = store->config->prefix,
        .user = etcd->username,
        .password = etcd->password,
        .ca_file = etcd->tls.ca_file,
        .cert_file = etcd->tls.cert_file,
        .key_file = etcd->tls.key_file,
    };
    size_t slot = 0;

    for (unsigned at = 0; at < options.endpoint_count; at++) {
        endpoints[at] = texts[at];
    }
    while (slot < STORE_DRIVERS_MAX && store->drivers[slot] != NULL) {
        slot++;
    }
    ASSERT(slot < STORE_DRIVERS_MAX);
    store->drivers[slot] = etcd_new(store->loop, &options);
    return store->drivers[slot];
}

void store_disconnect(struct store *store, struct dcs *dcs)
{
    for (size_t at = 0; at < STORE_DRIVERS_MAX; at++) {
        if (dcs != NULL && store->drivers[at] == dcs) {
            store->drivers[at] = NULL;
        }
    }
    dcs_free(dcs);
}

/* The drivers learn of new members, and of those that are gone. */
static void tell_drivers(struct store *store)
{
    char texts[HOSTS_MAX][ENDPOINT_SIZE];
    const char *endpoints[HOSTS_MAX];
    unsigned count = own_endpoints(store, texts);

    for (unsigned at = 0; at < count; at++) {
        endpoints[at] = texts[at];
    }
    for (size_t at = 0; at < STORE_DRIVERS_MAX; at++) {
        if (store->drivers[at] != NULL) {
            etcd_set_endpoints(store->drivers[at], endpoints, count);
        }
    }
}

/* What the agents said, and what only etcd knows. */
static void tell_member(struct store *store)
{
    AUTO_FREE struct formation_peer *peers = mem_alloc(sizeof(*peers) * FORMATION_PEERS_MAX);
    struct formation_self self = {0};
    struct store_answer own;
    unsigned count = store->peer_count;

    store_member_answer(store->member, &own);
    IGNORE(!str_copy(self.peer_url, sizeof(self.peer_url), own.peer_url), "same size");
    memcpy(peers, store->peers, count * sizeof(*peers));
    count = store_roll_add_peers(&store->roll, &self, peers, count, FORMATION_PEERS_MAX);
    store_member_set_answers(store->member, peers, count);
    tell_drivers(store);
}

static void on_roll(void *arg, int result, const struct store_roll *roll, const char *why)
{
    struct store *store = arg;

    store->roll_call = NULL;
    IGNORE(!str_copy(store->roll_problem, sizeof(store->roll_problem), why), "cut is fine");
    if (result < 0) {
        /* The addresses may still be good, but nobody is said to answer. */
        store->roll.leader_id = 0;
        return;
    }
    store->roll = *roll;
    tell_member(store);
}

static void call_roll(struct store *store)
{
    char urls[FORMATION_PEERS_MAX][ETCD_URL_SIZE];

    if (store->roll_call == NULL) {
        store->roll_call = store_roll_call(
            store->http, NULL, urls,
            store_member_endpoints(store->member, urls, FORMATION_PEERS_MAX), on_roll, store);
    }
}

/* All answers of a round are there. */
static void end_round(struct store *store)
{
    struct store_answer own;
    bool is_settled;

    tell_member(store);
    call_roll(store);
    store_member_answer(store->member, &own);
    is_settled = store_member_is_ready(store->member) || own.state == STORE_LEFT;
    loop_timer_start(store->poll, is_settled ? POLL_MS : POLL_FORMING_MS);
}

static void on_store_answer(void *arg, const struct address *address, const char *json)
{
    struct store *store = arg;
    char text[ETCD_URL_SIZE];

    url_format_address(address->host, address->port, text, sizeof(text));
    for (unsigned at = 0; at < store->peer_count; at++) {
        struct formation_peer *peer = &store->peers[at];

        if (!str_equal(peer->address, text)) {
            continue;
        }
        if (json == NULL || formation_decode(json, strlen(json), &peer->answer, NULL) < 0) {
            peer->answer = (struct store_answer){.state = STORE_UNREACHABLE};
        }
    }
    ASSERT(store->pending > 0);
    store->pending--;
    if (store->pending == 0) {
        end_round(store);
    }
}

static void poll_peers(void *arg)
{
    struct store *store = arg;

    store->pending = store->peer_count;
    for (unsigned at = 0; at < store->peer_count; at++) {
        client_poll_store(
            store->client, &store->config->store.peers[at], POLL_TIMEOUT_MS, on_store_answer,
            store);
    }
}

void store_start(struct store *store)
{
    const struct config *config = store->config;
    const char *peers[HOSTS_MAX];
    char client_url[ETCD_URL_SIZE];
    char peer_url[ETCD_URL_SIZE];
    struct store_member_options options = {
        .scope = config->scope,
        .name = config->name,
        .client_url = client_url,
        .peer_url = peer_url,
        .data_dir = config->store.data_dir,
        .runtime_dir = config->postgresql.runtime_dir,
        .guard_program = store->guard_program,
        .peers = peers,
        .peer_count = config->store.peer_count,
        .heartbeat_ms = config->store.heartbeat_ms,
        .election_ms = config->store.election_ms,
    };

    if (!has_member(store)) {
        return;
    }
    format_url(&config->store.client, false, client_url, sizeof(client_url));
    format_url(&config->store.peer, false, peer_url, sizeof(peer_url));
    store->peer_count = config->store.peer_count;
    for (unsigned at = 0; at < store->peer_count; at++) {
        struct formation_peer *peer = &store->peers[at];

        url_format_address(
            config->store.peers[at].host, config->store.peers[at].port, peer->address,
            sizeof(peer->address));
        peers[at] = peer->address;
    }
    store->http = http_new(store->loop);
    store->member = store_member_new(store->loop, store->http, &options);
    store->poll = loop_timer_new(store->loop, poll_peers, store);
    loop_timer_start(store->poll, 0);
}

void store_stop(struct store *store)
{
    if (store->member != NULL) {
        store_member_stop(store->member);
    }
}

char *store_answer(const struct store *store)
{
    struct store_answer answer = {0};

    if (store->member == NULL) {
        return NULL;
    }
    store_member_answer(store->member, &answer);
    return formation_encode(&answer);
}

char *store_members(const struct store *store, struct err *e)
{
    if (store->member == NULL) {
        IGNORE(
            FAIL(
                e, ERR_NOT_FOUND,
                "the store is not run by the agents\nhint: its members are those of the section "
                "etcd or etcd3; etcdctl member list"),
            "forwarded as NULL");
        return NULL;
    }
    if (store->roll.count == 0 || store->roll_problem[0] != '\0') {
        IGNORE(
            FAIL(
                e, ERR_UNAVAILABLE, "the members of the store are not known: %s",
                store->roll_problem[0] != '\0' ? store->roll_problem
                                               : store_member_status(store->member)),
            "forwarded as NULL");
        return NULL;
    }
    return store_roll_encode(&store->roll);
}

static void on_changed(void *arg, int result, const char *why)
{
    struct store *store = arg;

    tell_drivers(store);
    store_roll_call_free(TAKE(store->roll_call));
    call_roll(store);
    api_answer(
        TAKE(store->change), result < 0 ? err_http_status(result) : 200,
        result < 0 ? why : store->change_text);
}

void store_change(
    struct store *store, enum api_store_change what, const char *name, struct api_call *call)
{
    if (store->member == NULL) {
        api_answer(call, err_http_status(ERR_NOT_FOUND), "the store is not run by the agents");
        return;
    }
    if (store->change != NULL) {
        api_answer(
            call, err_http_status(ERR_CONFLICT),
            "another change of the store is under way\nhint: wait for its end");
        return;
    }
    store->change = call;
    switch (what) {
    case API_STORE_LEAVE:
        store->change_text = "this node has left the store";
        store_member_leave(store->member, on_changed, store);
        break;
    case API_STORE_REMOVE:
        store->change_text = "the member was taken out of the store";
        store_member_remove(store->member, name, on_changed, store);
        break;
    case API_STORE_JOIN:
        store->change_text = "this node is joining the store";
        store_member_join(store->member, on_changed, store);
        break;
    }
    /* A member that is going is not asked any more. */
    tell_drivers(store);
}

const char *store_status(const struct store *store)
{
    return store->member != NULL ? store_member_status(store->member) : "";
}

void store_free(struct store *store)
{
    if (store == NULL) {
        return;
    }
    if (store->change != NULL) {
        api_answer(
            TAKE(store->change), err_http_status(ERR_UNAVAILABLE),
            "the agent is stopping; see 'baton store' for the outcome");
    }
    loop_timer_free(store->poll);
    store_roll_call_free(store->roll_call);
    store_member_free(store->member);
    http_free(store->http);
    mem_free(store);
}
