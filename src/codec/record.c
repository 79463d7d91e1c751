#include "codec/record.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "codec/field.h"

/* 9999-12-31: later times have no text that can be read back. */
#define REAL_MS_MAX INT64_C(253402300799999)

/* Names of members are keys of the store and file names. */
static bool is_member_name(const char *name)
{
    return name[0] != '\0' && strlen(name) < MEMBER_NAME_SIZE && strchr(name, '/') == NULL;
}

char *record_member_encode(const struct member *member, const char *extra_tags_json)
{
    json_auto_t *out = json_object();

    field_set_text(out, "conn_url", member->conn_url);
    field_set_text(out, "api_url", member->api_url);
    field_set_text(out, "state", member_state_text(member->state));
    field_set_text(out, "role", member_role_text(member->role));
    field_set_text(out, "version", member->version);
    if (!member->is_checkpointed) {
        field_set(out, "checkpoint_after_promote", json_false());
    }
    field_set_tags(out, "tags", &member->tags, extra_tags_json);
    if (member->pending_restart) {
        field_set_true(out, "pending_restart");
    }
    if (member->location_lsn != 0) {
        field_set_u64(out, "xlog_location", member->location_lsn);
    }
    if (member->received_lsn != 0) {
        field_set_u64(out, "receive_lsn", member->received_lsn);
    }
    if (member->replayed_lsn != 0) {
        field_set_u64(out, "replay_lsn", member->replayed_lsn);
    }
    if (member->replication_state[0] != '\0') {
        field_set_text(out, "replication_state", member->replication_state);
    }
    if (member->timeline != 0) {
        field_set_u64(out, "timeline", member->timeline);
    }
    if (member->is_baton) {
        json_t *baton = json_object();

        field_set_text(baton, "problem", member->problem);
        if (member->fence != FENCE_UNKNOWN) {
            field_set_text(baton, "fence", fence_state_text(member->fence));
        }
        field_set(out, "baton", baton);
    }
    return field_write_compact(out);
}

static int decode_member(const json_t *from, struct member *member, struct err *e)
{
    const json_t *checkpoint = json_object_get(from, "checkpoint_after_promote");
    const json_t *baton = json_object_get(from, "baton");
    int r;

    r = field_text(from, "conn_url", member->conn_url, sizeof(member->conn_url), e);
    if (r == 0) {
        r = field_text(from, "api_url", member->api_url, sizeof(member->api_url), e);
    }
    if (r == 0) {
        r = field_u64(from, "xlog_location", &member->location_lsn, e);
    }
    if (r == 0) {
        r = field_u64(from, "receive_lsn", &member->received_lsn, e);
    }
    if (r == 0) {
        r = field_u64(from, "replay_lsn", &member->replayed_lsn, e);
    }
    if (r == 0) {
        r = field_u32(from, "timeline", &member->timeline, e);
    }
    if (r < 0) {
        return r;
    }
    field_cut(from, "version", member->version, sizeof(member->version));
    field_cut(
        from, "replication_state", member->replication_state, sizeof(member->replication_state));
    member->state = member_state_parse(field_peek(from, "state"));
    member->role = member_role_parse(field_peek(from, "role"));
    member->tags = field_tags(from, "tags");
    member->pending_restart = field_flag(from, "pending_restart");
    member->is_checkpointed = !json_is_false(checkpoint);
    member->is_baton = json_is_object(baton);
    field_cut(baton, "problem", member->problem, sizeof(member->problem));
    member->fence = fence_state_parse(field_peek(baton, "fence"));
    return 0;
}

int record_member_decode(const char *name, const char *json, struct member *ret, struct err *e)
{
    json_auto_t *from = NULL;
    struct member member = {0};
    int r;

    if (!is_member_name(name)) {
        return FAIL(
            e, ERR_LIMIT, "the member name '%.80s' is empty, longer than %d bytes or has a slash",
            name, MEMBER_NAME_SIZE - 1);
    }
    r = field_parse_object(json, "it", &from, e);
    if (r == 0) {
        r = decode_member(from, &member, e);
    }
    if (r < 0) {
        return err_wrap(e, r, "the record of member %s", name);
    }
    IGNORE(!str_copy(member.name, sizeof(member.name), name), "checked");
    *ret = member;
    return 0;
}

