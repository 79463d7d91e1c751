#include "config/value.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/str.h"
#include "codec/codec.h"
#include "config/parameter.h"

#include <ctype.h>
#include <strings.h>

/* A type's handler: check NODE and fill SLOT (NULL: check only). */
typedef bool (*value_reader)(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot);

bool value_is_empty(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && !node->is_quoted &&
           (node->text[0] == '\0' || str_equal(node->text, "~") ||
            strcasecmp(node->text, "null") == 0);
}

void value_add_setting(struct setting_list *list, const char *name, const char *value, bool is_text)
{
    list->items = mem_resize(list->items, (list->count + 1) * sizeof(list->items[0]));
    list->items[list->count++] = (struct setting){mem_dup(name), mem_dup(value), is_text};
}

void value_add_text(text_list *list, const char *text)
{
    size_t count = 0;

    while (*list != NULL && (*list)[count] != NULL) {
        count++;
    }
    *list = mem_resize(*list, (count + 2) * sizeof((*list)[0]));
    (*list)[count] = mem_dup(text);
    (*list)[count + 1] = NULL;
}

static void free_settings(struct setting_list *list)
{
    for (unsigned at = 0; at < list->count; at++) {
        mem_free(list->items[at].name);
        mem_free(list->items[at].value);
    }
    list->items = mem_free(list->items);
    list->count = 0;
}

static void free_texts(text_list *list)
{
    for (size_t at = 0; *list != NULL && (*list)[at] != NULL; at++) {
        mem_free((*list)[at]);
    }
    *list = mem_free(*list);
}

static bool refuse(struct reader *reader, const struct yaml_node *node, const char *problem)
{
    reader_finding(reader, FINDING_ERROR, node->line, "%s", problem);
    return false;
}

static bool refuse_err(struct reader *reader, const struct yaml_node *node, const struct err *e)
{
    return refuse(reader, node, err_text(e));
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++) {
        if (iscntrl((unsigned char)*text)) {
            return true;
        }
    }
    return false;
}

/* The text of a scalar without control characters, or NULL after a finding. */
static const char *read_scalar(
    struct reader *reader, const struct option *row, const struct yaml_node *node)
{
    char type[OPTION_PATH_SIZE];

    if (node->kind != YAML_SCALAR) {
        reader_finding(
            reader, FINDING_ERROR, node->line, "expected %s, found a %s",
            option_type_text(row, type), node->kind == YAML_SEQUENCE ? "list" : "section");
        return NULL;
    }
    if (row->type != OPTION_TEXT && has_control(node->text)) {
        refuse(reader, node, "has a control character");
        return NULL;
    }
    return node->text;
}

/* Copy into a text slot. The value is not shown: it may be a secret. */
static bool put_text(
    struct reader *reader, const struct yaml_node *node, char *slot, size_t size, const char *text)
{
    if (strlen(text) >= size) {
        reader_finding(reader, FINDING_ERROR, node->line, "longer than %zu bytes", size - 1);
        return false;
    }
    memset(slot, 0, size);
    return str_copy(slot, size, text);
}

static bool read_text(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    const char *text = read_scalar(reader, row, node);

    if (text == NULL || slot == NULL) {
        return text != NULL;
    }
    if (has_control(text)) {
        return refuse(reader, node, "has a control character");
    }
    return put_text(reader, node, slot, row->local.size, text);
}

static bool read_password(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    struct account *account = slot;
    const char *text = read_scalar(reader, row, node);

    ASSERT(account != NULL);
    return text != NULL &&
           put_text(reader, node, account->password, sizeof(account->password), text);
}

static bool read_name(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    const char *text = read_scalar(reader, row, node);

    if (text == NULL) {
        return false;
    }
    for (const char *at = text; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && strchr("._-:@+=", *at) == NULL) {
            reader_finding(
                reader, FINDING_ERROR, node->line,
                "'%.64s' may have letters, digits and . _ - : @ + = only", text);
            return false;
        }
    }
    if (text[0] == '\0' || text[0] == '.') {
        return refuse(reader, node, "must not be empty or begin with a dot");
    }
    return slot == NULL || put_text(reader, node, slot, row->local.size, text);
}

