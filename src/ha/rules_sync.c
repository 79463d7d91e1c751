#include "ha/rules.h"

/* What commits on the primary wait for (the rule), and what the store says of it (the key).
 *
 * The pair must be safe (sync.c) at all times, and a change takes effect late: the old rule may
 * still acknowledge until the new one is settled, an unanswered change of the key may yet be
 * applied. So one of the two is changed at a time, never while the key is in doubt:
 *
 *     key: to what follows from a settled rule, when the pair of both is safe
 *     rule: to another one that is safe with the key as it is, also while some of the server's
 *         processes go by the one and some by the other
 *     neither can go first: a key that asks for more answers; and if there is none, one that says
 *         "nobody but the leader" for a while; it has everything
 *
 * Until it is settled a new rule is only another one that is safe with the same key, so it may be
 * replaced at any time. A server that is not the primary waits for ever, so that no way of opening
 * it acknowledges anything alone. */

static bool is_led_here(const struct ha_view *view)
{
    return view->lease == HA_LEASE_MINE && view->server.state == SERVER_PRIMARY;
}

static bool is_off(const struct ha_view *view)
{
    return view->settings.sync_mode == SYNC_OFF;
}

static bool has_rule(const struct ha_view *view, struct ha_sync_rule rule)
{
    return view->sync.is_known && ha_rule_is_equal(&view->sync.rule, &rule);
}

static bool is_own_key(const struct ha_view *view)
{
    return view->sync.is_published && view->sync.leader == view->self;
}

static bool has_key(const struct ha_view *view, struct ha_sync_key key)
{
    const struct ha_sync_key *own = &view->sync.key;

    return is_own_key(view) && own->voters == key.voters && own->strangers == key.strangers &&
           own->quorum == key.quorum;
}

/* Together with what may be in force still. */
static bool is_safe_with(
    const struct ha_view *view, const struct ha_sync_rule *rule, const struct ha_sync_key *key)
{
    struct ha_sync_rule mix = ha_rule_mix(&view->sync.mix, rule);

    return ha_sync_is_safe(&mix, key);
}

/* With the key as it is; nobody has acted on a key that is not there. Before a server is opened, no
 * other rule lets anything through. */
static bool is_safe_now(const struct ha_view *view, struct ha_sync_rule rule)
{
    if (!is_own_key(view)) {
        return true;
    }
    return view->server.state == SERVER_PRIMARY ? is_safe_with(view, &rule, &view->sync.key)
                                                : ha_sync_is_safe(&rule, &view->sync.key);
}

/* What was sent, by this agent or by one before it, may still change the key. */
static bool is_key_uncertain(const struct ha_view *view)
{
    return view->sync.is_busy || !view->sync.is_confirmed;
}

static bool is_off_for_good(const struct ha_view *view)
{
    return is_off(view) && !view->sync.is_published && !view->sync.is_busy;
}

static struct ha_sync_rule rule_for_key(const struct ha_view *view)
{
    struct ha_sync_rule rule = ha_rule_wanted(view);

    return is_safe_now(view, rule) ? rule : ha_rule_of(view, &view->sync.key);
}

/* After the lease was taken the key names nobody but this node, read back or not. A server that is
 * opened again under the same lease waits until it is certain what the key says: its last rule is
 * not known to whoever opens it, and what was sent for that one may arrive late. */
struct ha_sync_rule ha_rule_to_open(const struct ha_view *view)
{
    if (view->lease == HA_LEASE_MINE && is_key_uncertain(view) && !is_off_for_good(view)) {
        return (struct ha_sync_rule){.is_managed = true, .is_waiting = true};
    }
    return rule_for_key(view);
}

static bool is_unread(const struct ha_view *view)
{
    return !view->is_read;
}

/* It is elected, or may be in a moment: then it need not be told first. */
static bool is_opening(const struct ha_view *view)
{
    const struct ha_member *holder = view->holder >= 0 ? &view->members[view->holder] : NULL;

    if (view->lease == HA_LEASE_MINE) {
        return true;
    }
    if (view->server.state != SERVER_STANDBY) {
        return false;
    }
    return view->lease != HA_LEASE_OTHER || view->is_bound ||
           (view->request.is_present && view->request.is_due) ||
           (holder != NULL && holder->is_fresh && holder->server != SERVER_PRIMARY);
}

