#include "guard/bed_test.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/clock.h"
#include "io/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#define NEVER ((struct instant){0, 0})
#define NOBODY 65534

static struct bed bed;

static int set_up(void **state)
{
    (void)state;
    bed_open(&bed);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bed_close(&bed);
    return 0;
}

static void start_tree(const char *mode, int size)
{
    bed_start(&bed, bed.fd, mode);
    bed_wait(&bed, bed_is_running);
    bed_wait_for_tree(&bed, size);
    if (str_equal(mode, "--obey")) {
        bed_wait_for_obedience(&bed);
    }
}

static void ask(void)
{
    bed_order(bed.fd, GUARD_ASK, 0, NEVER);
    assert_true(bed_receive(bed.fd, PATIENCE_MS, &bed.state));
    /* The first may be about something before. */
    while (bed_receive(bed.fd, 30, &bed.state)) {
        /* the last counts */
    }
}

/* ---- clients ---- */

static void send_bytes(const void *bytes, size_t size)
{
    struct guard_state state;
    int fd = bed_connect(&bed);

    assert_true(fd >= 0);
    IGNORE(send(fd, bytes, size, MSG_NOSIGNAL) < 0, "it may be gone");
    /* Closed without an answer to it; what comes before may be about something else. */
    while (bed_receive(fd, PATIENCE_MS, &state)) {
        assert_int_equal(state.guard_pid, bed.guard);
    }
    assert_int_equal(recv(fd, &state, sizeof(state), 0), 0);
    close(fd);
}

static void garbage_is_refused(void **state)
{
    struct guard_order good = {
        .header = {GUARD_MAGIC, GUARD_VERSION, GUARD_KILL, sizeof(good), 0},
    };
    struct guard_order bad = good;
    static char large[60000];

    (void)state;
    start_tree("--obey", 1);
    bad.header.magic++;
    send_bytes(&bad, sizeof(bad));
    bad = good;
    bad.header.version++;
    send_bytes(&bad, sizeof(bad));
    bad = good;
    bad.header.size--;
    send_bytes(&bad, sizeof(bad));
    send_bytes(&bad, sizeof(bad) - 1);
    bad = good;
    bad.header.size++;
    send_bytes(&bad, sizeof(bad));
    send_bytes(&good, sizeof(good.header));
    send_bytes(&good, 1);
    for (unsigned kind = 0; kind < 70000; kind += kind < 30 ? 1 : 7777) {
        if (kind < GUARD_START || kind > GUARD_DISARM || kind == GUARD_START) {
            bad = good;
            bad.header.kind = (uint16_t)kind;
            send_bytes(&bad, sizeof(bad));
        }
    }
    memcpy(large, &good, sizeof(good));
    send_bytes(large, sizeof(large));
    send_bytes(large, sizeof(struct guard_start));
    ask();
    assert_int_equal(bed_count(&bed), 1);
    assert_int_equal(bed.state.was_killed, 0);
    assert_int_equal(bed.state.starts, 1);
}

static void noise_is_refused(void **state)
{
    uint64_t seed = 42;
    static unsigned char bytes[sizeof(struct guard_start) + 100];

    (void)state;
    start_tree("--obey", 1);
    for (int round = 0; round < 300; round++) {
        size_t size;

        for (size_t at = 0; at < sizeof(bytes); at++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            bytes[at] = (unsigned char)(seed >> 56);
        }
        size = 1 + (size_t)(seed >> 33) % sizeof(bytes);
        if (round % 2 == 0) {
            struct guard_header header = {GUARD_MAGIC, GUARD_VERSION, 77, (uint32_t)size, 0};

            memcpy(bytes, &header, MIN(size, sizeof(header)));
        }
        send_bytes(bytes, size);
    }
    ask();
    assert_int_equal(bed_count(&bed), 1);
}

/* A start message whose text does not keep to its counts: told, not run. */
static void start_raw(uint16_t argc, uint16_t envc, const char *text, uint32_t length)
{
    static struct guard_start start;

    memset(&start, 'x', sizeof(start));
    start.header = (struct guard_header){GUARD_MAGIC, GUARD_VERSION, GUARD_START, sizeof(start), 0};
    start.argc = argc;
    start.envc = envc;
    start.text_length = length;
    memcpy(start.text, text, MIN((size_t)length, (size_t)64));
    assert_int_equal(send(bed.fd, &start, sizeof(start), MSG_NOSIGNAL), sizeof(start));
    ask();
    assert_int_equal(bed.state.pid, 0);
    assert_int_equal(bed.state.starts, 0);
    assert_true(bed.state.start_errno == EINVAL || bed.state.start_errno == E2BIG);
}

