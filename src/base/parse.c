#include "base/parse.h"

#include "base/assert.h"
#include "base/str.h"

#include <ctype.h>
#include <strings.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* Reads digits at *TEXT; returns false on none or overflow. Moves *TEXT behind them. */
static bool read_digits(const char **text, unsigned base, uint64_t *ret)
{
    const char *at = *text;
    uint64_t value = 0;

    for (;; at++) {
        unsigned digit;

        if (*at >= '0' && *at <= '9') {
            digit = (unsigned)(*at - '0');
        } else if (base == 16 && isxdigit((unsigned char)*at)) {
            digit = (unsigned)(tolower((unsigned char)*at) - 'a') + 10;
        } else {
            break;
        }
        if (value > (UINT64_MAX - digit) / base) {
            return false;
        }
        value = value * base + digit;
    }
    if (at == *text) {
        return false;
    }
    *text = at;
    *ret = value;
    return true;
}

int parse_int(const char *text, int64_t min_value, int64_t max_value, int64_t *ret, struct err *e)
{
    const char *at = text;
    bool is_negative = *at == '-';
    uint64_t magnitude = 0;
    int64_t value;

    ASSERT(min_value <= max_value);
    if (*at == '-' || *at == '+') {
        at++;
    }
    if (!read_digits(&at, 10, &magnitude) || *at != '\0' || magnitude > INT64_MAX) {
        return FAIL(e, ERR_INVALID, "'%s' is not a whole number", text);
    }
    value = is_negative ? -(int64_t)magnitude : (int64_t)magnitude;
    if (value < min_value || value > max_value) {
        return FAIL(
            e, ERR_INVALID, "%s is not between %" PRId64 " and %" PRId64, text, min_value,
            max_value);
    }
    *ret = value;
    return 0;
}

int parse_u64(const char *text, uint64_t *ret, struct err *e)
{
    const char *at = text;
    uint64_t value = 0;

    if (!read_digits(&at, 10, &value) || *at != '\0') {
        return FAIL(e, ERR_INVALID, "'%s' is not an unsigned number", text);
    }
    *ret = value;
    return 0;
}

int parse_hex_u64(const char *text, uint64_t *ret, struct err *e)
{
    const char *at = text;
    uint64_t value = 0;

    if (!read_digits(&at, 16, &value) || *at != '\0') {
        return FAIL(e, ERR_INVALID, "'%s' is not a hexadecimal number", text);
    }
    *ret = value;
    return 0;
}

int parse_bool(const char *text, bool *ret, struct err *e)
{
    static const char *const yes[] = {"on", "true", "yes", "1"};
    static const char *const no[] = {"off", "false", "no", "0"};

    for (size_t at = 0; at < ARRAY_LEN(yes); at++) {
        if (strcasecmp(text, yes[at]) == 0) {
            *ret = true;
            return 0;
        }
        if (strcasecmp(text, no[at]) == 0) {
            *ret = false;
            return 0;
        }
    }
    return FAIL(e, ERR_INVALID, "'%s' is neither on nor off", text);
}

/* A number, perhaps with a fraction, times the factor of its unit; BARE_FACTOR when there is none.
 */
static bool read_quantity(
    const char *text, const struct unit *units, size_t count, int64_t bare_factor, double *ret)
{
    const char *at = text;
    uint64_t whole = 0;
    double value;
    double scale = 1;

    if (!read_digits(&at, 10, &whole)) {
        return false;
    }
    value = (double)whole;
    if (*at == '.') {
        for (at++; *at >= '0' && *at <= '9'; at++) {
            scale /= 10;
            value += (*at - '0') * scale;
        }
    }
    while (*at == ' ') {
        at++;
    }
    if (*at == '\0') {
        *ret = value * (double)bare_factor;
        return true;
    }
    for (size_t unit = 0; unit < count; unit++) {
        if (strcasecmp(at, units[unit].name) == 0) {
            *ret = value * (double)units[unit].factor;
            return true;
        }
    }
    return false;
}

int parse_bytes(const char *text, int64_t *ret_bytes, struct err *e)
{
    static const struct unit units[] = {
        {"B", 1},
        {"kB", INT64_C(1) << 10},
        {"MB", INT64_C(1) << 20},
        {"GB", INT64_C(1) << 30},
        {"TB", INT64_C(1) << 40}};
    double value = 0;

    if (!read_quantity(text, units, ARRAY_LEN(units), 1, &value) || value > 9e18) {
        return FAIL(e, ERR_INVALID, "'%s' is not a size\nhint: write 1048576 or 1MB", text);
    }
    *ret_bytes = (int64_t)value;
    return 0;
}

