#include "codec/yaml.h"

#include "base/assert.h"
#include "base/parse.h"
#include "base/str.h"
#include "codec/field.h"

#include <math.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    const char *text;
    size_t length;
    unsigned nodes;
    int line; /* of the failure */
    struct err *e;
};

static int line_of(yaml_mark_t mark)
{
    return (int)MIN(mark.line, (size_t)INT_MAX - 1) + 1;
}

/* libyaml names bytes that are not UTF-8 by offset only. */
static int line_at_offset(const struct reader *reader, size_t offset)
{
    int line = 1;

    for (size_t at = 0; at < MIN(offset, reader->length); at++) {
        line += reader->text[at] == '\n';
    }
    return line;
}

static int fail_at(struct reader *reader, yaml_mark_t mark, const char *sentence)
{
    reader->line = line_of(mark);
    return FAIL(reader->e, ERR_CONFIG, "%s", sentence);
}

/* The next event; the caller deletes it after 0. */
static int next_event(struct reader *reader, yaml_event_t *event)
{
    const yaml_parser_t *parser = &reader->parser;
    const char *problem;

    if (yaml_parser_parse(&reader->parser, event) != 0) {
        return 0;
    }
    problem = parser->problem != NULL ? parser->problem : "the text cannot be read";
    if (parser->error == YAML_READER_ERROR) {
        reader->line = line_at_offset(reader, parser->problem_offset);
        return FAIL(reader->e, ERR_CONFIG, "not UTF-8 text: %s", problem);
    }
    reader->line = line_of(parser->problem_mark);
    return FAIL(
        reader->e, ERR_CONFIG, "%s%s%s (column %zu)",
        parser->context != NULL ? parser->context : "", parser->context != NULL ? ": " : "",
        problem, parser->problem_mark.column + 1);
}

static int new_node(
    struct reader *reader, enum yaml_kind kind, yaml_mark_t mark, struct yaml_node **ret)
{
    if (reader->nodes == YAML_NODES_MAX) {
        return fail_at(reader, mark, "more values than a configuration can have");
    }
    reader->nodes++;
    *ret = mem_alloc(sizeof(**ret));
    (*ret)->kind = kind;
    (*ret)->line = line_of(mark);
    return 0;
}

/* What this codec does not take in a node of any kind. */
static int check_properties(struct reader *reader, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;

    if (event->type == YAML_ALIAS_EVENT) {
        return fail_at(reader, event->start_mark, "aliases (*name) are not supported");
    }
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (anchor != NULL) {
        return fail_at(reader, event->start_mark, "anchors (&name) are not supported");
    }
    if (tag != NULL) {
        return fail_at(reader, event->start_mark, "tags (!name) are not supported");
    }
    return 0;
}

static int read_scalar(struct reader *reader, const yaml_event_t *event, char **ret)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;

    if (memchr(value, '\0', length) != NULL) {
        return fail_at(reader, event->start_mark, "a text holds a NUL character");
    }
    *ret = mem_dup_length(value, length);
    return 0;
}

static int read_node(
    struct reader *reader, const yaml_event_t *event, unsigned depth, struct yaml_node **ret);

/* The value behind KEY becomes the next child. */
static int read_pair(
    struct reader *reader, const yaml_event_t *event, unsigned depth,
    const struct yaml_node *mapping, struct yaml_node **ret)
{
    AUTO_FREE char *key = NULL;
    const struct yaml_node *twin;
    yaml_event_t value;
    int line = line_of(event->start_mark);
    int r = check_properties(reader, event);

    if (r < 0) {
        return r;
    }
    if (event->type != YAML_SCALAR_EVENT || event->data.scalar.length == 0) {
        return fail_at(reader, event->start_mark, "a key must be a text");
    }
    r = read_scalar(reader, event, &key);
    if (r < 0) {
        return r;
    }
    if (str_equal(key, "<<")) {
        return fail_at(reader, event->start_mark, "merge keys (<<) are not supported");
    }
    twin = yaml_find(mapping, key);
    if (twin != NULL) {
        reader->line = line;
        return FAIL(
            reader->e, ERR_CONFIG, "the key '%.128s' is there already, in line %d", key,
            twin->line);
    }
    r = next_event(reader, &value);
    if (r < 0) {
        return r;
    }
    r = read_node(reader, &value, depth, ret);
    yaml_event_delete(&value);
    if (r == 0) {
        (*ret)->key = TAKE(key);
        (*ret)->line = line;
    }
    return r;
}

