/* tree.h - the descendants of a process, from the parents that /proc shows for all processes. It
 * shows a moment that has passed: ask again until the kernel says that no child is left. */
#pragma once

#include "base/base.h"

/* The descendants of ROOT, at most MAX: killing those makes room for the rest. No allocation. */
size_t tree_find(pid_t root, pid_t *pids, size_t max);
