#include "dcs/etcd_wire.h"

#include <jansson.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"

#define KEY_MAX 1024

/* gRPC codes that say for certain that nothing was done: invalid argument, not found, exists,
 * denied, exhausted (quota, too many requests), precondition, out of range (compacted),
 * unimplemented. Others (cancelled, unknown, deadline, aborted, internal, unavailable, data loss)
 * leave it open: "request timed out" may still be applied later. */
#define DEFINITE_CODES \
    (1u << 3 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 9 | 1u << 11 | 1u << 12)

AUTO_DEFINE(json_t, json_decref)

/* Bodies. */

static void add_key(struct str *out, const char *prefix, const char *key)
{
    AUTO_STR struct str whole = STR_INIT(2 * KEY_MAX);

    str_add(&whole, prefix);
    str_add(&whole, key);
    ASSERT(!whole.is_cut);
    str_add_char(out, '"');
    etcd_wire_base64(out, whole.text, whole.length);
    str_add_char(out, '"');
}

/* The range of all keys below PREFIX: from it to the same with its last byte one higher. */
static void add_range(struct str *out, const char *prefix)
{
    AUTO_STR struct str end = STR_INIT(2 * KEY_MAX);

    str_add(&end, prefix);
    ASSERT(end.length > 0);
    end.text[end.length - 1]++;
    str_add(out, "\"key\":");
    add_key(out, prefix, "");
    str_add(out, ",\"range_end\":");
    add_key(out, end.text, "");
}

char *etcd_wire_range(const char *prefix)
{
    AUTO_STR struct str out = STR_INIT(ETCD_BODY_MAX);

    str_add_char(&out, '{');
    add_range(&out, prefix);
    str_addf(&out, ",\"limit\":\"%d\"}", DCS_KEYS_MAX + 1);
    return str_take(&out);
}

char *etcd_wire_look(const char *prefix)
{
    AUTO_STR struct str out = STR_INIT(ETCD_BODY_MAX);

    str_add_char(&out, '{');
    add_range(&out, prefix);
    str_add(&out, ",\"limit\":\"1\",\"keys_only\":true}");
    return str_take(&out);
}

char *etcd_wire_watch(const char *prefix, int64_t revision)
{
    AUTO_STR struct str out = STR_INIT(ETCD_BODY_MAX);

    str_add(&out, "{\"create_request\":{");
    add_range(&out, prefix);
    str_addf(&out, ",\"start_revision\":\"%" PRId64 "\",\"progress_notify\":true}}", revision);
    return str_take(&out);
}

static void add_compare(struct str *out, const char *prefix, const struct dcs_compare *compare)
{
    str_add(out, "{\"key\":");
    add_key(out, prefix, compare->key);
    str_add(out, ",\"result\":\"EQUAL\",");
    switch (compare->kind) {
    case DCS_IS_ABSENT:
        str_add(out, "\"target\":\"CREATE\",\"create_revision\":\"0\"}");
        break;
    case DCS_VALUE_IS:
        str_add(out, "\"target\":\"VALUE\",\"value\":\"");
        etcd_wire_base64(out, compare->value, strlen(compare->value));
        str_add(out, "\"}");
        break;
    case DCS_REVISION_IS:
        str_addf(out, "\"target\":\"MOD\",\"mod_revision\":\"%" PRId64 "\"}", compare->revision);
        break;
    }
}

static void add_op(struct str *out, const char *prefix, const struct dcs_op *op, int64_t lease)
{
    if (op->kind == DCS_DELETE) {
        str_add(out, "{\"request_delete_range\":{\"key\":");
        add_key(out, prefix, op->key);
        str_add(out, "}}");
        return;
    }
    str_add(out, "{\"request_put\":{\"key\":");
    add_key(out, prefix, op->key);
    str_add(out, ",\"value\":\"");
    etcd_wire_base64(out, op->value, strlen(op->value));
    str_add_char(out, '"');
    if (op->with_session) {
        str_addf(out, ",\"lease\":\"%" PRId64 "\"", lease);
    }
    str_add(out, "}}");
}

