#include "api/tags.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/codec.h"

/* A tag as JSON means what it means in the file; that is yaml.h's decision. */
static json_t *decode_setting(const struct setting *setting)
{
    struct yaml_node node = {
        .kind = YAML_SCALAR, .line = 1, .text = setting->value, .is_quoted = setting->is_text};
    AUTO_FREE char *json = yaml_to_json(&node);
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);

    return value != NULL ? value : field_new_text(setting->value);
}

char *tags_encode_extra(const struct config *config)
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

/* The text that Patroni compares with: texts as they are, everything else as JSON writes it. */
static bool is_value(const json_t *tag, const char *value)
{
    AUTO_FREE char *text = NULL;

    if (tag == NULL || json_is_null(tag)) {
        return false;
    }
    if (json_is_string(tag)) {
        return str_equal(json_string_value(tag), value);
    }
    text = field_write_compact(tag);
    return str_equal(text, value);
}

bool tags_match(const struct config *config, const char *name, const char *value)
{
    AUTO_FREE char *extra = tags_encode_extra(config);
    json_auto_t *out = json_object();

    field_set_tags(out, "tags", &config->tags, extra);
    return is_value(json_object_get(json_object_get(out, "tags"), name), value);
}
