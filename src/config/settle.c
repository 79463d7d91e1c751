#include "config/settle.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/codec.h"

#include <strings.h>

#define POSTGRESQL_PORT 5432
/* sockaddr_un.sun_path, with its NUL. */
#define SOCKET_PATH_SIZE 108

/* A finding about PATH, at its line. */
#define REPORT(reader, severity, path, ...) \
    do { \
        str_copy((reader)->where, sizeof((reader)->where), (path)); \
        reader_finding((reader), (severity), reader_line((reader), (path)), __VA_ARGS__); \
    } while (0)

static bool is_wildcard(const char *host)
{
    return host[0] == '\0' || str_equal(host, "0.0.0.0") || str_equal(host, "::") ||
           str_equal(host, "*");
}

/* The first host of "a,b"; or OTHER when that is a wildcard. */
static void first_host(const char *hosts, const char *other, char *buffer)
{
    str_format(buffer, HOST_SIZE, "%.*s", (int)strcspn(hosts, ","), hosts);
    if (is_wildcard(buffer)) {
        str_copy(buffer, HOST_SIZE, other);
    }
}

/* --- Defaults --- */

/* "/patroni/", "patroni" and "//patroni" are the same namespace. */
static void settle_prefix(struct reader *reader)
{
    struct config *config = reader->config;
    char written[PATH_SIZE];
    struct str clean AUTO_STR = STR_INIT(PATH_SIZE);
    bool fits;

    str_copy(written, sizeof(written), config->namespace);
    for (const char *at = written; *at != '\0';) {
        size_t length = strcspn(at, "/");

        if (length > 0) {
            str_add_char(&clean, '/');
            str_add_length(&clean, at, length);
        }
        at += length + (at[length] == '/');
    }
    fits =
        !clean.is_cut && str_copy(config->namespace, sizeof(config->namespace), str_text(&clean));
    fits = fits &&
           str_format(
               config->prefix, sizeof(config->prefix), "%s/%s/", config->namespace, config->scope);
    if (!fits) {
        REPORT(reader, FINDING_ERROR, "namespace", "too long");
    }
}

static void settle_name(struct reader *reader, const char *host_name)
{
    struct config *config = reader->config;

    if (!reader_has(reader, "name")) {
        struct yaml_node node = {.kind = YAML_SCALAR, .is_quoted = true};

        AUTO_FREE char *text = mem_dup(host_name);
        node.text = text;
        str_copy(reader->where, sizeof(reader->where), "name");
        reader->is_default = true;
        reader_option(reader, option_find("name", NULL), &node);
        reader->is_default = false;
    }
    if (!reader_has(reader, "scope")) {
        REPORT(
            reader, FINDING_ERROR, "scope",
            "missing; hint: add \"scope: NAME\", the same on every node of the cluster");
    }
    if (str_equal(config->log_level, "critical") || str_equal(config->log_level, "fatal")) {
        str_copy(config->log_level, sizeof(config->log_level), "error");
    } else if (str_equal(config->log_level, "warn")) {
        str_copy(config->log_level, sizeof(config->log_level), "warning");
    } else if (str_equal(config->log_level, "notset")) {
        str_copy(config->log_level, sizeof(config->log_level), "debug");
    }
}

static void settle_restapi(struct reader *reader, const char *host_name)
{
    struct config_restapi *api = &reader->config->restapi;
    struct config_restapi *ctl = &reader->config->ctl;

    if (api->connect.host[0] == '\0') {
        first_host(api->listen.host, host_name, api->connect.host);
    }
    if (api->connect.port == 0) {
        api->connect.port = api->listen.port;
    }
    if (!reader_has(reader, "ctl.authentication.username") &&
        !reader_has(reader, "ctl.authentication.password")) {
        str_copy(ctl->username, sizeof(ctl->username), api->username);
        str_copy(ctl->password, sizeof(ctl->password), api->password);
    }
    if (ctl->tls.ca_file[0] == '\0') {
        str_copy(ctl->tls.ca_file, PATH_SIZE, api->tls.ca_file);
    }
    if (ctl->tls.cert_file[0] == '\0' && ctl->tls.key_file[0] == '\0') {
        str_copy(ctl->tls.cert_file, PATH_SIZE, api->tls.cert_file);
        str_copy(ctl->tls.key_file, PATH_SIZE, api->tls.key_file);
    }
    ctl->listen = api->listen;
    ctl->connect = api->connect;
    str_copy(ctl->verify_client, sizeof(ctl->verify_client), api->verify_client);
}

