/* The driver with real servers: one story, told in order, on two nodes of this host. Each test goes on where the last one
 * stopped. Skipped when PostgreSQL or baton-guard cannot be found. As root it goes on as user 65534, because PostgreSQL
 * refuses to run as root. */
#include "engine/postgres/postgres.h"

#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "engine/postgres/versions.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/process.h"

#include <grp.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NOBODY 65534
#define PORT_FIRST 55410
#define WAIT_MS 60000
#define LEASE_MS 600000

struct node {
    struct config config;
    struct engine *engine;
    struct engine_status status;
    unsigned statuses;
    bool is_ordered; /* an order is in progress */
    int result;
    struct err why;
};

static struct {
    struct loop *loop;
    struct loop_timer *timer;
    char folder[64];
    char guard[600];
    struct node nodes[2];
    struct cluster cluster;
    const char *json;
    bool (*until)(void);
    bool is_timed_out;
} lab;

static struct node *const a = &lab.nodes[0];
static struct node *const b = &lab.nodes[1];

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

static void await(bool (*until)(void))
{
    if (!wait_ms(until, WAIT_MS)) {
        fail_msg(
            "waited in vain; a: %s \"%s\", b: %s \"%s\"", server_state_text(a->status.state),
            a->status.problem, server_state_text(b->status.state), b->status.problem);
    }
}

static double now_ms(void)
{
    return (double)clock_now().raw_ns / 1e6;
}

/* ---- nodes ---- */

static void on_status(void *arg, const struct engine_status *status)
{
    struct node *node = arg;

    node->status = *status;
    node->statuses++;
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
    return !a->is_ordered && !b->is_ordered;
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
    own->listen.port = own->connect.port = PORT_FIRST + (int)number;
    str_format(own->data_dir, sizeof(own->data_dir), "%s/n%u", lab.folder, number);
    str_format(own->runtime_dir, sizeof(own->runtime_dir), "%s/n%u.baton", lab.folder, number);
    own->use_slots = own->use_pg_rewind = true;
    set_account(&own->superuser, "postgres", "it's a \\ secret");
    set_account(&own->replication, "replicator", "rep:li\\c'a");
    set_account(&own->rewind, "rewind", "re\"wind");
}

