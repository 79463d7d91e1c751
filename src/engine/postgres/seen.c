/* Has everybody heard? What a changed file says is in force when each process has been told to read
 * it, and a connection that shows the new value proves less than that:
 *
 *   file written -> [open] -> "is it there?" -- no --> again, 2 to 50 ms later
 *                                |yes
 *                             [open another one] -> "is it there?" -- no --> from the start
 *                                |yes
 *                              done; that connection stays open
 *
 * The postmaster reads the file, then signals its children one after the other, and lets nobody in
 * meanwhile. The first connection, opened after the file was written, has the value either from the
 * postmaster, which then has been through that, or because it was itself signalled in a round whose
 * reading came after the connection began: then the round may still be under way. The second one is
 * let in after its end. So at `done` every process that existed then has its signal, and every
 * later one inherits the value. No clock is asked. */
#include "base/assert.h"
#include "engine/postgres/driver.h"

#define OPEN_MS 5000
#define QUERY_MS 5000
#define PACE_FIRST_MS 2
#define PACE_LAST_MS 50
#define RETRY_MS 100

struct pg_seen {
    struct postgres *pg;
    struct session *session;
    struct loop_timer *timer;
    char *text; /* SQL */
    pg_seen_done *done;
    bool is_second;
    int64_t pace_ms;
};

static void open_one(struct pg_seen *seen);
static void ask(struct pg_seen *seen);

static void retry(struct pg_seen *seen)
{
    session_close(seen->session);
    seen->is_second = false;
    loop_timer_start(seen->timer, RETRY_MS);
}

static void on_answer(void *arg, const PGresult *result, const struct err *why)
{
    struct pg_seen *seen = arg;

    if (why != NULL) {
        retry(seen);
        return;
    }
    if (PQntuples(result) != 1 || !str_equal(PQgetvalue(result, 0, 0), "t")) {
        seen->is_second = false;
        loop_timer_start(seen->timer, seen->pace_ms);
        seen->pace_ms = MIN(seen->pace_ms * 2, PACE_LAST_MS);
    } else if (!seen->is_second) {
        seen->is_second = true;
        session_close(seen->session);
        open_one(seen);
    } else {
        seen->done(seen->pg);
    }
}

static void ask(struct pg_seen *seen)
{
    session_query(seen->session, seen->text, QUERY_MS, on_answer, seen);
}

static void on_open(void *arg, const PGresult *result, const struct err *why)
{
    struct pg_seen *seen = arg;

    ASSERT(result == NULL);
    if (why != NULL) {
        retry(seen);
    } else {
        ask(seen);
    }
}

static void open_one(struct pg_seen *seen)
{
    struct session_options options;

    pg_session_options(seen->pg, &options);
    session_open(seen->session, &options, OPEN_MS, on_open, seen);
}

static void on_timer(void *arg)
{
    struct pg_seen *seen = arg;

    if (session_is_idle(seen->session)) {
        ask(seen);
    } else {
        session_close(seen->session);
        open_one(seen);
    }
}

struct pg_seen *pg_seen_new(struct postgres *pg)
{
    struct pg_seen *seen = mem_alloc(sizeof(*seen));

    seen->pg = pg;
    seen->session = session_new(pg->loop);
    seen->timer = loop_timer_new(pg->loop, on_timer, seen);
    return seen;
}

void pg_seen_free(struct pg_seen *seen)
{
    if (seen == NULL) {
        return;
    }
    session_free(seen->session);
    loop_timer_free(seen->timer);
    mem_free(seen->text);
    mem_free(seen);
}

void pg_seen_start(struct pg_seen *seen, const char *sql, pg_seen_done *done)
{
    pg_seen_stop(seen);
    seen->text = mem_dup(sql);
    seen->done = done;
    seen->is_second = false;
    seen->pace_ms = PACE_FIRST_MS;
    open_one(seen);
}

void pg_seen_stop(struct pg_seen *seen)
{
    loop_timer_stop(seen->timer);
    session_close(seen->session);
    seen->text = mem_free(seen->text);
}

struct session *pg_seen_session(struct pg_seen *seen)
{
    return seen->session;
}
