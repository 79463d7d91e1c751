#include "config/option.h"

#include "base/assert.h"
#include "base/str.h"

#define GROUP_SIZE 64

/* The heading that a row stands under. */
static void name_group(const struct option *row, char *group)
{
    if (row->scope == SCOPE_DYNAMIC) {
        str_copy(group, GROUP_SIZE, "dynamic");
    } else if (row->type == OPTION_SECTION || strchr(row->path, '.') != NULL) {
        str_format(group, GROUP_SIZE, "%.*s", (int)strcspn(row->path, "."), row->path);
    } else {
        str_copy(group, GROUP_SIZE, "general");
    }
}

/* A cell: a bar would end it. */
static void add_cell(struct str *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            str_add_char(out, '\\');
        }
        str_add_char(out, *text);
    }
}

static void add_default(struct str *out, const struct option *row)
{
    if (row->text_default != NULL) {
        str_addf(out, "`%s`", row->text_default);
    } else if (row->computed != NULL) {
        add_cell(out, row->computed);
    } else {
        str_add(out, row->is_required ? "required" : "none");
    }
}

static void add_row(struct str *out, const struct option *row)
{
    char type[OPTION_PATH_SIZE];

    str_addf(out, "| `%s` | ", row->path);
    add_cell(out, row->help);
    str_add(out, " | ");
    add_cell(out, option_type_text(row, type));
    str_add(out, " | ");
    add_default(out, row);
    str_addf(out, " | %s | ", option_reload_text(row->reload));
    if (row->environment != NULL) {
        str_addf(out, "`%s`", row->environment);
    }
    if (row->alias != NULL) {
        str_addf(out, " formerly `%s`", row->alias);
    }
    str_add(out, " |\n");
}

static void add_used(struct str *out)
{
    char previous[GROUP_SIZE] = "";

    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);
        char group[GROUP_SIZE];
        bool is_below = row->use == USE_FULL && row->local.size == 0 && row->dynamic.size == 0 &&
                        row->type != OPTION_SECTION && row->type != OPTION_ANY;

        name_group(row, group);
        if (row->use != USE_FULL || is_below) {
            continue;
        }
        if (!str_equal(group, previous)) {
            str_addf(
                out,
                "\n## %s\n\n| Key | What | Value | Default | A change | Variable |\n"
                "|---|---|---|---|---|---|\n",
                group);
            str_copy(previous, sizeof(previous), group);
        }
        add_row(out, row);
    }
}

static void add_unused(struct str *out, enum option_use use, const char *heading)
{
    str_addf(out, "\n## %s\n\n| Key | What | Instead |\n|---|---|---|\n", heading);
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);
        bool is_wanted = use == USE_REFUSED ? row->use == USE_REFUSED
                                            : row->use == USE_NOTE || row->use == USE_WARNING;

        if (is_wanted) {
            str_addf(out, "| `%s` | ", row->path);
            add_cell(out, row->help);
            str_add(out, " | ");
            add_cell(out, row->remark);
            str_add(out, " |\n");
        }
    }
}

/* Whether some required option stands below SECTION, so that its line cannot be a comment. */
static bool is_needed(const struct option *section)
{
    size_t length = strlen(section->path);

    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);

        if (row->is_required && str_starts(row->path, section->path) && row->path[length] == '.') {
            return true;
        }
    }
    return false;
}

/* "  key: value", as a comment unless it must be there; above it what it is, in a comment of two
 * signs. */
static void add_sample_row(struct str *out, const struct option *row, unsigned depth)
{
    const char *value = row->text_default != NULL ? row->text_default : row->example;
    bool is_active = row->type == OPTION_SECTION ? is_needed(row) : row->is_required;
    char indent[32] = "";

    ASSERT(depth * 2 < sizeof(indent));
    memset(indent, ' ', depth * 2);
    str_addf(out, "%s## %s", indent, row->help);
    if (row->computed != NULL) {
        str_addf(out, "; default: %s", row->computed);
    }
    str_addf(out, "\n%s%s%s:", is_active ? "" : "#", indent, option_name(row));
    if (value != NULL) {
        str_addf(out, " %s", value);
    }
    str_add_char(out, '\n');
}

static unsigned count_dots(const char *path)
{
    unsigned count = 0;

    for (; *path != '\0'; path++) {
        count += *path == '.';
    }
    return count;
}

static void add_sample(struct str *out)
{
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);
        bool is_etcd_v2 = str_equal(row->path, "etcd") || str_starts(row->path, "etcd.");
        bool has_value = row->local.size > 0 || row->type == OPTION_SECTION;

        if (row->use != USE_FULL || (row->scope & SCOPE_LOCAL) == 0 || is_etcd_v2 || !has_value) {
            continue;
        }
        add_sample_row(out, row, count_dots(row->path));
        for (unsigned dynamic = 0; row->type == OPTION_DCS && dynamic < option_count(); dynamic++) {
            const struct option *first = option_at(dynamic);

            if (first->use == USE_FULL && first->scope == SCOPE_DYNAMIC &&
                (first->dynamic.size > 0 || first->type == OPTION_SECTION)) {
                add_sample_row(out, first, 2 + count_dots(first->path));
            }
        }
    }
}

void config_render_reference(struct str *out)
{
    str_add(
        out, "# Configuration\n\n"
             "One YAML file a node, in Patroni's form: a Patroni file works as it is. Precedence, "
             "lowest first: defaults, the "
             "store's config key (dynamic options), the file, `PATRONI_*` variables. An unknown "
             "key is an error. Keys of the "
             "group `dynamic` count for the whole cluster: they stand under `bootstrap.dcs` when "
             "it is made, and afterwards in the store's key `config` "
             "(`/service/SCOPE/config`, as with Patroni), which "
             "is written as a whole: take what `GET /config` shows, change it, and "
             "`etcdctl put /service/SCOPE/config JSON`.\n");
    add_used(out);
    add_unused(out, USE_NOTE, "Known, without effect");
    add_unused(out, USE_REFUSED, "Refused");
    str_add(out, "\n## Sample\n\nEvery option with its default, or an example.\n\n```yaml\n");
    add_sample(out);
    str_add(out, "```\n");
}
