/* position.h - how far a server's history reaches.
 *
 * PostgreSQL: an LSN on a timeline. Positions are ordered by timeline first: the history of a later
 * timeline contains everything that was allowed to survive of the earlier ones. (MySQL's GTID sets
 * will join this struct as a second kind.) */
#pragma once

#include "base/err.h"

struct position {
    uint32_t timeline; /* 0: unknown */
    uint64_t lsn;      /* byte position in the log; 0: unknown */
};

/* Negative, 0 or positive as A is before, equal to or after B. */
int position_compare(struct position a, struct position b);

/* "5/0/3000148": timeline, then PostgreSQL's text of the LSN. */
#define POSITION_TEXT_SIZE 40
void position_format(struct position position, char *buffer);
MUST_CHECK int position_parse(const char *text, struct position *ret, struct err *e);

/* PostgreSQL's text of an LSN ("0/3000148"). */
#define LSN_TEXT_SIZE 24
void lsn_format(uint64_t lsn, char *buffer);
MUST_CHECK int lsn_parse(const char *text, uint64_t *ret, struct err *e);
