/* REWIND: make the data of a server that is down follow a peer's history again, with pg_rewind.
 *
 *   look -> DOWN? -> passfile -> mark, take standby.signal away, keep postgresql.base.conf
 *        -> pg_rewind -> write the configuration -> mark away -> look -> behind a header? write
 *
 * pg_rewind copies the configuration of the source over ours, and leaves a directory that cannot be
 * started when it is interrupted. The mark (DATA.rewinding, synced) makes that visible: the
 * directory counts as torn until a clone has replaced it. It lies beside the data because it must
 * last as long as they do: runtime_dir may be in memory, and a host that is reset in the middle of
 * a rewind would come back with half-changed data that look whole. While the rewind runs nobody
 * looks: the status stays DOWN, as it was before.
 * standby.signal must go because pg_rewind runs a single-user server when the last stop was not
 * clean, which refuses to be a standby; every start puts it back.
 *
 * pg_rewind asks the source for its insert position, up to which the rewound data must be replayed
 * before the server opens. When the source's log ends with a page or a segment, that is behind the
 * next header, where no record ends: the server stays closed until the source writes once more,
 * for ever beside an idle one. So it is made to: a transaction that does nothing but take its
 * number. That changes nothing, needs no right, waits for no standby (the one that is rewound may
 * be the only one), and the server's WAL writer flushes it within a second. Not from the primary's
 * side: it cannot know who waits, and with archive_timeout, which leaves it at the beginning of a
 * segment each time, it would fill a segment whenever it is idle. */
#include "base/assert.h"
#include "engine/postgres/driver.h"
#include "io/file.h"

struct rewind_job {
    struct pg_job job;
    struct pg_paths paths;
    bool is_end;
    char *base_conf;
};

static int begin(struct rewind_job *own, struct err *e)
{
    char path[PG_PATH_SIZE];
    int r;

    /* pg_rewind may run a single-user server, which minds it as any server does. */
    r = pg_remove_stale_locks(own->paths.data_dir, NULL, 0, 0, e);
    if (r < 0) {
        return r;
    }
    str_format(path, sizeof(path), "%s/postgresql.base.conf", own->paths.data_dir);
    r = file_read(path, PG_TEXT_MAX, &own->base_conf, NULL, e);
    if (r < 0 && r != ERR_NOT_FOUND) {
        return r;
    }
    r = file_write(own->paths.rewinding, "", 0, 0600, e);
    if (r < 0) {
        return r;
    }
    str_format(path, sizeof(path), "%s/standby.signal", own->paths.data_dir);
    return file_remove(path, e);
}

static void work_rewind(struct pg_job *job)
{
    struct rewind_job *own = (struct rewind_job *)job;

    job->result =
        own->is_end ? file_remove(own->paths.rewinding, &job->err) : begin(own, &job->err);
}

static void done_rewind(struct postgres *pg, struct pg_job *job)
{
    struct rewind_job *own = (struct rewind_job *)job;

    if (job->order_id != pg->order.id) {
        return;
    }
    if (job->result < 0) {
        pg_order_fail(pg, job->result, &job->err);
        return;
    }
    pg->order.is_rewinding = !own->is_end;
    if (!own->is_end) {
        pg->order.base_conf = TAKE(own->base_conf);
    }
    pg_order_next(pg);
}

static void fini_rewind(struct pg_job *job)
{
    mem_free(((struct rewind_job *)job)->base_conf);
}

static int start_job(struct postgres *pg, bool is_end)
{
    struct rewind_job *job = mem_alloc(sizeof(*job));

    job->job.work = work_rewind;
    job->job.done = done_rewind;
    job->job.fini = fini_rewind;
    job->paths = pg->paths;
    job->is_end = is_end;
    return pg_order_job(pg, &job->job);
}

/* ---- steps ---- */

static int step_check(struct postgres *pg, struct err *e)
{
    if (pg->look.state != SERVER_DOWN || pg->look.foreign_pid != 0 || pg->look.is_torn) {
        return FAIL(
            e, ERR_CONFLICT, "the data directory cannot be rewound: %s",
            pg->look.problem[0] != '\0' ? pg->look.problem : server_state_text(pg->look.state));
    }
    pg_set_upstream(pg, &pg->order.args.peer);
    if (pg->upstream.name[0] == '\0') {
        return FAIL(
            e, ERR_INVALID, "the address of %s is not usable: %s", pg->order.args.peer.name,
            pg->order.args.peer.conn_url);
    }
    return STEP_DONE;
}

static int step_begin(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    pg->order.is_rewinding = true;
    return start_job(pg, false);
}

static void add_source(const struct postgres *pg, struct str *conninfo)
{
    pg_peer_conninfo(
        pg, &pg->order.args.peer, &pg->config->postgresql.rewind, pg->config->name, "postgres",
        conninfo);
}

static int step_rewind(struct postgres *pg, struct err *e)
{
    AUTO(arena_free) struct arena *arena = arena_new(PG_TEXT_MAX);
    AUTO_STR struct str conninfo = STR_INIT(PG_CONNINFO_SIZE);
    char program[PG_PATH_SIZE];
    const char *const argv[] = {
        program, arena_format(arena, "--target-pgdata=%s", pg->paths.data_dir), NULL, NULL, NULL};
    const char *whole[ARRAY_LEN(argv)];
    size_t count = 2;

    add_source(pg, &conninfo);
    pg_program(pg, "pg_rewind", program);
    memcpy(whole, argv, sizeof(argv));
    whole[count++] = arena_format(arena, "--source-server=%s", str_text(&conninfo));
    if (pg_has_restore_command(pg)) {
        whole[count++] = "--restore-target-wal";
    }
    return pg_order_child(pg, whole, NULL, e);
}

static int step_write(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    pg_apply(pg, pg->order.id);
    return 0;
}

static int step_end(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return start_job(pg, true);
}

/* The mark is gone, the data are whole: when this fails the server may still be started. */
static int step_write_at_source(struct postgres *pg, struct err *e)
{
    AUTO_STR struct str conninfo = STR_INIT(PG_CONNINFO_SIZE);
    char program[PG_PATH_SIZE];

    if (!wal_is_behind_header(pg->look.position.lsn, pg->look.wal_segment_size)) {
        return STEP_DONE;
    }
    add_source(pg, &conninfo);
    pg_program(pg, "psql", program);
    {
        const char *const argv[] = {
            program, "-XqAt", "-w", "-d", str_text(&conninfo), "-c", "SELECT pg_current_xact_id()",
            NULL};

        return pg_order_child(pg, argv, NULL, e);
    }
}

const struct order_step pg_rewind_steps[] = {
    {"look", pg_order_look},
    {"check", step_check},
    {"write the passfile", pg_step_passfile},
    {"prepare the data directory", step_begin},
    {"pg_rewind", step_rewind},
    {"write the configuration", step_write},
    {"remove the mark", step_end},
    {"look at the result", pg_order_look},
    {"write at the source", step_write_at_source},
    {NULL, NULL},
};
