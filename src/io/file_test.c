#include "io/file.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/process.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MARK ".made-by-baton"
#define BIG ((size_t)100000)

static char folder[64]; /* a new one for each test */
static char path_buffer[8][PATH_MAX];
static unsigned next_path;

/* FOLDER/NAME, in one of eight buffers. */
static const char *at(const char *name)
{
    char *path = path_buffer[next_path++ % ARRAY_LEN(path_buffer)];

    assert_true(str_format(path, PATH_MAX, "%s/%s", folder, name));
    return path;
}

static int set_up(void **state)
{
    (void)state;
    assert_true(str_copy(folder, sizeof(folder), "/tmp/baton-file-XXXXXX"));
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    IGNORE(chmod(folder, 0700), "may be gone");
    IGNORE(file_write(at(MARK), "", 0, 0600, NULL), "may be gone");
    IGNORE(file_remove_tree(folder, MARK, NULL), "may be gone");
    return 0;
}

static void put(const char *name, const char *text)
{
    struct err e = {0};

    if (file_write(at(name), text, strlen(text), 0600, &e) < 0) {
        fail_msg("%s", err_text(&e));
    }
}

static void assert_content(const char *name, const char *wanted)
{
    AUTO_FREE char *text = NULL;
    struct err e = {0};

    if (file_read(at(name), 1000, &text, NULL, &e) < 0) {
        fail_msg("%s", err_text(&e));
    }
    assert_string_equal(text, wanted);
}

static enum file_kind kind_of(const char *name)
{
    enum file_kind kind = FILE_OTHER;

    assert_int_equal(file_kind(at(name), &kind, NULL), 0);
    return kind;
}

static size_t count_names(void)
{
    char **names = NULL;
    size_t count = 0;

    assert_int_equal(file_list(folder, &names, NULL), 0);
    while (names[count] != NULL) {
        count++;
    }
    file_names_free(names);
    return count;
}

/* Become nobody for one call: root may do everything. Returns what FUNCTION returned, as an exit
 * status. */
static int as_nobody(int (*function)(void))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0) {
            _exit(99);
        }
        _exit(function() == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void kinds(void **state)
{
    (void)state;
    put("file", "x");
    assert_int_equal(kind_of("missing"), FILE_MISSING);
    assert_int_equal(kind_of("file/below"), FILE_MISSING);
    assert_int_equal(kind_of("file"), FILE_REGULAR);
    assert_int_equal(kind_of("."), FILE_FOLDER);
    assert_int_equal(file_make_folder(at("new"), 0700, NULL), 0);
    assert_int_equal(kind_of("new"), FILE_EMPTY_FOLDER);
    assert_int_equal(file_make_folder(at("new/lost+found"), 0700, NULL), 0);
    assert_int_equal(kind_of("new"), FILE_EMPTY_FOLDER);
    put("new/x", "");
    assert_int_equal(kind_of("new"), FILE_FOLDER);
    assert_int_equal(mkfifo(at("pipe"), 0600), 0);
    assert_int_equal(kind_of("pipe"), FILE_OTHER);
    assert_int_equal(symlink("new", at("link")), 0);
    assert_int_equal(kind_of("link"), FILE_FOLDER);
}

static int look_into_closed(void)
{
    enum file_kind kind;
    char *text = NULL;
    struct err e = {0};

    return file_kind(at("closed/x"), &kind, &e) == ERR_IO && e.text[0] != '\0' &&
                   file_read(at("closed/x"), 10, &text, NULL, &e) == ERR_DENIED &&
                   file_write(at("closed/y"), "", 0, 0600, &e) == ERR_DENIED
               ? 0
               : -1;
}

static void no_permission_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(file_make_folder(at("closed"), 0700, NULL), 0);
    put("closed/x", "x");
    assert_int_equal(chmod(at("closed"), 0), 0);
    assert_int_equal(as_nobody(look_into_closed), 0);
    assert_int_equal(chmod(at("closed"), 0700), 0);
}

