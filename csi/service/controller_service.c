/* SPDX-License-Identifier: Apache-2.0 */

/* The Controller service: volumes and capacity. Snapshots are in snapshot_service.c. */

#include "csi/service/controller_internal.h"

static int decode_source(const Csi__VolumeContentSource *in, CreateVolumeRequest *out, Error *err) {
        out->source_id = "";
        if (!in)
                return 0;
        if (in->type_case == CSI__VOLUME_CONTENT_SOURCE__TYPE_SNAPSHOT) {
                out->source = CONTENT_SOURCE_SNAPSHOT;
                out->source_id = in->snapshot->snapshot_id;
                return field_required("volume_content_source.snapshot.snapshot_id", out->source_id,
                                      FIELD_ID_MAX, err);
        }
        if (in->type_case == CSI__VOLUME_CONTENT_SOURCE__TYPE_VOLUME) {
                out->source = CONTENT_SOURCE_VOLUME;
                out->source_id = in->volume->volume_id;
                return field_required("volume_content_source.volume.volume_id", out->source_id,
                                      FIELD_ID_MAX, err);
        }
        return error_set(err, ERROR_INVALID,
                         "volume_content_source.type: missing, expected snapshot or volume");
}

static int decode_requirements(const Call *call, const Csi__TopologyRequirement *in,
                               CreateVolumeRequest *out, Error *err) {
        int r;

        if (!in)
                return 0;
        r = field_topologies(call, "accessibility_requirements.requisite", in->requisite,
                             in->n_requisite, &out->requisite, err);
        if (r == 0)
                r = field_topologies(call, "accessibility_requirements.preferred", in->preferred,
                                     in->n_preferred, &out->preferred, err);
        out->n_requisite = in->n_requisite;
        out->n_preferred = in->n_preferred;
        return r;
}

/* What is not advertised is refused, and not left for the provider to overlook. */
static int check_source(const Service *service, const CreateVolumeRequest *request, Error *err) {
        if (request->source == CONTENT_SOURCE_VOLUME &&
            !(service->provider->flags & PROVIDER_CLONES))
                return error_set(err, ERROR_INVALID,
                                 "volume_content_source.volume: provider %s makes no volumes from "
                                 "volumes",
                                 service->provider->name);
        if (request->source == CONTENT_SOURCE_SNAPSHOT && !ops(service)->create_snapshot)
                return error_set(err, ERROR_INVALID,
                                 "volume_content_source.snapshot: provider %s has no snapshots",
                                 service->provider->name);
        return 0;
}

static int decode_create(const Service *service, const Call *call,
                         const Csi__CreateVolumeRequest *in, CreateVolumeRequest *out, Error *err) {
        int r;

        *out = (CreateVolumeRequest){.name = in->name, .n_capabilities = in->n_volume_capabilities};
        if ((r = field_required("name", in->name, FIELD_STRING_MAX, err)) < 0 ||
            (r = field_capabilities(call, "volume_capabilities", in->volume_capabilities,
                                    in->n_volume_capabilities, &out->capabilities, err)) < 0 ||
            (r = field_capacity_range(in->capacity_range, &out->capacity_range, err)) < 0 ||
            (r = field_map(call, "parameters", in->parameters, in->n_parameters, &out->parameters,
                           err)) < 0 ||
            (r = field_map(call, "mutable_parameters", in->mutable_parameters,
                           in->n_mutable_parameters, &out->mutable_parameters, err)) < 0 ||
            (r = field_map(call, "secrets", in->secrets, in->n_secrets, &out->secrets, err)) < 0 ||
            (r = decode_source(in->volume_content_source, out, err)) < 0 ||
            (r = decode_requirements(call, in->accessibility_requirements, out, err)) < 0)
                return r;
        for (size_t i = 0; r == 0 && i < out->n_capabilities; i++)
                r = field_check_mode("volume_capabilities", service->provider,
                                     &out->capabilities[i], err);
        return r < 0 ? r : check_source(service, out, err);
}

static int create_volume(void *userdata, const Call *call, const ProtobufCMessage *request,
                         ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        Csi__CreateVolumeResponse *out;
        CreateVolumeRequest plain;
        VolumeInfo result = {0};
        int r = decode_create(service, call, (const Csi__CreateVolumeRequest *)request, &plain,
                              err);

        if (r == 0)
                r = ops(service)->create_volume(service->provider_self, call, &plain, &result, err);
        if (r < 0)
                return r;
        out = message_new(call, &csi__create_volume_response__descriptor);
        if (!out || !(out->volume = encode_volume(call, &result)))
                return encode_failed(err);
        *responsep = &out->base;
        return 0;
}

