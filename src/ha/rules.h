/* rules.h - the rows of each topic, and the few questions about a view that several of them ask.
 * Private to ha/. */
#pragma once

#include "ha/ha.h"

/* The rows of one topic. */
struct ha_rows {
    const struct ha_rule *rows;
    unsigned count;
};
struct ha_rows rules_lease(void);
struct ha_rows rules_server(void);
struct ha_rows rules_sync(void);
struct ha_rows rules_record(void);

/* The server's processes exist. */
bool is_running(const struct ha_view *view);

/* The lease is in force elsewhere; and its holder's server answers as a primary, so its data can be
 * a source. */
bool is_held_elsewhere(const struct ha_view *view);
bool is_led_elsewhere(const struct ha_view *view);

/* A request that this node, as the holder, has to carry out now. */
bool is_asked_to_hand_over(const struct ha_view *view);

/* Whom the request means: the named candidate if it can, else the best; HA_NOBODY when there is
 * none. */
int hand_over_target(const struct ha_view *view);

/* A hand-over was asked for, was not tried yet, and its target could take over now. */
bool is_hand_over_possible(const struct ha_view *view);

/* The server is down for a hand-over and its log has a proper end, so the lease can be released
 * with that position. */
bool is_ready_to_hand_over(const struct ha_view *view);
