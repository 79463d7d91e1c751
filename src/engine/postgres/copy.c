#include "engine/postgres/copy.h"

#include "base/assert.h"
#include "io/file.h"

#define MARK "baton.mark"
#define FREE_MIN_BYTES (INT64_C(64) << 20)

struct copy_job {
    struct pg_job job;
    struct pg_paths paths;
    char name[32];
    char *text;
};

static void fini_copy(struct pg_job *job)
{
    struct copy_job *own = (struct copy_job *)job;

    if (own->text != NULL) {
        mem_wipe(own->text, strlen(own->text));
        mem_free(own->text);
    }
}

static void done_copy(struct postgres *pg, struct pg_job *job)
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

static struct copy_job *new_job(struct postgres *pg, void (*work)(struct pg_job *job))
{
    struct copy_job *job = mem_alloc(sizeof(*job));

    job->job.work = work;
    job->job.done = done_copy;
    job->job.fini = fini_copy;
    job->paths = pg->paths;
    return job;
}

static void join(char *buffer, const char *folder, const char *name)
{
    str_format(buffer, PG_PATH_SIZE, "%s/%s", folder, name);
}

/* ---- check ---- */

int copy_check_place(struct postgres *pg, struct err *e)
{
    if (pg->look.is_mount) {
        return FAIL(
            e, ERR_CONFIG,
            "%s is a mount point: use a folder below it\n"
            "hint: set postgresql.data_dir to a folder below it; data is moved into place by "
            "renaming",
            pg->paths.data_dir);
    }
    return STEP_DONE;
}

/* ---- prepare ---- */

static int check_room(const char *folder, struct err *e)
{
    int64_t free_bytes;
    int r = file_free_bytes(folder, &free_bytes, e);

    if (r < 0) {
        return r;
    }
    if (free_bytes < FREE_MIN_BYTES) {
        return FAIL(e, ERR_IO, "only %" PRId64 " MB are free below %s", free_bytes >> 20, folder);
    }
    return 0;
}

static int prepare(struct copy_job *own, struct err *e)
{
    const char *folder = own->paths.new_dir;
    char path[PG_PATH_SIZE];
    enum file_kind kind;
    int r = file_kind(folder, &kind, e);

    if (r < 0) {
        return r;
    }
    if (kind != FILE_MISSING && kind != FILE_EMPTY_FOLDER) {
        r = file_remove_tree(folder, MARK, e);
        if (r < 0) {
            return err_wrap(e, r, "remove an interrupted copy");
        }
    }
    r = file_make_folder(folder, 0700, e);
    if (r < 0) {
        return r;
    }
    join(path, folder, MARK);
    r = file_write(path, "", 0, 0600, e);
    if (r < 0) {
        return r;
    }
    r = check_room(folder, e);
    if (r < 0 || own->text == NULL) {
        return r;
    }
    join(path, folder, own->name);
    return file_write(path, own->text, strlen(own->text), 0600, e);
}

static void work_prepare(struct pg_job *job)
{
    job->result = prepare((struct copy_job *)job, &job->err);
}

int copy_prepare(struct postgres *pg, const char *name, char *text)
{
    struct copy_job *job = new_job(pg, work_prepare);

    str_copy(job->name, sizeof(job->name), name != NULL ? name : "");
    str_copy(pg->order.secret, sizeof(pg->order.secret), job->name);
    job->text = text;
    return pg_order_job(pg, &job->job);
}

/* ---- clean ---- */

static void work_clean(struct pg_job *job)
{
    struct copy_job *own = (struct copy_job *)job;
    char path[PG_PATH_SIZE];

    join(path, own->paths.new_dir, own->name);
    job->result = file_remove(path, &job->err);
}

int copy_step_clean(struct postgres *pg, struct err *e)
{
    struct copy_job *job = new_job(pg, work_clean);

    ASSERT(e != NULL);
    str_copy(job->name, sizeof(job->name), pg->order.secret);
    return pg_order_job(pg, &job->job);
}

/* ---- finish ---- */

/* A clone that a rewind was meant for is whole again. */
static int finish(struct copy_job *own, struct err *e)
{
    char path[PG_PATH_SIZE];
    enum file_kind kind;
    int r = file_kind(own->paths.data_dir, &kind, e);

    if (r < 0) {
        return r;
    }
    if (kind != FILE_MISSING && kind != FILE_EMPTY_FOLDER) {
        r = file_rename_aside(own->paths.data_dir, "baton", NULL, 0, e);
        if (r < 0) {
            return err_wrap(e, r, "move the old data aside");
        }
    }
    join(path, own->paths.new_dir, "data");
    r = file_rename(path, own->paths.data_dir, e);
    if (r < 0) {
        return r;
    }
    r = file_remove(own->paths.rewinding, e);
    if (r == 0) {
        join(path, own->paths.runtime_dir, "rewinding"); /* of a version before (look.c) */
        r = file_remove(path, e);
    }
    if (r < 0) {
        return r;
    }
    return file_remove_tree(own->paths.new_dir, MARK, e);
}

static void work_finish(struct pg_job *job)
{
    job->result = finish((struct copy_job *)job, &job->err);
}

int copy_step_finish(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return pg_order_job(pg, &new_job(pg, work_finish)->job);
}
