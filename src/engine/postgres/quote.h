/* quote.h - one function for each language that PostgreSQL reads: configuration values, access
 * rules, SQL, passfiles.
 *
 * Control characters are refused before (quote_is_clean), never escaped: no setting of a database
 * needs them, and a line break would start a new line of configuration. Each function appends to
 * OUT. Pure. */
#pragma once

#include "base/str.h"

/* No control characters. NULL is not clean. */
bool quote_is_clean(const char *text);

/* One line: no control characters but tabs. NULL is none. */
bool quote_is_line(const char *text);

/* A parameter's name: letters, digits, _ and dots between parts, at most 63 bytes. */
bool quote_is_parameter_name(const char *name);

/* 'it''s \\ so', as postgresql.conf has it. */
void quote_conf(struct str *out, const char *value);

/* "name", for SQL; 'text', for SQL, safe under either setting of standard_conforming_strings. */
void quote_identifier(struct str *out, const char *name);
void quote_literal(struct str *out, const char *text);

/* "name", as pg_hba.conf and pg_ident.conf have it: quoted names lose the meaning of key words. */
void quote_hba(struct str *out, const char *token);

/* A field of a passfile: ':' and '\' escaped. */
void quote_passfile(struct str *out, const char *field);
