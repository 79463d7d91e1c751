#include "api/health.h"

#include "api/standby.h"
#include "api/tags.h"
#include "api/views.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"

#define OK 200
#define UNAVAILABLE 503
#define TAG_PREFIX "tag_"

static bool is_primary(const struct api_snapshot *snapshot)
{
    return snapshot->has_lease && snapshot->server.state == SERVER_PRIMARY;
}

uint64_t health_leader_lsn(const struct api_snapshot *snapshot)
{
    const struct cluster *cluster = &snapshot->cluster;
    uint64_t lsn = cluster->status_lsn;

    if (is_primary(snapshot)) {
        lsn = MAX(lsn, snapshot->server.position.lsn);
    }
    for (unsigned at = 0; at < cluster->member_count; at++) {
        const struct member *member = &cluster->members[at];

        if (cluster->leader[0] != '\0' && str_equal(member->name, cluster->leader)) {
            lsn = MAX(lsn, member->location_lsn);
            if (snapshot->has_report[at]) {
                lsn = MAX(lsn, snapshot->report_position[at].lsn);
            }
        }
    }
    return lsn;
}

/* The bytes of parameter lag=, or FALLBACK: what cannot be read is ignored, as in Patroni. */
static int64_t wanted_lag(const struct api_request *request, int64_t fallback)
{
    const char *text = request_parameter(request, "lag");
    int64_t bytes = 0;

    if (text == NULL || parse_bytes(text, &bytes, NULL) < 0) {
        return fallback;
    }
    return bytes;
}

static bool is_lagging(uint64_t leader, uint64_t own, int64_t limit)
{
    return leader > own && leader - own > (uint64_t)MAX(limit, 0);
}

const char *health_replication_state(const struct api_snapshot *snapshot)
{
    if (snapshot->state != STATE_RUNNING || snapshot->role == ROLE_PRIMARY) {
        return "";
    }
    return snapshot->server.is_streaming ? "streaming" : "in archive recovery";
}

static bool is_replica(const struct api_request *request)
{
    const struct api_snapshot *snapshot = request->snapshot;
    const char *state = request_parameter(request, "replication_state");

    return snapshot->role == ROLE_REPLICA && snapshot->state == STATE_RUNNING &&
           !snapshot->config->tags.noloadbalance &&
           (state == NULL || str_equal(state, health_replication_state(snapshot))) &&
           !is_lagging(
               health_leader_lsn(snapshot), snapshot->server.replayed_lsn,
               wanted_lag(request, INT64_MAX));
}

static bool has_tags(const struct api_request *request)
{
    for (unsigned at = 0; at < request->parameter_count; at++) {
        const struct api_parameter *parameter = &request->parameters[at];

        if (str_starts(parameter->key, TAG_PREFIX) && parameter->value[0] != '\0' &&
            !tags_match(
                request->snapshot->config, parameter->key + strlen(TAG_PREFIX), parameter->value)) {
            return false;
        }
    }
    return true;
}

static void answer(const struct api_request *request, struct api_reply *reply, bool is_ok)
{
    int status = is_ok ? OK : UNAVAILABLE;

    /* HAProxy asks with OPTIONS or HEAD, several times a second, and reads the first line only. */
    if (request->method == METHOD_GET) {
        reply_json(reply, status, view_status(request->snapshot));
    } else {
        reply->status = status;
    }
}

void health_primary(const struct api_request *request, struct api_reply *reply)
{
    answer(request, reply, is_primary(request->snapshot));
}

void health_leader(const struct api_request *request, struct api_reply *reply)
{
    answer(request, reply, request->snapshot->has_lease);
}

/* Standby clusters do not exist yet, so nobody leads one. */
void health_standby_leader(const struct api_request *request, struct api_reply *reply)
{
    answer(request, reply, false);
}

void health_replica(const struct api_request *request, struct api_reply *reply)
{
    answer(request, reply, is_replica(request) && has_tags(request));
}

