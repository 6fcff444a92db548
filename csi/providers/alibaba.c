/* SPDX-License-Identifier: Apache-2.0 */

/*
 * diskplugin.csi.alibabacloud.com: ESSD and other cloud disks, virtio or NVMe, whose serial number
 * is the disk's ID without "d-". Upstream's node also attaches disks itself and counts them through
 * the OpenAPI, and labels its node through Kubernetes: that is not done here; the controller
 * attaches, and --volume-limit tells how many. Source: kubernetes-sigs/alibaba-cloud-csi-driver,
 * pkg/disk/{nodeserver,device_manager,utils}.go, pkg/cloud/metadata/.
 */

#include "csi/cloud/disk.h"
#include "csi/providers/cloud.h"
#include "csi/providers/gpt.h"
#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/platform/platform.h"

/* Without the OpenAPI: what an instance had before its type told. */
#define LIMIT     15
#define LIMIT_MAX 64

#define NVME_MODEL "Alibaba Cloud Elastic Block Storage"

#define KEY_INSTANCE "alibabacloud.com/ecs-instance-id"
#define KEY_ZONE     "topology.diskplugin.csi.alibabacloud.com/zone"
#define KEY_REGION   "topology.kubernetes.io/region"
#define KEY_K8S_ZONE "topology.kubernetes.io/zone"

static const char *first(const char *given, const char *variable) {
        const char *text = given ? given : getenv(variable);

        return str_is_empty(text) ? NULL : text;
}

static int open_alibaba(const ProviderConfig *config, void **selfp, Error *err) {
        const CloudOptions options = {"alibaba", NULL,
                                      CLOUD_NEEDS_ID | CLOUD_NEEDS_REGION | CLOUD_NEEDS_ZONE};
        ProviderConfig with_environment = *config;

        /* Upstream's, which overrides its metadata service. */
        with_environment.region = first(config->region, "REGION_ID");
        return cloud_open(&with_environment, &options, selfp, err);
}

static bool match(const Platform *platform) {
        return platform->cloud == PLATFORM_CLOUD_ALIBABA;
}

/* $MAX_VOLUMES_PERNODE is upstream's, before what the API says. */
static int volume_limit(const Cloud *cloud, uint64_t *limitp, Error *err) {
        const char *text = getenv("MAX_VOLUMES_PERNODE");
        uint64_t limit = LIMIT;

        if (!str_is_empty(text) && str_parse_u64(text, LIMIT_MAX, &limit) < 0)
                return error_set(err, ERROR_INVALID,
                                 "$MAX_VOLUMES_PERNODE: \"%.32s\", expected a number up to %d",
                                 text, LIMIT_MAX);
        *limitp = limit == 0 && cloud->config.volume_limit < 0 ? 0 : cloud_limit(cloud, limit);
        return 0;
}

static int node_info_of(void *self, const Call *call, NodeInfo *info, Error *err) {
        MetadataNode node = {0};
        uint64_t limit = 0;
        int r = volume_limit(self, &limit, err);

        if (r == 0)
                r = cloud_node(self, call, &node, err);
        if (r < 0)
                return r;

        const StringPair segments[] = {
                {KEY_INSTANCE, node.instance_id},
                {KEY_ZONE, node.zone},
                {KEY_REGION, node.region},
                {KEY_K8S_ZONE, node.zone},
        };

        /* A node that takes no disks has no place where disks can be. */
        return cloud_info(call, node.instance_id, limit, segments,
                          limit == 0 ? 0 : N_ELEMENTS(segments), info, err);
}

static const char *serial_of(const VolumeRef *volume) {
        const char *serial = cloud_publish_value(volume, "serialNumber");

        if (!str_is_empty(serial))
                return serial;
        return volume->volume_id + (str_has_prefix(volume->volume_id, "d-") ? 2 : 0);
}

