#include "dcs/store_server.h"

#include "base/assert.h"
#include "base/str.h"

/* etcd listens on addresses, not names: a name of this host becomes "all addresses". */
static void listen_url(const char *url, char *ret, size_t size)
{
    const char *host = strstr(url, "://");
    const char *port = strrchr(url, ':');
    bool is_address = false;

    host = host != NULL ? host + 3 : url;
    is_address = *host == '[' || str_starts(host, "localhost:") ||
                 strspn(host, "0123456789.") == (size_t)(port > host ? port - host : 0);
    if (is_address || port < host) {
        IGNORE(!str_copy(ret, size, url), "same size");
        return;
    }
    IGNORE(
        !str_format(ret, size, "%.*s0.0.0.0%s", (int)(host - url), url, port), "a name is longer");
}

static void add(struct store_arguments *arguments, const char *name, const char *value)
{
    ASSERT(arguments->count + 3 <= STORE_ARGUMENTS_MAX);
    arguments->items[arguments->count++] = name;
    if (value != NULL) {
        arguments->items[arguments->count++] = value;
    }
}

static void add_cluster(const struct store_server *server, struct store_arguments *arguments)
{
    if (server->initial_cluster != NULL) {
        add(arguments, "--initial-cluster", server->initial_cluster);
    } else {
        /* With data etcd ignores it, but wants its own name in it. */
        IGNORE(
            !str_format(
                arguments->cluster, sizeof(arguments->cluster), "%s=%s", server->self->name,
                server->self->peer_url),
            "it fits");
        add(arguments, "--initial-cluster", arguments->cluster);
    }
    /* Never "new" without having agreed on it: a member that lost its log must not start afresh. */
    add(arguments, "--initial-cluster-state", server->is_forming ? "new" : "existing");
    if (server->token[0] != '\0') {
        add(arguments, "--initial-cluster-token", server->token);
    }
}

static void add_tls(const struct http_tls *tls, struct store_arguments *arguments)
{
    add(arguments, "--cert-file", tls->cert_file);
    add(arguments, "--key-file", tls->key_file);
    add(arguments, "--trusted-ca-file", tls->ca_file);
    add(arguments, "--client-cert-auth", NULL);
    add(arguments, "--peer-cert-file", tls->cert_file);
    add(arguments, "--peer-key-file", tls->key_file);
    add(arguments, "--peer-trusted-ca-file", tls->ca_file);
    add(arguments, "--peer-client-cert-auth", NULL);
}

void store_server_arguments(const struct store_server *server, struct store_arguments *ret)
{
    bool is_whole = true;

    *ret = (struct store_arguments){.count = 0};
    is_whole &= str_format(ret->heartbeat, sizeof(ret->heartbeat), "%d", server->heartbeat_ms);
    is_whole &= str_format(ret->election, sizeof(ret->election), "%d", server->election_ms);
    is_whole &= str_format(ret->quota, sizeof(ret->quota), "%" PRId64, server->quota_bytes);
    ASSERT(is_whole);
    listen_url(server->self->client_url, ret->client, sizeof(ret->client));
    listen_url(server->self->peer_url, ret->peer, sizeof(ret->peer));
    add(ret, server->program, NULL);
    add(ret, "--name", server->self->name);
    add(ret, "--data-dir", server->data_dir);
    add(ret, "--listen-client-urls", ret->client);
    add(ret, "--advertise-client-urls", server->self->client_url);
    add(ret, "--listen-peer-urls", ret->peer);
    add(ret, "--initial-advertise-peer-urls", server->self->peer_url);
    add(ret, "--heartbeat-interval", ret->heartbeat);
    add(ret, "--election-timeout", ret->election);
    /* One that was cut off for a while must not depose the leader when it comes back. */
    add(ret, "--pre-vote=true", NULL);
    add(ret, "--snapshot-count", "10000");
    add(ret, "--auto-compaction-mode", "periodic");
    add(ret, "--auto-compaction-retention", "1h");
    add(ret, "--logger", "zap");
    add(ret, "--log-outputs", "stderr");
    add(ret, "--log-level", "warn");
    if (server->quota_bytes > 0) {
        add(ret, "--quota-backend-bytes", ret->quota);
    }
    add_cluster(server, ret);
    if (server->tls->cert_file[0] != '\0') {
        add_tls(server->tls, ret);
    }
}
