/* settle.h - what remains when every option was read: defaults that depend on other options, and
 * checks across them. */
#pragma once

#include "config/reader.h"

/* Fill what the file leaves open, then check. HOST_NAME serves for a missing name and for
 * wildcards. */
void settle(struct reader *reader, const char *host_name);
