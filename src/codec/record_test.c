#include "codec/record.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

static void test_member_as_patroni_writes_it(void **state)
{
    static const char primary[] =
        "{\"conn_url\":\"postgres://10.0.0.1:5432/postgres\","
        "\"api_url\":\"http://10.0.0.1:8008/patroni\",\"state\":\"running\",\"role\":\"primary\","
        "\"version\":\"4.1.4\",\"checkpoint_after_promote\":false,\"tags\":{\"clonefrom\":true,"
        "\"failover_priority\":2,\"sync_priority\":3},\"pending_restart\":true,\"xlog_location\":"
        "67108960,"
        "\"timeline\":3}";
    static const char replica[] =
        "{\"conn_url\":\"postgres://10.0.0.2:5432/postgres\","
        "\"api_url\":\"http://10.0.0.2:8008/patroni\",\"state\":\"running\",\"role\":\"replica\","
        "\"version\":\"4.1.4\",\"xlog_location\":9,\"receive_lsn\":9,\"replay_lsn\":8,"
        "\"replication_state\":\"streaming\",\"timeline\":3,\"baton\":{\"problem\":\"\"}}";
    AUTO_FREE char *primary_again = NULL;
    AUTO_FREE char *replica_again = NULL;
    struct member member;

    (void)state;
    assert_int_equal(record_member_decode("n1", primary, &member, NULL), 0);
    assert_string_equal(member.name, "n1");
    assert_string_equal(member.conn_url, "postgres://10.0.0.1:5432/postgres");
    assert_string_equal(member.api_url, "http://10.0.0.1:8008/patroni");
    assert_string_equal(member.version, "4.1.4");
    assert_int_equal(member.state, STATE_RUNNING);
    assert_int_equal(member.role, ROLE_PRIMARY);
    assert_int_equal(member.location_lsn, 67108960);
    assert_int_equal(member.timeline, 3);
    assert_int_equal(member.tags.failover_priority, 2);
    assert_int_equal(member.tags.sync_priority, 3);
    assert_true(member.tags.clonefrom);
    assert_true(member.pending_restart);
    assert_false(member.is_checkpointed);
    assert_false(member.is_baton);
    primary_again = record_member_encode(&member, NULL);
    assert_string_equal(primary_again, primary);

    assert_int_equal(record_member_decode("n2", replica, &member, NULL), 0);
    assert_true(member.is_checkpointed);
    assert_true(member.is_baton);
    assert_int_equal(member.received_lsn, 9);
    assert_int_equal(member.replayed_lsn, 8);
    assert_string_equal(member.replication_state, "streaming");
    replica_again = record_member_encode(&member, NULL);
    assert_string_equal(replica_again, replica);
}

static void test_member_variants(void **state)
{
    struct member member;

    (void)state;
    /* Patroni before 4.0; null for what is not known; fields that nobody knows. */
    assert_int_equal(
        record_member_decode(
            "n", "{\"role\":\"master\",\"xlog_location\":null,\"x\":[1],\"state\":\"dreaming\"}",
            &member, NULL),
        0);
    assert_int_equal(member.role, ROLE_PRIMARY);
    assert_int_equal(member.state, STATE_UNKNOWN);
    assert_int_equal(member.tags.failover_priority, 1);

    /* A problem too long for its buffer is cut, and not within a character. */
    {
        struct str json AUTO_STR = STR_INIT(4096);

        str_add(&json, "{\"baton\":{\"problem\":\"");
        for (int at = 0; at < 150; at++) {
            str_add(&json, "\xC3\xA9");
        }
        str_add(&json, "\"}}");
        assert_int_equal(record_member_decode("n", str_text(&json), &member, NULL), 0);
        assert_int_equal(strlen(member.problem), 190);
    }
}

