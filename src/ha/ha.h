/* ha.h - from what is known to what must be done.
 *
 * ha_decide is pure: the view goes in as a value, the plan comes out as a value; no clock, no
 * memory, no I/O. Nothing is remembered between calls, and there is no table of transitions: what
 * to do is computed from the present each time, so no edge can be forgotten, and deciding twice on
 * the same view asks for the same again (actions are idempotent).
 *
 * Rules are rows (rules.c) in four topics. In TOPIC_LEASE (the right to write), TOPIC_SERVER (the
 * local database) and TOPIC_SYNC (see below) the first row that applies decides; in TOPIC_RECORD
 * (what the store should say) every row that applies acts. A row that asks for nothing still
 * explains why nothing is done: its id and sentence are what logs, REST and `baton list` show.
 *
 * Invariants, checked by ha_test.c over every small view and by the simulator:
 *   - a server that is writable without the lease is killed, whatever else is true (maintenance
 * mode included);
 *   - promotion is asked for only while the lease is mine, armed at the guard, with enough of it
 * left;
 *   - the lease is taken only when it is free or expired on this node's own clock, by the best
 * candidate;
 *   - a torn data directory (a rewind was interrupted) is never started nor rewound;
 *   - a data directory is replaced (clone, rewind) only while somebody else's server is seen
 * running as primary.
 *
 * All ages and remainders are in milliseconds, computed by the caller from both clocks with the
 * caution that fits (model/instant.h). Members are named by their index; HA_NOBODY is none.
 *
 * Synchronous modes (sync.c): in TOPIC_SYNC the first row that applies decides what the primary's
 * server has to wait for, and what the store says of it. While the key sync is published, only who
 * certainly has all acknowledged changes can be a candidate, and a holder that nobody hears is
 * replaced without waiting for its lease: enough standbys promise, for good, to confirm nothing to
 * it any more (rules revoke.*). */
#pragma once

#include "model/model.h"

#define HA_NOBODY (-1)
#define HA_STRANGER (-2) /* a name that is not a known member */
#define HA_ACTIONS_MAX 14

/* The right to write, as this node must see it. */
enum ha_lease {
    HA_LEASE_UNKNOWN, /* the store has not been read yet */
    HA_LEASE_FREE,    /* nobody holds it: released, or never held */
    HA_LEASE_EXPIRED, /* not renewed for its length on the own clock; or the own, of before */
    HA_LEASE_OTHER,   /* held by somebody else */
    HA_LEASE_MINE,    /* held here, and the deadline has not passed */
};

enum ha_initialize {
    HA_INITIALIZE_ABSENT,  /* no cluster yet */
    HA_INITIALIZE_PENDING, /* somebody else is making it */
    HA_INITIALIZE_MINE,    /* this node is making it */
    HA_INITIALIZE_SET,     /* the cluster exists: system_id */
};

/* A member as a candidate. For this node itself the same fields are filled from local facts. */
struct ha_member {
    char name[MEMBER_NAME_SIZE];
    bool is_fresh;   /* has answered recently */
    bool is_settled; /* fresh, or certainly not answering: waiting longer would tell nothing new */
    bool is_unasked; /* it has neither failed to answer nor said anything since this agent began */
    bool dcs_ok;     /* can reach the store, so it can take the lease */
    enum server_state server;
    int64_t down_ms; /* of others: how long their server has not been running; 0: it is */
    bool is_streaming;
    bool is_checkpointed; /* PRIMARY: since its promotion: others can rewind to it */
    struct position position;
    /* STANDBY: its position is the end of all that it has, not of what it has replayed so far. */
    bool is_whole;
    /* What it has beyond is no part of the cluster's newest history; {0}: all is, or not known. */
    struct position shared;
    bool is_stray; /* its timeline is one that somebody made by hand */
    bool nofailover;
    int priority;
    bool clonefrom;
    bool nosync;
    int sync_priority;
    bool is_watchdog_failed; /* it must have a kernel watchdog, and that does not work */
    enum trouble trouble;    /* for longer than settings.hang_timeout_ms */
    bool is_outgrown;        /* STANDBY: its replay has stopped until it is restarted */
    uint64_t replayed_lsn;   /* STANDBY */
    bool is_fetching;        /* STANDBY: it is getting the end of the holder's log (tail.c) */
    bool is_offering;        /* its server is down, and offers the end of its log to this node */

