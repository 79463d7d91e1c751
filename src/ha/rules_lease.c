#include "ha/rules.h"

/* What to do about the right to write: keep it, give it up, or take it. */

/* How long a server that has died is kept down to hear what its standbys have. */
#define ASK_STANDBYS_MS 150

static bool is_lease_busy(const struct ha_view *view)
{
    return view->is_lease_busy;
}

static bool is_mine(const struct ha_view *view)
{
    return view->lease == HA_LEASE_MINE;
}

static bool is_mine_and_down(const struct ha_view *view)
{
    return is_mine(view) && !is_running(view) && !view->server.is_busy &&
           view->server.state != SERVER_UNKNOWN;
}

static bool leave_release(const struct ha_view *view)
{
    return view->is_leaving && is_mine_and_down(view);
}

static bool switchover_release(const struct ha_view *view)
{
    return is_mine_and_down(view) && is_ready_to_hand_over(view);
}

/* The server cannot be brought back here, or not in the time that the operator allows. */
static bool is_hopeless(const struct ha_view *view)
{
    const struct ha_server *server = &view->server;

    if (server->state == SERVER_BROKEN || server->state == SERVER_ABSENT || server->is_torn) {
        return true;
    }
    if (server->state != SERVER_DOWN && server->state != SERVER_STARTING) {
        return false;
    }
    return server->start_failures >= 2 || server->down_ms > view->settings.primary_start_timeout_ms;
}

/* It cannot be opened here. A standby is given up only while no promotion can begin (in the same
 * turn), nor has begun: the number that was reserved for it is still good. */
static bool is_unpromotable(const struct ha_view *view)
{
    const struct ha_server *server = &view->server;

    return server->promote_failures >= 2 &&
           (server->state == SERVER_DOWN || (server->state == SERVER_STANDBY && !server->is_busy &&
                                             !server->is_promote_due && view->is_reserved));
}

/* A standby that was elected has all acknowledged changes: whoever has what it has can go on. One
 * that was started again since may not know yet what it has. */
static bool is_release_by_position(const struct ha_view *view)
{
    return view->server.state == SERVER_STANDBY && view->server.is_whole && view->sync.is_published;
}

static int find_next(const struct ha_view *view)
{
    struct ha_view asked;

    if (!is_release_by_position(view)) {
        return ha_best(view, view->self);
    }
    asked = *view;
    asked.floor = view->members[view->self].position;
    return ha_best(&asked, view->self);
}

/* In maintenance mode only to whom a person wants to lead. */
static int find_successor(const struct ha_view *view)
{
    if (!view->settings.is_paused) {
        return find_next(view);
    }
    return is_asked_to_hand_over(view) ? hand_over_target(view) : HA_NOBODY;
}

bool has_crashed(const struct ha_view *view)
{
    return view->server.state == SERVER_DOWN && !view->server.was_clean &&
           view->server.was_primary && !view->server.is_torn;
}

/* Somebody who certainly has all that the dead server here had can go on at once. */
static int find_complete(const struct ha_view *view)
{
    struct ha_view asked;

    if (!has_crashed(view) || !view->server.is_end_known) {
        return HA_NOBODY;
    }
    asked = *view;
    asked.floor = view->members[view->self].position;
    return ha_best(&asked, view->self);
}

/* So can somebody who has all that the dead server can have acknowledged. */
static int find_confirmed(const struct ha_view *view)
{
    int best = HA_NOBODY;

    if (!has_crashed(view) || !view->sync.is_published || view->sync.leader != view->self) {
        return HA_NOBODY;
    }
    for (int at = 0; at < (int)view->member_count; at++) {
        if (at != view->self && ha_bar(view, at) == NULL && ha_sync_is_confirmed(view, at) &&
            (best == HA_NOBODY || ha_rank(view, at, best) < 0)) {
            best = at;
        }
    }
    return best;
}

static int find_heir(const struct ha_view *view)
{
    int complete = find_complete(view);

    return complete != HA_NOBODY ? complete : find_confirmed(view);
}

bool crash_release(const struct ha_view *view)
{
    return is_mine_and_down(view) && !view->settings.is_paused && find_heir(view) != HA_NOBODY;
}

