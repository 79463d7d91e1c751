#include "codec/history.h"

#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

/* Written by PostgreSQL 15 at a promotion. */
static const char real[] = "1\t0/81C030\tno recovery target specified\n";

static void test_parse(void **state)
{
    struct timeline_history history = {0};

    (void)state;
    assert_int_equal(history_parse(real, 2, &history, NULL), 0);
    assert_int_equal(history.timeline, 2);
    assert_int_equal(history.count, 1);
    assert_int_equal(history.switches[0].timeline, 1);
    assert_int_equal(history.switches[0].lsn, 0x81C030);

    assert_int_equal(history_parse("", 1, &history, NULL), 0);
    assert_int_equal(history.timeline, 1);
    assert_int_equal(history.count, 0);

    /* Comments, blank lines, blanks before the number, no newline at the end, skipped timelines. */
    assert_int_equal(
        history_parse("# x\n\n1\t0/1\r\n \t\n  4 12/FF000000 why not", 7, &history, NULL), 0);
    assert_int_equal(history.timeline, 7);
    assert_int_equal(history.count, 2);
    assert_int_equal(history.switches[1].timeline, 4);
    assert_true(history.switches[1].lsn == UINT64_C(0x12FF000000));
}

static void test_refusals(void **state)
{
    static const struct {
        const char *text;
        uint32_t timeline;
    } rows[] = {
        {"", 2}, /* only timeline 1 has none */
        {"\n# nothing\n", 2},
        {"1\t0/1\n", 1},         /* its own beginning */
        {"2\t0/1\n1\t0/2\n", 3}, /* falling */
        {"1\t0/1\n1\t0/2\n", 3}, /* twice */
        {"3\t0/1\n", 3},
        {"0\t0/1\n", 3},
        {"-1\t0/1\n", 3},
        {"1\n", 2},
        {"1\t\n0/1\n", 2}, /* the LSN is on the next line */
        {"1\t81C030\n", 2},
        {"1\t0/123456789\n", 2},
        {"one\t0/1\n", 2},
        {"99999999999999999999999999\t0/1\n", 2},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct timeline_history history = {.timeline = 77};
        struct err e = {0};

        assert_int_equal(
            history_parse(rows[at].text, rows[at].timeline, &history, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.text, "the history of timeline"));
        assert_int_equal(history.timeline, 77);
    }
}

static void test_only_the_newest_are_kept(void **state)
{
    struct str text AUTO_STR = STR_INIT(8192);
    struct timeline_history history = {0};

    (void)state;
    for (unsigned at = 1; at <= TIMELINES_MAX + 10; at++) {
        str_addf(&text, "%u\t0/%X\tx\n", at, at);
    }
    assert_int_equal(history_parse(str_text(&text), TIMELINES_MAX + 11, &history, NULL), 0);
    assert_int_equal(history.count, TIMELINES_MAX);
    assert_int_equal(history.switches[0].timeline, 11);
    assert_int_equal(history.switches[TIMELINES_MAX - 1].timeline, TIMELINES_MAX + 10);
}

static void test_name(void **state)
{
    char name[HISTORY_NAME_SIZE];

    (void)state;
    history_name_format(10, name);
    assert_string_equal(name, "0000000A.history");
    history_name_format(UINT32_MAX, name);
    assert_string_equal(name, "FFFFFFFF.history");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_only_the_newest_are_kept),
        cmocka_unit_test(test_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
