#include "guard/guard.h"

#include "base/assert.h"
#include "guard/tree.h"
#include "io/cgroup.h"
#include "io/clock.h"
#include "io/urgent.h"
#include "io/watchdog.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>

#define CLIENTS_MAX 8
#define IDLE_NS (60000 * NS_PER_MS)
#define KILL_PAUSE_NS (20 * NS_PER_MS)
#define SECOND_NS (1000 * NS_PER_MS)
#define NOT_RUN 127

struct guard {
    struct guard_state state;
    int listen_fd;
    int signal_fd;
    int timer_fd;
    int error_fds[2];         /* a pipe: why the new process could not run its program */
    int clients[CLIENTS_MAX]; /* oldest first */
    size_t client_count;
    bool is_killing;
    bool is_retiring;
    int64_t next_kill_ns;
    int64_t idle_since_ns;
    struct urgent urgent;
    struct cgroup group;
    struct watchdog watchdog;
    union {
        struct guard_header header;
        struct guard_order order;
        struct guard_start start;
        struct guard_watch watch;
    } message;
    char *texts[GUARD_TEXTS_MAX + 4]; /* of message.start */
};

/* The whole group at once, if there is one; those who have left it are descendants all the same. Of
 * these the first process first, because it makes the others. */
static void kill_tree(struct guard *guard)
{
    ASSERT(guard->state.pid > 1); /* 0 would mean the guard's own group */
    IGNORE(!cgroup_kill(&guard->group), "there may be none");
    if (!guard->state.is_ending) {
        kill((pid_t)guard->state.pid, SIGKILL);
    }
    tree_kill(getpid());
    guard->is_killing = true;
    guard->next_kill_ns = clock_now().boot_ns + KILL_PAUSE_NS;
}

static void check_deadline(struct guard *guard)
{
    struct instant deadline = guard->state.deadline;
    struct instant now = clock_now();

    if (instant_is_set(deadline) && !guard->is_killing &&
        (now.boot_ns >= deadline.boot_ns || now.raw_ns >= deadline.raw_ns)) {
        kill_tree(guard);
        guard->state.was_fenced = 1;
    }
}

/* Whoever has ended. What the first process left behind is killed. */
static void collect(struct guard *guard)
{
    struct guard_state *state = &guard->state;
    bool is_alone;
    int error = 0;
    int status = 0;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        if (pid == state->pid && !state->is_ending) {
            state->is_ending = 1;
            state->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
            state->exit_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        }
    }
    is_alone = pid < 0 && errno == ECHILD;
    if (read(guard->error_fds[0], &error, sizeof(error)) == (ssize_t)sizeof(error)) {
        state->start_errno = error;
    }
    if (is_alone && state->pid != 0) {
        state->pid = 0;
        state->is_ending = 0;
        state->deadline = (struct instant){0, 0};
        guard->is_killing = false;
    } else if (state->is_ending && !guard->is_killing) {
        kill_tree(guard);
    }
}

static bool place_streams(const char *output)
{
    int in_fd = open("/dev/null", O_RDONLY);
    int out_fd = output[0] == '\0' ? STDERR_FILENO
                                   : open(output, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY, 0600);

    return in_fd >= 0 && out_fd >= 0 && dup2(in_fd, STDIN_FILENO) >= 0 &&
           dup2(out_fd, STDOUT_FILENO) >= 0 && dup2(out_fd, STDERR_FILENO) >= 0;
}

__attribute__((noreturn)) static void run_first(const struct guard *guard)
{
    char *const *env = guard->texts + guard->message.start.argc + 1;
    char *const *places = env + guard->message.start.envc + 1;
    sigset_t none;
    int error = 0;

    setsid();
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (getppid() != guard->state.guard_pid) {
        _exit(NOT_RUN);
    }
    urgent_leave(&guard->urgent);
    IGNORE(!cgroup_join(&guard->group), "there may be none");
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (place_streams(places[1]) && chdir(places[0]) == 0) {
        close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
        execve(guard->texts[0], guard->texts, env);
    }
    error = errno;
    IGNORE(write(guard->error_fds[1], &error, sizeof(error)) < 0, "NOT_RUN tells as well");
    _exit(NOT_RUN);
}

/* 0 or an errno. Does not wait for the exec: the disk may hang. */
static int start_first(struct guard *guard)
{
    struct guard_state *state = &guard->state;
    int r = state->pid != 0 || guard->is_retiring
                ? EBUSY
                : guard_start_split(&guard->message.start, guard->texts);
    pid_t pid;

    if (r != 0) {
        return r;
    }
    pid = fork();
    if (pid == 0) {
        run_first(guard);
    } else if (pid < 0) {
        return errno;
    }
    state->pid = pid;
    state->starts++;
    state->started_real_ms = clock_real_ms();
    state->exit_code = -1;
    state->exit_signal = 0;
    state->was_fenced = 0;
    state->was_killed = 0;
    state->is_open = 0;
    return 0;
}

