#include "io/http.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"

#include <curl/curl.h>

#define CACHED_CONNECTIONS_MAX 32L
#define CONNECTION_IDLE_S 60L
#define STATUS_OK_FIRST 200
#define STATUS_OK_LAST 299

/* A socket of libcurl under watch. */
struct watch {
    struct watch *next;
    struct http *http;
    struct loop_poll *poll;
    curl_socket_t fd;
};

struct http_request {
    struct http_request *next;
    struct http *http;
    CURL *easy;
    struct curl_slist *headers;
    struct loop_timer *silence; /* NULL: no silence limit */
    int64_t silence_ms;
    void (*on_data)(void *arg, const char *bytes, size_t length);
    http_done *done;
    void *arg;
    struct str body; /* of the answer; for a stream, what was not delivered yet */
    struct str sending;
    size_t sent;
    bool is_finished;
    bool is_over_limit;
    bool is_silent;
    bool is_refused; /* not to be sent at all */
    bool is_in_done;
    CURLcode result;
    char why[CURL_ERROR_SIZE];
};

/* Callbacks of libcurl only record; the owner's functions are called afterwards, from deliver(),
 * where they may start, cancel and free anything. `depth` > 0 while that runs: http_free then
 * leaves the last step to it. */
struct http {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer *timer;
    struct http_request *requests;
    struct watch *watches;
    unsigned depth;
    bool is_freed;
};

static void turn(struct http *http, curl_socket_t fd, int events);

static void must(CURLcode code)
{
    ASSERT(code == CURLE_OK);
}

static void must_multi(CURLMcode code)
{
    ASSERT(code == CURLM_OK);
}

/* ---- sockets and the timer of libcurl ---- */

static void drop_watch(struct http *http, curl_socket_t fd)
{
    for (struct watch **slot = &http->watches; *slot != NULL; slot = &(*slot)->next) {
        struct watch *watch = *slot;

        if (watch->fd == fd) {
            *slot = watch->next;
            loop_poll_free(watch->poll);
            mem_free(watch);
            return;
        }
    }
}

static void on_socket_ready(void *arg, bool readable, bool writable)
{
    struct watch *watch = arg;

    turn(
        watch->http, watch->fd,
        (readable ? CURL_CSELECT_IN : 0) | (writable ? CURL_CSELECT_OUT : 0));
}

static struct watch *find_or_add_watch(struct http *http, curl_socket_t fd)
{
    struct watch *watch = http->watches;

    while (watch != NULL && watch->fd != fd) {
        watch = watch->next;
    }
    if (watch == NULL) {
        watch = mem_alloc(sizeof(*watch));
        watch->http = http;
        watch->fd = fd;
        watch->poll = loop_poll_new(http->loop, fd, on_socket_ready, watch);
        watch->next = http->watches;
        http->watches = watch;
    }
    return watch;
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http *http = arg;
    struct watch *watch = NULL;

