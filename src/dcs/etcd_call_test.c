/* What a real etcd does only by chance: answers that get lost, servers that lie. A stub server
 * follows a script instead; what it shares with the test is in memory that both have. */
#include "dcs/etcd_call.h"
#include "dcs/etcd_stub_test.h"
#include "dcs/etcd_wire.h"

#include <sys/resource.h>

#define PREFIX "/service/test/"
#define HEADER \
    "\"header\":{\"cluster_id\":\"%d\",\"member_id\":\"1\",\"revision\":\"%d\",\"raft_term\":" \
    "\"%d\"}"
#define DENIED "{\"code\":7,\"message\":\"etcdserver: permission denied\"}"

struct stub {
    volatile int txns; /* requests that came */
    volatile int statuses;
    volatile int cluster_id;
    volatile int revision;
    volatile int raft_term;
    volatile bool is_beta;   /* only /v3beta exists */
    volatile bool no_watch;  /* watches end at once */
    volatile bool no_status; /* only root may ask for it */
    volatile bool no_user;   /* it knows nobody, as another's server */
    volatile bool no_reads;  /* those of the whole prefix fail */
    volatile unsigned reads;
    volatile char script[8]; /* for each txn: s)ucceeded f)ailed h)ang c)lose l)ease e)rror */
    char value[16];          /* what they put, in base64; "": anything */
};

static void answer_ok(int fd, const struct stub *stub, const char *rest)
{
    char body[512];

    str_format(
        body, sizeof(body), "{" HEADER "%s}", stub->cluster_id, stub->revision, stub->raft_term,
        rest);
    stub_answer(fd, 200, body);
}

static void answer_txn(int fd, struct stub *stub, const char *request)
{
    size_t number = sizeof(stub->script);

    /* An attempt that was given up can be read as late as when the next question is asked. */
    if (strstr(request, stub->value) != NULL) {
        number = (size_t)__sync_fetch_and_add(&stub->txns, 1);
    }
    switch (number < sizeof(stub->script) ? stub->script[number] : 'h') {
    case 's':
        stub->revision++;
        answer_ok(fd, stub, ",\"succeeded\":true");
        return;
    case 'f':
        answer_ok(fd, stub, "");
        return;
    case 'l':
        stub_answer(fd, 404, "{\"code\":5,\"message\":\"etcdserver: requested lease not found\"}");
        return;
    case 'e':
        stub_answer(fd, 503, "{\"code\":14,\"message\":\"etcdserver: request timed out\"}");
        return;
    case 'c':
        _exit(0);
    default:
        pause();
    }
}

static void answer_watch(int fd, const struct stub *stub)
{
    char body[512];

    str_format(
        body, sizeof(body),
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"result\":{" HEADER ",\"created\":true}}\n",
        stub->cluster_id, stub->revision, stub->raft_term);
    if (!stub->no_watch) {
        IGNORE(write(fd, body, strlen(body)) < 0, "the client sees");
        pause();
    }
    _exit(0);
}

static void answer_request(int fd, void *arg, const char *request)
{
    struct stub *stub = arg;
    const char *path = strchr(request, ' ');

    if (path == NULL || str_starts(path, " /v3beta/") != stub->is_beta) {
        stub_answer(fd, 404, "404 page not found");
        return;
    }
    path = strchr(path + 2, '/');
    if (stub->no_user) {
        stub_answer(fd, 403, DENIED);
    } else if (str_starts(path, "/kv/range ")) {
        stub->reads++;
        if (stub->no_reads && strstr(request, "keys_only") == NULL) {
            stub_answer(fd, 503, "{\"code\":14,\"message\":\"etcdserver: request timed out\"}");
        } else {
            answer_ok(fd, stub, "");
        }
    } else if (str_starts(path, "/kv/txn ")) {
        answer_txn(fd, stub, request);
    } else if (str_starts(path, "/watch ")) {
        answer_watch(fd, stub);
    } else if (str_starts(path, "/auth/authenticate ")) {
        answer_ok(fd, stub, ",\"token\":\"t.1\"");
    } else if (str_starts(path, "/lease/grant ")) {
        answer_ok(fd, stub, ",\"ID\":\"77\",\"TTL\":\"5\"");
    } else if (str_starts(path, "/lease/keepalive ")) {
        stub_answer(fd, 200, "{\"result\":{\"ID\":\"77\",\"TTL\":\"5\"}}");
    } else if (str_starts(path, "/maintenance/status ")) {
        __sync_fetch_and_add(&stub->statuses, 1);
        if (stub->no_status) {
            stub_answer(fd, 403, DENIED);
        } else {
            answer_ok(fd, stub, ",\"leader\":\"1\"");
        }
    } else {
        answer_ok(fd, stub, "");
    }
}

