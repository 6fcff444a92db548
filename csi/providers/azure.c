/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk.csi.azure.com, the node half: managed disks, which the driver's controller attaches at a
 * LUN. Source: kubernetes-sigs/azuredisk-csi-driver, pkg/azuredisk; Azure/azure-vm-utils for what
 * the LUN is on NVMe.
 *
 * A disk does not say which one it is: its place is the proof, and only the controllers of data
 * disks count, so that it is never the disk of the system or the temporary one.
 */

#include "csi/providers/list.h"

#include "common/base/str.h"
#include "common/platform/platform.h"
#include "csi/cloud/disk.h"
#include "csi/cloud/limits.h"
#include "csi/providers/cloud.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define KEY_LUN               "LUN"
#define KEY_FS_TYPE           "fstype"
#define KEY_PARTITION         "partition"
#define KEY_PERFORMANCE       "perfprofile"
#define PREFIX_SETTING        "device-setting/"
#define FLAG_DIRECT_MOUNT     "directmount"
#define FLAG_DIRECT_MOUNT_OLD "noformat"

/* Azure has 64 data disks at most. */
#define LUN_MAX 63

/* Of the remote disks' NVMe controller; namespace 1 is the system's disk. */
#define NVME_MODEL     "MSFT NVMe Accelerator v1.0"
#define NVME_FIRST_LUN 2

/* Hyper-V's controllers of data disks; f8b3781a-... has the system's and the temporary one. */
static const char *const controllers[] = {
        "f8b3781b-1e82-4818-a1c3-63d806ec15bb",
        "f8b3781c-1e82-4818-a1c3-63d806ec15bb",
        "f8b3781d-1e82-4818-a1c3-63d806ec15bb",
};

static int azure_open(const ProviderConfig *config, void **selfp, Error *err) {
        CloudOptions options = {.service = "azure", .needs = CLOUD_NEEDS_REGION};
        ProviderConfig known = *config;

        if (config->volume_limit < 0)
                options.needs |= CLOUD_NEEDS_TYPE;
        /* The controller knows nodes by their names, and "westeurope-1" has the region in it. */
        if (!known.node_id)
                known.node_id = config->node_name;
        if (config->zone && !known.region)
                known.region = "";
        return cloud_open(&known, &options, selfp, err);
}

static void lower(char *text) {
        for (; *text; text++)
                *text = (char)tolower((unsigned char)*text);
}

static int azure_node_info(void *self, const Call *call, NodeInfo *info, Error *err) {
        Cloud *cloud = self;
        char zone[METADATA_TEXT_MAX * 2 + 1] = "";
        MetadataNode node;
        uint64_t limit;
        int r;

        r = cloud_node(cloud, call, &node, err);
        if (r < 0)
                return r;
        /* A zone that the command line gives is a label's: without the region it is a fault
         * domain. */
        if (cloud->config.zone)
                (void)snprintf(zone, sizeof(zone), "%s", strchr(node.zone, '-') ? node.zone : "");
        else if (node.zone[0] != '\0')
                (void)snprintf(zone, sizeof(zone), "%s-%s", node.region, node.zone);
        lower(zone);
        limit = cloud->config.volume_limit >= 0
                        ? (uint64_t)cloud->config.volume_limit
                        : limits_azure_volumes(node.instance_type, cloud->config.reserved_volumes);
        return cloud_info(call, node.instance_id, limit,
                          (const StringPair[]){
                                  {"topology.disk.csi.azure.com/zone", zone},
                                  {"topology.kubernetes.io/zone", zone[0] ? zone : NULL},
                          },
                          2, info, err);
}

/* --- the device --- */

/* "5", or "/dev/disk/azure/scsi1/lun5". */
static int parse_lun(const char *text, uint64_t *lunp, Error *err) {
        const char *digits = text;

        if (str_is_empty(text))
                return error_set(err, ERROR_INVALID, "publish_context[" KEY_LUN "]: missing");
        if (strlen(text) > 2 && str_has_prefix(text, "/dev/") && strstr(text, "/disk/azure/scsi") &&
            strrchr(text, '/') && str_has_prefix(strrchr(text, '/'), "/lun"))
                digits = strrchr(text, '/') + strlen("/lun");
        if (str_parse_u64(digits, LUN_MAX, lunp) < 0)
                return error_set(err, ERROR_INVALID,
                                 "publish_context[" KEY_LUN
                                 "]: \"%.64s\", expected a number up to %d",
                                 text, LUN_MAX);
        return 0;
}

