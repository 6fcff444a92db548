/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/node/options.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void check(AccessMode mode, const char *flag, const char *expected) {
        const VolumeCapability capability = {
                .mount_flags = &flag, .n_mount_flags = 1, .access_mode = mode};
        MountOptions options = {0};
        char text[256];
        Error err = {0};

        assert_int_equal(options_from_capability(&options, &capability, NULL, &err), 0);
        (void)mount_options_format(&options, true, text, sizeof(text));
        assert_string_equal(text, expected);
}

static void test_defaults(void **state) {
        check(ACCESS_MODE_SINGLE_NODE_WRITER, "", "nosuid,nodev");
        check(ACCESS_MODE_SINGLE_NODE_WRITER, "suid", "nodev");
        check(ACCESS_MODE_SINGLE_NODE_WRITER, "dev,exec,discard", "nosuid,discard");
        check(ACCESS_MODE_MULTI_NODE_READER_ONLY, "", "ro,nosuid,nodev");
        check(ACCESS_MODE_SINGLE_NODE_READER_ONLY, "rw", "ro,nosuid,nodev");
        check(ACCESS_MODE_SINGLE_NODE_WRITER, "context=\"a:b:s0:c1,c2\"",
              "nosuid,nodev,context=\"a:b:s0:c1,c2\"");
        check(ACCESS_MODE_SINGLE_NODE_WRITER, "errors=remount-ro",
              "nosuid,nodev,errors=remount-ro");
        check(ACCESS_MODE_SINGLE_NODE_WRITER, "noload,ro", "ro,nosuid,nodev,noload");
        check(ACCESS_MODE_SINGLE_NODE_READER_ONLY, "rescue=all", "ro,nosuid,nodev,rescue=all");
}

static void test_refused_flags(void **state) {
        static const char *const bad[] = {
                "logdev=/dev/sda",
                "rtdev=/dev/sda",
                "device=/dev/sda",
                "journal_path=/x",
                "loop",
                "bind",
                "remount",
                "rshared",
                "errors=panic",
                "fatal_errors=panic",
                "source=/dev/sda",
                "a=\"b",
                "ro,bind",
                "x=\"a,suid,dev,y=\"b",
                "x=\"a,errors=panic\"",
                "errors=panic,errors=remount-ro",
                "abort",
                "nobarrier",
                "barrier=0",
                "barrier=0x0",
                "data=writeback",
                "sb=131072",
                "fsync_mode=nobarrier",
                "verity.hashdevice=/dev/sda",
                "bg",
                "X-mount.subdir=a",
                "X-mount.idmap=u:0:1000:1",
                "X-mount.owner=7",
                "X-mount.mode=0700",
                "errors=continue",
                "noload",
                "norecovery",
                "rescue=all",
                "rescue=nologreplay:ignorebadroots",
                "nologreplay",
                "usebackuproot",
                "disable_roll_forward",
                "checkpoint=disable",
                "checkpoint=disable:5%",
                "ro,noload,rw",
                "ro,errors=continue",
        };

        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                const VolumeCapability capability = {.mount_flags = &bad[i], .n_mount_flags = 1};
                MountOptions options = {0};
                Error err = {0};

                assert_true(options_from_capability(&options, &capability, NULL, &err) < 0);
                assert_int_equal(err.code, ERROR_INVALID);
                /* A value may be a secret. */
                assert_null(strstr(err.message, "/dev/sda"));
        }
}

