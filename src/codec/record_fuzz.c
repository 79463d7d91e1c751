/* The same text as each of the store's values, as a status, and (lines "key value") as a whole
 * prefix. What was decoded is encoded and decoded again, and must be the same. */
#include "codec/record.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"

#define ENTRIES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool is_same_tags(const struct member_tags *a, const struct member_tags *b)
{
    return a->nofailover == (a->failover_priority == 0) && a->nofailover == b->nofailover &&
           a->noloadbalance == b->noloadbalance && a->nosync == b->nosync &&
           a->nostream == b->nostream && a->clonefrom == b->clonefrom &&
           a->failover_priority == b->failover_priority && a->nosync == (a->sync_priority == 0) &&
           a->sync_priority == b->sync_priority && str_equal(a->replicatefrom, b->replicatefrom);
}

static bool is_same_history(const struct timeline_history *a, const struct timeline_history *b)
{
    bool is_same = a->timeline == b->timeline && a->count == b->count;

    for (unsigned at = 0; is_same && at < a->count; at++) {
        is_same = a->switches[at].timeline == b->switches[at].timeline &&
                  a->switches[at].lsn == b->switches[at].lsn &&
                  (at == 0 || a->switches[at - 1].timeline < a->switches[at].timeline);
    }
    return is_same;
}

static bool is_same_member(const struct member *a, const struct member *b)
{
    bool is_same_text = str_equal(a->conn_url, b->conn_url) && str_equal(a->api_url, b->api_url) &&
                        str_equal(a->version, b->version) &&
                        str_equal(a->replication_state, b->replication_state) &&
                        str_equal(a->problem, b->problem);
    bool is_same_place = a->location_lsn == b->location_lsn && a->received_lsn == b->received_lsn &&
                         a->replayed_lsn == b->replayed_lsn && a->timeline == b->timeline;

    return is_same_text && is_same_place && is_same_tags(&a->tags, &b->tags) &&
           a->state == b->state && a->role == b->role && a->is_baton == b->is_baton &&
           a->pending_restart == b->pending_restart && a->is_checkpointed == b->is_checkpointed;
}

static bool is_same_lease(const struct lease_record *a, const struct lease_record *b)
{
    return a->failsafe_count == b->failsafe_count &&
           memcmp(a->failsafe, b->failsafe, sizeof(a->failsafe)) == 0 &&
           str_equal(a->holder, b->holder) && str_equal(a->released_to, b->released_to) &&
           a->term == b->term && a->seq == b->seq && a->length_ms == b->length_ms &&
           a->timeline == b->timeline && str_equal(a->node, b->node) &&
           position_compare(a->floor, b->floor) == 0;
}

static bool is_same_report(const struct peer_report *a, const struct peer_report *b)
{
    bool is_baton_same =
        a->dcs_ok == b->dcs_ok && a->term == b->term && a->is_candidate == b->is_candidate &&
        a->down_ms == b->down_ms && a->suspected == b->suspected && a->promised == b->promised &&
        a->bound == b->bound && (a->vote_term == b->vote_term || a->vote_term == 0) &&
        b->has_baton && is_same_history(&a->history, &b->history);

    return is_baton_same && is_same_tags(&a->tags, &b->tags) &&
           position_compare(a->position, b->position) == 0 && a->state == b->state &&
           a->role == b->role && a->system_id == b->system_id && a->is_paused == b->is_paused;
}

/* The part that is only written of a running server. */
static bool is_same_server(const struct peer_report *a, const struct peer_report *b)
{
    bool is_place_same = a->received_lsn == b->received_lsn && a->replayed_lsn == b->replayed_lsn;

    return a->server_version == b->server_version && a->is_streaming == b->is_streaming &&
           (a->role == ROLE_PRIMARY || is_place_same);
}

static void check_member(const char *text)
{
    struct member member;
    struct member again;
    AUTO_FREE char *json = NULL;

    if (record_member_decode("n1", text, &member, NULL) < 0) {
        return;
    }
    json = record_member_encode(&member, NULL);
    ASSERT(record_member_decode("n1", json, &again, NULL) == 0);
    ASSERT(is_same_member(&member, &again));
}

static void check_lease(const char *text)
{
    struct lease_record lease;
    struct lease_record again;
    AUTO_FREE char *json = NULL;

    if (record_lease_decode(text, &lease, NULL) < 0) {
        return;
    }
    json = record_lease_encode(&lease);
    ASSERT(record_lease_decode(json, &again, NULL) == 0);
    ASSERT(is_same_lease(&lease, &again));
    ASSERT(lease.length_ms >= 0);
}

