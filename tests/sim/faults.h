/* faults.h - between the table of faults (faults.c), how they are drawn (draw.c), whether they hit
 * anything (hit.c), and those that lie or stop time (harsh.c). */
#pragma once

#include "tests/sim/sim.h"

/* ---- for all ---- */

void faults_draw(struct sim *sim);
void faults_plan(struct sim *sim);
void faults_heal(struct sim *sim);
/* One more, carried out when its time comes (in a script: when the seed is played); false if there
 * is no room. */
bool fault_add(struct sim *sim, const struct fault *fault);
/* NULL: there is no such kind. */
const char *fault_name(unsigned kind);
/* The kind called NAME, or -1. */
int fault_find(const char *name);
/* The line of a scenario that stands for FAULT. */
void fault_write(const struct sim *sim, const struct fault *fault, char *buffer, size_t size);
void fault_format(const struct sim *sim, const struct fault *fault, char *buffer, size_t size);
struct node *sim_leader(struct sim *sim); /* whoever is open, else the holder, else node 0 */

/* NODE loses its data, unless nobody else could carry on. */
void fault_lose_data(struct sim *sim, struct node *node, bool is_broken);

/* ---- private to them ---- */

enum kind {
    KILL_SERVER,
    KILL_AGENT,
    KILL_NODE,
    POWER_ALL,
    FREEZE_AGENT,
    STALL_AGENT, /* in the middle of a turn */
    FREEZE_NODE,
    SUSPEND_NODE, /* the raw clock stands still */
    CUT_STORE,
    CUT_STORE_TO,
    CUT_STORE_FROM,
    CUT_PEER,
    CUT_PEER_ONE_WAY,
    ISOLATE,
    EXPIRY, /* the worst for a lease: late answers, then silence, the others' clocks run fast */
    STORE_QUORUM,
    STORE_LEADER,
    STORE_SLOW,
    STORE_LATE, /* it commits in time, but its answers come late */
    STORE_SESSION,
    NET_SLOW,
    CLOCK_SLEW,
    CLOCK_REAL,
    BAD_DISK,
    BROKEN_DATA,
    LOST_DATA,
    SWITCHOVER,
    SWITCHOVER_CRASH, /* the primary loses power while it hands over */
    FAILOVER,
    BY_HAND,
    PAUSE,
    LEAVE,
    SLOW_LINK, /* one way */
    LOSSY_LINK,
    PAUSE_HOST, /* a virtual machine is stopped, and no clock of it shows that */
    CLOCK_STEP,
    LOSE_TAIL, /* power fails, and the disk had lied about what it kept */
    STORE_STALE,
    STORE_DENIAL, /* changes that were made are denied */
    STORE_FALSE,  /* a session that has ended is said to live */
    SYNC_SWITCH,  /* from here on only where there are synchronous modes */
    SYNC_CANCEL,
    SYNC_FREEZE,
    SYNC_BREAK,
    FAILSAFE,
    HANG_SERVER,
    HANG_DISK,
    FAIL_DISK, /* it refuses what is written */
    FILL_DISK,
    FAIL_WATCHDOG,
    STORE_BACK,     /* the store is set back to an old copy, or wiped */
    NO_CONNECTIONS, /* a server takes no new ones */
    TTL_CHANGE,     /* an operator makes it smaller; not in storms */
    KINDS,
};

/* FAULT begins, or ends (is_over); NODE is whom it meets. */
typedef void fault_fn(struct sim *sim, struct fault *fault, struct node *node);

struct fault_kind {
    const char *name;
    int weight;          /* how often, of 1000, a seed has this kind at all */
    int64_t shortest_ns; /* 0: it has no length */
    int64_t longest_ns;
    unsigned most;
    fault_fn *begin;
    fault_fn *finish; /* NULL: it ends by itself */
};

const struct fault_kind *fault_kind(unsigned kind);

/* FAULT, which begins now with NODE, meets something that works: a server that is dead already
 * cannot be killed. */
bool fault_hits(const struct sim *sim, const struct fault *fault, const struct node *node);

/* NODE's data can be lost: somebody else could carry on. */
bool fault_can_lose(const struct sim *sim, const struct node *node);

/* Whether one more of NODE's clocks may go wrong now: never two in different ways within one lease,
 * which is not promised. */
bool fault_may_upset(const struct sim *sim, const struct node *node, enum upset by);
bool fault_upset(struct sim *sim, struct node *node, enum upset by);

fault_fn harsh_slow_link;
fault_fn harsh_lossy_link;
fault_fn harsh_pause;
fault_fn harsh_step;
fault_fn harsh_lose_tail;
fault_fn harsh_stale_store;
fault_fn harsh_deny;
fault_fn harsh_false_session;
fault_fn harsh_hang_server;
fault_fn harsh_hang_disk;
fault_fn harsh_fail_disk;
fault_fn harsh_fill_disk;
fault_fn harsh_fail_watchdog;
fault_fn harsh_set_store_back;
fault_fn harsh_no_connections;
fault_fn harsh_failsafe;
