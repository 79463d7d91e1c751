#include "tests/sim/sim.h"

#include "base/assert.h"

/* What keeps a server from acknowledging after its deadline, each by itself, so that one can be
 * left out and its worth be seen:
 *   guard      kills the server (server.c); all seeds have it
 *   extension  refuses commits, and acknowledgements, by the node's own clocks: exact
 *   nft        a set of the kernel with a timeout: what the server sends to clients is dropped, a
 *              moment late, and the time of a suspend does not count
 *   watchdog   resets the host if the server lives on for as long as the guard has to kill it */

#define NFT_LATE_MS 100
#define REBOOT_NS (4 * SECOND)

static const char *const names[FENCES] = {"guard", "extension", "nft", "watchdog"};

/* Of 1000 seeds, so many have it. */
static const int shares[FENCES] = {1000, 250, 200, 200};

static unsigned forced;
static unsigned removed;

/* The names in LIST, with commas. */
static bool read_list(const char *list, unsigned *ret)
{
    while (list[0] != '\0') {
        size_t length = strcspn(list, ",");
        size_t at = 0;

        while (at < FENCES && (strlen(names[at]) != length || strncmp(names[at], list, length))) {
            at++;
        }
        if (at == FENCES) {
            return false;
        }
        *ret |= 1u << at;
        list += length + (list[length] == ',' ? 1 : 0);
    }
    return true;
}

bool fence_force(const char *list)
{
    return read_list(list, &forced);
}

bool fence_remove(const char *list)
{
    return read_list(list, &removed);
}

const char *fence_text(enum fence fence)
{
    return names[fence];
}

void fence_draw(struct sim *sim)
{
    for (unsigned at = 0; at < FENCES; at++) {
        bool is_drawn = rng_chance(sim, STREAM_FENCES, shares[at]);

        sim->fences |= is_drawn ? 1u << at : 0;
    }
    sim->fences = (sim->fences | forced) & ~removed;
}

bool fence_has(const struct sim *sim, enum fence fence)
{
    return (sim->fences & 1u << fence) != 0;
}

enum fence fence_muting(const struct sim *sim, const struct node *node)
{
    struct instant now = node_now(sim, node);
    struct instant deadline = node->guard.deadline;

    if (!instant_is_set(deadline)) {
        return FENCES;
    }
    if (fence_has(sim, FENCE_EXTENSION) && instant_left_ms(deadline, now) < 0) {
        return FENCE_EXTENSION;
    }
    return fence_has(sim, FENCE_NFT) && now.raw_ns - deadline.raw_ns > NFT_LATE_MS * MS ? FENCE_NFT
                                                                                        : FENCES;
}

static void on_reboot(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->a];

    ASSERT(event->data == NULL);
    node_boot(sim, node);
    agent_begin(sim, node);
}

static void on_watchdog(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->a];
    bool is_passed = instant_is_set(node->guard.deadline) &&
                     instant_left_ms(node->guard.deadline, node_now(sim, node)) < 0;

    if ((uint32_t)event->b != node->guard.timer || !is_passed || node->server.run == RUN_NONE ||
        node->is_watchdog_failed) {
        return;
    }
    if (server_is_open(node)) {
        check_prevented(sim, node, FENCE_WATCHDOG);
    }
    sim_trace(sim, node, "sim.watchdog", "the deadline has passed, and the server lives");
    node_thaw(sim, node);
    node_power_off(sim, node);
    sim_post(sim, NULL, ACTOR_WORLD, REBOOT_NS, &(struct event){.run = on_reboot, .a = event->a});
}

/* NODE's deadline comes in WAIT_NS, by its timer. */
void fence_watch(struct sim *sim, struct node *node, int64_t wait_ns)
{
    if (fence_has(sim, FENCE_WATCHDOG)) {
        sim_post(
            sim, NULL, ACTOR_WORLD, wait_ns + GUARD_LATE_NS + GUARD_KILL_NS + MS,
            &(struct event){.run = on_watchdog, .a = node->index, .b = node->guard.timer});
    }
}
