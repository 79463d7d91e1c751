/* http.h - an asynchronous HTTP(S) client (libcurl) on the loop.
 *
 * Connections are kept and reused. Names are looked up on a thread. No redirect is followed, no
 * proxy is used, and only http and https are spoken. Each request has a deadline for the whole
 * of it; DONE comes exactly once unless the request was cancelled, and never from inside
 * http_start. A stream request (on_data) delivers the body of a 2xx answer piece by piece and
 * has no deadline but a silence limit; the body of any other answer comes whole, with DONE.
 * Functions of this header may be called inside DONE and on_data, http_free included. */
#pragma once

#include "io/loop.h"

#define HTTP_BODY_MAX ((size_t)8 << 20)

struct http;
struct http_request;

/* TLS of a client: files in PEM; all may be NULL. `insecure` skips verification (Patroni's
 * agents do among themselves). */
struct http_tls {
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
    bool insecure;
};

struct http_options {
    const char *method; /* "GET", "POST", ... */
    const char *url;
    const char *body;          /* may be NULL */
    const char *content_type;  /* may be NULL */
    const char *authorization; /* value of the header, may be NULL; never logged */
    const char *user;          /* basic authentication, may be NULL */
    const char *password;
    const struct http_tls *tls; /* may be NULL; must outlive the request */
    int64_t timeout_ms;         /* of the whole request; of the connection attempt for a stream */
    /* Of a stream: end with ERR_TIMEOUT after so long without a byte; 0: none. The wait for the
     * first byte may also take timeout_ms. */
    int64_t silence_ms;
    void (*on_data)(void *arg, const char *bytes, size_t length); /* set: a stream */
};

/* The answer: status > 0, or result < 0 with `why` when there was none. */
struct http_answer {
    int result;
    int status;
    const char *body; /* terminated; "" for a stream that was delivered, and for a failure */
    size_t length;
    const char *why;
};

typedef void http_done(void *arg, const struct http_answer *answer);

/* A client; never NULL. http_free cancels everything. */
struct http *http_new(struct loop *loop);
void http_free(struct http *http);

/* Start a request; texts are copied. The handle is valid until DONE was called or it was
 * cancelled. */
struct http_request *http_start(
    struct http *http, const struct http_options *options, http_done *done, void *arg);

/* Stop without DONE. NULL is accepted. */
void http_cancel(struct http_request *request);
