#include "io/ping.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"
#include "io/file.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_MS 20000
#define SHORT_MS 100
#define LONG_MS 15000
#define SOON_MS 5000
#define HERE "127.0.0.1"

static const unsigned char ssl_request[] = {0, 0, 0, 8, 4, 210, 22, 47};

/* What the server does with a request. */
enum deed {
    DEED_NOTHING,
    DEED_ANSWER,
    DEED_HANG_UP,
    DEED_FREE_PING, /* nothing, but the ping is given up */
};

/* A server of one connection at a time and a ping, on one loop. No assertions: a child of the test
 * uses it, too. */
struct world {
    struct loop *loop;
    struct loop_timer *end; /* of a test that hangs */
    struct loop_timer *pause;
    struct loop_poll *door;
    struct loop_poll *guest;
    struct loop_poll *resolver;
    struct ping *ping;
    int door_fd;
    int guest_fd;
    int resolver_fd;
    int port;
    enum deed deed;
    char answer;
    unsigned requests; /* as they must be */
    unsigned dones;
    bool is_alive;
    bool is_worked;
    bool is_late;
    bool is_early;
    int64_t took_ms;
};

/* ---- the server ---- */

static void leave(struct world *world)
{
    loop_poll_free(world->guest);
    world->guest = NULL;
    if (world->guest_fd >= 0) {
        close(world->guest_fd);
        world->guest_fd = -1;
    }
}

static void on_request(void *arg, bool readable, bool writable)
{
    struct world *world = arg;
    unsigned char bytes[sizeof(ssl_request) + 1];
    ssize_t count = recv(world->guest_fd, bytes, sizeof(bytes), 0);

    (void)readable;
    (void)writable;
    if (count != (ssize_t)sizeof(ssl_request) || memcmp(bytes, ssl_request, (size_t)count) != 0) {
        leave(world);
        return;
    }
    world->requests++;
    if (world->deed == DEED_ANSWER) {
        IGNORE(send(world->guest_fd, &world->answer, 1, MSG_NOSIGNAL) < 0, "who asked may be gone");
    } else if (world->deed == DEED_HANG_UP) {
        leave(world);
    } else if (world->deed == DEED_FREE_PING) {
        ping_free(TAKE(world->ping));
        loop_stop(world->loop);
    }
}

static void on_guest(void *arg, bool readable, bool writable)
{
    struct world *world = arg;

    (void)readable;
    (void)writable;
    leave(world);
    world->guest_fd = accept4(world->door_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (world->guest_fd >= 0) {
        world->guest = loop_poll_new(world->loop, world->guest_fd, on_request, world);
        loop_poll_set(world->guest, true, false);
    }
}

/* A socket with a port of its own; who does not listen on it refuses connections. */
static bool open_door(struct world *world)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);

    world->door_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (world->door_fd < 0 || bind(world->door_fd, (struct sockaddr *)&address, size) < 0 ||
        getsockname(world->door_fd, (struct sockaddr *)&address, &size) < 0) {
        return false;
    }
    world->port = ntohs(address.sin_port);
    return true;
}

static bool serve(struct world *world)
{
    if (listen(world->door_fd, 8) < 0) {
        return false;
    }
    world->door = loop_poll_new(world->loop, world->door_fd, on_guest, world);
    loop_poll_set(world->door, true, false);
    return true;
}

/* ---- the world ---- */

static void on_end(void *arg)
{
    struct world *world = arg;

    world->is_late = true;
    loop_stop(world->loop);
}

static void on_pause(void *arg)
{
    struct world *world = arg;

    loop_stop(world->loop);
}

static bool begin(struct world *world)
{
    *world = (struct world){.door_fd = -1, .guest_fd = -1, .resolver_fd = -1};
    world->loop = loop_new();
    world->end = loop_timer_new(world->loop, on_end, world);
    world->pause = loop_timer_new(world->loop, on_pause, world);
    loop_timer_start(world->end, PATIENCE_MS);
    return open_door(world);
}

static int set_up(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));

    *state = world;
    return begin(world) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    bool is_fine = !world->is_late && !world->is_early;

    ping_free(world->ping);
    leave(world);
    loop_free(world->loop);
    close(world->door_fd);
    mem_free(world);
    return is_fine ? 0 : -1;
}

static void on_done(void *arg, bool is_alive)
{
    struct world *world = arg;

    world->dones++;
    world->is_alive = is_alive;
    world->is_early |= world->ping == NULL;
    world->ping = NULL;
    loop_stop(world->loop);
}

