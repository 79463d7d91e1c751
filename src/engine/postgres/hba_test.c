#include "engine/postgres/hba.h"

#include "base/mem.h"

#include <setjmp.h>

#include <cmocka.h>

#define LIMIT 65536

struct lab {
    struct config config;
    struct cluster cluster;
};

static int set_up(void **state)
{
    struct lab *lab = mem_alloc(sizeof(*lab));

    str_copy(lab->config.postgresql.superuser.username, MEMBER_NAME_SIZE, "post\"gres");
    str_copy(lab->config.postgresql.replication.username, MEMBER_NAME_SIZE, "rep");
    lab->cluster.member_count = 3;
    str_copy(lab->cluster.members[0].conn_url, URL_SIZE, "postgres://10.0.0.1:5432/postgres");
    str_copy(lab->cluster.members[1].conn_url, URL_SIZE, "postgres://[fe::1]:5432/postgres");
    str_copy(lab->cluster.members[2].conn_url, URL_SIZE, "postgres://db-3.lan:5432/postgres");
    *state = lab;
    return 0;
}

static int tear_down(void **state)
{
    mem_free(*state);
    return 0;
}

static const char *render(
    const struct lab *lab, const char *json, const char *user, struct str *out)
{
    json_t *store = json != NULL ? json_loads(json, 0, NULL) : NULL;
    const struct hba_input input = {
        .config = &lab->config, .cluster = &lab->cluster, .store = store, .os_user = user};

    hba_render(&input, out);
    json_decref(store);
    return str_text(out);
}

static void generated_rules_name_the_members(void **state)
{
    AUTO_STR struct str out = STR_INIT(LIMIT);
    const char *text = render(*state, NULL, "pg", &out);

    assert_non_null(
        strstr(text, "\nlocal all \"post\"\"gres\" peer map=baton\nlocal all all scram"));
    assert_non_null(strstr(text, "\nhost replication \"rep\" 10.0.0.1/32 scram-sha-256\n"));
    assert_non_null(strstr(text, "\nhost replication \"rep\" fe::1/128 scram-sha-256\n"));
    assert_non_null(strstr(text, "\nhost replication \"rep\" db-3.lan scram-sha-256\n"));
    assert_non_null(strstr(text, "\nhost all all all scram-sha-256\n"));
    assert_null(strstr(text, "trust"));
}

static void configured_lines_replace_them(void **state)
{
    struct lab *lab = *state;
    AUTO_STR struct str local = STR_INIT(LIMIT);
    AUTO_STR struct str store = STR_INIT(LIMIT);
    AUTO_STR struct str boot = STR_INIT(LIMIT);
    char line[] = "host\tall all 10.0.0.0/8 md5";
    char evil[] = "# x\nhost all all all trust";
    char *lines[] = {line, evil, NULL};
    const char *json = "{\"postgresql\":{\"pg_hba\":[\"local all all peer\",7,\"a\\nb\"]}}";

    lab->config.bootstrap.pg_hba = lines;
    assert_non_null(strstr(render(lab, NULL, "pg", &boot), line));
    assert_non_null(strstr(render(lab, json, "pg", &store), "\nlocal all all peer\n"));
    assert_null(strstr(str_text(&store), "\nb"));
    lab->config.postgresql.pg_hba = lines;
    assert_non_null(strstr(render(lab, json, "", &local), line));
    assert_null(strstr(str_text(&local), "trust"));
    assert_null(strstr(str_text(&local), "host all all all"));
    assert_non_null(strstr(str_text(&local), "\nlocal all \"post\"\"gres\" md5\n"));
}

static void the_map_lets_the_agent_in(void **state)
{
    struct lab *lab = *state;
    AUTO_STR struct str out = STR_INIT(LIMIT);
    const struct hba_input input = {.config = &lab->config, .os_user = "pg"};

    hba_render_ident(&input, &out);
    assert_non_null(strstr(str_text(&out), "\nbaton \"pg\" \"post\"\"gres\"\nbaton \"root\" "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(generated_rules_name_the_members, set_up, tear_down),
        cmocka_unit_test_setup_teardown(configured_lines_replace_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_map_lets_the_agent_in, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
