#include "engine/gate.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/child.h"
#include "io/clock.h"
#include "io/file.h"

#define NFT_TIMEOUT_MS 2000
#define RETRY_MS 500
#define SCRIPT_MAX 8192

struct gate {
    struct loop *loop;
    struct gate_options options; /* borrowed */
    gate_changed *changed;
    void *arg;
    struct loop_timer *retry;
    struct child *child;   /* under way; NULL none */
    struct instant wanted; /* {0,0}: no table */
    struct instant asked;  /* what the child does */
    struct instant done;   /* what the last one did */
    bool is_known;         /* there was one, and it did */
    char problem[160];
};

static const char *const programs[] = {"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"};

static const char *find_nft(void)
{
    for (size_t at = 0; at < ARRAY_LEN(programs); at++) {
        if (file_is_program(programs[at])) {
            return programs[at];
        }
    }
    return NULL;
}

static void add_exempt(const struct gate_options *options, struct str *out)
{
    for (size_t at = 0; options->exempt != NULL && options->exempt[at] != NULL; at++) {
        const char *family = strchr(options->exempt[at], ':') != NULL ? "ip6" : "ip";

        str_addf(out, "%s daddr %s accept\n", family, options->exempt[at]);
    }
}

void gate_script(const struct gate_options *options, int64_t left_ms, struct str *out)
{
    /* Deleting what is not there would fail. */
    str_addf(out, "table inet %s\ndelete table inet %s\n", options->table, options->table);
    if (left_ms <= 0) {
        return;
    }
    str_addf(
        out,
        "table inet %s {\n"
        "set open { type inet_service; flags timeout; elements = { %d timeout %" PRId64 "ms } }\n"
        "chain output { type filter hook output priority 0; policy accept;\n"
        "oif lo accept\n",
        options->table, options->port, left_ms);
    add_exempt(options, out);
    str_addf(out, "tcp sport %d tcp sport != @open drop\n}\n}\n", options->port);
}

static void begin(struct gate *gate);

static void fail(struct gate *gate, const char *why)
{
    IGNORE(
        !str_format(
            gate->problem, sizeof(gate->problem), "fence.nftables does not work: %.*s",
            (int)strcspn(why, "\n"), why),
        "cut is fine");
    loop_timer_start(gate->retry, RETRY_MS);
}

static void on_done(void *arg, const struct child_end *end)
{
    struct gate *gate = arg;

    gate->child = NULL;
    if (end->exit_code == 0) {
        gate->done = gate->asked;
        gate->is_known = true;
        gate->problem[0] = '\0';
        begin(gate);
    } else {
        fail(gate, end->timed_out ? "nft takes too long" : end->output);
    }
    gate->changed(gate->arg);
}

static bool is_as_wanted(const struct gate *gate)
{
    return gate->is_known && memcmp(&gate->done, &gate->wanted, sizeof(gate->done)) == 0;
}

static void begin(struct gate *gate)
{
    struct str script AUTO_STR = STR_INIT(SCRIPT_MAX);
    const char *argv[] = {find_nft(), "-f", "-", NULL};
    struct child_options options = {.argv = argv, .timeout_ms = NFT_TIMEOUT_MS};
    int64_t left_ms = instant_is_set(gate->wanted) ? instant_left_ms(gate->wanted, clock_now()) : 0;
    struct err e = {0};

    if (gate->child != NULL || is_as_wanted(gate)) {
        return;
    }
    /* A deadline that has passed is no reason to open, nor to let everything pass: as it is now. */
    if (instant_is_set(gate->wanted) && left_ms <= 0) {
        return;
    }
    if (argv[0] == NULL) {
        fail(gate, "there is no nft");
        return;
    }
    gate_script(&gate->options, left_ms, &script);
    options.input = str_text(&script);
    gate->asked = gate->wanted;
    if (child_start(gate->loop, &options, on_done, gate, &gate->child, &e) < 0) {
        fail(gate, err_text(&e));
    }
}

static void on_retry(void *arg)
{
    begin(arg);
}

struct gate *gate_new(
    struct loop *loop, const struct gate_options *options, gate_changed *changed, void *arg)
{
    struct gate *gate = mem_alloc(sizeof(*gate));

    ASSERT(changed != NULL);
    gate->loop = loop;
    gate->options = *options;
    gate->changed = changed;
    gate->arg = arg;
    gate->retry = loop_timer_new(loop, on_retry, gate);
    return gate;
}

void gate_open(struct gate *gate, struct instant deadline)
{
    ASSERT(instant_is_set(deadline));
    gate->wanted = deadline;
    begin(gate);
}

void gate_remove(struct gate *gate)
{
    gate->wanted = (struct instant){0, 0};
    begin(gate);
}

bool gate_is_open(const struct gate *gate, struct instant deadline)
{
    return gate->is_known && instant_is_set(gate->done) && gate->done.boot_ns >= deadline.boot_ns &&
           gate->done.raw_ns >= deadline.raw_ns;
}

const char *gate_problem(const struct gate *gate)
{
    return gate->problem;
}

void gate_free(struct gate *gate)
{
    if (gate == NULL) {
        return;
    }
    loop_timer_free(gate->retry);
    child_free(gate->child);
    mem_free(gate);
}
