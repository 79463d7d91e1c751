#include "model/timeline.h"

#include "base/assert.h"

uint64_t timeline_left(const struct timeline_history *history, uint32_t timeline)
{
    ASSERT(history->count <= TIMELINES_MAX);
    for (unsigned at = 0; at < history->count; at++) {
        if (history->switches[at].timeline == timeline) {
            return history->switches[at].lsn;
        }
    }
    return 0;
}

enum relation timeline_relate(struct position position, const struct timeline_history *history)
{
    uint64_t left_lsn;

    ASSERT(history->count <= TIMELINES_MAX);
    if (position.timeline == 0 || position.lsn == 0 || history->timeline == 0) {
        return RELATION_UNKNOWN;
    }
    if (position.timeline == history->timeline) {
        return RELATION_CONTAINS;
    }
    if (position.timeline > history->timeline) {
        return RELATION_DIVERGED;
    }
    left_lsn = timeline_left(history, position.timeline);
    if (left_lsn != 0) {
        return position.lsn <= left_lsn ? RELATION_CONTAINS : RELATION_DIVERGED;
    }
    /* A full table has dropped its oldest entries: absence proves nothing. A timeline that was
     * skipped never led here. */
    return history->count == TIMELINES_MAX && position.timeline < history->switches[0].timeline
               ? RELATION_UNKNOWN
               : RELATION_DIVERGED;
}

/* Where a server that was on TIMELINE up to LSN stops going along with HISTORY; {0}: it never
 * went. */
static struct position shared_on(
    const struct timeline_history *history, uint32_t timeline, uint64_t lsn)
{
    uint64_t left_lsn = timeline_left(history, timeline);

    if (timeline == history->timeline) {
        return (struct position){timeline, lsn};
    }
    return left_lsn != 0 ? (struct position){timeline, MIN(left_lsn, lsn)} : (struct position){0};
}

struct position timeline_shared(
    struct position position, const struct timeline_history *own,
    const struct timeline_history *history)
{
    struct position shared = shared_on(history, position.timeline, position.lsn);
    unsigned at = own->timeline == position.timeline ? own->count : 0;

    ASSERT(at <= TIMELINES_MAX);
    if (position.timeline >= history->timeline) {
        return (struct position){0};
    }
    for (; shared.timeline == 0 && at > 0; at--) {
        const struct timeline_switch *left = &own->switches[at - 1];

        shared = shared_on(history, left->timeline, left->lsn);
    }
    return position_compare(shared, position) != 0 ? shared : (struct position){0};
}

void timeline_history_add(struct timeline_history *history, uint32_t timeline, uint64_t lsn)
{
    if (history->count == TIMELINES_MAX) {
        memmove(
            &history->switches[0], &history->switches[1],
            (TIMELINES_MAX - 1) * sizeof(history->switches[0]));
        history->count--;
    }
    history->switches[history->count++] =
        (struct timeline_switch){.timeline = timeline, .lsn = lsn};
}
