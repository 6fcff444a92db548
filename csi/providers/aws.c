/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ebs.csi.aws.com, the node half: EBS volumes, which the driver's controller attaches. Source:
 * kubernetes-sigs/aws-ebs-csi-driver, pkg/driver/node.go and controller.go.
 *
 * On Nitro instances a volume is an NVMe controller whose serial number is the volume's ID. On Xen
 * the hypervisor tells only the name that the volume was attached by.
 */

#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/platform/platform.h"
#include "csi/cloud/disk.h"
#include "csi/cloud/limits.h"
#include "csi/providers/cloud.h"

#include <ctype.h>

#define MODEL "Amazon Elastic Block Store"

/* Of a volume that every node has one of its own of: the device's name in the instance. */
#define LOCAL_PREFIX "local-ebs://"

#define KEY_DEVICE_PATH "devicePath"
#define KEY_VOLUME_ID   "volumeID"
#define KEY_PARTITION   "partition"

/* Longer than any: "vol-" and 17 digits. */
#define VOLUME_ID_MAX 64

/* arn:aws:outposts:us-west-2:123456789012:outpost/op-1234567890abcdef0 */
#define ARN_FIELDS 6

static int aws_open(const ProviderConfig *config, void **selfp, Error *err) {
        const char *disabled = getenv("AWS_EC2_METADATA_DISABLED");
        bool has_service = !str_equal(disabled, "true") &&
                           !(config->node_name && str_has_prefix(config->node_name, "hyperpod-"));
        CloudOptions options = {
                .service = has_service ? "aws" : NULL,
                .needs = CLOUD_NEEDS_ID | CLOUD_NEEDS_ZONE,
        };
        ProviderConfig known = *config;

        if (config->volume_limit < 0)
                options.needs |= CLOUD_NEEDS_TYPE;
        /* What the firmware tells is as good, but for the zone. */
        if (config->platform && (!has_service || config->zone)) {
                if (!known.node_id && config->platform->cloud_instance_id[0])
                        known.node_id = config->platform->cloud_instance_id;
                if (!known.instance_type && config->platform->cloud_instance_type[0])
                        known.instance_type = config->platform->cloud_instance_type;
        }
        return cloud_open(&known, &options, selfp, err);
}

/* --- NodeGetInfo --- */

static unsigned int count(Cloud *cloud, const Call *call, const char *path, const char *word,
                          unsigned int otherwise) {
        cleanup(freep) char *text = NULL;
        Error error = {0};

        if (!cloud->metadata)
                return otherwise;
        if (metadata_get(cloud->metadata, call, path, METADATA_FRESH, &text, NULL, &error) == 0)
                return metadata_count_lines(text, word);
        log_warning("the volume limit may be wrong, %u is taken for %s: %s", otherwise, path,
                    error.message);
        return otherwise;
}

/* Network interfaces come and go, so both are asked for each time. */
static uint64_t limit(Cloud *cloud, const Call *call, const char *type) {
        LimitsAwsUse use = {.reserved = cloud->config.has_reserved_volumes
                                                ? (int64_t)cloud->config.reserved_volumes
                                                : -1,
                            .n_interfaces = 1};

        if (cloud->config.volume_limit >= 0)
                return (uint64_t)cloud->config.volume_limit;
        if (limits_aws_type(type).is_shared)
                use.n_interfaces = count(cloud, call, METADATA_PATH_AWS_MACS, NULL, 1);
        if (use.reserved < 0)
                use.n_block_devices = count(cloud, call, METADATA_PATH_AWS_BLOCK_DEVICES, "ebs", 0);
        return limits_aws_volumes(type, &use);
}

/* The fields of an ARN, cut up in place; false if it is none. */
static bool split_arn(char *arn, const char *fields[ARN_FIELDS]) {
        for (size_t i = 0; i < ARN_FIELDS; i++) {
                char *colon = strchr(arn, ':');

                fields[i] = arn;
                if (i + 1 == ARN_FIELDS)
                        break;
                if (!colon)
                        return false;
                *colon = '\0';
                arn = colon + 1;
        }
        return str_equal(fields[0], "arn") && str_has_prefix(fields[5], "outpost/");
}

/* Only instances on an Outpost have one; the answer's text is the caller's to free. */
static int read_outpost(Cloud *cloud, const Call *call, char **textp,
                        const char *fields[ARN_FIELDS], Error *err) {
        Error error = {0};
        int r;

        if (!cloud->metadata)
                return 0;
        r = metadata_get(cloud->metadata, call, METADATA_PATH_AWS_OUTPOST, 0, textp, NULL, &error);
        if (r < 0 && error.code == ERROR_NOT_FOUND)
                return 0;
        /* The command line knows the node, and the service is not there. */
        if (r < 0 && cloud->config.zone)
                return 0;
        if (r < 0) {
                error_move(err, &error);
                return r;
        }
        str_trim_end(*textp);
        if (**textp == '\0' || split_arn(*textp, fields))
                return 0;
        return error_set(err, ERROR_UNAVAILABLE,
                         "the metadata service's outpost-arn is not an ARN");
}

