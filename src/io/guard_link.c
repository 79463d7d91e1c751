#include "io/guard_link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"

#include <sys/socket.h>
#include <sys/un.h>

#define RETRY_FIRST_MS 5
#define RETRY_LAST_MS 500
#define SOCKET_PATH_MAX 100

/* A guard that takes so long to listen is started once more; a second one ends by itself. */
#define LAUNCH_PAUSE_MS 1000

struct guard_link {
    struct loop *loop;
    struct loop_timer *timer;
    struct loop_poll *poll; /* NULL: not connected */
    int fd;
    int64_t retry_ms;
    int64_t
        since_launch_ms; /* waited since the last start of a guard; negative: none was started */
    bool has_state;
    bool told_none;
    char *program;
    char *socket_path;
    char *log_path;
    struct guard_listener listener;
};

static void on_timer(void *arg);

static void tell_none(struct guard_link *link)
{
    link->has_state = false;
    if (!link->told_none) {
        link->told_none = true;
        link->listener.on_state(link->listener.arg, NULL);
    }
}

static void disconnect(struct guard_link *link)
{
    loop_poll_free(link->poll);
    link->poll = NULL;
    file_auto_close(&link->fd);
    link->since_launch_ms = -1;
}

/* Try again, later each time until a guard answers: one that refuses every message must not keep
 * the loop busy. */
static void retry(struct guard_link *link)
{
    loop_timer_start(link->timer, link->retry_ms);
    link->retry_ms = MIN(link->retry_ms * 2, RETRY_LAST_MS);
}

static bool send_message(struct guard_link *link, const void *message, size_t size)
{
    if (link->fd < 0) {
        return false;
    }
    if (send(link->fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size) {
        return true;
    }
    /* Gone, or so stuck that its queue is full. The owner learns it from the loop, not from
     * inside its own call. */
    disconnect(link);
    loop_timer_start(link->timer, 0);
    return false;
}

static bool send_order(
    struct guard_link *link, uint16_t kind, int32_t value, struct instant deadline)
{
    struct guard_order order = {
        .header =
            {
                .magic = GUARD_MAGIC,
                .version = GUARD_VERSION,
                .kind = kind,
                .size = sizeof(order),
            },
        .deadline = deadline,
        .value = value,
    };

    return send_message(link, &order, sizeof(order));
}

static bool is_state(const struct guard_state *state, ssize_t length)
{
    return length == (ssize_t)sizeof(*state) && state->header.magic == GUARD_MAGIC &&
           state->header.version == GUARD_VERSION && state->header.kind == GUARD_STATE &&
           state->header.size == sizeof(*state);
}

static void on_message(void *arg, bool readable, bool writable)
{
    struct guard_link *link = arg;
    struct guard_state state;
    ssize_t length = recv(link->fd, &state, sizeof(state), MSG_DONTWAIT | MSG_TRUNC);

    (void)readable;
    (void)writable;
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (!is_state(&state, length)) {
        disconnect(link);
        retry(link);
        tell_none(link);
        return;
    }
    link->retry_ms = RETRY_FIRST_MS;
    link->has_state = true;
    link->told_none = false;
    link->listener.on_state(link->listener.arg, &state);
}

static bool is_same_user(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

static bool try_to_connect(struct guard_link *link)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    AUTO_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return false;
    }
    IGNORE(
        !str_copy(address.sun_path, sizeof(address.sun_path), link->socket_path),
        "checked when the link was made");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || !is_same_user(fd)) {
        return false;
    }
    link->fd = fd;
    fd = -1;
    link->poll = loop_poll_new(link->loop, link->fd, on_message, link);
    loop_poll_set(link->poll, true, false);
    return send_order(link, GUARD_ASK, 0, (struct instant){0, 0});
}

static void launch(struct guard_link *link)
{
    const char *argv[] = {link->program, link->socket_path, NULL};

    /* When this fails there is no guard, which is what on_state says; the next try comes by
     * itself. */
    IGNORE(process_detach(argv, link->log_path, -1, NULL) < 0, "on_state tells");
    link->since_launch_ms = 0;
}

static void on_timer(void *arg)
{
    struct guard_link *link = arg;

    if (link->fd >= 0 || try_to_connect(link)) {
        return;
    }
    if (link->since_launch_ms < 0 || link->since_launch_ms >= LAUNCH_PAUSE_MS) {
        launch(link);
        link->retry_ms = RETRY_FIRST_MS;
    }
    link->since_launch_ms += link->retry_ms;
    retry(link);
    tell_none(link);
}

