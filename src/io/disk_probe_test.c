/* The attempts against a folder that takes writes, one that is not there, and (as root) one that is
 * full or read-only; and what is freed while it works. */
#include "io/disk_probe.h"

#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    struct loop *loop;
    int error;
    unsigned count;
    char path[64];
};

static void on_done(void *arg, int error, const char *path)
{
    struct world *world = arg;

    world->error = error;
    world->count++;
    str_copy(world->path, sizeof(world->path), path);
    loop_stop(world->loop);
}

static int probe(const char *first, const char *second)
{
    const char *paths[] = {first, second};
    struct world world = {.loop = loop_new()};
    struct disk_probe *made = disk_probe_new(world.loop, on_done, &world);

    assert_true(disk_probe_start(made, paths, second != NULL ? 2 : 1));
    assert_true(disk_probe_is_busy(made));
    assert_false(disk_probe_start(made, paths, 1));
    loop_run(world.loop);
    assert_int_equal(world.count, 1);
    assert_false(disk_probe_is_busy(made));
    if (world.error != 0) {
        assert_string_equal(world.path, second != NULL ? second : first);
    }
    disk_probe_free(made);
    loop_free(world.loop);
    return world.error;
}

static void test_good_and_missing(void **state)
{
    char folder[] = "/tmp/baton-probe-XXXXXX";
    char **names;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(probe(folder, NULL), 0);
    assert_int_equal(probe(folder, folder), 0);
    assert_int_equal(probe(folder, "/tmp/no/such/folder"), ENOENT);
    assert_int_equal(file_list(folder, &names, NULL), 0);
    assert_null(names[0]);
    file_names_free(names);
    assert_int_equal(rmdir(folder), 0);
}

static void test_freed_while_it_works(void **state)
{
    (void)state;
    for (int at = 0; at < 50; at++) {
        const char *path = "/tmp";
        struct world world = {.loop = loop_new()};
        struct disk_probe *made = disk_probe_new(world.loop, on_done, &world);

        assert_true(disk_probe_start(made, &path, 1));
        disk_probe_free(made);
        loop_free(world.loop);
        assert_int_equal(world.count, 0);
    }
    disk_probe_free(NULL);
}

static char small[] = "/tmp/baton-probe-XXXXXX";

static int make_small(void **state)
{
    (void)state;
    return mkdtemp(small) == NULL ? -1 : 0;
}

/* Also after a failure. */
static int remove_small(void **state)
{
    (void)state;
    IGNORE(umount2(small, MNT_DETACH) != 0, "it was not mounted");
    return rmdir(small);
}

static void test_full_and_read_only(void **state)
{
    (void)state;
    if (mount("tmpfs", small, "tmpfs", 0, "size=4k") != 0) {
        skip(); /* not root */
    }
    assert_int_equal(probe("/tmp", small), ENOSPC);
    assert_int_equal(mount("tmpfs", small, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    assert_int_equal(probe("/tmp", small), EROFS);
    assert_int_equal(umount(small), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_and_missing),
        cmocka_unit_test(test_freed_while_it_works),
        cmocka_unit_test_setup_teardown(test_full_and_read_only, make_small, remove_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