/* The same rules for both priorities. */
static void check_priority(const char *flag, const char *key, bool is_sync)
{
    static const struct {
        const char *flag;  /* NULL: left out */
        const char *value; /* NULL: left out */
        int priority;
    } rows[] = {
        {NULL, NULL, 1},
        {"true", NULL, 0},
        {"\"yes\"", NULL, 0},
        {"\"false\"", NULL, 1},
        {"1", "5", 0},
        {"false", "5", 5},
        {"false", "0", 0},
        {NULL, "\"3\"", 3},
        {NULL, "-7", 0},
        {NULL, "\"many\"", 1},
        {NULL, "99999999999", INT_MAX},
    };

    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct str json AUTO_STR = STR_INIT(256);
        AUTO_FREE char *again_json = NULL;
        struct member member;
        struct member again;

        str_add(&json, "{\"tags\":{");
        if (rows[at].flag != NULL) {
            str_addf(&json, "\"%s\":%s,", flag, rows[at].flag);
        }
        if (rows[at].value != NULL) {
            str_addf(&json, "\"%s\":%s,", key, rows[at].value);
        }
        str_add(&json, "\"zone\":1}}");
        assert_int_equal(record_member_decode("n", str_text(&json), &member, NULL), 0);
        assert_int_equal(
            is_sync ? member.tags.sync_priority : member.tags.failover_priority, rows[at].priority);
        assert_int_equal(
            is_sync ? member.tags.nosync : member.tags.nofailover, rows[at].priority == 0);
        assert_int_equal(is_sync ? member.tags.failover_priority : member.tags.sync_priority, 1);
        again_json = record_member_encode(&member, NULL);
        assert_int_equal(record_member_decode("n", again_json, &again, NULL), 0);
        assert_int_equal(again.tags.failover_priority, member.tags.failover_priority);
        assert_int_equal(again.tags.sync_priority, member.tags.sync_priority);
    }
}

static void test_member_tags(void **state)
{
    struct member member;

    (void)state;
    check_priority("nofailover", "failover_priority", false);
    check_priority("nosync", "sync_priority", true);
    assert_int_equal(record_member_decode("n", "{\"tags\":[]}", &member, NULL), 0);
    assert_int_equal(member.tags.failover_priority, 1);
    assert_int_equal(member.tags.sync_priority, 1);
}

static void test_member_extra_tags(void **state)
{
    struct member member = {.tags = MEMBER_TAGS_DEFAULT, .is_checkpointed = true};
    AUTO_FREE char *json = NULL;
    AUTO_FREE char *damaged = NULL;

    (void)state;
    member.tags.nosync = true;
    json = record_member_encode(&member, "{\"zone\":\"a\",\"nosync\":false,\"rack\":2}");
    assert_non_null(strstr(json, "\"tags\":{\"nosync\":true,\"zone\":\"a\",\"rack\":2}"));
    damaged = record_member_encode(&member, "[1");
    assert_non_null(strstr(damaged, "\"tags\":{\"nosync\":true}"));
}

static void test_member_text_of_another_encoding(void **state)
{
    struct member member = {.is_baton = true, .tags = MEMBER_TAGS_DEFAULT};
    AUTO_FREE char *json = NULL;

    (void)state;
    assert_true(str_copy(member.problem, sizeof(member.problem), "caf\xE9"));
    json = record_member_encode(&member, NULL);
    assert_non_null(strstr(json, "{\"problem\":\"caf?\"}"));
}

static void test_member_refusals(void **state)
{
    static const char *const rows[] = {
        "",
        "{",
        "[]",
        "\"x\"",
        "{\"conn_url\":1}",
        "{\"timeline\":4294967296}",
        "{\"timeline\":1.0}",
        "{\"xlog_location\":-1}",
        "{\"xlog_location\":\"5\"}",
        "{\"receive_lsn\":99999999999999999999}",
        "{\"api_url\":\"a\\u0000b\"}"};
    struct member member = {.timeline = 77};
    char name[100];

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct err e = {0};

        assert_int_equal(record_member_decode("n9", rows[at], &member, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.text, "member n9"));
        assert_int_equal(member.timeline, 77);
    }
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(record_member_decode(name, "{}", &member, NULL), ERR_LIMIT);
    assert_int_equal(record_member_decode("", "{}", &member, NULL), ERR_LIMIT);
    assert_int_equal(record_member_decode("a/b", "{}", &member, NULL), ERR_LIMIT);
}