    /* Of others, when the primary runs here: */
    bool is_replicating;  /* streams from it directly, and its agent answers */
    int64_t apart_ms;     /* since it last was; 0 while it is */
    uint64_t flushed_lsn; /* what it has confirmed */

    bool is_current;    /* its position was asked for after the last holder could write no more */
    bool is_suspecting; /* it cannot hear the holder of the lease in force */
    bool is_patroni;    /* its agent is Patroni, which promises nothing */
    bool is_promised;   /* it confirms nothing to that holder any more, and its position is final */
};

/* Sets of members as bits, by index. */
#define HA_BIT(at) (UINT32_C(1) << (at))

/* struct sync_rule (model/sync.h) with members for names. */
struct ha_sync_rule {
    bool is_managed; /* false: synchronous_standby_names is the operator's */
    bool is_waiting;
    bool is_any;
    uint32_t names;
    unsigned strangers; /* names that are not known members */
    unsigned need;
};

/* struct sync_record with members for names, without the leader. */
struct ha_sync_key {
    uint32_t voters;
    unsigned strangers; /* voters that are not known members */
    unsigned quorum;
};

/* What commits wait for, and who may therefore take over (model/sync.h). */
struct ha_sync {
    /* Not published: replication is asynchronous for all that others can know. */
    bool is_published;
    int leader; /* whose commits the key covers */
    struct ha_sync_key key;
    bool is_busy;      /* a change of the key is under way, or nobody knows how it ended */
    bool is_confirmed; /* this agent has changed it, so what was read at first was not outdated */

    bool is_known; /* the server was told a rule since the agent began: the newest one */
    struct ha_sync_rule rule;
    bool is_settled; /* and it is in force for certain */
    /* By which something may be acknowledged now: the rule, mixed with those before it until it is
     * settled (ha_rule_mix). */
    struct ha_sync_rule mix;
};

struct ha_server {
    enum server_state state;
    bool is_busy; /* an order is in progress */
    bool is_promoting;
    bool was_clean;            /* DOWN */
    bool was_primary;          /* DOWN: it was writable when it last ran */
    bool is_torn;              /* DOWN: a rewind was interrupted: only a clone helps */
    bool is_starved;           /* its upstream has removed log that it needs: only a clone helps */
    bool is_armed;             /* the guard has confirmed the deadline of this lease */
    bool is_start_due;         /* no back-off is running after a failed start, clone or rewind */
    bool is_promote_due;       /* ... after a failed promotion */
    unsigned promote_failures; /* in a row, since the lease was taken */
    bool is_detached;          /* STANDBY: follows nobody, all that it received is replayed */
    bool is_end_known;         /* DOWN: its position is the exact end of its log */
    uint64_t recovery_bytes;   /* ... and a start here has so much of it to replay */
    bool can_ship;             /* there is a password that all agents know, to sign with */
    bool is_fetch_due;         /* no back-off is running after a failed fetch of a log's end */
    int64_t ended_ms;          /* DOWN: since this was first seen; 0 otherwise */
    bool is_virgin;            /* made here a moment ago, and never opened for writing */
    bool can_rewind;           /* pg_rewind is allowed and has not failed against this primary */
    unsigned start_failures;   /* in a row; an end by itself soon after a start is one */
    int64_t down_ms;           /* since it was last seen answering; 0 while it is */
    int64_t stopping_ms;       /* since it was asked to stop */
    int64_t killed_ms;         /* since it was killed, while it does not end; else 0 */
    bool is_room_tried;        /* it was stopped a moment ago because its disk is full */
    bool is_whole;             /* DOWN, STANDBY: its position is the end of all that is here */
    uint64_t system_id;        /* 0: unknown */
    enum relation relation;    /* of its position to the holder's history */
    int upstream;              /* index, HA_NOBODY or HA_STRANGER */
};

/* An operator's request (key failover). */
struct ha_request {
    bool is_present;
    bool is_due;          /* its scheduled time has come */
    bool is_checkpointed; /* a checkpoint for it is done */
    bool is_tried;        /* the server was stopped for it once */
    int leader;           /* HA_NOBODY: a failover */
    int candidate;        /* HA_NOBODY: the best one */
    int64_t age_ms;       /* since this node first saw it due, and was opened */
    int64_t late_ms;      /* since its scheduled time, while nothing was begun for it; else 0 */
};

