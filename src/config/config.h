/* config.h - one node's configuration: Patroni's YAML, checked against one table of options.
 *
 * Pure: text in, struct config and findings out; whoever calls it reads the file and the
 * environment. The option table (option.h) drives parsing, checking, `--help`, the reference and
 * the tests. Precedence, as in Patroni: defaults, the config key of the store (dynamic part only),
 * the local file, PATRONI_* variables.
 *
 * What the file leaves out gets a default: listen and connect addresses of the database from the
 * REST address and port 5432, the accounts superuser, replication and rewind with generated
 * passwords (`is_generated`; whoever runs the agent fills them in), data_dir's runtime folder,
 * pg_hba for the cluster. A section etcd or etcd3 names external stores; without one the agent runs
 * a store member itself, with the agents named under `peers`.
 *
 * Findings carry file, line, severity, sentence and the nearest known key; any finding of severity
 * FINDING_ERROR means that the config must not be used. */
#pragma once

#include "model/model.h"

#define CONFIG_TEXT_MAX ((size_t)1 << 20)
#define HOST_SIZE 256
#define PATH_SIZE 512
#define SECRET_SIZE 128
#define HOSTS_MAX 16
#define FINDINGS_MAX 64

enum finding_severity {
    FINDING_NOTE,
    FINDING_WARNING,
    FINDING_ERROR,
};

struct finding {
    enum finding_severity severity;
    int line; /* 1-based; 0: the file as a whole */
    char file[PATH_SIZE];
    char text[384]; /* "postgresql.data_dirr: unknown key, did you mean data_dir?" */
};

struct findings {
    unsigned count; /* may exceed FINDINGS_MAX: more are counted, not kept (errors before notes) */
    unsigned errors;
    struct finding items[FINDINGS_MAX];
};

/* host:port. IPv6 hosts are kept without brackets. */
struct address {
    char host[HOST_SIZE];
    int port;
};

struct account {
    char username[MEMBER_NAME_SIZE];
    char password[SECRET_SIZE];
    bool is_generated; /* the file names no password: one is made and shared by the agent */
};

/* A sequence of texts as the file has it (pg_hba, pg_ident, initdb options); ends with NULL; owned
 * by the config. */
typedef char **text_list;

/* One key and value as written (parameters, recovery_conf, tags that baton does not know). */
struct setting {
    char *name;
    char *value;
    bool is_text; /* quoted in the file: not a number or boolean for JSON */
};

struct setting_list {
    unsigned count;
    struct setting *items;
};

struct tls_files {
    char ca_file[PATH_SIZE];
    char cert_file[PATH_SIZE];
    char key_file[PATH_SIZE];
};

struct config_restapi {
    struct address listen;
    struct address connect;
    char username[MEMBER_NAME_SIZE]; /* authentication of unsafe calls; "" none */
    char password[SECRET_SIZE];
    struct tls_files tls;
    char verify_client[16]; /* none optional required */
};

/* An external etcd cluster (section etcd or etcd3); host_count 0: the agent runs a member. */
struct config_etcd {
    unsigned host_count;
    struct address hosts[HOSTS_MAX];
    bool is_https;
    bool is_v2_section; /* written as `etcd`: v3, after a check that there is no v2 data */
    char username[MEMBER_NAME_SIZE];
    char password[SECRET_SIZE];
    struct tls_files tls;
};

/* The store member that the agent runs when there is no etcd section. */
struct config_store {
    struct address client;    /* default: REST host, port 2379 */
    struct address peer;      /* default: REST host, port 2380 */
    char data_dir[PATH_SIZE]; /* default: <postgresql.data_dir>.store */
    int heartbeat_ms;         /* 50 */
    int election_ms;          /* 500 */
    unsigned peer_count;      /* REST addresses of all agents, this one included */
    struct address peers[HOSTS_MAX];
};

