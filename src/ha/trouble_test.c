/* Views of a member that lives and does not work, and what must follow from each (trouble.c). */
#include "ha/ha_test.h"

static void silent(struct ha_view *view)
{
    lead(view);
    view->server.is_busy = true; /* an order that hangs as well must not keep it alive */
    view->members[0].trouble = TROUBLE_SILENT;
}

static void silent_alone(struct ha_view *view)
{
    silent(view);
    view->server.upstream = HA_NOBODY;
    view->member_count = 1;
}

static void silent_paused(struct ha_view *view)
{
    silent(view);
    view->server.is_busy = false;
    view->settings.is_paused = true;
}

static void disk_hung(struct ha_view *view)
{
    lead(view);
    view->members[0].trouble = TROUBLE_DISK_HUNG;
}

static void disk_failed(struct ha_view *view)
{
    lead(view);
    view->members[0].trouble = TROUBLE_DISK_FAILED;
}

/* Reads still work here. */
static void disk_failed_alone(struct ha_view *view)
{
    disk_failed(view);
    view->members[1].trouble = TROUBLE_DISK_FAILED;
    view->members[2].trouble = TROUBLE_SILENT;
}

static void disk_failed_down(struct ha_view *view)
{
    disk_failed(view);
    view->server.state = SERVER_DOWN;
    view->server.was_primary = true;
    view->members[0].position.lsn = 2000; /* nobody has all of it */
    view->server.is_whole = true;
}

static void disk_failed_complete(struct ha_view *view)
{
    disk_failed_down(view);
    view->members[2].position.lsn = 2000;
}

static void disk_failed_down_alone(struct ha_view *view)
{
    disk_failed_down(view);
    view->server.upstream = HA_NOBODY;
    view->member_count = 1;
}

static void disk_hung_elected(struct ha_view *view)
{
    disk_hung(view);
    view->server.state = SERVER_STANDBY;
    view->is_reserved = true;
    view->server.is_whole = true;
}

static void stuck(struct ha_view *view)
{
    disk_hung(view);
    view->server.state = SERVER_STOPPING;
    view->server.killed_ms = 3001;
    view->is_renewal_due = true;
}

static void stuck_a_moment(struct ha_view *view)
{
    stuck(view);
    view->server.killed_ms = 3000;
}

static void stuck_alone(struct ha_view *view)
{
    stuck(view);
    view->server.upstream = HA_NOBODY;
    view->member_count = 1;
}

static void disk_full(struct ha_view *view)
{
    lead(view);
    view->members[0].trouble = TROUBLE_DISK_FULL;
    view->members[1].trouble = TROUBLE_DISK_FULL;
}

static void disk_full_tried(struct ha_view *view)
{
    disk_full(view);
    view->server.is_room_tried = true;
}

/* What the others streamed was the last primary's. */
static void disk_full_just_opened(struct ha_view *view)
{
    disk_full(view);
    view->members[0].position.timeline++;
}

static void disk_full_everywhere(struct ha_view *view)
{
    disk_full(view);
    view->members[2].trouble = TROUBLE_DISK_FULL;
}

static void disk_full_stopped(struct ha_view *view)
{
    disk_full_tried(view);
    view->server.state = SERVER_DOWN;
    view->server.was_clean = true;
    view->server.was_primary = true;
    view->members[2].position.lsn = 1000;
    view->server.is_whole = true;
}

/* Nobody has got all of it while it stopped: it goes on here, full as it is. */
static void disk_full_stopped_behind(struct ha_view *view)
{
    disk_full_stopped(view);
    view->members[2].position.lsn = 900;
    view->server.ended_ms = 3000;
}

static void disk_full_stopped_just_now(struct ha_view *view)
{
    disk_full_stopped_behind(view);
    view->server.ended_ms = 2999;
}

static void unwatched(struct ha_view *view)
{
    lead(view);
    view->members[0].is_watchdog_failed = true;
}

