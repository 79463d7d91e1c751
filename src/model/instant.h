/* instant.h - a moment on this host, read from two clocks at once.
 *
 * CLOCK_BOOTTIME counts through suspend but is slewed by NTP; CLOCK_MONOTONIC_RAW is never slewed
 * but stops in suspend. Whoever holds something counts the larger of the two elapsed times, whoever
 * waits for somebody else counts the smaller (research: safety, section 2.2), so neither slewing
 * nor suspend helps the wrong side. CLOCK_REALTIME is for people only. Moments of different hosts
 * cannot be compared. */
#pragma once

#include "base/base.h"

#define NS_PER_MS INT64_C(1000000)

/* Nanoseconds since boot on both clocks. {0, 0} means "never". */
struct instant {
    int64_t boot_ns;
    int64_t raw_ns;
};

/* Whether AT was ever set. */
bool instant_is_set(struct instant at);

/* FROM moved by MS milliseconds (may be negative) on both clocks. */
struct instant instant_add_ms(struct instant from, int64_t ms);

/* Elapsed milliseconds from FROM to NOW: the larger (for a holder) or the smaller (for a
 * challenger) of the two clocks. */
int64_t instant_elapsed_max_ms(struct instant from, struct instant now);
int64_t instant_elapsed_min_ms(struct instant from, struct instant now);

/* Milliseconds left until DEADLINE as the holder must count them: the smaller of the two; negative
 * when passed. */
int64_t instant_left_ms(struct instant deadline, struct instant now);
