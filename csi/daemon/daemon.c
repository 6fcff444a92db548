/* SPDX-License-Identifier: Apache-2.0 */

/* Start order: the socket answers before kubelet is told of it. Stop order: the other way round. */

#include "csi/daemon/daemon.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "csi/daemon/health.h"
#include "csi/daemon/registration.h"
#include "csi/grpc/listener.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/signalfd.h>
#include <time.h>

/* What a probe of our own may take: livenessprobe gives it 3 seconds by default. */
#define PROBE_MSECS       2500
#define PROBE_ARENA_BYTES (1U << 20)

/* How often the socket's file is looked at. */
#define LOOK_MSECS 2000

#define TOO_MANY_FDS_MSECS 100

typedef struct Daemon {
        const DaemonConfig *config;
        Service service;
        RpcMethod methods[SERVICE_METHODS_MAX + REGISTRATION_METHODS_N];
        size_t n_methods;
        RpcServer *server;          /* owned */
        Listener *listener;         /* owned */
        Registration *registration; /* owned */
        Health *health;             /* owned */
        atomic_bool stops;
} Daemon;

static bool is_cancelled(void *userdata) {
        const Daemon *daemon = userdata;

        return atomic_load(&daemon->stops);
}

static void stop_signals(sigset_t *set) {
        (void)sigemptyset(set);
        (void)sigaddset(set, SIGTERM);
        (void)sigaddset(set, SIGINT);
        /* Of a terminal that was closed, or for a configuration that there is none of. */
        (void)sigaddset(set, SIGHUP);
}

