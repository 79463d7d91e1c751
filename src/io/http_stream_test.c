#include "io/http_test.h"

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

/* ---- streams ---- */

static void a_stream_comes_in_pieces(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/stream");

    options.on_data = on_data;
    options.timeout_ms = 2 * PIECE_MS; /* of the connection only */
    run(world, &options);
    assert_int_equal(world->last.status, 200);
    assert_string_equal(world->body, "");
    assert_int_equal(world->streamed, 18);
    assert_in_range(world->pieces, 2, 3);
    assert_true(world->first_piece_ms + PIECE_MS <= world->took_ms);
    assert_true(world->took_ms > options.timeout_ms);
}

static void a_silent_stream_is_cut_off(void **state)
{
    struct world *world = *state;
    struct http_options options = get(world, "/stream-silent");

    options.on_data = on_data;
    options.silence_ms = 2 * PIECE_MS;
    options.timeout_ms = 2 * PIECE_MS; /* of the connection only */
    run(world, &options);
    assert_failed_with(world, ERR_TIMEOUT);
    assert_int_equal(world->streamed, 18);
    assert_in_range(world->took_ms, 3 * PIECE_MS, 4900); /* two pauses, then the silence */
    /* From the start on. */
    options = get(world, "/slow");
    options.on_data = on_data;
    options.silence_ms = 100;
    options.timeout_ms = 250;
    world->dones = 0;
    run(world, &options);
    assert_failed_with(world, ERR_TIMEOUT);
    assert_in_range(world->took_ms, 245, 2900);
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
    assert_true(world->took_ms < 2900);
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_stream_comes_in_pieces),
        CASE(a_silent_stream_is_cut_off),
        CASE(a_cut_stream_is_a_failure),
        CASE(a_refused_stream_brings_its_reason),
        CASE(a_stream_may_cancel_itself),
        CASE(done_may_cancel_and_start),
        CASE(done_may_free_everything),
        CASE(data_may_free_everything),
        CASE(freeing_cancels),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
