#include "io/process.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"
#include "io/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_MS 5000
#define TEXT_MAX 4000

static char folder[64];
static char path[PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    assert_true(str_copy(folder, sizeof(folder), "/tmp/baton-process-XXXXXX"));
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state)
{
    char mark[PATH_MAX];

    (void)state;
    assert_true(str_format(mark, sizeof(mark), "%s/mark", folder));
    assert_int_equal(file_write(mark, "", 0, 0600, NULL), 0);
    assert_int_equal(file_remove_tree(folder, "mark", NULL), 0);
    return 0;
}

static const char *in_folder(const char *name)
{
    assert_true(str_format(path, sizeof(path), "%s/%s", folder, name));
    return path;
}

static void names(void **state)
{
    char text[PATH_MAX];
    char tiny[4];
    struct err e = {0};

    (void)state;
    assert_int_equal(process_user(), geteuid());
    process_user_name(text, sizeof(text));
    assert_true(geteuid() != 0 || str_equal(text, "root"));
    process_user_name(tiny, sizeof(tiny));
    process_host_name(text, sizeof(text));
    assert_true(text[0] != '\0');
    process_host_name(tiny, sizeof(tiny));
    assert_true(strlen(tiny) < sizeof(tiny));
    assert_int_equal(process_program(text, sizeof(text), NULL), 0);
    assert_non_null(strstr(text, "process"));
    assert_int_equal(process_program(tiny, sizeof(tiny), &e), ERR_LIMIT);
    assert_int_equal(process_id(), getpid());
    assert_null(process_env("BATON_NO_SUCH_VARIABLE"));
    assert_int_equal(setenv("BATON_TEST", "1", 1), 0);
    assert_string_equal(process_env("BATON_TEST"), "1");
    assert_true(process_memory_bytes() > 100000);
}

