/* http_test.h - what the tests of http.c share: a server in a forked process and a client that
 * notes what comes. */
#pragma once

#include "io/http.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"

#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_MS 10000
#define REQUEST_MAX 65536
#define PIECE_MS 250 /* between the pieces of a stream; there are three */

/* ---- a server in a forked process: one connection at a time, the path tells what to do ---- */

struct server {
    pid_t pid;
    int port;
};

static void pause_ms(int64_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS};

    nanosleep(&pause, NULL);
}

static void say(int fd, const char *text)
{
    IGNORE(send(fd, text, strlen(text), MSG_NOSIGNAL) < 0, "the client went away");
}

static void say_whole(int fd, const char *status, const char *body)
{
    char head[256];

    IGNORE(
        !str_format(
            head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, strlen(body)),
        "fits");
    IGNORE(send(fd, head, strlen(head), MSG_NOSIGNAL | MSG_MORE) < 0, "the client went away");
    say(fd, body);
}

static void say_chunk(int fd, const char *text)
{
    char chunk[256];

    IGNORE(!str_format(chunk, sizeof(chunk), "%zx\r\n%s\r\n", strlen(text), text), "fits");
    say(fd, chunk);
}

static void say_much(int fd, size_t bytes)
{
    static char block[65536];
    char head[256];

    memset(block, 'b', sizeof(block));
    IGNORE(
        !str_format(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", bytes),
        "fits");
    say(fd, head);
    for (size_t sent = 0; sent < bytes;) {
        ssize_t step = send(fd, block, MIN(sizeof(block), bytes - sent), MSG_NOSIGNAL);

        if (step <= 0) {
            return;
        }
        sent += (size_t)step;
    }
}

static void stream(int fd, const char *request)
{
    say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int number = 0; number < 3; number++) {
        say_chunk(fd, "event\n");
        pause_ms(PIECE_MS);
    }
    if (strstr(request, "/stream-silent") != NULL) {
        pause_ms(5000);
    }
    if (strstr(request, "/stream-cut") == NULL) {
        say(fd, "0\r\n\r\n");
    }
}

/* False: close the connection. */
static bool answer(int fd, const char *request)
{
    if (strstr(request, " /ok ") != NULL) {
        say_whole(fd, "200 OK", "fine");
    } else if (strstr(request, " /echo ") != NULL) {
        say_whole(fd, "200 OK", request);
    } else if (strstr(request, " /missing ") != NULL) {
        say_whole(fd, "404 Not Found", "no such page");
    } else if (strstr(request, " /moved ") != NULL) {
        say(fd, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
    } else if (strstr(request, " /empty ") != NULL) {
        say(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    } else if (strstr(request, " /slow ") != NULL) {
        pause_ms(3000);
    } else if (strstr(request, " /drip ") != NULL) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        for (int number = 0; number < 100; number++) {
            say(fd, "x");
            pause_ms(50);
        }
    } else if (strstr(request, " /much ") != NULL) {
        say_much(fd, HTTP_BODY_MAX);
    } else if (strstr(request, " /too-much ") != NULL) {
        say_much(fd, HTTP_BODY_MAX + 1);
    } else if (strstr(request, " /short ") != NULL) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
        return false;
    } else if (strstr(request, " /garbage ") != NULL) {
        say(fd, "220 mail.example.com ESMTP\r\n");
        return false;
    } else if (strstr(request, " /stream") != NULL) {
        stream(fd, request);
        return strstr(request, "/stream-cut") == NULL;
    }
    return strstr(request, " /close ") == NULL;
}

