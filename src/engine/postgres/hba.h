/* hba.h - pg_hba.conf and pg_ident.conf.
 *
 * The first line of pg_hba.conf is always the driver's own way in: over a Unix socket, as the
 * superuser, by peer authentication for the system user that runs the agent (and root, who could
 * become it anyway). It works whatever the superuser's password is, and no password is kept for it.
 * Then come the lines of the configuration (local file, else the store, else bootstrap.pg_hba);
 * without any, these:
 *
 *   local all all                           scram-sha-256
 *   host  replication REPLICATION MEMBER    scram-sha-256    each member's host, loopback,
 *                                                            and the server's subnets
 *   host  all all 127.0.0.1/32, ::1/128     scram-sha-256
 *   host  all all all                       scram-sha-256    a password is needed from everywhere
 *
 * Pure. */
#pragma once

#include "base/str.h"
#include "config/config.h"

#include <jansson.h>

struct hba_input {
    const struct config *config;
    const struct cluster *cluster; /* may be NULL */
    const json_t *store;           /* the config key; may be NULL */
    const char *os_user;           /* that runs the agent; "" when it has no name */
};

/* pg_hba.conf as the essay above has it. */
void hba_render(const struct hba_input *input, struct str *out);

/* pg_ident.conf: the map of the driver's own line, then the configured lines. */
void hba_render_ident(const struct hba_input *input, struct str *out);
