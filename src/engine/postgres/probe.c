/* Probes: what the running server answers.
 *
 *   pace, poke, guard --> [open] --> main query --> not streaming: IDENTIFY_SYSTEM ---+--> facts
 *                           |           |--------> primary: checkpoint, pending ------|
 *                           +-----------+--> failure ---------------------------------+--> pace
 *
 * A starting server is watched, not asked: each connection would leave a line in its log, "the
 * database system is starting up". The last line of postmaster.pid tells how far it is; it is asked
 * when that says ready, and every 500 ms in case the file does not tell.
 *
 * The timeline of a standby is what takeovers compare, so it is never guessed: while streaming it
 * is the receiver's; else it comes from IDENTIFY_SYSTEM, the only thing that tells the timeline
 * which replay has really reached (history files in pg_wal and the control file are both ahead or
 * behind of it). That takes a replication connection. It is kept open while the standby streams as
 * well: when its primary dies others wait for this answer, and to be let in takes a server longer
 * than all the rest of it.
 *
 * The postmaster starts its memory anew under the same process number when a backend was killed
 * (restart_after_crash, on by default), and nobody tells the guard. But each session ends by that,
 * ours too, and none is let in before the new memory is there. So the first answer of a new session
 * ends what was concluded from that memory: how far the receiver got (a standby that follows nobody
 * then says how far it has replayed, which may be less than it has confirmed), and that the flag is
 * on which makes commits wait. What a session was lost for does not matter: to find out anew costs
 * nobody anything. Until that answer what was known stays true: it was on disk.
 *
 * Pace: 1 s; 5 ms until the server answers for the first time; 100 ms while it should stream and
 * does not; 2 ms while an order waits for facts. */
#include "base/assert.h"
#include "base/parse.h"
#include "engine/postgres/driver.h"
#include "io/clock.h"
#include "io/file.h"

#define PID_FILE_MAX 8192
#define PID_FILE_STATUS 8 /* its line */
#define KEEP_EVERY 30     /* probes */
#define PENDING_EVERY 30  /* probes; the count of pg_settings costs more than all the rest */

enum column {
    COLUMN_IN_RECOVERY,
    COLUMN_WAL_NAME,
    COLUMN_FLUSHED,
    COLUMN_RECEIVED,
    COLUMN_REPLAYED,
    COLUMN_REPLAYED_MS,
    COLUMN_STARTED_MS,
    COLUMN_LOADED_US,
    COLUMN_RECEIVER_PID,
    COLUMN_RECEIVER_STATUS,
    COLUMN_RECEIVER_TIMELINE,
    COLUMN_CONNINFO,
    COLUMN_SLOT,
    COLUMN_UPSTREAM,
    COLUMN_HAS_RESTORE,
    COLUMN_PARKED_PID,
    COLUMN_PAUSED_LIMITS,
    COLUMN_SYNC_NAMES,
    COLUMN_SYNC_MARK,
    COLUMN_STANDBYS,
    COLUMN_PRELOAD,
    COLUMN_FENCE_VERSION,
    COLUMN_FENCE_MODE,
    COLUMN_FENCE_PAGE,
    COLUMNS,
};

/* The same text serves 13 to 18. A primary's timeline comes from its current WAL file: the control
 * file has the new one only after the first checkpoint. */
static const char main_query[] =
    "SELECT r.v,"
    " CASE WHEN NOT r.v THEN pg_walfile_name(pg_current_wal_lsn()) END,"
    " CASE WHEN NOT r.v THEN pg_current_wal_flush_lsn() END,"
    " pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(),"
    " (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000)::bigint,"
    " (extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint,"
    " (extract(epoch FROM pg_conf_load_time()) * 1000000)::bigint,"
    " w.pid, w.status, w.received_tli,"
    " current_setting('primary_conninfo'), current_setting('primary_slot_name'),"
    " current_setting('baton.upstream', true),"
    " current_setting('restore_command') <> '',"
    " CASE WHEN r.v AND w.pid IS NULL THEN (SELECT pid FROM pg_stat_get_activity(NULL)"
    " WHERE backend_type = 'startup' AND wait_event = 'RecoveryRetrieveRetryInterval') END,"
    " CASE WHEN r.v AND pg_is_wal_replay_paused() THEN concat_ws(' ',"
    " current_setting('max_connections'), current_setting('max_worker_processes'),"
    " current_setting('max_wal_senders'), current_setting('max_prepared_transactions'),"
    " current_setting('max_locks_per_transaction')) END,"
    " current_setting('synchronous_standby_names'), current_setting('baton.sync_mark', true),"
    " CASE WHEN NOT r.v THEN (SELECT string_agg(s.flush_lsn || ' ' || a.application_name, E'\\n')"
    " FROM pg_stat_get_wal_senders() AS s JOIN pg_stat_get_activity(NULL) AS a ON a.pid = s.pid"
    " WHERE s.state = 'streaming') END,"
    " current_setting('shared_preload_libraries'),"
    " current_setting('baton_fence.version', true), current_setting('baton_fence.mode', true),"
    " current_setting('baton_fence.page', true)"
    " FROM (SELECT pg_is_in_recovery() AS v) AS r LEFT JOIN pg_stat_get_wal_receiver() AS w ON "
    "true";

