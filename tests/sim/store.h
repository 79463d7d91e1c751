/* store.h - between the store (store.c) and what an agent's process has of it (store_handle.c).
 * Private to them. */
#pragma once

#include "tests/sim/sim.h"

#define KEYS_MAX 48
#define SESSIONS_MAX 4096
#define WAITING_MAX 64
#define KEY_TEXT_MAX 96

struct key {
    const char *name;
    const char *value;
    int64_t revision;
    int64_t session; /* 0: none */
};

/* All keys at one revision, in order. */
struct version {
    int64_t revision;
    unsigned count;
    struct key keys[KEYS_MAX];
};

struct session {
    int64_t id;
    unsigned node;
    bool is_alive;
    int64_t end_ns;
    int64_t ttl_ms;
};

/* A copy of a struct dcs_txn, with its texts behind it in one block. */
struct change_compare {
    enum dcs_compare_kind kind;
    char key[KEY_TEXT_MAX];
    const char *value;
    int64_t revision;
};

struct change_op {
    enum dcs_op_kind kind;
    char key[KEY_TEXT_MAX];
    const char *value;
    bool with_session;
};

struct change {
    unsigned compare_count;
    struct change_compare compares[DCS_COMPARES_MAX];
    unsigned op_count;
    struct change_op ops[DCS_OPS_MAX];
    int64_t session;
};

enum message_kind {
    MESSAGE_TXN,
    MESSAGE_PING,
    MESSAGE_REFRESH,
    MESSAGE_END,
};

/* From an agent to the store. One block of memory. */
struct message {
    enum message_kind kind;
    unsigned node;
    uint32_t epoch; /* of the agent */
    uint32_t incarnation;
    int64_t sent_ns;
    int64_t number; /* of the request */
    int64_t session;
    int64_t ttl_ms;
    struct change change;
    char texts[];
};

struct store {
    struct version **versions;
    unsigned version_count;
    unsigned kept;        /* version that it can be set back to; 0: nothing */
    bool is_restoring;    /* the checkers look away */
    uint32_t incarnation; /* grows whenever it is set back */
    unsigned version_space;
    char **texts;
    unsigned text_count;
    unsigned text_space;
    struct session sessions[SESSIONS_MAX];
    unsigned session_count;
    struct message *waiting[WAITING_MAX];
    unsigned waiting_count;
    bool has_quorum;
    int slow;
    int64_t late_ns;                        /* of answers to transactions */
    const struct version *stale[NODES_MAX]; /* what a node reads instead of the newest; or NULL */
    bool is_false[NODES_MAX];               /* a node's session is said to live */
    int denial; /* of 1000 changes that were made, so many are said to have lost the race */
};

void message_free(struct message *message);
const struct version *store_newest(const struct store *store);
bool session_is_alive(struct store *store, int64_t id);

/* Prolong session ID (0 or dead: a new one) of NODE; its id. */
int64_t session_keep(struct sim *sim, struct node *node, int64_t id, int64_t ttl_ms);

/* MESSAGE leaves NODE for the store; is there. Both take it. */
void store_send(struct sim *sim, struct node *node, struct message *message);
void store_receive(struct sim *sim, struct message *message);

/* store_handle.c: the answer to MESSAGE (borrowed) leaves the store; the newest version does. */
void store_reply(
    struct sim *sim, struct node *node, const struct message *message, enum dcs_outcome outcome,
    int64_t revision);
void store_show(struct sim *sim, struct node *node);
