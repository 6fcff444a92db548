/* SPDX-License-Identifier: Apache-2.0 */

#include "common/block/block_sysfs.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define ATTRIBUTE_MAX_BYTES 65536
/* More block devices than a node can have: SCSI and NVMe hosts end at some ten thousand. */
#define LIST_MAX 65536

/* "sys/dev/block/8:16"; links on the way stay inside the root. */
static int open_device(int root_fd, uint64_t devno) {
        char path[64];
        int fd;

        (void)snprintf(path, sizeof(path), "sys/dev/block/%u:%u", major(devno), minor(devno));
        fd = file_open_in_root(root_fd, path, O_PATH | O_DIRECTORY);
        return fd == -ENOENT ? -ENODEV : fd;
}

static int read_attribute(int dir_fd, const char *name, char **textp, size_t *np) {
        return file_read_at(dir_fd, name, ATTRIBUTE_MAX_BYTES, textp, np);
}

static int read_number(int dir_fd, const char *name, uint64_t *valuep) {
        cleanup(freep) char *text = NULL;
        int r;

        r = read_attribute(dir_fd, name, &text, NULL);
        if (r < 0)
                return r;
        str_trim_end(text);
        return str_parse_u64(text, UINT64_MAX, valuep) < 0 ? -EIO : 0;
}

/* The name is only in uevent: the directory's own name is behind a link, and "!" stands for "/". */
static int read_name(int dir_fd, char name[BLOCK_NAME_MAX]) {
        cleanup(freep) char *text = NULL;
        char *line, *end;
        int r;

        r = read_attribute(dir_fd, "uevent", &text, NULL);
        if (r < 0)
                return r;
        line = str_has_prefix(text, "DEVNAME=") ? text : strstr(text, "\nDEVNAME=");
        if (!line)
                return -EIO;
        line = strchr(line, '=') + 1;
        end = strchrnul(line, '\n');
        if ((size_t)(end - line) >= BLOCK_NAME_MAX)
                return -ENAMETOOLONG;
        memcpy(name, line, (size_t)(end - line));
        name[end - line] = '\0';
        return 0;
}

int block_sysfs_parse_devno(char *text, uint64_t *devnop) {
        uint64_t major_number, minor_number;
        char *colon;

        str_trim_end(text);
        colon = strchr(text, ':');
        if (!colon)
                return -EIO;
        *colon = '\0';
        if (str_parse_u64(text, UINT32_MAX, &major_number) < 0 ||
            str_parse_u64(colon + 1, UINT32_MAX, &minor_number) < 0)
                return -EIO;
        *devnop = makedev((unsigned int)major_number, (unsigned int)minor_number);
        return 0;
}

static int read_devno(int dir_fd, uint64_t *devnop) {
        cleanup(freep) char *text = NULL;
        int r = read_attribute(dir_fd, "dev", &text, NULL);

        return r < 0 ? r : block_sysfs_parse_devno(text, devnop);
}

static int fill(int dir_fd, BlockInfo *info) {
        uint64_t sectors, read_only, logical = 512;
        int r;

        info->is_partition = faccessat(dir_fd, "partition", F_OK, 0) == 0;
        /* A partition lies in its disk's directory, and has that one's queue. */
        if ((r = read_devno(dir_fd, &info->devno)) < 0 || (r = read_name(dir_fd, info->name)) < 0 ||
            (r = read_number(dir_fd, "size", &sectors)) < 0 ||
            (r = read_number(dir_fd, "ro", &read_only)) < 0)
                return r;
        r = read_number(dir_fd,
                        info->is_partition ? "../queue/logical_block_size"
                                           : "queue/logical_block_size",
                        &logical);
        if (r < 0 && r != -ENOENT)
                return r;
        /* The unit of "size" is 512 bytes, whatever the sector is. */
        if (__builtin_mul_overflow(sectors, 512U, &info->size_bytes) || logical > UINT32_MAX)
                return -EIO;
        info->logical_sector_bytes = (uint32_t)logical;
        info->is_read_only = read_only != 0;
        return 0;
}

int block_sysfs_info(int root_fd, uint64_t devno, BlockInfo *info) {
        cleanup(closep) int dir_fd = -1;
        BlockInfo found = {0};
        int r;

        dir_fd = open_device(root_fd, devno);
        if (dir_fd < 0)
                return dir_fd;
        r = fill(dir_fd, &found);
        if (r == 0)
                *info = found;
        return r;
}

int block_sysfs_name(int root_fd, uint64_t devno, char name[BLOCK_NAME_MAX]) {
        char path[64], target[512];
        const char *last;
        ssize_t n;

        (void)snprintf(path, sizeof(path), "sys/dev/block/%u:%u", major(devno), minor(devno));
        n = readlinkat(root_fd, path, target, sizeof(target) - 1);
        if (n < 0)
                return errno == ENOENT ? -ENODEV : -errno;
        target[n] = '\0';
        last = strrchr(target, '/');
        if (!last || strlen(last + 1) >= BLOCK_NAME_MAX)
                return -EIO;
        (void)snprintf(name, BLOCK_NAME_MAX, "%s", last + 1);
        return 0;
}

