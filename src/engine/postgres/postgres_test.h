/* postgres_test.h - the lab of postgres_test.c, sync_test.c and left_test.c: up to three nodes with
 * real servers on one loop, ways to give orders and to wait. None uses all of it. */
#pragma once
#pragma GCC diagnostic ignored "-Wunused-function"

#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "codec/codec.h"
#include "engine/postgres/postgres.h"
#include "engine/postgres/versions.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/port_test.h"
#include "io/process.h"

#include <grp.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define NOBODY 65534
#define OOM_SCORE "7" /* of the backends */
#define WAIT_MS 60000
#define LEASE_MS 600000

/* Fewer connections than initdb writes into the control file. */
#define JSON_50 "{\"postgresql\":{\"parameters\":{\"max_connections\":50}}}"
#define JSON_40 "{\"postgresql\":{\"parameters\":{\"max_connections\":40}}}"

struct node {
    struct config config;
    struct engine *engine;
    struct engine_status status;
    unsigned statuses;
    bool was_broken;     /* since somebody cleared it */
    double unknown_ms;   /* when it became UNKNOWN last */
    double blindness_ms; /* how long it was UNKNOWN last */
    bool is_ordered;     /* an order is in progress */
    int result;
    struct err why;
    char pinged[MEMBER_NAME_SIZE]; /* last */
    bool is_alive;
    unsigned pings;
};

static struct {
    struct loop *loop;
    struct loop_timer *timer;
    char folder[64];
    char guard[600];
    struct node nodes[3];
    int ports[3]; /* of them */
    struct cluster cluster;
    const char *json;
    char dcs_json[128];
    bool (*until)(void);
    bool is_timed_out;
} lab;

static struct node *const a = &lab.nodes[0];
static struct node *const b = &lab.nodes[1];
static struct node *const c = &lab.nodes[2];

/* ---- running the loop until something is so ---- */

static void check(void *arg)
{
    assert_null(arg);
    if (lab.until != NULL && lab.until()) {
        loop_stop(lab.loop);
    }
}

static void on_timer(void *arg)
{
    assert_null(arg);
    lab.is_timed_out = true;
    loop_stop(lab.loop);
}

static bool wait_ms(bool (*until)(void), int64_t ms)
{
    lab.until = until;
    lab.is_timed_out = false;
    if (until != NULL && until()) {
        return true;
    }
    loop_timer_start(lab.timer, ms);
    loop_run(lab.loop);
    loop_timer_stop(lab.timer);
    lab.until = NULL;
    return !lab.is_timed_out;
}

static void await_at(bool (*until)(void), int line)
{
    if (!wait_ms(until, WAIT_MS)) {
        fail_msg(
            "line %d: waited in vain; a: %s \"%s\", b: %s \"%s\"", line,
            server_state_text(a->status.state), a->status.problem,
            server_state_text(b->status.state), b->status.problem);
    }
}

#define await(until) await_at(until, __LINE__)

static double now_ms(void)
{
    return (double)clock_now().raw_ns / 1e6;
}

/* ---- nodes ---- */

static void on_status(void *arg, const struct engine_status *status)
{
    struct node *node = arg;

    if (status->state == SERVER_UNKNOWN && node->status.state != SERVER_UNKNOWN) {
        node->unknown_ms = now_ms();
    } else if (status->state != SERVER_UNKNOWN && node->status.state == SERVER_UNKNOWN) {
        node->blindness_ms = now_ms() - node->unknown_ms;
    }
    node->status = *status;
    node->was_broken = node->was_broken || status->state == SERVER_BROKEN;
    node->statuses++;
}

static void on_ping(void *arg, const char *name, bool is_alive)
{
    struct node *node = arg;

    str_copy(node->pinged, sizeof(node->pinged), name);
    node->is_alive = is_alive;
    node->pings++;
}

static void on_order(void *arg, enum engine_order order, int result, const struct err *why)
{
    struct node *node = arg;

    assert_true(order != ORDER_NONE);
    assert_true(node->is_ordered);
    node->is_ordered = false;
    node->result = result;
    node->why = *why;
}

static bool orders_have_ended(void)
{
    return !a->is_ordered && !b->is_ordered && !c->is_ordered;
}

static int order_with(struct node *node, const struct engine_order_args *args)
{
    struct err why = {0};
    int r;

    node->is_ordered = true;
    r = engine_order(node->engine, args, &why);
    if (r < 0) {
        node->is_ordered = false;
        node->why = why;
        return r;
    }
    await(orders_have_ended);
    return node->result;
}

