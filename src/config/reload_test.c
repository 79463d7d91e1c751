#include "config/config_test.h"
#include "config/option.h"

static struct findings changes;

static void compare(const char *from, const char *to)
{
    struct config *running = check_parse(from, NULL);
    struct config *changed;

    assert_int_equal(found.errors, 0);
    changed = check_parse(to, NULL);
    assert_int_equal(found.errors, 0);
    changes = (struct findings){0};
    config_reload_check(running, changed, &changes);
    config_free(running);
    config_free(changed);
}

/* Each kind of value, changed once. */
static void test_one_change(void **state)
{
    static const struct {
        const char *from;
        const char *to;
        const char *text;
        enum finding_severity severity;
    } rows[] = {
        {"", "tags: {clonefrom: true}", "tags.clonefrom: changed, needs a restart of the agent",
         FINDING_WARNING},
        {"", "tags: {failover_priority: 2}", "tags.failover_priority: changed", FINDING_WARNING},
        {"", "tags: {region: eu}", "tags: changed, needs a restart of the agent", FINDING_WARNING},
        {"tags: {region: eu}", "tags: {region: us}", "tags: changed", FINDING_WARNING},
        {"", "log: {level: debug}", "log.level: changed, needs a restart of the agent",
         FINDING_WARNING},
        {"", "log: {dir: /l}", "log.dir: changed, needs a restart of the agent", FINDING_WARNING},
        {"", "store: {heartbeat_ms: 20}",
         "store.heartbeat_ms: changed, needs a restart of the agent", FINDING_WARNING},
        {"", "store: {data_dir: /s}", "store.data_dir: changed", FINDING_WARNING},
        {"", "  listen: '*:5432'",
         "postgresql.listen: changed, needs a restart of the agent and of the database",
         FINDING_WARNING},
        {"", "  parameters: {work_mem: 4MB}",
         "postgresql.parameters: changed, needs a restart of the agent", FINDING_WARNING},
        {"  parameters: {work_mem: 4MB}", "  parameters: {work_mem: '4MB'}",
         "postgresql.parameters: changed", FINDING_WARNING},
        {"  pg_hba: [a, b]", "  pg_hba: [a]", "postgresql.pg_hba: changed", FINDING_WARNING},
        {"  pg_hba: [a, b]", "  pg_hba: [a, c]", "postgresql.pg_hba: changed", FINDING_WARNING},
        {"  pg_hba: [a, b]", "", "postgresql.pg_hba: changed", FINDING_WARNING},
        {"", "  use_slots: off", "postgresql.use_slots: changed", FINDING_WARNING},
        {"", "bootstrap: {initdb: [x]}", "bootstrap.initdb: changed, has no effect on a cluster",
         FINDING_NOTE},
        {"", "bootstrap: {dcs: {ttl: 31}}", "bootstrap.dcs: changed, has no effect", FINDING_NOTE},
        {"etcd3: {host: a}", "etcd3: {host: b}",
         "etcd3.hosts: changed, needs a restart of the agent", FINDING_WARNING},
        {"etcd: {hosts: [a]}", "etcd: {hosts: [a, b]}", "etcd.hosts: changed", FINDING_WARNING},
        {"etcd3: {host: a}", "etcd3: {host: a, password: x}", "etcd3.password: changed",
         FINDING_WARNING},
        {"etcd3: {host: a}", "etcd3: {host: a, protocol: https}", "etcd3.protocol: changed",
         FINDING_WARNING},
        {"namespace: a", "namespace: b", "namespace: changed", FINDING_WARNING},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct str from AUTO_STR = STR_INIT(4096);
        struct str to AUTO_STR = STR_INIT(4096);

        str_addf(&from, MINIMAL "%s\n", rows[at].from);
        str_addf(&to, MINIMAL "%s\n", rows[at].to);
        compare(str_text(&from), str_text(&to));
        assert_int_equal(changes.count, 1);
        assert_true(str_starts(changes.items[0].text, rows[at].text));
        assert_int_equal(changes.items[0].severity, rows[at].severity);
    }
}

/* The file is read when the agent starts and never applied later (src/agent/run.c): no change of
 * it may be said to take effect at once. */
static void test_nothing_at_once(void **state)
{
    (void)state;
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);

        if (row->local.size > 0) {
            assert_int_not_equal(row->reload, RELOAD_NOW);
        }
    }
}

static void test_no_change(void **state)
{
    (void)state;
    compare(MINIMAL, MINIMAL);
    assert_int_equal(changes.count, 0);
    compare(MINIMAL "etcd3: {host: a}\n", MINIMAL "etcd3: {url: 'http://a:2379'}\n");
    assert_int_equal(changes.count, 0);
    compare(MINIMAL, MINIMAL "# a comment\nlog: {level: INFO}\n");
    assert_int_equal(changes.count, 0);
}

/* The running agent has filled in what it generated; a password in the file is a change, and is not
 * shown. */
static void test_passwords(void **state)
{
    const char *plain = "scope: s\nname: n\npeers: [node1]\npostgresql: {data_dir: /d}\n";
    const char *with = "scope: s\nname: n\npeers: [node1]\npostgresql: {data_dir: /d, "
                       "authentication: {rewind: {password: hunter2}}}\n";
    struct config *running = check_parse(plain, NULL);
    struct config *same = check_parse(plain, NULL);
    struct config *changed = check_parse(with, NULL);

    (void)state;
    changes = (struct findings){0};
    str_copy(running->postgresql.superuser.password, SECRET_SIZE, "generated");
    config_reload_check(running, same, &changes);
    assert_int_equal(changes.count, 0);
    config_reload_check(running, changed, &changes);
    assert_int_equal(changes.count, 1);
    assert_string_equal(
        changes.items[0].text,
        "postgresql.authentication.rewind.password: changed, needs a restart of the agent "
        "(SIGUSR2 ends the agent and leaves the server running)");
    config_free(running);
    config_free(same);
    config_free(changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_change),
        cmocka_unit_test(test_nothing_at_once),
        cmocka_unit_test(test_no_change),
        cmocka_unit_test(test_passwords),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
