#include "engine/postgres/postgres.h"

#include "base/assert.h"
#include "engine/postgres/driver.h"
#include "io/ping.h"
#include "io/process.h"

bool pg_is_running(const struct postgres *pg)
{
    return pg->guard.pid != 0 || pg->guard.is_ending != 0;
}

void pg_session_options(const struct postgres *pg, struct session_options *ret)
{
    *ret = (struct session_options){
        .folder = pg->paths.runtime_dir,
        .port = pg->config->postgresql.listen.port,
        .user = pg->config->postgresql.superuser.username,
        .database = "postgres",
    };
}

/* ---- status ---- */

static enum server_state server_state(const struct postgres *pg)
{
    if (!pg->was_told) {
        return pg->look.state == SERVER_BROKEN && !pg->look.has_folder ? SERVER_BROKEN
                                                                       : SERVER_UNKNOWN;
    }
    if (pg_is_running(pg)) {
        if (pg->is_stopping || pg->guard.is_ending != 0) {
            return SERVER_STOPPING;
        }
        if (!pg->probe.is_known) {
            return SERVER_STARTING;
        }
        return pg->probe.in_recovery ? SERVER_STANDBY : SERVER_PRIMARY;
    }
    if (!pg->has_guard) {
        return SERVER_UNKNOWN;
    }
    return pg->look.state == SERVER_DOWN && pg->look.foreign_pid != 0 ? SERVER_BROKEN
                                                                      : pg->look.state;
}

static void fill_running(const struct postgres *pg, struct engine_status *status)
{
    const struct pg_probe *probe = &pg->probe;

    status->is_answering = probe->is_known && !probe->is_late && status->state != SERVER_STOPPING;
    status->silent = status->state != SERVER_STOPPING ? pg->silent : (struct instant){0};
    status->is_promoting =
        (pg->order.is_promoting || pg->is_promoted_by_hand) && status->state != SERVER_PRIMARY;
    status->is_streaming = probe->is_streaming;
    status->looked = probe->begun;
    status->was_lost = pg->was_lost;
    status->is_detached = status->state == SERVER_STANDBY && pg_is_detached(pg);
    status->is_paused = status->state == SERVER_STANDBY && probe->paused_limits[0] != '\0';
    status->is_outgrown = status->is_paused && pg->outgrown.problem[0] != '\0';
    status->sync_serial = pg_sync_serial(pg);
    status->standby_count = probe->standby_count;
    memcpy(status->standbys, probe->standbys, sizeof(status->standbys));
    status->is_checkpointed = probe->is_checkpointed;
    status->pending_restart = probe->pending_restart || (probe->is_known && pg->is_lowered);
    status->position = probe->position;
    if (status->state == SERVER_STARTING) {
        status->needed = pg->stall.needed;
    }
    if (status->state == SERVER_STANDBY && pg->tail.timeline == probe->position.timeline) {
        status->position.lsn = MAX(probe->position.lsn, pg->tail.lsn);
    }
    status->received_lsn = probe->received_lsn;
    status->replayed_lsn = probe->replayed_lsn;
    status->replayed_real_ms = probe->replayed_real_ms;
    status->started_real_ms =
        probe->started_real_ms != 0 ? probe->started_real_ms : pg->guard.started_real_ms;
    status->version = probe->version;
    status->fence = probe->fence;
    if (pg->history.timeline == probe->position.timeline) {
        status->history = pg->history;
    }
    if (status->state != SERVER_PRIMARY) {
        str_copy(status->upstream, sizeof(status->upstream), pg->upstream.name);
    }
}

static void fill_down(const struct postgres *pg, struct engine_status *status)
{
    status->is_torn = status->state == SERVER_DOWN && pg->look.is_torn;
    status->was_clean = pg->look.was_clean;
    status->is_end_known = status->state == SERVER_DOWN && pg->look.is_end_known;
    status->was_primary = pg->look.was_primary;
    status->position = pg->look.position;
    if (status->is_end_known && pg->look.position.lsn > pg->look.redo_lsn) {
        status->recovery_bytes = pg->look.position.lsn - pg->look.redo_lsn;
    }
    if (pg->look.history.timeline == pg->look.position.timeline) {
        status->history = pg->look.history;
    }
}

