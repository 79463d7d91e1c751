/* urgent.h - a process that must be on time on a host that swaps, is overloaded or runs out of
 * memory.
 *
 * What needs a privilege is not insisted on; the result tells what was granted (bits of enum
 * guard_power). Nothing of it is meant for children: the scheduler resets itself on fork, memory
 * locks are not inherited, and urgent_leave undoes the rest. */
#pragma once

#include "model/model.h"

struct urgent {
    char oom_score[16]; /* as it was */
};

/* Lock the memory, be scheduled first, be the last one that is killed for memory. */
unsigned urgent_become(struct urgent *urgent);

/* In a child, before exec: be as others are. Capabilities that only the parent should have (ambient
 * ones, with which a server could outrun or disarm its fences) are dropped. */
void urgent_leave(const struct urgent *urgent);
