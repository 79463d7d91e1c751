/* What a call for a switchover or failover is answered, and when. */
#include "agent/state.h"
#include "base/mem.h"

#include <setjmp.h>

#include <cmocka.h>

#define NODE_ID "0123456789abcdef0123456789abcdef"
#define SYSTEM_ID 7u
#define TERM 5u

/* An agent, what it wrote and what it answered. */
struct rig {
    struct config config;
    struct dcs dcs;
    struct agent *agent;
    int64_t now_ms;
    unsigned puts;
    dcs_done *done; /* of the last one */
    void *done_arg;
    unsigned answers;
    int status; /* of the last one */
    char text[160];
};

static struct rig *rig;

static struct instant now_of(void *arg)
{
    const struct rig *of = arg;

    return (struct instant){of->now_ms * NS_PER_MS, of->now_ms * NS_PER_MS};
}

static int64_t real_ms_of(void *arg)
{
    return ((const struct rig *)arg)->now_ms;
}

static void no_log(
    void *arg, enum log_level level, const struct log_field *fields, const char *text)
{
    assert_non_null(arg);
    assert_non_null(fields);
    assert_non_null(text);
    assert_true(level != LOG_LEVEL_ERROR);
}

static void note_txn(
    struct dcs *dcs, const struct dcs_txn *txn, int64_t timeout_ms, dcs_done *done, void *arg)
{
    assert_non_null(dcs);
    assert_true(timeout_ms > 0);
    assert_string_equal(txn->ops[0].key, KEY_FAILOVER);
    rig->puts++;
    rig->done = done;
    rig->done_arg = arg;
}

/* The store answers the last put. */
static void end_put(enum dcs_outcome outcome, int64_t revision)
{
    dcs_done *done = TAKE(rig->done);

    assert_non_null(done);
    done(rig->done_arg, outcome, revision);
}

static void note_answer(void *arg, int status, const char *text)
{
    struct rig *of = arg;

    of->answers++;
    of->status = status;
    assert_true(str_copy(of->text, sizeof(of->text), text));
}

static void set_peer(struct agent *agent, unsigned at, const char *name, enum member_role role)
{
    struct peer_facts *peer = &agent->peers[at];
    struct member *member = &agent->cluster.members[at];
    struct instant now = now_of(rig);

    *peer = (struct peer_facts){.asked = now, .polled = now, .heard = now};
    assert_true(str_copy(peer->name, sizeof(peer->name), name));
    peer->report = (struct peer_report){
        .has_baton = true,
        .dcs_ok = true,
        .state = STATE_RUNNING,
        .role = role,
        .system_id = SYSTEM_ID,
        .tags = MEMBER_TAGS_DEFAULT,
        .is_streaming = true,
        .position = {2, 0x9000000},
        .received_lsn = 0x9000000};
    *member = (struct member){.role = role, .state = STATE_RUNNING, .tags = MEMBER_TAGS_DEFAULT};
    assert_true(str_copy(member->name, sizeof(member->name), name));
}

/* Whom the lease is with, as primary. */
static void lead(const char *name, uint64_t term)
{
    struct agent *agent = rig->agent;

    assert_true(str_copy(agent->cluster.leader, sizeof(agent->cluster.leader), name));
    assert_true(str_copy(agent->lease.record.holder, sizeof(agent->lease.record.holder), name));
    agent->lease.record.term = term;
    agent->lease.record.length_ms = 30000;
    agent->lease.seen = now_of(rig);
    for (unsigned at = 0; at < agent->cluster.member_count; at++) {
        struct member *member = &agent->cluster.members[at];

        member->role = str_equal(member->name, name) ? ROLE_PRIMARY : ROLE_REPLICA;
    }
}

/* Node n3, a standby; n1 leads, and n2 is a standby too. */
static int set_up(void **state)
{
    static const struct dcs_driver store = {.txn = note_txn};
    struct agent_ports ports = {
        .node_id = NODE_ID, .now = now_of, .real_ms = real_ms_of, .log = no_log};
    struct agent *agent;

    assert_non_null(state);
    rig = mem_alloc(sizeof(*rig));
    *rig = (struct rig){.now_ms = 100000, .dcs.driver = &store};
    rig->config.tags = (struct member_tags)MEMBER_TAGS_DEFAULT;
    assert_true(str_copy(rig->config.name, sizeof(rig->config.name), "n3"));
    assert_true(str_copy(rig->config.watchdog.mode, sizeof(rig->config.watchdog.mode), "off"));
    ports.dcs = &rig->dcs;
    ports.arg = rig;
    agent = rig->agent = agent_new(&rig->config, &ports);
    agent->is_started = true;
    agent->has_cluster = true;
    agent->dcs.is_connected = true;
    agent->dcs.has_session = true;
    agent->cluster.has_initialize = true;
    agent->cluster.system_id = SYSTEM_ID;
    agent->peer_count = agent->cluster.member_count = 2;
    set_peer(agent, 0, "n1", ROLE_PRIMARY);
    set_peer(agent, 1, "n2", ROLE_REPLICA);
    agent->server.has_status = true;
    agent->server.has_looked = true;
    agent->server.status.state = SERVER_STANDBY;
    agent->server.status.system_id = SYSTEM_ID;
    agent->server.status.position = (struct position){2, 0x9000000};
    agent->server.status.received_lsn = 0x9000000;
    lead("n1", TERM);
    rig->now_ms += 1000;
    return 0;
}

