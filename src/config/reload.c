#include "config/finding.h"
#include "config/option.h"

#include "base/assert.h"
#include "base/str.h"

static bool is_same_texts(text_list a, text_list b)
{
    size_t at = 0;

    if (a == NULL || b == NULL) {
        return a == b;
    }
    while (a[at] != NULL && str_equal(a[at], b[at])) {
        at++;
    }
    return a[at] == NULL && b[at] == NULL;
}

static bool is_same_settings(const struct setting_list *a, const struct setting_list *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (unsigned at = 0; at < a->count; at++) {
        if (!str_equal(a->items[at].name, b->items[at].name) ||
            !str_equal(a->items[at].value, b->items[at].value) ||
            a->items[at].is_text != b->items[at].is_text) {
            return false;
        }
    }
    return true;
}

static bool is_same_address(const struct address *a, const struct address *b)
{
    return a->port == b->port && str_equal(a->host, b->host);
}

static bool is_same_hosts(const struct address *a, const struct address *b)
{
    for (unsigned at = 0; at < HOSTS_MAX; at++) {
        if (!is_same_address(&a[at], &b[at])) {
            return false;
        }
    }
    return true;
}

/* A generated password is filled in by the running agent and absent from the file. */
static bool is_same_password(const struct account *a, const struct account *b)
{
    return a->is_generated == b->is_generated &&
           (a->is_generated || str_equal(a->password, b->password));
}

static bool is_same(const struct option *row, const void *a, const void *b)
{
    switch (row->type) {
    case OPTION_TEXT:
    case OPTION_NAME:
    case OPTION_WORD:
    case OPTION_PATH:
    case OPTION_SECRET:
        return str_equal(a, b);
    case OPTION_INT:
    case OPTION_BOOL:
    case OPTION_DURATION:
    case OPTION_BYTES:
    case OPTION_PROTOCOL:
        return memcmp(a, b, row->local.size) == 0;
    case OPTION_PASSWORD:
        return is_same_password(a, b);
    case OPTION_ADDRESS:
    case OPTION_LISTEN:
        return is_same_address(a, b);
    case OPTION_HOST:
    case OPTION_HOSTS:
    case OPTION_URL:
        return is_same_hosts(a, b);
    case OPTION_LIST:
    case OPTION_INITDB:
        return is_same_texts(*(const text_list *)a, *(const text_list *)b);
    case OPTION_SECTION:
    case OPTION_MAP:
    case OPTION_PARAMETERS:
        return is_same_settings(a, b);
    case OPTION_DCS:
        return str_equal(*(char *const *)a, *(char *const *)b);
    case OPTION_ANY:
    case OPTION_TYPES:
        break;
    }
    /* No row of these types has a slot. */
    ASSERT(row->local.size == 0);
    return true;
}

/* Several keys set the store's hosts: they are reported once, under the section that is written. */
static bool is_reported_elsewhere(const struct option *row, const struct config *changed)
{
    return str_starts(row->path, changed->etcd.is_v2_section ? "etcd3." : "etcd.") ||
           row->type == OPTION_HOST || row->type == OPTION_URL;
}

/* What a change of the file takes. */
static const char *need_text(enum option_reload reload)
{
    return option_reload_text(reload == RELOAD_STORE ? RELOAD_AGENT : reload);
}

void config_reload_check(
    const struct config *running, const struct config *changed, struct findings *findings)
{
    for (unsigned at = 0; at < option_count(); at++) {
        const struct option *row = option_at(at);
        size_t offset = row->local.offset;
        bool needs_nothing = row->reload == RELOAD_NEVER;

        if (row->local.size > 0 && !is_reported_elsewhere(row, changed) &&
            !is_same(row, (const char *)running + offset, (const char *)changed + offset)) {
            findings_add(
                findings, needs_nothing ? FINDING_NOTE : FINDING_WARNING, "reload", 0,
                "%s: changed, %s%s", row->path, need_text(row->reload),
                needs_nothing ? "" : " (SIGUSR2 ends the agent and leaves the server running)");
        }
    }
}
