/* some_cases.c - linked to a unit test by tests/mutate: of its cases only those run that
 * BATON_TEST_CASES names, in the order of the test. A name that is no case is a failure. */
#include "base/base.h"

#include <setjmp.h>

#include <cmocka.h>

#define CASES_MAX 16

/* The names that the linker's --wrap makes. */
int run_all(
    const char *group, const struct CMUnitTest *tests, size_t count, CMFixtureFunction set_up,
    CMFixtureFunction tear_down) __asm__("__real__cmocka_run_group_tests");
int run_some(
    const char *group, const struct CMUnitTest *tests, size_t count, CMFixtureFunction set_up,
    CMFixtureFunction tear_down) __asm__("__wrap__cmocka_run_group_tests");

static bool has_word(const char *words, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = strstr(words, word); at != NULL; at = strstr(at + 1, word)) {
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

int run_some(
    const char *group, const struct CMUnitTest *tests, size_t count, CMFixtureFunction set_up,
    CMFixtureFunction tear_down)
{
    static struct CMUnitTest chosen[CASES_MAX];
    const char *words = getenv("BATON_TEST_CASES");
    size_t wanted = words != NULL ? 1 : 0;
    size_t used = 0;

    for (const char *at = words; at != NULL && *at != '\0'; at++) {
        wanted += *at == ' ';
    }
    for (size_t at = 0; at < count && used < CASES_MAX; at++) {
        if (words != NULL && has_word(words, tests[at].name)) {
            chosen[used++] = tests[at];
        }
    }
    if (used != wanted) {
        printf("%zu of %zu cases are there\n", used, wanted);
        return 1;
    }
    return run_all(group, chosen, used, set_up, tear_down);
}
