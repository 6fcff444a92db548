/* SPDX-License-Identifier: Apache-2.0 */

#include "common/block/mapper.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdalign.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define CONTROL "/dev/mapper/control"

/* No mapper of ours has more than one. */
#define SLAVES_MAX 64

static int read_slaves(int root_fd, Mapper *mapper) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        char path[96];
        int fd;

        (void)snprintf(path, sizeof(path), "sys/dev/block/%u:%u/slaves", major(mapper->devno),
                       minor(mapper->devno));
        fd = file_open_in_root(root_fd, path, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        while ((entry = readdir(dir)) && mapper->n_slaves < SLAVES_MAX) {
                BlockInfo info;

                /* The link of a disk that is gone may stay for as long as the mapper does. */
                if (entry->d_name[0] == '.' ||
                    block_sysfs_info_by_name(root_fd, entry->d_name, &info) < 0)
                        continue;
                mapper->slave = info.devno;
                mapper->n_slaves++;
        }
        return 0;
}

int mapper_read(int root_fd, uint64_t devno, Mapper *mapper) {
        Mapper found = {0};
        char sequence[32];
        BlockInfo info;
        int r;

        r = block_sysfs_info(root_fd, devno, &info);
        if (r < 0)
                return r;
        r = block_sysfs_read(root_fd, devno, "dm/name", found.name, sizeof(found.name), NULL);
        if (r < 0)
                return r == -ENOENT ? -ENODEV : r;
        r = block_sysfs_read(root_fd, devno, "dm/uuid", found.uuid, sizeof(found.uuid), NULL);
        if (r < 0 && r != -ENOENT)
                return r;
        if (block_sysfs_read(root_fd, devno, "diskseq", sequence, sizeof(sequence), NULL) < 0 ||
            str_parse_u64(sequence, UINT64_MAX, &found.sequence) < 0)
                found.sequence = 0;
        (void)snprintf(found.kernel_name, sizeof(found.kernel_name), "%s", info.name);
        found.devno = devno;
        found.size_bytes = info.size_bytes;
        found.is_crypt = str_has_prefix(found.uuid, "CRYPT-");
        r = read_slaves(root_fd, &found);
        if (r == 0)
                *mapper = found;
        return r;
}

/* The first for which @is holds. */
static int find(int root_fd, bool (*is)(const Mapper *mapper, const void *wanted),
                const void *wanted, Mapper *mapper) {
        cleanup(freep) char(*names)[BLOCK_NAME_MAX] = NULL;
        size_t n = 0;
        int r;

        r = block_sysfs_list(root_fd, &names, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                BlockInfo info;
                Mapper found;

                if (str_has_prefix(names[i], "dm-") &&
                    block_sysfs_info_by_name(root_fd, names[i], &info) == 0 &&
                    mapper_read(root_fd, info.devno, &found) == 0 && is(&found, wanted)) {
                        *mapper = found;
                        return 0;
                }
        }
        return -ENODEV;
}

static bool has_name(const Mapper *mapper, const void *name) {
        return str_equal(mapper->name, name);
}

static bool is_crypt_on(const Mapper *mapper, const void *below) {
        uint64_t devno;

        memcpy(&devno, below, sizeof(devno));
        return mapper->is_crypt && mapper->n_slaves == 1 && mapper->slave == devno;
}

int mapper_find(int root_fd, const char *name, Mapper *mapper) {
        return find(root_fd, has_name, name, mapper);
}

int mapper_find_crypt_on(int root_fd, uint64_t below, Mapper *mapper) {
        return find(root_fd, is_crypt_on, &below, mapper);
}

/* --- removal --- */

/* The kernel writes back more than the header. */
typedef struct Request {
        alignas(16) struct dm_ioctl header;
        char room[1024];
} Request;

static int ask(int fd, unsigned long command, const Mapper *mapper, Request *request) {
        memset(request, 0, sizeof(*request));
        request->header.version[0] = DM_VERSION_MAJOR;
        request->header.data_size = sizeof(*request);
        request->header.data_start = sizeof(request->header);
        (void)snprintf(request->header.name, sizeof(request->header.name), "%s", mapper->name);
        return ioctl(fd, command, request) < 0 ? -errno : 0;
}

/* Numbers as the kernel's "huge" encoding has them, which is glibc's own for all that there are. */
static bool is_same(const Mapper *mapper, const Request *status) {
        return status->header.dev == mapper->devno && str_equal(status->header.uuid, mapper->uuid);
}

/* Where no udev does it. One that udev made is a link, and goes with udev's own answer. */
static void remove_node(const Mapper *mapper) {
        char path[sizeof("/dev/mapper/") + MAPPER_NAME_MAX];
        struct stat status;

        (void)snprintf(path, sizeof(path), "/dev/mapper/%s", mapper->name);
        if (lstat(path, &status) == 0 && S_ISBLK(status.st_mode) && status.st_rdev == mapper->devno)
                (void)unlink(path);
}

int mapper_remove(const Mapper *mapper) {
        cleanup(closep) int fd = open(CONTROL, O_RDWR | O_CLOEXEC);
        Request request;
        int r;

        if (fd < 0)
                return -errno;
        r = ask(fd, DM_DEV_STATUS, mapper, &request);
        if (r == -ENXIO || (r == 0 && !is_same(mapper, &request)))
                return 0;
        if (r == 0)
                r = ask(fd, DM_DEV_REMOVE, mapper, &request);
        if (r < 0 && r != -ENXIO)
                return r;
        remove_node(mapper);
        return 0;
}
