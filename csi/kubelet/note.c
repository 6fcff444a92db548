/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/kubelet/note.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <sys/stat.h>

#define NOTE_MAX 1024

static bool is_directory(const NodePath *path) {
        return path->fd >= 0 && S_ISDIR(path->type);
}

bool note_read(const NodePath *path, const char *name, char **textp) {
        cleanup(closep) int fd = -1;
        struct stat status;

        if (!is_directory(path))
                return false;
        fd = openat(path->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        return fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
               status.st_uid == geteuid() && !(status.st_mode & (S_IWGRP | S_IWOTH)) &&
               file_read_fd(fd, NOTE_MAX, textp, NULL) == 0;
}

int note_write(const NodePath *path, const char *name, const char *text) {
        if (!is_directory(path))
                return 0;
        return file_write_atomic(path->fd, name, text, strlen(text), 0600);
}

/* ".<name>.tmp." is file_write_atomic()'s. */
static bool is_of(const char *entry, const char *name) {
        size_t n = strlen(name);

        if (str_equal(entry, name))
                return true;
        return entry[0] == '.' && strncmp(entry + 1, name, n) == 0 &&
               str_has_prefix(entry + 1 + n, ".tmp.");
}

int note_remove(const NodePath *path, const char *name) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        bool removed = false;
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
        while ((entry = readdir(dir))) {
                if (!is_of(entry->d_name, name))
                        continue;
                removed = true;
                if (unlinkat(fd, entry->d_name, 0) < 0 && errno != ENOENT)
                        r = -errno;
        }
        /* Some filesystems cannot, and EINVAL says so. */
        if (removed && fsync(fd) < 0 && errno != EINVAL && r == 0)
                r = -errno;
        return r;
}

int note_open_directory(const char *state_dir, const char *name, bool makes) {
        cleanup(freep) char *path = NULL;
        struct stat status;
        int fd;

        if (str_is_empty(state_dir))
                return -ENOENT;
        path = str_printf("%s/%s", state_dir, name);
        if (!path)
                return -ENOMEM;
        if (makes && mkdir(path, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &status) == 0 && status.st_uid == geteuid() &&
            !(status.st_mode & (S_IWGRP | S_IWOTH)))
                return fd;
        close(fd);
        return -EPERM;
}
