#include "io/process.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "io/file.h"
#include "io/spawn.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define USER_RECORD_SIZE 4096
#define STATM_SIZE 256
#define PROC_PATH_SIZE 300
#define COMM_SIZE 64
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

unsigned process_user(void)
{
    return (unsigned)geteuid();
}

void process_user_name(char *buffer, size_t size)
{
    char record[USER_RECORD_SIZE];
    struct passwd user;
    struct passwd *found = NULL;
    int r = getpwuid_r(geteuid(), &user, record, sizeof(record), &found);

    if (r != 0 || found == NULL || !str_copy(buffer, size, user.pw_name)) {
        buffer[0] = '\0';
    }
}

void process_host_name(char *buffer, size_t size)
{
    ASSERT(size > 0);
    if (gethostname(buffer, size) < 0) {
        buffer[0] = '\0';
    }
    buffer[size - 1] = '\0';
}

int process_program(char *buffer, size_t size, struct err *e)
{
    ssize_t length = readlink("/proc/self/exe", buffer, size);

    if (length < 0) {
        return FAIL(e, ERR_IO, "cannot tell the path of this program: %s", strerror(errno));
    }
    if ((size_t)length >= size) {
        return FAIL(e, ERR_LIMIT, "the path of this program is longer than %zu bytes", size - 1);
    }
    buffer[length] = '\0';
    return 0;
}

int process_id(void)
{
    return (int)getpid();
}

const char *const *process_environment(void)
{
    return (const char *const *)environ;
}

const char *process_env(const char *name)
{
    return getenv(name);
}

void process_random(void *bytes, size_t size)
{
    unsigned char *at = bytes;
    size_t left = size;

    while (left > 0) {
        ssize_t length = getrandom(at, left, 0);

        ASSERT(length > 0 || errno == EINTR);
        if (length > 0) {
            at += length;
            left -= (size_t)length;
        }
    }
}

void process_password(char *buffer, size_t length)
{
    static const char letters[] = LETTERS;
    const unsigned count = sizeof(letters) - 1;

    for (size_t at = 0; at < length;) {
        unsigned char byte = 0;

        process_random(&byte, sizeof(byte));
        /* Without the last, incomplete round every letter is as likely as any other. */
        if (byte < 256 / count * count) {
            buffer[at++] = letters[byte % count];
        }
    }
    buffer[length] = '\0';
}

void process_harden(void)
{
    int r = prctl(PR_SET_DUMPABLE, 0);

    ASSERT(r == 0);
    IGNORE(signal(SIGPIPE, SIG_IGN) == SIG_ERR, "cannot fail for SIGPIPE");
}

int process_detach(const char *const *argv, const char *log_path, int keep_fd, struct err *e)
{
    AUTO_FD int log_fd = -1;
    int pid = 0;

    if (!file_is_program(argv[0])) {
        return FAIL(e, ERR_NOT_FOUND, "%s is not a program that this user may run", argv[0]);
    }
    if (log_path != NULL) {
        log_fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
        if (log_fd < 0) {
            return FAIL(e, ERR_IO, "cannot open %s: %s", log_path, strerror(errno));
        }
    }
    return spawn(
        &(struct spawn_options){
            .argv = argv,
            .in_fd = -1,
            .out_fd = -1,
            .err_fd = log_fd,
            .keep_fd = keep_fd,
            .is_detached = true,
        },
        &pid, e);
}

int64_t process_memory_bytes(void)
{
    char text[STATM_SIZE];
    AUTO_FD int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    char *resident = NULL;
    int64_t pages = 0;

    if (length <= 0) {
        return 0;
    }
    text[length] = '\0';
    resident = strchr(text, ' ');
    if (resident == NULL) {
        return 0;
    }
    resident++;
    resident[strcspn(resident, " ")] = '\0';
    if (parse_int(resident, 0, INT32_MAX, &pages, NULL) < 0) {
        return 0;
    }
    return pages * sysconf(_SC_PAGESIZE);
}

void process_notify(const char *state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    AUTO_FD int fd = -1;
    socklen_t length;

    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        !str_copy(address.sun_path, sizeof(address.sun_path), path)) {
        return;
    }
    length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@') {
        address.sun_path[0] = '\0';
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        IGNORE(
            sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, length) < 0,
            "the service manager is not needed");
    }
}

/* By the folder itself and not by its name: another container may have one of the same name. */
static enum process_place place_of(const char *pid, const struct stat *folder)
{
    char path[PROC_PATH_SIZE];
    struct stat cwd;

    IGNORE(!str_format(path, sizeof(path), "/proc/%s/cwd", pid), "fits");
    if (stat(path, &cwd) != 0) {
        return errno == EACCES || errno == EPERM ? PROCESS_CLOSED : PROCESS_NOWHERE;
    }
    return cwd.st_dev == folder->st_dev && cwd.st_ino == folder->st_ino ? PROCESS_INSIDE
                                                                        : PROCESS_ELSEWHERE;
}

enum process_place process_place(int pid, const char *folder)
{
    struct stat facts = {0};
    char number[16];

    IGNORE(stat(folder, &facts) != 0, "then nobody works in it: no file has number 0");
    IGNORE(!str_format(number, sizeof(number), "%d", pid), "fits");
    return place_of(number, &facts);
}

int process_find_in(const char *folder, bool *ret, struct err *e)
{
    struct stat facts;
    const struct dirent *entry;
    DIR *dir = NULL;

    *ret = false;
    if (stat(folder, &facts) != 0) {
        return FAIL(e, ERR_IO, "cannot look at %s: %s", folder, strerror(errno));
    }
    dir = opendir("/proc");
    if (dir == NULL) {
        return FAIL(e, ERR_IO, "cannot open /proc: %s", strerror(errno));
    }
    while (!*ret && (entry = readdir(dir)) != NULL) {
        uint64_t pid = 0;

        *ret = parse_u64(entry->d_name, &pid, NULL) == 0 &&
               place_of(entry->d_name, &facts) == PROCESS_INSIDE;
    }
    closedir(dir);
    return 0;
}

bool process_is_reached(int pid)
{
    return pid > 0 && kill((pid_t)pid, 0) == 0;
}

static bool is_in(const char *pid, const struct stat *folder, const char *name)
{
    char path[PROC_PATH_SIZE];
    AUTO_FREE char *comm = NULL;
    size_t size = 0;

    if (place_of(pid, folder) != PROCESS_INSIDE) {
        return false;
    }
    IGNORE(!str_format(path, sizeof(path), "/proc/%s/comm", pid), "fits");
    return file_read(path, COMM_SIZE, &comm, &size, NULL) == 0 && size > 0 &&
           comm[size - 1] == '\n' && strncmp(comm, name, size - 1) == 0 && strlen(name) == size - 1;
}

unsigned process_kill_in(const char *folder, const char *name)
{
    struct stat facts;
    DIR *dir = stat(folder, &facts) == 0 ? opendir("/proc") : NULL;
    const struct dirent *entry;
    unsigned count = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        uint64_t pid = 0;

        if (parse_u64(entry->d_name, &pid, NULL) == 0 && pid > 1 && (pid_t)pid != getpid() &&
            is_in(entry->d_name, &facts, name) && kill((pid_t)pid, SIGKILL) == 0) {
            count++;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return count;
}

static void send_signal(int pid, int signal)
{
    if (pid > 1) {
        IGNORE(kill((pid_t)pid, signal) != 0, "it is gone already");
    }
}

void process_end(int pid)
{
    send_signal(pid, SIGTERM);
    send_signal(pid, SIGCONT);
}

void process_wake(int pid)
{
    send_signal(pid, SIGHUP);
}
