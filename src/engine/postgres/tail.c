/* The end of a dead primary's log, from its agent into the log of a standby here (ha/tail.c).
 *
 *   FETCH: follow nobody (revoke.c) -> the receiver is gone, having received P
 *     -> ask for a piece -> open, compare, write, sync -> ... -> walk the records up to the end
 *     -> counted in the position -> SIGHUP wakes the replay
 *
 * PostgreSQL replays what is in pg_wal, whoever wrote it, before it asks an upstream and before a
 * promotion ends. Written is nothing but the primary's own bytes at their own place, from P on: not
 * even the rest of the last page. So whatever comes in between, the same upstream's receiver
 * included, writes the same there, and an interrupted FETCH leaves a log as a receiver leaves one.
 * Of the page that P lies in the beginning is compared first: one history under two numbers would
 * show. A segment that is not there is made whole and empty; one that is there (recycled) is
 * written into. Nothing counts before every record up to the end is there and valid. */
#include "base/assert.h"
#include "engine/postgres/driver.h"
#include "io/file.h"
#include "io/process.h"

#define PIECE_MS 1000
#define API_PATH "/patroni" /* the end of an api_url */
#define SEGMENT_MODE 0600
#define STATUS_OK 200

/* ---- of the server that has died ---- */

struct read_job {
    struct pg_job job;
    char data_dir[PG_PATH_SIZE];
    uint32_t segment_size;
    struct tail_ask ask;
    struct tail_key key;
    unsigned char *sealed; /* after the job: of the question's length and TAIL_SEAL_SIZE */
    engine_log_done *done;
    void *arg;
};

/* The part of [FROM, TO) that lies in one segment ends here. */
static uint64_t part_end(uint64_t from, uint64_t to, uint32_t segment_size)
{
    return MIN(to, from - from % segment_size + segment_size);
}

static void segment_path(
    const char *data_dir, uint32_t timeline, uint64_t lsn, uint32_t segment_size, char *path)
{
    char name[WAL_NAME_SIZE];

    wal_name_format(timeline, lsn, segment_size, name);
    str_format(path, PG_PATH_SIZE, "%s/pg_wal/%s", data_dir, name);
}

static int read_part(
    const struct read_job *own, uint64_t from, uint64_t to, unsigned char *out, struct err *e)
{
    AUTO_FREE char *bytes = NULL;
    char path[PG_PATH_SIZE];
    size_t length = 0;
    int r;

    segment_path(own->data_dir, own->ask.timeline, from, own->segment_size, path);
    r = file_read_part(path, from % own->segment_size, (size_t)(to - from), &bytes, &length, e);
    if (r < 0) {
        return r;
    }
    if (length < to - from) {
        return FAIL(e, ERR_CORRUPT, "%s is too short", path);
    }
    memcpy(out, bytes, length);
    return 0;
}

static void work_read(struct pg_job *job)
{
    struct read_job *own = (struct read_job *)job;
    const struct tail_ask *ask = &own->ask;
    size_t size = (size_t)(ask->to - ask->from);
    AUTO_FREE unsigned char *bytes = mem_alloc(size);
    unsigned char nonce[TAIL_NONCE_SIZE];

    for (uint64_t at = ask->from; at < ask->to && job->result == 0;) {
        uint64_t end = part_end(at, ask->to, own->segment_size);

        job->result = read_part(own, at, end, bytes + (at - ask->from), &job->err);
        at = end;
    }
    if (job->result == 0) {
        process_random(nonce, sizeof(nonce));
        own->sealed = mem_alloc(size + TAIL_SEAL_SIZE);
        job->result = tail_seal(ask, &own->key, nonce, bytes, own->sealed, &job->err);
    }
}

static void done_read(struct postgres *pg, struct pg_job *job)
{
    ASSERT(pg == job->pg);
}

/* Also when the driver was freed meanwhile. */
static void fini_read(struct pg_job *job)
{
    struct read_job *own = (struct read_job *)job;
    size_t length = (size_t)(own->ask.to - own->ask.from) + TAIL_SEAL_SIZE;

    own->done(own->arg, job->result, own->sealed, job->result < 0 ? 0 : length, &job->err);
    mem_free(own->sealed);
    mem_wipe(&own->key, sizeof(own->key));
}

static int check_offer(const struct postgres *pg, const struct tail_ask *ask, struct err *e)
{
    const struct pg_look *look = &pg->look;

    if (pg_is_running(pg) || look->state != SERVER_DOWN || !look->is_end_known) {
        return FAIL(e, ERR_CONFLICT, "the server here is not down, or its end is not known");
    }
    if (ask->system_id != look->system_id || ask->timeline != look->position.timeline ||
        ask->to > look->position.lsn) {
        return FAIL(e, ERR_CONFLICT, "that is no part of the log here");
    }
    return 0;
}

