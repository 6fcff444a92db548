/* SPDX-License-Identifier: Apache-2.0 */

/* The half that talks: one poll over all connections. A connection reads its request, writes its
 * answer, and is closed. */

#include "common/http/http.h"
#include "common/base/clock.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#define CONNECTIONS_MAX    HTTP_CONNECTIONS_MAX
#define CONNECTION_MSECS   10000
#define BIND_MSECS         1000
#define N_WAITS            1 /* the listener */
#define N_THREAD_WAITS     2 /* stop, wake */
#define BACKLOG            64
#define THREAD_STACK_BYTES (256U * 1024U)

typedef struct Connection {
        int fd; /* owned; -1: free */
        uint64_t until_msecs;
        size_t n_read;
        uint8_t peer[16]; /* IPv4 as mapped */
        bool is_handled;  /* the request is complete; without an answer it waits for one */
        HttpRequest request;
        char *out; /* owned; NULL while the request is read or waits */
        size_t n_out, n_written;
        char in[HTTP_REQUEST_MAX];
} Connection;

struct HttpServer {
        HttpConfig config;
        int listener; /* owned; -1 while the address is taken */
        int bind_r;   /* of the last try */
        uint64_t bind_again_msecs;
        Connection *connections[CONNECTIONS_MAX]; /* owned; NULL: never used */
        Connection *waiting[HTTP_WAITS_MAX];      /* in the order of http_prepare() */

        /* Of http_start(). */
        int wake, stop; /* owned; eventfds */
        pthread_t thread;
};

static void connection_close(Connection *connection) {
        if (connection->fd >= 0)
                (void)close(connection->fd);
        connection->fd = -1;
        free(connection->out);
        connection->out = NULL;
}

static unsigned int count_of_peer(const HttpServer *server, const uint8_t peer[16]) {
        unsigned int n = 0;

        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                n += server->connections[i] && memcmp(server->connections[i]->peer, peer, 16) == 0;
        return n;
}

/* The oldest of whoever has most: who opens connections in a loop, or says nothing on them, takes
 * its own away and keeps nobody else out. */
static Connection *choose_victim(const HttpServer *server) {
        Connection *victim = NULL;
        unsigned int most = 0;

        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
                Connection *connection = server->connections[i];
                unsigned int n;

                if (!connection)
                        continue;
                n = count_of_peer(server, connection->peer);
                if (n > most ||
                    (victim && n == most && connection->until_msecs < victim->until_msecs)) {
                        victim = connection;
                        most = n;
                }
        }
        return victim;
}

/* Memory for a connection is made when it is first needed: mostly there is one. */
static Connection *connection_get(HttpServer *server) {
        Connection *victim;

        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
                Connection *connection = server->connections[i];

                if (!connection) {
                        connection = server->connections[i] = calloc(1, sizeof(*connection));
                        if (connection)
                                connection->fd = -1;
                        return connection;
                }
                if (connection->fd < 0)
                        return connection;
        }
        victim = choose_victim(server);
        if (victim)
                connection_close(victim);
        return victim;
}

static void set_peer(Connection *connection, const struct sockaddr_storage *address) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        const struct sockaddr_in *v4 = (const void *)address;

        memset(connection->peer, 0, sizeof(connection->peer));
        if (address->ss_family == AF_INET6)
                memcpy(connection->peer, &v6->sin6_addr, sizeof(v6->sin6_addr));
        else if (address->ss_family == AF_INET)
                memcpy(connection->peer + 12, &v4->sin_addr, sizeof(v4->sin_addr));
}

