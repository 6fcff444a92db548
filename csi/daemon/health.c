/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Three paths, all answered from memory. What /healthz says is found out on a thread of its own,
 * when somebody asks and what is known is some seconds old: a metadata service that is silent, or
 * somebody who asks in a loop, keeps nobody else waiting.
 */

#include "csi/daemon/health.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/http/http.h"

#include <pthread.h>
#include <time.h>

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* How long an answer is good. Kubelet asks every ten seconds by default. */
#define GOOD_MSECS 3000

/* A probe that takes longer is answered for: livenessprobe's own limit is three seconds. */
#define PROBE_MSECS_MAX 2800

#define THREAD_STACK_BYTES (256U * 1024U)

struct Health {
        HealthConfig config;
        HttpServer *server; /* owned */
        pthread_t thread;
        bool has_thread;

        pthread_mutex_t lock;
        pthread_cond_t asked;
        bool stops, is_asked, is_known, is_healthy;
        uint64_t asked_msecs, known_msecs;
        char message[ERROR_MESSAGE_MAX];
        char logged[ERROR_MESSAGE_MAX]; /* the last reason that was */
};

/* The lock is held, and is not while it probes. */
static void probe(Health *health) {
        Error err = {0};
        bool is_healthy;

        (void)pthread_mutex_unlock(&health->lock);
        is_healthy = health->config.probe(health->config.userdata, &err) == 0;
        (void)pthread_mutex_lock(&health->lock);
        health->is_healthy = is_healthy;
        memcpy(health->message, err.message, sizeof(health->message));
        health->known_msecs = clock_msecs();
        health->is_known = true;
        health->is_asked = false;
        if (!is_healthy && !str_equal(health->logged, health->message))
                log_fields(LOG_LEVEL_WARNING, (LogField[]){{"op", "healthz"}}, 1, "not healthy: %s",
                           health->message);
        memcpy(health->logged, health->message, sizeof(health->logged));
        http_wake(health->server);
}

static void *probe_main(void *userdata) {
        Health *health = userdata;

        (void)pthread_mutex_lock(&health->lock);
        while (!health->stops)
                if (health->is_asked)
                        probe(health);
                else
                        (void)pthread_cond_wait(&health->asked, &health->lock);
        (void)pthread_mutex_unlock(&health->lock);
        return NULL;
}

/* The lock is held. The thread is made when health is first asked for. */
static void ask(Health *health) {
        pthread_attr_t attr;

        health->is_asked = true;
        health->asked_msecs = clock_msecs();
        (void)pthread_cond_signal(&health->asked);
        if (health->has_thread)
                return;
        (void)pthread_attr_init(&attr);
        (void)pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
        health->has_thread = pthread_create(&health->thread, &attr, probe_main, health) == 0;
        (void)pthread_attr_destroy(&attr);
}

/* The lock is held. */
static void answer_health(Health *health, HttpAnswer *answer) {
        uint64_t now = clock_msecs();

        if (health->is_known && now - health->known_msecs < GOOD_MSECS) {
                answer->status = health->is_healthy ? 200 : 500;
                answer->text = strdup(health->is_healthy ? "ok" : health->message);
                return;
        }
        if (!health->is_asked)
                ask(health);
        if (now - health->asked_msecs < PROBE_MSECS_MAX) {
                answer->status = HTTP_STATUS_LATER;
                return;
        }
        answer->status = 500;
        answer->text = str_printf("the check of this node has not ended for %llu s: what it asks "
                                  "does not answer",
                                  (unsigned long long)(now - health->asked_msecs) / 1000);
}

static void handle(void *userdata, const HttpRequest *request, HttpAnswer *answer) {
        Health *health = userdata;

        if (str_equal(request->path, "/healthz")) {
                (void)pthread_mutex_lock(&health->lock);
                answer_health(health, answer);
                (void)pthread_mutex_unlock(&health->lock);
        } else if (str_equal(request->path, "/livez")) {
                /* It answers, so it lives. What it waits for, a metadata service or a tool, does
                 * not come by a restart. */
                answer->status = 200;
                answer->text = strdup("ok");
        } else if (str_equal(request->path, "/metrics") && health->config.metrics) {
                answer->text = metrics_format(health->config.metrics);
                answer->status = answer->text ? 200 : 500;
                answer->type = METRICS_CONTENT_TYPE;
        } else {
                answer->status = 404;
                answer->text = strdup("not found\n");
        }
}

/* Health is less than storage. */
static void told_bind(void *userdata, int r) {
        const Health *health = userdata;
        const HealthConfig *config = &health->config;
        const char *where = str_is_empty(config->address) ? "all addresses" : config->address;

        if (r == 0)
                log_info("health: listening on %s port %u after all", where, config->port);
        else
                log_error("health: cannot listen on %s port %u: %s; volumes are served without "
                          "health and metrics, and it is tried again each second "
                          "(--health-port: another port)",
                          where, config->port, strerrordesc_np(-r));
}

int health_start(Health **healthp, const HealthConfig *config, Error *err) {
        cleanup(freep) Health *health = calloc(1, sizeof(*health));
        int r;

        if (!health)
                return error_set_errno(err, ENOMEM, "health");
        health->config = *config;
        (void)pthread_mutex_init(&health->lock, NULL);
        (void)pthread_cond_init(&health->asked, NULL);
        r = http_start(&health->server, &(HttpConfig){.address = config->address,
                                                      .port = config->port,
                                                      .handle = handle,
                                                      .told_bind = told_bind,
                                                      .userdata = health});
        if (r == -EINVAL)
                return error_set(err, ERROR_INVALID,
                                 "health: --health-address: \"%.64s\", expected a numeric address",
                                 config->address);
        if (r < 0)
                return error_set_errno(err, r, "health: start the HTTP server");
        *healthp = ptr_steal(&health);
        return 0;
}

void health_stop(Health *health) {
        if (!health)
                return;
        (void)pthread_mutex_lock(&health->lock);
        health->stops = true;
        (void)pthread_cond_signal(&health->asked);
        (void)pthread_mutex_unlock(&health->lock);
        /* A probe has a deadline of its own. */
        if (health->has_thread)
                (void)pthread_join(health->thread, NULL);
        http_stop(health->server);
        (void)pthread_cond_destroy(&health->asked);
        (void)pthread_mutex_destroy(&health->lock);
        free(health);
}
