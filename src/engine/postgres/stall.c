/* Why a standby does not stream: what it has written to its log since it stopped.
 *
 *   alone -> size of the log -> 2 s -> read on from there -> sentence, refusals -> 1 s -> read ...
 *
 * A standby that needs WAL which its upstream has removed asks for it on and on, every
 * wal_retrieve_retry_interval (5 s), and for what its restore_command has in between. When the same
 * segment was refused several times in a row, for long enough (an archive may be out of reach for a
 * while), nothing will bring it: it starves. That stays true while the server is stopped, until
 * other data is here or another upstream is set. A slot that was invalidated is made anew by the
 * upstream's agent (slots.c): that gets as long as an archive.
 *
 * One that is not ready yet, because it needs what its upstream has not got, writes nothing about
 * that; its control file says how much log it needs.
 *
 * The words are PostgreSQL's English ones. With lc_messages in another language the reason is not
 * found: nothing is said, and nothing done. */
#include "engine/postgres/driver.h"
#include "io/clock.h"
#include "io/file.h"

#define PATIENCE_MS 2000
#define READ_MS 1000
#define LOG_TAIL 65536
#define REFUSALS 3
#define STREAMING_PROBES 3 /* a receiver that will be refused streams for a moment, too */
#define STARVED_MS 10000
#define STARVED_PATIENT_MS 60000 /* with an archive, or for a slot */
#define DAMAGE_HINT "\nhint: its log is damaged: move the data away, it is copied anew"
#define SLOT "slot"     /* instead of a segment's name */
#define SEGMENT_SIZE 25 /* of a WAL file's name, with the end */

struct stall_job {
    struct pg_job job;
    char log[PG_PATH_SIZE];
    char data_dir[PG_PATH_SIZE];
    bool is_starting;
    uint64_t number;
    int64_t from; /* negative: only where it ends now */
    struct position needed;
    char problem[sizeof(((struct pg_stall *)NULL)->problem)];
    unsigned refusals;
    bool is_of_slot; /* the last one */
};

/* The line of a client that was not let in looks alike; those of replication have one of these. */
static bool is_about_replication(const char *line)
{
    static const char *const words[] = {"WAL", "primary server", "replication", "No space left"};

    for (size_t at = 0; at < ARRAY_LEN(words); at++) {
        if (strstr(line, words[at]) != NULL) {
            return true;
        }
    }
    return false;
}

/* "... requested WAL segment 000000020000000000000003 has already been removed", or from 18 on
 * "... can no longer access replication slot "node_2"". */
static bool is_refusal(const char *line, char *ret_segment)
{
    static const char before[] = "requested WAL segment ";
    const char *at = strstr(line, before);

    if (strstr(line, "can no longer access replication slot") != NULL) {
        str_copy(ret_segment, SEGMENT_SIZE, SLOT);
        return true;
    }
    if (at == NULL || strstr(at, "has already been removed") == NULL) {
        return false;
    }
    at += strlen(before);
    str_format(ret_segment, SEGMENT_SIZE, "%.*s", (int)strcspn(at, " "), at);
    return true;
}

/* "LOG:  could not read from log segment NAME, offset 1122304: read 8160 of 8192": its own file is
 * too short, which no receiver mends: the server reads it on and on instead. */
static const char *find_damage(const char *line)
{
    const char *at = strstr(line, "could not read from ");

    return at != NULL && strstr(at, " segment ") != NULL ? at : NULL;
}

void pg_stall_read(
    char *text, char *problem, size_t size, unsigned *ret_refusals, bool *ret_is_of_slot)
{
    char last[SEGMENT_SIZE] = "";

    *ret_refusals = 0;
    for (char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        char *next = line + length + (line[length] != '\0' ? 1 : 0);
        char segment[SEGMENT_SIZE];
        const char *fatal;
        const char *damage;

        line[length] = '\0';
        fatal = strstr(line, "FATAL:");
        damage = find_damage(line);
        if (damage != NULL) {
            str_format(problem, size, "it does not stream: %.112s" DAMAGE_HINT, damage);
            *ret_refusals = 0;
        }
        if (fatal != NULL && is_about_replication(fatal)) {
            str_format(
                problem, size, "it does not stream: %s",
                fatal + strlen("FATAL:") + strspn(fatal + strlen("FATAL:"), " "));
            if (!is_refusal(fatal, segment)) {
                *ret_refusals = 0;
            } else {
                *ret_refusals = str_equal(segment, last) ? *ret_refusals + 1 : 1;
                str_copy(last, sizeof(last), segment);
            }
        }
        line = next;
    }
    *ret_is_of_slot = str_equal(last, SLOT);
}

