#include "tests/sim/sync.h"

#include "base/assert.h"

#include <jansson.h>

/* Promise A in synchronous modes, without clocks: what was acknowledged while the key sync stood
 * for it (covered) is in the log of every later primary; at every moment, each election that the
 * key allows finds it. Excused are what disks have lost, and what an operator forces. */

/* A setting has reached everybody who can act on it. */
#define KNOWN_NS (15 * SECOND)

/* ---- marks ---- */

static const char *const mark_texts[MARKS] = {
    [MARK_REVOKED] = "takeover by revocation",
    [MARK_TOO_FEW] = "promises, but takeover by expiry",
    [MARK_BUMP] = "term raised by its holder",
    [MARK_SYNC_EXPIRED] = "takeover by expiry or release under a key",
    [MARK_GROWN] = "key grows",
    [MARK_SHRUNK] = "key shrinks",
    [MARK_DEGRADED] = "degraded to no standby",
    [MARK_BLOCKED] = "commits blocked for ever",
    [MARK_REPLACED] = "rule replaced before it was in force",
    [MARK_OLD_RULE] = "commit released by an old rule",
    [MARK_FLAG_DOWN] = "commits let go with the flag",
    [MARK_CANCELLED] = "wait cancelled",
    [MARK_ENDED_WAITING] = "server ends while a commit waits",
    [MARK_ANSWER_LOST] = "server ends before an answer",
    [MARK_UNCOVERED] = "answer that no key stands for",
    [MARK_THAWED] = "answer by a holder of before, lost",
    [MARK_PROMISED] = "promise written",
    [MARK_PROMISE_FAILED] = "promise not written",
    [MARK_END_UNKNOWN] = "end of a killed log unknown",
    [MARK_SWITCHED] = "mode switched",
    [MARK_FAILSAFE_ASKED] = "failsafe: a member is asked",
    [MARK_FAILSAFE_KEPT] = "failsafe: a member promises",
    [MARK_FAILSAFE_REFUSED] = "failsafe: a member refuses",
    [MARK_FAILSAFE_HELD] = "failsafe: written for a ttl without the store",
    [MARK_WAITS] = "nobody can lead, rightly",
    [MARK_STAGES + STAGE_ASKED] = "fault when a rule is asked for",
    [MARK_STAGES + STAGE_WRITTEN] = "fault when a rule is written",
    [MARK_STAGES + STAGE_FLAG] = "fault when backends see a rule",
    [MARK_STAGES + STAGE_BARRIER] = "fault at the barrier",
    [MARK_STAGES + STAGE_IN_FORCE] = "fault when a rule is in force",
    [MARK_STAGES + STAGE_PUBLISHED] = "fault when the key is published",
};

void check_mark(struct sim *sim, enum mark mark)
{
    ASSERT(mark < MARKS);
    if (!sim->marks[mark]) {
        sim->marks[mark] = true;
        sim_trace(sim, NULL, "sim.mark", "%s", mark_texts[mark]);
    }
}

const char *check_mark_text(enum mark mark)
{
    return mark_texts[mark];
}

bool check_has_sync_rules(void)
{
    unsigned count = 0;

    for (unsigned at = 0; ha_rule_at(at) != NULL; at++) {
        count += ha_rule_at(at)->topic == TOPIC_SYNC ? 1 : 0;
    }
    return count > 1;
}

/* ---- the key ---- */

static uint32_t bits_of(struct sim *sim, char *names)
{
    uint32_t bits = 0;
    char *rest = NULL;

    for (char *name = strtok_r(names, ",", &rest); name != NULL;
         name = strtok_r(NULL, ",", &rest)) {
        const struct node *node = sim_find(sim, name);

        bits |= node != NULL ? HA_BIT(node->index) : 0;
    }
    return bits;
}

static struct sync_key read_key(struct sim *sim)
{
    const char *text = store_get(sim, KEY_SYNC);
    json_t *json = text != NULL ? json_loads(text, 0, NULL) : NULL;
    const char *leader = json_string_value(json_object_get(json, "leader"));
    const char *voters = json_string_value(json_object_get(json, "sync_standby"));
    struct sync_key key = {.leader = -1};
    char names[400] = "";

    if (leader != NULL && leader[0] != '\0') {
        const struct node *node = sim_find(sim, leader);

        IGNORE(!str_copy(names, sizeof(names), voters != NULL ? voters : ""), "names are short");
        key.is_published = true;
        key.leader = node != NULL ? (int)node->index : -1;
        key.voters = bits_of(sim, names);
        key.quorum = (unsigned)json_integer_value(json_object_get(json, "quorum"));
    }
    json_decref(json);
    return key;
}

