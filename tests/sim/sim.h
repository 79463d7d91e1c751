/* sim.h - a cluster under virtual time: one to five agents, their database servers, one store, the
 * network between.
 *
 * The agents are the real ones: the same object code of ha/ and agent/ that the program runs.
 * Everything that they touch is a model behind the ports of agent.h: the store (store.c: struct
 * dcs), the database (engine.c: struct engine, the part that lives in the agent's process; server.c
 * and wal.c: the guard, the server, its disk and log, which survive the agent), the peers and the
 * network (net.c). faults.c breaks things, check.c watches from outside and believes no agent.
 *
 * Rules of the game:
 *   - One int64 virtual clock in nanoseconds, one heap of events, one thread. Nothing reads the
 *     host's clock or memory layout: a seed gives the same run always, and every event is mixed
 *     into `hash`.
 *   - Each random number is a hash of (seed, stream, counter): to leave one fault out does not
 *     reshuffle the others.
 *   - An event belongs to an actor and an epoch of it. The kill of an actor raises its epoch: what
 *     was on its way to it is dropped. Events of a frozen actor wait until it thaws, in order.
 *
 * Not claimed: what lease.c does not claim. A server that thaws with its host after its deadline
 * can acknowledge until its guard has had the time that the lease grants it (EXCUSE_NS); a
 * promotion by hand is killed, not prevented; data that was on one disk only dies with it; a host
 * that was paused without its clocks counts on its lease for a hold more. The
 * checkers leave those out, and only those. */
#pragma once

#include "agent/agent.h"

#include "base/mem.h"
#include "base/str.h"

#define NODES_MAX 5
#define MS NS_PER_MS
#define SECOND (1000 * NS_PER_MS)

/* What lease.c grants the guard: lateness after the deadline, and time to kill. */
#define GUARD_LATE_NS (200 * MS)
#define GUARD_KILL_NS (300 * MS)
#define EXCUSE_NS (GUARD_LATE_NS + GUARD_KILL_NS + 100 * MS)

struct sim;
struct node;

/* The `arg` of an agent's ports. */
struct port {
    struct sim *sim;
    struct node *node;
};

struct event;
struct store;

/* ---- events (world.c) ---- */

enum actor {
    ACTOR_WORLD,  /* always runs */
    ACTOR_AGENT,  /* the agent's process */
    ACTOR_HOST,   /* guard and kernel of a node */
    ACTOR_SERVER, /* one run of the database server */
};

typedef void event_fn(struct sim *sim, struct event *event);

struct event {
    int64_t at_ns;
    uint64_t order; /* of creation: equal times run in this order */
    event_fn *run;
    void *data; /* freed with mem_free unless `run` takes it */
    enum actor actor;
    unsigned node;
    uint32_t epoch;
    int64_t a;
    int64_t b;
};

/* Streams of random numbers. The faults use one for each kind, from STREAM_FAULTS on. */
enum stream {
    STREAM_SHAPE,
    STREAM_NET,
    STREAM_STORE,
    STREAM_AGENT,
    STREAM_SERVER,
    STREAM_CLIENT,
    STREAM_GUARD,
    STREAM_FAULTS,
    STREAM_FENCES = STREAM_FAULTS + 80,
    STREAM_SYNC = STREAM_FAULTS + 90,
    STREAM_FAILSAFE,
    STREAM_TROUBLE,
    STREAM_STORM,
    STREAM_REPLAY,
    STREAMS,
};

uint64_t rng_next(struct sim *sim, enum stream stream);
/* A number within [LOW, HIGH]; evenly, or evenly in the logarithm (LOW > 0). True PER_MILLE times
 * of 1000. */
int64_t rng_between(struct sim *sim, enum stream stream, int64_t low, int64_t high);
int64_t rng_log(struct sim *sim, enum stream stream, int64_t low, int64_t high);
bool rng_chance(struct sim *sim, enum stream stream, int per_mille);

/* ---- the log of a server (wal.c) ---- */

struct write {
    uint64_t lsn;     /* end of its commit record */
    int64_t acked_ns; /* 0: nobody was told */
    bool is_covered;  /* and the key sync stood for it */
};

/* What one promotion began: the only writer of a branch is the server that opened it. Timeline
 * numbers may repeat among branches, as in PostgreSQL; the index of a branch never does. */
