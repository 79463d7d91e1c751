/* The same bytes as a control file, as the beginning of a WAL segment, and as the name of one. */
#include "codec/control.h"

#include "base/assert.h"
#include "base/mem.h"
#include "codec/crc32c.h"

#define SEGMENT_SIZE (1u << 20)
#define CONTROL_SIZE 296

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_control(const uint8_t *bytes, size_t size)
{
    struct control control;

    if (control_decode(bytes, size, &control, NULL) == 0) {
        ASSERT(control.version >= 1300 && control.version <= 1800);
        ASSERT(control_state_text(control.state)[0] != '\0');
        ASSERT(wal_record_end(control.checkpoint_lsn, 114, control.wal_segment_size) != 0);
    }
}

/* With a checksum that fits, which chance never finds. */
static void check_sealed_control(const uint8_t *bytes, size_t size)
{
    uint8_t copy[CONTROL_SIZE];

    if (size < CONTROL_SIZE) {
        return;
    }
    for (size_t crc_at = 288; crc_at <= 292; crc_at += 4) {
        uint32_t crc;

        memcpy(copy, bytes, CONTROL_SIZE);
        crc = crc32c(0, copy, crc_at);
        memcpy(copy + crc_at, &crc, sizeof(crc));
        check_control(copy, CONTROL_SIZE);
    }
}

static uint64_t skip_page_header(uint64_t lsn)
{
    uint32_t header = lsn % SEGMENT_SIZE == 0 ? 40 : 24;

    return lsn % 8192 == 0 ? lsn + header : lsn;
}

/* The records one after the other, from the first one on. */
static void check_segment(const uint8_t *bytes, size_t size)
{
    struct wal_slice slice = {.bytes = bytes, .length = size, .segment_size = SEGMENT_SIZE};
    struct wal_record record;
    uint64_t start_lsn;
    uint64_t lsn;
    uint32_t remaining;

    if (size < 40) {
        return;
    }
    memcpy(&start_lsn, bytes + 8, sizeof(start_lsn));
    memcpy(&remaining, bytes + 16, sizeof(remaining));
    start_lsn &= (UINT64_C(1) << 56) - SEGMENT_SIZE;
    slice.lsn = start_lsn;
    lsn = skip_page_header(wal_record_end(start_lsn + 40, remaining, SEGMENT_SIZE));
    while (lsn - start_lsn < SEGMENT_SIZE && wal_record_decode(&slice, lsn, &record, NULL) == 0) {
        ASSERT(record.total_length >= 24);
        ASSERT(record.end_lsn >= lsn + record.total_length);
        ASSERT(record.end_lsn % 8 == 0);
        lsn = skip_page_header(record.end_lsn);
    }
}

/* The walk sees the same records, cut anywhere. */
static void check_scan(const uint8_t *bytes, size_t size)
{
    struct wal_slice slice = {.bytes = bytes, .length = size, .segment_size = SEGMENT_SIZE};
    struct wal_scan whole;
    struct wal_scan scan;

    if (size < 40) {
        return;
    }
    memcpy(&slice.lsn, bytes + 8, sizeof(slice.lsn));
    slice.lsn &= (UINT64_C(1) << 56) - WAL_PAGE_SIZE;
    if (wal_scan_begin(&whole, &slice, NULL) < 0) {
        return;
    }
    scan = whole;
    IGNORE(wal_scan_go(&whole, &slice), "ended or not");
    for (size_t cut = 0; cut <= size; cut += 4096) {
        slice.length = cut;
        IGNORE(wal_scan_go(&scan, &slice), "ended or not");
        ASSERT(scan.end_lsn <= slice.lsn + cut + SEGMENT_SIZE);
    }
    slice.length = size;
    IGNORE(wal_scan_go(&scan, &slice), "ended or not");
    ASSERT(scan.end_lsn == whole.end_lsn);
    ASSERT(scan.previous_lsn == whole.previous_lsn);
}

static void check_name(const uint8_t *bytes, size_t size)
{
    AUTO_FREE char *text = mem_dup_length((const char *)bytes, size);
    struct position position;
    char name[WAL_NAME_SIZE];

    if (wal_name_parse(text, SEGMENT_SIZE, &position, NULL) == 0) {
        wal_name_format(position.timeline, position.lsn, SEGMENT_SIZE, name);
        ASSERT(strcmp(name, text) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    check_control(bytes, size);
    check_sealed_control(bytes, size);
    check_segment(bytes, size);
    check_scan(bytes, size);
    check_name(bytes, size);
    return 0;
}
