#include "api/routes_test.h"
#include "api/metrics.h"
#include "api/views.h"
#include "codec/codec.h"

/* ---- every check in every situation ---- */

struct check {
    /* '1' is 200, '0' is 503, in the order of enum situation */
    const char *expected;
    const char *target;
};

static const struct check checks[] = {
    /*
      primary
      | without lease
      | | leader starting
      | | | replica
      | | | | starting
      | | | | | stopped
      | | | | | | paused
      | | | | | | | lost replica
      | | | | | | | | lost primary */
    {"1 0 0 0 0 0 0 0 1", "/"},
    {"1 0 0 0 0 0 0 0 1", "/primary"},
    {"1 0 0 0 0 0 0 0 1", "/master"},
    {"1 0 0 0 0 0 0 0 1", "/read-write"},
    {"1 0 0 0 0 0 0 0 1", "/any/primary/part"},
    {"1 0 0 0 0 0 0 0 1", "/primary?tag_zone=x&lag=1"},
    {"1 0 1 0 0 0 0 0 1", "/leader"},
    {"0 0 0 0 0 0 0 0 0", "/standby-leader"},
    {"0 0 0 0 0 0 0 0 0", "/standby_leader"},
    {"0 0 0 1 0 0 1 1 0", "/replica"},
    {"0 0 0 1 0 0 1 1 0", "/replica?lag=2MB"},
    {"0 0 0 1 0 0 1 1 0", "/replica?lag=2097152"},
    {"0 0 0 0 0 0 0 0 0", "/replica?lag=1MB"},
    {"0 0 0 1 0 0 1 1 0", "/replica?lag=nonsense"},
    {"0 0 0 1 0 0 1 1 0", "/replica?lag="},
    {"0 0 0 1 0 0 1 1 0", "/replica?replication_state=streaming"},
    {"0 0 0 0 0 0 0 0 0", "/replica?replication_state=other"},
    {"0 0 0 0 0 0 0 0 0", "/replica?tag_zone=x"},
    {"1 0 0 1 0 0 1 1 1", "/read-only"},
    {"1 0 0 0 0 0 0 0 1", "/read-only?lag=1MB"},
    {"0 0 0 0 0 0 0 0 0", "/read-only?tag_zone=x"},
    {"1 1 0 1 0 0 1 1 1", "/health"},
    {"1 1 0 1 0 0 1 1 1", "/healthz"},
    {"0 0 0 0 0 0 0 0 0", "/sync"},
    {"0 0 0 0 0 0 0 0 0", "/synchronous"},
    {"0 0 0 0 0 0 0 0 0", "/quorum"},
    {"0 0 0 1 0 0 1 0 0", "/async"},
    {"0 0 0 0 0 0 0 0 0", "/asynchronous?lag=1MB"},
    {"1 0 0 0 0 0 0 0 0", "/read-only-sync"},
    {"1 0 0 0 0 0 0 0 0", "/read-only-synchronous"},
    {"1 0 0 0 0 0 0 0 0", "/read-only-quorum"},
    {"1 1 1 1 1 1 1 1 1", "/liveness"},
    {"1 0 1 0 0 0 0 0 1", "/readiness"},
    {"1 0 1 1 0 0 1 0 1", "/readiness?lag=2MB"},
    {"1 0 1 1 0 0 1 0 1", "/readiness?mode=write"},
    {"0 0 0 0 0 0 0 0 0", "/nonsense"},
};

static void test_health(void **state)
{
    static const unsigned methods[] = {METHOD_GET, METHOD_HEAD, METHOD_OPTIONS};

    (void)state;
    for (unsigned situation = 0; situation < SITUATIONS; situation++) {
        AUTO_FREE struct scene *scene = scene_new((enum situation)situation);

        for (size_t at = 0; at < ARRAY_LEN(checks); at++) {
            int expected = checks[at].expected[situation * 2] == '1' ? 200 : 503;

            for (size_t method = 0; method < ARRAY_LEN(methods); method++) {
                int status = status_of(scene, methods[method], checks[at].target);

                if (status != expected) {
                    print_error(
                        "%s in situation %u: %d, not %d\n", checks[at].target, situation, status,
                        expected);
                }
                assert_int_equal(status, expected);
            }
        }
    }
}

