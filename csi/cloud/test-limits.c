/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "csi/cloud/limits.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_aws_types(void **state) {
        static const struct {
                const char *type;
                unsigned int attachments;
                bool is_shared;
                unsigned int cards;
                bool is_known;
        } cases[] = {
                /* Before Nitro. */
                {"t2.micro", 39, false, 1, true},
                {"m4.10xlarge", 39, false, 1, true},
                {"c3.8xlarge", 39, false, 1, true},
                {"i3.16xlarge", 39, false, 1, true},
                /* Dedicated, by size. */
                {"m7i.large", 32, false, 1, true},
                {"c8g.medium", 32, false, 1, true},
                {"m7i.12xlarge", 32, false, 1, true},
                {"m7a.16xlarge", 48, false, 1, true},
                {"i7ie.18xlarge", 48, false, 1, true},
                {"r8g.24xlarge", 64, false, 1, true},
                {"m7a.32xlarge", 88, false, 1, true},
                {"m7i.48xlarge", 128, false, 1, true},
                {"u7in-24tb.224xlarge", 128, false, 1, true},
                {"m7i.metal-24xl", 39, false, 1, true},
                {"i7i.metal-24xl", 39, false, 1, true},
                {"m7i.metal-48xl", 79, false, 1, true},
                /* Dedicated, exceptions. */
                {"hpc7a.12xlarge", 27, false, 1, true},
                {"hpc7a.96xlarge", 27, false, 1, true},
                {"p4d.24xlarge", 28, false, 1, true},
                {"p5.48xlarge", 64, false, 1, true},
                {"p5.4xlarge", 32, false, 1, true},
                {"m8azn.12xlarge", 64, false, 1, true},
                {"m8azn.24xlarge", 128, false, 1, true},
                {"c8a.metal-24xl", 64, false, 1, true},
                {"c8gn.metal-48xl", 78, false, 2, true},
                {"c8id.metal-48xl", 64, false, 1, true},
                {"c8in.metal-96xl", 78, false, 2, true},
                {"c8gn.48xlarge", 128, false, 2, true},
                {"c8gn.24xlarge", 64, false, 1, true},
                /* Shared. */
                {"m5.metal", 31, true, 1, true},
                {"m5d.large", 26, true, 1, true},
                {"m5d.8xlarge", 25, true, 1, true},
                {"m5d.24xlarge", 23, true, 1, true},
                {"inf2.24xlarge", 28, true, 1, true},
                {"g4dn.12xlarge", 22, true, 1, true},
                {"d3.8xlarge", 3, true, 1, true},
                {"g5.48xlarge", 9, true, 1, true},
                {"mac1.metal", 16, true, 1, true},
                {"mac2-m2pro.metal", 10, true, 1, true},
                {"trn1n.32xlarge", 28, true, 1, true},
                /* In no table: m5.large is Nitro without a row of its own. */
                {"m5.large", 27, true, 1, false},
                {"m5ad.metal", 27, true, 1, false},
                {"c5.18xlarge", 27, true, 1, false},
                {"z9.large", 27, true, 1, false},
                {"m7i", 27, true, 1, false},
                {".large", 27, true, 1, false},
                {"m7i.", 27, true, 1, false},
                {"m7i. ", 27, true, 1, false},
                {"m7i m7a.large", 27, true, 1, false},
                {"7i.large", 27, true, 1, false},
                {"", 27, true, 1, false},
                {NULL, 27, true, 1, false},
                {"m7i.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxlarge",
                 27, true, 1, false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                LimitsAws limits = limits_aws_type(cases[i].type);

                print_message("%s\n", cases[i].type ?: "NULL");
                assert_int_equal(limits.attachments, cases[i].attachments);
                assert_int_equal(limits.is_shared, cases[i].is_shared);
                assert_int_equal(limits.cards, cases[i].cards);
                assert_int_equal(limits.is_known, cases[i].is_known);
        }
}

