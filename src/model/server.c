#include "model/server.h"

#include "base/assert.h"
#include "base/str.h"

const char *server_state_text(enum server_state state)
{
    static const char *const texts[] = {"unknown",  "absent",  "broken",  "down",
                                        "starting", "standby", "primary", "stopping"};

    ASSERT((size_t)state < ARRAY_LEN(texts));
    return texts[state];
}

static const char *const fence_texts[] = {
    [FENCE_UNKNOWN] = "",          [FENCE_ABSENT] = "absent",
    [FENCE_OFF] = "off",           [FENCE_ENFORCING] = "enforcing",
    [FENCE_MISMATCH] = "mismatch",
};

const char *fence_state_text(enum fence_state state)
{
    ASSERT((size_t)state < ARRAY_LEN(fence_texts));
    return fence_texts[state];
}

enum fence_state fence_state_parse(const char *text)
{
    for (size_t at = 0; at < ARRAY_LEN(fence_texts); at++) {
        if (str_equal(fence_texts[at], text)) {
            return (enum fence_state)at;
        }
    }
    return FENCE_UNKNOWN;
}
