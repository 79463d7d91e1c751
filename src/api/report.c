#include "api/api.h"
#include "base/str.h"

void api_report(const struct api_snapshot *snapshot, struct peer_report *ret)
{
    const struct engine_status *server = &snapshot->server;

    *ret = (struct peer_report){
        .state = snapshot->state,
        .role = snapshot->role,
        .system_id = snapshot->system_id,
        .server_version = server->version,
        .position = server->position,
        .received_lsn = server->received_lsn,
        .replayed_lsn = server->replayed_lsn,
        .is_streaming = server->is_streaming,
        .is_paused = snapshot->cluster.settings.is_paused,
        .is_watchdog_failed = server->is_watchdog_failed,
        .is_outgrown = server->is_outgrown,
        .tags = snapshot->config->tags,
        .has_baton = true,
        .trouble = snapshot->trouble,
        .dcs_ok = snapshot->dcs_ok,
        .term = snapshot->past_term,
        .given_timeline = snapshot->past_timeline,
        .is_candidate = snapshot->is_candidate,
        .down_ms = snapshot->down_ms,
        .age_ms = snapshot->age_ms,
        .suspected = snapshot->suspected,
        .is_partial = snapshot->is_partial,
        .promised = snapshot->promised,
        .bound = snapshot->bound,
        .vote_term = snapshot->vote_term,
        .vote_seq = snapshot->vote_seq,
        .is_fetching = snapshot->is_fetching,
        .history = server->history,
    };
    IGNORE(!str_copy(ret->tail_for, sizeof(ret->tail_for), snapshot->tail_for), "same size");
}
