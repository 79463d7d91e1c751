#include "io/watchdog.h"

#include <fcntl.h>
#include <linux/watchdog.h>
#include <sys/ioctl.h>

#define SECOND_NS (1000 * NS_PER_MS)
#define PETS_PER_TIMEOUT 3
#define RETRY_NS SECOND_NS
#define LOOK_NS \
    (60 * SECOND_NS) /* for so long one that could not be started is not believed again */

static int call_kernel(int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}

void watchdog_init(struct watchdog *dog)
{
    *dog = (struct watchdog){.control = call_kernel, .fd = -1};
}

static void fail(struct watchdog *dog, int error)
{
    dog->state = GUARD_WATCHDOG_FAILED;
    dog->error = error;
}

static bool say(struct watchdog *dog, const char *text)
{
    if (write(dog->fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        fail(dog, errno);
        return false;
    }
    return true;
}

/* Not running: whether it could. */
static void look(struct watchdog *dog)
{
    dog->state = GUARD_WATCHDOG_OFF;
    dog->error = 0;
    if (dog->wanted.path[0] == '\0') {
        return;
    }
    if (dog->wanted.timeout_s == 0) {
        fail(dog, ERANGE);
    } else if (access(dog->wanted.path, W_OK) < 0) {
        fail(dog, errno);
    } else {
        dog->state = GUARD_WATCHDOG_READY;
    }
}

static void stop(struct watchdog *dog)
{
    if (dog->fd >= 0) {
        IGNORE(!say(dog, "V"), "closing it is all that is left");
        close(dog->fd);
        dog->fd = -1;
        look(dog);
    }
}

/* 0 or an errno. */
static int set_timeout(struct watchdog *dog)
{
    int seconds = (int)dog->wanted.timeout_s;
    struct watchdog_info info = {0};
    char text[32];

    dog->pace_ns = seconds * SECOND_NS / PETS_PER_TIMEOUT;
    if (dog->wanted.is_testing != 0) {
        IGNORE(snprintf(text, sizeof(text), "Ctimeout=%d\n", seconds) < 0, "it fits");
        return say(dog, text) ? 0 : dog->error;
    }
    if (dog->control(dog->fd, WDIOC_GETSUPPORT, &info) < 0) {
        return errno;
    }
    /* One that cannot be set may happen to be short enough as it is. */
    if ((info.options & WDIOF_SETTIMEOUT) != 0 &&
        dog->control(dog->fd, WDIOC_SETTIMEOUT, &seconds) < 0) {
        return errno;
    }
    if (dog->control(dog->fd, WDIOC_GETTIMEOUT, &seconds) < 0) {
        return errno;
    }
    dog->pace_ns = seconds * SECOND_NS / PETS_PER_TIMEOUT;
    return seconds < 1 || seconds > (int)dog->wanted.timeout_s ? ERANGE : 0;
}

static void start(struct watchdog *dog)
{
    int error;

    dog->fd = open(dog->wanted.path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_APPEND);
    if (dog->fd < 0) {
        fail(dog, errno);
        return;
    }
    error = set_timeout(dog);
    if (error != 0) {
        stop(dog);
        fail(dog, error);
    }
}

void watchdog_set(struct watchdog *dog, const struct guard_watch *wanted)
{
    bool is_same = strcmp(dog->wanted.path, wanted->path) == 0 &&
                   dog->wanted.is_testing == wanted->is_testing &&
                   dog->wanted.timeout_s == wanted->timeout_s;

    /* Another timeout is set where the device is opened: there is one way to do it. */
    if (!is_same) {
        stop(dog);
        dog->next_ns = 0;
    }
    dog->wanted = *wanted;
    dog->wanted.path[sizeof(dog->wanted.path) - 1] = '\0';
    if (dog->fd < 0) {
        look(dog);
    }
}

int64_t watchdog_keep(struct watchdog *dog, bool is_needed, int64_t left_ms, int64_t now_ns)
{
    if (!is_needed || dog->wanted.path[0] == '\0' || dog->wanted.timeout_s == 0) {
        stop(dog);
        dog->next_ns = 0;
        if (dog->state == GUARD_WATCHDOG_FAILED && now_ns >= dog->look_ns) {
            look(dog);
        }
        return INT64_MAX;
    }
    /* It runs out, unless a later deadline comes. */
    if (left_ms < dog->wanted.left_ms) {
        return INT64_MAX;
    }
    if (now_ns >= dog->next_ns) {
        if (dog->fd < 0) {
            start(dog);
            dog->look_ns = now_ns + LOOK_NS;
        }
        if (dog->fd >= 0 && say(dog, "1")) {
            dog->state = GUARD_WATCHDOG_RUNNING;
            dog->error = 0;
        }
        dog->next_ns = now_ns + (dog->fd >= 0 ? dog->pace_ns : RETRY_NS);
    }
    return dog->next_ns - now_ns;
}
