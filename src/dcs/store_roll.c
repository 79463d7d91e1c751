#include "dcs/store_roll.h"

#include <jansson.h>

#include "base/assert.h"
#include "base/mem.h"

#define LIST_MS 1000
#define STATUS_MS 1000
#define NAMES_MAX 512

AUTO_DEFINE(json_t, json_decref)

struct question {
    struct store_roll_call *call;
    unsigned at;
    struct http_request *request;
    int64_t raft_term;
    uint64_t leader_id;
};

struct store_roll_call {
    struct http *http;
    const struct http_tls *tls;
    unsigned via_count;
    unsigned via_at;
    char via[FORMATION_PEERS_MAX][ETCD_URL_SIZE];
    struct http_request *list;
    unsigned pending;
    struct question questions[ETCD_MEMBERS_MAX];
    struct store_roll roll;
    store_roll_done *done;
    void *arg;
};

static struct http_request *post(
    struct store_roll_call *call, const char *base, const char *path, int64_t timeout_ms,
    http_done *done, void *arg)
{
    char url[2 * ETCD_URL_SIZE];

    IGNORE(!str_format(url, sizeof(url), "%s%s", base, path), "it fits");
    return http_start(
        call->http,
        &(struct http_options){
            .method = "POST",
            .url = url,
            .body = "{}",
            .tls = call->tls,
            .content_type = "application/json",
            .timeout_ms = timeout_ms},
        done, arg);
}

static void finish(struct store_roll_call *call, int result, const char *why)
{
    struct store_roll *roll = &call->roll;
    int64_t newest = -1;

    /* A leader that was deposed and has not noticed is in an older term than the others. */
    for (unsigned at = 0; at < roll->count; at++) {
        const struct question *question = &call->questions[at];

        if (question->leader_id != 0 && question->raft_term > newest) {
            newest = question->raft_term;
            roll->leader_id = question->leader_id;
        }
    }
    call->done(call->arg, result, result < 0 ? NULL : roll, why);
    mem_free(call);
}

static void on_status(void *arg, const struct http_answer *answer)
{
    struct question *question = arg;
    struct store_roll_call *call = question->call;
    struct etcd_error error;
    struct etcd_status status;

    question->request = NULL;
    if (answer->result == 0 &&
        etcd_wire_error(answer->status, answer->body, answer->length, &error) == ETCD_ERROR_NONE &&
        etcd_wire_read_status(answer->body, answer->length, &status, NULL) == 0 &&
        status.header.cluster_id == call->roll.cluster_id &&
        status.header.member_id == call->roll.members[question->at].member.id) {
        call->roll.members[question->at].answers = true;
        question->raft_term = status.header.raft_term;
        question->leader_id = status.leader_id;
    }
    ASSERT(call->pending > 0);
    call->pending--;
    if (call->pending == 0) {
        finish(call, 0, "");
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct etcd_member *)a)->name, ((const struct etcd_member *)b)->name);
}

static void ask_all(struct store_roll_call *call, struct etcd_members *members)
{
    qsort(members->items, members->count, sizeof(members->items[0]), compare_names);
    call->roll.cluster_id = members->cluster_id;
    call->roll.count = members->count;
    for (unsigned at = 0; at < members->count; at++) {
        call->roll.members[at].member = members->items[at];
        /* "": it was added and has never started. */
        call->pending += members->items[at].client_url[0] != '\0';
    }
    for (unsigned at = 0; at < members->count; at++) {
        struct question *question = &call->questions[at];

        question->call = call;
        question->at = at;
        if (members->items[at].client_url[0] != '\0') {
            question->request = post(
                call, members->items[at].client_url, "/v3/maintenance/status", STATUS_MS, on_status,
                question);
        }
    }
    if (call->pending == 0) {
        finish(call, 0, "");
    }
}

int store_read_members(const struct http_answer *answer, struct etcd_members *ret, struct err *e)
{
    struct etcd_error error;

    if (answer->result < 0) {
        return FAIL(e, answer->result, "%s", answer->why);
    }
    if (etcd_wire_error(answer->status, answer->body, answer->length, &error) != ETCD_ERROR_NONE) {
        return FAIL(e, ERR_UNAVAILABLE, "%s", error.message);
    }
    return etcd_wire_read_members(answer->body, answer->length, ret, e);
}

