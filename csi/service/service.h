/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_SERVICE_SERVICE_H
#define BERTH_CSI_SERVICE_SERVICE_H

/*
 * The CSI services on the wire: a table of methods for the RPC server. Each method decodes its
 * request under the generic rules (field.h), calls the node or the provider's controller, and
 * encodes the answer. Methods that the provider has no function for are not in the table, so that
 * the server answers UNIMPLEMENTED.
 */

#include "csi/grpc/rpc.h"
#include "csi/metrics/metrics.h"
#include "csi/node/node.h"

/* Everything is borrowed and outlives the service. */
typedef struct Service {
        const Provider *provider;
        void *provider_self;
        Node *node;
        const char *driver_name;
        Metrics *metrics; /* NULL: not counted */
} Service;

/* Room for every method of all services. */
#define SERVICE_METHODS_MAX 40U

/* Fills @methods with what the provider can do. Return: how many. */
size_t service_methods(Service *service, RpcMethod methods[SERVICE_METHODS_MAX]);

/*
 * RpcConfig.report, with the Service as userdata: one line in the log for each call, with its
 * method, subject (volume, snapshot or name), code and duration, and its series in the metrics.
 * Cheap calls that succeed are logged at debug level, others at info, failures as errors. Of the
 * request only the fields that request_log.c lists are ever formatted, so that a secret cannot get
 * into a log by being new.
 */
void service_report(void *service, const RpcReport *report);

#endif
