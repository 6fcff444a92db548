/* SPDX-License-Identifier: Apache-2.0 */

/* Sharing and copying the content of large files. Decides nothing about which file and when. */

#include "common/block/filecopy.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES (UINT64_C(1) << 20)
/* What is compared, and written as a whole where it differs. */
#define AGAIN_BYTES (UINT64_C(128) << 10)

int filecopy_reflink(int from_fd, int to_fd) {
        return ioctl(to_fd, FICLONE, from_fd) < 0 ? -errno : 0;
}

int filecopy_can_reflink(int dir_fd) {
        static const char block[4096] = "berth";
        cleanup(closep) int from_fd = -1, to_fd = -1;
        int r;

        from_fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (from_fd < 0)
                return errno == EOPNOTSUPP || errno == EISDIR ? 0 : -errno;
        to_fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (to_fd < 0)
                return -errno;
        if (pwrite(from_fd, block, sizeof(block), 0) != (ssize_t)sizeof(block))
                return errno ? -errno : -EIO;
        r = filecopy_reflink(from_fd, to_fd);
        if (r == 0)
                return 1;
        return r == -EOPNOTSUPP || r == -EXDEV || r == -EINVAL || r == -ENOTTY ? 0 : r;
}

int filecopy_mark(int fd, struct timespec *markp) {
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        times[1] = st.st_mtim;
        times[1].tv_nsec += times[1].tv_nsec > 0 ? -1 : 1;
        if (futimens(fd, times) < 0 || fstat(fd, &st) < 0)
                return -errno;
        *markp = st.st_mtim;
        return 0;
}

int filecopy_was_written(int fd, const struct timespec *mark) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        return st.st_mtim.tv_sec != mark->tv_sec || st.st_mtim.tv_nsec != mark->tv_nsec;
}

static ssize_t read_at(int fd, char *buffer, size_t n, uint64_t at) {
        ssize_t r;

        do
                r = pread(fd, buffer, n, (off_t)at);
        while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : r;
}

static int write_at(int fd, const char *buffer, size_t n, uint64_t at) {
        for (size_t done = 0; done < n;) {
                ssize_t r = pwrite(fd, buffer + done, n - done, (off_t)(at + done));

                if (r < 0 && errno != EINTR)
                        return -errno;
                done += r > 0 ? (size_t)r : 0;
        }
        return 0;
}

/* Whether @n bytes of the target at @at are what @buffer has. Return: 1; 0; -errno. */
static int is_equal(const FileCopy *copy, size_t n, uint64_t at) {
        ssize_t r = read_at(copy->to_fd, copy->buffer + n, n, at);

        if (r < 0)
                return (int)r;
        return (size_t)r == n && memcmp(copy->buffer, copy->buffer + n, n) == 0;
}

/* Through a buffer of ours: the blocks of the target are its own whatever the filesystem can. */
static int copy_buffered(FileCopy *copy, uint64_t at, uint64_t n) {
        const uint64_t most = copy->is_again ? AGAIN_BYTES : BUFFER_BYTES;

        if (!copy->buffer)
                copy->buffer = malloc(BUFFER_BYTES);
        if (!copy->buffer)
                return -ENOMEM;
        while (n > 0) {
                size_t n_chunk = (size_t)(n < most ? n : most);
                ssize_t n_read = read_at(copy->from_fd, copy->buffer, n_chunk, at);
                int r;

                if (n_read < 0)
                        return (int)n_read;
                if (n_read == 0)
                        return 0; /* the source ends early: what is missing reads as zeros */
                r = copy->is_again ? is_equal(copy, (size_t)n_read, at) : 0;
                if (r == 0)
                        r = write_at(copy->to_fd, copy->buffer, (size_t)n_read, at);
                if (r < 0)
                        return r;
                at += (uint64_t)n_read;
                n -= (uint64_t)n_read;
        }
        return 0;
}

