/* standby.h - which members commits wait for, as the store says it (key sync). Private to api/. */
#pragma once

#include "api/api.h"

/* SYNC_ON: NAME is a synchronous standby; SYNC_QUORUM: one of those of which a quorum confirms;
 * SYNC_OFF: neither. What was published for another leader than the present one says nothing. */
enum sync_mode standby_kind(const struct api_snapshot *snapshot, const char *name);

/* The same for this node, which must run as a replica. */
enum sync_mode standby_own_kind(const struct api_snapshot *snapshot);

/* The role of a member that is not the leader, in Patroni's words. */
const char *standby_role(const struct api_snapshot *snapshot, const char *name);
