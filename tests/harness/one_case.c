/* one_case.c - linked to a unit test by tests/mutate: only the cases whose names match the pattern
 * in BATON_TEST_CASE run. */
#include "base/base.h"

#include <setjmp.h>

#include <cmocka.h>

__attribute__((constructor)) static void choose(void)
{
    const char *pattern = getenv("BATON_TEST_CASE");

    if (pattern != NULL) {
        cmocka_set_test_filter(pattern);
    }
}
