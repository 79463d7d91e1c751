/* Failsafe mode: every small set of promises against every set of votes, a view for each of its
 * rules, and no view in which an expired lease is taken without the votes. */
#include "ha/rules.h"

#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

#define SYSTEM_ID 77
#define COUNT_MAX 7

static unsigned bits(unsigned set)
{
    unsigned count = 0;

    for (; set != 0; set &= set - 1) {
        count++;
    }
    return count;
}

/* Member 0 holds; whoever helps it and whoever lets it go have one in common. */
static void test_every_promise_meets_every_vote(void **state)
{
    assert_null(*state);
    for (unsigned count = 1; count <= COUNT_MAX; count++) {
        for (unsigned promises = 1; promises < 1u << count; promises += 2) {
            for (unsigned votes = 0; votes < 1u << count; votes += 2) {
                if (bits(promises) >= ha_failsafe_promises(count) &&
                    bits(votes) >= ha_failsafe_votes(count)) {
                    assert_true((promises & votes) != 0);
                }
            }
        }
        /* Not more than is needed. */
        assert_int_equal(ha_failsafe_promises(count) + ha_failsafe_votes(count), count + 1);
        assert_true(ha_failsafe_promises(count) * 2 > count);
    }
}

/* Node 0 is this one, whose position is the best; node 1 held the lease and does not answer. */
static struct ha_view base_view(void)
{
    struct ha_view view = {
        .member_count = 3,
        .dcs_ok = true,
        .is_read = true,
        .lease = HA_LEASE_EXPIRED,
        .holder = 1,
        .released_to = HA_NOBODY,
        .initialize = HA_INITIALIZE_SET,
        .system_id = SYSTEM_ID,
        .has_config = true,
        .has_history = true,
        .settings = CLUSTER_SETTINGS_DEFAULT,
        .promote_budget_ms = 500,
        .server =
            {.state = SERVER_STANDBY,
             .is_start_due = true,
             .system_id = SYSTEM_ID,
             .upstream = HA_NOBODY},
        .request = {.leader = HA_NOBODY, .candidate = HA_NOBODY},
        .sync = {.leader = HA_NOBODY, .is_known = true},
        .failsafe = {.count = 3, .is_recorded = true},
    };

    view.settings.is_failsafe = true;
    for (int at = 0; at < 3; at++) {
        view.members[at] = (struct ha_member){
            .is_fresh = at != 1,
            .is_settled = true,
            .dcs_ok = true,
            .server = SERVER_STANDBY,
            .position = {.timeline = 2, .lsn = at == 0 ? 1000 : 900},
            .priority = 1,
            .is_current = true,
        };
        view.members[at].name[0] = (char)('a' + at);
    }
    return view;
}

/* Whatever else is so: an expired lease is taken with the votes only, and then it is. */
static void test_no_acquire_against_a_binding(void **state)
{
    unsigned taken = 0;
    unsigned waited = 0;

    assert_null(*state);
    for (unsigned count = 0; count <= 3; count++) {
        for (unsigned all = 0; all < 1u << 9; all++) {
            struct ha_view view = base_view();
            struct ha_plan plan;
            bool has_votes;

            view.failsafe.count = count;
            view.failsafe.votes = all & 5;
            view.settings.is_failsafe = (all & 2) != 0;
            view.settings.is_paused = (all & 8) != 0;
            view.request.is_present = view.request.is_due = (all & 16) != 0;
            view.request.candidate = (all & 16) != 0 ? 0 : HA_NOBODY;
            view.request.leader = (all & 32) != 0 ? 1 : HA_NOBODY;
            view.members[2].position.lsn = (all & 64) != 0 ? 1100 : 900;
            view.members[1].is_fresh = (all & 128) != 0;
            view.failsafe.is_bound = (all & 256) != 0;
            has_votes = count == 0 || bits(view.failsafe.votes) >= ha_failsafe_votes(count);
            ha_decide(&view, &plan);
            if (plan.actions[TOPIC_LEASE].kind == HA_ACQUIRE) {
                assert_true(has_votes);
                taken++;
            }
            if (!has_votes && !view.settings.is_paused) {
                assert_string_equal(plan.actions[TOPIC_LEASE].rule, "race.failsafe");
                waited++;
            }
        }
    }
    assert_true(taken > 100);
    assert_true(waited > 100);
}

