#include "io/loop.h"

#include "base/assert.h"
#include "base/mem.h"
#include "model/model.h"

#include <sys/wait.h>
#include <uv.h>

#define WORK_THREADS "8"
#define REAP_FIRST_MS 5
#define REAP_LAST_MS 1000

/* A killed child that somebody must still collect. */
struct orphan {
    struct orphan *next;
    int pid;
};

/* Every handle has the libuv handle first and itself in `data`, so that one close callback frees
 * them all; those inside the loop have no `data`. */
struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t hurry;        /* runs while `due` is not empty: then the loop does not wait */
    struct loop_timer *due; /* timers of 0 ms, in the order of their start */
    uint64_t round;
    struct loop_timer *reap_timer;
    struct orphan *orphans;
    int64_t reap_pause_ms;
    void (*on_turn)(void *arg);
    void *arg;
    bool happened;
};

struct loop_timer {
    uv_timer_t uv;
    struct loop *loop;
    void (*function)(void *arg);
    void *arg;
    struct loop_timer *next_due;
    uint64_t due_since; /* the round in which it joined `due` */
    bool is_due;
};

struct loop_poll {
    uv_poll_t uv;
    struct loop *loop;
    void (*function)(void *arg, bool readable, bool writable);
    void *arg;
    uint64_t
        changes; /* calls of loop_poll_set and loop_poll_free: tells whether a callback made one */
    bool want_read;
    bool want_write;
};

struct loop_signal {
    uv_signal_t uv;
    struct loop *loop;
    void (*function)(void *arg);
    void *arg;
};

struct loop_watch {
    uv_fs_event_t uv;
    struct loop *loop;
    void (*function)(void *arg, const char *name);
    void *arg;
};

struct work {
    uv_work_t uv;
    struct loop *loop;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void on_close(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, on_close);
    }
}

/* ---- turns ---- */

static void fire_due(struct loop *loop);
static void leave_due(struct loop_timer *timer);

static void end_turn(struct loop *loop)
{
    if (!loop->happened) {
        return;
    }
    loop->happened = false;
    if (loop->on_turn != NULL) {
        loop->on_turn(loop->arg);
    }
}

/* libuv 1.44 runs timers before, 1.45 and later after the poll. Prepare comes after the timers
 * of both and before the loop may wait, check right after the poll. */
static void on_prepare(uv_prepare_t *prepare)
{
    end_turn((struct loop *)prepare->loop->data);
}

static void on_check(uv_check_t *check)
{
    struct loop *loop = check->loop->data;

    fire_due(loop);
    end_turn(loop);
}

void loop_on_turn(struct loop *loop, void (*function)(void *arg), void *arg)
{
    loop->on_turn = function;
    loop->arg = arg;
}

/* ---- the loop ---- */

static void reap_orphans(void *arg)
{
    struct loop *loop = arg;
    struct orphan **slot = &loop->orphans;

    while (*slot != NULL) {
        struct orphan *orphan = *slot;

        if (waitpid(orphan->pid, NULL, WNOHANG) == 0) {
            slot = &orphan->next;
            continue;
        }
        *slot = orphan->next;
        mem_free(orphan);
    }
    loop->reap_pause_ms = MIN(loop->reap_pause_ms * 2, REAP_LAST_MS);
    if (loop->orphans != NULL) {
        loop_timer_start(loop->reap_timer, loop->reap_pause_ms);
    }
}

void loop_reap(struct loop *loop, int pid)
{
    struct orphan *orphan = NULL;

    ASSERT(pid > 0);
    if (waitpid(pid, NULL, WNOHANG) != 0 || loop->reap_timer == NULL) {
        return;
    }
    orphan = mem_alloc(sizeof(*orphan));
    orphan->pid = pid;
    orphan->next = loop->orphans;
    loop->orphans = orphan;
    loop->reap_pause_ms = REAP_FIRST_MS;
    loop_timer_start(loop->reap_timer, loop->reap_pause_ms);
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_alloc(sizeof(*loop));
    int r = setenv("UV_THREADPOOL_SIZE", WORK_THREADS, 0);

    ASSERT(r == 0);
    /* OpenSSL and libcurl write to sockets without MSG_NOSIGNAL. */
    IGNORE(signal(SIGPIPE, SIG_IGN) == SIG_ERR, "cannot fail for SIGPIPE");
    r = uv_loop_init(&loop->uv);
    ASSERT(r == 0);
    loop->uv.data = loop;
    r = uv_prepare_init(&loop->uv, &loop->prepare);
    ASSERT(r == 0);
    r = uv_prepare_start(&loop->prepare, on_prepare);
    ASSERT(r == 0);
    r = uv_check_init(&loop->uv, &loop->check);
    ASSERT(r == 0);
    r = uv_check_start(&loop->check, on_check);
    ASSERT(r == 0);
    r = uv_idle_init(&loop->uv, &loop->hurry);
    ASSERT(r == 0);
    loop->reap_timer = loop_timer_new(loop, reap_orphans, loop);
    return loop;
}

