#include "agent/accounts.h"
#include "agent/agent.h"
#include "agent/store.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "client/client.h"
#include "engine/postgres/postgres.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/kept.h"
#include "io/process.h"
#include "io/sink.h"

/* The daemon: real ports around the agent core.
 *
 *   start ── configuration ── lock ── REST ── store ── accounts ── agent_start ── turns ... ──
 * leave ── end
 *
 * REST listens from the beginning, because the agents find each other through it when they run the
 * store themselves. */

#define GUARD_PROGRAM "baton-guard"

/* Between the end of everything and the end of the program: the session's end travels to the store.
 */
#define LAST_MS 200

#define LENGTH_MAX_MS 86400000u

struct daemon {
    struct config *config;
    struct sink *sink;
    struct loop *loop;
    struct client *client;
    struct store *store;
    struct dcs *dcs;
    struct dcs *accounts_dcs;
    struct accounts *accounts;
    struct engine *engine;
    struct agent *agent;
    struct api *api;
    struct loop_timer *turn;    /* when the agent wants its next step */
    struct loop_timer *last;    /* the farewell: last messages get their time to leave */
    struct loop_timer *starter; /* ends the accounts phase outside of its callbacks */
    struct loop_signal *signals[4];
    struct promise_job *promise; /* under way */
    struct past_job *past;       /* the same */
    const char *path;
    char guard_program[PATH_SIZE];
    char node_id[NODE_ID_SIZE];
    enum log_level level;
    int lock_fd;
    bool is_started;
    bool is_ending;
    int exit_code;
};

static struct instant now(void *arg)
{
    ASSERT(arg != NULL);
    return clock_now();
}

static int64_t real_ms(void *arg)
{
    ASSERT(arg != NULL);
    return clock_real_ms();
}

static void log_line(
    void *arg, enum log_level level, const struct log_field *fields, const char *text)
{
    struct daemon *daemon = arg;
    AUTO_STR struct str line = STR_INIT(LOG_LINE_MAX);

    if (level >= daemon->level) {
        log_format(&line, clock_real_ms(), level, fields, text);
        sink_write(daemon->sink, str_text(&line));
    }
}

static void log_plain(
    struct daemon *daemon, enum log_level level, const char *rule, const char *text)
{
    const struct log_field fields[] = {
        {"node", daemon->config->name}, {"rule", rule}, {NULL, NULL}};

    log_line(daemon, level, fields, text);
}

static void on_report(
    void *arg, const char *name, const struct peer_report *report, int result, const char *why)
{
    struct daemon *daemon = arg;

    ASSERT(report != NULL || why != NULL);
    agent_on_report(daemon->agent, name, report, result == ERR_CONFLICT ? why : NULL);
}

static void poll_peer(
    void *arg, const char *name, const char *api_url, int64_t timeout_ms, bool is_urgent)
{
    struct daemon *daemon = arg;

    client_poll(
        daemon->client,
        &(struct client_poll_options){
            .name = name,
            .api_url = api_url,
            .timeout_ms = timeout_ms,
            .is_urgent = is_urgent,
        },
        on_report, daemon);
}

static void on_failsafe(void *arg, const char *name, bool is_promised, const char *why)
{
    struct daemon *daemon = arg;

    if (!is_promised) {
        AUTO_STR struct str line = STR_INIT(512);

        str_addf(&line, "%s does not promise: %s", name, why);
        log_plain(daemon, LOG_LEVEL_WARNING, "failsafe.ask", str_text(&line));
    }
    agent_on_failsafe(daemon->agent, name, is_promised);
}

static void ask_failsafe(
    void *arg, const char *name, const char *api_url, const char *body, int64_t timeout_ms)
{
    struct daemon *daemon = arg;

    client_failsafe(
        daemon->client,
        &(struct client_failsafe_options){
            .name = name,
            .api_url = api_url,
            .body = body,
            .timeout_ms = timeout_ms,
        },
        on_failsafe, daemon);
}

/* What is kept beside the data, which it is about, and must be written on a full disk, too;
 * runtime_dir may be gone after a reboot. The file is made as soon as it is looked for: there may
 * be no room later. RET is "" when nothing is kept. */
