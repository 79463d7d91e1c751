/* driver.h - what the files of this driver share. Private to engine/postgres.
 *
 * The driver is a set of facts and the machines that gather and change them:
 *
 *   guard state  (server.c)  which process runs, which deadline the guard holds
 *   look         (look.c)    what the data directory tells while no server runs; on the thread pool
 *   probe        (probe.c)   what the running server answers
 *   config       (apply.c)   what was rendered and written last
 *   stall        (stall.c)   why a standby does not stream
 *   outgrown     (outgrown.c) whether its replay waits for a restart
 *   slots        (slots.c)   replication slots of the members
 *   sync         (sync.c)    which rule of commits the server obeys for certain
 *   fence        (fence.c)   the lease page, and the module in the server that reads it
 *   disk         (disk.c)    whether the disk takes writes
 *   tail         (tail.c)    the end of a dead primary's log, on its way to a standby
 *   promote file (promote_file.c) whether one was left
 *   order        (order.c)   the one order in progress: a row of steps
 *
 * pg_report (postgres.c) makes the status out of the facts. Everything runs on the loop but the
 * `work` of a job, which touches only the job. */
#pragma once

#include "base/mem.h"
#include "base/str.h"
#include "codec/codec.h"
#include "engine/gate.h"
#include "engine/postgres/parameters.h"
#include "engine/postgres/postgres.h"
#include "engine/postgres/session.h"
#include "io/child.h"
#include "io/guard_link.h"
#include "io/http.h"
#include "io/lease_page.h"

#define PG_PATH_SIZE (PATH_SIZE + 64)
#define PG_TEXT_MAX ((size_t)1 << 20) /* a configuration file */
#define PG_CONNINFO_SIZE 1536
#define PG_ARENA_LIMIT ((size_t)4 << 20)
#define PG_MARK_SIZE 48

#define PROMOTION_STUCK_MS 300000

#define PROBE_PACE_MS 1000
#define PROBE_PACE_STARTING_MS 5
#define PROBE_PACE_REFUSED_MS 20 /* it says that it is ready, and lets nobody in */
#define PROBE_BLIND_MS 500       /* then a starting server is asked, whatever its file says */
#define PROBE_PACE_LONELY_MS 100 /* a standby that should stream and does not yet */
#define PROBES_LONELY_MAX 100    /* then it may stay alone for long */
#define PROBE_PACE_WAITING_MS 2
#define PROBE_PACE_LOADING_MS 5 /* a standby may be opened as soon as it has a rule of commits */
#define PROBE_LATE_MS 2000      /* no answer for so long: not answering */
/* Then the connection is given up: a backend that hangs alone is no server that hangs, and a few
 * others are asked within baton.hang_timeout. */
#define PROBE_TIMEOUT_MS 4000

struct postgres;

/* ---- jobs: file work on the thread pool ---- */

/* Embed as the first member. `done` and `fini` come on the loop; done is left out when the driver
 * was freed. */
struct pg_job {
    struct postgres *pg;
    void (*work)(struct pg_job *job);
    void (*done)(struct postgres *pg, struct pg_job *job);
    void (*fini)(struct pg_job *job); /* frees what the job owns, not the job; may be NULL */
    uint64_t order_id;                /* of the order that waits for it; 0 none */
    int result;
    struct err err;
};

/* Takes ownership of JOB (mem_alloc). */
void pg_job_start(struct postgres *pg, struct pg_job *job);

/* ---- facts ---- */

struct pg_paths {
    char data_dir[PG_PATH_SIZE];
    char runtime_dir[PG_PATH_SIZE];
    char new_dir[PG_PATH_SIZE]; /* wrapper of a copy that is not complete yet */
    char log[PG_PATH_SIZE];
    char passfile[PG_PATH_SIZE];
    char rewinding[PG_PATH_SIZE]; /* beside the data, a mark: a rewind has begun and not ended */
    char slots[PG_PATH_SIZE];
    char bin_configured[PG_PATH_SIZE];
    char programs[PG_PATH_SIZE]; /* where baton's own are */
    unsigned os_user;
};

/* Of baton_fence and of what the user's files load. */
struct pg_look_fence {
    char module[PG_PATH_SIZE];  /* "": not installed */
    char preload[PG_PATH_SIZE]; /* shared_preload_libraries of the files; "" none */
    bool has_last_word;         /* set by ALTER SYSTEM */
    bool is_hidden;             /* a file includes others, which are not looked at */
};

