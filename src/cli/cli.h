/* cli.h - the commands: one table of verbs, one file per verb, one parser.
 *
 * A verb is a row: name, usage, help, options, how many arguments, run. The parser, --help, "did
 * you mean" and docs/reference/commands.md are all made from the rows. Exit codes: 0 done, 1
 * failed, 2 wrong usage.
 *
 *     static const struct cli_option options[] = {
 *         {"force", 'f', NULL, "ask nothing"},
 *         {0},
 *     };
 *     const struct cli_verb verb_try = {
 *         .name = "try", .usage = "FILE", .help = "Try FILE.", .options = options,
 *         .arguments_min = 1, .arguments_max = 1, .run = run};
 *
 * Results go to standard output, complaints to standard error; frames and colours only to a
 * terminal. */
#pragma once

#include "base/err.h"

#define CLI_OPTIONS_MAX 16
#define CLI_ARGUMENTS_MAX 4

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
};

/* "--name VALUE" or "-l VALUE"; a flag when `value` is NULL. The last row of a table has no name.
 * */
struct cli_option {
    const char *name;
    char letter;       /* 0: none */
    const char *value; /* what it is called in help */
    const char *help;
};

struct cli_args;

struct cli_verb {
    const char *name;
    const char *usage;                /* arguments, for help: "FILE" */
    const char *help;                 /* first line: summary; more may follow */
    const struct cli_option *options; /* may be NULL */
    unsigned arguments_min;
    unsigned arguments_max;
    int (*run)(const struct cli_args *args); /* returns an enum cli_exit */
};

/* A command line, read. */
struct cli_args {
    const struct cli_verb *verb;
    unsigned argument_count;
    const char *arguments[CLI_ARGUMENTS_MAX];
    const char *values[CLI_OPTIONS_MAX]; /* by the index of the verb's options; NULL: not given */
};

/* The value of option NAME ("" for a flag that was given), or NULL. NAME must be in the verb's
 * table. */
const char *cli_value(const struct cli_args *args, const char *name);

/* Argument AT, or NULL. */
const char *cli_argument(const struct cli_args *args, unsigned at);

/* Run the command of ARGV. EXTRA: verbs of the program itself, ends with NULL. Returns the exit
 * code. */
int cli_run(int argc, char **argv, const struct cli_verb *const *extra);

/* All verbs in the order of help, EXTRA ones first; NULL past the last. Valid during cli_run. */
const struct cli_verb *cli_verb_at(unsigned at);

/* Read ARGV (without the verb) for VERB into RET. False: a sentence is in E. */
bool cli_parse(
    const struct cli_verb *verb, int argc, char **argv, struct cli_args *ret, struct err *e);

/* The help of VERB, as shown by --help. */
struct str;
void cli_render_help(const struct cli_verb *verb, struct str *out);

/* Print "baton VERB: TEXT" of a failure, with its hint, to standard error; returns the exit code
 * of E. */
int cli_fail(const struct cli_args *args, const struct err *e);

/* `baton agent --check FILE`: print every finding; 1 when one is an error. */
int cli_check(const char *path);
