/* copy.h - the folder in which a new data directory is made, for bootstrap and clone.
 *
 *   <data_dir>.baton-new/           0700
 *     baton.mark                    written first: whatever is in here is ours and may be removed
 *     <name>                        a secret for the program, if any
 *     data/                         what becomes data_dir when it is complete
 *
 * Finishing renames an old data_dir that is not empty to data_dir.baton-<time>, then data to
 * data_dir, then removes the folder. Between the two renames there is no data_dir; a crash there is
 * repaired by making a new copy. */
#pragma once

#include "engine/postgres/driver.h"

/* STEP_DONE, or a failure: a mount point cannot be replaced by renaming. */
int copy_check_place(struct postgres *pg, struct err *e);

/* Start the job that makes the folder anew, with a file NAME of TEXT in it (both NULL for none);
 * takes TEXT, a secret. */
int copy_prepare(struct postgres *pg, const char *name, char *text);

/* Remove the secret. */
int copy_step_clean(struct postgres *pg, struct err *e);

/* Sync and rename into place. */
int copy_step_finish(struct postgres *pg, struct err *e);
