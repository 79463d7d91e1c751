#include "api/standby.h"

#include "api/metrics.h"
#include "api/routes_test.h"
#include "api/views.h"
#include "codec/codec.h"

/* n1, in SITUATION, with n1 and n3 as those that commits wait for; n2 leads unless n1 does. */
static struct scene *sync_scene(enum situation situation, enum sync_mode mode)
{
    struct scene *scene = scene_new(situation);
    struct cluster *cluster = &scene->snapshot.cluster;
    bool leads = situation == PRIMARY || situation == LEADER_STARTING || situation == LOST_PRIMARY;

    str_copy(cluster->leader, MEMBER_NAME_SIZE, leads ? "n1" : "n2");
    cluster->settings.sync_mode = mode;
    cluster->sync = (struct sync_record){.quorum = 1, .count = 2, .voters = {"n1", "n3"}};
    str_copy(cluster->sync.leader, MEMBER_NAME_SIZE, cluster->leader);
    return scene;
}

/* ---- who ---- */

static void test_kind(void **state)
{
    AUTO_FREE struct scene *scene = sync_scene(REPLICA, SYNC_ON);
    struct api_snapshot *snapshot = &scene->snapshot;
    struct cluster *cluster = &snapshot->cluster;

    (void)state;
    assert_int_equal(standby_kind(snapshot, "n1"), SYNC_ON);
    assert_int_equal(standby_kind(snapshot, "n3"), SYNC_ON);
    assert_int_equal(standby_kind(snapshot, "n2"), SYNC_OFF);
    assert_int_equal(standby_kind(snapshot, "n"), SYNC_OFF);
    assert_int_equal(standby_own_kind(snapshot), SYNC_ON);
    cluster->settings.sync_mode = SYNC_QUORUM;
    assert_int_equal(standby_kind(snapshot, "n3"), SYNC_QUORUM);
    assert_string_equal(standby_role(snapshot, "n3"), "quorum_standby");
    assert_string_equal(standby_role(snapshot, "n4"), "replica");
    /* The mode has been switched off, and the key is still there. */
    cluster->settings.sync_mode = SYNC_OFF;
    assert_int_equal(standby_kind(snapshot, "n3"), SYNC_OFF);
    cluster->settings.sync_mode = SYNC_ON;
    /* What the leader of before has published; no key; a key of nobody while nobody leads. */
    str_copy(cluster->leader, MEMBER_NAME_SIZE, "n4");
    assert_int_equal(standby_kind(snapshot, "n3"), SYNC_OFF);
    str_copy(cluster->sync.leader, MEMBER_NAME_SIZE, "");
    assert_int_equal(standby_kind(snapshot, "n3"), SYNC_OFF);
    str_copy(cluster->leader, MEMBER_NAME_SIZE, "");
    assert_int_equal(standby_kind(snapshot, "n3"), SYNC_OFF);
    /* A leader is nobody's standby, even where it is named as one. */
    str_copy(cluster->leader, MEMBER_NAME_SIZE, "n3");
    str_copy(cluster->sync.leader, MEMBER_NAME_SIZE, "n3");
    assert_int_equal(standby_kind(snapshot, "n3"), SYNC_OFF);
    assert_int_equal(standby_kind(snapshot, "n1"), SYNC_ON);
}

/* ---- the checks ---- */