static int delete_volume(void *userdata, const Call *call, const ProtobufCMessage *request,
                         ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__DeleteVolumeRequest *in = (const void *)request;
        int r = field_required("volume_id", in->volume_id, FIELD_ID_MAX, err);

        if (r == 0)
                r = ops(service)->delete_volume(service->provider_self, call, in->volume_id, err);
        return controller_done(call, &csi__delete_volume_response__descriptor, r, responsep, err);
}

static int decode_validate(const Call *call, const Csi__ValidateVolumeCapabilitiesRequest *in,
                           ValidateRequest *out, Error *err) {
        int r;

        *out = (ValidateRequest){.volume_id = in->volume_id,
                                 .n_capabilities = in->n_volume_capabilities};
        if ((r = field_required("volume_id", in->volume_id, FIELD_ID_MAX, err)) < 0 ||
            (r = field_capabilities(call, "volume_capabilities", in->volume_capabilities,
                                    in->n_volume_capabilities, &out->capabilities, err)) < 0 ||
            (r = field_map(call, "volume_context", in->volume_context, in->n_volume_context,
                           &out->context, err)) < 0 ||
            (r = field_map(call, "parameters", in->parameters, in->n_parameters, &out->parameters,
                           err)) < 0 ||
            (r = field_map(call, "mutable_parameters", in->mutable_parameters,
                           in->n_mutable_parameters, &out->mutable_parameters, err)) < 0)
                return r;
        return 0;
}

/* Confirmed means: all that was asked, so the request's own fields are the answer's. */
static int encode_validate(const Call *call, const Csi__ValidateVolumeCapabilitiesRequest *in,
                           const ValidateResult *result, ProtobufCMessage **responsep, Error *err) {
        Csi__ValidateVolumeCapabilitiesResponse__Confirmed *confirmed;
        Csi__ValidateVolumeCapabilitiesResponse *out =
                message_new(call, &csi__validate_volume_capabilities_response__descriptor);

        if (!out)
                return encode_failed(err);
        out->message = result->message ? result->message : "";
        *responsep = &out->base;
        if (!result->confirmed)
                return 0;
        confirmed = message_new(call,
                                &csi__validate_volume_capabilities_response__confirmed__descriptor);
        if (!confirmed)
                return encode_failed(err);
        confirmed->n_volume_context = in->n_volume_context;
        confirmed->volume_context = in->volume_context;
        confirmed->n_volume_capabilities = in->n_volume_capabilities;
        confirmed->volume_capabilities = in->volume_capabilities;
        confirmed->n_parameters = in->n_parameters;
        confirmed->parameters = in->parameters;
        confirmed->n_mutable_parameters = in->n_mutable_parameters;
        confirmed->mutable_parameters = in->mutable_parameters;
        out->confirmed = confirmed;
        return 0;
}

static int validate(void *userdata, const Call *call, const ProtobufCMessage *request,
                    ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__ValidateVolumeCapabilitiesRequest *in = (const void *)request;
        ValidateResult result = {0};
        ValidateRequest plain;
        Error why = {0};
        int r = decode_validate(call, in, &plain, err);

        if (r == 0)
                r = ops(service)->validate(service->provider_self, call, &plain, &result, err);
        if (r < 0)
                return r;
        /* What we never do is not an error here but the answer. */
        for (size_t i = 0; result.confirmed && i < plain.n_capabilities; i++)
                if (field_check_mode("volume_capabilities", service->provider,
                                     &plain.capabilities[i], &why) < 0)
                        result = (ValidateResult){false, arena_strdup(call->arena, why.message)};
        return encode_validate(call, in, &result, responsep, err);
}

static Csi__ListVolumesResponse__Entry *encode_entry(const Call *call, const VolumeInfo *info) {
        Csi__ListVolumesResponse__Entry *entry =
                message_new(call, &csi__list_volumes_response__entry__descriptor);

        if (!entry || !(entry->volume = encode_volume(call, info)))
                return NULL;
        if (!info->has_condition)
                return entry;
        entry->status = message_new(call, &csi__list_volumes_response__volume_status__descriptor);
        if (!entry->status)
                return NULL;
        entry->status->volume_condition =
                encode_condition(call, info->abnormal, info->condition_message);
        return entry->status->volume_condition ? entry : NULL;
}

