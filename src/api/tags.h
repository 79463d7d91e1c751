/* tags.h - the tags of this node compared with a parameter of a health check.
 * Private to api/. */
#pragma once

#include "config/config.h"

/* Whether the tag NAME is set and is VALUE, both as text; truth values are "true". Tags that are
 * known and at their default count as not set, as in Patroni. */
bool tags_match(const struct config *config, const char *name, const char *value);