static const char checkpoint_query[] = "SELECT timeline_id FROM pg_control_checkpoint()";
static const char pending_query[] = "SELECT count(*) FROM pg_settings WHERE pending_restart";

static void query(struct postgres *pg, const char *sql, session_done *done)
{
    session_query(pg->session, sql, PROBE_TIMEOUT_MS, done, pg);
}

/* ---- pace ---- */

static int64_t pace_ms(const struct postgres *pg)
{
    if (!pg->probe.is_known) {
        return pg->was_ready ? PROBE_PACE_REFUSED_MS : PROBE_PACE_STARTING_MS;
    }
    if (pg->order.wait != NULL) {
        return PROBE_PACE_WAITING_MS;
    }
    if (pg_sync_is_loading(pg)) {
        return PROBE_PACE_LOADING_MS;
    }
    return pg->lonely_count > 0 && pg->lonely_count < PROBES_LONELY_MAX ? PROBE_PACE_LONELY_MS
                                                                        : PROBE_PACE_MS;
}

/* Any word of the server, a refusal too (it has no connection left), shows that it works. */
static void hear(struct postgres *pg)
{
    pg->silent = (struct instant){0};
}

static void end_probe(struct postgres *pg)
{
    /* The order that waits may end here, and whoever hears of it may free the driver: each of these
     * looks first. */
    loop_timer_stop(pg->late);
    pg->is_probing = false;
    loop_timer_start(pg->pace, pg->probe_again ? 0 : pace_ms(pg));
    pg->probe_again = false;
    pg_stall_tick(pg);
    pg_order_poke(pg);
    pg_report(pg);
}

/* Nothing was learned, except how the server refused. */
static void fail_probe(struct postgres *pg, const struct err *why)
{
    if (!session_is_closed(pg->session) || strstr(err_text(why), "FATAL:") != NULL) {
        hear(pg);
    } else if (!instant_is_set(pg->silent)) {
        pg->silent = pg->probing.begun;
    }
    session_close(pg->session);
    pg->probe.is_late = pg->probe.is_known;
    str_copy(pg->connect_problem, sizeof(pg->connect_problem), err_text(why));
    end_probe(pg);
}

/* What the server does not yet know is asked of the running one: the upstream it was started with
 * by an earlier agent. */
static void adopt_upstream(struct postgres *pg)
{
    if (pg->upstream.is_known) {
        return;
    }
    pg->upstream.is_known = true;
    str_copy(pg->upstream.name, sizeof(pg->upstream.name), pg->probe.upstream);
    str_copy(pg->upstream.conninfo, sizeof(pg->upstream.conninfo), pg->probe.primary_conninfo);
    str_copy(pg->upstream.slot, sizeof(pg->upstream.slot), pg->probe.primary_slot_name);
    pg->is_revoked =
        pg->probe.in_recovery && pg->upstream.conninfo[0] == '\0' && !pg->probe.has_restore_command;
    pg_apply_background(pg);
}

/* On a standby the flag was on long before anybody can commit, as after any start (sync.c). */
static void forget_memory(struct postgres *pg)
{
    pg->was_lost = true;
    pg_detach_forget(pg);
    if (!pg->probe.in_recovery) {
        pg_sync_reset(pg);
    }
}

bool pg_is_lost(const struct postgres *pg)
{
    return pg->probe.is_known &&
           (session_is_closed(pg->session) || (pg->is_probing && pg->probing.is_first));
}

