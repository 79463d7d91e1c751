#include "engine/postgres/postgres_test.h"

#include "engine/postgres/driver.h"

#include <dirent.h>

#define LINE "2026-11-25 16:47:05.845 UTC [25442] "
#define REFUSED(segment) \
    LINE "LOG:  started streaming WAL from primary at 0/4000000 on timeline 2\n" LINE \
         "FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment " segment \
         " has already been removed\n"
#define A "000000020000000000000004"
#define B "000000020000000000000005"
#define NO_SLOT \
    LINE "FATAL:  could not start WAL streaming: ERROR:  can no longer access replication slot " \
         "\"node_2\"\n" \
         "\tDETAIL:  This replication slot has been invalidated due to \"wal_removed\".\n"

static void test_reading(void **state)
{
    static const struct {
        const char *text;
        const char *problem;
        unsigned refusals;
        bool is_of_slot;
    } rows[] = {
        {"", "before", 0},
        {"\n\n" LINE "LOG:  waiting for WAL to become available", "before", 0},
        {LINE "FATAL:  password authentication failed for user \"x\"\n", "before", 0},
        {LINE "FATAL:  could not connect to the primary server: refused",
         "it does not stream: could not connect to the primary server: refused", 0},
        {REFUSED(A) REFUSED(A) LINE "FATAL:  role \"x\" does not exist\n" REFUSED(A),
         "it does not stream: could not receive data from WAL stream: ERROR:  requested WAL "
         "segment " A " has already been removed",
         3},
        {REFUSED(A) REFUSED(A) REFUSED(B),
         "it does not stream: could not receive data from WAL stream: ERROR:  requested WAL "
         "segment " B " has already been removed",
         1},
        {LINE "LOG:  could not read from log segment " A
              ", offset 1122304: read 8160 of 8192\n" LINE
              "LOG:  waiting for WAL to become available at 0/7112018\n",
         "it does not stream: could not read from log segment " A
         ", offset 1122304: read 8160 of 8192\nhint: its log is damaged: move the data away, it is "
         "copied anew",
         0},
        {REFUSED(A) REFUSED(A) "FATAL:  could not connect to the primary server: refused\n",
         "it does not stream: could not connect to the primary server: refused", 0},
        {REFUSED(A) NO_SLOT NO_SLOT NO_SLOT,
         "it does not stream: could not start WAL streaming: ERROR:  can no longer access "
         "replication slot \"node_2\"",
         3, true},
        {NO_SLOT NO_SLOT REFUSED(A),
         "it does not stream: could not receive data from WAL stream: ERROR:  requested WAL "
         "segment " A " has already been removed",
         1},
    };

    assert_non_null(state);
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        AUTO_FREE char *text = mem_dup(rows[at].text);
        char problem[192] = "before";
        unsigned refusals = 7;
        bool is_of_slot = !rows[at].is_of_slot;

        pg_stall_read(text, problem, sizeof(problem), &refusals, &is_of_slot);
        assert_string_equal(problem, rows[at].problem);
        assert_int_equal(refusals, rows[at].refusals);
        assert_true(is_of_slot == rows[at].is_of_slot);
    }
}

/* What is longer than there is room for is cut. */
static void test_long(void **state)
{
    char text[] = "FATAL:  WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL";
    char problem[32];
    unsigned refusals;
    bool is_of_slot;

    assert_non_null(state);
    pg_stall_read(text, problem, sizeof(problem), &refusals, &is_of_slot);
    assert_string_equal(problem, "it does not stream: WAL WAL WAL");
}

