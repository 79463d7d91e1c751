#include "ha/rules.h"

/* What to do to the local database server. */

/* How long an old primary stays down for its successor, at most. */
#define SUCCESSOR_OPENS_MS 3000

/* How long a stop may take when the operator has set no primary_stop_timeout: the lease is renewed
 * meanwhile, but nobody can write, so there must be an end. */
static int64_t stop_limit_ms(const struct ha_view *view)
{
    return view->settings.primary_stop_timeout_ms > 0 ? view->settings.primary_stop_timeout_ms
                                                      : view->settings.ttl_ms;
}

static bool is_writable_without_lease(const struct ha_view *view)
{
    return (view->server.state == SERVER_PRIMARY || view->server.is_promoting) &&
           view->lease != HA_LEASE_MINE;
}

/* In maintenance mode a person may be stopping it, and wait for its clients. */
static bool is_stop_overdue(const struct ha_view *view)
{
    return view->server.state == SERVER_STOPPING &&
           view->server.stopping_ms > stop_limit_ms(view) &&
           (!view->settings.is_paused || view->server.is_busy);
}

/* Restarted it may work again, here or elsewhere; left alone it answers nobody. */
static bool is_silent(const struct ha_view *view)
{
    return view->server.state == SERVER_PRIMARY && !view->settings.is_paused &&
           view->members[view->self].trouble == TROUBLE_SILENT;
}

/* Nothing is gained by a restart: only for somebody who can go on. */
static bool is_disk_bad(const struct ha_view *view)
{
    return view->server.state == SERVER_PRIMARY && !view->settings.is_paused &&
           trouble_is_disk_bad(view->members[view->self].trouble) &&
           ha_best(view, view->self) != HA_NOBODY;
}

static bool is_full(const struct ha_view *view)
{
    return view->lease == HA_LEASE_MINE && view->server.state == SERVER_PRIMARY &&
           trouble_is_room_elsewhere(view);
}

static void act_stop_for_room(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_STOP;
    action->member = view->self;
    action->is_for_room = true;
    action->stop_mode = STOP_FAST;
}

static bool is_unwatched(const struct ha_view *view)
{
    return view->lease == HA_LEASE_MINE && view->server.state == SERVER_PRIMARY &&
           trouble_is_unwatched(view);
}

static void act_stop_here(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_STOP;
    action->member = view->self;
    action->stop_mode = STOP_FAST;
}

/* The others tell in a moment that they have got all of it. */
static bool is_down_for_heir(const struct ha_view *view)
{
    return view->server.state == SERVER_DOWN &&
           (trouble_heir(view) != HA_NOBODY || trouble_may_have_heir(view) ||
            trouble_is_lapsing(view));
}

static bool is_busy(const struct ha_view *view)
{
    return view->server.is_busy || view->server.state == SERVER_STOPPING ||
           view->server.state == SERVER_UNKNOWN || view->server.is_promoting;
}

static bool is_broken(const struct ha_view *view)
{
    return view->server.state == SERVER_BROKEN;
}

static bool is_foreign(const struct ha_view *view)
{
    return view->initialize == HA_INITIALIZE_SET && view->system_id != 0 &&
           view->server.system_id != 0 && view->system_id != view->server.system_id;
}

/* Another node's cluster was recorded while this one was being made: nobody has used it. */
static bool is_surplus(const struct ha_view *view)
{
    return is_foreign(view) && view->server.is_virgin && view->server.state == SERVER_DOWN &&
           is_led_elsewhere(view);
}

/* A standby that offers itself is better than burdening the primary. */
static void act_clone(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_CLONE;
    action->member = view->holder;
    for (int at = 0; at < (int)view->member_count; at++) {
        const struct ha_member *member = &view->members[at];

        if (at != view->self && member->clonefrom && member->is_fresh && member->is_streaming &&
            member->server == SERVER_STANDBY) {
            action->member = at;
            break;
        }
    }
    action->about = action->member;
}

