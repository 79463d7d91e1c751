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

static void test_reading(void **state)
{
    static const struct {
        const char *text;
        const char *problem;
        unsigned refusals;
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
    };

    assert_non_null(state);
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        AUTO_FREE char *text = mem_dup(rows[at].text);
        char problem[192] = "before";
        unsigned refusals = 7;

        pg_stall_read(text, problem, sizeof(problem), &refusals);
        assert_string_equal(problem, rows[at].problem);
        assert_int_equal(refusals, rows[at].refusals);
    }
}

/* What is longer than there is room for is cut. */
static void test_long(void **state)
{
    char text[] = "FATAL:  WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL WAL";
    char problem[32];
    unsigned refusals;

    assert_non_null(state);
    pg_stall_read(text, problem, sizeof(problem), &refusals);
    assert_string_equal(problem, "it does not stream: WAL WAL WAL");
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
    make_primary();
    begin(b);
    await(b_known);
    must_do(b, ORDER_CLONE, a);
    must_do(b, ORDER_START, a);
    await(b_streams);
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
        cmocka_unit_test(what_a_starting_server_needs_is_told),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
