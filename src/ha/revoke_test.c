/* Takeover in synchronous modes: every small view of answers, promises and positions, and a view
 * for each rule that only these modes have. */
#include "ha/rules.h"

#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

#define SYSTEM_ID 77

/* Node 0 is this one; node 1 holds the lease, or held it; node 2 is another standby. */
static struct ha_view base_view(void)
{
    struct ha_view view = {
        .member_count = 3,
        .dcs_ok = true,
        .is_read = true,
        .lease = HA_LEASE_OTHER,
        .holder = 1,
        .released_to = HA_NOBODY,
        .initialize = HA_INITIALIZE_SET,
        .system_id = SYSTEM_ID,
        .has_config = true,
        .has_history = true,
        .settings = CLUSTER_SETTINGS_DEFAULT,
        .promote_budget_ms = 500,
        .server =
            {.state = SERVER_STANDBY,
             .is_start_due = true,
             .is_promote_due = true,
             .is_detached = true,
             .system_id = SYSTEM_ID,
             .upstream = HA_NOBODY},
        .request = {.leader = HA_NOBODY, .candidate = HA_NOBODY},
        .sync = {.is_published = true, .leader = 1, .key = {.voters = 5, .quorum = 1}},
        .is_bound = true,
    };

    view.settings.sync_mode = SYNC_QUORUM;
    for (int at = 0; at < 3; at++) {
        view.members[at] = (struct ha_member){
            .is_fresh = true,
            .is_settled = true,
            .dcs_ok = true,
            .server = SERVER_STANDBY,
            .position = {.timeline = 2, .lsn = 1000},
            .priority = 1,
            .sync_priority = 1,
            .is_current = true,
            .is_whole = true,
            .is_suspecting = true,
            .is_promised = true,
        };
        view.members[at].name[0] = (char)('a' + at);
    }
    view.members[1].is_fresh = false;
    view.members[1].is_promised = false;
    view.members[1].is_suspecting = false;
    return view;
}

static unsigned take(unsigned *code, unsigned count)
{
    unsigned value = *code % count;

    *code /= count;
    return value;
}

static void pick_member(unsigned *code, struct ha_member *member)
{
    member->is_fresh = take(code, 2) != 0;
    member->is_current = take(code, 2) != 0;
    member->is_suspecting = member->is_fresh && take(code, 2) != 0;
    member->is_promised = member->is_fresh && take(code, 2) != 0;
    member->position.lsn = 990 + 10 * take(code, 3);
}

/* Whoever takes the lease is behind none of more than quorum voters whose answers are final. */
static void check_taken(const struct ha_view *view)
{
    const struct ha_member *self = &view->members[0];
    unsigned answers = 0;

    assert_true(view->dcs_ok);
    if (!view->sync.is_published || view->sync.leader == 0) {
        return;
    }
    for (int at = 0; at < 3; at++) {
        const struct ha_member *member = &view->members[at];
        bool is_final = member->is_promised && view->lease != HA_LEASE_FREE;

        if (view->lease != HA_LEASE_OTHER) {
            is_final = (is_final || view->lease == HA_LEASE_FREE || member->is_patroni) &&
                       member->is_current && member->is_whole && member->server == SERVER_STANDBY;
        }

        answers += ((view->sync.key.voters >> at) & 1) != 0 && member->is_fresh && is_final &&
                           member->position.lsn <= self->position.lsn
                       ? 1
                       : 0;
    }
    if (view->lease == HA_LEASE_FREE && view->floor.lsn != 0) {
        assert_true(self->position.lsn >= view->floor.lsn);
        return;
    }
    assert_true(answers > view->sync.key.quorum);
    if (view->lease == HA_LEASE_OTHER) {
        assert_true(self->is_promised);
        assert_true(self->is_suspecting);
        assert_true(view->members[2].is_fresh && view->members[2].is_suspecting);
        assert_int_equal(view->sync.leader, view->holder);
    }
}

