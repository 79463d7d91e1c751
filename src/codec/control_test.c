#include "codec/control.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/crc32c.h"

#include <setjmp.h>

#include <cmocka.h>

#define SEGMENT_SIZE (1u << 20)
#define PAGE 8192u
#define FILE_MAX 65536

/* The project's folder, as the test's environment names it; here when started by hand. */
static const char *find_source(void)
{
    static const char name[] = "BATON_SOURCE=";

    for (char **at = environ; *at != NULL; at++) {
        if (str_starts(*at, name)) {
            return *at + strlen(name);
        }
    }
    return ".";
}

static size_t read_corpus(const char *name, unsigned char *bytes)
{
    char path[512];
    FILE *file;
    size_t length;

    assert_true(str_format(path, sizeof(path), "%s/tests/corpus/control/%s", find_source(), name));
    file = fopen(path, "rb");
    assert_non_null(file);
    length = fread(bytes, 1, FILE_MAX, file);
    fclose(file);
    return length;
}

static void test_crc32c(void **state)
{
    (void)state;
    /* RFC 3720, B.4, and the usual check value. */
    static const unsigned char zeros[32];
    unsigned char mixed[48];

    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c(0, zeros, 32), 0x8A9136AA);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xE3069283);
    /* With the processor's instruction it is the same, of any length and from any place. */
    for (size_t at = 0; at < sizeof(mixed); at++) {
        mixed[at] = (unsigned char)(at * 37 + 11);
    }
    for (size_t length = 0; length < 40; length++) {
        for (size_t at = 0; at < 8; at++) {
            assert_int_equal(
                crc32c(0x12345678, mixed + at, length),
                crc32c_by_table(0x12345678, mixed + at, length));
        }
    }
}

/* What pg_controldata says of the same file. */
static void test_control_of_real_clusters(void **state)
{
    static const struct {
        const char *file;
        uint32_t version;
        enum control_state state;
        uint32_t timeline;
        uint64_t checkpoint_lsn;
        uint64_t minimum_recovery_lsn;
    } rows[] = {
        {"pg15-stopped", 1300, CONTROL_SHUTDOWNED, 1, 0x8036D0, 0},
        {"pg15-running", 1300, CONTROL_IN_PRODUCTION, 1, 0x8036D0, 0},
        {"pg15-recovery", 1300, CONTROL_IN_ARCHIVE_RECOVERY, 1, 0x8036D0, 0x81C030},
        {"pg15-promoted", 1300, CONTROL_SHUTDOWNED, 2, 0x831410, 0},
        {"made-pg17", 1700, CONTROL_SHUTDOWNED, 1, 0x8036D0, 0},
        {"made-pg18", 1800, CONTROL_SHUTDOWNED, 1, 0x8036D0, 0},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        unsigned char bytes[FILE_MAX];
        struct control control;
        size_t length = read_corpus(rows[at].file, bytes);

        assert_int_equal(control_decode(bytes, length, &control, NULL), 0);
        assert_int_equal(control.version, rows[at].version);
        assert_int_equal(control.state, rows[at].state);
        assert_int_equal(control.timeline, rows[at].timeline);
        assert_int_equal(control.checkpoint_lsn, rows[at].checkpoint_lsn);
        assert_int_equal(control.minimum_recovery_lsn, rows[at].minimum_recovery_lsn);
        assert_true(control.system_id == UINT64_C(7711362511986721730));
        assert_int_equal(control.wal_segment_size, SEGMENT_SIZE);
        assert_int_equal(control.data_checksum_version, 0);
        assert_true(control.wal_log_hints);
        assert_false(control.track_commit_timestamp);
        assert_int_equal(control.limits.max_connections, 100);
        assert_true(control.modified_real_s > 1700000000);
    }
}

static void test_control_details(void **state)
{
    unsigned char bytes[FILE_MAX];
    struct control control;
    size_t length = read_corpus("pg15-stopped", bytes);

    (void)state;
    assert_int_equal(control_decode(bytes, length, &control, NULL), 0);
    assert_int_equal(control.catalog_version, 202209061);
    assert_int_equal(control.redo_lsn, 0x8036D0);
    assert_int_equal(control.previous_timeline, 1);
    assert_int_equal(control.minimum_recovery_timeline, 0);
    assert_string_equal(control_state_text(control.state), "shut down");
}

