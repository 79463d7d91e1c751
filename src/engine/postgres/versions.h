/* versions.h - what differs between the major versions of PostgreSQL, as rows, and where their
 * programs lie. */
#pragma once

#include "base/err.h"

#define PG_VERSION_FIRST 13
#define PG_VERSION_LAST 18

/* Why PARAMETER does not exist in MAJOR version, or NULL if it does (or is not in the table: then
 * it is taken as known). A server refuses to start when a parameter is not its own, so a setting of
 * another version must be left out. */
const char *versions_refuse(const char *parameter, int major);

/* The folder of the programs (postgres, initdb, pg_basebackup, pg_rewind) into RET: CONFIGURED if
 * not empty, else that of MAJOR version, or for MAJOR 0 the newest one: the packages' folders
 * first, then PATH. Blocks. ERR_NOT_FOUND with a hint when there is none. */
MUST_CHECK int versions_find_programs(
    const char *configured, int major, char *ret, size_t size, struct err *e);
