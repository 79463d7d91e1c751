/* Any text is a config and a store's config key without a fault. What is accepted can be compared
 * and rendered. */
#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define INPUT_MAX ((size_t)1 << 16)

static void read_local(const char *text)
{
    static const char *const none[] = {NULL};
    struct findings *findings = mem_alloc(sizeof(*findings));
    struct findings *changes = mem_alloc(sizeof(*changes));
    struct config *config = config_parse("fuzz.yml", text, none, "node1", findings);
    struct config *again = config_parse("fuzz.yml", text, none, "node1", findings);
    struct str lines = STR_INIT((size_t)1 << 20);

    config_reload_check(config, again, changes);
    ASSERT(changes->count == 0);
    for (unsigned at = 0; at < MIN(findings->count, (unsigned)FINDINGS_MAX); at++) {
        finding_format(&findings->items[at], &lines);
    }
    ASSERT(findings->errors > 0 || config->postgresql.data_dir[0] == '/');
    ASSERT(strpbrk(str_text(&lines), "\n\r\x1b") == NULL);
    str_fini(&lines);
    config_free(again);
    config_free(config);
    mem_free(changes);
    mem_free(findings);
}

/* Each line as a variable: NAME=value. */
static void read_environment(char *text)
{
    const char *environment[64] = {NULL};
    unsigned count = 0;
    struct findings *findings = mem_alloc(sizeof(*findings));
    char *rest = text;

    while (rest != NULL && count + 1 < ARRAY_LEN(environment)) {
        char *end = strchr(rest, '\n');

        environment[count++] = rest;
        if (end != NULL) {
            *end++ = '\0';
        }
        rest = end;
    }
    config_free(config_parse("fuzz.yml", "scope: main\n", environment, "node1", findings));
    mem_free(findings);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct cluster_settings settings = {0};
    char *text;

    if (size > INPUT_MAX) {
        return 0;
    }
    text = mem_dup_length((const char *)bytes, size);
    struct findings *findings = mem_alloc(sizeof(*findings));
    config_settings_parse(text, &settings, findings);
    ASSERT(settings.loop_wait_ms + 2 * settings.retry_timeout_ms <= settings.ttl_ms);
    mem_free(findings);
    read_local(text);
    read_environment(text);
    mem_free(text);
    return 0;
}