static void rewrite_crc(unsigned char *bytes, size_t crc_at)
{
    uint32_t crc = crc32c(0, bytes, crc_at);

    memcpy(bytes + crc_at, &crc, sizeof(crc));
}

/* pg15-stopped as pg_controldata prints it, and each field with a value of its own. */
static void test_control_limits(void **state)
{
    static const struct {
        const char *file;
        size_t crc_at;
    } rows[] = {{"pg15-stopped", 288}, {"made-pg17", 288}, {"made-pg18", 292}};
    static const int32_t values[] = {1001, 1002, 1003, 1004, 1005};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        unsigned char bytes[FILE_MAX];
        struct control control;
        size_t length = read_corpus(rows[at].file, bytes);

        assert_int_equal(control_decode(bytes, length, &control, NULL), 0);
        assert_int_equal(control.limits.max_connections, 100);
        assert_int_equal(control.limits.max_worker_processes, 8);
        assert_int_equal(control.limits.max_wal_senders, 10);
        assert_int_equal(control.limits.max_prepared_xacts, 0);
        assert_int_equal(control.limits.max_locks_per_xact, 64);
        assert_false(control.track_commit_timestamp);
        memcpy(bytes + 180, values, sizeof(values));
        bytes[200] = 1;
        rewrite_crc(bytes, rows[at].crc_at);
        assert_int_equal(control_decode(bytes, length, &control, NULL), 0);
        assert_memory_equal(&control.limits, values, sizeof(values));
        assert_true(control.track_commit_timestamp);
    }
}

static void test_control_refusals(void **state)
{
    unsigned char good[FILE_MAX];
    unsigned char bytes[FILE_MAX];
    struct control control;
    size_t length = read_corpus("pg15-stopped", good);
    static const struct {
        size_t at;
        uint32_t value;
        bool has_new_crc;
        int result;
    } rows[] = {
        {8, 1201, true, ERR_UNSUPPORTED},       /* version 12 */
        {8, 0x14050000, true, ERR_UNSUPPORTED}, /* byte order */
        {32, 1, false, ERR_CORRUPT},            /* checksum */
        {16, 7, true, ERR_CORRUPT},             /* state */
        {228, 12345678, true, ERR_CORRUPT},     /* segment size */
        {228, 1u << 31, true, ERR_CORRUPT},
        {224, 16384, true, ERR_UNSUPPORTED}, /* page size */
    };

    (void)state;
    for (size_t cut = 0; cut < 292; cut++) {
        assert_int_equal(control_decode(good, cut, &control, NULL), ERR_CORRUPT);
    }
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct err e = {0};

        memcpy(bytes, good, length);
        memcpy(bytes + rows[at].at, &rows[at].value, sizeof(rows[at].value));
        if (rows[at].has_new_crc) {
            rewrite_crc(bytes, 288);
        }
        assert_int_equal(control_decode(bytes, length, &control, &e), rows[at].result);
        assert_non_null(strstr(e.text, "pg_control"));
    }
    /* Each single bit is covered by the checksum. */
    for (size_t bit = 0; bit < (size_t)288 * 8; bit++) {
        memcpy(bytes, good, length);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_true(control_decode(bytes, length, &control, NULL) < 0);
    }
}

/* From the first LENGTH bytes of the segment with LSN. */
static int decode(
    const unsigned char *bytes, size_t length, uint32_t segment_size, uint64_t lsn,
    struct wal_record *ret, struct err *e)
{
    const struct wal_slice slice = {
        bytes, length, lsn & ~(uint64_t)(segment_size - 1), segment_size};

    return wal_record_decode(&slice, lsn, ret, e);
}

