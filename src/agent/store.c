#include "agent/store.h"

#include "base/assert.h"
#include "base/mem.h"
#include "dcs/etcd.h"

#define ENDPOINT_SIZE (HOST_SIZE + 24)

struct store {
    struct loop *loop;
    const struct config *config;
    struct client *client;
};

int store_new(
    struct loop *loop, const struct config *config, struct client *client,
    const char *guard_program, struct store **ret, struct err *e)
{
    struct store *store = mem_alloc(sizeof(*store));

    ASSERT(guard_program != NULL);
    ASSERT(e != NULL);
    store->loop = loop;
    store->config = config;
    store->client = client;
    *ret = store;
    return 0;
}

struct dcs *store_connect(struct store *store)
{
    const struct config_etcd *etcd = &store->config->etcd;
    char texts[HOSTS_MAX][ENDPOINT_SIZE];
    const char *endpoints[HOSTS_MAX];
    struct etcd_options options = {
        .endpoints = endpoints,
        .prefix = store->config->prefix,
        .user = etcd->username,
        .password = etcd->password,
        .ca_file = etcd->tls.ca_file,
        .cert_file = etcd->tls.cert_file,
        .key_file = etcd->tls.key_file,
    };

    for (unsigned at = 0; at < etcd->host_count; at++) {
        char address[HOST_SIZE + 10];

        url_format_address(etcd->hosts[at].host, etcd->hosts[at].port, address, sizeof(address));
        IGNORE(
            !str_format(
                texts[at], sizeof(texts[at]), "%s://%s", etcd->is_https ? "https" : "http",
                address),
            "config limits hosts");
        endpoints[at] = texts[at];
    }
    options.endpoint_count = etcd->host_count;
    return etcd_new(store->loop, &options);
}

void store_start(struct store *store)
{
    ASSERT(store != NULL);
}

void store_leave(struct store *store)
{
    ASSERT(store != NULL);
}

char *store_answer(const struct store *store)
{
    ASSERT(store != NULL);
    return NULL;
}

const char *store_problem(const struct store *store)
{
    ASSERT(store != NULL);
    return "";
}

void store_free(struct store *store)
{
    mem_free(store);
}
