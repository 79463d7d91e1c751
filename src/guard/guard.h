/* guard.h - the parent of the database server: baton-guard SOCKET_PATH.
 *
 * It starts one process, is told a deadline (model/guard_message.h), and when that passes kills the
 * process with all its descendants. It then allocates nothing and touches no disk.
 *
 *   - Nobody leaves the tree: the guard is a child subreaper, so orphans become its children,
 *     whatever they did with setsid or double forks. It is gone when the kernel says ECHILD.
 *   - The deadline moves forward only, on both clocks; once passed it stays passed; it is dropped
 *     when the whole tree is gone, or on request for a server that was never opened for writing.
 *   - Where there may be one, the tree has a control group of its own, which is killed at once.
 *   - The kernel watchdog runs as long as a deadline is in force (io/watchdog.h).
 *   - SIGKILL goes to all before anybody is waited for: a process with SIGKILL pending runs no more
 *     of its program, whereas the backend of a dead postmaster goes on to acknowledge commits.
 *   - When the guard dies, the kernel sends SIGQUIT to the first process. SIGTERM to the guard is a
 *     fast stop: SIGINT to the first process; the guard ends with the tree. */
#pragma once

#include "base/base.h"

/* Serve until no client and no process was there for a minute, GUARD_RETIRE or SIGTERM. Returns 0,
 * or an errno when it could not start; EWOULDBLOCK: another guard serves the path. */
int guard_serve(const char *socket_path);
