#include "config/config.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/parameter.h"
#include "config/settle.h"

#include <strings.h>

/* Escapes make six bytes of one at most. */
#define JSON_TEXT_MAX (8 * CONFIG_TEXT_MAX)

/* TEXT as a JSON string. */
static void add_json_text(struct str *out, const char *text)
{
    struct yaml_node node = {.kind = YAML_SCALAR, .is_quoted = true};

    AUTO_FREE char *copy = mem_dup(text);
    node.text = copy;
    AUTO_FREE char *json = yaml_to_json(&node);
    str_add(out, json);
}

/* Add the members of MAPPING (may be NULL) except the one called EXCEPT. */
static void add_json_members(
    struct str *out, const struct yaml_node *mapping, const char *except, bool *is_first)
{
    for (const struct yaml_node *node = mapping != NULL ? mapping->first : NULL; node != NULL;
         node = node->next) {
        if (str_equal(node->key, except)) {
            continue;
        }
        AUTO_FREE char *value = yaml_to_json(node);
        str_add(out, *is_first ? "" : ",");
        add_json_text(out, node->key);
        str_add_char(out, ':');
        str_add(out, value);
        *is_first = false;
    }
}

static const struct yaml_node *find_mapping(const struct yaml_node *mapping, const char *key)
{
    const struct yaml_node *node = mapping != NULL ? yaml_find(mapping, key) : NULL;

    return node != NULL && node->kind == YAML_MAPPING ? node : NULL;
}

static bool has_key(const struct yaml_node *mapping, const char *key)
{
    for (const struct yaml_node *node = mapping != NULL ? mapping->first : NULL; node != NULL;
         node = node->next) {
        if (strcasecmp(node->key, key) == 0) {
            return true;
        }
    }
    return false;
}

/* bootstrap.dcs as JSON. Parameters of the local part that count for the whole cluster join it
 * where it does not name them: Patroni would drop them, and the wal_keep_size that the file asks
 * for would be the default. */
static char *render_dcs(const struct reader *reader)
{
    const struct yaml_node *postgresql = find_mapping(reader->dcs, "postgresql");
    const struct yaml_node *parameters = find_mapping(postgresql, "parameters");
    struct str out AUTO_STR = STR_INIT(JSON_TEXT_MAX);
    bool is_first = true;

    if (reader->cluster_parameter_count == 0) {
        return reader->dcs != NULL ? yaml_to_json(reader->dcs) : mem_dup("{}");
    }
    str_add_char(&out, '{');
    add_json_members(&out, reader->dcs, "postgresql", &is_first);
    str_add(&out, is_first ? "\"postgresql\":{" : ",\"postgresql\":{");
    is_first = true;
    add_json_members(&out, postgresql, "parameters", &is_first);
    str_add(&out, is_first ? "\"parameters\":{" : ",\"parameters\":{");
    is_first = true;
    add_json_members(&out, parameters, "", &is_first);
    for (unsigned at = 0; at < reader->cluster_parameter_count; at++) {
        const struct yaml_node *node = reader->cluster_parameters[at];

        if (!has_key(parameters, node->key)) {
            AUTO_FREE char *value = yaml_to_json(node);
            str_add(&out, is_first ? "" : ",");
            add_json_text(&out, node->key);
            str_add_char(&out, ':');
            str_add(&out, value);
            is_first = false;
        }
    }
    str_add(&out, "}}}");
    ASSERT(!out.is_cut);
    return str_take(&out);
}

static void read_tree(
    struct reader *reader, const struct yaml_node *root, const char *const *environment,
    const char *host_name)
{
    struct config *config = reader->config;

    if (root->kind != YAML_MAPPING) {
        findings_add(
            reader->findings, FINDING_ERROR, reader->file, root->line,
            "not a configuration: expected KEY: VALUE lines");
        return;
    }
    reader_defaults(reader);
    reader_mapping(reader, root, "");
    reader_environment(reader, environment);
    config->postgresql.has_use_pg_rewind = reader_has(reader, "postgresql.use_pg_rewind");
    config->postgresql.has_use_slots = reader_has(reader, "postgresql.use_slots");
    settle(reader, host_name);
    mem_free(config->bootstrap.dcs_json);
    config->bootstrap.dcs_json = render_dcs(reader);
}

