/* SPDX-License-Identifier: Apache-2.0 */

/* From bytes on the wire to what the node or provider is asked, and from their answer to bytes. */

#undef NDEBUG

#include "csi/service/service.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/api/status.h"
#include "csi/service/field.h"
#include "csi/service/test-double.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef struct Bench {
        Provider provider;
        Service service;
        RpcMethod methods[SERVICE_METHODS_MAX];
        size_t n_methods;
        Arena *arena;
        Error err;
        ProtobufCMessage *response;
} Bench;

static bool never(void *userdata) {
        return false;
}

static int setup(void **state) {
        Bench *bench = calloc(1, sizeof(*bench));

        bench->provider = double_provider;
        bench->service = (Service){
                .provider = &bench->provider,
                .node = double_node(),
                .driver_name = "double.csi.test",
        };
        bench->n_methods = service_methods(&bench->service, bench->methods);
        double_ready = ERROR_NONE;
        double_asked[0] = '\0';
        *state = bench;
        return arena_new(&bench->arena, 1U << 20);
}

static int teardown(void **state) {
        Bench *bench = *state;

        arena_free(bench->arena);
        free(bench);
        return 0;
}

static const RpcMethod *find(const Bench *bench, const char *path) {
        for (size_t i = 0; i < bench->n_methods; i++)
                if (str_equal(bench->methods[i].path, path))
                        return &bench->methods[i];
        return NULL;
}

/* Through the wire and back, as the server does it. Return: the gRPC status. */
static int call_method(Bench *bench, const char *path, const void *message) {
        const RpcMethod *method = find(bench, path);
        const Call call = {bench->arena, strrchr(path, '/') + 1, UINT64_MAX, never, NULL};
        uint8_t bytes[8192];
        ProtobufCMessage *request;
        size_t n;
        int r;

        assert_non_null(method);
        assert_true(protobuf_c_message_get_packed_size(message) <= sizeof(bytes));
        n = protobuf_c_message_pack(message, bytes);
        request = protobuf_c_message_unpack(method->request_type, NULL, n, bytes);
        assert_non_null(request);
        bench->err = (Error){0};
        bench->response = NULL;
        double_asked[0] = '\0';
        r = method->handle(method->userdata, &call, request, &bench->response, &bench->err);
        if (r == 0) {
                /* Whatever is answered can be packed; it may point into the request. */
                assert_non_null(bench->response);
                assert_true(protobuf_c_message_check(bench->response));
                assert_true(protobuf_c_message_get_packed_size(bench->response) <= sizeof(bytes));
                (void)protobuf_c_message_pack(bench->response, bytes);
        } else {
                assert_true(error_is_set(&bench->err));
        }
        protobuf_c_message_free_unpacked(request, NULL);
        return r == 0 ? 0 : status_from_code(bench->err.code);
}

static void assert_says(const Bench *bench, const char *part) {
        if (!strstr(bench->err.message, part))
                fail_msg("\"%s\" is not in \"%s\"", part, bench->err.message);
}

/* A capability with its parts, on the stack of the test. */
typedef struct Capability {
        Csi__VolumeCapability capability;
        Csi__VolumeCapability__MountVolume mount;
        Csi__VolumeCapability__BlockVolume block;
        Csi__VolumeCapability__AccessMode mode;
} Capability;

static Csi__VolumeCapability *capability_init(Capability *c, bool block, int mode) {
        csi__volume_capability__init(&c->capability);
        csi__volume_capability__mount_volume__init(&c->mount);
        csi__volume_capability__block_volume__init(&c->block);
        csi__volume_capability__access_mode__init(&c->mode);
        c->mode.mode = (Csi__VolumeCapability__AccessMode__Mode)mode;
        c->capability.access_mode = &c->mode;
        if (block) {
                c->capability.access_type_case = CSI__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK;
                c->capability.block = &c->block;
        } else {
                c->capability.access_type_case = CSI__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
                c->capability.mount = &c->mount;
        }
        return &c->capability;
}

typedef struct Stage {
        Csi__NodeStageVolumeRequest request;
        Capability capability;
} Stage;