static void test_health_body(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(REPLICA);
    struct api_reply reply = call_route(scene, METHOD_GET, "/primary", "");
    struct peer_report report = {0};

    (void)state;
    assert_int_equal(reply.status, 503);
    assert_int_equal(record_report_decode(reply.body, NULL, &report, NULL), 0);
    assert_int_equal(report.role, ROLE_REPLICA);
    assert_int_equal(report.replayed_lsn, 98 * MB);
    mem_free(reply.body);
    reply = call_route(scene, METHOD_OPTIONS, "/primary", "");
    assert_null(reply.body);
}

static void test_tags(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(REPLICA);
    struct setting tags[] = {
        {mem_dup("zone"), mem_dup("eu-1"), false},
        {mem_dup("ssd"), mem_dup("true"), false},
        {mem_dup("rack"), mem_dup("7"), false},
        {mem_dup("quoted"), mem_dup("7"), true},
    };

    (void)state;
    scene->config.extra_tags = (struct setting_list){ARRAY_LEN(tags), tags};
    assert_int_equal(status_of(scene, METHOD_GET, "/replica?tag_zone=eu-1"), 200);
    assert_int_equal(status_of(scene, METHOD_GET, "/replica?tag_zone=eu-2"), 503);
    assert_int_equal(status_of(scene, METHOD_GET, "/replica?tag_zone=eu-1&tag_ssd=true"), 200);
    assert_int_equal(status_of(scene, METHOD_GET, "/replica?tag_zone=eu-1&tag_ssd=false"), 503);
    assert_int_equal(status_of(scene, METHOD_GET, "/health?tag_rack=7"), 200);
    assert_int_equal(status_of(scene, METHOD_GET, "/health?tag_quoted=7"), 200);
    assert_int_equal(status_of(scene, METHOD_GET, "/async?tag_rack=8"), 503);
    assert_int_equal(status_of(scene, METHOD_GET, "/health?tag_nofailover=false"), 503);
    scene->config.tags.nofailover = true;
    assert_int_equal(status_of(scene, METHOD_GET, "/health?tag_nofailover=true"), 200);
    scene->config.tags.noloadbalance = true;
    assert_int_equal(status_of(scene, METHOD_GET, "/replica"), 503);
    assert_int_equal(status_of(scene, METHOD_GET, "/health"), 200);
    for (size_t at = 0; at < ARRAY_LEN(tags); at++) {
        mem_free(tags[at].name);
        mem_free(tags[at].value);
    }
}

static void test_liveness(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(PRIMARY);

    (void)state;
    scene->snapshot.last_turn_ms = 39999; /* loop_wait + ttl */
    assert_int_equal(status_of(scene, METHOD_GET, "/liveness"), 200);
    scene->snapshot.last_turn_ms = 40000;
    assert_int_equal(status_of(scene, METHOD_GET, "/liveness"), 503);
    set_situation(scene, REPLICA);
    assert_int_equal(status_of(scene, METHOD_GET, "/liveness"), 200);
    scene->snapshot.last_turn_ms = 70000;
    assert_int_equal(status_of(scene, METHOD_GET, "/liveness"), 503);
    scene->snapshot.cluster.settings.is_paused = true;
    assert_int_equal(status_of(scene, METHOD_GET, "/liveness"), 200);
}

/* A replica that has lost the store is ready if the leader's heartbeat shows that it keeps up. */
static void test_readiness_without_store(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(LOST_REPLICA);

    (void)state;
    str_copy(scene->snapshot.cluster.leader, MEMBER_NAME_SIZE, "n2");
    scene->snapshot.has_report[0] = true;
    scene->snapshot.report_position[0] = (struct position){5, 98 * MB};
    scene->snapshot.cluster.status_lsn = 97 * MB;
    assert_int_equal(status_of(scene, METHOD_GET, "/readiness"), 200);
    scene->snapshot.report_position[0].lsn = 102 * MB;
    assert_int_equal(status_of(scene, METHOD_GET, "/readiness"), 503);
}

/* ---- routing ---- */

