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
 * TIMEOUT_MS, or for as long as the variable BATON_LOAD_PATIENCE_MS says, is left for the next. */
#include "base/base.h"

#include <libpq-fe.h>
#include <poll.h>

#define TIMEOUT_MS 1000
#define CONNECT_TIMEOUT_MS 400
#define PAUSE_MS 10 /* a connection that is let in costs some milliseconds of processor time */
#define SERVERS_MAX 8

static volatile sig_atomic_t is_stopped;
static int patience_ms = TIMEOUT_MS;
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

/* A connection to a writable server, or NULL. */
static PGconn *connect_writable(const char *conninfo, int timeout_ms)
{
    int64_t deadline_ns = now_ns() + (int64_t)timeout_ms * 1000000;
    PGconn *connection = PQconnectStart(conninfo);
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    const char *standby;
    const char *read_only;

    PQsetNoticeProcessor(connection, ignore_notice, NULL);
    while (PQstatus(connection) != CONNECTION_BAD && status != PGRES_POLLING_OK) {
        if (!wait_socket(
                connection, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ns)) {
            break;
        }
        status = PQconnectPoll(connection);
        if (status == PGRES_POLLING_FAILED) {
            break;
        }
    }
    standby = PQparameterStatus(connection, "in_hot_standby");
    read_only = PQparameterStatus(connection, "default_transaction_read_only");
    if (status == PGRES_POLLING_OK && standby != NULL && strcmp(standby, "off") == 0 &&
        read_only != NULL && strcmp(read_only, "off") == 0) {
        PQsetnonblocking(connection, 1);
        return connection;
    }
    PQfinish(connection);
    return NULL;
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

static PGconn *find_server(char **conninfos, unsigned count, unsigned *server)
{
    for (unsigned tries = 0; tries < count && !is_stopped; tries++) {
        /* With nobody else to ask it is patient: giving up early would only load the server. */
        PGconn *connection = connect_writable(
            conninfos[*server], count > 1 ? CONNECT_TIMEOUT_MS : MAX(patience_ms, TIMEOUT_MS));

        if (connection != NULL) {
            note("open", 0, *server);
            return connection;
        }
        *server = (*server + 1) % count;
    }
    return NULL;
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
                pause_ms(PAUSE_MS);
                continue;
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
            server = (server + 1) % count;
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
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    write_rows(argv + 2, (unsigned)(argc - 2));
    fclose(log_file);
    return 0;
}
