#include "dcs/formation.h"

#include <jansson.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/codec.h"

AUTO_DEFINE(json_t, json_decref)

static const char *const state_names[] = {
    [STORE_UNREACHABLE] = "unreachable", [STORE_NEW] = "new",   [STORE_FORMING] = "forming",
    [STORE_MEMBER] = "member",           [STORE_LEFT] = "left",
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    /* FNV-1a, the terminator included so that "ab" "c" differs from "a" "bc". */
    do {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    } while (*text++ != '\0');
    return hash;
}

void formation_hash(
    const char *scope, const char *const *addresses, unsigned count, char *ret, size_t size)
{
    const char *sorted[FORMATION_PEERS_MAX] = {NULL};
    uint64_t hash = hash_text(UINT64_C(14695981039346656037), scope);
    bool is_whole = false;

    ASSERT(count <= FORMATION_PEERS_MAX);
    memcpy(sorted, addresses, count * sizeof(*addresses));
    qsort(sorted, count, sizeof(*sorted), compare_texts);
    for (unsigned at = 0; at < count; at++) {
        hash = hash_text(hash, sorted[at]);
    }
    is_whole = str_format(ret, size, "%016" PRIx64, hash);
    ASSERT(is_whole);
}

static void wait(struct formation_plan *plan, const char *what, const char *whom)
{
    plan->step = FORMATION_WAIT;
    IGNORE(!str_format(plan->why, sizeof(plan->why), "%s%s", what, whom), "for people");
}

static bool is_self(const struct formation_self *self, const struct store_answer *answer)
{
    return str_equal(answer->name, self->name) && str_equal(answer->peer_url, self->peer_url);
}

