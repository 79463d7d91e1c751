#include "client/client.h"

#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/socket.h>

#include <cmocka.h>

#define PATIENCE_MS 3000
#define REQUEST_MAX 4096

/* ---- an agent that answers one request, on a thread of its own because client_call blocks ---- */

struct agent {
    pthread_t thread;
    int listener;
    int port;
    const char *answer; /* NULL: say nothing until the client gives up */
    char request[REQUEST_MAX];
};

static void *serve(void *arg)
{
    struct agent *agent = arg;
    int fd = accept(agent->listener, NULL, NULL);
    size_t length = 0;

    while (fd >= 0 && length < REQUEST_MAX - 1) {
        ssize_t count = recv(fd, agent->request + length, REQUEST_MAX - 1 - length, 0);

        if (count <= 0) {
            break;
        }
        length += (size_t)count;
        agent->request[length] = '\0';
        if (agent->answer != NULL && strstr(agent->request, "\r\n\r\n") != NULL &&
            (strstr(agent->request, "POST") == NULL || agent->request[length - 1] == '}')) {
            IGNORE(
                send(fd, agent->answer, strlen(agent->answer), MSG_NOSIGNAL) < 0, "the test sees");
            break;
        }
    }
    close(fd);
    return NULL;
}

static struct agent *agent_start(const char *answer)
{
    struct agent *agent = mem_alloc(sizeof(*agent));
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
    } address = {.v4 = {.sin_family = AF_INET}};
    socklen_t size = sizeof(address.v4);

    address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    agent->answer = answer;
    agent->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(agent->listener, &address.any, size), 0);
    assert_int_equal(listen(agent->listener, 8), 0);
    assert_int_equal(getsockname(agent->listener, &address.any, &size), 0);
    agent->port = ntohs(address.v4.sin_port);
    assert_int_equal(pthread_create(&agent->thread, NULL, serve, agent), 0);
    return agent;
}

/* Wait until it has served. */
static void agent_join(struct agent *agent)
{
    pthread_join(agent->thread, NULL);
    close(agent->listener);
}

/* ---- heartbeats ---- */

struct heard {
    struct loop *loop;
    struct client *client;
    unsigned count;
    bool frees_client;
    bool has_report;
    int result;
    struct peer_report report;
    char name[MEMBER_NAME_SIZE];
    char text[512];
    char request[128]; /* its beginning */
};

static void on_report(
    void *arg, const char *name, const struct peer_report *report, int result, const char *why)
{
    struct heard *heard = arg;

    heard->count++;
    heard->has_report = report != NULL;
    heard->result = result;
    if (report != NULL) {
        assert_null(why);
        heard->report = *report;
    } else {
        assert_non_null(why);
        str_copy(heard->text, sizeof(heard->text), why);
    }
    str_copy(heard->name, sizeof(heard->name), name);
    if (heard->frees_client) {
        client_free(TAKE(heard->client));
    }
    loop_stop(heard->loop);
}

static void on_store(void *arg, const struct address *address, const char *json)
{
    struct heard *heard = arg;

    heard->count++;
    heard->has_report = json != NULL;
    str_copy(heard->name, sizeof(heard->name), address->host);
    str_copy(heard->text, sizeof(heard->text), json != NULL ? json : "");
    loop_stop(heard->loop);
}

static struct heard poll_agent_as(
    const char *answer, int64_t timeout_ms, bool frees_client, bool is_urgent)
{
    struct agent *agent = agent_start(answer);
    AUTO_FREE struct config *config = mem_alloc(sizeof(*config));
    struct heard heard = {.loop = loop_new(), .frees_client = frees_client};
    char url[URL_SIZE];

    str_copy(config->scope, sizeof(config->scope), "shop");
    heard.client = client_new(heard.loop, config);
    str_format(url, sizeof(url), "http://127.0.0.1:%d/patroni", agent->port);
    client_poll(
        heard.client,
        &(struct client_poll_options){
            .name = "n2", .api_url = url, .timeout_ms = timeout_ms, .is_urgent = is_urgent},
        on_report, &heard);
    loop_run(heard.loop);
    client_free(heard.client);
    loop_free(heard.loop);
    agent_join(agent);
    assert_int_equal(heard.count, 1);
    assert_string_equal(heard.name, "n2");
    str_copy(heard.request, sizeof(heard.request), agent->request);
    mem_free(agent);
    return heard;
}

