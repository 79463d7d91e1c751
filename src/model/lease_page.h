/* lease_page.h - what the agent tells the fence inside PostgreSQL (ext/baton_fence): until when
 * this server may acknowledge writes.
 *
 * One struct at the start of a small file in memory (io/lease_page.h), written by the agent with
 * one call and read by every backend before a commit and again before its answer. A reader that
 * caught half of a writing sees a wrong checksum or two different sequence numbers, and reads
 * again; so a writer that dies leaves either the old page or the new one.
 *
 * The deadline is a struct instant: both clocks of this host, and it has passed when either of them
 * is there. It is put here before the guard gets it and before a promotion, and never says more
 * than the driver was told to arm. {0,0}: no right to write.
 *
 * The extension includes this file, hence plain C only. The layout is the contract between an
 * agent and a running server of another release: another layout is another version. */
#pragma once

#include <stdint.h>

#define LEASE_PAGE_MAGIC 0x6c6e7462u
#define LEASE_PAGE_VERSION 1

struct lease_page {
    uint32_t magic;
    uint32_t version;
    uint64_t sequence; /* writings so far */
    int64_t deadline_boot_ns;
    int64_t deadline_raw_ns;
    uint64_t term;           /* of the lease, for people; 0 unknown */
    uint64_t reserved;       /* 0 */
    uint64_t sequence_again; /* the same as `sequence` */
    uint32_t flags;          /* 0 */
    uint32_t crc;            /* CRC-32C of all bytes before it */
};

_Static_assert(sizeof(struct lease_page) == 64, "no padding: it is read and summed as bytes");
