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

/* Member AT streams what the primary here writes: what it told before a promotion tells nothing of
 * that. */
bool is_in_step(const struct ha_view *view, int at);

/* Its scheduled time has passed for so long that nobody expects it any more, and it was not begun.
 * That says nothing against one under way: is_ready_to_hand_over does not ask. */
bool is_request_late(const struct ha_view *view);

/* A hand-over was asked for, was not tried yet, and its target could take over now. */
bool is_hand_over_possible(const struct ha_view *view);

/* The server is down for a hand-over and its log has a proper end, so the lease can be released
 * with that position. */
bool is_ready_to_hand_over(const struct ha_view *view);

/* trouble.c. Its disk takes no writes. */
bool trouble_is_disk_bad(enum trouble trouble);

/* This node should not be opened, and another one could be. */
bool trouble_is_unfit_for(const struct ha_view *view);

/* Who should have the lease instead of this node, whose server is not open; HA_NOBODY: this node
 * may keep it. */
int trouble_heir(const struct ha_view *view);

/* Nobody has all that is here, but somebody could go on, and this node's disk takes no writes. */
bool trouble_is_lapsing(const struct ha_view *view);

/* Its server has stopped for that, and nobody has told yet that it has everything. */
bool trouble_may_have_heir(const struct ha_view *view);

/* The primary here: has no room, and a standby has; has no watchdog although it must, and a standby
 * can go on; was killed and does not end. */
bool trouble_is_room_elsewhere(const struct ha_view *view);
bool trouble_is_unwatched(const struct ha_view *view);
bool trouble_is_stuck(const struct ha_view *view);

/* How long a server that was killed may take to end. The lease is not renewed for a longer time, so
 * whoever takes over waits for it in full. */
#define KILL_TAKES_MS 3000

/* tail.c. Somebody may turn out to be worth the offer; this node is offered what it lacks; it has
 * got it, and waits for the release. */
bool tail_may_have_heir(const struct ha_view *view);
bool tail_is_offered(const struct ha_view *view);
bool tail_is_whole(const struct ha_view *view);

/* rules_lease.c. The server here died while it was writable. */
bool has_crashed(const struct ha_view *view);

/* ... and somebody has all that it can have acknowledged; it is not known yet what the standbys
 * have. */
bool crash_release(const struct ha_view *view);
bool crash_is_asking(const struct ha_view *view);

/* rank.c. Negative, 0 or positive as A has less, as much or more of the cluster's newest history
 * than B. */
int ha_compare(const struct ha_view *view, int a, int b);

/* sync.c. Blocked: commits wait for ever. */
bool ha_rule_is_equal(const struct ha_sync_rule *a, const struct ha_sync_rule *b);
bool ha_rule_is_blocked(const struct ha_sync_rule *rule);

/* The key under which RULE can be published; the rule that fits a published KEY. */
struct ha_sync_key ha_key_of(const struct ha_sync_rule *rule);
struct ha_sync_rule ha_rule_of(const struct ha_view *view, const struct ha_sync_key *key);

/* The key under which somebody can still be elected while BEFORE gives way to AFTER; false:
 * there is none that could be written down. */
bool ha_key_between(
    const struct ha_sync_rule *before, const struct ha_sync_rule *after, struct ha_sync_key *ret);

/* The rule that the server should obey, as primary or when it becomes one. */
struct ha_sync_rule ha_rule_wanted(const struct ha_view *view);

/* What the server must be told before it is opened here: the wanted rule, if it is safe now. */
struct ha_sync_rule ha_rule_to_open(const struct ha_view *view);

/* revoke.c. Only this node cannot hear the holder, as far as is known; it should promise; it has
 * promised, and then: it cannot be a candidate, too few others have promised, another one is
 * better (which). */
bool revoke_is_alone(const struct ha_view *view);
bool revoke_may_promise(const struct ha_view *view);
bool revoke_is_overdue(const struct ha_view *view);
bool revoke_is_promised(const struct ha_view *view);
bool revoke_is_barred(const struct ha_view *view);
bool revoke_is_short(const struct ha_view *view);
bool revoke_is_behind(const struct ha_view *view);
int revoke_better(const struct ha_view *view);

/* failsafe.c. The others must be asked; their promises hold the lease; too few members have said
 * that the last holder cannot go on without the store. */
bool failsafe_is_due(const struct ha_view *view);
bool failsafe_is_held(const struct ha_view *view);
bool failsafe_is_guarded(const struct ha_view *view);