static Csi__NodeStageVolumeRequest *stage_init(Stage *s) {
        csi__node_stage_volume_request__init(&s->request);
        s->request.volume_id = "v";
        s->request.staging_target_path = "/s";
        s->request.volume_capability = capability_init(&s->capability, false, 1);
        return &s->request;
}

#define STAGE   "/csi.v1.Node/NodeStageVolume"
#define PUBLISH "/csi.v1.Node/NodePublishVolume"

static void test_stage(void **state) {
        Csi__StringPair a = CSI__STRING_PAIR__INIT, b = CSI__STRING_PAIR__INIT,
                        c = CSI__STRING_PAIR__INIT;
        Csi__StringPair *pairs[] = {&a, &b, &c};
        const char *flags[] = {"noatime", "context=\"s0:c1,c2\""};
        Bench *bench = *state;
        Stage s;

        stage_init(&s);
        a.key = b.key = "k";
        a.value = "first";
        b.value = "last";
        c.key = "other";
        s.request.publish_context = pairs;
        s.request.n_publish_context = 3;
        s.request.volume_context = pairs;
        s.request.n_volume_context = 1;
        s.request.secrets = pairs;
        s.request.n_secrets = 2;
        s.capability.mount.fs_type = "xfs";
        s.capability.mount.mount_flags = flags;
        s.capability.mount.n_mount_flags = 2;
        s.capability.mount.volume_mount_group = "1000";
        assert_int_equal(call_method(bench, STAGE, &s.request), 0);
        assert_string_equal(double_asked,
                            "stage volume=v staging=/s mount mode=1 fs=xfs flag=noatime "
                            "flag=context=\"s0:c1,c2\" group=1000 publish={k:last,other:} "
                            "context={k:first} secrets={k:last}");
}

static void test_stage_refusals(void **state) {
        static char long_id[FIELD_ID_MAX + 2], long_path[FIELD_PATH_MAX + 2];
        Bench *bench = *state;
        Stage s;

        memset(long_id, 'i', sizeof(long_id) - 1);
        memset(long_path, '/', sizeof(long_path) - 1);

        stage_init(&s)->volume_id = "";
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_id: missing, expected 1 to 1024 bytes");
        stage_init(&s)->volume_id = long_id;
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_id: 1025 bytes, expected at most 1024");
        long_id[FIELD_ID_MAX] = '\0';
        assert_int_equal(call_method(bench, STAGE, &s.request), 0);
        stage_init(&s)->staging_target_path = "";
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "staging_target_path: missing");
        stage_init(&s)->staging_target_path = "rel/path";
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "staging_target_path: \"rel/path\", expected an absolute path");
        stage_init(&s)->staging_target_path = long_path;
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "staging_target_path: 4096 bytes, expected at most 4095");
        stage_init(&s)->volume_capability = NULL;
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_capability: missing");
        stage_init(&s)->volume_capability->access_type_case = 0;
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_capability.access_type: missing, expected block or mount");
        stage_init(&s)->volume_capability->access_mode = NULL;
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_capability.access_mode: missing (0)");
        for (int mode = -1; mode <= 9; mode++) {
                stage_init(&s);
                s.capability.mode.mode = (Csi__VolumeCapability__AccessMode__Mode)mode;
                assert_int_equal(call_method(bench, STAGE, &s.request),
                                 mode >= 1 && mode <= 7 ? 0 : STATUS_INVALID_ARGUMENT);
        }
        assert_says(bench, "access_mode: undefined (9)");
        assert_string_equal(double_asked, "");
}