static void test_routing(void **state)
{
    static const struct {
        unsigned method;
        const char *target;
        int status;
    } rows[] = {
        {METHOD_GET, "/patroni", 200},
        {METHOD_GET, "//patroni", 200},
        {METHOD_GET, "/patroni/anything", 200},
        {METHOD_GET, "/patronix", 503},
        {METHOD_HEAD, "/patroni", 200},
        {METHOD_OPTIONS, "/patroni", 503},
        {METHOD_POST, "/patroni", 501},
        {METHOD_OTHER, "/primary", 501},
        {METHOD_OTHER, "/switchover", 501},
        {METHOD_GET, "/switchover", 503},
        {METHOD_GET, "/cluster", 200},
        {METHOD_GET, "/history", 200},
        {METHOD_GET, "/config", 502},
        {METHOD_GET, "/metrics", 200},
        {METHOD_GET, "/failsafe", 502},
        {METHOD_POST, "/failsafe", 502},
        {METHOD_GET, "/baton/decision", 200},
        {METHOD_GET, "/baton/store", 404},
        {METHOD_GET, "/baton/store/members", 503},
        {METHOD_GET, "/baton/store/leave", 405},
        {METHOD_GET, "/baton/store/nonsense", 404},
        {METHOD_GET, "/baton", 404},
        {METHOD_GET, "/baton/primary", 404},
        {METHOD_POST, "/baton/decision", 405},
        {METHOD_OTHER, "/baton/decision", 405},
        {METHOD_OTHER, "/baton/nonsense", 404},
        {METHOD_GET, "/batonette", 503},
    };
    AUTO_FREE struct scene *scene = scene_new(REPLICA);

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        int status = status_of(scene, rows[at].method, rows[at].target);

        if (status != rows[at].status) {
            print_error("%s: %d\n", rows[at].target, status);
        }
        assert_int_equal(status, rows[at].status);
    }
}

/* The answer is that of before: what is looked at comes with the next. */
static void test_urgent(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(REPLICA);

    (void)state;
    assert_int_equal(status_of(scene, METHOD_GET, "/patroni"), 200);
    assert_int_equal(status_of(scene, METHOD_GET, "/patroni?lag=1"), 200);
    assert_int_equal(status_of(scene, METHOD_GET, "/replica?urgent"), 200);
    assert_int_equal(scene->looks, 0);
    assert_int_equal(status_of(scene, METHOD_GET, "/patroni?urgent"), 200);
    assert_int_equal(status_of(scene, METHOD_GET, "/patroni?lag=1&urgent=1"), 200);
    assert_int_equal(status_of(scene, METHOD_GET, "/patroni?urgent="), 200);
    assert_int_equal(scene->looks, 3);
}

/* Patroni's answers. */
static void test_failsafe(void **state)
{
    static const char body[] = "{\"name\":\"n1\",\"term\":7,\"seq\":42,\"node\":\"0a\"}";
    AUTO_FREE struct scene *scene = scene_new(REPLICA);
    struct api_reply reply;

    (void)state;
    reply = call_route(scene, METHOD_POST, "/failsafe", body);
    assert_int_equal(reply.status, 502);
    assert_int_equal(scene->ask.term, 0);
    mem_free(reply.body);
    scene->snapshot.cluster.settings.is_failsafe = true;
    assert_int_equal(status_of(scene, METHOD_GET, "/failsafe"), 502);
    scene->snapshot.failsafe_json = "{\"n1\":\"http://h/patroni\"}";
    reply = call_route(scene, METHOD_GET, "/failsafe", "");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "{\"n1\": \"http://h/patroni\"}");
    mem_free(reply.body);
    reply = call_route(scene, METHOD_POST, "/failsafe", body);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "Accepted");
    assert_int_equal(reply.lsn, 99 * MB);
    assert_int_equal(scene->ask.seq, 42);
    mem_free(reply.body);
    scene->refusal = "Running as a leader";
    reply = call_route(scene, METHOD_POST, "/failsafe", body);
    assert_int_equal(reply.status, 500);
    assert_string_equal(reply.body, "Running as a leader");
    assert_int_equal(reply.lsn, 0);
    mem_free(reply.body);
    reply = call_route(scene, METHOD_POST, "/failsafe", "{}");
    assert_int_equal(reply.status, 400);
    mem_free(reply.body);
}