struct branch {
    int parent; /* -1: root */
    uint64_t fork;
    uint32_t timeline;
    uint64_t system_id;
    unsigned opener;
    bool is_by_hand; /* promoted by a DBA */
    struct write *writes;
    unsigned write_count;
    unsigned write_space;
};

struct wal {
    struct branch *branches;
    unsigned count;
    unsigned space;
};

/* Content up to LSN of BRANCH. */
struct place {
    int branch; /* -1: nothing */
    uint64_t lsn;
};

int wal_add(struct sim *sim, const struct branch *branch);
void wal_fini(struct wal *wal);
/* Is all of PART contained in WHOLE? What PostgreSQL can see of that: numbers of timelines only. */
bool wal_contains(const struct wal *wal, struct place whole, struct place part);
struct timeline_history wal_history(const struct wal *wal, int branch);
bool wal_can_stream(const struct wal *wal, struct place upstream, struct place position);
/* Whether a DBA's promotion lies on the path to PLACE. */
bool wal_is_by_hand(const struct wal *wal, struct place place);
/* Two different branches with one number: one of A's path, one of B's. Only a DBA can make them. */
bool wal_has_twin(const struct wal *wal, struct place a, struct place b);
unsigned wal_write(struct branch *branch, uint64_t lsn);
/* Acknowledged writes in WHOLE that KEPT lacks; *RET_LAST gets the end of the last one. */
unsigned wal_lost(const struct wal *wal, struct place whole, struct place kept, uint64_t *ret_last);
/* Of those only the covered ones that were acknowledged after SINCE. */
unsigned wal_lost_covered(
    const struct wal *wal, struct place whole, struct place kept, int64_t since_ns);
/* The last place that the paths to A and B share ({-1, 0}: none). */
struct place wal_meet(const struct wal *wal, struct place a, struct place b);

/* ---- synchronous replication (commit.c, driver.c) ---- */

/* struct sync_rule with nodes for names: no other name ever confirms anything. */
struct rule {
    bool is_waiting;
    unsigned need;
    bool is_any;
    uint32_t names;   /* bits, by index */
    uint32_t version; /* grows with each writing of it on this node; 0: never written */
};

/* A connection that a server sends its log through: one for each node that streams from it. */
struct sender {
    bool is_attached;
    uint32_t stream;  /* of the receiver that it serves */
    uint64_t flushed; /* confirmed */
    int64_t heard_ns; /* of the newest confirmation */
    struct rule rule; /* as it has loaded it */
};

/* A client's connection to the primary, in the middle of a commit. */
struct backend {
    bool is_waiting;  /* the commit is on the own disk, and waits for others */
    bool is_answered; /* it need not wait any more: the answer is on its way */
    struct place end; /* of its commit record */
    unsigned write;
};
#define BACKENDS_MAX 4

/* What a server's processes share in memory about it. */
struct commits {
    struct rule parent; /* what new senders begin with */
    struct rule flag;   /* what backends look at: whether there is anything to wait for */
    uint64_t released;  /* who waits for less need not wait any more */
    struct sender senders[NODES_MAX];
    struct backend backends[BACKENDS_MAX];
};

struct ping {
    uint32_t number;
    unsigned peer;
    bool is_due;
};
#define PINGS_MAX 16

/* The part of an agent's driver that sees to the rule; it ends with the agent. */
struct driver {
    bool is_set; /* since the agent began */
    struct rule rule;
    uint64_t serial;
    bool is_written;
    bool has_barrier;
    uint64_t barrier; /* written by a primary with the rule loaded everywhere */
    uint32_t epoch;   /* of the server that the following is about */
    bool was_primary;
    uint64_t in_force; /* serial */
    bool is_watching;
    struct ping pings[PINGS_MAX];
    uint32_t ping_count;
    uint64_t promise; /* under way; 0 none */
};

/* ---- a node ---- */

struct clock {
    int64_t since_ns; /* virtual */
    int64_t value_ns;
    int64_t ppm;
    bool is_stopped;
};

enum disk_kind {
    DISK_ABSENT,
    DISK_PRESENT,
    DISK_BROKEN,
};