/* "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/name" */
static const char *disk_name(const char *volume_id) {
        const char *last = strrchr(volume_id, '/');

        return last && last[1] ? last + 1 : volume_id;
}

static int azure_find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                             Error *err) {
        const Cloud *cloud = self;
        DiskWanted wanted = {.name = disk_name(volume->volume_id)};
        char text[16];
        uint64_t lun;
        int r;

        r = parse_lun(cloud_publish_value(volume, KEY_LUN), &lun, err);
        if (r == 0)
                r = cloud_partition(volume, KEY_PARTITION, &wanted.partition, err);
        if (r < 0)
                return r;
        (void)snprintf(text, sizeof(text), "%u", (unsigned int)lun);
        for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++)
                disk_want_identity(&wanted, DISK_PROOF_LUN, DISK_BUS_SCSI, "Msft", "Virtual Disk",
                                   text)
                        ->parent = controllers[i];
        (void)snprintf(text, sizeof(text), "%u", (unsigned int)lun + NVME_FIRST_LUN);
        disk_want_identity(&wanted, DISK_PROOF_NSID, DISK_BUS_NVME, NULL, NVME_MODEL, text);
        disk_want_link(&wanted, "/dev/disk/azure/data/by-lun/%u", (unsigned int)lun);
        disk_want_link(&wanted, "/dev/disk/azure/scsi1/lun%u", (unsigned int)lun);
        return disk_find(&cloud->config, call, &wanted, device, err);
}

/* --- what a volume asks for --- */

static int take_flag(const Call *call, const char *flag, void *userdata, Error *err) {
        Wishes *wishes = userdata;

        if (!str_equal(flag, FLAG_DIRECT_MOUNT) && !str_equal(flag, FLAG_DIRECT_MOUNT_OLD))
                return 0;
        wishes->never_formats = true;
        return 1;
}

/* Settings of the profile "advanced": "device-setting/queue/max_sectors_kb". */
static int add_settings(const VolumeRef *volume, Wishes *wishes, Error *err) {
        const StringMap *context = volume->volume_context;

        for (size_t i = 0; context && i < context->n_pairs; i++) {
                const char *attribute = context->pairs[i].key, *value = context->pairs[i].value;

                if (strncasecmp(attribute, PREFIX_SETTING, strlen(PREFIX_SETTING)) != 0)
                        continue;
                attribute += strlen(PREFIX_SETTING);
                if (!(str_has_prefix(attribute, "queue/") ||
                      str_has_prefix(attribute, "device/")) ||
                    strstr(attribute, ".."))
                        return error_set(err, ERROR_INVALID,
                                         "volume_context[" PREFIX_SETTING
                                         "%.64s]: expected something below queue/ or device/",
                                         attribute);
                if (wishes->n_tunings == TUNINGS_MAX)
                        return error_set(err, ERROR_INVALID,
                                         "volume_context: more than %d device settings",
                                         TUNINGS_MAX);
                wishes->tunings[wishes->n_tunings++] =
                        (Tuning){.attribute = attribute, .value = value};
        }
        return 0;
}

static int azure_adapt(void *self, const Call *call, const VolumeRef *volume,
                       VolumeCapability *capability, Wishes *wishes, Error *err) {
        const char *fs_type = cloud_volume_value(volume, KEY_FS_TYPE);
        const char *profile = cloud_volume_value(volume, KEY_PERFORMANCE);
        int r;

        if (capability->is_block)
                return 0;
        if (!str_is_empty(fs_type))
                capability->fs_type = fs_type;
        r = cloud_filter_flags(call, capability, take_flag, wishes, err);
        if (r == 0 && profile && strcasecmp(profile, "advanced") == 0)
                r = add_settings(volume, wishes, err);
        return r;
}

static bool azure_match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_AZURE;
}

static const char *const fs_types[] = {"ext4", "ext3", "ext2", "xfs", "btrfs", NULL};

const Provider provider_azure = {
        .name = "azure",
        .driver_name = "disk.csi.azure.com",
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_SINGLE_NODE_MULTI_WRITER |
                 PROVIDER_BLOCK_MULTI_WRITER,
        .format =
                {
                        .default_fs_type = "ext4",
                        .fs_types = fs_types,
                        .minimum_bytes = UINT64_C(1) << 30,
                },
        .match = azure_match,
        .open = azure_open,
        .close = cloud_close,
        .ready = cloud_ready,
        .node_info = azure_node_info,
        .find_device = azure_find_device,
        .rescan_device = cloud_rescan,
        .adapt = azure_adapt,
};