static void test_store_changes(void **state)
{
    static const struct {
        const char *target;
        const char *body;
        const char *name;
        int status; /* 0: it went to the source */
        enum api_store_change change;
    } rows[] = {
        {"/baton/store/leave", "", "", 0, API_STORE_LEAVE},
        {"/baton/store/join", "{}", "", 0, API_STORE_JOIN},
        {"/baton/store/remove", "{\"member\":\"n3\"}", "n3", 0, API_STORE_REMOVE},
        {"/baton/store/remove", "{\"member\":3}", "", 400, API_STORE_REMOVE},
        {"/baton/store/remove", "{}", "", 400, API_STORE_REMOVE},
        {"/baton/store/remove", "", "", 400, API_STORE_REMOVE},
        {"/baton/store/remove", "[]", "", 400, API_STORE_REMOVE},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        AUTO_FREE struct scene *scene = scene_new(REPLICA);
        struct api_reply reply = call_route(scene, METHOD_POST, rows[at].target, rows[at].body);

        assert_int_equal(reply.is_handed, rows[at].status == 0);
        assert_int_equal(scene->requests, rows[at].status == 0 ? 1 : 0);
        if (rows[at].status != 0) {
            assert_int_equal(reply.status, rows[at].status);
        } else {
            assert_int_equal(scene->store_change, rows[at].change);
            assert_string_equal(scene->store_name, rows[at].name);
        }
        mem_free(reply.body);
    }
}

/* The source judges the signature: also a missing one. */
static void test_wal(void **state)
{
    static const struct {
        const char *target;
        int status; /* 0: it went to the source */
        bool is_signed;
    } rows[] = {
        {"/baton/wal?system=7&timeline=2&from=8192&to=16384&mac=ab", 0, true},
        {"/baton/wal?system=7&timeline=2&from=8192&to=16384", 0, false},
        {"/baton/wal?system=7&timeline=2&from=8192&mac=ab", 400, false},
        {"/baton/wal?system=7&timeline=2&from=0&to=99999999&mac=ab", 400, false},
        {"/baton/wal", 400, false},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        AUTO_FREE struct scene *scene = scene_new(REPLICA);
        struct api_reply reply = call_route(scene, METHOD_GET, rows[at].target, "");

        assert_int_equal(reply.is_handed, rows[at].status == 0);
        assert_int_equal(scene->requests, rows[at].status == 0 ? 1 : 0);
        assert_int_equal(scene->is_signed, rows[at].is_signed);
        if (rows[at].status != 0) {
            assert_int_equal(reply.status, rows[at].status);
        } else {
            assert_int_equal(scene->tail.timeline, 2);
            assert_int_equal(scene->tail.to, 16384);
        }
        mem_free(reply.body);
    }
}

/* ---- what is shown ---- */