/* The hold of the last lease, or of the own one, without the store (failsafe.c). */
struct ha_failsafe {
    bool is_due; /* MINE: the store has not renewed it for long, and it is time to ask the others */
    bool is_held;  /* MINE: it rests on promises, not on the store */
    bool is_bound; /* this node's promise to the holder is in force */
    unsigned
        count; /* EXPIRED, of another node: how many members it names; 0: it cannot be held so */
    uint32_t
        votes; /* of those, the holder left out, who have said that they do not help it any more */
    bool is_recorded; /* the key failsafe lists the members */
};

struct ha_view {
    int self;
    unsigned member_count;
    struct ha_member members[MEMBERS_MAX];

    bool dcs_ok;  /* the reading of the store is fresh */
    bool is_read; /* there is one, fresh or not */
    enum ha_lease lease;
    int holder;            /* of the lease, in force or last */
    int64_t lease_left_ms; /* MINE: until the deadline */
    bool is_renewal_due;
    bool is_store_old;     /* it shows a lower term than was seen: wiped, or set back */
    bool has_past;         /* a cluster was here, or is at a member that answers: no new one */
    bool is_old_new;       /* ... since less than a length: a later holder may still be there */
    bool is_lease_busy;    /* a transaction on the lease is under way */
    int released_to;       /* FREE: who may go first */
    bool is_grace;         /* ... and the time for that is not over */
    struct position floor; /* of a release: who lacks it lacks acknowledged changes */
    uint32_t timeline;     /* the newest that the cluster has given out; 0 unknown */
    bool is_reserved;      /* MINE: the next promotion has a timeline of its own */
    uint64_t cluster_lsn;  /* the last primary's position as published; 0 unknown */
    enum ha_initialize initialize;
    uint64_t system_id;
    bool has_config;
    bool has_history; /* the history key reaches this server's timeline */
    bool is_status_due;

    struct ha_server server;
    struct ha_request request;
    struct ha_sync sync;
    bool is_bound;        /* this node has promised more than the lease's term: never follow its
                               holder again */
    bool is_promise_busy; /* a promise is being written down */
    bool is_challenged;   /* MINE: others have promised more than its term: it needs a higher one */
    struct ha_failsafe failsafe;
    struct cluster_settings settings;
    int64_t promote_budget_ms; /* lease_times: what must be left for a promotion to begin */
    bool is_leaving;           /* the agent was told to stop, and the server with it */
};

enum ha_action_kind {
    HA_NOTHING, /* the row only explains */
    HA_RENEW,
    HA_ACQUIRE,
    HA_RELEASE, /* member: who may go first, or HA_NOBODY; floor */
    HA_KILL,
    HA_BOOTSTRAP,
    HA_CLONE,  /* member: source */
    HA_REWIND, /* member: source */
    HA_START,  /* member: upstream or HA_NOBODY */
    HA_STOP,   /* stop_mode */
    HA_PROMOTE,
    HA_FOLLOW, /* member: upstream */
    HA_CHECKPOINT,
    HA_CLAIM,      /* put initialize, empty, if absent */
    HA_INITIALIZE, /* put initialize with the system identifier (and config if absent) */
    HA_PUT_CONFIG,
    HA_PUT_STATUS,
    HA_PUT_HISTORY,
    HA_CLEAR_REQUEST,
    HA_PROMISE,  /* write down that the holder gets no confirmation any more */
    HA_REVOKE,   /* stop following, for good */
    HA_FETCH,    /* member: get the end of its log, up to `floor` */
    HA_SET_RULE, /* sync_rule: what commits wait for */
    HA_PUT_SYNC, /* sync_key: publish who may take over */
    HA_DELETE_SYNC,
    HA_ASK, /* the others, to help to hold the lease without the store */
    HA_PUT_FAILSAFE,
};
#define HA_ACTION_KINDS (HA_PUT_FAILSAFE + 1)

struct ha_action {
    enum ha_action_kind kind;
    int member;
    enum stop_mode stop_mode;
    bool is_for_request; /* HA_CHECKPOINT: to begin with the request; HA_STOP: it counts as tried */
    bool is_for_room;    /* HA_STOP: because the disk is full; it counts as tried */
    struct position floor;
    struct ha_sync_rule sync_rule; /* HA_SET_RULE */
    struct ha_sync_key sync_key;   /* HA_PUT_SYNC */
    bool is_next_term;             /* HA_RENEW: with a higher term */
    const char *rule;              /* id of the row */
    const char *why;               /* its sentence; static text */
    const char *detail;            /* what exactly, or NULL; static text */
    int about;                     /* member that the sentence is about, or HA_NOBODY */
};

