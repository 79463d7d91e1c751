#include "model/cluster.h"

#include "base/assert.h"
#include "base/str.h"

void cluster_copy(struct cluster *ret, const struct cluster *from)
{
    ASSERT(from->member_count <= MEMBERS_MAX);
    memcpy(
        ret, from,
        offsetof(struct cluster, members) + from->member_count * sizeof(from->members[0]));
}

bool cluster_is_led_by(const struct cluster *cluster, const char *name)
{
    return name[0] != '\0' &&
           (str_equal(cluster->leader, name) || str_equal(cluster->lease.holder, name));
}

struct member *cluster_last_place(struct cluster *cluster)
{
    unsigned at = MEMBERS_MAX - 1;

    ASSERT(cluster->member_count == MEMBERS_MAX);
    while (at > 0 && cluster_is_led_by(cluster, cluster->members[at].name)) {
        at--;
    }
    return &cluster->members[at];
}

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
