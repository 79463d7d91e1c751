#include "dcs/member.h"

#include "base/assert.h"
#include "base/mem.h"
#include "dcs/member_state.h"
#include "dcs/store_server.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/process.h"

#define TICK_MS 500
#define PROBE_MS 1000 /* limit of a status request to the own server */
#define BACKOFF_FIRST_MS 200
#define BACKOFF_LAST_MS 10000
#define STEADY_MS 60000      /* a server that ran so long starts at once when it dies */
#define LOOK_MS 1000         /* what a node without data knows of its folder is no older */
#define DAMAGES_TO_REPLACE 2 /* damaged data is believed when it is found twice */

static void step(struct store_member *member);

void store_member_say(struct store_member *member, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    IGNORE(vsnprintf(member->status, sizeof(member->status), format, args) < 0, "cut is fine");
    va_end(args);
}

static bool is_tls(const struct store_member *member)
{
    return member->cert_file[0] != '\0';
}

/* Starting the server. */

static bool find_program(struct store_member *member, char *buffer, size_t size)
{
    const char *folders = process_env("PATH");

    if (member->etcd_program != NULL) {
        if (str_copy(buffer, size, member->etcd_program) && file_is_program(buffer)) {
            return true;
        }
    } else if (
        (folders != NULL && file_find_program("etcd", folders, buffer, size)) ||
        file_find_program("etcd", "/usr/bin", buffer, size)) {
        return true;
    }
    store_member_say(
        member, "the program etcd was not found%s%s\nhint: install the package etcd-server",
        member->etcd_program != NULL ? " at " : "",
        member->etcd_program != NULL ? member->etcd_program : "");
    return false;
}

/* Ask the guard; on_guard tells what came of it. */
static void start_server(struct store_member *member)
{
    char program[STORE_PATH_SIZE];
    struct store_arguments arguments;
    struct err e = {0};
    int r = 0;

    member->died_at = clock_now();
    if (!find_program(member, program, sizeof(program))) {
        return;
    }
    store_server_arguments(
        &(struct store_server){
            .program = program,
            .self = &member->self,
            .data_dir = member->paths.data_dir,
            .initial_cluster =
                member->is_new_start || member->is_forming ? member->plan.initial_cluster : NULL,
            .token = member->plan.token,
            .is_forming = member->is_forming,
            .heartbeat_ms = member->heartbeat_ms,
            .election_ms = member->election_ms,
            .quota_bytes = member->quota_bytes,
            .tls = &member->tls},
        &arguments);
    r = guard_start(
        member->link, arguments.items, (const char *const[]){"LANG=C", NULL}, "/",
        member->paths.log, &e);
    if (r < 0) {
        store_member_say(member, "cannot start etcd: %s", err_text(&e));
        return;
    }
    member->has_asked_start = true;
    member->started_at = clock_now();
    store_member_say(member, "etcd is starting");
}

static int64_t backoff_ms(const struct store_member *member)
{
    return MIN((int64_t)BACKOFF_FIRST_MS << MIN(member->deaths, 8U), (int64_t)BACKOFF_LAST_MS);
}

/* Files. */

static void note_data(struct store_member *member, const struct store_result *result)
{
    if (!result->is_unknown) {
        member->self.has_data = result->has_data;
    }
    member->is_unseen = result->is_unknown && !member->self.has_data;
}

/* A failed errand is counted like a death, so it is not tried again at once: the preparation of one
 * who joins comes after it was added to the cluster. */
static void put_off(struct store_member *member, const struct store_result *result)
{
    note_data(member, result);
    member->died_at = clock_now();
    member->deaths++;
    member->stage = STAGE_WAIT;
    store_member_say(member, "%s", result->why);
}

static void on_checked(struct store_member *member, const struct store_result *result)
{
    if (result->result < 0) {
        put_off(member, result);
        return;
    }
    note_data(member, result);
    member->stage = STAGE_WAIT;
    member->looked_at = clock_now();
    step(member);
}

