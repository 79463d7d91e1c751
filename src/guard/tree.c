#include "guard/tree.h"

#include <dirent.h>
#include <fcntl.h>

#define STAT_SIZE 512
#define LIST_SIZE 8192

static bool contains(const pid_t *pids, size_t count, pid_t pid)
{
    for (size_t at = 0; at < count; at++) {
        if (pids[at] == pid) {
            return true;
        }
    }
    return false;
}

/* The digits at TEXT as a number; 0 without any. */
static pid_t number_at(const char *text)
{
    pid_t number = 0;

    for (; *text >= '0' && *text <= '9'; text++) {
        number = number * 10 + (*text - '0');
    }
    return number;
}

/* The fourth field of stat; the second, the name, may hold spaces and parentheses. 0: gone. */
static pid_t parent_of(pid_t pid)
{
    char text[STAT_SIZE];
    const char *name_end = NULL;
    ssize_t length = 0;
    int fd;

    IGNORE(snprintf(text, sizeof(text), "/proc/%d/stat", pid) < 0, "it fits");
    fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = read(fd, text, sizeof(text) - 1);
        close(fd);
    }
    text[MAX(length, (ssize_t)0)] = '\0';
    name_end = strrchr(text, ')');
    return name_end != NULL && strlen(name_end) > 4 ? number_at(name_end + 4) : 0;
}

/* Add what is found in one walk through /proc; not with readdir, which would allocate. */
static size_t scan(pid_t root, pid_t *pids, size_t count, size_t max)
{
    static _Alignas(struct dirent64) char list[LIST_SIZE];
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t length;

    while (fd >= 0 && (length = getdents64(fd, list, sizeof(list))) > 0) {
        for (ssize_t at = 0; at < length;) {
            const struct dirent64 *entry = (const void *)(list + at);
            pid_t pid = number_at(entry->d_name);
            pid_t parent = pid > 1 ? parent_of(pid) : 0;

            if ((parent == root || (parent > 1 && contains(pids, count, parent))) &&
                !contains(pids, count, pid) && count < max) {
                pids[count++] = pid;
            }
            at += entry->d_reclen;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return count;
}

size_t tree_find(pid_t root, pid_t *pids, size_t max)
{
    size_t before;
    size_t count = 0;

    /* Once would be enough if numbers always grew from parent to child; they wrap around. */
    do {
        before = count;
        count = scan(root, pids, count, max);
    } while (count > before);
    return count;
}
