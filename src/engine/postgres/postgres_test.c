/* The driver with real servers: one story, told in order, on two nodes of this host. Each test goes
 * on where the last one stopped. Skipped when PostgreSQL or baton-guard cannot be found. As root it
 * goes on as user 65534, because PostgreSQL refuses to run as root. */
#include "engine/postgres/postgres_test.h"
#include "engine/postgres/driver.h"

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

static void read_control_of(const struct node *node, struct control *ret)
{
    char path[1024];
    AUTO_FREE char *bytes = NULL;
    size_t length;

    str_format(path, sizeof(path), "%s/global/pg_control", node->config.postgresql.data_dir);
    assert_int_equal(file_read(path, 65536, &bytes, &length, NULL), 0);
    assert_int_equal(control_decode((const unsigned char *)bytes, length, ret, NULL), 0);
}

/* Before anything is done. */
static void a_mount_point_is_refused(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    str_copy(a->config.postgresql.data_dir, sizeof(a->config.postgresql.data_dir), "/proc");
    begin(a);
    await(a_broken);
    assert_int_equal(try_to(a, ORDER_BOOTSTRAP, NULL), ERR_CONFIG);
    assert_non_null(strstr(a->why.text, "/proc is a mount point: use a folder below it"));
    assert_int_equal(try_to(a, ORDER_CLONE, b), ERR_CONFIG);
    assert_non_null(strstr(a->why.text, "/proc is a mount point: use a folder below it"));
    end(a);
    configure(a, 1);
}

