#include "api/views.h"

#include "api/health.h"
#include "api/standby.h"
#include "api/tags.h"
#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "codec/codec.h"

#define UNKNOWN "unknown"

char *view_status(const struct api_snapshot *snapshot)
{
    const struct engine_status *server = &snapshot->server;
    const struct cluster *cluster = &snapshot->cluster;
    AUTO_FREE char *tags = config_extra_tags(snapshot->config);
    struct record_report report = {
        .postmaster_start_real_ms = server->started_real_ms,
        .replayed_real_ms = server->replayed_real_ms,
        .is_replay_paused = server->is_paused,
        .is_in_archive_recovery = server->state == SERVER_STANDBY && !server->is_streaming,
        .is_cluster_unlocked = !snapshot->is_led || !snapshot->dcs_ok || cluster->leader[0] == '\0',
        .is_failsafe_active = snapshot->is_failsafe_active,
        .is_sync_standby = standby_own_kind(snapshot) == SYNC_ON,
        .is_quorum_standby = standby_own_kind(snapshot) == SYNC_QUORUM,
        .pending_restart = server->pending_restart,
        .dcs_last_seen_real_s = snapshot->dcs_seen_real_ms / 1000,
        .extra_tags_json = tags,
        .version = RECORD_PATRONI_LEVEL,
        .scope = snapshot->config->scope,
        .name = snapshot->config->name,
        .problem = server->problem,
        .guard_means = server->guard_means,
        .guard_powers = server->guard_powers,
        .watchdog = server->watchdog,
        .fence = fence_state_text(server->fence),
    };

    api_report(snapshot, &report.peer);
    ASSERT(server->standby_count <= MEMBERS_MAX);
    for (unsigned at = 0; at < server->standby_count; at++) {
        report.standbys[report.standby_count++] = server->standbys[at].name;
    }
    return record_report_encode(&report);
}

/* ---- /cluster ---- */

static void set_position(json_t *out, const char *kind, uint64_t lsn, uint64_t leader_lsn)
{
    char lsn_key[24];
    char lag_key[24];
    char text[LSN_TEXT_SIZE];

    IGNORE(!str_format(lsn_key, sizeof(lsn_key), "%slsn", kind), "fits");
    IGNORE(!str_format(lag_key, sizeof(lag_key), "%slag", kind), "fits");
    if (lsn == 0) {
        field_set_text(out, lsn_key, UNKNOWN);
        field_set_text(out, lag_key, UNKNOWN);
        return;
    }
    lsn_format(lsn, text);
    field_set_text(out, lsn_key, text);
    field_set_u64(out, lag_key, leader_lsn > lsn ? leader_lsn - lsn : 0);
}

static void set_address(json_t *out, const char *conn_url)
{
    struct url_parts parts = {0};

    if (url_parse(conn_url, &parts, NULL) < 0 || parts.host[0] == '\0') {
        return;
    }
    field_set_text(out, "host", parts.host);
    if (parts.port != 0) {
        field_set_u64(out, "port", (uint64_t)parts.port);
    }
}

/* The positions of member AT: what it last published, or what its heartbeats (for this node: the
 * server itself) have told since. */
struct positions {
    uint64_t any;
    uint64_t received;
    uint64_t replayed;
};

static struct positions positions_of(const struct api_snapshot *snapshot, unsigned at)
{
    const struct member *member = &snapshot->cluster.members[at];
    struct positions found = {member->location_lsn, member->received_lsn, member->replayed_lsn};

    if (str_equal(member->name, snapshot->config->name)) {
        if (snapshot->state == STATE_RUNNING) {
            found.any = snapshot->server.position.lsn;
            found.received = snapshot->server.received_lsn;
            found.replayed = snapshot->server.replayed_lsn;
        }
    } else if (snapshot->has_report[at] && snapshot->report_position[at].lsn != 0) {
        found.any = snapshot->report_position[at].lsn;
        found.received = snapshot->report_received_lsn[at];
        found.replayed = snapshot->report_replayed_lsn[at];
    }
    return found;
}

/* The key of a dead member stays until the store lets it expire, and that of a dead leader too:
 * what it says is not what is. */
static void set_silence(json_t *out, int64_t silent_ms, const char *last_problem)
{
    struct str text AUTO_STR = STR_INIT(512);

    if (silent_ms > 0) {
        str_addf(&text, "it has not answered for %" PRId64 " s", silent_ms / 1000);
    } else {
        str_add(&text, "it has not answered since this agent was started");
    }
    if (last_problem[0] != '\0') {
        str_addf(&text, "; its last word was: %s", last_problem);
    }
    field_set_text(out, "problem", str_text(&text));
}

