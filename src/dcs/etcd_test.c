#include "dcs/etcd_test.h"

#define PREFIX "/service/test/"
#define PATIENCE_MS 15000 /* for what must happen: the machine may be slow */

/* A client of the store and what it was told. */
struct client {
    struct loop *loop;
    struct dcs *dcs;
    unsigned snapshots;
    unsigned dones;
    unsigned session_losses;
    int64_t revision;
    unsigned count;
    char keys[8][64];
    char values[8][64];
    bool own[8];
    int64_t revisions[8];
    struct instant changed_at;
    struct dcs_health health;
    enum dcs_outcome outcome;
    int64_t done_revision;
    unsigned wanted; /* for the conditions below */
    const char *wanted_key;
    const char *wanted_value;
};

static void on_snapshot(void *arg, const struct dcs_snapshot *snapshot)
{
    struct client *client = arg;

    client->snapshots++;
    client->revision = snapshot->revision;
    client->count = snapshot->count;
    client->changed_at = clock_now();
    for (unsigned at = 0; at < snapshot->count && at < 8; at++) {
        const struct dcs_entry *entry = &snapshot->entries[at];

        str_copy(client->keys[at], sizeof(client->keys[at]), entry->key);
        str_copy(client->values[at], sizeof(client->values[at]), entry->value);
        client->own[at] = entry->is_of_session;
        client->revisions[at] = entry->revision;
    }
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

    client->dones++;
    client->outcome = outcome;
    client->done_revision = revision;
}

static int find(const struct client *client, const char *key)
{
    for (unsigned at = 0; at < client->count && at < 8; at++) {
        if (str_equal(client->keys[at], key)) {
            return (int)at;
        }
    }
    return -1;
}

static bool is_ready(void *arg)
{
    const struct client *client = arg;

    return client->health.is_connected && client->health.has_session && client->snapshots > 0;
}

static bool is_lost(void *arg)
{
    return !((const struct client *)arg)->health.is_connected;
}

static bool has_dones(void *arg)
{
    const struct client *client = arg;

    return client->dones >= client->wanted;
}

static bool has_value(void *arg)
{
    const struct client *client = arg;
    int at = find(client, client->wanted_key);

    return client->wanted_value == NULL
               ? at < 0
               : at >= 0 && str_equal(client->values[at], client->wanted_value);
}

static bool has_lost_session(void *arg)
{
    const struct client *client = arg;

    return client->session_losses > 0;
}

static bool has_snapshots(void *arg)
{
    const struct client *client = arg;

    return client->snapshots >= client->wanted;
}

static bool has_one_key(void *arg)
{
    const struct client *client = arg;

    return client->count == 1;
}

static void client_open_with(struct client *client, struct loop *loop, struct etcd_options options)
{
    struct dcs_listener listener = {
        .on_snapshot = on_snapshot, .on_health = on_health, .arg = client};

    *client = (struct client){.loop = loop};
    options.prefix = PREFIX;
    client->dcs = etcd_new(loop, &options);
    dcs_start(client->dcs, &listener);
}

static void client_open(
    struct client *client, struct loop *loop, const struct servers *servers, int64_t ttl_ms,
    int64_t retry_ms)
{
    const char *urls[SERVERS_MAX];

    for (unsigned at = 0; at < servers->count; at++) {
        urls[at] = servers->items[at].url;
    }
    client_open_with(
        client, loop,
        (struct etcd_options){
            .endpoints = urls,
            .endpoint_count = servers->count,
            .ttl_ms = ttl_ms,
            .retry_timeout_ms = retry_ms});
}

static void wait_ready(struct client *client)
{
    if (!run_until(client->loop, PATIENCE_MS, is_ready, client)) {
        print_message("not ready: %s\n", client->health.problem);
        assert_true(false);
    }
}

static bool wait_value(struct client *client, const char *key, const char *value, int64_t limit_ms)
{
    client->wanted_key = key;
    client->wanted_value = value;
    return run_until(client->loop, limit_ms, has_value, client);
}

static enum dcs_outcome txn_within(
    struct client *client, const struct dcs_txn *txn, int64_t timeout_ms)
{
    client->wanted = client->dones + 1;
    dcs_txn(client->dcs, txn, timeout_ms, on_done, client);
    assert_true(run_until(client->loop, timeout_ms + 1000, has_dones, client));
    assert_int_equal(client->dones, client->wanted);
    return client->outcome;
}

