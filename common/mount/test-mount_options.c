/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/mount/mount_options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void check(const char *words, const char *expected, unsigned int clear, size_t n_ignored) {
        MountOptions options = {0};
        char text[512];

        assert_int_equal(mount_options_add(&options, words), 0);
        (void)mount_options_format(&options, true, text, sizeof(text));
        assert_string_equal(text, expected);
        assert_int_equal(options.clear, clear);
        assert_int_equal(options.n_ignored, n_ignored);
}

static void test_split(void **state) {
        check("", "", 0, 0);
        check(",,", "", 0, 0);
        check("ro,nosuid", "ro,nosuid", 0, 0);
        check("ro,rw", "", MOUNT_FLAG_READ_ONLY, 0);
        check("rw,ro", "ro", 0, 0);
        check("suid,dev", "", MOUNT_FLAG_NO_SUID | MOUNT_FLAG_NO_DEV, 0);
        check("noatime,strictatime", "strictatime", MOUNT_FLAG_NO_ATIME, 0);
        check("noatime,relatime", "", MOUNT_FLAGS_ATIME, 0);
        check("defaults,_netdev,nofail,x-systemd.automount,X-mount.mkdir,comment=a", "", 0, 6);
        check("data=journal,discard,noexec,nosymfollow", "noexec,nosymfollow,data=journal,discard",
              0, 0);
        check("a=,b==c", "a=,b==c", 0, 0);
}

/* What kubelet sends for a volume with an SELinux label. */
static void test_quotes(void **state) {
        MountOptions options = {0};
        const char *context = "system_u:object_r:container_file_t:s0:c1,c2";
        char text[256];

        assert_int_equal(
                mount_options_add(&options,
                                  "ro,context=\"system_u:object_r:container_file_t:s0:c1,c2\",x"),
                0);
        assert_int_equal(options.n_options, 2);
        assert_string_equal(mount_options_get(&options, "context"), context);
        assert_string_equal(mount_options_get(&options, "x"), "");
        (void)mount_options_format(&options, false, text, sizeof(text));
        assert_string_equal(text, "context=\"system_u:object_r:container_file_t:s0:c1,c2\",x");
        /* What has no comma needs none afterwards. */
        options = (MountOptions){0};
        assert_int_equal(mount_options_add(&options, "a=\"1\",b=\"\",c"), 0);
        assert_int_equal(mount_options_format(&options, false, text, sizeof(text)), 8);
        assert_string_equal(text, "a=1,b=,c");
}

/* One word here and five for mount.nfs, which counts quotes in another way. */
static void test_smuggled(void **state) {
        static const char *const bad[] = {
                "x=\"a,suid,dev,y=\"b", "a=x\"1,2\",b", "a=\"1\"\"2\"", "a=\"1\"2",
                "\"a,suid\"",           "\"a\"=1",      "x=a\"\"",      "x=\"\"a,suid,dev\"\"",
        };

        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                MountOptions options = {0};

                assert_int_equal(mount_options_add(&options, bad[i]), -EINVAL);
        }
}

/* What mount(8) never hands to a filesystem. */
static void test_ignored(void **state) {
        check("helper=nfs,uhelper=udisks2,silent,loud,iversion,noiversion", "", 0, 6);
        check("nouser,nousers,noowner,nogroup,auto,noauto", "", 0, 6);
        /* With what it makes of them, until a later word takes it back. */
        check("user", "nosuid,nodev,noexec", 0, 1);
        check("user=root", "", 0, 1);
        check("exec,users", "nosuid,nodev,noexec", 0, 1);
        check("users,exec,dev", "nosuid", MOUNT_FLAG_NO_EXEC | MOUNT_FLAG_NO_DEV, 1);
        check("owner,group", "nosuid,nodev", 0, 2);
        /* Left out they would show another mount. */
        check("X-mount.mkdir=0700,x-mount.subdir=a,X-mount.nocanonicalize", "", 0, 3);
        check("X-mount.subdir=a,X-mount.idmap=u:0:1:1", "X-mount.subdir=a,X-mount.idmap=u:0:1:1", 0,
              0);
}

