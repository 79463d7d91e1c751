/* yaml.h - YAML to a tree of nodes with line numbers (libyaml's parser below).
 *
 * Scalars stay text: what a value means is decided by the option that reads it, so "no" and 010
 * hold no surprises. Refused with file line: duplicate keys, aliases and anchors, tags (!!str),
 * merge keys (<<), keys that are not plain text, more than one document, depth over YAML_DEPTH_MAX,
 * more than YAML_NODES_MAX nodes, tabs as indentation, NUL characters, anything but UTF-8. JSON is
 * YAML here too. */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#define YAML_DEPTH_MAX 16
#define YAML_NODES_MAX 20000
#define YAML_TEXT_MAX ((size_t)4 << 20)

enum yaml_kind {
    YAML_SCALAR,
    YAML_SEQUENCE,
    YAML_MAPPING,
};

struct yaml_node {
    enum yaml_kind kind;
    int line;                /* 1-based; in a mapping the line of the key */
    char *key;               /* in a mapping; NULL otherwise */
    char *text;              /* scalar; never NULL for one */
    bool is_quoted;          /* scalar in quotes or a block: certainly text */
    struct yaml_node *first; /* children, in order */
    struct yaml_node *next;
};

/* Parse LENGTH bytes. On failure ERR_CONFIG (ERR_LIMIT over YAML_TEXT_MAX), *ret_line names the
 * line. An empty document gives an empty mapping. */
MUST_CHECK int yaml_parse(
    const char *text, size_t length, struct yaml_node **ret, int *ret_line, struct err *e);
void yaml_node_free(struct yaml_node *node);
AUTO_DEFINE(struct yaml_node, yaml_node_free)

/* The short name. It must not become a symbol: libyaml exports a function called so, and would call
 * ours instead. */
#define yaml_free yaml_node_free
AUTO_DEFINE(struct yaml_node, yaml_free)

/* The child called KEY of a mapping, or NULL. */
const struct yaml_node *yaml_find(const struct yaml_node *mapping, const char *key);

/* The tree as compact JSON (mem_free): plain scalars become numbers, true/false, null where they
 * look like it in YAML 1.2 or Patroni's usage (on/off/yes/no stay booleans as PyYAML reads them);
 * quoted ones stay text, and so do numbers that readers disagree on (0600, 0x1F, 1_000) or that
 * JSON cannot hold (.inf, 2 to the power of 64). */
char *yaml_to_json(const struct yaml_node *node);
