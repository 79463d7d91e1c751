/* What the guard is granted, and what it makes of it: a control group of its own, rank and memory,
 * the watchdog, and the one case in which a deadline is dropped. The control groups of version 2
 * are mounted here, in a mount namespace of the test's own, where the host has them elsewhere. */
#include "guard/bed_test.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"
#include "io/file.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define NEVER ((struct instant){0, 0})
#define MOUNT "/sys/fs/cgroup"
#define NOBODY 65534
#define LATE_MS 4000 /* the machine stands still at times */

/* The sanitizer does not lock memory and says that it did. */
#ifdef __SANITIZE_ADDRESS__
#define POWERS_SEEN (~(unsigned)GUARD_POWER_MEMORY)
#else
#define POWERS_SEEN (~0U)
#endif

static struct bed bed;
static bool has_groups;

static bool mount_groups(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", MOUNT, "cgroup2", 0, NULL) == 0;
}

static int set_up(void **state)
{
    (void)state;
    bed_open(&bed);
    return 0;
}

static int set_up_without_groups(void **state)
{
    (void)state;
    if (has_groups) {
        assert_int_equal(mount("none", MOUNT, "tmpfs", 0, NULL), 0);
    }
    bed_open(&bed);
    return 0;
}

static int set_up_without_guard(void **state)
{
    (void)state;
    bed_open_without_guard(&bed);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bed_close(&bed);
    return 0;
}

static int tear_down_without_groups(void **state)
{
    (void)state;
    bed_close(&bed);
    return has_groups ? umount(MOUNT) : 0;
}

static void ask(void)
{
    bed_order(bed.fd, GUARD_ASK, 0, NEVER);
    assert_true(bed_receive(bed.fd, PATIENCE_MS, &bed.state));
    while (bed_receive(bed.fd, 30, &bed.state)) {
        /* the last counts */
    }
}

static void start(const char *mode, int size)
{
    bed_start(&bed, bed.fd, mode);
    bed_wait(&bed, bed_is_running);
    if (size > 0) {
        bed_wait_for_tree(&bed, size);
    }
}

/* The guard's leaf lies below the test's own group. */
static bool leaf_path(const char *name, char *buffer, size_t size)
{
    AUTO_FREE char *text = NULL;
    const char *own;

    assert_int_equal(file_read("/proc/self/cgroup", 4000, &text, NULL, NULL), 0);
    own = strstr(text, "0::");
    assert_non_null(own);
    own += strlen("0::");
    return str_format(
        buffer, size, MOUNT "%.*s/baton-guard-%d%s%s", (int)strcspn(own, "\n"), own, bed.guard,
        name[0] != '\0' ? "/" : "", name);
}

static void leaf_write(const char *name, const char *text)
{
    char path[300];
    int fd;

    assert_true(leaf_path(name, path, sizeof(path)));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    file_auto_close(&fd);
}

static void expect_fence(struct instant from, int64_t min_ms)
{
    bed_wait(&bed, bed_is_gone);
    assert_in_range(instant_elapsed_min_ms(from, clock_now()), min_ms, min_ms + LATE_MS);
    assert_int_equal(bed.state.was_fenced, 1);
    assert_int_equal(bed_count(&bed), 0);
}

/* ---- the control group ---- */

static void expect_group(void)
{
    if (!has_groups) {
        skip();
    }
    assert_int_equal(bed.state.means, GUARD_MEANS_CGROUP);
}

/* Somebody who is no descendant, but works for the server: only the group knows him. */
static void the_whole_group_dies(void **state)
{
    struct instant now;
    char text[16];
    pid_t stranger;
    int status = 0;

    (void)state;
    start("--tree", TREE_SIZE);
    expect_group();
    stranger = fork();
    if (stranger == 0) {
        pause();
        _exit(0);
    }
    assert_true(str_format(text, sizeof(text), "%d", stranger));
    leaf_write("cgroup.procs", text);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 300));
    expect_fence(now, 300);
    bed_pause(100);
    kill(stranger, SIGTERM); /* too late, if all went well */
    assert_int_equal(waitpid(stranger, &status, 0), stranger);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void a_frozen_group_dies(void **state)
{
    struct instant now;

    (void)state;
    start("--tree", TREE_SIZE);
    expect_group();
    leaf_write("cgroup.freeze", "1");
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 300));
    expect_fence(now, 300);
}

