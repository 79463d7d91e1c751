/* tail.h - what an agent asks another one for when its standby lacks the end of a dead primary's
 * log, and the answer: GET /baton/wal?system=..&timeline=..&from=..&to=..&mac=..
 *
 * The log is user data. Both keys are made of the replication password, which every agent has and
 * which opens the same bytes to whoever streams: one signs the question (HMAC-SHA256), the other
 * seals the answer (AES-256-GCM, bound to the question), so that neither needs TLS. Without such a
 * password there are no keys, and nothing is asked or answered. The keys are stretched as SCRAM
 * does, so that what is seen on the wire is no better for guessing than a login is. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#define TAIL_KEY_SIZE 32
struct tail_key {
    bool is_set;
    unsigned char ask[TAIL_KEY_SIZE];
    unsigned char answer[TAIL_KEY_SIZE];
};

/* The bytes [from, to) of the log of TIMELINE. */
struct tail_ask {
    uint64_t system_id;
    uint32_t timeline;
    uint64_t from;
    uint64_t to;
};
#define TAIL_PIECE_MAX ((uint64_t)4 << 20) /* of one question */
#define TAIL_NONCE_SIZE 12
#define TAIL_SEAL_SIZE (TAIL_NONCE_SIZE + 16) /* an answer is so much longer than its bytes */
#define TAIL_MAC_SIZE 65                      /* as text */

/* The keys of cluster SCOPE; not set when PASSWORD is empty. Takes some milliseconds. */
void tail_key_make(const char *password, const char *scope, struct tail_key *ret);

/* From the texts of the parameters (NULL: missing); ERR_INVALID also for what no agent asks. */
struct tail_texts {
    const char *system_id;
    const char *timeline;
    const char *from;
    const char *to;
};
MUST_CHECK int tail_ask_read(const struct tail_texts *texts, struct tail_ask *ret, struct err *e);

/* Append path and parameters, signed. */
void tail_ask_format(const struct tail_ask *ask, const struct tail_key *key, struct str *out);

/* ERR_DENIED unless MAC is the signature of ASK; compared in constant time. */
MUST_CHECK int tail_ask_check(
    const struct tail_ask *ask, const char *mac, const struct tail_key *key, struct err *e);

/* Seal LENGTH bytes into OUT (TAIL_SEAL_SIZE more). NONCE: never used before with this key. */
MUST_CHECK int tail_seal(
    const struct tail_ask *ask, const struct tail_key *key, const unsigned char *nonce,
    const void *bytes, unsigned char *out, struct err *e);

/* Open a sealed answer of LENGTH bytes into OUT (to - from bytes). ERR_DENIED when it is not what
 * was sealed, or is the answer to something else. */
MUST_CHECK int tail_open(
    const struct tail_ask *ask, const struct tail_key *key, const void *sealed, size_t length,
    unsigned char *out, struct err *e);
