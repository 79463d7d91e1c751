#include "io/listen.h"

#include "base/assert.h"
#include "base/str.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* Connections that the kernel holds ready while the loop is busy elsewhere. */
#define BACKLOG 511

static int explain(const char *host, int port, struct err *e)
{
    switch (errno) {
    case EADDRINUSE:
        return FAIL(
            e, ERR_IO,
            "cannot listen on %s port %d: another program does\n"
            "hint: 'ss -ltnp sport = :%d' names it; stop it or change restapi.listen",
            host, port, port);
    case EADDRNOTAVAIL:
        return FAIL(
            e, ERR_CONFIG,
            "cannot listen on %s port %d: it is not an address of this host\n"
            "hint: set restapi.listen to 0.0.0.0:%d or to an address that 'ip address' shows",
            host, port, port);
    case EACCES:
        return FAIL(
            e, ERR_DENIED,
            "cannot listen on %s port %d: not permitted\nhint: use a port above 1023", host, port);
    default:
        return FAIL(e, ERR_IO, "cannot listen on %s port %d: %s", host, port, strerror(errno));
    }
}

/* A listening socket for one address, or -1 with errno. */
static int open_listener(const struct addrinfo *address)
{
    const int on = 1;
    const int off = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int saved;

    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        (address->ai_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0) &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
        return fd;
    }
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int listen_open(const char *host, int port, int *ret_fd, struct err *e)
{
    static const char *const every[] = {"::", "0.0.0.0", NULL};
    const char *one[] = {host, NULL};
    bool is_every = host[0] == '\0' || str_equal(host, "*");
    char service[16];

    IGNORE(!str_format(service, sizeof(service), "%d", port), "fits");
    /* A kernel without IPv6 refuses "::"; then IPv4 alone is every address. */
    for (const char *const *at = is_every ? every : one; *at != NULL; at++) {
        const struct addrinfo hints = {
            .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
        struct addrinfo *found = NULL;
        int r = getaddrinfo(*at, service, &hints, &found);

        if (r != 0) {
            return FAIL(
                e, ERR_CONFIG,
                "cannot listen on %s: %s\nhint: set restapi.listen to an address of this host", *at,
                r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
        }
        *ret_fd = open_listener(found);
        freeaddrinfo(found);
        if (*ret_fd >= 0) {
            return 0;
        }
        if (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL) {
            break;
        }
    }
    return explain(is_every ? "*" : host, port, e);
}

int listen_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    socklen_t size = sizeof(address);

    ASSERT(getsockname(fd, &address.any, &size) == 0);
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

void listen_hang_up(int fd)
{
    IGNORE(shutdown(fd, SHUT_RDWR), "it is gone already");
}
