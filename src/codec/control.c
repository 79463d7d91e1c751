#include "codec/control.h"

#include "base/assert.h"
#include "base/parse.h"
#include "base/str.h"
#include "codec/crc32c.h"

#define PAGE_SIZE WAL_PAGE_SIZE
#define SEGMENT_SIZE_MIN (1u << 20)
#define SEGMENT_SIZE_MAX (1u << 30)

/* struct ControlFileData of each release, by offset, on machines that align 8-byte values to 8.
 * What later releases added moves only the checksum: the WAL level (17, 18) fills a gap in the
 * checkpoint copy, the signedness of char (18) stands behind the checksum version. */
static const struct layout {
    uint32_t version;
    uint16_t state;
    uint16_t time;
    uint16_t checkpoint;
    uint16_t redo;
    uint16_t timeline;
    uint16_t previous_timeline;
    uint16_t minimum_recovery;
    uint16_t minimum_recovery_timeline;
    uint16_t wal_log_hints;
    uint16_t limits; /* five in a row, in the order of struct control_limits */
    uint16_t track_commit_timestamp;
    uint16_t wal_page_size;
    uint16_t wal_segment_size;
    uint16_t checksum_version;
    uint16_t crc;
} layouts[] = {
    {1300, 16, 24, 32, 40, 48, 52, 136, 144, 176, 180, 200, 224, 228, 252, 288}, /* 13 to 16 */
    {1700, 16, 24, 32, 40, 48, 52, 136, 144, 176, 180, 200, 224, 228, 252, 288}, /* 17 */
    {1800, 16, 24, 32, 40, 48, 52, 136, 144, 176, 180, 200, 224, 228, 252, 292}, /* 18 */
};

#define VERSION_AT 8
#define CATALOG_VERSION_AT 12
#define HEAD_SIZE 16

