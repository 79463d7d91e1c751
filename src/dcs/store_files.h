/* store_files.h - what member.c does with files, one errand at a time on a thread of the loop's
 * pool. All paths are copied. */
#pragma once

#include "dcs/formation.h"
#include "io/loop.h"

#define STORE_PATH_SIZE 512

struct store_paths {
    char data_dir[STORE_PATH_SIZE];
    char log[STORE_PATH_SIZE]; /* what the server prints; the one of the run before is kept as .1 */
    char forming
        [STORE_PATH_SIZE];     /* exists while the cluster is being formed: a struct store_answer */
    char out[STORE_PATH_SIZE]; /* exists after this node has left the store for good */
};

enum store_errand {
    STORE_CHECK,         /* has_data tells whether there is any; fails when that cannot be told */
    STORE_PREPARE_START, /* the same; ready for a start */
    STORE_PREPARE_NEW,   /* an empty data directory; ERR_CONFLICT if there is data, other content is
                          * renamed aside; note `forming` */
    STORE_ASIDE,         /* rename the data directory aside */
    STORE_LEAVE,         /* note that this node is out, then as ASIDE */
    STORE_RETURN,        /* as ASIDE, and remove that note */
    STORE_LOOK,          /* why the server ended */
    STORE_FORMED,        /* remove the file `forming` */
};

struct store_work;

struct store_result {
    enum store_errand errand;
    int result; /* 0, or negative and `why` */
    bool has_data;
    bool is_unknown;        /* whether it has cannot be told: has_data is false */
    enum formation_end end; /* of LOOK */
    char why[512];
    char aside[STORE_PATH_SIZE]; /* what something was renamed to; "" nothing was */
};

typedef void store_work_done(void *arg, const struct store_result *result);

/* Start; SUFFIX names what is renamed aside, FORMING may be NULL. DONE comes once unless forgotten
 * before. */
struct store_work *store_work_start(
    struct loop *loop, const struct store_paths *paths, enum store_errand errand,
    const char *suffix, const struct store_answer *forming);
void store_work_then(struct store_work *work, store_work_done *done, void *arg);

/* DONE will not come. NULL is accepted. */
void store_work_forget(struct store_work *work);

/* The following block. A data directory without a write-ahead log has no data: etcd would start as
 * if it were new, under the old identity, having forgotten its votes. One that cannot be read may
 * have some: that is a failure. */
MUST_CHECK int store_files_look(const char *data_dir, bool *ret_has_data, struct err *e);
bool store_files_is_out(const char *path);
bool store_files_read_forming(const char *path, struct store_answer *ret);