/* What was copied before of a part that is a hole now. */
static int make_hole(const FileCopy *copy, uint64_t at, uint64_t end) {
        off_t data = lseek(copy->to_fd, (off_t)at, SEEK_DATA);

        if (end > copy->size_bytes)
                end = copy->size_bytes;
        if (data < 0 ? errno == ENXIO : (uint64_t)data >= end)
                return 0;
        while (at < end && fallocate(copy->to_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     (off_t)at, (off_t)(end - at)) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

static bool is_unsupported(int os_errno) {
        return os_errno == EXDEV || os_errno == EINVAL || os_errno == EOPNOTSUPP ||
               os_errno == ENOSYS || os_errno == EBADF;
}

static int copy_range(FileCopy *copy, uint64_t at, uint64_t n) {
        while (n > 0 && !copy->real_blocks && !copy->is_again) {
                loff_t from = (loff_t)at, to = (loff_t)at;
                ssize_t r = copy_file_range(copy->from_fd, &from, copy->to_fd, &to, (size_t)n, 0);

                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0 && !is_unsupported(errno))
                        return -errno;
                if (r <= 0) {
                        copy->real_blocks = true;
                        break;
                }
                at += (uint64_t)r;
                n -= (uint64_t)r;
        }
        return n > 0 ? copy_buffered(copy, at, n) : 0;
}

/* The next data at or after @at; a filesystem that knows no holes is all data. */
static int find_data(const FileCopy *copy, uint64_t *datap, uint64_t *endp) {
        off_t data, hole;

        *datap = copy->at_bytes;
        *endp = copy->size_bytes;
        data = lseek(copy->from_fd, (off_t)copy->at_bytes, SEEK_DATA);
        if (data < 0 && errno == ENXIO) {
                *datap = copy->size_bytes;
                return 0;
        }
        if (data < 0)
                return errno == EINVAL ? 0 : -errno;
        *datap = (uint64_t)data;
        hole = lseek(copy->from_fd, data, SEEK_HOLE);
        if (hole < 0)
                return errno == EINVAL ? 0 : -errno;
        if ((uint64_t)hole < copy->size_bytes)
                *endp = (uint64_t)hole;
        return 0;
}

int filecopy_step(FileCopy *copy) {
        uint64_t data, end;
        int r;

        if (copy->at_bytes >= copy->size_bytes)
                return FILECOPY_E_DONE;
        r = find_data(copy, &data, &end);
        if (r == 0 && copy->is_again)
                r = make_hole(copy, copy->at_bytes, data);
        /* A filesystem that makes none: as zeros. */
        if (r == -EOPNOTSUPP) {
                data = copy->at_bytes;
                r = 0;
        }
        if (r < 0)
                return r;
        if (data >= copy->size_bytes) {
                copy->at_bytes = copy->size_bytes;
                return FILECOPY_E_DONE;
        }
        if (end - data > FILECOPY_STEP_BYTES)
                end = data + FILECOPY_STEP_BYTES;
        r = copy_range(copy, data, end - data);
        if (r < 0)
                return r;
        copy->at_bytes = end;
        return copy->at_bytes >= copy->size_bytes ? FILECOPY_E_DONE : 0;
}

void filecopy_deinit(FileCopy *copy) {
        free(copy->buffer);
        copy->buffer = NULL;
}

int filecopy_preallocate(int fd, uint64_t size_bytes, uint64_t *atp) {
        uint64_t n = size_bytes > *atp ? size_bytes - *atp : 0;

        if (n > FILECOPY_PREALLOCATE_BYTES)
                n = FILECOPY_PREALLOCATE_BYTES;
        while (n > 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)*atp, (off_t)n) < 0)
                if (errno != EINTR)
                        return -errno;
        *atp += n;
        return *atp >= size_bytes ? FILECOPY_E_DONE : 0;
}

int filecopy_trim(int fd) {
        struct stat st;

        if (fstat(fd, &st) < 0 || ftruncate(fd, st.st_size) < 0)
                return -errno;
        return 0;
}

#define N_EXTENTS 128

uint64_t filecopy_own_bytes(int fd) {
        _Alignas(struct fiemap) char
                buffer[sizeof(struct fiemap) + N_EXTENTS * sizeof(struct fiemap_extent)];
        struct fiemap *map = (struct fiemap *)(void *)buffer;
        uint64_t at = 0, own = 0;

        for (unsigned int n = 0; n < FILECOPY_OWN_EXTENTS; n += N_EXTENTS) {
                *map = (struct fiemap){.fm_start = at,
                                       .fm_length = FIEMAP_MAX_OFFSET - at,
                                       .fm_extent_count = N_EXTENTS};
                if (ioctl(fd, FS_IOC_FIEMAP, map) < 0 || map->fm_mapped_extents == 0)
                        break;
                for (unsigned int i = 0; i < map->fm_mapped_extents; i++) {
                        const struct fiemap_extent *extent = &map->fm_extents[i];

                        at = extent->fe_logical + extent->fe_length;
                        if (!(extent->fe_flags & FIEMAP_EXTENT_SHARED))
                                own += extent->fe_length;
                        if (extent->fe_flags & FIEMAP_EXTENT_LAST)
                                return own;
                }
        }
        return own;
}

static int copy_project(int from_fd, int to_fd) {
        struct fsxattr from = {0}, to = {0};

        if (ioctl(from_fd, FS_IOC_FSGETXATTR, &from) < 0 || from.fsx_projid == 0)
                return 0;
        if (ioctl(to_fd, FS_IOC_FSGETXATTR, &to) < 0)
                return -errno;
        to.fsx_projid = from.fsx_projid;
        return ioctl(to_fd, FS_IOC_FSSETXATTR, &to) < 0 ? -errno : 0;
}

int filecopy_owner(int from_fd, int to_fd) {
        struct stat st;
        int r, s = 0;

        if (fstat(from_fd, &st) < 0)
                return -errno;
        /* The mode last: a change of the owner takes some bits of it. */
        if (fchown(to_fd, st.st_uid, st.st_gid) < 0)
                s = -errno;
        r = copy_project(from_fd, to_fd);
        if (s == 0)
                s = r;
        if (fchmod(to_fd, st.st_mode & 07777) < 0 && s == 0)
                s = -errno;
        return s;
}

int filecopy_set_nocow(int fd) {
        int flags = 0;

        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
                return errno == ENOTTY || errno == EOPNOTSUPP ? 0 : -errno;
        flags |= FS_NOCOW_FL;
        if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
                return errno == EOPNOTSUPP || errno == EINVAL || errno == ENOTTY ? 0 : -errno;
        return 0;
}

bool filecopy_is_nocow(int fd) {
        int flags = 0;

        return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_NOCOW_FL);
}
