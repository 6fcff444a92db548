/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/sha512.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The text is the pattern, repeated up to n bytes. Digests by sha512sum(1). */
static void test_hex(void **state) {
        /* clang-format off */
        static const struct {
                const char *pattern;
                size_t n;
                const char *hex;
        } cases[] = {
                {"", 0, "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
                {"abc", 3, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
                {"a", 111, "fa9121c7b32b9e01733d034cfc78cbf67f926c7ed83e82200ef86818196921760b4beff48404df811b953828274461673c68d04e297b0eb7b2b4d60fc6b566a2"},
                {"a", 112, "c01d080efd492776a1c43bd23dd99d0a2e626d481e16782e75d54c2503b5dc32bd05f0f1ba33e568b88fd2d970929b719ecbb152f58f130a407c8830604b70ca"},
                {"a", 128, "b73d1929aa615934e61a871596b3f3b33359f42b8175602e89f7e06e5f658a243667807ed300314b95cacdd579f3e33abdfbe351909519a846d465c59582f321"},
                {"x", 300, "0dc240ae43b18eeacef4d7d8d64b945ade43c989b724d7c7062a8029f3343caa322b9fbf42d9ff0cda98f3d7ac5a560ca219b2e73cc041f37052dfa4e84ae624"},
        };
        /* clang-format on */

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char text[512], hex[SHA512_HEX_SIZE];

                for (size_t j = 0; j < cases[i].n; j++)
                        text[j] = cases[i].pattern[j % strlen(cases[i].pattern)];
                sha512_hex(text, cases[i].n, hex);
                assert_string_equal(hex, cases[i].hex);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_hex),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
