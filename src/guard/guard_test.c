#include "guard/bed_test.h"
#include "guard/tree.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"
#include "io/file.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#define NEVER ((struct instant){0, 0})
#define NOBODY 65534
#define FREEZER "/sys/fs/cgroup/freezer/baton-guard-test"

/* Lateness that is accepted on a busy test machine, which stands still at times. */
#define LATE_MS 4000

static struct bed bed;

/* A frozen task of cgroup v1 does not die of SIGKILL: what an uninterruptible sleep looks like. */
static bool freezer_write(const char *file, const char *text)
{
    char path[128];
    int fd;
    bool is_written;

    assert_true(str_format(path, sizeof(path), FREEZER "/%s", file));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    file_auto_close(&fd);
    return is_written;
}

static bool freeze(int64_t pid)
{
    char text[16];

    IGNORE(mkdir(FREEZER, 0700) < 0, "there is no such cgroup then");
    assert_true(str_format(text, sizeof(text), "%" PRId64, pid));
    return freezer_write("cgroup.procs", text) && freezer_write("freezer.state", "FROZEN");
}

/* The kernel takes a moment to see that nobody is in the group. */
static void thaw(void)
{
    if (!freezer_write("freezer.state", "THAWED")) {
        return;
    }
    for (int tries = 0; tries < 100 && rmdir(FREEZER) < 0; tries++) {
        bed_pause(10);
    }
}

static int set_up(void **state)
{
    (void)state;
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
    thaw();
    bed_close(&bed);
    return 0;
}

static void start_tree(const char *mode, int size)
{
    bed_start(&bed, bed.fd, mode);
    bed_wait(&bed, bed_is_running);
    bed_wait_for_tree(&bed, size);
    if (str_equal(mode, "--obey")) {
        bed_wait_for_obedience(&bed);
    }
}

static void ask(void)
{
    bed_order(bed.fd, GUARD_ASK, 0, NEVER);
    assert_true(bed_receive(bed.fd, PATIENCE_MS, &bed.state));
    /* The first may be about something before. */
    while (bed_receive(bed.fd, 30, &bed.state)) {
        /* the last counts */
    }
}

/* The tree ends between MIN_MS and MIN_MS + LATE_MS after FROM, by the guard. */
static void expect_fence(struct instant from, int64_t min_ms)
{
    bed_wait(&bed, bed_is_gone);
    assert_in_range(instant_elapsed_min_ms(from, clock_now()), min_ms, min_ms + LATE_MS);
    assert_int_equal(bed.state.was_fenced, 1);
    assert_int_equal(bed.state.exit_signal, SIGKILL);
    assert_int_equal(bed.state.exit_code, -1);
    assert_int_equal(bed.state.is_ending, 0);
    assert_false(instant_is_set(bed.state.deadline));
    assert_int_equal(bed_count(&bed), 0);
}

/* The tree is whole as long as less than DEADLINE_MS have passed since FROM; a machine that stood
 * still for longer shows nothing. */
static void expect_tree_before(struct instant from, int64_t deadline_ms)
{
    int count = bed_count(&bed);
    int64_t elapsed_ms = instant_elapsed_max_ms(from, clock_now());

    if (elapsed_ms < deadline_ms) {
        assert_int_equal(count, TREE_SIZE);
    } else {
        print_message("%" PRId64 " ms instead of less than %" PRId64 "\n", elapsed_ms, deadline_ms);
    }
}

/* ---- starting ---- */

