#include "base/mem.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "codec/codec.h"

#include <stdio.h>

#define STATUS_OK 200
#define STATUS_UNAVAILABLE 503
#define ASK_TIMEOUT_MS 1500
#define CHANGE_TIMEOUT_MS 30000
#define AGENTS_MAX (MEMBERS_MAX + HOSTS_MAX + 1)
#define DOES_NOT_ANSWER "does not answer"
#define SENTENCE_MAX 1024

/* The store as etcd and as the agents see it. */
struct survey {
    json_t *cluster; /* GET /cluster */
    json_t *store;   /* GET /baton/store/members, or NULL and `problem` */
    struct str problem;
    unsigned agent_count;
    struct address addresses[AGENTS_MAX];
    json_t *agents[AGENTS_MAX]; /* GET /baton/store of each; NULL: it did not answer */
};

/* ---- asking ---- */

static bool is_same(const struct address *a, const struct address *b)
{
    return a->port == b->port && str_equal(a->host, b->host);
}

static void add_agent(struct survey *survey, const struct address *address)
{
    for (unsigned at = 0; at < survey->agent_count; at++) {
        if (is_same(&survey->addresses[at], address)) {
            return;
        }
    }
    if (survey->agent_count < AGENTS_MAX) {
        survey->addresses[survey->agent_count++] = *address;
    }
}

/* Agents of members of the cluster, and those of the configuration. */
static void find_agents(const struct target *target, struct survey *survey)
{
    const json_t *member;
    size_t at;

    json_array_foreach (json_object_get(survey->cluster, "members"), at, member) {
        struct url_parts parts = {0};
        struct address address = {0};

        if (url_parse(field_peek(member, "api_url"), &parts, NULL) == 0 && parts.port != 0 &&
            str_copy(address.host, sizeof(address.host), parts.host)) {
            address.port = parts.port;
            add_agent(survey, &address);
        }
    }
    for (unsigned listed = 0; listed < target->address_count; listed++) {
        add_agent(survey, &target->addresses[listed]);
    }
}

static void ask_agents(const struct target *target, struct survey *survey)
{
    for (unsigned at = 0; at < survey->agent_count; at++) {
        struct client_request request = {
            .address = survey->addresses[at],
            .method = "GET",
            .path = "/baton/store",
            .timeout_ms = ASK_TIMEOUT_MS};
        struct client_answer answer = {0};

        if (target_call(target, &request, &answer, NULL) == 0 && answer.status == STATUS_OK) {
            IGNORE(
                field_parse_object(answer.body, "the answer", &survey->agents[at], NULL),
                "then it has not answered");
        }
        mem_free(answer.body);
    }
}

static void survey_close(struct survey *survey)
{
    json_decref(survey->cluster);
    json_decref(survey->store);
    str_fini(&survey->problem);
    for (unsigned at = 0; at < survey->agent_count; at++) {
        json_decref(survey->agents[at]);
    }
}

static int survey_open(struct target *target, struct survey *ret, struct err *e)
{
    AUTO_FREE char *body = NULL;
    struct client_answer answer = {0};
    int r = view_fetch(target, &ret->cluster, e);

    if (r == 0) {
        r = target_get(target, "/baton/store/members", &answer, e);
    }
    if (r < 0) {
        return r;
    }
    body = answer.body;
    if (answer.status == STATUS_OK) {
        r = field_parse_object(body, "the answer of the agent", &ret->store, e);
    } else if (answer.status == STATUS_UNAVAILABLE) {
        str_add(&ret->problem, body);
    } else {
        return FAIL(e, ERR_NOT_FOUND, "%s", body);
    }
    if (r == 0) {
        find_agents(target, ret);
        ask_agents(target, ret);
    }
    return r;
}

static const json_t *find_member(const struct survey *survey, const char *name)
{
    const json_t *member;
    size_t at;

    json_array_foreach (json_object_get(survey->store, "members"), at, member) {
        if (str_equal(field_peek(member, "name"), name)) {
            return member;
        }
    }
    return NULL;
}

