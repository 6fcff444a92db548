/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_METRICS_METRICS_H
#define BERTH_CSI_METRICS_METRICS_H

/*
 * What the process counts, and its text for Prometheus. Thread-safe.
 *
 * Operations are named and bucketed as the CSI sidecars do it (kubernetes-csi/csi-lib-utils,
 * metrics): a histogram with the labels driver_name, method_name and grpc_status_code, so that
 * existing dashboards read it. Our own names begin with "berth_csi_".
 */

#include <stddef.h>

typedef struct Metrics Metrics;

/*
 * Names for metrics_count(); @label is one of few fixed words, never an id or a path.
 *
 * - COMPATIBILITY_REFUSALS, label: the filesystem, "ext4": a mount or mkfs that fs/ forbade
 * - BLANK_TEST_REFUSALS, label: why, "not_blank" or "unreadable": a disk that was not formatted
 * - MKFS_SECONDS, FSCK_SECONDS, label: the filesystem; value: how long the tool ran
 */
#define METRIC_COMPATIBILITY_REFUSALS "compatibility_refusals"
#define METRIC_BLANK_TEST_REFUSALS    "blank_test_refusals"
#define METRIC_MKFS_SECONDS           "mkfs_seconds"
#define METRIC_FSCK_SECONDS           "fsck_seconds"

/* - ABANDONED_TOOLS, label: the method: a tool that hangs in the kernel and is waited for no more
 */
#define METRIC_ABANDONED_TOOLS "abandoned_tools"

/* Return: 0; -ENOMEM. @driver_name is copied. */
int metrics_new(Metrics **metricsp, const char *driver_name);
void metrics_free(Metrics *metrics);

/* A call that was answered. @method: "/csi.v1.Node/NodeStageVolume"; of a method that we lack, "".
 */
void metrics_operation(Metrics *metrics, const char *method, int status, double seconds);

/**
 * metrics_count() - NodeConfig.count
 * @metrics: a Metrics
 * @metric:  one of METRIC_*; another name counts as "other" with the name as label
 * @value:   added to a counter; observed by a METRIC_*_SECONDS
 *
 * At most 64 labels of a metric are told apart; what comes then counts under "other".
 */
void metrics_count(void *metrics, const char *metric, const char *label, double value);

/* The text exposition format, version 0.0.4. Caller frees; NULL without memory. */
char *metrics_format(Metrics *metrics);

#endif
