/* SPDX-License-Identifier: Apache-2.0 */

/* Strings are borrowed from the answer, which lives as long as the call. A NULL string where one
 * belongs would crash protobuf-c's packer, so each is replaced by "". */

#include "csi/service/encode.h"

#include "common/base/cleanup.h"

static const char *or_empty(const char *text) {
        return text ? text : "";
}

int encode_failed(Error *err) {
        return error_set(err, ERROR_EXHAUSTED, "no memory left for the answer");
}

void *message_new(const Call *call, const ProtobufCMessageDescriptor *type) {
        ProtobufCMessage *message = arena_alloc(call->arena, type->sizeof_message);

        if (message)
                protobuf_c_message_init(type, message);
        return message;
}

void *messages_new(const Call *call, const ProtobufCMessageDescriptor *type, size_t n) {
        void **pointers = arena_alloc_array(call->arena, n, sizeof(*pointers));

        if (!pointers)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                pointers[i] = message_new(call, type);
                if (!pointers[i])
                        return NULL;
        }
        return pointers;
}

int64_t encode_size(uint64_t bytes) {
        return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

int encode_map(const Call *call, const StringMap *map, Csi__StringPair ***pairsp, size_t *np) {
        Csi__StringPair **pairs = messages_new(call, &csi__string_pair__descriptor, map->n_pairs);

        if (!pairs)
                return -ENOMEM;
        for (size_t i = 0; i < map->n_pairs; i++) {
                pairs[i]->key = or_empty(map->pairs[i].key);
                pairs[i]->value = or_empty(map->pairs[i].value);
        }
        *pairsp = pairs;
        *np = map->n_pairs;
        return 0;
}

Csi__Topology *encode_topology(const Call *call, const Topology *topology) {
        Csi__Topology *out = message_new(call, &csi__topology__descriptor);

        if (!out || encode_map(call, &topology->segments, &out->segments, &out->n_segments) < 0)
                return NULL;
        return out;
}

static Csi__VolumeContentSource *encode_source(const Call *call, ContentSourceKind kind,
                                               const char *id) {
        Csi__VolumeContentSource *out = message_new(call, &csi__volume_content_source__descriptor);

        if (!out)
                return NULL;
        if (kind == CONTENT_SOURCE_SNAPSHOT) {
                Csi__VolumeContentSource__SnapshotSource *snapshot =
                        message_new(call, &csi__volume_content_source__snapshot_source__descriptor);

                if (!snapshot)
                        return NULL;
                snapshot->snapshot_id = or_empty(id);
                out->type_case = CSI__VOLUME_CONTENT_SOURCE__TYPE_SNAPSHOT;
                out->snapshot = snapshot;
        } else {
                Csi__VolumeContentSource__VolumeSource *volume =
                        message_new(call, &csi__volume_content_source__volume_source__descriptor);

                if (!volume)
                        return NULL;
                volume->volume_id = or_empty(id);
                out->type_case = CSI__VOLUME_CONTENT_SOURCE__TYPE_VOLUME;
                out->volume = volume;
        }
        return out;
}

Csi__Volume *encode_volume(const Call *call, const VolumeInfo *info) {
        Csi__Volume *out = message_new(call, &csi__volume__descriptor);

        if (!out ||
            encode_map(call, &info->context, &out->volume_context, &out->n_volume_context) < 0)
                return NULL;
        out->volume_id = or_empty(info->volume_id);
        out->capacity_bytes = encode_size(info->capacity_bytes);
        if (info->source != CONTENT_SOURCE_NONE) {
                out->content_source = encode_source(call, info->source, info->source_id);
                if (!out->content_source)
                        return NULL;
        }
        out->accessible_topology = arena_alloc_array(call->arena, info->n_topologies,
                                                     sizeof(*out->accessible_topology));
        if (!out->accessible_topology)
                return NULL;
        out->n_accessible_topology = info->n_topologies;
        for (size_t i = 0; i < info->n_topologies; i++) {
                out->accessible_topology[i] = encode_topology(call, &info->topologies[i]);
                if (!out->accessible_topology[i])
                        return NULL;
        }
        return out;
}

Csi__VolumeCondition *encode_condition(const Call *call, bool abnormal, const char *message) {
        Csi__VolumeCondition *out = message_new(call, &csi__volume_condition__descriptor);

        if (!out)
                return NULL;
        out->abnormal = abnormal;
        out->message = or_empty(message);
        return out;
}

static Csi__Timestamp *encode_time(const Call *call, int64_t seconds, int32_t nanos) {
        Csi__Timestamp *out = message_new(call, &csi__timestamp__descriptor);

        if (!out)
                return NULL;
        out->seconds = seconds;
        out->nanos = nanos;
        return out;
}

Csi__Snapshot *encode_snapshot(const Call *call, const SnapshotInfo *info) {
        Csi__Snapshot *out = message_new(call, &csi__snapshot__descriptor);

        if (!out)
                return NULL;
        out->snapshot_id = or_empty(info->snapshot_id);
        out->source_volume_id = or_empty(info->source_volume_id);
        out->group_snapshot_id = or_empty(info->group_id);
        out->size_bytes = encode_size(info->size_bytes);
        out->ready_to_use = info->ready;
        out->creation_time = encode_time(call, info->created_seconds, info->created_nanos);
        return out->creation_time ? out : NULL;
}

Csi__VolumeGroupSnapshot *encode_group(const Call *call, const SnapshotGroup *group) {
        Csi__VolumeGroupSnapshot *out = message_new(call, &csi__volume_group_snapshot__descriptor);

        if (!out)
                return NULL;
        out->group_snapshot_id = or_empty(group->group_id);
        out->ready_to_use = group->ready;
        out->creation_time = encode_time(call, group->created_seconds, group->created_nanos);
        out->snapshots =
                arena_alloc_array(call->arena, group->n_snapshots, sizeof(*out->snapshots));
        if (!out->creation_time || !out->snapshots)
                return NULL;
        out->n_snapshots = group->n_snapshots;
        for (size_t i = 0; i < group->n_snapshots; i++) {
                out->snapshots[i] = encode_snapshot(call, &group->snapshots[i]);
                if (!out->snapshots[i])
                        return NULL;
        }
        return out;
}
