/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spec/test-support.h"

#include "cni/cli/commands.h"

static void test_directories(void **state) {
        static const struct {
                const char *text, *plugins, *configurations;
        } cases[] = {
                {"bin_dir = \"/a\"\nconf_dir=\"/b/\"", "/a", "/b"},
                {"  bin_dirs = [\"/a\", \"/x\"]\n", "/a", ""},
                {"plugin_dirs = [ '/a' ]\nnetwork_dir = '/b'", "/a", "/b"},
                {"bin_dir = \"\"\nbin_dir = \"relative\"\nbin_dir = \"/a\"", "/a", ""},
                {"#bin_dir = \"/a\"\nmy_bin_dir = \"/b\"\nbin_dir_x = \"/c\"\nbin_dir = \"/d", "",
                 ""},
                {"", "", ""},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                CniDirectories found = {0};

                assert_int_equal(directories_parse(cases[i].text, &found),
                                 cases[i].plugins[0] || cases[i].configurations[0]);
                assert_string_equal(found.plugins, cases[i].plugins);
                assert_string_equal(found.configurations, cases[i].configurations);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_directories),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