static void reading(void **state)
{
    AUTO_FREE char *text = NULL;
    AUTO_FREE char *big = mem_alloc(BIG + 1);
    struct err e = {0};
    size_t length = 99;

    (void)state;
    assert_int_equal(file_read(at("missing"), 10, &text, NULL, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(err_text(&e), "missing"));
    put("empty", "");
    assert_int_equal(file_read(at("empty"), 0, &text, &length, NULL), 0);
    assert_string_equal(text, "");
    assert_int_equal(length, 0);
    text = mem_free(text);
    memset(big, 'a', BIG);
    assert_int_equal(file_write(at("big"), big, BIG, 0600, NULL), 0);
    assert_int_equal(file_read(at("big"), BIG - 1, &text, NULL, &e), ERR_LIMIT);
    assert_null(text);
    assert_int_equal(file_read(at("big"), BIG, &text, &length, NULL), 0);
    assert_int_equal(length, BIG);
    assert_memory_equal(text, big, BIG + 1);
    text = mem_free(text);
    assert_int_equal(file_read("/proc/self/status", BIG, &text, &length, NULL), 0);
    assert_true(length > 100);
    text = mem_free(text);
    /* These would wait or make no sense. */
    assert_int_equal(mkfifo(at("pipe"), 0600), 0);
    assert_int_equal(file_read(at("pipe"), 10, &text, NULL, &e), ERR_INVALID);
    assert_int_equal(file_read(folder, 10, &text, NULL, &e), ERR_INVALID);
}

static void writing(void **state)
{
    struct file_facts facts;
    struct err e = {0};
    mode_t before = umask(0777);

    (void)state;
    assert_int_equal(file_write(at("file"), "one", 3, 0640, NULL), 0);
    umask(before);
    assert_content("file", "one");
    assert_int_equal(file_facts(at("file"), &facts, NULL), 0);
    assert_int_equal(facts.mode, 0640);
    assert_int_equal(facts.size, 3);
    assert_int_equal(facts.owner, process_user());
    put("file", "two");
    assert_content("file", "two");
    assert_int_equal(count_names(), 1);
    assert_int_equal(file_write(at("no/file"), "x", 1, 0600, &e), ERR_NOT_FOUND);
    /* A folder in the way: nothing is left behind. */
    assert_int_equal(file_make_folder(at("folder"), 0700, NULL), 0);
    put("folder/x", "");
    assert_int_equal(file_write(at("folder"), "x", 1, 0600, &e), ERR_IO);
    assert_int_equal(count_names(), 2);
    assert_int_equal(file_facts(at("none"), &facts, &e), ERR_NOT_FOUND);
}

/* What fits into its blocks is put in place; more leaves the file as it is. */
static int put_on_full_disk(char *big)
{
    bool is_changed = false;
    char name[16];

    for (int count = 0; count < 100; count++) {
        IGNORE(!str_format(name, sizeof(name), "%d", count), "short");
        if (file_write(at(name), big, 4096, 0600, NULL) < 0) {
            break;
        }
    }
    memset(big, 'x', 4097);
    big[4097] = '\0';
    if (file_put_if_changed(at("file"), big, 0600, &is_changed, NULL) != ERR_IO) {
        return -1;
    }
    assert_content("file", "old");
    if (file_put_if_changed(at("file"), "a new text", 0600, &is_changed, NULL) < 0 || !is_changed) {
        return -1;
    }
    assert_content("file", "a new text");
    if (file_put_if_changed(at("file"), "less", 0600, &is_changed, NULL) < 0) {
        return -1;
    }
    assert_content("file", "less");
    return file_write_if_changed(at("file"), "synced", 0600, &is_changed, NULL) == ERR_IO ? 0 : -1;
}

/* A file system of some kilobytes in this process alone. 0: done, 77: cannot be tried here. */
static int write_to_full_disk(void)
{
    AUTO_FREE char *big = mem_alloc(BIG);
    struct err e = {0};
    char **names = NULL;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("baton", folder, "tmpfs", 0, "size=64k") < 0) {
        return 0;
    }
    put("file", "old");
    if (file_write(at("file"), big, BIG, 0600, &e) != ERR_IO || strstr(e.text, "space") == NULL) {
        return -1;
    }
    assert_content("file", "old");
    if (file_list(folder, &names, NULL) < 0 || names[0] == NULL || names[1] != NULL) {
        return -1;
    }
    file_names_free(names);
    return put_on_full_disk(big);
}

