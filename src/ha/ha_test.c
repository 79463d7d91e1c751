/* Every small view against the promises of ha.h, and every rule reached at least once. */
#include "ha/ha_test.h"

/* pick(n) returns 0 .. n-1; a loop `while (pick_more())` around a body that picks runs it for every
 * combination. */
#define PICKS_MAX 32
static struct {
    unsigned value[PICKS_MAX];
    unsigned limit[PICKS_MAX];
    unsigned used;
    unsigned known;
    bool is_started;
} picks;

static unsigned pick(unsigned count)
{
    assert_true(picks.used < PICKS_MAX);
    if (picks.used == picks.known) {
        picks.value[picks.known] = 0;
        picks.known++;
    }
    picks.limit[picks.used] = count;
    return picks.value[picks.used++];
}

static bool pick_more(void)
{
    if (!picks.is_started) {
        memset(&picks, 0, sizeof(picks));
        picks.is_started = true;
        return true;
    }
    while (picks.known > 0 && picks.value[picks.known - 1] + 1 == picks.limit[picks.known - 1]) {
        picks.known--;
    }
    picks.used = 0;
    if (picks.known == 0) {
        picks.is_started = false;
        return false;
    }
    picks.value[picks.known - 1]++;
    return true;
}

#define RULES_MAX 128
static unsigned reached[RULES_MAX];
static const char *ids[RULES_MAX];
static unsigned rule_count;

static int collect_rules(void **state)
{
    assert_non_null(state);
    for (rule_count = 0; ha_rule_at(rule_count) != NULL; rule_count++) {
        assert_true(rule_count < RULES_MAX);
        ids[rule_count] = ha_rule_at(rule_count)->id;
    }
    return 0;
}

static void note_reached(const struct ha_plan *plan)
{
    for (unsigned at = 0; at < plan->count; at++) {
        for (unsigned rule = 0; rule < rule_count; rule++) {
            if (ids[rule] == plan->actions[at].rule) {
                reached[rule]++;
                break;
            }
        }
    }
}

static void pick_request(struct ha_view *view)
{
    unsigned kind = pick(4);

    view->request.is_present = kind != 0;
    view->request.is_due = kind != 0;
    view->request.leader = kind == 1 || kind == 3 ? 0 : HA_NOBODY;
    view->request.candidate = kind == 1 ? HA_NOBODY : (kind == 2 ? 0 : 1);
    view->request.is_checkpointed = kind != 0 && pick(2) != 0;
    view->request.is_tried = kind == 3 && pick(2) != 0;
}

static struct ha_view pick_view(void)
{
    static const enum server_state peer_states[] = {
        SERVER_STANDBY, SERVER_PRIMARY, SERVER_STARTING};
    struct ha_view view = base_view();

    view.lease = (enum ha_lease)pick(HA_LEASE_MINE + 1);
    view.holder = view.lease == HA_LEASE_MINE ? 0 : (int)pick(3) - 1;
    if (view.lease == HA_LEASE_OTHER) {
        view.holder = 1;
    }
    view.server.state = (enum server_state)pick(SERVER_STOPPING + 1);
    view.members[0].server = view.server.state;
    view.server.is_busy = pick(2) != 0;
    view.server.is_promoting = view.server.state == SERVER_STANDBY && pick(2) != 0;
    view.server.was_clean = view.server.state == SERVER_DOWN && pick(2) != 0;
    view.server.is_torn =
        view.server.state == SERVER_DOWN && !view.server.was_clean && pick(2) != 0;
    if (view.lease == HA_LEASE_MINE) {
        view.server.is_armed = pick(2) != 0;
        view.is_reserved = pick(2) != 0;
        view.lease_left_ms = pick(2) != 0 ? 10000 : 10;
        view.is_renewal_due = pick(2) != 0;
    }
    if (view.lease == HA_LEASE_FREE) {
        view.released_to = (int)pick(3) - 1;
        view.is_grace = pick(2) != 0;
        view.floor.lsn = pick(2) != 0 ? 1005 : 0;
        view.floor.timeline = view.floor.lsn != 0 ? 1 : 0;
    }
    view.members[1].is_fresh = pick(2) != 0;
    view.members[1].is_settled = view.members[1].is_fresh || pick(2) != 0;
    view.members[1].is_unasked = !view.members[1].is_settled && pick(2) != 0;
    view.members[1].server = peer_states[pick(ARRAY_LEN(peer_states))];
    view.members[1].position.lsn = 990 + 10 * pick(3);
    view.initialize = (enum ha_initialize)pick(HA_INITIALIZE_SET + 1);
    view.dcs_ok = pick(2) != 0;
    view.members[0].dcs_ok = view.dcs_ok;
    view.is_leaving = pick(2) != 0;
    if (view.lease == HA_LEASE_MINE && view.server.is_armed && view.is_reserved) {
        view.members[0].trouble = (enum trouble)pick(TROUBLE_DISK_FULL + 1);
        view.server.is_whole = view.members[0].trouble != TROUBLE_NONE && pick(2) != 0;
    }
    if (view.lease == HA_LEASE_OTHER) {
        view.server.relation = (enum relation)pick(RELATION_DIVERGED + 1);
        view.server.is_starved = pick(2) != 0;
    }
    pick_request(&view);
    return view;
}

