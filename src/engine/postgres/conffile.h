/* conffile.h - the text of postgresql.conf and of the passfile. Pure. */
#pragma once

#include "base/str.h"
#include "engine/postgres/parameters.h"

/* The first line: whoever finds it knows that the file is not the user's own. */
#define CONFFILE_HEADER "# Written by baton, replaced without notice."

struct conffile_upstream {
    const char *name;     /* member; "" none */
    const char *conninfo; /* "" none */
    const char *slot;     /* "" none */
};

/* postgresql.conf: includes postgresql.base.conf, then sets the parameters, then the upstream, and
 * disarms targets of recovery that the included file may have. */
void conffile_render(
    const struct parameters *parameters, const struct conffile_upstream *upstream, struct str *out);

/* The passfile for replication, rewind and the superuser, for any host. */
void conffile_render_passfile(const struct config_postgresql *config, struct str *out);

/* The command line of the server: "--name=value" for each parameter that belongs there, after
 * PROGRAM, -D and --config_file. Texts and the array (ending with NULL) live in ARENA. */
const char *const *conffile_command_line(
    struct arena *arena, const struct parameters *parameters, const char *program,
    const char *data_dir);

/* The value that TEXT, a configuration file, gives to NAME last, without quotes; false: none, or
 * longer than SIZE. Files that it includes are not seen; RET_INCLUDES (may be NULL): there are
 * some. */
bool conffile_find(const char *text, const char *name, char *ret, size_t size, bool *ret_includes);

/* postgresql.auto.conf without the settings that would win over ours (they are left behind by ALTER
 * SYSTEM and by pg_basebackup -R): those of a start, and synchronous_standby_names. */
void conffile_filter_auto(const char *text, bool is_start, bool is_sync_managed, struct str *out);