/* Of a running server: the first of its troubles that there is. */
static const char *running_problem(const struct postgres *pg, enum server_state state)
{
    bool is_refused = pg->was_reached && state != SERVER_STOPPING &&
                      strstr(pg->connect_problem, "the database system is") == NULL;
    const char *const texts[] = {
        is_refused ? pg->connect_problem : "",
        pg->outgrown.problem,
        pg->stall.problem,
        pg_sync_problem(pg),
        pg->complaint,
        pg_fence_problem(pg)};
    size_t at = 0;

    while (at + 1 < ARRAY_LEN(texts) && texts[at][0] == '\0') {
        at++;
    }
    return texts[at];
}

static void fill_problem(const struct postgres *pg, struct engine_status *status)
{
    const char *text = "";

    /* What else is wrong follows from that. */
    if (pg_disk_problem(pg)[0] != '\0') {
        text = pg_disk_problem(pg);
    } else if (!pg->was_told) {
        text = pg->look.problem;
    } else if (!pg->has_guard) {
        text = "the guard does not answer";
    } else if (pg_is_running(pg)) {
        text = running_problem(pg, status->state);
    } else if (status->state == SERVER_BROKEN && pg->look.problem[0] == '\0') {
        str_format(
            status->problem, sizeof(status->problem),
            "process %d, a PostgreSQL server that baton did not start, uses %.100s",
            pg->look.foreign_pid, pg->paths.data_dir);
        return;
    } else {
        text = pg->look.problem[0] != '\0' ? pg->look.problem : pg->exit_problem;
    }
    text = text[0] == '\0' && pg->gate != NULL ? gate_problem(pg->gate) : text;
    if (text[0] == '\0' && status->is_watchdog_failed) {
        str_format(
            status->problem, sizeof(status->problem),
            "the watchdog %.80s, which watchdog.mode requires, does not work: %s",
            pg->watchdog.path,
            pg->watchdog.timeout_s == 0 ? "ttl is too short for it"
                                        : strerror(pg->guard.watchdog_errno));
        return;
    }
    str_copy(status->problem, sizeof(status->problem), text);
}

void pg_report(struct postgres *pg)
{
    struct engine_status status;

    if (pg->is_closed) {
        return;
    }
    memset(&status, 0, sizeof(status));
    status.state = server_state(pg);
    status.system_id = pg->look.system_id;
    status.is_guarded = pg->has_guard;
    status.guard_means = pg->guard.means;
    status.guard_powers = pg->guard.powers;
    status.watchdog = pg->guard.watchdog;
    status.is_watchdog_failed = pg_is_watchdog_failed(pg);
    status.is_opened = pg->guard.is_open != 0;
    status.is_starved = pg->stall.is_starved;
    status.disk = pg_disk_trouble(pg, &status.disk_ill);
    status.tried_timeline = pg->tried_timeline;
    status.deadline = pg->has_guard ? pg->guard.deadline : (struct instant){0, 0};
    if (pg_is_running(pg)) {
        fill_running(pg, &status);
    } else {
        fill_down(pg, &status);
    }
    fill_problem(pg, &status);
    if (!pg->was_asked && memcmp(&status, &pg->reported, sizeof(status)) == 0) {
        return;
    }
    pg->was_asked = false;
    pg->reported = status;
    pg->listener.on_status(pg->listener.arg, &pg->reported);
}

/* ---- what the driver is asked for ---- */

static void on_pace(void *arg)
{
    pg_probe_start(arg);
}

static void start(struct engine *engine, const struct engine_listener *listener)
{
    struct postgres *pg = (struct postgres *)engine;

    pg->listener = *listener;
    pg_tail_init(pg);
    pg_look(pg);
}

/* The first look made runtime_dir, where the guard's socket is. */
void pg_looked(struct postgres *pg)
{
    if (pg->link == NULL && pg->look.has_folder) {
        pg_guard_connect(pg);
    } else if (pg->link == NULL) {
        loop_timer_start(pg->pace, PROBE_PACE_MS);
    }
    pg_order_poke(pg);
    pg_report(pg);
}

static int order(struct engine *engine, const struct engine_order_args *args, struct err *e)
{
    return pg_order_begin((struct postgres *)engine, args, e);
}

static void probe(struct engine *engine)
{
    struct postgres *pg = (struct postgres *)engine;

    pg->was_asked = true;
    if (pg_is_running(pg)) {
        pg_probe_soon(pg);
    } else {
        pg_look(pg);
    }
}

static void arm(struct engine *engine, struct instant deadline)
{
    struct postgres *pg = (struct postgres *)engine;

    if (pg->link != NULL) {
        pg_fence_arm(pg, deadline);
        guard_arm(pg->link, deadline);
    }
}