static bool is_writable(const struct ha_view *view)
{
    return view->server.state == SERVER_PRIMARY || view->server.is_promoting;
}

/* The data directory is given up. */
static void check_replacement(const struct ha_view *view, const struct ha_action *action)
{
    assert_true(action->member > 0);
    assert_true(
        view->server.state == SERVER_ABSENT ||
        (view->server.state == SERVER_DOWN && (view->server.relation == RELATION_DIVERGED ||
                                               view->server.is_torn || view->server.is_starved)));
    assert_true(action->kind == HA_CLONE || !view->server.is_torn);
}

static void check_server_action(const struct ha_view *view, const struct ha_action *action)
{
    bool is_led = view->lease == HA_LEASE_OTHER && view->holder == 1 && view->members[1].is_fresh &&
                  view->members[1].server == SERVER_PRIMARY;

    if (is_writable(view) && view->lease != HA_LEASE_MINE) {
        assert_int_equal(action->kind, HA_KILL);
    }
    if (view->server.is_busy) {
        assert_true(action->kind == HA_NOTHING || action->kind == HA_KILL);
    }
    switch (action->kind) {
    case HA_PROMOTE:
        assert_int_equal(view->lease, HA_LEASE_MINE);
        assert_int_equal(view->server.state, SERVER_STANDBY);
        assert_true(view->server.is_armed);
        assert_true(view->is_reserved);
        assert_true(view->lease_left_ms >= view->promote_budget_ms);
        break;
    case HA_CLONE:
    case HA_REWIND:
        assert_true(is_led);
        check_replacement(view, action);
        break;
    case HA_BOOTSTRAP:
        assert_int_equal(view->server.state, SERVER_ABSENT);
        assert_int_equal(view->initialize, HA_INITIALIZE_MINE);
        break;
    case HA_START:
        assert_int_equal(view->server.state, SERVER_DOWN);
        assert_false(view->server.is_torn);
        break;
    case HA_KILL:
        assert_true(is_writable(view) || view->server.state == SERVER_STOPPING);
        break;
    case HA_FOLLOW:
    case HA_FETCH:
        assert_int_equal(view->server.state, SERVER_STANDBY);
        assert_int_equal(view->lease, HA_LEASE_OTHER);
        break;
    case HA_CHECKPOINT:
        assert_int_equal(view->server.state, SERVER_PRIMARY);
        break;
    case HA_STOP:
        assert_true(view->server.state != SERVER_DOWN);
        assert_true(view->server.state == SERVER_PRIMARY || view->is_leaving || is_led);
        assert_true(!action->is_for_room || !view->server.is_room_tried);
        break;
    case HA_NOTHING:
        break;
    case HA_RENEW:
    case HA_ACQUIRE:
    case HA_RELEASE:
    case HA_CLAIM:
    case HA_INITIALIZE:
    case HA_PUT_CONFIG:
    case HA_PUT_STATUS:
    case HA_PUT_HISTORY:
    case HA_CLEAR_REQUEST:
    case HA_PROMISE:
    case HA_REVOKE:
    case HA_SET_RULE:
    case HA_PUT_SYNC:
    case HA_DELETE_SYNC:
    case HA_ASK:
    case HA_PUT_FAILSAFE:
        fail_msg("%s is no order for a server", ha_action_text(action->kind));
    }
}

