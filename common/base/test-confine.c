/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/confine.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int device_fd;

/* In a child: it cannot be taken back. Return: errno, or 0 when it was done. */
static int try(Confinement confinement, long (*call)(void)) {
        int status;
        pid_t child = fork();

        if (child == 0) {
                if (confine_thread(confinement, 0, device_fd) < 0)
                        _exit(255);
                errno = 0;
                _exit(call() < 0 ? errno ? errno : 254 : 0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static long try_mount(void) {
        return mount("none", "/tmp", "tmpfs", 0, NULL);
}

/* As root a user namespace is free, and gives every capability inside of it. */
static long try_unshare(void) {
        return unshare(CLONE_NEWUSER);
}

static long clone_with(unsigned long flags) {
#ifdef __s390x__
        long pid = syscall(SYS_clone, 0, flags | SIGCHLD, 0, 0, 0);
#else
        long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
#endif

        if (pid == 0)
                _exit(0);
        return pid;
}

static long try_clone_namespace(void) {
        return clone_with(CLONE_NEWUSER);
}

static long try_clone(void) {
        return clone_with(0);
}

static long try_clone3(void) {
        return syscall(SYS_clone3, NULL, 0);
}

static long try_ptrace(void) {
        return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long try_bpf(void) {
        return syscall(SYS_bpf, BPF_MAP_CREATE, NULL, 0);
}

static long try_module(void) {
        return syscall(SYS_init_module, NULL, 0, "");
}

static long try_uring(void) {
        return syscall(SYS_io_uring_setup, 1, NULL);
}

static long try_inet(void) {
        return socket(AF_INET, SOCK_STREAM, 0);
}

static long try_netlink(void) {
        return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long try_unix(void) {
        return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long try_crypto(void) {
        return socket(AF_ALG, SOCK_SEQPACKET, 0);
}

static long try_keys(void) {
        return syscall(SYS_keyctl, 0, -1, 0); /* KEYCTL_GET_KEYRING_ID of the thread */
}

static long try_quota(void) {
        return syscall(443, -1, 0, 0, NULL); /* quotactl_fd() */
}

static long try_tree(void) {
        return syscall(467, -1, "", 0, NULL, 0); /* open_tree_attr() */
}

static long try_newest(void) {
        return syscall(9999);
}

static long try_open(const char *path, int flags) {
        return open(path, flags | O_CLOEXEC);
}

static long try_core_pattern(void) {
        return try_open("/proc/sys/kernel/core_pattern", O_WRONLY);
}

static long try_own_score(void) {
        return try_open("/proc/self/oom_score_adj", O_WRONLY);
}

static long try_other_device(void) {
        return try_open("/dev/ptmx", O_RDONLY);
}

static long try_null(void) {
        return try_open("/dev/null", O_RDWR);
}

static long try_status(void) {
        return try_open("/proc/self/status", O_RDONLY);
}

static long try_device(void) {
        char path[32];

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", device_fd);
        return try_open(path, O_RDWR);
}

static long ask_filter(void) {
        return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER ? 0 : -1;
}

/* An emulated processor's kernel is not the one that would filter. */
static bool is_filtered(void) {
        return try(CONFINEMENT_TOOL, ask_filter) == 0;
}

static void test_refused(void **state) {
        static const struct {
                const char *name;
                long (*call)(void);
                int error;
        } cases[] = {
                {"mount", try_mount, EPERM},
                {"unshare", try_unshare, EPERM},
                {"clone", try_clone_namespace, EPERM},
                {"clone3", try_clone3, ENOSYS},
                {"ptrace", try_ptrace, EPERM},
                {"bpf", try_bpf, EPERM},
                {"module", try_module, EPERM},
                {"io_uring", try_uring, EPERM},
                {"inet", try_inet, EAFNOSUPPORT},
                {"netlink", try_netlink, EAFNOSUPPORT},
                {"keys", try_keys, EPERM},
                {"crypto", try_crypto, EAFNOSUPPORT},
                {"unix", try_unix, EAFNOSUPPORT},
                {"quotactl_fd", try_quota, EPERM},
                {"open_tree_attr", try_tree, EPERM},
                {"newer than all that is known", try_newest, ENOSYS},
                {"fork", try_clone, 0},
        };

        if (!is_filtered())
                skip();
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                int r = try(CONFINEMENT_TOOL, cases[i].call);

                if (r != cases[i].error)
                        print_message("%s: %s\n", cases[i].name, strerror(r));
                assert_int_equal(r, cases[i].error);
        }
}

static void test_crypto(void **state) {
        if (!is_filtered())
                skip();
        assert_int_not_equal(try(CONFINEMENT_CRYPTO, try_keys), EPERM);
        assert_int_equal(try(CONFINEMENT_CRYPTO, try_crypto), try(CONFINEMENT_NONE, try_crypto));
        assert_int_equal(try(CONFINEMENT_CRYPTO, try_unix), 0);
        assert_int_equal(try(CONFINEMENT_CRYPTO, try_inet), EAFNOSUPPORT);
        assert_int_equal(try(CONFINEMENT_CRYPTO, try_unshare), EPERM);
}

/* The kernel, the machine's other devices: closed; its own device, whichever that is: open. */
static void test_paths(void **state) {
        static const struct {
                const char *name;
                long (*call)(void);
        } refused[] = {
                {"core_pattern", try_core_pattern},
                {"/proc/self", try_own_score},
                {"another device", try_other_device},
        };

        if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1)
                skip();
        for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
                int r = try(CONFINEMENT_TOOL, refused[i].call);

                if (r != EACCES)
                        print_message("%s: %s\n", refused[i].name, strerror(r));
                assert_int_equal(r, EACCES);
        }
        assert_int_equal(try(CONFINEMENT_TOOL, try_null), 0);
        assert_int_equal(try(CONFINEMENT_TOOL, try_status), 0);
        device_fd = open("/dev/ptmx", O_RDONLY | O_CLOEXEC);
        if (device_fd < 0)
                skip();
        assert_int_equal(try(CONFINEMENT_TOOL, try_device), 0);
        close(device_fd);
        device_fd = 0;
        assert_int_equal(try(CONFINEMENT_CRYPTO, try_other_device), 0);
}

static const char *status_of(Confinement confinement, uint64_t keep, ExecResult *result) {
        static const char *const argv[] = {"cat", "/proc/self/status", NULL};
        const ExecRequest request = {
                .argv = argv, .confinement = confinement, .capabilities = keep};

        assert_int_equal(exec_run(&request, result), 0);
        assert_int_equal(result->exit_status, 0);
        return result->output;
}

static uint64_t field(const char *status, const char *name, int base) {
        const char *at = strstr(status, name);

        assert_non_null(at);
        return strtoull(at + strlen(name), NULL, base);
}

/* Root gets nothing back at exec, and who started it keeps all that it had. */
static void test_exec(void **state) {
        cleanup(exec_result_deinit) ExecResult before = {0}, none = {0}, one = {0}, after = {0};
        const uint64_t admin = UINT64_C(1) << CAP_SYS_ADMIN;
        const char *status = status_of(CONFINEMENT_NONE, 0, &before);
        uint64_t had = field(status, "\nCapEff:\t", 16);

        status = status_of(CONFINEMENT_TOOL, 0, &none);
        assert_int_equal(field(status, "\nCapEff:\t", 16), 0);
        assert_int_equal(field(status, "\nCapPrm:\t", 16), 0);
        assert_int_equal(field(status, "\nCapInh:\t", 16), 0);
        assert_int_equal(field(status, "\nCapAmb:\t", 16), 0);
        assert_int_equal(field(status, "\nNoNewPrivs:\t", 10), 1);
        assert_int_equal(confine_has_filter(), is_filtered());
        if (is_filtered())
                assert_int_equal(field(status, "\nSeccomp:\t", 10), SECCOMP_MODE_FILTER);
        status = status_of(CONFINEMENT_TOOL, admin, &one);
        assert_int_equal(field(status, "\nCapEff:\t", 16), had & admin);
        status = status_of(CONFINEMENT_NONE, 0, &after);
        assert_int_equal(field(status, "\nCapEff:\t", 16), had);
        assert_int_equal(field(status, "\nNoNewPrivs:\t", 10),
                         prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_crypto),
                cmocka_unit_test(test_paths),
                cmocka_unit_test(test_exec),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
