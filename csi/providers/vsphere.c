/* SPDX-License-Identifier: Apache-2.0 */

/*
 * csi.vsphere.vmware.com: First Class Disks, SCSI or NVMe disks whose world-wide name is the disk's
 * UUID (virtual machines need disk.EnableUUID). As far as a node gets without the Kubernetes API:
 * its UUID is read from the firmware, and the topology that upstream's node asks of a
 * CSINodeTopology object is given by --zone and --region. File volumes are not served. Source:
 * kubernetes-sigs/vsphere-csi-driver, pkg/csi/service/{node.go,osutils/}.
 */

#include "csi/cloud/disk.h"
#include "csi/providers/cloud.h"
#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/platform/platform.h"

#include <ctype.h>
#include <stdio.h>

#define LIMIT     59
#define LIMIT_MAX 255

/* The categories of the example in upstream's documentation. */
#define KEY_ZONE   "topology.csi.vmware.com/k8s-zone"
#define KEY_REGION "topology.csi.vmware.com/k8s-region"

#define BLOCK_TYPE "vSphere CNS Block Volume"

#define UUID_DIGITS 32

/* Hexadecimal digits of @text, which may have @ignored characters between them. Return: 0; -EINVAL
 * if there are others, or not 32. */
static int parse_uuid(const char *text, const char *ignored, char digits[UUID_DIGITS + 1]) {
        size_t n = 0;

        for (; *text; text++) {
                if (strchr(ignored, *text))
                        continue;
                if (!isxdigit((unsigned char)*text) || n == UUID_DIGITS)
                        return -EINVAL;
                digits[n++] = (char)tolower((unsigned char)*text);
        }
        digits[n] = '\0';
        return n == UUID_DIGITS ? 0 : -EINVAL;
}

/* "VMware-56 4d 9a 0c 11 22 33 44-55 66 77 88 99 aa bb cc". Upstream moved here from the product's
 * UUID, whose byte order depends on the hardware version. */
static int node_uuid(const Platform *platform, char uuid[64], Error *err) {
        const char *serial = facts_text(platform->facts, FACT_PRODUCT_SERIAL);
        char digits[UUID_DIGITS + 1];

        if (!str_has_prefix(serial, "VMware-") ||
            parse_uuid(serial + strlen("VMware-"), " -", digits) < 0)
                return error_set(err, ERROR_PRECONDITION,
                                 "/sys/class/dmi/id/product_serial: \"%.64s\", expected that of a "
                                 "VMware virtual machine, which only root may read: mount /sys, or "
                                 "set --node-id to the machine's UUID",
                                 serial);
        (void)snprintf(uuid, 64, "%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8, digits + 12,
                       digits + 16, digits + 20);
        return 0;
}

static int open_vsphere(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {.needs = 0};

        if (config->volume_limit > LIMIT_MAX)
                return error_set(err, ERROR_INVALID, "--volume-limit: expected at most %d",
                                 LIMIT_MAX);
        return cloud_open(config, &options, selfp, err);
}

static bool match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_VMWARE;
}

/* Of upstream's manifest; as wrong as there, it is an error. */
static int environment_limit(uint64_t *limitp, Error *err) {
        const char *text = getenv("MAX_VOLUMES_PER_NODE");

        if (!str_is_empty(text) && str_parse_u64(text, LIMIT_MAX, limitp) < 0)
                return error_set(err, ERROR_INVALID,
                                 "$MAX_VOLUMES_PER_NODE: \"%.32s\", expected a number up to %d",
                                 text, LIMIT_MAX);
        return 0;
}

static int node_info_of(void *self, const Call *call, NodeInfo *info, Error *err) {
        const Cloud *cloud = self;
        const ProviderConfig *config = &cloud->config;
        const StringPair segments[] = {{KEY_ZONE, config->zone}, {KEY_REGION, config->region}};
        const char *id = config->node_id;
        uint64_t limit = LIMIT;
        char uuid[64];
        int r = environment_limit(&limit, err);

        if (r == 0 && str_is_empty(id)) {
                r = node_uuid(config->platform, uuid, err);
                id = uuid;
        }
        return r < 0 ? r
                     : cloud_info(call, id, cloud_limit(cloud, limit), segments,
                                  N_ELEMENTS(segments), info, err);
}

static int is_ready(void *self, const Call *call, Error *err) {
        NodeInfo info;

        return node_info_of(self, call, &info, err);
}

static int find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                       Error *err) {
        const Cloud *cloud = self;
        const char *type = cloud_publish_value(volume, "type");
        const char *uuid = cloud_publish_value(volume, "diskUUID");
        DiskWanted wanted = {.name = volume->volume_id};
        char digits[UUID_DIGITS + 1];

        if (!str_is_empty(type) && !str_equal(type, BLOCK_TYPE))
                return error_set(err, ERROR_UNSUPPORTED,
                                 "publish_context[type]: \"%.64s\": only block volumes are served, "
                                 "no file volumes",
                                 type);
        if (!uuid || parse_uuid(uuid, "-", digits) < 0)
                return error_set(err, ERROR_INVALID,
                                 "publish_context[diskUUID]: \"%.64s\", expected 32 hexadecimal "
                                 "digits",
                                 uuid ? uuid : "");
        disk_want_identity(&wanted, DISK_PROOF_WWID, DISK_BUS_ANY, NULL, NULL, digits);
        disk_want_link(&wanted, "/dev/disk/by-id/wwn-0x%s", digits);
        return disk_find(&cloud->config, call, &wanted, device, err);
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", NULL};

const Provider provider_vsphere = {
        .name = "vsphere",
        .driver_name = "csi.vsphere.vmware.com",
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE,
        .format = {.default_fs_type = "ext4", .fs_types = fs_types},
        .match = match,
        .open = open_vsphere,
        .close = cloud_close,
        .ready = is_ready,
        .node_info = node_info_of,
        .find_device = find_device,
        .rescan_device = cloud_rescan,
};
