#include "base/str.h"
#include "cli/verbs.h"

#include <stdio.h>

#define HELP_MAX 16384
#define NAME_WIDTH 12

static void print_all(void)
{
    const struct cli_verb *verb;

    printf("usage: baton COMMAND [options]\n\nbaton keeps a PostgreSQL database writable.\n\n");
    for (unsigned at = 0; (verb = cli_verb_at(at)) != NULL; at++) {
        printf("  %-*s %.*s\n", NAME_WIDTH, verb->name, (int)strcspn(verb->help, "\n"), verb->help);
    }
    printf("\n'baton COMMAND --help' tells more.\n");
}

static int run(const struct cli_args *args)
{
    const char *name = cli_argument(args, 0);
    struct str text AUTO_STR = STR_INIT(HELP_MAX);
    const struct cli_verb *verb;

    if (name == NULL) {
        print_all();
        return CLI_DONE;
    }
    for (unsigned at = 0; (verb = cli_verb_at(at)) != NULL; at++) {
        if (str_equal(verb->name, name)) {
            cli_render_help(verb, &text);
            fputs(str_text(&text), stdout);
            return CLI_DONE;
        }
    }
    fprintf(stderr, "baton help: unknown command '%.64s'; 'baton help' lists them\n", name);
    return CLI_USAGE;
}

const struct cli_verb verb_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .help = "List the commands, or explain one.",
    .arguments_max = 1,
    .run = run,
};