static void check_lease_action(const struct ha_view *view, const struct ha_action *action)
{
    bool is_running = view->server.state == SERVER_STANDBY ||
                      view->server.state == SERVER_PRIMARY || view->server.state == SERVER_STOPPING;

    if (action->kind == HA_ACQUIRE) {
        assert_true(view->lease == HA_LEASE_FREE || view->lease == HA_LEASE_EXPIRED);
        assert_true(view->dcs_ok);
        assert_int_equal(view->server.state, SERVER_STANDBY);
        assert_int_equal(view->initialize, HA_INITIALIZE_SET);
        assert_null(ha_bar(view, view->self));
        assert_false(view->server.is_busy);
        assert_false(view->is_leaving);
        assert_false(view->members[1].is_unasked && view->is_grace);
        if ((view->lease == HA_LEASE_EXPIRED || view->released_to != view->self) &&
            view->request.candidate != view->self) {
            assert_int_equal(ha_best(view, HA_NOBODY), view->self);
        }
    }
    if (action->kind == HA_RENEW || action->kind == HA_RELEASE) {
        assert_int_equal(view->lease, HA_LEASE_MINE);
    }
    if (action->kind == HA_RELEASE) {
        assert_true(
            !is_running || (view->server.state == SERVER_STANDBY &&
                            (view->members[view->self].trouble != TROUBLE_NONE ||
                             view->members[view->self].is_watchdog_failed)));
        assert_true(!is_running || view->server.is_whole);
        assert_false(view->server.is_busy && is_running);
        assert_false(view->server.is_promoting);
    }
}

static void check_record_actions(const struct ha_view *view, const struct ha_plan *plan)
{
    for (unsigned at = TOPIC_RECORD; at < plan->count; at++) {
        const struct ha_action *action = &plan->actions[at];

        assert_true(action->kind != HA_NOTHING);
        assert_true(view->dcs_ok);
        if (action->kind == HA_CLAIM) {
            assert_int_equal(view->server.state, SERVER_ABSENT);
            assert_int_equal(view->initialize, HA_INITIALIZE_ABSENT);
        }
        if (action->kind == HA_CLEAR_REQUEST) {
            assert_int_equal(view->lease, HA_LEASE_MINE);
        }
    }
}

static void test_every_small_view(void **state)
{
    uint64_t views = 0;

    assert_null(*state);
    while (pick_more()) {
        struct ha_view view = pick_view();
        struct ha_plan plan;
        struct ha_plan again;

        ha_decide(&view, &plan);
        assert_true(plan.count >= 2);
        assert_true(plan.count <= HA_ACTIONS_MAX);
        check_lease_action(&view, &plan.actions[TOPIC_LEASE]);
        check_server_action(&view, &plan.actions[TOPIC_SERVER]);
        check_record_actions(&view, &plan);
        if (views % 64 == 0) {
            ha_decide(&view, &again);
            assert_int_equal(again.count, plan.count);
            assert_ptr_equal(again.actions[1].rule, plan.actions[1].rule);
        }
        note_reached(&plan);
        views++;
    }
    print_message("%" PRIu64 " views\n", views);
    assert_true(views > 1000000);
}

/* ---- views that the enumeration does not contain, one a rule ---- */

static void set_down_diverged(struct ha_view *view)
{
    view->lease = HA_LEASE_OTHER;
    view->holder = 1;
    view->members[1].server = SERVER_PRIMARY;
    view->server.state = SERVER_DOWN;
    view->server.was_clean = true;
    view->server.relation = RELATION_DIVERGED;
}

static void lease_busy(struct ha_view *view)
{
    view->is_lease_busy = true;
}

static void release_failed(struct ha_view *view)
{
    lead(view);
    view->server.state = SERVER_DOWN;
    view->server.start_failures = 2;
}

static void race_paused(struct ha_view *view)
{
    view->lease = HA_LEASE_EXPIRED;
    view->settings.is_paused = true;
}

/* Next week. */
static void race_paused_scheduled(struct ha_view *view)
{
    race_paused(view);
    view->request.is_present = true;
    view->request.candidate = 0;
}

static void race_paused_asked(struct ha_view *view)
{
    race_paused_scheduled(view);
    view->request.is_due = true;
}

static void paused_failed(struct ha_view *view)
{
    release_failed(view);
    view->settings.is_paused = true;
}

static void paused_scheduled(struct ha_view *view)
{
    paused_failed(view);
    view->request.is_present = true;
    view->request.candidate = 2;
}

