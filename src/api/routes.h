/* routes.h - the table of routes, and what a handler gets and gives. Private to api/.
 *
 * A row is a route: methods, path and how it is compared, who may call it, handler, help. Finding
 * a route follows Patroni: what it serves by name is found by the first part of the path; any
 * other GET, HEAD or OPTIONS is a health check, found by words within the path, in the order of
 * the table, so "/foo/primary" is a health check too and "/nonsense" a failed one. Paths below
 * /baton are compared whole, and unknown ones do not exist.
 *
 * Handlers know nothing of the HTTP library: a request and a snapshot in, a reply out. */
#pragma once

#include "api/api.h"

enum {
    METHOD_GET = 1,
    METHOD_HEAD = 2,
    METHOD_OPTIONS = 4,
    METHOD_POST = 8,
    METHOD_OTHER = 16,
};

enum route_match {
    MATCH_FIRST, /* the first part of the path is this one */
    MATCH_WHOLE,
    MATCH_WORD,       /* the path has this word anywhere */
    MATCH_WORD_PLAIN, /* ... and neither "sync" nor "quorum" */
    MATCH_ANY,
};

enum route_access {
    ACCESS_OPEN,
    ACCESS_OPERATE, /* changes something: the configured user only, if there is one */
    ACCESS_SIGNED,  /* agents only: the handler's source checks the signature */
};

#define API_PARAMETERS_MAX 32

/* A parameter of the query, decoded. */
struct api_parameter {
    const char *key;
    const char *value;
};

struct api_request {
    unsigned method; /* one METHOD_ bit */
    const char *path;
    const char *body; /* terminated; "" none */
    unsigned parameter_count;
    struct api_parameter parameters[API_PARAMETERS_MAX];
    const struct api_snapshot *snapshot;
    const struct api_source *source;
    struct api_call *call; /* to hand to the source */
};

/* What a handler leaves behind. BODY (new text) may be NULL: empty. `is_handed`: the source will
 * answer. */
struct api_reply {
    int status;
    const char *content_type;
    char *body;
    uint64_t lsn; /* a header of that name; 0: none */
    bool is_handed;
};

typedef void api_handler(const struct api_request *request, struct api_reply *reply);

struct api_route {
    unsigned methods;
    const char *path;
    enum route_match match;
    enum route_access access;
    api_handler *handle;
    const char *help;
};

/* The route for METHOD and PATH; NULL with a status (404 405 501) in *RET_STATUS. */
const struct api_route *route_find(unsigned method, const char *path, int *ret_status);

/* Row AT, or NULL past the last. */
const struct api_route *route_at(unsigned at);

/* The first value of KEY, or NULL; as in Patroni an empty value counts as none. */
const char *request_parameter(const struct api_request *request, const char *key);

/* Whether KEY is there, with or without a value. */
bool request_has(const struct api_request *request, const char *key);

/* Fill REPLY with a sentence. */
void reply_text(struct api_reply *reply, int status, const char *format, ...) PRINTF_LIKE(3, 4);

/* Fill REPLY with JSON (new text, taken over). */
void reply_json(struct api_reply *reply, int status, char *json);
