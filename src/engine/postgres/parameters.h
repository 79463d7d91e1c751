/* parameters.h - which settings the server gets, in Patroni's order.
 *
 *   1. parameters that must be the same on all members (wal_level, max_connections, ...): only the
 *      store may set them, with a smallest value each; a local value is ignored. They go onto the
 *      command line as well, so that ALTER SYSTEM cannot change them on one member.
 *   2. defaults of baton's own, see parameters.c;
 *   3. the store's postgresql.parameters;
 *   4. the local file's postgresql.parameters;
 *   5. what the driver must own: addresses, cluster_name, files, sockets, and, while a rule of
 *      commits is given, synchronous_standby_names.
 *
 * A server refuses to start as a standby with a smaller max_connections, max_worker_processes,
 * max_wal_senders, max_prepared_transactions or max_locks_per_transaction than its control file
 * holds, and baton starts it as nothing else. So a lower value waits: the server gets the control
 * file's, `is_lowered` tells (it shows as pending_restart), and lower.c brings the value into force
 * when the primary is restarted in place. docs/decisions/2026-11-23-lowered-parameters.md.
 *
 * A name or value that cannot be right (control characters, a parameter of another version) is left
 * out and named in `complaint`; a wrong value of a known type is found by the server itself. Pure;
 * texts live in the arena. */
#pragma once

#include "base/mem.h"
#include "codec/codec.h"
#include "config/config.h"

#include <jansson.h>

#define PARAMETERS_MAX 512
#define PARAMETER_PRELOAD "shared_preload_libraries"

struct parameter {
    const char *name; /* lower case */
    const char *value;
    bool is_shared; /* row of group 1 */
    bool on_command_line;
};

struct parameters {
    unsigned count;
    struct parameter items[PARAMETERS_MAX];
    char complaint[160]; /* the first one; "" none */
    bool is_lowered;     /* a value is smaller in the configuration than in `items` */
};

/* The module baton_fence (fence.c). */
struct parameters_fence {
    const char *module;  /* as shared_preload_libraries names it; "" or NULL: not loaded */
    const char *page;    /* path of the lease page */
    const char *preload; /* the user's shared_preload_libraries of a file below ours; "" none */
    bool has_last_word;  /* `preload` wins over the store and the local file: ALTER SYSTEM */
    bool is_hidden; /* that file includes others, which may have a list: only if there is one */
    bool is_off;    /* a server that has it loaded must not check */
};

struct parameters_input {
    const struct config *config;
    const json_t *store;  /* the config key; may be NULL */
    const char *folder;   /* runtime_dir: its socket comes first */
    const char *data_dir; /* for hba_file and ident_file */
    int major;
    const struct control_limits *least; /* of the control file; may be NULL */
    const char *sync_names; /* synchronous_standby_names; NULL: what store and file say */
    const char *sync_mark;  /* which version of it; may be NULL */
    bool is_revoked;        /* no log from an archive either */
    struct parameters_fence fence;
};

/* Assemble everything into RET. */
void parameters_assemble(
    struct arena *arena, const struct parameters_input *input, struct parameters *ret);

/* The value of NAME, or NULL. */
const char *parameters_find(const struct parameters *parameters, const char *name);

/* A JSON value as the text of a setting ("on" for true), in ARENA; NULL for null, arrays and
 * objects. */
const char *parameters_json_text(struct arena *arena, const json_t *value);
