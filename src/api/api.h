/* api.h - the REST server of an agent: Patroni's endpoints, baton's own, one table of routes.
 *
 * libmicrohttpd in epoll mode; its descriptor sits in the loop, so nothing here blocks and there
 * are no threads. What is shown comes from a source (the agent) as a value, copied when asked for;
 * what is asked for goes to the source, which answers later through api_answer: such a connection
 * is suspended meanwhile.
 *
 * Routes are rows (routes.c): method, path, who may, handler, help. Limits: API_CONNECTIONS_MAX
 * connections, API_BODY_MAX bytes of a body, API_CALLS_MAX calls that wait for the source, 10 s
 * without a byte closes a connection, and so does a request that is not whole 10 s after its head.
 * Connections without a whole request never keep others out: when there are too many, the one that
 * has asked for nothing for the longest time makes room. */
#pragma once

#include "codec/codec.h"
#include "config/config.h"
#include "engine/engine.h"
#include "io/loop.h"

#define API_CONNECTIONS_MAX 256
#define API_BODY_MAX 65536
#define API_CALLS_MAX 16

/* One line of the present decision, per topic: why the node does what it does. */
struct api_decision {
    char rule[32];
    char text[256];
};

/* What the agent knows, for showing. */
struct api_snapshot {
    const struct config *config;
    struct cluster cluster; /* last reading of the store */
    struct engine_status server;
    enum member_state state; /* of this node, in Patroni's words */
    enum member_role role;
    bool has_lease; /* in force: this is what /primary answers from */
    bool is_led;    /* the lease is in force, here or elsewhere, on this node's own clock */
    bool dcs_ok;
    int64_t dcs_seen_real_ms; /* last contact with the store; 0 never */
    int64_t real_ms;          /* now */
    int64_t last_turn_ms;     /* age of the last decision */
    bool is_candidate;
    enum trouble trouble;
    int64_t down_ms;
    int64_t age_ms;     /* of the position */
    uint64_t suspected; /* as in struct peer_report */
    uint64_t system_id; /* of the data; before it has been looked at, whose it should be */
    uint64_t past_term; /* the highest, and the newest, that were ever seen of the lease */
    uint32_t past_timeline;
    bool is_partial;
    uint64_t promised;
    uint64_t bound;
    uint64_t vote_term;
    uint64_t vote_seq;
    char tail_for[MEMBER_NAME_SIZE]; /* as in struct peer_report */
    bool is_fetching;
    bool is_failsafe_active; /* the holder goes on without the store: this node, or one it helps */
    struct api_decision lease;    /* TOPIC_LEASE */
    struct api_decision decision; /* TOPIC_SERVER */
    struct api_decision sync;     /* TOPIC_SYNC */
    char dcs_endpoint[128];
    char dcs_problem[256];
    /* The keys as they are in the store, NULL when there are none; borrowed from the source until
     * the loop goes on. */
    const char *config_json;
    const char *history_json;
    const char *failsafe_json;
    /* Fresh reports of the other members, by the index of cluster.members; has_report tells. */
    bool has_report[MEMBERS_MAX];
    struct position report_position[MEMBERS_MAX];
    uint64_t report_received_lsn[MEMBERS_MAX];
    uint64_t report_replayed_lsn[MEMBERS_MAX];
    /* All of them; NULL: the source has none, or does not show it. Borrowed like the keys above. */
    const struct peer_report *report[MEMBERS_MAX];
    /* Members that were asked and do not answer, and for how long (0: they never did). */
    bool is_silent[MEMBERS_MAX];
    int64_t silent_ms[MEMBERS_MAX];
};

/* What other agents hear of it. */
void api_report(const struct api_snapshot *snapshot, struct peer_report *ret);

struct api_call;

/* What operators may ask of the agents' own store. */
enum api_store_change {
    API_STORE_LEAVE,  /* take this agent's member out for good */
    API_STORE_REMOVE, /* take out another one, whose host is gone */
    API_STORE_JOIN,   /* come back after having left */
};

/* What the agent offers. `request`: a switchover or failover (force: also to a candidate that
 * lags), well formed and not obviously impossible; the agent checks it, carries it out and calls
 * api_answer exactly once, now or later. `store_answer`: the JSON of GET /baton/store (new text),
 * NULL when this agent runs no store member; `store_members`: that of GET /baton/store/members, or
 * NULL with a sentence in E. `store_change`: ends with api_answer like `request`; NAME (borrowed)
 * is of API_STORE_REMOVE. */
struct api_source {
    void (*snapshot)(void *arg, struct api_snapshot *ret);
    void (*request)(
        void *arg, const struct failover_request *request, bool is_failover, struct api_call *call);
    void (*look)(void *arg); /* somebody needs a fresh report soon */
    /* NULL: the holder is promised that it can go on without the store; else why not. */
    const char *(*failsafe)(void *arg, const struct failsafe_ask *ask);
    char *(*store_answer)(void *arg);
    char *(*store_members)(void *arg, struct err *e);
    void (*store_change)(
        void *arg, enum api_store_change what, const char *name, struct api_call *call);
    /* For another agent (engine_read_log); ends with api_answer_log. MAC may be
     * NULL: not signed. */
    void (*read_log)(void *arg, const struct tail_ask *ask, const char *mac, struct api_call *call);
    void *arg;
};

struct api;

/* Listen on config->restapi.listen. ERR_IO or ERR_CONFIG with what to do when the address is in
 * use or not this host's. */
MUST_CHECK int api_new(
    struct loop *loop, const struct config *config, const struct api_source *source,
    struct api **ret, struct err *e);

/* Stop listening. Calls that wait get a 503; the source must still api_answer each of them, which
 * then only frees it. NULL is accepted. */
void api_free(struct api *api);

/* The port that is listened on (useful when restapi.listen has port 0). */
int api_port(const struct api *api);

/* End a call that was handed to the source: HTTP status and plain text. CALL is gone afterwards. */
void api_answer(struct api_call *call, int status, const char *text);

/* The same with what engine_read_log has brought; CALL is a struct api_call. */
void api_answer_log(
    void *call, int result, const void *sealed, size_t length, const struct err *why);

/* All routes as a reference page (Markdown). */
struct str;
void api_render_reference(struct str *out);