static void on_prepared(struct store_member *member, const struct store_result *result)
{
    if (result->result < 0) {
        put_off(member, result);
        /* With data that was not there before it goes on with that. */
        member->is_forming &= !(member->is_new_start && member->self.has_data);
        return;
    }
    if (!member->is_new_start && !result->has_data) {
        /* Gone since it was last looked at. */
        member->self.has_data = false;
        member->is_forming = false;
        member->stage = STAGE_WAIT;
        return;
    }
    member->stage = STAGE_RUN;
    start_server(member);
}

unsigned store_member_others(
    const struct store_member *member, bool with_leader, char (*urls)[ETCD_URL_SIZE],
    unsigned count, unsigned max)
{
    for (unsigned at = 0; at < member->peer_count && count < max; at++) {
        const struct store_answer *answer = &member->peers[at].answer;

        if (answer->state == STORE_MEMBER && (answer->has_leader || !with_leader) &&
            !str_equal(answer->name, member->self.name)) {
            IGNORE(!str_copy(urls[count++], ETCD_URL_SIZE, answer->client_url), "same size");
        }
    }
    return count;
}

static void on_looked(struct store_member *member, const struct store_result *result)
{
    char url[1][ETCD_URL_SIZE];
    bool is_lost = result->end == END_DAMAGED || result->end == END_REMOVED;

    note_data(member, result);
    member->stage = member->self.has_data ? STAGE_RUN : STAGE_WAIT;
    if (result->end == END_OTHER) {
        store_member_say(
            member, "etcd has ended %s; its log is %s", member->manner, member->paths.log);
    } else {
        store_member_say(member, "etcd has ended: %s", result->why);
    }
    member->damages += is_lost ? 1 : 0;
    if (!member->self.has_data) {
        member->is_forming = false;
        return;
    }
    if (!is_lost) {
        return;
    }
    if (store_member_others(member, true, url, 0, 1) == 0) {
        store_member_say(
            member,
            "etcd has ended: %s; it will be replaced when another member has a leader\nhint: if no "
            "other member is left, restore %s from a backup, or remove it on all nodes to form a "
            "new store",
            result->why, member->paths.data_dir);
        return;
    }
    if (member->damages >= DAMAGES_TO_REPLACE) {
        if (result->end == END_REMOVED) {
            /* Somebody took it out; it does not come back by itself. */
            store_member_work(member, STAGE_ASIDE, STORE_LEAVE, "removed");
            return;
        }
        store_member_say(member, "etcd has ended: %s; it is being replaced", result->why);
        store_member_work(member, STAGE_ASIDE, STORE_ASIDE, "damaged");
    }
}

static void on_aside(struct store_member *member, const struct store_result *result)
{
    if (result->result < 0) {
        member->stage = STAGE_RUN;
        store_member_say(member, "cannot replace the store's data: %s", result->why);
        return;
    }
    member->self.has_data = false;
    member->is_forming = false;
    member->deaths = 0;
    member->damages = 0;
    member->stage = STAGE_WAIT;
    store_member_say(
        member, "the store's data was damaged and is now in %s; joining anew", result->aside);
}

static void on_work(void *arg, const struct store_result *result)
{
    struct store_member *member = arg;

    member->work = NULL;
    switch (result->errand) {
    case STORE_CHECK:
        on_checked(member, result);
        break;
    case STORE_PREPARE_START:
    case STORE_PREPARE_NEW:
        on_prepared(member, result);
        break;
    case STORE_LOOK:
        on_looked(member, result);
        break;
    case STORE_ASIDE:
        on_aside(member, result);
        break;
    case STORE_LEAVE:
        store_member_on_out(member, result);
        break;
    case STORE_RETURN:
        store_member_on_returned(member, result);
        break;
    case STORE_FORMED:
        break;
    }
}

void store_member_work(
    struct store_member *member, enum stage stage, enum store_errand errand, const char *suffix)
{
    struct store_answer forming;

    ASSERT(member->work == NULL);
    member->stage = stage;
    store_member_answer(member, &forming);
    member->work = store_work_start(
        member->loop, &member->paths, errand, suffix, member->is_forming ? &forming : NULL);
    store_work_then(member->work, on_work, member);
}

/* Finding together. */