static int know(struct daemon *daemon, const char *path, const char *hint, char *ret, struct err *e)
{
    struct err why = {0};
    int r = kept_read(path, ret, e);

    if (r == ERR_NOT_FOUND) {
        ret[0] = '\0';
        r = 0;
    }
    if (r == 0 && kept_make(path, &why) < 0) {
        log_plain(daemon, LOG_LEVEL_INFO, "agent.keep", err_text(&why));
    }
    return r == ERR_CORRUPT ? FAIL(e, ERR_CORRUPT, "%s is damaged\nhint: %s", path, hint) : r;
}

struct promise_job {
    struct daemon *daemon; /* NULL: it has ended meanwhile */
    uint64_t term;
    char path[PATH_SIZE + 16];
    int result;
    struct err why;
};

static void path_beside(const struct config *config, const char *suffix, char *buffer, size_t size)
{
    IGNORE(
        !str_format(buffer, size, "%s.%s", config->postgresql.data_dir, suffix),
        "config limits paths");
}

static void work_promise(void *arg)
{
    struct promise_job *job = arg;
    char text[32];

    IGNORE(!str_format(text, sizeof(text), "%" PRIu64, job->term), "a number fits");
    job->result = kept_write(job->path, text, &job->why);
}

static void done_promise(void *arg)
{
    AUTO_FREE struct promise_job *job = arg;

    if (job->daemon == NULL) {
        return;
    }
    job->daemon->promise = NULL;
    agent_on_promise(job->daemon->agent, job->term, job->result, &job->why);
}

static void promise(void *arg, uint64_t term)
{
    struct daemon *daemon = arg;
    struct promise_job *job = mem_alloc(sizeof(*job));

    ASSERT(daemon->promise == NULL);
    *job = (struct promise_job){.daemon = daemon, .term = term};
    path_beside(daemon->config, "promise", job->path, sizeof(job->path));
    daemon->promise = job;
    loop_work(daemon->loop, work_promise, done_promise, job);
}

/* A file that cannot be read may say anything: going on without it could lose what was promised. */
static int know_promise(struct daemon *daemon, uint64_t *ret, struct err *e)
{
    static const char hint[] = "if this node's data has never been a synchronous standby's, or is "
                               "to be copied anew, remove the file";
    char path[PATH_SIZE + 16];
    char text[KEPT_SIZE];
    int r;

    path_beside(daemon->config, "promise", path, sizeof(path));
    r = know(daemon, path, hint, text, e);
    *ret = 0;
    if (r == 0 && text[0] != '\0' && parse_u64(text, ret, NULL) < 0) {
        return FAIL(e, ERR_CORRUPT, "%s is damaged\nhint: %s", path, hint);
    }
    return r;
}

/* "SYSTEM-ID TERM TIMELINE LENGTH OWN-TERM"; before 2026-11-26 without the last. */
struct past_job {
    struct daemon *daemon; /* NULL: it has ended meanwhile */
    struct lease_past past;
    char path[PATH_SIZE + 16];
    int result;
    struct err why;
};

static void work_past(void *arg)
{
    struct past_job *job = arg;
    char text[KEPT_SIZE];

    IGNORE(
        !str_format(
            text, sizeof(text), "%" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRId64 " %" PRIu64,
            job->past.system_id, job->past.term, job->past.timeline, job->past.length_ms,
            job->past.own_term),
        "numbers fit");
    job->result = kept_write(job->path, text, &job->why);
}

static void done_past(void *arg)
{
    AUTO_FREE struct past_job *job = arg;

    if (job->daemon != NULL) {
        job->daemon->past = NULL;
        agent_on_remembered(job->daemon->agent, job->result, &job->why);
    }
}

static void remember(void *arg, const struct lease_past *past)
{
    struct daemon *daemon = arg;
    struct past_job *job = mem_alloc(sizeof(*job));

    ASSERT(daemon->past == NULL);
    *job = (struct past_job){.daemon = daemon, .past = *past};
    path_beside(daemon->config, "seen", job->path, sizeof(job->path));
    daemon->past = job;
    loop_work(daemon->loop, work_past, done_past, job);
}