/* The agent called NAME whose member has PEER_URL (NULL: any); AGENTS_MAX: none answers. */
static unsigned find_agent(const struct survey *survey, const char *name, const char *peer_url)
{
    for (unsigned at = 0; at < survey->agent_count; at++) {
        const json_t *agent = survey->agents[at];

        if (agent != NULL && str_equal(field_peek(agent, "name"), name) &&
            (peer_url == NULL || str_equal(field_peek(agent, "peer_url"), peer_url))) {
            return at;
        }
    }
    return AGENTS_MAX;
}

/* ---- list ---- */

static const struct table_column columns[] = {
    {"Member", "Member", false, false}, {"Client", "Client", false, false},
    {"Peer", "Peer", false, false},     {"State", "State", false, false},
    {"Agent", "Agent", false, false},
};

static void set_url(struct table *table, const char *column, const char *url)
{
    struct url_parts parts = {0};
    char text[URL_HOST_SIZE + 16];

    if (url_parse(url, &parts, NULL) == 0 && parts.host[0] != '\0') {
        url_format_address(parts.host, parts.port, text, sizeof(text));
        table_set(table, column, text);
    }
}

/* The first sentence of what an agent says; the rest is a hint. */
static void add_sentence(struct str *out, const json_t *agent)
{
    const char *status = field_peek(agent, "status");

    table_add_clean(out, status, strcspn(status, "\n"));
}

static void add_row(
    struct table *table, const json_t *source, const char *state, const json_t *agent)
{
    struct str words AUTO_STR = STR_INIT(SENTENCE_MAX);

    table_add_row(table);
    table_set(table, "Member", field_peek(source, "name"));
    set_url(table, "Client", field_peek(source, "client_url"));
    set_url(table, "Peer", field_peek(source, "peer_url"));
    table_set(table, "State", state);
    if (agent != NULL) {
        add_sentence(&words, agent);
    } else {
        str_add(&words, DOES_NOT_ANSWER);
    }
    table_set(table, "Agent", str_text(&words));
}

/* Whether AGENT runs a member that etcd lists. */
static bool is_listed(const struct survey *survey, const json_t *agent)
{
    const json_t *member;
    size_t at;

    json_array_foreach (json_object_get(survey->store, "members"), at, member) {
        if (str_equal(field_peek(member, "peer_url"), field_peek(agent, "peer_url"))) {
            return true;
        }
    }
    return false;
}

static void fill(struct table *table, const struct survey *survey)
{
    const json_t *member;
    size_t row;

    json_array_foreach (json_object_get(survey->store, "members"), row, member) {
        unsigned at = find_agent(survey, field_peek(member, "name"), field_peek(member, "peer_url"));

        add_row(
            table, member, field_peek(member, "state"), at < AGENTS_MAX ? survey->agents[at] : NULL);
    }
    for (unsigned at = 0; at < survey->agent_count; at++) {
        const json_t *agent = survey->agents[at];

        if (agent != NULL && !is_listed(survey, agent)) {
            const char *state = field_peek(agent, "state");

            add_row(table, agent, str_equal(state, "member") ? DOES_NOT_ANSWER : state, agent);
        }
    }
}

static void add_advice(struct str *out, const char *name, const char *what, const char *advice)
{
    str_add_char(out, ' ');
    table_add_clean(out, name, strlen(name));
    str_addf(out, ": %s\n     to do: ", what);
    table_add_clean(out, advice, strlen(advice));
    str_add_char(out, '\n');
}

/* Below the table: who needs somebody to do something. */
static void add_hints(const struct survey *survey, struct str *out)
{
    static const char hint[] = "\nhint: ";
    const json_t *member;
    size_t row;

    json_array_foreach (json_object_get(survey->store, "members"), row, member) {
        const char *name = field_peek(member, "name");

        if (str_equal(field_peek(member, "state"), DOES_NOT_ANSWER) &&
            find_agent(survey, name, field_peek(member, "peer_url")) == AGENTS_MAX) {
            char advice[256];

            IGNORE(
                !str_format(
                    advice, sizeof(advice),
                    "start its host; if it is gone for good: baton store remove %s", name),
                "cut is fine");
            add_advice(out, name, "neither the member nor its agent answers", advice);
        }
    }
    for (unsigned at = 0; at < survey->agent_count; at++) {
        const json_t *agent = survey->agents[at];
        const char *advice = agent != NULL ? strstr(field_peek(agent, "status"), hint) : NULL;
        struct str words AUTO_STR = STR_INIT(SENTENCE_MAX);

        if (advice != NULL) {
            add_sentence(&words, agent);
            add_advice(out, field_peek(agent, "name"), str_text(&words), advice + strlen(hint));
        }
    }
}

