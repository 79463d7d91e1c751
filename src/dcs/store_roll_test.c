#include "dcs/store_roll.h"

#include "dcs/etcd_test.h"

/* A store in one letter a member: leader, voter, silent voter, new (learner), x silent learner. */
static struct store_roll roll_of(const char *letters)
{
    struct store_roll roll = {.cluster_id = 0xc1};

    for (unsigned at = 0; letters[at] != '\0'; at++) {
        struct roll_member *one = &roll.members[roll.count++];

        one->member.id = at + 1;
        str_format(one->member.name, sizeof(one->member.name), "m%u", at);
        str_format(one->member.peer_url, sizeof(one->member.peer_url), "http://10.0.0.%u:2380", at);
        str_format(
            one->member.client_url, sizeof(one->member.client_url), "http://10.0.0.%u:2379", at);
        one->member.is_learner = letters[at] == 'n' || letters[at] == 'x';
        one->answers = letters[at] != 's' && letters[at] != 'x';
        if (letters[at] == 'l') {
            roll.leader_id = one->member.id;
        }
    }
    return roll;
}

static void test_removal(void **state)
{
    static const struct {
        const char *store;
        unsigned at;
        int result;
        const char *words;
    } rows[] = {
        {"l", 0, ERR_CONFLICT, "m0 is the only voting member"},
        {"ln", 0, ERR_CONFLICT, "m0 is the only voting member"},
        {"ln", 1, 0, ""},
        {"lx", 1, 0, ""},
        {"lv", 0, 0, ""},
        {"lv", 1, 0, ""},
        {"vs", 1, ERR_UNAVAILABLE, "no leader"},
        {"vs", 1, ERR_UNAVAILABLE, "do not answer: m1"},
        {"lvv", 0, 0, ""},
        {"lvs", 2, 0, ""},
        {"lvs", 1, ERR_CONFLICT, "without m1 only 1 of the 2 voting members left"},
        {"lvs", 0, ERR_CONFLICT, "start or remove first: m2"},
        {"lvvs", 0, 0, ""},
        {"lvvss", 0, ERR_CONFLICT, "start or remove first: m3, m4"},
        {"lvvss", 3, 0, ""},
        {"lvvn", 3, 0, ""},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct store_roll roll = roll_of(rows[at].store);
        struct err e = {0};
        int r = store_roll_check_removal(&roll, &roll.members[rows[at].at], &e);

        if (r != rows[at].result) {
            print_error("%s without %u: %d %s\n", rows[at].store, rows[at].at, r, err_text(&e));
        }
        assert_int_equal(r, rows[at].result);
        assert_true(r == 0 || strstr(err_text(&e), rows[at].words) != NULL);
        assert_true(r == 0 || strstr(err_text(&e), "\nhint: ") != NULL);
    }
}

/* Every store of up to five members: what is allowed leaves a majority that answers, and of those
 * that have one now, only what would lose it is refused. */
static void test_all_stores(void **state)
{
    static const char letters[] = "vsnx";
    unsigned allowed = 0;
    unsigned refused = 0;

    (void)state;
    for (unsigned number = 0; number < 4 * 4 * 4 * 4; number++) {
        char text[6] = "l";
        struct store_roll roll;

        for (unsigned at = 0, rest = number; at < 4; at++, rest /= 4) {
            text[at + 1] = letters[rest % 4];
        }
        roll = roll_of(text);
        for (unsigned without = 0; without < roll.count; without++) {
            int votes = 0;
            bool is_allowed = store_roll_check_removal(&roll, &roll.members[without], NULL) == 0;

            for (unsigned at = 0; at < roll.count; at++) {
                if (at != without && !roll.members[at].member.is_learner) {
                    votes += roll.members[at].answers ? 1 : -1;
                }
            }
            assert_int_equal(is_allowed, votes > 0);
            allowed += is_allowed;
            refused += !is_allowed;
        }
    }
    assert_true(allowed > 100 && refused > 100);
}

