/* What the driver makes of the probe's answers. The probe is played by this file. */
#include "engine/postgres/driver.h"
#include "io/clock.h"
#include "io/disk_probe.h"

#include <setjmp.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

struct disk_probe {
    void (*done)(void *arg, int error, const char *path);
    void *arg;
    bool is_busy;
    unsigned starts;
};

static struct disk_probe the_probe;

struct disk_probe *disk_probe_new(
    struct loop *loop, void (*done)(void *arg, int error, const char *path), void *arg)
{
    assert_non_null(loop);
    the_probe = (struct disk_probe){.done = done, .arg = arg};
    return &the_probe;
}

bool disk_probe_start(struct disk_probe *probe, const char *const *paths, unsigned count)
{
    assert_false(probe->is_busy);
    assert_int_equal(count, 2);
    assert_string_equal(paths[0], "/srv/data");
    assert_string_equal(paths[1], "/srv/data/pg_wal");
    probe->is_busy = true;
    probe->starts++;
    loop_stop(((struct postgres *)probe->arg)->loop);
    return true;
}

bool disk_probe_is_busy(const struct disk_probe *probe)
{
    return probe->is_busy;
}

void disk_probe_free(struct disk_probe *probe)
{
    assert_ptr_equal(probe, &the_probe);
}

static void answer(int error)
{
    the_probe.is_busy = false;
    the_probe.done(the_probe.arg, error, "/srv/data/pg_wal");
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

/* Until something stops the loop. */
static void run_for(struct postgres *pg, int64_t ms)
{
    struct loop_timer *timer = loop_timer_new(pg->loop, stop_loop, pg->loop);

    loop_timer_start(timer, ms);
    loop_run(pg->loop);
    loop_timer_free(timer);
}

static int set_up(void **state)
{
    struct postgres *pg = mem_alloc(sizeof(*pg));

    pg->loop = loop_new();
    pg->is_closed = true; /* reports to nobody */
    pg->guard.pid = 1;
    pg->has_cluster = true; /* with the shortest loop_wait: an attempt each second */
    str_copy(pg->paths.data_dir, sizeof(pg->paths.data_dir), "/srv/data");
    pg_disk_init(pg);
    *state = pg;
    return 0;
}

static int tear_down(void **state)
{
    struct postgres *pg = *state;

    pg_disk_fini(pg);
    loop_free(pg->loop);
    mem_free(pg);
    return 0;
}

static enum trouble trouble_of(const struct postgres *pg)
{
    struct instant since;
    enum trouble trouble = pg_disk_trouble(pg, &since);

    assert_int_equal(instant_is_set(since), trouble != TROUBLE_NONE);
    assert_int_equal(pg_disk_problem(pg)[0] != '\0', trouble != TROUBLE_NONE);
    return trouble;
}

static void each_refusal_is_a_trouble(void **state)
{
    static const struct {
        int error;
        enum trouble trouble;
        const char *words;
    } rows[] = {
        {EIO, TROUBLE_DISK_FAILED, "/srv/data/pg_wal takes no writes: Input/output error\nhint: "},
        {EROFS, TROUBLE_DISK_FAILED, "Read-only file system\nhint: read the kernel's log"},
        {ENOSPC, TROUBLE_DISK_FULL, "No space left on device\nhint: make room"},
        {EDQUOT, TROUBLE_DISK_FULL, "\nhint: make room"},
    };
    struct postgres *pg = *state;

    run_for(pg, PATIENCE_MS);
    assert_int_equal(trouble_of(pg), TROUBLE_NONE);
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        answer(rows[at].error);
        assert_int_equal(trouble_of(pg), rows[at].trouble);
        assert_non_null(strstr(pg_disk_problem(pg), rows[at].words));
        answer(ENOMEM); /* no news of the disk */
        assert_int_equal(trouble_of(pg), rows[at].trouble);
        answer(0);
        assert_int_equal(trouble_of(pg), TROUBLE_NONE);
        answer(ENOENT);
        assert_int_equal(trouble_of(pg), TROUBLE_NONE);
    }
}

/* Since the attempt that has not ended was begun, however often that is seen. */
static void what_does_not_end_hangs(void **state)
{
    struct postgres *pg = *state;
    struct instant before = clock_now();
    struct instant begun;
    struct instant since;

    run_for(pg, PATIENCE_MS);
    begun = clock_now();
    assert_int_equal(the_probe.starts, 1);
    run_for(pg, 2500);
    assert_int_equal(trouble_of(pg), TROUBLE_DISK_HUNG);
    assert_non_null(strstr(pg_disk_problem(pg), "the disk of /srv/data hangs"));
    IGNORE(pg_disk_trouble(pg, &since) == TROUBLE_NONE, "it was looked at");
    assert_in_range(since.boot_ns, before.boot_ns, begun.boot_ns);
    assert_int_equal(the_probe.starts, 1);
    answer(0);
    assert_int_equal(trouble_of(pg), TROUBLE_NONE);
    run_for(pg, PATIENCE_MS);
    assert_int_equal(the_probe.starts, 2);
}

/* A disk is found ill while a server runs, and stays so when that is killed. */
static void a_server_that_is_down_does_not_heal(void **state)
{
    struct postgres *pg = *state;

    run_for(pg, PATIENCE_MS);
    answer(EIO);
    pg->guard.pid = 0;
    run_for(pg, 2500);
    assert_int_equal(the_probe.starts, 1);
    assert_int_equal(trouble_of(pg), TROUBLE_DISK_FAILED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_refusal_is_a_trouble),
        CASE(what_does_not_end_hangs),
        CASE(a_server_that_is_down_does_not_heal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
