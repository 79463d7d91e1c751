/* What the data directory tells while no server runs in it: a job on the thread pool, so that a
 * hung disk shows as a look that does not end and never stops the loop.
 *
 * The end of a log that was closed cleanly is the end of the shutdown checkpoint's record; its WAL
 * pages are read only when the control file changed since the last look.
 *
 * While a rewind changes the directory nobody looks: what the last look saw stays, and the mark
 * that it leaves if it is interrupted is no news before its end.
 *
 * A server that ended although no order wanted it to may have been ended by hand, past baton, to be
 * started again: pg_ctl restart. A primary that comes back so is writable, without the lease and
 * without a guard, while another one takes over. So the first look makes the directory one of a
 * standby, before anybody hears that the server is down; and whatever is found running there is
 * killed, as a server is that was promoted by hand: baton starts its own. Not in maintenance mode,
 * which is when somebody may do that, nor before the store has told whether it is on. A server that
 * is found where none of ours has ended (a new agent beside an old installation) is told of, and
 * left alone. */
#include "base/assert.h"
#include "base/parse.h"
#include "codec/codec.h"
#include "engine/postgres/conffile.h"
#include "engine/postgres/driver.h"
#include "engine/postgres/versions.h"
#include "io/file.h"
#include "io/process.h"

#define SMALL_FILE_MAX 65536
#define LOG_TAIL 65536
#define READS_MAX 5 /* of a control file that the server may be writing at this moment */
#define END_MS 500  /* to find the end of a log in; the next look tries again */
#define MODE_FORBIDDEN 0027
#define FOLDER_LENGTH_MAX 85 /* with /.s.PGSQL.65535 and /guard.sock below the kernel's 107 */

struct look_job {
    struct pg_job job;
    struct pg_paths paths;
    struct pg_look before;
    struct pg_look look;
    struct position seen_end;
    bool is_left;
    bool wants_exit_problem;
    char exit_problem[160];
};

struct history_job {
    struct pg_job job;
    char data_dir[PG_PATH_SIZE];
    uint32_t timeline;
    struct timeline_history history;
};

/* A sentence, and its hint on a line of its own: `baton list` looks for it there. */
static void set_problem(struct pg_look *look, const struct err *why)
{
    str_copy(look->problem, sizeof(look->problem), err_text(why));
    for (char *at = look->problem; *at != '\0'; at++) {
        *at = *at == '\n' && !str_starts(at + 1, "hint:") ? ' ' : *at;
    }
}

/* ---- history ---- */

static int read_history(
    const char *data_dir, uint32_t timeline, struct timeline_history *ret, struct err *e)
{
    char name[HISTORY_NAME_SIZE];
    char path[PG_PATH_SIZE];
    AUTO_FREE char *text = NULL;
    int r;

    if (timeline <= 1) {
        return history_parse("", timeline, ret, e);
    }
    history_name_format(timeline, name);
    str_format(path, sizeof(path), "%s/pg_wal/%s", data_dir, name);
    r = file_read(path, SMALL_FILE_MAX, &text, NULL, e);
    if (r < 0) {
        return r;
    }
    return history_parse(text, timeline, ret, e);
}

static void work_history(struct pg_job *job)
{
    struct history_job *own = (struct history_job *)job;

    job->result = read_history(own->data_dir, own->timeline, &own->history, &job->err);
}

static void done_history(struct postgres *pg, struct pg_job *job)
{
    struct history_job *own = (struct history_job *)job;

    if (pg->history_wanted != own->timeline) {
        return;
    }
    pg->history_wanted = 0; /* a missing file is looked for again after the next probe */
    if (job->result == 0) {
        pg->history = own->history;
        pg_report(pg);
        pg_order_poke(pg);
    }
}

void pg_read_history(struct postgres *pg, uint32_t timeline)
{
    struct history_job *job;

    if (timeline == 0 || pg->history.timeline == timeline || pg->history_wanted == timeline) {
        return;
    }
    pg->history_wanted = timeline;
    job = mem_alloc(sizeof(*job));
    job->job.work = work_history;
    job->job.done = done_history;
    job->timeline = timeline;
    str_copy(job->data_dir, sizeof(job->data_dir), pg->paths.data_dir);
    pg_job_start(pg, &job->job);
}

