/* How the facts of an agent become a view of the cluster. */
#include "agent/state.h"
#include "base/mem.h"

#include <setjmp.h>

#include <cmocka.h>

#define OWN_ID "0123456789abcdef0123456789abcdef"
#define SYSTEM_ID 7u

static struct config config;

static struct instant no_time(void *arg)
{
    (void)arg;
    return (struct instant){100000 * NS_PER_MS, 100000 * NS_PER_MS};
}

static int64_t real_time(void *arg)
{
    (void)arg;
    return 1000000;
}

static void no_log(
    void *arg, enum log_level level, const struct log_field *fields, const char *text)
{
    (void)arg;
    (void)level;
    (void)fields;
    (void)text;
}

/* A history in which each timeline follows the one before. */
static struct timeline_history history_of(uint32_t timeline)
{
    struct timeline_history history = {.timeline = timeline, .count = timeline - 1};

    for (uint32_t at = 1; at < timeline; at++) {
        history.switches[at - 1] = (struct timeline_switch){at, at * 0x1000000};
    }
    return history;
}

static void set_peer(struct agent *agent, unsigned at, uint32_t timeline, uint64_t lsn)
{
    struct peer_facts *peer = &agent->peers[at];
    struct instant now = no_time(NULL);

    *peer = (struct peer_facts){.asked = now, .polled = now, .heard = now};
    assert_true(str_format(peer->name, sizeof(peer->name), "n%u", at + 1));
    peer->report = (struct peer_report){
        .has_baton = true,
        .dcs_ok = true,
        .state = STATE_RUNNING,
        .role = ROLE_REPLICA,
        .system_id = SYSTEM_ID,
        .tags = MEMBER_TAGS_DEFAULT,
        .position = {timeline, lsn},
        .received_lsn = lsn,
        .history = history_of(timeline)};
}

/* Node n3, a standby on timeline 4; its peers n1 and n2 have gone on to timeline 5. */
static int set_up(void **state)
{
    struct agent_ports ports = {
        .node_id = OWN_ID, .now = no_time, .real_ms = real_time, .log = no_log};
    struct agent *agent;

    config = (struct config){.tags = MEMBER_TAGS_DEFAULT};
    assert_true(str_copy(config.name, sizeof(config.name), "n3"));
    assert_true(str_copy(config.watchdog.mode, sizeof(config.watchdog.mode), "off"));
    agent = agent_new(&config, &ports);
    agent->has_cluster = true;
    agent->dcs.is_connected = true;
    agent->dcs.has_session = true;
    agent->cluster.has_initialize = true;
    agent->cluster.system_id = SYSTEM_ID;
    agent->lease.seen = no_time(NULL);
    agent->peer_count = 2;
    set_peer(agent, 0, 5, 0x9000000);
    set_peer(agent, 1, 5, 0x9000000);
    agent->server.has_status = true;
    agent->server.has_looked = true;
    agent->server.status.state = SERVER_STANDBY;
    agent->server.status.system_id = SYSTEM_ID;
    agent->server.status.position = (struct position){4, 0x3f00000};
    agent->server.status.history = history_of(4);
    *state = agent;
    return 0;
}

static int tear_down(void **state)
{
    agent_free(*state);
    return 0;
}

/* Numbers from before baton say nothing about who made them: the newest history leads. */
static void a_cluster_that_is_taken_over_has_no_strays(void **state)
{
    const struct agent *agent = *state;
    struct ha_view view;
    struct ha_plan plan;

    agent_view(agent, &view);
    for (unsigned at = 0; at < view.member_count; at++) {
        assert_false(view.members[at].is_stray);
    }
    ha_decide(&view, &plan);
    assert_int_equal(plan.actions[0].kind, HA_NOTHING);
    assert_string_equal(plan.actions[0].rule, "race.behind");
}

/* Baton has given the number 4; whoever is on 5 was promoted by hand. */
static void after_a_number_was_given_an_odd_one_is_stray(void **state)
{
    struct agent *agent = *state;
    struct ha_view view;

    agent->lease.record.timeline = 4;
    agent_view(agent, &view);
    assert_false(view.members[0].is_stray);
    assert_true(view.members[1].is_stray);
    agent->lease.record.timeline = 0;
    agent->peers[0].report.given_timeline = 4; /* known from a peer alone */
    agent_view(agent, &view);
    assert_true(view.members[2].is_stray);
    /* Patroni has written down that 4 was left: it has opened 5. */
    agent->peers[0].report.given_timeline = 0;
    agent->cluster.history = history_of(5);
    agent_view(agent, &view);
    assert_false(view.members[1].is_stray);
}

/* A number that PostgreSQL would take by itself is given another time: the server may have been
 * promoted by hand since it was chosen. Timeline 1 has 2 after it. */
