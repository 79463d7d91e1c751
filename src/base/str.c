#include "base/str.h"

#include "base/assert.h"
#include "base/mem.h"

#define DISTANCE_MAX 64

bool str_copy(char *buffer, size_t size, const char *text)
{
    size_t length = strlen(text);
    size_t copied = MIN(length, size - 1);

    ASSERT(size > 0);
    memmove(buffer, text, copied);
    buffer[copied] = '\0';
    return copied == length;
}

bool str_format(char *buffer, size_t size, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(buffer, size, format, args);
    va_end(args);
    return length >= 0 && (size_t)length < size;
}

bool str_equal(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return strcmp(a, b) == 0;
}

bool str_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *text, const char *suffix)
{
    size_t length = strlen(text);
    size_t tail = strlen(suffix);

    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

bool str_is_empty(const char *text)
{
    return text == NULL || text[0] == '\0';
}

unsigned str_distance(const char *a, const char *b)
{
    unsigned row[DISTANCE_MAX + 1];
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);

    if (a_length >= DISTANCE_MAX || b_length >= DISTANCE_MAX) {
        return DISTANCE_MAX;
    }
    for (size_t at = 0; at <= b_length; at++) {
        row[at] = (unsigned)at;
    }
    for (size_t i = 1; i <= a_length; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_length; j++) {
            unsigned change = diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U);

            diagonal = row[j];
            row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_length];
}

static bool make_room(struct str *s, size_t more)
{
    size_t wanted = s->length + more + 1;

    ASSERT(s->limit > 0);
    if (wanted > s->limit) {
        s->is_cut = true;
        return false;
    }
    if (wanted > s->size) {
        s->size = MIN(s->limit, MAX(wanted, s->size * 2));
        s->text = mem_resize(s->text, s->size);
    }
    return true;
}

void str_add_length(struct str *s, const char *text, size_t length)
{
    if (!make_room(s, length)) {
        return;
    }
    memcpy(s->text + s->length, text, length);
    s->length += length;
    s->text[s->length] = '\0';
}

void str_add(struct str *s, const char *text)
{
    str_add_length(s, text, strlen(text));
}

void str_add_char(struct str *s, char c)
{
    str_add_length(s, &c, 1);
}

void str_addf(struct str *s, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(length >= 0);
    if (!make_room(s, (size_t)length)) {
        return;
    }
    va_start(args, format);
    IGNORE(vsnprintf(s->text + s->length, (size_t)length + 1, format, args) != length, "measured");
    va_end(args);
    s->length += (size_t)length;
}

const char *str_text(struct str *s)
{
    return s->text != NULL ? s->text : "";
}

char *str_take(struct str *s)
{
    char *text = s->text != NULL ? s->text : mem_dup("");

    *s = (struct str)STR_INIT(s->limit);
    return text;
}

void str_clear(struct str *s)
{
    s->length = 0;
    s->is_cut = false;
    if (s->text != NULL) {
        s->text[0] = '\0';
    }
}

void str_fini(struct str *s)
{
    s->text = mem_free(s->text);
    s->length = 0;
    s->size = 0;
}