static void test_lease(void **state)
{
    static const char json[] =
        "{\"holder\":\"n1\",\"released_to\":\"n2\",\"node\":\"0a1b\",\"term\":7,\"seq\":42,"
        "\"length_ms\":30000,\"timeline\":6,\"floor\":\"5/0/3000148\"}";
    static const char *const damaged[] = {
        "{}",
        "{\"holder\":\"n1\"}",
        "{\"holder\":\"n1\",\"term\":-1,\"seq\":1,\"length_ms\":1}",
        "{\"holder\":\"n1\",\"term\":1,\"seq\":1,\"length_ms\":\"1\"}",
        "{\"holder\":null,\"term\":1,\"seq\":1,\"length_ms\":1}",
        "{\"holder\":\"n1\",\"term\":1,\"seq\":1,\"length_ms\":1,\"floor\":\"x\"}",
        "{\"holder\":\"n1\",\"term\":1,\"seq\":1,\"length_ms\":1,\"failsafe\":{}}",
        "{\"holder\":\"n1\",\"term\":1,\"seq\":1,\"length_ms\":1,\"failsafe\":[7]}",
        "{\"holder\":\"n1\",\"term\":1,\"seq\":1,\"length_ms\":1,\"failsafe\":[\"\"]}",
        "{\"holder\":\"n\",\"term\":1,\"seq\":1,\"length_ms\":1,\"failsafe\":[\"a\",\"a\"]}"};
    struct lease_record lease;
    AUTO_FREE char *again = NULL;

    (void)state;
    assert_int_equal(record_lease_decode(json, &lease, NULL), 0);
    assert_string_equal(lease.holder, "n1");
    assert_string_equal(lease.released_to, "n2");
    assert_int_equal(lease.term, 7);
    assert_int_equal(lease.seq, 42);
    assert_int_equal(lease.length_ms, 30000);
    assert_int_equal(lease.timeline, 6);
    assert_int_equal(lease.floor.timeline, 5);
    assert_int_equal(lease.floor.lsn, 0x3000148);
    again = record_lease_encode(&lease);
    assert_string_equal(again, json);
    for (size_t at = 0; at < ARRAY_LEN(damaged); at++) {
        assert_int_equal(record_lease_decode(damaged[at], &lease, NULL), ERR_CORRUPT);
        assert_int_equal(lease.term, 7);
    }
}

static void test_failsafe(void **state)
{
    static const char named[] =
        "{\"holder\":\"n1\",\"released_to\":\"\",\"node\":\"0a1b\",\"term\":7,\"seq\":42,"
        "\"length_ms\":30000,\"timeline\":6,\"floor\":\"0/0/0\",\"failsafe\":[\"n1\",\"n2\"]}";
    static const char asked[] =
        "{\"name\":\"n1\",\"conn_url\":\"postgres://h/p\",\"api_url\":\"http://h:8008/patroni\","
        "\"slots\":{},\"asked\":\"n2\",\"node\":\"0a1b\",\"term\":7,\"seq\":42,\"length_ms\":"
        "30000}";
    struct cluster cluster = {.member_count = 3};
    struct lease_record lease;
    struct failsafe_ask ask;
    AUTO_FREE char *again = NULL;
    AUTO_FREE char *body = NULL;
    AUTO_FREE char *key = NULL;

    (void)state;
    assert_int_equal(record_lease_decode(named, &lease, NULL), 0);
    assert_int_equal(lease.failsafe_count, 2);
    assert_string_equal(lease.failsafe[1], "n2");
    again = record_lease_encode(&lease);
    assert_string_equal(again, named);

    assert_int_equal(record_ask_decode(asked, &ask, NULL), 0);
    assert_string_equal(ask.asked, "n2");
    assert_string_equal(ask.node, "0a1b");
    assert_int_equal(ask.term, 7);
    assert_int_equal(ask.seq, 42);
    assert_int_equal(ask.length_ms, 30000);
    body = record_ask_encode(&ask, "postgres://h/p", "http://h:8008/patroni");
    assert_string_equal(body, asked);
    /* Patroni's. */
    assert_int_equal(
        record_ask_decode(
            "{\"name\": \"p1\", \"conn_url\": \"\", \"api_url\": \"\", \"slots\": {\"a\": 1}}",
            &ask, NULL),
        0);
    assert_string_equal(ask.name, "p1");
    assert_int_equal(ask.term, 0);
    assert_int_equal(record_ask_decode("{}", &ask, NULL), ERR_CORRUPT);
    assert_int_equal(record_ask_decode("{\"name\":\"a\",\"term\":\"7\"}", &ask, NULL), ERR_CORRUPT);
    assert_int_equal(record_ask_decode("[]", &ask, NULL), ERR_CORRUPT);

    assert_true(str_copy(cluster.members[0].name, MEMBER_NAME_SIZE, "n1"));
    assert_true(str_copy(cluster.members[0].api_url, 64, "http://h:8008/patroni"));
    assert_true(str_copy(cluster.members[1].name, MEMBER_NAME_SIZE, "n2"));
    assert_true(str_copy(cluster.members[2].name, MEMBER_NAME_SIZE, "n3"));
    assert_true(str_copy(cluster.members[2].api_url, 64, "http://i:8008/patroni"));
    key = record_failsafe_encode(&cluster);
    assert_string_equal(key, "{\"n1\":\"http://h:8008/patroni\",\"n3\":\"http://i:8008/patroni\"}");
}