static void test_cluster(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(PRIMARY);
    struct cluster *cluster = &scene->snapshot.cluster;
    AUTO_FREE char *json = NULL;

    (void)state;
    cluster->has_request = true;
    cluster->request.scheduled_real_ms = NOW_MS;
    str_copy(cluster->request.leader, MEMBER_NAME_SIZE, "n1");
    str_copy(cluster->members[2].problem, sizeof(cluster->members[2].problem), "disk full");
    cluster->members[0].tags.clonefrom = true;
    json = view_cluster(&scene->snapshot);
    assert_string_equal(
        json,
        "{\"members\": ["
        "{\"name\": \"n1\", \"role\": \"leader\", \"state\": \"running\", "
        "\"api_url\": \"http://10.0.0.1:8008/patroni\", \"host\": \"10.0.0.1\", \"port\": 5432, "
        "\"timeline\": 5}, "
        "{\"name\": \"n2\", \"role\": \"replica\", \"state\": \"streaming\", "
        "\"api_url\": \"http://10.0.0.2:8008/patroni\", \"host\": \"10.0.0.2\", \"port\": 5432, "
        "\"timeline\": 5, \"tags\": {\"clonefrom\": true}, "
        "\"receive_lsn\": \"0/6200000\", \"receive_lag\": 2097152, "
        "\"replay_lsn\": \"0/6200000\", \"replay_lag\": 2097152, "
        "\"lsn\": \"0/6200000\", \"lag\": 2097152}, "
        "{\"name\": \"n3\", \"role\": \"replica\", \"state\": \"streaming\", "
        "\"api_url\": \"http://10.0.0.3:8008/patroni\", \"host\": \"10.0.0.3\", \"port\": 5432, "
        "\"timeline\": 5, "
        "\"receive_lsn\": \"unknown\", \"receive_lag\": \"unknown\", "
        "\"replay_lsn\": \"unknown\", \"replay_lag\": \"unknown\", "
        "\"lsn\": \"unknown\", \"lag\": \"unknown\", \"baton\": {\"problem\": \"disk full\"}}], "
        "\"scheduled_switchover\": {\"at\": \"2025-11-24T16:00:00+00:00\", \"from\": \"n1\"}, "
        "\"scope\": \"main\", "
        "\"baton\": {\"system_id\": \"7277694203142172922\", \"initialize\": true, "
        "\"node\": \"n1\", \"dcs_ok\": true, \"dcs_problem\": \"\", \"term\": 7, "
        "\"decision\": {\"lease\": {\"rule\": \"lease.renew\", \"text\": \"the renewal is due\"}, "
        "\"server\": {\"rule\": \"server.fine\", \"text\": \"\"}}}}");
}

/* Heartbeats are newer than what the store says. */
static void test_cluster_reports(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(PRIMARY);
    AUTO_FREE char *json = NULL;

    (void)state;
    scene->snapshot.has_report[0] = true;
    scene->snapshot.report_position[0] = (struct position){5, 100 * MB};
    scene->snapshot.report_received_lsn[0] = 100 * MB;
    scene->snapshot.report_replayed_lsn[0] = 99 * MB;
    scene->snapshot.has_report[2] = true; /* ahead of what is known of the leader */
    scene->snapshot.report_position[2] = (struct position){5, 101 * MB};
    scene->snapshot.report_received_lsn[2] = 101 * MB;
    json = view_cluster(&scene->snapshot);
    assert_non_null(strstr(json, "\"lsn\": \"0/6500000\", \"lag\": 0"));
    assert_non_null(strstr(json, "\"receive_lag\": 0, "));
    assert_non_null(strstr(json, "\"replay_lag\": 1048576, "));
}

/* A dead leader's keys stay in the store for a while: neither is it shown as if it lived, nor as
 * the leader when its lease has run out. */
static void test_cluster_silence(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(REPLICA);
    AUTO_FREE char *led = NULL;
    AUTO_FREE char *unled = NULL;

    (void)state;
    str_copy(scene->snapshot.cluster.leader, MEMBER_NAME_SIZE, "n2");
    str_copy(scene->snapshot.cluster.lease.holder, MEMBER_NAME_SIZE, "n2");
    scene->snapshot.is_silent[0] = true;
    scene->snapshot.silent_ms[0] = 12345;
    scene->snapshot.is_silent[2] = true;
    str_copy(scene->snapshot.cluster.members[2].problem, 16, "disk full");
    led = view_cluster(&scene->snapshot);
    assert_non_null(strstr(led, "\"name\": \"n2\", \"role\": \"leader\", \"state\": \"unknown\""));
    assert_non_null(strstr(led, "{\"problem\": \"it has not answered for 12 s\"}"));
    assert_non_null(strstr(
        led, "it has not answered since this agent was started; its last word was: disk full"));
    assert_null(strstr(led, "last_holder"));
    scene->snapshot.is_led = false;
    unled = view_cluster(&scene->snapshot);
    assert_non_null(
        strstr(unled, "\"name\": \"n2\", \"role\": \"replica\", \"state\": \"unknown\""));
    assert_non_null(strstr(unled, "\"last_holder\": \"n2\""));
    assert_non_null(strstr(unled, "\"replay_lag\": \"unknown\""));
}