struct guard_link *guard_link_new(
    struct loop *loop, const struct guard_link_options *options,
    const struct guard_listener *listener)
{
    struct guard_link *link = mem_alloc(sizeof(*link));

    ASSERT(listener->on_state != NULL);
    ASSERT(strlen(options->socket_path) <= SOCKET_PATH_MAX);
    link->loop = loop;
    link->fd = -1;
    link->retry_ms = RETRY_FIRST_MS;
    link->since_launch_ms = -1;
    link->program = mem_dup(options->program);
    link->socket_path = mem_dup(options->socket_path);
    link->log_path = options->log_path != NULL ? mem_dup(options->log_path) : NULL;
    link->listener = *listener;
    link->timer = loop_timer_new(loop, on_timer, link);
    loop_timer_start(link->timer, 0);
    return link;
}

/* ---- commands ---- */

static bool add_text(struct guard_start *start, const char *text)
{
    size_t size = strlen(text) + 1;

    if (size > sizeof(start->text) - start->text_length) {
        return false;
    }
    memcpy(start->text + start->text_length, text, size);
    start->text_length += (uint32_t)size;
    return true;
}

static bool add_texts(struct guard_start *start, const char *const *texts, uint16_t *ret_count)
{
    for (size_t at = 0; texts != NULL && texts[at] != NULL; at++) {
        if (at == UINT16_MAX || !add_text(start, texts[at])) {
            return false;
        }
        *ret_count = (uint16_t)(at + 1);
    }
    return true;
}

int guard_start(
    struct guard_link *link, const char *const *argv, const char *const *env, const char *folder,
    const char *output_path, struct err *e)
{
    AUTO_FREE struct guard_start *start = mem_alloc(sizeof(*start));

    ASSERT(argv[0] != NULL);
    start->header = (struct guard_header){
        .magic = GUARD_MAGIC,
        .version = GUARD_VERSION,
        .kind = GUARD_START,
        .size = sizeof(*start),
    };
    if (!add_texts(start, argv, &start->argc) || !add_texts(start, env, &start->envc) ||
        !add_text(start, folder != NULL ? folder : "/") ||
        !add_text(start, output_path != NULL ? output_path : "")) {
        return FAIL(
            e, ERR_LIMIT, "the arguments and variables of %s are longer than %d bytes", argv[0],
            GUARD_TEXT_MAX);
    }
    if (!link->has_state || !send_message(link, start, sizeof(*start))) {
        return FAIL(e, ERR_UNAVAILABLE, "there is no guard to start %s", argv[0]);
    }
    return 0;
}

static void order(struct guard_link *link, uint16_t kind, int32_t value, struct instant deadline)
{
    IGNORE(!send_order(link, kind, value, deadline), "the outcome shows in on_state");
}

void guard_signal(struct guard_link *link, int signal_number)
{
    order(link, GUARD_SIGNAL, signal_number, (struct instant){0, 0});
}

void guard_arm(struct guard_link *link, struct instant deadline)
{
    ASSERT(instant_is_set(deadline));
    order(link, GUARD_ARM, 0, deadline);
}

void guard_kill(struct guard_link *link)
{
    order(link, GUARD_KILL, 0, (struct instant){0, 0});
}

void guard_disarm(struct guard_link *link)
{
    order(link, GUARD_DISARM, 0, (struct instant){0, 0});
}

void guard_watch(struct guard_link *link, const struct guard_watch *watch)
{
    struct guard_watch message = *watch;

    message.header = (struct guard_header){
        .magic = GUARD_MAGIC,
        .version = GUARD_VERSION,
        .kind = GUARD_WATCH,
        .size = sizeof(message),
    };
    IGNORE(!send_message(link, &message, sizeof(message)), "the outcome shows in on_state");
}

void guard_retire(struct guard_link *link)
{
    order(link, GUARD_RETIRE, 0, (struct instant){0, 0});
}

void guard_link_free(struct guard_link *link)
{
    if (link == NULL) {
        return;
    }
    loop_timer_free(link->timer);
    disconnect(link);
    mem_free(link->program);
    mem_free(link->socket_path);
    mem_free(link->log_path);
    mem_free(link);
}
