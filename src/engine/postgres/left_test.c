/* What a crash, or an order that was given up, leaves behind, with real servers: a primary and a
 * standby. One story, each test goes on where the last one stopped. Skipped as postgres_test.c
 * is. */
#include "engine/postgres/postgres_test.h"

#include "engine/postgres/driver.h"

static enum file_kind kind_of(const char *path)
{
    enum file_kind kind;

    assert_int_equal(file_kind(path, &kind, NULL), 0);
    return kind;
}

static void a_primary_and_a_standby(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    configure(c, 3); /* has no server */
    make_primary();
    make_standby();
}

/* ---- locks ---- */

/* A child that is called NAME and works in PLACE. It can be looked at like a program that was
 * executed: this process has changed its user. */
static pid_t stay(const char *place, const char *name)
{
    char byte = 0;
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_NAME, name) != 0 ||
            prctl(PR_SET_DUMPABLE, 1) != 0 || chdir(place) != 0 || write(ends[1], "x", 1) != 1) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(close(ends[0]), 0);
    return pid;
}

static void end_child(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void lock_path(const char *folder, char *buffer, size_t size)
{
    str_format(buffer, size, "%s/.s.PGSQL.%d.lock", folder, b->config.postgresql.listen.port);
}

static void leave_lock(const char *path, pid_t pid, const char *data_dir)
{
    char text[1200];

    str_format(
        text, sizeof(text), "%d\n%s\n1700000000\n%d\n%s\n", (int)pid, data_dir,
        b->config.postgresql.listen.port, b->config.postgresql.runtime_dir);
    assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
}

static bool b_broken(void)
{
    return b->status.state == SERVER_BROKEN;
}

/* The number in them is that of another cluster's server now, which is no child of ours. */
static void stale_locks_keep_no_server_down(void **state)
{
    const char *data_dir = b->config.postgresql.data_dir;
    char pid_file[1024];
    char socket_lock[1024];
    char second_lock[1024];
    pid_t other;
    pid_t child;

    assert_non_null(state);
    NEED_LAB();
    must_do(b, ORDER_STOP, NULL);
    end(b);
    str_copy(b->config.postgresql.socket_dir, sizeof(b->config.postgresql.socket_dir), lab.folder);
    begin(b);
    await(b_down);
    str_format(pid_file, sizeof(pid_file), "%s/postmaster.pid", data_dir);
    lock_path(b->config.postgresql.runtime_dir, socket_lock, sizeof(socket_lock));
    lock_path(lab.folder, second_lock, sizeof(second_lock));
    other = stay("/", "postgres");
    leave_lock(pid_file, other, data_dir);
    leave_lock(socket_lock, other, data_dir);
    leave_lock(second_lock, other, data_dir);
    engine_probe(b->engine);
    IGNORE(wait_ms(b_broken, 1000), "it is no server in this directory");
    assert_int_equal(b->status.state, SERVER_DOWN);
    must_do(b, ORDER_START, a);
    await(b_streams);
    must_do(b, ORDER_STOP, NULL);
    /* The socket is another cluster's. */
    leave_lock(second_lock, other, "/elsewhere");
    assert_true(try_to(b, ORDER_START, a) < 0);
    assert_int_equal(kind_of(second_lock), FILE_REGULAR);
    assert_int_equal(file_remove(second_lock, NULL), 0);
    /* Somebody works here: whatever he is, nothing is taken away. */
    child = stay(data_dir, "left");
    leave_lock(pid_file, other, data_dir);
    assert_true(try_to(b, ORDER_START, a) < 0);
    assert_int_equal(kind_of(pid_file), FILE_REGULAR);
    end_child(child);
    must_do(b, ORDER_START, a);
    await(b_streams);
    end_child(other);
}

/* ---- a rewind ---- */

/* Whatever becomes of runtime_dir, which may be in memory: a reboot empties it. */
static void an_interrupted_rewind_is_seen_for_ever(void **state)
{
    char mark[1024];
    char volatile_mark[1024];

    assert_non_null(state);
    NEED_LAB();
    str_format(mark, sizeof(mark), "%s.rewinding", b->config.postgresql.data_dir);
    str_format(
        volatile_mark, sizeof(volatile_mark), "%s/rewinding", b->config.postgresql.runtime_dir);
    must_do(b, ORDER_STOP, NULL);
    assert_int_equal(kind_of(mark), FILE_MISSING);
    assert_true(try_to(b, ORDER_REWIND, c) < 0);
    assert_int_equal(file_remove(volatile_mark, NULL), 0);
    engine_probe(b->engine);
    await(b_torn);
    assert_int_equal(kind_of(mark), FILE_REGULAR);
    assert_int_equal(try_to(b, ORDER_START, a), ERR_CONFLICT);
    must_do(b, ORDER_CLONE, a);
    assert_false(b->status.is_torn);
    assert_int_equal(kind_of(mark), FILE_MISSING);
    must_do(b, ORDER_START, a);
    await(b_streams);
}

/* ---- a server that was restarted by hand ---- */

/* As pg_ctl does it. */
static void end_by_hand(const struct node *node)
{
    AUTO_FREE char *pid = ask(node, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
    int64_t number = 0;

    assert_int_equal(parse_int(pid, 2, INT32_MAX, &number, NULL), 0);
    assert_int_equal(kill((pid_t)number, SIGINT), 0);
}

static void start_by_hand(const struct node *node)
{
    char programs[600];
    char program[700];
    int result = -1;
    pid_t pid;

    assert_int_equal(versions_find_programs("", 0, programs, sizeof(programs), NULL), 0);
    str_format(program, sizeof(program), "%s/pg_ctl", programs);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl(
            program, "pg_ctl", "-D", node->config.postgresql.data_dir, "-s", "-W", "-l",
            "/dev/null", "start", (char *)NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &result, 0), pid);
    assert_int_equal(result, 0);
}

static bool is_started_again(void)
{
    return b_down() && strstr(b->status.problem, "ended past baton and started again") != NULL;
}

static bool b_answers_somebody(void)
{
    PGconn *connection = connect_to(b);
    bool is_open = PQstatus(connection) == CONNECTION_OK;

    PQfinish(connection);
    return is_open;
}

static void a_server_restarted_by_hand_is_replaced(void **state)
{
    char path[1024];

    assert_non_null(state);
    NEED_LAB();
    must_do(b, ORDER_FOLLOW, NULL);
    open_b();
    str_format(path, sizeof(path), "%s/standby.signal", b->config.postgresql.data_dir);
    assert_int_equal(kind_of(path), FILE_MISSING);
    end_by_hand(b);
    await(b_down);
    assert_int_equal(kind_of(path), FILE_REGULAR);
    /* A quicker hand, or one that takes the file away. */
    assert_int_equal(file_remove(path, NULL), 0);
    start_by_hand(b);
    await(is_started_again);
    must_do(b, ORDER_START, NULL);
    await(b_standby);
    assert_string_equal(b->status.problem, "");
}

static void leave_alone_what_was_stopped_by_order(void)
{
    must_do(b, ORDER_STOP, NULL);
    start_by_hand(b);
    await(b_answers_somebody);
    IGNORE(wait_ms(NULL, 2500), "two more looks");
    assert_int_equal(b->status.state, SERVER_BROKEN);
    end_by_hand(b);
    await(b_down);
}

/* In maintenance mode it is left alone: a primary comes back as one. */
static void a_restart_by_hand_in_maintenance_is_left_alone(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    open_b();
    lab.cluster.settings.is_paused = true;
    engine_set_cluster(b->engine, &lab.cluster, lab.json);
    end_by_hand(b);
    await(b_down);
    start_by_hand(b);
    await(b_answers_somebody);
    IGNORE(wait_ms(NULL, 2500), "two more looks");
    assert_int_equal(b->status.state, SERVER_BROKEN);
    expect(b, "SELECT pg_is_in_recovery()", "f");
    /* It ends with that mode, when that is known. */
    lab.cluster.settings.is_paused = false;
    engine_set_cluster(b->engine, &lab.cluster, lab.json);
    ((struct postgres *)b->engine)->has_cluster = false;
    IGNORE(wait_ms(NULL, 2500), "two more looks");
    assert_int_equal(b->status.state, SERVER_BROKEN);
    engine_set_cluster(b->engine, &lab.cluster, lab.json);
    await(is_started_again);
    must_do(b, ORDER_START, NULL);
    await(b_standby);
    leave_alone_what_was_stopped_by_order();
    must_do(b, ORDER_CLONE, a);
    must_do(b, ORDER_START, a);
    await(b_streams);
}

/* ---- the memory of a server whose backend was killed ---- */

#define JSON_LATE \
    "{\"postgresql\":{\"parameters\":{\"max_connections\":50," \
    "\"recovery_min_apply_delay\":\"1h\"}}}"

static uint64_t serial;
static struct position confirmed;
static bool said_less; /* it counted as detached with less than it has confirmed */
static bool was_unsettled;

static void set_json(struct node *node, const char *json)
{
    lab.json = json;
    engine_set_cluster(node->engine, &lab.cluster, json);
    must_do(node, ORDER_RELOAD, NULL);
}

/* As the kernel does when there is no memory left. The postmaster goes on, and begins anew. */
static void kill_a_backend(const struct node *node)
{
    PGconn *connection;

    connection = connect_to(node);
    assert_int_equal(PQstatus(connection), CONNECTION_OK);
    assert_int_equal(kill((pid_t)PQbackendPID(connection), SIGKILL), 0);
    PQfinish(connection);
}

static bool b_is_late(void)
{
    engine_probe(b->engine);
    return b->status.received_lsn > b->status.replayed_lsn + 65536;
}

static bool b_is_detached(void)
{
    engine_probe(b->engine);
    said_less =
        said_less || (b->status.is_detached && position_compare(b->status.position, confirmed) < 0);
    return b->status.is_detached;
}

static bool b_is_anew(void)
{
    IGNORE(b_is_detached(), "looks as well");
    return b_answers() && b->status.was_lost && b->status.received_lsn == 0;
}

/* What it has received is on disk, but the new memory knows only what is replayed. */
static void a_crash_inside_ends_what_was_revoked(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    set_json(b, JSON_LATE);
    run(a, "CREATE TABLE late AS SELECT generate_series(1, 10000) AS n");
    await(b_is_late);
    must_do(b, ORDER_REVOKE, NULL);
    assert_true(b->status.is_detached);
    assert_false(b->status.was_lost);
    assert_true(b->status.received_lsn > b->status.replayed_lsn);
    confirmed = b->status.position;
    kill_a_backend(b);
    await(b_is_anew);
    IGNORE(wait_ms(NULL, 2500), "some probes");
    assert_false(b_is_detached());
    assert_true(position_compare(b->status.position, confirmed) < 0);
    lab.json = JSON_50;
    engine_set_cluster(b->engine, &lab.cluster, lab.json);
    await(b_is_detached);
    assert_true(position_compare(b->status.position, confirmed) >= 0);
    assert_false(said_less);
    must_do(b, ORDER_FOLLOW, a);
    await(b_streams);
}

/* A session that ends alone is no crash: what the standby has received is known, and counts. */
static void a_lost_session_of_a_standby_costs_a_moment(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    must_do(b, ORDER_REVOKE, NULL);
    confirmed = b->status.position;
    run(b, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'baton'"
           " AND backend_type = 'client backend'");
    IGNORE(wait_ms(NULL, 1500), "it is noticed");
    await(b_is_detached);
    assert_true(b->status.was_lost);
    assert_int_equal(position_compare(b->status.position, confirmed), 0);
    assert_false(said_less);
    must_do(b, ORDER_FOLLOW, a);
    await(b_streams);
}

static bool a_settled(void)
{
    was_unsettled = was_unsettled || a->status.sync_serial != serial;
    assert_int_equal(a->status.state, SERVER_PRIMARY);
    return a->status.sync_serial == serial;
}

static bool a_settled_anew(void)
{
    return a_settled() && was_unsettled;
}

static bool a_is_unsettled(void)
{
    return !a_settled() && a->status.is_answering;
}

static void set_rule_of_a(void)
{
    struct sync_rule rule = {.is_waiting = true, .is_any = true, .need = 1, .count = 1};

    str_copy(rule.names[0], MEMBER_NAME_SIZE, "node-2");
    engine_set_sync(a->engine, &rule, ++serial);
    await(a_settled);
}

/* Whether commits wait is told by memory that began anew: the barrier is passed again, and cannot
 * be while the standby is away. */
static void a_crash_inside_a_primary_unsettles_its_rule(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    set_rule_of_a();
    must_do(b, ORDER_STOP, NULL);
    kill_a_backend(a);
    await(a_is_unsettled);
    assert_false(wait_ms(a_settled, 1500));
    expect(a, "SHOW synchronous_standby_names", "ANY 1 (\"node-2\")");
    must_do(b, ORDER_START, a);
    await(b_streams);
    await(a_settled);
}

/* It goes on as the primary under the same rule. */
static void a_lost_session_of_a_primary_costs_a_barrier(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    was_unsettled = false;
    run(a, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'baton'"
           " AND backend_type = 'client backend'");
    await(a_settled_anew);
    expect(a, "SHOW synchronous_standby_names", "ANY 1 (\"node-2\")");
    run(a, "INSERT INTO late VALUES (0)");
    engine_set_sync(a->engine, &(struct sync_rule){0}, ++serial);
    await(a_settled);
}

/* ---- a promotion ---- */

static void promote_path(const struct node *node, char *buffer, size_t size)
{
    str_format(buffer, size, "%s/promote", node->config.postgresql.data_dir);
}

static bool b_has_no_promote_file(void)
{
    char path[1024];

    promote_path(b, path, sizeof(path));
    return kind_of(path) == FILE_MISSING;
}

/* As each child of the postmaster sends it, many times an hour. */
static void expect_a_standby_after_the_signal(void)
{
    int64_t postmaster =
        ask_number(b, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");

    assert_int_equal(kill((pid_t)postmaster, SIGUSR1), 0);
    IGNORE(wait_ms(NULL, 700), "it would be promoted");
    expect(b, "SELECT pg_is_in_recovery()", "t");
    await(b_streams);
    assert_false(b->status.is_promoting);
}

/* The device is not there, so the server may not be opened from that moment on: the first check has
 * been, the one before the signal has not. */
static bool promotion_has_ended(void)
{
    const struct engine_watch watch = {.device = "/nowhere", .is_required = true};
    const struct postgres *pg = (const struct postgres *)b->engine;

    if (pg->order.args.order == ORDER_PROMOTE &&
        str_equal(pg->order.steps[pg->order.at].name, "write the promote file")) {
        engine_watch(b->engine, &watch);
    }
    return !b->is_ordered;
}

static void a_promotion_that_is_given_up_leaves_nothing(void **state)
{
    const struct engine_order_args args = {.order = ORDER_PROMOTE};
    const struct engine_watch none = {.device = ""};

    assert_non_null(state);
    NEED_LAB();
    arm(b);
    await(b_armed);
    b->is_ordered = true;
    assert_int_equal(engine_order(b->engine, &args, NULL), 0);
    await(promotion_has_ended);
    assert_int_equal(b->result, ERR_CONFLICT);
    assert_non_null(strstr(b->why.text, "promote: watchdog.mode is required"));
    IGNORE(wait_ms(b_has_no_promote_file, 2000), "judged by what follows");
    expect_a_standby_after_the_signal();
    assert_true(b_has_no_promote_file());
    engine_watch(b->engine, &none);
}

static void a_new_driver_removes_the_file(void **state)
{
    char path[1024];

    assert_non_null(state);
    NEED_LAB();
    promote_path(b, path, sizeof(path));
    end(b);
    assert_int_equal(file_write(path, "", 0, 0600, NULL), 0);
    begin(b);
    await(b_streams);
    IGNORE(wait_ms(b_has_no_promote_file, 2000), "judged by what follows");
    expect_a_standby_after_the_signal();
}

/* What was removed is no obstacle. */
static void the_next_promotion_works(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    must_do(a, ORDER_STOP, NULL);
    open_b();
    assert_int_equal(b->status.state, SERVER_PRIMARY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_and_a_standby),
        cmocka_unit_test(stale_locks_keep_no_server_down),
        cmocka_unit_test(an_interrupted_rewind_is_seen_for_ever),
        cmocka_unit_test(a_server_restarted_by_hand_is_replaced),
        cmocka_unit_test(a_restart_by_hand_in_maintenance_is_left_alone),
        cmocka_unit_test(a_crash_inside_ends_what_was_revoked),
        cmocka_unit_test(a_lost_session_of_a_standby_costs_a_moment),
        cmocka_unit_test(a_crash_inside_a_primary_unsettles_its_rule),
        cmocka_unit_test(a_lost_session_of_a_primary_costs_a_barrier),
        cmocka_unit_test(a_promotion_that_is_given_up_leaves_nothing),
        cmocka_unit_test(a_new_driver_removes_the_file),
        cmocka_unit_test(the_next_promotion_works),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