char *etcd_wire_txn(const char *prefix, const struct dcs_txn *txn, int64_t lease)
{
    AUTO_STR struct str out = STR_INIT(ETCD_BODY_MAX);

    str_add(&out, "{\"compare\":[");
    for (unsigned at = 0; at < txn->compare_count; at++) {
        str_add(&out, at > 0 ? "," : "");
        add_compare(&out, prefix, &txn->compares[at]);
    }
    str_add(&out, "],\"success\":[");
    for (unsigned at = 0; at < txn->op_count; at++) {
        str_add(&out, at > 0 ? "," : "");
        add_op(&out, prefix, &txn->ops[at], lease);
    }
    str_add(&out, "]}");
    ASSERT(!out.is_cut);
    return str_take(&out);
}

char *etcd_wire_grant(int64_t ttl_s)
{
    AUTO_STR struct str out = STR_INIT(KEY_MAX);

    str_addf(&out, "{\"TTL\":\"%" PRId64 "\"}", ttl_s);
    return str_take(&out);
}

char *etcd_wire_id(uint64_t id)
{
    AUTO_STR struct str out = STR_INIT(KEY_MAX);

    str_addf(&out, "{\"ID\":\"%" PRIu64 "\"}", id);
    return str_take(&out);
}

char *etcd_wire_target(uint64_t id)
{
    AUTO_STR struct str out = STR_INIT(KEY_MAX);

    str_addf(&out, "{\"targetID\":\"%" PRIu64 "\"}", id);
    return str_take(&out);
}

static int add_piece(const char *piece, size_t length, void *out)
{
    str_add_length(out, piece, length);
    return 0;
}

/* ROOT as compact text; ROOT is consumed. */
static char *dump(json_t *root)
{
    AUTO_STR struct str out = STR_INIT(ETCD_BODY_MAX);

    IGNORE(
        json_dump_callback(root, add_piece, &out, JSON_COMPACT), "no encoding error is possible");
    json_decref(root);
    return str_take(&out);
}

char *etcd_wire_authenticate(const char *user, const char *password)
{
    return dump(json_pack("{s:s, s:s}", "name", user, "password", password));
}

char *etcd_wire_member_add(const char *peer_url)
{
    return dump(json_pack("{s:[s], s:b}", "peerURLs", peer_url, "isLearner", 1));
}

/* Answers. */

static json_t *load(const char *body, size_t length, struct err *e)
{
    json_error_t error;
    json_t *root = json_loadb(body, length, JSON_REJECT_DUPLICATES, &error);

    if (!json_is_object(root)) {
        json_decref(root);
        IGNORE(
            FAIL(e, ERR_CORRUPT, "the store's answer is not a JSON object"), "forwarded as NULL");
        return NULL;
    }
    return root;
}

/* A 64-bit number, as a text or a number; 0 when it is absent or neither. */
static int64_t number_of(const json_t *object, const char *name)
{
    const json_t *item = json_object_get(object, name);
    int64_t number = 0;

    if (json_is_integer(item)) {
        return json_integer_value(item);
    }
    if (json_is_string(item)) {
        IGNORE(
            parse_int(json_string_value(item), INT64_MIN, INT64_MAX, &number, NULL), "0 is none");
    }
    return number;
}

