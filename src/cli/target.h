/* target.h - the cluster that a command is about: its configuration, and the agents that may
 * answer. Private to cli/.
 *
 * The first agent is that of the configuration (or of --url); when it does not answer, those
 * listed under peers are asked. */
#pragma once

#include "cli/cli.h"
#include "client/client.h"

struct target {
    struct config *config;
    bool is_https;
    unsigned address_count;
    unsigned address; /* of the agent that answered last */
    struct address addresses[HOSTS_MAX + 1];
};

/* From the options --config and --url of ARGS. target_close it in any case. */
MUST_CHECK int target_open(const struct cli_args *args, struct target *ret, struct err *e);
void target_close(struct target *target);

/* GET PATH from the first agent that answers at all. */
MUST_CHECK int target_get(
    struct target *target, const char *path, struct client_answer *ret, struct err *e);

/* REQUEST (whose is_https is filled in) to the agent at its address. */
MUST_CHECK int target_call(
    const struct target *target, struct client_request *request, struct client_answer *ret,
    struct err *e);

/* POST BODY to the agent that answered last, once: a second agent must not be asked for the same
 * change again. */
MUST_CHECK int target_post(
    struct target *target, const char *path, const char *body, int64_t timeout_ms,
    struct client_answer *ret, struct err *e);

/* Read and parse the configuration in PATH, with the environment. Fails when it cannot be used;
 * *RET is config_free'd by the caller either way, *FINDINGS mem_free'd. */
MUST_CHECK int target_read_config(
    const char *path, struct config **ret, struct findings **ret_findings, struct err *e);
