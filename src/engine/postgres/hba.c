#include "engine/postgres/hba.h"

#include "codec/codec.h"
#include "engine/postgres/quote.h"

#define METHOD "scram-sha-256"

static void add_local(const struct hba_input *input, struct str *out)
{
    str_add(out, "local all ");
    quote_hba(out, input->config->postgresql.superuser.username);
    /* Without a system user name there is no peer authentication; md5 takes a SCRAM password
     * too. */
    str_add(out, input->os_user[0] != '\0' ? " peer map=baton\n" : " md5\n");
}

static void add_host(
    struct str *out, const char *database, const char *user, const char *host, const char *mask)
{
    str_addf(out, "host %s ", database);
    if (str_equal(user, "all")) {
        str_add(out, user);
    } else {
        quote_hba(out, user);
    }
    str_addf(out, " %s%s " METHOD "\n", host, mask);
}

/* A host of nothing but what names and addresses are made of. */
static bool is_plain_host(const char *host)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:";

    return host[0] != '\0' && host[strspn(host, allowed)] == '\0';
}

static const char *mask_of(const char *host)
{
    if (strchr(host, ':') != NULL) {
        return "/128";
    }
    return host[strspn(host, "0123456789.")] == '\0' ? "/32" : "";
}

static void add_generated(const struct hba_input *input, struct str *out)
{
    const char *replication = input->config->postgresql.replication.username;
    struct url_parts url;

    str_add(out, "local all all " METHOD "\n");
    for (unsigned at = 0; input->cluster != NULL && at < input->cluster->member_count; at++) {
        const struct member *member = &input->cluster->members[at];

        if (url_parse(member->conn_url, &url, NULL) == 0 && is_plain_host(url.host)) {
            add_host(out, "replication", replication, url.host, mask_of(url.host));
        }
    }
    add_host(out, "replication", replication, "127.0.0.1", "/32");
    add_host(out, "replication", replication, "::1", "/128");
    add_host(out, "replication", replication, "samenet", "");
    add_host(out, "all", "all", "127.0.0.1", "/32");
    add_host(out, "all", "all", "::1", "/128");
    add_host(out, "all", "all", "all", "");
}

static bool add_list(char *const *list, struct str *out)
{
    if (list == NULL) {
        return false;
    }
    for (; *list != NULL; list++) {
        str_addf(out, "%s\n", quote_is_line(*list) ? *list : "# a line with control characters");
    }
    return true;
}

static bool add_store_list(const json_t *store, const char *key, struct str *out)
{
    const json_t *list = json_object_get(json_object_get(store, "postgresql"), key);
    const json_t *line;
    size_t at;

    if (!json_is_array(list)) {
        return false;
    }
    json_array_foreach (list, at, line) {
        const char *text = json_string_value(line);

        if (quote_is_line(text)) {
            str_addf(out, "%s\n", text);
        }
    }
    return true;
}

void hba_render(const struct hba_input *input, struct str *out)
{
    str_add(out, "# Written by baton, replaced without notice: set postgresql.pg_hba instead.\n");
    add_local(input, out);
    if (!add_list(input->config->postgresql.pg_hba, out) &&
        !add_store_list(input->store, "pg_hba", out) &&
        !add_list(input->config->bootstrap.pg_hba, out)) {
        add_generated(input, out);
    }
}

static void add_map(struct str *out, const char *os_user, const char *role)
{
    str_add(out, "baton ");
    quote_hba(out, os_user);
    str_add_char(out, ' ');
    quote_hba(out, role);
    str_add_char(out, '\n');
}

void hba_render_ident(const struct hba_input *input, struct str *out)
{
    const char *superuser = input->config->postgresql.superuser.username;

    str_add(out, "# Written by baton, replaced without notice: set postgresql.pg_ident instead.\n");
    if (input->os_user[0] != '\0') {
        add_map(out, input->os_user, superuser);
        add_map(out, "root", superuser);
    }
    if (!add_list(input->config->postgresql.pg_ident, out)) {
        IGNORE(add_store_list(input->store, "pg_ident", out), "there need not be one");
    }
}
