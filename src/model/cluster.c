#include "model/cluster.h"

#include "base/assert.h"
#include "base/str.h"

const struct member *cluster_find(const struct cluster *cluster, const char *name)
{
    ASSERT(cluster->member_count <= MEMBERS_MAX);
    for (unsigned at = 0; at < cluster->member_count; at++) {
        if (str_equal(cluster->members[at].name, name)) {
            return &cluster->members[at];
        }
    }
    return NULL;
}
