#include "cli/table.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "codec/codec.h"

#include <ctype.h>

#define CELL_MAX 4096
#define BOLD "\033[1m"
#define PLAIN "\033[0m"

bool table_format_parse(const char *name, enum table_format *ret)
{
    static const struct {
        const char *name;
        enum table_format format;
    } rows[] = {
        {"pretty", TABLE_PRETTY}, {"tsv", TABLE_TSV},  {"json", TABLE_JSON},
        {"yaml", TABLE_YAML},     {"yml", TABLE_YAML},
    };

    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        if (str_equal(rows[at].name, name)) {
            *ret = rows[at].format;
            return true;
        }
    }
    return false;
}

void table_add_clean(struct str *out, const char *text, size_t length)
{
    for (size_t at = 0; at < length; at++) {
        unsigned char c = (unsigned char)text[at];

        str_add_char(out, c < ' ' || c == 0x7F ? ' ' : text[at]);
    }
}

void table_add_row(struct table *table)
{
    size_t count = (size_t)table->row_count * table->column_count;
    size_t total = count + table->column_count;

    table->cells = mem_resize(table->cells, total * sizeof(*table->cells));
    for (size_t at = count; at < total; at++) {
        table->cells[at] = mem_dup("");
    }
    table->row_count++;
}

static const char *cell(const struct table *table, unsigned row, unsigned column)
{
    return table->cells[(size_t)row * table->column_count + column];
}

void table_set(struct table *table, const char *column, const char *text)
{
    struct str clean AUTO_STR = STR_INIT(CELL_MAX);

    ASSERT(table->row_count > 0);
    for (unsigned at = 0; at < table->column_count; at++) {
        if (str_equal(table->columns[at].name, column)) {
            char **slot = &table->cells[(size_t)(table->row_count - 1) * table->column_count + at];

            table_add_clean(&clean, text, strlen(text));
            mem_free(*slot);
            *slot = str_take(&clean);
            return;
        }
    }
    ASSERT(column == NULL); /* no such column */
}

void table_fini(struct table *table)
{
    for (size_t at = 0; at < (size_t)table->row_count * table->column_count; at++) {
        mem_free(table->cells[at]);
    }
    table->cells = mem_free(table->cells);
    table->row_count = 0;
}

/* ---- pretty ---- */

/* Columns on the terminal: one per character, whatever its bytes in UTF-8. */
static unsigned width_of(const char *text)
{
    unsigned width = 0;

    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return width;
}

static unsigned column_width(const struct table *table, unsigned column)
{
    unsigned width = width_of(table->columns[column].head);

    for (unsigned row = 0; row < table->row_count; row++) {
        width = MAX(width, width_of(cell(table, row, column)));
    }
    return width;
}

struct edge {
    const char *left;
    const char *cross;
    const char *right;
    const char *line;
};

static void add_repeated(struct str *out, const char *text, unsigned count)
{
    for (unsigned at = 0; at < count; at++) {
        str_add(out, text);
    }
}

/* An edge, overlaid by TITLE from its second column on. */
static void add_edge(
    const struct table *table, const struct edge *edge, const char *title, struct str *out)
{
    unsigned hidden = width_of(title);
    bool is_first = true;

    str_add(out, edge->left);
    str_add(out, title);
    for (unsigned column = 0; column < table->column_count; column++) {
        unsigned width;

        if (table->columns[column].head == NULL) {
            continue;
        }
        width = column_width(table, column) + 2;
        if (!is_first) {
            if (hidden == 0) {
                str_add(out, edge->cross);
            } else {
                hidden--;
            }
        }
        is_first = false;
        add_repeated(out, edge->line, width - MIN(hidden, width));
        hidden -= MIN(hidden, width);
    }
    str_addf(out, "%s\n", hidden == 0 ? edge->right : "");
}

static void add_cell(
    const char *text, unsigned width, bool is_right, const char *bold, struct str *out)
{
    unsigned space = width - width_of(text);

    str_add_char(out, ' ');
    add_repeated(out, " ", is_right ? space : 0);
    str_addf(out, "%s%s%s", bold, text, bold[0] != '\0' ? PLAIN : "");
    add_repeated(out, " ", is_right ? 0 : space);
    str_add_char(out, ' ');
}

/* ROW -1 is the heads. */
static void add_row(const struct table *table, int row, struct table_style style, struct str *out)
{
    const char *bar = style.has_lines ? "│" : "|";

    for (unsigned column = 0; column < table->column_count; column++) {
        const struct table_column *shown = &table->columns[column];

        if (shown->head == NULL) {
            continue;
        }
        str_add(out, bar);
        add_cell(
            row < 0 ? shown->head : cell(table, (unsigned)row, column), column_width(table, column),
            row >= 0 && shown->is_right, row < 0 && style.has_colour ? BOLD : "", out);
    }
    str_addf(out, "%s\n", bar);
}