static void starting_one(void **state)
{
    const char *argv[] = {
        "/bin/sh", "-c",
        "pwd; env | sort | tr '\\n' ' '; ls /proc/self/fd | tr '\\n' ' '; "
        "grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t'; "
        "[ $(cut -d ' ' -f 6 /proc/$$/stat) = $$ ] && echo session; "
        "cut -d ' ' -f 41 /proc/$$/stat; echo error >&2; exit 3",
        NULL};
    AUTO_FREE char *text = NULL;
    struct file_facts facts;

    (void)state;
    bed_start_argv(bed.fd, argv, "/usr", bed.output_path);
    bed_wait(&bed, bed_is_running);
    assert_int_equal(bed.state.starts, 1);
    assert_int_equal(bed.state.guard_pid, bed.guard);
    assert_int_equal(bed.state.exit_code, -1);
    assert_in_range(bed.state.started_real_ms, clock_real_ms() - PATIENCE_MS, clock_real_ms());
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.exit_code, 3);
    assert_int_equal(bed.state.exit_signal, 0);
    assert_int_equal(bed.state.start_errno, 0);
    assert_int_equal(bed.state.was_fenced, 0);
    assert_int_equal(bed.state.was_killed, 0);
    assert_int_equal(file_read(bed.output_path, 4000, &text, NULL, NULL), 0);
    assert_string_equal(
        text, "/usr\nASAN_OPTIONS=detect_leaks=0 PATH=/usr/bin:/bin PWD=/usr 0 1 2 3 "
              "SigBlk:0000000000000000SigIgn:0000000000000000session\n0\nerror\n");
    assert_int_equal(file_facts(bed.output_path, &facts, NULL), 0);
    assert_int_equal(facts.mode, 0600);
}

static void a_start_that_fails(void **state)
{
    const char *missing[] = {"/nowhere/postgres", NULL};
    const char *fine[] = {"/bin/true", NULL};
    const char *folder[] = {"/bin", NULL};

    (void)state;
    bed_start_argv(bed.fd, missing, "/", bed.output_path);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.start_errno, ENOENT);
    assert_int_equal(bed.state.starts, 1);
    bed_start_argv(bed.fd, folder, "/", bed.output_path);
    bed_wait(&bed, bed_is_running);
    assert_int_equal(bed.state.start_errno, 0);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.start_errno, EACCES);
    bed_start_argv(bed.fd, fine, "/nowhere", bed.output_path);
    bed_wait(&bed, bed_is_running);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.start_errno, ENOENT);
    bed_start_argv(bed.fd, fine, "/", "/nowhere/log");
    bed_wait(&bed, bed_is_running);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.start_errno, ENOENT);
    bed_start_argv(bed.fd, fine, "/", "");
    bed_wait(&bed, bed_is_running);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.start_errno, 0);
    assert_int_equal(bed.state.exit_code, 0);
    assert_int_equal(bed.state.starts, 5);
}

static void only_one_at_a_time(void **state)
{
    int64_t pid;

    (void)state;
    start_tree("--obey", 1);
    pid = bed.state.pid;
    bed_start(&bed, bed.fd, "--obey");
    ask();
    assert_int_equal(bed.state.start_errno, EBUSY);
    assert_int_equal(bed.state.pid, pid);
    assert_int_equal(bed.state.starts, 1);
    assert_int_equal(bed_count(&bed), 1);
}

static void a_restart_shows(void **state)
{
    int64_t first;

    (void)state;
    start_tree("--tree", TREE_SIZE);
    first = bed.state.pid;
    bed_order(bed.fd, GUARD_KILL, 0, NEVER);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.was_killed, 1);
    assert_int_equal(bed.state.was_fenced, 0);
    assert_int_equal(bed.state.exit_signal, SIGKILL);
    assert_int_equal(bed_count(&bed), 0);
    start_tree("--tree", TREE_SIZE);
    assert_int_equal(bed.state.starts, 2);
    assert_int_not_equal(bed.state.pid, first);
    assert_int_equal(bed.state.was_killed, 0);
    assert_int_equal(bed.state.exit_signal, 0);
}

/* ---- the deadline ---- */

static void the_deadline_kills_the_tree(void **state)
{
    struct instant now;

    (void)state;
    start_tree("--tree", TREE_SIZE);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 3000));
    ask();
    assert_true(instant_is_set(bed.state.deadline));
    bed_pause(200);
    expect_tree_before(now, 3000);
    expect_fence(now, 3000);
}