static void test_limits_of_maps_and_flags(void **state) {
        static char half[FIELD_MAP_MAX / 2 + 1], string[FIELD_STRING_MAX + 2];
        Csi__StringPair pair = CSI__STRING_PAIR__INIT, more = CSI__STRING_PAIR__INIT,
                        tokens = CSI__STRING_PAIR__INIT;
        Csi__StringPair *pairs[] = {&pair, &tokens, &more};
        const char *flags[] = {half, half, "x"};
        Bench *bench = *state;
        Stage s;

        memset(half, 'h', sizeof(half) - 1);
        memset(string, 's', sizeof(string) - 1);
        pair.key = pair.value = half;
        more.key = "1";
        tokens.key = FIELD_TOKENS_KEY;
        tokens.value = half;
        stage_init(&s);
        s.request.secrets = pairs;
        s.request.n_secrets = 2;
        assert_int_equal(call_method(bench, STAGE, &s.request), 0);
        s.request.n_secrets = 3;
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_string_equal(bench->err.message,
                            "secrets: keys and values exceed 4096 bytes in all");
        stage_init(&s);
        s.capability.mount.mount_flags = flags;
        s.capability.mount.n_mount_flags = 2;
        assert_int_equal(call_method(bench, STAGE, &s.request), 0);
        s.capability.mount.n_mount_flags = 3;
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_string_equal(bench->err.message,
                            "volume_capability.mount.mount_flags: more than 4096 bytes in all");
        stage_init(&s);
        s.capability.mount.fs_type = string;
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "fs_type: 129 bytes, expected at most 128");
        stage_init(&s);
        s.capability.mount.volume_mount_group = string;
        assert_int_equal(call_method(bench, STAGE, &s.request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_mount_group: 129 bytes");
}

static void test_modes_without_multi_writer(void **state) {
        Bench *bench = *state;
        Stage s;

        bench->provider.flags &= ~(unsigned int)PROVIDER_SINGLE_NODE_MULTI_WRITER;
        for (int mode = 1; mode <= 7; mode++) {
                stage_init(&s);
                s.capability.mode.mode = (Csi__VolumeCapability__AccessMode__Mode)mode;
                assert_int_equal(call_method(bench, STAGE, &s.request),
                                 mode < 6 ? 0 : STATUS_INVALID_ARGUMENT);
        }
        assert_says(bench, "SINGLE_NODE_MULTI_WRITER, expected a mode that needs no capability");
}

static void test_publish(void **state) {
        Csi__NodePublishVolumeRequest request = CSI__NODE_PUBLISH_VOLUME_REQUEST__INIT;
        char inline_id[] = "csi-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        Csi__StringPair pair = CSI__STRING_PAIR__INIT;
        Csi__StringPair *pairs[] = {&pair};
        Bench *bench = *state;
        Capability capability;

        request.volume_id = "v";
        request.target_path = "/t";
        request.staging_target_path = "/s";
        request.readonly = true;
        request.volume_capability = capability_init(&capability, true, 5);
        assert_int_equal(call_method(bench, PUBLISH, &request), 0);
        assert_string_equal(double_asked,
                            "publish volume=v staging=/s target=/t readonly block mode=5");
        request.target_path = "";
        assert_int_equal(call_method(bench, PUBLISH, &request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "target_path: missing");
        request.target_path = "/t";

        /* Only what is inline need not be staged. */
        request.staging_target_path = "";
        assert_int_equal(call_method(bench, PUBLISH, &request), STATUS_FAILED_PRECONDITION);
        assert_says(bench, "staging_target_path: missing, expected the path at which volume v");
        pair.key = "csi.storage.k8s.io/ephemeral";
        pair.value = "true";
        request.volume_context = pairs;
        request.n_volume_context = 1;
        assert_int_equal(call_method(bench, PUBLISH, &request), 0);
        bench->provider.flags &= ~(unsigned int)PROVIDER_EPHEMERAL;
        assert_int_equal(call_method(bench, PUBLISH, &request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "has no inline volumes");
        pair.value = "false";
        bench->provider.flags &= ~(unsigned int)PROVIDER_STAGES;
        assert_int_equal(call_method(bench, PUBLISH, &request), 0);
        /* Whatever the driver object makes kubelet leave out. */
        request.volume_id = inline_id;
        assert_int_equal(call_method(bench, PUBLISH, &request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "podInfoOnMount");
        request.n_volume_context = 0;
        assert_int_equal(call_method(bench, PUBLISH, &request), STATUS_INVALID_ARGUMENT);
}

static void test_undo(void **state) {
        Csi__NodeUnpublishVolumeRequest unpublish = CSI__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;
        Csi__NodeUnstageVolumeRequest unstage = CSI__NODE_UNSTAGE_VOLUME_REQUEST__INIT;
        Bench *bench = *state;

        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeUnpublishVolume", &unpublish),
                         STATUS_INVALID_ARGUMENT);
        unpublish.volume_id = unstage.volume_id = "v";
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeUnpublishVolume", &unpublish),
                         STATUS_INVALID_ARGUMENT);
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeUnstageVolume", &unstage),
                         STATUS_INVALID_ARGUMENT);
        unpublish.target_path = "/t";
        unstage.staging_target_path = "/s";
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeUnpublishVolume", &unpublish), 0);
        assert_string_equal(double_asked, "unpublish volume=v target=/t");
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeUnstageVolume", &unstage), 0);
        assert_string_equal(double_asked, "unstage volume=v staging=/s");
}

static void test_stats_and_expand(void **state) {
        Csi__NodeGetVolumeStatsRequest stats = CSI__NODE_GET_VOLUME_STATS_REQUEST__INIT;
        Csi__NodeExpandVolumeRequest expand = CSI__NODE_EXPAND_VOLUME_REQUEST__INIT;
        Csi__CapacityRange range = CSI__CAPACITY_RANGE__INIT;
        Csi__NodeGetVolumeStatsResponse *out;
        Bench *bench = *state;

        stats.volume_id = expand.volume_id = "v";
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeGetVolumeStats", &stats),
                         STATUS_INVALID_ARGUMENT);
        stats.volume_path = expand.volume_path = "some/path";
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeGetVolumeStats", &stats),
                         STATUS_NOT_FOUND);
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeExpandVolume", &expand),
                         STATUS_NOT_FOUND);
        stats.volume_path = expand.volume_path = "/p";
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeGetVolumeStats", &stats), 0);
        out = (Csi__NodeGetVolumeStatsResponse *)(void *)bench->response;
        assert_int_equal(out->n_usage, 2);
        assert_int_equal(out->usage[0]->unit, 1);
        /* What does not fit the wire's signed number is its largest. */
        assert_true(out->usage[0]->total == INT64_MAX);
        assert_int_equal(out->usage[0]->used, 3);
        assert_int_equal(out->usage[1]->unit, 2);
        assert_true(out->volume_condition->abnormal);
        assert_string_equal(out->volume_condition->message, "worn out");

        expand.capacity_range = &range;
        range.required_bytes = -1;
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeExpandVolume", &expand),
                         STATUS_INVALID_ARGUMENT);
        assert_says(bench, "capacity_range.required_bytes: -1, expected 0 or more");
        range.required_bytes = 10;
        range.limit_bytes = 9;
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeExpandVolume", &expand),
                         STATUS_OUT_OF_RANGE);
        range.limit_bytes = 0;
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeExpandVolume", &expand), 0);
        assert_string_equal(double_asked, "expand volume=v path=/p staging= range=10-0");
        assert_int_equal(((Csi__NodeExpandVolumeResponse *)(void *)bench->response)->capacity_bytes,
                         10);
}

