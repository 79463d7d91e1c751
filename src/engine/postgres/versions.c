#include "engine/postgres/versions.h"

#include "base/assert.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"

#define FOLDER_SIZE 600

/* Parameters that appeared or went away between 13 and 18 (release notes of each). `until` is the
 * last major version that has it; 0: no end. */
static const struct {
    const char *name;
    int from;
    int until;
} rows[] = {
    /* gone */
    {"wal_keep_segments", 0, 12},
    {"operator_precedence_warning", 0, 13},
    {"vacuum_cleanup_index_scale_factor", 0, 13},
    {"stats_temp_directory", 0, 14},
    {"force_parallel_mode", 0, 15},
    {"promote_trigger_file", 0, 15},
    {"vacuum_defer_cleanup_age", 0, 15},
    {"lc_collate", 0, 15},
    {"lc_ctype", 0, 15},
    {"db_user_namespace", 0, 16},
    {"old_snapshot_threshold", 0, 16},
    {"trace_recovery_messages", 0, 16},
    /* new in 14 */
    {"client_connection_check_interval", 14, 0},
    {"compute_query_id", 14, 0},
    {"debug_discard_caches", 14, 0},
    {"default_toast_compression", 14, 0},
    {"enable_async_append", 14, 0},
    {"enable_memoize", 14, 0},
    {"huge_page_size", 14, 0},
    {"idle_session_timeout", 14, 0},
    {"log_recovery_conflict_waits", 14, 0},
    {"min_dynamic_shared_memory", 14, 0},
    {"recovery_init_sync_method", 14, 0},
    {"remove_temp_files_after_crash", 14, 0},
    {"ssl_crl_dir", 14, 0},
    {"track_wal_io_timing", 14, 0},
    {"vacuum_failsafe_age", 14, 0},
    {"vacuum_multixact_failsafe_age", 14, 0},
    /* new in 15 */
    {"allow_in_place_tablespaces", 15, 0},
    {"archive_library", 15, 0},
    {"log_startup_progress_interval", 15, 0},
    {"recovery_prefetch", 15, 0},
    {"recursive_worktable_factor", 15, 0},
    {"stats_fetch_consistency", 15, 0},
    {"wal_decode_buffer_size", 15, 0},
    /* new in 16 */
    {"createrole_self_grant", 16, 0},
    {"debug_io_direct", 16, 0},
    {"debug_logical_replication_streaming", 16, 0},
    {"debug_parallel_query", 16, 0},
    {"enable_presorted_aggregate", 16, 0},
    {"gss_accept_delegation", 16, 0},
    {"icu_validation_level", 16, 0},
    {"max_parallel_apply_workers_per_subscription", 16, 0},
    {"reserved_connections", 16, 0},
    {"scram_iterations", 16, 0},
    {"send_abort_for_crash", 16, 0},
    {"send_abort_for_kill", 16, 0},
    {"vacuum_buffer_usage_limit", 16, 0},
    /* new in 17 */
    {"allow_alter_system", 17, 0},
    {"commit_timestamp_buffers", 17, 0},
    {"enable_group_by_reordering", 17, 0},
    {"event_triggers", 17, 0},
    {"io_combine_limit", 17, 0},
    {"max_notify_queue_pages", 17, 0},
    {"multixact_member_buffers", 17, 0},
    {"multixact_offset_buffers", 17, 0},
    {"notify_buffers", 17, 0},
    {"serializable_buffers", 17, 0},
    {"subtransaction_buffers", 17, 0},
    {"summarize_wal", 17, 0},
    {"sync_replication_slots", 17, 0},
    {"synchronized_standby_slots", 17, 0},
    {"trace_connection_negotiation", 17, 0},
    {"transaction_buffers", 17, 0},
    {"transaction_timeout", 17, 0},
    {"wal_summary_keep_time", 17, 0},
    /* new in 18 */
    {"autovacuum_vacuum_max_threshold", 18, 0},
    {"autovacuum_worker_slots", 18, 0},
    {"enable_distinct_reordering", 18, 0},
    {"enable_self_join_elimination", 18, 0},
    {"extension_control_path", 18, 0},
    {"file_copy_method", 18, 0},
    {"idle_replication_slot_timeout", 18, 0},
    {"io_max_combine_limit", 18, 0},
    {"io_max_concurrency", 18, 0},
    {"io_method", 18, 0},
    {"io_workers", 18, 0},
    {"log_lock_failures", 18, 0},
    {"max_active_replication_origins", 18, 0},
    {"md5_password_warnings", 18, 0},
    {"oauth_validator_libraries", 18, 0},
    {"ssl_groups", 18, 0},
    {"ssl_tls13_ciphers", 18, 0},
    {"track_cost_delay_timing", 18, 0},
    {"vacuum_max_eager_freeze_failure_rate", 18, 0},
    {"vacuum_truncate", 18, 0},
};

