/* sync.h - who must have a commit on disk before it is acknowledged, and who may therefore become
 * primary without losing one.
 *
 * The rule is what the primary's server obeys: a commit waits for `need` of `count` names. The
 * record (key sync, Patroni's) is what the others go by: the leader itself may be primary again,
 * and otherwise only who finds the answers of more than `quorum` of the voters, its own among them,
 * and is behind none of those. Safe is a pair in which each set that can have confirmed a commit
 * meets each set that can elect (ha/sync.c). */
#pragma once

#include "model/member.h"

/* Setting synchronous_mode. */
enum sync_mode {
    SYNC_OFF,
    SYNC_ON,     /* all chosen standbys confirm */
    SYNC_QUORUM, /* any so many of all standbys do */
};

struct sync_rule {
    bool is_waiting; /* false: a commit waits for nobody */
    bool is_any;     /* any `need` of the names; else all of them */
    unsigned need;   /* at most count; is_waiting with 0 names: commits wait for ever */
    unsigned count;
    char names[MEMBERS_MAX][MEMBER_NAME_SIZE]; /* in ascending order */
};

/* synchronous_standby_names for RULE, as Patroni writes it: `"a"`, `2 ("a","b")`,
 * `ANY 1 ("a","b")`, "" for nobody, and the name of no standby for ever. */
#define SYNC_TEXT_SIZE (MEMBERS_MAX * (MEMBER_NAME_SIZE * 2 + 3) + 32)
#define SYNC_BLOCKED_NAME "__patroni_strict_sync_replica_placeholder__"
void sync_rule_format(const struct sync_rule *rule, char *buffer);

/* The key sync: {"leader":"n1","quorum":1,"sync_standby":"n2,n3"}. */
struct sync_record {
    char leader[MEMBER_NAME_SIZE]; /* whose commits it covers; empty: the key does not exist */
    unsigned quorum;
    unsigned count;
    char voters[MEMBERS_MAX][MEMBER_NAME_SIZE];
};
