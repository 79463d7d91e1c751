#include "api/api.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/verbs.h"
#include "config/config.h"
#include "ha/ha.h"
#include "io/file.h"

#include <stdio.h>

#define PAGE_MAX ((size_t)1 << 20)
#define PATH_MAX_BYTES 4096
#define PAGE_MODE 0644
#define FOLDER_MODE 0755

static void render_config(struct str *out)
{
    config_render_reference(out);
}

static void render_commands(struct str *out)
{
    const struct cli_verb *verb;

    str_add(
        out, "# Commands\n\nExit codes: 0 done, 1 failed, 2 wrong usage. Every command has "
             "`--help`, which is what stands here.\n");
    for (unsigned at = 0; (verb = cli_verb_at(at)) != NULL; at++) {
        str_addf(out, "\n## baton %s\n\n```text\n", verb->name);
        cli_render_help(verb, out);
        str_add(out, "```\n");
    }
}

static void render_errors(struct str *out)
{
    static const int codes[] = {
#define ERR(name, number, exit_code, http_status, meaning) name,
#include "base/err.def"
#undef ERR
    };

    str_add(
        out, "# Errors\n\nEvery failure is of one of these kinds: it gives a command its exit code "
             "and a REST call its status.\n\n"
             "| name | exit code | HTTP status | meaning |\n|---|---|---|---|\n");
    for (size_t at = 0; at < ARRAY_LEN(codes); at++) {
        str_addf(
            out, "| `%s` | %d | %d | %s |\n", err_name(codes[at]), err_exit_code(codes[at]),
            err_http_status(codes[at]), err_meaning(codes[at]));
    }
}

static void render_rules(struct str *out)
{
    static const char *const topics[TOPICS] = {
        [TOPIC_LEASE] = "The right to write",
        [TOPIC_SERVER] = "The database server",
        [TOPIC_SYNC] = "What commits wait for",
        [TOPIC_RECORD] = "What the store should say"};
    int topic = -1;
    const struct ha_rule *rule;

    str_add(
        out,
        "# Rules\n\nAn agent decides once per turn of its loop. For the right to write, for the "
        "server and for what commits wait\nfor, the first rule that applies decides; of the "
        "rules about the store each one that applies acts.\n`GET /baton/decision`, the log "
        "and `baton list` name the rule.\n");
    for (unsigned at = 0; (rule = ha_rule_at(at)) != NULL; at++) {
        if ((int)rule->topic != topic) {
            topic = (int)rule->topic;
            str_addf(out, "\n## %s\n\n| rule | when | why |\n|---|---|---|\n", topics[rule->topic]);
        }
        str_addf(out, "| `%s` | %s | %s |\n", rule->id, rule->when, rule->why);
    }
}

/* Text as troff shows it as it is: no control lines, hyphens that can be copied. */
static void add_troff(struct str *out, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if ((at == text || at[-1] == '\n') && (*at == '.' || *at == '\'')) {
            str_add(out, "\\&");
        }
        if (*at == '\\') {
            str_add(out, "\\e");
        } else if (*at == '-') {
            str_add(out, "\\-");
        } else {
            str_add_char(out, *at);
        }
    }
}

static const struct {
    const char *path;
    const char *about;
} man_files[] = {
    {"/etc/baton/baton.yml, /etc/patroni.yml", "the configuration of a node, as Patroni writes it"},
    {"DATA_DIR.baton/", "what the agent keeps beside the data directory: accounts, logs, sockets"},
    {"DATA_DIR.baton-*",
     "a data directory that was replaced, renamed aside; never removed by baton"},
};

static void render_man(struct str *out)
{
    const struct cli_verb *verb;

    str_add(
        out, ".TH BATON 1 \"\" \"baton " BATON_VERSION "\" \"User Commands\"\n"
             ".SH NAME\nbaton \\- keep a PostgreSQL database writable\n"
             ".SH SYNOPSIS\n.B baton\n.I COMMAND\n[options]\n"
             ".SH DESCRIPTION\nRun on every database host, baton sets up replication, elects one "
             "primary, fails over,\nswitches over and brings old primaries back.\n"
             ".SH COMMANDS\n");
    for (unsigned at = 0; (verb = cli_verb_at(at)) != NULL; at++) {
        struct str help AUTO_STR = STR_INIT(PAGE_MAX);

        str_addf(out, ".SS baton %s\n.nf\n", verb->name);
        cli_render_help(verb, &help);
        add_troff(out, str_text(&help));
        str_add(out, ".fi\n");
    }
    str_add(out, ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage.\n.SH FILES\n");
    for (size_t at = 0; at < ARRAY_LEN(man_files); at++) {
        str_add(out, ".TP\n.I ");
        add_troff(out, man_files[at].path);
        str_add_char(out, '\n');
        add_troff(out, man_files[at].about);
        str_add_char(out, '\n');
    }
    str_add(out, ".SH SEE ALSO\n.BR postgres (1),\n.BR etcd (1)\n");
}

#define MARKDOWN_MARK "<!-- Made by `baton reference`; do not edit. -->\n\n"
#define MAN_MARK ".\\\" Made by `baton reference`; do not edit.\n"

static const struct {
    const char *name;
    const char *mark;
    void (*render)(struct str *out);
} pages[] = {
    {"config.md", MARKDOWN_MARK, render_config},
    {"api.md", MARKDOWN_MARK, api_render_reference},
    {"commands.md", MARKDOWN_MARK, render_commands},
    {"errors.md", MARKDOWN_MARK, render_errors},
    {"rules.md", MARKDOWN_MARK, render_rules},
    {"baton.1", MAN_MARK, render_man},
};

static int write_page(const char *folder, size_t at, struct err *e)
{
    struct str text AUTO_STR = STR_INIT(PAGE_MAX);
    char path[PATH_MAX_BYTES];
    bool is_changed = false;
    int r;

    if (!str_format(path, sizeof(path), "%s/%s", folder, pages[at].name)) {
        return FAIL(e, ERR_LIMIT, "the path of %s is too long", pages[at].name);
    }
    str_add(&text, pages[at].mark);
    pages[at].render(&text);
    if (text.is_cut) {
        return FAIL(e, ERR_LIMIT, "%s is larger than %zu bytes", path, PAGE_MAX);
    }
    r = file_write_if_changed(path, str_text(&text), PAGE_MODE, &is_changed, e);
    if (r == 0 && is_changed) {
        printf("%s\n", path);
    }
    return r;
}

static int run(const struct cli_args *args)
{
    const char *folder = cli_argument(args, 0);
    struct err e = {0};
    int r = file_make_folder(folder, FOLDER_MODE, &e);

    for (size_t at = 0; r == 0 && at < ARRAY_LEN(pages); at++) {
        r = write_page(folder, at, &e);
    }
    return r < 0 ? cli_fail(args, &e) : CLI_DONE;
}

const struct cli_verb verb_reference = {
    .name = "reference",
    .usage = "FOLDER",
    .help = "Write the reference pages from the tables of this program; the names of changed ones "
            "are shown.",
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};
