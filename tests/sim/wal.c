#include "tests/sim/sim.h"

#include "base/assert.h"

int wal_add(struct sim *sim, const struct branch *branch)
{
    struct wal *wal = &sim->wal;

    if (wal->count == wal->space) {
        wal->space = MAX(16u, wal->space * 2);
        wal->branches = mem_resize(wal->branches, wal->space * sizeof(*wal->branches));
    }
    wal->branches[wal->count] = *branch;
    return (int)wal->count++;
}

void wal_fini(struct wal *wal)
{
    for (unsigned at = 0; at < wal->count; at++) {
        mem_free(wal->branches[at].writes);
    }
    wal->branches = mem_free(wal->branches);
}

bool wal_contains(const struct wal *wal, struct place whole, struct place part)
{
    if (part.branch < 0) {
        return true;
    }
    while (whole.branch >= 0) {
        const struct branch *branch = &wal->branches[whole.branch];

        if (whole.branch == part.branch) {
            return part.lsn <= whole.lsn;
        }
        whole = (struct place){branch->parent, MIN(whole.lsn, branch->fork)};
    }
    return false;
}

struct timeline_history wal_history(const struct wal *wal, int branch)
{
    struct timeline_history history = {0};
    int path[TIMELINES_MAX * 4];
    unsigned count = 0;

    if (branch < 0) {
        return history;
    }
    for (int at = branch; wal->branches[at].parent >= 0 && count < ARRAY_LEN(path);
         at = wal->branches[at].parent) {
        path[count++] = at;
    }
    while (count > 0) {
        const struct branch *later = &wal->branches[path[--count]];

        timeline_history_add(&history, wal->branches[later->parent].timeline, later->fork);
    }
    history.timeline = wal->branches[branch].timeline;
    return history;
}

/* What START_REPLICATION compares: the timeline must be in the server's history, and not left
 * before the position. */
bool wal_can_stream(const struct wal *wal, struct place upstream, struct place position)
{
    uint32_t wanted;
    int at = upstream.branch;
    uint64_t left = upstream.lsn;

    if (position.branch < 0 || upstream.branch < 0 ||
        wal->branches[at].system_id != wal->branches[position.branch].system_id) {
        return false;
    }
    wanted = wal->branches[position.branch].timeline;
    while (at >= 0) {
        if (wal->branches[at].timeline == wanted) {
            return position.lsn <= left;
        }
        left = MIN(left, wal->branches[at].fork);
        at = wal->branches[at].parent;
    }
    return false;
}

bool wal_is_by_hand(const struct wal *wal, struct place place)
{
    for (int at = place.branch; at >= 0; at = wal->branches[at].parent) {
        if (wal->branches[at].is_by_hand) {
            return true;
        }
    }
    return false;
}

bool wal_has_twin(const struct wal *wal, struct place a, struct place b)
{
    for (int left = a.branch; left >= 0; left = wal->branches[left].parent) {
        for (int right = b.branch; right >= 0; right = wal->branches[right].parent) {
            const struct branch *one = &wal->branches[left];
            const struct branch *other = &wal->branches[right];

            if (left != right && one->timeline == other->timeline &&
                one->system_id == other->system_id) {
                return true;
            }
        }
    }
    return false;
}

unsigned wal_write(struct branch *branch, uint64_t lsn)
{
    if (branch->write_count == branch->write_space) {
        branch->write_space = MAX(64u, branch->write_space * 2);
        branch->writes = mem_resize(branch->writes, branch->write_space * sizeof(*branch->writes));
    }
    branch->writes[branch->write_count] = (struct write){.lsn = lsn};
    return branch->write_count++;
}

/* The part of PLACE's path that KEPT has too ends on BRANCH at the lsn returned; 0: KEPT has
 * nothing of that branch. */
static uint64_t kept_until(const struct wal *wal, struct place kept, int branch)
{
    while (kept.branch >= 0) {
        if (kept.branch == branch) {
            return kept.lsn;
        }
        kept = (struct place){
            wal->branches[kept.branch].parent, MIN(kept.lsn, wal->branches[kept.branch].fork)};
    }
    return 0;
}

static unsigned count_lost(
    const struct wal *wal, struct place whole, struct place kept, bool is_covered, int64_t since_ns,
    uint64_t *ret_last)
{
    unsigned lost = 0;

    *ret_last = 0;
    while (whole.branch >= 0) {
        const struct branch *branch = &wal->branches[whole.branch];
        uint64_t until = kept_until(wal, kept, whole.branch);

        for (unsigned at = branch->write_count; at > 0; at--) {
            const struct write *write = &branch->writes[at - 1];

            if (write->lsn <= until) {
                break;
            }
            if (write->acked_ns > since_ns && (write->is_covered || !is_covered) &&
                write->lsn <= whole.lsn) {
                lost++;
                *ret_last = MAX(*ret_last, write->lsn);
            }
        }
        if (until >= whole.lsn) {
            break;
        }
        whole = (struct place){branch->parent, MIN(whole.lsn, branch->fork)};
    }
    return lost;
}

unsigned wal_lost(const struct wal *wal, struct place whole, struct place kept, uint64_t *ret_last)
{
    return count_lost(wal, whole, kept, false, 0, ret_last);
}

unsigned wal_lost_covered(
    const struct wal *wal, struct place whole, struct place kept, int64_t since_ns)
{
    uint64_t last;

    return count_lost(wal, whole, kept, true, since_ns, &last);
}

struct place wal_meet(const struct wal *wal, struct place a, struct place b)
{
    while (a.branch >= 0) {
        uint64_t until = MIN(kept_until(wal, b, a.branch), a.lsn);

        if (until > 0) {
            return (struct place){a.branch, until};
        }
        a = (struct place){
            wal->branches[a.branch].parent, MIN(a.lsn, wal->branches[a.branch].fork)};
    }
    return (struct place){-1, 0};
}