/* Into an int or an int64_t. */
static void put_number(
    const struct reader *reader, const struct option *row, void *slot, int64_t number)
{
    size_t size = reader->scope == SCOPE_DYNAMIC ? row->dynamic.size : row->local.size;

    if (slot == NULL) {
        return;
    }
    if (size == sizeof(int)) {
        ASSERT(number >= INT_MIN && number <= INT_MAX);
        *(int *)slot = (int)number;
    } else {
        ASSERT(size == sizeof(int64_t));
        *(int64_t *)slot = number;
    }
}

/* The word of the row that TEXT is, and its number from 0 on; or NULL. */
static const char *find_word(const struct option *row, const char *text, int64_t *ret_number)
{
    size_t length = strlen(text);
    int64_t number = 0;

    for (const char *word = row->words; length > 0 && word != NULL; number++) {
        size_t word_length = strcspn(word, " ");

        if (length == word_length && strncasecmp(word, text, length) == 0) {
            *ret_number = number;
            return word;
        }
        word = word[word_length] == ' ' ? word + word_length + 1 : NULL;
    }
    return NULL;
}

static bool read_word(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    const char *text = read_scalar(reader, row, node);
    const char *word;
    int64_t number = 0;
    bool is_on = false;

    ASSERT(row->words != NULL);
    if (text == NULL) {
        return false;
    }
    word = find_word(row, text, &number);
    /* off and on are booleans to YAML, so true and false mean them. */
    if (word == NULL && parse_bool(text, &is_on, NULL) == 0) {
        word = find_word(row, is_on ? "on" : "off", &number);
    }
    if (word == NULL) {
        reader_finding(
            reader, FINDING_ERROR, node->line, "'%.64s' is not one of: %s", text, row->words);
        return false;
    }
    if (reader->scope == SCOPE_DYNAMIC) {
        put_number(reader, row, slot, number);
        return true;
    }
    AUTO_FREE char *lower = mem_dup_length(word, strcspn(word, " "));
    return slot == NULL || put_text(reader, node, slot, row->local.size, lower);
}

static bool read_int(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    bool is_any = row->min == 0 && row->max == 0;
    const char *text = read_scalar(reader, row, node);
    int64_t number = 0;
    struct err e = {0};

    if (text == NULL) {
        return false;
    }
    if (parse_int(text, is_any ? INT64_MIN : row->min, is_any ? INT64_MAX : row->max, &number, &e) <
        0) {
        return refuse_err(reader, node, &e);
    }
    put_number(reader, row, slot, number);
    return true;
}

static bool read_bool(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    const char *text = read_scalar(reader, row, node);
    bool is_on = false;
    struct err e = {0};

    if (text == NULL) {
        return false;
    }
    if (parse_bool(text, &is_on, &e) < 0) {
        return refuse_err(reader, node, &e);
    }
    if (slot != NULL) {
        *(bool *)slot = is_on;
    }
    return true;
}

static bool read_duration(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    const char *text = read_scalar(reader, row, node);
    int64_t ms = 0;
    struct err e = {0};

    if (text == NULL) {
        return false;
    }
    if (parse_duration(text, 1000, &ms, &e) < 0) {
        return refuse_err(reader, node, &e);
    }
    if (ms < row->min || ms > row->max) {
        reader_finding(
            reader, FINDING_ERROR, node->line,
            "'%.64s' is not between %" PRId64 " and %" PRId64 " seconds", text, row->min / 1000,
            row->max / 1000);
        return false;
    }
    put_number(reader, row, slot, ms);
    return true;
}

static bool read_bytes(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    const char *text = read_scalar(reader, row, node);
    int64_t bytes = 0;
    struct err e = {0};

    if (text == NULL) {
        return false;
    }
    if (parse_bytes(text, &bytes, &e) < 0) {
        return refuse_err(reader, node, &e);
    }
    put_number(reader, row, slot, bytes);
    return true;
}

static bool read_path(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    const char *text = read_scalar(reader, row, node);
    size_t length = text != NULL ? strlen(text) : 0;

    if (text == NULL) {
        return false;
    }
    if (length > 0 && text[0] != '/') {
        reader_finding(reader, FINDING_ERROR, node->line, "'%.200s' is not an absolute path", text);
        return false;
    }
    /* Names are made by adding to it ("/data.store"), so "/data/" is "/data". */
    while (length > 1 && text[length - 1] == '/') {
        length--;
    }
    AUTO_FREE char *path = mem_dup_length(text, length);
    return slot == NULL || put_text(reader, node, slot, row->local.size, path);
}

/* One address. What may be a user's password is not shown. */
static bool parse_address(
    struct reader *reader, const struct yaml_node *node, const char *text, int port,
    struct address *ret)
{
    struct address address = {0};
    struct err e = {0};