static void a_full_disk_keeps_the_old_file(void **state)
{
    int status = 0;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        _exit(write_to_full_disk() == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void writing_only_changes(void **state)
{
    struct stat first;
    struct stat second;
    bool is_changed = false;

    (void)state;
    assert_int_equal(file_write_if_changed(at("f"), "abc", 0600, &is_changed, NULL), 0);
    assert_true(is_changed);
    assert_int_equal(stat(at("f"), &first), 0);
    assert_int_equal(file_write_if_changed(at("f"), "abc", 0600, &is_changed, NULL), 0);
    assert_false(is_changed);
    assert_int_equal(stat(at("f"), &second), 0);
    assert_int_equal(first.st_ino, second.st_ino);
    assert_int_equal(file_write_if_changed(at("f"), "ab", 0600, &is_changed, NULL), 0);
    assert_true(is_changed);
    assert_content("f", "ab");
    assert_int_equal(file_write_if_changed(at("f"), "abcd", 0600, &is_changed, NULL), 0);
    assert_true(is_changed);
    assert_content("f", "abcd");
}

static void making_folders(void **state)
{
    struct file_facts facts;
    struct err e = {0};

    (void)state;
    assert_int_equal(file_make_folder(at("a/b/c"), 0700, NULL), 0);
    assert_int_equal(file_make_folder(at("a/b/c"), 0700, NULL), 0);
    assert_int_equal(file_make_folder(at("a/b/d/"), 0750, NULL), 0);
    assert_int_equal(file_facts(at("a/b/d"), &facts, NULL), 0);
    assert_int_equal(facts.mode, 0750);
    put("file", "x");
    assert_int_equal(file_make_folder(at("file"), 0700, &e), ERR_CONFLICT);
    assert_int_equal(file_make_folder(at("file/x"), 0700, &e), ERR_NOT_FOUND);
}

static void moving_aside(void **state)
{
    char first[PATH_MAX];
    char second[PATH_MAX];
    char tiny[8];
    struct err e = {0};

    (void)state;
    assert_int_equal(file_make_folder(at("data"), 0700, NULL), 0);
    put("data/x", "1");
    assert_int_equal(file_rename_aside(at("data"), "failed", first, sizeof(first), NULL), 0);
    assert_true(str_starts(first, at("data.failed-")));
    assert_int_equal(kind_of("data"), FILE_MISSING);
    assert_int_equal(file_make_folder(at("data"), 0700, NULL), 0);
    /* In the same second: another name, and what was moved before stays as it is. */
    assert_int_equal(file_rename_aside(at("data/"), "failed", second, sizeof(second), NULL), 0);
    assert_string_not_equal(first, second);
    assert_int_equal(count_names(), 2);
    assert_int_equal(
        file_rename_aside(at("data"), "failed", first, sizeof(first), &e), ERR_NOT_FOUND);
    put("data", "x");
    assert_int_equal(file_rename_aside(at("data"), "x", NULL, 0, NULL), 0);
    put("data", "x");
    assert_int_equal(file_rename_aside(at("data"), "x", tiny, sizeof(tiny), &e), ERR_LIMIT);
}

static void renaming_and_removing(void **state)
{
    struct err e = {0};

    (void)state;
    put("a", "1");
    assert_int_equal(file_rename(at("a"), at("b"), NULL), 0);
    assert_content("b", "1");
    assert_int_equal(file_rename(at("a"), at("c"), &e), ERR_NOT_FOUND);
    assert_int_equal(file_remove(at("b"), NULL), 0);
    assert_int_equal(file_remove(at("b"), NULL), 0);
    assert_int_equal(count_names(), 0);
    assert_true(file_remove(folder, &e) < 0);
}

static void removing_a_marked_tree(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(file_make_folder(at("outside"), 0700, NULL), 0);
    put("outside/keep", "x");
    assert_int_equal(file_make_folder(at("tree/deep/deeper"), 0700, NULL), 0);
    put("tree/deep/deeper/file", "x");
    put("tree/deep/" MARK, "x");
    assert_int_equal(symlink(at("outside"), at("tree/link")), 0);
    assert_int_equal(symlink("nowhere", at("tree/deep/dangling")), 0);
    assert_int_equal(file_remove_tree(at("tree"), MARK, &e), ERR_CONFLICT);
    assert_int_equal(kind_of("tree/deep/deeper/file"), FILE_REGULAR);
    put("tree/" MARK, "");
    /* Not through a link, even to a marked tree. */
    assert_int_equal(symlink("tree", at("alias")), 0);
    assert_true(file_remove_tree(at("alias"), MARK, &e) < 0);
    assert_int_equal(file_remove_tree(at("tree"), MARK, &e), 0);
    assert_int_equal(kind_of("tree"), FILE_MISSING);
    assert_content("outside/keep", "x");
    assert_int_equal(file_remove_tree(at("tree"), MARK, &e), ERR_NOT_FOUND);
}

static int remove_across_a_mount(void)
{
    struct err e = {0};

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("baton", at("tree/mounted"), "tmpfs", 0, "size=64k") < 0) {
        return 0;
    }
    put("tree/mounted/keep", "x");
    if (file_remove_tree(at("tree"), MARK, &e) != ERR_CONFLICT) {
        return -1;
    }
    assert_content("tree/mounted/keep", "x");
    /* It can be repeated. */
    return kind_of("tree/" MARK) == FILE_REGULAR ? 0 : -1;
}

static int look_at_mounts(void)
{
    bool is_mount = false;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(at("place"), at("place"), NULL, MS_BIND, NULL) < 0) {
        return 0;
    }
    return file_is_mount(at("place"), &is_mount, NULL) == 0 && is_mount ? 0 : -1;
}