/* The chain that pg_waldump prints of the same segment. */
static void test_wal_chain_of_a_real_segment(void **state)
{
    static const struct {
        uint32_t lsn;
        uint32_t total_length;
        uint8_t manager;
    } rows[] = {
        {0x800028, 1243, 10}, {0x800508, 507, 10}, {0x800708, 1691, 10}, {0x800DA8, 955, 10},
        {0x801168, 219, 10},  {0x801248, 34, 1},   {0x801270, 9055, 21}, {0x8035E8, 57, 10},
        {0x803628, 58, 10},   {0x803668, 59, 10},  {0x8036A8, 34, 1},    {0x8036D0, 114, 0},
    };
    unsigned char bytes[FILE_MAX];
    size_t length = read_corpus("pg15-segment-8", bytes);
    uint64_t previous = 0x700070;
    struct wal_record record = {0};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        int r = decode(bytes, length, SEGMENT_SIZE, rows[at].lsn, &record, NULL);

        assert_int_equal(r, 0);
        assert_int_equal(record.total_length, rows[at].total_length);
        assert_int_equal(record.manager, rows[at].manager);
        assert_int_equal(record.previous_lsn, previous);
        assert_int_equal(record.end_lsn, at + 1 < ARRAY_LEN(rows) ? rows[at + 1].lsn : 0x803748);
        assert_int_equal(wal_is_shutdown_checkpoint(&record), at + 1 == ARRAY_LEN(rows));
        previous = rows[at].lsn;
    }
}

/* The same chain, walked: whole, page by page, from a later page on, and up to a damaged record. */
static void test_wal_scan(void **state)
{
    unsigned char bytes[FILE_MAX];
    struct wal_slice slice = {bytes, read_corpus("pg15-segment-8", bytes), 0x800000, SEGMENT_SIZE};
    size_t whole = slice.length;
    struct wal_scan scan;

    (void)state;
    assert_int_equal(wal_scan_begin(&scan, &slice, NULL), 0);
    assert_true(scan.lsn == 0x800028);
    IGNORE(wal_scan_go(&scan, &slice), "the file may end there");
    assert_true(scan.end_lsn == 0x803748);
    assert_true(scan.previous_lsn == 0x8036D0);
    assert_int_equal(wal_scan_begin(&scan, &slice, NULL), 0);
    slice.length = PAGE;
    assert_int_equal(wal_scan_go(&scan, &slice), WAL_SCAN_MORE);
    assert_true(scan.end_lsn == 0x801270);
    assert_int_equal(wal_scan_go(&scan, &slice), WAL_SCAN_MORE);
    slice.length = whole;
    IGNORE(wal_scan_go(&scan, &slice), "the file may end there");
    assert_true(scan.end_lsn == 0x803748);
    slice = (struct wal_slice){bytes + PAGE, whole - PAGE, 0x802000, SEGMENT_SIZE};
    assert_int_equal(wal_scan_begin(&scan, &slice, NULL), 0);
    assert_true(scan.lsn == 0x8035E8);
    bytes[0x3640] ^= 1;
    assert_int_equal(wal_scan_go(&scan, &slice), 0);
    assert_true(scan.end_lsn == 0x803628);
    bytes[0x3640] ^= 1;
    scan = (struct wal_scan){.lsn = 0x803628, .previous_lsn = 0x8035E0}; /* another one was there */
    assert_int_equal(wal_scan_go(&scan, &slice), 0);
    assert_true(scan.end_lsn == 0);
    slice.lsn += PAGE;
    assert_int_equal(wal_scan_begin(&scan, &slice, NULL), ERR_CORRUPT);
}

