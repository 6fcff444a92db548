/* SPDX-License-Identifier: Apache-2.0 */

#include "common/block/loop.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* With 100 volumes attached at once, each try loses to some of the others. */
#define ATTACH_TRIES_MAX 256
/* A number is in that state for a moment; a container without the device node has it for ever. */
#define VANISHED_MAX 32
/* Numbers that the caller does not want, one after the other. */
#define REFUSED_MAX 4096
/* loop(4): EAGAIN while the page cache of the device is being dropped. */
#define STATUS_TRIES_MAX 64
/* DISK_MAX_PARTS */
#define PARTITIONS_MAX 256

void loop_path(unsigned int number, char path[LOOP_PATH_MAX]) {
        (void)snprintf(path, LOOP_PATH_MAX, "/dev/loop%u", number);
}

static void set_tag(struct loop_info64 *info, const char *tag) {
        (void)snprintf((char *)info->lo_file_name, sizeof(info->lo_file_name), "%s",
                       tag ? tag : "");
}

static struct loop_info64 info_from_config(const LoopConfig *config) {
        struct loop_info64 info = {
                .lo_offset = config->offset_bytes,
                .lo_sizelimit = config->limit_bytes,
                .lo_flags = (config->is_autoclear ? (unsigned int)LO_FLAGS_AUTOCLEAR : 0U) |
                            (config->is_read_only ? (unsigned int)LO_FLAGS_READ_ONLY : 0U),
        };

        set_tag(&info, config->tag);
        return info;
}

