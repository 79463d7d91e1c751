/* Where a commit and its answer are stopped: fence.h tells what and why.
 *
 *   PRE_COMMIT, PRE_PREPARE, COMMIT PREPARED  ->  allow()      may raise
 *   COMMIT, PREPARE, COMMIT PREPARED          ->  conclude()   may not: it is committed
 *   bytes on their way to the client          ->  put, flush   may not: a message may be half done
 *
 * The functions that carry bytes to the client are wrapped when a process commits for the first
 * time. `answer` is set from the end of a commit until a flush: while it is, the answer to the
 * commit may be among the bytes. */
#include "fence.h"

/* The headers of Kerberos need not be installed: nothing of struct Port is used, and it has the
 * same size without them. */
#undef ENABLE_GSS

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/executor.h"
#include "libpq/libpq.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"

#define UNKNOWN_STATE "08007" /* transaction_resolution_unknown */
#define COMMAND_COMPLETE 'C'
#define ERROR_RESPONSE 'E'

static struct {
    bool is_write; /* the transaction that is being committed has an xid */
    bool has_wal;  /* and had written something before its commit record: it waits for standbys */
} commit;

static bool has_answer; /* not yet with the client */
static bool is_silent;  /* nothing goes to the client any more */
static const PQcommMethods *below;
static PQcommMethods wrapped;
static ProcessUtility_hook_type next_utility;
static ExecutorStart_hook_type next_start;

static const char *const reasons[] = {
    [FENCE_OPEN] = "",
    [FENCE_EXPIRED] = "The lease of this server has run out.",
    [FENCE_UNARMED] = "This server has not been given the lease.",
    [FENCE_UNREADABLE] = "The lease page of this server cannot be read.",
};

/* ---- an outcome that stays unknown ---- */

static void fall_silent(const char *detail)
{
    is_silent = true;
    has_answer = false;
    ereport(
        LOG_SERVER_ONLY,
        (errmsg("baton_fence ends the connection: the outcome of its last transaction is unknown"),
         errdetail_internal("%s", detail)));
    whereToSendOutput = DestNone;
    ProcDiePending = true;
    InterruptPending = true;
}

static size_t add_field(char *buffer, size_t used, char kind, const char *text)
{
    size_t length = strlen(text) + 1;

    buffer[used] = kind;
    memcpy(buffer + used + 1, text, length);
    return used + 1 + length;
}

/* Only before the answer was put into the buffer, which goes out with this. By hand: whatever
 * raises or allocates may fail, and a failure at this point takes the whole server down. */
static void send_unknown(const char *detail)
{
    char buffer[512];
    size_t used = 0;

    if (whereToSendOutput != DestRemote || MyProcPort == NULL ||
        PG_PROTOCOL_MAJOR(FrontendProtocol) < 3) {
        return;
    }
    used = add_field(buffer, used, 'S', "FATAL");
    used = add_field(buffer, used, 'V', "FATAL");
    used = add_field(buffer, used, 'C', UNKNOWN_STATE);
    used = add_field(
        buffer, used, 'M', "the outcome of the transaction is unknown, the connection ends");
    used = add_field(buffer, used, 'D', detail);
    used = add_field(
        buffer, used, 'H', "Ask the primary whether it has happened before you repeat it.");
    buffer[used++] = '\0';
    (void)PqCommMethods->putmessage(ERROR_RESPONSE, buffer, used);
    (void)PqCommMethods->flush_if_writable();
}

/* ---- bytes to the client ---- */

static bool may_answer(void)
{
    enum fence_verdict verdict;

    if (is_silent) {
        return false;
    }
    if (!has_answer || !fence_is_active()) {
        return true;
    }
    verdict = fence_look(false);
    if (verdict == FENCE_OPEN) {
        return true;
    }
    fall_silent(reasons[verdict]);
    return false;
}

static int flush(void)
{
    if (!may_answer()) {
        return 0;
    }
    has_answer = false;
    return below->flush();
}

static int flush_if_writable(void)
{
    return may_answer() ? below->flush_if_writable() : 0;
}

/* A full buffer is sent on the way, and the word that says "done" may lie in it: behind a COMMIT
 * other commands of the same message may put out as much as they like. */
static int put(char type, const char *text, size_t length)
{
    return may_answer() ? below->putmessage(type, text, length) : 0;
}

static void put_noblock(char type, const char *text, size_t length)
{
    if (!is_silent) {
        below->putmessage_noblock(type, text, length);
    }
}

static void wrap(void)
{
    if (MyProcPort == NULL || whereToSendOutput != DestRemote || PqCommMethods == &wrapped) {
        return;
    }
    below = PqCommMethods;
    wrapped = *below;
    wrapped.flush = flush;
    wrapped.flush_if_writable = flush_if_writable;
    wrapped.putmessage = put;
    wrapped.putmessage_noblock = put_noblock;
    PqCommMethods = &wrapped;
}

/* ---- before ---- */

static void require_lease(void)
{
    enum fence_verdict verdict = fence_look(true);

    if (verdict != FENCE_OPEN) {
        ereport(
            ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                    errmsg("this server may not commit: it does not hold baton's lease"),
                    errdetail_internal("%s", reasons[verdict]),
                    errhint("Nothing was written. Connect to the primary and try again.")));
    }
}