/* What a member is shown to be. While the store cannot be reached, its keys are of before: then
 * this node shows of itself what it is, as it would publish it, and of the others what they have
 * reported. */
struct condition {
    bool is_leader;
    bool is_silent;
    const char *state;
    const char *problem;
    enum fence_state fence;
};

static struct condition own_condition(const struct api_snapshot *snapshot)
{
    const char *replication = health_replication_state(snapshot);
    bool has_state = !snapshot->has_lease && replication[0] != '\0';

    return (struct condition){
        .is_leader = snapshot->has_lease,
        .state = has_state ? replication : member_state_text(snapshot->state),
        .problem = snapshot->server.problem,
        .fence = snapshot->server.fence,
    };
}

/* As standbys publish it. A report does not tell who reads from an archive. */
static const char *reported_state(const struct peer_report *report)
{
    bool is_streaming =
        report->is_streaming && report->state == STATE_RUNNING && report->role != ROLE_PRIMARY;

    return is_streaming ? "streaming" : member_state_text(report->state);
}

static struct condition condition_of(const struct api_snapshot *snapshot, unsigned at)
{
    const struct member *member = &snapshot->cluster.members[at];
    bool is_self = str_equal(member->name, snapshot->config->name);
    bool is_leader = snapshot->is_led && str_equal(member->name, snapshot->cluster.leader);
    bool is_silent = !is_self && snapshot->is_silent[at];
    bool has_state = !is_leader && member->replication_state[0] != '\0';
    const char *own_problem = is_self ? snapshot->server.problem : "";
    const struct peer_report *report = snapshot->dcs_ok ? NULL : snapshot->report[at];

    if (is_self && !snapshot->dcs_ok) {
        return own_condition(snapshot);
    }
    return (struct condition){
        .is_leader = is_leader,
        .is_silent = is_silent,
        .state = is_silent        ? member_state_text(STATE_UNKNOWN)
                 : report != NULL ? reported_state(report)
                 : has_state      ? member->replication_state
                                  : member_state_text(member->state),
        .problem = own_problem[0] != '\0' ? own_problem : member->problem,
        .fence = is_silent ? FENCE_UNKNOWN : member->fence,
    };
}

static json_t *encode_member(const struct api_snapshot *snapshot, unsigned at)
{
    const struct member *member = &snapshot->cluster.members[at];
    bool is_self = str_equal(member->name, snapshot->config->name);
    struct condition is = condition_of(snapshot, at);
    AUTO_FREE char *tags = is_self ? config_extra_tags(snapshot->config) : NULL;
    json_t *out = json_object();

    field_set_text(out, "name", member->name);
    field_set_text(out, "role", is.is_leader ? "leader" : standby_role(snapshot, member->name));
    field_set_text(out, "state", is.state);
    field_set_text(out, "api_url", member->api_url);
    set_address(out, member->conn_url);
    if (member->timeline != 0) {
        field_set_u64(out, "timeline", member->timeline);
    }
    if (member->pending_restart) {
        field_set_true(out, "pending_restart");
    }
    field_set_tags(out, "tags", &member->tags, tags);
    if (!is.is_leader) {
        struct positions positions =
            is.is_silent ? (struct positions){0} : positions_of(snapshot, at);
        uint64_t leader_lsn = health_leader_lsn(snapshot);

        set_position(out, "receive_", positions.received, leader_lsn);
        set_position(out, "replay_", positions.replayed, leader_lsn);
        set_position(out, "", positions.any, leader_lsn);
    }
    if (is.problem[0] != '\0' || is.is_silent || is.fence != FENCE_UNKNOWN) {
        json_t *baton = json_object();

        if (is.is_silent) {
            set_silence(baton, snapshot->silent_ms[at], is.problem);
        } else if (is.problem[0] != '\0') {
            field_set_text(baton, "problem", is.problem);
        }
        if (is.fence != FENCE_UNKNOWN) {
            field_set_text(baton, "fence", fence_state_text(is.fence));
        }
        field_set(out, "baton", baton);
    }
    return out;
}

/* Members in the order of their names, as Patroni lists them. */
static void sort_members(const struct cluster *cluster, unsigned *order)
{
    for (unsigned at = 0; at < cluster->member_count; at++) {
        unsigned to = at;

        while (to > 0 &&
               strcmp(cluster->members[order[to - 1]].name, cluster->members[at].name) > 0) {
            order[to] = order[to - 1];
            to--;
        }
        order[to] = at;
    }
}

