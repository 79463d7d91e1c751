#include "io/clock.h"

#include <setjmp.h>

#include <cmocka.h>

#define REAL_MS_2020 INT64_C(1577836800000)

static void goes_forward_on_both_clocks(void **state)
{
    struct timespec pause = {.tv_nsec = 20 * NS_PER_MS};
    struct instant before = clock_now();
    struct instant after;

    (void)state;
    assert_true(instant_is_set(before));
    assert_int_equal(nanosleep(&pause, NULL), 0);
    after = clock_now();
    assert_in_range(instant_elapsed_min_ms(before, after), 19, 2000);
    assert_in_range(instant_elapsed_max_ms(before, after), 19, 2000);
}

static void tells_the_date(void **state)
{
    (void)state;
    assert_true(clock_real_ms() > REAL_MS_2020);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_forward_on_both_clocks),
        cmocka_unit_test(tells_the_date),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
