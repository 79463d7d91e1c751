#include "io/lease_page.h"

#include "base/str.h"
#include "codec/codec.h"
#include "io/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char path[LEASE_PAGE_PATH_SIZE];

static int set_up(void **state)
{
    char folder[64];

    (void)state;
    assert_true(str_format(folder, sizeof(folder), "/test/%d", (int)getpid()));
    assert_int_equal(lease_file_path(folder, path, sizeof(path), NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    IGNORE(unlink(path) < 0, "may be gone");
    return 0;
}

static struct lease_file *open_it(void)
{
    struct lease_file *file = NULL;
    struct err e = {0};

    if (lease_file_open(path, &file, &e) < 0) {
        fail_msg("%s", err_text(&e));
    }
    return file;
}

/* What a reader finds. */
static struct lease_page read_it(void)
{
    struct lease_page page = {0};
    int fd = open(path, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &page, sizeof(page), 0), sizeof(page));
    close(fd);
    assert_int_equal(page.magic, LEASE_PAGE_MAGIC);
    assert_int_equal(page.version, LEASE_PAGE_VERSION);
    assert_int_equal(page.crc, crc32c(0, &page, offsetof(struct lease_page, crc)));
    assert_int_equal(page.sequence, page.sequence_again);
    return page;
}

static void spoil(off_t at, const char *bytes, size_t length)
{
    int fd = open(path, O_WRONLY);

    assert_int_equal(pwrite(fd, bytes, length, at), length);
    close(fd);
}

static void paths_are_one_name_in_memory(void **state)
{
    char one[LEASE_PAGE_PATH_SIZE];
    char other[LEASE_PAGE_PATH_SIZE];
    char small[20];

    (void)state;
    assert_int_equal(lease_file_path("/a-b/c", one, sizeof(one), NULL), 0);
    assert_int_equal(lease_file_path("/a/b-c", other, sizeof(other), NULL), 0);
    assert_string_equal(one, LEASE_PAGE_FOLDER "/baton.lease%a-b%c");
    assert_string_not_equal(one, other);
    assert_int_equal(lease_file_path("/a/b/c/d", small, sizeof(small), NULL), ERR_LIMIT);
}

/* The offsets are the contract with a module of another release. */
static void layout_is_fixed(void **state)
{
    (void)state;
    assert_int_equal(offsetof(struct lease_page, sequence), 8);
    assert_int_equal(offsetof(struct lease_page, deadline_boot_ns), 16);
    assert_int_equal(offsetof(struct lease_page, deadline_raw_ns), 24);
    assert_int_equal(offsetof(struct lease_page, term), 32);
    assert_int_equal(offsetof(struct lease_page, sequence_again), 48);
    assert_int_equal(offsetof(struct lease_page, crc), 60);
    assert_int_equal(sizeof(struct lease_page), 64);
}

static void a_new_page_says_nothing(void **state)
{
    struct lease_file *file = open_it();
    struct stat facts;

    (void)state;
    assert_int_equal(read_it().deadline_boot_ns, 0);
    assert_false(instant_is_set(lease_file_deadline(file)));
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0600);
    lease_file_free(file);
}

static void what_is_written_is_read(void **state)
{
    struct lease_file *file = open_it();
    struct lease_page page;

    (void)state;
    assert_int_equal(lease_file_write(file, (struct instant){100, 200}, 7, NULL), 0);
    page = read_it();
    assert_int_equal(page.deadline_boot_ns, 100);
    assert_int_equal(page.deadline_raw_ns, 200);
    assert_int_equal(page.term, 7);
    assert_int_equal(lease_file_write(file, (struct instant){0, 0}, 7, NULL), 0);
    assert_int_equal(read_it().sequence, page.sequence + 1);
    assert_int_equal(read_it().deadline_boot_ns, 0);
    lease_file_free(file);
}

static void the_next_agent_adopts_it(void **state)
{
    struct lease_file *file = open_it();
    uint64_t sequence;

    (void)state;
    assert_int_equal(lease_file_write(file, (struct instant){100, 200}, 7, NULL), 0);
    lease_file_free(file);
    sequence = read_it().sequence;
    file = open_it();
    assert_int_equal(lease_file_deadline(file).raw_ns, 200);
    assert_int_equal(read_it().sequence, sequence);
    assert_int_equal(lease_file_write(file, (struct instant){300, 400}, 7, NULL), 0);
    assert_int_equal(read_it().sequence, sequence + 1);
    lease_file_free(file);
}

/* Each byte counts: whichever is wrong, the page says nothing, and stays as it was until the next
 * writing. */
static void a_damaged_page_says_nothing(void **state)
{
    (void)state;
    for (off_t at = 0; at < (off_t)sizeof(struct lease_page); at++) {
        struct lease_file *file = open_it();

        assert_int_equal(lease_file_write(file, (struct instant){100, 200}, 7, NULL), 0);
        lease_file_free(file);
        spoil(at, "\xa5", 1);
        file = open_it();
        assert_false(instant_is_set(lease_file_deadline(file)));
        assert_int_equal(lease_file_write(file, (struct instant){300, 400}, 7, NULL), 0);
        assert_int_equal(read_it().deadline_boot_ns, 300);
        lease_file_free(file);
    }
}

static void a_removed_page_is_made_again(void **state)
{
    struct lease_file *file = open_it();

    (void)state;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(lease_file_write(file, (struct instant){100, 200}, 7, NULL), 0);
    assert_int_equal(read_it().deadline_boot_ns, 100);
    lease_file_remove(file);
    assert_int_equal(access(path, F_OK), -1);
}

static void what_is_no_file_of_ours_is_refused(void **state)
{
    struct lease_file *file = NULL;

    (void)state;
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(lease_file_open(path, &file, NULL), ERR_IO);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(lease_file_open(path, &file, NULL), ERR_DENIED);
    assert_null(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_one_name_in_memory),
        cmocka_unit_test(layout_is_fixed),
        cmocka_unit_test_setup_teardown(a_new_page_says_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_written_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_next_agent_adopts_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_page_says_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_removed_page_is_made_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_file_of_ours_is_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
