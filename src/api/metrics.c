#include "api/metrics.h"

#include "api/api.h"
#include "api/standby.h"
#include "base/assert.h"
#include "codec/codec.h"

enum form {
    FORM_NUMBER,
    FORM_MS_AS_SECONDS,
    FORM_VERSION, /* six digits */
};

struct metric {
    const char *name;
    const char *type;
    const char *help;
    int64_t (*value)(const struct api_snapshot *snapshot);
    enum form form;
};

static int64_t patroni_level(const struct api_snapshot *snapshot)
{
    int64_t level = 0;
    int64_t part = 0;

    (void)snapshot;
    for (const char *at = RECORD_PATRONI_LEVEL; *at != '\0'; at++) {
        if (*at == '.') {
            level = (level + part) * 100;
            part = 0;
        } else {
            part = part * 10 + (*at - '0');
        }
    }
    return level + part;
}

static int64_t is_running(const struct api_snapshot *snapshot)
{
    return snapshot->state == STATE_RUNNING;
}

static int64_t started_ms(const struct api_snapshot *snapshot)
{
    return snapshot->server.started_real_ms;
}

static int64_t is_primary(const struct api_snapshot *snapshot)
{
    return snapshot->role == ROLE_PRIMARY;
}

static int64_t is_standby_leader(const struct api_snapshot *snapshot)
{
    return snapshot->role == ROLE_STANDBY_LEADER;
}

static int64_t is_replica(const struct api_snapshot *snapshot)
{
    return snapshot->role == ROLE_REPLICA;
}

static int64_t is_sync_standby(const struct api_snapshot *snapshot)
{
    return standby_own_kind(snapshot) == SYNC_ON;
}

static int64_t is_quorum_standby(const struct api_snapshot *snapshot)
{
    return standby_own_kind(snapshot) == SYNC_QUORUM;
}

/* Positions count only while the server runs, each in its own role. */
static int64_t position_of(const struct api_snapshot *snapshot, bool is_shown, uint64_t lsn)
{
    return is_running(snapshot) && is_shown ? (int64_t)MIN(lsn, (uint64_t)INT64_MAX) : 0;
}

static int64_t location(const struct api_snapshot *snapshot)
{
    return position_of(snapshot, snapshot->role == ROLE_PRIMARY, snapshot->server.position.lsn);
}

static int64_t received(const struct api_snapshot *snapshot)
{
    return position_of(snapshot, snapshot->role != ROLE_PRIMARY, snapshot->server.received_lsn);
}

static int64_t replayed(const struct api_snapshot *snapshot)
{
    return position_of(snapshot, snapshot->role != ROLE_PRIMARY, snapshot->server.replayed_lsn);
}

static int64_t replayed_ms(const struct api_snapshot *snapshot)
{
    return snapshot->role != ROLE_PRIMARY ? snapshot->server.replayed_real_ms : 0;
}

static int64_t is_failsafe_active(const struct api_snapshot *snapshot)
{
    return snapshot->is_failsafe_active;
}

static int64_t zero(const struct api_snapshot *snapshot)
{
    (void)snapshot;
    return 0;
}

static int64_t is_streaming(const struct api_snapshot *snapshot)
{
    return is_running(snapshot) && snapshot->server.is_streaming;
}

static int64_t is_in_archive_recovery(const struct api_snapshot *snapshot)
{
    return is_running(snapshot) && snapshot->server.state == SERVER_STANDBY &&
           !snapshot->server.is_streaming;
}

static int64_t server_version(const struct api_snapshot *snapshot)
{
    return is_running(snapshot) ? snapshot->server.version : 0;
}

static int64_t is_unlocked(const struct api_snapshot *snapshot)
{
    return !snapshot->is_led || !snapshot->dcs_ok || snapshot->cluster.leader[0] == '\0';
}

static int64_t timeline(const struct api_snapshot *snapshot)
{
    return is_running(snapshot) ? snapshot->server.position.timeline : 0;
}

static int64_t dcs_last_seen(const struct api_snapshot *snapshot)
{
    return snapshot->dcs_seen_real_ms / 1000;
}

static int64_t is_pending_restart(const struct api_snapshot *snapshot)
{
    return snapshot->server.pending_restart;
}

static int64_t fence(const struct api_snapshot *snapshot)
{
    return is_running(snapshot) && snapshot->server.fence == FENCE_ENFORCING;
}

static int64_t is_paused(const struct api_snapshot *snapshot)
{
    return snapshot->cluster.settings.is_paused;
}

static int64_t state_number(const struct api_snapshot *snapshot)
{
    return snapshot->state == STATE_UNKNOWN ? -1 : (int64_t)snapshot->state;
}