static void begin(struct node *node)
{
    const struct postgres_options options = {.guard_program = lab.guard};
    const struct engine_listener listener = {on_status, on_order, node};

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

static char *ask(const struct node *node, const char *sql)
{
    char text[1024];
    PGconn *connection;
    PGresult *result;
    char *answer;

    str_format(
        text, sizeof(text), "host=%s port=%d user=postgres dbname=postgres",
        node->config.postgresql.runtime_dir, node->config.postgresql.listen.port);
    connection = PQconnectdb(text);
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

static bool a_armed(void)
{
    return instant_is_set(a->status.deadline);
}

static bool b_armed(void)
{
    return instant_is_set(b->status.deadline);
}

static bool a_streams(void)
{
    return a_standby() && a->status.is_streaming;
}

static bool b_streams(void)
{
    return b_standby() && b->status.is_streaming;
}

static bool a_down(void)
{
    return a->status.state == SERVER_DOWN;
}

static bool b_down(void)
{
    return b->status.state == SERVER_DOWN;
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

/* A standby first streams the rest of the old timeline, then the new one. */
static bool a_streams_timeline_3(void)
{
    return a_streams() && a->status.position.timeline == 3;
}

static bool b_streams_timeline_4(void)
{
    return b_streams() && b->status.position.timeline == 4;
}

static bool b_has_it_all(void)
{
    return position_compare(b->status.position, a->status.position) >= 0;
}

/* ---- the story ---- */

static bool is_able(void)
{
    return lab.loop != NULL;
}

#define NEED_LAB() \
    do { \
        if (!is_able()) { \
            skip(); \
        } \
    } while (0)

/* What a bootstrap leaves that was killed in the middle. */
static void leave_half_a_copy(const char *folder)
{
    AUTO_STR struct str path = STR_INIT(1024);

    str_addf(&path, "%s/data", folder);
    assert_int_equal(file_make_folder(str_text(&path), 0700, NULL), 0);
    str_add(&path, "/PG_VERSION");
    assert_int_equal(file_write(str_text(&path), "15\n", 3, 0600, NULL), 0);
    str_clear(&path);
    str_addf(&path, "%s/baton.mark", folder);
    assert_int_equal(file_write(str_text(&path), "", 0, 0600, NULL), 0);
}

static void bootstrap_makes_a_database(void **state)
{
    AUTO_STR struct str path = STR_INIT(1024);
    double since;
    enum file_kind kind;

    assert_non_null(state);
    NEED_LAB();
    str_addf(&path, "%s.baton-new", a->config.postgresql.data_dir);
    leave_half_a_copy(str_text(&path));
    begin(a);
    await(a_known);
    assert_int_equal(a->status.state, SERVER_ABSENT);
    assert_string_equal(a->status.problem, "");
    assert_int_equal(try_to(a, ORDER_START, NULL), ERR_CONFLICT);
    since = now_ms();
    must_do(a, ORDER_BOOTSTRAP, NULL);
    print_message("bootstrap: %.0f ms\n", now_ms() - since);
    assert_int_equal(a->status.state, SERVER_DOWN);
    assert_true(a->status.system_id != 0);
    assert_true(a->status.was_clean);
    assert_int_equal(a->status.position.timeline, 1);
    assert_int_equal(a->status.history.timeline, 1);
    assert_int_equal(try_to(a, ORDER_BOOTSTRAP, NULL), ERR_CONFLICT);
    assert_int_equal(file_kind(str_text(&path), &kind, NULL), 0);
    assert_int_equal(kind, FILE_MISSING);
}

static void start_makes_a_standby(void **state)
{
    double since;

    assert_non_null(state);
    NEED_LAB();
    since = now_ms();
    must_do(a, ORDER_START, NULL);
    print_message("start order: %.0f ms\n", now_ms() - since);
    await(a_standby);
    print_message("start to STANDBY: %.0f ms\n", now_ms() - since);
    assert_string_equal(a->status.upstream, "");
    assert_true(a->status.is_answering);
    assert_false(a->status.is_streaming);
    assert_int_equal(a->status.position.timeline, 1);
    expect(a, "SELECT pg_is_in_recovery()", "t");
    expect(a, "SHOW cluster_name", "lab's");
    expect(a, "SHOW wal_log_hints", "on");
}

static void promote_needs_a_deadline(void **state)
{
    double since;

    assert_non_null(state);
    NEED_LAB();
    assert_int_equal(try_to(a, ORDER_PROMOTE, NULL), ERR_CONFLICT);
    assert_non_null(strstr(a->why.text, "deadline"));
    assert_int_equal(a->status.state, SERVER_STANDBY);
    arm(a);
    await(a_armed);
    since = now_ms();
    must_do(a, ORDER_PROMOTE, NULL);
    print_message("promote (first): %.0f ms\n", now_ms() - since);
    assert_int_equal(a->status.state, SERVER_PRIMARY);
    assert_int_equal(a->status.position.timeline, 2);
    assert_int_equal(a->status.history.timeline, 2);
    assert_int_equal(a->status.history.count, 1);
    run(a, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    must_do(a, ORDER_CHECKPOINT, NULL);
    assert_true(a->status.is_checkpointed);
}

static void clone_follows_and_streams(void **state)
{
    double since;

    assert_non_null(state);
    NEED_LAB();
    begin(b);
    await(b_known);
    since = now_ms();
    must_do(b, ORDER_CLONE, a);
    print_message("clone: %.0f ms\n", now_ms() - since);
    assert_int_equal(b->status.state, SERVER_DOWN);
    assert_false(b->status.was_primary);
    assert_true(b->status.system_id == a->status.system_id);
    since = now_ms();
    must_do(b, ORDER_START, a);
    await(b_standby);
    print_message("start of a clone to STANDBY: %.0f ms\n", now_ms() - since);
    await(b_streams);
    print_message("and to streaming: %.0f ms\n", now_ms() - since);
    assert_string_equal(b->status.upstream, a->config.name);
    assert_int_equal(b->status.position.timeline, 2);
    expect(b, "SELECT count(*) FROM t", "1000");
    expect(a, "SELECT slot_name FROM pg_replication_slots WHERE active", "node_2");
    expect(a, "SELECT application_name FROM pg_stat_replication", "node-2");
}

static void store_parameters_are_applied(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    lab.json = "{\"postgresql\":{\"parameters\":{\"work_mem\":\"7MB\",\"max_connections\":120,"
               "\"log_line_prefix\":\"it's \\\\ \\\"100%\\\" #$x\",\"Stats_Temp_Directory\":\"x\"}}}";
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
    await(a_pending);
    expect(a, "SHOW work_mem", "7MB");
    expect(a, "SHOW max_connections", "100");
    expect(a, "SHOW log_line_prefix", "it's \\ \"100%\" #$x");
    assert_non_null(strstr(a->status.problem, "stats_temp_directory is left out"));
    must_do(a, ORDER_RELOAD, NULL);
    lab.json = "{\"postgresql\":{\"parameters\":{\"work_mem\":\"6MB\"}}}";
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
    must_do(a, ORDER_RELOAD, NULL);
    expect(a, "SHOW work_mem", "6MB");
}

static void a_new_driver_finds_the_server(void **state)
{
    uint64_t lsn = a->status.position.lsn;
    struct instant deadline = a->status.deadline;

    assert_non_null(state);
    NEED_LAB();
    end(a);
    begin(a);
    await(a_primary);
    assert_true(a->status.deadline.boot_ns == deadline.boot_ns);
    assert_true(a->status.position.lsn >= lsn);
    assert_int_equal(a->status.position.timeline, 2);
    end(b);
    begin(b);
    await(b_streams);
    assert_string_equal(b->status.upstream, a->config.name);
    expect(b, "SHOW primary_slot_name", "node_2");
}

static void fast_stop_leaves_equal_positions(void **state)
{
    double since;

    assert_non_null(state);
    NEED_LAB();
    run(a, "INSERT INTO t SELECT generate_series(1001, 2000)");
    since = now_ms();
    must_do(a, ORDER_STOP, NULL);
    print_message("fast stop: %.0f ms\n", now_ms() - since);
    assert_int_equal(a->status.state, SERVER_DOWN);
    assert_true(a->status.was_clean);
    assert_true(a->status.was_primary);
    assert_string_equal(a->status.problem, "");
    engine_probe(b->engine);
    await(b_has_it_all);
    assert_int_equal(position_compare(a->status.position, b->status.position), 0);
}

/* The receiver must be gone when the order ends: a recruit acknowledges nothing more. */
static void recruit_stops_the_receiver(void **state)
{
    double since;

    assert_non_null(state);
    NEED_LAB();
    since = now_ms();
    must_do(b, ORDER_FOLLOW, NULL);
    print_message("follow nobody: %.0f ms\n", now_ms() - since);
    assert_false(b->status.is_streaming);
    assert_string_equal(b->status.upstream, "");
    expect(b, "SELECT count(*) FROM pg_stat_wal_receiver", "0");
    assert_int_equal(position_compare(a->status.position, b->status.position), 0);
}

static void switchover_needs_no_rewind(void **state)
{
    double since;

    assert_non_null(state);
    NEED_LAB();
    arm(b);
    await(b_armed);
    since = now_ms();
    must_do(b, ORDER_PROMOTE, NULL);
    print_message("promote (switchover): %.0f ms\n", now_ms() - since);
    assert_int_equal(b->status.position.timeline, 3);
    assert_int_equal(timeline_relate(a->status.position, &b->status.history), RELATION_CONTAINS);
    must_do(a, ORDER_START, b);
    await(a_streams_timeline_3);
    run(b, "INSERT INTO t VALUES (0)");
    expect(b, "SELECT count(*) FROM t", "2001");
}

/* The old primary goes on alone after the standby was promoted: two histories. */
static void rewind_repairs_a_fork(void **state)
{
    const struct engine_order_args immediate = {.order = ORDER_STOP, .stop_mode = STOP_IMMEDIATE};
    AUTO_STR struct str base = STR_INIT(1024);
    AUTO_FREE char *text = NULL;
    double since;

    assert_non_null(state);
    NEED_LAB();
    must_do(a, ORDER_FOLLOW, NULL);
    arm(a);
    await(a_armed);
    must_do(a, ORDER_PROMOTE, NULL);
    assert_int_equal(a->status.position.timeline, 4);
    must_do(a, ORDER_CHECKPOINT, NULL);
    run(b, "INSERT INTO t SELECT generate_series(5001, 9000)");
    since = now_ms();
    must(b, &immediate);
    print_message("immediate stop: %.0f ms\n", now_ms() - since);
    assert_false(b->status.was_clean);
    assert_true(b->status.was_primary);
    str_addf(&base, "%s/postgresql.base.conf", b->config.postgresql.data_dir);
    assert_int_equal(
        file_write(str_text(&base), "work_mem = 5MB # mine\n", 22, 0600, NULL), 0);
    run(a, "INSERT INTO t VALUES (-1)");
    since = now_ms();
    must_do(b, ORDER_REWIND, a);
    print_message("rewind: %.0f ms\n", now_ms() - since);
    assert_int_equal(b->status.state, SERVER_DOWN);
    assert_int_equal(file_read(str_text(&base), 4096, &text, NULL, NULL), 0);
    assert_string_equal(text, "work_mem = 5MB # mine\n");
    must_do(b, ORDER_START, a);
    await(b_streams_timeline_4);
    engine_probe(a->engine);
    await(b_has_it_all);
    expect(b, "SELECT count(*) FROM t", "2002");
}

/* Without an upstream, replaying its own log: the timeline must be right at once, for takeover compares it. */
static void a_lonely_standby_knows_its_timeline(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    must_do(b, ORDER_STOP, NULL);
    assert_true(b->status.was_clean);
    assert_false(b->status.was_primary);
    must_do(b, ORDER_START, NULL);
    await(b_standby);
    assert_int_equal(b->status.position.timeline, 4);
    assert_int_equal(position_compare(b->status.position, a->status.position), 0);
    must_do(b, ORDER_FOLLOW, a);
    await(b_streams);
}

static void kill_ends_everything(void **state)
{
    double since;

    assert_non_null(state);
    NEED_LAB();
    since = now_ms();
    engine_kill(a->engine);
    await(a_down);
    print_message("kill: %.0f ms\n", now_ms() - since);
    assert_false(a->status.was_clean);
    assert_true(a->status.was_primary);
    assert_false(instant_is_set(a->status.deadline));
    must_do(a, ORDER_START, NULL);
    await(a_standby);
    assert_int_equal(a->status.position.timeline, 4);
}

static void a_passed_deadline_kills(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    engine_arm(b->engine, instant_add_ms(clock_now(), 300));
    await(b_armed);
    await(b_down);
    assert_non_null(strstr(b->status.problem, "lease"));
}

static void bad_parameters_name_the_cause(void **state)
{
    AUTO_STR struct str base = STR_INIT(1024);

    assert_non_null(state);
    NEED_LAB();
    str_addf(&base, "%s/postgresql.base.conf", b->config.postgresql.data_dir);
    assert_int_equal(file_write(str_text(&base), "no_such_thing = 1\n", 18, 0600, NULL), 0);
    assert_true(try_to(b, ORDER_START, a) < 0);
    assert_non_null(strstr(b->why.text, "FATAL"));
    assert_int_equal(file_write(str_text(&base), "", 0, 0600, NULL), 0);
}

static void slots_of_gone_members_are_dropped(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    arm(a);
    await(a_armed);
    must_do(a, ORDER_PROMOTE, NULL);
    IGNORE(wait_ms(NULL, 300), "the slots are made");
    run(a, "SELECT pg_create_physical_replication_slot('mine')");
    expect(a, "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots",
           "mine node_2");
    lab.cluster.member_count = 1;
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
    IGNORE(wait_ms(NULL, 1500), "a probe later");
    expect(a, "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots", "mine");
    lab.cluster.member_count = 2;
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
}

static void damage(const char *path, const char *text)
{
    assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
}

static void broken_directories_are_told(void **state)
{
    const char *folder = a->config.postgresql.data_dir;
    AUTO_STR struct str control = STR_INIT(1024);
    AUTO_STR struct str version = STR_INIT(1024);
    AUTO_STR struct str mark = STR_INIT(1024);
    AUTO_FREE char *kept = NULL;
    size_t length;

    assert_non_null(state);
    NEED_LAB();
    must_do(a, ORDER_STOP, NULL);
    str_addf(&control, "%s/global/pg_control", folder);
    str_addf(&version, "%s/PG_VERSION", folder);
    str_addf(&mark, "%s/rewinding", a->config.postgresql.runtime_dir);
    assert_int_equal(file_read(str_text(&control), 65536, &kept, &length, NULL), 0);
    damage(str_text(&control), "nonsense");
    engine_probe(a->engine);
    await(a_broken);
    assert_non_null(strstr(a->status.problem, "pg_control"));
    assert_int_equal(file_write(str_text(&control), kept, length, 0600, NULL), 0);
    engine_probe(a->engine);
    await(a_down);
    damage(str_text(&version), "12\n");
    engine_probe(a->engine);
    await(a_broken);
    assert_non_null(strstr(a->status.problem, "PostgreSQL 12 is not supported"));
    damage(str_text(&version), "15\n");
    engine_probe(a->engine);
    await(a_down);
    damage(str_text(&mark), "");
    engine_probe(a->engine);
    await(a_broken);
    assert_non_null(strstr(a->status.problem, "rewind was interrupted"));
    assert_int_equal(file_remove(str_text(&mark), NULL), 0);
    engine_probe(a->engine);
    await(a_down);
    assert_int_equal(chmod(folder, 0755), 0);
    engine_probe(a->engine);
    await(a_broken);
    assert_non_null(strstr(a->status.problem, "mode 0755"));
    assert_int_equal(chmod(folder, 0000), 0);
    engine_probe(a->engine);
    await(a_broken);
    assert_int_equal(chmod(folder, 0700), 0);
    engine_probe(a->engine);
    await(a_down);
}

static void a_foreign_owner_is_told(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    end(a);
    configure(a, 1);
    str_copy(a->config.postgresql.data_dir, sizeof(a->config.postgresql.data_dir), "/usr");
    begin(a);
    await(a_broken);
    assert_non_null(strstr(a->status.problem, "belongs to user 0"));
    end(a);
    configure(a, 1);
    begin(a);
    await(a_down);
}

/* ---- group ---- */

static void drop_root(void)
{
    if (process_user() == 0) {
        assert_int_equal(setgroups(0, NULL), 0);
        assert_int_equal(setresgid(NOBODY, NOBODY, NOBODY), 0);
        assert_int_equal(setresuid(NOBODY, NOBODY, NOBODY), 0);
    }
}

static bool find_guard(void)
{
    const char *given = process_env("BATON_GUARD");
    char own[512];
    char *slash;

    if (given != NULL) {
        return str_copy(lab.guard, sizeof(lab.guard), given) && file_is_program(lab.guard);
    }
    if (process_program(own, sizeof(own), NULL) < 0) {
        return false;
    }
    slash = strrchr(own, '/');
    *slash = '\0';
    str_format(lab.guard, sizeof(lab.guard), "%s/baton-guard", own);
    return file_is_program(lab.guard);
}

static void add_member(unsigned number)
{
    struct member *member = &lab.cluster.members[lab.cluster.member_count++];

    *member = (struct member){.tags = MEMBER_TAGS_DEFAULT};
    str_format(member->name, sizeof(member->name), "node-%u", number);
    str_format(
        member->conn_url, sizeof(member->conn_url), "postgres://127.0.0.1:%u/postgres",
        PORT_FIRST + number);
}

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
    lab.cluster.settings = (struct cluster_settings)CLUSTER_SETTINGS_DEFAULT;
    add_member(1);
    add_member(2);
    lab.json = "{}";
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
    IGNORE(wait_ms(node == a ? a_down : b_down, 5000), "best effort");
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
    loop_timer_free(lab.timer);
    loop_free(lab.loop);
    remove_lab();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bootstrap_makes_a_database),
        cmocka_unit_test(start_makes_a_standby),
        cmocka_unit_test(promote_needs_a_deadline),
        cmocka_unit_test(clone_follows_and_streams),
        cmocka_unit_test(store_parameters_are_applied),
        cmocka_unit_test(a_new_driver_finds_the_server),
        cmocka_unit_test(fast_stop_leaves_equal_positions),
        cmocka_unit_test(recruit_stops_the_receiver),
        cmocka_unit_test(switchover_needs_no_rewind),
        cmocka_unit_test(rewind_repairs_a_fork),
        cmocka_unit_test(a_lonely_standby_knows_its_timeline),
        cmocka_unit_test(kill_ends_everything),
        cmocka_unit_test(a_passed_deadline_kills),
        cmocka_unit_test(bad_parameters_name_the_cause),
        cmocka_unit_test(slots_of_gone_members_are_dropped),
        cmocka_unit_test(broken_directories_are_told),
        cmocka_unit_test(a_foreign_owner_is_told),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
