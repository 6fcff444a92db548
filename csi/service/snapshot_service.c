/* SPDX-License-Identifier: Apache-2.0 */

/* The Controller service: snapshots. */

#include "csi/service/controller_internal.h"

int controller_done(const Call *call, const ProtobufCMessageDescriptor *type, int r,
                    ProtobufCMessage **responsep, Error *err) {
        if (r < 0)
                return r;
        *responsep = message_new(call, type);
        return *responsep ? 0 : encode_failed(err);
}

int controller_page(int32_t max_entries, const char *starting_token, ListRequest *out, Error *err) {
        if (max_entries < 0)
                return error_set(err, ERROR_INVALID, "max_entries: %d, expected 0 or more",
                                 max_entries);
        out->max_entries = (uint32_t)max_entries;
        out->starting_token = starting_token;
        /* A token is ours; one that we did not give is ABORTED, which the provider says. */
        return field_string("starting_token", starting_token, FIELD_ID_MAX, err);
}

static int create_snapshot(void *userdata, const Call *call, const ProtobufCMessage *request,
                           ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__CreateSnapshotRequest *in = (const void *)request;
        CreateSnapshotRequest plain = {.name = in->name, .source_volume_id = in->source_volume_id};
        Csi__CreateSnapshotResponse *out;
        SnapshotInfo result = {0};
        StringMap secrets;
        int r;

        if ((r = field_required("source_volume_id", in->source_volume_id, FIELD_ID_MAX, err)) < 0 ||
            (r = field_required("name", in->name, FIELD_STRING_MAX, err)) < 0 ||
            (r = field_map(call, "secrets", in->secrets, in->n_secrets, &secrets, err)) < 0 ||
            (r = field_map(call, "parameters", in->parameters, in->n_parameters, &plain.parameters,
                           err)) < 0 ||
            (r = ops(service)->create_snapshot(service->provider_self, call, &plain, &result,
                                               err)) < 0)
                return r;
        out = message_new(call, &csi__create_snapshot_response__descriptor);
        if (!out || !(out->snapshot = encode_snapshot(call, &result)))
                return encode_failed(err);
        *responsep = &out->base;
        return 0;
}

static int delete_snapshot(void *userdata, const Call *call, const ProtobufCMessage *request,
                           ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__DeleteSnapshotRequest *in = (const void *)request;
        int r = field_required("snapshot_id", in->snapshot_id, FIELD_ID_MAX, err);

        if (r == 0)
                r = ops(service)->delete_snapshot(service->provider_self, call, in->snapshot_id,
                                                  err);
        return controller_done(call, &csi__delete_snapshot_response__descriptor, r, responsep, err);
}

static int encode_list(const Call *call, const SnapshotList *list, ProtobufCMessage **responsep,
                       Error *err) {
        Csi__ListSnapshotsResponse *out =
                message_new(call, &csi__list_snapshots_response__descriptor);

        if (!out)
                return encode_failed(err);
        out->entries = messages_new(call, &csi__list_snapshots_response__entry__descriptor,
                                    list->n_snapshots);
        if (!out->entries)
                return encode_failed(err);
        out->n_entries = list->n_snapshots;
        for (size_t i = 0; i < list->n_snapshots; i++) {
                out->entries[i]->snapshot = encode_snapshot(call, &list->snapshots[i]);
                if (!out->entries[i]->snapshot)
                        return encode_failed(err);
        }
        out->next_token = list->next_token ? list->next_token : "";
        *responsep = &out->base;
        return 0;
}

static int list_snapshots(void *userdata, const Call *call, const ProtobufCMessage *request,
                          ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__ListSnapshotsRequest *in = (const void *)request;
        ListRequest plain = {.snapshot_id = in->snapshot_id,
                             .source_volume_id = in->source_volume_id};
        SnapshotList result = {0};
        StringMap secrets;
        int r;

        if ((r = controller_page(in->max_entries, in->starting_token, &plain, err)) < 0 ||
            (r = field_string("source_volume_id", in->source_volume_id, FIELD_ID_MAX, err)) < 0 ||
            (r = field_string("snapshot_id", in->snapshot_id, FIELD_ID_MAX, err)) < 0 ||
            (r = field_map(call, "secrets", in->secrets, in->n_secrets, &secrets, err)) < 0 ||
            (r = ops(service)->list_snapshots(service->provider_self, call, &plain, &result, err)) <
                    0)
                return r;
        return encode_list(call, &result, responsep, err);
}

/* A list of one; of none it is NOT_FOUND. */
static int get_snapshot(void *userdata, const Call *call, const ProtobufCMessage *request,
                        ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__GetSnapshotRequest *in = (const void *)request;
        const ListRequest plain = {
                .starting_token = "", .snapshot_id = in->snapshot_id, .source_volume_id = ""};
        Csi__GetSnapshotResponse *out;
        SnapshotList result = {0};
        StringMap secrets;
        int r;

        if ((r = field_required("snapshot_id", in->snapshot_id, FIELD_ID_MAX, err)) < 0 ||
            (r = field_map(call, "secrets", in->secrets, in->n_secrets, &secrets, err)) < 0 ||
            (r = ops(service)->list_snapshots(service->provider_self, call, &plain, &result, err)) <
                    0)
                return r;
        if (result.n_snapshots == 0)
                return error_set(err, ERROR_NOT_FOUND, "snapshot %.256s does not exist",
                                 in->snapshot_id);
        out = message_new(call, &csi__get_snapshot_response__descriptor);
        if (!out || !(out->snapshot = encode_snapshot(call, &result.snapshots[0])))
                return encode_failed(err);
        *responsep = &out->base;
        return 0;
}

void snapshot_methods(MethodTable *table) {
        const ControllerOps *op = table->service->provider->controller;

        if (op->create_snapshot)
                method_add(table, "/csi.v1.Controller/CreateSnapshot",
                           &csi__create_snapshot_request__descriptor, create_snapshot, RPC_SLOW);
        if (op->delete_snapshot)
                method_add(table, "/csi.v1.Controller/DeleteSnapshot",
                           &csi__delete_snapshot_request__descriptor, delete_snapshot, RPC_UNDO);
        if (!op->list_snapshots)
                return;
        method_add(table, "/csi.v1.Controller/ListSnapshots",
                   &csi__list_snapshots_request__descriptor, list_snapshots, RPC_QUICK);
        method_add(table, "/csi.v1.Controller/GetSnapshot", &csi__get_snapshot_request__descriptor,
                   get_snapshot, RPC_QUICK);
}
