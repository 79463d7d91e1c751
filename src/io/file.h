/* file.h - files and folders. Everything here blocks: call it from start-up code, from a
 * command, or through loop_work. */
#pragma once

#include "base/err.h"

/* Answers of file_kind. */
enum file_kind {
    FILE_MISSING,
    FILE_REGULAR,
    FILE_FOLDER,
    FILE_EMPTY_FOLDER, /* nothing in it, or lost+found only */
    FILE_OTHER,
};

/* What is at PATH; ERR_IO when it cannot be told (permission, I/O error). A link is followed. */
MUST_CHECK int file_kind(const char *path, enum file_kind *ret, struct err *e);

/* Read a whole file of at most LIMIT bytes into a new terminated buffer (mem_free).
 * ERR_NOT_FOUND when there is none, ERR_LIMIT when larger. RET_LENGTH may be NULL. */
MUST_CHECK int file_read(
    const char *path, size_t limit, char **ret, size_t *ret_length, struct err *e);

/* Read at most LENGTH bytes from OFFSET on, fewer where the file ends (none behind its end); else
 * as file_read. */
MUST_CHECK int file_read_part(
    const char *path, uint64_t offset, size_t length, char **ret, size_t *ret_length,
    struct err *e);

/* Replace PATH atomically: temporary file beside it, fsync, rename, fsync of the folder. MODE as
 * 0600. */
MUST_CHECK int file_write(
    const char *path, const void *bytes, size_t length, unsigned mode, struct err *e);

/* Write only if the content differs. *RET_CHANGED tells. */
MUST_CHECK int file_write_if_changed(
    const char *path, const char *text, unsigned mode, bool *ret_changed, struct err *e);

/* The same without waiting for the disk, for what is written anew after each crash. On a full disk
 * it is overwritten in place, if it has the blocks. */
MUST_CHECK int file_put_if_changed(
    const char *path, const char *text, unsigned mode, bool *ret_changed, struct err *e);

/* Make PATH with SIZE zero bytes, on disk, unless there is one already: what is there stays. */
MUST_CHECK int file_make_sized(const char *path, uint64_t size, unsigned mode, struct err *e);

/* Write LENGTH bytes into a file that exists, from OFFSET on. With IS_SYNCED all of the file is on
 * disk then, what was written into it before included. */
MUST_CHECK int file_write_part(
    const char *path, uint64_t offset, const void *bytes, size_t length, bool is_synced,
    struct err *e);

/* Make PATH and its parents, MODE for the last one; one that exists is fine. */
MUST_CHECK int file_make_folder(const char *path, unsigned mode, struct err *e);

/* Rename FROM to "FROM.SUFFIX-<unix time>" (a free name) and sync the parent. RET (URL_SIZE-like
 * 4096 buffer) may be NULL. */
MUST_CHECK int file_rename_aside(
    const char *from, const char *suffix, char *ret, size_t ret_size, struct err *e);

/* Rename and sync both parents. */
MUST_CHECK int file_rename(const char *from, const char *to, struct err *e);

/* Remove one file; a missing one is fine. */
MUST_CHECK int file_remove(const char *path, struct err *e);

/* Remove a folder and all below it, never following links nor crossing file systems. Only for
 * what this program made itself and marked: refuses unless the folder contains a file called
 * MARK. */
MUST_CHECK int file_remove_tree(const char *path, const char *mark, struct err *e);

/* The names in a folder, without . and .., sorted; `names` ends with NULL; free with
 * file_names_free. */
MUST_CHECK int file_list(const char *path, char ***ret_names, struct err *e);
void file_names_free(char **names);

/* Owner, mode (07777), size and modification time. */
struct file_facts {
    unsigned owner;
    unsigned mode;
    int64_t size;
    int64_t modified_real_ms;
};
MUST_CHECK int file_facts(const char *path, struct file_facts *ret, struct err *e);

/* Whether PATH is the root of a mounted file system: it cannot be renamed. */
MUST_CHECK int file_is_mount(const char *path, bool *ret, struct err *e);

/* Free bytes for this user on the file system of PATH. */
MUST_CHECK int file_free_bytes(const char *path, int64_t *ret, struct err *e);

/* Take an exclusive lock (flock) on PATH, created 0600; the descriptor holds it. ERR_CONFLICT
 * when another process has it. */
MUST_CHECK int file_lock(const char *path, int *ret_fd, struct err *e);

/* Whether PATH is a program that this user may run; find one called NAME in PATH-like list
 * FOLDERS (":" between). */
bool file_is_program(const char *path);
bool file_find_program(const char *name, const char *folders, char *ret, size_t ret_size);

/* Close *FD if it is >= 0 (cleanup attribute). */
void file_auto_close(int *fd);
#define AUTO_FD __attribute__((cleanup(file_auto_close)))
