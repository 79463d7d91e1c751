/* ping.h - whether a PostgreSQL server answers on a TCP port.
 *
 * It is asked whether it speaks TLS (SSLRequest, 8 bytes), which each server answers with one byte
 * before it knows anybody. A kernel that accepts connections for a process that is stopped answers
 * nothing. No name is looked up on the loop; while the resolver owes two answers to pings that have
 * ended, a host that is a name is not alive. */
#pragma once

#include "io/loop.h"

struct ping;

/* DONE comes from the loop, once, TIMEOUT_MS from now at the latest, never before this returns; the
 * ping is gone then. A host that makes no sense is not alive. */
struct ping *ping_start(
    struct loop *loop, const char *host, int port, int64_t timeout_ms,
    void (*done)(void *arg, bool is_alive), void *arg);

/* Give up; DONE does not come any more. NULL is accepted. */
void ping_free(struct ping *ping);
