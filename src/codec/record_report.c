#include "codec/record.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "codec/field.h"

static json_t *encode_xlog(const struct record_report *report)
{
    const struct peer_report *peer = &report->peer;
    json_t *xlog = json_object();

    if (peer->role == ROLE_PRIMARY) {
        field_set_u64(xlog, "location", peer->position.lsn);
        return xlog;
    }
    field_set_u64(xlog, "received_location", peer->received_lsn);
    field_set_u64(xlog, "replayed_location", peer->replayed_lsn);
    if (report->replayed_real_ms > 0) {
        char at[TIMESTAMP_SIZE];

        format_timestamp(report->replayed_real_ms, ' ', at);
        field_set_text(xlog, "replayed_timestamp", at);
    } else {
        field_set(xlog, "replayed_timestamp", json_null());
    }
    field_set(xlog, "paused", json_boolean(report->is_replay_paused));
    return xlog;
}

/* Of what Patroni shows of pg_stat_replication, what is known here. */
static json_t *encode_replication(const struct record_report *report)
{
    json_t *rows = json_array();

    ASSERT(report->standby_count <= MEMBERS_MAX);
    for (unsigned at = 0; at < report->standby_count; at++) {
        json_t *row = json_object();

        field_set_text(row, "application_name", report->standbys[at]);
        field_set_text(row, "state", "streaming");
        field_append(rows, row);
    }
    return rows;
}

/* The part that Patroni reads from the running server. */
static void encode_server(json_t *out, const struct record_report *report)
{
    const struct peer_report *peer = &report->peer;

    if (peer->server_version != 0) {
        field_set_u64(out, "server_version", peer->server_version);
    }
    field_set(out, "xlog", encode_xlog(report));
    if (report->is_quorum_standby) {
        field_set_true(out, "quorum_standby");
    } else if (report->is_sync_standby) {
        field_set_true(out, "sync_standby");
    }
    if (peer->position.timeline != 0) {
        field_set_u64(out, "timeline", peer->position.timeline);
    }
    if (peer->is_streaming) {
        field_set_text(out, "replication_state", "streaming");
    } else if (report->is_in_archive_recovery) {
        field_set_text(out, "replication_state", "in archive recovery");
    }
    if (report->standby_count > 0) {
        field_set(out, "replication", encode_replication(report));
    }
}

/* How the server would be fenced: for people. */
static json_t *encode_guard(const struct record_report *report)
{
    static const char *const means[] = {"unknown", "descendants", "cgroup"};
    static const char *const watchdogs[] = {"off", "ready", "running", "failed"};
    unsigned powers = report->guard_powers;
    json_t *guard = json_object();

    field_set_text(guard, "means", means[MIN(report->guard_means, ARRAY_LEN(means) - 1)]);
    field_set(guard, "memory_locked", json_boolean((powers & GUARD_POWER_MEMORY) != 0));
    field_set_text(
        guard, "scheduling",
        (powers & GUARD_POWER_REAL_TIME) != 0 ? "real-time"
        : (powers & GUARD_POWER_NICE) != 0    ? "nice"
                                              : "usual");
    field_set(guard, "oom_protected", json_boolean((powers & GUARD_POWER_OOM) != 0));
    field_set_text(guard, "watchdog", watchdogs[MIN(report->watchdog, ARRAY_LEN(watchdogs) - 1)]);
    return guard;
}

