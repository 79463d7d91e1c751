#include "api/api.h"

#include "api/access.h"
#include "api/routes.h"
#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/listen.h"

#include <microhttpd.h>

#define TIMEOUT_S 10u

/* From the head of a request to its last byte: time enough for API_BODY_MAX over a poor line. The
 * library's own timeout is one of quiet: a byte now and then would hold a connection for days. */
#define REQUEST_MS 10000

#define REQUEST_MEMORY ((size_t)16384) /* of a connection: head of a request and buffers */
#define PEM_MAX ((size_t)1 << 20)

/* From here on the connection that has been quiet the longest makes room. The library takes
 * a handful of new ones before it sees that others have ended, hence the distance to its limit. */
#define CROWD (API_CONNECTIONS_MAX - 32)

/* Turns given to the library at the end, so that the last answers leave. */
#define LAST_TURNS 4

/* A connection, in the order of last activity: the head has been quiet for the longest time. */
struct visitor {
    struct visitor *next;
    struct visitor *previous;
    int fd;
    struct instant asked; /* while is_asking: when the head was there */
    bool is_asking;       /* the head of a request is there, and its last byte is not */
    bool has_asked;       /* at least one whole request */
    bool is_busy;         /* a whole request is being answered */
    bool is_sent_off;
};

/* A request from its head to its end, and longer when the source still owes an answer. */
struct api_call {
    struct api
        *api; /* NULL: the connection or the server is gone, and only the source knows this call */
    struct api_call *next;
    struct MHD_Connection *connection;
    struct visitor *visitor;
    const struct api_route *route;
    struct str body;
    bool is_owed; /* the source will call api_answer */
    bool is_suspended;
    bool is_answered;
    int status;
    const char *content_type;
    char *text;
    size_t length;
};

struct api {
    struct loop *loop;
    const struct config *config;
    struct api_source source;
    struct MHD_Daemon *daemon;
    struct loop_poll *poll;
    struct loop_timer *timer;
    struct loop_timer *deadline; /* of requests */
    bool is_watching;            /* the deadline is set */
    int port;
    struct visitor quiet; /* head of the ring */
    unsigned visitor_count;
    struct api_call *calls; /* that were handed to the source */
    unsigned call_count;
};

/* ---- the loop ---- */

static void run(struct api *api)
{
    MHD_UNSIGNED_LONG_LONG ms = 0;

    IGNORE(MHD_run(api->daemon) != MHD_YES, "nothing to be done about it here");
    if (MHD_get_timeout(api->daemon, &ms) == MHD_YES) {
        loop_timer_start(api->timer, (int64_t)MIN(ms, TIMEOUT_S * 1000ULL));
    } else {
        loop_timer_stop(api->timer);
    }
}

static void on_ready(void *arg, bool readable, bool writable)
{
    (void)readable;
    (void)writable;
    run(arg);
}

static void on_timer(void *arg)
{
    run(arg);
}

/* ---- connections ---- */

static void visitor_unlink(struct visitor *visitor)
{
    visitor->previous->next = visitor->next;
    visitor->next->previous = visitor->previous;
}

/* VISITOR did something just now. */
static void visitor_touch(struct api *api, struct visitor *visitor)
{
    visitor_unlink(visitor);
    visitor->next = &api->quiet;
    visitor->previous = api->quiet.previous;
    visitor->previous->next = visitor;
    api->quiet.previous = visitor;
}

/* The library has no call to end a connection, but it watches for the end of its input. */
static void send_off(struct visitor *visitor)
{
    visitor->is_sent_off = true;
    listen_hang_up(visitor->fd);
}

/* End the connection that is missed least: one that never asked, else one between two requests. */
static void make_room(struct api *api)
{
    struct visitor *best = NULL;

    for (struct visitor *at = api->quiet.next; at != &api->quiet; at = at->next) {
        if (at->is_busy || at->is_sent_off) {
            continue;
        }
        if (!at->has_asked) {
            best = at;
            break;
        }
        if (best == NULL) {
            best = at;
        }
    }
    if (best != NULL) {
        send_off(best);
    }
}

