/* client.h - typed calls to an agent's REST API: for other agents (heartbeats, store members) and
 * for commands.
 *
 * Asynchronous on the loop; a command uses client_call, which runs a loop of its own until the
 * answer is there.
 *
 * TLS and authentication are taken from config->ctl, then config->restapi, as Patroni does. Agents
 * among themselves do not verify certificates unless ctl names an authority (Patroni's rule: a
 * heartbeat that fails because a certificate has expired would cost the primary); commands always
 * verify, against ctl's authority, restapi's, or the system's. */
#pragma once

#include "codec/codec.h"
#include "config/config.h"
#include "io/http.h"

struct client;

/* Never NULL. CONFIG must outlive it. */
struct client *client_new(struct loop *loop, const struct config *config);

/* Cancels what is under way: no DONE comes after this. NULL is accepted; allowed inside a DONE. */
void client_free(struct client *client);

/* GET api_url (".../patroni") of the member `name`: a heartbeat. DONE comes exactly once unless the
 * client is freed; REPORT is NULL when there was no (valid) answer of this member within
 * `timeout_ms`, and then RESULT is a failure (ERR_CONFLICT: another member has answered) and WHY a
 * sentence. */
struct client_poll_options {
    const char *name;
    const char *api_url;
    int64_t timeout_ms;
    bool is_urgent; /* its agent looks at its server as well: the next answer is fresh */
};
typedef void client_report_done(
    void *arg, const char *name, const struct peer_report *report, int result, const char *why);
void client_poll(
    struct client *client, const struct client_poll_options *options, client_report_done *done,
    void *arg);

/* POST BODY to /failsafe of the member `name` whose api_url (".../patroni") this is: whether it
 * promises. DONE comes exactly once unless the client is freed; `why` (or NULL) says why not. */
struct client_failsafe_options {
    const char *name;
    const char *api_url;
    const char *body;
    int64_t timeout_ms;
};
typedef void client_failsafe_done(void *arg, const char *name, bool is_promised, const char *why);
void client_failsafe(
    struct client *client, const struct client_failsafe_options *options,
    client_failsafe_done *done, void *arg);

/* GET /baton/store at ADDRESS (https when this node's own REST server has a certificate): the
 * answer's JSON, or NULL. */
typedef void client_text_done(void *arg, const struct address *address, const char *json);
void client_poll_store(
    struct client *client, const struct address *address, int64_t timeout_ms,
    client_text_done *done, void *arg);

/* One call from a command. BODY (JSON) may be NULL. */
struct client_request {
    struct address address;
    bool is_https;
    const char *method;
    const char *path;
    const char *body;
    int64_t timeout_ms;
};

/* `body` is new text (mem_free). */
struct client_answer {
    int status;
    char *body;
};

/* Carry out REQUEST, blocking. 0 for any HTTP status; a failure when there was no answer. */
MUST_CHECK int client_call(
    const struct config *config, const struct client_request *request, struct client_answer *ret,
    struct err *e);
