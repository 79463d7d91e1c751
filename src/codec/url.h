/* url.h - addresses and connection texts: host:port, postgres:// URLs, libpq's key='value' form,
 * slot names. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#define URL_HOST_SIZE 256

struct url_parts {
    char scheme[16];          /* lower case */
    char host[URL_HOST_SIZE]; /* without brackets */
    int port;                 /* 0: not given */
    char path[256];           /* with its leading slash, and the query; "" none */
};

/* "http://[::1]:8008/patroni", "postgres://h:5432/postgres". User parts are refused: no secrets in
 * URLs. */
MUST_CHECK int url_parse(const char *text, struct url_parts *ret, struct err *e);

/* "host:port", "[::1]:5432", "host" (then DEFAULT_PORT, may be 0). For addresses to listen on, HOST
 * may be "*" or a list as PostgreSQL takes it: "10.0.0.1,[::1]:5432" gives "10.0.0.1,::1". IPv6
 * needs its brackets. */
MUST_CHECK int url_parse_address(
    const char *text, int default_port, char *host, size_t host_size, int *ret_port, struct err *e);

/* "host:port", with brackets where needed, into BUFFER (URL_HOST_SIZE + 16 always suffices);
 * without ":port" for port 0. */
void url_format_address(const char *host, int port, char *buffer, size_t size);

/* Append "key='value'" to a libpq connection text, after a space when there is one already, with
 * quotes and backslashes escaped. */
void url_add_conninfo(struct str *out, const char *key, const char *value);

/* Patroni's slot name of a member: lower case, '-' and '.' to '_', other signs to u%04d of their
 * code point, at most 63 bytes. (Only A to Z are made lower; Patroni also does so with letters that
 * no host name has.) */
#define SLOT_NAME_SIZE 64
void url_slot_name(const char *member, char *buffer);
