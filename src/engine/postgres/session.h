/* session.h - one connection to the local server over its Unix socket, without ever blocking the
 * loop.
 *
 * One operation at a time: open, then queries, each with its own deadline (libpq's connect_timeout
 * is not kept by its non-blocking calls). When a deadline passes the connection is closed: there is
 * no way to cancel that does not block. Only a socket folder is ever given as the host, so libpq
 * looks nothing up.
 *
 *   CLOSED --open--> OPENING --ok--> IDLE <--query/result--> BUSY
 *      ^________________|______________|__________________________|   failure, deadline, close
 *
 * A callback may call any function of the session, session_free included. */
#pragma once

#include "io/loop.h"

#include <libpq-fe.h>

struct session;

/* The end of an open (RESULT is NULL on success) or of a query. WHY is NULL on success. An error
 * that the server reports for a query leaves the session open. */
typedef void session_done(void *arg, const PGresult *result, const struct err *why);

struct session_options {
    const char *folder; /* of the socket */
    int port;
    const char *user;
    const char *database;
    bool is_replication; /* replication=database: takes replication commands as well */
};

/* A closed session, never NULL; session_free closes it without a callback and accepts NULL. */
struct session *session_new(struct loop *loop);
void session_free(struct session *session);

/* Connect; the session must be closed. DONE comes from the loop, never before this returns. */
void session_open(
    struct session *session, const struct session_options *options, int64_t timeout_ms,
    session_done *done, void *arg);

/* Send one statement; the session must be idle. */
void session_query(
    struct session *session, const char *sql, int64_t timeout_ms, session_done *done, void *arg);

/* Close without a callback. */
void session_close(struct session *session);

/* The states CLOSED and IDLE of the diagram. */
bool session_is_closed(const struct session *session);
bool session_is_idle(const struct session *session);

/* server_version_num of an open session, else 0. */
uint32_t session_version(const struct session *session);
