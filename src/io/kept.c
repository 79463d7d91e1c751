#include "io/kept.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "io/file.h"

#define SLOTS 2u
#define SLOT_SIZE 512u
#define LINE_SIZE 240 /* a number, a space, the text */

struct kept {
    uint64_t seq; /* 0: nothing is kept yet */
    unsigned slot;
    char text[KEPT_SIZE];
};

static bool is_blank(const char *slot)
{
    for (size_t at = 0; at < SLOT_SIZE; at++) {
        if (slot[at] != '\0') {
            return false;
        }
    }
    return true;
}

/* Whether SLOT holds the same line twice; SEQ and TEXT of it. */
static bool read_slot(const char *slot, uint64_t *ret_seq, char *ret_text)
{
    char line[LINE_SIZE];
    const char *end = memchr(slot, '\n', SLOT_SIZE / 2);
    size_t length = end != NULL ? (size_t)(end - slot) : 0;
    char *space;

    if (end == NULL || length >= sizeof(line) || memcmp(slot, end + 1, length + 1) != 0) {
        return false;
    }
    memcpy(line, slot, length);
    line[length] = '\0';
    space = strchr(line, ' ');
    if (space == NULL) {
        return false;
    }
    *space = '\0';
    return parse_u64(line, ret_seq, NULL) == 0 && *ret_seq > 0 &&
           str_copy(ret_text, KEPT_SIZE, space + 1);
}

static int find_newest(const char *path, struct kept *ret, struct err *e)
{
    AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    unsigned torn = 0;
    int r = file_read(path, (size_t)SLOTS * SLOT_SIZE, &bytes, &length, e);

    *ret = (struct kept){.slot = SLOTS - 1};
    if (r == 0 && length != (size_t)SLOTS * SLOT_SIZE) {
        r = FAIL(e, ERR_CORRUPT, "%s has another size than this file has", path);
    }
    for (unsigned at = 0; r == 0 && at < SLOTS; at++) {
        struct kept found = {.slot = at};

        if (read_slot(bytes + (size_t)at * SLOT_SIZE, &found.seq, found.text)) {
            *ret = found.seq > ret->seq ? found : *ret;
        } else {
            torn += is_blank(bytes + (size_t)at * SLOT_SIZE) ? 0 : 1;
        }
    }
    if (r == 0 && ret->seq == 0 && torn > 1) {
        r = FAIL(e, ERR_CORRUPT, "%s is damaged", path);
    }
    return r;
}

int kept_make(const char *path, struct err *e)
{
    static const char blank[SLOTS * SLOT_SIZE];
    enum file_kind kind = FILE_MISSING;
    int r = file_kind(path, &kind, e);

    return r < 0 || kind != FILE_MISSING ? r : file_write(path, blank, sizeof(blank), 0600, e);
}

int kept_write(const char *path, const char *text, struct err *e)
{
    char slot[SLOT_SIZE] = "";
    char line[LINE_SIZE];
    struct kept newest;
    int r = kept_make(path, e);

    ASSERT(strlen(text) < KEPT_SIZE && strchr(text, '\n') == NULL);
    r = r < 0 ? r : find_newest(path, &newest, e);
    if (r < 0) {
        return r;
    }
    IGNORE(
        !str_format(line, sizeof(line), "%" PRIu64 " %s", newest.seq + 1, text),
        "a number and text fit");
    IGNORE(!str_format(slot, sizeof(slot), "%s\n%s\n", line, line), "twice a line fits");
    return file_write_part(
        path, (uint64_t)(SLOTS - 1 - newest.slot) * SLOT_SIZE, slot, sizeof(slot), true, e);
}

int kept_read(const char *path, char *ret, struct err *e)
{
    struct kept newest;
    int r = find_newest(path, &newest, e);

    if (r == 0 && newest.seq == 0) {
        return FAIL(e, ERR_NOT_FOUND, "nothing is kept in %s yet", path);
    }
    if (r == 0) {
        IGNORE(!str_copy(ret, KEPT_SIZE, newest.text), "same size");
    }
    return r;
}
