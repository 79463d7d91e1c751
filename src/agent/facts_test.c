/* What the agent makes of readings of the store and of answers, with a store and a server that do
 * nothing. */
#include "agent/state.h"
#include "base/mem.h"

#include <setjmp.h>

#include <cmocka.h>

#define NODE_ID "0123456789abcdef0123456789abcdef"

/* An agent, and what it did. */
struct rig {
    struct config config;
    struct dcs dcs;
    struct engine engine;
    struct agent *agent;
    int64_t now_ms;
    unsigned complaints; /* lines with the rule store.decode */
    unsigned txns;
    int64_t request_compared; /* the revision of the request that the last one demands; -1: none */
};

static struct rig *rig;

static struct instant now_of(void *arg)
{
    const struct rig *of = arg;

    return (struct instant){of->now_ms * 1000000, of->now_ms * 1000000};
}

static int64_t real_ms_of(void *arg)
{
    return ((const struct rig *)arg)->now_ms;
}

static void note_line(
    void *arg, enum log_level level, const struct log_field *fields, const char *text)
{
    struct rig *of = arg;

    assert_non_null(text);
    if (level == LOG_LEVEL_WARNING && str_equal(fields[1].value, "store.decode")) {
        of->complaints++;
    }
}

static void note_txn(
    struct dcs *dcs, const struct dcs_txn *txn, int64_t timeout_ms, dcs_done *done, void *arg)
{
    assert_non_null(dcs);
    assert_non_null(done);
    assert_non_null(arg);
    assert_true(timeout_ms > 0);
    rig->txns++;
    rig->request_compared = -1;
    for (unsigned at = 0; at < txn->compare_count; at++) {
        if (str_equal(txn->compares[at].key, KEY_FAILOVER)) {
            rig->request_compared = txn->compares[at].revision;
        }
    }
}

static void refresh(struct dcs *dcs)
{
    assert_non_null(dcs);
}

static void set_times(struct dcs *dcs, int64_t ttl_ms, int64_t retry_timeout_ms)
{
    assert_non_null(dcs);
    assert_true(ttl_ms > 0 && retry_timeout_ms > 0);
}

static void set_cluster(struct engine *engine, const struct cluster *cluster, const char *json)
{
    assert_non_null(engine);
    assert_true(cluster->member_count <= MEMBERS_MAX);
    assert_true(json == NULL || json[0] != '\0');
}

static void set_watch(struct engine *engine, const struct engine_watch *watch)
{
    assert_non_null(engine);
    assert_non_null(watch);
}

static int setup(void **state)
{
    static const struct dcs_driver store = {
        .txn = note_txn, .refresh = refresh, .set_times = set_times};
    static const struct engine_driver server = {.set_cluster = set_cluster, .watch = set_watch};
    struct agent_ports ports = {
        .node_id = NODE_ID, .now = now_of, .real_ms = real_ms_of, .log = note_line};

    assert_non_null(state);
    rig = mem_alloc(sizeof(*rig));
    rig->now_ms = 100000;
    rig->dcs.driver = &store;
    rig->engine.driver = &server;
    rig->config.tags = (struct member_tags)MEMBER_TAGS_DEFAULT;
    assert_true(str_copy(rig->config.name, sizeof(rig->config.name), "n2"));
    assert_true(str_copy(rig->config.watchdog.mode, sizeof(rig->config.watchdog.mode), "off"));
    ports.dcs = &rig->dcs;
    ports.engine = &rig->engine;
    ports.arg = rig;
    rig->agent = agent_new(&rig->config, &ports);
    return 0;
}

static int teardown(void **state)
{
    assert_non_null(state);
    agent_free(rig->agent);
    rig = mem_free(rig);
    return 0;
}

/* ---- what is in doubt ---- */

/* The store as it is at REVISION: n1 holds the lease, in a record that was written at WRITTEN. */
static void read_lease(int64_t revision, uint64_t term, uint64_t seq, int64_t written)
{
    struct lease_record record = {
        .holder = "n1", .node = "x", .term = term, .seq = seq, .length_ms = 30000, .timeline = 4};
    AUTO_FREE char *lease = record_lease_encode(&record);
    const struct dcs_entry entries[] = {
        {.key = KEY_CONFIG, .value = "{\"ttl\":30,\"failsafe_mode\":true}", .revision = 2},
        {.key = KEY_INITIALIZE, .value = "7", .revision = 1},
        {.key = KEY_LEADER, .value = "n1", .revision = 3},
        {.key = KEY_LEASE, .value = lease, .revision = written},
    };
    const struct dcs_snapshot snapshot = {
        .revision = revision, .count = ARRAY_LEN(entries), .entries = entries};

    agent_on_snapshot(rig->agent, &snapshot);
}

