#include "codec/record.h"

#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

/* A replica of Patroni 4.1. */
static const char patroni_replica[] =
    "{\"state\": \"running\", \"postmaster_start_time\": \"2026-11-23 10:00:00.123456+00:00\", "
    "\"role\": \"replica\", \"server_version\": 150018, \"xlog\": {\"received_location\": "
    "67108960, "
    "\"replayed_location\": 67108904, \"replayed_timestamp\": null, \"paused\": false}, "
    "\"timeline\": 3, \"replication_state\": \"streaming\", \"pause\": true, "
    "\"dcs_last_seen\": 1795428000, \"tags\": {\"nosync\": true}, "
    "\"database_system_identifier\": \"7711362511986721730\", "
    "\"patroni\": {\"version\": \"4.1.4\", \"scope\": \"demo\", \"name\": \"n2\"}}";

static void test_decode_patroni(void **state)
{
    struct peer_report peer;

    (void)state;
    assert_int_equal(record_report_decode(patroni_replica, NULL, &peer, NULL), 0);
    assert_int_equal(peer.state, STATE_RUNNING);
    assert_int_equal(peer.role, ROLE_REPLICA);
    assert_true(peer.system_id == UINT64_C(7711362511986721730));
    assert_int_equal(peer.server_version, 150018);
    assert_int_equal(peer.position.timeline, 3);
    assert_int_equal(peer.position.lsn, 67108960);
    assert_int_equal(peer.received_lsn, 67108960);
    assert_int_equal(peer.replayed_lsn, 67108904);
    assert_true(peer.is_streaming);
    assert_true(peer.is_paused);
    assert_true(peer.tags.nosync);
    assert_false(peer.has_baton);
    /* An old primary, the other name of xlog, no number for what was not received. */
    assert_int_equal(
        record_report_decode(
            "{\"role\":\"master\",\"state\":\"running\",\"wal\":{\"location\":5},\"xlog\":7}", NULL,
            &peer, NULL),
        0);
    assert_int_equal(peer.role, ROLE_PRIMARY);
    assert_int_equal(peer.position.lsn, 5);
    assert_int_equal(
        record_report_decode(
            "{\"xlog\":{\"received_location\":null,\"replayed_location\":9}}", NULL, &peer, NULL),
        0);
    assert_int_equal(peer.position.lsn, 9);
    assert_int_equal(record_report_decode("{}", NULL, &peer, NULL), 0);
    assert_int_equal(peer.position.lsn, 0);
}

static void test_encode_as_patroni(void **state)
{
    struct record_report report = {
        .postmaster_start_real_ms = INT64_C(1795428000123),
        .dcs_last_seen_real_s = 1795428000,
        .version = "4.1.4",
        .scope = "demo",
        .name = "n2",
    };
    AUTO_FREE char *json = NULL;
    AUTO_FREE char *primary = NULL;

    (void)state;
    assert_int_equal(record_report_decode(patroni_replica, NULL, &report.peer, NULL), 0);
    json = record_report_encode(&report);
    /* Microseconds are not kept. */
    memcpy(strstr(json, ".123000"), ".123456", 7);
    assert_string_equal(json, patroni_replica);

    report = (struct record_report){
        .peer = {.state = STATE_RUNNING, .role = ROLE_PRIMARY, .position = {3, 67108960}},
        .is_cluster_unlocked = true,
        .is_failsafe_active = true,
        .pending_restart = true,
        .standby_count = 2,
        .standbys = {"n2", "n3"},
        .extra_tags_json = "{\"zone\":\"a\"}",
    };
    report.peer.tags = (struct member_tags)MEMBER_TAGS_DEFAULT;
    primary = record_report_encode(&report);
    assert_string_equal(
        primary,
        "{\"state\": \"running\", \"role\": \"primary\", \"xlog\": {\"location\": 67108960}, "
        "\"timeline\": 3, \"replication\": ["
        "{\"application_name\": \"n2\", \"state\": \"streaming\"}, "
        "{\"application_name\": \"n3\", \"state\": \"streaming\"}], \"cluster_unlocked\": true, "
        "\"failsafe_mode_is_active\": true, "
        "\"dcs_last_seen\": 0, \"tags\": {\"zone\": \"a\"}, \"pending_restart\": true, "
        "\"patroni\": {\"version\": \"\", \"scope\": \"\", \"name\": \"\"}}");
}

static void test_sync_and_replay(void **state)
{
    struct record_report report = {
        .peer = {.state = STATE_RUNNING, .role = ROLE_REPLICA, .position = {3, 10}},
        .replayed_real_ms = INT64_C(1795428000123),
        .is_replay_paused = true,
        .is_in_archive_recovery = true,
        .is_sync_standby = true,
    };
    AUTO_FREE char *json = record_report_encode(&report);
    AUTO_FREE char *quorum = NULL;

    (void)state;
    assert_non_null(strstr(
        json, "\"replayed_timestamp\": \"2026-11-23 10:00:00.123000+00:00\", \"paused\": true}, "
              "\"sync_standby\": true, \"timeline\": 3, "
              "\"replication_state\": \"in archive recovery\""));
    report.is_quorum_standby = true;
    report.peer.is_streaming = true;
    quorum = record_report_encode(&report);
    assert_non_null(strstr(
        quorum, "\"quorum_standby\": true, \"timeline\": 3, "
                "\"replication_state\": \"streaming\""));
    assert_null(strstr(quorum, "sync_standby\": true, \"quorum"));
}

