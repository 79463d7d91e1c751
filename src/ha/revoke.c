#include "ha/rules.h"

/* Revocation: a holder that is not heard any more is replaced before its lease is over.
 *
 *   missed ---> promised ---> detached ---> enough voters are ---> the lease is taken
 *   by most     on disk       (driver)      (sync.c)
 *
 * Its commits wait for standbys. Each of those that cannot hear it, when most others cannot either,
 * writes down a promise: nothing is confirmed any more to a holder of this term or an earlier one.
 * Then it stops following and tells its position, which is final. With the promises of more voters
 * than the key's quorum no commit of the old holder can be acknowledged any more, whatever it does
 * and however long it was asleep; so nobody waits for its lease.
 *
 * A promise is for good: only a holder of a higher term is followed again. If the holder was alive
 * after all, it takes the next term itself (lease.next-term); the store decides who is first. */

static bool is_revocable(const struct ha_view *view)
{
    return view->lease == HA_LEASE_OTHER && view->dcs_ok && !view->is_store_old &&
           view->holder >= 0 && view->holder != view->self && view->sync.is_published &&
           view->sync.leader == view->holder && view->settings.sync_mode != SYNC_OFF &&
           !view->settings.is_paused && !view->is_leaving;
}

/* Most of those who are not the holder cannot hear it: that it is only this node that cannot would
 * be no reason. */
static bool is_missed(const struct ha_view *view)
{
    unsigned others = view->member_count - 1;
    unsigned missing = 0;

    if (!is_revocable(view) || !view->members[view->self].is_suspecting) {
        return false;
    }
    for (int at = 0; at < (int)view->member_count; at++) {
        const struct ha_member *member = &view->members[at];

        missing += at != view->holder && member->is_fresh && member->is_suspecting ? 1 : 0;
    }
    return missing > others / 2;
}

bool revoke_is_alone(const struct ha_view *view)
{
    return is_revocable(view) && view->members[view->self].is_suspecting && !is_missed(view);
}

bool revoke_may_promise(const struct ha_view *view)
{
    return is_missed(view) && !view->is_bound && !view->failsafe.is_bound &&
           !view->is_promise_busy && view->server.state == SERVER_STANDBY &&
           !view->server.is_promoting;
}

/* A lease that has ended by the clocks is replaced in the same way: its holder may be on a virtual
 * machine that was stopped for a while, whose clocks do not show it, and this server may have been
 * frozen and confirm to it what it sends now. */
bool revoke_is_overdue(const struct ha_view *view)
{
    return view->lease == HA_LEASE_EXPIRED && view->sync.is_published &&
           view->sync.leader != view->self && view->server.state == SERVER_STANDBY &&
           !view->server.is_promoting && !view->is_bound && !view->failsafe.is_bound &&
           !view->is_promise_busy;
}

/* Whoever has promised, can take the lease and would be better. */
int revoke_better(const struct ha_view *view)
{
    for (int at = 0; at < (int)view->member_count; at++) {
        if (at != view->self && view->members[at].is_promised && ha_bar(view, at) == NULL &&
            ha_rank(view, at, view->self) < 0) {
            return at;
        }
    }
    return HA_NOBODY;
}

bool revoke_is_promised(const struct ha_view *view)
{
    return is_missed(view) && view->members[view->self].is_promised;
}

bool revoke_is_short(const struct ha_view *view)
{
    return revoke_is_promised(view) && !ha_sync_covers(view, view->self);
}

bool revoke_is_barred(const struct ha_view *view)
{
    return revoke_is_promised(view) &&
           (ha_bar(view, view->self) != NULL || view->server.is_busy ||
            view->initialize != HA_INITIALIZE_SET || view->system_id != view->server.system_id);
}

bool revoke_is_behind(const struct ha_view *view)
{
    return revoke_is_promised(view) && revoke_better(view) != HA_NOBODY;
}
