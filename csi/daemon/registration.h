/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_DAEMON_REGISTRATION_H
#define BERTH_CSI_DAEMON_REGISTRATION_H

/*
 * Kubelet's plugin registration, served by this process instead of by a sidecar.
 *
 * A thread waits until the driver can answer, then makes <directory>/<driver>-reg.sock (bound under
 * a name that kubelet's watcher skips, and renamed: it dials what it sees at once), and serves
 * connections on it. The socket is made anew when it vanishes, when the directory is replaced, and,
 * after a pause that doubles from one second to a minute, when kubelet says that it did not
 * register the driver: kubelet does not ask again by itself (kubernetes/kubernetes 118317), and a
 * new process would not know more than this one.
 *
 * Source: k8s.io/kubelet pluginregistration/v1; kubernetes pkg/kubelet/pluginmanager.
 */

#include "csi/grpc/rpc.h"

typedef struct Registration Registration;

/* Borrowed, as long as the Registration. */
typedef struct RegistrationConfig {
        const char *directory; /* kubelet's plugins_registry, as this process sees it */
        const char *driver_name;
        const char *endpoint; /* path of the CSI socket, as kubelet sees it */
        /* Whether Probe and NodeGetInfo would succeed now; may wait some seconds. */
        int (*ready)(void *userdata, Error *err);
        void *userdata;
} RegistrationConfig;

#define REGISTRATION_METHODS_N 2U

int registration_new(Registration **registrationp, const RegistrationConfig *config, Error *err);

/* For the server that registration_start() gets; they live as long as the Registration. */
void registration_methods(Registration *registration, RpcMethod methods[REGISTRATION_METHODS_N]);

int registration_start(Registration *registration, RpcServer *server, Error *err);

/* Removes the socket and ends the thread; before the server stops. NULL and not started are fine.
 */
void registration_stop(Registration *registration);

/* After registration_stop() and after the server is freed. NULL is fine. */
void registration_free(Registration *registration);

#endif
