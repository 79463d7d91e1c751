#include "io/child.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "io/clock.h"

#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

struct world {
    struct loop *loop;
    struct loop_timer *end;
    struct loop_timer *timer;
    struct child *child;
    struct child_end result;
    char output[CHILD_OUTPUT_MAX + 1];
    int dones;
    bool is_late;
};

static void give_up(void *arg)
{
    struct world *world = arg;

    world->is_late = true;
    loop_stop(world->loop);
}

static int set_up(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));

    world->loop = loop_new();
    world->end = loop_timer_new(world->loop, give_up, world);
    loop_timer_start(world->end, PATIENCE_MS);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    assert_false(world->is_late);
    loop_free(world->loop);
    mem_free(world);
    return 0;
}

static void on_done(void *arg, const struct child_end *end)
{
    struct world *world = arg;

    world->result = *end;
    assert_true(str_copy(world->output, sizeof(world->output), end->output));
    world->result.output = world->output;
    world->dones++;
    child_free(world->child); /* allowed, and nothing */
    world->child = NULL;
    loop_stop(world->loop);
}

static void run(struct world *world, const struct child_options *options)
{
    struct err e = {0};

    if (child_start(world->loop, options, on_done, world, &world->child, &e) < 0) {
        fail_msg("%s", err_text(&e));
    }
    loop_run(world->loop);
    assert_int_equal(world->dones, 1);
}

static void run_shell(struct world *world, const char *script)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};

    run(world, &(struct child_options){.argv = argv});
}

static bool is_alive(int64_t pid)
{
    char path[64];
    char text[256] = "";
    FILE *file = NULL;
    const char *end = NULL;

    assert_true(str_format(path, sizeof(path), "/proc/%" PRId64 "/stat", pid));
    file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    IGNORE(fread(text, 1, sizeof(text) - 1, file) == 0, "gone meanwhile");
    IGNORE(fclose(file) != 0, "read only");
    end = strrchr(text, ')');
    return end != NULL && end[2] != 'Z';
}

static void wait_until_dead(int64_t pid)
{
    struct instant before = clock_now();
    struct timespec pause = {.tv_nsec = 5 * NS_PER_MS};

    while (is_alive(pid)) {
        assert_true(instant_elapsed_max_ms(before, clock_now()) < 5000);
        nanosleep(&pause, NULL);
    }
}

static void exit_codes_and_output(void **state)
{
    struct world *world = *state;

    run_shell(world, "echo out; echo err >&2; exit 3");
    assert_int_equal(world->result.exit_code, 3);
    assert_int_equal(world->result.signal_number, 0);
    assert_false(world->result.timed_out);
    assert_string_equal(world->output, "out\nerr\n");
}

static void signals(void **state)
{
    struct world *world = *state;

    run_shell(world, "kill -SEGV $$");
    assert_int_equal(world->result.exit_code, -1);
    assert_int_equal(world->result.signal_number, SIGSEGV);
    assert_string_equal(world->output, "");
}