static void test_node_info_and_capabilities(void **state) {
        Csi__NodeGetCapabilitiesRequest request = CSI__NODE_GET_CAPABILITIES_REQUEST__INIT;
        Csi__NodeGetInfoRequest info_request = CSI__NODE_GET_INFO_REQUEST__INIT;
        Csi__NodeGetCapabilitiesResponse *out;
        Csi__NodeGetInfoResponse *info;
        Bench *bench = *state;

        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeGetInfo", &info_request), 0);
        info = (Csi__NodeGetInfoResponse *)(void *)bench->response;
        assert_string_equal(info->node_id, "node-1");
        assert_int_equal(info->max_volumes_per_node, 16);
        assert_string_equal(info->accessible_topology->segments[0]->value, "z1");
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeGetCapabilities", &request), 0);
        out = (Csi__NodeGetCapabilitiesResponse *)(void *)bench->response;
        assert_int_equal(out->n_capabilities, 5);
        for (int i = 0; i < 5; i++)
                assert_int_equal(out->capabilities[i]->rpc->type, i + 1);
        bench->provider.flags = 0;
        assert_int_equal(call_method(bench, "/csi.v1.Node/NodeGetCapabilities", &request), 0);
        out = (Csi__NodeGetCapabilitiesResponse *)(void *)bench->response;
        assert_int_equal(out->n_capabilities, 3);
        for (int i = 0; i < 3; i++)
                assert_int_equal(out->capabilities[i]->rpc->type, i + 2);
}