/* What the disk tells (look.h). */
struct pg_look {
    enum server_state state; /* ABSENT, BROKEN or DOWN; UNKNOWN before the first look */
    int major;
    uint64_t system_id;
    struct position position;
    struct timeline_history history;
    bool was_clean;
    bool was_primary;
    bool is_end_known; /* of a primary's log; POSITION is it */
    uint64_t redo_lsn; /* where recovery begins */
    int64_t control_real_s;
    bool is_torn;    /* DOWN: a rewind was interrupted */
    int foreign_pid; /* a server process in this directory */
    uint64_t checkpoint_lsn;
    uint32_t wal_segment_size;
    struct control_limits limits; /* that the next start must have at least */
    bool is_mount;                /* data_dir is the root of a file system */
    char bin_dir[PG_PATH_SIZE];
    struct pg_look_fence fence;
    char problem[192];
    bool has_folder;     /* runtime_dir is there */
    bool has_sync_names; /* postgresql.conf, as the driver wrote it, sets them */
    char sync_names[SYNC_TEXT_SIZE];
};

/* What the server answered last. Zero when another process was started. */
struct pg_probe {
    bool is_known;
    struct instant begun; /* before the server was asked */
    bool in_recovery;
    bool is_streaming;
    bool is_checkpointed;
    bool pending_restart;
    bool is_late;
    bool is_first; /* of its session */
    struct position position;
    uint64_t received_lsn;
    uint64_t replayed_lsn;
    int64_t replayed_real_ms;
    int64_t started_real_ms;
    int64_t loaded_real_us; /* when it read its configuration */
    int receiver_pid;
    uint32_t version;
    char upstream[MEMBER_NAME_SIZE];
    char primary_conninfo[PG_CONNINFO_SIZE];
    char primary_slot_name[64];
    bool has_restore_command;
    int parked_pid;         /* of the startup process: no receiver, and replay waits for log that is
                       nowhere; 0: it does not */
    char paused_limits[64]; /* replay is paused: the five limits (outgrown.c); "" it is not */
    char sync_names[SYNC_TEXT_SIZE];
    char sync_mark[PG_MARK_SIZE];
    unsigned standby_count;
    struct engine_standby standbys[MEMBERS_MAX];
    enum fence_state fence;
    char fence_module[PG_PATH_SIZE]; /* as it is loaded; "" not */
};

/* The lease page, and the module that the server gets (fence.c). */
struct pg_fence {
    struct lease_file *file; /* NULL: there can be none, see problem */
    char page[LEASE_PAGE_PATH_SIZE];
    char module[PG_PATH_SIZE]; /* of the running server, or for the start under way; "" none */
    bool can_be_hidden;
    char broken[192]; /* the server ended because of it, and now runs without; "" */
    bool is_shut;     /* the server is to be killed: its page stays empty */
    char problem[192];
};

/* A standby that should stream and does not (stall.c). */
struct pg_stall {
    struct instant since; /* {0,0}: it streams, or has no need to */
    struct instant read;  /* the last look at the log was begun */
    uint64_t number;      /* of this time: what a job of an earlier one found is no news */
    bool is_reading;
    unsigned streaming; /* probes in a row that saw it stream */
    int64_t from;       /* where the log ended at that time; negative: not known yet */
    char problem[192];
    bool is_starved;        /* its upstream no longer has the WAL that it needs */
    struct position needed; /* before it is ready; {0,0}: not known, or it is */
};

/* A standby whose replay waits for a restart with larger limits (outgrown.c). */
struct pg_outgrown {
    uint64_t number; /* of this server: what was read for an earlier one is no news */
    bool is_reading;
    char problem[160]; /* "": it is not one */
};

/* A standby that follows nobody (revoke.c). */
struct pg_detach {
    bool is_held;    /* a REVOKE has begun, and not everybody has heard yet */
    bool is_certain; /* everybody has */
    bool is_old;     /* the probe under way began before that */
    bool was_parked; /* in the last probe */
    bool is_detached;
    struct instant gone_since;  /* no receiver was seen; {0,0}: there is one */
    struct instant stays_since; /* there is still one, or it was last told to go */
};

