/* CLONE: copy a peer's data directory with pg_basebackup.
 *
 *   programs? -> fresh <data_dir>.baton-new, passfile -> pg_basebackup -> old data aside,
 *             new data into place -> look
 *
 * The password is found in the passfile; it shows nowhere. Tablespaces are not mapped: on a host of
 * its own the copy lands at the same paths; where those are taken pg_basebackup refuses and says
 * which. */
#include "base/assert.h"
#include "engine/postgres/copy.h"
#include "engine/postgres/driver.h"

/* Never the member's own: the connection that brings the log says what it has written, and under a
 * name of the rule of commits the server would take that for a standby's word, with no data there
 * that could be started yet. No member can have a name with a space. */
#define CLONE_NAME "baton clone"

void pg_clone_conninfo(const struct postgres *pg, const struct engine_peer *peer, struct str *out)
{
    pg_peer_conninfo(pg, peer, &pg->config->postgresql.replication, CLONE_NAME, NULL, out);
}

static int step_check(struct postgres *pg, struct err *e)
{
    int r = copy_check_place(pg, e);

    if (r < 0) {
        return r;
    }
    if (pg->look.bin_dir[0] == '\0') {
        return FAIL(e, ERR_NOT_FOUND, "%s", pg->look.problem);
    }
    return STEP_DONE;
}

static int step_prepare(struct postgres *pg, struct err *e)
{
    ASSERT(e != NULL);
    return copy_prepare(pg, NULL, NULL);
}

static int step_basebackup(struct postgres *pg, struct err *e)
{
    AUTO_STR struct str conninfo = STR_INIT(PG_CONNINFO_SIZE);
    char program[PG_PATH_SIZE];
    char folder[PG_PATH_SIZE];
    const char *const argv[] = {program,         "-D", folder, "-X", "stream", "-c", "fast",
                                "--no-password", "-d", NULL,   NULL};
    const char *whole[ARRAY_LEN(argv)];

    pg_clone_conninfo(pg, &pg->order.args.peer, &conninfo);
    if (conninfo.length == 0) {
        return FAIL(
            e, ERR_INVALID, "the address of %s is not usable: %s", pg->order.args.peer.name,
            pg->order.args.peer.conn_url);
    }
    pg_program(pg, "pg_basebackup", program);
    str_format(folder, sizeof(folder), "%s/data", pg->paths.new_dir);
    memcpy(whole, argv, sizeof(argv));
    whole[ARRAY_LEN(argv) - 2] = str_text(&conninfo);
    return pg_order_child(pg, whole, NULL, e);
}

const struct order_step pg_clone_steps[] = {
    {"look", pg_order_look},
    {"check", step_check},
    {"prepare the folder", step_prepare},
    {"write the passfile", pg_step_passfile},
    {"pg_basebackup", step_basebackup},
    {"move the data into place", copy_step_finish},
    {"look at the result", pg_order_look},
    {NULL, NULL},
};
