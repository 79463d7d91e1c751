#include "config/config_test.h"

static void test_minimal(void **state)
{
    struct config *config = check_clean(MINIMAL, NULL);

    (void)state;
    assert_string_equal(config->scope, "main");
    assert_string_equal(config->namespace, "/service");
    assert_string_equal(config->prefix, "/service/main/");
    assert_string_equal(config->restapi.listen.host, "0.0.0.0");
    assert_int_equal(config->restapi.listen.port, 8008);
    assert_string_equal(config->restapi.connect.host, "node1");
    assert_int_equal(config->restapi.connect.port, 8008);
    assert_string_equal(config->restapi.verify_client, "none");
    assert_int_equal(config->etcd.host_count, 0);
    assert_int_equal(config->store.peer_count, 1);
    assert_int_equal(config->store.client.port, 2379);
    assert_int_equal(config->store.peer.port, 2380);
    assert_string_equal(config->store.data_dir, "/data.store");
    assert_int_equal(config->store.heartbeat_ms, 50);
    assert_int_equal(config->store.election_ms, 500);
    assert_string_equal(config->postgresql.runtime_dir, "/data.baton");
    assert_string_equal(config->postgresql.socket_dir, "/data.baton");
    assert_string_equal(config->postgresql.superuser.username, "postgres");
    assert_string_equal(config->postgresql.replication.username, "replicator");
    assert_string_equal(config->postgresql.rewind.username, "rewind_user");
    assert_false(config->postgresql.superuser.is_generated);
    assert_true(config->postgresql.use_pg_rewind);
    assert_false(config->postgresql.has_use_pg_rewind);
    assert_true(config->postgresql.use_slots);
    assert_null(config->postgresql.pg_hba);
    assert_null(config->bootstrap.initdb);
    assert_string_equal(config->bootstrap.dcs_json, "{}");
    assert_string_equal(config->log_level, "info");
    assert_int_equal(config->tags.failover_priority, 1);
    config_free(config);
}

/* The file of the customer's guide, byte for byte. */
static void test_customer(void **state)
{
    char *text AUTO_FREE = check_read_file("tests/corpus/config/customer.yml");
    struct config *config = check_parse(text, NULL);
    unsigned warnings = 0;

    (void)state;
    assert_int_equal(found.errors, 0);
    for (unsigned at = 0; at < found.count; at++) {
        warnings += found.items[at].severity == FINDING_WARNING;
    }
    assert_int_equal(warnings, 0);
    assert_string_equal(config->prefix, "/patroni/postgres-cluster/");
    assert_string_equal(config->name, "postgres-1");
    assert_string_equal(config->restapi.connect.host, "node1");
    assert_true(config->etcd.is_v2_section);
    assert_int_equal(config->etcd.host_count, 1);
    assert_string_equal(config->etcd.hosts[0].host, "etcd-node");
    assert_int_equal(config->etcd.hosts[0].port, 2379);
    assert_string_equal(config->postgresql.listen.host, "0.0.0.0");
    assert_int_equal(config->postgresql.listen.port, 5432);
    assert_string_equal(config->postgresql.connect.host, "node1");
    assert_int_equal(config->postgresql.connect.port, 5432);
    assert_string_equal(config->postgresql.data_dir, "/var/lib/postgresql/data");
    assert_true(config->postgresql.superuser.is_generated);
    assert_true(config->postgresql.replication.is_generated);
    assert_true(config->postgresql.rewind.is_generated);
    assert_int_equal(config->postgresql.parameters.count, 0);
    assert_string_equal(
        config->bootstrap.dcs_json,
        "{\"ttl\":30,\"loop_wait\":10,\"retry_timeout\":10,\"maximum_lag_on_failover\":1048576,"
        "\"postgresql\":{\"use_pg_rewind\":true,\"parameters\":{\"wal_level\":\"replica\","
        "\"max_wal_senders\":10,\"wal_keep_size\":\"1GB\"}}}");
    config_free(config);
}

/* A file with every section of Patroni is taken without an error, and what has no effect is
 * said. */
