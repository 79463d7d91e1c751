/* member.h - what the cluster knows of one member: the words that Patroni uses for state and role,
 * tags, and the record that a member publishes in the store and on its REST port. */
#pragma once

#include "model/server.h"
#include "model/timeline.h"

#define MEMBER_NAME_SIZE 64
#define MEMBERS_MAX 16
#define URL_SIZE 256

/* What the database server of a member is doing. The order is Patroni's (its metrics publish the
 * number). */
enum member_state {
    STATE_INITDB,             /* "initializing new cluster" */
    STATE_INITDB_FAILED,      /* "initdb failed" */
    STATE_CUSTOM_BOOTSTRAP,   /* "running custom bootstrap script" */
    STATE_CUSTOM_FAILED,      /* "custom bootstrap failed" */
    STATE_CREATING_REPLICA,   /* "creating replica" */
    STATE_RUNNING,            /* "running" */
    STATE_STARTING,           /* "starting" */
    STATE_BOOTSTRAP_STARTING, /* "starting after custom bootstrap" */
    STATE_START_FAILED,       /* "start failed" */
    STATE_RESTARTING,         /* "restarting" */
    STATE_RESTART_FAILED,     /* "restart failed" */
    STATE_STOPPING,           /* "stopping" */
    STATE_STOPPED,            /* "stopped" */
    STATE_STOP_FAILED,        /* "stop failed" */
    STATE_CRASHED,            /* "crashed" */
    STATE_UNKNOWN,            /* a word that is not in the list */
};

enum member_role {
    ROLE_UNINITIALIZED,
    ROLE_REPLICA,
    ROLE_PRIMARY, /* "master" is read as primary too */
    ROLE_STANDBY_LEADER,
    ROLE_DEMOTED,
    ROLE_PROMOTED,
};

/* Patroni's words; an unknown word gives STATE_UNKNOWN or ROLE_UNINITIALIZED. */
const char *member_state_text(enum member_state state);
enum member_state member_state_parse(const char *text);
const char *member_role_text(enum member_role role);
enum member_role member_role_parse(const char *text);

/* Tags, with Patroni's meaning and defaults. */
struct member_tags {
    bool nofailover;
    bool noloadbalance;
    bool nosync;
    bool nostream;
    bool clonefrom;
    int failover_priority; /* 1 unless set; 0 is nofailover */
    int sync_priority;     /* 1 unless set; 0 is nosync */
    char replicatefrom[MEMBER_NAME_SIZE];
};
#define MEMBER_TAGS_DEFAULT \
    { \
        .failover_priority = 1, .sync_priority = 1 \
    }

/* The members/NAME record in the store. */
struct member {
    char name[MEMBER_NAME_SIZE];
    char conn_url[URL_SIZE]; /* postgres://host:port/postgres */
    char api_url[URL_SIZE];  /* http://host:port/patroni */
    char version[24];        /* the Patroni level spoken */
    enum member_state state;
    enum member_role role;
    struct member_tags tags;
    uint64_t
        location_lsn; /* xlog_location: flushed (primary) or the larger of received and replayed */
    uint64_t received_lsn;
    uint64_t replayed_lsn;
    uint32_t timeline;
    char replication_state[24]; /* "streaming", "in archive recovery" or "" */
    char problem[192];      /* baton's own: why this member is not running, "" when all is well */
    bool is_baton;          /* has a "baton" object */
    enum fence_state fence; /* baton's own */
    bool pending_restart;
    bool is_checkpointed; /* no checkpoint_after_promote:false */
};
