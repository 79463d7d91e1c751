/* Which rule of commits the server obeys for certain.
 *
 *   set -> file (with a mark: baton.sync_mark) -> SIGHUP -> seen.c: all processes have been told
 *       -> nobody to wait for? settled
 *       -> [flag] a checkpoint, or the fence's word -> barrier 1: own record, flushed
 *       -> switched: no walsender can release by an earlier rule -> barrier 2: what is flushed now
 *       -> confirmed: `need` names of the rule have flushed barrier 2 -> settled
 *
 * Why it is true. A commit is acknowledged by an earlier rule in two ways.
 *
 * 1. The backend does not wait, because the flag sync_standbys_defined in shared memory is off
 *    (SyncRepWaitForLSN looks at nothing else). The checkpointer sets it, as the first thing in its
 *    life and when it reads its configuration. At the top of each turn of its loop it reads that
 *    if it was signalled, and only then takes up a request: a CHECKPOINT that was asked for after
 *    the signal and has completed proves it. So does the GUC of the extension baton_fence, which
 *    tells the flag. Once on it stays on until a rule for nobody is loaded. A server that was
 *    started with a rule in its file, as each start writes it, has had it on since the checkpointer
 *    began: long before a promotion, which is the first moment that somebody can commit.
 *
 * 2. A walsender releases it. It does so only in ProcessRepliesIfAny, while it streams or stops and
 *    its priority under the configuration that it has read is not 0; and it reads a changed one at
 *    the top of each turn of its loop, before that call. When seen.c is done its signal has been
 *    sent. Hence it will release nothing by an earlier rule any more once, at any time after that,
 *      - it was absent or in another state: it passes the top before it streams;
 *      - its priority was 0: another comes only with the newest file;
 *      - it had a confirmation of barrier 1: the record is younger than the signal, so the turn
 *      that
 *        handled the reply is a later one than that which sent the record.
 *    One that is stopped and has a priority is none of these, and holds everything up until it
 *    goes on or is gone. A process number that is used anew counts as the old process: that can
 *    only delay.
 *
 * What was acknowledged by an earlier rule until then was flushed here before, so it lies before
 * barrier 2, which is asked for later, in another query. Standbys flush in order: who has flushed
 * barrier 2 has all of it, and so everything that was ever acknowledged is confirmed by the rule.
 *
 * The record is written by a transaction with synchronous_commit=local: it never waits. On a server
 * that is no primary nobody commits; there it is enough that a probe shows the rule.
 *
 * Somebody may make the server obey another rule: ALTER SYSTEM, or a file edited by hand. Each
 * probe looks. From then on the rule is not settled and the flag not known, and everything is gone
 * through again under another mark. What was loaded and taken back between two probes is not seen.
 */
#include "base/assert.h"
#include "base/parse.h"
#include "engine/postgres/driver.h"
#include "engine/postgres/quote.h"
#include "io/clock.h"

#define QUERY_MS 10000
#define CHECKPOINT_MS 3600000
#define PACE_FIRST_MS 1
#define PACE_LAST_MS 50
#define RETRY_MS 100
#define SIGNAL_MS 500 /* between two for the same file */
#define LOAD_MS 5000  /* before a promotion; usually some milliseconds */
#define SUSPECTS_MAX 128

enum phase {
    PHASE_IDLE,
    PHASE_LOADING,
    PHASE_FLAG,
    PHASE_SWITCHING,
    PHASE_CONFIRMING,
};

struct pg_sync {
    struct pg_seen *seen;
    struct loop_timer *timer;

    bool is_set;     /* somebody has told the rule */
    bool is_managed; /* it is not the operator's */
    bool is_adopted; /* TEXT is what the running server has; nobody has told anything */
    struct sync_rule rule;
    char text[SYNC_TEXT_SIZE];
    char mark[PG_MARK_SIZE];
    uint64_t serial;
    uint64_t marks;
    int64_t born_ns;

    bool is_written;      /* the files have the mark */
    struct instant heard; /* all processes have been told of the mark; {0,0}: not yet */
    bool is_overridden;   /* somebody else's rule was loaded, and ours is not in force again */
    struct instant signalled;
    bool will_be_defined; /* the server that is being started has a rule in its file */
    bool is_defined;      /* the flag is on */
    uint64_t settled;     /* serial */
    enum phase phase;
    int64_t pace_ms;
    uint64_t barrier_lsn;
    bool knows_suspects;
    unsigned suspect_count;
    int suspects[SUSPECTS_MAX];
};

