#include "api/operate.h"

#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "codec/codec.h"

#define BAD_REQUEST 400
#define PRECONDITION_FAILED 412
#define UNPROCESSABLE 422

/* The request as it came: texts are borrowed from the JSON, "" when missing. */
struct wish {
    const char *leader;
    const char *candidate;
    const char *scheduled_at;
};

/* A field must be a text or null; anything else is the caller's mistake. */
static bool is_text(const json_t *body, const char *key)
{
    const json_t *value = json_object_get(body, key);

    return value == NULL || json_is_null(value) || json_is_string(value);
}

static json_t *read_body(
    const struct api_request *request, struct wish *wish, struct api_reply *reply)
{
    static const char *const keys[] = {"leader", "candidate", "member", "scheduled_at"};
    json_auto_t *body = NULL;
    struct err e = {0};

    if (field_parse_object(request->body, "the request", &body, &e) < 0) {
        reply_text(reply, BAD_REQUEST, "%s", err_text(&e));
        return NULL;
    }
    if (json_object_size(body) == 0) {
        reply_text(reply, BAD_REQUEST, "the request is empty");
        return NULL;
    }
    for (size_t at = 0; at < ARRAY_LEN(keys); at++) {
        if (!is_text(body, keys[at])) {
            reply_text(reply, BAD_REQUEST, "%s must be a text", keys[at]);
            return NULL;
        }
    }
    wish->leader = field_peek(body, "leader");
    wish->candidate = field_peek(body, "candidate");
    if (wish->candidate[0] == '\0') {
        wish->candidate = field_peek(body, "member");
    }
    wish->scheduled_at = field_peek(body, "scheduled_at");
    return TAKE(body);
}

/* The time, or 0 with a reply. */
static int64_t parse_schedule(
    const struct api_request *request, const char *text, struct api_reply *reply)
{
    struct str with_zone AUTO_STR = STR_INIT(TIMESTAMP_SIZE * 2);
    int64_t real_ms = 0;

    if (parse_timestamp(text, &real_ms, NULL) < 0) {
        str_addf(&with_zone, "%sZ", text);
        if (parse_timestamp(str_text(&with_zone), &real_ms, NULL) == 0) {
            reply_text(
                reply, BAD_REQUEST,
                "Timezone information is mandatory for the scheduled switchover");
        } else {
            reply_text(
                reply, UNPROCESSABLE,
                "Unable to parse scheduled timestamp. "
                "It should be in an unambiguous format, e.g. ISO 8601");
        }
        return 0;
    }
    if (real_ms <= request->snapshot->real_ms) {
        reply_text(reply, UNPROCESSABLE, "Cannot schedule switchover in the past");
        return 0;
    }
    return real_ms;
}

/* What contradicts itself: a sentence for a 400, or NULL. */
static const char *find_contradiction(const struct wish *wish, bool is_failover, bool is_paused)
{
    if (is_failover && wish->candidate[0] == '\0') {
        return "Failover could be performed only to a specific candidate";
    }
    if (!is_failover && wish->leader[0] == '\0') {
        return "Switchover could be performed only from a specific leader";
    }
    if (wish->scheduled_at[0] != '\0' && is_failover) {
        return "Failover can't be scheduled";
    }
    if (wish->scheduled_at[0] != '\0' && is_paused) {
        return "Can't schedule switchover in the paused state";
    }
    return NULL;
}

/* What the members do not allow: a sentence for a 412, or NULL. Whether a candidate is any good,
 * the source knows. */
static const char *find_obstacle(const struct cluster *cluster, const struct wish *wish)
{
    if (wish->leader[0] != '\0' && !str_equal(wish->leader, cluster->leader)) {
        return "leader name does not match";
    }
    if (wish->candidate[0] != '\0') {
        return cluster_find(cluster, wish->candidate) == NULL ? "candidate does not exists" : NULL;
    }
    for (unsigned at = 0; at < cluster->member_count; at++) {
        const struct member *member = &cluster->members[at];

        if (!str_equal(member->name, cluster->leader) && member->api_url[0] != '\0') {
            return NULL;
        }
    }
    return "switchover is not possible: cluster does not have members except leader";
}

static bool copy_names(const struct wish *wish, struct failover_request *ret)
{
    return str_copy(ret->leader, sizeof(ret->leader), wish->leader) &&
           str_copy(ret->candidate, sizeof(ret->candidate), wish->candidate);
}

static void operate(const struct api_request *request, bool is_failover, struct api_reply *reply)
{
    const struct api_snapshot *snapshot = request->snapshot;
    bool is_paused = snapshot->cluster.settings.is_paused;
    struct failover_request wanted = {0};
    struct wish wish = {"", "", ""};
    json_auto_t *body = read_body(request, &wish, reply);
    const char *objection;

    if (body == NULL) {
        return;
    }
    objection = find_contradiction(&wish, is_failover, is_paused);
    if (objection == NULL && wish.scheduled_at[0] != '\0') {
        wanted.scheduled_real_ms = parse_schedule(request, wish.scheduled_at, reply);
        if (wanted.scheduled_real_ms == 0) {
            return;
        }
    }
    if (objection == NULL && is_paused && wish.candidate[0] == '\0') {
        objection = "Switchover is possible only to a specific candidate in a paused state";
    }
    /* A failover away from a named leader is a switchover, says Patroni. */
    if (wish.leader[0] != '\0') {
        is_failover = false;
    }
    if (objection == NULL && str_equal(wish.leader, wish.candidate)) {
        objection = "Switchover target and source are the same";
    }
    if (objection != NULL) {
        reply_text(reply, BAD_REQUEST, "%s", objection);
        return;
    }
    /* Names of a stale reading prove nothing; the source says that the store cannot be reached. */
    if (wanted.scheduled_real_ms == 0 && snapshot->dcs_ok) {
        objection = find_obstacle(&snapshot->cluster, &wish);
    }
    if (objection == NULL && !copy_names(&wish, &wanted)) {
        objection = "a name is longer than a member's can be";
    }
    if (objection != NULL) {
        reply_text(reply, PRECONDITION_FAILED, "%s", objection);
        return;
    }
    reply->is_handed = true;
    request->source->request(request->source->arg, &wanted, is_failover, request->call);
}

void operate_switchover(const struct api_request *request, struct api_reply *reply)
{
    operate(request, false, reply);
}

void operate_failover(const struct api_request *request, struct api_reply *reply)
{
    operate(request, true, reply);
}

static void change_store(
    const struct api_request *request, enum api_store_change what, const char *name,
    struct api_reply *reply)
{
    reply->is_handed = true;
    request->source->store_change(request->source->arg, what, name, request->call);
}

void operate_store_leave(const struct api_request *request, struct api_reply *reply)
{
    change_store(request, API_STORE_LEAVE, "", reply);
}

void operate_store_join(const struct api_request *request, struct api_reply *reply)
{
    change_store(request, API_STORE_JOIN, "", reply);
}

void operate_store_remove(const struct api_request *request, struct api_reply *reply)
{
    json_auto_t *body = NULL;
    struct err e = {0};

    if (field_parse_object(request->body, "the request", &body, &e) < 0) {
        reply_text(reply, BAD_REQUEST, "%s", err_text(&e));
        return;
    }
    if (field_peek(body, "member")[0] == '\0') {
        reply_text(reply, BAD_REQUEST, "member is missing: the name of a member of the store");
        return;
    }
    change_store(request, API_STORE_REMOVE, field_peek(body, "member"), reply);
}
