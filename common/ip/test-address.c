/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spec/test-support.h"

#include <sys/socket.h>

static void test_parse(void **state) {
        static const struct {
                const char *text;
                int r;
                uint8_t family;
                const char *printed;
        } cases[] = {
                {"10.1.2.3", 0, AF_INET, "10.1.2.3"},
                {"010.1.2.3", -EINVAL, 0, NULL},
                {"10.1.2", -EINVAL, 0, NULL},
                {"10.1.2.3 ", -EINVAL, 0, NULL},
                {"10.1.2.256", -EINVAL, 0, NULL},
                {"", -EINVAL, 0, NULL},
                {"fd00::1", 0, AF_INET6, "fd00::1"},
                {"FD00:0:0:0:0:0:0:1", 0, AF_INET6, "fd00::1"},
                {"::ffff:10.1.2.3", 0, AF_INET, "10.1.2.3"},
                {"fe80::1%eth0", -EINVAL, 0, NULL},
                {"::", 0, AF_INET6, "::"},
                {":::", -EINVAL, 0, NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                IpAddress address = {.family = 99};
                char text[IP_TEXT_MAX];

                assert_int_equal(ip_parse(cases[i].text, &address), cases[i].r);
                assert_int_equal(address.family, cases[i].r ? 99 : cases[i].family);
                if (cases[i].r == 0)
                        assert_string_equal(ip_format(&address, text), cases[i].printed);
        }
}

static void test_prefix(void **state) {
        static const struct {
                const char *text;
                int r;
                const char *first, *last;
        } cases[] = {
                {"10.1.2.3/24", 0, "10.1.2.0", "10.1.2.255"},
                {"10.1.2.3/20", 0, "10.1.0.0", "10.1.15.255"},
                {"10.1.2.3/0", 0, "0.0.0.0", "255.255.255.255"},
                {"10.1.2.3/32", 0, "10.1.2.3", "10.1.2.3"},
                {"fd00::5/64", 0, "fd00::", "fd00::ffff:ffff:ffff:ffff"},
                {"fd00::5/127", 0, "fd00::4", "fd00::5"},
                {"10.1.2.3/33", -EINVAL, NULL, NULL},
                {"10.1.2.3/", -EINVAL, NULL, NULL},
                {"10.1.2.3/-1", -EINVAL, NULL, NULL},
                {"10.1.2.3", -EINVAL, NULL, NULL},
                {"/24", -EINVAL, NULL, NULL},
                {"fd00::/129", -EINVAL, NULL, NULL},
                {"::ffff:10.1.2.3/120", -EINVAL, NULL, NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                IpPrefix one = {0};
                IpAddress first, last;
                char text[IP_TEXT_MAX];

                assert_int_equal(ip_prefix_parse(cases[i].text, &one), cases[i].r);
                if (cases[i].r < 0)
                        continue;
                first = ip_prefix_first(&one);
                last = ip_prefix_last(&one);
                assert_string_equal(ip_prefix_format(&one, text), cases[i].text);
                assert_string_equal(ip_format(&first, text), cases[i].first);
                assert_string_equal(ip_format(&last, text), cases[i].last);
                assert_true(ip_prefix_contains(&one, &first));
                assert_true(ip_prefix_contains(&one, &last));
        }
}

static void test_order(void **state) {
        static const struct {
                const char *low, *high;
                uint64_t distance;
        } cases[] = {
                {"10.0.0.1", "10.0.0.1", 0},
                {"10.0.0.2", "10.0.0.1", 0},
                {"10.0.0.1", "10.0.1.0", 255},
                {"0.0.0.0", "255.255.255.255", UINT32_MAX},
                {"fd00::", "fd00::1:0", 65536},
                {"fd00::", "fd00::ffff:ffff:ffff:ffff", UINT64_MAX},
                {"fd00::", "fd00:0:0:1::", UINT64_MAX},
                {"::", "ffff::", UINT64_MAX},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                IpAddress low = ip(cases[i].low), high = ip(cases[i].high);

                assert_int_equal(ip_distance(&low, &high), cases[i].distance);
        }
}

static void test_step(void **state) {
        IpAddress address = ip("10.0.0.255"), expected = ip("10.0.1.0");

        assert_true(ip_next(&address));
        assert_true(ip_equal(&address, &expected));
        assert_true(ip_previous(&address));
        address = ip("255.255.255.255");
        assert_false(ip_next(&address));
        assert_true(ip_is_zero(&address));
        assert_false(ip_previous(&address));
        address = ip("fd00::ffff:ffff:ffff:ffff");
        assert_true(ip_next(&address));
        expected = ip("fd00:0:0:1::");
        assert_true(ip_equal(&address, &expected));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_prefix),
                cmocka_unit_test(test_order),
                cmocka_unit_test(test_step),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
