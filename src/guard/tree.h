/* tree.h - the descendants of a process. Nothing here allocates. */
#pragma once

#include "base/base.h"

/* SIGKILL to every descendant of ROOT, a child subreaper, each as soon as it is found in /proc.
 * That shows the past: repeat until the kernel says that no child is left. It collects nobody. */
void tree_kill(pid_t root);