static void test_every_takeover(void **state)
{
    unsigned taken = 0;
    unsigned revoked = 0;

    assert_null(*state);
    for (unsigned all = 0; all < 3 * 8 * 3 * 4 * 2 * 2 * 2 * 48 * 48; all++) {
        struct ha_view view = base_view();
        struct ha_plan plan;
        unsigned code = all;

        view.lease =
            (enum ha_lease[]){HA_LEASE_FREE, HA_LEASE_EXPIRED, HA_LEASE_OTHER}[take(&code, 3)];
        view.sync.key.voters = take(&code, 8);
        view.sync.key.quorum = take(&code, 3);
        view.sync.leader = (int)take(&code, 4) - 1;
        view.sync.is_published = view.sync.leader >= 0;
        view.floor.timeline = 2;
        view.floor.lsn = view.lease == HA_LEASE_FREE && take(&code, 2) != 0 ? 1000 : 0;
        view.members[0].is_suspecting = take(&code, 2) != 0;
        view.members[0].is_promised = take(&code, 2) != 0;
        pick_member(&code, &view.members[1]);
        pick_member(&code, &view.members[2]);
        view.members[1].server = view.members[1].is_current ? SERVER_STANDBY : SERVER_PRIMARY;
        view.members[2].server = all % 5 == 0 ? SERVER_DOWN : SERVER_STANDBY;
        view.members[2].is_whole = all % 7 != 0;
        ha_decide(&view, &plan);
        if (plan.actions[TOPIC_LEASE].kind == HA_ACQUIRE) {
            check_taken(&view);
            taken++;
            revoked += view.lease == HA_LEASE_OTHER ? 1 : 0;
        }
    }
    assert_true(taken > 1000);
    assert_true(revoked > 100);
}

/* ---- a view for each rule ---- */

static void unpromised(struct ha_view *view)
{
    view->is_bound = false;
    view->members[0].is_promised = false;
    view->server.is_detached = false;
    view->server.upstream = 1;
}

/* Nobody has missed the holder, and its lease is over. */
static void overdue(struct ha_view *view)
{
    unpromised(view);
    view->lease = HA_LEASE_EXPIRED;
    view->members[0].is_suspecting = false;
}

static void following(struct ha_view *view)
{
    view->members[0].is_promised = false;
    view->server.is_detached = false;
    view->server.upstream = 1;
}

static void nofailover(struct ha_view *view)
{
    view->members[0].nofailover = true;
}

static void alone(struct ha_view *view)
{
    view->members[2].is_promised = false;
}

static void behind(struct ha_view *view)
{
    view->members[0].position.lsn = 990;
    view->sync.key.quorum = 0;
}

static void nothing(struct ha_view *view)
{
    assert_true(view->is_bound);
}

/* One that hears the holder keeps everybody from replacing it. */
static void heard(struct ha_view *view)
{
    view->members[2].is_suspecting = false;
}

static void maintenance(struct ha_view *view)
{
    view->settings.is_paused = true;
}

static void lead(struct ha_view *view)
{
    view->lease = HA_LEASE_MINE;
    view->holder = 0;
    view->lease_left_ms = 10000;
    view->is_bound = false;
    view->server.is_armed = true;
    view->server.state = SERVER_PRIMARY;
    view->members[0].server = SERVER_PRIMARY;
    view->members[0].is_checkpointed = true;
    view->sync.leader = 0;
    view->sync.key.voters = 4;
    view->sync.key.quorum = 0;
    view->sync.is_known = true;
    view->sync.is_confirmed = true;
    view->sync.is_settled = true;
    view->sync.rule = (struct ha_sync_rule){
        .is_managed = true, .is_waiting = true, .is_any = true, .names = 4, .need = 1};
    view->members[2].is_replicating = true;
    view->members[2].flushed_lsn = 1000;
    view->members[1].apart_ms = 60000;
}

static void challenged(struct ha_view *view)
{
    lead(view);
    view->is_challenged = true;
}

static void crash(struct ha_view *view)
{
    lead(view);
    view->server.state = SERVER_DOWN;
    view->server.was_primary = true;
    view->server.is_end_known = true;
    view->members[0].server = SERVER_DOWN;
}

static void crash_ahead(struct ha_view *view)
{
    crash(view);
    view->members[0].position.lsn = 1010;
}

