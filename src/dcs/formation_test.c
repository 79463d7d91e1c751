#include "dcs/formation.h"

#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

static struct formation_self self_of(unsigned at, bool has_data)
{
    struct formation_self self = {.has_data = has_data};

    str_format(self.name, sizeof(self.name), "n%u", at);
    str_format(self.peer_url, sizeof(self.peer_url), "http://10.0.0.%u:2380", at);
    str_format(self.client_url, sizeof(self.client_url), "http://10.0.0.%u:2379", at);
    str_copy(self.list, sizeof(self.list), "00000000000000aa");
    return self;
}

static struct formation_peer peer_of(unsigned at, enum store_state state)
{
    struct formation_self self = self_of(at, false);
    struct formation_peer peer = {.answer = {.state = state}};

    str_format(peer.address, sizeof(peer.address), "10.0.0.%u:8008", at);
    if (state != STORE_UNREACHABLE) {
        str_copy(peer.answer.name, sizeof(peer.answer.name), self.name);
        str_copy(peer.answer.peer_url, sizeof(peer.answer.peer_url), self.peer_url);
        str_copy(peer.answer.client_url, sizeof(peer.answer.client_url), self.client_url);
        str_copy(peer.answer.list, sizeof(peer.answer.list), self.list);
    }
    if (state == STORE_MEMBER) {
        str_copy(peer.answer.cluster_id, sizeof(peer.answer.cluster_id), "c1");
    }
    if (state == STORE_FORMING) {
        str_copy(
            peer.answer.initial_cluster, sizeof(peer.answer.initial_cluster),
            "n0=http://10.0.0.0:2380,n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380");
        str_copy(peer.answer.token, sizeof(peer.answer.token), "baton-00000000000000aa");
    }
    return peer;
}

/* Every pair of answers of the two others, with and without data, with and without a leader: what
 * follows must keep the promises of the essay, said here in another way than there. */
static void test_all(void **state)
{
    unsigned steps[4] = {0};

    (void)state;
    for (unsigned number = 0; number < 2 * 5 * 2 * 5 * 2; number++) {
        bool has_data = number % 2 != 0;
        enum store_state states[2] = {
            (enum store_state)(number / 2 % 5), (enum store_state)(number / 10 % 5)};
        const bool leaders[2] = {number / 50 % 2 != 0, number / 100 % 2 != 0};
        struct formation_self self = self_of(0, has_data);
        struct formation_peer peers[3] = {
            peer_of(0, has_data ? STORE_MEMBER : STORE_NEW), peer_of(1, states[0]),
            peer_of(2, states[1])};
        struct formation_plan plan;
        bool may_form = true;
        bool can_join = false;

        for (unsigned at = 0; at < 2; at++) {
            peers[at + 1].answer.has_leader = leaders[at];
            may_form &= states[at] == STORE_NEW || states[at] == STORE_FORMING;
            can_join |= states[at] == STORE_MEMBER && leaders[at];
        }
        formation_decide(&self, peers, 3, &plan);
        steps[plan.step]++;
        assert_int_equal(plan.step == FORMATION_START, has_data);
        assert_int_equal(plan.step == FORMATION_JOIN, !has_data && can_join);
        assert_int_equal(plan.step == FORMATION_BOOTSTRAP, !has_data && may_form);
        assert_true(plan.why[0] != '\0');
        if (plan.step == FORMATION_BOOTSTRAP) {
            assert_string_equal(
                plan.initial_cluster,
                "n0=http://10.0.0.0:2380,n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380");
            assert_string_equal(plan.token, "baton-00000000000000aa");
        }
        if (plan.step == FORMATION_JOIN) {
            assert_in_range(plan.via_count, 1, 2);
        }
    }
    for (unsigned step = 0; step < 4; step++) {
        assert_true(steps[step] > 0);
    }
}

static void expect_wait(
    const struct formation_self *self, const struct formation_peer *peers, unsigned count,
    const char *words)
{
    struct formation_plan plan;

    formation_decide(self, peers, count, &plan);
    assert_int_equal(plan.step, FORMATION_WAIT);
    assert_non_null(strstr(plan.why, words));
}

static void test_clashes(void **state)
{
    struct formation_self self = self_of(0, false);
    struct formation_peer peers[2] = {peer_of(1, STORE_NEW), peer_of(2, STORE_NEW)};

    (void)state;
    str_copy(peers[0].answer.list, sizeof(peers[0].answer.list), "other");
    expect_wait(&self, peers, 2, "do not list the same peers");
    peers[0] = peer_of(1, STORE_NEW);
    str_copy(peers[0].answer.name, sizeof(peers[0].answer.name), "n0");
    expect_wait(&self, peers, 2, "this node's name: 10.0.0.1");
    peers[0] = peer_of(1, STORE_NEW);
    str_copy(peers[0].answer.peer_url, sizeof(peers[0].answer.peer_url), "http://10.0.0.0:2380");
    expect_wait(&self, peers, 2, "this node's store address");
    peers[0] = peer_of(1, STORE_MEMBER);
    peers[1] = peer_of(2, STORE_MEMBER);
    peers[0].answer.has_leader = true;
    peers[1].answer.has_leader = true;
    str_copy(peers[1].answer.cluster_id, sizeof(peers[1].answer.cluster_id), "c2");
    expect_wait(&self, peers, 2, "different stores");
    peers[0] = peer_of(1, STORE_FORMING);
    peers[1] = peer_of(2, STORE_FORMING);
    str_copy(
        peers[1].answer.initial_cluster, sizeof(peers[1].answer.initial_cluster),
        "n2=http://10.0.0.2:2380,n0=http://10.0.0.0:2380");
    expect_wait(&self, peers, 2, "form different stores");
    /* Names that merely contain ours. */
    str_copy(
        peers[0].answer.initial_cluster, sizeof(peers[0].answer.initial_cluster),
        "an0=http://10.0.0.0:2380,n0=http://10.0.0.0:23801");
    expect_wait(&self, peers, 1, "without this node");
}

