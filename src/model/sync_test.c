#include "model/sync.h"

#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

static void check_format(struct sync_rule rule, const char *expected)
{
    char text[SYNC_TEXT_SIZE];

    sync_rule_format(&rule, text);
    assert_string_equal(text, expected);
}

static void test_nobody(void **state)
{
    (void)state;
    check_format((struct sync_rule){0}, "");
    /* Names are of no account while nobody waits. */
    check_format((struct sync_rule){.need = 1, .count = 1, .names = {"n2"}}, "");
}

static void test_blocked(void **state)
{
    static const char name[] = "\"__patroni_strict_sync_replica_placeholder__\"";

    (void)state;
    check_format((struct sync_rule){.is_waiting = true}, name);
    check_format((struct sync_rule){.is_waiting = true, .is_any = true}, name);
}

static void test_all(void **state)
{
    struct sync_rule rule = {
        .is_waiting = true, .need = 1, .count = 1, .names = {"n2", "n3", "node-4"}};

    (void)state;
    check_format(rule, "\"n2\"");
    rule.need = rule.count = 2;
    check_format(rule, "2 (\"n2\",\"n3\")");
    rule.need = rule.count = 3;
    check_format(rule, "3 (\"n2\",\"n3\",\"node-4\")");
}

static void test_any(void **state)
{
    struct sync_rule rule = {
        .is_waiting = true, .is_any = true, .need = 1, .count = 1, .names = {"n2", "n3"}};

    (void)state;
    check_format(rule, "ANY 1 (\"n2\")");
    rule.count = 2;
    check_format(rule, "ANY 1 (\"n2\",\"n3\")");
    rule.need = 2;
    check_format(rule, "ANY 2 (\"n2\",\"n3\")");
}

static void test_quotes(void **state)
{
    struct sync_rule rule = {.is_waiting = true, .need = 1, .count = 1, .names = {"a\"b"}};

    (void)state;
    check_format(rule, "\"a\"\"b\"");
    check_format(
        (struct sync_rule){.is_waiting = true, .need = 2, .count = 2, .names = {"\"", "*, 2 (x)"}},
        "2 (\"\"\"\",\"*, 2 (x)\")");
}

/* The longest text there can be: as many names as members, all quotes. */
static void test_longest(void **state)
{
    struct sync_rule rule = {
        .is_waiting = true, .is_any = true, .need = MEMBERS_MAX, .count = MEMBERS_MAX};
    char text[SYNC_TEXT_SIZE];

    (void)state;
    for (unsigned at = 0; at < MEMBERS_MAX; at++) {
        memset(rule.names[at], '"', MEMBER_NAME_SIZE - 1);
    }
    memset(text, 'x', sizeof(text));
    sync_rule_format(&rule, text);
    assert_true(str_starts(text, "ANY 16 (\"\"\""));
    assert_int_equal(
        strlen(text), strlen("ANY 16 ()") + MEMBERS_MAX * (2 * MEMBER_NAME_SIZE) + MEMBERS_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody), cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_all),    cmocka_unit_test(test_any),
        cmocka_unit_test(test_quotes), cmocka_unit_test(test_longest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
