#include "model/instant.h"

bool instant_is_set(struct instant at)
{
    return at.boot_ns != 0 || at.raw_ns != 0;
}

struct instant instant_add_ms(struct instant from, int64_t ms)
{
    return (struct instant){from.boot_ns + ms * NS_PER_MS, from.raw_ns + ms * NS_PER_MS};
}

int64_t instant_elapsed_max_ms(struct instant from, struct instant now)
{
    return MAX(now.boot_ns - from.boot_ns, now.raw_ns - from.raw_ns) / NS_PER_MS;
}

int64_t instant_elapsed_min_ms(struct instant from, struct instant now)
{
    return MIN(now.boot_ns - from.boot_ns, now.raw_ns - from.raw_ns) / NS_PER_MS;
}

int64_t instant_left_ms(struct instant deadline, struct instant now)
{
    int64_t left_ns = MIN(deadline.boot_ns - now.boot_ns, deadline.raw_ns - now.raw_ns);

    /* Rounded down, so that a deadline passed by a microsecond is passed. */
    return left_ns >= 0 ? left_ns / NS_PER_MS : left_ns / NS_PER_MS - 1;
}
