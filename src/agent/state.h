/* state.h - everything the agent core remembers: facts, each recorded where it arrives and read by
 * the view. Private to agent/.
 *
 * Facts are what was seen and when; nothing here is a decision. The few intentions that must
 * survive a turn (a transaction under way, a request to answer) say so. */
#pragma once

#include "agent/agent.h"

/* A transaction on the lease that has not been answered, or whose answer never came. */
enum lease_txn {
    LEASE_TXN_NONE,
    LEASE_TXN_RENEW,
    LEASE_TXN_ACQUIRE,
    LEASE_TXN_RELEASE,
};

struct lease_facts {
    struct lease_record record; /* newest known, from a reading or from an own commit */
    int64_t revision;           /* of the key; 0: none yet */
    int64_t known_at;           /* store revision at which `record` was true */
    struct instant seen;        /* when this holder, term and seq were first seen */

    struct instant deadline; /* of the own hold; {0,0}: not holding */
    bool is_adopted;         /* the deadline was found at the guard, and not renewed since */
    struct instant armed;    /* the latest that the guard was ever told */
    struct instant renewed;  /* when the last renewal that succeeded was begun */
    struct instant tried;    /* when the last one was begun */

    bool is_timeline_used; /* a promotion with record.timeline was asked for, and may have begun */

    enum lease_txn txn;         /* under way */
    struct lease_record wanted; /* what it writes */
    int64_t over;               /* the revision of the key that it replaces, and no other */
    struct instant t0;          /* and when it was begun */
    int64_t hold_ms;            /* and for how long it may be counted on from then on */

    enum lease_txn doubtful;     /* ended unknown: a reading may still show that it was committed */
    struct lease_record doubted; /* what that one wrote, and others after it that ended unknown */
    struct instant doubted_t0; /* when the first of them was begun: nobody can tell which it was */
    int64_t doubted_hold_ms;   /* the shortest of theirs */
    int64_t doubted_over;      /* the highest revision that one of them replaces */
};

/* What was seen of the lease, in this life and those before (past.c). */
struct past_facts {
    struct lease_past known;
    struct lease_past saved; /* on disk */
    struct lease_past saving;
    bool is_saving;
    struct instant retry;
    struct instant old_since; /* the store has shown a lower term; {0,0}: it does not */
    struct instant claimed;   /* a node last asked for a promise for the term that was seen */
    bool is_told;
};

/* The view has a place for each of them, and one for this node. */
#define PEERS_MAX (MEMBERS_MAX - 1)

/* A member other than this one. */
struct peer_facts {
    char name[MEMBER_NAME_SIZE];
    struct peer_report report;
    /* When the question was put that the report answers: it may be as old as that, for an answer
     * waits while this agent or its host stands still. {0,0}: never. */
    struct instant asked;
    struct instant polled; /* last question; {0,0}: never */
    bool is_polling;
    bool is_due;              /* to be asked as soon as no question is on its way */
    unsigned failures;        /* in a row */
    unsigned failures_before; /* when a request was last asked for, or fewer */
    bool is_another;          /* somebody else answers at its address */

    struct instant heard;  /* the last sign that its agent or its server is alive */
    struct instant pinged; /* the last ping of its server; {0,0}: none since it was heard */
    bool is_pinging;
    bool is_ping_lost;       /* one that began since it was heard had no answer */
    bool is_ping_refused;    /* nobody listens there, and the host says so */
    struct instant together; /* it last streamed from the primary here, or there was none here */
    bool has_joined;         /* it has said that it streams the timeline of the primary here */
    struct instant unlisted; /* the store has not had its key since; {0,0}: it has */
};

/* What this node told its server, wrote into the store and promised (sync.c). */
struct sync_facts {
    bool has_rule; /* told the server, as `serial` */
    bool is_managed;
    struct sync_rule rule;
    uint64_t serial;
    /* By which something may be acknowledged: the newest rule, and those before it until it is
     * settled. */
    struct sync_rule mix;
    bool is_mix_managed;

    bool is_putting;  /* a change of the key is under way */
    bool is_doubtful; /* one has ended unknown: only the very same may be tried again */
    bool is_delete;
    struct sync_record put; /* what it writes */
    int64_t put_over;       /* the revision that it replaces */
    struct instant put_at;