static void render_pretty(
    const struct table *table, const char *title, struct table_style style, struct str *out)
{
    static const struct edge ascii = {"+", "+", "+", "-"};
    static const struct edge top = {"┌", "┬", "┐", "─"};
    static const struct edge middle = {"├", "┼", "┤", "─"};
    static const struct edge bottom = {"└", "┴", "┘", "─"};

    add_edge(table, style.has_lines ? &top : &ascii, title, out);
    add_row(table, -1, style, out);
    add_edge(table, style.has_lines ? &middle : &ascii, "", out);
    for (unsigned row = 0; row < table->row_count; row++) {
        add_row(table, (int)row, style, out);
    }
    add_edge(table, style.has_lines ? &bottom : &ascii, "", out);
}

/* ---- for programs ---- */

static void render_tsv(const struct table *table, struct str *out)
{
    for (unsigned column = 0; column < table->column_count; column++) {
        str_addf(out, "%s%s", column > 0 ? "\t" : "", table->columns[column].name);
    }
    str_add_char(out, '\n');
    for (unsigned row = 0; row < table->row_count; row++) {
        for (unsigned column = 0; column < table->column_count; column++) {
            str_addf(out, "%s%s", column > 0 ? "\t" : "", cell(table, row, column));
        }
        str_add_char(out, '\n');
    }
}

static json_t *encode_cell(const struct table_column *column, const char *text)
{
    int64_t number = 0;

    if (column->is_number && parse_int(text, INT64_MIN, INT64_MAX, &number, NULL) == 0) {
        return json_integer(number);
    }
    return field_new_text(text);
}

static void render_json(const struct table *table, struct str *out)
{
    json_auto_t *rows = json_array();
    AUTO_FREE char *text = NULL;

    for (unsigned row = 0; row < table->row_count; row++) {
        json_t *object = json_object();

        for (unsigned column = 0; column < table->column_count; column++) {
            const char *value = cell(table, row, column);

            if (value[0] != '\0') {
                field_set(
                    object, table->columns[column].name,
                    encode_cell(&table->columns[column], value));
            }
        }
        field_append(rows, object);
    }
    text = field_write_spaced(rows);
    str_addf(out, "%s\n", text);
}

/* Text that YAML would not take for anything else. */
static bool is_plain(const char *text)
{
    bool ignored;

    if (!isalpha((unsigned char)text[0]) || parse_bool(text, &ignored, NULL) == 0 ||
        strcasecmp(text, "null") == 0 || strcasecmp(text, "y") == 0 || strcasecmp(text, "n") == 0) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (!isalnum((unsigned char)*text) && strchr("_-./ ", *text) == NULL) {
            return false;
        }
        if (*text == ' ' && text[1] == '\0') {
            return false;
        }
    }
    return true;
}

static void add_yaml(const struct table_column *column, const char *text, struct str *out)
{
    int64_t number = 0;

    if (is_plain(text) ||
        (column->is_number && parse_int(text, INT64_MIN, INT64_MAX, &number, NULL) == 0)) {
        str_add(out, text);
        return;
    }
    str_add_char(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            str_add_char(out, '\'');
        }
        str_add_char(out, *text);
    }
    str_add_char(out, '\'');
}

/* Keys in alphabetical order, as patronictl has them. */
static void render_yaml(const struct table *table, struct str *out)
{
    unsigned order[TABLE_COLUMNS_MAX];

    for (unsigned at = 0; at < table->column_count; at++) {
        unsigned to = at;

        while (to > 0 && strcmp(table->columns[order[to - 1]].name, table->columns[at].name) > 0) {
            order[to] = order[to - 1];
            to--;
        }
        order[to] = at;
    }
    for (unsigned row = 0; row < table->row_count; row++) {
        const char *prefix = "- ";

        for (unsigned at = 0; at < table->column_count; at++) {
            const struct table_column *column = &table->columns[order[at]];
            const char *text = cell(table, row, order[at]);

            if (text[0] != '\0') {
                str_addf(out, "%s%s: ", prefix, column->name);
                add_yaml(column, text, out);
                str_add_char(out, '\n');
                prefix = "  ";
            }
        }
        if (str_equal(prefix, "- ")) {
            str_add(out, "- {}\n");
        }
    }
    if (table->row_count == 0) {
        str_add(out, "[]\n");
    }
}

void table_render(
    const struct table *table, enum table_format format, const char *title,
    struct table_style style, struct str *out)
{
    ASSERT(table->column_count <= TABLE_COLUMNS_MAX);
    switch (format) {
    case TABLE_PRETTY:
        render_pretty(table, title, style, out);
        return;
    case TABLE_TSV:
        render_tsv(table, out);
        return;
    case TABLE_JSON:
        render_json(table, out);
        return;
    case TABLE_YAML:
        render_yaml(table, out);
        return;
    }
}
