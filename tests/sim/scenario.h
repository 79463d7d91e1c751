/* scenario.h - a story: text in, trace out. Private to scenario.c and expect.c.
 *
 * A scenario file has commands, one a line, then a line of four dashes, then the decisions that the
 * agents are expected to take: virtual time, node, rule, sentence, and the commands where they were
 * carried out. `#` opens a comment. Virtual time passes only in `run`, `wait` and `expect`. The
 * table of commands is in scenario.c, that of conditions in expect.c; docs/simulator.md explains
 * both. */
#pragma once

#include "tests/sim/sim.h"

#define WORDS_MAX 12

struct words {
    unsigned count;
    char *items[WORDS_MAX];
};

struct story {
    struct sim *sim; /* NULL before `cluster` */
    struct str trace;
    unsigned line;
    char problem[300]; /* "": none yet */
};

/* Note what is wrong, if it is the first thing. */
void story_fail(struct story *story, const char *format, ...) PRINTF_LIKE(2, 3);

/* "n1" or "leader"; NULL, with a problem noted, when there is no such node. */
struct node *story_node(struct story *story, const char *name);
bool story_duration(struct story *story, const char *text, int64_t *ret_ns);

/* `wait CONDITION`; `expect CONDITION`, `expect within 5s: CONDITION`, `expect for 5s: CONDITION`.
 * WORDS begins after the command. */
void story_wait(struct story *story, const struct words *words);
void story_expect(struct story *story, const struct words *words);
