#include "dcs/member_state.h"

#include "dcs/etcd_test.h"
#include "io/clock.h"
#include "io/http.h"
#include "io/process.h"

#include <dirent.h>

#define NODES_MAX 4
#define EXCHANGE_MS 100

/* Agents with a store member each, in one process; what they would ask over REST is handed over
 * directly. */
struct node {
    struct store_member *member;
    char name[16];
    char client_url[64];
    char peer_url[64];
    char address[16];
    char data_dir[128];
    char runtime_dir[128];
    char last_status[640];
};

struct world {
    struct loop *loop;
    struct http *http;
    struct loop_timer *timer;
    char program[256];
    char guard[512];
    char folder[64];
    unsigned count;
    unsigned listed; /* peers that nodes are configured with */
    struct node nodes[NODES_MAX];
    const char *addresses[NODES_MAX];
    int left_result;
    int second_result;
    bool has_left;
    bool is_open;
};

static void exchange(void *arg)
{
    struct world *world = arg;
    struct formation_peer peers[NODES_MAX];

    for (unsigned at = 0; at < world->count; at++) {
        struct store_answer answer;

        peers[at] = (struct formation_peer){.answer.state = STORE_UNREACHABLE};
        str_copy(peers[at].address, sizeof(peers[at].address), world->nodes[at].address);
        if (world->nodes[at].member != NULL) {
            AUTO_FREE char *json = NULL;

            store_member_answer(world->nodes[at].member, &answer);
            json = formation_encode(&answer);
            if (formation_decode(json, strlen(json), &peers[at].answer, NULL) < 0) {
                assert_int_equal(answer.state, STORE_UNREACHABLE);
            }
        }
    }
    for (unsigned at = 0; at < world->count; at++) {
        struct node *node = &world->nodes[at];

        if (node->member != NULL) {
            store_member_set_answers(node->member, peers, MAX(world->listed, at + 1));
            if (!str_equal(node->last_status, store_member_status(node->member))) {
                str_copy(
                    node->last_status, sizeof(node->last_status),
                    store_member_status(node->member));
                print_message("  %s: %s\n", node->name, node->last_status);
            }
        }
    }
    loop_timer_start(world->timer, EXCHANGE_MS);
}

/* $BATON_GUARD, or beside this program, or one folder up. */
static void find_guard(char *buffer, size_t size)
{
    char *slash = NULL;

    if (getenv("BATON_GUARD") != NULL) {
        str_copy(buffer, size, getenv("BATON_GUARD"));
        return;
    }
    assert_int_equal(process_program(buffer, size, NULL), 0);
    slash = strrchr(buffer, '/');
    assert_non_null(slash);
    str_copy(slash, size - (size_t)(slash - buffer), "/baton-guard");
    if (!file_is_program(buffer)) {
        str_copy(slash, size - (size_t)(slash - buffer), "/../baton-guard");
    }
}

static bool world_open(struct world *world)
{
    *world = (struct world){.listed = 3, .is_open = true};
    if (!find_etcd(world->program, sizeof(world->program))) {
        return false;
    }
    find_guard(world->guard, sizeof(world->guard));
    if (!file_is_program(world->guard)) {
        print_message("no guard at %s\n", world->guard);
        return false;
    }
    world->loop = loop_new();
    world->http = http_new(world->loop);
    world->timer = loop_timer_new(world->loop, exchange, world);
    str_copy(world->folder, sizeof(world->folder), "/tmp/baton-store-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    for (unsigned at = 0; at < NODES_MAX; at++) {
        struct node *node = &world->nodes[at];

        str_format(node->name, sizeof(node->name), "n%u", at);
        str_format(node->address, sizeof(node->address), "10.0.0.%u:8008", at);
        str_format(node->client_url, sizeof(node->client_url), "http://127.0.0.1:%d", free_port());
        str_format(node->peer_url, sizeof(node->peer_url), "http://127.0.0.1:%d", free_port());
        str_format(node->data_dir, sizeof(node->data_dir), "%s/%s.etcd", world->folder, node->name);
        str_format(
            node->runtime_dir, sizeof(node->runtime_dir), "%s/%s", world->folder, node->name);
        world->addresses[at] = node->address;
    }
    loop_timer_start(world->timer, 0);
    return true;
}