static void accept_one(HttpServer *server) {
        struct sockaddr_storage peer = {0};
        socklen_t n_peer = sizeof(peer);
        int fd = accept4(server->listener, (struct sockaddr *)&peer, &n_peer,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
        Connection *connection = fd >= 0 ? connection_get(server) : NULL;

        if (connection) {
                connection->fd = fd;
                connection->until_msecs = clock_msecs() + CONNECTION_MSECS;
                connection->n_read = connection->n_out = connection->n_written = 0;
                connection->is_handled = false;
                set_peer(connection, &peer);
        } else if (fd >= 0) {
                (void)close(fd);
        }
}

static const char *reason(unsigned int status) {
        switch (status) {
        case 200:
                return "OK";
        case 400:
                return "Bad Request";
        case 404:
                return "Not Found";
        case 405:
                return "Method Not Allowed";
        default:
                return "Internal Server Error";
        }
}

static void answer(HttpServer *server, Connection *connection, int parsed,
                   const HttpRequest *request) {
        HttpAnswer reply = {.status = parsed == HTTP_E_NOT_ALLOWED ? 405 : 400,
                            .type = "text/plain; charset=utf-8"};
        StrBuf text = {0};

        if (parsed == 0) {
                server->config.handle(server->config.userdata, request, &reply);
                if (reply.status == HTTP_STATUS_LATER)
                        return;
        }
        strbuf_printf(&text,
                      "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
                      "Connection: close\r\n\r\n",
                      reply.status, reason(reply.status), reply.type,
                      reply.text ? strlen(reply.text) : 0,
                      reply.status == 405 ? "Allow: GET, HEAD\r\n" : "");
        if (reply.text && !(parsed == 0 && request->is_head))
                strbuf_append(&text, reply.text);
        free(reply.text);
        connection->n_out = text.n;
        connection->out = strbuf_steal(&text);
        if (!connection->out)
                connection_close(connection);
}

static void on_readable(HttpServer *server, Connection *connection) {
        ssize_t n;
        int r;

        n = read(connection->fd, connection->in + connection->n_read,
                 sizeof(connection->in) - connection->n_read);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                connection_close(connection);
                return;
        }
        connection->n_read += (size_t)n;
        r = http_parse_request(connection->in, connection->n_read, &connection->request);
        connection->is_handled = r == 0;
        if (r != HTTP_E_MORE)
                answer(server, connection, r, &connection->request);
}

static void on_writable(Connection *connection) {
        ssize_t n = send(connection->fd, connection->out + connection->n_written,
                         connection->n_out - connection->n_written, MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n >= 0)
                connection->n_written += (size_t)n;
        if (n < 0 || connection->n_written == connection->n_out)
                connection_close(connection);
}

static void serve_connection(HttpServer *server, Connection *connection, short events) {
        if (clock_msecs() >= connection->until_msecs)
                connection_close(connection);
        else if (connection->is_handled && !connection->out)
                answer(server, connection, 0, &connection->request);
        else if (events && connection->out)
                on_writable(connection);
        else if (events)
                on_readable(server, connection);
}

static int listen_on(const struct sockaddr *address, socklen_t n, bool is_dual) {
        cleanup(closep) int fd = -1;
        int on = 1, only_v6 = is_dual ? 0 : 1;

        fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* A port in TIME_WAIT is ours again. */
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (address->sa_family == AF_INET6 &&
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6)) < 0)
                return -errno;
        if (bind(fd, address, n) < 0 || listen(fd, BACKLOG) < 0)
                return -errno;
        return fd_steal(&fd);
}

/* Return: a descriptor; -errno; -EINVAL for what is no address. */
static int open_listener(const char *address, uint16_t port) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        bool any = str_is_empty(address);
        int r = -EINVAL;

        if (any || inet_pton(AF_INET6, address, &v6.sin6_addr) == 1)
                r = listen_on((const struct sockaddr *)&v6, sizeof(v6), any);
        /* All addresses, on a host without IPv6. */
        if ((any && (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL)) ||
            (!any && inet_pton(AF_INET, address, &v4.sin_addr) == 1))
                r = listen_on((const struct sockaddr *)&v4, sizeof(v4), false);
        return r;
}

/* A port that somebody else has is tried again. */
static void try_to_bind(HttpServer *server) {
        int r = open_listener(server->config.address, server->config.port);

        if (r >= 0)
                server->listener = r;
        r = r < 0 ? r : 0;
        server->bind_again_msecs = clock_msecs() + BIND_MSECS;
        if (server->bind_r != r && server->config.told_bind)
                server->config.told_bind(server->config.userdata, r);
        server->bind_r = r;
}

static int timeout_msecs(const HttpServer *server, size_t n) {
        uint64_t now = clock_msecs();

        if (server->listener < 0)
                return now < server->bind_again_msecs ? (int)(server->bind_again_msecs - now) : 0;
        /* Once a second for the time-outs, if there is anything to time out. */
        return n > N_WAITS ? 1000 : -1;
}

