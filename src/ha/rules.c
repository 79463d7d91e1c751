#include "ha/rules.h"

#include "base/assert.h"

/* A scheduled request is dropped when it is later than this, or than one and a half loop_wait, as
 * Patroni does it. */
#define LATE_MS 30000

bool is_running(const struct ha_view *view)
{
    enum server_state state = view->server.state;

    return state == SERVER_STARTING || state == SERVER_STANDBY || state == SERVER_PRIMARY ||
           state == SERVER_STOPPING;
}

bool is_held_elsewhere(const struct ha_view *view)
{
    return view->lease == HA_LEASE_OTHER && view->holder != view->self;
}

bool is_led_elsewhere(const struct ha_view *view)
{
    return is_held_elsewhere(view) && view->holder >= 0 && view->members[view->holder].is_fresh &&
           view->members[view->holder].server == SERVER_PRIMARY;
}

bool is_asked_to_hand_over(const struct ha_view *view)
{
    const struct ha_request *request = &view->request;

    return view->lease == HA_LEASE_MINE && request->is_present && request->is_due &&
           (request->leader == view->self || request->leader == HA_NOBODY) &&
           request->candidate != view->self && request->candidate != HA_STRANGER;
}

int hand_over_target(const struct ha_view *view)
{
    int candidate = view->request.candidate;

    if (candidate == HA_NOBODY) {
        return ha_best(view, view->self);
    }
    return candidate >= 0 && ha_bar(view, candidate) == NULL ? candidate : HA_NOBODY;
}

bool is_in_step(const struct ha_view *view, int at)
{
    const struct ha_member *member = &view->members[at];

    return member->is_streaming &&
           member->position.timeline == view->members[view->self].position.timeline;
}

bool is_request_late(const struct ha_view *view)
{
    return view->request.late_ms > MAX(view->settings.loop_wait_ms * 3 / 2, LATE_MS);
}

bool is_hand_over_possible(const struct ha_view *view)
{
    int target = hand_over_target(view);

    return is_asked_to_hand_over(view) && view->server.state == SERVER_PRIMARY &&
           !view->request.is_tried && !is_request_late(view) && target != HA_NOBODY &&
           is_in_step(view, target);
}

bool is_ready_to_hand_over(const struct ha_view *view)
{
    return is_asked_to_hand_over(view) && view->server.state == SERVER_DOWN &&
           view->server.was_clean;
}

void ha_view_check(const struct ha_view *view)
{
    int count = (int)view->member_count;

    ASSERT(view->member_count >= 1);
    ASSERT(view->member_count <= MEMBERS_MAX);
    ASSERT(view->self >= 0);
    ASSERT(view->self < count);
    ASSERT(view->holder >= HA_STRANGER);
    ASSERT(view->holder < count);
    ASSERT(view->released_to >= HA_STRANGER);
    ASSERT(view->released_to < count);
    ASSERT(view->request.leader >= HA_STRANGER);
    ASSERT(view->request.leader < count);
    ASSERT(view->request.candidate >= HA_STRANGER);
    ASSERT(view->request.candidate < count);
    ASSERT(view->server.upstream >= HA_STRANGER);
    ASSERT(view->server.upstream < count);
}

static struct ha_action act(const struct ha_view *view, const struct ha_rule *rule)
{
    struct ha_action action = {
        .kind = HA_NOTHING,
        .member = HA_NOBODY,
        .about = HA_NOBODY,
        .rule = rule->id,
        .why = rule->why,
    };

    if (rule->act != NULL) {
        rule->act(view, &action);
    }
    return action;
}

/* The first row that applies; the last row of a topic always does. */
static struct ha_action decide_first(const struct ha_view *view, struct ha_rows rules)
{
    unsigned at = 0;

    while (at + 1 < rules.count && !rules.rows[at].applies(view)) {
        at++;
    }
    ASSERT(rules.rows[at].applies(view));
    return act(view, &rules.rows[at]);
}

void ha_decide(const struct ha_view *view, struct ha_plan *plan)
{
    struct ha_rows record = rules_record();

    ha_view_check(view);
    plan->actions[TOPIC_LEASE] = decide_first(view, rules_lease());
    plan->actions[TOPIC_SERVER] = decide_first(view, rules_server());
    plan->actions[TOPIC_SYNC] = decide_first(view, rules_sync());
    plan->count = TOPIC_RECORD;
    for (unsigned at = 0; at < record.count; at++) {
        if (record.rows[at].applies(view)) {
            ASSERT(plan->count < HA_ACTIONS_MAX);
            plan->actions[plan->count++] = act(view, &record.rows[at]);
        }
    }
}

const struct ha_rule *ha_rule_at(unsigned at)
{
    const struct ha_rows topics[] = {rules_lease(), rules_server(), rules_sync(), rules_record()};

    for (size_t topic = 0; topic < ARRAY_LEN(topics); topic++) {
        if (at < topics[topic].count) {
            return &topics[topic].rows[at];
        }
        at -= topics[topic].count;
    }
    return NULL;
}

const char *ha_action_text(enum ha_action_kind kind)
{
    static const char *const texts[] = {
        "nothing",       "renew",   "acquire",     "release",    "kill",       "bootstrap",
        "clone",         "rewind",  "start",       "stop",       "promote",    "follow",
        "checkpoint",    "claim",   "initialize",  "put-config", "put-status", "put-history",
        "clear-request", "promise", "revoke",      "fetch",      "set-rule",   "put-sync",
        "delete-sync",   "ask",     "put-failsafe"};

    ASSERT((size_t)kind < ARRAY_LEN(texts));
    return texts[kind];
}