/* One may have all that the dead server had, and go on sooner than this one is back. */
bool crash_is_asking(const struct ha_view *view)
{
    const struct ha_server *server = &view->server;

    return has_crashed(view) && is_mine(view) && server->is_end_known &&
           !view->settings.is_paused && server->ended_ms < ASK_STANDBYS_MS &&
           (ha_best(view, view->self) != HA_NOBODY || tail_may_have_heir(view));
}

/* Not to somebody who lacks the end while there may be one who has it, or gets it. */
static bool failover_release(const struct ha_view *view)
{
    return is_mine(view) && (is_hopeless(view) || is_unpromotable(view)) &&
           !view->server.is_promoting && !crash_is_asking(view) &&
           ha_tail_heir(view) == HA_NOBODY && find_successor(view) != HA_NOBODY;
}

static bool trouble_release(const struct ha_view *view)
{
    return trouble_heir(view) != HA_NOBODY;
}

/* Others have promised to confirm nothing to a holder of this term. */
static bool is_challenged(const struct ha_view *view)
{
    return is_mine(view) && view->is_challenged && view->is_read;
}

static bool is_renewal_due(const struct ha_view *view)
{
    return is_mine(view) && view->is_renewal_due;
}

static bool is_unread(const struct ha_view *view)
{
    return view->lease == HA_LEASE_UNKNOWN;
}

static bool is_other(const struct ha_view *view)
{
    return view->lease == HA_LEASE_OTHER;
}

static bool is_leaving(const struct ha_view *view)
{
    return view->is_leaving;
}

static bool is_store_lost(const struct ha_view *view)
{
    return !view->dcs_ok;
}

static bool is_store_just_set_back(const struct ha_view *view)
{
    return view->is_old_new;
}

static bool is_uninitialized(const struct ha_view *view)
{
    return view->initialize != HA_INITIALIZE_SET || view->system_id != view->server.system_id;
}

static bool is_server_unsettled(const struct ha_view *view)
{
    return view->server.is_busy || view->server.is_promoting;
}

static bool is_paused(const struct ha_view *view)
{
    const struct ha_request *request = &view->request;
    bool is_asked = request->is_present && request->is_due &&
                    (request->candidate == HA_NOBODY || request->candidate == view->self);

    /* For whoever is named its voters must promise. */
    bool is_voter = request->is_present && request->is_due && revoke_is_overdue(view);

    return view->settings.is_paused && !is_asked && !is_voter && view->released_to != view->self;
}

static bool is_self_barred(const struct ha_view *view)
{
    return ha_bar(view, view->self) != NULL;
}

static void explain_bar(const struct ha_view *view, struct ha_action *action)
{
    action->detail = ha_bar(view, view->self);
}

static bool is_released_to_self(const struct ha_view *view)
{
    return view->lease == HA_LEASE_FREE && view->released_to == view->self;
}

/* The store may have been set back to a release of long ago, and this agent have begun since: then
 * others know of the terms and timelines that came after it. */
static int find_unasked(const struct ha_view *view)
{
    bool is_early = is_released_to_self(view) && view->is_grace;

    for (int at = 0; is_early && at < (int)view->member_count; at++) {
        if (at != view->self && view->members[at].is_unasked) {
            return at;
        }
    }
    return HA_NOBODY;
}

static bool is_anybody_unasked(const struct ha_view *view)
{
    return find_unasked(view) != HA_NOBODY;
}

static void about_unasked(const struct ha_view *view, struct ha_action *action)
{
    action->about = find_unasked(view);
}

static bool is_released_to_other(const struct ha_view *view)
{
    return view->lease == HA_LEASE_FREE && view->is_grace && view->released_to >= 0 &&
           view->released_to != view->self;
}

static void about_released_to(const struct ha_view *view, struct ha_action *action)
{
    action->about = view->released_to;
}

/* Whether the candidate that an operator named goes before member OTHER. One that would lose what
 * OTHER has goes first only if the operator asked for a failover: a switchover may not lose. */
