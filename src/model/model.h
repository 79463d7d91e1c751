/* model.h - the values that every layer shares: moments, positions, members, the cluster as the
 * store shows it. Values are plain structs, copied freely; no function here does more than compare,
 * find and write down. */
#pragma once

#include "model/cluster.h"
#include "model/guard_message.h"
#include "model/instant.h"
#include "model/lease_page.h"
#include "model/member.h"
#include "model/position.h"
#include "model/server.h"
#include "model/sync.h"
#include "model/timeline.h"