void pg_read_log(
    struct postgres *pg, const struct tail_ask *ask, const char *mac, engine_log_done *done,
    void *arg)
{
    struct err why = {0};
    struct read_job *job;
    int r = tail_ask_check(ask, mac, &pg->key, &why);

    if (r == 0) {
        r = check_offer(pg, ask, &why);
    }
    if (r < 0) {
        done(arg, r, NULL, 0, &why);
        return;
    }
    job = mem_alloc(sizeof(*job));
    job->job.work = work_read;
    job->job.done = done_read;
    job->job.fini = fini_read;
    str_copy(job->data_dir, sizeof(job->data_dir), pg->paths.data_dir);
    job->segment_size = pg->look.wal_segment_size;
    job->ask = *ask;
    job->key = pg->key;
    job->done = done;
    job->arg = arg;
    pg_job_start(pg, &job->job);
}

/* ---- of the standby ---- */

struct write_job {
    struct pg_job job;
    char data_dir[PG_PATH_SIZE];
    uint32_t segment_size;
    struct tail_ask ask;
    struct tail_key key;
    char *sealed;
    size_t length;
    uint64_t own_lsn;      /* before this it has its own bytes */
    uint64_t replayed_lsn; /* before this they are certainly good */
    uint64_t end_lsn;      /* of the whole */
};

static void ask_for_piece(struct postgres *pg);

static int compare(
    const char *path, uint64_t offset, const unsigned char *bytes, size_t size, struct err *e)
{
    AUTO_FREE char *present = NULL;
    size_t length = 0;
    int r = file_read_part(path, offset, size, &present, &length, e);

    if (r < 0) {
        return r;
    }
    if (length != size || memcmp(present, bytes, size) != 0) {
        return FAIL(e, ERR_CONFLICT, "the log here is not the beginning of the one that was sent");
    }
    return 0;
}

/* BYTES belong to [FROM, TO), within one segment. */
static int write_part(
    const struct write_job *own, uint64_t from, uint64_t to, const unsigned char *bytes,
    struct err *e)
{
    char path[PG_PATH_SIZE];
    struct file_facts facts = {0};
    uint64_t known = MIN(MAX(own->own_lsn, from), to) - from;
    uint32_t size = own->segment_size;
    uint64_t offset;
    int r = 0;

    ASSERT(size > 0);
    offset = from % size;
    segment_path(own->data_dir, own->ask.timeline, from, size, path);
    if (known > 0) {
        r = compare(path, offset, bytes, (size_t)known, e);
    } else if (offset == 0) {
        r = file_make_sized(path, size, SEGMENT_MODE, e);
    }
    if (r == 0) {
        r = file_facts(path, &facts, e);
    }
    if (r < 0 || known == to - from) {
        return r;
    }
    if (facts.size != size) {
        return FAIL(e, ERR_CORRUPT, "%s has not the size of a segment", path);
    }
    return file_write_part(
        path, offset + known, bytes + known, (size_t)(to - from - known),
        to % size == 0 || to == own->end_lsn, e);
}

/* The end is where the last valid record ends, and no earlier. */
static int check_whole(const struct write_job *own, struct err *e)
{
    uint64_t end = 0;
    int r = pg_walk_log(
        own->data_dir, own->ask.timeline, own->segment_size, own->replayed_lsn, &end, e);

    if (r == 0 && end < own->end_lsn) {
        return FAIL(
            e, ERR_CORRUPT, "the log ends at %" PRIX64 " with what was sent, not at %" PRIX64, end,
            own->end_lsn);
    }
    return r;
}

static void work_write(struct pg_job *job)
{
    struct write_job *own = (struct write_job *)job;
    const struct tail_ask *ask = &own->ask;
    AUTO_FREE unsigned char *bytes = mem_alloc((size_t)(ask->to - ask->from));

    job->result = tail_open(ask, &own->key, own->sealed, own->length, bytes, &job->err);
    for (uint64_t at = ask->from; at < ask->to && job->result == 0;) {
        uint64_t end = part_end(at, ask->to, own->segment_size);

        job->result = write_part(own, at, end, bytes + (at - ask->from), &job->err);
        at = end;
    }
    if (job->result == 0 && ask->to == own->end_lsn) {
        job->result = check_whole(own, &job->err);
    }
}

static void done_write(struct postgres *pg, struct pg_job *job)
{
    const struct write_job *own = (const struct write_job *)job;

    if (job->order_id != pg->order.id) {
        return;
    }
    if (job->result < 0) {
        pg_order_fail(pg, job->result, &job->err);
    } else if (pg->order.is_killed) {
        pg_order_next(pg);
    } else if (own->ask.to < own->end_lsn) {
        pg->order.fetched_lsn = own->ask.to;
        ask_for_piece(pg);
    } else {
        pg->tail = pg->order.args.end;
        guard_signal(pg->link, SIGHUP);
        pg_order_next(pg);
    }
}

static void fini_write(struct pg_job *job)
{
    struct write_job *own = (struct write_job *)job;

    mem_free(own->sealed);
    mem_wipe(&own->key, sizeof(own->key));
}

static struct tail_ask next_ask(const struct postgres *pg)
{
    uint64_t from = pg->order.fetched_lsn;

