/* port_test.h - loopback ports for the servers of unit tests, which run side by side.
 *
 * Nobody listens on them when they are given, and no test gets one that another one has: whoever
 * has port N holds the abstract socket "baton-test-port-N" to its end (tests/cluster/cluster.py
 * does the same). They lie below those that the kernel takes for outgoing connections: one of these
 * would be in the way when a server comes back. */
#pragma once

#include "base/str.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* It is never closed. */
static bool port_claim(int port)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size;

    assert_true(fd >= 0);
    str_format(address.sun_path + 1, sizeof(address.sun_path) - 1, "baton-test-port-%d", port);
    size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address.sun_path + 1));
    if (bind(fd, (struct sockaddr *)&address, size) == 0) {
        return true;
    }
    close(fd);
    return false;
}

static bool port_is_silent(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_silent;

    assert_true(fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_silent = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return is_silent;
}

UNUSED static int free_port(void)
{
    enum { LOWEST = 10240, COUNT = 32768 - LOWEST, SHARE = 211 };
    static int next = -1;

    next = next < 0 ? getpid() % (COUNT / SHARE) * SHARE : next;
    for (int tries = 0; tries < COUNT; tries++) {
        next = (next + 1) % COUNT;
        if (port_is_silent(LOWEST + next) && port_claim(LOWEST + next)) {
            return LOWEST + next;
        }
    }
    fail_msg("there is no free port");
    return -1;
}
