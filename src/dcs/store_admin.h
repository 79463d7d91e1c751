/* store_admin.h - errands in the membership of an etcd cluster: be added, be promoted, take a
 * member out. For member.c.
 *
 * A new member is added as a learner, which does not vote, and promoted when it runs and has caught
 * up: a voter that is added but does not come up would cost a cluster of one or two its majority.
 *
 * Each step is one request to one member, the next one is asked when it fails. A removal that
 * nobody confirmed is asked for again, once a second for six seconds, since it may be lost, or
 * done: etcd forgets what its leader had when that dies, and a member that leaves may stop before
 * it has answered.
 * Before a member is taken out all are asked for their state, so that a removal that would cost the
 * majority is refused with a reason; etcd itself refuses it, too (strict-reconfig-check). A leader
 * hands over first: an election would take longer. Errands may be repeated at any time. */
#pragma once

#include "dcs/formation.h"
#include "io/http.h"

struct store_admin;

struct store_admin_options {
    struct loop *loop;
    struct http *http;
    const struct http_tls *tls; /* may be NULL; must outlive the errand */
    const struct formation_self *self;
    char (*via)[ETCD_URL_SIZE]; /* copied; client addresses of members */
    unsigned via_count;
};

/* RESULT 0: done; INITIAL_CLUSTER is what the new member is to be started with ("" otherwise).
 * Negative: not done, WHY: what a member answered, if any did. */
typedef void store_admin_done(void *arg, int result, const char *initial_cluster, const char *why);

/* Remove former selves, be added as a learner. DONE comes once, from the loop, unless freed
 * before. */
struct store_admin *store_admin_enter(
    const struct store_admin_options *options, store_admin_done *done, void *arg);

/* Make this node's member a voter; it must run. ERR_UNAVAILABLE while it has not caught up. */
struct store_admin *store_admin_promote(
    const struct store_admin_options *options, store_admin_done *done, void *arg);

/* Take out this node's member, or the one called NAME (store_roll_name):
 * ERR_CONFLICT when the others could not go on without it. One that is not a member any more is
 * out; by NAME it is ERR_NOT_FOUND, unless this errand has asked for its removal. */
struct store_admin *store_admin_leave(
    const struct store_admin_options *options, store_admin_done *done, void *arg);
struct store_admin *store_admin_remove(
    const struct store_admin_options *options, const char *name, store_admin_done *done, void *arg);

/* Stop an errand that has not called DONE yet (with DONE it has freed itself). NULL is accepted. */
void store_admin_free(struct store_admin *admin);
