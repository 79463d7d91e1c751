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
    struct instant renewed;  /* when the last renewal that succeeded was begun */
    struct instant tried;    /* when the last one was begun */

    bool is_timeline_used; /* a promotion with record.timeline was asked for */

    enum lease_txn txn;         /* under way */
    struct lease_record wanted; /* what it writes */
    struct instant t0;          /* and when it was begun */

    enum lease_txn doubtful;     /* ended unknown: a reading may still show that it was committed */
    struct lease_record doubted; /* what that one wrote, and others after it that ended unknown */
    struct instant doubted_t0; /* when the first of them was begun: nobody can tell which it was */
};

/* A member other than this one. */
struct peer_facts {
    char name[MEMBER_NAME_SIZE];
    struct peer_report report;
    struct instant reported; /* {0,0}: never */
    struct instant polled;   /* last question; {0,0}: never */
    bool is_polling;
    unsigned failures; /* in a row */
};

struct server_facts {
    struct engine_status status;
    bool has_status;
    bool has_looked;          /* a status with a known state has arrived */
    bool is_virgin;           /* made by this agent, and never seen as a primary */
    enum engine_order order;  /* in progress */
    struct instant answering; /* when it last answered as a standby or primary */
    struct instant stopping;  /* when it began to stop */
    struct instant retry;     /* no start, clone, rewind or bootstrap before this */
    unsigned start_failures;
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
    bool is_checked; /* nothing speaks against it */
    bool is_written; /* the key is in the store */
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
    char text[256];
};

struct agent {
    const struct config *config;
    struct agent_ports ports;

    struct cluster cluster;
    bool has_cluster;
    bool is_initialize_of_session;
    bool is_leader_of_session;
    char *config_json;  /* the config key as read; NULL none */
    char *history_json; /* the history key as read */
    struct dcs_health dcs;
    struct instant dcs_connected; /* when the store last began to answer; {0,0}: never */
    int64_t dcs_seen_real_ms;

    struct lease_facts lease;
    struct server_facts server;
    struct peer_facts peers[MEMBERS_MAX];
    unsigned peer_count;
    struct request_facts request;
    struct waiter waiters[WAITERS_MAX];

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
    struct decision_fact decisions[TOPICS];
    struct instant stepped;
    enum namesake namesake;
    bool is_leaving;
    int64_t wake_ms; /* being computed by the current step */
    struct lease_times times;
};

/* view.c: what is known, as ha_decide wants it. */
void agent_view(const struct agent *agent, struct ha_view *view);

/* Whether RECORD is this node's hold: its name, and made with the data that is here. */
bool agent_is_own(const struct agent *agent, const struct lease_record *record);

/* The times of the lease under the present settings. */
struct lease_times agent_times(const struct agent *agent);

/* Tell the engine about the kernel watchdog that goes with them. */
void agent_watch(struct agent *agent);

/* Whether a promotion now would get a timeline that nobody else can have had. */
bool agent_is_reserved(const struct agent *agent);

/* Whether a promotion is ahead and its timeline is not reserved yet. */
bool agent_needs_timeline(const struct agent *agent);

/* Whether the lease is in force here at NOW; milliseconds left if so (else 0). */
bool agent_holds(const struct agent *agent, struct instant now, int64_t *ret_left_ms);

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

/* facts.c: the end of a lease transaction that was begun by act.c (agent->lease has what it
 * wanted). */
void agent_on_lease_txn(void *arg, enum dcs_outcome outcome, int64_t revision);

/* How often peers are asked while somebody holds the lease; while nobody does, each
 * HEARTBEAT_RACE_MS. */
#define HEARTBEAT_RACE_MS 100
int64_t agent_heartbeat_ms(const struct agent *agent);

/* The facts about peer NAME, or NULL. */
struct peer_facts *agent_peer(struct agent *agent, const char *name);

/* Want the next step within MS. */
void agent_wake(struct agent *agent, int64_t ms);

/* One log line with rule and term. RULE may be NULL. */
void agent_log(struct agent *agent, enum log_level level, const char *rule, const char *format, ...)
    PRINTF_LIKE(4, 5);
