#include "ha/rules.h"

#include "base/assert.h"

/* Failsafe mode: the holder goes on without the store while most members let it.
 *
 *   the store is silent ---> all members are asked ---> most promise ---> the deadline moves
 *   for hold / 2             (term, seq; t0 read)       (length)          to t0 + hold
 *
 * The record of the lease names the members F, so with each renewal the store commits who they are.
 * A promise of p counts the renewal that the store could not make: for the length from its receipt
 * p takes the lease for renewed. A vote of p is the opposite, for a record (term, seq) that is
 * expired on p's clock, no promise being in force: p will never again promise for that record or an
 * earlier one.
 *
 *   promises  the holder moves its deadline with those of a majority of F, its own counted:
 *             m = n / 2 + 1 of n, which are m - 1 others
 *   votes     nobody takes the expired lease of another node without those of v others in F, for
 *             the very record that its compare-and-swap replaces: v = n - m + 1
 *
 * Why two never write at once: there are n - 1 others, and (m - 1) + v = n > n - 1, so for each
 * extension and each taking there is a q that did both.
 *   - It promised first, for t0, at some moment after t0 (cause before effect), and voted not
 *     before the length had passed on its clock: the taking is after t0 + length * (1 - r), when
 *     the old holder is silent by the inequality of lease.c.
 *   - It voted first, for (term, s). The promise was for a higher seq, which the holder knows to be
 *     committed: the taking, which compares to s, fails.
 * When the holder cannot know whether its last renewal was committed, F may be one of two sets: it
 * needs a majority of each. Nothing of this depends on the settings, which nodes learn at different
 * times: a record without members needs no votes, and cannot be held.
 *
 * What a restart forgets: q's promise, but it waits the whole length from its first reading, which
 * is later than the promise; and q's votes, so it promises nothing for the record that it reads
 * first, nor for an earlier one: only for renewals that it has seen being made. The holder needs
 * what it knows, the record, from a reading: restarted while the store is away it cannot ask.
 *
 * Others that may take the lease: of a released one the holder holds nothing, its server is down.
 * Revocation (revoke.c) waits for no clock: what it leaves of the holder can acknowledge nothing,
 * whoever extends its hold; still a member keeps to one promise, and makes the other only when it
 * is over. The holder itself takes its own record back: no other node holds that.
 *
 * Two members of three that are lost at the same moment, the holder one of them, leave nobody to
 * take over: the third cannot know that they are not together. After a ttl the names are those that
 * are left. */

unsigned ha_failsafe_promises(unsigned count)
{
    return count / 2 + 1;
}

unsigned ha_failsafe_votes(unsigned count)
{
    ASSERT(count >= 1);
    return count - ha_failsafe_promises(count) + 1;
}

bool failsafe_is_due(const struct ha_view *view)
{
    return view->lease == HA_LEASE_MINE && view->settings.is_failsafe && view->failsafe.is_due &&
           !view->is_leaving && !trouble_is_stuck(view) && !trouble_is_lapsing(view);
}

bool failsafe_is_held(const struct ha_view *view)
{
    return view->lease == HA_LEASE_MINE && view->failsafe.is_held;
}

bool failsafe_is_guarded(const struct ha_view *view)
{
    unsigned votes = 0;

    if (view->lease != HA_LEASE_EXPIRED || view->failsafe.count == 0) {
        return false;
    }
    for (unsigned at = 0; at < view->member_count; at++) {
        votes += (view->failsafe.votes & HA_BIT(at)) != 0 ? 1 : 0;
    }
    return votes < ha_failsafe_votes(view->failsafe.count);
}
