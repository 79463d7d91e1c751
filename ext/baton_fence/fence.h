/* fence.h - baton_fence, the fence inside PostgreSQL: no commit and no answer to one without the
 * lease.
 *
 * The agent writes into a page of memory until when this server may acknowledge writes
 * (src/model/lease_page.h). The module, loaded by shared_preload_libraries, looks at it
 *
 *   1. before a transaction with an xid commits, or is prepared: ERROR 25006, nothing is written;
 *   2. when the commit is durable: FATAL 08007 to the client, and the connection ends;
 *   3. when the answer is put into the send buffer, and again right before the buffer goes to the
 *      kernel: the connection ends without an answer.
 *
 * So a process that stops anywhere between commit and answer, for longer than the lease, never says
 * "ok": what is left is the time between the last look at the clocks and send(), with TLS the
 * encryption of one buffer. After 1 the transaction is committed here, and may be undone by a
 * rewind; that is what "unknown" means, and a client must ask the new primary.
 *
 * Two more ways to a wrong "ok" are closed where synchronous_standby_names is in force: a wait for
 * the standbys that was cut short (query cancel) ends in 2 instead of a warning
 * and success, and a commit with a synchronous_commit that would not wait is refused in 1.
 *
 * How a commit is turned into an unknown outcome: after it is durable nothing may be raised
 * (an error would become a PANIC), so this does what PostgreSQL itself does when a backend is
 * terminated in that wait: nothing goes to the client any more, and ProcDiePending ends the process
 * at the next place where it may end.
 *
 * No check runs in a standby (no xid), in single-user mode, in bootstrap and in pg_upgrade. */
#pragma once

#include "postgres.h"

#include "access/xlogdefs.h"

#include "model/lease_page.h"

enum fence_verdict {
    FENCE_OPEN,
    FENCE_EXPIRED,
    FENCE_UNARMED,    /* the page has no deadline */
    FENCE_UNREADABLE, /* there is no page, or it makes no sense */
};

/* ---- page.c ---- */

/* Look at the page of this path; NULL or "": nothing was ever told. */
void fence_page_set(const char *path);

/* Whether this server may acknowledge writes now. IS_FRESH: read the page again even if the
 * deadline that was seen last has not passed. Never raises. */
enum fence_verdict fence_look(bool is_fresh);

/* Milliseconds until the deadline of the page, negative when passed; 0 when there is none. */
int64 fence_left_ms(void);

/* ---- sync.c ---- */

/* Find out how this server keeps the flag below; at load. */
void fence_sync_init(void);

/* Whether backends wait for standbys now: synchronous_standby_names as the checkpointer has put it
 * into force, not as this process has read it. */
bool fence_sync_defined(void);

/* Whether the standbys have confirmed the log up to END as synchronous_commit asks for it; true
 * when it asks for nothing. IS_PREPARE: of a PREPARE TRANSACTION, which waits for a flush at
 * most. */
bool fence_sync_confirmed(XLogRecPtr end, bool is_prepare);

/* ---- commit.c ---- */

/* Hang the checks into this process; at load. */
void fence_commit_init(void);

/* ---- settings (baton_fence.c) ---- */

extern bool fence_allow_local_commit;
extern bool fence_allow_remote_write;
extern bool fence_check_reads;

/* Whether the checks apply to this process at all. */
bool fence_is_active(void);
