/* agent.h - the wiring: facts -> view -> plan -> actions, and the daemon around it.
 *
 * The core (everything but run.c) touches the world only through ports: a store (dcs/dcs.h), a
 * database server (engine/engine.h), a way to ask peers, clocks and a log. It neither waits nor
 * owns threads, so the simulator runs the same object code under virtual time.
 *
 * Callbacks only record facts (facts.c). agent_step then, once per turn of the loop: builds the
 * view (view.c), lets ha_decide choose, and starts what the plan asks for (act.c), publishes this
 * member (publish.c), and says when it wants to be called next at the latest.
 *
 *     struct agent *agent = agent_new(config, &ports);
 *     agent_start(agent);
 *     ... after each turn in which anything happened, or when the time has come:
 *     wake_ms = agent_step(agent);
 *
 * The right to write (safety, section 2.2): t0 is read before a renewal is sent; only a committed
 * transaction moves the deadline to t0 + hold; the guard gets it as an absolute number. What a
 * restarted agent knows of its lease is what the guard still holds. */
#pragma once

#include "api/api.h"
#include "base/log.h"
#include "codec/codec.h"
#include "config/config.h"
#include "dcs/dcs.h"
#include "engine/engine.h"
#include "ha/ha.h"

struct agent;

/* The furthest that was ever seen of the lease (past.c). */
struct lease_past {
    uint64_t system_id; /* of the cluster that it is about; 0: nothing was seen */
    uint64_t term;
    uint32_t timeline; /* that a lease gave out */
    int64_t length_ms;
    uint64_t own_term; /* the highest one that this node has held */
};

/* The world. All functions are required; `arg` goes to each of them. */
struct agent_ports {
    const char *node_id;    /* borrowed; see NODE_ID_SIZE */
    uint64_t promised;      /* what the last promise said, as it is on disk; 0 none */
    struct lease_past past; /* as it is on disk */
    struct dcs *dcs;        /* borrowed */
    struct engine *engine;  /* borrowed */
    struct instant (*now)(void *arg);
    int64_t (*real_ms)(void *arg);
    /* Ask the member NAME for a report: agent_on_report follows exactly once. IS_URGENT: it should
     * look at its server as well, for the next answer. */
    void (*poll)(
        void *arg, const char *name, const char *api_url, int64_t timeout_ms, bool is_urgent);
    /* Write down for good that nothing is confirmed any more to a holder of an earlier term than
     * TERM: agent_on_promise follows exactly once, when that is durable or has failed. One at a
     * time. */
    void (*promise)(void *arg, uint64_t term);
    /* POST BODY to /failsafe of the member NAME: agent_on_failsafe follows exactly once. */
    void (*failsafe)(
        void *arg, const char *name, const char *api_url, const char *body, int64_t timeout_ms);
    /* Write PAST down: agent_on_remembered follows exactly once. One at a time. */
    void (*remember)(void *arg, const struct lease_past *past);
    /* One log line; FIELDS ends with a NULL name. */
    void (*log)(void *arg, enum log_level level, const struct log_field *fields, const char *text);
    void *arg;
};

/* CONFIG and what the ports borrow must outlive the agent. PORTS is copied. */
struct agent *agent_new(const struct config *config, const struct agent_ports *ports);
void agent_free(struct agent *agent);

/* Register with the store and the engine and begin. */
void agent_start(struct agent *agent);

/* One turn. Returns in how many milliseconds the next one is wanted at the latest. */
int64_t agent_step(struct agent *agent);

/* A peer's answer, or NULL: none. ANOTHER (or NULL) says who has answered instead. */
void agent_on_report(
    struct agent *agent, const char *name, const struct peer_report *report, const char *another);

/* The end of a promise; RESULT negative: with WHY. */
void agent_on_promise(struct agent *agent, uint64_t term, int result, const struct err *why);

/* The end of a question of failsafe mode: whether NAME promises. */
void agent_on_failsafe(struct agent *agent, const char *name, bool is_promised);

/* Another node asks in failsafe mode: NULL if it is promised what it asks for, else why not. */
const char *agent_failsafe(struct agent *agent, const struct failsafe_ask *ask);

/* The same of ports.remember. */
void agent_on_remembered(struct agent *agent, int result, const struct err *why);

/* Somebody asked for a report and needs a fresh one: look at the server. */
void agent_look(struct agent *agent);

/* engine_read_log, for as long as this node holds the lease. */
void agent_read_log(
    struct agent *agent, const struct tail_ask *ask, const char *mac, engine_log_done *done,
    void *arg);

/* Stop: LEAVE also stops the server and gives the lease away (agent_is_done tells when that is
 * complete). */
void agent_leave(struct agent *agent);
bool agent_is_done(const struct agent *agent);

/* Whether another node of the same name was found alive: this one must not go on. */
bool agent_is_refused(const struct agent *agent);

/* For the REST server (api/api.h): what is known now; carry out a switchover or failover, then
 * api_answer(CALL). */
void agent_snapshot(const struct agent *agent, struct api_snapshot *ret);

/* Begin a request; ANSWER(arg, status, text) is called exactly once, now or later. */
typedef void agent_answer(void *arg, int status, const char *text);
void agent_request(
    struct agent *agent, const struct failover_request *request, bool is_failover,
    agent_answer *answer, void *arg);

/* `baton agent CONFIG`: read the configuration, wire the real ports, run until SIGTERM. Returns an
 * exit code. */
int agent_main(const char *config_path);