static int aws_node_info(void *self, const Call *call, NodeInfo *info, Error *err) {
        Cloud *cloud = self;
        cleanup(freep) char *outpost = NULL;
        const char *arn[ARN_FIELDS] = {NULL};
        MetadataNode node;
        int r;

        r = cloud_node(cloud, call, &node, err);
        if (r == 0)
                r = read_outpost(cloud, call, &outpost, arn, err);
        if (r < 0)
                return r;
        return cloud_info(call, node.instance_id, limit(cloud, call, node.instance_type),
                          (const StringPair[]){
                                  {"topology.kubernetes.io/zone", node.zone},
                                  {"topology.ebs.csi.aws.com/zone", node.zone},
                                  {"kubernetes.io/os", "linux"},
                                  {"topology.ebs.csi.aws.com/partition", arn[1]},
                                  {"topology.ebs.csi.aws.com/region", arn[3]},
                                  {"topology.ebs.csi.aws.com/account-id", arn[4]},
                                  {"topology.ebs.csi.aws.com/outpost-id",
                                   arn[5] ? arn[5] + strlen("outpost/") : NULL},
                          },
                          7, info, err);
}

/* --- the device --- */

static bool is_local(const VolumeRef *volume) {
        return str_has_prefix(volume->volume_id, LOCAL_PREFIX);
}

/* "vol-0123" becomes "vol0123", as disks say it. */
static int parse_volume_id(const char *id, char serial[VOLUME_ID_MAX], Error *err) {
        size_t n = strlen(id);
        bool good = str_has_prefix(id, "vol-") && n > 4 && n < VOLUME_ID_MAX;

        for (size_t i = 4; good && i < n; i++)
                good = islower((unsigned char)id[i]) || isdigit((unsigned char)id[i]);
        if (!good)
                return error_set(err, ERROR_NOT_FOUND,
                                 "volume %.64s: expected \"vol-\" and letters and digits", id);
        (void)snprintf(serial, VOLUME_ID_MAX, "vol%s", id + 4);
        return 0;
}

/* "/dev/sdf" and "/dev/xvdf" are the same to a Xen instance. */
static void want_xen(DiskWanted *wanted, const char *device_path) {
        const char *name = device_path;
        char xen[64];

        if (str_is_empty(name))
                return;
        if (str_has_prefix(name, "/dev/"))
                name += strlen("/dev/");
        if (str_has_prefix(name, "sd"))
                (void)snprintf(xen, sizeof(xen), "xvd%.32s", name + 2);
        else
                (void)snprintf(xen, sizeof(xen), "%.40s", name);
        disk_want_identity(wanted, DISK_PROOF_XEN_NAME, DISK_BUS_XEN, NULL, NULL, xen);
}

static int aws_find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                           Error *err) {
        const Cloud *cloud = self;
        const char *id = volume->volume_id;
        DiskWanted wanted = {0};
        char serial[VOLUME_ID_MAX];
        int r;

        if (is_local(volume)) {
                id = cloud_publish_value(volume, KEY_VOLUME_ID);
                if (str_is_empty(id))
                        return error_set(err, ERROR_INVALID,
                                         "publish_context[" KEY_VOLUME_ID
                                         "]: missing, and %.128s does not say which volume it is",
                                         volume->volume_id);
        }
        r = parse_volume_id(id, serial, err);
        if (r == 0)
                r = cloud_partition(volume, KEY_PARTITION, &wanted.partition, err);
        if (r < 0)
                return r;
        wanted.name = id;
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_NVME, NULL, MODEL, serial);
        want_xen(&wanted, cloud_publish_value(volume, KEY_DEVICE_PATH));
        disk_want_link(&wanted, "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_%s", serial);
        return disk_find(&cloud->config, call, &wanted, device, err);
}

/* Each node has a disk of its own behind the one volume, so that many nodes may write. */
static int aws_adapt(void *self, const Call *call, const VolumeRef *volume,
                     VolumeCapability *capability, Wishes *wishes, Error *err) {
        if (is_local(volume) && capability->access_mode == ACCESS_MODE_MULTI_NODE_MULTI_WRITER)
                capability->access_mode = ACCESS_MODE_SINGLE_NODE_WRITER;
        return 0;
}

static bool aws_match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_AWS;
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", NULL};

static const FormatParameter parameters[] = {
        {"blocksize", "ext4", "-b", NULL, NULL},
        {"blocksize", "ext3", "-b", NULL, NULL},
        {"blocksize", "xfs", "-b", "size=", NULL},
        {"inodesize", "ext4", "-I", NULL, NULL},
        {"inodesize", "ext3", "-I", NULL, NULL},
        {"inodesize", "xfs", "-i", "size=", NULL},
        {"bytesperinode", "ext4", "-i", NULL, NULL},
        {"bytesperinode", "ext3", "-i", NULL, NULL},
        {"numberofinodes", "ext4", "-N", NULL, NULL},
        {"numberofinodes", "ext3", "-N", NULL, NULL},
        {"ext4bigalloc", "ext4", "-O", "bigalloc", "true"},
        {"ext4clustersize", "ext4", "-C", NULL, NULL},
        {"ext4encryptionsupport", "ext4", "-O", "encrypt", "true"},
        {NULL, NULL, NULL, NULL, NULL},
};

const Provider provider_aws = {
        .name = "aws",
        .driver_name = "ebs.csi.aws.com",
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_BLOCK_MULTI_WRITER,
        .format =
                {
                        .default_fs_type = "ext4",
                        .fs_types = fs_types,
                        .parameters = parameters,
                        .minimum_bytes = UINT64_C(1) << 30,
                },
        .match = aws_match,
        .open = aws_open,
        .close = cloud_close,
        .ready = cloud_ready,
        .node_info = aws_node_info,
        .find_device = aws_find_device,
        .rescan_device = cloud_rescan,
        .adapt = aws_adapt,
};
