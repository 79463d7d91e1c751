/* The tree keeps its promises; and its JSON, which is YAML too, makes the same JSON again. */
#include "codec/yaml.h"

#include "base/assert.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool is_child(const struct yaml_node *parent, const struct yaml_node *child)
{
    return parent->kind == YAML_MAPPING
               ? child->key != NULL && yaml_find(parent, child->key) == child
               : parent->kind == YAML_SEQUENCE && child->key == NULL;
}

static unsigned check_node(const struct yaml_node *node, unsigned depth, int line_max)
{
    unsigned nodes = 1;

    ASSERT(depth <= YAML_DEPTH_MAX);
    ASSERT(node->line >= 1 && node->line <= line_max);
    ASSERT((node->kind == YAML_SCALAR) == (node->text != NULL));
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        ASSERT(is_child(node, child));
        nodes += check_node(child, depth + 1, line_max);
    }
    return nodes;
}

/* Lines as YAML counts them: CR, LF, CR LF, NEL, LS and PS end one. */
static int count_lines(const uint8_t *bytes, size_t size)
{
    int lines = 2;

    for (size_t at = 0; at < size; at++) {
        lines += bytes[at] == '\n' || bytes[at] == '\r' || bytes[at] == 0xC2 || bytes[at] == 0xE2;
    }
    return lines;
}

static void check_json(const struct yaml_node *root)
{
    AUTO_FREE char *json = yaml_to_json(root);
    AUTO_FREE char *again_json = NULL;
    struct yaml_node *again = NULL;
    int line = 0;

    if (yaml_parse(json, strlen(json), &again, &line, NULL) < 0) {
        /* libyaml refuses long keys on one line, and half of a surrogate pair, which jansson
         * writes. */
        ASSERT(strlen(json) > 1000 || strstr(json, "\\uD") != NULL);
        return;
    }
    again_json = yaml_to_json(again);
    ASSERT(str_equal(json, again_json));
    yaml_node_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct yaml_node *root = NULL;
    struct err e = {0};
    int line = 0;

    if (yaml_parse((const char *)bytes, size, &root, &line, &e) < 0) {
        ASSERT(root == NULL);
        ASSERT(e.text[0] != '\0');
        ASSERT(line >= 1);
        ASSERT(line <= count_lines(bytes, size));
        return 0;
    }
    ASSERT(check_node(root, 1, count_lines(bytes, size)) <= YAML_NODES_MAX);
    check_json(root);
    yaml_node_free(root);
    return 0;
}
