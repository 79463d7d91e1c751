/* cluster.h - one consistent reading of the store: the keys below /namespace/scope/, decoded.
 *
 * Revisions are the store's own numbers for compare-and-swap; 0 means that the key does not exist.
 */
#pragma once

#include "model/sync.h"

/* A random text that a node makes once and keeps beside its data. */
#define NODE_ID_SIZE 33

/* The right to write, as the holder last renewed it (key baton/lease). A challenger counts
 * `length_ms` on its own clock from the moment it first saw this `seq`. An empty holder means
 * released: `released_to` may go first, and nobody whose position is before `floor` may go at all
 * without losing acknowledged changes. */
struct lease_record {
    char holder[MEMBER_NAME_SIZE];
    char released_to[MEMBER_NAME_SIZE];
    char node[NODE_ID_SIZE]; /* of the holder's host and data: two nodes of one name differ */
    uint64_t term;           /* grows by one with each new holder, never falls */
    uint64_t seq;            /* grows by one with each renewal */
    int64_t length_ms;
    uint32_t timeline; /* reserved for the holder's promotion, never given twice; or what a person
                        * opened it with in the moment in which it took the lease; 0: none yet */
    struct position floor;
    /* Failsafe mode: of these members (the holder is one) a majority can keep the hold in force
     * without the store; none: nobody can. */
    unsigned failsafe_count;
    char failsafe[MEMBERS_MAX][MEMBER_NAME_SIZE];
};

/* The failover key: what an operator has asked for. All empty: nothing. */
struct failover_request {
    char leader[MEMBER_NAME_SIZE];    /* switchover away from this one; empty: failover */
    char candidate[MEMBER_NAME_SIZE]; /* empty: the best one */
    int64_t scheduled_real_ms;        /* 0: at once */
};

/* Dynamic configuration (key config), the part that decisions need. Defaults are Patroni's. */
struct cluster_settings {
    int64_t ttl_ms;
    int64_t loop_wait_ms;
    int64_t retry_timeout_ms;
    int64_t maximum_lag_on_failover; /* bytes */
    int64_t primary_start_timeout_ms;
    int64_t primary_stop_timeout_ms;
    int64_t hang_timeout_ms; /* baton.hang_timeout; 0: a server or disk may hang for ever */
    enum sync_mode sync_mode;
    int64_t sync_node_count;         /* synchronous_node_count */
    int64_t maximum_lag_on_syncnode; /* bytes; negative: a slow one is never replaced */
    bool is_sync_strict;             /* synchronous_mode_strict */
    bool is_failsafe;                /* failsafe_mode */
    bool is_paused;
    bool check_timeline;
    bool use_pg_rewind;
    bool use_slots;
};
#define CLUSTER_SETTINGS_DEFAULT \
    { \
        .ttl_ms = 30000, .loop_wait_ms = 10000, .retry_timeout_ms = 10000, \
        .maximum_lag_on_failover = 1048576, .primary_start_timeout_ms = 300000, \
        .hang_timeout_ms = 30000, .sync_node_count = 1, .maximum_lag_on_syncnode = -1, \
        .use_pg_rewind = true, .use_slots = true \
    }

struct cluster {
    int64_t revision; /* of the whole reading */

    bool has_initialize;
    uint64_t system_id; /* of initialize; 0 while somebody bootstraps */
    int64_t initialize_revision;

    char leader[MEMBER_NAME_SIZE]; /* empty: no leader key */
    int64_t leader_revision;

    struct lease_record lease;
    int64_t lease_revision; /* of baton/lease */

    bool has_config;
    int64_t config_revision;
    struct cluster_settings settings;

    bool has_request;
    int64_t request_revision; /* of failover */
    struct failover_request request;

    struct sync_record sync;
    int64_t sync_revision;

    uint64_t status_lsn; /* optime of the status key */
    struct timeline_history history;
    int64_t history_revision;
    uint32_t history_of; /* whose history that is; 0: of the number after the last that was left */

    unsigned member_count;
    struct member members[MEMBERS_MAX]; /* last: cluster_copy takes only those that are there */
};

/* RET = FROM, without the places for members that FROM does not have: they stay as they are. */
void cluster_copy(struct cluster *ret, const struct cluster *from);

/* Whether NAME holds the lease, or is what Patroni's world reads as the leader. */
bool cluster_is_led_by(const struct cluster *cluster, const char *name);

/* The place that is given to another member when all MEMBERS_MAX are taken: the last one whose
 * member does not lead. */
struct member *cluster_last_place(struct cluster *cluster);

/* The member called NAME, or NULL. */
const struct member *cluster_find(const struct cluster *cluster, const char *name);
