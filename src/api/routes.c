#include "api/routes.h"

#include "api/health.h"
#include "api/metrics.h"
#include "api/operate.h"
#include "api/views.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/codec.h"

#define METRICS_MAX 65536
#define REPLY_TEXT_MAX 1024
#define METHOD_CHECK (METHOD_GET | METHOD_HEAD | METHOD_OPTIONS)
#define METHOD_READ (METHOD_GET | METHOD_HEAD)
#define BATON_PATH "/baton"

enum {
    OK = 200,
    BAD_REQUEST = 400,
    NOT_FOUND = 404,
    NOT_ALLOWED = 405,
    NOT_IMPLEMENTED = 501,
    SERVER_ERROR = 500,
    BAD_GATEWAY = 502,
};

const char *request_parameter(const struct api_request *request, const char *key)
{
    for (unsigned at = 0; at < request->parameter_count; at++) {
        if (str_equal(request->parameters[at].key, key) &&
            request->parameters[at].value[0] != '\0') {
            return request->parameters[at].value;
        }
    }
    return NULL;
}

bool request_has(const struct api_request *request, const char *key)
{
    for (unsigned at = 0; at < request->parameter_count; at++) {
        if (str_equal(request->parameters[at].key, key)) {
            return true;
        }
    }
    return false;
}

void reply_text(struct api_reply *reply, int status, const char *format, ...)
{
    struct str text AUTO_STR = STR_INIT(REPLY_TEXT_MAX);
    char line[REPLY_TEXT_MAX];
    va_list args;

    va_start(args, format);
    IGNORE(vsnprintf(line, sizeof(line), format, args), "cut is fine");
    va_end(args);
    str_add(&text, line);
    reply->status = status;
    reply->content_type = "text/plain";
    mem_free(reply->body);
    reply->body = str_take(&text);
}

void reply_json(struct api_reply *reply, int status, char *json)
{
    reply->status = status;
    reply->content_type = "application/json";
    mem_free(reply->body);
    reply->body = json;
}

static void get_patroni(const struct api_request *request, struct api_reply *reply)
{
    if (request_has(request, "urgent")) {
        request->source->look(request->source->arg);
    }
    reply_json(reply, OK, view_status(request->snapshot));
}

static void get_cluster(const struct api_request *request, struct api_reply *reply)
{
    reply_json(reply, OK, view_cluster(request->snapshot));
}

static void get_history(const struct api_request *request, struct api_reply *reply)
{
    reply_json(reply, OK, view_history(request->snapshot));
}

static void get_config(const struct api_request *request, struct api_reply *reply)
{
    char *json = view_config(request->snapshot);

    if (json == NULL) {
        reply_text(reply, BAD_GATEWAY, "the store has no configuration of this cluster");
    } else {
        reply_json(reply, OK, json);
    }
}

static void get_metrics(const struct api_request *request, struct api_reply *reply)
{
    struct str text = STR_INIT(METRICS_MAX);

    metrics_render(request->snapshot, &text);
    reply->status = OK;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    reply->body = str_take(&text);
}

/* Patroni's answers: 500 with the reason is a refusal. */
static void post_failsafe(const struct api_request *request, struct api_reply *reply)
{
    const struct api_snapshot *snapshot = request->snapshot;
    struct failsafe_ask ask = {0};
    struct err e = {0};
    const char *why;

    if (record_ask_decode(request->body, &ask, &e) < 0) {
        reply_text(reply, BAD_REQUEST, "%s", err_text(&e));
        return;
    }
    why = request->source->failsafe(request->source->arg, &ask);
    if (why != NULL) {
        reply_text(reply, SERVER_ERROR, "%s", why);
        return;
    }
    reply_text(reply, OK, "Accepted");
    reply->lsn = MAX(snapshot->server.received_lsn, snapshot->server.replayed_lsn);
}

static void any_failsafe(const struct api_request *request, struct api_reply *reply)
{
    const struct api_snapshot *snapshot = request->snapshot;
    AUTO_FREE char *members = view_failsafe(snapshot);

    if (!snapshot->cluster.settings.is_failsafe) {
        reply_text(reply, BAD_GATEWAY, "failsafe_mode is off");
    } else if (request->method == METHOD_POST) {
        post_failsafe(request, reply);
    } else if (members == NULL) {
        reply_text(reply, BAD_GATEWAY, "the primary has not recorded the members yet");
    } else {
        reply_json(reply, OK, TAKE(members));
    }
}

