/* Orders: rows of steps, walked one after another.
 *
 *   begin -> [kick] -> step 0 -> step 1 -> ... -> end, on_order(0)
 *                        |         |
 *                        +---------+--> failure, limit, kill -> end, on_order(failure)
 *
 * A step ends at once (STEP_DONE), or with its job, its child, or when its `wait` finds the facts
 * as it wants them: after each probe and each change of the guard's state. Nothing is reported from
 * inside engine_order: the first step begins in the next turn of the loop. A job cannot be stopped;
 * while one of an ended order hangs, no new order begins. */
#include "base/assert.h"
#include "engine/postgres/driver.h"
#include "io/clock.h"

#define MINUTE_MS 60000
#define HOUR_MS (60 * MINUTE_MS)
#define FETCH_MS 5000  /* longer than the other side waits (ha/tail.c) */
#define LOWER_MS 20000 /* then the start goes on without */

/* What an order needs and how long it may take unless told. 0: no limit. */
static const struct {
    enum engine_order order;
    const struct order_step *steps;
    int64_t limit_ms;
    bool needs_running;
    bool needs_stopped;
} rows[] = {
    {ORDER_BOOTSTRAP, pg_bootstrap_steps, 10 * MINUTE_MS, false, true},
    {ORDER_CLONE, pg_clone_steps, 0, false, true},
    {ORDER_REWIND, pg_rewind_steps, 0, false, true},
    {ORDER_START, pg_start_steps, MINUTE_MS, false, true},
    {ORDER_STOP, pg_stop_steps, 0, false, false},
    {ORDER_PROMOTE, pg_promote_steps, 0, true, false},
    {ORDER_CHECKPOINT, pg_checkpoint_steps, HOUR_MS, true, false},
    {ORDER_FOLLOW, pg_follow_steps, MINUTE_MS, true, false},
    {ORDER_RELOAD, pg_reload_steps, MINUTE_MS, true, false},
    {ORDER_REVOKE, pg_revoke_steps, MINUTE_MS, true, false},
    {ORDER_FETCH, pg_fetch_steps, FETCH_MS, true, false},
};

static void forget_input(struct order *order)
{
    if (order->input != NULL) {
        mem_wipe(order->input, strlen(order->input));
        order->input = mem_free(order->input);
    }
}

static void clear(struct order *order)
{
    child_free(order->child);
    forget_input(order);
    mem_free(order->base_conf);
    *order = (struct order){0};
}

static void end(struct postgres *pg, int result, const struct err *why)
{
    enum engine_order order = pg->order.args.order;
    bool is_given_up = result < 0 && order == ORDER_PROMOTE && !pg->order.is_promoting;
    struct err none = {0};

    ASSERT(order != ORDER_NONE);
    loop_timer_stop(pg->order_kick);
    loop_timer_stop(pg->order_limit);
    pg_seen_stop(pg->seen);
    pg->detach.is_held = false;
    pg_tail_cancel(pg);
    if (result < 0) {
        pg_tidy_timelines(pg);
    } else if (order == ORDER_CLONE || order == ORDER_REWIND || order == ORDER_BOOTSTRAP) {
        pg_stall_forget(pg);
    }
    clear(&pg->order);
    if (is_given_up) {
        pg_promote_file_give_up(pg);
    }
    if (result < 0 && !pg_is_running(pg)) {
        pg_look(pg);
    }
    pg_apply_background(pg);
    pg_probe_soon(pg);
    pg_report(pg);
    if (pg->is_closed) {
        return;
    }
    pg->listener.on_order(pg->listener.arg, order, result, why != NULL ? why : &none);
}

/* Begin steps until one takes time. */
static void walk(struct postgres *pg)
{
    for (;;) {
        const struct order_step *step = &pg->order.steps[pg->order.at];
        struct err why = {0};
        int r;

        if (step->name == NULL) {
            end(pg, 0, NULL);
            return;
        }
        pg->order.wait = NULL;
        pg->order.is_probe_fresh = false;
        r = step->begin(pg, &why);
        if (r < 0) {
            r = err_wrap(&why, r, "%s: %s", engine_order_text(pg->order.args.order), step->name);
            end(pg, r, &why);
            return;
        }
        if (r == 0) {
            return;
        }
        pg->order.at++;
    }
}

void pg_order_next(struct postgres *pg)
{
    struct err why = {0};

    if (pg->order.is_killed) {
        int r = FAIL(&why, ERR_CONFLICT, "the server was killed");

        end(pg, r, &why);
        return;
    }
    pg->order.at++;
    walk(pg);
}

void pg_order_fail(struct postgres *pg, int result, const struct err *why)
{
    struct err whole = *why;
    const struct order_step *step = &pg->order.steps[pg->order.at];
    int r = err_wrap(&whole, result, "%s: %s", engine_order_text(pg->order.args.order), step->name);

    end(pg, r, &whole);
}

