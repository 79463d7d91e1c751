#include "agent/state.h"

#include "base/mem.h"

#define PUBLISH_TIMEOUT_MS 2000
#define PUBLISH_RETRY_MS 1000

#define POLL_TIMEOUT_MIN_MS 300
#define POLL_TIMEOUT_MAX_MS 1000
#define LOOKED_AT_MS 1000

enum member_state agent_member_state(const struct agent *agent)
{
    const struct server_facts *server = &agent->server;

    switch (server->order) {
    case ORDER_BOOTSTRAP:
        return STATE_INITDB;
    case ORDER_CLONE:
    case ORDER_REWIND:
        return STATE_CREATING_REPLICA;
    case ORDER_STOP:
        return STATE_STOPPING;
    case ORDER_NONE:
    case ORDER_START:
    case ORDER_PROMOTE:
    case ORDER_CHECKPOINT:
    case ORDER_FOLLOW:
    case ORDER_RELOAD:
    case ORDER_REVOKE:
    case ORDER_FETCH:
        break;
    }
    switch (server->has_status ? server->status.state : SERVER_UNKNOWN) {
    case SERVER_STARTING:
        return STATE_STARTING;
    case SERVER_STANDBY:
    case SERVER_PRIMARY:
        return STATE_RUNNING;
    case SERVER_STOPPING:
        return STATE_STOPPING;
    case SERVER_DOWN:
        if (server->failure[0] != '\0' || server->status.is_torn) {
            return STATE_START_FAILED;
        }
        return server->status.was_clean ? STATE_STOPPED : STATE_CRASHED;
    case SERVER_BROKEN:
        return STATE_START_FAILED;
    case SERVER_UNKNOWN:
    case SERVER_ABSENT:
        break;
    }
    return STATE_STOPPED;
}

enum member_role agent_member_role(const struct agent *agent)
{
    const struct engine_status *status = &agent->server.status;

    if (!agent->server.has_status || status->state == SERVER_ABSENT) {
        return ROLE_UNINITIALIZED;
    }
    return status->state == SERVER_PRIMARY ? ROLE_PRIMARY : ROLE_REPLICA;
}

/* What may change from turn to turn: all but the addresses. */
static void describe_self(const struct agent *agent, struct member *member)
{
    const struct config *config = agent->config;
    const struct engine_status *status = &agent->server.status;
    const struct decision_fact *decision = &agent->decisions[TOPIC_SERVER];
    const char *problem = status->problem[0] != '\0' ? status->problem : agent->server.failure;

    *member = (struct member){
        .state = agent_member_state(agent),
        .role = agent_member_role(agent),
        .tags = config->tags,
        .location_lsn = status->position.lsn,
        .received_lsn = status->received_lsn,
        .replayed_lsn = status->replayed_lsn,
        .timeline = status->position.timeline,
        .is_baton = true,
        .pending_restart = status->pending_restart,
        .fence = status->fence,
        .is_checkpointed = status->state != SERVER_PRIMARY || status->is_checkpointed,
    };
    if (problem[0] == '\0' && str_equal(decision->rule, "server.foreign")) {
        problem = decision->text;
    }
    IGNORE(!str_copy(member->name, sizeof(member->name), config->name), "same size");
    IGNORE(!str_copy(member->version, sizeof(member->version), RECORD_PATRONI_LEVEL), "fits");
    IGNORE(!str_copy(member->problem, sizeof(member->problem), problem), "cut is fine");
    if (status->state == SERVER_STANDBY) {
        IGNORE(
            !str_copy(
                member->replication_state, sizeof(member->replication_state),
                status->is_streaming ? "streaming" : "in archive recovery"),
            "fits");
    }
}

