/* SPDX-License-Identifier: Apache-2.0 */

#include "common/block/loop.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* With 100 volumes attached at once, each try loses to some of the others. */
#define ATTACH_TRIES_MAX 256
/* A number is in that state for a moment; a container without the device node has it for ever. */
#define VANISHED_MAX 32
/* loop(4): EAGAIN while the page cache of the device is being dropped. */
#define STATUS_TRIES_MAX 64

static void wait_msecs(long msecs) {
        const struct timespec time = {.tv_nsec = msecs * 1000000};

        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

void loop_path(unsigned int number, char path[LOOP_PATH_MAX]) {
        (void)snprintf(path, LOOP_PATH_MAX, "/dev/loop%u", number);
}

static struct loop_info64 info_from_config(const LoopConfig *config) {
        return (struct loop_info64){
                .lo_offset = config->offset_bytes,
                .lo_sizelimit = config->limit_bytes,
                .lo_flags = (config->is_autoclear ? (unsigned int)LO_FLAGS_AUTOCLEAR : 0U) |
                            (config->is_read_only ? (unsigned int)LO_FLAGS_READ_ONLY : 0U),
        };
}

static int set_status(int fd, const struct loop_info64 *info) {
        for (int i = 0; i < STATUS_TRIES_MAX; i++) {
                if (ioctl(fd, LOOP_SET_STATUS64, info) == 0)
                        return 0;
                if (errno != EAGAIN)
                        return -errno;
                wait_msecs(10);
        }
        return -EAGAIN;
}

/* Before Linux 5.8. */
static int configure_in_steps(int fd, const LoopConfig *config) {
        struct loop_info64 info = info_from_config(config);
        int r;

        if (ioctl(fd, LOOP_SET_FD, config->backing_fd) < 0)
                return -errno;
        r = set_status(fd, &info);
        if (r == 0 && config->logical_sector_bytes != 0 &&
            ioctl(fd, LOOP_SET_BLOCK_SIZE, (unsigned long)config->logical_sector_bytes) < 0)
                r = -errno;
        if (r < 0)
                (void)ioctl(fd, LOOP_CLR_FD, 0);
        return r;
}

static int configure(int fd, const LoopConfig *config) {
        struct loop_config whole = {
                .fd = (uint32_t)config->backing_fd,
                .block_size = config->logical_sector_bytes,
                .info = info_from_config(config),
        };
        int r;

        if (config->wants_direct_io)
                whole.info.lo_flags |= LO_FLAGS_DIRECT_IO;
        if (ioctl(fd, LOOP_CONFIGURE, &whole) == 0)
                return 0;
        /* An unknown ioctl is EINVAL before 5.11. */
        if (errno != EINVAL && errno != ENOTTY)
                return -errno;
        r = configure_in_steps(fd, config);
        if (r == 0 && config->wants_direct_io)
                (void)loop_set_direct_io(fd, true);
        return r;
}

/*
 * overlayfs says that it can do direct I/O when what lies below it cannot (seen on 6.1): then every
 * read fails. What cannot be read without it either is not changed by us.
 */
static void prove_direct_io(int fd) {
        char first[512];

        if (pread(fd, first, sizeof(first), 0) >= 0 || errno != EIO)
                return;
        (void)loop_set_direct_io(fd, false);
        (void)ioctl(fd, BLKFLSBUF, 0);
}

/* Return: a descriptor of a free device that nobody has configured yet; -errno. */
static int open_free(int control_fd, bool is_read_only, unsigned int *numberp) {
        char path[LOOP_PATH_MAX];
        int number, fd;

        number = ioctl(control_fd, LOOP_CTL_GET_FREE);
        if (number < 0)
                return -errno;
        loop_path((unsigned int)number, path);
        fd = open(path, (is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *numberp = (unsigned int)number;
        return fd;
}

int loop_attach(const LoopConfig *config, unsigned int *numberp, int *fdp) {
        cleanup(closep) int control_fd = -1;
        int r = -EBUSY, n_vanished = 0;

        control_fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        if (control_fd < 0)
                return -errno;
        for (int i = 0; i < ATTACH_TRIES_MAX; i++) {
                cleanup(closep) int fd = -1;

                fd = open_free(control_fd, config->is_read_only, numberp);
                /* ENXIO: free, and somebody's detach of it has not ended. */
                if (fd < 0 && (fd != -ENXIO || ++n_vanished == VANISHED_MAX))
                        return fd;
                r = fd < 0 ? -EBUSY : configure(fd, config);
                if (r == 0) {
                        if (config->wants_direct_io)
                                prove_direct_io(fd);
                        *fdp = fd_steal(&fd);
                        return 0;
                }
                if (r != -EBUSY)
                        return r;
                if (i >= 8)
                        wait_msecs(1 + i % 8);
        }
        return r;
}

int loop_get_status(int fd, LoopStatus *status) {
        struct loop_info64 info;

        if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
                return errno == ENXIO ? LOOP_E_NONE : -errno;
        *status = (LoopStatus){
                .backing_dev = info.lo_device,
                .backing_inode = info.lo_inode,
                .offset_bytes = info.lo_offset,
                .limit_bytes = info.lo_sizelimit,
                .is_read_only = (info.lo_flags & LO_FLAGS_READ_ONLY) != 0,
                .is_direct_io = (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0,
                .is_autoclear = (info.lo_flags & LO_FLAGS_AUTOCLEAR) != 0,
        };
        return 0;
}

static bool is_of(unsigned int number, uint64_t backing_dev, uint64_t backing_inode) {
        cleanup(closep) int fd = -1;
        char path[LOOP_PATH_MAX];
        LoopStatus status = {0};

        loop_path(number, path);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        return fd >= 0 && loop_get_status(fd, &status) == 0 && status.backing_dev == backing_dev &&
               status.backing_inode == backing_inode;
}

/* "loop3" that has a file: opening one that has none may load it, and is not needed. */
static bool parse_attached(int dir_fd, const char *name, unsigned int *numberp) {
        char path[64];
        uint64_t number;

        if (!str_has_prefix(name, "loop") ||
            str_parse_u64(name + strlen("loop"), UINT_MAX - 1, &number) < 0)
                return false;
        (void)snprintf(path, sizeof(path), "loop%u/loop/backing_file", (unsigned int)number);
        if (faccessat(dir_fd, path, F_OK, 0) < 0)
                return false;
        *numberp = (unsigned int)number;
        return true;
}

int loop_find(uint64_t backing_dev, uint64_t backing_inode, unsigned int hint,
              unsigned int *numberp) {
        cleanup(closedirp) DIR *dir = NULL;
        unsigned int best = UINT_MAX, number;
        struct dirent *entry;

        if (hint != UINT_MAX && is_of(hint, backing_dev, backing_inode)) {
                *numberp = hint;
                return 0;
        }
        dir = opendir("/sys/block");
        if (!dir)
                return -errno;
        while ((entry = readdir(dir)))
                if (parse_attached(dirfd(dir), entry->d_name, &number) && number < best &&
                    is_of(number, backing_dev, backing_inode))
                        best = number;
        if (best == UINT_MAX)
                return LOOP_E_NONE;
        *numberp = best;
        return 0;
}

bool loop_is_possible(int fd) {
        /* Who opens the file in between makes the kernel send a signal, by default SIGIO, which
         * would end us; SIGURG is ignored by default. */
        if (fcntl(fd, F_SETSIG, SIGURG) < 0 || fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
                return true;
        (void)fcntl(fd, F_SETLEASE, F_UNLCK);
        return false;
}

int loop_set_capacity(int fd) {
        return ioctl(fd, LOOP_SET_CAPACITY, 0) < 0 ? -errno : 0;
}

int loop_set_direct_io(int fd, bool on) {
        return ioctl(fd, LOOP_SET_DIRECT_IO, (unsigned long)on) < 0 ? -errno : 0;
}

int loop_set_autoclear(int fd, bool on) {
        struct loop_info64 info;

        if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
                return -errno;
        if (((info.lo_flags & LO_FLAGS_AUTOCLEAR) != 0) == on)
                return 0;
        info.lo_flags ^= LO_FLAGS_AUTOCLEAR;
        return set_status(fd, &info);
}

int loop_detach(int fd) {
        /* What was written through the page cache of the device is only on its way to the file, and
         * the kernel drops it when the only user left is the one that detaches (seen on 6.18). It
         * need not be on the disk: the file's own page cache stays. What cannot be written now
         * cannot be written later either. */
        (void)ioctl(fd, BLKFLSBUF, 0);
        if (ioctl(fd, LOOP_CLR_FD, 0) < 0 && errno != ENXIO)
                return -errno;
        return 0;
}
