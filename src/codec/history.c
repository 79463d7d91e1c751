#include "codec/history.h"

#include "base/parse.h"
#include "base/str.h"

#define LINE_BLANKS " \t\r"

/* Move *TEXT over the next word of its line into WORD; false when there is none or it does not
 * fit. */
static bool read_word(const char **text, char *word, size_t size)
{
    const char *start = *text + strspn(*text, LINE_BLANKS);
    size_t length = strcspn(start, LINE_BLANKS "\n");

    if (length == 0 || length >= size) {
        return false;
    }
    memcpy(word, start, length);
    word[length] = '\0';
    *text = start + length;
    return true;
}

static int read_switch(const char *line, struct timeline_switch *ret, struct err *e)
{
    char word[LSN_TEXT_SIZE];
    int64_t timeline = 0;
    const char *at = line;

    if (!read_word(&at, word, sizeof(word)) ||
        parse_int(word, 1, UINT32_MAX, &timeline, NULL) < 0 ||
        !read_word(&at, word, sizeof(word)) || lsn_parse(word, &ret->lsn, NULL) < 0) {
        return FAIL(
            e, ERR_CORRUPT, "'%.*s' is not a timeline and its end",
            (int)MIN(strcspn(line, "\n"), 80), line);
    }
    ret->timeline = (uint32_t)timeline;
    return 0;
}

int history_parse(const char *text, uint32_t timeline, struct timeline_history *ret, struct err *e)
{
    struct timeline_history history = {.timeline = timeline};
    uint32_t newest = 0;
    const char *line = text;

    while (*line != '\0') {
        const char *start = line + strspn(line, LINE_BLANKS);
        struct timeline_switch left = {0};

        line = start + strcspn(start, "\n");
        if (start != line && *start != '#') {
            int r = read_switch(start, &left, e);

            if (r < 0) {
                return err_wrap(e, r, "the history of timeline %" PRIu32, timeline);
            }
            if (left.timeline <= newest || left.timeline >= timeline) {
                return FAIL(
                    e, ERR_CORRUPT,
                    "the history of timeline %" PRIu32 " has timeline %" PRIu32 " after %" PRIu32,
                    timeline, left.timeline, newest);
            }
            newest = left.timeline;
            timeline_history_add(&history, left.timeline, left.lsn);
        }
        line += *line == '\n';
    }
    if (history.count == 0 && timeline != 1) {
        return FAIL(e, ERR_CORRUPT, "the history of timeline %" PRIu32 " is empty", timeline);
    }
    *ret = history;
    return 0;
}

void history_name_format(uint32_t timeline, char *buffer)
{
    IGNORE(!str_format(buffer, HISTORY_NAME_SIZE, "%08" PRIX32 ".history", timeline), "fits");
}
