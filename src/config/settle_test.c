#include "config/settle.h"

#include "config/config_test.h"

#define DATABASE \
    "postgresql: {data_dir: /d, authentication: {superuser: {password: a}, " \
    "replication: {password: b}, rewind: {password: c}}}\n"

static void test_addresses(void **state)
{
    static const struct {
        const char *restapi;
        const char *postgresql;
        struct address rest;
        struct address listen;
        struct address connect;
    } rows[] = {
        {"{}", "{}", {"node1", 8008}, {"0.0.0.0", 5432}, {"node1", 5432}},
        {"{listen: '10.0.0.1:9'}", "{}", {"10.0.0.1", 9}, {"10.0.0.1", 5432}, {"10.0.0.1", 5432}},
        {"{listen: '*:9'}", "{}", {"node1", 9}, {"*", 5432}, {"node1", 5432}},
        {"{listen: '[::]:9'}", "{}", {"node1", 9}, {"::", 5432}, {"node1", 5432}},
        {"{listen: '0.0.0.0:9', connect_address: a}",
         "{}",
         {"a", 9},
         {"0.0.0.0", 5432},
         {"a", 5432}},
        {"{connect_address: 'a:7'}",
         "{listen: '10.0.0.2:6'}",
         {"a", 7},
         {"10.0.0.2", 6},
         {"10.0.0.2", 6}},
        {"{}", "{listen: '*:6'}", {"node1", 8008}, {"*", 6}, {"node1", 6}},
        {"{}",
         "{listen: '10.0.0.2,10.0.0.3:6'}",
         {"node1", 8008},
         {"10.0.0.2,10.0.0.3", 6},
         {"10.0.0.2", 6}},
        {"{}", "{connect_address: 'b:6'}", {"node1", 8008}, {"0.0.0.0", 6}, {"b", 6}},
        {"{}", "{connect_address: b, listen: '*'}", {"node1", 8008}, {"*", 5432}, {"b", 5432}},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct str text AUTO_STR = STR_INIT(4096);
        struct config *config;

        str_addf(
            &text, "scope: s\netcd3: {host: e}\nrestapi: %s\npostgresql: %s\n", rows[at].restapi,
            rows[at].postgresql);
        config = check_parse(str_text(&text), NULL);
        assert_int_equal(found.errors, 1);
        assert_non_null(check_find("data_dir: missing"));
        assert_string_equal(config->name, "node1");
        assert_string_equal(config->restapi.connect.host, rows[at].rest.host);
        assert_int_equal(config->restapi.connect.port, rows[at].rest.port);
        assert_string_equal(config->postgresql.listen.host, rows[at].listen.host);
        assert_int_equal(config->postgresql.listen.port, rows[at].listen.port);
        assert_string_equal(config->postgresql.connect.host, rows[at].connect.host);
        assert_int_equal(config->postgresql.connect.port, rows[at].connect.port);
        config_free(config);
    }
}

static void test_connect_to_wildcard(void **state)
{
    (void)state;
    config_free(check_parse(MINIMAL "restapi: {connect_address: '0.0.0.0:8008'}\n", NULL));
    check_expect(FINDING_ERROR, 7, "restapi.connect_address: '0.0.0.0' is not an address");
    check_one(
        MINIMAL "  connect_address: '[::]:5432'\n", NULL, FINDING_ERROR, 7,
        "postgresql.connect_address: '::' is not an address");
}

static void test_ports(void **state)
{
    (void)state;
    check_one(
        MINIMAL "  listen: '127.0.0.1:8008'\n", NULL, FINDING_ERROR, 7,
        "postgresql.listen: port 8008 is taken by restapi.listen");
    check_one(
        MINIMAL "store: {client: 'node1:2380'}\n", NULL, FINDING_ERROR, 0,
        "store.peer: port 2380 is taken by store.client");
    check_one(
        MINIMAL "store: {peer: 'node1:5432'}\n", NULL, FINDING_ERROR, 7,
        "store.peer: port 5432 is taken by postgresql.listen");
    /* Different hosts, and no store of our own. */
    config_free(check_clean(MINIMAL "store: {client: 'a:77', peer: 'b:77'}\n", NULL));
    config_free(check_clean(
        "scope: s\nname: n\netcd3: {host: e}\nstore: {client: 'a:8008'}\n" DATABASE, NULL));
}

