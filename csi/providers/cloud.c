/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/providers/cloud.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/cloud/disk.h"

#include <assert.h>

#define PARTITION_MAX 128

int cloud_init(Cloud *cloud, const ProviderConfig *config, const CloudOptions *options,
               Error *err) {
        MetadataConfig metadata = {.base_url = config->metadata_url ? config->metadata_url
                                                                    : options->base_url};
        int r;

        cloud->config = *config;
        cloud->needs = options->needs;
        r = pthread_mutex_init(&cloud->mutex, NULL);
        if (r != 0)
                return error_set_errno(err, r, "mutex");
        if (!options->service)
                return 0;
        metadata.service = metadata_service_find(options->service);
        assert(metadata.service);
        return metadata_client_new(&cloud->metadata, &metadata, err);
}

void cloud_deinit(Cloud *cloud) {
        metadata_client_free(cloud->metadata);
        cloud->metadata = NULL;
        (void)pthread_mutex_destroy(&cloud->mutex);
}

int cloud_open(const ProviderConfig *config, const CloudOptions *options, void **selfp,
               Error *err) {
        Cloud *cloud = calloc(1, sizeof(*cloud));
        int r;

        if (!cloud)
                return error_set_errno(err, ENOMEM, "provider");
        r = cloud_init(cloud, config, options, err);
        if (r < 0)
                cloud_close(cloud);
        else
                *selfp = cloud;
        return r;
}

void cloud_close(void *self) {
        if (!self)
                return;
        cloud_deinit(self);
        free(self);
}

/* --- who this node is --- */

typedef struct Known {
        unsigned int need;
        const char *flag;
        size_t config_offset, node_offset;
} Known;

static const Known knowns[] = {
        {CLOUD_NEEDS_ID, "--node-id", offsetof(ProviderConfig, node_id),
         offsetof(MetadataNode, instance_id)},
        {CLOUD_NEEDS_TYPE, "--instance-type", offsetof(ProviderConfig, instance_type),
         offsetof(MetadataNode, instance_type)},
        {CLOUD_NEEDS_REGION, "--region", offsetof(ProviderConfig, region),
         offsetof(MetadataNode, region)},
        {CLOUD_NEEDS_ZONE, "--zone", offsetof(ProviderConfig, zone), offsetof(MetadataNode, zone)},
};

static const char *given(const Cloud *cloud, const Known *known) {
        const char *text;

        memcpy(&text, (const char *)&cloud->config + known->config_offset, sizeof(text));
        return text;
}

static int take_given(const Cloud *cloud, MetadataNode *node, Error *err) {
        for (size_t i = 0; i < N_ELEMENTS(knowns); i++) {
                const char *text = given(cloud, &knowns[i]);

                if (!text)
                        continue;
                if (strlen(text) >= METADATA_TEXT_MAX)
                        return error_set(err, ERROR_INVALID, "%s: more than %d bytes",
                                         knowns[i].flag, METADATA_TEXT_MAX - 1);
                (void)snprintf((char *)node + knowns[i].node_offset, METADATA_TEXT_MAX, "%s", text);
        }
        return 0;
}

/* The first flag that would tell what is missing; NULL: nothing is. */
static const char *missing(const Cloud *cloud) {
        for (size_t i = 0; i < N_ELEMENTS(knowns); i++)
                if ((cloud->needs & knowns[i].need) && !given(cloud, &knowns[i]))
                        return knowns[i].flag;
        return NULL;
}

static bool get_known(Cloud *cloud, MetadataNode *node) {
        bool is_known;

        pthread_mutex_lock(&cloud->mutex);
        is_known = cloud->is_known;
        if (is_known)
                *node = cloud->node;
        pthread_mutex_unlock(&cloud->mutex);
        return is_known;
}

