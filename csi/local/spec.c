/* SPDX-License-Identifier: Apache-2.0 */

/* Requests to the local pool, understood. No file is touched here. */

#include "csi/local/spec.h"

#include "fs/hosts/cluster.h"
#include "fs/make/mkfs.h"
#include "fs/tools/tools.h"

#include "common/base/cleanup.h"
#include "common/base/sha256.h"
#include "common/base/str.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MIB                (UINT64_C(1) << 20)
#define TOPOLOGY_VALUE_MAX 63
#define LOCAL_MODE_CHANGE  "allowVolumeModeChange"

const char *const local_fs_types[] = {"ext4", "xfs", "btrfs", "ext3", "ext2", NULL};

uint64_t local_fs_minimum(const char *fs_type) {
        for (size_t i = 0; local_fs_types[i]; i++)
                if (strcmp(local_fs_types[i], fs_type) == 0)
                        return fs_tool_minimum(fs_type);
        return 0;
}

static int add_mode_change(LocalSpec *spec, const char *value, bool is_mutable, Error *err) {
        if (is_mutable)
                return error_set(err, ERROR_INVALID,
                                 "parameter " LOCAL_MODE_CHANGE
                                 " is of a StorageClass, not of a VolumeAttributesClass");
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
                return error_set(err, ERROR_INVALID,
                                 "parameter " LOCAL_MODE_CHANGE " is \"%s\", not true or false",
                                 value);
        spec->allows_mode_change = strcmp(value, "true") == 0;
        return 0;
}

static const char *const node_keys[] = {FS_CLUSTER_KEY_MIN_KERNEL, FS_CLUSTER_KEY_PAGE_SIZES,
                                        FS_MAKE_KEY_GROW_TO};

bool local_is_for_the_node(const char *key) {
        for (size_t i = 0; i < N_ELEMENTS(node_keys); i++)
                if (strcmp(node_keys[i], key) == 0)
                        return true;
        return false;
}

int local_hash_context(const StringMap *parameters, char context[LOCAL_CONTEXT_MAX + 1]) {
        cleanup(freep) char *text = strdup("");
        char hex[SHA256_HEX_SIZE];

        for (size_t i = 0; i < N_ELEMENTS(node_keys) && text; i++) {
                const char *value = string_map_get(parameters, node_keys[i]);
                char *longer = value ? str_printf("%s%s=%s\n", text, node_keys[i], value) : NULL;

                if (!value)
                        continue;
                free(text);
                text = longer;
        }
        if (!text)
                return -ENOMEM;
        sha256_hex(text, strlen(text), hex);
        (void)snprintf(context, LOCAL_CONTEXT_MAX + 1, "%.*s", LOCAL_CONTEXT_MAX, hex);
        return 0;
}

/* What the node cannot read is better told now than at the first stage. */
static int check_for_the_node(const char *key, const char *value, bool is_mutable, Error *err) {
        uint64_t size_bytes;

        if (is_mutable)
                return error_set(err, ERROR_INVALID,
                                 "parameter %s is of a StorageClass, not of a "
                                 "VolumeAttributesClass",
                                 key);
        if (strcmp(key, FS_MAKE_KEY_GROW_TO) != 0 || str_parse_size(value, &size_bytes) == 0)
                return 0;
        return error_set(err, ERROR_INVALID,
                         "parameter " FS_MAKE_KEY_GROW_TO " is \"%.40s\", not a size like 1Ti",
                         value);
}

int local_spec_add_parameters(LocalSpec *spec, const StringMap *parameters, bool is_mutable,
                              Error *err) {
        for (size_t i = 0; i < parameters->n_pairs; i++) {
                const char *key = parameters->pairs[i].key;
                const char *value = parameters->pairs[i].value;

                if (str_has_prefix(key, "csi.storage.k8s.io/"))
                        continue;
                if (local_is_for_the_node(key)) {
                        int r = check_for_the_node(key, value, is_mutable, err);

                        if (r < 0)
                                return r;
                        continue;
                }
                if (strcmp(key, LOCAL_MODE_CHANGE) == 0) {
                        int r = add_mode_change(spec, value, is_mutable, err);

                        if (r < 0)
                                return r;
                        continue;
                }
                if (strcmp(key, "provisioning") != 0)
                        return error_set(err, ERROR_INVALID,
                                         "parameter \"%s\" is not known; known are "
                                         "\"provisioning\", \"" LOCAL_MODE_CHANGE
                                         "\", \"" FS_MAKE_KEY_GROW_TO
                                         "\", \"" FS_CLUSTER_KEY_MIN_KERNEL
                                         "\" and \"" FS_CLUSTER_KEY_PAGE_SIZES "\"",
                                         key);
                if (strcmp(value, "thin") != 0 && strcmp(value, "thick") != 0)
                        return error_set(err, ERROR_INVALID,
                                         "parameter provisioning is \"%s\", not thin or thick",
                                         value);
                spec->has_thick = true;
                spec->thick = strcmp(value, "thick") == 0;
        }
        return 0;
}

