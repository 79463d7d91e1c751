#include "tests/sim/sim.h"

#include "base/assert.h"

/* splitmix64's finaliser: a bijection that leaves no visible pattern of counters. */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

uint64_t rng_next(struct sim *sim, enum stream stream)
{
    ASSERT(stream < STREAMS);
    return mix(mix(sim->seed ^ mix((uint64_t)stream)) + sim->counters[stream]++);
}

int64_t rng_between(struct sim *sim, enum stream stream, int64_t low, int64_t high)
{
    ASSERT(low <= high);
    return low + (int64_t)(rng_next(sim, stream) % (uint64_t)(high - low + 1));
}

/* An octave is drawn first, then a place in it: even enough, and without floating point. */
int64_t rng_log(struct sim *sim, enum stream stream, int64_t low, int64_t high)
{
    int64_t octaves = 0;
    int64_t from;

    ASSERT(low > 0);
    ASSERT(low <= high);
    while (octaves < 40 && low << (octaves + 1) <= high) {
        octaves++;
    }
    from = low << rng_between(sim, stream, 0, octaves);
    return rng_between(sim, stream, from, MAX(from, MIN(from * 2, high)));
}

bool rng_chance(struct sim *sim, enum stream stream, int per_mille)
{
    return rng_between(sim, stream, 0, 999) < per_mille;
}