    /* The newest known: true at this revision of the store. A reading may be older. */
    struct sync_record newest;
    int64_t newest_revision; /* of the key */
    int64_t known_at;
    bool is_confirmed; /* this agent has changed the key: the first reading was none of before */

    struct sync_record taken; /* what the lease was last taken with; is_taken: the key is that */
    bool is_taken;

    uint64_t promised; /* on disk */
    bool is_promising;
    struct instant promise_retry;

    bool was_open;         /* the lease: free or expired */
    struct instant opened; /* and when that was first seen */
    struct instant awake;  /* since when this agent runs without a stall */
};

/* A record of the lease. */
struct failsafe_mark {
    uint64_t term;
    uint64_t seq;
};

/* Failsafe mode (failsafe.c). */
struct failsafe_facts {
    /* The holder: the newest round of questions, and who has promised in it. */
    struct instant t0; /* {0,0}: none yet */
    int64_t hold_ms;
    uint64_t term;
    unsigned pending; /* answers that are still to come */
    unsigned promise_count;
    char promises[MEMBERS_MAX][MEMBER_NAME_SIZE];
    bool is_held; /* the hold in force is by promises; the store has renewed nothing since */

    /* The others: the newest promise, when it was made. */
    struct instant bound; /* {0,0}: none */
    uint64_t bound_term;
    int64_t bound_ms;

    /* The same for a Patroni node, which has no record: it asks all, so one that keeps it is
     * enough. */
    char patroni[MEMBER_NAME_SIZE];
    struct instant patroni_bound;

    struct failsafe_mark voted;   /* what is told: no promise is made for it any more */
    struct failsafe_mark refused; /* that, or what the agent before may have voted for */
};

struct server_facts {
    struct engine_status status;
    bool has_status;
    bool has_looked;          /* a status with a known state has arrived */
    bool is_virgin;           /* made by this agent, and never seen as a primary */
    enum engine_order order;  /* in progress */
    struct instant answering; /* when it last answered as a standby or primary */
    struct instant stopping;  /* when it began to stop */
    struct position end;      /* of its log, when it was last down and that was known; {0,0}: not */
    struct position elected;  /* what it had as a standby with the lease; {0,0}: not known */
    struct instant watched;   /* since when this agent looks at it without a long pause */
    struct instant resumed;   /* ... and without a short one */
    struct instant killed;    /* and not ended since; {0,0}: it was not */
    struct instant room_tried;  /* it was stopped because its disk is full */
    struct instant retry;       /* no start, clone, rewind or bootstrap before this */
    struct instant fetch_retry; /* no fetch of a log's end before this */
    unsigned start_failures;
    unsigned promote_failures;    /* in a row, since the lease was taken */
    struct instant promote_retry; /* no promotion before this */
    struct instant ended;         /* when its end was seen; {0,0}: it runs, or never did */
    struct instant started;     /* the last start was done; {0,0}: none, or its end was looked at */
    unsigned short_lives;       /* of the server, in a row */
    bool has_rewind_failed;     /* against the present primary */
    bool is_rewound;            /* and has not streamed since */
    char failure[ERR_TEXT_MAX]; /* of the last order, "" when it went well */
};

struct request_facts {
    struct failover_request request;
    bool is_present;
    int64_t revision;
    struct instant due; /* when first seen due */
    uint64_t begun;     /* the term of the lease under which it was; 0: it was not */
    bool is_checkpointed;
    bool is_tried;
};

/* A REST call that waits for the outcome of a request. */
#define WAITERS_MAX 8
struct waiter {
    agent_answer *answer; /* NULL: free */
    void *arg;
    struct failover_request request;
    struct instant since;
    uint64_t term; /* of the lease when it was asked */
    bool is_failover;
    bool is_checked;  /* nothing speaks against it */
    bool is_written;  /* the key is in the store, or may be */
    int64_t revision; /* ... since this one of the store; 0: not known */
};

/* Whether a node of the same name lives elsewhere: asked once, before anything is done. */
enum namesake {
    NAMESAKE_UNKNOWN,
    NAMESAKE_ASKED,
    NAMESAKE_NONE,
    NAMESAKE_ALIVE,
};

struct decision_fact {
    const char *rule;
    const char *why; /* with `detail` and `about`: what `text` was made of */
    const char *detail;
    char about[MEMBER_NAME_SIZE];
    char text[256];
};