static void check_sync(const char *json, const char *leader, unsigned quorum, const char *again)
{
    struct sync_record sync;
    AUTO_FREE char *encoded = NULL;

    assert_int_equal(record_sync_decode(json, &sync, NULL), 0);
    assert_string_equal(sync.leader, leader);
    assert_int_equal(sync.quorum, quorum);
    encoded = record_sync_encode(&sync);
    assert_string_equal(encoded, again != NULL ? again : json);
}

static void test_sync(void **state)
{
    struct sync_record sync = {
        .leader = "n1", .quorum = 1, .count = 3, .voters = {"n3", "n2", "n3"}};
    AUTO_FREE char *json = NULL;

    (void)state;
    json = record_sync_encode(&sync);
    assert_string_equal(json, "{\"leader\":\"n1\",\"quorum\":1,\"sync_standby\":\"n2,n3\"}");

    /* Patroni 4, 3 and their ways to say nobody. */
    check_sync("{\"leader\":\"n1\",\"quorum\":1,\"sync_standby\":\"n2,n3\"}", "n1", 1, NULL);
    check_sync("{\"leader\":\"n1\",\"quorum\":0,\"sync_standby\":null}", "n1", 0, NULL);
    check_sync(
        "{\"leader\":\"n1\",\"sync_standby\":\"n2\"}", "n1", 0,
        "{\"leader\":\"n1\",\"quorum\":0,\"sync_standby\":\"n2\"}");
    check_sync(
        "{\"leader\":\"n1\",\"quorum\":null,\"sync_standby\":\"\"}", "n1", 0,
        "{\"leader\":\"n1\",\"quorum\":0,\"sync_standby\":null}");
    check_sync(
        "{\"leader\":\"n1\"}", "n1", 0, "{\"leader\":\"n1\",\"quorum\":0,\"sync_standby\":null}");
    check_sync(
        "{\"sync_standby\":\" n3 ,, n2,\\tn3,\", \"leader\":\"n1\",\"quorum\":1,\"new\":[]}", "n1",
        1, "{\"leader\":\"n1\",\"quorum\":1,\"sync_standby\":\"n2,n3\"}");
    check_sync("{\"leader\":null,\"quorum\":0,\"sync_standby\":null}", "", 0, NULL);
    check_sync(
        "{\"leader\":\"\",\"quorum\":3,\"sync_standby\":\" \"}", "", 0,
        "{\"leader\":null,\"quorum\":0,\"sync_standby\":null}");
}

/* As many voters as there can be members, and what is larger or of another form. In the reading of
 * the cluster nobody but the leader, where it can be read, is left. */
