#include "base/log.h"

#include "base/assert.h"
#include "base/parse.h"

#include <ctype.h>

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};

    ASSERT((size_t)level < ARRAY_LEN(names));
    return names[level];
}

static bool is_plain(const char *text)
{
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (!isalnum((unsigned char)*text) && strchr("_./:+-", *text) == NULL) {
            return false;
        }
    }
    return true;
}

static void add_quoted(struct str *out, const char *text)
{
    str_add_char(out, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '\n') {
            str_add(out, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            str_addf(out, "\\x%02x", c);
        } else {
            if (c == '"' || c == '\\') {
                str_add_char(out, '\\');
            }
            str_add_char(out, (char)c);
        }
    }
    str_add_char(out, '"');
}

void log_format(
    struct str *out, int64_t real_ms, enum log_level level, const struct log_field *fields,
    const char *sentence)
{
    char stamp[TIMESTAMP_SIZE];

    format_timestamp(real_ms, 'T', stamp);
    str_addf(out, "%.23sZ %-7s ", stamp, log_level_name(level));
    for (; fields != NULL && fields->name != NULL; fields++) {
        str_addf(out, "%s=", fields->name);
        if (is_plain(fields->value)) {
            str_add(out, fields->value);
        } else {
            add_quoted(out, fields->value);
        }
        str_add_char(out, ' ');
    }
    add_quoted(out, sentence);
}
