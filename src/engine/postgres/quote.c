#include "engine/postgres/quote.h"

#include "base/assert.h"

#define NAME_MAX_LENGTH 63

static bool has_control(const char *text, char allowed)
{
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;

        if ((c < 0x20 || c == 0x7f) && *at != allowed) {
            return true;
        }
    }
    return false;
}

bool quote_is_clean(const char *text)
{
    return text != NULL && !has_control(text, '\0');
}

bool quote_is_line(const char *text)
{
    return text != NULL && !has_control(text, '\t');
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool quote_is_parameter_name(const char *name)
{
    bool at_start = true;

    if (strlen(name) > NAME_MAX_LENGTH) {
        return false;
    }
    for (const char *at = name; *at != '\0'; at++) {
        if (at_start ? !is_letter(*at) : !is_letter(*at) && !is_digit(*at) && *at != '.') {
            return false;
        }
        at_start = *at == '.';
    }
    return !at_start;
}

/* TEXT between OPEN and OPEN, each of the characters in DOUBLED twice. */
static void add_doubled(struct str *out, char quote, const char *doubled, const char *text)
{
    ASSERT(quote_is_clean(text));
    str_add_char(out, quote);
    for (const char *at = text; *at != '\0'; at++) {
        if (strchr(doubled, *at) != NULL) {
            str_add_char(out, *at);
        }
        str_add_char(out, *at);
    }
    str_add_char(out, quote);
}

void quote_conf(struct str *out, const char *value)
{
    add_doubled(out, '\'', "'\\", value);
}

void quote_identifier(struct str *out, const char *name)
{
    add_doubled(out, '"', "\"", name);
}

void quote_literal(struct str *out, const char *text)
{
    if (strchr(text, '\\') != NULL) {
        str_add_char(out, 'E');
    }
    add_doubled(out, '\'', "'\\", text);
}

void quote_hba(struct str *out, const char *token)
{
    add_doubled(out, '"', "\"", token);
}

void quote_passfile(struct str *out, const char *field)
{
    ASSERT(quote_is_clean(field));
    for (const char *at = field; *at != '\0'; at++) {
        if (*at == ':' || *at == '\\') {
            str_add_char(out, '\\');
        }
        str_add_char(out, *at);
    }
}