static bool is_same_sync(const struct sync_record *a, const struct sync_record *b)
{
    bool is_same = str_equal(a->leader, b->leader) && a->quorum == b->quorum &&
                   a->count == b->count && (a->leader[0] != '\0' || a->count == 0);

    for (unsigned at = 0; is_same && at < a->count; at++) {
        is_same = str_equal(a->voters[at], b->voters[at]) && a->voters[at][0] != '\0' &&
                  (at == 0 || strcmp(a->voters[at - 1], a->voters[at]) < 0);
    }
    return is_same;
}

static void check_sync(const char *text)
{
    const struct record_entry entry = {KEY_SYNC, text, 1};
    AUTO_FREE struct cluster *cluster = mem_alloc(sizeof(*cluster));
    struct sync_record sync;
    struct sync_record again;
    AUTO_FREE char *json = NULL;
    char problem[100];

    record_cluster_decode(&entry, 1, 1, cluster, problem, sizeof(problem));
    if (record_sync_decode(text, &sync, NULL) < 0) {
        ASSERT(cluster->sync.leader[0] != '\0');
        ASSERT(cluster->sync.count == 0);
        return;
    }
    ASSERT(is_same_sync(&sync, &cluster->sync));
    json = record_sync_encode(&sync);
    ASSERT(record_sync_decode(json, &again, NULL) == 0);
    ASSERT(is_same_sync(&sync, &again));
}

static void check_request(const char *text)
{
    struct failover_request request;
    struct failover_request again;
    AUTO_FREE char *json = NULL;

    if (record_request_decode(text, &request, NULL) < 0) {
        return;
    }
    json = record_request_encode(&request);
    ASSERT(record_request_decode(json, &again, NULL) == 0);
    ASSERT(str_equal(request.leader, again.leader));
    ASSERT(str_equal(request.candidate, again.candidate));
    ASSERT(request.scheduled_real_ms == again.scheduled_real_ms);
}

static void check_history(const char *text)
{
    struct timeline_history history;
    struct timeline_history again;
    AUTO_FREE char *json = NULL;
    AUTO_FREE char *short_json = NULL;

    if (record_history_decode(text, &history, NULL) < 0) {
        return;
    }
    json = record_history_append(text, &history, "x", 1000, "n1", 0);
    ASSERT(record_history_decode(json, &again, NULL) == 0);
    ASSERT(is_same_history(&history, &again));
    short_json = record_history_append(NULL, &history, "x", 1000, "n1", 1);
    ASSERT(record_history_decode(short_json, &again, NULL) == 0);
    ASSERT(again.count == MIN(history.count, 1));
    ASSERT(again.timeline == history.timeline);
}

static void check_report(const char *text)
{
    struct record_report report = {.version = "4.1.4", .scope = "s", .name = "n1"};
    struct peer_report *peer = &report.peer;
    struct peer_report again;
    AUTO_FREE char *json = NULL;

    if (record_report_decode(text, NULL, peer, NULL) < 0) {
        return;
    }
    peer->has_baton = true;
    json = record_report_encode(&report);
    ASSERT(record_report_decode(json, NULL, &again, NULL) == 0);
    ASSERT(is_same_report(peer, &again));
    if (peer->state == STATE_RUNNING && peer->position.lsn != 0) {
        ASSERT(is_same_server(peer, &again));
    }
}

static void check_cluster(char *text)
{
    struct record_entry entries[ENTRIES_MAX] = {{0}};
    AUTO_FREE struct cluster *cluster = mem_alloc(sizeof(*cluster));
    unsigned count = 0;
    char problem[100];

    while (*text != '\0' && count < ENTRIES_MAX) {
        char *line = text;
        char *space;

        text += strcspn(text, "\n");
        if (*text == '\n') {
            *text++ = '\0';
        }
        space = strchr(line, ' ');
        if (space != NULL) {
            *space = '\0';
            entries[count] = (struct record_entry){line, space + 1, 1};
            count++;
        }
    }
    record_cluster_decode(entries, count, 1, cluster, problem, sizeof(problem));
    ASSERT(cluster->member_count <= MEMBERS_MAX);
    ASSERT(cluster->history.count <= TIMELINES_MAX);
    ASSERT(strlen(problem) < sizeof(problem));
    for (unsigned at = 0; at < cluster->member_count; at++) {
        ASSERT(cluster->members[at].name[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    AUTO_FREE char *text = mem_dup_length((const char *)bytes, size);

    check_member(text);
    check_lease(text);
    check_sync(text);
    check_request(text);
    check_history(text);
    check_report(text);
    check_cluster(text);
    return 0;
}
