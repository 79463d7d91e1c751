/* disk_probe.h - whether file systems take a write and keep it, without waiting for them.
 *
 * Each attempt has a thread of its own, one at a time: a disk that hangs costs that one thread, and
 * the pool (loop_work), which serves everything else, loses nothing. The thread and what it uses
 * outlive disk_probe_free when they must. Nothing is left behind on the disk: the file has no name
 * where the system can do that, and is removed at once where it cannot. */
#pragma once

#include "io/loop.h"

struct disk_probe;

/* DONE comes from the loop with 0, or the errno of what failed, and the path that it failed on. */
struct disk_probe *disk_probe_new(
    struct loop *loop, void (*done)(void *arg, int error, const char *path), void *arg);

/* Write 8 kB and fsync them, once on each file system, in each of the COUNT (at most
 * DISK_PROBE_PATHS) folders of PATHS, which are copied. False: the last attempt has not ended (or
 * there is no thread to be had), nothing was begun. */
#define DISK_PROBE_PATHS 2
bool disk_probe_start(struct disk_probe *probe, const char *const *paths, unsigned count);

/* An attempt has not ended. */
bool disk_probe_is_busy(const struct disk_probe *probe);

/* Does not wait; DONE does not come any more. NULL is accepted. */
void disk_probe_free(struct disk_probe *probe);
