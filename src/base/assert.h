/* assert.h - assertions that are always compiled in.
 *
 * For arguments, results and invariants: one condition each. Never for anything that came from
 * disk, network, operator or clock; those are failures (base/err.h). A failing assertion prints its
 * place and aborts: an aborted agent loses its lease and is restarted, which is a tested and safe
 * path. */
#pragma once

#include "base/base.h"

#define ASSERT(condition) \
    do { \
        if (!(condition)) { \
            assert_failed(#condition, __FILE__, __LINE__); \
        } \
    } while (0)

/* Print the failed CONDITION with its place to standard error and abort. */
__attribute__((noreturn, cold)) void assert_failed(
    const char *condition, const char *file, int line);
