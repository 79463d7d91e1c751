#include "tests/sim/sync.h"

#include "base/assert.h"

/* The model of synchronous replication, tested by itself: agents make a cluster, then die, and this
 * file gives the orders. Each test is a small world that must behave as PostgreSQL does; those of
 * the checkers plant a lie that must be noticed. */

struct bed {
    struct sim *sim;
    struct engine_status status; /* of n1, the newest */
    unsigned pongs;
    bool is_alive;
    unsigned ends; /* of orders */
    int result;
    const char *problem; /* what is wrong, or NULL */
};

static struct bed beds[NODES_MAX];

static void on_status(void *arg, const struct engine_status *status)
{
    ((struct bed *)arg)->status = *status;
}

static void on_order(void *arg, enum engine_order order, int result, const struct err *why)
{
    struct bed *bed = arg;

    ASSERT(order != ORDER_NONE && why != NULL);
    bed->ends++;
    bed->result = result;
}

static void on_ping(void *arg, const char *name, bool is_alive)
{
    struct bed *bed = arg;

    ASSERT(name[0] == 'n');
    bed->pongs++;
    bed->is_alive = is_alive;
}

static void run_for(struct sim *sim, int64_t length_ns)
{
    sim_run(sim, sim->now_ns + length_ns);
}

/* n1 leads, n2 and n3 follow; no agent runs, and no guard waits. */
static struct sim *begin(uint64_t seed)
{
    struct shape shape = {
        .node_count = 3,
        .ttl_ms = 3000,
        .loop_wait_ms = 1000,
        .retry_timeout_ms = 1000,
        .start_timeout_ms = 300000,
        .maximum_lag = 1048576,
        .pace_ns = 500 * MS,
        .think_ns = 50 * MS,
        .start_ns = 100 * MS,
        .recovery_ns = 100 * MS,
        .promote_ns = 100 * MS,
        .clone_ns = SECOND,
        .receiver_ns = 100 * MS,
        .clients = 3,
        .checked_limit_ms = 1000,
        .nofailover = -1,
        .nosync = -1,
        .end_known = 1000,
    };
    struct sim *sim = sim_new(seed, &shape);
    char why[200];

    for (unsigned at = 0; at < 3; at++) {
        agent_begin(sim, &sim->nodes[at]);
        run_for(sim, 200 * MS);
    }
    while (!check_is_converged(sim, why, sizeof(why)) && sim->now_ns < 60 * SECOND) {
        run_for(sim, 100 * MS);
    }
    sim->has_sync = true;
    memset(beds, 0, sizeof(beds));
    for (unsigned at = 0; at < 3; at++) {
        struct node *node = &sim->nodes[at];
        struct engine *engine;

        agent_kill(sim, node);
        node->guard = (struct guard){.timer = node->guard.timer + 1};
        beds[at].sim = sim;
        engine = engine_connect(sim, node);
        node->engine = (struct sim_engine *)engine;
        engine_start(engine, &(struct engine_listener){on_status, on_order, on_ping, &beds[at]});
    }
    run_for(sim, SECOND);
    return sim;
}

static void end(struct sim *sim)
{
    for (unsigned at = 0; at < 3; at++) {
        engine_free((struct engine *)sim->nodes[at].engine);
        sim->nodes[at].engine = NULL;
    }
    sim_free(sim);
}

static struct sync_rule make_rule(bool is_any, unsigned need, const char *a, const char *b)
{
    struct sync_rule rule = {.is_waiting = true, .is_any = is_any, .need = need};

    if (a != NULL) {
        str_copy(rule.names[rule.count++], MEMBER_NAME_SIZE, a);
    }
    if (b != NULL) {
        str_copy(rule.names[rule.count++], MEMBER_NAME_SIZE, b);
    }
    return rule;
}

static void set_rule(struct sim *sim, const struct sync_rule *rule, uint64_t serial)
{
    engine_set_sync((struct engine *)sim->nodes[0].engine, rule, serial);
}