static bool is_named_before(const struct ha_view *view, int other)
{
    const struct ha_request *request = &view->request;
    int candidate = request->candidate;

    if (!request->is_present || !request->is_due || candidate < 0 ||
        ha_bar(view, candidate) != NULL) {
        return false;
    }
    return request->leader == HA_NOBODY || ha_compare(view, candidate, other) >= 0;
}

static bool is_other_named(const struct ha_view *view)
{
    return view->request.candidate != view->self && is_named_before(view, view->self);
}

static bool is_self_named(const struct ha_view *view)
{
    int best = ha_best(view, HA_NOBODY);

    return view->request.candidate == view->self && best != HA_NOBODY &&
           is_named_before(view, best);
}

static void about_candidate(const struct ha_view *view, struct ha_action *action)
{
    action->about = view->request.candidate;
}

/* Somebody who may still turn out to answer, and to be better. */
static int find_unsettled(const struct ha_view *view)
{
    for (int at = 0; at < (int)view->member_count; at++) {
        if (at != view->self && !view->members[at].is_settled) {
            return at;
        }
    }
    return HA_NOBODY;
}

static bool is_anybody_unsettled(const struct ha_view *view)
{
    return find_unsettled(view) != HA_NOBODY;
}

static void about_unsettled(const struct ha_view *view, struct ha_action *action)
{
    action->about = find_unsettled(view);
}

/* Whoever wrote last is coming back and can take the lease again: it has everything. Nobody waits
 * for it longer than for a primary that is dead, nor who is known to have all that counts. */
static bool is_last_holder_returning(const struct ha_view *view)
{
    const struct ha_member *last;

    if (view->holder < 0 || view->holder == view->self || view->lease != HA_LEASE_EXPIRED ||
        (view->sync.is_published && ha_sync_is_confirmed(view, view->self))) {
        return false;
    }
    last = &view->members[view->holder];
    return last->is_fresh && last->dcs_ok && !last->nofailover && last->server == SERVER_STARTING &&
           last->trouble != TROUBLE_SILENT && !trouble_is_disk_bad(last->trouble) &&
           last->down_ms <= view->settings.primary_start_timeout_ms;
}

static void about_holder(const struct ha_view *view, struct ha_action *action)
{
    action->about = view->holder;
}

static void about_better_promised(const struct ha_view *view, struct ha_action *action)
{
    action->about = revoke_better(view);
}

static void act_promise(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_PROMISE;
    action->member = view->self;
    action->about = view->holder;
}

static bool is_other_better(const struct ha_view *view)
{
    return ha_best(view, HA_NOBODY) != view->self;
}

static void about_best(const struct ha_view *view, struct ha_action *action)
{
    action->about = ha_best(view, HA_NOBODY);
}

static bool always(const struct ha_view *view)
{
    return view != NULL;
}

static void act_renew(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_RENEW;
    action->member = view->self;
}

static void act_ask(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_ASK;
    action->member = view->self;
}

static void act_next_term(const struct ha_view *view, struct ha_action *action)
{
    act_renew(view, action);
    action->is_next_term = true;
}

static void act_acquire(const struct ha_view *view, struct ha_action *action)
{
    action->kind = HA_ACQUIRE;
    action->member = view->self;
}

/* With the exact end of the log if it is known, so that nobody who lacks a part of it goes first.
 */
static void release_to(const struct ha_view *view, struct ha_action *action, int member)
{
    action->kind = HA_RELEASE;
    action->member = member;
    action->about = member;
    if (is_release_by_position(view) ||
        (view->server.state == SERVER_DOWN && !view->server.is_torn && view->server.is_end_known)) {
        action->floor = view->members[view->self].position;
    }
}

/* Of a server that died and does not come back, the end may be what nobody else has: then nobody
 * could go on. Who goes first is decided without it, as if this node were gone. */
static void release_past(const struct ha_view *view, struct ha_action *action, int next)
{
    release_to(view, action, next);
    if (next != HA_NOBODY && has_crashed(view) &&
        position_compare(view->members[next].position, action->floor) < 0) {
        action->floor = (struct position){0};
    }
}

static void act_release_to_best(const struct ha_view *view, struct ha_action *action)
{
    release_past(view, action, find_next(view));
}

static void act_release_to_successor(const struct ha_view *view, struct ha_action *action)
{
    release_past(view, action, find_successor(view));
}

