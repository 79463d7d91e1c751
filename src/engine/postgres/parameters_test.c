#include "engine/postgres/parameters.h"

#include "engine/postgres/conffile.h"
#include "engine/postgres/versions.h"

#include <setjmp.h>

#include <cmocka.h>

#define LIMIT ((size_t)1 << 20)

struct lab {
    struct arena *arena;
    struct config config;
    struct parameters got;
};

static int set_up(void **state)
{
    struct lab *lab = mem_alloc(sizeof(*lab));

    lab->arena = arena_new(LIMIT);
    str_copy(lab->config.scope, sizeof(lab->config.scope), "demo");
    str_copy(lab->config.postgresql.listen.host, HOST_SIZE, "10.0.0.1,127.0.0.1");
    lab->config.postgresql.listen.port = 5433;
    *state = lab;
    return 0;
}

static int tear_down(void **state)
{
    struct lab *lab = *state;

    arena_free(lab->arena);
    mem_free(lab);
    return 0;
}

static void assemble_with(
    struct lab *lab, const char *json, int major, const struct control_limits *least)
{
    json_t *store = json != NULL ? json_loads(json, 0, NULL) : NULL;
    const struct parameters_input input = {
        .config = &lab->config,
        .store = store,
        .folder = "/run/x",
        .data_dir = "/data",
        .major = major,
        .least = least};

    assert_true(json == NULL || store != NULL);
    parameters_assemble(lab->arena, &input, &lab->got);
    json_decref(store);
}

static void assemble(struct lab *lab, const char *json, int major)
{
    assemble_with(lab, json, major, NULL);
}

static void expect(const struct lab *lab, const char *name, const char *wanted)
{
    const char *value = parameters_find(&lab->got, name);

    if (wanted == NULL) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_string_equal(value, wanted);
}

static void defaults_are_patronis(void **state)
{
    struct lab *lab = *state;

    assemble(lab, NULL, 13);
    assert_null(parameters_find(&lab->got, "recovery_init_sync_method"));
    assemble(lab, NULL, 15);
    expect(lab, "recovery_init_sync_method", "syncfs");
    expect(lab, "wal_level", "replica");
    expect(lab, "max_connections", "100");
    expect(lab, "wal_keep_size", "128MB");
    expect(lab, "wal_log_hints", "on");
    expect(lab, "cluster_name", "demo");
    expect(lab, "port", "5433");
    expect(lab, "listen_addresses", "10.0.0.1,127.0.0.1");
    expect(lab, "unix_socket_directories", "/run/x");
    expect(lab, "hba_file", "/data/pg_hba.conf");
    assert_string_equal(lab->got.complaint, "");
}

static void the_store_sets_shared_ones_within_limits(void **state)
{
    struct lab *lab = *state;

    assemble(
        lab,
        "{\"postgresql\":{\"parameters\":{\"max_connections\":250,\"max_wal_senders\":\"2\","
        "\"wal_level\":\"minimal\",\"hot_standby\":false,\"track_commit_timestamp\":true,"
        "\"wal_keep_size\":\"1GB\",\"max_worker_processes\":null}}}",
        15);
    expect(lab, "max_connections", "250");
    expect(lab, "max_wal_senders", "10");
    expect(lab, "wal_level", "replica");
    expect(lab, "hot_standby", "on");
    expect(lab, "track_commit_timestamp", "on");
    expect(lab, "wal_keep_size", "1GB");
    expect(lab, "max_worker_processes", "8");
    assert_non_null(strstr(lab->got.complaint, "max_wal_senders"));
}

static void lower_values_wait_behind_the_control_file(void **state)
{
    static const struct control_limits least = {100, 8, 10, 0, 64};
    static const struct control_limits more = {101, 9, 11, 1, 65};
    struct lab *lab = *state;

    assemble_with(lab, NULL, 15, &least);
    assert_false(lab->got.is_lowered);
    expect(lab, "max_connections", "100");
    assemble_with(lab, NULL, 15, &more);
    assert_true(lab->got.is_lowered);
    expect(lab, "max_connections", "101");
    expect(lab, "max_worker_processes", "9");
    expect(lab, "max_wal_senders", "11");
    expect(lab, "max_prepared_transactions", "1");
    expect(lab, "max_locks_per_transaction", "65");
    assemble_with(lab, "{\"postgresql\":{\"parameters\":{\"max_connections\":50}}}", 15, &least);
    assert_true(lab->got.is_lowered);
    expect(lab, "max_connections", "100");
    assemble_with(lab, "{\"postgresql\":{\"parameters\":{\"max_connections\":150}}}", 15, &least);
    assert_false(lab->got.is_lowered);
    expect(lab, "max_connections", "150");
}

static void assemble_fence(struct lab *lab, const char *json, const struct parameters_fence *fence)
{
    json_t *store = json != NULL ? json_loads(json, 0, NULL) : NULL;
    const struct parameters_input input = {
        .config = &lab->config,
        .store = store,
        .folder = "/run/x",
        .data_dir = "/data",
        .major = 15,
        .fence = *fence};

    parameters_assemble(lab->arena, &input, &lab->got);
    json_decref(store);
}

