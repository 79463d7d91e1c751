/* engine.h - a database server of one family, as the agent sees it.
 *
 * An engine is told what to do (an order) and reports what is (a status). Orders are started, never
 * waited for; the end of each arrives through on_order. The status arrives through on_status
 * whenever it changed, and after engine_probe. Only one order may be in progress; engine_kill and
 * engine_arm are always allowed.
 *
 * Invariants that every driver keeps:
 *   - a server is started as a standby, whatever it was before; only engine_promote opens it for
 * writing;
 *   - engine_promote refuses unless the guard has confirmed a deadline (engine_arm) that has not
 * passed;
 *   - no data directory is removed: it is renamed aside to NAME.baton-<time>, and only clone and
 * bootstrap do so;
 *   - the server is a child of the guard and survives the agent: after a restart of the agent the
 * first status tells what
 *     is running, and which deadline the guard holds.
 *
 * Pointers handed to callbacks are valid only during the call. Ownership: the driver copies what it
 * is given. */
#pragma once

#include "codec/codec.h"
#include "model/model.h"

/* A promotion may leave out so many numbers of timelines. More: ERR_LIMIT. Each of them costs the
 * server, and all that follow it, a file: some seconds for thousands. But each term gives out a
 * number, whether somebody can be promoted in it or not, and so nobody could ever again after a few
 * hours in which all promotions failed (a folder that could not be written, say). */
#define ENGINE_TIMELINES_SKIPPED_MAX 20000u

/* A standby as the primary's server sees it. */
struct engine_standby {
    char name[MEMBER_NAME_SIZE]; /* its application_name */
    uint64_t flushed_lsn;        /* what it has confirmed to have on disk */
};

/* What is known of the local server. Unknown fields are 0. */
struct engine_status {
    enum server_state state;
    bool is_answering; /* the last probe was answered in time */
    /* Since when it has answered nothing at all, not even that it takes no connection; {0,0}: it
     * speaks, or nobody has asked yet. */
    struct instant silent;
    enum trouble disk;       /* of the file systems of data and log, when a server last ran */
    struct instant disk_ill; /* since when */
    /* DOWN: it was stopped (control file: "shut down" or "shut down in recovery"). */
    bool was_clean;
    bool was_primary; /* DOWN: it was writable when it last ran */
    /* DOWN: a rewind was interrupted: never to be started, only to be replaced by a clone. */
    bool is_torn;
    bool is_promoting; /* promotion asked for, by an order or by hand; still in recovery */
    bool is_streaming; /* STANDBY: receiving from an upstream */
    /* STARTING STANDBY: its upstream no longer has the log that it needs, and nobody else does;
     * DOWN: so it was before. Only a clone helps. */
    bool is_starved;
    /* STANDBY: it follows nobody, its receiver is gone and what it received is replayed: the
     * position is final until it is told to follow again. */
    bool is_detached;
    bool is_paused; /* STANDBY: its replay is paused, by whomever */
    /* STANDBY: its replay has stopped for good: its log wants larger settings than the server was
     * started with. A restart helps; it must not be promoted. */
    bool is_outgrown;
    bool is_checkpointed; /* PRIMARY: a checkpoint has completed on this timeline */
    bool pending_restart; /* a changed parameter waits for a restart */
    /* The last number that a promotion may have used: one that was begun with it, or a server's
     * history that is here already. 0: none since the driver began. */
    uint32_t tried_timeline;
    uint64_t system_id;
    uint32_t version; /* PostgreSQL's server_version_num; 0 unknown */
    /* PRIMARY: flushed; STANDBY: the larger of received and replayed; DOWN and is_end_known: the
     * end of its log, else its last checkpoint. */
    struct position position;
    /* STARTING: its data is not consistent before its log has reached this; {0,0}: not known. */
    struct position needed;
    struct instant looked;   /* when the position was read; {0,0}: not yet */
    bool is_end_known;       /* DOWN: nothing that was ever acknowledged lies behind `position` */
    uint64_t recovery_bytes; /* DOWN, is_end_known: of the log, that the next start replays */
    uint64_t received_lsn;
    uint64_t replayed_lsn;
    int64_t replayed_real_ms; /* commit time of the last replayed transaction; 0 unknown */
    int64_t started_real_ms;
    struct timeline_history history; /* of the current timeline */
    /* The connection to this server process has broken once: its memory may have begun anew after
     * a crash inside, so that received_lsn is 0 although it has received something. */
    bool was_lost;
    char upstream[MEMBER_NAME_SIZE]; /* member it is configured to follow; "" none */
    struct instant deadline;         /* held by the guard; {0,0}: not armed */
    bool is_guarded;                 /* the guard answers */
    uint8_t guard_means;             /* enum guard_means: how it would kill the server */
    uint8_t guard_powers;            /* enum guard_power */
    uint8_t watchdog;                /* enum guard_watchdog */
    bool is_watchdog_failed;         /* there must be one (engine_watch), and it does not work */
    bool is_opened;         /* the guard was told so by a promotion: it cannot be disarmed */
    enum fence_state fence; /* of the running server */
    char problem[192]; /* why it is broken or does not start, for people; "" when all is well */
    /* The newest rule of engine_set_sync that is in force for certain; 0: none yet. */
    uint64_t sync_serial;
    unsigned standby_count; /* PRIMARY: who streams from it directly */
    struct engine_standby standbys[MEMBERS_MAX];
};

