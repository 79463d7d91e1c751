/* The configuration that the server gets: rendered on the loop, written by a job.
 *
 *   parameters, members, upstream --render--> texts --job--> files (only those that differ)
 *        order:      the order goes on when they are written
 *        background: the running server is told to reload if a file changed
 *
 * For a start the job also makes the directory one of a standby (standby.signal, synced), takes out
 * of postgresql.auto.conf what would win over ours, and removes stale locks (stale.c). One job at a
 * time; what changes meanwhile is written by the next. What every start writes anew is not synced:
 * a sync in the way of a switchover is time without a primary. */
#include "base/assert.h"
#include "codec/codec.h"
#include "engine/postgres/conffile.h"
#include "engine/postgres/driver.h"
#include "engine/postgres/hba.h"
#include "io/file.h"

#define LOG_KEPT_MAX (INT64_C(1) << 20)
#define CONNECT_TIMEOUT "5"

enum { TEXT_CONF, TEXT_HBA, TEXT_IDENT, TEXT_PASS, TEXTS };

struct apply_job {
    struct pg_job job;
    struct pg_paths paths;
    char *texts[TEXTS];
    char *base_conf; /* put in place of postgresql.base.conf; NULL: leave it */
    char sync_mark[PG_MARK_SIZE];
    char socket_dir[PG_PATH_SIZE]; /* "": only that in runtime_dir */
    int port;
    bool is_start;
    bool is_sync_managed; /* ALTER SYSTEM must not win over the rule */
    bool is_changed;
};

/* ---- the upstream ---- */

bool pg_use_slots(const struct postgres *pg)
{
    return pg->config->postgresql.use_slots && (!pg->has_cluster || pg->cluster.settings.use_slots);
}

/* When the other side is gone without a word, the kernel must notice: a receiver that is still
 * connecting has no limit of its own (connect_timeout is not for it), and waits for ever. A server
 * that is only stopped has a kernel that answers, so this ends nothing of it. */
static const struct {
    const char *key;
    const char *value;
} patience[] = {
    {"connect_timeout", CONNECT_TIMEOUT}, {"keepalives_idle", "5"},
    {"keepalives_interval", "2"},         {"keepalives_count", "3"},
    {"tcp_user_timeout", "15000"},
};

void pg_peer_conninfo(
    const struct postgres *pg, const struct engine_peer *peer, const struct account *account,
    const char *application, const char *database, struct str *out)
{
    struct url_parts url;
    char port[16];

    if (peer->name[0] == '\0' || url_parse(peer->conn_url, &url, NULL) < 0) {
        return;
    }
    str_format(port, sizeof(port), "%d", url.port != 0 ? url.port : 5432);
    url_add_conninfo(out, "host", url.host);
    url_add_conninfo(out, "port", port);
    url_add_conninfo(out, "user", account->username);
    if (database != NULL) {
        url_add_conninfo(out, "dbname", database);
    }
    url_add_conninfo(out, "passfile", pg->paths.passfile);
    url_add_conninfo(out, "application_name", application);
    url_add_conninfo(out, "sslmode", "prefer");
    url_add_conninfo(out, "gssencmode", "disable");
    for (size_t at = 0; at < ARRAY_LEN(patience); at++) {
        url_add_conninfo(out, patience[at].key, patience[at].value);
    }
}

void pg_set_upstream(struct postgres *pg, const struct engine_peer *peer)
{
    struct str conninfo = STR_INIT(PG_CONNINFO_SIZE);

    if (!str_equal(pg->upstream.name, peer->name)) {
        pg_stall_forget(pg);
    }
    pg->is_revoked = pg->is_revoked && peer->name[0] == '\0';
    pg->upstream = (struct pg_upstream){.is_known = true};
    pg_peer_conninfo(
        pg, peer, &pg->config->postgresql.replication, pg->config->name, NULL, &conninfo);
    if (conninfo.length > 0) {
        str_copy(pg->upstream.name, sizeof(pg->upstream.name), peer->name);
        str_copy(pg->upstream.conninfo, sizeof(pg->upstream.conninfo), str_text(&conninfo));
        if (pg_use_slots(pg)) {
            url_slot_name(pg->config->name, pg->upstream.slot);
        }
    }
    str_fini(&conninfo);
}

/* ---- the job ---- */

static int write_text(
    struct apply_job *own, const char *folder, const char *name, const char *text, struct err *e)
{
    char path[PG_PATH_SIZE];
    bool is_changed = false;
    int r;

    str_format(path, sizeof(path), "%s/%s", folder, name);
    r = file_put_if_changed(path, text, 0600, &is_changed, e);
    own->is_changed = own->is_changed || is_changed;
    return r;
}