/* ---- the end of the log ---- */

/* The page of WAL at SLICE's end, if the segment's file has it. */
static int add_page(
    const struct look_job *own, const struct control *control, struct wal_slice *slice,
    unsigned char *room, struct err *e)
{
    uint64_t lsn = slice->lsn + slice->length;
    char name[WAL_NAME_SIZE];
    char path[PG_PATH_SIZE];
    AUTO_FREE char *page = NULL;
    size_t length;
    int r;

    wal_name_format(control->timeline, lsn, control->wal_segment_size, name);
    str_format(path, sizeof(path), "%s/pg_wal/%s", own->paths.data_dir, name);
    r = file_read_part(path, lsn % control->wal_segment_size, WAL_PAGE_SIZE, &page, &length, e);
    if (r < 0) {
        return r;
    }
    memcpy(room, page, length);
    slice->length += length;
    return 0;
}

/* The checkpoint record is short: it ends in its own page or in the next one, which may be of the
 * next segment. */
static int find_log_end(
    const struct look_job *own, const struct control *control, uint64_t *ret_lsn, struct err *e)
{
    AUTO_FREE unsigned char *bytes = mem_alloc((size_t)2 * WAL_PAGE_SIZE);
    struct wal_slice slice = {
        .bytes = bytes,
        .lsn = control->checkpoint_lsn - control->checkpoint_lsn % WAL_PAGE_SIZE,
        .segment_size = control->wal_segment_size};
    struct wal_record record;
    int r = add_page(own, control, &slice, bytes, e);

    if (r < 0) {
        return r;
    }
    r = wal_record_decode(&slice, control->checkpoint_lsn, &record, e);
    if (r == ERR_UNAVAILABLE && slice.length == WAL_PAGE_SIZE) {
        r = add_page(own, control, &slice, bytes + WAL_PAGE_SIZE, e);
        if (r < 0) {
            return r;
        }
        r = wal_record_decode(&slice, control->checkpoint_lsn, &record, e);
    }
    if (r < 0) {
        return r;
    }
    if (!wal_is_shutdown_checkpoint(&record)) {
        return FAIL(e, ERR_CORRUPT, "the control file says shut down, but the WAL does not");
    }
    *ret_lsn = record.end_lsn;
    return 0;
}

/* Once for each end: whatever runs the server forgets it (server.c). */
static void set_crash_end(struct look_job *own, const struct control *control)
{
    struct pg_look *look = &own->look;
    const struct pg_look *before = &own->before;

    if (!look->was_primary) {
        return;
    }
    if (before->is_end_known && before->system_id == control->system_id &&
        before->checkpoint_lsn == control->checkpoint_lsn &&
        before->control_real_s == control->modified_real_s) {
        look->is_end_known = true;
        look->position = before->position;
    } else {
        look->is_end_known =
            pg_find_end(own->paths.data_dir, control, own->seen_end, END_MS, &look->position);
    }
}

static void set_position(struct look_job *own, const struct control *control)
{
    struct pg_look *look = &own->look;
    struct err why = {0};
    uint64_t end = 0;

    look->position = (struct position){control->timeline, control->checkpoint_lsn};
    /* A standby that was killed has at least this: its pages need the log up to there. */
    if (control->state == CONTROL_IN_ARCHIVE_RECOVERY &&
        control->minimum_recovery_lsn > control->checkpoint_lsn) {
        look->position =
            (struct position){control->minimum_recovery_timeline, control->minimum_recovery_lsn};
    }
    if (control->state == CONTROL_SHUTDOWNED_IN_RECOVERY) {
        look->was_clean = true;
        look->position =
            (struct position){control->minimum_recovery_timeline, control->minimum_recovery_lsn};
        return;
    }
    if (control->state != CONTROL_SHUTDOWNED) {
        set_crash_end(own, control);
        return;
    }
    if (own->before.was_clean && own->before.checkpoint_lsn == control->checkpoint_lsn &&
        own->before.system_id == control->system_id &&
        own->before.position.timeline == control->timeline) {
        end = own->before.position.lsn;
    } else if (find_log_end(own, control, &end, &why) < 0) {
        set_problem(look, &why);
        return;
    }
    look->was_clean = true;
    look->is_end_known = look->was_primary;
    look->position.lsn = end;
}

