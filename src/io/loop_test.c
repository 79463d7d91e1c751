#include "io/loop.h"

#include "io/clock.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_MS 5000

/* One loop with a counter of everything; a guard timer ends a test that hangs. */
struct world {
    struct loop *loop;
    struct loop_timer *end;
    struct loop_timer *timer;
    struct loop_poll *poll;
    struct loop_signal *signal;
    struct loop_watch *watch;
    int fired;
    int turns;
    int events_at_turn;
    int fd;
    bool readable;
    bool writable;
    bool is_late;
    bool is_worked;
    bool is_done;
};

static void give_up(void *arg)
{
    struct world *world = arg;

    world->is_late = true;
    loop_stop(world->loop);
}

static void set_up(struct world *world)
{
    *world = (struct world){.loop = loop_new(), .fd = -1};
    world->end = loop_timer_new(world->loop, give_up, world);
    loop_timer_start(world->end, PATIENCE_MS);
}

static void tear_down(struct world *world)
{
    assert_false(world->is_late);
    loop_free(world->loop);
}

static void stop(void *arg)
{
    struct world *world = arg;

    world->fired++;
    loop_stop(world->loop);
}

static void count_turn(void *arg)
{
    struct world *world = arg;

    world->turns++;
    world->events_at_turn = world->fired;
}

static void stop_at_turn(void *arg)
{
    struct world *world = arg;

    world->turns++;
    if (world->fired > 0) {
        loop_stop(world->loop);
    }
}

static void count(void *arg)
{
    struct world *world = arg;

    world->fired++;
}

/* ---- turns ---- */

static void a_timer_alone_ends_in_a_turn_at_once(void **state)
{
    struct world world;
    struct instant before;

    (void)state;
    set_up(&world);
    world.timer = loop_timer_new(world.loop, count, &world);
    loop_timer_start(world.timer, 10);
    loop_on_turn(world.loop, stop_at_turn, &world);
    before = clock_now();
    loop_run(world.loop);
    assert_int_equal(world.fired, 1);
    assert_int_equal(world.turns, 1);
    /* Not with the next event, which is the end of patience. */
    assert_true(instant_elapsed_max_ms(before, clock_now()) < 4500);
    tear_down(&world);
}

static void on_readable(void *arg, bool readable, bool writable)
{
    struct world *world = arg;
    char byte;

    (void)writable;
    assert_true(readable);
    assert_int_equal(read(world->fd, &byte, 1), 1);
    world->fired++;
}

static void a_descriptor_ends_in_a_turn_after_all_callbacks(void **state)
{
    struct world world;
    int pipe_fds[2];

    (void)state;
    set_up(&world);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    world.fd = pipe_fds[0];
    world.poll = loop_poll_new(world.loop, pipe_fds[0], on_readable, &world);
    loop_poll_set(world.poll, true, false);
    assert_int_equal(write(pipe_fds[1], "x", 1), 1);
    loop_on_turn(world.loop, stop_at_turn, &world);
    loop_run(world.loop);
    assert_int_equal(world.fired, 1);
    assert_int_equal(world.turns, 1);
    loop_poll_free(world.poll);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    tear_down(&world);
}

static void nothing_happens_without_events(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    world.timer = loop_timer_new(world.loop, stop, &world);
    loop_on_turn(world.loop, count_turn, &world);
    loop_timer_start(world.timer, 50);
    loop_run(world.loop);
    assert_int_equal(world.fired, 1);
    assert_true(world.turns <= 1);
    tear_down(&world);
}

static void start_again(void *arg)
{
    struct world *world = arg;

    world->fired++;
    if (world->fired == 100) {
        loop_stop(world->loop);
    }
    loop_timer_start(world->timer, 0);
}

static void every_round_has_its_turn(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    world.timer = loop_timer_new(world.loop, start_again, &world);
    loop_on_turn(world.loop, count_turn, &world);
    loop_timer_start(world.timer, 0);
    loop_run(world.loop);
    assert_int_equal(world.fired, 100);
    assert_in_range(world.turns, 99, 100);
    tear_down(&world);
}

static void a_stop_before_the_run_counts(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    loop_stop(world.loop);
    loop_run(world.loop);
    tear_down(&world);
}

/* ---- timers ---- */