static void test_alone(void **state)
{
    struct formation_self self = self_of(0, false);
    struct formation_plan plan;

    (void)state;
    formation_decide(&self, NULL, 0, &plan);
    assert_int_equal(plan.step, FORMATION_BOOTSTRAP);
    assert_string_equal(plan.initial_cluster, "n0=http://10.0.0.0:2380");
}

static void test_hash(void **state)
{
    char a[FORMATION_HASH_SIZE];
    char b[FORMATION_HASH_SIZE];
    const char *one[] = {"x:1", "y:2", "z:3"};
    const char *two[] = {"z:3", "x:1", "y:2"};

    (void)state;
    formation_hash("s", one, 3, a, sizeof(a));
    formation_hash("s", two, 3, b, sizeof(b));
    assert_string_equal(a, b);
    formation_hash("t", two, 3, b, sizeof(b));
    assert_string_not_equal(a, b);
    formation_hash("s", two, 2, b, sizeof(b));
    assert_string_not_equal(a, b);
}

static void test_enter(void **state)
{
    struct formation_self self = self_of(0, false);
    struct etcd_members members = {.count = 2};
    char cluster[FORMATION_CLUSTER_SIZE];
    uint64_t id = 0;

    (void)state;
    members.items[0] = (struct etcd_member){
        .id = 7,
        .name = "n1",
        .peer_url = "http://10.0.0.1:2380",
        .client_url = "http://10.0.0.1:2379"};
    members.items[1] = (struct etcd_member){.id = 8, .peer_url = "http://10.0.0.2:2380"};
    assert_int_equal(formation_enter(&self, &members, &id), FORMATION_ADD);
    assert_false(formation_cluster(&self, &members, cluster, sizeof(cluster)));
    /* A former self, started or not. */
    str_copy(members.items[1].peer_url, ETCD_URL_SIZE, self.peer_url);
    assert_int_equal(formation_enter(&self, &members, &id), FORMATION_REMOVE);
    assert_int_equal(id, 8);
    assert_true(formation_cluster(&self, &members, cluster, sizeof(cluster)));
    assert_string_equal(cluster, "n1=http://10.0.0.1:2380,n0=http://10.0.0.0:2380");
    str_copy(members.items[1].client_url, ETCD_URL_SIZE, "http://x");
    assert_int_equal(formation_enter(&self, &members, &id), FORMATION_REMOVE);
    /* Our name at another address. */
    str_copy(members.items[1].peer_url, ETCD_URL_SIZE, "http://10.0.0.9:2380");
    str_copy(members.items[1].name, ETCD_NAME_SIZE, "n0");
    assert_int_equal(formation_enter(&self, &members, &id), FORMATION_OCCUPIED);
    members.items[1].client_url[0] = '\0';
    assert_int_equal(formation_enter(&self, &members, &id), FORMATION_REMOVE);
    members.items[0].name[0] = '\0';
    str_copy(members.items[1].peer_url, ETCD_URL_SIZE, self.peer_url);
    assert_true(formation_cluster(&self, &members, cluster, sizeof(cluster)));
    assert_string_equal(cluster, "id7=http://10.0.0.1:2380,n0=http://10.0.0.0:2380");
}

static void test_json(void **state)
{
    struct store_answer answer = peer_of(1, STORE_FORMING).answer;
    struct store_answer copy;
    struct err e = {0};
    AUTO_FREE char *json = formation_encode(&answer);

    (void)state;
    assert_int_equal(formation_decode(json, strlen(json), &copy, &e), 0);
    assert_memory_equal(&answer, &copy, sizeof(copy));
    json = mem_free(json);
    answer.state = STORE_UNREACHABLE;
    json = formation_encode(&answer);
    assert_int_equal(formation_decode(json, strlen(json), &copy, &e), ERR_CORRUPT);
    json = mem_free(json);
    answer.state = STORE_NEW;
    str_copy(answer.name, sizeof(answer.name), "a,b=http://x");
    json = formation_encode(&answer);
    assert_int_equal(formation_decode(json, strlen(json), &copy, &e), ERR_CORRUPT);
    assert_int_equal(formation_decode("[]", 2, &copy, &e), ERR_CORRUPT);
}

static void test_ends(void **state)
{
    char why[256];

    (void)state;
    assert_int_equal(
        formation_end_of(
            "{\"level\":\"fatal\",\"error\":\"wal: max entry size limit exceeded\"}", why,
            sizeof(why)),
        END_DAMAGED);
    assert_int_equal(
        formation_end_of("panic: wal: crc mismatch\nno space left on device", why, sizeof(why)),
        END_PLACE);
    assert_int_equal(
        formation_end_of(
            "the member has been permanently removed from the cluster", why, sizeof(why)),
        END_REMOVED);
    assert_int_equal(formation_end_of("", why, sizeof(why)), END_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),  cmocka_unit_test(test_clashes), cmocka_unit_test(test_alone),
        cmocka_unit_test(test_hash), cmocka_unit_test(test_enter),   cmocka_unit_test(test_json),
        cmocka_unit_test(test_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