static void test_sync_damage(void **state)
{
    static const struct {
        const char *json;
        const char *leader; /* in the cluster */
    } rows[] = {
        {"", RECORD_SYNC_UNKNOWN},
        {"null", RECORD_SYNC_UNKNOWN},
        {"{}", RECORD_SYNC_UNKNOWN},
        {"[]", RECORD_SYNC_UNKNOWN},
        {"{\"leader\":\"n1\"", RECORD_SYNC_UNKNOWN},
        {"{\"leader\":1}", RECORD_SYNC_UNKNOWN},
        {"{\"leader\":\"a/b\"}", RECORD_SYNC_UNKNOWN},
        {"{\"leader\":null,\"sync_standby\":\"n2\"}", RECORD_SYNC_UNKNOWN},
        {"{\"leader\":\"n1\",\"quorum\":-1,\"sync_standby\":\"n2\"}", "n1"},
        {"{\"leader\":\"n1\",\"quorum\":\"1\",\"sync_standby\":\"n2\"}", "n1"},
        {"{\"leader\":\"n1\",\"sync_standby\":[\"n2\"]}", "n1"},
        {"{\"leader\":\"n1\",\"sync_standby\":\"n2,a/b\"}", "n1"},
    };
    struct sync_record sync = {.quorum = 77};
    AUTO_FREE struct cluster *cluster = mem_alloc(sizeof(*cluster));
    struct str many AUTO_STR = STR_INIT(4096);
    char problem[256];

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        const struct record_entry entry = {"sync", rows[at].json, 9};

        assert_int_equal(record_sync_decode(rows[at].json, &sync, NULL), ERR_CORRUPT);
        assert_int_equal(sync.quorum, 77);
        record_cluster_decode(&entry, 1, 30, cluster, problem, sizeof(problem));
        assert_true(str_starts(problem, "key sync: the synchronous standbys: "));
        assert_string_equal(cluster->sync.leader, rows[at].leader);
        assert_int_equal(cluster->sync.count, 0);
        assert_int_equal(cluster->sync.quorum, 0);
        assert_int_equal(cluster->sync_revision, 9);
    }
    str_add(&many, "{\"leader\":\"n1\",\"sync_standby\":\"");
    for (unsigned at = 0; at < MEMBERS_MAX; at++) {
        str_addf(&many, "%063u,", at);
    }
    AUTO_FREE char *full = mem_dup(str_text(&many));
    str_add(&many, "\"}");
    assert_int_equal(record_sync_decode(str_text(&many), &sync, NULL), 0);
    assert_int_equal(sync.count, MEMBERS_MAX);
    AUTO_FREE char *again = record_sync_encode(&sync);
    assert_int_equal(record_sync_decode(again, &sync, NULL), 0);
    assert_int_equal(sync.count, MEMBERS_MAX);
    str_clear(&many);
    str_addf(&many, "%sn17\"}", full);
    assert_int_equal(record_sync_decode(str_text(&many), &sync, NULL), ERR_LIMIT);
    str_clear(&many);
    str_addf(&many, "{\"leader\":\"n1\",\"sync_standby\":\"%064u\"}", 1U);
    assert_int_equal(record_sync_decode(str_text(&many), &sync, NULL), ERR_CORRUPT);
}

static void test_status(void **state)
{
    static const struct record_slot slots[] = {{"n2", 5}, {"n3", UINT64_MAX}};
    AUTO_FREE char *with = record_status_encode(67108960, slots, 2);
    AUTO_FREE char *without = record_status_encode(0, NULL, 0);

    (void)state;
    assert_string_equal(
        with, "{\"optime\":67108960,\"slots\":{\"n2\":5,\"n3\":9223372036854775807}}");
    assert_string_equal(without, "{\"optime\":0}");
}

static void test_request(void **state)
{
    static const char json[] = "{\"leader\":\"n1\",\"member\":\"n2\","
                               "\"scheduled_at\":\"2026-11-23T10:00:00.123000+00:00\"}";
    struct failover_request request;
    struct failover_request none = {0};
    AUTO_FREE char *again = NULL;
    AUTO_FREE char *empty = record_request_encode(&none);

    (void)state;
    assert_string_equal(empty, "{}");
    assert_int_equal(record_request_decode(json, &request, NULL), 0);
    assert_string_equal(request.leader, "n1");
    assert_string_equal(request.candidate, "n2");
    assert_true(request.scheduled_real_ms == INT64_C(1795428000123));
    again = record_request_encode(&request);
    assert_string_equal(again, json);
    assert_int_equal(
        record_request_decode("{\"leader\":null,\"member\":\"b\"}", &request, NULL), 0);
    assert_string_equal(request.leader, "");
    assert_int_equal(request.scheduled_real_ms, 0);
    assert_int_equal(record_request_decode("[]", &request, NULL), ERR_CORRUPT);
    assert_int_equal(
        record_request_decode("{\"scheduled_at\":\"tomorrow\"}", &request, NULL), ERR_INVALID);
    assert_int_equal(
        record_request_decode("{\"scheduled_at\":\"2026-11-23T10:00:00\"}", &request, NULL),
        ERR_INVALID);
    assert_int_equal(
        record_request_decode("{\"scheduled_at\":\"1969-11-23T10:00:00Z\"}", &request, NULL),
        ERR_INVALID);
    assert_int_equal(
        record_request_decode("{\"scheduled_at\":\"9999-12-31T23:59:59-10:00\"}", &request, NULL),
        ERR_INVALID);
}