static struct place official(const struct sim *sim)
{
    return (struct place){sim->check.official, UINT64_MAX};
}

static int64_t since(const struct sim *sim)
{
    return MAX(sim->check.loss_ns, sim->check.unkeyed_ns);
}

/* Whether NODE's data could speak in an election. */
static bool has_voice(const struct sim *sim, const struct node *node)
{
    const struct disk *disk = &node->disk;

    return disk->kind == DISK_PRESENT && !disk->is_torn && disk->end.branch >= 0 &&
           (disk->minimum.branch < 0 || wal_contains(&sim->wal, disk->end, disk->minimum));
}

static bool is_lacking(const struct sim *sim, const struct node *node)
{
    return has_voice(sim, node) &&
           wal_lost_covered(&sim->wal, official(sim), node->disk.end, since(sim)) > 0;
}

void check_electors(struct sim *sim)
{
    const struct sync_key key = sim->check.key;
    unsigned lacking = 0;
    const struct node *last = NULL;

    if (!sim->has_sync || sim->check.official < 0) {
        return;
    }
    for (unsigned at = 0; key.is_published && at < sim->shape.node_count; at++) {
        const struct node *node = &sim->nodes[at];
        bool is_leader = (int)at == key.leader;

        if ((!is_leader && (key.voters & HA_BIT(at)) == 0) || !is_lacking(sim, node)) {
            continue;
        }
        if (is_leader) {
            check_fail(
                sim, VERDICT_SAFETY,
                "A: the key sync lets %s lead, which lacks acknowledged writes", node->name);
        }
        lacking += is_leader ? 0 : 1;
        last = is_leader ? last : node;
    }
    if (lacking > key.quorum) {
        check_fail(
            sim, VERDICT_SAFETY,
            "A: the key sync (voters %x, quorum %u) lets %u voters elect that lack acknowledged "
            "writes, %s among them",
            key.voters, key.quorum, lacking, last->name);
    }
}

void check_sync_changed(struct sim *sim)
{
    struct check *check = &sim->check;
    struct sync_key key = read_key(sim);
    bool has_mode = check->mode != SYNC_OFF && sim->now_ns - check->mode_ns > KNOWN_NS;

    sim_trace(
        sim, NULL, "store.sync", "leader n%d voters %x quorum %u", key.leader + 1, key.voters,
        key.quorum);
    if (!key.is_published) {
        if (has_mode && check_has_sync_rules() && check->key.voters != 0) {
            check_fail(
                sim, VERDICT_SAFETY, "A: the key sync goes although the mode has not changed");
        }
        check->unkeyed_ns = sim->now_ns;
    }
    if (__builtin_popcount(key.voters) > __builtin_popcount(check->key.voters)) {
        check_mark(sim, MARK_GROWN);
    } else if (__builtin_popcount(key.voters) < __builtin_popcount(check->key.voters)) {
        check_mark(sim, MARK_SHRUNK);
    }
    /* The key is written with the lease, and before it. */
    if (key.leader != check->key.leader && check_is_forced(sim)) {
        check->loss_ns = sim->now_ns;
    }
    check->key = key;
    check->is_key_old = false;
    check_electors(sim);
    if (key.leader >= 0) {
        sync_stage(sim, &sim->nodes[key.leader], STAGE_PUBLISHED);
    }
}

static bool is_same_key(const struct sync_key *a, const struct sync_key *b)
{
    return a->is_published == b->is_published && a->leader == b->leader && a->voters == b->voters &&
           a->quorum == b->quorum;
}

/* An older key never stood for what was acknowledged since. */
void check_sync_restored(struct sim *sim)
{
    struct check *check = &sim->check;
    const struct sync_key before = check->key;
    const struct sync_key after = read_key(sim);
    bool is_old;

    if (sim->has_sync && !is_same_key(&before, &after)) {
        check->loss_ns = sim->now_ns;
        check->back_keys++;
    }
    is_old = check->is_key_old || check->loss_ns == sim->now_ns;
    check->key = (struct sync_key){.leader = -1};
    check_config_changed(sim, store_get(sim, KEY_CONFIG));
    check_sync_changed(sim);
    check->is_key_old = is_old;
}

