/* ha_test.h - the view that tests of decisions begin with, and rules that must decide in a changed
 * one. Private to the tests of ha/, which do not all use all of it. */
#pragma once
#pragma GCC diagnostic ignored "-Wunused-function"

#include "base/str.h"
#include "ha/ha.h"

#include <setjmp.h>

#include <cmocka.h>

#define SYSTEM_ID 77

/* A standby in the best of health. */
static struct ha_member healthy(const char *name)
{
    struct ha_member member = {
        .is_fresh = true,
        .is_settled = true,
        .dcs_ok = true,
        .server = SERVER_STANDBY,
        .is_streaming = true,
        .is_checkpointed = true,
        .position = {.timeline = 1, .lsn = 1000},
        .priority = 1,
    };

    assert_true(str_copy(member.name, sizeof(member.name), name));
    return member;
}

/* Node 0 is this one, node 1 a peer; node 2 a healthy standby that is a little behind. */
static struct ha_view base_view(void)
{
    struct ha_view view = {
        .self = 0,
        .member_count = 3,
        .dcs_ok = true,
        .holder = HA_NOBODY,
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
             .is_promote_due = true,
             .can_rewind = true,
             .system_id = SYSTEM_ID},
        .request = {.leader = HA_NOBODY, .candidate = HA_NOBODY},
        .sync = {.leader = HA_NOBODY, .is_known = true},
        .failsafe = {.is_recorded = true},
    };

    view.members[0] = healthy("n1");
    view.members[1] = healthy("n2");
    view.members[2] = healthy("n3");
    view.members[2].position.lsn = 900;
    view.server.upstream = 1;
    return view;
}

/* This node is the primary by right. */
static void lead(struct ha_view *view)
{
    view->lease = HA_LEASE_MINE;
    view->holder = 0;
    view->lease_left_ms = 10000;
    view->server.is_armed = true;
    view->server.state = SERVER_PRIMARY;
    view->members[0].server = SERVER_PRIMARY;
}

/* A view in which a rule must decide, for whichever topic. */
struct special {
    const char *rule;
    void (*change)(struct ha_view *view);
};

static bool has_rule(const struct ha_plan *plan, const char *rule)
{
    for (unsigned at = 0; at < plan->count; at++) {
        if (str_equal(plan->actions[at].rule, rule)) {
            return true;
        }
    }
    return false;
}

static void reach(const struct special *special, struct ha_plan *ret)
{
    struct ha_view view = base_view();

    special->change(&view);
    view.members[0].server = view.server.state;
    ha_decide(&view, ret);
    if (!has_rule(ret, special->rule)) {
        fail_msg(
            "%s is not reached: %s, %s", special->rule, ret->actions[0].rule, ret->actions[1].rule);
    }
}
