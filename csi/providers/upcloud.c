/* SPDX-License-Identifier: Apache-2.0 */

/*
 * storage.csi.upcloud.com: MaxIOPS and other storages, virtio disks whose serial number is the
 * beginning of the storage's UUID without dashes. Filesystems are on the last, and normally only,
 * partition of a GPT, which a blank disk gets; raw block volumes are the whole disk. Source:
 * UpCloudLtd/upcloud-csi, internal/{node,filesystem}/.
 */

#include "csi/cloud/disk.h"
#include "csi/providers/cloud.h"
#include "csi/providers/gpt.h"
#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/platform/platform.h"

#define LIMIT 14

static int open_upcloud(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {"upcloud", NULL, CLOUD_NEEDS_REGION};

        return cloud_open(config, &options, selfp, err);
}

static bool match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_UPCLOUD;
}

/* The controller finds servers by their host name. */
static int node_info_of(void *self, const Call *call, NodeInfo *info, Error *err) {
        const Cloud *cloud = self;
        const ProviderConfig *config = &cloud->config;
        MetadataNode node = {0};
        int r = cloud_node(self, call, &node, err);
        const StringPair segments[] = {{"region", node.region}};

        return r < 0 ? r
                     : cloud_info(call, config->node_id ? config->node_id : config->node_name,
                                  cloud_limit(cloud, LIMIT), segments, N_ELEMENTS(segments), info,
                                  err);
}

/* @device: the disk. A new disk has none yet; one that is neither blank nor partitioned, whose
 * partitions the kernel has not read yet, or that is only to be read, is waited for, and refused.
 */
static int find_partition(const Cloud *cloud, const Call *call, const VolumeRef *volume,
                          DiskWanted *wanted, Device *device, Error *err) {
        unsigned int last = 0;
        size_t n = 0;
        int r = gpt_count(&cloud->config, device, &n, &last);

        if (r < 0)
                return error_set_errno(err, r, "partitions of %s", device->path);
        if (n == 0 && !volume->is_read_only && volume->may_write) {
                r = volume->may_write(volume->userdata, device, err);
                if (r == 0)
                        r = gpt_make(device, wanted->name, err);
                if (r < 0)
                        return r;
        }
        wanted->partition = n == 0 ? 1 : last;
        return disk_find(&cloud->config, call, wanted, device, err);
}

static int find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                       Error *err) {
        const Cloud *cloud = self;
        DiskWanted wanted = {.name = volume->volume_id};
        char serial[64];
        size_t n = 0;
        int r;

        for (const char *at = volume->volume_id; *at && n + 1 < sizeof(serial); at++)
                if (*at != '-')
                        serial[n++] = *at;
        serial[n] = '\0';
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_VIRTIO, NULL, NULL, serial);
        disk_want_link(&wanted, "/dev/disk/by-id/virtio-%.20s", serial);
        r = disk_find(&cloud->config, call, &wanted, device, err);
        return r < 0 || volume->is_block
                       ? r
                       : find_partition(cloud, call, volume, &wanted, device, err);
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", NULL};

const Provider provider_upcloud = {
        .name = "upcloud",
        .driver_name = "storage.csi.upcloud.com",
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_NO_EXPAND,
        .format = {.default_fs_type = "ext4", .fs_types = fs_types},
        .match = match,
        .open = open_upcloud,
        .close = cloud_close,
        .ready = cloud_ready,
        .node_info = node_info_of,
        .find_device = find_device,
        .rescan_device = cloud_rescan,
};