enum column {
    COLUMN_FLUSHED,
    COLUMN_DEFINED,
    COLUMN_PID,
    COLUMN_STATE,
    COLUMN_PRIORITY,
    COLUMN_CONFIRMED,
    COLUMN_NAME,
};

static const char poll_query[] =
    "SELECT f.v, current_setting('baton_fence.sync_defined', true), s.pid, s.state,"
    " s.sync_priority, s.flush_lsn, a.application_name"
    " FROM (SELECT pg_current_wal_flush_lsn() AS v) AS f"
    " LEFT JOIN pg_stat_get_wal_senders() AS s ON true"
    " LEFT JOIN pg_stat_get_activity(NULL) AS a ON a.pid = s.pid";

static void poll_server(struct postgres *pg);

/* ---- what is wanted, and what is known ---- */

const char *pg_sync_text(const struct postgres *pg)
{
    const struct pg_sync *sync = pg->sync;

    if (sync->is_set) {
        return sync->is_managed ? sync->text : NULL;
    }
    if (sync->is_adopted) {
        return sync->text;
    }
    return pg->look.has_sync_names ? pg->look.sync_names : NULL;
}

const char *pg_sync_mark(const struct postgres *pg)
{
    return pg->sync->mark;
}

bool pg_sync_is_managed(const struct postgres *pg)
{
    return pg->sync->is_set && pg->sync->is_managed;
}

bool pg_sync_names(const struct postgres *pg, const char *name)
{
    const struct sync_rule *rule = &pg->sync->rule;

    for (unsigned at = 0; at < rule->count; at++) {
        if (str_equal(rule->names[at], name)) {
            return true;
        }
    }
    return false;
}

static bool is_loaded(const struct postgres *pg)
{
    const struct pg_sync *sync = pg->sync;

    return pg->probe.is_known && str_equal(pg->probe.sync_mark, sync->mark) &&
           (!sync->is_managed || str_equal(pg->probe.sync_names, sync->text));
}

static bool is_primary(const struct postgres *pg)
{
    return pg_is_running(pg) && !pg->is_stopping && pg->probe.is_known && !pg->probe.in_recovery;
}

uint64_t pg_sync_serial(const struct postgres *pg)
{
    if (is_primary(pg)) {
        return pg->sync->settled;
    }
    return pg->sync->is_set && is_loaded(pg) ? pg->sync->serial : 0;
}

const char *pg_sync_problem(const struct postgres *pg)
{
    return pg->sync->is_overridden
               ? "synchronous_standby_names was changed (by ALTER SYSTEM?) and is written anew\n"
                 "hint: synchronous_mode in the dynamic configuration decides about it"
               : "";
}

bool pg_sync_is_loading(const struct postgres *pg)
{
    const struct pg_sync *sync = pg->sync;

    return sync->is_set && pg->probe.in_recovery && !is_loaded(pg) && sync->is_written &&
           instant_elapsed_min_ms(sync->signalled, clock_now()) < SIGNAL_MS;
}

static bool is_for_nobody(const struct pg_sync *sync)
{
    return !sync->is_managed || sync->text[0] == '\0';
}

static void stop(struct pg_sync *sync)
{
    loop_timer_stop(sync->timer);
    pg_seen_stop(sync->seen);
    sync->phase = PHASE_IDLE;
}

static void restart(struct pg_sync *sync)
{
    stop(sync);
    sync->phase = PHASE_LOADING;
    loop_timer_start(sync->timer, RETRY_MS);
}

/* The flag may have begun anew while the barrier was on its way: the next probe tells. */
static void settle(struct postgres *pg)
{
    if (pg_is_lost(pg)) {
        restart(pg->sync);
        return;
    }
    stop(pg->sync);
    pg->sync->settled = pg->sync->serial;
    pg->sync->is_overridden = false;
    pg_report(pg);
}

/* ---- the barrier ---- */

static void query(struct postgres *pg, const char *sql, int64_t timeout_ms, session_done *done)
{
    session_query(pg_seen_session(pg->sync->seen), sql, timeout_ms, done, pg);
}

/* NULL: no row of a walsender. */
static uint64_t lsn(const PGresult *result, int row, enum column column)
{
    uint64_t value = 0;

    IGNORE(lsn_parse(PQgetvalue(result, row, (int)column), &value, NULL) < 0, "NULL is 0, nothing");
    return value;
}

static int number(const PGresult *result, int row, enum column column)
{
    int64_t value = 0;

    IGNORE(
        parse_int(PQgetvalue(result, row, (int)column), 0, INT32_MAX, &value, NULL) < 0,
        "NULL is 0, nobody");
    return (int)value;
}