static void a_deadline_in_the_past_kills_at_once(void **state)
{
    struct instant now;

    (void)state;
    start_tree("--tree", TREE_SIZE);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, -1000));
    expect_fence(now, 0);
    start_tree("--tree", TREE_SIZE);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, (struct instant){1, 1});
    expect_fence(now, 0);
}

static void either_clock_counts(void **state)
{
    struct instant now;

    (void)state;
    start_tree("--tree", TREE_SIZE);
    now = clock_now();
    bed_order(
        bed.fd, GUARD_ARM, 0,
        (struct instant){now.boot_ns + 300 * NS_PER_MS, now.raw_ns + 600000 * NS_PER_MS});
    expect_fence(now, 300);
    start_tree("--tree", TREE_SIZE);
    now = clock_now();
    bed_order(
        bed.fd, GUARD_ARM, 0,
        (struct instant){now.boot_ns + 600000 * NS_PER_MS, now.raw_ns + 300 * NS_PER_MS});
    expect_fence(now, 300);
    start_tree("--tree", TREE_SIZE);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, (struct instant){now.boot_ns + 600000 * NS_PER_MS, 0});
    expect_fence(now, 0);
}

static void the_deadline_moves_forward_only(void **state)
{
    struct instant now;
    struct instant first;
    struct instant second;

    (void)state;
    start_tree("--tree", TREE_SIZE);
    now = clock_now();
    first = instant_add_ms(now, 3000);
    second = instant_add_ms(now, 6000);
    bed_order(bed.fd, GUARD_ARM, 0, first);
    /* Backward, partly backward, and none. */
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 100));
    bed_order(bed.fd, GUARD_ARM, 0, (struct instant){second.boot_ns, first.raw_ns - 1});
    bed_order(bed.fd, GUARD_ARM, 0, (struct instant){first.boot_ns - 1, second.raw_ns});
    bed_order(bed.fd, GUARD_ARM, 0, NEVER);
    ask();
    assert_memory_equal(&bed.state.deadline, &first, sizeof(first));
    bed_pause(200);
    expect_tree_before(now, 3000);
    bed_order(bed.fd, GUARD_ARM, 0, second);
    ask();
    assert_memory_equal(&bed.state.deadline, &second, sizeof(second));
    bed_pause(3000);
    expect_tree_before(now, 6000);
    expect_fence(now, 6000);
}

static void arming_needs_a_process(void **state)
{
    (void)state;
    bed_order(bed.fd, GUARD_ARM, 0, bed_in(100));
    ask();
    assert_false(instant_is_set(bed.state.deadline));
    start_tree("--obey", 1);
    assert_false(instant_is_set(bed.state.deadline));
    bed_pause(200);
    assert_int_equal(bed_count(&bed), 1);
    bed_order(bed.fd, GUARD_ARM, 0, bed_in(60000));
    ask();
    assert_true(instant_is_set(bed.state.deadline));
    /* The next process does not inherit it. */
    bed_order(bed.fd, GUARD_SIGNAL, SIGINT, NEVER);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.exit_code, 7);
    assert_false(instant_is_set(bed.state.deadline));
    start_tree("--obey", 1);
    assert_false(instant_is_set(bed.state.deadline));
}

static void a_late_renewal_is_too_late(void **state)
{
    struct instant now;

    (void)state;
    start_tree("--tree", TREE_SIZE);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 300));
    ask();
    /* The guard stands still; meanwhile the deadline passes and a renewal waits in its queue. */
    assert_int_equal(kill(bed.guard, SIGSTOP), 0);
    bed_pause(500);
    bed_order(bed.fd, GUARD_ARM, 0, bed_in(60000));
    assert_int_equal(kill(bed.guard, SIGCONT), 0);
    expect_fence(now, 300);
}

static bool is_killed(const struct guard_state *state)
{
    return bed_is_gone(state) && state->exit_signal == SIGKILL;
}