static void paused_asked(struct ha_view *view)
{
    paused_scheduled(view);
    view->request.is_due = true;
}

static void race_returning(struct ha_view *view)
{
    view->lease = HA_LEASE_EXPIRED;
    view->holder = 1;
    view->members[1].server = SERVER_STARTING;
}

static void stop_overdue(struct ha_view *view)
{
    lead(view);
    view->server.state = SERVER_STOPPING;
    view->server.stopping_ms = view->settings.ttl_ms + 1;
}

static void foreign(struct ha_view *view)
{
    view->server.state = SERVER_STANDBY;
    view->server.system_id = SYSTEM_ID + 1;
}

static void first_checkpoint(struct ha_view *view)
{
    lead(view);
    view->members[0].is_checkpointed = false;
}

static void server_paused(struct ha_view *view)
{
    view->settings.is_paused = true;
    view->server.state = SERVER_STANDBY;
}

static void back_off(struct ha_view *view)
{
    view->server.state = SERVER_DOWN;
    view->server.is_start_due = false;
}

static void surplus(struct ha_view *view)
{
    set_down_diverged(view);
    view->server.is_virgin = true;
    view->server.system_id = SYSTEM_ID + 1;
}

static void torn(struct ha_view *view)
{
    set_down_diverged(view);
    view->server.was_clean = false;
    view->server.relation = RELATION_UNKNOWN;
    view->server.is_torn = true;
}

static void torn_unled(struct ha_view *view)
{
    torn(view);
    view->lease = HA_LEASE_EXPIRED;
}

static void torn_with_lease(struct ha_view *view)
{
    lead(view);
    view->server.state = SERVER_DOWN;
    view->server.is_torn = true;
    view->members[1].nofailover = true;
    view->members[2].nofailover = true;
}

static void release_torn(struct ha_view *view)
{
    torn_with_lease(view);
    view->members[1].nofailover = false;
}

static void rewind_early(struct ha_view *view)
{
    set_down_diverged(view);
    view->members[1].is_checkpointed = false;
}

/* Not ready, and never will be: what its pages need is not in the primary's history. */
static void starting_diverged(struct ha_view *view)
{
    set_down_diverged(view);
    view->server.state = SERVER_STARTING;
}

static void clone_diverged(struct ha_view *view)
{
    set_down_diverged(view);
    view->server.can_rewind = false;
}

static void follow(struct ha_view *view)
{
    view->lease = HA_LEASE_OTHER;
    view->holder = 1;
    view->server.state = SERVER_STANDBY;
    view->server.upstream = 2;
}

static void outgrown(struct ha_view *view)
{
    view->lease = HA_LEASE_OTHER;
    view->holder = 1;
    view->members[1].server = SERVER_PRIMARY;
    view->members[0].is_outgrown = true;
}

static void unreserved(struct ha_view *view)
{
    lead(view);
    view->server.state = SERVER_STANDBY;
}

static void promotion_failed(struct ha_view *view)
{
    lead(view);
    view->server.state = SERVER_STANDBY;
    view->is_reserved = true;
    view->server.is_promote_due = false;
    view->server.promote_failures = 1;
}

static void promotion_failed_again(struct ha_view *view)
{
    promotion_failed(view);
    view->server.promote_failures = 2;
}

static void paused_promotion_failed(struct ha_view *view)
{
    promotion_failed_again(view);
    view->settings.is_paused = true;
}

static void store_set_back(struct ha_view *view)
{
    view->lease = HA_LEASE_FREE;
    view->is_store_old = true;
    view->is_old_new = true;
}

static void sync_store_set_back(struct ha_view *view)
{
    store_set_back(view);
    view->is_old_new = false;
    view->settings.sync_mode = SYNC_ON;
    for (unsigned at = 0; at < view->member_count; at++) {
        view->members[at].is_whole = true;
    }
    view->members[2].is_fresh = false;
}

static void sync_store_set_back_told(struct ha_view *view)
{
    sync_store_set_back(view);
    view->members[2].is_fresh = true;
}

/* The old key has this node for its leader, and knows nothing of who came after it. */
static void sync_store_set_back_behind(struct ha_view *view)
{
    sync_store_set_back_told(view);
    view->sync = (struct ha_sync){.is_published = true, .leader = view->self};
    view->members[2].position.lsn = 2000;
    view->members[2].nofailover = true;
}

