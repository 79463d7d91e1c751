#include "model/server.h"

#include "base/assert.h"

const char *server_state_text(enum server_state state)
{
    static const char *const texts[] = {"unknown",  "absent",  "broken",  "down",
                                        "starting", "standby", "primary", "stopping"};

    ASSERT((size_t)state < ARRAY_LEN(texts));
    return texts[state];
}
