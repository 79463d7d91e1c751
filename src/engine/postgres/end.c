/* Where the log of a primary ends that was not stopped: the end of its last whole record.
 *
 *   page of the last flushed position that was seen, a few pages back --walk--> end
 *        | no page, no record, or what was seen is not accounted for
 *   last checkpoint of the control file ----------------------------walk--> end, or not known
 *
 * Every commit that was acknowledged had been flushed, so it lies before the first place where no
 * valid record follows. What was seen flushed must lie before it, too, or be the end of a page in
 * the middle of the next record: a server flushes what it has of a long one, and no commit lies
 * there. Else something is damaged, and nothing is claimed. Without such a position the control
 * file tells the timeline; it does so late after a promotion, so a later history file makes the end
 * unknown. Everything is bounded: whoever waits for a takeover does not wait for a long log. */
#include "engine/postgres/driver.h"
#include "io/clock.h"
#include "io/file.h"

#define PAGES_BACK 4
#define PIECE_FIRST ((size_t)64 << 10) /* fresh memory costs more time than the reading */
#define PIECE_MAX ((size_t)1 << 20)
#define ROOM_MAX ((size_t)64 << 20) /* a record that is longer ends the search */
#define BYTES_MAX ((uint64_t)256 << 20)
#define WALK_MS 2000 /* of what was shipped */

struct log {
    const char *data_dir;
    uint32_t timeline;
    uint64_t read; /* bytes */
    struct instant since;
    int64_t limit_ms;
    unsigned char *bytes;
    size_t room;
    struct wal_slice slice; /* of BYTES */
};

/* Append what the segment's file has next; *RET_ANY false: there is no more. */
static int add_piece(struct log *log, size_t size, bool *ret_any, struct err *e)
{
    struct wal_slice *slice = &log->slice;
    uint64_t lsn = slice->lsn + slice->length;
    uint64_t offset = lsn % slice->segment_size;
    char name[WAL_NAME_SIZE];
    char path[PG_PATH_SIZE];
    AUTO_FREE char *piece = NULL;
    size_t length = 0;
    int r;

    *ret_any = false;
    size = MIN(size, (size_t)(slice->segment_size - offset));
    if (slice->length + size > ROOM_MAX || log->read + size > BYTES_MAX ||
        instant_elapsed_max_ms(log->since, clock_now()) > log->limit_ms) {
        return FAIL(e, ERR_LIMIT, "the log is too long to be searched");
    }
    wal_name_format(log->timeline, lsn, slice->segment_size, name);
    str_format(path, sizeof(path), "%s/pg_wal/%s", log->data_dir, name);
    r = file_read_part(path, offset, size, &piece, &length, e);
    if (r == ERR_NOT_FOUND) {
        return 0;
    }
    if (r < 0) {
        return r;
    }
    length -= length % WAL_PAGE_SIZE;
    if (slice->length + length > log->room) {
        log->room = slice->length + length;
        log->bytes = mem_resize(log->bytes, log->room);
    }
    if (length > 0) {
        memcpy(log->bytes + slice->length, piece, length);
    }
    slice->bytes = log->bytes;
    slice->length += length;
    log->read += length;
    *ret_any = length > 0;
    return 0;
}

/* Forget the pages before the one where the next record begins. */
static void drop_before(struct log *log, uint64_t lsn)
{
    struct wal_slice *slice = &log->slice;
    uint64_t page = lsn - lsn % WAL_PAGE_SIZE;
    uint64_t done = page - slice->lsn;

    if (done >= slice->length) {
        slice->length = 0;
    } else {
        slice->length -= (size_t)done;
        memmove(log->bytes, log->bytes + done, slice->length);
    }
    slice->lsn = page;
}

