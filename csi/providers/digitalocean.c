/* SPDX-License-Identifier: Apache-2.0 */

/*
 * dobs.csi.digitalocean.com: Block Storage volumes, which are SCSI disks whose designator is the
 * volume's name. Source: digitalocean/csi-digitalocean, driver/{node,mounter,driver}.go.
 */

#include "csi/cloud/disk.h"
#include "csi/providers/cloud.h"
#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/platform/platform.h"

#include <stdio.h>

/* Upstream's --volume-limit. */
#define LIMIT 7

/* What volumes of the driver's first versions say. */
#define OLD_NAME "com.digitalocean.csi.dobs"

static int open_digitalocean(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {"digitalocean", NULL, CLOUD_NEEDS_ID | CLOUD_NEEDS_REGION};

        return cloud_open(config, &options, selfp, err);
}

static bool match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_DIGITALOCEAN;
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
        DiskWanted wanted = {.name = volume->volume_id};
        const char *name;
        char key[128];

        (void)snprintf(key, sizeof(key), "%s/volume-name", cloud->config.driver_name);
        name = cloud_publish_value(volume, key);
        if (str_is_empty(name))
                return error_set(err, ERROR_INVALID,
                                 "publish_context[%s]: it is missing, and the disk has this name",
                                 key);
        disk_want_identity(&wanted, DISK_PROOF_DESIGNATOR, DISK_BUS_SCSI, "DO", "Volume", name);
        disk_want_link(&wanted, "/dev/disk/by-id/scsi-0DO_Volume_%s", name);
        return disk_find(&cloud->config, call, &wanted, device, err);
}

/* Volumes that somebody else filled. Whatever the value: it is the key that says it. */
static int adapt(void *self, const Call *call, const VolumeRef *volume,
                 VolumeCapability *capability, Wishes *wishes, Error *err) {
        const Cloud *cloud = self;
        char key[128];

        (void)snprintf(key, sizeof(key), "%s/noformat", cloud->config.driver_name);
        wishes->never_formats =
                cloud_volume_value(volume, key) || cloud_volume_value(volume, OLD_NAME "/noformat");
        return 0;
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", "btrfs", NULL};

const Provider provider_digitalocean = {
        .name = "digitalocean",
        .driver_name = "dobs.csi.digitalocean.com",
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE,
        .format = {.default_fs_type = "ext4", .fs_types = fs_types},
        .match = match,
        .open = open_digitalocean,
        .close = cloud_close,
        .ready = cloud_ready,
        .node_info = node_info_of,
        .find_device = find_device,
        .rescan_device = cloud_rescan,
        .adapt = adapt,
};
