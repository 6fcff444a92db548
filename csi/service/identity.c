/* SPDX-License-Identifier: Apache-2.0 */

/* The Identity service. */

#include "csi/service/service_internal.h"

static int get_plugin_info(void *userdata, const Call *call, const ProtobufCMessage *request,
                           ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        const StringPair pair = {"provider", service->provider->name};
        Csi__GetPluginInfoResponse *out =
                message_new(call, &csi__get_plugin_info_response__descriptor);

        if (!out || encode_map(call, &(StringMap){&pair, 1}, &out->manifest, &out->n_manifest) < 0)
                return encode_failed(err);
        out->name = service->driver_name;
        out->vendor_version = BERTH_VERSION;
        *responsep = &out->base;
        return 0;
}

static Csi__PluginCapability *plugin_service(const Call *call,
                                             Csi__PluginCapability__Service__Type type) {
        Csi__PluginCapability *out = message_new(call, &csi__plugin_capability__descriptor);
        Csi__PluginCapability__Service *service =
                message_new(call, &csi__plugin_capability__service__descriptor);

        if (!out || !service)
                return NULL;
        service->type = type;
        out->type_case = CSI__PLUGIN_CAPABILITY__TYPE_SERVICE;
        out->service = service;
        return out;
}

static Csi__PluginCapability *plugin_expansion(const Call *call,
                                               Csi__PluginCapability__VolumeExpansion__Type type) {
        Csi__PluginCapability *out = message_new(call, &csi__plugin_capability__descriptor);
        Csi__PluginCapability__VolumeExpansion *expansion =
                message_new(call, &csi__plugin_capability__volume_expansion__descriptor);

        if (!out || !expansion)
                return NULL;
        expansion->type = type;
        out->type_case = CSI__PLUGIN_CAPABILITY__TYPE_VOLUME_EXPANSION;
        out->volume_expansion = expansion;
        return out;
}

/*
 * Says what the plugin is as a whole, and every instance has to say the same. A cloud's controller
 * runs elsewhere, under the same driver name: so CONTROLLER_SERVICE is there for a node-only
 * provider too.
 */
static int get_plugin_capabilities(void *userdata, const Call *call,
                                   const ProtobufCMessage *request, ProtobufCMessage **responsep,
                                   Error *err) {
        const Service *service = userdata;
        const ControllerOps *controller = service->provider->controller;
        unsigned int flags = service->provider->flags;
        Csi__GetPluginCapabilitiesResponse *out =
                message_new(call, &csi__get_plugin_capabilities_response__descriptor);
        Csi__PluginCapability **list = arena_alloc_array(call->arena, 5, sizeof(*list));
        size_t n = 0;

        if (!out || !list)
                return encode_failed(err);
        if (!(flags & PROVIDER_NO_CONTROLLER))
                list[n++] = plugin_service(
                        call, CSI__PLUGIN_CAPABILITY__SERVICE__TYPE__CONTROLLER_SERVICE);
        if (flags & PROVIDER_TOPOLOGY)
                list[n++] = plugin_service(
                        call,
                        CSI__PLUGIN_CAPABILITY__SERVICE__TYPE__VOLUME_ACCESSIBILITY_CONSTRAINTS);
        if (controller && controller->create_group)
                list[n++] = plugin_service(
                        call, CSI__PLUGIN_CAPABILITY__SERVICE__TYPE__GROUP_CONTROLLER_SERVICE);
        if (flags & PROVIDER_EXPANDS_ONLINE)
                list[n++] = plugin_expansion(
                        call, CSI__PLUGIN_CAPABILITY__VOLUME_EXPANSION__TYPE__ONLINE);
        if (flags & PROVIDER_EXPANDS_OFFLINE)
                list[n++] = plugin_expansion(
                        call, CSI__PLUGIN_CAPABILITY__VOLUME_EXPANSION__TYPE__OFFLINE);
        for (size_t i = 0; i < n; i++)
                if (!list[i])
                        return encode_failed(err);
        out->capabilities = list;
        out->n_capabilities = n;
        *responsep = &out->base;
        return 0;
}

/* Not ready yet (a metadata service that does not answer) is an answer; anything else that keeps
 * volumes from being mounted is FAILED_PRECONDITION and says what. */
static int probe(void *userdata, const Call *call, const ProtobufCMessage *request,
                 ProtobufCMessage **responsep, Error *err) {
        const Service *service = userdata;
        Csi__ProbeResponse *out = message_new(call, &csi__probe_response__descriptor);
        Error why = {0};
        int r = node_ready(service->node, call, &why);

        if (r < 0 && why.code != ERROR_UNAVAILABLE)
                return error_set(err, ERROR_PRECONDITION, "%s", why.message);
        if (!out)
                return encode_failed(err);
        out->ready = message_new(call, &csi__bool_value__descriptor);
        if (!out->ready)
                return encode_failed(err);
        out->ready->value = r == 0;
        *responsep = &out->base;
        return 0;
}

void identity_methods(MethodTable *table) {
        method_add(table, "/csi.v1.Identity/GetPluginInfo",
                   &csi__get_plugin_info_request__descriptor, get_plugin_info, RPC_INLINE);
        method_add(table, "/csi.v1.Identity/GetPluginCapabilities",
                   &csi__get_plugin_capabilities_request__descriptor, get_plugin_capabilities,
                   RPC_INLINE);
        method_add(table, "/csi.v1.Identity/Probe", &csi__probe_request__descriptor, probe,
                   RPC_QUICK);
}
