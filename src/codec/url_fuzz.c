/* What was parsed, written again, must parse as the same. */
#include "codec/url.h"

#include "base/assert.h"
#include "base/mem.h"

#define ADDRESS_SIZE (URL_HOST_SIZE + 16)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_url(const char *text)
{
    struct url_parts parts;
    struct url_parts again;
    char address[ADDRESS_SIZE];
    char url[1024];

    if (url_parse(text, &parts, NULL) < 0) {
        return;
    }
    url_format_address(parts.host, parts.port, address, sizeof(address));
    ASSERT(str_format(url, sizeof(url), "%s://%s%s", parts.scheme, address, parts.path));
    ASSERT(url_parse(url, &again, NULL) == 0);
    ASSERT(str_equal(parts.scheme, again.scheme));
    ASSERT(str_equal(parts.host, again.host));
    ASSERT(str_equal(parts.path, again.path));
    ASSERT(parts.port == again.port);
}

static void check_address(const char *text)
{
    char host[URL_HOST_SIZE];
    char again[URL_HOST_SIZE];
    char address[ADDRESS_SIZE];
    int port = 0;
    int port_again = 0;

    if (url_parse_address(text, 5432, host, sizeof(host), &port, NULL) < 0) {
        return;
    }
    ASSERT(port >= 1 && port <= 65535);
    ASSERT(host[0] != '\0');
    if (strchr(host, ',') == NULL) {
        url_format_address(host, port, address, sizeof(address));
        ASSERT(url_parse_address(address, 1, again, sizeof(again), &port_again, NULL) == 0);
        ASSERT(str_equal(host, again));
        ASSERT(port == port_again);
    }
}

static void check_slot_name(const char *text)
{
    char slot[SLOT_NAME_SIZE];
    char again[SLOT_NAME_SIZE];

    url_slot_name(text, slot);
    ASSERT(strspn(slot, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(slot));
    url_slot_name(slot, again);
    ASSERT(str_equal(slot, again));
}

static void check_conninfo(const char *text)
{
    struct str out AUTO_STR = STR_INIT(1 << 20);
    size_t at = strlen("k='");

    url_add_conninfo(&out, "k", text);
    if (out.is_cut) {
        return;
    }
    /* As libpq reads it: a backslash takes the next byte as it is, a quote ends the value. */
    for (; *text != '\0'; text++, at++) {
        at += out.text[at] == '\\';
        ASSERT(out.text[at] == *text);
        ASSERT(*text != '\'' || out.text[at - 1] == '\\');
    }
    ASSERT(str_equal(out.text + at, "'"));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    AUTO_FREE char *text = mem_dup_length((const char *)bytes, size);

    check_url(text);
    check_address(text);
    check_slot_name(text);
    check_conninfo(text);
    return 0;
}
