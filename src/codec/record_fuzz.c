/* The same text as each of the store's values, as a status, and (lines "key value") as a whole
 * prefix. What was decoded is encoded and decoded again, and must be the same. */
#include "codec/record.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"

#define ENTRIES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_same_tags(const struct member_tags *a, const struct member_tags *b)
{
    ASSERT(a->nofailover == (a->failover_priority == 0));
    ASSERT(a->nofailover == b->nofailover);
    ASSERT(a->noloadbalance == b->noloadbalance);
    ASSERT(a->nosync == b->nosync);
    ASSERT(a->nostream == b->nostream);
    ASSERT(a->clonefrom == b->clonefrom);
    ASSERT(a->failover_priority == b->failover_priority);
    ASSERT(str_equal(a->replicatefrom, b->replicatefrom));
}

static void check_same_history(const struct timeline_history *a, const struct timeline_history *b)
{
    ASSERT(a->timeline == b->timeline);
    ASSERT(a->count == b->count);
    for (unsigned at = 0; at < a->count; at++) {
        ASSERT(a->switches[at].timeline == b->switches[at].timeline);
        ASSERT(a->switches[at].lsn == b->switches[at].lsn);
        ASSERT(at == 0 || a->switches[at - 1].timeline < a->switches[at].timeline);
    }
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
    check_same_tags(&member.tags, &again.tags);
    ASSERT(str_equal(member.conn_url, again.conn_url));
    ASSERT(str_equal(member.api_url, again.api_url));
    ASSERT(str_equal(member.version, again.version));
    ASSERT(str_equal(member.replication_state, again.replication_state));
    ASSERT(str_equal(member.problem, again.problem));
    ASSERT(member.state == again.state);
    ASSERT(member.role == again.role);
    ASSERT(member.location_lsn == again.location_lsn);
    ASSERT(member.received_lsn == again.received_lsn);
    ASSERT(member.replayed_lsn == again.replayed_lsn);
    ASSERT(member.timeline == again.timeline);
    ASSERT(member.is_baton == again.is_baton);
    ASSERT(member.pending_restart == again.pending_restart);
    ASSERT(member.is_checkpointed == again.is_checkpointed);
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
    ASSERT(str_equal(lease.holder, again.holder));
    ASSERT(str_equal(lease.released_to, again.released_to));
    ASSERT(lease.term == again.term);
    ASSERT(lease.seq == again.seq);
    ASSERT(lease.length_ms == again.length_ms);
    ASSERT(lease.length_ms >= 0);
    ASSERT(position_compare(lease.floor, again.floor) == 0);
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
    check_same_history(&history, &again);
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

    if (record_report_decode(text, peer, NULL) < 0) {
        return;
    }
    peer->has_baton = true;
    json = record_report_encode(&report);
    ASSERT(record_report_decode(json, &again, NULL) == 0);
    check_same_tags(&peer->tags, &again.tags);
    check_same_history(&peer->history, &again.history);
    ASSERT(position_compare(peer->position, again.position) == 0);
    ASSERT(peer->state == again.state);
    ASSERT(peer->role == again.role);
    ASSERT(peer->system_id == again.system_id);
    ASSERT(peer->is_paused == again.is_paused);
    ASSERT(peer->dcs_ok == again.dcs_ok);
    ASSERT(peer->term == again.term);
    ASSERT(peer->is_candidate == again.is_candidate);
    ASSERT(peer->down_ms == again.down_ms);
    ASSERT(again.has_baton);
    if (peer->state == STATE_RUNNING && peer->position.lsn != 0) {
        ASSERT(peer->server_version == again.server_version);
        ASSERT(peer->is_streaming == again.is_streaming);
        ASSERT(peer->role == ROLE_PRIMARY || peer->received_lsn == again.received_lsn);
        ASSERT(peer->role == ROLE_PRIMARY || peer->replayed_lsn == again.replayed_lsn);
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
    check_request(text);
    check_history(text);
    check_report(text);
    check_cluster(text);
    return 0;
}
