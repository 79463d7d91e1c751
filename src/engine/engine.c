#include "engine/engine.h"

#include "base/assert.h"

void engine_start(struct engine *engine, const struct engine_listener *listener)
{
    ASSERT(listener->on_status != NULL);
    ASSERT(listener->on_order != NULL);
    ASSERT(listener->on_ping != NULL);
    engine->driver->start(engine, listener);
}

int engine_order(struct engine *engine, const struct engine_order_args *args, struct err *e)
{
    ASSERT(args->order != ORDER_NONE);
    return engine->driver->order(engine, args, e);
}

void engine_probe(struct engine *engine)
{
    engine->driver->probe(engine);
}

void engine_arm(struct engine *engine, struct instant deadline)
{
    ASSERT(instant_is_set(deadline));
    engine->driver->arm(engine, deadline);
}

void engine_disarm(struct engine *engine)
{
    if (engine->driver->disarm != NULL) {
        engine->driver->disarm(engine);
    }
}

void engine_watch(struct engine *engine, const struct engine_watch *watch)
{
    ASSERT(watch->device != NULL);
    if (engine->driver->watch != NULL) {
        engine->driver->watch(engine, watch);
    }
}

void engine_kill(struct engine *engine)
{
    engine->driver->kill(engine);
}

void engine_set_cluster(
    struct engine *engine, const struct cluster *cluster, const char *config_json)
{
    engine->driver->set_cluster(engine, cluster, config_json);
}

void engine_set_sync(struct engine *engine, const struct sync_rule *rule, uint64_t serial)
{
    ASSERT(serial != 0);
    engine->driver->set_sync(engine, rule, serial);
}

void engine_ping(struct engine *engine, const struct engine_peer *peer, int64_t timeout_ms)
{
    ASSERT(peer->name[0] != '\0');
    engine->driver->ping(engine, peer, timeout_ms);
}

void engine_read_log(
    struct engine *engine, const struct tail_ask *ask, const char *mac, engine_log_done *done,
    void *arg)
{
    struct err why = {0};

    if (engine->driver->read_log != NULL) {
        engine->driver->read_log(engine, ask, mac, done, arg);
    } else {
        done(arg, FAIL(&why, ERR_UNSUPPORTED, "this engine gives no log"), NULL, 0, &why);
    }
}

void engine_free(struct engine *engine)
{
    if (engine != NULL) {
        engine->driver->free(engine);
    }
}

const char *engine_order_text(enum engine_order order)
{
    static const char *const texts[] = {"none",   "bootstrap", "clone",   "rewind",
                                        "start",  "stop",      "promote", "checkpoint",
                                        "follow", "reload",    "revoke",  "fetch"};

    ASSERT((size_t)order < ARRAY_LEN(texts));
    return texts[order];
}
