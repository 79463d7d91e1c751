#include "agent/state.h"

#include "base/assert.h"
#include "base/mem.h"

/* Attempts that failed are repeated after this long. */
#define RETRY_MS 1000
#define RETRY_LONG_MS 5000

/* A server that ends by itself so soon after its start, so often in a row, is not started again at
 * once: it would fill its log, and what it says of the reason could not be read. */
#define SHORT_LIFE_MS 10000
#define SHORT_LIVES 2
/* An answer from before a kill is read by then. */
#define LATE_ANSWER_MS 1000

struct peer_facts *agent_peer(struct agent *agent, const char *name)
{
    for (unsigned at = 0; at < agent->peer_count; at++) {
        if (str_equal(agent->peers[at].name, name)) {
            return &agent->peers[at];
        }
    }
    return NULL;
}

static bool are_peers_known(const struct agent *agent)
{
    unsigned count = 0;

    for (unsigned at = 0; at < agent->cluster.member_count; at++) {
        const char *name = agent->cluster.members[at].name;

        if (str_equal(name, agent->config->name)) {
            continue;
        }
        if (count == agent->peer_count || !str_equal(agent->peers[count].name, name)) {
            return false;
        }
        count++;
    }
    return count == agent->peer_count;
}

/* Peers are the members that the store lists; what was heard of those that stay is kept. */
static void update_peers(struct agent *agent)
{
    struct peer_facts kept[PEERS_MAX] = {0};
    unsigned count = 0;

    for (unsigned at = 0; at < agent->cluster.member_count; at++) {
        const char *name = agent->cluster.members[at].name;
        const struct peer_facts *known = agent_peer(agent, name);

        if (str_equal(name, agent->config->name)) {
            continue;
        }
        ASSERT(count < PEERS_MAX); /* keep_place */
        if (known != NULL) {
            kept[count] = *known;
        } else {
            IGNORE(!str_copy(kept[count].name, sizeof(kept[count].name), name), "same size");
        }
        count++;
    }
    memcpy(agent->peers, kept, sizeof(kept));
    agent->peer_count = count;
}

/* More at a time are dropped. */
#define UNLISTED_MAX 4

static bool is_listed(const struct dcs_snapshot *snapshot, const char *name)
{
    size_t length = strlen(KEY_MEMBERS);

    for (unsigned at = 0; at < snapshot->count; at++) {
        const char *key = snapshot->entries[at].key;

        if (str_starts(key, KEY_MEMBERS) && str_equal(key + length, name)) {
            return true;
        }
    }
    return false;
}

/* A session can end in the store while its member lives, which puts its key back as soon as it
 * knows. Whoever has just heard it counts with it until then, for half a ttl at most: if it dropped
 * out of its peers' view, a worse candidate would be the best one for that moment. One that does
 * not answer is gone. */
static unsigned keep_unlisted(
    struct agent *agent, const struct dcs_snapshot *snapshot, struct member *ret)
{
    struct instant now = agent->ports.now(agent->ports.arg);
    unsigned count = 0;

    for (unsigned at = 0; at < agent->cluster.member_count; at++) {
        const struct member *member = &agent->cluster.members[at];
        struct peer_facts *peer = agent_peer(agent, member->name);

        if (peer == NULL) {
            continue;
        }
        if (is_listed(snapshot, member->name)) {
            peer->unlisted = (struct instant){0};
            continue;
        }
        if (!instant_is_set(peer->unlisted)) {
            peer->unlisted = now;
        }
        if (count < UNLISTED_MAX && agent_is_fresh(agent, peer, now) &&
            instant_elapsed_max_ms(peer->unlisted, now) <= agent->cluster.settings.ttl_ms / 2) {
            ret[count++] = *member;
        }
    }
    return count;
}

static void add_unlisted(struct agent *agent, const struct member *members, unsigned count)
{
    struct cluster *cluster = &agent->cluster;

    for (unsigned at = 0; at < count && cluster->member_count < MEMBERS_MAX; at++) {
        cluster->members[cluster->member_count++] = members[at];
    }
}

/* With more members than there are places this node always has one: for its record, or until it is
 * published. OWN_JSON: the record, may be NULL. */
static void keep_place(struct agent *agent, const char *own_json)
{
    struct cluster *cluster = &agent->cluster;
    const char *name = agent->config->name;
    struct err e = {0};
    struct member own;
    struct member *last;

    if (cluster->member_count < MEMBERS_MAX || cluster_find(cluster, name) != NULL) {
        return;
    }
    last = cluster_last_place(cluster);
    *last = own_json != NULL && record_member_decode(name, own_json, &own, &e) >= 0
                ? own
                : cluster->members[--cluster->member_count];
}

