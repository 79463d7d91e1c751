#include "engine/postgres/session.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"

/* Pinned for every session: nobody can put a function of his own before the catalogue's, no lock or
 * statement waits for ever, probes do not fill the server's log, and nothing of ours waits for a
 * synchronous standby, which the fence must allow. */
#define SESSION_SETTINGS \
    "-c search_path=pg_catalog,pg_temp -c lock_timeout=5000 -c log_statement=none " \
    "-c log_min_duration_statement=-1 -c log_duration=off -c synchronous_commit=local " \
    "-c baton_fence.allow_local_commit=on"

enum state {
    CLOSED,
    OPENING,
    IDLE,
    BUSY,
};

struct session {
    struct loop *loop;
    struct loop_poll *poll;
    struct loop_timer *timer; /* deadline, or with `failed` the way of a failure to the loop */
    PGconn *connection;
    PGresult *result;
    enum state state;
    int fd;
    bool has_failed; /* while starting: reported by the timer */
    session_done *done;
    void *arg;
    struct err why;
};

static void on_poll(void *arg, bool readable, bool writable);

static void ignore_notice(void *arg, const PGresult *result)
{
    IGNORE(arg != NULL || result == NULL, "libpq would print it to standard error");
}

static void drop(struct session *session)
{
    loop_timer_stop(session->timer);
    loop_poll_free(session->poll);
    session->poll = NULL;
    session->fd = -1;
    PQclear(session->result);
    session->result = NULL;
    PQfinish(session->connection);
    session->connection = NULL;
    session->state = CLOSED;
    session->has_failed = false;
}

/* One line of libpq's text. */
static void set_why(struct session *session, int code, const char *text)
{
    size_t length = strcspn(text, "\n");

    err_set(&session->why, code, __FILE__, __LINE__, "%.*s", (int)length, text);
}

/* Report the failure in session->why. The session may be gone afterwards. */
static void fail(struct session *session)
{
    session_done *done = session->done;
    void *arg = session->arg;
    struct err why = session->why;

    drop(session);
    session->done = NULL;
    if (done != NULL) {
        done(arg, NULL, &why);
    }
}

static void fail_connection(struct session *session)
{
    set_why(session, ERR_DATABASE, PQerrorMessage(session->connection));
    fail(session);
}

static void on_timer(void *arg)
{
    struct session *session = arg;

    if (!session->has_failed) {
        set_why(session, ERR_TIMEOUT, "the server does not answer in time");
    }
    fail(session);
}

/* Let the loop report the failure, so that no callback comes out of session_open or
 * session_query. */
static void fail_later(struct session *session)
{
    set_why(
        session, ERR_DATABASE,
        session->connection != NULL ? PQerrorMessage(session->connection) : "out of memory");
    session->has_failed = true;
    if (session->poll != NULL) {
        loop_poll_set(session->poll, false, false);
    }
    loop_timer_start(session->timer, 0);
}

struct session *session_new(struct loop *loop)
{
    struct session *session = mem_alloc(sizeof(*session));

    session->loop = loop;
    session->fd = -1;
    session->timer = loop_timer_new(loop, on_timer, session);
    return session;
}

void session_free(struct session *session)
{
    if (session == NULL) {
        return;
    }
    drop(session);
    loop_timer_free(session->timer);
    mem_free(session);
}

void session_close(struct session *session)
{
    drop(session);
    session->done = NULL;
}

bool session_is_closed(const struct session *session)
{
    return session->state == CLOSED;
}

bool session_is_idle(const struct session *session)
{
    return session->state == IDLE;
}

uint32_t session_version(const struct session *session)
{
    int version =
        session->state == IDLE || session->state == BUSY ? PQserverVersion(session->connection) : 0;

    return version > 0 ? (uint32_t)version : 0;
}

/* libpq may have replaced its socket by one of the same number: the poll was paused before, so it
 * is safe to begin anew. */
static void watch(struct session *session, bool want_read, bool want_write)
{
    int fd = PQsocket(session->connection);

    if (session->poll != NULL && fd != session->fd) {
        loop_poll_free(session->poll);
        session->poll = NULL;
    }
    session->fd = fd;
    if (session->poll == NULL) {
        session->poll = loop_poll_new(session->loop, fd, on_poll, session);
    }
    loop_poll_set(session->poll, want_read, want_write);
}