static void test_names(void **state)
{
    struct store_roll roll = roll_of("lsn");
    AUTO_FREE char *json = NULL;

    (void)state;
    roll.members[2].member.name[0] = '\0';
    roll.members[2].member.id = 0xabc;
    assert_ptr_equal(store_roll_find(&roll, "m1"), &roll.members[1]);
    assert_ptr_equal(store_roll_find(&roll, "idabc"), &roll.members[2]);
    assert_null(store_roll_find(&roll, ""));
    assert_ptr_equal(store_roll_at(&roll, "http://10.0.0.1:2380"), &roll.members[1]);
    assert_null(store_roll_at(&roll, "http://10.0.0.9:2380"));
    assert_int_equal(store_roll_heir(&roll, &roll.members[0]), 0);
    roll.members[1].answers = true;
    assert_int_equal(store_roll_heir(&roll, &roll.members[0]), 2);
    roll.members[1].answers = false;
    json = store_roll_encode(&roll);
    assert_non_null(strstr(json, "\"cluster_id\":\"c1\""));
    assert_non_null(strstr(json, "\"peer_url\":\"http://10.0.0.0:2380\",\"state\":\"leader\""));
    assert_non_null(strstr(json, "\"peer_url\":\"http://10.0.0.1:2380\",\"state\":\"does not"));
    assert_non_null(strstr(json, "{\"name\":\"idabc\",\"id\":\"abc\""));
    assert_non_null(strstr(json, "\"peer_url\":\"http://10.0.0.2:2380\",\"state\":\"learner\""));
}

/* Members that no agent has told of; this node and those that were told of are left out. */
static void test_peers(void **state)
{
    struct store_roll roll = roll_of("lvvs");
    struct formation_self self = {.peer_url = "http://10.0.0.0:2380"};
    AUTO_FREE struct formation_peer *peers = mem_alloc(sizeof(*peers) * FORMATION_PEERS_MAX);

    (void)state;
    peers[0].answer.state = STORE_MEMBER;
    str_copy(peers[0].answer.peer_url, ETCD_URL_SIZE, "http://10.0.0.1:2380");
    assert_int_equal(store_roll_add_peers(&roll, &self, peers, 1, FORMATION_PEERS_MAX), 3);
    assert_string_equal(peers[1].answer.client_url, "http://10.0.0.2:2379");
    assert_string_equal(peers[1].answer.cluster_id, "c1");
    assert_true(peers[1].answer.has_leader);
    assert_string_equal(peers[2].answer.client_url, "http://10.0.0.3:2379");
    assert_false(peers[2].answer.has_leader);
    assert_int_equal(store_roll_add_peers(&roll, &self, peers, 1, 2), 2);
    roll.leader_id = 0;
    assert_int_equal(store_roll_add_peers(&roll, &self, peers, 1, FORMATION_PEERS_MAX), 3);
    assert_false(peers[1].answer.has_leader);
    /* One that never started has no address yet. */
    roll.members[2].member.client_url[0] = '\0';
    assert_int_equal(store_roll_add_peers(&roll, &self, peers, 1, FORMATION_PEERS_MAX), 2);
}

/* The data was removed on all nodes while the agents run, each of which remembers who was a member:
 * one whose agent says that it has nothing is none any more, and a new store can be formed. One
 * whose agent is silent may have its data, and one that answers and has a leader is a member. */
static void test_old_roll(void **state)
{
    static const enum store_state states[] = {
        STORE_UNREACHABLE, STORE_NEW, STORE_FORMING, STORE_MEMBER, STORE_LEFT};
    AUTO_FREE struct formation_peer *peers = mem_alloc(sizeof(*peers) * FORMATION_PEERS_MAX);

    (void)state;
    for (unsigned number = 0; number < ARRAY_LEN(states) * 2 * 2; number++) {
        struct store_roll roll = roll_of("vvl");
        struct formation_self self = {
            .name = "m0", .peer_url = "http://10.0.0.0:2380", .list = "aa"};
        enum store_state other = states[number / 4];
        bool has_leader = number % 2 != 0;
        struct formation_plan plan;
        unsigned count = 3;

        roll.members[2].answers = false;
        roll.members[1].answers = number / 2 % 2 != 0;
        roll.leader_id = has_leader ? 3 : 0;
        for (unsigned at = 0; at < 3; at++) {
            struct store_answer *answer = &peers[at].answer;

            *answer = (struct store_answer){.state = at == 1 ? other : STORE_NEW};
            if (answer->state != STORE_UNREACHABLE) {
                str_format(answer->name, sizeof(answer->name), "m%u", at);
                str_format(answer->peer_url, sizeof(answer->peer_url), "http://10.0.0.%u:2380", at);
                str_copy(answer->list, sizeof(answer->list), "aa");
                str_copy(
                    answer->initial_cluster, sizeof(answer->initial_cluster),
                    "m0=http://10.0.0.0:2380");
            }
        }
        count = store_roll_add_peers(&roll, &self, peers, count, FORMATION_PEERS_MAX);
        formation_decide(&self, peers, count, &plan);
        if (roll.members[1].answers && has_leader && other != STORE_MEMBER) {
            assert_int_equal(plan.step, FORMATION_JOIN);
        } else if (other == STORE_NEW || other == STORE_FORMING) {
            assert_int_equal(plan.step, FORMATION_BOOTSTRAP);
        } else {
            assert_int_equal(plan.step, FORMATION_WAIT);
        }
        assert_int_equal(count, other == STORE_UNREACHABLE || plan.step == FORMATION_JOIN ? 4 : 3);
    }
}