size_t http_prepare(HttpServer *server, struct pollfd waits[HTTP_WAITS_MAX], int *timeout_msecsp) {
        size_t n = N_WAITS;

        waits[0] = (struct pollfd){.fd = server->listener, .events = POLLIN};
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
                Connection *connection = server->connections[i];

                if (!connection || connection->fd < 0)
                        continue;
                server->waiting[n] = connection;
                waits[n++] = (struct pollfd){
                        .fd = connection->fd,
                        .events = (short)(connection->out          ? POLLOUT
                                          : connection->is_handled ? 0
                                                                   : POLLIN),
                };
        }
        *timeout_msecsp = timeout_msecs(server, n);
        return n;
}

void http_serve(HttpServer *server, const struct pollfd *waits, size_t n) {
        if (server->listener < 0 && clock_msecs() >= server->bind_again_msecs)
                try_to_bind(server);
        for (size_t i = N_WAITS; i < n; i++)
                serve_connection(server, server->waiting[i], waits[i].revents);
        if (waits[0].revents && waits[0].fd >= 0)
                accept_one(server);
}

int http_open(HttpServer **serverp, const HttpConfig *config) {
        HttpServer *server;
        struct in6_addr ignored;

        if (!str_is_empty(config->address) && inet_pton(AF_INET6, config->address, &ignored) != 1 &&
            inet_pton(AF_INET, config->address, &ignored) != 1)
                return -EINVAL;
        server = calloc(1, sizeof(*server));
        if (!server)
                return -ENOMEM;
        *server = (HttpServer){.config = *config, .listener = -1, .wake = -1, .stop = -1};
        /* At once, so that who is told of the start finds it. */
        try_to_bind(server);
        *serverp = server;
        return 0;
}

void http_close(HttpServer *server) {
        if (!server)
                return;
        for (size_t i = 0; i < CONNECTIONS_MAX && server->connections[i]; i++) {
                connection_close(server->connections[i]);
                free(server->connections[i]);
        }
        closep(&server->listener);
        closep(&server->wake);
        closep(&server->stop);
        free(server);
}

/* --- on a thread -------------------------------------------------------------------------- */

static void drain_wake(HttpServer *server) {
        uint64_t ignored;

        /* It is non-blocking, and what is in it says nothing. */
        if (read(server->wake, &ignored, sizeof(ignored)) < 0)
                return;
}

static void *http_main(void *userdata) {
        HttpServer *server = userdata;

        for (;;) {
                struct pollfd waits[N_THREAD_WAITS + HTTP_WAITS_MAX];
                int msecs;
                size_t n;

                waits[0] = (struct pollfd){.fd = server->stop, .events = POLLIN};
                waits[1] = (struct pollfd){.fd = server->wake, .events = POLLIN};
                n = http_prepare(server, waits + N_THREAD_WAITS, &msecs);
                if (poll(waits, N_THREAD_WAITS + n, msecs) < 0 && errno != EINTR)
                        return NULL;
                if (waits[0].revents)
                        return NULL;
                if (waits[1].revents)
                        drain_wake(server);
                http_serve(server, waits + N_THREAD_WAITS, n);
        }
}

void http_wake(HttpServer *server) {
        const uint64_t one = 1;

        /* A full counter wakes as well. */
        if (write(server->wake, &one, sizeof(one)) < 0)
                return;
}

static int start_thread(HttpServer *server) {
        pthread_attr_t attr;
        int r = pthread_attr_init(&attr);

        if (r != 0)
                return -r;
        (void)pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
        r = pthread_create(&server->thread, &attr, http_main, server);
        (void)pthread_attr_destroy(&attr);
        return -r;
}

int http_start(HttpServer **serverp, const HttpConfig *config) {
        HttpServer *server = NULL;
        int r = http_open(&server, config);

        if (r < 0)
                return r;
        server->stop = eventfd(0, EFD_CLOEXEC);
        server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = server->stop < 0 || server->wake < 0 ? -errno : start_thread(server);
        if (r < 0) {
                http_close(server);
                return r;
        }
        *serverp = server;
        return 0;
}

void http_stop(HttpServer *server) {
        const uint64_t one = 1;

        if (!server)
                return;
        if (write(server->stop, &one, sizeof(one)) != sizeof(one))
                abort(); /* an eventfd of ours takes a one */
        (void)pthread_join(server->thread, NULL);
        http_close(server);
}
