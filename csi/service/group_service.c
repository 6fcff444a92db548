/* SPDX-License-Identifier: Apache-2.0 */

/* The GroupController service: snapshots of several volumes at one moment. */

#include "csi/service/controller_internal.h"

/* A list of ids, each of them there and none too long. */
static int check_ids(const char *field, const char *const *ids, size_t n_ids, Error *err) {
        char name[64];
        int r;

        for (size_t i = 0; i < n_ids; i++) {
                (void)snprintf(name, sizeof(name), "%s[%zu]", field, i);
                r = field_required(name, ids[i], FIELD_ID_MAX, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int create_group(void *userdata, const Call *call, const ProtobufCMessage *request,
                        ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__CreateVolumeGroupSnapshotRequest *in = (const void *)request;
        CreateGroupRequest plain = {
                .name = in->name,
                .source_volume_ids = (const char *const *)in->source_volume_ids,
                .n_source_volume_ids = in->n_source_volume_ids,
        };
        Csi__CreateVolumeGroupSnapshotResponse *out;
        SnapshotGroup result = {0};
        StringMap secrets;
        int r;

        if (in->n_source_volume_ids == 0 && in->name[0] != '\0')
                return error_set(err, ERROR_INVALID,
                                 "source_volume_ids: missing, expected at least one");
        if ((r = field_required("name", in->name, FIELD_STRING_MAX, err)) < 0 ||
            (r = check_ids("source_volume_ids", plain.source_volume_ids, plain.n_source_volume_ids,
                           err)) < 0 ||
            (r = field_map(call, "secrets", in->secrets, in->n_secrets, &secrets, err)) < 0 ||
            (r = field_map(call, "parameters", in->parameters, in->n_parameters, &plain.parameters,
                           err)) < 0 ||
            (r = ops(service)->create_group(service->provider_self, call, &plain, &result, err)) <
                    0)
                return r;
        out = message_new(call, &csi__create_volume_group_snapshot_response__descriptor);
        if (!out || !(out->group_snapshot = encode_group(call, &result)))
                return encode_failed(err);
        *responsep = &out->base;
        return 0;
}

static int delete_group(void *userdata, const Call *call, const ProtobufCMessage *request,
                        ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__DeleteVolumeGroupSnapshotRequest *in = (const void *)request;
        const char *const *ids = (const char *const *)in->snapshot_ids;
        StringMap secrets;
        int r;

        if ((r = field_required("group_snapshot_id", in->group_snapshot_id, FIELD_ID_MAX, err)) <
                    0 ||
            (r = check_ids("snapshot_ids", ids, in->n_snapshot_ids, err)) < 0 ||
            (r = field_map(call, "secrets", in->secrets, in->n_secrets, &secrets, err)) < 0)
                return r;
        r = ops(service)->delete_group(service->provider_self, call, in->group_snapshot_id, ids,
                                       in->n_snapshot_ids, err);
        return controller_done(call, &csi__delete_volume_group_snapshot_response__descriptor, r,
                               responsep, err);
}

static int get_group(void *userdata, const Call *call, const ProtobufCMessage *request,
                     ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__GetVolumeGroupSnapshotRequest *in = (const void *)request;
        const char *const *ids = (const char *const *)in->snapshot_ids;
        Csi__GetVolumeGroupSnapshotResponse *out;
        SnapshotGroup result = {0};
        StringMap secrets;
        int r;

        if ((r = field_required("group_snapshot_id", in->group_snapshot_id, FIELD_ID_MAX, err)) <
                    0 ||
            (r = check_ids("snapshot_ids", ids, in->n_snapshot_ids, err)) < 0 ||
            (r = field_map(call, "secrets", in->secrets, in->n_secrets, &secrets, err)) < 0 ||
            (r = ops(service)->get_group(service->provider_self, call, in->group_snapshot_id, ids,
                                         in->n_snapshot_ids, &result, err)) < 0)
                return r;
        out = message_new(call, &csi__get_volume_group_snapshot_response__descriptor);
        if (!out || !(out->group_snapshot = encode_group(call, &result)))
                return encode_failed(err);
        *responsep = &out->base;
        return 0;
}

static int get_capabilities(void *userdata, const Call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **responsep, Error *err) {
        Csi__GroupControllerGetCapabilitiesResponse *out =
                message_new(call, &csi__group_controller_get_capabilities_response__descriptor);
        Csi__GroupControllerServiceCapability **list =
                messages_new(call, &csi__group_controller_service_capability__descriptor, 1);
        Csi__GroupControllerServiceCapability__RPC *rpc =
                message_new(call, &csi__group_controller_service_capability__rpc__descriptor);

        if (!out || !list || !rpc)
                return encode_failed(err);
        rpc->type =
                CSI__GROUP_CONTROLLER_SERVICE_CAPABILITY__RPC__TYPE__CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT;
        list[0]->type_case = CSI__GROUP_CONTROLLER_SERVICE_CAPABILITY__TYPE_RPC;
        list[0]->rpc = rpc;
        out->capabilities = list;
        out->n_capabilities = 1;
        *responsep = &out->base;
        return 0;
}

void group_methods(MethodTable *table) {
        const ControllerOps *op = table->service->provider->controller;

        /* The specification has one capability for the three. */
        if (!op->create_group || !op->delete_group || !op->get_group)
                return;
        method_add(table, "/csi.v1.GroupController/GroupControllerGetCapabilities",
                   &csi__group_controller_get_capabilities_request__descriptor, get_capabilities,
                   RPC_INLINE);
        method_add(table, "/csi.v1.GroupController/CreateVolumeGroupSnapshot",
                   &csi__create_volume_group_snapshot_request__descriptor, create_group, RPC_SLOW);
        method_add(table, "/csi.v1.GroupController/DeleteVolumeGroupSnapshot",
                   &csi__delete_volume_group_snapshot_request__descriptor, delete_group, RPC_UNDO);
        method_add(table, "/csi.v1.GroupController/GetVolumeGroupSnapshot",
                   &csi__get_volume_group_snapshot_request__descriptor, get_group, RPC_QUICK);
}
