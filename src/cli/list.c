#include "base/mem.h"
#include "base/parse.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "io/clock.h"

#include <stdio.h>

#define WATCH_DEFAULT_S 2
#define WATCH_MAX_S 86400
#define CLEAR_SCREEN "\033[H\033[2J"
#define SECONDS_LENGTH 19 /* of a timestamp without its fraction */

struct wish {
    enum table_format format;
    bool is_extended;
    bool has_time;
    int64_t watch_ms; /* 0: once */
};

static int print_once(
    struct target *target, const struct wish *wish, const char *scope, struct err *e)
{
    json_auto_t *cluster = NULL;
    struct str text AUTO_STR = STR_INIT(VIEW_TEXT_MAX);
    int r = view_fetch(target, &cluster, e);

    if (r < 0) {
        return r;
    }
    if (scope != NULL && !str_equal(scope, json_string_value(json_object_get(cluster, "scope")))) {
        return FAIL(
            e, ERR_NOT_FOUND, "this agent belongs to the cluster '%s', not to '%.64s'",
            json_string_value(json_object_get(cluster, "scope")), scope);
    }
    if (wish->has_time) {
        char now[TIMESTAMP_SIZE];

        format_timestamp(clock_real_ms(), ' ', now);
        str_addf(&text, "%.*s+00:00\n", SECONDS_LENGTH, now);
    }
    view_render(cluster, wish->format, wish->is_extended, view_style(), &text);
    if (wish->watch_ms > 0 && isatty(STDOUT_FILENO) == 1) {
        fputs(CLEAR_SCREEN, stdout);
    }
    fputs(str_text(&text), stdout);
    return fflush(stdout) == 0 ? 0 : FAIL(e, ERR_IO, "standard output: %s", strerror(errno));
}

static void on_pause_over(void *arg)
{
    loop_stop(arg);
}

static void pause_for(int64_t ms)
{
    struct loop *loop = loop_new();
    struct loop_timer *timer = loop_timer_new(loop, on_pause_over, loop);

    loop_timer_start(timer, ms);
    loop_run(loop);
    loop_timer_free(timer);
    loop_free(loop);
}

/* An agent that does not answer is news, not an end; standard output that is gone is one. */
static int watch(
    const struct cli_args *args, struct target *target, const struct wish *wish, struct err *e)
{
    for (;;) {
        int r = print_once(target, wish, cli_argument(args, 0), e);

        if (r == ERR_IO) {
            return r;
        }
        if (r < 0) {
            IGNORE(cli_fail(args, e), "it goes on");
        }
        pause_for(wish->watch_ms);
    }
}

static int read_wish(const struct cli_args *args, struct wish *ret, struct err *e)
{
    const char *format = cli_value(args, "format");
    const char *watch = cli_value(args, "watch");
    int64_t seconds = cli_value(args, "watching") != NULL ? WATCH_DEFAULT_S : 0;
    int r = 0;

    *ret = (struct wish){
        .is_extended = cli_value(args, "extended") != NULL,
        .has_time = cli_value(args, "timestamp") != NULL,
    };
    if (format != NULL && !table_format_parse(format, &ret->format)) {
        return FAIL(e, ERR_INVALID, "'%.64s' is none of pretty, json, yaml and tsv", format);
    }
    if (watch != NULL) {
        r = parse_int(watch, 1, WATCH_MAX_S, &seconds, e);
    }
    ret->watch_ms = seconds * 1000;
    return r;
}

static int run(const struct cli_args *args)
{
    struct target target = {0};
    struct wish wish = {0};
    struct err e = {0};
    int r = read_wish(args, &wish, &e);

    if (r == 0) {
        r = target_open(args, &target, &e);
    }
    if (r == 0) {
        r = wish.watch_ms > 0 ? watch(args, &target, &wish, &e)
                              : print_once(&target, &wish, cli_argument(args, 0), &e);
    }
    target_close(&target);
    return r < 0 ? cli_fail(args, &e) : CLI_DONE;
}

static const struct cli_option options[] = {
    CLI_CONFIG_OPTIONS,
    {"format", 'f', "FORMAT", "pretty (default), json, yaml or tsv"},
    {"extended", 'e', NULL, "all columns, also those without content"},
    {"timestamp", 't', NULL, "the time first"},
    {"watching", 'W', NULL, "again every 2 seconds"},
    {"watch", 'w', "SECONDS", "again every so many seconds"},
    {0},
};

const struct cli_verb verb_list = {
    .name = "list",
    .usage = "[CLUSTER]",
    .help =
        "Show the members of a cluster: host, role, state, timeline, position and lag in MB.\n"
        "Below the table: what is scheduled, why a member does not run and what to do about "
        "it, and, when there\nis no leader, what the agents are waiting for.\n\n" CLI_CONFIG_HELP,
    .options = options,
    .arguments_max = 1,
    .run = run,
};
