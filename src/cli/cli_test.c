#include "cli/cli.h"

#include "base/str.h"
#include "cli/handover.h"
#include "cli/table.h"
#include "cli/view.h"
#include "codec/codec.h"

#include <setjmp.h>

#include <cmocka.h>

#define TEXT_MAX 65536

/* ---- the command line ---- */

static int run_nothing(const struct cli_args *args)
{
    return cli_value(args, "flag") != NULL ? CLI_FAILED : CLI_DONE;
}

static const struct cli_option options[] = {
    {"config", 'c', "FILE", "a file"},
    {"flag", 'f', NULL, "a flag"},
    {"extended", 'e', NULL, "another"},
    {0},
};

static const struct cli_verb verb = {
    .name = "try",
    .usage = "FILE [MORE]",
    .help = "Try it.",
    .options = options,
    .arguments_min = 1,
    .arguments_max = 2,
    .run = run_nothing,
};

static void test_parse(void **state)
{
    static const struct {
        const char *words[6];
        const char *config;
        bool has_flag;
        bool has_extended;
        const char *first;
        const char *second;
        const char *why; /* set: it is refused with this in the sentence */
    } rows[] = {
        {{"a"}, NULL, false, false, "a", NULL, NULL},
        {{"-c", "x", "a", "b"}, "x", false, false, "a", "b", NULL},
        {{"-cx", "a"}, "x", false, false, "a", NULL, NULL},
        {{"a", "--config=x", "--flag"}, "x", true, false, "a", NULL, NULL},
        {{"--config", "--flag", "a"}, "--flag", false, false, "a", NULL, NULL},
        {{"-fe", "a"}, NULL, true, true, "a", NULL, NULL},
        {{"-fecx", "a"}, "x", true, true, "a", NULL, NULL},
        {{"-f", "--", "-e"}, NULL, true, false, "-e", NULL, NULL},
        {{"-", "a"}, NULL, false, false, "-", "a", NULL},
        {{"--config=", "a"}, "", false, false, "a", NULL, NULL},
        {{NULL}, NULL, false, false, NULL, NULL, "missing: FILE [MORE]"},
        {{"a", "b", "c"}, NULL, false, false, NULL, NULL, "'c' is one argument too many"},
        {{"a", "-x"}, NULL, false, false, NULL, NULL, "unknown option -x"},
        {{"a", "--flga"}, NULL, false, false, NULL, NULL, "did you mean --flag?"},
        {{"a", "--quite-another"},
         NULL,
         false,
         false,
         NULL,
         NULL,
         "unknown option --quite-another"},
        {{"a", "--flag=1"}, NULL, false, false, NULL, NULL, "--flag takes no value"},
        {{"a", "--config"}, NULL, false, false, NULL, NULL, "--config needs a value: FILE"},
        {{"a", "-fc"}, NULL, false, false, NULL, NULL, "--config needs a value: FILE"},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        char words[6][32];
        char *argv[6];
        int argc = 0;
        struct cli_args args;
        struct err e = {0};
        bool is_ok;

        while (argc < 6 && rows[at].words[argc] != NULL) {
            str_copy(words[argc], sizeof(words[argc]), rows[at].words[argc]);
            argv[argc] = words[argc];
            argc++;
        }
        is_ok = cli_parse(&verb, argc, argv, &args, &e);
        assert_int_equal(is_ok, rows[at].why == NULL);
        if (!is_ok) {
            assert_non_null(strstr(err_text(&e), rows[at].why));
            continue;
        }
        assert_true(str_equal(cli_value(&args, "config"), rows[at].config));
        assert_int_equal(cli_value(&args, "flag") != NULL, rows[at].has_flag);
        assert_int_equal(cli_value(&args, "extended") != NULL, rows[at].has_extended);
        assert_true(str_equal(cli_argument(&args, 0), rows[at].first));
        assert_true(str_equal(cli_argument(&args, 1), rows[at].second));
    }
}

static int run_words(const char *first, const char *second, const char *third)
{
    static const struct cli_verb *const verbs[] = {&verb, NULL};
    char words[4][32] = {"baton"};
    char *argv[] = {words[0], words[1], words[2], words[3], NULL};
    const char *given[] = {first, second, third};
    int argc = 1;

    for (size_t at = 0; at < ARRAY_LEN(given) && given[at] != NULL; at++) {
        str_copy(words[argc++], sizeof(words[0]), given[at]);
    }
    return cli_run(argc, argv, verbs);
}