static void close_any(uv_handle_t *handle, void *arg)
{
    (void)arg;
    close_handle(handle);
}

void loop_free(struct loop *loop)
{
    int r;

    if (loop == NULL) {
        return;
    }
    loop->on_turn = NULL;
    while (loop->due != NULL) {
        leave_due(loop->due);
    }
    loop->reap_timer = NULL;
    /* DONE of running work may make handles again. */
    do {
        uv_walk(&loop->uv, close_any, NULL);
        IGNORE(uv_run(&loop->uv, UV_RUN_DEFAULT), "what is left is closed by the next round");
        r = uv_loop_close(&loop->uv);
    } while (r == UV_EBUSY);
    ASSERT(r == 0);
    while (loop->orphans != NULL) {
        struct orphan *orphan = loop->orphans;

        loop->orphans = orphan->next;
        mem_free(orphan);
    }
    mem_free(loop);
}

void loop_run(struct loop *loop)
{
    IGNORE(uv_run(&loop->uv, UV_RUN_DEFAULT), "it was stopped; what is left may run again");
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

/* ---- timers ----
 *
 * libuv runs timers until none is due, so one that starts itself with 0 ms would never let anything
 * else happen. Those of 0 ms are kept apart and called once a round, after the descriptors. */

static void on_timer(uv_timer_t *uv)
{
    struct loop_timer *timer = uv->data;

    timer->loop->happened = true;
    timer->function(timer->arg);
}

static void on_hurry(uv_idle_t *hurry)
{
    (void)hurry;
}

static void leave_due(struct loop_timer *timer)
{
    struct loop_timer **slot = &timer->loop->due;

    if (!timer->is_due) {
        return;
    }
    while (*slot != timer) {
        ASSERT(*slot != NULL);
        slot = &(*slot)->next_due;
    }
    *slot = timer->next_due;
    timer->is_due = false;
    if (timer->loop->due == NULL) {
        uv_idle_stop(&timer->loop->hurry);
    }
}

static void join_due(struct loop_timer *timer)
{
    struct loop_timer **slot = &timer->loop->due;

    while (*slot != NULL) {
        slot = &(*slot)->next_due;
    }
    *slot = timer;
    timer->next_due = NULL;
    timer->due_since = timer->loop->round;
    timer->is_due = true;
    IGNORE(uv_idle_start(&timer->loop->hurry, on_hurry), "fails only without a callback");
}

static void fire_due(struct loop *loop)
{
    loop->round++;
    while (loop->due != NULL && loop->due->due_since < loop->round) {
        struct loop_timer *timer = loop->due;

        leave_due(timer);
        loop->happened = true;
        timer->function(timer->arg);
    }
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*function)(void *arg), void *arg)
{
    struct loop_timer *timer = mem_alloc(sizeof(*timer));
    int r = uv_timer_init(&loop->uv, &timer->uv);

    ASSERT(r == 0);
    ASSERT(function != NULL);
    timer->uv.data = timer;
    timer->loop = loop;
    timer->function = function;
    timer->arg = arg;
    return timer;
}

void loop_timer_start(struct loop_timer *timer, int64_t ms)
{
    uint64_t due_ns = uv_hrtime() + (uint64_t)MAX(ms, INT64_C(0)) * (uint64_t)NS_PER_MS;
    uint64_t due_ms = (due_ns + (uint64_t)NS_PER_MS - 1) / (uint64_t)NS_PER_MS;
    int r;

    ASSERT(!uv_is_closing((uv_handle_t *)&timer->uv));
    loop_timer_stop(timer);
    if (ms <= 0) {
        join_due(timer);
        return;
    }
    /* libuv counts from the start of its round, in whole milliseconds: a long callback or a
     * fraction would make the timer early. */
    r = uv_timer_start(&timer->uv, on_timer, due_ms - uv_now(&timer->loop->uv), 0);
    ASSERT(r == 0);
}

void loop_timer_stop(struct loop_timer *timer)
{
    int r = uv_timer_stop(&timer->uv);

    ASSERT(r == 0);
    leave_due(timer);
}

void loop_timer_free(struct loop_timer *timer)
{
    if (timer != NULL) {
        leave_due(timer);
        close_handle((uv_handle_t *)&timer->uv);
    }
}

/* ---- descriptors ---- */

static void start_poll(struct loop_poll *poll);