static void bootstrap_makes_a_database(void **state)
{
    AUTO_STR struct str path = STR_INIT(1024);
    struct control control;
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
    read_control_of(a, &control);
    assert_int_equal(control.limits.max_connections, 50);
    assert_true(control.wal_log_hints);
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
    expect(a, "SHOW max_connections", "50");
    expect(
        a, "SELECT trim(E'\\n' FROM pg_read_file('/proc/self/oom_score_adj', 0, 16))", OOM_SCORE);
    assert_false(a->status.pending_restart);
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
    lab.json =
        "{\"postgresql\":{\"parameters\":{\"work_mem\":\"7MB\",\"max_connections\":120,"
        "\"log_line_prefix\":\"it's \\\\ \\\"100%\\\" #$x\",\"Stats_Temp_Directory\":\"x\"}}}";
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
    await(a_pending);
    expect(a, "SHOW work_mem", "7MB");
    expect(a, "SHOW max_connections", "50");
    expect(a, "SHOW log_line_prefix", "it's \\ \"100%\" #$x");
    assert_non_null(strstr(a->status.problem, "stats_temp_directory is left out"));
    must_do(a, ORDER_RELOAD, NULL);
    lab.json = "{\"postgresql\":{\"parameters\":{\"work_mem\":\"6MB\",\"max_connections\":50}}}";
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

/* A message that leaves 64 bytes of its page (its header has 54 bytes, a page's 24): the checkpoint
 * record of the stop goes on in the next page. Unless the server writes something of its own. */
static const char fill_page[] =
    "SELECT pg_logical_emit_message(false, '', repeat('x', (8192 - o + 8192 - 64 - 24 - 54)::int))"
    " FROM (SELECT (pg_current_wal_insert_lsn() - '0/0') % 8192 AS o) AS s";

static void fast_stop_leaves_equal_positions(void **state)
{
    struct control control;
    double since;

    assert_non_null(state);
    NEED_LAB();
    run(a, "INSERT INTO t SELECT generate_series(1001, 2000)");
    run(a, fill_page);
    since = now_ms();
    must_do(a, ORDER_STOP, NULL);
    print_message(
        "fast stop: %.0f ms, state unknown for %.1f ms\n", now_ms() - since, a->blindness_ms);
    assert_int_equal(a->status.state, SERVER_DOWN);
    assert_true(a->status.was_clean);
    assert_true(a->status.was_primary);
    assert_string_equal(a->status.problem, "");
    engine_probe(b->engine);
    await(b_has_it_all);
    assert_int_equal(position_compare(a->status.position, b->status.position), 0);
    read_control_of(a, &control);
    print_message(
        "the checkpoint record begins %u bytes before the end of its page\n",
        WAL_PAGE_SIZE - (unsigned)(control.checkpoint_lsn % WAL_PAGE_SIZE));
}

/* The receiver must be gone when the order ends: a recruit acknowledges nothing more. */
static void recruit_stops_the_receiver(void **state)
{
    double since;

    assert_non_null(state);
    NEED_LAB();
    run(b, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication"); /* a dead one: no matter */
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

static void rewind_while_asked(void)
{
    const struct engine_order_args args = args_for(ORDER_REWIND, a);

    b->is_ordered = true;
    assert_int_equal(engine_order(b->engine, &args, NULL), 0);
    await(orders_have_ended_probing);
    assert_int_equal(b->result, 0);
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
    open_a();
    assert_int_equal(a->status.position.timeline, 4);
    must_do(a, ORDER_CHECKPOINT, NULL);
    run(b, "INSERT INTO t SELECT generate_series(5001, 9000)");
    since = now_ms();
    must(b, &immediate);
    print_message("immediate stop: %.0f ms\n", now_ms() - since);
    assert_false(b->status.was_clean);
    assert_true(b->status.was_primary);
    str_addf(&base, "%s/postgresql.base.conf", b->config.postgresql.data_dir);
    assert_int_equal(file_write(str_text(&base), "work_mem = 5MB # mine\n", 22, 0600, NULL), 0);
    run(a, "INSERT INTO t VALUES (-1)");
    since = now_ms();
    b->was_broken = false;
    rewind_while_asked();
    assert_false(b->was_broken);
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

/* Without an upstream, replaying its own log: the timeline must be right at once, for takeover
 * compares it. */
static void a_lonely_standby_knows_its_timeline(void **state)
{
    struct position told = b->status.position; /* the primary goes on by itself, now and then */

    assert_non_null(state);
    NEED_LAB();
    must_do(b, ORDER_STOP, NULL);
    assert_true(b->status.was_clean);
    assert_false(b->status.was_primary);
    must_do(b, ORDER_START, NULL);
    await(b_standby);
    assert_int_equal(b->status.position.timeline, 4);
    assert_true(position_compare(b->status.position, told) >= 0);
    must_do(b, ORDER_FOLLOW, a);
    await(b_streams);
}

static void kill_ends_everything(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    engine_kill(a->engine);
    await(a_down);
    assert_false(a->status.was_clean);
    assert_true(a->status.was_primary);
    assert_false(instant_is_set(a->status.deadline));
    must_do(a, ORDER_START, NULL);
    await(a_standby);
    assert_int_equal(a->status.position.timeline, 4);
}

/* Only the file, without the signal: nothing follows it. */
static void a_promotion_by_hand_is_seen_before_it_happens(void **state)
{
    AUTO_STR struct str path = STR_INIT(1024);
    struct control control;

    assert_non_null(state);
    NEED_LAB();
    assert_false(b->status.is_promoting);
    str_addf(&path, "%s/promote", b->config.postgresql.data_dir);
    assert_int_equal(file_write(str_text(&path), "", 0, 0600, NULL), 0);
    await(b_promoting);
    assert_int_equal(b->status.state, SERVER_STANDBY);
    engine_kill(b->engine);
    await(b_down);
    assert_int_equal(pg_read_control(b->config.postgresql.data_dir, &control, NULL), 0);
    assert_int_equal(control.state, CONTROL_IN_ARCHIVE_RECOVERY);
    assert_true(control.minimum_recovery_lsn > control.checkpoint_lsn);
    assert_true(b->status.position.lsn == control.minimum_recovery_lsn);
    must_do(b, ORDER_START, a);
    await(b_standby);
    assert_false(b->status.is_promoting);
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

static void expect_no_password_in(const char *name)
{
    static const char *const secrets[] = {"it's a", "rep:li", "re\"wind"};
    AUTO_STR struct str path = STR_INIT(1024);
    AUTO_FREE char *text = NULL;

    str_addf(&path, "%s/%s", a->config.postgresql.runtime_dir, name);
    assert_int_equal(file_read(str_text(&path), 1 << 24, &text, NULL, NULL), 0);
    for (size_t at = 0; at < ARRAY_LEN(secrets); at++) {
        assert_null(strstr(text, secrets[at]));
    }
}

static void passwords_work_and_stay_secret(void **state)
{
    char text[256];
    PGconn *connection;

    assert_non_null(state);
    NEED_LAB();
    expect_no_password_in("postgres.log");
    expect_no_password_in("guard.log");
    str_format(
        text, sizeof(text), "host=127.0.0.1 port=%d user=postgres dbname=postgres password=%s",
        a->config.postgresql.listen.port, "'it\\'s a \\\\ secret'");
    connection = PQconnectdb(text);
    assert_string_equal(PQerrorMessage(connection), "");
    PQfinish(connection);
    str_format(
        text, sizeof(text), "host=127.0.0.1 port=%d user=postgres dbname=postgres password=wrong",
        a->config.postgresql.listen.port);
    connection = PQconnectdb(text);
    assert_int_equal(PQstatus(connection), CONNECTION_BAD);
    PQfinish(connection);
}

static void slots_of_gone_members_are_dropped(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    open_a();
    IGNORE(wait_ms(NULL, 300), "the slots are made");
    run(a, "SELECT pg_create_physical_replication_slot('mine')");
    expect(
        a, "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots",
        "mine node_2");
    lab.cluster.member_count = 1;
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
    IGNORE(wait_ms(NULL, 1500), "a probe later");
    expect(a, "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots", "mine");
    lab.cluster.member_count = 2;
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
}

/* First the value of the control file holds; the restart of the primary in place, by whom the
 * cluster knows as its leader, lowers it. Then the standby can follow. */
static void lowered_values_come_with_a_restart(void **state)
{
    struct control control;

    assert_non_null(state);
    NEED_LAB();
    lab.json = JSON_40;
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
    engine_set_cluster(b->engine, &lab.cluster, lab.json);
    await(a_pending);
    must_do(a, ORDER_STOP, NULL);
    must_do(a, ORDER_START, NULL);
    await(a_pending);
    expect(a, "SHOW max_connections", "50");
    open_a();
    must_do(b, ORDER_START, a);
    await(b_streams);
    assert_true(b_pending());
    str_copy(lab.cluster.leader, sizeof(lab.cluster.leader), "node-1");
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
    engine_set_cluster(b->engine, &lab.cluster, lab.json);
    must_do(a, ORDER_STOP, NULL);
    must_do(a, ORDER_START, NULL);
    await(a_standby);
    expect(a, "SHOW max_connections", "40");
    read_control_of(a, &control);
    assert_int_equal(control.limits.max_connections, 40);
    assert_false(a->status.pending_restart);
    open_a();
    engine_probe(a->engine);
    await(b_streams);
    await(b_has_it_all);
    must_do(b, ORDER_STOP, NULL);
    must_do(b, ORDER_START, a);
    await(b_streams);
    expect(b, "SHOW max_connections", "40");
    assert_false(b->status.pending_restart);
}

/* A pause that somebody asked for is none of that; and a restart ends it. */
static void raised_values_outgrow_a_standby(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    run(b, "SELECT pg_wal_replay_pause()");
    await(b_paused);
    IGNORE(wait_ms(NULL, 1500), "a probe later");
    assert_false(b->status.is_outgrown);
    run(b, "SELECT pg_wal_replay_resume()");
    lab.json = JSON_50;
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
    must_do(a, ORDER_STOP, NULL);
    must_do(a, ORDER_START, NULL);
    open_a();
    await(b_outgrown);
    assert_non_null(strstr(
        b->status.problem, "max_connections is 40 here and was raised to 50 at the primary"));
    must_do(b, ORDER_STOP, NULL);
    must_do(b, ORDER_START, a);
    await(b_streams);
    assert_false(b->status.is_outgrown);
    expect(b, "SHOW max_connections", "50");
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
    AUTO_FREE char *major = NULL;
    size_t length;

    assert_non_null(state);
    NEED_LAB();
    must_do(a, ORDER_STOP, NULL);
    str_addf(&control, "%s/global/pg_control", folder);
    str_addf(&version, "%s/PG_VERSION", folder);
    str_addf(&mark, "%s.rewinding", folder);
    assert_int_equal(file_read(str_text(&control), 65536, &kept, &length, NULL), 0);
    damage(str_text(&control), "nonsense");
    engine_probe(a->engine);
    await(a_broken);
    assert_non_null(strstr(a->status.problem, "pg_control"));
    assert_int_equal(file_write(str_text(&control), kept, length, 0600, NULL), 0);
    engine_probe(a->engine);
    await(a_down);
    assert_int_equal(file_read(str_text(&version), 16, &major, NULL, NULL), 0);
    damage(str_text(&version), "12\n");
    engine_probe(a->engine);
    await(a_broken);
    assert_non_null(strstr(a->status.problem, "PostgreSQL 12 is not supported"));
    damage(str_text(&version), major);
    engine_probe(a->engine);
    await(a_down);
    damage(str_text(&mark), "");
    damage(str_text(&control), "nonsense");
    engine_probe(a->engine);
    await(a_torn);
    assert_int_equal(file_write(str_text(&control), kept, length, 0600, NULL), 0);
    engine_probe(a->engine);
    await(a_torn);
    assert_non_null(strstr(a->status.problem, "rewind was interrupted"));
    assert_false(a->status.was_clean);
    assert_int_equal(a->status.position.lsn, 0);
    assert_int_equal(try_to(a, ORDER_START, NULL), ERR_CONFLICT);
    assert_non_null(strstr(a->why.text, "rewind was interrupted"));
    assert_int_equal(try_to(a, ORDER_REWIND, b), ERR_CONFLICT);
    assert_int_equal(file_remove(str_text(&mark), NULL), 0);
    engine_probe(a->engine);
    await(a_whole);
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

/* That cannot even be listed: somebody else's, mode 0700. */
static void a_closed_folder_of_another_is_told(void **state)
{
    struct file_facts facts;

    assert_non_null(state);
    NEED_LAB();
    if (process_user() == 0 || file_facts("/root", &facts, NULL) < 0 || facts.owner != 0 ||
        (facts.mode & 0077) != 0) {
        skip();
    }
    end(a);
    str_copy(a->config.postgresql.data_dir, sizeof(a->config.postgresql.data_dir), "/root");
    begin(a);
    await(a_broken);
    assert_non_null(strstr(a->status.problem, "/root belongs to user 0, not to user"));
    end(a);
    configure(a, 1);
    str_copy(a->config.postgresql.bin_dir, sizeof(a->config.postgresql.bin_dir), "/nowhere");
    begin(a);
    await(a_broken);
    assert_non_null(strstr(a->status.problem, "\nhint: "));
    end(a);
    configure(a, 1);
    begin(a);
    await(a_down);
}

/* Numbers with a gap: the placeholders between stay, because the standby fetches them all. */
static void a_reserved_timeline_is_taken(void **state)
{
    uint32_t own = a->status.position.timeline;
    double since;

    assert_non_null(state);
    NEED_LAB();
    must_do(b, ORDER_STOP, NULL);
    leave_placeholder(a, own + 1, "# reserved by baton\n");
    leave_placeholder(a, own + 2, "");
    must_do(a, ORDER_START, NULL);
    await(a_standby);
    assert_int_equal(a->status.position.timeline, own);
    assert_false(has_history(a, own + 1));
    assert_false(has_history(a, own + 2));
    must_do(b, ORDER_START, NULL);
    await(b_standby);
    arm(a);
    await(a_armed);
    assert_int_equal(promote_to(a, own), ERR_CONFLICT);
    assert_non_null(strstr(a->why.text, "is reserved, but the server is on timeline"));
    assert_int_equal(a->status.state, SERVER_STANDBY);
    leave_placeholder(a, own + 3, "# a real one\n");
    assert_int_equal(promote_to(a, own + 3), ERR_CONFLICT);
    assert_non_null(strstr(a->why.text, "exists already"));
    leave_placeholder(a, own + 3, "");
    leave_placeholder(a, own + 1, "# reserved by baton\n");
    since = now_ms();
    if (promote_to(a, own + 3) < 0) {
        fail_msg("%s", a->why.text);
    }
    print_message("promote over two placeholders: %.0f ms\n", now_ms() - since);
    assert_int_equal(a->status.state, SERVER_PRIMARY);
    assert_int_equal(a->status.position.timeline, own + 3);
    assert_int_equal(a->status.history.switches[a->status.history.count - 1].timeline, own);
    assert_true(has_history(a, own + 1) && has_history(a, own + 2));
    must_do(b, ORDER_FOLLOW, a);
    run(a, "INSERT INTO t VALUES (-2)");
    engine_probe(a->engine);
    await(b_streams_it_all);
    while (b->status.position.timeline != own + 3) {
        IGNORE(wait_ms(NULL, 20), "it streams the rest of the old timeline first");
    }
    assert_true(has_history(b, own + 1) && has_history(b, own + 2));
    must_do(a, ORDER_STOP, NULL);
    must_do(a, ORDER_START, NULL);
    await(a_standby);
    assert_int_equal(a->status.position.timeline, own + 3);
    assert_true(has_history(a, own + 1) && has_history(a, own + 2));
    must_do(a, ORDER_STOP, NULL);
}

static void a_clone_replaces_torn_data(void **state)
{
    AUTO_STR struct str mark = STR_INIT(1024);
    enum file_kind kind;

    assert_non_null(state);
    NEED_LAB();
    must_do(a, ORDER_START, NULL);
    await(a_standby);
    must_do(b, ORDER_STOP, NULL);
    str_addf(&mark, "%s.rewinding", b->config.postgresql.data_dir);
    damage(str_text(&mark), "");
    engine_probe(b->engine);
    await(b_torn);
    must_do(b, ORDER_CLONE, a);
    assert_int_equal(b->status.state, SERVER_DOWN);
    assert_false(b->status.is_torn);
    assert_string_equal(b->status.problem, "");
    assert_int_equal(file_kind(str_text(&mark), &kind, NULL), 0);
    assert_int_equal(kind, FILE_MISSING);
    must_do(b, ORDER_START, NULL);
    await(b_standby);
    must_do(b, ORDER_STOP, NULL);
    must_do(a, ORDER_STOP, NULL);
}

/* A process called postgres that is named in postmaster.pid and works there holds the directory,
 * until it is a zombie. */
static void a_zombie_is_no_server(void **state)
{
    char path[1024];
    char text[32];
    pid_t pid;

    assert_non_null(state);
    NEED_LAB();
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_NAME, "postgres");
        prctl(PR_SET_DUMPABLE, 1); /* seen by others as a program that was executed is */
        if (chdir(a->config.postgresql.data_dir) != 0) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    str_format(path, sizeof(path), "%s/postmaster.pid", a->config.postgresql.data_dir);
    str_format(text, sizeof(text), "%d\n", (int)pid);
    IGNORE(wait_ms(NULL, 50), "it has its name");
    damage(path, text);
    engine_probe(a->engine);
    await(a_broken);
    assert_non_null(strstr(a->status.problem, "a PostgreSQL server that baton did not start"));
    assert_int_equal(kill(pid, SIGKILL), 0);
    engine_probe(a->engine);
    await(a_down);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(file_remove(path, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mount_point_is_refused),
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
        cmocka_unit_test(a_promotion_by_hand_is_seen_before_it_happens),
        cmocka_unit_test(a_passed_deadline_kills),
        cmocka_unit_test(bad_parameters_name_the_cause),
        cmocka_unit_test(passwords_work_and_stay_secret),
        cmocka_unit_test(slots_of_gone_members_are_dropped),
        cmocka_unit_test(lowered_values_come_with_a_restart),
        cmocka_unit_test(raised_values_outgrow_a_standby),
        cmocka_unit_test(broken_directories_are_told),
        cmocka_unit_test(a_foreign_owner_is_told),
        cmocka_unit_test(a_closed_folder_of_another_is_told),
        cmocka_unit_test(a_reserved_timeline_is_taken),
        cmocka_unit_test(a_clone_replaces_torn_data),
        cmocka_unit_test(a_zombie_is_no_server),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