/* Whether TEXT (n1=http://...,n2=...) contains this node. */
static bool names_self(const char *text, const struct formation_self *self)
{
    char pair[ETCD_NAME_SIZE + ETCD_URL_SIZE + 2];
    size_t length = 0;

    IGNORE(!str_format(pair, sizeof(pair), "%s=%s", self->name, self->peer_url), "it fits");
    length = strlen(pair);
    for (const char *at = strstr(text, pair); at != NULL; at = strstr(at + 1, pair)) {
        if ((at == text || at[-1] == ',') && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Complaints about peers that no wait will mend; true: PLAN says so. */
static bool has_clash(
    const struct formation_self *self, const struct formation_peer *peers, unsigned count,
    struct formation_plan *plan)
{
    for (unsigned at = 0; at < count; at++) {
        const struct store_answer *answer = &peers[at].answer;

        if (answer->state == STORE_UNREACHABLE || is_self(self, answer)) {
            continue;
        }
        if (str_equal(answer->name, self->name)) {
            wait(plan, "another node has this node's name: ", peers[at].address);
            return true;
        }
        if (str_equal(answer->peer_url, self->peer_url)) {
            wait(plan, "another node has this node's store address: ", peers[at].address);
            return true;
        }
    }
    return false;
}

/* The members with a leader, if they are of one cluster. True: PLAN is made. */
static bool plan_join(
    const struct formation_self *self, const struct formation_peer *peers, unsigned count,
    struct formation_plan *plan)
{
    const char *cluster_id = NULL;

    for (unsigned at = 0; at < count; at++) {
        const struct store_answer *answer = &peers[at].answer;

        if (answer->state != STORE_MEMBER || !answer->has_leader || is_self(self, answer)) {
            continue;
        }
        if (cluster_id != NULL && !str_equal(cluster_id, answer->cluster_id)) {
            wait(plan, "the peers belong to different stores; one of them is ", peers[at].address);
            return true;
        }
        cluster_id = answer->cluster_id;
        plan->step = FORMATION_JOIN;
        IGNORE(
            !str_copy(plan->via[plan->via_count++], ETCD_URL_SIZE, answer->client_url),
            "same size");
        IGNORE(
            !str_format(plan->why, sizeof(plan->why), "joining the store of %s", peers[at].address),
            "for people");
    }
    return cluster_id != NULL;
}

/* All others must be new, or form a cluster that contains this node. True: PLAN says who is in the
 * way. */
static bool is_blocked(
    const struct formation_self *self, const struct formation_peer *peers, unsigned count,
    struct formation_plan *plan)
{
    for (unsigned at = 0; at < count; at++) {
        const struct store_answer *answer = &peers[at].answer;
        const char *address = peers[at].address;

        if (is_self(self, answer)) {
            continue;
        }
        switch (answer->state) {
        case STORE_UNREACHABLE:
            wait(plan, "waiting for the agent at ", address);
            return true;
        case STORE_MEMBER:
            wait(plan, "waiting for the store to get a leader; a member is at ", address);
            return true;
        case STORE_LEFT:
            wait(plan, "a node that has left the store is still listed as a peer: ", address);
            return true;
        case STORE_FORMING:
            if (!names_self(answer->initial_cluster, self)) {
                wait(plan, "waiting for the store to form without this node, at ", address);
                return true;
            }
            break;
        case STORE_NEW:
            if (!str_equal(answer->list, self->list)) {
                wait(plan, "this agent and another do not list the same peers or scope: ", address);
                return true;
            }
            break;
        }
    }
    return false;
}

/* Take over the cluster that a peer has begun to form. False: none has. */
static bool take_forming(
    const struct formation_peer *peers, unsigned count, struct formation_plan *plan)
{
    for (unsigned at = 0; at < count; at++) {
        const struct store_answer *answer = &peers[at].answer;

        if (answer->state != STORE_FORMING) {
            continue;
        }
        if (plan->step == FORMATION_BOOTSTRAP &&
            !str_equal(plan->initial_cluster, answer->initial_cluster)) {
            wait(plan, "two peers form different stores; one of them is ", peers[at].address);
            return true;
        }
        plan->step = FORMATION_BOOTSTRAP;
        IGNORE(!str_copy(plan->token, sizeof(plan->token), answer->token), "same size");
        IGNORE(
            !str_copy(
                plan->initial_cluster, sizeof(plan->initial_cluster), answer->initial_cluster),
            "same size");
    }
    return plan->step == FORMATION_BOOTSTRAP;
}

/* All are new: the same text at every node, because it is sorted. */
static void compose_cluster(
    const struct formation_self *self, const struct formation_peer *peers, unsigned count,
    struct formation_plan *plan)
{
    char pairs[FORMATION_PEERS_MAX + 1][ETCD_NAME_SIZE + ETCD_URL_SIZE + 2];
    const char *sorted[FORMATION_PEERS_MAX + 1];
    AUTO_STR struct str text = STR_INIT(FORMATION_CLUSTER_SIZE);
    unsigned used = 0;
    bool is_whole = str_format(pairs[0], sizeof(pairs[0]), "%s=%s", self->name, self->peer_url);

    sorted[used++] = pairs[0];
    for (unsigned at = 0; at < count; at++) {
        const struct store_answer *answer = &peers[at].answer;

        if (!is_self(self, answer)) {
            is_whole &=
                str_format(pairs[used], sizeof(pairs[0]), "%s=%s", answer->name, answer->peer_url);
            sorted[used] = pairs[used];
            used++;
        }
    }
    ASSERT(is_whole);
    qsort(sorted, used, sizeof(*sorted), compare_texts);
    for (unsigned at = 0; at < used; at++) {
        str_addf(&text, "%s%s", at > 0 ? "," : "", sorted[at]);
    }
    plan->step = FORMATION_BOOTSTRAP;
    IGNORE(
        !str_copy(plan->initial_cluster, sizeof(plan->initial_cluster), str_text(&text)),
        "same size");
    IGNORE(!str_format(plan->token, sizeof(plan->token), "baton-%s", self->list), "it fits");
}

void formation_decide(
    const struct formation_self *self, const struct formation_peer *peers, unsigned count,
    struct formation_plan *plan)
{
    ASSERT(count <= FORMATION_PEERS_MAX);
    *plan = (struct formation_plan){.step = FORMATION_WAIT};
    if (self->has_data) {
        plan->step = FORMATION_START;
        IGNORE(!str_copy(plan->why, sizeof(plan->why), "starting with existing data"), "it fits");
        return;
    }
    if (has_clash(self, peers, count, plan) || plan_join(self, peers, count, plan) ||
        is_blocked(self, peers, count, plan)) {
        return;
    }
    if (!take_forming(peers, count, plan)) {
        compose_cluster(self, peers, count, plan);
    }
    if (plan->step == FORMATION_BOOTSTRAP) {
        IGNORE(!str_copy(plan->why, sizeof(plan->why), "forming the store"), "it fits");
    }
}

enum formation_entry formation_enter(
    const struct formation_self *self, const struct etcd_members *members, uint64_t *ret_id)
{
    for (unsigned at = 0; at < members->count; at++) {
        const struct etcd_member *member = &members->items[at];

        if (str_equal(member->peer_url, self->peer_url)) {
            *ret_id = member->id;
            return FORMATION_REMOVE;
        }
    }
    for (unsigned at = 0; at < members->count; at++) {
        const struct etcd_member *member = &members->items[at];

        if (str_equal(member->name, self->name)) {
            *ret_id = member->id;
            /* Once started, it may be the only one that has some entry: that needs somebody who
             * knows. */
            return member->client_url[0] == '\0' ? FORMATION_REMOVE : FORMATION_OCCUPIED;
        }
    }
    return FORMATION_ADD;
}

bool formation_cluster(
    const struct formation_self *self, const struct etcd_members *members, char *ret, size_t size)
{
    AUTO_STR struct str text = STR_INIT(FORMATION_CLUSTER_SIZE);
    bool has_self = false;

    for (unsigned at = 0; at < members->count; at++) {
        const struct etcd_member *member = &members->items[at];

        str_add(&text, at > 0 ? "," : "");
        if (str_equal(member->peer_url, self->peer_url)) {
            has_self = true;
            str_addf(&text, "%s=%s", self->name, self->peer_url);
        } else if (member->name[0] != '\0') {
            str_addf(&text, "%s=%s", member->name, member->peer_url);
        } else {
            /* Not started yet, so without a name; etcd compares addresses only. */
            str_addf(&text, "id%" PRIx64 "=%s", member->id, member->peer_url);
        }
    }
    return has_self && !text.is_cut && str_copy(ret, size, str_text(&text));
}

static int add_piece(const char *piece, size_t length, void *out)
{
    str_add_length(out, piece, length);
    return 0;
}

char *formation_encode(const struct store_answer *answer)
{
    AUTO_STR struct str out = STR_INIT(65536);
    AUTO(json_decref)
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "state", state_names[answer->state], "name",
        answer->name, "peer_url", answer->peer_url, "client_url", answer->client_url, "cluster_id",
        answer->cluster_id, "list", answer->list, "has_leader", (int)answer->has_leader);

    ASSERT(root != NULL);
    field_set_text(root, "status", answer->status);
    if (answer->state == STORE_FORMING) {
        IGNORE(json_object_set_new(root, "token", json_string(answer->token)), "texts are valid");
        IGNORE(
            json_object_set_new(root, "initial_cluster", json_string(answer->initial_cluster)),
            "texts are valid");
    }
    IGNORE(json_dump_callback(root, add_piece, &out, JSON_COMPACT), "nothing can fail");
    return str_take(&out);
}

static bool copy_text(const json_t *root, const char *name, char *buffer, size_t size)
{
    const char *text = json_string_value(json_object_get(root, name));

    return str_copy(buffer, size, text != NULL ? text : "");
}

bool formation_is_plain(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~' || *text == ',' || *text == '=') {
            return false;
        }
    }
    return true;
}

