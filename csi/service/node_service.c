/* SPDX-License-Identifier: Apache-2.0 */

/* The Node service: kubelet's side. */

#include "csi/service/service_internal.h"

#define EPHEMERAL_KEY "csi.storage.k8s.io/ephemeral"

/* For the calls whose answer says nothing but that it is done. */
static int done(const Call *call, const ProtobufCMessageDescriptor *type, int r,
                ProtobufCMessage **responsep, Error *err) {
        if (r < 0)
                return r;
        *responsep = message_new(call, type);
        return *responsep ? 0 : encode_failed(err);
}

static int decode_stage(const Service *service, const Call *call,
                        const Csi__NodeStageVolumeRequest *in, NodeStageRequest *out, Error *err) {
        int r;

        *out = (NodeStageRequest){.volume_id = in->volume_id,
                                  .staging_path = in->staging_target_path};
        if ((r = field_required("volume_id", in->volume_id, FIELD_ID_MAX, err)) < 0 ||
            (r = field_path("staging_target_path", in->staging_target_path, true, err)) < 0 ||
            (r = field_capability("volume_capability", in->volume_capability, &out->capability,
                                  err)) < 0 ||
            (r = field_check_mode("volume_capability", service->provider, &out->capability, err)) <
                    0 ||
            (r = field_map(call, "publish_context", in->publish_context, in->n_publish_context,
                           &out->publish_context, err)) < 0 ||
            (r = field_map(call, "volume_context", in->volume_context, in->n_volume_context,
                           &out->volume_context, err)) < 0 ||
            (r = field_map(call, "secrets", in->secrets, in->n_secrets, &out->secrets, err)) < 0)
                return r;
        return 0;
}

static int stage(void *userdata, const Call *call, const ProtobufCMessage *request,
                 ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        NodeStageRequest plain;
        int r = decode_stage(service, call, (const Csi__NodeStageVolumeRequest *)request, &plain,
                             err);

        if (r == 0)
                r = node_stage(service->node, call, &plain, err);
        return done(call, &csi__node_stage_volume_response__descriptor, r, responsep, err);
}

static int unstage(void *userdata, const Call *call, const ProtobufCMessage *request,
                   ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__NodeUnstageVolumeRequest *in = (const void *)request;
        const NodeUnstageRequest plain = {in->volume_id, in->staging_target_path};
        int r = field_required("volume_id", in->volume_id, FIELD_ID_MAX, err);

        if (r == 0)
                r = field_path("staging_target_path", in->staging_target_path, true, err);
        if (r == 0)
                r = node_unstage(service->node, call, &plain, err);
        return done(call, &csi__node_unstage_volume_response__descriptor, r, responsep, err);
}

/* As kubelet names inline volumes, and nobody else does: "csi-" and a SHA-256. */
static bool is_inline_id(const char *volume_id) {
        return str_has_prefix(volume_id, "csi-") && strlen(volume_id) == 4 + 64 &&
               strspn(volume_id + 4, "0123456789abcdef") == 64;
}

/* A volume that was to be staged and was not is FAILED_PRECONDITION; inline volumes never are. */
static int check_published_how(const Provider *provider, const NodePublishRequest *plain,
                               Error *err) {
        bool ephemeral = str_equal(string_map_get(&plain->volume_context, EPHEMERAL_KEY), "true");

        if (ephemeral && !(provider->flags & PROVIDER_EPHEMERAL))
                return error_set(err, ERROR_INVALID,
                                 "volume_context[" EPHEMERAL_KEY "]: true, expected false: "
                                 "provider %s has no inline volumes",
                                 provider->name);
        /* Without pod information kubelet leaves the word out, and a pod's own text would pass for
         * that of an administrator's volume. */
        if (!ephemeral && is_inline_id(plain->volume_id))
                return error_set(err, ERROR_INVALID,
                                 "volume_id: %s is an inline volume's, expected "
                                 "volume_context[" EPHEMERAL_KEY "]: set podInfoOnMount: true in "
                                 "the CSIDriver object",
                                 plain->volume_id);
        if (!ephemeral && (provider->flags & PROVIDER_STAGES) && plain->staging_path[0] == '\0')
                return error_set(err, ERROR_PRECONDITION,
                                 "staging_target_path: missing, expected the path at which volume "
                                 "%s was staged",
                                 plain->volume_id);
        return 0;
}

static int decode_publish(const Service *service, const Call *call,
                          const Csi__NodePublishVolumeRequest *in, NodePublishRequest *out,
                          Error *err) {
        int r;

        *out = (NodePublishRequest){
                .volume_id = in->volume_id,
                .staging_path = in->staging_target_path,
                .target_path = in->target_path,
                .readonly = in->readonly,
        };
        if ((r = field_required("volume_id", in->volume_id, FIELD_ID_MAX, err)) < 0 ||
            (r = field_path("target_path", in->target_path, true, err)) < 0 ||
            (r = field_path("staging_target_path", in->staging_target_path, false, err)) < 0 ||
            (r = field_capability("volume_capability", in->volume_capability, &out->capability,
                                  err)) < 0 ||
            (r = field_check_mode("volume_capability", service->provider, &out->capability, err)) <
                    0 ||
            (r = field_map(call, "publish_context", in->publish_context, in->n_publish_context,
                           &out->publish_context, err)) < 0 ||
            (r = field_map(call, "volume_context", in->volume_context, in->n_volume_context,
                           &out->volume_context, err)) < 0 ||
            (r = field_map(call, "secrets", in->secrets, in->n_secrets, &out->secrets, err)) < 0)
                return r;
        return check_published_how(service->provider, out, err);
}