/* VISITOR's request has begun: its last byte must come in time. */
static void expect_rest(struct api *api, struct visitor *visitor)
{
    visitor->is_asking = true;
    visitor->asked = clock_now();
    if (!api->is_watching) {
        api->is_watching = true;
        loop_timer_start(api->deadline, REQUEST_MS);
    }
}

/* End the connections whose request takes too long, and wait for the next one that may. */
static void on_deadline(void *arg)
{
    struct api *api = arg;
    struct instant now = clock_now();
    int64_t next_ms = INT64_MAX;

    for (struct visitor *at = api->quiet.next; at != &api->quiet; at = at->next) {
        int64_t age_ms;

        if (!at->is_asking || at->is_sent_off) {
            continue;
        }
        age_ms = instant_elapsed_max_ms(at->asked, now);
        if (age_ms >= REQUEST_MS) {
            send_off(at);
        } else {
            next_ms = MIN(next_ms, REQUEST_MS - age_ms);
        }
    }
    api->is_watching = next_ms != INT64_MAX;
    if (api->is_watching) {
        loop_timer_start(api->deadline, next_ms);
    }
}

static int fd_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    ASSERT(info != NULL);
    return info->connect_fd;
}

static void on_connection(
    void *arg, struct MHD_Connection *connection, void **slot,
    enum MHD_ConnectionNotificationCode what)
{
    struct api *api = arg;
    struct visitor *visitor;

    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        visitor = TAKE(*slot);
        visitor_unlink(visitor);
        mem_free(visitor);
        ASSERT(api->visitor_count > 0);
        api->visitor_count--;
        return;
    }
    if (api->visitor_count >= CROWD) {
        make_room(api);
    }
    visitor = mem_alloc(sizeof(*visitor));
    visitor->fd = fd_of(connection);
    visitor->next = visitor;
    visitor->previous = visitor;
    visitor_touch(api, visitor);
    api->visitor_count++;
    *slot = visitor;
}

/* ---- calls ---- */

static void call_free(struct api_call *call)
{
    str_fini(&call->body);
    mem_free(call->text);
    mem_free(call);
}

static void call_register(struct api_call *call)
{
    call->next = call->api->calls;
    call->api->calls = call;
    call->api->call_count++;
}

static void call_unregister(struct api_call *call)
{
    struct api_call **slot = &call->api->calls;

    while (*slot != call) {
        ASSERT(*slot != NULL);
        slot = &(*slot)->next;
    }
    *slot = call->next;
    ASSERT(call->api->call_count > 0);
    call->api->call_count--;
}

/* Takes over TEXT. */
static void answer(struct api_call *call, int status, char *text, size_t length)
{
    ASSERT(call->is_owed);
    if (call->api == NULL) {
        mem_free(text);
        call_free(call);
        return;
    }
    call->text = text;
    call_unregister(call);
    call->is_owed = false;
    call->is_answered = true;
    call->status = status;
    call->length = length;
    if (call->is_suspended) {
        call->is_suspended = false;
        MHD_resume_connection(call->connection);
        /* The library must run for it, but perhaps this is called from within its run. */
        loop_timer_start(call->api->timer, 0);
    }
}

void api_answer(struct api_call *call, int status, const char *text)
{
    call->content_type = "text/plain";
    answer(call, status, mem_dup(text), strlen(text));
}

void api_answer_log(
    void *call, int result, const void *sealed, size_t length, const struct err *why)
{
    struct api_call *own = call;

    if (result < 0) {
        api_answer(own, err_http_status(result), err_text(why));
    } else {
        own->content_type = "application/octet-stream";
        answer(own, MHD_HTTP_OK, mem_dup_length(sealed, length), length);
    }
}

