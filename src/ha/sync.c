#include "ha/ha.h"

#include "base/assert.h"
#include "ha/rules.h"

/* Promise A in synchronous modes: an acknowledged commit is in the history of every later primary.
 *
 * A commit is acknowledged when `need` of the names in the server's rule have it on disk; somebody
 * other than the leader takes over only with the answers of more than `quorum` of the published
 * voters, being behind none of them. So nothing is lost if each set of `need` names meets each set
 * of quorum + 1 voters. Such a pair of rule and key is safe; how the primary goes from one to the
 * next without ever leaving the safe pairs is in rules_sync.c.
 *
 * An answer counts only if it cannot be outdated: of a released or expired lease, when it was given
 * after the holder's last possible commit; of a lease in force, when the answerer has promised to
 * confirm nothing to that holder any more (revocation). The candidate holds all that these have, so
 * it has each commit that was acknowledged, and the next ones cannot be. */

/* A standby that is in the set stays in it for so long while it is not streaming: one that has lost
 * its connection but whose agent answers is about to come back. */
#define APART_MS 1000
#define APART_FRESH_MS 3000

/* A standby further behind than this is not waited for yet. */
#define ENTER_LAG_BYTES (UINT64_C(16) << 20)

static unsigned count_bits(uint32_t set)
{
    unsigned count = 0;

    for (; set != 0; set &= set - 1) {
        count++;
    }
    return count;
}

static unsigned minus(unsigned a, unsigned b)
{
    return a > b ? a - b : 0;
}

bool ha_rule_is_equal(const struct ha_sync_rule *a, const struct ha_sync_rule *b)
{
    return a->is_managed == b->is_managed && a->is_waiting == b->is_waiting &&
           a->is_any == b->is_any && a->names == b->names && a->strangers == b->strangers &&
           a->need == b->need;
}

/* The confirmations that can be had outside of the voters do not help; nor do the answers of voters
 * whose confirmation is not waited for. What remains of both must be more than there are. */
bool ha_sync_is_safe(const struct ha_sync_rule *rule, const struct ha_sync_key *key)
{
    unsigned both = count_bits(rule->names & key->voters);
    unsigned only_rule = count_bits(rule->names & ~key->voters) + rule->strangers;
    unsigned only_key = count_bits(key->voters & ~rule->names) + key->strangers;
    unsigned need = rule->is_managed && rule->is_waiting ? rule->need : 0;

    if (ha_rule_is_blocked(rule)) {
        return true;
    }
    return minus(need, only_rule) + minus(key->quorum + 1, only_key) > both;
}

bool ha_rule_is_blocked(const struct ha_sync_rule *rule)
{
    return rule->is_managed && rule->is_waiting && rule->names == 0 && rule->strangers == 0;
}

struct ha_sync_rule ha_rule_mix(const struct ha_sync_rule *a, const struct ha_sync_rule *b)
{
    struct ha_sync_rule mix = *a;

    /* Who waits for ever lets nothing through, whatever the others do. */
    if (ha_rule_is_blocked(b)) {
        return *a;
    }
    if (ha_rule_is_blocked(a)) {
        return *b;
    }
    mix.is_managed = a->is_managed && b->is_managed;
    mix.is_waiting = a->is_waiting && b->is_waiting;
    mix.is_any = true;
    mix.names = a->names | b->names;
    mix.strangers = a->strangers + b->strangers;
    mix.need = MIN(a->need, b->need);
    return mix;
}

struct ha_sync_key ha_key_of(const struct ha_sync_rule *rule)
{
    unsigned count = count_bits(rule->names) + rule->strangers;

    return (struct ha_sync_key){
        .voters = rule->is_waiting ? rule->names : 0,
        .strangers = rule->is_waiting ? rule->strangers : 0,
        .quorum = rule->is_waiting ? minus(count, rule->need) : 0,
    };
}

struct ha_sync_rule ha_rule_of(const struct ha_view *view, const struct ha_sync_key *key)
{
    unsigned known = count_bits(key->voters);
    unsigned need = minus(known + key->strangers, key->quorum);
    struct ha_sync_rule rule = {
        .is_managed = true,
        .is_waiting = true,
        .is_any = view->settings.sync_mode != SYNC_ON,
    };

    /* Not enough known names can be waited for: for ever, until the key is another. */
    if (need <= known && known > 0) {
        rule.names = key->voters;
        rule.need = need;
        rule.is_any = rule.is_any || need < known;
    }
    return rule;
}

bool ha_key_between(
    const struct ha_sync_rule *before, const struct ha_sync_rule *after, struct ha_sync_key *ret)
{
    struct ha_sync_rule mix = ha_rule_mix(before, after);
    unsigned count = count_bits(mix.names) + mix.strangers;

    *ret = (struct ha_sync_key){.voters = mix.names, .strangers = mix.strangers};
    while (ret->quorum < count && (!ha_sync_is_safe(before, ret) || !ha_sync_is_safe(&mix, ret))) {
        ret->quorum++;
    }
    return ret->strangers == 0 && ret->quorum < count;
}

/* ---- the rule that there should be ---- */

static uint64_t lag_of(const struct ha_view *view, int at)
{
    uint64_t own = view->members[view->self].position.lsn;
    uint64_t flushed = view->members[at].flushed_lsn;

    return own > flushed ? own - flushed : 0;
}

static bool is_in_time(const struct ha_view *view, int at)
{
    const struct ha_member *member = &view->members[at];
    int64_t limit = view->settings.maximum_lag_on_syncnode;
    bool is_in = view->sync.is_known && (view->sync.rule.names & HA_BIT(at)) != 0;

    if (limit >= 0 && lag_of(view, at) > (uint64_t)limit) {
        return false;
    }
    if (is_in) {
        return member->apart_ms < (member->is_fresh ? APART_FRESH_MS : APART_MS);
    }
    return member->is_replicating && lag_of(view, at) <= ENTER_LAG_BYTES;
}

