#include "base/assert.h"
#include "engine/postgres/driver.h"

static void work(void *arg)
{
    struct pg_job *job = arg;

    job->work(job);
}

static void done(void *arg)
{
    struct pg_job *job = arg;
    struct postgres *pg = job->pg;

    ASSERT(pg->jobs > 0);
    pg->jobs--;
    if (job->order_id != 0) {
        pg->order_jobs--;
    }
    if (!pg->is_closed) {
        job->done(pg, job);
    }
    if (job->fini != NULL) {
        job->fini(job);
    }
    mem_free(job);
    if (pg->is_closed && pg->jobs == 0) {
        mem_free(pg);
    }
}

void pg_job_start(struct postgres *pg, struct pg_job *job)
{
    job->pg = pg;
    pg->jobs++;
    if (job->order_id != 0) {
        pg->order_jobs++;
    }
    loop_work(pg->loop, work, done, job);
}
