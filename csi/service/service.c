/* SPDX-License-Identifier: Apache-2.0 */

/* The table of all methods. */

#include "csi/service/service_internal.h"

#include <assert.h>

void method_add(MethodTable *table, const char *path, const ProtobufCMessageDescriptor *type,
                RpcHandler *handle, RpcClass run_class) {
        assert(table->n < SERVICE_METHODS_MAX);
        table->methods[table->n++] = (RpcMethod){
                .path = path,
                .request_type = type,
                .handle = handle,
                .userdata = table->service,
                .run_class = run_class,
        };
}

size_t service_methods(Service *service, RpcMethod methods[SERVICE_METHODS_MAX]) {
        MethodTable table = {service, methods, 0};

        identity_methods(&table);
        node_methods(&table);
        if (service->provider->controller) {
                controller_methods(&table);
                group_methods(&table);
        }
        return table.n;
}
