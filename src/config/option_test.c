#include "config/option.h"

#include "config/config_test.h"

#include <ctype.h>

static void test_every_row_is_complete(void **state)
{
    (void)state;
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);
        size_t length = strlen(row->help);
        char type[OPTION_PATH_SIZE];

        assert_true(length > 2);
        assert_false(
            isupper((unsigned char)row->help[0]) && islower((unsigned char)row->help[1]) &&
            !str_starts(row->help, "Patroni") && !str_starts(row->help, "Kubernetes") &&
            !str_starts(row->help, "Consul") && !str_starts(row->help, "Exhibitor") &&
            !str_starts(row->help, "Citus") && !str_starts(row->help, "ZooKeeper"));
        assert_true(row->help[length - 1] != '.');
        assert_true((row->use == USE_FULL) == (row->remark == NULL));
        assert_true((row->type == OPTION_WORD) == (row->words != NULL));
        assert_true(row->min <= row->max);
        assert_true(row->scope >= SCOPE_LOCAL && row->scope <= SCOPE_BOTH);
        assert_true(strlen(option_type_text(row, type)) > 3);
        assert_non_null(option_reload_text(row->reload));
        assert_true(row->type != OPTION_DURATION || row->max > 0);
        assert_true(row->dynamic.size == 0 || (row->scope & SCOPE_DYNAMIC) != 0);
        assert_true(row->local.size == 0 || (row->scope & SCOPE_LOCAL) != 0);
    }
}

/* An int slot must not be able to overflow. */
static void test_slots_fit(void **state)
{
    (void)state;
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);

        if (row->type == OPTION_INT && row->local.size > 0) {
            assert_int_equal(row->local.size, sizeof(int));
            assert_true(row->max > 0 && row->max <= INT_MAX);
        }
        if (row->type == OPTION_BOOL && row->local.size > 0) {
            assert_int_equal(row->local.size, sizeof(bool));
        }
        if ((row->type == OPTION_DURATION || row->type == OPTION_BYTES) && row->dynamic.size > 0) {
            assert_int_equal(row->dynamic.size, sizeof(int64_t));
        }
        if (row->type == OPTION_WORD && row->dynamic.size > 0) {
            assert_int_equal(row->dynamic.size, sizeof(enum sync_mode));
        }
        if (row->type == OPTION_INT && row->dynamic.size > 0) {
            assert_int_equal(row->dynamic.size, sizeof(int64_t));
        }
        if (row->type == OPTION_HOSTS || row->type == OPTION_HOST || row->type == OPTION_URL) {
            assert_int_equal(row->local.size, HOSTS_MAX * sizeof(struct address));
        }
    }
}

static void test_no_duplicates(void **state)
{
    (void)state;
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);

        assert_ptr_equal(option_find(row->path, NULL), row);
        if (row->alias != NULL) {
            bool is_alias = false;

            assert_ptr_equal(option_find(row->alias, &is_alias), row);
            assert_true(is_alias);
        }
        if (row->environment != NULL) {
            assert_ptr_equal(option_find_variable(row->environment, strlen(row->environment)), row);
        }
    }
}

/* Every part before the last dot is a section row. */
static void test_parents_exist(void **state)
{
    (void)state;
    for (unsigned at = 0; at < option_count(); at++) {
        char path[OPTION_PATH_SIZE];
        char *dot;

        str_copy(path, sizeof(path), option_at(at)->path);
        dot = strrchr(path, '.');
        if (dot != NULL) {
            const struct option *parent;

            *dot = '\0';
            parent = option_find(path, NULL);
            assert_non_null(parent);
            assert_int_equal(parent->type, OPTION_SECTION);
            assert_true(parent < option_at(at));
        }
    }
}

