/* operate.h - the routes that change something. Private to api/.
 *
 * POST /switchover and /failover: Patroni's checks in Patroni's order, with its texts, because tools look for them: 400 for what
 * contradicts itself, 422 for a time that cannot be, 412 for what the cluster does not allow. What
 * passes goes to the source (the agent), which knows the candidates and ends the call: 200 done,
 * 202 scheduled, 412, 503. POST /baton/store/...: the membership of the agents' own store. */
#pragma once

#include "api/routes.h"

api_handler operate_switchover;
api_handler operate_failover;
api_handler operate_store_leave;
api_handler operate_store_remove;
api_handler operate_store_join;
