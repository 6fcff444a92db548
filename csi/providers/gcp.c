/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pd.csi.storage.gke.io, the node half: persistent disks and hyperdisks, which the driver's
 * controller attaches under a device name. Source: kubernetes-sigs/gcp-compute-persistent-disk-csi-
 * driver, pkg/gce-pd-csi-driver/node.go and pkg/deviceutils.
 *
 * The device name is in the SCSI page 0x83 of a disk, or in the vendor's part of its NVMe namespace
 * data.
 */

#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/platform/platform.h"
#include "csi/cloud/disk.h"
#include "csi/cloud/limits.h"
#include "csi/providers/cloud.h"

#define KEY_PARTITION  "partition"
#define KEY_DISK_SIZE  "disk-size"
#define KEY_CACHE_SIZE "data-cache-size"

/* A disk's name has 63 characters at most. */
#define DEVICE_NAME_MAX 80

static int gcp_open(const ProviderConfig *config, void **selfp, Error *err) {
        const char *host = getenv("GCE_METADATA_HOST");
        cleanup(freep) char *base_url = str_is_empty(host) ? NULL : str_printf("http://%s", host);
        CloudOptions options = {.service = "gce", .base_url = base_url};

        options.needs = CLOUD_NEEDS_ZONE | CLOUD_NEEDS_ID;
        if (config->volume_limit < 0)
                options.needs |= CLOUD_NEEDS_TYPE;
        return cloud_open(config, &options, selfp, err);
}

static int gcp_node_info(void *self, const Call *call, NodeInfo *info, Error *err) {
        Cloud *cloud = self;
        cleanup(freep) char *id = NULL;
        MetadataNode node;
        int r;

        r = cloud_node(cloud, call, &node, err);
        if (r < 0)
                return r;
        id = cloud->config.node_id ? strdup(cloud->config.node_id)
                                   : str_printf("projects/%s/zones/%s/instances/%s", node.project,
                                                node.zone, node.name);
        if (!id)
                return error_set_errno(err, ENOMEM, "node id");
        return cloud_info(call, id, cloud_limit(cloud, limits_gce_volumes(node.instance_type)),
                          (const StringPair[]){{"topology.gke.io/zone", node.zone}}, 1, info, err);
}

/* --- the device --- */

/* "projects/p/zones/z/disks/name"; the device of a regional disk is called "name_regional". */
static int device_name(const char *volume_id, char name[DEVICE_NAME_MAX], Error *err) {
        const char *at = volume_id, *fields[6];
        size_t n_fields[6];
        bool is_zonal, is_regional;

        for (size_t i = 0; i < N_ELEMENTS(fields); i++) {
                fields[i] = at;
                n_fields[i] = strcspn(at, "/");
                at += n_fields[i];
                if (n_fields[i] == 0 || (*at == '/') != (i + 1 < N_ELEMENTS(fields)))
                        return error_set(err, ERROR_NOT_FOUND,
                                         "volume %.128s: expected "
                                         "projects/P/zones/Z/disks/D or projects/P/regions/R/"
                                         "disks/D",
                                         volume_id);
                at += *at == '/';
        }
        is_zonal = str_has_prefix(fields[2], "zones/");
        is_regional = str_has_prefix(fields[2], "regions/");
        if (!str_has_prefix(fields[0], "projects/") || !(is_zonal || is_regional) ||
            !str_has_prefix(fields[4], "disks/") || n_fields[5] > 63)
                return error_set(err, ERROR_NOT_FOUND,
                                 "volume %.128s: expected a disk of a zone or a region", volume_id);
        (void)snprintf(name, DEVICE_NAME_MAX, "%s%s", fields[5], is_regional ? "_regional" : "");
        return 0;
}

