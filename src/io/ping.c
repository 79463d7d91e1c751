#include "io/ping.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST_SIZE 256

/* A look-up on the thread pool may outlive its ping. With a resolver that hangs each holds a thread
 * for as long as that waits: few may, or no other work would be done. */
#define OUTLIVED_MAX 2

static unsigned outlived;

struct lookup {
    struct ping *ping; /* NULL: nobody waits any more */
    char host[HOST_SIZE];
    char port[16];
    struct addrinfo *found;
};

struct ping {
    struct loop *loop;
    struct loop_timer *limit;
    struct loop_timer *kick; /* a failure that is known at once */
    struct loop_poll *poll;
    int fd;
    bool is_sent;
    struct lookup *lookup;
    struct addrinfo *addresses;
    const struct addrinfo *next; /* to try */
    void (*done)(void *arg, bool is_alive);
    void *arg;
};

static const unsigned char request[] = {0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F}; /* 80877103 */

static void hang_up(struct ping *ping)
{
    loop_poll_free(ping->poll);
    ping->poll = NULL;
    if (ping->fd >= 0) {
        close(ping->fd);
        ping->fd = -1;
    }
}

void ping_free(struct ping *ping)
{
    if (ping == NULL) {
        return;
    }
    hang_up(ping);
    loop_timer_free(ping->limit);
    loop_timer_free(ping->kick);
    if (ping->lookup != NULL) {
        ping->lookup->ping = NULL;
        outlived++;
    }
    if (ping->addresses != NULL) {
        freeaddrinfo(ping->addresses);
    }
    mem_free(ping);
}

static void end(struct ping *ping, bool is_alive)
{
    void (*done)(void *arg, bool is_alive) = ping->done;
    void *arg = ping->arg;

    ping_free(ping);
    done(arg, is_alive);
}

static void on_no(void *arg)
{
    end(arg, false);
}

/* ---- one address after the other ---- */

static void on_ready(void *arg, bool readable, bool writable);

static void try_next(struct ping *ping)
{
    hang_up(ping);
    while (ping->next != NULL) {
        const struct addrinfo *address = ping->next;

        ping->next = address->ai_next;
        ping->is_sent = false;
        ping->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (ping->fd < 0) {
            continue;
        }
        if (connect(ping->fd, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS) {
            ping->poll = loop_poll_new(ping->loop, ping->fd, on_ready, ping);
            loop_poll_set(ping->poll, false, true);
            return;
        }
        hang_up(ping);
    }
    loop_timer_start(ping->kick, 0);
}

static void ask(struct ping *ping)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(ping->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0 ||
        send(ping->fd, request, sizeof(request), MSG_NOSIGNAL) != (ssize_t)sizeof(request)) {
        try_next(ping);
        return;
    }
    ping->is_sent = true;
    loop_poll_set(ping->poll, true, false);
}

/* S, N: with or without TLS; E: too many clients, or starting; G belongs to another question. */
static void on_ready(void *arg, bool readable, bool writable)
{
    struct ping *ping = arg;
    char answer = 0;
    ssize_t count;

    if (!ping->is_sent) {
        if (writable) {
            ask(ping);
        }
        return;
    }
    if (!readable) {
        return;
    }
    count = recv(ping->fd, &answer, 1, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (count == 1 && (answer == 'S' || answer == 'N' || answer == 'E' || answer == 'G')) {
        end(ping, true);
    } else {
        try_next(ping);
    }
}

/* ---- the address ---- */

static struct addrinfo *look_up(const char *host, const char *port, int flags)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *found = NULL;

    return getaddrinfo(host, port, &hints, &found) == 0 ? found : NULL;
}

static void work(void *arg)
{
    struct lookup *lookup = arg;

    lookup->found = look_up(lookup->host, lookup->port, 0);
}

static void on_found(void *arg)
{
    struct lookup *lookup = arg;
    struct ping *ping = lookup->ping;

    if (ping != NULL) {
        ping->lookup = NULL;
        ping->addresses = lookup->found;
        ping->next = lookup->found;
        try_next(ping);
    } else {
        outlived--;
        if (lookup->found != NULL) {
            freeaddrinfo(lookup->found);
        }
    }
    mem_free(lookup);
}

struct ping *ping_start(
    struct loop *loop, const char *host, int port, int64_t timeout_ms,
    void (*done)(void *arg, bool is_alive), void *arg)
{
    struct ping *ping = mem_alloc(sizeof(*ping));
    char service[16];

    ping->loop = loop;
    ping->fd = -1;
    ping->done = done;
    ping->arg = arg;
    ping->limit = loop_timer_new(loop, on_no, ping);
    ping->kick = loop_timer_new(loop, on_no, ping);
    loop_timer_start(ping->limit, timeout_ms);
    IGNORE(!str_format(service, sizeof(service), "%d", port), "fits");
    if (host[0] == '\0' || strlen(host) >= HOST_SIZE) {
        loop_timer_start(ping->kick, 0);
        return ping;
    }
    ping->addresses = look_up(host, service, AI_NUMERICHOST);
    if (ping->addresses != NULL) {
        ping->next = ping->addresses;
        try_next(ping);
        return ping;
    }
    if (outlived >= OUTLIVED_MAX) {
        return ping;
    }
    ping->lookup = mem_alloc(sizeof(*ping->lookup));
    ping->lookup->ping = ping;
    str_copy(ping->lookup->host, sizeof(ping->lookup->host), host);
    str_copy(ping->lookup->port, sizeof(ping->lookup->port), service);
    loop_work(loop, work, on_found, ping->lookup);
    return ping;
}
