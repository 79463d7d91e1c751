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

static const char *const trouble_texts[] = {
    [TROUBLE_NONE] = "",
    [TROUBLE_SILENT] = "silent",
    [TROUBLE_DISK_HUNG] = "disk hung",
    [TROUBLE_DISK_FAILED] = "disk failed",
    [TROUBLE_DISK_FULL] = "disk full",
};

const char *trouble_text(enum trouble trouble)
{
    ASSERT((size_t)trouble < ARRAY_LEN(trouble_texts));
    return trouble_texts[trouble];
}

enum trouble trouble_parse(const char *text)
{
    for (size_t at = 0; at < ARRAY_LEN(trouble_texts); at++) {
        if (str_equal(trouble_texts[at], text)) {
            return (enum trouble)at;
        }
    }
    return TROUBLE_NONE;
}
