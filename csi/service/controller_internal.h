/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_SERVICE_CONTROLLER_INTERNAL_H
#define BERTH_CSI_SERVICE_CONTROLLER_INTERNAL_H

/* Shared by what a provider's controller serves: volumes, snapshots, groups. */

#include "csi/service/service_internal.h"

static inline const ControllerOps *ops(const Service *service) {
        return service->provider->controller;
}

void snapshot_methods(MethodTable *table);

/* For the calls whose answer says nothing but that it is done. */
int controller_done(const Call *call, const ProtobufCMessageDescriptor *type, int r,
                    ProtobufCMessage **responsep, Error *err);

/* max_entries and starting_token of a list. */
int controller_page(int32_t max_entries, const char *starting_token, ListRequest *out, Error *err);

#endif