/* Processes without a client have their own reasons: autovacuum never waits for standbys. */
static void require_wait(void)
{
    int least = fence_allow_remote_write ? SYNCHRONOUS_COMMIT_REMOTE_WRITE
                                         : SYNCHRONOUS_COMMIT_REMOTE_FLUSH;

    if ((MyBackendType != B_BACKEND && MyBackendType != B_WAL_SENDER) ||
        synchronous_commit >= least || fence_allow_local_commit || !fence_sync_defined()) {
        return;
    }
    ereport(
        ERROR,
        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
         errmsg("synchronous_commit is lower than this cluster's promise allows"),
         errdetail("synchronous_standby_names is set: an acknowledged commit must be on the "
                   "standbys."),
         errhint("Leave synchronous_commit at \"on\", or \"remote_apply\"; a superuser may set "
                 "baton_fence.allow_local_commit.")));
}

static void allow(bool has_wal)
{
    require_lease();
    if (has_wal) {
        require_wait();
    }
    wrap();
}

static void before_commit(void)
{
    commit.is_write = TransactionIdIsValid(GetTopTransactionIdIfAny()) && fence_is_active();
    commit.has_wal = XactLastRecEnd != 0;
    if (commit.is_write) {
        allow(commit.has_wal);
    }
}

/* ---- after ---- */

static void conclude(XLogRecPtr end, bool has_wal, bool is_prepare)
{
    enum fence_verdict verdict;

    if (is_silent) {
        return;
    }
    if (has_wal && !fence_sync_confirmed(end, is_prepare)) {
        send_unknown("The wait for the synchronous standbys was cut short.");
        fall_silent("The wait for the synchronous standbys was cut short.");
        return;
    }
    verdict = fence_look(false);
    if (verdict != FENCE_OPEN) {
        send_unknown(reasons[verdict]);
        fall_silent(reasons[verdict]);
        return;
    }
    has_answer = true;
}

/* The end of a prepare's record is not to be had: the standbys must have passed its beginning. */
static void on_transaction(XactEvent event, void *arg pg_attribute_unused())
{
    bool is_write = commit.is_write;

    switch (event) {
    case XACT_EVENT_PRE_COMMIT:
    case XACT_EVENT_PRE_PREPARE:
        before_commit();
        break;
    case XACT_EVENT_COMMIT:
        commit.is_write = false;
        if (is_write && fence_is_active()) {
            conclude(XactLastCommitEnd, commit.has_wal, false);
        }
        break;
    case XACT_EVENT_PREPARE:
        commit.is_write = false;
        if (is_write && fence_is_active()) {
            conclude(ProcLastRecPtr + 1, true, true);
        }
        break;
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PARALLEL_COMMIT:
    case XACT_EVENT_PARALLEL_ABORT:
    case XACT_EVENT_PARALLEL_PRE_COMMIT:
        commit.is_write = false;
        break;
    }
}

/* COMMIT PREPARED commits inside of a transaction that has no xid, and must stand alone: the last
 * record of its transaction is the commit's. */
static bool is_commit_prepared(const PlannedStmt *planned)
{
    const void *statement = planned->utilityStmt;

    return IsA(statement, TransactionStmt) &&
           ((const TransactionStmt *)statement)->kind == TRANS_STMT_COMMIT_PREPARED;
}

#if PG_VERSION_NUM >= 140000
#define TREE_PARAMETER , bool is_tree_kept
#define TREE_ARGUMENT , is_tree_kept
#else
#define TREE_PARAMETER
#define TREE_ARGUMENT
#endif

/* The parameters are those of PostgreSQL's hook. */
static void on_utility(
    PlannedStmt *planned, const char *text TREE_PARAMETER, ProcessUtilityContext context,
    ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *receiver,
    QueryCompletion *completion)
{
    bool is_commit = is_commit_prepared(planned) && fence_is_active();

    if (is_commit) {
        allow(true);
    }
    if (next_utility != NULL) {
        next_utility(
            planned, text TREE_ARGUMENT, context, parameters, environment, receiver, completion);
    } else {
        standard_ProcessUtility(
            planned, text TREE_ARGUMENT, context, parameters, environment, receiver, completion);
    }
    if (is_commit) {
        conclude(XactLastRecEnd, true, false);
    }
}

/* ---- reads that must be fresh ---- */

static void on_start(QueryDesc *query, int flags)
{
    if (fence_check_reads && (flags & EXEC_FLAG_EXPLAIN_ONLY) == 0 && MyBackendType == B_BACKEND &&
        fence_is_active() && !RecoveryInProgress() && !superuser()) {
        require_lease();
        wrap();
        has_answer = true;
    }
    if (next_start != NULL) {
        next_start(query, flags);
    } else {
        standard_ExecutorStart(query, flags);
    }
}

void fence_commit_init(void)
{
    RegisterXactCallback(on_transaction, NULL);
    next_utility = ProcessUtility_hook;
    ProcessUtility_hook = on_utility;
    next_start = ExecutorStart_hook;
    ExecutorStart_hook = on_start;
}
