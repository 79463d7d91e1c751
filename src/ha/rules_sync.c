#include "ha/rules.h"

/* What commits on the primary have to wait for, and what the store says of it. */

static bool always(const struct ha_view *view)
{
    return view != NULL;
}

static const struct ha_rule rows[] = {
    {"sync.off", TOPIC_SYNC, "replication is asynchronous", "replication is asynchronous", always,
     NULL},
};

struct ha_rows rules_sync(void)
{
    return (struct ha_rows){.rows = rows, .count = ARRAY_LEN(rows)};
}
