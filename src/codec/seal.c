/* Of tail.h. These come before base.h, which forbids words that they use. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "codec/tail.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"

#define STRETCHES 4096 /* as SCRAM */
#define MAC_BYTES 32u
#define TAG_SIZE (TAIL_SEAL_SIZE - TAIL_NONCE_SIZE)
#define TEXT_SIZE 160

AUTO_DEFINE(EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)

void tail_key_make(const char *password, const char *scope, struct tail_key *ret)
{
    unsigned char keys[2 * TAIL_KEY_SIZE];
    char salt[128];

    *ret = (struct tail_key){0};
    if (password[0] == '\0') {
        return;
    }
    IGNORE(!str_format(salt, sizeof(salt), "baton wal %s", scope), "cut is fine");
    if (PKCS5_PBKDF2_HMAC(
            password, (int)strlen(password), (const unsigned char *)salt, (int)strlen(salt),
            STRETCHES, EVP_sha256(), (int)sizeof(keys), keys) == 1) {
        memcpy(ret->ask, keys, TAIL_KEY_SIZE);
        memcpy(ret->answer, keys + TAIL_KEY_SIZE, TAIL_KEY_SIZE);
        ret->is_set = true;
    }
    mem_wipe(keys, sizeof(keys));
}

int tail_ask_read(const struct tail_texts *texts, struct tail_ask *ret, struct err *e)
{
    uint64_t numbers[4];
    const char *const all[] = {texts->system_id, texts->timeline, texts->from, texts->to};

    for (size_t at = 0; at < ARRAY_LEN(all); at++) {
        if (all[at] == NULL || parse_u64(all[at], &numbers[at], NULL) < 0) {
            return FAIL(e, ERR_INVALID, "system, timeline, from and to are numbers, all of them");
        }
    }
    if (numbers[1] == 0 || numbers[1] > UINT32_MAX || numbers[3] <= numbers[2] ||
        numbers[3] - numbers[2] > TAIL_PIECE_MAX || numbers[3] > INT64_MAX) {
        return FAIL(e, ERR_INVALID, "from 1 to %" PRIu64 " bytes of one timeline", TAIL_PIECE_MAX);
    }
    *ret = (struct tail_ask){numbers[0], (uint32_t)numbers[1], numbers[2], numbers[3]};
    return 0;
}

static void add_numbers(const struct tail_ask *ask, struct str *out)
{
    str_addf(
        out, "system=%" PRIu64 "&timeline=%" PRIu32 "&from=%" PRIu64 "&to=%" PRIu64, ask->system_id,
        ask->timeline, ask->from, ask->to);
}

static void sign(const struct tail_ask *ask, const struct tail_key *key, char *mac)
{
    struct str text AUTO_STR = STR_INIT(TEXT_SIZE);
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    ASSERT(key->is_set);
    add_numbers(ask, &text);
    ASSERT(
        HMAC(
            EVP_sha256(), key->ask, TAIL_KEY_SIZE, (const unsigned char *)str_text(&text),
            text.length, bytes, &length) != NULL);
    ASSERT(length == MAC_BYTES);
    for (size_t at = 0; at < MAC_BYTES; at++) {
        IGNORE(!str_format(mac + 2 * at, 3, "%02x", bytes[at]), "two digits");
    }
}

void tail_ask_format(const struct tail_ask *ask, const struct tail_key *key, struct str *out)
{
    char mac[TAIL_MAC_SIZE];

    sign(ask, key, mac);
    str_add(out, "/baton/wal?");
    add_numbers(ask, out);
    str_addf(out, "&mac=%s", mac);
}

int tail_ask_check(
    const struct tail_ask *ask, const char *mac, const struct tail_key *key, struct err *e)
{
    char wanted[TAIL_MAC_SIZE];

    if (!key->is_set) {
        return FAIL(e, ERR_DENIED, "there is no replication password to sign with");
    }
    sign(ask, key, wanted);
    if (mac == NULL || strlen(mac) != TAIL_MAC_SIZE - 1 ||
        CRYPTO_memcmp(mac, wanted, TAIL_MAC_SIZE - 1) != 0) {
        return FAIL(e, ERR_DENIED, "not signed with the replication password");
    }
    return 0;
}

/* Key, nonce, and what the answer is bound to. */
static bool begin(
    EVP_CIPHER_CTX *context, const struct tail_ask *ask, const struct tail_key *key,
    const unsigned char *nonce, bool is_sealing)
{
    struct str text AUTO_STR = STR_INIT(TEXT_SIZE);
    int length = 0;

    ASSERT(key->is_set);
    add_numbers(ask, &text);
    return context != NULL &&
           EVP_CipherInit_ex(
               context, EVP_aes_256_gcm(), NULL, key->answer, nonce, is_sealing ? 1 : 0) == 1 &&
           EVP_CipherUpdate(
               context, NULL, &length, (const unsigned char *)str_text(&text), (int)text.length) ==
               1;
}

int tail_seal(
    const struct tail_ask *ask, const struct tail_key *key, const unsigned char *nonce,
    const void *bytes, unsigned char *out, struct err *e)
{
    AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    size_t size = (size_t)(ask->to - ask->from);
    unsigned char *body = out + TAIL_NONCE_SIZE;
    int length = 0;
    int rest = 0;

    memcpy(out, nonce, TAIL_NONCE_SIZE);
    if (!begin(context, ask, key, nonce, true) ||
        EVP_CipherUpdate(context, body, &length, bytes, (int)size) != 1 ||
        EVP_CipherFinal_ex(context, body + length, &rest) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, body + size) != 1) {
        return FAIL(e, ERR_UNSUPPORTED, "libcrypto cannot seal with AES-256-GCM");
    }
    return 0;
}

int tail_open(
    const struct tail_ask *ask, const struct tail_key *key, const void *sealed, size_t length,
    unsigned char *out, struct err *e)
{
    AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    size_t size = (size_t)(ask->to - ask->from);
    const unsigned char *nonce = sealed;
    const unsigned char *body = nonce + TAIL_NONCE_SIZE;
    unsigned char tag[TAG_SIZE];
    int count = 0;
    int rest = 0;

    if (length != size + TAIL_SEAL_SIZE) {
        return FAIL(e, ERR_DENIED, "%zu bytes instead of %zu", length, size + TAIL_SEAL_SIZE);
    }
    memcpy(tag, body + size, TAG_SIZE);
    if (!begin(context, ask, key, nonce, false) ||
        EVP_CipherUpdate(context, out, &count, body, (int)size) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) != 1 ||
        EVP_CipherFinal_ex(context, out + count, &rest) != 1) {
        return FAIL(e, ERR_DENIED, "the answer is not sealed with the replication password");
    }
    return 0;
}