static void on_list(void *arg, const struct http_answer *answer)
{
    struct store_roll_call *call = arg;
    struct etcd_members members;
    struct err e = {0};
    int r = store_read_members(answer, &members, &e);

    call->list = NULL;
    if (r == 0) {
        ask_all(call, &members);
        return;
    }
    call->via_at++;
    if (call->via_at < call->via_count) {
        call->list =
            post(call, call->via[call->via_at], "/v3/cluster/member/list", LIST_MS, on_list, call);
        return;
    }
    IGNORE(err_wrap(&e, r, "%s", call->via[call->via_at - 1]), "it is told");
    finish(call, ERR_UNAVAILABLE, err_text(&e));
}

struct store_roll_call *store_roll_call(
    struct http *http, const struct http_tls *tls, char (*via)[ETCD_URL_SIZE], unsigned via_count,
    store_roll_done *done, void *arg)
{
    struct store_roll_call *call = mem_alloc(sizeof(*call));

    ASSERT(via_count >= 1);
    ASSERT(via_count <= FORMATION_PEERS_MAX);
    call->http = http;
    call->tls = tls;
    call->via_count = via_count;
    memcpy(call->via, via, via_count * sizeof(call->via[0]));
    call->done = done;
    call->arg = arg;
    call->list = post(call, call->via[0], "/v3/cluster/member/list", LIST_MS, on_list, call);
    return call;
}

void store_roll_call_free(struct store_roll_call *call)
{
    if (call == NULL) {
        return;
    }
    http_cancel(call->list);
    for (unsigned at = 0; at < ETCD_MEMBERS_MAX; at++) {
        http_cancel(call->questions[at].request);
    }
    mem_free(call);
}

/* What follows from it. Pure. */

void store_roll_name(const struct etcd_member *member, char *buffer)
{
    bool is_whole = member->name[0] != '\0'
                        ? str_copy(buffer, ROLL_NAME_SIZE, member->name)
                        : str_format(buffer, ROLL_NAME_SIZE, "id%" PRIx64, member->id);

    ASSERT(is_whole);
}

const struct roll_member *store_roll_find(const struct store_roll *roll, const char *name)
{
    for (unsigned at = 0; at < roll->count; at++) {
        char own[ROLL_NAME_SIZE];

        store_roll_name(&roll->members[at].member, own);
        if (str_equal(own, name)) {
            return &roll->members[at];
        }
    }
    return NULL;
}

const struct roll_member *store_roll_at(const struct store_roll *roll, const char *peer_url)
{
    for (unsigned at = 0; at < roll->count; at++) {
        if (str_equal(roll->members[at].member.peer_url, peer_url)) {
            return &roll->members[at];
        }
    }
    return NULL;
}

/* Names of the voters that do not answer, but EXCEPT. */
static void list_silent(
    const struct store_roll *roll, const struct roll_member *except, struct str *out)
{
    for (unsigned at = 0; at < roll->count; at++) {
        const struct roll_member *one = &roll->members[at];
        char name[ROLL_NAME_SIZE];

        if (one != except && !one->answers && !one->member.is_learner) {
            store_roll_name(&one->member, name);
            str_addf(out, "%s%s", out->length > 0 ? ", " : "", name);
        }
    }
}

int store_roll_check_removal(
    const struct store_roll *roll, const struct roll_member *member, struct err *e)
{
    AUTO_STR struct str silent = STR_INIT(NAMES_MAX);
    char name[ROLL_NAME_SIZE];
    unsigned voters = 0;
    unsigned answering = 0;

    store_roll_name(&member->member, name);
    for (unsigned at = 0; at < roll->count; at++) {
        const struct roll_member *one = &roll->members[at];

        if (one != member && !one->member.is_learner) {
            voters++;
            answering += one->answers;
        }
    }
    list_silent(roll, member, &silent);
    if (voters == 0 && !member->member.is_learner) {
        return FAIL(
            e, ERR_CONFLICT,
            "%s is the only voting member of the store: with it everything in the store would be "
            "gone\nhint: let another member join first",
            name);
    }
    if (roll->leader_id == 0) {
        return FAIL(
            e, ERR_UNAVAILABLE,
            "the store has no leader, so its members cannot be changed\nhint: start the members "
            "that do not answer: %s",
            silent.length > 0 ? str_text(&silent) : name);
    }
    if (answering < voters / 2 + 1) {
        return FAIL(
            e, ERR_CONFLICT,
            "without %s only %u of the %u voting members left would answer, and the store would "
            "lose its quorum\nhint: start or remove first: %s",
            name, answering, voters, str_text(&silent));
    }
    return 0;
}