static uint64_t id_of(const json_t *object, const char *name)
{
    const json_t *item = json_object_get(object, name);
    uint64_t id = 0;

    if (json_is_integer(item)) {
        return (uint64_t)json_integer_value(item);
    }
    if (json_is_string(item)) {
        IGNORE(parse_u64(json_string_value(item), &id, NULL), "0 is none");
    }
    return id;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

/* Copy TEXT, which comes from outside, for people. */
static void copy_printable(char *buffer, size_t size, const char *text)
{
    size_t at = 0;

    for (; at + 1 < size && text[at] != '\0'; at++) {
        bool is_control = (unsigned char)text[at] < 32 || text[at] == 127;

        buffer[at] = is_control ? ' ' : text[at];
    }
    buffer[at] = '\0';
}

/* The first line of TEXT, unless it is HTML: etcd says so what it refuses before it looks at the
 * request. */
static void copy_line(char *buffer, size_t size, const char *text, size_t length)
{
    size_t end = 0;

    while (end < length && end + 1 < size && strchr("\r\n<", text[end]) == NULL) {
        end++;
    }
    for (size_t at = 0; at < end; at++) {
        buffer[at] = text[at] >= ' ' && text[at] <= '~' ? text[at] : ' ';
    }
    buffer[end] = '\0';
}

static void header_of(const json_t *object, struct etcd_header *ret)
{
    const json_t *header = json_object_get(object, "header");

    *ret = (struct etcd_header){
        .cluster_id = id_of(header, "cluster_id"),
        .member_id = id_of(header, "member_id"),
        .revision = number_of(header, "revision"),
        .raft_term = number_of(header, "raft_term"),
    };
}

static enum etcd_error_kind kind_of(const struct etcd_error *error)
{
    if (error->code == 16 || strstr(error->message, "invalid auth token") != NULL ||
        strstr(error->message, "user name is empty") != NULL ||
        strstr(error->message, "revision in header is old") != NULL) {
        return ETCD_ERROR_AUTH;
    }
    if (strstr(error->message, "authentication is not enabled") != NULL) {
        return ETCD_ERROR_AUTH_OFF;
    }
    if (strstr(error->message, "requested lease not found") != NULL) {
        return ETCD_ERROR_NO_LEASE;
    }
    /* A former primary lessor says so with code 2 or 9: another server knows better. */
    if (strstr(error->message, "not a primary lessor") != NULL) {
        return ETCD_ERROR_OTHER;
    }
    if (error->code > 0 && error->code < 32 && (DEFINITE_CODES & 1u << error->code) != 0) {
        return ETCD_ERROR_DEFINITE;
    }
    return ETCD_ERROR_OTHER;
}

enum etcd_error_kind etcd_wire_error(
    int status, const char *body, size_t length, struct etcd_error *ret)
{
    AUTO(json_decref) json_t *root = load(body, length, NULL);
    const json_t *error = json_object_get(root, "error");
    const json_t *source = json_is_object(error) ? error : root;

    *ret = (struct etcd_error){.kind = ETCD_ERROR_NONE};
    if (status == 200 && root != NULL && error == NULL) {
        return ETCD_ERROR_NONE;
    }
    ret->code = (int)(number_of(source, "code") & 0xff);
    if (ret->code == 0) {
        ret->code = (int)(number_of(source, "grpc_code") & 0xff);
    }
    copy_printable(ret->message, sizeof(ret->message), text_of(source, "message"));
    if (ret->message[0] == '\0' && json_is_string(error)) {
        copy_printable(ret->message, sizeof(ret->message), json_string_value(error));
    }
    if (root == NULL) {
        copy_line(ret->message, sizeof(ret->message), body, length);
    }
    if (ret->message[0] == '\0') {
        IGNORE(str_format(ret->message, sizeof(ret->message), "HTTP status %d", status), "it fits");
    }
    ret->kind = root == NULL && status == 404 ? ETCD_ERROR_NO_API : kind_of(ret);
    return ret->kind;
}

/* The key of KV below PREFIX, new; NULL for one that cannot be ours. */
static int read_key(const json_t *kv, const char *prefix, char **ret, struct err *e)
{
    AUTO_FREE char *whole = NULL;
    size_t length = 0;
    int r = etcd_wire_unbase64(text_of(kv, "key"), KEY_MAX, &whole, &length, e);

    *ret = NULL;
    if (r < 0) {
        return err_wrap(e, r, "read a key of the store");
    }
    if (strlen(whole) == length && str_starts(whole, prefix)) {
        *ret = mem_dup(whole + strlen(prefix));
    }
    return 0;
}

static int read_entry(const json_t *kv, const char *prefix, struct cache *cache, struct err *e)
{
    AUTO_FREE char *key = NULL;
    AUTO_FREE char *value = NULL;
    size_t length = 0;
    struct cache_entry entry = {
        .revision = number_of(kv, "mod_revision"), .lease = number_of(kv, "lease")};
    int r = read_key(kv, prefix, &key, e);

    if (r < 0 || key == NULL) {
        return r;
    }
    r = etcd_wire_unbase64(text_of(kv, "value"), DCS_VALUE_MAX, &value, &length, e);
    if (r < 0) {
        return err_wrap(e, r, "read key %s of the store", key);
    }
    entry.key = key;
    entry.value = value;
    if (!cache_put(cache, &entry)) {
        return FAIL(
            e, ERR_LIMIT, "more than %d keys below %s\nhint: remove what does not belong there",
            DCS_KEYS_MAX, prefix);
    }
    return 0;
}

/* The header of an answer that must have one. */
static int read_header(const json_t *root, struct etcd_header *ret, struct err *e)
{
    header_of(root, ret);
    return ret->revision > 0 && ret->cluster_id != 0
               ? 0
               : FAIL(e, ERR_CORRUPT, "the store's answer has no revision");
}

int etcd_wire_read_range(
    const char *body, size_t length, const char *prefix, struct cache *cache,
    struct etcd_header *ret, struct err *e)
{
    AUTO(json_decref) json_t *root = load(body, length, e);
    const json_t *kvs = json_object_get(root, "kvs");
    int r = root != NULL ? read_header(root, ret, e) : ERR_CORRUPT;

    ASSERT(cache->count == 0);
    for (size_t at = 0; r == 0 && at < json_array_size(kvs); at++) {
        r = read_entry(json_array_get(kvs, at), prefix, cache, e);
    }
    if (r == 0) {
        cache->revision = ret->revision;
    }
    return r;
}

int etcd_wire_read_header(const char *body, size_t length, struct etcd_header *ret, struct err *e)
{
    AUTO(json_decref) json_t *root = load(body, length, e);

    return root != NULL ? read_header(root, ret, e) : ERR_CORRUPT;
}

int etcd_wire_read_txn(
    const char *body, size_t length, bool *ret_succeeded, struct etcd_header *ret, struct err *e)
{
    AUTO(json_decref) json_t *root = load(body, length, e);
    int r = root != NULL ? read_header(root, ret, e) : ERR_CORRUPT;

    if (r == 0) {
        *ret_succeeded = json_is_true(json_object_get(root, "succeeded"));
    }
    return r;
}

int etcd_wire_read_lease(
    const char *body, size_t length, int64_t *ret_id, int64_t *ret_ttl_s, struct err *e)
{
    AUTO(json_decref) json_t *root = load(body, length, e);
    const json_t *result = json_object_get(root, "result");

    if (root == NULL) {
        return ERR_CORRUPT;
    }
    result = result != NULL ? result : root;
    *ret_id = number_of(result, "ID");
    *ret_ttl_s = number_of(result, "TTL");
    return *ret_id != 0 ? 0 : FAIL(e, ERR_CORRUPT, "the store's answer names no lease");
}

int etcd_wire_read_token(const char *body, size_t length, char *token, size_t size, struct err *e)
{
    AUTO(json_decref) json_t *root = load(body, length, e);
    const char *text = text_of(root, "token");

    if (root == NULL) {
        return ERR_CORRUPT;
    }
    for (const char *at = text; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~') {
            return FAIL(e, ERR_CORRUPT, "the store's token is not printable");
        }
    }
    if (*text == '\0' || !str_copy(token, size, text)) {
        return FAIL(e, ERR_CORRUPT, "the store's token is empty or too long");
    }
    return 0;
}