/* The options of an NFS volume's context passed beside the table, and took "nosuid" away. */
static void test_context(void **state) {
        static const struct {
                const char *flag, *context, *expected; /* NULL: refused */
        } cases[] = {
                {"vers=4.2", "ro,hard", "ro,nosuid,nodev,vers=4.2,hard"},
                {"suid", "nosuid", "nosuid,nodev"},
                {"suid,dev", "suid", ""},
                {"", "suid", NULL},
                {"", "hard,dev", NULL},
                {"", "bg", NULL},
                {"", "source=/dev/sda", NULL},
                {"", "x=\"a,suid,dev,y=\"b", NULL},
                {"", "rshared", NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                const VolumeCapability capability = {.mount_flags = &cases[i].flag,
                                                     .n_mount_flags = 1};
                MountOptions options = {0};
                char text[256];
                Error err = {0};
                int r = options_from_capability(&options, &capability, cases[i].context, &err);

                assert_int_equal(r < 0, !cases[i].expected);
                assert_int_equal(err.code, cases[i].expected ? 0 : ERROR_INVALID);
                (void)mount_options_format(&options, true, text, sizeof(text));
                if (cases[i].expected)
                        assert_string_equal(text, cases[i].expected);
        }
}

/* The same words where a disk says them. */
static void test_own(void **state) {
        static const char *const bad[] = {
                "errors=panic", "nobarrier,", "data=writeback,", "abort",  "acl,barrier=0",
                "sb=1",         "=",          "x=\"a,abort\"",   "noload", "errors=continue"};
        const MountOptions none = {0};
        Error err = {0};

        assert_int_equal(options_check_own("/dev/sdb", "", &none, false, &err), 0);
        assert_int_equal(
                options_check_own("/dev/sdb", "acl,nodelalloc,data=ordered", &none, false, &err),
                0);
        assert_int_equal(options_check_own("/dev/sdb", "noload", &none, true, &err), 0);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                err = (Error){0};
                assert_true(options_check_own("/dev/sdb", bad[i], &none, false, &err) < 0);
                assert_int_equal(err.code, ERROR_PRECONDITION);
                assert_non_null(strstr(err.message, "/dev/sdb"));
        }
}

/* The kernel takes the last word of a setting, and the mount's words come after the superblock's.
 */
static void test_of_the_superblock_and_the_mount(void **state) {
        static const struct {
                const char *own, *mount;
                bool is_taken;
        } cases[] = {
                {"errors=panic", "errors=remount-ro", true},
                {"errors=panic", "data=ordered", false},
                {"data=writeback", "data=journal", true},
                {"data=writeback,data=ordered", "acl", true},
                {"data=ordered,data=writeback", "acl", false},
                {"nobarrier,", "barrier", true},
                {"barrier=0", "barrier=1", true},
                {"nobarrier,barrier", "acl", true},
                {"barrier,nobarrier", "acl", false},
                {"nobarrier,errors=panic", "errors=remount-ro", false},
                /* Nothing of the mount's takes these back. */
                {"abort", "errors=remount-ro,data=ordered,barrier", false},
                {"noload", "errors=remount-ro", false},
                {"journal_async_commit", "data=ordered,barrier", false},
                {"journal_path=/dev/sdc", "errors=remount-ro", false},
                {"sb=32768", "sb=1", false},
                {"context=\"a,abort,b\"", "acl", false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                MountOptions mount = {0};

                assert_int_equal(mount_options_add(&mount, cases[i].mount), 0);
                assert_int_equal(options_check_own("/dev/sdb", cases[i].own, &mount, false, NULL) ==
                                         0,
                                 cases[i].is_taken);
        }
}

static void test_for_type(void **state) {
        MountOptions options = {0};

        options_add_for(&options, "btrfs");
        assert_int_equal(options.n_options, 0);
        options_add_for(&options, "ext4");
        options_add_for(&options, "ext4");
        assert_string_equal(mount_options_get(&options, "errors"), "remount-ro");
        assert_int_equal(options.n_options, 1);
        options = (MountOptions){0};
        assert_int_equal(mount_options_add(&options, "errors=continue"), 0);
        options_add_for(&options, "ext3");
        assert_string_equal(mount_options_get(&options, "errors"), "continue");
        options = (MountOptions){0};
        options_add_for(&options, "xfs");
        options_add_for(&options, "xfs");
        assert_int_equal(options.n_options, 1);
        assert_non_null(mount_options_get(&options, "nouuid"));
        assert_false(options_drop_selinux(&options));
        assert_int_equal(mount_options_add(&options, "context=a,rootcontext=b,x=1"), 0);
        assert_true(options_drop_selinux(&options));
        assert_int_equal(options.n_options, 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_refused_flags),
                cmocka_unit_test(test_context),
                cmocka_unit_test(test_own),
                cmocka_unit_test(test_of_the_superblock_and_the_mount),
                cmocka_unit_test(test_for_type),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
