/* postgres.h - the engine driver for PostgreSQL 13 to 18.
 *
 * The server is a child of baton-guard (io/guard_link.h) and is always started with standby.signal
 * in place. The agent talks to it over a Unix socket in runtime_dir, which only its own user may
 * enter, by peer authentication: no password is needed to watch and to promote. Passwords reach
 * other servers through one file, runtime_dir/pgpass (0600).
 *
 * Files, as Patroni lays them out: the user's postgresql.conf is kept as postgresql.base.conf;
 * postgresql.conf is written by the driver: it includes that file and then sets the parameters of
 * the store and of the local file.
 *
 * What lies in runtime_dir (0700): the socket, guard.sock, guard.log, postgres.log, pgpass, slots
 * (names of the replication slots that the driver made). The lease page is in memory
 * (io/lease_page.h). Beside the data lies <data_dir>.rewinding, from the beginning of a rewind
 * until its end, or that of the clone which makes good one that was interrupted. A new copy of the
 * data is made in <data_dir>.baton-new/data and renamed into place when it is complete, so an
 * interrupted one is never taken for a database. For that data_dir must not be a mount point
 * itself. */
#pragma once

#include "config/config.h"
#include "engine/engine.h"
#include "io/loop.h"

struct postgres_options {
    const char *guard_program; /* path of baton-guard */
};

/* A driver for the server of CONFIG, which must outlive it and whose generated passwords are filled
 * in. Never NULL. */
struct engine *postgres_new(
    struct loop *loop, const struct config *config, const struct postgres_options *options);
