#include "dcs/etcd_pool.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "dcs/etcd_call.h"
#include "io/clock.h"

#define VERIFIED_MS 3000 /* an answer proves so long that the endpoint is what it was */
#define FOREIGN_MS 10000 /* an endpoint of another cluster is left alone so long */
#define REGRESS_MS 2000
#define REGRESS_COUNT 3

static char *dup_or_null(const char *text)
{
    return str_is_empty(text) ? NULL : mem_dup(text);
}

struct etcd_pool *etcd_pool_new(struct loop *loop, const struct etcd_options *options)
{
    struct etcd_pool *pool = mem_alloc(sizeof(*pool));

    pool->loop = loop;
    pool->http = http_new(loop);
    pool->ca_file = dup_or_null(options->ca_file);
    pool->cert_file = dup_or_null(options->cert_file);
    pool->key_file = dup_or_null(options->key_file);
    pool->tls = (struct http_tls){
        .ca_file = pool->ca_file, .cert_file = pool->cert_file, .key_file = pool->key_file};
    pool->user = dup_or_null(options->user);
    pool->password = mem_dup(options->password != NULL ? options->password : "");
    pool->look = etcd_wire_look(options->prefix);
    etcd_pool_set_endpoints(pool, options->endpoints, options->endpoint_count);
    return pool;
}

void etcd_pool_free(struct etcd_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    etcd_call_end_all(pool);
    http_free(pool->http);
    mem_free(pool->ca_file);
    mem_free(pool->cert_file);
    mem_free(pool->key_file);
    mem_free(pool->user);
    mem_wipe(pool->password, strlen(pool->password));
    mem_free(pool->password);
    mem_free(pool->look);
    mem_wipe(pool->token, sizeof(pool->token));
    mem_free(pool);
}

/* URL without slashes at its end; false if it is too long or not http(s). */
static bool trim_url(char *buffer, const char *url)
{
    size_t length = 0;

    if (!str_copy(buffer, ETCD_URL_SIZE, url) ||
        (!str_starts(url, "http://") && !str_starts(url, "https://"))) {
        return false;
    }
    length = strlen(buffer);
    while (length > 0 && buffer[length - 1] == '/') {
        buffer[--length] = '\0';
    }
    return true;
}

static bool is_loopback(const char *url)
{
    const char *host = strstr(url, "://");

    host = host != NULL ? host + 3 : url;
    return str_starts(host, "localhost") || str_starts(host, "127.") || str_starts(host, "[::1]") ||
           str_starts(host, "0.0.0.0") || str_starts(host, "[::]");
}

static bool has_url(const struct etcd_endpoint *endpoints, unsigned count, const char *url)
{
    for (unsigned at = 0; at < count; at++) {
        if (str_equal(endpoints[at].url, url)) {
            return true;
        }
    }
    return false;
}

/* The old state of endpoint URL, or a new one. */
static struct etcd_endpoint endpoint_of(const struct etcd_pool *pool, const char *url)
{
    struct etcd_endpoint endpoint = {.is_configured = false};

    for (unsigned at = 0; at < pool->count; at++) {
        if (str_equal(pool->endpoints[at].url, url)) {
            return pool->endpoints[at];
        }
    }
    IGNORE(!str_copy(endpoint.url, sizeof(endpoint.url), url), "trim_url has measured it");
    return endpoint;
}

/* Take over COUNT new ENDPOINTS. Calls in flight know their endpoint by number only, so each is led
 * to where its endpoint is now, or to the first one. */
static void replace(struct etcd_pool *pool, const struct etcd_endpoint *endpoints, unsigned count)
{
    unsigned places[ETCD_POOL_MAX] = {0};

    for (unsigned old = 0; old < pool->count; old++) {
        for (unsigned at = 0; at < count; at++) {
            if (str_equal(pool->endpoints[old].url, endpoints[at].url)) {
                places[old] = at;
            }
        }
    }
    etcd_call_move_all(pool, places);
    pool->preferred = places[pool->preferred];
    pool->auth_endpoint = places[pool->auth_endpoint];
    memcpy(pool->endpoints, endpoints, count * sizeof(*endpoints));
    pool->count = count;
}

