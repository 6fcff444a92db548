/* SPDX-License-Identifier: Apache-2.0 */

/*
 * csi.scaleway.com, the node half: Block Storage volumes, which the driver's controller attaches.
 * Source: scaleway/scaleway-csi, pkg/driver/ and pkg/scaleway/metadata.go.
 *
 * A handle is "<zone>/<uuid>"; the disk's SCSI designator is "volume-<uuid>", its vendor SCW and
 * its model "sbs", or "b_ssd" of old volumes.
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

#define DRIVER "csi.scaleway.com"

#define KEY_VOLUME_ID  DRIVER "/volume-id"
#define KEY_ENCRYPTED  "encrypted"
#define KEY_PASSPHRASE "encryptionPassphrase"

#define METADATA_PATH   "/conf?format=json"
#define CLOUD_INIT_FILE "run/cloud-init/instance-data.json"
#define CLOUD_INIT_MAX  (4U << 20)

/* In all, the root volume among them. */
#define VOLUMES_MAX UINT64_C(16)

#define UUID_CHARS 36

typedef struct Scaleway {
        Cloud cloud; /* first */
        char id[METADATA_TEXT_MAX], zone[METADATA_TEXT_MAX];
        uint64_t n_scratch;
        bool has_file; /* cloud-init's file told all of it */
} Scaleway;

static void scaleway_close(void *self) {
        Scaleway *scaleway = self;

        if (!scaleway)
                return;
        cloud_deinit(&scaleway->cloud);
        free(scaleway);
}

/* Volumes of the instance's own that take attachments beside the root volume. */
static uint64_t count_scratch(const json_t *metadata) {
        json_t *volumes = json_object_get(metadata, "volumes"), *volume;
        const char *key;
        uint64_t n = 0;

        json_object_foreach(volumes, key, volume) n +=
                str_equal(json_string_value(json_object_get(volume, "volume_type")), "scratch");
        return n;
}

/* cloud-init says by itself where it has its words from ("v1.platform" is its data source). A disk
 * with the label "cidata" or "config-2" is another source, and a tenant's volume may have it. */
static bool is_of_service(const json_t *json) {
        char platform[32];

        return metadata_json_text(json, "v1.platform", platform, sizeof(platform)) == 0 &&
               str_equal(platform, "scaleway");
}

/* What cloud-init kept of the metadata service's answer at boot; upstream looks there first. */
static void read_cloud_init(Scaleway *scaleway, const char *root) {
        cleanup(closep) int root_fd = -1;
        cleanup(freep) char *text = NULL;
        json_t *json, *metadata;
        size_t n;

        root_fd = open(str_is_empty(root) ? "/" : root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0 ||
            file_read_in_root(root_fd, CLOUD_INIT_FILE, CLOUD_INIT_MAX, &text, &n) < 0)
                return;
        json = json_loadb(text, n, 0, NULL);
        metadata = json_object_get(json_object_get(json, "ds"), "meta_data");
        if (is_of_service(json) &&
            metadata_json_text(metadata, "id", scaleway->id, sizeof(scaleway->id)) == 0 &&
            metadata_json_text(metadata, "location.zone_id", scaleway->zone,
                               sizeof(scaleway->zone)) == 0 &&
            scaleway->id[0] != '\0' && scaleway->zone[0] != '\0') {
                scaleway->n_scratch = count_scratch(metadata);
                scaleway->has_file = true;
        }
        json_decref(json);
}

static int scaleway_open(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {
                .service = "scaleway",
                .needs = CLOUD_NEEDS_ID | CLOUD_NEEDS_ZONE,
        };
        Scaleway *scaleway = calloc(1, sizeof(*scaleway));
        ProviderConfig known = *config;
        int r;

        if (!scaleway)
                return error_set_errno(err, ENOMEM, "provider scaleway");
        read_cloud_init(scaleway, config->root_path);
        if (scaleway->has_file) {
                known.node_id = known.node_id ? known.node_id : scaleway->id;
                known.zone = known.zone ? known.zone : scaleway->zone;
        }
        r = cloud_init(&scaleway->cloud, &known, &options, err);
        if (r < 0)
                scaleway_close(scaleway);
        else
                *selfp = scaleway;
        return r;
}

/* --- NodeGetInfo --- */

static int find_scratch(Scaleway *scaleway, const Call *call, uint64_t *np, Error *err) {
        const ProviderConfig *config = &scaleway->cloud.config;
        json_t *json = NULL;
        int r;

        *np = scaleway->n_scratch;
        /* All that the service could tell is told by the command line, or by the file. */
        if (scaleway->has_file || config->volume_limit >= 0 || (config->node_id && config->zone))
                return 0;
        r = metadata_get_json(scaleway->cloud.metadata, call, METADATA_PATH, 0, &json, err);
        if (r == 0)
                *np = count_scratch(json);
        json_decref(json);
        return r;
}