struct agent {
    const struct config *config;
    struct agent_ports ports;

    struct cluster cluster;
    bool has_cluster;
    bool is_initialize_of_session;
    bool is_leader_of_session;
    bool is_member_of_session; /* the member record of this node */
    char undecoded[192];       /* what was last told of keys that cannot be read */
    char *config_json;         /* the config key as it was last read; NULL never */
    char *history_json;        /* the history key as read */
    struct dcs_health dcs;
    struct instant dcs_connected; /* when the store last began to answer; {0,0}: never */
    int64_t dcs_seen_real_ms;

    struct lease_facts lease;
    struct past_facts past;
    struct server_facts server;
    struct peer_facts peers[PEERS_MAX];
    unsigned peer_count;
    struct request_facts request;
    struct sync_facts sync;
    struct failsafe_facts failsafe;
    char *failsafe_json;     /* the key failsafe as read; NULL none */
    bool is_failsafe_listed; /* it is what this node would write */
    struct waiter waiters[WAITERS_MAX];
    bool is_started; /* agent_start was called: turns follow */

    bool is_record_busy;                      /* a bookkeeping transaction is under way */
    struct instant recorded[HA_ACTION_KINDS]; /* when each kind of bookkeeping was last begun */
    bool is_published;                        /* the store has `published`, as far as known */
    struct member published;                  /* member record as last written */
    struct instant published_at;
    struct instant publish_retry;
    bool is_publishing;
    struct instant status_at; /* when the status key was last written */
    uint64_t status_lsn;

    struct instant probed; /* last engine_probe asked for by the race */
    struct instant looked; /* when another agent last asked for a fresh report */
    struct decision_fact decisions[TOPICS];
    struct instant stepped;
    enum namesake namesake;
    bool is_leaving;
    int64_t wake_ms; /* being computed by the current step */
    struct lease_times times;
};

/* sync.c: note what time tells, before the view is made; fill it; carry out its actions. */
void agent_note_time(struct agent *agent, struct instant now);
void agent_view_sync(const struct agent *agent, struct instant now, struct ha_view *view);
void agent_act_sync(
    struct agent *agent, const struct ha_view *view, const struct ha_action *action);
void agent_promise(struct agent *agent);
/* The key was read at REVISION of the store. */
void agent_learn_sync(struct agent *agent, int64_t revision);
void agent_on_sign_of_life(struct peer_facts *peer, struct instant now);

/* past.c: whose data this is, as far as is known (0 not); the highest term that this node or a peer
 * has seen, and the newest timeline that a lease gave out; whether the store is older than that;
 * note what was read; fill the view. */
uint64_t agent_system_id(const struct agent *agent);
uint64_t agent_past_term(const struct agent *agent);
uint32_t agent_past_timeline(const struct agent *agent);
bool agent_is_store_old(const struct agent *agent);
void agent_learn_past(struct agent *agent);
void agent_note_past(struct agent *agent, struct instant now);
void agent_view_past(const struct agent *agent, struct instant now, struct ha_view *view);

/* Somebody has held the lease since this node did, whatever the store says. */
bool agent_is_passed(const struct agent *agent);

/* The lease was taken here at REVISION: the key sync was written with it. */
void agent_own_sync(struct agent *agent, int64_t revision);

/* Add to OUT, which takes the lease, that the key sync names nobody but this node. */
void agent_take_sync(struct agent *agent, struct dcs_txn *out, char **ret_json);
void agent_ping_holder(struct agent *agent, const struct ha_view *view);

/* Whether the holder of the lease in force cannot be heard any more; whether anybody says so. */
bool agent_suspects(const struct agent *agent, struct instant now);
bool agent_is_suspicion(const struct agent *agent);

/* The highest promise that a peer has told. */
uint64_t agent_highest_promise(const struct agent *agent, struct instant now);

/* Whether synchronous replication is on and published. */
bool agent_is_sync(const struct agent *agent);

/* A peer's report is not too old to count. */
bool agent_is_fresh(const struct agent *agent, const struct peer_facts *peer, struct instant now);

/* view.c: what this node's server suffers from, for longer than baton.hang_timeout. */
enum trouble agent_trouble(const struct agent *agent, struct instant now);

/* view.c: what is known, as ha_decide wants it. */
void agent_view(const struct agent *agent, struct ha_view *view);

