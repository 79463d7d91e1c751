#include "io/kept.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

#include <sched.h>
#include <setjmp.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MARK ".made-by-baton"
#define SLOT 512u

static char folder[64];
static char path[PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    assert_true(str_copy(folder, sizeof(folder), "/tmp/baton-kept-XXXXXX"));
    assert_non_null(mkdtemp(folder));
    return str_format(path, sizeof(path), "%s/kept", folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    char mark[PATH_MAX];

    (void)state;
    IGNORE(!str_format(mark, sizeof(mark), "%s/" MARK, folder), "short");
    IGNORE(file_write(mark, "", 0, 0600, NULL), "may be gone");
    IGNORE(file_remove_tree(folder, MARK, NULL), "may be gone");
    return 0;
}

static void assert_kept(const char *wanted)
{
    char text[KEPT_SIZE] = "";
    struct err e = {0};

    if (kept_read(path, text, &e) < 0) {
        fail_msg("%s", err_text(&e));
    }
    assert_string_equal(text, wanted);
}

static void the_newest_counts(void **state)
{
    char text[KEPT_SIZE];
    char number[16];
    struct file_facts facts;

    (void)state;
    assert_int_equal(kept_read(path, text, NULL), ERR_NOT_FOUND);
    assert_int_equal(kept_make(path, NULL), 0);
    assert_int_equal(kept_read(path, text, NULL), ERR_NOT_FOUND);
    for (int at = 0; at < 12; at++) {
        assert_true(str_format(number, sizeof(number), "text %d", at));
        assert_int_equal(kept_write(path, number, NULL), 0);
        assert_kept(number);
        assert_int_equal(kept_make(path, NULL), 0); /* what is there stays */
    }
    assert_int_equal(file_facts(path, &facts, NULL), 0);
    assert_int_equal(facts.size, 2 * SLOT);
    assert_int_equal(facts.mode, 0600);
    assert_int_equal(kept_write(path, "", NULL), 0);
    assert_kept("");
}

/* A line of before there were slots is read, and replaced when the file is made. */
static void a_plain_line_is_kept(void **state)
{
    static const char *const damaged[] = {"", "\n", "17", "17\n18\n", "1\n "};
    struct file_facts facts;
    char text[KEPT_SIZE];
    char longest[KEPT_SIZE + 1];

    (void)state;
    assert_int_equal(file_write(path, "17\n", 3, 0600, NULL), 0);
    assert_kept("17");
    assert_int_equal(kept_make(path, NULL), 0);
    assert_int_equal(file_facts(path, &facts, NULL), 0);
    assert_int_equal(facts.size, 2 * SLOT);
    assert_kept("17");
    assert_int_equal(kept_write(path, "18", NULL), 0);
    assert_kept("18");
    assert_int_equal(file_write(path, "17\n", 3, 0600, NULL), 0);
    assert_int_equal(kept_write(path, "19", NULL), 0);
    assert_kept("19");
    memset(longest, 'x', sizeof(longest));
    longest[KEPT_SIZE - 1] = '\n';
    assert_int_equal(file_write(path, longest, KEPT_SIZE, 0600, NULL), 0);
    longest[KEPT_SIZE - 1] = '\0';
    assert_kept(longest);
    longest[KEPT_SIZE - 1] = 'x';
    longest[KEPT_SIZE] = '\n';
    assert_int_equal(file_write(path, longest, KEPT_SIZE + 1, 0600, NULL), 0);
    assert_int_equal(kept_read(path, text, NULL), ERR_CORRUPT);
    for (size_t at = 0; at < ARRAY_LEN(damaged); at++) {
        assert_int_equal(file_write(path, damaged[at], strlen(damaged[at]), 0600, NULL), 0);
        assert_int_equal(kept_read(path, text, NULL), ERR_CORRUPT);
        assert_int_equal(kept_make(path, NULL), ERR_CORRUPT);
        assert_int_equal(kept_write(path, "20", NULL), ERR_CORRUPT);
    }
    assert_int_equal(file_write(path, "a\0b\n", 4, 0600, NULL), 0);
    assert_int_equal(kept_read(path, text, NULL), ERR_CORRUPT);
}

static void writing_makes_the_file(void **state)
{
    (void)state;
    assert_int_equal(kept_write(path, "a b c", NULL), 0);
    assert_kept("a b c");
    assert_true(str_format(path, sizeof(path), "%s/no/kept", folder));
    assert_int_equal(kept_write(path, "a", NULL), ERR_NOT_FOUND);
}

/* A crash in the middle of a write leaves any part of the new text in its slot. */
static void a_torn_slot_leaves_the_one_before(void **state)
{
    AUTO_FREE char *second = NULL;
    size_t length;

    (void)state;
    assert_int_equal(kept_write(path, "first", NULL), 0);
    assert_int_equal(kept_write(path, "second", NULL), 0);
    assert_int_equal(file_read_part(path, SLOT, SLOT, &second, NULL, NULL), 0);
    length = strlen(second);
    for (size_t at = 0; at < length; at++) {
        char torn[SLOT] = "";

        memcpy(torn, second, at);
        assert_int_equal(file_write_part(path, SLOT, torn, SLOT, true, NULL), 0);
        assert_kept("first");
        memcpy(torn, second, length);
        torn[at] ^= 1;
        assert_int_equal(file_write_part(path, SLOT, torn, SLOT, true, NULL), 0);
        assert_kept("first");
    }
    assert_int_equal(kept_write(path, "third", NULL), 0);
    assert_kept("third");
}

static void damage_is_told(void **state)
{
    char text[KEPT_SIZE];

    (void)state;
    assert_int_equal(kept_write(path, "first", NULL), 0);
    assert_int_equal(kept_write(path, "second", NULL), 0);
    assert_int_equal(file_write_part(path, 2, "X", 1, true, NULL), 0);
    assert_int_equal(file_write_part(path, SLOT + 2, "X", 1, true, NULL), 0);
    assert_int_equal(kept_read(path, text, NULL), ERR_CORRUPT);
    assert_int_equal(kept_write(path, "third", NULL), ERR_CORRUPT);
}

/* A file system of some kilobytes in this process alone, filled to the last one. */
static int write_to_full_disk(void)
{
    char text[KEPT_SIZE];
    char big[PATH_MAX];
    static const char bytes[4096];
    unsigned count = 0;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("baton", folder, "tmpfs", 0, "size=64k") < 0) {
        return 77;
    }
    if (kept_make(path, NULL) < 0) {
        return 1;
    }
    do {
        IGNORE(!str_format(big, sizeof(big), "%s/%u", folder, count), "short");
        count++;
    } while (count < 100 && file_write(big, bytes, sizeof(bytes), 0600, NULL) == 0);
    if (count == 100 || file_write(path, bytes, sizeof(bytes), 0600, NULL) != ERR_IO) {
        return 2;
    }
    for (int at = 0; at < 3; at++) {
        IGNORE(!str_format(big, sizeof(big), "%d", at), "short");
        if (kept_write(path, big, NULL) < 0 || kept_read(path, text, NULL) < 0 ||
            !str_equal(text, big)) {
            return 3;
        }
    }
    return 0;
}

static void a_full_disk_keeps_the_new_text(void **state)
{
    int status = 0;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        _exit(write_to_full_disk());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_int_equal(status, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_newest_counts),
        CASE(writing_makes_the_file),
        CASE(a_torn_slot_leaves_the_one_before),
        CASE(damage_is_told),
        CASE(a_plain_line_is_kept),
        CASE(a_full_disk_keeps_the_new_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
