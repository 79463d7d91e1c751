#include "io/disk_probe.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBE_BYTES 8192
#define PROBE_PATH_SIZE 4224
#define PROBE_NAME "baton.probe"
#define PROBE_STACK ((size_t)64 * 1024)

/* What the thread has; whoever leaves it last frees it. */
struct attempt {
    atomic_uint owners;
    char paths[DISK_PROBE_PATHS][PROBE_PATH_SIZE];
    unsigned count;
    unsigned failed; /* index of the path */
    int error;
    int event; /* becomes readable at the end */
};

struct disk_probe {
    struct loop *loop;
    void (*done)(void *arg, int error, const char *path);
    void *arg;
    struct attempt *attempt; /* NULL: none under way */
    struct loop_poll *poll;
};

static void leave(struct attempt *attempt)
{
    if (atomic_fetch_sub(&attempt->owners, 1) == 1) {
        file_auto_close(&attempt->event);
        mem_free(attempt);
    }
}

/* ---- on the thread ---- */

static int open_probe(const char *folder)
{
    char path[PROBE_PATH_SIZE + sizeof(PROBE_NAME)];
    int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) {
        return fd;
    }
    str_format(path, sizeof(path), "%s/" PROBE_NAME, folder);
    fd = open(path, O_CREAT | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && unlink(path) < 0) {
        int error = errno;

        file_auto_close(&fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* DEVICE: tried before; a file system is tried once. */
static int try_folder(const char *folder, dev_t *device)
{
    static const char bytes[PROBE_BYTES];
    int fd AUTO_FD = open_probe(folder);
    struct stat facts;
    ssize_t written;

    if (fd < 0 || fstat(fd, &facts) < 0) {
        return errno;
    }
    if (facts.st_dev == *device) {
        return 0;
    }
    *device = facts.st_dev;
    written = write(fd, bytes, sizeof(bytes));
    if (written < 0) {
        return errno;
    }
    if ((size_t)written < sizeof(bytes)) {
        return ENOSPC;
    }
    return fsync(fd) < 0 ? errno : 0;
}

static void *run(void *arg)
{
    struct attempt *attempt = arg;
    const uint64_t one = 1;
    dev_t device = 0;

    for (unsigned at = 0; at < attempt->count && attempt->error == 0; at++) {
        attempt->failed = at;
        attempt->error = try_folder(attempt->paths[at], &device);
    }
    IGNORE(
        write(attempt->event, &one, sizeof(one)) < 0,
        "an event that cannot be told looks like a disk that hangs");
    leave(attempt);
    return NULL;
}

static bool run_detached(struct attempt *attempt)
{
    pthread_attr_t attributes;
    pthread_t thread;
    bool is_begun;

    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    is_begun = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
               pthread_attr_setstacksize(&attributes, PROBE_STACK) == 0 &&
               pthread_create(&thread, &attributes, run, attempt) == 0;
    IGNORE(pthread_attr_destroy(&attributes) != 0, "it owns nothing");
    return is_begun;
}

/* ---- on the loop ---- */

static void forget(struct disk_probe *probe)
{
    struct attempt *attempt = probe->attempt;

    loop_poll_free(probe->poll);
    probe->poll = NULL;
    probe->attempt = NULL;
    if (attempt != NULL) {
        leave(attempt);
    }
}

static void on_event(void *arg, bool readable, bool writable)
{
    struct disk_probe *probe = arg;
    char path[PROBE_PATH_SIZE];
    int error = probe->attempt->error;

    if (!readable || writable) {
        return;
    }
    str_copy(path, sizeof(path), probe->attempt->paths[probe->attempt->failed]);
    forget(probe);
    probe->done(probe->arg, error, path);
}

struct disk_probe *disk_probe_new(
    struct loop *loop, void (*done)(void *arg, int error, const char *path), void *arg)
{
    struct disk_probe *probe = mem_alloc(sizeof(*probe));

    probe->loop = loop;
    probe->done = done;
    probe->arg = arg;
    return probe;
}

bool disk_probe_start(struct disk_probe *probe, const char *const *paths, unsigned count)
{
    struct attempt *attempt;

    ASSERT(count <= DISK_PROBE_PATHS);
    if (probe->attempt != NULL) {
        return false;
    }
    attempt = mem_alloc(sizeof(*attempt));
    atomic_init(&attempt->owners, 2);
    attempt->count = count;
    for (unsigned at = 0; at < count; at++) {
        str_copy(attempt->paths[at], sizeof(attempt->paths[at]), paths[at]);
    }
    attempt->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (attempt->event < 0 || !run_detached(attempt)) {
        file_auto_close(&attempt->event);
        mem_free(attempt);
        return false;
    }
    probe->attempt = attempt;
    probe->poll = loop_poll_new(probe->loop, attempt->event, on_event, probe);
    loop_poll_set(probe->poll, true, false);
    return true;
}

bool disk_probe_is_busy(const struct disk_probe *probe)
{
    return probe->attempt != NULL;
}

void disk_probe_free(struct disk_probe *probe)
{
    if (probe != NULL) {
        forget(probe);
        mem_free(probe);
    }
}
