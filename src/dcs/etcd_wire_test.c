#include "dcs/etcd_wire.h"

#include "base/mem.h"

#include <setjmp.h>

#include <cmocka.h>

#define HEADER \
    "\"header\":{\"cluster_id\":\"2961762449054095690\",\"member_id\":\"1\",\"revision\":\"9\"," \
    "\"raft_term\":\"2\"}"
#define WATCH_HEADER "{\"result\":{" HEADER ","

static void check_base64(const char *bytes, size_t length, const char *text)
{
    AUTO_STR struct str out = STR_INIT(1024);
    AUTO_FREE char *back = NULL;
    size_t back_length = 0;

    etcd_wire_base64(&out, bytes, length);
    assert_string_equal(str_text(&out), text);
    assert_int_equal(etcd_wire_unbase64(text, 100, &back, &back_length, NULL), 0);
    assert_int_equal(back_length, length);
    assert_memory_equal(back, bytes, length);
}

static void test_base64(void **state)
{
    char *bytes = NULL;
    size_t length = 0;
    struct err e = {0};

    (void)state;
    check_base64("", 0, "");
    check_base64("f", 1, "Zg==");
    check_base64("fo", 2, "Zm8=");
    check_base64("foo", 3, "Zm9v");
    check_base64("\0\xff\xfe?", 4, "AP/+Pw==");
    assert_int_equal(etcd_wire_unbase64("Zg=", 100, &bytes, &length, &e), ERR_CORRUPT);
    assert_int_equal(etcd_wire_unbase64("Z===", 100, &bytes, &length, &e), ERR_CORRUPT);
    assert_int_equal(etcd_wire_unbase64("Z!==", 100, &bytes, &length, &e), ERR_CORRUPT);
    assert_int_equal(etcd_wire_unbase64("Zg==Zg==", 100, &bytes, &length, &e), ERR_CORRUPT);
    assert_int_equal(etcd_wire_unbase64("Zm9v", 2, &bytes, &length, &e), ERR_LIMIT);
}

static void test_bodies(void **state)
{
    struct dcs_txn txn = {.compare_count = 3, .op_count = 2};
    AUTO_FREE char *range = etcd_wire_range("/a/");
    AUTO_FREE char *look = etcd_wire_look("/a/");
    AUTO_FREE char *watch = etcd_wire_watch("/a/", 7);
    AUTO_FREE char *user = etcd_wire_authenticate("u\"", "p\\");
    AUTO_FREE char *body = NULL;

    (void)state;
    assert_string_equal(range, "{\"key\":\"L2Ev\",\"range_end\":\"L2Ew\",\"limit\":\"129\"}");
    assert_string_equal(
        look, "{\"key\":\"L2Ev\",\"range_end\":\"L2Ew\",\"limit\":\"1\",\"keys_only\":true}");
    assert_string_equal(
        watch, "{\"create_request\":{\"key\":\"L2Ev\",\"range_end\":\"L2Ew\","
               "\"start_revision\":\"7\",\"progress_notify\":true}}");
    mem_free(body);
    body = etcd_wire_target(7);
    assert_string_equal(body, "{\"targetID\":\"7\"}");
    body = mem_free(body);
    assert_string_equal(user, "{\"name\":\"u\\\"\",\"password\":\"p\\\\\"}");
    txn.compares[0] = (struct dcs_compare){.kind = DCS_IS_ABSENT, .key = "b"};
    txn.compares[1] = (struct dcs_compare){.kind = DCS_VALUE_IS, .key = "b", .value = ""};
    txn.compares[2] = (struct dcs_compare){.kind = DCS_REVISION_IS, .key = "b", .revision = 5};
    txn.ops[0] = (struct dcs_op){.kind = DCS_PUT, .key = "b", .value = "foo", .with_session = true};
    txn.ops[1] = (struct dcs_op){.kind = DCS_DELETE, .key = "b"};
    body = etcd_wire_txn("/a/", &txn, 77);
    assert_string_equal(
        body,
        "{\"compare\":["
        "{\"key\":\"L2EvYg==\",\"result\":\"EQUAL\",\"target\":\"CREATE\",\"create_revision\":"
        "\"0\"},"
        "{\"key\":\"L2EvYg==\",\"result\":\"EQUAL\",\"target\":\"VALUE\",\"value\":\"\"},"
        "{\"key\":\"L2EvYg==\",\"result\":\"EQUAL\",\"target\":\"MOD\",\"mod_revision\":\"5\"}],"
        "\"success\":["
        "{\"request_put\":{\"key\":\"L2EvYg==\",\"value\":\"Zm9v\",\"lease\":\"77\"}},"
        "{\"request_delete_range\":{\"key\":\"L2EvYg==\"}}]}");
}

