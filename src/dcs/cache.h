/* cache.h - an ordered set of at most DCS_KEYS_MAX keys: the driver's copy of the store, and
 * mem.c's store itself. Pure. */
#pragma once

#include "dcs/dcs.h"

struct cache_entry {
    char *key; /* owned */
    char *value;
    int64_t revision; /* of the last change */
    int64_t lease;    /* 0: none */
};

/* Zero-initialise. Sorted by key as bytes. `revision`: the store's, up to which all changes are
 * included. */
struct cache {
    int64_t revision;
    unsigned count;
    struct cache_entry entries[DCS_KEYS_MAX];
};

/* Free what it holds; it is empty then. */
void cache_fini(struct cache *cache);

/* The entry of KEY, or NULL. */
const struct cache_entry *cache_find(const struct cache *cache, const char *key);

/* Set ENTRY (copied). False if the set is full. */
bool cache_put(struct cache *cache, const struct cache_entry *entry);

/* Remove KEY, or all keys of LEASE; whether there were any. */
bool cache_delete(struct cache *cache, const char *key);
bool cache_delete_lease(struct cache *cache, int64_t lease);

/* Same keys at the same revisions. */
bool cache_is_same(const struct cache *a, const struct cache *b);

/* Whether COMPARE holds. */
bool cache_holds(const struct cache *cache, const struct dcs_compare *compare);

/* Fill ENTRIES (DCS_KEYS_MAX) and RET, which point into CACHE. LEASE is the own session (0:
 * none). */
void cache_snapshot(
    const struct cache *cache, int64_t lease, struct dcs_entry *entries, struct dcs_snapshot *ret);
