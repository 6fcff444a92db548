/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_SERVICE_FIELD_H
#define BERTH_CSI_SERVICE_FIELD_H

/*
 * The generic rules for fields of requests, and their way from protobuf structs to plain ones. Each
 * failure is ERROR_INVALID and names the field, what was there and what was expected; values of
 * secrets, mount flags and maps are never part of it.
 *
 * Source: CSI specification v1.12, "Size Limits" and "Required vs. Optional Fields".
 */

#include "csi/api/provider.h"

#include <csi.pb-c.h>

/* What the specification allows for a string unless the field says otherwise. */
#define FIELD_STRING_MAX 128U

/* Ids of volumes, snapshots, groups: the specification says 128, but an Azure disk is
 * "/subscriptions/<36>/resourceGroups/<up to 90>/providers/Microsoft.Compute/disks/<up to 80>". */
#define FIELD_ID_MAX 1024U

/* PATH_MAX without the NUL. */
#define FIELD_PATH_MAX 4095U

/* Sum of all keys and values of a map, or of all mount flags. */
#define FIELD_MAP_MAX 4096U

/* In a map, kubelet's tokens are not counted: one for each audience, 1 KiB and more apiece. */
#define FIELD_TOKENS_KEY "csi.storage.k8s.io/serviceAccount.tokens"

/* @value is at most @max bytes. */
int field_string(const char *field, const char *value, size_t max, Error *err);

/* The same, and not empty. */
int field_required(const char *field, const char *value, size_t max, Error *err);

/* An absolute path, or "" if it is not @required. */
int field_path(const char *field, const char *value, bool required, Error *err);

/* Keys that come twice: the last wins, as map<string,string> is defined. */
int field_map(const Call *call, const char *field, Csi__StringPair *const *pairs, size_t n_pairs,
              StringMap *map, Error *err);

/* @in NULL: missing. Its own fields only; what the driver can do is field_check_mode()'s. */
int field_capability(const char *field, const Csi__VolumeCapability *in, VolumeCapability *out,
                     Error *err);

/* At least one. */
int field_capabilities(const Call *call, const char *field, Csi__VolumeCapability *const *in,
                       size_t n_in, const VolumeCapability **outp, Error *err);

/* The two modes that only exist with the capability SINGLE_NODE_MULTI_WRITER. */
int field_check_mode(const char *field, const Provider *provider,
                     const VolumeCapability *capability, Error *err);

/* NULL is fine: nothing set. ERROR_RANGE for a limit below what is required. */
int field_capacity_range(const Csi__CapacityRange *in, CapacityRange *out, Error *err);

int field_topologies(const Call *call, const char *field, Csi__Topology *const *in, size_t n_in,
                     const Topology **outp, Error *err);

/* "SINGLE_NODE_WRITER"; static. */
const char *access_mode_name(AccessMode mode);

#endif
