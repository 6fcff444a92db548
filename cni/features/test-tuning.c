/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "cni/features/tuning_conf.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_paths(void **state) {
        static const struct {
                const char *key, *path; /* NULL: refused */
        } cases[] = {
                {"net.core.somaxconn", "/proc/sys/net/core/somaxconn"},
                {"net/core/somaxconn", "/proc/sys/net/core/somaxconn"},
                {"/net//core/somaxconn", "/proc/sys/net/core/somaxconn"},
                {"net.ipv4.conf.IFNAME.arp_filter", "/proc/sys/net/ipv4/conf/eth0.7/arp_filter"},
                {"net.IFNAME.IFNAME", "/proc/sys/net/eth0.7/IFNAME"},
                {"net..x", "/proc/sys/net/x"},
                {"kernel.hostname", NULL},
                {"network.x", NULL},
                {"net", NULL},
                {"net.", NULL},
                {"", NULL},
                {"IFNAME", NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char path[TUNING_PATH_MAX];
                Error err = {0};
                int r = tuning_sysctl_path(cases[i].key, "eth0.7", path, &err);

                assert_int_equal(r < 0, cases[i].path == NULL);
                if (cases[i].path)
                        assert_string_equal(path, cases[i].path);
        }
}

/* An interface's name has no "/", but ".." it may not be either. */
static void test_path_does_not_climb(void **state) {
        char path[TUNING_PATH_MAX], key[TUNING_PATH_MAX + 10];
        Error err = {0};

        assert_true(tuning_sysctl_path("net.IFNAME.IFNAME", "..", path, &err) < 0);
        assert_true(tuning_sysctl_path("net.IFNAME", "..", path, &err) < 0);
        memset(key, 'x', sizeof(key) - 1);
        memcpy(key, "net.", 4);
        key[sizeof(key) - 1] = '\0';
        assert_true(tuning_sysctl_path(key, "eth0", path, &err) < 0);
}

static void test_allowlist(void **state) {
        static const char list[] =
                "\n  ^net\\.ipv4\\.conf\\.[a-z0-9]+\\.arp_filter$\r\nsomaxconn\n";
        Error err = {0};

        assert_int_equal(tuning_is_allowed("net.ipv4.conf.eth0.arp_filter", list, &err), 0);
        assert_int_equal(tuning_is_allowed("net.core.somaxconn", list, &err), 0);
        assert_true(tuning_is_allowed("net.ipv4.conf.eth0.arp_filters", list, &err) < 0);
        assert_int_equal(err.code, ERROR_DENIED);
        assert_true(tuning_is_allowed("net.x", "", &err) < 0);
        err = (Error){0};
        assert_true(tuning_is_allowed("net.x", "(", &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_paths),
                cmocka_unit_test(test_path_does_not_climb),
                cmocka_unit_test(test_allowlist),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