int etcd_wire_read_status(const char *body, size_t length, struct etcd_status *ret, struct err *e)
{
    AUTO(json_decref) json_t *root = load(body, length, e);

    if (root == NULL) {
        return ERR_CORRUPT;
    }
    header_of(root, &ret->header);
    if (ret->header.cluster_id == 0) {
        return FAIL(e, ERR_CORRUPT, "the store's answer names no cluster");
    }
    ret->leader_id = id_of(root, "leader");
    ret->has_leader = ret->leader_id != 0;
    ret->is_learner = json_is_true(json_object_get(root, "isLearner"));
    return 0;
}

static bool copy_first(char *buffer, size_t size, const json_t *list)
{
    const char *first = json_string_value(json_array_get(list, 0));

    return str_copy(buffer, size, first != NULL ? first : "");
}

int etcd_wire_read_members(const char *body, size_t length, struct etcd_members *ret, struct err *e)
{
    AUTO(json_decref) json_t *root = load(body, length, e);
    const json_t *list = json_object_get(root, "members");
    struct etcd_header header;

    if (root == NULL) {
        return ERR_CORRUPT;
    }
    header_of(root, &header);
    *ret = (struct etcd_members){.cluster_id = header.cluster_id};
    if (json_array_size(list) > ETCD_MEMBERS_MAX) {
        return FAIL(e, ERR_LIMIT, "the store has more than %d members", ETCD_MEMBERS_MAX);
    }
    for (size_t at = 0; at < json_array_size(list); at++) {
        const json_t *item = json_array_get(list, at);
        struct etcd_member *member = &ret->items[ret->count++];

        member->id = id_of(item, "ID");
        member->is_learner = json_is_true(json_object_get(item, "isLearner"));
        if (!str_copy(member->name, sizeof(member->name), text_of(item, "name")) ||
            !copy_first(
                member->peer_url, sizeof(member->peer_url), json_object_get(item, "peerURLs")) ||
            !copy_first(
                member->client_url, sizeof(member->client_url),
                json_object_get(item, "clientURLs"))) {
            return FAIL(e, ERR_LIMIT, "a member of the store has too long a name or address");
        }
    }
    return 0;
}

