#include "codec/history.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"

#define TIMELINE 1000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* What was understood, written as the server would, must read as the same. */
static void check_again(const struct timeline_history *history)
{
    struct str text AUTO_STR = STR_INIT(8192);
    struct timeline_history again;

    for (unsigned at = 0; at < history->count; at++) {
        char lsn[LSN_TEXT_SIZE];

        lsn_format(history->switches[at].lsn, lsn);
        str_addf(
            &text, "%" PRIu32 "\t%s\tno recovery target specified\n",
            history->switches[at].timeline, lsn);
    }
    ASSERT(history_parse(str_text(&text), history->timeline, &again, NULL) == 0);
    ASSERT(again.count == history->count);
    for (unsigned at = 0; at < again.count; at++) {
        ASSERT(again.switches[at].timeline == history->switches[at].timeline);
        ASSERT(again.switches[at].lsn == history->switches[at].lsn);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    AUTO_FREE char *text = mem_dup_length((const char *)bytes, size);
    struct timeline_history history;
    uint32_t newest = 0;

    if (history_parse(text, TIMELINE, &history, NULL) < 0) {
        return 0;
    }
    ASSERT(history.timeline == TIMELINE);
    ASSERT(history.count >= 1 && history.count <= TIMELINES_MAX);
    for (unsigned at = 0; at < history.count; at++) {
        ASSERT(history.switches[at].timeline > newest);
        newest = history.switches[at].timeline;
    }
    ASSERT(newest < TIMELINE);
    check_again(&history);
    return 0;
}
