#include "tests/sim/coverage.h"

/* Which rules the simulator reaches: all of them, but for those that are listed here with the
 * reason. A listed rule that is reached is a mistake in the list. */
static const struct {
    const char *rule;
    const char *reason;
} unreachable[] = {
    {"promote.late", "the guard never holds more than the agent: promote.unarmed comes first, "
                     "with the same limit"},
    {"sync.claim", "a key of another leader comes from people or from Patroni: whoever takes the "
                   "lease writes its own with it"},
    {"rewind.wait", "the view calls data diverged only while the holder answers as primary"},
};

static const char *find_reason(const char *rule)
{
    for (size_t at = 0; at < ARRAY_LEN(unreachable); at++) {
        if (str_equal(unreachable[at].rule, rule)) {
            return unreachable[at].reason;
        }
    }
    return NULL;
}

bool coverage_is_full(const bool *reached)
{
    for (unsigned at = 0; ha_rule_at(at) != NULL; at++) {
        if (!reached[at] && find_reason(ha_rule_at(at)->id) == NULL) {
            return false;
        }
    }
    return true;
}

bool coverage_print(const bool *reached)
{
    bool is_fine = true;

    for (unsigned at = 0; ha_rule_at(at) != NULL; at++) {
        const char *rule = ha_rule_at(at)->id;
        const char *reason = find_reason(rule);

        if (reached[at] == (reason == NULL)) {
            printf(
                "ok rule/%s%s%s\n", rule, reason != NULL ? " not reached: " : "",
                reason != NULL ? reason : "");
        } else {
            is_fine = false;
            printf(
                "FAIL rule/%s %s\n", rule,
                reason != NULL ? "is reached, but listed as unreachable" : "is never reached");
        }
    }
    return is_fine;
}