static void those_who_fork_without_end_end(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        bed_start(&bed, bed.fd, "--grow");
        bed_wait(&bed, bed_is_running);
        bed_pause(150 + 37 * round);
        bed_order(bed.fd, GUARD_ARM, 0, clock_now());
        bed_wait(&bed, is_killed);
        assert_int_equal(bed_count(&bed), 0);
    }
}

/* ---- ends of the first process ---- */

static void a_dead_first_process_leaves_nobody(void **state)
{
    (void)state;
    start_tree("--tree", TREE_SIZE);
    assert_int_equal(kill((pid_t)bed.state.pid, SIGKILL), 0);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.exit_signal, SIGKILL);
    assert_int_equal(bed.state.was_fenced, 0);
    assert_int_equal(bed.state.was_killed, 0);
    assert_int_equal(bed_count(&bed), 0);
}

static void a_leaving_first_process_leaves_nobody(void **state)
{
    (void)state;
    start_tree("--leave", TREE_SIZE);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.exit_code, 5);
    assert_int_equal(bed.state.exit_signal, 0);
    assert_int_equal(bed_count(&bed), 0);
}

static bool is_ending(const struct guard_state *state)
{
    return state->pid > 0 && state->is_ending != 0;
}

static void who_cannot_die_holds_up_nothing(void **state)
{
    struct instant deadline;
    int64_t pid;

    (void)state;
    start_tree("--obey", 1);
    pid = bed.state.pid;
    if (!freeze(pid)) {
        skip();
    }
    bed_order(bed.fd, GUARD_ARM, 0, clock_now());
    bed_pause(300);
    ask();
    assert_int_equal(bed.state.pid, pid);
    assert_int_equal(bed.state.was_fenced, 1);
    assert_true(instant_is_set(bed.state.deadline));
    deadline = bed.state.deadline;
    /* Nothing new beside it, and no way back. */
    bed_start(&bed, bed.fd, "--obey");
    bed_order(bed.fd, GUARD_ARM, 0, bed_in(60000));
    ask();
    assert_int_equal(bed.state.start_errno, EBUSY);
    assert_int_equal(bed.state.starts, 1);
    assert_int_equal(bed.state.was_fenced, 1);
    assert_memory_equal(&bed.state.deadline, &deadline, sizeof(deadline));
    freezer_write("freezer.state", "THAWED");
    bed_wait(&bed, bed_is_gone);
}

static void an_ending_tree_shows(void **state)
{
    const char *argv[] = {bed_own_program, "--leave", bed.pids_path, NULL};
    pid_t pid = 0;
    FILE *file = NULL;
    char text[64] = "";

    (void)state;
    bed_start_argv(bed.fd, argv, "/", bed.output_path);
    bed_wait(&bed, bed_is_running);
    bed_wait_for_tree(&bed, TREE_SIZE);
    /* The first child of the first process. */
    assert_true(str_format(
        text, sizeof(text), "/proc/%d/task/%d/children", (int)bed.state.pid, (int)bed.state.pid));
    file = fopen(text, "re");
    if (file == NULL || fgets(text, sizeof(text), file) == NULL) {
        skip();
    }
    IGNORE(fclose(file) != 0, "read only");
    pid = (pid_t)strtol(text, NULL, 10);
    assert_true(pid > 1);
    if (!freeze(pid)) {
        skip();
    }
    bed_wait(&bed, is_ending);
    assert_int_equal(bed.state.exit_code, 5);
    bed_wait_for_tree(&bed, 1);
    freezer_write("freezer.state", "THAWED");
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed_count(&bed), 0);
}

/* ---- the ends of agent and guard ---- */