static void the_fence_is_loaded_behind_what_the_user_loads(void **state)
{
    static const char store[] =
        "{\"postgresql\":{\"parameters\":{\"shared_preload_libraries\":\"pg_stat_statements\","
        "\"baton_fence.mode\":\"off\",\"baton_fence.check_reads\":true}}}";
    static const char named[] = "{\"postgresql\":{\"parameters\":{"
                                "\"shared_preload_libraries\":\"a, $libdir/baton_fence\"}}}";
    struct parameters_fence fence = {.module = "/x/baton_fence", .page = "/p"};
    struct lab *lab = *state;

    assemble_fence(lab, NULL, &fence);
    expect(lab, "shared_preload_libraries", "/x/baton_fence");
    expect(lab, "baton_fence.page", "/p");
    expect(lab, "baton_fence.mode", "enforce");
    assemble_fence(lab, store, &fence);
    expect(lab, "shared_preload_libraries", "pg_stat_statements, /x/baton_fence");
    expect(lab, "baton_fence.mode", "enforce");
    expect(lab, "baton_fence.check_reads", "on");
    assemble_fence(lab, named, &fence);
    expect(lab, "shared_preload_libraries", "a, $libdir/baton_fence");
    fence.preload = "of_a_file";
    assemble_fence(lab, NULL, &fence);
    expect(lab, "shared_preload_libraries", "of_a_file, /x/baton_fence");
    assemble_fence(lab, store, &fence);
    expect(lab, "shared_preload_libraries", "pg_stat_statements, /x/baton_fence");
    fence.has_last_word = true;
    assemble_fence(lab, store, &fence);
    expect(lab, "shared_preload_libraries", "of_a_file, /x/baton_fence");
}

static void without_the_fence_nothing_is_changed(void **state)
{
    struct parameters_fence fence = {.module = "", .page = "/p", .preload = "of_a_file"};
    struct lab *lab = *state;

    assemble_fence(lab, NULL, &fence);
    expect(lab, "shared_preload_libraries", NULL);
    expect(lab, "baton_fence.page", NULL);
    expect(lab, "baton_fence.mode", NULL);
    fence.is_off = true;
    assemble_fence(lab, NULL, &fence);
    expect(lab, "shared_preload_libraries", NULL);
    expect(lab, "baton_fence.mode", "off");
    /* A file that nobody looks into may load something. */
    fence = (struct parameters_fence){.module = "/x/baton_fence", .page = "/p", .is_hidden = true};
    assemble_fence(lab, NULL, &fence);
    expect(lab, "shared_preload_libraries", NULL);
}

static void values_are_found_in_configuration_files(void **state)
{
    static const struct {
        const char *text;
        const char *wanted; /* NULL: none */
        bool includes;
    } rows[] = {
        {"", NULL, false},
        {"#name = 'a'\nnames = b\n", NULL, false},
        {"name = 'a'\n", "a", false},
        {" \tName='a, \"B c\"' # why\n", "a, \"B c\"", false},
        {"name a # why", "a", false},
        {"name = a\nname = 'it''s'\nother = x", "it's", false},
        {"name = 'a\\'b'\n", "a'b", false},
        {"name = ''\n", "", false},
        {"name = 'not ended\n", "not ended", false},
        {"include 'x'\nname = a\n", "a", true},
        {"#include 'x'\n", NULL, false},
        {"include_dir = 'conf.d'\n", NULL, true},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        char value[32] = "";
        bool includes = false;

        assert_int_equal(
            conffile_find(rows[at].text, "name", value, sizeof(value), &includes),
            rows[at].wanted != NULL);
        assert_string_equal(value, rows[at].wanted != NULL ? rows[at].wanted : "");
        assert_int_equal(includes, rows[at].includes);
    }
    assert_false(conffile_find("name = abc", "name", (char[3]){""}, 3, NULL));
}

static void local_values_win_but_not_shared_ones(void **state)
{
    struct lab *lab = *state;
    char names[][24] = {"Work_Mem", "max_connections", "port", "unix_socket_directories"};
    char values[][24] = {"9MB", "7", "1", "/tmp"};
    struct setting items[4];

    for (size_t at = 0; at < ARRAY_LEN(items); at++) {
        items[at] = (struct setting){.name = names[at], .value = values[at]};
    }
    lab->config.postgresql.parameters = (struct setting_list){ARRAY_LEN(items), items};
    str_copy(lab->config.postgresql.socket_dir, PATH_SIZE, "/var/run/postgresql");
    assemble(
        lab, "{\"postgresql\":{\"parameters\":{\"work_mem\":\"4MB\",\"jit\":false,\"cost\":1.5}}}",
        15);
    expect(lab, "work_mem", "9MB");
    expect(lab, "jit", "off");
    expect(lab, "cost", "1.5");
    expect(lab, "max_connections", "100");
    expect(lab, "port", "5433");
    expect(lab, "unix_socket_directories", "/run/x,/var/run/postgresql,/tmp");
}

