#include "client/client.h"

#include "base/assert.h"
#include "base/mem.h"

#define STATUS_OK 200
#define PATRONI_PATH "/patroni" /* the end of an api_url */
#define SCHEME_ADDRESS_SIZE (URL_HOST_SIZE + 16)

struct poll {
    struct poll *next;
    struct client *client;
    char name[MEMBER_NAME_SIZE];
    struct address address;
    client_report_done *report_done; /* one of the three */
    client_text_done *text_done;
    client_failsafe_done *failsafe_done;
    void *arg;
};

struct client {
    const struct config *config;
    struct http *http;
    struct http_tls tls;
    struct poll *polls; /* under way */
};

/* The first text that is not empty, or NULL. */
static const char *first_of(const char *a, const char *b)
{
    if (!str_is_empty(a)) {
        return a;
    }
    return str_is_empty(b) ? NULL : b;
}

static struct http_tls tls_of(const struct config *config, bool is_verified)
{
    const struct tls_files *ctl = &config->ctl.tls;
    const struct tls_files *own = &config->restapi.tls;

    return (struct http_tls){
        .ca_file = first_of(ctl->ca_file, own->ca_file),
        .cert_file = first_of(ctl->cert_file, own->cert_file),
        .key_file = first_of(ctl->key_file, own->key_file),
        .insecure = !is_verified && str_is_empty(ctl->ca_file),
    };
}

static bool format_url(
    const struct address *address, bool is_https, const char *path, struct str *out)
{
    char host[SCHEME_ADDRESS_SIZE];

    url_format_address(address->host, address->port, host, sizeof(host));
    str_addf(out, "%s://%s%s", is_https ? "https" : "http", host, path);
    return !out->is_cut;
}

struct client *client_new(struct loop *loop, const struct config *config)
{
    struct client *client = mem_alloc(sizeof(*client));

    client->config = config;
    client->http = http_new(loop);
    client->tls = tls_of(config, false);
    return client;
}

void client_free(struct client *client)
{
    if (client == NULL) {
        return;
    }
    http_free(client->http);
    while (client->polls != NULL) {
        struct poll *poll = client->polls;

        client->polls = poll->next;
        mem_free(poll);
    }
    mem_free(client);
}

static struct poll *add_poll(struct client *client)
{
    struct poll *poll = mem_alloc(sizeof(*poll));

    poll->client = client;
    poll->next = client->polls;
    client->polls = poll;
    return poll;
}

/* From here on POLL belongs to its callback, which may free the client. */
static void take_poll(struct poll *poll)
{
    struct poll **slot = &poll->client->polls;

    while (*slot != poll) {
        ASSERT(*slot != NULL);
        slot = &(*slot)->next;
    }
    *slot = poll->next;
    poll->client = NULL;
}

static void on_report(void *arg, const struct http_answer *answer)
{
    AUTO_FREE struct poll *poll = arg;
    struct record_sender sender = {poll->client->config->scope, poll->name};
    struct peer_report report = {0};
    struct err e = {0};
    int r;

    take_poll(poll);
    if (answer->result < 0) {
        poll->report_done(poll->arg, poll->name, NULL, answer->result, answer->why);
        return;
    }
    if (answer->status != STATUS_OK) {
        char why[64];

        IGNORE(!str_format(why, sizeof(why), "answered with status %d", answer->status), "fits");
        poll->report_done(poll->arg, poll->name, NULL, ERR_UNAVAILABLE, why);
        return;
    }
    r = record_report_decode(answer->body, &sender, &report, &e);
    if (r < 0) {
        poll->report_done(poll->arg, poll->name, NULL, r, err_text(&e));
        return;
    }
    poll->report_done(poll->arg, poll->name, &report, 0, NULL);
}

void client_poll(
    struct client *client, const struct client_poll_options *options, client_report_done *done,
    void *arg)
{
    struct poll *poll = add_poll(client);
    AUTO_STR struct str url = STR_INIT(URL_SIZE + 16);

    IGNORE(
        !str_copy(poll->name, sizeof(poll->name), options->name),
        "names are limited where they arise");
    poll->report_done = done;
    poll->arg = arg;
    str_addf(&url, "%s%s", options->api_url, options->is_urgent ? "?urgent" : "");
    http_start(
        client->http,
        &(struct http_options){
            .method = "GET",
            .url = str_text(&url),
            .tls = &client->tls,
            .timeout_ms = options->timeout_ms,
        },
        on_report, poll);
}