static bool was_suspect(const struct pg_sync *sync, int pid)
{
    for (unsigned at = 0; at < sync->suspect_count; at++) {
        if (sync->suspects[at] == pid) {
            return true;
        }
    }
    return !sync->knows_suspects;
}

/* Whether the walsender of ROW may still go by an earlier rule. */
static bool is_suspect(const struct pg_sync *sync, const PGresult *result, int row)
{
    const char *state = PQgetvalue(result, row, COLUMN_STATE);

    return was_suspect(sync, number(result, row, COLUMN_PID)) &&
           (str_equal(state, "streaming") || str_equal(state, "stopping")) &&
           number(result, row, COLUMN_PRIORITY) != 0 &&
           lsn(result, row, COLUMN_CONFIRMED) < sync->barrier_lsn;
}

static bool is_switched(struct pg_sync *sync, const PGresult *result)
{
    int left[SUSPECTS_MAX] = {0};
    unsigned count = 0;
    bool fits = true;

    for (int row = 0; row < PQntuples(result); row++) {
        if (number(result, row, COLUMN_PID) == 0 || !is_suspect(sync, result, row)) {
            continue;
        }
        if (count == SUSPECTS_MAX) {
            fits = false;
            break;
        }
        left[count++] = number(result, row, COLUMN_PID);
    }
    memcpy(sync->suspects, left, count * sizeof(left[0]));
    sync->suspect_count = count;
    sync->knows_suspects = fits;
    return count == 0;
}

static bool is_confirmed(const struct postgres *pg, const struct pg_probe *seen)
{
    const struct pg_sync *sync = pg->sync;
    unsigned count = 0;

    for (unsigned at = 0; at < seen->standby_count; at++) {
        if (seen->standbys[at].flushed_lsn >= sync->barrier_lsn &&
            pg_sync_names(pg, seen->standbys[at].name)) {
            count++;
        }
    }
    return count >= (sync->rule.is_any ? sync->rule.need : sync->rule.count);
}

/* Only names of the rule: it is what counts here, and other standbys come with the next probe. */
static void note_standbys(struct postgres *pg, const PGresult *result, struct pg_probe *seen)
{
    for (int row = 0; row < PQntuples(result); row++) {
        const char *name = PQgetvalue(result, row, COLUMN_NAME);

        if (str_equal(PQgetvalue(result, row, COLUMN_STATE), "streaming") &&
            pg_sync_names(pg, name)) {
            pg_note_standby(seen, name, lsn(result, row, COLUMN_CONFIRMED));
        }
    }
    for (unsigned at = 0; at < seen->standby_count; at++) {
        pg_note_standby(&pg->probe, seen->standbys[at].name, seen->standbys[at].flushed_lsn);
    }
}

static void on_poll(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;
    struct pg_sync *sync = pg->sync;
    struct pg_probe *seen;

    if (why != NULL || PQntuples(result) < 1) {
        restart(sync);
        return;
    }
    if (sync->phase == PHASE_SWITCHING) {
        if (!is_switched(sync, result)) {
            loop_timer_start(sync->timer, sync->pace_ms);
            sync->pace_ms = MIN(sync->pace_ms * 2, PACE_LAST_MS);
            return;
        }
        sync->phase = PHASE_CONFIRMING;
        sync->barrier_lsn = 0;
        poll_server(pg);
        return;
    }
    if (sync->barrier_lsn == 0) {
        sync->barrier_lsn = lsn(result, 0, COLUMN_FLUSHED);
        sync->pace_ms = PACE_FIRST_MS;
    }
    seen = mem_alloc(sizeof(*seen));
    note_standbys(pg, result, seen);
    if (is_confirmed(pg, seen)) {
        mem_free(seen);
        settle(pg);
        return;
    }
    mem_free(seen);
    loop_timer_start(sync->timer, sync->pace_ms);
    sync->pace_ms = MIN(sync->pace_ms * 2, PACE_LAST_MS);
}

static void poll_server(struct postgres *pg)
{
    query(pg, poll_query, QUERY_MS, on_poll);
}

static void on_barrier(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;
    struct pg_sync *sync = pg->sync;

    if (why != NULL || PQntuples(result) != 1) {
        restart(sync);
        return;
    }
    sync->barrier_lsn = lsn(result, 0, COLUMN_FLUSHED);
    sync->phase = PHASE_SWITCHING;
    sync->knows_suspects = false;
    sync->suspect_count = 0;
    sync->pace_ms = PACE_FIRST_MS;
    poll_server(pg);
}

static void on_record(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;

    ASSERT(result != NULL || why != NULL);
    if (why != NULL) {
        restart(pg->sync);
        return;
    }
    query(pg, "SELECT pg_current_wal_flush_lsn()", QUERY_MS, on_barrier);
}