static json_t *encode_baton(const struct record_report *report)
{
    const struct peer_report *peer = &report->peer;
    const struct timeline_history *history = &peer->history;
    json_t *baton = json_object();
    json_t *rows = json_array();
    char position[POSITION_TEXT_SIZE];

    ASSERT(history->count <= TIMELINES_MAX);
    position_format(peer->position, position);
    field_set(baton, "dcs_ok", json_boolean(peer->dcs_ok));
    field_set_u64(baton, "term", peer->term);
    if (peer->given_timeline != 0) {
        field_set_u64(baton, "given_timeline", peer->given_timeline);
    }
    field_set(baton, "candidate", json_boolean(peer->is_candidate));
    field_set_u64(baton, "down_ms", (uint64_t)MAX(peer->down_ms, 0));
    field_set_text(baton, "position", position);
    field_set_text(baton, "problem", report->problem != NULL ? report->problem : "");
    if (report->fence != NULL && report->fence[0] != '\0') {
        field_set_text(baton, "fence", report->fence);
    }
    if (peer->trouble != TROUBLE_NONE) {
        field_set_text(baton, "trouble", trouble_text(peer->trouble));
    }
    field_set_u64(baton, "timeline", history->timeline);
    for (unsigned at = 0; at < history->count; at++) {
        json_t *row = json_array();

        field_append(row, field_new_u64(history->switches[at].timeline));
        field_append(row, field_new_u64(history->switches[at].lsn));
        field_append(rows, row);
    }
    field_set(baton, "history", rows);
    field_set_u64(baton, "age_ms", (uint64_t)MAX(peer->age_ms, 0));
    field_set_u64(baton, "suspected", peer->suspected);
    field_set_u64(baton, "promised", peer->promised);
    field_set_u64(baton, "bound", peer->bound);
    if (peer->vote_term != 0) {
        field_set_u64(baton, "vote_term", peer->vote_term);
        field_set_u64(baton, "vote_seq", peer->vote_seq);
    }
    if (peer->tail_for[0] != '\0') {
        field_set_text(baton, "tail_for", peer->tail_for);
    }
    if (peer->is_fetching) {
        field_set_true(baton, "fetching");
    }
    if (peer->is_outgrown) {
        field_set_true(baton, "outgrown");
    }
    if (peer->is_partial) {
        field_set_true(baton, "partial");
    }
    if (report->guard_means != GUARD_MEANS_UNKNOWN) {
        field_set(baton, "guard", encode_guard(report));
    }
    return baton;
}

static json_t *encode_patroni(const struct record_report *report)
{
    json_t *patroni = json_object();

    field_set_text(patroni, "version", report->version != NULL ? report->version : "");
    field_set_text(patroni, "scope", report->scope != NULL ? report->scope : "");
    field_set_text(patroni, "name", report->name != NULL ? report->name : "");
    return patroni;
}

char *record_report_encode(const struct record_report *report)
{
    const struct peer_report *peer = &report->peer;
    json_auto_t *out = json_object();

    field_set_text(out, "state", member_state_text(peer->state));
    if (report->postmaster_start_real_ms > 0) {
        char at[TIMESTAMP_SIZE];

        format_timestamp(report->postmaster_start_real_ms, ' ', at);
        field_set_text(out, "postmaster_start_time", at);
    }
    field_set_text(out, "role", member_role_text(peer->role));
    if (peer->state == STATE_RUNNING && peer->position.lsn != 0) {
        encode_server(out, report);
    }
    if (peer->is_paused) {
        field_set_true(out, "pause");
    }
    if (peer->is_watchdog_failed) {
        field_set_true(out, "watchdog_failed");
    }
    if (report->is_cluster_unlocked) {
        field_set_true(out, "cluster_unlocked");
    }
    if (report->is_failsafe_active) {
        field_set_true(out, "failsafe_mode_is_active");
    }
    field_set_u64(out, "dcs_last_seen", (uint64_t)MAX(report->dcs_last_seen_real_s, 0));
    field_set_tags(out, "tags", &peer->tags, report->extra_tags_json);
    if (peer->system_id != 0) {
        char system_id[24];

        IGNORE(!str_format(system_id, sizeof(system_id), "%" PRIu64, peer->system_id), "fits");
        field_set_text(out, "database_system_identifier", system_id);
    }
    if (report->pending_restart) {
        field_set_true(out, "pending_restart");
    }
    field_set(out, "patroni", encode_patroni(report));
    if (peer->has_baton) {
        field_set(out, "baton", encode_baton(report));
    }
    return field_write_spaced(out);
}

static int decode_xlog(const json_t *from, struct peer_report *peer, struct err *e)
{
    /* Patroni writes xlog; its own reader takes wal as well and prefers it. */
    const json_t *wal = json_object_get(from, "wal");
    const json_t *xlog = json_is_object(wal) ? wal : json_object_get(from, "xlog");
    uint64_t location = 0;
    int r;

    r = field_u64(xlog, "location", &location, e);
    if (r == 0) {
        r = field_u64(xlog, "received_location", &peer->received_lsn, e);
    }
    if (r == 0) {
        r = field_u64(xlog, "replayed_location", &peer->replayed_lsn, e);
    }
    if (r == 0) {
        r = field_u32(from, "timeline", &peer->position.timeline, e);
    }
    peer->position.lsn = location != 0 ? location : MAX(peer->received_lsn, peer->replayed_lsn);
    return r;
}