static void corrupt_starts_are_refused(void **state)
{
    static const char text[64] = "/bin/true\0a=b\0/\0\0";

    (void)state;
    start_raw(0, 0, text, 17);
    start_raw(0, 2, text, 17);
    start_raw(1, 0, text, 17);
    start_raw(2, 1, text, 17);
    start_raw(1, 1, text, 16);
    start_raw(1, 1, text, 18);
    start_raw(1, 1, text, 0);
    start_raw(1, 1, text, GUARD_TEXT_MAX);
    start_raw(1, 1, text, GUARD_TEXT_MAX + 1);
    start_raw(1, 1, text, UINT32_MAX);
    start_raw(UINT16_MAX, UINT16_MAX, text, 17);
    start_raw(UINT16_MAX, 1, text, 17);
    start_raw(1, UINT16_MAX, text, 17);
    start_raw(1000, 100, text, 17);
}

static void wrong_signals_are_ignored(void **state)
{
    (void)state;
    bed_order(bed.fd, GUARD_SIGNAL, SIGKILL, NEVER); /* nobody is there */
    bed_order(bed.fd, GUARD_KILL, 0, NEVER);
    start_tree("--obey", 1);
    bed_order(bed.fd, GUARD_SIGNAL, 0, NEVER);
    bed_order(bed.fd, GUARD_SIGNAL, -9, NEVER);
    bed_order(bed.fd, GUARD_SIGNAL, 1000, NEVER);
    ask();
    assert_int_equal(bed_count(&bed), 1);
    assert_int_equal(bed.state.was_killed, 0);
}

static void every_client_is_told(void **state)
{
    struct guard_state seen;
    int fds[7];

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(fds); at++) {
        fds[at] = bed_connect(&bed);
        bed_order(fds[at], GUARD_ASK, 0, NEVER);
        assert_true(bed_receive(fds[at], PATIENCE_MS, &seen));
    }
    start_tree("--obey", 1);
    for (size_t at = 0; at < ARRAY_LEN(fds); at++) {
        do {
            assert_true(bed_receive(fds[at], PATIENCE_MS, &seen));
        } while (seen.pid == 0);
    }
    /* One more than the guard keeps: the oldest, this test's, is dropped. */
    fds[0] = bed_connect(&bed);
    bed_order(fds[0], GUARD_ASK, 0, NEVER);
    assert_true(bed_receive(fds[0], PATIENCE_MS, &seen));
    while (bed_receive(bed.fd, PATIENCE_MS, &seen)) {
        /* what was sent before */
    }
    assert_int_equal(recv(bed.fd, &seen, sizeof(seen), 0), 0);
    bed_order(fds[1], GUARD_ASK, 0, NEVER);
    assert_true(bed_receive(fds[1], PATIENCE_MS, &seen));
}

static void a_client_that_does_not_read_is_dropped(void **state)
{
    int deaf = bed_connect(&bed);
    struct instant now;

    (void)state;
    start_tree("--tree", TREE_SIZE);
    now = clock_now();
    bed_order(bed.fd, GUARD_ARM, 0, instant_add_ms(now, 60000));
    for (int number = 0; number < 3000; number++) {
        bed_order(deaf, GUARD_ASK, 0, NEVER);
        if (number % 100 == 0) {
            ask();
        }
    }
    bed_order(bed.fd, GUARD_KILL, 0, NEVER);
    bed_wait(&bed, bed_is_gone);
    assert_int_equal(bed_count(&bed), 0);
    close(deaf);
}

static void strangers_are_refused(void **state)
{
    struct file_facts facts;
    int status = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(file_facts(bed.socket_path, &facts, NULL), 0);
    assert_int_equal(facts.mode, 0600);
    if (geteuid() != 0) {
        skip();
    }
    /* Even if somebody opens the door. */
    assert_int_equal(chmod(bed.folder, 0755), 0);
    assert_int_equal(chmod(bed.socket_path, 0666), 0);
    pid = fork();
    if (pid == 0) {
        struct guard_state seen;
        int fd;

        if (setresuid(NOBODY, NOBODY, NOBODY) < 0) {
            _exit(1);
        }
        fd = bed_connect(&bed);
        bed_order(fd, GUARD_ASK, 0, NEVER);
        _exit(fd < 0 || bed_receive(fd, PATIENCE_MS, &seen) ? 2 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    ask();
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(garbage_is_refused),         CASE(noise_is_refused),
        CASE(corrupt_starts_are_refused), CASE(wrong_signals_are_ignored),
        CASE(every_client_is_told),       CASE(a_client_that_does_not_read_is_dropped),
        CASE(strangers_are_refused),
    };

    bed_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