/* An attempt to take term 6 that replaces the record of revision OVER. */
static void begin_attempt(int64_t over)
{
    struct lease_facts *lease = &rig->agent->lease;

    lease->txn = LEASE_TXN_ACQUIRE;
    lease->wanted = (struct lease_record){.holder = "n2", .node = NODE_ID, .term = 6, .seq = 1};
    lease->over = over;
    lease->t0 = now_of(rig);
}

static const char *ask_as(const char *asked, uint64_t term, uint64_t seq)
{
    struct failsafe_ask question = {
        .name = "n1", .node = "x", .term = term, .seq = seq, .length_ms = 30000};

    str_copy(question.asked, sizeof(question.asked), asked);
    return agent_failsafe(rig->agent, &question);
}

static const char *ask(uint64_t term, uint64_t seq)
{
    return ask_as("n2", term, seq);
}

static void test_lost_race_is_over(void **state)
{
    static const char taking[] = "this node is taking the lease";
    struct lease_facts *lease = &rig->agent->lease;

    assert_non_null(state);
    read_lease(10, 5, 7, 9);
    begin_attempt(9);
    agent_on_lease_txn(rig->agent, DCS_LOST_RACE, 0);
    assert_string_equal(ask(5, 8), taking);

    /* What was lost against, and the same as before, at a later revision of the store. */
    read_lease(11, 5, 7, 9);
    assert_string_equal(ask(5, 8), taking);
    read_lease(20, 5, 8, 12);
    assert_int_equal(lease->doubtful, LEASE_TXN_NONE);
    assert_null(ask(5, 8));
}

/* No revision below that of the record that was to be replaced tells anything. */
static void test_old_reading_leaves_the_doubt(void **state)
{
    assert_non_null(state);
    read_lease(10, 5, 7, 9);
    begin_attempt(9);
    agent_on_lease_txn(rig->agent, DCS_UNKNOWN, 0);
    read_lease(10, 5, 6, 8);
    assert_int_equal(rig->agent->lease.doubtful, LEASE_TXN_ACQUIRE);
}

/* The reading comes first, and the store does not answer afterwards. */
static void test_answer_after_the_reading(void **state)
{
    assert_non_null(state);
    read_lease(10, 5, 7, 9);
    begin_attempt(9);
    read_lease(12, 5, 8, 12);
    agent_on_lease_txn(rig->agent, DCS_UNKNOWN, 0);
    assert_null(ask(5, 8));
}

/* It was sent to another member, whose recorded address leads here: it would count twice. */
static void test_promise_of_another_member(void **state)
{
    assert_non_null(state);
    read_lease(10, 5, 7, 9);
    read_lease(11, 5, 8, 12);
    assert_non_null(strstr(ask_as("n3", 5, 8), "another member"));
    assert_null(ask_as("n2", 5, 8));
    assert_null(ask_as("", 5, 8));
}

/* Of several attempts the one counts that replaces the newest record. */
static void test_newest_attempt_counts(void **state)
{
    assert_non_null(state);
    read_lease(10, 5, 7, 9);
    begin_attempt(9);
    agent_on_lease_txn(rig->agent, DCS_UNKNOWN, 0);
    begin_attempt(12);
    agent_on_lease_txn(rig->agent, DCS_UNKNOWN, 0);
    begin_attempt(9);
    agent_on_lease_txn(rig->agent, DCS_UNKNOWN, 0);
    read_lease(12, 5, 8, 12);
    assert_int_equal(rig->agent->lease.doubtful, LEASE_TXN_ACQUIRE);
    read_lease(13, 5, 9, 13);
    assert_int_equal(rig->agent->lease.doubtful, LEASE_TXN_NONE);
}

/* ---- more members than there are places ---- */

#define MANY (MEMBERS_MAX + 1)

static bool is_peer(const char *name)
{
    return agent_peer(rig->agent, name) != NULL;
}