/* Why it ended is not what it told its clients meanwhile. */
static void test_last_words(void **state)
{
    static const struct {
        const char *text;
        const char *words;
    } rows[] = {
        {"", "before"},
        {LINE "LOG:  shutting down\n", "before"},
        {LINE "FATAL:  could not extend file \"base/5/16389\"\n" LINE "HINT:  Check free disk "
              "space.\n" LINE "FATAL:  the database system is in recovery mode\n",
         "FATAL:  could not extend file \"base/5/16389\""},
        {LINE "FATAL:  data directory has wrong ownership\n" LINE
              "PANIC:  could not locate a valid checkpoint record",
         "PANIC:  could not locate a valid checkpoint record"},
        {LINE "PANIC:  one\n" LINE "FATAL:  another\n" LINE
              "FATAL:  terminating connection due to unexpected postmaster exit\n",
         "FATAL:  another"},
        {LINE "FATAL:  the database system is starting up\n", "before"},
    };

    assert_non_null(state);
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        char words[160] = "before";

        pg_last_words(rows[at].text, words, sizeof(words));
        assert_string_equal(words, rows[at].words);
    }
}

static bool is_slot_of_b(const char *condition)
{
    AUTO_STR struct str sql = STR_INIT(256);
    AUTO_FREE char *answer = NULL;

    str_addf(
        &sql, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'node_2' AND %s",
        condition);
    answer = ask(a, str_text(&sql));
    return str_equal(answer, "1");
}

static bool a_slot_reserves(void)
{
    engine_probe(a->engine); /* another turn */
    return is_slot_of_b("wal_status = 'reserved'");
}

/* The standby has never come. */
static void an_invalidated_slot_is_made_anew(void **state)
{
    assert_non_null(state);
    NEED_LAB();
    make_primary();
    await(a_slot_reserves);
    run(a, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
    run(a, "ALTER SYSTEM SET wal_keep_size = 0");
    run(a, "SELECT pg_reload_conf()");
    IGNORE(wait_ms(NULL, 500), "it is read");
    for (int round = 0; round < 3; round++) {
        run(a, "SELECT pg_logical_emit_message(false, 'test', 'to fill')");
        run(a, "SELECT pg_switch_wal()");
        run(a, "CHECKPOINT");
    }
    assert_true(is_slot_of_b("wal_status = 'lost'"));
    run(a, "ALTER SYSTEM RESET ALL");
    run(a, "SELECT pg_reload_conf()");
    await(a_slot_reserves);
    assert_true(is_slot_of_b("restart_lsn IS NOT NULL"));
}

static bool b_needs(void)
{
    return b->status.state == SERVER_STARTING && b->status.needed.lsn != 0;
}

/* Every file of its log. */
static void lose_log(const struct node *node)
{
    char path[700];
    struct dirent *entry;
    DIR *folder;

    str_format(path, sizeof(path), "%s/pg_wal", node->config.postgresql.data_dir);
    folder = opendir(path);
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        char file[1000];

        str_format(file, sizeof(file), "%s/%s", path, entry->d_name);
        assert_true(strlen(entry->d_name) != 24 || unlink(file) == 0);
    }
    closedir(folder);
}

/* Its pages are ahead of the log that is left, and nobody has the rest. */
static void what_a_starting_server_needs_is_told(void **state)
{
    struct control control;

    assert_non_null(state);
    NEED_LAB();
    make_standby();
    run(a, "CREATE TABLE pages AS SELECT generate_series(1, 10000) AS n");
    run(a, "CHECKPOINT");
    run(b, "CHECKPOINT");
    assert_int_equal(b->status.needed.lsn, 0);
    engine_kill(b->engine);
    await(b_down);
    engine_kill(a->engine);
    await(a_down);
    assert_int_equal(pg_read_control(b->config.postgresql.data_dir, &control, NULL), 0);
    assert_int_equal(control.state, CONTROL_IN_ARCHIVE_RECOVERY);
    lose_log(b);
    must_do(b, ORDER_START, a);
    await(b_needs);
    assert_int_equal(b->status.needed.timeline, control.minimum_recovery_timeline);
    assert_true(b->status.needed.lsn == control.minimum_recovery_lsn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_last_words),
        cmocka_unit_test(an_invalidated_slot_is_made_anew),
        cmocka_unit_test(what_a_starting_server_needs_is_told),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
