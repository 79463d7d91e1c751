/* What a crash, or an order that was given up, leaves behind, with real servers: a primary and a
 * standby. One story, each test goes on where the last one stopped. Skipped as postgres_test.c is. */
#include "engine/postgres/postgres_test.h"

static enum file_kind kind_of(const char *path)
{
    enum file_kind kind;

    assert_int_equal(file_kind(path, &kind, NULL), 0);
    return kind;
}

static void a_primary_and_a_standby(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    configure(c, 3); /* has no server */
    make_primary();
    begin(b);
    await(b_known);
    must_do(b, ORDER_CLONE, a);
    must_do(b, ORDER_START, a);
    await(b_streams);
}

/* ---- a rewind ---- */

/* Whatever becomes of runtime_dir, which may be in memory: a reboot empties it. */
static void an_interrupted_rewind_is_seen_for_ever(void **state)
{
    char mark[1024];
    char volatile_mark[1024];

    assert_non_null(state);
    NEED_LAB();
    str_format(mark, sizeof(mark), "%s.rewinding", b->config.postgresql.data_dir);
    str_format(
        volatile_mark, sizeof(volatile_mark), "%s/rewinding", b->config.postgresql.runtime_dir);
    must_do(b, ORDER_STOP, NULL);
    assert_int_equal(kind_of(mark), FILE_MISSING);
    assert_true(try_to(b, ORDER_REWIND, c) < 0);
    assert_int_equal(file_remove(volatile_mark, NULL), 0);
    engine_probe(b->engine);
    await(b_torn);
    assert_int_equal(kind_of(mark), FILE_REGULAR);
    assert_int_equal(try_to(b, ORDER_START, a), ERR_CONFLICT);
    must_do(b, ORDER_CLONE, a);
    assert_false(b->status.is_torn);
    assert_int_equal(kind_of(mark), FILE_MISSING);
    must_do(b, ORDER_START, a);
    await(b_streams);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_and_a_standby),
        cmocka_unit_test(an_interrupted_rewind_is_seen_for_ever),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
