/* SPDX-License-Identifier: Apache-2.0 */

/* One thread with three states: not ready, no socket, serving. What it waits for comes by poll: the
 * wake descriptor (stop, refused), the socket, and inotify on the directory. */

#include "csi/daemon/registration.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "csi/grpc/listener.h"

#include <limits.h>
#include <pluginregistration.pb-c.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <time.h>

#define READY_PAUSE_MSECS 200
#define READY_PAUSE_MAX   10000
#define REFUSED_PAUSE     1000
#define REFUSED_PAUSE_MAX 60000
/* Between looks at the socket where inotify tells nothing. */
#define LOOK_MSECS 10000
/* The socket vanished: whoever removed it may be in the middle of something. */
#define VANISHED_PAUSE     100
#define TOO_MANY_FDS_PAUSE 100

struct Registration {
        RegistrationConfig config;
        char *path;      /* owned; the socket */
        char *bind_name; /* owned */
        int wake;        /* owned; eventfd */
        atomic_bool stop, refused;
        atomic_int refused_pause; /* next pause after a refusal, in milliseconds */
        RpcServer *server;        /* borrowed */
        pthread_t thread;
        bool is_running;
        char last_reason[ERROR_MESSAGE_MAX]; /* the thread's: what was logged last */
};

static void wake(Registration *registration) {
        const uint64_t one = 1;

        /* A full counter wakes as well. */
        if (write(registration->wake, &one, sizeof(one)) < 0)
                return;
}

static int get_info(void *userdata, const Call *call, const ProtobufCMessage *request,
                    ProtobufCMessage **responsep, Error *err) {
        static const char *versions[] = {"1.0.0"};
        const Registration *registration = userdata;
        Registration__PluginInfo *out =
                arena_alloc(call->arena, registration__plugin_info__descriptor.sizeof_message);

        if (!out)
                return error_set(err, ERROR_EXHAUSTED, "no memory left for the answer");
        registration__plugin_info__init(out);
        out->type = "CSIPlugin";
        out->name = registration->config.driver_name;
        out->endpoint = registration->config.endpoint;
        out->supported_versions = versions;
        out->n_supported_versions = N_ELEMENTS(versions);
        *responsep = &out->base;
        return 0;
}

static int notify(void *userdata, const Call *call, const ProtobufCMessage *request,
                  ProtobufCMessage **responsep, Error *err) {
        const Registration__RegistrationStatus *status = (const void *)request;
        Registration *registration = userdata;
        Registration__RegistrationStatusResponse *out = arena_alloc(
                call->arena, registration__registration_status_response__descriptor.sizeof_message);

        if (!out)
                return error_set(err, ERROR_EXHAUSTED, "no memory left for the answer");
        registration__registration_status_response__init(out);
        *responsep = &out->base;
        if (status->plugin_registered) {
                atomic_store(&registration->refused_pause, REFUSED_PAUSE);
                log_info("kubelet registered driver %s", registration->config.driver_name);
                return 0;
        }
        log_error("kubelet did not register driver %s, the socket will be made anew: %s",
                  registration->config.driver_name, status->error);
        atomic_store(&registration->refused, true);
        wake(registration);
        return 0;
}

void registration_methods(Registration *registration, RpcMethod methods[REGISTRATION_METHODS_N]) {
        methods[0] = (RpcMethod){
                "/pluginregistration.Registration/GetInfo",
                &registration__info_request__descriptor,
                get_info,
                registration,
                RPC_INLINE,
        };
        methods[1] = (RpcMethod){
                "/pluginregistration.Registration/NotifyRegistrationStatus",
                &registration__registration_status__descriptor,
                notify,
                registration,
                RPC_INLINE,
        };
}

/* A reason is logged when it changes, not each time it is found again. */
static void tell(Registration *registration, LogLevel level, const char *what, const Error *err) {
        if (str_equal(registration->last_reason, err->message))
                return;
        memcpy(registration->last_reason, err->message, sizeof(registration->last_reason));
        log_fields(level, (LogField[]){{"op", "register"}}, 1, "%s: %s", what, err->message);
}

/* Only the end of everything cuts it short: the wake of a refusal may come after it was seen.
 * Return: false when it is time to stop. */
