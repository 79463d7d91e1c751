#include "codec/yaml.h"

#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

static struct yaml_node *parse(const char *text)
{
    struct yaml_node *root = NULL;
    struct err e = {0};
    int line = 0;

    if (yaml_parse(text, strlen(text), &root, &line, &e) < 0) {
        fail_msg("line %d: %s", line, e.text);
    }
    return root;
}

static void check_json(const char *text, const char *expected)
{
    struct yaml_node *root = parse(text);
    AUTO_FREE char *json = yaml_to_json(root);

    assert_string_equal(json, expected);
    yaml_node_free(root);
}

static void check_refused(const char *text, size_t length, int wanted_line, const char *sentence)
{
    struct yaml_node *root = NULL;
    struct err e = {0};
    int line = 0;

    assert_int_equal(yaml_parse(text, length, &root, &line, &e), ERR_CONFIG);
    assert_null(root);
    if (strstr(e.text, sentence) == NULL) {
        fail_msg("'%s' does not say '%s'", e.text, sentence);
    }
    assert_int_equal(line, wanted_line);
}

static void test_tree_and_lines(void **state)
{
    struct yaml_node *root = parse("# a comment\n"
                                   "scope: demo\n"
                                   "\n"
                                   "postgresql:\n"
                                   "  listen: '*:5432'\n"
                                   "  parameters:\n"
                                   "    max_connections: 100\n"
                                   "list:\n"
                                   "- a\n"
                                   "- {b: 1,\n"
                                   "   c: \"no\"}\n");
    const struct yaml_node *postgresql = yaml_find(root, "postgresql");
    const struct yaml_node *list = yaml_find(root, "list");
    const struct yaml_node *item;

    (void)state;
    assert_int_equal(root->kind, YAML_MAPPING);
    assert_string_equal(yaml_find(root, "scope")->text, "demo");
    assert_false(yaml_find(root, "scope")->is_quoted);
    assert_int_equal(yaml_find(root, "scope")->line, 2);
    assert_int_equal(postgresql->line, 4);
    assert_true(yaml_find(postgresql, "listen")->is_quoted);
    assert_int_equal(yaml_find(yaml_find(postgresql, "parameters"), "max_connections")->line, 7);
    assert_int_equal(list->kind, YAML_SEQUENCE);
    assert_string_equal(list->first->text, "a");
    assert_null(list->first->key);
    assert_int_equal(list->first->line, 9);
    item = list->first->next;
    assert_null(item->next);
    assert_int_equal(yaml_find(item, "c")->line, 11);
    assert_null(yaml_find(item, "d"));
    yaml_node_free(root);
    yaml_node_free(NULL);
}

static void test_json(void **state)
{
    (void)state;
    check_json("", "{}");
    check_json("---\n", "{}");
    check_json("# only a comment\n", "{}");
    check_json(
        "\xEF\xBB\xBF"
        "a: 1",
        "{\"a\":1}");
    check_json("{\"a\": [1, 2.5, null, true, \"1\"]}", "{\"a\":[1,2.5,null,true,\"1\"]}");
    check_json("[yes, No, on, OFF, True, y, n]", "[true,false,true,false,true,\"y\",\"n\"]");
    check_json("[~, null, NULL, nil]", "[null,null,null,\"nil\"]");
    check_json("a:\nb: ''", "{\"a\":null,\"b\":\"\"}");
    check_json(
        "[0, -0, +5, -17, 0600, 0x1F, 1_000, 08]",
        "[0,0,5,-17,\"0600\",\"0x1F\",\"1_000\",\"08\"]");
    check_json(
        "[9223372036854775807, 9223372036854775808]",
        "[9223372036854775807,\"9223372036854775808\"]");
    check_json(
        "[0.9, .5, 1., -2.5e3, 1e2, 1e999, .inf, .nan, 1.2.3, '.', 00.5, e5, 1e]",
        "[0.9,0.5,1.0,-2500.0,100.0,\"1e999\",\".inf\",\".nan\",\"1.2.3\",\".\",\"00.5\","
        "\"e5\",\"1e\"]");
    check_json("[16MB, 10s, 2026-11-23, 10:30]", "[\"16MB\",\"10s\",\"2026-11-23\",\"10:30\"]");
    check_json("a: |\n  1\nb: >\n  on\n  off\n", "{\"a\":\"1\\n\",\"b\":\"on off\\n\"}");
    check_json("on: 1", "{\"on\":1}");
    check_json("'caf\xC3\xA9'", "\"caf\\u00E9\"");
    check_json("17", "17");
}