static bool parse_past(char *text, struct lease_past *ret)
{
    uint64_t numbers[5] = {0};

    for (size_t at = 0; at < ARRAY_LEN(numbers) && (at < 4 || text[0] != '\0'); at++) {
        size_t length = strcspn(text, " ");
        char *next = text + length + (text[length] != '\0' ? 1 : 0);

        text[length] = '\0';
        if (parse_u64(text, &numbers[at], NULL) < 0) {
            return false;
        }
        text = next;
    }
    *ret = (struct lease_past){
        .system_id = numbers[0],
        .term = numbers[1],
        .timeline = (uint32_t)numbers[2],
        .length_ms = (int64_t)numbers[3],
        .own_term = numbers[4],
    };
    return numbers[2] <= UINT32_MAX && numbers[3] <= LENGTH_MAX_MS;
}

static int know_past(struct daemon *daemon, struct lease_past *ret, struct err *e)
{
    static const char hint[] = "remove it, unless the store was wiped or restored a moment ago";
    char path[PATH_SIZE + 16];
    char text[KEPT_SIZE];
    int r;

    path_beside(daemon->config, "seen", path, sizeof(path));
    r = know(daemon, path, hint, text, e);
    *ret = (struct lease_past){0};
    if (r == 0 && text[0] != '\0' && !parse_past(text, ret)) {
        return FAIL(e, ERR_CORRUPT, "%s is damaged\nhint: %s", path, hint);
    }
    return r;
}

/* A stop is complete: the server is down and the lease given away. */
static void end(struct daemon *daemon)
{
    if (!daemon->is_ending) {
        daemon->is_ending = true;
        log_plain(daemon, LOG_LEVEL_INFO, "agent.end", "stopped");
        dcs_end_session(daemon->dcs);
        store_stop(daemon->store);
        loop_timer_start(daemon->last, LAST_MS);
    }
}

static void on_last(void *arg)
{
    const struct daemon *daemon = arg;

    loop_stop(daemon->loop);
}

static void turn(void *arg)
{
    struct daemon *daemon = arg;

    if (!daemon->is_started || daemon->is_ending) {
        return;
    }
    loop_timer_start(daemon->turn, agent_step(daemon->agent));
    if (agent_is_refused(daemon->agent)) {
        log_plain(
            daemon, LOG_LEVEL_ERROR, "agent.namesake",
            "there is already a node of this name running; hint: give each node its own name");
        daemon->exit_code = 1;
        daemon->is_ending = true;
        loop_stop(daemon->loop);
        return;
    }
    if (agent_is_done(daemon->agent)) {
        end(daemon);
    }
}

static void on_turn_timer(void *arg)
{
    /* The turn itself follows at the end of this turn of the loop. */
    ASSERT(arg != NULL);
}

static void on_leave_signal(void *arg)
{
    struct daemon *daemon = arg;

    if (!daemon->is_started) {
        end(daemon);
        return;
    }
    agent_leave(daemon->agent);
}

/* For an upgrade: the program goes, the server, the guard and the store member stay. */
static void on_detach_signal(void *arg)
{
    struct daemon *daemon = arg;

    log_plain(daemon, LOG_LEVEL_INFO, "agent.detach", "leaving the server as it is");
    daemon->is_ending = true;
    loop_stop(daemon->loop);
}

static int load_config(
    const char *path, struct config **ret, struct findings *findings, struct err *e)
{
    AUTO_FREE char *text = NULL;
    char host[HOST_SIZE];
    int r = file_read(path, CONFIG_TEXT_MAX, &text, NULL, e);

    if (r < 0) {
        return err_wrap(e, r, "read the configuration");
    }
    process_host_name(host, sizeof(host));
    *ret = config_parse(path, text, process_environment(), host, findings);
    return 0;
}

/* Before the log is open: to whoever started the program. */
static void show_findings(struct sink *sink, const struct findings *findings)
{
    for (unsigned at = 0; at < MIN(findings->count, (unsigned)FINDINGS_MAX); at++) {
        AUTO_STR struct str line = STR_INIT(2048);

        finding_format(&findings->items[at], &line);
        sink_write(sink, str_text(&line));
    }
}

