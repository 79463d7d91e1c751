#include "cli/handover.h"
#include "cli/verbs.h"

static int run(const struct cli_args *args)
{
    return handover_run(
        args, &(struct handover){
                  .is_failover = true,
                  .candidate = cli_value(args, "candidate"),
                  .is_forced = cli_value(args, "force") != NULL,
              });
}

static const struct cli_option options[] = {
    CLI_CONFIG_OPTIONS,
    {"candidate", 0, "NAME", "who becomes the primary"},
    {"force", 0, NULL, "ask nothing"},
    {0},
};

const struct cli_verb verb_failover = {
    .name = "failover",
    .usage = "",
    .help = "Make a member the primary when there is no leader that could hand "
            "over.\n\n" CLI_CONFIG_HELP,
    .options = options,
    .run = run,
};
