#include "config/reader.h"

#include "base/assert.h"
#include "base/str.h"
#include "config/value.h"

#define VARIABLE_PREFIX "PATRONI_"

void reader_finding(
    struct reader *reader, enum finding_severity severity, int line, const char *format, ...)
{
    char text[sizeof(reader->findings->items[0].text)];
    va_list arguments;

    va_start(arguments, format);
    IGNORE(
        vsnprintf(text, sizeof(text), format, arguments) < 0,
        "a format of this program, cut to the size of the text");
    va_end(arguments);
    findings_add(
        reader->findings, severity, reader->is_environment ? "environment" : reader->file,
        MAX(line, 0), "%s: %s", reader->where, text);
}

int reader_line(const struct reader *reader, const char *path)
{
    const struct option *row = option_find(path, NULL);

    ASSERT(row != NULL);
    return MAX(reader->lines[option_index(row)], 0);
}

bool reader_has(const struct reader *reader, const char *path)
{
    const struct option *row = option_find(path, NULL);

    ASSERT(row != NULL);
    return reader->lines[option_index(row)] != 0;
}

bool reader_has_below(const struct reader *reader, const char *section)
{
    size_t length = strlen(section);

    for (unsigned at = 0; at < option_count(); at++) {
        const char *path = option_at(at)->path;

        if (reader->lines[at] != 0 && str_starts(path, section) &&
            (path[length] == '\0' || path[length] == '.')) {
            return true;
        }
    }
    return false;
}

void *reader_slot(const struct reader *reader, const struct option *row)
{
    if (reader->scope == SCOPE_DYNAMIC) {
        return row->dynamic.size > 0 ? (char *)reader->settings + row->dynamic.offset : NULL;
    }
    return row->local.size > 0 ? (char *)reader->config + row->local.offset : NULL;
}

/* Whether KEY is the section of a way to make replicas or clusters, whose name is free: they all
 * have a command. */
static bool is_method(const char *section, const struct yaml_node *node)
{
    return (str_equal(section, "postgresql.") || str_equal(section, "bootstrap.")) &&
           node->kind == YAML_MAPPING && yaml_find(node, "command") != NULL;
}

static void report_unknown(struct reader *reader, const char *section, const struct yaml_node *node)
{
    const struct option *near = option_nearest(section, node->key, reader->scope);
    size_t length = strcspn(node->key, ":=");

    if (reader->is_store) {
        return;
    }
    if (is_method(section, node)) {
        reader_finding(
            reader, FINDING_WARNING, node->line,
            "a method of your own, not used: baton clones by streaming and begins with initdb");
    } else if (node->key[length] != '\0') {
        /* What follows may be a password. */
        str_format(
            reader->where, sizeof(reader->where), "%s%s%.*s", reader->shown_prefix, section,
            (int)MIN(length, 40), node->key);
        reader_finding(
            reader, FINDING_ERROR, node->line,
            "unknown key: after a name come a colon, a space and the value");
    } else if (near == NULL) {
        reader_finding(reader, FINDING_ERROR, node->line, "unknown key");
    } else if (str_equal(option_name(near), node->key)) {
        reader_finding(
            reader, FINDING_ERROR, node->line, "unknown key here, did you mean %s%s?",
            reader->shown_prefix, near->path);
    } else {
        reader_finding(
            reader, FINDING_ERROR, node->line, "unknown key, did you mean %s?", option_name(near));
    }
}

/* A known key in the wrong half: Patroni drops those silently. */
static void report_misplaced(struct reader *reader, const struct yaml_node *node)
{
    if (reader->is_store) {
        return;
    }
    if (reader->scope == SCOPE_LOCAL) {
        reader_finding(
            reader, FINDING_WARNING, node->line,
            "no effect here, it counts for the whole cluster: write it under bootstrap.dcs, or, "
            "when "
            "the cluster exists, " CHANGE_LATER);
    } else {
        reader_finding(
            reader, FINDING_WARNING, node->line,
            "no effect here, it is each node's own: write it outside of bootstrap.dcs");
    }
}

static void read_section(
    struct reader *reader, const struct option *row, const struct yaml_node *node)
{
    bool was_quiet = reader->is_quiet;
    char section[OPTION_PATH_SIZE];

    if (node->kind != YAML_MAPPING) {
        reader_finding(
            reader, FINDING_ERROR, node->line, "expected a section (further keys, indented)");
        return;
    }
    reader->is_quiet = was_quiet || row->use != USE_FULL;
    str_format(section, sizeof(section), "%s.", row->path);
    reader_mapping(reader, node, section);
    reader->is_quiet = was_quiet;
}