static void must(struct node *node, const struct engine_order_args *args)
{
    int r = order_with(node, args);

    if (r < 0) {
        fail_msg("%s: %s", engine_order_text(args->order), err_text(&node->why));
    }
}

static void peer_of(const struct node *node, struct engine_peer *ret)
{
    str_copy(ret->name, sizeof(ret->name), node->config.name);
    str_format(
        ret->conn_url, sizeof(ret->conn_url), "postgres://127.0.0.1:%d/postgres",
        node->config.postgresql.listen.port);
}

static struct engine_order_args args_for(enum engine_order order, const struct node *peer)
{
    struct engine_order_args args = {.order = order};

    if (peer != NULL) {
        peer_of(peer, &args.peer);
    }
    return args;
}

static void must_do(struct node *node, enum engine_order order, const struct node *peer)
{
    const struct engine_order_args args = args_for(order, peer);

    must(node, &args);
}

static int try_to(struct node *node, enum engine_order order, const struct node *peer)
{
    const struct engine_order_args args = args_for(order, peer);

    return order_with(node, &args);
}

static void arm(struct node *node)
{
    engine_arm(node->engine, instant_add_ms(clock_now(), LEASE_MS));
}

static void set_account(struct account *account, const char *name, const char *password)
{
    str_copy(account->username, sizeof(account->username), name);
    str_copy(account->password, sizeof(account->password), password);
}

static void configure(struct node *node, unsigned number)
{
    struct config_postgresql *own = &node->config.postgresql;

    memset(&node->config, 0, sizeof(node->config));
    str_copy(node->config.scope, sizeof(node->config.scope), "lab's");
    str_format(node->config.name, sizeof(node->config.name), "node-%u", number);
    str_copy(own->listen.host, sizeof(own->listen.host), "127.0.0.1");
    own->listen.port = own->connect.port = lab.ports[number - 1];
    str_format(own->data_dir, sizeof(own->data_dir), "%s/n%u", lab.folder, number);
    str_format(own->runtime_dir, sizeof(own->runtime_dir), "%s/n%u.baton", lab.folder, number);
    node->config.bootstrap.dcs_json = lab.dcs_json;
    own->use_slots = own->use_pg_rewind = true;
    set_account(&own->superuser, "postgres", "it's a \\ secret");
    set_account(&own->replication, "replicator", "rep:li\\c'a");
    set_account(&own->rewind, "rewind", "re\"wind");
}

static void begin(struct node *node)
{
    const struct postgres_options options = {.guard_program = lab.guard};
    const struct engine_listener listener = {on_status, on_order, on_ping, node};

    memset(&node->status, 0, sizeof(node->status));
    node->statuses = 0;
    node->is_ordered = false;
    node->engine = postgres_new(lab.loop, &node->config, &options);
    engine_set_cluster(node->engine, &lab.cluster, lab.json);
    engine_start(node->engine, &listener);
}

static void end(struct node *node)
{
    engine_free(node->engine);
    node->engine = NULL;
    IGNORE(wait_ms(NULL, 50), "let the driver's last job end");
}

/* ---- questions to the servers ---- */

static PGconn *connect_to(const struct node *node)
{
    char text[1024];

    str_format(
        text, sizeof(text), "host=%s port=%d user=postgres dbname=postgres",
        node->config.postgresql.runtime_dir, node->config.postgresql.listen.port);
    return PQconnectdb(text);
}

static char *ask(const struct node *node, const char *sql)
{
    PGconn *connection;
    PGresult *result;
    char *answer;

    connection = connect_to(node);
    result = PQexec(connection, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(connection));
    }
    answer = mem_dup(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(connection);
    return answer;
}

static void run(const struct node *node, const char *sql)
{
    mem_free(ask(node, sql));
}

static void expect(const struct node *node, const char *sql, const char *wanted)
{
    AUTO_FREE char *answer = ask(node, sql);

    assert_string_equal(answer, wanted);
}

/* The number that SQL gives. */
static int64_t ask_number(const struct node *node, const char *sql)
{
    AUTO_FREE char *text = ask(node, sql);
    int64_t number = 0;

    assert_int_equal(parse_int(text, 0, INT32_MAX, &number, NULL), 0);
    return number;
}

