/* SPDX-License-Identifier: Apache-2.0 */

/*
 * block.csi.vultr.com: Block Storage, virtio disks whose serial number is the name that the
 * controller tells. Vultr File System (virtiofs) is not served. Source: vultr/vultr-csi,
 * driver/node.go.
 */

#include "csi/cloud/disk.h"
#include "csi/providers/cloud.h"
#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/platform/platform.h"

#define LIMIT 11

static int open_vultr(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {"vultr", NULL, CLOUD_NEEDS_ID | CLOUD_NEEDS_REGION};

        return cloud_open(config, &options, selfp, err);
}

static bool match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_VULTR;
}

static int node_info_of(void *self, const Call *call, NodeInfo *info, Error *err) {
        MetadataNode node = {0};
        int r = cloud_node(self, call, &node, err);
        const StringPair segments[] = {{"region", node.region}};

        return r < 0 ? r
                     : cloud_info(call, node.instance_id, cloud_limit(self, LIMIT), segments,
                                  N_ELEMENTS(segments), info, err);
}

static int find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                       Error *err) {
        const Cloud *cloud = self;
        const char *type = cloud_publish_value(volume, "storage_type");
        const char *name = cloud_publish_value(volume, "mount_vol_name");
        DiskWanted wanted = {.name = volume->volume_id};

        if (!str_is_empty(type) && !str_equal(type, "block"))
                return error_set(err, ERROR_UNSUPPORTED,
                                 "publish_context[storage_type]: \"%.32s\": only block storage is "
                                 "served, no Vultr File System",
                                 type);
        if (str_is_empty(name))
                return error_set(err, ERROR_INVALID,
                                 "publish_context[mount_vol_name]: it is missing, and the disk has "
                                 "this serial number");
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_VIRTIO, NULL, NULL, name);
        disk_want_link(&wanted, "/dev/disk/by-id/virtio-%s", name);
        disk_want_link(&wanted, "/dev/disk/by-id/virtio-%.20s", name);
        return disk_find(&cloud->config, call, &wanted, device, err);
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", "btrfs", NULL};

const Provider provider_vultr = {
        .name = "vultr",
        .driver_name = "block.csi.vultr.com",
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE,
        .format = {.default_fs_type = "ext4", .fs_types = fs_types},
        .match = match,
        .open = open_vultr,
        .close = cloud_close,
        .ready = cloud_ready,
        .node_info = node_info_of,
        .find_device = find_device,
        .rescan_device = cloud_rescan,
};
