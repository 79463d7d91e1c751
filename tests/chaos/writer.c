/* writer.c - the clients of the fault tests: each writes to one server after another, and keeps a
 * history that a checker can believe.
 *
 *   baton-writer KIND LOG NUMBER PAUSE_MS NAME=CONNINFO [NAME=CONNINFO ...]
 *
 * With one server the client stays with it, writable or not; with several it looks for one that
 * takes writes. KIND:
 *
 *   rows    rows of their own, one transaction each, as durable as the server makes them
 *   probe   the same into another table, durable here alone: shows which servers can write
 *   loose   the same with synchronous_commit off: nothing is promised about them
 *   lists   transactions of one to four reads and appends of a few lists, repeatable read
 *
 * The log has two lines an attempt, on CLOCK_MONOTONIC_RAW, which no fault moves:
 *
 *   NS try ID SERVER [OP ...]             before anything is sent
 *   NS ok ID SERVER TERM LSN              the commit was acknowledged, without a warning; lists:
 *   NS ok ID SERVER TERM LIST[;LIST ...]  what each read gave, "-" when there was no list
 *   NS fail ID SERVER STATE               refused before the commit: it is certainly not there
 *   NS unknown ID SERVER WHY              anything else: it may be there or not
 *
 * ID is NUMBER << 40 plus a counter, never used twice. OP is r:KEY or a:KEY:VALUE; the value is the
 * ID, so that a list tells who has appended. TERM is the timeline, in hexadecimal, read in the same
 * transaction; LSN is behind the row and before its commit. */
#include "base/base.h"

#include <libpq-fe.h>
#include <poll.h>

#define TIMEOUT_MS 2000
#define CONNECT_TIMEOUT_MS 600
#define SERVERS_MAX 8
#define OPS_MAX 4
#define TEXT_MAX 32768
#define TERM "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"

struct kind {
    const char *name;
    const char *table;   /* NULL: lists */
    const char *setting; /* NULL, or what synchronous_commit is set to */
};

static const struct kind kinds[] = {
    {.name = "rows", .table = "chaos_rows", .setting = NULL},
    {.name = "probe", .table = "chaos_probe", .setting = "local"},
    {.name = "loose", .table = "chaos_loose", .setting = "off"},
    {.name = "lists", .table = NULL, .setting = NULL},
};

struct server {
    char *name;
    char *conninfo;
};

struct client {
    const struct kind *kind;
    FILE *log;
    struct server servers[SERVERS_MAX];
    size_t count;
    size_t at;
    int64_t id; /* of the last attempt */
    int pause_ms;
    PGconn *connection; /* NULL: none */
};

/* What came back for one attempt. */
struct answer {
    const char *outcome;
    char why[64];
    char text[TEXT_MAX];
    size_t length;
    bool is_warned;
    bool is_first; /* no value yet */
};

static volatile sig_atomic_t is_stopped;

static void on_signal(int number)
{
    is_stopped = number;
}