uint64_t store_roll_heir(const struct store_roll *roll, const struct roll_member *member)
{
    for (unsigned at = 0; at < roll->count; at++) {
        const struct roll_member *one = &roll->members[at];

        if (one != member && one->answers && !one->member.is_learner) {
            return one->member.id;
        }
    }
    return 0;
}

/* Whether an agent has told of the member at PEER_URL: that it is one, or, unless the member itself
 * ANSWERS and has a leader, that it is none (any more). Only an agent that cannot be reached is
 * stood in for by what was known before. */
static bool is_told(
    const struct formation_peer *peers, unsigned count, const char *peer_url, bool answers)
{
    for (unsigned at = 0; at < count; at++) {
        enum store_state state = peers[at].answer.state;

        if (str_equal(peers[at].answer.peer_url, peer_url) &&
            (state == STORE_MEMBER || (state != STORE_UNREACHABLE && !answers))) {
            return true;
        }
    }
    return false;
}

unsigned store_roll_add_peers(
    const struct store_roll *roll, const struct formation_self *self, struct formation_peer *peers,
    unsigned count, unsigned max)
{
    unsigned asked = count;

    for (unsigned at = 0; at < roll->count && count < max; at++) {
        const struct roll_member *one = &roll->members[at];
        struct formation_peer *peer = &peers[count];
        bool has_leader = one->answers && roll->leader_id != 0 && !one->member.is_learner;
        bool is_whole = true;

        if (one->member.client_url[0] == '\0' || str_equal(one->member.peer_url, self->peer_url) ||
            is_told(peers, asked, one->member.peer_url, has_leader)) {
            continue;
        }
        *peer =
            (struct formation_peer){.answer = {.state = STORE_MEMBER, .has_leader = has_leader}};
        store_roll_name(&one->member, peer->answer.name);
        is_whole &= str_copy(peer->address, sizeof(peer->address), one->member.client_url);
        is_whole &=
            str_copy(peer->answer.peer_url, sizeof(peer->answer.peer_url), one->member.peer_url);
        is_whole &= str_copy(
            peer->answer.client_url, sizeof(peer->answer.client_url), one->member.client_url);
        is_whole &= str_format(
            peer->answer.cluster_id, sizeof(peer->answer.cluster_id), "%" PRIx64, roll->cluster_id);
        ASSERT(is_whole);
        count++;
    }
    return count;
}

static const char *state_of(const struct store_roll *roll, const struct roll_member *one)
{
    if (!one->answers) {
        return "does not answer";
    }
    if (one->member.is_learner) {
        return "learner";
    }
    return one->member.id == roll->leader_id ? "leader" : "voter";
}

static int add_piece(const char *piece, size_t length, void *out)
{
    str_add_length(out, piece, length);
    return 0;
}

char *store_roll_encode(const struct store_roll *roll)
{
    AUTO_STR struct str out = STR_INIT(65536);
    AUTO(json_decref) json_t *root = json_object();
    json_t *list = json_array();
    char text[24];

    IGNORE(!str_format(text, sizeof(text), "%" PRIx64, roll->cluster_id), "it fits");
    IGNORE(json_object_set_new(root, "cluster_id", json_string(text)), "texts are valid");
    for (unsigned at = 0; at < roll->count; at++) {
        const struct roll_member *one = &roll->members[at];
        char name[ROLL_NAME_SIZE];

        store_roll_name(&one->member, name);
        IGNORE(!str_format(text, sizeof(text), "%" PRIx64, one->member.id), "it fits");
        IGNORE(
            json_array_append_new(
                list, json_pack(
                          "{s:s, s:s, s:s, s:s, s:s}", "name", name, "id", text, "client_url",
                          one->member.client_url, "peer_url", one->member.peer_url, "state",
                          state_of(roll, one))),
            "texts are valid");
    }
    IGNORE(json_object_set_new(root, "members", list), "it is a list");
    IGNORE(json_dump_callback(root, add_piece, &out, JSON_COMPACT), "nothing can fail");
    return str_take(&out);
}