struct check {
    /* '1' is 200, '0' is 503, in the order of enum situation */
    const char *expected;
    enum sync_mode mode;
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
    {"0 0 0 1 0 0 1 0 0", SYNC_ON, "/sync"},
    {"0 0 0 1 0 0 1 0 0", SYNC_ON, "/synchronous"},
    {"0 0 0 1 0 0 1 0 0", SYNC_ON, "/sync?lag=2MB"},
    {"0 0 0 0 0 0 0 0 0", SYNC_ON, "/sync?lag=1MB"},
    {"0 0 0 0 0 0 0 0 0", SYNC_ON, "/sync?tag_zone=x"},
    {"0 0 0 0 0 0 0 0 0", SYNC_ON, "/quorum"},
    {"0 0 0 0 0 0 0 0 0", SYNC_ON, "/async"},
    {"0 0 0 0 0 0 0 0 0", SYNC_ON, "/asynchronous"},
    {"1 0 0 1 0 0 1 0 0", SYNC_ON, "/read-only-sync"},
    {"1 0 0 1 0 0 1 0 0", SYNC_ON, "/read-only-synchronous"},
    {"1 0 0 0 0 0 0 0 0", SYNC_ON, "/read-only-synchronous?lag=1MB"},
    {"0 0 0 0 0 0 0 0 0", SYNC_ON, "/read-only-sync?tag_zone=x"},
    {"1 0 0 0 0 0 0 0 0", SYNC_ON, "/read-only-quorum"},
    {"0 0 0 1 0 0 1 1 0", SYNC_ON, "/replica"},
    {"0 0 0 0 0 0 0 0 0", SYNC_QUORUM, "/sync"},
    {"0 0 0 1 0 0 1 0 0", SYNC_QUORUM, "/quorum"},
    {"0 0 0 0 0 0 0 0 0", SYNC_QUORUM, "/quorum?lag=1MB"},
    {"0 0 0 0 0 0 0 0 0", SYNC_QUORUM, "/async"},
    {"1 0 0 0 0 0 0 0 0", SYNC_QUORUM, "/read-only-sync"},
    {"1 0 0 1 0 0 1 0 0", SYNC_QUORUM, "/read-only-quorum"},
    {"0 0 0 0 0 0 0 0 0", SYNC_OFF, "/sync"},
    {"0 0 0 0 0 0 0 0 0", SYNC_OFF, "/quorum"},
    {"0 0 0 1 0 0 1 0 0", SYNC_OFF, "/async"},
    {"1 0 0 0 0 0 0 0 0", SYNC_OFF, "/read-only-quorum"},
};

static void test_checks(void **state)
{
    static const unsigned methods[] = {METHOD_GET, METHOD_HEAD, METHOD_OPTIONS};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(checks); at++) {
        for (unsigned situation = 0; situation < SITUATIONS; situation++) {
            AUTO_FREE struct scene *scene = sync_scene((enum situation)situation, checks[at].mode);
            int expected = checks[at].expected[situation * 2] == '1' ? 200 : 503;

            for (size_t method = 0; method < ARRAY_LEN(methods); method++) {
                int status = status_of(scene, methods[method], checks[at].target);

                if (status != expected) {
                    print_error("%s in situation %u: %d\n", checks[at].target, situation, status);
                }
                assert_int_equal(status, expected);
            }
        }
    }
}

/* Who is not named is asynchronous, whatever the mode; and noloadbalance keeps out of all. */
static void test_others(void **state)
{
    AUTO_FREE struct scene *scene = sync_scene(REPLICA, SYNC_ON);

    (void)state;
    scene->snapshot.cluster.sync.voters[0][1] = '4';
    assert_int_equal(status_of(scene, METHOD_GET, "/sync"), 503);
    assert_int_equal(status_of(scene, METHOD_GET, "/async"), 200);
    assert_int_equal(status_of(scene, METHOD_GET, "/read-only-sync"), 503);
    scene->snapshot.cluster.sync.voters[0][1] = '1';
    scene->config.tags.noloadbalance = true;
    assert_int_equal(status_of(scene, METHOD_GET, "/sync"), 503);
}

/* ---- what is shown ---- */

static void check_status(
    enum situation situation, enum sync_mode mode, const char *shown, const char *hidden)
{
    AUTO_FREE struct scene *scene = sync_scene(situation, mode);
    AUTO_FREE char *json = view_status(&scene->snapshot);

    assert_true(shown == NULL || strstr(json, shown) != NULL);
    assert_null(strstr(json, hidden));
}

static void test_status(void **state)
{
    (void)state;
    check_status(REPLICA, SYNC_ON, "\"sync_standby\": true", "quorum_standby");
    check_status(REPLICA, SYNC_QUORUM, "\"quorum_standby\": true", "sync_standby");
    check_status(REPLICA, SYNC_OFF, NULL, "_standby");
    check_status(PRIMARY, SYNC_ON, NULL, "_standby");
    check_status(STARTING, SYNC_ON, NULL, "_standby");
}

