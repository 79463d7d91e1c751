#include "io/child.h"

#include "base/assert.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/spawn.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#define READ_SIZE ((size_t)4096)
#define DRAIN_READS_MAX 32 /* more than a pipe holds */
#define KILL_PATIENCE_MS 1000

struct child {
    struct loop *loop;
    struct loop_poll *end_poll;
    struct loop_poll *output_poll;
    struct loop_timer *timer;
    child_done *done;
    void *arg;
    int pid;
    int pid_fd;
    int output_fd;
    bool timed_out;
    bool is_done;
    size_t used;
    char output[2 * CHILD_OUTPUT_MAX + READ_SIZE + 1];
};

/* False at the end of the output. */
static bool read_output(struct child *child, int reads_max)
{
    for (int reads = 0; reads < reads_max; reads++) {
        ssize_t length = read(child->output_fd, child->output + child->used, READ_SIZE);

        if (length <= 0) {
            return length < 0 && (errno == EAGAIN || errno == EINTR);
        }
        child->used += (size_t)length;
        if (child->used > (size_t)2 * CHILD_OUTPUT_MAX) {
            size_t cut = child->used - CHILD_OUTPUT_MAX;

            memmove(child->output, child->output + cut, CHILD_OUTPUT_MAX);
            child->used = CHILD_OUTPUT_MAX;
        }
    }
    return true;
}

static void release(struct child *child)
{
    loop_poll_free(child->end_poll);
    loop_poll_free(child->output_poll);
    loop_timer_free(child->timer);
    file_auto_close(&child->pid_fd);
    file_auto_close(&child->output_fd);
    mem_free(child);
}

static void finish(struct child *child, struct child_end *end)
{
    size_t skipped = child->used - MIN(child->used, (size_t)CHILD_OUTPUT_MAX);

    child->output[child->used] = '\0';
    end->output = child->output + skipped;
    end->timed_out = child->timed_out;
    child->is_done = true;
    child->done(child->arg, end);
    release(child);
}

static void on_output(void *arg, bool readable, bool writable)
{
    struct child *child = arg;

    (void)readable;
    (void)writable;
    if (!read_output(child, 1)) {
        loop_poll_set(child->output_poll, false, false);
    }
}

static void on_end(void *arg, bool readable, bool writable)
{
    struct child *child = arg;
    struct child_end end = {.exit_code = -1};
    int status = 0;

    (void)readable;
    (void)writable;
    if (waitpid(child->pid, &status, WNOHANG) != child->pid) {
        return;
    }
    /* Not until the end of the output: something that it left in the background may hold the
     * pipe for ever. */
    IGNORE(!read_output(child, DRAIN_READS_MAX), "what came before the end is read");
    if (WIFEXITED(status)) {
        end.exit_code = WEXITSTATUS(status);
    } else {
        end.signal_number = WTERMSIG(status);
    }
    finish(child, &end);
}

static void on_timeout(void *arg)
{
    struct child *child = arg;

    spawn_kill_session(child->pid);
    if (!child->timed_out) {
        child->timed_out = true;
        loop_timer_start(child->timer, KILL_PATIENCE_MS);
        return;
    }
    /* It sits in the kernel, on a hung disk: the caller has to know now. */
    loop_reap(child->loop, child->pid);
    finish(child, &(struct child_end){.exit_code = -1, .signal_number = SIGKILL});
}

/* A sealed memory file rather than a pipe: nothing to feed, nothing on disk, and /dev/stdin can
 * be opened. */
static int open_input(const char *input, int *ret, struct err *e)
{
    AUTO_FD int fd = -1;
    size_t length = 0;

    *ret = -1;
    if (input == NULL) {
        return 0;
    }
    length = strlen(input);
    fd = memfd_create("baton-input", MFD_CLOEXEC);
    if (fd < 0 || write(fd, input, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET) != 0) {
        return FAIL(e, ERR_IO, "cannot keep the input of a program: %s", strerror(errno));
    }
    *ret = fd;
    fd = -1;
    return 0;
}

static int start_program(
    const struct child_options *options, struct child *child, int write_fd, struct err *e)
{
    AUTO_FD int input_fd = -1;
    int r = open_input(options->input, &input_fd, e);

    if (r < 0) {
        return r;
    }
    r = spawn(
        &(struct spawn_options){
            .argv = options->argv,
            .env = options->env,
            .folder = options->folder,
            .in_fd = input_fd,
            .out_fd = write_fd,
            .err_fd = write_fd,
            .keep_fd = -1,
            .death_signal = SIGKILL,
        },
        &child->pid, e);
    if (r < 0) {
        return r;
    }
    child->pid_fd = pidfd_open(child->pid, 0);
    if (child->pid_fd < 0) {
        r = FAIL(e, ERR_IO, "cannot watch %s: %s", options->argv[0], strerror(errno));
        spawn_kill_session(child->pid);
        loop_reap(child->loop, child->pid);
    }
    return r;
}

int child_start(
    struct loop *loop, const struct child_options *options, child_done *done, void *arg,
    struct child **ret, struct err *e)
{
    struct child *child = NULL;
    AUTO_FD int write_fd = -1;
    int pipe_fds[2];
    int r;

    ASSERT(options->argv != NULL);
    ASSERT(options->argv[0] != NULL);
    ASSERT(done != NULL);
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        return FAIL(e, ERR_IO, "cannot make a pipe for %s: %s", options->argv[0], strerror(errno));
    }
    write_fd = pipe_fds[1];
    child = mem_alloc(sizeof(*child));
    child->loop = loop;
    child->done = done;
    child->arg = arg;
    child->pid_fd = -1;
    child->output_fd = pipe_fds[0];
    r = fcntl(child->output_fd, F_SETFL, O_NONBLOCK);
    ASSERT(r == 0);
    r = start_program(options, child, write_fd, e);
    if (r < 0) {
        release(child);
        return r;
    }
    child->output_poll = loop_poll_new(loop, child->output_fd, on_output, child);
    loop_poll_set(child->output_poll, true, false);
    child->end_poll = loop_poll_new(loop, child->pid_fd, on_end, child);
    loop_poll_set(child->end_poll, true, false);
    child->timer = loop_timer_new(loop, on_timeout, child);
    if (options->timeout_ms > 0) {
        loop_timer_start(child->timer, options->timeout_ms);
    }
    *ret = child;
    return 0;
}

void child_free(struct child *child)
{
    if (child == NULL || child->is_done) {
        return;
    }
    spawn_kill_session(child->pid);
    loop_reap(child->loop, child->pid);
    release(child);
}
