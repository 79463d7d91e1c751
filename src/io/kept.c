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
    bool is_plain; /* the file has no slots */
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

/* The file's only line, if it is of before there were slots. */
static bool read_plain(const char *bytes, size_t length, char *ret_text)
{
    const char *end = memchr(bytes, '\n', length);

    if (end == NULL || end == bytes || end != bytes + length - 1 || length > KEPT_SIZE) {
        return false;
    }
    memcpy(ret_text, bytes, length - 1);
    ret_text[length - 1] = '\0';
    return strlen(ret_text) == length - 1;
}

static void fill_slot(char *slot, uint64_t seq, const char *text)
{
    char line[LINE_SIZE];

    ASSERT(strlen(text) < KEPT_SIZE && strchr(text, '\n') == NULL);
    IGNORE(!str_format(line, sizeof(line), "%" PRIu64 " %s", seq, text), "a number and text fit");
    IGNORE(!str_format(slot, SLOT_SIZE, "%s\n%s\n", line, line), "twice a line fits");
}

static int find_newest(const char *path, struct kept *ret, struct err *e)
{
    AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    unsigned torn = 0;
    int r = file_read(path, (size_t)SLOTS * SLOT_SIZE, &bytes, &length, e);

    *ret = (struct kept){.slot = SLOTS - 1};
    if (r == 0 && read_plain(bytes, length, ret->text)) {
        ret->is_plain = true;
        ret->seq = 1;
        return 0;
    }
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
    char slots[SLOTS * SLOT_SIZE] = "";
    struct kept newest;
    int r = find_newest(path, &newest, e);

    if (r == ERR_NOT_FOUND) {
        return file_write(path, slots, sizeof(slots), 0600, e);
    }
    if (r == 0 && newest.is_plain) {
        fill_slot(slots, newest.seq, newest.text);
        r = file_write(path, slots, sizeof(slots), 0600, e);
    }
    return r;
}

int kept_write(const char *path, const char *text, struct err *e)
{
    char slot[SLOT_SIZE] = "";
    struct kept newest;
    int r = kept_make(path, e);

    r = r < 0 ? r : find_newest(path, &newest, e);
    if (r < 0) {
        return r;
    }
    fill_slot(slot, newest.seq + 1, text);
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
