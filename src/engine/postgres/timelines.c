/* Reserved timelines: a promotion gets exactly the number that the lease record has given out.
 *
 * PostgreSQL takes the first number above its own for which pg_wal has no history file
 * (findNewestTimeLine). So the numbers between are filled with placeholders: history files of one
 * comment line, which is an empty history to PostgreSQL.
 *
 * A placeholder below a real history file must stay: the standbys fetch the history of every
 * number up to the new primary's, fail if it lacks one (WalRcvFetchTimeLineHistoryFiles), and find
 * the newest by counting up as well. One that has no real file above it is in the way:
 * recovery_target_timeline=latest would take it for the newest timeline, of which the server is no
 * child, and refuse to start. Those are removed before every start, before each promotion, and
 * after one that failed.
 *
 * Nothing is synced here: it would be time without a primary. The promotion syncs the folder when
 * it has written the real history file, and a host that dies early may leave an empty file: the
 * same, for a real history is never empty. */
#include "base/assert.h"
#include "base/parse.h"
#include "engine/postgres/driver.h"
#include "io/file.h"

#define PLACEHOLDER "# reserved by baton\n"

struct timelines_job {
    struct pg_job job;
    char folder[PG_PATH_SIZE];
    uint32_t own;
    uint32_t reserved; /* 0: only tidy up */
    bool is_used;      /* somebody has promoted to it already */
};

/* NAME's timeline if it is NNNNNNNN.history, else 0. */
static uint32_t timeline_of(const char *name)
{
    char right[HISTORY_NAME_SIZE];
    AUTO_FREE char *digits = NULL;
    uint64_t timeline;

    digits = mem_dup_length(name, MIN(strlen(name), (size_t)8));
    if (parse_hex_u64(digits, &timeline, NULL) < 0 || timeline > UINT32_MAX) {
        return 0;
    }
    history_name_format((uint32_t)timeline, right);
    return str_equal(name, right) ? (uint32_t)timeline : 0;
}

static int is_placeholder(const char *path, bool *ret, struct err *e)
{
    AUTO_FREE char *text = NULL;
    int r = file_read_part(path, 0, sizeof(PLACEHOLDER), &text, NULL, e);

    *ret = r == 0 && (text[0] == '\0' || str_equal(text, PLACEHOLDER));
    return r;
}

/* From the newest name down, until a real one is met. */
static int tidy(const char *folder, char **names, struct err *e)
{
    size_t count = 0;

    while (names[count] != NULL) {
        count++;
    }
    while (count-- > 0) {
        char path[PG_PATH_SIZE];
        bool is_ours;
        int r;

        if (timeline_of(names[count]) == 0) {
            continue;
        }
        str_format(path, sizeof(path), "%s/%s", folder, names[count]);
        r = is_placeholder(path, &is_ours, e);
        if (r < 0 || !is_ours) {
            return r;
        }
        r = file_remove(path, e);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int tidy_folder(const char *folder, struct err *e)
{
    char **names = NULL;
    int r = file_list(folder, &names, e);

    if (r < 0) {
        return r;
    }
    r = tidy(folder, names, e);
    file_names_free(names);
    return r;
}

static int exists(const char *folder, uint32_t timeline, char *path, bool *ret, struct err *e)
{
    char name[HISTORY_NAME_SIZE];
    enum file_kind kind;
    int r;

    history_name_format(timeline, name);
    str_format(path, PG_PATH_SIZE, "%s/%s", folder, name);
    r = file_kind(path, &kind, e);
    *ret = r == 0 && kind != FILE_MISSING;
    return r;
}

static int reserve(struct timelines_job *own, struct err *e)
{
    char path[PG_PATH_SIZE];
    bool is_there;
    int r = exists(own->folder, own->reserved, path, &is_there, e);

    if (r < 0) {
        return r;
    }
    if (is_there) {
        own->is_used = true;
        return FAIL(e, ERR_CONFLICT, "timeline %" PRIu32 " exists already", own->reserved);
    }
    for (uint32_t at = own->own + 1; at < own->reserved; at++) {
        bool is_changed;

        r = exists(own->folder, at, path, &is_there, e);
        if (r == 0 && !is_there) {
            r = file_put_if_changed(path, PLACEHOLDER, 0600, &is_changed, e);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static void work_timelines(struct pg_job *job)
{
    struct timelines_job *own = (struct timelines_job *)job;

    job->result = tidy_folder(own->folder, &job->err);
    if (job->result == 0 && own->reserved != 0) {
        job->result = reserve(own, &job->err);
    }
}

static void done_timelines(struct postgres *pg, struct pg_job *job)
{
    if (job->order_id == 0) {
        ASSERT(pg->tidyings > 0);
        pg->tidyings--;
        pg_order_poke(pg);
        return;
    }
    if (job->order_id != pg->order.id) {
        return;
    }
    if (((const struct timelines_job *)job)->is_used) {
        pg->tried_timeline = ((const struct timelines_job *)job)->reserved;
    }
    if (job->result < 0) {
        pg_order_fail(pg, job->result, &job->err);
    } else {
        pg_order_next(pg);
    }
}

static struct timelines_job *new_job(const struct postgres *pg)
{
    struct timelines_job *job = mem_alloc(sizeof(*job));

    job->job.work = work_timelines;
    job->job.done = done_timelines;
    str_format(job->folder, sizeof(job->folder), "%s/pg_wal", pg->paths.data_dir);
    return job;
}

static int wait_for_tidying(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return pg->tidyings > 0 ? 0 : STEP_DONE;
}

/* What a failed promotion left to be removed is removed: else it would take with it what the next
 * one makes. */
int pg_step_timelines_idle(struct postgres *pg, struct err *e)
{
    pg->order.wait = wait_for_tidying;
    return wait_for_tidying(pg, e);
}

int pg_step_tidy_timelines(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return pg_order_job(pg, &new_job(pg)->job);
}

/* One whose promotion may still go on needs them; its next start removes them. */
void pg_tidy_timelines(struct postgres *pg)
{
    if (pg->order.args.order == ORDER_PROMOTE && pg->order.args.timeline != 0 &&
        !pg->order.is_promoting) {
        pg->tidyings++;
        pg_job_start(pg, &new_job(pg)->job);
    }
}

int pg_step_reserve_timeline(struct postgres *pg, struct err *e)
{
    const struct engine_order_args *args = &pg->order.args;
    uint32_t own = pg->probe.position.timeline;
    struct timelines_job *job;

    if (args->timeline == 0 || !pg->probe.in_recovery) {
        return STEP_DONE;
    }
    if (args->timeline <= own) {
        return FAIL(
            e, ERR_CONFLICT,
            "timeline %" PRIu32 " is reserved, but the server is on timeline %" PRIu32 " already",
            args->timeline, own);
    }
    if (args->timeline - own > ENGINE_TIMELINES_SKIPPED_MAX) {
        return FAIL(
            e, ERR_LIMIT, "the reserved timeline %" PRIu32 " is too far above %" PRIu32,
            args->timeline, own);
    }
    job = new_job(pg);
    job->own = own;
    job->reserved = args->timeline;
    return pg_order_job(pg, &job->job);
}

int pg_step_check_timeline(struct postgres *pg, struct err *e)
{
    uint32_t wanted = pg->order.args.timeline;

    if (wanted != 0 && pg->probe.position.timeline != wanted) {
        return FAIL(
            e, ERR_CONFLICT,
            "the server is on timeline %" PRIu32 " after the promotion, not on %" PRIu32
            " that was reserved for it",
            pg->probe.position.timeline, wanted);
    }
    return STEP_DONE;
}