/* What was heard is older than the end of the server. */
static void crash_unanswered(struct ha_view *view)
{
    crash_ahead(view);
    view->members[2].is_current = false;
}

static void elected_unruled(struct ha_view *view)
{
    lead(view);
    view->server.state = SERVER_STANDBY;
    view->members[0].server = SERVER_STANDBY;
    view->is_reserved = true;
    view->sync.is_known = false;
}

static void unread(struct ha_view *view)
{
    view->is_read = false;
}

static void standby(struct ha_view *view)
{
    view->sync.is_known = false;
}

static void standby_told(struct ha_view *view)
{
    view->is_bound = false;
    view->sync.is_known = true;
    view->sync.rule = (struct ha_sync_rule){.is_managed = true, .is_waiting = true};
}

static void key_busy(struct ha_view *view)
{
    lead(view);
    view->sync.is_busy = true;
}

static void turned_off(struct ha_view *view)
{
    lead(view);
    view->settings.sync_mode = SYNC_OFF;
}

static void withdrawn(struct ha_view *view)
{
    turned_off(view);
    view->sync.is_published = false;
}

static void off(struct ha_view *view)
{
    withdrawn(view);
    view->sync.rule = (struct ha_sync_rule){0};
}

static void restarted(struct ha_view *view)
{
    lead(view);
    view->sync.is_known = false;
    view->sync.is_confirmed = false;
}

static void restarted_cleared(struct ha_view *view)
{
    restarted(view);
    view->sync.key.voters = 0;
    view->sync.is_confirmed = true;
}

/* What was read may be older than what the agent before has published. */
static void restarted_unsure(struct ha_view *view)
{
    restarted_cleared(view);
    view->sync.is_confirmed = false;
}

static void of_another(struct ha_view *view)
{
    lead(view);
    view->sync.leader = 1;
}

/* A second standby comes: the key can say so first. */
static void grows(struct ha_view *view)
{
    lead(view);
    view->members[1].is_fresh = true;
    view->members[1].is_replicating = true;
    view->members[1].apart_ms = 0;
    view->members[1].flushed_lsn = 1000;
}

/* One of two has gone: the server first. */
static void shrinks(struct ha_view *view)
{
    lead(view);
    view->sync.key = (struct ha_sync_key){.voters = 6, .quorum = 1};
    view->sync.rule.names = 6;
}

/* All have to confirm, and the only one is replaced by another: both must be asked meanwhile. */
static void replaced(struct ha_view *view)
{
    lead(view);
    view->settings.sync_mode = SYNC_ON;
    view->sync.rule =
        (struct ha_sync_rule){.is_managed = true, .is_waiting = true, .names = 2, .need = 1};
    view->sync.key.voters = 2;
}

static void replaced_early(struct ha_view *view)
{
    replaced(view);
    view->sync.is_settled = false;
}

static void unsettled(struct ha_view *view)
{
    lead(view);
    view->sync.is_settled = false;
}

static void unpublished(struct ha_view *view)
{
    lead(view);
    view->sync.is_published = false;
}

static void lonely(struct ha_view *view)
{
    lead(view);
    view->members[2].is_replicating = false;
    view->members[2].apart_ms = 60000;
    view->sync.key.voters = 0;
    view->sync.rule = (struct ha_sync_rule){.is_managed = true};
}

static void blocked(struct ha_view *view)
{
    lonely(view);
    view->settings.is_sync_strict = true;
    view->sync.rule.is_waiting = true;
}