static void on_completed(
    void *arg, struct MHD_Connection *connection, void **slot, enum MHD_RequestTerminationCode why)
{
    struct api_call *call = TAKE(*slot);

    (void)connection;
    (void)why;
    if (call == NULL) {
        return;
    }
    call->visitor->is_asking = false;
    call->visitor->is_busy = false;
    call->visitor->has_asked = true;
    visitor_touch(arg, call->visitor);
    if (call->is_owed) {
        call_unregister(call);
        call->api = NULL;
        return;
    }
    call_free(call);
}

/* ---- answers ---- */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    ASSERT(MHD_add_response_header(response, name, value) == MHD_YES);
}

struct content {
    const char *type; /* may be NULL */
    const char *bytes;
    size_t length;
};

static enum MHD_Result send_reply(
    struct MHD_Connection *connection, int status, const struct content *body, uint64_t lsn)
{
    struct MHD_Response *response;
    enum MHD_Result result;
    /* The library does not write to it. */
    union {
        const char *text;
        void *bytes;
    } content = {.text = body->bytes};

    response = MHD_create_response_from_buffer(body->length, content.bytes, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) {
        return MHD_NO;
    }
    add_header(response, MHD_HTTP_HEADER_SERVER, "baton");
    if (body->type != NULL) {
        add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, body->type);
    }
    if (lsn != 0) {
        char text[24];

        IGNORE(!str_format(text, sizeof(text), "%" PRIu64, lsn), "a number fits");
        add_header(response, "lsn", text);
    }
    if (status == MHD_HTTP_UNAUTHORIZED) {
        add_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, ACCESS_CHALLENGE);
    }
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        add_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    result = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_text(struct MHD_Connection *connection, int status, const char *text)
{
    return send_reply(connection, status, &(struct content){"text/plain", text, strlen(text)}, 0);
}

static enum MHD_Result send_answer(const struct api_call *call)
{
    return send_reply(
        call->connection, call->status,
        &(struct content){call->content_type, call->text, call->length}, 0);
}

static enum MHD_Result add_parameter(
    void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct api_request *request = arg;

    (void)kind;
    if (request->parameter_count == API_PARAMETERS_MAX) {
        return MHD_NO;
    }
    request->parameters[request->parameter_count++] =
        (struct api_parameter){key, value != NULL ? value : ""};
    return MHD_YES;
}

static unsigned parse_method(const char *text)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = {
        {"GET", METHOD_GET},
        {"HEAD", METHOD_HEAD},
        {"OPTIONS", METHOD_OPTIONS},
        {"POST", METHOD_POST},
    };

    for (size_t at = 0; at < ARRAY_LEN(names); at++) {
        if (str_equal(text, names[at].name)) {
            return names[at].bit;
        }
    }
    return METHOD_OTHER;
}

/* The whole request is there: let the handler answer, or wait for the source. */
static enum MHD_Result handle(struct api_call *call, const char *url, const char *method)
{
    struct api *api = call->api;
    AUTO_FREE struct api_snapshot *snapshot = mem_alloc(sizeof(*snapshot));
    struct api_request request = {
        .method = parse_method(method),
        .path = url,
        .body = str_text(&call->body),
        .snapshot = snapshot,
        .source = &api->source,
        .call = call,
    };
    struct api_reply reply = {0};
    struct content content;
    enum MHD_Result result;

    if (strlen(request.body) != call->body.length) {
        return send_text(call->connection, MHD_HTTP_BAD_REQUEST, "a body is text");
    }
    api->source.snapshot(api->source.arg, snapshot);
    MHD_get_connection_values(call->connection, MHD_GET_ARGUMENT_KIND, add_parameter, &request);
    if (call->route->access != ACCESS_OPEN) {
        if (api->call_count >= API_CALLS_MAX) {
            return send_text(
                call->connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                "too many requests are waiting already");
        }
        /* The answer may come before the handler returns. */
        call->is_owed = true;
        call_register(call);
    }
    call->route->handle(&request, &reply);
    if (call->is_answered) {
        mem_free(reply.body);
        return send_answer(call);
    }
    if (reply.is_handed) {
        mem_free(reply.body);
        call->is_suspended = true;
        MHD_suspend_connection(call->connection);
        return MHD_YES;
    }
    if (call->is_owed) {
        call_unregister(call);
        call->is_owed = false;
    }
    content = (struct content){reply.content_type, reply.body != NULL ? reply.body : "", 0};
    content.length = strlen(content.bytes);
    result = send_reply(call->connection, reply.status, &content, reply.lsn);
    mem_free(reply.body);
    return result;
}