static bool pause_msecs(Registration *registration, int msecs) {
        int64_t end = (int64_t)clock_msecs() + msecs, left = msecs;
        uint64_t ignored;

        do {
                struct pollfd wait = {.fd = registration->wake, .events = POLLIN};

                if (poll(&wait, 1, (int)left) > 0 &&
                    read(registration->wake, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
                        log_warning("wake descriptor: %m");
                left = end - (int64_t)clock_msecs();
        } while (left > 0 && !atomic_load(&registration->stop));
        return !atomic_load(&registration->stop);
}

static bool wait_until_ready(Registration *registration) {
        int pause = READY_PAUSE_MSECS;

        while (!atomic_load(&registration->stop)) {
                Error err = {0};

                if (registration->config.ready(registration->config.userdata, &err) == 0)
                        return true;
                tell(registration, LOG_LEVEL_WARNING, "not registering yet", &err);
                if (!pause_msecs(registration, pause))
                        return false;
                pause = pause * 2 > READY_PAUSE_MAX ? READY_PAUSE_MAX : pause * 2;
        }
        return false;
}

static Listener *wait_for_socket(Registration *registration) {
        int pause = READY_PAUSE_MSECS;

        while (!atomic_load(&registration->stop)) {
                Listener *listener;
                Error err = {0};

                if (listener_open(&listener, registration->path, registration->bind_name, &err) ==
                    0)
                        return listener;
                tell(registration, LOG_LEVEL_WARNING, "cannot make the registration socket", &err);
                if (!pause_msecs(registration, pause))
                        return NULL;
                pause = pause * 2 > READY_PAUSE_MAX ? READY_PAUSE_MAX : pause * 2;
        }
        return NULL;
}

static void accept_all(Registration *registration, Listener *listener) {
        uid_t uid;

        for (;;) {
                int fd = listener_accept(listener, &uid);

                if (fd >= 0) {
                        rpc_server_add_connection(registration->server, fd);
                        continue;
                }
                if (fd == -EPERM)
                        log_warning("hung up on user %u on the registration socket", uid);
                else if (fd == -EMFILE || fd == -ENFILE)
                        (void)pause_msecs(registration, TOO_MANY_FDS_PAUSE);
                if (fd != -EPERM && fd != -ECONNABORTED && fd != -EINTR)
                        return;
        }
}

static void drain_events(int fd) {
        char events[4096] __attribute__((aligned(8)));

        while (fd >= 0 && read(fd, events, sizeof(events)) > 0)
                ;
}

/* Until the socket is gone, kubelet refused, or it is time to stop. */
static void serve(Registration *registration, Listener *listener) {
        cleanup(closep) int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

        if (watch >= 0)
                (void)inotify_add_watch(watch, registration->config.directory,
                                        IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF);
        while (!atomic_load(&registration->stop) && !atomic_load(&registration->refused) &&
               listener_is_there(listener)) {
                struct pollfd waits[] = {
                        {.fd = registration->wake, .events = POLLIN},
                        {.fd = listener_fd(listener), .events = POLLIN},
                        {.fd = watch, .events = POLLIN},
                };

                if (poll(waits, N_ELEMENTS(waits), LOOK_MSECS) < 0 && errno != EINTR)
                        return;
                if (waits[0].revents)
                        (void)pause_msecs(registration, 0);
                if (waits[1].revents)
                        accept_all(registration, listener);
                drain_events(watch);
        }
}

static void *registration_main(void *userdata) {
        Registration *registration = userdata;

        while (wait_until_ready(registration)) {
                Listener *listener = wait_for_socket(registration);
                int pause = VANISHED_PAUSE;

                if (!listener)
                        break;
                registration->last_reason[0] = '\0';
                log_info("waiting for kubelet on %s", registration->path);
                serve(registration, listener);
                if (atomic_exchange(&registration->refused, false)) {
                        pause = atomic_load(&registration->refused_pause);
                        atomic_store(&registration->refused_pause,
                                     pause * 2 > REFUSED_PAUSE_MAX ? REFUSED_PAUSE_MAX : pause * 2);
                } else if (!atomic_load(&registration->stop)) {
                        log_warning("%s vanished, making it anew", registration->path);
                }
                listener_close(listener);
                if (!pause_msecs(registration, pause))
                        break;
        }
        return NULL;
}

int registration_new(Registration **registrationp, const RegistrationConfig *config, Error *err) {
        Registration *registration = calloc(1, sizeof(*registration));

        if (!registration)
                return error_set_errno(err, ENOMEM, "registration");
        registration->config = *config;
        registration->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        registration->path = str_printf("%s/%s-reg.sock", config->directory, config->driver_name);
        registration->bind_name = str_printf(".%s-reg.sock", config->driver_name);
        atomic_store(&registration->refused_pause, REFUSED_PAUSE);
        if (registration->wake < 0 || !registration->path || !registration->bind_name) {
                registration_free(registration);
                return error_set_errno(err, ENOMEM, "registration");
        }
        *registrationp = registration;
        return 0;
}

int registration_start(Registration *registration, RpcServer *server, Error *err) {
        int r;

        registration->server = server;
        r = pthread_create(&registration->thread, NULL, registration_main, registration);
        if (r != 0)
                return error_set_errno(err, r, "start the registration thread");
        registration->is_running = true;
        return 0;
}

void registration_stop(Registration *registration) {
        if (!registration || !registration->is_running)
                return;
        atomic_store(&registration->stop, true);
        wake(registration);
        (void)pthread_join(registration->thread, NULL);
        registration->is_running = false;
}

void registration_free(Registration *registration) {
        if (!registration)
                return;
        registration_stop(registration);
        if (registration->wake >= 0)
                (void)close(registration->wake);
        free(registration->path);
        free(registration->bind_name);
        free(registration);
}
