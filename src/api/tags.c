#include "api/tags.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/codec.h"

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
    AUTO_FREE char *extra = config_extra_tags(config);
    json_auto_t *out = json_object();

    field_set_tags(out, "tags", &config->tags, extra);
    return is_value(json_object_get(json_object_get(out, "tags"), name), value);
}
