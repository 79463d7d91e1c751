/* access.h - who may call what changes something. Private to api/.
 *
 * Basic authentication, as in Patroni: the header is compared whole with what the right one would
 * be, in a time that does not depend on where they differ. Without a configured user everybody
 * may. */
#pragma once

#include "config/config.h"

#define ACCESS_CHALLENGE "Basic realm=\"baton\", charset=\"UTF-8\""

/* Why the value of an Authorization header (NULL: none) is not enough, or NULL if it is. */
const char *access_refuse(const struct config_restapi *restapi, const char *authorization);
