/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_HTTP_H
#define BERTH_CSI_HTTP_H

/*
 * As much HTTP/1.1 (RFC 9112) as a prober and a scraper need: GET and HEAD without a body, one
 * request on a connection. Bounds: 64 connections, 4 KiB of request, 10 seconds; when all are
 * taken, the oldest of the address that has most of them goes.
 *
 * Why not a library: Debian's libmicrohttpd brings GnuTLS and eight libraries behind it, which took
 * 3 ms of each start and 2.5 MiB of each node for two paths without TLS.
 */

#include "common/base/error.h"

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

/**
 * http_start() - serve on a thread
 * @address: "" = all, IPv6 and IPv4; else a numeric address; borrowed as long as the server
 * @handle:  answers a GET or HEAD from memory; on that one thread, so the next connection waits for
 *           it. May answer HTTP_STATUS_LATER
 *
 * An address or port that cannot be bound, because somebody has it, is logged and tried again each
 * second: this is no reason not to start.
 *
 * Return: 0; <0 with @err: what is no address, or no thread.
 */
int http_start(HttpServer **serverp, const char *address, uint16_t port,
               void (*handle)(void *userdata, const HttpRequest *request, HttpAnswer *answer),
               void *userdata, Error *err);

/* From any thread: asks again for those whose answer was not there. */
void http_wake(HttpServer *server);

/* NULL is fine. */
void http_stop(HttpServer *server);

#endif
