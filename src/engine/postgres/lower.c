/* LOWER: a part of START that brings smaller values of the five parameters into force which a
 * standby must not have smaller than its control file (parameters.h).
 *
 *   is it for us to do? -> standby.signal away -> single-user server with the configured values
 *       -> look
 *
 * Only on the node that has the leader key, that was the primary when it was stopped cleanly and is
 * to follow nobody: a restart in place. There the single-user server recovers nothing, serves
 * nobody, and writes two records behind the end of the log: the change of parameters and a shutdown
 * checkpoint. It dies with the agent. If another node is promoted all the same before these records
 * reach it, this one has to be rewound, and no transaction is lost with them. When the single-user
 * server fails (too many prepared transactions for the new value) the start goes on with the values
 * of before. */
#include "base/assert.h"
#include "engine/postgres/driver.h"
#include "io/file.h"

struct lower_job {
    struct pg_job job;
    char data_dir[PG_PATH_SIZE];
};

static bool is_wanted(struct postgres *pg)
{
    AUTO(arena_free) struct arena *arena = arena_new(PG_ARENA_LIMIT);

    return pg->look.was_clean && pg->look.was_primary && pg->upstream.name[0] == '\0' &&
           pg->has_cluster && str_equal(pg->cluster.leader, pg->config->name) &&
           pg_assemble(pg, arena)->is_lowered;
}

/* The single-user server refuses to be a standby; the start puts the file back. */
static void work_lower(struct pg_job *job)
{
    static const char *const names[] = {"standby.signal", "recovery.signal"};
    char path[PG_PATH_SIZE];

    for (size_t at = 0; job->result == 0 && at < ARRAY_LEN(names); at++) {
        str_format(path, sizeof(path), "%s/%s", ((struct lower_job *)job)->data_dir, names[at]);
        job->result = file_remove(path, &job->err);
    }
}

static void done_lower(struct postgres *pg, struct pg_job *job)
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

int pg_step_lower_prepare(struct postgres *pg, struct err *e)
{
    struct lower_job *job;

    ASSERT(e != NULL);
    if (!is_wanted(pg)) {
        return STEP_DONE;
    }
    pg->order.is_lowering = true;
    job = mem_alloc(sizeof(*job));
    job->job.work = work_lower;
    job->job.done = done_lower;
    str_copy(job->data_dir, sizeof(job->data_dir), pg->paths.data_dir);
    return pg_order_job(pg, &job->job);
}

int pg_step_lower(struct postgres *pg, struct err *e)
{
    AUTO(arena_free) struct arena *arena = arena_new(PG_ARENA_LIMIT);
    struct parameters *parameters = arena_alloc(arena, sizeof(*parameters));
    struct parameters_input input = {
        .config = pg->config,
        .store = pg->store,
        .folder = pg->paths.runtime_dir,
        .data_dir = pg->paths.data_dir,
        .major = pg->look.major};

    if (!pg->order.is_lowering) {
        return STEP_DONE;
    }
    parameters_assemble(arena, &input, parameters);
    return pg_order_single_user(pg, pg->paths.data_dir, parameters, e);
}

int pg_step_lower_look(struct postgres *pg, struct err *e)
{
    if (!pg->order.is_lowering) {
        return STEP_DONE;
    }
    pg->order.is_lowering = false;
    return pg_order_look(pg, e);
}
