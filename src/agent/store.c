#include "agent/store.h"

#include "base/assert.h"
#include "base/mem.h"
#include "dcs/etcd.h"
#include "dcs/member.h"

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

/* All answers of a round are there: the member decides, the drivers learn of new members. */
static void end_round(struct store *store)
{
    char texts[HOSTS_MAX][ENDPOINT_SIZE];
    const char *endpoints[HOSTS_MAX];
    unsigned count;

    store_member_set_answers(store->member, store->peers, store->peer_count);
    count = own_endpoints(store, texts);
    for (unsigned at = 0; at < count; at++) {
        endpoints[at] = texts[at];
    }
    for (size_t at = 0; at < STORE_DRIVERS_MAX; at++) {
        if (store->drivers[at] != NULL) {
            etcd_set_endpoints(store->drivers[at], endpoints, count);
        }
    }
    loop_timer_start(store->poll, store_member_is_ready(store->member) ? POLL_MS : POLL_FORMING_MS);
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

const char *store_status(const struct store *store)
{
    return store->member != NULL ? store_member_status(store->member) : "";
}

void store_free(struct store *store)
{
    if (store == NULL) {
        return;
    }
    loop_timer_free(store->poll);
    store_member_free(store->member);
    http_free(store->http);
    mem_free(store);
}