static bool is_url(const char *text)
{
    return formation_is_plain(text) &&
           (str_starts(text, "http://") || str_starts(text, "https://"));
}

int formation_decode(const char *json, size_t length, struct store_answer *ret, struct err *e)
{
    AUTO(json_decref) json_t *root = json_loadb(json, length, JSON_REJECT_DUPLICATES, NULL);
    struct store_answer answer = {.state = STORE_UNREACHABLE};
    const char *state = json_string_value(json_object_get(root, "state"));
    bool is_whole = true;

    for (size_t at = STORE_NEW; at < ARRAY_LEN(state_names); at++) {
        if (str_equal(state, state_names[at])) {
            answer.state = (enum store_state)at;
        }
    }
    is_whole &= copy_text(root, "name", answer.name, sizeof(answer.name));
    is_whole &= copy_text(root, "peer_url", answer.peer_url, sizeof(answer.peer_url));
    is_whole &= copy_text(root, "client_url", answer.client_url, sizeof(answer.client_url));
    is_whole &= copy_text(root, "cluster_id", answer.cluster_id, sizeof(answer.cluster_id));
    is_whole &= copy_text(root, "list", answer.list, sizeof(answer.list));
    is_whole &= copy_text(root, "token", answer.token, sizeof(answer.token));
    is_whole &=
        copy_text(root, "initial_cluster", answer.initial_cluster, sizeof(answer.initial_cluster));
    field_cut(root, "status", answer.status, sizeof(answer.status));
    answer.has_leader = json_is_true(json_object_get(root, "has_leader"));
    if (answer.state == STORE_UNREACHABLE || !is_whole || answer.name[0] == '\0' ||
        !formation_is_plain(answer.name) || !formation_is_plain(answer.token) ||
        !is_url(answer.peer_url) || !is_url(answer.client_url)) {
        return FAIL(e, ERR_CORRUPT, "the answer about the store is not of the expected form");
    }
    *ret = answer;
    return 0;
}

