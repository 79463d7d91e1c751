/* BOOTSTRAP: a new, empty database with the configured users.
 *
 *   look -> ABSENT? -> fresh <data_dir>.baton-new with its mark, password file -> initdb
 *        -> password file away
 *        -> users and shared parameters, in single-user mode -> rename data into place -> look
 *
 * Interrupted anywhere, data_dir is not there yet: the next try removes the marked folder and
 * begins anew. Passwords: the superuser's goes to initdb in a 0600 file, the others to the
 * single-user server through a pipe. Neither shows in arguments, environment or logs: statements
 * are not logged there, not even failing ones. */
#include "base/assert.h"
#include "engine/postgres/copy.h"
#include "engine/postgres/driver.h"
#include "engine/postgres/quote.h"
#include "io/file.h"

#define ARGUMENTS_MAX 48
#define SINGLE_ARGUMENTS_MAX 64
#define SQL_MAX 8192
#define PASSWORD_FILE "password"

/* ---- the folder ---- */

static int check_account(const struct account *account, struct err *e)
{
    if (!quote_is_clean(account->username) || !quote_is_clean(account->password) ||
        account->username[0] == '\0' || account->password[0] == '\0') {
        return FAIL(
            e, ERR_CONFIG,
            "the name and password of user %.63s must not be empty nor have control characters",
            account->username);
    }
    return 0;
}

static int step_check(struct postgres *pg, struct err *e)
{
    const struct config_postgresql *own = &pg->config->postgresql;
    int r = copy_check_place(pg, e);

    if (r < 0) {
        return r;
    }
    if (pg->look.state != SERVER_ABSENT) {
        return FAIL(e, ERR_CONFLICT, "%s is there already", pg->paths.data_dir);
    }
    if (pg->look.bin_dir[0] == '\0') {
        return FAIL(e, ERR_NOT_FOUND, "%s", pg->look.problem);
    }
    r = check_account(&own->superuser, e);
    if (r == 0) {
        r = check_account(&own->replication, e);
    }
    if (r == 0) {
        r = check_account(&own->rewind, e);
    }
    return r < 0 ? r : STEP_DONE;
}

static int step_prepare(struct postgres *pg, struct err *e)
{
    struct str line = STR_INIT(2 * SECRET_SIZE);

    ASSERT(e != NULL);
    str_addf(&line, "%s\n", pg->config->postgresql.superuser.password);
    return copy_prepare(pg, PASSWORD_FILE, str_take(&line));
}

/* ---- initdb ---- */

/* Options that the driver must own. */
static bool is_own_option(const char *option)
{
    static const char *const names[] = {"pgdata", "pwfile", "pwprompt", "username", "sync-only"};

    for (size_t at = 0; at < ARRAY_LEN(names); at++) {
        size_t length = strlen(names[at]);

        if (str_starts(option, names[at]) && (option[length] == '\0' || option[length] == '=')) {
            return true;
        }
    }
    return false;
}

static int step_initdb(struct postgres *pg, struct err *e)
{
    static char encoding[] = "encoding=UTF8";
    static char checksums[] = "data-checksums";
    static char *defaults[] = {encoding, checksums, NULL};
    AUTO(arena_free) struct arena *arena = arena_new(65536);
    const char *argv[ARGUMENTS_MAX + 1] = {NULL};
    char *const *options = pg->config->bootstrap.initdb;
    char program[PG_PATH_SIZE];
    size_t count = 0;

    pg_program(pg, "initdb", program);
    argv[count++] = program;
    argv[count++] = arena_format(arena, "--pgdata=%s/data", pg->paths.new_dir);
    argv[count++] = arena_format(arena, "--username=%s", pg->config->postgresql.superuser.username);
    argv[count++] = arena_format(arena, "--pwfile=%s/" PASSWORD_FILE, pg->paths.new_dir);
    argv[count++] = "--auth=scram-sha-256";
    for (options = options != NULL ? options : defaults; *options != NULL; options++) {
        if (count == ARGUMENTS_MAX) {
            return FAIL(e, ERR_CONFIG, "bootstrap.initdb has too many options");
        }
        if (!is_own_option(*options)) {
            argv[count++] = arena_format(arena, "--%s", *options);
        }
    }
    return pg_order_child(pg, argv, NULL, e);
}

/* ---- users ---- */