/* How to reach a member's server. */
struct engine_peer {
    char name[MEMBER_NAME_SIZE];
    char conn_url[URL_SIZE];
    char api_url[URL_SIZE]; /* of its agent; FETCH only */
};

enum engine_order {
    ORDER_NONE,
    /* Make a new, empty database with the configured users; leaves the server DOWN. */
    ORDER_BOOTSTRAP,
    ORDER_CLONE,  /* copy a peer's data directory (the old one renamed aside); leaves DOWN */
    ORDER_REWIND, /* make a DOWN server's data follow a peer's history again; leaves DOWN */
    /* Start as a standby; ends when the process runs and was seen STARTING or STANDBY. */
    ORDER_START,
    ORDER_STOP,       /* ends when every process is gone */
    ORDER_PROMOTE,    /* ends when writable */
    ORDER_CHECKPOINT, /* ends when complete */
    ORDER_FOLLOW,     /* change the upstream of a running standby */
    ORDER_RELOAD,     /* apply changed parameters and access rules */
    /* A running standby stops following for good (is_detached): whoever it followed gets no
     * confirmation any more. */
    ORDER_REVOKE,
    /* The same, and then it gets the end of the log of PEER's server, which is down, from PEER's
     * agent. Ends when all up to `end` is on disk, checked, and counted in the position. */
    ORDER_FETCH,
};

struct engine_order_args {
    enum engine_order order;
    struct engine_peer
        peer; /* CLONE REWIND FETCH: source. START FOLLOW: upstream, empty name for none */
    enum stop_mode stop_mode;
    /* PROMOTE: the number that the new timeline must get (ENGINE_TIMELINES_SKIPPED_MAX), 0: any.
     * When the server gets another one all the same, the order fails with ERR_CONFLICT and the
     * server is writable: fence it. */
    uint32_t timeline;
    struct position end; /* FETCH */
    int64_t timeout_ms;  /* 0: the driver's own limit */
};

struct engine_listener {
    void (*on_status)(void *arg, const struct engine_status *status);
    void (*on_order)(void *arg, enum engine_order order, int result, const struct err *why);
    void (*on_ping)(void *arg, const char *name, bool is_alive);
    void *arg;
};

/* A part of the log, sealed (codec/tail.h); result < 0 with WHY: none. */
typedef void engine_log_done(
    void *arg, int result, const void *sealed, size_t length, const struct err *why);

/* The kernel watchdog (io/watchdog.h), with the times of ha/lease.c. */
struct engine_watch {
    const char *device; /* "" none */
    bool is_testing;
    bool is_required; /* promotion is refused while it does not run */
    int timeout_s;    /* 0: it cannot be used with this lease */
    int64_t left_ms;
};