static void test_identity(void **state) {
        Csi__GetPluginCapabilitiesRequest request = CSI__GET_PLUGIN_CAPABILITIES_REQUEST__INIT;
        Csi__GetPluginInfoRequest info_request = CSI__GET_PLUGIN_INFO_REQUEST__INIT;
        Csi__ProbeRequest probe = CSI__PROBE_REQUEST__INIT;
        Csi__GetPluginCapabilitiesResponse *out;
        Csi__GetPluginInfoResponse *info;
        Bench *bench = *state;

        assert_int_equal(call_method(bench, "/csi.v1.Identity/GetPluginInfo", &info_request), 0);
        info = (Csi__GetPluginInfoResponse *)(void *)bench->response;
        assert_string_equal(info->name, "double.csi.test");
        assert_string_equal(info->vendor_version, BERTH_VERSION);

        assert_int_equal(call_method(bench, "/csi.v1.Identity/GetPluginCapabilities", &request), 0);
        out = (Csi__GetPluginCapabilitiesResponse *)(void *)bench->response;
        assert_int_equal(out->n_capabilities, 4);
        for (int i = 0; i < 3; i++)
                assert_int_equal(out->capabilities[i]->service->type, i + 1);
        assert_int_equal(out->capabilities[3]->volume_expansion->type, 1);

        assert_int_equal(call_method(bench, "/csi.v1.Identity/Probe", &probe), 0);
        assert_true(((Csi__ProbeResponse *)(void *)bench->response)->ready->value);
        double_ready = ERROR_UNAVAILABLE;
        assert_int_equal(call_method(bench, "/csi.v1.Identity/Probe", &probe), 0);
        assert_false(((Csi__ProbeResponse *)(void *)bench->response)->ready->value);
        double_ready = ERROR_NOT_FOUND;
        assert_int_equal(call_method(bench, "/csi.v1.Identity/Probe", &probe),
                         STATUS_FAILED_PRECONDITION);
        assert_says(bench, "not ready as asked");
}

