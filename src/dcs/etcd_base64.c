#include "base/assert.h"
#include "base/mem.h"
#include "dcs/etcd_wire.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void etcd_wire_base64(struct str *out, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;

    while (length > 0) {
        size_t taken = MIN(length, (size_t)3);
        uint32_t bits = (uint32_t)at[0] << 16 | (taken > 1 ? (uint32_t)at[1] << 8 : 0) |
                        (taken > 2 ? (uint32_t)at[2] : 0);
        char group[4] = {
            alphabet[bits >> 18], alphabet[bits >> 12 & 63],
            taken > 1 ? alphabet[bits >> 6 & 63] : '=', taken > 2 ? alphabet[bits & 63] : '='};

        str_add_length(out, group, sizeof(group));
        at += taken;
        length -= taken;
    }
}

/* 0..63, or 64 for a sign outside the alphabet. */
static uint32_t digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (uint32_t)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (uint32_t)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0') + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

int etcd_wire_unbase64(
    const char *text, size_t limit, char **ret, size_t *ret_length, struct err *e)
{
    size_t length = strlen(text);
    size_t padding = 0;
    size_t used = 0;
    AUTO_FREE char *bytes = NULL;

    while (padding < 2 && padding < length && text[length - 1 - padding] == '=') {
        padding++;
    }
    if (length % 4 != 0) {
        return FAIL(e, ERR_CORRUPT, "base64 text of %zu characters", length);
    }
    if (length / 4 * 3 > limit + 2) {
        return FAIL(e, ERR_LIMIT, "%zu bytes are more than %zu", length / 4 * 3, limit);
    }
    bytes = mem_alloc(length / 4 * 3 + 1);
    for (size_t at = 0; at < length; at += 4) {
        uint32_t bits = 0;

        for (size_t place = 0; place < 4; place++) {
            char c = at + place >= length - padding ? 'A' : text[at + place];

            if (digit_of(c) == 64) {
                return FAIL(e, ERR_CORRUPT, "text that is not base64");
            }
            bits = bits << 6 | digit_of(c);
        }
        bytes[used++] = (char)(bits >> 16 & 255);
        bytes[used++] = (char)(bits >> 8 & 255);
        bytes[used++] = (char)(bits & 255);
    }
    used -= padding;
    ASSERT(used <= length);
    bytes[used] = '\0';
    if (used > limit) {
        return FAIL(e, ERR_LIMIT, "%zu bytes are more than %zu", used, limit);
    }
    *ret_length = used;
    *ret = TAKE(bytes);
    return 0;
}