/* Once, however often the store is read. */
static void tell_undecoded(struct agent *agent, const char *problem)
{
    if (problem[0] != '\0' && !str_equal(agent->undecoded, problem)) {
        agent_log(agent, LOG_LEVEL_WARNING, "store.decode", "%s", problem);
    }
    IGNORE(!str_copy(agent->undecoded, sizeof(agent->undecoded), problem), "same size");
}

static bool is_same_seq(const struct lease_record *a, const struct lease_record *b)
{
    return a->term == b->term && a->seq == b->seq && str_equal(a->holder, b->holder) &&
           str_equal(a->node, b->node);
}

/* A hold that is over when it is learned of is none: armed with it, the guard would kill whatever
 * runs by now. */
void agent_hold(struct agent *agent, struct instant t0, int64_t hold_ms)
{
    struct instant deadline = instant_add_ms(t0, hold_ms);

    agent->lease.is_adopted = false;
    if (instant_left_ms(deadline, agent->ports.now(agent->ports.arg)) <= 0) {
        return;
    }
    if (!instant_is_set(agent->lease.deadline) ||
        instant_left_ms(deadline, agent->lease.deadline) > 0) {
        agent->lease.deadline = deadline;
        agent->lease.armed = deadline;
        agent->lease.renewed = t0;
        engine_arm(agent->ports.engine, deadline);
    }
}

/* The store has committed it. The hold follows from the length that was written, not from what is
 * set by now. */
static void hold_until(struct agent *agent, struct instant t0, int64_t hold_ms)
{
    agent->failsafe.is_held = false;
    agent_hold(agent, t0, hold_ms);
}

/* What compares with a revision that the key has left can be applied no more. Only a higher one
 * tells that: a lagging member of the store shows an earlier one. Without this whoever has lost a
 * race once would never promise anything again. */
static void settle_doubt(struct lease_facts *lease)
{
    if (lease->revision > lease->doubted_over && !is_same_seq(&lease->doubted, &lease->record)) {
        lease->doubtful = LEASE_TXN_NONE;
    }
}

/* A newer record of the lease, known to be true at store revision KNOWN_AT. */
static void learn_lease(
    struct agent *agent, const struct lease_record *record, int64_t revision, int64_t known_at)
{
    struct lease_facts *lease = &agent->lease;
    bool is_own = agent_is_own(agent, record);

    if (known_at < lease->known_at) {
        return;
    }
    if (!instant_is_set(lease->seen)) {
        agent_begin_failsafe(agent, record);
    }
    if (!is_same_seq(&lease->record, record) || !instant_is_set(lease->seen)) {
        lease->seen = agent->ports.now(agent->ports.arg);
    }
    if (lease->doubtful != LEASE_TXN_NONE && is_same_seq(&lease->doubted, record)) {
        /* The unanswered transaction turns out to be committed. */
        if (lease->doubtful != LEASE_TXN_RELEASE && is_own) {
            hold_until(agent, lease->doubted_t0, lease->doubted_hold_ms);
        }
        lease->doubtful = LEASE_TXN_NONE;
    }
    if (lease->record.timeline != record->timeline) {
        lease->is_timeline_used = false;
    }
    lease->record = *record;
    lease->revision = revision;
    lease->known_at = known_at;
    settle_doubt(lease);
    if (!is_own) {
        lease->deadline = (struct instant){0};
    }
}

static void learn_request(struct agent *agent)
{
    struct request_facts *facts = &agent->request;

    if (agent->cluster.request_revision == facts->revision) {
        return;
    }
    *facts = (struct request_facts){
        .request = agent->cluster.request,
        .is_present = agent->cluster.has_request,
        .revision = agent->cluster.request_revision,
    };
}

static void keep_text(char **slot, const char *value)
{
    if (str_equal(*slot, value)) {
        return;
    }
    *slot = mem_free(*slot);
    *slot = value != NULL ? mem_dup(value) : NULL;
}

static void keep_listed(struct agent *agent)
{
    AUTO_FREE char *wanted = NULL;

    if (agent->cluster.settings.is_failsafe) {
        wanted = record_failsafe_encode(&agent->cluster);
        agent->is_failsafe_listed = str_equal(agent->failsafe_json, wanted);
    }
}

