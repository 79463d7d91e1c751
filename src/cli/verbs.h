/* verbs.h - the verbs of this folder, and options that several share. Private to cli/. */
#pragma once

#include "cli/cli.h"

extern const struct cli_verb verb_list;
extern const struct cli_verb verb_switchover;
extern const struct cli_verb verb_failover;
extern const struct cli_verb verb_store;
extern const struct cli_verb verb_version;
extern const struct cli_verb verb_help;
extern const struct cli_verb verb_reference;

/* How to reach a cluster (target.h). */
#define CLI_CONFIG_OPTIONS \
    {"config", 'c', "FILE", "configuration of a node (default: see below)"}, \
    { \
        "url", 0, "HOST:PORT", "REST address of any agent, instead of a configuration" \
    }
#define CLI_CONFIG_HELP \
    "Without --config and --url the configuration is $BATON_CONFIG, $PATRONICTL_CONFIG_FILE, " \
    "/etc/baton/baton.yml\nor /etc/patroni.yml, the first that is there."
