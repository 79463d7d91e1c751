/* How a server reaches another one: what the text holds, and what it must not. */
#include "engine/postgres/driver.h"

#include <setjmp.h>

#include <cmocka.h>

/* It is an argument of pg_basebackup and pg_rewind, and primary_conninfo, which many may read. */
static void a_conninfo_has_no_password(void **state)
{
    AUTO_FREE struct config *config = mem_alloc(sizeof(*config));
    AUTO_FREE struct postgres *pg = mem_alloc(sizeof(*pg));
    struct engine_peer peer = {.name = "n2", .conn_url = "postgres://10.0.0.2:5433/postgres"};
    struct account *account = &config->postgresql.replication;
    AUTO_STR struct str text = STR_INIT(PG_CONNINFO_SIZE);
    AUTO_STR struct str none = STR_INIT(PG_CONNINFO_SIZE);

    assert_null(*state);
    str_copy(config->name, sizeof(config->name), "n1");
    str_copy(account->username, sizeof(account->username), "streamer");
    str_copy(account->password, sizeof(account->password), "hunter2");
    str_copy(pg->paths.passfile, sizeof(pg->paths.passfile), "/run/n1/passfile");
    pg->config = config;
    pg_peer_conninfo(pg, &peer, account, "n1", "template1", &text);
    assert_non_null(strstr(str_text(&text), "host='10.0.0.2' port='5433' user='streamer'"));
    assert_non_null(strstr(str_text(&text), "dbname='template1' passfile='/run/n1/passfile'"));
    assert_non_null(strstr(str_text(&text), "application_name='n1'"));
    assert_non_null(strstr(str_text(&text), "keepalives_idle='5'"));
    assert_non_null(strstr(str_text(&text), "tcp_user_timeout='15000'"));
    assert_null(strstr(str_text(&text), "hunter2"));
    peer.name[0] = '\0';
    pg_peer_conninfo(pg, &peer, account, "n1", NULL, &none);
    assert_int_equal(none.length, 0);
}

/* What brings the log of a copy confirms it, and must not count as the standby. */
static void a_copy_is_no_standby(void **state)
{
    AUTO_FREE struct postgres *pg = mem_alloc(sizeof(*pg));
    AUTO_FREE struct config *config = mem_alloc(sizeof(*config));
    struct engine_peer peer = {.name = "n2", .conn_url = "postgres://10.0.0.2:5433/postgres"};
    AUTO_STR struct str text = STR_INIT(PG_CONNINFO_SIZE);

    assert_null(*state);
    str_copy(config->name, sizeof(config->name), "n1");
    pg->config = config;
    pg_clone_conninfo(pg, &peer, &text);
    assert_non_null(strstr(str_text(&text), "application_name='baton clone'"));
    assert_null(strstr(str_text(&text), "n1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conninfo_has_no_password), cmocka_unit_test(a_copy_is_no_standby)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
