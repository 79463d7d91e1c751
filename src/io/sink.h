/* sink.h - where log lines go: standard error or a file, without ever waiting for it.
 *
 * A reader that has stopped reading (a full pipe, a blocked journal) must not stop the loop, and
 * with it the renewal of the lease: a line that cannot be written at once is dropped, and the next
 * one that can be written says how many were. */
#pragma once

#include "base/err.h"

struct sink;

/* Append to FOLDER/NAME (made with mode 0600), or standard error if FOLDER is "". */
MUST_CHECK int sink_open(const char *folder, const char *name, struct sink **ret, struct err *e);
void sink_close(struct sink *sink);

/* Write LINE and a newline, or count it as lost. */
void sink_write(struct sink *sink, const char *line);

/* Lines lost so far. */
uint64_t sink_lost(const struct sink *sink);
