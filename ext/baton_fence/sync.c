/* What synchronous replication has promised for a commit, read from its shared memory: no text of a
 * message is looked at, and no lock is taken unless the first reading says no. */
#include "fence.h"

#include "access/xact.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
#include "utils/guc.h"

/* Whether backends must wait was one truth value until these minor releases made it two bits: "it
 * was read" and "it is set". The module may run in a server older or newer than the one whose
 * headers it was built with; the byte is in the same place. */
static const struct {
    int major;
    int first_with_bits;
} minors[] = {{13, 130021}, {14, 140018}, {15, 150013}, {16, 160009}, {17, 170005}};

#ifdef SYNC_STANDBY_DEFINED
#define SYNC_BYTE(control) ((control)->sync_standbys_status)
#define DEFINED_BIT SYNC_STANDBY_DEFINED
#else
#define SYNC_BYTE(control) ((control)->sync_standbys_defined)
#define DEFINED_BIT 2
#endif

static uint8 defined_mask = DEFINED_BIT;

void fence_sync_init(void)
{
    const char *text = GetConfigOption("server_version_num", true, false);
    long running = text != NULL ? strtol(text, NULL, 10) : PG_VERSION_NUM;

    for (size_t at = 0; at < lengthof(minors); at++) {
        if (running / 10000 == minors[at].major && running < minors[at].first_with_bits) {
            defined_mask = 1;
        }
    }
}

static bool is_defined(void)
{
    return (*(volatile uint8 *)&SYNC_BYTE(WalSndCtl) & defined_mask) != 0;
}

bool fence_sync_defined(void)
{
    return WalSndCtl != NULL && max_wal_senders > 0 && is_defined();
}

static int wait_mode(bool is_prepare)
{
    switch (synchronous_commit) {
    case SYNCHRONOUS_COMMIT_REMOTE_WRITE:
        return SYNC_REP_WAIT_WRITE;
    case SYNCHRONOUS_COMMIT_REMOTE_FLUSH:
        return SYNC_REP_WAIT_FLUSH;
    case SYNCHRONOUS_COMMIT_REMOTE_APPLY:
        return is_prepare ? SYNC_REP_WAIT_FLUSH : SYNC_REP_WAIT_APPLY;
    default:
        return SYNC_REP_NO_WAIT;
    }
}

static bool has_reached(int mode, XLogRecPtr end)
{
    return *(volatile XLogRecPtr *)&WalSndCtl->lsn[mode] >= end;
}

bool fence_sync_confirmed(XLogRecPtr end, bool is_prepare)
{
    int mode = wait_mode(is_prepare);
    bool is_confirmed;

    if (mode == SYNC_REP_NO_WAIT || !fence_sync_defined() || has_reached(mode, end)) {
        return true;
    }
    /* Who turns the waiting off wakes the waiters first, and holds the lock until the flag says
     * so. */
    LWLockAcquire(SyncRepLock, LW_SHARED);
    is_confirmed = !is_defined() || has_reached(mode, end);
    LWLockRelease(SyncRepLock);
    return is_confirmed;
}
