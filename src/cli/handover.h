/* handover.h - what switchover and failover share: look, ask, request, show. Private to cli/. */
#pragma once

#include "cli/cli.h"

#include <jansson.h>

struct handover {
    bool is_failover;
    const char *leader;    /* NULL: the present one */
    const char *candidate; /* NULL: asked for on a terminal, else the best */
    const char *scheduled; /* NULL: now */
    bool is_forced;        /* nothing is asked */
};

/* Carry it out; returns an exit code. */
int handover_run(const struct cli_args *args, const struct handover *handover);

/* Add to OUT the question whether it is meant: who is demoted, and what is lost. */
void handover_ask(const json_t *cluster, const struct handover *handover, struct str *out);

/* Add to E, why there is no answer to the request, that it may have been understood all the same.
 */
void handover_doubt(struct err *e);