static void the_next_number_is_not_reserved(void **state)
{
    static const struct {
        uint32_t own;
        uint32_t given;
        bool is_reserved;
    } rows[] = {{1, 2, true},  {2, 4, true},  {3, 4, false}, {3, 6, true},
                {4, 4, false}, {5, 4, false}, {4, 5, false}, {0, 2, true}};
    struct agent *agent = *state;
    struct ha_view view;

    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        agent->server.status.position.timeline = rows[at].own;
        agent->lease.record.timeline = rows[at].given;
        agent->lease.is_timeline_used = false;
        agent_view(agent, &view);
        assert_int_equal(view.is_reserved, rows[at].is_reserved);
        agent->lease.is_timeline_used = true;
        agent_view(agent, &view);
        assert_false(view.is_reserved);
    }
}

/* What a standby that was stopped has confirmed may lie behind the checkpoint of its stop. */
static void a_stopped_standby_does_not_know_what_it_has(void **state)
{
    struct agent *agent = *state;
    struct engine_status *status = &agent->server.status;
    struct ha_view view;

    status->received_lsn = 0;
    status->was_clean = true;
    for (int is_end_known = 0; is_end_known < 2; is_end_known++) {
        struct engine_status down = *status;
        struct engine_status up = *status;

        down.state = SERVER_DOWN;
        down.is_end_known = is_end_known != 0; /* a primary's is */
        agent_on_status(agent, &down);
        agent_view(agent, &view);
        assert_int_equal(view.server.is_whole, is_end_known);
        up.state = SERVER_STANDBY; /* at the same place, and nothing received since */
        agent_on_status(agent, &up);
        agent_view(agent, &view);
        assert_int_equal(view.members[0].is_whole, is_end_known);
        assert_int_equal(view.server.is_whole, is_end_known);
    }
    status->was_lost = true; /* it may have received more, and forgotten that in a crash inside */
    agent_view(agent, &view);
    assert_false(view.members[0].is_whole);
    status->received_lsn = status->position.lsn;
    agent_view(agent, &view);
    assert_true(view.members[0].is_whole);
}

/* Promoted by hand twice it is on an even number, which nobody gave. */
static void after_an_odd_one_an_even_one_is_stray(void **state)
{
    struct agent *agent = *state;
    struct ha_view view;

    agent->lease.record.timeline = 2;
    set_peer(agent, 0, 4, 0x9000000);
    agent_view(agent, &view);
    assert_true(view.members[1].is_stray);
    agent->peers[0].report.history = history_of(2); /* 4 follows 2: that number was given */
    agent->peers[0].report.history.timeline = 4;
    agent->peers[0].report.history.switches[0].timeline = 2;
    agent_view(agent, &view);
    assert_false(view.members[1].is_stray);
}

/* The newest number was reserved and not opened, and nobody who tells its position is on the one
 * before: that it was given is written down. */
static void what_is_written_down_was_given(void **state)
{
    struct agent *agent = *state;
    struct ha_view view;

    agent->lease.record.timeline = 4;
    agent->cluster.history = history_of(2);
    agent->cluster.history_of = 2;
    agent->server.status.state = SERVER_STARTING;
    agent->server.status.position = (struct position){0};
    set_peer(agent, 0, 3, 0x9000000);
    agent->peer_count = 1;
    agent_view(agent, &view);
    assert_true(view.members[1].is_stray);
}

/* A server counts every connection by a member's name; a standby whose history is another one says
 * for a moment that it has all. */
static void only_who_has_joined_confirms(void **state)
{
    struct agent *agent = *state;
    struct engine_status *status = &agent->server.status;
    struct peer_report *report = &agent->peers[0].report;
    struct ha_view view;

    status->state = SERVER_PRIMARY;
    status->position = (struct position){6, 0x9000000};
    status->standby_count = 1;
    assert_true(str_copy(status->standbys[0].name, sizeof(status->standbys[0].name), "n1"));
    status->standbys[0].flushed_lsn = 0x9000000;
    agent->sync.has_rule = true;
    agent->sync.serial = status->sync_serial = 1;
    agent->sync.rule = (struct sync_rule){.is_waiting = true, .need = 1, .count = 1};
    assert_true(str_copy(agent->sync.rule.names[0], sizeof(agent->sync.rule.names[0]), "n1"));
    {
        struct peer_facts heard = agent->peers[0];

        agent->peers[0] =
            (struct peer_facts){0}; /* not heard yet: nothing says that it is Patroni */
        assert_true(str_copy(agent->peers[0].name, sizeof(heard.name), "n1"));
        agent_note_time(agent, no_time(NULL));
        assert_false(agent->peers[0].has_joined);
        agent->peers[0] = heard;
    }
    report->is_streaming = true; /* on timeline 5 */
    agent_note_time(agent, no_time(NULL));
    agent_view(agent, &view);
    assert_false(view.members[1].is_replicating);
    assert_false(view.sync.is_settled);
    report->position.timeline = 6;
    agent_note_time(agent, no_time(NULL));
    agent_view(agent, &view);
    assert_true(view.members[1].is_replicating);
    assert_true(view.sync.is_settled);
    report->is_streaming = false; /* away for a moment: it has this history */
    agent_note_time(agent, no_time(NULL));
    agent_view(agent, &view);
    assert_true(view.sync.is_settled);
    status->state = SERVER_STANDBY;
    agent_note_time(agent, no_time(NULL));
    status->state = SERVER_PRIMARY;
    agent_note_time(agent, no_time(NULL));
    agent_view(agent, &view);
    assert_false(view.sync.is_settled);
}

