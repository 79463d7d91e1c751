#include "base/err.h"

struct row {
    int code;
    int exit_code;
    int http_status;
    const char *name;
    const char *meaning;
};

static const struct row rows[] = {
#define ERR(name, number, exit_code, http_status, meaning) \
    {number, exit_code, http_status, #name, meaning},
#include "base/err.def"
#undef ERR
};

static const struct row unknown = {0, 1, 500, "ERR_UNKNOWN", "an unknown failure"};

static const struct row *find_row(int code)
{
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        if (rows[at].code == code) {
            return &rows[at];
        }
    }
    return &unknown;
}

void err_set(struct err *e, int code, const char *file, int line, const char *format, ...)
{
    va_list args;

    if (e == NULL) {
        return;
    }
    e->code = code;
    e->file = file;
    e->line = line;
    va_start(args, format);
    IGNORE(vsnprintf(e->text, sizeof(e->text), format, args) < 0, "a cut text is still a text");
    va_end(args);
}

int err_wrap(struct err *e, int code, const char *format, ...)
{
    char inner[ERR_TEXT_MAX];
    va_list args;
    size_t used;

    if (e == NULL) {
        return code;
    }
    memcpy(inner, err_text(e), MIN(strlen(err_text(e)) + 1, sizeof(inner)));
    inner[sizeof(inner) - 1] = '\0';
    va_start(args, format);
    IGNORE(vsnprintf(e->text, sizeof(e->text), format, args) < 0, "a cut text is still a text");
    va_end(args);
    used = strlen(e->text);
    IGNORE(snprintf(e->text + used, sizeof(e->text) - used, ": %s", inner) < 0, "cut is fine");
    e->code = code;
    return code;
}

const char *err_text(const struct err *e)
{
    if (e == NULL) {
        return unknown.meaning;
    }
    return e->text[0] != '\0' ? e->text : err_meaning(e->code);
}

const char *err_name(int code)
{
    return find_row(code)->name;
}

const char *err_meaning(int code)
{
    return find_row(code)->meaning;
}

int err_exit_code(int code)
{
    return find_row(code)->exit_code;
}

int err_http_status(int code)
{
    return find_row(code)->http_status;
}
