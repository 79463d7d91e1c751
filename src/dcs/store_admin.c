#include "dcs/store_admin.h"

#include "base/assert.h"
#include "base/mem.h"
#include "dcs/store_roll.h"
#include "io/clock.h"

/* A change of members is committed by the others; a slow disk may need some time. */
#define REQUEST_MS 3000
#define REMOVALS_MAX 3
/* An election of etcd's takes a second or two, and it wants members connected for five. */
#define AGAIN_MS 1000
#define AGAIN_WITHIN_MS 6000

enum errand {
    ERRAND_ENTER,
    ERRAND_PROMOTE,
    ERRAND_LEAVE,
    ERRAND_REMOVE,
};

struct store_admin {
    struct http *http;
    const struct http_tls *tls;
    struct formation_self self;
    unsigned via_count;
    unsigned via_at;
    char via[FORMATION_PEERS_MAX][ETCD_URL_SIZE];
    enum errand errand;
    char name[ROLL_NAME_SIZE]; /* of REMOVE */
    uint64_t leaving;
    unsigned removals;
    bool is_asked; /* a removal was asked for: not to be a member any more is what it was for */
    bool is_again;
    struct instant since; /* all were asked once */
    struct loop_timer *again;
    struct store_roll_call *roll_call;
    struct http_request *request;
    store_admin_done *done;
    void *arg;
    bool is_answer; /* WHY is what a member said, not that one was silent */
    char why[512];
};

/* The end of ADMIN: nothing may be done with it afterwards. */
static void finish(struct store_admin *admin, int result, const char *initial_cluster)
{
    admin->done(admin->arg, result, initial_cluster, result < 0 ? admin->why : "");
    loop_timer_free(admin->again);
    mem_free(admin);
}

/* That a member is silent says less than what another one has answered. */
static void set_why(struct store_admin *admin, bool is_answer, const char *why)
{
    if (is_answer || !admin->is_answer) {
        admin->is_answer = is_answer;
        IGNORE(!str_copy(admin->why, sizeof(admin->why), why), "cut is fine");
    }
}

static void fail(struct store_admin *admin, int result, const char *why)
{
    set_why(admin, true, why);
    finish(admin, result, "");
}

static void post(
    struct store_admin *admin, const char *base, const char *path, char *body, http_done *done)
{
    AUTO_FREE char *owned = body;
    char url[2 * ETCD_URL_SIZE];

    IGNORE(!str_format(url, sizeof(url), "%s/v3/%s", base, path), "it fits");
    admin->request = http_start(
        admin->http,
        &(struct http_options){
            .method = "POST",
            .url = url,
            .body = owned,
            .tls = admin->tls,
            .content_type = "application/json",
            .timeout_ms = REQUEST_MS},
        done, admin);
}

static void start(struct store_admin *admin, const char *path, char *body, http_done *done)
{
    post(admin, admin->via[admin->via_at], path, body, done);
}

static void on_list(void *arg, const struct http_answer *answer);
static void call_roll(struct store_admin *admin);

static void begin_at(struct store_admin *admin)
{
    if (admin->errand == ERRAND_LEAVE || admin->errand == ERRAND_REMOVE) {
        call_roll(admin);
    } else {
        start(admin, "cluster/member/list", mem_dup("{}"), on_list);
    }
}

/* All were asked. Then the errand has failed, but for a removal: that one did not succeed does not
 * say that it was not done, nor that it will not be. Etcd forgets what was on its way to a leader
 * that died, and a member that hears of its own removal from the others stops before it has
 * answered. Then all are asked again after a while, who know more by then. */
static void end_round(struct store_admin *admin, int result)
{
    if (!admin->is_again) {
        admin->is_again = true;
        admin->since = clock_now();
    }
    if (admin->is_asked && instant_elapsed_min_ms(admin->since, clock_now()) < AGAIN_WITHIN_MS) {
        loop_timer_start(admin->again, AGAIN_MS);
        return;
    }
    finish(admin, result, "");
}

static void on_again(void *arg)
{
    struct store_admin *admin = arg;

    admin->via_at = 0;
    begin_at(admin);
}

/* Ask the next member from the start. */
static void try_next(struct store_admin *admin)
{
    admin->via_at++;
    if (admin->via_at < admin->via_count) {
        begin_at(admin);
    } else {
        end_round(admin, ERR_UNAVAILABLE);
    }
}