static struct stub *stub_open(pid_t *pid, char *url, size_t size)
{
    struct stub *stub = stub_share(sizeof(*stub));
    int fd = stub_listen(url, size);

    *stub = (struct stub){.cluster_id = 5, .revision = 100, .raft_term = 7};
    *pid = stub_start(fd, answer_request, stub);
    return stub;
}

static void stub_close(struct stub *stub, pid_t pid)
{
    stub_stop(pid);
    stub_unshare(stub, sizeof(*stub));
}

struct client {
    struct loop *loop;
    struct dcs *dcs;
    struct stub *stub;
    pid_t pid;
    unsigned snapshots;
    unsigned session_losses;
    bool is_done;
    enum dcs_outcome outcome;
    struct dcs_health health;
};

static void on_snapshot(void *arg, const struct dcs_snapshot *snapshot)
{
    struct client *client = arg;

    (void)snapshot;
    client->snapshots++;
}

static void on_health(void *arg, const struct dcs_health *health)
{
    struct client *client = arg;

    client->session_losses += client->health.has_session && !health->has_session;
    client->health = *health;
}

static void on_done(void *arg, enum dcs_outcome outcome, int64_t revision)
{
    struct client *client = arg;

    (void)revision;
    assert_false(client->is_done);
    client->is_done = true;
    client->outcome = outcome;
}

static bool is_ready(void *arg)
{
    const struct client *client = arg;

    return client->health.is_connected && client->health.has_session && client->snapshots > 0;
}

static bool is_done(void *arg)
{
    return ((const struct client *)arg)->is_done;
}

/* Wait for a client of the endpoints URLS; its stub runs. */
static void client_start(
    struct client *client, const char *const *urls, unsigned count, const char *user)
{
    struct dcs_listener listener = {
        .on_snapshot = on_snapshot, .on_health = on_health, .arg = client};

    client->dcs = etcd_new(
        client->loop, &(struct etcd_options){
                          .endpoints = urls,
                          .endpoint_count = count,
                          .prefix = PREFIX,
                          .user = user,
                          .ttl_ms = 5000,
                          .retry_timeout_ms = 3000});
    dcs_start(client->dcs, &listener);
    assert_true(run_until(client->loop, 5000, is_ready, client));
}

static void client_open(struct client *client, bool is_beta, bool no_watch)
{
    char url[64];

    *client = (struct client){.loop = loop_new()};
    client->stub = stub_open(&client->pid, url, sizeof(url));
    client->stub->is_beta = is_beta;
    client->stub->no_watch = no_watch;
    client_start(client, (const char *const[]){url}, 1, NULL);
}

static void client_open_behind(struct client *client, const char *first, const char *user)
{
    char url[64];

    *client = (struct client){.loop = loop_new()};
    client->stub = stub_open(&client->pid, url, sizeof(url));
    client_start(client, (const char *const[]){first, url}, 2, user);
}

static void client_close(struct client *client)
{
    dcs_free(client->dcs);
    loop_free(client->loop);
    stub_close(client->stub, client->pid);
}