static void test_wal_refusals(void **state)
{
    unsigned char bytes[FILE_MAX] = {0};
    size_t length = read_corpus("pg15-segment-8", bytes);
    struct wal_record record;
    struct err e = {0};

    (void)state;
    /* In a page header, not aligned, behind the last record, in the middle of one, in another
     * segment. */
    assert_int_equal(decode(bytes, length, SEGMENT_SIZE, 0x800010, &record, NULL), ERR_CORRUPT);
    assert_int_equal(decode(bytes, length, SEGMENT_SIZE, 0x80002C, &record, NULL), ERR_CORRUPT);
    assert_int_equal(decode(bytes, length + 256, SEGMENT_SIZE, 0x803748, &record, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "0/803748"));
    assert_int_equal(decode(bytes, length, SEGMENT_SIZE, 0x800048, &record, NULL), ERR_CORRUPT);
    assert_int_equal(decode(bytes, length, SEGMENT_SIZE, 0x9036D0, &record, NULL), ERR_CORRUPT);
    assert_int_equal(decode(bytes, length, SEGMENT_SIZE, 0x870000, &record, NULL), ERR_CORRUPT);
    /* Cut within the last record. */
    for (size_t cut = 0x36D4; cut < 0x36D0 + 114; cut++) {
        assert_int_equal(
            decode(bytes, cut, SEGMENT_SIZE, 0x8036D0, &record, NULL), ERR_UNAVAILABLE);
    }
    /* One wrong byte anywhere in it. */
    for (size_t at = 0x36D0; at < 0x36D0 + 114; at++) {
        /* Two bytes of padding before the checksum are part of it, too. */
        bytes[at] ^= 0x40;
        assert_true(decode(bytes, length, SEGMENT_SIZE, 0x8036D0, &record, NULL) < 0);
        bytes[at] ^= 0x40;
    }
    /* A page in the middle that is not the continuation. */
    bytes[0x2000] ^= 1;
    assert_int_equal(decode(bytes, length, SEGMENT_SIZE, 0x801270, &record, NULL), 0);
    bytes[0x2001] ^= 1;
    assert_int_equal(decode(bytes, length, SEGMENT_SIZE, 0x801270, &record, NULL), ERR_CORRUPT);
    bytes[0x2001] ^= 1;
    bytes[0x2010] ^= 1;
    assert_int_equal(decode(bytes, length, SEGMENT_SIZE, 0x801270, &record, NULL), ERR_CORRUPT);
}

static void put_page_header(unsigned char *wal, uint64_t start_lsn, size_t at, uint32_t remaining)
{
    uint16_t magic = 0xD110;
    uint16_t info = (uint16_t)((remaining > 0 ? 1 : 0) | (at % SEGMENT_SIZE == 0 ? 2 : 0));
    uint64_t address = start_lsn + at;

    memcpy(wal + at, &magic, 2);
    memcpy(wal + at + 2, &info, 2);
    memcpy(wal + at + 8, &address, 8);
    memcpy(wal + at + 16, &remaining, 4);
}

/* Lay a record of LENGTH bytes into WAL (two segments) as the server does, byte by byte; the offset
 * behind it. */
static size_t put_record(
    unsigned char *wal, uint64_t start_lsn, size_t at, uint32_t length, uint8_t info)
{
    AUTO_FREE unsigned char *record = mem_alloc(length);
    uint32_t crc;

    memcpy(record, &length, 4);
    for (uint32_t i = 24; i < length; i++) {
        record[i] = (unsigned char)(i * 7);
    }
    record[16] = info;
    crc = crc32c(crc32c(0, record + 24, length - 24), record, 20);
    memcpy(record + 20, &crc, 4);
    put_page_header(wal, start_lsn, at - at % PAGE, 0);
    for (uint32_t i = 0; i < length; i++) {
        if (at % PAGE == 0) {
            put_page_header(wal, start_lsn, at, length - i);
            at += at % SEGMENT_SIZE == 0 ? 40 : 24;
        }
        wal[at++] = record[i];
    }
    return (at + 7) & ~(size_t)7;
}

/* The pages from the record's on tell the same; one byte less than the record does not do. */
static void check_slice(const unsigned char *wal, uint64_t start_lsn, size_t at, size_t end)
{
    size_t from = at - at % PAGE;
    struct wal_slice slice = {wal + from, end - from, start_lsn + from, SEGMENT_SIZE};
    struct wal_record record = {0};
    size_t length = 0;

    assert_int_equal(wal_record_decode(&slice, start_lsn + at, &record, NULL), 0);
    assert_true(record.end_lsn == start_lsn + end);
    length = wal_record_end(start_lsn + at, record.total_length, SEGMENT_SIZE) - start_lsn - from;
    slice.length = length - (record.total_length % 8 == 0 ? 1 : 8);
    assert_int_equal(wal_record_decode(&slice, start_lsn + at, &record, NULL), ERR_UNAVAILABLE);
}