static int list_volumes(void *userdata, const Call *call, const ProtobufCMessage *request,
                        ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__ListVolumesRequest *in = (const void *)request;
        ListRequest plain = {.snapshot_id = "", .source_volume_id = ""};
        Csi__ListVolumesResponse *out;
        VolumeList result = {0};
        int r = controller_page(in->max_entries, in->starting_token, &plain, err);

        if (r == 0)
                r = ops(service)->list_volumes(service->provider_self, call, &plain, &result, err);
        if (r < 0)
                return r;
        out = message_new(call, &csi__list_volumes_response__descriptor);
        if (!out)
                return encode_failed(err);
        out->entries = arena_alloc_array(call->arena, result.n_volumes, sizeof(*out->entries));
        if (!out->entries)
                return encode_failed(err);
        for (size_t i = 0; i < result.n_volumes; i++) {
                out->entries[i] = encode_entry(call, &result.volumes[i]);
                if (!out->entries[i])
                        return encode_failed(err);
        }
        out->n_entries = result.n_volumes;
        out->next_token = result.next_token ? result.next_token : "";
        *responsep = &out->base;
        return 0;
}

static int get_volume(void *userdata, const Call *call, const ProtobufCMessage *request,
                      ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__ControllerGetVolumeRequest *in = (const void *)request;
        Csi__ControllerGetVolumeResponse *out;
        VolumeInfo result = {0};
        int r = field_required("volume_id", in->volume_id, FIELD_ID_MAX, err);

        if (r == 0)
                r = ops(service)->get_volume(service->provider_self, call, in->volume_id, &result,
                                             err);
        if (r < 0)
                return r;
        out = message_new(call, &csi__controller_get_volume_response__descriptor);
        if (!out || !(out->volume = encode_volume(call, &result)))
                return encode_failed(err);
        /* The specification wants the status in every answer. */
        out->status =
                message_new(call, &csi__controller_get_volume_response__volume_status__descriptor);
        if (!out->status)
                return encode_failed(err);
        out->status->volume_condition =
                encode_condition(call, result.abnormal, result.condition_message);
        if (!out->status->volume_condition)
                return encode_failed(err);
        *responsep = &out->base;
        return 0;
}

static int modify_volume(void *userdata, const Call *call, const ProtobufCMessage *request,
                         ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const Csi__ControllerModifyVolumeRequest *in = (const void *)request;
        StringMap parameters, secrets;
        int r = field_required("volume_id", in->volume_id, FIELD_ID_MAX, err);

        if (r == 0)
                r = field_map(call, "mutable_parameters", in->mutable_parameters,
                              in->n_mutable_parameters, &parameters, err);
        if (r == 0)
                r = field_map(call, "secrets", in->secrets, in->n_secrets, &secrets, err);
        if (r == 0)
                r = ops(service)->modify_volume(service->provider_self, call, in->volume_id,
                                                &parameters, err);
        return controller_done(call, &csi__controller_modify_volume_response__descriptor, r,
                               responsep, err);
}

static int decode_capacity(const Call *call, const Csi__GetCapacityRequest *in,
                           CapacityRequest *out, Error *err) {
        int r;

        *out = (CapacityRequest){.n_capabilities = in->n_volume_capabilities,
                                 .has_topology = in->accessible_topology != NULL};
        /* Here capabilities are a filter, and none is fine. */
        if (in->n_volume_capabilities > 0 &&
            (r = field_capabilities(call, "volume_capabilities", in->volume_capabilities,
                                    in->n_volume_capabilities, &out->capabilities, err)) < 0)
                return r;
        r = field_map(call, "parameters", in->parameters, in->n_parameters, &out->parameters, err);
        if (r == 0 && in->accessible_topology)
                r = field_map(call, "accessible_topology.segments",
                              in->accessible_topology->segments,
                              in->accessible_topology->n_segments, &out->topology.segments, err);
        return r;
}

static int encode_capacity(const Call *call, const CapacityResult *result,
                           ProtobufCMessage **responsep, Error *err) {
        Csi__GetCapacityResponse *out = message_new(call, &csi__get_capacity_response__descriptor);
        Csi__Int64Value *maximum = message_new(call, &csi__int64_value__descriptor);
        Csi__Int64Value *minimum = message_new(call, &csi__int64_value__descriptor);

        if (!out || !maximum || !minimum)
                return encode_failed(err);
        out->available_capacity = encode_size(result->available_bytes);
        maximum->value = encode_size(result->maximum_volume_bytes);
        minimum->value = encode_size(result->minimum_volume_bytes);
        if (result->maximum_volume_bytes > 0)
                out->maximum_volume_size = maximum;
        if (result->minimum_volume_bytes > 0)
                out->minimum_volume_size = minimum;
        *responsep = &out->base;
        return 0;
}

