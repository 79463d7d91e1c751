#include "config/value.h"

#include "config/config_test.h"

struct row {
    const char *text; /* added to MINIMAL, one line, so that the finding is in line 7 */
    const char *part;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        struct str text AUTO_STR = STR_INIT(65536);

        str_addf(&text, "%s%s\n", MINIMAL, rows[at].text);
        check_one(str_text(&text), NULL, FINDING_ERROR, 7, rows[at].part);
    }
}

/* Each type with something else in its place. */
static void test_wrong_types(void **state)
{
    static const struct row rows[] = {
        {"restapi: text", "restapi: expected a section"},
        {"restapi: [a]", "restapi: expected a section"},
        {"bootstrap: {dcs: [a]}", "bootstrap.dcs: expected a section"},
        {"namespace: [a]", "namespace: expected text, found a list"},
        {"namespace: {a: b}", "namespace: expected text, found a section"},
        {"tags: {replicatefrom: [n2]}", "tags.replicatefrom: expected name, found a list"},
        {"log: {level: [info]}", "log.level: expected one of"},
        {"tags: {failover_priority: high}", "tags.failover_priority: 'high' is not a whole number"},
        {"tags: {failover_priority: [1]}", "tags.failover_priority: expected whole number"},
        {"tags: {failover_priority: 1.5}", "tags.failover_priority: '1.5' is not a whole number"},
        {"tags: {nofailover: maybe}", "tags.nofailover: 'maybe' is neither on nor off"},
        {"tags: {nofailover: {a: b}}", "tags.nofailover: expected true or false, found a section"},
        {"tags: {region: [eu]}", "tags.region: expected a text"},
        {"bootstrap: {dcs: {ttl: soon}}", "bootstrap.dcs.ttl: 'soon' is not a duration"},
        {"bootstrap: {dcs: {ttl: [30]}}", "bootstrap.dcs.ttl: expected seconds"},
        {"bootstrap: {dcs: {maximum_lag_on_failover: much}}",
         "bootstrap.dcs.maximum_lag_on_failover: 'much' is not a size"},
        {"bootstrap: {dcs: {maximum_lag_on_failover: {}}}",
         "bootstrap.dcs.maximum_lag_on_failover: expected bytes"},
        {"bootstrap: {dcs: {synchronous_mode: [on]}}",
         "bootstrap.dcs.synchronous_mode: expected one"},
        {"bootstrap: {dcs: {pause: x}}", "bootstrap.dcs.pause: 'x' is neither"},
        {"log: {dir: relative}", "log.dir: 'relative' is not an absolute path"},
        {"log: {dir: [/a]}", "log.dir: expected absolute path"},
        {"restapi: {listen: [a]}", "restapi.listen: expected HOST:PORT"},
        {"store: {client: 'a:b:c'}", "store.client: "},
        {"store: {client: 'a,b:1'}", "store.client: expected one host, found several"},
        {"etcd3: {host: [a]}", "etcd3.host: expected HOST:PORT, found a list"},
        {"etcd3: {hosts: {a: b}}", "etcd3.hosts: expected list of HOST:PORT, found a section"},
        {"bootstrap: {initdb: text}", "bootstrap.initdb: expected a list"},
        {"bootstrap: {initdb: [[a]]}", "bootstrap.initdb: "},
        {"bootstrap: {pg_hba: text}", "bootstrap.pg_hba: expected a list"},
        {"bootstrap: {pg_hba: [{a: b}]}", "bootstrap.pg_hba: expected a text"},
        {"bootstrap: {dcs: {postgresql: {parameters: text}}}",
         "bootstrap.dcs.postgresql.parameters: expected a section"},
        {"  recovery_conf: [a]", "postgresql.recovery_conf: expected a section"},
        {"  recovery_conf: {restore_command: [a]}", "restore_command: expected a text or number"},
    };

    (void)state;
    /* Two findings each: no hosts are named after a refused one. */
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct str text AUTO_STR = STR_INIT(65536);

        str_addf(&text, "%s%s\n", MINIMAL, rows[at].text);
        config_free(check_parse(str_text(&text), NULL));
        check_expect(FINDING_ERROR, 7, rows[at].part);
        assert_in_range(found.count, 1, str_starts(rows[at].text, "etcd3") ? 3 : 1);
    }
}

