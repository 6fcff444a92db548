/* SPDX-License-Identifier: Apache-2.0 */

/* Three paths. The probe runs on the server's one thread: who asks for health waits for health. */

#include "csi/health.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "csi/http.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct Health {
        HealthConfig config;
        HttpServer *server; /* owned */
};

static void answer_health(const Health *health, HttpAnswer *answer) {
        Error err = {0};

        if (health->config.probe(health->config.userdata, &err) == 0) {
                answer->status = 200;
                answer->text = strdup("ok");
                return;
        }
        str_make_utf8(err.message);
        log_fields(LOG_LEVEL_WARNING, (LogField[]){{"op", "healthz"}}, 1, "not healthy: %s",
                   err.message);
        answer->status = 500;
        answer->text = strdup(err.message);
}

/* It answers, so it lives. What it waits for, a metadata service or a tool, does not come by a
 * restart. */
static void answer_alive(const Health *health, HttpAnswer *answer) {
        Error err = {0};

        (void)health->config.probe(health->config.userdata, &err);
        answer->status = 200;
        answer->text = strdup("ok");
}

static void handle(void *userdata, const HttpRequest *request, HttpAnswer *answer) {
        const Health *health = userdata;

        if (str_equal(request->path, "/healthz")) {
                answer_health(health, answer);
        } else if (str_equal(request->path, "/livez")) {
                answer_alive(health, answer);
        } else if (str_equal(request->path, "/metrics") && health->config.metrics) {
                answer->text = metrics_format(health->config.metrics);
                answer->status = answer->text ? 200 : 500;
                answer->type = METRICS_CONTENT_TYPE;
        } else {
                answer->status = 404;
                answer->text = strdup("not found\n");
        }
}

int health_start(Health **healthp, const HealthConfig *config, Error *err) {
        cleanup(freep) Health *health = calloc(1, sizeof(*health));
        int r;

        if (!health)
                return error_set_errno(err, ENOMEM, "health");
        health->config = *config;
        r = http_start(&health->server, config->address, config->port, handle, health, err);
        if (r < 0)
                return error_wrap(err, r, "health");
        *healthp = ptr_steal(&health);
        return 0;
}

void health_stop(Health *health) {
        if (!health)
                return;
        http_stop(health->server);
        free(health);
}