static void act_stop_if_running(const struct ha_view *view, struct ha_action *action)
{
    if (is_running(view)) {
        action->kind = HA_STOP;
        action->stop_mode = STOP_FAST;
    }
}

static bool is_leaving(const struct ha_view *view)
{
    return view->is_leaving;
}

static bool is_bootstrap_won(const struct ha_view *view)
{
    return view->server.state == SERVER_ABSENT && view->initialize == HA_INITIALIZE_MINE &&
           view->server.is_start_due;
}

static bool needs_switchover_checkpoint(const struct ha_view *view)
{
    return is_hand_over_possible(view) && !view->request.is_checkpointed;
}

static void about_target(const struct ha_view *view, struct ha_action *action)
{
    action->about = hand_over_target(view);
}

static void act_switchover_checkpoint(const struct ha_view *view, struct ha_action *action)
{
    about_target(view, action);
    action->kind = HA_CHECKPOINT;
    action->is_for_request = true;
}

static void act_switchover_stop(const struct ha_view *view, struct ha_action *action)
{
    about_target(view, action);
    action->kind = HA_STOP;
    action->is_for_request = true;
    action->stop_mode = STOP_FAST;
}

static bool is_elected(const struct ha_view *view)
{
    return view->lease == HA_LEASE_MINE && view->server.state == SERVER_STANDBY;
}

/* A promotion would end it; an operator who has switched maintenance on restarts it himself. */
static bool is_outgrown(const struct ha_view *view)
{
    return view->server.state == SERVER_STANDBY && view->members[view->self].is_outgrown &&
           (!view->settings.is_paused || view->lease == HA_LEASE_MINE);
}

static bool is_elected_unarmed(const struct ha_view *view)
{
    return is_elected(view) && !view->server.is_armed;
}

static bool is_elected_unreserved(const struct ha_view *view)
{
    return is_elected(view) && !view->is_reserved;
}

/* What its commits wait for must be in force before it is opened. */
static bool is_elected_unruled(const struct ha_view *view)
{
    struct ha_sync_rule rule = ha_rule_to_open(view);

    return is_elected(view) &&
           (!view->sync.is_known || !ha_rule_is_equal(&view->sync.rule, &rule) ||
            (rule.is_managed && !view->sync.is_settled));
}

static bool is_elected_unfit(const struct ha_view *view)
{
    return is_elected(view) && trouble_is_unfit_for(view);
}

static bool is_elected_backing_off(const struct ha_view *view)
{
    return is_elected(view) && !view->server.is_promote_due;
}

static bool is_elected_late(const struct ha_view *view)
{
    return is_elected(view) && view->lease_left_ms < view->promote_budget_ms;
}

static void act_promote(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_PROMOTE;
    action->member = view->self;
}

static bool needs_first_checkpoint(const struct ha_view *view)
{
    return view->server.state == SERVER_PRIMARY && !view->members[view->self].is_checkpointed;
}

static void act_checkpoint(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_CHECKPOINT;
    action->member = view->self;
}

static bool is_primary(const struct ha_view *view)
{
    return view->server.state == SERVER_PRIMARY;
}

static bool is_backing_off(const struct ha_view *view)
{
    return !is_running(view) && !view->server.is_start_due;
}

/* The log that it needs is gone where it follows, and that is the primary. */
static bool is_starved(const struct ha_view *view)
{
    return view->server.is_starved && is_led_elsewhere(view) &&
           view->initialize == HA_INITIALIZE_SET && view->server.upstream == view->holder;
}

static bool is_standby_starved(const struct ha_view *view)
{
    enum server_state state = view->server.state;

    return (state == SERVER_STANDBY || state == SERVER_STARTING) && is_starved(view);
}

/* Neither the data that it had nor the data that it was to get. */
static bool is_torn(const struct ha_view *view)
{
    return view->server.state == SERVER_DOWN && view->server.is_torn;
}