/* Read one request, its body included, into TEXT. False at the end. */
static bool read_request(int fd, char *text)
{
    size_t used = 0;

    for (;;) {
        ssize_t step = recv(fd, text + used, REQUEST_MAX - 1 - used, 0);
        char *body = NULL;
        char *length_at = NULL;
        size_t length = 0;

        if (step <= 0) {
            return false;
        }
        used += (size_t)step;
        text[used] = '\0';
        body = strstr(text, "\r\n\r\n");
        if (body == NULL) {
            continue;
        }
        length_at = strstr(text, "Content-Length: ");
        for (char *at = length_at != NULL ? length_at + 16 : text; *at >= '0' && *at <= '9'; at++) {
            length = length * 10 + (size_t)(*at - '0');
        }
        if (used >= (size_t)(body + 4 - text) + length) {
            return true;
        }
    }
}

__attribute__((noreturn)) static void serve(int listen_fd)
{
    static char text[REQUEST_MAX];

    for (;;) {
        int fd = accept(listen_fd, NULL, NULL);

        /* Each connection in a process of its own: a slow one does not hold up the others. */
        if (fork() == 0) {
            close(listen_fd);
            while (read_request(fd, text) && answer(fd, text)) {
                /* the next request */
            }
            _exit(0);
        }
        close(fd);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
            /* collected */
        }
    }
}

static int open_port(int *ret_port, int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    if (backlog >= 0) {
        assert_int_equal(listen(fd, backlog), 0);
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static struct server server;

static int start_server(void **state)
{
    int fd = open_port(&server.port, 64);

    (void)state;
    server.pid = fork();
    if (server.pid == 0) {
        setpgid(0, 0);
        serve(fd);
    }
    setpgid(server.pid, server.pid);
    close(fd);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    assert_int_equal(kill(-server.pid, SIGKILL), 0);
    return waitpid(server.pid, NULL, 0) != server.pid;
}

/* ---- the client ---- */

struct world {
    struct loop *loop;
    struct loop_timer *end;
    struct http *http;
    struct http_request *request;
    struct http_request *other;
    struct instant began;
    char url[256];
    /* What came. */
    struct http_answer last;
    char *body;
    char why[512];
    int dones;
    int wanted_dones;
    int pieces;
    size_t streamed;
    int64_t took_ms;
    int64_t first_piece_ms;
    bool is_late;
};

static void give_up(void *arg)
{
    struct world *world = arg;

    world->is_late = true;
    loop_stop(world->loop);
}

static int set_up(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));

    world->loop = loop_new();
    world->http = http_new(world->loop);
    world->end = loop_timer_new(world->loop, give_up, world);
    world->wanted_dones = 1;
    loop_timer_start(world->end, PATIENCE_MS);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    assert_false(world->is_late);
    http_free(world->http);
    loop_free(world->loop);
    mem_free(world->body);
    mem_free(world);
    return 0;
}

static void on_done(void *arg, const struct http_answer *result)
{
    struct world *world = arg;

    world->last = *result;
    world->body = mem_free(world->body);
    world->body = mem_dup(result->body);
    assert_int_equal(strlen(result->body), result->length);
    assert_true((result->status > 0) != (result->result < 0));
    assert_true((result->why != NULL) == (result->result < 0));
    if (result->why != NULL) {
        IGNORE(!str_copy(world->why, sizeof(world->why), result->why), "cut then");
    }
    world->took_ms = instant_elapsed_max_ms(world->began, clock_now());
    if (++world->dones == world->wanted_dones) {
        loop_stop(world->loop);
    }
}

static struct http_options get(struct world *world, const char *path)
{
    assert_true(
        str_format(world->url, sizeof(world->url), "http://127.0.0.1:%d%s", server.port, path));
    return (struct http_options){.method = "GET", .url = world->url, .timeout_ms = 5000};
}

static void start(struct world *world, const struct http_options *options)
{
    world->began = clock_now();
    world->request = http_start(world->http, options, on_done, world);
    assert_int_equal(world->dones, 0);
}

static void run(struct world *world, const struct http_options *options)
{
    start(world, options);
    loop_run(world->loop);
}

static void assert_failed_with(const struct world *world, int code)
{
    assert_int_equal(world->last.result, code);
    assert_int_equal(world->last.status, 0);
    assert_string_equal(world->body, "");
    assert_true(world->why[0] != '\0');
}
