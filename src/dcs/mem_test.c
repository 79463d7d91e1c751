#include "base/assert.h"
#include "base/str.h"
#include "dcs/dcs.h"

#include <setjmp.h>

#include <cmocka.h>

/* What one handle was told. */
struct seen {
    struct dcs *dcs;
    unsigned snapshots;
    unsigned healths;
    unsigned dones;
    int64_t revision;
    unsigned count;
    bool has_own;
    struct dcs_health health;
    enum dcs_outcome outcome;
    int64_t done_revision;
    bool free_in_snapshot;
};

static void on_snapshot(void *arg, const struct dcs_snapshot *snapshot)
{
    struct seen *seen = arg;

    seen->snapshots++;
    seen->revision = snapshot->revision;
    seen->count = snapshot->count;
    seen->has_own = false;
    for (unsigned at = 0; at < snapshot->count; at++) {
        seen->has_own |= snapshot->entries[at].is_of_session;
        assert_true(
            at == 0 || strcmp(snapshot->entries[at - 1].key, snapshot->entries[at].key) < 0);
    }
    if (seen->free_in_snapshot) {
        dcs_free(seen->dcs);
        seen->dcs = NULL;
    }
}

static void on_health(void *arg, const struct dcs_health *health)
{
    struct seen *seen = arg;

    seen->healths++;
    seen->health = *health;
}

static void on_done(void *arg, enum dcs_outcome outcome, int64_t revision)
{
    struct seen *seen = arg;

    seen->dones++;
    seen->outcome = outcome;
    seen->done_revision = revision;
}

static void turn(struct mem_store *store)
{
    for (unsigned left = 100; mem_store_turn(store); left--) {
        assert_true(left > 0);
    }
}

static void open_one(struct mem_store *store, struct seen *seen)
{
    struct dcs_listener listener = {
        .on_snapshot = on_snapshot, .on_health = on_health, .arg = seen};

    *seen = (struct seen){.dcs = mem_store_connect(store)};
    dcs_start(seen->dcs, &listener);
    turn(store);
    assert_true(seen->health.is_connected);
    assert_true(seen->health.has_session);
}

static void put(struct seen *seen, const char *key, const char *value, bool with_session)
{
    struct dcs_txn txn = {.op_count = 1};

    txn.ops[0] =
        (struct dcs_op){.kind = DCS_PUT, .key = key, .value = value, .with_session = with_session};
    dcs_txn(seen->dcs, &txn, 1000, on_done, seen);
}

static void swap(struct seen *seen, const char *key, int64_t revision, const char *value)
{
    struct dcs_txn txn = {.compare_count = 1, .op_count = 1};

    txn.compares[0] =
        (struct dcs_compare){.kind = DCS_REVISION_IS, .key = key, .revision = revision};
    txn.ops[0] = (struct dcs_op){.kind = DCS_PUT, .key = key, .value = value};
    dcs_txn(seen->dcs, &txn, 1000, on_done, seen);
}

static void test_share(void **state)
{
    struct mem_store *store = mem_store_new();
    struct seen a;
    struct seen b;

    (void)state;
    open_one(store, &a);
    open_one(store, &b);
    put(&a, "members/a", "1", true);
    assert_int_equal(a.dones, 0);
    turn(store);
    assert_int_equal(a.outcome, DCS_DONE);
    assert_int_equal(a.done_revision, b.revision);
    assert_true(a.has_own);
    assert_false(b.has_own);
    swap(&a, "lease", 0, "a");
    swap(&b, "lease", 0, "b");
    turn(store);
    assert_int_equal(a.outcome, DCS_DONE);
    assert_int_equal(b.outcome, DCS_LOST_RACE);
    assert_string_equal(mem_store_get(store, "lease"), "a");
    assert_int_equal(b.snapshots, 3);
    dcs_refresh(b.dcs);
    turn(store);
    assert_int_equal(b.snapshots, 4);
    dcs_free(a.dcs);
    dcs_free(b.dcs);
    mem_store_free(store);
}

static void test_cut(void **state)
{
    struct mem_store *store = mem_store_new();
    struct seen a;
    struct seen b;

    (void)state;
    open_one(store, &a);
    open_one(store, &b);
    put(&a, "members/a", "1", true);
    turn(store);
    mem_store_cut(a.dcs, true);
    put(&a, "x", "1", false);
    turn(store);
    assert_int_equal(a.dones, 1);
    mem_store_advance(store, 2000);
    turn(store);
    assert_int_equal(a.outcome, DCS_UNKNOWN);
    assert_true(a.health.is_connected);
    mem_store_advance(store, 9000);
    turn(store);
    assert_false(a.health.is_connected);
    assert_int_equal(b.count, 1);
    mem_store_advance(store, 20000);
    turn(store);
    assert_false(a.health.has_session);
    assert_int_equal(b.count, 0);
    put(&a, "members/a", "1", true);
    turn(store);
    assert_int_equal(a.outcome, DCS_REFUSED);
    mem_store_cut(a.dcs, false);
    turn(store);
    assert_true(a.health.is_connected);
    assert_true(a.health.has_session);
    assert_int_equal(a.count, 0);
    dcs_end_session(b.dcs);
    turn(store);
    assert_false(b.health.has_session);
    dcs_free(a.dcs);
    dcs_free(b.dcs);
    mem_store_free(store);
}

static void test_faults(void **state)
{
    struct mem_store *store = mem_store_new();
    struct seen a;

    (void)state;
    open_one(store, &a);
    mem_store_fault(a.dcs, MEM_LOSE_ANSWER, 1);
    put(&a, "x", "1", false);
    turn(store);
    assert_int_equal(a.dones, 0);
    assert_string_equal(mem_store_get(store, "x"), "1");
    mem_store_advance(store, 1000);
    turn(store);
    assert_int_equal(a.outcome, DCS_UNKNOWN);
    mem_store_fault(a.dcs, MEM_LOSE_REQUEST, 1);
    put(&a, "x", "2", false);
    turn(store);
    mem_store_advance(store, 1000);
    turn(store);
    assert_int_equal(a.outcome, DCS_UNKNOWN);
    assert_string_equal(mem_store_get(store, "x"), "1");
    mem_store_fault(a.dcs, MEM_LOSE_RACE, 1);
    put(&a, "x", "2", false);
    turn(store);
    assert_int_equal(a.outcome, DCS_LOST_RACE);
    mem_store_fault(a.dcs, MEM_REFUSE, 1);
    put(&a, "x", "2", false);
    turn(store);
    assert_int_equal(a.outcome, DCS_REFUSED);
    assert_string_equal(mem_store_get(store, "x"), "1");
    mem_store_put(store, "x", NULL);
    turn(store);
    assert_int_equal(a.count, 0);
    put(&a, "m", "1", true);
    turn(store);
    mem_store_expire(a.dcs);
    turn(store);
    assert_null(mem_store_get(store, "m"));
    put(&a, "x", "3", false);
    dcs_free(a.dcs);
    assert_int_equal(a.outcome, DCS_UNKNOWN);
    mem_store_free(store);
}

static void test_free_within(void **state)
{
    struct mem_store *store = mem_store_new();
    struct seen a;
    struct seen b;

    (void)state;
    open_one(store, &a);
    open_one(store, &b);
    a.free_in_snapshot = true;
    mem_store_put(store, "x", "1");
    turn(store);
    assert_null(a.dcs);
    assert_int_equal(b.count, 1);
    dcs_free(b.dcs);
    mem_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_free_within),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
