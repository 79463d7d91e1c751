/* guard_link.h - the agent's end of the talk with a guard (baton-guard), over a Unix socket of
 * whole messages.
 *
 * The guard (model/guard_message.h has the messages) is the parent of one supervised process
 * tree and outlives the agent. A link connects to it, starting one if none listens at PATH, and
 * reports what it says. When the guard is lost the link says so and tries again. */
#pragma once

#include "io/loop.h"
#include "model/model.h"

struct guard_link;

struct guard_listener {
    /* The guard's state, after each change and after connecting; NULL while there is no guard. */
    void (*on_state)(void *arg, const struct guard_state *state);
    void *arg;
};

struct guard_link_options {
    const char *program;     /* path of baton-guard */
    const char *socket_path; /* at most 100 bytes; its folder must exist, mode 0700 */
    const char
        *log_path; /* standard error of the guard and, unless redirected, of what it starts */
};

/* Connect, starting a guard if needed. Never NULL; the first on_state comes from the loop. */
struct guard_link *guard_link_new(
    struct loop *loop, const struct guard_link_options *options,
    const struct guard_listener *listener);

/* Commands; the outcome shows in on_state. One that cannot be sent, because the guard is lost or so
 * stuck that its queue is full, is dropped: a deadline then stays where it was. guard_start: argv
 * and env end with NULL and fit GUARD_TEXT_MAX together. */
MUST_CHECK int guard_start(
    struct guard_link *link, const char *const *argv, const char *const *env, const char *folder,
    const char *output_path, struct err *e);
void guard_signal(struct guard_link *link, int signal_number);
void guard_arm(struct guard_link *link, struct instant deadline);
void guard_kill(struct guard_link *link);

/* Drop the deadline of a server that was never opened for writing (of another one the guard keeps
 * it), and choose the kernel watchdog; its header is filled in. Only for a guard whose state has
 * `means`. */
void guard_disarm(struct guard_link *link);
void guard_watch(struct guard_link *link, const struct guard_watch *watch);

/* Tell a guard that supervises nothing to exit (used by tests and by clean removal). */
void guard_retire(struct guard_link *link);

/* Disconnect; the guard goes on. NULL is accepted. */
void guard_link_free(struct guard_link *link);
