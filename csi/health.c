/* SPDX-License-Identifier: Apache-2.0 */

/* One thread of libmicrohttpd. The probe runs on it: who asks for health waits for health. */

#include "csi/health.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX      64U
#define CONNECTION_SECONDS   10U
#define CONNECTION_BYTES_MAX (8U * 1024U)
#define THREAD_STACK_BYTES   (256U * 1024U)
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct Health {
        HealthConfig config;
        struct MHD_Daemon *daemon; /* owned */
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned int status,
                              const char *type, const char *text) {
        struct MHD_Response *response = MHD_create_response_from_buffer(
                strlen(text), (char *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
        enum MHD_Result r;

        if (!response)
                return MHD_NO;
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
        r = MHD_queue_response(connection, status, response);
        MHD_destroy_response(response);
        return r;
}

static enum MHD_Result answer_health(Health *health, struct MHD_Connection *connection) {
        Error err = {0};

        if (health->config.probe(health->config.userdata, &err) == 0)
                return answer(connection, MHD_HTTP_OK, "text/plain; charset=utf-8", "ok");
        str_make_utf8(err.message);
        log_fields(LOG_LEVEL_WARNING, (LogField[]){{"op", "healthz"}}, 1, "not healthy: %s",
                   err.message);
        return answer(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8",
                      err.message);
}

static enum MHD_Result answer_metrics(Health *health, struct MHD_Connection *connection) {
        cleanup(freep) char *text = metrics_format(health->config.metrics);

        if (!text)
                return answer(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "text/plain",
                              "out of memory\n");
        return answer(connection, MHD_HTTP_OK, METRICS_CONTENT_TYPE, text);
}

/* NOLINTNEXTLINE(readability-function-size): libmicrohttpd names the parameters. */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *upload, size_t *n_uploadp, void **statep) {
        Health *health = userdata;

        if (!str_equal(method, MHD_HTTP_METHOD_GET) && !str_equal(method, MHD_HTTP_METHOD_HEAD))
                return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain",
                              "only GET and HEAD\n");
        if (str_equal(url, "/healthz"))
                return answer_health(health, connection);
        if (str_equal(url, "/metrics") && health->config.metrics)
                return answer_metrics(health, connection);
        return answer(connection, MHD_HTTP_NOT_FOUND, "text/plain", "not found\n");
}

__attribute__((format(printf, 2, 0))) static void log_http(void *userdata, const char *format,
                                                           va_list ap) {
        char message[512];

        (void)vsnprintf(message, sizeof(message), format, ap);
        str_trim_end(message);
        log_fields(LOG_LEVEL_DEBUG, (LogField[]){{"op", "http"}}, 1, "%s", message);
}

static struct MHD_Daemon *start(Health *health, const struct sockaddr *address, bool is_v6,
                                bool is_dual) {
        unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG;

        if (is_v6)
                flags |= is_dual ? MHD_USE_DUAL_STACK : MHD_USE_IPv6;
        return MHD_start_daemon(flags, health->config.port, NULL, NULL, on_request, health,
                                MHD_OPTION_EXTERNAL_LOGGER, log_http, NULL, MHD_OPTION_SOCK_ADDR,
                                address, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                                MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_SECONDS,
                                MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES_MAX,
                                MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK_BYTES,
                                MHD_OPTION_END);
}

static int listen_on(Health *health, Error *err) {
        const HealthConfig *config = &health->config;
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(config->port)};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(config->port)};
        bool any = str_is_empty(config->address);

        if (any || inet_pton(AF_INET6, config->address, &v6.sin6_addr) == 1)
                health->daemon = start(health, (const struct sockaddr *)&v6, true, any);
        /* All addresses, on a host without IPv6. */
        if (!health->daemon && (any || inet_pton(AF_INET, config->address, &v4.sin_addr) == 1))
                health->daemon = start(health, (const struct sockaddr *)&v4, false, false);
        if (!health->daemon)
                return error_set_errno(err, errno ? errno : EADDRNOTAVAIL,
                                       "health: listen on %s port %u",
                                       any ? "all addresses" : config->address, config->port);
        return 0;
}

int health_start(Health **healthp, const HealthConfig *config, Error *err) {
        cleanup(freep) Health *health = calloc(1, sizeof(*health));
        int r;

        if (!health)
                return error_set_errno(err, ENOMEM, "health");
        health->config = *config;
        errno = 0;
        r = listen_on(health, err);
        if (r < 0)
                return r;
        *healthp = ptr_steal(&health);
        return 0;
}

void health_stop(Health *health) {
        if (!health)
                return;
        MHD_stop_daemon(health->daemon);
        free(health);
}
