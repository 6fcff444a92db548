/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLOUD_LIMITS_H
#define BERTH_CSI_CLOUD_LIMITS_H

/*
 * How many volumes an instance takes, by its type: tables of AWS, Azure and GCE as rules over the
 * names, checked type by type against the upstream drivers' tables. Pure.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct LimitsAws {
        unsigned int attachments; /* in all, the root volume included */
        bool is_shared;           /* network interfaces take from them */
        unsigned int cards;       /* EBS cards, 1 or 2 */
        bool is_known;            /* false: the default for types that nobody listed */
} LimitsAws;

/* @type: "m5.large"; "" and NULL are unknown. */
LimitsAws limits_aws_type(const char *type);

/* What takes attachments beside our volumes. */
typedef struct LimitsAwsUse {
        int64_t reserved; /* --reserved-volumes; negative: n_block_devices + 1 for the root */
        unsigned int n_interfaces;    /* ENIs, 1 or more; 0 is taken as 1 */
        unsigned int n_block_devices; /* "ebs" entries of block-device-mapping */
} LimitsAwsUse;

/* The value for NodeGetInfo. Never below 1: Kubernetes takes 0 as "no limit". */
unsigned int limits_aws_volumes(const char *type, const LimitsAwsUse *use);

/**
 * limits_azure_disks() - data disks of a VM size
 * @size:     "Standard_D4s_v5", in any case
 * @knownp:   may be NULL; false: the default, 16
 *
 * A size that is not in upstream's table but of a series that is gets what the next smaller one
 * has. Constrained sizes ("E8-4s_v5") have the disks of the whole size.
 */
unsigned int limits_azure_disks(const char *size, bool *knownp);

/* The value for NodeGetInfo: less @reserved, never below 1. */
unsigned int limits_azure_volumes(const char *size, uint64_t reserved);

/* The value for NodeGetInfo of a GCE machine type, "n2-standard-4"; the boot disk is not counted.
 * Types that nobody listed have 127. */
unsigned int limits_gce_volumes(const char *type);

#endif
