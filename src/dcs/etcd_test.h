/* etcd_test.h - real etcd servers for the unit tests of this folder, and a store client that
 * remembers what it was told.
 *
 * The program is $BATON_ETCD, or the one in PATH or /usr/bin; without one a test is skipped. Each
 * server is a child of the test and dies with it. */
#pragma once

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "dcs/dcs.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/loop.h"
#include "io/port_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#define SERVERS_MAX 4

struct server {
    pid_t pid;
    int client_port;
    int peer_port;
    char name[16];
    char url[64];
    char peer_url[64];
};

/* A temporary folder with up to SERVERS_MAX servers of one cluster. */
struct servers {
    char program[256];
    char folder[64];
    unsigned count;
    struct server items[SERVERS_MAX];
    const char *extra[12]; /* further arguments */
    char cluster[512];
    const char *scheme; /* of client addresses */
};

UNUSED static bool find_etcd(char *buffer, size_t size)
{
    const char *given = getenv("BATON_ETCD");

    if (given != NULL) {
        return str_copy(buffer, size, given);
    }
    return file_find_program("etcd", getenv("PATH"), buffer, size) ||
           file_find_program("etcd", "/usr/bin", buffer, size);
}

/* Run a program to its end with output to FOLDER/log; its exit status. */
UNUSED static int run(const char *const *argv)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

UNUSED static void server_start(struct servers *servers, unsigned at)
{
    struct server *server = &servers->items[at];
    char folder[128];
    char log[128];
    const char *argv[40] = {
        servers->program,
        "--name",
        server->name,
        "--data-dir",
        folder,
        "--listen-client-urls",
        server->url,
        "--advertise-client-urls",
        server->url,
        "--listen-peer-urls",
        server->peer_url,
        "--initial-advertise-peer-urls",
        server->peer_url,
        "--initial-cluster",
        servers->cluster,
        "--heartbeat-interval",
        "50",
        "--election-timeout",
        "500"};
    unsigned count = 19;

    for (unsigned extra = 0; servers->extra[extra] != NULL; extra++) {
        argv[count++] = servers->extra[extra];
    }
    argv[count] = NULL;
    str_format(folder, sizeof(folder), "%s/%s", servers->folder, server->name);
    str_format(log, sizeof(log), "%s/%s.log", servers->folder, server->name);
    server->pid = fork();
    if (server->pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, 1);
        dup2(fd, 2);
        execv(servers->program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    assert_true(server->pid > 0);
}

/* Returns when all its threads stand still: on a busy machine some go on for a while. */
UNUSED static void server_freeze(struct servers *servers, unsigned at)
{
    pid_t pid = servers->items[at].pid;
    int status = 0;

    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
}

UNUSED static void server_kill(struct servers *servers, unsigned at)
{
    struct server *server = &servers->items[at];

    if (server->pid > 0) {
        kill(server->pid, SIGKILL);
        assert_int_equal(waitpid(server->pid, NULL, 0), server->pid);
    }
    server->pid = 0;
}

UNUSED static void server_wipe(const struct servers *servers, unsigned at)
{
    char folder[128];

    str_format(folder, sizeof(folder), "%s/%s", servers->folder, servers->items[at].name);
    assert_int_equal(run((const char *const[]){"rm", "-rf", folder, NULL}), 0);
}

/* Prepare COUNT servers; false: there is no etcd. */
UNUSED static bool servers_prepare(struct servers *servers, unsigned count)
{
    AUTO_STR struct str cluster = STR_INIT(512);

    *servers = (struct servers){.count = count, .scheme = "http"};
    if (!find_etcd(servers->program, sizeof(servers->program))) {
        return false;
    }
    str_copy(servers->folder, sizeof(servers->folder), "/tmp/baton-etcd-XXXXXX");
    assert_non_null(mkdtemp(servers->folder));
    for (unsigned at = 0; at < count; at++) {
        struct server *server = &servers->items[at];

        server->client_port = free_port();
        server->peer_port = free_port();
        str_format(server->name, sizeof(server->name), "s%u", at);
        str_format(server->url, sizeof(server->url), "http://127.0.0.1:%d", server->client_port);
        str_format(
            server->peer_url, sizeof(server->peer_url), "http://127.0.0.1:%d", server->peer_port);
        str_addf(&cluster, "%s%s=%s", at > 0 ? "," : "", server->name, server->peer_url);
    }
    str_copy(servers->cluster, sizeof(servers->cluster), str_text(&cluster));
    return true;
}

UNUSED static void servers_start(struct servers *servers)
{
    for (unsigned at = 0; at < servers->count; at++) {
        server_start(servers, at);
    }
}

UNUSED static void servers_stop(struct servers *servers)
{
    for (unsigned at = 0; at < servers->count; at++) {
        server_kill(servers, at);
    }
    assert_int_equal(run((const char *const[]){"rm", "-rf", servers->folder, NULL}), 0);
}

/* The loop, run until something is so. */

struct waiter {
    struct loop *loop;
    struct loop_timer *timer;
    bool (*is_so)(void *arg);
    void *arg;
    struct instant start;
    struct instant last; /* turn */
    int64_t limit_ms;
    int64_t still_ms; /* in which the machine stood still: nothing can become so meanwhile */
    bool was_so;
};

#define TURN_MAX_MS 100

UNUSED static void on_waiter(void *arg)
{
    struct waiter *waiter = arg;
    struct instant now = clock_now();

    waiter->still_ms += MAX(instant_elapsed_max_ms(waiter->last, now) - TURN_MAX_MS, 0);
    waiter->last = now;
    waiter->was_so = waiter->is_so != NULL && waiter->is_so(waiter->arg);
    if (waiter->was_so ||
        instant_elapsed_max_ms(waiter->start, now) - waiter->still_ms > waiter->limit_ms) {
        loop_stop(waiter->loop);
        return;
    }
    loop_timer_start(waiter->timer, 2);
}

/* Run LOOP until IS_SO(ARG) (NULL: never), at most LIMIT_MS, of which a turn takes at most
 * TURN_MAX_MS. Whether it became so. */
UNUSED static bool run_until(
    struct loop *loop, int64_t limit_ms, bool (*is_so)(void *arg), void *arg)
{
    struct instant now = clock_now();
    struct waiter waiter = {
        .loop = loop, .is_so = is_so, .arg = arg, .start = now, .last = now, .limit_ms = limit_ms};

    waiter.timer = loop_timer_new(loop, on_waiter, &waiter);
    loop_timer_start(waiter.timer, 0);
    loop_run(loop);
    loop_timer_free(waiter.timer);
    return waiter.was_so;
}

/* A text that the loop changes. */
struct wording {
    const char *text;
    const char *part;
};

UNUSED static bool is_worded(void *arg)
{
    const struct wording *wording = arg;

    return strstr(wording->text, wording->part) != NULL;
}

/* Run LOOP until PART stands in TEXT: how long that takes is the machine's matter. */
UNUSED static void wait_told(struct loop *loop, const char *text, const char *part)
{
    struct wording wording = {.text = text, .part = part};

    if (!run_until(loop, 20000, is_worded, &wording)) {
        fail_msg("not told \"%s\" but \"%s\"", part, text);
    }
}