static bool is_single_node(AccessMode mode) {
        return mode == ACCESS_MODE_SINGLE_NODE_WRITER ||
               mode == ACCESS_MODE_SINGLE_NODE_READER_ONLY ||
               mode == ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER ||
               mode == ACCESS_MODE_SINGLE_NODE_MULTI_WRITER;
}

const char *local_capability_problem(const VolumeCapability *capability) {
        if (!is_single_node(capability->access_mode))
                return "access mode: a local volume is on one node; use ReadWriteOnce or "
                       "ReadWriteOncePod";
        if (!capability->is_block && capability->fs_type[0] &&
            local_fs_minimum(capability->fs_type) == 0)
                return "filesystem: not one of ext4, xfs, btrfs, ext3, ext2";
        return NULL;
}

int local_spec_add_capabilities(LocalSpec *spec, const VolumeCapability *capabilities,
                                size_t n_capabilities, Error *err) {
        for (size_t i = 0; i < n_capabilities; i++) {
                const VolumeCapability *capability = &capabilities[i];
                const char *fs_type =
                        capability->fs_type[0] ? capability->fs_type : LOCAL_DEFAULT_FS;
                const char *problem = local_capability_problem(capability);

                if (problem)
                        return error_set(err, ERROR_INVALID, "%s", problem);
                if (capability->is_block) {
                        spec->allows_block = true;
                        continue;
                }
                if (spec->allows_mount && strcmp(spec->fs_type, fs_type) != 0)
                        return error_set(err, ERROR_INVALID,
                                         "one volume cannot hold both %s and %s", spec->fs_type,
                                         fs_type);
                spec->allows_mount = true;
                (void)snprintf(spec->fs_type, sizeof(spec->fs_type), "%s", fs_type);
        }
        spec->minimum_bytes =
                spec->allows_mount ? local_fs_minimum(spec->fs_type) : LOCAL_GRANULE_BYTES;
        return 0;
}

int local_size_choose(const CapacityRange *range, uint64_t at_least, const char *why,
                      uint64_t unasked, uint64_t *sizep, Error *err) {
        uint64_t required = range->required_bytes, limit = range->limit_bytes, size;

        if (limit && limit < required)
                return error_set(err, ERROR_INVALID,
                                 "limit_bytes %" PRIu64 " is below required_bytes %" PRIu64, limit,
                                 required);
        if (required > LOCAL_SIZE_MAX)
                return error_set(err, ERROR_RANGE,
                                 "required_bytes %" PRIu64
                                 " is more than a volume can have (%" PRIu64 ")",
                                 required, LOCAL_SIZE_MAX);
        size = required;
        if (!size)
                size = limit && limit < unasked ? limit : unasked;
        if (size < at_least)
                size = at_least;
        size = (size + LOCAL_GRANULE_BYTES - 1) / LOCAL_GRANULE_BYTES * LOCAL_GRANULE_BYTES;
        /* A limit that is no multiple: what fits under it, if it still holds what is required. */
        if (limit && size > limit)
                size = limit / LOCAL_GRANULE_BYTES * LOCAL_GRANULE_BYTES;
        if (size < at_least)
                return error_set(err, ERROR_RANGE,
                                 "limit_bytes %" PRIu64 " is too small: %s needs %" PRIu64 " bytes",
                                 limit, why, at_least);
        if (size < required || size == 0)
                return error_set(err, ERROR_RANGE,
                                 "no multiple of %" PRIu64 " bytes lies between %" PRIu64
                                 " and %" PRIu64,
                                 LOCAL_GRANULE_BYTES, required, limit);
        *sizep = size;
        return 0;
}

bool local_size_fits(const CapacityRange *range, uint64_t size_bytes) {
        return size_bytes >= range->required_bytes &&
               (!range->limit_bytes || size_bytes <= range->limit_bytes);
}

void local_topology_value(const char *node_name, char value[64]) {
        size_t n = strlen(node_name);
        char hex[SHA256_HEX_SIZE];
        bool fits = n > 0 && n <= TOPOLOGY_VALUE_MAX;

        for (size_t i = 0; i < n && fits; i++) {
                bool alphanumeric =
                        isalnum((unsigned char)node_name[i]) && (unsigned char)node_name[i] < 128;

                fits = alphanumeric || (i > 0 && i + 1 < n && strchr("-_.", node_name[i]));
        }
        if (fits) {
                memcpy(value, node_name, n + 1);
                return;
        }
        /* Cut to a readable beginning; the hash keeps two such nodes apart. */
        sha256_hex(node_name, n, hex);
        for (size_t i = 0; i < 46; i++) {
                unsigned char c = i < n ? (unsigned char)node_name[i] : 'x';

                value[i] = (char)(c < 128 && isalnum(c) ? c : 'x');
        }
        (void)snprintf(value + 46, 18, "-%.16s", hex);
}

bool local_topology_has(const Topology *topologies, size_t n_topologies, const char *value) {
        for (size_t i = 0; i < n_topologies; i++) {
                const StringMap *segments = &topologies[i].segments;

                for (size_t k = 0; k < segments->n_pairs; k++)
                        if (strcasecmp(segments->pairs[k].key, LOCAL_TOPOLOGY_KEY) == 0 &&
                            strcmp(segments->pairs[k].value, value) == 0)
                                return true;
        }
        return n_topologies == 0;
}
