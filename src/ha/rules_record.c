#include "ha/rules.h"

/* What the store should say. Every row that applies acts; each action is a compare-and-swap, so
 * asking twice is harmless. */

static bool is_leading(const struct ha_view *view)
{
    return view->dcs_ok && view->lease == HA_LEASE_MINE && view->server.state == SERVER_PRIMARY;
}

static bool may_claim(const struct ha_view *view)
{
    return view->dcs_ok && view->initialize == HA_INITIALIZE_ABSENT &&
           view->server.state == SERVER_ABSENT && view->lease == HA_LEASE_FREE &&
           !view->members[view->self].nofailover && !view->is_leaving &&
           !view->settings.is_paused && view->server.is_start_due && !view->has_past;
}

/* The cluster's identity is on disk here but not in the store: this node has just made it, or the
 * store is new. */
static bool must_initialize(const struct ha_view *view)
{
    bool is_open = view->initialize == HA_INITIALIZE_MINE ||
                   (view->initialize == HA_INITIALIZE_ABSENT && view->lease != HA_LEASE_OTHER &&
                    view->lease != HA_LEASE_UNKNOWN);

    return view->dcs_ok && is_open && view->server.system_id != 0 && !view->server.is_busy &&
           view->server.state != SERVER_BROKEN;
}

static bool must_put_config(const struct ha_view *view)
{
    return is_leading(view) && !view->has_config;
}

static bool must_put_status(const struct ha_view *view)
{
    return is_leading(view) && view->is_status_due;
}

static bool must_put_history(const struct ha_view *view)
{
    return is_leading(view) && !view->has_history;
}

/* The leader that the request names is not the holder any more: it was carried out, or has lost its
 * meaning. */
static bool is_request_over(const struct ha_view *view)
{
    const struct ha_request *request = &view->request;

    return is_leading(view) && request->is_present && request->is_due &&
           ((request->leader != HA_NOBODY && request->leader != view->self) ||
            request->candidate == view->self);
}

/* It has failed once, or has been impossible for so long that nobody expects it any more; or its
 * time has passed while nobody could begin. */
static bool is_request_stale(const struct ha_view *view)
{
    const struct ha_request *request = &view->request;

    return is_leading(view) && request->is_present && request->is_due && !is_request_over(view) &&
           !is_hand_over_possible(view) && !view->server.is_busy &&
           (request->candidate == HA_STRANGER || request->is_tried || is_request_late(view) ||
            request->age_ms > MIN(view->settings.ttl_ms, view->settings.loop_wait_ms));
}

static bool must_put_failsafe(const struct ha_view *view)
{
    return is_leading(view) && view->settings.is_failsafe && !view->failsafe.is_recorded;
}

static void act_claim(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_CLAIM;
    action->member = view->self;
}

static void act_initialize(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_INITIALIZE;
    action->member = view->self;
}

static void act_put_config(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_PUT_CONFIG;
    action->member = view->self;
}

static void act_put_status(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_PUT_STATUS;
    action->member = view->self;
}

static void act_put_history(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_PUT_HISTORY;
    action->member = view->self;
}

static void act_put_failsafe(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_PUT_FAILSAFE;
    action->member = view->self;
}

static void act_clear_request(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_CLEAR_REQUEST;
    action->about = view->request.candidate >= 0 ? view->request.candidate : HA_NOBODY;
}

static void act_drop_request(const struct ha_view *view, struct ha_action *action)
{
    act_clear_request(view, action);
    if (is_request_late(view)) {
        action->detail = "it is too late for its scheduled time";
    }
}

static const struct ha_rule rows[] = {
    {"record.claim", TOPIC_RECORD, "there is no cluster yet, and no data here",
     "claim the right to make the cluster", may_claim, act_claim},
    {"record.initialize", TOPIC_RECORD, "the cluster's identity is not in the store",
     "record the cluster's identity", must_initialize, act_initialize},
    {"record.config", TOPIC_RECORD, "the store has no configuration",
     "record the dynamic configuration", must_put_config, act_put_config},
    {"record.status", TOPIC_RECORD, "the published position is old", "publish the position",
     must_put_status, act_put_status},
    {"record.history", TOPIC_RECORD, "the history lacks the current timeline",
     "record the new timeline", must_put_history, act_put_history},
    {"record.failsafe", TOPIC_RECORD,
     "failsafe_mode is on, and the key failsafe is not the list of members",
     "record the members for failsafe mode", must_put_failsafe, act_put_failsafe},
    {"request.over", TOPIC_RECORD, "the request was carried out or does not apply any more",
     "clear the request: it is done", is_request_over, act_clear_request},
    {"request.stale", TOPIC_RECORD,
     "the request cannot be carried out, or its scheduled time passed more than 30 s (or one and a "
     "half loop_wait) before anything was begun",
     "clear the request: no such candidate, or it could not be done in time", is_request_stale,
     act_drop_request},
};

struct ha_rows rules_record(void)
{
    return (struct ha_rows){.rows = rows, .count = ARRAY_LEN(rows)};
}
