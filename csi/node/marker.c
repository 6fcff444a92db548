/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/marker.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#define MARKER_NAME      ".berth-format"
#define MARKER_MAX_BYTES 1024

/* The whole file is compared, so that no part of it needs to be parsed. NULL without memory or boot
 * id. */
static char *marker_text(const char *volume_id, uint64_t sequence, uint64_t size_bytes) {
        cleanup(freep) char *boot = NULL;

        if (file_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, NULL) < 0)
                return NULL;
        str_trim_end(boot);
        return str_printf("berth format 1\nboot %s\ndisk %" PRIu64 "\nsize %" PRIu64
                          "\nvolume %s\n",
                          boot, sequence, size_bytes, volume_id);
}

static bool is_directory(const NodePath *path) {
        return path->fd >= 0 && S_ISDIR(path->type);
}

bool marker_is_valid(const NodePath *path, const char *volume_id, const DeviceFacts *device) {
        cleanup(freep) char *expected = NULL, *text = NULL;
        cleanup(closep) int fd = -1;
        struct stat status;

        if (!is_directory(path) || device->sequence == 0)
                return false;
        fd = openat(path->fd, MARKER_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ||
            status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)))
                return false;
        expected = marker_text(volume_id, device->sequence, device->size_bytes);
        return expected && file_read_fd(fd, MARKER_MAX_BYTES, &text, NULL) == 0 &&
               str_equal(text, expected);
}

int marker_write(const NodePath *path, const char *volume_id, uint64_t sequence,
                 uint64_t size_bytes) {
        cleanup(freep) char *text = NULL;

        if (!is_directory(path) || sequence == 0)
                return 0;
        text = marker_text(volume_id, sequence, size_bytes);
        if (!text)
                return -ENOMEM;
        return file_write_atomic(path->fd, MARKER_NAME, text, strlen(text), 0600);
}

/* Also what a file_write_atomic() left that was killed. */
static bool is_ours(const char *name) {
        return str_equal(name, MARKER_NAME) || str_has_prefix(name, "." MARKER_NAME ".tmp.");
}

int marker_remove(const NodePath *path) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int fd, r = 0;

        if (!is_directory(path))
                return 0;
        fd = openat(path->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        while ((entry = readdir(dir)))
                if (is_ours(entry->d_name) && unlinkat(fd, entry->d_name, 0) < 0 && errno != ENOENT)
                        r = -errno;
        return r;
}
