/* child.h - run a program to its end: initdb, pg_basebackup, pg_rewind.
 *
 * argv only, never a shell. The child gets a clean environment (PATH, LANG=C, LC_ALL=C, TZ,
 * HOME, and what `env` adds), no inherited descriptors, standard input from /dev/null or from
 * `input`, its own session, and dies with the agent (PR_SET_PDEATHSIG SIGKILL). Standard output
 * and error are read together; the last CHILD_OUTPUT_MAX bytes are kept. Secrets go in through
 * `input` or a 0600 file, never argv or env. */
#pragma once

#include "io/loop.h"

#define CHILD_OUTPUT_MAX 16384

struct child;

struct child_options {
    const char *const *argv; /* ends with NULL; argv[0] is a path */
    const char *const *env;  /* extra "NAME=value", ends with NULL; may be NULL */
    const char *input;       /* fed to standard input; may be NULL */
    const char *folder;      /* working directory; may be NULL: "/" */
    /* 0: none. When it passes, the whole session is killed; what does not die within a second (a
     * hung disk) is reported as ended all the same and collected later. */
    int64_t timeout_ms;
};

/* How it ended: exit_code >= 0, or -1 and killed by `signal_number`. `output` is its tail,
 * terminated. A program that cannot be run ends with 127 and the reason as its output, as in a
 * shell. */
struct child_end {
    int exit_code;
    int signal_number;
    bool timed_out;
    const char *output;
};

typedef void child_done(void *arg, const struct child_end *end);

/* Start; on success *ret is valid until DONE was called (which comes once) or child_free. */
MUST_CHECK int child_start(
    struct loop *loop, const struct child_options *options, child_done *done, void *arg,
    struct child **ret, struct err *e);

/* Kill and forget: DONE will not come. NULL is accepted. */
void child_free(struct child *child);
