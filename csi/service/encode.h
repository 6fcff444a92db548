/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_SERVICE_ENCODE_H
#define BERTH_CSI_SERVICE_ENCODE_H

/* From plain structs to protobuf structs in the call's arena. All return NULL without memory; use
 * encode_failed() for the error. */

#include "csi/api/request.h"

#include <csi.pb-c.h>

/* An initialised message of @type. */
void *message_new(const Call *call, const ProtobufCMessageDescriptor *type);

/* Return: always <0. */
int encode_failed(Error *err);

/* Sizes on the wire are signed. */
int64_t encode_size(uint64_t bytes);

/* An array of pointers, as protobuf-c wants it, to @n initialised messages of @type. */
void *messages_new(const Call *call, const ProtobufCMessageDescriptor *type, size_t n);

/* Return: 0; -ENOMEM. */
int encode_map(const Call *call, const StringMap *map, Csi__StringPair ***pairsp, size_t *np);

Csi__Topology *encode_topology(const Call *call, const Topology *topology);
Csi__Volume *encode_volume(const Call *call, const VolumeInfo *info);
Csi__VolumeCondition *encode_condition(const Call *call, bool abnormal, const char *message);
Csi__Snapshot *encode_snapshot(const Call *call, const SnapshotInfo *info);
Csi__VolumeGroupSnapshot *encode_group(const Call *call, const SnapshotGroup *group);

#endif
