#include "tests/sim/sim.h"

#define MILLION INT64_C(1000000)

int64_t clock_now(const struct clock *clock, int64_t now_ns)
{
    int64_t passed = now_ns - clock->since_ns;

    return clock->is_stopped ? clock->value_ns
                             : clock->value_ns + passed + passed / 1000 * clock->ppm / 1000;
}

struct instant node_now(const struct sim *sim, const struct node *node)
{
    return (struct instant){
        clock_now(&node->boot, sim->now_ns), clock_now(&node->raw, sim->now_ns)};
}

void clock_set(struct clock *clock, int64_t now_ns, int64_t ppm, bool is_stopped)
{
    *clock = (struct clock){
        .since_ns = now_ns,
        .value_ns = clock_now(clock, now_ns),
        .ppm = ppm,
        .is_stopped = is_stopped,
    };
}

int64_t clock_until(const struct clock *clock, int64_t now_ns, int64_t value_ns)
{
    int64_t left = value_ns - clock_now(clock, now_ns);

    if (left <= 0) {
        return 0;
    }
    return clock->is_stopped ? INT64_MAX
                             : left - left / 1000 * clock->ppm / (MILLION + clock->ppm) * 1000 + 1;
}
