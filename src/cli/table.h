/* table.h - rows and columns, written as patronictl writes them: pretty, tsv, json, yaml. Private
 * to cli/.
 *
 * A pretty table has a frame with the title in its upper edge: ASCII as patronictl draws it, or
 * lines and bold heads on a terminal. json and yaml are lists of objects, cells that are empty
 * left out, numbers as numbers. */
#pragma once

#include "base/str.h"

#define TABLE_COLUMNS_MAX 16

struct table_column {
    const char *name; /* in tsv, json and yaml */
    const char *head; /* in a pretty table; NULL: not shown there */
    bool is_right;    /* aligned in a pretty table */
    bool is_number;   /* in json and yaml, when the cell is one */
};

struct table {
    unsigned column_count;
    struct table_column columns[TABLE_COLUMNS_MAX];
    unsigned row_count;
    char **cells; /* rows one after the other; owned */
};

enum table_format {
    TABLE_PRETTY,
    TABLE_TSV,
    TABLE_JSON,
    TABLE_YAML,
};

/* How a terminal wants it. */
struct table_style {
    bool has_lines; /* box drawing instead of ASCII */
    bool has_colour;
};

/* "pretty", "tsv", "json", "yaml" or "yml". */
bool table_format_parse(const char *name, enum table_format *ret);

/* Append LENGTH bytes of TEXT, control characters as spaces: what comes from another host must not
 * steer a terminal. */
void table_add_clean(struct str *out, const char *text, size_t length);

/* Start a row of empty cells; fill the cells of the last row. TEXT is copied, clean. */
void table_add_row(struct table *table);
void table_set(struct table *table, const char *column, const char *text);

/* Add the table to OUT. TITLE, with its spaces, is for a pretty one; STYLE too. */
void table_render(
    const struct table *table, enum table_format format, const char *title,
    struct table_style style, struct str *out);
/* Free the cells. */
void table_fini(struct table *table);
