#include "dcs/member_state.h"

#include "base/assert.h"
#include "base/mem.h"

/* False: something is under way already, and DONE was told. */
static bool begin(struct store_member *member, store_member_changed *done, void *arg)
{
    ASSERT(done != NULL);
    if (member->changed != NULL) {
        done(arg, ERR_CONFLICT, "another change of the store is under way\nhint: wait for its end");
        return false;
    }
    member->changed = done;
    member->changed_arg = arg;
    return true;
}

static void end(struct store_member *member, int result, const char *why)
{
    store_member_changed *changed = TAKE(member->changed);

    member->is_leaving = false;
    if (changed != NULL) {
        changed(member->changed_arg, result, why);
    }
}

/* Leaving. */

static void on_left(void *arg, int result, const char *initial_cluster, const char *why)
{
    struct store_member *member = arg;

    (void)initial_cluster;
    member->change = NULL;
    if (result < 0) {
        member->stage = STAGE_RUN;
        store_member_say(member, "this node was asked to leave the store and may not");
        end(member, result, why);
        return;
    }
    guard_kill(member->link);
    store_member_work(member, STAGE_ASIDE, STORE_LEAVE, "left");
}

void store_member_on_out(struct store_member *member, const struct store_result *result)
{
    member->stage = STAGE_END;
    member->is_out = true;
    member->is_forming = false;
    member->self.has_data = false;
    member->has_leader = false;
    if (result->result < 0) {
        store_member_say(member, "this node has left the store, but: %s", result->why);
    } else if (result->aside[0] != '\0') {
        store_member_say(member, "this node has left the store; its data is in %s", result->aside);
    } else {
        store_member_say(member, "this node has left the store");
    }
    /* Not when it was taken out by somebody else. */
    if (member->is_leaving) {
        end(member, result->result, member->status);
    }
}

void store_member_leave(struct store_member *member, store_member_changed *done, void *arg)
{
    char via[FORMATION_PEERS_MAX][ETCD_URL_SIZE];
    struct store_admin_options options;
    unsigned count;

    if (!begin(member, done, arg)) {
        return;
    }
    if (member->is_out) {
        end(member, 0, "");
        return;
    }
    if (member->link == NULL || member->stage == STAGE_END) {
        end(member, ERR_CONFLICT, member->status);
        return;
    }
    count = store_member_others(member, true, via, 0, FORMATION_PEERS_MAX - 1);
    IGNORE(!str_copy(via[count++], ETCD_URL_SIZE, member->self.client_url), "same size");
    options = store_member_errand(member, via, count);
    member->is_leaving = true;
    store_work_forget(TAKE(member->work));
    store_admin_free(TAKE(member->admin));
    member->stage = STAGE_LEAVE;
    store_member_say(member, "leaving the store");
    member->change = store_admin_leave(&options, on_left, member);
}

/* Another one. */

static void on_removed(void *arg, int result, const char *initial_cluster, const char *why)
{
    struct store_member *member = arg;

    (void)initial_cluster;
    member->change = NULL;
    end(member, result, why);
}

void store_member_remove(
    struct store_member *member, const char *name, store_member_changed *done, void *arg)
{
    char via[FORMATION_PEERS_MAX][ETCD_URL_SIZE];
    struct store_admin_options options =
        store_member_errand(member, via, store_member_endpoints(member, via, FORMATION_PEERS_MAX));

    if (begin(member, done, arg)) {
        member->change = store_admin_remove(&options, name, on_removed, member);
    }
}

/* Coming back. */

void store_member_on_returned(struct store_member *member, const struct store_result *result)
{
    if (result->result < 0) {
        member->stage = STAGE_END;
        end(member, result->result, result->why);
        return;
    }
    member->is_out = false;
    member->deaths = 0;
    member->damages = 0;
    member->stage = STAGE_WAIT;
    store_member_say(member, "joining the store again");
    end(member, 0, "");
}

void store_member_join(struct store_member *member, store_member_changed *done, void *arg)
{
    if (!begin(member, done, arg)) {
        return;
    }
    if (!member->is_out) {
        end(member, 0, "");
        return;
    }
    member->self.has_data = false;
    store_member_work(member, STAGE_ASIDE, STORE_RETURN, "left");
}
