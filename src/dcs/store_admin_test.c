/* Removals that were done, or not, although the answer says something else. A real etcd does this
 * by chance (a member that is asked for its own removal says "server stopped" now and then), so
 * stub servers do it here. */
#include "dcs/store_admin.h"

#include "dcs/etcd_stub_test.h"

#define MEMBERS 3
#define UNHEALTHY "{\"code\":14,\"message\":\"etcdserver: unhealthy cluster\"}"
#define STOPPED "{\"code\":14,\"message\":\"etcdserver: server stopped\"}"

/* What a member does when it is asked to take out m3: 'd'o it, 'u'nhealthy: refuse, 'e': refuse
 * twice, then do it, 's'top when it is done, 'l'ose the answer when it is done. '-' is dead. */
struct stub {
    char urls[MEMBERS][64];
    volatile char habit[MEMBERS];
    volatile unsigned asked[MEMBERS]; /* to take out */
    volatile bool is_out;
    volatile bool is_stopped; /* m3 */
};

struct stub_member {
    struct stub *stub;
    unsigned at;
    pid_t pid;
};

struct world {
    struct loop *loop;
    struct http *http;
    struct stub *stub;
    struct stub_member members[MEMBERS];
    struct formation_self self; /* m3 */
    bool is_done;
    int result;
    char why[512];
};

static void answer_list(int fd, const struct stub *stub)
{
    AUTO_STR struct str body = STR_INIT(4096);

    str_addf(&body, "{\"header\":{\"cluster_id\":\"5\"},\"members\":[");
    for (unsigned at = 0; at < (stub->is_out ? MEMBERS - 1u : MEMBERS); at++) {
        str_addf(
            &body,
            "%s{\"ID\":\"%u\",\"name\":\"m%u\",\"peerURLs\":[\"http://10.0.0.%u:2380\"],"
            "\"clientURLs\":[\"%s\"]}",
            at > 0 ? "," : "", at + 1, at + 1, at + 1, stub->urls[at]);
    }
    str_addf(&body, "]}");
    stub_answer(fd, 200, str_text(&body));
}

static void answer_removal(int fd, struct stub *stub, unsigned at)
{
    stub->asked[at]++;
    if (stub->habit[at] == 'u' || (stub->habit[at] == 'e' && stub->asked[at] <= 2)) {
        stub_answer(fd, 503, UNHEALTHY);
        return;
    }
    stub->is_out = true;
    switch (stub->habit[at]) {
    case 'l':
        _exit(0);
    case 's':
        stub->is_stopped = true;
        stub_answer(fd, 503, STOPPED);
        _exit(0);
    default:
        answer_list(fd, stub);
    }
}

static void answer_request(int fd, void *arg, const char *request)
{
    const struct stub_member *member = arg;
    struct stub *stub = member->stub;
    char body[256];

    if (stub->habit[member->at] == '-' || (member->at == MEMBERS - 1 && stub->is_stopped)) {
        _exit(0);
    }
    if (strstr(request, " /v3/cluster/member/list ") != NULL) {
        answer_list(fd, stub);
    } else if (strstr(request, " /v3/cluster/member/remove ") != NULL) {
        answer_removal(fd, stub, member->at);
    } else {
        str_format(
            body, sizeof(body),
            "{\"header\":{\"cluster_id\":\"5\",\"member_id\":\"%u\",\"raft_term\":\"2\"},"
            "\"leader\":\"1\"}",
            member->at + 1);
        stub_answer(fd, 200, body);
    }
}

/* HABITS: one letter a member. */
static void world_open(struct world *world, const char *habits)
{
    int fds[MEMBERS];

    *world = (struct world){.loop = loop_new(), .stub = stub_share(sizeof(struct stub))};
    world->http = http_new(world->loop);
    str_copy(world->self.name, sizeof(world->self.name), "m3");
    str_copy(world->self.peer_url, sizeof(world->self.peer_url), "http://10.0.0.3:2380");
    for (unsigned at = 0; at < MEMBERS; at++) {
        world->stub->habit[at] = habits[at];
        fds[at] = stub_listen(world->stub->urls[at], sizeof(world->stub->urls[at]));
    }
    for (unsigned at = 0; at < MEMBERS; at++) {
        world->members[at] = (struct stub_member){.stub = world->stub, .at = at};
        world->members[at].pid = stub_start(fds[at], answer_request, &world->members[at]);
    }
}