static void those_who_fork_without_end_die(void **state)
{
    struct instant now;

    (void)state;
    start("--grow", 0);
    expect_group();
    bed_pause(300);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 100));
    expect_fence(now, 100);
}

/* He is a descendant still. */
static void who_has_left_the_group_dies(void **state)
{
    struct instant now;
    char text[16];
    char path[300];
    int fd;

    (void)state;
    start("--tree", TREE_SIZE);
    expect_group();
    assert_true(str_format(text, sizeof(text), "%" PRId64, bed.state.pid + 1));
    assert_true(leaf_path("../cgroup.procs", path, sizeof(path)));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    IGNORE(write(fd, text, strlen(text)) < 0, "that number is somebody else's: nothing is tried");
    file_auto_close(&fd);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 300));
    expect_fence(now, 300);
}

static void the_group_goes_with_the_guard(void **state)
{
    enum file_kind kind = FILE_OTHER;
    char path[300];

    (void)state;
    start("--tree", TREE_SIZE);
    expect_group();
    bed_order(bed.fd, GUARD_KILL, 0, NEVER);
    bed_wait(&bed, bed_is_gone);
    assert_true(leaf_path("", path, sizeof(path)));
    assert_int_equal(file_kind(path, &kind, NULL), 0);
    assert_int_equal(kind, FILE_FOLDER);
    bed_order(bed.fd, GUARD_RETIRE, 0, NEVER);
    assert_int_equal(bed_wait_for_guard(&bed), 0);
    assert_int_equal(file_kind(path, &kind, NULL), 0);
    assert_int_equal(kind, FILE_MISSING);
}

static void without_groups_the_tree_dies_too(void **state)
{
    struct instant now;

    (void)state;
    start("--tree", TREE_SIZE);
    if (!has_groups) {
        skip(); /* whatever the host has: guard_test */
    }
    assert_int_equal(bed.state.means, GUARD_MEANS_DESCENDANTS);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 300));
    expect_fence(now, 300);
}

/* ---- rank and memory ---- */

static bool proc_has(const char *file, const char *words)
{
    AUTO_FREE char *text = NULL;
    char path[64];

    assert_true(str_format(path, sizeof(path), "/proc/%d/%s", bed.guard, file));
    assert_int_equal(file_read(path, 8000, &text, NULL, NULL), 0);
    return strstr(text, words) != NULL;
}

/* What it says that it was granted is what the kernel shows. */
static void compare_powers(void)
{
    unsigned powers = bed.state.powers & POWERS_SEEN;
    int policy = sched_getscheduler(bed.guard);

    assert_int_equal(
        (powers & GUARD_POWER_MEMORY) != 0, !proc_has("status", "VmLck:\t       0 kB"));
    assert_int_equal(
        (powers & GUARD_POWER_REAL_TIME) != 0, policy == (SCHED_FIFO | SCHED_RESET_ON_FORK));
    errno = 0;
    assert_int_equal(
        (powers & GUARD_POWER_NICE) != 0, policy == (SCHED_OTHER | SCHED_RESET_ON_FORK) &&
                                              getpriority(PRIO_PROCESS, (id_t)bed.guard) == -20);
    assert_int_equal((powers & GUARD_POWER_OOM) != 0, proc_has("oom_score_adj", "-1000"));
}

static void powers_are_what_the_kernel_granted(void **state)
{
    (void)state;
    ask();
    compare_powers();
    if (geteuid() == 0) {
        assert_true((bed.state.powers & GUARD_POWER_MEMORY) != 0);
        assert_true((bed.state.powers & (GUARD_POWER_REAL_TIME | GUARD_POWER_NICE)) != 0);
    }
}

