/* The driver's side of baton_fence, the module that refuses to commit without the lease (ext/).
 *
 * The page: what the guard is told is put into it first, so no server is promoted, and no deadline
 * counts as confirmed, before the server itself can know of it. It is cleared when every process is
 * gone, and before a kill. A page that lags behind the guard (it was removed, or could not be
 * written) follows it; one that is ahead was armed by this agent or the one before, and stays.
 *
 * The module: which one a server gets is decided when it is started, and holds until it ends. A
 * running server is never asked to load or to drop it by a reload: that would only show as a
 * restart that waits, for ever in a cluster that was made before there was a module. With `on` that
 * is just what it should show. A module that cannot be loaded must not keep a server from starting:
 * with `auto` the next attempt goes without. */
#include "base/assert.h"
#include "engine/postgres/conffile.h"
#include "engine/postgres/driver.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/process.h"

#define MODULE "baton_fence"

enum wish { WISH_AUTO, WISH_ON, WISH_OFF };

static enum wish wish(const struct postgres *pg)
{
    const char *word = pg->config->postgresql.fence;

    return str_equal(word, "off") ? WISH_OFF : str_equal(word, "on") ? WISH_ON : WISH_AUTO;
}

/* ---- the page ---- */

void pg_fence_init(struct postgres *pg)
{
    struct pg_fence *fence = &pg->fence;
    struct err why = {0};
    int r = lease_file_path(pg->paths.runtime_dir, fence->page, sizeof(fence->page), &why);

    if (r == 0) {
        r = lease_file_open(fence->page, &fence->file, &why);
    }
    if (r < 0) {
        str_copy(fence->problem, sizeof(fence->problem), err_text(&why));
    }
}

/* A page without a server is of no use to anybody. */
void pg_fence_fini(struct postgres *pg)
{
    if (pg->has_guard && !pg_is_running(pg)) {
        lease_file_remove(pg->fence.file);
    } else {
        lease_file_free(pg->fence.file);
    }
    pg->fence.file = NULL;
}

static void write_page(struct postgres *pg, struct instant deadline)
{
    struct pg_fence *fence = &pg->fence;
    struct err why = {0};

    fence->problem[0] = '\0';
    if (lease_file_write(fence->file, deadline, pg->cluster.lease.term, &why) < 0) {
        str_copy(fence->problem, sizeof(fence->problem), err_text(&why));
    }
}

static bool is_later(struct instant a, struct instant b)
{
    return a.boot_ns >= b.boot_ns && a.raw_ns >= b.raw_ns;
}

/* Also when it is the same: a page that somebody has removed or damaged is made good. */
void pg_fence_arm(struct postgres *pg, struct instant deadline)
{
    if (pg->fence.file != NULL && pg_is_running(pg) && instant_is_set(deadline) &&
        is_later(deadline, lease_file_deadline(pg->fence.file))) {
        pg->fence.is_shut = false;
        write_page(pg, deadline);
    }
}

static void clear_page(struct postgres *pg)
{
    if (pg->fence.file != NULL && instant_is_set(lease_file_deadline(pg->fence.file))) {
        write_page(pg, (struct instant){0, 0});
    }
}

void pg_fence_shut(struct postgres *pg)
{
    pg->fence.is_shut = true;
    clear_page(pg);
}

void pg_fence_follow_guard(struct postgres *pg)
{
    struct instant deadline = pg->guard.deadline;

    if (!pg_is_running(pg)) {
        pg->fence.is_shut = false;
        clear_page(pg);
    } else if (
        pg->fence.file != NULL && instant_is_set(deadline) && !pg->fence.is_shut &&
        pg->guard.was_killed == 0 && !is_later(lease_file_deadline(pg->fence.file), deadline)) {
        write_page(pg, deadline);
    }
}

/* ---- what is installed, and what the user loads: on the thread pool ---- */

/* Beside the programs, in a build and installed; as a package of PostgreSQL's own. */
static const struct {
    const char *folder_of; /* the program it is found by */
    const char *path;
    bool has_major;
} places[] = {
    {"baton", "ext/" MODULE "-", true},
    {"baton", "../lib/baton/" MODULE "-", true},
    {"postgres", "../lib/" MODULE, false},
};

/* Without .so, which PostgreSQL adds; "" when it is not there, cannot be read, or lies where a list
 * of libraries cannot name it. */
static void find_module(const struct pg_paths *paths, struct pg_look *look)
{
    struct pg_look_fence *fence = &look->fence;
    char path[PG_PATH_SIZE];

    for (size_t at = 0; at < ARRAY_LEN(places); at++) {
        const char *folder =
            str_equal(places[at].folder_of, "baton") ? paths->programs : look->bin_dir;
        char major[16] = "";
        AUTO_FREE char *byte = NULL;

        if (places[at].has_major) {
            str_format(major, sizeof(major), "%d", look->major);
        }
        if (str_format(
                fence->module, sizeof(fence->module), "%s/%s%s", folder, places[at].path, major) &&
            str_format(path, sizeof(path), "%s.so", fence->module) &&
            strpbrk(path, ",'\" ") == NULL && file_read_part(path, 0, 1, &byte, NULL, NULL) == 0) {
            return;
        }
        fence->module[0] = '\0';
    }
}

