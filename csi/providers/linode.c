/* SPDX-License-Identifier: Apache-2.0 */

/*
 * linodebs.csi.linode.com, the node half: Block Storage volumes of Linode (Akamai), which the
 * driver's controller attaches. Source: linode/linode-blockstorage-csi-driver, internal/driver/ and
 * pkg/device-manager/device.go.
 *
 * A handle is "<id>-<label>"; the disk's SCSI designator is the volume's label.
 */

#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/platform/platform.h"
#include "csi/cloud/disk.h"
#include "csi/providers/cloud.h"
#include "csi/providers/encrypted.h"

#include <fcntl.h>
#include <jansson.h>

#define DRIVER "linodebs.csi.linode.com"

#define KEY_DEVICE_PATH "devicePath"
#define KEY_PARTITION   "partition"
#define KEY_ENCRYPTED   DRIVER "/luks-encrypted"
#define KEY_CIPHER      DRIVER "/luks-cipher"
#define KEY_KEY_SIZE    DRIVER "/luks-key-size"
#define KEY_PASSPHRASE  "luksKey"

/* Upstream's controller cuts labels at this. */
#define LABEL_MAX 32

/* As many as GiB of memory, but within this. */
#define VOLUMES_LEAST UINT64_C(8)
#define VOLUMES_MOST  UINT64_C(64)

#define DISKS_MAX_LISTED 1024

typedef struct Linode {
        Cloud cloud; /* first */
        char dmi_id[24];
} Linode;

static void linode_close(void *self) {
        Linode *linode = self;

        if (!linode)
                return;
        cloud_deinit(&linode->cloud);
        free(linode);
}

/* The firmware's serial number of the machine is its ID; of a foreign machine it is anything. */
static void read_dmi(Linode *linode, const Platform *platform) {
        const char *serial;

        if (!platform || platform->cloud != PLATFORM_CLOUD_LINODE)
                return;
        serial = facts_text(platform->facts, FACT_PRODUCT_SERIAL);
        if (str_is_empty(serial) || strlen(serial) >= sizeof(linode->dmi_id) ||
            strspn(serial, "0123456789") != strlen(serial))
                return;
        (void)snprintf(linode->dmi_id, sizeof(linode->dmi_id), "%s", serial);
}

static int linode_open(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {
                .service = "linode",
                .needs = CLOUD_NEEDS_ID | CLOUD_NEEDS_REGION,
        };
        Linode *linode = calloc(1, sizeof(*linode));
        ProviderConfig known = *config;
        int r;

        if (!linode)
                return error_set_errno(err, ENOMEM, "provider linode");
        read_dmi(linode, config->platform);
        /* Upstream asks its API for the region then; here the command line must tell it. */
        if (!known.node_id && known.region && linode->dmi_id[0] != '\0')
                known.node_id = linode->dmi_id;
        r = cloud_init(&linode->cloud, &known, &options, err);
        if (r < 0)
                linode_close(linode);
        else
                *selfp = linode;
        return r;
}

/* --- NodeGetInfo --- */

static uint64_t memory_of_machine(void) {
        long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);

        /* The kernel keeps a little for itself. */
        return pages > 0 && bytes > 0
                       ? (((uint64_t)pages * (uint64_t)bytes + ((UINT64_C(1) << 30) - 1)) >> 30)
                       : 0;
}

/* GiB; what the service does not tell, the machine does. */
static uint64_t memory_gib(Linode *linode, const Call *call) {
        struct json_t *json = NULL;
        json_int_t mib = 0;

        if (!linode->cloud.config.node_id && linode->cloud.metadata &&
            metadata_get_json(linode->cloud.metadata, call, METADATA_PATH_LINODE_INSTANCE, 0, &json,
                              NULL) == 0)
                mib = json_integer_value(json_object_get(json_object_get(json, "specs"), "memory"));
        json_decref(json);
        return mib > 0 ? (uint64_t)mib >> 10 : memory_of_machine();
}

static bool is_local_disk(int block_fd, const char *name) {
        cleanup(freep) char *vendor = NULL, *type = NULL;
        char path[320];

        (void)snprintf(path, sizeof(path), "%s/device/vendor", name);
        if (file_read_at(block_fd, path, 64, &vendor, NULL) < 0)
                return false;
        str_trim_end(vendor);
        if (strcasecmp(vendor, "qemu") != 0)
                return false;
        /* 0 is a disk, 5 a CD. */
        (void)snprintf(path, sizeof(path), "%s/device/type", name);
        if (file_read_at(block_fd, path, 16, &type, NULL) < 0)
                return true;
        str_trim_end(type);
        return str_equal(type, "0");
}

