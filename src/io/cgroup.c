#include "io/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define CLOSE_TRIES 100
#define CLOSE_PAUSE_NS 1000000
#define OWN_GROUP "/proc/self/cgroup"
#define OWN_PREFIX "0::" /* the line of version 2; the others belong to version 1 */

/* Where systemd, and everybody else, mounts version 2: alone, or beside version 1. */
static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};

/* The path of the own group below the mount; NULL when there is no version 2. */
static const char *own_group(char *buffer, size_t size)
{
    int fd = open(OWN_GROUP, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, buffer, size - 1) : -1;
    char *line = buffer;

    if (fd >= 0) {
        close(fd);
    }
    buffer[MAX(length, (ssize_t)0)] = '\0';
    while (line != NULL && strncmp(line, OWN_PREFIX, strlen(OWN_PREFIX)) != 0) {
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    if (line == NULL) {
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    line += strlen(OWN_PREFIX);
    return strcmp(line, "/") == 0 ? "" : line;
}

static const char *find_mount(void)
{
    for (size_t at = 0; at < ARRAY_LEN(mounts); at++) {
        struct statfs facts;

        if (statfs(mounts[at], &facts) == 0 && facts.f_type == CGROUP2_SUPER_MAGIC) {
            return mounts[at];
        }
    }
    return NULL;
}

/* Remove the empty leaves of those who were killed. NAME ends in the number of its process. */
static void sweep(const char *folder, const char *name)
{
    DIR *entries = opendir(folder);
    size_t length = (size_t)(strrchr(name, '-') + 1 - name);

    for (struct dirent *entry = entries != NULL ? readdir(entries) : NULL; entry != NULL;
         entry = readdir(entries)) {
        pid_t pid = (pid_t)strtol(
            strncmp(entry->d_name, name, length) == 0 ? entry->d_name + length : "", NULL, 10);

        if (pid > 0 && (pid == getpid() || (kill(pid, 0) < 0 && errno == ESRCH))) {
            unlinkat(dirfd(entries), entry->d_name, AT_REMOVEDIR);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
}

static int open_in(const struct cgroup *group, const char *name)
{
    char path[CGROUP_PATH_SIZE + 16];

    IGNORE(snprintf(path, sizeof(path), "%s/%s", group->path, name) < 0, "it fits");
    return open(path, O_WRONLY | O_CLOEXEC);
}

static bool is_open_to_children(const struct cgroup *group)
{
    int status = 1;
    pid_t pid = fork();

    if (pid == 0) {
        _exit(cgroup_join(group) ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

bool cgroup_open(struct cgroup *group, const char *name)
{
    char text[CGROUP_PATH_SIZE];
    const char *own = own_group(text, sizeof(text));
    const char *mount = find_mount();
    int length;

    *group = (struct cgroup){.join_fd = -1, .kill_fd = -1};
    if (own == NULL || mount == NULL) {
        return false;
    }
    IGNORE(snprintf(group->path, sizeof(group->path), "%s%s", mount, own) < 0, "both are short");
    sweep(group->path, name);
    length = snprintf(group->path, sizeof(group->path), "%s%s/%s", mount, own, name);
    if (length < 0 || (size_t)length >= sizeof(group->path)) {
        group->path[0] = '\0';
        return false;
    }
    if (mkdir(group->path, 0700) < 0) {
        group->path[0] = '\0';
        return false;
    }
    group->join_fd = open_in(group, "cgroup.procs");
    group->kill_fd = open_in(group, "cgroup.kill");
    if (group->kill_fd < 0 || !is_open_to_children(group)) {
        cgroup_close(group);
        return false;
    }
    return true;
}

bool cgroup_join(const struct cgroup *group)
{
    return group->join_fd >= 0 && write(group->join_fd, "0", 1) == 1;
}

bool cgroup_kill(const struct cgroup *group)
{
    return group->kill_fd >= 0 && write(group->kill_fd, "1", 1) == 1;
}

void cgroup_close(struct cgroup *group)
{
    if (group->join_fd >= 0) {
        close(group->join_fd);
    }
    if (group->kill_fd >= 0) {
        close(group->kill_fd);
    }
    /* The kernel needs a moment to see that the last one has gone. */
    for (int tries = 0; group->path[0] != '\0' && tries < CLOSE_TRIES; tries++) {
        struct timespec pause = {.tv_nsec = CLOSE_PAUSE_NS};

        if (rmdir(group->path) == 0 || errno != EBUSY) {
            break;
        }
        nanosleep(&pause, NULL);
    }
    *group = (struct cgroup){.join_fd = -1, .kill_fd = -1};
}