static void on_reload_signal(void *arg)
{
    struct daemon *daemon = arg;
    struct findings *findings = mem_alloc(sizeof(*findings));
    struct config *changed = NULL;
    struct err e = {0};

    if (load_config(daemon->path, &changed, findings, &e) < 0) {
        log_plain(daemon, LOG_LEVEL_ERROR, "config.reload", err_text(&e));
    } else if (findings->errors == 0) {
        config_reload_check(daemon->config, changed, findings);
    }
    for (unsigned at = 0; at < MIN(findings->count, (unsigned)FINDINGS_MAX); at++) {
        log_plain(
            daemon,
            findings->items[at].severity == FINDING_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
            "config.reload", findings->items[at].text);
    }
    config_free(changed);
    mem_free(findings);
}

static void on_accounts(void *arg, int result, const struct err *why)
{
    struct daemon *daemon = arg;

    if (result < 0) {
        log_plain(daemon, LOG_LEVEL_ERROR, "agent.accounts", err_text(why));
        daemon->exit_code = err_exit_code(result);
        daemon->is_ending = true;
        loop_stop(daemon->loop);
        return;
    }
    loop_timer_start(daemon->starter, 0);
}

static void start_agent(void *arg)
{
    struct daemon *daemon = arg;

    store_disconnect(daemon->store, TAKE(daemon->accounts_dcs));
    accounts_free(TAKE(daemon->accounts));
    daemon->is_started = true;
    agent_start(daemon->agent);
    process_notify("READY=1");
    log_plain(daemon, LOG_LEVEL_INFO, "agent.start", "the accounts are known, beginning");
}

static void source_snapshot(void *arg, struct api_snapshot *ret)
{
    const struct daemon *daemon = arg;

    agent_snapshot(daemon->agent, ret);
    if (!daemon->is_started && daemon->accounts != NULL) {
        const struct dcs_health *health = accounts_health(daemon->accounts);

        IGNORE(!str_copy(ret->dcs_problem, sizeof(ret->dcs_problem), health->problem), "same");
        IGNORE(!str_copy(ret->dcs_endpoint, sizeof(ret->dcs_endpoint), health->endpoint), "same");
    }
    if (!ret->dcs_ok && store_status(daemon->store)[0] != '\0') {
        IGNORE(
            !str_copy(ret->dcs_problem, sizeof(ret->dcs_problem), store_status(daemon->store)),
            "cut is fine");
    }
}

static void answer_call(void *arg, int status, const char *text)
{
    api_answer(arg, status, text);
}

static void source_request(
    void *arg, const struct failover_request *request, bool is_failover, struct api_call *call)
{
    const struct daemon *daemon = arg;

    agent_request(daemon->agent, request, is_failover, answer_call, call);
}

static void source_look(void *arg)
{
    const struct daemon *daemon = arg;

    agent_look(daemon->agent);
}

static const char *source_failsafe(void *arg, const struct failsafe_ask *ask)
{
    const struct daemon *daemon = arg;

    return daemon->is_started ? agent_failsafe(daemon->agent, ask) : "the agent is starting";
}

static char *source_store_answer(void *arg)
{
    const struct daemon *daemon = arg;

    return store_answer(daemon->store);
}

static char *source_store_members(void *arg, struct err *e)
{
    const struct daemon *daemon = arg;

    return store_members(daemon->store, e);
}

static void source_store_change(
    void *arg, enum api_store_change what, const char *name, struct api_call *call)
{
    static const char *const rules[] = {
        [API_STORE_LEAVE] = "store.leave",
        [API_STORE_REMOVE] = "store.remove",
        [API_STORE_JOIN] = "store.join",
    };
    struct daemon *daemon = arg;

    log_plain(
        daemon, LOG_LEVEL_INFO, rules[what],
        name[0] != '\0' ? name : "asked to change the membership of the store");
    store_change(daemon->store, what, name, call);
}

static void source_read_log(
    void *arg, const struct tail_ask *ask, const char *mac, struct api_call *call)
{
    const struct daemon *daemon = arg;

    agent_read_log(daemon->agent, ask, mac, api_answer_log, call);
}