static void busy_then_start(void *arg)
{
    struct world *world = arg;
    struct timespec pause = {.tv_nsec = 100 * NS_PER_MS};

    assert_int_equal(nanosleep(&pause, NULL), 0);
    loop_timer_start(world->timer, 50);
}

static void a_timer_counts_from_its_start(void **state)
{
    struct world world;
    struct loop_timer *busy = NULL;
    struct instant before;

    (void)state;
    set_up(&world);
    world.timer = loop_timer_new(world.loop, stop, &world);
    busy = loop_timer_new(world.loop, busy_then_start, &world);
    loop_timer_start(busy, 0);
    before = clock_now();
    loop_run(world.loop);
    assert_in_range(instant_elapsed_max_ms(before, clock_now()), 149, 2000);
    tear_down(&world);
}

static void free_itself_and_the_other(void *arg)
{
    struct world *world = arg;

    world->fired++;
    loop_timer_free(world->timer);
    loop_timer_free(world->end);
    world->end = loop_timer_new(world->loop, stop, world);
    loop_timer_start(world->end, 20);
}

static void a_timer_may_free_timers(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    world.timer = loop_timer_new(world.loop, free_itself_and_the_other, &world);
    loop_timer_start(world.timer, 1);
    loop_run(world.loop);
    assert_int_equal(world.fired, 2);
    loop_timer_free(NULL);
    tear_down(&world);
}

static void a_stopped_timer_does_not_fire(void **state)
{
    struct world world;
    struct loop_timer *last = NULL;

    (void)state;
    set_up(&world);
    world.timer = loop_timer_new(world.loop, count, &world);
    last = loop_timer_new(world.loop, stop, &world);
    loop_timer_start(world.timer, 5);
    loop_timer_start(last, 30);
    loop_timer_stop(world.timer);
    loop_run(world.loop);
    assert_int_equal(world.fired, 1);
    tear_down(&world);
}

/* ---- descriptors ---- */

static void on_refused(void *arg, bool readable, bool writable)
{
    struct world *world = arg;

    world->readable = readable;
    world->writable = writable;
    world->fired++;
    /* Two times: the watch goes on after an error that nobody reacted to. */
    if (world->fired == 2) {
        loop_poll_free(world->poll);
        close(world->fd);
        loop_stop(world->loop);
    }
}

static void an_error_shows_as_ready(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct world world;
    socklen_t length = sizeof(address);
    int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    set_up(&world);
    /* A port that is bound but not listening refuses. */
    assert_int_equal(bind(taken, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&address, &length), 0);
    world.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(world.fd, (struct sockaddr *)&address, sizeof(address)), -1);
    world.poll = loop_poll_new(world.loop, world.fd, on_refused, &world);
    loop_poll_set(world.poll, false, true);
    loop_run(world.loop);
    assert_int_equal(world.fired, 2);
    assert_true(world.readable);
    assert_true(world.writable);
    close(taken);
    tear_down(&world);
}

static void free_and_reopen(void *arg, bool readable, bool writable)
{
    struct world *world = arg;
    int pipe_fds[2];
    int old = world->fd;

    (void)readable;
    (void)writable;
    world->fired++;
    loop_poll_free(world->poll);
    close(old);
    if (world->fired == 3) {
        world->fd = -1;
        loop_stop(world->loop);
        return;
    }
    /* The kernel gives the same number again, as it does to libpq and libcurl. */
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pipe_fds[0], old);
    world->fd = pipe_fds[0];
    world->poll = loop_poll_new(world->loop, world->fd, free_and_reopen, world);
    loop_poll_set(world->poll, true, false);
    close(pipe_fds[1]);
}

static void a_number_may_be_closed_and_used_again(void **state)
{
    struct world world;
    int pipe_fds[2];

    (void)state;
    set_up(&world);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    world.fd = pipe_fds[0];
    world.poll = loop_poll_new(world.loop, world.fd, free_and_reopen, &world);
    loop_poll_set(world.poll, true, false);
    close(pipe_fds[1]);
    loop_run(world.loop);
    assert_int_equal(world.fired, 3);
    tear_down(&world);
}

static void pause_itself(void *arg, bool readable, bool writable)
{
    struct world *world = arg;

    (void)readable;
    (void)writable;
    world->fired++;
    loop_poll_set(world->poll, false, false);
    loop_timer_start(world->timer, 30);
}