/* A key that has a mistake, or is gone when an agent begins, does not mean that acknowledged
 * commits may be lost from now on: what held goes on, or what the key sync was written under. */
static void keep_durability(
    struct agent *agent, const struct cluster_settings *former, struct cluster_settings *ret)
{
    const struct sync_record *sync = &agent->cluster.sync;

    if (agent->has_cluster) {
        ret->sync_mode = former->sync_mode;
        ret->sync_node_count = former->sync_node_count;
        ret->maximum_lag_on_syncnode = former->maximum_lag_on_syncnode;
        ret->is_sync_strict = former->is_sync_strict;
    } else if (sync->leader[0] != '\0') {
        ret->sync_mode = sync->quorum > 0 ? SYNC_QUORUM : SYNC_ON;
        agent_log(
            agent, LOG_LEVEL_WARNING, "config.unknown",
            "the dynamic configuration is missing or has mistakes, and what it was is not known "
            "here: commits wait for standbys as the key sync shows, all else is as by default; "
            "write it, as a whole: etcdctl put %sconfig JSON",
            agent->config->prefix);
    }
}

static void keep_settings(struct agent *agent)
{
    struct findings *findings = mem_alloc(sizeof(*findings));
    struct cluster_settings former = agent->cluster.settings;

    config_settings_parse(agent->config_json, &agent->cluster.settings, findings);
    if (findings->errors > 0 || str_is_empty(agent->config_json)) {
        keep_durability(agent, &former, &agent->cluster.settings);
    }
    agent->cluster.settings.use_pg_rewind = agent->config->postgresql.has_use_pg_rewind
                                                ? agent->config->postgresql.use_pg_rewind
                                                : agent->cluster.settings.use_pg_rewind;
    for (unsigned at = 0; at < MIN(findings->count, (unsigned)FINDINGS_MAX); at++) {
        agent_log(agent, LOG_LEVEL_WARNING, "config.check", "%s", findings->items[at].text);
    }
    mem_free(findings);
}

/* One that is gone goes on, all of it, until the primary has put it back (put_config). */
static void learn_config(struct agent *agent, const char *json)
{
    json = json != NULL ? json : agent->config_json;
    if (!agent->has_cluster || !str_equal(agent->config_json, json)) {
        keep_text(&agent->config_json, json);
        keep_settings(agent);
        agent->times = agent_times(agent);
        agent_watch(agent);
        dcs_set_times(
            agent->ports.dcs, agent->cluster.settings.ttl_ms,
            agent->cluster.settings.retry_timeout_ms);
    }
}

void agent_on_snapshot(void *arg, const struct dcs_snapshot *snapshot)
{
    struct agent *agent = arg;
    struct record_entry entries[DCS_KEYS_MAX];
    struct cluster_settings settings = agent->cluster.settings;
    char problem[sizeof(agent->undecoded)] = "";
    const char *own_json = NULL;
    const char *config_json = NULL;
    const char *history_json = NULL;
    const char *failsafe_json = NULL;
    struct member unlisted[UNLISTED_MAX];
    unsigned unlisted_count = keep_unlisted(agent, snapshot, unlisted);
    char own_key[MEMBER_NAME_SIZE + sizeof(KEY_MEMBERS)];

    ASSERT(snapshot->count <= DCS_KEYS_MAX);
    IGNORE(!str_format(own_key, sizeof(own_key), KEY_MEMBERS "%s", agent->config->name), "fits");
    agent->is_initialize_of_session = false;
    agent->is_leader_of_session = false;
    agent->is_member_of_session = false;
    for (unsigned at = 0; at < snapshot->count; at++) {
        const struct dcs_entry *entry = &snapshot->entries[at];

        entries[at] = (struct record_entry){entry->key, entry->value, entry->revision};
        if (str_equal(entry->key, KEY_CONFIG)) {
            config_json = entry->value;
        } else if (str_equal(entry->key, KEY_HISTORY)) {
            history_json = entry->value;
        } else if (str_equal(entry->key, KEY_FAILSAFE)) {
            failsafe_json = entry->value;
        } else if (str_equal(entry->key, KEY_INITIALIZE)) {
            agent->is_initialize_of_session = entry->is_of_session;
        } else if (str_equal(entry->key, KEY_LEADER)) {
            agent->is_leader_of_session = entry->is_of_session;
        } else if (str_equal(entry->key, own_key)) {
            agent->is_member_of_session = entry->is_of_session;
            own_json = entry->value;
        }
    }
    record_cluster_decode(
        entries, snapshot->count, snapshot->revision, &agent->cluster, problem, sizeof(problem));
    tell_undecoded(agent, problem);
    add_unlisted(agent, unlisted, unlisted_count);
    keep_place(agent, own_json);
    agent->cluster.settings = settings;
    learn_config(agent, config_json);
    keep_text(&agent->history_json, history_json);
    keep_text(&agent->failsafe_json, failsafe_json);
    keep_listed(agent);
    if (!agent->is_member_of_session && !agent->is_publishing) {
        agent->is_published = false;
    }
    agent->has_cluster = true;
    agent->dcs_seen_real_ms = agent->ports.real_ms(agent->ports.arg);
    learn_lease(agent, &agent->cluster.lease, agent->cluster.lease_revision, snapshot->revision);
    agent_learn_past(agent);
    agent_learn_sync(agent, snapshot->revision);
    learn_request(agent);
    if (!are_peers_known(agent)) {
        update_peers(agent);
    }
    engine_set_cluster(agent->ports.engine, &agent->cluster, agent->config_json);
}

