/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_FILE_H
#define BERTH_BASE_FILE_H

/* Whole small files: read with a limit, write so that a crash leaves the old or the new content.
 * Nothing follows a link out of a given root. */

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/**
 * file_read_fd() - read an open file to its end
 * @fd:    position is moved; works for files that report size 0 (/proc, /sys) and for pipes
 * @limit: most bytes accepted
 * @textp: new buffer with a NUL after the content, caller frees
 * @np:    length without that NUL; may be NULL
 *
 * Return: 0; -EFBIG if there is more than @limit; -ENOMEM; an errno of read(2).
 */
int file_read_fd(int fd, size_t limit, char **textp, size_t *np);

/* As file_read_fd(), for @path below @dir_fd (or AT_FDCWD). Links are followed. A FIFO, which would
 * keep us for ever, or a device, which may have no end, is -EINVAL; a directory too. */
int file_read_at(int dir_fd, const char *path, size_t limit, char **textp, size_t *np);

/**
 * file_open_in_root() - open(2) below @root_fd as if that directory were "/"
 * @path: with or without a leading "/"; links, also absolute ones, are followed inside the root and
 * never leave it
 *
 * Uses openat2(2) with RESOLVE_IN_ROOT (Linux 5.6); on an older kernel, and in a sandbox that does
 * not know that call, the path is walked component by component with O_NOFOLLOW and readlinkat(2).
 *
 * Return: a descriptor; -errno.
 */
int file_open_in_root(int root_fd, const char *path, int flags);

/* file_open_in_root() + file_read_fd(). */
int file_read_in_root(int root_fd, const char *path, size_t limit, char **textp, size_t *np);

/**
 * file_open_beneath() - open(2) below @dir_fd following no link at all and never leaving it
 * @path: relative, without ".."
 *
 * Uses openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS; on a kernel
 * before 5.6 the path is walked component by component with O_NOFOLLOW.
 *
 * Return: a descriptor; -ELOOP if a component is a link; -EXDEV for ".."; another -errno.
 */
int file_open_beneath(int dir_fd, const char *path, int flags, mode_t mode);

/**
 * file_open_plain_at() - open(2) of a regular file below @dir_fd, and of nothing else
 * @name: a link is not followed
 *
 * For files of our own, whose place something else may have taken: a FIFO, whose other end nobody
 * has, would keep the caller for ever. The descriptor has O_NONBLOCK, which means nothing to a
 * regular file but to one with a lease on it (-EWOULDBLOCK).
 *
 * Return: a descriptor; -EINVAL: what is there is no regular file; another -errno.
 */
int file_open_plain_at(int dir_fd, const char *name, int flags, mode_t mode);

/* The same, and what it is into @status. */
int file_open_plain_stat(int dir_fd, const char *name, int flags, mode_t mode, struct stat *status);

/**
 * file_write_atomic() - replace @path below @dir_fd by new content
 *
 * Writes ".<name>.tmp.<pid>.<counter>" beside it, fsyncs, renames, and fsyncs the directory. A
 * crash at any point leaves the old content or the new one, and at worst that temporary file.
 *
 * Return: 0; -errno, with the temporary file removed.
 */
int file_write_atomic(int dir_fd, const char *path, const void *data, size_t n, mode_t mode);

/* write(2) until everything is out. Return: 0; -errno. */
int file_write_all(int fd, const void *data, size_t n);

/* mkdir -p with @mode for what is made. Return: 0; -errno. */
int file_make_directories(const char *path, mode_t mode);

/* "/", for functions that take the directory that stands for it. Return: a descriptor, O_PATH; -1
 * with errno. */
static inline int file_open_root(void) {
        return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

#endif
