/* Views of a holder whose server has died and of its standbys (tail.c). */
#include "ha/ha_test.h"

#define MEGABYTE ((uint64_t)1 << 20)
#define END (1000 * MEGABYTE)

/* n1 is the holder, n2 lacks a megabyte, n3 two; a start here would replay 200. */
static struct ha_view dead_view(void)
{
    struct ha_view view = base_view();

    view.lease = HA_LEASE_MINE;
    view.holder = 0;
    view.lease_left_ms = 10000;
    view.server.state = SERVER_DOWN;
    view.server.was_primary = true;
    view.server.is_end_known = true;
    view.server.is_whole = true;
    view.server.can_ship = true;
    view.server.recovery_bytes = 200 * MEGABYTE;
    view.server.ended_ms = 50;
    view.server.upstream = HA_NOBODY;
    view.members[0].server = SERVER_DOWN;
    view.members[0].position.lsn = END;
    for (unsigned at = 1; at < 3; at++) {
        view.members[at].is_streaming = false;
        view.members[at].is_current = true;
        view.members[at].position.lsn = END - at * MEGABYTE;
        view.members[at].replayed_lsn = END - at * MEGABYTE;
    }
    return view;
}

static void dead(struct ha_view *view)
{
    assert_int_equal(view->member_count, 3);
}

static void lags_by_the_store(struct ha_view *view)
{
    view->cluster_lsn = END - MEGABYTE / 2;
    view->settings.maximum_lag_on_failover = 1000;
}

static void begun(struct ha_view *view)
{
    view->members[2].is_fetching = true;
    view->server.ended_ms = 3000;
}

static void not_begun(struct ha_view *view)
{
    view->server.ended_ms = 400;
}

static void too_slow(struct ha_view *view)
{
    begun(view);
    view->server.ended_ms = 3525;
}

static void best_barred(struct ha_view *view)
{
    view->members[1].nofailover = true;
}

static void best_elsewhere(struct ha_view *view)
{
    view->members[1].position.timeline = 2;
}

static void positions_old(struct ha_view *view)
{
    view->members[1].is_current = false;
    view->members[2].is_current = false;
}

static void too_long(struct ha_view *view)
{
    view->server.recovery_bytes = 2000 * MEGABYTE;
    for (unsigned at = 1; at < 3; at++) {
        view->members[at].position.lsn = END - 32 * MEGABYTE - 1;
        view->members[at].replayed_lsn = view->members[at].position.lsn;
    }
}

static void little_to_replay(struct ha_view *view)
{
    view->server.recovery_bytes = 48 * MEGABYTE - 1;
}

static void much_to_replay_there(struct ha_view *view)
{
    view->members[1].replayed_lsn = END - 101 * MEGABYTE;
    view->members[2].replayed_lsn = 0; /* not known */
}

static void no_password(struct ha_view *view)
{
    view->server.can_ship = false;
}

static void end_unknown(struct ha_view *view)
{
    view->server.is_end_known = false;
}

static void paused(struct ha_view *view)
{
    view->settings.is_paused = true;
}

static void stopped_in_order(struct ha_view *view)
{
    view->server.was_clean = true;
}

static void published(struct ha_view *view)
{
    view->sync.is_published = true;
    view->sync.leader = 0;
    view->sync.key = (struct ha_sync_key){.voters = HA_BIT(1) | HA_BIT(2), .quorum = 1};
}

static void complete(struct ha_view *view)
{
    view->members[2].position.lsn = END;
}

static const struct {
    void (*change)(struct ha_view *view);
    int heir;
    const char *lease;
    const char *server;
} holders[] = {
    {dead, 1, "lease.hold", "tail.wait"},
    {lags_by_the_store, 1, "lease.hold", "tail.wait"},
    {begun, 2, "lease.hold", "tail.wait"},
    {not_begun, HA_NOBODY, "lease.hold", "start.again"},
    {too_slow, HA_NOBODY, "lease.hold", "start.again"},
    {best_barred, 2, "lease.hold", "tail.wait"},
    {best_elsewhere, HA_NOBODY, "crash.release", "start.hand-over"},
    {positions_old, HA_NOBODY, "lease.hold", "start.asking"},
    {too_long, HA_NOBODY, "lease.hold", "start.asking"},
    {little_to_replay, HA_NOBODY, "lease.hold", "start.asking"},
    {much_to_replay_there, HA_NOBODY, "lease.hold", "start.asking"},
    {no_password, HA_NOBODY, "lease.hold", "start.asking"},
    {end_unknown, HA_NOBODY, "lease.hold", "start.again"},
    {paused, HA_NOBODY, "lease.hold", "server.paused"},
    {stopped_in_order, HA_NOBODY, "lease.hold", "start.again"},
    {published, HA_NOBODY, NULL, NULL},
    {complete, HA_NOBODY, "crash.release", "start.hand-over"},
};

static void test_holder(void **state)
{
    assert_null(*state);
    for (size_t row = 0; row < ARRAY_LEN(holders); row++) {
        struct ha_view view = dead_view();
        struct ha_plan plan;

        holders[row].change(&view);
        ha_decide(&view, &plan);
        if (ha_tail_heir(&view) != holders[row].heir) {
            fail_msg("row %zu: offered to %d", row, ha_tail_heir(&view));
        }
        if (holders[row].lease != NULL) {
            assert_string_equal(plan.actions[TOPIC_LEASE].rule, holders[row].lease);
            assert_string_equal(plan.actions[TOPIC_SERVER].rule, holders[row].server);
        }
    }
}

