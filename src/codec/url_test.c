#include "codec/url.h"

#include <setjmp.h>

#include <cmocka.h>

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        struct url_parts parts;
    } rows[] = {
        {"http://[::1]:8008/patroni", {"http", "::1", 8008, "/patroni"}},
        {"postgres://h:5432/postgres", {"postgres", "h", 5432, "/postgres"}},
        {"HTTPS://Node-1.example.com", {"https", "Node-1.example.com", 0, ""}},
        {"http://10.0.0.1:1/a?b=c@d:e", {"http", "10.0.0.1", 1, "/a?b=c@d:e"}},
        {"http://[fe80::1%eth0]:65535/", {"http", "fe80::1%eth0", 65535, "/"}},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct url_parts parts;

        assert_int_equal(url_parse(rows[at].text, &parts, NULL), 0);
        assert_string_equal(parts.scheme, rows[at].parts.scheme);
        assert_string_equal(parts.host, rows[at].parts.host);
        assert_int_equal(parts.port, rows[at].parts.port);
        assert_string_equal(parts.path, rows[at].parts.path);
    }
}

static void test_parse_refusals(void **state)
{
    static const char *const rows[] = {
        "",
        "h:8008",
        "://h",
        "http://",
        "http:///x",
        "http://h:/x",
        "http://h:0",
        "http://h:65536",
        "http://h:8008x",
        "http://h:+80",
        "http://h: 80",
        "http://::1/x",
        "http://[::1/x",
        "http://[]/x",
        "http://[h]/x",
        "http://[::1]x/",
        "http://a b/",
        "http://h/a b",
        "http://h/\x01",
        "http://a,b/x",
        "http://h?x",
        "ht tp://h",
        "averyveryverylongscheme://h",
        "http://h\xC3\xA9/"};
    struct url_parts parts = {.port = 77};
    char text[600];

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct err e = {0};

        assert_int_equal(url_parse(rows[at], &parts, &e), ERR_INVALID);
        assert_true(e.text[0] != '\0');
        assert_int_equal(parts.port, 77);
    }
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text, "http://", 7);
    assert_int_equal(url_parse(text, &parts, NULL), ERR_INVALID);
    text[8] = '/';
    assert_int_equal(url_parse(text, &parts, NULL), ERR_INVALID);
}

static void test_user_is_refused_and_not_repeated(void **state)
{
    struct url_parts parts;
    struct err e = {0};

    (void)state;
    assert_int_equal(url_parse("postgres://u:topsecret@h/db", &parts, &e), ERR_INVALID);
    assert_null(strstr(e.text, "topsecret"));
    assert_int_equal(url_parse("postgres://u@h", &parts, NULL), ERR_INVALID);
}

static void test_address(void **state)
{
    static const struct {
        const char *text;
        const char *host;
        int port;
    } rows[] = {
        {"10.0.0.1:8008", "10.0.0.1", 8008},
        {"[::1]:5433", "::1", 5433},
        {"[::1]", "::1", 5432},
        {"node_1", "node_1", 5432},
        {"*", "*", 5432},
        {"*:6000", "*", 6000},
        {"10.0.0.1,[::1], b:6000", "10.0.0.1,::1,b", 6000},
    };
    static const char *const wrong[] = {"",     ":5432", "::1",  "::1:5432", "h:", "h:99999", "h/x",
                                        "[::1", "a,:1",  "a,,b", "**:80",    "a,", "h:80:90"};
    char host[URL_HOST_SIZE];
    int port = 0;

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        assert_int_equal(
            url_parse_address(rows[at].text, 5432, host, sizeof(host), &port, NULL), 0);
        assert_string_equal(host, rows[at].host);
        assert_int_equal(port, rows[at].port);
    }
    for (size_t at = 0; at < ARRAY_LEN(wrong); at++) {
        assert_int_equal(
            url_parse_address(wrong[at], 5432, host, sizeof(host), &port, NULL), ERR_INVALID);
    }
    assert_int_equal(url_parse_address("abcd:1", 0, host, 4, &port, NULL), ERR_LIMIT);
}

static void test_format_address(void **state)
{
    char buffer[URL_HOST_SIZE + 16];

    (void)state;
    url_format_address("h", 80, buffer, sizeof(buffer));
    assert_string_equal(buffer, "h:80");
    url_format_address("::1", 80, buffer, sizeof(buffer));
    assert_string_equal(buffer, "[::1]:80");
    url_format_address("::1", 0, buffer, sizeof(buffer));
    assert_string_equal(buffer, "[::1]");
}

static void test_conninfo(void **state)
{
    struct str text AUTO_STR = STR_INIT(256);

    (void)state;
    url_add_conninfo(&text, "host", "h");
    url_add_conninfo(&text, "password", "it's a \\ 'quote'");
    url_add_conninfo(&text, "options", "");
    assert_string_equal(
        str_text(&text), "host='h' password='it\\'s a \\\\ \\'quote\\'' options=''");
}

static void test_slot_name(void **state)
{
    static const struct {
        const char *member;
        const char *slot;
    } rows[] = {
        {"node1", "node1"},
        {"Node-1.Example_x", "node_1_example_x"},
        {"a b", "au0032b"},
        {"caf\xC3\xA9", "cafu0233"},
        {"\xE2\x82\xAC", "u8364"},
        {"\xF0\x9F\x98\x80", "u128512"},
        {"\xE9", "u0233"},
        {"\xE2\x82", "u0226u0130"},
        {"", ""},
    };
    char slot[SLOT_NAME_SIZE];
    char member[100];

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        url_slot_name(rows[at].member, slot);
        assert_string_equal(slot, rows[at].slot);
    }
    memset(member, 'A', sizeof(member) - 1);
    member[sizeof(member) - 1] = '\0';
    url_slot_name(member, slot);
    assert_int_equal(strlen(slot), 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refusals),
        cmocka_unit_test(test_user_is_refused_and_not_repeated),
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_format_address),
        cmocka_unit_test(test_conninfo),
        cmocka_unit_test(test_slot_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
