/* Lock files that a power cut or the end of a container leaves.
 *
 * A server refuses to start while the process that is named in DATA/postmaster.pid, or in the lock
 * beside its socket, can be reached by a signal and is not itself, its parent or grandparent
 * (CreateLockFile in miscinit.c). After a reboot that number may be anybody's: a thread of ours, a
 * member of the store, another cluster's server. The node would stay down until somebody removes
 * the file, or for as long as that process lives.
 *
 * So a start removes such a file first, when
 *   - the process can be reached (else the server sees by itself that the file is old, and looks
 *     whether somebody is still attached to the shared memory),
 *   - it certainly works elsewhere: each process of a server works in its data directory,
 *   - and no process at all works in this one, so that no child of a dead postmaster is left, which
 *     the server finds by the line of postmaster.pid that names the shared memory.
 *
 * What makes that safe, although a server may be started at any moment by anybody: those that baton
 * starts are started by one agent, which holds DATA.lock, through one guard, which says that none
 * runs. There is no other that would be starting meanwhile but one that an operator starts by hand
 * on a node that baton manages, within these microseconds. */
#include "base/parse.h"
#include "engine/postgres/driver.h"
#include "io/file.h"
#include "io/process.h"

#define LOCK_MAX 8192
#define COMM_MAX 256

/* Below zero: that of a single-user server. */
static int parse_pid(const char *text)
{
    AUTO_FREE char *line = mem_dup_length(text, strcspn(text, "\n"));
    int64_t pid = 0;

    IGNORE(parse_int(line, -INT32_MAX, INT32_MAX, &pid, NULL) < 0, "0 is nobody");
    return (int)pid;
}

static bool is_called_postgres(int pid)
{
    char path[64];
    AUTO_FREE char *name = NULL;

    str_format(path, sizeof(path), "/proc/%d/comm", pid);
    return file_read(path, COMM_MAX, &name, NULL, NULL) == 0 &&
           (str_starts(name, "postgres") || str_starts(name, "postmaster"));
}

/* A zombie still has its name. The state comes behind the name, which may contain anything. */
static bool is_dead(int pid)
{
    char path[64];
    AUTO_FREE char *text = NULL;
    const char *end;

    str_format(path, sizeof(path), "/proc/%d/stat", pid);
    if (file_read(path, LOCK_MAX, &text, NULL, NULL) < 0) {
        return false;
    }
    end = strrchr(text, ')');
    return end != NULL && (str_starts(end, ") Z") || str_starts(end, ") X"));
}

/* One whose folder may not be seen (it has changed its user, or hides its memory as the agent does)
 * is taken for a server if it is called like one. */
static bool may_hold(int pid, const char *data_dir)
{
    enum process_place place = process_place(pid, data_dir);

    return place == PROCESS_INSIDE || (place == PROCESS_CLOSED && is_called_postgres(pid));
}

int pg_find_server(const char *data_dir)
{
    char path[PG_PATH_SIZE];
    AUTO_FREE char *text = NULL;
    int pid;

    str_format(path, sizeof(path), "%s/postmaster.pid", data_dir);
    if (file_read(path, LOCK_MAX, &text, NULL, NULL) < 0) {
        return 0;
    }
    pid = parse_pid(text); /* a single-user server is our own: lower.c, pg_rewind */
    return pid > 0 && is_called_postgres(pid) && !is_dead(pid) && may_hold(pid, data_dir) ? pid : 0;
}

/* Line two of both files, where the name does not end with a slash. A lock beside a socket may be
 * that of another cluster. */
static bool is_for(const char *text, const char *data_dir)
{
    const char *line = strchr(text, '\n');
    size_t length = strlen(data_dir);

    while (length > 1 && data_dir[length - 1] == '/') {
        length--;
    }
    return line != NULL && strcspn(line + 1, "\n") == length &&
           strncmp(line + 1, data_dir, length) == 0;
}

static int remove_one(const char *path, const char *data_dir, bool is_shared, struct err *e)
{
    AUTO_FREE char *text = NULL;
    bool is_used = false;
    int pid;
    int r = file_read(path, LOCK_MAX, &text, NULL, e);

    if (r < 0) {
        return r == ERR_NOT_FOUND ? 0 : r;
    }
    pid = abs(parse_pid(text));
    if (!process_is_reached(pid) || may_hold(pid, data_dir) ||
        (is_shared && !is_for(text, data_dir))) {
        return 0;
    }
    r = process_find_in(data_dir, &is_used, e);
    return r < 0 || is_used ? r : file_remove(path, e);
}

int pg_remove_stale_locks(
    const char *data_dir, const char *const *folders, size_t count, int port, struct err *e)
{
    char path[PG_PATH_SIZE];
    int r;

    str_format(path, sizeof(path), "%s/postmaster.pid", data_dir);
    r = remove_one(path, data_dir, false, e);
    for (size_t at = 0; r == 0 && at < count; at++) {
        if (folders[at][0] == '/') {
            str_format(path, sizeof(path), "%s/.s.PGSQL.%d.lock", folders[at], port);
            r = remove_one(path, data_dir, true, e);
        }
    }
    return r;
}