/* Whether a record that goes on in the second segment was put there and read again. */
static bool check_record_at(unsigned char *wal, uint64_t start_lsn, size_t at, uint32_t length)
{
    size_t end = put_record(wal, start_lsn, at, length, 0x60);
    size_t both = (size_t)2 * SEGMENT_SIZE;
    struct wal_record record = {0};
    uint64_t lsn = start_lsn + at;

    assert_int_equal(decode(wal, both, SEGMENT_SIZE, lsn, &record, NULL), 0);
    assert_int_equal(record.total_length, length);
    assert_true(record.end_lsn == start_lsn + end);
    check_slice(wal, start_lsn, at, end);
    if (end <= SEGMENT_SIZE) {
        return false;
    }
    assert_int_equal(decode(wal, SEGMENT_SIZE, SEGMENT_SIZE, lsn, &record, NULL), ERR_UNAVAILABLE);
    return true;
}

/* Every place relative to the end of a page and of a segment, every length around it. */
static void test_wal_across_pages_and_segments(void **state)
{
    static const size_t ends[] = {PAGE, (size_t)5 * PAGE, SEGMENT_SIZE};
    static const uint32_t lengths[] = {24, 25, 31, 32, 33, 114, 8150, 8168, 8169, 17000};
    AUTO_FREE unsigned char *wal = mem_alloc((size_t)2 * SEGMENT_SIZE);
    uint64_t start_lsn = UINT64_C(0x7F00000000) - SEGMENT_SIZE;
    unsigned crossed = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        for (size_t before = 8; before <= 160; before += 8) {
            for (size_t k = 0; k < ARRAY_LEN(lengths); k++) {
                crossed += check_record_at(wal, start_lsn, ends[i] - before, lengths[k]);
            }
        }
    }
    assert_true(crossed > 50);
}

/* Behind a record that ends at 64, one of 17000 bytes: it goes on in two more pages. */
static void test_wal_cut(void **state)
{
    static unsigned char wal[(size_t)2 * SEGMENT_SIZE];
    const uint64_t start = 0x7F00000000;
    const struct wal_slice slice = {wal, (size_t)4 * PAGE, start, SEGMENT_SIZE};
    const struct wal_slice two = {wal, (size_t)2 * PAGE - 8, start, SEGMENT_SIZE};
    const struct wal_slice later = {wal + PAGE, (size_t)3 * PAGE, start + PAGE, SEGMENT_SIZE};
    const struct wal_scan scan = {.lsn = start + 64, .previous_lsn = start + 40};

    (void)state;
    put_page_header(wal, start, 0, 0);
    assert_false(wal_scan_is_cut(&scan, &slice, start + PAGE)); /* nothing has begun */
    put_record(wal, start, 64, 17000, 0x60);
    assert_true(wal_scan_is_cut(&scan, &slice, start + PAGE));
    assert_true(wal_scan_is_cut(&scan, &slice, start + 2 * PAGE));
    assert_false(wal_scan_is_cut(&scan, &slice, start + 3 * PAGE)); /* behind it */
    assert_false(wal_scan_is_cut(&scan, &slice, start + PAGE + 64));
    assert_false(wal_scan_is_cut(&scan, &slice, start));
    assert_false(wal_scan_is_cut(&scan, &two, start + 2 * PAGE));
    assert_false(wal_scan_is_cut(&scan, &later, start + 2 * PAGE));
    wal[300] ^= 1; /* all is there, but damaged */
    assert_false(wal_scan_is_cut(&scan, &slice, start + 3 * PAGE));
    wal[PAGE + 16] ^= 1; /* the second page continues another one */
    assert_true(wal_scan_is_cut(&scan, &slice, start + PAGE));
    assert_false(wal_scan_is_cut(&scan, &slice, start + 2 * PAGE));
    /* One that fills the page: a commit may end there. */
    for (uint32_t length = PAGE - 64 - 7; length <= PAGE - 64; length++) {
        put_record(wal, start, 64, length, 0x60);
        assert_false(wal_scan_is_cut(&scan, &slice, start + PAGE));
        wal[300] ^= 1;
        assert_false(wal_scan_is_cut(&scan, &slice, start + PAGE));
    }
}

