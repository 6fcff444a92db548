/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/mount/mountinfo.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#define LINE "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"

static MountTable *parse(const char *text) {
        MountTable *table = NULL;

        assert_int_equal(mountinfo_parse(text, strlen(text), &table, NULL), 0);
        return table;
}

static void test_manual_line(void **state) {
        cleanup(mount_table_freep) MountTable *table = parse(LINE);
        const Mount *mount = &table->mounts[0];

        assert_int_equal(table->n_mounts, 1);
        assert_int_equal(mount->id, 36);
        assert_int_equal(mount->parent_id, 35);
        assert_int_equal(mount->dev, makedev(98, 0));
        assert_string_equal(mount->root, "/mnt1");
        assert_string_equal(mount->target, "/mnt2");
        assert_string_equal(mount->options, "rw,noatime");
        assert_int_equal(mount->shared_group, 0);
        assert_int_equal(mount->master_group, 1);
        assert_string_equal(mount->fs_type, "ext3");
        assert_string_equal(mount->source, "/dev/root");
        assert_string_equal(mount->super_options, "rw,errors=continue");
}

static void test_optional_fields(void **state) {
        cleanup(mount_table_freep) MountTable *table =
                parse("1 0 0:1 / / rw - t s rw\n"
                      "2 1 0:2 / /a rw shared:7 master:3 propagate_from:2 future:x - t s rw\n"
                      "3 1 0:3 / /b rw unbindable - t s rw\n");

        assert_int_equal(table->mounts[0].shared_group, 0);
        assert_int_equal(table->mounts[1].shared_group, 7);
        assert_int_equal(table->mounts[1].master_group, 3);
        assert_false(table->mounts[1].is_unbindable);
        assert_true(table->mounts[2].is_unbindable);
}

static void test_escapes(void **state) {
        cleanup(mount_table_freep) MountTable *table =
                parse("1 0 0:1 /a\\040b /t\\011\\012\\134\\043\\04 rw - t \\0401 rw,x=\\0542");

        assert_string_equal(table->mounts[0].root, "/a b");
        assert_string_equal(table->mounts[0].target, "/t\t\n\\#\\04");
        assert_string_equal(table->mounts[0].source, " 1");
        assert_string_equal(table->mounts[0].super_options, "rw,x=,2");
}

/* mount -t tmpfs "" /x shows two spaces. */
static void test_empty_source(void **state) {
        cleanup(mount_table_freep) MountTable *table = parse("1 0 0:1 / /x rw - tmpfs  rw,a b\n");

        assert_string_equal(table->mounts[0].source, "");
        assert_string_equal(table->mounts[0].super_options, "rw,a b");
}

static void test_malformed(void **state) {
        static const char *const bad[] = {
                "\n",
                "1",
                "1 0 0:1 / /\n",
                "1 0 0:1 / / rw - t s",
                "1 0 0:1 / / rw t s rw\n",
                "x 0 0:1 / / rw - t s rw\n",
                "1 -1 0:1 / / rw - t s rw\n",
                "1 0 01 / / rw - t s rw\n",
                "1 0 0:4294967296 / / rw - t s rw\n",
                "1 0 0:1 / / rw shared: - t s rw\n",
                "1 0 0:1 / / rw master:1x - t s rw\n",
        };
        MountTable *table = NULL;
        size_t line = 0;

        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_int_equal(mountinfo_parse(bad[i], strlen(bad[i]), &table, NULL),
                                 MOUNTINFO_E_MALFORMED);
        assert_int_equal(
                mountinfo_parse(LINE LINE "oops\n", strlen(LINE LINE "oops\n"), &table, &line),
                MOUNTINFO_E_MALFORMED);
        assert_int_equal(line, 3);
        assert_int_equal(mountinfo_parse(LINE "\0" LINE, 2 * strlen(LINE) + 1, &table, &line),
                         MOUNTINFO_E_MALFORMED);
        assert_null(table);
}

static void test_find(void **state) {
        cleanup(mount_table_freep) MountTable *table =
                parse("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
                      "2 1 8:2 / /a rw - xfs /dev/sdb rw\n"
                      "3 2 8:2 /x /a rw - xfs /dev/sdb rw\n"
                      "4 1 8:2 / /ab rw - xfs /dev/sdb rw\n");

        assert_int_equal(mount_table_find_target(table, "/a")->id, 3);
        assert_null(mount_table_find_target(table, "/b"));
        assert_int_equal(mount_table_find_id(table, 4)->id, 4);
        assert_null(mount_table_find_id(table, 5));
}

static void test_options_have(void **state) {
        assert_true(mount_options_have("rw,ro,noatime", "ro"));
        assert_true(mount_options_have("ro", "ro"));
        assert_false(mount_options_have("rw,errors=remount-ro", "ro"));
        assert_false(mount_options_have("roo", "ro"));
        assert_false(mount_options_have("", "ro"));
        assert_true(mount_options_have("a,b", "b"));
}

/* Recorded on a node: every line must be understood, and what is in it is known. */
static void test_recorded(void **state) {
        static const struct {
                const char *file, *target;
                size_t n_mounts;
                const char *fs_type, *root;
                bool is_shared;
        } recorded[] = {
                {"node-with-pods",
                 "/var/lib/kubelet/pods/0c1d/volumes/kubernetes.io~csi/pvc-1/mount", 13, "ext4",
                 "/", true},
                {"node-with-pods",
                 "/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/publish/pvc-2/0c1d", 13,
                 "devtmpfs", "/loop7", true},
                {"awkward-names", "/t/with space\tand\\tab", 6, "tmpfs", "/deleted//deleted",
                 false},
        };

        for (size_t i = 0; i < N_ELEMENTS(recorded); i++) {
                cleanup(mount_table_freep) MountTable *table = NULL;
                cleanup(freep) char *path = NULL, *text = NULL;
                const Mount *mount;
                size_t n;

                path = str_printf("%s/mountinfo/%s", getenv("BERTH_TEST_DATA"), recorded[i].file);
                assert_int_equal(file_read_at(AT_FDCWD, path, 1UL << 20, &text, &n), 0);
                assert_int_equal(mountinfo_parse(text, n, &table, NULL), 0);
                assert_int_equal(table->n_mounts, recorded[i].n_mounts);
                mount = mount_table_find_target(table, recorded[i].target);
                assert_non_null(mount);
                assert_string_equal(mount->fs_type, recorded[i].fs_type);
                assert_string_equal(mount->root, recorded[i].root);
                assert_int_equal(mount->shared_group != 0, recorded[i].is_shared);
        }
}

static void test_read_own(void **state) {
        cleanup(mount_table_freep) MountTable *table = NULL;

        assert_int_equal(mountinfo_read(&table), 0);
        assert_non_null(mount_table_find_target(table, "/"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_manual_line),  cmocka_unit_test(test_optional_fields),
                cmocka_unit_test(test_escapes),      cmocka_unit_test(test_empty_source),
                cmocka_unit_test(test_malformed),    cmocka_unit_test(test_find),
                cmocka_unit_test(test_options_have), cmocka_unit_test(test_recorded),
                cmocka_unit_test(test_read_own),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
