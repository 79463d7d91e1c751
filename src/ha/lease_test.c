/* The inequalities of lease.c, for every length that can be configured. */
#include "ha/ha.h"

#include <setjmp.h>

#include <cmocka.h>

static void test_lease_times_keep_the_promise(void **state)
{
    assert_null(*state);
    for (int64_t ttl_ms = LEASE_LENGTH_MIN_MS; ttl_ms <= 600000; ttl_ms += 250) {
        struct lease_times times = lease_times(ttl_ms, 10000);
        double holder_latest_ms = (double)times.hold_ms * 1.0005 + 200 + 300;
        double challenger_earliest_ms = (double)times.length_ms * 0.9995;

        assert_true(holder_latest_ms <= challenger_earliest_ms);
        assert_true(times.renew_ms * 4 <= times.hold_ms);
        assert_true(times.promote_budget_ms <= times.hold_ms - times.renew_ms);
    }
    assert_true(lease_times(3000, 1000).hold_ms > 2400);
}

/* What is left of a hold asks for no longer length than the hold came from, but for some
 * milliseconds of rounding, and keeps the promise. */
static void test_lease_length_is_enough(void **state)
{
    assert_null(*state);
    for (int64_t left_ms = 0; left_ms <= 600000; left_ms += 37) {
        int64_t length_ms = lease_length_ms(left_ms);

        assert_true((double)left_ms * 1.0005 + 200 + 300 <= (double)length_ms * 0.9995);
        assert_true(length_ms <= left_ms + left_ms / 500 + 510);
        if (length_ms >= LEASE_LENGTH_MIN_MS) {
            assert_true(lease_times(length_ms, 10000).hold_ms >= left_ms);
        }
    }
}

/* The inequalities of lease.c for the kernel watchdog, for every length and margin. */
static void test_watchdog_times_keep_the_promise(void **state)
{
    assert_null(*state);
    for (int64_t ttl_ms = LEASE_LENGTH_MIN_MS; ttl_ms <= 600000; ttl_ms += 250) {
        for (int64_t margin_s = -1; margin_s <= 40; margin_s++) {
            struct lease_times plain = lease_times(ttl_ms, 10000);
            struct lease_times times = plain;
            int64_t age_ms;

            lease_watch(&times, margin_s);
            if (times.watchdog_s == 0) {
                assert_memory_equal(&times, &plain, sizeof(times));
                continue;
            }
            age_ms = times.hold_ms - times.watchdog_left_ms;
            assert_true(times.watchdog_s >= 2);
            assert_true(age_ms > 0);
            assert_true(
                (double)(age_ms + times.watchdog_s * (margin_s < 0 ? 2000 : 1000) + 200) <=
                (double)ttl_ms * 0.999);
            assert_true(margin_s < 0 || times.watchdog_s <= ttl_ms / 1000 - margin_s);
            assert_true(margin_s >= 0 || times.watchdog_s <= ttl_ms / 2000);
            /* The guard has ended the server before an untroubled host is reset. */
            assert_true(margin_s >= 0 || times.hold_ms + 500 <= age_ms + times.watchdog_s * 1000);
            assert_true(times.hold_ms <= plain.hold_ms);
            assert_true(times.renew_ms * 4 <= times.hold_ms);
        }
    }
    {
        struct lease_times times = lease_times(30000, 10000);

        lease_watch(&times, 5);
        assert_int_equal(times.watchdog_s, 25);
        assert_int_equal(times.hold_ms, lease_times(30000, 10000).hold_ms);
        lease_watch(&times, -1);
        assert_int_equal(times.watchdog_s, 14);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lease_times_keep_the_promise),
        cmocka_unit_test(test_lease_length_is_enough),
        cmocka_unit_test(test_watchdog_times_keep_the_promise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
