#include "ha/rules.h"

/* The missing tail. The holder's server has died, its agent lives and has read the exact end of the
 * log, and no standby has all of it: replication is asynchronous. The server could start again
 * where it was, which replays the log from its last checkpoint on. When that is much more than the
 * end that the best standby lacks, that one gets the missing bytes from the holder's agent, and
 * with them counts as complete: it gets the lease (crash.release) and opens.
 *
 *   holder    dead ---> who has what? ---> offer ---> fetching ---> complete: crash.release
 *             (start.asking)               (tail.wait)   |  too late, or failed: start.again
 *   standby                     offered ---> fetches (tail.fetch) ---> whole (tail.hold)
 *
 * The holder alone decides: it knows what a start here costs, and what all standbys have. While
 * the key sync is published nothing is offered: who may take over has all acknowledged changes. */

#define MEGABYTE ((uint64_t)1 << 20)
#define TAIL_MAX (32 * MEGABYTE)
/* Recovery of less than this is over before a standby is open. Beyond, what the standby still has
 * to replay is replayed there as fast as here, and is moved and checked before. */
#define RECOVERY_MIN (48 * MEGABYTE)
#define RECOVERY_RATIO 2
/* How long the server is kept down for a standby that has not begun; and for one that has: about as
 * long as recovery takes when it is fast, so that waiting in vain at most doubles the pause. */
#define BEGIN_MS 400
#define RECOVERY_PER_MS (64 * MEGABYTE / 1000)
#define SHIP_MS_MAX 4000

static bool can_offer(const struct ha_view *view)
{
    return view->lease == HA_LEASE_MINE && has_crashed(view) && view->server.is_end_known &&
           view->server.can_ship && !view->sync.is_published && !view->settings.is_paused &&
           !view->is_leaving && view->server.recovery_bytes >= RECOVERY_MIN;
}

static bool is_worth_it(const struct ha_view *view, int at)
{
    const struct ha_member *member = &view->members[at];
    uint64_t end = view->members[view->self].position.lsn;
    uint64_t from = MIN(member->replayed_lsn, member->position.lsn);

    return from != 0 && view->server.recovery_bytes / RECOVERY_RATIO >= end - from;
}

/* Could take over if it had all of the log, of which it lacks only the end. */
static bool is_short_of_tail(const struct ha_view *view, int at)
{
    const struct position *end = &view->members[view->self].position;
    const struct position *own = &view->members[at].position;
    struct ha_view asked;

    if (at == view->self || own->timeline != end->timeline || own->lsn == 0 ||
        own->lsn >= end->lsn || end->lsn - own->lsn > TAIL_MAX || !is_worth_it(view, at)) {
        return false;
    }
    asked = *view;
    asked.floor = *end;
    asked.members[at].position = *end;
    return ha_bar(&asked, at) == NULL;
}

/* What a standby had before the server died is not what it has. */
bool tail_may_have_heir(const struct ha_view *view)
{
    for (int at = 0; can_offer(view) && at < (int)view->member_count; at++) {
        if (is_short_of_tail(view, at)) {
            return true;
        }
    }
    return false;
}

static int64_t patience_ms(const struct ha_view *view, int at)
{
    int64_t recovery_ms = (int64_t)(view->server.recovery_bytes / RECOVERY_PER_MS);

    return view->members[at].is_fetching ? BEGIN_MS + MIN(recovery_ms, (int64_t)SHIP_MS_MAX)
                                         : BEGIN_MS;
}

/* One that has begun goes on; of others the one that lacks the least. Nobody when somebody lacks
 * nothing. */
int ha_tail_heir(const struct ha_view *view)
{
    bool is_offering = can_offer(view) && !crash_release(view);
    int best = HA_NOBODY;

    for (int at = 0; is_offering && at < (int)view->member_count; at++) {
        const struct ha_member *member = &view->members[at];

        if (!member->is_current || !is_short_of_tail(view, at) ||
            view->server.ended_ms >= patience_ms(view, at)) {
            continue;
        }
        if (best == HA_NOBODY || (member->is_fetching && !view->members[best].is_fetching) ||
            (member->is_fetching == view->members[best].is_fetching &&
             ha_rank(view, at, best) < 0)) {
            best = at;
        }
    }
    return best;
}

/* Its server is seen down, so nothing is added to its log. */
static bool is_offered_any(const struct ha_view *view)
{
    const struct ha_member *holder;

    if (view->lease != HA_LEASE_OTHER || view->holder < 0 || view->holder == view->self ||
        view->settings.is_paused || view->sync.is_published || view->is_bound ||
        view->failsafe.is_bound || view->server.state != SERVER_STANDBY ||
        view->initialize != HA_INITIALIZE_SET || view->system_id != view->server.system_id) {
        return false;
    }
    holder = &view->members[view->holder];
    return holder->is_fresh && holder->is_offering && holder->server == SERVER_DOWN &&
           holder->position.timeline == view->members[view->self].position.timeline;
}

bool tail_is_offered(const struct ha_view *view)
{
    return is_offered_any(view) && view->server.is_fetch_due &&
           position_compare(
               view->members[view->self].position, view->members[view->holder].position) < 0;
}

bool tail_is_whole(const struct ha_view *view)
{
    return is_offered_any(view) &&
           position_compare(
               view->members[view->self].position, view->members[view->holder].position) >= 0;
}