static struct dcs_txn put_txn(const char *key, const char *value)
{
    struct dcs_txn txn = {.op_count = 1};

    txn.ops[0] = (struct dcs_op){.kind = DCS_PUT, .key = key, .value = value};
    return txn;
}

static enum dcs_outcome put(struct client *client, const char *key, const char *value)
{
    struct dcs_txn txn = put_txn(key, value);

    return txn_within(client, &txn, PATIENCE_MS);
}

static enum dcs_outcome put_session(struct client *client, const char *key, const char *value)
{
    struct dcs_txn txn = put_txn(key, value);

    txn.ops[0].with_session = true;
    return txn_within(client, &txn, PATIENCE_MS);
}

static struct dcs_txn swap_txn(const char *key, int64_t revision, const char *value)
{
    struct dcs_txn txn = put_txn(key, value);

    txn.compare_count = 1;
    txn.compares[0] =
        (struct dcs_compare){.kind = DCS_REVISION_IS, .key = key, .revision = revision};
    return txn;
}

/* Start COUNT servers and a client, or skip. */
static void open_all(
    struct servers *servers, unsigned count, struct loop **loop, struct client *client,
    int64_t ttl_ms, int64_t retry_ms)
{
    if (!servers_prepare(servers, count)) {
        skip();
    }
    servers_start(servers);
    *loop = loop_new();
    client_open(client, *loop, servers, ttl_ms, retry_ms);
    wait_ready(client);
}

static void close_all(struct servers *servers, struct loop *loop, struct client *client)
{
    dcs_free(client->dcs);
    loop_free(loop);
    servers_stop(servers);
}

static void check_compares(struct client *client)
{
    struct dcs_txn txn = put_txn("lease", "one");
    int64_t revision = 0;

    txn.compare_count = 1;
    txn.compares[0] = (struct dcs_compare){.kind = DCS_IS_ABSENT, .key = "lease"};
    assert_int_equal(txn_within(client, &txn, PATIENCE_MS), DCS_DONE);
    revision = client->done_revision;
    assert_int_equal(txn_within(client, &txn, PATIENCE_MS), DCS_LOST_RACE);
    txn.compares[0] = (struct dcs_compare){.kind = DCS_VALUE_IS, .key = "lease", .value = "two"};
    assert_int_equal(txn_within(client, &txn, PATIENCE_MS), DCS_LOST_RACE);
    txn.compares[0].value = "";
    assert_int_equal(txn_within(client, &txn, PATIENCE_MS), DCS_LOST_RACE);
    txn.compares[0].value = "one";
    txn.ops[0].value = "";
    assert_int_equal(txn_within(client, &txn, PATIENCE_MS), DCS_DONE);
    txn.compares[0].value = "";
    txn.ops[0].value = "three";
    assert_int_equal(txn_within(client, &txn, PATIENCE_MS), DCS_DONE);
    txn.compares[0].key = "nothing";
    assert_int_equal(txn_within(client, &txn, PATIENCE_MS), DCS_LOST_RACE);
    txn = swap_txn("lease", revision, "four");
    assert_int_equal(txn_within(client, &txn, PATIENCE_MS), DCS_LOST_RACE);
    assert_true(wait_value(client, "lease", "three", PATIENCE_MS));
    txn = swap_txn("lease", client->revisions[0], "four");
    assert_int_equal(txn_within(client, &txn, PATIENCE_MS), DCS_DONE);
}