/* The first row whose words are in the output decides: a full disk also damages what is being
 * written, so the place comes first. Measured with etcd 3.4.23: garbage in the WAL, a truncated or
 * zeroed database. */
static const struct {
    const char *words;
    enum formation_end end;
    const char *why;
} ends[] = {
    {"permanently removed", END_REMOVED, "it was removed from the store"},
    {"no space left on device", END_PLACE, "no space is left for its data"},
    {"address already in use", END_PLACE,
     "its port is in use\nhint: another etcd may run here: systemctl disable --now etcd"},
    {"cannot assign requested address", END_PLACE, "its listen address is not of this host"},
    {"permission denied", END_PLACE, "it may not use its data directory"},
    {"read-only file system", END_PLACE, "its file system is read-only"},
    {"too many open files", END_PLACE, "it may not open enough files"},
    {"cannot allocate memory", END_PLACE, "there is no memory for it"},
    {"input/output error", END_PLACE, "its disk has errors"},
    {"member count is unequal", END_OTHER, "its list of members is not the store's"},
    {"Was the raft log corrupted", END_DAMAGED, "its log lost entries"},
    {"\"wal: ", END_DAMAGED, "its log is damaged"},
    {"crc mismatch", END_DAMAGED, "its data is damaged"},
    {"snap: ", END_DAMAGED, "its snapshot is damaged"},
    {"failed to recover", END_DAMAGED, "its data is damaged"},
    {"failed to find database snapshot", END_DAMAGED, "its data is damaged"},
    {"invalid database", END_DAMAGED, "its database is damaged"},
    {"checksum error", END_DAMAGED, "its database is damaged"},
    {"go.etcd.io/bbolt", END_DAMAGED, "its database is damaged"},
};

enum formation_end formation_end_of(const char *output, char *why, size_t size)
{
    for (size_t at = 0; at < ARRAY_LEN(ends); at++) {
        if (strstr(output, ends[at].words) != NULL) {
            IGNORE(!str_copy(why, size, ends[at].why), "for people");
            return ends[at].end;
        }
    }
    IGNORE(!str_copy(why, size, ""), "it fits");
    return END_OTHER;
}