/* The store's keys are of before it was lost: this node shows what it is now. */
static void test_cluster_lost(void **state)
{
    static const struct {
        enum situation situation;
        enum member_state state;
        bool is_streaming;
        const char *text;
    } rows[] = {
        {LOST_PRIMARY, STATE_RUNNING, false, "\"role\": \"leader\", \"state\": \"running\""},
        {LOST_REPLICA, STATE_RUNNING, true, "\"role\": \"replica\", \"state\": \"streaming\""},
        {LOST_REPLICA, STATE_RUNNING, false,
         "\"role\": \"replica\", \"state\": \"in archive recovery\""},
        {LOST_REPLICA, STATE_STOPPED, false, "\"role\": \"replica\", \"state\": \"stopped\""},
        {LOST_REPLICA, STATE_CRASHED, false, "\"role\": \"replica\", \"state\": \"crashed\""},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        AUTO_FREE struct scene *scene = scene_new(rows[at].situation);
        struct member *own = &scene->snapshot.cluster.members[1];
        AUTO_FREE char *json = NULL;
        const char *shown;

        own->state = STATE_STARTING;
        str_copy(own->replication_state, sizeof(own->replication_state), "of before");
        str_copy(own->problem, sizeof(own->problem), "of before");
        scene->snapshot.state = rows[at].state;
        scene->snapshot.server.is_streaming = rows[at].is_streaming;
        json = view_cluster(&scene->snapshot);
        shown = strstr(json, "\"name\": \"n1\", ");
        assert_non_null(shown);
        assert_true(str_starts(shown + strlen("\"name\": \"n1\", "), rows[at].text));
        assert_null(strstr(json, "of before"));
    }
}

/* And of the others what they have reported since; with the store, its keys count. */
static void test_cluster_lost_peers(void **state)
{
    static const struct {
        struct peer_report report;
        bool dcs_ok;
        const char *text;
    } rows[] = {
        {{.state = STATE_STOPPED, .role = ROLE_REPLICA}, false, "stopped"},
        {{.state = STATE_STARTING, .role = ROLE_REPLICA, .is_streaming = true}, false, "starting"},
        {{.state = STATE_RUNNING, .role = ROLE_REPLICA, .is_streaming = true}, false, "streaming"},
        {{.state = STATE_RUNNING, .role = ROLE_REPLICA}, false, "running"},
        {{.state = STATE_RUNNING, .role = ROLE_PRIMARY, .is_streaming = true}, false, "running"},
        {{.state = STATE_STOPPED, .role = ROLE_REPLICA}, true, "of before"},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        AUTO_FREE struct scene *scene = scene_new(rows[at].dcs_ok ? PRIMARY : LOST_PRIMARY);
        struct member *peer = &scene->snapshot.cluster.members[0];
        struct str wanted AUTO_STR = STR_INIT(256);
        AUTO_FREE char *json = NULL;

        str_copy(peer->replication_state, sizeof(peer->replication_state), "of before");
        scene->snapshot.has_report[0] = true;
        scene->snapshot.report[0] = &rows[at].report;
        str_addf(
            &wanted, "{\"name\": \"n2\", \"role\": \"replica\", \"state\": \"%s\"", rows[at].text);
        json = view_cluster(&scene->snapshot);
        assert_non_null(strstr(json, str_text(&wanted)));
    }
}

/* A store that was never read says nothing about the cluster. */
static void test_cluster_unread(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(LOST_REPLICA);
    AUTO_FREE char *json = NULL;

    (void)state;
    scene->snapshot.dcs_seen_real_ms = 0;
    json = view_cluster(&scene->snapshot);
    assert_null(strstr(json, "\"initialize\""));
}

static void test_keys(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(PRIMARY);
    struct api_reply reply;

    (void)state;
    scene->snapshot.config_json = "{\"ttl\":30,\"postgresql\":{\"use_pg_rewind\":true}}";
    scene->snapshot.history_json = "[[1,25623960,\"no recovery target specified\"]]";
    reply = call_route(scene, METHOD_GET, "/config", "");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "{\"ttl\": 30, \"postgresql\": {\"use_pg_rewind\": true}}");
    mem_free(reply.body);
    reply = call_route(scene, METHOD_GET, "/history", "");
    assert_string_equal(reply.body, "[[1, 25623960, \"no recovery target specified\"]]");
    mem_free(reply.body);
    scene->snapshot.config_json = "{damaged";
    scene->snapshot.history_json = "{damaged";
    assert_int_equal(status_of(scene, METHOD_GET, "/config"), 502);
    reply = call_route(scene, METHOD_GET, "/history", "");
    assert_string_equal(reply.body, "[]");
    mem_free(reply.body);
}

