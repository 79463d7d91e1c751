/* kept.h - a short text that can be replaced on a full disk.
 *
 * The file is made while there is room. It has two slots of one sector each, which are written in
 * turn and in place, so that the filesystem has no block to find:
 *
 *   sector 0   "SEQ TEXT\nSEQ TEXT\n", zeros      sector 1   the same of another SEQ
 *
 * A slot whose two lines differ was torn by a crash, or never written; the other one counts then.
 * The higher SEQ is the newer text. A file of one short line is of before there were slots: that
 * line is the text, and kept_make gives it slots. Everything here blocks. One writer at a time. */
#pragma once

#include "base/err.h"

/* The longest text, with its end. */
#define KEPT_SIZE 200

/* Make the file PATH with nothing in it, on disk, unless there is one. What has no slots yet is
 * replaced at once by what has, with the same text. */
MUST_CHECK int kept_make(const char *path, struct err *e);

/* Replace the text by TEXT (one line of less than KEPT_SIZE bytes), on disk; makes the file if
 * need be. After an error it is the one before or TEXT. ERR_CORRUPT as kept_read: what is there
 * stays. */
MUST_CHECK int kept_write(const char *path, const char *text, struct err *e);

/* Copy the newest text to RET (KEPT_SIZE bytes). ERR_NOT_FOUND when there is none, ERR_CORRUPT when
 * the file is not one of these, or none of its slots is whole. */
MUST_CHECK int kept_read(const char *path, char *ret, struct err *e);
