/* control.h - PostgreSQL's global/pg_control and WAL file names, read without the server (versions
 * 13 to 18).
 *
 * Layout: src/include/catalog/pg_control.h of each release. The CRC-32C at the end is verified;
 * byte order and alignment are those of this machine, as the server itself demands. */
#pragma once

#include "model/model.h"

#define CONTROL_FILE_SIZE 8192

enum control_state {
    CONTROL_STARTUP = 0,
    CONTROL_SHUTDOWNED = 1,
    CONTROL_SHUTDOWNED_IN_RECOVERY = 2,
    CONTROL_SHUTDOWNING = 3,
    CONTROL_IN_CRASH_RECOVERY = 4,
    CONTROL_IN_ARCHIVE_RECOVERY = 5,
    CONTROL_IN_PRODUCTION = 6,
};

/* The settings that a standby must have at least as large as its primary had them: a server refuses
 * to start as a hot standby when one is lower. */
struct control_limits {
    int32_t max_connections;
    int32_t max_worker_processes;
    int32_t max_wal_senders;
    int32_t max_prepared_xacts; /* max_prepared_transactions */
    int32_t max_locks_per_xact; /* max_locks_per_transaction */
};

struct control {
    uint32_t version; /* pg_control_version: 1300 (13 to 16), 1700, 1800 */
    uint32_t catalog_version;
    uint64_t system_id;
    enum control_state state;
    int64_t modified_real_s;
    uint64_t checkpoint_lsn; /* where the latest checkpoint record begins */
    uint64_t redo_lsn;
    uint32_t timeline; /* of the latest checkpoint */
    uint32_t previous_timeline;
    uint64_t minimum_recovery_lsn;
    uint32_t minimum_recovery_timeline;
    uint32_t wal_segment_size;
    uint32_t data_checksum_version;
    bool wal_log_hints;
    bool track_commit_timestamp;
    struct control_limits limits;
};

/* Decode a pg_control file of LENGTH bytes. ERR_CORRUPT (with what is wrong) or ERR_UNSUPPORTED
 * (other version). */
MUST_CHECK int control_decode(
    const unsigned char *bytes, size_t length, struct control *ret, struct err *e);

/* "shut down", "in production", ... as pg_controldata prints it. */
const char *control_state_text(enum control_state state);

/* Where WAL ends when its last record is the one of TOTAL_LENGTH bytes (header included) at LSN:
 * aligned as WAL is, stepping over page and segment headers. The number is the one that servers
 * report and history files hold: when a record fills its page it is the page's end, although the
 * next record begins behind the header there. WAL_SEGMENT_SIZE must be a power of two from 1 MB to
 * 1 GB, here and below; control_decode gives no other. */
uint64_t wal_record_end(uint64_t lsn, uint32_t total_length, uint32_t wal_segment_size);

/* LSN is where the first record of its page may begin: no record ends there. A server whose log
 * ends with the page before, or with a segment, tells this as its insert position. */
bool wal_is_behind_header(uint64_t lsn, uint32_t wal_segment_size);

/* A piece of WAL, from the beginning of a page on; it may reach over the end of a segment. */
struct wal_slice {
    const unsigned char *bytes;
    size_t length;
    uint64_t lsn; /* of the first byte: WAL_PAGE_SIZE divides it */
    uint32_t segment_size;
};
#define WAL_PAGE_SIZE 8192u /* XLOG_BLCKSZ; other builds are refused by control_decode */

/* The record at LSN, which lies in SLICE. A record header may cross a page end; the function steps
 * over page headers. ERR_CORRUPT when there is no valid record (length, page header or CRC-32C),
 * ERR_UNAVAILABLE when it goes on behind the slice. */
struct wal_record {
    uint32_t total_length; /* xl_tot_len */
    uint8_t info;
    uint8_t manager;
    uint64_t previous_lsn;
    uint64_t end_lsn; /* wal_record_end; of a segment switch the end of the segment */
};
MUST_CHECK int wal_record_decode(
    const struct wal_slice *slice, uint64_t lsn, struct wal_record *ret, struct err *e);

/* Whether RECORD is the one that a clean stop of a primary writes last. */
bool wal_is_shutdown_checkpoint(const struct wal_record *record);

/* A walk along the records, from one to the next: each must be valid and name the one before it. */
struct wal_scan {
    uint64_t lsn;          /* of the next one; a page's beginning: behind its header */
    uint64_t previous_lsn; /* where the last valid one begins; 0: none yet */
    uint64_t end_lsn;      /* and where it ends */
};

/* Begin with the first record that begins in the page at the start of SLICE or, when one goes on
 * through all of it, in a later page. A walk from a known record begins as {.lsn = it}. */
MUST_CHECK int wal_scan_begin(struct wal_scan *ret, const struct wal_slice *slice, struct err *e);

/* Walk through SLICE, which begins at or before the page of scan->lsn. 0: the next record is not
 * valid, the log ends. WAL_SCAN_MORE: it goes on behind SLICE; if nothing is there, it ends too. */
#define WAL_SCAN_MORE 1
int wal_scan_go(struct wal_scan *scan, const struct wal_slice *slice);

/* Behind the last valid record, whether the next one has begun and goes on behind LSN, a page's end
 * in SLICE: all pages up to there continue it. */
bool wal_scan_is_cut(const struct wal_scan *scan, const struct wal_slice *slice, uint64_t lsn);

/* "00000001000000000000000A" for the segment with LSN; and back (segment start; ERR_INVALID for any
 * other name). */
#define WAL_NAME_SIZE 25
void wal_name_format(uint32_t timeline, uint64_t lsn, uint32_t wal_segment_size, char *buffer);
MUST_CHECK int wal_name_parse(
    const char *name, uint32_t wal_segment_size, struct position *ret, struct err *e);
