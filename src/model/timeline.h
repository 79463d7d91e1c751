/* timeline.h - the branches of a server's history, and whether one server's history is contained in
 * another's.
 *
 * A promotion starts a new timeline at a switch point. Entry {4, X} says: timeline 4 was left at
 * LSN X; what timeline 4 holds beyond X is not part of this history. */
#pragma once

#include "model/position.h"

#define TIMELINES_MAX 64

struct timeline_switch {
    uint32_t timeline; /* that was left */
    uint64_t lsn;      /* where */
};

/* The history of a server on `timeline`, oldest switch first. Only the newest TIMELINES_MAX
 * switches are kept. */
struct timeline_history {
    uint32_t timeline; /* current; 0: nothing known */
    unsigned count;
    struct timeline_switch switches[TIMELINES_MAX];
};

/* How a server at a position relates to another one's history. */
enum relation {
    RELATION_UNKNOWN,  /* not enough is known */
    RELATION_CONTAINS, /* the position lies in that history: it can follow as it is */
    RELATION_DIVERGED, /* it holds changes that the history does not: rewind or clone */
};

/* Relate POSITION (the end of a server's log) to HISTORY. A position on a later timeline than
 * HISTORY's has diverged. */
enum relation timeline_relate(struct position position, const struct timeline_history *history);

/* Where TIMELINE was left for the next one of HISTORY; 0 if it was not, or if that is not known. */
uint64_t timeline_left(const struct timeline_history *history, uint32_t timeline);

/* How far POSITION, on the timeline that OWN ends with, goes along with HISTORY: what lies beyond
 * is no part of it, whatever its timeline's number. {0}: all the way, or not known. */
struct position timeline_shared(
    struct position position, const struct timeline_history *own,
    const struct timeline_history *history);

/* Append a switch, dropping the oldest one when full. */
void timeline_history_add(struct timeline_history *history, uint32_t timeline, uint64_t lsn);
