/* lease_page.h - the agent's end of the fence inside PostgreSQL: the file with the page that
 * model/lease_page.h describes.
 *
 * It lies in memory (LEASE_PAGE_FOLDER, which PostgreSQL needs for itself, too): a write there
 * waits for no disk, so it may be done on the loop, and no reboot leaves an old page behind, whose
 * deadline would mean nothing on the new clocks. The file is never replaced while it is there and
 * never made smaller: a server has it open. One that was removed is made again by the next writing,
 * and the readers find it.
 *
 * The page of an agent before stays as it is: what it says was armed. */
#pragma once

#include "base/err.h"
#include "model/model.h"

#define LEASE_PAGE_FOLDER "/dev/shm"
#define LEASE_PAGE_PATH_SIZE 256

struct lease_file;

/* The path of the page of the server whose runtime_dir is FOLDER. */
MUST_CHECK int lease_file_path(const char *folder, char *ret, size_t size, struct err *e);

/* Open the page at PATH; one that is missing is made, without a deadline. */
MUST_CHECK int lease_file_open(const char *path, struct lease_file **ret, struct err *e);

/* What it says now, as far as this process knows; {0,0} when it says nothing valid. */
struct instant lease_file_deadline(const struct lease_file *file);

/* Say DEADLINE ({0,0}: none); not synced, seen by every reader when this returns. */
MUST_CHECK int lease_file_write(
    struct lease_file *file, struct instant deadline, uint64_t term, struct err *e);

/* Close it; the page stays. `remove` also takes it away, for when no server runs. NULL is
 * accepted. */
void lease_file_free(struct lease_file *file);
void lease_file_remove(struct lease_file *file);