static void test_limits(void **state)
{
    static const struct row rows[] = {
        {"tags: {failover_priority: -1}", "-1 is not between 0 and"},
        {"restapi: {listen: 'a:0'}", "restapi.listen: "},
        {"store: {client: 'a:65536'}", "'65536' is not a port"},
        {"store: {heartbeat_ms: 9}", "9 is not between 10 and 1000"},
        {"store: {heartbeat_ms: 1001}", "1001 is not between 10 and 1000"},
        {"store: {election_ms: 49}", "49 is not between 50 and 50000"},
        {"bootstrap: {dcs: {ttl: 2}}", "'2' is not between 3 and 86400 seconds"},
        {"bootstrap: {dcs: {ttl: 2999ms}}", "'2999ms' is not between 3"},
        {"bootstrap: {dcs: {loop_wait: 0}}", "'0' is not between 1"},
        {"bootstrap: {dcs: {retry_timeout: 999ms}}", "'999ms' is not between 1"},
        {"bootstrap: {dcs: {synchronous_node_count: 0}}", "0 is not between 1 and 100"},
        {"log: {level: loud}", "log.level: 'loud' is not one of: debug info"},
        {"restapi: {verify_client: on}", "'on' is not one of: none optional required"},
        {"tags: {replicatefrom: 'a b'}", "tags.replicatefrom: 'a b' may have letters"},
        {"tags: {replicatefrom: a/b}", "tags.replicatefrom: 'a/b' may have letters"},
        {"tags: {replicatefrom: .a}", "must not be empty or begin with a dot"},
        {"tags: {replicatefrom: ''}", "must not be empty or begin with a dot"},
        {"tags: {replicatefrom: "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
         "longer than 63 bytes"},
        {"namespace: \"a\\nb\"", "namespace: has a control character"},
        {"log: {dir: \"/a\\tb\"}", "log.dir: has a control character"},
        {"bootstrap: {initdb: [pgdata]}", "pgdata is set by baton itself"},
        {"bootstrap: {initdb: [pwfile: /x]}", "pwfile is set by baton itself"},
        {"bootstrap: {initdb: [--locale=C]}", "without dashes"},
        {"bootstrap: {pg_hba: [\"a\\nb\"]}", "a line has a control character"},
        {"  parameters: {\"a b\": 1}", "a name has other signs"},
        {"  parameters: {1a: 1}", "a name has other signs"},
        {"  parameters: {work_mem: \"4MB\\nport=1\"}", "work_mem: has a control character"},
        {"  parameters: {max_connections: 24}", "max_connections: 24 is not between 25"},
        {"bootstrap: {dcs: {postgresql: {parameters: {wal_level: minimal}}}}",
         "wal_level: standbys need replica or logical"},
    };

    (void)state;
    check_rows(rows, ARRAY_LEN(rows));
}

static void test_empty_is_not_set(void **state)
{
    struct config *config = check_clean(
        MINIMAL "  bin_dir: ''\n  pg_hba:\n  parameters:\n  listen: null\n  callbacks: ~\n"
                "restapi:\nctl:\ntags:\nbootstrap:\n  dcs:\n  initdb:\nnamespace:\n",
        NULL);

    (void)state;
    assert_string_equal(config->namespace, "/service");
    assert_int_equal(config->postgresql.listen.port, 5432);
    assert_null(config->postgresql.pg_hba);
    assert_string_equal(config->bootstrap.dcs_json, "{}");
    config_free(config);
}

static void test_namespace(void **state)
{
    static const char *const rows[][2] = {
        {"/patroni/", "/patroni/main/"},
        {"a", "/a/main/"},
        {"//a//b//", "/a/b/main/"},
        {"/", "/main/"},
        {"''", "/main/"},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct str text AUTO_STR = STR_INIT(4096);
        struct config *config;

        str_addf(&text, "%snamespace: %s\n", MINIMAL, rows[at][0]);
        config = check_clean(str_text(&text), NULL);
        assert_string_equal(config->prefix, rows[at][1]);
        config_free(config);
    }
}

static void test_lists_and_maps(void **state)
{
    struct config *config = check_clean(
        MINIMAL "  pg_hba:\n"
                "  - local all all peer\n"
                "  - |\n"
                "    host all all all scram-sha-256\n"
                "  pg_ident: []\n"
                "  recovery_conf: {restore_command: 'cp %f %p', recovery_min_apply_delay: 5}\n"
                "bootstrap:\n"
                "  initdb: {encoding: UTF8, locale: C}\n"
                "  pg_hba: [a]\n",
        NULL);

    (void)state;
    assert_string_equal(config->postgresql.pg_hba[0], "local all all peer");
    assert_string_equal(config->postgresql.pg_hba[1], "host all all all scram-sha-256");
    assert_null(config->postgresql.pg_hba[2]);
    assert_null(config->postgresql.pg_ident);
    assert_int_equal(config->postgresql.recovery_conf.count, 2);
    assert_true(config->postgresql.recovery_conf.items[0].is_text);
    assert_string_equal(config->bootstrap.initdb[0], "encoding=UTF8");
    assert_string_equal(config->bootstrap.initdb[1], "locale=C");
    assert_null(config->bootstrap.initdb[2]);
    assert_string_equal(config->bootstrap.pg_hba[0], "a");
    config_free(config);
}