int parse_duration(const char *text, int64_t default_unit_ms, int64_t *ret_ms, struct err *e)
{
    static const struct unit units[] = {{"us", 1},         {"ms", 1000},
                                        {"s", 1000000},    {"min", 60000000},
                                        {"h", 3600000000}, {"d", INT64_C(86400000000)}};
    double value = 0;

    if (!read_quantity(text, units, ARRAY_LEN(units), default_unit_ms * 1000, &value) ||
        value > 9e18) {
        return FAIL(e, ERR_INVALID, "'%s' is not a duration\nhint: write 10, 10s or 500ms", text);
    }
    *ret_ms = (int64_t)(value / 1000);
    return 0;
}

/* Exactly COUNT digits at *TEXT, then SEPARATOR (or anything when 0). */
static bool read_field(const char **text, int count, char separator, int *ret)
{
    int value = 0;

    for (int at = 0; at < count; at++) {
        if (!isdigit((unsigned char)(*text)[at])) {
            return false;
        }
        value = value * 10 + ((*text)[at] - '0');
    }
    *text += count;
    if (separator != '\0') {
        if (**text != separator) {
            return false;
        }
        (*text)++;
    }
    *ret = value;
    return true;
}

/* Z, +hh, +hhmm or +hh:mm to seconds. */
static bool read_offset(const char *text, int *ret_seconds)
{
    int hours = 0;
    int minutes = 0;
    int sign = *text == '-' ? -1 : 1;

    if (strcmp(text, "Z") == 0) {
        *ret_seconds = 0;
        return true;
    }
    if (*text != '+' && *text != '-') {
        return false;
    }
    text++;
    if (!read_field(&text, 2, '\0', &hours)) {
        return false;
    }
    if (*text == ':') {
        text++;
    }
    if (*text != '\0' && (!read_field(&text, 2, '\0', &minutes) || *text != '\0')) {
        return false;
    }
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

int parse_timestamp(const char *text, int64_t *ret_real_ms, struct err *e)
{
    const char *at = text;
    struct tm tm = {0};
    int milliseconds = 0;
    int offset = 0;
    bool is_ok;

    is_ok = read_field(&at, 4, '-', &tm.tm_year) && read_field(&at, 2, '-', &tm.tm_mon) &&
            read_field(&at, 2, '\0', &tm.tm_mday) && (*at == 'T' || *at == ' ');
    if (is_ok) {
        at++;
        is_ok = read_field(&at, 2, ':', &tm.tm_hour) && read_field(&at, 2, ':', &tm.tm_min) &&
                read_field(&at, 2, '\0', &tm.tm_sec);
    }
    if (is_ok && *at == '.') {
        int weight = 100;

        for (at++; isdigit((unsigned char)*at); at++, weight /= 10) {
            milliseconds += (*at - '0') * weight;
        }
    }
    is_ok = is_ok && tm.tm_mon >= 1 && tm.tm_mon <= 12 && tm.tm_mday >= 1 && tm.tm_mday <= 31 &&
            tm.tm_hour <= 23 && tm.tm_min <= 59 && tm.tm_sec <= 60;
    if (!is_ok || !read_offset(at, &offset)) {
        return FAIL(
            e, ERR_INVALID,
            "'%s' is not a time with a time zone\nhint: write 2026-11-23T10:00:00+00:00", text);
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_real_ms = ((int64_t)timegm(&tm) - offset) * 1000 + milliseconds;
    return 0;
}

void format_timestamp(int64_t real_ms, char separator, char *buffer)
{
    int64_t days = real_ms / 86400000;
    time_t seconds = (time_t)(real_ms / 1000);
    struct tm tm = {0};
    char date[16] = "";
    char clock[16] = "";

    ASSERT(days >= 0);
    if (gmtime_r(&seconds, &tm) != NULL) {
        IGNORE(strftime(date, sizeof(date), "%Y-%m-%d", &tm) == 0, "fits");
        IGNORE(strftime(clock, sizeof(clock), "%H:%M:%S", &tm) == 0, "fits");
    }
    IGNORE(
        !str_format(
            buffer, TIMESTAMP_SIZE, "%s%c%s.%06d+00:00", date, separator, clock,
            (int)(real_ms % 1000) * 1000),
        "fits");
}