/* The listening host comes from restapi.listen, not from the connect address: a host's own name
 * often is 127.0.1.1 in its /etc/hosts, where no standby could reach the server. */
static void settle_addresses(struct reader *reader)
{
    struct config *config = reader->config;
    struct address *listen = &config->postgresql.listen;
    struct address *connect = &config->postgresql.connect;

    if (listen->port == 0) {
        listen->port = connect->port != 0 ? connect->port : POSTGRESQL_PORT;
    }
    if (connect->port == 0) {
        connect->port = listen->port;
    }
    if (connect->host[0] == '\0') {
        first_host(listen->host, config->restapi.connect.host, connect->host);
    }
    if (listen->host[0] == '\0') {
        str_copy(listen->host, sizeof(listen->host), config->restapi.listen.host);
    }
    if (config->store.client.host[0] == '\0') {
        str_copy(config->store.client.host, HOST_SIZE, config->restapi.connect.host);
        config->store.client.port = 2379;
    }
    if (config->store.peer.host[0] == '\0') {
        str_copy(config->store.peer.host, HOST_SIZE, config->restapi.connect.host);
        config->store.peer.port = 2380;
    }
}

/* PATH's default: the data directory with SUFFIX. */
static void derive_folder(struct reader *reader, const char *path, const char *suffix, char *buffer)
{
    const char *data_dir = reader->config->postgresql.data_dir;

    if (buffer[0] != '\0' || data_dir[0] == '\0') {
        return;
    }
    if (!str_format(buffer, PATH_SIZE, "%s%s", data_dir, suffix)) {
        REPORT(reader, FINDING_ERROR, path, "postgresql.data_dir is too long to add %s", suffix);
    }
}

static void settle_folders(struct reader *reader)
{
    struct config_postgresql *postgresql = &reader->config->postgresql;

    if (postgresql->data_dir[0] == '\0' && !reader_has(reader, "postgresql.data_dir")) {
        REPORT(
            reader, FINDING_ERROR, "postgresql.data_dir",
            "missing; hint: name the folder of the database, e.g. /var/lib/postgresql/main");
    }
    derive_folder(reader, "postgresql.runtime_dir", ".baton", postgresql->runtime_dir);
    derive_folder(reader, "store.data_dir", ".store", reader->config->store.data_dir);
    str_copy(postgresql->socket_dir, PATH_SIZE, postgresql->runtime_dir);
    for (unsigned at = 0; at < postgresql->parameters.count; at++) {
        const struct setting *setting = &postgresql->parameters.items[at];
        size_t length = strcspn(setting->value, ",");

        while (length > 0 && setting->value[length - 1] == ' ') {
            length--;
        }
        if (strcasecmp(setting->name, "unix_socket_directories") == 0 && length > 0) {
            IGNORE(
                !str_format(postgresql->socket_dir, PATH_SIZE, "%.*s", (int)length, setting->value),
                "too long is found below");
        }
    }
}

static void settle_accounts(struct reader *reader)
{
    struct config_postgresql *postgresql = &reader->config->postgresql;
    struct {
        const char *name;
        struct account *account;
    } accounts[] = {
        {"superuser", &postgresql->superuser},
        {"replication", &postgresql->replication},
        {"rewind", &postgresql->rewind},
    };
    struct str names AUTO_STR = STR_INIT(64);

    for (size_t at = 0; at < ARRAY_LEN(accounts); at++) {
        if (accounts[at].account->password[0] == '\0') {
            accounts[at].account->is_generated = true;
            str_addf(&names, "%s%s", names.length > 0 ? ", " : "", accounts[at].name);
        }
    }
    if (names.length > 0) {
        REPORT(
            reader, FINDING_NOTE, "postgresql.authentication",
            "no password for %s: generated when the cluster is made, and shared by the agents",
            str_text(&names));
    }
}

