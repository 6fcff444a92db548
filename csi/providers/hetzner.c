/* SPDX-License-Identifier: Apache-2.0 */

/*
 * csi.hetzner.cloud, the node half: volumes that the driver's controller attaches. Nothing is
 * staged; a volume is formatted and mounted right at its target. Source: hetznercloud/csi-driver,
 * internal/driver/node.go and internal/volumes/.
 *
 * The disk's SCSI serial number is the volume's ID (upstream's pull request 1457).
 */

#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/platform/platform.h"
#include "csi/cloud/disk.h"
#include "csi/providers/cloud.h"
#include "csi/providers/encrypted.h"

#include <ctype.h>

#define LINK_NAME "scsi-0HC_Volume_"

#define KEY_DEVICE_PATH "devicePath"
#define KEY_PASSPHRASE  "encryption-passphrase"

#define VOLUMES_MAX  16
#define ID_MAX_CHARS 19

static const char *location_override(void) {
        return getenv("HCLOUD_VOLUME_DEFAULT_LOCATION");
}

static int hetzner_open(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {
                .service = "hetzner",
                .needs = CLOUD_NEEDS_ID | (location_override() ? 0U : CLOUD_NEEDS_ZONE),
        };

        return cloud_open(config, &options, selfp, err);
}

/* "fsn1" of the zone "fsn1-dc14"; a zone that the command line gives may be the location alone. */
static int find_location(const Cloud *cloud, const char *zone, char *location, size_t n,
                         Error *err) {
        const char *dash = strchr(zone, '-');
        bool good = dash ? dash != zone && dash[1] != '\0' && !strchr(dash + 1, '-')
                         : cloud->config.zone && zone[0] != '\0';

        if (!good)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "the availability zone of this node is \"%.64s\", expected one "
                                 "like \"fsn1-dc14\" (or set HCLOUD_VOLUME_DEFAULT_LOCATION)",
                                 zone);
        (void)snprintf(location, n, "%.*s", (int)strcspn(zone, "-"), zone);
        return 0;
}

static int hetzner_node_info(void *self, const Call *call, NodeInfo *info, Error *err) {
        Cloud *cloud = self;
        const char *provided = getenv("ENABLE_PROVIDED_BY_TOPOLOGY");
        bool is_provided = str_equal(provided, "true") || str_equal(provided, "1") ||
                           str_equal(provided, "t") || str_equal(provided, "T") ||
                           str_equal(provided, "TRUE") || str_equal(provided, "True");
        char location[METADATA_TEXT_MAX];
        MetadataNode node;
        int r;

        r = cloud_node(cloud, call, &node, err);
        if (r < 0)
                return r;
        if (location_override())
                (void)snprintf(location, sizeof(location), "%s", location_override());
        else
                r = find_location(cloud, node.zone, location, sizeof(location), err);
        if (r < 0)
                return r;
        return cloud_info(
                call, node.instance_id, cloud_limit(cloud, VOLUMES_MAX),
                (const StringPair[]){
                        {"csi.hetzner.cloud/location", location},
                        {"instance.hetzner.cloud/provided-by", is_provided ? "cloud" : NULL},
                },
                2, info, err);
}

static int check_id(const char *id, Error *err) {
        size_t n = strlen(id);

        if (n > 0 && n <= ID_MAX_CHARS && strspn(id, "0123456789") == n)
                return 0;
        return error_set(err, ERROR_NOT_FOUND, "volume %.64s: expected a number", id);
}

static int hetzner_find_device(void *self, const Call *call, const VolumeRef *volume,
                               Device *device, Error *err) {
        const Cloud *cloud = self;
        const char *path = cloud_publish_value(volume, KEY_DEVICE_PATH);
        DiskWanted wanted = {.name = volume->volume_id};
        int r;

        r = check_id(volume->volume_id, err);
        if (r < 0)
                return r;
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_SCSI, "HC", "Volume",
                           volume->volume_id);
        disk_want_link(&wanted, "/dev/disk/by-id/" LINK_NAME "%s", volume->volume_id);
        if (!str_is_empty(path))
                disk_want_link(&wanted, "%.180s", path);
        return disk_find(&cloud->config, call, &wanted, device, err);
}

/* Encrypted is what has a passphrase; upstream's cryptsetup(8) reads it from a pipe and takes the
 * first line. */
static int hetzner_encryption(void *self, const VolumeRef *volume, Encryption *encryption,
                              Error *err) {
        *encryption = (Encryption){
                .version = 1,
                .cipher = "aes-xts-plain64",
                .key_bits = 512,
                .allows_discards = true,
        };
        encrypted_set_passphrase(encryption, volume, KEY_PASSPHRASE);
        if (encryption->passphrase)
                encryption->n_passphrase = strcspn(encryption->passphrase, "\n");
        else if (!encrypted_has_no_context(volume))
                return PROVIDER_E_PLAIN;
        return encrypted_set_name(encryption, err, LINK_NAME "%s", volume->volume_id);
}

static bool hetzner_match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_HETZNER;
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", "btrfs", NULL};

/* What upstream takes from xfsprogs' lts_4.19.conf, so that the file need not be there. */
static const char *const xfs_words[] = {
        "-m", "crc=1,bigtime=0,finobt=1,inobtcount=0,reflink=0,rmapbt=0",
        "-i", "sparse=1,nrext64=0",
        NULL,
};

static const FormatDefault defaults[] = {
        {"xfs", xfs_words},
        {NULL, NULL},
};

static const FormatParameter parameters[] = {
        {"fsFormatOptions", "", NULL, NULL, NULL},
        {NULL, NULL, NULL, NULL, NULL},
};

const Provider provider_hetzner = {
        .name = "hetzner",
        .driver_name = "csi.hetzner.cloud",
        .flags = PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE | PROVIDER_EXPANDS_OFFLINE,
        .format =
                {
                        .default_fs_type = "ext4",
                        .fs_types = fs_types,
                        .defaults = defaults,
                        .parameters = parameters,
                        .minimum_bytes = UINT64_C(10) << 30,
                },
        .match = hetzner_match,
        .open = hetzner_open,
        .close = cloud_close,
        .ready = cloud_ready,
        .node_info = hetzner_node_info,
        .find_device = hetzner_find_device,
        .rescan_device = cloud_rescan,
        .encryption = hetzner_encryption,
};
