/* field.h - typed fields of JSON objects (jansson below), for this folder and those above.
 *
 * Reading: a field that is missing or null reads as its zero value; one of another type, or too
 * large, is refused. Writing: text that is not UTF-8 (a message of a server in another encoding)
 * has its strange bytes replaced by '?', and numbers over INT64_MAX, which no JSON reader takes,
 * are written as that. */
#pragma once

#include "model/model.h"

#include <jansson.h>

#define FIELD_JSON_MAX ((size_t)2 << 20) /* etcd's own limit of a value is 1.5 MB */

/* Parse JSON text of at most FIELD_JSON_MAX bytes into a new value (json_decref). WHAT names it in
 * E. */
MUST_CHECK int field_parse_object(const char *json, const char *what, json_t **ret, struct err *e);
MUST_CHECK int field_parse_array(const char *json, const char *what, json_t **ret, struct err *e);

/* Text into BUFFER of SIZE bytes: ERR_LIMIT if it does not fit. field_cut cuts it instead and never
 * fails. */
MUST_CHECK int field_text(
    const json_t *object, const char *key, char *buffer, size_t size, struct err *e);
void field_cut(const json_t *object, const char *key, char *buffer, size_t size);

/* The text itself, owned by OBJECT, or "". */
const char *field_peek(const json_t *object, const char *key);

/* Whole numbers from 0 on. */
MUST_CHECK int field_u64(const json_t *object, const char *key, uint64_t *ret, struct err *e);
MUST_CHECK int field_u32(const json_t *object, const char *key, uint32_t *ret, struct err *e);
MUST_CHECK int field_i64(const json_t *object, const char *key, int64_t *ret, struct err *e);

/* What people mean: true, a number but 0, a text but "", "false", "off", "no" and "0". */
bool field_flag(const json_t *object, const char *key);

/* [[timeline, LSN, ...], ...] with growing timelines into switches; false when it is of another
 * form. A row may have further items. Only the newest TIMELINES_MAX are kept. */
bool field_history_rows(const json_t *rows, struct timeline_history *ret);

/* Tags with Patroni's defaults. nofailover and a failover_priority of 0 mean each other; where both
 * are given and disagree the member is not promoted. The same holds for nosync and sync_priority.
 * An unusable replicatefrom counts as none. */
struct member_tags field_tags(const json_t *object, const char *key);

/* New values. */
json_t *field_new_text(const char *text);
json_t *field_new_u64(uint64_t value);

/* Append a field to OBJECT, taking over VALUE. */
void field_set(json_t *object, const char *key, json_t *value);
void field_set_text(json_t *object, const char *key, const char *text);
void field_set_u64(json_t *object, const char *key, uint64_t value);
void field_set_true(json_t *object, const char *key);

/* Append the tags that are not at their default, then those of EXTRA_JSON (an object, may be NULL)
 * that are not known; nothing when there are none. */
void field_set_tags(
    json_t *object, const char *key, const struct member_tags *tags, const char *extra_json);

/* Append VALUE to ARRAY, taking it over. */
void field_append(json_t *array, json_t *value);

/* The whole value as new ASCII text: compact as Patroni writes keys, or spaced as it writes REST
 * bodies. */
char *field_write_compact(const json_t *value);
char *field_write_spaced(const json_t *value);