static void succeed(struct postgres *pg)
{
    bool is_anew = pg->probe.is_known && pg->probing.is_first;
    bool is_lonely;

    hear(pg);
    pg->probing.is_known = true;
    pg->probing.version = session_version(pg->session);
    pg->probe = pg->probing;
    pg->was_reached = true;
    pg->connect_problem[0] = '\0';
    pg->exit_problem[0] = '\0';
    pg->order.is_probe_fresh = true;
    pg->probe_count++;
    if (is_anew) {
        forget_memory(pg);
    }
    pg_fence_adopt(pg);
    adopt_upstream(pg);
    pg_detach_tick(pg);
    pg_outgrown_tick(pg);
    is_lonely = pg->probe.in_recovery && !pg->probe.is_streaming && !pg_is_detached(pg);
    pg->lonely_count = is_lonely ? pg->lonely_count + 1 : 0;
    pg_sync_tick(pg);
    pg_read_history(pg, pg->probe.position.timeline);
    pg_slots_tick(pg);
    pg_promote_file_tick(pg);
    end_probe(pg);
}

/* ---- a primary's further questions ---- */

static void on_pending(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;

    if (why != NULL && session_is_closed(pg->session)) {
        fail_probe(pg, why);
        return;
    }
    if (why == NULL) {
        pg->probing.pending_restart = !str_equal(PQgetvalue(result, 0, 0), "0");
    }
    succeed(pg);
}

static void ask_pending(struct postgres *pg)
{
    bool is_due;

    /* The server may have ended it while another connection was asked. */
    if (session_is_closed(pg->session)) {
        struct err gone = {0};

        err_set(&gone, ERR_DATABASE, __FILE__, __LINE__, "the server has closed the connection");
        fail_probe(pg, &gone);
        return;
    }
    is_due = !pg->probe.is_known || pg->probe.loaded_real_us != pg->probing.loaded_real_us ||
             pg->probe_count % PENDING_EVERY == 0;

    pg->probing.pending_restart = pg->probe.pending_restart;
    if (is_due && pg->order.wait == NULL) {
        query(pg, pending_query, on_pending);
    } else {
        /* Not asked now: leave a mark that makes the next probe ask. */
        if (is_due) {
            pg->probe_count = PENDING_EVERY - 1;
        }
        succeed(pg);
    }
}

static void on_checkpoint(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;
    int64_t timeline;

    if (why != NULL && session_is_closed(pg->session)) {
        fail_probe(pg, why);
        return;
    }
    /* The control file is read while it may be written: a wrong checksum is no news. */
    if (why == NULL && parse_int(PQgetvalue(result, 0, 0), 1, UINT32_MAX, &timeline, NULL) == 0) {
        pg->probing.is_checkpointed = pg->probing.position.timeline == (uint32_t)timeline;
    }
    ask_pending(pg);
}

static void go_on_primary(struct postgres *pg)
{
    pg->probing.is_checkpointed =
        pg->probe.is_known && !pg->probe.in_recovery && pg->probe.is_checkpointed;
    if (pg->probing.is_checkpointed ||
        (pg->order.wait != NULL && pg->order.args.order != ORDER_CHECKPOINT)) {
        ask_pending(pg);
    } else {
        query(pg, checkpoint_query, on_checkpoint);
    }
}

/* ---- a standby that does not stream ---- */

static void use_old_timeline(struct postgres *pg)
{
    pg->probing.position.timeline =
        pg->probe.position.timeline != 0 ? pg->probe.position.timeline : pg->look.position.timeline;
    pg->probing.position.lsn = MAX(pg->probing.received_lsn, pg->probing.replayed_lsn);
    ask_pending(pg);
}

static void on_identify(void *arg, const PGresult *result, const struct err *why);

static void open_identify(struct postgres *pg, session_done *done)
{
    struct session_options options;

    session_close(pg->identify);
    pg_session_options(pg, &options);
    options.is_replication = true;
    session_open(pg->identify, &options, PROBE_LATE_MS, done, pg);
}

static void ask_identify(struct postgres *pg, session_done *done)
{
    session_query(pg->identify, "IDENTIFY_SYSTEM", PROBE_LATE_MS, done, pg);
}

static void on_identify(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;
    bool was_kept = pg->is_identify_kept;
    int64_t timeline;
    uint64_t lsn;

    pg->is_identify_kept = false;
    /* It had died unseen: the old timeline may be wrong for what was received since. */
    if (why != NULL && was_kept && session_is_closed(pg->identify)) {
        open_identify(pg, on_identify);
        return;
    }
    if (why != NULL) {
        use_old_timeline(pg);
        return;
    }
    if (result == NULL) {
        ask_identify(pg, on_identify);
        return;
    }
    if (PQntuples(result) != 1 || PQnfields(result) < 3 ||
        parse_int(PQgetvalue(result, 0, 1), 1, UINT32_MAX, &timeline, NULL) < 0 ||
        lsn_parse(PQgetvalue(result, 0, 2), &lsn, NULL) < 0) {
        use_old_timeline(pg);
        return;
    }
    lsn = MAX(lsn, MAX(pg->probing.received_lsn, pg->probing.replayed_lsn));
    pg->probing.position = (struct position){(uint32_t)timeline, lsn};
    ask_pending(pg);
}