static void unwatched_elected(struct ha_view *view)
{
    unwatched(view);
    view->server.state = SERVER_STANDBY;
    view->is_reserved = true;
    view->server.is_whole = true;
}

/* The others get what they lack from here, and one of them is opened then. */
static void unwatched_ahead(struct ha_view *view)
{
    unwatched_elected(view);
    view->members[0].position.lsn = 2000;
}

/* It was started again: nobody knows what it has, not even itself. */
static void unwatched_uncertain(struct ha_view *view)
{
    unwatched_elected(view);
    view->server.is_whole = false;
}

static void disk_failed_uncertain(struct ha_view *view)
{
    disk_failed_complete(view);
    view->server.is_whole = false;
}

static void unwatched_promoting(struct ha_view *view)
{
    unwatched_elected(view);
    view->server.is_promoting = true;
    view->server.is_busy = true;
}

/* The store is there: nobody is asked to let it go on without. */
static void stuck_failsafe(struct ha_view *view)
{
    stuck(view);
    view->settings.is_failsafe = true;
    view->failsafe = (struct ha_failsafe){.is_due = true, .is_recorded = true};
}

static void disk_failed_down_failsafe(struct ha_view *view)
{
    disk_failed_down(view);
    view->settings.is_failsafe = true;
    view->failsafe = (struct ha_failsafe){.is_due = true, .is_recorded = true};
}

static const struct special rows[] = {
    {"trouble.stuck", stuck_failsafe},
    {"trouble.lapse", disk_failed_down_failsafe},
    {"trouble.silent", silent},
    {"trouble.silent", silent_alone},
    {"primary.run", silent_paused},
    {"trouble.disk", disk_hung},
    {"trouble.disk", disk_failed},
    {"primary.run", disk_failed_alone},
    {"trouble.lapse", disk_failed_down},
    {"start.trouble", disk_failed_down},
    {"trouble.release", disk_failed_complete},
    {"start.again", disk_failed_down_alone},
    {"lease.hold", disk_failed_down_alone},
    {"trouble.release", disk_hung_elected},
    {"promote.unfit", disk_hung_elected},
    {"trouble.stuck", stuck},
    {"lease.renew", stuck_a_moment},
    {"lease.renew", stuck_alone},
    {"trouble.full", disk_full},
    {"primary.run", disk_full_tried},
    {"primary.run", disk_full_just_opened},
    {"primary.run", disk_full_everywhere},
    {"trouble.release", disk_full_stopped},
    {"start.trouble", disk_full_stopped},
    {"start.again", disk_full_stopped_behind},
    {"start.trouble", disk_full_stopped_just_now},
    {"lease.hold", disk_full_stopped_just_now},
    {"trouble.unwatched", unwatched},
    {"trouble.release", unwatched_elected},
    {"promote.unfit", unwatched_elected},
    {"promote.unfit", unwatched_ahead},
    {"trouble.lapse", unwatched_uncertain},
    {"promote.unfit", unwatched_uncertain},
    {"trouble.lapse", disk_failed_uncertain},
    {"lease.hold", unwatched_ahead},
    {"server.busy", unwatched_promoting},
    {"lease.hold", unwatched_promoting},
};

static void test_views(void **state)
{
    assert_null(*state);
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct ha_plan plan;

        reach(&rows[at], &plan);
    }
}

/* Each row of the table of rules that is about this decides in some view. */
static void test_every_rule_is_reached(void **state)
{
    assert_null(*state);
    for (unsigned at = 0; ha_rule_at(at) != NULL; at++) {
        const char *id = ha_rule_at(at)->id;
        bool is_reached = !str_starts(id, "trouble.");

        for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
            is_reached = is_reached || str_equal(rows[row].rule, id);
        }
        if (!is_reached) {
            fail_msg("%s is never reached", id);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_every_rule_is_reached),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
