/* SPDX-License-Identifier: Apache-2.0 */

#include "tests/lib/test.h"

#include "common/netns/netns.h"

static void test_open(void) {
        int fd = -1;

        assert(netns_open("/run/netns/none", &fd) == -ENOENT);
        assert(netns_open("/run", &fd) == NETNS_E_NOT_NETNS);
        assert(netns_open("/proc/self/status", &fd) == NETNS_E_NOT_NETNS);
        assert(netns_open("/proc/self/ns/mnt", &fd) == NETNS_E_NOT_NETNS);
        assert(mkfifo("/run/fifo", 0600) == 0);
        assert(netns_open("/run/fifo", &fd) == NETNS_E_NOT_NETNS);
        assert(fd == -1);
        assert(netns_open("/proc/self/ns/net", &fd) == 0 && fd >= 0);
        close(fd);
}

static int look(void *userdata) {
        *(unsigned int *)userdata = if_nametoindex("only-here");
        return 7;
}

static void test_call(void) {
        unsigned int index = 1;
        int own = -1, other;
        bool same;
        struct ifreq request = {.ifr_name = "lo"};
        int control;

        other = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        assert(other >= 0);
        control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        (void)snprintf(request.ifr_newname, sizeof(request.ifr_newname), "only-here");
        assert(ioctl(control, 0x8913 /* SIOCGIFFLAGS */, &request) == 0);
        request.ifr_flags = 0;
        assert(ioctl(control, 0x8914 /* SIOCSIFFLAGS */, &request) == 0);
        (void)snprintf(request.ifr_newname, sizeof(request.ifr_newname), "only-here");
        assert(ioctl(control, 0x8923 /* SIOCSIFNAME */, &request) == 0);
        close(control);
        assert(unshare(CLONE_NEWNET) == 0);
        assert(netns_open_own(&own) == 0);
        assert(netns_is_same(own, other, &same) == 0 && !same);
        assert(netns_is_same(own, own, &same) == 0 && same);
        assert(if_nametoindex("only-here") == 0);
        assert(netns_call(other, own, look, &index) == 7 && index == 1);
        assert(if_nametoindex("only-here") == 0 && if_nametoindex("lo") == 1);
        assert(netns_call(-1, own, look, &index) == -EBADF);
        close(own);
        close(other);
}

/* Holder and waiter are in /proc/net/unix under the name. */
static bool somebody_waits(void) {
        char line[256];
        int n = 0;
        FILE *file = fopen("/proc/net/unix", "re");

        assert(file);
        while (fgets(line, sizeof(line), file))
                n += strstr(line, "@test/held") != NULL;
        (void)fclose(file);
        return n > 1;
}

static void test_hold_in_turn(void) {
        int fd = -1, told[2], status;
        char byte;
        pid_t pid;

        assert(pipe(told) == 0);
        pid = fork();
        assert(pid >= 0);
        if (pid == 0) {
                assert(netns_hold_name_wait("test/held", 0, &fd) == 0);
                assert(write(told[1], "x", 1) == 1);
                while (!somebody_waits())
                        continue;
                _exit(0); /* however it ends */
        }
        assert(read(told[0], &byte, 1) == 1);
        assert(netns_hold_name_wait("test/held", 0, &fd) == -EADDRINUSE);
        assert(netns_hold_name_wait("test/other", 0, &fd) == 0);
        close(fd);
        /* Longer than a test may take: it is the end of the holder that wakes. */
        assert(netns_hold_name_wait("test/held", 3600 * 1000, &fd) == 0);
        assert(waitpid(pid, &status, 0) == pid && status == 0);
        close(fd);
        assert(netns_hold_name_wait("test/held", 0, &fd) == 0);
        status = -1;
        assert(netns_hold_name_wait("test/held", 1, &status) == -ETIMEDOUT && status == -1);
        close(fd);
        close(told[0]);
        close(told[1]);
}

int main(void) {
        test_private_namespaces(0);
        test_open();
        test_call();
        test_hold_in_turn();
        return 0;
}
