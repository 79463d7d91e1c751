#include "codec/field.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"

static int parse(const char *json, const char *what, json_t **ret, struct err *e)
{
    json_error_t error;

    if (strlen(json) > FIELD_JSON_MAX) {
        return FAIL(e, ERR_LIMIT, "%s is larger than %zu bytes", what, FIELD_JSON_MAX);
    }
    *ret = json_loads(json, 0, &error);
    if (*ret == NULL) {
        return FAIL(e, ERR_CORRUPT, "%s is not JSON: line %d: %s", what, error.line, error.text);
    }
    return 0;
}

int field_parse_object(const char *json, const char *what, json_t **ret, struct err *e)
{
    json_auto_t *value = NULL;
    int r = parse(json, what, &value, e);

    if (r < 0) {
        return r;
    }
    if (!json_is_object(value)) {
        return FAIL(e, ERR_CORRUPT, "%s is not a JSON object", what);
    }
    *ret = TAKE(value);
    return 0;
}

int field_parse_array(const char *json, const char *what, json_t **ret, struct err *e)
{
    json_auto_t *value = NULL;
    int r = parse(json, what, &value, e);

    if (r < 0) {
        return r;
    }
    if (!json_is_array(value)) {
        return FAIL(e, ERR_CORRUPT, "%s is not a JSON array", what);
    }
    *ret = TAKE(value);
    return 0;
}

/* The field, or NULL when it is missing or null. */
static const json_t *find(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_null(value) ? NULL : value;
}

int field_text(const json_t *object, const char *key, char *buffer, size_t size, struct err *e)
{
    const json_t *value = find(object, key);

    buffer[0] = '\0';
    if (value == NULL) {
        return 0;
    }
    if (!json_is_string(value)) {
        return FAIL(e, ERR_CORRUPT, "%s is not a text", key);
    }
    if (json_string_length(value) >= size) {
        return FAIL(e, ERR_LIMIT, "%s is longer than %zu bytes", key, size - 1);
    }
    IGNORE(!str_copy(buffer, size, json_string_value(value)), "measured");
    return 0;
}

void field_cut(const json_t *object, const char *key, char *buffer, size_t size)
{
    const char *text = field_peek(object, key);
    size_t length = strlen(text);

    ASSERT(size > 0);
    if (length >= size) {
        length = size - 1;
        /* Not within a character. */
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) {
            length--;
        }
    }
    memcpy(buffer, text, length);
    buffer[length] = '\0';
}

const char *field_peek(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

int field_i64(const json_t *object, const char *key, int64_t *ret, struct err *e)
{
    const json_t *value = find(object, key);

    *ret = 0;
    if (value == NULL) {
        return 0;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return FAIL(e, ERR_CORRUPT, "%s is not a whole number from 0 on", key);
    }
    *ret = json_integer_value(value);
    return 0;
}

int field_u64(const json_t *object, const char *key, uint64_t *ret, struct err *e)
{
    int64_t value = 0;
    int r = field_i64(object, key, &value, e);

    *ret = (uint64_t)value;
    return r;
}

int field_u32(const json_t *object, const char *key, uint32_t *ret, struct err *e)
{
    int64_t value = 0;
    int r = field_i64(object, key, &value, e);

    *ret = 0;
    if (r < 0) {
        return r;
    }
    if (value > UINT32_MAX) {
        return FAIL(e, ERR_CORRUPT, "%s is larger than %" PRIu32, key, UINT32_MAX);
    }
    *ret = (uint32_t)value;
    return 0;
}

bool field_flag(const json_t *object, const char *key)
{
    const json_t *value = find(object, key);
    bool flag = true;

    if (value == NULL) {
        return false;
    }
    if (json_is_integer(value)) {
        return json_integer_value(value) != 0;
    }
    if (json_is_string(value)) {
        const char *text = json_string_value(value);

        return text[0] != '\0' && (parse_bool(text, &flag, NULL) < 0 || flag);
    }
    return !json_is_false(value);
}

bool field_history_rows(const json_t *rows, struct timeline_history *ret)
{
    json_int_t newest = 0;
    size_t at;
    const json_t *row;

    if (!json_is_array(rows)) {
        return false;
    }
    json_array_foreach (rows, at, row) {
        const json_t *timeline = json_array_get(row, 0);
        const json_t *lsn = json_array_get(row, 1);

        if (!json_is_integer(timeline) || json_integer_value(timeline) <= newest ||
            json_integer_value(timeline) >= UINT32_MAX || !json_is_integer(lsn) ||
            json_integer_value(lsn) < 0) {
            return false;
        }
        newest = json_integer_value(timeline);
        timeline_history_add(ret, (uint32_t)newest, (uint64_t)json_integer_value(lsn));
    }
    return true;
}

/* A priority and the flag that means priority 0. Patroni takes a number written as text too. */
static int read_priority(const json_t *tags, const char *flag, const char *key)
{
    const json_t *value = find(tags, key);
    int64_t priority = 1;

    if (field_flag(tags, flag)) {
        return 0;
    }
    if (json_is_integer(value)) {
        priority = json_integer_value(value);
    } else if (json_is_string(value)) {
        IGNORE(parse_int(json_string_value(value), INT_MIN, INT_MAX, &priority, NULL), "1 then");
    }
    return (int)MAX(0, MIN(priority, INT_MAX));
}

struct member_tags field_tags(const json_t *object, const char *key)
{
    const json_t *found = json_object_get(object, key);
    struct member_tags tags = MEMBER_TAGS_DEFAULT;

    if (!json_is_object(found)) {
        return tags;
    }
    tags.failover_priority = read_priority(found, "nofailover", "failover_priority");
    tags.nofailover = tags.failover_priority == 0;
    tags.sync_priority = read_priority(found, "nosync", "sync_priority");
    tags.nosync = tags.sync_priority == 0;
    tags.noloadbalance = field_flag(found, "noloadbalance");
    tags.nostream = field_flag(found, "nostream");
    tags.clonefrom = field_flag(found, "clonefrom");
    IGNORE(
        field_text(found, "replicatefrom", tags.replicatefrom, sizeof(tags.replicatefrom), NULL),
        "no such member can exist");
    return tags;
}

json_t *field_new_text(const char *text)
{
    json_t *value = json_string(text);

    if (value == NULL) {
        AUTO_FREE char *ascii = mem_dup(text);

        for (char *at = ascii; *at != '\0'; at++) {
            if ((unsigned char)*at >= 0x80) {
                *at = '?';
            }
        }
        value = json_string(ascii);
    }
    ASSERT(value != NULL);
    return value;
}

json_t *field_new_u64(uint64_t value)
{
    json_t *number = json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX));

    ASSERT(number != NULL);
    return number;
}