/* ---- the directory ---- */

int pg_read_control(const char *data_dir, struct control *ret, struct err *e)
{
    char path[PG_PATH_SIZE];
    int r = 0;

    str_format(path, sizeof(path), "%s/global/pg_control", data_dir);
    for (unsigned try = 0; try < READS_MAX; try++) {
        AUTO_FREE char *bytes = NULL;
        size_t length;

        r = file_read(path, SMALL_FILE_MAX, &bytes, &length, e);
        if (r < 0) {
            return r;
        }
        r = control_decode((const unsigned char *)bytes, length, ret, e);
        if (r == 0) {
            return 0;
        }
    }
    return r;
}

static int read_major(const char *data_dir, int *ret, struct err *e)
{
    char path[PG_PATH_SIZE];
    AUTO_FREE char *text = NULL;
    int64_t major;
    int r;

    str_format(path, sizeof(path), "%s/PG_VERSION", data_dir);
    r = file_read(path, 64, &text, NULL, e);
    if (r == ERR_NOT_FOUND) {
        return FAIL(
            e, ERR_CORRUPT, "%s is not empty but has no PG_VERSION: not a PostgreSQL database",
            data_dir);
    }
    if (r < 0) {
        return r;
    }
    text[strcspn(text, "\r\n")] = '\0';
    if (parse_int(text, 1, 999, &major, NULL) < 0) {
        return FAIL(e, ERR_UNSUPPORTED, "%s: PostgreSQL %.16s is not supported", data_dir, text);
    }
    if (major < PG_VERSION_FIRST || major > PG_VERSION_LAST) {
        return FAIL(
            e, ERR_UNSUPPORTED, "%s: PostgreSQL %d is not supported, %d to %d are", data_dir,
            (int)major, PG_VERSION_FIRST, PG_VERSION_LAST);
    }
    *ret = (int)major;
    return 0;
}

static int check_rights(const struct pg_paths *paths, struct err *e)
{
    struct file_facts facts;
    int r = file_facts(paths->data_dir, &facts, e);

    if (r < 0) {
        return r;
    }
    if (facts.owner != paths->os_user) {
        return FAIL(
            e, ERR_DENIED, "%s belongs to user %u, not to user %u who runs baton", paths->data_dir,
            facts.owner, paths->os_user);
    }
    if ((facts.mode & MODE_FORBIDDEN) != 0) {
        return FAIL(
            e, ERR_DENIED, "%s has mode %04o, PostgreSQL wants 0700 or 0750", paths->data_dir,
            facts.mode);
    }
    return 0;
}

static bool exists(const char *folder, const char *name)
{
    char path[PG_PATH_SIZE];
    enum file_kind kind;

    str_format(path, sizeof(path), "%s%s%s", folder, name[0] != '\0' ? "/" : "", name);
    return file_kind(path, &kind, NULL) == 0 && kind != FILE_MISSING;
}

/* Nothing in there counts but whose it was, and who uses it. */
static int look_at_torn(struct look_job *own, struct err *e)
{
    struct pg_look *look = &own->look;
    const char *data_dir = own->paths.data_dir;
    struct control control;

    look->is_torn = true;
    IGNORE(read_major(data_dir, &look->major, NULL), "0: the newest programs");
    if (pg_read_control(data_dir, &control, NULL) == 0) {
        look->system_id = control.system_id;
    }
    look->foreign_pid = pg_find_server(data_dir);
    str_copy(
        look->problem, sizeof(look->problem),
        "a rewind was interrupted, the data must be copied anew");
    return versions_find_programs(
        own->paths.bin_configured, look->major, look->bin_dir, sizeof(look->bin_dir), e);
}