    (void)easy;
    (void)socket_arg;
    if (what == CURL_POLL_REMOVE) {
        drop_watch(http, fd);
        return 0;
    }
    watch = find_or_add_watch(http, fd);
    loop_poll_set(watch->poll, (what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0);
    return 0;
}

/* libcurl does not announce every close, and libuv aborts on a closed descriptor that is
 * watched. */
static int close_socket(void *arg, curl_socket_t fd)
{
    drop_watch((struct http *)arg, fd);
    return close(fd);
}

static int on_timer_wanted(CURLM *multi, long ms, void *arg)
{
    struct http *http = arg;

    (void)multi;
    if (ms < 0) {
        loop_timer_stop(http->timer);
    } else {
        loop_timer_start(http->timer, ms);
    }
    return 0;
}

static void on_timer(void *arg)
{
    struct http *http = arg;

    turn(http, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- the answer ---- */

static bool is_stream(const struct http_request *request)
{
    return request->on_data != NULL;
}

static int status_of(const struct http_request *request)
{
    long status = 0;

    must(curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status));
    return (int)status;
}

static void hear(struct http_request *request)
{
    if (request->silence != NULL) {
        loop_timer_start(request->silence, request->silence_ms);
    }
}

static size_t on_header(const char *bytes, size_t size, size_t count, void *arg)
{
    (void)bytes;
    hear((struct http_request *)arg);
    return size * count;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_request *request = arg;
    size_t length = size * count;

    hear(request);
    if (length > HTTP_BODY_MAX - request->body.length) {
        request->is_over_limit = true;
        return 0;
    }
    str_add_length(&request->body, bytes, length);
    return length;
}

static void on_silence(void *arg)
{
    struct http_request *request = arg;

    request->is_silent = true;
    request->is_finished = true;
    turn(request->http, CURL_SOCKET_TIMEOUT, 0);
}

static int failure_of(const struct http_request *request)
{
    long sent_bytes = 0;

    if (request->is_over_limit) {
        return ERR_LIMIT;
    }
    if (request->is_silent || request->result == CURLE_OPERATION_TIMEDOUT) {
        return ERR_TIMEOUT;
    }
    if (request->is_refused || request->result == CURLE_URL_MALFORMAT) {
        return ERR_INVALID;
    }
    /* The same code stands for a server that does not speak HTTP. */
    must(curl_easy_getinfo(request->easy, CURLINFO_REQUEST_SIZE, &sent_bytes));
    if (request->result == CURLE_UNSUPPORTED_PROTOCOL && sent_bytes == 0) {
        return ERR_INVALID;
    }
    return ERR_NETWORK;
}

static const char *reason_of(const struct http_request *request)
{
    if (request->is_over_limit) {
        return "the answer is larger than allowed";
    }
    if (request->is_refused) {
        return "a header has a line break";
    }
    if (request->is_silent) {
        return "the stream fell silent";
    }
    return request->why[0] != '\0' ? request->why : curl_easy_strerror(request->result);
}

static void unlink_request(struct http_request *request)
{
    struct http_request **slot = &request->http->requests;

    while (*slot != request) {
        ASSERT(*slot != NULL);
        slot = &(*slot)->next;
    }
    *slot = request->next;
}

static void release(struct http_request *request)
{
    must_multi(curl_multi_remove_handle(request->http->multi, request->easy));
    curl_easy_cleanup(request->easy);
    curl_slist_free_all(request->headers);
    loop_timer_free(request->silence);
    if (request->body.text != NULL) {
        mem_wipe(request->body.text, request->body.length);
    }
    str_fini(&request->body);
    if (request->sending.text != NULL) {
        mem_wipe(request->sending.text, request->sending.length);
    }
    str_fini(&request->sending);
    mem_free(request);
}

static void deliver_end(struct http_request *request)
{
    struct http_answer answer = {.body = str_text(&request->body), .length = request->body.length};
    bool is_answer = request->result == CURLE_OK && !request->is_silent && !request->is_refused;

    if (is_answer) {
        answer.status = status_of(request);
    } else {
        answer.result = failure_of(request);
        answer.why = reason_of(request);
        answer.body = "";
        answer.length = 0;
    }
    unlink_request(request);
    request->is_in_done = true;
    request->done(request->arg, &answer);
    release(request);
}

static void deliver_data(struct http_request *request)
{
    size_t length = request->body.length;
    AUTO_FREE char *bytes = str_take(&request->body);

    /* The owner may cancel the request now: it is not touched afterwards. */
    request->on_data(request->arg, bytes, length);
}

static bool has_data(const struct http_request *request)
{
    int status = 0;

    if (!is_stream(request) || request->body.length == 0) {
        return false;
    }
    status = status_of(request);
    return status >= STATUS_OK_FIRST && status <= STATUS_OK_LAST;
}

/* Something to tell to the owner; looked for from the start each time, because an owner may
 * change the whole list. */
static struct http_request *find_news(const struct http *http)
{
    struct http_request *request = http->requests;

    while (request != NULL && !request->is_finished && !has_data(request)) {
        request = request->next;
    }
    return request;
}

static void deliver(struct http *http)
{
    for (;;) {
        struct http_request *request = find_news(http);

        if (request == NULL) {
            return;
        }
        if (has_data(request)) {
            deliver_data(request);
        } else {
            deliver_end(request);
        }
    }
}

static void note_finished(struct http *http)
{
    int left = 0;

    for (CURLMsg *message = curl_multi_info_read(http->multi, &left); message != NULL;
         message = curl_multi_info_read(http->multi, &left)) {
        struct http_request *request = NULL;

        ASSERT(message->msg == CURLMSG_DONE);
        must(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request));
        if (!request->is_finished) {
            request->is_finished = true;
            request->result = message->data.result;
        }
    }
}

static void free_now(struct http *http);

static void turn(struct http *http, curl_socket_t fd, int events)
{
    int running = 0;

    must_multi(curl_multi_socket_action(http->multi, fd, events, &running));
    note_finished(http);
    http->depth++;
    deliver(http);
    http->depth--;
    if (http->is_freed && http->depth == 0) {
        free_now(http);
    }
}

/* ---- requests ---- */

static void set_tls(CURL *easy, const struct http_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    if (tls->ca_file != NULL) {
        must(curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_file));
    }
    if (tls->cert_file != NULL) {
        must(curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert_file));
    }
    if (tls->key_file != NULL) {
        must(curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key_file));
    }
    if (tls->insecure) {
        must(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L));
        must(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L));
    }
}