/* ... or a member that has no more than this node: no voters are needed. */
static void sync_store_set_back_leader(struct ha_view *view)
{
    sync_store_set_back_told(view);
    view->sync = (struct ha_sync){.is_published = true, .leader = 1};
}

static void sync_store_set_back_open(struct ha_view *view)
{
    sync_store_set_back_told(view);
    view->members[2].server = SERVER_PRIMARY;
}

/* It answers, but not yet how far its log goes. */
static void sync_store_set_back_early(struct ha_view *view)
{
    sync_store_set_back(view);
    view->members[2].is_fresh = true;
    view->members[2].server = SERVER_STARTING;
}

static void cluster_forgotten(struct ha_view *view)
{
    view->lease = HA_LEASE_FREE;
    view->initialize = HA_INITIALIZE_ABSENT;
    view->server.state = SERVER_ABSENT;
    view->has_past = true;
}

static void config_missing(struct ha_view *view)
{
    lead(view);
    view->has_config = false;
}

static void status_due(struct ha_view *view)
{
    lead(view);
    view->is_status_due = true;
}

static void history_missing(struct ha_view *view)
{
    lead(view);
    view->has_history = false;
}

static void request_stale(struct ha_view *view)
{
    lead(view);
    view->request.is_present = true;
    view->request.is_due = true;
    view->request.leader = 0;
    view->request.candidate = HA_STRANGER;
}

/* The steps of a hand-over as the old primary sees them, and its end. */
static void hand_over_released(struct ha_view *view)
{
    view->server.state = SERVER_DOWN;
    view->server.was_clean = true;
    view->server.was_primary = true;
    view->lease = HA_LEASE_EXPIRED;
    view->holder = 0;
    view->is_lease_busy = true;
}

static void hand_over_taken(struct ha_view *view)
{
    hand_over_released(view);
    view->is_lease_busy = false;
    view->lease = HA_LEASE_OTHER;
    view->holder = 1;
    view->server.down_ms = 2999;
}

static void hand_over_too_long(struct ha_view *view)
{
    hand_over_taken(view);
    view->server.down_ms = 3000;
}

static void hand_over_complete(struct ha_view *view)
{
    hand_over_taken(view);
    view->members[1].server = SERVER_PRIMARY;
}

/* The store may be an old copy: each member is heard first, and nobody for ever. */
static void released_unasked(struct ha_view *view)
{
    view->lease = HA_LEASE_FREE;
    view->released_to = view->self;
    view->is_grace = true;
    view->members[1].is_unasked = true;
}

static void released_unasked_long(struct ha_view *view)
{
    released_unasked(view);
    view->is_grace = false;
}

static void standby_down(struct ha_view *view)
{
    hand_over_taken(view);
    view->server.was_primary = false;
}

static const struct special specials[] = {
    {"start.hand-over", hand_over_released},
    {"start.hand-over", hand_over_taken},
    {"start.standby", hand_over_too_long},
    {"start.standby", hand_over_complete},
    {"start.standby", standby_down},
    {"race.unasked", released_unasked},
    {"race.successor", released_unasked_long},
    {"lease.busy", lease_busy},
    {"failover.release", release_failed},
    {"race.paused", race_paused},
    {"race.paused", race_paused_scheduled},
    {"race.chosen", race_paused_asked},
    {"lease.hold", paused_failed},
    {"lease.hold", paused_scheduled},
    {"failover.release", paused_asked},
    {"lease.hold", paused_promotion_failed},
    {"race.returning", race_returning},
    {"stop.overdue", stop_overdue},
    {"server.foreign", foreign},
    {"primary.checkpoint", first_checkpoint},
    {"server.paused", server_paused},
    {"server.back-off", back_off},
    {"clone.torn", torn},
    {"clone.torn-wait", torn_unled},
    {"clone.torn-wait", torn_with_lease},
    {"failover.release", release_torn},
    {"rewind.early", rewind_early},
    {"clone.surplus", surplus},
    {"clone.diverged", clone_diverged},
    {"standby.diverged", starting_diverged},
    {"standby.follow", follow},
    {"promote.unreserved", unreserved},
    {"race.old-store", store_set_back},
    {"race.barred", sync_store_set_back},
    {"race.barred", sync_store_set_back_early},
    {"race.acquire", sync_store_set_back_told},
    {"race.barred", sync_store_set_back_behind},
    {"race.acquire", sync_store_set_back_leader},
    {"race.barred", sync_store_set_back_open},
    {"promote.back-off", promotion_failed},
    {"failover.release", promotion_failed_again},
    {"standby.outgrown", outgrown},
    {"clone.forgotten", cluster_forgotten},
    {"record.config", config_missing},
    {"record.status", status_due},
    {"record.history", history_missing},
    {"request.stale", request_stale},
};