static void the_death_of_the_agent_changes_nothing(void **state)
{
    struct instant now = clock_now();
    int ready[2];
    char byte = 0;
    pid_t agent;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    agent = fork();
    if (agent == 0) {
        int fd = bed_connect(&bed);

        bed_start(&bed, fd, "--tree");
        bed_order(fd, GUARD_ARM, 0, instant_add_ms(now, 5000));
        bed_wait_for_tree(&bed, TREE_SIZE);
        IGNORE(write(ready[1], "x", 1) < 0, "the parent waits");
        pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    close(ready[0]);
    close(ready[1]);
    bed_pause(100);
    expect_tree_before(now, 5000);
    ask();
    assert_int_equal(bed.state.starts, 1);
    assert_true(instant_is_set(bed.state.deadline));
    /* Not even if nobody is left: the deadline holds. */
    file_auto_close(&bed.fd);
    bed_wait_for_tree(&bed, 0);
    assert_in_range(instant_elapsed_min_ms(now, clock_now()), 5000, 5000 + LATE_MS);
    bed.fd = bed_connect(&bed);
    ask();
    assert_int_equal(bed.state.pid, 0);
    assert_int_equal(bed.state.was_fenced, 1);
}

static void the_death_of_the_guard_is_told_to_the_first_process(void **state)
{
    AUTO_FREE char *text = NULL;
    char path[128];

    (void)state;
    start_tree("--obey", 1);
    assert_int_equal(kill(bed.guard, SIGKILL), 0);
    assert_int_equal(bed_wait_for_guard(&bed), -SIGKILL);
    bed_wait_for_tree(&bed, 0);
    assert_true(str_format(path, sizeof(path), "%s.signal", bed.pids_path));
    assert_int_equal(file_read(path, 100, &text, NULL, NULL), 0);
    assert_string_equal(text, "quit\n");
    /* What it left behind is in nobody's way. */
    file_auto_close(&bed.fd);
    bed_start_guard(&bed);
    start_tree("--obey", 1);
    assert_int_equal(bed.state.starts, 1);
}

static void terminating_the_guard_is_a_fast_stop(void **state)
{
    AUTO_FREE char *text = NULL;
    char path[128];
    enum file_kind kind;

    (void)state;
    start_tree("--obey", 1);
    assert_int_equal(kill(bed.guard, SIGHUP), 0);
    assert_int_equal(kill(bed.guard, SIGINT), 0);
    assert_int_equal(kill(bed.guard, SIGPIPE), 0);
    bed_pause(100);
    ask();
    assert_int_equal(bed_count(&bed), 1);
    assert_int_equal(kill(bed.guard, SIGTERM), 0);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed.state.exit_code, 7);
    assert_int_equal(bed_wait_for_guard(&bed), 0);
    assert_true(str_format(path, sizeof(path), "%s.signal", bed.pids_path));
    assert_int_equal(file_read(path, 100, &text, NULL, NULL), 0);
    assert_string_equal(text, "int\n");
    assert_int_equal(file_kind(bed.socket_path, &kind, NULL), 0);
    assert_int_equal(kind, FILE_MISSING);
}

static void the_deadline_holds_while_the_guard_ends(void **state)
{
    struct instant now;

    (void)state;
    start_tree("--tree", TREE_SIZE);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 3000));
    ask();
    assert_int_equal(kill(bed.guard, SIGTERM), 0); /* the tree is deaf to SIGINT */
    bed_start(&bed, bed.fd, "--obey");
    expect_fence(now, 3000);
    assert_int_equal(bed.state.start_errno, EBUSY);
    assert_int_equal(bed_wait_for_guard(&bed), 0);
}

static void retiring(void **state)
{
    enum file_kind kind;

    (void)state;
    start_tree("--obey", 1);
    bed_order(bed.fd, GUARD_RETIRE, 0, NEVER);
    ask();
    assert_int_equal(bed_count(&bed), 1);
    bed_order(bed.fd, GUARD_SIGNAL, SIGINT, NEVER);
    bed_wait(&bed, bed_is_gone);
    ask(); /* the retirement was not kept for later */
    bed_order(bed.fd, GUARD_RETIRE, 0, NEVER);
    assert_int_equal(bed_wait_for_guard(&bed), 0);
    assert_int_equal(file_kind(bed.socket_path, &kind, NULL), 0);
    assert_int_equal(kind, FILE_MISSING);
}