static int walk(struct log *log, struct wal_scan *scan, struct err *e)
{
    for (;;) {
        bool is_any;
        int r;

        if (log->slice.length > 0 && wal_scan_go(scan, &log->slice) == 0) {
            return 0;
        }
        drop_before(log, scan->lsn);
        /* The end is near as a rule; if it is not, pieces become larger. A long record is read
         * again with each of them: twice as far each time. */
        r = add_piece(
            log, MIN(MAX(log->read, PIECE_FIRST), MAX(PIECE_MAX, log->slice.length)), &is_any, e);
        if (r < 0 || !is_any) {
            return r;
        }
    }
}

/* Walk from the pages before SEEN. */
static int walk_from_seen(struct log *log, uint64_t seen, struct wal_scan *scan, struct err *e)
{
    uint64_t page = (seen - 1) / WAL_PAGE_SIZE;
    bool is_any;
    int r;

    log->slice.lsn = (page > PAGES_BACK ? page - PAGES_BACK : 0) * WAL_PAGE_SIZE;
    r = add_piece(log, (size_t)(2 * PAGES_BACK) * WAL_PAGE_SIZE, &is_any, e);
    if (r == 0) {
        r = wal_scan_begin(scan, &log->slice, e);
    }
    return r == 0 ? walk(log, scan, e) : r;
}

/* The walk has ended: does it account for all that was flushed up to SEEN? */
static bool has_all(const struct log *log, const struct wal_scan *scan, uint64_t seen)
{
    return scan->end_lsn != 0 &&
           (scan->end_lsn >= seen || wal_scan_is_cut(scan, &log->slice, seen));
}

static bool has_later_timeline(const char *data_dir, uint32_t timeline)
{
    char path[PG_PATH_SIZE];
    char own[HISTORY_NAME_SIZE];
    char **names = NULL;
    bool is_there = false;

    history_name_format(timeline, own);

    str_format(path, sizeof(path), "%s/pg_wal", data_dir);
    if (file_list(path, &names, NULL) < 0) {
        return true;
    }
    for (char **at = names; *at != NULL; at++) {
        /* Eight digits of one case: their order is that of the numbers. */
        is_there = is_there || (strlen(*at) == strlen(own) && strcmp(*at, own) > 0 &&
                                str_equal(*at + 8, own + 8));
    }
    file_names_free(names);
    return is_there;
}

bool pg_find_end(
    const char *data_dir, const struct control *control, struct position seen, int64_t limit_ms,
    struct position *ret)
{
    struct log log = {.data_dir = data_dir, .since = clock_now(), .limit_ms = limit_ms};
    struct wal_scan scan = {0};
    bool is_found = false;

    log.timeline = seen.timeline != 0 ? seen.timeline : control->timeline;
    log.slice.segment_size = control->wal_segment_size;
    if (seen.timeline != 0 && seen.lsn != 0) {
        is_found =
            walk_from_seen(&log, seen.lsn, &scan, NULL) == 0 && has_all(&log, &scan, seen.lsn);
    }
    if (!is_found && log.timeline == control->timeline &&
        (seen.timeline != 0 || !has_later_timeline(data_dir, control->timeline))) {
        scan = (struct wal_scan){.lsn = control->checkpoint_lsn};
        log.slice.lsn = scan.lsn - scan.lsn % WAL_PAGE_SIZE;
        log.slice.length = 0;
        is_found = walk(&log, &scan, NULL) == 0 && has_all(&log, &scan, seen.lsn);
    }
    mem_free(log.bytes);
    if (is_found) {
        *ret = (struct position){log.timeline, scan.end_lsn};
    }
    return is_found;
}

int pg_walk_log(
    const char *data_dir, uint32_t timeline, uint32_t segment_size, uint64_t from,
    uint64_t *ret_end, struct err *e)
{
    struct log log = {
        .data_dir = data_dir, .timeline = timeline, .since = clock_now(), .limit_ms = WALK_MS};
    struct wal_scan scan = {.lsn = from};
    int r;

    log.slice.segment_size = segment_size;
    log.slice.lsn = from - from % WAL_PAGE_SIZE;
    r = walk(&log, &scan, e);
    mem_free(log.bytes);
    *ret_end = scan.end_lsn;
    return r;
}
