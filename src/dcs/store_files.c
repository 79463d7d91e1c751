#include "dcs/store_files.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

#define LOG_MAX ((size_t)8 << 20)
#define FORMING_MAX ((size_t)65536)

struct store_work {
    struct store_paths paths;
    struct store_result result;
    char suffix[32];
    char *forming; /* JSON, NULL: none */
    store_work_done *done;
    void *arg;
};

AUTO_DEFINE(char *, file_names_free)

int store_files_look(const char *data_dir, bool *ret_has_data, struct err *e)
{
    AUTO(file_names_free) char **names = NULL;
    char path[STORE_PATH_SIZE + 16];
    int r = 0;

    *ret_has_data = false;
    if (!str_format(path, sizeof(path), "%s/member/wal", data_dir)) {
        return FAIL(e, ERR_LIMIT, "the path %s is too long", data_dir);
    }
    r = file_list(path, &names, e);
    if (r == ERR_NOT_FOUND) {
        return 0;
    }
    if (r < 0) {
        return err_wrap(e, r, "look for the store's data");
    }
    for (size_t at = 0; names[at] != NULL; at++) {
        *ret_has_data |= str_ends(names[at], ".wal");
    }
    return 0;
}

bool store_files_is_out(const char *path)
{
    enum file_kind kind = FILE_MISSING;

    return file_kind(path, &kind, NULL) == 0 && kind != FILE_MISSING;
}

bool store_files_read_forming(const char *path, struct store_answer *ret)
{
    AUTO_FREE char *json = NULL;
    size_t length = 0;

    return file_read(path, FORMING_MAX, &json, &length, NULL) == 0 &&
           formation_decode(json, length, ret, NULL) == 0 && ret->state == STORE_FORMING;
}

static int move_aside(struct store_work *work, struct err *e)
{
    enum file_kind kind = FILE_MISSING;
    int r = file_kind(work->paths.data_dir, &kind, e);

    if (r < 0 || kind == FILE_MISSING || kind == FILE_EMPTY_FOLDER) {
        return r;
    }
    return file_rename_aside(
        work->paths.data_dir, work->suffix, work->result.aside, sizeof(work->result.aside), e);
}

/* The note comes first: without it an agent that restarts in between would join again. */
static int leave(struct store_work *work, struct err *e)
{
    static const char note[] = "This node has left the store; 'baton store join' brings it back.\n";
    int r = file_write(work->paths.out, note, sizeof(note) - 1, 0600, e);

    return r < 0 ? err_wrap(e, r, "note that this node has left the store") : move_aside(work, e);
}

/* What was left when it left comes out of the way; then the note. */
static int come_back(struct store_work *work, struct err *e)
{
    int r = move_aside(work, e);

    return r < 0 ? err_wrap(e, r, "move old store data aside") : file_remove(work->paths.out, e);
}

static int rotate_log(const struct store_work *work, struct err *e)
{
    char old[STORE_PATH_SIZE + 16];
    enum file_kind kind = FILE_MISSING;
    int r = file_kind(work->paths.log, &kind, e);

    if (r < 0 || kind == FILE_MISSING) {
        return r;
    }
    IGNORE(!str_format(old, sizeof(old), "%s.1", work->paths.log), "it fits");
    return file_rename(work->paths.log, old, e);
}

static int prepare_new(struct store_work *work, struct err *e)
{
    bool has_data = false;
    int r = store_files_look(work->paths.data_dir, &has_data, e);

    if (r < 0) {
        return r;
    }
    if (has_data) {
        return FAIL(
            e, ERR_CONFLICT, "data of the store is in %s now, and was not before",
            work->paths.data_dir);
    }
    r = move_aside(work, e);
    if (r < 0) {
        return err_wrap(e, r, "move old store data aside");
    }
    r = file_make_folder(work->paths.data_dir, 0700, e);
    if (r < 0) {
        return err_wrap(e, r, "make the store's data directory");
    }
    if (work->forming == NULL) {
        r = file_remove(work->paths.forming, e);
    } else {
        r = file_write(work->paths.forming, work->forming, strlen(work->forming), 0600, e);
    }
    if (r < 0) {
        return err_wrap(e, r, "note how the store is formed");
    }
    return rotate_log(work, e);
}

static int prepare_start(const struct store_work *work, struct err *e)
{
    bool has_data = false;
    int r = store_files_look(work->paths.data_dir, &has_data, e);

    return r < 0 || !has_data ? r : rotate_log(work, e);
}

static int look(struct store_work *work)
{
    AUTO_FREE char *output = NULL;
    int r = file_read(work->paths.log, LOG_MAX, &output, NULL, NULL);

    work->result.end =
        formation_end_of(r == 0 ? output : "", work->result.why, sizeof(work->result.why));
    return 0;
}

static int do_errand(struct store_work *work, struct err *e)
{
    bool has_data = false;

    switch (work->result.errand) {
    case STORE_CHECK:
        return store_files_look(work->paths.data_dir, &has_data, e);
    case STORE_PREPARE_START:
        return prepare_start(work, e);
    case STORE_PREPARE_NEW:
        return prepare_new(work, e);
    case STORE_ASIDE:
        return move_aside(work, e);
    case STORE_LEAVE:
        return leave(work, e);
    case STORE_RETURN:
        return come_back(work, e);
    case STORE_LOOK:
        return look(work);
    case STORE_FORMED:
        return file_remove(work->paths.forming, e);
    }
    return 0;
}

static void on_work(void *arg)
{
    struct store_work *work = arg;
    struct err e = {0};

    work->result.result = do_errand(work, &e);
    work->result.is_unknown =
        store_files_look(work->paths.data_dir, &work->result.has_data, NULL) < 0;
    if (work->result.result < 0) {
        IGNORE(!str_copy(work->result.why, sizeof(work->result.why), err_text(&e)), "cut is fine");
    }
}

static void on_work_done(void *arg)
{
    struct store_work *work = arg;

    if (work->done != NULL) {
        work->done(work->arg, &work->result);
    }
    mem_free(work->forming);
    mem_free(work);
}

struct store_work *store_work_start(
    struct loop *loop, const struct store_paths *paths, enum store_errand errand,
    const char *suffix, const struct store_answer *forming)
{
    struct store_work *work = mem_alloc(sizeof(*work));
    bool is_whole = str_copy(work->suffix, sizeof(work->suffix), suffix);

    ASSERT(is_whole);
    work->paths = *paths;
    work->result.errand = errand;
    work->forming = forming != NULL ? formation_encode(forming) : NULL;
    loop_work(loop, on_work, on_work_done, work);
    return work;
}

void store_work_then(struct store_work *work, store_work_done *done, void *arg)
{
    work->done = done;
    work->arg = arg;
}

void store_work_forget(struct store_work *work)
{
    if (work != NULL) {
        work->done = NULL;
    }
}
