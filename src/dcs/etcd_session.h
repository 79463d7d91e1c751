/* etcd_session.h - the lease: granted, kept alive every third of its ttl, replaced when it is gone.
 *
 * It serves for cleaning up only, and is never a proof of anything: etcd has confirmed leases that
 * were revoked. So the session counts as held as long as the last confirmation is younger than the
 * ttl, by the larger of the two clocks.
 *
 * A lease whose ttl is to change cannot be changed: it is left to run out and a new one is granted;
 * in between there is no session, so whoever put keys with the old one sees it and puts them
 * again. */
#pragma once

#include "dcs/etcd_call.h"

struct etcd_session;

/* ON_CHANGE: etcd_session_lease may have changed; it must not free the session. Starts at once. */
struct etcd_session *etcd_session_new(
    struct etcd_pool *pool, int64_t ttl_ms, void (*on_change)(void *arg), void *arg);
void etcd_session_free(struct etcd_session *session);

/* The time to live, from the next grant on. */
void etcd_session_set_ttl(struct etcd_session *session, int64_t ttl_ms);

/* The store said that LEASE does not exist. */
void etcd_session_lost(struct etcd_session *session, int64_t lease);

/* Give it up for good. etcd_session_is_held goes false when the store has done it, or after
 * TIMEOUT_MS. */
void etcd_session_end(struct etcd_session *session, int64_t timeout_ms);

/* The lease that keys can be put with (0: none now), and whether a session exists (true until its
 * end was confirmed). */
int64_t etcd_session_lease(const struct etcd_session *session);
bool etcd_session_is_held(const struct etcd_session *session);
