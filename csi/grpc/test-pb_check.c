/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/grpc/pb_check.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <csi.pb-c.h>

#define TYPE (&csi__node_stage_volume_request__descriptor)

static void test_table(void **state) {
#define CASE(text, field, reason)                                                                  \
        { text, sizeof(text) - 1, field, reason }
        static const struct {
                const char *bytes;
                size_t n;
                const char *field, *reason; /* reason NULL: accepted */
        } cases[] = {
                CASE("", NULL, NULL),
                CASE("\x0a\x03pvc", NULL, NULL),
                /* volume_id given twice, publish_context {"a": "b"}, an unknown field 100. */
                CASE("\x0a\x01x\x0a\x01y\x12\x06\x0a\x01"
                     "a\x12\x01"
                     "b\xa0\x06\x05",
                     NULL, NULL),
                CASE("\x0a\x02\xc3\xa9", NULL, NULL),
                CASE("\x0a\x02\xc3(", "volume_id", "is not valid UTF-8"),
                CASE("\x0a\x03"
                     "a\0b",
                     "volume_id", "has a NUL in it"),
                CASE("\x12\x04\x0a\x02\xff\xff", "key", "is not valid UTF-8"),
                CASE("\x0a\x05pvc", "volume_id", "is cut off or malformed"),
                CASE("\x0a", "volume_id", "is cut off or malformed"),
                CASE("\x08\x01", "volume_id", "has the wrong wire type"),
                CASE("\x22\x02\x18\x01", "access_mode", "has the wrong wire type"),
                /* A group; wire type 7; field number 0; a tag of eleven bytes; a bare half tag. */
                CASE("\x0b\x0c", "volume_id", "is cut off or malformed"),
                CASE("\x0f\x00", "volume_id", "is cut off or malformed"),
                CASE("\x02\x00", NULL, "is not a protobuf message"),
                CASE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", NULL,
                     "is not a protobuf message"),
                CASE("\xff", NULL, "is not a protobuf message"),
                /* A length of 2^63. */
                CASE("\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "volume_id",
                     "is cut off or malformed"),
                /* fixed64 and fixed32 unknown fields, whole and cut. */
                CASE("\xa1\x06"
                     "12345678\xa5\x06"
                     "1234",
                     NULL, NULL),
                CASE("\xa1\x06"
                     "1234567",
                     NULL, "is cut off or malformed"),
        };
#undef CASE

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                PbFault fault;
                int r = pb_check(TYPE, (const uint8_t *)cases[i].bytes, cases[i].n, &fault);

                assert_int_equal(r, cases[i].reason ? -EINVAL : 0);
                if (cases[i].reason) {
                        assert_string_equal(fault.reason, cases[i].reason);
                        if (cases[i].field)
                                assert_string_equal(fault.field, cases[i].field);
                        else
                                assert_null(fault.field);
                }
        }
}

/* Two bytes for a field: protobuf-c would take 40 bytes and an allocation for each. */
static void test_fields_are_counted(void **state) {
        static uint8_t bytes[2 * (PB_FIELDS_MAX + 1)];
        PbFault fault;

        for (size_t i = 0; i < sizeof(bytes); i += 2) {
                bytes[i] = 0x12; /* publish_context {} */
                bytes[i + 1] = 0;
        }
        assert_int_equal(pb_check(TYPE, bytes, sizeof(bytes) - 2, &fault), 0);
        assert_int_equal(pb_check(TYPE, bytes, sizeof(bytes), &fault), -EINVAL);
        assert_string_equal(fault.reason, "has too many fields");
}

static ProtobufCMessageDescriptor loop_type;
static const ProtobufCFieldDescriptor loop_fields[] = {{
        .name = "self",
        .id = 1,
        .label = PROTOBUF_C_LABEL_NONE,
        .type = PROTOBUF_C_TYPE_MESSAGE,
        .descriptor = &loop_type,
}};
static const ProtobufCIntRange loop_ranges[] = {{1, 0}, {0, 1}};

/* CSI has no message that holds itself; the check must not depend on that. */
static void test_depth_is_bounded(void **state) {
        uint8_t bytes[2 * (PB_DEPTH_MAX + 1)];
        PbFault fault;

        loop_type = (ProtobufCMessageDescriptor){
                .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                .n_fields = 1,
                .fields = loop_fields,
                .n_field_ranges = 1,
                .field_ranges = loop_ranges,
        };
        for (size_t i = 0; i < PB_DEPTH_MAX + 1; i++) {
                bytes[2 * i] = 0x0a;
                bytes[2 * i + 1] = (uint8_t)(sizeof(bytes) - 2 * (i + 1));
        }
        assert_int_equal(pb_check(&loop_type, bytes, sizeof(bytes), &fault), -EINVAL);
        assert_string_equal(fault.reason, "is nested too deeply");
        bytes[2 * PB_DEPTH_MAX - 1] = 0;
        for (size_t i = 0; i < PB_DEPTH_MAX; i++)
                bytes[2 * i + 1] = (uint8_t)(2UL * PB_DEPTH_MAX - 2UL * (i + 1));
        assert_int_equal(pb_check(&loop_type, bytes, 2UL * PB_DEPTH_MAX, &fault), 0);
}

/* Whatever it accepts, protobuf-c unpacks. */
static void test_accepted_is_unpacked(void **state) {
        Csi__VolumeCapability__MountVolume mount = CSI__VOLUME_CAPABILITY__MOUNT_VOLUME__INIT;
        Csi__VolumeCapability__AccessMode mode = CSI__VOLUME_CAPABILITY__ACCESS_MODE__INIT;
        Csi__VolumeCapability capability = CSI__VOLUME_CAPABILITY__INIT;
        Csi__NodeStageVolumeRequest request = CSI__NODE_STAGE_VOLUME_REQUEST__INIT;
        Csi__StringPair pair = CSI__STRING_PAIR__INIT;
        Csi__StringPair *pairs[] = {&pair, &pair};
        const char *flags[] = {"noatime", "context=\"a,b\""};
        Csi__NodeStageVolumeRequest *again;
        uint8_t bytes[512];
        PbFault fault;
        size_t n;

        pair.key = "key";
        pair.value = "value";
        mount.fs_type = "ext4";
        mount.mount_flags = flags;
        mount.n_mount_flags = 2;
        mode.mode = 7;
        capability.access_mode = &mode;
        capability.access_type_case = CSI__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
        capability.mount = &mount;
        request.volume_id = "pvc-1";
        request.secrets = pairs;
        request.n_secrets = 2;
        request.volume_capability = &capability;
        n = protobuf_c_message_pack(&request.base, bytes);
        assert_int_equal(pb_check(TYPE, bytes, n, &fault), 0);
        again = (Csi__NodeStageVolumeRequest *)protobuf_c_message_unpack(TYPE, NULL, n, bytes);
        assert_non_null(again);
        assert_string_equal(again->volume_capability->mount->mount_flags[1], "context=\"a,b\"");
        protobuf_c_message_free_unpacked(&again->base, NULL);

        /* And each shorter beginning is either refused or whole. */
        for (size_t cut = 0; cut < n; cut++) {
                ProtobufCMessage *message;

                if (pb_check(TYPE, bytes, cut, &fault) < 0)
                        continue;
                message = protobuf_c_message_unpack(TYPE, NULL, cut, bytes);
                assert_non_null(message);
                protobuf_c_message_free_unpacked(message, NULL);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_fields_are_counted),
                cmocka_unit_test(test_depth_is_bounded),
                cmocka_unit_test(test_accepted_is_unpacked),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