    if (strchr(text, '@') != NULL) {
        return refuse(reader, node, "an address is HOST:PORT, without a user");
    }
    if (url_parse_address(text, port, address.host, sizeof(address.host), &address.port, &e) < 0) {
        return refuse_err(reader, node, &e);
    }
    *ret = address;
    return true;
}

static bool read_address(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    const char *text = read_scalar(reader, row, node);
    struct address address = {0};

    if (text == NULL || !parse_address(reader, node, text, row->port, &address)) {
        return false;
    }
    if (row->type != OPTION_LISTEN && strchr(address.host, ',') != NULL) {
        return refuse(reader, node, "expected one host, found several");
    }
    if (slot != NULL) {
        *(struct address *)slot = address;
    }
    return true;
}

/* Whether hosts of RANK may go into SLOT: Patroni prefers url to hosts to host. Peers have no
 * rivals. */
static bool takes_hosts(struct reader *reader, const void *slot, unsigned rank)
{
    if (slot != (const void *)reader->config->etcd.hosts) {
        return true;
    }
    if (rank < reader->etcd_rank) {
        return false;
    }
    reader->etcd_rank = rank;
    return true;
}

static bool add_host(
    struct reader *reader, const struct option *row, const struct yaml_node *node,
    struct address *hosts, unsigned *count, const char *text)
{
    if (*count == HOSTS_MAX) {
        reader_finding(reader, FINDING_ERROR, node->line, "more than %d addresses", HOSTS_MAX);
        return false;
    }
    if (!parse_address(reader, node, text, row->port, &hosts[*count])) {
        return false;
    }
    if (strchr(hosts[*count].host, ',') != NULL) {
        return refuse(reader, node, "expected one host, found several");
    }
    (*count)++;
    return true;
}

/* "a:1,b:2", perhaps with quotes and brackets as PATRONI_ETCD3_HOSTS has them ("'a:1','b:2'"). */
static bool add_hosts(
    struct reader *reader, const struct option *row, const struct yaml_node *node,
    struct address *hosts, unsigned *count)
{
    const char *at = node->text;
    size_t end = strlen(at);
    bool is_list = end >= 2 && at[0] == '[' && at[end - 1] == ']' && strchr(at, ',') != NULL;

    if (is_list && (at[1] == '\'' || at[1] == '"' || strchr(at, ']') == at + end - 1)) {
        at++;
        end -= 2;
    }
    for (size_t from = 0; from < end;) {
        size_t length = 0;
        size_t next;

        while (from + length < end && at[from + length] != ',') {
            length++;
        }
        next = from + length + 1;
        while (length > 0 && strchr(" '\"", at[from]) != NULL) {
            from++;
            length--;
        }
        while (length > 0 && strchr(" '\"", at[from + length - 1]) != NULL) {
            length--;
        }
        AUTO_FREE char *text = mem_dup_length(at + from, length);
        if (length > 0 && !add_host(reader, row, node, hosts, count, text)) {
            return false;
        }
        from = next;
    }
    return true;
}

static bool read_hosts(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    struct address hosts[HOSTS_MAX] = {0};
    unsigned rank = row->type == OPTION_HOST ? 1 : 2;
    unsigned count = 0;
    bool is_ok = true;

    ASSERT(slot != NULL);
    if (node->kind == YAML_MAPPING || (rank == 1 && node->kind != YAML_SCALAR)) {
        return read_scalar(reader, row, node) != NULL;
    }
    if (node->kind == YAML_SCALAR) {
        is_ok = add_hosts(reader, row, node, hosts, &count);
    }
    for (const struct yaml_node *item = node->first; is_ok && item != NULL; item = item->next) {
        const char *text = read_scalar(reader, row, item);

        is_ok = text != NULL && add_host(reader, row, item, hosts, &count, text);
    }
    if (!is_ok) {
        return false;
    }
    if (count == 0) {
        return refuse(reader, node, "names no host");
    }
    if (takes_hosts(reader, slot, rank)) {
        memcpy(slot, hosts, sizeof(hosts));
    }
    return true;
}