static int list(const struct cli_args *args, struct target *target, struct survey *survey)
{
    const char *format_name = cli_value(args, "format");
    enum table_format format = TABLE_PRETTY;
    struct table table = {.column_count = ARRAY_LEN(columns)};
    struct str title AUTO_STR = STR_INIT(256);
    struct str text AUTO_STR = STR_INIT(VIEW_TEXT_MAX);
    const char *id = field_peek(survey->store, "cluster_id");

    (void)target;
    if (format_name != NULL && !table_format_parse(format_name, &format)) {
        struct err e = {0};

        e.code = FAIL(
            &e, ERR_INVALID, "'%.64s' is none of pretty, json, yaml and tsv", format_name);
        return cli_fail(args, &e);
    }
    for (size_t column = 0; column < ARRAY_LEN(columns); column++) {
        table.columns[column] = columns[column];
    }
    fill(&table, survey);
    str_add(&title, " Store of cluster: ");
    table_add_clean(
        &title, field_peek(survey->cluster, "scope"), strlen(field_peek(survey->cluster, "scope")));
    str_addf(&title, id[0] != '\0' ? " (%.20s) " : " %s", id);
    table_render(&table, format, str_text(&title), view_style(), &text);
    table_fini(&table);
    if (format == TABLE_PRETTY) {
        add_hints(survey, &text);
    }
    fputs(str_text(&text), stdout);
    if (survey->store == NULL) {
        fprintf(stderr, "baton store: %s\n", str_text(&survey->problem));
        return CLI_FAILED;
    }
    return CLI_DONE;
}

/* ---- changes ---- */

/* Print what came of a change. */
static int tell(
    const struct cli_args *args, const char *name, int result, struct client_answer *answer,
    const struct err *e)
{
    AUTO_FREE char *body = answer->body;

    if (result < 0) {
        return cli_fail(args, e);
    }
    if (answer->status != STATUS_OK) {
        fprintf(stderr, "baton store: %s\n", body);
        return CLI_FAILED;
    }
    printf("%s: %s\n", name, body);
    return CLI_DONE;
}

static int post(
    const struct target *target, const struct address *address, const char *path, const char *body,
    struct client_answer *ret, struct err *e)
{
    struct client_request request = {
        .address = *address,
        .method = "POST",
        .path = path,
        .body = body,
        .timeout_ms = CHANGE_TIMEOUT_MS};

    return target_call(target, &request, ret, e);
}

static int fail_unknown(const struct cli_args *args, struct survey *survey, const char *name)
{
    struct str names AUTO_STR = STR_INIT(SENTENCE_MAX);
    struct err e = {0};
    const json_t *member;
    size_t at;

    if (survey->store == NULL) {
        fprintf(stderr, "baton store: %s\n", str_text(&survey->problem));
        return CLI_FAILED;
    }
    json_array_foreach (json_object_get(survey->store, "members"), at, member) {
        const char *one = field_peek(member, "name");

        str_add(&names, at > 0 ? ", " : "");
        table_add_clean(&names, one, strlen(one));
    }
    e.code = FAIL(
        &e, ERR_NOT_FOUND, "the store has no member '%.64s'; its members are %s", name,
        str_text(&names));
    return cli_fail(args, &e);
}