int pg_order_begin(struct postgres *pg, const struct engine_order_args *args, struct err *e)
{
    size_t row = 0;
    int64_t limit_ms;

    while (rows[row].order != args->order) {
        row++;
        ASSERT(row < ARRAY_LEN(rows));
    }
    if (pg->order.args.order != ORDER_NONE) {
        return FAIL(
            e, ERR_CONFLICT, "%s is still in progress", engine_order_text(pg->order.args.order));
    }
    if (pg->order_jobs > 0) {
        return FAIL(e, ERR_CONFLICT, "a file operation of the last order still hangs");
    }
    if (!pg->has_guard) {
        return FAIL(e, ERR_UNAVAILABLE, "the guard does not answer");
    }
    if (rows[row].needs_running && !pg_is_running(pg)) {
        return FAIL(e, ERR_CONFLICT, "the server is not running");
    }
    if (rows[row].needs_stopped && pg_is_running(pg)) {
        return FAIL(e, ERR_CONFLICT, "the server is running");
    }
    pg->order = (struct order){.args = *args, .steps = rows[row].steps, .id = ++pg->order_count};
    limit_ms = args->timeout_ms > 0 ? args->timeout_ms : rows[row].limit_ms;
    if (limit_ms > 0) {
        loop_timer_start(pg->order_limit, limit_ms);
    }
    loop_timer_start(pg->order_kick, 0);
    return 0;
}

void pg_order_timer(void *arg)
{
    walk(arg);
}

void pg_order_limit(void *arg)
{
    struct postgres *pg = arg;
    struct err why = {0};
    int r = FAIL(&why, ERR_TIMEOUT, "it takes too long");

    pg_order_fail(pg, r, &why);
}

void pg_order_fini(struct postgres *pg)
{
    clear(&pg->order);
}

/* ---- waiting for facts ---- */

void pg_order_poke(struct postgres *pg)
{
    struct err why = {0};
    int r;

    if (pg->is_closed || pg->order.wait == NULL) {
        return;
    }
    r = pg->order.wait(pg, &why);
    if (r < 0) {
        pg_order_fail(pg, r, &why);
    } else if (r == STEP_DONE) {
        pg_order_next(pg);
    }
}

int pg_order_wait(struct postgres *pg, order_wait *wait)
{
    pg->order.wait = wait;
    pg_probe_soon(pg);
    return 0;
}

/* A step that works on files ends first: it cannot be stopped. */
void pg_order_kill(struct postgres *pg)
{
    struct err why = {0};
    int r;

    if (pg->order.args.order == ORDER_NONE || pg->order.args.order == ORDER_STOP) {
        return;
    }
    if (pg->order_jobs > 0) {
        pg->order.is_killed = true;
        return;
    }
    r = FAIL(&why, ERR_CONFLICT, "the server was killed");
    pg_order_fail(pg, r, &why);
}

/* ---- jobs and children of a step ---- */

int pg_order_job(struct postgres *pg, struct pg_job *job)
{
    job->order_id = pg->order.id;
    pg_job_start(pg, job);
    return 0;
}

/* The end of a program's output, on one line, without what looks like progress. */
static void add_last_lines(const char *output, char *buffer, size_t size)
{
    size_t length = strlen(output);
    size_t from;

    while (length > 0 && (output[length - 1] == '\n' || output[length - 1] == '\r')) {
        length--;
    }
    from = length;
    while (from > 0 && length - from < size - 1) {
        if (output[from - 1] == '\n' && length - from > size / 2) {
            break;
        }
        from--;
    }
    str_format(buffer, size, "%.*s", (int)(length - from), output + from);
    for (char *at = buffer; *at != '\0'; at++) {
        *at = *at == '\n' || *at == '\r' || *at == '\t' ? ' ' : *at;
    }
}

static void on_child(void *arg, const struct child_end *ended)
{
    struct postgres *pg = arg;
    struct err why = {0};
    char tail[400];
    int r;

    pg->order.child = NULL;
    forget_input(&pg->order);
    if (pg->order.is_lowering || (ended->exit_code == 0 && ended->signal_number == 0)) {
        pg_order_next(pg);
        return;
    }
    add_last_lines(ended->output, tail, sizeof(tail));
    if (ended->signal_number != 0) {
        r = FAIL(
            &why, ERR_IO, "the program was killed by signal %d: %s", ended->signal_number, tail);
    } else if (strstr(tail, "No space left on device") != NULL) {
        r = FAIL(&why, ERR_IO, "the disk is full: %s", tail);
    } else {
        r = FAIL(&why, ERR_IO, "the program ended with %d: %s", ended->exit_code, tail);
    }
    pg_order_fail(pg, r, &why);
}

int pg_order_child(
    struct postgres *pg, const char *const *argv, const char *const *env, struct err *e)
{
    const struct child_options options = {
        .argv = argv,
        .env = env,
        .input = pg->order.input,
        .timeout_ms = pg->order.is_lowering ? LOWER_MS : 0};

    return child_start(pg->loop, &options, on_child, pg, &pg->order.child, e);
}

static int wait_for_look(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return pg->looks < pg->order.looks_wanted ? 0 : STEP_DONE;
}

/* The one under way may have begun too early. */
int pg_order_look(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    pg->order.looks_wanted = pg->looks + (pg->is_looking ? 2 : 1);
    pg_look(pg);
    pg->order.wait = wait_for_look;
    return 0;
}

void pg_program(const struct postgres *pg, const char *name, char *buffer)
{
    str_format(buffer, PG_PATH_SIZE, "%s/%s", pg->look.bin_dir, name);
}
