/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_SERVICE_SERVICE_INTERNAL_H
#define BERTH_CSI_SERVICE_SERVICE_INTERNAL_H

/* Shared by the files that hold one service each. */

#include "csi/service/encode.h"
#include "csi/service/field.h"
#include "csi/service/service.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* The table being filled. */
typedef struct MethodTable {
        Service *service;
        RpcMethod *methods;
        size_t n;
} MethodTable;

void method_add(MethodTable *table, const char *path, const ProtobufCMessageDescriptor *type,
                RpcHandler *handle, RpcClass run_class);

void identity_methods(MethodTable *table);
void node_methods(MethodTable *table);
void controller_methods(MethodTable *table);
void group_methods(MethodTable *table);

#endif
