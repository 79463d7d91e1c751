/* Synchronous modes: the safe pairs of rule and key against brute force, and the steps from one to
 * the next (TOPIC_SYNC) walked at random in a small world, where every change takes effect late. */
#include "ha/rules.h"

#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

#define STANDBYS 4
#define NODES (STANDBYS + 1)

static unsigned count_bits(uint32_t set)
{
    unsigned count = 0;

    for (unsigned at = 0; at < 32; at++) {
        count += (set >> at) & 1;
    }
    return count;
}

/* ---- safe pairs ---- */

/* Whether some set that confirms and some set that elects have no member in common. Strangers of
 * the rule and of the key are the members 4 and 5: nobody knows that they could be the same. */
static bool can_miss(const struct ha_sync_rule *rule, const struct ha_sync_key *key)
{
    uint32_t names = rule->names | (rule->strangers != 0 ? 1U << 4 : 0);
    uint32_t voters = key->voters | (key->strangers != 0 ? 1U << 5 : 0);
    unsigned need = rule->is_waiting ? rule->need : 0;

    for (uint32_t confirm = 0; confirm < 64; confirm++) {
        if ((confirm & ~names) != 0 || count_bits(confirm) != need) {
            continue;
        }
        for (uint32_t elect = 0; elect < 64; elect++) {
            if ((elect & ~voters) == 0 && count_bits(elect) == key->quorum + 1 &&
                (elect & confirm) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void test_safe_pairs(void **state)
{
    unsigned safe = 0;

    assert_non_null(state);
    for (uint32_t code = 0; code < 16 * 16 * 2 * 2 * 5 * 6; code++) {
        struct ha_sync_rule rule = {.is_managed = true, .is_waiting = true};
        struct ha_sync_key key;
        uint32_t rest = code;

        rule.names = rest % 16;
        rest /= 16;
        key.voters = rest % 16;
        rest /= 16;
        rule.strangers = rest % 2;
        rest /= 2;
        key.strangers = rest % 2;
        rest /= 2;
        rule.need = rest % 5;
        key.quorum = rest / 5;
        if (rule.need > count_bits(rule.names) + rule.strangers ||
            (rule.names == 0 && rule.strangers == 0)) {
            continue;
        }
        rule.is_waiting = rule.need > 0;
        assert_int_equal(ha_sync_is_safe(&rule, &key), !can_miss(&rule, &key));
        safe += ha_sync_is_safe(&rule, &key) ? 1 : 0;
    }
    assert_true(safe > 100);
}

/* ---- the walk ---- */

#define RULES_IN_FORCE_MAX 64

struct world {
    uint64_t random;
    struct ha_view view;
    uint64_t written;
    uint64_t acked;
    uint64_t flushed[NODES];
    bool is_up[NODES];

    /* Rules by which something can still be acknowledged: the last one that took effect, and all
     * that the server was told since. The barrier is written when the newest has taken effect. */
    unsigned rule_count;
    struct ha_sync_rule rules[RULES_IN_FORCE_MAX];
    uint64_t barrier; /* 0: not written yet */

    bool is_putting;
    bool is_late; /* nobody answers that change, but it may still be applied */
    struct ha_sync_key put;
    bool is_delete;

    unsigned published;
    unsigned cleared;
    unsigned narrowed;
    unsigned bridged;
    unsigned reopened;
};

static unsigned draw(struct world *world, unsigned count)
{
    world->random = world->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(world->random >> 33) % count;
}

static void begin(struct world *world, uint64_t seed)
{
    struct ha_view *view = &world->view;

    *world = (struct world){.random = seed * 77 + 5, .written = 100, .acked = 100};
    *view = (struct ha_view){
        .member_count = NODES,
        .dcs_ok = true,
        .is_read = true,
        .lease = HA_LEASE_MINE,
        .released_to = HA_NOBODY,
        .initialize = HA_INITIALIZE_SET,
        .settings = CLUSTER_SETTINGS_DEFAULT,
        .server = {.state = SERVER_PRIMARY, .upstream = HA_NOBODY},
        .request = {.leader = HA_NOBODY, .candidate = HA_NOBODY},
        .sync = {.leader = HA_NOBODY},
    };
    view->settings.sync_mode = draw(world, 2) != 0 ? SYNC_QUORUM : SYNC_ON;
    view->settings.is_sync_strict = draw(world, 2) != 0;
    view->settings.sync_node_count = 1 + draw(world, 3);
    for (int at = 0; at < NODES; at++) {
        struct ha_member *member = &view->members[at];

        *member = (struct ha_member){
            .is_fresh = true, .server = SERVER_STANDBY, .priority = 1, .sync_priority = 1};
        assert_true(str_format(member->name, sizeof(member->name), "n%d", at));
        world->flushed[at] = 100;
        world->is_up[at] = true;
    }
    view->members[0].server = SERVER_PRIMARY;
    view->members[0].is_checkpointed = true;
    world->rule_count = 1;
}

/* The worst that processes can do that go by different ones of the rules that may be in force:
 * names from all, numbers from any. */
static bool find_worst(const struct world *world, struct ha_sync_rule *ret)
{
    bool is_any = false;

    *ret = (struct ha_sync_rule){.is_managed = true, .is_waiting = true, .need = STANDBYS};
    for (unsigned rule = 0; rule < world->rule_count; rule++) {
        const struct ha_sync_rule *now = &world->rules[rule];

        if (now->is_managed && now->is_waiting && now->names == 0) {
            continue;
        }
        is_any = true;
        ret->is_waiting = ret->is_waiting && now->is_managed && now->is_waiting;
        ret->names |= now->names;
        ret->need = MIN(ret->need, now->need);
    }
    return is_any;
}

static void see(struct world *world)
{
    struct ha_view *view = &world->view;

    view->members[0].position = (struct position){1, world->written};
    for (int at = 1; at < NODES; at++) {
        struct ha_member *member = &view->members[at];

        member->is_replicating = world->is_up[at];
        member->is_fresh = world->is_up[at];
        member->flushed_lsn = world->flushed[at];
        member->apart_ms = world->is_up[at] ? 0 : 5000;
    }
    if (!find_worst(world, &view->sync.mix)) {
        view->sync.mix = (struct ha_sync_rule){.is_managed = true, .is_waiting = true};
    }
    view->sync.is_busy = world->is_putting || world->is_late;
}

static void acknowledge(struct world *world)
{
    struct ha_sync_rule worst;
    const struct ha_sync_rule *now = &worst;

    if (find_worst(world, &worst)) {
        if (!now->is_waiting) {
            world->acked = world->written;
            return;
        }
        for (uint64_t lsn = world->written; lsn > world->acked; lsn--) {
            unsigned have = 0;

            for (int at = 1; at < NODES; at++) {
                have += (now->names & HA_BIT(at)) != 0 && world->flushed[at] >= lsn ? 1 : 0;
            }
            if (now->names != 0 && have >= now->need) {
                world->acked = lsn;
            }
        }
    }
}

static void settle(struct world *world)
{
    const struct ha_sync_rule *newest = &world->rules[world->rule_count - 1];
    unsigned have = 0;

    if (world->barrier == 0) {
        world->rules[0] = *newest;
        world->rule_count = 1;
        world->barrier = world->written;
        return;
    }
    for (int at = 1; at < NODES; at++) {
        have += (newest->names & HA_BIT(at)) != 0 && world->flushed[at] >= world->barrier ? 1 : 0;
    }
    if (have >= newest->need) {
        world->view.sync.is_settled = true;
    }
}

static void apply_put(struct world *world)
{
    world->view.sync.is_published = !world->is_delete;
    world->view.sync.leader = world->is_delete ? HA_NOBODY : 0;
    world->view.sync.key = world->is_delete ? (struct ha_sync_key){0} : world->put;
    world->view.sync.is_confirmed = true;
    world->is_putting = false;
    world->is_late = false;
}

static void carry_out(struct world *world, const struct ha_action *action)
{
    if (action->kind == HA_SET_RULE) {
        assert_true(world->rule_count < RULES_IN_FORCE_MAX);
        world->rules[world->rule_count++] = action->sync_rule;
        world->view.sync.is_known = true;
        world->view.sync.rule = action->sync_rule;
        world->view.sync.is_settled = false;
        world->barrier = 0;
        return;
    }
    if (action->kind == HA_NOTHING) {
        return;
    }
    assert_true(action->kind == HA_PUT_SYNC || action->kind == HA_DELETE_SYNC);
    assert_false(world->is_putting || world->is_late);
    world->is_putting = true;
    world->is_delete = action->kind == HA_DELETE_SYNC;
    world->put = action->sync_key;
    world->published += str_equal(action->rule, "sync.publish") ? 1 : 0;
    world->cleared += str_equal(action->rule, "sync.clear") ? 1 : 0;
    world->narrowed += str_equal(action->rule, "sync.narrow") ? 1 : 0;
    world->bridged += str_equal(action->rule, "sync.bridge") ? 1 : 0;
}

/* Everybody whom KEY can elect has all that was acknowledged. */
static void check_key(const struct world *world, const struct ha_sync_key *key)
{
    for (uint32_t elect = 0; elect < HA_BIT(NODES); elect++) {
        uint64_t have = 0;

        if ((elect & ~key->voters) != 0 || count_bits(elect) != key->quorum + 1) {
            continue;
        }
        for (int at = 1; at < NODES; at++) {
            have = (elect & HA_BIT(at)) != 0 ? MAX(have, world->flushed[at]) : have;
        }
        assert_true(have >= world->acked);
    }
}

static void check(const struct world *world)
{
    if (world->view.sync.is_published) {
        check_key(world, &world->view.sync.key);
    }
    if ((world->is_putting || world->is_late) && !world->is_delete) {
        check_key(world, &world->put);
    }
}

/* The server has died and is opened again under the same lease, by the same agent or a new one. No
 * earlier rule lives on, but what was sent to the store for one still may arrive. */
static void reopen(struct world *world)
{
    struct ha_view *view = &world->view;
    struct ha_plan plan;

    if (draw(world, 2) == 0) {
        view->sync.is_known = false;
        view->sync.is_confirmed = false;
    }
    view->server.state = SERVER_STANDBY;
    see(world);
    ha_decide(view, &plan);
    if (plan.actions[TOPIC_SYNC].kind == HA_SET_RULE) {
        world->view.sync.rule = plan.actions[TOPIC_SYNC].sync_rule;
        world->view.sync.is_known = true;
    }
    assert_true(view->sync.is_known);
    view->server.state = SERVER_PRIMARY;
    view->sync.is_settled = false;
    world->rules[0] = view->sync.rule;
    world->rule_count = 1;
    world->barrier = 0;
    world->reopened++;
}

static void move(struct world *world)
{
    int at = 1 + (int)draw(world, STANDBYS);

    switch (draw(world, 10)) {
    case 9:
        if (draw(world, 20) == 0) {
            reopen(world);
        }
        break;
    case 0:
    case 1:
        world->written++;
        break;
    case 2:
    case 3:
        if (world->is_up[at]) {
            world->flushed[at] += draw(world, (unsigned)(world->written - world->flushed[at]) + 1);
        }
        break;
    case 4:
        world->is_up[at] = draw(world, 3) != 0;
        break;
    case 5:
        settle(world);
        break;
    case 6:
        if (world->is_putting && draw(world, 4) == 0) {
            world->is_putting = false;
            world->is_late = true;
        } else if (world->is_putting || world->is_late) {
            apply_put(world);
        }
        break;
    case 7:
        if (draw(world, 20) == 0) {
            world->view.settings.sync_mode = (enum sync_mode)draw(world, 3);
            world->view.settings.sync_node_count = 1 + draw(world, 3);
        }
        break;
    case 8:
        if (draw(world, 20) == 0) {
            world->view.sync.is_known = false; /* the agent was restarted */
            world->view.sync.is_confirmed = false;
            world->view.sync.is_settled = false;
            world->barrier = 0;
        }
        break;
    }
    acknowledge(world);
}

/* With everybody there, and all that was begun ended, key and rule get where they should be. */
static void check_end(struct world *world)
{
    struct ha_plan plan;

    for (unsigned step = 0; step < 12; step++) {
        for (int at = 1; at < NODES; at++) {
            world->is_up[at] = true;
            world->flushed[at] = world->written;
        }
        if (world->is_putting || world->is_late) {
            apply_put(world);
        }
        settle(world);
        settle(world);
        see(world);
        ha_decide(&world->view, &plan);
        carry_out(world, &plan.actions[TOPIC_SYNC]);
        acknowledge(world);
        check(world);
    }
    assert_int_equal(plan.actions[TOPIC_SYNC].kind, HA_NOTHING);
    assert_true(world->view.settings.sync_mode == SYNC_OFF || world->view.sync.key.voters != 0);
}

static void test_walk(void **state)
{
    unsigned published = 0;
    unsigned cleared = 0;
    unsigned narrowed = 0;
    unsigned bridged = 0;

    assert_non_null(state);
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct world world;

        begin(&world, seed);
        for (unsigned step = 0; step < 200 && world.rule_count < RULES_IN_FORCE_MAX; step++) {
            struct ha_plan plan;

            see(&world);
            ha_decide(&world.view, &plan);
            carry_out(&world, &plan.actions[TOPIC_SYNC]);
            move(&world);
            check(&world);
        }
        if (world.rule_count < RULES_IN_FORCE_MAX) {
            check_end(&world);
        }
        published += world.published;
        cleared += world.cleared;
        narrowed += world.narrowed;
        bridged += world.bridged;
    }
    assert_true(published > 1000);
    assert_true(cleared > 100);
    assert_true(narrowed > 100);
    assert_true(bridged > 100);
}

/* Those that may confirm nothing soon are the last to be waited for, before nobody. */
static void test_trouble(void **state)
{
    static const enum trouble ill[] = {TROUBLE_SILENT, TROUBLE_DISK_HUNG, TROUBLE_DISK_FAILED};

    assert_null(*state);
    for (size_t at = 0; at < ARRAY_LEN(ill); at++) {
        struct ha_view view = {.member_count = 3, .lease = HA_LEASE_MINE};

        view.settings.sync_mode = SYNC_QUORUM;
        view.settings.maximum_lag_on_syncnode = -1;
        view.server.state = SERVER_PRIMARY;
        for (int node = 1; node < 3; node++) {
            view.members[node].is_fresh = true;
            view.members[node].is_replicating = true;
            view.members[node].sync_priority = 1;
        }
        assert_int_equal(ha_rule_wanted(&view).names, HA_BIT(1) | HA_BIT(2));
        view.members[1].trouble = TROUBLE_DISK_FULL;
        assert_int_equal(ha_rule_wanted(&view).names, HA_BIT(1) | HA_BIT(2));
        view.members[1].trouble = ill[at];
        assert_int_equal(ha_rule_wanted(&view).names, HA_BIT(2));
        view.members[2].nofailover = true;
        assert_int_equal(ha_rule_wanted(&view).names, HA_BIT(2));
        view.members[2].trouble = ill[at];
        assert_int_equal(ha_rule_wanted(&view).names, HA_BIT(1) | HA_BIT(2));
    }
}

/* Before a server is opened its standbys are those who will follow; not who has more, and would say
 * that it has on disk what it has of another history. */
static void test_expected(void **state)
{
    struct ha_view view = {.member_count = 3, .lease = HA_LEASE_MINE};

    assert_null(*state);
    view.settings.sync_mode = SYNC_QUORUM;
    view.server.state = SERVER_STANDBY;
    for (int node = 0; node < 3; node++) {
        view.members[node] = (struct ha_member){
            .is_fresh = true,
            .server = SERVER_STANDBY,
            .position = {.timeline = 2, .lsn = 1000},
            .sync_priority = 1};
    }
    assert_int_equal(ha_rule_wanted(&view).names, HA_BIT(1) | HA_BIT(2));
    view.members[1].position.lsn++;
    assert_int_equal(ha_rule_wanted(&view).names, HA_BIT(2));
    view.members[1].server = SERVER_STARTING; /* it does not say what it has */
    view.members[1].position = (struct position){0, 0};
    assert_int_equal(ha_rule_wanted(&view).names, HA_BIT(1) | HA_BIT(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safe_pairs),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_expected),
        cmocka_unit_test(test_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