/* A released lease, and the own one, ask for no votes: the caller counts no members. */
static void test_released_needs_no_votes(void **state)
{
    struct ha_view view = base_view();
    struct ha_plan plan;

    assert_null(*state);
    view.lease = HA_LEASE_FREE;
    view.failsafe.count = 0;
    ha_decide(&view, &plan);
    assert_int_equal(plan.actions[TOPIC_LEASE].kind, HA_ACQUIRE);
}

static const char *lease_rule(const struct ha_view *view)
{
    struct ha_plan plan;

    ha_decide(view, &plan);
    return plan.actions[TOPIC_LEASE].rule;
}

static void test_holder(void **state)
{
    struct ha_view view = base_view();

    assert_null(*state);
    view.lease = HA_LEASE_MINE;
    view.holder = 0;
    view.lease_left_ms = 10000;
    view.server.state = SERVER_PRIMARY;
    view.members[0].server = SERVER_PRIMARY;
    view.members[0].is_checkpointed = true;
    view.failsafe = (struct ha_failsafe){.is_due = true, .is_recorded = true};
    view.is_lease_busy = true;
    assert_string_equal(lease_rule(&view), "failsafe.ask");
    view.settings.is_failsafe = false;
    assert_string_equal(lease_rule(&view), "lease.busy");
    view.settings.is_failsafe = true;
    view.is_leaving = true;
    assert_string_equal(lease_rule(&view), "lease.busy");
    view.is_leaving = false;
    view.is_lease_busy = false;
    view.failsafe = (struct ha_failsafe){.is_held = true, .is_recorded = true};
    assert_string_equal(lease_rule(&view), "failsafe.hold");
    view.failsafe.is_held = false;
    assert_string_equal(lease_rule(&view), "lease.hold");
}

static bool is_recording(const struct ha_view *view)
{
    struct ha_plan plan;
    bool is_found = false;

    ha_decide(view, &plan);
    for (unsigned at = TOPIC_RECORD; at < plan.count; at++) {
        is_found = is_found || plan.actions[at].kind == HA_PUT_FAILSAFE;
    }
    return is_found;
}

static void test_members_are_recorded(void **state)
{
    struct ha_view view = base_view();

    assert_null(*state);
    view.failsafe.is_recorded = false;
    assert_false(is_recording(&view));
    view.lease = HA_LEASE_MINE;
    view.holder = 0;
    view.server.state = SERVER_PRIMARY;
    view.members[0].server = SERVER_PRIMARY;
    assert_true(is_recording(&view));
    view.settings.is_failsafe = false;
    assert_false(is_recording(&view));
}

/* One promise at a time: the other one is made when it is over. */
static void test_no_revocation_while_bound(void **state)
{
    struct ha_view view = base_view();

    assert_null(*state);
    view.lease = HA_LEASE_OTHER;
    view.settings.sync_mode = SYNC_QUORUM;
    view.sync = (struct ha_sync){
        .is_published = true, .leader = 1, .key = {.voters = 5, .quorum = 1}, .is_known = true};
    view.members[0].is_suspecting = true;
    view.members[2].is_suspecting = true;
    assert_string_equal(lease_rule(&view), "revoke.promise");
    view.failsafe.is_bound = true;
    assert_string_equal(lease_rule(&view), "lease.other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_promise_meets_every_vote),
        cmocka_unit_test(test_no_acquire_against_a_binding),
        cmocka_unit_test(test_released_needs_no_votes),
        cmocka_unit_test(test_holder),
        cmocka_unit_test(test_members_are_recorded),
        cmocka_unit_test(test_no_revocation_while_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