/* The same as a user to whom nothing is granted: it says so, and works. */
static void without_powers_it_says_so(void **state)
{
    struct rlimit none = {0, 0};
    int status = 0;
    pid_t pid;

    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(chown(bed.folder, NOBODY, NOBODY), 0);
    pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_MEMLOCK, &none);
        setrlimit(RLIMIT_RTPRIO, &none);
        setrlimit(RLIMIT_NICE, &none);
        if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0 || access(bed_guard_program, X_OK) < 0) {
            _exit(77);
        }
        bed_start_guard(&bed);
        bed_order(bed.fd, GUARD_ASK, 0, NEVER);
        if (!bed_receive(bed.fd, PATIENCE_MS, &bed.state) ||
            (bed.state.powers & POWERS_SEEN) != 0) {
            _exit(1);
        }
        bed_start(&bed, bed.fd, "--tree");
        bed_wait(&bed, bed_is_running);
        bed_order(bed.fd, GUARD_ARM, 0, bed_in(300));
        bed_wait(&bed, bed_is_gone);
        kill(bed.guard, SIGKILL);
        _exit(bed.state.was_fenced == 1 && bed_count(&bed) == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* After a suspend, the timer on CLOCK_BOOTTIME (7) is what wakes the guard. */
static void the_timer_counts_through_suspend(void **state)
{
    char words[64];
    bool is_found = false;

    (void)state;
    start("--tree", TREE_SIZE);
    bed_order(bed.fd, GUARD_ARM, 0, bed_in(60000));
    ask();
    for (int fd = 3; fd < 32 && !is_found; fd++) {
        AUTO_FREE char *text = NULL;

        assert_true(str_format(words, sizeof(words), "/proc/%d/fdinfo/%d", bed.guard, fd));
        is_found = file_read(words, 4000, &text, NULL, NULL) == 0 &&
                   strstr(text, "clockid: 7") != NULL && strstr(text, "it_value: (0, 0)") == NULL;
    }
    assert_true(is_found);
}

/* ---- dropping a deadline ---- */

static void a_server_that_was_never_opened_can_be_disarmed(void **state)
{
    (void)state;
    start("--tree", TREE_SIZE);
    bed_order(bed.fd, GUARD_ARM, 0, bed_in(2000));
    bed_order(bed.fd, GUARD_DISARM, 0, NEVER);
    ask();
    assert_false(instant_is_set(bed.state.deadline));
    assert_int_equal(bed.state.is_open, 0);
    bed_pause(2500);
    assert_int_equal(bed_count(&bed), TREE_SIZE);
    bed_order(bed.fd, GUARD_ARM, 0, bed_in(100));
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.was_fenced, 1);
}

static void one_that_was_opened_cannot(void **state)
{
    const char *argv[] = {"/bin/sh", "-c", "trap '' USR1; echo ready; sleep 60", NULL};
    struct instant now = clock_now();
    AUTO_FREE char *text = NULL;

    (void)state;
    bed_start_argv(bed.fd, argv, "/", bed.output_path);
    bed_wait(&bed, bed_is_running);
    while (text == NULL || !str_equal(text, "ready\n")) {
        assert_in_range(instant_elapsed_max_ms(now, clock_now()), 0, PATIENCE_MS);
        bed_pause(5);
        text = mem_free(text);
        IGNORE(file_read(bed.output_path, 100, &text, NULL, NULL) < 0, "not there yet");
    }
    bed_order(bed.fd, GUARD_SIGNAL, SIGHUP + 100, NEVER); /* none */
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 3000));
    bed_order(bed.fd, GUARD_SIGNAL, SIGUSR1, NEVER);
    bed_order(bed.fd, GUARD_DISARM, 0, NEVER);
    ask();
    assert_int_equal(bed.state.is_open, 1);
    assert_true(instant_is_set(bed.state.deadline));
    expect_fence(now, 3000);
    /* The next one has not been opened. */
    start("--tree", TREE_SIZE);
    assert_int_equal(bed.state.is_open, 0);
}

/* ---- the watchdog ---- */

static int fifo_fd = -1;

static void watch(unsigned timeout_s, int64_t left_ms)
{
    char path[128];
    struct guard_watch message = {
        .header =
            {
                .magic = GUARD_MAGIC,
                .version = GUARD_VERSION,
                .kind = GUARD_WATCH,
                .size = sizeof(message),
            },
        .timeout_s = timeout_s,
        .left_ms = left_ms,
        .is_testing = 1,
    };

    assert_true(str_format(path, sizeof(path), "%s/watchdog", bed.folder));
    assert_true(str_copy(message.path, sizeof(message.path), path));
    if (fifo_fd < 0) {
        assert_int_equal(mkfifo(path, 0600), 0);
        fifo_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    }
    assert_int_equal(send(bed.fd, &message, sizeof(message), MSG_NOSIGNAL), sizeof(message));
}