static void test_txn(void **state)
{
    struct servers servers;
    struct client client;
    struct loop *loop = NULL;
    struct dcs_txn txn = {.op_count = 3, .compare_count = 2};
    unsigned before = 0;

    (void)state;
    open_all(&servers, 1, &loop, &client, 5000, 3000);
    check_compares(&client);
    txn.compares[0] = (struct dcs_compare){.kind = DCS_IS_ABSENT, .key = "members/a"};
    txn.compares[1] = (struct dcs_compare){.kind = DCS_VALUE_IS, .key = "lease", .value = "four"};
    txn.ops[0] = (struct dcs_op){
        .kind = DCS_PUT, .key = "members/a", .value = "{\"x\":\"\xc3\xa4\"}", .with_session = true};
    txn.ops[1] = (struct dcs_op){.kind = DCS_DELETE, .key = "lease"};
    txn.ops[2] = (struct dcs_op){.kind = DCS_PUT, .key = "x", .value = "1"};
    assert_true(wait_value(&client, "lease", "four", PATIENCE_MS));
    before = client.snapshots;
    assert_int_equal(txn_within(&client, &txn, PATIENCE_MS), DCS_DONE);
    assert_true(wait_value(&client, "members/a", "{\"x\":\"\xc3\xa4\"}", PATIENCE_MS));
    assert_int_equal(client.snapshots, before + 1);
    assert_int_equal(client.count, 2);
    assert_true(client.own[0]);
    assert_false(client.own[1]);
    /* Twice the same key is refused by etcd. */
    txn = put_txn("x", "2");
    txn.op_count = 2;
    txn.ops[1] = txn.ops[0];
    assert_int_equal(txn_within(&client, &txn, 2000), DCS_REFUSED);
    client.wanted = client.snapshots + 1;
    dcs_refresh(client.dcs);
    assert_true(run_until(loop, PATIENCE_MS, has_snapshots, &client));
    dcs_end_session(client.dcs);
    assert_true(wait_value(&client, "members/a", NULL, PATIENCE_MS));
    assert_true(run_until(loop, PATIENCE_MS, has_lost_session, &client));
    assert_int_equal(put_session(&client, "members/a", "1"), DCS_REFUSED);
    close_all(&servers, loop, &client);
}

static void test_unknown(void **state)
{
    struct servers servers;
    struct client client;
    struct loop *loop = NULL;
    struct dcs_txn txn;

    (void)state;
    open_all(&servers, 1, &loop, &client, 5000, 2000);
    assert_int_equal(put(&client, "x", "1"), DCS_DONE);
    assert_true(wait_value(&client, "x", "1", PATIENCE_MS));
    server_freeze(&servers, 0);
    txn = swap_txn("x", client.revisions[0], "2");
    assert_int_equal(txn_within(&client, &txn, 600), DCS_UNKNOWN);
    assert_true(run_until(loop, PATIENCE_MS, is_lost, &client));
    print_message("stopped server: %s\n", client.health.problem);
    kill(servers.items[0].pid, SIGCONT);
    assert_true(run_until(loop, PATIENCE_MS, is_ready, &client));
    /* The stopped server found the request when it went on, or it did not. */
    client.wanted = client.snapshots + 1;
    dcs_refresh(client.dcs);
    assert_true(run_until(loop, PATIENCE_MS, has_snapshots, &client));
    assert_int_equal(client.count, 1);
    /* Nobody there: certainly not applied, because nothing was sent to an endpoint that did not say
     * who it is. */
    server_kill(&servers, 0);
    assert_int_equal(txn_within(&client, &txn, 300) == DCS_DONE, 0);
    txn = put_txn("x", "3");
    run_until(loop, 3500, NULL, NULL);
    assert_int_equal(txn_within(&client, &txn, 300), DCS_REFUSED);
    close_all(&servers, loop, &client);
}

/* A thawed server applies what it had: the repetition must not call that a lost race. */
static void test_late_answer(void **state)
{
    struct servers servers;
    struct client client;
    struct loop *loop = NULL;
    struct dcs_txn txn;

    (void)state;
    open_all(&servers, 1, &loop, &client, 5000, 5000);
    assert_int_equal(put(&client, "x", "1"), DCS_DONE);
    assert_true(wait_value(&client, "x", "1", PATIENCE_MS));
    server_freeze(&servers, 0);
    txn = swap_txn("x", client.revisions[0], "2");
    client.wanted = client.dones + 1;
    dcs_txn(client.dcs, &txn, 3000, on_done, &client);
    run_until(loop, 1500, NULL, NULL);
    assert_int_equal(client.dones, client.wanted - 1);
    kill(servers.items[0].pid, SIGCONT);
    assert_true(run_until(loop, PATIENCE_MS, has_dones, &client));
    print_message("late answer: outcome %d\n", (int)client.outcome);
    assert_true(client.outcome == DCS_DONE || client.outcome == DCS_UNKNOWN);
    assert_true(wait_value(&client, "x", "2", PATIENCE_MS));
    close_all(&servers, loop, &client);
}