/* What to do about a refusal of etcd's. */
static const char *hint_for(const char *problem)
{
    if (strstr(problem, "unhealthy cluster") != NULL) {
        return "\nhint: etcd wants all members connected for five seconds: try again";
    }
    if (strstr(problem, "too many learner members") != NULL) {
        return "\nhint: another new member must have caught up first; 'baton store' shows it, and "
               "one that is gone for good can be taken out";
    }
    return "";
}

/* Read ANSWER into MEMBERS; false: it was a failure, which is dealt with. */
static bool read_members(
    struct store_admin *admin, const struct http_answer *answer, struct etcd_members *members)
{
    char why[sizeof(admin->why)];
    struct err e = {0};

    admin->request = NULL;
    if (store_read_members(answer, members, &e) == 0) {
        return true;
    }
    IGNORE(
        !str_format(
            why, sizeof(why), "%s: %s%s", admin->via[admin->via_at], err_text(&e),
            hint_for(err_text(&e))),
        "cut is fine");
    set_why(admin, answer->result == 0, why);
    try_next(admin);
    return false;
}

static void on_removed(void *arg, const struct http_answer *answer)
{
    struct store_admin *admin = arg;
    struct etcd_members members;

    if (!read_members(admin, answer, &members)) {
        return;
    }
    if (admin->errand != ERRAND_ENTER) {
        finish(admin, 0, "");
    } else {
        start(admin, "cluster/member/list", mem_dup("{}"), on_list);
    }
}

static void on_added(void *arg, const struct http_answer *answer)
{
    struct store_admin *admin = arg;
    struct etcd_members members;
    char cluster[FORMATION_CLUSTER_SIZE];

    if (!read_members(admin, answer, &members)) {
        return;
    }
    if (!formation_cluster(&admin->self, &members, cluster, sizeof(cluster))) {
        fail(admin, ERR_LIMIT, "the store's list of members is too long");
        return;
    }
    finish(admin, 0, cluster);
}

static void take_out(struct store_admin *admin)
{
    admin->is_asked = true;
    start(admin, "cluster/member/remove", etcd_wire_id(admin->leaving), on_removed);
}

static void on_handed_over(void *arg, const struct http_answer *answer)
{
    struct store_admin *admin = arg;

    /* Without it an election follows: slower, not wrong. */
    (void)answer;
    admin->request = NULL;
    take_out(admin);
}

static void on_roll(void *arg, int result, const struct store_roll *roll, const char *why)
{
    struct store_admin *admin = arg;
    const struct roll_member *member;
    struct err e = {0};
    int r = result;

    admin->roll_call = NULL;
    if (r < 0) {
        set_why(admin, false, why);
        end_round(admin, r);
        return;
    }
    member = admin->errand == ERRAND_LEAVE ? store_roll_at(roll, admin->self.peer_url)
                                           : store_roll_find(roll, admin->name);
    if (member == NULL && (admin->errand == ERRAND_LEAVE || admin->is_asked)) {
        finish(admin, 0, "");
        return;
    }
    r = member == NULL ? FAIL(&e, ERR_NOT_FOUND, "the store has no member '%s'", admin->name)
                       : store_roll_check_removal(roll, member, &e);
    if (r == ERR_UNAVAILABLE) {
        set_why(admin, true, err_text(&e));
        end_round(admin, r);
        return;
    }
    if (r < 0) {
        fail(admin, r, err_text(&e));
        return;
    }
    admin->leaving = member->member.id;
    if (roll->leader_id == admin->leaving && member->answers &&
        store_roll_heir(roll, member) != 0) {
        post(
            admin, member->member.client_url, "maintenance/transfer-leadership",
            etcd_wire_target(store_roll_heir(roll, member)), on_handed_over);
        return;
    }
    take_out(admin);
}

static void call_roll(struct store_admin *admin)
{
    /* From the member that is asked for changes, too: those before it did not answer. */
    admin->roll_call = store_roll_call(
        admin->http, admin->tls, &admin->via[admin->via_at], admin->via_count - admin->via_at,
        on_roll, admin);
}