void agent_forget_failures(struct agent *agent)
{
    for (unsigned at = 0; at < agent->peer_count; at++) {
        agent->peers[at].failures = 0;
    }
}

void agent_on_health(void *arg, const struct dcs_health *health)
{
    struct agent *agent = arg;

    if (health->is_connected && !agent->dcs.is_connected) {
        agent->dcs_connected = agent->ports.now(agent->ports.arg);
        agent_forget_failures(agent);
    }
    if (health->is_connected != agent->dcs.is_connected) {
        agent_log(
            agent, health->is_connected ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "store.health",
            health->is_connected ? "the store answers: %s" : "the store does not answer: %s",
            health->is_connected ? health->endpoint : health->problem);
    }
    if (health->is_replaced && !agent->dcs.is_replaced) {
        agent_log(agent, LOG_LEVEL_ERROR, "store.replaced", "%s", health->problem);
    }
    if (health->is_connected) {
        agent->dcs_seen_real_ms = agent->ports.real_ms(agent->ports.arg);
    }
    agent->dcs = *health;
}

/* It may have been committed or not. The next attempt writes the same, so a reading does not tell
 * which of them it was that succeeded: the hold is counted from the first, also when a reading has
 * told already that one did. */
static void doubt(struct lease_facts *lease, enum lease_txn txn)
{
    if (!is_same_seq(&lease->doubted, &lease->wanted)) {
        lease->doubted = lease->wanted;
        lease->doubted_t0 = lease->t0;
        lease->doubted_hold_ms = lease->hold_ms;
        lease->doubted_over = 0;
    }
    lease->doubted_hold_ms = MIN(lease->doubted_hold_ms, lease->hold_ms); /* the ttl may differ */
    lease->doubted_over = MAX(lease->doubted_over, lease->over);
    lease->doubtful = txn;
    settle_doubt(lease);
}

void agent_on_lease_txn(void *arg, enum dcs_outcome outcome, int64_t revision)
{
    struct agent *agent = arg;
    struct lease_facts *lease = &agent->lease;
    enum lease_txn txn = lease->txn;

    ASSERT(txn != LEASE_TXN_NONE);
    lease->txn = LEASE_TXN_NONE;
    switch (outcome) {
    case DCS_DONE:
        lease->doubtful = LEASE_TXN_NONE;
        if (txn != LEASE_TXN_RELEASE) {
            hold_until(agent, lease->t0, lease->hold_ms);
        }
        learn_lease(agent, &lease->wanted, revision, revision);
        agent_learn_past(agent);
        if (txn == LEASE_TXN_ACQUIRE) {
            agent_own_sync(agent, revision);
            agent->server.promote_failures = 0;
            agent->server.promote_retry = (struct instant){0};
        }
        if (txn != LEASE_TXN_RENEW) {
            agent_log(
                agent, LOG_LEVEL_INFO, txn == LEASE_TXN_ACQUIRE ? "lease.taken" : "lease.released",
                txn == LEASE_TXN_ACQUIRE ? "this node holds the lease now, term %" PRIu64
                                         : "this node has released the lease, term %" PRIu64,
                lease->wanted.term);
        }
        break;
    case DCS_LOST_RACE: /* or something on the way sent it twice, and it lost against itself */
    case DCS_UNKNOWN:
        doubt(lease, txn);
        dcs_refresh(agent->ports.dcs);
        break;
    case DCS_REFUSED:
        break;
    }
}

