/* base.h - the ground every file stands on: standard headers, attributes, forbidden functions.
 *
 * Include it through any header of base/. The standard headers come first, because the identifiers
 * poisoned below may not be named after this point, not even by a header. Each forbidden function
 * has a replacement:
 *   strcpy strcat sprintf strncpy ... -> str_copy, str_addf (base/str.h)
 *   atoi strtol sscanf ...            -> parse_int (base/parse.h)
 *   system popen                      -> child_start (io/child.h) */
#pragma once

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strncat strtok gets
#pragma GCC poison atoi atol atoll atof sscanf asctime ctime rand srand
#pragma GCC poison tmpnam mktemp system popen vfork

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define UNUSED __attribute__((unused))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Drop a result on purpose; WHY is for the reader. */
#define IGNORE(expression, why) \
    do { \
        if ((expression) != 0) { \
            /* deliberately nothing */ \
        } \
    } while (0)