static int take_order(struct engine *engine, const struct engine_order_args *args, struct err *e)
{
    assert_non_null(engine);
    assert_non_null(e);
    assert_int_equal(args->order, ORDER_CHECKPOINT);
    return 0;
}

/* What was planned for the night and comes in the morning is late; what was begun in time is not,
 * while the lease is the same. */
static void only_what_was_not_begun_is_late(void **state)
{
    static const struct engine_driver driver = {.order = take_order};
    struct engine engine = {.driver = &driver};
    struct agent *agent = *state;
    struct ha_view view;
    struct ha_plan plan = {.count = TOPIC_RECORD};

    agent->ports.engine = &engine;
    agent->lease.record.term = 5;
    agent->request.is_present = true;
    agent_view(agent, &view);
    assert_true(view.request.is_due);
    assert_int_equal(view.request.late_ms, 0);
    agent->request.request.scheduled_real_ms = real_time(NULL) + 1;
    agent_view(agent, &view);
    assert_false(view.request.is_due);
    assert_int_equal(view.request.late_ms, 0);
    agent->request.request.scheduled_real_ms = real_time(NULL) - 40000;
    agent_view(agent, &view);
    assert_true(view.request.is_due);
    assert_int_equal(view.request.late_ms, 40000);
    for (unsigned at = 0; at < plan.count; at++) {
        plan.actions[at] = (struct ha_action){
            .member = HA_NOBODY, .rule = "some.rule", .why = "why", .about = HA_NOBODY};
    }
    plan.actions[TOPIC_SERVER].kind = HA_CHECKPOINT; /* after a promotion */
    agent_act(agent, &view, &plan);
    assert_int_equal(agent->server.order, ORDER_CHECKPOINT);
    agent_view(agent, &view);
    assert_int_equal(view.request.late_ms, 40000);
    agent->server.order = ORDER_NONE;
    plan.actions[TOPIC_SERVER].is_for_request = true;
    agent_act(agent, &view, &plan);
    assert_false(agent->request.is_tried);
    agent_view(agent, &view);
    assert_int_equal(view.request.late_ms, 0);
    agent->lease.record.term = 7;
    agent_view(agent, &view);
    assert_int_equal(view.request.late_ms, 40000);
}

/* The first answer of an agent that has just begun: it passes for one that has told all. */
static void what_was_seen_is_told_before_the_data_is_looked_at(void **state)
{
    struct agent *agent = *state;
    struct api_snapshot *snapshot = mem_alloc(sizeof(*snapshot));
    struct lease_past known = {.system_id = SYSTEM_ID, .term = 9, .timeline = 8, .own_term = 3};

    agent->past.known = known;
    agent->server.has_looked = false;
    agent->server.status = (struct engine_status){0};
    agent->lease.record.term = 2;
    agent_snapshot(agent, snapshot);
    assert_int_equal(snapshot->system_id, SYSTEM_ID);
    assert_int_equal(snapshot->past_term, 9);
    assert_int_equal(snapshot->past_timeline, 8);
    /* what was seen is of another cluster than the store's */
    agent->past.known.system_id = SYSTEM_ID + 1;
    agent_snapshot(agent, snapshot);
    assert_int_equal(snapshot->system_id, SYSTEM_ID);
    assert_int_equal(snapshot->past_term, 2);
    agent->past.known = known;
    /* nor has the store been read */
    agent->cluster.system_id = 0;
    agent->lease.record.term = 0;
    agent_snapshot(agent, snapshot);
    assert_int_equal(snapshot->system_id, SYSTEM_ID);
    assert_int_equal(snapshot->past_term, 9);
    /* no data, and a cluster that is yet to be made: what was seen of the one before is its own */
    agent->server.has_looked = true;
    agent_snapshot(agent, snapshot);
    assert_int_equal(snapshot->system_id, 0);
    assert_int_equal(snapshot->past_term, 0);
    /* another store than this node's: what its lease says is not this data's past */
    agent->cluster.system_id = SYSTEM_ID + 1;
    agent->lease.record.term = 30;
    agent_learn_past(agent);
    assert_memory_equal(&agent->past.known, &known, sizeof(known));
    mem_free(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_cluster_that_is_taken_over_has_no_strays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            after_a_number_was_given_an_odd_one_is_stray, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_written_down_was_given, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_an_odd_one_an_even_one_is_stray, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_who_has_joined_confirms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            what_was_seen_is_told_before_the_data_is_looked_at, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_next_number_is_not_reserved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_what_was_not_begun_is_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_stopped_standby_does_not_know_what_it_has, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