/* The first time: what the user or initdb wrote is kept as postgresql.base.conf. */
static int keep_base(struct apply_job *own, struct err *e)
{
    char base[PG_PATH_SIZE];
    char conf[PG_PATH_SIZE];
    AUTO_FREE char *text = NULL;
    enum file_kind kind;
    int r;

    str_format(base, sizeof(base), "%s/postgresql.base.conf", own->paths.data_dir);
    str_format(conf, sizeof(conf), "%s/postgresql.conf", own->paths.data_dir);
    if (own->base_conf != NULL) {
        return file_write(base, own->base_conf, strlen(own->base_conf), 0600, e);
    }
    r = file_kind(base, &kind, e);
    if (r < 0 || kind != FILE_MISSING) {
        return r;
    }
    r = file_read(conf, PG_TEXT_MAX, &text, NULL, e);
    if (r == ERR_NOT_FOUND || (r == 0 && str_starts(text, CONFFILE_HEADER))) {
        return file_write(base, "", 0, 0600, e);
    }
    return r < 0 ? r : file_write(base, text, strlen(text), 0600, e);
}

static int clean_auto(struct apply_job *own, struct err *e)
{
    char path[PG_PATH_SIZE];
    AUTO_FREE char *text = NULL;
    AUTO_STR struct str kept = STR_INIT(PG_TEXT_MAX);
    bool is_changed = false;
    int r;

    str_format(path, sizeof(path), "%s/postgresql.auto.conf", own->paths.data_dir);
    r = file_read(path, PG_TEXT_MAX - 1, &text, NULL, e);
    if (r == ERR_NOT_FOUND) {
        return 0;
    }
    if (r < 0) {
        return r;
    }
    conffile_filter_auto(text, own->is_start, own->is_sync_managed, &kept);
    r = file_write_if_changed(path, str_text(&kept), 0600, &is_changed, e);
    own->is_changed = own->is_changed || is_changed;
    return r;
}

static int prepare_start(struct apply_job *own, struct err *e)
{
    char path[PG_PATH_SIZE];
    char old_log[PG_PATH_SIZE];
    const char *const folders[] = {own->paths.runtime_dir, own->socket_dir};
    struct file_facts facts;
    enum file_kind kind;
    int r = pg_remove_stale_locks(own->paths.data_dir, folders, ARRAY_LEN(folders), own->port, e);

    if (r < 0) {
        return r;
    }

    if (file_facts(own->paths.log, &facts, NULL) == 0 && facts.size > LOG_KEPT_MAX) {
        str_format(old_log, sizeof(old_log), "%s.1", own->paths.log);
        r = file_rename(own->paths.log, old_log, e);
        if (r < 0) {
            return r;
        }
    }
    str_format(path, sizeof(path), "%s/recovery.signal", own->paths.data_dir);
    r = file_remove(path, e);
    if (r < 0) {
        return r;
    }
    str_format(path, sizeof(path), "%s/standby.signal", own->paths.data_dir);
    r = file_kind(path, &kind, e);
    return r < 0 || kind == FILE_REGULAR ? r : file_write(path, "", 0, 0600, e);
}

static int write_all(struct apply_job *own, struct err *e)
{
    static const char *const names[TEXTS] = {
        [TEXT_CONF] = "postgresql.conf",
        [TEXT_HBA] = "pg_hba.conf",
        [TEXT_IDENT] = "pg_ident.conf",
    };
    int r = keep_base(own, e);

    for (int at = 0; r == 0 && at < TEXTS; at++) {
        if (at != TEXT_PASS) {
            r = write_text(own, own->paths.data_dir, names[at], own->texts[at], e);
        }
    }
    if (r == 0) {
        r = file_put_if_changed(
            own->paths.passfile, own->texts[TEXT_PASS], 0600, &(bool){false}, e);
    }
    if (r == 0 && (own->is_start || own->is_sync_managed)) {
        r = clean_auto(own, e);
    }
    return r == 0 && own->is_start ? prepare_start(own, e) : r;
}

static void work_apply(struct pg_job *job)
{
    job->result = write_all((struct apply_job *)job, &job->err);
}

static void fini_apply(struct pg_job *job)
{
    struct apply_job *own = (struct apply_job *)job;

    mem_wipe(own->texts[TEXT_PASS], strlen(own->texts[TEXT_PASS]));
    for (int at = 0; at < TEXTS; at++) {
        mem_free(own->texts[at]);
    }
    mem_free(own->base_conf);
}

static void done_apply(struct postgres *pg, struct pg_job *job)
{
    const struct apply_job *own = (const struct apply_job *)job;

    pg->is_applying = false;
    if (job->result == 0) {
        pg_sync_written(pg, own->sync_mark);
    }
    if (job->order_id == 0) {
        if (job->result == 0 && own->is_changed && pg_is_running(pg)) {
            guard_signal(pg->link, SIGHUP);
            pg_probe_soon(pg);
        }
        if (job->result < 0) {
            str_copy(pg->complaint, sizeof(pg->complaint), err_text(&job->err));
            pg_report(pg);
        }
        pg_order_poke(pg);
    } else if (job->order_id == pg->order.id) {
        if (job->result < 0) {
            pg_order_fail(pg, job->result, &job->err);
        } else {
            pg_order_next(pg);
        }
    }
    pg_apply_background(pg);
}

/* ---- rendering ---- */