static void a_second_guard_is_refused(void **state)
{
    struct bed second = bed;
    int status = 0;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        int fd = open("/dev/null", O_WRONLY);

        dup2(fd, STDERR_FILENO);
        execl(bed_guard_program, bed_guard_program, second.socket_path, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    second.fd = bed_connect(&bed);
    bed_order(second.fd, GUARD_ASK, 0, NEVER);
    assert_true(bed_receive(second.fd, PATIENCE_MS, &second.state));
    assert_int_equal(second.state.guard_pid, bed.guard);
    file_auto_close(&second.fd);
}

static void a_wrong_path_is_refused(void **state)
{
    char long_path[200];

    (void)state;
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[0] = '/';
    long_path[sizeof(long_path) - 1] = '\0';
    for (int round = 0; round < 2; round++) {
        int status = 0;
        pid_t pid = fork();

        if (pid == 0) {
            int fd = open("/dev/null", O_WRONLY);

            dup2(fd, STDERR_FILENO);
            execl(
                bed_guard_program, bed_guard_program, round == 0 ? long_path : "/nowhere/socket",
                (char *)NULL);
            _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
    }
}

/* ---- the tree ---- */

/* A child that is hard to find: made by another thread, with a number smaller than its parent's and
 * a name that looks like the next fields. ARG is the end of a pipe that learns the number. */
static void *fork_low(void *arg)
{
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    pid_t child;

    IGNORE(write(fd, "400", 3) < 0, "then the number is as it is");
    child = fork();
    if (child == 0) {
        prctl(PR_SET_NAME, ") S 1 (", 0, 0, 0);
    } else {
        IGNORE(write(*(int *)arg, &child, sizeof(child)) < 0, "the parent waits");
    }
    pause();
    _exit(0);
}

static void who_is_hard_to_find_is_found(void **state)
{
    int ready[2];
    int status = 0;
    char byte;
    pid_t low = 0;
    pid_t parent;

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    parent = fork();
    if (parent == 0) {
        pthread_t thread;

        IGNORE(pthread_create(&thread, NULL, fork_low, &ready[1]), "the parent waits in vain");
        pause();
        _exit(0);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &low, sizeof(low)), sizeof(low));
    tree_kill(getpid());
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_true(WIFSIGNALED(status));
    /* The child held the other end. */
    assert_int_equal(read(ready[0], &byte, 1), 0);
    assert_int_equal(waitpid(low, &status, 0), low);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    close(ready[0]);
    if (low > parent) {
        skip();
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(starting_one),
        CASE(a_start_that_fails),
        CASE(only_one_at_a_time),
        CASE(a_restart_shows),
        CASE(the_deadline_kills_the_tree),
        CASE(a_deadline_in_the_past_kills_at_once),
        CASE(either_clock_counts),
        CASE(the_deadline_moves_forward_only),
        CASE(arming_needs_a_process),
        CASE(a_late_renewal_is_too_late),
        CASE(those_who_fork_without_end_end),
        CASE(a_dead_first_process_leaves_nobody),
        CASE(a_leaving_first_process_leaves_nobody),
        CASE(who_cannot_die_holds_up_nothing),
        CASE(an_ending_tree_shows),
        CASE(the_death_of_the_agent_changes_nothing),
        CASE(the_death_of_the_guard_is_told_to_the_first_process),
        CASE(terminating_the_guard_is_a_fast_stop),
        CASE(the_deadline_holds_while_the_guard_ends),
        CASE(retiring),
        CASE(a_second_guard_is_refused),
        cmocka_unit_test(who_is_hard_to_find_is_found),
        cmocka_unit_test_setup_teardown(a_wrong_path_is_refused, set_up_without_guard, tear_down),
    };

    bed_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