static struct heard poll_agent(const char *answer, int64_t timeout_ms, bool frees_client)
{
    return poll_agent_as(answer, timeout_ms, frees_client, false);
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

static void test_poll(void **state)
{
    static const char good[] =
        OK_HEAD "{\"state\": \"running\", \"role\": \"replica\", \"timeline\": 5, \"xlog\": "
                "{\"received_location\": 200, \"replayed_location\": 100}}";
    struct heard heard = poll_agent(good, PATIENCE_MS, false);

    (void)state;
    assert_true(heard.has_report);
    assert_int_equal(heard.report.role, ROLE_REPLICA);
    assert_int_equal(heard.report.replayed_lsn, 100);
    assert_true(str_starts(heard.request, "GET /patroni HTTP/1.1\r\n"));
    heard = poll_agent(good, PATIENCE_MS, true);
    assert_true(heard.has_report);
    heard = poll_agent_as(good, PATIENCE_MS, false, true);
    assert_true(heard.has_report);
    assert_true(str_starts(heard.request, "GET /patroni?urgent HTTP/1.1\r\n"));
}

static void test_poll_failures(void **state)
{
    struct heard heard =
        poll_agent("HTTP/1.1 503 No\r\nConnection: close\r\n\r\n{}", PATIENCE_MS, false);

    (void)state;
    assert_false(heard.has_report);
    assert_string_equal(heard.text, "answered with status 503");
    heard = poll_agent(OK_HEAD "nonsense", PATIENCE_MS, false);
    assert_false(heard.has_report);
    heard = poll_agent("", PATIENCE_MS, false); /* hangs up */
    assert_false(heard.has_report);
    heard = poll_agent(NULL, 100, false);
    assert_false(heard.has_report);
    heard = poll_agent(NULL, 100, true);
    assert_false(heard.has_report);
}

/* The address leads to another agent than the one that is meant, n2 of shop. */
static void test_another_answers(void **state)
{
    static const char *const others[] = {
        OK_HEAD "{\"state\": \"running\", \"patroni\": {\"scope\": \"shop\", \"name\": \"n3\"}}",
        OK_HEAD "{\"state\": \"running\", \"patroni\": {\"scope\": \"crew\", \"name\": \"n2\"}}",
    };
    struct heard heard;

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(others); at++) {
        heard = poll_agent(others[at], PATIENCE_MS, false);
        assert_false(heard.has_report);
        assert_int_equal(heard.result, ERR_CONFLICT);
        assert_non_null(strstr(heard.text, at == 0 ? "\"n3\" of \"shop\"" : "\"n2\" of \"crew\""));
    }
    heard = poll_agent(
        OK_HEAD "{\"patroni\": {\"scope\": \"shop\", \"name\": \"n2\"}}", PATIENCE_MS, false);
    assert_true(heard.has_report);
    assert_int_equal(heard.result, 0);
    /* Not every version of Patroni says its name. */
    heard = poll_agent(OK_HEAD "{\"patroni\": {\"scope\": \"shop\"}}", PATIENCE_MS, false);
    assert_true(heard.has_report);
}

/* No DONE after client_free. */
static void test_free_while_polling(void **state)
{
    struct agent *agent = agent_start(NULL);
    AUTO_FREE struct config *config = mem_alloc(sizeof(*config));
    struct heard heard = {.loop = loop_new()};
    struct client *client = client_new(heard.loop, config);
    char url[URL_SIZE];

    (void)state;
    str_format(url, sizeof(url), "http://127.0.0.1:%d/patroni", agent->port);
    client_poll(
        client,
        &(struct client_poll_options){.name = "n2", .api_url = url, .timeout_ms = PATIENCE_MS},
        on_report, &heard);
    client_poll(
        client,
        &(struct client_poll_options){.name = "n3", .api_url = url, .timeout_ms = PATIENCE_MS},
        on_report, &heard);
    client_free(client);
    loop_free(heard.loop);
    assert_int_equal(heard.count, 0);
    shutdown(agent->listener, SHUT_RDWR);
    agent_join(agent);
    mem_free(agent);
}

static void test_poll_store(void **state)
{
    static const char *const answers[] = {
        OK_HEAD "{\"store\":1}", "HTTP/1.1 404 No\r\nConnection: close\r\n\r\nno"};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(answers); at++) {
        struct agent *agent = agent_start(answers[at]);
        AUTO_FREE struct config *config = mem_alloc(sizeof(*config));
        struct heard heard = {.loop = loop_new()};
        struct client *client = client_new(heard.loop, config);
        struct address address = {"127.0.0.1", agent->port};

        client_poll_store(client, &address, PATIENCE_MS, on_store, &heard);
        loop_run(heard.loop);
        client_free(client);
        loop_free(heard.loop);
        agent_join(agent);
        assert_true(str_starts(agent->request, "GET /baton/store HTTP/1.1\r\n"));
        assert_int_equal(heard.has_report, at == 0);
        assert_string_equal(heard.text, at == 0 ? "{\"store\":1}" : "");
        mem_free(agent);
    }
}

