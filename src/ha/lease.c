#include "ha/ha.h"

#include "base/assert.h"

/* Promise B: at no instant do two nodes acknowledge writes.
 *
 * The holder reads its clocks at t0, then sends the renewal; only a committed compare-and-swap
 * counts. It may write until t0 + hold on its own clock. A challenger first sees that renewal at
 * some moment after t0 (cause before effect), and takes over, again by compare-and-swap, not before
 * `length` has passed on its own clock without another one. So with
 *     r      worst rate error of either clock over the length (crystal error; slewing is excluded
 * by using two clocks)
 *     late   worst lateness of the guard after the deadline
 *     kill   time to post SIGKILL to every process of the server
 * the old holder is silent before the new one begins if
 *     hold * (1 + r) + late + kill <= length * (1 - r).
 * The static numbers are checked against this inequality in ha_test.c for every length. */
#define RATE_ERROR_PPM 500
#define GUARD_LATE_MS 200
#define KILL_MS 300

/* A store that was wiped, or set back to an old copy, has forgotten renewals. Its record may
 * be free, or name the challenger itself, which both mean "take it at once", while a later
 * holder still counts on its hold. But each hold was begun by a renewal that the former store
 * committed, and so before anybody has read the new one: whoever waits `length` from its own
 * first reading of the new store is later than all of them, by the same inequality. Whoever
 * has seen, or hears of, a higher term than the store shows does that (agent/past.c; the
 * length is the largest of record, settings and the last one that it saw), and takes a term
 * above all that were seen, for promises are about terms. An adopted hold may be renewed: it
 * is itself the only one that can be in force.
 *
 * What is left: a node that saw nothing of the later terms, hears nobody who did, and reads a
 * store that was set back less than a length after its last renewal. Restored stores are
 * therefore to be started only when a length has passed:
 * docs/decisions/2026-11-25-restored-store.md. */

/* A kernel watchdog resets the host when its keeper was stuck for the timeout W. With
 *     C      the oldest renewal at which it is still petted
 *     reset  from the timeout to the moment when nothing leaves the host any more
 *     L      length * (1 - 2 r)
 * a keeper that is stuck after a pet is reset by t0 + C + W. One that is stuck between the look at
 * the deadline and the pet is so for less than W, or the host would have been reset before; if it
 * is stuck for good right after that pet as well, the host is reset by t0 + C + 2 W. So
 *     C + W + reset <= L      for one pause: kept for every margin, by the choice of C
 *     C + 2 W + reset <= L    for two of them: kept for a margin of -1, by the choice of W
 * In the second case the host would be reset long before the end of the hold when the store
 * is away, with a server that may still write: the hold is shorter, hold + late + kill <= C + W. */
#define RESET_MS 200
#define PET_AGE_MIN_MS 1000
#define WATCHDOG_MIN_S 2

/* Three renewals may be lost before the right to write is. */
#define RENEWALS_PER_HOLD 4

static void derive(struct lease_times *times, int64_t renew_max_ms)
{
    times->renew_ms = MIN(renew_max_ms, times->hold_ms / RENEWALS_PER_HOLD);
    times->request_ms = times->hold_ms / RENEWALS_PER_HOLD;
    times->promote_budget_ms = times->hold_ms / 4;
    ASSERT(times->hold_ms > 0);
    ASSERT(times->renew_ms > 0);
}

struct lease_times lease_times(int64_t ttl_ms, int64_t loop_wait_ms)
{
    int64_t length_ms = MAX(ttl_ms, (int64_t)LEASE_LENGTH_MIN_MS);
    int64_t usable_ms = length_ms - length_ms * RATE_ERROR_PPM / 1000000 - 1;
    int64_t hold_ms = (usable_ms - GUARD_LATE_MS - KILL_MS) * 1000000 / (1000000 + RATE_ERROR_PPM);
    struct lease_times times = {.length_ms = length_ms, .hold_ms = hold_ms};

    derive(&times, loop_wait_ms);
    return times;
}

int64_t lease_length_ms(int64_t left_ms)
{
    int64_t usable_ms =
        left_ms + left_ms * RATE_ERROR_PPM / 1000000 + 1 + GUARD_LATE_MS + KILL_MS + 1;

    return usable_ms + usable_ms * 2 * RATE_ERROR_PPM / 1000000 + 1;
}

void lease_watch(struct lease_times *times, int64_t margin_s)
{
    int64_t usable_ms = times->length_ms - 2 * times->length_ms * RATE_ERROR_PPM / 1000000 - 1;
    int64_t longest_s = (usable_ms - RESET_MS - PET_AGE_MIN_MS) / 1000;
    bool is_certain = margin_s < 0;
    int64_t timeout_s =
        is_certain ? longest_s / 2 : MIN(times->length_ms / 1000 - margin_s, longest_s);
    int64_t age_ms = usable_ms - RESET_MS - (is_certain ? 2 : 1) * timeout_s * 1000;

    times->watchdog_s = 0;
    times->watchdog_left_ms = 0;
    if (timeout_s < WATCHDOG_MIN_S) {
        return;
    }
    if (is_certain) {
        times->hold_ms = MIN(times->hold_ms, age_ms + timeout_s * 1000 - GUARD_LATE_MS - KILL_MS);
        derive(times, times->renew_ms);
    }
    times->watchdog_s = (int)timeout_s;
    times->watchdog_left_ms = MAX(times->hold_ms - age_ms, (int64_t)0);
}