/* As mount(8): 2.38 takes an empty value of every flag, 2.39 those that say where. */
static void test_flag_values(void **state) {
        check("ro=", "ro", 0, 0);
        check("ro,rw=", "", MOUNT_FLAG_READ_ONLY, 0);
        check("ro=recursive,noatime=", "ro,noatime", MOUNT_FLAG_STRICT_ATIME, 0);
        check("nosuid=vfs,nodev=recursive,exec=\"\"", "nosuid,nodev", MOUNT_FLAG_NO_EXEC, 0);
        check("norelatime=,symfollow=vfs", "", MOUNT_FLAG_NO_SYMLINK_FOLLOW, 0);
        check("users=,defaults=,nofail=,user=", "nosuid,nodev,noexec", 0, 4);
        check("owner=\"\"", "nosuid,nodev", 0, 1);
        check("users=1", "", 0, 1);
        check("sync=,lazytime=", "sync=,lazytime=", 0, 0);
}

static void test_refused(void **state) {
        static const struct {
                const char *words;
                int r;
                const char *refused;
        } cases[] = {
                {"context=\"a,b", -EINVAL, "context"},
                {"=x", -EINVAL, ""},
                {"a\nb", -EINVAL, "a\nb"},
                {"acl,a=\x7f", -EINVAL, "a"},
                {"password=\"secret", -EINVAL, "password"},
                {"ro=1", -EOPNOTSUPP, "ro"},
                {"ro=vfs", -EOPNOTSUPP, "ro"},
                {"noatime,rw=fs,sync", -EOPNOTSUPP, "rw"},
                {"nosuid=fs", -EOPNOTSUPP, "nosuid"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                MountOptions options = {0};

                assert_int_equal(mount_options_add(&options, cases[i].words), cases[i].r);
                assert_string_equal(options.refused, cases[i].refused);
        }
}

static void test_room(void **state) {
        MountOptions options = {0};
        char text[16];

        for (size_t i = 0; i < MOUNT_OPTIONS_MAX; i++)
                assert_int_equal(mount_options_add(&options, "a=1"), 0);
        assert_int_equal(mount_options_add(&options, "b"), -E2BIG);
        assert_int_equal(mount_options_add(&options, "ro"), 0);
        assert_int_equal(mount_options_format(&options, false, text, sizeof(text)),
                         MOUNT_OPTIONS_MAX * 4 - 1);
        assert_string_equal(text, "a=1,a=1,a=1,a=1");
        assert_true(mount_options_format(&options, false, NULL, 0) > 0);
}

static void test_long_text(void **state) {
        MountOptions options = {0};
        char word[MOUNT_OPTIONS_TEXT_MAX + 1];

        memset(word, 'a', sizeof(word) - 1);
        word[sizeof(word) - 1] = '\0';
        assert_int_equal(mount_options_add(&options, word), -E2BIG);
        word[sizeof(word) - 2] = '\0';
        assert_int_equal(mount_options_add(&options, word), 0);
        assert_int_equal(mount_options_add(&options, "b"), -E2BIG);
}

static void test_get_remove(void **state) {
        MountOptions options = {0}, copy = {0};
        char text[64];

        assert_int_equal(mount_options_add(&options, "a=1,b,a=2,c"), 0);
        assert_string_equal(mount_options_get(&options, "a"), "2");
        assert_null(mount_options_get(&options, "d"));
        mount_options_copy(&copy, &options);
        mount_options_remove(&options, "a");
        memset(options.text, 'z', 2);
        assert_string_equal(mount_options_get(&copy, "a"), "2");
        assert_string_equal(copy.options[0].key, "a");
        (void)mount_options_format(&options, true, text, sizeof(text));
        assert_string_equal(text, "b,c");
        (void)mount_flags_format(MOUNT_FLAG_READ_ONLY | MOUNT_FLAG_NO_DEV, text, sizeof(text));
        assert_string_equal(text, "ro,nodev");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_split),       cmocka_unit_test(test_quotes),
                cmocka_unit_test(test_smuggled),    cmocka_unit_test(test_ignored),
                cmocka_unit_test(test_flag_values), cmocka_unit_test(test_refused),
                cmocka_unit_test(test_room),        cmocka_unit_test(test_long_text),
                cmocka_unit_test(test_get_remove),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
