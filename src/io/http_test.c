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
#define SLOW_NAME "slow.test"
#define SLOW_NAME_S 3

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
        pause_ms(60);
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

/* A name server that does not answer, as this process sees it: libcurl calls this one. */
__attribute__((visibility("default"))) int getaddrinfo(
    const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    (void)service;
    (void)hints;
    (void)ret;
    if (str_equal(name, SLOW_NAME)) {
        pause_ms(SLOW_NAME_S * INT64_C(1000));
    }
    return EAI_NONAME;
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

static void on_data(void *arg, const char *bytes, size_t length)
{
    struct world *world = arg;

    assert_true(length > 0);
    assert_int_equal(strnlen(bytes, length), length);
    if (world->pieces++ == 0) {
        world->first_piece_ms = instant_elapsed_max_ms(world->began, clock_now());
    }
    world->streamed += length;
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

static void an_answer(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/ok");

    run(world, &options);
    assert_int_equal(world->last.status, 200);
    assert_string_equal(world->body, "fine");
    assert_true(world->took_ms < 1000);
}

static void a_request_as_sent(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/echo");

    options.method = "PATCH";
    options.body = "{\"ttl\":20}";
    options.content_type = "application/json";
    options.authorization = "Bearer token";
    run(world, &options);
    assert_true(str_starts(world->body, "PATCH /echo HTTP/1.1\r\n"));
    assert_true(str_ends(world->body, "\r\n\r\n{\"ttl\":20}"));
    assert_non_null(strstr(world->body, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(world->body, "\r\nAuthorization: Bearer token\r\n"));
    assert_non_null(strstr(world->body, "\r\nContent-Length: 10\r\n"));
    assert_null(strstr(world->body, "Expect"));
}

static void a_large_body_is_not_announced(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/echo");
    AUTO_FREE char *body = mem_alloc(50001);

    memset(body, 'x', 50000);
    options.method = "POST";
    options.body = body;
    run(world, &options);
    assert_int_equal(world->last.status, 200);
    assert_true(str_ends(world->body, body));
    assert_null(strstr(world->body, "Expect"));
}

static void methods_without_a_body(void **state)
{
    const char *methods[] = {"POST", "DELETE", "OPTIONS", "GET"};
    struct world *world = *state;

    for (size_t at = 0; at < ARRAY_LEN(methods); at++) {
        struct http_options options = get(world, "/echo");

        options.method = methods[at];
        world->dones = 0;
        run(world, &options);
        assert_true(str_starts(world->body, methods[at]));
        assert_true((strstr(world->body, "Content-Length: 0\r\n") != NULL) == (at == 0));
    }
}

static void head_has_no_body(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/missing");

    options.method = "HEAD";
    run(world, &options);
    assert_int_equal(world->last.status, 404);
    assert_string_equal(world->body, "");
}

static void basic_authentication(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/echo");

    options.user = "admin";
    options.password = "secret";
    run(world, &options);
    assert_non_null(strstr(world->body, "Authorization: Basic YWRtaW46c2VjcmV0\r\n"));
}

static void other_statuses_are_answers(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/missing");

    run(world, &options);
    assert_int_equal(world->last.status, 404);
    assert_string_equal(world->body, "no such page");
    options = get(world, "/moved");
    world->dones = 0;
    run(world, &options);
    assert_int_equal(world->last.status, 302);
    options = get(world, "/empty");
    world->dones = 0;
    run(world, &options);
    assert_int_equal(world->last.status, 204);
    assert_string_equal(world->body, "");
}

static void no_proxy_is_used(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/ok");

    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1/", 1), 0);
    assert_int_equal(setenv("all_proxy", "http://127.0.0.1:1/", 1), 0);
    run(world, &options);
    assert_int_equal(world->last.status, 200);
    assert_int_equal(unsetenv("http_proxy"), 0);
    assert_int_equal(unsetenv("all_proxy"), 0);
}

static void a_slow_answer_is_cut_off(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/slow");

    options.timeout_ms = 200;
    run(world, &options);
    assert_failed_with(world, ERR_TIMEOUT);
    assert_in_range(world->took_ms, 195, 800);
    /* Dripping does not help: the deadline is for the whole. */
    options = get(world, "/drip");
    options.timeout_ms = 300;
    world->dones = 0;
    run(world, &options);
    assert_failed_with(world, ERR_TIMEOUT);
    assert_in_range(world->took_ms, 295, 900);
}

static void a_half_open_connection_is_cut_off(void **state)
{
    struct world *world = *state;
    struct http_options options = {.method = "GET", .url = world->url, .timeout_ms = 200};
    int port = 0;
    int fd = open_port(&port, 0);

    /* The kernel accepts, nobody reads. */
    assert_true(str_format(world->url, sizeof(world->url), "http://127.0.0.1:%d/", port));
    run(world, &options);
    assert_failed_with(world, ERR_TIMEOUT);
    assert_in_range(world->took_ms, 195, 800);
    close(fd);
}

static void a_refused_connection_is_told_at_once(void **state)
{
    struct world *world = *state;
    struct http_options options = {.method = "GET", .url = world->url, .timeout_ms = 5000};
    int port = 0;
    int fd = open_port(&port, -1);

    assert_true(str_format(world->url, sizeof(world->url), "http://127.0.0.1:%d/", port));
    run(world, &options);
    assert_failed_with(world, ERR_NETWORK);
    assert_true(world->took_ms < 1000);
    close(fd);
}

static void broken_answers(void **state)
{
    const char *paths[] = {"/short", "/garbage", "/close"};
    struct world *world = *state;

    for (size_t at = 0; at < ARRAY_LEN(paths); at++) {
        struct http_options options = get(world, paths[at]);

        world->dones = 0;
        run(world, &options);
        assert_failed_with(world, ERR_NETWORK);
    }
}

static void bad_requests(void **state)
{
    const char *urls[] = {"ftp://127.0.0.1/", "file:///etc/passwd", "http://", "::"};
    struct world *world = *state;

    for (size_t at = 0; at < ARRAY_LEN(urls); at++) {
        struct http_options options = {.method = "GET", .url = urls[at], .timeout_ms = 1000};

        world->dones = 0;
        run(world, &options);
        assert_failed_with(world, ERR_INVALID);
    }
}

static void a_header_cannot_be_smuggled_in(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/echo");

    options.authorization = "Bearer x\r\nX-Evil: 1";
    run(world, &options);
    assert_failed_with(world, ERR_INVALID);
}

static void the_body_has_a_limit(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/much");

    run(world, &options);
    assert_int_equal(world->last.status, 200);
    assert_int_equal(strlen(world->body), HTTP_BODY_MAX);
    options = get(world, "/too-much");
    world->dones = 0;
    run(world, &options);
    assert_failed_with(world, ERR_LIMIT);
}

static void a_mute_name_server_holds_up_nothing(void **state)
{
    struct world *world = *state;
    struct http_options options = {
        .method = "GET", .url = "http://" SLOW_NAME "/", .timeout_ms = 200};
    struct instant before = clock_now();

    run(world, &options);
    assert_failed_with(world, ERR_TIMEOUT);
    assert_in_range(world->took_ms, 195, 1000);
    /* Nor does cancelling, nor freeing. */
    world->dones = 0;
    start(world, &options);
    loop_timer_start(world->end, 100);
    loop_run(world->loop);
    world->is_late = false;
    http_cancel(world->request);
    start(world, &options);
    loop_timer_start(world->end, 100);
    loop_run(world->loop);
    world->is_late = false;
    http_free(world->http);
    world->http = NULL;
    assert_true(instant_elapsed_max_ms(before, clock_now()) < 1500);
    /* Its threads read what belongs to this process. */
    pause_ms(SLOW_NAME_S * INT64_C(1000) + 200);
}

static void an_unknown_name_is_a_network_failure(void **state)
{
    struct world *world = *state;
    struct http_options options = {
        .method = "GET", .url = "http://unknown.test/", .timeout_ms = 2000};

    run(world, &options);
    assert_failed_with(world, ERR_NETWORK);
}

/* ---- streams ---- */

static void a_stream_comes_in_pieces(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/stream");

    options.on_data = on_data;
    options.timeout_ms = 100; /* of the connection only */
    run(world, &options);
    assert_int_equal(world->last.status, 200);
    assert_string_equal(world->body, "");
    assert_int_equal(world->streamed, 18);
    assert_int_equal(world->pieces, 3);
    assert_true(world->first_piece_ms < 60);
    assert_in_range(world->took_ms, 150, 1500);
}

static void a_silent_stream_is_cut_off(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/stream-silent");

    options.on_data = on_data;
    options.silence_ms = 300;
    options.timeout_ms = 100;
    run(world, &options);
    assert_failed_with(world, ERR_TIMEOUT);
    assert_int_equal(world->streamed, 18);
    assert_in_range(world->took_ms, 400, 1500);
    /* From the start on. */
    options = get(world, "/slow");
    options.on_data = on_data;
    options.silence_ms = 100;
    options.timeout_ms = 250;
    world->dones = 0;
    run(world, &options);
    assert_failed_with(world, ERR_TIMEOUT);
    assert_in_range(world->took_ms, 245, 1200);
}

static void a_cut_stream_is_a_failure(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/stream-cut");

    options.on_data = on_data;
    run(world, &options);
    assert_failed_with(world, ERR_NETWORK);
    assert_int_equal(world->streamed, 18);
}

static void a_refused_stream_brings_its_reason(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/missing");

    options.on_data = on_data;
    run(world, &options);
    assert_int_equal(world->last.status, 404);
    assert_string_equal(world->body, "no such page");
    assert_int_equal(world->pieces, 0);
}

/* ---- cancelling inside callbacks ---- */

static void cancel_at_data(void *arg, const char *bytes, size_t length)
{
    struct world *world = arg;

    on_data(arg, bytes, length);
    http_cancel(world->request);
    loop_timer_start(world->end, 200);
}

static void a_stream_may_cancel_itself(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/stream");

    options.on_data = cancel_at_data;
    options.silence_ms = 1000;
    run(world, &options);
    world->is_late = false;
    assert_int_equal(world->pieces, 1);
    assert_int_equal(world->dones, 0);
    http_cancel(NULL);
}

static void on_first_done(void *arg, const struct http_answer *result)
{
    struct world *world = arg;
    struct http_options options = get(world, "/ok");

    assert_int_equal(result->status, 200);
    http_cancel(world->other);
    http_cancel(world->request); /* itself: nothing */
    world->other = NULL;
    world->request = http_start(world->http, &options, on_done, world);
}

static void done_may_cancel_and_start(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/slow");

    world->began = clock_now();
    world->other = http_start(world->http, &options, on_done, world);
    options = get(world, "/ok");
    world->request = http_start(world->http, &options, on_first_done, world);
    loop_run(world->loop);
    assert_int_equal(world->dones, 1);
    assert_int_equal(world->last.status, 200);
    assert_true(world->took_ms < 1500);
}

static void free_at_done(void *arg, const struct http_answer *result)
{
    struct world *world = arg;

    assert_int_equal(result->status, 200);
    http_free(world->http);
    http_free(world->http); /* until this callback returns it is still known */
    assert_string_equal(result->body, "fine");
    world->http = NULL;
    loop_stop(world->loop);
}

static void done_may_free_everything(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/slow");

    world->other = http_start(world->http, &options, on_done, world);
    options = get(world, "/ok");
    world->request = http_start(world->http, &options, free_at_done, world);
    loop_run(world->loop);
    assert_null(world->http);
    assert_int_equal(world->dones, 0);
}

static void free_at_data(void *arg, const char *bytes, size_t length)
{
    struct world *world = arg;

    on_data(arg, bytes, length);
    http_free(world->http);
    world->http = NULL;
    loop_stop(world->loop);
}

static void data_may_free_everything(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/stream");

    options.on_data = free_at_data;
    run(world, &options);
    assert_int_equal(world->pieces, 1);
}

static void freeing_cancels(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/slow");

    start(world, &options);
    loop_timer_start(world->end, 100);
    loop_run(world->loop);
    world->is_late = false;
    http_free(world->http);
    world->http = NULL;
    loop_timer_start(world->end, 100);
    loop_run(world->loop);
    world->is_late = false;
    assert_int_equal(world->dones, 0);
    http_free(NULL);
}

static void many_requests(void **state)
{
    struct world *world = *state;

    world->wanted_dones = 200;
    world->began = clock_now();
    for (int number = 0; number < 200; number++) {
        struct http_options options = get(world, number % 3 == 0 ? "/missing" : "/ok");

        world->request = http_start(world->http, &options, on_done, world);
        if (number % 50 == 49) {
            loop_timer_start(world->end, 20);
            loop_run(world->loop);
            world->is_late = false;
        }
    }
    loop_timer_start(world->end, PATIENCE_MS);
    if (world->dones < 200) {
        loop_run(world->loop);
    }
    assert_int_equal(world->dones, 200);
}

static void a_connection_is_used_again(void **state)
{
    struct world *world = *state;
    struct instant before = clock_now();

    for (int number = 0; number < 200; number++) {
        struct http_options options = get(world, "/ok");

        options.method = "POST";
        options.body = "{}";
        world->dones = 0;
        run(world, &options);
        assert_int_equal(world->last.status, 200);
    }
    /* The delayed acknowledgement that TCP_NODELAY avoids would cost 40 ms each. */
    assert_true(instant_elapsed_max_ms(before, clock_now()) < 4000);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_answer),
        CASE(a_request_as_sent),
        CASE(a_large_body_is_not_announced),
        CASE(methods_without_a_body),
        CASE(head_has_no_body),
        CASE(basic_authentication),
        CASE(other_statuses_are_answers),
        CASE(no_proxy_is_used),
        CASE(a_slow_answer_is_cut_off),
        CASE(a_half_open_connection_is_cut_off),
        CASE(a_refused_connection_is_told_at_once),
        CASE(broken_answers),
        CASE(bad_requests),
        CASE(a_header_cannot_be_smuggled_in),
        CASE(the_body_has_a_limit),
        CASE(an_unknown_name_is_a_network_failure),
        CASE(a_stream_comes_in_pieces),
        CASE(a_silent_stream_is_cut_off),
        CASE(a_cut_stream_is_a_failure),
        CASE(a_refused_stream_brings_its_reason),
        CASE(a_stream_may_cancel_itself),
        CASE(done_may_cancel_and_start),
        CASE(done_may_free_everything),
        CASE(data_may_free_everything),
        CASE(freeing_cancels),
        CASE(many_requests),
        CASE(a_connection_is_used_again),
        CASE(a_mute_name_server_holds_up_nothing),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
