/* health.h - the checks that load balancers and orchestrators ask: 200 or 503, the status JSON as
 * the body of a GET.
 *
 * Patroni's rules (research, patroni.md section 2), with one difference: a server that should take
 * writes (/, /primary, /master, /read-write and the primary's part of /read-only) must hold the
 * lease *and* be a running primary. Patroni looks at the leader lock alone and sends clients to a
 * server that is down (its issue 2756).
 *
 * Parameters, for every check but those about the leader: tag_NAME=VALUE must match a tag; for
 * replicas also lag=BYTES (or 10MB) and replication_state=. Who is a synchronous standby is what
 * the key sync says (standby.h), so those checks need the store; while it cannot be reached, nobody
 * is. */
#pragma once

#include "api/routes.h"

api_handler health_primary;
api_handler health_leader;
api_handler health_standby_leader;
api_handler health_replica;
api_handler health_read_only;
api_handler health_running;
api_handler health_synchronous;
api_handler health_quorum;
api_handler health_asynchronous;
api_handler health_read_only_quorum;
api_handler health_read_only_synchronous;
api_handler health_nothing;
api_handler health_liveness;
api_handler health_readiness;

/* The newest position of the leader that this node knows of: what lag is counted against. 0: none.
 * */
uint64_t health_leader_lsn(const struct api_snapshot *snapshot);

/* What Patroni calls replication_state of this node: "streaming", "in archive recovery" or "". */
const char *health_replication_state(const struct api_snapshot *snapshot);
