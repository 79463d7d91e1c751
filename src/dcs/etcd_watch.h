/* etcd_watch.h - the snapshot of the keys below the prefix, and how it is kept fresh.
 *
 *   read (quorum) ──► watch from the next revision ──► events ──► cache
 *        ▲                      │ ended, cancelled, compacted, suspect
 *        └──────────────────────┘
 *
 * A watch that says nothing proves nothing: its server may be cut off from the others, or the host
 * may be gone without a farewell (etcd 3.4 sends progress notifications only every ten minutes).
 * So, next to the watch:
 *   - every second (or a tenth of the retry time) its server is asked for its status: no answer, or
 *     no leader, makes the watch suspect, and everything is read anew from a server that has a
 *     quorum, which then also gets the watch. A dead host is so noticed in one to two seconds;
 *   - every half retry time all keys are read by a quorum read, which is what `is_fresh` rests on.
 *     It also finds a watch that lags behind: changes that only the read brought make it suspect
 *     unless the watch brings them, too, by the next tick.
 * Both are cheap: the whole prefix is a few kilobytes. */
#pragma once

#include "dcs/etcd_call.h"

struct etcd_watch;

struct etcd_watch_listener {
    void (*on_change)(void *arg); /* the cache has changed, or a refresh has ended as asked for */
    void (*on_state)(void *arg);  /* is_fresh, problem or endpoint may have changed */
    void *arg;
};

/* Texts and POOL are not owned. Starts reading at once. LISTENER's functions must not free the
 * watch. */
struct etcd_watch *etcd_watch_new(
    struct etcd_pool *pool, const char *prefix, int64_t retry_timeout_ms,
    const struct etcd_watch_listener *listener);
void etcd_watch_free(struct etcd_watch *watch);

/* How old a reading may be. */
void etcd_watch_set_times(struct etcd_watch *watch, int64_t retry_timeout_ms);

/* Read now; on_change comes even if nothing changed when IS_ASKED. */
void etcd_watch_refresh(struct etcd_watch *watch, bool is_asked);

/* Whether a quorum read confirmed the cache within the retry time. */
bool etcd_watch_is_fresh(const struct etcd_watch *watch);
bool etcd_watch_has_snapshot(const struct etcd_watch *watch);
const struct cache *etcd_watch_cache(const struct etcd_watch *watch);

/* The server of the watch ("" none), and what is wrong ("" nothing). */
const char *etcd_watch_endpoint(const struct etcd_watch *watch);
const char *etcd_watch_problem(const struct etcd_watch *watch);