#define ROW_1 "[1,100,\"no recovery target specified\",\"2026-11-23T10:00:00.123456+00:00\",\"n2\"]"

static void test_history(void **state)
{
    struct timeline_history history;

    (void)state;
    assert_int_equal(record_history_decode("[" ROW_1 ",[3,200,\"x\"]]", &history, NULL), 0);
    assert_int_equal(history.timeline, 4);
    assert_int_equal(history.count, 2);
    assert_int_equal(history.switches[1].timeline, 3);
    assert_int_equal(history.switches[1].lsn, 200);
    assert_int_equal(record_history_decode("[]", &history, NULL), 0);
    assert_int_equal(history.timeline, 1);
    assert_int_equal(history.count, 0);
    assert_int_equal(record_history_decode("[[2,1],[1,1]]", &history, NULL), ERR_CORRUPT);
    assert_int_equal(record_history_decode("[[1,1],[1,1]]", &history, NULL), ERR_CORRUPT);
    assert_int_equal(record_history_decode("[[0,1]]", &history, NULL), ERR_CORRUPT);
    assert_int_equal(record_history_decode("[[1]]", &history, NULL), ERR_CORRUPT);
    assert_int_equal(record_history_decode("[1]", &history, NULL), ERR_CORRUPT);
    assert_int_equal(record_history_decode("[[1,-1]]", &history, NULL), ERR_CORRUPT);
    assert_int_equal(record_history_decode("[[4294967295,1]]", &history, NULL), ERR_CORRUPT);
    assert_int_equal(record_history_decode("{}", &history, NULL), ERR_CORRUPT);
    assert_int_equal(record_history_decode("", &history, NULL), ERR_CORRUPT);
}

static void check_append(
    const char *old, const struct timeline_history *history, unsigned max, const char *expected)
{
    AUTO_FREE char *json =
        record_history_append(old, history, "promoted", INT64_C(1795428000123), "n3", max);

    assert_string_equal(json, expected);
}

static void test_history_append(void **state)
{
    struct timeline_history history = {.timeline = 1};
    static const char new_row[] =
        "[2,200,\"promoted\",\"2026-11-23T10:00:00.123000+00:00\",\"n3\"]";
    char both[512];
    char unknown[512];
    char only_new[512];

    (void)state;
    assert_true(str_format(both, sizeof(both), "[" ROW_1 ",%s]", new_row));
    assert_true(str_format(unknown, sizeof(unknown), "[[1,100,\"\"],%s]", new_row));
    assert_true(str_format(only_new, sizeof(only_new), "[%s]", new_row));

    check_append(NULL, &history, 0, "[]");
    check_append("[" ROW_1 "]", &history, 0, "[]");
    timeline_history_add(&history, 1, 100);
    timeline_history_add(&history, 2, 200);
    history.timeline = 3;
    check_append("[" ROW_1 "]", &history, 0, both);
    check_append(both, &history, 0, both);
    check_append(both, &history, 1, only_new);
    check_append(NULL, &history, 0, unknown);
    check_append("", &history, 0, unknown);
    check_append("[[1,", &history, 0, unknown);
    /* Another branch of timeline 1, and a later timeline that this history does not have. */
    check_append("[[1,99,\"x\"],[5,600,\"y\"]]", &history, 0, unknown);
}

static void test_history_append_when_full(void **state)
{
    struct timeline_history history = {0};
    struct timeline_history again;
    AUTO_FREE char *json = NULL;

    (void)state;
    for (uint32_t at = 10; at < 10 + TIMELINES_MAX; at++) {
        timeline_history_add(&history, at, at);
    }
    /* Row 1 is too old for the table; row 11 is of another branch. */
    json = record_history_append("[" ROW_1 ",[11,5,\"\"]]", &history, "r", 1000, "n", 0);
    assert_true(str_starts(json, "[" ROW_1 ",[10,10,\"\"],[11,11,\"\"],"));
    assert_int_equal(record_history_decode(json, &again, NULL), 0);
    assert_int_equal(again.timeline, 10 + TIMELINES_MAX);
}

