#include "cli/target.h"

#include "base/assert.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/process.h"

#define DEFAULT_PORT 8008
#define FINDING_TEXT_MAX 1024
#define GET_TIMEOUT_MS 3000

static const char *default_path(void)
{
    static const char *const variables[] = {"BATON_CONFIG", "PATRONICTL_CONFIG_FILE"};
    static const char *const paths[] = {"/etc/baton/baton.yml", "/etc/patroni.yml"};

    for (size_t at = 0; at < ARRAY_LEN(variables); at++) {
        const char *value = process_env(variables[at]);

        if (!str_is_empty(value)) {
            return value;
        }
    }
    for (size_t at = 0; at < ARRAY_LEN(paths); at++) {
        enum file_kind kind = FILE_MISSING;

        if (file_kind(paths[at], &kind, NULL) == 0 && kind == FILE_REGULAR) {
            return paths[at];
        }
    }
    return NULL;
}

int target_read_config(
    const char *path, struct config **ret, struct findings **ret_findings, struct err *e)
{
    AUTO_FREE char *text = NULL;
    char host[HOST_SIZE];
    int r = file_read(path, CONFIG_TEXT_MAX, &text, NULL, e);

    if (r < 0) {
        return err_wrap(e, r, "read the configuration");
    }
    process_host_name(host, sizeof(host));
    *ret_findings = mem_alloc(sizeof(**ret_findings));
    *ret = config_parse(path, text, process_environment(), host, *ret_findings);
    return 0;
}

/* The first finding that makes the configuration useless. */
static int fail_config(const struct findings *findings, struct err *e)
{
    struct str text AUTO_STR = STR_INIT(FINDING_TEXT_MAX);

    for (unsigned at = 0; at < MIN(findings->count, FINDINGS_MAX); at++) {
        if (findings->items[at].severity == FINDING_ERROR) {
            finding_format(&findings->items[at], &text);
            break;
        }
    }
    return FAIL(
        e, ERR_CONFIG, "%s\nhint: 'baton agent --check FILE' shows all findings", str_text(&text));
}

static bool is_same(const struct address *a, const struct address *b)
{
    return a->port == b->port && str_equal(a->host, b->host);
}

static int open_config(const char *path, struct target *target, struct err *e)
{
    AUTO_FREE struct findings *findings = NULL;
    const struct config *config;
    int r = target_read_config(path, &target->config, &findings, e);

    if (r < 0) {
        return r;
    }
    ASSERT(findings != NULL);
    if (findings->errors > 0) {
        return fail_config(findings, e);
    }
    config = target->config;
    target->is_https = config->restapi.tls.cert_file[0] != '\0';
    target->addresses[target->address_count++] = config->restapi.connect;
    for (unsigned at = 0; at < config->store.peer_count; at++) {
        if (!is_same(&config->store.peers[at], &config->restapi.connect)) {
            target->addresses[target->address_count++] = config->store.peers[at];
        }
    }
    return 0;
}

static int open_url(const char *url, struct target *target, struct err *e)
{
    struct address *address = &target->addresses[0];
    const char *text = url;

    target->config = mem_alloc(sizeof(*target->config));
    if (str_starts(text, "https://")) {
        target->is_https = true;
        text += strlen("https://");
    } else if (str_starts(text, "http://")) {
        text += strlen("http://");
    }
    target->address_count = 1;
    return url_parse_address(
        text, DEFAULT_PORT, address->host, sizeof(address->host), &address->port, e);
}

int target_open(const struct cli_args *args, struct target *ret, struct err *e)
{
    const char *url = cli_value(args, "url");
    const char *path = cli_value(args, "config");

    *ret = (struct target){0};
    if (url != NULL && path != NULL) {
        return FAIL(e, ERR_INVALID, "--config and --url exclude each other");
    }
    if (url != NULL) {
        return open_url(url, ret, e);
    }
    path = path != NULL ? path : default_path();
    if (path == NULL) {
        return FAIL(
            e, ERR_INVALID,
            "no configuration found\nhint: give one with --config FILE, or an agent with --url "
            "HOST:%d",
            DEFAULT_PORT);
    }
    return open_config(path, ret, e);
}

void target_close(struct target *target)
{
    config_free(target->config);
    target->config = NULL;
}

int target_call(
    const struct target *target, struct client_request *request, struct client_answer *ret,
    struct err *e)
{
    request->is_https = target->is_https;
    return client_call(target->config, request, ret, e);
}

static int call(
    const struct target *target, struct client_request *request, unsigned at,
    struct client_answer *ret, struct err *e)
{
    request->address = target->addresses[at];
    return target_call(target, request, ret, e);
}

int target_get(struct target *target, const char *path, struct client_answer *ret, struct err *e)
{
    struct client_request request = {.method = "GET", .path = path, .timeout_ms = GET_TIMEOUT_MS};
    int r = 0;

    ASSERT(target->address_count > 0);
    for (unsigned turn = 0; turn < target->address_count; turn++) {
        unsigned at = (target->address + turn) % target->address_count;

        /* Of several failures the first tells most: it is the configured agent's. */
        r = call(target, &request, at, ret, turn == 0 ? e : NULL);
        if (r == 0) {
            target->address = at;
            return 0;
        }
    }
    return r;
}

int target_post(
    struct target *target, const char *path, const char *body, int64_t timeout_ms,
    struct client_answer *ret, struct err *e)
{
    struct client_request request = {
        .method = "POST", .path = path, .body = body, .timeout_ms = timeout_ms};

    return call(target, &request, target->address, ret, e);
}
