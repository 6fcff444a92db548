/* SPDX-License-Identifier: Apache-2.0 */

#include "common/block/block_ioctl.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#ifndef BLKGETDISKSEQ
#define BLKGETDISKSEQ _IOR(0x12, 128, uint64_t)
#endif

int block_get_size(int fd, uint64_t *bytesp) {
        return ioctl(fd, BLKGETSIZE64, bytesp) < 0 ? -errno : 0;
}

int block_read_partitions(int fd) {
        return ioctl(fd, BLKRRPART) < 0 ? -errno : 0;
}

int block_get_read_only(int fd, bool *read_onlyp) {
        int value = 0;

        if (ioctl(fd, BLKROGET, &value) < 0)
                return -errno;
        *read_onlyp = value != 0;
        return 0;
}

int block_get_logical_sector(int fd, uint32_t *bytesp) {
        int value = 0;

        if (ioctl(fd, BLKSSZGET, &value) < 0)
                return -errno;
        *bytesp = (uint32_t)value;
        return 0;
}

int block_get_sequence(int fd, uint64_t *sequencep) {
        if (ioctl(fd, BLKGETDISKSEQ, sequencep) < 0)
                return errno == EINVAL ? -ENOTTY : -errno;
        return 0;
}

int block_flush(int fd) {
        return ioctl(fd, BLKFLSBUF, 0) < 0 ? -errno : 0;
}

static int open_settled(const char *path, int flags) {
        int fd;

        flags |= O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
        fd = open(path, flags);
        if (fd < 0 && errno == EBUSY && (flags & O_EXCL)) {
                exec_settle();
                fd = open(path, flags);
        }
        return fd < 0 ? -errno : fd;
}

int block_open(const char *path, int flags, uint64_t devno) {
        cleanup(closep) int fd = -1;
        struct stat status;

        fd = open_settled(path, flags);
        if (fd < 0)
                return fd;
        if (fstat(fd, &status) < 0)
                return -errno;
        if (!S_ISBLK(status.st_mode))
                return -ENOTBLK;
        if (devno != 0 && status.st_rdev != devno)
                return -ENXIO;
        return fd_steal(&fd);
}

static bool is_same_disk(int fd, int other) {
        struct stat status, other_status;
        uint64_t sequence = 0, other_sequence = 0;

        if (fstat(fd, &status) < 0 || fstat(other, &other_status) < 0 ||
            (status.st_mode & S_IFMT) != (other_status.st_mode & S_IFMT))
                return false;
        if (!S_ISBLK(status.st_mode))
                return status.st_dev == other_status.st_dev && status.st_ino == other_status.st_ino;
        return status.st_rdev == other_status.st_rdev &&
               block_get_sequence(fd, &sequence) == block_get_sequence(other, &other_sequence) &&
               sequence == other_sequence;
}

int block_reopen(int fd, int flags) {
        cleanup(closep) int other = -1;
        struct stat status;
        char path[32];

        if (fstat(fd, &status) < 0)
                return -errno;
        /* O_EXCL alone means nothing, and is refused by some, for what is no device. */
        if (!S_ISBLK(status.st_mode))
                flags &= ~O_EXCL;
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        other = open_settled(path, flags);
        if (other < 0)
                return other;
        return is_same_disk(fd, other) ? fd_steal(&other) : -ENXIO;
}