/* bootstrap.dcs: the dynamic rows, into settings that are thrown away. */
static void read_dcs(struct reader *reader, const struct yaml_node *node)
{
    struct cluster_settings settings = CLUSTER_SETTINGS_DEFAULT;

    if (node->kind != YAML_MAPPING) {
        reader_finding(
            reader, FINDING_ERROR, node->line, "expected a section (further keys, indented)");
        return;
    }
    reader->dcs = node;
    reader->settings = &settings;
    reader->scope = SCOPE_DYNAMIC;
    reader->shown_prefix = "bootstrap.dcs.";
    reader_mapping(reader, node, "");
    reader_adjust_timeouts(reader);
    reader->settings = NULL;
    reader->scope = SCOPE_LOCAL;
    reader->shown_prefix = "";
}

static void report_idle(
    struct reader *reader, const struct option *row, const struct yaml_node *node)
{
    /* The store's config key is read again and again: harmless things are not repeated. */
    bool is_idle = row->use == USE_WARNING || (row->use == USE_NOTE && !reader->is_store);

    if (is_idle && !reader->is_quiet && !value_is_default(row, node)) {
        reader_finding(
            reader, row->use == USE_NOTE ? FINDING_NOTE : FINDING_WARNING, node->line,
            "not used by baton: %s", row->remark);
    }
}

void reader_option(struct reader *reader, const struct option *row, const struct yaml_node *node)
{
    char where[WHERE_SIZE];

    if (value_is_empty(node) && row->type != OPTION_SECTION) {
        return;
    }
    if (row->use == USE_REFUSED) {
        reader_finding(reader, FINDING_ERROR, node->line, "not supported: %s", row->remark);
        return;
    }
    str_copy(where, sizeof(where), reader->where);
    if (!reader->is_default) {
        reader->lines[option_index(row)] = reader->is_environment ? LINE_ENVIRONMENT : node->line;
    }
    if (value_is_empty(node)) {
        return;
    }
    if (row->type == OPTION_SECTION) {
        read_section(reader, row, node);
    } else if (row->type == OPTION_DCS) {
        read_dcs(reader, node);
    } else if (!value_read(reader, row, node)) {
        return;
    }
    str_copy(reader->where, sizeof(reader->where), where);
    report_idle(reader, row, node);
}

/* A further name in an open section (a tag of the operator's own). */
static void read_open(
    struct reader *reader, const struct option *section, const struct yaml_node *node)
{
    struct setting_list *list = reader_slot(reader, section);

    if (node->kind != YAML_SCALAR) {
        reader_finding(
            reader, FINDING_ERROR, node->line, "expected a text, a number or true or false");
    } else if (list != NULL && !value_is_empty(node)) {
        value_add_setting(list, node->key, node->text, node->is_quoted);
    }
}

static void read_child(
    struct reader *reader, const struct yaml_node *mapping, const struct yaml_node *node,
    const char *section)
{
    char path[OPTION_PATH_SIZE];
    bool fits = str_format(path, sizeof(path), "%s%s", section, node->key);
    bool is_alias = false;
    const struct option *row = fits ? option_find(path, &is_alias) : NULL;

    str_format(
        reader->where, sizeof(reader->where), "%s%s%.64s", reader->shown_prefix, section,
        node->key);
    if (row == NULL) {
        const struct option *parent = NULL;

        str_copy(path, MIN(sizeof(path), MAX(strlen(section), 1)), section);
        parent = option_find(path, NULL);
        if (parent != NULL && parent->is_open) {
            read_open(reader, parent, node);
        } else {
            report_unknown(reader, section, node);
        }
        return;
    }
    if ((row->scope & reader->scope) == 0) {
        report_misplaced(reader, node);
        return;
    }
    if (is_alias && yaml_find(mapping, option_name(row)) != NULL) {
        reader_finding(
            reader, FINDING_WARNING, node->line, "former name of %s, which is set too and wins",
            option_name(row));
        return;
    }
    reader_option(reader, row, node);
}

void reader_mapping(struct reader *reader, const struct yaml_node *mapping, const char *section)
{
    ASSERT(mapping->kind == YAML_MAPPING);
    for (const struct yaml_node *node = mapping->first; node != NULL; node = node->next) {
        read_child(reader, mapping, node, section);
    }
}

