/* SPDX-License-Identifier: Apache-2.0 */

/* Strings are borrowed from the unpacked message, which lives in the same arena as what is made
 * here. */

#include "csi/service/field.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

static int no_memory(const char *field, Error *err) {
        return error_set(err, ERROR_EXHAUSTED, "%s: no memory left for this call", field);
}

int field_string(const char *field, const char *value, size_t max, Error *err) {
        size_t n = strlen(value);

        if (n > max)
                return error_set(err, ERROR_INVALID, "%s: %zu bytes, expected at most %zu", field,
                                 n, max);
        return 0;
}

int field_required(const char *field, const char *value, size_t max, Error *err) {
        if (value[0] == '\0')
                return error_set(err, ERROR_INVALID, "%s: missing, expected 1 to %zu bytes", field,
                                 max);
        return field_string(field, value, max, err);
}

int field_path(const char *field, const char *value, bool required, Error *err) {
        int r = required ? field_required(field, value, FIELD_PATH_MAX, err)
                         : field_string(field, value, FIELD_PATH_MAX, err);

        if (r < 0 || value[0] == '\0' || value[0] == '/')
                return r;
        return error_set(err, ERROR_INVALID, "%s: \"%.128s\", expected an absolute path", field,
                         value);
}

static size_t pair_bytes(const Csi__StringPair *pair) {
        if (str_equal(pair->key, FIELD_TOKENS_KEY))
                return 0;
        return strlen(pair->key) + strlen(pair->value);
}

static void map_put(StringPair *pairs, size_t *np, const Csi__StringPair *pair) {
        for (size_t i = 0; i < *np; i++)
                if (strcmp(pairs[i].key, pair->key) == 0) {
                        pairs[i].value = pair->value;
                        return;
                }
        pairs[(*np)++] = (StringPair){pair->key, pair->value};
}

int field_map(const Call *call, const char *field, Csi__StringPair *const *in, size_t n_in,
              StringMap *map, Error *err) {
        size_t n = 0, n_bytes = 0;
        StringPair *pairs;

        *map = (StringMap){0};
        if (n_in == 0)
                return 0;
        pairs = arena_alloc_array(call->arena, n_in, sizeof(*pairs));
        if (!pairs)
                return no_memory(field, err);
        for (size_t i = 0; i < n_in; i++) {
                n_bytes += pair_bytes(in[i]);
                if (n_bytes > FIELD_MAP_MAX)
                        return error_set(err, ERROR_INVALID,
                                         "%s: keys and values exceed %u bytes in all", field,
                                         FIELD_MAP_MAX);
                map_put(pairs, &n, in[i]);
        }
        *map = (StringMap){pairs, n};
        return 0;
}

const char *access_mode_name(AccessMode mode) {
        static const char *const names[] = {
                "UNKNOWN",
                "SINGLE_NODE_WRITER",
                "SINGLE_NODE_READER_ONLY",
                "MULTI_NODE_READER_ONLY",
                "MULTI_NODE_SINGLE_WRITER",
                "MULTI_NODE_MULTI_WRITER",
                "SINGLE_NODE_SINGLE_WRITER",
                "SINGLE_NODE_MULTI_WRITER",
        };

        return (size_t)mode < N_ELEMENTS(names) ? names[mode] : "undefined";
}

static int mount_options(const char *field, const Csi__VolumeCapability__MountVolume *mount,
                         VolumeCapability *out, Error *err) {
        size_t n_bytes = 0;

        for (size_t i = 0; i < mount->n_mount_flags; i++) {
                n_bytes += strlen(mount->mount_flags[i]);
                if (n_bytes > FIELD_MAP_MAX)
                        return error_set(err, ERROR_INVALID,
                                         "%s.mount.mount_flags: more than %u bytes in all", field,
                                         FIELD_MAP_MAX);
        }
        if (strlen(mount->fs_type) > FIELD_STRING_MAX)
                return error_set(err, ERROR_INVALID,
                                 "%s.mount.fs_type: %zu bytes, expected at most %u", field,
                                 strlen(mount->fs_type), FIELD_STRING_MAX);
        if (strlen(mount->volume_mount_group) > FIELD_STRING_MAX)
                return error_set(err, ERROR_INVALID,
                                 "%s.mount.volume_mount_group: %zu bytes, expected at most %u",
                                 field, strlen(mount->volume_mount_group), FIELD_STRING_MAX);
        out->fs_type = mount->fs_type;
        out->mount_flags = (const char *const *)mount->mount_flags;
        out->n_mount_flags = mount->n_mount_flags;
        out->volume_mount_group = mount->volume_mount_group;
        return 0;
}

