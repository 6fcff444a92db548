/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cinder.csi.openstack.org: Cinder volumes that Nova attached. What a disk shows of the volume's
 * UUID depends on the bus: virtio has room for 20 characters, QEMU's SCSI disks show all or 20 of
 * them, and some backends make a world-wide name of it. Source:
 * kubernetes/cloud-provider-openstack, pkg/csi/cinder/nodeserver.go, pkg/util/{mount,metadata}/.
 */

#include "csi/providers/openstack.h"

#include "csi/cloud/disk.h"
#include "csi/providers/cloud.h"
#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/platform/platform.h"

#include <stdio.h>

/* Upstream's default and its cap. */
#define LIMIT 256

/* What the shorter serial numbers have of a UUID. */
#define SHORT_BYTES 20

static int open_openstack(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {"openstack", NULL, CLOUD_NEEDS_ID | CLOUD_NEEDS_ZONE};

        if (config->volume_limit > LIMIT)
                return error_set(err, ERROR_INVALID, "--volume-limit: expected at most %d", LIMIT);
        return cloud_open(config, &options, selfp, err);
}

static bool match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_OPENSTACK;
}

static void put(char text[METADATA_TEXT_MAX], const char *given) {
        if (given)
                (void)snprintf(text, METADATA_TEXT_MAX, "%s", given);
}

/* Upstream's order: the configuration drive, then the service. Who names a service means it. */
static int who_am_i(Cloud *cloud, const Call *call, MetadataNode *node, Error *err) {
        const ProviderConfig *config = &cloud->config;
        MetadataNode found = {0};
        Error drive_error = {0};
        int r;

        pthread_mutex_lock(&cloud->mutex);
        *node = cloud->node;
        r = cloud->is_known;
        pthread_mutex_unlock(&cloud->mutex);
        if (r)
                return 0;
        if (config->metadata_url || (config->node_id && config->zone))
                return cloud_node(cloud, call, node, err);
        r = openstack_read_drive(config->root_path,
                                 facts_text(config->platform->facts, FACT_PRODUCT_UUID), &found,
                                 &drive_error);
        if (r != 0) {
                if (r < 0)
                        log_warning("the configuration drive: %s", drive_error.message);
                return cloud_node(cloud, call, node, err);
        }
        put(found.instance_id, config->node_id);
        put(found.zone, config->zone);
        put(found.region, config->region);
        pthread_mutex_lock(&cloud->mutex);
        cloud->node = found;
        cloud->is_known = true;
        pthread_mutex_unlock(&cloud->mutex);
        *node = found;
        return 0;
}

static int is_ready(void *self, const Call *call, Error *err) {
        MetadataNode node;

        return who_am_i(self, call, &node, err);
}

static int node_info_of(void *self, const Call *call, NodeInfo *info, Error *err) {
        MetadataNode node = {0};
        int r = who_am_i(self, call, &node, err);
        const StringPair segments[] = {{"topology.cinder.csi.openstack.org/zone", node.zone}};

        return r < 0 ? r
                     : cloud_info(call, node.instance_id, cloud_limit(self, LIMIT), segments,
                                  N_ELEMENTS(segments), info, err);
}

static void without_dashes(const char *id, char *digits, size_t n_digits) {
        size_t n = 0;

        for (; *id && n + 1 < n_digits; id++)
                if (*id != '-')
                        digits[n++] = *id;
        digits[n] = '\0';
}

static void want(DiskWanted *wanted, const char *id) {
        char brief[SHORT_BYTES + 1], digits[128];

        (void)snprintf(brief, sizeof(brief), "%s", id);
        without_dashes(id, digits, sizeof(digits));
        disk_want_identity(wanted, DISK_PROOF_SERIAL, DISK_BUS_VIRTIO, NULL, NULL, id);
        disk_want_identity(wanted, DISK_PROOF_SERIAL, DISK_BUS_SCSI, "QEMU", NULL, id);
        disk_want_identity(wanted, DISK_PROOF_SERIAL, DISK_BUS_SCSI, "QEMU", NULL, brief);
        disk_want_identity(wanted, DISK_PROOF_DESIGNATOR, DISK_BUS_SCSI, "QEMU", NULL, id);
        disk_want_identity(wanted, DISK_PROOF_DESIGNATOR, DISK_BUS_SCSI, "QEMU", NULL, brief);
        disk_want_identity(wanted, DISK_PROOF_WWID, DISK_BUS_ANY, NULL, NULL, digits);
        disk_want_link(wanted, "/dev/disk/by-id/virtio-%s", brief);
        disk_want_link(wanted, "/dev/disk/by-id/virtio-%s", id);
        disk_want_link(wanted, "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_%s", brief);
        disk_want_link(wanted, "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_%s", id);
        disk_want_link(wanted, "/dev/disk/by-id/wwn-0x%s", digits);
}

/* The path that Nova tells the controller (DevicePath) is a guess, upstream says so too: it is not
 * looked at. */
static int find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                       Error *err) {
        const Cloud *cloud = self;
        DiskWanted wanted = {.name = volume->volume_id};

        if (cloud_publish_value(volume, "ConnectionInfo"))
                return error_set(err, ERROR_UNSUPPORTED,
                                 "publish_context[ConnectionInfo]: the volume is attached by "
                                 "os-brick on the node (direct mode), which is not done here: only "
                                 "disks that Nova attached are served");
        if (strlen(volume->volume_id) < SHORT_BYTES)
                return error_set(err, ERROR_INVALID, "volume_id: \"%.32s\", expected a UUID",
                                 volume->volume_id);
        want(&wanted, volume->volume_id);
        return disk_find(&cloud->config, call, &wanted, device, err);
}

/* clang-format off */
static const char *const fs_types[] = {"ext4", "ext3", "xfs", "btrfs", NULL};
static const FormatParameter parameters[] = {
        {"mkfs-options", "", NULL, NULL, NULL},
        {NULL, NULL, NULL, NULL, NULL},
};
/* clang-format on */

const Provider provider_openstack = {
        .name = "openstack",
        .driver_name = "cinder.csi.openstack.org",
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE |
                 PROVIDER_BLOCK_MULTI_WRITER,
        .format = {.default_fs_type = "ext4", .fs_types = fs_types, .parameters = parameters},
        .match = match,
        .open = open_openstack,
        .close = cloud_close,
        .ready = is_ready,
        .node_info = node_info_of,
        .find_device = find_device,
        .rescan_device = cloud_rescan,
};