/* What a restarted agent knows of its own hold is the deadline that the guard still has: it was set
 * by the agent before. */
static void adopt_deadline(struct agent *agent, const struct engine_status *status)
{
    if (agent->server.has_looked || status->state == SERVER_UNKNOWN) {
        return;
    }
    agent->server.has_looked = true;
    if (!instant_is_set(agent->lease.deadline) && instant_is_set(status->deadline)) {
        agent->lease.deadline = status->deadline;
        agent->lease.is_adopted = true;
    }
}

/* The one who may write loses no time with that; and one that was fenced did not end by itself. */
static void note_end(struct agent *agent, bool was_primary, struct instant now)
{
    struct server_facts *server = &agent->server;
    bool was_short = instant_elapsed_max_ms(server->started, now) < SHORT_LIFE_MS;
    bool is_holder = agent_holds(agent, now, NULL);

    server->started = (struct instant){0};
    if (was_primary && !is_holder) {
        return;
    }
    server->short_lives = was_short ? server->short_lives + 1 : 0;
    if (server->short_lives >= SHORT_LIVES && !is_holder) {
        server->retry = instant_add_ms(now, RETRY_LONG_MS);
    }
}

static void note_down(
    struct server_facts *server, const struct engine_status *status, struct instant now)
{
    if (status->state != SERVER_DOWN) {
        server->ended = (struct instant){0};
    } else if (!instant_is_set(server->ended)) {
        server->ended = now;
    }
}

/* A server that answers was not hit: the guard did not hear of it. What it said before may come a
 * moment later. */
static void note_trouble(
    struct server_facts *server, const struct engine_status *status, struct instant now)
{
    bool is_missed = status->is_answering && instant_is_set(server->killed) &&
                     instant_elapsed_min_ms(server->killed, now) >= LATE_ANSWER_MS;

    if (is_missed || status->state == SERVER_DOWN || status->state == SERVER_ABSENT ||
        status->state == SERVER_BROKEN || status->state == SERVER_STARTING) {
        server->killed = (struct instant){0};
    }
    if (status->state == SERVER_PRIMARY) {
        server->end = (struct position){0};
    } else if (status->state == SERVER_DOWN) {
        server->end = status->is_end_known ? status->position : (struct position){0};
    }
    if (status->state == SERVER_PRIMARY && status->disk == TROUBLE_NONE) {
        server->room_tried = (struct instant){0};
    }
}

/* An elected standby that is stopped before it is opened says less in its control file. */
static void note_elected(
    struct agent *agent, const struct engine_status *status, struct instant now)
{
    struct server_facts *server = &agent->server;

    if (status->state == SERVER_STANDBY) {
        server->elected = agent_holds(agent, now, NULL) && agent_is_whole(server, status)
                              ? status->position
                              : (struct position){0};
    } else if (status->state != SERVER_STOPPING && status->state != SERVER_DOWN) {
        server->elected = (struct position){0};
    }
}

void agent_on_status(void *arg, const struct engine_status *status)
{
    struct agent *agent = arg;
    struct server_facts *server = &agent->server;
    struct instant now = agent->ports.now(agent->ports.arg);
    bool was_stopping = server->status.state == SERVER_STOPPING;

    adopt_deadline(agent, status);
    if (status->state == SERVER_STOPPING && (!was_stopping || !server->has_status)) {
        server->stopping = now;
    }
    if (!server->has_status || status->state == SERVER_STANDBY || status->state == SERVER_PRIMARY ||
        status->state == SERVER_STOPPING) {
        server->answering = now;
    }
    if (status->state == SERVER_DOWN && instant_is_set(server->started) &&
        server->order != ORDER_STOP) {
        note_end(agent, status->was_primary, now);
    }
    if (status->state == SERVER_PRIMARY) {
        server->is_virgin = false;
        if (server->status.state != SERVER_PRIMARY) {
            agent->request.due = (struct instant){0}; /* nobody follows it yet */
        }
    }
    note_trouble(server, status, now);
    note_elected(agent, status, now);
    note_down(server, status, now);
    if (status->is_streaming) {
        server->is_rewound = false;
    }
    if (status->state == SERVER_STANDBY || status->state == SERVER_PRIMARY) {
        server->start_failures = 0;
    }
    if (server->has_status && status->state != server->status.state &&
        status->state != SERVER_UNKNOWN) {
        agent_log(
            agent, LOG_LEVEL_INFO, "server.state", "the server is %s now (was %s)%s%s",
            server_state_text(status->state), server_state_text(server->status.state),
            status->problem[0] != '\0' ? ": " : "", status->problem);
    } else if (status->problem[0] != '\0' && !str_equal(status->problem, server->status.problem)) {
        agent_log(agent, LOG_LEVEL_WARNING, "server.problem", "%s", status->problem);
    }
    server->status = *status;
    server->has_status = true;
}

