/* SPDX-License-Identifier: Apache-2.0 */

/* Node facts; csi/cli/host.h documents the schema. */

#include "csi/cli/host.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <jansson.h>

#define SCHEMA 1

static json_t *tri_json(PlatformTri tri) {
        return tri == PLATFORM_UNKNOWN ? json_null() : json_boolean(tri == PLATFORM_YES);
}

/* "" is not known. */
static json_t *text_json(const char *text) {
        return str_is_empty(text) ? json_null() : json_string(text);
}

static const char *byte_order_name(PlatformByteOrder order) {
        switch (order) {
        case PLATFORM_BYTE_ORDER_LITTLE:
                return "little";
        case PLATFORM_BYTE_ORDER_BIG:
                return "big";
        case PLATFORM_BYTE_ORDER_UNKNOWN:
                break;
        }
        return "";
}

static json_t *names_json(const PlatformNames *names) {
        json_t *array;

        if (names->state != FACT_PRESENT)
                return json_null();
        array = json_array();
        for (size_t i = 0; i < names->n; i++)
                json_array_append_new(array, json_string(names->names[i]));
        return array;
}

static json_t *features_json(const Platform *platform) {
        json_t *features = json_object();

        for (PlatformFs fs = 0; fs < _PLATFORM_FS_N; fs++)
                if (platform->features[fs].state != FACT_ABSENT)
                        json_object_set_new(features, platform_fs_name(fs),
                                            names_json(&platform->features[fs]));
        return features;
}

static json_t *sector_sizes_json(const Platform *platform) {
        json_t *sizes = json_array();

        for (size_t i = 0; platform->btrfs_sector_bytes[i]; i++)
                json_array_append_new(sizes, json_integer(platform->btrfs_sector_bytes[i]));
        return sizes;
}

static json_t *runtimes_json(const Platform *platform) {
        json_t *runtimes = json_array();

        for (size_t i = 0; i < platform->n_runtimes; i++)
                json_array_append_new(runtimes,
                                      json_pack("{s:s, s:s}", "name", platform->runtimes[i].name,
                                                "socket", platform->runtimes[i].socket));
        return runtimes;
}

static json_t *unknown_json(const Platform *platform) {
        json_t *unknown = json_array();

        for (FactId id = 0; id < _FACT_N; id++) {
                const Fact *fact = &platform->facts->facts[id];
                cleanup(freep) char *reason = NULL;

                if (fact->state != FACT_UNKNOWN || fact->os_errno == 0)
                        continue;
                errno = fact->os_errno;
                reason = str_printf("%m");
                if (reason)
                        json_array_append_new(unknown, json_pack("{s:s, s:s}", "fact",
                                                                 facts_path(platform->facts, id),
                                                                 "reason", reason));
        }
        return unknown;
}

static const char *confidence_of(const Platform *platform) {
        if (platform->kernel.has_backports || str_is_empty(platform->kernel.text))
                return "low";
        if (platform->page_bytes == 0 || platform->byte_order == PLATFORM_BYTE_ORDER_UNKNOWN ||
            platform->block_filesystems.state != FACT_PRESENT)
                return "medium";
        for (PlatformFs fs = 0; fs < _PLATFORM_FS_N; fs++)
                if (platform->features[fs].state == FACT_UNKNOWN)
                        return "medium";
        return "high";
}

static void add_kernel(json_t *object, const Platform *platform) {
        const KernelRelease *kernel = &platform->kernel;
        bool is_known = !str_is_empty(kernel->text);

        json_object_set_new(object, "kernel", text_json(kernel->text));
        json_object_set_new(object, "kernel_version",
                            is_known ? json_pack("[i, i, i]", (int)kernel->major,
                                                 (int)kernel->minor, (int)kernel->patch)
                                     : json_null());
        json_object_set_new(object, "kernel_suffix", json_string(kernel->suffix));
        json_object_set_new(object, "kernel_family", json_string(kernel->family));
        json_object_set_new(object, "kernel_backports", json_boolean(kernel->has_backports));
}

