/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The life of the gRPC server: its limits, its one thread, its end. One thread takes everything
 * from the completion queue; more of them bring nothing, and handlers that may wait run on workers.
 */

#include "csi/grpc/rpc_internal.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#include <malloc.h>
#include <time.h>
#include <unistd.h>

/* On a connection. More than may wait, so that who waits keeps no undo of the same client out. */
#define STREAMS_MAX 2048

#define QUICK_THREADS_MAX 16
#define UNDO_THREADS_MAX  32
#define SLOW_THREADS_MAX  128
#define WAITING_MAX       1024
#define WAITING_BYTES_MAX (32U << 20)
#define THREAD_IDLE_MSECS 10000

/* After this long a thread is taken to hang, and another one takes its place. What has hung for
 * ever is bounded by how many volumes a node has. */
#define QUICK_LATE_MSECS 1000
#define UNDO_LATE_MSECS  3000
#define SLOW_LATE_MSECS  5000
#define LATE_MAX         1024

/* How often it is looked at work that waits for a thread. */
#define LOOK_MSECS 100

#define WATCH_STACK_BYTES 65536

/* On a busy node, who formats makes room for who answers: within one container's share of the
 * processors, not against other pods. */
#define SLOW_NICE 5

/* Connections that stay open without a call are cut this long after the last call has ended. */
#define LINGER_MSECS 250

/* For calls to notice that they were cancelled. */
#define CANCEL_MSECS 10000

