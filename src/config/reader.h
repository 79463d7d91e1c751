/* reader.h - walking a YAML tree along the option table, and the state that this needs.
 *
 * One reader serves one text: the local file with its environment, or the store's config key. Every
 * value goes through reader_option, whatever it came from, so that a type is checked and a finding
 * is worded in one place. */
#pragma once

#include "codec/codec.h"
#include "config/finding.h"
#include "config/option.h"

#define WHERE_SIZE 192
#define CLUSTER_PARAMETERS_MAX 32
#define LINE_ENVIRONMENT (-1)

/* How a dynamic option is changed when the cluster exists: the key is written as a whole. */
#define CHANGE_LATER \
    "change the store's key config: etcdctl put /service/SCOPE/config JSON, with all that GET " \
    "/config shows and the change"

struct reader {
    struct config *config; /* where local options land; NULL: the store's config key is read */
    struct cluster_settings *settings; /* where dynamic options land */
    struct findings *findings;
    const char *file;
    const char *shown_prefix; /* put before paths in findings: "bootstrap.dcs." */
    enum option_scope scope;  /* of what is being read */
    bool is_store;            /* names that are not ours belong to somebody else */
    bool is_quiet;            /* below a section that was reported as having no effect */
    bool is_default;          /* applying the table's own defaults */
    bool is_environment;
    char where[WHERE_SIZE]; /* what findings name: the path, or the variable */
    int lines[OPTIONS_MAX]; /* where a row was set; 0: nowhere */
    unsigned etcd_rank;     /* url 3, hosts 2, host 1: a lesser one does not replace */
    const struct yaml_node *dcs;
    unsigned
        cluster_parameter_count; /* local parameters that count for the whole cluster (config.c) */
    const struct yaml_node *cluster_parameters[CLUSTER_PARAMETERS_MAX];
};

/* Read all children of MAPPING; SECTION is "" or ends with a dot. */
void reader_mapping(struct reader *reader, const struct yaml_node *mapping, const char *section);

/* Read one value of one row. */
void reader_option(struct reader *reader, const struct option *row, const struct yaml_node *node);

/* Give every row with a default and a slot that default. */
void reader_defaults(struct reader *reader);

/* Take PATRONI_* variables ("NAME=value", ends with NULL; may be NULL). */
void reader_environment(struct reader *reader, const char *const *environment);

/* A finding about reader->where. */
void reader_finding(
    struct reader *reader, enum finding_severity severity, int line, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* The line of the option called PATH, 0 when it was not set or came from the environment. */
int reader_line(const struct reader *reader, const char *path);

/* Whether the option called PATH was set, by file or environment; or anything below it. */
bool reader_has(const struct reader *reader, const char *path);
bool reader_has_below(const struct reader *reader, const char *section);

/* Where ROW lands in what is being read, or NULL. */
void *reader_slot(const struct reader *reader, const struct option *row);

/* Keep loop_wait + 2 * retry_timeout <= ttl, as Patroni does: loop_wait gives way first, then
 * both. */
void reader_adjust_timeouts(struct reader *reader);