static void on_failsafe(void *arg, const struct http_answer *answer)
{
    AUTO_FREE struct poll *poll = arg;
    const char *why = answer->result < 0            ? answer->why
                      : answer->status != STATUS_OK ? answer->body
                                                    : NULL;

    take_poll(poll);
    poll->failsafe_done(poll->arg, poll->name, why == NULL, why);
}

void client_failsafe(
    struct client *client, const struct client_failsafe_options *options,
    client_failsafe_done *done, void *arg)
{
    struct poll *poll = add_poll(client);
    AUTO_STR struct str url = STR_INIT(URL_SIZE + 16);
    size_t length = strlen(options->api_url);

    if (str_ends(options->api_url, PATRONI_PATH)) {
        length -= strlen(PATRONI_PATH);
    }
    IGNORE(
        !str_copy(poll->name, sizeof(poll->name), options->name),
        "names are limited where they arise");
    poll->failsafe_done = done;
    poll->arg = arg;
    str_addf(&url, "%.*s/failsafe", (int)length, options->api_url);
    http_start(
        client->http,
        &(struct http_options){
            .method = "POST",
            .url = str_text(&url),
            .body = options->body,
            .content_type = "application/json",
            .tls = &client->tls,
            .timeout_ms = options->timeout_ms,
        },
        on_failsafe, poll);
}

static void on_store(void *arg, const struct http_answer *answer)
{
    AUTO_FREE struct poll *poll = arg;
    bool is_ok = answer->result >= 0 && answer->status == STATUS_OK;

    take_poll(poll);
    poll->text_done(poll->arg, &poll->address, is_ok ? answer->body : NULL);
}

void client_poll_store(
    struct client *client, const struct address *address, int64_t timeout_ms,
    client_text_done *done, void *arg)
{
    struct poll *poll = add_poll(client);
    struct str url AUTO_STR = STR_INIT(URL_HOST_SIZE * 2);
    bool is_https = !str_is_empty(client->config->restapi.tls.cert_file);

    IGNORE(!format_url(address, is_https, "/baton/store", &url), "a host is shorter");
    poll->address = *address;
    poll->text_done = done;
    poll->arg = arg;
    http_start(
        client->http,
        &(struct http_options){
            .method = "GET",
            .url = str_text(&url),
            .tls = &client->tls,
            .timeout_ms = timeout_ms,
        },
        on_store, poll);
}

/* ---- one blocking call ---- */

struct call {
    struct loop *loop;
    int result;
    int status;
    char *body;
    struct str why;
};

static void on_called(void *arg, const struct http_answer *answer)
{
    struct call *call = arg;

    call->result = answer->result;
    call->status = answer->status;
    if (answer->result < 0) {
        str_add(&call->why, answer->why);
    } else {
        call->body = mem_dup_length(answer->body, answer->length);
    }
    loop_stop(call->loop);
}

int client_call(
    const struct config *config, const struct client_request *request, struct client_answer *ret,
    struct err *e)
{
    struct http_tls tls = tls_of(config, true);
    struct call call = {.loop = loop_new(), .why = STR_INIT(ERR_TEXT_MAX)};
    struct http *http = http_new(call.loop);
    struct str url AUTO_STR = STR_INIT(URL_HOST_SIZE * 4);
    const struct config_restapi *account =
        str_is_empty(config->ctl.username) ? &config->restapi : &config->ctl;
    const char *user = first_of(account->username, NULL);
    int r = 0;

    if (!format_url(&request->address, request->is_https, request->path, &url)) {
        r = FAIL(e, ERR_LIMIT, "the path '%.80s...' is too long", request->path);
    } else {
        http_start(
            http,
            &(struct http_options){
                .method = request->method,
                .url = str_text(&url),
                .body = request->body,
                .content_type = request->body != NULL ? "application/json" : NULL,
                .user = user,
                .password = user != NULL ? account->password : NULL,
                .tls = &tls,
                .timeout_ms = request->timeout_ms,
            },
            on_called, &call);
        loop_run(call.loop);
    }
    http_free(http);
    loop_free(call.loop);
    if (r == 0 && call.result < 0) {
        r = call.result;
        err_set(e, r, __FILE__, __LINE__, "%s: %s", str_text(&url), str_text(&call.why));
    }
    if (r == 0) {
        *ret = (struct client_answer){.status = call.status, .body = TAKE(call.body)};
    }
    mem_free(call.body);
    str_fini(&call.why);
    return r;
}
