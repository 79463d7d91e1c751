/* routes_test.h - for the tests of this folder: a cluster of three in every situation, and calling
 * routes about it. */
#pragma once

#include "api/routes.h"
#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

#define MB (UINT64_C(1) << 20)
#define NOW_MS INT64_C(1764000000000)

/* ---- a cluster of three, seen from n1 ---- */

enum situation {
    PRIMARY,          /* holds the lease, writable */
    PRIMARY_NO_LEASE, /* writable, but the lease is gone */
    LEADER_STARTING,  /* holds the lease, server not up yet */
    REPLICA,
    STARTING,
    STOPPED,
    PAUSED_REPLICA,
    LOST_REPLICA, /* cannot reach the store */
    LOST_PRIMARY, /* the same, but its lease is still in force */
    SITUATIONS
};

struct scene {
    struct config config;
    struct api_snapshot snapshot;
    struct api_source source;
    struct failover_request asked;
    bool is_failover;
    unsigned requests;
    unsigned looks;
    struct failsafe_ask ask;
    const char *refusal; /* of it */
    enum api_store_change store_change;
    char store_name[MEMBER_NAME_SIZE];
    struct tail_ask tail;
    bool is_signed;
};

UNUSED static void on_wish(
    void *arg, const struct failover_request *request, bool is_failover, struct api_call *call)
{
    struct scene *scene = arg;

    (void)call;
    scene->asked = *request;
    scene->is_failover = is_failover;
    scene->requests++;
}

UNUSED static void on_look(void *arg)
{
    struct scene *scene = arg;

    scene->looks++;
}

UNUSED static const char *on_ask(void *arg, const struct failsafe_ask *ask)
{
    struct scene *scene = arg;

    scene->ask = *ask;
    return scene->refusal;
}

UNUSED static char *no_store(void *arg)
{
    (void)arg;
    return NULL;
}

UNUSED static char *no_store_members(void *arg, struct err *e)
{
    (void)arg;
    IGNORE(FAIL(e, ERR_UNAVAILABLE, "nobody answers"), "NULL tells");
    return NULL;
}

UNUSED static void on_store_change(
    void *arg, enum api_store_change what, const char *name, struct api_call *call)
{
    struct scene *scene = arg;

    (void)call;
    scene->store_change = what;
    str_copy(scene->store_name, sizeof(scene->store_name), name);
    scene->requests++;
}

UNUSED static void on_read_log(
    void *arg, const struct tail_ask *ask, const char *mac, struct api_call *call)
{
    struct scene *scene = arg;

    (void)call;
    scene->tail = *ask;
    scene->is_signed = mac != NULL;
    scene->requests++;
}

UNUSED static void add_member(
    struct scene *scene, const char *name, enum member_role role, uint64_t lsn)
{
    struct member *member =
        &scene->snapshot.cluster.members[scene->snapshot.cluster.member_count++];

    str_copy(member->name, sizeof(member->name), name);
    str_format(member->conn_url, URL_SIZE, "postgres://10.0.0.%s:5432/postgres", name + 1);
    str_format(member->api_url, URL_SIZE, "http://10.0.0.%s:8008/patroni", name + 1);
    member->state = STATE_RUNNING;
    member->role = role;
    member->tags = (struct member_tags)MEMBER_TAGS_DEFAULT;
    member->timeline = 5;
    member->location_lsn = lsn;
    if (role == ROLE_REPLICA) {
        member->received_lsn = lsn;
        member->replayed_lsn = lsn;
        str_copy(member->replication_state, sizeof(member->replication_state), "streaming");
    }
}

