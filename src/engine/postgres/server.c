/* The server process, through its guard, and the orders that need no program but the server itself.
 *
 *   START       idle -> [lower.c] -> write the configuration and standby.signal -> guard starts it
 *               -> its socket answers
 *   STOP        SIGINT or SIGQUIT -> the whole tree is gone -> look
 *   PROMOTE     see promote.c
 *   FOLLOW      write -> SIGHUP -> the new upstream is in force and the old receiver is gone
 *   REVOKE      see revoke.c
 *   FETCH       see tail.c
 *   RELOAD      write -> SIGHUP -> the server has read it
 *   CHECKPOINT  on a connection of its own, so that probes go on
 *
 * The process belongs to the guard: what is known of it comes only from on_guard. */
#include "base/assert.h"
#include "engine/postgres/conffile.h"
#include "engine/postgres/driver.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/process.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define CHECKPOINT_MS 3600000
#define CONNECT_MS 5000

/* ---- the guard ---- */

static void note_exit(struct postgres *pg)
{
    const struct guard_state *state = &pg->guard;
    char *text = pg->exit_problem;
    size_t size = sizeof(pg->exit_problem);

    text[0] = '\0';
    if (state->was_fenced != 0) {
        str_copy(text, size, "the server was killed because the lease was not renewed in time");
    } else if (state->was_killed != 0) {
        str_copy(text, size, "the server was killed on request");
    } else if (state->start_errno != 0) {
        str_format(text, size, "the server could not be started: %s", strerror(state->start_errno));
    } else if (!pg->is_stopping && (state->exit_code != 0 || state->exit_signal != 0)) {
        if (state->exit_signal != 0) {
            str_format(text, size, "the server was ended by signal %d", state->exit_signal);
        } else {
            str_format(text, size, "the server ended with exit code %d", state->exit_code);
        }
        pg->wants_exit_problem = state->exit_signal == 0;
    }
}

/* Whoever promotes a server by hand makes a file, then sends a signal, and some tens of
 * milliseconds later the server takes writes: the file is seen sooner than a probe sees that. At
 * its start a server removes one that was left, hence "known". */
static void on_data_entry(void *arg, const char *name)
{
    struct postgres *pg = arg;

    if (str_equal(name, "promote") && pg->probe.is_known && pg->probe.in_recovery &&
        pg->order.args.order != ORDER_PROMOTE && !pg_may_have_promote_file(pg) &&
        !pg->is_promoted_by_hand) {
        pg->is_promoted_by_hand = true;
        pg_report(pg);
    }
}

/* The server runs in it at this moment: a disk that hangs would have shown before. */
void pg_watch_promotion(struct postgres *pg)
{
    loop_watch_free(pg->promotion);
    pg->promotion = NULL;
    if (pg_is_running(pg)) {
        pg->promotion = loop_watch_new(pg->loop, pg->paths.data_dir, on_data_entry, pg);
    }
}

static void note_change(struct postgres *pg, bool was_running)
{
    if (pg->probe.is_known && !pg->probe.in_recovery) {
        pg->seen_end = pg->probe.position;
    } else if (pg->guard.pid != 0) {
        pg->seen_end = (struct position){0, 0};
    }
    pg->look.is_end_known = false;
    pg->tail = (struct position){0, 0};
    pg_probe_reset(pg);
    pg_sync_reset(pg);
    pg->is_promoted_by_hand = false;
    pg_watch_promotion(pg);
    pg_stall_end(pg);
    if (pg_is_running(pg)) {
        pg->is_left = false;
        pg_stall_forget(pg);
        pg_probe_start(pg);
        return;
    }
    if (was_running) {
        note_exit(pg);
        pg->is_left = !pg->is_stopping;
    }
    pg->is_stopping = false;
    pg->look.state = SERVER_UNKNOWN; /* what was seen before it ran is old */
    pg->look.foreign_pid = 0;
    pg->is_look_stale = pg->is_looking;
    pg_look(pg);
    loop_timer_start(pg->pace, PROBE_PACE_MS);
}

/* Tell the guard, unless it is one of an earlier release. */
void pg_watch(struct postgres *pg)
{
    if (pg->link != NULL && pg->has_guard && pg->guard.means != GUARD_MEANS_UNKNOWN) {
        guard_watch(pg->link, &pg->watchdog);
    }
}