static void test_full(void **state)
{
    char *text AUTO_FREE = check_read_file("tests/corpus/config/full.yml");
    struct config *config = check_parse(text, NULL);

    (void)state;
    if (found.errors > 0) {
        check_print();
    }
    assert_int_equal(found.errors, 0);
    assert_non_null(check_find("restapi.allowlist: not used"));
    assert_non_null(check_find("bootstrap.dcs.slots: not used"));
    assert_non_null(check_find("postgresql.pgbackrest: a method of your own"));
    assert_string_equal(config->watchdog.mode, "required");
    assert_string_equal(config->watchdog.device, "/dev/watchdog");
    assert_int_equal(config->watchdog.safety_margin, 5);
    assert_null(check_find("synchronous_mode"));
    assert_string_equal(config->log_level, "warning");
    assert_string_equal(config->log_dir, "/var/log/baton");
    assert_string_equal(config->restapi.username, "username");
    assert_string_equal(config->restapi.password, "hunter2");
    assert_string_equal(config->ctl.username, "username");
    assert_string_equal(config->ctl.tls.cert_file, "/etc/ssl/b.crt");
    assert_int_equal(config->etcd.host_count, 2);
    assert_true(config->etcd.is_https);
    assert_false(config->etcd.is_v2_section);
    assert_string_equal(config->etcd.hosts[1].host, "e2");
    assert_string_equal(config->etcd.tls.ca_file, "/ca");
    assert_string_equal(config->postgresql.listen.host, "127.0.0.1,::1");
    assert_string_equal(config->postgresql.data_dir, "/data/postgresql0");
    assert_string_equal(config->postgresql.socket_dir, "/tmp");
    assert_int_equal(config->postgresql.parameters.count, 2);
    assert_true(config->postgresql.parameters.items[0].is_text);
    assert_string_equal(config->postgresql.parameters.items[1].name, "work_mem");
    assert_string_equal(config->postgresql.parameters.items[1].value, "4MB");
    assert_false(config->postgresql.parameters.items[1].is_text);
    assert_string_equal(config->bootstrap.initdb[0], "encoding=UTF8");
    assert_string_equal(config->bootstrap.initdb[1], "data-checksums");
    assert_null(config->bootstrap.initdb[2]);
    assert_int_equal(config->extra_tags.count, 2);
    assert_string_equal(config->extra_tags.items[0].name, "region");
    assert_string_equal(config->extra_tags.items[1].value, "7");
    config_free(config);
}

static void test_unknown_keys(void **state)
{
    (void)state;
    check_one(
        MINIMAL "scop: x\n", NULL, FINDING_ERROR, 7, "scop: unknown key, did you mean scope?");
    check_one(MINIMAL "xyzzy: 1\n", NULL, FINDING_ERROR, 7, "xyzzy: unknown key");
    check_one(
        MINIMAL "  data_dirr: /x\n", NULL, FINDING_ERROR, 7,
        "postgresql.data_dirr: unknown key, did you mean data_dir?");
    check_one(
        MINIMAL "use_pg_rewind: on\n", NULL, FINDING_ERROR, 7,
        "use_pg_rewind: unknown key here, did you mean postgresql.use_pg_rewind?");
    check_one(
        MINIMAL "bootstrap:\n  dcs:\n    loop_wiat: 1\n", NULL, FINDING_ERROR, 9,
        "bootstrap.dcs.loop_wiat: unknown key, did you mean loop_wait?");
    check_one(
        MINIMAL "  authentication2:\n    a: b\n", NULL, FINDING_ERROR, 7,
        "postgresql.authentication2: unknown key, did you mean authentication?");
    check_one(
        MINIMAL "ctl: {authentication: {pasword: x}}\n", NULL, FINDING_ERROR, 7,
        "ctl.authentication.pasword: unknown key, did you mean password?");
}

static void test_misplaced_keys(void **state)
{
    (void)state;
    check_one(
        MINIMAL "ttl: 30\n", NULL, FINDING_WARNING, 7,
        "ttl: no effect here, it counts for the whole cluster: write it under bootstrap.dcs, or, "
        "when the cluster exists, change the store's key config: etcdctl put");
    check_one(
        MINIMAL "bootstrap: {dcs: {postgresql: {listen: 'x:1'}}}\n", NULL, FINDING_WARNING, 7,
        "bootstrap.dcs.postgresql.listen: no effect here");
    check_one(
        MINIMAL "bootstrap: {dcs: {restapi: {}}}\n", NULL, FINDING_WARNING, 7,
        "bootstrap.dcs.restapi: no effect here");
}

static void test_refused_sections(void **state)
{
    static const char *const sections[] = {"consul", "zookeeper",  "exhibitor",
                                           "raft",   "kubernetes", "citus"};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(sections); at++) {
        struct str text AUTO_STR = STR_INIT(4096);
        char part[64];

        str_addf(&text, "%s%s: {host: x, anything: [1]}\n", MINIMAL, sections[at]);
        str_format(part, sizeof(part), "%s: not supported: ", sections[at]);
        check_one(str_text(&text), NULL, FINDING_ERROR, 7, part);
    }
    check_one(
        MINIMAL "bootstrap: {dcs: {standby_cluster: {host: a}}}\n", NULL, FINDING_ERROR, 7,
        "bootstrap.dcs.standby_cluster: not supported");
    config_free(check_clean(MINIMAL "consul:\nwatchdog:\nbootstrap: {dcs: {slots: null}}\n", NULL));
}

