/* watchdog.h - the kernel's watchdog: a device that resets the host unless it is petted in time.
 *
 * It is for what no process can do any more: the host is stuck, and with it whoever should kill the
 * server. The guard keeps it, because it outlives the agent and knows the absolute deadline:
 *   - it runs from the first deadline of a server until that is dropped, that is until no process
 *     of the server is left (Patroni disarmed it while backends were alive: their issue 3639);
 *   - it is petted only while at least `left_ms` of the deadline are left; ha/lease.c has the
 *     inequality from which `left_ms` and the timeout come.
 *
 * Patroni's protocols: a device of the kernel (ioctl; "1" pets, "V" is the magic close), and the
 * driver `testing`, a FIFO or file that gets "Ctimeout=N\n", "1" and "V". A device whose timeout
 * cannot be made as short as wanted is a failed one. With the kernel's option `nowayout` the magic
 * close does nothing: the host is reset after each stop of a server that had a deadline. Nothing
 * here allocates. */
#pragma once

#include "model/model.h"

/* ioctl(2), or what a test puts in its place. */
typedef int watchdog_control(int fd, unsigned long request, void *arg);

struct watchdog {
    struct guard_watch wanted; /* path "": none */
    watchdog_control *control; /* NULL: ioctl */
    enum guard_watchdog state;
    int error; /* errno; FAILED */
    int fd;    /* -1: not open */
    int64_t pace_ns;
    int64_t next_ns; /* when it is petted, or tried, again */
    int64_t look_ns; /* not needed and failed: when it is looked at again */
};

/* None is used. */
void watchdog_init(struct watchdog *dog);

/* Use what WANTED says from now on. Whether the device may be opened shows in `state` at once; it
 * is not opened, because that would start it. */
void watchdog_set(struct watchdog *dog, const struct guard_watch *wanted);

/* Start, pet or stop it, whatever is due at NOW_NS. IS_NEEDED: a deadline is in force, of which
 * LEFT_MS are left. Returns in how many nanoseconds it wants to be called again at the latest. */
int64_t watchdog_keep(struct watchdog *dog, bool is_needed, int64_t left_ms, int64_t now_ns);
