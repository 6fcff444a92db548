/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_SPEC_H
#define BERTH_CSI_LOCAL_SPEC_H

/*
 * What a request asks of the local pool: parameters, capabilities, sizes, topology. Pure. The words
 * that an admin writes into a StorageClass are defined here:
 *
 *   provisioning: thin | thick    thin (default): blocks are taken when written;
 *                                 thick: all blocks are taken at once
 *
 * The same key may stand in a VolumeAttributesClass, and in the attributes of an inline volume
 * beside `size`. Keys that start with "csi.storage.k8s.io/" are Kubernetes' own and are ignored;
 * any other key is refused by name.
 */

#include "csi/api/request.h"
#include "csi/local/meta.h"

#define LOCAL_TOPOLOGY_KEY "topology.local.berth.dev/node"

/* When nobody says how large. */
#define LOCAL_DEFAULT_BYTES (UINT64_C(1) << 30)
/* Sizes are multiples of this: the largest block that direct I/O to a pool file needs. */
#define LOCAL_GRANULE_BYTES UINT64_C(4096)

/* Direct I/O to a file that shares blocks needs whole blocks of the pool's filesystem (xfs reports
 * that by statx(2) since Linux 6.15, and the loop device takes it as its sector size). A volume
 * whose sectors were smaller before its first snapshot could not be mounted any more, so a volume
 * for a filesystem has large sectors from the start. Raw block keeps the sectors that disk images
 * expect, and is buffered where direct I/O would need larger ones. */
#define LOCAL_SECTOR_MOUNT 4096
#define LOCAL_SECTOR_BLOCK 512

typedef struct LocalSpec {
        bool has_thick, thick;
        bool allows_block, allows_mount;
        bool allows_mode_change; /* what somebody wrote through a raw device may be mounted */
        char fs_type[LOCAL_FS_MAX + 1]; /* with allows_mount; the default is put in */
        uint64_t minimum_bytes;         /* what mkfs of that filesystem needs, or a granule */
} LocalSpec;

/* The filesystems that this provider offers and the least that their mkfs accepts. */
extern const char *const local_fs_types[];
#define LOCAL_DEFAULT_FS "ext4"

/* Smallest device that mkfs of @fs_type makes a filesystem on; 0: not a filesystem of ours. */
uint64_t local_fs_minimum(const char *fs_type);

/* Whether a parameter is for the node that formats the volume, and goes into the volume's context.
 */
bool local_is_for_the_node(const char *key);

/* What tells whether two creations ask the node for the same: a hash of those parameters, also of
 * none. Return: 0; -ENOMEM. */
int local_hash_context(const StringMap *parameters, char context[LOCAL_CONTEXT_MAX + 1]);

/* ERROR_INVALID for an unknown key or value. Keys already seen are overwritten. @is_mutable: those
 * of a VolumeAttributesClass, which a tenant chooses. */
int local_spec_add_parameters(LocalSpec *spec, const StringMap *parameters, bool is_mutable,
                              Error *err);

/* ERROR_INVALID for access modes of several nodes, an unknown filesystem, two filesystems. */
int local_spec_add_capabilities(LocalSpec *spec, const VolumeCapability *capabilities,
                                size_t n_capabilities, Error *err);

/* Why this driver cannot serve @capability at all; NULL if it can. */
const char *local_capability_problem(const VolumeCapability *capability);

/**
 * local_size_choose() - the size to make, for a range that was asked
 * @at_least: the filesystem's minimum or the source's size; @why says which
 * @unasked:  when required_bytes is not given
 *
 * Rounded up to a granule. A required size under @at_least is raised to it, as the specification
 * allows, unless the limit forbids.
 *
 * Return: 0; ERROR_RANGE naming the limit and @why; ERROR_INVALID for a limit below the required.
 */
int local_size_choose(const CapacityRange *range, uint64_t at_least, const char *why,
                      uint64_t unasked, uint64_t *sizep, Error *err);

/* Whether a volume of @size_bytes is what @range asks. An existing volume may be larger because of
 * the minimum, so only the bounds count. */
bool local_size_fits(const CapacityRange *range, uint64_t size_bytes);

/* A node name as a topology value, which is a label value of at most 63 bytes: the name itself, or
 * its beginning and a hash. */
void local_topology_value(const char *node_name, char value[64]);

/* Whether this node is among @topologies; keys are compared without case. An empty list is
 * everywhere. */
bool local_topology_has(const Topology *topologies, size_t n_topologies, const char *value);

#endif
