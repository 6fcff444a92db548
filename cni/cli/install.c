/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Putting files in place under a running node. A runtime may start a plugin or read a configuration
 * at any moment: so a name always is the whole old file or the whole new one. Runtimes watch the
 * directory of configurations for renames within it; a file that is moved in from elsewhere, or
 * created under its final name, is not noticed by all of them.
 */

#include "cni/cli/install.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* A static plugin has a few megabytes. */
#define PROGRAM_MAX (256U * 1024 * 1024)

#define PROGRAM "berth-cni"

const char *const install_names[] = {
        "bridge", "host-local", "static", "portmap", "bandwidth", "firewall",
        "tuning", "loopback",   "ptp",    "flannel", NULL,
};

/* A name whose other owner's installer writes into the file that is there: "cp -f" of flannel's
 * init container, which through a link would make all of our names flannel. It is a copy. */
#define COPIED_NAME "flannel"

/* Every version of this program holds it, so a copy of another version is known. */
static const char copy_mark[] = "berth-cni: a copy of this file under another name is its own";

/* --- directories -------------------------------------------------------------------------- */

/* mkdir(2) below @root_fd; @path is absolute and its parent exists. */
static int make_directory(int root_fd, char *path) {
        char *slash = strrchr(path, '/');
        cleanup(closep) int parent_fd = -1;

        *slash = '\0';
        parent_fd = file_open_in_root(root_fd, slash == path ? "/" : path,
                                      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        *slash = '/';
        if (parent_fd < 0)
                return parent_fd;
        return mkdirat(parent_fd, slash + 1, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* mkdir -p below @root_fd, following the links of that root. */
static int make_directories(int root_fd, const char *path) {
        cleanup(freep) char *copy = strdup(path);
        int r = 0;

        if (!copy)
                return -ENOMEM;
        for (char *end = strchr(copy + 1, '/'); end && r == 0; end = strchr(end + 1, '/')) {
                *end = '\0';
                r = make_directory(root_fd, copy);
                *end = '/';
        }
        return r < 0 ? r : make_directory(root_fd, copy);
}

int install_directory_open(int root_fd, const char *path, bool programs, int *fdp, Error *err) {
        cleanup(closep) int fd = -1;
        struct statvfs info;
        int r;

        fd = file_open_in_root(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd == -ENOENT) {
                r = make_directories(root_fd, path);
                if (r == -EROFS)
                        return error_set(err, ERROR_PRECONDITION,
                                         "%s is missing and its file system is read-only: choose "
                                         "another directory, and tell the runtime",
                                         path);
                if (r < 0)
                        return error_set_errno(err, r, "make %s", path);
                fd = file_open_in_root(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        if (fd < 0)
                return error_set_errno(err, fd, "open %s", path);
        if (fstatvfs(fd, &info) < 0)
                return error_set_errno(err, errno, "look at %s", path);
        if (info.f_flag & ST_RDONLY)
                return error_set(err, ERROR_PRECONDITION,
                                 "the file system of %s is read-only: choose another directory, "
                                 "and tell the runtime",
                                 path);
        if (programs && info.f_flag & ST_NOEXEC)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s is mounted noexec: the runtime could not run a plugin there",
                                 path);
        if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
                return error_set_errno(err, errno, "%s is not writable", path);
        *fdp = fd_steal(&fd);
        return 0;
}

/* --- files -------------------------------------------------------------------------------- */

/* Puts @n bytes under @name; what is there is replaced at once. Return: 0; -errno. */
static int put_file(int dir_fd, const char *name, const char *data, size_t n, mode_t mode) {
        cleanup(freep) char *back = NULL;
        size_t n_back = 0;
        int r;

        r = file_write_atomic(dir_fd, name, data, n, mode);
        if (r == 0)
                r = file_read_at(dir_fd, name, n, &back, &n_back);
        if (r == 0 && (n_back != n || memcmp(back, data, n) != 0))
                r = -EIO;
        return r;
}

int install_program(int dir_fd, const char *name, Error *err) {
        cleanup(freep) char *data = NULL, *present = NULL;
        size_t n = 0, n_present = 0;
        struct stat info;
        int r;

        r = file_read_at(AT_FDCWD, "/proc/self/exe", PROGRAM_MAX, &data, &n);
        if (r < 0)
                return error_set_errno(err, r, "read this program");
        /* Writing what is there already would only wake the disk. */
        if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
            (info.st_mode & 07777) == 0755 && (size_t)info.st_size == n &&
            file_read_at(dir_fd, name, n, &present, &n_present) == 0 && n_present == n &&
            memcmp(present, data, n) == 0)
                return 0;
        r = put_file(dir_fd, name, data, n, 0755);
        return r < 0 ? error_set_errno(err, r, "write %s", name) : 0;
}

bool install_is_copied(const char *name) {
        return strcmp(name, COPIED_NAME) == 0;
}

static bool is_copy(int dir_fd, const char *name) {
        cleanup(freep) char *data = NULL;
        size_t n = 0;

        return file_read_at(dir_fd, name, PROGRAM_MAX, &data, &n) == 0 &&
               memmem(data, n, copy_mark, sizeof(copy_mark)) != NULL;
}

/* The link that install makes, also where what it leads to is not there yet. */
static bool is_own_link(int dir_fd, const char *name) {
        char target[sizeof(PROGRAM) + 1] = "";

        return readlinkat(dir_fd, name, target, sizeof(target) - 1) > 0 &&
               strcmp(target, PROGRAM) == 0;
}

static bool is_file(int dir_fd, const char *name, const struct stat *file) {
        struct stat info;

        return fstatat(dir_fd, name, &info, 0) == 0 && info.st_dev == file->st_dev &&
               info.st_ino == file->st_ino;
}

/* Which file it is counts, whatever leads there: packages and images make absolute links, second
 * names and copies. */
InstalledName install_name_state(int dir_fd, const char *name) {
        struct stat info;

        if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
                return INSTALLED_NOTHING;
        if (is_own_link(dir_fd, name))
                return INSTALLED_OURS;
        if (fstatat(dir_fd, name, &info, 0) < 0 || !S_ISREG(info.st_mode))
                return INSTALLED_FOREIGN;
        if (is_file(dir_fd, PROGRAM, &info) || is_file(AT_FDCWD, "/proc/self/exe", &info))
                return INSTALLED_OURS;
        return is_copy(dir_fd, name) ? INSTALLED_OURS : INSTALLED_FOREIGN;
}

int install_link(int dir_fd, const char *name, Error *err) {
        char temporary[64];
        int r;

        if (install_is_copied(name))
                return install_program(dir_fd, name, err);
        /* A copy would stay at its version. */
        if (is_own_link(dir_fd, name))
                return 0;
        snprintf(temporary, sizeof(temporary), ".%.32s.tmp.%d", name, (int)getpid());
        (void)unlinkat(dir_fd, temporary, 0);
        if (symlinkat(PROGRAM, dir_fd, temporary) < 0)
                return error_set_errno(err, errno, "make link %s", name);
        if (renameat(dir_fd, temporary, dir_fd, name) < 0) {
                r = -errno;
                (void)unlinkat(dir_fd, temporary, 0);
                return error_set_errno(err, r, "make link %s", name);
        }
        return 0;
}

int install_configuration(int dir_fd, const char *name, const char *text, Error *err) {
        cleanup(freep) char *present = NULL;
        int r;

        /* Runtimes load everything anew for each rename that they see. */
        if (file_read_at(dir_fd, name, strlen(text), &present, NULL) == 0 &&
            strcmp(present, text) == 0)
                return 0;
        r = put_file(dir_fd, name, text, strlen(text), 0644);

        return r < 0 ? error_set_errno(err, r, "write %s", name) : 0;
}