static const struct {
    const char *rule;
    enum ha_topic topic;
    void (*change)(struct ha_view *view);
    enum ha_action_kind kind;
} specials[] = {
    {"revoke.promise", TOPIC_LEASE, unpromised, HA_PROMISE},
    {"revoke.overdue", TOPIC_LEASE, overdue, HA_PROMISE},
    {"revoke.alone", TOPIC_LEASE, heard, HA_NOTHING},
    {"lease.other", TOPIC_LEASE, maintenance, HA_NOTHING},
    {"revoke.barred", TOPIC_LEASE, nofailover, HA_NOTHING},
    {"revoke.short", TOPIC_LEASE, alone, HA_NOTHING},
    {"revoke.behind", TOPIC_LEASE, behind, HA_NOTHING},
    {"revoke.take", TOPIC_LEASE, nothing, HA_ACQUIRE},
    {"lease.next-term", TOPIC_LEASE, challenged, HA_RENEW},
    {"crash.release", TOPIC_LEASE, crash, HA_RELEASE},
    {"crash.release", TOPIC_LEASE, crash_ahead, HA_RELEASE},
    {"lease.hold", TOPIC_LEASE, crash_unanswered, HA_NOTHING},
    {"start.asking", TOPIC_SERVER, crash_unanswered, HA_NOTHING},
    {"revoke.stop", TOPIC_SERVER, following, HA_REVOKE},
    {"revoke.hold", TOPIC_SERVER, nothing, HA_NOTHING},
    {"promote.unruled", TOPIC_SERVER, elected_unruled, HA_NOTHING},
    {"sync.unread", TOPIC_SYNC, unread, HA_NOTHING},
    {"sync.standby", TOPIC_SYNC, standby, HA_SET_RULE},
    {"sync.not-here", TOPIC_SYNC, standby_told, HA_NOTHING},
    {"sync.busy", TOPIC_SYNC, key_busy, HA_NOTHING},
    {"sync.withdraw", TOPIC_SYNC, turned_off, HA_DELETE_SYNC},
    {"sync.end", TOPIC_SYNC, withdrawn, HA_SET_RULE},
    {"sync.off", TOPIC_SYNC, off, HA_NOTHING},
    {"sync.doubt", TOPIC_SYNC, restarted, HA_PUT_SYNC},
    {"sync.doubt", TOPIC_SYNC, restarted_unsure, HA_PUT_SYNC},
    {"sync.adopt", TOPIC_SYNC, restarted_cleared, HA_SET_RULE},
    {"sync.claim", TOPIC_SYNC, of_another, HA_PUT_SYNC},
    {"sync.narrow", TOPIC_SYNC, grows, HA_PUT_SYNC},
    {"sync.set", TOPIC_SYNC, shrinks, HA_SET_RULE},
    {"sync.bridge", TOPIC_SYNC, replaced, HA_PUT_SYNC},
    {"sync.clear", TOPIC_SYNC, replaced_early, HA_PUT_SYNC},
    {"sync.wait", TOPIC_SYNC, unsettled, HA_NOTHING},
    {"sync.publish", TOPIC_SYNC, unpublished, HA_PUT_SYNC},
    {"sync.blocked", TOPIC_SYNC, blocked, HA_NOTHING},
    {"sync.alone", TOPIC_SYNC, lonely, HA_NOTHING},
    {"sync.steady", TOPIC_SYNC, lead, HA_NOTHING},
};

static void test_special_views(void **state)
{
    assert_null(*state);
    for (size_t at = 0; at < ARRAY_LEN(specials); at++) {
        struct ha_view view = base_view();
        struct ha_plan plan;

        specials[at].change(&view);
        view.sync.mix = view.sync.rule;
        ha_decide(&view, &plan);
        assert_string_equal(plan.actions[specials[at].topic].rule, specials[at].rule);
        assert_int_equal(plan.actions[specials[at].topic].kind, specials[at].kind);
    }
}

/* Every rule of the topic, and every one of revocation, has its view above. */
static void test_every_rule_has_a_view(void **state)
{
    assert_null(*state);
    for (unsigned at = 0; ha_rule_at(at) != NULL; at++) {
        const struct ha_rule *rule = ha_rule_at(at);
        bool is_ours = rule->topic == TOPIC_SYNC || str_starts(rule->id, "revoke.");
        bool is_found = false;

        for (size_t special = 0; special < ARRAY_LEN(specials); special++) {
            is_found = is_found || str_equal(specials[special].rule, rule->id);
        }
        if (is_ours && !is_found) {
            fail_msg("%s has no view", rule->id);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_takeover),
        cmocka_unit_test(test_special_views),
        cmocka_unit_test(test_every_rule_has_a_view),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
