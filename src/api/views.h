/* views.h - what a node shows, as JSON in Patroni's form. Private to api/. Texts are new
 * (mem_free).
 *
 * /cluster has a "baton" object beside Patroni's fields:
 * {"system_id","initialize" (not while the store was never read),"node","dcs_ok","dcs_problem",
 * "term","last_holder" (when the lease is not in force),
 * "decision":{"lease":{"rule","text"},"server":{...},"sync":{...}}}, and one in each member that
 * has a problem: {"problem"}. */
#pragma once

#include "api/api.h"

/* GET /patroni and the health checks. */
char *view_status(const struct api_snapshot *snapshot);

/* GET /cluster. */
char *view_cluster(const struct api_snapshot *snapshot);

/* GET /history: the key as it is, "[]" when there is none. */
char *view_history(const struct api_snapshot *snapshot);

/* GET /config: the key as it is, NULL when there is none (or it is damaged). */
char *view_config(const struct api_snapshot *snapshot);

/* GET /failsafe, likewise. */
char *view_failsafe(const struct api_snapshot *snapshot);

/* GET /baton/decision. */
char *view_decision(const struct api_snapshot *snapshot);
