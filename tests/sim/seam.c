#include "tests/sim/sim.h"

#include "base/assert.h"

/* Where the simulator looks into the program: the linker (--wrap) puts these functions in the place
 * of the program's, whose object code stays as it is. */

void __real_ha_decide(const struct ha_view *view, struct ha_plan *plan);
void __wrap_ha_decide(const struct ha_view *view, struct ha_plan *plan);
void __real_record_cluster_decode(
    const struct record_entry *entries, unsigned count, int64_t revision, struct cluster *ret,
    char *problem, size_t size);
void __wrap_record_cluster_decode(
    const struct record_entry *entries, unsigned count, int64_t revision, struct cluster *ret,
    char *problem, size_t size);

/* The place of RULE among all; RULES_MAX: it is none. Ids are static, so the address tells. */
unsigned seam_rule(const char *rule)
{
    static const char *ids[RULES_MAX];

    if (ids[0] == NULL) {
        for (unsigned at = 0; ha_rule_at(at) != NULL; at++) {
            ASSERT(at < RULES_MAX);
            ids[at] = ha_rule_at(at)->id;
        }
    }
    for (unsigned at = 0; at < RULES_MAX; at++) {
        if (ids[at] == rule) {
            return at;
        }
    }
    return RULES_MAX;
}

/* The simulation whose agent takes its turn now. */
static struct sim *watched;

void seam_watch(struct sim *sim)
{
    watched = sim;
}

/* Every plan is seen, also what no agent logs. */
void __wrap_ha_decide(const struct ha_view *view, struct ha_plan *plan)
{
    __real_ha_decide(view, plan);
    ASSERT(watched != NULL);
    for (unsigned at = 0; at < plan->count; at++) {
        unsigned rule = seam_rule(plan->actions[at].rule);

        ASSERT(rule < RULES_MAX);
        watched->reached[rule] = true;
    }
}

/* Each agent decodes each revision of the store, all with one result: the next one gets what the
 * first one found. A third of the time would go there. */
#define DECODED_MAX 16
static struct {
    int64_t revision;
    struct cluster cluster;
} decoded[DECODED_MAX];

void seam_reset(void)
{
    for (size_t at = 0; at < DECODED_MAX; at++) {
        decoded[at].revision = 0;
    }
}

void __wrap_record_cluster_decode(
    const struct record_entry *entries, unsigned count, int64_t revision, struct cluster *ret,
    char *problem, size_t size)
{
    size_t at = (size_t)revision % DECODED_MAX;

    ASSERT(revision > 0);
    if (decoded[at].revision == revision) {
        *ret = decoded[at].cluster;
        problem[0] = '\0';
        return;
    }
    __real_record_cluster_decode(entries, count, revision, ret, problem, size);
    if (problem[0] == '\0') {
        decoded[at].revision = revision;
        decoded[at].cluster = *ret;
    }
}
