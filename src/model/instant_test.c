#include "model/instant.h"

#include <setjmp.h>

#include <cmocka.h>

/* Two clocks that differ: each question believes the one that costs its asker. */
static void either_clock_may_be_wrong(void **state)
{
    struct instant from = {.boot_ns = 1000 * NS_PER_MS, .raw_ns = 2000 * NS_PER_MS};
    struct instant now = {.boot_ns = 1300 * NS_PER_MS, .raw_ns = 2200 * NS_PER_MS};
    struct instant deadline = instant_add_ms(from, 250);

    assert_null(*state);
    assert_int_equal(instant_elapsed_max_ms(from, now), 300);
    assert_int_equal(instant_elapsed_min_ms(from, now), 200);
    assert_int_equal(instant_left_ms(deadline, now), -51); /* rounded down */
    now.boot_ns = from.boot_ns;
    assert_int_equal(instant_left_ms(deadline, now), 50);
    now.raw_ns = deadline.raw_ns + 1;
    assert_int_equal(instant_left_ms(deadline, now), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(either_clock_may_be_wrong)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