static void start(struct world *world, const char *host, int64_t timeout_ms)
{
    world->ping = NULL;
    world->ping = ping_start(world->loop, host, world->port, timeout_ms, on_done, world);
}

/* What the ping says, in the end. */
static bool is_alive(struct world *world, const char *host, int64_t timeout_ms)
{
    struct instant begun = clock_now();

    world->is_alive = false;
    start(world, host, timeout_ms);
    loop_run(world->loop);
    world->took_ms = instant_elapsed_min_ms(begun, clock_now());
    return world->is_alive;
}

static void run_for(struct world *world, int64_t ms)
{
    loop_timer_start(world->pause, ms);
    loop_run(world->loop);
}

/* ---- what is said of a server ---- */

static void each_answer(void **state)
{
    static const struct {
        char answer;
        bool is_alive;
    } rows[] = {{'S', true}, {'N', true}, {'E', true}, {'G', true}, {'R', false}, {'\0', false}};
    struct world *world = *state;

    world->deed = DEED_ANSWER;
    assert_true(serve(world));
    for (unsigned at = 0; at < ARRAY_LEN(rows); at++) {
        world->answer = rows[at].answer;
        assert_true(is_alive(world, HERE, LONG_MS) == rows[at].is_alive);
        assert_true(world->took_ms < SOON_MS);
        assert_int_equal(world->requests, at + 1);
        assert_int_equal(world->dones, at + 1);
    }
}

static void one_that_hangs_up(void **state)
{
    struct world *world = *state;

    world->deed = DEED_HANG_UP;
    assert_true(serve(world));
    assert_false(is_alive(world, HERE, LONG_MS));
    assert_true(world->took_ms < SOON_MS);
    assert_int_equal(world->requests, 1);
}

/* The process is stopped: it is the kernel that accepts. */
static void one_that_says_nothing(void **state)
{
    struct world *world = *state;

    assert_int_equal(listen(world->door_fd, 8), 0);
    assert_false(is_alive(world, HERE, SHORT_MS));
    assert_true(world->took_ms >= SHORT_MS - 1);
    assert_true(world->took_ms < SOON_MS);
    assert_true(serve(world));
    assert_false(is_alive(world, HERE, SHORT_MS));
    assert_true(world->took_ms >= SHORT_MS - 1);
    assert_int_equal(world->dones, 2);
}

static void a_closed_port(void **state)
{
    struct world *world = *state;

    assert_false(is_alive(world, HERE, LONG_MS));
    assert_true(world->took_ms < SOON_MS);
}

static void a_host_that_makes_no_sense(void **state)
{
    struct world *world = *state;
    char longest[300];

    assert_true(serve(world));
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_false(is_alive(world, "", LONG_MS));
    assert_true(world->took_ms < SOON_MS);
    assert_false(is_alive(world, longest, LONG_MS));
    assert_true(world->took_ms < SOON_MS);
    assert_int_equal(world->dones, 2);
    assert_int_equal(world->requests, 0);
}

/* Connecting, looking up, about to fail, and waiting for an answer. */
static void given_up_at_each_stage(void **state)
{
    static const char *const hosts[] = {HERE, "localhost", ""};
    struct world *world = *state;

    world->deed = DEED_FREE_PING;
    assert_true(serve(world));
    ping_free(NULL);
    for (size_t at = 0; at < ARRAY_LEN(hosts); at++) {
        start(world, hosts[at], SHORT_MS / 4);
        ping_free(TAKE(world->ping));
        run_for(world, SHORT_MS);
        assert_int_equal(world->dones, 0);
        assert_int_equal(world->requests, 0);
    }
    start(world, HERE, 10 * SHORT_MS);
    loop_run(world->loop);
    assert_int_equal(world->requests, 1);
    run_for(world, 11 * SHORT_MS);
    assert_int_equal(world->dones, 0);
}

/* ---- a resolver that hangs ---- */

#define NAME "db.example"
#define FLOOD 30 /* pings: several times what the pool has threads */
#define WORK_MS 2000
#define CANNOT 77

/* Put TEXT where this process alone sees it. */
static bool replace(const char *path, const char *text)
{
    char own[] = "/tmp/baton-ping-XXXXXX";
    int fd = mkstemp(own);
    size_t length = strlen(text);
    bool is_done = fd >= 0 && write(fd, text, length) == (ssize_t)length &&
                   mount(own, path, NULL, MS_BIND, NULL) == 0;

    if (fd >= 0) {
        close(fd);
        unlink(own);
    }
    return is_done;
}