/* A start before anybody has told the rule of commits keeps it. */
static void read_sync_names(struct pg_look *look, const char *data_dir)
{
    char path[PG_PATH_SIZE];
    AUTO_FREE char *text = NULL;

    str_format(path, sizeof(path), "%s/postgresql.conf", data_dir);
    look->has_sync_names =
        file_read(path, PG_TEXT_MAX, &text, NULL, NULL) == 0 && str_starts(text, CONFFILE_HEADER) &&
        conffile_find(
            text, "synchronous_standby_names", look->sync_names, sizeof(look->sync_names), NULL);
}

/* Before anybody is told that the server is down, and others take over. */
static void make_standby(const struct look_job *own)
{
    char path[PG_PATH_SIZE];
    bool is_changed;

    str_format(path, sizeof(path), "%s/standby.signal", own->paths.data_dir);
    IGNORE(
        file_put_if_changed(path, "", 0600, &is_changed, NULL) < 0,
        "each start of ours makes sure of it");
}

static int look_inside(struct look_job *own, struct err *e)
{
    struct pg_look *look = &own->look;
    const char *data_dir = own->paths.data_dir;
    struct control control;
    int r = read_major(data_dir, &look->major, e);

    if (r < 0) {
        return r;
    }
    r = pg_read_control(data_dir, &control, e);
    if (r < 0) {
        return err_wrap(e, r, "%s/global/pg_control", data_dir);
    }
    if (own->is_left) {
        make_standby(own);
    }
    look->system_id = control.system_id;
    look->checkpoint_lsn = control.checkpoint_lsn;
    look->control_real_s = control.modified_real_s;
    look->redo_lsn = control.redo_lsn;
    look->wal_segment_size = control.wal_segment_size;
    look->limits = control.limits;
    look->foreign_pid = pg_find_server(data_dir);
    look->was_primary =
        !exists(data_dir, "backup_label") &&
        (control.state == CONTROL_IN_PRODUCTION || control.state == CONTROL_SHUTDOWNED ||
         control.state == CONTROL_SHUTDOWNING || control.state == CONTROL_IN_CRASH_RECOVERY);
    r = versions_find_programs(
        own->paths.bin_configured, look->major, look->bin_dir, sizeof(look->bin_dir), e);
    if (r < 0) {
        return r;
    }
    pg_fence_look(&own->paths, look);
    if (look->foreign_pid == 0) {
        set_position(own, &control);
    }
    read_sync_names(look, data_dir);
    IGNORE(read_history(data_dir, look->position.timeline, &look->history, NULL), "may be missing");
    return 0;
}

static int look_at(struct look_job *own, struct err *e)
{
    struct pg_look *look = &own->look;
    enum file_kind kind;
    int r = file_kind(own->paths.data_dir, &kind, e);

    look->state = SERVER_BROKEN;
    if (r < 0) {
        struct err other = {0};

        /* A folder of somebody else cannot even be listed: that is what to tell. */
        if (check_rights(&own->paths, &other) == ERR_DENIED) {
            *e = other;
            return ERR_DENIED;
        }
        return r;
    }
    if (kind != FILE_MISSING) {
        IGNORE(file_is_mount(own->paths.data_dir, &look->is_mount, NULL), "it cannot be told");
    }
    switch (kind) {
    case FILE_MISSING:
    case FILE_EMPTY_FOLDER:
        look->state = SERVER_ABSENT;
        return versions_find_programs(
            own->paths.bin_configured, 0, look->bin_dir, sizeof(look->bin_dir), e);
    case FILE_REGULAR:
    case FILE_OTHER:
        return FAIL(e, ERR_CORRUPT, "%s is not a folder", own->paths.data_dir);
    case FILE_FOLDER:
        break;
    }
    r = check_rights(&own->paths, e);
    if (r < 0) {
        return r;
    }
    /* Until 2026-11-26 the mark lay in the other folder. */
    r = exists(own->paths.rewinding, "") || exists(own->paths.runtime_dir, "rewinding")
            ? look_at_torn(own, e)
            : look_inside(own, e);
    if (r == 0) {
        look->state = SERVER_DOWN;
    }
    return r;
}

/* What clients are told while the server is on its way down or up again: not why it is. */
static bool is_said_to_a_client(const char *words)
{
    words += strspn(words, " ");
    return str_starts(words, "the database system is ") || str_starts(words, "terminating ");
}

