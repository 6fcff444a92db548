/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_DAEMON_DAEMON_H
#define BERTH_CSI_DAEMON_DAEMON_H

/*
 * The one process of a node: the CSI socket, kubelet's registration, health and metrics, from the
 * first accept to the drain on SIGTERM. Node and provider are brought by the caller.
 */

#include "csi/service/service.h"

/* Strings are borrowed. */
typedef struct DaemonConfig {
        const Service *service; /* borrowed, and what it points to */
        const char *socket_path;
        const char *registration_dir;      /* NULL: no registration */
        const char *registration_endpoint; /* socket_path as kubelet sees it */
        const char *health_address;        /* "" = all */
        uint16_t health_port;              /* 0: off */
        bool serves_metrics;
        unsigned int max_workers; /* 0: default */
        uint64_t drain_timeout_msecs;
} DaemonConfig;

/* Blocks the signals that daemon_run() waits for, and SIGPIPE. Before any thread is made. */
void daemon_block_signals(void);

/**
 * daemon_run() - serve until SIGTERM or SIGINT
 *
 * Running calls end first, up to the drain timeout; then they are cancelled. Calls that do not even
 * end then make it leave the process with code 1, since nothing can be freed under them.
 *
 * Return: 0 after a signal; <0 with @err when it cannot start or lost its socket.
 */
int daemon_run(const DaemonConfig *config, Error *err);

#endif