static void read_needed(struct stall_job *own)
{
    struct control control;

    if (pg_read_control(own->data_dir, &control, NULL) == 0 &&
        control.state == CONTROL_IN_ARCHIVE_RECOVERY) {
        own->needed =
            (struct position){control.minimum_recovery_timeline, control.minimum_recovery_lsn};
    }
}

static void work_stall(struct pg_job *job)
{
    struct stall_job *own = (struct stall_job *)job;
    AUTO_FREE char *text = NULL;
    struct file_facts facts;
    int64_t from = own->from;

    job->result = file_facts(own->log, &facts, &job->err);
    if (job->result < 0 || from < 0) {
        own->from = job->result < 0 ? 0 : facts.size;
        return;
    }
    from = MAX(from > facts.size ? 0 : from, facts.size - LOG_TAIL);
    job->result = file_read_part(own->log, (uint64_t)from, LOG_TAIL, &text, NULL, &job->err);
    if (job->result == 0) {
        pg_stall_read(text, own->problem, sizeof(own->problem), &own->refusals, &own->is_of_slot);
    }
    if (own->is_starting) {
        read_needed(own);
    }
}

static bool is_long(struct postgres *pg, bool is_patient)
{
    return instant_elapsed_min_ms(pg->stall.since, clock_now()) >=
           (is_patient || pg_has_restore_command(pg) ? STARVED_PATIENT_MS : STARVED_MS);
}

static void done_stall(struct postgres *pg, struct pg_job *job)
{
    const struct stall_job *own = (const struct stall_job *)job;
    struct pg_stall *stall = &pg->stall;

    stall->is_reading = false;
    if (stall->number != own->number) {
        return;
    }
    if (stall->from < 0) {
        stall->from = own->from;
        return;
    }
    stall->needed = own->needed;
    if (job->result == 0 && own->problem[0] != '\0') {
        str_copy(stall->problem, sizeof(stall->problem), own->problem);
        stall->is_starved = own->refusals >= REFUSALS && is_long(pg, own->is_of_slot);
    }
    pg_report(pg);
}

static void read_log(struct postgres *pg)
{
    struct stall_job *job = mem_alloc(sizeof(*job));

    pg->stall.is_reading = true;
    pg->stall.read = clock_now();
    job->job.work = work_stall;
    job->job.done = done_stall;
    job->number = pg->stall.number;
    job->from = pg->stall.from;
    job->is_starting = !pg->probe.is_known;
    str_copy(job->log, sizeof(job->log), pg->paths.log);
    str_copy(job->data_dir, sizeof(job->data_dir), pg->paths.data_dir);
    pg_job_start(pg, &job->job);
}

/* One that does not answer yet may be waiting for the WAL that makes it consistent. */
static bool is_alone(const struct postgres *pg)
{
    if (!pg_is_running(pg) || pg->is_stopping || pg->upstream.name[0] == '\0') {
        return false;
    }
    return !pg->probe.is_known || (pg->probe.in_recovery && !pg->probe.is_streaming);
}

void pg_stall_tick(struct postgres *pg)
{
    struct pg_stall *stall = &pg->stall;
    struct instant now = clock_now();

    if (!is_alone(pg)) {
        stall->streaming++;
        if (instant_is_set(stall->since) &&
            (!pg->probe.is_streaming || stall->streaming >= STREAMING_PROBES)) {
            pg_stall_forget(pg);
        }
        return;
    }
    stall->streaming = 0;
    if (!instant_is_set(stall->since)) {
        stall->since = now;
        stall->from = -1;
    }
    if (!stall->is_reading &&
        (stall->from < 0 || (instant_elapsed_max_ms(stall->since, now) >= PATIENCE_MS &&
                             instant_elapsed_max_ms(stall->read, now) >= READ_MS))) {
        read_log(pg);
    }
}

void pg_stall_end(struct postgres *pg)
{
    pg->stall.number++;
    pg->stall.since = (struct instant){0, 0};
    pg->stall.problem[0] = '\0';
    pg->stall.needed = (struct position){0};
}

void pg_stall_forget(struct postgres *pg)
{
    pg_stall_end(pg);
    pg->stall.is_starved = false;
}
