/* Where the log of a primary ends that was killed, with a real server and what pg_waldump finds in
 * its log. Skipped as postgres_test.c is. */
#include "engine/postgres/postgres_test.h"

#include "engine/postgres/driver.h"

#define SEGMENT ((uint64_t)16 << 20)
#define PATIENCE_MS 60000 /* nothing here is about time, and the machine may stand still */

/* The name of a segment's file, and of the last one of the same timeline. */
static void name_segments(
    const char *folder, uint32_t timeline, uint64_t lsn, char *ret_name, char *ret_last)
{
    char **names = NULL;

    wal_name_format(timeline, lsn, SEGMENT, ret_name);
    str_copy(ret_last, WAL_NAME_SIZE, ret_name);
    assert_int_equal(file_list(folder, &names, NULL), 0);
    for (char **at = names; *at != NULL; at++) {
        if (strlen(*at) == strlen(ret_name) && strncmp(*at, ret_name, 8) == 0) {
            str_copy(ret_last, WAL_NAME_SIZE, *at);
        }
    }
    file_names_free(names);
}

/* Where the last record ends that pg_waldump finds behind LSN, in the log of A. It is told the
 * files: it would read the size of segments in any of the folder, also in one of zeros. */
static uint64_t dump_end(uint32_t timeline, uint64_t lsn)
{
    char program[700];
    char folder[700];
    char name[WAL_NAME_SIZE];
    char last[WAL_NAME_SIZE];
    char programs[600];
    char text[LSN_TEXT_SIZE];
    char line[1024];
    uint64_t end = 0;
    int ends[2];
    FILE *pipe_end;
    pid_t pid;

    lsn_format(lsn, text);
    assert_int_equal(versions_find_programs("", 0, programs, sizeof(programs), NULL), 0);
    str_format(program, sizeof(program), "%s/pg_waldump", programs);
    str_format(folder, sizeof(folder), "%s/pg_wal", a->config.postgresql.data_dir);
    name_segments(folder, timeline, lsn, name, last);
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(STDERR_FILENO); /* it ends with a complaint */
        execl(program, "pg_waldump", "-p", folder, "-s", text, name, last, (char *)NULL);
        _exit(1);
    }
    assert_int_equal(close(ends[1]), 0);
    pipe_end = fdopen(ends[0], "r");
    assert_non_null(pipe_end);
    while (fgets(line, sizeof(line), pipe_end) != NULL) {
        const char *length = strstr(line, "len (rec/tot):");
        const char *at = strstr(line, "lsn: ");
        char start[LSN_TEXT_SIZE] = "";
        uint64_t begin = 0;

        if (length == NULL || at == NULL) {
            continue; /* the rest of a long line */
        }
        length = strchr(strchr(length, ':'), '/') + 1;
        str_format(start, sizeof(start), "%.*s", (int)strcspn(at + 5, ","), at + 5);
        assert_int_equal(lsn_parse(start, &begin, NULL), 0);
        end = wal_record_end(begin, (uint32_t)strtoul(length, NULL, 10), (uint32_t)SEGMENT);
        if (strstr(line, "SWITCH") != NULL) {
            end = (end + SEGMENT - 1) / SEGMENT * SEGMENT;
        }
    }
    assert_int_equal(fclose(pipe_end), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(end != 0);
    return end;
}

static uint64_t flushed;

static bool has_position(void)
{
    engine_probe(a->engine);
    return a->status.position.lsn >= flushed;
}

/* Until the driver has told a position that has all that is flushed now. */
static void await_position(void)
{
    AUTO_FREE char *text = ask(a, "SELECT pg_current_wal_flush_lsn()");

    assert_int_equal(lsn_parse(text, &flushed, NULL), 0);
    await(has_position);
}

/* A look that takes too long does not tell the end; the next one does. */
static bool has_end(void)
{
    engine_probe(a->engine);
    return a->status.is_end_known;
}

static void crash_and_compare(void)
{
    uint64_t checkpoint;
    uint64_t seen;
    double since;
    AUTO_FREE char *text = ask(a, "SELECT checkpoint_lsn FROM pg_control_checkpoint()");

    assert_int_equal(lsn_parse(text, &checkpoint, NULL), 0);
    await_position();
    seen = a->status.position.lsn;
    since = now_ms();
    engine_kill(a->engine);
    await(a_down);
    print_message(
        "crash to end: %.1f ms, state unknown for %.1f ms\n", now_ms() - since, a->blindness_ms);
    assert_false(a->status.was_clean);
    assert_true(a->status.was_primary);
    await(has_end);
    assert_true(a->status.position.lsn >= seen || seen % WAL_PAGE_SIZE == 0);
    assert_true(a->status.position.lsn == dump_end(a->status.position.timeline, checkpoint));
}

/* Have a record of eight segments written, right behind one that begins pages before, and stop its
 * writer when some of it is flushed; false: that is more than is looked through for its end. */