static void disarm(struct engine *engine)
{
    struct postgres *pg = (struct postgres *)engine;

    if (pg->link != NULL && pg->guard.means != GUARD_MEANS_UNKNOWN) {
        guard_disarm(pg->link);
    }
}

static void watch(struct engine *engine, const struct engine_watch *wanted)
{
    struct postgres *pg = (struct postgres *)engine;
    struct guard_watch watch = {
        .left_ms = wanted->left_ms,
        .timeout_s = (uint32_t)wanted->timeout_s,
        .is_testing = wanted->is_testing,
    };

    /* A path that is too long shows as a watchdog that is off. */
    if (!str_copy(watch.path, sizeof(watch.path), wanted->device)) {
        watch.path[0] = '\0';
    }
    pg->is_watchdog_required = wanted->is_required;
    if (memcmp(&watch, &pg->watchdog, sizeof(watch)) != 0) {
        pg->watchdog = watch;
        pg_watch(pg);
    }
}

static void kill_server(struct engine *engine)
{
    struct postgres *pg = (struct postgres *)engine;

    pg_fence_shut(pg);
    if (pg->link != NULL) {
        guard_kill(pg->link);
    }
    loop_timer_start(pg->kill_kick, 0);
}

/* The end of an order is not reported from inside engine_kill. */
static void on_kill_kick(void *arg)
{
    pg_order_kill(arg);
}

static bool has_same_members(const struct cluster *a, const struct cluster *b)
{
    if (a->member_count != b->member_count || a->settings.use_slots != b->settings.use_slots) {
        return false;
    }
    for (unsigned at = 0; at < a->member_count; at++) {
        const struct member *left = &a->members[at];
        const struct member *right = &b->members[at];

        if (!str_equal(left->name, right->name) || !str_equal(left->conn_url, right->conn_url) ||
            !str_equal(left->tags.replicatefrom, right->tags.replicatefrom) ||
            left->tags.nostream != right->tags.nostream) {
            return false;
        }
    }
    return true;
}

static void set_cluster(
    struct engine *engine, const struct cluster *cluster, const char *config_json)
{
    struct postgres *pg = (struct postgres *)engine;
    const char *text = config_json != NULL ? config_json : "";
    bool is_same = pg->has_cluster && has_same_members(&pg->cluster, cluster);

    pg->cluster = *cluster;
    pg->has_cluster = true;
    if (!is_same) {
        pg_slots_due(pg);
    }
    if (!str_equal(pg->store_text, text)) {
        json_t *store = json_loads(text, 0, NULL);

        is_same = false;
        mem_free(pg->store_text);
        pg->store_text = mem_dup(text);
        /* A damaged key changes nothing: the settings that were good so far stay. */
        if (store != NULL) {
            json_decref(pg->store);
            pg->store = store;
        }
    }
    if (!is_same) {
        pg->is_config_dirty = true;
        pg_apply_background(pg);
    }
}

static void set_sync(struct engine *engine, const struct sync_rule *rule, uint64_t serial)
{
    pg_sync_set((struct postgres *)engine, rule, serial);
}

struct pg_ping {
    struct postgres *pg;
    struct pg_ping *next;
    struct ping *ping;
    char name[MEMBER_NAME_SIZE];
};

static void on_ping(void *arg, bool is_alive)
{
    struct pg_ping *own = arg;
    struct postgres *pg = own->pg;
    struct pg_ping **at = &pg->pings;
    char name[MEMBER_NAME_SIZE];

    while (*at != own) {
        at = &(*at)->next;
    }
    *at = own->next;
    str_copy(name, sizeof(name), own->name);
    mem_free(own);
    pg->listener.on_ping(pg->listener.arg, name, is_alive);
}

static void ping(struct engine *engine, const struct engine_peer *peer, int64_t timeout_ms)
{
    struct postgres *pg = (struct postgres *)engine;
    struct pg_ping *own = mem_alloc(sizeof(*own));
    struct url_parts url = {0};
    bool is_good = url_parse(peer->conn_url, &url, NULL) == 0;

    own->pg = pg;
    own->next = pg->pings;
    pg->pings = own;
    str_copy(own->name, sizeof(own->name), peer->name);
    own->ping = ping_start(
        pg->loop, is_good ? url.host : "", url.port != 0 ? url.port : 5432, timeout_ms, on_ping,
        own);
}

static void free_pings(struct postgres *pg)
{
    while (pg->pings != NULL) {
        struct pg_ping *own = pg->pings;

        pg->pings = own->next;
        ping_free(own->ping);
        mem_free(own);
    }
}

