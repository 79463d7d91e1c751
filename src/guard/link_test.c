#include "io/guard_link.h"

#include "guard/bed_test.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"
#include "io/file.h"

#include <setjmp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

/* A link on a loop that stops as soon as `wanted` holds for what the link said last. */
struct world {
    struct bed bed;
    struct loop *loop;
    struct loop_timer *end;
    struct guard_link *link;
    char log_path[128];
    struct guard_state state;
    bool has_state;
    int reports;
    int losses;
    bool is_late;
    bool (*wanted)(const struct world *world);
};

static void give_up(void *arg)
{
    struct world *world = arg;

    world->is_late = true;
    loop_stop(world->loop);
}

static void on_state(void *arg, const struct guard_state *state)
{
    struct world *world = arg;

    world->reports++;
    world->has_state = state != NULL;
    if (state != NULL) {
        world->state = *state;
    } else {
        world->losses++;
    }
    if (world->wanted != NULL && world->wanted(world)) {
        loop_stop(world->loop);
    }
}

static struct guard_link *new_link(struct world *world, const char *program)
{
    return guard_link_new(
        world->loop,
        &(struct guard_link_options){
            .program = program,
            .socket_path = world->bed.socket_path,
            .log_path = world->log_path,
        },
        &(struct guard_listener){.on_state = on_state, .arg = world});
}

static int set_up(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));

    bed_open_without_guard(&world->bed);
    assert_true(str_format(world->log_path, sizeof(world->log_path), "%s/log", world->bed.folder));
    world->loop = loop_new();
    world->end = loop_timer_new(world->loop, give_up, world);
    world->link = new_link(world, bed_guard_program);
    assert_int_equal(world->reports, 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    guard_link_free(world->link);
    loop_free(world->loop);
    if (world->state.guard_pid > 0) {
        /* Not a child of this process: it was detached. */
        kill((pid_t)world->state.guard_pid, SIGKILL);
    }
    bed_close(&world->bed);
    mem_free(world);
    return 0;
}

static bool has_guard(const struct world *world)
{
    return world->has_state;
}

static bool has_lost_guard(const struct world *world)
{
    return !world->has_state;
}

static bool has_process(const struct world *world)
{
    return world->has_state && world->state.pid > 0;
}

static bool has_deadline(const struct world *world)
{
    return world->has_state && instant_is_set(world->state.deadline);
}

static bool has_ended(const struct world *world)
{
    return world->has_state && world->state.pid == 0 && world->state.starts > 0;
}

static void run_until(struct world *world, bool (*wanted)(const struct world *world))
{
    world->wanted = wanted;
    world->is_late = false;
    loop_timer_start(world->end, PATIENCE_MS);
    loop_run(world->loop);
    assert_false(world->is_late);
    world->wanted = NULL;
}

static void run_for(struct world *world, int64_t ms)
{
    loop_timer_start(world->end, ms);
    loop_run(world->loop);
    world->is_late = false;
}