int block_sysfs_size(int root_fd, uint64_t devno, uint64_t *bytesp) {
        cleanup(closep) int dir_fd = -1;
        uint64_t sectors;
        int r;

        dir_fd = open_device(root_fd, devno);
        if (dir_fd < 0)
                return dir_fd;
        r = read_number(dir_fd, "size", &sectors);
        if (r < 0)
                return r == -ENOENT ? -ENODEV : r;
        return __builtin_mul_overflow(sectors, 512U, bytesp) ? -EIO : 0;
}

int block_sysfs_info_by_name(int root_fd, const char *name, BlockInfo *info) {
        cleanup(closep) int dir_fd = -1;
        char path[64 + BLOCK_NAME_MAX];
        BlockInfo found = {0};
        int r;

        if (strlen(name) >= BLOCK_NAME_MAX || strchr(name, '/') || name[0] == '.')
                return -ENODEV;
        (void)snprintf(path, sizeof(path), "sys/class/block/%s", name);
        dir_fd = file_open_in_root(root_fd, path, O_PATH | O_DIRECTORY);
        if (dir_fd < 0)
                return dir_fd == -ENOENT ? -ENODEV : dir_fd;
        r = fill(dir_fd, &found);
        if (r == 0)
                *info = found;
        return r;
}

static bool is_space(char c) {
        return isspace((unsigned char)c) != 0;
}

int block_sysfs_read(int root_fd, uint64_t devno, const char *attribute, char *text, size_t n_text,
                     size_t *np) {
        cleanup(closep) int dir_fd = -1;
        cleanup(freep) char *read = NULL;
        const char *at;
        size_t n;
        int r;

        dir_fd = open_device(root_fd, devno);
        if (dir_fd < 0)
                return dir_fd;
        r = read_attribute(dir_fd, attribute, &read, &n);
        if (r < 0)
                return r;
        for (at = read; n > 0 && is_space(*at); at++)
                n--;
        while (n > 0 && is_space(at[n - 1]))
                n--;
        if (n >= n_text)
                return -EFBIG;
        memcpy(text, at, n);
        text[n] = '\0';
        if (np)
                *np = n;
        return 0;
}

/* The @index-th of some numbers with white space between them. */
static int parse_nth(const char *text, unsigned int index, uint64_t *np) {
        char word[24];
        size_t n;

        for (;;) {
                text += strspn(text, " ");
                n = strcspn(text, " ");
                if (index == 0 || n == 0)
                        break;
                text += n;
                index--;
        }
        if (n == 0 || n >= sizeof(word))
                return -EIO;
        memcpy(word, text, n);
        word[n] = '\0';
        return str_parse_u64(word, UINT64_MAX, np) < 0 ? -EIO : 0;
}

int block_sysfs_written(int root_fd, uint64_t devno, uint64_t *sectorsp, bool *writingp) {
        char text[512];
        uint64_t n = 0;
        int r;

        /* In this order: what was on its way then is counted, or seen. */
        r = block_sysfs_read(root_fd, devno, "inflight", text, sizeof(text), NULL);
        if (r == 0)
                r = parse_nth(text, 1, &n);
        if (r < 0)
                return r;
        *writingp = n > 0;
        r = block_sysfs_read(root_fd, devno, "stat", text, sizeof(text), NULL);
        return r < 0 ? r : parse_nth(text, 6, sectorsp);
}

/* LUKS on LVM on a partition of a multipath disk is four; a loop of slaves cannot be made. */
#define DEPTH_MAX 8

static int is_on(int dir_fd, uint64_t below_devno, unsigned int depth);