/* NodeGetInfo's number: table, less reserved, less interfaces where they share. */
static void test_aws_volumes(void **state) {
        static const struct {
                const char *type;
                LimitsAwsUse use;
                unsigned int volumes;
        } cases[] = {
                {"m7i.large", {.reserved = 0, .n_interfaces = 1}, 32},
                {"m7i.large", {.reserved = 0, .n_interfaces = 4}, 32}, /* they do not share */
                {"m7i.large", {.reserved = 2, .n_interfaces = 4}, 30},
                {"m7i.large", {.reserved = -1, .n_interfaces = 1, .n_block_devices = 0}, 31},
                {"m7i.large", {.reserved = -1, .n_interfaces = 1, .n_block_devices = 2}, 29},
                {"m5.large", {.reserved = 0, .n_interfaces = 1}, 27},
                {"m5.large", {.reserved = 0, .n_interfaces = 3}, 25},
                {"m5.large", {.reserved = 0, .n_interfaces = 0}, 27}, /* not learned */
                {"m5.large", {.reserved = -1, .n_interfaces = 3, .n_block_devices = 1}, 23},
                {"m5d.24xlarge", {.reserved = 1, .n_interfaces = 15}, 8},
                {"d3.8xlarge", {.reserved = 0, .n_interfaces = 15}, 1},
                {"d3.8xlarge", {.reserved = 3, .n_interfaces = 1}, 1},
                {"d3.8xlarge", {.reserved = INT64_MAX, .n_interfaces = 1}, 1},
                {"d3.8xlarge", {.reserved = INT64_MIN, .n_block_devices = UINT32_MAX}, 1},
                {"d3.8xlarge", {.reserved = 0, .n_interfaces = UINT32_MAX}, 1},
                {"", {.reserved = 0, .n_interfaces = 1}, 27},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_int_equal(limits_aws_volumes(cases[i].type, &cases[i].use),
                                 cases[i].volumes);
}

static void test_azure_disks(void **state) {
        static const struct {
                const char *size;
                unsigned int disks;
                bool is_known;
        } cases[] = {
                /* D/E v3 to v5, F v2, L. */
                {"Standard_D2s_v5", 4, true},
                {"Standard_D4s_v5", 8, true},
                {"Standard_D8s_v3", 16, true},
                {"STANDARD_D16S_V4", 32, true},
                {"standard_d64ds_v5", 32, true},
                {"Standard_E104ids_v5", 64, true},
                {"Standard_E112ias_v5", 64, true},
                {"Standard_F8s_v2", 16, true},
                {"Standard_L8s_v2", 16, true},
                /* B. */
                {"Standard_B1s", 2, true},
                {"Standard_B2ms", 4, true},
                {"Standard_B12ms", 16, true},
                {"Standard_B16ms", 32, true},
                /* First generations count otherwise. */
                {"Standard_DS1_v2", 4, true},
                {"Standard_DS3_v2", 16, true},
                {"Standard_DS5_v2", 64, true},
                {"Standard_DS11_v2", 8, true},
                {"Standard_D14_v2", 64, true},
                {"Standard_A5", 4, true},
                {"Basic_A0", 1, true},
                /* v6: AMD as before, others more. */
                {"Standard_D4as_v6", 8, true},
                {"Standard_D4ads_v6", 8, true},
                {"Standard_D2s_v6", 8, true},
                {"Standard_D4ds_v6", 12, true},
                {"Standard_E8s_v6", 24, true},
                {"Standard_E16bds_v6", 48, true},
                {"Standard_D32s_v6", 64, true},
                /* v7: network-optimised AMD, Arm, others. */
                {"Standard_D4ans_v7", 8, true},
                {"Standard_D4ps_v7", 12, true},
                {"Standard_D2s_v7", 10, true},
                {"Standard_D8s_v7", 26, true},
                {"Standard_F2s_v7", 8, true},
                {"Standard_F2as_v7", 12, true},
                {"Standard_F8as_v7", 48, true},
                /* GPUs. */
                {"Standard_NC24ads_A100_v4", 8, true},
                {"Standard_NV36ads_A10_v5", 32, true},
                {"Standard_ND96asr_v4", 16, true},
                /* Constrained sizes have the disks of the whole one, with two exceptions. */
                {"Standard_E16-4s_v5", 32, true},
                {"Standard_M64-16ms", 64, true},
                {"Standard_E8-2s_v5", 16, true},
                {"Standard_E8-4s_v5", 32, true},
                {"Standard_E8-4ds_v5", 32, true},
                /* Of a known series. */
                {"Standard_D24s_v5", 32, true},
                /* Not known. */
                {"Standard_Z4s_v9", 16, false},
                {"Standard_D4s_v99", 16, false},
                {"Standard_", 16, false},
                {"Standard_D", 16, false},
                {"Standard_D4s v5", 16, false},
                {"Standard_D4s_v5 D#S_V5", 16, false},
                {"Standard_D99999999999999999999s_v5", 16, false},
                {"#", 16, false},
                {"", 16, false},
                {NULL, 16, false},
                {"Standard_D4s_"
                 "vxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                 16, false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                bool is_known;

                print_message("%s\n", cases[i].size ?: "NULL");
                assert_int_equal(limits_azure_disks(cases[i].size, &is_known), cases[i].disks);
                assert_int_equal(is_known, cases[i].is_known);
        }
        assert_int_equal(limits_azure_volumes("Standard_D4s_v5", 0), 8);
        assert_int_equal(limits_azure_volumes("Standard_D4s_v5", 3), 5);
        assert_int_equal(limits_azure_volumes("Standard_D4s_v5", 8), 1);
        assert_int_equal(limits_azure_volumes("Standard_D4s_v5", UINT64_MAX), 1);
}

static void test_gce(void **state) {
        static const struct {
                const char *type;
                unsigned int volumes;
        } cases[] = {
                {"f1-micro", 15},
                {"g1-small", 15},
                {"e2-medium", 15},
                {"e2-standard-2", 127},
                {"n1-standard-1", 127},
                {"custom-4-8192", 127},
                {"c4-standard-2", 7},
                {"c4-standard-4", 15},
                {"c4-standard-8", 31},
                {"c4-highmem-24-lssd", 31},
                {"c4-standard-48", 63},
                {"c4-standard-96", 127},
                {"c4-standard-288", 127},
                {"c4d-standard-2", 3},
                {"c4d-standard-8", 15},
                {"c4d-standard-96", 31},
                {"c4d-standard-384", 127},
                {"c4a-standard-1", 7},
                {"c4a-standard-72", 63},
                {"n4-standard-8", 15},
                {"n4-standard-16", 31},
                {"n4-custom-4-8192", 15},
                {"n4d-standard-96", 31},
                {"n4a-standard-64", 31},
                {"a4x-highgpu-1g", 63},
                {"a4x-highgpu-4g", 127},
                {"a4x-maxgpu-4g-metal", 31},
                {"x4-megamem-960-metal", 39},
                {"a4-highgpu-8g", 127},
                {"c3-standard-192-metal", 15},
                {"c3-standard-192", 127},
                {"c4-standard-x", 127},
                {"c4-standard", 127},
                {"c4-standard-99999999999", 127},
                {"", 127},
                {NULL, 127},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                print_message("%s\n", cases[i].type ?: "NULL");
                assert_int_equal(limits_gce_volumes(cases[i].type), cases[i].volumes);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_aws_types),
                cmocka_unit_test(test_aws_volumes),
                cmocka_unit_test(test_azure_disks),
                cmocka_unit_test(test_gce),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