static bool read_url(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    const char *text = read_scalar(reader, row, node);
    struct address *hosts = slot;
    struct url_parts parts = {0};
    struct err e = {0};

    ASSERT(hosts != NULL);
    if (text == NULL) {
        return false;
    }
    if (strchr(text, '@') != NULL) {
        return refuse(
            reader, node, "names a user: write username and password as keys of their own");
    }
    if (url_parse(text, &parts, &e) < 0) {
        return refuse_err(reader, node, &e);
    }
    if (!str_equal(parts.scheme, "http") && !str_equal(parts.scheme, "https")) {
        return refuse(reader, node, "must begin with http:// or https://");
    }
    if (takes_hosts(reader, slot, 3)) {
        memset(hosts, 0, HOSTS_MAX * sizeof(hosts[0]));
        str_copy(hosts[0].host, sizeof(hosts[0].host), parts.host);
        hosts[0].port = parts.port != 0 ? parts.port : row->port;
        reader->config->etcd.is_https = str_equal(parts.scheme, "https");
    }
    return true;
}

static bool read_protocol(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    const char *text = read_scalar(reader, row, node);

    ASSERT(slot != NULL);
    if (text == NULL) {
        return false;
    }
    if (strcasecmp(text, "http") != 0 && strcasecmp(text, "https") != 0) {
        return refuse(reader, node, "must be http or https");
    }
    if (reader->etcd_rank < 3) {
        *(bool *)slot = strcasecmp(text, "https") == 0;
    }
    return true;
}

static bool read_list(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    text_list *list = slot;

    if (node->kind != YAML_SEQUENCE) {
        return refuse(reader, node, "expected a list (lines that begin with \"- \")");
    }
    if (list != NULL) {
        free_texts(list);
    }
    for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
        size_t length;

        if (item->kind != YAML_SCALAR) {
            return refuse(
                reader, item, "expected a text: put the line in quotes if it has a colon");
        }
        /* A line written as a block ("- |") ends with a newline. */
        length = strlen(item->text);
        while (length > 0 && item->text[length - 1] == '\n') {
            length--;
        }
        AUTO_FREE char *text = mem_dup_length(item->text, length);
        if (has_control(text) && strchr(text, '\t') == NULL) {
            return refuse(reader, item, "a line has a control character");
        }
        if (list != NULL) {
            value_add_text(list, text);
        }
    }
    (void)row;
    return true;
}

/* initdb's own options that Patroni refuses too: the agent sets them. */
static bool check_initdb(struct reader *reader, const struct yaml_node *node, const char *name)
{
    static const char *const refused[] = {"pgdata",   "nosync",    "pwfile", "pwprompt",
                                          "username", "sync-only", "version"};

    for (size_t at = 0; at < ARRAY_LEN(refused); at++) {
        if (str_equal(refused[at], name)) {
            reader_finding(
                reader, FINDING_ERROR, node->line, "%s is set by baton itself", refused[at]);
            return false;
        }
    }
    if (name[0] == '-' || name[0] == '\0' || has_control(name)) {
        return refuse(reader, node, "options are written by their long names, without dashes");
    }
    return true;
}

/* "data-checksums" or "encoding: UTF8" into "encoding=UTF8". */
static bool add_initdb(struct reader *reader, text_list *list, const struct yaml_node *node)
{
    struct str text AUTO_STR = STR_INIT(PATH_SIZE);
    const char *name = node->key != NULL ? node->key : node->text;

    if (node->kind != YAML_SCALAR) {
        return refuse(reader, node, "expected NAME or NAME: VALUE");
    }
    if (!check_initdb(reader, node, name)) {
        return false;
    }
    str_add(&text, name);
    if (node->key != NULL) {
        if (has_control(node->text)) {
            return refuse(reader, node, "has a control character");
        }
        str_addf(&text, "=%s", node->text);
    }
    if (text.is_cut) {
        return refuse(reader, node, "is too long");
    }
    value_add_text(list, str_text(&text));
    return true;
}

static bool read_initdb(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    text_list *list = slot;
    bool is_ok = true;

    ASSERT(list != NULL);
    (void)row;
    if (node->kind == YAML_SCALAR) {
        return refuse(reader, node, "expected a list (lines that begin with \"- \")");
    }
    free_texts(list);
    for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
        if (item->kind != YAML_MAPPING) {
            is_ok = add_initdb(reader, list, item) && is_ok;
            continue;
        }
        for (const struct yaml_node *pair = item->first; pair != NULL; pair = pair->next) {
            is_ok = add_initdb(reader, list, pair) && is_ok;
        }
    }
    return is_ok;
}

/* Where one parameter belongs. The value is never shown: primary_conninfo and the like have
 * passwords. */
