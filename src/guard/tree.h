/* tree.h - the descendants of a process. Nothing here allocates. */
#pragma once

#include "base/base.h"

/* SIGKILL to every descendant of ROOT that /proc shows, each as soon as it is found, until no more
 * are found. It collects nobody. What is shown is a moment that has passed: repeat until the kernel
 * says that no child is left. */
void tree_kill(pid_t root);