struct store_admin_options store_member_errand(
    struct store_member *member, char (*via)[ETCD_URL_SIZE], unsigned count)
{
    return (struct store_admin_options){
        .loop = member->loop,
        .http = member->http,
        .tls = is_tls(member) ? &member->tls : NULL,
        .self = &member->self,
        .via = via,
        .via_count = count};
}

static void on_entered(void *arg, int result, const char *initial_cluster, const char *why)
{
    struct store_member *member = arg;

    member->admin = NULL;
    if (result < 0) {
        store_member_say(member, "cannot join the store yet: %s", why);
        member->stage = STAGE_WAIT;
        return;
    }
    IGNORE(
        !str_copy(
            member->plan.initial_cluster, sizeof(member->plan.initial_cluster), initial_cluster),
        "same size");
    member->plan.token[0] = '\0';
    member->is_new_start = true;
    store_member_work(member, STAGE_PREPARE, STORE_PREPARE_NEW, "unused");
}

static void decide(struct store_member *member)
{
    char program[STORE_PATH_SIZE];
    struct store_admin_options options;

    if (instant_elapsed_max_ms(member->died_at, clock_now()) < backoff_ms(member) &&
        member->deaths > 0) {
        return;
    }
    if (member->self.has_data) {
        member->is_new_start = false;
        store_member_work(member, STAGE_PREPARE, STORE_PREPARE_START, "");
        return;
    }
    /* A file system may have been mounted meanwhile, or be out of reach. */
    if (member->is_unseen || !instant_is_set(member->looked_at) ||
        instant_elapsed_max_ms(member->looked_at, clock_now()) > LOOK_MS) {
        store_member_work(member, STAGE_PREPARE, STORE_CHECK, "");
        return;
    }
    /* Not before all were asked once: what is not known counts as unreachable. */
    if (member->peer_limit > 1 && member->peer_count < member->peer_limit) {
        store_member_say(member, "waiting for the answers of the other agents");
        return;
    }
    member->is_forming = false;
    formation_decide(&member->self, member->peers, member->peer_count, &member->plan);
    store_member_say(member, "%s", member->plan.why);
    if (member->plan.step == FORMATION_WAIT || !find_program(member, program, sizeof(program))) {
        return;
    }
    switch (member->plan.step) {
    case FORMATION_WAIT:
    case FORMATION_START:
        return;
    case FORMATION_BOOTSTRAP:
        member->is_new_start = true;
        member->is_forming = true;
        store_member_work(member, STAGE_PREPARE, STORE_PREPARE_NEW, "unused");
        return;
    case FORMATION_JOIN:
        options = store_member_errand(member, member->plan.via, member->plan.via_count);
        member->stage = STAGE_ENTER;
        member->admin = store_admin_enter(&options, on_entered, member);
        return;
    }
}

/* The running server. */

static void on_promoted(void *arg, int result, const char *initial_cluster, const char *why)
{
    struct store_member *member = arg;

    (void)initial_cluster;
    member->admin = NULL;
    if (result < 0) {
        store_member_say(member, "this member of the store does not vote yet: %s", why);
    }
}

static void promote(struct store_member *member)
{
    char via[FORMATION_PEERS_MAX][ETCD_URL_SIZE];
    unsigned count = store_member_others(member, true, via, 0, FORMATION_PEERS_MAX);
    struct store_admin_options options = store_member_errand(member, via, count);

    if (count > 0 && member->admin == NULL) {
        member->admin = store_admin_promote(&options, on_promoted, member);
    }
}

static void on_status(struct store_member *member, const struct etcd_status *status)
{
    member->is_probed = true;
    member->has_leader = status->has_leader;
    member->is_learner = status->is_learner;
    member->cluster_id = status->header.cluster_id;
    if (member->is_learner) {
        store_member_say(member, "this member of the store is catching up");
        promote(member);
        return;
    }
    if (!member->has_leader) {
        store_member_say(
            member, "etcd runs, but the store has no leader: too few members are running");
        return;
    }
    store_member_say(member, "etcd runs");
    member->damages = 0;
    member->self.has_data = true;
    member->is_unseen = false;
    if (member->is_forming && member->work == NULL) {
        member->is_forming = false;
        store_member_work(member, STAGE_RUN, STORE_FORMED, "");
    }
}