void health_read_only(const struct api_request *request, struct api_reply *reply)
{
    bool is_ok = is_primary(request->snapshot) || is_replica(request);

    answer(request, reply, is_ok && has_tags(request));
}

void health_running(const struct api_request *request, struct api_reply *reply)
{
    answer(request, reply, request->snapshot->state == STATE_RUNNING && has_tags(request));
}

/* A replica of this kind, as far as the store can tell. */
static bool is_of_kind(const struct api_request *request, enum sync_mode kind)
{
    return request->snapshot->dcs_ok && standby_own_kind(request->snapshot) == kind &&
           is_replica(request);
}

static void answer_kind(
    const struct api_request *request, struct api_reply *reply, enum sync_mode kind)
{
    answer(request, reply, is_of_kind(request, kind) && has_tags(request));
}

static void answer_read_only(
    const struct api_request *request, struct api_reply *reply, enum sync_mode kind)
{
    const struct api_snapshot *snapshot = request->snapshot;
    bool is_ok = (snapshot->dcs_ok && is_primary(snapshot)) || is_of_kind(request, kind);

    answer(request, reply, is_ok && has_tags(request));
}

void health_synchronous(const struct api_request *request, struct api_reply *reply)
{
    answer_kind(request, reply, SYNC_ON);
}

void health_quorum(const struct api_request *request, struct api_reply *reply)
{
    answer_kind(request, reply, SYNC_QUORUM);
}

void health_asynchronous(const struct api_request *request, struct api_reply *reply)
{
    answer_kind(request, reply, SYNC_OFF);
}

void health_read_only_quorum(const struct api_request *request, struct api_reply *reply)
{
    answer_read_only(request, reply, SYNC_QUORUM);
}

void health_read_only_synchronous(const struct api_request *request, struct api_reply *reply)
{
    answer_read_only(request, reply, SYNC_ON);
}

void health_nothing(const struct api_request *request, struct api_reply *reply)
{
    answer(request, reply, false);
}

void health_liveness(const struct api_request *request, struct api_reply *reply)
{
    const struct api_snapshot *snapshot = request->snapshot;
    const struct cluster_settings *settings = &snapshot->cluster.settings;
    int64_t patience_ms = settings->ttl_ms * (snapshot->server.state == SERVER_PRIMARY ? 1 : 2);

    reply->status =
        settings->is_paused || snapshot->last_turn_ms < settings->loop_wait_ms + patience_ms
            ? OK
            : UNAVAILABLE;
}

/* Why it is not ready, or NULL. Without the store, the leader's report tells its position. */
static const char *unreadiness(const struct api_request *request)
{
    const struct api_snapshot *snapshot = request->snapshot;
    const struct engine_status *server = &snapshot->server;
    bool is_write = str_equal(request_parameter(request, "mode"), "write");
    bool knows_leader = snapshot->dcs_ok;

    if (snapshot->has_lease) {
        return NULL;
    }
    if (snapshot->state != STATE_RUNNING) {
        return "the database server is not running";
    }
    if (!str_equal(health_replication_state(snapshot), "streaming")) {
        return "the database server is not streaming from the primary";
    }
    for (unsigned at = 0; at < snapshot->cluster.member_count; at++) {
        knows_leader = knows_leader ||
                       (snapshot->has_report[at] &&
                        str_equal(snapshot->cluster.members[at].name, snapshot->cluster.leader));
    }
    if (!knows_leader) {
        return "the store cannot be reached";
    }
    if (is_lagging(
            health_leader_lsn(snapshot), is_write ? server->received_lsn : server->replayed_lsn,
            wanted_lag(request, snapshot->cluster.settings.maximum_lag_on_failover))) {
        return "it lags behind the primary";
    }
    return NULL;
}

void health_readiness(const struct api_request *request, struct api_reply *reply)
{
    const char *why = unreadiness(request);

    if (why == NULL) {
        reply->status = OK;
    } else {
        reply_text(reply, UNAVAILABLE, "%s\n", why);
    }
}
