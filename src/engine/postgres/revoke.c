/* REVOKE: a running standby follows nobody any more, and knows how far it got.
 *
 *   write (no upstream, no archive) -> SIGHUP -> seen.c: the startup process has its signal
 *       -> detached: receiver gone, replay parked -> its position -> end
 *
 * That an empty primary_conninfo can be seen does not yet mean that no receiver will come: the
 * startup process starts receivers, and pg_stat_wal_receiver does not show one that is still
 * connecting. But it has its signal, and it reads its configuration whenever it wakes from the
 * sleep in which it finds no more log anywhere (RecoveryRetrieveRetryInterval), before it starts
 * anything; it sleeps so only after it has stopped the receiver. To be seen parked there is the
 * proof. The numbers are those of the next question: in one question nothing says which part is
 * answered first.
 *
 * What counts is the larger of received and replayed. A receiver is started only when the log in
 * pg_wal has been replayed, so with one since the start the two numbers tell all that is on disk.
 * Without one (NULL, after a restart, also one inside the postmaster: probe.c) only the parked
 * replay does.
 *
 * A replay that is stuck behind a query (a conflict) neither stops the receiver nor parks. The
 * receiver is then ended by signal; a second later, when it has not come back, the standby counts
 * as detached: what was received is on disk, counted in the position, and replayed before a
 * promotion. Whatever replays reads its configuration after each record, before it could start a
 * receiver.
 *
 * An archive that grows would wake the replay: restore_command is empty until there is an upstream
 * again (since PostgreSQL 14, where it can be changed at run time). */
#include "base/assert.h"
#include "engine/postgres/driver.h"
#include "io/clock.h"
#include "io/process.h"

#define STUCK_MS 1000
#define PATIENCE_MS 100 /* then a receiver that stays is ended */

static const char loaded_query[] =
    "SELECT pg_is_in_recovery() AND current_setting('primary_conninfo') = ''";

/* ---- the fact ---- */

static bool follows_nobody(const struct postgres *pg)
{
    const struct pg_probe *probe = &pg->probe;

    return probe->in_recovery && pg->upstream.is_known && pg->upstream.name[0] == '\0' &&
           probe->primary_conninfo[0] == '\0' && !pg->order.is_promoting;
}

static void end_receiver(struct postgres *pg)
{
    struct pg_detach *detach = &pg->detach;
    struct instant now = clock_now();

    if (!detach->is_certain) {
        return;
    }
    if (!instant_is_set(detach->stays_since)) {
        detach->stays_since = now;
    } else if (instant_elapsed_min_ms(detach->stays_since, now) >= PATIENCE_MS) {
        detach->stays_since = now;
        process_end(pg->probe.receiver_pid);
    }
}

void pg_detach_tick(struct postgres *pg)
{
    struct pg_detach *detach = &pg->detach;
    const struct pg_probe *probe = &pg->probe;
    bool was_parked = detach->was_parked;

    if (detach->is_old) {
        detach->is_old = false;
        return;
    }
    detach->was_parked = false;
    if (!follows_nobody(pg) || detach->is_held) {
        detach->is_detached = false;
        detach->gone_since = (struct instant){0, 0};
        return;
    }
    if (probe->receiver_pid != 0) {
        detach->is_detached = false;
        detach->gone_since = (struct instant){0, 0};
        end_receiver(pg);
        return;
    }
    detach->was_parked = probe->parked_pid != 0;
    if (!instant_is_set(detach->gone_since)) {
        detach->gone_since = clock_now();
    }
    detach->is_detached = detach->is_detached || was_parked ||
                          (detach->is_certain && probe->received_lsn != 0 &&
                           instant_elapsed_min_ms(detach->gone_since, clock_now()) >= STUCK_MS);
}

/* What the postmaster was told it has told its new children; what they were seen to do is gone. */
void pg_detach_forget(struct postgres *pg)
{
    struct pg_detach *detach = &pg->detach;

    *detach = (struct pg_detach){
        .is_held = detach->is_held, .is_certain = detach->is_certain, .is_old = detach->is_old};
}

bool pg_is_detached(const struct postgres *pg)
{
    return pg->detach.is_detached && pg->upstream.name[0] == '\0' && pg->probe.in_recovery;
}

void pg_end_receiver(const struct postgres *pg, struct instant since)
{
    if (pg->order.is_probe_fresh && pg->probe.receiver_pid != 0 &&
        instant_elapsed_min_ms(since, clock_now()) >= STUCK_MS) {
        process_end(pg->probe.receiver_pid);
    }
}

/* ---- the order ---- */

static int wait_for_standby(struct postgres *pg, struct err *e)
{
    int r = pg_check_running(pg, e);

    if (r < 0) {
        return r;
    }
    if (!pg->probe.is_known) {
        return 0;
    }
    return pg->probe.in_recovery ? STEP_DONE : FAIL(e, ERR_CONFLICT, "the server is not a standby");
}

int pg_step_is_standby(struct postgres *pg, struct err *e)
{
    int r = wait_for_standby(pg, e);

    return r == 0 ? pg_order_wait(pg, wait_for_standby) : r;
}

int pg_step_leave(struct postgres *pg, struct err *e)
{
    const struct engine_peer nobody = {0};

    ASSERT(e != NULL);
    pg_set_upstream(pg, &nobody);
    pg->is_revoked = true;
    pg->detach = (struct pg_detach){.is_held = true};
    return STEP_DONE;
}

static void on_seen(struct postgres *pg)
{
    pg_seen_stop(pg->seen);
    pg->detach = (struct pg_detach){.is_certain = true, .is_old = pg->is_probing};
    pg_order_next(pg);
}

/* seen.c waits; the fact that ends it all is that the server does. */
static int wait_for_end(struct postgres *pg, struct err *e)
{
    return pg_check_running(pg, e);
}

int pg_step_load(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    guard_signal(pg->link, SIGHUP);
    pg_seen_start(pg->seen, loaded_query, on_seen);
    return pg_order_wait(pg, wait_for_end);
}

static int wait_for_detached(struct postgres *pg, struct err *e)
{
    int r = pg_check_running(pg, e);

    return r < 0 ? r : pg_is_detached(pg) ? STEP_DONE : 0;
}

static int step_detached(struct postgres *pg, struct err *e)
{
    int r = wait_for_detached(pg, e);

    return r == 0 ? pg_order_wait(pg, wait_for_detached) : r;
}

const struct order_step pg_revoke_steps[] = {
    {"look at the server", pg_step_is_standby},
    {"wait for other files", pg_step_files_idle},
    {"forget the upstream", pg_step_leave},
    {"write the configuration", pg_step_apply},
    {"reload", pg_step_load},
    {"wait for the end of replay", step_detached},
    {NULL, NULL},
};