static enum etcd_error_kind error_of(int status, const char *body)
{
    struct etcd_error error;

    return etcd_wire_error(status, body, strlen(body), &error);
}

/* The forms of etcd 3.4, 3.5 and of streams. */
static void test_errors(void **state)
{
    (void)state;
    assert_int_equal(error_of(200, "{" HEADER "}"), ETCD_ERROR_NONE);
    assert_int_equal(
        error_of(
            401, "{\"error\":\"x\",\"message\":\"etcdserver: invalid auth "
                 "token\",\"code\":16}"),
        ETCD_ERROR_AUTH);
    assert_int_equal(
        error_of(400, "{\"code\":3,\"message\":\"etcdserver: user name is empty\"}"),
        ETCD_ERROR_AUTH);
    assert_int_equal(
        error_of(
            404, "{\"code\":5, \"message\":\"etcdserver: requested lease not "
                 "found\"}"),
        ETCD_ERROR_NO_LEASE);
    assert_int_equal(error_of(404, "404 page not found"), ETCD_ERROR_NO_API);
    assert_int_equal(
        error_of(503, "{\"code\":14,\"message\":\"etcdserver: request timed out\"}"),
        ETCD_ERROR_OTHER);
    assert_int_equal(
        error_of(412, "{\"code\":9,\"message\":\"etcdserver: authentication is not enabled\"}"),
        ETCD_ERROR_AUTH_OFF);
    assert_int_equal(
        error_of(403, "{\"code\":7,\"message\":\"etcdserver: permission denied\"}"),
        ETCD_ERROR_DEFINITE);
    assert_int_equal(
        error_of(
            200, "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"no "
                 "leader\"}}"),
        ETCD_ERROR_OTHER);
    assert_int_equal(error_of(502, "<html>bad gateway</html>"), ETCD_ERROR_OTHER);
}

/* What people get to read. */
static void test_messages(void **state)
{
    static const struct {
        int status;
        const char *body;
        const char *message;
    } rows[] = {
        {503, "{\"message\":\"etcdserver: no\\nleader\"}", "etcdserver: no leader"},
        {400, "CommonName of client is ignored\nmore", "CommonName of client is ignored"},
        {502, "<html>bad gateway</html>", "HTTP status 502"},
        {500, "", "HTTP status 500"},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct etcd_error error;

        assert_int_not_equal(
            etcd_wire_error(rows[at].status, rows[at].body, strlen(rows[at].body), &error),
            ETCD_ERROR_NONE);
        assert_string_equal(error.message, rows[at].message);
    }
}

static void test_range(void **state)
{
    static const char body[] =
        "{" HEADER ",\"kvs\":["
        "{\"key\":\"L2EvYg==\",\"create_revision\":\"2\",\"mod_revision\":\"3\",\"version\":\"1\","
        "\"value\":\"Zm9v\",\"lease\":\"5\"},"
        "{\"key\":\"L2EvYwBk\",\"mod_revision\":\"4\",\"value\":\"Zm9v\"},"
        "{\"key\":\"L2EvZA==\",\"mod_revision\":\"4\",\"value\":\"ZgBv\"},"
        "{\"key\":\"L2EvZQ==\",\"mod_revision\":4}],\"count\":\"3\"}";
    struct cache cache = {.revision = 0};
    struct etcd_header header;

    (void)state;
    assert_int_equal(etcd_wire_read_range(body, strlen(body), "/a/", &cache, &header, NULL), 0);
    assert_int_equal(header.cluster_id, UINT64_C(2961762449054095690));
    assert_int_equal(cache.revision, 9);
    assert_int_equal(cache.count, 3);
    assert_string_equal(cache.entries[0].value, "foo");
    assert_int_equal(cache.entries[0].lease, 5);
    /* The key with a NUL byte is not ours, the value with one is cut, no value is an empty one. */
    assert_string_equal(cache.entries[1].key, "d");
    assert_string_equal(cache.entries[1].value, "f");
    assert_string_equal(cache.entries[2].value, "");
    assert_int_equal(cache.entries[2].revision, 4);
    cache_fini(&cache);
}