static void identify(struct postgres *pg)
{
    if (pg->order.is_promoting) {
        use_old_timeline(pg);
    } else if (session_is_idle(pg->identify)) {
        pg->is_identify_kept = true;
        ask_identify(pg, on_identify);
    } else {
        pg->is_identify_kept = false;
        open_identify(pg, on_identify);
    }
}

/* ---- a standby that streams ---- */

static void on_kept(void *arg, const PGresult *result, const struct err *why)
{
    /* If it is closed now it is opened at the next probe. */
    (void)arg;
    (void)result;
    (void)why;
}

/* Asked now and then, so that a dead one is seen; the answer is not needed. Not each time: with
 * log_replication_commands each question is a line in the server's log. */
static void keep_identify(struct postgres *pg)
{
    if (session_is_closed(pg->identify)) {
        open_identify(pg, on_kept);
    } else if (pg->probe_count % KEEP_EVERY == 0 && session_is_idle(pg->identify)) {
        ask_identify(pg, on_kept);
    }
}

/* ---- the main query ---- */

static int64_t number(const PGresult *result, enum column column)
{
    int64_t value = 0;

    IGNORE(
        parse_int(PQgetvalue(result, 0, (int)column), 0, INT64_MAX, &value, NULL) < 0,
        "NULL is 0, unknown");
    return value;
}

static uint64_t lsn(const PGresult *result, enum column column)
{
    uint64_t value = 0;

    IGNORE(lsn_parse(PQgetvalue(result, 0, (int)column), &value, NULL) < 0, "NULL is 0, unknown");
    return value;
}

static uint32_t wal_name_timeline(const char *name)
{
    AUTO_FREE char *digits = mem_dup_length(name, MIN(strlen(name), (size_t)8));
    uint64_t timeline = 0;

    IGNORE(parse_hex_u64(digits, &timeline, NULL) < 0, "NULL is 0, unknown");
    return (uint32_t)timeline;
}

static void copy(const PGresult *result, enum column column, char *buffer, size_t size)
{
    IGNORE(
        !str_copy(buffer, size, PQgetvalue(result, 0, (int)column)),
        "a longer one is not ours and differs in any case");
}

static void read_main(struct pg_probe *probe, const PGresult *result)
{
    probe->in_recovery = str_equal(PQgetvalue(result, 0, COLUMN_IN_RECOVERY), "t");
    probe->received_lsn = lsn(result, COLUMN_RECEIVED);
    probe->replayed_lsn = lsn(result, COLUMN_REPLAYED);
    probe->replayed_real_ms = number(result, COLUMN_REPLAYED_MS);
    probe->started_real_ms = number(result, COLUMN_STARTED_MS);
    probe->loaded_real_us = number(result, COLUMN_LOADED_US);
    probe->receiver_pid = (int)number(result, COLUMN_RECEIVER_PID);
    probe->is_streaming =
        probe->in_recovery && str_equal(PQgetvalue(result, 0, COLUMN_RECEIVER_STATUS), "streaming");
    copy(result, COLUMN_CONNINFO, probe->primary_conninfo, sizeof(probe->primary_conninfo));
    copy(result, COLUMN_SLOT, probe->primary_slot_name, sizeof(probe->primary_slot_name));
    copy(result, COLUMN_UPSTREAM, probe->upstream, sizeof(probe->upstream));
    copy(result, COLUMN_PAUSED_LIMITS, probe->paused_limits, sizeof(probe->paused_limits));
    copy(result, COLUMN_SYNC_NAMES, probe->sync_names, sizeof(probe->sync_names));
    copy(result, COLUMN_SYNC_MARK, probe->sync_mark, sizeof(probe->sync_mark));
    probe->has_restore_command = str_equal(PQgetvalue(result, 0, COLUMN_HAS_RESTORE), "t");
    probe->parked_pid = (int)number(result, COLUMN_PARKED_PID);
    if (!probe->in_recovery) {
        probe->position.timeline = wal_name_timeline(PQgetvalue(result, 0, COLUMN_WAL_NAME));
        probe->position.lsn = lsn(result, COLUMN_FLUSHED);
    } else if (probe->is_streaming) {
        probe->position.timeline = (uint32_t)number(result, COLUMN_RECEIVER_TIMELINE);
        probe->position.lsn = MAX(probe->received_lsn, probe->replayed_lsn);
    }
}

