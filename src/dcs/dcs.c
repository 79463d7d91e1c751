#include "dcs/dcs.h"

#include "base/assert.h"

void dcs_start(struct dcs *dcs, const struct dcs_listener *listener)
{
    ASSERT(listener->on_snapshot != NULL);
    ASSERT(listener->on_health != NULL);
    dcs->driver->start(dcs, listener);
}

void dcs_txn(
    struct dcs *dcs, const struct dcs_txn *txn, int64_t timeout_ms, dcs_done *done, void *arg)
{
    ASSERT(txn->compare_count <= DCS_COMPARES_MAX);
    ASSERT(txn->op_count >= 1);
    ASSERT(txn->op_count <= DCS_OPS_MAX);
    ASSERT(timeout_ms > 0);
    ASSERT(done != NULL);
    dcs->driver->txn(dcs, txn, timeout_ms, done, arg);
}

void dcs_refresh(struct dcs *dcs)
{
    dcs->driver->refresh(dcs);
}

void dcs_set_times(struct dcs *dcs, int64_t ttl_ms, int64_t retry_timeout_ms)
{
    ASSERT(ttl_ms > 0);
    dcs->driver->set_times(dcs, ttl_ms, retry_timeout_ms);
}

void dcs_end_session(struct dcs *dcs)
{
    dcs->driver->end_session(dcs);
}

void dcs_free(struct dcs *dcs)
{
    if (dcs != NULL) {
        dcs->driver->free(dcs);
    }
}
