#include "ha/rules.h"

#include "base/assert.h"

/* A failover (not a switchover) to a named member: the operator takes the loss for it. */
static bool is_forced(const struct ha_view *view, int at)
{
    const struct ha_request *request = &view->request;

    return request->is_present && request->is_due && request->leader == HA_NOBODY &&
           request->candidate == at;
}

static bool is_by_hand(const struct ha_view *view, const struct ha_member *member)
{
    return member->is_stray || (view->timeline != 0 && member->position.timeline > view->timeline);
}

/* A timeline that somebody made by hand is a higher one, and tells nothing of where it began. */
static bool has_floor(const struct ha_view *view, const struct ha_member *member)
{
    return position_compare(member->position, view->floor) >= 0 &&
           (!is_by_hand(view, member) || member->position.lsn >= view->floor.lsn);
}

/* Nobody who answers has what the last primary had when it gave up the lease, and whoever was to go
 * first has had the time. */
static bool is_floor_lost(const struct ha_view *view)
{
    for (unsigned at = 0; at < view->member_count; at++) {
        if (view->members[at].is_fresh && has_floor(view, &view->members[at])) {
            return false;
        }
    }
    return !view->is_grace;
}

/* Whoever had all that the last primary had has had the time to go first, and enough voters say
 * that this one has all that was acknowledged. It may be that nobody ever gets the rest, as the
 * last words of a primary that was cut off from its standbys when it was stopped. */
static bool is_proven(const struct ha_view *view, int at)
{
    return view->lease == HA_LEASE_FREE && !view->is_grace && view->sync.is_published &&
           ha_sync_is_confirmed(view, at);
}

/* What this member has is known: one that starts, or replays still, does not tell, and one that is
 * open may have more in a moment. */
static bool has_told(const struct ha_member *member)
{
    if (!member->is_fresh || member->server == SERVER_STARTING ||
        member->server == SERVER_PRIMARY || member->server == SERVER_STOPPING) {
        return false;
    }
    return (member->server != SERVER_STANDBY && member->server != SERVER_DOWN) || member->is_whole;
}

/* What the store says of synchronous standbys may be of a time before the last primary. */
static bool is_key_old(const struct ha_view *view)
{
    return view->is_store_old && (view->sync.is_published || view->settings.sync_mode != SYNC_OFF);
}

/* All that was acknowledged under the key is in its leader's log. Under an old one that is no
 * reason to prefer the leader, and whoever has as much as it has (is_best_of_all) needs no voters.
 */
static bool is_covered(const struct ha_view *view, int at)
{
    int leader = view->sync.leader;

    return ha_sync_covers(view, at) ||
           (is_key_old(view) && leader >= 0 && view->members[leader].server == SERVER_STANDBY &&
            !is_by_hand(view, &view->members[leader]));
}

static struct position shared_of(const struct ha_member *member)
{
    return member->shared.timeline != 0 ? member->shared : member->position;
}

int ha_compare(const struct ha_view *view, int a, int b)
{
    ASSERT(a >= 0 && b >= 0);
    ASSERT((unsigned)a < view->member_count && (unsigned)b < view->member_count);
    return position_compare(shared_of(&view->members[a]), shared_of(&view->members[b]));
}

/* All members have told what they have, and none has more than AT. What somebody made by hand does
 * not count. */
static bool is_best_of_all(const struct ha_view *view, int at)
{
    for (int other = 0; other < (int)view->member_count; other++) {
        const struct ha_member *member = &view->members[other];

        if (!has_told(member) || (!is_by_hand(view, member) && ha_compare(view, other, at) > 0)) {
            return false;
        }
    }
    return true;
}

/* Why a member cannot become primary, in the order in which an operator would ask. */
const char *ha_bar(const struct ha_view *view, int at)
{
    const struct ha_member *member;
    uint64_t lag_limit = (uint64_t)view->settings.maximum_lag_on_failover;

    ASSERT(at >= 0);
    ASSERT((unsigned)at < view->member_count);
    member = &view->members[at];
    if (!member->is_fresh) {
        return "it does not answer";
    }
    if (member->nofailover) {
        return "it has the tag nofailover";
    }
    if (member->is_watchdog_failed) {
        return "its watchdog does not work, and watchdog.mode is required";
    }
    if (!member->dcs_ok) {
        return "it cannot reach the store";
    }
    if (member->server != SERVER_STANDBY) {
        return "its server is not running as a standby";
    }
    if (member->trouble == TROUBLE_SILENT) {
        return "its server answers nothing";
    }
    if (trouble_is_disk_bad(member->trouble)) {
        return member->trouble == TROUBLE_DISK_HUNG ? "a write to its disk does not end"
                                                    : "its disk takes no writes";
    }
    if (member->is_outgrown) {
        return "its replay has stopped until it is restarted: a parameter was raised";
    }
    if (member->position.timeline == 0 || member->position.lsn == 0) {
        return "its position is not known";
    }
    if (!has_floor(view, member) && !is_proven(view, at) &&
        !(is_forced(view, at) && is_floor_lost(view))) {
        return "it lacks acknowledged changes of the last primary";
    }
    if (!is_forced(view, at) && (view->lease == HA_LEASE_FREE || view->lease == HA_LEASE_EXPIRED) &&
        !is_covered(view, at)) {
        return "too few synchronous standbys answer to know that it has all acknowledged changes";
    }
    if (!is_forced(view, at) && is_key_old(view) && !is_best_of_all(view, at)) {
        return "the store is older than what was seen: all members must answer, and none may have "
               "more, to know who has all acknowledged changes";
    }
    if (!is_forced(view, at) && is_by_hand(view, member)) {
        return "its history is not the cluster's: somebody promoted it by hand";
    }
    if (!is_forced(view, at) && !view->sync.is_published &&
        view->cluster_lsn > shared_of(member).lsn &&
        view->cluster_lsn - shared_of(member).lsn > lag_limit) {
        return "it lags more than maximum_lag_on_failover";
    }
    return NULL;
}

/* Who should rather be primary:
 *   1. who has more of the cluster's newest history: timeline first, then LSN. A timeline that the
 *      cluster has left may have a higher number than what holds more of it.
 *   2. the one whose disk is not full
 *   3. the higher failover_priority
 *   4. the smaller name, so that every node computes the same answer */
int ha_rank(const struct ha_view *view, int a, int b)
{
    const struct ha_member *left = &view->members[a];
    const struct ha_member *right = &view->members[b];
    int by_position = ha_compare(view, b, a);

    ASSERT((unsigned)a < view->member_count);
    ASSERT((unsigned)b < view->member_count);
    if (by_position != 0) {
        return by_position;
    }
    if ((left->trouble == TROUBLE_DISK_FULL) != (right->trouble == TROUBLE_DISK_FULL)) {
        return left->trouble == TROUBLE_DISK_FULL ? 1 : -1;
    }
    if (left->priority != right->priority) {
        return left->priority > right->priority ? -1 : 1;
    }
    return strcmp(left->name, right->name);
}

int ha_best(const struct ha_view *view, int except)
{
    int best = HA_NOBODY;

    for (int at = 0; at < (int)view->member_count; at++) {
        if (at == except || ha_bar(view, at) != NULL) {
            continue;
        }
        if (best == HA_NOBODY || ha_rank(view, at, best) < 0) {
            best = at;
        }
    }
    return best;
}