/* DATA/promote (promote_file.c). */
struct pg_promote_file {
    bool is_making;
    bool is_left; /* it may be there, and nobody wants it */
    bool is_removing;
};

/* Which upstream is configured. `is_known` false: the driver has not set it yet, the running
 * server's holds. */
struct pg_upstream {
    bool is_known;
    char name[MEMBER_NAME_SIZE];
    char conninfo[PG_CONNINFO_SIZE];
    char slot[64];
};

/* ---- orders ---- */

#define STEP_DONE 1

/* One step: begin returns 0 (its end comes later through pg_order_next or pg_order_fail),
 * STEP_DONE, or a failure. */
struct order_step {
    const char *name;
    int (*begin)(struct postgres *pg, struct err *e);
};

/* Looks at the facts: 0 wait, STEP_DONE, or a failure. */
typedef int order_wait(struct postgres *pg, struct err *e);

struct order {
    struct engine_order_args args;
    const struct order_step *steps; /* ends with a NULL name */
    unsigned at;
    uint64_t id;
    struct child *child;
    char *input; /* standard input of the child: secrets, wiped */
    order_wait *wait;
    bool is_probe_fresh; /* a probe has ended since the step began */
    bool is_killed;
    bool is_rewinding; /* the mark is, or is being, written: the directory changes under us */
    bool is_lowering;  /* the single-user server writes lower values; it may fail */
    uint64_t starts_before;
    uint64_t looks_wanted;
    int receiver_before;
    int64_t loaded_before_us;
    bool upstream_changed;
    struct instant signalled; /* to load the rule of commits, then to promote */
    bool is_promoting;        /* the signal was sent */
    uint64_t replayed_before;
    struct instant moved;          /* since it was sent: when replay was seen to go on */
    bool is_stuck;                 /* replay did not: the server is being killed */
    struct instant gate_deadline;  /* that the packet filter must have taken */
    char secret[32];               /* file in new_dir that must go */
    char *base_conf;               /* the user's postgresql.conf, kept over a rewind */
    struct http_request *question; /* of a FETCH */
    uint64_t fetched_lsn;          /* and how far it is */
};

struct postgres {
    struct engine engine;
    struct loop *loop;
    const struct config *config;
    struct engine_listener listener;
    struct pg_paths paths;
    char guard_program[PG_PATH_SIZE];
    char os_user_name[64];
    bool is_closed;
    unsigned jobs;       /* under way */
    unsigned order_jobs; /* of those, the ones that an order began */

    struct guard_link *link;
    struct guard_state guard;
    bool has_guard;
    bool was_told; /* the guard has answered once */
    struct guard_watch watchdog;
    bool is_watchdog_required;
    struct gate *gate; /* NULL: not configured */
    bool is_stopping;
    struct loop_watch *promotion; /* of the running server's data directory; NULL: not possible */
    bool is_promoted_by_hand;     /* somebody else has asked it to promote */
    char exit_problem[160];
    bool was_reached; /* the server's socket answers, if only to say that it is starting */
    char connect_problem[160];

    struct pg_look look;
    bool is_looking;
    bool look_again;
    struct position seen_end; /* flushed, as the last probe of a primary that has ended saw it */
    bool is_look_stale;       /* the one under way began before the server ended */
    uint64_t looks;           /* ended */
    bool wants_exit_problem;  /* the server ended by itself: the next look reads its last words */
    bool is_left;             /* it ended, no order wanted that, and none was started since */

    struct pg_probe probe;
    struct pg_probe probing; /* being gathered */
    struct session *session;
    struct session *identify; /* a standby's replication connection */
    bool is_identify_kept;    /* it was open before the question that is under way */
    struct session *side;     /* checkpoint and slots: they may take long */
    struct loop_timer *pace;
    struct loop_timer *late;
    struct loop_timer *blind; /* a starting server is watched, not asked */
    bool is_blind;            /* that timer runs */
    uint64_t watch;           /* under way; 0 none */
    uint64_t watch_count;
    bool was_ready;
    bool is_probing;
    bool probe_again;
    bool was_lost;         /* see engine_status */
    bool was_asked;        /* engine_probe: report even if nothing changed */
    struct instant silent; /* since when the server has answered nothing at all */
    unsigned probe_count;
    unsigned lonely_count;
    struct pg_stall stall;
    struct pg_outgrown outgrown;
    struct timeline_history history; /* of the running server's timeline */
    uint32_t history_wanted;
    uint32_t tried_timeline; /* see engine_status */
    unsigned tidyings;       /* jobs of pg_tidy_timelines under way */

