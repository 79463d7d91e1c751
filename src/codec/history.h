/* history.h - PostgreSQL's timeline history file ("0000000A.history"): one line
 * "timeline<tab>LSN<tab>reason" a switch. */
#pragma once

#include "model/model.h"

/* Decode the text of the history file of TIMELINE. Its timelines must grow and stay below TIMELINE;
 * ERR_CORRUPT otherwise. An empty TEXT is the history of timeline 1, which has no file, and of no
 * other. Comments (#) are skipped. */
MUST_CHECK int history_parse(
    const char *text, uint32_t timeline, struct timeline_history *ret, struct err *e);

/* "0000000A.history". */
#define HISTORY_NAME_SIZE 20
void history_name_format(uint32_t timeline, char *buffer);
