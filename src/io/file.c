#include "io/file.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"
#include "io/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define TREE_DEPTH_MAX 64
#define FREE_NAME_TRIES 100
#define READ_STEP ((size_t)4096)
#define STAT_BLOCK 512u /* of st_blocks */

/* The kind of failure that errno tells. */
static int code_of(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    default:
        return ERR_IO;
    }
}

static int fail_errno(struct err *e, int error, const char *what, const char *path)
{
    return FAIL(e, code_of(error), "cannot %s %s: %s", what, path, strerror(error));
}

void file_auto_close(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void close_folder(DIR *folder)
{
    closedir(folder);
}
AUTO_DEFINE(DIR, close_folder)

static bool is_dots(const char *name)
{
    return str_equal(name, ".") || str_equal(name, "..");
}

/* ---- looking ---- */

static int folder_kind(const char *path, enum file_kind *ret, struct err *e)
{
    AUTO(close_folder) DIR *folder = opendir(path);

    if (folder == NULL) {
        return FAIL(e, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    }
    *ret = FILE_EMPTY_FOLDER;
    errno = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (!is_dots(entry->d_name) && !str_equal(entry->d_name, "lost+found")) {
            *ret = FILE_FOLDER;
            return 0;
        }
    }
    if (errno != 0) {
        return FAIL(e, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    }
    return 0;
}

int file_kind(const char *path, enum file_kind *ret, struct err *e)
{
    struct stat facts;

    if (stat(path, &facts) < 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            *ret = FILE_MISSING;
            return 0;
        }
        return FAIL(e, ERR_IO, "cannot look at %s: %s", path, strerror(errno));
    }
    if (S_ISDIR(facts.st_mode)) {
        return folder_kind(path, ret, e);
    }
    *ret = S_ISREG(facts.st_mode) ? FILE_REGULAR : FILE_OTHER;
    return 0;
}

int file_facts(const char *path, struct file_facts *ret, struct err *e)
{
    struct stat facts;

    if (stat(path, &facts) < 0) {
        return fail_errno(e, errno, "look at", path);
    }
    *ret = (struct file_facts){
        .owner = facts.st_uid,
        .mode = facts.st_mode & 07777u,
        .size = facts.st_size,
        .modified_real_ms =
            (int64_t)facts.st_mtim.tv_sec * 1000 + facts.st_mtim.tv_nsec / NS_PER_MS,
    };
    return 0;
}

/* A kernel before 5.8 does not tell: then another device than the parent's counts, which misses
 * only a folder mounted within its own file system. */
int file_is_mount(const char *path, bool *ret, struct err *e)
{
    char parent[PATH_MAX];
    struct statx facts;
    struct stat own;
    struct stat above;

    if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &facts) < 0) {
        return fail_errno(e, errno, "look at", path);
    }
    if ((facts.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0) {
        *ret = (facts.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
        return 0;
    }
    if (!str_format(parent, sizeof(parent), "%s/..", path)) {
        return FAIL(e, ERR_LIMIT, "the path %.64s... is too long", path);
    }
    if (stat(path, &own) < 0 || stat(parent, &above) < 0) {
        return fail_errno(e, errno, "look at", path);
    }
    *ret = own.st_dev != above.st_dev;
    return 0;
}

int file_free_bytes(const char *path, int64_t *ret, struct err *e)
{
    struct statvfs facts;

    if (statvfs(path, &facts) < 0) {
        return fail_errno(e, errno, "tell the free space of", path);
    }
    *ret = (int64_t)facts.f_bavail * (int64_t)facts.f_frsize;
    return 0;
}

bool file_is_program(const char *path)
{
    struct stat facts;

    return stat(path, &facts) == 0 && S_ISREG(facts.st_mode) && access(path, X_OK) == 0;
}

bool file_find_program(const char *name, const char *folders, char *ret, size_t ret_size)
{
    const char *at = folders;

    ASSERT(name[0] != '\0');
    while (at != NULL) {
        const char *end = strchrnul(at, ':');

        /* An empty entry would mean the working directory, which nobody chose. */
        if (end > at && str_format(ret, ret_size, "%.*s/%s", (int)(end - at), at, name) &&
            file_is_program(ret)) {
            return true;
        }
        at = *end == ':' ? end + 1 : NULL;
    }
    ret[0] = '\0';
    return false;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void file_names_free(char **names)
{
    if (names == NULL) {
        return;
    }
    for (size_t at = 0; names[at] != NULL; at++) {
        mem_free(names[at]);
    }
    mem_free(names);
}

int file_list(const char *path, char ***ret_names, struct err *e)
{
    AUTO(close_folder) DIR *folder = opendir(path);
    char **names = NULL;
    size_t count = 0;
    size_t size = 0;

    if (folder == NULL) {
        return fail_errno(e, errno, "list", path);
    }
    for (;;) {
        struct dirent *entry = NULL;

        if (count + 1 >= size) {
            size = size == 0 ? 16 : size * 2;
            names = mem_resize(names, size * sizeof(*names));
        }
        names[count] = NULL;
        errno = 0;
        entry = readdir(folder);
        if (entry == NULL) {
            break;
        }
        if (!is_dots(entry->d_name)) {
            names[count++] = mem_dup(entry->d_name);
        }
    }
    if (errno != 0) {
        int error = errno;

        file_names_free(names);
        return fail_errno(e, error, "list", path);
    }
    qsort(names, count, sizeof(*names), compare_names);
    *ret_names = names;
    return 0;
}

/* ---- reading and writing ---- */

static int read_all(int fd, const char *path, size_t limit, struct str *text, struct err *e)
{
    char step[READ_STEP];

    for (;;) {
        ssize_t length = read(fd, step, sizeof(step));

        if (length < 0 && errno == EINTR) {
            continue;
        }
        if (length < 0) {
            return fail_errno(e, errno, "read", path);
        }
        if (length == 0) {
            return 0;
        }
        if ((size_t)length > limit - text->length) {
            return FAIL(e, ERR_LIMIT, "%s is larger than %zu bytes", path, limit);
        }
        str_add_length(text, step, (size_t)length);
    }
}

/* Without O_NONBLOCK, opening a pipe would wait for its writer. */
static int open_regular(const char *path, int *ret, struct err *e)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat facts;

    if (fd < 0) {
        return fail_errno(e, errno, "open", path);
    }
    if (fstat(fd, &facts) < 0) {
        return fail_errno(e, errno, "look at", path);
    }
    if (!S_ISREG(facts.st_mode)) {
        return FAIL(e, ERR_INVALID, "%s is not a regular file", path);
    }
    *ret = fd;
    fd = -1;
    return 0;
}

int file_read(const char *path, size_t limit, char **ret, size_t *ret_length, struct err *e)
{
    AUTO_FD int fd = -1;
    AUTO_STR struct str text = STR_INIT(limit + 1);
    int r = open_regular(path, &fd, e);

    if (r < 0) {
        return r;
    }
    r = read_all(fd, path, limit, &text, e);
    if (r < 0) {
        return r;
    }
    ASSERT(!text.is_cut);
    if (ret_length != NULL) {
        *ret_length = text.length;
    }
    IGNORE(str_text(&text) == NULL, "an empty text gets its terminator");
    *ret = str_take(&text);
    return 0;
}

int file_read_part(
    const char *path, uint64_t offset, size_t length, char **ret, size_t *ret_length, struct err *e)
{
    AUTO_FD int fd = -1;
    AUTO_FREE char *bytes = NULL;
    size_t count = 0;
    int r;

    ASSERT(offset <= INT64_MAX - length);
    r = open_regular(path, &fd, e);
    if (r < 0) {
        return r;
    }
    bytes = mem_alloc(length + 1); /* zeroed: terminated */
    while (count < length) {
        ssize_t step = pread(fd, bytes + count, length - count, (off_t)(offset + count));

        if (step == 0) {
            break;
        }
        if (step < 0 && errno != EINTR) {
            return fail_errno(e, errno, "read", path);
        }
        count += step > 0 ? (size_t)step : 0;
    }
    if (ret_length != NULL) {
        *ret_length = count;
    }
    *ret = TAKE(bytes);
    return 0;
}

/* The folder that PATH is in. */
static int parent_of(const char *path, char *buffer, size_t size, struct err *e)
{
    char *slash = NULL;

    if (!str_copy(buffer, size, path)) {
        return FAIL(e, ERR_LIMIT, "the path %.64s... is longer than %zu bytes", path, size - 1);
    }
    slash = strrchr(buffer, '/');
    while (slash != NULL && slash > buffer && slash[1] == '\0') {
        *slash = '\0';
        slash = strrchr(buffer, '/');
    }
    if (slash == NULL) {
        IGNORE(!str_copy(buffer, size, "."), "it fits");
    } else if (slash == buffer) {
        buffer[1] = '\0';
    } else {
        *slash = '\0';
    }
    return 0;
}

static int sync_parent(const char *path, struct err *e)
{
    char parent[PATH_MAX];
    AUTO_FD int fd = -1;
    int r = parent_of(path, parent, sizeof(parent), e);

    if (r < 0) {
        return r;
    }
    fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail_errno(e, errno, "open", parent);
    }
    /* Some file systems cannot sync a folder and say EINVAL. */
    if (fsync(fd) < 0 && errno != EINVAL) {
        return fail_errno(e, errno, "sync", parent);
    }
    return 0;
}

