#include "agent/agent.h"
#include "cli/cli.h"
#include "io/process.h"

static int run_agent(const struct cli_args *args)
{
    const char *path = cli_argument(args, 0);

    return cli_value(args, "check") != NULL ? cli_check(path) : agent_main(path);
}

static const struct cli_option agent_options[] = {
    {"check", 0, NULL, "only check the configuration and show what is found"},
    {0},
};

static const struct cli_verb verb_agent = {
    .name = "agent",
    .usage = "FILE",
    .help = "Run the agent of this host with the configuration in FILE, until SIGTERM.",
    .options = agent_options,
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run_agent,
};

int main(int argc, char **argv)
{
    static const struct cli_verb *const verbs[] = {&verb_agent, NULL};

    process_harden();
    return cli_run(argc, argv, verbs);
}
