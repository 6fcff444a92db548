/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/growing.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "csi/fs/superblock.h"

#include <fcntl.h>
#include <sys/stat.h>

#define NAME      ".berth-grow"
#define MAX_BYTES 128

static void format(const uint8_t uuid[16], char text[64]) {
        char uuid_text[37];

        fs_uuid_format(uuid, uuid_text);
        (void)snprintf(text, 64, "berth grow 1\n%s\n", uuid_text);
}

static bool is_directory(const NodePath *path) {
        return path->fd >= 0 && S_ISDIR(path->type);
}

int growing_begin(const NodePath *path, const uint8_t uuid[16]) {
        char text[64];

        if (!is_directory(path))
                return 0;
        format(uuid, text);
        return file_write_atomic(path->fd, NAME, text, strlen(text), 0600);
}

bool growing_was_cut(const NodePath *path, const uint8_t uuid[16]) {
        cleanup(closep) int fd = -1;
        cleanup(freep) char *text = NULL;
        struct stat status;
        char expected[64];

        if (!is_directory(path))
                return false;
        fd = openat(path->fd, NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ||
            status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)))
                return false;
        format(uuid, expected);
        return file_read_fd(fd, MAX_BYTES, &text, NULL) == 0 && str_equal(text, expected);
}

/* Also what a file_write_atomic() left that was killed. */
int growing_end(const NodePath *path) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int fd, r = 0;

        if (!is_directory(path))
                return 0;
        fd = openat(path->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                r = -errno;
                if (fd >= 0)
                        close(fd);
                return r;
        }
        while ((entry = readdir(dir)))
                if ((str_equal(entry->d_name, NAME) ||
                     str_has_prefix(entry->d_name, "." NAME ".tmp.")) &&
                    unlinkat(fd, entry->d_name, 0) < 0 && errno != ENOENT)
                        r = -errno;
        return r;
}