/* The disks of the instance itself: of vendor QEMU, and not Linode. */
static uint64_t count_local_disks(const Linode *linode) {
        const char *root = linode->cloud.config.root_path;
        cleanup(closep) int root_fd = -1;
        cleanup(closedirp) DIR *dir = NULL;
        const struct dirent *entry;
        uint64_t n = 0;
        int fd;

        root_fd = open(str_is_empty(root) ? "/" : root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        fd = root_fd < 0 ? -1 : file_open_in_root(root_fd, "sys/block", O_RDONLY | O_DIRECTORY);
        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                closep(&fd);
                return 0;
        }
        while ((entry = readdir(dir)) && n < DISKS_MAX_LISTED)
                if (entry->d_name[0] != '.' && is_local_disk(fd, entry->d_name))
                        n++;
        return n;
}

static int linode_node_info(void *self, const Call *call, NodeInfo *info, Error *err) {
        Linode *linode = self;
        MetadataNode node;
        uint64_t most, local;
        int r;

        r = cloud_node(&linode->cloud, call, &node, err);
        if (r < 0)
                return r;
        most = memory_gib(linode, call);
        if (most < VOLUMES_LEAST)
                most = VOLUMES_LEAST;
        if (most > VOLUMES_MOST)
                most = VOLUMES_MOST;
        local = count_local_disks(linode);
        return cloud_info(call, node.instance_id,
                          cloud_limit(&linode->cloud, most > local ? most - local : 1),
                          (const StringPair[]){{"topology.linode.com/region", node.region}}, 1,
                          info, err);
}

/* --- the device --- */

/* "<id>-<label>" */
static int parse_handle(const char *id, const char **labelp, Error *err) {
        size_t n = strspn(id, "0123456789");

        if (n == 0 || id[n] != '-' || id[n + 1] == '\0' || strlen(id + n + 1) > 64)
                return error_set(err, ERROR_NOT_FOUND,
                                 "volume %.64s: expected \"<number>-<label>\"", id);
        *labelp = id + n + 1;
        return 0;
}

static int linode_find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                              Error *err) {
        const Linode *linode = self;
        const char *path = cloud_publish_value(volume, KEY_DEVICE_PATH), *label;
        DiskWanted wanted = {.name = volume->volume_id};
        char name[LABEL_MAX + 1];
        int r;

        r = parse_handle(volume->volume_id, &label, err);
        if (r == 0)
                r = cloud_partition(volume, KEY_PARTITION, &wanted.partition, err);
        if (r < 0)
                return r;
        (void)snprintf(name, sizeof(name), "%s", label);
        disk_want_identity(&wanted, DISK_PROOF_DESIGNATOR, DISK_BUS_SCSI, "Linode", "Volume", name);
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_SCSI, "Linode", "Volume", name);
        disk_want_link(&wanted, "/dev/disk/by-id/scsi-0Linode_Volume_%s", name);
        disk_want_link(&wanted, "/dev/disk/by-id/linode-%s", name);
        if (!str_is_empty(path))
                disk_want_link(&wanted, "%.180s", path);
        return disk_find(&linode->cloud.config, call, &wanted, device, err);
}

static int linode_encryption(void *self, const VolumeRef *volume, Encryption *encryption,
                             Error *err) {
        const char *label;
        int r;

        *encryption = (Encryption){.version = 2};
        if (!encrypted_has_no_context(volume)) {
                if (!str_equal(cloud_volume_value(volume, KEY_ENCRYPTED), "true"))
                        return PROVIDER_E_PLAIN;
                r = encrypted_set_cipher(encryption, "volume_context: " DRIVER,
                                         cloud_volume_value(volume, KEY_CIPHER),
                                         cloud_volume_value(volume, KEY_KEY_SIZE), err);
                if (r < 0)
                        return r;
        }
        encrypted_set_passphrase(encryption, volume, KEY_PASSPHRASE);
        r = parse_handle(volume->volume_id, &label, err);
        return r < 0 ? r : encrypted_set_name(encryption, err, "%s", label);
}

static bool linode_match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_LINODE;
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", NULL};

const Provider provider_linode = {
        .name = "linode",
        .driver_name = DRIVER,
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_OFFLINE |
                 PROVIDER_SINGLE_NODE_MULTI_WRITER,
        .format =
                {
                        .default_fs_type = "ext4",
                        .fs_types = fs_types,
                        .minimum_bytes = UINT64_C(10) << 30,
                },
        .match = linode_match,
        .open = linode_open,
        .close = linode_close,
        .ready = cloud_ready,
        .node_info = linode_node_info,
        .find_device = linode_find_device,
        .rescan_device = cloud_rescan,
        .encryption = linode_encryption,
};
