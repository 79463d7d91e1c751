/* Disk: whether the file systems of data and log take writes, while a server runs.
 *
 * One attempt each loop_wait, at most one under way; what does not end by the next one hangs. Found
 * while a server runs, kept when it is down: what to do then depends on it. */
#include "engine/postgres/driver.h"
#include "io/clock.h"
#include "io/disk_probe.h"

#include <errno.h>

#define DISK_PACE_MIN_MS 1000
#define DISK_PACE_MAX_MS 10000

struct pg_disk {
    struct disk_probe *probe;
    struct loop_timer *pace;
    enum trouble trouble;
    struct instant since;
    struct instant begun; /* the newest attempt */
    char problem[192];
};

#define HINT_FULL "make room there; replaced data is kept in NAME.baton-TIME"
#define HINT_FAILED "read the kernel's log on that host"

static const struct {
    int error;
    enum trouble trouble;
    const char *hint;
} errors[] = {
    {0, TROUBLE_NONE, NULL},
    {EIO, TROUBLE_DISK_FAILED, HINT_FAILED},
    {EROFS, TROUBLE_DISK_FAILED, HINT_FAILED},
    {ENOSPC, TROUBLE_DISK_FULL, HINT_FULL},
    {EDQUOT, TROUBLE_DISK_FULL, HINT_FULL},
};

static void set(struct postgres *pg, enum trouble trouble)
{
    struct pg_disk *disk = pg->disk;

    if (disk->trouble != trouble) {
        disk->since = trouble != TROUBLE_NONE ? disk->begun : (struct instant){0};
    }
    disk->trouble = trouble;
    if (trouble == TROUBLE_NONE) {
        disk->problem[0] = '\0';
    }
    pg_report(pg);
}

/* Other errors (no memory, a folder that is being replaced) are no news of the disk. */
static void on_done(void *arg, int error, const char *path)
{
    struct postgres *pg = arg;
    struct pg_disk *disk = pg->disk;

    for (size_t at = 0; at < ARRAY_LEN(errors); at++) {
        if (errors[at].error == error) {
            if (error != 0) {
                str_format(
                    disk->problem, sizeof(disk->problem), "%.80s takes no writes: %s\nhint: %s",
                    path, strerror(error), errors[at].hint);
            }
            set(pg, errors[at].trouble);
            return;
        }
    }
}

static int64_t pace_ms(const struct postgres *pg)
{
    int64_t ms = pg->has_cluster ? pg->cluster.settings.loop_wait_ms : DISK_PACE_MAX_MS;

    return MAX(DISK_PACE_MIN_MS, MIN(ms, DISK_PACE_MAX_MS));
}

static void on_pace(void *arg)
{
    struct postgres *pg = arg;
    struct pg_disk *disk = pg->disk;
    char log_dir[PG_PATH_SIZE];
    const char *paths[DISK_PROBE_PATHS] = {pg->paths.data_dir, log_dir};

    loop_timer_start(disk->pace, pace_ms(pg));
    if (disk_probe_is_busy(disk->probe)) {
        str_format(
            disk->problem, sizeof(disk->problem),
            "the disk of %.80s hangs, or is very slow\nhint: read the kernel's log on that host",
            pg->paths.data_dir);
        set(pg, TROUBLE_DISK_HUNG);
    } else if (pg_is_running(pg)) {
        str_format(log_dir, sizeof(log_dir), "%.4150s/pg_wal", pg->paths.data_dir);
        disk->begun = clock_now();
        IGNORE(!disk_probe_start(disk->probe, paths, DISK_PROBE_PATHS), "no thread: the next time");
    }
}

void pg_disk_init(struct postgres *pg)
{
    pg->disk = mem_alloc(sizeof(*pg->disk));
    pg->disk->probe = disk_probe_new(pg->loop, on_done, pg);
    pg->disk->pace = loop_timer_new(pg->loop, on_pace, pg);
    loop_timer_start(pg->disk->pace, DISK_PACE_MIN_MS);
}

void pg_disk_fini(struct postgres *pg)
{
    disk_probe_free(pg->disk->probe);
    loop_timer_free(pg->disk->pace);
    pg->disk = mem_free(pg->disk);
}

enum trouble pg_disk_trouble(const struct postgres *pg, struct instant *ret_since)
{
    *ret_since = pg->disk->since;
    return pg->disk->trouble;
}

const char *pg_disk_problem(const struct postgres *pg)
{
    return pg->disk->problem;
}