/* The members a, b, c and so on, COUNT of them, but the last one is called LAST; the lease is
 * LEADER's. */
static void read_members(int64_t revision, unsigned count, const char *last, const char *leader)
{
    struct lease_record record = {.node = "x", .term = 5, .seq = 7, .length_ms = 30000};
    AUTO_FREE char *lease = NULL;
    char keys[MANY][16];
    struct dcs_entry entries[MANY + 3];
    unsigned used = 0;

    assert_true(str_copy(record.holder, sizeof(record.holder), leader));
    lease = record_lease_encode(&record);
    entries[used++] = (struct dcs_entry){.key = KEY_LEASE, .value = lease, .revision = 3};
    entries[used++] = (struct dcs_entry){.key = KEY_INITIALIZE, .value = "7", .revision = 1};
    entries[used++] = (struct dcs_entry){.key = KEY_LEADER, .value = leader, .revision = 3};
    for (unsigned at = 0; at < count; at++) {
        const char letter[] = {(char)('a' + (int)at), '\0'};

        assert_true(str_format(
            keys[at], sizeof(keys[at]), KEY_MEMBERS "%s", at + 1 == count ? last : letter));
        entries[used++] = (struct dcs_entry){
            .key = keys[at],
            .value = "{\"conn_url\":\"postgres://h:1/postgres\",\"api_url\":\"http://h:2/patroni\","
                     "\"state\":\"running\",\"role\":\"replica\",\"baton\":{}}",
            .revision = 2};
    }
    agent_on_snapshot(
        rig->agent,
        &(struct dcs_snapshot){.revision = revision, .count = used, .entries = entries});
}

/* What is made of the peers in each turn, and for each who asks. */
static void decide(void)
{
    AUTO_FREE struct api_snapshot *snapshot = mem_alloc(sizeof(*snapshot));
    struct ha_view view;
    struct ha_plan plan;

    agent_view(rig->agent, &view);
    assert_int_equal(view.member_count, rig->agent->peer_count + 1);
    ha_decide(&view, &plan);
    agent_snapshot(rig->agent, snapshot);
    assert_true(snapshot->cluster.member_count <= MEMBERS_MAX);
}

static void act_on_lease(enum ha_action_kind kind)
{
    struct ha_view view;
    struct ha_plan plan = {.count = TOPIC_RECORD};

    for (unsigned at = 0; at < TOPIC_RECORD; at++) {
        plan.actions[at] = (struct ha_action){.rule = "test", .why = "", .about = HA_NOBODY};
    }
    plan.actions[TOPIC_LEASE].kind = kind;
    agent_view(rig->agent, &view);
    agent_act(rig->agent, &view, &plan);
}

/* What a peer has reported lately is what an asker is shown of it without the store. */
static void test_reports_are_shown(void **state)
{
    AUTO_FREE struct api_snapshot *snapshot = mem_alloc(sizeof(*snapshot));
    const struct peer_report report = {.has_baton = true, .state = STATE_STARTING};
    struct peer_facts *peer = NULL;
    const struct member *member = NULL;

    assert_non_null(state);
    read_members(10, 3, "n2", "b");
    peer = &rig->agent->peers[0];
    peer->polled = now_of(rig);
    peer->is_polling = true;
    agent_on_report(rig->agent, peer->name, &report, NULL);
    agent_snapshot(rig->agent, snapshot);
    member = cluster_find(&snapshot->cluster, peer->name);
    assert_non_null(member);
    assert_ptr_equal(snapshot->report[member - snapshot->cluster.members], &peer->report);
}

static void rename_agent(const char *name)
{
    assert_true(str_copy(rig->config.name, sizeof(rig->config.name), name));
}

static void test_own_name_is_the_last(void **state)
{
    assert_non_null(state);
    rename_agent("zz");
    read_members(10, MANY, "zz", "b");
    assert_int_equal(rig->agent->peer_count, PEERS_MAX);
    assert_non_null(cluster_find(&rig->agent->cluster, "zz"));
    decide();
    read_members(11, MANY, "zz", "b");
    assert_int_equal(rig->agent->peer_count, PEERS_MAX);
    assert_int_equal(rig->complaints, 1);
}