/* What is the same for every request. */
static void set_policy(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    must(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https"));
#else
    must(curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)));
#endif
    must(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
    must(curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L));
    must(curl_easy_setopt(easy, CURLOPT_PROXY, ""));
    must(curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"));
    must(curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L));
    must(curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
    must(curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC));
    must(curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
    must(curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, CONNECTION_IDLE_S));
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Without it, giving up a request waits for the thread that looks up its name. */
    must(curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L));
#endif
}

/* libcurl repeats a request by itself when a kept connection ends without an answer, a POST too,
 * although the server may have acted on it. It cannot if the body cannot be read twice. */
static size_t on_send(char *buffer, size_t size, size_t count, void *arg)
{
    struct http_request *request = arg;
    size_t length = MIN(size * count, request->sending.length - request->sent);

    memcpy(buffer, request->sending.text + request->sent, length);
    request->sent += length;
    return length;
}

static int on_rewind(void *arg, curl_off_t offset, int origin)
{
    (void)arg;
    (void)offset;
    (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

static void set_body(struct http_request *request, const char *body)
{
    CURL *easy = request->easy;

    request->sending = (struct str)STR_INIT(SIZE_MAX);
    str_add(&request->sending, body);
    must(curl_easy_setopt(easy, CURLOPT_POST, 1L));
    must(curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body)));
    must(curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send));
    must(curl_easy_setopt(easy, CURLOPT_READDATA, request));
    must(curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_rewind));
}

static void set_method(struct http_request *request, const struct http_options *options)
{
    CURL *easy = request->easy;

    if (options->body != NULL && options->body[0] != '\0') {
        set_body(request, options->body);
    } else if (options->body != NULL) {
        must(
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(options->body)));
        must(curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, options->body));
    } else if (str_equal(options->method, "POST")) {
        must(curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L));
        must(curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, ""));
    }
    if (str_equal(options->method, "HEAD")) {
        must(curl_easy_setopt(easy, CURLOPT_NOBODY, 1L));
    } else {
        must(curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, options->method));
    }
}

static void add_header(struct http_request *request, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + sizeof(": ");
    char *line = mem_alloc(size);

    if (strpbrk(value, "\r\n") != NULL) {
        /* A line break would smuggle in a header. */
        request->is_refused = true;
        value = "";
    }
    IGNORE(!str_format(line, size, "%s:%s%s", name, value[0] != '\0' ? " " : "", value), "it fits");
    request->headers = curl_slist_append(request->headers, line);
    ASSERT(request->headers != NULL);
    mem_wipe(line, size);
    mem_free(line);
}

