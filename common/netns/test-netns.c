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

int main(void) {
        test_private_namespaces(0);
        test_open();
        test_call();
        return 0;
}
