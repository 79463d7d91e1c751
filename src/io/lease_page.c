#include "io/lease_page.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/codec.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct lease_file {
    int fd;
    struct lease_page page;
    char path[LEASE_PAGE_PATH_SIZE];
};

int lease_file_path(const char *folder, char *ret, size_t size, struct err *e)
{
    if (!str_format(ret, size, LEASE_PAGE_FOLDER "/baton.lease%s", folder)) {
        return FAIL(e, ERR_LIMIT, "the path of the lease page of %s is too long", folder);
    }
    /* The whole path in one name: two servers never share a page. */
    for (char *at = ret + strlen(LEASE_PAGE_FOLDER "/"); *at != '\0'; at++) {
        *at = *at == '/' ? '%' : *at;
    }
    return 0;
}

static uint32_t sum(const struct lease_page *page)
{
    return crc32c(0, page, offsetof(struct lease_page, crc));
}

static bool is_whole(const struct lease_page *page)
{
    return page->magic == LEASE_PAGE_MAGIC && page->version == LEASE_PAGE_VERSION &&
           page->sequence == page->sequence_again && page->crc == sum(page);
}

/* The folder is open to all: a file of somebody else is no page. */
static int check_ours(int fd, const char *path, struct err *e)
{
    struct stat facts;

    if (fstat(fd, &facts) < 0) {
        return FAIL(e, ERR_IO, "cannot look at %s: %s", path, strerror(errno));
    }
    if (!S_ISREG(facts.st_mode) || facts.st_uid != geteuid()) {
        return FAIL(e, ERR_DENIED, "%s is not a file of this user", path);
    }
    return 0;
}

static int open_file(struct lease_file *file, struct err *e)
{
    AUTO_FD int fd = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    ssize_t length;
    int r;

    if (fd < 0) {
        return FAIL(e, ERR_IO, "cannot open the lease page %s: %s", file->path, strerror(errno));
    }
    r = check_ours(fd, file->path, e);
    if (r < 0) {
        return r;
    }
    length = pread(fd, &file->page, sizeof(file->page), 0);
    if (length < 0) {
        return FAIL(e, ERR_IO, "cannot read the lease page %s: %s", file->path, strerror(errno));
    }
    file_auto_close(&file->fd);
    file->fd = fd;
    fd = -1;
    if (length != (ssize_t)sizeof(file->page) || !is_whole(&file->page)) {
        file->page = (struct lease_page){0};
        return length == 0 ? lease_file_write(file, (struct instant){0, 0}, 0, e) : 0;
    }
    return 0;
}

int lease_file_open(const char *path, struct lease_file **ret, struct err *e)
{
    struct lease_file *file = mem_alloc(sizeof(*file));
    int r;

    *ret = NULL;
    file->fd = -1;
    if (!str_copy(file->path, sizeof(file->path), path)) {
        lease_file_free(file);
        return FAIL(e, ERR_LIMIT, "the path of the lease page is too long: %s", path);
    }
    r = open_file(file, e);
    if (r < 0) {
        lease_file_free(file);
        return r;
    }
    *ret = file;
    return 0;
}

struct instant lease_file_deadline(const struct lease_file *file)
{
    return (struct instant){file->page.deadline_boot_ns, file->page.deadline_raw_ns};
}

static bool is_removed(const struct lease_file *file)
{
    struct stat facts;

    return fstat(file->fd, &facts) == 0 && facts.st_nlink == 0;
}

int lease_file_write(struct lease_file *file, struct instant deadline, uint64_t term, struct err *e)
{
    struct lease_page page = {
        .magic = LEASE_PAGE_MAGIC,
        .version = LEASE_PAGE_VERSION,
        .sequence = file->page.sequence + 1,
        .deadline_boot_ns = deadline.boot_ns,
        .deadline_raw_ns = deadline.raw_ns,
        .term = term,
        .sequence_again = file->page.sequence + 1,
    };
    ssize_t length;

    if (is_removed(file)) {
        int r = open_file(file, e);

        if (r < 0) {
            return r;
        }
    }
    page.crc = sum(&page);
    length = pwrite(file->fd, &page, sizeof(page), 0);
    if (length != (ssize_t)sizeof(page)) {
        return FAIL(
            e, ERR_IO, "cannot write the lease page %s: %s", file->path,
            length < 0 ? strerror(errno) : "no space");
    }
    file->page = page;
    return 0;
}

void lease_file_free(struct lease_file *file)
{
    if (file != NULL) {
        file_auto_close(&file->fd);
        mem_free(file);
    }
}

void lease_file_remove(struct lease_file *file)
{
    if (file != NULL) {
        IGNORE(unlink(file->path) < 0, "it may be gone; 64 bytes of memory until the next boot");
        lease_file_free(file);
    }
}
