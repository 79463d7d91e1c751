#include "config/finding.h"

#include "config/config_test.h"

static void test_errors_are_kept(void **state)
{
    (void)state;
    found = (struct findings){0};
    for (int at = 0; at < FINDINGS_MAX; at++) {
        findings_add(&found, FINDING_NOTE, "f", at + 1, "note %d", at);
    }
    findings_add(&found, FINDING_NOTE, "f", 1, "one too many");
    assert_null(check_find("one too many"));
    findings_add(&found, FINDING_ERROR, "f", 1, "an error");
    findings_add(&found, FINDING_ERROR, "f", 1, "second error");
    assert_non_null(check_find("an error"));
    assert_non_null(check_find("second error"));
    assert_int_equal(found.count, FINDINGS_MAX + 3);
    assert_int_equal(found.errors, 2);
    for (int at = 0; at < FINDINGS_MAX; at++) {
        findings_add(&found, FINDING_ERROR, "f", 2, "error %d", at);
    }
    findings_add(&found, FINDING_ERROR, "f", 1, "no place");
    assert_null(check_find("no place"));
    findings_sort(&found);
    assert_string_equal(found.items[0].text, "second error");
}

static void test_order(void **state)
{
    static const int lines[] = {5, 0, 1, 5, 3};
    static const char *const expected[] = {"2", "4", "0", "3", "1"};

    (void)state;
    found = (struct findings){0};
    for (size_t at = 0; at < ARRAY_LEN(lines); at++) {
        findings_add(&found, FINDING_NOTE, "f", lines[at], "%zu", at);
    }
    findings_sort(&found);
    for (size_t at = 0; at < ARRAY_LEN(lines); at++) {
        assert_string_equal(found.items[at].text, expected[at]);
    }
}

static void test_plain_text(void **state)
{
    (void)state;
    found = (struct findings){0};
    findings_add(&found, FINDING_NOTE, "a\nb", 0, "x\x1b[1m\ny\x7f %0500d", 1);
    assert_string_equal(found.items[0].file, "a;b");
    assert_true(str_starts(found.items[0].text, "x?[1m;y? 0000"));
    assert_int_equal(strlen(found.items[0].text), sizeof(found.items[0].text) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_are_kept),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_plain_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