static void test_aliases(void **state)
{
    struct config *config =
        check_clean(MINIMAL "bootstrap: {dcs: {master_start_timeout: 10}}\n", NULL);

    (void)state;
    config_free(config);
    check_one(
        MINIMAL "bootstrap: {dcs: {master_start_timeout: x, primary_start_timeout: 1}}\n", NULL,
        FINDING_WARNING, 7, "former name of primary_start_timeout");
}

static void test_not_yaml(void **state)
{
    (void)state;
    config_free(check_parse("scope: [a\n", NULL));
    assert_int_equal(found.errors, 1);
    assert_true(found.items[0].line > 0);
    check_one("- a\n", NULL, FINDING_ERROR, 1, "expected KEY: VALUE");
    check_one("text", NULL, FINDING_ERROR, 1, "expected KEY: VALUE");
    config_free(check_parse("", NULL));
    assert_non_null(check_find("scope: missing"));
    assert_non_null(check_find("postgresql.data_dir: missing"));
    assert_non_null(check_find("peers: no store is named"));
    assert_int_equal(found.errors, 3);
    config_free(NULL);
}

static void test_too_large(void **state)
{
    char *text = mem_alloc(CONFIG_TEXT_MAX + 2);

    (void)state;
    memset(text, ' ', CONFIG_TEXT_MAX + 1);
    check_one(text, NULL, FINDING_ERROR, 0, "larger than");
    mem_free(text);
}

static void test_environment(void **state)
{
    static const char *const environment[] = {
        "HOME=/root",
        "PATRONI_NAME=n9",
        "PATRONI_NAMESPACE=other",
        "PATRONI_SCOPE=sc",
        "PATRONI_RESTAPI_LISTEN=127.0.0.1:8009",
        "PATRONI_RESTAPI_CONNECT_ADDRESS=node1:8008",
        "PATRONI_RESTAPI_USERNAME=u",
        "PATRONI_RESTAPI_PASSWORD=p",
        "PATRONI_ETCD3_HOSTS='a:1','[::2]:2', c",
        "PATRONI_ETCD3_PROTOCOL=https",
        "PATRONI_SUPERUSER_USERNAME=root",
        "PATRONI_SUPERUSER_PASSWORD=x=y",
        "PATRONI_POSTGRESQL_DATA_DIR=/env",
        "PATRONI_POSTGRESQL_BIN_DIR=/bin",
        "PATRONI_POSTGRESQL_LISTEN=*:5433",
        "PATRONI_LOG_LEVEL=DEBUG",
        "PATRONI_LOG_DIR=",
        "PATRONI_CONFIGURATION={}",
        NULL,
    };
    struct config *config = check_parse(MINIMAL, environment);

    (void)state;
    assert_int_equal(found.errors, 0);
    assert_string_equal(config->name, "n9");
    assert_string_equal(config->prefix, "/other/sc/");
    assert_int_equal(config->restapi.listen.port, 8009);
    assert_int_equal(config->restapi.connect.port, 8008);
    assert_string_equal(config->restapi.username, "u");
    assert_int_equal(config->etcd.host_count, 3);
    assert_string_equal(config->etcd.hosts[1].host, "::2");
    assert_int_equal(config->etcd.hosts[2].port, 2379);
    assert_true(config->etcd.is_https);
    assert_string_equal(config->postgresql.superuser.username, "root");
    assert_string_equal(config->postgresql.superuser.password, "x=y");
    assert_string_equal(config->postgresql.data_dir, "/env");
    assert_string_equal(config->postgresql.runtime_dir, "/env.baton");
    assert_string_equal(config->postgresql.listen.host, "*");
    assert_int_equal(config->postgresql.connect.port, 5433);
    assert_string_equal(config->postgresql.connect.host, "node1");
    assert_string_equal(config->log_level, "debug");
    assert_string_equal(config->log_dir, "");
    config_free(config);
}