static int write_all(int fd, const char *bytes, size_t length)
{
    size_t written = 0;

    while (written < length) {
        ssize_t step = write(fd, bytes + written, length - written);

        if (step < 0 && errno != EINTR) {
            return -1;
        }
        written += step > 0 ? (size_t)step : 0;
    }
    return 0;
}

static bool is_room_missing(int error)
{
    return error == ENOSPC || error == EDQUOT;
}

/* Into the blocks that the file has; a file that has too few stays as it is. */
static int overwrite(const char *path, const void *bytes, size_t length, struct err *e)
{
    AUTO_FD int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat facts;

    if (fd < 0 || fstat(fd, &facts) < 0) {
        return fail_errno(e, errno, "open", path);
    }
    if (!S_ISREG(facts.st_mode) || (uint64_t)facts.st_blocks * STAT_BLOCK < length) {
        return fail_errno(e, ENOSPC, "write", path);
    }
    if (write_all(fd, bytes, length) < 0 || ftruncate(fd, (off_t)length) < 0) {
        return fail_errno(e, errno, "write", path);
    }
    return 0;
}

static int replace(
    const char *path, const void *bytes, size_t length, unsigned mode, bool is_synced,
    struct err *e)
{
    char temporary[PATH_MAX];
    AUTO_FD int fd = -1;
    uint64_t number = 0;
    int error = 0;