bool pg_is_watchdog_failed(const struct postgres *pg)
{
    return pg->is_watchdog_required && pg->has_guard &&
           pg->guard.watchdog != GUARD_WATCHDOG_READY &&
           pg->guard.watchdog != GUARD_WATCHDOG_RUNNING;
}

/* The packet filter is closed behind a server that may be writable, and only behind one. */
void pg_keep_gate(struct postgres *pg)
{
    bool may_write =
        pg_is_running(pg) && (pg->guard.is_open != 0 || pg->order.args.order == ORDER_PROMOTE ||
                              (pg->probe.is_known && !pg->probe.in_recovery));

    if (pg->gate == NULL || !pg->has_guard) {
        return;
    }
    if (!may_write) {
        gate_remove(pg->gate);
    } else if (instant_is_set(pg->guard.deadline)) {
        gate_open(pg->gate, pg->guard.deadline);
    }
}

static void on_gate(void *arg)
{
    struct postgres *pg = arg;

    pg_order_poke(pg);
    pg_report(pg);
}

void pg_gate_init(struct postgres *pg)
{
    const struct gate_options options = {
        .table = pg->config->fence.table,
        .port = pg->config->postgresql.listen.port,
        .exempt = (const char *const *)pg->config->fence.exempt,
    };

    if (pg->config->fence.nftables) {
        pg->gate = gate_new(pg->loop, &options, on_gate, pg);
    }
}

static void on_guard(void *arg, const struct guard_state *state)
{
    struct postgres *pg = arg;
    bool was_running = pg_is_running(pg);
    bool is_first = !pg->was_told;
    bool is_new;
    bool is_changed;

    if (state == NULL) {
        pg->has_guard = false;
        pg_order_poke(pg);
        pg_report(pg);
        return;
    }
    is_new = !pg->has_guard || state->guard_pid != pg->guard.guard_pid;
    is_changed = !pg->was_told || state->pid != pg->guard.pid ||
                 state->starts != pg->guard.starts || state->guard_pid != pg->guard.guard_pid;
    /* A failed start never was a running server; it shows in start_errno only. */
    was_running = was_running || state->starts != pg->guard.starts || state->start_errno != 0;
    pg->guard = *state;
    pg->has_guard = pg->was_told = true;
    if (is_new) {
        pg_watch(pg);
    }
    pg_fence_follow_guard(pg);
    if (is_changed) {
        note_change(pg, was_running);
        pg_promote_file_note_server(pg, is_first);
    }
    pg_keep_gate(pg);
    pg_order_poke(pg);
    pg_report(pg);
}

void pg_guard_connect(struct postgres *pg)
{
    char socket_path[PG_PATH_SIZE];
    char log_path[PG_PATH_SIZE];
    const struct guard_link_options options = {
        .program = pg->guard_program, .socket_path = socket_path, .log_path = log_path};
    const struct guard_listener listener = {.on_state = on_guard, .arg = pg};

    ASSERT(pg->link == NULL);
    str_format(socket_path, sizeof(socket_path), "%s/guard.sock", pg->paths.runtime_dir);
    str_format(log_path, sizeof(log_path), "%s/guard.log", pg->paths.runtime_dir);
    pg->link = guard_link_new(pg->loop, &options, &listener);
}

/* ---- steps that several orders share ---- */

static int wait_for_files(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return pg->is_applying ? 0 : STEP_DONE;
}

int pg_step_files_idle(struct postgres *pg, struct err *e)
{
    pg->order.wait = wait_for_files;
    return wait_for_files(pg, e);
}

int pg_step_apply(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    pg_apply(pg, pg->order.id);
    return 0;
}

static int step_set_upstream(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    pg_set_upstream(pg, &pg->order.args.peer);
    return STEP_DONE;
}

/* For a wait of an order on a running server. */
int pg_check_running(struct postgres *pg, struct err *e)
{
    if (pg_is_running(pg)) {
        return 0;
    }
    return FAIL(
        e, ERR_CONFLICT, "%s",
        pg->exit_problem[0] != '\0' ? pg->exit_problem : "the server has ended");
}

/* ---- start ---- */

static int wait_for_look(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return pg->look.state == SERVER_UNKNOWN ? 0 : STEP_DONE;
}

static int step_can_start(struct postgres *pg, struct err *e)
{
    pg->order.wait = wait_for_look;
    return wait_for_look(pg, e);
}

