#include "io/urgent.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define OOM_PATH "/proc/self/oom_score_adj"
#define OOM_NEVER "-1000"
#define NICE_FIRST (-20)

static const unsigned long parent_only[] = {CAP_NET_ADMIN, CAP_SYS_NICE, CAP_SYS_RESOURCE};

/* Real time if allowed, else at least before all others of the usual class. */
static unsigned be_first(void)
{
    struct sched_param real_time = {.sched_priority = 1};
    struct sched_param usual = {0};

    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &real_time) == 0) {
        return GUARD_POWER_REAL_TIME;
    }
    return sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &usual) == 0 &&
                   setpriority(PRIO_PROCESS, 0, NICE_FIRST) == 0
               ? GUARD_POWER_NICE
               : 0;
}

unsigned urgent_become(struct urgent *urgent)
{
    int fd = open(OOM_PATH, O_RDWR | O_CLOEXEC);
    unsigned powers = be_first();

    *urgent = (struct urgent){.oom_score = ""};
    if (fd >= 0) {
        IGNORE(read(fd, urgent->oom_score, sizeof(urgent->oom_score) - 1) < 0, "not restored");
        powers |= write(fd, OOM_NEVER, strlen(OOM_NEVER)) > 0 ? GUARD_POWER_OOM : 0;
        close(fd);
    }
    return powers | (mlockall(MCL_CURRENT) == 0 ? GUARD_POWER_MEMORY : 0);
}

void urgent_leave(const struct urgent *urgent)
{
    int fd = open(OOM_PATH, O_WRONLY | O_CLOEXEC);

    IGNORE(write(fd, urgent->oom_score, strlen(urgent->oom_score)) < 0, "it stays as it is");
    if (fd >= 0) {
        close(fd);
    }
    for (size_t at = 0; at < ARRAY_LEN(parent_only); at++) {
        IGNORE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, parent_only[at], 0, 0) < 0, "none set");
    }
}