static void passwords(void **state)
{
    char first[65];
    char second[65];
    uint64_t numbers[2] = {0, 0};

    (void)state;
    memset(first, 'x', sizeof(first));
    process_password(first, 64);
    process_password(second, 64);
    assert_int_equal(strlen(first), 64);
    assert_string_not_equal(first, second);
    for (const char *at = first; *at != '\0'; at++) {
        assert_true(
            (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z'));
    }
    process_password(first, 0);
    assert_string_equal(first, "");
    process_random(numbers, sizeof(numbers));
    assert_true(numbers[0] != numbers[1]);
}

static void hardening(void **state)
{
    int status = 0;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        int pipe_fds[2];

        process_harden();
        if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
            _exit(1);
        }
        close(pipe_fds[0]);
        /* Without the hardening, this write would end the process. */
        _exit(prctl(PR_GET_DUMPABLE) == 0 && write(pipe_fds[1], "x", 1) == -1 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Wait until the file holds a line that says "end". */
static char *wait_for(const char *name)
{
    struct instant before = clock_now();
    struct timespec pause = {.tv_nsec = 5 * NS_PER_MS};
    char *text = NULL;

    for (;;) {
        if (file_read(in_folder(name), TEXT_MAX, &text, NULL, NULL) == 0 &&
            strstr(text, "end\n") != NULL) {
            return text;
        }
        mem_free(text);
        text = NULL;
        if (instant_elapsed_max_ms(before, clock_now()) > PATIENCE_MS) {
            fail_msg("no end in %s", name);
        }
        nanosleep(&pause, NULL);
    }
}

static void detaching(void **state)
{
    char expected[64];
    char log_path[PATH_MAX];
    const char *argv[] = {
        "/bin/sh",
        "-c",
        "{ echo \"[$SECRET]\"; ls /proc/self/fd | tr '\\n' ' '; cat <&3; "
        "cut -d ' ' -f 6 /proc/$$/stat; ps -o ppid= -p $$ 2>/dev/null || true; echo end; } >&2",
        NULL,
    };
    AUTO_FREE char *text = NULL;
    int pipe_fds[2];
    int extra = open("/dev/null", O_RDONLY);
    struct file_facts facts;

    (void)state;
    assert_int_equal(setenv("SECRET", "seen", 1), 0);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(write(pipe_fds[1], "kept\n", 5), 5);
    close(pipe_fds[1]);
    assert_true(str_copy(log_path, sizeof(log_path), in_folder("log")));
    assert_int_equal(process_detach(argv, log_path, pipe_fds[0], NULL), 0);
    text = wait_for("log");
    assert_non_null(strstr(text, "[]\n"));
    /* 0 1 2, the kept 3, and the one that ls opened. */
    assert_non_null(strstr(text, "0 1 2 3 4 kept\n"));
    assert_true(str_format(expected, sizeof(expected), "\n%d\n", (int)getsid(0)));
    assert_null(strstr(text, expected));
    assert_int_equal(file_facts(log_path, &facts, NULL), 0);
    assert_int_equal(facts.mode, 0600);
    /* Nothing to collect here. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    close(pipe_fds[0]);
    close(extra);
    assert_int_equal(unsetenv("SECRET"), 0);
}

static void detaching_what_is_not_there(void **state)
{
    const char *argv[] = {"/nowhere/tool", NULL};
    const char *fine[] = {"/bin/true", NULL};
    struct err e = {0};

    (void)state;
    assert_int_equal(process_detach(argv, NULL, -1, &e), ERR_NOT_FOUND);
    assert_int_equal(process_detach(fine, "/nowhere/log", -1, &e), ERR_IO);
    assert_int_equal(process_detach(fine, NULL, -1, &e), 0);
}

static void notifying(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    char text[64] = "";

    (void)state;
    process_notify("READY=1");
    assert_int_equal(setenv("NOTIFY_SOCKET", "/nowhere/socket", 1), 0);
    process_notify("READY=1");
    assert_true(str_copy(address.sun_path, sizeof(address.sun_path), in_folder("notify")));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", in_folder("notify"), 1), 0);
    process_notify("READY=1");
    assert_int_equal(recv(fd, text, sizeof(text) - 1, 0), 7);
    assert_string_equal(text, "READY=1");
    close(fd);
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
}

/* A child that is called NAME and works in PLACE. */
static pid_t stay(const char *place, const char *name)
{
    int fds[2];
    char byte = 0;
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        if (chdir(place) != 0 || prctl(PR_SET_NAME, name) != 0 || write(fds[1], "x", 1) != 1) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    assert_true(pid > 0);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static void killing_in_a_folder(void **state)
{
    pid_t left = stay(in_folder("."), "postgres");
    pid_t other_name = stay(in_folder("."), "postgres2");
    pid_t elsewhere = stay("/", "postgres");
    int status = 0;

    (void)state;
    assert_int_equal(process_kill_in(in_folder("."), "postgres"), 1);
    assert_int_equal(waitpid(left, &status, 0), left);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(waitpid(other_name, NULL, WNOHANG), 0);
    assert_int_equal(waitpid(elsewhere, NULL, WNOHANG), 0);
    assert_int_equal(process_kill_in(in_folder("not there"), "postgres"), 0);
    kill(other_name, SIGKILL);
    kill(elsewhere, SIGKILL);
    assert_int_equal(waitpid(other_name, NULL, 0), other_name);
    assert_int_equal(waitpid(elsewhere, NULL, 0), elsewhere);
}

/* This process has no secrets here: its children can be looked at. */
static void looking_where_processes_work(void **state)
{
    pid_t inside = stay(in_folder("."), "any");
    pid_t elsewhere = stay("/", "any");
    bool found = true;

    (void)state;
    assert_int_equal(process_place(inside, in_folder(".")), PROCESS_INSIDE);
    assert_int_equal(process_place(elsewhere, in_folder(".")), PROCESS_ELSEWHERE);
    assert_int_equal(process_place(inside, in_folder("not there")), PROCESS_ELSEWHERE);
    assert_int_equal(process_find_in(in_folder("."), &found, NULL), 0);
    assert_true(found);
    assert_true(process_is_reached(inside));
    kill(inside, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)inside, NULL, WEXITED | WNOWAIT), 0);
    assert_int_equal(process_place(inside, in_folder(".")), PROCESS_NOWHERE);
    assert_int_equal(process_find_in(in_folder("."), &found, NULL), 0);
    assert_false(found);
    assert_int_equal(waitpid(inside, NULL, 0), inside);
    assert_false(process_is_reached(inside));
    assert_int_equal(process_find_in(in_folder("not there"), &found, NULL), ERR_IO);
    kill(elsewhere, SIGKILL);
    assert_int_equal(waitpid(elsewhere, NULL, 0), elsewhere);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(names),
        CASE(passwords),
        CASE(hardening),
        CASE(detaching),
        CASE(notifying),
        CASE(detaching_what_is_not_there),
        CASE(killing_in_a_folder),
        CASE(looking_where_processes_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