static int read_children(struct reader *reader, unsigned depth, struct yaml_node *parent)
{
    struct yaml_node **tail = &parent->first;
    yaml_event_type_t end =
        parent->kind == YAML_MAPPING ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;

    for (;;) {
        yaml_event_t event;
        bool is_end;
        int r = next_event(reader, &event);

        if (r < 0) {
            return r;
        }
        is_end = event.type == end;
        if (!is_end) {
            r = parent->kind == YAML_MAPPING ? read_pair(reader, &event, depth + 1, parent, tail)
                                             : read_node(reader, &event, depth + 1, tail);
        }
        yaml_event_delete(&event);
        if (r < 0 || is_end) {
            return r;
        }
        tail = &(*tail)->next;
    }
}

static int read_node(
    struct reader *reader, const yaml_event_t *event, unsigned depth, struct yaml_node **ret)
{
    AUTO(yaml_node_free) struct yaml_node *node = NULL;
    enum yaml_kind kind = event->type == YAML_SCALAR_EVENT           ? YAML_SCALAR
                          : event->type == YAML_SEQUENCE_START_EVENT ? YAML_SEQUENCE
                                                                     : YAML_MAPPING;
    int r = check_properties(reader, event);

    if (r < 0) {
        return r;
    }
    if (depth > YAML_DEPTH_MAX) {
        return fail_at(reader, event->start_mark, "nested too deeply");
    }
    r = new_node(reader, kind, event->start_mark, &node);
    if (r < 0) {
        return r;
    }
    if (kind == YAML_SCALAR) {
        node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        r = read_scalar(reader, event, &node->text);
    } else {
        r = read_children(reader, depth, node);
    }
    if (r == 0) {
        *ret = TAKE(node);
    }
    return r;
}

/* One document, or none. */
static int read_stream(struct reader *reader, struct yaml_node **ret)
{
    AUTO(yaml_node_free) struct yaml_node *root = NULL;
    unsigned documents = 0;

    for (;;) {
        yaml_event_t event;
        yaml_event_type_t type;
        int r = next_event(reader, &event);

        if (r < 0) {
            return r;
        }
        type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT) {
            documents++;
            r = documents > 1 ? fail_at(reader, event.start_mark, "a second document begins") : 0;
        } else if (
            type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_END_EVENT &&
            type != YAML_STREAM_END_EVENT) {
            r = read_node(reader, &event, 1, &root);
        }
        yaml_event_delete(&event);
        if (r < 0) {
            return r;
        }
        if (type == YAML_STREAM_END_EVENT) {
            break;
        }
    }
    if (root == NULL || (root->kind == YAML_SCALAR && !root->is_quoted && root->text[0] == '\0')) {
        yaml_node_free(root);
        root = mem_alloc(sizeof(*root));
        root->kind = YAML_MAPPING;
        root->line = 1;
    }
    *ret = TAKE(root);
    return 0;
}

int yaml_parse(
    const char *text, size_t length, struct yaml_node **ret, int *ret_line, struct err *e)
{
    struct reader reader = {.text = text, .length = length, .line = 1, .e = e};
    int r;

    *ret = NULL;
    *ret_line = 0;
    if (length > YAML_TEXT_MAX) {
        *ret_line = 1;
        return FAIL(e, ERR_LIMIT, "the text is larger than %zu bytes", YAML_TEXT_MAX);
    }
    r = yaml_parser_initialize(&reader.parser);
    ASSERT(r != 0);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, length);
    r = read_stream(&reader, ret);
    yaml_parser_delete(&reader.parser);
    if (r < 0) {
        *ret_line = reader.line;
    }
    return r;
}