static bool settle(struct sim *sim, uint64_t serial, int64_t limit_ns)
{
    int64_t end_ns = sim->now_ns + limit_ns;

    while (beds[0].status.sync_serial != serial && sim->now_ns < end_ns) {
        run_for(sim, 20 * MS);
    }
    return beds[0].status.sync_serial == serial;
}

static unsigned acks_in(struct sim *sim, int64_t length_ns)
{
    unsigned before = sim->check.acks;

    run_for(sim, length_ns);
    return sim->check.acks - before;
}

static void set_cut(struct sim *sim, unsigned node, int by)
{
    net_cut(sim, 0, node, by);
    net_cut(sim, node, 0, by);
}

/* A mistake is named by its expression. */
#define NEED(what) \
    do { \
        if (!(what)) { \
            return #what; \
        } \
    } while (0)

static const char *test_any(struct sim *sim)
{
    struct sync_rule rule = make_rule(true, 1, "n2", "n3");

    NEED(acks_in(sim, SECOND) > 5);
    NEED(beds[0].status.standby_count == 2);
    NEED(beds[0].status.sync_serial == 0);
    set_rule(sim, &rule, 7);
    NEED(settle(sim, 7, 20 * SECOND));
    NEED(acks_in(sim, SECOND) > 5);
    set_cut(sim, 1, 1);
    NEED(acks_in(sim, SECOND) > 5);
    set_cut(sim, 2, 1);
    run_for(sim, 100 * MS);
    NEED(acks_in(sim, 3 * SECOND) == 0);
    set_cut(sim, 1, -1);
    run_for(sim, SECOND);
    NEED(acks_in(sim, SECOND) > 5);
    return NULL;
}

/* All names are waited for, a frozen one too; in the end its sender gives it up, not the rule. */
static const char *test_all(struct sim *sim)
{
    struct sync_rule rule = make_rule(false, 2, "n2", "n3");

    set_rule(sim, &rule, 1);
    NEED(settle(sim, 1, 20 * SECOND));
    NEED(acks_in(sim, SECOND) > 5);
    node_freeze(sim, &sim->nodes[2], 12 * SECOND);
    run_for(sim, 100 * MS);
    NEED(acks_in(sim, 10 * SECOND) == 0);
    NEED(beds[0].status.standby_count == 1);
    run_for(sim, 3 * SECOND);
    NEED(acks_in(sim, SECOND) > 5);
    NEED(beds[0].status.standby_count == 2);
    return NULL;
}

/* Not in force before the new name has the barrier; in force later. */
static const char *test_barrier(struct sim *sim)
{
    struct sync_rule rule = make_rule(true, 1, "n2", NULL);

    set_rule(sim, &rule, 1);
    NEED(settle(sim, 1, 20 * SECOND));
    set_cut(sim, 2, 1);
    rule = make_rule(true, 2, "n2", "n3");
    set_rule(sim, &rule, 2);
    NEED(!settle(sim, 2, 10 * SECOND));
    NEED(beds[0].status.sync_serial == 1);
    NEED(sim->nodes[0].driver.has_barrier);
    set_cut(sim, 2, -1);
    NEED(settle(sim, 2, 10 * SECOND));
    /* What was in force for a standby is not for a primary, and the rule outlives the agent. */
    server_kill(sim, &sim->nodes[0], "the test");
    run_for(sim, SECOND);
    NEED(beds[0].status.sync_serial == 2);
    NEED(beds[0].status.state == SERVER_DOWN && beds[0].status.is_end_known);
    NEED(beds[0].status.position.lsn == sim->nodes[0].disk.end.lsn);
    server_start(sim, &sim->nodes[0], -1);
    NEED(sim->nodes[0].server.commits.flag.need == 2);
    return NULL;
}

