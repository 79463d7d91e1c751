/* accounts.h - the passwords of the database accounts that the configuration does not name.
 *
 * They are made once for the whole cluster, by whoever comes first, and shared through the key
 * baton/accounts of the store (compare-and-swap, so there is one set) and a 0600 file in the
 * runtime folder, which serves at the next start even while the store is away. An operator who
 * wants to keep them out of the store writes them into the configuration. */
#pragma once

#include "config/config.h"
#include "dcs/dcs.h"
#include "io/loop.h"

#define KEY_ACCOUNTS "baton/accounts"

struct accounts;

/* Called once: RESULT 0, and CONFIG's accounts are complete; or negative with WHY. */
typedef void accounts_done(void *arg, int result, const struct err *why);

/* Complete the accounts of CONFIG. Uses DCS (a driver that has not been started; stays borrowed
 * until DONE) only if something is missing in the file. DONE comes from the loop, also when nothing
 * was missing. */
struct accounts *accounts_new(
    struct loop *loop, struct config *config, struct dcs *dcs, accounts_done *done, void *arg);
void accounts_free(struct accounts *accounts);

/* How it stands with DCS, for people: until the accounts are known nobody else asks the store. */
const struct dcs_health *accounts_health(const struct accounts *accounts);
