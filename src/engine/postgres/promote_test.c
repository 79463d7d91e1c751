/* Promotions that would take long, or never end, for reasons that have nothing to do with what is
 * to be replayed, with real servers. One story. Skipped as postgres_test.c is. */
#include "engine/postgres/postgres_test.h"

#include "engine/postgres/driver.h"

#define QUICK_MS 15000 /* with much to spare */
#define STUCK_MS 2000  /* instead of minutes */

static bool b_streams_no_longer(void)
{
    return b_standby() && !b->status.is_streaming;
}

static bool a_promoting(void)
{
    return a->status.is_promoting;
}

static bool b_primary(void)
{
    return b->status.state == SERVER_PRIMARY;
}

static pid_t postmaster_of(const struct node *node)
{
    return (pid_t)((const struct postgres *)node->engine)->guard.pid;
}

static void promote_later(struct node *node)
{
    const struct engine_order_args args = {.order = ORDER_PROMOTE};

    node->is_ordered = true;
    assert_int_equal(engine_order(node->engine, &args, NULL), 0);
}

static void a_primary_and_its_standby(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    make_primary();
    make_standby();
    arm(b);
    await(b_armed);
}

/* Told to promote after it has asked for a receiver, and before there is one: its postmaster, which
 * stands still, gets both at once. */
static void a_promotion_does_not_sleep(void **state)
{
    pid_t postmaster;

    assert_non_null(state);
    NEED_LAB();
    postmaster = postmaster_of(b);
    run(b, "ALTER SYSTEM SET wal_retrieve_retry_interval = '10min'");
    run(b, "SELECT pg_reload_conf()");
    await(b_streams_it_all);
    assert_int_equal(kill(postmaster, SIGSTOP), 0);
    must_do(a, ORDER_STOP, NULL);
    await(b_streams_no_longer);
    promote_later(b);
    await(b_promoting);
    assert_int_equal(kill(postmaster, SIGCONT), 0);
    assert_true(wait_ms(orders_have_ended, QUICK_MS));
    assert_int_equal(b->result, 0);
    await(b_primary);
    must_do(a, ORDER_START, b);
    await(a_streams);
}

/* Its startup process stands still: it is killed, and can be started again. */
static void a_promotion_that_is_stuck_is_ended(void **state)
{
    struct postgres *postgres;
    int64_t usual_ms;
    double begun;
    pid_t startup;

    assert_non_null(state);
    NEED_LAB();
    postgres = (struct postgres *)a->engine;
    usual_ms = postgres->stuck_ms;
    postgres->stuck_ms = STUCK_MS;
    arm(a);
    await(a_armed);
    startup =
        (pid_t)ask_number(a, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");
    assert_int_equal(kill(startup, SIGSTOP), 0);
    begun = now_ms();
    promote_later(a);
    await(a_promoting);
    assert_true(wait_ms(orders_have_ended, STUCK_MS + QUICK_MS));
    assert_true(now_ms() - begun >= STUCK_MS);
    assert_true(a->result < 0);
    assert_non_null(strstr(err_text(&a->why), "nothing was replayed for too long"));
    /* The next one takes as long as this machine needs. */
    postgres->stuck_ms = usual_ms;
    await(a_down);
    must_do(a, ORDER_START, b);
    await(a_streams);
}

static void stop_receiver(const struct node *node)
{
    pid_t receiver = (pid_t)ask_number(node, "SELECT pid FROM pg_stat_wal_receiver");

    assert_int_equal(kill(receiver, SIGSTOP), 0);
}

static void a_receiver_that_stays_is_ended(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    stop_receiver(a);
    must_do(a, ORDER_FOLLOW, NULL);
    must_do(a, ORDER_FOLLOW, b);
    await(a_streams);
    arm(a);
    await(a_armed);
    stop_receiver(a);
    promote_later(a);
    await(a_promoting);
    assert_true(wait_ms(orders_have_ended, QUICK_MS));
    assert_int_equal(a->result, 0);
    await(a_primary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_and_its_standby),
        cmocka_unit_test(a_promotion_does_not_sleep),
        cmocka_unit_test(a_promotion_that_is_stuck_is_ended),
        cmocka_unit_test(a_receiver_that_stays_is_ended),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