void etcd_pool_set_endpoints(struct etcd_pool *pool, const char *const *urls, unsigned count)
{
    struct etcd_endpoint endpoints[ETCD_POOL_MAX];
    unsigned used = 0;
    bool has_loopback = false;

    for (unsigned at = 0; at < count && used < ETCD_ENDPOINTS_MAX; at++) {
        char url[ETCD_URL_SIZE];

        if (!trim_url(url, urls[at]) || has_url(endpoints, used, url)) {
            continue;
        }
        endpoints[used] = endpoint_of(pool, url);
        endpoints[used++].is_configured = true;
        has_loopback |= is_loopback(url);
    }
    if (used == 0) {
        /* Never none: with nothing usable given, the old ones or etcd's default are tried. */
        if (pool->count > 0) {
            return;
        }
        endpoints[used] = endpoint_of(pool, "http://127.0.0.1:2379");
        endpoints[used++].is_configured = true;
        has_loopback = true;
    }
    pool->has_loopback = has_loopback;
    for (unsigned at = 0; at < pool->count && used < ETCD_POOL_MAX; at++) {
        if (!pool->endpoints[at].is_configured &&
            !has_url(endpoints, used, pool->endpoints[at].url)) {
            endpoints[used++] = pool->endpoints[at];
        }
    }
    replace(pool, endpoints, used);
}

void etcd_pool_learn(struct etcd_pool *pool, const struct etcd_members *members)
{
    struct etcd_endpoint endpoints[ETCD_POOL_MAX];
    unsigned used = 0;
    unsigned learned = 0;

    for (unsigned at = 0; at < pool->count; at++) {
        if (pool->endpoints[at].is_configured) {
            endpoints[used++] = pool->endpoints[at];
        }
    }
    for (unsigned at = 0; at < members->count && used < ETCD_POOL_MAX; at++) {
        char url[ETCD_URL_SIZE];

        if (members->items[at].is_learner || !trim_url(url, members->items[at].client_url) ||
            (is_loopback(url) && !pool->has_loopback)) {
            continue;
        }
        learned++;
        if (!has_url(endpoints, used, url)) {
            endpoints[used++] = endpoint_of(pool, url);
        }
    }
    if (learned > 0) {
        replace(pool, endpoints, used);
    }
}

void etcd_pool_url(
    const struct etcd_pool *pool, unsigned at, const char *path, char *buffer, size_t size)
{
    bool is_whole = str_format(
        buffer, size, "%s/%s%s", pool->endpoints[at].url,
        pool->endpoints[at].is_beta ? "v3beta" : "v3", path);

    ASSERT(is_whole);
}

unsigned etcd_pool_next(const struct etcd_pool *pool, unsigned at)
{
    struct instant now = clock_now();

    for (unsigned step = 1; step < pool->count; step++) {
        const struct etcd_endpoint *next = &pool->endpoints[(at + step) % pool->count];

        if (!instant_is_set(next->foreign_at) ||
            instant_elapsed_max_ms(next->foreign_at, now) > FOREIGN_MS) {
            return (at + step) % pool->count;
        }
    }
    return at;
}

void etcd_pool_blame(struct etcd_pool *pool, unsigned at)
{
    ASSERT(at < pool->count);
    pool->endpoints[at].verified_at = (struct instant){0};
    if (pool->preferred == at) {
        pool->preferred = etcd_pool_next(pool, at);
    }
}

bool etcd_pool_is_verified(const struct etcd_pool *pool, unsigned at)
{
    const struct etcd_endpoint *endpoint = &pool->endpoints[at];

    return instant_is_set(endpoint->verified_at) &&
           instant_elapsed_max_ms(endpoint->verified_at, clock_now()) < VERIFIED_MS;
}

static void note_regress(struct etcd_pool *pool)
{
    struct instant now = clock_now();

    if (pool->regress_count++ == 0) {
        pool->regress_at = now;
    }
    pool->is_replaced |= pool->regress_count >= REGRESS_COUNT &&
                         instant_elapsed_min_ms(pool->regress_at, now) >= REGRESS_MS;
}

bool etcd_pool_accept(
    struct etcd_pool *pool, unsigned at, const struct etcd_header *header,
    const struct etcd_header *before, bool is_quorum)
{
    struct etcd_endpoint *endpoint = &pool->endpoints[at];
    bool is_old = header->revision < before->revision || header->raft_term < before->raft_term;

    ASSERT(at < pool->count);
    if (header->cluster_id == 0 || pool->is_replaced) {
        etcd_pool_blame(pool, at);
        return false;
    }
    pool->is_foreign = pool->known.cluster_id != 0 && header->cluster_id != pool->known.cluster_id;
    if (pool->is_foreign) {
        endpoint->foreign_at = clock_now();
        etcd_pool_blame(pool, at);
        return false;
    }
    endpoint->foreign_at = (struct instant){0};
    if (is_old) {
        if (is_quorum) {
            note_regress(pool);
        }
        etcd_pool_blame(pool, at);
        return false;
    }
    if (is_quorum) {
        pool->regress_count = 0;
    }
    pool->known.cluster_id = header->cluster_id;
    pool->known.revision = MAX(pool->known.revision, header->revision);
    pool->known.raft_term = MAX(pool->known.raft_term, header->raft_term);
    endpoint->verified_at = clock_now();
    return true;
}