void yaml_node_free(struct yaml_node *node)
{
    /* Children by depth, which is bounded; siblings by a loop, as there may be thousands. */
    while (node != NULL) {
        struct yaml_node *next = node->next;

        yaml_node_free(node->first);
        mem_free(node->key);
        mem_free(node->text);
        mem_free(node);
        node = next;
    }
}

const struct yaml_node *yaml_find(const struct yaml_node *mapping, const char *key)
{
    ASSERT(mapping->kind == YAML_MAPPING);
    for (const struct yaml_node *child = mapping->first; child != NULL; child = child->next) {
        if (str_equal(child->key, key)) {
            return child;
        }
    }
    return NULL;
}

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        if (str_equal(text, words[at])) {
            return true;
        }
    }
    return false;
}

/* The whole number that TEXT certainly is. Leading zeros would mean eight to one reader and ten to
 * another. */
static bool read_integer(const char *text, int64_t *ret)
{
    const char *digits = text + (*text == '-' || *text == '+');

    return (digits[0] != '0' || digits[1] == '\0') &&
           parse_int(text, INT64_MIN, INT64_MAX, ret, NULL) == 0;
}

static size_t count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* YAML 1.2: [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?, and not a whole number or one with
 * leading zeros. */
static bool read_real(const char *text, double *ret)
{
    const char *at = text + (*text == '-' || *text == '+');
    size_t whole = count_digits(at);
    bool has_mark = false;

    if (whole > 1 && at[0] == '0') {
        return false;
    }
    at += whole;
    if (*at == '.') {
        size_t fraction = count_digits(at + 1);

        if (whole + fraction == 0) {
            return false;
        }
        at += 1 + fraction;
        has_mark = true;
    } else if (whole == 0) {
        return false;
    }
    if (*at == 'e' || *at == 'E') {
        size_t digits;

        at++;
        at += *at == '-' || *at == '+';
        digits = count_digits(at);
        if (digits == 0) {
            return false;
        }
        at += digits;
        has_mark = true;
    }
    if (*at != '\0' || !has_mark) {
        return false;
    }
    *ret = strtod(text, NULL);
    return isfinite(*ret) != 0;
}

static json_t *scalar_to_json(const struct yaml_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes",
                                      "YES",  "on",   "On",   "ON"};
    static const char *const no[] = {"false", "False", "FALSE", "no", "No",
                                     "NO",    "off",   "Off",   "OFF"};
    int64_t integer = 0;
    double real = 0;

    if (node->is_quoted) {
        return field_new_text(node->text);
    }
    if (is_one_of(node->text, nulls, ARRAY_LEN(nulls))) {
        return json_null();
    }
    if (is_one_of(node->text, yes, ARRAY_LEN(yes))) {
        return json_true();
    }
    if (is_one_of(node->text, no, ARRAY_LEN(no))) {
        return json_false();
    }
    if (read_integer(node->text, &integer)) {
        return json_integer(integer);
    }
    if (read_real(node->text, &real)) {
        return json_real(real);
    }
    return field_new_text(node->text);
}

static json_t *node_to_json(const struct yaml_node *node)
{
    json_t *out;

    if (node->kind == YAML_SCALAR) {
        return scalar_to_json(node);
    }
    out = node->kind == YAML_MAPPING ? json_object() : json_array();
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        if (node->kind == YAML_MAPPING) {
            field_set(out, child->key, node_to_json(child));
        } else {
            field_append(out, node_to_json(child));
        }
    }
    return out;
}

char *yaml_to_json(const struct yaml_node *node)
{
    json_auto_t *value = node_to_json(node);

    return field_write_compact(value);
}