static void add_addresses(const struct agent *agent, struct member *member)
{
    const struct config *config = agent->config;
    char api[URL_SIZE];
    char database[URL_SIZE];

    url_format_address(
        config->restapi.connect.host, config->restapi.connect.port, api, sizeof(api));
    url_format_address(
        config->postgresql.connect.host, config->postgresql.connect.port, database,
        sizeof(database));
    IGNORE(
        !str_format(
            member->api_url, sizeof(member->api_url), "%s://%s/patroni",
            config->restapi.tls.cert_file[0] != '\0' ? "https" : "http", api),
        "config limits hosts");
    IGNORE(
        !str_format(member->conn_url, sizeof(member->conn_url), "postgres://%s/postgres", database),
        "config limits hosts");
}

static void on_published(void *arg, enum dcs_outcome outcome, int64_t revision)
{
    struct agent *agent = arg;

    agent->is_publishing = false;
    if (outcome != DCS_DONE || revision < 0) {
        agent->is_published = false;
        agent->publish_retry = instant_add_ms(agent->ports.now(agent->ports.arg), PUBLISH_RETRY_MS);
    } else if (agent->cluster.revision >= revision && !agent->is_member_of_session) {
        agent->is_published = false; /* the answer is late: it is gone again, with a session */
    }
}

static bool is_tagged_alike(const struct member_tags *a, const struct member_tags *b)
{
    return a->nofailover == b->nofailover && a->noloadbalance == b->noloadbalance &&
           a->nosync == b->nosync && a->nostream == b->nostream && a->clonefrom == b->clonefrom &&
           a->failover_priority == b->failover_priority && a->sync_priority == b->sync_priority &&
           str_equal(a->replicatefrom, b->replicatefrom);
}

/* All but the positions, which change all the time, and the addresses, which never do: a difference
 * must be published at once. */
static bool is_described_alike(const struct member *a, const struct member *b)
{
    return a->state == b->state && a->role == b->role && a->timeline == b->timeline &&
           a->pending_restart == b->pending_restart && a->fence == b->fence &&
           a->is_checkpointed == b->is_checkpointed &&
           str_equal(a->replication_state, b->replication_state) &&
           str_equal(a->problem, b->problem) && is_tagged_alike(&a->tags, &b->tags);
}

/* A member of this name at another address may be a living node: two of one name would each take
 * the other's lease for its own. Patroni refuses to start then, and so does this. */
bool agent_check_namesake(struct agent *agent)
{
    const struct member *member;
    struct member self;

    if (!agent->has_cluster) {
        return true;
    }
    if (agent->namesake != NAMESAKE_UNKNOWN) {
        return agent->namesake == NAMESAKE_NONE;
    }
    member = cluster_find(&agent->cluster, agent->config->name);
    describe_self(agent, &self);
    add_addresses(agent, &self);
    if (member == NULL || str_equal(member->api_url, self.api_url)) {
        agent->namesake = NAMESAKE_NONE;
        return true;
    }
    agent->namesake = NAMESAKE_ASKED;
    agent_log(
        agent, LOG_LEVEL_WARNING, "agent.namesake", "a member of this name is recorded at %s",
        member->api_url);
    agent->ports.poll(
        agent->ports.arg, agent->config->name, member->api_url, (int64_t)POLL_TIMEOUT_MAX_MS,
        false);
    return false;
}