static void test_baton_of_a_stopped_server(void **state)
{
    struct record_report report = {
        .peer =
            {
                .state = STATE_STOPPED,
                .role = ROLE_REPLICA,
                .position = {3, 0x4000060},
                .has_baton = true,
                .dcs_ok = true,
                .term = 7,
                .is_candidate = true,
                .down_ms = 1500,
                .suspected = 7,
                .promised = 8,
                .bound = 9,
                .history = {.timeline = 3, .count = 2, .switches = {{1, 100}, {2, 200}}},
            },
        .problem = "stopped by the operator",
    };
    struct peer_report peer;
    AUTO_FREE char *json = record_report_encode(&report);

    (void)state;
    /* A Patroni node must not see a position of it. */
    assert_null(strstr(json, "xlog"));
    assert_non_null(strstr(
        json, "\"baton\": {\"dcs_ok\": true, \"term\": 7, \"candidate\": true, \"down_ms\": 1500, "
              "\"position\": \"3/0/4000060\", \"problem\": \"stopped by the operator\", "
              "\"timeline\": 3, \"history\": [[1, 100], [2, 200]], \"age_ms\": 0, "
              "\"suspected\": 7, "
              "\"promised\": 8, \"bound\": 9}"));
    assert_int_equal(record_report_decode(json, NULL, &peer, NULL), 0);
    assert_int_equal(position_compare(peer.position, report.peer.position), 0);
    assert_true(peer.has_baton);
    assert_true(peer.dcs_ok);
    assert_true(peer.is_candidate);
    assert_int_equal(peer.term, 7);
    assert_int_equal(peer.down_ms, 1500);
    assert_int_equal(peer.suspected, 7);
    assert_int_equal(peer.promised, 8);
    assert_int_equal(peer.bound, 9);
    assert_int_equal(peer.history.timeline, 3);
    assert_int_equal(peer.history.count, 2);
    assert_int_equal(peer.history.switches[1].lsn, 200);

    /* An agent of before them says nothing of suspicion and promises. */
    assert_int_equal(record_report_decode("{\"baton\":{\"term\":7}}", NULL, &peer, NULL), 0);
    assert_true(peer.has_baton);
    assert_int_equal(peer.suspected, 0);
    assert_int_equal(peer.promised, 0);
}

static void test_refusals(void **state)
{
    static const char *const rows[] = {
        "",
        "[]",
        "{\"server_version\":-1}",
        "{\"xlog\":{\"location\":\"5\"}}",
        "{\"timeline\":\"3\"}",
        "{\"baton\":{\"term\":-1}}",
        "{\"baton\":{\"position\":\"x\"}}",
        "{\"baton\":{\"history\":[[2,1],[1,1]]}}",
        "{\"baton\":{\"history\":7}}",
        "{\"baton\":{\"down_ms\":true}}",
        "{\"baton\":{\"suspected\":\"7\"}}",
        "{\"baton\":{\"promised\":-1}}",
        "{\"database_system_identifier\":-1}"};
    struct peer_report peer = {.term = 77};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct err e = {0};

        assert_int_equal(record_report_decode(rows[at], NULL, &peer, &e), ERR_CORRUPT);
        assert_true(e.text[0] != '\0');
        assert_int_equal(peer.term, 77);
    }
    assert_int_equal(
        record_report_decode("{\"database_system_identifier\":\"x\"}", NULL, &peer, NULL),
        ERR_INVALID);
}

static void test_guard_and_watchdog(void **state)
{
    struct record_report report = {
        .peer =
            {.has_baton = true,
             .is_watchdog_failed = true,
             .trouble = TROUBLE_DISK_FULL,
             .is_outgrown = true,
             .is_partial = true,
             .tail_for = "n2",
             .is_fetching = true,
             .given_timeline = 9},
        .guard_means = GUARD_MEANS_CGROUP,
        .guard_powers = GUARD_POWER_MEMORY | GUARD_POWER_NICE,
        .watchdog = GUARD_WATCHDOG_FAILED,
    };
    AUTO_FREE char *json = record_report_encode(&report);
    struct peer_report peer;

    (void)state;
    assert_non_null(strstr(
        json, "\"guard\": {\"means\": \"cgroup\", \"memory_locked\": true, \"scheduling\": "
              "\"nice\", \"oom_protected\": false, \"watchdog\": \"failed\"}"));
    assert_non_null(strstr(json, "\"watchdog_failed\": true"));
    assert_int_equal(record_report_decode(json, NULL, &peer, NULL), 0);
    assert_true(peer.is_watchdog_failed);
    assert_int_equal(peer.trouble, TROUBLE_DISK_FULL);
    assert_true(peer.is_outgrown);
    assert_true(peer.is_partial);
    assert_string_equal(peer.tail_for, "n2");
    assert_true(peer.is_fetching);
    assert_int_equal(peer.given_timeline, 9);
    json = mem_free(json);
    report.peer.trouble = TROUBLE_NONE;
    report.peer.is_watchdog_failed = false;
    report.guard_means = GUARD_MEANS_UNKNOWN;
    json = record_report_encode(&report);
    assert_null(strstr(json, "watchdog"));
    assert_null(strstr(json, "guard"));
    assert_int_equal(record_report_decode(json, NULL, &peer, NULL), 0);
    assert_false(peer.is_watchdog_failed);
    assert_int_equal(peer.trouble, TROUBLE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_and_watchdog),        cmocka_unit_test(test_decode_patroni),
        cmocka_unit_test(test_encode_as_patroni),         cmocka_unit_test(test_sync_and_replay),
        cmocka_unit_test(test_baton_of_a_stopped_server), cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
