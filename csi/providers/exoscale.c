/* SPDX-License-Identifier: Apache-2.0 */

/*
 * csi.exoscale.com: Block Storage, virtio disks whose serial number is the beginning of the
 * volume's UUID. Upstream's node asks the cloud's API for the quota of attachments and Kubernetes
 * for the node; this one asks the metadata service and takes --volume-limit. Source:
 * exoscale/exoscale-csi-driver, driver/{node,helpers,diskutils}.go.
 */

#include "csi/cloud/disk.h"
#include "csi/providers/cloud.h"
#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/platform/platform.h"

/* Upstream's, where the quota is not known. */
#define LIMIT 5

static int open_exoscale(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {"exoscale", NULL, CLOUD_NEEDS_ID | CLOUD_NEEDS_ZONE};

        return cloud_open(config, &options, selfp, err);
}

static bool match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_EXOSCALE;
}

static int node_info_of(void *self, const Call *call, NodeInfo *info, Error *err) {
        MetadataNode node = {0};
        int r = cloud_node(self, call, &node, err);
        const StringPair segments[] = {{"topology.csi.exoscale.com/zone", node.zone}};
        const char *id = node.instance_id;

        if (r < 0)
                return r;
        /* --node-id may have the zone already. */
        if (!strchr(id, '/'))
                id = arena_printf(call->arena, "%s/%s", node.zone, id);
        if (!id)
                return error_set_errno(err, ENOMEM, "node id");
        return cloud_info(call, id, cloud_limit(self, LIMIT), segments, N_ELEMENTS(segments), info,
                          err);
}

static int find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                       Error *err) {
        const Cloud *cloud = self;
        const char *slash = strchr(volume->volume_id, '/');
        DiskWanted wanted = {.name = volume->volume_id};

        if (!slash || slash == volume->volume_id || slash[1] == '\0' || strchr(slash + 1, '/'))
                return error_set(err, ERROR_INVALID,
                                 "volume_id: \"%.128s\", expected <zone>/<uuid>",
                                 volume->volume_id);
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_VIRTIO, NULL, NULL, slash + 1);
        disk_want_link(&wanted, "/dev/disk/by-id/virtio-%.20s", slash + 1);
        return disk_find(&cloud->config, call, &wanted, device, err);
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", "btrfs", NULL};

const Provider provider_exoscale = {
        .name = "exoscale",
        .driver_name = "csi.exoscale.com",
        .flags = PROVIDER_STAGES | PROVIDER_SINGLE_NODE_MULTI_WRITER | PROVIDER_TOPOLOGY |
                 PROVIDER_EXPANDS_ONLINE,
        .format = {.default_fs_type = "ext4", .fs_types = fs_types},
        .match = match,
        .open = open_exoscale,
        .close = cloud_close,
        .ready = cloud_ready,
        .node_info = node_info_of,
        .find_device = find_device,
        .rescan_device = cloud_rescan,
};
