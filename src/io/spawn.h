/* spawn.h - fork and exec, the part that child.c and process_detach share. Private to io/.
 *
 * The new process gets its own session, default signals, no inherited descriptors and a clean
 * environment: what `env` adds, then PATH, LANG=C, LC_ALL=C, TZ and HOME unless `env` has them.
 * When the program cannot be run it says so on its standard error and ends with SPAWN_NOT_RUN,
 * as a shell does: waiting for the exec would mean waiting for the disk that the program is on. */
#pragma once

#include "base/err.h"

#define SPAWN_NOT_RUN 127

struct spawn_options {
    const char *const *argv; /* ends with NULL; argv[0] is a path */
    const char *const *env;  /* "NAME=value", ends with NULL; may be NULL */
    const char *folder;      /* NULL: "/" */
    int in_fd;               /* standard streams; -1: /dev/null */
    int out_fd;
    int err_fd;
    int keep_fd;      /* becomes descriptor 3; -1: none */
    int death_signal; /* when the calling thread ends; 0: none */
    bool is_detached; /* not a child of this process: *ret is 0 */
};

/* Start it; *ret is the process, for the caller to collect. */
MUST_CHECK int spawn(const struct spawn_options *options, int *ret, struct err *e);

/* SIGKILL to the process, its group and every process of its session. PID must not be collected
 * yet. */
void spawn_kill_session(int pid);