/* Commits at A without end, from a process of its own. */
static pid_t start_load(void)
{
    pid_t pid;

    run(a, "CREATE TABLE IF NOT EXISTS load (n bigint)");
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        PGconn *connection;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        connection = connect_to(a);
        while (PQstatus(connection) == CONNECTION_OK) {
            PQclear(PQexec(connection, "INSERT INTO load VALUES (1)"));
        }
        _exit(0);
    }
    return pid;
}

static void end_load(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- reserved timelines ---- */

static bool has_history(const struct node *node, uint32_t timeline)
{
    char name[HISTORY_NAME_SIZE];
    char path[1024];
    enum file_kind kind;

    history_name_format(timeline, name);
    str_format(path, sizeof(path), "%s/pg_wal/%s", node->config.postgresql.data_dir, name);
    assert_int_equal(file_kind(path, &kind, NULL), 0);
    return kind == FILE_REGULAR;
}

static void leave_placeholder(const struct node *node, uint32_t timeline, const char *text)
{
    char name[HISTORY_NAME_SIZE];
    char path[1024];

    history_name_format(timeline, name);
    str_format(path, sizeof(path), "%s/pg_wal/%s", node->config.postgresql.data_dir, name);
    assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
}

static int promote_to(struct node *node, uint32_t timeline)
{
    const struct engine_order_args args = {.order = ORDER_PROMOTE, .timeline = timeline};

    return order_with(node, &args);
}

/* ---- conditions ---- */

static bool a_known(void)
{
    return a->status.state != SERVER_UNKNOWN && a->status.is_guarded;
}

static bool b_known(void)
{
    return b->status.state != SERVER_UNKNOWN && b->status.is_guarded;
}

static bool a_standby(void)
{
    return a->status.state == SERVER_STANDBY;
}

static bool b_standby(void)
{
    return b->status.state == SERVER_STANDBY;
}

static bool b_promoting(void)
{
    return b->status.is_promoting;
}

static bool b_answers(void)
{
    return b_standby() && b->status.is_answering;
}

static bool a_armed(void)
{
    return instant_is_set(a->status.deadline);
}

/* For writing: it is a standby. */
static void open_a(void)
{
    arm(a);
    await(a_armed);
    must_do(a, ORDER_PROMOTE, NULL);
}

/* From nothing. */
static void make_primary(void)
{
    begin(a);
    await(a_known);
    must_do(a, ORDER_BOOTSTRAP, NULL);
    must_do(a, ORDER_START, NULL);
    open_a();
}

static bool b_armed(void)
{
    return instant_is_set(b->status.deadline);
}

static void open_b(void)
{
    arm(b);
    await(b_armed);
    must_do(b, ORDER_PROMOTE, NULL);
}

static bool a_streams(void)
{
    return a_standby() && a->status.is_streaming;
}

static bool b_streams(void)
{
    return b_standby() && b->status.is_streaming;
}

/* B, a copy of A. */
static void make_standby(void)
{
    begin(b);
    await(b_known);
    must_do(b, ORDER_CLONE, a);
    must_do(b, ORDER_START, a);
    await(b_streams);
}

static bool a_down(void)
{
    return a->status.state == SERVER_DOWN;
}

static bool b_down(void)
{
    return b->status.state == SERVER_DOWN;
}

static bool c_known(void)
{
    return c->status.state != SERVER_UNKNOWN && c->status.is_guarded;
}

static bool c_streams(void)
{
    return c->status.state == SERVER_STANDBY && c->status.is_streaming;
}

static bool c_down(void)
{
    return c->status.state == SERVER_DOWN;
}

static bool a_torn(void)
{
    return a_down() && a->status.is_torn;
}

static bool b_torn(void)
{
    return b_down() && b->status.is_torn;
}

static bool a_whole(void)
{
    return a_down() && !a->status.is_torn;
}

static bool a_broken(void)
{
    return a->status.state == SERVER_BROKEN;
}

static bool a_primary(void)
{
    return a->status.state == SERVER_PRIMARY;
}

static bool a_pending(void)
{
    return a->status.pending_restart;
}

static bool b_outgrown(void)
{
    return b->status.is_outgrown;
}

static bool b_paused(void)
{
    return b->status.is_paused;
}

static bool b_pending(void)
{
    return b->status.pending_restart;
}

/* To be asked for a status at each turn of the loop, while an order goes on. */
static bool orders_have_ended_probing(void)
{
    if (b->is_ordered) {
        engine_probe(b->engine);
    }
    return orders_have_ended();
}

/* A standby first streams the rest of the old timeline, then the new one. */
static bool a_streams_timeline_3(void)
{
    return a_streams() && a->status.position.timeline == 3;
}

static bool b_streams_timeline_4(void)
{
    return b_streams() && b->status.position.timeline == 4;
}

static bool b_streams_it_all(void)
{
    return b_streams() && position_compare(b->status.position, a->status.position) >= 0;
}

static bool b_has_it_all(void)
{
    return position_compare(b->status.position, a->status.position) >= 0;
}

/* ---- set-up ---- */

static bool is_able(void)
{
    return lab.loop != NULL;
}

static void drop_root(void)
{
    if (process_user() == 0) {
        assert_int_equal(setgroups(0, NULL), 0);
        assert_int_equal(setresgid(NOBODY, NOBODY, NOBODY), 0);
        assert_int_equal(setresuid(NOBODY, NOBODY, NOBODY), 0);
    }
}

/* BATON_GUARD, or the build's: one folder above this program, or beside it. */
static bool find_guard(void)
{
    const char *given = process_env("BATON_GUARD");
    char folder[512];

    if (given != NULL) {
        return str_copy(lab.guard, sizeof(lab.guard), given) && file_is_program(lab.guard);
    }
    if (process_program(folder, sizeof(folder), NULL) < 0) {
        return false;
    }
    for (int level = 0; level < 2; level++) {
        char *slash = strrchr(folder, '/');

        if (slash == NULL) {
            return false;
        }
        *slash = '\0';
        str_format(lab.guard, sizeof(lab.guard), "%s/baton-guard", folder);
        if (file_is_program(lab.guard)) {
            return true;
        }
    }
    return false;
}

static void add_member(unsigned number)
{
    struct member *member = &lab.cluster.members[lab.cluster.member_count++];

    *member = (struct member){.tags = MEMBER_TAGS_DEFAULT};
    str_format(member->name, sizeof(member->name), "node-%u", number);
    str_format(
        member->conn_url, sizeof(member->conn_url), "postgres://127.0.0.1:%d/postgres",
        lab.ports[number - 1]);
}

#define NEED_LAB() \
    do { \
        if (!is_able()) { \
            skip(); \
        } \
    } while (0)

static int set_up(void **state)
{
    const char *parent = process_env("TMPDIR"); /* to measure on another file system */
    char programs[600];

    drop_root();
    *state = &lab;
    if (versions_find_programs("", 0, programs, sizeof(programs), NULL) < 0 || !find_guard()) {
        print_message("PostgreSQL or baton-guard is missing: skipped\n");
        return 0;
    }
    str_format(
        lab.folder, sizeof(lab.folder), "%.40s/baton-pg-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(lab.folder));
    for (size_t at = 0; at < ARRAY_LEN(lab.ports); at++) {
        lab.ports[at] = free_port();
    }
    lab.cluster.settings = (struct cluster_settings)CLUSTER_SETTINGS_DEFAULT;
    add_member(1);
    add_member(2);
    lab.json = JSON_50;
    str_copy(lab.dcs_json, sizeof(lab.dcs_json), JSON_50);
    assert_int_equal(setenv("PG_OOM_ADJUST_FILE", "/proc/self/oom_score_adj", 1), 0);
    assert_int_equal(setenv("PG_OOM_ADJUST_VALUE", OOM_SCORE, 1), 0);
    lab.loop = loop_new();
    lab.timer = loop_timer_new(lab.loop, on_timer, NULL);
    loop_on_turn(lab.loop, check, NULL);
    configure(a, 1);
    configure(b, 2);
    return 0;
}

/* The guards, with nothing to guard, end by themselves after a minute. */
static void stop_node(struct node *node)
{
    if (node->engine == NULL) {
        return;
    }
    engine_kill(node->engine);
    IGNORE(wait_ms(node == a ? a_down : node == b ? b_down : c_down, 5000), "best effort");
    end(node);
}

static void remove_lab(void)
{
    char path[128];

    str_format(path, sizeof(path), "%s/made-by-test", lab.folder);
    if (file_write(path, "", 0, 0600, NULL) == 0) {
        IGNORE(file_remove_tree(lab.folder, "made-by-test", NULL) < 0, "it is in /tmp");
    }
}

static int tear_down(void **state)
{
    assert_non_null(state);
    if (!is_able()) {
        return 0;
    }
    stop_node(a);
    stop_node(b);
    stop_node(c);
    loop_timer_free(lab.timer);
    loop_free(lab.loop);
    remove_lab();
    return 0;
}
