/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_NODE_H
#define BERTH_CSI_NODE_NODE_H

/*
 * The CSI Node service on plain structs: stage, publish, their undo, expand, stats. Serialises per
 * volume (a second operation on the same volume fails with ERROR_AGAIN, gRPC ABORTED), bounds mkfs
 * and fsck by a queue, and decides nothing about clouds: the provider proves the device, fs/
 * says what may be done with what is on it.
 *
 * Every function is thread-safe and idempotent.
 */

#include "csi/api/provider.h"
#include "fs/hosts/cluster.h"

typedef struct Node Node;

typedef struct NodeConfig {
        const Provider *provider;
        void *provider_self; /* borrowed */
        const char *driver_name;
        const char *kubelet_root;    /* staging and target paths must lie below it */
        const char *kubelet_here;    /* the same directory for this process; NULL: likewise */
        unsigned int max_formatters; /* mkfs and fsck at once; 0: by CPUs and memory */
        uint64_t fsck_timeout_msecs; /* 0: default */
        uint64_t mkfs_timeout_msecs; /* 0: default */
        /* Counters are told by name, csi/metrics/metrics.h; NULL: not counted. */
        void (*count)(void *userdata, const char *metric, const char *label, double value);
        void *count_userdata;
        const char *node_name; /* for providers that have no node_info(); NULL: none */
        FsCluster cluster; /* which other hosts a new filesystem must suit; strings are borrowed */
        HoldTable *locks;  /* shared with the provider; borrowed. NULL: one of its own */
        const char *state_dir; /* of this plugin on this node, kept over restarts; NULL: nothing is
                                  noted */
} NodeConfig;

int node_new(Node **nodep, const NodeConfig *config, Error *err);
void node_free(Node *node);

/* What Probe says: mount propagation of the kubelet root, tools that are missing, the provider's
 * readiness. 0 = ready. */
int node_ready(Node *node, const Call *call, Error *err);

int node_stage(Node *node, const Call *call, const NodeStageRequest *request, Error *err);
int node_unstage(Node *node, const Call *call, const NodeUnstageRequest *request, Error *err);
int node_publish(Node *node, const Call *call, const NodePublishRequest *request, Error *err);
int node_unpublish(Node *node, const Call *call, const NodeUnpublishRequest *request, Error *err);
int node_expand(Node *node, const Call *call, const NodeExpandRequest *request,
                NodeExpandResult *result, Error *err);
int node_stats(Node *node, const Call *call, const NodeStatsRequest *request,
               NodeStatsResult *result, Error *err);
/* Frees what no mount, no directory of kubelet's and no request speaks for, and says so in the log:
 * mappers of ours, and mounts at staging paths. For one thread, beside calls; ends with @cancelled.
 */
void node_tend(Node *node, bool (*cancelled)(void *userdata), void *userdata);

int node_info(Node *node, const Call *call, NodeInfo *result, Error *err);

#endif
