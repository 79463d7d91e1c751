#include "ha/rules.h"

/* A node whose server's processes live, and that should not lead all the same: the server answers
 * nothing, the disk takes nothing, or the watchdog that must guard it does not work. */

/* How long a server that was stopped for another one stays down to hear that somebody has all that
 * it had. */
#define HEIR_TELLS_MS 3000

bool trouble_is_disk_bad(enum trouble trouble)
{
    return trouble == TROUBLE_DISK_HUNG || trouble == TROUBLE_DISK_FAILED;
}

static bool is_unfit(const struct ha_view *view)
{
    const struct ha_member *self = &view->members[view->self];

    return !view->settings.is_paused &&
           (self->is_watchdog_failed || trouble_is_disk_bad(self->trouble));
}

/* The best other one that has room. */
static int find_roomy(const struct ha_view *view)
{
    struct ha_view asked = *view;

    for (unsigned at = 0; at < view->member_count; at++) {
        if (view->members[at].trouble == TROUBLE_DISK_FULL) {
            asked.members[at].nofailover = true;
        }
    }
    return ha_best(&asked, view->self);
}

bool trouble_is_unfit_for(const struct ha_view *view)
{
    return is_unfit(view) && ha_best(view, view->self) != HA_NOBODY;
}

static bool is_free(const struct ha_view *view)
{
    const struct ha_server *server = &view->server;

    return view->lease == HA_LEASE_MINE && !view->settings.is_paused && !server->is_busy &&
           !server->is_promoting &&
           (server->state == SERVER_STANDBY || (server->state == SERVER_DOWN && !server->is_torn));
}

/* Nobody goes first who lacks a part of what is here. A server that was started again shows less at
 * first: it has not replayed all of its log. */
int trouble_heir(const struct ha_view *view)
{
    struct ha_view asked = *view;

    if (!is_free(view) || !view->server.is_whole) {
        return HA_NOBODY;
    }
    asked.floor = view->members[view->self].position;
    if (is_unfit(view)) {
        return ha_best(&asked, view->self);
    }
    return view->server.was_clean && view->members[view->self].trouble == TROUBLE_DISK_FULL
               ? find_roomy(&asked)
               : HA_NOBODY;
}

/* What a disk that fails has alone may be lost in any case, and nobody knows for how long one
 * hangs: the others wait for the lease, and go by maximum_lag_on_failover. From a standby that
 * lacks only its watchdog they get what they lack. */
bool trouble_is_lapsing(const struct ha_view *view)
{
    bool is_disk_bad = trouble_is_disk_bad(view->members[view->self].trouble);
    bool is_uncertain = view->server.state == SERVER_STANDBY && !view->server.is_whole;

    return is_free(view) && is_unfit(view) && (is_disk_bad || is_uncertain) &&
           ha_best(view, view->self) != HA_NOBODY && trouble_heir(view) == HA_NOBODY;
}

bool trouble_may_have_heir(const struct ha_view *view)
{
    const struct ha_member *self = &view->members[view->self];
    bool is_to_go =
        is_unfit(view) || (self->trouble == TROUBLE_DISK_FULL && find_roomy(view) != HA_NOBODY);

    return view->lease == HA_LEASE_MINE && view->server.was_clean && view->server.was_primary &&
           !view->settings.is_paused && is_to_go && view->server.ended_ms < HEIR_TELLS_MS &&
           ha_best(view, view->self) != HA_NOBODY;
}

bool trouble_is_room_elsewhere(const struct ha_view *view)
{
    int target;

    if (view->members[view->self].trouble != TROUBLE_DISK_FULL || view->settings.is_paused ||
        view->server.is_room_tried) {
        return false;
    }
    target = find_roomy(view);
    return target != HA_NOBODY && is_in_step(view, target);
}

bool trouble_is_unwatched(const struct ha_view *view)
{
    int target = ha_best(view, view->self);

    return view->members[view->self].is_watchdog_failed && !view->settings.is_paused &&
           target != HA_NOBODY && is_in_step(view, target);
}

/* It was killed, and the kernel does not let go of it: a call to its disk does not return. What is
 * killed acknowledges nothing any more, whenever that call returns. */
bool trouble_is_stuck(const struct ha_view *view)
{
    return view->lease == HA_LEASE_MINE && is_running(view) &&
           view->server.killed_ms > KILL_TAKES_MS && ha_best(view, view->self) != HA_NOBODY;
}
