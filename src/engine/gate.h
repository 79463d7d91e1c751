/* gate.h - a dead-man switch in the kernel's packet filter: what an open connection would still say
 * for a primary whose lease is over does not leave the host, even if all its keepers are stopped.
 *
 * A table of its own drops what comes from the server's port, unless the port is in a set whose
 * element has a timeout, which the kernel alone lets expire. The element is put before a promotion
 * and anew at each renewal; the table is there only while the server may be writable, so that
 * standbys are always reached. One transaction replaces the whole table: to add an element
 * again would not extend it, and what somebody else has flushed comes back.
 *
 * It is done by `nft`, which needs CAP_NET_ADMIN: the agent hands on its ambient capabilities, and
 * the guard takes this one from the server (io/urgent.h). What does not work shows in gate_problem
 * and keeps nobody from being the primary: this is one fence of several. Local connections are not
 * covered (Unix sockets, loopback), nor is a host that is paused as a whole. The timeout is counted
 * from the moment when nft commits it, so a pause of nft itself adds to it. */
#pragma once

#include "io/loop.h"
#include "model/model.h"

struct gate;

struct gate_options {
    const char *table;
    int port;
    const char *const *exempt; /* addresses and networks, ends with NULL; may be NULL */
};

/* Called from the loop whenever gate_is_open or gate_problem may have changed. */
typedef void gate_changed(void *arg);

/* Nothing is done yet. Never NULL. */
struct gate *gate_new(
    struct loop *loop, const struct gate_options *options, gate_changed *changed, void *arg);

/* Let the server be reached until DEADLINE. */
void gate_open(struct gate *gate, struct instant deadline);

/* The server is not writable: take the table away. */
void gate_remove(struct gate *gate);

/* Whether the kernel has taken a deadline at or after this one; why it has not, or "". */
bool gate_is_open(const struct gate *gate, struct instant deadline);
const char *gate_problem(const struct gate *gate);

/* Leaves the table as it is: its element expires. NULL is accepted. */
void gate_free(struct gate *gate);

/* The input of nft: with LEFT_MS above 0 the table with its element, else without the table. */
struct str;
void gate_script(const struct gate_options *options, int64_t left_ms, struct str *out);
