/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_NODE_METRICS_H
#define BERTH_CNI_NODE_METRICS_H

/* Prometheus' text format (version 0.0.4). */

#include "cni/commands/counters.h"
#include "cni/node/node.h"
#include "common/netlink/rtnl_event.h"

/* How runs of a job ended. */
typedef struct NodeJobCounts {
        uint64_t done, failed, msecs;
        uint64_t last_done_secs; /* of the epoch; 0: never */
} NodeJobCounts;

/* What berth-node itself counts. */
typedef struct NodeCounts {
        NodeJobCounts jobs[_NODE_JOB_N];
        uint64_t repaired;      /* lines of berth-cni repair: what was put back */
        uint64_t announcements; /* of the kernel, that were read */
        uint64_t suspicions;    /* looks at everything that they caused */
        uint64_t started_secs;
        bool is_ready;
} NodeCounts;

/* Of the node as it is now. */
typedef struct NodeGauges {
        struct {
                char network[64];
                uint64_t leases;
        } networks[64];
        size_t n_networks;
        struct {
                uint8_t family;
                char set[64];
                uint64_t elements;
        } sets[128];
        size_t n_sets;
        uint64_t pairs; /* of pods */
} NodeGauges;

/* @cache: directory with networks/. What cannot be read is not counted. */
void node_gauges_read(const char *cache, NodeGauges *gauges);

/* @calls: NULL: there are none. Pure. Return: the text, caller frees; NULL without memory. */
char *node_metrics_format(const NodeCounts *counts, const NodeGauges *gauges,
                          const Counters *calls);

#endif
