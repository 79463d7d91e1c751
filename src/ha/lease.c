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

/* Three renewals may be lost before the right to write is. */
#define RENEWALS_PER_HOLD 4

struct lease_times lease_times(int64_t ttl_ms, int64_t loop_wait_ms)
{
    int64_t length_ms = MAX(ttl_ms, (int64_t)LEASE_LENGTH_MIN_MS);
    int64_t usable_ms = length_ms - length_ms * RATE_ERROR_PPM / 1000000 - 1;
    int64_t hold_ms = (usable_ms - GUARD_LATE_MS - KILL_MS) * 1000000 / (1000000 + RATE_ERROR_PPM);
    struct lease_times times = {.length_ms = length_ms, .hold_ms = hold_ms};

    times.renew_ms = MIN(loop_wait_ms, hold_ms / RENEWALS_PER_HOLD);
    times.request_ms = hold_ms / RENEWALS_PER_HOLD;
    times.promote_budget_ms = hold_ms / 4;
    ASSERT(times.hold_ms > 0);
    ASSERT(times.renew_ms > 0);
    return times;
}
