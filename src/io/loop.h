/* loop.h - the event loop (libuv): timers, file descriptors, signals, folders, work on threads.
 *
 * One thread runs the loop; every callback comes from it. Nothing here blocks. A handle is freed
 * by its x_free, which is allowed inside any callback, its own included; no callback comes after
 * it. The loop outlives its handles. */
#pragma once

#include "base/err.h"

struct loop;
struct loop_timer;
struct loop_poll;
struct loop_signal;
struct loop_watch;

/* A new loop; never NULL. UV_THREADPOOL_SIZE is set to 8 if unset: all work of the process
 * shares the pool. SIGPIPE is ignored from then on. */
struct loop *loop_new(void);

/* Close all that is left, wait for running work (its DONE comes) and free. NULL is accepted. */
void loop_free(struct loop *loop);

/* Run until loop_stop, which may also come before. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* FUNCTION is called once at the end of each turn of the loop in which anything happened, after
 * all callbacks of that turn: the place where facts become decisions. One per loop. */
void loop_on_turn(struct loop *loop, void (*function)(void *arg), void *arg);

/* A timer. loop_timer_start sets it (again) to fire once after at least MS milliseconds of
 * CLOCK_MONOTONIC; 0: in the next turn, which comes without waiting. */
struct loop_timer *loop_timer_new(struct loop *loop, void (*function)(void *arg), void *arg);
void loop_timer_start(struct loop_timer *timer, int64_t ms);
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer);

/* Watch FD (not owned) for reading and/or writing; may be changed at any time; both false pauses.
 * The fd must be closed only after loop_poll_free, or after loop_poll_set(poll, false, false):
 * libuv aborts on a closed one. FUNCTION gets what is ready; errors and hang-ups show as readable
 * and writable, again and again until the owner reacts. */
struct loop_poll *loop_poll_new(
    struct loop *loop, int fd, void (*function)(void *arg, bool readable, bool writable),
    void *arg);
void loop_poll_set(struct loop_poll *poll, bool want_read, bool want_write);
void loop_poll_free(struct loop_poll *poll);

/* Call FUNCTION from the loop whenever the process gets SIGNAL. */
struct loop_signal *loop_signal_new(
    struct loop *loop, int signal_number, void (*function)(void *arg), void *arg);
void loop_signal_free(struct loop_signal *handle);

/* Call FUNCTION with the name of an entry of FOLDER that was made or removed there. For what is
 * worth knowing at once and is found out otherwise too: NULL when the system has no watch left, and
 * some may be missed. The folder that has the name now is watched, also when it is renamed. */
struct loop_watch *loop_watch_new(
    struct loop *loop, const char *folder, void (*function)(void *arg, const char *name),
    void *arg);
void loop_watch_free(struct loop_watch *watch);

/* Run WORK(arg) on the thread pool, then DONE(arg) on the loop. WORK may block; it must touch
 * only ARG. DONE always comes; there is no cancelling, so ARG must live until then. */
void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* Collect PID, a child that was sent SIGKILL, whenever it ends: a process in disk sleep takes
 * its time. */
void loop_reap(struct loop *loop, int pid);
