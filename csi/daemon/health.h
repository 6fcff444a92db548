/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_DAEMON_HEALTH_H
#define BERTH_CSI_DAEMON_HEALTH_H

/*
 * A small HTTP server: /healthz as kubernetes-csi/livenessprobe answers it (200 "ok", or 500 and
 * the reason), which is found out again when it is some seconds old; /livez, which is 200 as long
 * as anybody answers; and /metrics for Prometheus. Bounded: 64 connections, 10 seconds each.
 */

#include "csi/metrics/metrics.h"

#include "common/base/error.h"

#include <stdint.h>

typedef struct Health Health;

/* Borrowed, as long as the Health. */
typedef struct HealthConfig {
        const char *address; /* "" = all, IPv6 and IPv4; else a numeric address */
        uint16_t port;
        int (*probe)(void *userdata, Error *err); /* 0 = ready; called on a thread of its own */
        void *userdata;
        Metrics *metrics; /* NULL: no /metrics */
} HealthConfig;

int health_start(Health **healthp, const HealthConfig *config, Error *err);

/* NULL is fine. */
void health_stop(Health *health);

#endif