struct config_postgresql {
    struct address listen; /* host may be a list "a,b" or "*" as PostgreSQL takes it */
    struct address connect;
    char data_dir[PATH_SIZE];
    char bin_dir[PATH_SIZE];     /* "" : found by the engine */
    char runtime_dir[PATH_SIZE]; /* sockets, locks, guard's log; default <data_dir>.baton */
    char socket_dir[PATH_SIZE];  /* unix_socket_directories' first; default runtime_dir */
    char fence[8];               /* auto on off: the module baton_fence */
    struct account superuser;
    struct account replication;
    struct account rewind;
    struct setting_list parameters; /* local; what only the store may set is in dcs_json */
    text_list pg_hba;               /* NULL: generated for the cluster */
    text_list pg_ident;
    struct setting_list recovery_conf;
    bool use_pg_rewind;
    bool use_slots;
    bool has_use_pg_rewind; /* written locally: wins over the store */
    bool has_use_slots;
};

struct config_bootstrap {
    char *dcs_json;   /* bootstrap.dcs as compact JSON: the first config key; never NULL */
    text_list initdb; /* "encoding=UTF8", "data-checksums"; NULL: data-checksums and UTF8 */
    text_list pg_hba; /* used when postgresql.pg_hba is not given */
};

/* Patroni's section. */
struct config_watchdog {
    char mode[16]; /* off automatic required; on is automatic */
    char device[PATH_SIZE];
    char driver[16];   /* "testing": a FIFO or file */
    int safety_margin; /* seconds; -1: certain */
};

/* What baton adds: the packet filter as a fence. */
struct config_fence {
    bool nftables;
    char table[MEMBER_NAME_SIZE];
    text_list exempt; /* addresses and networks that are always reached; NULL none */
};

struct config {
    char scope[MEMBER_NAME_SIZE];
    char namespace[PATH_SIZE]; /* "/service" unless set; leading slash, no trailing one */
    char name[MEMBER_NAME_SIZE];
    char prefix[PATH_SIZE];  /* /namespace/scope/ */
    char log_level[16];      /* of log.level, mapped to debug info warning error */
    char log_dir[PATH_SIZE]; /* "" : standard error */
    struct config_restapi restapi;
    struct config_restapi ctl; /* only username, password, tls: for calls that this node makes */
    struct config_etcd etcd;
    struct config_store store;
    struct config_postgresql postgresql;
    struct config_bootstrap bootstrap;
    struct config_watchdog watchdog;
    struct config_fence fence;
    struct member_tags tags;
    struct setting_list extra_tags;
};

/* Parse and check TEXT (of the file called FILE). ENVIRONMENT: "NAME=value" texts ending with NULL
 * (may be NULL); only PATRONI_* are looked at, PATRONI_CONFIGURATION (a whole file) is the
 * caller's. Always returns a config (config_free), to be used only if findings->errors is 0.
 * HOST_NAME serves for a missing name. */
struct config *config_parse(
    const char *file, const char *text, const char *const *environment, const char *host_name,
    struct findings *findings);
void config_free(struct config *config);

/* Decode the config key of the store (JSON) into settings; unknown keys are left alone, wrong types
 * and limits become findings and keep the default. JSON NULL or "" gives the defaults. Limits here:
 * ttl >= 3 s, loop_wait >= 1 s, retry_timeout >= 1 s, loop_wait + 2 * retry_timeout <= ttl
 * (loop_wait is reduced first, then retry_timeout, as Patroni does in memory). */
void config_settings_parse(
    const char *json, struct cluster_settings *ret, struct findings *findings);

/* Compare a new configuration with the running one: findings say which keys changed, and what each
 * change needs: a restart of the agent, perhaps of the database too, or a new cluster. Nothing of
 * the file is applied while the agent runs. */
void config_reload_check(
    const struct config *running, const struct config *changed, struct findings *findings);

/* All options as a reference page (Markdown) and the annotated sample; text is added to OUT. */
struct str;
void config_render_reference(struct str *out);

/* One line a finding, without a newline: "FILE:LINE: error: TEXT". */
void finding_format(const struct finding *finding, struct str *out);

/* The tags that baton does not know itself, as a JSON object (new text); NULL when there are
 * none. */
char *config_extra_tags(const struct config *config);
