/* metrics.h - GET /metrics in Prometheus' text form: Patroni's names, and baton's own. Private to
 * api/.
 *
 * One row a metric (metrics.c); the reference page walks it. Labels: scope and name, as Patroni's.
 * */
#pragma once

#include "base/str.h"

struct api_snapshot;

/* Add the whole page to OUT, which must have room for 64 KiB. */
void metrics_render(const struct api_snapshot *snapshot, struct str *out);

/* The metrics as rows of a Markdown table. */
void metrics_render_reference(struct str *out);
