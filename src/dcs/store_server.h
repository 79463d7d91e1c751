/* store_server.h - the command line of an etcd server that an agent runs. Pure. For member.c. */
#pragma once

#include "dcs/formation.h"
#include "io/http.h"

#define STORE_ARGUMENTS_MAX 64

struct store_server {
    const char *program;
    const struct formation_self *self;
    const char *data_dir;
    const char *initial_cluster; /* NULL: it has data */
    const char *token;           /* "": none */
    bool is_forming;             /* the cluster is new */
    int heartbeat_ms;
    int election_ms;
    int64_t quota_bytes;        /* 0: etcd's default */
    const struct http_tls *tls; /* cert_file "": none */
};

/* Arguments, ended by NULL, with room for those that are made up. Points into the server's
 * texts. */
struct store_arguments {
    const char *items[STORE_ARGUMENTS_MAX];
    unsigned count;
    char client[ETCD_URL_SIZE];
    char peer[ETCD_URL_SIZE];
    char cluster[ETCD_NAME_SIZE + ETCD_URL_SIZE + 2];
    char heartbeat[16];
    char election[16];
    char quota[24];
};

/* The command line of the server, into RET. */
void store_server_arguments(const struct store_server *server, struct store_arguments *ret);