/* ---- real servers ---- */

struct told {
    bool is_told;
    int result;
    struct store_roll roll;
    char why[256];
};

static void on_roll(void *arg, int result, const struct store_roll *roll, const char *why)
{
    struct told *told = arg;

    told->is_told = true;
    told->result = result;
    str_copy(told->why, sizeof(told->why), why);
    if (roll != NULL) {
        told->roll = *roll;
    }
}

static bool is_told(void *arg)
{
    return ((const struct told *)arg)->is_told;
}

static void call(
    struct loop *loop, struct http *http, const struct servers *servers, struct told *told)
{
    char via[SERVERS_MAX][ETCD_URL_SIZE];

    *told = (struct told){0};
    for (unsigned at = 0; at < servers->count; at++) {
        str_copy(via[at], sizeof(via[at]), servers->items[at].url);
    }
    store_roll_call(http, NULL, via, servers->count, on_roll, told);
    assert_true(run_until(loop, 5000, is_told, told));
}

/* Call until ANSWERING members answer and there is a leader or none. */
static void call_until(
    struct loop *loop, struct http *http, const struct servers *servers, unsigned answering,
    struct told *told)
{
    unsigned count = 0;
    unsigned tries = 0;

    do {
        assert_true(tries++ < 200);
        run_until(loop, 100, NULL, NULL);
        call(loop, http, servers, told);
        count = 0;
        for (unsigned at = 0; at < told->roll.count; at++) {
            count += told->roll.members[at].answers;
        }
    } while (told->result < 0 || count != answering ||
             (told->roll.leader_id != 0) != (answering > servers->count / 2));
}

static void test_real(void **state)
{
    struct servers servers;
    AUTO_FREE struct told *told = mem_alloc(sizeof(*told));
    struct loop *loop = NULL;
    struct http *http = NULL;
    char via[1][ETCD_URL_SIZE];

    (void)state;
    if (!servers_prepare(&servers, 3)) {
        skip();
    }
    servers_start(&servers);
    loop = loop_new();
    http = http_new(loop);
    call_until(loop, http, &servers, 3, told);
    assert_int_equal(told->roll.count, 3);
    for (unsigned at = 0; at < 3; at++) {
        assert_string_equal(told->roll.members[at].member.name, servers.items[at].name);
    }
    print_message("the first that is asked, and a majority, are gone\n");
    server_kill(&servers, 0);
    server_kill(&servers, 1);
    call_until(loop, http, &servers, 1, told);
    assert_true(told->roll.members[2].answers);
    print_message("nobody answers; and a call that is not waited for\n");
    server_kill(&servers, 2);
    call(loop, http, &servers, told);
    assert_int_equal(told->result, ERR_UNAVAILABLE);
    assert_non_null(strstr(told->why, servers.items[2].url));
    str_copy(via[0], sizeof(via[0]), servers.items[0].url);
    store_roll_call_free(store_roll_call(http, NULL, via, 1, on_roll, told));
    http_free(http);
    loop_free(loop);
    servers_stop(&servers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removal),  cmocka_unit_test(test_all_stores),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_peers),
        cmocka_unit_test(test_old_roll), cmocka_unit_test(test_real),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
