#include "tests/sim/sim.h"

#include "base/assert.h"

#define LATENCY_MIN_NS (100 * MS / 1000)
#define LATENCY_MAX_NS (4 * MS)

/* A packet lost on the way is sent again; the longest such pause. */
#define RESEND_NS (250 * MS)

/* On a lossy link: the first pause, and how often. */
#define RESEND_FIRST_NS (200 * MS)
#define RESENDS_MAX 4

bool net_is_cut(const struct sim *sim, unsigned from, unsigned to)
{
    return from != to && sim->net.cuts[from][to] > 0;
}

bool net_is_poor(const struct sim *sim, unsigned a, unsigned b)
{
    return sim->net.lag_ns[a][b] > 0 || sim->net.lag_ns[b][a] > 0 || sim->net.loss[a][b] > 0 ||
           sim->net.loss[b][a] > 0;
}

void net_cut(struct sim *sim, unsigned from, unsigned to, int by)
{
    if (from != to) {
        sim->net.cuts[from][to] += by;
    }
}

/* What is lost is sent again after a pause that doubles, and given up in the end. */
static int64_t delay_of_losses(struct sim *sim, int per_mille)
{
    int64_t delay_ns = 0;

    for (unsigned at = 0; rng_chance(sim, STREAM_NET, per_mille); at++) {
        if (at == RESENDS_MAX) {
            return -1;
        }
        delay_ns += RESEND_FIRST_NS << at;
    }
    return delay_ns;
}

int64_t net_delay(struct sim *sim, unsigned from, unsigned to)
{
    int64_t delay_ns;

    if (from == to) {
        return rng_between(sim, STREAM_NET, 10000, 50000);
    }
    if (net_is_cut(sim, from, to)) {
        return -1;
    }
    delay_ns = rng_log(sim, STREAM_NET, LATENCY_MIN_NS, LATENCY_MAX_NS) * sim->net.slow;
    if (rng_chance(sim, STREAM_NET, 2)) {
        delay_ns += rng_between(sim, STREAM_NET, 0, RESEND_NS);
    }
    if (sim->net.loss[from][to] > 0) {
        int64_t losses_ns = delay_of_losses(sim, sim->net.loss[from][to]);

        return losses_ns < 0 ? -1 : delay_ns + sim->net.lag_ns[from][to] + losses_ns;
    }
    return delay_ns + sim->net.lag_ns[from][to];
}

/* ---- asking a peer ---- */

struct question {
    unsigned from; /* who asks */
    uint32_t number;
    uint32_t epoch; /* of the agent that asks */
    bool is_urgent;
};

struct answer {
    uint32_t number;
    unsigned by;
    bool has_report;
    struct peer_report report;
};

static void on_answer(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct answer *answer = event->data;
    struct poll *poll = &node->polls[answer->by];

    if (!poll->is_due || poll->number != answer->number) {
        return;
    }
    poll->is_due = false;
    agent_on_report(
        node->agent, sim->nodes[answer->by].name, answer->has_report ? &answer->report : NULL,
        NULL);
    agent_touch(sim, node);
}

static void send_answer(
    struct sim *sim, unsigned from, const struct question *question,
    const struct peer_report *report)
{
    struct node *asker = &sim->nodes[question->from];
    int64_t delay_ns = net_delay(sim, from, question->from);
    struct answer *answer;

    if (delay_ns < 0 || asker->agent == NULL || asker->agent_epoch != question->epoch) {
        return;
    }
    answer = mem_alloc(sizeof(*answer));
    *answer = (struct answer){.number = question->number, .by = from, .has_report = report != NULL};
    if (report != NULL) {
        answer->report = *report;
    }
    sim_post(sim, asker, ACTOR_AGENT, delay_ns, &(struct event){.run = on_answer, .data = answer});
}

static void on_question(struct sim *sim, struct event *event)
{
    /* Too large for a stack frame, and no state: filled anew each time. */
    static struct api_snapshot snapshot;
    struct node *node = &sim->nodes[event->node];
    const struct question *question = event->data;
    struct peer_report report;

    agent_snapshot(node->agent, &snapshot);
    api_report(&snapshot, &report);
    check_told(sim, node, report.promised);
    send_answer(sim, node->index, question, &report);
    if (question->is_urgent) {
        agent_look(node->agent);
        agent_touch(sim, node);
    }
}

/* The question is at the host's door: answered there if nobody listens. */
static void on_arrival(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (!node->is_up) {
        return;
    }
    if (node->agent == NULL) {
        send_answer(sim, node->index, event->data, NULL);
        return;
    }
    sim_post(
        sim, node, ACTOR_AGENT, 0, &(struct event){.run = on_question, .data = TAKE(event->data)});
}

static void on_timeout(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    struct poll *poll = &node->polls[event->a];

    if (!poll->is_due || poll->number != (uint32_t)event->b) {
        return;
    }
    poll->is_due = false;
    agent_on_report(node->agent, sim->nodes[event->a].name, NULL, NULL);
    agent_touch(sim, node);
}