static void write_record(struct postgres *pg)
{
    query(pg, "SELECT pg_logical_emit_message(true, 'baton', 'sync')", QUERY_MS, on_record);
}

/* ---- the flag ---- */

static void on_checkpoint(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;

    ASSERT(result != NULL || why != NULL);
    if (why != NULL) {
        restart(pg->sync);
        return;
    }
    pg->sync->is_defined = true;
    write_record(pg);
}

static void on_flag(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;
    struct pg_sync *sync = pg->sync;
    const char *word;

    if (why != NULL || PQntuples(result) < 1) {
        restart(sync);
        return;
    }
    word = PQgetvalue(result, 0, COLUMN_DEFINED);
    if (str_equal(word, "on")) {
        sync->is_defined = true;
        write_record(pg);
    } else if (str_equal(word, "off")) {
        loop_timer_start(sync->timer, sync->pace_ms);
        sync->pace_ms = MIN(sync->pace_ms * 2, PACE_LAST_MS);
    } else {
        query(pg, "CHECKPOINT", CHECKPOINT_MS, on_checkpoint);
    }
}

/* ---- loading ---- */

static void on_seen(struct postgres *pg)
{
    struct pg_sync *sync = pg->sync;

    sync->heard = clock_now();
    if (is_for_nobody(sync)) {
        settle(pg);
    } else if (sync->is_defined) {
        write_record(pg);
    } else {
        sync->phase = PHASE_FLAG;
        sync->pace_ms = PACE_FIRST_MS;
        query(pg, poll_query, QUERY_MS, on_flag);
    }
}

static void load(struct postgres *pg)
{
    AUTO_STR struct str sql = STR_INIT(4 * SYNC_TEXT_SIZE);

    pg->sync->phase = PHASE_LOADING;
    str_add(&sql, "SELECT current_setting('baton.sync_mark', true) = ");
    quote_literal(&sql, pg->sync->mark);
    if (pg->sync->is_managed) {
        str_add(&sql, " AND current_setting('synchronous_standby_names') = ");
        quote_literal(&sql, pg->sync->text);
    }
    pg_seen_start(pg->sync->seen, str_text(&sql), on_seen);
}

static void on_timer(void *arg)
{
    struct postgres *pg = arg;

    switch (pg->sync->phase) {
    case PHASE_IDLE:
        return;
    case PHASE_LOADING:
        load(pg);
        return;
    case PHASE_FLAG:
    case PHASE_SWITCHING:
    case PHASE_CONFIRMING:
        break;
    }
    if (!session_is_idle(pg_seen_session(pg->sync->seen))) {
        restart(pg->sync); /* the server has closed it meanwhile */
    } else if (pg->sync->phase == PHASE_FLAG) {
        query(pg, poll_query, QUERY_MS, on_flag);
    } else {
        poll_server(pg);
    }
}

/* ---- from outside ---- */

struct pg_sync *pg_sync_new(struct postgres *pg)
{
    struct pg_sync *sync = mem_alloc(sizeof(*sync));

    sync->seen = pg_seen_new(pg);
    sync->timer = loop_timer_new(pg->loop, on_timer, pg);
    sync->born_ns = clock_now().boot_ns;
    return sync;
}

void pg_sync_free(struct pg_sync *sync)
{
    pg_seen_free(sync->seen);
    loop_timer_free(sync->timer);
    mem_free(sync);
}

/* Under a mark of its own: what was seen of the files before is no news of these. */
static void write_anew(struct postgres *pg)
{
    struct pg_sync *sync = pg->sync;

    str_format(
        sync->mark, sizeof(sync->mark), "%" PRIx64 "-%" PRIu64, (uint64_t)sync->born_ns,
        ++sync->marks);
    sync->is_written = false;
    sync->heard = (struct instant){0, 0};
    pg->is_config_dirty = true;
    pg_apply_background(pg);
}

void pg_sync_set(struct postgres *pg, const struct sync_rule *rule, uint64_t serial)
{
    struct pg_sync *sync = pg->sync;
    char text[SYNC_TEXT_SIZE] = "";
    bool is_same;

    if (sync->is_set && sync->serial == serial) {
        return;
    }
    if (rule != NULL) {
        sync_rule_format(rule, text);
    }
    is_same = sync->is_set && sync->is_managed == (rule != NULL) && str_equal(sync->text, text);
    if (is_same) {
        /* The same rule under another number: what is in force stays so. */
        sync->settled = sync->settled == sync->serial ? serial : sync->settled;
        sync->serial = serial;
        pg_probe_soon(pg); /* reports */
        return;
    }
    sync->serial = serial;
    stop(sync);
    sync->is_set = true;
    sync->is_managed = rule != NULL;
    sync->rule = rule != NULL ? *rule : (struct sync_rule){0};
    str_copy(sync->text, sizeof(sync->text), text);
    sync->is_overridden = false;
    if (is_for_nobody(sync)) {
        sync->is_defined = sync->will_be_defined = false;
    }
    write_anew(pg);
}