static void test_cluster(void **state)
{
    static const struct record_entry entries[] = {
        {"baton/history", "4", 24},
        {"baton/lease",
         "{\"holder\":\"n1\",\"released_to\":\"\",\"term\":7,\"seq\":42,\"length_ms\":30000}", 21},
        {"config", "{\"ttl\":30}", 12},
        {"failover", "{\"leader\":\"n1\"}", 13},
        {"failsafe", "not JSON, and not ours", 14},
        {"history", "[[1,100,\"x\"]]", 15},
        {"initialize", "7711362511986721730", 16},
        {"leader", "n1", 17},
        {"members/n1", "{\"role\":\"primary\"}", 18},
        {"members/n2", "{\"role\":\"replica\"}", 19},
        {"status", "{\"optime\":67108960,\"retain_slots\":[]}", 20},
        {"somebody/elses", "{", 22},
        {"sync", "{\"leader\":\"n1\",\"quorum\":1,\"sync_standby\":\"n2,n3\"}", 23},
    };
    AUTO_FREE struct cluster *cluster = mem_alloc(sizeof(*cluster));
    char problem[256] = "x";

    (void)state;
    record_cluster_decode(entries, ARRAY_LEN(entries), 30, cluster, problem, sizeof(problem));
    assert_string_equal(problem, "");
    assert_int_equal(cluster->revision, 30);
    assert_true(cluster->has_initialize);
    assert_true(cluster->system_id == UINT64_C(7711362511986721730));
    assert_int_equal(cluster->initialize_revision, 16);
    assert_string_equal(cluster->leader, "n1");
    assert_int_equal(cluster->leader_revision, 17);
    assert_int_equal(cluster->lease.term, 7);
    assert_int_equal(cluster->lease_revision, 21);
    assert_int_equal(cluster->member_count, 2);
    assert_int_equal(cluster_find(cluster, "n2")->role, ROLE_REPLICA);
    assert_true(cluster->has_config);
    assert_int_equal(cluster->config_revision, 12);
    assert_int_equal(cluster->settings.ttl_ms, 30000);
    assert_true(cluster->has_request);
    assert_int_equal(cluster->request_revision, 13);
    assert_string_equal(cluster->request.leader, "n1");
    assert_int_equal(cluster->status_lsn, 67108960);
    assert_int_equal(cluster->history.timeline, 4);
    assert_int_equal(cluster->history_revision, 15);
    assert_string_equal(cluster->sync.leader, "n1");
    assert_int_equal(cluster->sync.quorum, 1);
    assert_int_equal(cluster->sync.count, 2);
    assert_string_equal(cluster->sync.voters[1], "n3");
    assert_int_equal(cluster->sync_revision, 23);
}

/* The number that baton wrote counts as long as nobody who does not know of it has led since. */
static void test_cluster_history_of(void **state)
{
    static const struct {
        const char *history;
        const char *of;
        uint32_t timeline;
    } rows[] = {
        {"[[1,100,\"x\"]]", "4", 4},
        {"[[1,100,\"x\"],[4,200,\"x\"]]", "4", 5},
        {"[[1,100,\"x\"],[4,200,\"x\"],[5,300,\"x\"]]", "4", 6},
        {"[]", "2", 2},
        {"{", "4", 0},
    };
    AUTO_FREE struct cluster *cluster = mem_alloc(sizeof(*cluster));
    char problem[256];

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        const struct record_entry entries[] = {
            {KEY_HISTORY_OF, rows[at].of, 2}, {KEY_HISTORY, rows[at].history, 1}};

        record_cluster_decode(entries, 2, 30, cluster, problem, sizeof(problem));
        assert_int_equal(cluster->history.timeline, rows[at].timeline);
    }
}

static void test_cluster_empty_values(void **state)
{
    static const struct record_entry entries[] = {
        {"failover", "{}", 3}, {"history", "[]", 4}, {"initialize", "", 5}, {"status", "{}", 6}};
    AUTO_FREE struct cluster *cluster = mem_alloc(sizeof(*cluster));
    char problem[256];

    (void)state;
    record_cluster_decode(entries, ARRAY_LEN(entries), 30, cluster, problem, sizeof(problem));
    assert_string_equal(problem, "");
    assert_true(cluster->has_initialize);
    assert_int_equal(cluster->system_id, 0);
    assert_false(cluster->has_request);
    assert_int_equal(cluster->request_revision, 3);
    assert_int_equal(cluster->history.timeline, 1);
    record_cluster_decode(NULL, 0, 1, cluster, problem, sizeof(problem));
    assert_false(cluster->has_initialize);
    assert_int_equal(cluster->history.timeline, 0);
    assert_string_equal(cluster->sync.leader, "");
    assert_int_equal(cluster->sync_revision, 0);
}