void check_config_changed(struct sim *sim, const char *value)
{
    struct check *check = &sim->check;
    json_t *json = value != NULL ? json_loads(value, 0, NULL) : NULL;
    const json_t *mode = json_object_get(json, "synchronous_mode");
    const char *text = json_string_value(mode);
    enum sync_mode is = SYNC_OFF;
    bool is_strict = json_is_true(json_object_get(json, "synchronous_mode_strict"));
    bool is_switch = check->has_config;

    check->has_config = true;
    if (text != NULL && str_equal(text, "quorum")) {
        is = SYNC_QUORUM;
    } else if (json_is_true(mode) || (text != NULL && str_equal(text, "on"))) {
        is = SYNC_ON;
    }
    json_decref(json);
    if (is == check->mode && is_strict == check->is_strict) {
        return;
    }
    sim->has_sync |= is != SYNC_OFF && check_has_sync_rules();
    if (is_switch) {
        check->mode_ns = sim->now_ns;
        check_mark(sim, MARK_SWITCHED);
    }
    check->mode = is;
    check->is_strict = is_strict;
}

/* ---- rules and commits ---- */

/* A disk had said that it has this, before it was acknowledged, and has lost it since. */
static bool is_lied_about(const struct sim *sim, struct place end)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct node *node = &sim->nodes[at];

        if (node->lied.lsn != 0 && wal_contains(&sim->wal, node->lied, end) &&
            !wal_contains(&sim->wal, node->disk.end, end)) {
            return true;
        }
    }
    return false;
}

void check_rule_set(struct sim *sim, const struct node *node, const struct sync_rule *rule)
{
    const struct driver *driver = &node->driver;
    bool is_mode = sim->check.mode != SYNC_OFF;

    if (driver->is_set && driver->in_force != driver->serial) {
        check_mark(sim, MARK_REPLACED);
    }
    if (is_mode && node->server.run == RUN_PRIMARY && rule != NULL) {
        if (!rule->is_waiting && driver->rule.is_waiting) {
            check_mark(sim, MARK_DEGRADED);
        } else if (rule->is_waiting && rule->count == 0) {
            check_mark(sim, MARK_BLOCKED);
        }
    }
}

void check_commits_end(struct sim *sim, const struct node *node)
{
    for (unsigned at = 0; at < BACKENDS_MAX; at++) {
        if (node->server.commits.backends[at].is_waiting) {
            check_mark(sim, MARK_ENDED_WAITING);
        } else if (node->server.commits.backends[at].is_answered) {
            check_mark(sim, MARK_ANSWER_LOST);
        }
    }
}

static bool is_elsewhere(const struct sim *sim, const struct node *node, struct place end)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct node *other = &sim->nodes[at];

        if (other != node && other->disk.kind == DISK_PRESENT &&
            wal_contains(&sim->wal, other->disk.end, end)) {
            return true;
        }
    }
    return false;
}

/* Strict: not even one commit is acknowledged with one copy. */
static void check_strict(struct sim *sim, const struct node *node, const struct backend *backend)
{
    const struct check *check = &sim->check;
    bool is_known = (check->mode_ns == 0 || sim->now_ns - check->mode_ns > KNOWN_NS) &&
                    !store_is_stale(sim, node->index);

    if (check->mode != SYNC_OFF && check->is_strict && is_known && check_has_sync_rules() &&
        check->loss_ns == 0 && !is_elsewhere(sim, node, backend->end) &&
        !is_lied_about(sim, backend->end)) {
        check_fail(
            sim, VERDICT_SAFETY,
            "A: %s acknowledges a write that no other node has, in strict mode", node->name);
    }
}

void check_sync_ack(struct sim *sim, struct node *node, const struct backend *backend)
{
    const struct check *check = &sim->check;
    const struct sync_key key = sim->check.key;

    if (!sim->has_sync || node->server.is_by_hand) {
        return;
    }
    if (node->disk.end.branch != check->official) {
        if (check->mode == SYNC_OFF || wal_contains(&sim->wal, official(sim), backend->end)) {
            return;
        }
        if (check_is_silenced(sim, node)) {
            check_fail(
                sim, VERDICT_SAFETY,
                "A: %s acknowledges a write that the new primary lacks, after a revocation",
                node->name);
        }
        check_mark(sim, MARK_THAWED);
        return;
    }
    check_strict(sim, node, backend);
    if (!key.is_published || key.leader != (int)node->index || check->is_key_old) {
        if (check->mode != SYNC_OFF) {
            check_mark(sim, MARK_UNCOVERED);
        }
        return;
    }
    sim->wal.branches[backend->end.branch].writes[backend->write].is_covered =
        !is_lied_about(sim, backend->end);
    check_electors(sim);
}

/* ---- takeovers ---- */

static bool is_revoked(struct sim *sim, const char *holder, uint64_t term)
{
    const struct sync_key key = sim->check.key;
    const struct node *leader = sim_find(sim, holder);
    unsigned count = 0;

    if (!key.is_published || leader == NULL || key.leader != (int)leader->index) {
        return false;
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct node *node = &sim->nodes[at];
        bool is_following = node->server.is_streaming && node->server.from == leader->index;

        count += (key.voters & HA_BIT(at)) != 0 && node->promised >= term && !is_following ? 1 : 0;
    }
    return count > key.quorum;
}