/* ---- requests ---- */

static const char *header_of(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* Refuse from the head alone what can be refused: *RET_STATUS 0 when the rest is wanted. */
static const char *refuse_head(
    const struct api *api, struct MHD_Connection *connection, const struct api_route *route,
    unsigned method, int *ret_status)
{
    const char *length = header_of(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const char *coding = header_of(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    const char *objection;
    uint64_t bytes = 0;

    if (route->access == ACCESS_OPERATE) {
        objection = access_refuse(
            &api->config->restapi, header_of(connection, MHD_HTTP_HEADER_AUTHORIZATION));
        if (objection != NULL) {
            *ret_status = MHD_HTTP_UNAUTHORIZED;
            return objection;
        }
    }
    if (method == METHOD_POST && length == NULL && coding == NULL) {
        *ret_status = MHD_HTTP_LENGTH_REQUIRED;
        return "a length is required";
    }
    if (length != NULL && (parse_u64(length, &bytes, NULL) < 0 || bytes > API_BODY_MAX)) {
        *ret_status = MHD_HTTP_CONTENT_TOO_LARGE;
        return "the body is too large";
    }
    *ret_status = 0;
    return NULL;
}

static enum MHD_Result begin(
    struct api *api, struct MHD_Connection *connection, const char *url, const char *method,
    void **slot)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    unsigned bit = parse_method(method);
    struct api_call *call = mem_alloc(sizeof(*call));
    const char *objection;
    int status = 0;

    ASSERT(info != NULL);
    *call = (struct api_call){
        .api = api,
        .connection = connection,
        .visitor = info->socket_context,
        .route = route_find(bit, url, &status),
        .body = STR_INIT(API_BODY_MAX + 1),
    };
    *slot = call;
    expect_rest(api, call->visitor);
    if (call->route == NULL) {
        return send_text(
            connection, status,
            status == MHD_HTTP_NOT_FOUND ? "no such path" : "this path does not take this method");
    }
    objection = refuse_head(api, connection, call->route, bit, &status);
    if (objection != NULL) {
        return send_text(connection, status, objection);
    }
    return MHD_YES;
}

/* A request: its head, each piece of its body, its end; again after it was resumed.
 * The parameters are those of libmicrohttpd. */
static enum MHD_Result on_request(
    void *arg, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *upload, size_t *upload_size, void **slot)
{
    struct api *api = arg;
    struct api_call *call = *slot;

    (void)version;
    if (call == NULL) {
        return begin(api, connection, url, method, slot);
    }
    if (*upload_size > 0) {
        str_add_length(&call->body, upload, *upload_size);
        *upload_size = 0;
        /* A chunked body without end; one with a length was refused at its head. */
        return call->body.is_cut ? MHD_NO : MHD_YES;
    }
    call->visitor->is_asking = false;
    call->visitor->is_busy = true;
    if (call->is_answered) {
        return send_answer(call);
    }
    return handle(call, url, method);
}

/* ---- opening and closing ---- */

struct pem {
    char *cert;
    char *key;
};

static int read_pem(const struct config_restapi *restapi, struct pem *ret, struct err *e)
{
    const struct tls_files *tls = &restapi->tls;
    int r;

    if (tls->cert_file[0] == '\0') {
        return 0;
    }
    if (restapi->verify_client[0] != '\0' && !str_equal(restapi->verify_client, "none")) {
        return FAIL(
            e, ERR_UNSUPPORTED,
            "restapi.verify_client: client certificates are not checked yet\n"
            "hint: set it to none and use restapi.authentication");
    }
    r = file_read(tls->cert_file, PEM_MAX, &ret->cert, NULL, e);
    if (r < 0) {
        return err_wrap(e, r, "restapi.certfile");
    }
    /* As in Patroni, the key may be in the same file. */
    r = file_read(
        tls->key_file[0] != '\0' ? tls->key_file : tls->cert_file, PEM_MAX, &ret->key, NULL, e);
    if (r < 0) {
        return err_wrap(e, r, "restapi.keyfile");
    }
    return 0;
}

static void pem_fini(struct pem *pem)
{
    if (pem->key != NULL) {
        mem_wipe(pem->key, strlen(pem->key));
    }
    pem->key = mem_free(pem->key);
    pem->cert = mem_free(pem->cert);
}

static struct MHD_Daemon *start_daemon(struct api *api, int fd, const struct pem *pem)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
    const struct MHD_OptionItem end = {MHD_OPTION_END, 0, NULL};
    struct MHD_OptionItem tls[3] = {end, end, end};

    if (pem->cert != NULL) {
        tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, pem->cert};
        tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, pem->key};
        flags |= MHD_USE_TLS;
    }
    return MHD_start_daemon(
        flags, (uint16_t)api->port, NULL, NULL, on_request, api, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)API_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, REQUEST_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT,
        1, MHD_OPTION_NOTIFY_COMPLETED, on_completed, api, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, api, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

