/* SPDX-License-Identifier: Apache-2.0 */

#include "common/netns/netns.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#define OWN "/proc/thread-self/ns/net"

/* Before Linux 4.11 a namespace does not tell its type. */
static bool is_old_namespace(int fd) {
        struct statfs fs;
        struct utsname host;

        return fstatfs(fd, &fs) == 0 && fs.f_type == NSFS_MAGIC && uname(&host) == 0 &&
               strverscmp(host.release, "4.11") < 0;
}

int netns_open(const char *path, int *fdp) {
        cleanup(closep) int fd = -1;
        int type;

        /* A FIFO or a tape must not make us wait. */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        /* What is no namespace does not know the request, or knows another one by that number. */
        type = ioctl(fd, NS_GET_NSTYPE);
        if (type != CLONE_NEWNET && !(type < 0 && errno == ENOTTY && is_old_namespace(fd)))
                return NETNS_E_NOT_NETNS;
        *fdp = fd_steal(&fd);
        return 0;
}

int netns_open_own(int *fdp) {
        int fd = open(OWN, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        *fdp = fd;
        return 0;
}

int netns_is_same(int fd, int other_fd, bool *samep) {
        struct stat one, other;

        if (fstat(fd, &one) < 0 || fstat(other_fd, &other) < 0)
                return -errno;
        *samep = one.st_dev == other.st_dev && one.st_ino == other.st_ino;
        return 0;
}

int netns_enter(int fd) {
        return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

int netns_call(int fd, int own_fd, int (*function)(void *userdata), void *userdata) {
        int r = netns_enter(fd);

        if (r < 0)
                return r;
        r = function(userdata);
        if (netns_enter(own_fd) < 0)
                abort();
        return r;
}

/* Return: the length of the abstract address of @name; -ENAMETOOLONG. */
static int abstract_name(const char *name, struct sockaddr_un *address) {
        size_t n = strlen(name);

        *address = (struct sockaddr_un){.sun_family = AF_UNIX};
        if (n + 1 > sizeof(address->sun_path))
                return -ENAMETOOLONG;
        memcpy(address->sun_path + 1, name, n);
        return (int)(n + offsetof(struct sockaddr_un, sun_path) + 1);
}

static int hold(const char *name, int type, int *fdp) {
        struct sockaddr_un address;
        int n = abstract_name(name, &address);
        cleanup(closep) int fd = -1;

        if (n < 0)
                return n;
        fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (bind(fd, (const struct sockaddr *)&address, (socklen_t)n) < 0)
                return -errno;
        if (type == SOCK_SEQPACKET && listen(fd, SOMAXCONN) < 0)
                return -errno;
        *fdp = fd_steal(&fd);
        return 0;
}

int netns_hold_name(const char *name, int *fdp) {
        return hold(name, SOCK_DGRAM, fdp);
}

/* Whoever connects to the holder's socket, which never accepts, is hung up on when that is closed.
 * Return: 0: try again; -ETIMEDOUT; another -errno. */
static int wait_for_holder(const char *name, uint64_t end) {
        uint64_t now = clock_msecs();
        struct sockaddr_un address;
        int n = abstract_name(name, &address);
        cleanup(closep) int fd = -1;
        struct pollfd hangup;

        if (now >= end)
                return -ETIMEDOUT;
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* Gone again, not listening yet, or more who wait than the kernel lets queue. */
        if (connect(fd, (const struct sockaddr *)&address, (socklen_t)n) < 0) {
                if (errno != ECONNREFUSED && errno != EAGAIN)
                        return -errno;
                clock_sleep(1);
                return 0;
        }
        hangup = (struct pollfd){.fd = fd};
        return poll(&hangup, 1, (int)(end - now)) < 0 && errno != EINTR ? -errno : 0;
}

int netns_hold_name_wait(const char *name, unsigned int msecs, int *fdp) {
        uint64_t end = clock_msecs() + msecs;
        int r;

        while ((r = hold(name, SOCK_SEQPACKET, fdp)) == -EADDRINUSE && msecs > 0) {
                r = wait_for_holder(name, end);
                if (r < 0)
                        return r;
        }
        return r;
}
