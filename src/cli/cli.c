#include "cli/cli.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/verbs.h"

#include <stdio.h>

#define HELP_MAX 65536
#define NEAR_DISTANCE 3u
#define OPTION_WIDTH 24

static const struct cli_verb *const own_verbs[] = {
    &verb_list,    &verb_switchover, &verb_failover,  &verb_store,
    &verb_version, &verb_help,       &verb_reference,
};
static const struct cli_verb *const no_verbs[] = {NULL};
static const struct cli_verb *const *extra_verbs = no_verbs;

const struct cli_verb *cli_verb_at(unsigned at)
{
    unsigned extra = 0;

    while (extra_verbs[extra] != NULL) {
        if (extra == at) {
            return extra_verbs[extra];
        }
        extra++;
    }
    return at - extra < ARRAY_LEN(own_verbs) ? own_verbs[at - extra] : NULL;
}

static const struct cli_verb *find_verb(const char *name)
{
    const struct cli_verb *verb;

    for (unsigned at = 0; (verb = cli_verb_at(at)) != NULL; at++) {
        if (str_equal(verb->name, name)) {
            return verb;
        }
    }
    return NULL;
}

/* ---- options ---- */

static unsigned option_count(const struct cli_verb *verb)
{
    unsigned count = 0;

    while (verb->options != NULL && verb->options[count].name != NULL) {
        count++;
    }
    ASSERT(count <= CLI_OPTIONS_MAX);
    return count;
}

const char *cli_value(const struct cli_args *args, const char *name)
{
    unsigned count = option_count(args->verb);
    unsigned at = 0;

    while (at < count && !str_equal(args->verb->options[at].name, name)) {
        at++;
    }
    ASSERT(at < count);
    return args->values[at];
}

const char *cli_argument(const struct cli_args *args, unsigned at)
{
    return at < args->argument_count ? args->arguments[at] : NULL;
}

static const char *nearest_option(const struct cli_verb *verb, const char *name)
{
    unsigned best = NEAR_DISTANCE + 1;
    const char *found = NULL;

    for (unsigned at = 0; at < option_count(verb); at++) {
        unsigned distance = str_distance(verb->options[at].name, name);

        if (distance < best) {
            best = distance;
            found = verb->options[at].name;
        }
    }
    return found;
}

/* What is left of a command line. */
struct words {
    int count;
    char **at;
};

static const char *take_word(struct words *words)
{
    if (words->count == 0) {
        return NULL;
    }
    words->count--;
    return *words->at++;
}

static bool set_option(
    struct cli_args *args, unsigned at, const char *value, struct words *words, struct err *e)
{
    const struct cli_option *option = &args->verb->options[at];

    if (option->value == NULL) {
        if (value != NULL) {
            err_set(e, ERR_INVALID, __FILE__, __LINE__, "--%s takes no value", option->name);
            return false;
        }
        args->values[at] = "";
        return true;
    }
    args->values[at] = value != NULL ? value : take_word(words);
    if (args->values[at] == NULL) {
        err_set(
            e, ERR_INVALID, __FILE__, __LINE__, "--%s needs a value: %s", option->name,
            option->value);
        return false;
    }
    return true;
}

/* "--name", "--name=value", "--name value". */
static bool read_long(struct cli_args *args, const char *word, struct words *words, struct err *e)
{
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    AUTO_FREE char *name = mem_dup_length(word, length);
    const char *near;

    for (unsigned at = 0; at < option_count(args->verb); at++) {
        if (str_equal(args->verb->options[at].name, name)) {
            return set_option(args, at, equals != NULL ? equals + 1 : NULL, words, e);
        }
    }
    near = nearest_option(args->verb, name);
    err_set(
        e, ERR_INVALID, __FILE__, __LINE__, "unknown option --%.64s%s%s%s", name,
        near != NULL ? ", did you mean --" : "", near != NULL ? near : "", near != NULL ? "?" : "");
    return false;
}

/* "-et", "-cFILE", "-c FILE". */
static bool read_short(struct cli_args *args, const char *word, struct words *words, struct err *e)
{
    unsigned count = option_count(args->verb);

    while (*word != '\0') {
        unsigned at = 0;
        const char *rest = word[1] != '\0' ? word + 1 : NULL;

        while (at < count && args->verb->options[at].letter != *word) {
            at++;
        }
        if (at == count) {
            err_set(e, ERR_INVALID, __FILE__, __LINE__, "unknown option -%c", *word);
            return false;
        }
        if (args->verb->options[at].value != NULL) {
            return set_option(args, at, rest, words, e);
        }
        args->values[at] = "";
        word++;
    }
    return true;
}

static bool add_argument(struct cli_args *args, const char *word, struct err *e)
{
    ASSERT(args->verb->arguments_max <= CLI_ARGUMENTS_MAX);
    if (args->argument_count == args->verb->arguments_max) {
        err_set(e, ERR_INVALID, __FILE__, __LINE__, "'%.64s' is one argument too many", word);
        return false;
    }
    args->arguments[args->argument_count++] = word;
    return true;
}