struct disk {
    enum disk_kind kind;
    uint64_t system_id;
    struct place end; /* of the log on disk */
    uint64_t replayed;
    struct place minimum; /* not consistent before; branch -1: none */
    struct place checkpoint;
    struct place complete; /* where the log ended when it was last closed in order */
    uint32_t timeline_max; /* newest history file: the next promotion goes beyond it */
    bool is_clean;
    bool was_primary;
    bool is_checkpointed;
    bool is_torn;       /* a rewind was interrupted */
    bool is_starved;    /* what it needs next, no upstream has any more */
    bool is_end_read;   /* the driver has found the end of what a primary left that was killed */
    struct rule rule;   /* synchronous_standby_names, as configured */
    int upstream;       /* configured; -1 none */
    int64_t changed_ns; /* when `end` last moved */
};

enum run {
    RUN_NONE,
    RUN_STARTING,
    RUN_STANDBY,
    RUN_PROMOTING,
    RUN_PRIMARY,
    RUN_STOPPING,
};

struct server {
    enum run run;
    uint32_t epoch;
    bool has_clients;  /* connected and able to write */
    bool is_recovered; /* STARTING: consistent, or waits for `minimum` */
    bool is_streaming;
    bool has_received;
    bool is_push_under_way;
    uint64_t tail;    /* STANDBY: its driver counts so much as on disk (fetch.c) */
    bool is_outgrown; /* STANDBY: a promotion, or resuming its replay, would end it */
    bool is_by_hand;  /* promotion by a DBA under way or done */
    bool is_kill_asked;
    int64_t opened_ns; /* PRIMARY: when it was opened */
    uint32_t timeline; /* PROMOTING: the number for the new one */
    bool was_primary;  /* STOPPING */
    bool is_dying;     /* STOPPING: killed, held by a disk that hangs */
    uint32_t stream;   /* number of the newest connection to an upstream */
    unsigned from;     /* streaming: whom that connection leads to */
    uint32_t upstream_epoch;
    int64_t stop_limit_ns;
    int64_t since_ns;  /* in this state */
    int64_t rest_ns;   /* until then it replays what it was started with, and receives nothing */
    int64_t silent_ns; /* streaming: since when the upstream cannot be heard; 0: it can */
    struct commits commits;
};

struct guard {
    struct instant deadline; /* {0,0}: not armed */
    uint32_t timer;          /* newest timer event */
    bool is_killing;
    bool is_open; /* its server was told to open itself */
};

enum upset {
    UPSET_NONE,
    UPSET_SLEW,    /* the boot clock runs fast or slow */
    UPSET_SUSPEND, /* the raw clock stands still */
    UPSET_PAUSE,   /* both stand still, and so does the host */
    UPSET_STEP,    /* one jumps ahead */
};

struct store_handle;
struct sim_engine;

struct poll {
    uint32_t number; /* of the newest question; its answer or end is still due */
    bool is_due;
};

struct node {
    unsigned index;
    char name[8];
    struct config config;
    char id[NODE_ID_SIZE]; /* kept on its disk; another one when the host is replaced */

    struct clock boot;
    struct clock raw;
    int64_t real_offset_ms;
    enum upset upset; /* what went wrong with its clocks last */
    int64_t upset_ns; /* and when that was seen last */

    bool is_up; /* the host */
    int64_t host_frozen_until_ns;
    uint32_t host_epoch;
    int64_t excused_until_ns;   /* see the essay */
    int64_t clockless_until_ns; /* the same after a pause that no clock shows */

    struct agent *agent; /* NULL: not running */
    int64_t agent_frozen_until_ns;
    bool is_leaving;
    uint32_t agent_epoch;
    int64_t agent_began_ns;
    int64_t unlisted_ns; /* when a session of it ended, and its record went with it */
    bool is_step_due;
    uint32_t step_timer; /* number of the newest timer event */
    int64_t timer_ns;    /* when it comes; 0: none */
    int64_t wake_ns;     /* when the agent wants its next step */
    int64_t busy_until_ns;
    int64_t stall_ns;        /* freeze in the middle of the next step for so long */
    int64_t output_after_ns; /* what the agent sends leaves not before this */
    int64_t able_since_ns;   /* a candidate by the checker's measure since; 0: not now */
    struct event *frozen;    /* events that wait for a thaw */
    unsigned frozen_count;
    unsigned frozen_space;

    struct store_handle *store;
    struct sim_engine *engine;
    struct poll polls[NODES_MAX];
    struct poll asks[NODES_MAX]; /* of failsafe mode */

