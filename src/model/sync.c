#include "model/sync.h"

#include "base/assert.h"
#include "base/str.h"

/* Names are quoted as PostgreSQL reads identifiers there: a quote is doubled. */
static char *add_name(char *at, const char *name)
{
    *at++ = '"';
    for (; *name != '\0'; name++) {
        if (*name == '"') {
            *at++ = '"';
        }
        *at++ = *name;
    }
    *at++ = '"';
    return at;
}

void sync_rule_format(const struct sync_rule *rule, char *buffer)
{
    bool has_list = rule->is_any || rule->count > 1;
    char *at = buffer;

    ASSERT(rule->count <= MEMBERS_MAX);
    ASSERT(rule->need <= rule->count);
    buffer[0] = '\0';
    if (!rule->is_waiting) {
        return;
    }
    if (rule->count == 0) {
        *add_name(at, SYNC_BLOCKED_NAME) = '\0';
        return;
    }
    if (has_list) {
        IGNORE(
            !str_format(at, 32, "%s%u (", rule->is_any ? "ANY " : "", rule->need), "a number fits");
        at += strlen(at);
    }
    for (unsigned name = 0; name < rule->count; name++) {
        if (name > 0) {
            *at++ = ',';
        }
        at = add_name(at, rule->names[name]);
    }
    if (has_list) {
        *at++ = ')';
    }
    *at = '\0';
}