static int scaleway_node_info(void *self, const Call *call, NodeInfo *info, Error *err) {
        Scaleway *scaleway = self;
        MetadataNode node;
        uint64_t n_scratch = 0;
        char id[2 * METADATA_TEXT_MAX];
        int r;

        r = cloud_node(&scaleway->cloud, call, &node, err);
        if (r == 0)
                r = find_scratch(scaleway, call, &n_scratch, err);
        if (r < 0)
                return r;
        (void)snprintf(id, sizeof(id), "%s/%s", node.zone, node.instance_id);
        return cloud_info(
                call, id,
                cloud_limit(&scaleway->cloud,
                            n_scratch + 1 < VOLUMES_MAX ? VOLUMES_MAX - n_scratch - 1 : 1),
                (const StringPair[]){{"topology." DRIVER "/zone", node.zone}}, 1, info, err);
}

/* --- the device --- */

static bool is_uuid(const char *text) {
        for (size_t i = 0; i < UUID_CHARS; i++)
                if (i == 8 || i == 13 || i == 18 || i == 23
                            ? text[i] != '-'
                            : !strchr("0123456789abcdef", text[i]) || text[i] == '\0')
                        return false;
        return text[UUID_CHARS] == '\0';
}

/* "<zone>/<uuid>" or "<uuid>"; the latter is in the publish context as well. */
static int parse_handle(const VolumeRef *volume, const char **uuidp, Error *err) {
        const char *slash = strchr(volume->volume_id, '/');
        const char *uuid = slash ? slash + 1 : volume->volume_id;
        const char *told = cloud_publish_value(volume, KEY_VOLUME_ID);

        if (!is_uuid(uuid))
                return error_set(err, ERROR_NOT_FOUND, "volume %.96s: expected \"<zone>/<uuid>\"",
                                 volume->volume_id);
        if (!str_is_empty(told) && !str_equal(told, uuid))
                return error_set(err, ERROR_INVALID,
                                 "publish_context[" KEY_VOLUME_ID "]: \"%.64s\", expected the one "
                                 "of the volume, %s",
                                 told, uuid);
        *uuidp = uuid;
        return 0;
}

static int scaleway_find_device(void *self, const Call *call, const VolumeRef *volume,
                                Device *device, Error *err) {
        static const char *const models[] = {"sbs", "b_ssd"};
        const Scaleway *scaleway = self;
        DiskWanted wanted = {.name = volume->volume_id};
        char text[sizeof("volume-") + UUID_CHARS];
        const char *uuid;
        int r;

        r = parse_handle(volume, &uuid, err);
        if (r < 0)
                return r;
        (void)snprintf(text, sizeof(text), "volume-%s", uuid);
        for (size_t i = 0; i < N_ELEMENTS(models); i++) {
                disk_want_identity(&wanted, DISK_PROOF_DESIGNATOR, DISK_BUS_SCSI, "SCW", models[i],
                                   text);
                disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_SCSI, "SCW", models[i],
                                   text);
        }
        disk_want_link(&wanted, "/dev/disk/by-id/scsi-0SCW_sbs_%s", text);
        disk_want_link(&wanted, "/dev/disk/by-id/scsi-0SCW_b_ssd_%s", text);
        return disk_find(&scaleway->cloud.config, call, &wanted, device, err);
}

/* As Go's strconv.ParseBool(), which upstream reads it by. */
static int parse_bool(const char *text, bool *valuep) {
        static const char *const words[2][6] = {
                {"0", "f", "F", "false", "FALSE", "False"},
                {"1", "t", "T", "true", "TRUE", "True"},
        };

        for (size_t value = 0; value < 2; value++)
                for (size_t i = 0; i < N_ELEMENTS(words[value]); i++)
                        if (str_equal(words[value][i], text)) {
                                *valuep = value == 1;
                                return 0;
                        }
        return -EINVAL;
}

static int scaleway_encryption(void *self, const VolumeRef *volume, Encryption *encryption,
                               Error *err) {
        const char *text = cloud_volume_value(volume, KEY_ENCRYPTED), *uuid;
        bool is_encrypted = encrypted_has_no_context(volume);
        int r;

        if (text && parse_bool(text, &is_encrypted) < 0)
                return error_set(err, ERROR_INVALID,
                                 "volume_context[" KEY_ENCRYPTED "]: \"%.32s\", expected true or "
                                 "false",
                                 text);
        if (!is_encrypted)
                return PROVIDER_E_PLAIN;
        *encryption = (Encryption){.version = 2, .cipher = "aes-xts-plain64", .key_bits = 256};
        encrypted_set_passphrase(encryption, volume, KEY_PASSPHRASE);
        r = parse_handle(volume, &uuid, err);
        return r < 0 ? r : encrypted_set_name(encryption, err, "scw-luks-%s", uuid);
}

static bool scaleway_match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_SCALEWAY;
}

static const char *const fs_types[] = {"ext4", "ext3", "xfs", "btrfs", NULL};

const Provider provider_scaleway = {
        .name = "scaleway",
        .driver_name = DRIVER,
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE |
                 PROVIDER_SINGLE_NODE_MULTI_WRITER,
        .format =
                {
                        .default_fs_type = "ext4",
                        .fs_types = fs_types,
                        .minimum_bytes = UINT64_C(1000000000),
                },
        .match = scaleway_match,
        .open = scaleway_open,
        .close = scaleway_close,
        .ready = cloud_ready,
        .node_info = scaleway_node_info,
        .find_device = scaleway_find_device,
        .rescan_device = cloud_rescan,
        .encryption = scaleway_encryption,
};