/* Of two connections under one name (the old one of a host that is gone, and the new one) what the
 * further one has confirmed is on its disk. */
void pg_note_standby(struct pg_probe *probe, const char *name, uint64_t flushed_lsn)
{
    struct engine_standby *standby = probe->standbys;
    const struct engine_standby *end = standby + probe->standby_count;

    while (standby < end && !str_equal(standby->name, name)) {
        standby++;
    }
    if (standby == end) {
        if (probe->standby_count == MEMBERS_MAX) {
            return;
        }
        probe->standby_count++;
        str_copy(standby->name, sizeof(standby->name), name);
    }
    standby->flushed_lsn = MAX(standby->flushed_lsn, flushed_lsn);
}

static bool is_standby(const struct postgres *pg, const char *name)
{
    return !pg->has_cluster || cluster_find(&pg->cluster, name) != NULL || pg_sync_names(pg, name);
}

/* Lines "LSN NAME"; whoever is no member (pg_basebackup, a tool) is left out. */
static void read_standbys(struct postgres *pg, const char *lines)
{
    AUTO_FREE char *text = mem_dup(lines);

    for (char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        char *next = line + length + (line[length] != '\0' ? 1 : 0);
        char *name = line + strcspn(line, " ");
        uint64_t flushed_lsn;

        line[length] = '\0';
        if (*name == ' ') {
            *name++ = '\0';
            if (lsn_parse(line, &flushed_lsn, NULL) == 0 && is_standby(pg, name)) {
                pg_note_standby(&pg->probing, name, flushed_lsn);
            }
        }
        line = next;
    }
}

static void read_fence(struct postgres *pg, const PGresult *result)
{
    pg_fence_read_preload(&pg->probing, PQgetvalue(result, 0, COLUMN_PRELOAD));
    pg->probing.fence = pg_fence_read(
        pg, PQgetvalue(result, 0, COLUMN_FENCE_VERSION), PQgetvalue(result, 0, COLUMN_FENCE_MODE),
        PQgetvalue(result, 0, COLUMN_FENCE_PAGE));
}

static void on_main(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;

    if (why != NULL) {
        fail_probe(pg, why);
        return;
    }
    if (PQntuples(result) != 1 || PQnfields(result) != COLUMNS) {
        struct err odd = {0};

        err_set(&odd, ERR_DATABASE, __FILE__, __LINE__, "the server's answer has another form");
        fail_probe(pg, &odd);
        return;
    }
    read_main(&pg->probing, result);
    read_standbys(pg, PQgetvalue(result, 0, COLUMN_STANDBYS));
    read_fence(pg, result);
    if (!pg->probing.in_recovery) {
        session_close(pg->identify);
        go_on_primary(pg);
    } else if (pg->probing.is_streaming) {
        keep_identify(pg);
        ask_pending(pg);
    } else {
        identify(pg);
    }
}

/* libpq speaks the agent's language, which is C: these are the ways in which nobody listens at
 * all. */
static bool is_nobody_there(const char *text)
{
    return strstr(text, "No such file or directory") != NULL ||
           strstr(text, "Connection refused") != NULL;
}

static void on_open(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;

    ASSERT(result == NULL);
    if (why != NULL) {
        pg->was_reached =
            pg->was_reached || (why->code != ERR_TIMEOUT && !is_nobody_there(err_text(why)));
        fail_probe(pg, why);
        return;
    }
    hear(pg);
    pg->probing.is_first = true;
    query(pg, main_query, on_main);
}

static void on_late(void *arg)
{
    struct postgres *pg = arg;

    pg->probe.is_late = true;
    if (!instant_is_set(pg->silent)) {
        pg->silent = pg->probing.begun;
    }
    pg_report(pg);
}

/* ---- beginning and end ---- */

static void begin(struct postgres *pg)
{
    struct session_options options;

    loop_timer_stop(pg->pace);
    loop_timer_stop(pg->blind);
    pg->is_blind = false;
    pg->watch = 0;
    pg->is_probing = true;
    pg->probing = (struct pg_probe){.begun = clock_now()};
    loop_timer_start(pg->late, PROBE_LATE_MS);
    if (session_is_idle(pg->session)) {
        query(pg, main_query, on_main);
        return;
    }
    session_close(pg->session);
    pg_session_options(pg, &options);
    session_open(pg->session, &options, PROBE_TIMEOUT_MS, on_open, pg);
}

