#include "cli/verbs.h"
#include "codec/codec.h"

#include <stdio.h>

static int run(const struct cli_args *args)
{
    (void)args;
    printf("baton %s (speaks Patroni %s)\n", BATON_VERSION, RECORD_PATRONI_LEVEL);
    return CLI_DONE;
}

const struct cli_verb verb_version = {
    .name = "version",
    .usage = "",
    .help = "Show the version of this program and the level of Patroni that it speaks.",
    .run = run,
};
