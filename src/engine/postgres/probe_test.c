/* What a probe tells when its connections end at the worst moment, with real servers: a standby
 * that streams from another one. One story. Skipped as postgres_test.c is. */
#include "engine/postgres/postgres_test.h"

#include "engine/postgres/driver.h"

static bool b_lonely(void)
{
    return b_standby() && !b->status.is_streaming && b->status.upstream[0] == '\0';
}

static bool b_streams_no_longer(void)
{
    return b_standby() && !b->status.is_streaming;
}

/* A probe waits for the answer of the kept connection. Seldom that one was asked right before it
 * was stopped: then another one is opened in any case. */
static bool b_asks_the_kept(void)
{
    return ((const struct postgres *)b->engine)->is_identify_kept || b_streams_no_longer();
}

/* The replication connection is open that will be asked when streaming ends. */
static bool b_has_its_answer_ready(void)
{
    return b_streams() && ask_number(b, "SELECT count(*) FROM pg_stat_replication") == 1;
}

/* Of the server, the driver's replication connection. */
static pid_t find_second(const struct node *node)
{
    return (pid_t)ask_number(
        node, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender' AND "
              "application_name = 'baton'");
}

/* Waits, with the loop standing still, until CONDITION is true at the standby. */
static void wait_unseen(const char *condition)
{
    AUTO_STR struct str sql = STR_INIT(512);

    str_addf(
        &sql,
        "DO $$ BEGIN FOR i IN 1..600 LOOP EXIT WHEN %s; PERFORM pg_sleep(0.1); END LOOP; END $$",
        condition);
    run(b, str_text(&sql));
    str_clear(&sql);
    str_addf(&sql, "SELECT %s", condition);
    expect(b, str_text(&sql), "t");
}

static void two_standbys(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    str_copy(
        lab.cluster.members[1].tags.replicatefrom,
        sizeof(lab.cluster.members[1].tags.replicatefrom), a->config.name);
    make_primary();
    make_standby();
    must_do(a, ORDER_STOP, NULL);
    must_do(a, ORDER_START, NULL);
    await(a_standby);
    /* What the driver has told of B may be of the time before A was stopped. */
    wait_unseen("EXISTS (SELECT FROM pg_stat_get_wal_receiver() WHERE status = 'streaming')");
    await(b_streams);
}

/* The driver comes when the server streams already. */
static void the_answer_is_made_ready(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    end(b);
    begin(b);
    await(b_has_its_answer_ready);
}

/* The first connection ends while the second one of the same probe is being asked. */
static void a_connection_lost_in_a_probe_is_no_end(void **state)
{
    pid_t second;

    assert_non_null(state);
    NEED_LAB();
    must_do(b, ORDER_FOLLOW, NULL);
    await(b_lonely);
    second = find_second(b);
    run(b, "SELECT pg_reload_conf()"); /* so that the third question is due */
    assert_int_equal(kill(second, SIGSTOP), 0);
    IGNORE(wait_ms(NULL, 1200), "the next probe waits for it");
    run(b,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'baton' "
        "AND pid <> pg_backend_pid()");
    assert_int_equal(kill(second, SIGCONT), 0);
    IGNORE(wait_ms(NULL, 1500), "one more probe");
    await(b_answers);
    must_do(b, ORDER_FOLLOW, a);
    await(b_streams);
}

/* The other server is opened by hand, this one goes on to the new timeline, and ceases to stream.
 * The driver sees nothing of it: its loop stands still meanwhile. */
static void change_timeline_unseen(uint32_t timeline)
{
    AUTO_STR struct str condition = STR_INIT(256);
    AUTO_FREE char *end = NULL;

    run(a, "SELECT pg_promote()");
    end = ask(a, "SELECT pg_current_wal_flush_lsn()");
    str_addf(
        &condition,
        "pg_last_wal_replay_lsn() >= '%s' AND"
        " (SELECT received_tli FROM pg_stat_get_wal_receiver()) = %u",
        end, timeline);
    wait_unseen(str_text(&condition));
    run(b, "ALTER SYSTEM SET primary_conninfo = ''");
    run(b, "SELECT pg_reload_conf()");
    wait_unseen("NOT EXISTS (SELECT FROM pg_stat_get_wal_receiver() WHERE pid IS NOT NULL)");
}

/* The kept connection dies while it is asked; what was known before is a timeline too old. */
static void a_question_that_is_lost_is_asked_anew(void **state)
{
    uint32_t timeline = b->status.position.timeline;
    pid_t kept;

    assert_non_null(state);
    NEED_LAB();
    await(b_has_its_answer_ready);
    kept = find_second(b);
    assert_int_equal(kill(kept, SIGSTOP), 0);
    change_timeline_unseen(timeline + 1);
    assert_int_equal(b->status.position.timeline, timeline);
    await(b_asks_the_kept);
    run(b, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    assert_int_equal(kill(kept, SIGCONT), 0);
    await(b_streams_no_longer);
    assert_int_equal(b->status.position.timeline, timeline + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_standbys),
        cmocka_unit_test(the_answer_is_made_ready),
        cmocka_unit_test(a_connection_lost_in_a_probe_is_no_end),
        cmocka_unit_test(a_question_that_is_lost_is_asked_anew),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