/* baton-guard lies beside this program. */
static int find_guard(struct daemon *daemon, struct err *e)
{
    char self[PATH_SIZE];
    char *slash;
    int r = process_program(self, sizeof(self), e);

    if (r < 0) {
        return r;
    }
    slash = strrchr(self, '/');
    ASSERT(slash != NULL);
    *slash = '\0';
    if (!str_format(
            daemon->guard_program, sizeof(daemon->guard_program), "%s/" GUARD_PROGRAM, self)) {
        return FAIL(e, ERR_LIMIT, "the path of this program is too long");
    }
    if (!file_is_program(daemon->guard_program)) {
        return FAIL(
            e, ERR_NOT_FOUND, "%s is missing\nhint: install " GUARD_PROGRAM " beside baton",
            daemon->guard_program);
    }
    return 0;
}

/* One agent a data directory: two would fight over the guard. */
static int take_lock(struct daemon *daemon, struct err *e)
{
    const char *folder = daemon->config->postgresql.runtime_dir;
    char path[PATH_SIZE + 16];
    int r;

    if (process_user() == 0) {
        return FAIL(
            e, ERR_DENIED,
            "the agent must not run as root: PostgreSQL refuses that\nhint: run it as the user who "
            "owns the data directory");
    }
    r = file_make_folder(folder, 0700, e);
    if (r < 0) {
        return err_wrap(e, r, "make the runtime folder");
    }
    IGNORE(
        !str_format(path, sizeof(path), "%s.lock", daemon->config->postgresql.data_dir),
        "config limits paths");
    r = file_lock(path, &daemon->lock_fd, e);
    if (r < 0) {
        return err_wrap(e, r, "one agent a data directory");
    }
    return 0;
}

/* What tells this node from another one of the same name. */
static int know_node_id(struct daemon *daemon, struct err *e)
{
    AUTO_FREE char *text = NULL;
    char path[PATH_SIZE + 16];
    enum file_kind kind = FILE_MISSING;
    int r;

    IGNORE(
        !str_format(path, sizeof(path), "%s/node-id", daemon->config->postgresql.runtime_dir),
        "config limits paths");
    r = file_kind(path, &kind, e);
    if (r == 0 && kind == FILE_MISSING) {
        process_password(daemon->node_id, sizeof(daemon->node_id) - 1);
        return file_write(path, daemon->node_id, strlen(daemon->node_id), 0600, e);
    }
    if (r == 0) {
        r = file_read(path, sizeof(daemon->node_id), &text, NULL, e);
    }
    if (r == 0 && strlen(text) != sizeof(daemon->node_id) - 1) {
        return FAIL(e, ERR_CORRUPT, "%s is damaged\nhint: remove it, a new one is made", path);
    }
    if (r == 0) {
        IGNORE(!str_copy(daemon->node_id, sizeof(daemon->node_id), text), "measured");
    }
    return r;
}

static int build(struct daemon *daemon, struct err *e)
{
    const struct api_source source = {
        .snapshot = source_snapshot,
        .request = source_request,
        .look = source_look,
        .failsafe = source_failsafe,
        .read_log = source_read_log,
        .store_answer = source_store_answer,
        .store_members = source_store_members,
        .store_change = source_store_change,
        .arg = daemon,
    };
    const struct postgres_options options = {.guard_program = daemon->guard_program};
    struct agent_ports ports = {
        .node_id = daemon->node_id,
        .now = now,
        .real_ms = real_ms,
        .poll = poll_peer,
        .promise = promise,
        .failsafe = ask_failsafe,
        .remember = remember,
        .log = log_line,
        .arg = daemon,
    };
    int r;

    daemon->client = client_new(daemon->loop, daemon->config);
    r = know_promise(daemon, &ports.promised, e);
    if (r == 0) {
        r = know_past(daemon, &ports.past, e);
    }
    if (r == 0) {
        r = store_new(
            daemon->loop, daemon->config, daemon->client, daemon->guard_program, &daemon->store, e);
    }
    if (r < 0) {
        return r;
    }
    daemon->dcs = store_connect(daemon->store);
    daemon->accounts_dcs = store_connect(daemon->store);
    daemon->engine = postgres_new(daemon->loop, daemon->config, &options);
    ports.dcs = daemon->dcs;
    ports.engine = daemon->engine;
    daemon->agent = agent_new(daemon->config, &ports);
    return api_new(daemon->loop, daemon->config, &source, &daemon->api, e);
}