static int step_check_data(struct postgres *pg, struct err *e)
{
    if (pg->look.state != SERVER_DOWN || pg->look.foreign_pid != 0 || pg->look.is_torn) {
        return FAIL(
            e, ERR_CONFLICT, "the data directory cannot be started: %s",
            pg->look.problem[0] != '\0' ? pg->look.problem : server_state_text(pg->look.state));
    }
    pg->exit_problem[0] = '\0';
    pg->guard.start_errno = 0; /* of an earlier start; the guard's next word says it anew */
    pg->order.starts_before = pg->guard.starts;
    return STEP_DONE;
}

/* What the service manager says to the server goes through the agent: how the children of a
 * protected postmaster give the protection up again (documentation: Linux Memory Overcommit). */
static const char *const passed_on[] = {"PG_OOM_ADJUST_FILE", "PG_OOM_ADJUST_VALUE"};

static int step_launch(struct postgres *pg, struct err *e)
{
    AUTO(arena_free) struct arena *arena = arena_new(PG_ARENA_LIMIT);
    const struct parameters *parameters = pg_assemble(pg, arena);
    const char *home = process_env("HOME");
    const char *env[3 + ARRAY_LEN(passed_on) + 1] = {
        "PATH=" DEFAULT_PATH, "LANG=C", arena_format(arena, "HOME=%s", home != NULL ? home : "/")};
    size_t count = 3;
    char program[PG_PATH_SIZE];
    int r;

    for (size_t at = 0; at < ARRAY_LEN(passed_on); at++) {
        const char *value = process_env(passed_on[at]);

        if (value != NULL) {
            env[count++] = arena_format(arena, "%s=%s", passed_on[at], value);
        }
    }
    /* Nobody owns the data (step_check_data), but a process that stood still when postmaster and
     * guard were killed may hold the shared memory still, and does not end by itself. */
    if (process_kill_in(pg->paths.data_dir, "postgres") > 0) {
        return FAIL(
            e, ERR_CONFLICT, "processes of a server that is dead were left, and are killed now");
    }
    pg_program(pg, "postgres", program);
    r = guard_start(
        pg->link, conffile_command_line(arena, parameters, program, pg->paths.data_dir), env,
        pg->paths.data_dir, pg->paths.log, e);
    return r < 0 ? r : STEP_DONE;
}

static int wait_for_start(struct postgres *pg, struct err *e)
{
    if (pg->guard.start_errno != 0) {
        return FAIL(
            e, ERR_IO, "cannot run %s/postgres: %s", pg->look.bin_dir,
            strerror(pg->guard.start_errno));
    }
    if (pg->guard.starts == pg->order.starts_before) {
        return 0;
    }
    if (!pg_is_running(pg)) {
        return pg->look.state == SERVER_UNKNOWN ? 0 : pg_check_running(pg, e);
    }
    return pg->probe.is_known || pg->was_reached ? STEP_DONE : 0;
}

static int step_wait_for_start(struct postgres *pg, struct err *e)
{
    int r = wait_for_start(pg, e);

    return r == 0 ? pg_order_wait(pg, wait_for_start) : r;
}

const struct order_step pg_start_steps[] = {
    {"finish the last look", step_can_start},
    {"choose the fence", pg_step_fence},
    {"check the data directory", step_check_data},
    {"choose the upstream", step_set_upstream},
    {"wait for other files", pg_step_files_idle},
    {"wait for an earlier tidying", pg_step_timelines_idle},
    {"remove left placeholders", pg_step_tidy_timelines},
    {"prepare to lower parameters", pg_step_lower_prepare},
    {"lower parameters", pg_step_lower},
    {"look at the result", pg_step_lower_look},
    {"check the data directory", step_check_data},
    {"write the configuration", pg_step_apply},
    {"launch", step_launch},
    {"wait for the server", step_wait_for_start},
    {NULL, NULL},
};

/* ---- stop ---- */

static int wait_for_end(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return pg_is_running(pg) ? 0 : STEP_DONE;
}

static int step_stop(struct postgres *pg, struct err *e)
{
    if (pg_is_running(pg)) {
        pg->is_stopping = true;
        guard_signal(pg->link, pg->order.args.stop_mode == STOP_FAST ? SIGINT : SIGQUIT);
        pg_report(pg);
    }
    pg->order.wait = wait_for_end;
    return wait_for_end(pg, e);
}

/* The end of the server began a look in the same turn; a second one would only take time. */
static int step_see_end(struct postgres *pg, struct err *e)
{
    if (pg->look.state != SERVER_UNKNOWN) {
        return pg_order_look(pg, e);
    }
    pg->order.wait = wait_for_look;
    return 0;
}

