/* What was read, signed, is read and checked as the same; what nobody sealed is not opened. */
#include "codec/tail.h"

#include "base/assert.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Four lines. */
static char *split(char *text, struct tail_texts *ret)
{
    const char **const slots[] = {&ret->system_id, &ret->timeline, &ret->from, &ret->to};

    for (size_t at = 0; at < ARRAY_LEN(slots); at++) {
        char *end = strchr(text, '\n');

        *slots[at] = text;
        if (end == NULL) {
            return text + strlen(text);
        }
        *end = '\0';
        text = end + 1;
    }
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct tail_key key;
    AUTO_FREE char *text = mem_dup_length((const char *)bytes, size);
    AUTO_FREE unsigned char *out = mem_alloc((size_t)TAIL_PIECE_MAX);
    struct str line AUTO_STR = STR_INIT(512);
    struct tail_texts texts = {0};
    struct tail_ask ask;
    char *rest = split(text, &texts);

    if (!key.is_set) {
        tail_key_make("secret", "main", &key);
    }
    if (tail_ask_read(&texts, &ask, NULL) < 0) {
        return 0;
    }
    tail_ask_format(&ask, &key, &line);
    ASSERT(tail_ask_check(&ask, strstr(str_text(&line), "mac=") + 4, &key, NULL) == 0);
    ASSERT(tail_ask_check(&ask, rest, &key, NULL) < 0);
    ASSERT(tail_open(&ask, &key, bytes, size, out, NULL) < 0);
    return 0;
}