static int64_t priority(const struct api_snapshot *snapshot)
{
    const struct member_tags *tags = &snapshot->config->tags;

    return tags->nofailover ? 0 : tags->failover_priority;
}

static int64_t term(const struct api_snapshot *snapshot)
{
    return (int64_t)MIN(snapshot->cluster.lease.term, (uint64_t)INT64_MAX);
}

static int64_t has_lease(const struct api_snapshot *snapshot)
{
    return snapshot->has_lease;
}

static int64_t is_dcs_ok(const struct api_snapshot *snapshot)
{
    return snapshot->dcs_ok;
}

static int64_t is_candidate(const struct api_snapshot *snapshot)
{
    return snapshot->is_candidate;
}

static int64_t down_ms(const struct api_snapshot *snapshot)
{
    return snapshot->down_ms;
}

static int64_t last_turn_ms(const struct api_snapshot *snapshot)
{
    return snapshot->last_turn_ms;
}

static int64_t members(const struct api_snapshot *snapshot)
{
    return snapshot->cluster.member_count;
}

static int64_t is_guarded(const struct api_snapshot *snapshot)
{
    return snapshot->server.is_guarded;
}

static const struct metric metrics[] = {
    {"patroni_version", "gauge", "Patroni semver without periods.", patroni_level, FORM_VERSION},
    {"patroni_postgres_running", "gauge", "Value is 1 if Postgres is running, 0 otherwise.",
     is_running, FORM_NUMBER},
    {"patroni_postmaster_start_time", "gauge", "Epoch seconds since Postgres started.", started_ms,
     FORM_MS_AS_SECONDS},
    {"patroni_primary", "gauge", "Value is 1 if this node is the leader, 0 otherwise.", is_primary,
     FORM_NUMBER},
    {"patroni_xlog_location", "counter",
     "Current location of the Postgres transaction log, 0 if this node is not the leader.",
     location, FORM_NUMBER},
    {"patroni_standby_leader", "gauge",
     "Value is 1 if this node is the standby_leader, 0 otherwise.", is_standby_leader, FORM_NUMBER},
    {"patroni_replica", "gauge", "Value is 1 if this node is a replica, 0 otherwise.", is_replica,
     FORM_NUMBER},
    {"patroni_sync_standby", "gauge", "Value is 1 if this node is a sync standby, 0 otherwise.",
     is_sync_standby, FORM_NUMBER},
    {"patroni_quorum_standby", "gauge", "Value is 1 if this node is a quorum standby, 0 otherwise.",
     is_quorum_standby, FORM_NUMBER},
    {"patroni_xlog_received_location", "counter",
     "Current location of the received Postgres transaction log, 0 if this node is not a replica.",
     received, FORM_NUMBER},
    {"patroni_xlog_replayed_location", "counter",
     "Current location of the replayed Postgres transaction log, 0 if this node is not a replica.",
     replayed, FORM_NUMBER},
    {"patroni_xlog_replayed_timestamp", "gauge",
     "Current timestamp of the replayed Postgres transaction log, 0 if null.", replayed_ms,
     FORM_MS_AS_SECONDS},
    {"patroni_xlog_paused", "gauge", "Value is 1 if the Postgres xlog is paused, 0 otherwise.",
     zero, FORM_NUMBER},
    {"patroni_postgres_streaming", "gauge", "Value is 1 if Postgres is streaming, 0 otherwise.",
     is_streaming, FORM_NUMBER},
    {"patroni_postgres_in_archive_recovery", "gauge",
     "Value is 1 if Postgres is replicating from archive, 0 otherwise.", is_in_archive_recovery,
     FORM_NUMBER},
    {"patroni_postgres_server_version", "gauge", "Version of Postgres (if running), 0 otherwise.",
     server_version, FORM_NUMBER},
    {"patroni_cluster_unlocked", "gauge", "Value is 1 if the cluster is unlocked, 0 if locked.",
     is_unlocked, FORM_NUMBER},
    {"patroni_failsafe_mode_is_active", "gauge",
     "Value is 1 if failsafe mode is active, 0 if inactive.", is_failsafe_active, FORM_NUMBER},
    {"patroni_postgres_timeline", "counter",
     "Postgres timeline of this node (if running), 0 otherwise.", timeline, FORM_NUMBER},
    {"patroni_dcs_last_seen", "gauge",
     "Epoch timestamp when DCS was last contacted successfully by Patroni.", dcs_last_seen,
     FORM_NUMBER},
    {"patroni_pending_restart", "gauge", "Value is 1 if the node needs a restart, 0 otherwise.",
     is_pending_restart, FORM_NUMBER},
    {"patroni_is_paused", "gauge", "Value is 1 if auto failover is disabled, 0 otherwise.",
     is_paused, FORM_NUMBER},
    {"patroni_postgres_state", "gauge", "Numeric representation of Postgres state.", state_number,
     FORM_NUMBER},
    {"patroni_failover_priority", "gauge",
     "Failover priority of this node, 0 if it must not become the primary.", priority, FORM_NUMBER},
    {"baton_lease_held", "gauge", "Value is 1 if this node holds the right to write.", has_lease,
     FORM_NUMBER},
    {"baton_term", "counter", "Term of the newest lease that this node has seen.", term,
     FORM_NUMBER},
    {"baton_dcs_ok", "gauge", "Value is 1 if the reading of the store is fresh.", is_dcs_ok,
     FORM_NUMBER},
    {"baton_guarded", "gauge", "Value is 1 if the guard of the database server answers.",
     is_guarded, FORM_NUMBER},
    {"baton_fence", "gauge",
     "Value is 1 if the server itself refuses to commit without the lease (baton_fence).", fence,
     FORM_NUMBER},
    {"baton_candidate", "gauge", "Value is 1 if this node could become the primary now.",
     is_candidate, FORM_NUMBER},
    {"baton_members", "gauge", "Members that the store lists.", members, FORM_NUMBER},
    {"baton_server_down_seconds", "gauge",
     "How long the database server has not been answering, 0 if it is.", down_ms,
     FORM_MS_AS_SECONDS},
    {"baton_last_turn_seconds", "gauge", "Age of the last decision.", last_turn_ms,
     FORM_MS_AS_SECONDS},
};

