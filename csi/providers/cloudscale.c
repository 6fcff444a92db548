/* SPDX-License-Identifier: Apache-2.0 */

/*
 * csi.cloudscale.ch, the node half: volumes that the driver's controller attaches. Source:
 * cloudscale-ch/csi-cloudscale, driver/node.go, mounter.go and luks_util.go.
 *
 * A handle is a UUID, which the disk has as its SCSI designator. The machines are QEMU's and say
 * nothing of the cloud, so that this provider is only taken when it is asked for.
 */

#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/cloud/disk.h"
#include "csi/providers/cloud.h"
#include "csi/providers/encrypted.h"

#define DRIVER "csi.cloudscale.ch"

#define KEY_NAME       DRIVER "/volume-name"
#define KEY_ENCRYPTED  DRIVER "/luks-encrypted"
#define KEY_CIPHER     DRIVER "/luks-cipher"
#define KEY_KEY_SIZE   DRIVER "/luks-key-size"
#define KEY_PASSPHRASE "luksKey"

/* 128, less the root volume, one for containers' images and one beside CSI. */
#define VOLUMES_DEFAULT 125

#define VOLUMES_MAX_ENV "CLOUDSCALE_MAX_CSI_VOLUMES_PER_NODE"

/* Shorter is a name that many disks may have. */
#define ID_MIN_CHARS 20
#define ID_MAX_CHARS 64

static int cloudscale_open(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {
                .service = "cloudscale",
                .needs = CLOUD_NEEDS_ID | CLOUD_NEEDS_ZONE,
        };

        return cloud_open(config, &options, selfp, err);
}

static uint64_t volumes_max(void) {
        const char *text = getenv(VOLUMES_MAX_ENV);
        uint64_t value;

        return text && str_parse_u64(text, INT64_MAX, &value) == 0 ? value : VOLUMES_DEFAULT;
}

static int cloudscale_node_info(void *self, const Call *call, NodeInfo *info, Error *err) {
        Cloud *cloud = self;
        MetadataNode node;
        int r;

        r = cloud_node(cloud, call, &node, err);
        return r < 0 ? r
                     : cloud_info(call, node.instance_id, cloud_limit(cloud, volumes_max()),
                                  (const StringPair[]){{DRIVER "/zone", node.zone}}, 1, info, err);
}

static int cloudscale_find_device(void *self, const Call *call, const VolumeRef *volume,
                                  Device *device, Error *err) {
        const Cloud *cloud = self;
        const char *id = volume->volume_id;
        DiskWanted wanted = {.name = id};

        if (strlen(id) < ID_MIN_CHARS || strlen(id) > ID_MAX_CHARS ||
            strspn(id, "0123456789abcdef-") != strlen(id))
                return error_set(err, ERROR_NOT_FOUND, "volume %.64s: expected a UUID", id);
        disk_want_identity(&wanted, DISK_PROOF_DESIGNATOR, DISK_BUS_SCSI, "QEMU", "QEMU HARDDISK",
                           id);
        disk_want_link(&wanted, "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_%s", id);
        return disk_find(&cloud->config, call, &wanted, device, err);
}

/* The name of the mapper is not in the volume's ID: without a context it is not known. */
static int cloudscale_encryption(void *self, const VolumeRef *volume, Encryption *encryption,
                                 Error *err) {
        const char *name = cloud_publish_value(volume, KEY_NAME);
        int r;

        *encryption = (Encryption){.version = 1};
        encrypted_set_passphrase(encryption, volume, KEY_PASSPHRASE);
        if (encrypted_has_no_context(volume))
                return 0;
        if (!str_equal(cloud_publish_value(volume, KEY_ENCRYPTED), "true"))
                return PROVIDER_E_PLAIN;
        if (str_is_empty(name))
                return error_set(err, ERROR_INVALID, "publish_context[" KEY_NAME "]: missing");
        r = encrypted_set_cipher(encryption, "publish_context: " DRIVER,
                                 cloud_publish_value(volume, KEY_CIPHER),
                                 cloud_publish_value(volume, KEY_KEY_SIZE), err);
        return r < 0 ? r : encrypted_set_name(encryption, err, "%s", name);
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", NULL};

const Provider provider_cloudscale = {
        .name = "cloudscale",
        .driver_name = DRIVER,
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE,
        .format =
                {
                        .default_fs_type = "ext4",
                        .fs_types = fs_types,
                        .minimum_bytes = UINT64_C(1) << 30,
                },
        .open = cloudscale_open,
        .close = cloud_close,
        .ready = cloud_ready,
        .node_info = cloudscale_node_info,
        .find_device = cloudscale_find_device,
        .rescan_device = cloud_rescan,
        .encryption = cloudscale_encryption,
};
