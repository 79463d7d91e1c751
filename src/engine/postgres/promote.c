/* PROMOTE: a standby becomes the primary.
 *
 *   deadline left? -> its timeline is known -> [the rule of commits is loaded: sync.c]
 *       -> [placeholders: timelines.c] -> [packet filter] -> file `promote`
 *       -> deadline left? SIGUSR1 -> out of recovery, history read -> is it the reserved timeline?
 *
 * From the signal on there is no way back, but the server may take its time for reasons that have
 * nothing to do with what it has to replay:
 *
 * It sleeps. When its primary died it has asked for a WAL receiver anew; told to promote before
 * that one is there, it gives the receiver up and sleeps until wal_retrieve_retry_interval after
 * the loss (200 ms, or what the operator has set) before it looks for log once more and ends
 * recovery. A signal ends the sleep, and SIGHUP to the startup process alone does nothing else.
 *
 * Its receiver stays. PostgreSQL waits for it without end. One that has not gone a second after it
 * was told to is told again, and in case that it was stopped (SIGSTOP), to continue.
 *
 * It is stuck. When nothing was replayed for five minutes the server is killed: after two such
 * promotions the lease goes to another node. Not sooner: the time of recovery_end_command counts as
 * well. */
#include "base/assert.h"
#include "engine/postgres/driver.h"
#include "io/clock.h"
#include "io/process.h"

static bool is_primary(const struct postgres *pg)
{
    return pg->probe.is_known && !pg->probe.in_recovery;
}

static int step_check_deadline(struct postgres *pg, struct err *e)
{
    if (!pg->has_guard || !instant_is_set(pg->guard.deadline)) {
        return FAIL(e, ERR_CONFLICT, "the guard holds no deadline");
    }
    if (instant_left_ms(pg->guard.deadline, clock_now()) <= 0) {
        return FAIL(e, ERR_CONFLICT, "the guard's deadline has passed");
    }
    if (pg->is_watchdog_required && pg->guard.watchdog != GUARD_WATCHDOG_RUNNING) {
        return FAIL(
            e, ERR_CONFLICT, "watchdog.mode is required, and %s does not run: %s",
            pg->watchdog.path, strerror(pg->guard.watchdog_errno));
    }
    return STEP_DONE;
}

/* One that does not work keeps nobody from being the primary; the member says so. */
static int wait_for_gate(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return gate_is_open(pg->gate, pg->order.gate_deadline) || gate_problem(pg->gate)[0] != '\0'
               ? STEP_DONE
               : 0;
}

static int step_open_gate(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    if (pg->gate == NULL) {
        return STEP_DONE;
    }
    pg->order.gate_deadline = pg->guard.deadline;
    pg_keep_gate(pg);
    return pg_order_wait(pg, wait_for_gate);
}

/* What the last probe saw in the way; only once, as the number of a process that has ended may
 * become another one's. */
static void hurry(struct postgres *pg)
{
    if (pg->order.is_probe_fresh && pg->probe.parked_pid != 0) {
        process_wake(pg->probe.parked_pid);
    }
    pg_end_receiver(pg, pg->order.signalled);
    pg->order.is_probe_fresh = false;
}

/* The order goes on until the server has ended: it may still open until then. */
static void kill_stuck(struct postgres *pg, struct instant now)
{
    struct order *order = &pg->order;

    if (pg->probe.replayed_lsn != order->replayed_before) {
        order->replayed_before = pg->probe.replayed_lsn;
        order->moved = now;
    }
    if (instant_elapsed_min_ms(order->moved, now) >= pg->stuck_ms) {
        order->moved = now;
        order->is_stuck = true;
        pg_fence_shut(pg);
        guard_kill(pg->link);
    }
}

static int wait_for_primary(struct postgres *pg, struct err *e)
{
    int r = pg_check_running(pg, e);

    if (r < 0) {
        return pg->order.is_stuck ? err_wrap(e, r, "nothing was replayed for too long") : r;
    }
    if (is_primary(pg)) {
        return pg->history.timeline == pg->probe.position.timeline ? STEP_DONE : 0;
    }
    hurry(pg);
    kill_stuck(pg, clock_now());
    return 0;
}

/* The file may have taken its time: the deadline is asked again right before the point of no
 * return. */
static int step_promote(struct postgres *pg, struct err *e)
{
    int r = step_check_deadline(pg, e);

    if (r < 0) {
        return r;
    }
    if (!is_primary(pg)) {
        guard_signal(pg->link, SIGUSR1);
        pg->order.is_promoting = true;
        pg->order.signalled = pg->order.moved = clock_now();
        pg_promote_file_is_used(pg);
        pg->tried_timeline = pg->order.args.timeline;
        pg_report(pg);
    }
    return pg_order_wait(pg, wait_for_primary);
}

static int wait_for_timeline(struct postgres *pg, struct err *e)
{
    int r = pg_check_running(pg, e);

    return r < 0 ? r : pg->probe.is_known && pg->probe.position.timeline != 0 ? STEP_DONE : 0;
}

static int step_know_timeline(struct postgres *pg, struct err *e)
{
    int r = wait_for_timeline(pg, e);

    return r == 0 ? pg_order_wait(pg, wait_for_timeline) : r;
}

const struct order_step pg_promote_steps[] = {
    {"check the deadline", step_check_deadline},
    {"see the timeline", step_know_timeline},
    {"wait for other files", pg_step_files_idle},
    {"wait for the end of an earlier promotion", pg_step_promote_file_idle},
    {"write the rule of commits", pg_step_sync_write},
    {"load the rule of commits", pg_step_sync_load},
    {"wait for an earlier tidying", pg_step_timelines_idle},
    {"reserve the timeline", pg_step_reserve_timeline},
    {"open the packet filter", step_open_gate},
    {"write the promote file", pg_step_promote_file},
    {"promote", step_promote},
    {"check the timeline", pg_step_check_timeline},
    {NULL, NULL},
};
