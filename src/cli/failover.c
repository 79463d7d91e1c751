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
    {"force", 0, NULL, "ask nothing: commits that the candidate does not have are lost"},
    {0},
};

const struct cli_verb verb_failover = {
    .name = "failover",
    .usage = "",
    .help = "Make a member the primary when there is no leader that could hand "
            "over. A leader that is there is demoted, and commits that the member does not have "
            "are lost.\n\n" CLI_CONFIG_HELP,
    .options = options,
    .run = run,
};
