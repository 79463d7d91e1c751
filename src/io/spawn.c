#include "io/spawn.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define DEFAULTS_MAX 5
#define FIRST_FREE_FD \
    10 /* descriptors are moved above this before the standard ones are replaced */
#define KEPT_FD 3
#define STAT_SIZE 512

/* All that the new process needs, made before the fork: after it, only async-signal-safe calls
 * are allowed. */
struct plan {
    const struct spawn_options *options;
    char **argv;
    char **env;
    pid_t parent;
};

static bool has_name(const char *const *env, const char *assignment)
{
    size_t length = (size_t)(strchr(assignment, '=') - assignment) + 1;

    for (size_t at = 0; env != NULL && env[at] != NULL; at++) {
        if (strncmp(env[at], assignment, length) == 0) {
            return true;
        }
    }
    return false;
}

static char *inherited(const char *name)
{
    const char *value = getenv(name);
    size_t size = value != NULL ? strlen(name) + strlen(value) + 2 : 0;
    char *assignment = NULL;

    if (value != NULL) {
        assignment = mem_alloc(size);
        IGNORE(!str_format(assignment, size, "%s=%s", name, value), "the size was computed");
    }
    return assignment;
}

static char **make_env(const char *const *extra)
{
    char *defaults[DEFAULTS_MAX] = {
        inherited("PATH"), mem_dup("LANG=C"), mem_dup("LC_ALL=C"),
        inherited("TZ"),   inherited("HOME"),
    };
    size_t extras = 0;
    size_t count = 0;
    char **env = NULL;

    if (defaults[0] == NULL) {
        defaults[0] = mem_dup(DEFAULT_PATH);
    }
    while (extra != NULL && extra[extras] != NULL) {
        extras++;
    }
    env = mem_alloc_array(extras + DEFAULTS_MAX + 1, sizeof(*env));
    for (; count < extras; count++) {
        env[count] = mem_dup(extra[count]);
    }
    for (size_t at = 0; at < DEFAULTS_MAX; at++) {
        if (defaults[at] == NULL || has_name(extra, defaults[at])) {
            mem_free(defaults[at]);
            continue;
        }
        env[count++] = defaults[at];
    }
    return env;
}

static char **copy_argv(const char *const *argv)
{
    size_t count = 0;
    char **copy = NULL;

    while (argv[count] != NULL) {
        count++;
    }
    copy = mem_alloc_array(count + 1, sizeof(*copy));
    for (size_t at = 0; at < count; at++) {
        copy[at] = mem_dup(argv[at]);
    }
    return copy;
}

static void free_texts(char **texts)
{
    for (size_t at = 0; texts[at] != NULL; at++) {
        mem_free(texts[at]);
    }
    mem_free(texts);
}

/* ---- in the new process ---- */

static void say(const char *text)
{
    IGNORE(write(STDERR_FILENO, text, strlen(text)) < 0, "there is nobody else to tell");
}

__attribute__((noreturn)) static void give_up(const char *what, const char *path)
{
    const char *reason = strerrordesc_np(errno);

    say(what);
    say(path);
    say(": ");
    say(reason != NULL ? reason : "unknown error");
    say("\n");
    _exit(SPAWN_NOT_RUN);
}