static void test_wal_end(void **state)
{
    unsigned char *wal = mem_alloc((size_t)2 * SEGMENT_SIZE);
    struct wal_record record = {0};

    (void)state;
    assert_int_equal(wal_record_end(0x28, 24, SEGMENT_SIZE), 0x40);
    assert_int_equal(wal_record_end(0x1FE8, 24, SEGMENT_SIZE), 0x2000);
    assert_int_equal(wal_record_end(0x1FE8, 25, SEGMENT_SIZE), 0x2000 + 24 + 8);
    assert_int_equal(wal_record_end(0xFFFE8, 25, SEGMENT_SIZE), 0x100000 + 40 + 8);
    assert_int_equal(wal_record_end(0xFFFE8, 25, 2 * SEGMENT_SIZE), 0x100000 + 24 + 8);
    /* A switch takes the rest of the segment. */
    put_record(wal, 0, 0x3000, 24, 0x40);
    assert_int_equal(decode(wal, SEGMENT_SIZE, SEGMENT_SIZE, 0x3000, &record, NULL), 0);
    assert_int_equal(record.end_lsn, SEGMENT_SIZE);
    assert_false(wal_is_shutdown_checkpoint(&record));
    mem_free(wal);
    assert_true(wal_is_behind_header(0x2018, SEGMENT_SIZE));
    assert_true(wal_is_behind_header(0x100028, SEGMENT_SIZE));
    assert_true(wal_is_behind_header(0x100018, 2 * SEGMENT_SIZE));
    assert_false(wal_is_behind_header(0x100018, SEGMENT_SIZE));
    assert_false(wal_is_behind_header(0x2000, SEGMENT_SIZE));
    assert_false(wal_is_behind_header(0x2028, SEGMENT_SIZE));
}

static void test_wal_names(void **state)
{
    char name[WAL_NAME_SIZE];
    struct position position = {0};
    static const struct {
        uint32_t timeline;
        uint32_t segment_size;
        uint64_t lsn;
        const char *name;
    } rows[] = {
        {1, 16u << 20, 0xA123456, "00000001000000000000000A"},
        {0x1F, 16u << 20, UINT64_C(0x12FF000000), "0000001F00000012000000FF"},
        {1, 1u << 20, UINT64_C(0x1FFFFFFFF), "000000010000000100000FFF"},
        {UINT32_MAX, 1u << 30, UINT64_MAX, "FFFFFFFFFFFFFFFF00000003"},
    };
    static const char *const wrong[] = {
        "",
        "00000001000000000000000",
        "00000001000000000000000A0",
        "00000001000000000000000a",
        "000000010000000000000100",
        "0000000100000000000000 A",
        "00000001.history"};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        uint32_t size = rows[at].segment_size;

        wal_name_format(rows[at].timeline, rows[at].lsn, size, name);
        assert_string_equal(name, rows[at].name);
        assert_int_equal(wal_name_parse(name, size, &position, NULL), 0);
        assert_int_equal(position.timeline, rows[at].timeline);
        assert_true(position.lsn == (rows[at].lsn & ~(uint64_t)(size - 1)));
    }
    for (size_t at = 0; at < ARRAY_LEN(wrong); at++) {
        assert_int_equal(wal_name_parse(wrong[at], 16u << 20, &position, NULL), ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_control_of_real_clusters),
        cmocka_unit_test(test_control_details),
        cmocka_unit_test(test_control_limits),
        cmocka_unit_test(test_control_refusals),
        cmocka_unit_test(test_wal_chain_of_a_real_segment),
        cmocka_unit_test(test_wal_scan),
        cmocka_unit_test(test_wal_refusals),
        cmocka_unit_test(test_wal_across_pages_and_segments),
        cmocka_unit_test(test_wal_cut),
        cmocka_unit_test(test_wal_end),
        cmocka_unit_test(test_wal_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