static int watch(struct cache *cache, const char *line, struct etcd_watch_answer *answer)
{
    return etcd_wire_read_watch(line, strlen(line), "/a/", cache, answer, NULL);
}

static void test_watch(void **state)
{
    struct cache cache = {.revision = 4};
    struct etcd_watch_answer answer;

    (void)state;
    assert_int_equal(watch(&cache, WATCH_HEADER "\"created\":true}}", &answer), 0);
    assert_true(answer.is_created);
    /* An old event, a put, and of the same revision another one. */
    assert_int_equal(
        watch(
            &cache,
            WATCH_HEADER
            "\"events\":[{\"kv\":{\"key\":\"L2EvYg==\",\"mod_revision\":\"4\",\"value\":\"eA==\"}},"
            "{\"kv\":{\"key\":\"L2EvYg==\",\"mod_revision\":\"5\",\"value\":\"Zm9v\"}},"
            "{\"kv\":{\"key\":\"L2EvZA==\",\"mod_revision\":\"5\",\"value\":\"Zm9v\"}}]}}",
            &answer),
        0);
    assert_true(answer.is_changed);
    assert_int_equal(cache.revision, 5);
    assert_int_equal(cache.count, 2);
    assert_int_equal(
        watch(
            &cache,
            WATCH_HEADER "\"events\":[{\"type\":\"DELETE\",\"kv\":{\"key\":\"L2EvYg==\","
                         "\"mod_revision\":\"6\"}}]}}",
            &answer),
        0);
    assert_int_equal(cache.count, 1);
    assert_string_equal(cache.entries[0].key, "d");
    assert_int_equal(
        watch(&cache, WATCH_HEADER "\"canceled\":true,\"compact_revision\":\"8\"}}", &answer), 0);
    assert_true(answer.is_canceled);
    assert_string_equal(answer.reason, "compacted up to revision 8");
    assert_int_equal(
        watch(
            &cache,
            WATCH_HEADER "\"created\":true,\"canceled\":true,\"cancel_reason\":\"rpc error: "
                         "invalid auth token\"}}",
            &answer),
        0);
    assert_true(answer.is_canceled);
    assert_int_equal(
        watch(&cache, "{\"error\":{\"grpc_code\":14,\"message\":\"gone\"}}", &answer),
        ERR_UNAVAILABLE);
    assert_int_equal(watch(&cache, "{\"result\"", &answer), ERR_CORRUPT);
    cache_fini(&cache);
}

static void test_lease(void **state)
{
    static const char dead[] = "{\"result\":{" HEADER ",\"ID\":\"123\"}}";
    static const char granted[] = "{" HEADER ",\"ID\":\"6615403060350341381\",\"TTL\":\"5\"}";
    int64_t id = 0;
    int64_t ttl_s = 0;

    (void)state;
    assert_int_equal(etcd_wire_read_lease(granted, strlen(granted), &id, &ttl_s, NULL), 0);
    assert_int_equal(id, INT64_C(6615403060350341381));
    assert_int_equal(ttl_s, 5);
    assert_int_equal(etcd_wire_read_lease(dead, strlen(dead), &id, &ttl_s, NULL), 0);
    assert_int_equal(ttl_s, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64), cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_messages),
        cmocka_unit_test(test_range),  cmocka_unit_test(test_watch),
        cmocka_unit_test(test_lease),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