static void only_the_tail_is_kept(void **state)
{
    struct world *world = *state;

    run_shell(world, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo last");
    assert_int_equal(world->result.exit_code, 0);
    assert_int_equal(strlen(world->output), CHILD_OUTPUT_MAX);
    assert_true(str_ends(world->output, "line 19998\nline 19999\nlast\n"));
}

static void input_is_fed(void **state)
{
    struct world *world = *state;
    const char *argv[] = {"/bin/sh", "-c", "cat; wc -c < /dev/stdin", NULL};
    size_t size = 300000;
    AUTO_FREE char *input = mem_alloc(size + 1);

    /* More than a pipe holds, and readable a second time by name, as initdb --pwfile needs it. */
    memset(input, 'a', size);
    input[size - 1] = '\n';
    run(world, &(struct child_options){.argv = argv, .input = input});
    assert_int_equal(world->result.exit_code, 0);
    assert_true(str_ends(world->output, "aaa\n300000\n"));
}

static void without_input_there_is_nothing_to_read(void **state)
{
    struct world *world = *state;

    run_shell(world, "cat; readlink /proc/self/fd/0");
    assert_string_equal(world->output, "/dev/null\n");
}

static void the_environment_is_clean(void **state)
{
    struct world *world = *state;
    const char *argv[] = {"/usr/bin/env", NULL};
    const char *env[] = {"PGAPPNAME=baton", "TZ=UTC", NULL};

    assert_int_equal(setenv("PGPASSWORD", "secret", 1), 0);
    assert_int_equal(setenv("TZ", "Mars", 1), 0);
    assert_int_equal(setenv("PATH", "/bin:/usr/bin", 1), 0);
    assert_int_equal(setenv("HOME", "/root", 1), 0);
    run(world, &(struct child_options){.argv = argv, .env = env});
    assert_string_equal(
        world->output,
        "PGAPPNAME=baton\nTZ=UTC\nPATH=/bin:/usr/bin\nLANG=C\nLC_ALL=C\nHOME=/root\n");
    assert_int_equal(unsetenv("TZ"), 0);
}

static void nothing_is_inherited(void **state)
{
    struct world *world = *state;
    int extra = dup(0);
    sigset_t blocked;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
    run_shell(
        world, "ls /proc/self/fd | tr '\\n' ' '; pwd; grep -E 'Sig(Blk|Ign)' /proc/self/status |"
               " tr -d '\\n'; [ $(cut -d ' ' -f 6 /proc/$$/stat) = $$ ] && echo own session");
    assert_string_equal(
        world->output,
        "0 1 2 3 /\nSigBlk:\t0000000000000000SigIgn:\t0000000000000000own session\n");
    close(extra);
}

static void a_folder_is_entered(void **state)
{
    struct world *world = *state;
    const char *argv[] = {"/bin/pwd", NULL};

    run(world, &(struct child_options){.argv = argv, .folder = "/usr/bin"});
    assert_string_equal(world->output, "/usr/bin\n");
}

static void a_missing_folder_is_told(void **state)
{
    struct world *world = *state;
    const char *argv[] = {"/bin/pwd", NULL};

    run(world, &(struct child_options){.argv = argv, .folder = "/nowhere"});
    assert_int_equal(world->result.exit_code, 127);
    assert_string_equal(world->output, "cannot change to /nowhere: No such file or directory\n");
}

static void a_missing_program_is_told(void **state)
{
    struct world *world = *state;
    const char *argv[] = {"/nowhere/tool", NULL};

    run(world, &(struct child_options){.argv = argv});
    assert_int_equal(world->result.exit_code, 127);
    assert_string_equal(world->output, "cannot run /nowhere/tool: No such file or directory\n");
}

static void a_timeout_kills_the_session(void **state)
{
    struct world *world = *state;
    const char *argv[] = {
        "/bin/sh", "-c",
        /* One in a process group of its own, which timeout makes; both deaf to SIGTERM. */
        "trap '' TERM; sleep 100 & echo $!; timeout 101 sleep 101 & echo $!; wait", NULL};
    struct instant before = clock_now();
    char *second = NULL;
    int64_t pids[2];

    run(world, &(struct child_options){.argv = argv, .timeout_ms = 300});
    assert_true(world->result.timed_out);
    assert_int_equal(world->result.signal_number, SIGKILL);
    assert_in_range(instant_elapsed_max_ms(before, clock_now()), 300, 20000);
    second = strchr(world->output, '\n');
    ASSERT(second != NULL);
    *second++ = '\0';
    second[strcspn(second, "\n")] = '\0';
    assert_int_equal(parse_int(world->output, 2, INT32_MAX, &pids[0], NULL), 0);
    assert_int_equal(parse_int(second, 2, INT32_MAX, &pids[1], NULL), 0);
    wait_until_dead(pids[0]);
    wait_until_dead(pids[1]);
}

static void what_stays_in_the_background_is_not_waited_for(void **state)
{
    struct world *world = *state;
    struct instant before = clock_now();

    run_shell(world, "(sleep 6; echo late) & echo early");
    assert_string_equal(world->output, "early\n");
    assert_true(instant_elapsed_max_ms(before, clock_now()) < 5500);
}

static void on_timer(void *arg)
{
    struct world *world = arg;

    child_free(world->child);
    loop_timer_start(world->end, 300);
}

static void freeing_kills_and_forgets(void **state)
{
    struct world *world = *state;
    const char *argv[] = {"/bin/sleep", "100", NULL};

    assert_int_equal(
        child_start(
            world->loop, &(struct child_options){.argv = argv}, on_done, world, &world->child,
            NULL),
        0);
    world->timer = loop_timer_new(world->loop, on_timer, world);
    loop_timer_start(world->timer, 50);
    loop_run(world->loop);
    assert_int_equal(world->dones, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* collected */
    assert_int_equal(errno, ECHILD);
    world->is_late = false;
    child_free(NULL);
}

static void on_many(void *arg, const struct child_end *end)
{
    struct world *world = arg;

    assert_int_equal(end->exit_code, 0);
    if (++world->dones == 20) {
        loop_stop(world->loop);
    }
}

static void many_at_once(void **state)
{
    struct world *world = *state;
    const char *argv[] = {"/bin/echo", "x", NULL};
    struct child *child = NULL;

    for (int number = 0; number < 20; number++) {
        assert_int_equal(
            child_start(
                world->loop, &(struct child_options){.argv = argv, .timeout_ms = PATIENCE_MS},
                on_many, world, &child, NULL),
            0);
    }
    loop_run(world->loop);
    assert_int_equal(world->dones, 20);
}

static void the_child_dies_with_its_parent(void **state)
{
    struct world *world = *state;
    const char *argv[] = {"/bin/sleep", "100", NULL};
    int pipe_fds[2];
    int64_t pid = 0;
    pid_t parent;

    assert_int_equal(pipe(pipe_fds), 0);
    parent = fork();
    if (parent == 0) {
        struct loop *loop = loop_new();
        int found = 0;
        char path[64];
        FILE *file = NULL;
        char text[32] = "";

        if (child_start(
                loop, &(struct child_options){.argv = argv}, on_done, world, &world->child, NULL) <
            0) {
            _exit(1);
        }
        IGNORE(!str_format(path, sizeof(path), "/proc/self/task/%d/children", getpid()), "fits");
        file = fopen(path, "re");
        if (file != NULL && fgets(text, sizeof(text), file) != NULL) {
            text[strcspn(text, " ")] = '\0';
            IGNORE(parse_int(text, 2, INT32_MAX, &pid, NULL) < 0, "0 then");
        }
        found = (int)pid;
        IGNORE(write(pipe_fds[1], &found, sizeof(found)) < 0, "the parent sees it");
        IGNORE(pause(), "until killed");
        _exit(0);
    } else {
        int found = 0;

        assert_int_equal(read(pipe_fds[0], &found, sizeof(found)), sizeof(found));
        assert_true(is_alive(found));
        assert_int_equal(kill(parent, SIGKILL), 0);
        assert_int_equal(waitpid(parent, NULL, 0), parent);
        wait_until_dead(found);
    }
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(exit_codes_and_output),
        CASE(signals),
        CASE(only_the_tail_is_kept),
        CASE(input_is_fed),
        CASE(without_input_there_is_nothing_to_read),
        CASE(the_environment_is_clean),
        CASE(nothing_is_inherited),
        CASE(a_folder_is_entered),
        CASE(a_missing_folder_is_told),
        CASE(a_missing_program_is_told),
        CASE(a_timeout_kills_the_session),
        CASE(what_stays_in_the_background_is_not_waited_for),
        CASE(freeing_kills_and_forgets),
        CASE(many_at_once),
        CASE(the_child_dies_with_its_parent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
