/* config_test.h - for the tests of this folder: a smallest file that is right, and looking for
 * findings. */
#pragma once

#include "base/mem.h"
#include "base/str.h"
#include "config/config.h"

#include <setjmp.h>

#include <cmocka.h>

/* Six lines and no finding; what a test adds begins in line 7. */
#define MINIMAL \
    "scope: main\n" \
    "name: n1\n" \
    "peers: [node1:8008]\n" \
    "postgresql:\n" \
    "  data_dir: /data\n" \
    "  authentication: {superuser: {password: a}, replication: {password: b}, rewind: {password: " \
    "c}}\n"

static struct findings found;

UNUSED static struct config *check_parse(const char *text, const char *const *environment)
{
    found = (struct findings){0};
    return config_parse("f.yml", text, environment, "node1", &found);
}

/* All settings that decisions need. */
UNUSED static void check_same_settings(
    const struct cluster_settings *a, const struct cluster_settings *b)
{
    assert_int_equal(a->ttl_ms, b->ttl_ms);
    assert_int_equal(a->loop_wait_ms, b->loop_wait_ms);
    assert_int_equal(a->retry_timeout_ms, b->retry_timeout_ms);
    assert_int_equal(a->maximum_lag_on_failover, b->maximum_lag_on_failover);
    assert_int_equal(a->primary_start_timeout_ms, b->primary_start_timeout_ms);
    assert_int_equal(a->primary_stop_timeout_ms, b->primary_stop_timeout_ms);
    assert_int_equal(a->hang_timeout_ms, b->hang_timeout_ms);
    assert_int_equal(a->sync_mode, b->sync_mode);
    assert_int_equal(a->sync_node_count, b->sync_node_count);
    assert_int_equal(a->maximum_lag_on_syncnode, b->maximum_lag_on_syncnode);
    assert_int_equal(a->is_sync_strict, b->is_sync_strict);
    assert_int_equal(a->is_failsafe, b->is_failsafe);
    assert_int_equal(a->is_paused, b->is_paused);
    assert_int_equal(a->check_timeline, b->check_timeline);
    assert_int_equal(a->use_pg_rewind, b->use_pg_rewind);
    assert_int_equal(a->use_slots, b->use_slots);
}

UNUSED static void check_print(void)
{
    for (unsigned at = 0; at < MIN(found.count, (unsigned)FINDINGS_MAX); at++) {
        struct str line AUTO_STR = STR_INIT(4096);

        finding_format(&found.items[at], &line);
        print_message("%s\n", str_text(&line));
    }
}

/* The finding whose text has PART, or NULL. */
UNUSED static const struct finding *check_find(const char *part)
{
    for (unsigned at = 0; at < MIN(found.count, (unsigned)FINDINGS_MAX); at++) {
        if (strstr(found.items[at].text, part) != NULL) {
            return &found.items[at];
        }
    }
    return NULL;
}

UNUSED static void check_expect(enum finding_severity severity, int line, const char *part)
{
    const struct finding *finding = check_find(part);

    if (finding == NULL || finding->severity != severity || finding->line != line) {
        print_message("expected in line %d: %s\n", line, part);
        check_print();
    }
    assert_non_null(finding);
    assert_int_equal(finding->severity, severity);
    assert_int_equal(finding->line, line);
}

/* TEXT gives exactly one finding. */
UNUSED static void check_one(
    const char *text, const char *const *environment, enum finding_severity severity, int line,
    const char *part)
{
    config_free(check_parse(text, environment));
    check_expect(severity, line, part);
    if (found.count != 1) {
        check_print();
    }
    assert_int_equal(found.count, 1);
}

/* TEXT gives no finding. */
UNUSED static struct config *check_clean(const char *text, const char *const *environment)
{
    struct config *config = check_parse(text, environment);

    check_print();
    assert_int_equal(found.count, 0);
    return config;
}

/* A file below the source folder (mem_free). */
UNUSED static char *check_read_file(const char *path)
{
    const char *source = getenv("BATON_SOURCE");
    char full[PATH_SIZE];
    char *text = mem_alloc(CONFIG_TEXT_MAX);
    FILE *file;

    assert_non_null(source);
    assert_true(str_format(full, sizeof(full), "%s/%s", source, path));
    file = fopen(full, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, CONFIG_TEXT_MAX - 1, file) > 0);
    fclose(file);
    return text;
}