#define RULE_NAME "baton_decision_rule"
#define RULE_HELP "The rule that decides at present about a topic (the label), always 1."

/* A label's value: quotes, backslashes and line ends escaped. */
static void add_label(struct str *out, const char *name, const char *value)
{
    str_addf(out, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\n') {
            str_add(out, "\\n");
            continue;
        }
        if (*value == '"' || *value == '\\') {
            str_add_char(out, '\\');
        }
        str_add_char(out, *value);
    }
    str_add_char(out, '"');
}

static void add_labels(const struct api_snapshot *snapshot, struct str *out)
{
    add_label(out, "scope", snapshot->config->scope);
    str_add_char(out, ',');
    add_label(out, "name", snapshot->config->name);
}

static void add_head(struct str *out, const char *name, const char *type, const char *help)
{
    str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_value(struct str *out, enum form form, int64_t value)
{
    switch (form) {
    case FORM_NUMBER:
        str_addf(out, " %" PRId64 "\n", value);
        return;
    case FORM_VERSION:
        str_addf(out, " %06" PRId64 "\n", value);
        return;
    case FORM_MS_AS_SECONDS:
        value = MAX(value, 0);
        str_addf(out, " %" PRId64 ".%03" PRId64 "\n", value / 1000, value % 1000);
        return;
    }
}

static void add_rule(
    const struct api_snapshot *snapshot, const char *topic, const char *rule, struct str *out)
{
    str_add(out, RULE_NAME "{");
    add_labels(snapshot, out);
    str_add_char(out, ',');
    add_label(out, "topic", topic);
    str_add_char(out, ',');
    add_label(out, "rule", rule);
    str_add(out, "} 1\n");
}

void metrics_render(const struct api_snapshot *snapshot, struct str *out)
{
    for (size_t at = 0; at < ARRAY_LEN(metrics); at++) {
        const struct metric *metric = &metrics[at];

        add_head(out, metric->name, metric->type, metric->help);
        str_addf(out, "%s{", metric->name);
        add_labels(snapshot, out);
        str_add_char(out, '}');
        add_value(out, metric->form, metric->value(snapshot));
    }
    add_head(out, RULE_NAME, "gauge", RULE_HELP);
    add_rule(snapshot, "lease", snapshot->lease.rule, out);
    add_rule(snapshot, "server", snapshot->decision.rule, out);
    if (snapshot->sync.rule[0] != '\0') {
        add_rule(snapshot, "sync", snapshot->sync.rule, out);
    }
}

void metrics_render_reference(struct str *out)
{
    str_add(out, "| metric | type | meaning |\n|---|---|---|\n");
    for (size_t at = 0; at < ARRAY_LEN(metrics); at++) {
        str_addf(out, "| `%s` | %s | %s |\n", metrics[at].name, metrics[at].type, metrics[at].help);
    }
    str_add(out, "| `" RULE_NAME "` | gauge | " RULE_HELP " |\n");
}
