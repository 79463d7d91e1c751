/* sync.h - synchronous replication in the simulated cluster: commits that wait in a server
 * (commit.c), the driver's part, which ends with the agent (driver.c), modes and their faults
 * (sync.c). The structs are in sim.h; what is judged, in check_sync.c. */
#pragma once

#include "tests/sim/sim.h"

/* ---- commits that wait (commit.c) ---- */

/* NODE's server reads its configuration as it starts; everybody in it reads it anew, each when it
 * comes to it. */
void commit_start(struct node *node);
void commit_reload(struct sim *sim, struct node *node);
/* NODE's receiver has a connection to UPSTREAM; has lost it; has something to confirm. */
void commit_attach(struct node *upstream, struct node *node, int64_t now_ns);
void commit_detach(struct sim *sim, struct node *node);
void commit_confirm(struct sim *sim, struct node *node);
bool commit_is_attached(const struct sim *sim, const struct sender *sender);
/* The commit of CLIENT that ends at NODE's present end is on the own disk: whether its client can
 * be told now. If not, commit_answered follows, unless the server ends before. */
bool commit_is_free(struct sim *sim, struct node *node, unsigned client, unsigned write);
/* Somebody cancels the queries of NODE that wait: their clients get a warning. */
void commit_cancel(struct sim *sim, struct node *node);
/* A client was told, at last; the next one of its commits. */
void server_answered(struct sim *sim, struct node *node, unsigned client, bool is_acked);

/* ---- the driver's part in it (driver.c) ---- */

void driver_begin(struct sim *sim, struct node *node);
void driver_set_sync(
    struct sim *sim, struct node *node, const struct sync_rule *rule, uint64_t serial,
    int64_t output_ns);
/* Before a start or a promotion. */
void driver_write_rule(struct sim *sim, struct node *node);
/* It follows nobody, and has replayed all that it has. */
bool driver_is_detached(const struct node *node);
/* The server of NODE may be another one, or have another role. */
void driver_notice(struct sim *sim, struct node *node);
void driver_fill_status(const struct sim *sim, const struct node *node, struct engine_status *ret);
void driver_ping(
    struct sim *sim, struct node *node, const char *name, int64_t timeout_ms, int64_t output_ns);
/* A primary was killed: its log can be read to its end, if it can be. */
void driver_read_end(struct sim *sim, struct node *node);
/* The port `promise`. */
void driver_promise(struct sim *sim, struct node *node, uint64_t term);
/* How NODE's server and driver are told by its agent's engine (engine.c). */
void engine_on_ping(struct sim *sim, struct node *node, const char *name, bool is_alive);

/* ---- synchronous modes: what is drawn, configured, broken (sync.c) ---- */

void sync_draw(struct sim *sim);
/* An option of a scenario's cluster: sync=off|on|quorum, strict, count=2, nosync=n3, nofailover=n3,
 * end=known|unknown; false if TEXT is none. */
bool sync_set_option(struct shape *shape, const char *text);
/* Add sim->settings to the dynamic configuration JSON. */
void sync_add_config(const struct sim *sim, char *json, size_t size);
void sync_switch_to(struct sim *sim, enum sync_mode mode, bool is_strict, int count);
/* FAULT begins, or ends (is_over), with NODE. */
void sync_switch(struct sim *sim, struct fault *fault, struct node *node);
void sync_cancel(struct sim *sim, struct fault *fault, struct node *node);
void sync_freeze(struct sim *sim, struct fault *fault, struct node *node);
void sync_break(struct sim *sim, struct fault *fault, struct node *node);
void sync_mend(struct sim *sim, struct fault *fault, struct node *node);
/* A change of NODE's rule has come to STAGE: a fault may have waited for that. */
void sync_stage(struct sim *sim, struct node *node, enum stage stage);
