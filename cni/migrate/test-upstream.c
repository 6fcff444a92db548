/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spec/test-support.h"

#include "cni/migrate/upstream.h"

/* As utils.MustFormatChainNameWithPrefix("test", "1234", ...) gives them; 28 bytes each. */
static void test_chain_names(void **state) {
        char name[LEGACY_CHAIN_SIZE];

        legacy_chain_name("test", "1234", "", name);
        assert_string_equal(name, "CNI-2bbe0c48b91a7d1b8a6753a8");
        legacy_chain_name("test", "1234", "SN-", name);
        assert_string_equal(name, "CNI-SN-2bbe0c48b91a7d1b8a675");
        legacy_chain_name("test", "1234", "DN-", name);
        assert_string_equal(name, "CNI-DN-2bbe0c48b91a7d1b8a675");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_chain_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