const struct order_step pg_stop_steps[] = {
    {"stop the server", step_stop},
    {"read the control file", step_see_end},
    {NULL, NULL},
};

/* ---- follow and reload ---- */

static int step_note_before(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    pg->order.receiver_before = pg->probe.receiver_pid;
    pg->order.loaded_before_us = pg->probe.loaded_real_us;
    return STEP_DONE;
}

static int wait_for_upstream(struct postgres *pg, struct err *e)
{
    const struct pg_probe *probe = &pg->probe;
    int r = pg_check_running(pg, e);
    bool is_new;

    if (r < 0) {
        return r;
    }
    if (!pg->order.is_probe_fresh || !str_equal(probe->primary_conninfo, pg->upstream.conninfo) ||
        !str_equal(probe->primary_slot_name, pg->upstream.slot)) {
        return 0;
    }
    if (!probe->in_recovery) {
        return STEP_DONE; /* a primary keeps it for the day when it is a standby */
    }
    is_new = !pg->order.upstream_changed || probe->receiver_pid != pg->order.receiver_before;
    if (probe->receiver_pid == 0 || (is_new && pg->upstream.name[0] != '\0')) {
        return STEP_DONE;
    }
    pg_end_receiver(pg, pg->order.signalled);
    pg->order.is_probe_fresh = false;
    return 0;
}

/* Other settings that are loaded on this occasion leave the receiver as it is. */
static int step_follow(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    pg->order.upstream_changed = !str_equal(pg->probe.primary_conninfo, pg->upstream.conninfo) ||
                                 !str_equal(pg->probe.primary_slot_name, pg->upstream.slot);
    pg->order.signalled = clock_now();
    guard_signal(pg->link, SIGHUP);
    return pg_order_wait(pg, wait_for_upstream);
}

const struct order_step pg_follow_steps[] = {
    {"look at the receiver", step_note_before},
    {"wait for other files", pg_step_files_idle},
    {"choose the upstream", step_set_upstream},
    {"write the configuration", pg_step_apply},
    {"reload", step_follow},
    {NULL, NULL},
};

static int wait_for_load(struct postgres *pg, struct err *e)
{
    int r = pg_check_running(pg, e);

    if (r < 0) {
        return r;
    }
    return pg->order.is_probe_fresh && pg->probe.loaded_real_us != pg->order.loaded_before_us
               ? STEP_DONE
               : 0;
}

static int step_reload(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    guard_signal(pg->link, SIGHUP);
    return pg_order_wait(pg, wait_for_load);
}

static int wait_for_answer(struct postgres *pg, struct err *e)
{
    int r = pg_check_running(pg, e);

    return r < 0 ? r : pg->upstream.is_known && pg->probe.is_known ? STEP_DONE : 0;
}

static int step_answering(struct postgres *pg, struct err *e)
{
    int r = wait_for_answer(pg, e);

    return r == 0 ? pg_order_wait(pg, wait_for_answer) : r;
}

const struct order_step pg_reload_steps[] = {
    {"wait for the server", step_answering},
    {"note the last load", step_note_before},
    {"wait for other files", pg_step_files_idle},
    {"write the configuration", pg_step_apply},
    {"reload", step_reload},
    {NULL, NULL},
};

/* ---- checkpoint ---- */

static void on_checkpoint(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;

    if (why != NULL) {
        pg_order_fail(pg, why->code, why);
        return;
    }
    if (result == NULL) {
        session_query(pg->side, "CHECKPOINT", CHECKPOINT_MS, on_checkpoint, pg);
        return;
    }
    session_close(pg->side);
    pg_order_next(pg);
}

static int step_checkpoint(struct postgres *pg, struct err *e)
{
    struct session_options options;

    ASSERT(e != NULL);
    session_close(pg->side);
    pg_session_options(pg, &options);
    session_open(pg->side, &options, CONNECT_MS, on_checkpoint, pg);
    return 0;
}

static int wait_for_fresh(struct postgres *pg, struct err *e)
{
    int r = pg_check_running(pg, e);

    return r < 0 ? r : pg->order.is_probe_fresh ? STEP_DONE : 0;
}

static int step_see(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return pg_order_wait(pg, wait_for_fresh);
}

const struct order_step pg_checkpoint_steps[] = {
    {"checkpoint", step_checkpoint},
    {"look at it", step_see},
    {NULL, NULL},
};