static int get_capacity(void *userdata, const Call *call, const ProtobufCMessage *request,
                        ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        CapacityResult result = {0};
        CapacityRequest plain;
        int r = decode_capacity(call, (const Csi__GetCapacityRequest *)request, &plain, err);

        if (r == 0)
                r = ops(service)->get_capacity(service->provider_self, call, &plain, &result, err);
        return r < 0 ? r : encode_capacity(call, &result, responsep, err);
}

#define HAS(name) CSI__CONTROLLER_SERVICE_CAPABILITY__RPC__TYPE__##name

static int get_capabilities(void *userdata, const Call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const ControllerOps *op = ops(service);
        const struct {
                bool has;
                Csi__ControllerServiceCapability__RPC__Type type;
        } all[] = {
                {op->create_volume && op->delete_volume, HAS(CREATE_DELETE_VOLUME)},
                {op->list_volumes, HAS(LIST_VOLUMES)},
                {op->get_capacity, HAS(GET_CAPACITY)},
                {op->create_snapshot && op->delete_snapshot, HAS(CREATE_DELETE_SNAPSHOT)},
                {op->list_snapshots, HAS(LIST_SNAPSHOTS)},
                {op->list_snapshots, HAS(GET_SNAPSHOT)},
                {op->create_volume && service->provider->flags & PROVIDER_CLONES,
                 HAS(CLONE_VOLUME)},
                {op->get_volume, HAS(GET_VOLUME)},
                {op->get_volume, HAS(VOLUME_CONDITION)},
                {op->modify_volume, HAS(MODIFY_VOLUME)},
                {service->provider->flags & PROVIDER_SINGLE_NODE_MULTI_WRITER,
                 HAS(SINGLE_NODE_MULTI_WRITER)},
        };
        Csi__ControllerGetCapabilitiesResponse *out =
                message_new(call, &csi__controller_get_capabilities_response__descriptor);
        Csi__ControllerServiceCapability **list = messages_new(
                call, &csi__controller_service_capability__descriptor, N_ELEMENTS(all));
        Csi__ControllerServiceCapability__RPC **rpcs = messages_new(
                call, &csi__controller_service_capability__rpc__descriptor, N_ELEMENTS(all));
        size_t n = 0;

        if (!out || !list || !rpcs)
                return encode_failed(err);
        for (size_t i = 0; i < N_ELEMENTS(all); i++) {
                if (!all[i].has)
                        continue;
                rpcs[n]->type = all[i].type;
                list[n]->type_case = CSI__CONTROLLER_SERVICE_CAPABILITY__TYPE_RPC;
                list[n]->rpc = rpcs[n];
                n++;
        }
        out->capabilities = list;
        out->n_capabilities = n;
        *responsep = &out->base;
        return 0;
}

void controller_methods(MethodTable *table) {
        const ControllerOps *op = table->service->provider->controller;

        method_add(table, "/csi.v1.Controller/ControllerGetCapabilities",
                   &csi__controller_get_capabilities_request__descriptor, get_capabilities,
                   RPC_INLINE);
        if (op->create_volume)
                method_add(table, "/csi.v1.Controller/CreateVolume",
                           &csi__create_volume_request__descriptor, create_volume, RPC_SLOW);
        if (op->delete_volume)
                method_add(table, "/csi.v1.Controller/DeleteVolume",
                           &csi__delete_volume_request__descriptor, delete_volume, RPC_UNDO);
        if (op->validate)
                method_add(table, "/csi.v1.Controller/ValidateVolumeCapabilities",
                           &csi__validate_volume_capabilities_request__descriptor, validate,
                           RPC_SLOW);
        if (op->list_volumes)
                method_add(table, "/csi.v1.Controller/ListVolumes",
                           &csi__list_volumes_request__descriptor, list_volumes, RPC_QUICK);
        if (op->get_volume)
                method_add(table, "/csi.v1.Controller/ControllerGetVolume",
                           &csi__controller_get_volume_request__descriptor, get_volume, RPC_QUICK);
        if (op->modify_volume)
                method_add(table, "/csi.v1.Controller/ControllerModifyVolume",
                           &csi__controller_modify_volume_request__descriptor, modify_volume,
                           RPC_SLOW);
        if (op->get_capacity)
                method_add(table, "/csi.v1.Controller/GetCapacity",
                           &csi__get_capacity_request__descriptor, get_capacity, RPC_QUICK);
        snapshot_methods(table);
}
