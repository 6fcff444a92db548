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

static void test_for_type(void **state) {
        MountOptions options = {0};

        options_add_for(&options, "ext4");
        assert_int_equal(options.n_options, 0);
        options_add_for(&options, "xfs");
        options_add_for(&options, "xfs");
        assert_int_equal(options.n_options, 1);
        assert_non_null(mount_options_get(&options, "nouuid"));
        assert_false(options_drop_selinux(&options));
        assert_int_equal(mount_options_add(&options, "context=a,rootcontext=b,x=1"), 0);
        assert_true(options_drop_selinux(&options));
        assert_int_equal(options.n_options, 2);
}

static int check_words(const char *fs_type, const char *line, Error *err) {
        const char *words[16];
        char copy[256], *save, *at;
        size_t n = 0;

        assert_true(strlen(line) < sizeof(copy));
        (void)snprintf(copy, sizeof(copy), "%s", line);
        for (at = strtok_r(copy, " ", &save); at; at = strtok_r(NULL, " ", &save))
                words[n++] = at;
        return mkfs_words_check(fs_type, words, n, err);
}

static void test_mkfs_words(void **state) {
        static const struct {
                const char *fs_type, *line;
                bool ok;
        } cases[] = {
                {"ext4", "", true},
                {"ext4", "-m 0 -b 4096 -E nodiscard,lazy_itable_init=0 -O ^has_journal", true},
                {"ext4", "-m0 -i16384", true},
                {"ext4", "-J size=64", true},
                {"ext4", "-J device=UUID=x", false},
                {"ext4", "-Jsize=4,device=x", false},
                {"ext4", "-O journal_dev", false},
                {"ext4", "-E offset=4096", false},
                {"ext4", "-d /etc", false},
                {"ext4", "-c", false},
                {"ext4", "-l list", false},
                {"ext4", "-F", false},
                {"ext4", "-n", false},
                {"ext4", "/dev/sda", false},
                {"ext4", "-m 0 sda", false},
                {"ext4", "-j sda", false},
                {"ext4", "-b 4096 -L /dev/sda", false},
                {"ext4", "-", false},
                {"ext4", "--", false},
                {"xfs", "-m reflink=0,bigtime=0 -i nrext64=0 -K", true},
                {"xfs", "-d su=64k,sw=4", true},
                {"xfs", "-d name=x", false},
                {"xfs", "-d file=1", false},
                {"xfs", "-l logdev=x", false},
                {"xfs", "-r rtdev=x", false},
                {"xfs", "-p proto", false},
                {"xfs", "-c options=x", false},
                {"xfs", "-f", false},
                {"xfs", "-N", false},
                {"xfs", "-K sda", false},
                {"btrfs", "--csum xxhash -m single -n 16384", true},
                {"btrfs", "--csum=xxhash --nodiscard", true},
                {"btrfs", "--rootdir x", false},
                {"btrfs", "-r x", false},
                {"btrfs", "-f", false},
                {"btrfs", "-M sda", false},
                {"btrfs", "--mixed sda", false},
                {"btrfs", "--csum=xxhash sda", false},
                {"vfat", "-n x", false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Error err = {0};
                int r = check_words(cases[i].fs_type, cases[i].line, &err);

                if ((r == 0) != cases[i].ok)
                        fail_msg("%s %s: %s", cases[i].fs_type, cases[i].line, err.message);
                if (r < 0)
                        assert_int_equal(err.code, ERROR_INVALID);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),   cmocka_unit_test(test_refused_flags),
                cmocka_unit_test(test_context),    cmocka_unit_test(test_for_type),
                cmocka_unit_test(test_mkfs_words),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