static int64_t now_ns(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC_RAW, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void note(struct client *c, const char *kind, const char *rest)
{
    fprintf(
        c->log, "%" PRId64 " %s %" PRId64 " %s%s%s\n", now_ns(), kind, c->id,
        c->servers[c->at].name, rest[0] != '\0' ? " " : "", rest);
    fflush(c->log);
}

/* Wait for the socket until DEADLINE_NS; false when it has passed or the program is to stop. */
static bool wait_socket(PGconn *connection, short events, int64_t deadline_ns)
{
    struct pollfd fd = {.fd = PQsocket(connection), .events = events};
    int64_t left_ms = (deadline_ns - now_ns()) / 1000000;

    return left_ms > 0 && !is_stopped && poll(&fd, 1, (int)left_ms) > 0;
}

/* A warning means that the acknowledgement is not the usual one: a wait was given up. */
static void on_notice(void *arg, const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    struct answer *answer = arg;

    if (severity == NULL || strcmp(severity, "WARNING") == 0) {
        answer->is_warned = true;
    }
}

static void add_text(struct answer *answer, const char *text)
{
    int length = snprintf(
        answer->text + answer->length, sizeof(answer->text) - answer->length, "%s%s",
        answer->is_first ? "" : " ", text);

    answer->is_first = false;
    if (length < 0 || (size_t)length >= sizeof(answer->text) - answer->length) {
        answer->is_warned = true; /* cut: what was read is not known */
        return;
    }
    answer->length += (size_t)length;
}

static void fail(struct answer *answer, const char *outcome, const char *why)
{
    if (answer->outcome == NULL) {
        answer->outcome = outcome;
        snprintf(answer->why, sizeof(answer->why), "%s", why);
    }
}

/* One result of several; the first error decides. These states are said before the commit, and undo
 * what came before them. */
static void take_result(struct answer *answer, const PGresult *result)
{
    static const char *const refused[] = {"25006", "53300", "40001", "40P01"};
    ExecStatusType status = PQresultStatus(result);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (status == PGRES_TUPLES_OK) {
        for (int column = 0; column < PQnfields(result); column++) {
            add_text(answer, PQntuples(result) == 1 ? PQgetvalue(result, 0, column) : "-");
        }
    } else if (status != PGRES_COMMAND_OK) {
        const char *outcome = "unknown";

        for (size_t i = 0; state != NULL && i < ARRAY_LEN(refused); i++) {
            if (strcmp(state, refused[i]) == 0) {
                outcome = "fail";
            }
        }
        fail(answer, outcome, state != NULL ? state : "broken");
    }
}

/* Send SQL and collect what comes back. */
static void execute(struct client *c, const char *sql, struct answer *answer)
{
    int64_t deadline_ns = now_ns() + (int64_t)TIMEOUT_MS * 1000000;
    bool is_committed = false;

    *answer = (struct answer){.is_first = true};
    PQsetNoticeReceiver(c->connection, on_notice, answer);
    if (PQsendQuery(c->connection, sql) != 1) {
        fail(answer, "unknown", "send");
        return;
    }
    for (;;) {
        PGresult *result;

        while (PQisBusy(c->connection)) {
            if (!wait_socket(c->connection, POLLIN, deadline_ns)) {
                fail(answer, "unknown", "timeout");
                return;
            }
            if (PQconsumeInput(c->connection) != 1) {
                fail(answer, "unknown", "broken");
                return;
            }
        }
        result = PQgetResult(c->connection);
        if (result == NULL) {
            break;
        }
        take_result(answer, result);
        is_committed = strcmp(PQcmdStatus(result), "COMMIT") == 0 ||
                       strncmp(PQcmdStatus(result), "INSERT", 6) == 0 ||
                       strcmp(PQcmdStatus(result), "SET") == 0;
        PQclear(result);
    }
    if (!is_committed || PQtransactionStatus(c->connection) != PQTRANS_IDLE) {
        fail(answer, "unknown", "open");
    } else if (answer->is_warned) {
        fail(answer, "unknown", "warning");
    } else {
        fail(answer, "ok", "");
    }
}

static void disconnect(struct client *c)
{
    PQfinish(c->connection);
    c->connection = NULL;
}

/* Connect to the server at hand; with several servers, one that takes no writes is not taken. */
static bool connect_server(struct client *c)
{
    static struct answer answer;
    int64_t deadline_ns = now_ns() + (int64_t)CONNECT_TIMEOUT_MS * 1000000;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    char text[512];

    snprintf(
        text, sizeof(text), "%s target_session_attrs=%s", c->servers[c->at].conninfo,
        c->count > 1 ? "read-write" : "any");
    c->connection = PQconnectStart(text);
    PQsetNoticeReceiver(c->connection, on_notice, &answer);
    while (PQstatus(c->connection) != CONNECTION_BAD && status != PGRES_POLLING_OK &&
           status != PGRES_POLLING_FAILED) {
        if (!wait_socket(
                c->connection, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ns)) {
            break;
        }
        status = PQconnectPoll(c->connection);
    }
    if (PQstatus(c->connection) != CONNECTION_OK || status != PGRES_POLLING_OK) {
        disconnect(c);
        return false;
    }
    PQsetnonblocking(c->connection, 1);
    if (c->kind->setting == NULL) {
        return true;
    }
    /* The fence lets nobody commit for itself who has not said that this is meant. */
    snprintf(
        text, sizeof(text), "SET baton_fence.allow_local_commit = on; SET synchronous_commit = %s",
        c->kind->setting);
    execute(c, text, &answer);
    if (strcmp(answer.outcome, "ok") != 0) {
        disconnect(c);
        return false;
    }
    return true;
}

static void make_row(const struct client *c, char *sql, size_t size)
{
    snprintf(
        sql, size,
        "INSERT INTO %s (id, term) VALUES (%" PRId64 ", " TERM ")"
        " RETURNING term, pg_current_wal_insert_lsn()",
        c->kind->table, c->id);
}

/* Keys change every ten seconds, so that lists stay short; they ascend, so that clients do not wait
 * for each other in a circle. */
static void make_lists(const struct client *c, char *sql, size_t size, char *ops, size_t ops_size)
{
    int64_t key = now_ns() / 10000000000 * 8 + random() % 4;
    int count = 1 + (int)(random() % OPS_MAX);
    size_t length = 0;
    size_t ops_length = 0;

    length +=
        (size_t)snprintf(sql, size, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT " TERM ";");
    for (int i = 0; i < count && length < size && ops_length < ops_size; i++) {
        key += random() % 2;
        if (random() % 2 == 0) {
            length += (size_t)snprintf(
                sql + length, size - length,
                "SELECT array_to_string(v, ',') FROM chaos_lists WHERE k = %" PRId64 ";", key);
            ops_length += (size_t)snprintf(
                ops + ops_length, ops_size - ops_length, "%sr:%" PRId64, i > 0 ? " " : "", key);
        } else {
            length += (size_t)snprintf(
                sql + length, size - length,
                "INSERT INTO chaos_lists VALUES (%" PRId64 ", ARRAY[%" PRId64 "]) "
                "ON CONFLICT (k) DO UPDATE SET v = chaos_lists.v || EXCLUDED.v;",
                key, c->id);
            ops_length += (size_t)snprintf(
                ops + ops_length, ops_size - ops_length, "%sa:%" PRId64 ":%" PRId64,
                i > 0 ? " " : "", key, c->id);
        }
    }
    snprintf(sql + length, size - length, "COMMIT");
}

static void attempt(struct client *c)
{
    static struct answer answer;
    char sql[2048];
    char ops[256] = "";

    c->id++;
    if (c->kind->table != NULL) {
        make_row(c, sql, sizeof(sql));
    } else {
        make_lists(c, sql, sizeof(sql), ops, sizeof(ops));
    }
    note(c, "try", ops);
    execute(c, sql, &answer);
    note(c, answer.outcome, strcmp(answer.outcome, "ok") == 0 ? answer.text : answer.why);
    if (strcmp(answer.outcome, "ok") != 0 && (c->count > 1 || strcmp(answer.why, "25006") != 0)) {
        disconnect(c);
    }
}

static void run(struct client *c)
{
    while (!is_stopped) {
        if (c->connection == NULL && !connect_server(c)) {
            c->at = (c->at + 1) % c->count;
        } else {
            attempt(c);
        }
        poll(NULL, 0, c->pause_ms);
    }
    if (c->connection != NULL) {
        disconnect(c);
    }
}

static int usage(void)
{
    fprintf(
        stderr, "usage: baton-writer rows|probe|loose|lists LOG NUMBER PAUSE_MS"
                " NAME=CONNINFO [NAME=CONNINFO ...]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    static struct client c;

    if (argc < 6 || argc - 5 > SERVERS_MAX) {
        return usage();
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, argv[1]) == 0) {
            c.kind = &kinds[i];
        }
    }
    for (int i = 5; i < argc; i++) {
        char *equals = strchr(argv[i], '=');

        if (equals == NULL) {
            return usage();
        }
        *equals = '\0';
        c.servers[c.count++] = (struct server){.name = argv[i], .conninfo = equals + 1};
    }
    c.log = fopen(argv[2], "a");
    if (c.kind == NULL || c.log == NULL) {
        return usage();
    }
    c.id = (int64_t)(strtoll(argv[3], NULL, 10) << 40);
    c.pause_ms = (int)strtol(argv[4], NULL, 10);
    srandom((unsigned)strtol(argv[3], NULL, 10));
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    run(&c);
    return fclose(c.log) == 0 ? 0 : 1;
}
