/* A standby that its log has outgrown.
 *
 *   probe: replay is paused --> control file --> larger limits than the server runs with: outgrown
 *
 * When the primary was restarted with a larger max_connections (or another of the five, see
 * parameters.h), a standby that runs with the smaller value pauses its replay for good: 14 and
 * later wait for a restart, 13 ends. It still streams, so nothing else shows that; resuming ends
 * it, and so does a promotion. Before it pauses it writes the new limits into its control file,
 * which is how this pause is told from one that somebody asked for. */
#include "base/parse.h"
#include "engine/postgres/driver.h"

static const char *const names[] = {
    "max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions",
    "max_locks_per_transaction"};

struct outgrown_job {
    struct pg_job job;
    char data_dir[PG_PATH_SIZE];
    uint64_t number;
    int64_t has[ARRAY_LEN(names)]; /* that the server runs with */
    char problem[sizeof(((struct pg_outgrown *)NULL)->problem)];
};

static void work_outgrown(struct pg_job *job)
{
    struct outgrown_job *own = (struct outgrown_job *)job;
    struct control control;

    job->result = pg_read_control(own->data_dir, &control, &job->err);
    if (job->result < 0) {
        return;
    }
    {
        const int32_t needs[ARRAY_LEN(names)] = {
            control.limits.max_connections, control.limits.max_worker_processes,
            control.limits.max_wal_senders, control.limits.max_prepared_xacts,
            control.limits.max_locks_per_xact};

        for (size_t at = 0; at < ARRAY_LEN(names); at++) {
            if (own->has[at] < needs[at]) {
                str_format(
                    own->problem, sizeof(own->problem),
                    "its replay has stopped: %s is %" PRId64 " here and was raised to %" PRId32
                    " at the primary: it needs a restart",
                    names[at], own->has[at], needs[at]);
                return;
            }
        }
    }
}

static void done_outgrown(struct postgres *pg, struct pg_job *job)
{
    const struct outgrown_job *own = (const struct outgrown_job *)job;

    pg->outgrown.is_reading = false;
    if (pg->outgrown.number != own->number || job->result < 0) {
        return; /* of another server; or the file was being written: the next probe asks again */
    }
    str_copy(pg->outgrown.problem, sizeof(pg->outgrown.problem), own->problem);
    pg_report(pg);
}

/* "120 8 10 0 64", in the order of `names`. */
static bool read_limits(const char *text, int64_t *ret)
{
    for (size_t at = 0; at < ARRAY_LEN(names); at++) {
        AUTO_FREE char *word = mem_dup_length(text, strcspn(text, " "));

        if (parse_int(word, 0, INT32_MAX, &ret[at], NULL) < 0) {
            return false;
        }
        text += strlen(word);
        text += *text == ' ' ? 1 : 0;
    }
    return true;
}

void pg_outgrown_tick(struct postgres *pg)
{
    struct outgrown_job *job;

    if (!pg->probe.is_known || pg->probe.paused_limits[0] == '\0') {
        pg_outgrown_reset(pg);
        return;
    }
    if (pg->outgrown.is_reading || pg->outgrown.problem[0] != '\0') {
        return;
    }
    job = mem_alloc(sizeof(*job));
    if (!read_limits(pg->probe.paused_limits, job->has)) {
        mem_free(job);
        return;
    }
    pg->outgrown.is_reading = true;
    job->job.work = work_outgrown;
    job->job.done = done_outgrown;
    job->number = pg->outgrown.number;
    str_copy(job->data_dir, sizeof(job->data_dir), pg->paths.data_dir);
    pg_job_start(pg, &job->job);
}

void pg_outgrown_reset(struct postgres *pg)
{
    pg->outgrown.number++;
    pg->outgrown.problem[0] = '\0';
}
