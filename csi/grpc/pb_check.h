/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_GRPC_PB_CHECK_H
#define BERTH_CSI_GRPC_PB_CHECK_H

/*
 * Looks at the bytes of a protobuf message before protobuf-c may, and refuses what protobuf-c
 * would accept to our harm: strings with a NUL (cut off silently) or without valid UTF-8, messages
 * nested without end (no recursion limit), and millions of tiny fields (a 4 MiB message becomes 200
 * MiB). It allocates nothing.
 */

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* Most fields in one message with all that is nested in it. A request has a few dozen; maps are
 * limited to 4 KiB, which is at most a thousand entries of two fields. */
#define PB_FIELDS_MAX 4096U

/* Deepest nesting; CSI's deepest request has four levels. */
#define PB_DEPTH_MAX 16U

typedef struct PbFault {
        const char *field; /* innermost known field with the fault, NULL if there is none; static */
        const char *reason; /* "is not valid UTF-8"; static */
} PbFault;

/**
 * pb_check() - whether @bytes are a message of @type that is safe to unpack
 * @faultp: why not
 *
 * Unknown fields are accepted and counted. A known field with another wire type than its own is
 * refused, as protobuf-c would.
 *
 * Source: protobuf.dev, "Encoding".
 * Return: 0; -EINVAL with @faultp set.
 */
int pb_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n,
             PbFault *faultp);

#endif