UNUSED static void set_situation(struct scene *scene, enum situation situation)
{
    struct api_snapshot *snapshot = &scene->snapshot;
    struct engine_status *server = &snapshot->server;
    bool is_primary =
        situation == PRIMARY || situation == PRIMARY_NO_LEASE || situation == LOST_PRIMARY;

    snapshot->is_led = situation != PRIMARY_NO_LEASE && situation != LOST_REPLICA;
    snapshot->has_lease =
        situation == PRIMARY || situation == LEADER_STARTING || situation == LOST_PRIMARY;
    snapshot->dcs_ok = situation != LOST_REPLICA && situation != LOST_PRIMARY;
    snapshot->cluster.settings.is_paused = situation == PAUSED_REPLICA;
    snapshot->role = is_primary ? ROLE_PRIMARY : ROLE_REPLICA;
    snapshot->state = STATE_RUNNING;
    server->state = is_primary ? SERVER_PRIMARY : SERVER_STANDBY;
    server->is_streaming = !is_primary;
    if (situation == STARTING || situation == LEADER_STARTING) {
        snapshot->state = STATE_STARTING;
        server->state = SERVER_STARTING;
        server->is_streaming = false;
    } else if (situation == STOPPED) {
        snapshot->state = STATE_STOPPED;
        server->state = SERVER_DOWN;
        server->is_streaming = false;
    }
}

UNUSED static struct scene *scene_new(enum situation situation)
{
    struct scene *scene = mem_alloc(sizeof(*scene));
    struct api_snapshot *snapshot = &scene->snapshot;

    str_copy(scene->config.scope, sizeof(scene->config.scope), "main");
    str_copy(scene->config.name, sizeof(scene->config.name), "n1");
    scene->config.tags = (struct member_tags)MEMBER_TAGS_DEFAULT;
    snapshot->config = &scene->config;
    snapshot->cluster.settings = (struct cluster_settings)CLUSTER_SETTINGS_DEFAULT;
    snapshot->cluster.status_lsn = 100 * MB;
    snapshot->cluster.system_id = 7277694203142172922u;
    snapshot->cluster.has_initialize = true;
    snapshot->cluster.lease.term = 7;
    add_member(scene, "n2", ROLE_REPLICA, 98 * MB);
    add_member(scene, "n1", ROLE_PRIMARY, 100 * MB);
    add_member(scene, "n3", ROLE_REPLICA, 0);
    str_copy(snapshot->cluster.leader, MEMBER_NAME_SIZE, "n1");
    snapshot->real_ms = NOW_MS;
    snapshot->dcs_seen_real_ms = NOW_MS - 500;
    snapshot->server.version = 150020;
    snapshot->server.position = (struct position){5, 100 * MB};
    snapshot->server.received_lsn = 99 * MB;
    snapshot->server.replayed_lsn = 98 * MB;
    snapshot->server.started_real_ms = NOW_MS - 60000;
    str_copy(snapshot->lease.rule, sizeof(snapshot->lease.rule), "lease.renew");
    str_copy(snapshot->lease.text, sizeof(snapshot->lease.text), "the renewal is due");
    str_copy(snapshot->decision.rule, sizeof(snapshot->decision.rule), "server.fine");
    scene->source = (struct api_source){
        .request = on_wish,
        .look = on_look,
        .failsafe = on_ask,
        .store_answer = no_store,
        .store_members = no_store_members,
        .store_change = on_store_change,
        .read_log = on_read_log,
        .arg = scene};
    set_situation(scene, situation);
    return scene;
}

/* Split "/path?a=1&b=2" (in place) as the server does, and call the route. */
UNUSED static struct api_reply call_route(
    struct scene *scene, unsigned method, const char *target, const char *body)
{
    static char copy[512];
    struct api_request request = {
        .method = method,
        .path = copy,
        .body = body,
        .snapshot = &scene->snapshot,
        .source = &scene->source,
    };
    struct api_reply reply = {0};
    const struct api_route *route;
    char *at;

    assert_true(str_copy(copy, sizeof(copy), target));
    at = strchr(copy, '?');
    while (at != NULL) {
        char *key = at + 1;
        char *value;

        *at = '\0';
        at = strchr(key, '&');
        if (at != NULL) {
            *at = '\0';
        }
        value = strchr(key, '=');
        if (value != NULL) {
            *value++ = '\0';
        }
        request.parameters[request.parameter_count++] =
            (struct api_parameter){key, value != NULL ? value : ""};
    }
    route = route_find(method, copy, &reply.status);
    if (route != NULL) {
        route->handle(&request, &reply);
    }
    return reply;
}

UNUSED static int status_of(struct scene *scene, unsigned method, const char *target)
{
    struct api_reply reply = call_route(scene, method, target, "");

    mem_free(reply.body);
    return reply.status;
}