static bool is_start_like(enum engine_order order)
{
    return order == ORDER_START || order == ORDER_CLONE || order == ORDER_REWIND ||
           order == ORDER_BOOTSTRAP;
}

/* The number was given out for it: it is used up only if a server has begun with it. */
static void note_failed_promotion(struct agent *agent, struct instant now)
{
    struct server_facts *server = &agent->server;

    server->promote_failures++;
    server->promote_retry = instant_add_ms(
        now, MIN((int64_t)RETRY_MS * server->promote_failures, (int64_t)RETRY_LONG_MS));
    agent->lease.is_timeline_used = server->status.tried_timeline >= agent->lease.record.timeline;
}

void agent_on_order(void *arg, enum engine_order order, int result, const struct err *why)
{
    struct agent *agent = arg;
    struct server_facts *server = &agent->server;
    struct instant now = agent->ports.now(agent->ports.arg);

    ASSERT(server->order == order);
    server->order = ORDER_NONE;
    if (result >= 0) {
        server->failure[0] = '\0';
        if (order == ORDER_START || order == ORDER_STOP) {
            server->started = order == ORDER_START ? now : (struct instant){0};
        }
        /* One that is to be carried out next week wants its own. */
        if (order == ORDER_CHECKPOINT && instant_is_set(agent->request.due)) {
            agent->request.is_checkpointed = true;
        }
        if (order == ORDER_PROMOTE) {
            server->promote_failures = 0;
        }
        if (order == ORDER_CLONE) {
            server->has_rewind_failed = false;
            server->is_rewound = false;
        }
        /* Should it still not fit afterwards, pg_rewind has found nothing to do: a second run would
         * find the same. */
        server->is_rewound = server->is_rewound || order == ORDER_REWIND;
        server->is_virgin = order == ORDER_BOOTSTRAP || (server->is_virgin && order != ORDER_CLONE);
        agent_log(agent, LOG_LEVEL_INFO, "order.done", "%s is done", engine_order_text(order));
        return;
    }
    IGNORE(!str_copy(server->failure, sizeof(server->failure), err_text(why)), "cut is fine");
    agent_log(
        agent, LOG_LEVEL_ERROR, "order.failed", "%s failed: %s", engine_order_text(order),
        server->failure);
    if (order == ORDER_REWIND) {
        server->has_rewind_failed = true;
    }
    if (order == ORDER_PROMOTE) {
        note_failed_promotion(agent, now);
    }
    if (order == ORDER_FETCH) {
        server->fetch_retry = instant_add_ms(now, RETRY_LONG_MS);
    }
    if (is_start_like(order)) {
        server->start_failures++;
        server->retry = instant_add_ms(now, order == ORDER_START ? RETRY_MS : RETRY_LONG_MS);
    }
}

/* Said once. */
static void note_another(struct agent *agent, struct peer_facts *peer, const char *another)
{
    if (another != NULL && !peer->is_another) {
        agent_log(
            agent, LOG_LEVEL_ERROR, "peer.another", "%s cannot be asked: %s", peer->name, another);
    }
    peer->is_another = another != NULL;
}

void agent_on_report(
    struct agent *agent, const char *name, const struct peer_report *report, const char *another)
{
    struct peer_facts *peer = agent_peer(agent, name);

    if (str_equal(name, agent->config->name) && agent->namesake == NAMESAKE_ASKED) {
        agent->namesake = report != NULL ? NAMESAKE_ALIVE : NAMESAKE_NONE;
    }
    if (peer == NULL) {
        return;
    }
    peer->is_polling = false;
    note_another(agent, peer, another);
    if (report == NULL) {
        peer->failures++;
        return;
    }
    peer->failures = 0;
    peer->report = *report;
    peer->asked = peer->polled;
    agent_on_sign_of_life(peer, agent->ports.now(agent->ports.arg));
}