uint64_t rpc_now_usecs(void) {
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

const char *rpc_library_version(void) {
        return grpc_version_string();
}

#ifdef HAVE_GPR_SET_LOG_FUNCTION
static void log_grpc(gpr_log_func_args *args) {
        LogLevel level =
                args->severity == GPR_LOG_SEVERITY_ERROR ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG;

        log_fields(level, (LogField[]){{"op", "grpc"}}, 1, "%s", args->message);
}
#endif

/* Mutable, as gRPC's struct wants it, but it copies. */
static grpc_arg arg_int(const char *key, int value) {
        return (grpc_arg){
                .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static grpc_server *make_server(void) {
        grpc_arg args[] = {
                arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_MAX),
                /* The size is only checked after inflating: 200 KiB may become 200 MiB. */
                arg_int(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
                arg_int(GRPC_ARG_ENABLE_CHANNELZ, 0),
                arg_int(GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_MAX),
                /* Silent peers: with connections that we accepted, only pings find them. */
                arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, 30000),
                arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000),
                arg_int(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
                arg_int(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
                /* Clients that ping often are no enemies here. */
                arg_int(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000),
                arg_int(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),
        };

        return grpc_server_create(&(grpc_channel_args){N_ELEMENTS(args), args}, NULL);
}

void rpc_server_count(RpcServer *server, bool came) {
        (void)pthread_mutex_lock(&server->lock);
        server->n_calls += came ? 1U : -1U;
        if (server->n_calls == 0)
                (void)pthread_cond_broadcast(&server->changed);
        (void)pthread_mutex_unlock(&server->lock);
}

static void *queue_main(void *userdata) {
        RpcServer *server = userdata;

        for (;;) {
                grpc_event event = grpc_completion_queue_next(
                        server->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
                RpcTag *tag = event.tag;

                if (event.type == GRPC_QUEUE_SHUTDOWN)
                        return NULL;
                if (event.type != GRPC_OP_COMPLETE)
                        continue;
                rpc_take_over(tag->owner);
                tag->done(tag, event.success != 0);
        }
}

static void on_shut_down(RpcTag *tag, bool ok) {
        RpcServer *server = tag->owner;

        (void)pthread_mutex_lock(&server->lock);
        server->is_shut_down = true;
        (void)pthread_cond_broadcast(&server->changed);
        (void)pthread_mutex_unlock(&server->lock);
}

static int start_workers(RpcServer *server) {
        unsigned int n_slow = server->config.max_slow_threads ? server->config.max_slow_threads
                                                              : SLOW_THREADS_MAX;
        const struct {
                unsigned int max_threads, late_msecs;
                int nice;
        } classes[_RPC_CLASS_N] = {
                [RPC_QUICK] = {QUICK_THREADS_MAX, QUICK_LATE_MSECS, 0},
                [RPC_UNDO] = {UNDO_THREADS_MAX, UNDO_LATE_MSECS, 0},
                [RPC_SLOW] = {n_slow, SLOW_LATE_MSECS, SLOW_NICE},
        };

        for (RpcClass class = RPC_QUICK; class < _RPC_CLASS_N; class ++) {
                const WorkersConfig config = {
                        .max_threads = classes[class].max_threads,
                        .max_queued = WAITING_MAX,
                        .max_queued_bytes = WAITING_BYTES_MAX,
                        .idle_timeout_msecs = THREAD_IDLE_MSECS,
                        .late_msecs = classes[class].late_msecs,
                        .max_late = LATE_MAX,
                        .nice = classes[class].nice,
                };
                int r = workers_new(&server->workers[class], &config);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- the watch: what has to happen although nobody calls --- */

static bool look_at_workers(RpcServer *server) {
        bool has_waiting = false;

        for (RpcClass class = RPC_QUICK; class < _RPC_CLASS_N; class ++)
                has_waiting = workers_look(server->workers[class]) || has_waiting;
        return has_waiting;
}

/* The server is locked. */
static void watch_until(RpcServer *server, uint64_t until_msecs) {
        const struct timespec until = clock_timespec(until_msecs);

        if (until_msecs == UINT64_MAX)
                (void)pthread_cond_wait(&server->watched, &server->lock);
        else
                (void)pthread_cond_timedwait(&server->watched, &server->lock, &until);
}

/* The server is locked. Return: when to look again; UINT64_MAX: never. */
static uint64_t look_at_backlog(RpcServer *server) {
        bool has_backlog;

        if (!server->has_backlog)
                return UINT64_MAX;
        server->has_backlog = false;
        (void)pthread_mutex_unlock(&server->lock);
        has_backlog = look_at_workers(server);
        (void)pthread_mutex_lock(&server->lock);
        server->has_backlog = server->has_backlog || has_backlog;
        return server->has_backlog ? rpc_now_usecs() / 1000 + LOOK_MSECS : UINT64_MAX;
}

static void *watch_main(void *userdata) {
        RpcServer *server = userdata;

        (void)pthread_mutex_lock(&server->lock);
        while (!server->watch_stops) {
                uint64_t look = look_at_backlog(server);
                uint64_t next = rpc_wake_parked(server, false);

                watch_until(server, look < next ? look : next);
        }
        (void)pthread_mutex_unlock(&server->lock);
        return NULL;
}

void rpc_look_at_workers(RpcServer *server) {
        (void)pthread_mutex_lock(&server->lock);
        if (!server->has_backlog) {
                server->has_backlog = true;
                (void)pthread_cond_signal(&server->watched);
        }
        (void)pthread_mutex_unlock(&server->lock);
}

/* A small stack: it is there for as long as the process. */
static int start_watch(RpcServer *server) {
        pthread_attr_t attr;
        int r;

        (void)pthread_attr_init(&attr);
        (void)pthread_attr_setstacksize(&attr, WATCH_STACK_BYTES);
        r = -pthread_create(&server->watch, &attr, watch_main, server);
        (void)pthread_attr_destroy(&attr);
        return r;
}

static void init_sync(RpcServer *server) {
        pthread_condattr_t attr;

        (void)pthread_condattr_init(&attr);
        (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        (void)pthread_mutex_init(&server->lock, NULL);
        (void)pthread_cond_init(&server->changed, &attr);
        (void)pthread_cond_init(&server->watched, &attr);
        (void)pthread_condattr_destroy(&attr);
}

/* Once for the process, before gRPC has threads. */
static void init_library(void) {
        /* Big requests go back to the kernel instead of staying in a heap for good. */
        (void)mallopt(M_MMAP_THRESHOLD, 65536);
        (void)mallopt(M_TRIM_THRESHOLD, 65536);
        (void)mallopt(M_ARENA_MAX, 2);
#ifdef HAVE_GPR_SET_LOG_FUNCTION
        gpr_set_log_function(log_grpc);
#endif
        grpc_init();
}

int rpc_server_new(RpcServer **serverp, const RpcConfig *config, Error *err) {
        RpcServer *server = calloc(1, sizeof(*server));
        int r;

        if (!server)
                return error_set_errno(err, ENOMEM, "start gRPC");
        server->config = *config;
        server->shut_down = (RpcTag){on_shut_down, server};
        init_sync(server);
        init_library();
        server->queue = grpc_completion_queue_create_for_next(NULL);
        server->credentials = grpc_insecure_server_credentials_create();
        server->server = make_server();
        grpc_server_register_completion_queue(server->server, server->queue, NULL);
        grpc_server_start(server->server);
        r = start_workers(server);
        if (r == 0)
                r = start_watch(server);
        if (r == 0)
                r = -pthread_create(&server->thread, NULL, queue_main, server);
        if (r < 0)
                /* gRPC is left as it is: without its thread it cannot be shut down, and the caller
                 * can only end the process. */
                return error_set_errno(err, r, "start gRPC's thread");
        for (int i = 0; i < RPC_OFFERED; i++)
                rpc_call_offer(server);
        *serverp = server;
        return 0;
}

void rpc_server_add_connection(RpcServer *server, int fd) {
        grpc_server_add_channel_from_fd(server->server, fd, server->credentials);
}

/* Called with the lock held. Return: false when @until passed. */
static bool wait_until(RpcServer *server, uint64_t until_usecs) {
        const struct timespec until = {
                .tv_sec = (time_t)(until_usecs / 1000000),
                .tv_nsec = (long)(until_usecs % 1000000) * 1000,
        };

        return pthread_cond_timedwait(&server->changed, &server->lock, &until) != ETIMEDOUT;
}

int rpc_server_stop(RpcServer *server, uint64_t grace_msecs) {
        uint64_t until = rpc_now_usecs() + grace_msecs * 1000;
        bool done;

        atomic_store(&server->is_stopping, true);
        rpc_hand_over(server);
        grpc_server_shutdown_and_notify(server->server, server->queue, &server->shut_down);

        (void)pthread_mutex_lock(&server->lock);
        while (server->n_calls > 0 && wait_until(server, until))
                ;
        /* Clients were told to go; those who never speak are not waited for. */
        if (until > rpc_now_usecs() + LINGER_MSECS * 1000ULL)
                until = rpc_now_usecs() + LINGER_MSECS * 1000ULL;
        while (!server->is_shut_down && wait_until(server, until))
                ;
        (void)pthread_mutex_unlock(&server->lock);

        atomic_store(&server->is_cancelling, true);
        (void)pthread_mutex_lock(&server->lock);
        (void)rpc_wake_parked(server, true);
        (void)pthread_mutex_unlock(&server->lock);
        grpc_server_cancel_all_calls(server->server);
        until = rpc_now_usecs() + CANCEL_MSECS * 1000ULL;
        (void)pthread_mutex_lock(&server->lock);
        while ((server->n_calls > 0 || !server->is_shut_down) && wait_until(server, until))
                ;
        done = server->n_calls == 0 && server->is_shut_down;
        (void)pthread_mutex_unlock(&server->lock);
        return done ? 0 : -ETIMEDOUT;
}

void rpc_server_free(RpcServer *server) {
        if (!server)
                return;
        (void)pthread_mutex_lock(&server->lock);
        server->watch_stops = true;
        (void)pthread_cond_signal(&server->watched);
        (void)pthread_mutex_unlock(&server->lock);
        (void)pthread_join(server->watch, NULL);
        for (RpcClass class = RPC_QUICK; class < _RPC_CLASS_N; class ++)
                workers_free(server->workers[class]);
        grpc_completion_queue_shutdown(server->queue);
        (void)pthread_join(server->thread, NULL);
        grpc_server_destroy(server->server);
        grpc_server_credentials_release(server->credentials);
        grpc_completion_queue_destroy(server->queue);
        (void)pthread_cond_destroy(&server->changed);
        (void)pthread_cond_destroy(&server->watched);
        (void)pthread_mutex_destroy(&server->lock);
        free(server);
        grpc_shutdown_blocking();
}