int cloud_node(Cloud *cloud, const Call *call, MetadataNode *node, Error *err) {
        MetadataNode found = {0};
        const char *flag = missing(cloud);
        int r = 0;

        if (get_known(cloud, node))
                return 0;
        if (flag && !cloud->metadata)
                return error_set(err, ERROR_PRECONDITION,
                                 "no metadata service is asked on this node: set %s", flag);
        if (flag)
                r = metadata_read_node(cloud->metadata, call, 0, &found, err);
        if (r < 0)
                return error_wrap(err, r, "who this node is (or set %s)", flag);
        r = take_given(cloud, &found, err);
        if (r < 0)
                return r;
        pthread_mutex_lock(&cloud->mutex);
        cloud->node = found;
        cloud->is_known = true;
        pthread_mutex_unlock(&cloud->mutex);
        *node = found;
        return 0;
}

int cloud_ready(void *self, const Call *call, Error *err) {
        MetadataNode node;

        return cloud_node(self, call, &node, err);
}

/* --- NodeGetInfo --- */

uint64_t cloud_limit(const Cloud *cloud, uint64_t limit) {
        const ProviderConfig *config = &cloud->config;

        if (config->volume_limit >= 0)
                return (uint64_t)config->volume_limit;
        return limit > config->reserved_volumes ? limit - config->reserved_volumes : 1;
}

int cloud_info(const Call *call, const char *node_id, uint64_t max_volumes,
               const StringPair *segments, size_t n_segments, NodeInfo *info, Error *err) {
        StringPair *pairs = arena_alloc_array(call->arena, n_segments + 1, sizeof(*pairs));
        size_t n = 0;

        if (str_is_empty(node_id))
                return error_set(err, ERROR_UNAVAILABLE, "this node has no ID yet");
        *info = (NodeInfo){
                .node_id = arena_strdup(call->arena, node_id),
                .max_volumes = max_volumes,
                .has_topology = true,
        };
        if (!pairs || !info->node_id)
                return error_set_errno(err, ENOMEM, "node info");
        for (size_t i = 0; i < n_segments; i++) {
                if (!segments[i].value)
                        continue;
                pairs[n].key = arena_strdup(call->arena, segments[i].key);
                pairs[n].value = arena_strdup(call->arena, segments[i].value);
                if (!pairs[n].key || !pairs[n].value)
                        return error_set_errno(err, ENOMEM, "node info");
                n++;
        }
        info->topology.segments = (StringMap){pairs, n};
        return 0;
}

/* --- of a volume --- */

const char *cloud_publish_value(const VolumeRef *volume, const char *key) {
        return volume->publish_context ? string_map_get(volume->publish_context, key) : NULL;
}

const char *cloud_volume_value(const VolumeRef *volume, const char *key) {
        return volume->volume_context ? string_map_get(volume->volume_context, key) : NULL;
}

int cloud_partition(const VolumeRef *volume, const char *key, unsigned int *partitionp,
                    Error *err) {
        const char *text = cloud_volume_value(volume, key);
        uint64_t number = 0;

        if (!str_is_empty(text) && str_parse_u64(text, PARTITION_MAX, &number) < 0)
                return error_set(err, ERROR_INVALID,
                                 "volume_context[%s]: \"%.32s\", expected a number up to %d", key,
                                 text, PARTITION_MAX);
        *partitionp = (unsigned int)number;
        return 0;
}

int cloud_rescan(void *self, const Call *call, const VolumeRef *volume, const Device *device,
                 Error *err) {
        const Cloud *cloud = self;

        return disk_rescan(&cloud->config, device, err);
}

int cloud_filter_flags(const Call *call, VolumeCapability *capability,
                       int (*take)(const Call *call, const char *flag, void *userdata, Error *err),
                       void *userdata, Error *err) {
        const char **flags =
                arena_alloc_array(call->arena, capability->n_mount_flags + 1, sizeof(*flags));
        size_t n = 0;

        if (!flags)
                return error_set_errno(err, ENOMEM, "mount flags");
        for (size_t i = 0; i < capability->n_mount_flags; i++) {
                int r = take(call, capability->mount_flags[i], userdata, err);

                if (r < 0)
                        return r;
                if (r == 0)
                        flags[n++] = capability->mount_flags[i];
        }
        capability->mount_flags = flags;
        capability->n_mount_flags = n;
        return 0;
}