static int tear_down(void **state)
{
    assert_non_null(state);
    if (rig->done != NULL) {
        end_put(
            DCS_UNKNOWN, 0); /* as when the store's driver is freed, which is before the agent */
    }
    agent_free(rig->agent);
    rig = mem_free(rig);
    return 0;
}

/* A failover to n2 is asked for, or a switchover from n1 to n2 at SCHEDULED_MS. */
static void ask(bool is_failover, int64_t scheduled_ms)
{
    struct failover_request request = {.scheduled_real_ms = scheduled_ms};

    assert_true(str_copy(request.candidate, sizeof(request.candidate), "n2"));
    assert_true(str_copy(request.leader, sizeof(request.leader), is_failover ? "" : "n1"));
    agent_request(rig->agent, &request, is_failover, note_answer, rig);
}

static void turn(int64_t after_ms)
{
    rig->now_ms += after_ms;
    rig->agent->wake_ms = 3600000;
    rig->agent->lease.seen = now_of(rig);
    agent_settle_waiters(rig->agent);
}

/* N2 is not to be a candidate, for now. */
static void bar(bool is_barred)
{
    rig->agent->peers[1].report.tags.nofailover = is_barred;
}

/* ---- what speaks against it ---- */

/* A peer that does not answer is asked again in the turn in which a question to it ends. */
static void a_silent_peer_does_not_delay_a_refusal(void **state)
{
    struct peer_facts *peers = rig->agent->peers;

    assert_non_null(state);
    bar(true);
    peers[0].failures = 3;
    ask(true, 0);
    turn(0);
    assert_int_equal(rig->answers, 0);
    peers[1].asked = peers[1].polled = now_of(rig);
    turn(0);
    assert_int_equal(rig->answers, 0); /* those failures are of before */
    peers[0].failures++;
    peers[0].polled = now_of(rig);
    peers[0].is_polling = true;
    turn(0);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->status, 412);
    assert_int_equal(rig->puts, 0);
}

/* The answer to a question that was on its way is as old as that question, and not of no age. */
static void a_question_on_its_way_keeps_its_time(void **state)
{
    struct peer_facts *peer = &rig->agent->peers[0];
    const struct peer_report report = peer->report;
    struct instant asked = peer->polled;

    assert_non_null(state);
    peer->is_polling = true;
    ask(true, 0);
    agent_on_report(rig->agent, "n1", &report, NULL);
    assert_true(instant_is_set(peer->asked));
    assert_int_equal(instant_left_ms(peer->asked, asked), 0);
    assert_true(peer->is_due);
}

/* It has answered since the question, and fails again: fewer times in a row than before. */
static void failures_are_counted_anew_after_an_answer(void **state)
{
    struct peer_facts *peers = rig->agent->peers;

    assert_non_null(state);
    bar(true);
    peers[0].failures = 3;
    ask(true, 0);
    peers[1].asked = now_of(rig);
    peers[0].failures = 0; /* an answer to a question of before */
    turn(0);
    assert_int_equal(rig->answers, 0);
    peers[0].failures = 1;
    turn(0);
    assert_int_equal(rig->status, 412);
}

/* Nobody is heard, so nobody knows better: the caller is told, and nothing is done later. */
static void an_objection_is_not_waited_for_without_end(void **state)
{
    assert_non_null(state);
    bar(true);
    ask(true, 0);
    turn(4900);
    assert_int_equal(rig->answers, 0);
    assert_true(rig->agent->wake_ms <= 100);
    turn(100);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->status, 412);
    bar(false);
    turn(1000);
    assert_int_equal(rig->puts, 0);
}

static void it_is_written_when_the_objection_goes(void **state)
{
    assert_non_null(state);
    bar(true);
    ask(true, 0);
    turn(1000);
    bar(false);
    turn(1000);
    assert_int_equal(rig->answers, 0);
    assert_int_equal(rig->puts, 1);
}