/* Patroni's rules, and its words, for two tags that say the same. */
static void settle_priority(
    struct reader *reader, const char *flag_path, const char *priority_path, bool *flag,
    int *priority)
{
    const char *flag_name = option_name(option_find(flag_path, NULL));
    const char *priority_name = option_name(option_find(priority_path, NULL));
    const char *text = *flag ? "True" : "False";
    bool has_priority = reader_has(reader, priority_path);

    if (!reader_has(reader, flag_path)) {
        *flag = has_priority && *priority == 0;
    } else if (has_priority && *flag != (*priority == 0)) {
        REPORT(
            reader, FINDING_WARNING, flag_path,
            "Conflicting configuration between %s: %s and %s: %d. Defaulting to %s: %s", flag_name,
            text, priority_name, *priority, flag_name, text);
    }
    if (*flag) {
        *priority = 0;
    } else if (*priority == 0) {
        *priority = 1;
    }
}

static void settle_tags(struct reader *reader)
{
    struct member_tags *tags = &reader->config->tags;

    settle_priority(
        reader, "tags.nofailover", "tags.failover_priority", &tags->nofailover,
        &tags->failover_priority);
    settle_priority(
        reader, "tags.nosync", "tags.sync_priority", &tags->nosync, &tags->sync_priority);
}

static unsigned count_hosts(const struct address *hosts)
{
    unsigned count = 0;

    while (count < HOSTS_MAX && hosts[count].host[0] != '\0') {
        count++;
    }
    return count;
}

/* --- Checks --- */

