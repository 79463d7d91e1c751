/* Rules of commits, revocation and pings with real servers: a primary and two standbys. One story,
 * each test goes on where the last one stopped. Skipped as postgres_test.c is. */
#include "engine/postgres/postgres_test.h"

#include "io/listen.h"

#include <poll.h>

#define MOMENT_MS 700 /* in which something that may not happen does not happen */

static uint64_t serial;

static struct sync_rule rule_of(bool is_any, unsigned need, const char *first, const char *second)
{
    struct sync_rule rule = {.is_waiting = true, .is_any = is_any, .need = need};

    if (first != NULL) {
        str_copy(rule.names[rule.count++], MEMBER_NAME_SIZE, first);
    }
    if (second != NULL) {
        str_copy(rule.names[rule.count++], MEMBER_NAME_SIZE, second);
    }
    return rule;
}

static bool a_settled(void)
{
    return a->status.sync_serial == serial;
}

static bool b_settled(void)
{
    return b->status.sync_serial == serial;
}

static void set_rule(struct node *node, struct sync_rule rule)
{
    engine_set_sync(node->engine, &rule, ++serial);
}

static void settle(struct sync_rule rule, const char *what)
{
    double since = now_ms();

    set_rule(a, rule);
    assert_true(a->status.sync_serial != serial);
    await(a_settled);
    print_message("%s: %.1f ms\n", what, now_ms() - since);
}

static void expect_unsettled(void)
{
    assert_false(wait_ms(a_settled, MOMENT_MS));
}

static pid_t sender_of(const char *name)
{
    AUTO_STR struct str sql = STR_INIT(256);

    str_addf(&sql, "SELECT pid FROM pg_stat_replication WHERE application_name = '%s'", name);
    return (pid_t)ask_number(a, str_text(&sql));
}

static pid_t receiver_of(const struct node *node)
{
    return (pid_t)ask_number(node, "SELECT pid FROM pg_stat_wal_receiver");
}

static bool a_sees_both(void)
{
    return a->status.standby_count == 2 && a->status.standbys[0].flushed_lsn != 0 &&
           a->status.standbys[1].flushed_lsn != 0;
}

static void a_primary_and_two_standbys(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    add_member(3);
    configure(c, 3);
    make_primary();
    begin(b);
    begin(c);
    await(b_known);
    await(c_known);
    must_do(b, ORDER_CLONE, a);
    must_do(c, ORDER_CLONE, a);
    must_do(b, ORDER_START, a);
    must_do(c, ORDER_START, a);
    await(b_streams);
    await(c_streams);
    engine_probe(a->engine);
    await(a_sees_both);
    assert_int_equal(a->status.sync_serial, 0);
    expect(a, "SHOW synchronous_standby_names", "");
}

static void rules_change_under_load(void **state)
{
    pid_t load;

    assert_non_null(state);
    NEED_LAB();
    load = start_load();
    settle(rule_of(true, 1, "node-2", "node-3"), "nobody to any of two (with a checkpoint)");
    expect(a, "SHOW synchronous_standby_names", "ANY 1 (\"node-2\",\"node-3\")");
    settle(rule_of(false, 1, "node-2", NULL), "any of two to one");
    settle(rule_of(false, 1, "node-3", NULL), "one to the other one");
    settle(rule_of(false, 2, "node-2", "node-3"), "one to both");
    settle((struct sync_rule){0}, "both to nobody");
    expect(a, "SHOW synchronous_standby_names", "");
    settle(rule_of(true, 1, "node-2", "node-3"), "nobody to any of two (with a checkpoint)");
    end_load(load);
    settle(rule_of(false, 1, "node-2", NULL), "any of two to one, idle");
    engine_set_sync(a->engine, &(struct sync_rule){0}, serial); /* the same number: not looked at */
    IGNORE(wait_ms(NULL, 100), "it would be written");
    expect(a, "SHOW synchronous_standby_names", "\"node-2\"");
}

