/* view.h - a cluster as people read it: from the JSON of GET /cluster. Private to cli/. */
#pragma once

#include "cli/table.h"
#include "cli/target.h"

#include <jansson.h>

#define VIEW_TEXT_MAX 262144

/* GET /cluster from TARGET. *RET is json_decref'd by the caller. */
MUST_CHECK int view_fetch(struct target *target, json_t **ret, struct err *e);

/* The name of the leader, or "". */
const char *view_leader(const json_t *cluster);

/* The table of members, as `patronictl list`; a pretty one also has what is scheduled, who has
 * which problem and what to do, and, when there is no leader or it does not answer, why the agent
 * that was asked does not take over. */
void view_render(
    const json_t *cluster, enum table_format format, bool is_extended, struct table_style style,
    struct str *out);

/* What standard output can show. */
struct table_style view_style(void);