static bool add_parameter(
    struct reader *reader, struct setting_list *list, const struct yaml_node *node)
{
    enum parameter_owner owner = parameter_owner(node->key);
    struct err e = {0};

    if (owner == PARAMETER_AGENT) {
        reader_finding(
            reader, FINDING_WARNING, node->line, "%s is set by baton itself, ignored", node->key);
        return true;
    }
    if (parameter_check(node->key, node->text, &e) < 0) {
        reader_finding(reader, FINDING_ERROR, node->line, "%s: %s", node->key, err_text(&e));
        return false;
    }
    if (list == NULL) {
        return true;
    }
    if (owner == PARAMETER_FREE) {
        value_add_setting(list, node->key, node->text, node->is_quoted);
        return true;
    }
    reader_finding(
        reader, FINDING_NOTE, node->line,
        "%s must agree on all nodes: used when the cluster is created; later " CHANGE_LATER,
        node->key);
    if (reader->cluster_parameter_count < CLUSTER_PARAMETERS_MAX) {
        reader->cluster_parameters[reader->cluster_parameter_count++] = node;
    }
    return true;
}

/* Names with scalar values. A name without a value is left out, as Patroni does. */
static bool read_map(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    struct setting_list *list = slot;
    bool is_ok = true;

    if (node->kind != YAML_MAPPING) {
        return refuse(reader, node, "expected a section (NAME: VALUE lines, indented)");
    }
    if (list != NULL) {
        free_settings(list);
    }
    for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
        if (!parameter_name_is_valid(item->key)) {
            is_ok = refuse(reader, item, "a name has other signs than letters, digits, _ and .");
        } else if (item->kind != YAML_SCALAR) {
            reader_finding(
                reader, FINDING_ERROR, item->line, "%.64s: expected a text or number", item->key);
            is_ok = false;
        } else if (has_control(item->text)) {
            reader_finding(
                reader, FINDING_ERROR, item->line, "%.64s: has a control character", item->key);
            is_ok = false;
        } else if (value_is_empty(item)) {
            continue;
        } else if (row->type == OPTION_PARAMETERS) {
            is_ok = add_parameter(reader, list, item) && is_ok;
        } else if (list != NULL) {
            value_add_setting(list, item->key, item->text, item->is_quoted);
        }
    }
    return is_ok;
}

static bool read_any(
    struct reader *reader, const struct option *row, const struct yaml_node *node, void *slot)
{
    ASSERT(slot == NULL);
    (void)reader;
    (void)row;
    (void)node;
    return true;
}

static const value_reader readers[OPTION_TYPES] = {
    [OPTION_TEXT] = read_text,       [OPTION_NAME] = read_name,
    [OPTION_WORD] = read_word,       [OPTION_INT] = read_int,
    [OPTION_BOOL] = read_bool,       [OPTION_DURATION] = read_duration,
    [OPTION_BYTES] = read_bytes,     [OPTION_PATH] = read_path,
    [OPTION_SECRET] = read_text,     [OPTION_PASSWORD] = read_password,
    [OPTION_ADDRESS] = read_address, [OPTION_LISTEN] = read_address,
    [OPTION_HOST] = read_hosts,      [OPTION_HOSTS] = read_hosts,
    [OPTION_URL] = read_url,         [OPTION_PROTOCOL] = read_protocol,
    [OPTION_LIST] = read_list,       [OPTION_INITDB] = read_initdb,
    [OPTION_MAP] = read_map,         [OPTION_PARAMETERS] = read_map,
    [OPTION_ANY] = read_any,
};

bool value_read(struct reader *reader, const struct option *row, const struct yaml_node *node)
{
    ASSERT(readers[row->type] != NULL);
    return readers[row->type](reader, row, node, reader_slot(reader, row));
}

bool value_is_default(const struct option *row, const struct yaml_node *node)
{
    const struct yaml_node *one = node;
    bool is_on = false;
    bool is_default_on = false;

    if (row->text_default == NULL) {
        return false;
    }
    if (node->kind == YAML_SEQUENCE && node->first != NULL && node->first->next == NULL) {
        one = node->first;
    }
    if (one->kind != YAML_SCALAR) {
        return false;
    }
    if (parse_bool(one->text, &is_on, NULL) == 0 &&
        parse_bool(row->text_default, &is_default_on, NULL) == 0 && row->type != OPTION_INT) {
        return is_on == is_default_on;
    }
    return strcasecmp(one->text, row->text_default) == 0;
}