/* Ask once; each question puts another value, by which the stub knows its attempts. Returns the
 * milliseconds it took. */
static int64_t ask(struct client *client, const struct dcs_txn *txn, const char *script)
{
    static unsigned asked;
    struct instant start = clock_now();
    struct dcs_txn own = *txn;
    char value[8];
    AUTO_STR struct str coded = STR_INIT(sizeof(client->stub->value));

    asked++;
    str_format(value, sizeof(value), "%u", asked);
    own.ops[0].value = value;
    etcd_wire_base64(&coded, value, strlen(value));
    str_copy(client->stub->value, sizeof(client->stub->value), str_text(&coded));
    client->is_done = false;
    client->stub->txns = 0;
    for (unsigned at = 0; at < sizeof(client->stub->script); at++) {
        client->stub->script[at] = at < strlen(script) ? script[at] : 'h';
    }
    dcs_txn(client->dcs, &own, 2000, on_done, client);
    assert_false(client->is_done);
    assert_true(run_until(client->loop, 20000, is_done, client));
    return instant_elapsed_max_ms(start, clock_now());
}

/* TXN ends as OUTCOME when the stub follows SCRIPT. An attempt has 100 ms: where the machine stood
 * still for so long, one more ran out of time than the script says, and it is asked again. */
static void expect(
    struct client *client, const struct dcs_txn *txn, const char *script, enum dcs_outcome outcome)
{
    int64_t usual_ms = ETCD_TRY_MIN_MS;

    for (const char *at = script; *at != '\0'; at++) {
        usual_ms += *at == 'h' ? ETCD_TRY_MIN_MS : 0;
    }
    for (unsigned tries = 0; tries < 3; tries++) {
        int64_t taken_ms = ask(client, txn, script);

        if (client->outcome == outcome || taken_ms < usual_ms) {
            break;
        }
        print_message("%s: %d after %" PRId64 " ms\n", script, (int)client->outcome, taken_ms);
    }
    assert_int_equal(client->outcome, outcome);
}

static struct dcs_txn put_txn(void)
{
    struct dcs_txn txn = {.op_count = 1};

    txn.ops[0] = (struct dcs_op){.kind = DCS_PUT, .key = "x", .value = "1"};
    return txn;
}

static struct dcs_txn swap_txn(int64_t revision)
{
    struct dcs_txn txn = put_txn();

    txn.compare_count = 1;
    txn.compares[0] =
        (struct dcs_compare){.kind = DCS_REVISION_IS, .key = "x", .revision = revision};
    return txn;
}

/* A lost race after an attempt whose answer is missing is no lost race: that attempt may have won
 * it. */
static void test_outcomes(void **state)
{
    struct client client;
    struct dcs_txn swap = swap_txn(50);
    struct dcs_txn absent = swap_txn(0);
    struct dcs_txn put = put_txn();

    (void)state;
    client_open(&client, false, false);
    expect(&client, &swap, "s", DCS_DONE);
    expect(&client, &swap, "f", DCS_LOST_RACE);
    expect(&client, &swap, "hf", DCS_UNKNOWN);
    expect(&client, &swap, "ef", DCS_UNKNOWN);
    expect(&client, &swap, "hs", DCS_DONE);
    expect(&client, &swap, "el", DCS_UNKNOWN);
    expect(&client, &swap, "l", DCS_REFUSED);
    expect(&client, &swap, "hhhhhhhh", DCS_UNKNOWN);
    /* What could be applied twice is sent once. A key that is absent can be so again. */
    expect(&client, &put, "hs", DCS_UNKNOWN);
    assert_int_equal(client.stub->txns, 1);
    expect(&client, &absent, "es", DCS_UNKNOWN);
    assert_int_equal(client.stub->txns, 1);
    client_close(&client);
}