/* Whoever waits is let go when commits wait for nobody any more, not when they wait for ever. */
static const char *test_flag(struct sim *sim)
{
    struct sync_rule rule = make_rule(true, 0, NULL, NULL);

    set_rule(sim, &rule, 1);
    NEED(settle(sim, 1, 20 * SECOND));
    run_for(sim, SECOND);
    NEED(acks_in(sim, 3 * SECOND) == 0);
    commit_cancel(sim, &sim->nodes[0]);
    NEED(acks_in(sim, 3 * SECOND) == 0);
    rule.is_waiting = false;
    set_rule(sim, &rule, 2);
    NEED(settle(sim, 2, 20 * SECOND));
    NEED(sim->marks[MARK_FLAG_DOWN]);
    NEED(acks_in(sim, SECOND) > 5);
    return NULL;
}

/* A revoked standby confirms nothing, and its position is final until it follows again. */
static const char *test_revoke(struct sim *sim)
{
    struct sync_rule rule = make_rule(true, 1, "n2", "n3");
    struct engine_order_args args = {.order = ORDER_REVOKE};
    struct err e = {0};
    struct place end_place;

    set_rule(sim, &rule, 1);
    NEED(settle(sim, 1, 20 * SECOND));
    for (unsigned at = 1; at < 3; at++) {
        NEED(!beds[at].status.is_detached);
        NEED(engine_order((struct engine *)sim->nodes[at].engine, &args, &e) == 0);
    }
    run_for(sim, SECOND);
    NEED(beds[1].status.is_detached && beds[2].status.is_detached);
    NEED(beds[1].ends == 1 && beds[1].result == 0);
    end_place = sim->nodes[1].disk.end;
    NEED(acks_in(sim, 3 * SECOND) == 0);
    NEED(sim->nodes[1].disk.end.lsn == end_place.lsn);
    args.order = ORDER_FOLLOW;
    str_copy(args.peer.name, sizeof(args.peer.name), "n1");
    NEED(engine_order((struct engine *)sim->nodes[1].engine, &args, &e) == 0);
    run_for(sim, SECOND);
    NEED(!beds[1].status.is_detached);
    NEED(acks_in(sim, SECOND) > 5);
    return NULL;
}

static const char *ping(struct sim *sim, bool is_alive)
{
    struct engine_peer peer = {.name = "n1"};
    unsigned before = beds[1].pongs;

    engine_ping((struct engine *)sim->nodes[1].engine, &peer, 300);
    run_for(sim, 2 * SECOND);
    NEED(beds[1].pongs == before + 1);
    NEED(beds[1].is_alive == is_alive);
    return NULL;
}

static const char *test_ping(struct sim *sim)
{
    struct node *node = &sim->nodes[0];
    const char *problem = ping(sim, true);

    if (problem == NULL) {
        net_cut(sim, 0, 1, 1); /* the way back */
        problem = ping(sim, false);
        net_cut(sim, 0, 1, -1);
    }
    if (problem == NULL) {
        node_freeze(sim, node, SECOND);
        problem = ping(sim, false);
    }
    problem = problem == NULL ? ping(sim, true) : problem;
    if (problem == NULL) {
        server_kill(sim, node, "the test");
        problem = ping(sim, false);
    }
    return problem;
}

#define KEY(quorum, voters) \
    "{\"leader\":\"n1\",\"quorum\":" quorum ",\"sync_standby\":\"" voters "\"}"

/* A key that lets one voter elect where one of two has confirmed. */
static const char *test_wrong_quorum(struct sim *sim)
{
    struct sync_rule rule = make_rule(true, 1, "n2", "n3");

    set_rule(sim, &rule, 1);
    NEED(settle(sim, 1, 20 * SECOND));
    store_put(sim, KEY_SYNC, KEY("1", "n2,n3"));
    set_cut(sim, 2, 1);
    run_for(sim, 2 * SECOND);
    NEED(sim->check.verdict == VERDICT_FINE);
    store_put(sim, KEY_SYNC, KEY("0", "n2,n3"));
    NEED(sim->check.verdict == VERDICT_SAFETY);
    return NULL;
}

/* A key for which the server was not told to wait. */
static const char *test_no_rule(struct sim *sim)
{
    store_put(sim, KEY_SYNC, KEY("0", "n2"));
    set_cut(sim, 1, 1);
    run_for(sim, 2 * SECOND);
    NEED(sim->check.verdict == VERDICT_SAFETY);
    return NULL;
}

