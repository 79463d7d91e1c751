/* tree.h - the descendants of a process. Nothing here allocates. */
#pragma once

#include "base/base.h"

/* SIGKILL to every descendant of ROOT, each as soon as it is found in /proc. That shows a moment
 * that has passed: repeat until the kernel says that no child is left. It collects nobody. */
void tree_kill(pid_t root);