static void mounts_are_seen(void **state)
{
    bool is_mount = true;
    int status = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(file_make_folder(at("place"), 0700, NULL), 0);
    assert_int_equal(file_is_mount(at("place"), &is_mount, NULL), 0);
    assert_false(is_mount);
    assert_int_equal(file_is_mount("/proc", &is_mount, NULL), 0);
    assert_true(is_mount);
    assert_int_equal(file_is_mount(at("none"), &is_mount, NULL), ERR_NOT_FOUND);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(look_at_mounts() == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void reading_parts(void **state)
{
    static const struct {
        uint64_t offset;
        size_t length;
        const char *wanted;
    } rows[] = {{0, 4, "0123"}, {3, 4, "3456"}, {8, 4, "89"}, {10, 4, ""}, {99, 4, ""}, {2, 0, ""}};
    char *text = NULL;
    size_t length = 0;

    (void)state;
    put("file", "0123456789");
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        int r =
            file_read_part(at("file"), rows[row].offset, rows[row].length, &text, &length, NULL);

        assert_int_equal(r, 0);
        assert_string_equal(text, rows[row].wanted);
        assert_int_equal(length, strlen(rows[row].wanted));
        mem_free(text);
    }
    assert_int_equal(file_read_part(at("none"), 0, 1, &text, NULL, NULL), ERR_NOT_FOUND);
    assert_int_equal(file_read_part(folder, 0, 1, &text, NULL, NULL), ERR_INVALID);
}

static void writing_parts(void **state)
{
    struct file_facts facts;
    char *text = NULL;

    (void)state;
    assert_int_equal(file_make_sized(at("sized"), 8192, 0600, NULL), 0);
    assert_int_equal(file_facts(at("sized"), &facts, NULL), 0);
    assert_int_equal(facts.size, 8192);
    assert_int_equal(facts.mode, 0600);
    assert_int_equal(file_write_part(at("sized"), 4000, "abc", 3, true, NULL), 0);
    assert_int_equal(file_make_sized(at("sized"), 16384, 0600, NULL), 0); /* what is there stays */
    assert_int_equal(file_read_part(at("sized"), 3999, 8192, &text, NULL, NULL), 0);
    assert_int_equal(text[0], 0);
    assert_string_equal(text + 1, "abc");
    mem_free(text);
    assert_int_equal(file_facts(at("sized"), &facts, NULL), 0);
    assert_int_equal(facts.size, 8192);
    assert_int_equal(file_write_part(at("none"), 0, "abc", 3, false, NULL), ERR_NOT_FOUND);
    assert_int_equal(file_make_sized(at("none/sized"), 8192, 0600, NULL), ERR_NOT_FOUND);
}

static void putting_only_changes(void **state)
{
    bool is_changed = false;

    (void)state;
    assert_int_equal(file_put_if_changed(at("file"), "a", 0600, &is_changed, NULL), 0);
    assert_true(is_changed);
    assert_content("file", "a");
    assert_int_equal(file_put_if_changed(at("file"), "a", 0600, &is_changed, NULL), 0);
    assert_false(is_changed);
    assert_int_equal(file_put_if_changed(at("file"), "ab", 0600, &is_changed, NULL), 0);
    assert_true(is_changed);
    assert_content("file", "ab");
}

static void removing_stops_at_a_mount(void **state)
{
    int status = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(file_make_folder(at("tree/mounted"), 0700, NULL), 0);
    put("tree/" MARK, "");
    pid = fork();
    if (pid == 0) {
        _exit(remove_across_a_mount() == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void listing(void **state)
{
    char **names = NULL;
    struct err e = {0};

    (void)state;
    put("b", "");
    put("a", "");
    put(".c", "");
    assert_int_equal(file_list(folder, &names, NULL), 0);
    assert_string_equal(names[0], ".c");
    assert_string_equal(names[1], "a");
    assert_string_equal(names[2], "b");
    assert_null(names[3]);
    file_names_free(names);
    file_names_free(NULL);
    for (int number = 0; number < 40; number++) {
        char name[16];

        assert_true(str_format(name, sizeof(name), "n%d", number));
        put(name, "");
    }
    assert_int_equal(count_names(), 43);
    assert_int_equal(file_list(at("none"), &names, &e), ERR_NOT_FOUND);
}

static void free_space(void **state)
{
    int64_t bytes = -1;
    struct err e = {0};

    (void)state;
    assert_int_equal(file_free_bytes(folder, &bytes, NULL), 0);
    assert_true(bytes > 0);
    assert_int_equal(file_free_bytes(at("none"), &bytes, &e), ERR_NOT_FOUND);
}

static int lock_again(void)
{
    struct err e = {0};
    int fd = -1;

    return file_lock(at("lock"), &fd, &e) == ERR_CONFLICT && fd == -1 ? 0 : -1;
}

static void locking(void **state)
{
    struct file_facts facts;
    struct err e = {0};
    int fd = -1;
    int status = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(file_lock(at("none/lock"), &fd, &e), ERR_NOT_FOUND);
    assert_int_equal(file_lock(at("lock"), &fd, NULL), 0);
    assert_int_equal(file_facts(at("lock"), &facts, NULL), 0);
    assert_int_equal(facts.mode, 0600);
    pid = fork();
    if (pid == 0) {
        _exit(lock_again() == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    file_auto_close(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(file_lock(at("lock"), &fd, NULL), 0);
    file_auto_close(&fd);
}

static void finding_programs(void **state)
{
    char path[PATH_MAX];
    char folders[PATH_MAX];

    (void)state;
    put("tool", "#!/bin/sh\n");
    assert_false(file_is_program(at("tool")));
    assert_int_equal(chmod(at("tool"), 0755), 0);
    assert_true(file_is_program(at("tool")));
    assert_false(file_is_program(folder));
    assert_true(str_format(folders, sizeof(folders), "/nowhere::%s:/bin", folder));
    assert_true(file_find_program("tool", folders, path, sizeof(path)));
    assert_string_equal(path, at("tool"));
    assert_true(file_find_program("sh", folders, path, sizeof(path)));
    assert_string_equal(path, "/bin/sh");
    assert_false(file_find_program("no-such-tool", folders, path, sizeof(path)));
    assert_string_equal(path, "");
    assert_false(file_find_program("sh", "", path, sizeof(path)));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(kinds),
        CASE(no_permission_is_an_error),
        CASE(reading),
        CASE(reading_parts),
        CASE(writing_parts),
        CASE(mounts_are_seen),
        CASE(putting_only_changes),
        CASE(writing),
        CASE(a_full_disk_keeps_the_old_file),
        CASE(writing_only_changes),
        CASE(making_folders),
        CASE(moving_aside),
        CASE(renaming_and_removing),
        CASE(removing_a_marked_tree),
        CASE(removing_stops_at_a_mount),
        CASE(listing),
        CASE(free_space),
        CASE(locking),
        CASE(finding_programs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