void pg_last_words(const char *text, char *ret, size_t size)
{
    static const char *const kinds[] = {"FATAL:", "PANIC:"};
    const char *found = NULL;

    for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
        for (const char *at = strstr(text, kinds[kind]); at != NULL;
             at = strstr(at + 1, kinds[kind])) {
            if (!is_said_to_a_client(at + strlen(kinds[kind])) && (found == NULL || at > found)) {
                found = at;
            }
        }
    }
    if (found != NULL) {
        str_format(ret, size, "%.*s", (int)strcspn(found, "\n"), found);
    }
}

/* The last thing that the server had to say before it ended. */
static void find_last_words(struct look_job *own)
{
    AUTO_FREE char *text = NULL;
    struct file_facts facts;
    int64_t from;

    if (file_facts(own->paths.log, &facts, NULL) < 0) {
        return;
    }
    from = MAX(facts.size - LOG_TAIL, 0);
    if (file_read_part(own->paths.log, (uint64_t)from, LOG_TAIL, &text, NULL, NULL) < 0) {
        return;
    }
    pg_last_words(text, own->exit_problem, sizeof(own->exit_problem));
}

static int prepare_folder(struct look_job *own, struct err *e)
{
    int r;

    if (strlen(own->paths.runtime_dir) > FOLDER_LENGTH_MAX) {
        return FAIL(
            e, ERR_LIMIT, "runtime_dir is longer than %d bytes, too long for a socket",
            FOLDER_LENGTH_MAX);
    }
    r = file_make_folder(own->paths.runtime_dir, 0700, e);
    own->look.has_folder = r == 0;
    return r;
}

static void work_look(struct pg_job *job)
{
    struct look_job *own = (struct look_job *)job;

    job->result = prepare_folder(own, &job->err);
    if (job->result < 0) {
        own->look.state = SERVER_BROKEN;
    } else {
        job->result = look_at(own, &job->err);
    }
    if (job->result < 0) {
        set_problem(&own->look, &job->err);
    }
    if (own->wants_exit_problem) {
        find_last_words(own);
    }
}

/* The two orders have the directory for themselves, and the first one's server is ours. */
static bool is_left(const struct postgres *pg)
{
    enum engine_order order = pg->order.args.order;

    return pg->is_left && pg->has_guard && !pg_is_running(pg) && pg->has_cluster &&
           !pg->cluster.settings.is_paused && order != ORDER_START && order != ORDER_REWIND;
}

static void end_foreign(struct postgres *pg)
{
    if (pg->look.foreign_pid != 0 && is_left(pg) &&
        process_kill_in(pg->paths.data_dir, "postgres") > 0) {
        str_format(
            pg->exit_problem, sizeof(pg->exit_problem),
            "the server was ended past baton and started again (process %d): that one was killed",
            pg->look.foreign_pid);
    }
}

static void done_look(struct postgres *pg, struct pg_job *job)
{
    struct look_job *own = (struct look_job *)job;

    pg->is_looking = false;
    pg->looks++;
    if (own->exit_problem[0] != '\0') {
        str_copy(pg->exit_problem, sizeof(pg->exit_problem), own->exit_problem);
    }
    if (!pg->is_look_stale && !pg->order.is_rewinding) {
        pg->look = own->look;
        end_foreign(pg);
    }
    pg->is_look_stale = false;
    if (pg->look_again) {
        pg->look_again = false;
        pg_look(pg);
    }
    pg_looked(pg); /* also when the next one has begun: whoever asks all the time hears something */
}

void pg_look(struct postgres *pg)
{
    struct look_job *job;

    if (pg->is_looking) {
        pg->look_again = true;
        return;
    }
    if (pg->order.is_rewinding) {
        pg_report(pg);
        return;
    }
    pg->is_looking = true;
    job = mem_alloc(sizeof(*job));
    job->job.work = work_look;
    job->job.done = done_look;
    job->paths = pg->paths;
    job->before = pg->look;
    job->seen_end = pg->seen_end;
    job->is_left = is_left(pg);
    job->wants_exit_problem = pg->wants_exit_problem;
    pg->wants_exit_problem = false;
    pg_job_start(pg, &job->job);
}