static bool can_replace_torn(const struct ha_view *view)
{
    return is_torn(view) && is_led_elsewhere(view) && view->initialize == HA_INITIALIZE_SET;
}

static bool is_absent(const struct ha_view *view)
{
    return view->server.state == SERVER_ABSENT;
}

static bool can_clone(const struct ha_view *view)
{
    return is_absent(view) && is_led_elsewhere(view) && view->initialize == HA_INITIALIZE_SET;
}

static bool is_down(const struct ha_view *view)
{
    return view->server.state == SERVER_DOWN;
}

/* From the stop until the successor's server is open there is nobody to follow, and a start would
 * only compete with the promotion. The steps: the release is under way; it is read back; another
 * node holds the lease, and is given a moment to open. */
static bool is_handing_over(const struct ha_view *view)
{
    bool is_ended = view->server.was_clean || view->server.is_end_known;
    bool is_releasing = view->is_lease_busy && view->lease == HA_LEASE_EXPIRED &&
                        view->holder == view->self && is_ended;
    bool is_successor_expected = view->lease == HA_LEASE_FREE && view->is_grace &&
                                 view->released_to >= 0 && view->released_to != view->self;
    bool is_successor_opening = is_held_elsewhere(view) && !is_led_elsewhere(view) && is_ended &&
                                view->server.was_primary &&
                                view->server.down_ms < SUCCESSOR_OPENS_MS;

    return is_down(view) && (is_ready_to_hand_over(view) || crash_release(view) || is_releasing ||
                             is_successor_expected || is_successor_opening);
}

static bool is_shipping_tail(const struct ha_view *view)
{
    return ha_tail_heir(view) != HA_NOBODY;
}

static void about_tail_heir(const struct ha_view *view, struct ha_action *action)
{
    action->about = ha_tail_heir(view);
}

static void act_fetch(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_FETCH;
    action->member = view->holder;
    action->about = view->holder;
    action->floor = view->members[view->holder].position;
}

static bool is_cluster_forgotten(const struct ha_view *view)
{
    return view->dcs_ok && view->initialize == HA_INITIALIZE_ABSENT && view->has_past &&
           view->server.state == SERVER_ABSENT && view->lease == HA_LEASE_FREE;
}

static bool is_store_unread(const struct ha_view *view)
{
    return is_down(view) && view->lease == HA_LEASE_UNKNOWN;
}

static bool is_down_with_lease(const struct ha_view *view)
{
    return is_down(view) && view->lease == HA_LEASE_MINE;
}

static bool is_down_diverged(const struct ha_view *view)
{
    return is_down(view) && is_held_elsewhere(view) && view->server.relation == RELATION_DIVERGED;
}

/* The upstream of a server that is down is not known. */
static bool is_down_starved(const struct ha_view *view)
{
    return is_down(view) && view->server.is_starved && is_led_elsewhere(view) &&
           view->initialize == HA_INITIALIZE_SET;
}

static bool is_diverged_unled(const struct ha_view *view)
{
    return is_down_diverged(view) && !is_led_elsewhere(view);
}

static bool can_rewind(const struct ha_view *view)
{
    return is_down_diverged(view) && view->settings.use_pg_rewind && view->server.can_rewind;
}

static bool is_rewind_early(const struct ha_view *view)
{
    return can_rewind(view) && !view->members[view->holder].is_checkpointed;
}

static void act_rewind(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_REWIND;
    action->member = view->holder;
    action->about = view->holder;
}

/* The holder whom nothing may be confirmed any more is not followed again. */
static void act_start(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_START;
    if (is_held_elsewhere(view) && view->holder >= 0 && !view->is_bound) {
        action->member = view->holder;
        action->about = view->holder;
    }
}

static bool is_bound(const struct ha_view *view)
{
    return view->is_bound && view->lease != HA_LEASE_MINE &&
           (view->server.state == SERVER_STANDBY || view->server.state == SERVER_STARTING);
}

