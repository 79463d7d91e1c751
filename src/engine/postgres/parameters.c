#include "engine/postgres/parameters.h"

#include "base/assert.h"
#include "base/parse.h"
#include "engine/postgres/quote.h"
#include "engine/postgres/versions.h"

enum kind {
    KIND_FIXED, /* the default is the only value */
    KIND_BOOL,
    KIND_INTEGER, /* at least `minimum` */
    KIND_MEGABYTES,
    KIND_WAL_LEVEL,
};

/* Group 1, with Patroni's defaults and smallest values (research: patroni.md, section 4). */
static const struct {
    const char *name;
    const char *value;
    enum kind kind;
    int64_t minimum;
    bool on_command_line;
} shared_rows[] = {
    {"wal_level", "replica", KIND_WAL_LEVEL, 0, true},
    {"hot_standby", "on", KIND_FIXED, 0, true},
    {"max_connections", "100", KIND_INTEGER, 25, true},
    {"max_wal_senders", "10", KIND_INTEGER, 3, true},
    {"wal_keep_size", "128MB", KIND_MEGABYTES, 16, false},
    {"max_prepared_transactions", "0", KIND_INTEGER, 0, true},
    {"max_locks_per_transaction", "64", KIND_INTEGER, 32, true},
    {"track_commit_timestamp", "off", KIND_BOOL, 0, true},
    {"max_replication_slots", "10", KIND_INTEGER, 4, true},
    {"max_worker_processes", "8", KIND_INTEGER, 2, true},
    {"wal_log_hints", "on", KIND_FIXED, 0, true},
};

/* Group 2. PostgreSQL waits 5 s between attempts to reach the upstream; after a failover that is 5
 * s without a standby, and with synchronous replication without a writable database.
 * Before crash recovery PostgreSQL opens and syncs every file of the data directory, one by one:
 * 0.4 s for an empty database, minutes for one with many tables. syncfs is one call a file system.
 * It is as safe: when only processes died the page cache still has what they wrote, and Linux
 * reports failed writes to syncfs since 5.8 (an older kernel does not: set fsync there). It waits
 * for what other programs wrote to the same file system, too. */
static const struct {
    const char *name;
    const char *value;
} default_rows[] = {
    {"wal_retrieve_retry_interval", "200ms"},
    {"password_encryption", "scram-sha-256"},
    {"recovery_init_sync_method", "syncfs"}, /* since 14 */
};

/* Nobody but the driver sets these; unix_socket_directories of the user are appended to its own. */
static const char *const owned[] = {
    "listen_addresses",
    "port",
    "cluster_name",
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "primary_conninfo",
    "primary_slot_name",
    "recovery_target_timeline",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
    "baton.upstream",
    "baton.sync_mark",
    "baton_fence.page",
    "baton_fence.mode",
};

static bool is_owned(const char *name)
{
    for (size_t at = 0; at < ARRAY_LEN(owned); at++) {
        if (str_equal(owned[at], name)) {
            return true;
        }
    }
    return false;
}

static void complain(struct parameters *ret, const char *name, const char *why)
{
    if (ret->complaint[0] == '\0') {
        str_format(
            ret->complaint, sizeof(ret->complaint), "parameter %.63s is left out: %s", name, why);
    }
}

static struct parameter *find(struct parameters *parameters, const char *name)
{
    for (unsigned at = 0; at < parameters->count; at++) {
        if (str_equal(parameters->items[at].name, name)) {
            return &parameters->items[at];
        }
    }
    return NULL;
}

const char *parameters_find(const struct parameters *parameters, const char *name)
{
    for (unsigned at = 0; at < parameters->count; at++) {
        if (str_equal(parameters->items[at].name, name)) {
            return parameters->items[at].value;
        }
    }
    return NULL;
}

/* NAME and VALUE are already known to be good. */
static struct parameter *set(
    struct arena *arena, struct parameters *ret, const char *name, const char *value)
{
    struct parameter *item = find(ret, name);

    if (item == NULL) {
        if (ret->count == PARAMETERS_MAX) {
            complain(ret, name, "there are too many");
            return NULL;
        }
        item = &ret->items[ret->count++];
        *item = (struct parameter){.name = arena_dup(arena, name)};
    }
    item->value = arena_dup(arena, value);
    return item;
}

static void lower(char *text)
{
    for (char *at = text; *at != '\0'; at++) {
        if (*at >= 'A' && *at <= 'Z') {
            *at = (char)(*at - 'A' + 'a');
        }
    }
}

