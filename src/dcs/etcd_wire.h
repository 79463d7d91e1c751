/* etcd_wire.h - the JSON of etcd's v3 gateway: bodies of requests, and their answers. Pure.
 *
 * What the gateway does differently from what one would expect (measured: research, libraries.md,
 * section E): keys and values are base64, 64-bit numbers are texts, fields that are zero or false
 * are left out (`succeeded`, `TTL`), enum values are words, an error is known by its gRPC `code`
 * (message and HTTP status differ between releases), a stream reports errors with HTTP 200 as
 * {"error":{...}} or as a result that is `canceled`.
 *
 * Keys are relative to the prefix on our side and whole on etcd's. A key that contains a NUL byte
 * cannot be ours and is left out; a value is cut at its first NUL, so that its reader finds it
 * damaged. */
#pragma once

#include "base/str.h"
#include "dcs/cache.h"

#define ETCD_URL_SIZE 256
#define ETCD_NAME_SIZE 64
#define ETCD_TOKEN_SIZE 1024
#define ETCD_MEMBERS_MAX 16
#define ETCD_BODY_MAX ((size_t)8 << 20)

/* Which server answered, and how far it was. */
struct etcd_header {
    uint64_t cluster_id;
    uint64_t member_id;
    int64_t revision;
    int64_t raft_term;
};

enum etcd_error_kind {
    ETCD_ERROR_NONE,
    ETCD_ERROR_AUTH,     /* the token is not valid (any more): get one and repeat */
    ETCD_ERROR_AUTH_OFF, /* authentication is not enabled */
    ETCD_ERROR_NO_LEASE, /* the lease is gone; nothing was done */
    ETCD_ERROR_NO_API,   /* no such path: another version of etcd, or no etcd */
    ETCD_ERROR_DEFINITE, /* refused, nothing was done, another server would say the same */
    ETCD_ERROR_OTHER,    /* ask another server; a transaction may have been applied */
};

struct etcd_error {
    enum etcd_error_kind kind;
    int code;          /* gRPC's; 0: none was given */
    char message[160]; /* printable */
};

/* Bodies of requests; new texts (mem_free). */
char *etcd_wire_range(const char *prefix);
char *etcd_wire_look(const char *prefix); /* a range for the sake of its header */
char *etcd_wire_watch(const char *prefix, int64_t revision);
char *etcd_wire_txn(const char *prefix, const struct dcs_txn *txn, int64_t lease);
char *etcd_wire_grant(int64_t ttl_s);
char *etcd_wire_id(uint64_t id);     /* keepalive, revoke, member remove and promote */
char *etcd_wire_target(uint64_t id); /* transfer of the leadership */
char *etcd_wire_authenticate(const char *user, const char *password);
char *etcd_wire_member_add(const char *peer_url); /* as a learner: it does not vote yet */

/* Whether an answer with HTTP status STATUS is an error, and which. */
enum etcd_error_kind etcd_wire_error(
    int status, const char *body, size_t length, struct etcd_error *ret);

/* All keys below PREFIX into CACHE (empty). ERR_LIMIT: more than DCS_KEYS_MAX, or a value over
 * DCS_VALUE_MAX. */
MUST_CHECK int etcd_wire_read_range(
    const char *body, size_t length, const char *prefix, struct cache *cache,
    struct etcd_header *ret, struct err *e);

/* Of any answer: who gave it. */
MUST_CHECK int etcd_wire_read_header(
    const char *body, size_t length, struct etcd_header *ret, struct err *e);

/* Of a transaction: whether its conditions held. */
MUST_CHECK int etcd_wire_read_txn(
    const char *body, size_t length, bool *ret_succeeded, struct etcd_header *ret, struct err *e);

/* Of grant and keepalive; *ret_ttl_s is 0 when the lease is gone. */
MUST_CHECK int etcd_wire_read_lease(
    const char *body, size_t length, int64_t *ret_id, int64_t *ret_ttl_s, struct err *e);

/* Of authenticate: the token, into TOKEN of SIZE bytes. */
MUST_CHECK int etcd_wire_read_token(
    const char *body, size_t length, char *token, size_t size, struct err *e);

/* Of maintenance/status: what this server says of itself. */
struct etcd_status {
    struct etcd_header header;
    uint64_t leader_id; /* 0: it knows none */
    bool has_leader;
    bool is_learner;
};
MUST_CHECK int etcd_wire_read_status(
    const char *body, size_t length, struct etcd_status *ret, struct err *e);

struct etcd_member {
    uint64_t id;
    char name[ETCD_NAME_SIZE];
    char peer_url[ETCD_URL_SIZE];   /* the first */
    char client_url[ETCD_URL_SIZE]; /* the first; "": never started */
    bool is_learner;
};

struct etcd_members {
    uint64_t cluster_id;
    unsigned count;
    struct etcd_member items[ETCD_MEMBERS_MAX];
};

/* Of member list, add and remove. ERR_LIMIT: more than ETCD_MEMBERS_MAX. */
MUST_CHECK int etcd_wire_read_members(
    const char *body, size_t length, struct etcd_members *ret, struct err *e);

/* One message of a watch. */
struct etcd_watch_answer {
    struct etcd_header header;
    int64_t revision; /* of the newest event in it; 0: none */
    bool is_created;
    bool is_canceled;
    bool is_changed;  /* events were applied */
    char reason[160]; /* of the cancellation, for people */
};

/* Read one message (one line of the stream) and apply its events newer than CACHE's revision to
 * CACHE. A failure leaves CACHE as it was or partly changed: read everything anew. */
MUST_CHECK int etcd_wire_read_watch(
    const char *line, size_t length, const char *prefix, struct cache *cache,
    struct etcd_watch_answer *ret, struct err *e);

/* Base64 (RFC 4648, with padding). Decoding gives a new buffer, terminated beyond its length. */
void etcd_wire_base64(struct str *out, const void *bytes, size_t length);
MUST_CHECK int etcd_wire_unbase64(
    const char *text, size_t limit, char **ret, size_t *ret_length, struct err *e);
