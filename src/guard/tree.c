#include "guard/tree.h"

#include <dirent.h>
#include <fcntl.h>

#define TREE_MAX 4096 /* killing these makes room for the rest */
#define PATH_SIZE 64
#define LIST_SIZE 8192

static pid_t found[TREE_MAX];
static size_t found_count;

static bool is_found(pid_t pid)
{
    for (size_t at = 0; at < found_count; at++) {
        if (found[at] == pid) {
            return true;
        }
    }
    return false;
}

/* No number can have passed to a stranger: who could collect a dead process was killed before. */
static void add(pid_t pid)
{
    if (pid > 1 && found_count < TREE_MAX && !is_found(pid)) {
        found[found_count++] = pid;
        kill(pid, SIGKILL);
    }
}

/* The beginning of a file of /proc; "" if it is gone. */
static const char *read_file(const char *path)
{
    static char text[LIST_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

    text[MAX(length, (ssize_t)0)] = '\0';
    if (fd >= 0) {
        close(fd);
    }
    return text;
}

/* Quick, but it may miss some while processes come and go, and those that other threads forked. */
static void add_children(pid_t parent)
{
    char path[PATH_SIZE];
    const char *at = NULL;
    char *end = NULL;

    IGNORE(snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent) < 0, "fits");
    for (at = read_file(path);; at = end + 1) {
        pid_t pid = (pid_t)strtol(at, &end, 10);

        if (*end != ' ') {
            return; /* the end, or not the whole number */
        }
        add(pid);
    }
}

/* The fourth field of stat; the second, the name, may hold spaces and parentheses. 0: gone. */
static pid_t parent_of(pid_t pid)
{
    char path[PATH_SIZE];
    const char *name_end = NULL;

    IGNORE(snprintf(path, sizeof(path), "/proc/%d/stat", pid) < 0, "it fits");
    name_end = strrchr(read_file(path), ')');
    return name_end != NULL && strlen(name_end) > 4 ? (pid_t)strtol(name_end + 4, NULL, 10) : 0;
}

/* Thorough: the parent of every process of the host. */
static void scan(pid_t root)
{
    static _Alignas(struct dirent64) char list[LIST_SIZE];
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t length;

    /* Not readdir, which would allocate. */
    while (fd >= 0 && (length = getdents64(fd, list, sizeof(list))) > 0) {
        for (ssize_t at = 0; at < length;) {
            const struct dirent64 *entry = (const void *)(list + at);
            pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
            pid_t parent = pid > 1 ? parent_of(pid) : 0;

            if (parent == root || is_found(parent)) {
                add(pid);
            }
            at += entry->d_reclen;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

void tree_kill(pid_t root)
{
    size_t before;

    found_count = 0;
    add_children(root);
    for (size_t at = 0; at < found_count; at++) {
        add_children(found[at]);
    }
    /* A child with a smaller number than its parent is found the next time. */
    do {
        before = found_count;
        scan(root);
    } while (found_count > before);
}