const char *parameters_json_text(struct arena *arena, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return json_string_value(value);
    case JSON_TRUE:
        return "on";
    case JSON_FALSE:
        return "off";
    case JSON_INTEGER:
        return arena_format(arena, "%lld", (long long)json_integer_value(value));
    case JSON_REAL:
        return arena_format(arena, "%.15g", json_real_value(value));
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return NULL;
}

/* ---- group 1 ---- */

/* NULL when VALUE is good, else why it is not. */
static const char *check_shared(size_t row, const char *value)
{
    int64_t number;
    bool is_on;

    switch (shared_rows[row].kind) {
    case KIND_FIXED:
        return "it cannot be changed";
    case KIND_BOOL:
        return parse_bool(value, &is_on, NULL) < 0 ? "it must be on or off" : NULL;
    case KIND_INTEGER:
        if (parse_int(value, shared_rows[row].minimum, 262143, &number, NULL) < 0) {
            return "the value is too small or not a number";
        }
        return NULL;
    case KIND_MEGABYTES:
        if (parse_int(value, 0, INT32_MAX, &number, NULL) == 0) {
            number *= INT64_C(1) << 20; /* a bare number counts megabytes */
        } else if (parse_bytes(value, &number, NULL) < 0) {
            return "the value is not a size";
        }
        return number < shared_rows[row].minimum << 20 ? "the value is too small" : NULL;
    case KIND_WAL_LEVEL:
        return str_equal(value, "replica") || str_equal(value, "logical")
                   ? NULL
                   : "it must be replica or logical";
    }
    return NULL;
}

static bool is_shared_row(const char *name, size_t *ret)
{
    for (size_t at = 0; at < ARRAY_LEN(shared_rows); at++) {
        if (str_equal(shared_rows[at].name, name)) {
            *ret = at;
            return true;
        }
    }
    return false;
}

static void add_shared(struct arena *arena, struct parameters *ret)
{
    for (size_t at = 0; at < ARRAY_LEN(shared_rows); at++) {
        struct parameter *item = set(arena, ret, shared_rows[at].name, shared_rows[at].value);

        ASSERT(item != NULL);
        item->is_shared = true;
        item->on_command_line = shared_rows[at].on_command_line;
    }
}

/* ---- groups 3 and 4 ---- */

static void add_one(
    struct arena *arena, struct parameters *ret, int major, const char *raw_name, const char *value,
    bool is_store)
{
    char *name = arena_dup(arena, raw_name);
    const char *why;
    size_t row;

    lower(name);
    if (!quote_is_parameter_name(name)) {
        complain(ret, "in the store or file", "its name is not a parameter's");
        return;
    }
    if (!quote_is_clean(value)) {
        complain(ret, name, "its value has control characters");
        return;
    }
    why = versions_refuse(name, major);
    if (why != NULL) {
        complain(ret, name, why);
        return;
    }
    if (is_owned(name)) {
        return;
    }
    if (!is_shared_row(name, &row)) {
        IGNORE(set(arena, ret, name, value) == NULL, "complained already");
        return;
    }
    if (!is_store || shared_rows[row].kind == KIND_FIXED) {
        return; /* as Patroni: the value of the store or the default holds */
    }
    why = check_shared(row, value);
    if (why != NULL) {
        complain(ret, name, why);
        return;
    }
    IGNORE(set(arena, ret, name, value) == NULL, "the row is there");
}

/* KEY: "parameters" or "recovery_conf", which are parameters too since PostgreSQL 12. */
static void add_store(
    struct arena *arena, const struct parameters_input *input, const char *key,
    struct parameters *ret)
{
    const json_t *list = json_object_get(json_object_get(input->store, "postgresql"), key);
    const char *name;
    json_t *value;

    /* jansson's iterator wants a non-const object but does not change it. */
    json_object_foreach ((json_t *)(uintptr_t)list, name, value) {
        const char *text = parameters_json_text(arena, value);

        if (text != NULL) {
            add_one(arena, ret, input->major, name, text, true);
        }
    }
}

static void add_local(
    struct arena *arena, const struct setting_list *list, int major, struct parameters *ret)
{
    for (unsigned at = 0; at < list->count; at++) {
        add_one(arena, ret, major, list->items[at].name, list->items[at].value, false);
    }
}

/* ---- group 5 ---- */

