/* SPDX-License-Identifier: Apache-2.0 */

/* The helpers of test.h do what they promise. */

#include "tests/lib/test.h"

#include <dirent.h>
#include <linux/fs.h>

static void test_only_loopback(void) {
        struct if_nameindex *links = if_nameindex();

        assert(links);
        assert(strcmp(links[0].if_name, "lo") == 0);
        assert(links[1].if_index == 0);
        if_freenameindex(links);
        assert(access("/sys/class/net/lo", F_OK) == 0);
}

static void test_run_is_empty(void) {
        DIR *dir = opendir("/run/netns");

        assert(dir);
        for (struct dirent *entry; (entry = readdir(dir));)
                assert(entry->d_name[0] == '.');
        closedir(dir);
}

static void test_loop(void) {
        char path[32];
        uint64_t size_bytes = 0;
        int fd = test_loop_open(1U << 20, path);

        assert(ioctl(fd, BLKGETSIZE64, &size_bytes) == 0);
        assert(size_bytes == 1U << 20);
        close(fd);
}

int main(void) {
        test_private_namespaces(0);
        test_only_loopback();
        test_run_is_empty();
        if (geteuid() == 0 && access("/dev/loop-control", W_OK) == 0)
                test_loop();
        return 0;
}