static bool is_bound_following(const struct ha_view *view)
{
    return is_bound(view) && view->server.state == SERVER_STANDBY && !view->server.is_detached;
}

static void act_revoke(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_REVOKE;
    action->member = view->self;
    action->about = view->holder;
}

/* Or one that starts needs what is not in the primary's history, and would never be ready. */
static bool is_standby_diverged(const struct ha_view *view)
{
    return (view->server.state == SERVER_STANDBY || view->server.state == SERVER_STARTING) &&
           is_led_elsewhere(view) && view->server.relation == RELATION_DIVERGED;
}

static void act_stop(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_STOP;
    action->stop_mode = STOP_FAST;
    action->about = view->holder;
}

/* One that is still starting may be waiting for the very changes that only the holder has. */
static bool is_following_wrong(const struct ha_view *view)
{
    enum server_state state = view->server.state;

    return (state == SERVER_STANDBY || state == SERVER_STARTING) && is_held_elsewhere(view) &&
           view->holder >= 0 && view->server.upstream != view->holder;
}

/* A running standby goes on following whoever leads by a person's wish, or commits would wait for
 * it until maintenance mode ends; and it keeps what it promised, for that wish. */
static bool is_left_alone(const struct ha_view *view)
{
    bool is_to_follow = view->server.state == SERVER_STANDBY && is_led_elsewhere(view) &&
                        is_following_wrong(view) && !is_bound(view) && !is_standby_diverged(view);

    return view->settings.is_paused && !is_to_follow && !is_bound_following(view);
}

static void act_follow(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_FOLLOW;
    action->member = view->holder;
    action->about = view->holder;
}

static void act_kill(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_KILL;
    action->member = view->self;
}

static void act_bootstrap(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_BOOTSTRAP;
    action->member = view->self;
}

static void about_holder(const struct ha_view *view, struct ha_action *action)
{
    action->about = view->holder;
}

static bool always(const struct ha_view *view)
{
    return view != NULL;
}

