#include "agent/accounts.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"

#include <jansson.h>

#define PASSWORD_LENGTH 32
#define FILE_SIZE_MAX ((size_t)8192)
#define TXN_TIMEOUT_MS 3000

struct accounts {
    struct config *config;
    struct dcs *dcs;
    accounts_done *done;
    void *arg;
    struct dcs_health health;
    struct loop_timer *timer; /* the first turn; then repeats a transaction that was refused */
    char path[PATH_SIZE + 32];
    bool is_txn_open;
    bool is_finished;
};

/* The accounts by the name of their key in the JSON. */
static struct account *account_of(struct config *config, const char *name)
{
    if (str_equal(name, "superuser")) {
        return &config->postgresql.superuser;
    }
    if (str_equal(name, "replication")) {
        return &config->postgresql.replication;
    }
    ASSERT(str_equal(name, "rewind"));
    return &config->postgresql.rewind;
}

static const char *const names[] = {"superuser", "replication", "rewind"};

static bool is_missing(struct config *config)
{
    for (size_t at = 0; at < ARRAY_LEN(names); at++) {
        const struct account *account = account_of(config, names[at]);

        if (account->is_generated && account->password[0] == '\0') {
            return true;
        }
    }
    return false;
}

static void finish(struct accounts *accounts, int result, const struct err *why)
{
    if (!accounts->is_finished) {
        accounts->is_finished = true;
        accounts->done(accounts->arg, result, why);
    }
}

/* Take the passwords that CONFIG lacks from JSON; false if it does not have them all. */
static bool take(struct config *config, const char *json)
{
    json_t *root = json_loads(json, 0, NULL);

    for (size_t at = 0; root != NULL && at < ARRAY_LEN(names); at++) {
        struct account *account = account_of(config, names[at]);
        const char *password = json_string_value(json_object_get(root, names[at]));

        if (account->is_generated && password != NULL) {
            IGNORE(
                !str_copy(account->password, sizeof(account->password), password),
                "made by this program: 32 bytes");
        }
    }
    json_decref(root);
    return !is_missing(config);
}

/* All passwords of CONFIG, generating those that it lacks. */
static char *make(struct config *config)
{
    json_t *root = json_object();
    char *text;
    char *copy;

    for (size_t at = 0; at < ARRAY_LEN(names); at++) {
        char password[PASSWORD_LENGTH + 1];

        if (account_of(config, names[at])->is_generated) {
            process_password(password, PASSWORD_LENGTH);
            json_object_set_new(root, names[at], json_string(password));
        }
    }
    text = json_dumps(root, JSON_COMPACT);
    copy = mem_dup(text);
    mem_wipe(text, strlen(text));
    mem_free(text);
    json_decref(root);
    return copy;
}

/* What the store says is what the servers were made with: keep it for starts without the store. */
static void adopt(struct accounts *accounts, const char *json)
{
    struct err e = {0};
    int r;

    if (!take(accounts->config, json)) {
        IGNORE(
            FAIL(
                &e, ERR_CORRUPT,
                "the key " KEY_ACCOUNTS " of the store lacks a password\nhint: write the accounts "
                "into postgresql.authentication of every node"),
            "reported below");
        finish(accounts, ERR_CORRUPT, &e);
        return;
    }
    r = file_write(accounts->path, json, strlen(json), 0600, &e);
    finish(accounts, r, &e);
}

static void on_txn(void *arg, enum dcs_outcome outcome, int64_t revision)
{
    struct accounts *accounts = arg;

    accounts->is_txn_open = false;
    if (!accounts->is_finished && (outcome != DCS_DONE || revision < 0)) {
        /* Somebody else was first, or nobody was reached: the next reading tells. */
        dcs_refresh(accounts->dcs);
    }
}

static void on_snapshot(void *arg, const struct dcs_snapshot *snapshot)
{
    struct accounts *accounts = arg;
    struct dcs_txn txn = {.compare_count = 1, .op_count = 1};
    AUTO_FREE char *json = NULL;

    for (unsigned at = 0; at < snapshot->count; at++) {
        if (str_equal(snapshot->entries[at].key, KEY_ACCOUNTS)) {
            adopt(accounts, snapshot->entries[at].value);
            return;
        }
    }
    if (accounts->is_txn_open) {
        return;
    }
    json = make(accounts->config);
    txn.compares[0] = (struct dcs_compare){.kind = DCS_IS_ABSENT, .key = KEY_ACCOUNTS};
    txn.ops[0] = (struct dcs_op){.kind = DCS_PUT, .key = KEY_ACCOUNTS, .value = json};
    accounts->is_txn_open = true;
    dcs_txn(accounts->dcs, &txn, TXN_TIMEOUT_MS, on_txn, accounts);
    mem_wipe(json, strlen(json));
}

static void on_health(void *arg, const struct dcs_health *health)
{
    struct accounts *accounts = arg;

    accounts->health = *health;
}

const struct dcs_health *accounts_health(const struct accounts *accounts)
{
    return &accounts->health;
}

static void begin(void *arg)
{
    struct accounts *accounts = arg;
    const struct dcs_listener listener = {
        .on_snapshot = on_snapshot, .on_health = on_health, .arg = accounts};
    AUTO_FREE char *json = NULL;
    enum file_kind kind = FILE_MISSING;
    struct err e = {0};
    int r = 0;

    if (is_missing(accounts->config)) {
        r = file_kind(accounts->path, &kind, &e);
    }
    if (r == 0 && kind != FILE_MISSING) {
        r = file_read(accounts->path, FILE_SIZE_MAX, &json, NULL, &e);
    }
    if (r < 0) {
        finish(accounts, r, &e);
    } else if (!is_missing(accounts->config) || (json != NULL && take(accounts->config, json))) {
        finish(accounts, 0, NULL);
    } else {
        dcs_start(accounts->dcs, &listener);
    }
}

struct accounts *accounts_new(
    struct loop *loop, struct config *config, struct dcs *dcs, accounts_done *done, void *arg)
{
    struct accounts *accounts = mem_alloc(sizeof(*accounts));

    accounts->config = config;
    accounts->dcs = dcs;
    accounts->done = done;
    accounts->arg = arg;
    IGNORE(
        !str_format(
            accounts->path, sizeof(accounts->path), "%s/accounts.json",
            config->postgresql.runtime_dir),
        "config limits paths");
    accounts->timer = loop_timer_new(loop, begin, accounts);
    loop_timer_start(accounts->timer, 0);
    return accounts;
}

void accounts_free(struct accounts *accounts)
{
    if (accounts == NULL) {
        return;
    }
    loop_timer_free(accounts->timer);
    mem_free(accounts);
}
