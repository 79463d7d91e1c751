/* Replication slots of the members that stream from this server.
 *
 *   idle --(members or role changed, or 10 s)--> open --> list --> create or drop, one at a time
 *    ^------------------------- close <------------------------------------------------|
 *
 * Wanted: on a primary, or one that is being opened, the slot of every other member, unless it
 * replicates from somebody else or does not stream; on a standby those that name it in
 * replicatefrom. Made if missing, with their WAL reserved at once. Dropped are inactive physical
 * slots that are not wanted, of members known now or remembered: a slot that nobody reads keeps WAL
 * until the disk is full. A wanted one that the server has invalidated (max_slot_wal_keep_size,
 * idle_replication_slot_timeout) is dropped and made anew: from PostgreSQL 18 on its standby is
 * refused for ever, also when the WAL that it needs is still there. Names stay remembered in
 * runtime_dir/slots, because the members are gone when it matters. Other people's slots are not
 * touched. */
#include "base/assert.h"
#include "codec/codec.h"
#include "engine/postgres/driver.h"
#include "engine/postgres/quote.h"
#include "io/file.h"

#define NAMES_MAX (4 * MEMBERS_MAX)
#define OPEN_MS 5000
#define QUERY_MS 30000
#define PACE_MS 10000 /* when nothing is known to have changed */
#define RETRY_MS 1000

struct name_list {
    unsigned count;
    char names[NAMES_MAX][SLOT_NAME_SIZE];
};

struct pg_slots {
    struct session *session;
    struct loop_timer *timer; /* not before it has fired */
    bool is_busy;
    bool is_due;
    bool was_primary;
    bool is_loaded; /* the remembered names were read */
    bool is_loading;
    struct name_list wanted;
    struct name_list known; /* of members now or ever */
    char **todo;            /* statements */
    unsigned todo_count;
    unsigned todo_at;
};

struct names_job {
    struct pg_job job;
    char path[PG_PATH_SIZE];
    char *text; /* to be written; NULL: read */
};

static bool has_name(const struct name_list *list, const char *name)
{
    for (unsigned at = 0; at < list->count; at++) {
        if (str_equal(list->names[at], name)) {
            return true;
        }
    }
    return false;
}

/* True if it was added. Full: further names are not remembered, and their slots are left alone. */
static bool add_name(struct name_list *list, const char *name)
{
    if (name[0] == '\0' || list->count == NAMES_MAX || has_name(list, name)) {
        return false;
    }
    return str_copy(list->names[list->count++], SLOT_NAME_SIZE, name);
}

/* ---- the remembered names ---- */

static void work_names(struct pg_job *job)
{
    struct names_job *own = (struct names_job *)job;

    if (own->text != NULL) {
        job->result = file_write(own->path, own->text, strlen(own->text), 0600, &job->err);
    } else {
        job->result = file_read(own->path, 65536, &own->text, NULL, &job->err);
    }
}

static void done_read(struct postgres *pg, struct pg_job *job)
{
    struct names_job *own = (struct names_job *)job;
    struct pg_slots *slots = pg->slots;
    char *line = own->text;

    slots->is_loading = false;
    slots->is_loaded = true;
    while (job->result == 0 && *line != '\0') {
        size_t length = strcspn(line, "\n");
        bool is_last = line[length] == '\0';

        line[length] = '\0';
        IGNORE(!add_name(&slots->known, line), "there already, or full");
        line += length + (is_last ? 0 : 1);
    }
}

static void done_write(struct postgres *pg, struct pg_job *job)
{
    ASSERT(pg != NULL);
    IGNORE(job->result < 0, "a name that is forgotten only keeps its slot");
}

static void fini_names(struct pg_job *job)
{
    mem_free(((struct names_job *)job)->text);
}

static void start_names_job(struct postgres *pg, char *text)
{
    struct names_job *job = mem_alloc(sizeof(*job));

    job->job.work = work_names;
    job->job.done = text != NULL ? done_write : done_read;
    job->job.fini = fini_names;
    job->text = text;
    str_copy(job->path, sizeof(job->path), pg->paths.slots);
    pg_job_start(pg, &job->job);
}

static void remember(struct postgres *pg)
{
    struct str text = STR_INIT(65536);

    for (unsigned at = 0; at < pg->slots->known.count; at++) {
        str_addf(&text, "%s\n", pg->slots->known.names[at]);
    }
    start_names_job(pg, str_take(&text));
}

/* ---- what is wanted ---- */

static bool is_wanted(const struct postgres *pg, const struct member *member, bool is_primary)
{
    const char *from = member->tags.replicatefrom;
    bool names_other = from[0] != '\0' && cluster_find(&pg->cluster, from) != NULL;

    if (str_equal(member->name, pg->config->name) || member->tags.nostream) {
        return false;
    }
    if (names_other) {
        return str_equal(from, pg->config->name);
    }
    return is_primary;
}

static void list_wanted(struct postgres *pg, bool is_primary)
{
    struct pg_slots *slots = pg->slots;
    bool is_new = false;

    slots->wanted.count = 0;
    for (unsigned at = 0; at < pg->cluster.member_count; at++) {
        const struct member *member = &pg->cluster.members[at];
        char name[SLOT_NAME_SIZE];

        url_slot_name(member->name, name);
        is_new = add_name(&slots->known, name) || is_new;
        if (pg_use_slots(pg) && is_wanted(pg, member, is_primary)) {
            IGNORE(!add_name(&slots->wanted, name), "two members with one slot name share it");
        }
    }
    if (is_new) {
        remember(pg);
    }
}