    struct disk disk;
    struct server server;
    struct guard guard;
    bool has_bad_disk; /* starts fail */
    bool is_promotion_refused;
    struct place lied; /* what its disk had said to have before it lost the end of that */
    bool is_misled;    /* its agent began with an old reading of the store */
    /* Since when its server answers nothing, or its disk takes no write; 0: all is well. On a disk
     * that hangs the server ends, when killed, only after that. */
    int64_t silent_ns;
    int64_t heard_ns; /* when that ended, or what its agent had decided meanwhile happens */
    int64_t disk_hung_ns;
    int64_t disk_failed_ns; /* it refuses a write that nobody but the agent has tried */
    int64_t disk_full_ns;
    bool is_watchdog_failed;
    bool has_no_connections; /* for those who would begin to stream or copy */
    uint32_t made_epoch;     /* of the agent that made a database here */
    uint64_t promised;       /* on disk */
    struct lease_past past;  /* on disk */
    uint64_t told;           /* the promise that others know of */
    uint64_t held;           /* term of the lease that it had last */
    struct driver driver;
};

/* ---- the network (net.c): who can send to whom ---- */

#define STORE_PLACE NODES_MAX
#define PLACES (NODES_MAX + 1)

struct net {
    int cuts[PLACES][PLACES];       /* [from][to]: number of faults that cut it */
    int64_t lag_ns[PLACES][PLACES]; /* more delay in one direction */
    int loss[PLACES][PLACES];       /* packets lost in one direction, of 1000 */
    int slow;                       /* factor; 1 normal */
    int64_t pipes[PLACES][PLACES];  /* last delivery, for those that keep their order */
};

bool net_is_cut(const struct sim *sim, unsigned from, unsigned to);
/* Slow or lossy, one way or the other. */
bool net_is_poor(const struct sim *sim, unsigned a, unsigned b);
/* One more fault (BY 1) or one less (-1) that cuts the way. */
void net_cut(struct sim *sim, unsigned from, unsigned to, int by);
/* The delay of one message, or -1: it is lost. */
int64_t net_delay(struct sim *sim, unsigned from, unsigned to);
void net_poll(void *arg, const char *name, const char *api_url, int64_t timeout_ms, bool is_urgent);
/* The port `failsafe`. */
void net_failsafe(struct port *port, const char *name, const char *body, int64_t timeout_ms);

/* ---- what a seed draws once ---- */

struct shape {
    unsigned node_count;
    int64_t ttl_ms;
    int64_t loop_wait_ms;
    int64_t retry_timeout_ms;
    int64_t start_timeout_ms;
    int64_t hang_timeout_ms; /* 0: the default */
    int64_t maximum_lag;
    int64_t pace_ns;     /* of the engine's own probes */
    int64_t think_ns;    /* of a client between writes */
    int64_t start_ns;    /* starting a server, at least */
    int64_t recovery_ns; /* after a crash, at most */
    int64_t promote_ns;  /* at most */
    int64_t clone_ns;    /* at most */
    int64_t receiver_ns; /* between attempts to stream */
    int64_t replay_ns;   /* a standby opens so long before it has replayed what it has, at most */
    int64_t lag_ns;      /* of replication, beyond the network; at most */
    unsigned clients;
    int checked_limit_ms; /* how long the store's silence stays unnoticed */
    bool is_calm;         /* one fault only: the outage is measured */
    bool is_early;        /* faults begin before there is a cluster */
    int nofailover;       /* node with the tag; -1 none */
    enum sync_mode sync_mode;
    bool is_sync_strict;
    int sync_count;   /* synchronous_node_count; 0: not set */
    int nosync;       /* node with the tag; -1 none */
    int end_known;    /* per mille: the end of a killed primary's log can be found */
    bool is_failsafe; /* failsafe_mode */
    bool is_cut_off;  /* and few faults but those that it is for */
    bool is_storm;    /* bursts of many faults, beside the others */
};

/* ---- faults (faults.c) ---- */

struct fault {
    int64_t at_ns;
    int64_t length_ns;
    unsigned kind;
    int node; /* -1: whoever leads then */
    int other;
    int64_t amount;
    bool is_off;     /* left out while shrinking */
    bool is_applied; /* began */
    bool is_hit;     /* and met something that worked: only these are counted */
    bool is_over;
    int resolved; /* the node it met */
};
#define FAULTS_MAX 320
#define FAULT_KINDS_MAX 80 /* as many as there are streams for */