static void on_promise(void *arg, const char *name, bool is_promised, const char *why)
{
    struct heard *heard = arg;

    assert_int_equal(is_promised, why == NULL);
    heard->count++;
    heard->has_report = is_promised;
    str_copy(heard->name, sizeof(heard->name), name);
    str_copy(heard->text, sizeof(heard->text), why != NULL ? why : "");
    loop_stop(heard->loop);
}

static void test_failsafe(void **state)
{
    static const struct {
        const char *answer;
        const char *why; /* NULL: whatever */
    } rows[] = {
        {OK_HEAD "Accepted", ""},
        {"HTTP/1.1 500 No\r\nConnection: close\r\n\r\nRunning as a leader", "Running as a leader"},
        {"HTTP/1.1 502 No\r\nConnection: close\r\n\r\noff", "off"},
        {NULL, NULL},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct agent *agent = agent_start(rows[at].answer);
        AUTO_FREE struct config *config = mem_alloc(sizeof(*config));
        struct heard heard = {.loop = loop_new()};
        struct client *client = client_new(heard.loop, config);
        char url[URL_SIZE];

        str_format(url, sizeof(url), "http://127.0.0.1:%d/patroni", agent->port);
        client_failsafe(
            client,
            &(struct client_failsafe_options){
                .name = "n2",
                .api_url = url,
                .body = "{\"name\":\"n1\"}",
                .timeout_ms = rows[at].answer != NULL ? PATIENCE_MS : 100},
            on_promise, &heard);
        loop_run(heard.loop);
        client_free(client);
        loop_free(heard.loop);
        agent_join(agent);
        assert_int_equal(heard.count, 1);
        assert_string_equal(heard.name, "n2");
        assert_int_equal(heard.has_report, at == 0);
        if (rows[at].why != NULL) {
            assert_string_equal(heard.text, rows[at].why);
        }
        assert_true(str_starts(agent->request, "POST /failsafe HTTP/1.1\r\n"));
        assert_non_null(strstr(agent->request, "{\"name\":\"n1\"}"));
        mem_free(agent);
    }
}

/* ---- a command's call ---- */

static void test_call(void **state)
{
    struct agent *agent = agent_start("HTTP/1.1 412 No\r\nConnection: close\r\n\r\nnot now");
    AUTO_FREE struct config *config = mem_alloc(sizeof(*config));
    struct client_answer answer = {0};
    struct client_request request = {
        .address = {"127.0.0.1", agent->port},
        .method = "POST",
        .path = "/switchover",
        .body = "{\"leader\":\"n1\"}",
        .timeout_ms = PATIENCE_MS,
    };

    (void)state;
    str_copy(config->restapi.username, MEMBER_NAME_SIZE, "rest");
    str_copy(config->restapi.password, SECRET_SIZE, "wrong");
    str_copy(config->ctl.username, MEMBER_NAME_SIZE, "admin");
    str_copy(config->ctl.password, SECRET_SIZE, "secret-1");
    assert_int_equal(client_call(config, &request, &answer, NULL), 0);
    assert_int_equal(answer.status, 412);
    assert_string_equal(answer.body, "not now");
    mem_free(answer.body);
    agent_join(agent);
    assert_non_null(strstr(agent->request, "Authorization: Basic YWRtaW46c2VjcmV0LTE=\r\n"));
    assert_non_null(strstr(agent->request, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(agent->request, "\r\n\r\n{\"leader\":\"n1\"}"));
    mem_free(agent);
}

static void test_call_nobody(void **state)
{
    AUTO_FREE struct config *config = mem_alloc(sizeof(*config));
    struct client_answer answer = {0};
    struct client_request request = {
        .address = {"127.0.0.1", 1}, .method = "GET", .path = "/", .timeout_ms = PATIENCE_MS};
    struct err e = {0};

    (void)state;
    assert_true(client_call(config, &request, &answer, &e) < 0);
    assert_non_null(strstr(err_text(&e), "http://127.0.0.1:1/: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poll),
        cmocka_unit_test(test_poll_failures),
        cmocka_unit_test(test_another_answers),
        cmocka_unit_test(test_free_while_polling),
        cmocka_unit_test(test_poll_store),
        cmocka_unit_test(test_failsafe),
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_call_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
