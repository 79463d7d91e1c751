/* etcd_stub_test.h - for the unit tests of this folder: a server that answers as a test says, for
 * what a real etcd does only by chance. Each connection has its own process: what the test and the
 * stub share is in memory that stub_share returns. */
#pragma once

#include "dcs/etcd_test.h"

#include <sys/mman.h>

/* Answer REQUEST, head and body as they came, on FD; may exit, which closes the connection. */
typedef void stub_handler(int fd, void *arg, const char *request);

/* Zeroed; stub_unshare. */
UNUSED static void *stub_share(size_t size)
{
    void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(shared != MAP_FAILED);
    return shared;
}

UNUSED static void stub_unshare(void *shared, size_t size)
{
    munmap(shared, size);
}

UNUSED static void stub_answer(int fd, int status, const char *body)
{
    char head[128];

    str_format(
        head, sizeof(head), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n", status, strlen(body));
    IGNORE(write(fd, head, strlen(head)) < 0, "the client sees");
    IGNORE(write(fd, body, strlen(body)) < 0, "the client sees");
}

/* One connection, request by request. */
UNUSED static void stub_serve(int fd, stub_handler *handler, void *arg)
{
    char request[8192];
    size_t length = 0;

    for (;;) {
        ssize_t got = read(fd, request + length, sizeof(request) - 1 - length);
        const char *body = NULL;
        const char *header = NULL;

        if (got <= 0) {
            _exit(0);
        }
        length += (size_t)got;
        request[length] = '\0';
        body = strstr(request, "\r\n\r\n");
        header = strstr(request, "Content-Length: ");
        if (body == NULL || header == NULL ||
            strlen(body + 4) < (size_t)strtol(header + 16, NULL, 10)) {
            continue;
        }
        handler(fd, arg, request);
        length = 0;
    }
}

/* A socket that listens; its address as URL. */
UNUSED static int stub_listen(char *url, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    str_format(url, size, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}

/* Serve FD, which is closed here, in a process of its own: stub_stop. */
UNUSED static pid_t stub_start(int fd, stub_handler *handler, void *arg)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        signal(SIGCHLD, SIG_IGN);
        for (;;) {
            int client = accept(fd, NULL, NULL);

            if (fork() == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                stub_serve(client, handler, arg);
            }
            close(client);
        }
    }
    /* Here, too: it may not have run yet when it is stopped, and then its group has to exist. */
    IGNORE(setpgid(pid, pid) < 0, "it was quicker");
    close(fd);
    return pid;
}

UNUSED static void stub_stop(pid_t pid)
{
    kill(-pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}