static void test_environment_findings(void **state)
{
    (void)state;
    check_one(
        MINIMAL, (const char *const[]){"PATRONI_RESTAPI_LISTEN=a:99999", NULL}, FINDING_ERROR, 0,
        "PATRONI_RESTAPI_LISTEN: ");
    assert_string_equal(found.items[0].file, "environment");
    check_one(
        MINIMAL, (const char *const[]){"PATRONI_SCOPPE=a", NULL}, FINDING_WARNING, 0,
        "PATRONI_SCOPPE: unknown variable, did you mean PATRONI_SCOPE?");
    check_one(
        MINIMAL, (const char *const[]){"PATRONI_admin_PASSWORD=a", NULL}, FINDING_WARNING, 0,
        "PATRONI_admin_PASSWORD: not used");
    check_one(
        MINIMAL, (const char *const[]){"PATRONI_CONSUL_HOST=a", NULL}, FINDING_ERROR, 0,
        "PATRONI_CONSUL_HOST: not supported");
    check_one(
        MINIMAL, (const char *const[]){"PATRONI_LOG_LOGGERS={a: b}", NULL}, FINDING_NOTE, 0,
        "PATRONI_LOG_LOGGERS: not used");
    check_one(
        MINIMAL, (const char *const[]){"PATRONI_POSTGRESQL_BIN_INITDB=x", NULL}, FINDING_WARNING, 0,
        "PATRONI_POSTGRESQL_BIN_INITDB: not used");
}

/* Secrets in right and wrong places. */
static void test_secrets_stay_secret(void **state)
{
    static const char *const texts[] = {
        MINIMAL "restapi: {authentication: {username: u, password: [hunter2]}}\n",
        MINIMAL "restapi: {authentication: {username: u, password: \"hunter2\\n\"}}\n",
        MINIMAL "restapi: {authentication: {username: u, passwort: hunter2}}\n",
        MINIMAL "restapi: {authentication: 'u:hunter2'}\n",
        MINIMAL "restapi: {auth: 'u:hunter2'}\n",
        MINIMAL "restapi: {authentication: {username: u, password:hunter2}}\n",
        MINIMAL "restapi: {authentication: {username: u, password=hunter2}}\n",
        MINIMAL "restapi: {authentication: {password: hunter2}}\n",
        MINIMAL "restapi: {connect_address: 'u:hunter2@node1:8008'}\n",
        MINIMAL "etcd3: {url: 'http://u:hunter2@h:2379'}\n",
        MINIMAL "etcd3: {host: 'u:hunter2@h:2379'}\n",
        MINIMAL "etcd3: {hosts: 'u:hunter2@h:2379'}\n",
        MINIMAL "  parameters: {primary_conninfo: 'password=hunter2', wal_level: hunter2}\n",
        MINIMAL "  recovery_conf: {primary_conninfo: [hunter2]}\n",
        MINIMAL "  pg_hba: 'host all all all ldap ldapbindpasswd=hunter2'\n",
        MINIMAL "bootstrap: {users: {admin: {password: hunter2}}}\n",
        MINIMAL "raft: {password: hunter2}\n",
    };
    static const char *const environment[] = {
        "PATRONI_RESTAPI_PASSWRD=hunter2",
        "PATRONI_me_PASSWORD=hunter2",
        "PATRONI_RAFT_PASSWORD=hunter2",
        "PATRONI_ETCD3_PASSWORD=hunter2",
        "PATRONI_RESTAPI_KEYFILE_PASSWORD=hunter2",
        NULL};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(texts); at++) {
        config_free(check_parse(texts[at], environment));
        assert_true(found.count > 2);
        assert_null(check_find("hunter2"));
    }
}

static void test_format(void **state)
{
    struct finding finding = {.severity = FINDING_WARNING, .line = 7};
    struct str out AUTO_STR = STR_INIT(4096);

    (void)state;
    str_copy(finding.file, sizeof(finding.file), "a.yml");
    str_copy(finding.text, sizeof(finding.text), "x: y");
    finding_format(&finding, &out);
    assert_string_equal(str_text(&out), "a.yml:7: warning: x: y");
    str_clear(&out);
    finding.line = 0;
    finding.severity = FINDING_ERROR;
    finding_format(&finding, &out);
    assert_string_equal(str_text(&out), "a.yml: error: x: y");
}

/* Findings come in the order of lines; more than the list holds are counted. */
static void test_many_findings(void **state)
{
    struct str text AUTO_STR = STR_INIT(65536);

    (void)state;
    str_add(&text, "scope: main\ntags:\n");
    for (int at = 0; at < 100; at++) {
        str_addf(&text, "  t%d: [x]\n", at);
    }
    str_add(&text, "name: a/b\n");
    config_free(check_parse(str_text(&text), NULL));
    assert_true(found.count > 100);
    assert_true(found.errors > 100);
    for (unsigned at = 1; at < FINDINGS_MAX; at++) {
        assert_true(found.items[at - 1].line <= found.items[at].line || found.items[at].line == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimal),
        cmocka_unit_test(test_customer),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_misplaced_keys),
        cmocka_unit_test(test_refused_sections),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_not_yaml),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_environment_findings),
        cmocka_unit_test(test_secrets_stay_secret),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_many_findings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