/* Who asked has gone long ago. */
static void after_a_long_stall_nothing_is_written(void **state)
{
    assert_non_null(state);
    ask(true, 0);
    rig->agent->peers[0].asked = rig->agent->peers[1].asked =
        (struct instant){131000 * NS_PER_MS, 131000 * NS_PER_MS};
    turn(30000);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->status, 503);
    assert_int_equal(rig->puts, 0);
}

/* No turn comes while the store is dead at the start. */
static void before_the_start_it_is_refused(void **state)
{
    assert_non_null(state);
    rig->agent->is_started = false;
    ask(true, 0);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->status, 503);
}

/* ---- what is written ---- */

/* The store has a request for N2 at SCHEDULED_MS, or none: 0. */
static void read_request(int64_t scheduled_ms)
{
    struct cluster *cluster = &rig->agent->cluster;

    cluster->has_request = scheduled_ms != 0;
    cluster->request = (struct failover_request){.scheduled_real_ms = scheduled_ms};
    if (cluster->has_request) {
        assert_true(str_copy(cluster->request.leader, sizeof(cluster->request.leader), "n1"));
        assert_true(str_copy(cluster->request.candidate, sizeof(cluster->request.candidate), "n2"));
    }
}

static void what_is_written_is_scheduled(void **state)
{
    assert_non_null(state);
    ask(false, 900000);
    turn(0);
    end_put(DCS_DONE, 7);
    assert_int_equal(rig->status, 202);
}

static void it_is_scheduled_when_the_store_has_it(void **state)
{
    assert_non_null(state);
    ask(false, 900000);
    turn(0);
    end_put(DCS_UNKNOWN, 0);
    turn(0);
    read_request(800000); /* somebody else's */
    turn(0);
    assert_int_equal(rig->answers, 0);
    assert_true(rig->agent->wake_ms <= 30000);
    read_request(900000);
    turn(0);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->status, 202);
}

static void it_is_not_known_whether_it_is_scheduled(void **state)
{
    assert_non_null(state);
    ask(false, 900000);
    turn(0);
    end_put(DCS_UNKNOWN, 0);
    turn(29999);
    assert_int_equal(rig->answers, 0);
    turn(1);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->status, 503);
    assert_non_null(strstr(rig->text, "not known whether it is scheduled"));
}

/* ---- who leads afterwards ---- */

static void who_was_asked_for_leads(void **state)
{
    assert_non_null(state);
    ask(false, 0);
    turn(0);
    end_put(DCS_DONE, 7);
    turn(1000);
    assert_int_equal(rig->answers, 0);
    lead("n2", TERM + 1);
    turn(1000);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->status, 200);
    assert_string_equal(rig->text, "Successfully switched over to \"n2\"");
}

/* The candidate drops out, and who led before leads again. */
static void another_one_leads_instead(void **state)
{
    assert_non_null(state);
    ask(true, 0);
    turn(0);
    end_put(DCS_DONE, 7);
    lead("n1", TERM + 1);
    turn(1000);
    assert_int_equal(rig->answers, 0); /* a reading of before */
    rig->agent->cluster.revision = 7;
    read_request(1);
    rig->agent->cluster.request = (struct failover_request){.candidate = "n2"};
    turn(1000);
    assert_int_equal(rig->answers, 0); /* it stands: n2 may still be next */
    read_request(0);
    turn(1000);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->status, 503);
    assert_string_equal(rig->text, "Failed over to \"n1\" instead of \"n2\"");
}

/* What its write came to is not known, and nothing happens. */
static void nothing_is_known_after_a_while(void **state)
{
    assert_non_null(state);
    ask(true, 0);
    turn(0);
    end_put(DCS_UNKNOWN, 0);
    turn(30000);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->status, 503);
    assert_true(str_starts(rig->text, "Failover status unknown"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_silent_peer_does_not_delay_a_refusal),
        CASE(a_question_on_its_way_keeps_its_time),
        CASE(failures_are_counted_anew_after_an_answer),
        CASE(an_objection_is_not_waited_for_without_end),
        CASE(it_is_written_when_the_objection_goes),
        CASE(after_a_long_stall_nothing_is_written),
        CASE(before_the_start_it_is_refused),
        CASE(what_is_written_is_scheduled),
        CASE(it_is_scheduled_when_the_store_has_it),
        CASE(it_is_not_known_whether_it_is_scheduled),
        CASE(who_was_asked_for_leads),
        CASE(another_one_leads_instead),
        CASE(nothing_is_known_after_a_while),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