const char *versions_refuse(const char *parameter, int major)
{
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        if (!str_equal(rows[at].name, parameter)) {
            continue;
        }
        if (major < rows[at].from) {
            return "a later version has it";
        }
        return rows[at].until != 0 && major > rows[at].until ? "it was removed" : NULL;
    }
    return NULL;
}

static const char *const package_folders[] = {
    "/usr/lib/postgresql/%d/bin", /* Debian, Ubuntu */
    "/usr/pgsql-%d/bin",          /* PGDG's packages for Red Hat and SUSE */
    "/usr/local/pgsql-%d/bin",
};

static bool is_program_folder(const char *folder)
{
    static const char *const needed[] = {"postgres", "initdb", "pg_basebackup", "pg_rewind"};
    char path[FOLDER_SIZE];

    for (size_t at = 0; at < ARRAY_LEN(needed); at++) {
        if (!str_format(path, sizeof(path), "%s/%s", folder, needed[at]) ||
            !file_is_program(path)) {
            return false;
        }
    }
    return true;
}

/* The format is split by hand: the compiler checks only formats that it can see. */
static bool find_package(int major, char *ret, size_t size)
{
    for (size_t at = 0; at < ARRAY_LEN(package_folders); at++) {
        const char *format = package_folders[at];
        const char *hole = strstr(format, "%d");

        ASSERT(hole != NULL);
        if (str_format(ret, size, "%.*s%d%s", (int)(hole - format), format, major, hole + 2) &&
            is_program_folder(ret)) {
            return true;
        }
    }
    return false;
}

static bool find_in_path(char *ret, size_t size)
{
    const char *folders = process_env("PATH");
    char *slash;

    if (folders == NULL || !file_find_program("postgres", folders, ret, size)) {
        return false;
    }
    slash = strrchr(ret, '/');
    ASSERT(slash != NULL);
    *slash = '\0';
    return is_program_folder(ret);
}

int versions_find_programs(const char *configured, int major, char *ret, size_t size, struct err *e)
{
    int first = major != 0 ? major : PG_VERSION_LAST;
    int last = major != 0 ? major : PG_VERSION_FIRST;

    if (configured[0] != '\0') {
        if (!is_program_folder(configured)) {
            return FAIL(
                e, ERR_NOT_FOUND,
                "no PostgreSQL programs in %s\n"
                "hint: postgresql.bin_dir must have postgres, initdb, pg_basebackup and pg_rewind",
                configured);
        }
        str_copy(ret, size, configured);
        return 0;
    }
    for (int version = first; version >= last; version--) {
        if (find_package(version, ret, size)) {
            return 0;
        }
    }
    if (find_in_path(ret, size)) {
        return 0;
    }
    if (major != 0) {
        return FAIL(
            e, ERR_NOT_FOUND,
            "the programs of PostgreSQL %d are missing\n"
            "hint: install postgresql-%d or set postgresql.bin_dir",
            major, major);
    }
    return FAIL(
        e, ERR_NOT_FOUND,
        "PostgreSQL is not installed\n"
        "hint: install the package postgresql or set postgresql.bin_dir");
}