static void get_decision(const struct api_request *request, struct api_reply *reply)
{
    reply_json(reply, OK, view_decision(request->snapshot));
}

static void get_store(const struct api_request *request, struct api_reply *reply)
{
    char *json = request->source->store_answer(request->source->arg);

    if (json == NULL) {
        reply_text(reply, NOT_FOUND, "this agent runs no member of the store");
    } else {
        reply_json(reply, OK, json);
    }
}

static void get_store_members(const struct api_request *request, struct api_reply *reply)
{
    struct err e = {0};
    char *json = request->source->store_members(request->source->arg, &e);

    if (json == NULL) {
        reply_text(reply, err_http_status(e.code), "%s", err_text(&e));
    } else {
        reply_json(reply, OK, json);
    }
}

static void get_wal(const struct api_request *request, struct api_reply *reply)
{
    const struct tail_texts texts = {
        .system_id = request_parameter(request, "system"),
        .timeline = request_parameter(request, "timeline"),
        .from = request_parameter(request, "from"),
        .to = request_parameter(request, "to"),
    };
    struct tail_ask ask = {0};
    struct err e = {0};

    if (tail_ask_read(&texts, &ask, &e) < 0) {
        reply_text(reply, BAD_REQUEST, "%s", err_text(&e));
        return;
    }
    reply->is_handed = true;
    request->source->read_log(
        request->source->arg, &ask, request_parameter(request, "mac"), request->call);
}

