/* What a rewind leaves behind, with real servers: a source that writes nothing while it is read,
 * and whose log ends where a page does. One story. Skipped as postgres_test.c is. */
#include "engine/postgres/postgres_test.h"

#include "engine/postgres/driver.h"

/* Messages up to the end of a page. One of N bytes, N at least 8 and a multiple of it, takes 56
 * more: too little room is stepped over. */
static const char fill_page[] = "DO $$ DECLARE room int; BEGIN LOOP"
                                " room := 8192 - (pg_current_wal_insert_lsn() - '0/0') % 8192;"
                                " EXIT WHEN room IN (8192 - 24, 8192 - 40);"
                                " PERFORM pg_logical_emit_message(false, 'x',"
                                " repeat('y', CASE WHEN room < 64 THEN 600 ELSE room - 56 END));"
                                " END LOOP; END $$";

/* Nothing of its own is written by a server whose background writer stands still: no snapshot of
 * the running transactions, which comes within 15 s of any record. */
static pid_t keep_quiet(const struct node *node)
{
    pid_t pid = (pid_t)ask_number(
        node, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'");

    assert_true(pid > 0);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    return pid;
}

/* The standby is opened while the primary goes on, which is then stopped: two histories. */
static void fork_to(struct node *standby, struct node *primary)
{
    const struct engine_order_args immediate = {.order = ORDER_STOP, .stop_mode = STOP_IMMEDIATE};

    must_do(standby, ORDER_FOLLOW, NULL);
    if (standby == a) {
        open_a();
    } else {
        open_b();
    }
    must_do(standby, ORDER_CHECKPOINT, NULL);
    run(primary, "INSERT INTO t VALUES (-1)");
    must(primary, &immediate);
}

/* The data of NODE wait for what comes behind the header at which the log of SOURCE has ended; the
 * server must open nevertheless, although nobody else writes. */
static void rewind_to(struct node *node, const struct node *source, const char *last)
{
    pid_t writer;
    uint64_t inserted;
    struct control control;

    run(source, "ALTER SYSTEM SET autovacuum = off");
    run(source, "SELECT pg_reload_conf()");
    writer = keep_quiet(source);
    run(source, last);
    inserted = (uint64_t)ask_number(source, "SELECT pg_current_wal_insert_lsn() - '0/0'");
    must_do(node, ORDER_REWIND, source);
    assert_int_equal(pg_read_control(node->config.postgresql.data_dir, &control, NULL), 0);
    assert_true(control.minimum_recovery_lsn == inserted);
    assert_true(wal_is_behind_header(inserted, control.wal_segment_size));
    must_do(node, ORDER_START, source);
    await(node == a ? a_streams : b_streams);
    assert_int_equal(kill(writer, SIGCONT), 0);
}

static void an_idle_source_writes_once_more(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    make_primary();
    run(a, "CREATE TABLE t (n int)");
    make_standby();
    fork_to(b, a);
    rewind_to(a, b, fill_page);
    fork_to(a, b);
    rewind_to(b, a, "SELECT pg_switch_wal()");
    expect(b, "SELECT count(*) FROM t", "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_source_writes_once_more),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