/* Whoever lags too much by the store's word is asked all the same: what it lacks may be shipped. */
static void test_asking(void **state)
{
    struct ha_view view = dead_view();
    struct ha_plan plan;

    assert_null(*state);
    lags_by_the_store(&view);
    positions_old(&view);
    ha_decide(&view, &plan);
    assert_string_equal(plan.actions[TOPIC_SERVER].rule, "start.asking");
}

/* n1 is a standby that lacks a megabyte of what the holder n2 offers it. */
static struct ha_view offered_view(void)
{
    struct ha_view view = base_view();

    view.lease = HA_LEASE_OTHER;
    view.holder = 1;
    view.server.is_fetch_due = true;
    view.members[0].position.lsn = END - MEGABYTE;
    view.members[1].server = SERVER_DOWN;
    view.members[1].position.lsn = END;
    view.members[1].is_offering = true;
    return view;
}

static void offered(struct ha_view *view)
{
    assert_true(view->members[1].is_offering);
}

static void not_offered(struct ha_view *view)
{
    view->members[1].is_offering = false;
}

static void got(struct ha_view *view)
{
    view->members[0].position.lsn = END;
    view->server.upstream = HA_NOBODY;
}

static void got_and_started_again(struct ha_view *view)
{
    got(view);
    view->members[1].server = SERVER_STARTING;
}

static void holder_gone(struct ha_view *view)
{
    view->members[1].is_fresh = false;
    view->server.upstream = HA_NOBODY;
}

static void failed(struct ha_view *view)
{
    view->server.is_fetch_due = false;
    view->server.upstream = HA_NOBODY;
}

static void other_timeline(struct ha_view *view)
{
    view->members[1].position.timeline = 2;
}

static void other_cluster(struct ha_view *view)
{
    view->initialize = HA_INITIALIZE_PENDING;
}

static void promised(struct ha_view *view)
{
    view->is_bound = true;
}

static void busy(struct ha_view *view)
{
    view->server.is_busy = true;
}

static const struct {
    void (*change)(struct ha_view *view);
    const char *server;
} standbys[] = {
    {offered, "tail.fetch"},
    {not_offered, "standby.run"},
    {got, "tail.hold"},
    {got_and_started_again, "standby.follow"},
    {holder_gone, "standby.follow"},
    {failed, "standby.follow"},
    {other_timeline, "standby.run"},
    {other_cluster, "standby.run"},
    {promised, "revoke.stop"},
    {busy, "server.busy"},
};

static void test_standby(void **state)
{
    assert_null(*state);
    for (size_t row = 0; row < ARRAY_LEN(standbys); row++) {
        struct ha_view view = offered_view();
        struct ha_plan plan;

        standbys[row].change(&view);
        ha_decide(&view, &plan);
        assert_string_equal(plan.actions[TOPIC_SERVER].rule, standbys[row].server);
        if (standbys[row].change == offered) {
            assert_int_equal(plan.actions[TOPIC_SERVER].kind, HA_FETCH);
            assert_int_equal(plan.actions[TOPIC_SERVER].member, 1);
            assert_true(plan.actions[TOPIC_SERVER].floor.lsn == END);
        }
    }
}

/* Two starts have failed, and nobody took the end in time: whoever is released to must not be
 * barred by it. What was closed in order binds all the same. */
/* A server that dies again and again is given up, but not to somebody who lacks its end while that
 * can still be got. What is decided anyway stays. */
static void test_hopeless_in_time(void **state)
{
    assert_null(*state);
    for (size_t row = 0; row < ARRAY_LEN(holders); row++) {
        const char *server = holders[row].server;
        struct ha_view view = dead_view();
        struct ha_plan plan;

        view.server.start_failures = 2;
        holders[row].change(&view);
        if (holders[row].lease == NULL) {
            continue;
        }
        ha_decide(&view, &plan);
        if (str_equal(server, "start.again")) {
            assert_string_equal(plan.actions[TOPIC_LEASE].rule, "failover.release");
        } else {
            assert_string_equal(plan.actions[TOPIC_LEASE].rule, holders[row].lease);
            assert_string_equal(plan.actions[TOPIC_SERVER].rule, server);
        }
    }
}

static void test_hopeless(void **state)
{
    struct ha_view view = dead_view();
    struct ha_plan plan;

    assert_null(*state);
    view.server.ended_ms = 5000;
    view.server.start_failures = 2;
    ha_decide(&view, &plan);
    assert_string_equal(plan.actions[TOPIC_LEASE].rule, "failover.release");
    assert_int_equal(plan.actions[TOPIC_LEASE].member, 1);
    assert_true(plan.actions[TOPIC_LEASE].floor.lsn == 0);
    view.server.was_clean = true;
    ha_decide(&view, &plan);
    assert_string_equal(plan.actions[TOPIC_LEASE].rule, "failover.release");
    assert_true(plan.actions[TOPIC_LEASE].floor.lsn == END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holder),   cmocka_unit_test(test_asking),
        cmocka_unit_test(test_standby),  cmocka_unit_test(test_hopeless_in_time),
        cmocka_unit_test(test_hopeless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