char *record_lease_encode(const struct lease_record *lease)
{
    json_auto_t *out = json_object();
    char floor[POSITION_TEXT_SIZE];

    position_format(lease->floor, floor);
    field_set_text(out, "holder", lease->holder);
    field_set_text(out, "released_to", lease->released_to);
    field_set_text(out, "node", lease->node);
    field_set_u64(out, "term", lease->term);
    field_set_u64(out, "seq", lease->seq);
    field_set_u64(out, "length_ms", (uint64_t)MAX(lease->length_ms, 0));
    field_set_u64(out, "timeline", lease->timeline);
    field_set_text(out, "floor", floor);
    if (lease->failsafe_count > 0) {
        json_t *names = json_array();

        ASSERT(lease->failsafe_count <= MEMBERS_MAX);
        for (unsigned at = 0; at < lease->failsafe_count; at++) {
            field_append(names, field_new_text(lease->failsafe[at]));
        }
        field_set(out, "failsafe", names);
    }
    return field_write_compact(out);
}

/* To leave one out would let fewer than a majority decide. */
static int decode_failsafe(const json_t *names, struct lease_record *lease, struct err *e)
{
    size_t count = json_array_size(names);

    if (names == NULL) {
        return 0;
    }
    if (!json_is_array(names) || count > MEMBERS_MAX) {
        return FAIL(e, ERR_CORRUPT, "failsafe is not a list of at most %d names", MEMBERS_MAX);
    }
    for (size_t at = 0; at < count; at++) {
        const char *name = json_string_value(json_array_get(names, at));

        if (name == NULL || name[0] == '\0' ||
            !str_copy(lease->failsafe[at], sizeof(lease->failsafe[at]), name)) {
            return FAIL(e, ERR_CORRUPT, "failsafe has an item that is no member's name");
        }
        for (size_t other = 0; other < at; other++) {
            if (str_equal(lease->failsafe[other], name)) {
                return FAIL(e, ERR_CORRUPT, "failsafe has '%s' twice", name);
            }
        }
    }
    lease->failsafe_count = (unsigned)count;
    return 0;
}

static int decode_lease(const json_t *from, struct lease_record *lease, struct err *e)
{
    const char *floor = field_peek(from, "floor");
    int r;

    /* A lease that lacks one of these is damage: as zeros they would let anybody go first. */
    if (!json_is_string(json_object_get(from, "holder")) ||
        !json_is_integer(json_object_get(from, "term")) ||
        !json_is_integer(json_object_get(from, "seq")) ||
        !json_is_integer(json_object_get(from, "length_ms"))) {
        return FAIL(e, ERR_CORRUPT, "holder, term, seq or length_ms is missing");
    }
    r = field_text(from, "holder", lease->holder, sizeof(lease->holder), e);
    if (r == 0) {
        r = field_text(from, "released_to", lease->released_to, sizeof(lease->released_to), e);
    }
    if (r == 0) {
        r = field_text(from, "node", lease->node, sizeof(lease->node), e);
    }
    if (r == 0) {
        r = field_u64(from, "term", &lease->term, e);
    }
    if (r == 0) {
        r = field_u64(from, "seq", &lease->seq, e);
    }
    if (r == 0) {
        r = field_i64(from, "length_ms", &lease->length_ms, e);
    }
    if (r == 0) {
        r = field_u32(from, "timeline", &lease->timeline, e);
    }
    if (r == 0 && floor[0] != '\0' && position_parse(floor, &lease->floor, NULL) < 0) {
        r = FAIL(e, ERR_CORRUPT, "floor '%.80s' is not a position", floor);
    }
    if (r == 0) {
        r = decode_failsafe(json_object_get(from, "failsafe"), lease, e);
    }
    return r;
}

int record_lease_decode(const char *json, struct lease_record *ret, struct err *e)
{
    json_auto_t *from = NULL;
    struct lease_record lease = {0};
    int r = field_parse_object(json, "it", &from, e);

    if (r == 0) {
        r = decode_lease(from, &lease, e);
    }
    if (r < 0) {
        return err_wrap(e, r, "the lease record");
    }
    *ret = lease;
    return 0;
}

