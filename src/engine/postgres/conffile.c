#include "engine/postgres/conffile.h"

#include "engine/postgres/quote.h"

#include <strings.h>

#define ARGUMENTS_MAX 40

/* Never taken from a file of the user: with a target the standby would stop and not follow. */
static const char *const targets[] = {
    "recovery_target",      "recovery_target_lsn", "recovery_target_name",
    "recovery_target_time", "recovery_target_xid",
};

static void add_setting(struct str *out, const char *name, const char *value)
{
    str_addf(out, "%s = ", name);
    quote_conf(out, value);
    str_add_char(out, '\n');
}

void conffile_render(
    const struct parameters *parameters, const struct conffile_upstream *upstream, struct str *out)
{
    str_add(out, CONFFILE_HEADER "\n");
    str_add(
        out, "# Own settings belong into baton's configuration or into postgresql.base.conf.\n");
    str_add(out, "include 'postgresql.base.conf'\n\n");
    for (unsigned at = 0; at < parameters->count; at++) {
        add_setting(out, parameters->items[at].name, parameters->items[at].value);
    }
    str_add_char(out, '\n');
    for (size_t at = 0; at < ARRAY_LEN(targets); at++) {
        add_setting(out, targets[at], "");
    }
    add_setting(out, "recovery_target_timeline", "latest");
    add_setting(out, "primary_conninfo", upstream->conninfo);
    add_setting(out, "primary_slot_name", upstream->slot);
    add_setting(out, "baton.upstream", upstream->name);
}

static void add_account(const struct account *account, struct str *out)
{
    if (account->username[0] == '\0' || !quote_is_clean(account->username) ||
        !quote_is_clean(account->password)) {
        return;
    }
    str_add(out, "*:*:*:");
    quote_passfile(out, account->username);
    str_add_char(out, ':');
    quote_passfile(out, account->password);
    str_add_char(out, '\n');
}

void conffile_render_passfile(const struct config_postgresql *config, struct str *out)
{
    add_account(&config->replication, out);
    add_account(&config->rewind, out);
    add_account(&config->superuser, out);
}

const char *const *conffile_command_line(
    struct arena *arena, const struct parameters *parameters, const char *program,
    const char *data_dir)
{
    const char **argv = arena_alloc(arena, (ARGUMENTS_MAX + 1) * sizeof(*argv));
    size_t count = 0;

    argv[count++] = program;
    argv[count++] = "-D";
    argv[count++] = data_dir;
    argv[count++] = arena_format(arena, "--config_file=%s/postgresql.conf", data_dir);
    for (unsigned at = 0; at < parameters->count && count < ARGUMENTS_MAX; at++) {
        const struct parameter *item = &parameters->items[at];

        if (item->on_command_line) {
            argv[count++] = arena_format(arena, "--%s=%s", item->name, item->value);
        }
    }
    return argv;
}

static bool is_name_end(char c)
{
    return c == ' ' || c == '\t' || c == '=';
}

static bool sets(const char *line, const char *name)
{
    return str_starts(line, name) && is_name_end(line[strlen(name)]);
}

static bool is_ours(const char *line)
{
    static const char *const names[] = {
        "recovery_target_timeline",
        "recovery_target_action",
        "recovery_target_inclusive",
        "primary_conninfo",
        "primary_slot_name",
        "hba_file",
        "ident_file"};

    for (size_t at = 0; at < ARRAY_LEN(names); at++) {
        if (sets(line, names[at])) {
            return true;
        }
    }
    for (size_t at = 0; at < ARRAY_LEN(targets); at++) {
        if (sets(line, targets[at])) {
            return true;
        }
    }
    return false;
}

void conffile_filter_auto(const char *text, bool is_start, bool is_sync_managed, struct str *out)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        length += text[length] == '\n' ? 1 : 0;
        if (!(is_start && is_ours(text)) &&
            !(is_sync_managed && sets(text, "synchronous_standby_names"))) {
            str_add_length(out, text, length);
        }
        text += length;
    }
}

/* VALUE is behind the name: spaces, perhaps an equals sign, then a word or a quoted text in which a
 * quote is doubled or has a backslash. */
static bool take_value(const char *value, size_t length, char *ret, size_t size)
{
    const char *end = value + length;
    size_t used = 0;
    bool is_quoted;

    while (value < end && is_name_end(*value)) {
        value++;
    }
    is_quoted = value < end && *value == '\'';
    value += is_quoted ? 1 : 0;
    while (value < end) {
        bool is_pair = is_quoted && value + 1 < end && (*value == '\'' || *value == '\\') &&
                       (value[1] == '\'' || *value == '\\');

        if (!is_pair && (is_quoted ? *value == '\'' : strchr(" \t\r#", *value) != NULL)) {
            break;
        }
        value += is_pair ? 1 : 0;
        if (used + 1 >= size) {
            return false;
        }
        ret[used++] = *value++;
    }
    ret[used] = '\0';
    return true;
}

bool conffile_find(const char *text, const char *name, char *ret, size_t size, bool *ret_includes)
{
    static const char *const includes[] = {"include", "include_dir", "include_if_exists"};
    bool is_found = false;

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        size_t space = strspn(text, " \t");

        if (strncasecmp(text + space, name, strlen(name)) == 0 &&
            is_name_end(text[space + strlen(name)])) {
            size_t skip = space + strlen(name);

            is_found = take_value(text + skip, length - skip, ret, size);
        }
        for (size_t at = 0; at < ARRAY_LEN(includes); at++) {
            if (ret_includes != NULL && sets(text + space, includes[at])) {
                *ret_includes = true;
            }
        }
        text += length + (text[length] == '\n' ? 1 : 0);
    }
    return is_found;
}