static void drop_client(struct guard *guard, size_t at)
{
    close(guard->clients[at]);
    guard->client_count--;
    memmove(
        guard->clients + at, guard->clients + at + 1,
        (guard->client_count - at) * sizeof(guard->clients[0]));
}

/* A client that does not read is dropped: it learns the state when it comes again. */
static void tell_all(struct guard *guard)
{
    const struct guard_state *state = &guard->state;

    for (size_t at = guard->client_count; at-- > 0;) {
        if (send(guard->clients[at], state, sizeof(*state), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            drop_client(guard, at);
        }
    }
}

static void accept_client(struct guard *guard)
{
    int fd = accept4(guard->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred peer;
    socklen_t length = sizeof(peer);

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 ||
        peer.uid != geteuid()) {
        close(fd);
        return;
    }
    if (guard->client_count == CLIENTS_MAX) {
        drop_client(guard, 0);
    }
    guard->clients[guard->client_count++] = fd;
}

static int64_t keep_watchdog(struct guard *guard)
{
    struct instant now = clock_now();
    struct instant deadline = guard->state.deadline;
    int64_t pause = watchdog_keep(
        &guard->watchdog, instant_is_set(deadline), instant_left_ms(deadline, now), now.boot_ns);

    guard->state.watchdog = (uint8_t)guard->watchdog.state;
    guard->state.watchdog_errno = (uint8_t)guard->watchdog.error;
    return pause;
}

static void arm(struct guard *guard, struct instant deadline)
{
    struct instant current = guard->state.deadline;
    struct itimerspec when = {
        .it_value = {deadline.boot_ns / SECOND_NS, deadline.boot_ns % SECOND_NS},
    };

    if (guard->state.pid != 0 && !guard->is_killing && instant_is_set(deadline) &&
        deadline.boot_ns >= current.boot_ns && deadline.raw_ns >= current.raw_ns) {
        guard->state.deadline = deadline;
        IGNORE(timerfd_settime(guard->timer_fd, TFD_TIMER_ABSTIME, &when, NULL), "pause_ns holds");
        check_deadline(guard);
    }
}

static void send_signal(struct guard *guard, int number)
{
    if (guard->state.pid != 0 && !guard->state.is_ending && number > 0 && number < NSIG) {
        guard->state.is_open |= number == SIGUSR1;
        kill((pid_t)guard->state.pid, number);
    }
}

/* False for a message of an unknown kind or a wrong size. */
static bool obey(struct guard *guard)
{
    const struct guard_order *order = &guard->message.order;
    unsigned kind = guard->message.header.kind;
    size_t size = kind == GUARD_START   ? sizeof(struct guard_start)
                  : kind == GUARD_WATCH ? sizeof(struct guard_watch)
                                        : sizeof(*order);

    if (guard->message.header.size != size || kind < GUARD_START || kind > GUARD_WATCH) {
        return false;
    }
    if (kind == GUARD_START) {
        guard->state.start_errno = start_first(guard);
    } else if (kind == GUARD_SIGNAL) {
        send_signal(guard, order->value);
    } else if (kind == GUARD_ARM) {
        arm(guard, order->deadline);
    } else if (kind == GUARD_KILL && guard->state.pid != 0) {
        kill_tree(guard);
        guard->state.was_killed = 1;
    } else if (kind == GUARD_RETIRE && guard->state.pid == 0) {
        guard->is_retiring = true;
    } else if (kind == GUARD_DISARM && guard->state.is_open == 0 && !guard->is_killing) {
        /* A server that the agent never opened for writing: no bug there disarms a primary. */
        guard->state.deadline = (struct instant){0, 0};
    } else if (kind == GUARD_WATCH) {
        watchdog_set(&guard->watchdog, &guard->message.watch);
    }
    keep_watchdog(guard);
    return true;
}

static void hear_client(struct guard *guard, size_t at)
{
    const struct guard_header *header = &guard->message.header;
    ssize_t length =
        recv(guard->clients[at], &guard->message, sizeof(guard->message), MSG_DONTWAIT | MSG_TRUNC);

    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    /* A message that is read after the deadline does not move it, wherever it was delayed. */
    check_deadline(guard);
    if (length < (ssize_t)sizeof(*header) || header->magic != GUARD_MAGIC ||
        header->version != GUARD_VERSION || header->size != (size_t)length || !obey(guard)) {
        drop_client(guard, at);
    }
    tell_all(guard);
}

static void hear_signals(struct guard *guard)
{
    struct signalfd_siginfo info;

    while (read(guard->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM) {
            guard->is_retiring = true;
            send_signal(guard, SIGINT);
        }
    }
}

/* Until something is due. ppoll counts a clock that NTP may slow down by some per cent, so the way
 * to the deadline is gone in steps that end before it; the timer is for waking from suspend. */
static int64_t pause_ns(const struct guard *guard)
{
    struct instant now = clock_now();
    struct instant deadline = guard->state.deadline;
    int64_t pause = IDLE_NS;

    if (guard->is_killing) {
        pause = guard->next_kill_ns - now.boot_ns;
    } else if (instant_is_set(deadline)) {
        pause = MIN(deadline.boot_ns - now.boot_ns, deadline.raw_ns - now.raw_ns);
        pause -= pause > NS_PER_MS ? pause / 8 : 0;
    }
    return MAX(MIN(pause, IDLE_NS), INT64_C(0));
}

static void turn(struct guard *guard)
{
    struct guard_state before = guard->state;
    int64_t pause = MIN(keep_watchdog(guard), pause_ns(guard));
    struct timespec timeout = {pause / SECOND_NS, pause % SECOND_NS};
    uint64_t expirations = 0;
    struct pollfd fds[4 + CLIENTS_MAX] = {
        {guard->signal_fd, POLLIN, 0},
        {guard->timer_fd, POLLIN, 0},
        {guard->error_fds[0], POLLIN, 0},
        {guard->listen_fd, POLLIN, 0},
    };

    for (size_t at = 0; at < guard->client_count; at++) {
        fds[4 + at] = (struct pollfd){guard->clients[at], POLLIN, 0};
    }
    IGNORE(ppoll(fds, 4 + guard->client_count, &timeout, NULL), "what is ready is tried out");
    check_deadline(guard);
    IGNORE(read(guard->timer_fd, &expirations, sizeof(expirations)) < 0, "it only wakes");
    hear_signals(guard);
    collect(guard);
    if (guard->is_killing && clock_now().boot_ns >= guard->next_kill_ns) {
        kill_tree(guard);
    }
    if (memcmp(&before, &guard->state, sizeof(before)) != 0) {
        tell_all(guard);
    }
    /* Dropping one moves the others down: who is missed or met too early has the next turn. */
    for (size_t at = guard->client_count; at-- > 0;) {
        if (at < guard->client_count) {
            hear_client(guard, at);
        }
    }
    accept_client(guard);
}

static bool is_done(struct guard *guard)
{
    int64_t now_ns = clock_now().boot_ns;

    if (guard->state.pid != 0 || guard->client_count > 0) {
        guard->idle_since_ns = now_ns;
    }
    return guard->state.pid == 0 &&
           (guard->is_retiring || now_ns - guard->idle_since_ns >= IDLE_NS);
}

static bool listen_at(const struct guard *guard, const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char lock_path[PATH_MAX];
    mode_t before = umask(0177);
    int lock_fd;

    IGNORE(snprintf(lock_path, sizeof(lock_path), "%s.lock", socket_path) < 0, "cut: not found");
    lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock_fd < 0 || flock(lock_fd, LOCK_EX | LOCK_NB) < 0) {
        return false;
    }
    memcpy(address.sun_path, socket_path, strlen(socket_path));
    /* What is there was left by a guard that died: this one has the lock. */
    unlink(socket_path);
    if (bind(guard->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        return false;
    }
    umask(before);
    return listen(guard->listen_fd, CLIENTS_MAX) == 0;
}

static bool open_descriptors(struct guard *guard)
{
    sigset_t signals;

    sigfillset(&signals);
    sigprocmask(SIG_SETMASK, &signals, NULL);
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    guard->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    guard->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    guard->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return guard->signal_fd >= 0 && guard->timer_fd >= 0 && guard->listen_fd >= 0 &&
           pipe2(guard->error_fds, O_CLOEXEC | O_NONBLOCK) == 0;
}

int guard_serve(const char *socket_path)
{
    static struct guard guard;
    char group[32];

    if (strlen(socket_path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        return ENAMETOOLONG;
    }
    /* An inherited SIG_IGN for SIGCHLD would lose exit statuses. */
    if (signal(SIGCHLD, SIG_DFL) == SIG_ERR || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ||
        !open_descriptors(&guard) || !listen_at(&guard, socket_path)) {
        return errno;
    }
    guard.state = (struct guard_state){
        .header = {GUARD_MAGIC, GUARD_VERSION, GUARD_STATE, sizeof(guard.state), 0},
        .guard_pid = getpid(),
        .exit_code = -1,
    };
    guard.idle_since_ns = clock_now().boot_ns;
    guard.state.powers = (uint8_t)urgent_become(&guard.urgent);
    IGNORE(snprintf(group, sizeof(group), "baton-guard-%d", getpid()) < 0, "it fits");
    guard.state.means =
        cgroup_open(&guard.group, group) ? GUARD_MEANS_CGROUP : GUARD_MEANS_DESCENDANTS;
    watchdog_init(&guard.watchdog);
    while (!is_done(&guard)) {
        turn(&guard);
    }
    cgroup_close(&guard.group);
    unlink(socket_path);
    return 0;
}
