#include "model/position.h"

#include "base/parse.h"
#include "base/str.h"

int position_compare(struct position a, struct position b)
{
    if (a.timeline != b.timeline) {
        return a.timeline < b.timeline ? -1 : 1;
    }
    return a.lsn < b.lsn ? -1 : a.lsn > b.lsn;
}

void lsn_format(uint64_t lsn, char *buffer)
{
    IGNORE(
        !str_format(
            buffer, LSN_TEXT_SIZE, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn),
        "the size fits every LSN");
}

int lsn_parse(const char *text, uint64_t *ret, struct err *e)
{
    const char *slash = strchr(text, '/');
    char high_text[9] = "";
    uint64_t high = 0;
    uint64_t low = 0;

    if (slash == NULL || slash == text || (size_t)(slash - text) >= sizeof(high_text) ||
        strlen(slash + 1) > 8) {
        return FAIL(e, ERR_INVALID, "'%s' is not an LSN", text);
    }
    memcpy(high_text, text, (size_t)(slash - text));
    if (parse_hex_u64(high_text, &high, NULL) < 0 || parse_hex_u64(slash + 1, &low, NULL) < 0) {
        return FAIL(e, ERR_INVALID, "'%s' is not an LSN", text);
    }
    *ret = high << 32 | low;
    return 0;
}

void position_format(struct position position, char *buffer)
{
    char lsn[LSN_TEXT_SIZE];

    lsn_format(position.lsn, lsn);
    IGNORE(
        !str_format(buffer, POSITION_TEXT_SIZE, "%" PRIu32 "/%s", position.timeline, lsn), "fits");
}

int position_parse(const char *text, struct position *ret, struct err *e)
{
    const char *slash = strchr(text, '/');
    char timeline_text[12] = "";
    int64_t timeline = 0;
    uint64_t lsn = 0;

    if (slash == NULL || (size_t)(slash - text) >= sizeof(timeline_text)) {
        return FAIL(e, ERR_INVALID, "'%s' is not a position", text);
    }
    memcpy(timeline_text, text, (size_t)(slash - text));
    if (parse_int(timeline_text, 0, UINT32_MAX, &timeline, NULL) < 0 ||
        lsn_parse(slash + 1, &lsn, NULL) < 0) {
        return FAIL(e, ERR_INVALID, "'%s' is not a position", text);
    }
    *ret = (struct position){.timeline = (uint32_t)timeline, .lsn = lsn};
    return 0;
}