static void test_special_views(void **state)
{
    assert_null(*state);
    for (size_t at = 0; at < ARRAY_LEN(specials); at++) {
        struct ha_plan plan;

        reach(&specials[at], &plan);
        note_reached(&plan);
    }
}

/* In maintenance mode it is not the best that goes on, but whom a person names. */
static void test_paused_release_is_to_the_named(void **state)
{
    const struct special asked = {"failover.release", paused_asked};
    struct ha_plan plan;

    assert_null(*state);
    reach(&asked, &plan);
    assert_int_equal(plan.actions[TOPIC_LEASE].kind, HA_RELEASE);
    assert_int_equal(plan.actions[TOPIC_LEASE].member, 2);
}

/* A person may stop the server in maintenance mode and wait for its clients; baton does not. */
static void test_paused_stop_is_not_overdue(void **state)
{
    assert_null(*state);
    for (int is_busy = 0; is_busy < 2; is_busy++) {
        struct ha_view view = base_view();
        struct ha_plan plan;

        stop_overdue(&view);
        view.settings.is_paused = true;
        view.server.is_busy = is_busy != 0;
        ha_decide(&view, &plan);
        assert_int_equal(plan.actions[TOPIC_SERVER].kind == HA_KILL, is_busy);
    }
}

/* What is said to be the end of the log binds all others: only what certainly is. */
static void test_release_says_only_a_certain_end(void **state)
{
    assert_null(*state);
    for (int is_end_known = 0; is_end_known < 2; is_end_known++) {
        struct ha_view view = base_view();
        struct ha_plan plan;

        lead(&view);
        view.is_leaving = true;
        view.server.state = view.members[0].server = SERVER_DOWN;
        view.server.was_clean = true; /* an elected standby was stopped, or a primary */
        view.server.is_end_known = is_end_known != 0;
        ha_decide(&view, &plan);
        assert_string_equal(plan.actions[TOPIC_LEASE].rule, "leave.release");
        assert_int_equal(plan.actions[TOPIC_LEASE].floor.lsn != 0, is_end_known);
    }
}

/* revoke_test.c, failsafe_test.c, trouble_test.c and tail_test.c have the views of those. */
static bool is_of_others(const struct ha_rule *rule)
{
    static const char *const others[] = {
        "crash.release", "lease.next-term", "start.asking",  "promote.unruled", "failsafe.ask",
        "failsafe.hold", "record.failsafe", "race.failsafe", "promote.unfit",   "start.trouble"};

    for (size_t at = 0; at < ARRAY_LEN(others); at++) {
        if (str_equal(others[at], rule->id)) {
            return true;
        }
    }
    return rule->topic == TOPIC_SYNC || str_starts(rule->id, "revoke.") ||
           str_starts(rule->id, "trouble.") || str_starts(rule->id, "tail.");
}

static void test_every_rule_is_reached(void **state)
{
    unsigned missing = 0;

    assert_null(*state);
    for (unsigned at = 0; ha_rule_at(at) != NULL; at++) {
        const struct ha_rule *rule = ha_rule_at(at);

        assert_true(strlen(rule->when) > 0);
        assert_true(strlen(rule->why) > 0);
        for (unsigned other = 0; other < at; other++) {
            assert_string_not_equal(rule->id, ha_rule_at(other)->id);
        }
        if (reached[at] == 0 && !is_of_others(rule)) {
            print_message("never reached: %s\n", rule->id);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_small_view),
        cmocka_unit_test(test_special_views),
        cmocka_unit_test(test_paused_release_is_to_the_named),
        cmocka_unit_test(test_paused_stop_is_not_overdue),
        cmocka_unit_test(test_release_says_only_a_certain_end),
        cmocka_unit_test(test_every_rule_is_reached),
    };

    return cmocka_run_group_tests(tests, collect_rules, NULL);
}
