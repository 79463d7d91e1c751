/* What a crash, or an order that was given up, leaves behind, with real servers: a primary and a
 * standby. One story, each test goes on where the last one stopped. Skipped as postgres_test.c
 * is. */
#include "engine/postgres/postgres_test.h"

#include "engine/postgres/driver.h"

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

/* ---- a promotion ---- */

static void promote_path(const struct node *node, char *buffer, size_t size)
{
    str_format(buffer, size, "%s/promote", node->config.postgresql.data_dir);
}

static bool b_has_no_promote_file(void)
{
    char path[1024];

    promote_path(b, path, sizeof(path));
    return kind_of(path) == FILE_MISSING;
}

/* As each child of the postmaster sends it, many times an hour. */
static void expect_a_standby_after_the_signal(void)
{
    int64_t postmaster =
        ask_number(b, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");

    assert_int_equal(kill((pid_t)postmaster, SIGUSR1), 0);
    IGNORE(wait_ms(NULL, 700), "it would be promoted");
    expect(b, "SELECT pg_is_in_recovery()", "t");
    await(b_streams);
    assert_false(b->status.is_promoting);
}

/* The device is not there, so the server may not be opened from that moment on: the first check has
 * been, the one before the signal has not. */
static bool promotion_has_ended(void)
{
    const struct engine_watch watch = {.device = "/nowhere", .is_required = true};
    const struct postgres *pg = (const struct postgres *)b->engine;

    if (pg->order.args.order == ORDER_PROMOTE &&
        str_equal(pg->order.steps[pg->order.at].name, "write the promote file")) {
        engine_watch(b->engine, &watch);
    }
    return !b->is_ordered;
}

static void a_promotion_that_is_given_up_leaves_nothing(void **state)
{
    const struct engine_order_args args = {.order = ORDER_PROMOTE};
    const struct engine_watch none = {.device = ""};

    assert_non_null(state);
    NEED_LAB();
    arm(b);
    await(b_armed);
    b->is_ordered = true;
    assert_int_equal(engine_order(b->engine, &args, NULL), 0);
    await(promotion_has_ended);
    assert_int_equal(b->result, ERR_CONFLICT);
    assert_non_null(strstr(b->why.text, "promote: watchdog.mode is required"));
    IGNORE(wait_ms(b_has_no_promote_file, 2000), "judged by what follows");
    expect_a_standby_after_the_signal();
    assert_true(b_has_no_promote_file());
    engine_watch(b->engine, &none);
}

static void a_new_driver_removes_the_file(void **state)
{
    char path[1024];

    assert_non_null(state);
    NEED_LAB();
    promote_path(b, path, sizeof(path));
    end(b);
    assert_int_equal(file_write(path, "", 0, 0600, NULL), 0);
    begin(b);
    await(b_streams);
    IGNORE(wait_ms(b_has_no_promote_file, 2000), "judged by what follows");
    expect_a_standby_after_the_signal();
}

/* What was removed is no obstacle. */
static void the_next_promotion_works(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    must_do(a, ORDER_STOP, NULL);
    arm(b);
    await(b_armed);
    must_do(b, ORDER_PROMOTE, NULL);
    assert_int_equal(b->status.state, SERVER_PRIMARY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_and_a_standby),
        cmocka_unit_test(an_interrupted_rewind_is_seen_for_ever),
        cmocka_unit_test(a_promotion_that_is_given_up_leaves_nothing),
        cmocka_unit_test(a_new_driver_removes_the_file),
        cmocka_unit_test(the_next_promotion_works),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