static void on_probe(void *arg, const struct http_answer *answer)
{
    struct store_member *member = arg;
    struct etcd_status status;
    struct etcd_error error;

    member->probe = NULL;
    if (member->stage != STAGE_RUN) {
        return;
    }
    if (answer->result == 0 &&
        etcd_wire_error(answer->status, answer->body, answer->length, &error) == ETCD_ERROR_NONE &&
        etcd_wire_read_status(answer->body, answer->length, &status, NULL) == 0) {
        on_status(member, &status);
        return;
    }
    member->has_leader = false;
    if (member->is_probed) {
        store_member_say(member, "etcd does not answer");
    }
}

static void probe(struct store_member *member)
{
    char url[2 * ETCD_URL_SIZE];

    if (member->probe != NULL) {
        return;
    }
    IGNORE(
        !str_format(url, sizeof(url), "%s/v3/maintenance/status", member->self.client_url),
        "it fits");
    member->probe = http_start(
        member->http,
        &(struct http_options){
            .method = "POST",
            .url = url,
            .body = "{}",
            .content_type = "application/json",
            .timeout_ms = PROBE_MS,
            .tls = is_tls(member) ? &member->tls : NULL},
        on_probe, member);
}

static void tend(struct store_member *member)
{
    struct instant now = clock_now();

    if (!member->has_guard || member->work != NULL) {
        return;
    }
    if (member->pid != 0) {
        if (member->deaths > 0 && instant_elapsed_max_ms(member->started_at, now) > STEADY_MS) {
            member->deaths = 0;
        }
        probe(member);
        return;
    }
    if (instant_elapsed_max_ms(member->died_at, now) >= backoff_ms(member)) {
        member->died_at = now;
        member->is_new_start = false;
        store_member_work(member, STAGE_PREPARE, STORE_PREPARE_START, "");
    }
}

static void step(struct store_member *member)
{
    switch (member->stage) {
    case STAGE_WAIT:
        decide(member);
        return;
    case STAGE_RUN:
        tend(member);
        return;
    case STAGE_OPEN:
    case STAGE_ENTER:
    case STAGE_PREPARE:
    case STAGE_LOOK:
    case STAGE_ASIDE:
    case STAGE_LEAVE:
    case STAGE_END:
        return;
    }
}

static void on_tick(void *arg)
{
    struct store_member *member = arg;

    loop_timer_start(member->tick, TICK_MS);
    step(member);
}

/* The guard. */

static void on_death(struct store_member *member, const struct guard_state *state)
{
    member->has_leader = false;
    member->is_probed = false;
    member->has_asked_start = false;
    member->died_at = clock_now();
    member->deaths++;
    IGNORE(
        !str_format(
            member->manner, sizeof(member->manner),
            state->exit_signal != 0 ? "by signal %d" : "with exit code %d",
            state->exit_signal != 0 ? state->exit_signal : state->exit_code),
        "it fits");
    if (member->stage != STAGE_RUN) {
        return;
    }
    if (state->start_errno != 0) {
        store_member_say(member, "cannot start etcd: %s", strerror(state->start_errno));
        return;
    }
    if (member->work == NULL) {
        store_member_work(member, STAGE_LOOK, STORE_LOOK, "");
    }
}

static void on_guard(void *arg, const struct guard_state *state)
{
    struct store_member *member = arg;
    bool was_up = member->pid != 0 || member->has_asked_start;

    member->has_guard = state != NULL;
    if (state == NULL) {
        /* With its guard gone the server ends, too. */
        member->pid = 0;
        member->has_leader = false;
        return;
    }
    member->pid = state->pid != 0 ? state->pid : state->is_ending;
    if (member->pid != 0) {
        member->has_asked_start = false;
    }
    if (member->stage == STAGE_OPEN) {
        if (member->is_out) {
            guard_kill(member->link);
            member->stage = STAGE_END;
            return;
        }
        /* It outlived the agent before: go on with it. */
        member->stage = member->pid != 0 ? STAGE_RUN : STAGE_WAIT;
        step(member);
    } else if (member->pid == 0 && was_up) {
        on_death(member, state);
    }
}

