#include "config/reader.h"

#include "config/config_test.h"

static const struct cluster_settings defaults = CLUSTER_SETTINGS_DEFAULT;

static struct cluster_settings parse(const char *json)
{
    struct cluster_settings settings = {0};

    found = (struct findings){0};
    config_settings_parse(json, &settings, &found);
    return settings;
}

static void check_same(struct cluster_settings a, struct cluster_settings b)
{
    assert_int_equal(a.ttl_ms, b.ttl_ms);
    assert_int_equal(a.loop_wait_ms, b.loop_wait_ms);
    assert_int_equal(a.retry_timeout_ms, b.retry_timeout_ms);
    assert_int_equal(a.maximum_lag_on_failover, b.maximum_lag_on_failover);
    assert_int_equal(a.primary_start_timeout_ms, b.primary_start_timeout_ms);
    assert_int_equal(a.primary_stop_timeout_ms, b.primary_stop_timeout_ms);
    assert_int_equal(a.is_paused, b.is_paused);
    assert_int_equal(a.check_timeline, b.check_timeline);
    assert_int_equal(a.use_pg_rewind, b.use_pg_rewind);
    assert_int_equal(a.use_slots, b.use_slots);
}

static void test_nothing_gives_defaults(void **state)
{
    static const char *const texts[] = {NULL, "", "{}", "{\"ttl\":null,\"postgresql\":null}"};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(texts); at++) {
        check_same(parse(texts[at]), defaults);
        assert_int_equal(found.count, 0);
    }
}

static void test_all_settings(void **state)
{
    struct cluster_settings settings = parse(
        "{\"ttl\":20,\"loop_wait\":1,\"retry_timeout\":5,\"maximum_lag_on_failover\":\"32MB\","
        "\"master_start_timeout\":0,\"primary_stop_timeout\":\"1min\",\"pause\":true,"
        "\"check_timeline\":true,\"synchronous_mode\":false,\"postgresql\":{\"use_pg_rewind\":"
        "false,"
        "\"use_slots\":false,\"parameters\":{\"max_connections\":100,\"wal_level\":\"logical\"},"
        "\"pg_hba\":[\"a\"]},\"unheard_of\":{\"a\":[1]},\"baton\":{\"x\":1}}");

    (void)state;
    check_print();
    assert_int_equal(found.count, 0);
    check_same(
        settings, (struct cluster_settings){
                      .ttl_ms = 20000,
                      .loop_wait_ms = 1000,
                      .retry_timeout_ms = 5000,
                      .maximum_lag_on_failover = INT64_C(32) << 20,
                      .primary_stop_timeout_ms = 60000,
                      .is_paused = true,
                      .check_timeline = true,
                  });
}

static void test_wrong_values_keep_defaults(void **state)
{
    static const char *const texts[] = {
        "{\"ttl\":\"x\"}",
        "{\"ttl\":2}",
        "{\"ttl\":[30]}",
        "{\"loop_wait\":0}",
        "{\"retry_timeout\":-1}",
        "{\"pause\":\"perhaps\"}",
        "{\"maximum_lag_on_failover\":-1}",
        "{\"postgresql\":5}",
        "{\"postgresql\":{\"use_slots\":7}}",
        "{\"standby_cluster\":{\"host\":\"a\"}}",
        "[1]",
        "{",
        "{\"ttl\":30,\"ttl\":40}",
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(texts); at++) {
        struct cluster_settings settings = parse(texts[at]);

        assert_int_equal(found.errors, 1);
        check_same(settings, defaults);
        assert_string_equal(found.items[0].file, "config");
    }
}

/* What an operator sets with edit-config and baton does not do is said; names of others and
 * harmless ones are not. */
static void test_idle_settings(void **state)
{
    (void)state;
    parse(
        "{\"synchronous_mode\":\"quorum\",\"max_timelines_history\":3,\"restapi\":{\"listen\":1}}");
    assert_int_equal(found.count, 1);
    check_expect(FINDING_WARNING, 1, "synchronous_mode: not used");
    parse("{\"synchronous_mode\":true}");
    assert_int_equal(found.count, 1);
    parse("{\"synchronous_mode\":\"strict\"}");
    check_expect(FINDING_ERROR, 1, "synchronous_mode: 'strict' is not one of: off on quorum");
}

/* loop_wait gives way first, then both, as in Patroni. */
static void test_timeouts(void **state)
{
    static const struct {
        const char *json;
        int64_t loop_wait_ms;
        int64_t retry_timeout_ms;
        unsigned findings;
    } rows[] = {
        {"{\"ttl\":30,\"loop_wait\":10,\"retry_timeout\":10}", 10000, 10000, 0},
        {"{\"ttl\":30,\"loop_wait\":11,\"retry_timeout\":10}", 10000, 10000, 1},
        {"{\"ttl\":30,\"loop_wait\":10,\"retry_timeout\":14}", 2000, 14000, 1},
        {"{\"ttl\":30,\"loop_wait\":10,\"retry_timeout\":15}", 1000, 14500, 1},
        {"{\"ttl\":3,\"loop_wait\":10,\"retry_timeout\":10}", 1000, 1000, 1},
        {"{\"ttl\":10}", 1000, 4500, 1},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct cluster_settings settings = parse(rows[at].json);

        assert_int_equal(settings.loop_wait_ms, rows[at].loop_wait_ms);
        assert_int_equal(settings.retry_timeout_ms, rows[at].retry_timeout_ms);
        assert_int_equal(found.count, rows[at].findings);
        assert_int_equal(found.errors, 0);
    }
    check_one(
        MINIMAL "bootstrap:\n  dcs: {ttl: 10}\n", NULL, FINDING_WARNING, 8,
        "bootstrap.dcs.ttl: less than loop_wait + 2 * retry_timeout");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_gives_defaults),
        cmocka_unit_test(test_all_settings),
        cmocka_unit_test(test_wrong_values_keep_defaults),
        cmocka_unit_test(test_idle_settings),
        cmocka_unit_test(test_timeouts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
