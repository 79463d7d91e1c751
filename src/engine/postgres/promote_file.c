/* DATA/promote, the file that makes a standby a primary together with a SIGUSR1.
 *
 *   PROMOTE: no removal under way -> [job] file -> deadline left? SIGUSR1 -> the server takes it
 *                                                     | no
 *                                                     v
 *                                  it is left -> [job] removed, and again until it is
 *
 * The postmaster looks for it at each SIGUSR1, and its children send it many of these. A file that
 * was left would promote the server minutes later, when it follows the new primary, without a lease
 * and without a deadline at the guard. So an order that made one and did not come to the signal is
 * followed by a removal; so is the discovery of a server that runs already, whose former agent may
 * have died between file and signal. A start needs none: the server removes it first thing.
 *
 * File and removal are two entries in the queue of the directory's watch, which may be read after
 * the removal has been reported. A new watch knows nothing of them: else our own file would pass
 * for a promotion by hand.
 *
 * File and removal exclude each other. A removal is begun only while no PROMOTE is in progress and
 * no job of one makes the file, and a PROMOTE waits for its end before it makes one. A job that
 * hangs may make the file after its order has ended: until it is back the file counts as left.
 *
 * Who promotes by hand while a file of ours may be there may find his own removed. He is told
 * nothing, and nothing happens: better than a server that nobody has allowed to write. */
#include "base/assert.h"
#include "engine/postgres/driver.h"
#include "io/file.h"

struct file_job {
    struct pg_job job;
    char path[PG_PATH_SIZE];
};

static struct file_job *new_job(
    const struct postgres *pg, void (*work)(struct pg_job *job),
    void (*done)(struct postgres *pg, struct pg_job *job))
{
    struct file_job *job = mem_alloc(sizeof(*job));

    job->job.work = work;
    job->job.done = done;
    str_format(job->path, sizeof(job->path), "%s/promote", pg->paths.data_dir);
    return job;
}

/* ---- away with it ---- */

static void work_remove(struct pg_job *job)
{
    job->result = file_remove(((struct file_job *)job)->path, &job->err);
}

/* One that failed is tried again after the next probe. */
static void done_remove(struct postgres *pg, struct pg_job *job)
{
    struct pg_promote_file *file = &pg->promote_file;

    file->is_removing = false;
    if (job->result < 0) {
        str_copy(pg->complaint, sizeof(pg->complaint), err_text(&job->err));
    } else if (!file->is_making) {
        file->is_left = false;
        pg_watch_promotion(pg);
    }
    pg_order_poke(pg);
    pg_report(pg);
}

void pg_promote_file_tick(struct postgres *pg)
{
    struct pg_promote_file *file = &pg->promote_file;

    if (pg->is_closed || !file->is_left || file->is_removing || file->is_making ||
        pg->order.args.order == ORDER_PROMOTE) {
        return;
    }
    file->is_removing = true;
    pg_job_start(pg, &new_job(pg, work_remove, done_remove)->job);
}

void pg_promote_file_give_up(struct postgres *pg)
{
    pg->promote_file.is_left = true;
    pg_promote_file_tick(pg);
}

void pg_promote_file_is_used(struct postgres *pg)
{
    pg->promote_file.is_left = false;
}

bool pg_may_have_promote_file(const struct postgres *pg)
{
    return pg->promote_file.is_left;
}

void pg_promote_file_note_server(struct postgres *pg, bool was_found)
{
    pg->promote_file.is_left = pg->promote_file.is_making || (was_found && pg_is_running(pg));
    pg_promote_file_tick(pg);
}

/* ---- steps of a promotion ---- */

static int wait_for_removal(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return pg->promote_file.is_removing ? 0 : STEP_DONE;
}

int pg_step_promote_file_idle(struct postgres *pg, struct err *e)
{
    pg->order.wait = wait_for_removal;
    return wait_for_removal(pg, e);
}

/* Not synced: it means nothing after a crash, and each sync is time without a primary. To take a
 * lock is the way to make a file without one; a lock that is refused has made it all the same, and
 * the end of the order sees to that. */
static void work_make(struct pg_job *job)
{
    AUTO_FD int fd = -1;

    job->result = file_lock(((struct file_job *)job)->path, &fd, &job->err);
}

static void done_make(struct postgres *pg, struct pg_job *job)
{
    pg->promote_file.is_making = false;
    if (job->order_id != pg->order.id) {
        pg_promote_file_give_up(pg);
    } else if (job->result < 0) {
        pg_order_fail(pg, job->result, &job->err);
    } else {
        pg_order_next(pg);
    }
}

int pg_step_promote_file(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    if (pg->probe.is_known && !pg->probe.in_recovery) {
        return STEP_DONE;
    }
    ASSERT(!pg->promote_file.is_removing);
    pg->promote_file.is_making = true;
    return pg_order_job(pg, &new_job(pg, work_make, done_make)->job);
}
