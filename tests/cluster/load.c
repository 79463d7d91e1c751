/* load.c - the writing workload of demo, cluster tests and bench: one client that inserts rows, and
 * keeps an honest log.
 *
 *   baton-load LOG CONNINFO [CONNINFO ...]     write until SIGTERM; one CONNINFO a server
 *   baton-load --read CONNINFO                 print the ids that a server has, sorted
 *
 * LOG has two lines an attempt, "NS OUTCOME ID HOST", NS on CLOCK_MONOTONIC: "try" before the row
 * is sent, then what came of it:
 *
 *   ok       the server acknowledged the commit
 *
 *   fail     it refused before the commit: the row is certainly not there
 *
 *   unknown  the connection broke, or no answer came in time: it may be there or not
 *
 * and "NS open 0 HOST" when a writable server was found. An id is never used twice, also not for a
 * retry. Every write to a server waits for the last one; a server that does not answer for
 * TIMEOUT_MS, or for as long as the variable BATON_LOAD_PATIENCE_MS says, is left for the next.
 * BATON_LOAD_PAUSE_MS is how long it waits after each row, if that is set.
 *
 * The next is looked for at all servers at once, over one connection to each. A standby lets it in
 * and is asked again over it: a new one for each question would cost the server some 20 to 50 ms
 * of processor time, and the time that is measured is what the servers need for other things. */
#include "base/base.h"

#include <libpq-fe.h>
#include <poll.h>

#define TIMEOUT_MS 1000
#define CONNECT_TIMEOUT_MS 400
#define PAUSE_MS 10 /* after a refusal */
#define ASK_MS 5    /* after "not writable" */
#define SERVERS_MAX 8

static volatile sig_atomic_t is_stopped;
static int patience_ms = TIMEOUT_MS;
static int row_pause_ms;
static FILE *log_file;

static void on_signal(int number)
{
    is_stopped = number;
}

