#include "engine/postgres/driver.h"

#include <setjmp.h>

#include <cmocka.h>

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

    assert_null(*state);
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

    assert_null(*state);
    pg_stall_read(text, problem, sizeof(problem), &refusals);
    assert_string_equal(problem, "it does not stream: WAL WAL WAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
