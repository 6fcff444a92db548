/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/metrics/metrics.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_has(Metrics *metrics, const char *line) {
        cleanup(freep) char *text = metrics_format(metrics);
        cleanup(freep) char *whole = str_printf("\n%s\n", line);

        assert_non_null(text);
        if (!strstr(text, whole))
                fail_msg("no line %s in:\n%s", line, text);
}

static void test_operations(void **state) {
        Metrics *metrics;

        assert_int_equal(metrics_new(&metrics, "local.berth.test"), 0);
        metrics_operation(metrics, "/csi.v1.Identity/Probe", 0, 0.001);
        metrics_operation(metrics, "/csi.v1.Identity/Probe", 0, 0.1);
        metrics_operation(metrics, "/csi.v1.Identity/Probe", 0, 3);
        metrics_operation(metrics, "/csi.v1.Identity/Probe", 9, 9999);
        metrics_operation(metrics, "", 12, 0);
#define LABELS(code)                                                                               \
        "driver_name=\"local.berth.test\",grpc_status_code=\"" code                                \
        "\",method_name=\"/csi.v1.Identity/Probe\""
        assert_has(metrics, "csi_operations_seconds_bucket{" LABELS("OK") ",le=\"0.1\"} 2");
        assert_has(metrics, "csi_operations_seconds_bucket{" LABELS("OK") ",le=\"2.5\"} 2");
        assert_has(metrics, "csi_operations_seconds_bucket{" LABELS("OK") ",le=\"5\"} 3");
        assert_has(metrics, "csi_operations_seconds_bucket{" LABELS("OK") ",le=\"+Inf\"} 3");
        assert_has(metrics, "csi_operations_seconds_sum{" LABELS("OK") "} 3.101");
        assert_has(metrics, "csi_operations_seconds_count{" LABELS("OK") "} 3");
        assert_has(metrics,
                   "csi_operations_seconds_bucket{" LABELS("FailedPrecondition") ",le=\"600\"} 0");
        assert_has(metrics, "csi_operations_seconds_count{" LABELS("FailedPrecondition") "} 1");
        assert_has(metrics, "csi_plugin_operations_seconds_count{" LABELS("OK") "} 3");
        assert_has(metrics, "csi_operations_seconds_count{driver_name=\"local.berth.test\","
                            "grpc_status_code=\"Unimplemented\",method_name=\"unknown\"} 1");
        metrics_free(metrics);
        metrics_free(NULL);
}

static void test_own(void **state) {
        Metrics *metrics;

        assert_int_equal(metrics_new(&metrics, "a\"b\\c\nd"), 0);
        metrics_count(metrics, METRIC_COMPATIBILITY_REFUSALS, "ext4", 1);
        metrics_count(metrics, METRIC_COMPATIBILITY_REFUSALS, "ext4", 1);
        metrics_count(metrics, METRIC_BLANK_TEST_REFUSALS, "not_blank", 1);
        metrics_count(metrics, METRIC_MKFS_SECONDS, "xfs", 0.2);
        metrics_count(metrics, METRIC_MKFS_SECONDS, NULL, 0.2);
        metrics_count(metrics, METRIC_MKFS_SECONDS, "xfs", NAN);
        metrics_count(metrics, METRIC_MKFS_SECONDS, "xfs", -1);
        metrics_count(metrics, "something", "x", 2);
        assert_has(metrics, "berth_csi_compatibility_refusals_total{fs_type=\"ext4\"} 2");
        assert_has(metrics, "berth_csi_blank_test_refusals_total{reason=\"not_blank\"} 1");
        assert_has(metrics, "berth_csi_mkfs_seconds_bucket{fs_type=\"xfs\",le=\"0.25\"} 1");
        assert_has(metrics, "berth_csi_mkfs_seconds_count{fs_type=\"xfs\"} 1");
        assert_has(metrics, "berth_csi_mkfs_seconds_count{fs_type=\"unknown\"} 1");
        assert_has(metrics, "berth_csi_other_total{name=\"something\"} 2");
        assert_has(metrics,
                   "berth_csi_build_info{driver_name=\"a\\\"b\\\\c\\nd\",version=\"" BERTH_VERSION
                   "\"} 1");
        metrics_free(metrics);
}

/* A caller that mistakes an id for a label cannot fill the memory. */
static void test_labels_are_bounded(void **state) {
        Metrics *metrics;

        assert_int_equal(metrics_new(&metrics, "d"), 0);
        /* Eleven filesystems are there from the start. */
        assert_has(metrics, "berth_csi_compatibility_refusals_total{fs_type=\"xfs\"} 0");
        assert_has(metrics, "berth_csi_blank_test_refusals_total{reason=\"not_blank\"} 0");
        for (int i = 0; i < 1000; i++) {
                cleanup(freep) char *label = str_printf("pvc-%d", i);

                metrics_count(metrics, METRIC_COMPATIBILITY_REFUSALS, label, 1);
        }
        assert_has(metrics, "berth_csi_compatibility_refusals_total{fs_type=\"pvc-52\"} 1");
        assert_has(metrics, "berth_csi_compatibility_refusals_total{fs_type=\"other\"} 947");
        metrics_free(metrics);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_operations),
                cmocka_unit_test(test_own),
                cmocka_unit_test(test_labels_are_bounded),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
