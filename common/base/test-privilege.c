/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/privilege.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define KEEP (PRIVILEGE_BIT(CAP_SYS_ADMIN) | PRIVILEGE_BIT(CAP_FOWNER))

static uint64_t read_status(const char *field) {
        cleanup(freep) char *text = NULL;
        char *at;

        assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/status", 65536, &text, NULL), 0);
        at = strstr(text, field);
        assert_non_null(at);
        return strtoull(at + strlen(field), NULL, 16);
}

static int limited(void) {
        uint64_t before = read_status("\nCapPrm:\t"), bound = read_status("\nCapBnd:\t");
        bool may_bound = privilege_has(CAP_SETPCAP);

        if (privilege_limit(KEEP) != 0)
                return 1;
        if (read_status("\nCapPrm:\t") != (before & KEEP) ||
            read_status("\nCapEff:\t") != (before & KEEP))
                return 2;
        if (read_status("\nCapBnd:\t") != (may_bound ? bound & KEEP : bound))
                return 3;
        if (read_status("\nNoNewPrivs:\t") != 1 || privilege_has(CAP_NET_ADMIN))
                return 4;
        if (privilege_has(CAP_SYS_ADMIN) != ((before >> CAP_SYS_ADMIN & 1) != 0))
                return 5;
        /* Again, and to less. */
        return privilege_limit(KEEP) == 0 && privilege_limit(0) == 0 &&
                               read_status("\nCapPrm:\t") == 0
                       ? 0
                       : 6;
}

/* In a child: it cannot be taken back. */
static void test_limit(void **state) {
        int status;
        pid_t child = fork();

        if (child == 0)
                _exit(limited());
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_has(void **state) {
        assert_false(privilege_has(64));
        assert_false(privilege_has(UINT32_MAX));
        assert_int_equal(privilege_has(CAP_SYS_ADMIN),
                         (int)(read_status("\nCapEff:\t") >> CAP_SYS_ADMIN & 1));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_limit),
                cmocka_unit_test(test_has),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