/* A driver embeds this struct as its first member. */
struct engine {
    const struct engine_driver *driver;
};

struct engine_driver {
    const char *name;
    void (*start)(struct engine *engine, const struct engine_listener *listener);
    int (*order)(struct engine *engine, const struct engine_order_args *args, struct err *e);
    void (*probe)(struct engine *engine);
    void (*arm)(struct engine *engine, struct instant deadline);
    void (*disarm)(struct engine *engine);                                  /* may be NULL */
    void (*watch)(struct engine *engine, const struct engine_watch *watch); /* may be NULL */
    void (*kill)(struct engine *engine);
    void (*set_cluster)(
        struct engine *engine, const struct cluster *cluster, const char *config_json);
    void (*set_sync)(struct engine *engine, const struct sync_rule *rule, uint64_t serial);
    void (*ping)(struct engine *engine, const struct engine_peer *peer, int64_t timeout_ms);
    void (*read_log)(
        struct engine *engine, const struct tail_ask *ask, const char *mac, engine_log_done *done,
        void *arg); /* may be NULL */
    void (*free)(struct engine *engine);
};

/* Connect to the guard (starting it if there is none), look at the data directory, begin to report.
 */
void engine_start(struct engine *engine, const struct engine_listener *listener);

/* Begin an order. ERR_CONFLICT when another one is in progress; otherwise on_order follows exactly
 * once. */
MUST_CHECK int engine_order(
    struct engine *engine, const struct engine_order_args *args, struct err *e);

/* Ask for a fresh status now (it also comes by itself at the driver's own pace). */
void engine_probe(struct engine *engine);

/* Hand the guard an absolute deadline; it shows up in status.deadline when the guard has confirmed
 * it. Only ever moved forward; the guard drops it by itself when every process of the server is
 * gone. */
void engine_arm(struct engine *engine, struct instant deadline);

/* Drop the deadline of a server that was never opened for writing since its start, when the lease
 * that it belonged to is not held any more. Nothing happens otherwise. */
void engine_disarm(struct engine *engine);

/* Use this watchdog from now on. Cheap when nothing changed. */
void engine_watch(struct engine *engine, const struct engine_watch *watch);

/* Kill every process of the server now. An order in progress ends with a failure. */
void engine_kill(struct engine *engine);

/* Tell which members there are (slots, access rules, clone sources) and the dynamic configuration
 * (the config key as it is in the store). Cheap when nothing changed; applies by itself what needs
 * only a reload. */
void engine_set_cluster(
    struct engine *engine, const struct cluster *cluster, const char *config_json);

/* The rule that the server must obey (NULL: synchronous_standby_names is the operator's), under a
 * number that grows with each change. It is written at once, and before each start and promotion.
 * When it is in force for certain, status.sync_serial is SERIAL: on a primary, no commit can be
 * acknowledged by an earlier rule any more, and everything that was has been confirmed by this one
 * (research: safety, 2.5: a barrier in the log, not pg_stat_replication); on other servers, it is
 * loaded. May be replaced at any time; then only the newest counts. */
void engine_set_sync(struct engine *engine, const struct sync_rule *rule, uint64_t serial);

/* Ask whether PEER's server is alive, on its own port: on_ping follows exactly once. A process that
 * is stopped, or a host that only accepts connections, is not. */
void engine_ping(struct engine *engine, const struct engine_peer *peer, int64_t timeout_ms);

/* What another node's FETCH asks for, if MAC signs it and the server here has died and the end of
 * its log is known. DONE follows exactly once, before this returns or later; it must be ready to
 * come after engine_free. */
void engine_read_log(
    struct engine *engine, const struct tail_ask *ask, const char *mac, engine_log_done *done,
    void *arg);

/* Disconnect, leaving the server and the guard as they are. NULL is accepted; no callback comes
 * after this. */
void engine_free(struct engine *engine);

/* "clone", "promote", ... */
const char *engine_order_text(enum engine_order order);
