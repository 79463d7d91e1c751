/* operator.h - what people do in a simulated cluster. */
#pragma once

#include "tests/sim/sim.h"

/* Ask the agent of ASKED for a switchover or failover; sim->answer gets the status. */
void operator_ask(
    struct sim *sim, struct node *asked, const struct failover_request *request, bool is_failover);
void operator_pause(struct sim *sim, bool is_paused);
/* sim->settings become the cluster's, if there is one. */
void operator_write_config(struct sim *sim);
void operator_clear(struct sim *sim, struct node *node);
/* The dynamic configuration without what sim->settings has, into sim->base_config. */
void operator_write_base(struct sim *sim, int64_t ttl_ms);
/* The ttl of it, into the store. */
void operator_set_ttl(struct sim *sim, int64_t ttl_ms);
void operator_change_ttl(struct sim *sim, struct fault *fault, struct node *node);
/* Clear what baton must not clear by itself. */
void operator_repair(struct sim *sim);