static void on_poll(uv_poll_t *uv, int status, int events)
{
    struct loop_poll *poll = uv->data;
    uint64_t changes = poll->changes;
    bool is_broken = status < 0;

    poll->loop->happened = true;
    poll->function(
        poll->arg, is_broken || (events & (UV_READABLE | UV_DISCONNECT)) != 0,
        is_broken || (events & UV_WRITABLE) != 0);
    /* After an error libuv stops the handle. An owner that did not react (the error was read
     * with getsockopt, say) keeps its watch; one that did said so with loop_poll_set. */
    if (is_broken && poll->changes == changes) {
        start_poll(poll);
    }
}

static void start_poll(struct loop_poll *poll)
{
    int events = (poll->want_read ? UV_READABLE : 0) | (poll->want_write ? UV_WRITABLE : 0);
    int r = events != 0 ? uv_poll_start(&poll->uv, events, on_poll) : uv_poll_stop(&poll->uv);

    ASSERT(r == 0);
}

struct loop_poll *loop_poll_new(
    struct loop *loop, int fd, void (*function)(void *arg, bool readable, bool writable), void *arg)
{
    struct loop_poll *poll = mem_alloc(sizeof(*poll));
    int r = uv_poll_init(&loop->uv, &poll->uv, fd);

    ASSERT(r == 0);
    ASSERT(function != NULL);
    poll->uv.data = poll;
    poll->loop = loop;
    poll->function = function;
    poll->arg = arg;
    return poll;
}

void loop_poll_set(struct loop_poll *poll, bool want_read, bool want_write)
{
    ASSERT(!uv_is_closing((uv_handle_t *)&poll->uv));
    poll->changes++;
    poll->want_read = want_read;
    poll->want_write = want_write;
    start_poll(poll);
}

void loop_poll_free(struct loop_poll *poll)
{
    if (poll != NULL) {
        poll->changes++;
        close_handle((uv_handle_t *)&poll->uv);
    }
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *uv, int signal_number)
{
    struct loop_signal *handle = uv->data;

    (void)signal_number;
    handle->loop->happened = true;
    handle->function(handle->arg);
}

struct loop_signal *loop_signal_new(
    struct loop *loop, int signal_number, void (*function)(void *arg), void *arg)
{
    struct loop_signal *handle = mem_alloc(sizeof(*handle));
    int r = uv_signal_init(&loop->uv, &handle->uv);

    ASSERT(r == 0);
    ASSERT(function != NULL);
    handle->uv.data = handle;
    handle->loop = loop;
    handle->function = function;
    handle->arg = arg;
    r = uv_signal_start(&handle->uv, on_signal, signal_number);
    ASSERT(r == 0);
    return handle;
}

void loop_signal_free(struct loop_signal *handle)
{
    if (handle != NULL) {
        close_handle((uv_handle_t *)&handle->uv);
    }
}

/* ---- folders ---- */

static void on_watch(uv_fs_event_t *uv, const char *name, int events, int status)
{
    struct loop_watch *watch = uv->data;

    if (status == 0 && name != NULL && (events & UV_RENAME) != 0) {
        watch->loop->happened = true;
        watch->function(watch->arg, name);
    }
}

struct loop_watch *loop_watch_new(
    struct loop *loop, const char *folder, void (*function)(void *arg, const char *name), void *arg)
{
    struct loop_watch *watch = mem_alloc(sizeof(*watch));
    int r = uv_fs_event_init(&loop->uv, &watch->uv);

    ASSERT(r == 0);
    ASSERT(function != NULL);
    watch->uv.data = watch;
    watch->loop = loop;
    watch->function = function;
    watch->arg = arg;
    if (uv_fs_event_start(&watch->uv, on_watch, folder, 0) < 0) {
        loop_watch_free(watch);
        return NULL;
    }
    return watch;
}

void loop_watch_free(struct loop_watch *watch)
{
    if (watch != NULL) {
        close_handle((uv_handle_t *)&watch->uv);
    }
}

/* ---- work on threads ---- */

static void on_work(uv_work_t *uv)
{
    struct work *work = uv->data;

    work->work(work->arg);
}

static void on_work_done(uv_work_t *uv, int status)
{
    struct work *work = uv->data;

    ASSERT(status == 0); /* nothing is ever cancelled */
    work->loop->happened = true;
    work->done(work->arg);
    mem_free(work);
}

void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct work *request = mem_alloc(sizeof(*request));
    int r;

    ASSERT(work != NULL);
    ASSERT(done != NULL);
    request->uv.data = request;
    request->loop = loop;
    request->work = work;
    request->done = done;
    request->arg = arg;
    r = uv_queue_work(&loop->uv, &request->uv, on_work, on_work_done);
    ASSERT(r == 0);
}
