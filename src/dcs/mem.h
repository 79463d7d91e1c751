/* mem.h - a store in memory, shared by several handles of one process: for unit tests and the
 * simulator.
 *
 * No loop and no clock: nothing happens until mem_store_turn (requests are applied and callbacks
 * come) or mem_store_advance (time passes: sessions and transactions of handles that are cut off
 * run out). It behaves as dcs.h promises for etcd, the order of things included: a transaction's
 * DONE comes before the snapshot that shows it.
 *
 *     struct mem_store *store = mem_store_new();
 *     struct dcs *a = mem_store_connect(store);
 *     dcs_start(a, &listener);
 *     while (mem_store_turn(store)) {
 *     }
 *     mem_store_cut(a, true);
 *     mem_store_advance(store, 30000);
 *     dcs_free(a);
 *     mem_store_free(store); */
#pragma once

#include "base/base.h"

struct dcs;
struct mem_store;

/* A new empty store at revision 1; free it after its handles. */
struct mem_store *mem_store_new(void);
void mem_store_free(struct mem_store *store);

/* A new handle, freed by dcs_free. */
struct dcs *mem_store_connect(struct mem_store *store);

/* Apply what was asked for and deliver what is due, in order of the handles' creation. What
 * callbacks ask for waits for the next turn. True if any callback was called. */
bool mem_store_turn(struct mem_store *store);

/* MS milliseconds pass. Sessions of connected handles are kept alive. Callbacks come with the next
 * turn. */
void mem_store_advance(struct mem_store *store, int64_t ms);

/* Cut HANDLE off, or connect it again. While cut off its transactions wait, then end as
 * DCS_UNKNOWN; it is told of nothing; after its retry time it knows that it is not connected, after
 * its ttl its session ends. */
void mem_store_cut(struct dcs *handle, bool is_cut);

enum mem_fault {
    MEM_LOSE_ANSWER,  /* applied, but the answer is lost: DCS_UNKNOWN at the deadline */
    MEM_LOSE_REQUEST, /* not applied: DCS_UNKNOWN at the deadline */
    MEM_LOSE_RACE,    /* somebody else was first: DCS_LOST_RACE, nothing applied */
    MEM_REFUSE,       /* an error answer: DCS_REFUSED */
};
#define MEM_FAULTS 4

/* The next COUNT transactions of HANDLE meet FAULT (the first kind of the list that has some
 * left). */
void mem_store_fault(struct dcs *handle, enum mem_fault fault, unsigned count);

/* Act as somebody else (a Patroni node, an operator): put or delete (VALUE NULL) a key, read one
 * (NULL: none). */
void mem_store_put(struct mem_store *store, const char *key, const char *value);
const char *mem_store_get(const struct mem_store *store, const char *key);

/* End the session of HANDLE in the store without telling it: its keys vanish (etcd has done so). */
void mem_store_expire(struct dcs *handle);