static void test_find(void **state)
{
    bool is_alias = true;

    (void)state;
    assert_non_null(option_find("postgresql.use_pg_rewind", &is_alias));
    assert_false(is_alias);
    assert_string_equal(option_find("master_start_timeout", NULL)->path, "primary_start_timeout");
    assert_null(option_find("postgresql.", NULL));
    assert_null(option_find("", NULL));
    assert_string_equal(option_name(option_find("ctl.cacert", NULL)), "cacert");
    assert_string_equal(option_find_variable("PATRONI_CONSUL_HOST", 19)->path, "consul");
    assert_string_equal(option_find_variable("PATRONI_NAME=x", 12)->path, "name");
    assert_null(option_find_variable("PATRONI_NAM", 11));
}

static void test_nearest(void **state)
{
    static const struct {
        const char *section;
        const char *key;
        const char *path;
    } rows[] = {
        {"postgresql.", "data_dirr", "postgresql.data_dir"},
        {"postgresql.", "use_pg_rewnd", "postgresql.use_pg_rewind"},
        {"", "scpe", "scope"},
        {"", "postgres", "postgresql"},
        {"", "use_pg_rewind", "postgresql.use_pg_rewind"},
        {"restapi.", "conect_adress", "restapi.connect_address"},
        {"", "xyzzy", NULL},
        {"", "xyz", NULL},
        {"postgresql.", "qq", NULL},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(rows); at++) {
        const struct option *near = option_nearest(rows[at].section, rows[at].key, SCOPE_LOCAL);

        if (rows[at].path == NULL) {
            assert_null(near);
        } else {
            assert_non_null(near);
            assert_string_equal(near->path, rows[at].path);
        }
    }
    assert_string_equal(option_nearest("", "loop_weit", SCOPE_DYNAMIC)->path, "loop_wait");
    assert_string_equal(option_nearest_variable("PATRONI_SCOP"), "PATRONI_SCOPE");
    assert_null(option_nearest_variable("PATRONI_SOMETHING_ELSE"));
}

/* Adds "a.b" as nested YAML with VALUE. */
static void add_path(struct str *out, const char *path, const char *value)
{
    unsigned depth = 0;

    for (const char *part = path; part != NULL; depth += 2) {
        size_t length = strcspn(part, ".");

        str_addf(out, "%*s%.*s:", (int)depth, "", (int)length, part);
        part = part[length] == '.' ? part + length + 1 : NULL;
        str_add(out, part != NULL ? "\n" : "");
    }
    str_addf(out, " %s\n", value);
}

/* Writing a default into the file changes nothing and is not worth a word: the table says what the
 * program does. */
static void test_local_defaults(void **state)
{
    (void)state;
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);
        struct str text AUTO_STR = STR_INIT(4096);
        struct findings changes = {0};
        struct config *plain;
        struct config *written;

        if (row->text_default == NULL || (row->scope & SCOPE_LOCAL) == 0 ||
            str_starts(row->path, "etcd") || row->type == OPTION_LIST) {
            continue;
        }
        /* A section may stand once only: in front of it, the rest of the minimal file. */
        str_add(&text, "scope: main\npeers: [node1:8008]\n");
        plain = check_parse(str_text(&text), NULL);
        add_path(&text, row->path, row->text_default);
        written = check_parse(str_text(&text), NULL);
        assert_null(check_find(row->path));
        config_reload_check(plain, written, &changes);
        assert_int_equal(changes.count, 0);
        config_free(plain);
        config_free(written);
    }
}

static void test_dynamic_defaults(void **state)
{
    const struct cluster_settings defaults = CLUSTER_SETTINGS_DEFAULT;

    (void)state;
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);
        struct str text AUTO_STR = STR_INIT(4096);
        struct cluster_settings settings = {0};

        if (row->text_default == NULL || (row->scope & SCOPE_DYNAMIC) == 0 ||
            row->type == OPTION_LIST) {
            continue;
        }
        found = (struct findings){0};
        add_path(&text, row->path, row->text_default);
        config_settings_parse(str_text(&text), &settings, &found);
        check_print();
        assert_int_equal(found.count, 0);
        check_same_settings(&settings, &defaults);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_complete),
        cmocka_unit_test(test_slots_fit),
        cmocka_unit_test(test_no_duplicates),
        cmocka_unit_test(test_parents_exist),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_local_defaults),
        cmocka_unit_test(test_dynamic_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
