#include "model/guard_message.h"

int guard_start_split(struct guard_start *start, char *texts[GUARD_TEXTS_MAX + 4])
{
    size_t count = (size_t)start->argc + start->envc;
    size_t left = start->text_length;
    char *at = start->text;

    if (start->argc == 0 || left > sizeof(start->text) || count > GUARD_TEXTS_MAX) {
        return E2BIG;
    }
    for (size_t slot = 0; slot < count + 4; slot++) {
        bool is_null = slot == start->argc || slot == count + 1;
        char *end = is_null ? at - 1 : memchr(at, '\0', left);

        if (end == NULL) {
            return EINVAL;
        }
        texts[slot] = is_null ? NULL : at;
        left -= (size_t)(end + 1 - at);
        at = end + 1;
    }
    return left == 0 ? 0 : EINVAL;
}