static const struct api_route routes[] = {
    {METHOD_READ, "/patroni", MATCH_FIRST, ACCESS_OPEN, get_patroni,
     "Status of this node; always 200. The `baton` object is what agents tell each other; with "
     "`urgent` the agent looks at its server as well, so that the next answer is fresh."},
    {METHOD_READ, "/cluster", MATCH_FIRST, ACCESS_OPEN, get_cluster,
     "All members with role, state and lag, and a switchover that is scheduled; in `baton` why "
     "this "
     "node does what it does."},
    {METHOD_READ, "/history", MATCH_FIRST, ACCESS_OPEN, get_history,
     "Every promotion: timeline, position, reason, time, new leader."},
    {METHOD_READ, "/config", MATCH_FIRST, ACCESS_OPEN, get_config,
     "The dynamic configuration; 502 when the store has none."},
    {METHOD_READ, "/metrics", MATCH_FIRST, ACCESS_OPEN, get_metrics, "Metrics for Prometheus."},
    {METHOD_CHECK, "/liveness", MATCH_FIRST, ACCESS_OPEN, health_liveness,
     "200 while the agent decides: its last decision is younger than `loop_wait` plus `ttl` (twice "
     "that on a replica), or the cluster is in maintenance mode."},
    {METHOD_CHECK, "/readiness", MATCH_FIRST, ACCESS_OPEN, health_readiness,
     "200 on the leader, and on a replica that streams and lags at most `lag=` (default: "
     "`maximum_lag_on_failover`); `mode=write` counts what was received, `apply` what was "
     "replayed."},
    {METHOD_READ | METHOD_POST, "/failsafe", MATCH_FIRST, ACCESS_OPEN, any_failsafe,
     "GET: the members that failsafe mode asks, name and address; 502 while it is off. POST: a "
     "holder "
     "of the lease that the store does not answer asks to go on: 200 `Accepted` with a header "
     "`lsn`, "
     "500 with the reason, 502 while it is off."},
    {METHOD_POST, "/switchover", MATCH_FIRST, ACCESS_OPERATE, operate_switchover,
     "Hand the right to write over: `{\"leader\":..,\"candidate\":..,\"scheduled_at\":..}`; "
     "`leader` is required. 200 done, 202 scheduled, 400, 412 not possible, 422 bad time, 503 "
     "failed."},
    {METHOD_POST, "/failover", MATCH_FIRST, ACCESS_OPERATE, operate_failover,
     "Make a member the primary when there is no leader to ask: `{\"candidate\":..}`. With "
     "`leader` it is a switchover."},
    {METHOD_READ, "/baton/decision", MATCH_WHOLE, ACCESS_OPEN, get_decision,
     "The rule and sentence that decide at present, for the lease, for the server and for what "
     "commits wait for."},
    {METHOD_GET, "/baton/wal", MATCH_WHOLE, ACCESS_SIGNED, get_wal,
     "For the agent of a standby, while this node's server has died and it holds the lease: the "
     "bytes `from=` to `to=` of its log, sealed. The question (`system=`, `timeline=`, at most 4 "
     "MB) is signed with the replication password. 403 when it is not, 409 when there is nothing "
     "to give."},
    {METHOD_READ, "/baton/store", MATCH_WHOLE, ACCESS_OPEN, get_store,
     "What this agent's own store member is and knows; 404 when it runs none."},
    {METHOD_READ, "/baton/store/members", MATCH_WHOLE, ACCESS_OPEN, get_store_members,
     "All members of the agents' own store, asked within the last seconds: name, id, client_url, "
     "peer_url, state (`leader`, `voter`, `learner`, `does not answer`); 404 when this agent runs "
     "none, 503 while no member answers."},
    {METHOD_POST, "/baton/store/leave", MATCH_WHOLE, ACCESS_OPERATE, operate_store_leave,
     "Take this agent's member out of the store for good; its data is renamed aside. 409 when the "
     "others could not go on without it, 503 while the store has no leader."},
    {METHOD_POST, "/baton/store/remove", MATCH_WHOLE, ACCESS_OPERATE, operate_store_remove,
     "Take out a member whose host is gone: `{\"member\":..}`. 404 when there is no such member, "
     "409 and 503 as above."},
    {METHOD_POST, "/baton/store/join", MATCH_WHOLE, ACCESS_OPERATE, operate_store_join,
     "Let this agent's member join again after it was taken out."},
    /* Health checks, in Patroni's order: the first word found in the path decides. */
    {METHOD_CHECK, "/standby_leader", MATCH_WORD, ACCESS_OPEN, health_standby_leader,
     "503: there are no standby clusters yet."},
    {METHOD_CHECK, "/standby-leader", MATCH_WORD, ACCESS_OPEN, health_standby_leader, "The same."},
    {METHOD_CHECK, "/leader", MATCH_WORD, ACCESS_OPEN, health_leader,
     "200 if this node holds the lease, whatever its server does."},
    {METHOD_CHECK, "/", MATCH_WHOLE, ACCESS_OPEN, health_primary,
     "200 if this node holds the lease and its server runs as primary."},
    {METHOD_CHECK, "/master", MATCH_WORD, ACCESS_OPEN, health_primary, "The same."},
    {METHOD_CHECK, "/primary", MATCH_WORD, ACCESS_OPEN, health_primary, "The same."},
    {METHOD_CHECK, "/read-write", MATCH_WORD, ACCESS_OPEN, health_primary, "The same."},
    {METHOD_CHECK, "/replica", MATCH_WORD, ACCESS_OPEN, health_replica,
     "200 if the server runs as a replica without the tag `noloadbalance`; `lag=10MB`, "
     "`replication_state=streaming` and `tag_NAME=VALUE` ask for more."},
    {METHOD_CHECK, "/read-only", MATCH_WORD_PLAIN, ACCESS_OPEN, health_read_only,
     "200 where `/primary` or `/replica` is."},
    {METHOD_CHECK, "/health", MATCH_WORD, ACCESS_OPEN, health_running, "200 if the server runs."},
    {METHOD_CHECK, "/sync", MATCH_WHOLE, ACCESS_OPEN, health_synchronous,
     "As `/replica` on a synchronous standby, while the store can be reached."},
    {METHOD_CHECK, "/synchronous", MATCH_WHOLE, ACCESS_OPEN, health_synchronous, "The same."},
    {METHOD_CHECK, "/quorum", MATCH_WHOLE, ACCESS_OPEN, health_quorum,
     "As `/replica` on a member of the quorum (`synchronous_mode: quorum`), while the store can be "
     "reached."},
    {METHOD_CHECK, "/async", MATCH_WHOLE, ACCESS_OPEN, health_asynchronous,
     "As `/replica` on any other replica, while the store can be reached."},
    {METHOD_CHECK, "/asynchronous", MATCH_WHOLE, ACCESS_OPEN, health_asynchronous, "The same."},
    {METHOD_CHECK, "/read-only-quorum", MATCH_WHOLE, ACCESS_OPEN, health_read_only_quorum,
     "200 where `/primary` or `/quorum` is, while the store can be reached."},
    {METHOD_CHECK, "/read-only-sync", MATCH_WHOLE, ACCESS_OPEN, health_read_only_synchronous,
     "200 where `/primary` or `/sync` is, while the store can be reached."},
    {METHOD_CHECK, "/read-only-synchronous", MATCH_WHOLE, ACCESS_OPEN, health_read_only_synchronous,
     "The same."},
    {METHOD_CHECK, "*", MATCH_ANY, ACCESS_OPEN, health_nothing,
     "Any other path: 503 with the status, as Patroni answers a check that it does not know."},
};