    struct cluster cluster;
    bool has_cluster;
    char *store_text;
    json_t *store;
    struct pg_upstream upstream;
    struct pg_promote_file promote_file;
    bool is_applying;
    bool is_config_dirty;
    bool is_revoked; /* it follows nobody for good: no log from an archive either */
    bool is_lowered; /* a configured value waits behind that of the control file */
    char complaint[160];

    struct pg_fence fence;
    struct pg_disk *disk;
    struct pg_slots *slots;
    struct pg_sync *sync;
    struct pg_seen *seen; /* of a REVOKE */
    struct pg_detach detach;
    struct http *http; /* NULL: no FETCH yet */
    struct tail_key key;
    struct position tail;  /* STANDBY: on disk up to here, whatever its receiver said */
    struct pg_ping *pings; /* under way */

    int64_t stuck_ms; /* how long a promotion may replay nothing; less in tests */
    struct order order;
    uint64_t order_count;
    struct loop_timer *kill_kick;
    struct loop_timer *order_kick;
    struct loop_timer *order_limit;

    struct engine_status reported;
};

/* postgres.c */
void pg_report(struct postgres *pg);
bool pg_is_running(const struct postgres *pg);
void pg_session_options(const struct postgres *pg, struct session_options *ret);

/* end.c: the end of the log of a primary that was not stopped; false: not known. SEEN: flushed, as
 * the last probe saw it; {0,0}: there was none. Reads files, for about LIMIT_MS at most. */
bool pg_find_end(
    const char *data_dir, const struct control *control, struct position seen, int64_t limit_ms,
    struct position *ret);

/* The same for a running standby, of which all before FROM, where a record begins, is replayed. */
int pg_walk_log(
    const char *data_dir, uint32_t timeline, uint32_t segment_size, uint64_t from,
    uint64_t *ret_end, struct err *e);

/* look.c: examine the data directory; pg_looked (server.c) is called when it is done. */
void pg_look(struct postgres *pg);
void pg_looked(struct postgres *pg);
int pg_read_control(const char *data_dir, struct control *ret, struct err *e);
void pg_read_history(struct postgres *pg, uint32_t timeline);

/* Why the server that wrote TEXT, the end of its log, has ended: its last FATAL or PANIC but for
 * what clients were told meanwhile. RET stays when there is none. */
void pg_last_words(const char *text, char *ret, size_t size);

/* stale.c: reads /proc and files. The number of a live PostgreSQL process that holds the directory,
 * else 0. */
int pg_find_server(const char *data_dir);

/* Remove what would keep a server from starting although nobody uses DATA_DIR: its postmaster.pid,
 * and the locks of its sockets in COUNT FOLDERS, of those whose name is a path. */
int pg_remove_stale_locks(
    const char *data_dir, const char *const *folders, size_t count, int port, struct err *e);

/* probe.c */
void pg_probe_start(struct postgres *pg);
void pg_probe_soon(struct postgres *pg);
void pg_probe_reset(struct postgres *pg);
void pg_probe_stop(struct postgres *pg);
void pg_probe_init(struct postgres *pg);
void pg_probe_fini(struct postgres *pg);
bool pg_is_lost(const struct postgres *pg); /* its memory may have begun anew, unseen yet */

/* stall.c. end: the server has ended; forget: also what it starved of is no longer wanted. */
void pg_stall_tick(struct postgres *pg); /* after each probe */
void pg_stall_end(struct postgres *pg);
void pg_stall_forget(struct postgres *pg);

/* The newest reason in TEXT, lines of a log (written over), as a sentence; PROBLEM stays when there
 * is none. RET_REFUSALS: how often the same segment was refused, with nothing else in between. */
void pg_stall_read(
    char *text, char *problem, size_t size, unsigned *ret_refusals, bool *ret_is_of_slot);

/* outgrown.c: after each probe; another server, or replay goes on */
void pg_outgrown_tick(struct postgres *pg);
void pg_outgrown_reset(struct postgres *pg);

/* apply.c: render and write the configuration. ORDER_ID 0: in the background, then the server is
 * told to reload. */