/* The others fill all places, and this node is not published yet. */
static void test_own_name_is_not_there_yet(void **state)
{
    assert_non_null(state);
    rename_agent("zz");
    read_members(10, MEMBERS_MAX, "p", "b");
    assert_int_equal(rig->agent->peer_count, PEERS_MAX);
    decide();
    read_members(11, MANY, "q", "q");
    assert_int_equal(rig->agent->peer_count, PEERS_MAX);
    assert_true(is_peer("q"));
    decide();
}

static void test_leader_is_the_last(void **state)
{
    assert_non_null(state);
    rename_agent("a");
    read_members(10, MANY, "zz", "zz");
    assert_int_equal(rig->agent->peer_count, PEERS_MAX);
    assert_true(is_peer("zz"));
    assert_true(is_peer("o"));
    assert_false(is_peer("p"));
    decide();
    read_members(11, 3, "zz", "zz");
    assert_int_equal(rig->agent->peer_count, 2);
    decide();
}

/* ---- requests ---- */

/* The checkpoint after a promotion is none for a switchover of next week. */
static void test_checkpoint_is_for_a_due_request(void **state)
{
    struct agent *agent = rig->agent;

    assert_non_null(state);
    agent->request.is_present = true;
    agent->server.order = ORDER_CHECKPOINT;
    agent_on_order(agent, ORDER_CHECKPOINT, 0, NULL);
    assert_false(agent->request.is_checkpointed);
    agent->request.due = now_of(rig);
    agent->server.order = ORDER_CHECKPOINT;
    agent_on_order(agent, ORDER_CHECKPOINT, 0, NULL);
    assert_true(agent->request.is_checkpointed);
}

/* What a person has asked for may allow what is not allowed otherwise: only while it stands. */
static void test_request_must_stand_when_the_lease_is_taken(void **state)
{
    struct agent *agent = rig->agent;

    assert_non_null(state);
    agent->dcs.has_session = true;
    act_on_lease(HA_ACQUIRE);
    assert_int_equal(rig->txns, 1);
    assert_int_equal(rig->request_compared, -1);
    agent_on_lease_txn(agent, DCS_REFUSED, 0);
    agent->cluster.has_request = true;
    agent->cluster.request_revision = 17;
    act_on_lease(HA_ACQUIRE);
    assert_int_equal(rig->txns, 2);
    assert_int_equal(rig->request_compared, 17);
}

/* Baton has given 6, and a person has opened 5: the lease says so with the next renewal, for the
 * history may not be written yet when this node dies. */
static void test_opened_by_hand_is_named(void **state)
{
    struct agent *agent = rig->agent;

    assert_non_null(state);
    agent->lease.record =
        (struct lease_record){.holder = "n2", .node = NODE_ID, .term = 6, .timeline = 6};
    agent->server.status.state = SERVER_PRIMARY;
    agent->server.status.position = (struct position){6, 100};
    act_on_lease(HA_RENEW);
    assert_int_equal(rig->txns, 1);
    assert_int_equal(agent->lease.wanted.timeline, 6);
    agent_on_lease_txn(agent, DCS_REFUSED, 0);
    agent->server.status.position.timeline = 5;
    act_on_lease(HA_RENEW);
    assert_int_equal(rig->txns, 2);
    assert_int_equal(agent->lease.wanted.timeline, 5);
}

/* An answer that was on its way when the server was killed does not mean that it was missed. */
static void test_late_answer_is_no_life(void **state)
{
    struct agent *agent = rig->agent;
    struct engine_status status = {
        .state = SERVER_PRIMARY, .is_answering = true, .system_id = 7, .position = {2, 100}};

    assert_non_null(state);
    agent->server.killed = now_of(rig);
    rig->now_ms += 500;
    agent_on_status(agent, &status);
    assert_true(instant_is_set(agent->server.killed));
    rig->now_ms += 600;
    agent_on_status(agent, &status);
    assert_false(instant_is_set(agent->server.killed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lost_race_is_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_reading_leaves_the_doubt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_after_the_reading, setup, teardown),
        cmocka_unit_test_setup_teardown(test_promise_of_another_member, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newest_attempt_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reports_are_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_name_is_the_last, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_name_is_not_there_yet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leader_is_the_last, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint_is_for_a_due_request, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_request_must_stand_when_the_lease_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_opened_by_hand_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_answer_is_no_life, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
