/* The module: its settings, and what it shows. Everything can be read with SHOW; there is nothing
 * to CREATE. fence.h tells what it is for. */
#include "fence.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

enum mode { MODE_OFF, MODE_ENFORCE };

static const struct config_enum_entry modes[] = {
    {"off", MODE_OFF, false}, {"enforce", MODE_ENFORCE, false}, {NULL, 0, false}};

bool fence_allow_local_commit;
bool fence_allow_remote_write;
bool fence_check_reads;

static int mode = MODE_ENFORCE;
static char *page;
static char *version;
static char *state;
static char *left_ms;
static bool sync_defined;

bool fence_is_active(void)
{
    return mode == MODE_ENFORCE && page != NULL && page[0] != '\0' && IsUnderPostmaster &&
           !IsBinaryUpgrade && IsNormalProcessingMode();
}

static const char *show_state(void)
{
    static const char *const words[] = {
        [FENCE_OPEN] = "open",
        [FENCE_EXPIRED] = "expired",
        [FENCE_UNARMED] = "unarmed",
        [FENCE_UNREADABLE] = "unreadable",
    };

    return fence_is_active() ? words[fence_look(true)] : "off";
}

static const char *show_left_ms(void)
{
    static char text[32];

    snprintf(text, sizeof(text), INT64_FORMAT, fence_left_ms());
    return text;
}

static const char *show_sync_defined(void)
{
    return fence_sync_defined() ? "on" : "off";
}

/* What can be set. */
static void define_settings(void)
{
    DefineCustomStringVariable(
        "baton_fence.page", "File in which baton's agent says until when this server may commit.",
        NULL, &page, "", PGC_POSTMASTER, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
    DefineCustomEnumVariable(
        "baton_fence.mode", "Whether commits need baton's lease.", NULL, &mode, MODE_ENFORCE, modes,
        PGC_SIGHUP, 0, NULL, NULL, NULL);
    DefineCustomBoolVariable(
        "baton_fence.allow_local_commit",
        "Lets commits wait for no standby although synchronous_standby_names is set.", NULL,
        &fence_allow_local_commit, false, PGC_SUSET, 0, NULL, NULL, NULL);
    DefineCustomBoolVariable(
        "baton_fence.allow_remote_write",
        "Lets synchronous_commit be remote_write although synchronous_standby_names is set.", NULL,
        &fence_allow_remote_write, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
    DefineCustomBoolVariable(
        "baton_fence.check_reads",
        "Refuses queries of users that are no superusers on a primary without the lease.", NULL,
        &fence_check_reads, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* What can only be read. */
static void define_shown(void)
{
    const int flags = GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE | GUC_NO_RESET_ALL;

    DefineCustomStringVariable(
        "baton_fence.version", "Version of the module, and of the lease page that it reads.", NULL,
        &version, BATON_VERSION " page " CppAsString2(LEASE_PAGE_VERSION), PGC_INTERNAL, flags,
        NULL, NULL, NULL);
    DefineCustomStringVariable(
        "baton_fence.state", "What a commit would meet now.", NULL, &state, "", PGC_INTERNAL, flags,
        NULL, NULL, show_state);
    DefineCustomStringVariable(
        "baton_fence.left_ms", "Milliseconds until the deadline in the lease page.", NULL, &left_ms,
        "", PGC_INTERNAL, flags, NULL, NULL, show_left_ms);
    DefineCustomBoolVariable(
        "baton_fence.sync_defined",
        "Whether commits wait for standbys now, as the checkpointer has put it into force.", NULL,
        &sync_defined, false, PGC_INTERNAL, flags, NULL, NULL, show_sync_defined);
}

void _PG_init(void)
{
    if (!process_shared_preload_libraries_in_progress) {
        ereport(
            ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("baton_fence can only be loaded by shared_preload_libraries")));
    }
    define_settings();
    define_shown();
#if PG_VERSION_NUM >= 150000
    MarkGUCPrefixReserved("baton_fence");
#else
    EmitWarningsOnPlaceholders("baton_fence");
#endif
    fence_page_set(page);
    fence_sync_init();
    fence_commit_init();
}