/* All ways to name etcd; url wins over hosts, hosts over host. */
static void test_etcd_hosts(void **state)
{
    static const struct {
        const char *text;
        const char *first;
        int port;
        unsigned count;
        bool is_https;
    } rows[] = {
        {"{host: e1}", "e1", 2379, 1, false},
        {"{host: 'e1:1'}", "e1", 1, 1, false},
        {"{hosts: 'e1:1,e2:2'}", "e1", 1, 2, false},
        {"{hosts: \"'e1:1', 'e2:2'\"}", "e1", 1, 2, false},
        {"{hosts: \"['e1:1', 'e2:2']\"}", "e1", 1, 2, false},
        {"{hosts: '[::1]:1,[::2]:2'}", "::1", 1, 2, false},
        {"{hosts: '[::1]'}", "::1", 2379, 1, false},
        {"{hosts: ['e1:1', e2, '[::1]:3']}", "e1", 1, 3, false},
        {"{host: e1, hosts: [e2, e3]}", "e2", 2379, 2, false},
        {"{hosts: [e2, e3], host: e1}", "e2", 2379, 2, false},
        {"{hosts: [e2, e3], url: 'https://e4:4'}", "e4", 4, 1, true},
        {"{url: 'https://e4', hosts: [e2, e3]}", "e4", 2379, 1, true},
        {"{url: 'http://e4', protocol: https}", "e4", 2379, 1, false},
        {"{protocol: https, host: e1}", "e1", 2379, 1, true},
        {"{proxy: 'http://p:1'}", "p", 1, 1, false},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct str text AUTO_STR = STR_INIT(4096);
        struct config *config;

        str_addf(&text, "%setcd3: %s\n", MINIMAL, rows[at].text);
        config = check_parse(str_text(&text), NULL);
        assert_int_equal(found.errors, 0);
        assert_string_equal(config->etcd.hosts[0].host, rows[at].first);
        assert_int_equal(config->etcd.hosts[0].port, rows[at].port);
        assert_int_equal(config->etcd.host_count, rows[at].count);
        assert_int_equal(config->etcd.is_https, rows[at].is_https);
        config_free(config);
    }
}

static void test_bad_etcd_hosts(void **state)
{
    static const struct row rows[] = {
        {"etcd3: {host: ''}", "etcd3.host: names no host"},
        {"etcd3: {hosts: []}", "etcd3.hosts: names no host"},
        {"etcd3: {hosts: [a, [b]]}", "etcd3.hosts: expected list of HOST:PORT, found a list"},
        {"etcd3: {hosts: ['a,b']}", "etcd3.hosts: expected one host"},
        {"etcd3: {hosts: 'a,,b:x'}", "etcd3.hosts: "},
        {"etcd3: {url: 'ftp://a'}", "etcd3.url: must begin with http:// or https://"},
        {"etcd3: {url: a}", "etcd3.url: 'a' is not a URL"},
        {"etcd3: {url: [a]}", "etcd3.url: expected http(s)"},
        {"etcd3: {protocol: gopher}", "etcd3.protocol: must be http or https"},
        {"etcd3: {protocol: [a]}", "etcd3.protocol: expected"},
        {"etcd3: {srv: a}", "etcd3.srv: not supported: write the members under hosts"},
        {"etcd3: {port: 1}", "etcd3.port: not supported"},
        {"etcd3: {hosts: 'a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q'}", "etcd3.hosts: more than 16"},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct str text AUTO_STR = STR_INIT(4096);

        str_addf(&text, "%s%s\n", MINIMAL, rows[at].text);
        config_free(check_parse(str_text(&text), NULL));
        check_expect(FINDING_ERROR, 7, rows[at].part);
        check_expect(FINDING_ERROR, 7, "names no member");
    }
}

static void test_parameters(void **state)
{
    struct config *config = check_parse(
        MINIMAL "  parameters:\n"
                "    port: 1\n"
                "    Max_Connections: 200\n"
                "    wal_keep_size: 2GB\n"
                "    wal_level: logical\n"
                "    work_mem: 4MB\n"
                "    shared_preload_libraries: ''\n"
                "bootstrap: {dcs: {postgresql: {use_slots: off, parameters: {wal_level: replica}},"
                " ttl: 40}}\n",
        NULL);

    (void)state;
    check_expect(FINDING_WARNING, 8, "port is set by baton itself");
    check_expect(
        FINDING_NOTE, 9,
        "Max_Connections must agree on all nodes: used when the cluster is created; later change "
        "the store's key config: etcdctl put /service/SCOPE/config JSON");
    assert_int_equal(found.count, 4);
    assert_int_equal(config->postgresql.parameters.count, 2);
    assert_string_equal(config->postgresql.parameters.items[0].name, "work_mem");
    assert_string_equal(config->postgresql.parameters.items[1].value, "");
    assert_string_equal(
        config->bootstrap.dcs_json,
        "{\"ttl\":40,\"postgresql\":{\"use_slots\":false,\"parameters\":{\"wal_level\":\"replica\","
        "\"Max_Connections\":200,\"wal_keep_size\":\"2GB\"}}}");
    config_free(config);

    config = check_parse(MINIMAL "  parameters: {max_wal_senders: 20}\n", NULL);
    assert_string_equal(
        config->bootstrap.dcs_json, "{\"postgresql\":{\"parameters\":{\"max_wal_senders\":20}}}");
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_types),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_empty_is_not_set), cmocka_unit_test(test_namespace),
        cmocka_unit_test(test_lists_and_maps),   cmocka_unit_test(test_etcd_hosts),
        cmocka_unit_test(test_bad_etcd_hosts),   cmocka_unit_test(test_parameters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
