#include "io/watchdog.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

#include <linux/watchdog.h>
#include <setjmp.h>
#include <sys/stat.h>

#include <cmocka.h>

#define SECOND_NS (1000 * NS_PER_MS)

/* A device as the kernel shows it: a file for what is written, and answers to ioctl. */
static struct {
    char folder[64];
    char path[96];
    int support_errno;
    int set_errno;
    unsigned options;
    int seconds; /* the timeout that it has */
    int least_s; /* it cannot be shorter */
} device;

static struct watchdog dog;

static int answer(int fd, unsigned long request, void *arg)
{
    struct watchdog_info *info = arg;
    int *seconds = arg;

    assert_true(fd >= 0);
    if (request == WDIOC_GETSUPPORT) {
        info->options = device.options;
        errno = device.support_errno;
        return device.support_errno != 0 ? -1 : 0;
    }
    if (request == WDIOC_SETTIMEOUT) {
        device.seconds = MAX(*seconds, device.least_s);
        errno = device.set_errno;
        return device.set_errno != 0 ? -1 : 0;
    }
    assert_int_equal(request, WDIOC_GETTIMEOUT);
    *seconds = device.seconds;
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    memset(&device, 0, sizeof(device));
    assert_true(str_copy(device.folder, sizeof(device.folder), "/tmp/baton-watchdog-XXXXXX"));
    assert_non_null(mkdtemp(device.folder));
    assert_true(str_format(device.path, sizeof(device.path), "%s/device", device.folder));
    assert_int_equal(file_write(device.path, "", 0, 0600, NULL), 0);
    device.options = WDIOF_SETTIMEOUT | WDIOF_MAGICCLOSE;
    device.seconds = 60;
    watchdog_init(&dog);
    dog.control = answer;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    watchdog_keep(&dog, false, 0, 0);
    unlink(device.path);
    return rmdir(device.folder);
}

static void want(unsigned timeout_s, int64_t left_ms, bool is_testing)
{
    struct guard_watch watch = {
        .timeout_s = timeout_s, .left_ms = left_ms, .is_testing = is_testing};

    assert_true(str_copy(watch.path, sizeof(watch.path), device.path));
    watchdog_set(&dog, &watch);
}

static void expect(const char *said)
{
    AUTO_FREE char *text = NULL;

    assert_int_equal(file_read(device.path, 1000, &text, NULL, NULL), 0);
    assert_string_equal(text, said);
}

static void expect_failure(int error)
{
    assert_int_equal(dog.state, GUARD_WATCHDOG_FAILED);
    assert_int_equal(dog.error, error);
}

static void it_runs_while_it_is_needed(void **state)
{
    int64_t next;

    (void)state;
    assert_int_equal(watchdog_keep(&dog, true, 10000, 1), INT64_MAX); /* nothing was set */
    assert_int_equal(dog.state, GUARD_WATCHDOG_OFF);
    want(30, 1000, false);
    assert_int_equal(dog.state, GUARD_WATCHDOG_READY);
    expect(""); /* not opened: that would start it */
    next = watchdog_keep(&dog, true, 10000, SECOND_NS);
    assert_int_equal(dog.state, GUARD_WATCHDOG_RUNNING);
    assert_int_equal(device.seconds, 30);
    assert_int_equal(next, 10 * SECOND_NS);
    expect("1");
    assert_int_equal(watchdog_keep(&dog, true, 9000, 2 * SECOND_NS), 9 * SECOND_NS);
    expect("1");
    watchdog_keep(&dog, true, 1000, 11 * SECOND_NS);
    expect("11");
    watchdog_keep(&dog, false, 0, 12 * SECOND_NS);
    assert_int_equal(dog.state, GUARD_WATCHDOG_READY);
    assert_int_equal(dog.fd, -1);
    expect("11V");
}