/* All that was said to the device since the last time. */
static void hear(char *buffer, size_t size)
{
    ssize_t length = read(fifo_fd, buffer, size - 1);

    buffer[MAX(length, (ssize_t)0)] = '\0';
}

/* Wait until the device was told WANTED first, whatever came then. */
static void expect_said(const char *wanted)
{
    struct instant start = clock_now();
    char said[200] = "";

    while (strlen(said) < strlen(wanted)) {
        assert_true(instant_elapsed_max_ms(start, clock_now()) < PATIENCE_MS);
        bed_pause(20);
        hear(said + strlen(said), sizeof(said) - strlen(said));
    }
    assert_true(str_starts(said, wanted));
}

static int tear_down_watchdog(void **state)
{
    file_auto_close(&fifo_fd);
    return tear_down(state);
}

static void the_watchdog_runs_with_the_deadline(void **state)
{
    char said[200];

    (void)state;
    watch(2, 500);
    ask();
    assert_int_equal(bed.state.watchdog, GUARD_WATCHDOG_READY);
    start("--tree", TREE_SIZE);
    hear(said, sizeof(said));
    assert_string_equal(said, "");
    bed_order(bed.fd, GUARD_ARM, 0, bed_in(60000));
    ask();
    assert_int_equal(bed.state.watchdog, GUARD_WATCHDOG_RUNNING);
    expect_said("Ctimeout=2\n11");
    bed_order(bed.fd, GUARD_KILL, 0, NEVER);
    bed_wait(&bed, bed_is_gone);
    ask();
    assert_int_equal(bed.state.watchdog, GUARD_WATCHDOG_READY);
    hear(said, sizeof(said));
    assert_non_null(strchr(said, 'V'));
}

/* Nothing comes from it any more, as if the host were stuck: no pet, no magic close. */
static void a_stopped_guard_does_not_pet(void **state)
{
    char said[200];

    (void)state;
    watch(2, 500);
    start("--tree", TREE_SIZE);
    bed_order(bed.fd, GUARD_ARM, 0, bed_in(3000));
    ask();
    kill(bed.guard, SIGSTOP);
    bed_pause(100);
    hear(said, sizeof(said));
    bed_pause(2500);
    hear(said, sizeof(said));
    assert_string_equal(said, "");
    kill(bed.guard, SIGCONT);
    bed_wait(&bed, bed_is_gone);
}

static void near_the_deadline_it_is_not_petted(void **state)
{
    struct instant now;
    char said[200];

    (void)state;
    watch(1, 4000);
    start("--tree", TREE_SIZE);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 7000));
    expect_said("Ctimeout=1\n1");
    while (instant_elapsed_min_ms(now, clock_now()) < 3100) {
        bed_pause(20);
    }
    hear(said, sizeof(said));
    assert_null(strchr(said, 'V'));
    /* It ends with the deadline, and nothing comes before. */
    bed_wait(&bed, bed_is_gone);
    ask();
    hear(said, sizeof(said));
    assert_string_equal(said, "V");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define CASE_WATCHDOG(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down_watchdog)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(the_whole_group_dies),
        CASE(a_frozen_group_dies),
        CASE(those_who_fork_without_end_die),
        CASE(who_has_left_the_group_dies),
        CASE(the_group_goes_with_the_guard),
        cmocka_unit_test_setup_teardown(
            without_groups_the_tree_dies_too, set_up_without_groups, tear_down_without_groups),
        CASE(powers_are_what_the_kernel_granted),
        cmocka_unit_test_setup_teardown(without_powers_it_says_so, set_up_without_guard, tear_down),
        CASE(the_timer_counts_through_suspend),
        CASE(a_server_that_was_never_opened_can_be_disarmed),
        CASE(one_that_was_opened_cannot),
        CASE_WATCHDOG(the_watchdog_runs_with_the_deadline),
        CASE_WATCHDOG(a_stopped_guard_does_not_pet),
        CASE_WATCHDOG(near_the_deadline_it_is_not_petted),
    };

    bed_main(argc, argv);
    has_groups = mount_groups();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