static int find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                       Error *err) {
        const Cloud *cloud = self;
        const char *serial = serial_of(volume);
        DiskWanted wanted = {.name = volume->volume_id};
        unsigned int last = 0;
        size_t n = 0;
        int r;

        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_VIRTIO, NULL, NULL, serial);
        disk_want_identity(&wanted, DISK_PROOF_SERIAL, DISK_BUS_NVME, NULL, NVME_MODEL, serial);
        disk_want_link(&wanted, "/dev/disk/by-id/virtio-%s", serial);
        disk_want_link(&wanted, "/dev/disk/by-id/nvme-Alibaba_Cloud_Elastic_Block_Storage_%s",
                       serial);
        r = disk_find(&cloud->config, call, &wanted, device, err);
        if (r < 0 && err->code == ERROR_NOT_FOUND &&
            str_is_empty(cloud_publish_value(volume, "serialNumber")))
                return error_wrap(err, r,
                                  "publish_context[serialNumber] is empty, so the controller did "
                                  "not attach the disk, and this node does not do it (OpenAPI)");
        if (r < 0 || volume->is_block)
                return r;
        r = gpt_count(&cloud->config, device, &n, &last);
        if (r < 0)
                return error_set_errno(err, r, "partitions of %s", device->path);
        /* It was partitioned elsewhere. */
        wanted.partition = last;
        return n == 1 ? disk_find(&cloud->config, call, &wanted, device, err) : 0;
}

/* "queue/read_ahead_kb=4096,queue/nr_requests=64" */
static int read_tunings(const Call *call, const char *text, Wishes *wishes, Error *err) {
        char *words = arena_strdup(call->arena, text), *save = NULL;

        if (!words)
                return error_set_errno(err, ENOMEM, "sysConfig");
        for (char *word = strtok_r(words, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
                char *equals;

                word += strspn(word, " /");
                equals = strchr(word, '=');
                if (!equals || !str_has_prefix(word, "queue/") || strstr(word, "..") ||
                    strchr(word + strlen("queue/"), '/'))
                        return error_set(err, ERROR_INVALID,
                                         "volume_context[sysConfig]: \"%.64s\", expected "
                                         "queue/<attribute>=<value>",
                                         word);
                if (wishes->n_tunings == TUNINGS_MAX)
                        return error_set(err, ERROR_INVALID,
                                         "volume_context[sysConfig]: expected at most %d",
                                         TUNINGS_MAX);
                *equals = '\0';
                wishes->tunings[wishes->n_tunings++] =
                        (Tuning){.attribute = word, .value = equals + 1};
        }
        return 0;
}

static int adapt(void *self, const Call *call, const VolumeRef *volume,
                 VolumeCapability *capability, Wishes *wishes, Error *err) {
        const char *tunings = cloud_volume_value(volume, "sysConfig");

        /* What a write-back cache holds is not on the disk. */
        if (!str_is_empty(cloud_volume_value(volume, "dataCacheSize")))
                return error_set(
                        err, ERROR_UNSUPPORTED,
                        "volume_context[dataCacheSize]: data caches on local disks are not "
                        "served");
        return str_is_empty(tunings) ? 0 : read_tunings(call, tunings, wishes, err);
}

/* clang-format off */
static const char *const fs_types[] = {"ext4", "ext3", "xfs", "btrfs", NULL};
static const FormatParameter parameters[] = {
        {"mkfsOptions", "", NULL, NULL, NULL},
        {NULL, NULL, NULL, NULL, NULL},
};
/* clang-format on */

const Provider provider_alibaba = {
        .name = "alibaba",
        .driver_name = "diskplugin.csi.alibabacloud.com",
        .flags = PROVIDER_STAGES | PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE |
                 PROVIDER_BLOCK_MULTI_WRITER | PROVIDER_STAGES_BLOCK,
        .format = {.default_fs_type = "ext4", .fs_types = fs_types, .parameters = parameters},
        .match = match,
        .open = open_alibaba,
        .close = cloud_close,
        .ready = cloud_ready,
        .node_info = node_info_of,
        .find_device = find_device,
        .rescan_device = cloud_rescan,
        .adapt = adapt,
};