/* As Python's isoformat: no fraction when there is none. */
static void format_schedule(int64_t real_ms, char *buffer)
{
    static const char none[] = ".000000";
    char *fraction;

    format_timestamp(real_ms, 'T', buffer);
    fraction = strstr(buffer, none);
    if (fraction != NULL) {
        memmove(fraction, fraction + strlen(none), strlen(fraction + strlen(none)) + 1);
    }
}

static json_t *encode_schedule(const struct failover_request *request)
{
    json_t *out = json_object();
    char at[TIMESTAMP_SIZE];

    format_schedule(request->scheduled_real_ms, at);
    field_set_text(out, "at", at);
    if (request->leader[0] != '\0') {
        field_set_text(out, "from", request->leader);
    }
    if (request->candidate[0] != '\0') {
        field_set_text(out, "to", request->candidate);
    }
    return out;
}

static json_t *encode_decision(const struct api_snapshot *snapshot)
{
    const struct {
        const char *topic;
        const struct api_decision *decision;
    } rows[] = {
        {"lease", &snapshot->lease}, {"server", &snapshot->decision}, {"sync", &snapshot->sync}};
    size_t count = ARRAY_LEN(rows) - (snapshot->sync.rule[0] == '\0');
    json_t *out = json_object();

    for (size_t at = 0; at < count; at++) {
        json_t *row = json_object();

        field_set_text(row, "rule", rows[at].decision->rule);
        field_set_text(row, "text", rows[at].decision->text);
        field_set(out, rows[at].topic, row);
    }
    return out;
}

static json_t *encode_baton(const struct api_snapshot *snapshot)
{
    const struct cluster *cluster = &snapshot->cluster;
    json_t *out = json_object();

    if (cluster->system_id != 0) {
        char system_id[24];

        IGNORE(!str_format(system_id, sizeof(system_id), "%" PRIu64, cluster->system_id), "fits");
        field_set_text(out, "system_id", system_id);
    }
    if (snapshot->dcs_seen_real_ms != 0) {
        field_set(out, "initialize", json_boolean(cluster->has_initialize));
    }
    field_set_text(out, "node", snapshot->config->name);
    field_set(out, "dcs_ok", json_boolean(snapshot->dcs_ok));
    field_set_text(out, "dcs_problem", snapshot->dcs_problem);
    field_set_u64(out, "term", cluster->lease.term);
    if (!snapshot->is_led && cluster->lease.holder[0] != '\0') {
        field_set_text(out, "last_holder", cluster->lease.holder);
    }
    if (snapshot->is_failsafe_active) {
        field_set_true(out, "failsafe");
    }
    field_set(out, "decision", encode_decision(snapshot));
    return out;
}

char *view_cluster(const struct api_snapshot *snapshot)
{
    const struct cluster *cluster = &snapshot->cluster;
    json_auto_t *out = json_object();
    json_t *members = json_array();
    unsigned order[MEMBERS_MAX] = {0};

    ASSERT(cluster->member_count <= MEMBERS_MAX);
    sort_members(cluster, order);
    for (unsigned at = 0; at < cluster->member_count; at++) {
        field_append(members, encode_member(snapshot, order[at]));
    }
    field_set(out, "members", members);
    if (cluster->settings.is_paused) {
        field_set_true(out, "pause");
    }
    if (cluster->has_request && cluster->request.scheduled_real_ms > 0) {
        field_set(out, "scheduled_switchover", encode_schedule(&cluster->request));
    }
    field_set_text(out, "scope", snapshot->config->scope);
    field_set(out, "baton", encode_baton(snapshot));
    return field_write_spaced(out);
}

/* ---- the rest ---- */

char *view_history(const struct api_snapshot *snapshot)
{
    json_auto_t *history = NULL;

    if (snapshot->history_json == NULL ||
        field_parse_array(snapshot->history_json, "history", &history, NULL) < 0) {
        return mem_dup("[]");
    }
    return field_write_spaced(history);
}

static char *view_key(const char *json, const char *key)
{
    json_auto_t *value = NULL;

    if (json == NULL || field_parse_object(json, key, &value, NULL) < 0) {
        return NULL;
    }
    return field_write_spaced(value);
}

char *view_config(const struct api_snapshot *snapshot)
{
    return view_key(snapshot->config_json, KEY_CONFIG);
}

char *view_failsafe(const struct api_snapshot *snapshot)
{
    return view_key(snapshot->failsafe_json, KEY_FAILSAFE);
}

char *view_decision(const struct api_snapshot *snapshot)
{
    json_auto_t *out = encode_decision(snapshot);

    return field_write_spaced(out);
}