static void world_close(struct world *world)
{
    for (unsigned at = 0; at < MEMBERS; at++) {
        stub_stop(world->members[at].pid);
    }
    stub_unshare(world->stub, sizeof(*world->stub));
    http_free(world->http);
    loop_free(world->loop);
}

static void on_done(void *arg, int result, const char *initial_cluster, const char *why)
{
    struct world *world = arg;

    (void)initial_cluster;
    assert_false(world->is_done);
    world->is_done = true;
    world->result = result;
    str_copy(world->why, sizeof(world->why), why);
}

static bool is_done(void *arg)
{
    return ((const struct world *)arg)->is_done;
}

/* Take out m3, which asks itself last when it LEAVES; by another one's word otherwise. */
static void take_out(struct world *world, bool leaves)
{
    char via[MEMBERS][ETCD_URL_SIZE];
    struct store_admin_options options = {
        .loop = world->loop,
        .http = world->http,
        .self = &world->self,
        .via = via,
        .via_count = MEMBERS};

    for (unsigned at = 0; at < MEMBERS; at++) {
        str_copy(via[at], sizeof(via[at]), world->stub->urls[at]);
    }
    if (leaves) {
        store_admin_leave(&options, on_done, world);
    } else {
        store_admin_remove(&options, "m3", on_done, world);
    }
    run_until(world->loop, 20000, is_done, world);
    assert_true(world->is_done);
    print_message("  %d %s\n", world->result, world->why);
}

static void test_done(void **state)
{
    (void)state;
    for (unsigned leaves = 0; leaves < 2; leaves++) {
        struct world world;

        world_open(&world, "ddd");
        take_out(&world, leaves);
        assert_int_equal(world.result, 0);
        assert_true(world.stub->is_out);
        assert_int_equal(world.stub->asked[0], 1);
        assert_int_equal(world.stub->asked[1] + world.stub->asked[2], 0);
        world_close(&world);
    }
}

/* The others refuse, it agrees, and has stopped before it could say so: it is out. */
static void test_stopped(void **state)
{
    (void)state;
    for (unsigned leaves = 0; leaves < 2; leaves++) {
        struct world world;

        world_open(&world, "uus");
        take_out(&world, leaves);
        assert_true(world.stub->is_stopped);
        assert_int_equal(world.result, 0);
        world_close(&world);
    }
}

/* The answer of the first one is lost, and the second one knows nobody of this name: it is out. */
static void test_lost(void **state)
{
    (void)state;
    for (unsigned leaves = 0; leaves < 2; leaves++) {
        struct world world;

        world_open(&world, "ldd");
        take_out(&world, leaves);
        assert_int_equal(world.result, 0);
        assert_int_equal(world.stub->asked[1] + world.stub->asked[2], 0);
        world_close(&world);
    }
}

/* They refuse until they have a leader: asked again, after a while each time. */
static void test_election(void **state)
{
    (void)state;
    for (unsigned leaves = 0; leaves < 2; leaves++) {
        struct world world;
        struct instant since = clock_now();

        world_open(&world, "ee-");
        take_out(&world, leaves);
        assert_int_equal(world.result, 0);
        assert_int_equal(world.stub->asked[0], 3);
        assert_true(instant_elapsed_max_ms(since, clock_now()) >= 2000);
        world_close(&world);
    }
}

/* Nobody does it: that is said, with what to do, and all were asked again, not for ever. */
static void test_refused(void **state)
{
    (void)state;
    for (unsigned leaves = 0; leaves < 2; leaves++) {
        struct world world;

        /* The last one says nothing: that is not told instead. */
        world_open(&world, "uu-");
        take_out(&world, leaves);
        assert_int_equal(world.result, ERR_UNAVAILABLE);
        assert_non_null(strstr(world.why, "unhealthy cluster\nhint: "));
        assert_false(world.stub->is_out);
        for (unsigned at = 0; at < 2; at++) {
            assert_in_range(world.stub->asked[at], 2, 7);
        }
        world_close(&world);
    }
}

/* Nobody of this name, and nobody was asked to remove him: not an end that was wanted. */
static void test_unknown(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, "ddd");
    world.stub->is_out = true;
    take_out(&world, false);
    assert_int_equal(world.result, ERR_NOT_FOUND);
    assert_non_null(strstr(world.why, "no member 'm3'"));
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_done),    cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_lost),    cmocka_unit_test(test_election),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
