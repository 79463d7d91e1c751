/* operate.h - POST /switchover and /failover. Private to api/.
 *
 * Patroni's checks in Patroni's order, with its texts, because tools look for them: 400 for what
 * contradicts itself, 422 for a time that cannot be, 412 for what the cluster does not allow. What
 * passes goes to the source (the agent), which knows the candidates and ends the call: 200 done,
 * 202 scheduled, 412, 503. */
#pragma once

#include "api/routes.h"

api_handler operate_switchover;
api_handler operate_failover;