/* ---- a server that is starting ---- */

struct watch_job {
    struct pg_job job;
    char path[PG_PATH_SIZE];
    uint64_t number;
    int64_t pid;
    bool is_up;    /* the server has written the file: its sockets are open */
    bool is_ready; /* and it lets somebody in */
};

/* The process is in the first line, PM_STATUS in the eighth (pidfile.h), which comes last. */
static void work_watch(struct pg_job *job)
{
    struct watch_job *own = (struct watch_job *)job;
    AUTO_FREE char *text = NULL;
    char *line;
    int64_t pid;

    job->result = file_read(own->path, PID_FILE_MAX, &text, NULL, &job->err);
    if (job->result < 0) {
        return;
    }
    ASSERT(text != NULL);
    line = text;
    for (int number = 1; line != NULL && number < PID_FILE_STATUS; number++) {
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    text[strcspn(text, "\n")] = '\0';
    if (line == NULL || parse_int(text, 1, INT32_MAX, &pid, NULL) < 0 || pid != own->pid) {
        return;
    }
    own->is_ready = str_starts(line, "ready") || str_starts(line, "standby");
    own->is_up = own->is_ready || str_starts(line, "starting");
}

static void done_watch(struct postgres *pg, struct pg_job *job)
{
    const struct watch_job *own = (const struct watch_job *)job;

    if (pg->watch != own->number) {
        return;
    }
    pg->watch = 0;
    pg->was_reached = pg->was_reached || own->is_up;
    pg->was_ready = own->is_ready;
    if (own->is_ready) {
        begin(pg);
    } else {
        end_probe(pg);
    }
}

static void watch(struct postgres *pg)
{
    struct watch_job *job = mem_alloc(sizeof(*job));

    loop_timer_stop(pg->pace);
    pg->is_probing = true;
    if (!pg->is_blind) {
        pg->is_blind = true;
        loop_timer_start(pg->blind, PROBE_BLIND_MS);
    }
    job->job.work = work_watch;
    job->job.done = done_watch;
    job->number = pg->watch = ++pg->watch_count;
    job->pid = pg->guard.pid;
    str_format(job->path, sizeof(job->path), "%s/postmaster.pid", pg->paths.data_dir);
    pg_job_start(pg, &job->job);
}

static void on_blind(void *arg)
{
    begin(arg);
}

void pg_probe_init(struct postgres *pg)
{
    pg->late = loop_timer_new(pg->loop, on_late, pg);
    pg->blind = loop_timer_new(pg->loop, on_blind, pg);
}

void pg_probe_fini(struct postgres *pg)
{
    loop_timer_free(pg->late);
    loop_timer_free(pg->blind);
}

void pg_probe_start(struct postgres *pg)
{
    if (!pg_is_running(pg)) {
        pg_look(pg);
        loop_timer_start(pg->pace, PROBE_PACE_MS);
        return;
    }
    if (pg->is_stopping) {
        pg_report(pg);
        return;
    }
    if (pg->is_probing) {
        pg->probe_again = true;
        return;
    }
    if (pg->probe.is_known) {
        begin(pg);
    } else {
        watch(pg);
    }
}

void pg_probe_soon(struct postgres *pg)
{
    if (pg->is_probing) {
        pg->probe_again = true;
    } else if (pg_is_running(pg)) {
        loop_timer_start(pg->pace, 0);
    }
}

void pg_probe_stop(struct postgres *pg)
{
    loop_timer_stop(pg->late);
    loop_timer_stop(pg->pace);
    loop_timer_stop(pg->blind);
    pg->is_blind = false;
    pg->watch = 0;
    session_close(pg->session);
    session_close(pg->identify);
    pg->is_probing = false;
    pg->probe_again = false;
}

void pg_probe_reset(struct postgres *pg)
{
    pg_probe_stop(pg);
    pg->probe = (struct pg_probe){0};
    hear(pg);
    pg->detach = (struct pg_detach){0};
    pg->was_lost = false;
    pg_outgrown_reset(pg);
    pg->probe_count = 0;
    pg->was_reached = false;
    pg->was_ready = false;
    pg->connect_problem[0] = '\0';
    pg->history = (struct timeline_history){0};
}