/* The end of the deadline comes without the magic close. */
static void it_is_not_petted_when_too_little_is_left(void **state)
{
    (void)state;
    want(3, 1000, false);
    watchdog_keep(&dog, true, 1000, SECOND_NS);
    expect("1");
    assert_int_equal(watchdog_keep(&dog, true, 999, 10 * SECOND_NS), INT64_MAX);
    assert_int_equal(watchdog_keep(&dog, true, -5000, 20 * SECOND_NS), INT64_MAX);
    assert_int_equal(dog.state, GUARD_WATCHDOG_RUNNING);
    expect("1");
}

static void another_timeout_is_set_anew(void **state)
{
    (void)state;
    want(30, 0, false);
    watchdog_keep(&dog, true, 10000, SECOND_NS);
    want(20, 0, false);
    watchdog_keep(&dog, true, 10000, SECOND_NS);
    assert_int_equal(device.seconds, 20);
    expect("1V1");
    want(20, 500, false); /* only when it is petted: it goes on */
    watchdog_keep(&dog, true, 10000, SECOND_NS);
    expect("1V1");
}

static void one_that_cannot_be_used_has_failed(void **state)
{
    (void)state;
    want(0, 0, false);
    expect_failure(ERANGE);
    assert_int_equal(watchdog_keep(&dog, true, 1000, SECOND_NS), INT64_MAX);

    device.support_errno = ENOTTY;
    want(30, 0, false);
    assert_int_equal(watchdog_keep(&dog, true, 1000, SECOND_NS), SECOND_NS); /* tried again */
    expect_failure(ENOTTY);
    assert_int_equal(dog.fd, -1);
    expect("V"); /* opening it may have started it */

    device.support_errno = 0;
    device.set_errno = EINVAL;
    watchdog_keep(&dog, true, 1000, 2 * SECOND_NS);
    expect_failure(EINVAL);

    device.set_errno = 0;
    device.least_s = 31;
    watchdog_keep(&dog, true, 1000, 3 * SECOND_NS);
    expect_failure(ERANGE);

    device.options = 0; /* it cannot be set, but is short enough */
    device.seconds = 15;
    assert_int_equal(watchdog_keep(&dog, true, 1000, 4 * SECOND_NS), 5 * SECOND_NS);
    assert_int_equal(dog.state, GUARD_WATCHDOG_RUNNING);
}

/* One that could not be started is not called ready again at once because the file is there. */
static void a_failure_is_remembered(void **state)
{
    (void)state;
    device.support_errno = ENOTTY;
    want(30, 0, false);
    watchdog_keep(&dog, true, 1000, SECOND_NS);
    watchdog_keep(&dog, false, 0, 30 * SECOND_NS);
    expect_failure(ENOTTY);
    watchdog_keep(&dog, false, 0, 61 * SECOND_NS);
    assert_int_equal(dog.state, GUARD_WATCHDOG_READY);
}

static void one_that_is_not_there_has_failed(void **state)
{
    (void)state;
    assert_int_equal(unlink(device.path), 0);
    want(30, 0, false);
    expect_failure(ENOENT);
    watchdog_keep(&dog, true, 1000, SECOND_NS);
    expect_failure(ENOENT);
    assert_int_equal(mkfifo(device.path, 0600), 0);
    watchdog_keep(&dog, true, 1000, 2 * SECOND_NS);
    expect_failure(ENXIO); /* nobody reads from it */
}

static void the_testing_driver_is_patronis(void **state)
{
    (void)state;
    device.support_errno = ENOTTY; /* is not asked */
    want(15, 0, true);
    watchdog_keep(&dog, true, 1000, SECOND_NS);
    watchdog_keep(&dog, true, 1000, 6 * SECOND_NS);
    watchdog_keep(&dog, false, 0, 7 * SECOND_NS);
    expect("Ctimeout=15\n11V");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_runs_while_it_is_needed),     CASE(it_is_not_petted_when_too_little_is_left),
        CASE(another_timeout_is_set_anew),    CASE(one_that_cannot_be_used_has_failed),
        CASE(a_failure_is_remembered),        CASE(one_that_is_not_there_has_failed),
        CASE(the_testing_driver_is_patronis),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