void pg_apply(struct postgres *pg, uint64_t order_id);
void pg_apply_background(struct postgres *pg);
void pg_set_upstream(struct postgres *pg, const struct engine_peer *peer);
void pg_peer_conninfo(
    const struct postgres *pg, const struct engine_peer *peer, const struct account *account,
    const char *application, const char *database, struct str *out);
void pg_clone_conninfo(
    const struct postgres *pg, const struct engine_peer *peer, struct str *out); /* clone.c */
bool pg_use_slots(const struct postgres *pg);
bool pg_has_restore_command(struct postgres *pg);
struct parameters *pg_assemble(struct postgres *pg, struct arena *arena);
int pg_step_passfile(struct postgres *pg, struct err *e);

/* slots.c */
struct pg_slots *pg_slots_new(struct postgres *pg);
void pg_slots_free(struct pg_slots *slots);
void pg_slots_due(struct postgres *pg);  /* members or settings changed */
void pg_slots_tick(struct postgres *pg); /* after each probe */

/* seen.c: whether every process of the running server has been told what a file, written before,
 * says. SQL gives one row, "t" when its session knows. DONE comes from the loop, once; until stop
 * there is no failure, only patience. The session is then open and idle. */
struct pg_seen;
typedef void pg_seen_done(struct postgres *pg);
struct pg_seen *pg_seen_new(struct postgres *pg);
void pg_seen_free(struct pg_seen *seen);
void pg_seen_start(struct pg_seen *seen, const char *sql, pg_seen_done *done);
void pg_seen_stop(struct pg_seen *seen);
struct session *pg_seen_session(struct pg_seen *seen);

/* sync.c */
struct pg_sync *pg_sync_new(struct postgres *pg);
void pg_sync_free(struct pg_sync *sync);
void pg_sync_set(struct postgres *pg, const struct sync_rule *rule, uint64_t serial);
void pg_sync_tick(struct postgres *pg);     /* after each probe, and when a file was written */
void pg_sync_reset(struct postgres *pg);    /* another server process, none, or its memory anew */
void pg_sync_rendered(struct postgres *pg); /* into the files of a start */
void pg_sync_written(struct postgres *pg, const char *mark);
bool pg_sync_names(const struct postgres *pg, const char *name); /* is it in the rule? */
uint64_t pg_sync_serial(const struct postgres *pg);              /* for the status */
bool pg_sync_is_loading(const struct postgres *pg);  /* a standby has been told a moment ago */
const char *pg_sync_text(const struct postgres *pg); /* NULL: the operator's own value */
const char *pg_sync_mark(const struct postgres *pg); /* "": none yet */
bool pg_sync_is_managed(const struct postgres *pg);
const char *pg_sync_problem(const struct postgres *pg); /* "" none */
int pg_step_sync_write(struct postgres *pg, struct err *e);
int pg_step_sync_load(struct postgres *pg, struct err *e);
void pg_note_standby(struct pg_probe *probe, const char *name, uint64_t flushed_lsn);

/* disk.c */
void pg_disk_init(struct postgres *pg);
void pg_disk_fini(struct postgres *pg);
enum trouble pg_disk_trouble(const struct postgres *pg, struct instant *ret_since);
const char *pg_disk_problem(const struct postgres *pg); /* "" none */

/* revoke.c */
void pg_detach_tick(struct postgres *pg);   /* after each probe */
void pg_detach_forget(struct postgres *pg); /* the server's memory may have begun anew */
bool pg_is_detached(const struct postgres *pg);

/* While an order waits: end the receiver that the last probe saw, if it was to go at SINCE, and has
 * had a second for it. */
void pg_end_receiver(const struct postgres *pg, struct instant since);
int pg_step_is_standby(struct postgres *pg, struct err *e);
int pg_step_leave(struct postgres *pg, struct err *e);
int pg_step_load(struct postgres *pg, struct err *e);

/* tail.c */
void pg_tail_init(struct postgres *pg); /* the passwords are known */
void pg_tail_fini(struct postgres *pg);
void pg_tail_cancel(struct postgres *pg); /* the order ends */
void pg_read_log(
    struct postgres *pg, const struct tail_ask *ask, const char *mac, engine_log_done *done,
    void *arg);