static void add_role(struct str *sql, const struct account *account, const char *attributes)
{
    str_add(sql, "CREATE ROLE ");
    quote_identifier(sql, account->username);
    str_addf(sql, " WITH LOGIN %s PASSWORD ", attributes);
    quote_literal(sql, account->password);
    str_add_char(sql, '\n');
}

/* What pg_rewind calls on its source (PostgreSQL's documentation of pg_rewind). */
static void add_rewind_rights(struct str *sql, const char *user)
{
    static const char *const functions[] = {
        "pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)",
        "pg_read_binary_file(text)", "pg_read_binary_file(text, bigint, bigint, boolean)"};

    for (size_t at = 0; at < ARRAY_LEN(functions); at++) {
        str_addf(sql, "GRANT EXECUTE ON FUNCTION pg_catalog.%s TO ", functions[at]);
        quote_identifier(sql, user);
        str_add_char(sql, '\n');
    }
}

/* One statement a line, as the single-user server reads them. */
static char *render_users(const struct config_postgresql *own)
{
    struct str sql = STR_INIT(SQL_MAX);
    const char *superuser = own->superuser.username;
    bool is_shared = str_equal(own->rewind.username, own->replication.username);

    if (!str_equal(own->replication.username, superuser)) {
        add_role(&sql, &own->replication, "REPLICATION");
    }
    if (!str_equal(own->rewind.username, superuser)) {
        if (!is_shared) {
            add_role(&sql, &own->rewind, "");
        }
        add_rewind_rights(&sql, own->rewind.username);
    }
    ASSERT(!sql.is_cut);
    return str_take(&sql);
}

int pg_order_single_user(
    struct postgres *pg, const char *folder, const struct parameters *parameters, struct err *e)
{
    static const char *const fixed[] = {
        "exit_on_error=true",
        "log_statement=none",
        "log_min_error_statement=panic",
        "log_min_duration_statement=-1",
        "log_checkpoints=off",
        "synchronous_standby_names=", /* nobody streams from it */
        "password_encryption=scram-sha-256"};
    AUTO(arena_free) struct arena *arena = arena_new(65536);
    const char *argv[SINGLE_ARGUMENTS_MAX];
    char program[PG_PATH_SIZE];
    size_t count = 0;

    pg_program(pg, "postgres", program);
    argv[count++] = program;
    argv[count++] = "--single";
    argv[count++] = "-D";
    argv[count++] = folder;
    for (size_t at = 0; at < ARRAY_LEN(fixed); at++) {
        argv[count++] = "-c";
        argv[count++] = fixed[at];
    }
    for (unsigned at = 0; at < parameters->count && count < SINGLE_ARGUMENTS_MAX - 4; at++) {
        const struct parameter *item = &parameters->items[at];

        if (item->is_shared && item->on_command_line) {
            argv[count++] = "-c";
            argv[count++] = arena_format(arena, "%s=%s", item->name, item->value);
        }
    }
    argv[count++] = "postgres";
    argv[count] = NULL;
    return pg_order_child(pg, argv, NULL, e);
}

/* The shared parameters come along: the single-user server writes them into the control file, where
 * initdb's are, and a standby cannot be started with less than what is there. */
static int step_users(struct postgres *pg, struct err *e)
{
    AUTO(arena_free) struct arena *arena = arena_new(PG_ARENA_LIMIT);
    struct parameters *parameters = arena_alloc(arena, sizeof(*parameters));
    bool has_store = pg->has_cluster && pg->cluster.has_config;
    json_t *first = has_store ? NULL : json_loads(pg->config->bootstrap.dcs_json, 0, NULL);
    const struct parameters_input input = {
        .config = pg->config,
        .store = has_store ? pg->store : first,
        .folder = pg->paths.runtime_dir,
        .data_dir = pg->paths.data_dir};
    char folder[PG_PATH_SIZE];

    parameters_assemble(arena, &input, parameters);
    json_decref(first);
    str_format(folder, sizeof(folder), "%s/data", pg->paths.new_dir);
    pg->order.input = render_users(&pg->config->postgresql);
    return pg_order_single_user(pg, folder, parameters, e);
}

const struct order_step pg_bootstrap_steps[] = {
    {"look", pg_order_look},
    {"check", step_check},
    {"prepare the folder", step_prepare},
    {"initdb", step_initdb},
    {"remove the password file", copy_step_clean},
    {"create users", step_users},
    {"move the data into place", copy_step_finish},
    {"look at the result", pg_order_look},
    {NULL, NULL},
};
