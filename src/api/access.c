#include "api/access.h"

#include "base/mem.h"
#include "base/str.h"

#include <openssl/crypto.h>
#include <strings.h>

#define SCHEME "Basic "
#define PAIR_SIZE (MEMBER_NAME_SIZE + SECRET_SIZE)
#define BASE64_SIZE (PAIR_SIZE / 3 * 4 + 8)

static void encode_base64(const char *text, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = strlen(text);

    for (size_t at = 0; at < length; at += 3) {
        size_t count = MIN(length - at, (size_t)3);
        uint32_t bits = 0;

        for (size_t byte = 0; byte < 3; byte++) {
            bits = bits << 8 | (byte < count ? (unsigned char)text[at + byte] : 0u);
        }
        for (size_t digit = 0; digit < 4; digit++) {
            *out++ = digit <= count ? digits[bits >> (18 - 6 * digit) & 63] : '=';
        }
    }
    *out = '\0';
}

static bool is_same(const char *given, const char *wanted)
{
    size_t given_length = strlen(given);
    size_t wanted_length = strlen(wanted);
    /* The length of what was given is no secret; that of the wanted one must not show. */
    bool has_length = given_length == wanted_length;
    const char *compared = has_length ? given : wanted;

    return CRYPTO_memcmp(compared, wanted, wanted_length) == 0 && has_length;
}

const char *access_refuse(const struct config_restapi *restapi, const char *authorization)
{
    char pair[PAIR_SIZE];
    char wanted[BASE64_SIZE];
    bool is_ok;

    if (restapi->username[0] == '\0') {
        return NULL;
    }
    if (authorization == NULL) {
        return "no auth header received";
    }
    if (strncasecmp(authorization, SCHEME, strlen(SCHEME)) != 0) {
        return "not authenticated";
    }
    IGNORE(!str_format(pair, sizeof(pair), "%s:%s", restapi->username, restapi->password), "fits");
    encode_base64(pair, wanted);
    is_ok = is_same(authorization + strlen(SCHEME), wanted);
    mem_wipe(pair, sizeof(pair));
    mem_wipe(wanted, sizeof(wanted));
    return is_ok ? NULL : "not authenticated";
}
