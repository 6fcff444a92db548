/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_TEST_H
#define BERTH_TEST_H

/*
 * For tests in C that touch the kernel. Each test program has namespaces of its own, or says why it
 * cannot and is skipped (exit code 77). Nothing it makes outlives it: links and mounts go with the
 * namespaces, loop devices detach themselves when the last file descriptor and mount has gone.
 *
 * Include it in the one .c file of a test program; asserts are always on here.
 */

#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_SKIPPED 77

__attribute__((format(printf, 1, 2), noreturn, unused)) static void test_skip(const char *format,
                                                                              ...) {
        va_list args;

        va_start(args, format);
        fputs("skipped: ", stdout);
        vprintf(format, args);
        va_end(args);
        putchar('\n');
        fflush(stdout);
        _exit(TEST_SKIPPED);
}

__attribute__((unused)) static void test_require_root(void) {
        if (geteuid() != 0)
                test_skip("needs root");
}

__attribute__((unused)) static void test_write(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
                test_skip("write %s to %s: %m", text, path);
        close(fd);
}

__attribute__((unused)) static bool test_is_alone(void) {
        size_t n = 0;
        DIR *dir = opendir("/proc/self/task");

        assert(dir);
        for (const struct dirent *item; (item = readdir(dir));)
                n += item->d_name[0] != '.';
        closedir(dir);
        return n == 1;
}

/*
 * fork() for a child that goes on with the code under test. A detached thread that is just ending
 * may hold a lock of AddressSanitizer's, for which the child's own threads would wait for ever.
 */
__attribute__((unused)) static pid_t test_fork(void) {
        pid_t pid;

        while (!test_is_alone())
                usleep(1000);
        pid = fork();
        assert(pid >= 0);
        return pid;
}

/* Runs a program with its words, up to a NULL; no shell. Return: its exit code; 127 if there is
 * none of that name, -1 if it was killed. */
__attribute__((unused, sentinel)) static int test_run(const char *program, ...) {
        char *argv[32] = {strdup(program)};
        int n = 1, status;
        va_list args;
        pid_t pid;

        va_start(args, program);
        for (const char *word; n < 31 && (word = va_arg(args, const char *));)
                argv[n++] = strdup(word);
        va_end(args);
        fflush(stdout);
        pid = fork();
        assert(pid >= 0);
        if (pid == 0) {
                execvp(argv[0], argv);
                _exit(127);
        }
        assert(waitpid(pid, &status, 0) == pid);
        while (n > 0)
                free(argv[--n]);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

__attribute__((unused)) static void test_loopback_up(void) {
        struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        assert(fd >= 0);
        assert(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
        close(fd);
}

/*
 * Own network and mount namespace, and without root an own user namespace in which we are root.
 * /sys shows the new network namespace, /run is empty and writable, lo is up. @flags: more
 * CLONE_NEW* to unshare.
 */
__attribute__((unused)) static void test_private_namespaces(int flags) {
        uid_t uid = geteuid();
        gid_t gid = getegid();
        char map[64];

        flags |= CLONE_NEWNET | CLONE_NEWNS;
        if (uid != 0)
                flags |= CLONE_NEWUSER;
        if (unshare(flags) < 0)
                test_skip("cannot have own namespaces: %m");
        if (flags & CLONE_NEWUSER) {
                test_write("/proc/self/setgroups", "deny");
                snprintf(map, sizeof(map), "0 %u 1", uid);
                test_write("/proc/self/uid_map", map);
                snprintf(map, sizeof(map), "0 %u 1", gid);
                test_write("/proc/self/gid_map", map);
        }
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                test_skip("cannot make mounts private: %m");
        if (mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
                test_skip("cannot mount sysfs: %m");
        if (mount("tmpfs", "/run", "tmpfs", 0, "mode=755") < 0)
                test_skip("cannot mount tmpfs: %m");
        assert(mkdir("/run/netns", 0755) == 0);
        test_loopback_up();
}

/*
 * A loop device of @size_bytes on an unlinked sparse file below $TMPDIR or /var/tmp. @path: gets
 * its name. Return: a file descriptor; closing it, also by dying, detaches the device.
 */
__attribute__((unused)) static int test_loop_open(uint64_t size_bytes, char path[32]) {
        const char *directory = getenv("TMPDIR");
        struct loop_config config = {.info.lo_flags = LO_FLAGS_AUTOCLEAR};
        char file[256];
        int control, number, fd, backing;

        snprintf(file, sizeof(file), "%s/berth-loop-XXXXXX", directory ? directory : "/var/tmp");
        backing = mkostemp(file, O_CLOEXEC);
        assert(backing >= 0);
        unlink(file);
        assert(ftruncate(backing, (off_t)size_bytes) == 0);
        control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        if (control < 0)
                test_skip("no loop devices: %m");
        config.fd = (uint32_t)backing;
        /* Somebody else may take the free number first. */
        for (int tries = 0; tries < 64; tries++) {
                number = ioctl(control, LOOP_CTL_GET_FREE);
                assert(number >= 0);
                snprintf(path, 32, "/dev/loop%d", number);
                fd = open(path, O_RDWR | O_CLOEXEC);
                assert(fd >= 0);
                if (ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
                        close(control);
                        close(backing);
                        return fd;
                }
                assert(errno == EBUSY);
                close(fd);
        }
        test_skip("no free loop device");
}

#endif