    /* A random name: two threads that write the same path must not write into each other's file. */
    process_random(&number, sizeof(number));
    if (!str_format(temporary, sizeof(temporary), "%s.%016" PRIx64 ".tmp", path, number)) {
        return FAIL(e, ERR_LIMIT, "the path %.64s... is too long", path);
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 07777u);
    if (fd < 0) {
        error = errno;
        return !is_synced && is_room_missing(error) ? overwrite(path, bytes, length, e)
                                                    : fail_errno(e, error, "create", temporary);
    }
    /* fchmod: the mode that was asked for, whatever the umask. */
    if (fchmod(fd, mode & 07777u) < 0 || write_all(fd, bytes, length) < 0 ||
        (is_synced && fsync(fd) < 0) || rename(temporary, path) < 0) {
        error = errno;
        unlink(temporary);
        return !is_synced && is_room_missing(error) ? overwrite(path, bytes, length, e)
                                                    : fail_errno(e, error, "write", path);
    }
    return is_synced ? sync_parent(path, e) : 0;
}

int file_write(const char *path, const void *bytes, size_t length, unsigned mode, struct err *e)
{
    return replace(path, bytes, length, mode, true, e);
}

int file_make_sized(const char *path, uint64_t size, unsigned mode, struct err *e)
{
    char temporary[PATH_MAX];
    AUTO_FD int fd = -1;
    uint64_t number = 0;
    int error = 0;

    ASSERT(size > 0 && size <= INT64_MAX);
    process_random(&number, sizeof(number));
    if (!str_format(temporary, sizeof(temporary), "%s.new-%016" PRIx64, path, number)) {
        return FAIL(e, ERR_LIMIT, "the path %.64s... is too long", path);
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
    if (fd < 0) {
        return fail_errno(e, errno, "make", temporary);
    }
    error = posix_fallocate(fd, 0, (off_t)size);
    if (error == 0 && (fchmod(fd, (mode_t)mode) < 0 || fsync(fd) < 0 ||
                       (link(temporary, path) < 0 && errno != EEXIST))) {
        error = errno;
    }
    if (unlink(temporary) < 0 && error == 0) {
        error = errno;
    }
    if (error != 0) {
        return fail_errno(e, error, "make", path);
    }
    return sync_parent(path, e);
}

int file_write_part(
    const char *path, uint64_t offset, const void *bytes, size_t length, bool is_synced,
    struct err *e)
{
    AUTO_FD int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

    ASSERT(offset <= INT64_MAX - length);
    if (fd < 0) {
        return fail_errno(e, errno, "open", path);
    }
    if (lseek(fd, (off_t)offset, SEEK_SET) < 0 || write_all(fd, bytes, length) < 0 ||
        (is_synced && fsync(fd) < 0)) {
        return fail_errno(e, errno, "write", path);
    }
    return 0;
}

static int replace_if_changed(
    const char *path, const char *text, unsigned mode, bool is_synced, bool *ret_changed,
    struct err *e)
{
    AUTO_FREE char *present = NULL;
    size_t length = 0;
    int r = file_read(path, strlen(text), &present, &length, NULL);

    *ret_changed = r < 0 || length != strlen(text) || memcmp(present, text, length) != 0;
    return *ret_changed ? replace(path, text, strlen(text), mode, is_synced, e) : 0;
}

int file_write_if_changed(
    const char *path, const char *text, unsigned mode, bool *ret_changed, struct err *e)
{
    return replace_if_changed(path, text, mode, true, ret_changed, e);
}

int file_put_if_changed(
    const char *path, const char *text, unsigned mode, bool *ret_changed, struct err *e)
{
    return replace_if_changed(path, text, mode, false, ret_changed, e);
}

int file_make_folder(const char *path, unsigned mode, struct err *e)
{
    char part[PATH_MAX];
    struct stat facts;

    if (!str_copy(part, sizeof(part), path)) {
        return FAIL(e, ERR_LIMIT, "the path %.64s... is too long", path);
    }
    for (size_t end = strlen(part); end > 1 && part[end - 1] == '/'; end--) {
        part[end - 1] = '\0';
    }
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST) {
            return fail_errno(e, errno, "make the folder", part);
        }
        *slash = '/';
    }
    if (mkdir(part, mode & 07777u) == 0) {
        if (chmod(part, mode & 07777u) < 0) {
            return fail_errno(e, errno, "set the mode of", path);
        }
        return sync_parent(part, e);
    }
    if (errno != EEXIST) {
        return fail_errno(e, errno, "make the folder", path);
    }
    if (stat(path, &facts) < 0) {
        return fail_errno(e, errno, "look at", path);
    }
    if (!S_ISDIR(facts.st_mode)) {
        return FAIL(e, ERR_CONFLICT, "%s exists and is not a folder", path);
    }
    return 0;
}