static int start(struct world *world, const char *mode, struct err *e)
{
    const char *argv[] = {bed_own_program, mode, world->bed.pids_path, NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", "ASAN_OPTIONS=detect_leaks=0", NULL};

    return guard_start(world->link, argv, env, "/", world->bed.output_path, e);
}

static void a_guard_is_started(void **state)
{
    struct world *world = *state;
    struct instant before = clock_now();

    run_until(world, has_guard);
    assert_true(instant_elapsed_max_ms(before, clock_now()) < 8000);
    assert_int_equal(world->state.pid, 0);
    assert_int_equal(getsid((pid_t)world->state.guard_pid) == getsid(0), 0);
}

static void a_process_from_start_to_fence(void **state)
{
    struct world *world = *state;
    struct err e = {0};
    struct instant now;

    assert_int_equal(start(world, "--tree", &e), ERR_UNAVAILABLE);
    run_until(world, has_guard);
    assert_int_equal(start(world, "--tree", &e), 0);
    run_until(world, has_process);
    bed_wait_for_tree(&world->bed, TREE_SIZE);
    now = clock_now();
    guard_arm(world->link, instant_add_ms(now, 60000));
    run_until(world, has_deadline);
    guard_kill(world->link);
    run_until(world, has_ended);
    assert_int_equal(world->state.was_killed, 1);
    assert_int_equal(bed_count(&world->bed), 0);
    assert_int_equal(start(world, "--tree", &e), 0);
    run_until(world, has_process);
    bed_wait_for_tree(&world->bed, TREE_SIZE);
    guard_arm(world->link, bed_in(200));
    run_until(world, has_ended);
    assert_int_equal(world->state.was_fenced, 1);
    assert_int_equal(world->state.starts, 2);
    assert_int_equal(bed_count(&world->bed), 0);
}

static void a_signal_is_passed_on(void **state)
{
    struct world *world = *state;

    run_until(world, has_guard);
    assert_int_equal(start(world, "--obey", NULL), 0);
    run_until(world, has_process);
    bed_wait_for_obedience(&world->bed);
    guard_signal(world->link, SIGINT);
    run_until(world, has_ended);
    assert_int_equal(world->state.exit_code, 7);
}

static void another_agent_finds_everything(void **state)
{
    struct world *world = *state;
    int64_t guard_pid;

    run_until(world, has_guard);
    guard_pid = world->state.guard_pid;
    assert_int_equal(start(world, "--obey", NULL), 0);
    run_until(world, has_process);
    guard_arm(world->link, bed_in(60000));
    run_until(world, has_deadline);
    guard_link_free(world->link);
    run_for(world, 100);
    assert_int_equal(bed_count(&world->bed), 1);
    world->state = (struct guard_state){0};
    world->link = new_link(world, bed_guard_program);
    run_until(world, has_guard);
    assert_int_equal(world->state.guard_pid, guard_pid);
    assert_int_equal(world->state.starts, 1);
    assert_true(has_deadline(world));
}

static void a_lost_guard_is_told_and_replaced(void **state)
{
    struct world *world = *state;
    int64_t first;
    int losses;

    run_until(world, has_guard);
    first = world->state.guard_pid;
    losses = world->losses;
    assert_int_equal(start(world, "--obey", NULL), 0);
    run_until(world, has_process);
    assert_int_equal(kill((pid_t)first, SIGKILL), 0);
    run_until(world, has_lost_guard);
    assert_int_equal(world->losses, losses + 1);
    assert_int_equal(start(world, "--obey", NULL), ERR_UNAVAILABLE);
    run_until(world, has_guard);
    assert_int_not_equal(world->state.guard_pid, first);
    assert_int_equal(world->state.starts, 0);
    bed_wait_for_tree(&world->bed, 0);
    /* Commands between the death and its discovery are lost without harm. */
    first = world->state.guard_pid;
    assert_int_equal(kill((pid_t)first, SIGKILL), 0);
    bed_pause(50);
    guard_arm(world->link, bed_in(1000));
    guard_kill(world->link);
    IGNORE(start(world, "--obey", NULL) < 0, "it cannot know");
    run_until(world, has_lost_guard);
    run_until(world, has_guard);
}

static void a_retired_guard_is_gone(void **state)
{
    struct world *world = *state;
    int64_t first;

    run_until(world, has_guard);
    first = world->state.guard_pid;
    guard_retire(world->link);
    run_until(world, has_lost_guard);
    /* The link starts another one: retiring for good means freeing the link as well. */
    run_until(world, has_guard);
    assert_int_not_equal(world->state.guard_pid, first);
    guard_retire(world->link);
}

static void without_a_program_there_is_no_guard(void **state)
{
    struct world *world = *state;

    guard_link_free(world->link);
    world->link = new_link(world, "/nowhere/baton-guard");
    run_until(world, has_lost_guard);
    run_for(world, 300);
    assert_int_equal(world->reports, 1);
    /* Somebody else starts one. */
    guard_link_free(world->link);
    world->link = new_link(world, bed_guard_program);
    run_until(world, has_guard);
}

static void two_links_share_a_guard(void **state)
{
    struct world *world = *state;
    struct guard_link *first = world->link;
    struct guard_link *second = new_link(world, bed_guard_program);

    run_until(world, has_guard);
    run_for(world, 500);
    assert_int_equal(world->losses <= 2, 1);
    assert_int_equal(
        guard_start(second, (const char *[]){"/bin/true", NULL}, NULL, NULL, NULL, NULL), 0);
    run_until(world, has_ended);
    assert_int_equal(world->state.exit_code, 0);
    guard_link_free(second);
    world->link = first;
}

static void too_much_to_start(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *large = mem_alloc(GUARD_TEXT_MAX);
    const char *argv[] = {"/bin/true", large, NULL};
    struct err e = {0};

    run_until(world, has_guard);
    memset(large, 'x', GUARD_TEXT_MAX - 1);
    assert_int_equal(guard_start(world->link, argv, NULL, NULL, NULL, &e), ERR_LIMIT);
    large[GUARD_TEXT_MAX - 1 - sizeof("/bin/true") - sizeof("/") - sizeof("")] = '\0';
    assert_int_equal(guard_start(world->link, argv, NULL, NULL, NULL, &e), 0);
    run_until(world, has_ended);
    assert_int_equal(world->state.exit_code, 0);
    assert_int_equal(world->state.start_errno, 0);
}

static struct world *freeing_world;

static void free_at_state(void *arg, const struct guard_state *state)
{
    struct world *world = arg;

    if (state != NULL) {
        world->state = *state;
        guard_link_free(freeing_world->link);
        freeing_world->link = NULL;
        loop_stop(world->loop);
    }
}

static void a_link_may_be_freed_inside_its_callback(void **state)
{
    struct world *world = *state;

    guard_link_free(world->link);
    freeing_world = world;
    world->link = guard_link_new(
        world->loop,
        &(struct guard_link_options){
            .program = bed_guard_program,
            .socket_path = world->bed.socket_path,
            .log_path = world->log_path,
        },
        &(struct guard_listener){.on_state = free_at_state, .arg = world});
    loop_timer_start(world->end, PATIENCE_MS);
    loop_run(world->loop);
    assert_null(world->link);
    guard_link_free(NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_guard_is_started),
        CASE(a_process_from_start_to_fence),
        CASE(a_signal_is_passed_on),
        CASE(another_agent_finds_everything),
        CASE(a_lost_guard_is_told_and_replaced),
        CASE(a_retired_guard_is_gone),
        CASE(without_a_program_there_is_no_guard),
        CASE(two_links_share_a_guard),
        CASE(too_much_to_start),
        CASE(a_link_may_be_freed_inside_its_callback),
    };

    bed_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
