#include "codec/url.h"

#include "base/assert.h"
#include "base/parse.h"

#include <ctype.h>

#define PORT_MAX 65535

/* Whether each of the LENGTH bytes is a letter, a digit or one of OTHERS. */
static bool has_only(const char *text, size_t length, const char *others)
{
    for (size_t at = 0; at < length; at++) {
        unsigned char c = (unsigned char)text[at];

        if (c == '\0' || c >= 0x80 || (!isalnum(c) && strchr(others, c) == NULL)) {
            return false;
        }
    }
    return true;
}

/* Move *TEXT over one host and append it to HOST, without brackets. */
static int read_host(const char **text, struct str *host, struct err *e)
{
    const char *start = *text;
    size_t length;

    if (*start == '[') {
        const char *close = strchr(start, ']');

        length = close != NULL ? (size_t)(close - start) - 1 : 0;
        /* With a zone: fe80::1%eth0. */
        if (length == 0 || !has_only(start + 1, length, ":.%_-") ||
            memchr(start + 1, ':', length) == NULL) {
            return FAIL(e, ERR_INVALID, "'%.256s' has no IPv6 address in its brackets", *text);
        }
        str_add_length(host, start + 1, length);
        *text = start + length + 2;
        return 0;
    }
    length = strcspn(start, ":,/");
    if (length == 0) {
        return FAIL(e, ERR_INVALID, "a host is missing before '%.256s'", start);
    }
    if (!has_only(start, length, "._-") && !(length == 1 && *start == '*')) {
        return FAIL(e, ERR_INVALID, "'%.*s' is not a host", (int)MIN(length, 256), start);
    }
    str_add_length(host, start, length);
    *text = start + length;
    return 0;
}

/* ":port" or nothing at all. */
static int read_port(const char *text, int default_port, int *ret, struct err *e)
{
    int64_t port = default_port;

    if (*text == ':') {
        if (!isdigit((unsigned char)text[1]) || parse_int(text + 1, 1, PORT_MAX, &port, NULL) < 0) {
            return FAIL(
                e, ERR_INVALID,
                "'%.256s' is not a port from 1 to %d\nhint: IPv6 addresses need brackets: "
                "[::1]:5432",
                text + 1, PORT_MAX);
        }
    } else if (*text != '\0') {
        return FAIL(e, ERR_INVALID, "'%.256s' follows the host instead of a port", text);
    }
    *ret = (int)port;
    return 0;
}

int url_parse_address(
    const char *text, int default_port, char *host, size_t host_size, int *ret_port, struct err *e)
{
    struct str hosts AUTO_STR = STR_INIT(URL_HOST_SIZE);
    const char *at = text;
    int port = 0;
    int r;

    ASSERT(default_port >= 0 && default_port <= PORT_MAX);
    r = read_host(&at, &hosts, e);
    while (r == 0 && *at == ',') {
        at++;
        at += strspn(at, " ");
        str_add_char(&hosts, ',');
        r = read_host(&at, &hosts, e);
    }
    if (r == 0) {
        r = read_port(at, default_port, &port, e);
    }
    if (r < 0) {
        return err_wrap(e, r, "the address '%.256s'", text);
    }
    if (hosts.is_cut || hosts.length >= host_size) {
        return FAIL(e, ERR_LIMIT, "the address '%.256s' is too long", text);
    }
    IGNORE(!str_copy(host, host_size, str_text(&hosts)), "measured");
    *ret_port = port;
    return 0;
}

/* The path and query behind the address: anything that can be sent as it is. */
static bool is_path(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text == 0x7F) {
            return false;
        }
    }
    return true;
}

int url_parse(const char *text, struct url_parts *ret, struct err *e)
{
    struct url_parts parts = {0};
    char address[URL_HOST_SIZE + 16] = "";
    const char *separator = strstr(text, "://");
    const char *start;
    size_t length;
    int r;

    if (separator == NULL || separator == text ||
        (size_t)(separator - text) >= sizeof(parts.scheme) ||
        !has_only(text, (size_t)(separator - text), "+.-")) {
        return FAIL(
            e, ERR_INVALID, "'%.256s' is not a URL\nhint: write http://host:port/path", text);
    }
    for (size_t at = 0; at < (size_t)(separator - text); at++) {
        parts.scheme[at] = (char)tolower((unsigned char)text[at]);
    }
    start = separator + 3;
    length = strcspn(start, "/");
    /* Not quoted in the message: it would be the secret. */
    if (memchr(start, '@', length) != NULL) {
        return FAIL(
            e, ERR_INVALID, "a URL of scheme %s names a user, which is refused", parts.scheme);
    }
    if (length >= sizeof(address) || memchr(start, ',', length) != NULL) {
        return FAIL(e, ERR_INVALID, "'%.256s' does not name one host", text);
    }
    memcpy(address, start, length);
    r = url_parse_address(address, 0, parts.host, sizeof(parts.host), &parts.port, e);
    if (r < 0) {
        return r;
    }
    if (!is_path(start + length) || !str_copy(parts.path, sizeof(parts.path), start + length)) {
        return FAIL(e, ERR_INVALID, "the path in '%.256s' is too long or has strange bytes", text);
    }
    *ret = parts;
    return 0;
}

void url_format_address(const char *host, int port, char *buffer, size_t size)
{
    bool is_ipv6 = strchr(host, ':') != NULL && strchr(host, ',') == NULL;
    char tail[16] = "";

    ASSERT(port >= 0 && port <= PORT_MAX);
    if (port != 0) {
        IGNORE(!str_format(tail, sizeof(tail), ":%d", port), "fits");
    }
    IGNORE(
        !str_format(buffer, size, "%s%s%s%s", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", tail),
        "the caller's size");
}

void url_add_conninfo(struct str *out, const char *key, const char *value)
{
    str_addf(out, "%s%s='", out->length > 0 ? " " : "", key);
    for (; *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\') {
            str_add_char(out, '\\');
        }
        str_add_char(out, *value);
    }
    str_add_char(out, '\'');
}

/* The code point at *TEXT, moving *TEXT behind it; a byte that is not UTF-8 stands for itself. */
static uint32_t read_code_point(const unsigned char **text)
{
    const unsigned char *at = *text;
    uint32_t point = *at++;
    int more = point >= 0xF0 ? 3 : point >= 0xE0 ? 2 : point >= 0xC0 ? 1 : 0;
    uint32_t value = point & (0x3FU >> more);

    for (int i = 0; i < more; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            more = 0;
            break;
        }
        value = value << 6 | (at[i] & 0x3F);
    }
    *text = at + more;
    return more > 0 ? value : point;
}

void url_slot_name(const char *member, char *buffer)
{
    struct str name AUTO_STR = STR_INIT((size_t)SLOT_NAME_SIZE * 4);
    const unsigned char *at = (const unsigned char *)member;

    while (*at != '\0' && name.length < SLOT_NAME_SIZE) {
        uint32_t c = read_code_point(&at);

        if (c == '-' || c == '.') {
            str_add_char(&name, '_');
        } else if (c == '_' || (c < 0x80 && isalnum((int)c))) {
            str_add_char(&name, (char)tolower((int)c));
        } else {
            str_addf(&name, "u%04" PRIu32, c);
        }
    }
    IGNORE(!str_copy(buffer, SLOT_NAME_SIZE, str_text(&name)), "cut at 63 bytes by contract");
}