static void test_cluster_damage(void **state)
{
    static const struct record_entry rows[] = {
        {"baton/history", "x", 1}, {"baton/lease", "{}", 1}, {"failover", "x", 1},
        {"history", "{}", 1},      {"initialize", "x", 1},   {"leader", "a/b", 1},
        {"leader", "", 1},         {"members/n1", "{", 1},   {"members/", "{}", 1},
        {"members/a/b", "{}", 1},  {"status", "[]", 1},      {"status", "{\"optime\":\"1\"}", 1},
    };
    struct record_entry entries[MEMBERS_MAX + 1];
    char names[MEMBERS_MAX + 1][24];
    AUTO_FREE struct cluster *cluster = mem_alloc(sizeof(*cluster));
    char problem[256];

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        const struct record_entry two[] = {rows[at], {"members/good", "{}", 2}};

        record_cluster_decode(two, 2, 30, cluster, problem, sizeof(problem));
        assert_true(str_starts(problem, "key "));
        assert_non_null(strstr(problem, rows[at].key));
        assert_int_equal(cluster->member_count, 1);
        assert_false(cluster->has_request);
        assert_string_equal(cluster->leader, "");
    }
    for (size_t at = 0; at < ARRAY_LEN(entries); at++) {
        assert_true(str_format(names[at], sizeof(names[at]), "members/n%zu", at));
        entries[at] = (struct record_entry){names[at], "{}", 1};
    }
    record_cluster_decode(entries, ARRAY_LEN(entries), 30, cluster, problem, sizeof(problem));
    assert_int_equal(cluster->member_count, MEMBERS_MAX);
    assert_non_null(strstr(problem, "members/n16"));
}

/* One too many, and that one leads. */
static void test_leader_has_a_place(void **state)
{
    static const struct record_entry keys[] = {
        {"leader", "n16", 1},
        {"baton/lease",
         "{\"holder\":\"n16\",\"node\":\"x\",\"term\":1,\"seq\":1,\"length_ms\":9000,"
         "\"timeline\":2}",
         1},
    };
    struct record_entry entries[MEMBERS_MAX + 2];
    char names[MEMBERS_MAX + 2][24];
    AUTO_FREE struct cluster *cluster = mem_alloc(sizeof(*cluster));
    char problem[256];

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(keys); row++) {
        entries[0] = keys[row];
        for (size_t at = 1; at < ARRAY_LEN(entries); at++) {
            assert_true(str_format(names[at], sizeof(names[at]), "members/n%zu", at - 1));
            entries[at] = (struct record_entry){names[at], "{}", 1};
        }
        record_cluster_decode(entries, ARRAY_LEN(entries), 30, cluster, problem, sizeof(problem));
        assert_int_equal(cluster->member_count, MEMBERS_MAX);
        assert_non_null(cluster_find(cluster, "n16"));
        assert_null(cluster_find(cluster, "n15"));
        assert_non_null(strstr(problem, "more than 16 members"));
        entries[ARRAY_LEN(entries) - 1].value = "{";
        record_cluster_decode(entries, ARRAY_LEN(entries), 30, cluster, problem, sizeof(problem));
        assert_non_null(cluster_find(cluster, "n15"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_member_as_patroni_writes_it),
        cmocka_unit_test(test_member_variants),
        cmocka_unit_test(test_member_tags),
        cmocka_unit_test(test_member_extra_tags),
        cmocka_unit_test(test_member_text_of_another_encoding),
        cmocka_unit_test(test_member_refusals),
        cmocka_unit_test(test_lease),
        cmocka_unit_test(test_failsafe),
        cmocka_unit_test(test_sync),
        cmocka_unit_test(test_sync_damage),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_history_append),
        cmocka_unit_test(test_history_append_when_full),
        cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_cluster_history_of),
        cmocka_unit_test(test_cluster_empty_values),
        cmocka_unit_test(test_cluster_damage),
        cmocka_unit_test(test_leader_has_a_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