static void test_metrics(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(PRIMARY);
    struct str text AUTO_STR = STR_INIT(65536);
    static const char *const lines[] = {
        ("# HELP patroni_version Patroni semver without periods.\n"
         "# TYPE patroni_version gauge\n"
         "patroni_version{scope=\"ma\\\"in\",name=\"n1\"} 040104\n"),
        "patroni_postmaster_start_time{scope=\"ma\\\"in\",name=\"n1\"} 1763999940.000\n",
        "patroni_xlog_location{scope=\"ma\\\"in\",name=\"n1\"} 104857600\n",
        "patroni_xlog_replayed_location{scope=\"ma\\\"in\",name=\"n1\"} 0\n",
        "patroni_postgres_state{scope=\"ma\\\"in\",name=\"n1\"} 5\n",
        "baton_term{scope=\"ma\\\"in\",name=\"n1\"} 7\n",
        "baton_decision_rule{scope=\"ma\\\"in\",name=\"n1\",topic=\"lease\",rule=\"lease.renew\"} "
        "1\n",
    };

    (void)state;
    str_copy(scene->config.scope, sizeof(scene->config.scope), "ma\"in");
    metrics_render(&scene->snapshot, &text);
    for (size_t at = 0; at < ARRAY_LEN(lines); at++) {
        if (strstr(str_text(&text), lines[at]) == NULL) {
            print_error("missing: %s", lines[at]);
        }
        assert_non_null(strstr(str_text(&text), lines[at]));
    }
}

static void test_reference(void **state)
{
    struct str text AUTO_STR = STR_INIT(65536);

    (void)state;
    api_render_reference(&text);
    assert_false(text.is_cut);
    for (unsigned at = 0; route_at(at) != NULL; at++) {
        assert_non_null(strstr(str_text(&text), route_at(at)->path));
    }
}

/* ---- switchover and failover ---- */

struct wish_row {
    const char *target;
    const char *body;
    int status; /* 0: handed to the source */
    const char *text;
};

static const struct wish_row wishes[] = {
    {"/switchover", "", 400, NULL},
    {"/switchover", "nonsense", 400, NULL},
    {"/switchover", "[1]", 400, NULL},
    {"/switchover", "{}", 400, "the request is empty"},
    {"/switchover", "{\"leader\":1}", 400, "leader must be a text"},
    {"/switchover", "{\"candidate\":\"n2\"}", 400,
     "Switchover could be performed only from a specific leader"},
    {"/failover", "{\"leader\":\"n1\"}", 400,
     "Failover could be performed only to a specific candidate"},
    {"/failover", "{\"candidate\":\"n2\",\"scheduled_at\":\"2036-01-01T00:00:00Z\"}", 400,
     "Failover can't be scheduled"},
    {"/switchover", "{\"leader\":\"n1\",\"candidate\":\"n1\"}", 400,
     "Switchover target and source are the same"},
    {"/switchover", "{\"leader\":\"n1\",\"scheduled_at\":\"2036-01-01T00:00:00\"}", 400,
     "Timezone information is mandatory for the scheduled switchover"},
    {"/switchover", "{\"leader\":\"n1\",\"scheduled_at\":\"tomorrow\"}", 422,
     "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"},
    {"/switchover", "{\"leader\":\"n1\",\"scheduled_at\":\"2016-01-01T00:00:00Z\"}", 422,
     "Cannot schedule switchover in the past"},
    {"/switchover", "{\"leader\":\"n1\",\"scheduled_at\":\"1916-01-01T00:00:00Z\"}", 422,
     "Cannot schedule switchover in the past"},
    {"/switchover", "{\"leader\":\"n2\"}", 412, "leader name does not match"},
    {"/switchover", "{\"leader\":\"n1\",\"candidate\":\"n9\"}", 412, "candidate does not exists"},
    {"/switchover", "{\"leader\":\"n1\"}", 0, NULL},
    {"/switchover", "{\"leader\":\"n1\",\"member\":\"n2\"}", 0, NULL},
    {"/switchover", "{\"leader\":\"n1\",\"scheduled_at\":\"2036-01-01T00:00:00+01:00\"}", 0, NULL},
    {"/failover", "{\"candidate\":\"n2\"}", 0, NULL},
    {"/failover", "{\"candidate\":\"n2\",\"leader\":\"n1\"}", 0, NULL},
};