/* ---- fences (fence.c): what keeps a server silent after its deadline ---- */

enum fence {
    FENCE_GUARD,
    FENCE_EXTENSION,
    FENCE_NFT,
    FENCE_WATCHDOG,
    FENCES,
};

/* What people have configured. */
struct settings {
    bool is_paused;
    enum sync_mode mode;
    bool is_strict;
    int count; /* synchronous_node_count; 0: not set */
};

/* ---- checkers (check.c) ---- */

enum verdict {
    VERDICT_FINE = 0,
    VERDICT_LIVENESS = 1,
    VERDICT_SAFETY = 2,
};

/* Of a change of the rule. */
enum stage {
    STAGE_ASKED,
    STAGE_WRITTEN,
    STAGE_FLAG, /* backends look at the new one */
    STAGE_BARRIER,
    STAGE_IN_FORCE,
    STAGE_PUBLISHED,
    STAGES,
};

/* What must be met sometimes (check_sync.c): printed with --seeds. */
enum mark {
    MARK_REVOKED,       /* a takeover from a holder whose lease is in force: enough have promised */
    MARK_TOO_FEW,       /* somebody has promised, but the lease is waited for */
    MARK_BUMP,          /* the holder takes a higher term, past the promises */
    MARK_SYNC_EXPIRED,  /* a takeover by expiry or release while the key is published */
    MARK_GROWN,         /* the key has more voters */
    MARK_SHRUNK,        /* or fewer */
    MARK_DEGRADED,      /* a rule that waits for nobody, in a synchronous mode */
    MARK_BLOCKED,       /* a rule that waits for ever */
    MARK_REPLACED,      /* a rule is replaced before it was in force */
    MARK_OLD_RULE,      /* a sender releases a commit by a rule of before */
    MARK_FLAG_DOWN,     /* commits that wait are let go */
    MARK_CANCELLED,     /* the wait of a commit is cancelled */
    MARK_ENDED_WAITING, /* a server ends while a commit waits */
    MARK_ANSWER_LOST,   /* or is released, but not answered */
    MARK_UNCOVERED,     /* in a synchronous mode, an answer without a key that stands for it */
    MARK_THAWED,        /* an answer by a holder of before, that no clock can prevent */
    MARK_PROMISED,      /* a promise is durable */
    MARK_PROMISE_FAILED,   /* it could not be written */
    MARK_END_UNKNOWN,      /* the end of a killed primary's log cannot be found */
    MARK_SWITCHED,         /* the mode changes */
    MARK_FAILSAFE_ASKED,   /* failsafe mode: somebody is asked */
    MARK_FAILSAFE_KEPT,    /* and promises */
    MARK_FAILSAFE_REFUSED, /* or does not */
    MARK_FAILSAFE_HELD,    /* a write is acknowledged by a holder that the store has forgotten */
    MARK_WAITS,            /* nobody can lead, rightly */
    MARK_STAGES,           /* something happened at each stage of a change of the rule (sync.c) */
    MARKS = MARK_STAGES + STAGES,
};

/* The key sync, in the words of the model. */
struct sync_key {
    bool is_published;
    int leader; /* -1: unknown */
    uint32_t voters;
    unsigned quorum;
};

