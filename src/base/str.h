/* str.h - text: copies into fixed buffers, and a buffer that grows to a named limit. */
#pragma once

#include "base/base.h"

/* Copy TEXT into BUFFER of SIZE bytes, always terminated. True if it fitted whole. */
bool str_copy(char *buffer, size_t size, const char *text);

/* Format into BUFFER of SIZE bytes, always terminated. True if it fitted whole. */
bool str_format(char *buffer, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);

/* Comparisons that read as words. NULL equals only NULL. */
bool str_equal(const char *a, const char *b);
bool str_starts(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);
bool str_is_empty(const char *text); /* true for NULL too */

/* The number of single-letter edits that turn A into B (Levenshtein), for "did you mean". Texts
 * over 63 bytes count as far apart (returns 64). */
unsigned str_distance(const char *a, const char *b);

/* A growing text. Initialise with STR_INIT(limit). Past the limit nothing more is added and
 * `is_cut` is set: the caller decides what that means. `text` is always terminated and never NULL
 * after the first call. */
struct str {
    char *text;
    size_t length;
    size_t size;
    size_t limit;
    bool is_cut;
};
#define STR_INIT(limit_bytes) \
    { \
        .limit = (limit_bytes) \
    }

/* Append. */
void str_add(struct str *s, const char *text);
void str_add_length(struct str *s, const char *text, size_t length);
void str_add_char(struct str *s, char c);
void str_addf(struct str *s, const char *format, ...) PRINTF_LIKE(2, 3);

/* The text so far ("" when empty); owned by S. */
const char *str_text(struct str *s);

/* Hand the text to the caller (free with mem_free) and leave S empty. */
char *str_take(struct str *s);

/* Forget the content but keep the memory; free everything. */
void str_clear(struct str *s);
void str_fini(struct str *s);
#define AUTO_STR __attribute__((cleanup(str_fini)))