/* server.c */
int pg_step_apply(struct postgres *pg, struct err *e);
int pg_step_files_idle(struct postgres *pg, struct err *e);
int pg_check_running(struct postgres *pg, struct err *e);
void pg_guard_connect(struct postgres *pg);
void pg_watch(struct postgres *pg);
void pg_gate_init(struct postgres *pg);
void pg_keep_gate(struct postgres *pg);
bool pg_is_watchdog_failed(const struct postgres *pg);

/* fence.c */
void pg_fence_init(struct postgres *pg);
void pg_fence_fini(struct postgres *pg);
void pg_fence_arm(struct postgres *pg, struct instant deadline);
const char *pg_fence_problem(const struct postgres *pg); /* of a running server; "" none */
void pg_fence_shut(struct postgres *pg);                 /* before a kill */
void pg_fence_follow_guard(struct postgres *pg);         /* after its every word */
void pg_fence_look(const struct pg_paths *paths, struct pg_look *look); /* on the thread pool */
void pg_fence_adopt(struct postgres *pg);                               /* after each probe */
void pg_fence_read_preload(struct pg_probe *probe, const char *list);
enum fence_state pg_fence_read(
    const struct postgres *pg, const char *version, const char *mode, const char *page);
struct parameters_fence pg_fence_parameters(const struct postgres *pg);
int pg_step_fence(struct postgres *pg, struct err *e);

/* server.c: watch the data directory of a running server for a promotion by hand; what happened
 * there until now is forgotten. */
void pg_watch_promotion(struct postgres *pg);

/* promote_file.c. tick: after each probe, and when an order has ended; give_up: one may have been
 * made and is not to be used; is_used: the signal is sent; note_server: another server, or none. */
void pg_promote_file_tick(struct postgres *pg);
void pg_promote_file_give_up(struct postgres *pg);
void pg_promote_file_is_used(struct postgres *pg);
void pg_promote_file_note_server(struct postgres *pg, bool was_found);
bool pg_may_have_promote_file(const struct postgres *pg);
int pg_step_promote_file_idle(struct postgres *pg, struct err *e);
int pg_step_promote_file(struct postgres *pg, struct err *e);

/* timelines.c: pg_tidy_timelines is for the end of a promotion that failed */
int pg_step_timelines_idle(struct postgres *pg, struct err *e);
int pg_step_tidy_timelines(struct postgres *pg, struct err *e);
int pg_step_reserve_timeline(struct postgres *pg, struct err *e);
int pg_step_check_timeline(struct postgres *pg, struct err *e);
void pg_tidy_timelines(struct postgres *pg);

/* lower.c: steps of a start */
int pg_step_lower_prepare(struct postgres *pg, struct err *e);
int pg_step_lower(struct postgres *pg, struct err *e);
int pg_step_lower_look(struct postgres *pg, struct err *e);

/* order.c */
int pg_order_begin(struct postgres *pg, const struct engine_order_args *args, struct err *e);
void pg_order_next(struct postgres *pg);
void pg_order_fail(struct postgres *pg, int result, const struct err *why);
void pg_order_poke(struct postgres *pg);
void pg_order_kill(struct postgres *pg);
void pg_order_timer(void *arg);
void pg_order_limit(void *arg);
void pg_order_fini(struct postgres *pg);
int pg_order_job(struct postgres *pg, struct pg_job *job);
int pg_order_child(
    struct postgres *pg, const char *const *argv, const char *const *env, struct err *e);
int pg_order_wait(struct postgres *pg, order_wait *wait);
int pg_order_look(struct postgres *pg, struct err *e);
void pg_program(const struct postgres *pg, const char *name, char *buffer);

/* bootstrap.c: run the single-user server in FOLDER with PARAMETERS' values of its command line,
 * fed with the order's input. */
int pg_order_single_user(
    struct postgres *pg, const char *folder, const struct parameters *parameters, struct err *e);

/* The rows of steps, one an order. */
extern const struct order_step pg_bootstrap_steps[];
extern const struct order_step pg_clone_steps[];
extern const struct order_step pg_rewind_steps[];
extern const struct order_step pg_start_steps[];
extern const struct order_step pg_stop_steps[];
extern const struct order_step pg_promote_steps[];
extern const struct order_step pg_checkpoint_steps[];
extern const struct order_step pg_follow_steps[];
extern const struct order_step pg_reload_steps[];
extern const struct order_step pg_revoke_steps[];
extern const struct order_step pg_fetch_steps[];
