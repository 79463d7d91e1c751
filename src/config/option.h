/* option.h - the one table of options (option.def), walked by parser, checks, reload, reference and
 * tests.
 *
 * A row is everything there is to know about a key: its place in the file, what it may be, where it
 * lands, what a change needs, what it is called in the environment, and one sentence of help. All
 * of Patroni's keys are rows, also those that baton does not use: a known key without effect must
 * be reported, never be dropped silently.
 *
 * Paths have dots. Dynamic rows are written without "bootstrap.dcs.", as in the store's config
 * key. */
#pragma once

#include "config/config.h"

#define OPTIONS_MAX 320
#define OPTION_PATH_SIZE 160

enum option_type {
    OPTION_SECTION, /* a mapping with rows of its own */
    OPTION_TEXT,
    OPTION_NAME, /* text that is safe in keys, slot names and URLs */
    OPTION_WORD, /* one of `words`, kept in lower case; in the settings, its number (an enum) */
    OPTION_INT,
    OPTION_BOOL,
    OPTION_DURATION, /* seconds unless it has a unit; lands as milliseconds */
    OPTION_BYTES,
    OPTION_PATH, /* absolute */
    OPTION_SECRET,
    OPTION_PASSWORD,   /* a secret that lands in a struct account */
    OPTION_ADDRESS,    /* host:port, `port` when it is left out */
    OPTION_LISTEN,     /* the same, host may be a list or "*" */
    OPTION_HOST,       /* one host:port that makes a list of one */
    OPTION_HOSTS,      /* list, or text with commas */
    OPTION_URL,        /* http(s)://host:port that makes a list of one */
    OPTION_PROTOCOL,   /* http or https, lands as a boolean */
    OPTION_LIST,       /* list of text */
    OPTION_INITDB,     /* list of names and of single-key mappings */
    OPTION_MAP,        /* free names with text values */
    OPTION_PARAMETERS, /* a map of server parameters (parameter.h) */
    OPTION_DCS,        /* a mapping of dynamic rows */
    OPTION_ANY,        /* not looked into */
    OPTION_TYPES
};

/* Bits: where a key may stand. */
enum option_scope {
    SCOPE_LOCAL = 1,
    SCOPE_DYNAMIC = 2,
    SCOPE_BOTH = 3,
};

/* What a change takes to be felt. The file is read when the agent starts: no row of it is
 * RELOAD_NOW. */
enum option_reload {
    RELOAD_NOW,
    RELOAD_STORE, /* at once in the store, as RELOAD_AGENT in the file */
    RELOAD_AGENT,
    RELOAD_DATABASE, /* and the agent, which must know of it first */
    RELOAD_NEVER,    /* read once, when the cluster is created */
};

enum option_use {
    USE_FULL,
    USE_NOTE,    /* known, no effect yet, harmless: a note */
    USE_WARNING, /* known, no effect yet, and somebody may count on it: a warning */
    USE_REFUSED, /* an error, `remark` says what to do */
};

/* A member of struct config or struct cluster_settings; size 0: none. */
struct option_slot {
    size_t offset;
    size_t size;
};

struct option {
    const char *path;
    const char *alias;  /* former path of the same option */
    const char *help;   /* one sentence, lower case, no full stop */
    const char *remark; /* for rows that are not USE_FULL: what happens instead, or what to do */
    const char *text_default; /* as it would be written; NULL: none, or `computed` */
    const char *computed;     /* the default in words, when it depends on other options */
    const char *example;      /* for the sample, when there is no default */
    const char *environment;  /* variable; "PATRONI_CONSUL_*": every one that begins so */
    const char *words;        /* "none optional required" */
    int64_t min;
    int64_t max; /* both 0: any */
    struct option_slot local;
    struct option_slot dynamic;
    enum option_type type;
    enum option_scope scope;
    enum option_reload reload;
    enum option_use use;
    int port;
    bool is_required; /* the sample sets it */
    bool is_open; /* a section that also takes other names, into its local slot (a setting_list) */
};

/* The rows, in the order of the reference. */
unsigned option_count(void);
const struct option *option_at(unsigned index);
unsigned option_index(const struct option *option);

/* The row of PATH, or of an alias (RET_IS_ALIAS may be NULL); NULL when unknown. */
const struct option *option_find(const char *path, bool *ret_is_alias);

/* The row that an environment variable sets, or NULL. */
const struct option *option_find_variable(const char *variable, size_t length);

/* The row in SECTION ("" or "postgresql.") whose name looks most like KEY, for "did you mean"; else
 * a row of any section with exactly this name; else NULL. SCOPE limits the choice. */
const struct option *option_nearest(const char *section, const char *key, enum option_scope scope);

/* The variable most like VARIABLE, or NULL. */
const char *option_nearest_variable(const char *variable);

/* The last part of a row's path. */
const char *option_name(const struct option *option);

/* "text", "true or false", "none | optional | required", ... for people; BUFFER of
 * OPTION_PATH_SIZE. */
const char *option_type_text(const struct option *option, char *buffer);

/* "takes effect at once", "needs a restart of the agent", ... */
const char *option_reload_text(enum option_reload reload);