int api_new(
    struct loop *loop, const struct config *config, const struct api_source *source,
    struct api **ret, struct err *e)
{
    const struct address *listen = &config->restapi.listen;
    const union MHD_DaemonInfo *info;
    struct pem pem = {0};
    struct api *api;
    int fd = -1;
    int r = read_pem(&config->restapi, &pem, e);

    if (r == 0) {
        r = listen_open(listen->host, listen->port, &fd, e);
    }
    if (r < 0) {
        pem_fini(&pem);
        return r;
    }
    api = mem_alloc(sizeof(*api));
    *api = (struct api){
        .loop = loop,
        .config = config,
        .source = *source,
        .port = listen_port(fd),
    };
    api->quiet.next = &api->quiet;
    api->quiet.previous = &api->quiet;
    api->daemon = start_daemon(api, fd, &pem);
    pem_fini(&pem);
    if (api->daemon == NULL) {
        close(fd);
        mem_free(api);
        return FAIL(
            e, ERR_CONFIG,
            "the REST server does not start\nhint: check that restapi.certfile and keyfile are a "
            "PEM certificate and its key, without a passphrase");
    }
    info = MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    ASSERT(info != NULL);
    api->timer = loop_timer_new(loop, on_timer, api);
    api->deadline = loop_timer_new(loop, on_deadline, api);
    api->poll = loop_poll_new(loop, info->epoll_fd, on_ready, api);
    loop_poll_set(api->poll, true, false);
    run(api);
    *ret = api;
    return 0;
}

void api_free(struct api *api)
{
    if (api == NULL) {
        return;
    }
    /* The library must not be stopped while connections are suspended. */
    for (struct api_call *call = api->calls; call != NULL; call = call->next) {
        call->is_answered = true;
        call->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        call->content_type = "text/plain";
        call->text = mem_dup("the agent is stopping; see 'baton list' for the outcome");
        call->length = strlen(call->text);
        call->is_suspended = false;
        MHD_resume_connection(call->connection);
    }
    for (int turn = 0; turn < LAST_TURNS; turn++) {
        IGNORE(MHD_run(api->daemon) != MHD_YES, "it is stopped anyway");
    }
    loop_poll_free(api->poll);
    loop_timer_free(api->timer);
    loop_timer_free(api->deadline);
    MHD_stop_daemon(api->daemon);
    mem_free(api);
}

int api_port(const struct api *api)
{
    return api->port;
}
