/* clock.h - the clocks of this host. The only place that reads them. */
#pragma once

#include "model/model.h"

/* Now, on CLOCK_BOOTTIME and CLOCK_MONOTONIC_RAW. Deadlines and ages are counted from this. */
struct instant clock_now(void);

/* Milliseconds since 1970, for people and schedules only; it may jump. */
int64_t clock_real_ms(void);