static bool read_preload(
    const struct pg_paths *paths, const char *name, struct pg_look_fence *fence, bool is_base)
{
    char path[PG_PATH_SIZE];
    AUTO_FREE char *text = NULL;

    str_format(path, sizeof(path), "%s/%s", paths->data_dir, name);
    if (file_read(path, PG_TEXT_MAX, &text, NULL, NULL) < 0 || str_starts(text, CONFFILE_HEADER)) {
        return false;
    }
    return conffile_find(
        text, PARAMETER_PRELOAD, fence->preload, sizeof(fence->preload),
        is_base ? &fence->is_hidden : NULL);
}

/* In the order in which PostgreSQL lets them win. */
void pg_fence_look(const struct pg_paths *paths, struct pg_look *look)
{
    struct pg_look_fence *fence = &look->fence;

    *fence = (struct pg_look_fence){0};
    find_module(paths, look);
    IGNORE(read_preload(paths, "postgresql.conf", fence, true), "ours, once it was started");
    IGNORE(read_preload(paths, "postgresql.base.conf", fence, true), "there may be none");
    fence->has_last_word = read_preload(paths, "postgresql.auto.conf", fence, false);
}

/* ---- which module ---- */

/* The first step of a start: what the last one ended with is still known. */
int pg_step_fence(struct postgres *pg, struct err *e)
{
    struct pg_fence *fence = &pg->fence;
    const struct pg_look_fence *found = &pg->look.fence;

    if (strstr(pg->exit_problem, MODULE) != NULL) {
        str_format(
            fence->broken, sizeof(fence->broken), "it runs without " MODULE ": %s",
            pg->exit_problem);
    }
    fence->module[0] = '\0';
    if (wish(pg) == WISH_OFF) {
        return STEP_DONE;
    }
    if (wish(pg) == WISH_ON) {
        if (fence->problem[0] != '\0') {
            return FAIL(e, ERR_UNAVAILABLE, "%s", fence->problem);
        }
        if (found->module[0] == '\0') {
            return FAIL(
                e, ERR_NOT_FOUND,
                "postgresql.fence is on and " MODULE " for PostgreSQL %d is not there\n"
                "hint: it belongs into the folder ext beside the program baton; build it with the "
                "package postgresql-server-dev-%d, or set postgresql.fence to auto",
                pg->look.major, pg->look.major);
        }
    } else if (fence->broken[0] != '\0' || fence->problem[0] != '\0') {
        return STEP_DONE;
    }
    str_copy(fence->module, sizeof(fence->module), found->module);
    fence->can_be_hidden = wish(pg) == WISH_AUTO && found->is_hidden && found->preload[0] == '\0';
    return STEP_DONE;
}

/* It runs all the same, but not as it was wished. */
const char *pg_fence_problem(const struct postgres *pg)
{
    const struct pg_fence *fence = &pg->fence;

    if (wish(pg) == WISH_OFF) {
        return "";
    }
    return fence->problem[0] != '\0' ? fence->problem : fence->broken;
}

/* What the running server has; with `on` what it should have. */
void pg_fence_adopt(struct postgres *pg)
{
    struct pg_fence *fence = &pg->fence;

    fence->can_be_hidden = false;
    str_copy(fence->module, sizeof(fence->module), pg->probe.fence_module);
    if (wish(pg) == WISH_OFF) {
        fence->module[0] = '\0';
    } else if (wish(pg) == WISH_ON && fence->module[0] == '\0') {
        str_copy(fence->module, sizeof(fence->module), pg->look.fence.module);
    }
}

struct parameters_fence pg_fence_parameters(const struct postgres *pg)
{
    const struct pg_fence *fence = &pg->fence;

    return (struct parameters_fence){
        .module = fence->module,
        .page = fence->page,
        .preload = pg->look.fence.preload,
        .has_last_word = pg->look.fence.has_last_word,
        .is_hidden = fence->can_be_hidden,
        .is_off = wish(pg) == WISH_OFF,
    };
}

/* ---- what the running server says ---- */

/* The entry of the list that is the module. */
static void find_entry(const char *list, char *ret, size_t size)
{
    while (*list != '\0') {
        size_t skip = strspn(list, " \t,\"");
        size_t length = strcspn(list + skip, ",\"");

        if (!str_format(ret, size, "%.*s", (int)length, list + skip)) {
            ret[0] = '\0';
        }
        if (strstr(ret, MODULE) != NULL) {
            return;
        }
        list += skip + length;
    }
    ret[0] = '\0';
}

enum fence_state pg_fence_read(
    const struct postgres *pg, const char *version, const char *mode, const char *page)
{
    char layout[32];
    const char *found;

    str_format(layout, sizeof(layout), " page %d", LEASE_PAGE_VERSION);
    if (version[0] == '\0') {
        return FENCE_ABSENT;
    }
    found = strstr(version, layout);
    if (found == NULL || found[strlen(layout)] != '\0' || !str_equal(page, pg->fence.page)) {
        return FENCE_MISMATCH;
    }
    return str_equal(mode, "off") ? FENCE_OFF : FENCE_ENFORCING;
}

void pg_fence_read_preload(struct pg_probe *probe, const char *list)
{
    find_entry(list, probe->fence_module, sizeof(probe->fence_module));
}
