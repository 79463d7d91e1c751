#include "config/parameter.h"

#include "base/parse.h"
#include "base/str.h"

#include <ctype.h>
#include <strings.h>

#define MEGABYTE (INT64_C(1) << 20)

enum parameter_kind {
    KIND_NUMBER,
    KIND_MEGABYTES,
    KIND_BOOL,
    KIND_TRUE,
    KIND_WAL_LEVEL,
    KIND_ANY,
};

struct parameter {
    const char *name;
    enum parameter_owner owner;
    enum parameter_kind kind;
    int64_t min;
};

/* Patroni's list and limits (ConfigHandler.CMDLINE_OPTIONS): a standby whose values are smaller
 * than its primary's stops, so these may not differ between nodes. */
static const struct parameter parameters[] = {
    {"wal_level", PARAMETER_CLUSTER, KIND_WAL_LEVEL, 0},
    {"max_connections", PARAMETER_CLUSTER, KIND_NUMBER, 25},
    {"max_wal_senders", PARAMETER_CLUSTER, KIND_NUMBER, 3},
    {"wal_keep_size", PARAMETER_CLUSTER, KIND_MEGABYTES, 16},
    {"wal_keep_segments", PARAMETER_CLUSTER, KIND_NUMBER, 1},
    {"max_prepared_transactions", PARAMETER_CLUSTER, KIND_NUMBER, 0},
    {"max_locks_per_transaction", PARAMETER_CLUSTER, KIND_NUMBER, 32},
    {"track_commit_timestamp", PARAMETER_CLUSTER, KIND_BOOL, 0},
    {"max_replication_slots", PARAMETER_CLUSTER, KIND_NUMBER, 4},
    {"max_worker_processes", PARAMETER_CLUSTER, KIND_NUMBER, 2},
    {"wal_log_hints", PARAMETER_CLUSTER, KIND_BOOL, 0},
    {"hot_standby", PARAMETER_CLUSTER, KIND_TRUE, 0},
    {"listen_addresses", PARAMETER_AGENT, KIND_ANY, 0},
    {"port", PARAMETER_AGENT, KIND_ANY, 0},
    {"cluster_name", PARAMETER_AGENT, KIND_ANY, 0},
    {"primary_conninfo", PARAMETER_AGENT, KIND_ANY, 0},
    {"primary_slot_name", PARAMETER_AGENT, KIND_ANY, 0},
};

static const struct parameter *find(const char *name)
{
    for (size_t at = 0; at < ARRAY_LEN(parameters); at++) {
        if (strcasecmp(parameters[at].name, name) == 0) {
            return &parameters[at];
        }
    }
    return NULL;
}

enum parameter_owner parameter_owner(const char *name)
{
    const struct parameter *parameter = find(name);

    return parameter != NULL ? parameter->owner : PARAMETER_FREE;
}

bool parameter_name_is_valid(const char *name)
{
    if (!isalpha((unsigned char)*name) && *name != '_') {
        return false;
    }
    for (const char *at = name; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && *at != '_' && *at != '.' && *at != '$') {
            return false;
        }
    }
    return true;
}

static int check_wal_level(const char *value, struct err *e)
{
    static const char *const levels[] = {"replica", "logical", "hot_standby", "archive"};

    for (size_t at = 0; at < ARRAY_LEN(levels); at++) {
        if (strcasecmp(levels[at], value) == 0) {
            return 0;
        }
    }
    return FAIL(e, ERR_INVALID, "standbys need replica or logical");
}

/* A bare number counts megabytes, as in postgresql.conf. */
static int check_megabytes(const char *value, int64_t min, struct err *e)
{
    int64_t bytes = 0;
    int64_t number = 0;
    int r;

    if (parse_int(value, -1, INT32_MAX, &number, NULL) == 0) {
        bytes = number * MEGABYTE;
    } else {
        r = parse_bytes(value, &bytes, e);
        if (r < 0) {
            return r;
        }
    }
    if (bytes < min * MEGABYTE) {
        return FAIL(e, ERR_INVALID, "must be at least %" PRId64 "MB", min);
    }
    return 0;
}

int parameter_check(const char *name, const char *value, struct err *e)
{
    const struct parameter *parameter = find(name);
    int64_t number = 0;
    bool is_on = false;
    int r = 0;

    if (parameter == NULL) {
        return 0;
    }
    switch (parameter->kind) {
    case KIND_NUMBER:
        r = parse_int(value, parameter->min, INT32_MAX, &number, e);
        break;
    case KIND_MEGABYTES:
        r = check_megabytes(value, parameter->min, e);
        break;
    case KIND_BOOL:
        r = parse_bool(value, &is_on, e);
        break;
    case KIND_TRUE:
        r = parse_bool(value, &is_on, e);
        if (r == 0 && !is_on) {
            r = FAIL(e, ERR_INVALID, "is always on");
        }
        break;
    case KIND_WAL_LEVEL:
        r = check_wal_level(value, e);
        break;
    case KIND_ANY:
        break;
    }
    return r;
}