static void test_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(run_words("try", "a", NULL), CLI_DONE);
    assert_int_equal(run_words("try", "a", "-f"), CLI_FAILED);
    assert_int_equal(run_words("try", NULL, NULL), CLI_USAGE);
    assert_int_equal(run_words("try", "a", "--nonsense"), CLI_USAGE);
    assert_int_equal(run_words("try", "--help", NULL), CLI_DONE);
    assert_int_equal(run_words("tyr", "a", NULL), CLI_USAGE);
    assert_int_equal(run_words("help", "try", NULL), CLI_DONE);
    assert_int_equal(run_words("help", "nonsense", NULL), CLI_USAGE);
    assert_int_equal(run_words("--version", NULL, NULL), CLI_DONE);
    assert_int_equal(run_words(NULL, NULL, NULL), CLI_USAGE);
    assert_int_equal(run_words("list", "-f", "xml"), CLI_USAGE);
    assert_int_equal(run_words("store", "nonsense", NULL), CLI_USAGE);
    assert_int_equal(run_words("store", "remove", NULL), CLI_USAGE);
    assert_int_equal(run_words("store", "join", ""), CLI_USAGE);
    assert_int_equal(run_words("store", "list", "n1"), CLI_USAGE);
    assert_int_equal(run_words("switchover", "--candidate", "n2"), CLI_USAGE);
}

/* Every verb explains itself, and its table is sound. */
static void test_help(void **state)
{
    const struct cli_verb *each;

    (void)state;
    for (unsigned at = 0; (each = cli_verb_at(at)) != NULL; at++) {
        struct str text AUTO_STR = STR_INIT(TEXT_MAX);

        cli_render_help(each, &text);
        assert_false(text.is_cut);
        assert_non_null(strstr(str_text(&text), each->name));
        assert_non_null(strstr(str_text(&text), "--help"));
        assert_true(each->arguments_min <= each->arguments_max);
        assert_true(each->arguments_max <= CLI_ARGUMENTS_MAX);
        assert_non_null(each->run);
    }
}

/* ---- the table ---- */

static const char cluster_json[] =
    "{\"members\":["
    "{\"name\":\"n1\",\"role\":\"leader\",\"state\":\"running\",\"host\":\"10.0.0.1\","
    "\"port\":5432,\"timeline\":5},"
    "{\"name\":\"n2\",\"role\":\"sync_standby\",\"state\":\"streaming\",\"host\":\"10.0.0.2\","
    "\"port\":5432,\"timeline\":5,\"receive_lsn\":\"0/3000148\",\"receive_lag\":0,"
    "\"replay_lsn\":\"0/2000000\",\"replay_lag\":16777544,"
    "\"tags\":{\"clonefrom\":true,\"zone\":\"eu\"}},"
    "{\"name\":\"n3\",\"role\":\"replica\",\"state\":\"start failed\",\"host\":\"10.0.0.3\","
    "\"port\":5432,\"receive_lsn\":\"unknown\",\"receive_lag\":\"unknown\","
    "\"baton\":{\"problem\":\"no \\u001b[31m space\\nhint: make some\"}}],"
    "\"scheduled_switchover\":{\"at\":\"2026-11-23T10:00:00+00:00\",\"from\":\"n1\"},"
    "\"pause\":true,\"scope\":\"main\","
    "\"baton\":{\"system_id\":\"727\",\"initialize\":true,\"node\":\"n1\","
    "\"decision\":{\"lease\":{\"rule\":\"lease.hold\",\"text\":\"held\"}}}}";

static void render(
    const char *json, enum table_format format, struct table_style style, struct str *out)
{
    json_auto_t *cluster = json_loads(json, 0, NULL);

    assert_non_null(cluster);
    view_render(cluster, format, false, style, out);
    assert_false(out->is_cut);
}