/* A server that is about to be opened has no standbys yet: those count that will follow. Who has
 * more than the server here must be rewound first. */
static bool is_expected(const struct ha_view *view, int at)
{
    const struct ha_member *member = &view->members[at];

    return member->is_fresh &&
           (member->server == SERVER_STARTING ||
            (member->server == SERVER_STANDBY && ha_compare(view, at, view->self) <= 0));
}

static bool may_confirm(const struct ha_view *view, int at)
{
    return at != view->self && !view->members[at].nosync && view->members[at].sync_priority > 0 &&
           (view->server.state == SERVER_PRIMARY ? is_in_time(view, at) : is_expected(view, at));
}

/* Whether A is the better synchronous standby: the higher sync_priority, then one that is in the
 * set already, then the more advanced, then the smaller name. */
static bool is_preferred(const struct ha_view *view, int a, int b)
{
    const struct ha_member *left = &view->members[a];
    const struct ha_member *right = &view->members[b];
    uint32_t names = view->sync.is_known ? view->sync.rule.names : 0;
    bool is_left_in = (names & HA_BIT(a)) != 0;
    bool is_right_in = (names & HA_BIT(b)) != 0;

    if (left->sync_priority != right->sync_priority) {
        return left->sync_priority > right->sync_priority;
    }
    if (is_left_in != is_right_in) {
        return is_left_in;
    }
    if (!is_left_in && left->flushed_lsn != right->flushed_lsn) {
        return left->flushed_lsn > right->flushed_lsn;
    }
    return strcmp(left->name, right->name) < 0;
}

/* The COUNT best of SET. */
static uint32_t choose(const struct ha_view *view, uint32_t set, unsigned count)
{
    uint32_t chosen = 0;

    while (count > 0 && set != 0) {
        int best = HA_NOBODY;

        for (int at = 0; at < (int)view->member_count; at++) {
            if ((set & HA_BIT(at)) != 0 && (best == HA_NOBODY || is_preferred(view, at, best))) {
                best = at;
            }
        }
        ASSERT(best >= 0);
        chosen |= HA_BIT(best);
        set &= ~HA_BIT(best);
        count--;
    }
    return chosen;
}

/* Those that cannot become primary are waited for only if there is nobody else; after them those
 * that answer nothing, or whose disk takes no writes: they may confirm nothing soon, and cannot
 * promise anything when the primary is lost. */
static uint32_t confirming(const struct ha_view *view)
{
    uint32_t all = 0;
    uint32_t well = 0;
    uint32_t electable = 0;

    for (int at = 0; at < (int)view->member_count; at++) {
        const struct ha_member *member = &view->members[at];

        if (may_confirm(view, at)) {
            bool is_well =
                member->trouble != TROUBLE_SILENT && !trouble_is_disk_bad(member->trouble);

            all |= HA_BIT(at);
            well |= is_well ? HA_BIT(at) : 0;
            electable |= is_well && !member->nofailover ? HA_BIT(at) : 0;
        }
    }
    if (electable != 0) {
        return electable;
    }
    return well != 0 ? well : all;
}

struct ha_sync_rule ha_rule_wanted(const struct ha_view *view)
{
    unsigned count = (unsigned)MAX(view->settings.sync_node_count, INT64_C(1));
    struct ha_sync_rule rule = {.is_managed = true};

    switch (view->settings.sync_mode) {
    case SYNC_OFF:
        return (struct ha_sync_rule){0};
    case SYNC_ON:
        rule.names = choose(view, confirming(view), count);
        rule.need = count_bits(rule.names);
        break;
    case SYNC_QUORUM:
        rule.names = confirming(view);
        rule.need = MIN(count, count_bits(rule.names));
        rule.is_any = rule.names != 0;
        break;
    }
    rule.is_waiting = rule.names != 0 || view->settings.is_sync_strict;
    return rule;
}

/* ---- who may take over ---- */

static bool is_answer(const struct ha_view *view, int at)
{
    const struct ha_member *member = &view->members[at];

    if (!member->is_fresh || member->position.timeline == 0 || member->position.lsn == 0) {
        return false;
    }
    if (view->lease == HA_LEASE_OTHER) {
        return member->is_promised;
    }
    /* What one that is down, or replays still, has may be more than it knows. The holder of an
     * expired lease may go on, and a voter confirm to it (revoke.c), unless that has promised;
     * Patroni promises nothing. */
    return member->is_current && member->server == SERVER_STANDBY && member->is_whole &&
           (view->lease != HA_LEASE_EXPIRED || member->is_promised || member->is_patroni);
}

static unsigned count_answers(const struct ha_view *view, int candidate)
{
    unsigned count = 0;

    for (int at = 0; at < (int)view->member_count; at++) {
        if ((view->sync.key.voters & HA_BIT(at)) != 0 && is_answer(view, at) &&
            ha_compare(view, at, candidate) <= 0) {
            count++;
        }
    }
    return count;
}

bool ha_sync_covers(const struct ha_view *view, int at)
{
    const struct ha_sync *sync = &view->sync;

    ASSERT(at >= 0);
    ASSERT((unsigned)at < view->member_count);
    if (!sync->is_published || at == sync->leader) {
        return true;
    }
    return (view->lease == HA_LEASE_FREE && view->floor.lsn != 0 &&
            position_compare(view->members[at].position, view->floor) >= 0) ||
           ha_sync_is_confirmed(view, at);
}

bool ha_sync_is_confirmed(const struct ha_view *view, int at)
{
    return count_answers(view, at) > view->sync.key.quorum;
}
