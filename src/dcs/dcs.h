/* dcs.h - the distributed store: a small ordered set of keys, compare-and-swap, one session, change
 * events.
 *
 * What the keys mean is not known here (codec/record.h knows). A driver (etcd.c, mem.c, the
 * simulator's) offers the following; its constructor is in its own header, which this one includes
 * (dcs/etcd.h: etcd_new, dcs/mem.h: mem_store_new).
 *   - a snapshot: all keys below the prefix at one revision, kept fresh by watching; on_snapshot is
 *     called after each change and after each (re)connection;
 *   - a transaction: up to DCS_COMPARES_MAX conditions; if all hold, up to DCS_OPS_MAX puts and
 *     deletes, atomically;
 *   - a session: a lease of the store (etcd: TTL) that the driver keeps alive by itself; keys put
 *     `with_session` vanish when it ends. It serves for cleaning up and for Patroni peers. It never
 *     proves anything to the holder of the right to write: for that only a committed transaction
 *     counts.
 *
 * Everything is asynchronous and nothing blocks: calls start work, callbacks come later from the
 * loop, never from within the call. Each call has a deadline; a transaction whose outcome is not
 * known ends as DCS_UNKNOWN (it may have been, or may yet be, applied). Pointers handed to
 * callbacks are valid only during the call.
 *
 *     struct dcs_txn txn = {.compare_count = 1, .op_count = 1};
 *     txn.compares[0] = (struct dcs_compare){.kind = DCS_REVISION_IS, .key = "baton/lease",
 * .revision = 17};
 *     txn.ops[0] = (struct dcs_op){.kind = DCS_PUT, .key = "baton/lease", .value = json};
 *     dcs_txn(dcs, &txn, 300, on_renewed, agent); */
#pragma once

#include "base/err.h"
#include "dcs/etcd.h"
#include "dcs/mem.h"

#define DCS_COMPARES_MAX 4
#define DCS_OPS_MAX 6
#define DCS_KEYS_MAX \
    128 /* keys below the prefix; more is refused with a failure in the health text */
#define DCS_VALUE_MAX (1 << 19) /* bytes of one value */

enum dcs_compare_kind {
    DCS_IS_ABSENT,   /* the key does not exist */
    DCS_VALUE_IS,    /* its value equals `value` */
    DCS_REVISION_IS, /* its last change is `revision` */
};

/* Keys are relative to the prefix ("leader", "members/node1"). Texts are copied by the call. */
struct dcs_compare {
    enum dcs_compare_kind kind;
    const char *key;
    const char *value;
    int64_t revision;
};

enum dcs_op_kind {
    DCS_PUT,
    DCS_DELETE,
};

struct dcs_op {
    enum dcs_op_kind kind;
    const char *key;
    const char *value;
    bool with_session;
};

struct dcs_txn {
    unsigned compare_count;
    struct dcs_compare compares[DCS_COMPARES_MAX];
    unsigned op_count;
    struct dcs_op ops[DCS_OPS_MAX];
};

/* How a transaction ended. */
enum dcs_outcome {
    DCS_DONE = 0,      /* committed */
    DCS_LOST_RACE = 1, /* a condition did not hold; nothing was changed */
    DCS_UNKNOWN = 2,   /* no answer in time: it may have been applied or not */
    DCS_REFUSED = 3, /* certainly not applied: no connection, no session yet, or an error answer */
};

/* One key in a snapshot. */
struct dcs_entry {
    const char *key;
    const char *value;
    int64_t revision;   /* of its last change */
    bool is_of_session; /* put with the current session; an own key without: put it again */
};

/* All keys below the prefix at `revision`, in order of key. */
struct dcs_snapshot {
    int64_t revision;
    unsigned count;
    const struct dcs_entry *entries;
};

/* The driver's view of its own connection. */
struct dcs_health {
    bool is_connected; /* the snapshot is being kept fresh */
    bool has_session;
    bool is_replaced;   /* it has forgotten what it told: nothing is done by it any more */
    char endpoint[128]; /* in use, for people */
    char problem[256];  /* why not, "" when all is well */
};

typedef void dcs_done(void *arg, enum dcs_outcome outcome, int64_t revision);

/* Called by the driver. on_snapshot: after a change, or after (re)connecting. on_health: when
 * dcs_health changed. */
struct dcs_listener {
    void (*on_snapshot)(void *arg, const struct dcs_snapshot *snapshot);
    void (*on_health)(void *arg, const struct dcs_health *health);
    void *arg;
};

/* A driver embeds this struct as its first member. */
struct dcs {
    const struct dcs_driver *driver;
};

/* What a driver implements. Every function is required. */
struct dcs_driver {
    const char *name;
    void (*start)(struct dcs *dcs, const struct dcs_listener *listener);
    void (*txn)(
        struct dcs *dcs, const struct dcs_txn *txn, int64_t timeout_ms, dcs_done *done, void *arg);
    void (*refresh)(struct dcs *dcs);
    void (*set_times)(struct dcs *dcs, int64_t ttl_ms, int64_t retry_timeout_ms);
    void (*end_session)(struct dcs *dcs);
    void (*free)(struct dcs *dcs);
};

/* Begin connecting, watching and keeping a session. LISTENER is copied; its callbacks come from the
 * loop. */
void dcs_start(struct dcs *dcs, const struct dcs_listener *listener);

/* Start a transaction; DONE is called exactly once, also when the driver is freed meanwhile
 * (DCS_UNKNOWN). */
void dcs_txn(
    struct dcs *dcs, const struct dcs_txn *txn, int64_t timeout_ms, dcs_done *done, void *arg);

/* Read everything anew, by a quorum read; ends in on_snapshot even if nothing changed. */
void dcs_refresh(struct dcs *dcs);

/* The time to live of the session and the overall time for retries. Another time to live is another
 * session: there is one all the time, and a snapshot follows in which no key is of it yet. */
void dcs_set_times(struct dcs *dcs, int64_t ttl_ms, int64_t retry_timeout_ms);

/* Give the session up for good (clean stop): its keys vanish at once. From now on puts with_session
 * are refused; when the store has done it, or could not be asked within the retry time, on_health
 * says has_session = false. */
void dcs_end_session(struct dcs *dcs);

/* Stop everything; no callback comes after this (open transactions end as DCS_UNKNOWN within it and
 * must not start new ones). Allowed within on_snapshot, on_health and DONE. NULL is accepted. */
void dcs_free(struct dcs *dcs);