static void test_peers(void **state)
{
    (void)state;
    check_one(
        "scope: s\nname: n\npeers: [node2:8008]\n" DATABASE, NULL, FINDING_ERROR, 3,
        "peers: does not name this node; hint: restapi.connect_address is node1:8008");
    check_one(
        "scope: s\nname: n\npeers: [node1, a, A:8008]\n" DATABASE, NULL, FINDING_ERROR, 3,
        "peers: names A:8008 twice");
    check_one(
        "scope: s\nname: n\npeers: [node1, node2]\n" DATABASE, NULL, FINDING_WARNING, 3,
        "peers: two cannot outvote each other");
    check_one(
        "scope: s\nname: n\npeers: [node1]\netcd3: {host: e}\n" DATABASE, NULL, FINDING_NOTE, 3,
        "peers: not used, because etcd3 names a store");
    check_one(
        "scope: s\nname: n\n" DATABASE, NULL, FINDING_ERROR, 0,
        "peers: no store is named; hint: list the REST addresses of all nodes (node1:8008, ...)");
    config_free(check_clean("scope: s\nname: n\npeers: NODE1, b, c\n" DATABASE, NULL));
    check_one(
        MINIMAL "store: {heartbeat_ms: 100, election_ms: 499}\n", NULL, FINDING_ERROR, 7,
        "store.election_ms: must be at least 5 times heartbeat_ms");
}

static void test_etcd_sections(void **state)
{
    struct config *config;

    (void)state;
    check_one(
        "scope: s\nname: n\netcd: {host: e}\netcd3: {host: e}\n" DATABASE, NULL, FINDING_ERROR, 3,
        "etcd: there is an etcd3 section too");
    check_one(
        "scope: s\nname: n\netcd3:\n" DATABASE, NULL, FINDING_ERROR, 3, "etcd3: names no member");
    check_one(
        "scope: s\nname: n\netcd3: {username: u}\n" DATABASE, NULL, FINDING_ERROR, 3,
        "etcd3: names no member");
    config = check_parse("scope: s\nname: n\netcd: {host: e}\n" DATABASE, NULL);
    check_expect(FINDING_NOTE, 3, "etcd: taken as etcd3");
    assert_int_equal(found.count, 1);
    assert_true(config->etcd.is_v2_section);
    config_free(config);
}

static void test_required(void **state)
{
    (void)state;
    check_one(
        "name: n\npeers: [node1]\n" DATABASE, NULL, FINDING_ERROR, 0, "scope: missing; hint: ");
    check_one(
        "scope: s\nname: n\npeers: [node1]\npostgresql: {data_dir: d, authentication: {superuser: "
        "{password: a}, replication: {password: b}, rewind: {password: c}}}\n",
        NULL, FINDING_ERROR, 4, "postgresql.data_dir: 'd' is not an absolute path");
    found = (struct findings){0};
    config_free(
        config_parse("f", "scope: s\npeers: ['h:8008']\n" DATABASE, NULL, "bad name", &found));
    assert_non_null(check_find("name: 'bad name' may have"));
}

static void test_accounts(void **state)
{
    struct config *config = check_parse(
        "scope: s\nname: n\npeers: [node1]\npostgresql:\n  data_dir: /d\n"
        "  authentication: {superuser: {password: x}, replication: {username: streamer}}\n",
        NULL);

    (void)state;
    check_expect(
        FINDING_NOTE, 6,
        "postgresql.authentication: no password for replication, rewind: generated");
    assert_false(config->postgresql.superuser.is_generated);
    assert_true(config->postgresql.replication.is_generated);
    assert_string_equal(config->postgresql.replication.username, "streamer");
    config_free(config);
}