struct config *config_parse(
    const char *file, const char *text, const char *const *environment, const char *host_name,
    struct findings *findings)
{
    struct config *config = mem_alloc(sizeof(*config));
    struct yaml_node *root AUTO(yaml_node_free) = NULL;
    size_t length = strlen(text);
    struct err e = {0};
    int line = 0;

    struct reader *reader AUTO_FREE = mem_alloc(sizeof(*reader));
    *reader = (struct reader){
        .config = config,
        .findings = findings,
        .file = file,
        .shown_prefix = "",
        .scope = SCOPE_LOCAL,
    };
    config->bootstrap.dcs_json = mem_dup("{}");
    if (length > CONFIG_TEXT_MAX) {
        findings_add(findings, FINDING_ERROR, file, 0, "larger than %zu bytes", CONFIG_TEXT_MAX);
    } else if (yaml_parse(text, length, &root, &line, &e) < 0) {
        findings_add(findings, FINDING_ERROR, file, MAX(line, 0), "%s", err_text(&e));
    } else {
        read_tree(reader, root, environment, host_name);
    }
    findings_sort(findings);
    return config;
}

static void free_settings(struct setting_list *list)
{
    for (unsigned at = 0; at < list->count; at++) {
        mem_free(list->items[at].name);
        mem_free(list->items[at].value);
    }
    mem_free(list->items);
}

static void free_texts(text_list list)
{
    for (size_t at = 0; list != NULL && list[at] != NULL; at++) {
        mem_free(list[at]);
    }
    mem_free(list);
}

void config_free(struct config *config)
{
    if (config == NULL) {
        return;
    }
    free_settings(&config->postgresql.parameters);
    free_settings(&config->postgresql.recovery_conf);
    free_settings(&config->extra_tags);
    free_texts(config->postgresql.pg_hba);
    free_texts(config->postgresql.pg_ident);
    free_texts(config->fence.exempt);
    free_texts(config->bootstrap.initdb);
    free_texts(config->bootstrap.pg_hba);
    mem_free(config->bootstrap.dcs_json);
    mem_wipe(config, sizeof(*config));
    mem_free(config);
}

void config_settings_parse(
    const char *json, struct cluster_settings *ret, struct findings *findings)
{
    struct cluster_settings settings = CLUSTER_SETTINGS_DEFAULT;
    struct yaml_node *root AUTO(yaml_node_free) = NULL;
    struct err e = {0};
    int line = 0;

    struct reader *reader AUTO_FREE = mem_alloc(sizeof(*reader));
    *ret = settings;
    *reader = (struct reader){
        .settings = ret,
        .findings = findings,
        .file = "config",
        .shown_prefix = "",
        .scope = SCOPE_DYNAMIC,
        .is_store = true,
    };
    if (str_is_empty(json)) {
        return;
    }
    if (yaml_parse(json, strlen(json), &root, &line, &e) < 0) {
        findings_add(findings, FINDING_ERROR, "config", MAX(line, 0), "%s", err_text(&e));
    } else if (root->kind != YAML_MAPPING) {
        findings_add(findings, FINDING_ERROR, "config", 0, "not a JSON object");
    } else {
        reader_mapping(reader, root, "");
        reader_adjust_timeouts(reader);
    }
}

/* A tag as JSON means what it means in the file; that is yaml.h's decision. */
static json_t *decode_setting(const struct setting *setting)
{
    struct yaml_node node = {
        .kind = YAML_SCALAR, .line = 1, .text = setting->value, .is_quoted = setting->is_text};
    AUTO_FREE char *json = yaml_to_json(&node);
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);

    return value != NULL ? value : field_new_text(setting->value);
}

char *config_extra_tags(const struct config *config)
{
    json_auto_t *out = NULL;

    if (config->extra_tags.count == 0) {
        return NULL;
    }
    out = json_object();
    for (unsigned at = 0; at < config->extra_tags.count; at++) {
        const struct setting *setting = &config->extra_tags.items[at];

        field_set(out, setting->name, decode_setting(setting));
    }
    return field_write_compact(out);
}
