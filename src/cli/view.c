#include "cli/view.h"

#include "base/mem.h"
#include "codec/codec.h"
#include "io/process.h"

#include <ctype.h>

#define STATUS_OK 200
#define DEFAULT_PORT 5432
#define MB (INT64_C(1) << 20)
#define RED "\033[31m"
#define PLAIN "\033[0m"
#define MAINTENANCE " Maintenance mode: on\n"
#define FAILSAFE \
    " Failsafe mode: the primary goes on without the store while most agents answer it\n" \
    "     to do: bring the store back; nobody can take over until then\n"

int view_fetch(struct target *target, json_t **ret, struct err *e)
{
    struct client_answer answer = {0};
    AUTO_FREE char *body = NULL;
    int r = target_get(target, "/cluster", &answer, e);

    if (r < 0) {
        return r;
    }
    body = answer.body;
    if (answer.status != STATUS_OK) {
        return FAIL(e, ERR_UNAVAILABLE, "the agent answered with status %d", answer.status);
    }
    return field_parse_object(body, "the answer of the agent", ret, e);
}

static const json_t *members_of(const json_t *cluster)
{
    return json_object_get(cluster, "members");
}

static bool is_leader(const json_t *member)
{
    const char *role = field_peek(member, "role");

    return str_equal(role, "leader") || str_equal(role, "standby_leader");
}

const char *view_leader(const json_t *cluster)
{
    const json_t *member;
    size_t at;

    json_array_foreach (members_of(cluster), at, member) {
        if (is_leader(member)) {
            return field_peek(member, "name");
        }
    }
    return "";
}

struct table_style view_style(void)
{
    bool is_terminal = isatty(STDOUT_FILENO) == 1 && !str_equal(process_env("TERM"), "dumb");
    const char *locale = process_env("LC_ALL");

    if (str_is_empty(locale)) {
        locale = process_env("LC_CTYPE");
    }
    if (str_is_empty(locale)) {
        locale = process_env("LANG");
    }
    return (struct table_style){
        .has_lines = is_terminal && locale != NULL &&
                     (strstr(locale, "UTF-8") != NULL || strstr(locale, "utf8") != NULL),
        .has_colour = is_terminal && str_is_empty(process_env("NO_COLOR")),
    };
}

/* ---- the table ---- */

static const struct table_column columns[] = {
    {"Cluster", NULL, false, false},
    {"Member", "Member", false, false},
    {"Host", "Host", false, false},
    {"Role", "Role", false, false},
    {"State", "State", false, false},
    {"TL", "TL", true, true},
    {"Receive LSN", "Receive LSN", true, false},
    {"Receive Lag", "Lag", true, true},
    {"Replay LSN", "Replay LSN", true, false},
    {"Replay Lag", "Lag", true, true},
};
static const struct table_column pending_column = {
    "Pending restart", "Pending restart", false, false};
static const struct table_column tags_column = {"Tags", "Tags", false, false};

static bool any_has(const json_t *cluster, const char *key)
{
    const json_t *member;
    size_t at;

    json_array_foreach (members_of(cluster), at, member) {
        if (json_object_get(member, key) != NULL) {
            return true;
        }
    }
    return false;
}

/* As patronictl: ports are shown when one is unusual, or two members share a host. */
static bool needs_ports(const json_t *cluster)
{
    const json_t *members = members_of(cluster);
    const json_t *member;
    size_t at;

    json_array_foreach (members, at, member) {
        const json_t *port = json_object_get(member, "port");

        if (port != NULL && json_integer_value(port) != DEFAULT_PORT) {
            return true;
        }
        for (size_t other = 0; other < at; other++) {
            if (str_equal(
                    field_peek(member, "host"),
                    field_peek(json_array_get(members, other), "host"))) {
                return true;
            }
        }
    }
    return false;
}

static void set_host(struct table *table, const json_t *member, bool has_port)
{
    const char *host = field_peek(member, "host");
    const json_t *port = json_object_get(member, "port");
    char text[URL_HOST_SIZE + 16];

    if (host[0] == '\0' || !has_port || port == NULL) {
        table_set(table, "Host", host);
        return;
    }
    url_format_address(host, (int)json_integer_value(port), text, sizeof(text));
    table_set(table, "Host", text);
}

/* "sync_standby" is shown as "Sync Standby". */
static void set_role(struct table *table, const char *role)
{
    char text[64];
    bool is_start = true;

    IGNORE(!str_copy(text, sizeof(text), role), "cut is fine");
    for (char *at = text; *at != '\0'; at++) {
        *at = (char)(*at == '_' ? ' ' : is_start ? toupper((unsigned char)*at) : *at);
        is_start = *at == ' ';
    }
    table_set(table, "Role", text);
}

static void set_number(struct table *table, const char *column, const json_t *value, int64_t unit)
{
    char text[32];

    if (json_is_integer(value)) {
        int64_t number = (json_integer_value(value) + unit / 2) / unit;

        IGNORE(!str_format(text, sizeof(text), "%" PRId64, number), "fits");
        table_set(table, column, text);
    }
}

