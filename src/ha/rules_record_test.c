/* Requests whose scheduled time has passed. */
#include "ha/ha_test.h"

/* N1 leads and is to hand over to n2, which could take over now. */
static struct ha_view asked_view(int64_t late_ms)
{
    struct ha_view view = base_view();

    lead(&view);
    view.request = (struct ha_request){
        .is_present = true, .is_due = true, .leader = 0, .candidate = 1, .late_ms = late_ms};
    return view;
}

static void assert_late(const struct ha_view *view, bool is_late)
{
    struct ha_plan plan;

    ha_decide(view, &plan);
    assert_int_equal(has_rule(&plan, "switchover.checkpoint"), !is_late);
    assert_int_equal(has_rule(&plan, "request.stale"), is_late);
    if (is_late) {
        assert_int_equal(plan.count, TOPIC_RECORD + 1);
        assert_int_equal(plan.actions[TOPIC_RECORD].kind, HA_CLEAR_REQUEST);
        assert_string_equal(
            plan.actions[TOPIC_RECORD].detail, "it is too late for its scheduled time");
    }
}

static void test_late_request_is_dropped(void **state)
{
    struct ha_view view = asked_view(30000);

    assert_null(*state);
    assert_late(&view, false);
    view.request.late_ms = 30001;
    assert_late(&view, true);
    view.settings.loop_wait_ms = 40000;
    view.request.late_ms = 60000;
    assert_late(&view, false);
    view.request.late_ms = 60001;
    assert_late(&view, true);
}

/* The server was stopped for it: whatever the time is, it goes on. */
static void test_request_under_way_goes_on(void **state)
{
    struct ha_view view = asked_view(3600000);
    struct ha_plan plan;

    assert_null(*state);
    view.server.state = SERVER_DOWN;
    view.server.was_clean = true;
    view.server.was_primary = true;
    view.server.is_end_known = true;
    view.members[0].server = SERVER_DOWN;
    ha_decide(&view, &plan);
    assert_int_equal(plan.actions[TOPIC_LEASE].kind, HA_RELEASE);
    assert_int_equal(plan.actions[TOPIC_LEASE].member, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late_request_is_dropped),
        cmocka_unit_test(test_request_under_way_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