/* Whoever lacks what the heir has may lack what was acknowledged. */
static void act_release_to_heir(const struct ha_view *view, struct ha_action *action)
{
    int heir = find_heir(view);

    release_to(view, action, heir);
    if (find_complete(view) == HA_NOBODY) {
        action->floor = view->members[heir].position;
    }
}

static void act_release_from_trouble(const struct ha_view *view, struct ha_action *action)
{
    release_to(view, action, trouble_heir(view));
}

static void act_release_to_target(const struct ha_view *view, struct ha_action *action)
{
    release_to(view, action, hand_over_target(view));
}

static const struct ha_rule rows[] = {
    {"failsafe.ask", TOPIC_LEASE,
     "failsafe_mode is on, and the store has not renewed the lease for half of its hold",
     "ask the other members to let this node go on without the store", failsafe_is_due, act_ask},
    {"lease.busy", TOPIC_LEASE, "a change of the lease is under way",
     "waiting for the store's answer", is_lease_busy, NULL},
    {"leave.release", TOPIC_LEASE,
     "the agent is leaving, its server is down, the lease is held here",
     "release the lease: this node is being stopped", leave_release, act_release_to_best},
    {"switchover.release", TOPIC_LEASE,
     "a hand-over was asked for and the server has stopped with a complete log",
     "release the lease to the new primary, with the end of the log", switchover_release,
     act_release_to_target},
    {"crash.release", TOPIC_LEASE,
     "the server has died, and a standby has all that it had, or can have acknowledged",
     "release the lease: a standby has everything that the dead server can have acknowledged",
     crash_release, act_release_to_heir},
    {"trouble.release", TOPIC_LEASE,
     "the server here is not open, this node's disk or required watchdog does not work, and "
     "another one can take over",
     "release the lease: this node's disk or watchdog does not work", trouble_release,
     act_release_from_trouble},
    {"failover.release", TOPIC_LEASE,
     "the server cannot be started here within primary_start_timeout, or two promotions have "
     "failed, and a standby can take over; in maintenance mode one that was asked for",
     "release the lease: the server does not come back here", failover_release,
     act_release_to_successor},
    {"trouble.stuck", TOPIC_LEASE,
     "the server was killed and does not end (its disk hangs), and another node can take over",
     "let the lease run out: the server was killed and does not end", trouble_is_stuck, NULL},
    {"trouble.lapse", TOPIC_LEASE,
     "the server here is not open, this node's disk takes no writes, and nobody who could take "
     "over "
     "has all that is here",
     "let the lease run out: this node's disk takes no writes, and nobody has all that it has",
     trouble_is_lapsing, NULL},
    {"lease.next-term", TOPIC_LEASE,
     "the lease is held here, and others have promised not to follow a holder of its term",
     "renew the lease with the next term, so that the others follow this node again", is_challenged,
     act_next_term},
    {"lease.renew", TOPIC_LEASE, "the lease is held here and its renewal is due", "renew the lease",
     is_renewal_due, act_renew},
    {"failsafe.hold", TOPIC_LEASE, "the lease is held by the promises of most members",
     "this node holds the lease without the store: most members have promised not to take it",
     failsafe_is_held, NULL},
    {"lease.hold", TOPIC_LEASE, "the lease is held here", "this node holds the lease", is_mine,
     NULL},
    {"race.leave", TOPIC_LEASE, "the agent is leaving", "not racing: this node is being stopped",
     is_leaving, NULL},
    {"lease.unread", TOPIC_LEASE, "the store has not been read yet",
     "the store has not been read yet", is_unread, NULL},
    {"revoke.alone", TOPIC_LEASE,
     "this node cannot hear the holder of the lease; others can, or do not answer",
     "waiting for the lease to end: its holder is not heard here, but too few synchronous standbys "
     "answer and say the same",
     revoke_is_alone, about_holder},
    {"revoke.promise", TOPIC_LEASE,
     "most nodes cannot hear the holder of the lease, whose commits wait for standbys",
     "promise to confirm nothing more to the holder of the lease: it is not heard",
     revoke_may_promise, act_promise},
    {"revoke.barred", TOPIC_LEASE, "the holder is not heard, and this node cannot be a candidate",
     "the holder of the lease is not heard, but this node cannot be a candidate", revoke_is_barred,
     explain_bar},
    {"revoke.short", TOPIC_LEASE,
     "the holder is not heard, too few synchronous standbys have promised to confirm it nothing",
     "waiting: the holder of the lease is not heard, but too few synchronous standbys answer to "
     "replace it without losing acknowledged changes",
     revoke_is_short, about_holder},
    {"revoke.behind", TOPIC_LEASE, "the holder is not heard, another node is the better candidate",
     "not taking over: another member is the better candidate", revoke_is_behind,
     about_better_promised},
    {"revoke.take", TOPIC_LEASE,
     "the holder is not heard, and nobody whom its commits wait for confirms any more",
     "take the lease: its holder is not heard and can acknowledge nothing more", revoke_is_promised,
     act_acquire},
    {"lease.other", TOPIC_LEASE, "the lease is held by another node",
     "another node holds the lease", is_other, about_holder},
    {"race.no-store", TOPIC_LEASE, "the store cannot be reached",
     "not racing: the store cannot be reached", is_store_lost, NULL},
    {"race.old-store", TOPIC_LEASE,
     "the store shows a lower term than was seen, since less than the lease's length",
     "waiting: a higher term of the lease was seen than the store shows, its holder may still be "
     "there",
     is_store_just_set_back, NULL},
    {"race.uninitialized", TOPIC_LEASE, "this node's data is not the cluster's",
     "not racing: the cluster is not initialized with this node's data", is_uninitialized, NULL},
    {"race.busy", TOPIC_LEASE, "the server is being changed",
     "not racing: the server is being changed", is_server_unsettled, NULL},
    {"race.paused", TOPIC_LEASE, "maintenance mode is on and nobody has asked for a primary by now",
     "not racing: maintenance mode is on", is_paused, NULL},
    {"revoke.overdue", TOPIC_LEASE,
     "the lease has ended, and its holder's commits waited for standbys",
     "promise to confirm nothing more to the holder of the lease: it has ended", revoke_is_overdue,
     act_promise},
    {"race.barred", TOPIC_LEASE, "this node cannot be a candidate",
     "this node cannot be a candidate", is_self_barred, explain_bar},
    {"race.unasked", TOPIC_LEASE,
     "the lease was released to this node a moment ago, and another member has told nothing yet",
     "waiting for a first answer of each member", is_anybody_unasked, about_unasked},
    {"race.successor", TOPIC_LEASE, "the lease was released to this node",
     "take the lease: it was released to this node", is_released_to_self, act_acquire},
    {"race.yield", TOPIC_LEASE, "the lease was released to another node a moment ago",
     "not racing: the lease was released to another node", is_released_to_other, about_released_to},
    {"race.failsafe", TOPIC_LEASE,
     "the last holder can go on without the store, for all that enough members have said",
     "waiting: too few members have said that the last primary does not go on without the store",
     failsafe_is_guarded, about_holder},
    {"race.named", TOPIC_LEASE, "an operator named another candidate, and it can",
     "not racing: an operator named another candidate", is_other_named, about_candidate},
    {"race.settle", TOPIC_LEASE, "another member may still answer",
     "waiting to hear from all members", is_anybody_unsettled, about_unsettled},
    {"race.returning", TOPIC_LEASE, "the last primary is recovering and can take the lease again",
     "waiting for the last primary, which is recovering", is_last_holder_returning, about_holder},
    {"race.chosen", TOPIC_LEASE,
     "an operator named this node, and it would not lose what others have",
     "take the lease: an operator named this node", is_self_named, act_acquire},
    {"race.behind", TOPIC_LEASE, "another member is the better candidate",
     "not racing: another member is the better candidate", is_other_better, about_best},
    {"race.acquire", TOPIC_LEASE,
     "the lease is free or expired and this node is the best candidate",
     "take the lease: this node is the best candidate", always, act_acquire},
};

struct ha_rows rules_lease(void)
{
    return (struct ha_rows){.rows = rows, .count = ARRAY_LEN(rows)};
}