/* What the server gets at its next start. */
struct parameters *pg_assemble(struct postgres *pg, struct arena *arena)
{
    struct parameters *parameters = arena_alloc(arena, sizeof(*parameters));
    const struct parameters_input input = {
        .config = pg->config,
        .store = pg->store,
        .folder = pg->paths.runtime_dir,
        .data_dir = pg->paths.data_dir,
        .major = pg->look.major,
        .least = &pg->look.limits,
        .sync_names = pg_sync_text(pg),
        .sync_mark = str_is_empty(pg_sync_mark(pg)) ? NULL : pg_sync_mark(pg),
        .is_revoked = pg->is_revoked,
        .fence = pg_fence_parameters(pg)};

    parameters_assemble(arena, &input, parameters);
    return parameters;
}

bool pg_has_restore_command(struct postgres *pg)
{
    AUTO(arena_free) struct arena *arena = arena_new(PG_ARENA_LIMIT);
    const struct parameters *parameters = pg_assemble(pg, arena);

    return !str_is_empty(parameters_find(parameters, "restore_command"));
}

static void render(struct postgres *pg, struct apply_job *job)
{
    AUTO(arena_free) struct arena *arena = arena_new(PG_ARENA_LIMIT);
    struct str text = STR_INIT(PG_TEXT_MAX);
    const struct parameters *parameters = pg_assemble(pg, arena);
    const struct hba_input hba = {
        .config = pg->config,
        .cluster = pg->has_cluster ? &pg->cluster : NULL,
        .store = pg->store,
        .os_user = pg->os_user_name};
    const struct conffile_upstream upstream = {
        pg->upstream.name, pg->upstream.conninfo, pg->upstream.slot};

    pg->is_lowered = parameters->is_lowered;
    str_copy(pg->complaint, sizeof(pg->complaint), parameters->complaint);
    conffile_render(parameters, &upstream, &text);
    job->texts[TEXT_CONF] = str_take(&text);
    hba_render(&hba, &text);
    job->texts[TEXT_HBA] = str_take(&text);
    hba_render_ident(&hba, &text);
    job->texts[TEXT_IDENT] = str_take(&text);
    conffile_render_passfile(&pg->config->postgresql, &text);
    job->texts[TEXT_PASS] = str_take(&text);
}

void pg_apply(struct postgres *pg, uint64_t order_id)
{
    struct apply_job *job = mem_alloc(sizeof(*job));

    ASSERT(pg->upstream.is_known);
    pg->is_applying = true;
    pg->is_config_dirty = false;
    job->job.work = work_apply;
    job->job.done = done_apply;
    job->job.fini = fini_apply;
    job->job.order_id = order_id;
    job->paths = pg->paths;
    job->is_start = order_id != 0 && pg->order.args.order == ORDER_START;
    job->is_sync_managed = pg_sync_is_managed(pg);
    job->port = pg->config->postgresql.listen.port;
    str_copy(job->socket_dir, sizeof(job->socket_dir), pg->config->postgresql.socket_dir);
    str_copy(job->sync_mark, sizeof(job->sync_mark), pg_sync_mark(pg));
    if (job->is_start) {
        pg_sync_rendered(pg);
    }
    if (order_id != 0) {
        job->base_conf = TAKE(pg->order.base_conf);
    }
    render(pg, job);
    pg_job_start(pg, &job->job);
}

/* ---- the passfile alone, for programs that run while there is no data directory ---- */

struct passfile_job {
    struct pg_job job;
    char path[PG_PATH_SIZE];
    char *text;
};

static void work_passfile(struct pg_job *job)
{
    struct passfile_job *own = (struct passfile_job *)job;

    job->result = file_put_if_changed(own->path, own->text, 0600, &(bool){false}, &job->err);
}

static void done_passfile(struct postgres *pg, struct pg_job *job)
{
    if (job->order_id != pg->order.id) {
        return;
    }
    if (job->result < 0) {
        pg_order_fail(pg, job->result, &job->err);
    } else {
        pg_order_next(pg);
    }
}

static void fini_passfile(struct pg_job *job)
{
    struct passfile_job *own = (struct passfile_job *)job;

    mem_wipe(own->text, strlen(own->text));
    mem_free(own->text);
}

int pg_step_passfile(struct postgres *pg, struct err *e)
{
    struct passfile_job *job = mem_alloc(sizeof(*job));
    struct str text = STR_INIT(PG_TEXT_MAX);

    ASSERT(e != NULL);
    conffile_render_passfile(&pg->config->postgresql, &text);
    job->text = str_take(&text);
    job->job.work = work_passfile;
    job->job.done = done_passfile;
    job->job.fini = fini_passfile;
    str_copy(job->path, sizeof(job->path), pg->paths.passfile);
    return pg_order_job(pg, &job->job);
}

/* ---- in the background ---- */

/* Only for a running server: a start writes everything anew. A checkpoint takes long and touches no
 * file. */
void pg_apply_background(struct postgres *pg)
{
    if (!pg->is_closed && pg->is_config_dirty && !pg->is_applying &&
        (pg->order.args.order == ORDER_NONE || pg->order.args.order == ORDER_CHECKPOINT) &&
        pg_is_running(pg) && pg->upstream.is_known && pg->look.major != 0) {
        pg_apply(pg, 0);
    }
}