static int publish(void *userdata, const Call *call, const ProtobufCMessage *request,
                   ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        NodePublishRequest plain;
        int r = decode_publish(service, call, (const Csi__NodePublishVolumeRequest *)request,
                               &plain, err);

        if (r == 0)
                r = node_publish(service->node, call, &plain, err);
        return done(call, &csi__node_publish_volume_response__descriptor, r, responsep, err);
}

static int unpublish(void *userdata, const Call *call, const ProtobufCMessage *request,
                     ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__NodeUnpublishVolumeRequest *in = (const void *)request;
        const NodeUnpublishRequest plain = {in->volume_id, in->target_path};
        int r = field_required("volume_id", in->volume_id, FIELD_ID_MAX, err);

        if (r == 0)
                r = field_path("target_path", in->target_path, true, err);
        if (r == 0)
                r = node_unpublish(service->node, call, &plain, err);
        return done(call, &csi__node_unpublish_volume_response__descriptor, r, responsep, err);
}

/* No volume is ever at a relative path, and the specification's code for that is NOT_FOUND. */
static int check_volume_path(const char *path, const char *volume_id, Error *err) {
        int r = field_required("volume_path", path, FIELD_PATH_MAX, err);

        if (r < 0 || path[0] == '/')
                return r;
        return error_set(err, ERROR_NOT_FOUND,
                         "volume_path: \"%.128s\", expected the absolute path of volume %.256s",
                         path, volume_id);
}

static int decode_expand(const Service *service, const Call *call,
                         const Csi__NodeExpandVolumeRequest *in, NodeExpandRequest *out,
                         Error *err) {
        int r;

        *out = (NodeExpandRequest){
                .volume_id = in->volume_id,
                .volume_path = in->volume_path,
                .staging_path = in->staging_target_path,
                .has_capability = in->volume_capability != NULL,
        };
        if ((r = field_required("volume_id", in->volume_id, FIELD_ID_MAX, err)) < 0 ||
            (r = check_volume_path(in->volume_path, in->volume_id, err)) < 0 ||
            (r = field_path("staging_target_path", in->staging_target_path, false, err)) < 0 ||
            (r = field_capacity_range(in->capacity_range, &out->capacity_range, err)) < 0 ||
            (r = field_map(call, "secrets", in->secrets, in->n_secrets, &out->secrets, err)) < 0)
                return r;
        if (!out->has_capability)
                return 0;
        r = field_capability("volume_capability", in->volume_capability, &out->capability, err);
        return r < 0 ? r
                     : field_check_mode("volume_capability", service->provider, &out->capability,
                                        err);
}

static int expand(void *userdata, const Call *call, const ProtobufCMessage *request,
                  ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        Csi__NodeExpandVolumeResponse *out;
        NodeExpandResult result = {0};
        NodeExpandRequest plain;
        int r = decode_expand(service, call, (const Csi__NodeExpandVolumeRequest *)request, &plain,
                              err);

        if (r == 0)
                r = node_expand(service->node, call, &plain, &result, err);
        if (r < 0)
                return r;
        out = message_new(call, &csi__node_expand_volume_response__descriptor);
        if (!out)
                return encode_failed(err);
        out->capacity_bytes = encode_size(result.capacity_bytes);
        *responsep = &out->base;
        return 0;
}

static void set_usage(Csi__VolumeUsage *out, const VolumeUsage *usage,
                      Csi__VolumeUsage__Unit unit) {
        out->available = encode_size(usage->available);
        out->total = encode_size(usage->total);
        out->used = encode_size(usage->used);
        out->unit = unit;
}

static int encode_stats(const Call *call, const NodeStatsResult *result,
                        ProtobufCMessage **responsep, Error *err) {
        Csi__NodeGetVolumeStatsResponse *out =
                message_new(call, &csi__node_get_volume_stats_response__descriptor);

        if (!out)
                return encode_failed(err);
        out->usage = messages_new(call, &csi__volume_usage__descriptor, 2);
        if (!out->usage)
                return encode_failed(err);
        if (result->has_bytes)
                set_usage(out->usage[out->n_usage++], &result->bytes,
                          CSI__VOLUME_USAGE__UNIT__BYTES);
        if (result->has_inodes)
                set_usage(out->usage[out->n_usage++], &result->inodes,
                          CSI__VOLUME_USAGE__UNIT__INODES);
        if (result->has_condition) {
                out->volume_condition =
                        encode_condition(call, result->abnormal, result->condition_message);
                if (!out->volume_condition)
                        return encode_failed(err);
        }
        *responsep = &out->base;
        return 0;
}