struct check {
    enum verdict verdict;
    char what[512];
    uint64_t term;
    uint64_t term_max; /* ever, whatever the store says now */
    char holder[MEMBER_NAME_SIZE];
    int64_t lease_ns;        /* when its record last changed */
    unsigned takeovers;      /* commits that changed the holder */
    bool is_released;        /* the lease was released with a floor since the last opening */
    int official;            /* branch opened last by right; -1 none */
    int64_t last_primary_ns; /* when a server was last open by right */
    int64_t last_open_ns;    /* ... or at all */
    int64_t last_ack_ns;
    int64_t longest_gap_ns; /* between acknowledgements, since the first fault */
    int64_t status_changed_ns;
    uint64_t status_lsn;
    unsigned acks;
    unsigned lost;      /* acknowledged, then lost within the rules of asynchronous replication */
    unsigned excused;   /* acknowledgements that no clock can prevent */
    unsigned back_keys; /* the store was set back to another key `sync` */
    int64_t back_ns;    /* when it was set back last; 0: never */
    char back_holder[MEMBER_NAME_SIZE]; /* who held the lease then, and counts on it for a while */
    bool is_key_old;            /* it has brought back a key `sync` that stands for nothing newer */
    bool is_forgotten;          /* and nobody who could be asked knew what it had been */
    bool is_loss_excused;       /* a disk was lost: what only it held is gone */
    bool is_tail_lost;          /* a disk had lied: nobody may be left who lags little enough */
    unsigned prevented[FENCES]; /* acknowledgements that this fence alone prevented */
    int64_t sent_ns;            /* when the transaction was that the store carried out last */
    int64_t asked_ns;           /* when a person last asked for a failover to what is left */
    int64_t converged_ns;       /* after the faults ended; -1 not yet */
    bool is_forced;             /* the last takeover is an operator's */
    uint32_t silenced;          /* nodes that were replaced by revocation, until they lead again */
    int64_t loss_ns;            /* when a disk was lost last */
    int64_t unkeyed_ns;         /* when the key sync ceased to stand for anything */
    bool has_config;            /* the key config was written: what follows is a switch */
    enum sync_mode mode;        /* as configured */
    bool is_strict;
    int64_t mode_ns;     /* since then; 0: from the beginning */
    struct sync_key key; /* as it is in the store */
};

#define RULES_MAX 160

struct sim {
    uint64_t seed;
    int64_t now_ns;
    uint64_t orders;
    uint64_t hash;
    uint64_t events;
    struct event *heap;
    unsigned heap_count;
    unsigned heap_space;
    uint64_t counters[STREAMS];

    struct shape shape;
    unsigned fences; /* bits of enum fence */
    struct node nodes[NODES_MAX];
    struct net net;
    struct store *store;
    struct wal wal;
    struct check check;
    struct fault faults[FAULTS_MAX];
    unsigned fault_count;
    bool is_scripted; /* the faults are given, not drawn */
    bool is_healed;
    bool has_sync; /* somebody may wait for confirmations */
    struct settings settings;
    char base_config[400];     /* the dynamic configuration without them */
    struct fault *stage_fault; /* waits for its stage; NULL: none does */
    int answer;                /* status of the last request; 0: not yet */

    bool is_tracing;                                 /* keep lines */
    void (*line)(struct sim *sim, const char *text); /* each line of the trace; NULL: the ring */
    /* Each decision that an agent tells; NULL: nobody wants them. */
    void (*decision)(struct sim *sim, const struct node *node, const char *rule, const char *text);
    void *line_arg;
    char **ring;
    unsigned ring_at;
    bool reached[RULES_MAX]; /* by ha_rule_at */
    bool marks[MARKS];
};

struct sim *sim_new(uint64_t seed, const struct shape *shape); /* NULL: drawn from the seed */
void sim_free(struct sim *sim);
/* Run until TIME or a verdict. */
void sim_run(struct sim *sim, int64_t until_ns);
/* One event; false if there is none before UNTIL. */
bool sim_turn(struct sim *sim, int64_t until_ns);
void sim_shape_draw(struct sim *sim);

/* A line of the trace; NODE may be NULL. Always mixed into the hash by its rule only. */
void sim_trace(struct sim *sim, const struct node *node, const char *rule, const char *format, ...)
    PRINTF_LIKE(4, 5);
void sim_ring_print(struct sim *sim, unsigned last);

/* Plan EVENT (run, data, a, b; the rest is filled in) after DELAY_NS for an actor of NODE in its
 * present epoch; NODE may be NULL for the world. What nobody takes of `data` is freed. */
void sim_post(
    struct sim *sim, struct node *node, enum actor actor, int64_t delay_ns,
    const struct event *event);

int64_t clock_now(const struct clock *clock, int64_t now_ns);
struct instant node_now(const struct sim *sim, const struct node *node);
/* Change the rate of a clock from now on. */
void clock_set(struct clock *clock, int64_t now_ns, int64_t ppm, bool is_stopped);
/* In how much virtual time will CLOCK show VALUE; INT64_MAX: never. */
int64_t clock_until(const struct clock *clock, int64_t now_ns, int64_t value_ns);

void node_boot(struct sim *sim, struct node *node);
/* The host is a new one: it keeps nothing of the old one. No agent may run. */
void node_make_id(struct sim *sim, struct node *node);
void node_power_off(struct sim *sim, struct node *node);
/* Stop all of a host, or its agent only, for LENGTH_NS from now (longer if it is stopped longer
 * already); thaw both. */