/* The connection breaks before an answer: libcurl itself must not send the request again. */
static void test_broken_connection(void **state)
{
    struct client client;
    struct dcs_txn put = put_txn();

    (void)state;
    client_open(&client, false, false);
    for (unsigned at = 0; at < 3; at++) {
        expect(&client, &put, "s", DCS_DONE);
        expect(&client, &put, "cs", DCS_UNKNOWN);
        assert_int_equal(client.stub->txns, 1);
    }
    client_close(&client);
}

static void test_lease_lost(void **state)
{
    struct client client;
    struct dcs_txn put = put_txn();

    (void)state;
    client_open(&client, false, false);
    put.ops[0].with_session = true;
    expect(&client, &put, "l", DCS_REFUSED);
    assert_true(run_until(client.loop, 2000, is_ready, &client));
    assert_int_equal(client.session_losses, 1);
    client_close(&client);
}

static void test_beta(void **state)
{
    struct client client;
    struct dcs_txn swap = swap_txn(50);

    (void)state;
    client_open(&client, true, false);
    expect(&client, &swap, "s", DCS_DONE);
    client_close(&client);
}

static bool has_no_problem(void *arg)
{
    return ((const struct client *)arg)->health.problem[0] == '\0';
}

/* etcd issue 20418: a server that was paused answers a quorum read from the past, once. */
static void test_stale(void **state)
{
    struct client client;
    struct dcs_txn swap = swap_txn(50);
    unsigned snapshots = 0;

    (void)state;
    client_open(&client, false, false);
    expect(&client, &swap, "s", DCS_DONE);
    run_until(client.loop, 300, NULL, NULL);
    snapshots = client.snapshots;
    client.stub->revision -= 30;
    dcs_refresh(client.dcs);
    wait_told(client.loop, client.health.problem, "knows less");
    assert_int_equal(client.snapshots, snapshots);
    client.stub->revision += 30;
    assert_true(run_until(client.loop, 20000, has_no_problem, &client));
    run_until(client.loop, 1500, NULL, NULL);
    assert_int_equal(client.snapshots, snapshots + 1);
    /* For good: it was replaced. No write goes there, then nothing is asked any more. */
    client.stub->revision -= 30;
    run_until(client.loop, 3500, NULL, NULL);
    expect(&client, &swap, "s", DCS_REFUSED);
    assert_int_equal(client.stub->txns, 0);
    wait_told(client.loop, client.health.problem, "replaced or restored");
    assert_true(client.health.is_replaced);
    assert_false(client.health.is_connected);
    client.stub->revision += 100;
    run_until(client.loop, 3000, NULL, NULL);
    assert_false(client.health.is_connected);
    expect(&client, &swap, "s", DCS_REFUSED);
    client_close(&client);
}

/* Another cluster at the same address gets no write, and is forgiven when the old one is back. */
static void test_foreign(void **state)
{
    struct client client;
    struct dcs_txn put = put_txn();

    (void)state;
    client_open(&client, false, false);
    expect(&client, &put, "s", DCS_DONE);
    client.stub->cluster_id = 6;
    run_until(client.loop, 2500, NULL, NULL);
    expect(&client, &put, "s", DCS_REFUSED);
    assert_int_equal(client.stub->txns, 0);
    wait_told(client.loop, client.health.problem, "another cluster");
    run_until(client.loop, 2000, NULL, NULL);
    assert_false(client.health.is_connected);
    client.stub->cluster_id = 5;
    assert_true(run_until(client.loop, 5000, is_ready, &client));
    expect(&client, &put, "s", DCS_DONE);
    client_close(&client);
}