int field_capability(const char *field, const Csi__VolumeCapability *in, VolumeCapability *out,
                     Error *err) {
        int mode = in && in->access_mode ? (int)in->access_mode->mode : 0;

        *out = (VolumeCapability){.fs_type = "", .volume_mount_group = ""};
        if (!in)
                return error_set(err, ERROR_INVALID, "%s: missing", field);
        if (in->access_type_case != CSI__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK &&
            in->access_type_case != CSI__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT)
                return error_set(err, ERROR_INVALID,
                                 "%s.access_type: missing, expected block or mount", field);
        if (mode < ACCESS_MODE_SINGLE_NODE_WRITER || mode > ACCESS_MODE_SINGLE_NODE_MULTI_WRITER)
                return error_set(err, ERROR_INVALID,
                                 "%s.access_mode: %s (%d), expected SINGLE_NODE_WRITER or another "
                                 "mode of CSI v1.12",
                                 field,
                                 in->access_mode ? access_mode_name((AccessMode)mode) : "missing",
                                 mode);
        out->access_mode = (AccessMode)mode;
        out->is_block = in->access_type_case == CSI__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK;
        return out->is_block ? 0 : mount_options(field, in->mount, out, err);
}

int field_capabilities(const Call *call, const char *field, Csi__VolumeCapability *const *in,
                       size_t n_in, const VolumeCapability **outp, Error *err) {
        VolumeCapability *out;
        char name[96];
        int r;

        if (n_in == 0)
                return error_set(err, ERROR_INVALID, "%s: missing, expected at least one", field);
        out = arena_alloc_array(call->arena, n_in, sizeof(*out));
        if (!out)
                return no_memory(field, err);
        for (size_t i = 0; i < n_in; i++) {
                (void)snprintf(name, sizeof(name), "%s[%zu]", field, i);
                r = field_capability(name, in[i], &out[i], err);
                if (r < 0)
                        return r;
        }
        *outp = out;
        return 0;
}

int field_check_mode(const char *field, const Provider *provider,
                     const VolumeCapability *capability, Error *err) {
        if (provider->flags & PROVIDER_SINGLE_NODE_MULTI_WRITER)
                return 0;
        if (capability->access_mode != ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER &&
            capability->access_mode != ACCESS_MODE_SINGLE_NODE_MULTI_WRITER)
                return 0;
        return error_set(err, ERROR_INVALID,
                         "%s.access_mode: %s, expected a mode that needs no capability "
                         "SINGLE_NODE_MULTI_WRITER, which this driver does not have",
                         field, access_mode_name(capability->access_mode));
}

int field_capacity_range(const Csi__CapacityRange *in, CapacityRange *out, Error *err) {
        *out = (CapacityRange){0};
        if (!in)
                return 0;
        if (in->required_bytes < 0)
                return error_set(err, ERROR_INVALID,
                                 "capacity_range.required_bytes: %lld, expected 0 or more",
                                 (long long)in->required_bytes);
        if (in->limit_bytes < 0)
                return error_set(err, ERROR_INVALID,
                                 "capacity_range.limit_bytes: %lld, expected 0 or more",
                                 (long long)in->limit_bytes);
        if (in->limit_bytes > 0 && in->limit_bytes < in->required_bytes)
                return error_set(err, ERROR_RANGE,
                                 "capacity_range.limit_bytes: %lld is below required_bytes %lld",
                                 (long long)in->limit_bytes, (long long)in->required_bytes);
        out->required_bytes = (uint64_t)in->required_bytes;
        out->limit_bytes = (uint64_t)in->limit_bytes;
        return 0;
}

int field_topologies(const Call *call, const char *field, Csi__Topology *const *in, size_t n_in,
                     const Topology **outp, Error *err) {
        Topology *out = arena_alloc_array(call->arena, n_in, sizeof(*out));
        int r = 0;

        if (!out)
                return no_memory(field, err);
        for (size_t i = 0; r == 0 && i < n_in; i++)
                r = field_map(call, field, in[i]->segments, in[i]->n_segments, &out[i].segments,
                              err);
        if (r == 0)
                *outp = out;
        return r;
}
