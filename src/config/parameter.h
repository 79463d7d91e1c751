/* parameter.h - the server parameters that are not the operator's alone. */
#pragma once

#include "base/err.h"

enum parameter_owner {
    PARAMETER_FREE,    /* set in the file or the store, as one likes */
    PARAMETER_CLUSTER, /* must agree on all nodes: bootstrap.dcs and the store only */
    PARAMETER_AGENT,   /* the agent sets it itself */
};

/* Who owns NAME (any case). */
enum parameter_owner parameter_owner(const char *name);

/* Whether NAME can be a parameter: letters, digits, underscores, dots. */
bool parameter_name_is_valid(const char *name);

/* Check VALUE of a PARAMETER_CLUSTER against what replication needs; ERR_INVALID with a
 * sentence. */
MUST_CHECK int parameter_check(const char *name, const char *value, struct err *e);
