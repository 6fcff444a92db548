/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_PROVIDERS_CLOUD_H
#define BERTH_CSI_PROVIDERS_CLOUD_H

/*
 * What the providers of clouds have in common: who this node is, by the command line first and the
 * metadata service after it, kept once it is known; and the answer to NodeGetInfo.
 *
 * A provider's self may be a Cloud, or begin with one.
 */

#include "csi/api/provider.h"
#include "csi/cloud/metadata.h"

#include <pthread.h>

/* Of MetadataNode, what the provider cannot do without. */
enum {
        CLOUD_NEEDS_ID = 1U << 0,
        CLOUD_NEEDS_TYPE = 1U << 1,
        CLOUD_NEEDS_REGION = 1U << 2,
        CLOUD_NEEDS_ZONE = 1U << 3,
};

typedef struct Cloud {
        ProviderConfig config;
        unsigned int needs;
        MetadataClient *metadata; /* owned; NULL: nobody is asked */
        pthread_mutex_t mutex;    /* guards what follows */
        bool is_known;
        MetadataNode node;
} Cloud;

/* How a cloud differs. */
typedef struct CloudOptions {
        const char *service;  /* of metadata_service_find(); NULL: none */
        const char *base_url; /* of the service, where --metadata-url is not given; NULL */
        unsigned int needs;
} CloudOptions;

/* @cloud: zeroed memory of the caller, cloud_deinit() in any case. Return: 0; negative. */
int cloud_init(Cloud *cloud, const ProviderConfig *config, const CloudOptions *options, Error *err);
void cloud_deinit(Cloud *cloud);

/* open() and close() of a provider whose self is nothing but a Cloud. */
int cloud_open(const ProviderConfig *config, const CloudOptions *options, void **selfp, Error *err);
void cloud_close(void *self);

/**
 * cloud_node() - who this node is
 *
 * What the command line gives is taken; the metadata service is asked only if something that is
 * needed is missing then, and once it answered never again.
 *
 * Return: 0; UNAVAILABLE while the service does not answer; PRECONDITION if nobody is asked and
 * something is missing, and what to set.
 */
int cloud_node(Cloud *cloud, const Call *call, MetadataNode *node, Error *err);

/* Provider.ready: whether cloud_node() knows. */
int cloud_ready(void *self, const Call *call, Error *err);

/* --volume-limit if it is given, else @limit less --reserved-volumes, but 1 at least. */
uint64_t cloud_limit(const Cloud *cloud, uint64_t limit);

/* Fills @info; pairs with a value of NULL are left out. Everything is copied. */
int cloud_info(const Call *call, const char *node_id, uint64_t max_volumes,
               const StringPair *segments, size_t n_segments, NodeInfo *info, Error *err);

/* "1" to "128" of the volume context's key; 0 without one, or if it says "0". Return: 0; INVALID.
 */
int cloud_partition(const VolumeRef *volume, const char *key, unsigned int *partitionp, Error *err);

/* NULL without a context. */
const char *cloud_publish_value(const VolumeRef *volume, const char *key);
const char *cloud_volume_value(const VolumeRef *volume, const char *key);

/* Provider.rescan_device of disks that have a bus: disk_rescan(). */
int cloud_rescan(void *self, const Call *call, const VolumeRef *volume, const Device *device,
                 Error *err);

/* Mount flags without those that @take() takes out; the array is in the arena. Return: 0; negative,
 * also what @take() returned. @take: 1 taken; 0 not; negative. */
int cloud_filter_flags(const Call *call, VolumeCapability *capability,
                       int (*take)(const Call *call, const char *flag, void *userdata, Error *err),
                       void *userdata, Error *err);

#endif