static void test_status_of_primary(void **state)
{
    AUTO_FREE struct scene *scene = sync_scene(PRIMARY, SYNC_ON);
    AUTO_FREE char *json = NULL;
    struct peer_report report = {0};

    (void)state;
    scene->snapshot.server.standby_count = 1;
    str_copy(scene->snapshot.server.standbys[0].name, MEMBER_NAME_SIZE, "n3");
    scene->snapshot.suspected = 6;
    scene->snapshot.promised = 7;
    json = view_status(&scene->snapshot);
    assert_non_null(strstr(
        json, "\"replication\": [{\"application_name\": \"n3\", \"state\": \"streaming\"}]"));
    assert_int_equal(record_report_decode(json, NULL, &report, NULL), 0);
    assert_int_equal(report.suspected, 6);
    assert_int_equal(report.promised, 7);
}

static void check_roles(enum sync_mode mode, const char *role)
{
    AUTO_FREE struct scene *scene = sync_scene(PRIMARY, mode);
    AUTO_FREE char *json = view_cluster(&scene->snapshot);
    char text[64];

    assert_non_null(strstr(json, "\"name\": \"n1\", \"role\": \"leader\""));
    assert_non_null(strstr(json, "\"name\": \"n2\", \"role\": \"replica\""));
    assert_true(str_format(text, sizeof(text), "\"name\": \"n3\", \"role\": \"%s\"", role));
    assert_non_null(strstr(json, text));
}

static void test_roles(void **state)
{
    (void)state;
    check_roles(SYNC_ON, "sync_standby");
    check_roles(SYNC_QUORUM, "quorum_standby");
    check_roles(SYNC_OFF, "replica");
}

static void check_metrics(enum situation situation, enum sync_mode mode, int sync, int quorum)
{
    AUTO_FREE struct scene *scene = sync_scene(situation, mode);
    struct str text AUTO_STR = STR_INIT(65536);
    char line[128];

    metrics_render(&scene->snapshot, &text);
    str_format(line, sizeof(line), "patroni_sync_standby{scope=\"main\",name=\"n1\"} %d\n", sync);
    assert_non_null(strstr(str_text(&text), line));
    str_format(
        line, sizeof(line), "patroni_quorum_standby{scope=\"main\",name=\"n1\"} %d\n", quorum);
    assert_non_null(strstr(str_text(&text), line));
    assert_null(strstr(str_text(&text), "topic=\"sync\""));
}

static void test_metrics(void **state)
{
    (void)state;
    check_metrics(REPLICA, SYNC_ON, 1, 0);
    check_metrics(REPLICA, SYNC_QUORUM, 0, 1);
    check_metrics(REPLICA, SYNC_OFF, 0, 0);
    check_metrics(STOPPED, SYNC_ON, 0, 0);
    check_metrics(PRIMARY, SYNC_ON, 0, 0);
}

/* The decision about what commits wait for is shown once there is one. */
static void test_decision(void **state)
{
    AUTO_FREE struct scene *scene = sync_scene(PRIMARY, SYNC_ON);
    struct str text AUTO_STR = STR_INIT(65536);
    AUTO_FREE char *before = view_decision(&scene->snapshot);
    AUTO_FREE char *after = NULL;

    (void)state;
    assert_null(strstr(before, "\"sync\""));
    str_copy(scene->snapshot.sync.rule, sizeof(scene->snapshot.sync.rule), "sync.off");
    str_copy(scene->snapshot.sync.text, sizeof(scene->snapshot.sync.text), "asynchronous");
    after = view_decision(&scene->snapshot);
    assert_non_null(
        strstr(after, "\"sync\": {\"rule\": \"sync.off\", \"text\": \"asynchronous\"}}"));
    metrics_render(&scene->snapshot, &text);
    assert_non_null(strstr(str_text(&text), "topic=\"sync\",rule=\"sync.off\"} 1\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kind),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_status_of_primary),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_decision),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