void field_set(json_t *object, const char *key, json_t *value)
{
    int r = json_object_set_new(object, key, value);

    ASSERT(r == 0);
}

void field_set_text(json_t *object, const char *key, const char *text)
{
    field_set(object, key, field_new_text(text));
}

void field_set_u64(json_t *object, const char *key, uint64_t value)
{
    field_set(object, key, field_new_u64(value));
}

void field_set_true(json_t *object, const char *key)
{
    field_set(object, key, json_true());
}

void field_append(json_t *array, json_t *value)
{
    int r = json_array_append_new(array, value);

    ASSERT(r == 0);
}

void field_set_tags(
    json_t *object, const char *key, const struct member_tags *tags, const char *extra_json)
{
    const struct {
        const char *name;
        bool is_set;
    } flags[] = {
        {"clonefrom", tags->clonefrom},
        {"nofailover", tags->nofailover},
        {"noloadbalance", tags->noloadbalance},
        {"nostream", tags->nostream},
        {"nosync", tags->nosync},
    };
    json_auto_t *out = json_object();
    json_auto_t *extra = NULL;

    for (size_t at = 0; at < ARRAY_LEN(flags); at++) {
        if (flags[at].is_set) {
            field_set_true(out, flags[at].name);
        }
    }
    if (!tags->nofailover && tags->failover_priority != 1) {
        field_set(out, "failover_priority", json_integer(tags->failover_priority));
    }
    if (!tags->nosync && tags->sync_priority != 1) {
        field_set(out, "sync_priority", json_integer(tags->sync_priority));
    }
    if (tags->replicatefrom[0] != '\0') {
        field_set_text(out, "replicatefrom", tags->replicatefrom);
    }
    if (extra_json != NULL && field_parse_object(extra_json, key, &extra, NULL) == 0) {
        int r = json_object_update_missing(out, extra);

        ASSERT(r == 0);
    }
    if (json_object_size(out) > 0) {
        field_set(object, key, TAKE(out));
    }
}

static char *write_json(const json_t *value, size_t style)
{
    size_t flags = style | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY;
    size_t size = json_dumpb(value, NULL, 0, flags);
    char *text;

    ASSERT(size > 0);
    text = mem_alloc(size + 1);
    ASSERT(json_dumpb(value, text, size, flags) == size);
    return text;
}

char *field_write_compact(const json_t *value)
{
    return write_json(value, JSON_COMPACT);
}

char *field_write_spaced(const json_t *value)
{
    return write_json(value, 0);
}
