#include "io/clock.h"

#include "base/assert.h"

static int64_t read_ns(clockid_t clock)
{
    struct timespec now;
    int r = clock_gettime(clock, &now);

    ASSERT(r == 0);
    return (int64_t)now.tv_sec * 1000 * NS_PER_MS + now.tv_nsec;
}

struct instant clock_now(void)
{
    return (struct instant){
        .boot_ns = read_ns(CLOCK_BOOTTIME),
        .raw_ns = read_ns(CLOCK_MONOTONIC_RAW),
    };
}

int64_t clock_real_ms(void)
{
    return read_ns(CLOCK_REALTIME) / NS_PER_MS;
}