static int slaves_are_on(int dir_fd, uint64_t below_devno, unsigned int depth) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int fd, r = 0;

        fd = openat(dir_fd, "slaves", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return 0;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        while (r == 0 && (entry = readdir(dir))) {
                cleanup(closep) int slave = -1;

                if (entry->d_name[0] == '.')
                        continue;
                slave = openat(fd, entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (slave >= 0)
                        r = is_on(slave, below_devno, depth + 1);
        }
        return r;
}

/* The disk of a partition, whose directory it is in. Return: a descriptor; -ENOENT: it is no
 * partition; another -errno. */
static int open_disk(int dir_fd) {
        int fd;

        if (faccessat(dir_fd, "partition", F_OK, 0) < 0)
                return -ENOENT;
        fd = openat(dir_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int is_on(int dir_fd, uint64_t below_devno, unsigned int depth) {
        cleanup(closep) int disk = -1;
        uint64_t devno;
        int r;

        if (depth > DEPTH_MAX)
                return 0;
        r = read_devno(dir_fd, &devno);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        if (devno == below_devno)
                return 1;
        disk = open_disk(dir_fd);
        if (disk == -ENOENT)
                return slaves_are_on(dir_fd, below_devno, depth);
        return disk < 0 ? 0 : is_on(disk, below_devno, depth + 1);
}

int block_sysfs_is_on(int root_fd, uint64_t devno, uint64_t below_devno) {
        cleanup(closep) int dir_fd = -1;

        if (devno == below_devno)
                return 1;
        dir_fd = open_device(root_fd, devno);
        if (dir_fd < 0)
                return dir_fd == -ENODEV ? 0 : dir_fd;
        return is_on(dir_fd, below_devno, 0);
}

/* The largest of a device and what lies below it. */
static void find_whole(int root_fd, int dir_fd, unsigned int depth, uint64_t *bytesp) {
        cleanup(closedirp) DIR *slaves = NULL;
        cleanup(closep) int disk = -1;
        struct dirent *entry;
        uint64_t devno, bytes;
        int fd;

        if (depth > DEPTH_MAX || read_devno(dir_fd, &devno) < 0 ||
            block_sysfs_size(root_fd, devno, &bytes) < 0)
                return;
        if (bytes > *bytesp)
                *bytesp = bytes;
        disk = open_disk(dir_fd);
        if (disk >= 0)
                find_whole(root_fd, disk, depth + 1, bytesp);
        if (disk != -ENOENT)
                return;
        fd = openat(dir_fd, "slaves", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        slaves = fd < 0 ? NULL : fdopendir(fd);
        if (fd >= 0 && !slaves)
                close(fd);
        while (slaves && (entry = readdir(slaves))) {
                cleanup(closep) int slave = -1;

                if (entry->d_name[0] == '.')
                        continue;
                slave = openat(fd, entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (slave >= 0)
                        find_whole(root_fd, slave, depth + 1, bytesp);
        }
}

int block_sysfs_whole_size(int root_fd, uint64_t devno, uint64_t *bytesp) {
        cleanup(closep) int dir_fd = open_device(root_fd, devno);
        uint64_t bytes = 0;

        if (dir_fd < 0)
                return dir_fd;
        find_whole(root_fd, dir_fd, 0, &bytes);
        *bytesp = bytes;
        return 0;
}

int block_sysfs_disk(int root_fd, uint64_t devno, uint64_t *diskp) {
        cleanup(closep) int dir_fd = open_device(root_fd, devno), disk_fd = -1;

        if (dir_fd < 0)
                return dir_fd;
        disk_fd = open_disk(dir_fd);
        if (disk_fd != -ENOENT)
                return disk_fd < 0 ? disk_fd : read_devno(disk_fd, diskp);
        *diskp = devno;
        return 0;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(a, b);
}

int block_sysfs_holder(int root_fd, uint64_t devno, char name[BLOCK_NAME_MAX]) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        char path[80];
        int fd;

        (void)snprintf(path, sizeof(path), "sys/dev/block/%u:%u/holders", major(devno),
                       minor(devno));
        fd = file_open_in_root(root_fd, path, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        while ((entry = readdir(dir))) {
                if (entry->d_name[0] == '.' || strlen(entry->d_name) >= BLOCK_NAME_MAX)
                        continue;
                (void)snprintf(name, BLOCK_NAME_MAX, "%.*s", (int)BLOCK_NAME_MAX - 1,
                               entry->d_name);
                return 1;
        }
        return 0;
}

int block_sysfs_list(int root_fd, char (**namesp)[BLOCK_NAME_MAX], size_t *np) {
        cleanup(closedirp) DIR *dir = NULL;
        cleanup(freep) char(*names)[BLOCK_NAME_MAX] = NULL;
        size_t n = 0, n_allocated = 0;
        struct dirent *entry;
        int fd;

        fd = file_open_in_root(root_fd, "sys/class/block", O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return fd;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        while ((entry = readdir(dir)) && n < LIST_MAX) {
                if (entry->d_name[0] == '.' || strlen(entry->d_name) >= BLOCK_NAME_MAX)
                        continue;
                if (n == n_allocated) {
                        void *grown;

                        n_allocated = n_allocated ? n_allocated * 2 : 64;
                        grown = reallocarray(names, n_allocated, sizeof(*names));
                        if (!grown)
                                return -ENOMEM;
                        names = grown;
                }
                (void)snprintf(names[n++], BLOCK_NAME_MAX, "%.*s", (int)BLOCK_NAME_MAX - 1,
                               entry->d_name);
        }
        if (n > 0)
                qsort(names, n, sizeof(*names), compare_names);
        *namesp = ptr_steal(&names);
        *np = n;
        return 0;
}