static int gcp_find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                           Error *err) {
        const Cloud *cloud = self;
        char name[DEVICE_NAME_MAX];
        DiskWanted wanted = {.name = name};
        int r;

        if (cloud_publish_value(volume, KEY_CACHE_SIZE))
                return error_set(err, ERROR_UNSUPPORTED,
                                 "publish_context[" KEY_CACHE_SIZE
                                 "]: volumes with a data cache on local SSDs are not supported");
        r = device_name(volume->volume_id, name, err);
        if (r == 0)
                r = cloud_partition(volume, KEY_PARTITION, &wanted.partition, err);
        if (r < 0)
                return r;
        disk_want_identity(&wanted, DISK_PROOF_DESIGNATOR, DISK_BUS_SCSI, "Google",
                           "PersistentDisk", name);
        disk_want_identity(&wanted, DISK_PROOF_NVME_NAME, DISK_BUS_NVME, NULL, NULL, name);
        disk_want_link(&wanted, "/dev/disk/by-id/google-%s", name);
        disk_want_link(&wanted, "/dev/disk/by-id/scsi-0Google_PersistentDisk_%s", name);
        return disk_find(&cloud->config, call, &wanted, device, err);
}

/* --- mount options that are none --- */

static const struct {
        const char *flag; /* with the "=" */
        Tuning tuning;
} pseudo_flags[] = {
        {"read_ahead_kb=", {"queue/read_ahead_kb", NULL, false}},
        {"btrfs-allocation-data-bg_reclaim_threshold=",
         {"allocation/data/bg_reclaim_threshold", NULL, true}},
        {"btrfs-allocation-metadata-bg_reclaim_threshold=",
         {"allocation/metadata/bg_reclaim_threshold", NULL, true}},
        {"btrfs-allocation-data-dynamic_reclaim=", {"allocation/data/dynamic_reclaim", NULL, true}},
        {"btrfs-allocation-metadata-dynamic_reclaim=",
         {"allocation/metadata/dynamic_reclaim", NULL, true}},
        {"btrfs-bdi-read_ahead_kb=", {"bdi/read_ahead_kb", NULL, true}},
};

static int take_flag(const Call *call, const char *flag, void *userdata, Error *err) {
        Wishes *wishes = userdata;
        uint64_t number;

        for (size_t i = 0; i < N_ELEMENTS(pseudo_flags); i++) {
                const char *value = flag + strlen(pseudo_flags[i].flag);

                if (!str_has_prefix(flag, pseudo_flags[i].flag))
                        continue;
                if (str_parse_u64(value, UINT32_MAX, &number) < 0)
                        return error_set(err, ERROR_INVALID,
                                         "mount_flags: %s: \"%.32s\", expected a number",
                                         pseudo_flags[i].flag, value);
                if (wishes->n_tunings == TUNINGS_MAX)
                        return error_set(err, ERROR_INVALID,
                                         "mount_flags: one is there more than once");
                wishes->tunings[wishes->n_tunings] = pseudo_flags[i].tuning;
                wishes->tunings[wishes->n_tunings++].value = value;
                return 1;
        }
        return 0;
}

static int gcp_adapt(void *self, const Call *call, const VolumeRef *volume,
                     VolumeCapability *capability, Wishes *wishes, Error *err) {
        if (capability->is_block)
                return 0;
        return cloud_filter_flags(call, capability, take_flag, wishes, err);
}

static bool gcp_match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_GCE;
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", "btrfs", NULL};

const Provider provider_gcp = {
        .name = "gcp",
        .driver_name = "pd.csi.storage.gke.io",
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_BLOCK_MULTI_WRITER,
        .format =
                {
                        .default_fs_type = "ext4",
                        .fs_types = fs_types,
                        .minimum_bytes = UINT64_C(1) << 30,
                },
        .match = gcp_match,
        .open = gcp_open,
        .close = cloud_close,
        .ready = cloud_ready,
        .node_info = gcp_node_info,
        .find_device = gcp_find_device,
        .rescan_device = cloud_rescan,
        .adapt = gcp_adapt,
};