    return (struct tail_ask){
        .system_id = pg->look.system_id,
        .timeline = pg->order.args.end.timeline,
        .from = from,
        .to = MIN(from + TAIL_PIECE_MAX, pg->order.args.end.lsn),
    };
}

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct postgres *pg = arg;
    struct err why = {0};
    struct write_job *job;
    int r;

    pg->order.question = NULL;
    if (answer->result < 0 || answer->status != STATUS_OK) {
        r = FAIL(&why, ERR_UNAVAILABLE, "%.200s", answer->result < 0 ? answer->why : answer->body);
        pg_order_fail(pg, r, &why);
        return;
    }
    job = mem_alloc(sizeof(*job));
    job->job.work = work_write;
    job->job.done = done_write;
    job->job.fini = fini_write;
    str_copy(job->data_dir, sizeof(job->data_dir), pg->paths.data_dir);
    job->segment_size = pg->look.wal_segment_size;
    job->ask = next_ask(pg);
    job->key = pg->key;
    job->sealed = mem_dup_length(answer->body, answer->length);
    job->length = answer->length;
    job->own_lsn = pg->probe.position.lsn;
    job->replayed_lsn = pg->probe.replayed_lsn;
    job->end_lsn = pg->order.args.end.lsn;
    IGNORE(pg_order_job(pg, &job->job), "the step goes on");
}

static void ask_for_piece(struct postgres *pg)
{
    const char *api_url = pg->order.args.peer.api_url;
    size_t length = strlen(api_url) - strlen(API_PATH);
    struct str url AUTO_STR = STR_INIT(URL_SIZE + 256);
    static const struct http_tls tls = {.insecure = true}; /* the answer is sealed */
    struct tail_ask ask = next_ask(pg);

    str_add_length(&url, api_url, length);
    tail_ask_format(&ask, &pg->key, &url);
    pg->order.question = http_start(
        pg->http,
        &(struct http_options){
            .method = "GET", .url = str_text(&url), .tls = &tls, .timeout_ms = PIECE_MS},
        on_answer, pg);
}

static int step_check(struct postgres *pg, struct err *e)
{
    const char *api_url = pg->order.args.peer.api_url;
    size_t length = strlen(api_url);

    if (!pg->key.is_set) {
        return FAIL(e, ERR_DENIED, "there is no replication password to sign with");
    }
    if (length <= strlen(API_PATH) || !str_equal(api_url + length - strlen(API_PATH), API_PATH)) {
        return FAIL(e, ERR_INVALID, "%.80s is no address of an agent", api_url);
    }
    return STEP_DONE;
}

/* No receiver any more, and none will come. What is replayed does not matter. Or the receiver has
 * brought the rest by itself, of what was on its way. */
static int wait_for_gone(struct postgres *pg, struct err *e)
{
    const struct pg_detach *detach = &pg->detach;
    bool is_gone = detach->is_certain && instant_is_set(detach->gone_since) &&
                   pg->probe.receiver_pid == 0 && pg->probe.received_lsn != 0;
    int r = pg_check_running(pg, e);

    if (r == 0 && (is_gone || pg_is_detached(pg) ||
                   position_compare(pg->probe.position, pg->order.args.end) >= 0)) {
        return STEP_DONE;
    }
    return r;
}

static int step_wait(struct postgres *pg, struct err *e)
{
    int r = wait_for_gone(pg, e);

    return r == 0 ? pg_order_wait(pg, wait_for_gone) : r;
}

static int step_get(struct postgres *pg, struct err *e)
{
    const struct position *end = &pg->order.args.end;
    uint64_t own = pg->probe.position.lsn;

    if (pg->probe.position.timeline != end->timeline || pg->look.wal_segment_size == 0) {
        return FAIL(e, ERR_CONFLICT, "the server here is on another timeline");
    }
    if (own >= end->lsn) {
        return STEP_DONE;
    }
    if (pg->http == NULL) {
        pg->http = http_new(pg->loop);
    }
    pg->order.fetched_lsn = own - own % WAL_PAGE_SIZE;
    ask_for_piece(pg);
    return 0;
}

const struct order_step pg_fetch_steps[] = {
    {"check the address", step_check},
    {"look at the server", pg_step_is_standby},
    {"wait for other files", pg_step_files_idle},
    {"forget the upstream", pg_step_leave},
    {"write the configuration", pg_step_apply},
    {"reload", pg_step_load},
    {"wait for the end of the receiver", step_wait},
    {"get the end of the log", step_get},
    {NULL, NULL},
};

void pg_tail_init(struct postgres *pg)
{
    tail_key_make(pg->config->postgresql.replication.password, pg->config->scope, &pg->key);
}

void pg_tail_cancel(struct postgres *pg)
{
    http_cancel(TAKE(pg->order.question));
}

void pg_tail_fini(struct postgres *pg)
{
    http_free(TAKE(pg->http));
    mem_wipe(&pg->key, sizeof(pg->key));
}