/* ---- life ---- */

static void work_nothing(struct pg_job *job)
{
    job->result = 0;
}

static void done_nothing(struct postgres *pg, struct pg_job *job)
{
    ASSERT(pg != NULL);
    ASSERT(job->result == 0);
}

/* The memory goes with the last job, in a later turn: the caller may stand inside one of our
 * callbacks. */
static void free_engine(struct engine *engine)
{
    struct postgres *pg = (struct postgres *)engine;
    struct pg_job *job = mem_alloc(sizeof(*job));

    ASSERT(!pg->is_closed);
    pg_probe_stop(pg);
    pg_fence_fini(pg);
    pg_disk_fini(pg);
    guard_link_free(pg->link);
    pg->link = NULL;
    loop_watch_free(pg->promotion);
    session_free(pg->session);
    session_free(pg->identify);
    session_free(pg->side);
    pg_slots_free(pg->slots);
    pg_sync_free(pg->sync);
    pg_seen_free(pg->seen);
    free_pings(pg);
    gate_free(pg->gate);
    pg->gate = NULL;
    pg_order_fini(pg);
    pg_tail_fini(pg);
    loop_timer_free(pg->pace);
    pg_probe_fini(pg);
    loop_timer_free(pg->kill_kick);
    loop_timer_free(pg->order_kick);
    loop_timer_free(pg->order_limit);
    json_decref(pg->store);
    pg->store_text = mem_free(pg->store_text);
    pg->is_closed = true;
    job->work = work_nothing;
    job->done = done_nothing;
    pg_job_start(pg, job);
}

static void read_log(
    struct engine *engine, const struct tail_ask *ask, const char *mac, engine_log_done *done,
    void *arg)
{
    pg_read_log((struct postgres *)engine, ask, mac, done, arg);
}

static const struct engine_driver driver = {
    .name = "postgresql",
    .start = start,
    .order = order,
    .probe = probe,
    .arm = arm,
    .disarm = disarm,
    .watch = watch,
    .kill = kill_server,
    .set_cluster = set_cluster,
    .set_sync = set_sync,
    .ping = ping,
    .read_log = read_log,
    .free = free_engine,
};

static void set_paths(struct postgres *pg)
{
    const struct config_postgresql *own = &pg->config->postgresql;
    struct pg_paths *paths = &pg->paths;
    char *slash;
    const struct {
        char *buffer;
        const char *folder;
        const char *name;
    } rows[] = {
        {paths->data_dir, own->data_dir, ""},
        {paths->runtime_dir, own->runtime_dir, ""},
        {paths->new_dir, own->data_dir, ".baton-new"},
        {paths->log, own->runtime_dir, "/postgres.log"},
        {paths->passfile, own->runtime_dir, "/pgpass"},
        {paths->rewinding, own->data_dir, ".rewinding"},
        {paths->slots, own->runtime_dir, "/slots"},
        {paths->bin_configured, own->bin_dir, ""},
        {paths->programs, pg->guard_program, ""},
    };

    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        bool fits =
            str_format(rows[at].buffer, PG_PATH_SIZE, "%s%s", rows[at].folder, rows[at].name);

        ASSERT(fits);
    }
    slash = strrchr(paths->programs, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    paths->os_user = process_user();
}

struct engine *postgres_new(
    struct loop *loop, const struct config *config, const struct postgres_options *options)
{
    struct postgres *pg = mem_alloc(sizeof(*pg));

    pg->engine.driver = &driver;
    pg->loop = loop;
    pg->config = config;
    str_copy(pg->guard_program, sizeof(pg->guard_program), options->guard_program);
    set_paths(pg);
    pg_fence_init(pg);
    pg_disk_init(pg);
    process_user_name(pg->os_user_name, sizeof(pg->os_user_name));
    pg->session = session_new(loop);
    pg->identify = session_new(loop);
    pg->side = session_new(loop);
    pg->slots = pg_slots_new(pg);
    pg->sync = pg_sync_new(pg);
    pg->seen = pg_seen_new(pg);
    pg_gate_init(pg);
    pg->pace = loop_timer_new(loop, on_pace, pg);
    pg_probe_init(pg);
    pg->kill_kick = loop_timer_new(loop, on_kill_kick, pg);
    pg->stuck_ms = PROMOTION_STUCK_MS;
    pg->order_kick = loop_timer_new(loop, pg_order_timer, pg);
    pg->order_limit = loop_timer_new(loop, pg_order_limit, pg);
    return &pg->engine;
}
