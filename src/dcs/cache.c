#include "dcs/cache.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"

void cache_fini(struct cache *cache)
{
    for (unsigned at = 0; at < cache->count; at++) {
        mem_free(cache->entries[at].key);
        mem_free(cache->entries[at].value);
    }
    *cache = (struct cache){0};
}

/* Where KEY is or would be inserted. */
static unsigned place_of(const struct cache *cache, const char *key, bool *ret_found)
{
    unsigned low = 0;
    unsigned high = cache->count;

    *ret_found = false;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        int order = strcmp(cache->entries[middle].key, key);

        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct cache_entry *cache_find(const struct cache *cache, const char *key)
{
    bool found = false;
    unsigned place = place_of(cache, key, &found);

    return found ? &cache->entries[place] : NULL;
}

bool cache_put(struct cache *cache, const struct cache_entry *entry)
{
    bool found = false;
    unsigned place = place_of(cache, entry->key, &found);
    struct cache_entry *slot = NULL;

    ASSERT(entry->value != NULL);
    if (!found && cache->count == DCS_KEYS_MAX) {
        return false;
    }
    slot = &cache->entries[place];
    if (found) {
        mem_free(slot->value);
    } else {
        memmove(slot + 1, slot, (cache->count - place) * sizeof(*slot));
        slot->key = mem_dup(entry->key);
        cache->count++;
    }
    slot->value = mem_dup(entry->value);
    slot->revision = entry->revision;
    slot->lease = entry->lease;
    return true;
}

static void remove_at(struct cache *cache, unsigned place)
{
    struct cache_entry *slot = &cache->entries[place];

    mem_free(slot->key);
    mem_free(slot->value);
    cache->count--;
    memmove(slot, slot + 1, (cache->count - place) * sizeof(*slot));
}

bool cache_delete(struct cache *cache, const char *key)
{
    bool found = false;
    unsigned place = place_of(cache, key, &found);

    if (found) {
        remove_at(cache, place);
    }
    return found;
}

bool cache_delete_lease(struct cache *cache, int64_t lease)
{
    bool found = false;

    ASSERT(lease != 0);
    for (unsigned at = cache->count; at > 0; at--) {
        if (cache->entries[at - 1].lease == lease) {
            remove_at(cache, at - 1);
            found = true;
        }
    }
    return found;
}

bool cache_is_same(const struct cache *a, const struct cache *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (unsigned at = 0; at < a->count; at++) {
        if (a->entries[at].revision != b->entries[at].revision ||
            !str_equal(a->entries[at].key, b->entries[at].key)) {
            return false;
        }
    }
    return true;
}

bool cache_holds(const struct cache *cache, const struct dcs_compare *compare)
{
    const struct cache_entry *entry = cache_find(cache, compare->key);

    switch (compare->kind) {
    case DCS_IS_ABSENT:
        return entry == NULL;
    case DCS_VALUE_IS:
        return entry != NULL && str_equal(entry->value, compare->value);
    case DCS_REVISION_IS:
        return (entry != NULL ? entry->revision : 0) == compare->revision;
    }
    return false;
}

void cache_snapshot(
    const struct cache *cache, int64_t lease, struct dcs_entry *entries, struct dcs_snapshot *ret)
{
    for (unsigned at = 0; at < cache->count; at++) {
        const struct cache_entry *entry = &cache->entries[at];

        entries[at] = (struct dcs_entry){
            .key = entry->key,
            .value = entry->value,
            .revision = entry->revision,
            .is_of_session = lease != 0 && entry->lease == lease,
        };
    }
    *ret = (struct dcs_snapshot){
        .revision = cache->revision, .count = cache->count, .entries = entries};
}