/* The agent of the member leaves; without an agent, another one takes the member out. */
static int take_out(const struct cli_args *args, struct target *target, struct survey *survey)
{
    const char *name = cli_argument(args, 1);
    const json_t *member = find_member(survey, name);
    struct client_answer answer = {0};
    struct err e = {0};
    unsigned at;
    int r;

    if (member == NULL) {
        return fail_unknown(args, survey, name);
    }
    at = find_agent(survey, name, field_peek(member, "peer_url"));
    if (at < AGENTS_MAX) {
        r = post(target, &survey->addresses[at], "/baton/store/leave", "{}", &answer, &e);
    } else {
        json_auto_t *body = json_object();
        AUTO_FREE char *text = NULL;

        field_set_text(body, "member", name);
        text = field_write_compact(body);
        r = post(
            target, &target->addresses[target->address], "/baton/store/remove", text, &answer, &e);
    }
    return tell(args, name, r, &answer, &e);
}

static int bring_back(const struct cli_args *args, struct target *target, struct survey *survey)
{
    const char *name = cli_argument(args, 1);
    unsigned at = find_agent(survey, name, NULL);
    struct client_answer answer = {0};
    struct err e = {0};
    int r;

    if (at == AGENTS_MAX) {
        e.code = FAIL(
            &e, ERR_UNAVAILABLE,
            "no agent called '%.64s' answers\nhint: start it; a node that was never taken out joins "
            "by itself",
            name);
        return cli_fail(args, &e);
    }
    r = post(target, &survey->addresses[at], "/baton/store/join", "{}", &answer, &e);
    return tell(args, name, r, &answer, &e);
}

/* ---- the command ---- */

static const struct action {
    const char *word;
    unsigned names; /* that follow */
    int (*run)(const struct cli_args *args, struct target *target, struct survey *survey);
} actions[] = {
    {"list", 0, list},
    {"remove", 1, take_out},
    {"join", 1, bring_back},
};

static const struct action *find_action(const struct cli_args *args, struct err *e)
{
    const char *word = cli_argument(args, 0) != NULL ? cli_argument(args, 0) : "list";

    for (size_t at = 0; at < ARRAY_LEN(actions); at++) {
        const char *name = cli_argument(args, 1);

        if (!str_equal(actions[at].word, word)) {
            continue;
        }
        if (actions[at].names == 0 && name != NULL) {
            e->code = FAIL(e, ERR_INVALID, "'%.64s' is one argument too many", name);
            return NULL;
        }
        if (actions[at].names == 1 && str_is_empty(name)) {
            e->code = FAIL(e, ERR_INVALID, "missing: the NAME of a member");
            return NULL;
        }
        return &actions[at];
    }
    e->code = FAIL(e, ERR_INVALID, "'%.64s' is none of list, remove and join", word);
    return NULL;
}

static int run(const struct cli_args *args)
{
    AUTO_FREE struct survey *survey = mem_alloc(sizeof(*survey));
    struct target target = {0};
    struct err e = {0};
    const struct action *action = find_action(args, &e);
    int code;
    int r;

    if (action == NULL) {
        return cli_fail(args, &e);
    }
    survey->problem = (struct str)STR_INIT(SENTENCE_MAX);
    r = target_open(args, &target, &e);
    if (r == 0) {
        r = survey_open(&target, survey, &e);
    }
    code = r < 0 ? cli_fail(args, &e) : action->run(args, &target, survey);
    survey_close(survey);
    target_close(&target);
    return code;
}

static const struct cli_option options[] = {
    CLI_CONFIG_OPTIONS,
    {"format", 'f', "FORMAT", "of the list: pretty (default), json, yaml or tsv"},
    {0},
};

const struct cli_verb verb_store = {
    .name = "store",
    .usage = "[list | remove NAME | join NAME]",
    .help =
        "Show or change the members of the store that the agents run themselves (etcd).\n\n"
        "list          the members: addresses, state (leader, voter, learner, does not answer) and "
        "what the agent\n"
        "              of each says; agents that are not in the store come last\n"
        "remove NAME   take a member out for good. Its agent does it, and its data is renamed aside; "
        "if its host is\n"
        "              dead, another member does it. The node stays out when its agent starts again "
        "and uses the\n"
        "              other members. Refused for the last member, and when the others would be too "
        "few to go on\n"
        "join NAME     let a node that was taken out join again\n\n"
        "A new node joins by itself: list the agents of the others and its own in its peers, and "
        "start it.\n\n" CLI_CONFIG_HELP,
    .options = options,
    .arguments_max = 2,
    .run = run,
};