static void set_position(struct table *table, const json_t *member)
{
    static const struct {
        const char *lsn;
        const char *lag;
        const char *lsn_column;
        const char *lag_column;
    } rows[] = {
        {"receive_lsn", "receive_lag", "Receive LSN", "Receive Lag"},
        {"replay_lsn", "replay_lag", "Replay LSN", "Replay Lag"},
    };

    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        table_set(table, rows[at].lsn_column, field_peek(member, rows[at].lsn));
        set_number(table, rows[at].lag_column, json_object_get(member, rows[at].lag), MB);
    }
}

/* "clonefrom: true, zone: eu". */
static void set_tags(struct table *table, const json_t *member)
{
    json_t *tags = json_object_get(member, "tags");
    struct str text AUTO_STR = STR_INIT(1024);
    const char *key;
    json_t *value;

    json_object_foreach (tags, key, value) {
        AUTO_FREE char *json = field_write_spaced(value);

        str_addf(
            &text, "%s%s: %s", text.length > 0 ? ", " : "", key,
            json_is_string(value) ? json_string_value(value) : json);
    }
    table_set(table, "Tags", str_text(&text));
}

static void fill(struct table *table, const json_t *cluster, bool has_pending, bool has_tags)
{
    bool has_port = needs_ports(cluster);
    const json_t *member;
    size_t at;

    json_array_foreach (members_of(cluster), at, member) {
        table_add_row(table);
        table_set(table, "Cluster", field_peek(cluster, "scope"));
        table_set(table, "Member", field_peek(member, "name"));
        set_host(table, member, has_port);
        set_role(table, field_peek(member, "role"));
        table_set(table, "State", field_peek(member, "state"));
        set_number(table, "TL", json_object_get(member, "timeline"), 1);
        set_position(table, member);
        if (has_pending) {
            table_set(table, "Pending restart", field_flag(member, "pending_restart") ? "*" : "");
        }
        if (has_tags) {
            set_tags(table, member);
        }
    }
}

static void add_clean(struct str *out, const char *text)
{
    table_add_clean(out, text, strlen(text));
}

static void make_title(const json_t *cluster, struct str *out)
{
    const json_t *baton = json_object_get(cluster, "baton");
    const char *system_id = field_peek(baton, "system_id");

    str_add(out, " Cluster: ");
    add_clean(out, field_peek(cluster, "scope"));
    if (system_id[0] != '\0') {
        str_add(out, " (");
        add_clean(out, system_id);
        str_add(out, ") ");
    } else if (baton != NULL) {
        const json_t *initialize = json_object_get(baton, "initialize");

        str_addf(
            out, " (%s) ",
            initialize == NULL         ? "the store was not read yet"
            : json_is_true(initialize) ? "initializing"
                                       : "uninitialized");
    } else {
        str_add(out, " ");
    }
}

/* ---- what is below it ---- */

static void add_schedule(const json_t *cluster, struct str *out)
{
    static const char *const keys[] = {"from", "to"};
    const json_t *schedule = json_object_get(cluster, "scheduled_switchover");

    if (field_flag(cluster, "pause")) {
        str_add(out, MAINTENANCE);
    }
    if (field_flag(json_object_get(cluster, "baton"), "failsafe")) {
        str_add(out, FAILSAFE);
    }
    if (schedule == NULL) {
        return;
    }
    str_add(out, " Switchover scheduled at: ");
    add_clean(out, field_peek(schedule, "at"));
    str_add_char(out, '\n');
    for (size_t at = 0; at < ARRAY_LEN(keys); at++) {
        if (field_peek(schedule, keys[at])[0] != '\0') {
            str_addf(out, "%24s: ", keys[at]);
            add_clean(out, field_peek(schedule, keys[at]));
            str_add_char(out, '\n');
        }
    }
}

/* What a state that does not pass by itself asks of people. */
static const struct {
    const char *state;
    const char *advice;
} advices[] = {
    {"start failed",
     "read the end of the database server's log on that host; the agent keeps trying"},
    {"crashed", "the agent starts it again; if it stays so, read the database server's log"},
    {"initdb failed",
     "read the agent's log on that host; the half-made data directory is kept aside"},
    {"stopped",
     "the agent starts it unless maintenance mode is on; read the agent's log on that host"},
    {"stop failed", "a process of the server hangs: look for processes in state D on that host"},
    {"starting",
     "wait, unless the same is said for long: then read the database server's log on that host"},
    {"in archive recovery",
     "it streams again by itself when the cause is gone; when the primary no longer has what it "
     "needs, the agent copies the data anew"},
    {"unknown",
     "look whether that host, its network and its agent are up; only what it published last is "
     "known here"},
    {"creating replica", "the copy is repeated; read the agent's log on that host"},
};

static const char *advice_for(const char *state)
{
    for (size_t at = 0; at < ARRAY_LEN(advices); at++) {
        if (str_equal(advices[at].state, state)) {
            return advices[at].advice;
        }
    }
    return "read the agent's log on that host";
}