static int decode_baton(const json_t *baton, struct peer_report *peer, struct err *e)
{
    const char *position = field_peek(baton, "position");
    const json_t *history = json_object_get(baton, "history");
    int r;

    peer->has_baton = true;
    peer->dcs_ok = field_flag(baton, "dcs_ok");
    peer->is_candidate = field_flag(baton, "candidate");
    peer->is_outgrown = field_flag(baton, "outgrown");
    peer->is_partial = field_flag(baton, "partial");
    peer->is_fetching = field_flag(baton, "fetching");
    IGNORE(
        !str_copy(peer->tail_for, sizeof(peer->tail_for), field_peek(baton, "tail_for")),
        "nobody's name is longer");
    r = field_u64(baton, "term", &peer->term, e);
    if (r == 0) {
        r = field_i64(baton, "down_ms", &peer->down_ms, e);
    }
    if (r == 0) {
        r = field_u32(baton, "given_timeline", &peer->given_timeline, e);
    }
    if (r == 0) {
        r = field_u32(baton, "timeline", &peer->history.timeline, e);
    }
    peer->trouble = trouble_parse(field_peek(baton, "trouble"));
    if (r == 0) {
        r = field_i64(baton, "age_ms", &peer->age_ms, e);
    }
    if (r == 0) {
        r = field_u64(baton, "suspected", &peer->suspected, e);
    }
    if (r == 0) {
        r = field_u64(baton, "promised", &peer->promised, e);
    }
    if (r == 0) {
        r = field_u64(baton, "bound", &peer->bound, e);
    }
    if (r == 0) {
        r = field_u64(baton, "vote_term", &peer->vote_term, e);
    }
    if (r == 0) {
        r = field_u64(baton, "vote_seq", &peer->vote_seq, e);
    }
    if (r == 0 && position[0] != '\0' && position_parse(position, &peer->position, NULL) < 0) {
        r = FAIL(e, ERR_CORRUPT, "baton.position '%.80s' is not a position", position);
    }
    if (r == 0 && history != NULL && !field_history_rows(history, &peer->history)) {
        r = FAIL(e, ERR_CORRUPT, "baton.history is not rows of growing timelines with an LSN each");
    }
    return r;
}

/* Patroni writes it as text; a number is taken too. */
static int decode_system_id(const json_t *from, struct peer_report *peer, struct err *e)
{
    const char *text = field_peek(from, "database_system_identifier");

    return text[0] != '\0' ? parse_u64(text, &peer->system_id, e)
                           : field_u64(from, "database_system_identifier", &peer->system_id, e);
}

/* "" is not said: not every version of Patroni does. */
static bool is_other(const char *said, const char *expected)
{
    return said[0] != '\0' && !str_equal(said, expected);
}

static int check_sender(const json_t *from, const struct record_sender *sender, struct err *e)
{
    const json_t *patroni = json_object_get(from, "patroni");
    const char *scope = field_peek(patroni, "scope");
    const char *name = field_peek(patroni, "name");

    if (!is_other(scope, sender->scope) && !is_other(name, sender->name)) {
        return 0;
    }
    return FAIL(
        e, ERR_CONFLICT, "it answers as \"%s\" of \"%s\": is its restapi.connect_address right?",
        name, scope);
}

int record_report_decode(
    const char *json, const struct record_sender *sender, struct peer_report *ret, struct err *e)
{
    json_auto_t *from = NULL;
    struct peer_report peer = {0};
    const json_t *baton;
    int r = field_parse_object(json, "the status", &from, e);

    if (r == 0 && sender != NULL) {
        r = check_sender(from, sender, e);
    }
    if (r < 0) {
        return r;
    }
    peer.state = member_state_parse(field_peek(from, "state"));
    peer.role = member_role_parse(field_peek(from, "role"));
    peer.tags = field_tags(from, "tags");
    peer.is_paused = field_flag(from, "pause");
    peer.is_watchdog_failed = field_flag(from, "watchdog_failed");
    peer.is_streaming = str_equal(field_peek(from, "replication_state"), "streaming");
    r = field_u32(from, "server_version", &peer.server_version, e);
    if (r == 0) {
        r = decode_system_id(from, &peer, e);
    }
    if (r == 0) {
        r = decode_xlog(from, &peer, e);
    }
    baton = json_object_get(from, "baton");
    if (r == 0 && json_is_object(baton)) {
        r = decode_baton(baton, &peer, e);
    }
    if (r < 0) {
        return err_wrap(e, r, "the status of a peer");
    }
    *ret = peer;
    return 0;
}