/* Watch. */

static int apply_event(const json_t *event, const char *prefix, struct cache *cache, struct err *e)
{
    const json_t *kv = json_object_get(event, "kv");
    AUTO_FREE char *key = NULL;
    int r = 0;

    if (!str_equal(text_of(event, "type"), "DELETE")) {
        return read_entry(kv, prefix, cache, e);
    }
    r = read_key(kv, prefix, &key, e);
    if (r < 0) {
        return r;
    }
    if (key != NULL) {
        IGNORE(cache_delete(cache, key), "it may have come and gone between two reads");
    }
    return 0;
}

static int apply_events(
    const json_t *events, const char *prefix, struct cache *cache, struct etcd_watch_answer *ret,
    struct err *e)
{
    for (size_t at = 0; at < json_array_size(events); at++) {
        const json_t *event = json_array_get(events, at);
        int64_t revision = number_of(json_object_get(event, "kv"), "mod_revision");
        int r = 0;

        ret->revision = MAX(ret->revision, revision);
        /* All events of one revision come in one message, so comparing with the state before it is
         * exact. */
        if (revision <= cache->revision) {
            continue;
        }
        r = apply_event(event, prefix, cache, e);
        if (r < 0) {
            return r;
        }
        ret->is_changed = true;
    }
    cache->revision = MAX(cache->revision, ret->revision);
    return 0;
}

int etcd_wire_read_watch(
    const char *line, size_t length, const char *prefix, struct cache *cache,
    struct etcd_watch_answer *ret, struct err *e)
{
    AUTO(json_decref) json_t *root = load(line, length, e);
    const json_t *result = json_object_get(root, "result");
    int64_t compacted = number_of(result, "compact_revision");

    *ret =
        (struct etcd_watch_answer){.is_created = json_is_true(json_object_get(result, "created"))};
    if (root == NULL) {
        return ERR_CORRUPT;
    }
    if (!json_is_object(result)) {
        struct etcd_error error;

        IGNORE(etcd_wire_error(500, line, length, &error), "only its text is needed");
        return FAIL(e, ERR_UNAVAILABLE, "the store ended the watch: %s", error.message);
    }
    header_of(result, &ret->header);
    /* A bad token shows as created and canceled in one message. */
    ret->is_canceled = json_is_true(json_object_get(result, "canceled")) || compacted != 0;
    if (ret->is_canceled) {
        copy_printable(ret->reason, sizeof(ret->reason), text_of(result, "cancel_reason"));
        if (compacted != 0) {
            IGNORE(
                str_format(
                    ret->reason, sizeof(ret->reason), "compacted up to revision %" PRId64,
                    compacted),
                "it fits");
        }
        return 0;
    }
    return apply_events(json_object_get(result, "events"), prefix, cache, ret, e);
}