enum ha_topic {
    TOPIC_LEASE,
    TOPIC_SERVER,
    TOPIC_SYNC,
    TOPIC_RECORD,
    TOPICS,
};

/* What to do. The first actions belong to TOPIC_LEASE, TOPIC_SERVER and TOPIC_SYNC, always; the
 * rest to TOPIC_RECORD. */
struct ha_plan {
    unsigned count;
    struct ha_action actions[HA_ACTIONS_MAX];
};

struct ha_rule {
    const char *id; /* "race.acquire" */
    enum ha_topic topic;
    const char *when; /* for the reference */
    const char *why;  /* the sentence shown when it decides */
    bool (*applies)(const struct ha_view *view);
    void (*act)(const struct ha_view *view, struct ha_action *action); /* NULL: HA_NOTHING */
};

/* Row AT of all rows in order, or NULL past the last. */
const struct ha_rule *ha_rule_at(unsigned at);

/* sync.c: what some processes of a server that go by A and others that go by B let through.
 * PostgreSQL's senders count each other's standbys by what each has read itself, but so many as
 * they have read: as few as the smaller number, from among the names of both. */
struct ha_sync_rule ha_rule_mix(const struct ha_sync_rule *a, const struct ha_sync_rule *b);

/* sync.c: whether each set of members that can have confirmed a commit under RULE meets each set
 * that can elect under KEY. */
bool ha_sync_is_safe(const struct ha_sync_rule *rule, const struct ha_sync_key *key);

/* Whether member AT certainly has all acknowledged changes: by the answers that VIEW has, by the
 * floor of a release, or because nothing is published. For a lease that is not this node's. */
bool ha_sync_covers(const struct ha_view *view, int at);

/* The same by answers alone, whoever holds the lease: more than the quorum are current, and none of
 * them is ahead of AT. */
bool ha_sync_is_confirmed(const struct ha_view *view, int at);

/* failsafe.c, of COUNT members: so many, with the holder, must promise that it can go on without
 * the store; so many, without it, must say that they do not, before another node may take the
 * lease. */
unsigned ha_failsafe_promises(unsigned count);
unsigned ha_failsafe_votes(unsigned count);

/* tail.c: to whom the holder, whose server here has died, offers the end of its log; HA_NOBODY. */
int ha_tail_heir(const struct ha_view *view);

/* Decide. VIEW must pass ha_view_check. */
void ha_decide(const struct ha_view *view, struct ha_plan *plan);

/* Assert that indices and counts of VIEW are in range (not that its content is plausible). */
void ha_view_check(const struct ha_view *view);

/* Why member AT cannot be a candidate, or NULL if it can (rank.c). */
const char *ha_bar(const struct ha_view *view, int at);

/* The best candidate among all members, or HA_NOBODY; except EXCEPT (HA_NOBODY: none excepted). */
int ha_best(const struct ha_view *view, int except);

/* Compare two eligible members: negative if A should be primary rather than B. Never 0 for A != B.
 */
int ha_rank(const struct ha_view *view, int a, int b);

/* "acquire", "promote", ... */
const char *ha_action_text(enum ha_action_kind kind);

/* The times of a lease of LENGTH (the ttl), all derived here and nowhere else (lease.c has the
 * proof). length_ms: what a challenger waits without a renewal, on its own clock. hold_ms: after
 * the beginning of a successful renewal the holder may write so long, on its own clock. renew_ms: a
 * renewal begins so often. request_ms: and is given up after. promote_budget_ms: see the view. */
struct lease_times {
    int64_t length_ms;
    int64_t hold_ms;
    int64_t renew_ms;
    int64_t request_ms;
    int64_t promote_budget_ms;
    int watchdog_s; /* lease_watch: timeout of the kernel watchdog; 0: none with this ttl */
    int64_t watchdog_left_ms; /* and while how much of the hold is left it may be petted */
};
#define LEASE_LENGTH_MIN_MS 2000
struct lease_times lease_times(int64_t ttl_ms, int64_t loop_wait_ms);

/* A length that is long enough for who may write for LEFT_MS more. */
int64_t lease_length_ms(int64_t left_ms);

/* The times of TIMES with a kernel watchdog whose timeout is MARGIN_S seconds less than the length;
 * negative: the longest one that is certain, which shortens the hold too. */
void lease_watch(struct lease_times *times, int64_t margin_s);