static void test_create_volume(void **state) {
        Csi__CreateVolumeRequest request = CSI__CREATE_VOLUME_REQUEST__INIT;
        Csi__VolumeContentSource source = CSI__VOLUME_CONTENT_SOURCE__INIT;
        Csi__VolumeContentSource__SnapshotSource snapshot =
                CSI__VOLUME_CONTENT_SOURCE__SNAPSHOT_SOURCE__INIT;
        Csi__TopologyRequirement requirement = CSI__TOPOLOGY_REQUIREMENT__INIT;
        Csi__Topology topology = CSI__TOPOLOGY__INIT;
        Csi__Topology *topologies[] = {&topology};
        Csi__CapacityRange range = CSI__CAPACITY_RANGE__INIT;
        Csi__StringPair pair = CSI__STRING_PAIR__INIT;
        Csi__StringPair *pairs[] = {&pair};
        Capability first, second;
        Csi__VolumeCapability *capabilities[] = {capability_init(&first, false, 1),
                                                 capability_init(&second, true, 7)};
        const Csi__Volume *volume;
        Bench *bench = *state;

#define CREATE "/csi.v1.Controller/CreateVolume"
        assert_int_equal(call_method(bench, CREATE, &request), STATUS_INVALID_ARGUMENT);
        request.name = "pvc-1";
        assert_int_equal(call_method(bench, CREATE, &request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_capabilities: missing, expected at least one");
        request.volume_capabilities = capabilities;
        request.n_volume_capabilities = 2;
        range.required_bytes = 100;
        range.limit_bytes = 200;
        request.capacity_range = &range;
        pair.key = "k";
        pair.value = "v";
        request.parameters = pairs;
        request.n_parameters = 1;
        request.volume_content_source = &source;
        assert_int_equal(call_method(bench, CREATE, &request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_content_source.type: missing");
        source.type_case = CSI__VOLUME_CONTENT_SOURCE__TYPE_SNAPSHOT;
        source.snapshot = &snapshot;
        assert_int_equal(call_method(bench, CREATE, &request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_content_source.snapshot.snapshot_id: missing");
        snapshot.snapshot_id = "s1";
        topology.segments = pairs;
        topology.n_segments = 1;
        requirement.requisite = topologies;
        requirement.n_requisite = 1;
        request.accessibility_requirements = &requirement;
        assert_int_equal(call_method(bench, CREATE, &request), 0);
        assert_string_equal(double_asked,
                            "create name=pvc-1 range=100-200 mount mode=1 block mode=7 "
                            "parameters={k:v} from=snapshot:s1 requisite={k:v}");
        volume = ((Csi__CreateVolumeResponse *)(void *)bench->response)->volume;
        assert_string_equal(volume->volume_id, "id-of-pvc-1");
        assert_int_equal(volume->capacity_bytes, 100);
        assert_string_equal(volume->volume_context[0]->value, "double");
        assert_int_equal(volume->n_accessible_topology, 1);
        assert_int_equal(volume->content_source->type_case,
                         CSI__VOLUME_CONTENT_SOURCE__TYPE_SNAPSHOT);

        second.mode.mode = 0;
        assert_int_equal(call_method(bench, CREATE, &request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_capabilities[1].access_mode: UNKNOWN (0)");
}

static void test_validate(void **state) {
        Csi__ValidateVolumeCapabilitiesRequest request =
                CSI__VALIDATE_VOLUME_CAPABILITIES_REQUEST__INIT;
        Csi__ValidateVolumeCapabilitiesResponse *out;
        Capability capability;
        Csi__VolumeCapability *capabilities[] = {capability_init(&capability, true, 6)};
        Bench *bench = *state;

#define VALIDATE "/csi.v1.Controller/ValidateVolumeCapabilities"
        request.volume_id = "v";
        assert_int_equal(call_method(bench, VALIDATE, &request), STATUS_INVALID_ARGUMENT);
        request.volume_capabilities = capabilities;
        request.n_volume_capabilities = 1;
        assert_int_equal(call_method(bench, VALIDATE, &request), 0);
        out = (Csi__ValidateVolumeCapabilitiesResponse *)(void *)bench->response;
        assert_non_null(out->confirmed);
        assert_int_equal(out->confirmed->n_volume_capabilities, 1);
        request.volume_id = "unfit";
        assert_int_equal(call_method(bench, VALIDATE, &request), 0);
        out = (Csi__ValidateVolumeCapabilitiesResponse *)(void *)bench->response;
        assert_null(out->confirmed);
        assert_string_equal(out->message, "does not fit");
        request.volume_id = "v";
        bench->provider.flags = 0;
        assert_int_equal(call_method(bench, VALIDATE, &request), 0);
        out = (Csi__ValidateVolumeCapabilitiesResponse *)(void *)bench->response;
        assert_null(out->confirmed);
        assert_non_null(strstr(out->message, "SINGLE_NODE_SINGLE_WRITER"));
}

static void test_lists_and_capacity(void **state) {
        Csi__ListVolumesRequest list = CSI__LIST_VOLUMES_REQUEST__INIT;
        Csi__ListSnapshotsRequest snapshots = CSI__LIST_SNAPSHOTS_REQUEST__INIT;
        Csi__GetSnapshotRequest get = CSI__GET_SNAPSHOT_REQUEST__INIT;
        Csi__ControllerGetVolumeRequest get_volume = CSI__CONTROLLER_GET_VOLUME_REQUEST__INIT;
        Csi__GetCapacityRequest capacity = CSI__GET_CAPACITY_REQUEST__INIT;
        const Csi__ListVolumesResponse *out;
        const Csi__GetCapacityResponse *room;
        const Csi__Snapshot *snapshot;
        Bench *bench = *state;

        list.max_entries = -1;
        assert_int_equal(call_method(bench, "/csi.v1.Controller/ListVolumes", &list),
                         STATUS_INVALID_ARGUMENT);
        assert_says(bench, "max_entries: -1, expected 0 or more");
        list.max_entries = 2;
        list.starting_token = "from";
        assert_int_equal(call_method(bench, "/csi.v1.Controller/ListVolumes", &list), 0);
        assert_string_equal(double_asked, "list max=2 token=from");
        out = (Csi__ListVolumesResponse *)(void *)bench->response;
        assert_int_equal(out->n_entries, 2);
        assert_null(out->entries[0]->status);
        assert_true(out->entries[1]->status->volume_condition->abnormal);
        assert_string_equal(out->next_token, "next");

        get_volume.volume_id = "v9";
        assert_int_equal(call_method(bench, "/csi.v1.Controller/ControllerGetVolume", &get_volume),
                         0);
        assert_non_null(((Csi__ControllerGetVolumeResponse *)(void *)bench->response)
                                ->status->volume_condition);

        snapshots.snapshot_id = "s1";
        snapshots.source_volume_id = "v1";
        assert_int_equal(call_method(bench, "/csi.v1.Controller/ListSnapshots", &snapshots), 0);
        assert_string_equal(double_asked, "list-snapshots max=0 token= snapshot=s1 source=v1");
        get.snapshot_id = "s1";
        assert_int_equal(call_method(bench, "/csi.v1.Controller/GetSnapshot", &get), 0);
        snapshot = ((Csi__GetSnapshotResponse *)(void *)bench->response)->snapshot;
        assert_int_equal(snapshot->creation_time->seconds, 1700000000);
        assert_int_equal(snapshot->creation_time->nanos, 9);
        assert_true(snapshot->ready_to_use);
        get.snapshot_id = "gone";
        assert_int_equal(call_method(bench, "/csi.v1.Controller/GetSnapshot", &get),
                         STATUS_NOT_FOUND);

        assert_int_equal(call_method(bench, "/csi.v1.Controller/GetCapacity", &capacity), 0);
        room = (Csi__GetCapacityResponse *)(void *)bench->response;
        assert_int_equal(room->available_capacity, 1000);
        assert_int_equal(room->maximum_volume_size->value, 900);
        assert_null(room->minimum_volume_size);
}

static void test_groups(void **state) {
        Csi__CreateVolumeGroupSnapshotRequest create =
                CSI__CREATE_VOLUME_GROUP_SNAPSHOT_REQUEST__INIT;
        Csi__DeleteVolumeGroupSnapshotRequest delete =
                CSI__DELETE_VOLUME_GROUP_SNAPSHOT_REQUEST__INIT;
        const char *ids[] = {"v1", "", "v3"};
        Bench *bench = *state;

#define GROUP "/csi.v1.GroupController/"
        assert_int_equal(call_method(bench, GROUP "CreateVolumeGroupSnapshot", &create),
                         STATUS_INVALID_ARGUMENT);
        create.name = "g";
        assert_int_equal(call_method(bench, GROUP "CreateVolumeGroupSnapshot", &create),
                         STATUS_INVALID_ARGUMENT);
        create.source_volume_ids = ids;
        create.n_source_volume_ids = 3;
        assert_int_equal(call_method(bench, GROUP "CreateVolumeGroupSnapshot", &create),
                         STATUS_INVALID_ARGUMENT);
        assert_says(bench, "source_volume_ids[1]: missing");
        ids[1] = "v2";
        assert_int_equal(call_method(bench, GROUP "CreateVolumeGroupSnapshot", &create), 0);
        assert_string_equal(double_asked, "group name=g source=v1 source=v2 source=v3");
        delete.group_snapshot_id = "g1";
        delete.snapshot_ids = ids;
        delete.n_snapshot_ids = 2;
        assert_int_equal(call_method(bench, GROUP "DeleteVolumeGroupSnapshot", &delete), 0);
        assert_string_equal(double_asked, "delete group=g1 n=2");
}

/* Who lacks a function lacks the method, and does not advertise it. */
static void test_missing_functions(void **state) {
        Csi__ControllerGetCapabilitiesRequest request =
                CSI__CONTROLLER_GET_CAPABILITIES_REQUEST__INIT;
        const Csi__ControllerGetCapabilitiesResponse *out;
        ControllerOps some = {.get_capacity = double_provider.controller->get_capacity,
                              .list_volumes = double_provider.controller->list_volumes};
        Bench *bench = *state;

        assert_int_equal(
                call_method(bench, "/csi.v1.Controller/ControllerGetCapabilities", &request), 0);
        out = (Csi__ControllerGetCapabilitiesResponse *)(void *)bench->response;
        assert_int_equal(out->n_capabilities, 11);

        bench->provider.flags &= ~(unsigned int)PROVIDER_CLONES;
        assert_int_equal(
                call_method(bench, "/csi.v1.Controller/ControllerGetCapabilities", &request), 0);
        out = (Csi__ControllerGetCapabilitiesResponse *)bench->response;
        assert_int_equal(out->n_capabilities, 10);

        bench->provider.controller = &some;
        bench->provider.flags = 0;
        bench->n_methods = service_methods(&bench->service, bench->methods);
        assert_null(find(bench, STAGE));
        assert_null(find(bench, CREATE));
        assert_null(find(bench, GROUP "CreateVolumeGroupSnapshot"));
        assert_null(find(bench, "/csi.v1.Controller/GetSnapshot"));
        assert_non_null(find(bench, "/csi.v1.Controller/GetCapacity"));
        assert_int_equal(
                call_method(bench, "/csi.v1.Controller/ControllerGetCapabilities", &request), 0);
        out = (Csi__ControllerGetCapabilitiesResponse *)(void *)bench->response;
        assert_int_equal(out->n_capabilities, 2);
        assert_int_equal(out->capabilities[0]->rpc->type, 3);
        assert_int_equal(out->capabilities[1]->rpc->type, 4);
        assert_null(find(bench, "/csi.v1.Controller/ControllerExpandVolume"));

        bench->provider.controller = NULL;
        bench->n_methods = service_methods(&bench->service, bench->methods);
        assert_null(find(bench, "/csi.v1.Controller/ControllerGetCapabilities"));
        assert_non_null(find(bench, PUBLISH));
}

static void test_sources_follow_the_provider(void **state) {
        Csi__VolumeContentSource source = CSI__VOLUME_CONTENT_SOURCE__INIT;
        Csi__VolumeContentSource__VolumeSource volume =
                CSI__VOLUME_CONTENT_SOURCE__VOLUME_SOURCE__INIT;
        Csi__VolumeContentSource__SnapshotSource snapshot =
                CSI__VOLUME_CONTENT_SOURCE__SNAPSHOT_SOURCE__INIT;
        Csi__CreateVolumeRequest request = CSI__CREATE_VOLUME_REQUEST__INIT;
        ControllerOps some = *double_provider.controller;
        Capability first;
        Csi__VolumeCapability *capabilities[] = {capability_init(&first, false, 1)};
        Bench *bench = *state;

        request.name = (char *)(uintptr_t) "pvc-1";
        request.volume_capabilities = capabilities;
        request.n_volume_capabilities = 1;
        request.volume_content_source = &source;
        volume.volume_id = snapshot.snapshot_id = (char *)(uintptr_t) "other";
        source.type_case = CSI__VOLUME_CONTENT_SOURCE__TYPE_VOLUME;
        source.volume = &volume;
        assert_int_equal(call_method(bench, CREATE, &request), 0);
        bench->provider.flags &= ~(unsigned int)PROVIDER_CLONES;
        assert_int_equal(call_method(bench, CREATE, &request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_content_source.volume: provider double makes no volumes");

        source.type_case = CSI__VOLUME_CONTENT_SOURCE__TYPE_SNAPSHOT;
        source.snapshot = &snapshot;
        assert_int_equal(call_method(bench, CREATE, &request), 0);
        some.create_snapshot = NULL;
        bench->provider.controller = &some;
        assert_int_equal(call_method(bench, CREATE, &request), STATUS_INVALID_ARGUMENT);
        assert_says(bench, "volume_content_source.snapshot: provider double has no snapshots");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_stage),
                TEST(test_stage_refusals),
                TEST(test_limits_of_maps_and_flags),
                TEST(test_modes_without_multi_writer),
                TEST(test_publish),
                TEST(test_undo),
                TEST(test_stats_and_expand),
                TEST(test_node_info_and_capabilities),
                TEST(test_identity),
                TEST(test_create_volume),
                TEST(test_validate),
                TEST(test_lists_and_capacity),
                TEST(test_groups),
                TEST(test_missing_functions),
                TEST(test_sources_follow_the_provider),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