static int64_t now_ns(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void note(const char *outcome, int64_t id, unsigned server)
{
    fprintf(log_file, "%" PRId64 " %s %" PRId64 " %u\n", now_ns(), outcome, id, server);
    fflush(log_file);
}

static void pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* Wait for the socket until DEADLINE_NS; false when it has passed or the program was told to
 * stop. */
static bool wait_socket(PGconn *connection, short events, int64_t deadline_ns)
{
    struct pollfd fd = {.fd = PQsocket(connection), .events = events};
    int64_t left_ms = (deadline_ns - now_ns()) / 1000000;

    if (left_ms <= 0 || is_stopped) {
        return false;
    }
    return poll(&fd, 1, (int)left_ms) > 0;
}

/* Notices, and the last words of a server that is stopped: the outcome of each row tells enough. */
static void ignore_notice(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

/* Send SQL and wait: 1 acknowledged, 0 refused before the commit, -1 unknown. */
static int execute(PGconn *connection, const char *sql)
{
    int64_t deadline_ns = now_ns() + (int64_t)patience_ms * 1000000;
    int outcome = 0;

    if (PQsendQuery(connection, sql) != 1) {
        return -1;
    }
    for (;;) {
        PGresult *result;

        while (PQisBusy(connection)) {
            if (!wait_socket(connection, POLLIN, deadline_ns) || PQconsumeInput(connection) != 1) {
                return -1;
            }
        }
        result = PQgetResult(connection);
        if (result == NULL) {
            return outcome;
        }
        if (PQresultStatus(result) == PGRES_COMMAND_OK ||
            PQresultStatus(result) == PGRES_TUPLES_OK) {
            outcome = 1;
        } else {
            const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

            /* read only; anything else may have come after the commit. */
            outcome = state != NULL && strcmp(state, "25006") == 0 ? 0 : -1;
        }
        PQclear(result);
    }
}

/* ---- looking for a writable server ---- */

enum phase {
    PHASE_CLOSED,     /* connect at AT_NS */
    PHASE_CONNECTING, /* until AT_NS */
    PHASE_ASKING,     /* for an answer until AT_NS */
    PHASE_ASKED,      /* not writable; ask again at AT_NS */
};

struct server {
    const char *conninfo;
    PGconn *connection; /* owned; NULL: closed */
    enum phase phase;
    int64_t at_ns;
    short events; /* what is waited for at the socket */
};

static void close_server(struct server *server)
{
    PQfinish(server->connection);
    server->connection = NULL;
    server->events = 0;
    server->phase = PHASE_CLOSED;
    server->at_ns = now_ns() + (int64_t)PAUSE_MS * 1000000;
}

static bool is_off(const PGconn *connection, const char *parameter)
{
    const char *value = PQparameterStatus(connection, parameter);

    return value != NULL && strcmp(value, "off") == 0;
}

/* It has answered: whether it is writable. PostgreSQL reports both parameters when they change,
 * before it is ready for the next question. */
static bool is_writable(struct server *server)
{
    server->events = 0;
    server->phase = PHASE_ASKED;
    server->at_ns = now_ns() + (int64_t)ASK_MS * 1000000;
    return is_off(server->connection, "in_hot_standby") &&
           is_off(server->connection, "default_transaction_read_only");
}

/* Its time has come, the one to connect or ask again, or the last one for an answer. */
static void on_time(struct server *server, int timeout_ms)
{
    if (server->phase == PHASE_CLOSED) {
        server->connection = PQconnectStart(server->conninfo);
        PQsetNoticeProcessor(server->connection, ignore_notice, NULL);
        server->phase = PHASE_CONNECTING;
        server->events = POLLOUT;
    } else if (server->phase == PHASE_ASKED && PQsendQuery(server->connection, ";") == 1) {
        server->phase = PHASE_ASKING;
        server->events = POLLIN;
    } else {
        close_server(server);
        return;
    }
    server->at_ns = now_ns() + (int64_t)timeout_ms * 1000000;
    if (PQstatus(server->connection) == CONNECTION_BAD) {
        close_server(server);
    }
}

/* Something has happened at its socket. True: a connection to a writable server. */
static bool on_socket(struct server *server)
{
    PGconn *connection = server->connection;

    if (server->phase == PHASE_CONNECTING) {
        PostgresPollingStatusType status = PQconnectPoll(connection);

        if (status == PGRES_POLLING_OK) {
            return is_writable(server);
        }
        if (status == PGRES_POLLING_FAILED) {
            close_server(server);
        } else {
            server->events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        }
        return false;
    }
    if (PQconsumeInput(connection) != 1) {
        close_server(server);
        return false;
    }
    while (!PQisBusy(connection)) {
        PGresult *result = PQgetResult(connection);

        if (result == NULL) {
            return is_writable(server);
        }
        PQclear(result);
    }
    return false;
}

/* Which of SERVERS can be written to: waits until there is one. False: told to stop. */
static bool find_writable(struct server *servers, unsigned count, int timeout_ms, unsigned *which)
{
    while (!is_stopped) {
        struct pollfd fds[SERVERS_MAX];
        int64_t next_ns = INT64_MAX;
        int64_t left_ms;

        for (unsigned number = 0; number < count; number++) {
            struct server *server = &servers[number];

            if (now_ns() >= server->at_ns) {
                on_time(server, timeout_ms);
            }
            next_ns = MIN(next_ns, server->at_ns);
            fds[number] = (struct pollfd){
                .fd = server->events != 0 ? PQsocket(server->connection) : -1,
                .events = server->events};
        }
        left_ms = (next_ns - now_ns() + 999999) / 1000000;
        if (poll(fds, count, (int)MAX(left_ms, 0)) <= 0) {
            continue;
        }
        for (unsigned number = 0; number < count; number++) {
            if (fds[number].revents != 0 && on_socket(&servers[number])) {
                *which = number;
                return true;
            }
        }
    }
    return false;
}

/* A connection to a writable server, or NULL: told to stop. */
static PGconn *find_server(char **conninfos, unsigned count, unsigned *which)
{
    struct server servers[SERVERS_MAX] = {{NULL}};
    PGconn *found = NULL;
    /* With nobody else to ask it is patient: giving up early would only load the server. */
    int timeout_ms = count > 1 ? CONNECT_TIMEOUT_MS : MAX(patience_ms, TIMEOUT_MS);

    for (unsigned number = 0; number < count; number++) {
        servers[number].conninfo = conninfos[number];
    }
    if (find_writable(servers, count, timeout_ms, which)) {
        found = servers[*which].connection;
        servers[*which].connection = NULL;
        PQsetnonblocking(found, 1);
        note("open", 0, *which);
    }
    for (unsigned number = 0; number < count; number++) {
        PQfinish(servers[number].connection);
    }
    return found;
}

static void write_rows(char **conninfos, unsigned count)
{
    PGconn *connection = NULL;
    unsigned server = 0;
    int64_t id = (int64_t)time(NULL) << 30 | (int64_t)(getpid() & 63) << 24;

    while (!is_stopped) {
        char sql[128];
        int outcome;

        if (connection == NULL) {
            connection = find_server(conninfos, count, &server);
            if (connection == NULL) {
                break;
            }
            if (execute(
                    connection, "CREATE TABLE IF NOT EXISTS baton_load (id bigint PRIMARY KEY)") <
                0) {
                PQfinish(connection);
                connection = NULL;
                pause_ms(PAUSE_MS);
                continue;
            }
        }
        id++;
        snprintf(sql, sizeof(sql), "INSERT INTO baton_load VALUES (%" PRId64 ")", id);
        note("try", id, server);
        outcome = execute(connection, sql);
        note(outcome > 0 ? "ok" : (outcome == 0 ? "fail" : "unknown"), id, server);
        if (outcome <= 0) {
            PQfinish(connection);
            connection = NULL;
        } else if (row_pause_ms > 0) {
            pause_ms(row_pause_ms);
        }
    }
    if (connection != NULL) {
        PQfinish(connection);
    }
}

static int read_rows(const char *conninfo)
{
    PGconn *connection = PQconnectdb(conninfo);
    PGresult *result = PQexec(connection, "SELECT id FROM baton_load ORDER BY id");
    int status = 0;

    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fprintf(stderr, "baton-load: %s", PQerrorMessage(connection));
        status = 1;
    }
    for (int row = 0; row < PQntuples(result); row++) {
        puts(PQgetvalue(result, row, 0));
    }
    PQclear(result);
    PQfinish(connection);
    return status;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    const char *patience = getenv("BATON_LOAD_PATIENCE_MS");
    const char *row_pause = getenv("BATON_LOAD_PAUSE_MS");

    if (argc == 3 && strcmp(argv[1], "--read") == 0) {
        return read_rows(argv[2]);
    }
    if (argc < 3 || argc - 2 > SERVERS_MAX) {
        fprintf(stderr, "usage: baton-load LOG CONNINFO [CONNINFO ...] | --read CONNINFO\n");
        return 2;
    }
    log_file = fopen(argv[1], "a");
    if (log_file == NULL) {
        fprintf(stderr, "baton-load: cannot open %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    if (patience != NULL) {
        patience_ms = (int)strtol(patience, NULL, 10);
    }
    if (row_pause != NULL) {
        row_pause_ms = (int)strtol(row_pause, NULL, 10);
    }
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    write_rows(argv + 2, (unsigned)(argc - 2));
    fclose(log_file);
    return 0;
}