static void test_members(void **state)
{
    struct servers servers;
    struct client client;
    struct client only_one;
    struct loop *loop = NULL;
    struct instant start;
    const char *one[] = {NULL};
    unsigned outcomes[DCS_REFUSED + 1] = {0};
    unsigned tries = 0;

    (void)state;
    open_all(&servers, 3, &loop, &client, 5000, 5000);
    one[0] = servers.items[0].url;
    client_open_with(
        &only_one, loop,
        (struct etcd_options){
            .endpoints = one, .endpoint_count = 1, .ttl_ms = 5000, .retry_timeout_ms = 5000});
    wait_ready(&only_one);
    run_until(loop, 300, NULL, NULL);
    /* The other two are known from the member list by now. Whoever the leader is, one of these
     * kills hits it. */
    for (unsigned at = 0; at < 3; at++) {
        char value[8];

        str_format(value, sizeof(value), "%u", at);
        server_kill(&servers, at);
        start = clock_now();
        for (tries = 1; put(&client, "x", value) != DCS_DONE; tries++) {
            assert_true(tries < 10);
        }
        print_message(
            "server %u killed: written after %d ms, %u tries\n", at,
            (int)instant_elapsed_max_ms(start, clock_now()), tries);
        assert_true(wait_value(&client, "x", value, PATIENCE_MS));
        assert_true(wait_value(&only_one, "x", value, PATIENCE_MS));
        print_message(
            "  seen by the other client after %d ms\n",
            (int)instant_elapsed_max_ms(start, only_one.changed_at));
        server_start(&servers, at);
        run_until(loop, 2500, NULL, NULL);
    }
    /* The same with a swap: repeated within one call. On a slow machine what is repeated was
     * applied before, and then it is not known. */
    for (unsigned at = 0; at < 3; at++) {
        struct dcs_txn txn = swap_txn("x", client.revisions[0], at == 1 ? "a" : "b");

        server_kill(&servers, at);
        outcomes[txn_within(&client, &txn, PATIENCE_MS)]++;
        print_message("server %u killed: swap ends with %d\n", at, (int)client.outcome);
        assert_true(wait_value(&client, "x", txn.ops[0].value, PATIENCE_MS));
        server_start(&servers, at);
        run_until(loop, 2500, NULL, NULL);
    }
    assert_int_equal(outcomes[DCS_DONE] + outcomes[DCS_UNKNOWN], 3);
    assert_true(outcomes[DCS_DONE] > 0);
    assert_true(is_ready(&client));
    dcs_free(only_one.dcs);
    close_all(&servers, loop, &client);
}

/* etcdctl's job, by hand. */
static void post(const char *url, const char *path, const char *body)
{
    char whole[256];

    str_format(whole, sizeof(whole), "%s/v3%s", url, path);
    assert_int_equal(
        run((const char *const[]){
            "curl", "-sf", "-m", "5", "-o", "/dev/null", "-d", body, whole, NULL}),
        0);
}

static void test_compaction(void **state)
{
    struct servers servers;
    struct client a;
    struct client b;
    struct loop *loop = NULL;
    struct loop *other = NULL;
    char body[64];

    (void)state;
    open_all(&servers, 1, &loop, &a, 20000, 4000);
    assert_int_equal(put(&a, "x", "old"), DCS_DONE);
    assert_int_equal(put(&a, "gone", "1"), DCS_DONE);
    assert_true(wait_value(&a, "gone", "1", PATIENCE_MS));
    /* a's loop stands still: to the store it is a client that hangs. The watch is cut by a restart
     * of the server. */
    other = loop_new();
    client_open(&b, other, &servers, 5000, 4000);
    wait_ready(&b);
    for (unsigned at = 0; at < 20; at++) {
        assert_int_equal(put(&b, "x", "new"), DCS_DONE);
    }
    {
        struct dcs_txn txn = {.op_count = 1};

        txn.ops[0] = (struct dcs_op){.kind = DCS_DELETE, .key = "gone"};
        assert_int_equal(txn_within(&b, &txn, PATIENCE_MS), DCS_DONE);
    }
    server_kill(&servers, 0);
    server_start(&servers, 0);
    run_until(other, 3000, NULL, NULL);
    wait_ready(&b);
    str_format(body, sizeof(body), "{\"revision\":\"%" PRId64 "\",\"physical\":true}", b.revision);
    post(servers.items[0].url, "/kv/compaction", body);
    assert_true(wait_value(&a, "gone", NULL, PATIENCE_MS));
    assert_true(wait_value(&a, "x", "new", PATIENCE_MS));
    assert_int_equal(put(&b, "x", "newer"), DCS_DONE);
    assert_true(wait_value(&a, "x", "newer", PATIENCE_MS));
    dcs_free(b.dcs);
    loop_free(other);
    close_all(&servers, loop, &a);
}