char *record_failsafe_encode(const struct cluster *cluster)
{
    json_auto_t *out = json_object();

    for (unsigned at = 0; at < cluster->member_count; at++) {
        if (cluster->members[at].api_url[0] != '\0') {
            field_set_text(out, cluster->members[at].name, cluster->members[at].api_url);
        }
    }
    return field_write_compact(out);
}

char *record_ask_encode(const struct failsafe_ask *ask, const char *conn_url, const char *api_url)
{
    json_auto_t *out = json_object();

    field_set_text(out, "name", ask->name);
    field_set_text(out, "conn_url", conn_url);
    field_set_text(out, "api_url", api_url);
    field_set(out, "slots", json_object());
    field_set_text(out, "asked", ask->asked);
    field_set_text(out, "node", ask->node);
    field_set_u64(out, "term", ask->term);
    field_set_u64(out, "seq", ask->seq);
    field_set_u64(out, "length_ms", (uint64_t)MAX(ask->length_ms, 0));
    return field_write_compact(out);
}

int record_ask_decode(const char *json, struct failsafe_ask *ret, struct err *e)
{
    json_auto_t *from = NULL;
    struct failsafe_ask ask = {0};
    int r = field_parse_object(json, "the request", &from, e);

    if (r == 0) {
        r = field_text(from, "name", ask.name, sizeof(ask.name), e);
    }
    if (r == 0) {
        r = field_text(from, "asked", ask.asked, sizeof(ask.asked), e);
    }
    if (r == 0) {
        r = field_text(from, "node", ask.node, sizeof(ask.node), e);
    }
    if (r == 0) {
        r = field_u64(from, "term", &ask.term, e);
    }
    if (r == 0) {
        r = field_u64(from, "seq", &ask.seq, e);
    }
    if (r == 0) {
        r = field_i64(from, "length_ms", &ask.length_ms, e);
    }
    if (r == 0 && ask.name[0] == '\0') {
        r = FAIL(e, ERR_CORRUPT, "the request has no name");
    }
    if (r == 0) {
        *ret = ask;
    }
    return r;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* A copy of SYNC with its voters in order and each once. */
static struct sync_record sort_voters(const struct sync_record *sync)
{
    struct sync_record sorted = *sync;
    unsigned kept = 0;

    ASSERT(sync->count <= MEMBERS_MAX);
    qsort(sorted.voters, sorted.count, sizeof(sorted.voters[0]), compare_names);
    for (unsigned at = 0; at < sorted.count; at++) {
        if (kept == 0 || !str_equal(sorted.voters[at], sorted.voters[kept - 1])) {
            memmove(sorted.voters[kept++], sorted.voters[at], sizeof(sorted.voters[0]));
        }
    }
    sorted.count = kept;
    return sorted;
}

char *record_sync_encode(const struct sync_record *sync)
{
    struct sync_record sorted = sort_voters(sync);
    json_auto_t *out = json_object();
    struct str voters AUTO_STR = STR_INIT(MEMBERS_MAX * MEMBER_NAME_SIZE);

    for (unsigned at = 0; at < sorted.count; at++) {
        str_addf(&voters, "%s%s", at > 0 ? "," : "", sorted.voters[at]);
    }
    field_set(out, "leader", sync->leader[0] != '\0' ? field_new_text(sync->leader) : json_null());
    field_set_u64(out, "quorum", sync->quorum);
    field_set(
        out, "sync_standby", sorted.count > 0 ? field_new_text(str_text(&voters)) : json_null());
    return field_write_compact(out);
}

/* "n2, n3" into voters. */
static int decode_voters(const char *text, struct sync_record *sync, struct err *e)
{
    static const char blank[] = " \t\r\n";

    for (const char *at = text; *at != '\0';) {
        size_t part = strcspn(at, ",");
        size_t skipped = MIN(strspn(at, blank), part);
        size_t length = part - skipped;

        while (length > 0 && strchr(blank, at[skipped + length - 1]) != NULL) {
            length--;
        }
        if (length > 0 && sync->count == MEMBERS_MAX) {
            return FAIL(e, ERR_LIMIT, "sync_standby has more than %d names", MEMBERS_MAX);
        }
        if (length > 0) {
            char *name = sync->voters[sync->count++];

            if (!str_format(name, MEMBER_NAME_SIZE, "%.*s", (int)length, at + skipped) ||
                !is_member_name(name)) {
                return FAIL(e, ERR_CORRUPT, "sync_standby has what is not a member name");
            }
        }
        at += part + (at[part] == ',');
    }
    return 0;
}

static int decode_sync(const json_t *from, struct sync_record *sync, struct err *e)
{
    const json_t *voters = json_object_get(from, "sync_standby");
    const char *leader = field_peek(from, "leader");
    uint32_t quorum = 0;
    int r;

    if (json_object_get(from, "leader") == NULL) {
        return FAIL(e, ERR_CORRUPT, "leader is missing");
    }
    r = field_text(from, "leader", sync->leader, sizeof(sync->leader), e);
    if (r == 0 && leader[0] != '\0' && !is_member_name(leader)) {
        sync->leader[0] = '\0';
        r = FAIL(e, ERR_CORRUPT, "leader '%.80s' is not a member name", leader);
    }
    if (r == 0) {
        r = field_u32(from, "quorum", &quorum, e);
    }
    if (r == 0 && voters != NULL && !json_is_null(voters) && !json_is_string(voters)) {
        r = FAIL(e, ERR_CORRUPT, "sync_standby is not a text");
    }
    if (r == 0) {
        r = decode_voters(field_peek(from, "sync_standby"), sync, e);
    }
    if (r == 0 && leader[0] == '\0' && sync->count > 0) {
        r = FAIL(e, ERR_CORRUPT, "there are standbys and no leader");
    }
    sync->quorum = leader[0] != '\0' ? quorum : 0;
    return r;
}

/* Fills RET on failure too, with what nobody but a known leader can use. */
static int decode_sync_or_block(const char *json, struct sync_record *ret, struct err *e)
{
    json_auto_t *from = NULL;
    struct sync_record sync = {0};
    int r = field_parse_object(json, "it", &from, e);

    if (r == 0) {
        r = decode_sync(from, &sync, e);
    }
    if (r < 0) {
        const char *leader = sync.leader[0] != '\0' ? sync.leader : RECORD_SYNC_UNKNOWN;

        *ret = (struct sync_record){0};
        IGNORE(!str_copy(ret->leader, sizeof(ret->leader), leader), "as long");
        return err_wrap(e, r, "the synchronous standbys");
    }
    *ret = sort_voters(&sync);
    return 0;
}

int record_sync_decode(const char *json, struct sync_record *ret, struct err *e)
{
    struct sync_record sync;
    int r = decode_sync_or_block(json, &sync, e);

    if (r == 0) {
        *ret = sync;
    }
    return r;
}

char *record_status_encode(uint64_t optime, const struct record_slot *slots, unsigned slot_count)
{
    json_auto_t *out = json_object();

    field_set_u64(out, "optime", optime);
    if (slot_count > 0) {
        json_t *list = json_object();

        for (unsigned at = 0; at < slot_count; at++) {
            field_set_u64(list, slots[at].name, slots[at].lsn);
        }
        field_set(out, "slots", list);
    }
    return field_write_compact(out);
}

char *record_request_encode(const struct failover_request *request)
{
    json_auto_t *out = json_object();

    if (request->leader[0] != '\0') {
        field_set_text(out, "leader", request->leader);
    }
    if (request->candidate[0] != '\0') {
        field_set_text(out, "member", request->candidate);
    }
    if (request->scheduled_real_ms > 0) {
        char at[TIMESTAMP_SIZE];

        format_timestamp(MIN(request->scheduled_real_ms, REAL_MS_MAX), 'T', at);
        field_set_text(out, "scheduled_at", at);
    }
    return field_write_compact(out);
}

int record_request_decode(const char *json, struct failover_request *ret, struct err *e)
{
    json_auto_t *from = NULL;
    struct failover_request request = {0};
    const char *at;
    int r = field_parse_object(json, "it", &from, e);

    if (r == 0) {
        r = field_text(from, "leader", request.leader, sizeof(request.leader), e);
    }
    if (r == 0) {
        r = field_text(from, "member", request.candidate, sizeof(request.candidate), e);
    }
    at = field_peek(from, "scheduled_at");
    if (r == 0 && at[0] != '\0') {
        r = parse_timestamp(at, &request.scheduled_real_ms, e);
        if (r == 0 && (request.scheduled_real_ms <= 0 || request.scheduled_real_ms > REAL_MS_MAX)) {
            r = FAIL(e, ERR_INVALID, "'%.80s' is not between 1970 and 9999", at);
        }
    }
    if (r < 0) {
        return err_wrap(e, r, "the failover request");
    }
    *ret = request;
    return 0;
}

/* The row of ROWS for this switch, or NULL. */
static json_t *find_row(const json_t *rows, const struct timeline_switch *wanted)
{
    size_t at;
    json_t *row;

    json_array_foreach (rows, at, row) {
        if (json_integer_value(json_array_get(row, 0)) == (json_int_t)wanted->timeline &&
            (uint64_t)json_integer_value(json_array_get(row, 1)) == wanted->lsn) {
            return row;
        }
    }
    return NULL;
}

static json_t *new_row(const struct timeline_switch *from, const char *reason)
{
    json_t *row = json_array();

    field_append(row, field_new_u64(from->timeline));
    field_append(row, field_new_u64(from->lsn));
    field_append(row, field_new_text(reason));
    return row;
}

/* The rows of OLD, or none when it is damaged. */
static json_t *read_old_rows(const char *old)
{
    json_auto_t *rows = NULL;
    struct timeline_history ignored = {0};

    if (old != NULL && field_parse_array(old, "history", &rows, NULL) == 0 &&
        field_history_rows(rows, &ignored)) {
        return TAKE(rows);
    }
    return json_array();
}

char *record_history_append(
    const char *old, const struct timeline_history *history, const char *reason, int64_t real_ms,
    const char *new_leader, unsigned max)
{
    json_auto_t *rows = read_old_rows(old);
    json_auto_t *out = json_array();
    size_t at;
    json_t *row;

    ASSERT(history->count <= TIMELINES_MAX);
    json_array_foreach (rows, at, row) {
        if (history->count == TIMELINES_MAX &&
            json_integer_value(json_array_get(row, 0)) < history->switches[0].timeline) {
            field_append(out, json_incref(row));
        }
    }
    for (unsigned i = 0; i < history->count; i++) {
        bool is_newest = i + 1 == history->count;
        json_t *known = find_row(rows, &history->switches[i]);

        row = known != NULL ? json_incref(known)
                            : new_row(&history->switches[i], is_newest ? reason : "");
        if (known == NULL && is_newest) {
            char now[TIMESTAMP_SIZE];

            format_timestamp(real_ms, 'T', now);
            field_append(row, field_new_text(now));
            field_append(row, field_new_text(new_leader));
        }
        field_append(out, row);
    }
    while (max > 0 && json_array_size(out) > max) {
        IGNORE(json_array_remove(out, 0), "there is one");
    }
    return field_write_compact(out);
}

int record_history_decode(const char *json, struct timeline_history *ret, struct err *e)
{
    json_auto_t *rows = NULL;
    struct timeline_history history = {0};
    int r = field_parse_array(json, "the history", &rows, e);

    if (r < 0) {
        return r;
    }
    if (!field_history_rows(rows, &history)) {
        return FAIL(
            e, ERR_CORRUPT, "the history is not rows of growing timelines with an LSN each");
    }
    history.timeline = history.count == 0 ? 1 : history.switches[history.count - 1].timeline + 1;
    *ret = history;
    return 0;
}

static int decode_initialize(
    const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    cluster->has_initialize = true;
    cluster->initialize_revision = entry->revision;
    if (entry->value[0] == '\0') {
        return 0;
    }
    return parse_u64(entry->value, &cluster->system_id, e);
}

static int decode_config(const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    (void)e;
    cluster->has_config = true;
    cluster->config_revision = entry->revision;
    return 0;
}

static int decode_leader(const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    cluster->leader_revision = entry->revision;
    if (!is_member_name(entry->value)) {
        return FAIL(e, ERR_CORRUPT, "'%.80s' is not a member name", entry->value);
    }
    IGNORE(!str_copy(cluster->leader, sizeof(cluster->leader), entry->value), "checked");
    return 0;
}

static int decode_status(const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    json_auto_t *from = NULL;
    int r = field_parse_object(entry->value, "it", &from, e);

    return r < 0 ? r : field_u64(from, "optime", &cluster->status_lsn, e);
}

static int decode_failover(const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    struct failover_request *request = &cluster->request;
    int r;

    cluster->request_revision = entry->revision;
    if (entry->value[0] == '\0') {
        return 0;
    }
    r = record_request_decode(entry->value, request, e);
    cluster->has_request = r == 0 && (request->leader[0] != '\0' || request->candidate[0] != '\0' ||
                                      request->scheduled_real_ms != 0);
    return r;
}

static int decode_history(const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    cluster->history_revision = entry->revision;
    return record_history_decode(entry->value, &cluster->history, e);
}

/* Patroni's rows end with the timeline that was left last, and do not tell for which one. */
static int decode_history_of(
    const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    int64_t timeline = 0;
    int r = parse_int(entry->value, 1, UINT32_MAX, &timeline, e);

    cluster->history_of = (uint32_t)timeline;
    return r;
}

static int decode_lease_key(
    const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    cluster->lease_revision = entry->revision;
    return record_lease_decode(entry->value, &cluster->lease, e);
}

static int decode_sync_key(const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    cluster->sync_revision = entry->revision;
    return decode_sync_or_block(entry->value, &cluster->sync, e);
}

/* One too many: whoever leads must be known to those who follow. */
static int decode_surplus_member(
    const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    const char *name = entry->key + strlen(KEY_MEMBERS);
    struct member member;

    if (cluster_is_led_by(cluster, name)) {
        int r = record_member_decode(name, entry->value, &member, e);

        if (r < 0) {
            return r;
        }
        *cluster_last_place(cluster) = member;
    }
    return FAIL(
        e, ERR_LIMIT, "there are more than %d members: not all of them are taken into account",
        MEMBERS_MAX);
}

static int decode_member_key(
    const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    const char *name = entry->key + strlen(KEY_MEMBERS);
    int r;

    if (cluster->member_count == MEMBERS_MAX) {
        return decode_surplus_member(entry, cluster, e);
    }
    r = record_member_decode(name, entry->value, &cluster->members[cluster->member_count], e);
    if (r < 0) {
        return r;
    }
    cluster->member_count++;
    return 0;
}

static const struct {
    const char *key; /* with a slash at the end: a prefix */
    int (*decode)(const struct record_entry *entry, struct cluster *cluster, struct err *e);
} keys[] = {
    {KEY_INITIALIZE, decode_initialize}, {KEY_CONFIG, decode_config},
    {KEY_LEADER, decode_leader},         {KEY_MEMBERS, decode_member_key},
    {KEY_STATUS, decode_status},         {KEY_FAILOVER, decode_failover},
    {KEY_HISTORY, decode_history},       {KEY_LEASE, decode_lease_key},
    {KEY_SYNC, decode_sync_key},         {KEY_HISTORY_OF, decode_history_of},
};

static int decode_entry(const struct record_entry *entry, struct cluster *cluster, struct err *e)
{
    for (size_t at = 0; at < ARRAY_LEN(keys); at++) {
        const char *key = keys[at].key;

        if (str_ends(key, "/") ? str_starts(entry->key, key) : str_equal(entry->key, key)) {
            return keys[at].decode(entry, cluster, e);
        }
    }
    return 0;
}

void record_cluster_decode(
    const struct record_entry *entries, unsigned count, int64_t revision, struct cluster *ret,
    char *problem, size_t size)
{
    /* The places for members are written when there is one. */
    memset(ret, 0, offsetof(struct cluster, members));
    ret->revision = revision;
    ret->settings = (struct cluster_settings)CLUSTER_SETTINGS_DEFAULT;
    problem[0] = '\0';
    for (unsigned at = 0; at < count; at++) {
        struct err error = {0};
        bool is_first = decode_entry(&entries[at], ret, &error) < 0 && problem[0] == '\0';

        IGNORE(
            is_first && !str_format(problem, size, "key %s: %s", entries[at].key, err_text(&error)),
            "a sentence may be cut");
    }
    /* Where Patroni has led since, its own rows tell more. */
    if (ret->history.timeline != 0 && ret->history_of > ret->history.timeline) {
        ret->history.timeline = ret->history_of;
    }
}