static void test_pretty(void **state)
{
    struct str text AUTO_STR = STR_INIT(TEXT_MAX);

    (void)state;
    render(cluster_json, TABLE_PRETTY, (struct table_style){0}, &text);
    assert_true(str_starts(str_text(&text), "+ Cluster: main (727) "));
    assert_non_null(strstr(
        str_text(&text), "\n| Member | Host     | Role         | State        | TL | Receive LSN | "
                         "Lag | Replay LSN | "
                         "Lag | Tags                      |\n"));
    assert_non_null(strstr(
        str_text(&text), "\n| n2     | 10.0.0.2 | Sync Standby | streaming    |  5 |   0/3000148 | "
                         "  0 |  0/2000000 | "
                         " 16 | clonefrom: true, zone: eu |\n"));
    assert_non_null(strstr(str_text(&text), "\n Maintenance mode: on\n"));
    assert_non_null(strstr(
        str_text(&text), " Switchover scheduled at: 2026-11-23T10:00:00+00:00\n"
                         "                    from: n1\n"));
    /* What another host says cannot steer the terminal. */
    assert_non_null(
        strstr(str_text(&text), " n3: start failed: no  [31m space\n     to do: make some\n"));
    assert_null(strchr(str_text(&text), '\033'));
    assert_null(strstr(str_text(&text), "There is no leader"));
}

static void test_lines(void **state)
{
    struct str text AUTO_STR = STR_INIT(TEXT_MAX);
    const char *line;
    size_t length = 0;

    (void)state;
    render(cluster_json, TABLE_PRETTY, (struct table_style){.has_lines = true}, &text);
    /* All lines of the frame are equally long. */
    line = str_text(&text);
    for (int at = 0; at < 7; at++) {
        size_t count = 0;

        for (; *line != '\n'; line++) {
            count += ((unsigned char)*line & 0xC0) != 0x80;
        }
        line++;
        length = at == 0 ? count : length;
        assert_int_equal(count, length);
    }
}

static void test_programs(void **state)
{
    struct str text AUTO_STR = STR_INIT(TEXT_MAX);

    (void)state;
    render(cluster_json, TABLE_JSON, (struct table_style){0}, &text);
    assert_true(str_starts(
        str_text(&text), "[{\"Cluster\": \"main\", \"Member\": \"n1\", \"Host\": \"10.0.0.1\", "
                         "\"Role\": \"Leader\", "
                         "\"State\": \"running\", \"TL\": 5}, "));
    assert_non_null(strstr(str_text(&text), "\"Replay Lag\": 16, "));
    str_clear(&text);
    render(cluster_json, TABLE_TSV, (struct table_style){0}, &text);
    assert_true(str_starts(
        str_text(&text), "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\t"
                         "Replay LSN\tReplay Lag\tTags\n"
                         "main\tn1\t10.0.0.1\tLeader\trunning\t5\t\t\t\t\t\n"));
    str_clear(&text);
    render(cluster_json, TABLE_YAML, (struct table_style){0}, &text);
    assert_true(str_starts(
        str_text(&text), "- Cluster: main\n  Host: '10.0.0.1'\n  Member: n1\n  Role: Leader\n"
                         "  State: running\n  TL: 5\n- Cluster: main\n"));
}

static void test_no_leader(void **state)
{
    static const char json[] =
        "{\"members\":[],\"scope\":\"main\",\"baton\":{\"initialize\":false,\"node\":\"n1\","
        "\"dcs_problem\":\"etcd is "
        "down\",\"last_holder\":\"n3\",\"decision\":{\"lease\":{\"rule\":\"race.no-store\","
        "\"text\":\"not racing\"},\"server\":{\"rule\":\"server.hold\",\"text\":\"waiting\"}}}}";
    struct str text AUTO_STR = STR_INIT(TEXT_MAX);

    (void)state;
    render(json, TABLE_PRETTY, (struct table_style){0}, &text);
    assert_true(str_starts(str_text(&text), "+ Cluster: main (uninitialized) "));
    assert_non_null(strstr(
        str_text(&text), " There is no leader, the last one was n3. What n1 does about it:\n"
                         "     lease   not racing (race.no-store)\n"
                         "     server  waiting (server.hold)\n"
                         "     store   etcd is down\n"));
}