bool cli_parse(
    const struct cli_verb *verb, int argc, char **argv, struct cli_args *ret, struct err *e)
{
    struct words words = {argc, argv};
    bool are_options_over = false;
    const char *word;

    *ret = (struct cli_args){.verb = verb};
    while ((word = take_word(&words)) != NULL) {
        bool is_ok;

        if (!are_options_over && str_equal(word, "--")) {
            are_options_over = true;
            continue;
        }
        if (are_options_over || word[0] != '-' || word[1] == '\0') {
            is_ok = add_argument(ret, word, e);
        } else if (word[1] == '-') {
            is_ok = read_long(ret, word + 2, &words, e);
        } else {
            is_ok = read_short(ret, word + 1, &words, e);
        }
        if (!is_ok) {
            return false;
        }
    }
    if (ret->argument_count < verb->arguments_min) {
        err_set(e, ERR_INVALID, __FILE__, __LINE__, "missing: %s", verb->usage);
        return false;
    }
    return true;
}

/* ---- help ---- */

void cli_render_help(const struct cli_verb *verb, struct str *out)
{
    unsigned count = option_count(verb);

    str_addf(
        out, "usage: baton %s%s%s%s\n\n%s\n\noptions:\n", verb->name, count > 0 ? " [options]" : "",
        verb->usage[0] != '\0' ? " " : "", verb->usage, verb->help);
    for (unsigned at = 0; at < count; at++) {
        const struct cli_option *option = &verb->options[at];
        char text[64];
        char letter[8] = "    ";

        if (option->letter != 0) {
            IGNORE(!str_format(letter, sizeof(letter), "-%c, ", option->letter), "fits");
        }
        IGNORE(
            !str_format(
                text, sizeof(text), "%s--%s%s%s", letter, option->name,
                option->value != NULL ? " " : "", option->value != NULL ? option->value : ""),
            "cut is fine");
        str_addf(out, "  %-*s %s\n", OPTION_WIDTH, text, option->help);
    }
    str_addf(out, "  %-*s %s\n", OPTION_WIDTH, "-h, --help", "this");
}

static void print_help(FILE *to, const struct cli_verb *verb)
{
    struct str text AUTO_STR = STR_INIT(HELP_MAX);

    cli_render_help(verb, &text);
    fputs(str_text(&text), to);
}

static bool wants_help(int argc, char **argv)
{
    for (int at = 0; at < argc && !str_equal(argv[at], "--"); at++) {
        if (str_equal(argv[at], "--help") || str_equal(argv[at], "-h")) {
            return true;
        }
    }
    return false;
}

static int fail_unknown(const char *name)
{
    unsigned best = NEAR_DISTANCE + 1;
    const char *near = NULL;
    const struct cli_verb *verb;

    for (unsigned at = 0; (verb = cli_verb_at(at)) != NULL; at++) {
        unsigned distance = str_distance(verb->name, name);

        if (distance < best) {
            best = distance;
            near = verb->name;
        }
    }
    fprintf(stderr, "baton: unknown command '%.64s'", name);
    if (near != NULL) {
        fprintf(stderr, ", did you mean '%s'?\n", near);
    } else {
        fprintf(stderr, "; 'baton help' lists them\n");
    }
    return CLI_USAGE;
}

int cli_fail(const struct cli_args *args, const struct err *e)
{
    fprintf(stderr, "baton %s: %s\n", args->verb->name, err_text(e));
    return err_exit_code(e->code);
}

static int run_verb(const struct cli_verb *verb, int argc, char **argv)
{
    struct cli_args args;
    struct err e = {0};

    if (wants_help(argc, argv)) {
        print_help(stdout, verb);
        return CLI_DONE;
    }
    if (!cli_parse(verb, argc, argv, &args, &e)) {
        fprintf(
            stderr, "baton %s: %s\nhint: baton %s --help\n", verb->name, err_text(&e), verb->name);
        return CLI_USAGE;
    }
    return verb->run(&args);
}

int cli_run(int argc, char **argv, const struct cli_verb *const *extra)
{
    const struct cli_verb *verb;
    const char *name = argc > 1 ? argv[1] : "help";
    int code;

    extra_verbs = extra != NULL ? extra : no_verbs;
    if (str_equal(name, "--help") || str_equal(name, "-h")) {
        name = "help";
    } else if (str_equal(name, "--version") || str_equal(name, "-V")) {
        name = "version";
    }
    verb = find_verb(name);
    if (verb == NULL) {
        return fail_unknown(name);
    }
    code = run_verb(verb, MAX(argc - 2, 0), argv + MIN(argc, 2));
    if (fflush(stdout) != 0 && code == CLI_DONE) {
        code = CLI_FAILED;
    }
    /* Nothing asked for is wrong usage, answered with the help all the same. */
    return argc > 1 ? code : CLI_USAGE;
}