void store_member_stop(struct store_member *member)
{
    /* What is under way would go on with a start. */
    store_work_forget(TAKE(member->work));
    store_admin_free(TAKE(member->admin));
    store_admin_free(TAKE(member->change));
    member->stage = STAGE_END;
    store_member_say(member, "etcd was stopped");
    if (member->link != NULL) {
        guard_signal(member->link, SIGTERM);
    }
}

/* The owner's view. */

void store_member_set_answers(
    struct store_member *member, const struct formation_peer *peers, unsigned count)
{
    member->peer_count = MIN(count, (unsigned)FORMATION_PEERS_MAX);
    memcpy(member->peers, peers, member->peer_count * sizeof(*peers));
    if (member->stage == STAGE_WAIT) {
        step(member);
    }
}

void store_member_answer(const struct store_member *member, struct store_answer *ret)
{
    bool is_whole = true;

    *ret = (struct store_answer){.state = STORE_NEW};
    if (member->link == NULL || (member->is_unseen && !member->is_out)) {
        /* Unseen, it may have data: nobody may take it for new. */
        ret->state = STORE_UNREACHABLE;
    } else if (member->is_out) {
        ret->state = STORE_LEFT;
    } else if (member->is_forming) {
        ret->state = STORE_FORMING;
    } else if (member->self.has_data) {
        ret->state = STORE_MEMBER;
    }
    ret->has_leader = ret->state == STORE_MEMBER && member->stage == STAGE_RUN &&
                      member->has_leader && !member->is_learner;
    is_whole &= str_copy(ret->name, sizeof(ret->name), member->self.name);
    is_whole &= str_copy(ret->peer_url, sizeof(ret->peer_url), member->self.peer_url);
    is_whole &= str_copy(ret->client_url, sizeof(ret->client_url), member->self.client_url);
    is_whole &= str_copy(ret->list, sizeof(ret->list), member->self.list);
    IGNORE(!str_copy(ret->status, sizeof(ret->status), member->status), "cut is fine");
    if (member->cluster_id != 0) {
        is_whole &=
            str_format(ret->cluster_id, sizeof(ret->cluster_id), "%" PRIx64, member->cluster_id);
    }
    if (member->is_forming) {
        is_whole &= str_copy(ret->token, sizeof(ret->token), member->plan.token);
        is_whole &= str_copy(
            ret->initial_cluster, sizeof(ret->initial_cluster), member->plan.initial_cluster);
    }
    ASSERT(is_whole);
}

unsigned store_member_endpoints(
    const struct store_member *member, char (*urls)[ETCD_URL_SIZE], unsigned max)
{
    bool is_going = member->is_out || member->is_leaving;
    unsigned count = 0;

    if (max > 0 && !is_going) {
        IGNORE(!str_copy(urls[count++], ETCD_URL_SIZE, member->self.client_url), "same size");
    }
    count = store_member_others(member, false, urls, count, max);
    if (max > 0 && count == 0) {
        IGNORE(!str_copy(urls[count++], ETCD_URL_SIZE, member->self.client_url), "same size");
    }
    return count;
}

const char *store_member_status(const struct store_member *member)
{
    return member->status;
}

bool store_member_is_ready(const struct store_member *member)
{
    return member->stage == STAGE_RUN && member->has_leader && !member->is_learner;
}

/* Beginning and end. */