static void test_folders(void **state)
{
    struct config *config;
    struct str text AUTO_STR = STR_INIT(8192);

    (void)state;
    config = check_clean(
        "scope: s\nname: n\npeers: [node1]\nstore: {data_dir: /st}\npostgresql: {data_dir: /d//, "
        "runtime_dir: /run/b/, authentication: {superuser: {password: a}, replication: {password: "
        "b}, rewind: {password: c}}}\n",
        NULL);
    assert_string_equal(config->postgresql.data_dir, "/d");
    assert_string_equal(config->postgresql.runtime_dir, "/run/b");
    assert_string_equal(config->postgresql.socket_dir, "/run/b");
    assert_string_equal(config->store.data_dir, "/st");
    config_free(config);

    /* A socket's name has 107 bytes. */
    str_addf(&text, "%s  runtime_dir: /%092d\n", MINIMAL, 0);
    config_free(check_clean(str_text(&text), NULL));
    str_clear(&text);
    str_addf(&text, "%s  runtime_dir: /%093d\n", MINIMAL, 0);
    check_one(
        str_text(&text), NULL, FINDING_ERROR, 7, "postgresql.runtime_dir: too long for a socket");
    str_addf(&text, "  parameters: {unix_socket_directories: '/tmp , /run'}\n");
    config = check_clean(str_text(&text), NULL);
    assert_string_equal(config->postgresql.socket_dir, "/tmp");
    config_free(config);

    str_clear(&text);
    str_addf(&text, "%sstore: {data_dir: /%0600d}\n", MINIMAL, 0);
    check_one(str_text(&text), NULL, FINDING_ERROR, 7, "store.data_dir: longer than 511 bytes");
    str_clear(&text);
    str_addf(&text, "scope: s\npeers: [node1]\npostgresql: {data_dir: /%0508d}\n", 0);
    config_free(check_parse(str_text(&text), NULL));
    assert_non_null(check_find("postgresql.data_dir is too long to add .baton"));
    str_clear(&text);
    str_addf(&text, "%snamespace: /%0507d\n", MINIMAL, 0);
    check_one(str_text(&text), NULL, FINDING_ERROR, 7, "namespace: too long");
}

static void test_tags(void **state)
{
    static const struct {
        const char *text;
        bool nofailover;
        int priority;
        bool is_contradiction;
    } rows[] = {
        {"{}", false, 1, false},
        {"{nofailover: true}", true, 0, false},
        {"{nofailover: false}", false, 1, false},
        {"{failover_priority: 0}", true, 0, false},
        {"{failover_priority: 7}", false, 7, false},
        {"{nofailover: true, failover_priority: 0}", true, 0, false},
        {"{nofailover: true, failover_priority: 5}", true, 0, true},
        {"{nofailover: false, failover_priority: 0}", false, 1, true},
        {"{nofailover: false, failover_priority: 5}", false, 5, false},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct str text AUTO_STR = STR_INIT(4096);
        struct config *config;

        str_addf(&text, "%stags: %s\n", MINIMAL, rows[at].text);
        config = check_parse(str_text(&text), NULL);
        assert_int_equal(found.count, rows[at].is_contradiction);
        if (rows[at].is_contradiction) {
            check_expect(FINDING_WARNING, 7, "tags.nofailover: Conflicting configuration");
        }
        assert_int_equal(config->tags.nofailover, rows[at].nofailover);
        assert_int_equal(config->tags.failover_priority, rows[at].priority);
        config_free(config);
    }
    check_one(
        MINIMAL "tags: {replicatefrom: n1}\n", NULL, FINDING_ERROR, 7,
        "tags.replicatefrom: a node cannot stream from itself");
}

