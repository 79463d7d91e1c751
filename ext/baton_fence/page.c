/* The page and the clocks.
 *
 * The file is read with pread, not mapped: somebody who truncates it makes commits fail, not the
 * server crash. A deadline that was seen holds until it has passed, whatever happens to the page
 * (whoever gave it has the lease until then), so most looks are two readings of a clock. The file
 * is opened again only when what is open says no: an agent may have had to make a new one. */
#include "fence.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "port/pg_crc32c.h"

#define READS_MAX 100 /* a writing takes less than a microsecond */
#define NS_PER_S INT64CONST(1000000000)
#define NS_PER_MS INT64CONST(1000000)

static const char *page_path = "";
static int page_fd = -1;
static struct stat page_facts;
static int64 kept_boot_ns;
static int64 kept_raw_ns;

static bool open_page(void)
{
    struct stat facts;
    int fd;

    if (page_path[0] == '\0') {
        return false;
    }
    fd = open(page_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return false;
    }
    /* The folder may be open to all: a page of somebody else is none. */
    if (fstat(fd, &facts) < 0 || !S_ISREG(facts.st_mode) || facts.st_uid != geteuid() ||
        (page_fd >= 0 && facts.st_ino == page_facts.st_ino && facts.st_dev == page_facts.st_dev)) {
        close(fd);
        return false;
    }
    if (page_fd >= 0) {
        close(page_fd);
    }
    page_fd = fd;
    page_facts = facts;
    return true;
}

static bool is_whole(const struct lease_page *page)
{
    pg_crc32c crc;

    INIT_CRC32C(crc);
    COMP_CRC32C(crc, page, offsetof(struct lease_page, crc));
    FIN_CRC32C(crc);
    return page->magic == LEASE_PAGE_MAGIC && page->version == LEASE_PAGE_VERSION &&
           page->sequence == page->sequence_again && EQ_CRC32C(crc, page->crc);
}

static bool read_page(struct lease_page *ret)
{
    if (page_fd < 0) {
        return false;
    }
    for (int at = 0; at < READS_MAX; at++) {
        if (pread(page_fd, ret, sizeof(*ret), 0) == (ssize_t)sizeof(*ret) && is_whole(ret)) {
            return true;
        }
    }
    return false;
}

static int64 read_clock(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now) < 0) {
        return PG_INT64_MAX; /* without a clock nothing is in time */
    }
    return (int64)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* Whoever holds something counts the larger of two elapsed times. */
static bool is_passed(int64 boot_ns, int64 raw_ns)
{
    return read_clock(CLOCK_BOOTTIME) >= boot_ns || read_clock(CLOCK_MONOTONIC_RAW) >= raw_ns;
}

static enum fence_verdict judge(void)
{
    struct lease_page page;

    if (!read_page(&page)) {
        return FENCE_UNREADABLE;
    }
    kept_boot_ns = page.deadline_boot_ns;
    kept_raw_ns = page.deadline_raw_ns;
    if (kept_boot_ns == 0 && kept_raw_ns == 0) {
        return FENCE_UNARMED;
    }
    return is_passed(kept_boot_ns, kept_raw_ns) ? FENCE_EXPIRED : FENCE_OPEN;
}

void fence_page_set(const char *path)
{
    page_path = path != NULL ? path : "";
    (void)open_page(); /* it may come later */
}

enum fence_verdict fence_look(bool is_fresh)
{
    enum fence_verdict verdict;

    if (!is_fresh && kept_boot_ns != 0 && !is_passed(kept_boot_ns, kept_raw_ns)) {
        return FENCE_OPEN;
    }
    verdict = judge();
    return verdict != FENCE_OPEN && open_page() ? judge() : verdict;
}

int64 fence_left_ms(void)
{
    enum fence_verdict verdict = fence_look(true);

    if (verdict == FENCE_UNREADABLE || verdict == FENCE_UNARMED) {
        return 0;
    }
    return Min(kept_boot_ns - read_clock(CLOCK_BOOTTIME),
               kept_raw_ns - read_clock(CLOCK_MONOTONIC_RAW)) /
           NS_PER_MS;
}