static bool is_regranted(void *arg)
{
    const struct client *client = arg;

    return client->session_losses > 0 && client->health.has_session;
}

/* Its key is there, put with a session that is no longer the present one. */
static bool is_of_old_session(void *arg)
{
    struct client *client = arg;
    int at = find(client, "members/a");

    return at >= 0 && !client->own[at];
}

static void test_session(void **state)
{
    struct servers servers;
    struct client client;
    struct loop *loop = NULL;
    int at = 0;

    (void)state;
    open_all(&servers, 1, &loop, &client, 4000, 3000);
    assert_int_equal(put_session(&client, "members/a", "1"), DCS_DONE);
    assert_true(wait_value(&client, "members/a", "1", PATIENCE_MS));
    run_until(loop, 5000, NULL, NULL);
    assert_int_equal(client.session_losses, 0);
    /* Twice the ttl without a turn of the loop: the lease runs out in the store. */
    sleep(8);
    assert_true(wait_value(&client, "members/a", NULL, PATIENCE_MS));
    assert_true(run_until(loop, PATIENCE_MS, is_regranted, &client));
    assert_int_equal(put_session(&client, "members/a", "2"), DCS_DONE);
    assert_true(wait_value(&client, "members/a", "2", PATIENCE_MS));
    at = find(&client, "members/a");
    assert_true(client.own[at]);
    /* Another ttl is another lease, at once, and there is one all the time: the key is not of the
     * session any more. */
    client.session_losses = 0;
    dcs_set_times(client.dcs, 60000, 3000);
    assert_true(run_until(loop, PATIENCE_MS, is_of_old_session, &client));
    dcs_set_times(client.dcs, 3000, 3000);
    assert_int_equal(put_session(&client, "members/a", "3"), DCS_DONE);
    assert_true(wait_value(&client, "members/a", "3", PATIENCE_MS));
    assert_true(run_until(loop, PATIENCE_MS, is_of_old_session, &client));
    assert_int_equal(client.session_losses, 0);
    assert_true(client.health.has_session);
    /* Another value: the one of before is there already, and the watch tells of this one later. */
    assert_int_equal(put_session(&client, "members/a", "4"), DCS_DONE);
    assert_true(wait_value(&client, "members/a", "4", PATIENCE_MS));
    assert_true(client.own[find(&client, "members/a")]);
    close_all(&servers, loop, &client);
}

