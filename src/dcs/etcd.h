/* etcd.h - the driver for etcd 3.3 and later: its v3 API as JSON over HTTP (the gateway every
 * server has built in).
 *
 * Parts: etcd_wire (bodies and answers, pure), etcd_pool (servers, deadlines of single requests,
 * retries, tokens), etcd_watch (the snapshot and how it is kept fresh), etcd_session (the lease),
 * etcd.c (transactions, health, the driver).
 *
 * What it guards against, beyond dcs.h:
 *   - a follower without a leader hangs for seconds: each request has a short deadline, then
 *     another server is asked;
 *   - a transaction that may have reached a server is repeated only if it cannot be applied twice;
 *   - a server that answers from the past, or belongs to another cluster, is passed over; if no
 *     other is left, the store was replaced or restored: then nothing is done any more until the
 *     agent is restarted, because decisions and fences rest on revisions that the new store does
 *     not know. */
#pragma once

#include "base/base.h"

#define ETCD_ENDPOINTS_MAX 16

struct dcs;
struct loop;

/* Texts are copied. */
struct etcd_options {
    const char *const *endpoints; /* "http://host:2379"; the nearest first; at least one */
    unsigned endpoint_count;      /* at most ETCD_ENDPOINTS_MAX */
    const char *prefix;           /* "/service/scope/", with its last slash */
    const char *user;             /* NULL or "": no authentication */
    const char *password;
    const char
        *ca_file; /* PEM files for https; NULL or "": the system's CAs, no client certificate */
    const char *cert_file;
    const char *key_file;
    int64_t ttl_ms;           /* as for dcs_set_times; 0: 30000 */
    int64_t retry_timeout_ms; /* 0: 10000 */
};

/* A driver that has not started; never NULL. */
struct dcs *etcd_new(struct loop *loop, const struct etcd_options *options);

/* Replace the configured endpoints (those learned from the store's member list stay). */
void etcd_set_endpoints(struct dcs *dcs, const char *const *endpoints, unsigned count);