void node_freeze(struct sim *sim, struct node *node, int64_t length_ns);
void agent_begin(struct sim *sim, struct node *node);
void agent_kill(struct sim *sim, struct node *node);
void agent_freeze(struct sim *sim, struct node *node, int64_t length_ns);
void node_thaw(struct sim *sim, struct node *node);
bool node_is_frozen(const struct sim *sim, const struct node *node);
/* What waited for NODE, its agent or its server goes on, if it can. */
void node_release(struct sim *sim, struct node *node);
bool agent_is_frozen(const struct sim *sim, const struct node *node);
/* Something arrived at the agent: a step follows. */
void agent_touch(struct sim *sim, struct node *node);
/* How long from now until what the agent sends at this moment leaves its process. */
int64_t agent_output_delay(const struct sim *sim, const struct node *node);
struct node *sim_find(struct sim *sim, const char *name);

/* ---- the store (store.c) ---- */

struct store *store_new(struct sim *sim);
void store_free(struct store *store);
struct dcs *store_connect(struct sim *sim, struct node *node);
void store_set_quorum(struct sim *sim, bool has_quorum);
void store_change_leader(struct sim *sim);
void store_set_slow(struct sim *sim, int factor);
/* Answers to transactions take so much longer, at most; what they changed is seen before. */
void store_set_late(struct sim *sim, int64_t late_ns);
/* What NODE reads stays as it is now; the session that it asks for is said to live, whether it does
 * or not; so many of 1000 changes are denied to those who made them. */
void store_set_stale(struct sim *sim, unsigned node, bool is_stale);
bool store_is_stale(const struct sim *sim, unsigned node);
void store_set_false(struct sim *sim, unsigned node, bool is_false);
bool store_is_false(const struct sim *sim, unsigned node);
void store_set_denial(struct sim *sim, int per_mille);
void store_expire_session(struct sim *sim, unsigned node);
bool store_has_session(const struct sim *sim, unsigned node);
bool store_has_quorum(const struct sim *sim);
/* As an operator: put a key at once; read one (NULL: none). */
void store_put(struct sim *sim, const char *key, const char *value);

/* Keep a copy of what the store has; set it back to that, or wipe it when there is none. Agents
 * that live go by no such store until they are restarted. */
void store_keep(struct sim *sim);
void store_restore(struct sim *sim);
/* As if the copy had been made AGE changes ago. */
void store_set_back(struct sim *sim, unsigned age);
/* NODE's agent began with the store as it was before it was set back. */
bool store_is_of_before(const struct sim *sim, const struct node *node);

void store_delete(struct sim *sim, const char *key);
const char *store_get(const struct sim *sim, const char *key);

/* ---- the engine's driver, in the agent's process (engine.c) ---- */

struct engine *engine_connect(struct sim *sim, struct node *node);
/* Something about the server, the disk or the guard of NODE changed: its agent hears of it. */
void engine_changed(struct sim *sim, struct node *node);
/* The order in progress ended. */
void engine_done(
    struct sim *sim, struct node *node, enum engine_order order, int result, const char *why);
enum engine_order engine_in_progress(const struct node *node);
bool engine_is_order(const struct node *node, enum engine_order order, uint32_t number);
const struct engine_order_args *engine_args(const struct node *node);
void fetch_begin(struct sim *sim, struct node *node, int64_t number);

/* ---- guard and server (server.c) ---- */

void server_start(struct sim *sim, struct node *node, int upstream);
void server_stop(struct sim *sim, struct node *node, enum stop_mode mode);
void server_kill(struct sim *sim, struct node *node, const char *why);
/* TIMELINE: the number of the new one; 0: a DBA does it, and PostgreSQL takes the next it knows. */
void server_promote(struct sim *sim, struct node *node, uint32_t timeline);
void server_follow(struct sim *sim, struct node *node, int upstream);
bool server_is_open(const struct node *node); /* could acknowledge a write now */
/* Its processes stand still: they are stopped, or a call to the disk does not return. */
bool server_is_stuck(const struct node *node);
void guard_on_arm(struct sim *sim, struct event *event);
void guard_on_disarm(struct sim *sim, struct event *event);
void guard_check(struct sim *sim, struct node *node);
void stream_push(struct sim *sim, struct node *upstream);

