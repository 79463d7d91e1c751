#include "tests/sim/sim.h"

#include "base/assert.h"
#include "codec/field.h"

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

int __real_field_parse_object(const char *json, const char *what, json_t **ret, struct err *e);
int __wrap_field_parse_object(const char *json, const char *what, json_t **ret, struct err *e);
int __real_field_parse_array(const char *json, const char *what, json_t **ret, struct err *e);
int __wrap_field_parse_array(const char *json, const char *what, json_t **ret, struct err *e);

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

/* What a text parses to does not change, and most keys of a revision have the texts of the one
 * before. Nobody changes a parsed value, so all may share it. */
#define PARSED_MAX 64
static struct {
    char *text;
    json_t *value;
} parsed[PARSED_MAX];

typedef int parse_fn(const char *json, const char *what, json_t **ret, struct err *e);

static int parse_once(
    const char *json, const char *what, json_t **ret, struct err *e, parse_fn *parse,
    json_type type)
{
    size_t at = (size_t)((uintptr_t)json / 16 % PARSED_MAX);

    if (!str_equal(parsed[at].text, json) || json_typeof(parsed[at].value) != type) {
        int r = parse(json, what, ret, e);

        if (r < 0) {
            return r;
        }
        mem_free(parsed[at].text);
        json_decref(parsed[at].value);
        parsed[at].text = mem_dup(json);
        parsed[at].value = *ret;
    }
    *ret = json_incref(parsed[at].value);
    return 0;
}

int __wrap_field_parse_object(const char *json, const char *what, json_t **ret, struct err *e)
{
    return parse_once(json, what, ret, e, __real_field_parse_object, JSON_OBJECT);
}

int __wrap_field_parse_array(const char *json, const char *what, json_t **ret, struct err *e)
{
    return parse_once(json, what, ret, e, __real_field_parse_array, JSON_ARRAY);
}

void seam_reset(void)
{
    for (size_t at = 0; at < PARSED_MAX; at++) {
        parsed[at].text = mem_free(parsed[at].text);
        json_decref(TAKE(parsed[at].value));
    }
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
        cluster_copy(ret, &decoded[at].cluster);
        problem[0] = '\0';
        return;
    }
    __real_record_cluster_decode(entries, count, revision, ret, problem, size);
    if (problem[0] == '\0') {
        decoded[at].revision = revision;
        cluster_copy(&decoded[at].cluster, ret);
    }
}