static void reset_signals(void)
{
    sigset_t none;

    for (int signal_number = 1; signal_number < NSIG; signal_number++) {
        IGNORE(signal(signal_number, SIG_DFL) == SIG_ERR, "some numbers are reserved");
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int out_of_the_way(int fd, int null_fd)
{
    int moved = fcntl(fd >= 0 ? fd : null_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);

    if (moved < 0) {
        _exit(SPAWN_NOT_RUN);
    }
    return moved;
}

static void place_descriptors(const struct spawn_options *options)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int in_fd = out_of_the_way(options->in_fd, null_fd);
    int out_fd = out_of_the_way(options->out_fd, null_fd);
    int err_fd = out_of_the_way(options->err_fd, null_fd);
    int keep_fd = options->keep_fd >= 0 ? out_of_the_way(options->keep_fd, null_fd) : -1;
    unsigned first = KEPT_FD;

    if (dup2(in_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0 ||
        dup2(err_fd, STDERR_FILENO) < 0) {
        _exit(SPAWN_NOT_RUN);
    }
    if (keep_fd >= 0) {
        if (dup2(keep_fd, KEPT_FD) < 0) {
            _exit(SPAWN_NOT_RUN);
        }
        first++;
    }
    if (close_range(first, ~0U, 0) < 0) {
        for (int fd = (int)first; fd < (int)sysconf(_SC_OPEN_MAX); fd++) {
            close(fd);
        }
    }
}

__attribute__((noreturn)) static void run(const struct plan *plan)
{
    const struct spawn_options *options = plan->options;
    const char *folder = options->folder != NULL ? options->folder : "/";

    setsid();
    if (options->is_detached) {
        /* The parent collects this process at once; the next one belongs to init. */
        pid_t pid = fork();

        if (pid != 0) {
            _exit(pid < 0 ? SPAWN_NOT_RUN : 0);
        }
    }
    if (options->death_signal != 0) {
        prctl(PR_SET_PDEATHSIG, options->death_signal);
        if (getppid() != plan->parent) {
            _exit(SPAWN_NOT_RUN);
        }
    }
    place_descriptors(options);
    reset_signals();
    if (chdir(folder) < 0) {
        give_up("cannot change to ", folder);
    }
    execve(plan->argv[0], plan->argv, plan->env);
    give_up("cannot run ", plan->argv[0]);
}

/* ---- in this process ---- */

static int fork_and_run(const struct plan *plan, int *ret, struct err *e)
{
    sigset_t all;
    sigset_t before;
    pid_t pid;
    int saved;

    /* A handler of libuv must not run in the new process: it would write into the pipe of this
     * one. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        run(plan);
    }
    saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        return FAIL(e, ERR_IO, "cannot start %s: %s", plan->argv[0], strerror(saved));
    }
    *ret = pid;
    return 0;
}

static int collect_detached(const char *program, int pid, struct err *e)
{
    int status = 0;
    pid_t collected;

    do {
        collected = waitpid(pid, &status, 0);
    } while (collected < 0 && errno == EINTR);
    if (collected != pid || status != 0) {
        return FAIL(e, ERR_IO, "cannot start %s in the background", program);
    }
    return 0;
}

int spawn(const struct spawn_options *options, int *ret, struct err *e)
{
    struct plan plan = {.options = options, .parent = getpid()};
    int pid = 0;
    int r;

    ASSERT(options->argv != NULL);
    ASSERT(options->argv[0] != NULL);
    plan.argv = copy_argv(options->argv);
    plan.env = make_env(options->env);
    r = fork_and_run(&plan, &pid, e);
    if (r == 0 && options->is_detached) {
        r = collect_detached(options->argv[0], pid, e);
        pid = 0;
    }
    free_texts(plan.argv);
    free_texts(plan.env);
    if (r == 0) {
        *ret = pid;
    }
    return r;
}

/* The session of a process: the sixth field of its stat; the second, its name, may hold spaces
 * and parentheses. */
static int64_t session_of(const char *pid_text)
{
    char text[STAT_SIZE];
    char *field = NULL;
    char *rest = NULL;
    int64_t session = -1;
    ssize_t length;
    int fd;

    if (!str_format(text, sizeof(text), "/proc/%s/stat", pid_text)) {
        return -1;
    }
    fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    length = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[MAX(length, (ssize_t)0)] = '\0';
    rest = strrchr(text, ')');
    for (int number = 3; rest != NULL && number <= 6; number++) {
        rest = strchr(rest + 1, ' ');
        field = rest;
    }
    if (field != NULL) {
        field++;
        field[strcspn(field, " ")] = '\0';
        IGNORE(
            parse_int(field, 0, INT32_MAX, &session, NULL), "not a process of this session then");
    }
    return session;
}

void spawn_kill_session(int pid)
{
    DIR *folder = NULL;

    ASSERT(pid > 1);
    kill(pid, SIGKILL);
    kill(-pid, SIGKILL);
    folder = opendir("/proc");
    if (folder == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        int64_t found = 0;

        if (parse_int(entry->d_name, 2, INT32_MAX, &found, NULL) == 0 &&
            session_of(entry->d_name) == pid) {
            kill((pid_t)found, SIGKILL);
        }
    }
    closedir(folder);
}