static bool is_same_address(const struct address *a, const struct address *b)
{
    return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

static void check_peers(struct reader *reader)
{
    const struct config_store *store = &reader->config->store;
    const struct address *self = &reader->config->restapi.connect;
    bool has_self = false;

    for (unsigned at = 0; at < store->peer_count; at++) {
        has_self = has_self || is_same_address(&store->peers[at], self);
        for (unsigned other = 0; other < at; other++) {
            if (is_same_address(&store->peers[at], &store->peers[other])) {
                REPORT(
                    reader, FINDING_ERROR, "peers", "names %s:%d twice", store->peers[at].host,
                    store->peers[at].port);
            }
        }
    }
    if (!has_self) {
        REPORT(
            reader, FINDING_ERROR, "peers",
            "does not name this node; hint: restapi.connect_address is %s:%d", self->host,
            self->port);
    }
    if (store->peer_count == 2) {
        REPORT(
            reader, FINDING_WARNING, "peers",
            "two cannot outvote each other: when one is lost the other stops writing; hint: add "
            "a third host");
    }
}

static void check_store(struct reader *reader)
{
    struct config *config = reader->config;
    bool has_etcd = reader_has_below(reader, "etcd");
    bool has_etcd3 = reader_has_below(reader, "etcd3");
    const char *section = has_etcd3 ? "etcd3" : "etcd";

    config->etcd.host_count = count_hosts(config->etcd.hosts);
    config->store.peer_count = count_hosts(config->store.peers);
    config->etcd.is_v2_section = has_etcd && !has_etcd3;
    if (has_etcd && has_etcd3) {
        REPORT(reader, FINDING_ERROR, "etcd", "there is an etcd3 section too; hint: remove one");
    } else if (has_etcd) {
        REPORT(
            reader, FINDING_NOTE, "etcd",
            "taken as etcd3: baton uses version 3 of etcd's API, which has keys of its own");
    }
    if (has_etcd || has_etcd3) {
        if (config->etcd.host_count == 0) {
            REPORT(
                reader, FINDING_ERROR, section, "names no member; hint: hosts: [HOST:2379, ...]");
        }
        if (config->store.peer_count > 0) {
            REPORT(reader, FINDING_NOTE, "peers", "not used, because %s names a store", section);
        }
        return;
    }
    if (config->store.peer_count == 0) {
        if (!reader_has(reader, "peers")) {
            REPORT(
                reader, FINDING_ERROR, "peers",
                "no store is named; hint: list the REST addresses of all nodes (%s:%d, ...), or an "
                "etcd cluster under etcd3.hosts",
                config->restapi.connect.host, config->restapi.connect.port);
        }
        return;
    }
    check_peers(reader);
    if (config->store.election_ms < 5 * config->store.heartbeat_ms) {
        REPORT(reader, FINDING_ERROR, "store.election_ms", "must be at least 5 times heartbeat_ms");
    }
}

/* A connect address is for other hosts. */
static void check_connect(struct reader *reader, const char *path, const struct address *address)
{
    if (is_wildcard(address->host)) {
        REPORT(
            reader, FINDING_ERROR, path, "'%s' is not an address that others can connect to",
            address->host);
    }
}

static bool may_collide(const struct address *a, const struct address *b)
{
    return a->port == b->port &&
           (is_wildcard(a->host) || is_wildcard(b->host) || strcasecmp(a->host, b->host) == 0 ||
            strchr(a->host, ',') != NULL || strchr(b->host, ',') != NULL);
}

static void check_ports(struct reader *reader)
{
    const struct config *config = reader->config;
    const struct {
        const char *path;
        const struct address *address;
    } ports[] = {
        {"restapi.listen", &config->restapi.listen},
        {"postgresql.listen", &config->postgresql.listen},
        {"store.client", &config->store.client},
        {"store.peer", &config->store.peer},
    };
    size_t count = config->store.peer_count > 0 && config->etcd.host_count == 0 ? 4 : 2;

    for (size_t at = 1; at < count; at++) {
        for (size_t other = 0; other < at; other++) {
            if (may_collide(ports[at].address, ports[other].address)) {
                REPORT(
                    reader, FINDING_ERROR, ports[at].path, "port %d is taken by %s",
                    ports[at].address->port, ports[other].path);
            }
        }
    }
}

static void check_socket(struct reader *reader)
{
    const struct config_postgresql *postgresql = &reader->config->postgresql;
    char path[SOCKET_PATH_SIZE];

    if (!str_format(
            path, sizeof(path), "%s/.s.PGSQL.%d", postgresql->socket_dir,
            postgresql->listen.port)) {
        REPORT(
            reader, FINDING_ERROR, "postgresql.runtime_dir",
            "too long for a socket; hint: set it, or unix_socket_directories under "
            "postgresql.parameters, to a shorter path");
    }
}

static void check_pairs(struct reader *reader)
{
    const struct config_restapi *api = &reader->config->restapi;

    if ((api->username[0] == '\0') != (api->password[0] == '\0')) {
        REPORT(
            reader, FINDING_ERROR, "restapi.authentication",
            "needs both username and password: with one of them nobody would be checked");
    }
    if (api->tls.key_file[0] != '\0' && api->tls.cert_file[0] == '\0') {
        REPORT(reader, FINDING_ERROR, "restapi.keyfile", "there is no certfile");
    }
    if (!str_equal(api->verify_client, "none") &&
        (api->tls.cert_file[0] == '\0' || api->tls.ca_file[0] == '\0')) {
        REPORT(
            reader, FINDING_ERROR, "restapi.verify_client",
            "client certificates need certfile and cafile to be checked with");
    }
    if (str_equal(reader->config->tags.replicatefrom, reader->config->name) &&
        reader->config->name[0] != '\0') {
        REPORT(reader, FINDING_ERROR, "tags.replicatefrom", "a node cannot stream from itself");
    }
}

void settle(struct reader *reader, const char *host_name)
{
    settle_name(reader, host_name);
    settle_prefix(reader);
    settle_restapi(reader, host_name);
    settle_addresses(reader);
    settle_folders(reader);
    settle_accounts(reader);
    settle_tags(reader);
    check_store(reader);
    check_connect(reader, "restapi.connect_address", &reader->config->restapi.connect);
    check_connect(reader, "postgresql.connect_address", &reader->config->postgresql.connect);
    check_ports(reader);
    check_socket(reader);
    check_pairs(reader);
}