static void start(struct daemon *daemon)
{
    static const struct {
        int number;
        void (*function)(void *arg);
    } signals[] = {
        {SIGTERM, on_leave_signal},
        {SIGINT, on_leave_signal},
        {SIGUSR2, on_detach_signal},
        {SIGHUP, on_reload_signal},
    };

    for (size_t at = 0; at < ARRAY_LEN(signals); at++) {
        daemon->signals[at] =
            loop_signal_new(daemon->loop, signals[at].number, signals[at].function, daemon);
    }
    daemon->turn = loop_timer_new(daemon->loop, on_turn_timer, daemon);
    daemon->last = loop_timer_new(daemon->loop, on_last, daemon);
    daemon->starter = loop_timer_new(daemon->loop, start_agent, daemon);
    loop_on_turn(daemon->loop, turn, daemon);
    store_start(daemon->store);
    daemon->accounts =
        accounts_new(daemon->loop, daemon->config, daemon->accounts_dcs, on_accounts, daemon);
}

static void stop(struct daemon *daemon)
{
    /* Drivers end what is under way through their callbacks: what those reach goes last. */
    api_free(daemon->api);
    if (daemon->promise != NULL) {
        daemon->promise->daemon = NULL;
    }
    if (daemon->past != NULL) {
        daemon->past->daemon = NULL;
    }
    if (daemon->store != NULL) {
        store_disconnect(daemon->store, daemon->accounts_dcs);
        store_disconnect(daemon->store, daemon->dcs);
    }
    engine_free(daemon->engine);
    accounts_free(daemon->accounts);
    agent_free(daemon->agent);
    store_free(daemon->store);
    client_free(daemon->client);
    for (size_t at = 0; at < ARRAY_LEN(daemon->signals); at++) {
        loop_signal_free(daemon->signals[at]);
    }
    loop_timer_free(daemon->turn);
    loop_timer_free(daemon->last);
    loop_timer_free(daemon->starter);
    loop_free(daemon->loop);
    sink_close(daemon->sink);
    file_auto_close(&daemon->lock_fd);
}

static enum log_level level_of(const char *name)
{
    for (enum log_level level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
        if (str_equal(log_level_name(level), name)) {
            return level;
        }
    }
    return LOG_LEVEL_INFO;
}

static int run(struct daemon *daemon, struct err *e)
{
    int r = find_guard(daemon, e);

    if (r == 0) {
        r = take_lock(daemon, e);
    }
    if (r == 0) {
        r = know_node_id(daemon, e);
    }
    if (r == 0) {
        r = sink_open(daemon->config->log_dir, "baton.log", &daemon->sink, e);
    }
    if (r < 0) {
        return r;
    }
    daemon->level = level_of(daemon->config->log_level);
    daemon->loop = loop_new();
    r = build(daemon, e);
    if (r == 0) {
        start(daemon);
        loop_run(daemon->loop);
    }
    return r;
}

int agent_main(const char *config_path)
{
    struct daemon *daemon = mem_alloc(sizeof(*daemon));
    struct findings *findings = mem_alloc(sizeof(*findings));
    struct sink *terminal = NULL;
    struct err e = {0};
    int r = sink_open("", "", &terminal, &e);

    mem_stay_small();
    daemon->path = config_path;
    daemon->lock_fd = -1;
    if (r == 0) {
        r = load_config(config_path, &daemon->config, findings, &e);
        show_findings(terminal, findings);
    }
    if (r == 0 && findings->errors > 0) {
        r = FAIL(
            &e, ERR_CONFIG, "%u errors in %s\nhint: 'baton agent --check %s' shows them",
            findings->errors, config_path, config_path);
    }
    if (r == 0) {
        r = run(daemon, &e);
    }
    if (r < 0) {
        AUTO_STR struct str line = STR_INIT(2048);

        str_addf(&line, "baton: %s", err_text(&e));
        sink_write(terminal, str_text(&line));
        daemon->exit_code = err_exit_code(r);
    }
    stop(daemon);
    config_free(daemon->config);
    mem_free(findings);
    sink_close(terminal);
    r = daemon->exit_code;
    mem_free(daemon);
    return r;
}
