/* store.h - the way to the distributed store: an external etcd cluster, or a member that this agent runs.
 *
 * Without an etcd section the agents find each other through their REST ports (peers), form an etcd cluster of their own
 * (dcs/member.h) and use the member beside them first. */
#pragma once

#include "client/client.h"
#include "config/config.h"
#include "dcs/dcs.h"

struct store;

/* CONFIG and CLIENT must outlive it. GUARD_PROGRAM is copied. */
MUST_CHECK int store_new(
    struct loop *loop, const struct config *config, struct client *client,
    const char *guard_program, struct store **ret, struct err *e);

/* A driver for this store, not started; the caller frees it, before the store. */
struct dcs *store_connect(struct store *store);

/* Begin to run or join, if this agent runs a member. */
void store_start(struct store *store);

/* The agent is being stopped together with its server: stop the member as well. */
void store_leave(struct store *store);

/* The answer to GET /baton/store (new text), or NULL if this agent runs no member. */
char *store_answer(const struct store *store);

/* What the member is doing, for people; "" when there is nothing to say. */
const char *store_problem(const struct store *store);

void store_free(struct store *store);