static void enter(struct store_admin *admin, const struct etcd_members *members)
{
    char why[sizeof(admin->why)];
    uint64_t id = 0;

    switch (formation_enter(&admin->self, members, &id)) {
    case FORMATION_ADD:
        start(admin, "cluster/member/add", etcd_wire_member_add(admin->self.peer_url), on_added);
        return;
    case FORMATION_REMOVE:
        /* A member that answers with an old list would have us remove the same one for ever. */
        if (admin->removals++ < REMOVALS_MAX) {
            start(admin, "cluster/member/remove", etcd_wire_id(id), on_removed);
            return;
        }
        set_why(admin, true, "a former member of this node is not going away");
        try_next(admin);
        return;
    case FORMATION_OCCUPIED:
        IGNORE(
            !str_format(
                why, sizeof(why),
                "the store has a member called %s with another address\nhint: if that was this "
                "node, take it out: baton store remove %s",
                admin->self.name, admin->self.name),
            "it fits");
        fail(admin, ERR_CONFLICT, why);
        return;
    }
}

static void on_promoted(void *arg, const struct http_answer *answer)
{
    struct store_admin *admin = arg;
    struct etcd_members members;

    if (read_members(admin, answer, &members)) {
        finish(admin, 0, "");
    }
}

static void promote(struct store_admin *admin, const struct etcd_members *members)
{
    for (unsigned at = 0; at < members->count; at++) {
        if (str_equal(members->items[at].peer_url, admin->self.peer_url)) {
            start(
                admin, "cluster/member/promote", etcd_wire_id(members->items[at].id), on_promoted);
            return;
        }
    }
    set_why(admin, true, "this node is not a member of the store");
    try_next(admin);
}

static void on_list(void *arg, const struct http_answer *answer)
{
    struct store_admin *admin = arg;
    struct etcd_members members;

    if (!read_members(admin, answer, &members)) {
        return;
    }
    switch (admin->errand) {
    case ERRAND_ENTER:
        enter(admin, &members);
        return;
    case ERRAND_PROMOTE:
        promote(admin, &members);
        return;
    case ERRAND_LEAVE:
    case ERRAND_REMOVE:
        return; /* these call the roll instead */
    }
}

static struct store_admin *admin_new(
    const struct store_admin_options *options, enum errand errand, store_admin_done *done,
    void *arg)
{
    struct store_admin *admin = mem_alloc(sizeof(*admin));

    ASSERT(options->via_count >= 1);
    ASSERT(options->via_count <= FORMATION_PEERS_MAX);
    admin->http = options->http;
    admin->tls = options->tls;
    admin->self = *options->self;
    admin->via_count = options->via_count;
    memcpy(admin->via, options->via, options->via_count * sizeof(admin->via[0]));
    admin->errand = errand;
    admin->again = loop_timer_new(options->loop, on_again, admin);
    admin->done = done;
    admin->arg = arg;
    return admin;
}

struct store_admin *store_admin_enter(
    const struct store_admin_options *options, store_admin_done *done, void *arg)
{
    struct store_admin *admin = admin_new(options, ERRAND_ENTER, done, arg);

    begin_at(admin);
    return admin;
}

struct store_admin *store_admin_promote(
    const struct store_admin_options *options, store_admin_done *done, void *arg)
{
    struct store_admin *admin = admin_new(options, ERRAND_PROMOTE, done, arg);

    begin_at(admin);
    return admin;
}

struct store_admin *store_admin_leave(
    const struct store_admin_options *options, store_admin_done *done, void *arg)
{
    struct store_admin *admin = admin_new(options, ERRAND_LEAVE, done, arg);

    begin_at(admin);
    return admin;
}

struct store_admin *store_admin_remove(
    const struct store_admin_options *options, const char *name, store_admin_done *done, void *arg)
{
    struct store_admin *admin = admin_new(options, ERRAND_REMOVE, done, arg);

    if (!str_copy(admin->name, sizeof(admin->name), name)) {
        admin->name[0] = '\0'; /* longer than a member's can be */
    }
    begin_at(admin);
    return admin;
}

void store_admin_free(struct store_admin *admin)
{
    if (admin != NULL) {
        store_roll_call_free(admin->roll_call);
        http_cancel(admin->request);
        loop_timer_free(admin->again);
        mem_free(admin);
    }
}