void session_open(
    struct session *session, const struct session_options *options, int64_t timeout_ms,
    session_done *done, void *arg)
{
    char port[16];
    const char *const names[] = {
        "host",
        "port",
        "user",
        "dbname",
        "replication",
        "sslmode",
        "gssencmode",
        "options",
        "client_encoding",
        "application_name",
        "password",
        "target_session_attrs",
        NULL};
    /* A password that is set keeps libpq from reading a passfile. */
    const char *const values[] = {
        options->folder,
        port,
        options->user,
        options->database,
        options->is_replication ? "database" : "false",
        "disable",
        "disable",
        SESSION_SETTINGS,
        "UTF8",
        "baton",
        "-",
        "any",
        NULL};

    ASSERT(session->state == CLOSED);
    ASSERT(options->folder[0] == '/');
    str_format(port, sizeof(port), "%d", options->port);
    session->done = done;
    session->arg = arg;
    session->state = OPENING;
    session->connection = PQconnectStartParams(names, values, 0);
    if (session->connection == NULL || PQstatus(session->connection) == CONNECTION_BAD) {
        fail_later(session);
        return;
    }
    PQsetNoticeReceiver(session->connection, ignore_notice, NULL);
    loop_timer_start(session->timer, timeout_ms);
    watch(session, false, true);
}

void session_query(
    struct session *session, const char *sql, int64_t timeout_ms, session_done *done, void *arg)
{
    ASSERT(session->state == IDLE);
    session->done = done;
    session->arg = arg;
    session->state = BUSY;
    if (PQsendQuery(session->connection, sql) == 0) {
        fail_later(session);
        return;
    }
    loop_timer_start(session->timer, timeout_ms);
    watch(session, true, true);
}

/* ---- events ---- */

static void go_on_opening(struct session *session)
{
    loop_poll_set(session->poll, false, false);
    switch (PQconnectPoll(session->connection)) {
    case PGRES_POLLING_READING:
        watch(session, true, false);
        return;
    case PGRES_POLLING_WRITING:
        watch(session, false, true);
        return;
    case PGRES_POLLING_OK:
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        fail_connection(session);
        return;
    }
    if (PQsetnonblocking(session->connection, 1) != 0) {
        fail_connection(session);
        return;
    }
    loop_timer_stop(session->timer);
    session->state = IDLE;
    watch(session, true, false);
    session->done(session->arg, NULL, NULL);
}

/* Tell the caller what the server said; the session stays open. */
static void finish_query(struct session *session)
{
    PGresult *result = session->result;
    ExecStatusType status = PQresultStatus(result);
    bool is_good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;

    loop_timer_stop(session->timer);
    session->result = NULL;
    session->state = IDLE;
    watch(session, true, false);
    if (is_good) {
        session->done(session->arg, result, NULL);
    } else {
        const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        struct err why = {0};

        err_set(
            &why, ERR_DATABASE, __FILE__, __LINE__, "%s",
            text != NULL ? text : "the server sent no result");
        session->done(session->arg, NULL, &why);
    }
    PQclear(result);
}

static void go_on_reading(struct session *session)
{
    if (PQconsumeInput(session->connection) == 0) {
        fail_connection(session);
        return;
    }
    while (PQisBusy(session->connection) == 0) {
        PGresult *result = PQgetResult(session->connection);

        if (result == NULL) {
            if (PQstatus(session->connection) == CONNECTION_BAD) {
                fail_connection(session);
                return;
            }
            finish_query(session);
            return;
        }
        PQclear(session->result);
        session->result = result;
    }
}

static void on_poll(void *arg, bool readable, bool writable)
{
    struct session *session = arg;

    switch (session->state) {
    case CLOSED:
        return;
    case OPENING:
        go_on_opening(session);
        return;
    case IDLE:
        /* Nothing is expected: a notice, a parameter change, or the end of the connection. */
        if (PQconsumeInput(session->connection) == 0) {
            session->done = NULL;
            fail_connection(session);
        }
        return;
    case BUSY:
        break;
    }
    if (writable) {
        int left = PQflush(session->connection);

        if (left < 0) {
            fail_connection(session);
            return;
        }
        loop_poll_set(session->poll, true, left > 0);
    }
    if (readable) {
        go_on_reading(session);
    }
}