/* ---- renaming ---- */

static int rename_to_free_name(const char *from, const char *to)
{
    struct stat facts;

    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
    /* A file system without RENAME_NOREPLACE. */
    if (lstat(to, &facts) == 0) {
        errno = EEXIST;
        return -1;
    }
    return errno == ENOENT ? rename(from, to) : -1;
}

int file_rename_aside(
    const char *from, const char *suffix, char *ret, size_t ret_size, struct err *e)
{
    char to[PATH_MAX];
    char number[16] = "";
    size_t length = strlen(from);

    while (length > 1 && from[length - 1] == '/') {
        length--;
    }
    for (int tries = 0; tries < FREE_NAME_TRIES; tries++) {
        if (tries > 0) {
            IGNORE(!str_format(number, sizeof(number), "-%d", tries), "it fits");
        }
        if (!str_format(
                to, sizeof(to), "%.*s.%s-%" PRId64 "%s", (int)length, from, suffix,
                clock_real_ms() / 1000, number)) {
            return FAIL(e, ERR_LIMIT, "the path %.64s... is too long", from);
        }
        if (rename_to_free_name(from, to) == 0) {
            if (ret != NULL && !str_copy(ret, ret_size, to)) {
                return FAIL(e, ERR_LIMIT, "the path %.64s... is too long", to);
            }
            return sync_parent(to, e);
        }
        if (errno != EEXIST) {
            return fail_errno(e, errno, "move aside", from);
        }
    }
    return FAIL(e, ERR_CONFLICT, "no free name to move %s aside", from);
}

int file_rename(const char *from, const char *to, struct err *e)
{
    int r;

    if (rename(from, to) < 0) {
        return FAIL(e, code_of(errno), "cannot rename %s to %s: %s", from, to, strerror(errno));
    }
    r = sync_parent(to, e);
    return r < 0 ? r : sync_parent(from, e);
}

/* ---- removing ---- */