static struct ha_sync_rule standby_rule(const struct ha_view *view)
{
    struct ha_sync_rule blocked = {.is_managed = true, .is_waiting = true};

    if (is_off(view) && !view->sync.is_published) {
        return (struct ha_sync_rule){0};
    }
    return is_opening(view) ? ha_rule_to_open(view) : blocked;
}

static bool is_standby_unruled(const struct ha_view *view)
{
    return view->server.state != SERVER_PRIMARY && view->server.state != SERVER_UNKNOWN &&
           !view->server.is_promoting && !has_rule(view, standby_rule(view));
}

static void act_standby(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_SET_RULE;
    action->sync_rule = standby_rule(view);
}

static bool is_not_led_here(const struct ha_view *view)
{
    return !is_led_here(view);
}

static bool is_busy(const struct ha_view *view)
{
    return view->sync.is_busy;
}

static bool is_withdrawn_first(const struct ha_view *view)
{
    return is_off(view) && view->sync.is_published;
}

static void act_withdraw(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_DELETE_SYNC;
    action->member = view->self;
}

static bool is_ended(const struct ha_view *view)
{
    return is_off(view) && !has_rule(view, (struct ha_sync_rule){0});
}

static void act_set_wanted(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_SET_RULE;
    action->sync_rule = ha_rule_wanted(view);
}

/* What the server obeys since an agent before told it is not known. */
static bool is_unknown(const struct ha_view *view)
{
    return !view->sync.is_known;
}

/* A change that compares with what was read also tells whether that was the newest. */
static bool is_doubtful(const struct ha_view *view)
{
    return !view->sync.is_confirmed ||
           (is_unknown(view) && is_own_key(view) && !has_key(view, (struct ha_sync_key){0}));
}

static void act_adopt(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_SET_RULE;
    action->sync_rule = rule_for_key(view);
}

static bool is_of_another(const struct ha_view *view)
{
    return view->sync.is_published && !is_own_key(view);
}

static void act_clear(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_PUT_SYNC;
    action->member = view->self;
}

static bool is_rule_old(const struct ha_view *view)
{
    return !has_rule(view, ha_rule_wanted(view));
}

/* Under a rule that lets nothing through, or everything, nobody has confirmed what was acknowledged
 * by the ones before. */
static bool is_confirming(const struct ha_sync_rule *rule)
{
    return rule->is_waiting && rule->need > 0;
}

static bool is_key_first(const struct ha_view *view)
{
    struct ha_sync_rule wanted = ha_rule_wanted(view);
    struct ha_sync_key key = ha_key_of(&wanted);

    return is_rule_old(view) && view->sync.is_settled && is_confirming(&view->sync.rule) &&
           !has_key(view, key) && is_own_key(view) && ha_sync_is_safe(&view->sync.rule, &key) &&
           is_safe_with(view, &wanted, &key);
}

/* More answers than in the end, for as long as both rules may be in force. */
static bool find_bridge(const struct ha_view *view, struct ha_sync_key *ret)
{
    struct ha_sync_rule wanted = ha_rule_wanted(view);

    return is_rule_old(view) && view->sync.is_settled && is_confirming(&view->sync.rule) &&
           is_confirming(&wanted) && is_own_key(view) &&
           ha_key_between(&view->sync.rule, &wanted, ret) && !has_key(view, *ret);
}

static bool is_bridged(const struct ha_view *view)
{
    struct ha_sync_key key;

    return find_bridge(view, &key);
}

static void act_bridge(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_PUT_SYNC;
    action->member = view->self;
    IGNORE(!find_bridge(view, &action->sync_key), "that is why this is called");
}

static void act_publish(const struct ha_view *view, struct ha_action *action)
{
    struct ha_sync_rule wanted = ha_rule_wanted(view);

    action->kind = HA_PUT_SYNC;
    action->member = view->self;
    action->sync_key = ha_key_of(&wanted);
}

static bool is_rule_first(const struct ha_view *view)
{
    return is_rule_old(view) && is_safe_now(view, ha_rule_wanted(view));
}

