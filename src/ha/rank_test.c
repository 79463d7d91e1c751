/* Who is a candidate, and who is the better one. */
#include "ha/ha_test.h"

/* Candidates from best to worst; each must beat every later one, whatever the order of the members.
 */
static void test_rank_is_a_total_order(void **state)
{
    struct ha_view view = base_view();

    assert_null(*state);
    view.member_count = 5;
    for (int at = 0; at < 5; at++) {
        view.members[at] = healthy("x");
        view.members[at].name[0] = (char)('a' + at);
    }
    view.members[3].position = (struct position){.timeline = 2, .lsn = 10};
    view.members[1].position.lsn = 2000;
    view.members[4].priority = 5;
    view.members[0].priority = 9;
    view.members[0].trouble = TROUBLE_DISK_FULL;
    {
        static const int order[] = {3, 1, 4, 2, 0};

        for (size_t better = 0; better < ARRAY_LEN(order); better++) {
            for (size_t worse = better + 1; worse < ARRAY_LEN(order); worse++) {
                assert_true(ha_rank(&view, order[better], order[worse]) < 0);
                assert_true(ha_rank(&view, order[worse], order[better]) > 0);
            }
        }
        assert_int_equal(ha_best(&view, HA_NOBODY), 3);
        assert_int_equal(ha_best(&view, 3), 1);
    }
    /* Its timeline is a later one, but the cluster went on elsewhere. */
    view.members[3].shared = (struct position){.timeline = 1, .lsn = 1999};
    assert_int_equal(ha_best(&view, HA_NOBODY), 1);
    view.members[3].shared.lsn = 2001;
    assert_int_equal(ha_best(&view, HA_NOBODY), 3);
}

static void test_bars(void **state)
{
    struct ha_view view = base_view();

    assert_null(*state);
    assert_null(ha_bar(&view, 0));
    view.members[0].nofailover = true;
    assert_string_equal(ha_bar(&view, 0), "it has the tag nofailover");
    view.members[0].nofailover = false;
    view.members[0].is_watchdog_failed = true;
    assert_string_equal(
        ha_bar(&view, 0), "its watchdog does not work, and watchdog.mode is required");
    view.members[0].is_watchdog_failed = false;
    view.members[0].trouble = TROUBLE_SILENT;
    assert_string_equal(ha_bar(&view, 0), "its server answers nothing");
    view.members[0].trouble = TROUBLE_DISK_HUNG;
    assert_string_equal(ha_bar(&view, 0), "a write to its disk does not end");
    view.members[0].trouble = TROUBLE_DISK_FAILED;
    assert_string_equal(ha_bar(&view, 0), "its disk takes no writes");
    view.members[0].trouble = TROUBLE_DISK_FULL; /* when all are full, somebody must lead */
    assert_null(ha_bar(&view, 0));
    view.members[0].trouble = TROUBLE_NONE;
    view.members[0].is_outgrown = true;
    assert_string_equal(
        ha_bar(&view, 0), "its replay has stopped until it is restarted: a parameter was raised");
    view.members[0].is_outgrown = false;
    view.cluster_lsn = 1000 + 1048576;
    assert_null(ha_bar(&view, 0));
    view.members[0].shared = (struct position){1, 999}; /* the cluster went on elsewhere then */
    assert_string_equal(ha_bar(&view, 0), "it lags more than maximum_lag_on_failover");
    view.members[0].shared = (struct position){0};
    view.cluster_lsn++;
    assert_string_equal(ha_bar(&view, 0), "it lags more than maximum_lag_on_failover");
    view.request = (struct ha_request){.is_present = true, .is_due = true, .leader = HA_NOBODY};
    assert_null(ha_bar(&view, 0));
    view.request.leader = 1;
    assert_string_equal(ha_bar(&view, 0), "it lags more than maximum_lag_on_failover");
    view.timeline = 1;
    view.members[0].position.timeline = 2;
    assert_string_equal(
        ha_bar(&view, 0), "its history is not the cluster's: somebody promoted it by hand");
    view.request.leader = HA_NOBODY; /* it may be the only data that is left */
    assert_null(ha_bar(&view, 0));
    view.request.leader = 1;
    view.members[0].position.timeline = 1;
    view.floor = (struct position){.timeline = 1, .lsn = 1001};
    assert_string_equal(ha_bar(&view, 0), "it lacks acknowledged changes of the last primary");
}

/* What nobody has any more does not bar the member that an operator names; but somebody's higher
 * timeline, made by hand, is no proof of having it. */
static void test_floor(void **state)
{
    static const char *const lacks = "it lacks acknowledged changes of the last primary";
    struct ha_view view = base_view();

    assert_null(*state);
    view.timeline = 1;
    view.floor = (struct position){.timeline = 1, .lsn = 2000};
    assert_string_equal(ha_bar(&view, 0), lacks);
    view.request = (struct ha_request){.is_present = true, .is_due = true, .leader = HA_NOBODY};
    assert_null(ha_bar(&view, 0));
    view.members[1].position = view.floor;
    assert_string_equal(ha_bar(&view, 0), lacks);
    view.members[1].position = (struct position){.timeline = 2, .lsn = 2000};
    assert_string_equal(ha_bar(&view, 0), lacks);
    view.members[1].position.lsn = 1999;
    assert_null(ha_bar(&view, 0));
    view.members[1].position.timeline = 1;
    view.members[1].is_stray = true;
    assert_null(ha_bar(&view, 0));

    view.members[2].position = view.floor;
    view.request.candidate = 1;
    view.members[1].position.timeline = 2;
    assert_string_equal(ha_bar(&view, 1), lacks);
    view.members[2].is_fresh = false;
    assert_null(ha_bar(&view, 1));
}

/* Either the named candidate or the best one goes: never both waiting for each other. */
static void test_named_candidate_never_deadlocks(void **state)
{
    assert_null(*state);
    for (int kind = 0; kind < 2; kind++) {
        for (uint64_t lsn = 900; lsn <= 1100; lsn += 100) {
            struct ha_view best = base_view();
            struct ha_view named;
            struct ha_plan plans[2];
            int takers;

            best.lease = HA_LEASE_EXPIRED;
            best.members[1].position.lsn = lsn;
            best.members[2].is_fresh = false;
            best.request = (struct ha_request){
                .is_present = true,
                .is_due = true,
                .candidate = 1,
                .leader = kind == 0 ? HA_NOBODY : 2};
            named = best;
            named.self = 1;
            ha_decide(&best, &plans[0]);
            ha_decide(&named, &plans[1]);
            takers =
                (plans[0].actions[0].kind == HA_ACQUIRE) + (plans[1].actions[0].kind == HA_ACQUIRE);
            assert_int_equal(takers, 1);
            assert_int_equal(plans[1].actions[0].kind == HA_ACQUIRE, kind == 0 || lsn >= 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rank_is_a_total_order),
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_named_candidate_never_deadlocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
