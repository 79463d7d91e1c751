#include "api/standby.h"

#include "base/assert.h"
#include "base/str.h"

enum sync_mode standby_kind(const struct api_snapshot *snapshot, const char *name)
{
    const struct cluster *cluster = &snapshot->cluster;
    const struct sync_record *sync = &cluster->sync;

    ASSERT(sync->count <= MEMBERS_MAX);
    if (sync->leader[0] == '\0' || !str_equal(sync->leader, cluster->leader) ||
        str_equal(name, cluster->leader)) {
        return SYNC_OFF;
    }
    for (unsigned at = 0; at < sync->count; at++) {
        if (str_equal(sync->voters[at], name)) {
            return cluster->settings.sync_mode;
        }
    }
    return SYNC_OFF;
}

enum sync_mode standby_own_kind(const struct api_snapshot *snapshot)
{
    bool is_replica = snapshot->role == ROLE_REPLICA && snapshot->state == STATE_RUNNING;

    return is_replica ? standby_kind(snapshot, snapshot->config->name) : SYNC_OFF;
}

const char *standby_role(const struct api_snapshot *snapshot, const char *name)
{
    static const char *const roles[] = {
        [SYNC_OFF] = "replica",
        [SYNC_ON] = "sync_standby",
        [SYNC_QUORUM] = "quorum_standby",
    };

    return roles[standby_kind(snapshot, name)];
}
