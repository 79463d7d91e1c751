#include "guard/bed_test.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

char bed_guard_program[PATH_MAX];
char bed_own_program[PATH_MAX];

void bed_pause(int64_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS};

    nanosleep(&pause, NULL);
}

struct instant bed_in(int64_t ms)
{
    return instant_add_ms(clock_now(), ms);
}

/* ---- the tree ---- */

__attribute__((noreturn)) static void stay(void)
{
    for (;;) {
        pause();
    }
}

static void be_deaf(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
}

static void *fork_in_thread(void *arg)
{
    (void)arg;
    if (fork() == 0) {
        stay();
    }
    stay();
}

static void make_child(void (*prepare)(void))
{
    if (fork() == 0) {
        prepare();
        stay();
    }
}

static void nothing(void)
{
}

static void leave_session(void)
{
    setsid();
    make_child(nothing); /* a grandchild */
}

/* Twice, so that its parent is gone. */
static void leave_family(void)
{
    if (fork() != 0) {
        _exit(0);
    }
    setsid();
    if (fork() != 0) {
        _exit(0);
    }
}

static void stop_itself(void)
{
    raise(SIGSTOP);
}

static void have_threads(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, fork_in_thread, NULL);
}

static void lose_parent_signal(void)
{
    prctl(PR_SET_PDEATHSIG, 0);
    setpgid(0, 0);
    prctl(PR_SET_NAME, ") S 1 (", 0, 0, 0);
}

/* TREE_SIZE processes, with the caller. */
static void make_tree(void)
{
    be_deaf();
    make_child(nothing);            /* 1 */
    make_child(leave_session);      /* 2 and 3 */
    make_child(leave_family);       /* 4 */
    make_child(stop_itself);        /* 5 */
    make_child(have_threads);       /* 6 and 7 */
    make_child(lose_parent_signal); /* 8 */
    make_child(nothing);            /* 9 */
    make_child(nothing);            /* 10 */
}

__attribute__((noreturn)) static void grow(void)
{
    be_deaf();
    for (int64_t number = 0;; number++) {
        pid_t pid = fork();

        if (pid == 0) {
            setsid();
            if (number % 3 == 0 && fork() != 0) {
                _exit(0);
            }
            bed_pause(number % 5 == 0 ? 60000 : 20);
            _exit(0);
        }
        bed_pause(1);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
            /* collected */
        }
    }
}

static char signal_path[128];

static void on_signal(int number)
{
    int fd = open(signal_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    const char *text = number == SIGQUIT ? "quit\n" : "int\n";

    IGNORE(write(fd, text, strlen(text)) < 0, "the test sees it");
    _exit(7);
}

__attribute__((noreturn)) static void be_tree(const char *mode, const char *path)
{
    if (str_equal(mode, "--tree") || str_equal(mode, "--leave")) {
        make_tree();
    }
    if (str_equal(mode, "--leave")) {
        bed_pause(500);
        _exit(5);
    }
    if (str_equal(mode, "--grow")) {
        grow();
    }
    if (str_equal(mode, "--obey")) {
        IGNORE(!str_format(signal_path, sizeof(signal_path), "%s.signal", path), "it fits");
        signal(SIGQUIT, on_signal);
        signal(SIGINT, on_signal);
        /* Ready. */
        IGNORE(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0, "the test waits in vain");
    }
    stay();
}

void bed_main(int argc, char **argv)
{
    if (argc == 3) {
        be_tree(argv[1], argv[2]);
    }
    if (argc != 2) {
        fprintf(stderr, "usage: %s BATON-GUARD\n", argv[0]);
        exit(2);
    }
    if (realpath(argv[1], bed_guard_program) == NULL ||
        process_program(bed_own_program, sizeof(bed_own_program), NULL) < 0) {
        exit(2);
    }
}

/* ---- the processes of the tree, as /proc shows them ---- */

static bool is_of_tree(const char *pid, const char *marker)
{
    char path[300];
    char text[4096];
    size_t length = strlen(marker);
    ssize_t size;
    int fd;

    if (!str_format(path, sizeof(path), "/proc/%s/cmdline", pid)) {
        return false;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    size = fd >= 0 ? read(fd, text, sizeof(text)) : 0;
    file_auto_close(&fd);
    return size > 0 && memmem(text, (size_t)size, marker, length) != NULL;
}

static int visit(const struct bed *bed, int signal_number)
{
    DIR *folder = opendir("/proc");
    int count = 0;

    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' ||
            !is_of_tree(entry->d_name, bed->pids_path)) {
            continue;
        }
        count++;
        if (signal_number != 0) {
            kill((pid_t)strtol(entry->d_name, NULL, 10), signal_number);
        }
    }
    closedir(folder);
    return count;
}

int bed_count(const struct bed *bed)
{
    return visit(bed, 0);
}

void bed_wait_for_obedience(const struct bed *bed)
{
    struct instant before = clock_now();

    while (unlink(bed->pids_path) < 0) {
        if (instant_elapsed_max_ms(before, clock_now()) > PATIENCE_MS) {
            fail_msg("the first process does not come up");
        }
        bed_pause(5);
    }
}

void bed_wait_for_tree(const struct bed *bed, int count)
{
    struct instant before = clock_now();

    while (bed_count(bed) != count) {
        if (instant_elapsed_max_ms(before, clock_now()) > PATIENCE_MS) {
            AUTO_FREE char *text = NULL;

            IGNORE(file_read(bed->output_path, 8000, &text, NULL, NULL) < 0, "it said nothing");
            fail_msg("%d processes, not %d: %s", bed_count(bed), count, text);
        }
        bed_pause(5);
    }
}