static void enable_auth(const struct servers *servers)
{
    const char *url = servers->items[0].url;

    post(url, "/auth/user/add", "{\"name\":\"root\",\"password\":\"secret\"}");
    post(url, "/auth/role/add", "{\"name\":\"root\"}");
    post(url, "/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
    post(url, "/auth/enable", "{}");
}

static void test_auth(void **state)
{
    struct servers servers;
    struct client client;
    struct loop *loop = NULL;
    const char *urls[1];

    (void)state;
    if (!servers_prepare(&servers, 1)) {
        skip();
    }
    servers.extra[0] = "--auth-token-ttl";
    servers.extra[1] = "2";
    servers.extra[2] = "--bcrypt-cost";
    servers.extra[3] = "4";
    servers_start(&servers);
    loop = loop_new();
    urls[0] = servers.items[0].url;
    /* Before authentication is enabled the store says so, and is used without. */
    client_open_with(
        &client, loop,
        (struct etcd_options){
            .endpoints = urls,
            .endpoint_count = 1,
            .user = "root",
            .password = "secret",
            .ttl_ms = 20000,
            .retry_timeout_ms = 4000});
    wait_ready(&client);
    enable_auth(&servers);
    assert_int_equal(put(&client, "x", "1"), DCS_DONE);
    assert_true(wait_value(&client, "x", "1", PATIENCE_MS));
    /* Tokens live for two seconds after their last use; wiped ones are gone with the server. */
    sleep(4);
    assert_int_equal(put(&client, "x", "2"), DCS_DONE);
    assert_true(wait_value(&client, "x", "2", PATIENCE_MS));
    server_kill(&servers, 0);
    server_start(&servers, 0);
    run_until(loop, 2500, NULL, NULL);
    wait_ready(&client);
    assert_int_equal(put(&client, "x", "3"), DCS_DONE);
    assert_true(wait_value(&client, "x", "3", PATIENCE_MS));
    dcs_free(client.dcs);
    client_open_with(
        &client, loop,
        (struct etcd_options){
            .endpoints = urls,
            .endpoint_count = 1,
            .user = "root",
            .password = "wrong",
            .ttl_ms = 20000,
            .retry_timeout_ms = 4000});
    wait_told(loop, client.health.problem, "authentication failed");
    print_message("wrong password: %s\n", client.health.problem);
    assert_false(client.health.is_connected);
    assert_int_equal(put(&client, "x", "4"), DCS_REFUSED);
    close_all(&servers, loop, &client);
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void test_latency(void **state)
{
    struct servers servers;
    struct client a;
    struct client b;
    struct loop *loop = NULL;
    int64_t seen_us[200];

    (void)state;
    open_all(&servers, 3, &loop, &a, 20000, 4000);
    client_open(&b, loop, &servers, 20000, 4000);
    wait_ready(&b);
    for (unsigned at = 0; at < 200; at++) {
        enum dcs_outcome outcome =
            DCS_UNKNOWN; /* of those too during which the machine stood still */
        struct dcs_txn txn;
        struct instant start;
        char value[16];

        str_format(value, sizeof(value), "%u", at);
        txn = put_txn("x", value);
        start = clock_now();
        while (outcome == DCS_UNKNOWN) {
            outcome = txn_within(&a, &txn, PATIENCE_MS);
        }
        assert_int_equal(outcome, DCS_DONE);
        assert_true(wait_value(&b, "x", value, PATIENCE_MS));
        seen_us[at] = (b.changed_at.raw_ns - start.raw_ns) / 1000;
    }
    qsort(seen_us, 200, sizeof(seen_us[0]), compare_numbers);
    print_message(
        "put until seen by another client: %d us (median), %d us (p99)\n", (int)seen_us[100],
        (int)seen_us[198]);
    assert_true(seen_us[100] < 200000);
    dcs_free(b.dcs);
    close_all(&servers, loop, &a);
}

static void test_replaced(void **state)
{
    struct servers servers;
    struct client client;
    struct loop *loop = NULL;

    (void)state;
    open_all(&servers, 1, &loop, &client, 5000, 3000);
    for (unsigned at = 0; at < 10; at++) {
        assert_int_equal(put(&client, "x", "1"), DCS_DONE);
    }
    server_kill(&servers, 0);
    server_wipe(&servers, 0);
    server_start(&servers, 0);
    run_until(loop, 1000, NULL, NULL);
    /* Already before the verdict no write goes there. */
    assert_int_not_equal(put(&client, "y", "1"), DCS_DONE);
    assert_true(run_until(loop, PATIENCE_MS, is_lost, &client));
    wait_told(loop, client.health.problem, "replaced or restored");
    print_message("wiped: %s\n", client.health.problem);
    assert_false(client.health.has_session);
    assert_int_equal(put(&client, "y", "1"), DCS_REFUSED);
    dcs_free(client.dcs);
    client_open(&client, loop, &servers, 5000, 3000);
    wait_ready(&client);
    assert_int_equal(client.count, 0);
    /* Another cluster at the same address. */
    servers.extra[0] = "--initial-cluster-token";
    servers.extra[1] = "another";
    server_kill(&servers, 0);
    server_wipe(&servers, 0);
    server_start(&servers, 0);
    run_until(loop, 1000, NULL, NULL);
    assert_int_not_equal(put(&client, "y", "1"), DCS_DONE);
    assert_true(run_until(loop, PATIENCE_MS, is_lost, &client));
    wait_told(loop, client.health.problem, "another cluster");
    print_message("another cluster: %s\n", client.health.problem);
    close_all(&servers, loop, &client);
}

static void make_certificates(const char *folder)
{
    char script[2048];

    str_format(
        script, sizeof(script),
        "cd %s && exec >/dev/null 2>&1 && "
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key "
        "-out ca.pem -subj /CN=ca -days 2 && for n in server client; do "
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $n.key "
        "-out $n.csr -subj /CN=$n && printf 'subjectAltName=IP:127.0.0.1\\n' >ext && "
        "openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $n.pem "
        "-days 2 -extfile ext; done",
        folder);
    assert_int_equal(run((const char *const[]){"sh", "-c", script, NULL}), 0);
}

static void test_tls(void **state)
{
    struct servers servers;
    struct client client;
    struct loop *loop = NULL;
    char files[5][96];
    static const char *const names[] = {
        "ca.pem", "server.pem", "server.key", "client.pem", "client.key"};
    const char *urls[1];
    struct etcd_options options = {
        .endpoints = urls, .endpoint_count = 1, .ttl_ms = 5000, .retry_timeout_ms = 3000};

    (void)state;
    if (!servers_prepare(&servers, 1)) {
        skip();
    }
    make_certificates(servers.folder);
    for (unsigned at = 0; at < 5; at++) {
        str_format(files[at], sizeof(files[at]), "%s/%s", servers.folder, names[at]);
    }
    servers.extra[0] = "--trusted-ca-file";
    servers.extra[1] = files[0];
    servers.extra[2] = "--cert-file";
    servers.extra[3] = files[1];
    servers.extra[4] = "--key-file";
    servers.extra[5] = files[2];
    servers.extra[6] = "--client-cert-auth";
    str_format(
        servers.items[0].url, sizeof(servers.items[0].url), "https://127.0.0.1:%d",
        servers.items[0].client_port);
    servers_start(&servers);
    loop = loop_new();
    urls[0] = servers.items[0].url;
    options.ca_file = files[0];
    options.cert_file = files[3];
    options.key_file = files[4];
    client_open_with(&client, loop, options);
    wait_ready(&client);
    assert_int_equal(put(&client, "x", "1"), DCS_DONE);
    assert_true(wait_value(&client, "x", "1", PATIENCE_MS));
    dcs_free(client.dcs);
    options.ca_file = NULL;
    client_open_with(&client, loop, options);
    run_until(loop, 1000, NULL, NULL);
    assert_false(client.health.is_connected);
    print_message("unknown CA: %s\n", client.health.problem);
    close_all(&servers, loop, &client);
}

static void test_limits(void **state)
{
    struct servers servers;
    struct client client;
    struct loop *loop = NULL;
    struct dcs_txn txn;
    AUTO_FREE char *large = mem_alloc(DCS_VALUE_MAX + 2);

    (void)state;
    open_all(&servers, 1, &loop, &client, 20000, 8000);
    memset(large, 'x', DCS_VALUE_MAX + 1);
    txn = put_txn("x", large);
    assert_int_equal(txn_within(&client, &txn, 1000), DCS_REFUSED);
    large[DCS_VALUE_MAX] = '\0';
    assert_int_equal(txn_within(&client, &txn, PATIENCE_MS), DCS_DONE);
    assert_true(run_until(loop, PATIENCE_MS, has_one_key, &client));
    for (unsigned at = 0; at < DCS_KEYS_MAX; at++) {
        char key[16];

        str_format(key, sizeof(key), "k%03u", at);
        IGNORE(put(&client, key, "1"), "the last one is too many");
    }
    assert_true(run_until(loop, PATIENCE_MS, is_lost, &client));
    print_message("too many: %s\n", client.health.problem);
    assert_non_null(strstr(client.health.problem, "more than 128 keys"));
    txn = (struct dcs_txn){.op_count = 1};
    txn.ops[0] = (struct dcs_op){.kind = DCS_DELETE, .key = "k000"};
    assert_int_equal(txn_within(&client, &txn, PATIENCE_MS), DCS_DONE);
    assert_true(run_until(loop, PATIENCE_MS, is_ready, &client));
    assert_int_equal(client.count, DCS_KEYS_MAX);
    close_all(&servers, loop, &client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_txn),         cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_late_answer), cmocka_unit_test(test_members),
        cmocka_unit_test(test_compaction),  cmocka_unit_test(test_session),
        cmocka_unit_test(test_auth),        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_replaced),    cmocka_unit_test(test_tls),
        cmocka_unit_test(test_limits),
    };

    if (getenv("BATON_TEST") != NULL) {
        cmocka_set_test_filter(getenv("BATON_TEST"));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