static void test_sync_tags(void **state)
{
    static const struct {
        const char *text;
        bool nosync;
        int priority;
        const char *conflict; /* NULL: none */
    } rows[] = {
        {"{}", false, 1, NULL},
        {"{nosync: true}", true, 0, NULL},
        {"{nosync: false}", false, 1, NULL},
        {"{sync_priority: 0}", true, 0, NULL},
        {"{sync_priority: 7}", false, 7, NULL},
        {"{nosync: true, sync_priority: 0}", true, 0, NULL},
        {"{nosync: false, sync_priority: 5}", false, 5, NULL},
        {"{nosync: true, sync_priority: 5}", true, 0,
         "tags.nosync: Conflicting configuration between nosync: True and sync_priority: 5. "
         "Defaulting to nosync: True"},
        {"{nosync: false, sync_priority: 0}", false, 1,
         "tags.nosync: Conflicting configuration between nosync: False and sync_priority: 0. "
         "Defaulting to nosync: False"},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct str text AUTO_STR = STR_INIT(4096);
        struct config *config;

        str_addf(&text, "%stags: %s\n", MINIMAL, rows[at].text);
        config = check_parse(str_text(&text), NULL);
        assert_int_equal(found.count, rows[at].conflict != NULL);
        if (rows[at].conflict != NULL) {
            check_expect(FINDING_WARNING, 7, rows[at].conflict);
        }
        assert_int_equal(config->tags.nosync, rows[at].nosync);
        assert_int_equal(config->tags.sync_priority, rows[at].priority);
        assert_int_equal(config->extra_tags.count, 0);
        config_free(config);
    }
}

static void test_pairs(void **state)
{
    (void)state;
    check_one(
        MINIMAL "restapi: {authentication: {username: a}}\n", NULL, FINDING_ERROR, 7,
        "restapi.authentication: needs both username and password");
    check_one(
        MINIMAL "restapi: {keyfile: /k}\n", NULL, FINDING_ERROR, 7, "restapi.keyfile: there is no");
    check_one(
        MINIMAL "restapi: {verify_client: required, certfile: /c}\n", NULL, FINDING_ERROR, 7,
        "restapi.verify_client: client certificates need");
    config_free(check_clean(
        MINIMAL "restapi: {verify_client: Required, certfile: /c, cafile: /a}\n", NULL));
}

static void test_ctl_follows_restapi(void **state)
{
    struct config *config = check_clean(
        MINIMAL "restapi: {authentication: {username: u, password: p}, cafile: /ca, certfile: /c, "
                "keyfile: /k}\n",
        NULL);

    (void)state;
    assert_string_equal(config->ctl.username, "u");
    assert_string_equal(config->ctl.password, "p");
    assert_string_equal(config->ctl.tls.ca_file, "/ca");
    assert_string_equal(config->ctl.tls.cert_file, "/c");
    assert_string_equal(config->ctl.tls.key_file, "/k");
    config_free(config);
    config = check_clean(
        MINIMAL "restapi: {authentication: {username: u, password: p}, certfile: /c, keyfile: /k}\n"
                "ctl: {authentication: {username: v, password: q}, certfile: /both, cacert: /x}\n",
        NULL);
    assert_string_equal(config->ctl.username, "v");
    assert_string_equal(config->ctl.password, "q");
    assert_string_equal(config->ctl.tls.ca_file, "/x");
    assert_string_equal(config->ctl.tls.cert_file, "/both");
    assert_string_equal(config->ctl.tls.key_file, "");
    config_free(config);
}

static void test_log_levels(void **state)
{
    static const char *const rows[][2] = {
        {"DEBUG", "debug"},    {"INFO", "info"},   {"WARNING", "warning"}, {"WARN", "warning"},
        {"CRITICAL", "error"}, {"FATAL", "error"}, {"NOTSET", "debug"},    {"Error", "error"},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct str text AUTO_STR = STR_INIT(4096);
        struct config *config;

        str_addf(&text, "%slog: {level: %s}\n", MINIMAL, rows[at][0]);
        config = check_clean(str_text(&text), NULL);
        assert_string_equal(config->log_level, rows[at][1]);
        config_free(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),     cmocka_unit_test(test_connect_to_wildcard),
        cmocka_unit_test(test_ports),         cmocka_unit_test(test_peers),
        cmocka_unit_test(test_etcd_sections), cmocka_unit_test(test_required),
        cmocka_unit_test(test_accounts),      cmocka_unit_test(test_folders),
        cmocka_unit_test(test_tags),          cmocka_unit_test(test_sync_tags),
        cmocka_unit_test(test_pairs),         cmocka_unit_test(test_ctl_follows_restapi),
        cmocka_unit_test(test_log_levels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