/* Index in the view of the member NAME: 0 is this node, HA_NOBODY for "", else HA_STRANGER. */
int agent_index_of(const struct agent *agent, const char *name);

/* Whether RECORD is this node's hold: its name, and made with the data that is here. */
bool agent_is_own(const struct agent *agent, const struct lease_record *record);

/* The times of the lease under the present settings. */
struct lease_times agent_times(const struct agent *agent);

/* Tell the engine about the kernel watchdog that goes with them. */
void agent_watch(struct agent *agent);

/* Whether a promotion now would get a timeline that nobody else can have had. */
bool agent_is_whole(const struct server_facts *facts, const struct engine_status *status);
bool agent_is_reserved(const struct agent *agent);
bool agent_is_config_unknown(const struct agent *agent);

/* Whether a promotion is ahead and its timeline is not reserved yet. */
bool agent_needs_timeline(const struct agent *agent);
bool agent_is_opened_by_hand(const struct agent *agent);

/* failsafe.c: name the members in WANTED, a record to be written; ask them all; for how long a
 * promise keeps the lease of the known record in force; note the first RECORD that is read, and
 * vote when it is time; fill the view. */
void agent_name_failsafe(const struct agent *agent, struct lease_record *wanted);
void agent_ask_failsafe(struct agent *agent);
int64_t agent_bound_ms(const struct agent *agent, struct instant now);
bool agent_is_bound_to_patroni(const struct agent *agent, struct instant now);
void agent_begin_failsafe(struct agent *agent, const struct lease_record *record);
void agent_vote(struct agent *agent, const struct ha_view *view, struct instant now);
void agent_view_failsafe(const struct agent *agent, struct instant now, struct ha_view *view);

/* facts.c: the lease is held until T0 + HOLD_MS, if that is longer than before and not over. */
void agent_hold(struct agent *agent, struct instant t0, int64_t hold_ms);

/* Whether the lease is in force here at NOW; milliseconds left if so (else 0). */
bool agent_holds(const struct agent *agent, struct instant now, int64_t *ret_left_ms);

/* facts.c: who did not answer while this node reached nobody, or stood still, may be there. */
void agent_forget_failures(struct agent *agent);

/* act.c: start what PLAN asks for. */
void agent_act(struct agent *agent, const struct ha_view *view, const struct ha_plan *plan);

/* publish.c: keep members/NAME true, ask the peers in turn. */
void agent_publish(struct agent *agent);
bool agent_check_namesake(struct agent *agent);
void agent_poll_peers(struct agent *agent, const struct ha_view *view);
enum member_state agent_member_state(const struct agent *agent);
enum member_role agent_member_role(const struct agent *agent);

/* request.c: settle REST calls that wait for an outcome. */
void agent_settle_waiters(struct agent *agent);
void agent_drop_waiters(struct agent *agent);

/* facts.c: callbacks for the store and the engine. */
void agent_on_snapshot(void *arg, const struct dcs_snapshot *snapshot);
void agent_on_health(void *arg, const struct dcs_health *health);
void agent_on_status(void *arg, const struct engine_status *status);
void agent_on_order(void *arg, enum engine_order order, int result, const struct err *why);
void agent_on_ping(void *arg, const char *name, bool is_alive);

/* facts.c: the end of a lease transaction that was begun by act.c (agent->lease has what it
 * wanted). */
void agent_on_lease_txn(void *arg, enum dcs_outcome outcome, int64_t revision);

/* How often peers are asked while somebody holds the lease; while nobody does, each
 * HEARTBEAT_RACE_MS; by the holder whose server has died, each HEARTBEAT_CRASH_MS: the first answer
 * only makes a standby look how far it is, and nobody can write meanwhile. */
#define HEARTBEAT_CRASH_MS 5
#define HEARTBEAT_RACE_MS 100
#define HEARTBEAT_URGENT_MS 20
#define HEARTBEAT_SYNC_MS 250
int64_t agent_heartbeat_ms(const struct agent *agent);

/* The facts about peer NAME, or NULL. */
struct peer_facts *agent_peer(struct agent *agent, const char *name);

/* Want the next step within MS. */
void agent_wake(struct agent *agent, int64_t ms);

/* One log line with rule and term. RULE may be NULL. */
void agent_log(struct agent *agent, enum log_level level, const char *rule, const char *format, ...)
    PRINTF_LIKE(4, 5);
