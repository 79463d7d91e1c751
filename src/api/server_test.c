#include "api/api.h"

#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <sys/socket.h>

#include <cmocka.h>

#define PATIENCE_MS 5000
#define ANSWER_MAX 65536
#define CALLS_MAX 64
#define CROWD 700
#define SLOW_PATIENCE_MS 60000

/* ---- a server with a source that remembers its calls ---- */

struct house {
    struct loop *loop;
    struct config config;
    struct api *api;
    bool answers_at_once;
    unsigned call_count;
    unsigned looks;
    struct api_call *calls[CALLS_MAX];
    struct loop_timer *patience;
    bool is_late;
};

static void get_snapshot(void *arg, struct api_snapshot *ret)
{
    struct house *house = arg;

    *ret = (struct api_snapshot){
        .config = &house->config,
        .has_lease = true,
        .dcs_ok = true,
        .state = STATE_RUNNING,
        .role = ROLE_PRIMARY,
        .server.state = SERVER_PRIMARY,
    };
    ret->cluster.settings = (struct cluster_settings)CLUSTER_SETTINGS_DEFAULT;
    ret->cluster.member_count = 2;
    str_copy(ret->cluster.leader, MEMBER_NAME_SIZE, "n1");
    str_copy(ret->cluster.members[0].name, MEMBER_NAME_SIZE, "n1");
    str_copy(ret->cluster.members[1].name, MEMBER_NAME_SIZE, "n2");
    str_copy(ret->cluster.members[1].api_url, URL_SIZE, "http://n2:8008/patroni");
}

static void on_wish(
    void *arg, const struct failover_request *request, bool is_failover, struct api_call *call)
{
    struct house *house = arg;

    (void)request;
    (void)is_failover;
    if (house->answers_at_once) {
        api_answer(call, 412, "not now");
        return;
    }
    assert_true(house->call_count < CALLS_MAX);
    house->calls[house->call_count++] = call;
    loop_stop(house->loop);
}

static void on_look(void *arg)
{
    struct house *house = arg;

    house->looks++;
}

static char *get_store(void *arg)
{
    (void)arg;
    return mem_dup("{\"store\": 1}");
}

static void on_late(void *arg)
{
    struct house *house = arg;

    house->is_late = true;
    loop_stop(house->loop);
}

static struct house *open_house(void)
{
    struct house *house = mem_alloc(sizeof(*house));
    struct api_source source = {
        .snapshot = get_snapshot,
        .request = on_wish,
        .look = on_look,
        .store_answer = get_store,
        .arg = house};
    struct err e = {0};

    house->loop = loop_new();
    house->patience = loop_timer_new(house->loop, on_late, house);
    str_copy(house->config.restapi.listen.host, HOST_SIZE, "127.0.0.1");
    if (api_new(house->loop, &house->config, &source, &house->api, &e) < 0) {
        fail_msg("%s", err_text(&e));
    }
    return house;
}

static void close_house(struct house *house)
{
    api_free(house->api);
    loop_timer_free(house->patience);
    loop_free(house->loop);
    mem_free(house);
}

/* ---- a client ---- */

struct guest {
    struct house *house;
    struct loop_poll *poll;
    struct str heard;
    const char *wanted; /* stop the loop when this was heard; NULL: at the end */
    int fd;
    bool is_over;
};

static bool has_heard(struct guest *guest)
{
    return guest->is_over ||
           (guest->wanted != NULL && strstr(str_text(&guest->heard), guest->wanted) != NULL);
}

static void on_bytes(void *arg, bool readable, bool writable)
{
    struct guest *guest = arg;
    char bytes[4096];
    ssize_t count = recv(guest->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    (void)readable;
    (void)writable;
    if (count > 0) {
        str_add_length(&guest->heard, bytes, (size_t)count);
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        guest->is_over = true;
        loop_poll_set(guest->poll, false, false);
    }
    if (has_heard(guest)) {
        loop_stop(guest->house->loop);
    }
}

static int connect_to(const struct house *house)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
    } address = {.v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)api_port(house->api))}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, &address.any, sizeof(address.v4)), 0);
    return fd;
}