static bool bring_loopback_up(void)
{
    AUTO_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_flags = IFF_UP};

    return str_copy(request.ifr_name, sizeof(request.ifr_name), "lo") &&
           ioctl(fd, SIOCSIFFLAGS, &request) == 0;
}

/* A name server on the address to which all questions go; it takes them and is silent. */
static bool open_resolver(struct world *world)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    world->resolver_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return world->resolver_fd >= 0 &&
           bind(world->resolver_fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* It answers what it was asked: each name is this host, of which ::1 has no server. */
static void on_question(void *arg, bool readable, bool writable)
{
    static const unsigned char v4[] = {0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1};
    static const unsigned char v6[] = {0xC0, 12, 0, 28, 0, 1, 0, 0, 0, 0, 0, 16, 0, 0,
                                       0,    0,  0, 0,  0, 0, 0, 0, 0, 0, 0, 0,  0, 1};
    struct world *world = arg;
    unsigned char bytes[512];
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    ssize_t count = recvfrom(
        world->resolver_fd, bytes, sizeof(bytes) - sizeof(v6), 0, (struct sockaddr *)&from, &size);
    bool is_v6;
    size_t length;

    (void)readable;
    (void)writable;
    if (count < 16) {
        return;
    }
    length = (size_t)count;
    is_v6 = bytes[length - 3] == 28;
    bytes[2] |= 0x80; /* an answer, */
    bytes[3] = 0x80;  /* no error, */
    bytes[7] = 1;     /* of one record */
    memcpy(bytes + length, is_v6 ? v6 : v4, is_v6 ? sizeof(v6) : sizeof(v4));
    length += is_v6 ? sizeof(v6) : sizeof(v4);
    IGNORE(
        sendto(world->resolver_fd, bytes, length, 0, (struct sockaddr *)&from, size) < 0,
        "who asked may be gone");
}

static void work_nothing(void *arg)
{
    (void)arg;
}

static void on_worked(void *arg)
{
    struct world *world = arg;

    world->is_worked = true;
    loop_stop(world->loop);
}

static int flood(struct world *world)
{
    char byte;

    for (unsigned at = 0; at < FLOOD; at++) {
        if (is_alive(world, NAME, SHORT_MS)) {
            return 2;
        }
    }
    if (world->dones != FLOOD || recv(world->resolver_fd, &byte, 1, MSG_PEEK) != 1) {
        return 3; /* nobody asked: nothing is proven */
    }
    loop_work(world->loop, work_nothing, on_worked, world);
    run_for(world, WORK_MS);
    return world->is_worked ? 0 : 4;
}

/* The exit status of a child in which a name server hangs, and answers in the end. */
static int ping_names(void)
{
    struct world world;
    int r;

    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !bring_loopback_up() ||
        !replace("/etc/nsswitch.conf", "hosts: dns\n") ||
        !replace("/etc/resolv.conf", "nameserver " HERE "\noptions timeout:30 attempts:2\n")) {
        return CANNOT;
    }
    if (!begin(&world) || !serve(&world) || !open_resolver(&world)) {
        return 1;
    }
    world.deed = DEED_ANSWER;
    world.answer = 'N';
    r = flood(&world);
    if (r != 0) {
        return r;
    }
    world.resolver = loop_poll_new(world.loop, world.resolver_fd, on_question, &world);
    loop_poll_set(world.resolver, true, false);
    for (unsigned at = 0; at < 10; at++) {
        if (is_alive(&world, NAME, 5 * SHORT_MS)) {
            return world.is_late || world.is_early ? 5 : 0;
        }
    }
    return 6;
}

/* It takes few threads of the pool, and is asked again when it has answered. */
static void a_resolver_that_hangs(void **state)
{
    int status = 0;
    pid_t pid;

    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    pid = fork();
    if (pid == 0) {
        _exit(ping_names());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT) {
        skip();
    }
    assert_int_equal(status, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_answer),
        CASE(one_that_hangs_up),
        CASE(one_that_says_nothing),
        CASE(a_closed_port),
        CASE(a_host_that_makes_no_sense),
        CASE(given_up_at_each_stage),
        cmocka_unit_test(a_resolver_that_hangs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