static void node_open(struct world *world, unsigned at)
{
    struct node *node = &world->nodes[at];

    node->member = store_member_new(
        world->loop, world->http,
        &(struct store_member_options){
            .scope = "test",
            .name = node->name,
            .client_url = node->client_url,
            .peer_url = node->peer_url,
            .data_dir = node->data_dir,
            .runtime_dir = node->runtime_dir,
            .guard_program = world->guard,
            .etcd_program = world->program,
            .peers = world->addresses,
            .peer_count = MAX(world->listed, at + 1)});
    world->count = MAX(world->count, MAX(world->listed, at + 1));
}

/* The agent ends; its server goes on. */
static void node_close(struct world *world, unsigned at)
{
    store_member_free(world->nodes[at].member);
    world->nodes[at].member = NULL;
}

/* Whether process NAME of /proc runs PROGRAM with WORD as an argument. */
static bool is_running(const char *name, const char *program, const char *word)
{
    char path[300];
    char line[2048] = "";
    AUTO_FD int fd = -1;
    ssize_t length = 0;

    str_format(path, sizeof(path), "/proc/%s/cmdline", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    length = fd >= 0 ? read(fd, line, sizeof(line) - 1) : 0;
    if (length <= 0 || !str_equal(line, program)) {
        return false;
    }
    for (const char *at = line; at < line + length; at += strlen(at) + 1) {
        if (str_equal(at, word)) {
            return true;
        }
    }
    return false;
}

/* The pid of one that does, or 0. */
static pid_t find_process(const char *program, const char *word)
{
    DIR *folder = opendir("/proc");
    pid_t pid = 0;

    assert_non_null(folder);
    for (const struct dirent *entry = readdir(folder); entry != NULL && pid == 0;
         entry = readdir(folder)) {
        if (is_running(entry->d_name, program, word)) {
            pid = (pid_t)strtol(entry->d_name, NULL, 10);
        }
    }
    assert_int_equal(closedir(folder), 0);
    return pid;
}

static pid_t server_of(const struct world *world, unsigned at)
{
    return find_process(world->program, world->nodes[at].data_dir); /* it has it as an argument */
}

static pid_t guard_of(const struct world *world, unsigned at)
{
    char path[300];

    str_format(path, sizeof(path), "%s/store.guard", world->nodes[at].runtime_dir);
    return find_process(world->guard, path);
}

static void kill_server(const struct world *world, unsigned at)
{
    pid_t pid = server_of(world, at);

    assert_true(pid > 0);
    kill(pid, SIGKILL);
}

static void world_close(struct world *world)
{
    for (unsigned at = 0; at < NODES_MAX; at++) {
        if (world->nodes[at].member != NULL) {
            store_member_stop(world->nodes[at].member);
        }
    }
    run_until(world->loop, 1500, NULL, NULL);
    /* Who has not ended by now; a guard without an agent waits for the next one. */
    for (unsigned at = 0; at < NODES_MAX; at++) {
        pid_t guard = guard_of(world, at);
        pid_t server = server_of(world, at);

        if (guard > 0) {
            kill(guard, SIGTERM);
        }
        if (server > 0) {
            kill(server, SIGKILL);
        }
        node_close(world, at);
    }
    loop_timer_free(world->timer);
    http_free(world->http);
    loop_free(world->loop);
    assert_int_equal(run((const char *const[]){"rm", "-rf", world->folder, NULL}), 0);
    world->is_open = false;
}

/* A test that fails leaves no server behind. */
static int close_failed(void **state)
{
    struct world *world = *state;

    if (world->is_open) {
        world_close(world);
    }
    return 0;
}

static bool are_ready(void *arg)
{
    const struct world *world = arg;

    for (unsigned at = 0; at < NODES_MAX; at++) {
        if (world->nodes[at].member != NULL && !store_member_is_ready(world->nodes[at].member)) {
            return false;
        }
    }
    return true;
}

static bool is_not_ready(void *arg)
{
    return !are_ready(arg);
}

static bool is_leaderless(void *arg)
{
    return !store_member_is_ready(arg);
}

static void wait_all(struct world *world)
{
    struct instant start = clock_now();

    assert_true(run_until(world->loop, 30000, are_ready, world));
    print_message("  all ready after %d ms\n", (int)instant_elapsed_max_ms(start, clock_now()));
}

/* All of one cluster. */
static void check_one_cluster(struct world *world)
{
    struct store_answer first = {.state = STORE_UNREACHABLE};

    for (unsigned at = 0; at < NODES_MAX; at++) {
        struct store_answer answer;

        if (world->nodes[at].member == NULL) {
            continue;
        }
        store_member_answer(world->nodes[at].member, &answer);
        assert_int_equal(answer.state, STORE_MEMBER);
        assert_true(answer.has_leader);
        if (first.state == STORE_UNREACHABLE) {
            first = answer;
        }
        assert_string_equal(answer.cluster_id, first.cluster_id);
    }
}

/* How many of the members that node AT lists can vote; -1: it does not answer. */
static bool has_members(const struct world *world, unsigned at, const char *count)
{
    char command[512];

    str_format(
        command, sizeof(command),
        "test $(curl -s -m 3 -d '{}' %s/v3/cluster/member/list | grep -o '\"ID\"' | wc -l) = %s",
        world->nodes[at].client_url, count);
    return run((const char *const[]){"sh", "-c", command, NULL}) == 0;
}

static void on_left(void *arg, int result, const char *why)
{
    struct world *world = arg;

    world->has_left = true;
    world->left_result = result;
    print_message("  left: %d %s\n", result, why);
}

static bool has_left(void *arg)
{
    return ((const struct world *)arg)->has_left;
}

static void wipe(const struct world *world, unsigned at)
{
    assert_int_equal(run((const char *const[]){"rm", "-rf", world->nodes[at].data_dir, NULL}), 0);
}

static void wait_dead(struct world *world, unsigned at)
{
    for (unsigned left = 100; server_of(world, at) != 0; left--) {
        assert_true(left > 0);
        run_until(world->loop, 50, NULL, NULL);
    }
}

/* Log and database: newer servers cut a log that ends in nonsense, and go on. */
static void damage(const struct world *world, unsigned at)
{
    char command[512];

    str_format(
        command, sizeof(command),
        "cd %s/member && for w in wal/0*.wal; do printf "
        "'XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX' | dd of=$w bs=1 seek=200 conv=notrunc "
        "2>/dev/null; done && dd if=/dev/zero of=snap/db bs=4096 count=4 conv=notrunc 2>/dev/null",
        world->nodes[at].data_dir);
    assert_int_equal(run((const char *const[]){"sh", "-c", command, NULL}), 0);
}

/* After a member has left, the others go on as three. */
static void check_settled(struct world *world)
{
    run_until(world->loop, 1500, NULL, NULL);
    wait_all(world);
    assert_true(has_members(world, 0, "3"));
}

static bool is_out(void *arg)
{
    struct store_answer answer;

    store_member_answer(arg, &answer);
    return answer.state == STORE_LEFT;
}

/* Node AT has left and does not come back; it uses the others. */
static void check_out(struct world *world, unsigned at)
{
    struct store_member *member = world->nodes[at].member;
    char urls[NODES_MAX][ETCD_URL_SIZE];
    unsigned count;

    assert_true(run_until(world->loop, 20000, is_out, member));
    run_until(world->loop, 2000, NULL, NULL);
    assert_true(is_out(member));
    assert_int_equal(server_of(world, at), 0);
    count = store_member_endpoints(member, urls, NODES_MAX);
    assert_true(count >= 2);
    for (unsigned url = 0; url < count; url++) {
        assert_string_not_equal(urls[url], world->nodes[at].client_url);
    }
}

/* The change that was asked for ends with RESULT. */
static void wait_change(struct world *world, int result)
{
    assert_true(run_until(world->loop, 20000, has_left, world));
    assert_int_equal(world->left_result, result);
    world->has_left = false;
}

static void on_second(void *arg, int result, const char *why)
{
    struct world *world = arg;

    print_message("  second: %d %s\n", result, why);
    world->second_result = result;
}

/* Of four. */
static void leave_and_return(struct world *world)
{
    print_message("one leaves\n");
    store_member_leave(world->nodes[1].member, on_left, world);
    wait_change(world, 0);
    wait_dead(world, 1);
    node_close(world, 1);
    check_settled(world);
    print_message("its agent starts again: it stays out\n");
    node_open(world, 1);
    check_out(world, 1);
    print_message("it is brought back\n");
    store_member_join(world->nodes[1].member, on_left, world);
    wait_change(world, 0);
    wait_all(world);
    check_one_cluster(world);
    assert_true(has_members(world, 0, "4"));
}

static void test_life(void **state)
{
    struct world *world = *state;

    if (!world_open(world)) {
        skip();
    }
    print_message("two of three agents: nothing may be formed\n");
    node_open(world, 0);
    node_open(world, 1);
    run_until(world->loop, 2000, NULL, NULL);
    assert_int_equal(server_of(world, 0), 0);
    assert_int_equal(server_of(world, 1), 0);
    print_message("three: form\n");
    node_open(world, 2);
    wait_all(world);
    run_until(world->loop, 1500, NULL, NULL);
    check_one_cluster(world);
    assert_true(has_members(world, 0, "3"));

    print_message("an agent restarts: its server goes on\n");
    {
        pid_t pid = server_of(world, 0);

        node_close(world, 0);
        run_until(world->loop, 300, NULL, NULL);
        node_open(world, 0);
        wait_all(world);
        assert_int_equal(server_of(world, 0), pid);
    }

    print_message("a server is killed: it comes back\n");
    kill_server(world, 1);
    assert_true(run_until(world->loop, 20000, is_not_ready, world));
    wait_all(world);
    check_one_cluster(world);

    print_message("a data directory is lost while its server runs: replaced\n");
    wipe(world, 2);
    kill_server(world, 2);
    assert_true(run_until(world->loop, 20000, is_not_ready, world));
    wait_all(world);
    check_one_cluster(world);
    assert_true(has_members(world, 0, "3"));

    print_message("a data directory is damaged: replaced\n");
    damage(world, 0);
    kill_server(world, 0);
    assert_true(run_until(world->loop, 20000, is_not_ready, world));
    wait_all(world);
    check_one_cluster(world);
    assert_true(has_members(world, 1, "3"));

    print_message("a fourth joins\n");
    node_open(world, 3);
    wait_all(world);
    check_one_cluster(world);
    assert_true(has_members(world, 1, "4"));

    leave_and_return(world);
    world_close(world);
}

static void open_three(struct world *world)
{
    if (!world_open(world)) {
        skip();
    }
    for (unsigned at = 0; at < 3; at++) {
        node_open(world, at);
    }
    wait_all(world);
}

/* Node AT becomes the leader of the store. */
static void make_leader(const struct world *world, unsigned at)
{
    char command[1024];

    str_format(
        command, sizeof(command),
        "ask() { curl -s -m 3 -d \"$2\" $1; }; "
        "id=$(ask %s/v3/maintenance/status {} | sed 's/.*\"member_id\":\"\\([0-9]*\\)\".*/\\1/'); "
        "for to in %s %s %s; do ask $to/v3/maintenance/transfer-leadership "
        "'{\"targetID\":\"'$id'\"}'; "
        "done >/dev/null; ask %s/v3/maintenance/status {} | grep -q \"\\\"leader\\\":\\\"$id\\\"\"",
        world->nodes[at].client_url, world->nodes[0].client_url, world->nodes[1].client_url,
        world->nodes[2].client_url, world->nodes[at].client_url);
    assert_int_equal(run((const char *const[]){"sh", "-c", command, NULL}), 0);
}

static void on_taken_out(void *arg, int result, const char *initial_cluster, const char *why)
{
    (void)initial_cluster;
    on_left(arg, result, why);
}

/* The leader has died, and nobody has noticed: a removal that is on its way to it is lost without a
 * word, and asked for again. */
static void test_leader_removed(void **state)
{
    struct world *world = *state;

    open_three(world);
    make_leader(world, 2);
    node_close(world, 2);
    kill_server(world, 2);
    {
        char via[1][ETCD_URL_SIZE];
        struct store_admin_options options = store_member_errand(world->nodes[0].member, via, 1);

        str_copy(via[0], sizeof(via[0]), world->nodes[0].client_url);
        store_admin_remove(&options, "n2", on_taken_out, world);
    }
    wait_change(world, 0);
    assert_true(has_members(world, 0, "2"));
    world_close(world);
}

/* A member is taken out while its host is dead. */
static void test_removed(void **state)
{
    struct world *world = *state;

    open_three(world);
    print_message("all are well: etcd knows nobody of this name\n");
    store_member_remove(world->nodes[0].member, "nobody", on_left, world);
    wait_change(world, ERR_NOT_FOUND);
    print_message("one is dead: another one is needed, it is not\n");
    node_close(world, 2);
    kill_server(world, 2);
    store_member_remove(world->nodes[0].member, "n1", on_left, world);
    wait_change(world, ERR_CONFLICT);
    store_member_leave(world->nodes[0].member, on_left, world);
    wait_change(world, ERR_CONFLICT);
    wait_all(world);
    store_member_remove(world->nodes[0].member, "n2", on_left, world);
    store_member_remove(world->nodes[0].member, "n2", on_second, world);
    assert_int_equal(world->second_result, ERR_CONFLICT);
    wait_change(world, 0);
    assert_true(has_members(world, 0, "2"));
    print_message("it comes back with its data: it stays out, the data is aside\n");
    node_open(world, 2);
    check_out(world, 2);
    assert_true(has_members(world, 0, "2"));
    assert_non_null(strstr(store_member_status(world->nodes[2].member), ".removed-"));
    store_member_leave(world->nodes[2].member, on_left, world);
    wait_change(world, 0);
    print_message("told to stop while it is being brought back: it does not start\n");
    store_member_join(world->nodes[2].member, on_left, world);
    store_member_stop(world->nodes[2].member);
    run_until(world->loop, 2500, NULL, NULL);
    assert_int_equal(server_of(world, 2), 0);
    assert_true(has_members(world, 0, "2"));
    node_close(world, 2);
    node_open(world, 2);
    store_member_join(world->nodes[2].member, on_left, world);
    wait_change(world, 0);
    wait_all(world);
    check_one_cluster(world);
    assert_true(has_members(world, 0, "3"));
    print_message("what is in already may be brought back again\n");
    store_member_join(world->nodes[2].member, on_left, world);
    wait_change(world, 0);
    world_close(world);
}

static void wait_said(struct world *world, unsigned at, const char *part)
{
    wait_told(world->loop, store_member_status(world->nodes[at].member), part);
}

static void test_alone(void **state)
{
    struct world *world = *state;
    struct server_of_other {
        struct servers servers;
    } other;

    if (!world_open(world) || !servers_prepare(&other.servers, 1)) {
        skip();
    }
    world->listed = 1;
    print_message("its port is taken by another etcd\n");
    str_copy(
        other.servers.items[0].url, sizeof(other.servers.items[0].url), world->nodes[0].client_url);
    servers_start(&other.servers);
    for (unsigned left = 100; !has_members(world, 0, "1"); left--) {
        assert_true(left > 0);
        run_until(world->loop, 100, NULL, NULL);
    }
    node_open(world, 0);
    wait_said(world, 0, "port is in use");
    assert_non_null(strstr(store_member_status(world->nodes[0].member), "hint:"));
    servers_stop(&other.servers);
    wait_all(world);
    check_one_cluster(world);
    print_message("the only member cannot leave\n");
    store_member_leave(world->nodes[0].member, on_left, world);
    wait_change(world, ERR_CONFLICT);
    wait_all(world);
    print_message("a second joins a store of one\n");
    world->listed = 1;
    node_open(world, 1);
    wait_all(world);
    check_one_cluster(world);
    assert_true(has_members(world, 0, "2"));
    print_message("damaged without a majority: kept, and said\n");
    damage(world, 0);
    kill_server(world, 0);
    wait_said(world, 0, "hint:");
    assert_true(run_until(world->loop, 20000, is_leaderless, world->nodes[1].member));
    world_close(world);
}

static void test_missing(void **state)
{
    struct world *world = *state;

    if (!world_open(world)) {
        skip();
    }
    world->listed = 1;
    str_copy(world->program, sizeof(world->program), "/nonexistent/etcd");
    node_open(world, 0);
    wait_said(world, 0, "etcd-server");
    world_close(world);
}

static bool has_tried(void *arg)
{
    return ((const struct store_member *)arg)->deaths >= 3;
}

/* What cannot be prepared is tried again less and less often. */
static void test_no_folder(void **state)
{
    struct world *world = *state;
    struct instant start = clock_now();
    char path[128];

    if (!world_open(world)) {
        skip();
    }
    world->listed = 1;
    str_format(path, sizeof(path), "%s/file", world->folder);
    assert_int_equal(file_write(path, "", 0, 0600, NULL), 0);
    str_format(world->nodes[0].data_dir, sizeof(path), "%s/file/n0.etcd", world->folder);
    node_open(world, 0);
    wait_said(world, 0, "make the store's data directory");
    assert_true(run_until(world->loop, 20000, has_tried, world->nodes[0].member));
    assert_true(instant_elapsed_max_ms(start, clock_now()) >= 1200);
    world_close(world);
}

/* Do SCRIPT in the shell; $d is node 0's data directory. */
static void make(const struct world *world, const char *script)
{
    char command[512];

    str_format(command, sizeof(command), "d=%s; %s", world->nodes[0].data_dir, script);
    assert_int_equal(run((const char *const[]){"sh", "-c", command, NULL}), 0);
}

/* A folder that cannot be read may have data: it is left alone, and nobody takes the node for
 * new. */
static void test_unreadable(void **state)
{
    struct world *world = *state;
    struct store_answer answer;

    if (!world_open(world)) {
        skip();
    }
    world->listed = 1;
    make(world, "mkdir -p $d/member && ln -s wal $d/member/wal");
    node_open(world, 0);
    store_member_answer(world->nodes[0].member, &answer);
    assert_int_equal(answer.state, STORE_UNREACHABLE);
    wait_said(world, 0, "look for the store's data");
    store_member_answer(world->nodes[0].member, &answer);
    assert_int_equal(answer.state, STORE_UNREACHABLE);
    make(world, "test -L $d/member/wal");
    make(world, "rm $d/member/wal");
    wait_all(world);
    world_close(world);
}

static bool is_member(void *arg)
{
    struct store_answer answer;

    store_member_answer(arg, &answer);
    return answer.state == STORE_MEMBER;
}

static void on_result(void *arg, const struct store_result *result)
{
    *(struct store_result *)arg = *result;
}

static bool has_result(void *arg)
{
    return ((const struct store_result *)arg)->result <= 0;
}

static int work(struct world *world, enum store_errand errand)
{
    struct store_result result = {.result = 1};

    store_work_then(
        store_work_start(world->loop, &world->nodes[0].member->paths, errand, "unused", NULL),
        on_result, &result);
    assert_true(run_until(world->loop, 20000, has_result, &result));
    return result.result;
}

/* Data that is there only after the agent has looked, since its file system was mounted late, is
 * found while the node waits for others, and is never taken for old content of the folder. */
static void test_late_data(void **state)
{
    struct world *world = *state;

    if (!world_open(world)) {
        skip();
    }
    world->listed = 2;
    node_open(world, 0);
    wait_said(world, 0, "waiting for the agent");
    make(world, "mkdir -p $d/member/wal && touch $d/member/wal/0.wal");
    assert_true(run_until(world->loop, 20000, is_member, world->nodes[0].member));
    store_member_stop(world->nodes[0].member);
    assert_int_equal(work(world, STORE_PREPARE_NEW), ERR_CONFLICT);
    make(world, "test -f $d/member/wal/0.wal");
    assert_int_equal(work(world, STORE_RETURN), 0);
    make(world, "test ! -e $d");
    assert_int_equal(work(world, STORE_PREPARE_NEW), 0);
    world_close(world);
}

int main(void)
{
    static struct world world;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_life, NULL, close_failed, &world),
        cmocka_unit_test_prestate_setup_teardown(test_leader_removed, NULL, close_failed, &world),
        cmocka_unit_test_prestate_setup_teardown(test_removed, NULL, close_failed, &world),
        cmocka_unit_test_prestate_setup_teardown(test_alone, NULL, close_failed, &world),
        cmocka_unit_test_prestate_setup_teardown(test_missing, NULL, close_failed, &world),
        cmocka_unit_test_prestate_setup_teardown(test_no_folder, NULL, close_failed, &world),
        cmocka_unit_test_prestate_setup_teardown(test_unreadable, NULL, close_failed, &world),
        cmocka_unit_test_prestate_setup_teardown(test_late_data, NULL, close_failed, &world),
    };

    if (getenv("BATON_TEST") != NULL) {
        cmocka_set_test_filter(getenv("BATON_TEST"));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