/* ---- the guard ---- */

void bed_start_guard(struct bed *bed)
{
    bed->guard = fork();
    if (bed->guard == 0) {
        execl(bed_guard_program, bed_guard_program, bed->socket_path, (char *)NULL);
        _exit(127);
    }
    bed->fd = bed_connect(bed);
    assert_true(bed->fd >= 0);
}

void bed_open_without_guard(struct bed *bed)
{
    *bed = (struct bed){.fd = -1};
    assert_true(str_copy(bed->folder, sizeof(bed->folder), "/tmp/baton-guard-XXXXXX"));
    assert_non_null(mkdtemp(bed->folder));
    assert_true(
        str_format(bed->socket_path, sizeof(bed->socket_path), "%s/socket", bed->folder) &&
        str_format(bed->pids_path, sizeof(bed->pids_path), "%s/pids", bed->folder) &&
        str_format(bed->output_path, sizeof(bed->output_path), "%s/output", bed->folder));
}

void bed_open(struct bed *bed)
{
    bed_open_without_guard(bed);
    bed_start_guard(bed);
}

void bed_close(struct bed *bed)
{
    char mark[128];

    file_auto_close(&bed->fd);
    if (bed->guard > 0) {
        kill(bed->guard, SIGKILL);
        waitpid(bed->guard, NULL, 0);
    }
    while (visit(bed, SIGKILL) > 0) {
        bed_pause(5);
    }
    assert_true(str_format(mark, sizeof(mark), "%s/mark", bed->folder));
    assert_int_equal(file_write(mark, "", 0, 0600, NULL), 0);
    assert_int_equal(file_remove_tree(bed->folder, "mark", NULL), 0);
}

int bed_wait_for_guard(struct bed *bed)
{
    struct instant before = clock_now();
    int status = 0;

    while (waitpid(bed->guard, &status, WNOHANG) == 0) {
        if (instant_elapsed_max_ms(before, clock_now()) > PATIENCE_MS) {
            fail_msg("the guard goes on");
        }
        bed_pause(5);
    }
    bed->guard = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- the client ---- */

int bed_connect(const struct bed *bed)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct instant before = clock_now();

    assert_true(str_copy(address.sun_path, sizeof(address.sun_path), bed->socket_path));
    for (;;) {
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
            return fd;
        }
        close(fd);
        if (instant_elapsed_max_ms(before, clock_now()) > PATIENCE_MS) {
            return -1;
        }
        bed_pause(5);
    }
}

void bed_order(int fd, unsigned kind, int value, struct instant deadline)
{
    struct guard_order order = {
        .header =
            {
                .magic = GUARD_MAGIC,
                .version = GUARD_VERSION,
                .kind = (uint16_t)kind,
                .size = sizeof(order),
            },
        .deadline = deadline,
        .value = value,
    };

    IGNORE(send(fd, &order, sizeof(order), MSG_NOSIGNAL) < 0, "the answer shows");
}

static void add(struct guard_start *start, const char *text)
{
    size_t size;

    ASSERT(text != NULL);
    size = strlen(text) + 1;
    assert_true(start->text_length + size <= sizeof(start->text));
    memcpy(start->text + start->text_length, text, size);
    start->text_length += (uint32_t)size;
}

void bed_start_argv(int fd, const char *const *argv, const char *folder, const char *output)
{
    struct guard_start start = {
        .header =
            {
                .magic = GUARD_MAGIC,
                .version = GUARD_VERSION,
                .kind = GUARD_START,
                .size = sizeof(start),
            },
        .envc = 2,
    };

    for (const char *const *at = argv; *at != NULL; at++) {
        add(&start, *at);
        start.argc++;
    }
    add(&start, "PATH=/usr/bin:/bin");
    add(&start, "ASAN_OPTIONS=detect_leaks=0");
    add(&start, folder);
    add(&start, output);
    assert_int_equal(send(fd, &start, sizeof(start), MSG_NOSIGNAL), sizeof(start));
}

void bed_start(const struct bed *bed, int fd, const char *mode)
{
    const char *argv[] = {bed_own_program, mode, bed->pids_path, NULL};

    bed_start_argv(fd, argv, "/", bed->output_path);
}

bool bed_receive(int fd, int64_t patience_ms, struct guard_state *state)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    struct guard_state got;
    ssize_t length;

    if (poll(&ready, 1, (int)patience_ms) != 1) {
        return false;
    }
    length = recv(fd, &got, sizeof(got), MSG_DONTWAIT);
    if (length <= 0) {
        return false;
    }
    assert_int_equal(length, sizeof(got));
    assert_int_equal(got.header.magic, GUARD_MAGIC);
    assert_int_equal(got.header.version, GUARD_VERSION);
    assert_int_equal(got.header.kind, GUARD_STATE);
    assert_int_equal(got.header.size, sizeof(got));
    *state = got;
    return true;
}

void bed_wait(struct bed *bed, bool (*condition)(const struct guard_state *state))
{
    struct instant before = clock_now();

    do {
        if (!bed_receive(bed->fd, PATIENCE_MS, &bed->state) ||
            instant_elapsed_max_ms(before, clock_now()) > PATIENCE_MS) {
            fail_msg("the guard does not say what is waited for");
        }
    } while (!condition(&bed->state));
}

bool bed_is_running(const struct guard_state *state)
{
    return state->pid > 0;
}

bool bed_is_gone(const struct guard_state *state)
{
    return state->pid == 0 && state->starts > 0;
}
