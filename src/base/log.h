/* log.h - the form of a log line, without writing it anywhere.
 *
 *     2026-11-23T10:00:00.123Z info  rule=server.promote term=7 "promote: this node holds the
 * lease"
 *
 * One line an event: time, level, fields, sentence. A field value with anything but
 * [A-Za-z0-9_./:+-] is quoted, so a line can always be split. Text that comes from outside cannot
 * break out of its line: control characters are escaped. The sink (a function of the program)
 * writes it; agent, api and cli own one, libraries never log. */
#pragma once

#include "base/str.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_ERROR,
};

#define LOG_LINE_MAX 4096

/* A field: name and value; an array of them ends with a NULL name. */
struct log_field {
    const char *name;
    const char *value;
};

/* Render one line, without a newline, into OUT (limit at least LOG_LINE_MAX). FIELDS may be NULL.
 */
void log_format(
    struct str *out, int64_t real_ms, enum log_level level, const struct log_field *fields,
    const char *sentence);

/* "debug" "info" "warning" "error". */
const char *log_level_name(enum log_level level);