/* The lease of a leader that has died is still in force: what is awaited is said. */
static void test_silent_leader(void **state)
{
    static const char json[] =
        "{\"members\":["
        "{\"name\":\"n1\",\"role\":\"leader\",\"state\":\"unknown\","
        "\"baton\":{\"problem\":\"it has not answered for 2 s\"}},"
        "{\"name\":\"n2\",\"role\":\"quorum_standby\",\"state\":\"streaming\"}],"
        "\"scope\":\"main\",\"baton\":{\"node\":\"n2\",\"dcs_problem\":\"\","
        "\"decision\":{\"lease\":{\"rule\":\"revoke.wait\",\"text\":\"too few promises\"},"
        "\"server\":{\"rule\":\"standby.run\",\"text\":\"this node is a standby\"}}}}";
    struct str text AUTO_STR = STR_INIT(TEXT_MAX);

    (void)state;
    render(json, TABLE_PRETTY, (struct table_style){0}, &text);
    assert_non_null(strstr(str_text(&text), "| Quorum Standby | streaming |"));
    assert_non_null(strstr(
        str_text(&text), " The leader n1 does not answer. What n2 does about it:\n"
                         "     lease   too few promises (revoke.wait)\n"
                         "     server  this node is a standby (standby.run)\n"));
    assert_null(strstr(str_text(&text), "There is no leader"));
}

/* Answers of something that is no agent must not do harm. */
static void test_strange(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"members\":7}",
        "{\"members\":[7,null,\"x\",{}]}",
        "{\"members\":[{\"name\":7,\"port\":\"x\",\"tags\":[1],\"baton\":[]}],\"baton\":8}",
    };
    enum table_format formats[] = {TABLE_PRETTY, TABLE_TSV, TABLE_JSON, TABLE_YAML};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(texts); at++) {
        for (size_t format = 0; format < ARRAY_LEN(formats); format++) {
            struct str text AUTO_STR = STR_INIT(TEXT_MAX);

            render(texts[at], formats[format], (struct table_style){0}, &text);
            assert_true(text.length > 0);
        }
    }
}

/* ---- switchover and failover ---- */

static void assert_question(const char *members, struct handover handover, const char *wanted)
{
    char json[256];
    json_auto_t *cluster = NULL;
    struct str text AUTO_STR = STR_INIT(TEXT_MAX);

    assert_true(str_format(json, sizeof(json), "{\"scope\":\"main\",\"members\":[%s]}", members));
    cluster = json_loads(json, 0, NULL);
    assert_non_null(cluster);
    handover_ask(cluster, &handover, &text);
    assert_string_equal(str_text(&text), wanted);
}

/* A failover demotes a leader that is well too, and may lose commits. */
static void test_question(void **state)
{
    static const char led[] = "{\"name\":\"n1\",\"role\":\"leader\"}";

    (void)state;
    assert_question(
        led, (struct handover){.is_failover = true, .candidate = "n2"},
        "Are you sure you want to failover cluster main, demoting current leader n1? Commits that "
        "n2 does not have are lost. [y/N]: ");
    assert_question(
        "", (struct handover){.is_failover = true, .candidate = "n2"},
        "Are you sure you want to failover cluster main? Commits that n2 does not have are lost. "
        "[y/N]: ");
    assert_question(
        led, (struct handover){.leader = "n1"},
        "Are you sure you want to switchover cluster main, demoting current leader n1? [y/N]: ");
}

/* Who has no answer does not know whether it is done. */
static void test_doubt(void **state)
{
    static const struct {
        int code;
        bool is_doubtful;
    } rows[] = {{ERR_TIMEOUT, true}, {ERR_NETWORK, true}, {ERR_LIMIT, false}};

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        struct err e = {0};

        e.code = FAIL(&e, rows[at].code, "http://n1:8008: no answer");
        handover_doubt(&e);
        assert_int_equal(e.code, rows[at].code);
        assert_true(str_starts(err_text(&e), "http://n1:8008: no answer"));
        assert_int_equal(strstr(err_text(&e), "see 'baton list'") != NULL, rows[at].is_doubtful);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),         cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_help),          cmocka_unit_test(test_pretty),
        cmocka_unit_test(test_lines),         cmocka_unit_test(test_programs),
        cmocka_unit_test(test_silent_leader), cmocka_unit_test(test_no_leader),
        cmocka_unit_test(test_strange),       cmocka_unit_test(test_question),
        cmocka_unit_test(test_doubt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