static const struct ha_rule rows[] = {
    {"fence.lost", TOPIC_SERVER, "the server is writable, or about to be, without the lease",
     "kill the server: this node does not hold the lease", is_writable_without_lease, act_kill},
    {"stop.overdue", TOPIC_SERVER, "a stop takes longer than primary_stop_timeout (default: ttl)",
     "kill the server: it does not stop in time", is_stop_overdue, act_kill},
    {"trouble.silent", TOPIC_SERVER,
     "the primary's processes live and have answered nothing for baton.hang_timeout",
     "kill the server: it answers nothing, although its processes live", is_silent, act_kill},
    {"trouble.disk", TOPIC_SERVER,
     "the primary's disk has taken no write for baton.hang_timeout, and a standby can take over",
     "kill the server: its disk takes no writes, and a standby can go on", is_disk_bad, act_kill},
    {"server.busy", TOPIC_SERVER, "an order is in progress or the state is not known yet",
     "waiting for the server", is_busy, NULL},
    {"server.broken", TOPIC_SERVER, "the data directory cannot be used",
     "the data directory cannot be used", is_broken, NULL},
    {"clone.surplus", TOPIC_SERVER, "a cluster was made here, but another node's was recorded",
     "copy the primary's data: the cluster made here is not the one that counts", is_surplus,
     act_clone},
    {"server.foreign", TOPIC_SERVER, "the data directory belongs to another cluster",
     "the data directory belongs to another cluster: its system identifier differs", is_foreign,
     act_stop_if_running},
    {"leave.stop", TOPIC_SERVER, "the agent is leaving",
     "stop the server: this node is being stopped", is_leaving, act_stop_if_running},
    {"bootstrap.run", TOPIC_SERVER, "this node has won the right to make the cluster",
     "make a new cluster", is_bootstrap_won, act_bootstrap},
    {"switchover.checkpoint", TOPIC_SERVER, "a hand-over was asked for and is possible",
     "checkpoint, so that the stop is short", needs_switchover_checkpoint,
     act_switchover_checkpoint},
    {"switchover.stop", TOPIC_SERVER, "a hand-over was asked for and the checkpoint is done",
     "stop the server to hand over", is_hand_over_possible, act_switchover_stop},
    {"trouble.full", TOPIC_SERVER,
     "the primary's disk is full, and a standby that streams has room; once while it is full",
     "stop the server to hand over: its disk is full, and a standby has room", is_full,
     act_stop_for_room},
    {"trouble.unwatched", TOPIC_SERVER,
     "the primary's watchdog, which watchdog.mode requires, has failed, and a standby streams",
     "stop the server to hand over: its required watchdog has failed", is_unwatched, act_stop_here},
    {"promote.unfit", TOPIC_SERVER,
     "the lease is held here, this node's disk or required watchdog does not work, and another one "
     "could take over",
     "not promoting: this node's disk or watchdog does not work", is_elected_unfit, NULL},
    {"standby.outgrown", TOPIC_SERVER,
     "replay has stopped: the primary has raised a parameter that the standby runs with",
     "stop the server to start it with the primary's parameters: its replay has stopped",
     is_outgrown, act_stop_if_running},
    {"promote.unarmed", TOPIC_SERVER, "the lease is held here, the guard has not confirmed it",
     "waiting for the guard to confirm the deadline", is_elected_unarmed, NULL},
    {"promote.unreserved", TOPIC_SERVER, "the lease is held here, without a new timeline",
     "waiting for a timeline of its own in the lease", is_elected_unreserved, NULL},
    {"promote.unruled", TOPIC_SERVER,
     "the lease is held here, the server does not know for certain what commits wait for",
     "waiting until the server knows what commits wait for", is_elected_unruled, NULL},
    {"promote.late", TOPIC_SERVER, "the lease is held here, too little of it is left",
     "waiting for a renewal: too little of the lease is left to promote", is_elected_late, NULL},
    {"promote.back-off", TOPIC_SERVER,
     "the lease is held here, the last promotion failed a moment ago",
     "waiting before the next promotion: the last one failed", is_elected_backing_off, NULL},
    {"promote.run", TOPIC_SERVER, "the lease is held here and armed, the server is a standby",
     "promote: this node holds the lease", is_elected, act_promote},
    {"primary.checkpoint", TOPIC_SERVER, "the primary has not checkpointed since its promotion",
     "checkpoint after the promotion, so that others can rewind to this node",
     needs_first_checkpoint, act_checkpoint},
    {"primary.run", TOPIC_SERVER, "the server is the primary", "this node is the primary",
     is_primary, NULL},
    {"server.paused", TOPIC_SERVER, "maintenance mode is on",
     "maintenance mode is on: the server is left as it is", is_left_alone, NULL},
    {"server.back-off", TOPIC_SERVER, "the last attempt failed a moment ago",
     "waiting before the next attempt", is_backing_off, NULL},
    {"clone.torn", TOPIC_SERVER, "a rewind was interrupted and a primary runs elsewhere",
     "copy the data of a running member: a rewind was interrupted here", can_replace_torn,
     act_clone},
    {"clone.torn-wait", TOPIC_SERVER, "a rewind was interrupted and there is no primary",
     "a rewind was interrupted here: waiting for a primary to copy from", is_torn, about_holder},
    {"clone.run", TOPIC_SERVER, "there is no data here and a primary runs elsewhere",
     "copy the data of a running member", can_clone, act_clone},
    {"clone.forgotten", TOPIC_SERVER,
     "there is no data here and no cluster in the store, but one was here or is at another member",
     "not making a new cluster: the store has forgotten one whose data may be somewhere (if it is "
     "gone for good, stop all agents and remove DATA.seen)",
     is_cluster_forgotten, NULL},
    {"clone.wait", TOPIC_SERVER, "there is no data here and no primary to copy from",
     "no data here: waiting for a primary to copy from", is_absent, about_holder},
    {"start.hand-over", TOPIC_SERVER, "the server is down for a hand-over",
     "waiting for the new primary", is_handing_over, NULL},
    {"start.trouble", TOPIC_SERVER,
     "the server is down, this node's disk or watchdog does not work, another one can take over",
     "waiting for the release: another node goes on", is_down_for_heir, NULL},
    {"tail.wait", TOPIC_SERVER,
     "the server has died, a standby lacks only the end of its log, and gets it sooner than a "
     "start "
     "here would recover",
     "waiting for a standby that gets the end of the log from here", is_shipping_tail,
     about_tail_heir},
    {"start.asking", TOPIC_SERVER, "the server has died, a standby may have all that it had",
     "asking the standbys whether one has everything", crash_is_asking, NULL},
    {"start.unread", TOPIC_SERVER, "the server is down and the store has not been read",
     "waiting for the store before starting the server", is_store_unread, NULL},
    {"start.again", TOPIC_SERVER, "the server is down and the lease is held here",
     "start the server again where it was", is_down_with_lease, act_start},
    {"rewind.wait", TOPIC_SERVER, "the data has diverged and the holder's server is not up",
     "the data has diverged: waiting for the primary", is_diverged_unled, about_holder},
    {"rewind.early", TOPIC_SERVER, "the data has diverged, the new primary has no checkpoint yet",
     "waiting for the primary's first checkpoint before rewinding", is_rewind_early, about_holder},
    {"rewind.run", TOPIC_SERVER, "the data has diverged from the primary's",
     "rewind the data to the primary's history", can_rewind, act_rewind},
    {"clone.diverged", TOPIC_SERVER, "the data has diverged and cannot be rewound",
     "copy the primary's data: this node's has diverged and cannot be rewound", is_down_diverged,
     act_clone},
    {"clone.starved", TOPIC_SERVER, "the server is down and the primary lacks log that it needs",
     "copy the data of a running member: the primary no longer has the log that is needed here",
     is_down_starved, act_clone},
    {"start.standby", TOPIC_SERVER, "the server is down", "start the server as a standby", is_down,
     act_start},
    {"revoke.stop", TOPIC_SERVER,
     "it was promised to confirm nothing to the holder of the lease, and the server follows",
     "stop following: it was promised to confirm nothing to the holder of the lease any more",
     is_bound_following, act_revoke},
    {"revoke.hold", TOPIC_SERVER, "it was promised to confirm nothing to the holder of the lease",
     "following nobody: it was promised to confirm nothing to the holder of the lease any more",
     is_bound, about_holder},
    {"tail.fetch", TOPIC_SERVER,
     "the holder's server has died, and its agent offers this node the end of its log",
     "get the end of the log from the agent of the server that has died", tail_is_offered,
     act_fetch},
    {"tail.hold", TOPIC_SERVER, "the same, and all of it is here",
     "waiting for the lease: everything that the dead server had is here", tail_is_whole,
     about_holder},
    {"standby.diverged", TOPIC_SERVER, "the running standby has diverged from the primary",
     "stop the server: its data has diverged from the primary's", is_standby_diverged, act_stop},
    {"standby.follow", TOPIC_SERVER, "the running standby follows somebody else",
     "follow the primary", is_following_wrong, act_follow},
    {"standby.starved", TOPIC_SERVER,
     "the standby needs log that the primary has removed, and that no archive has",
     "stop the server to copy the data anew: the primary no longer has the log that is needed here",
     is_standby_starved, act_stop},
    {"standby.run", TOPIC_SERVER, "nothing else applies", "this node is a standby", always, NULL},
};

struct ha_rows rules_server(void)
{
    return (struct ha_rows){.rows = rows, .count = ARRAY_LEN(rows)};
}
