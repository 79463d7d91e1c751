/* value.h - one value from one node, by the type of its option. */
#pragma once

#include "config/reader.h"

/* Check NODE against ROW and put it into its slot, if it has one. False after a finding. Not for
 * sections. */
bool value_read(struct reader *reader, const struct option *row, const struct yaml_node *node);

/* Whether NODE says what ROW's default says anyway. */
bool value_is_default(const struct option *row, const struct yaml_node *node);

/* "key:" with nothing behind it, null or ~: not set. */
bool value_is_empty(const struct yaml_node *node);

/* Add one to a list (copied). */
void value_add_setting(
    struct setting_list *list, const char *name, const char *value, bool is_text);
void value_add_text(text_list *list, const char *text);