/* It has not read the new rule, and may release commits by the old one. */
static void a_stopped_walsender_holds_it_up(void **state)
{
    pid_t sender;
    pid_t load;

    assert_non_null(state);
    NEED_LAB();
    settle(rule_of(true, 1, "node-2", "node-3"), "one to any of two");
    load = start_load();
    sender = sender_of("node-2");
    assert_int_equal(kill(sender, SIGSTOP), 0);
    set_rule(a, rule_of(false, 1, "node-3", NULL));
    expect_unsettled();
    assert_int_equal(kill(sender, SIGCONT), 0);
    await(a_settled);
    settle(rule_of(true, 1, "node-2", "node-3"), "one to any of two");
    sender = sender_of("node-2");
    assert_int_equal(kill(sender, SIGSTOP), 0);
    set_rule(a, rule_of(false, 1, "node-3", NULL));
    expect_unsettled();
    assert_int_equal(kill(sender, SIGTERM), 0);
    assert_int_equal(kill(sender, SIGCONT), 0);
    await(a_settled);
    await(b_streams);
    end_load(load);
}

/* Commits do not wait before the checkpointer has set the flag; nobody has been told before the
 * postmaster has read the file. */
static void a_stopped_process_of_the_server_holds_it_up(void **state)
{
    pid_t pid;

    assert_non_null(state);
    NEED_LAB();
    settle((struct sync_rule){0}, "to nobody");
    pid = (pid_t)ask_number(
        a, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    assert_int_equal(kill(pid, SIGSTOP), 0);
    set_rule(a, rule_of(true, 1, "node-2", "node-3"));
    expect_unsettled();
    assert_int_equal(kill(pid, SIGCONT), 0);
    await(a_settled);
    pid = (pid_t)ask_number(a, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
    assert_int_equal(kill(pid, SIGSTOP), 0);
    set_rule(a, rule_of(false, 1, "node-2", NULL));
    expect_unsettled();
    assert_int_equal(kill(pid, SIGCONT), 0);
    await(a_settled);
}

/* A dead host that is in no rule any more is no hindrance; one that is needed is. */
static void a_stopped_standby(void **state)
{
    pid_t receiver;

    assert_non_null(state);
    NEED_LAB();
    settle(rule_of(true, 1, "node-2", "node-3"), "one to any of two");
    receiver = receiver_of(b);
    assert_int_equal(kill(receiver, SIGSTOP), 0);
    settle(rule_of(false, 1, "node-3", NULL), "any of two to the one that is alive");
    set_rule(a, rule_of(false, 2, "node-2", "node-3"));
    expect_unsettled();
    set_rule(a, rule_of(false, 1, "node-3", NULL));
    IGNORE(wait_ms(a_settled, MOMENT_MS), "the walsender has the rule in between, or has not");
    assert_int_equal(kill(receiver, SIGCONT), 0);
    await(a_settled);
}

/* One that is needed and not there: whatever the other one has confirmed. */
static void an_absent_standby_holds_it_up(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    settle(rule_of(false, 1, "node-2", NULL), "to one");
    must_do(c, ORDER_STOP, NULL);
    set_rule(a, rule_of(false, 2, "node-2", "node-3"));
    expect_unsettled();
    must_do(c, ORDER_START, a);
    await(a_settled);
    await(c_streams);
}

static void commits_wait_for_ever(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    settle(rule_of(false, 0, NULL, NULL), "one to the name of nobody");
    expect(a, "SHOW synchronous_standby_names", "\"" SYNC_BLOCKED_NAME "\"");
    settle(rule_of(true, 1, "node-2", "node-3"), "to any of two");
}

static void alter_system_does_not_win(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    run(a, "ALTER SYSTEM SET synchronous_standby_names = 'other'");
    run(a, "ALTER SYSTEM SET work_mem = '9MB'");
    settle(rule_of(false, 1, "node-3", NULL), "over ALTER SYSTEM");
    expect(a, "SHOW synchronous_standby_names", "\"node-3\"");
    expect(a, "SHOW work_mem", "9MB");
    settle(rule_of(true, 1, "node-2", "node-3"), "to any of two");
}

static bool a_unsettled(void)
{
    return a->status.sync_serial != serial;
}

/* The rule stays the same; the process that sets the flag has not gone back to it yet. */
static void alter_system_does_not_last(void **state)
{
    pid_t checkpointer;
    PGconn *connection;

    assert_non_null(state);
    NEED_LAB();
    checkpointer = (pid_t)ask_number(
        a, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    run(a, "ALTER SYSTEM SET synchronous_standby_names = ''");
    run(a, "ALTER SYSTEM SET work_mem = '8MB'");
    run(a, "SELECT pg_reload_conf()");
    poll(NULL, 0, 500); /* the checkpointer reads it; the driver, whose loop stands still, not */
    assert_int_equal(kill(checkpointer, SIGSTOP), 0);
    await(a_unsettled);
    expect_unsettled();
    assert_non_null(strstr(a->status.problem, "was changed (by ALTER SYSTEM?)"));
    expect(a, "SHOW synchronous_standby_names", "ANY 1 (\"node-2\",\"node-3\")");
    assert_int_equal(kill(checkpointer, SIGCONT), 0);
    await(a_settled);
    assert_string_equal(a->status.problem, "");
    expect(a, "SHOW work_mem", "8MB");
    expect(
        a, "SELECT count(*) FROM pg_file_settings WHERE name = 'synchronous_standby_names'", "1");
    must_do(b, ORDER_STOP, NULL);
    must_do(c, ORDER_STOP, NULL);
    connection = connect_to(a);
    assert_int_equal(PQsendQuery(connection, "CREATE TABLE waited ()"), 1);
    IGNORE(wait_ms(NULL, MOMENT_MS), "it would be done");
    expect(a, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", "1");
    must_do(b, ORDER_START, a);
    must_do(c, ORDER_START, a);
    await(b_streams);
    await(c_streams);
    PQfinish(connection);
}

/* Whatever the new agent writes before it knows the rule, the server keeps it. */
static void a_new_driver_keeps_the_rule(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    end(a);
    lab.json = JSON_40;
    begin(a);
    await(a_primary);
    assert_int_equal(a->status.sync_serial, 0);
    await(a_pending);
    expect(a, "SHOW synchronous_standby_names", "ANY 1 (\"node-2\",\"node-3\")");
    must_do(a, ORDER_RELOAD, NULL);
    expect(a, "SHOW synchronous_standby_names", "ANY 1 (\"node-2\",\"node-3\")");
    settle(rule_of(true, 1, "node-2", "node-3"), "the same rule, told by a new driver");
    lab.json = JSON_50;
    engine_set_cluster(a->engine, &lab.cluster, lab.json);
}

static void a_start_keeps_the_rule(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    must_do(a, ORDER_STOP, NULL);
    end(a);
    begin(a);
    await(a_down);
    must_do(a, ORDER_START, NULL);
    await(a_standby);
    expect(a, "SHOW synchronous_standby_names", "ANY 1 (\"node-2\",\"node-3\")");
    assert_int_equal(a->status.sync_serial, 0);
    set_rule(a, rule_of(true, 1, "node-2", "node-3"));
    await(a_settled); /* loaded */
    open_a();
    await(a_settled);
    must_do(b, ORDER_FOLLOW, a);
    must_do(c, ORDER_FOLLOW, a);
    await(b_streams);
    await(c_streams);
}

static bool b_detached(void)
{
    return b->status.is_detached;
}

static void revoked_standbys_know_their_end(void **state)
{
    pid_t load;
    double since;

    assert_non_null(state);
    NEED_LAB();
    load = start_load();
    for (int round = 0; round < 3; round++) {
        IGNORE(wait_ms(NULL, 200), "some commits");
        assert_false(b->status.is_detached);
        since = now_ms();
        must_do(b, ORDER_REVOKE, NULL);
        print_message("revoke: %.1f ms\n", now_ms() - since);
        assert_true(b->status.is_detached);
        assert_string_equal(b->status.upstream, "");
        assert_true(b->status.position.lsn >= b->status.received_lsn);
        assert_true(b->status.position.lsn >= b->status.replayed_lsn);
        assert_int_equal(b->status.position.timeline, a->status.position.timeline);
        expect(b, "SELECT count(*) FROM pg_stat_wal_receiver", "0");
        expect(b, "SHOW restore_command", "");
        since = now_ms();
        must_do(b, ORDER_FOLLOW, a);
        await(b_streams);
        print_message("follow and stream: %.1f ms\n", now_ms() - since);
        assert_false(b->status.is_detached);
    }
    end_load(load);
    assert_int_equal(try_to(a, ORDER_REVOKE, NULL), ERR_CONFLICT);
}

static bool b_waits(void)
{
    AUTO_FREE char *answer =
        ask(b, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'startup'"
               " AND (wait_event_type = 'Lock' OR wait_event LIKE 'RecoveryConflict%')");

    engine_probe(b->engine);
    return str_equal(answer, "1");
}

static bool b_has_the_table(void)
{
    engine_probe(b->engine); /* another turn */
    return ask_number(b, "SELECT count(*) FROM pg_class WHERE relname = 'locked'") > 0;
}

/* A query holds the replay up: the receiver must go all the same. */
static void a_conflict_does_not_stop_a_revocation(void **state)
{
    PGconn *connection;
    double since;

    assert_non_null(state);
    NEED_LAB();
    lab.json = "{\"postgresql\":{\"parameters\":{\"max_connections\":50,"
               "\"max_standby_streaming_delay\":\"-1\",\"restore_command\":\"false\"}}}";
    engine_set_cluster(b->engine, &lab.cluster, lab.json);
    must_do(b, ORDER_RELOAD, NULL);
    run(a, "CREATE TABLE locked AS SELECT 1 AS n");
    await(b_has_the_table);
    connection = connect_to(b);
    PQclear(PQexec(connection, "BEGIN; SELECT * FROM locked"));
    run(a, "DROP TABLE locked");
    await(b_waits);
    expect(b, "SELECT count(*) FROM pg_stat_wal_receiver", "1");
    since = now_ms();
    must_do(b, ORDER_REVOKE, NULL);
    print_message("revoke with a stuck replay: %.0f ms\n", now_ms() - since);
    assert_true(b->status.is_detached);
    assert_true(b->status.received_lsn > b->status.replayed_lsn);
    assert_true(b->status.position.lsn >= b->status.received_lsn);
    expect(b, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver'", "0");
    expect(b, "SHOW restore_command", "");
    PQfinish(connection);
    must_do(b, ORDER_FOLLOW, a);
    await(b_streams);
    expect(b, "SHOW restore_command", "false");
    lab.json = JSON_50;
    engine_set_cluster(b->engine, &lab.cluster, lab.json);
    must_do(b, ORDER_RELOAD, NULL);
}

static void a_start_without_upstream_is_detached(void **state)
{
    double since;

    assert_non_null(state);
    NEED_LAB();
    must_do(b, ORDER_STOP, NULL);
    since = now_ms();
    must_do(b, ORDER_START, NULL);
    await(b_detached);
    print_message("start to detached: %.0f ms\n", now_ms() - since);
    must_do(b, ORDER_REVOKE, NULL);
    assert_true(b->status.is_detached);
    must_do(b, ORDER_FOLLOW, a);
    await(b_streams);
    assert_false(b->status.is_detached);
}

/* ---- pings ---- */

static unsigned pings_wanted;

static bool has_pings(void)
{
    return c->pings >= pings_wanted;
}

static bool ping(const char *url, int64_t timeout_ms)
{
    struct engine_peer peer = {.name = "asked"};
    double since = now_ms();

    str_copy(peer.conn_url, sizeof(peer.conn_url), url);
    pings_wanted = c->pings + 1;
    engine_ping(c->engine, &peer, timeout_ms);
    assert_false(has_pings());
    await(has_pings);
    assert_string_equal(c->pinged, "asked");
    print_message("ping %s: %s after %.1f ms\n", url, c->is_alive ? "yes" : "no", now_ms() - since);
    return c->is_alive;
}

static void only_servers_answer_pings(void **state)
{
    char url[128];
    pid_t postmaster;
    int fd = -1;

    assert_non_null(state);
    NEED_LAB();
    str_format(url, sizeof(url), "postgres://127.0.0.1:%d/postgres", lab.ports[0]);
    assert_true(ping(url, 2000));
    postmaster =
        (pid_t)ask_number(a, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
    assert_int_equal(kill(postmaster, SIGSTOP), 0);
    assert_false(ping(url, 300));
    assert_int_equal(kill(postmaster, SIGCONT), 0);
    str_format(url, sizeof(url), "postgres://localhost:%d/postgres", lab.ports[0]);
    assert_true(ping(url, 2000));
    assert_false(ping("postgres://127.0.0.1:1/postgres", 2000));
    assert_false(ping("postgres://no-such-host.invalid:5432/postgres", 2000));
    assert_false(ping("nonsense", 2000));
    assert_int_equal(listen_open("127.0.0.1", 0, &fd, NULL), 0);
    str_format(url, sizeof(url), "postgres://127.0.0.1:%d/postgres", listen_port(fd));
    assert_false(ping(url, 200));
    assert_int_equal(close(fd), 0);
}

static void pings_may_be_many_and_given_up(void **state)
{
    struct engine_peer peer = {.name = "many"};

    assert_non_null(state);
    NEED_LAB();
    str_format(
        peer.conn_url, sizeof(peer.conn_url), "postgres://127.0.0.1:%d/postgres", lab.ports[0]);
    pings_wanted = c->pings + MEMBERS_MAX;
    for (int at = 0; at < MEMBERS_MAX; at++) {
        engine_ping(c->engine, &peer, 5000);
    }
    await(has_pings);
    assert_true(c->is_alive);
    engine_ping(c->engine, &peer, 5000);
    str_copy(peer.conn_url, sizeof(peer.conn_url), "postgres://localhost:1/postgres");
    engine_ping(c->engine, &peer, 5000);
    end(c);
    assert_true(has_pings());
    begin(c);
    await(c_streams);
}

/* ---- takeover ---- */

/* The rule comes with the order to promote: it is in force before the first commit. */
static void a_promotion_brings_its_rule(void **state)
{
    double since;

    assert_non_null(state);
    NEED_LAB();
    set_rule(b, rule_of(true, 1, "node-1", "node-3"));
    await(b_settled);
    must_do(c, ORDER_REVOKE, NULL);
    must_do(b, ORDER_REVOKE, NULL);
    engine_kill(a->engine);
    await(a_down);
    arm(b);
    await(b_armed);
    since = now_ms();
    set_rule(b, rule_of(true, 1, "node-3", NULL));
    must_do(b, ORDER_PROMOTE, NULL);
    print_message("promote with a new rule: %.0f ms\n", now_ms() - since);
    expect(b, "SHOW synchronous_standby_names", "ANY 1 (\"node-3\")");
    assert_true(b->status.sync_serial != serial);
    must_do(c, ORDER_FOLLOW, b);
    print_message("and the other one follows: %.0f ms\n", now_ms() - since);
    await(c_streams);
    print_message("and streams: %.0f ms\n", now_ms() - since);
    await(b_settled);
    print_message("and the rule is in force: %.0f ms\n", now_ms() - since);
}

/* ---- the end of a log ---- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_and_two_standbys),
        cmocka_unit_test(rules_change_under_load),
        cmocka_unit_test(a_stopped_walsender_holds_it_up),
        cmocka_unit_test(a_stopped_process_of_the_server_holds_it_up),
        cmocka_unit_test(a_stopped_standby),
        cmocka_unit_test(an_absent_standby_holds_it_up),
        cmocka_unit_test(commits_wait_for_ever),
        cmocka_unit_test(alter_system_does_not_win),
        cmocka_unit_test(alter_system_does_not_last),
        cmocka_unit_test(a_new_driver_keeps_the_rule),
        cmocka_unit_test(a_start_keeps_the_rule),
        cmocka_unit_test(revoked_standbys_know_their_end),
        cmocka_unit_test(a_conflict_does_not_stop_a_revocation),
        cmocka_unit_test(a_start_without_upstream_is_detached),
        cmocka_unit_test(only_servers_answer_pings),
        cmocka_unit_test(pings_may_be_many_and_given_up),
        cmocka_unit_test(a_promotion_brings_its_rule),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
