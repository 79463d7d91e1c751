#include "config/config_test.h"
#include "config/option.h"

#define REFERENCE_MAX ((size_t)1 << 20)

static void test_every_option_is_listed(void **state)
{
    struct str page AUTO_STR = STR_INIT(REFERENCE_MAX);

    (void)state;
    config_render_reference(&page);
    assert_false(page.is_cut);
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);
        char cell[OPTION_PATH_SIZE + 8];
        char path[OPTION_PATH_SIZE];
        char *dot;

        str_format(cell, sizeof(cell), "\n| `%s` | ", row->path);
        str_copy(path, sizeof(path), row->path);
        dot = strrchr(path, '.');
        if (strstr(str_text(&page), cell) == NULL) {
            /* A key of a section without effect. */
            assert_non_null(dot);
            *dot = '\0';
            assert_int_not_equal(option_find(path, NULL)->use, USE_FULL);
        }
    }
}

/* The sample between the fences (mem_free); with comments of one sign taken off when IS_WHOLE. */
static char *take_sample(bool is_whole)
{
    struct str page AUTO_STR = STR_INIT(REFERENCE_MAX);
    struct str sample AUTO_STR = STR_INIT(REFERENCE_MAX);
    const char *at;

    config_render_reference(&page);
    at = strstr(str_text(&page), "```yaml\n");
    assert_non_null(at);
    at += strlen("```yaml\n");
    while (*at != '\0' && !str_starts(at, "```")) {
        size_t length = strcspn(at, "\n");
        size_t skip = is_whole && at[0] == '#' && at[1] != '#' ? 1 : 0;

        str_add_length(&sample, at + skip, length - skip);
        str_add_char(&sample, '\n');
        at += length + 1;
    }
    return str_take(&sample);
}

/* No command changes what the store says; the page tells what does. */
static void test_change_later(void **state)
{
    struct str page AUTO_STR = STR_INIT(REFERENCE_MAX);

    (void)state;
    config_render_reference(&page);
    assert_null(strstr(str_text(&page), "edit-config"));
    assert_non_null(strstr(str_text(&page), "`etcdctl put /service/SCOPE/config JSON`"));
}

static void test_sample(void **state)
{
    char *text AUTO_FREE = take_sample(false);
    struct config *config = check_parse(text, NULL);

    (void)state;
    if (found.count != 1) {
        check_print();
    }
    assert_int_equal(found.count, 1);
    assert_non_null(check_find("no password for superuser, replication, rewind"));
    assert_string_equal(config->scope, "main");
    assert_int_equal(config->store.peer_count, 3);
    config_free(config);
}

/* Every line of the sample is right, also those that are comments. */
static void test_whole_sample(void **state)
{
    char *text AUTO_FREE = take_sample(true);
    struct config *config = check_parse(text, NULL);

    (void)state;
    if (found.count != 2) {
        check_print();
    }
    assert_int_equal(found.count, 2);
    assert_non_null(check_find("peers: not used, because etcd3 names a store"));
    assert_string_equal(config->tags.replicatefrom, "node2");
    assert_int_equal(config->etcd.host_count, 3);
    assert_true(strstr(config->bootstrap.dcs_json, "\"ttl\":30") != NULL);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_option_is_listed),
        cmocka_unit_test(test_change_later),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_whole_sample),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