static int stats(void *userdata, const Call *call, const ProtobufCMessage *request,
                 ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__NodeGetVolumeStatsRequest *in = (const void *)request;
        const NodeStatsRequest plain = {in->volume_id, in->volume_path, in->staging_target_path};
        NodeStatsResult result = {0};
        int r = field_required("volume_id", in->volume_id, FIELD_ID_MAX, err);

        if (r == 0)
                r = check_volume_path(in->volume_path, in->volume_id, err);
        if (r == 0)
                r = field_path("staging_target_path", in->staging_target_path, false, err);
        if (r == 0)
                r = node_stats(service->node, call, &plain, &result, err);
        return r < 0 ? r : encode_stats(call, &result, responsep, err);
}

static int info(void *userdata, const Call *call, const ProtobufCMessage *request,
                ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        Csi__NodeGetInfoResponse *out;
        NodeInfo result = {0};
        int r = node_info(service->node, call, &result, err);

        if (r < 0)
                return r;
        out = message_new(call, &csi__node_get_info_response__descriptor);
        if (!out)
                return encode_failed(err);
        out->node_id = result.node_id ? result.node_id : "";
        out->max_volumes_per_node = encode_size(result.max_volumes);
        if (result.has_topology) {
                out->accessible_topology = encode_topology(call, &result.topology);
                if (!out->accessible_topology)
                        return encode_failed(err);
        }
        *responsep = &out->base;
        return 0;
}

static int get_capabilities(void *userdata, const Call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        unsigned int flags = service->provider->flags;
        const struct {
                bool has;
                Csi__NodeServiceCapability__RPC__Type type;
        } all[] = {
                {flags & PROVIDER_STAGES,
                 CSI__NODE_SERVICE_CAPABILITY__RPC__TYPE__STAGE_UNSTAGE_VOLUME},
                {true, CSI__NODE_SERVICE_CAPABILITY__RPC__TYPE__GET_VOLUME_STATS},
                {!(flags & PROVIDER_NO_EXPAND),
                 CSI__NODE_SERVICE_CAPABILITY__RPC__TYPE__EXPAND_VOLUME},
                {true, CSI__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_CONDITION},
                {flags & PROVIDER_SINGLE_NODE_MULTI_WRITER,
                 CSI__NODE_SERVICE_CAPABILITY__RPC__TYPE__SINGLE_NODE_MULTI_WRITER},
        };
        Csi__NodeGetCapabilitiesResponse *out =
                message_new(call, &csi__node_get_capabilities_response__descriptor);
        Csi__NodeServiceCapability **list =
                messages_new(call, &csi__node_service_capability__descriptor, N_ELEMENTS(all));
        Csi__NodeServiceCapability__RPC **rpcs =
                messages_new(call, &csi__node_service_capability__rpc__descriptor, N_ELEMENTS(all));
        size_t n = 0;

        if (!out || !list || !rpcs)
                return encode_failed(err);
        for (size_t i = 0; i < N_ELEMENTS(all); i++) {
                if (!all[i].has)
                        continue;
                rpcs[n]->type = all[i].type;
                list[n]->type_case = CSI__NODE_SERVICE_CAPABILITY__TYPE_RPC;
                list[n]->rpc = rpcs[n];
                n++;
        }
        out->capabilities = list;
        out->n_capabilities = n;
        *responsep = &out->base;
        return 0;
}

void node_methods(MethodTable *table) {
        if (table->service->provider->flags & PROVIDER_STAGES) {
                method_add(table, "/csi.v1.Node/NodeStageVolume",
                           &csi__node_stage_volume_request__descriptor, stage, RPC_SLOW);
                method_add(table, "/csi.v1.Node/NodeUnstageVolume",
                           &csi__node_unstage_volume_request__descriptor, unstage, RPC_UNDO);
        }
        method_add(table, "/csi.v1.Node/NodePublishVolume",
                   &csi__node_publish_volume_request__descriptor, publish, RPC_SLOW);
        method_add(table, "/csi.v1.Node/NodeUnpublishVolume",
                   &csi__node_unpublish_volume_request__descriptor, unpublish, RPC_UNDO);
        if (!(table->service->provider->flags & PROVIDER_NO_EXPAND))
                method_add(table, "/csi.v1.Node/NodeExpandVolume",
                           &csi__node_expand_volume_request__descriptor, expand, RPC_SLOW);
        method_add(table, "/csi.v1.Node/NodeGetVolumeStats",
                   &csi__node_get_volume_stats_request__descriptor, stats, RPC_QUICK);
        method_add(table, "/csi.v1.Node/NodeGetInfo", &csi__node_get_info_request__descriptor, info,
                   RPC_QUICK);
        method_add(table, "/csi.v1.Node/NodeGetCapabilities",
                   &csi__node_get_capabilities_request__descriptor, get_capabilities, RPC_INLINE);
}