const struct api_route *route_at(unsigned at)
{
    return at < ARRAY_LEN(routes) ? &routes[at] : NULL;
}

/* "/patroni", "//patroni" and "/patroni/anything" have the first part "/patroni". */
static bool is_first(const char *path, const char *wanted)
{
    size_t length = strlen(wanted);

    while (path[0] == '/' && path[1] == '/') {
        path++;
    }
    return str_starts(path, wanted) && (path[length] == '\0' || path[length] == '/');
}

static bool is_match(const struct api_route *route, const char *path)
{
    switch (route->match) {
    case MATCH_FIRST:
        return is_first(path, route->path);
    case MATCH_WHOLE:
        return str_equal(path, route->path);
    case MATCH_WORD:
        return strstr(path, route->path + 1) != NULL;
    case MATCH_WORD_PLAIN:
        return strstr(path, route->path + 1) != NULL && strstr(path, "sync") == NULL &&
               strstr(path, "quorum") == NULL;
    case MATCH_ANY:
        return true;
    }
    return false;
}

const struct api_route *route_find(unsigned method, const char *path, int *ret_status)
{
    bool is_baton = is_first(path, BATON_PATH);
    bool is_known = false;

    for (size_t at = 0; at < ARRAY_LEN(routes); at++) {
        const struct api_route *route = &routes[at];

        if (is_baton && !is_first(route->path, BATON_PATH)) {
            continue;
        }
        if (!is_match(route, path)) {
            continue;
        }
        if ((route->methods & method) != 0) {
            return route;
        }
        is_known = true;
    }
    if (is_baton) {
        *ret_status = is_known ? NOT_ALLOWED : NOT_FOUND;
    } else {
        *ret_status = NOT_IMPLEMENTED;
    }
    return NULL;
}

static void add_methods(unsigned methods, struct str *out)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {
        {METHOD_GET, "GET"},
        {METHOD_HEAD, "HEAD"},
        {METHOD_OPTIONS, "OPTIONS"},
        {METHOD_POST, "POST"},
    };
    const char *separator = "";

    for (size_t at = 0; at < ARRAY_LEN(names); at++) {
        if ((methods & names[at].bit) != 0) {
            str_addf(out, "%s%s", separator, names[at].name);
            separator = " ";
        }
    }
}

void api_render_reference(struct str *out)
{
    static const char *const accesses[] = {
        [ACCESS_OPEN] = "open", [ACCESS_OPERATE] = "operate", [ACCESS_SIGNED] = "signed"};

    str_add(
        out,
        "# REST API\n\n"
        "Every agent serves it on `restapi.listen`. Paths, status codes and bodies are those of "
        "Patroni " RECORD_PATRONI_LEVEL ";\nwhat differs is said here. Routes marked *operate* "
        "change "
        "something: they need the user and password of\n`restapi.authentication` when one is "
        "configured. HEAD gives the status alone.\n\n"
        "A health check is any GET, HEAD or OPTIONS whose path has no route of its own; the first "
        "word of the table\nthat is found in the path decides. All but those about the leader also "
        "take `tag_NAME=VALUE`. Other methods: 501.\n\n"
        "| methods | path | access | meaning |\n|---|---|---|---|\n");
    for (size_t at = 0; at < ARRAY_LEN(routes); at++) {
        const struct api_route *route = &routes[at];

        str_add(out, "| ");
        add_methods(route->methods, out);
        str_addf(out, " | `%s` | %s | %s |\n", route->path, accesses[route->access], route->help);
    }
    str_addf(
        out,
        "\nLimits: %d connections, %d bytes of a body (413), %d calls that wait for their outcome "
        "(503). A connection\nwithout a byte for 10 s is closed; when there are too many, the one "
        "that has asked for nothing for the longest\ntime makes room.\n\n## Metrics\n\n"
        "All have the labels `scope` and `name`.\n\n",
        API_CONNECTIONS_MAX, API_BODY_MAX, API_CALLS_MAX);
    metrics_render_reference(out);
}