static void a_paused_descriptor_is_quiet(void **state)
{
    struct world world;
    int pipe_fds[2];

    (void)state;
    set_up(&world);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    world.timer = loop_timer_new(world.loop, stop, &world);
    world.poll = loop_poll_new(world.loop, pipe_fds[0], pause_itself, &world);
    loop_poll_set(world.poll, true, false);
    assert_int_equal(write(pipe_fds[1], "x", 1), 1);
    loop_run(world.loop);
    assert_int_equal(world.fired, 2); /* once, then the timer */
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    tear_down(&world);
}

/* ---- signals, work, children ---- */

static void on_signal(void *arg)
{
    struct world *world = arg;

    world->fired++;
    loop_signal_free(world->signal);
    loop_stop(world->loop);
}

static void on_entry(void *arg, const char *name)
{
    struct world *world = arg;

    assert_string_equal(name, "made");
    world->fired++;
    loop_watch_free(world->watch);
    loop_stop(world->loop);
}

static void a_new_file_is_seen(void **state)
{
    char folder[] = "/tmp/baton-loop-XXXXXX";
    char path[64];
    struct world world;
    FILE *file;

    (void)state;
    set_up(&world);
    assert_non_null(mkdtemp(folder));
    world.watch = loop_watch_new(world.loop, folder, on_entry, &world);
    assert_non_null(world.watch);
    snprintf(path, sizeof(path), "%s/made", folder);
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    loop_run(world.loop);
    assert_int_equal(world.fired, 1);
    remove(path);
    remove(folder);
    assert_null(loop_watch_new(world.loop, folder, on_entry, &world));
    loop_watch_free(NULL);
    tear_down(&world);
}

static void a_signal_arrives(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    world.signal = loop_signal_new(world.loop, SIGUSR1, on_signal, &world);
    assert_int_equal(raise(SIGUSR1), 0);
    loop_run(world.loop);
    assert_int_equal(world.fired, 1);
    loop_signal_free(NULL);
    tear_down(&world);
}

static void do_work(void *arg)
{
    struct world *world = arg;
    struct timespec pause = {.tv_nsec = 50 * NS_PER_MS};

    nanosleep(&pause, NULL);
    world->is_worked = true;
}

static void on_worked(void *arg)
{
    struct world *world = arg;

    assert_true(world->is_worked);
    world->is_done = true;
    world->fired++;
    loop_stop(world->loop);
}

static void work_is_done_elsewhere(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    loop_on_turn(world.loop, count_turn, &world);
    loop_work(world.loop, do_work, on_worked, &world);
    loop_run(world.loop);
    assert_true(world.is_done);
    assert_int_equal(world.turns, 1);
    assert_int_equal(world.events_at_turn, 1);
    tear_down(&world);
}

static void freeing_waits_for_work(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    loop_work(world.loop, do_work, on_worked, &world);
    loop_free(world.loop);
    assert_true(world.is_done);
    loop_free(NULL);
}

static void a_killed_child_is_collected(void **state)
{
    struct world world;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        struct timespec pause = {.tv_nsec = 60 * NS_PER_MS};

        nanosleep(&pause, NULL);
        _exit(0);
    }
    set_up(&world);
    world.timer = loop_timer_new(world.loop, stop, &world);
    loop_timer_start(world.timer, 400);
    loop_reap(world.loop, pid);
    loop_run(world.loop);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    tear_down(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_alone_ends_in_a_turn_at_once),
        cmocka_unit_test(a_descriptor_ends_in_a_turn_after_all_callbacks),
        cmocka_unit_test(nothing_happens_without_events),
        cmocka_unit_test(every_round_has_its_turn),
        cmocka_unit_test(a_stop_before_the_run_counts),
        cmocka_unit_test(a_timer_counts_from_its_start),
        cmocka_unit_test(a_timer_may_free_timers),
        cmocka_unit_test(a_stopped_timer_does_not_fire),
        cmocka_unit_test(an_error_shows_as_ready),
        cmocka_unit_test(a_number_may_be_closed_and_used_again),
        cmocka_unit_test(a_paused_descriptor_is_quiet),
        cmocka_unit_test(a_new_file_is_seen),
        cmocka_unit_test(a_signal_arrives),
        cmocka_unit_test(work_is_done_elsewhere),
        cmocka_unit_test(freeing_waits_for_work),
        cmocka_unit_test(a_killed_child_is_collected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