static bool copy_options(struct store_member *member, const struct store_member_options *options)
{
    struct formation_self *self = &member->self;
    bool is_whole = str_copy(self->name, sizeof(self->name), options->name);

    is_whole &= str_copy(self->peer_url, sizeof(self->peer_url), options->peer_url);
    is_whole &= str_copy(self->client_url, sizeof(self->client_url), options->client_url);
    is_whole &= str_copy(member->paths.data_dir, sizeof(member->paths.data_dir), options->data_dir);
    is_whole &= str_format(
        member->paths.log, sizeof(member->paths.log), "%s/store.log", options->runtime_dir);
    is_whole &= str_format(
        member->paths.forming, sizeof(member->paths.forming), "%s/store.forming",
        options->runtime_dir);
    is_whole &=
        str_format(member->paths.out, sizeof(member->paths.out), "%s.is-out", options->data_dir);
    member->etcd_program = options->etcd_program != NULL ? mem_dup(options->etcd_program) : NULL;
    member->ca_file = mem_dup(options->ca_file != NULL ? options->ca_file : "");
    member->cert_file = mem_dup(options->cert_file != NULL ? options->cert_file : "");
    member->key_file = mem_dup(options->key_file != NULL ? options->key_file : "");
    member->tls = (struct http_tls){
        .ca_file = member->ca_file, .cert_file = member->cert_file, .key_file = member->key_file};
    member->heartbeat_ms = options->heartbeat_ms > 0 ? options->heartbeat_ms : 50;
    member->election_ms = options->election_ms > 0 ? options->election_ms : 500;
    member->quota_bytes = options->quota_bytes;
    member->peer_limit = MIN(options->peer_count, (unsigned)FORMATION_PEERS_MAX);
    formation_hash(
        options->scope, options->peers, member->peer_limit, self->list, sizeof(self->list));
    return is_whole && self->name[0] != '\0' && formation_is_plain(self->name) &&
           formation_is_plain(self->peer_url) && formation_is_plain(self->client_url);
}

static int open_files(
    struct store_member *member, const struct store_member_options *options, struct err *e)
{
    struct store_answer forming;
    char socket_path[STORE_PATH_SIZE];
    char log_path[STORE_PATH_SIZE];
    struct guard_listener listener = {.on_state = on_guard, .arg = member};
    int r = file_make_folder(options->runtime_dir, 0700, e);

    if (r < 0) {
        return r;
    }
    if (!str_format(socket_path, sizeof(socket_path), "%s/store.guard", options->runtime_dir) ||
        strlen(socket_path) > 100 ||
        !str_format(log_path, sizeof(log_path), "%s/store.guard.log", options->runtime_dir)) {
        return FAIL(e, ERR_CONFIG, "the path %s is too long", options->runtime_dir);
    }
    member->is_unseen = store_files_look(member->paths.data_dir, &member->self.has_data, NULL) < 0;
    if (member->self.has_data && store_files_read_forming(member->paths.forming, &forming)) {
        member->is_forming = true;
        IGNORE(
            !str_copy(
                member->plan.initial_cluster, sizeof(member->plan.initial_cluster),
                forming.initial_cluster),
            "same size");
        IGNORE(
            !str_copy(member->plan.token, sizeof(member->plan.token), forming.token), "same size");
    }
    member->link = guard_link_new(
        member->loop,
        &(struct guard_link_options){
            .program = options->guard_program, .socket_path = socket_path, .log_path = log_path},
        &listener);
    return 0;
}

struct store_member *store_member_new(
    struct loop *loop, struct http *http, const struct store_member_options *options)
{
    struct store_member *member = mem_alloc(sizeof(*member));
    struct err e = {0};

    member->loop = loop;
    member->http = http;
    member->stage = STAGE_END;
    member->died_at = clock_now();
    member->started_at = clock_now();
    member->tick = loop_timer_new(loop, on_tick, member);
    if (!copy_options(member, options)) {
        store_member_say(
            member, "the name or an address of this node's store member cannot be used: %s, %s, %s",
            options->name, options->client_url, options->peer_url);
        return member;
    }
    if (open_files(member, options, &e) < 0) {
        store_member_say(member, "%s", err_text(&e));
        return member;
    }
    member->stage = STAGE_OPEN;
    member->is_out = store_files_is_out(member->paths.out);
    store_member_say(
        member, "%s",
        member->is_out ? "this node has left the store" : "looking for a running etcd");
    loop_timer_start(member->tick, TICK_MS);
    return member;
}

void store_member_free(struct store_member *member)
{
    if (member == NULL) {
        return;
    }
    store_work_forget(member->work);
    store_admin_free(member->admin);
    store_admin_free(member->change);
    http_cancel(member->probe);
    guard_link_free(member->link);
    loop_timer_free(member->tick);
    mem_free(member->etcd_program);
    mem_free(member->ca_file);
    mem_free(member->cert_file);
    mem_free(member->key_file);
    mem_free(member);
}