void reader_defaults(struct reader *reader)
{
    reader->is_default = true;
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);

        if (row->text_default != NULL && reader_slot(reader, row) != NULL) {
            struct yaml_node node = {.kind = YAML_SCALAR};

            AUTO_FREE char *text = mem_dup(row->text_default);
            node.text = text;
            str_copy(reader->where, sizeof(reader->where), row->path);
            reader_option(reader, row, &node);
        }
    }
    reader->is_default = false;
}

static void report_variable(struct reader *reader)
{
    const char *near = option_nearest_variable(reader->where);

    if (str_ends(reader->where, "_PASSWORD") || str_ends(reader->where, "_OPTIONS")) {
        reader_finding(
            reader, FINDING_WARNING, 0,
            "not used by baton: accounts of your own are made with SQL (Patroni 4 removed this)");
    } else if (near != NULL) {
        reader_finding(reader, FINDING_WARNING, 0, "unknown variable, did you mean %s?", near);
    } else {
        reader_finding(reader, FINDING_WARNING, 0, "unknown variable");
    }
}

/* Types whose text form in the environment Patroni parses in its own way; no row with an effect has
 * one. */
static bool is_structure(const struct option *row)
{
    return row->type == OPTION_ANY || row->type == OPTION_LIST || row->type == OPTION_MAP;
}

/* A key of an idle section: the variable alone must be reported as well. */
static void report_below(struct reader *reader, const struct option *row)
{
    char section[OPTION_PATH_SIZE];
    const char *dot = strrchr(row->path, '.');
    const struct option *parent;

    if (dot == NULL || row->use != USE_FULL || row->local.size > 0) {
        return;
    }
    str_format(section, sizeof(section), "%.*s", (int)(dot - row->path), row->path);
    parent = option_find(section, NULL);
    ASSERT(parent != NULL && parent->remark != NULL);
    reader_finding(reader, FINDING_WARNING, 0, "not used by baton: %s", parent->remark);
}

static void read_variable(struct reader *reader, const char *variable, const char *value)
{
    const struct option *row = option_find_variable(variable, (size_t)(value - variable));
    struct yaml_node node = {.kind = YAML_SCALAR, .is_quoted = true};

    AUTO_FREE char *text = mem_dup(value + 1);
    node.text = text;
    str_format(
        reader->where, sizeof(reader->where), "%.*s", (int)MIN(value - variable, 100), variable);
    if (row == NULL) {
        report_variable(reader);
    } else if (row->use != USE_REFUSED && is_structure(row)) {
        report_idle(reader, row, &node);
    } else {
        reader_option(reader, row, &node);
        report_below(reader, row);
    }
}

void reader_environment(struct reader *reader, const char *const *environment)
{
    reader->is_environment = true;
    for (size_t at = 0; environment != NULL && environment[at] != NULL; at++) {
        const char *value = strchr(environment[at], '=');

        /* An empty variable is as good as none, as in Patroni. PATRONI_CONFIGURATION is the
         * caller's business. */
        if (str_starts(environment[at], VARIABLE_PREFIX) && value != NULL && value[1] != '\0' &&
            !str_starts(environment[at], VARIABLE_PREFIX "CONFIGURATION=")) {
            read_variable(reader, environment[at], value);
        }
    }
    reader->is_environment = false;
}

void reader_adjust_timeouts(struct reader *reader)
{
    const int64_t min_loop_wait_ms = 1000;
    struct cluster_settings *settings = reader->settings;
    int64_t spare_ms = settings->ttl_ms - 2 * settings->retry_timeout_ms;
    int line = reader_line(reader, "ttl");

    if (settings->loop_wait_ms <= spare_ms) {
        return;
    }
    if (spare_ms >= min_loop_wait_ms) {
        settings->loop_wait_ms = spare_ms;
    } else {
        settings->loop_wait_ms = min_loop_wait_ms;
        settings->retry_timeout_ms = (settings->ttl_ms - min_loop_wait_ms) / 2;
    }
    str_format(reader->where, sizeof(reader->where), "%sttl", reader->shown_prefix);
    reader_finding(
        reader, FINDING_WARNING, line,
        "less than loop_wait + 2 * retry_timeout: taken as loop_wait %" PRId64
        " ms and retry_timeout %" PRId64 " ms",
        settings->loop_wait_ms, settings->retry_timeout_ms);
    ASSERT(settings->loop_wait_ms + 2 * settings->retry_timeout_ms <= settings->ttl_ms);
}
