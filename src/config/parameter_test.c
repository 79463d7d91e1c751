#include "config/parameter.h"

#include "config/config_test.h"

static void test_owner(void **state)
{
    (void)state;
    assert_int_equal(parameter_owner("wal_level"), PARAMETER_CLUSTER);
    assert_int_equal(parameter_owner("WAL_Level"), PARAMETER_CLUSTER);
    assert_int_equal(parameter_owner("listen_addresses"), PARAMETER_AGENT);
    assert_int_equal(parameter_owner("work_mem"), PARAMETER_FREE);
    assert_int_equal(parameter_owner(""), PARAMETER_FREE);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(parameter_name_is_valid("work_mem"));
    assert_true(parameter_name_is_valid("pg_stat_statements.max"));
    assert_true(parameter_name_is_valid("_x$1"));
    assert_false(parameter_name_is_valid(""));
    assert_false(parameter_name_is_valid("1a"));
    assert_false(parameter_name_is_valid("a b"));
    assert_false(parameter_name_is_valid("a=b"));
    assert_false(parameter_name_is_valid("a\nb"));
    assert_false(parameter_name_is_valid("a'"));
}

static void test_values(void **state)
{
    static const struct {
        const char *name;
        const char *value;
        int r;
    } rows[] = {
        {"max_connections", "25", 0},
        {"max_connections", "24", ERR_INVALID},
        {"max_connections", "many", ERR_INVALID},
        {"max_wal_senders", "3", 0},
        {"max_wal_senders", "2", ERR_INVALID},
        {"max_replication_slots", "3", ERR_INVALID},
        {"max_locks_per_transaction", "31", ERR_INVALID},
        {"max_worker_processes", "1", ERR_INVALID},
        {"max_prepared_transactions", "0", 0},
        {"max_prepared_transactions", "-1", ERR_INVALID},
        {"wal_keep_size", "16", 0},
        {"wal_keep_size", "15", ERR_INVALID},
        {"wal_keep_size", "16384kB", 0},
        {"wal_keep_size", "16383kB", ERR_INVALID},
        {"wal_keep_size", "1GB", 0},
        {"wal_keep_size", "big", ERR_INVALID},
        {"wal_keep_size", "-1", ERR_INVALID},
        {"wal_level", "replica", 0},
        {"wal_level", "Logical", 0},
        {"wal_level", "minimal", ERR_INVALID},
        {"hot_standby", "on", 0},
        {"hot_standby", "off", ERR_INVALID},
        {"wal_log_hints", "off", 0},
        {"wal_log_hints", "perhaps", ERR_INVALID},
        {"track_commit_timestamp", "2", ERR_INVALID},
        {"listen_addresses", "x", 0},
        {"work_mem", "x", 0},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct err e = {0};

        assert_int_equal(parameter_check(rows[at].name, rows[at].value, &e), rows[at].r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