void daemon_block_signals(void) {
        sigset_t set;

        stop_signals(&set);
        (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
        (void)signal(SIGPIPE, SIG_IGN);
}

/* A call that nobody sent. */
static int own_call(Daemon *daemon, const char *method,
                    int (*run)(Daemon *daemon, const Call *call, Error *err), Error *err) {
        Arena *arena;
        Call call = {.method = method, .cancelled = is_cancelled, .userdata = daemon};
        int r;

        if (arena_new(&arena, PROBE_ARENA_BYTES) < 0)
                return error_set_errno(err, ENOMEM, "%s", method);
        call.arena = arena;
        call.deadline_msecs = clock_msecs() + PROBE_MSECS;
        r = run(daemon, &call, err);
        arena_free(arena);
        return r;
}

static int run_probe(Daemon *daemon, const Call *call, Error *err) {
        return node_ready(daemon->service.node, call, err);
}

static int run_info(Daemon *daemon, const Call *call, Error *err) {
        NodeInfo info = {0};

        return node_info(daemon->service.node, call, &info, err);
}

/* For /healthz. */
static int is_healthy(void *userdata, Error *err) {
        return own_call(userdata, "Probe", run_probe, err);
}

/* For the registration: kubelet asks for NodeGetInfo at once, and only once. */
static int is_registrable(void *userdata, Error *err) {
        int r = own_call(userdata, "Probe", run_probe, err);

        return r < 0 ? r : own_call(userdata, "NodeGetInfo", run_info, err);
}

static int start_server(Daemon *daemon, Error *err) {
        RpcConfig rpc = {
                .methods = daemon->methods,
                .max_slow_threads = daemon->config->max_workers,
                .report = service_report,
                .userdata = &daemon->service,
        };

        daemon->n_methods = service_methods(&daemon->service, daemon->methods);
        if (daemon->registration) {
                registration_methods(daemon->registration, daemon->methods + daemon->n_methods);
                daemon->n_methods += REGISTRATION_METHODS_N;
        }
        rpc.n_methods = daemon->n_methods;
        return rpc_server_new(&daemon->server, &rpc, err);
}

static int daemon_start(Daemon *daemon, Error *err) {
        const DaemonConfig *config = daemon->config;
        const RegistrationConfig registration = {
                .directory = config->registration_dir,
                .driver_name = daemon->service.driver_name,
                .endpoint = config->registration_endpoint,
                .ready = is_registrable,
                .userdata = daemon,
        };
        const HealthConfig health = {
                .address = config->health_address,
                .port = config->health_port,
                .probe = is_healthy,
                .userdata = daemon,
                .metrics = config->serves_metrics ? daemon->service.metrics : NULL,
        };
        int r;

        /* The socket first: it also says whether another instance lives. */
        r = listener_open(&daemon->listener, config->socket_path, NULL, err);
        if (r == 0 && config->registration_dir)
                r = registration_new(&daemon->registration, &registration, err);
        if (r == 0)
                r = start_server(daemon, err);
        if (r == 0 && config->health_port != 0)
                r = health_start(&daemon->health, &health, err);
        if (r == 0 && daemon->registration)
                r = registration_start(daemon->registration, daemon->server, err);
        return r;
}

/* Return: false when descriptors ran out, for a pause. */
static bool accept_all(Daemon *daemon) {
        uid_t uid;

        for (;;) {
                int fd = listener_accept(daemon->listener, &uid);

                if (fd >= 0)
                        rpc_server_add_connection(daemon->server, fd);
                else if (fd == -EPERM)
                        log_warning("hung up on user %u on %s", uid, daemon->config->socket_path);
                else if (fd != -ECONNABORTED && fd != -EINTR)
                        return fd == -EAGAIN;
        }
}

/* Someone removed the socket's file: without it kubelet cannot reach us. */
static int keep_socket(Daemon *daemon, Error *err) {
        if (listener_is_there(daemon->listener))
                return 0;
        log_warning("%s vanished, making it anew", daemon->config->socket_path);
        listener_close(daemon->listener);
        daemon->listener = NULL;
        return listener_open(&daemon->listener, daemon->config->socket_path, NULL, err);
}

static int serve_until_signal(Daemon *daemon, int signals, Error *err) {
        int timeout = LOOK_MSECS;

        for (;;) {
                struct pollfd waits[] = {
                        {.fd = signals, .events = POLLIN},
                        {.fd = listener_fd(daemon->listener), .events = POLLIN},
                };
                int r;

                /* Out of descriptors, the socket stays readable: it is left alone for a moment. */
                if (timeout == TOO_MANY_FDS_MSECS)
                        waits[1].fd = -1;
                r = poll(waits, N_ELEMENTS(waits), timeout);
                if (r < 0 && errno != EINTR)
                        return error_set_errno(err, errno, "poll");
                if (waits[0].revents)
                        return 0;
                timeout = LOOK_MSECS;
                if (waits[1].revents && !accept_all(daemon)) {
                        log_warning("out of file descriptors, connections wait");
                        timeout = TOO_MANY_FDS_MSECS;
                }
                r = keep_socket(daemon, err);
                if (r < 0)
                        return r;
        }
}

static void daemon_stop(Daemon *daemon) {
        atomic_store(&daemon->stops, true);
        registration_stop(daemon->registration);
        listener_close(daemon->listener);
        if (daemon->server &&
            rpc_server_stop(daemon->server, daemon->config->drain_timeout_msecs) < 0) {
                log_error("calls did not end although they were cancelled, leaving them");
                _exit(1);
        }
        rpc_server_free(daemon->server);
        health_stop(daemon->health);
        registration_free(daemon->registration);
}

int daemon_run(const DaemonConfig *config, Error *err) {
        Daemon daemon = {.config = config, .service = *config->service};
        cleanup(closep) int signals = -1;
        sigset_t set;
        int r = 0;

        stop_signals(&set);
        signals = signalfd(-1, &set, SFD_CLOEXEC);
        if (signals < 0)
                return error_set_errno(err, errno, "signalfd");
        r = daemon_start(&daemon, err);
        if (r == 0) {
                log_fields(LOG_LEVEL_INFO,
                           (LogField[]){{"version", BERTH_VERSION},
                                        {"driver", daemon.service.driver_name},
                                        {"provider", daemon.service.provider->name},
                                        {"socket", config->socket_path},
                                        {"grpc", rpc_library_version()}},
                           5, "serving");
                r = serve_until_signal(&daemon, signals, err);
                log_info("stopping: %s", r < 0 ? err->message : "signal");
        }
        daemon_stop(&daemon);
        if (r == 0)
                log_info("stopped");
        return r;
}
