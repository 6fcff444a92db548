/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_HTTP_HTTP_H
#define BERTH_HTTP_HTTP_H

/*
 * As much HTTP/1.1 (RFC 9112) as a prober and a scraper need: GET and HEAD without a body, one
 * request on a connection. Bounds: 64 connections, 4 KiB of request, 10 seconds; when all are
 * taken, the oldest of the address that has most of them goes.
 *
 * Why not a library: Debian's libmicrohttpd brings GnuTLS and eight libraries behind it, which took
 * 3 ms of each start and 2.5 MiB of each node for two paths without TLS.
 */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct HttpServer HttpServer;

#define HTTP_REQUEST_MAX 4096U

typedef struct HttpRequest {
        bool is_head;
        char path[256]; /* without the query; "/healthz" */
} HttpRequest;

/* There is no answer yet: it is asked again after http_wake(), and once a second. */
#define HTTP_STATUS_LATER 0U

typedef struct HttpAnswer {
        unsigned int status; /* 200, 404, 500, HTTP_STATUS_LATER */
        const char *type;    /* content type; static */
        char *text;          /* owned; the server frees it. NULL: no body */
} HttpAnswer;

enum {
        HTTP_E_MORE = 1,       /* the head is not complete yet */
        HTTP_E_BAD = 2,        /* not HTTP/1.x, or larger than the bounds */
        HTTP_E_NOT_ALLOWED = 3 /* a method that is neither GET nor HEAD */
};

/**
 * http_parse_request() - the first line of a request whose head is complete. Pure.
 * @bytes: what has been read so far
 *
 * Fields are skipped. Source: RFC 9112, sections 2.1 and 3.
 * Return: 0; HTTP_E_MORE, HTTP_E_BAD, HTTP_E_NOT_ALLOWED.
 */
int http_parse_request(const char *bytes, size_t n, HttpRequest *request);

typedef struct HttpConfig {
        const char *address; /* "" = all, IPv6 and IPv4; else a numeric address; borrowed */
        uint16_t port;

        /* Answers a GET or HEAD from memory: the next connection waits for it. May answer
         * HTTP_STATUS_LATER. */
        void (*handle)(void *userdata, const HttpRequest *request, HttpAnswer *answer);

        /* How a try to bind ended, when that is another end than the last time: 0, or -errno. Such
         * a port is tried again each second: it is no reason not to start. NULL: nobody asks. */
        void (*told_bind)(void *userdata, int r);
        void *userdata;
} HttpConfig;

/* --- in a poll loop of the caller's --------------------------------------------------------- */

#define HTTP_CONNECTIONS_MAX 64
#define HTTP_WAITS_MAX       (1 + HTTP_CONNECTIONS_MAX)

/* Return: 0 with *@serverp for http_close(); -EINVAL for what is no address; -ENOMEM. */
int http_open(HttpServer **serverp, const HttpConfig *config);

/**
 * http_prepare(), http_serve() - before and after poll(2)
 * @waits: filled, for the caller to wait for
 * @timeout_msecsp: how long at most; -1: for ever
 *
 * Return: how many of @waits.
 */
size_t http_prepare(HttpServer *server, struct pollfd waits[HTTP_WAITS_MAX], int *timeout_msecsp);
void http_serve(HttpServer *server, const struct pollfd *waits, size_t n);

/* NULL is fine. */
void http_close(HttpServer *server);

/* --- on a thread of its own ----------------------------------------------------------------- */

/* Calls the functions of @config on that thread, but for the first try to bind. Return: as
 * http_open(); -errno: no thread. Ended by http_stop(). */
int http_start(HttpServer **serverp, const HttpConfig *config);

/* From any thread: asks again for those whose answer was not there. */
void http_wake(HttpServer *server);

/* NULL is fine. */
void http_stop(HttpServer *server);

#endif
