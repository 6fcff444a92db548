/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/share/helper.h"
#include "csi/share/source.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_helper_words(void **state) {
        static const struct {
                const char *words;
                ErrorCode code;
        } cases[] = {
                {"mount.nfs: access denied by server while mounting nas:/e", ERROR_DENIED},
                {"mount.nfs: mounting nas:/e failed, reason given by server: No such file or "
                 "directory",
                 ERROR_NOT_FOUND},
                {"mount.nfs: Connection refused for nas:/e on /t", ERROR_UNAVAILABLE},
                {"mount.nfs: Connection timed out", ERROR_UNAVAILABLE},
                {"mount.nfs: Failed to resolve server nas: Name or service not known",
                 ERROR_UNAVAILABLE},
                {"mount.nfs: requested NFS version or transport protocol is not supported",
                 ERROR_PRECONDITION},
                {"mount.nfs: No such device", ERROR_PRECONDITION},
                {"mount.nfs: an incorrect mount option was specified", ERROR_INVALID},
                {"mount.nfs: something else", ERROR_INTERNAL},
                {"", ERROR_INTERNAL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_int_equal(share_helper_code(cases[i].words), cases[i].code);
        assert_true(share_is_remote("nfs4"));
        assert_true(share_is_remote("fuse.sshfs"));
        assert_false(share_is_remote("ext4"));
        assert_false(share_is_remote("nfsd"));
        assert_false(share_is_remote(NULL));
}

/* Left: what is asked for; right: as Linux 6.1 and 6.18 show it in mountinfo. */
static void test_sources(void **state) {
        static const struct {
                const char *asked, *shown;
                bool is_same;
        } cases[] = {
                {"nas:/", "nas:/", true},
                {"nas:/a", "nas:/a", true},
                {"nas:/a//b/", "nas:/a/b", true},
                {"nas:/a/b/", "nas:/a/b", true},
                {"nas:///", "nas:/", true},
                {"nas:/./a/./b/.", "nas:/a/b", true},
                {"nas:a", "nas:/a", true},
                {"nas:", "nas:/", true},
                {"nas:/.a/..b", "nas:/.a/..b", true},
                {"nas:/a:b/", "nas:/a:b", true},
                {"[fe80::1%eth0]:/a/", "[fe80::1%eth0]:/a", true},
                {"[2001:db8::1]:/", "[2001:db8::1]:/", true},
                /* NFSv3 is shown as it was asked for. */
                {"nas:/a//b/", "nas:/a//b/", true},
                {"nas:/a", "nas:/b", false},
                {"nas:/a", "nas:/", false},
                {"nas:/a", "nas:/a/b", false},
                {"nas:/ab", "nas:/a/b", false},
                {"nas:/a", "nas2:/a", false},
                {"nas:/a", "na:s/a", false},
                {"[2001:db8::1]:/a", "[2001:db8::2]:/a", false},
                {"[2001:db8::1]:/a", "[2001:db8::1]:/b", false},
                {"[2001:db8::1", "[2001:db8::1", true},
                {"//nas/a", "//nas/a", true},
                {"//nas/a", "//nas/a/", false},
                {"", "nas:/", false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                assert_int_equal(share_is_same_source(cases[i].asked, cases[i].shown),
                                 cases[i].is_same);
                assert_int_equal(share_is_same_source(cases[i].shown, cases[i].asked),
                                 cases[i].is_same);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_helper_words),
                cmocka_unit_test(test_sources),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
