#include "model/timeline.h"

#include <setjmp.h>

#include <cmocka.h>

/* Timeline 2 was left at 100 for 4, and 4 at 200 for 8; 6 began at 150 of 4, and 10 at 170 of 6. */
static const struct timeline_history eight = {
    .timeline = 8, .count = 2, .switches = {{2, 100}, {4, 200}}};
static const struct timeline_history six = {
    .timeline = 6, .count = 2, .switches = {{2, 100}, {4, 150}}};
static const struct timeline_history ten = {
    .timeline = 10, .count = 3, .switches = {{2, 100}, {4, 150}, {6, 170}}};
static const struct timeline_history bare = {.timeline = 6};

static void check_shared(
    uint32_t timeline, uint64_t lsn, const struct timeline_history *own,
    const struct timeline_history *history, uint32_t expected, uint64_t expected_lsn)
{
    struct position shared = timeline_shared((struct position){timeline, lsn}, own, history);

    assert_int_equal(shared.timeline, expected);
    assert_int_equal(shared.lsn, expected_lsn);
}

static void test_shared(void **state)
{
    static const struct timeline_history nothing = {0};

    (void)state;
    /* All the way. */
    check_shared(8, 999, &eight, &eight, 0, 0);
    check_shared(4, 200, &nothing, &eight, 0, 0);
    check_shared(2, 50, &nothing, &eight, 0, 0);
    /* Its timeline was left where it still had more. */
    check_shared(4, 201, &nothing, &eight, 4, 200);
    check_shared(2, 101, &nothing, &eight, 2, 100);
    /* Its timeline leads nowhere. */
    check_shared(6, 999, &six, &eight, 4, 150);
    check_shared(6, 160, &six, &ten, 0, 0);
    check_shared(6, 171, &six, &ten, 6, 170);
    check_shared(8, 999, &eight, &ten, 4, 150);
    /* A later one than is known here, and one of which nothing is known. */
    check_shared(10, 999, &ten, &eight, 0, 0);
    check_shared(6, 999, &bare, &eight, 0, 0);
    check_shared(6, 999, &ten, &eight, 0, 0);
    check_shared(6, 999, &six, &nothing, 0, 0);
}

static void test_relate(void **state)
{
    (void)state;
    assert_int_equal(timeline_relate((struct position){8, 999}, &eight), RELATION_CONTAINS);
    assert_int_equal(timeline_relate((struct position){4, 200}, &eight), RELATION_CONTAINS);
    assert_int_equal(timeline_relate((struct position){4, 201}, &eight), RELATION_DIVERGED);
    assert_int_equal(timeline_relate((struct position){6, 120}, &eight), RELATION_DIVERGED);
    assert_int_equal(timeline_relate((struct position){10, 120}, &eight), RELATION_DIVERGED);
    assert_int_equal(timeline_relate((struct position){0, 120}, &eight), RELATION_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_relate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
