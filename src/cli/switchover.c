#include "cli/handover.h"
#include "cli/verbs.h"

static int run(const struct cli_args *args)
{
    const char *leader = cli_value(args, "leader");

    return handover_run(
        args, &(struct handover){
                  .leader = leader != NULL ? leader : cli_value(args, "primary"),
                  .candidate = cli_value(args, "candidate"),
                  .scheduled = cli_value(args, "scheduled"),
                  .is_forced = cli_value(args, "force") != NULL,
              });
}

static const struct cli_option options[] = {
    CLI_CONFIG_OPTIONS,
    {"leader", 0, "NAME", "the present leader (default: whoever it is)"},
    {"primary", 0, "NAME", "the same, as patronictl calls it too"},
    {"candidate", 0, "NAME", "who takes over (default: the best one)"},
    {"scheduled", 0, "TIME", "when: 2026-11-23T10:00:00+00:00, or now"},
    {"force", 0, NULL, "ask nothing"},
    {0},
};

const struct cli_verb verb_switchover = {
    .name = "switchover",
    .usage = "",
    .help = "Hand the right to write over to another member, without losing "
            "anything.\n\n" CLI_CONFIG_HELP,
    .options = options,
    .run = run,
};