static void add_problem(const json_t *member, struct table_style style, struct str *out)
{
    static const char hint[] = "\nhint: ";
    const char *problem = field_peek(json_object_get(member, "baton"), "problem");
    const char *state = field_peek(member, "state");
    const char *end = strstr(problem, hint);

    if (problem[0] == '\0') {
        return;
    }
    str_addf(out, " %s", style.has_colour ? RED : "");
    add_clean(out, field_peek(member, "name"));
    str_add(out, ": ");
    add_clean(out, state);
    str_add(out, ": ");
    table_add_clean(out, problem, end != NULL ? (size_t)(end - problem) : strlen(problem));
    str_addf(out, "%s\n     to do: ", style.has_colour ? PLAIN : "");
    add_clean(out, end != NULL ? end + strlen(hint) : advice_for(state));
    str_add_char(out, '\n');
}

/* Which servers refuse to commit without the lease: when asked for, or when one is not as it should
 * be. */
static void add_fences(const json_t *cluster, bool is_extended, struct str *out)
{
    const json_t *member;
    size_t at;
    bool is_first = true;

    json_array_foreach (members_of(cluster), at, member) {
        const char *fence = field_peek(json_object_get(member, "baton"), "fence");

        if (fence[0] == '\0' ||
            (!is_extended && !str_equal(fence, fence_state_text(FENCE_MISMATCH)))) {
            continue;
        }
        str_add(out, is_first ? " Fence in the server: " : ", ");
        is_first = false;
        add_clean(out, field_peek(member, "name"));
        str_add_char(out, ' ');
        add_clean(out, fence);
    }
    if (!is_first) {
        str_add_char(out, '\n');
    }
}

/* Whether a leader is listed that does not answer: somebody may be about to take over. */
static bool is_leader_silent(const json_t *cluster)
{
    const json_t *member;
    size_t at;

    json_array_foreach (members_of(cluster), at, member) {
        if (is_leader(member)) {
            return str_equal(field_peek(member, "state"), member_state_text(STATE_UNKNOWN));
        }
    }
    return false;
}

/* Why there is no primary yet, in the words of the node that was asked. */
static void add_decision(const json_t *cluster, struct str *out)
{
    static const char *const topics[] = {"lease", "server"};
    const json_t *baton = json_object_get(cluster, "baton");
    const json_t *decision = json_object_get(baton, "decision");
    const char *problem = field_peek(baton, "dcs_problem");
    const char *leader = view_leader(cluster);

    if (baton == NULL || (leader[0] != '\0' && !is_leader_silent(cluster))) {
        return;
    }
    if (leader[0] != '\0') {
        str_add(out, " The leader ");
        add_clean(out, leader);
        str_add(out, " does not answer");
    } else {
        str_add(out, " There is no leader");
        if (field_peek(baton, "last_holder")[0] != '\0') {
            str_add(out, ", the last one was ");
            add_clean(out, field_peek(baton, "last_holder"));
        }
    }
    str_add(out, ". What ");
    add_clean(out, field_peek(baton, "node"));
    str_add(out, " does about it:\n");
    for (size_t at = 0; at < ARRAY_LEN(topics); at++) {
        const json_t *row = json_object_get(decision, topics[at]);

        if (field_peek(row, "rule")[0] == '\0') {
            continue; /* not that far yet */
        }
        str_addf(out, "     %-7s ", topics[at]);
        add_clean(out, field_peek(row, "text"));
        str_add(out, " (");
        add_clean(out, field_peek(row, "rule"));
        str_add(out, ")\n");
    }
    if (problem[0] != '\0') {
        str_addf(out, "     %-7s ", "store");
        add_clean(out, problem);
        str_add_char(out, '\n');
    }
}

void view_render(
    const json_t *cluster, enum table_format format, bool is_extended, struct table_style style,
    struct str *out)
{
    bool has_pending = is_extended || any_has(cluster, "pending_restart");
    bool has_tags = is_extended || any_has(cluster, "tags");
    struct table table = {.column_count = ARRAY_LEN(columns)};
    struct str title AUTO_STR = STR_INIT(256);
    const json_t *member;
    size_t at;

    for (size_t column = 0; column < ARRAY_LEN(columns); column++) {
        table.columns[column] = columns[column];
    }
    if (has_pending) {
        table.columns[table.column_count++] = pending_column;
    }
    if (has_tags) {
        table.columns[table.column_count++] = tags_column;
    }
    fill(&table, cluster, has_pending, has_tags);
    make_title(cluster, &title);
    table_render(&table, format, str_text(&title), style, out);
    table_fini(&table);
    if (format != TABLE_PRETTY) {
        return;
    }
    add_schedule(cluster, out);
    json_array_foreach (members_of(cluster), at, member) {
        add_problem(member, style, out);
    }
    add_fences(cluster, is_extended, out);
    add_decision(cluster, out);
}
