/* err.h - one convention for failures.
 *
 * A function that can fail returns int: 0 is done; negative is a failure from err.def, forwarded
 * unchanged and never matched on; positive is an answer that this function defines (DCS_LOST_RACE),
 * handled by the caller and never forwarded. The last parameter, struct err *, may be NULL; it
 * receives one sentence for people: lower case, no full stop, naming the object, and a line "hint:
 * ..." when the operator can act.
 *
 *     if (fd < 0) {
 *         return FAIL(e, ERR_IO, "cannot open %s: %s", path, strerror(errno));
 *     }
 *     r = file_read(path, FILE_MAX, &text, e);
 *     if (r < 0) {
 *         return err_wrap(e, r, "read configuration");
 *     }
 *
 * Libraries do not log. agent, api and cli log each failure once. */
#pragma once

#include "base/base.h"

enum err_code {
#define ERR(name, number, exit_code, http_status, meaning) name = (number),
#include "base/err.def"
#undef ERR
};

#define ERR_TEXT_MAX 768

/* A failure in words. Zero-initialise. `file` and `line` name where it arose. */
struct err {
    int code;
    int line;
    const char *file;
    char text[ERR_TEXT_MAX];
};

/* Record a failure in E and evaluate to CODE, a constant that analyzers can see. */
#define FAIL(e, code, ...) (err_set((e), (code), __FILE__, __LINE__, __VA_ARGS__), (code))

/* Fill E (may be NULL); text that does not fit is cut. Use FAIL. */
void err_set(struct err *e, int code, const char *file, int line, const char *format, ...)
    PRINTF_LIKE(5, 6);

/* Put "format: " before the text in E (may be NULL) and return CODE unchanged. */
int err_wrap(struct err *e, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* The text of E, or the meaning of its code when it has no text. Never NULL. */
const char *err_text(const struct err *e);

/* Name ("ERR_IO"), meaning, exit code and HTTP status of a code from err.def; for an unknown code a
 * generic row. */
const char *err_name(int code);
const char *err_meaning(int code);
int err_exit_code(int code);
int err_http_status(int code);
