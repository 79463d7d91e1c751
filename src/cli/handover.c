#include "cli/handover.h"

#include "base/mem.h"
#include "base/parse.h"
#include "cli/view.h"
#include "codec/codec.h"
#include "io/clock.h"

#include <stdio.h>

/* An agent answers within 30 s, whatever the outcome. */
#define TIMEOUT_MS 60000
#define STATUS_DONE 200
#define STATUS_SCHEDULED 202
#define SECONDS_LENGTH 19
#define ANSWER_TEXT_MAX 1024

/* A line from the terminal, without its end; "" at the end of input. */
static void read_line(char *buffer, size_t size)
{
    if (fgets(buffer, (int)size, stdin) == NULL) {
        buffer[0] = '\0';
    }
    buffer[strcspn(buffer, "\r\n")] = '\0';
}

static void print_cluster(const json_t *cluster)
{
    struct str text AUTO_STR = STR_INIT(VIEW_TEXT_MAX);

    view_render(cluster, TABLE_PRETTY, false, view_style(), &text);
    fputs(str_text(&text), stdout);
}

/* Names that could be promoted, into OUT. */
static void list_candidates(const json_t *cluster, const char *leader, struct str *out)
{
    const json_t *member;
    size_t at;

    json_array_foreach (json_object_get(cluster, "members"), at, member) {
        const char *name = field_peek(member, "name");

        if (!str_equal(name, leader)) {
            str_addf(out, "%s%s", out->length > 0 ? ", " : "", name);
        }
    }
}

void handover_ask(const json_t *cluster, const struct handover *handover, struct str *out)
{
    const char *leader = handover->is_failover ? view_leader(cluster) : handover->leader;
    const char *candidate = handover->candidate != NULL ? handover->candidate : "the candidate";

    str_addf(
        out, "Are you sure you want to %s cluster %s",
        handover->is_failover ? "failover" : "switchover", field_peek(cluster, "scope"));
    if (leader != NULL && leader[0] != '\0') {
        str_addf(out, ", demoting current leader %s", leader);
    }
    if (handover->is_failover) {
        str_addf(out, "? Commits that %s does not have are lost. [y/N]: ", candidate);
    } else {
        str_add(out, "? [y/N]: ");
    }
}

/* Ask for what is missing, and whether it is meant. False: it is not. */
static bool is_confirmed(
    const json_t *cluster, struct handover *handover, char *candidate, size_t size)
{
    struct str names AUTO_STR = STR_INIT(2048);
    struct str question AUTO_STR = STR_INIT(ANSWER_TEXT_MAX);
    char answer[16];

    print_cluster(cluster);
    if (handover->candidate == NULL) {
        list_candidates(cluster, view_leader(cluster), &names);
        printf(
            "Candidate (%s)%s: ", str_text(&names), handover->is_failover ? "" : " [the best one]");
        IGNORE(fflush(stdout), "it shows at the next write");
        read_line(candidate, size);
        handover->candidate = candidate[0] != '\0' ? candidate : NULL;
    }
    handover_ask(cluster, handover, &question);
    fputs(str_text(&question), stdout);
    IGNORE(fflush(stdout), "it shows at the next write");
    read_line(answer, sizeof(answer));
    return answer[0] == 'y' || answer[0] == 'Y';
}

void handover_doubt(struct err *e)
{
    char text[ERR_TEXT_MAX];

    /* A connection that ended may have ended after the agent had read all of it. */
    if (e->code != ERR_TIMEOUT && e->code != ERR_NETWORK) {
        return;
    }
    IGNORE(!str_copy(text, sizeof(text), err_text(e)), "same size");
    e->code = FAIL(e, e->code, "%s\nhint: it may still be carried out: see 'baton list'", text);
}

static char *encode(const struct handover *handover)
{
    json_auto_t *body = json_object();

    if (handover->leader != NULL) {
        field_set_text(body, "leader", handover->leader);
    }
    if (handover->candidate != NULL) {
        field_set_text(body, "candidate", handover->candidate);
    }
    if (handover->scheduled != NULL) {
        field_set_text(body, "scheduled_at", handover->scheduled);
    }
    return field_write_compact(body);
}

static int request(
    const struct cli_args *args, struct target *target, const struct handover *handover)
{
    const char *title = handover->is_failover ? "Failover" : "Switchover";
    AUTO_FREE char *body = encode(handover);
    struct str text AUTO_STR = STR_INIT(ANSWER_TEXT_MAX);
    struct client_answer answer = {0};
    char now[TIMESTAMP_SIZE];
    struct err e = {0};
    bool is_done;

    if (target_post(
            target, handover->is_failover ? "/failover" : "/switchover", body, TIMEOUT_MS, &answer,
            &e) < 0) {
        handover_doubt(&e);
        return cli_fail(args, &e);
    }
    is_done = answer.status == STATUS_DONE || answer.status == STATUS_SCHEDULED;
    format_timestamp(clock_real_ms(), ' ', now);
    table_add_clean(&text, answer.body, strlen(answer.body));
    if (is_done) {
        printf("%.*s+00:00 %s\n", SECONDS_LENGTH, now, str_text(&text));
    } else {
        fprintf(stderr, "%s failed, details: %d, %s\n", title, answer.status, str_text(&text));
    }
    mem_free(answer.body);
    return is_done ? CLI_DONE : CLI_FAILED;
}

static int carry_out(
    const struct cli_args *args, struct target *target, const json_t *cluster,
    const struct handover *asked)
{
    struct handover handover = *asked;
    json_auto_t *after = NULL;
    char candidate[MEMBER_NAME_SIZE] = "";
    struct err e = {0};
    int code;

    if (!handover.is_failover && handover.leader == NULL) {
        handover.leader = view_leader(cluster);
        if (handover.leader[0] == '\0') {
            e.code = FAIL(
                &e, ERR_CONFLICT,
                "the cluster has no leader\nhint: 'baton failover --candidate NAME' promotes one");
            return cli_fail(args, &e);
        }
    }
    if (!handover.is_forced && !is_confirmed(cluster, &handover, candidate, sizeof(candidate))) {
        fprintf(stderr, "Aborted: nothing was changed.\n");
        return CLI_FAILED;
    }
    if (handover.is_failover && handover.candidate == NULL) {
        fprintf(stderr, "Failover could be performed only to a specific candidate\n");
        return CLI_USAGE;
    }
    code = request(args, target, &handover);
    if (code == CLI_DONE && view_fetch(target, &after, NULL) == 0) {
        print_cluster(after);
    }
    return code;
}

int handover_run(const struct cli_args *args, const struct handover *handover)
{
    struct handover wanted = *handover;
    json_auto_t *cluster = NULL;
    struct target target = {0};
    struct err e = {0};
    int64_t ignored = 0;
    int code;
    int r;

    if (!wanted.is_forced && isatty(STDIN_FILENO) != 1) {
        fprintf(
            stderr, "baton %s: there is no terminal to ask; --force asks nothing\n",
            args->verb->name);
        return CLI_USAGE;
    }
    if (str_equal(wanted.scheduled, "now")) {
        wanted.scheduled = NULL;
    }
    r = wanted.scheduled != NULL ? parse_timestamp(wanted.scheduled, &ignored, &e) : 0;
    if (r == 0) {
        r = target_open(args, &target, &e);
    }
    if (r == 0) {
        r = view_fetch(&target, &cluster, &e);
    }
    code = r < 0 ? cli_fail(args, &e) : carry_out(args, &target, cluster, &wanted);
    target_close(&target);
    return code;
}