static bool is_promised(const struct sim *sim, uint64_t term)
{
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        if (sim->nodes[at].promised >= term) {
            return true;
        }
    }
    return false;
}

void check_sync_taken(
    struct sim *sim, const struct lease_record *before, const struct lease_record *after)
{
    struct check *check = &sim->check;
    struct node *taker = sim_find(sim, after->holder);
    const struct node *loser = sim_find(sim, before->holder);

    taker->held = after->term;
    check->silenced &= ~HA_BIT(taker->index);
    if (check->is_forced) {
        check->loss_ns = sim->now_ns;
    }
    if (loser != NULL && loser != taker && is_revoked(sim, before->holder, after->term)) {
        check->silenced |= HA_BIT(loser->index);
        check_mark(sim, MARK_REVOKED);
    } else if (check->key.is_published && loser != taker) {
        check_mark(sim, MARK_SYNC_EXPIRED);
        if (is_promised(sim, after->term)) {
            check_mark(sim, MARK_TOO_FEW);
        }
    } else if (loser == taker && server_is_open(taker)) {
        check->takeovers--; /* the primary is the same */
        check_mark(sim, MARK_BUMP);
    }
}

bool check_is_silenced(const struct sim *sim, const struct node *node)
{
    return (sim->check.silenced & HA_BIT(node->index)) != 0;
}

void check_sync_promoted(struct sim *sim, const struct node *node, bool is_excused)
{
    unsigned lost;

    if (!sim->has_sync || is_excused || sim->check.official < 0) {
        return;
    }
    lost = wal_lost_covered(&sim->wal, official(sim), node->disk.end, since(sim));
    if (lost > 0) {
        check_fail(
            sim, VERDICT_SAFETY, "A: %u writes that the key sync stood for are lost with %s", lost,
            node->name);
    }
}

/* ---- promises ---- */

void check_promised(struct sim *sim, const struct node *node, uint64_t term)
{
    if (term < node->promised) {
        check_fail(
            sim, VERDICT_SAFETY, "V: the promise of %s falls from %" PRIu64 " to %" PRIu64,
            node->name, node->promised, term);
    }
    check_mark(sim, MARK_PROMISED);
}

void check_told(struct sim *sim, struct node *node, uint64_t promised)
{
    if (promised > node->promised) {
        check_fail(
            sim, VERDICT_SAFETY, "V: %s tells of a promise that is not on its disk", node->name);
    }
    node->told = MAX(node->told, promised);
}

void check_confirmed(struct sim *sim, const struct node *node, const struct node *upstream)
{
    if (upstream->server.run == RUN_PRIMARY && node->told > upstream->held &&
        !upstream->server.is_by_hand) {
        check_fail(
            sim, VERDICT_SAFETY,
            "V: %s confirms to %s (term %" PRIu64 "), against its promise of %" PRIu64, node->name,
            upstream->name, upstream->held, node->told);
    }
}

/* ---- L ---- */

bool check_may_wait(const struct sim *sim)
{
    const struct sync_key key = sim->check.key;
    unsigned voices = 0;

    if (!key.is_published || (key.leader >= 0 && has_voice(sim, &sim->nodes[key.leader]))) {
        return false;
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        voices += (key.voters & HA_BIT(at)) != 0 && has_voice(sim, &sim->nodes[at]) ? 1 : 0;
    }
    return voices <= key.quorum;
}

/* The rule that the primary obeys and the key are what the mode asks for. */
bool check_is_sync_well(const struct sim *sim, const struct node *leader, char *why, size_t size)
{
    const struct sync_key key = sim->check.key;
    const struct commits *commits = &leader->server.commits;
    unsigned able = 0;

    if (!check_has_sync_rules() || !sim->has_sync) {
        return true;
    }
    for (unsigned at = 0; at < sim->shape.node_count; at++) {
        const struct node *node = &sim->nodes[at];

        able += node != leader && !node->config.tags.nosync ? 1 : 0;
    }
    if (sim->check.mode == SYNC_OFF) {
        IGNORE(!str_copy(why, size, "mode off, but a key or a rule is left"), "cut is fine");
        return !key.is_published && !commits->flag.is_waiting;
    }
    IGNORE(
        !str_format(
            why, size, "voters %x quorum %u of n%d, rule %u of %x", key.voters, key.quorum,
            key.leader + 1, commits->flag.need, commits->flag.names),
        "cut is fine");
    return key.is_published && key.leader == (int)leader->index &&
           (able == 0 || (key.voters != 0 && commits->flag.is_waiting));
}