static void test_refusals(void **state)
{
    static const struct {
        const char *text;
        int line;
        const char *sentence;
    } rows[] = {
        {"a: 1\nb: 2\na: 3\n", 3, "'a' is there already, in line 1"},
        {"x:\n  a: 1\n  'a': 3\n", 3, "is there already, in line 2"},
        {"a: &x 1\n", 1, "anchors"},
        {"a: &x [1]\n", 1, "anchors"},
        {"a: &x {}\n", 1, "anchors"},
        {"&x a: 1\n", 1, "anchors"},
        {"a: 1\nb: *x\n", 2, "aliases"},
        {"*x : 1\n", 1, "aliases"},
        {"a: !!str 1\n", 1, "tags"},
        {"a: !!seq []\n", 1, "tags"},
        {"a: !!map {}\n", 1, "tags"},
        {"a: 1\n<<: {b: 1}\n", 2, "merge keys"},
        {"? [a]\n: 1\n", 1, "a key must be a text"},
        {"{a: 1}: 1\n", 1, "a key must be a text"},
        {"'': 1\n", 1, "a key must be a text"},
        {"--- 1\n--- 2\n", 2, "a second document"},
        {"a: 1\n...\n---\nb: 1\n", 3, "a second document"},
        {"a:\n\tb: 1\n", 2, "character"},
        {"a: 1\nb: \"\\0\"\n", 2, "NUL"},
        {"a: 1\n\"b\\0\": 1\n", 2, "NUL"},
        {"a: 1\n b: 2\n", 2, "mapping values"},
        {"a: [1\nb: 2\n", 2, ""},
        {"a: 'x\n", 2, "quoted scalar"},
        {"a: 1\nb: \xFF\xFE\n", 2, "UTF-8"},
        {"a: 1\n\nb: \x01\n", 3, "UTF-8"},
        {"%YAML 3.0\n---\na: 1", 1, "incompatible"},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        check_refused(rows[at].text, strlen(rows[at].text), rows[at].line, rows[at].sentence);
    }
    check_refused("a: 1\0", 5, 1, "UTF-8");
    check_refused(
        "\xFF\xFE"
        "a\0:\0 \0001\0",
        10, 1, "UTF-8");
}

static void test_depth(void **state)
{
    char text[128] = "";

    (void)state;
    memset(text, '[', YAML_DEPTH_MAX);
    memset(text + YAML_DEPTH_MAX, ']', YAML_DEPTH_MAX);
    yaml_node_free(parse(text));
    memset(text, '[', YAML_DEPTH_MAX + 1);
    memset(text + YAML_DEPTH_MAX + 1, ']', YAML_DEPTH_MAX + 1);
    check_refused(text, strlen(text), 1, "nested");
    /* Mappings count as well; so does a scalar below. */
    text[YAML_DEPTH_MAX] = '1';
    check_refused(text, strlen(text), 1, "nested");
}

static void test_nodes(void **state)
{
    struct str text AUTO_STR = STR_INIT(YAML_NODES_MAX * 2 + 16);
    struct yaml_node *root;
    struct err e = {0};
    int line = 0;

    (void)state;
    str_add(&text, "[1");
    for (int at = 2; at < YAML_NODES_MAX; at++) {
        str_add(&text, ",1");
    }
    str_add(&text, "]");
    yaml_node_free(parse(str_text(&text)));
    str_clear(&text);
    str_add(&text, "[1");
    for (int at = 1; at < YAML_NODES_MAX; at++) {
        str_add(&text, at == 100 ? ",\n1" : ",1");
    }
    str_add(&text, "]");
    check_refused(str_text(&text), text.length, 2, "more values");

    assert_int_equal(yaml_parse("", YAML_TEXT_MAX + 1, &root, &line, &e), ERR_LIMIT);
    assert_int_equal(line, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree_and_lines), cmocka_unit_test(test_json),
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_depth),
        cmocka_unit_test(test_nodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