static bool stop_within_record(void)
{
    char text[192];
    uint64_t begin;
    bool is_early;
    PGconn *connection = connect_to(a);
    AUTO_FREE char *before = ask(a, "SELECT pg_current_wal_flush_lsn()");

    assert_int_equal(lsn_parse(before, &begin, NULL), 0);
    assert_int_equal(PQstatus(connection), CONNECTION_OK);
    str_format(
        text, sizeof(text),
        "SELECT pg_logical_emit_message(false, 'a', repeat('x', 100000)),"
        " pg_logical_emit_message(false, 'a', repeat('x', %d))",
        (int)(8 * SEGMENT));
    assert_int_equal(PQsendQuery(connection, text), 1);
    do {
        AUTO_FREE char *now = ask(a, "SELECT pg_current_wal_flush_lsn()");

        assert_int_equal(lsn_parse(now, &flushed, NULL), 0);
    } while (flushed < begin + SEGMENT);
    assert_int_equal(kill(PQbackendPID(connection), SIGSTOP), 0);
    await_position();
    is_early = flushed < begin + 3 * SEGMENT;
    if (!is_early) {
        assert_int_equal(kill(PQbackendPID(connection), SIGCONT), 0);
        PQclear(PQgetResult(connection)); /* the next one writes alone */
    }
    PQfinish(connection);
    return is_early;
}

/* The same end, whichever page of the half written record was the last that was seen flushed: also
 * when no whole record begins in the pages before it. */
static void seen_at_each_page(void)
{
    const char *data_dir = a->config.postgresql.data_dir;
    struct position end = a->status.position;
    uint64_t first = (end.lsn / WAL_PAGE_SIZE + 1) * WAL_PAGE_SIZE;
    struct control control;

    assert_int_equal(pg_read_control(data_dir, &control, NULL), 0);
    for (uint64_t seen = first; seen < first + 8 * WAL_PAGE_SIZE; seen += WAL_PAGE_SIZE) {
        struct position last = {end.timeline, seen};
        struct position found = {0};

        assert_true(pg_find_end(data_dir, &control, last, PATIENCE_MS, &found));
        assert_true(found.timeline == end.timeline);
        assert_true(found.lsn == end.lsn);
        last.lsn += 64;
        assert_false(pg_find_end(data_dir, &control, last, PATIENCE_MS, &found));
    }
}

/* Zeros over what the server has flushed last: 16 kB, and what follows. */
static void tear_log(void)
{
    static const char zeros[65536];
    AUTO_FREE char *name = ask(a, "SELECT pg_walfile_name(pg_current_wal_flush_lsn())");
    uint64_t offset = a->status.position.lsn % SEGMENT;
    char path[1024];
    FILE *file;

    str_format(path, sizeof(path), "%s/pg_wal/%s", a->config.postgresql.data_dir, name);
    file = fopen(path, "r+");
    assert_non_null(file);
    offset = (offset > 16384 ? offset - 16384 : 0) / WAL_PAGE_SIZE * WAL_PAGE_SIZE;
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_true(fwrite(zeros, 1, sizeof(zeros), file) == sizeof(zeros));
    assert_int_equal(fclose(file), 0);
}

static void restart_as_primary(void)
{
    must_do(a, ORDER_START, NULL);
    await(a_standby);
    assert_false(a->status.is_end_known);
    open_a();
    must_do(a, ORDER_CHECKPOINT, NULL);
}

static void the_end_of_a_log_is_found_after_a_crash(void **state)
{
    uint64_t end_lsn;

    assert_non_null(state);
    NEED_LAB();
    make_primary();
    must_do(a, ORDER_CHECKPOINT, NULL);
    for (int round = 0; round < 3; round++) {
        pid_t load = start_load();

        run(a, "INSERT INTO load SELECT generate_series(1, 20000)");
        IGNORE(wait_ms(NULL, 100 + 30 * round), "in the middle of something");
        crash_and_compare();
        end_load(load);
        if (round < 2) {
            restart_as_primary();
        }
    }
    /* A new driver has not seen it run: from the checkpoint on. */
    end_lsn = a->status.position.lsn;
    end(a);
    begin(a);
    await(a_down);
    await(has_end);
    assert_true(a->status.position.lsn == end_lsn);
    /* At the beginning of a segment. */
    restart_as_primary();
    run(a, "CREATE TABLE some_more AS SELECT 1 AS n");
    run(a, "SELECT pg_switch_wal()");
    crash_and_compare();
    /* A record of which a part is flushed: it ends before that. */
    restart_as_primary();
    for (int tries = 1; !stop_within_record(); tries++) {
        assert_true(tries < 10);
    }
    assert_true(flushed % WAL_PAGE_SIZE == 0);
    crash_and_compare();
    assert_true(a->status.position.lsn < flushed);
    seen_at_each_page();
    /* What was flushed is gone: nothing is claimed. */
    restart_as_primary();
    run(a, "INSERT INTO some_more SELECT generate_series(1, 1000)");
    await_position();
    tear_log();
    engine_kill(a->engine);
    await(a_down);
    assert_true(a->status.was_primary);
    assert_false(a->status.is_end_known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_a_log_is_found_after_a_crash),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