void agent_publish(struct agent *agent)
{
    struct instant now = agent->ports.now(agent->ports.arg);
    struct member member;
    struct dcs_txn txn = {.op_count = 1};
    char key[MEMBER_NAME_SIZE + sizeof(KEY_MEMBERS)];
    AUTO_FREE char *tags = NULL;
    AUTO_FREE char *json = NULL;
    bool is_due =
        instant_elapsed_max_ms(agent->published_at, now) >= agent->cluster.settings.loop_wait_ms;

    if (agent->is_publishing || !agent->has_cluster || !agent->dcs.has_session ||
        agent->is_leaving || instant_left_ms(agent->publish_retry, now) > 0) {
        return;
    }
    describe_self(agent, &member);
    if (agent->is_published && is_described_alike(&member, &agent->published) &&
        (!is_due || member.location_lsn == agent->published.location_lsn)) {
        return;
    }
    add_addresses(agent, &member);
    tags = config_extra_tags(agent->config);
    json = record_member_encode(&member, tags);
    IGNORE(!str_format(key, sizeof(key), KEY_MEMBERS "%s", agent->config->name), "fits");
    txn.ops[0] = (struct dcs_op){.kind = DCS_PUT, .key = key, .value = json, .with_session = true};
    agent->published = member;
    agent->is_published = true;
    agent->published_at = now;
    agent->is_publishing = true;
    dcs_txn(agent->ports.dcs, &txn, PUBLISH_TIMEOUT_MS, on_published, agent);
}

/* The server here has died. */
static bool is_crashed(const struct ha_view *view)
{
    const struct ha_server *server = &view->server;

    return view->lease == HA_LEASE_MINE && !server->was_clean && server->was_primary &&
           server->state == SERVER_DOWN;
}

/* The server here has died, or the holder of the lease is not heard: what the others have decides.
 */
static bool is_asking_all(const struct agent *agent, const struct ha_view *view)
{
    return is_crashed(view) ||
           (view->lease == HA_LEASE_OTHER && agent_is_sync(agent) && agent_is_suspicion(agent));
}

/* How often a peer is asked: the holder often enough to miss it soon; everybody often while it
 * matters who has what. */
static int64_t poll_period_ms(
    const struct agent *agent, const struct ha_view *view, const struct peer_facts *peer,
    struct instant now)
{
    bool is_open = view->lease == HA_LEASE_FREE || view->lease == HA_LEASE_EXPIRED;
    bool is_holder = str_equal(peer->name, agent->lease.record.holder);
    /* Whoever wants to know how far this node is has news. */
    bool is_looked_at =
        instant_is_set(agent->looked) && instant_elapsed_max_ms(agent->looked, now) < LOOKED_AT_MS;

    if (is_crashed(view)) {
        return HEARTBEAT_CRASH_MS;
    }
    if (is_asking_all(agent, view) || (is_holder && is_looked_at) ||
        (is_open && agent_is_sync(agent))) {
        return HEARTBEAT_URGENT_MS;
    }
    if (is_open || (agent_is_sync(agent) && is_holder)) {
        return HEARTBEAT_RACE_MS;
    }
    return agent_is_sync(agent) ? MIN(agent_heartbeat_ms(agent), (int64_t)HEARTBEAT_SYNC_MS)
                                : agent_heartbeat_ms(agent);
}

void agent_poll_peers(struct agent *agent, const struct ha_view *view)
{
    struct instant now = agent->ports.now(agent->ports.arg);
    int64_t heartbeat_ms = agent_heartbeat_ms(agent);
    bool is_urgent = is_asking_all(agent, view);

    for (unsigned at = 0; at < agent->peer_count; at++) {
        struct peer_facts *peer = &agent->peers[at];
        const struct member *member = cluster_find(&agent->cluster, peer->name);
        int64_t age_ms = instant_elapsed_max_ms(peer->polled, now);
        int64_t period_ms = poll_period_ms(agent, view, peer, now);

        if (member == NULL || peer->is_polling) {
            continue;
        }
        if (!peer->is_due && instant_is_set(peer->polled) && age_ms < period_ms) {
            agent_wake(agent, period_ms - age_ms);
            continue;
        }
        peer->is_polling = true;
        peer->is_due = false;
        peer->polled = now;
        agent->ports.poll(
            agent->ports.arg, peer->name, member->api_url,
            MAX((int64_t)POLL_TIMEOUT_MIN_MS, MIN(heartbeat_ms * 2, (int64_t)POLL_TIMEOUT_MAX_MS)),
            is_urgent);
        agent_wake(agent, period_ms);
    }
}
