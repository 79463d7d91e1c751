#include "config/finding.h"

#include "base/assert.h"
#include "base/str.h"

#include <ctype.h>

/* One line of plain characters, whatever was in the file. UTF-8 passes. */
static void make_plain(char *text)
{
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '\n') {
            *at = ';';
        } else if (iscntrl((unsigned char)*at)) {
            *at = '?';
        }
    }
}

/* The place for a finding, or NULL when it is to be counted only. */
static struct finding *make_place(struct findings *findings, enum finding_severity severity)
{
    if (findings->count < FINDINGS_MAX) {
        return &findings->items[findings->count];
    }
    if (severity != FINDING_ERROR) {
        return NULL;
    }
    for (unsigned at = FINDINGS_MAX; at-- > 0;) {
        if (findings->items[at].severity != FINDING_ERROR) {
            return &findings->items[at];
        }
    }
    return NULL;
}

void findings_add(
    struct findings *findings, enum finding_severity severity, const char *file, int line,
    const char *format, ...)
{
    struct finding *finding = make_place(findings, severity);
    va_list arguments;

    ASSERT(line >= 0);
    findings->count++;
    if (severity == FINDING_ERROR) {
        findings->errors++;
    }
    if (finding == NULL) {
        return;
    }
    finding->severity = severity;
    finding->line = line;
    str_copy(finding->file, sizeof(finding->file), file);
    va_start(arguments, format);
    IGNORE(
        vsnprintf(finding->text, sizeof(finding->text), format, arguments) < 0,
        "a format of this program, cut to the size of the text");
    va_end(arguments);
    make_plain(finding->file);
    make_plain(finding->text);
}

/* Line 0 is the end of the file: what is missing everywhere. */
static unsigned sort_key(const struct finding *finding)
{
    return (unsigned)finding->line - 1;
}

void findings_sort(struct findings *findings)
{
    unsigned count = MIN(findings->count, (unsigned)FINDINGS_MAX);

    for (unsigned at = 1; at < count; at++) {
        struct finding moved = findings->items[at];
        unsigned to = at;

        while (to > 0 && sort_key(&findings->items[to - 1]) > sort_key(&moved)) {
            findings->items[to] = findings->items[to - 1];
            to--;
        }
        findings->items[to] = moved;
    }
}

void finding_format(const struct finding *finding, struct str *out)
{
    static const char *const severities[] = {
        [FINDING_NOTE] = "note", [FINDING_WARNING] = "warning", [FINDING_ERROR] = "error"};

    if (finding->line > 0) {
        str_addf(out, "%s:%d: ", finding->file, finding->line);
    } else {
        str_addf(out, "%s: ", finding->file);
    }
    str_addf(out, "%s: %s", severities[finding->severity], finding->text);
}
