/* store.h - the way to the distributed store: an external etcd cluster, or a member that this agent
 * runs.
 *
 * Without an etcd section the agents find each other through their REST ports (peers), form an etcd
 * cluster of their own (dcs/member.h) and use the member beside them first. Members that joined
 * later, and that this agent's configuration does not name, are found in etcd's own list. */
#pragma once

#include "api/api.h"
#include "client/client.h"
#include "config/config.h"
#include "dcs/dcs.h"

struct store;

/* CONFIG and CLIENT must outlive it. GUARD_PROGRAM is copied. */
MUST_CHECK int store_new(
    struct loop *loop, const struct config *config, struct client *client,
    const char *guard_program, struct store **ret, struct err *e);

/* A driver for this store, not started; at most STORE_DRIVERS_MAX. It follows the members as they
 * come and go until store_disconnect, which frees it and accepts NULL. */
#define STORE_DRIVERS_MAX 4
struct dcs *store_connect(struct store *store);
void store_disconnect(struct store *store, struct dcs *dcs);

/* Begin to run or join, if this agent runs a member. */
void store_start(struct store *store);

/* The agent is being stopped together with its server: stop the member as well. */
void store_stop(struct store *store);

/* The answer to GET /baton/store (new text), or NULL if this agent runs no member. */
char *store_answer(const struct store *store);

/* The answer to GET /baton/store/members (new text); NULL with a sentence in E. */
char *store_members(const struct store *store, struct err *e);

/* Change the membership; the outcome goes to api_answer. NAME is the member's for STORE_REMOVE. */
void store_change(
    struct store *store, enum api_store_change what, const char *name, struct api_call *call);

/* What the member is doing, for people; "" for an external store. */
const char *store_status(const struct store *store);

/* Let go: an own member runs on. NULL is accepted. */
void store_free(struct store *store);