static struct guest *enter(struct house *house)
{
    struct guest *guest = mem_alloc(sizeof(*guest));

    guest->house = house;
    guest->heard = (struct str)STR_INIT(ANSWER_MAX);
    guest->fd = connect_to(house);
    guest->poll = loop_poll_new(house->loop, guest->fd, on_bytes, guest);
    loop_poll_set(guest->poll, true, false);
    return guest;
}

static void leave(struct guest *guest)
{
    loop_poll_free(guest->poll);
    close(guest->fd);
    str_fini(&guest->heard);
    mem_free(guest);
}

static void say(struct guest *guest, const char *text)
{
    assert_int_equal(send(guest->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void run_for(struct house *house, int64_t ms)
{
    house->is_late = false;
    loop_timer_start(house->patience, ms);
    loop_run(house->loop);
    loop_timer_stop(house->patience);
}

/* Run until WANTED was heard (NULL: until the end). */
static const char *hear(struct guest *guest, const char *wanted)
{
    guest->wanted = wanted;
    if (!has_heard(guest)) {
        run_for(guest->house, PATIENCE_MS);
    }
    if (!has_heard(guest)) {
        print_error("heard only: %s\n", str_text(&guest->heard));
    }
    assert_true(has_heard(guest));
    return str_text(&guest->heard);
}

/* One request on a connection of its own. */
static int ask_with(
    struct house *house, const char *method, const char *target, const char *headers,
    const char *body)
{
    struct guest *guest = enter(house);
    struct str text AUTO_STR = STR_INIT(ANSWER_MAX * 2);
    const char *heard;
    int status;

    str_addf(
        &text, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s", method, target, headers);
    if (body != NULL) {
        str_addf(&text, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    } else {
        str_add(&text, "\r\n");
    }
    say(guest, str_text(&text));
    heard = hear(guest, NULL);
    assert_true(str_starts(heard, "HTTP/1.1 "));
    status = (heard[9] - '0') * 100 + (heard[10] - '0') * 10 + (heard[11] - '0');
    leave(guest);
    return status;
}

static int ask(struct house *house, const char *method, const char *target, const char *body)
{
    return ask_with(house, method, target, "", body);
}

/* A call that waits for the source. */
static struct guest *post(struct house *house)
{
    struct guest *guest = enter(house);
    unsigned before = house->call_count;

    say(guest, "POST /switchover HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n"
               "{\"leader\":\"n1\"}");
    run_for(house, PATIENCE_MS);
    assert_int_equal(house->call_count, before + 1);
    return guest;
}

/* ---- tests ---- */

static void test_get(void **state)
{
    struct house *house = open_house();
    struct guest *guest = enter(house);

    (void)state;
    say(guest, "GET /patroni HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(guest, "\"patroni\": {");
    assert_non_null(strstr(str_text(&guest->heard), "Server: baton\r\n"));
    assert_non_null(strstr(str_text(&guest->heard), "Content-Type: application/json\r\n"));
    str_clear(&guest->heard);
    /* The same connection again. */
    say(guest, "OPTIONS /primary HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(guest, "\r\n\r\n");
    assert_true(str_starts(str_text(&guest->heard), "HTTP/1.1 200 OK\r\n"));
    str_clear(&guest->heard);
    say(guest, "HEAD /replica?lag=1%4DB HTTP/1.0\r\n\r\n");
    assert_true(str_starts(hear(guest, NULL), "HTTP/1.1 503 "));
    leave(guest);
    assert_int_equal(ask(house, "GET", "/baton/store", NULL), 200);
    assert_int_equal(ask(house, "GET", "/baton/nonsense", NULL), 404);
    assert_int_equal(ask(house, "POST", "/baton/store", ""), 405);
    assert_int_equal(ask(house, "PUT", "/config", "{}"), 501);
    assert_int_equal(ask(house, "BREW", "/", NULL), 501);
    close_house(house);
}

/* A parameter without a value is one. */
static void test_urgent(void **state)
{
    struct house *house = open_house();

    (void)state;
    assert_int_equal(ask(house, "GET", "/patroni", NULL), 200);
    assert_int_equal(house->looks, 0);
    assert_int_equal(ask(house, "GET", "/patroni?urgent", NULL), 200);
    assert_int_equal(house->looks, 1);
    close_house(house);
}

/* Far more idle connections than the limit: a new one is always served, and one that is at work is
 * not thrown out. */
static void test_crowd(void **state)
{
    struct house *house = open_house();
    struct guest *waiting = post(house);
    int fds[CROWD];

    (void)state;
    for (unsigned at = 0; at < CROWD; at++) {
        fds[at] = connect_to(house);
        if (at % 100 == 99) {
            assert_int_equal(ask(house, "GET", "/primary", NULL), 200);
        }
    }
    assert_int_equal(ask(house, "GET", "/primary", NULL), 200);
    api_answer(house->calls[0], 200, "done at last");
    assert_non_null(strstr(hear(waiting, "done at last"), "HTTP/1.1 200 OK"));
    for (unsigned at = 0; at < CROWD; at++) {
        close(fds[at]);
    }
    leave(waiting);
    close_house(house);
}

static void test_slow(void **state)
{
    struct house *house = open_house();
    struct guest *slow = enter(house);

    (void)state;
    say(slow, "GET /prim");
    run_for(house, 50);
    assert_int_equal(ask(house, "GET", "/primary", NULL), 200);
    say(slow, "ary HTTP/1.1\r\nHost: x\r\nX-Long: ");
    run_for(house, 50);
    assert_int_equal(ask(house, "GET", "/primary", NULL), 200);
    say(slow, "1\r\n\r\n");
    assert_true(str_starts(hear(slow, "\r\n\r\n"), "HTTP/1.1 200 OK\r\n"));
    leave(slow);
    close_house(house);
}

/* More requests that do not end than connections: they keep nobody out. */
static void test_crowd_slow_body(void **state)
{
    static const char begun[] =
        "POST /failsafe HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n{";
    struct house *house = open_house();
    struct guest *waiting = post(house);
    int fds[API_CONNECTIONS_MAX + 1];

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(fds); at++) {
        fds[at] = connect_to(house);
        assert_int_equal(send(fds[at], begun, strlen(begun), MSG_NOSIGNAL), (ssize_t)strlen(begun));
        run_for(house, 5); /* its head is read before the next one comes */
    }
    assert_int_equal(ask(house, "GET", "/primary", NULL), 200);
    api_answer(house->calls[0], 200, "done at last");
    assert_non_null(strstr(hear(waiting, "done at last"), "HTTP/1.1 200 OK"));
    for (size_t at = 0; at < ARRAY_LEN(fds); at++) {
        close(fds[at]);
    }
    leave(waiting);
    close_house(house);
}

/* A request that never rests and never ends is ended; one that waits for its answer may. */
static void test_slow_body(void **state)
{
    struct house *house = open_house();
    struct guest *waiting = post(house);
    struct guest *slow = enter(house);

    (void)state;
    say(slow, "POST /failsafe HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n");
    for (int ms = 0; ms < SLOW_PATIENCE_MS && !slow->is_over; ms += 200) {
        IGNORE(send(slow->fd, " ", 1, MSG_NOSIGNAL) < 0, "it is closed at last");
        run_for(house, 200);
    }
    assert_true(slow->is_over);
    assert_int_equal(slow->heard.length, 0);
    api_answer(house->calls[0], 200, "done at last");
    assert_non_null(strstr(hear(waiting, "done at last"), "HTTP/1.1 200 OK"));
    leave(slow);
    leave(waiting);
    close_house(house);
}

static void test_large(void **state)
{
    struct house *house = open_house();
    struct guest *guest = enter(house);
    AUTO_FREE char *large = mem_alloc(API_BODY_MAX + 1);

    (void)state;
    say(guest, "POST /switchover HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n");
    assert_true(str_starts(hear(guest, "\r\n\r\n"), "HTTP/1.1 413 "));
    leave(guest);

    /* A length that says little of what comes, in chunks. */
    guest = enter(house);
    say(guest, "POST /switchover HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    memset(large, 'x', API_BODY_MAX);
    say(guest, "10000\r\n");
    say(guest, large);
    say(guest, "\r\n10000\r\n");
    run_for(house, 50);
    IGNORE(send(guest->fd, large, API_BODY_MAX, MSG_NOSIGNAL) < 0, "it is closed perhaps");
    hear(guest, NULL);
    assert_null(strstr(str_text(&guest->heard), "200 OK"));
    leave(guest);

    /* Exactly the limit is read, and then found to be no JSON. */
    assert_int_equal(ask(house, "POST", "/switchover", large), 400);
    assert_int_equal(house->call_count, 0);
    assert_int_equal(ask(house, "GET", "/primary", NULL), 200);
    close_house(house);
}

static void test_malformed(void **state)
{
    static const char *const texts[] = {
        "nonsense\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
        "GET /primary HTTP/1.1\r\n\r\n", /* no Host */
        "GET /primary HTTP/9.9\r\nHost: x\r\n\r\n",
        "POST /switchover HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        "POST /switchover HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /switchover HTTP/1.1\r\nHost: x\r\n\r\n", /* 411 */
    };
    struct house *house = open_house();
    struct str long_head AUTO_STR = STR_INIT(ANSWER_MAX);
    struct guest *guest;

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(texts); at++) {
        guest = enter(house);
        say(guest, texts[at]);
        hear(guest, "\r\n\r\n");
        assert_null(strstr(str_text(&guest->heard), " 200 OK"));
        assert_null(strstr(str_text(&guest->heard), " 500 "));
        leave(guest);
    }
    str_add(&long_head, "GET /primary HTTP/1.1\r\nHost: x\r\n");
    for (int at = 0; at < 1000; at++) {
        str_addf(&long_head, "X-%d: some words of no meaning\r\n", at);
    }
    guest = enter(house);
    say(guest, str_text(&long_head));
    hear(guest, "\r\n\r\n");
    assert_null(strstr(str_text(&guest->heard), " 200 OK"));
    leave(guest);

    guest = enter(house);
    say(guest, "POST /switchover HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n"
               "{\"leader\":\"n1\"}");
    assert_int_equal(send(guest->fd, "\0x", 2, MSG_NOSIGNAL), 2);
    assert_true(str_starts(hear(guest, "\r\n\r\n"), "HTTP/1.1 400 "));
    leave(guest);
    assert_int_equal(house->call_count, 0);
    assert_int_equal(ask(house, "GET", "/primary", NULL), 200);
    close_house(house);
}

static void test_answer_at_once(void **state)
{
    struct house *house = open_house();

    (void)state;
    house->answers_at_once = true;
    assert_int_equal(ask(house, "POST", "/switchover", "{\"leader\":\"n1\"}"), 412);
    close_house(house);
}

static void test_answer_later(void **state)
{
    struct house *house = open_house();
    struct guest *guest = post(house);

    (void)state;
    run_for(house, 50);
    assert_int_equal(guest->heard.length, 0);
    assert_int_equal(ask(house, "GET", "/primary", NULL), 200);
    api_answer(house->calls[0], 200, "Successfully switched over to \"n2\"");
    hear(guest, "switched over to \"n2\"");
    assert_true(str_starts(str_text(&guest->heard), "HTTP/1.1 200 OK\r\n"));
    leave(guest);
    close_house(house);
}

/* The caller goes away; the answer finds nobody. */
static void test_answer_nobody(void **state)
{
    struct house *house = open_house();
    struct guest *guest = post(house);

    (void)state;
    leave(guest);
    run_for(house, 50);
    api_answer(house->calls[0], 200, "hello?");
    run_for(house, 50);
    assert_int_equal(ask(house, "GET", "/primary", NULL), 200);
    close_house(house);
}

/* The server goes away first; the answer that still comes only frees the call. */
static void test_free_while_waiting(void **state)
{
    struct house *house = open_house();
    struct guest *guest = post(house);

    (void)state;
    api_free(TAKE(house->api));
    assert_true(str_starts(hear(guest, "the agent is stopping"), "HTTP/1.1 503 "));
    api_answer(house->calls[0], 200, "too late");
    leave(guest);
    close_house(house);
}

static void test_too_many_calls(void **state)
{
    struct house *house = open_house();
    struct guest *guests[API_CALLS_MAX];

    (void)state;
    for (unsigned at = 0; at < API_CALLS_MAX; at++) {
        guests[at] = post(house);
    }
    assert_int_equal(ask(house, "POST", "/switchover", "{\"leader\":\"n1\"}"), 503);
    for (unsigned at = 0; at < API_CALLS_MAX; at++) {
        api_answer(house->calls[at], 503, "no");
        hear(guests[at], "\r\n\r\n");
        leave(guests[at]);
    }
    house->answers_at_once = true;
    assert_int_equal(ask(house, "POST", "/switchover", "{\"leader\":\"n1\"}"), 412);
    close_house(house);
}

static void test_access(void **state)
{
    static const char body[] = "{\"leader\":\"n1\"}";
    static const struct {
        const char *header;
        int status;
    } rows[] = {
        {"", 401},
        {"Authorization: Basic\r\n", 401},
        {"Authorization: Basic \r\n", 401},
        {"Authorization: Basic YWRtaW46d3Jvbmc=\r\n", 401},
        {"Authorization: Basic YWRtaW46c2VjcmV0LTE=x\r\n", 401},
        {"Authorization: Bearer YWRtaW46c2VjcmV0LTE=\r\n", 401},
        {"Authorization: Basic YWRtaW46c2VjcmV0LTE=\r\n", 412}, /* admin:secret-1 */
        {"Authorization: basic YWRtaW46c2VjcmV0LTE=\r\n", 412},
    };
    struct house *house = open_house();

    (void)state;
    house->answers_at_once = true;
    str_copy(house->config.restapi.username, MEMBER_NAME_SIZE, "admin");
    str_copy(house->config.restapi.password, SECRET_SIZE, "secret-1");
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        assert_int_equal(
            ask_with(house, "POST", "/switchover", rows[at].header, body), rows[at].status);
    }
    /* Reading needs nobody's permission. */
    assert_int_equal(ask(house, "GET", "/cluster", NULL), 200);
    close_house(house);
}

static void test_refusals(void **state)
{
    struct house *house = open_house();
    struct api_source source = {
        .snapshot = get_snapshot,
        .request = on_wish,
        .look = on_look,
        .store_answer = get_store,
        .arg = house};
    struct api *api = NULL;
    struct err e = {0};

    (void)state;
    house->config.restapi.listen.port = api_port(house->api);
    assert_int_equal(api_new(house->loop, &house->config, &source, &api, &e), ERR_IO);
    assert_non_null(strstr(err_text(&e), "another program does"));
    str_copy(house->config.restapi.listen.host, HOST_SIZE, "192.0.2.1");
    assert_int_equal(api_new(house->loop, &house->config, &source, &api, &e), ERR_CONFIG);
    assert_non_null(strstr(err_text(&e), "not an address of this host"));
    str_copy(house->config.restapi.tls.cert_file, PATH_SIZE, "/nonexistent.pem");
    assert_int_equal(api_new(house->loop, &house->config, &source, &api, &e), ERR_NOT_FOUND);
    str_copy(house->config.restapi.verify_client, 16, "required");
    assert_int_equal(api_new(house->loop, &house->config, &source, &api, &e), ERR_UNSUPPORTED);
    close_house(house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_urgent),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_crowd_slow_body),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_slow_body),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_answer_at_once),
        cmocka_unit_test(test_answer_later),
        cmocka_unit_test(test_answer_nobody),
        cmocka_unit_test(test_free_while_waiting),
        cmocka_unit_test(test_too_many_calls),
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