static void set_headers(struct http_request *request, const struct http_options *options)
{
    add_header(request, "Expect", "");
    if (options->content_type != NULL) {
        add_header(request, "Content-Type", options->content_type);
    }
    if (options->authorization != NULL) {
        add_header(request, "Authorization", options->authorization);
    }
    must(curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers));
    if (options->user != NULL) {
        must(curl_easy_setopt(request->easy, CURLOPT_USERNAME, options->user));
        must(curl_easy_setopt(
            request->easy, CURLOPT_PASSWORD, options->password != NULL ? options->password : ""));
    }
}

static void set_callbacks(struct http_request *request)
{
    CURL *easy = request->easy;

    must(curl_easy_setopt(easy, CURLOPT_PRIVATE, request));
    must(curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->why));
    must(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body));
    must(curl_easy_setopt(easy, CURLOPT_WRITEDATA, request));
    must(curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header));
    must(curl_easy_setopt(easy, CURLOPT_HEADERDATA, request));
    /* Connections outlive requests, so this one gets the client. */
    must(curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket));
    must(curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, request->http));
}

static void set_limits(struct http_request *request, const struct http_options *options)
{
    must(curl_easy_setopt(
        request->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)MAX(options->timeout_ms, INT64_C(1))));
    if (options->on_data == NULL) {
        must(curl_easy_setopt(
            request->easy, CURLOPT_TIMEOUT_MS, (long)MAX(options->timeout_ms, INT64_C(1))));
        return;
    }
    if (options->silence_ms > 0) {
        request->silence_ms = options->silence_ms;
        request->silence = loop_timer_new(request->http->loop, on_silence, request);
        loop_timer_start(request->silence, MAX(options->silence_ms, options->timeout_ms));
    }
}

static void append_request(struct http_request *request)
{
    struct http_request **slot = &request->http->requests;

    while (*slot != NULL) {
        slot = &(*slot)->next;
    }
    *slot = request;
}

struct http_request *http_start(
    struct http *http, const struct http_options *options, http_done *done, void *arg)
{
    struct http_request *request = mem_alloc(sizeof(*request));

    ASSERT(!http->is_freed);
    ASSERT(options->method != NULL);
    ASSERT(options->url != NULL);
    ASSERT(done != NULL);
    request->http = http;
    request->on_data = options->on_data;
    request->done = done;
    request->arg = arg;
    request->body = (struct str)STR_INIT(HTTP_BODY_MAX + 1);
    request->easy = curl_easy_init();
    ASSERT(request->easy != NULL);
    set_policy(request->easy);
    set_callbacks(request);
    set_limits(request, options);
    must(curl_easy_setopt(request->easy, CURLOPT_URL, options->url));
    set_method(request, options);
    set_headers(request, options);
    set_tls(request->easy, options->tls);
    append_request(request);
    must_multi(curl_multi_add_handle(http->multi, request->easy));
    if (request->is_refused) {
        request->is_finished = true;
        loop_timer_start(http->timer, 0);
    }
    return request;
}

void http_cancel(struct http_request *request)
{
    if (request == NULL || request->is_in_done) {
        return;
    }
    unlink_request(request);
    release(request);
}

/* ---- the client ---- */

struct http *http_new(struct loop *loop)
{
    struct http *http = mem_alloc(sizeof(*http));

    must(curl_global_init(CURL_GLOBAL_DEFAULT));
    http->loop = loop;
    http->timer = loop_timer_new(loop, on_timer, http);
    http->multi = curl_multi_init();
    ASSERT(http->multi != NULL);
    must_multi(curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted));
    must_multi(curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http));
    must_multi(curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted));
    must_multi(curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http));
    must_multi(curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, CACHED_CONNECTIONS_MAX));
    must_multi(curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING));
    return http;
}

static void free_now(struct http *http)
{
    must_multi(curl_multi_cleanup(http->multi));
    while (http->watches != NULL) {
        drop_watch(http, http->watches->fd);
    }
    loop_timer_free(http->timer);
    curl_global_cleanup();
    mem_free(http);
}

void http_free(struct http *http)
{
    if (http == NULL || http->is_freed) {
        return;
    }
    while (http->requests != NULL) {
        http_cancel(http->requests);
    }
    http->is_freed = true;
    if (http->depth == 0) {
        free_now(http);
    }
}
