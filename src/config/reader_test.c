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
    check_same_settings(&a, &b);
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
        "\"check_timeline\":true,\"synchronous_mode\":\"quorum\",\"synchronous_mode_strict\":true,"
        "\"synchronous_node_count\":2,\"maximum_lag_on_syncnode\":1048576,\"failsafe_mode\":true,"
        "\"postgresql\":{\"use_pg_rewind\":false,"
        "\"use_slots\":false,\"parameters\":{\"max_connections\":100,\"wal_level\":\"logical\"},"
        "\"pg_hba\":[\"a\"]},\"unheard_of\":{\"a\":[1]},\"baton\":{\"hang_timeout\":\"1min\"}}");

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
                      .hang_timeout_ms = 60000,
                      .sync_mode = SYNC_QUORUM,
                      .sync_node_count = 2,
                      .maximum_lag_on_syncnode = 1048576,
                      .is_sync_strict = true,
                      .is_failsafe = true,
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
        "{\"synchronous_mode\":\"strict\"}",
        "{\"synchronous_mode\":1.5}",
        "{\"synchronous_mode\":\"\"}",
        "{\"synchronous_mode_strict\":\"quorum\"}",
        "{\"synchronous_node_count\":0}",
        "{\"maximum_lag_on_syncnode\":-2}",
        "{\"failsafe_mode\":5}",
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

/* What an operator sets in the key config and baton does not do is said; names of others and
 * harmless ones are not. */
static void test_idle_settings(void **state)
{
    (void)state;
    parse("{\"ignore_slots\":[1],\"max_timelines_history\":3,\"restapi\":{\"listen\":1}}");
    assert_int_equal(found.count, 1);
    check_expect(FINDING_WARNING, 1, "ignore_slots: not used");
}

/* off and on are booleans to YAML and to JSON, and Patroni takes their other names too. */
static void test_synchronous_mode(void **state)
{
    static const struct {
        const char *value;
        enum sync_mode mode;
    } rows[] = {
        {"null", SYNC_OFF},      {"false", SYNC_OFF},
        {"true", SYNC_ON},       {"\"off\"", SYNC_OFF},
        {"\"on\"", SYNC_ON},     {"\"On\"", SYNC_ON},
        {"\"true\"", SYNC_ON},   {"\"FALSE\"", SYNC_OFF},
        {"\"yes\"", SYNC_ON},    {"0", SYNC_OFF},
        {"1", SYNC_ON},          {"\"quorum\"", SYNC_QUORUM},
        {"quorum", SYNC_QUORUM}, {"\"QUORUM\"", SYNC_QUORUM},
    };
    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct cluster_settings expected = CLUSTER_SETTINGS_DEFAULT;
        char json[64];

        expected.sync_mode = rows[at].mode;
        assert_true(str_format(json, sizeof(json), "{\"synchronous_mode\": %s}", rows[at].value));
        check_same(parse(json), expected);
        assert_int_equal(found.count, 0);
    }
    parse("{\"synchronous_mode\":\"strict\"}");
    check_expect(FINDING_ERROR, 1, "synchronous_mode: 'strict' is not one of: off on quorum");
    check_one(
        MINIMAL "bootstrap:\n  dcs: {synchronous_mode: any}\n", NULL, FINDING_ERROR, 8,
        "bootstrap.dcs.synchronous_mode: 'any' is not one of: off on quorum");
    config_free(check_clean(
        MINIMAL "bootstrap:\n  dcs: {synchronous_mode: quorum, synchronous_mode_strict: on}\n",
        NULL));
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
        cmocka_unit_test(test_nothing_gives_defaults),     cmocka_unit_test(test_all_settings),
        cmocka_unit_test(test_wrong_values_keep_defaults), cmocka_unit_test(test_idle_settings),
        cmocka_unit_test(test_synchronous_mode),           cmocka_unit_test(test_timeouts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