int file_remove(const char *path, struct err *e)
{
    if (unlink(path) < 0) {
        return errno == ENOENT ? 0 : fail_errno(e, errno, "remove", path);
    }
    return sync_parent(path, e);
}

struct removal {
    const char *path; /* for messages */
    const char *mark;
    dev_t device;
};

static int remove_below(const struct removal *removal, int folder_fd, int depth, struct err *e);

static int remove_entry(
    const struct removal *removal, int folder_fd, const char *name, int depth, struct err *e)
{
    AUTO_FD int fd = -1;
    struct stat facts;
    int r;

    if (fstatat(folder_fd, name, &facts, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? 0 : fail_errno(e, errno, "look below", removal->path);
    }
    if (!S_ISDIR(facts.st_mode)) {
        if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT) {
            return FAIL(
                e, code_of(errno), "cannot remove %s below %s: %s", name, removal->path,
                strerror(errno));
        }
        return 0;
    }
    fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return FAIL(
            e, code_of(errno), "cannot open %s below %s: %s", name, removal->path, strerror(errno));
    }
    r = remove_below(removal, fd, depth + 1, e);
    if (r == 0 && unlinkat(folder_fd, name, AT_REMOVEDIR) < 0) {
        r = FAIL(
            e, code_of(errno), "cannot remove %s below %s: %s", name, removal->path,
            strerror(errno));
    }
    return r;
}

/* Everything in the folder; its mark, at depth 0, is left to the caller. */
static int remove_below(const struct removal *removal, int folder_fd, int depth, struct err *e)
{
    AUTO(close_folder) DIR *folder = NULL;
    struct stat facts;
    int listed_fd = -1;

    if (depth > TREE_DEPTH_MAX) {
        return FAIL(e, ERR_LIMIT, "%s is deeper than %d folders", removal->path, TREE_DEPTH_MAX);
    }
    if (fstat(folder_fd, &facts) < 0) {
        return fail_errno(e, errno, "look below", removal->path);
    }
    if (facts.st_dev != removal->device) {
        return FAIL(
            e, ERR_CONFLICT, "another file system is mounted below %s; it is left alone",
            removal->path);
    }
    listed_fd = fcntl(folder_fd, F_DUPFD_CLOEXEC, 0);
    folder = listed_fd >= 0 ? fdopendir(listed_fd) : NULL;
    if (folder == NULL) {
        file_auto_close(&listed_fd);
        return fail_errno(e, errno, "list a folder below", removal->path);
    }
    for (;;) {
        struct dirent *entry = NULL;
        int r;

        errno = 0;
        entry = readdir(folder);
        if (entry == NULL) {
            return errno == 0 ? 0 : fail_errno(e, errno, "list a folder below", removal->path);
        }
        if (is_dots(entry->d_name) || (depth == 0 && str_equal(entry->d_name, removal->mark))) {
            continue;
        }
        r = remove_entry(removal, folder_fd, entry->d_name, depth, e);
        if (r < 0) {
            return r;
        }
    }
}

int file_remove_tree(const char *path, const char *mark, struct err *e)
{
    struct removal removal = {.path = path, .mark = mark};
    AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat facts;
    int r;

    ASSERT(mark[0] != '\0');
    ASSERT(strchr(mark, '/') == NULL);
    if (fd < 0) {
        return fail_errno(e, errno, "open", path);
    }
    if (fstatat(fd, mark, &facts, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(facts.st_mode)) {
        return FAIL(e, ERR_CONFLICT, "%s is not removed: it has no file %s", path, mark);
    }
    if (fstat(fd, &facts) < 0) {
        return fail_errno(e, errno, "look at", path);
    }
    removal.device = facts.st_dev;
    r = remove_below(&removal, fd, 0, e);
    if (r < 0) {
        return r;
    }
    /* The mark goes last: a removal that was interrupted can be repeated. */
    if (unlinkat(fd, mark, 0) < 0 || rmdir(path) < 0) {
        return fail_errno(e, errno, "remove", path);
    }
    return sync_parent(path, e);
}

/* ---- locking ---- */

int file_lock(const char *path, int *ret_fd, struct err *e)
{
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);

    if (fd < 0) {
        return fail_errno(e, errno, "open the lock", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK) {
            return FAIL(e, ERR_CONFLICT, "another process holds the lock %s", path);
        }
        return fail_errno(e, errno, "lock", path);
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}