void net_poll(void *arg, const char *name, const char *api_url, int64_t timeout_ms, bool is_urgent)
{
    struct port *port = arg;
    struct sim *sim = port->sim;
    struct node *node = port->node;
    struct node *peer = sim_find(sim, name);
    struct poll *poll;
    struct question *question;
    int64_t delay_ns;

    ASSERT(peer != NULL);
    ASSERT(api_url[0] != '\0');
    poll = &node->polls[peer->index];
    poll->number++;
    poll->is_due = true;
    sim_post(
        sim, node, ACTOR_AGENT, timeout_ms * MS,
        &(struct event){.run = on_timeout, .a = (int64_t)peer->index, .b = (int64_t)poll->number});
    delay_ns = net_delay(sim, node->index, peer->index);
    if (delay_ns < 0) {
        return;
    }
    question = mem_alloc(sizeof(*question));
    *question = (struct question){node->index, poll->number, node->agent_epoch, is_urgent};
    sim_post(
        sim, peer, ACTOR_WORLD, delay_ns + agent_output_delay(sim, node),
        &(struct event){.run = on_arrival, .data = question});
}

/* ---- failsafe mode ---- */

struct ask {
    unsigned from;
    uint32_t number;
    uint32_t epoch; /* of the agent that asks */
    struct failsafe_ask ask;
};

static void end_ask(
    struct sim *sim, struct node *node, unsigned by, uint32_t number, bool is_promised)
{
    struct poll *ask = &node->asks[by];

    if (ask->is_due && ask->number == number) {
        ask->is_due = false;
        agent_on_failsafe(node->agent, sim->nodes[by].name, is_promised);
        agent_touch(sim, node);
    }
}

static void on_ask_answer(struct sim *sim, struct event *event)
{
    end_ask(
        sim, &sim->nodes[event->node], (unsigned)(event->a / 2), (uint32_t)event->b,
        event->a % 2 != 0);
}

static void on_ask_timeout(struct sim *sim, struct event *event)
{
    end_ask(sim, &sim->nodes[event->node], (unsigned)event->a, (uint32_t)event->b, false);
}

static void answer_ask(struct sim *sim, unsigned by, const struct ask *ask, bool is_promised)
{
    struct node *asker = &sim->nodes[ask->from];
    int64_t delay_ns = net_delay(sim, by, ask->from);

    if (delay_ns >= 0 && asker->agent != NULL && asker->agent_epoch == ask->epoch) {
        sim_post(
            sim, asker, ACTOR_AGENT, delay_ns,
            &(struct event){
                .run = on_ask_answer, .a = (int64_t)by * 2 + is_promised, .b = ask->number});
    }
}

static void on_ask(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    const struct ask *ask = event->data;
    const char *why = agent_failsafe(node->agent, &ask->ask);

    check_mark(sim, why == NULL ? MARK_FAILSAFE_KEPT : MARK_FAILSAFE_REFUSED);
    sim_trace(
        sim, node, "sim.failsafe", "to %s: %s", sim->nodes[ask->from].name,
        why == NULL ? "promised" : why);
    answer_ask(sim, node->index, ask, why == NULL);
    agent_touch(sim, node);
}

static void on_ask_arrival(struct sim *sim, struct event *event)
{
    struct node *node = &sim->nodes[event->node];

    if (node->is_up && node->agent == NULL) {
        answer_ask(sim, node->index, event->data, false);
    } else if (node->is_up) {
        sim_post(
            sim, node, ACTOR_AGENT, 0, &(struct event){.run = on_ask, .data = TAKE(event->data)});
    }
}

void net_failsafe(struct port *port, const char *name, const char *body, int64_t timeout_ms)
{
    struct sim *sim = port->sim;
    struct node *node = port->node;
    struct node *peer = sim_find(sim, name);
    struct poll *slot;
    struct ask *ask;
    struct err e = {0};
    int64_t delay_ns;

    ASSERT(peer != NULL);
    check_mark(sim, MARK_FAILSAFE_ASKED);
    slot = &node->asks[peer->index];
    ASSERT(!slot->is_due);
    slot->number++;
    slot->is_due = true;
    sim_post(
        sim, node, ACTOR_AGENT, timeout_ms * MS,
        &(struct event){.run = on_ask_timeout, .a = (int64_t)peer->index, .b = slot->number});
    delay_ns = net_delay(sim, node->index, peer->index);
    if (delay_ns < 0) {
        return;
    }
    ask = mem_alloc(sizeof(*ask));
    *ask = (struct ask){.from = node->index, .number = slot->number, .epoch = node->agent_epoch};
    ASSERT(record_ask_decode(body, &ask->ask, &e) == 0);
    sim_post(
        sim, peer, ACTOR_WORLD, delay_ns + agent_output_delay(sim, node),
        &(struct event){.run = on_ask_arrival, .data = ask});
}
