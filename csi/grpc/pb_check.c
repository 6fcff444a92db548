/* SPDX-License-Identifier: Apache-2.0 */

/* A reader of the wire format that only looks. */

#include "csi/grpc/pb_check.h"

#include "common/base/str.h"

#include <errno.h>

enum {
        WIRE_VARINT = 0,
        WIRE_FIXED64 = 1,
        WIRE_BYTES = 2,
        WIRE_FIXED32 = 5,
};

typedef struct Reader {
        const uint8_t *bytes;
        size_t n;
} Reader;

typedef struct Check {
        unsigned int fields_left;
        PbFault *fault;
} Check;

static int refuse(const Check *check, const ProtobufCFieldDescriptor *field, const char *reason) {
        /* The innermost refusal comes first and stays. */
        if (!check->fault->reason)
                *check->fault = (PbFault){field ? field->name : NULL, reason};
        return -EINVAL;
}

static bool read_varint(Reader *reader, uint64_t *valuep) {
        uint64_t value = 0;

        for (size_t i = 0; i < 10 && i < reader->n; i++) {
                value |= (uint64_t)(reader->bytes[i] & 0x7f) << (7 * i);
                if (reader->bytes[i] & 0x80)
                        continue;
                reader->bytes += i + 1;
                reader->n -= i + 1;
                *valuep = value;
                return true;
        }
        return false;
}

static bool read_bytes(Reader *reader, uint64_t n, Reader *valuep) {
        if (n > reader->n)
                return false;
        *valuep = (Reader){reader->bytes, (size_t)n};
        reader->bytes += n;
        reader->n -= (size_t)n;
        return true;
}

/* Groups (3, 4) are not in proto3; 6 and 7 do not exist. */
static bool read_value(Reader *reader, unsigned int wire, Reader *valuep) {
        uint64_t number;

        switch (wire) {
        case WIRE_VARINT:
                return read_varint(reader, &number);
        case WIRE_FIXED64:
                return read_bytes(reader, 8, valuep);
        case WIRE_FIXED32:
                return read_bytes(reader, 4, valuep);
        case WIRE_BYTES:
                return read_varint(reader, &number) && read_bytes(reader, number, valuep);
        default:
                return false;
        }
}

static unsigned int wire_of(ProtobufCType type) {
        switch (type) {
        case PROTOBUF_C_TYPE_SFIXED64:
        case PROTOBUF_C_TYPE_FIXED64:
        case PROTOBUF_C_TYPE_DOUBLE:
                return WIRE_FIXED64;
        case PROTOBUF_C_TYPE_SFIXED32:
        case PROTOBUF_C_TYPE_FIXED32:
        case PROTOBUF_C_TYPE_FLOAT:
                return WIRE_FIXED32;
        case PROTOBUF_C_TYPE_STRING:
        case PROTOBUF_C_TYPE_BYTES:
        case PROTOBUF_C_TYPE_MESSAGE:
                return WIRE_BYTES;
        case PROTOBUF_C_TYPE_INT32:
        case PROTOBUF_C_TYPE_SINT32:
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_UINT32:
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_BOOL:
        case PROTOBUF_C_TYPE_ENUM:
        default:
                return WIRE_VARINT;
        }
}

static int check_string(const Check *check, const ProtobufCFieldDescriptor *field, Reader value) {
        while (value.n > 0) {
                size_t length = str_utf8_length((const char *)value.bytes, value.n);

                if (length == 0)
                        return refuse(check, field, "is not valid UTF-8");
                if (value.bytes[0] == '\0')
                        return refuse(check, field, "has a NUL in it");
                value.bytes += length;
                value.n -= length;
        }
        return 0;
}

static int check_message(Check *check, const ProtobufCMessageDescriptor *type, Reader reader,
                         unsigned int depth);

static int check_value(Check *check, const ProtobufCFieldDescriptor *field, unsigned int wire,
                       Reader value, unsigned int depth) {
        if (wire != wire_of(field->type)) {
                /* Repeated numbers may come packed. */
                if (field->label != PROTOBUF_C_LABEL_REPEATED || wire != WIRE_BYTES)
                        return refuse(check, field, "has the wrong wire type");
                return 0;
        }
        if (field->type == PROTOBUF_C_TYPE_STRING)
                return check_string(check, field, value);
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
                if (depth == 0)
                        return refuse(check, field, "is nested too deeply");
                return check_message(check, field->descriptor, value, depth - 1);
        }
        return 0;
}

static int check_message(Check *check, const ProtobufCMessageDescriptor *type, Reader reader,
                         unsigned int depth) {
        while (reader.n > 0) {
                const ProtobufCFieldDescriptor *field;
                Reader value = {0};
                uint64_t tag;
                int r;

                if (!read_varint(&reader, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
                        return refuse(check, NULL, "is not a protobuf message");
                if (check->fields_left-- == 0) {
                        check->fields_left = 0;
                        return refuse(check, NULL, "has too many fields");
                }
                field = protobuf_c_message_descriptor_get_field(type, (unsigned int)(tag >> 3));
                if (!read_value(&reader, (unsigned int)(tag & 7), &value))
                        return refuse(check, field, "is cut off or malformed");
                if (!field)
                        continue;
                r = check_value(check, field, (unsigned int)(tag & 7), value, depth);
                if (r < 0)
                        return r;
        }
        return 0;
}

int pb_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n,
             PbFault *faultp) {
        Check check = {.fields_left = PB_FIELDS_MAX, .fault = faultp};

        *faultp = (PbFault){0};
        return check_message(&check, type, (Reader){bytes, n}, PB_DEPTH_MAX);
}