static bool is_unsettled(const struct ha_view *view)
{
    return !view->sync.is_settled;
}

static bool is_key_old(const struct ha_view *view)
{
    struct ha_sync_rule wanted = ha_rule_wanted(view);

    return !has_key(view, ha_key_of(&wanted));
}

static bool is_alone(const struct ha_view *view)
{
    return view->sync.rule.names == 0 && view->sync.rule.strangers == 0;
}

static bool is_blocked(const struct ha_view *view)
{
    return is_alone(view) && view->settings.is_sync_strict;
}

static bool always(const struct ha_view *view)
{
    return view != NULL;
}

static const struct ha_rule rows[] = {
    {"sync.unread", TOPIC_SYNC, "the store has not been read yet",
     "what commits wait for stays: the store has not been read yet", is_unread, NULL},
    {"sync.standby", TOPIC_SYNC, "the server is not the primary, and was told another rule",
     "tell the server what commits will wait for when it is opened", is_standby_unruled,
     act_standby},
    {"sync.not-here", TOPIC_SYNC, "this node is not the primary",
     "what commits wait for is the primary's business", is_not_led_here, NULL},
    {"sync.busy", TOPIC_SYNC, "a change of the key sync is under way",
     "waiting for the store to take the key sync", is_busy, NULL},
    {"sync.withdraw", TOPIC_SYNC, "synchronous_mode is off and the key sync is there",
     "remove the key sync: synchronous mode is off", is_withdrawn_first, act_withdraw},
    {"sync.end", TOPIC_SYNC, "synchronous_mode is off, and the server still obeys it",
     "commits wait for nobody any more: synchronous mode is off", is_ended, act_set_wanted},
    {"sync.off", TOPIC_SYNC, "synchronous_mode is off", "replication is asynchronous", is_off,
     NULL},
    {"sync.doubt", TOPIC_SYNC,
     "an agent before told the server what commits wait for, and others could be elected, by what "
     "was read or by a newer key",
     "publish that nobody but this node can take over, until commits wait for known standbys",
     is_doubtful, act_clear},
    {"sync.adopt", TOPIC_SYNC, "an agent before told the server what commits wait for",
     "tell the server anew what commits wait for", is_unknown, act_adopt},
    {"sync.claim", TOPIC_SYNC, "the key sync is of another primary",
     "write the key sync: nobody but this node yet", is_of_another, act_clear},
    {"sync.narrow", TOPIC_SYNC,
     "others are to confirm, and whoever they elect has all that was acknowledged so far",
     "publish the synchronous standbys before commits wait for them", is_key_first, act_publish},
    {"sync.set", TOPIC_SYNC, "others are to confirm, and the key is safe with them",
     "commits wait for other standbys", is_rule_first, act_set_wanted},
    {"sync.bridge", TOPIC_SYNC,
     "others are to confirm, and a key with more answers is safe with the old and the new",
     "publish that more standbys must answer, while other standbys begin to confirm", is_bridged,
     act_bridge},
    {"sync.clear", TOPIC_SYNC, "others are to confirm, and neither key nor rule can go first",
     "publish that nobody but this node can take over for a moment", is_rule_old, act_clear},
    {"sync.wait", TOPIC_SYNC, "what commits wait for has changed and is not certain to be in force",
     "waiting until the synchronous standbys have confirmed everything", is_unsettled, NULL},
    {"sync.publish", TOPIC_SYNC, "the standbys that confirm commits are not published",
     "publish the synchronous standbys", is_key_old, act_publish},
    {"sync.blocked", TOPIC_SYNC, "synchronous_mode_strict is on and no standby can confirm",
     "commits wait for a standby: none can confirm, and synchronous_mode_strict is on", is_blocked,
     NULL},
    {"sync.alone", TOPIC_SYNC, "no standby can confirm",
     "commits wait for nobody: no standby can confirm them, and only this node can take over",
     is_alone, NULL},
    {"sync.steady", TOPIC_SYNC, "nothing else applies", "commits wait for synchronous standbys",
     always, NULL},
};

struct ha_rows rules_sync(void)
{
    return (struct ha_rows){.rows = rows, .count = ARRAY_LEN(rows)};
}
