/* finding.h - collecting findings: bounded, without control characters, errors never crowded out by
 * notes. */
#pragma once

#include "config/config.h"

/* Add one. When the list is full it is counted only, but an error takes the place of the last
 * finding that is none. */
void findings_add(
    struct findings *findings, enum finding_severity severity, const char *file, int line,
    const char *format, ...) PRINTF_LIKE(5, 6);

/* Order by line, keeping the order of equal ones; those without a line come last. */
void findings_sort(struct findings *findings);