static int set_status(int fd, const struct loop_info64 *info) {
        for (int i = 0; i < STATUS_TRIES_MAX; i++) {
                if (ioctl(fd, LOOP_SET_STATUS64, info) == 0)
                        return 0;
                if (errno != EAGAIN)
                        return -errno;
                clock_sleep(10);
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

static bool has_file(unsigned int number) {
        char path[64];

        (void)snprintf(path, sizeof(path), "/sys/block/loop%u/loop/backing_file", number);
        return access(path, F_OK) == 0;
}

static uint64_t number_read(unsigned int number, const char *attribute) {
        cleanup(freep) char *text = NULL;
        char path[96];
        uint64_t value;

        (void)snprintf(path, sizeof(path), "/sys/block/loop%u/queue/%s", number, attribute);
        if (file_read_at(AT_FDCWD, path, 64, &text, NULL) < 0)
                return 0;
        str_trim_end(text);
        return str_parse_u64(text, UINT64_MAX, &value) < 0 ? 0 : value;
}

/* Discards that are off do not come on again by a write: the granularity is 0 then, and the kernel
 * takes no multiple of it (queue_max_discard_sectors_store(), 6.18). */
static void renew(int control_fd, unsigned int number) {
        if (number_read(number, "discard_max_bytes") > 0 ||
            number_read(number, "discard_max_hw_bytes") == 0)
                return;
        if (ioctl(control_fd, LOOP_CTL_REMOVE, (unsigned long)number) == 0)
                (void)ioctl(control_fd, LOOP_CTL_ADD, (unsigned long)number);
}

void loop_renew(unsigned int number) {
        cleanup(closep) int control_fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

        if (control_fd >= 0)
                renew(control_fd, number);
}

/* The first free number that the caller has nothing against: the kernel only tells the lowest.
 * Return: 0; -errno. */
static int choose_free(int control_fd, const LoopConfig *config, unsigned int *numberp) {
        int number = ioctl(control_fd, LOOP_CTL_GET_FREE);

        if (number < 0)
                return -errno;
        *numberp = (unsigned int)number;
        for (int i = 0; config->is_refused && config->is_refused(config->userdata, *numberp); i++) {
                if (i == REFUSED_MAX)
                        return -EBUSY;
                do
                        ++*numberp;
                while (has_file(*numberp));
                if (ioctl(control_fd, LOOP_CTL_ADD, (unsigned long)*numberp) < 0 && errno != EEXIST)
                        return -errno;
        }
        renew(control_fd, *numberp);
        return 0;
}

/* Return: a descriptor of a free device that nobody has configured yet; -errno. */
static int open_free(int control_fd, const LoopConfig *config, unsigned int *numberp) {
        char path[LOOP_PATH_MAX];
        int r, fd;

        r = choose_free(control_fd, config, numberp);
        if (r < 0)
                return r;
        loop_path(*numberp, path);
        fd = open(path, (config->is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* --- What a number remembers --- */

#define READ_AHEAD_KIB 128 /* VM_READAHEAD_PAGES */

/* Where sysfs has the queue of an open device. */
static int queue_path(int fd, const char *attribute, char *path, size_t n_path) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        (void)snprintf(path, n_path, "/sys/dev/block/%u:%u/queue/%s", major(st.st_rdev),
                       minor(st.st_rdev), attribute);
        return 0;
}

static int queue_read(int fd, const char *attribute, uint64_t *valuep) {
        cleanup(freep) char *text = NULL;
        char path[96];
        int r = queue_path(fd, attribute, path, sizeof(path));

        if (r == 0)
                r = file_read_at(AT_FDCWD, path, 64, &text, NULL);
        if (r < 0)
                return r;
        str_trim_end(text);
        return str_parse_u64(text, UINT64_MAX, valuep);
}

/* Return: 0; -ENOENT where the kernel has no such attribute; another -errno. */
static int queue_write(int fd, const char *attribute, uint64_t wanted) {
        cleanup(closep) int out = -1;
        char path[96], text[32];
        uint64_t now;
        int r = queue_read(fd, attribute, &now);

        if (r < 0 || now == wanted)
                return r;
        (void)queue_path(fd, attribute, path, sizeof(path));
        (void)snprintf(text, sizeof(text), "%" PRIu64, wanted);
        out = open(path, O_WRONLY | O_CLOEXEC);
        if (out < 0)
                return -errno;
        return write(out, text, strlen(text)) < 0 ? -errno : 0;
}

/* With "write through" the kernel sends no flush to the file, and what fsync() said is on disk is
 * not when the power fails (blk_queue_write_cache(); 6.18 keeps it over a detach). EINVAL: there is
 * no cache, as of a read-only device. */
static void restore_write_cache(int fd) {
        static const char wanted[] = "write back";
        cleanup(freep) char *text = NULL;
        cleanup(closep) int out = -1;
        char path[96];

        if (queue_path(fd, "write_cache", path, sizeof(path)) < 0 ||
            file_read_at(AT_FDCWD, path, 64, &text, NULL) < 0 || str_has_prefix(text, wanted))
                return;
        out = open(path, O_WRONLY | O_CLOEXEC);
        if (out >= 0)
                (void)!write(out, wanted, strlen(wanted));
}

int loop_set_queue(int fd, bool keeps_blocks) {
        int off = 0, r = 0;

        if (ioctl(fd, BLKROSET, &off) < 0 && errno != EACCES && errno != EPERM)
                r = -errno;
        (void)ioctl(fd, BLKTRACETEARDOWN, 0);
        (void)queue_write(fd, "read_ahead_kb", READ_AHEAD_KIB);
        restore_write_cache(fd);
        if (keeps_blocks && queue_write(fd, "discard_max_bytes", 0) < 0)
                return -EIO;
        return r;
}

int loop_attach(const LoopConfig *config, unsigned int *numberp, int *fdp) {
        cleanup(closep) int control_fd = -1;
        int r = -EBUSY, n_vanished = 0;

        control_fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        if (control_fd < 0)
                return -errno;
        for (int i = 0; i < ATTACH_TRIES_MAX; i++) {
                cleanup(closep) int fd = -1;

                fd = open_free(control_fd, config, numberp);
                /* ENXIO: free, and somebody's detach of it has not ended. */
                if (fd < 0 && (fd != -ENXIO || ++n_vanished == VANISHED_MAX))
                        return fd;
                r = fd < 0 ? -EBUSY : configure(fd, config);
                if (r == 0) {
                        (void)loop_set_queue(fd, config->keeps_blocks);
                        if (config->wants_direct_io)
                                prove_direct_io(fd);
                        *fdp = fd_steal(&fd);
                        return 0;
                }
                if (r != -EBUSY)
                        return r;
                if (i >= 8)
                        clock_sleep(1U + (unsigned int)i % 8);
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
                .scans_partitions = (info.lo_flags & LO_FLAGS_PARTSCAN) != 0,
        };
        (void)snprintf(status->tag, sizeof(status->tag), "%.*s", LOOP_TAG_MAX,
                       (const char *)info.lo_file_name);
        return 0;
}

static bool read_number(unsigned int number, LoopStatus *status) {
        cleanup(closep) int fd = -1;
        char path[LOOP_PATH_MAX];

        loop_path(number, path);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        return fd >= 0 && loop_get_status(fd, status) == 0;
}

static bool is_of(unsigned int number, uint64_t backing_dev, uint64_t backing_inode) {
        LoopStatus status = {0};

        return read_number(number, &status) && status.backing_dev == backing_dev &&
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

int loop_each(int (*each)(void *userdata, unsigned int number), void *userdata) {
        cleanup(closedirp) DIR *dir = opendir("/sys/block");
        struct dirent *entry;
        unsigned int number;
        int r = 0;

        if (!dir)
                return -errno;
        while (r == 0 && (entry = readdir(dir)))
                if (parse_attached(dirfd(dir), entry->d_name, &number))
                        r = each(userdata, number);
        return r;
}

/* What loop_find() looks for, and the lowest number that is it. */
typedef struct Search {
        uint64_t backing_dev, backing_inode;
        unsigned int best;
} Search;

static int look_at(void *userdata, unsigned int number) {
        Search *search = userdata;
        LoopStatus status = {0};

        if (number >= search->best || !read_number(number, &status))
                return 0;
        if (status.backing_dev == search->backing_dev &&
            status.backing_inode == search->backing_inode)
                search->best = number;
        return 0;
}

static int run_search(Search *search, unsigned int *numberp) {
        int r = loop_each(look_at, search);

        if (r < 0)
                return r;
        if (search->best == UINT_MAX)
                return LOOP_E_NONE;
        *numberp = search->best;
        return 0;
}

int loop_get_path(unsigned int number, char *path, size_t n_path) {
        cleanup(freep) char *text = NULL;
        char name[64];
        size_t n;

        (void)snprintf(name, sizeof(name), "/sys/block/loop%u/loop/backing_file", number);
        if (file_read_at(AT_FDCWD, name, PATH_MAX + 16, &text, &n) < 0)
                return LOOP_E_NONE;
        if (n > 0 && text[n - 1] == '\n')
                text[--n] = '\0';
        if (n >= n_path)
                return -ENAMETOOLONG;
        memcpy(path, text, n + 1);
        return 0;
}

int loop_find(uint64_t backing_dev, uint64_t backing_inode, unsigned int hint,
              unsigned int *numberp) {
        Search search = {backing_dev, backing_inode, UINT_MAX};

        if (hint != UINT_MAX && is_of(hint, backing_dev, backing_inode)) {
                *numberp = hint;
                return 0;
        }
        return run_search(&search, numberp);
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

unsigned int loop_drop_partitions(int fd) {
        unsigned int n = 0;

        for (int number = 1; number <= PARTITIONS_MAX; number++) {
                struct blkpg_partition partition = {.pno = number};
                struct blkpg_ioctl_arg argument = {.op = BLKPG_DEL_PARTITION,
                                                   .datalen = sizeof(partition),
                                                   .data = &partition};

                if (ioctl(fd, BLKPG, &argument) == 0)
                        n++;
        }
        return n;
}

int loop_restore(int fd, const char *tag) {
        struct loop_info64 info;

        if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
                return -errno;
        info.lo_offset = info.lo_sizelimit = 0;
        set_tag(&info, tag);
        return set_status(fd, &info);
}

int loop_change_file(int fd, int backing_fd) {
        return ioctl(fd, LOOP_CHANGE_FD, (unsigned long)backing_fd) < 0 ? -errno : 0;
}

int loop_restore_io(int fd, uint32_t logical_sector_bytes) {
        LoopStatus status = {0};
        int r, sector = 0;

        r = loop_get_status(fd, &status);
        if (r != 0)
                return r < 0 ? r : -ENXIO;
        if (ioctl(fd, BLKSSZGET, &sector) == 0 && logical_sector_bytes != 0 &&
            (uint32_t)sector != logical_sector_bytes &&
            ioctl(fd, LOOP_SET_BLOCK_SIZE, (unsigned long)logical_sector_bytes) < 0)
                return -errno;
        if (!status.is_direct_io && loop_set_direct_io(fd, true) == 0)
                prove_direct_io(fd);
        return 0;
}

int loop_detach(int fd) {
        /* What was written through the page cache of the device is only on its way to the file, and
         * the kernel drops it when the only user left is the one that detaches (seen on 6.18). It
         * need not be on the disk: the file's own page cache stays. What cannot be written now
         * cannot be written later either. */
        (void)ioctl(fd, BLKFLSBUF, 0);
        (void)loop_set_queue(fd, false);
        if (ioctl(fd, LOOP_CLR_FD, 0) < 0 && errno != ENXIO)
                return -errno;
        return 0;
}