static void test_wishes(void **state)
{
    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(wishes); at++) {
        const struct wish_row *row = &wishes[at];
        AUTO_FREE struct scene *scene = scene_new(PRIMARY);
        struct api_reply reply = call_route(scene, METHOD_POST, row->target, row->body);

        if (reply.status != row->status) {
            print_error("%s %s: %d %s\n", row->target, row->body, reply.status, reply.body);
        }
        assert_int_equal(reply.status, row->status);
        assert_int_equal(reply.is_handed, row->status == 0);
        assert_int_equal(scene->requests, row->status == 0 ? 1 : 0);
        if (row->text != NULL) {
            assert_string_equal(reply.body, row->text);
        }
        mem_free(reply.body);
    }
}

static void test_wish_values(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(PRIMARY);
    struct api_reply reply =
        call_route(scene, METHOD_POST, "/failover", "{\"leader\":\"n1\",\"member\":\"n2\"}");

    (void)state;
    assert_true(reply.is_handed);
    assert_false(scene->is_failover);
    assert_string_equal(scene->asked.leader, "n1");
    assert_string_equal(scene->asked.candidate, "n2");
    reply = call_route(scene, METHOD_POST, "/failover", "{\"candidate\":\"n3\"}");
    assert_true(reply.is_handed);
    assert_true(scene->is_failover);
    assert_string_equal(scene->asked.leader, "");
    reply = call_route(
        scene, METHOD_POST, "/switchover",
        "{\"leader\":\"n1\",\"scheduled_at\":\"2036-01-01T00:00:00+01:00\"}");
    assert_int_equal(scene->asked.scheduled_real_ms, INT64_C(2082754800000));
}

static void test_wishes_paused(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(PRIMARY);
    struct api_reply reply;

    (void)state;
    scene->snapshot.cluster.settings.is_paused = true;
    reply = call_route(scene, METHOD_POST, "/switchover", "{\"leader\":\"n1\"}");
    assert_int_equal(reply.status, 400);
    assert_string_equal(
        reply.body, "Switchover is possible only to a specific candidate in a paused state");
    mem_free(reply.body);
    reply = call_route(
        scene, METHOD_POST, "/switchover",
        "{\"leader\":\"n1\",\"candidate\":\"n2\",\"scheduled_at\":\"2036-01-01T00:00:00Z\"}");
    assert_int_equal(reply.status, 400);
    assert_string_equal(reply.body, "Can't schedule switchover in the paused state");
    mem_free(reply.body);
}

static void test_wishes_alone(void **state)
{
    AUTO_FREE struct scene *scene = scene_new(PRIMARY);
    struct api_reply reply;

    (void)state;
    scene->snapshot.cluster.members[0] = scene->snapshot.cluster.members[1];
    scene->snapshot.cluster.member_count = 1;
    reply = call_route(scene, METHOD_POST, "/switchover", "{\"leader\":\"n1\"}");
    assert_int_equal(reply.status, 412);
    mem_free(reply.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_health_body),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_liveness),
        cmocka_unit_test(test_urgent),
        cmocka_unit_test(test_failsafe),
        cmocka_unit_test(test_store_changes),
        cmocka_unit_test(test_wal),
        cmocka_unit_test(test_readiness_without_store),
        cmocka_unit_test(test_routing),
        cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_cluster_reports),
        cmocka_unit_test(test_cluster_silence),
        cmocka_unit_test(test_cluster_lost),
        cmocka_unit_test(test_cluster_lost_peers),
        cmocka_unit_test(test_cluster_unread),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_wishes),
        cmocka_unit_test(test_wish_values),
        cmocka_unit_test(test_wishes_paused),
        cmocka_unit_test(test_wishes_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
