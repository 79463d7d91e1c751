#include "io/http_test.h"

#define SLOW_NAME "slow.test"
#define SLOW_NAME_S 6

/* A name server that does not answer, as this process sees it: libcurl calls this one. */
__attribute__((visibility("default"))) int getaddrinfo(
    const char *name, const char *service, const struct addrinfo *req, struct addrinfo **pai)
{
    (void)service;
    (void)req;
    (void)pai;
    if (str_equal(name, SLOW_NAME)) {
        pause_ms(SLOW_NAME_S * INT64_C(1000));
    }
    return EAI_NONAME;
}

static void an_answer(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/ok");

    run(world, &options);
    assert_int_equal(world->last.status, 200);
    assert_string_equal(world->body, "fine");
    assert_true(world->took_ms < 4000);
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
    assert_in_range(world->took_ms, 195, 2900);
    /* Dripping does not help: the deadline is for the whole. */
    options = get(world, "/drip");
    options.timeout_ms = 300;
    world->dones = 0;
    run(world, &options);
    assert_failed_with(world, ERR_TIMEOUT);
    assert_in_range(world->took_ms, 295, 2900);
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
    assert_in_range(world->took_ms, 195, 2900);
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
    assert_true(world->took_ms < 4000);
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
    assert_in_range(world->took_ms, 195, 2900);
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
    assert_true(instant_elapsed_max_ms(before, clock_now()) < SLOW_NAME_S * INT64_C(1000) - 500);
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
    int delayed = 0;

    for (int number = 0; number < 200; number++) {
        struct http_options options = get(world, "/ok");

        options.method = "POST";
        options.body = "{}";
        world->dones = 0;
        run(world, &options);
        assert_int_equal(world->last.status, 200);
        delayed += world->took_ms >= 35;
    }
    /* The delayed acknowledgement that TCP_NODELAY avoids would cost 40 ms each. */
    assert_true(delayed < 150);
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
        CASE(many_requests),
        CASE(a_connection_is_used_again),
        CASE(a_mute_name_server_holds_up_nothing),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