/* A user who may not ask for the status of servers may write, though not to another store. */
static void test_no_status(void **state)
{
    struct client client;
    struct dcs_txn swap = swap_txn(50);

    (void)state;
    client_open(&client, false, false);
    client.stub->no_status = true;
    client.stub->no_reads = true;
    /* After a failure a server has to say who it is, and the watch's reads say nothing. */
    expect(&client, &swap, "es", DCS_DONE);
    assert_int_equal(client.stub->txns, 2);
    client.stub->no_reads = false;
    client.stub->cluster_id = 6;
    expect(&client, &swap, "es", DCS_UNKNOWN);
    assert_int_equal(client.stub->txns, 1);
    client.stub->cluster_id = 5;
    assert_true(run_until(client.loop, 20000, has_no_problem, &client));
    client.stub->revision -= 50;
    expect(&client, &swap, "es", DCS_UNKNOWN);
    assert_int_equal(client.stub->txns, 1);
    client_close(&client);
}

/* The first server is another store's by mistake, and knows no such user. */
static void test_no_user(void **state)
{
    char url[64];
    pid_t pid = 0;
    struct stub *stub = stub_open(&pid, url, sizeof(url));

    (void)state;
    stub->no_user = true;
    for (unsigned at = 0; at < 2; at++) {
        struct client client;
        struct dcs_txn swap = swap_txn(50);

        client_open_behind(&client, url, at == 0 ? NULL : "baton");
        expect(&client, &swap, "sss", DCS_DONE);
        client_close(&client);
    }
    stub_close(stub, pid);
}

/* A watch that never begins must not become a busy loop. */
static void test_no_watch(void **state)
{
    struct client client;
    unsigned reads = 0;

    (void)state;
    client_open(&client, false, true);
    client.stub->reads = 0;
    run_until(client.loop, 3000, NULL, NULL);
    reads = client.stub->reads;
    print_message("%u reads in 3 s without a watch\n", reads);
    assert_in_range(reads, 2, 20);
    assert_true(client.health.is_connected);
    client_close(&client);
}

static void free_within(void *arg, enum dcs_outcome outcome, int64_t revision)
{
    struct client *client = arg;

    on_done(arg, outcome, revision);
    dcs_free(client->dcs);
    client->dcs = NULL;
}

static bool has_come(void *arg)
{
    const struct client *client = arg;

    return client->stub->txns > 0;
}

static void test_free_within(void **state)
{
    struct client client;
    struct client other;
    struct dcs_txn swap = swap_txn(50);

    (void)state;
    client_open(&client, false, false);
    client.stub->script[0] = 's';
    dcs_txn(client.dcs, &swap, 1000, free_within, &client);
    assert_true(run_until(client.loop, 2000, is_done, &client));
    assert_null(client.dcs);
    client_close(&client);
    /* Refused ones come from another place; open ones end when the driver is freed. */
    client_open(&client, false, false);
    dcs_end_session(client.dcs);
    swap.ops[0].with_session = true;
    dcs_txn(client.dcs, &swap, 1000, free_within, &client);
    assert_true(run_until(client.loop, 2000, is_done, &client));
    assert_int_equal(client.outcome, DCS_REFUSED);
    client_close(&client);
    client_open(&client, false, false);
    other = (struct client){.loop = client.loop};
    swap.ops[0].with_session = false;
    client.stub->script[0] = 'h';
    dcs_txn(client.dcs, &swap, 1000, on_done, &other);
    assert_true(run_until(client.loop, 900, has_come, &client));
    assert_false(other.is_done);
    client_close(&client);
    assert_true(other.is_done);
    assert_int_equal(other.outcome, DCS_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),   cmocka_unit_test(test_broken_connection),
        cmocka_unit_test(test_lease_lost), cmocka_unit_test(test_beta),
        cmocka_unit_test(test_stale),      cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_no_status),  cmocka_unit_test(test_no_user),
        cmocka_unit_test(test_no_watch),   cmocka_unit_test(test_free_within),
    };

    /* Whatever else is tested at the time. */
    (void)setpriority(PRIO_PROCESS, 0, -15); /* for root */
    if (getenv("BATON_TEST") != NULL) {
        cmocka_set_test_filter(getenv("BATON_TEST"));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