static uint16_t read_u16(const unsigned char *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static uint32_t read_u32(const unsigned char *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static uint64_t read_u64(const unsigned char *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static struct control_limits read_limits(const unsigned char *at)
{
    return (struct control_limits){
        .max_connections = (int32_t)read_u32(at),
        .max_worker_processes = (int32_t)read_u32(at + 4),
        .max_wal_senders = (int32_t)read_u32(at + 8),
        .max_prepared_xacts = (int32_t)read_u32(at + 12),
        .max_locks_per_xact = (int32_t)read_u32(at + 16),
    };
}

static bool is_segment_size(uint32_t size)
{
    return size >= SEGMENT_SIZE_MIN && size <= SEGMENT_SIZE_MAX && (size & (size - 1)) == 0;
}

static const struct layout *find_layout(uint32_t version)
{
    for (size_t at = 0; at < ARRAY_LEN(layouts); at++) {
        if (layouts[at].version == version) {
            return &layouts[at];
        }
    }
    return NULL;
}

int control_decode(const unsigned char *bytes, size_t length, struct control *ret, struct err *e)
{
    const struct layout *layout;
    struct control control;
    uint32_t version;
    uint32_t state;

    if (length < HEAD_SIZE) {
        return FAIL(e, ERR_CORRUPT, "pg_control has only %zu bytes", length);
    }
    version = read_u32(bytes + VERSION_AT);
    layout = find_layout(version);
    if (layout == NULL) {
        return FAIL(
            e, ERR_UNSUPPORTED,
            "pg_control has version %" PRIu32
            " (or another byte order)\nhint: PostgreSQL 13 to 18 is supported",
            version);
    }
    if (length < layout->crc + sizeof(uint32_t)) {
        return FAIL(e, ERR_CORRUPT, "pg_control has only %zu bytes", length);
    }
    if (crc32c(0, bytes, layout->crc) != read_u32(bytes + layout->crc)) {
        return FAIL(e, ERR_CORRUPT, "the checksum of pg_control does not match");
    }
    state = read_u32(bytes + layout->state);
    if (state > CONTROL_IN_PRODUCTION) {
        return FAIL(e, ERR_CORRUPT, "pg_control has the unknown state %" PRIu32, state);
    }
    control = (struct control){
        .version = version,
        .catalog_version = read_u32(bytes + CATALOG_VERSION_AT),
        .system_id = read_u64(bytes),
        .state = (enum control_state)state,
        .modified_real_s = (int64_t)read_u64(bytes + layout->time),
        .checkpoint_lsn = read_u64(bytes + layout->checkpoint),
        .redo_lsn = read_u64(bytes + layout->redo),
        .timeline = read_u32(bytes + layout->timeline),
        .previous_timeline = read_u32(bytes + layout->previous_timeline),
        .minimum_recovery_lsn = read_u64(bytes + layout->minimum_recovery),
        .minimum_recovery_timeline = read_u32(bytes + layout->minimum_recovery_timeline),
        .wal_segment_size = read_u32(bytes + layout->wal_segment_size),
        .data_checksum_version = read_u32(bytes + layout->checksum_version),
        .wal_log_hints = bytes[layout->wal_log_hints] != 0,
        .track_commit_timestamp = bytes[layout->track_commit_timestamp] != 0,
        .limits = read_limits(bytes + layout->limits),
    };
    if (!is_segment_size(control.wal_segment_size)) {
        return FAIL(
            e, ERR_CORRUPT, "pg_control has the impossible WAL segment size %" PRIu32,
            control.wal_segment_size);
    }
    if (read_u32(bytes + layout->wal_page_size) != PAGE_SIZE) {
        return FAIL(e, ERR_UNSUPPORTED, "pg_control asks for WAL pages that are not of 8 kB");
    }
    *ret = control;
    return 0;
}

const char *control_state_text(enum control_state state)
{
    static const char *const texts[] = {
        [CONTROL_STARTUP] = "starting up",
        [CONTROL_SHUTDOWNED] = "shut down",
        [CONTROL_SHUTDOWNED_IN_RECOVERY] = "shut down in recovery",
        [CONTROL_SHUTDOWNING] = "shutting down",
        [CONTROL_IN_CRASH_RECOVERY] = "in crash recovery",
        [CONTROL_IN_ARCHIVE_RECOVERY] = "in archive recovery",
        [CONTROL_IN_PRODUCTION] = "in production",
    };

    ASSERT((size_t)state < ARRAY_LEN(texts));
    return texts[state];
}

/* WAL, from here on: src/include/access/xlog_internal.h and xlogrecord.h of each release. */

#define PAGE_HEADER_SIZE 24u
#define LONG_PAGE_HEADER_SIZE 40u /* of the first page of a segment */
#define PAGE_MAGIC_MASK 0xFF00u
#define PAGE_MAGIC 0xD100u /* the low byte counts releases */
#define PAGE_INFO_AT 2
#define PAGE_ADDRESS_AT 8
#define PAGE_REMAINING_AT 16
#define PAGE_IS_CONTINUED 1u
#define PAGE_IS_LONG 2u

#define RECORD_HEADER_SIZE 24u
#define RECORD_PREVIOUS_AT 8
#define RECORD_INFO_AT 16
#define RECORD_MANAGER_AT 17
#define RECORD_CRC_AT 20
#define RECORD_ALIGNMENT 8u

#define MANAGER_XLOG 0
#define INFO_MASK 0xF0
#define INFO_CHECKPOINT_SHUTDOWN 0x00
#define INFO_SWITCH 0x40

/* Bytes of the page header at the page that begins at LSN. */
static uint32_t header_size(uint64_t page_lsn, uint32_t wal_segment_size)
{
    return (page_lsn & (wal_segment_size - 1)) == 0 ? LONG_PAGE_HEADER_SIZE : PAGE_HEADER_SIZE;
}

bool wal_is_behind_header(uint64_t lsn, uint32_t wal_segment_size)
{
    uint64_t page_lsn = lsn - lsn % PAGE_SIZE;

    return lsn - page_lsn == header_size(page_lsn, wal_segment_size);
}

uint64_t wal_record_end(uint64_t lsn, uint32_t total_length, uint32_t wal_segment_size)
{
    uint64_t left =
        ((uint64_t)total_length + RECORD_ALIGNMENT - 1) & ~(uint64_t)(RECORD_ALIGNMENT - 1);
    uint64_t at = lsn;

    ASSERT(is_segment_size(wal_segment_size));
    while (left > 0) {
        uint64_t room;
        uint64_t step;

        if (at % PAGE_SIZE == 0) {
            at += header_size(at, wal_segment_size);
        }
        room = PAGE_SIZE - at % PAGE_SIZE;
        step = MIN(left, room);
        at += step;
        left -= step;
    }
    return at;
}

/* The page at PAGE_LSN continues a record of which REMAINING bytes are left; 0: any page. */
static bool is_page(
    const unsigned char *page, uint64_t page_lsn, uint32_t wal_segment_size, uint32_t remaining)
{
    bool is_long = header_size(page_lsn, wal_segment_size) == LONG_PAGE_HEADER_SIZE;
    unsigned info = read_u16(page + PAGE_INFO_AT);

    if ((read_u16(page) & PAGE_MAGIC_MASK) != PAGE_MAGIC ||
        read_u64(page + PAGE_ADDRESS_AT) != page_lsn || ((info & PAGE_IS_LONG) != 0) != is_long) {
        return false;
    }
    return remaining == 0 ||
           ((info & PAGE_IS_CONTINUED) != 0 && read_u32(page + PAGE_REMAINING_AT) == remaining);
}

/* A record on its way through the pages. */
struct walk {
    const unsigned char *bytes;
    uint64_t length;
    uint32_t segment_size;
    uint64_t start_lsn; /* of the bytes */
    uint64_t at;        /* offset of the next byte */
    uint32_t left;      /* bytes of the record */
};

/* The next bytes of the record that lie together: their number, 0 at the end; negative on
 * failure. */
static int take_piece(
    struct walk *walk, const unsigned char **ret, uint32_t *ret_size, struct err *e)
{
    uint64_t room;

    *ret_size = 0;
    if (walk->left == 0) {
        return 0;
    }
    if (walk->at % PAGE_SIZE == 0) {
        uint64_t page_lsn = walk->start_lsn + walk->at;
        uint32_t header = header_size(page_lsn, walk->segment_size);

        if (walk->length - walk->at < header) {
            return FAIL(e, ERR_UNAVAILABLE, "the record goes on behind the end of what was read");
        }
        if (!is_page(walk->bytes + walk->at, page_lsn, walk->segment_size, walk->left)) {
            return FAIL(e, ERR_CORRUPT, "a WAL page does not continue the record");
        }
        walk->at += header;
    }
    room = MIN(PAGE_SIZE - walk->at % PAGE_SIZE, walk->length - walk->at);
    if (room == 0) {
        return FAIL(e, ERR_UNAVAILABLE, "the record goes on behind the end of what was read");
    }
    *ret = walk->bytes + walk->at;
    *ret_size = (uint32_t)MIN(room, walk->left);
    walk->at += *ret_size;
    walk->left -= *ret_size;
    return 0;
}

/* Gather the header and the checksum of all that follows it. */
static int read_record(struct walk *walk, unsigned char *header, uint32_t *ret_crc, struct err *e)
{
    uint32_t gathered = 0;
    uint32_t crc = 0;

    for (;;) {
        const unsigned char *piece = NULL;
        uint32_t size = 0;
        uint32_t head;
        int r = take_piece(walk, &piece, &size, e);

        if (r < 0) {
            return r;
        }
        if (size == 0) {
            break;
        }
        head = MIN(size, RECORD_HEADER_SIZE - gathered);
        memcpy(header + gathered, piece, head);
        gathered += head;
        crc = crc32c(crc, piece + head, size - head);
    }
    ASSERT(gathered == RECORD_HEADER_SIZE);
    *ret_crc = crc32c(crc, header, RECORD_CRC_AT);
    return 0;
}

/* Whether a record may begin at WALK's place, and its length. */
static int find_record(struct walk *walk, struct err *e)
{
    uint64_t page_at = walk->at - walk->at % PAGE_SIZE;
    uint64_t page_lsn = walk->start_lsn + page_at;
    uint32_t header = header_size(page_lsn, walk->segment_size);

    if (walk->at % RECORD_ALIGNMENT != 0 || walk->at - page_at < header) {
        return FAIL(e, ERR_CORRUPT, "no record can begin there");
    }
    if (walk->length < sizeof(uint32_t) || walk->at > walk->length - sizeof(uint32_t)) {
        return FAIL(e, ERR_CORRUPT, "the WAL ends before it");
    }
    if (!is_page(walk->bytes + page_at, page_lsn, walk->segment_size, 0)) {
        return FAIL(e, ERR_CORRUPT, "its WAL page has no valid header");
    }
    walk->left = read_u32(walk->bytes + walk->at);
    if (walk->left < RECORD_HEADER_SIZE) {
        return FAIL(e, ERR_CORRUPT, "no record begins there");
    }
    return 0;
}

int wal_record_decode(
    const struct wal_slice *slice, uint64_t lsn, struct wal_record *ret, struct err *e)
{
    uint32_t wal_segment_size = slice->segment_size;
    struct walk walk = {
        .bytes = slice->bytes,
        .length = slice->length,
        .segment_size = wal_segment_size,
        .start_lsn = slice->lsn,
        .at = lsn - slice->lsn,
    };
    unsigned char header[RECORD_HEADER_SIZE] = {0};
    struct wal_record record = {0};
    char text[LSN_TEXT_SIZE];
    uint32_t crc = 0;
    int r;

    ASSERT(is_segment_size(wal_segment_size));
    ASSERT(slice->lsn % PAGE_SIZE == 0);
    ASSERT(lsn >= slice->lsn);
    r = find_record(&walk, e);
    if (r == 0) {
        record.total_length = walk.left;
        r = read_record(&walk, header, &crc, e);
    }
    if (r == 0 && crc != read_u32(header + RECORD_CRC_AT)) {
        r = FAIL(e, ERR_CORRUPT, "its checksum does not match");
    }
    if (r < 0) {
        lsn_format(lsn, text);
        return err_wrap(e, r, "the WAL record at %s", text);
    }
    record.info = header[RECORD_INFO_AT];
    record.manager = header[RECORD_MANAGER_AT];
    record.previous_lsn = read_u64(header + RECORD_PREVIOUS_AT);
    record.end_lsn = wal_record_end(lsn, record.total_length, wal_segment_size);
    if (record.manager == MANAGER_XLOG && (record.info & INFO_MASK) == INFO_SWITCH) {
        /* What is left of the segment belongs to it. */
        record.end_lsn =
            (record.end_lsn + wal_segment_size - 1) & ~(uint64_t)(wal_segment_size - 1);
    }
    *ret = record;
    return 0;
}

/* Where a record begins that is next at LSN: behind the header of a page. */
static uint64_t skip_header(uint64_t lsn, uint32_t wal_segment_size)
{
    return lsn % PAGE_SIZE == 0 ? lsn + header_size(lsn, wal_segment_size) : lsn;
}

int wal_scan_begin(struct wal_scan *ret, const struct wal_slice *slice, struct err *e)
{
    uint32_t header = header_size(slice->lsn, slice->segment_size);
    uint32_t remaining = 0;

    ASSERT(slice->lsn % PAGE_SIZE == 0);
    if (slice->length < header || !is_page(slice->bytes, slice->lsn, slice->segment_size, 0)) {
        return FAIL(e, ERR_CORRUPT, "no WAL page is there");
    }
    if ((read_u16(slice->bytes + PAGE_INFO_AT) & PAGE_IS_CONTINUED) != 0) {
        remaining = read_u32(slice->bytes + PAGE_REMAINING_AT);
    }
    *ret = (struct wal_scan){
        .lsn = wal_record_end(slice->lsn + header, remaining, slice->segment_size)};
    return 0;
}

int wal_scan_go(struct wal_scan *scan, const struct wal_slice *slice)
{
    ASSERT(slice->lsn <= scan->lsn);
    for (;;) {
        uint64_t lsn = skip_header(scan->lsn, slice->segment_size);
        struct wal_record record = {0};
        int r;

        if (lsn - slice->lsn >= slice->length) {
            return WAL_SCAN_MORE;
        }
        r = wal_record_decode(slice, lsn, &record, NULL);
        if (r == ERR_UNAVAILABLE) {
            return WAL_SCAN_MORE;
        }
        if (r < 0 || (scan->previous_lsn != 0 && record.previous_lsn != scan->previous_lsn)) {
            return 0;
        }
        scan->previous_lsn = lsn;
        scan->end_lsn = scan->lsn = record.end_lsn;
    }
}

bool wal_scan_is_cut(const struct wal_scan *scan, const struct wal_slice *slice, uint64_t lsn)
{
    struct wal_slice part = *slice;
    uint64_t next = skip_header(scan->lsn, slice->segment_size);
    struct wal_record record;

    if (lsn % PAGE_SIZE != 0 || slice->lsn > next || next >= lsn ||
        lsn - slice->lsn > slice->length) {
        return false;
    }
    part.length = (size_t)(lsn - slice->lsn);
    return wal_record_decode(&part, next, &record, NULL) == ERR_UNAVAILABLE;
}

bool wal_is_shutdown_checkpoint(const struct wal_record *record)
{
    return record->manager == MANAGER_XLOG &&
           (record->info & INFO_MASK) == INFO_CHECKPOINT_SHUTDOWN;
}

void wal_name_format(uint32_t timeline, uint64_t lsn, uint32_t wal_segment_size, char *buffer)
{
    ASSERT(is_segment_size(wal_segment_size));
    IGNORE(
        !str_format(
            buffer, WAL_NAME_SIZE, "%08" PRIX32 "%08" PRIX32 "%08" PRIX32, timeline,
            (uint32_t)(lsn >> 32), (uint32_t)lsn / wal_segment_size),
        "24 digits");
}

/* Eight digits of NAME from AT on. */
static uint64_t read_digits(const char *name, size_t at)
{
    char digits[9] = "";
    uint64_t value = 0;

    memcpy(digits, name + at, 8);
    IGNORE(parse_hex_u64(digits, &value, NULL), "checked to be digits");
    return value;
}

int wal_name_parse(const char *name, uint32_t wal_segment_size, struct position *ret, struct err *e)
{
    uint64_t segment;

    ASSERT(is_segment_size(wal_segment_size));
    if (strlen(name) != WAL_NAME_SIZE - 1 ||
        strspn(name, "0123456789ABCDEF") != WAL_NAME_SIZE - 1) {
        return FAIL(e, ERR_INVALID, "'%.80s' is not the name of a WAL segment", name);
    }
    segment = read_digits(name, 16);
    if (segment >= (UINT64_C(1) << 32) / wal_segment_size) {
        return FAIL(
            e, ERR_INVALID, "'%s' is not the name of a WAL segment of %" PRIu32 " bytes", name,
            wal_segment_size);
    }
    ret->timeline = (uint32_t)read_digits(name, 0);
    ret->lsn = read_digits(name, 8) << 32 | segment * wal_segment_size;
    return 0;
}
