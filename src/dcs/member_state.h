/* member_state.h - what member.c (the life of a member) and member_change.c (what operators ask
 * for) share. */
#pragma once

#include "dcs/member.h"
#include "dcs/store_admin.h"
#include "dcs/store_files.h"
#include "io/guard_link.h"

enum stage {
    STAGE_OPEN,    /* the guard has not said yet whether a server runs */
    STAGE_WAIT,    /* no data: see what the others have */
    STAGE_ENTER,   /* being added to a cluster */
    STAGE_PREPARE, /* files are made ready for a start */
    STAGE_RUN,     /* the server runs, or starts again after a pause */
    STAGE_LOOK,    /* why it ended is being found out */
    STAGE_ASIDE,   /* the data directory is being renamed aside: to be replaced, or left */
    STAGE_LEAVE,   /* being removed from the cluster */
    STAGE_END,     /* out, stopped or misconfigured: nothing is done any more */
};

struct store_member {
    struct loop *loop;
    struct http *http;
    struct http_tls tls;
    struct guard_link *link; /* NULL: misconfigured */
    struct loop_timer *tick;
    struct formation_self self;
    struct store_paths paths;
    char *etcd_program; /* NULL: look for it */
    char *ca_file;      /* "": none */
    char *cert_file;
    char *key_file;
    int heartbeat_ms;
    int election_ms;
    int64_t quota_bytes;

    unsigned peer_limit; /* peers that are configured, this node included */
    unsigned peer_count; /* that have been heard of */
    struct formation_peer peers[FORMATION_PEERS_MAX];

    enum stage stage;
    struct formation_plan plan; /* the start that is prepared */
    bool is_forming;
    bool is_leaving;
    bool is_out;       /* has left for good: stays out until the operator says otherwise */
    bool is_new_start; /* the next start is with plan's initial cluster */
    struct store_work *work;
    struct store_admin *admin;

    /* What the operator asked for; one thing at a time. */
    store_member_changed *changed; /* NULL: nothing */
    void *changed_arg;
    struct store_admin *change;

    bool is_unseen;           /* whether there is data cannot be told; self.has_data is false */
    struct instant looked_at; /* when there was none for the last time */

    bool has_guard;
    bool has_asked_start;
    int64_t pid;
    unsigned deaths;  /* in a row */
    unsigned damages; /* of these, those that its data was the reason of */
    char manner[64];  /* of the last death */
    struct instant started_at;
    struct instant died_at;

    struct http_request *probe;
    bool is_probed;
    bool has_leader;
    bool is_learner;
    uint64_t cluster_id;
    char status[640];
};

/* What it is doing, for people. */
void store_member_say(struct store_member *member, const char *format, ...) PRINTF_LIKE(2, 3);

/* Enter STAGE with ERRAND under way; SUFFIX names what is renamed aside. Nothing else may be. */
void store_member_work(
    struct store_member *member, enum stage stage, enum store_errand errand, const char *suffix);

/* Add the client addresses of other members to URLS, which has COUNT already; the new count. */
unsigned store_member_others(
    const struct store_member *member, bool with_leader, char (*urls)[ETCD_URL_SIZE],
    unsigned count, unsigned max);

/* What an errand of this node needs, through VIA (borrowed). */
struct store_admin_options store_member_errand(
    struct store_member *member, char (*via)[ETCD_URL_SIZE], unsigned count);

/* STORE_LEAVE and STORE_RETURN have ended. */
void store_member_on_out(struct store_member *member, const struct store_result *result);
void store_member_on_returned(struct store_member *member, const struct store_result *result);