static void add_machine(json_t *object, const Platform *platform) {
        json_object_set_new(object, "name", text_json(platform->hostname));
        json_object_set_new(object, "architecture", text_json(platform->machine));
        json_object_set_new(object, "goarch", text_json(platform->goarch));
        json_object_set_new(object, "page_size",
                            platform->page_bytes ? json_integer(platform->page_bytes)
                                                 : json_null());
        json_object_set_new(object, "byte_order", text_json(byte_order_name(platform->byte_order)));
        add_kernel(object, platform);
        json_object_set_new(
                object, "distribution",
                json_pack("{s:o, s:o, s:o, s:s, s:s}", "id", text_json(platform->distribution.id),
                          "version", text_json(platform->distribution.version), "name",
                          text_json(platform->distribution.name), "variant",
                          platform->distribution.variant, "of",
                          platform->distribution.is_image ? "container image" : "host"));
}

static void add_surroundings(json_t *object, const Platform *platform) {
        json_object_set_new(
                object, "virtualization",
                json_pack("{s:o, s:s, s:s}", "is_virtual", tri_json(platform->is_virtual), "kind",
                          platform->virtual_kind, "evidence", platform->virtual_evidence));
        json_object_set_new(object, "cloud",
                            json_pack("{s:o, s:s, s:o, s:o, s:s}", "name",
                                      platform->cloud == PLATFORM_CLOUD_UNKNOWN
                                              ? json_null()
                                              : json_string(platform_cloud_name(platform->cloud)),
                                      "variant", platform->cloud_variant, "instance_type",
                                      text_json(platform->cloud_instance_type), "instance_id",
                                      text_json(platform->cloud_instance_id), "evidence",
                                      platform->cloud_evidence));
        json_object_set_new(object, "board", json_string(platform->board));
        json_object_set_new(object, "desktop", json_string(platform->desktop));
        json_object_set_new(object, "container",
                            json_pack("{s:o, s:s, s:s}", "is_container",
                                      tri_json(platform->is_container), "kind",
                                      platform->container_kind, "evidence",
                                      platform->container_evidence));
}

static json_t *kubernetes_json(const Platform *platform) {
        json_t *distribution = text_json(platform->kubernetes.distribution);

        if (platform->kubernetes.is_present == PLATFORM_NO)
                distribution = json_string("none");
        return json_pack("{s:o, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o}", "distribution",
                         distribution, "evidence", platform->kubernetes.evidence, "note",
                         platform->kubernetes.note, "kubelet_root",
                         text_json(platform->kubernetes.kubelet_root), "kubelet_evidence",
                         platform->kubernetes.kubelet_evidence, "kubelet_root_exists",
                         tri_json(platform->kubernetes.kubelet_root_exists), "kubelet_root_shared",
                         tri_json(platform->kubernetes.kubelet_root_shared), "cni_bin_dir",
                         text_json(platform->kubernetes.cni_bin), "cni_conf_dir",
                         text_json(platform->kubernetes.cni_conf));
}

struct json_t *host_to_json(const Platform *platform) {
        json_t *object = json_object();

        if (!object)
                return NULL;
        json_object_set_new(object, "schema", json_integer(SCHEMA));
        json_object_set_new(object, "berth", json_string(BERTH_VERSION));
        add_machine(object, platform);
        add_surroundings(object, platform);
        json_object_set_new(object, "runtimes", runtimes_json(platform));
        json_object_set_new(object, "kubernetes", kubernetes_json(platform));
        json_object_set_new(object, "filesystem_types", names_json(&platform->block_filesystems));
        json_object_set_new(object, "filesystem_types_nodev",
                            names_json(&platform->other_filesystems));
        json_object_set_new(object, "filesystem_features", features_json(platform));
        json_object_set_new(object, "btrfs_sector_sizes", sector_sizes_json(platform));
        json_object_set_new(object, "confidence", json_string(confidence_of(platform)));
        json_object_set_new(object, "unknown", unknown_json(platform));
        return object;
}
