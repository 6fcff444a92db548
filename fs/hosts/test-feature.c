/* SPDX-License-Identifier: Apache-2.0 */
/* The feature tables against masks read in the sources of 26 kernels, and against themselves. */

#undef NDEBUG
#include "fs/hosts/hosts.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/data.h"

static FsHost host;

static const struct {
        const char *fs, *name;
        FsKind kind;
        FsClass class;
        uint64_t ignored; /* bits that the kernel's mask does not have for a reason of its own */
} classes[] = {
        {"ext4", "incompat", FS_KIND_EXT, FS_CLASS_INCOMPAT, 0},
        /* "read-only" and btree_dir are not in every mask and are treated apart. */
        {"ext4", "ro_compat", FS_KIND_EXT, FS_CLASS_RO_COMPAT, 0x1000},
        {"jbd2", "compat", FS_KIND_EXT, FS_CLASS_LOG_COMPAT, 0},
        {"jbd2", "incompat", FS_KIND_EXT, FS_CLASS_LOG_INCOMPAT, 0},
        {"xfs", "ro_compat", FS_KIND_XFS, FS_CLASS_RO_COMPAT, 0},
        {"xfs", "incompat", FS_KIND_XFS, FS_CLASS_INCOMPAT, 0},
        {"xfs", "incompat_log", FS_KIND_XFS, FS_CLASS_LOG_INCOMPAT, 0},
        /* The mark of V5 is added to the mask by the code. */
        {"xfs", "features2", FS_KIND_XFS, FS_CLASS_FEATURES2, 0x100},
        {"btrfs", "compat_ro", FS_KIND_BTRFS, FS_CLASS_RO_COMPAT, 0},
        /* Only with CONFIG_BTRFS_EXPERIMENTAL. */
        {"btrfs", "incompat", FS_KIND_BTRFS, FS_CLASS_INCOMPAT, 0x26000},
        {"erofs", "incompat", FS_KIND_EROFS, FS_CLASS_INCOMPAT, 0},
};

static bool check_row(const char *kernel, const char *fs, const char *class, uint64_t mask) {
        for (size_t i = 0; i < N_ELEMENTS(classes); i++) {
                uint64_t have, ignored = classes[i].ignored;

                if (!str_equal(classes[i].fs, fs) || !str_equal(classes[i].name, class))
                        continue;
                have = host.masks[classes[i].kind][classes[i].class].have;
                if ((have & ~ignored) != (mask & ~ignored))
                        print_error("%s %s %s: table 0x%llx, source 0x%llx\n", kernel, fs, class,
                                    (unsigned long long)have, (unsigned long long)mask);
                assert_true((have & ~ignored) == (mask & ~ignored));
                return true;
        }
        return false;
}

static void test_masks(void **state) {
        cleanup(fclosep) FILE *file = open_data("kernel-masks.csv");
        char line[256], kernel[64], fs[16], class[32], mask[24];
        unsigned int n = 0;
        Error err = {0};

        (void)state;
        while (fgets(line, sizeof(line), file)) {
                if (line[0] == '#' ||
                    sscanf(line, "%63[^,],%15[^,],%31[^,],%23s", kernel, fs, class, mask) != 4)
                        continue;
                assert_int_equal(
                        fs_host_from_release(&host, kernel, 4096, FS_BYTE_ORDER_LITTLE, &err), 0);
                n += check_row(kernel, fs, class, strtoull(mask, NULL, 16));
        }
        assert_true(n > 200);
}

static void test_rows(void **state) {
        (void)state;
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];

                assert_true(f->bit && (f->bit & (f->bit - 1)) == 0);
                assert_ptr_equal(fs_feature_find(f->kind, f->class, f->bit), f);
                assert_ptr_equal(fs_feature_find_name(f->kind, f->name), f);
                assert_true(f->name[0] && strlen(f->name) < 32);
                assert_true(f->ro_since <= f->rw_since);
                if (f->plan_since != FS_VERSION_NEVER && f->plan_since != FS_VERSION_ANY)
                        assert_true(f->mkfs_on && f->plan_since >= f->rw_since);
        }
}

static void test_aliases(void **state) {
        (void)state;
        assert_string_equal(fs_feature_find_name(FS_KIND_EXT, "extents")->name, "extent");
        assert_string_equal(fs_feature_find_name(FS_KIND_BTRFS, "no-holes")->name, "no_holes");
        assert_string_equal(fs_feature_find_name(FS_KIND_BTRFS, "bgt")->name, "block_group_tree");
        assert_null(fs_feature_find_name(FS_KIND_XFS, "orphan_file"));
        assert_null(fs_feature_find(FS_KIND_EXT, FS_CLASS_INCOMPAT, 0x40000));
}

static void test_versions(void **state) {
        static const struct {
                const char *text;
                uint32_t version;
        } rows[] = {
                {"5.10", FS_VERSION(5, 10, 0)},
                {"v6.2", FS_VERSION(6, 2, 0)},
                {"6.1.192", FS_VERSION(6, 1, 192)},
                {"3.10.0-1160.el7.x86_64", FS_VERSION(3, 10, 0)},
                {"4.14.336-foo", FS_VERSION(4, 14, 336)},
                {"7.3-rc1", FS_VERSION(7, 3, 0)},
                {"6", FS_VERSION(6, 0, 0)},
                {"99999.99999.99999", FS_VERSION(254, 4095, 4095)},
        };
        char text[24];
        uint32_t version;

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                assert_int_equal(fs_version_parse(rows[i].text, &version), 0);
                assert_int_equal(version, rows[i].version);
        }
        assert_int_equal(fs_version_parse("", &version), -EINVAL);
        assert_int_equal(fs_version_parse("x86", &version), -EINVAL);
        assert_int_equal(fs_version_parse("5.x", &version), -EINVAL);
        assert_string_equal(fs_version_format(FS_VERSION(5, 10, 0), text), "5.10");
        assert_string_equal(fs_version_format(FS_VERSION(6, 1, 192), text), "6.1.192");
        assert_true(FS_VERSION(4, 14, 336) < FS_VERSION(4, 15, 0));
}

/* A format of which no row tells a driver is not known, rather than mounted by no kernel. */
static void test_drivers(void **state) {
        (void)state;
        for (FsKind kind = FS_KIND_EXT; kind < _FS_KIND_N; kind++)
                assert_in_range(fs_driver_since(kind), FS_VERSION(2, 6, 0), FS_VERSION(8, 0, 0));
        assert_int_equal(fs_driver_since(FS_KIND_NTFS), FS_VERSION(5, 15, 0));
        assert_int_equal(fs_driver_since(FS_KIND_NONE), FS_VERSION_ANY);
        assert_int_equal(fs_driver_since(_FS_KIND_N), FS_VERSION_ANY);
}

static void test_gates(void **state) {
        (void)state;
        for (FsGate gate = FS_GATE_NONE + 1; gate < _FS_GATE_N; gate++) {
                assert_non_null(fs_gates[gate].options[0]);
                assert_true(str_has_prefix(fs_gates[gate].options[0], "CONFIG_"));
                assert_non_null(strstr(fs_gate_text(gate), "CONFIG_"));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_versions), cmocka_unit_test(test_rows),
                cmocka_unit_test(test_aliases),  cmocka_unit_test(test_masks),
                cmocka_unit_test(test_gates),    cmocka_unit_test(test_drivers),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
