/* cgroup.h - a leaf of the kernel's control groups, version 2, whose processes are killed at once.
 *
 * A process joins the leaf before it runs its program, and whatever it forks is in it too:
 * `cgroup.kill` (Linux 5.14) reaches all of them in one call, those that fork meanwhile, have left
 * the session or are stopped or frozen included. It works where the own group may be divided:
 * systemd's Delegate=yes, or root. cgroup_join and cgroup_kill only write one byte.
 *
 * Not CLONE_INTO_CGROUP: Linux 6.18 kills what is cloned into a group in which cgroup.kill was used
 * before, because it compares with the count of kills of the parent's group. */
#pragma once

#include "base/base.h"

#define CGROUP_PATH_SIZE 512

struct cgroup {
    int join_fd; /* -1: there is none */
    int kill_fd;
    char path[CGROUP_PATH_SIZE];
};

/* Make the leaf NAME, which ends in "-" and the own pid, below the own group, and have a child try
 * to join it; empty leaves of those who were killed are removed. False, and a group that does
 * nothing, if that cannot be done here. */
bool cgroup_open(struct cgroup *group, const char *name);

/* Move the caller, who is about to run a program, into it. */
bool cgroup_join(const struct cgroup *group);

/* SIGKILL to everybody in it. False if there is none or the kernel refused. */
bool cgroup_kill(const struct cgroup *group);

/* Remove it, unless somebody is still in it. */
void cgroup_close(struct cgroup *group);