static void add_owned(
    struct arena *arena, const struct parameters_input *input, struct parameters *ret)
{
    const struct config_postgresql *own = &input->config->postgresql;
    const char *sockets = parameters_find(ret, "unix_socket_directories");
    const struct {
        const char *name;
        const char *value;
        bool on_command_line;
    } rows[] = {
        {"listen_addresses", own->listen.host, true},
        {"port", arena_format(arena, "%d", own->listen.port), true},
        {"cluster_name", input->config->scope, true},
        {"unix_socket_directories",
         arena_format(
             arena, "%s%s%s%s%s", input->folder,
             own->socket_dir[0] != '\0' && !str_equal(own->socket_dir, input->folder) ? "," : "",
             str_equal(own->socket_dir, input->folder) ? "" : own->socket_dir,
             str_is_empty(sockets) ? "" : ",", sockets != NULL ? sockets : ""),
         true},
        {"hba_file", arena_format(arena, "%s/pg_hba.conf", input->data_dir), false},
        {"ident_file", arena_format(arena, "%s/pg_ident.conf", input->data_dir), false},
    };

    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct parameter *item = set(arena, ret, rows[at].name, rows[at].value);

        if (item != NULL) {
            item->on_command_line = rows[at].on_command_line;
        }
    }
}

/* Also group 5. */
static void add_given(
    struct arena *arena, const struct parameters_input *input, struct parameters *ret)
{
    const struct {
        const char *name;
        const char *value;
    } rows[] = {
        {"synchronous_standby_names", input->sync_names},
        {"baton.sync_mark", input->sync_mark},
        {"restore_command", input->is_revoked ? "" : NULL},
    };

    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        if (rows[at].value != NULL) {
            IGNORE(set(arena, ret, rows[at].name, rows[at].value) == NULL, "complained already");
        }
    }
}

/* ---- the fence ---- */

static void set_on_command_line(
    struct arena *arena, struct parameters *ret, const char *name, const char *value)
{
    struct parameter *item = set(arena, ret, name, value);

    if (item != NULL) {
        item->on_command_line = true;
    }
}

/* Behind the user's libraries. On the command line, so that ALTER SYSTEM does not drop the fence by
 * the way; what it has set is kept. */
static void add_fence(
    struct arena *arena, const struct parameters_fence *fence, struct parameters *ret)
{
    const char *list = parameters_find(ret, PARAMETER_PRELOAD);

    if (str_is_empty(fence->module)) {
        if (fence->is_off) {
            IGNORE(set(arena, ret, "baton_fence.mode", "off") == NULL, "complained already");
        }
        return;
    }
    if (fence->is_hidden && list == NULL) {
        return;
    }
    if (!str_is_empty(fence->preload) && (list == NULL || fence->has_last_word)) {
        list = fence->preload;
    }
    if (str_is_empty(list)) {
        list = fence->module;
    } else if (strstr(list, "baton_fence") == NULL) {
        list = arena_format(arena, "%s, %s", list, fence->module);
    }
    set_on_command_line(arena, ret, PARAMETER_PRELOAD, list);
    set_on_command_line(arena, ret, "baton_fence.page", fence->page);
    IGNORE(
        set(arena, ret, "baton_fence.mode", fence->is_off ? "off" : "enforce") == NULL,
        "complained already");
}

/* ---- what the control file demands ---- */

static void raise_to(
    struct arena *arena, struct parameters *ret, const struct control_limits *least)
{
    const struct {
        const char *name;
        int32_t value;
    } rows[] = {
        {"max_connections", least->max_connections},
        {"max_worker_processes", least->max_worker_processes},
        {"max_wal_senders", least->max_wal_senders},
        {"max_prepared_transactions", least->max_prepared_xacts},
        {"max_locks_per_transaction", least->max_locks_per_xact},
    };

    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct parameter *item = find(ret, rows[at].name);
        int64_t value = 0;

        ASSERT(item != NULL);
        IGNORE(parse_int(item->value, 0, INT32_MAX, &value, NULL) < 0, "check_shared saw it");
        if (value < rows[at].value) {
            item->value = arena_format(arena, "%" PRId32, rows[at].value);
            ret->is_lowered = true;
        }
    }
}

void parameters_assemble(
    struct arena *arena, const struct parameters_input *input, struct parameters *ret)
{
    *ret = (struct parameters){0};
    add_shared(arena, ret);
    for (size_t at = 0; at < ARRAY_LEN(default_rows); at++) {
        if (versions_refuse(default_rows[at].name, input->major) == NULL) {
            IGNORE(set(arena, ret, default_rows[at].name, default_rows[at].value) == NULL, "room");
        }
    }
    add_store(arena, input, "recovery_conf", ret);
    add_store(arena, input, "parameters", ret);
    add_local(arena, &input->config->postgresql.recovery_conf, input->major, ret);
    add_local(arena, &input->config->postgresql.parameters, input->major, ret);
    add_owned(arena, input, ret);
    add_given(arena, input, ret);
    add_fence(arena, &input->fence, ret);
    if (input->least != NULL) {
        raise_to(arena, ret, input->least);
    }
}
