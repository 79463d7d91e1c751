/* parse.h - numbers and quantities from text, strictly: the whole text must be the value.
 *
 * All return 0, or ERR_INVALID with a sentence in E; the output is not touched on failure. */
#pragma once

#include "base/err.h"

/* Decimal integer within [MIN_VALUE, MAX_VALUE]; a sign is allowed, spaces are not. */
MUST_CHECK int parse_int(
    const char *text, int64_t min_value, int64_t max_value, int64_t *ret, struct err *e);

/* Unsigned 64-bit decimal (system identifiers), or hexadecimal digits without 0x. */
MUST_CHECK int parse_u64(const char *text, uint64_t *ret, struct err *e);
MUST_CHECK int parse_hex_u64(const char *text, uint64_t *ret, struct err *e);

/* on off true false yes no 1 0, any case (the words that PostgreSQL and YAML 1.1 share). */
MUST_CHECK int parse_bool(const char *text, bool *ret, struct err *e);

/* Bytes with an optional unit B kB MB GB TB (powers of 1024, PostgreSQL's units), any case. */
MUST_CHECK int parse_bytes(const char *text, int64_t *ret_bytes, struct err *e);

/* Milliseconds from a number with unit us ms s min h d; a bare number counts DEFAULT_UNIT_MS each.
 */
MUST_CHECK int parse_duration(
    const char *text, int64_t default_unit_ms, int64_t *ret_ms, struct err *e);

/* "2026-11-23T10:00:00+00:00" (ISO 8601 with an offset or Z; 'T' or a space) to milliseconds since
 * 1970. A time without an offset is refused, as Patroni does. */
MUST_CHECK int parse_timestamp(const char *text, int64_t *ret_real_ms, struct err *e);

/* The reverse, with microseconds and "+00:00", e.g. "2026-11-23T10:00:00.123000+00:00". BUFFER of
 * at least TIMESTAMP_SIZE bytes; SEPARATOR is 'T' or ' '. */
#define TIMESTAMP_SIZE 40
void format_timestamp(int64_t real_ms, char separator, char *buffer);