static void what_cannot_be_right_is_left_out(void **state)
{
    struct lab *lab = *state;

    assemble(
        lab,
        "{\"postgresql\":{\"parameters\":{\"a b\":\"1\",\"jit\":\"o\\nn\",\"io_method\":\"sync\","
        "\"primary_conninfo\":\"host=evil\",\"archive_command\":\"cp %p x\"},"
        "\"recovery_conf\":{\"restore_command\":\"cp x %p\",\"recovery_target_time\":\"now\"}}}",
        15);
    expect(lab, "a b", NULL);
    expect(lab, "jit", NULL);
    expect(lab, "io_method", NULL);
    expect(lab, "primary_conninfo", NULL);
    expect(lab, "recovery_target_time", NULL);
    expect(lab, "archive_command", "cp %p x");
    expect(lab, "restore_command", "cp x %p");
    assemble(lab, "{\"postgresql\":{\"parameters\":{\"io_method\":\"sync\"}}}", 18);
    expect(lab, "io_method", "sync");
    assemble(lab, "{\"postgresql\":[]}", 15);
    assemble(lab, "[]", 15);
}

static void versions_know_their_parameters(void **state)
{
    assert_non_null(state);
    assert_null(versions_refuse("work_mem", 13));
    assert_non_null(versions_refuse("wal_keep_segments", 13));
    assert_null(versions_refuse("old_snapshot_threshold", 16));
    assert_non_null(versions_refuse("old_snapshot_threshold", 17));
    assert_non_null(versions_refuse("summarize_wal", 16));
    assert_null(versions_refuse("summarize_wal", 17));
}

static void the_command_line_has_shared_ones(void **state)
{
    struct lab *lab = *state;
    const char *const *argv;
    bool has_keep = false;
    bool has_level = false;

    assemble(lab, NULL, 15);
    argv = conffile_command_line(lab->arena, &lab->got, "/bin/postgres", "/data");
    assert_string_equal(argv[0], "/bin/postgres");
    assert_string_equal(argv[3], "--config_file=/data/postgresql.conf");
    for (size_t at = 0; argv[at] != NULL; at++) {
        has_keep = has_keep || str_starts(argv[at], "--wal_keep_size");
        has_level = has_level || str_equal(argv[at], "--wal_level=replica");
    }
    assert_true(has_level);
    assert_false(has_keep);
}

static void the_file_has_the_upstream_last(void **state)
{
    struct lab *lab = *state;
    const struct conffile_upstream upstream = {"n1", "host='it''s'", "n2"};
    AUTO_STR struct str out = STR_INIT(LIMIT);
    const char *base;
    const char *conninfo;

    assemble(lab, NULL, 15);
    conffile_render(&lab->got, &upstream, &out);
    base = strstr(str_text(&out), "\ninclude 'postgresql.base.conf'\n");
    conninfo = strstr(str_text(&out), "\nprimary_conninfo = 'host=''it''''s'''\n");
    assert_non_null(base);
    assert_non_null(conninfo);
    assert_true(base < conninfo);
    assert_non_null(strstr(str_text(&out), "\nbaton.upstream = 'n1'\n"));
    assert_non_null(strstr(str_text(&out), "\nrecovery_target_time = ''\n"));
}

static void auto_conf_loses_what_would_win(void **state)
{
    AUTO_STR struct str out = STR_INIT(LIMIT);

    assert_non_null(state);
    conffile_filter_auto(
        "# comment\nprimary_conninfo = 'x'\nwork_mem = '4MB'\nprimary_conninfo_x = 1\n"
        "recovery_target_time='now'",
        true, false, &out);
    assert_string_equal(str_text(&out), "# comment\nwork_mem = '4MB'\nprimary_conninfo_x = 1\n");
    str_clear(&out);
    conffile_filter_auto(
        "primary_conninfo = 'x'\nsynchronous_standby_names = 'n2'\nport = 1\n", false, true, &out);
    assert_string_equal(str_text(&out), "primary_conninfo = 'x'\nport = 1\n");
}

static void the_passfile_escapes(void **state)
{
    struct lab *lab = *state;
    AUTO_STR struct str out = STR_INIT(LIMIT);

    str_copy(lab->config.postgresql.replication.username, MEMBER_NAME_SIZE, "rep");
    str_copy(lab->config.postgresql.replication.password, SECRET_SIZE, "a:b\\c");
    conffile_render_passfile(&lab->config.postgresql, &out);
    assert_string_equal(str_text(&out), "*:*:*:rep:a\\:b\\\\c\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_are_patronis, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_store_sets_shared_ones_within_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            lower_values_wait_behind_the_control_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(local_values_win_but_not_shared_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_fence_is_loaded_behind_what_the_user_loads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_the_fence_nothing_is_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_are_found_in_configuration_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_right_is_left_out, set_up, tear_down),
        cmocka_unit_test(versions_know_their_parameters),
        cmocka_unit_test_setup_teardown(the_command_line_has_shared_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_has_the_upstream_last, set_up, tear_down),
        cmocka_unit_test(auto_conf_loses_what_would_win),
        cmocka_unit_test_setup_teardown(the_passfile_escapes, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