void pg_sync_written(struct postgres *pg, const char *mark)
{
    struct pg_sync *sync = pg->sync;

    if (sync->is_set && str_equal(sync->mark, mark)) {
        sync->is_written = true;
        sync->signalled = clock_now();
        pg_sync_tick(pg);
        pg_probe_soon(pg);
    }
}

void pg_sync_rendered(struct postgres *pg)
{
    const char *text = pg_sync_text(pg);

    pg->sync->will_be_defined = !str_is_empty(text);
}

void pg_sync_reset(struct postgres *pg)
{
    struct pg_sync *sync = pg->sync;

    stop(sync);
    sync->settled = 0;
    sync->heard = (struct instant){0, 0};
    sync->is_adopted = sync->is_adopted && pg_is_running(pg);
    sync->is_defined = pg_is_running(pg) && sync->will_be_defined;
    sync->will_be_defined = false;
}

/* The file with the mark is read, and something wins over its rule; or the mark, of which everybody
 * had been told, is gone again. A probe that began before that shows what was before it. */
static bool is_overridden(const struct postgres *pg)
{
    const struct pg_sync *sync = pg->sync;

    if (is_loaded(pg)) {
        return false;
    }
    return str_equal(pg->probe.sync_mark, sync->mark) ||
           (instant_is_set(sync->heard) &&
            instant_elapsed_min_ms(sync->heard, pg->probe.begun) > 0);
}

/* The checkpointer may have switched the flag off by what it has read. */
static void take_back(struct postgres *pg)
{
    struct pg_sync *sync = pg->sync;

    stop(sync);
    sync->settled = 0;
    sync->is_defined = false;
    sync->is_overridden = sync->is_managed;
    write_anew(pg);
}

/* A file that could not be written is written again, a signal that was lost is sent again. */
static void insist(struct postgres *pg)
{
    struct pg_sync *sync = pg->sync;

    if (!sync->is_written) {
        pg->is_config_dirty = true;
        pg_apply_background(pg);
    } else if (instant_elapsed_min_ms(sync->signalled, clock_now()) > SIGNAL_MS) {
        sync->signalled = clock_now();
        guard_signal(pg->link, SIGHUP);
    }
}

void pg_sync_tick(struct postgres *pg)
{
    struct pg_sync *sync = pg->sync;

    if (!pg->probe.is_known || !pg_is_running(pg) || pg->is_stopping) {
        return;
    }
    if (!sync->is_set) {
        if (!sync->is_adopted) {
            sync->is_adopted = true;
            str_copy(sync->text, sizeof(sync->text), pg->probe.sync_names);
        }
        return;
    }
    if (is_overridden(pg)) {
        take_back(pg);
    } else if (is_loaded(pg)) {
        sync->is_written = true;
        sync->is_overridden = sync->is_overridden && is_primary(pg); /* there the barrier ends it */
    } else if (!pg->is_applying) {
        insist(pg);
    }
    if (is_primary(pg) && sync->is_written && sync->phase == PHASE_IDLE &&
        sync->settled != sync->serial) {
        load(pg);
    }
}

/* ---- steps of a promotion ---- */

int pg_step_sync_write(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    if (!pg->sync->is_set || is_loaded(pg)) {
        return STEP_DONE;
    }
    pg_apply(pg, pg->order.id);
    return 0;
}

static int wait_for_rule(struct postgres *pg, struct err *e)
{
    int r = pg_check_running(pg, e);

    if (r < 0 || is_loaded(pg)) {
        return r < 0 ? r : STEP_DONE;
    }
    return instant_elapsed_min_ms(pg->order.signalled, clock_now()) < LOAD_MS
               ? 0
               : FAIL(
                     e, ERR_TIMEOUT,
                     "the server does not load it\n"
                     "hint: its log tells what is wrong with its configuration files");
}

int pg_step_sync_load(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    if (!pg->sync->is_set || is_loaded(pg)) {
        return STEP_DONE;
    }
    guard_signal(pg->link, SIGHUP);
    pg->order.signalled = clock_now();
    return pg_order_wait(pg, wait_for_rule);
}