/* Names are changed without the barrier: commits that the old ones confirmed are still covered. */
static const char *test_hasty(struct sim *sim)
{
    struct sync_rule rule = make_rule(false, 1, "n2", NULL);

    set_rule(sim, &rule, 1);
    NEED(settle(sim, 1, 20 * SECOND));
    store_put(sim, KEY_SYNC, KEY("0", "n2"));
    set_cut(sim, 2, 1);
    run_for(sim, SECOND);
    NEED(sim->check.verdict == VERDICT_FINE);
    rule = make_rule(false, 1, "n3", NULL);
    set_rule(sim, &rule, 2);
    store_put(sim, KEY_SYNC, KEY("0", "n3"));
    NEED(sim->check.verdict == VERDICT_SAFETY);
    return NULL;
}

/* It is promoted with the lease, but has not what the key stood for. */
static const char *test_lost(struct sim *sim)
{
    struct sync_rule rule = make_rule(true, 1, "n2", "n3");

    set_rule(sim, &rule, 1);
    NEED(settle(sim, 1, 20 * SECOND));
    store_put(sim, KEY_SYNC, KEY("1", "n2,n3"));
    set_cut(sim, 2, 1);
    run_for(sim, 2 * SECOND);
    server_kill(sim, &sim->nodes[0], "the test");
    store_put(
        sim, KEY_LEASE,
        "{\"holder\":\"n3\",\"node\":\"x\",\"term\":2,\"seq\":1,\"length_ms\":3000}");
    sim->check.verdict = VERDICT_FINE; /* it says already that n2 would have been better */
    server_promote(sim, &sim->nodes[2], 3);
    run_for(sim, SECOND);
    NEED(sim->check.verdict == VERDICT_SAFETY);
    NEED(strstr(sim->check.what, "stood for") != NULL);
    return NULL;
}

/* A promise that was told binds; a rule that is loaded late releases, sometimes. */
static const char *test_promise(struct sim *sim)
{
    sim->nodes[1].promised = 2;
    check_told(sim, &sim->nodes[1], 1);
    run_for(sim, SECOND);
    NEED(sim->check.verdict == VERDICT_FINE);
    check_told(sim, &sim->nodes[1], 2);
    run_for(sim, SECOND);
    NEED(sim->check.verdict == VERDICT_SAFETY);
    return NULL;
}

static const char *test_old_rule(struct sim *sim)
{
    for (uint64_t serial = 1; serial < 80 && !sim->marks[MARK_OLD_RULE]; serial++) {
        struct sync_rule rule = make_rule(true, 1, serial % 2 == 0 ? "n2" : "n3", NULL);

        set_rule(sim, &rule, serial);
        run_for(sim, SECOND);
    }
    NEED(sim->marks[MARK_OLD_RULE]);
    return NULL;
}

static const struct {
    const char *name;
    const char *(*run)(struct sim *sim);
} tests[] = {
    {"any", test_any},
    {"all", test_all},
    {"barrier", test_barrier},
    {"flag", test_flag},
    {"revoke", test_revoke},
    {"ping", test_ping},
    {"wrong-quorum", test_wrong_quorum},
    {"no-rule", test_no_rule},
    {"hasty", test_hasty},
    {"lost", test_lost},
    {"promise", test_promise},
    {"old-rule", test_old_rule},
};

#define TIMES 10

bool model_test(void)
{
    bool is_fine = true;

    for (size_t at = 0; at < ARRAY_LEN(tests); at++) {
        const char *problem = NULL;
        uint64_t seed;

        for (seed = 0; seed < TIMES && problem == NULL; seed++) {
            struct sim *sim = begin(seed);

            problem = tests[at].run(sim);
            if (problem != NULL) {
                printf(
                    "FAIL model/%s seed %" PRIu64 ": not so: %s (%s)\n", tests[at].name, seed,
                    problem, sim->check.what);
                is_fine = false;
            }
            end(sim);
        }
        if (problem == NULL) {
            printf("ok model/%s\n", tests[at].name);
        }
    }
    return is_fine;
}
