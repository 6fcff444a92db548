/* SPDX-License-Identifier: Apache-2.0 */

/* The bytes of a request, as they come from a socket: the first says which method, the others are
 * its message. What pb_check() accepts is unpacked, decoded, handled and answered, and the answer
 * packed. */

#include "common/base/cleanup.h"
#include "common/base/error.h"
#include "csi/grpc/pb_check.h"
#include "csi/service/service.h"
#include "csi/service/test-double.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

#define ARENA_BYTES (8U << 20)

static bool never(void *userdata) {
        return false;
}

static void *unpack_alloc(void *arena, size_t n) {
        return arena_alloc(arena, n);
}

static void unpack_free(void *arena, void *memory) {
}

/* An answer that can be packed is one that its own type accepts again. */
static void check_answer(Arena *arena, const ProtobufCMessage *response) {
        size_t n = protobuf_c_message_get_packed_size(response);
        uint8_t *bytes = arena_alloc(arena, n);
        PbFault fault;

        if (!bytes)
                return;
        assert(protobuf_c_message_pack(response, bytes) == n);
        assert(pb_check(response->descriptor, bytes, n, &fault) == 0 ||
               strcmp(fault.reason, "has too many fields") == 0);
}

static void handle(const RpcMethod *method, Arena *arena, const uint8_t *data, size_t n) {
        ProtobufCAllocator allocator = {unpack_alloc, unpack_free, arena};
        const Call call = {arena, method->path, UINT64_MAX, never, NULL};
        ProtobufCMessage *request, *response = NULL;
        Error err = {0};
        int r;

        request = protobuf_c_message_unpack(method->request_type, &allocator, n, data);
        if (!request)
                return;
        r = method->handle(method->userdata, &call, request, &response, &err);
        assert(r <= 0);
        if (r < 0) {
                assert(error_is_set(&err) && err.message[0] != '\0');
                return;
        }
        assert(response);
        check_answer(arena, response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static Service service;
        static RpcMethod methods[SERVICE_METHODS_MAX];
        static size_t n_methods;
        const RpcMethod *method;
        PbFault fault;
        Arena *arena;

        if (n_methods == 0) {
                double_waits = false;
                service = (Service){
                        .provider = &double_provider,
                        .node = double_node(),
                        .driver_name = "double.csi.test",
                };
                n_methods = service_methods(&service, methods);
        }
        if (n == 0)
                return 0;
        method = &methods[data[0] % n_methods];
        if (pb_check(method->request_type, data + 1, n - 1, &fault) < 0) {
                assert(fault.reason);
                return 0;
        }
        assert(arena_new(&arena, ARENA_BYTES) == 0);
        handle(method, arena, data + 1, n - 1);
        arena_free(arena);
        return 0;
}
