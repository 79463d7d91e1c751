/* tags.h - the tags of this node: as JSON, and compared with a parameter of a health check.
 * Private to api/. */
#pragma once

#include "config/config.h"

/* The tags that baton does not know itself, as a JSON object (new text); NULL when there are none.
 * */
char *tags_encode_extra(const struct config *config);

/* Whether the tag NAME is set and is VALUE, both as text; truth values are "true". Tags that are
 * known and at their default count as not set, as in Patroni. */
bool tags_match(const struct config *config, const char *name, const char *value);
