/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_API_REQUEST_H
#define BERTH_CSI_API_REQUEST_H

/*
 * CSI requests and answers as plain structs, free of protobuf and gRPC. csi/service/ fills requests
 * from the wire after it checked the generic rules (required fields, sizes), calls the node or the
 * controller, and packs the answer. All pointers in a request are borrowed and live as long as the
 * call; absent strings are "" and never NULL. Strings and arrays in an answer live in the call's
 * arena.
 *
 * Names, fields and enum values: CSI specification v1.12.
 */

#include "common/base/error.h"
#include "common/base/string_map.h"
#include "csi/api/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What every handler gets: memory for the answer, and how long the caller will wait. */
typedef struct Call {
        Arena *arena;
        const char *method;                /* "NodeStageVolume", for logs and metrics */
        uint64_t deadline_msecs;           /* CLOCK_MONOTONIC; UINT64_MAX: none */
        bool (*cancelled)(void *userdata); /* never NULL; true when the client went away or the
                                              server drains */
        void *userdata;
        struct Waiting *waiting; /* csi/wait/waiting.h; NULL: it waits on its thread */
} Call;

typedef enum AccessMode {
        ACCESS_MODE_UNKNOWN = 0,
        ACCESS_MODE_SINGLE_NODE_WRITER = 1,
        ACCESS_MODE_SINGLE_NODE_READER_ONLY = 2,
        ACCESS_MODE_MULTI_NODE_READER_ONLY = 3,
        ACCESS_MODE_MULTI_NODE_SINGLE_WRITER = 4,
        ACCESS_MODE_MULTI_NODE_MULTI_WRITER = 5,
        ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER = 6,
        ACCESS_MODE_SINGLE_NODE_MULTI_WRITER = 7,
} AccessMode;

typedef struct VolumeCapability {
        bool is_block;                  /* raw block; else a filesystem mount */
        const char *fs_type;            /* "" = the provider's default */
        const char *const *mount_flags; /* may hold secrets: never logged */
        size_t n_mount_flags;
        const char *volume_mount_group; /* "" = none */
        AccessMode access_mode;
} VolumeCapability;

typedef struct CapacityRange {
        uint64_t required_bytes; /* 0 = unset */
        uint64_t limit_bytes;    /* 0 = unset */
} CapacityRange;

typedef struct Topology {
        StringMap segments;
} Topology;

/* --- Node --- */

typedef struct NodeStageRequest {
        const char *volume_id;
        const char *staging_path;
        StringMap publish_context, volume_context;
        StringMap secrets; /* never logged */
        VolumeCapability capability;
} NodeStageRequest;

typedef struct NodeUnstageRequest {
        const char *volume_id;
        const char *staging_path;
} NodeUnstageRequest;

typedef struct NodePublishRequest {
        const char *volume_id;
        const char *staging_path; /* "" for inline ephemeral volumes */
        const char *target_path;
        StringMap publish_context, volume_context;
        StringMap secrets; /* never logged */
        VolumeCapability capability;
        bool readonly;
} NodePublishRequest;

typedef struct NodeUnpublishRequest {
        const char *volume_id;
        const char *target_path;
} NodeUnpublishRequest;

typedef struct NodeExpandRequest {
        const char *volume_id;
        const char *volume_path;
        const char *staging_path; /* may be "" */
        CapacityRange capacity_range;
        bool has_capability;
        VolumeCapability capability; /* only with has_capability */
        StringMap secrets;           /* never logged */
} NodeExpandRequest;

typedef struct NodeExpandResult {
        uint64_t capacity_bytes; /* 0 = unknown */
} NodeExpandResult;

typedef struct NodeStatsRequest {
        const char *volume_id;
        const char *volume_path;
        const char *staging_path; /* may be "" */
} NodeStatsRequest;

typedef struct VolumeUsage {
        uint64_t available, total, used;
} VolumeUsage;

typedef struct NodeStatsResult {
        bool has_bytes, has_inodes, has_condition;
        VolumeUsage bytes, inodes;
        bool abnormal;
        const char *condition_message;
} NodeStatsResult;

typedef struct NodeInfo {
        const char *node_id;
        uint64_t max_volumes; /* 0 = no limit known */
        bool has_topology;
        Topology topology;
} NodeInfo;

/* --- Controller (provider `local`) --- */

typedef enum ContentSourceKind {
        CONTENT_SOURCE_NONE,
        CONTENT_SOURCE_SNAPSHOT,
        CONTENT_SOURCE_VOLUME,
} ContentSourceKind;

typedef struct VolumeInfo {
        const char *volume_id;
        uint64_t capacity_bytes;
        StringMap context;
        ContentSourceKind source;
        const char *source_id; /* "" without a source */
        const Topology *topologies;
        size_t n_topologies;
        bool has_condition, abnormal;
        const char *condition_message;
} VolumeInfo;

typedef struct CreateVolumeRequest {
        const char *name;
        CapacityRange capacity_range;
        const VolumeCapability *capabilities;
        size_t n_capabilities;
        StringMap parameters, mutable_parameters;
        StringMap secrets; /* never logged */
        ContentSourceKind source;
        const char *source_id;
        const Topology *requisite;
        size_t n_requisite;
        const Topology *preferred;
        size_t n_preferred;
} CreateVolumeRequest;

typedef struct ValidateRequest {
        const char *volume_id;
        StringMap context, parameters, mutable_parameters;
        const VolumeCapability *capabilities;
        size_t n_capabilities;
} ValidateRequest;

typedef struct ValidateResult {
        bool confirmed;
        const char *message; /* why not, when not confirmed */
} ValidateResult;

typedef struct ListRequest {
        uint32_t max_entries; /* 0 = all */
        const char *starting_token;
        const char *snapshot_id, *source_volume_id; /* ListSnapshots only */
} ListRequest;

typedef struct VolumeList {
        const VolumeInfo *volumes;
        size_t n_volumes;
        const char *next_token; /* "" = the end */
} VolumeList;

typedef struct SnapshotInfo {
        const char *snapshot_id;
        const char *source_volume_id;
        uint64_t size_bytes;
        int64_t created_seconds; /* since the epoch */
        int32_t created_nanos;
        bool ready;
        const char *group_id; /* "" = none */
} SnapshotInfo;

typedef struct SnapshotList {
        const SnapshotInfo *snapshots;
        size_t n_snapshots;
        const char *next_token;
} SnapshotList;

typedef struct CreateSnapshotRequest {
        const char *name;
        const char *source_volume_id;
        StringMap parameters;
} CreateSnapshotRequest;

typedef struct SnapshotGroup {
        const char *group_id;
        const SnapshotInfo *snapshots;
        size_t n_snapshots;
        int64_t created_seconds;
        int32_t created_nanos;
        bool ready;
} SnapshotGroup;

typedef struct CreateGroupRequest {
        const char *name;
        const char *const *source_volume_ids;
        size_t n_source_volume_ids;
        StringMap parameters;
} CreateGroupRequest;

typedef struct CapacityRequest {
        const VolumeCapability *capabilities;
        size_t n_capabilities;
        StringMap parameters;
        bool has_topology;
        Topology topology;
} CapacityRequest;

typedef struct CapacityResult {
        uint64_t available_bytes;
        uint64_t maximum_volume_bytes; /* 0 = unknown */
        uint64_t minimum_volume_bytes; /* 0 = unknown */
} CapacityResult;

#endif