/* ---- one round ---- */

static void forget_todo(struct pg_slots *slots)
{
    for (unsigned at = 0; at < slots->todo_count; at++) {
        mem_free(slots->todo[at]);
    }
    slots->todo = mem_free(slots->todo);
    slots->todo_count = slots->todo_at = 0;
}

static void end_round(struct postgres *pg, int64_t pause_ms)
{
    session_close(pg->slots->session);
    forget_todo(pg->slots);
    pg->slots->is_busy = false;
    loop_timer_start(pg->slots->timer, pause_ms);
}

static void add_todo(
    struct pg_slots *slots, const char *before, const char *name, const char *after)
{
    struct str sql = STR_INIT(1024);

    str_add(&sql, before);
    quote_literal(&sql, name);
    str_add(&sql, after);
    slots->todo = mem_resize(slots->todo, (slots->todo_count + 1) * sizeof(*slots->todo));
    slots->todo[slots->todo_count++] = str_take(&sql);
}

static void make_todo(struct pg_slots *slots, const PGresult *result)
{
    struct name_list there = {0};

    for (int row = 0; row < PQntuples(result); row++) {
        const char *name = PQgetvalue(result, row, 0);
        bool is_idle_physical = str_equal(PQgetvalue(result, row, 1), "physical") &&
                                str_equal(PQgetvalue(result, row, 2), "f");
        bool is_lost = str_equal(PQgetvalue(result, row, 3), "lost");
        bool is_to_go = has_name(&slots->wanted, name) ? is_lost : has_name(&slots->known, name);

        if (is_idle_physical && is_to_go) {
            add_todo(slots, "SELECT pg_drop_replication_slot(", name, ")");
        } else {
            IGNORE(!add_name(&there, name), "full: wanted ones are created again and refused");
        }
    }
    for (unsigned at = 0; at < slots->wanted.count; at++) {
        if (!has_name(&there, slots->wanted.names[at])) {
            add_todo(
                slots, "SELECT pg_create_physical_replication_slot(", slots->wanted.names[at],
                ", true)");
        }
    }
}

static void do_next(struct postgres *pg);

static void on_done(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;

    ASSERT(result != NULL || why != NULL);
    /* One slot that cannot be made or dropped does not stop the others; the next round tries
     * again. */
    if (why != NULL && session_is_closed(pg->slots->session)) {
        end_round(pg, RETRY_MS);
        return;
    }
    do_next(pg);
}

static void do_next(struct postgres *pg)
{
    struct pg_slots *slots = pg->slots;

    if (slots->todo_at == slots->todo_count) {
        end_round(pg, PACE_MS);
        return;
    }
    session_query(slots->session, slots->todo[slots->todo_at++], QUERY_MS, on_done, pg);
}

static void on_list(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;

    if (why != NULL) {
        end_round(pg, RETRY_MS);
        return;
    }
    make_todo(pg->slots, result);
    do_next(pg);
}

static void on_open(void *arg, const PGresult *result, const struct err *why)
{
    struct postgres *pg = arg;

    ASSERT(result == NULL);
    if (why != NULL) {
        end_round(pg, RETRY_MS);
        return;
    }
    session_query(
        pg->slots->session,
        "SELECT slot_name, slot_type, active, wal_status FROM pg_replication_slots"
        " WHERE NOT temporary",
        QUERY_MS, on_list, pg);
}

static void on_timer(void *arg)
{
    struct pg_slots *slots = arg;

    slots->is_due = true;
}

/* ---- from outside ---- */

struct pg_slots *pg_slots_new(struct postgres *pg)
{
    struct pg_slots *slots = mem_alloc(sizeof(*slots));

    slots->session = session_new(pg->loop);
    slots->timer = loop_timer_new(pg->loop, on_timer, slots);
    slots->is_due = true;
    return slots;
}

void pg_slots_free(struct pg_slots *slots)
{
    if (slots == NULL) {
        return;
    }
    forget_todo(slots);
    session_free(slots->session);
    loop_timer_free(slots->timer);
    mem_free(slots);
}

void pg_slots_due(struct postgres *pg)
{
    pg->slots->is_due = true;
}

void pg_slots_tick(struct postgres *pg)
{
    struct pg_slots *slots = pg->slots;
    /* Whoever follows comes while the server is being opened: without its slot it is refused, and
     * tries again only after wal_retrieve_retry_interval. */
    bool is_primary = !pg->probe.in_recovery || pg->order.args.order == ORDER_PROMOTE;
    struct session_options options;

    if (slots->was_primary != is_primary) {
        slots->was_primary = is_primary;
        slots->is_due = true;
    }
    if (slots->is_busy || !slots->is_due || !pg->has_cluster || slots->is_loading) {
        return;
    }
    if (!slots->is_loaded) {
        slots->is_loading = true;
        start_names_job(pg, NULL);
        return;
    }
    slots->is_busy = true;
    slots->is_due = false;
    list_wanted(pg, is_primary);
    pg_session_options(pg, &options);
    session_open(slots->session, &options, OPEN_MS, on_open, pg);
}