/* ---- fences (fence.c) ---- */

/* The fences of LIST ("guard,nft") are in every seed, or in none; false if one has no such name. */
bool fence_force(const char *list);
bool fence_remove(const char *list);
const char *fence_text(enum fence fence);
void fence_draw(struct sim *sim);
bool fence_has(const struct sim *sim, enum fence fence);
/* What keeps NODE's server, open or not, from acknowledging now; FENCES: nothing does. */
enum fence fence_muting(const struct sim *sim, const struct node *node);
/* NODE's deadline comes in WAIT_NS: the watchdog looks afterwards. */
void fence_watch(struct sim *sim, struct node *node, int64_t wait_ns);

/* ---- the seam to the program (seam.c) ---- */

/* The place of RULE (an id of the program, by address) among all; RULES_MAX: it is none. */
unsigned seam_rule(const char *rule);
/* SIM's agent takes its turn: note what it decides. */
void seam_watch(struct sim *sim);
/* Another simulation begins. */
void seam_reset(void);

/* ---- checkers ---- */

void check_fail(struct sim *sim, enum verdict verdict, const char *format, ...) PRINTF_LIKE(3, 4);
void check_open(struct sim *sim); /* who can write, after any change of that */
void check_ack(struct sim *sim, struct node *node, struct place end);
/* FENCE kept NODE from acknowledging. */
void check_prevented(struct sim *sim, const struct node *node, enum fence fence);
void check_lease(struct sim *sim, const char *before, const char *after);
void check_status(struct sim *sim, const char *value);
void check_store_restored(struct sim *sim);
void check_promote_order(struct sim *sim, struct node *node, struct instant deadline);
void check_promoted(struct sim *sim, struct node *node, int branch);
/* The agent has its server killed. */
void check_killed(struct sim *sim, const struct node *node);
void check_replaced(struct sim *sim, struct node *node, const char *how);
void check_able(struct sim *sim); /* at intervals: who could be a candidate */
bool check_is_converged(struct sim *sim, char *why, size_t size);

/* ---- A in synchronous modes (check_sync.c) ---- */

/* The program has rules for synchronous modes. */
bool check_has_sync_rules(void);
/* The key `sync` or `config` changed. */
void check_sync_changed(struct sim *sim);
void check_config_changed(struct sim *sim, const char *value);
void check_sync_restored(struct sim *sim);
/* Every election that the key allows finds what was acknowledged under it. */
bool check_is_forced(const struct sim *sim); /* by an operator, who takes the loss */
void check_electors(struct sim *sim);
void check_sync_taken(
    struct sim *sim, const struct lease_record *before, const struct lease_record *after);
/* It is open, but all its commits wait for those who have promised. */
bool check_is_silenced(const struct sim *sim, const struct node *node);
void check_sync_promoted(struct sim *sim, const struct node *node, bool is_excused);
/* NODE tells somebody of its promise; confirms something to UPSTREAM. */
void check_told(struct sim *sim, struct node *node, uint64_t promised);
void check_confirmed(struct sim *sim, const struct node *node, const struct node *upstream);
/* Nobody can be elected for certain: disks that would be needed are gone. */
bool check_may_wait(const struct sim *sim);
bool check_is_sync_well(const struct sim *sim, const struct node *leader, char *why, size_t size);

void check_mark(struct sim *sim, enum mark mark);
const char *check_mark_text(enum mark mark);
/* NODE's agent has its server told a RULE (NULL: none). */
void check_rule_set(struct sim *sim, const struct node *node, const struct sync_rule *rule);
void check_promised(struct sim *sim, const struct node *node, uint64_t term);
/* The client of BACKEND was told. */
void check_sync_ack(struct sim *sim, struct node *node, const struct backend *backend);
/* NODE's server ends, with commits under way. */
void check_commits_end(struct sim *sim, const struct node *node);

/* ---- programs ---- */

/* Run a scenario file and print its verdict; IS_UPDATE writes its trace anew. REACHED (or NULL)
 * gets the rules that it reached. */
bool scenario_run(const char *path, bool is_update, bool *reached);
/* Test what stands behind the engine's driver, and the checkers of it, without any agent. */
bool model_test(void);
/* Faults, heal, wait, judge. */
void seed_run(struct sim *sim);
