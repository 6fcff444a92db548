/* SPDX-License-Identifier: Apache-2.0 */

/* Small files, whole. Everything takes a limit, because the other side of a file may be a stranger.
 */

#include "common/base/file.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int file_read_fd(int fd, size_t limit, char **textp, size_t *np) {
        cleanup(strbuf_deinit) StrBuf buf = {0};
        char chunk[4096];
        char *text;
        ssize_t n;

        for (;;) {
                n = read(fd, chunk, sizeof(chunk));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                if ((size_t)n > limit - buf.n)
                        return -EFBIG;
                strbuf_append_n(&buf, chunk, (size_t)n);
        }
        if (np)
                *np = buf.n;
        text = strbuf_steal(&buf);
        if (!text)
                return -ENOMEM;
        *textp = text;
        return 0;
}

/* Of a FIFO nobody may have the other end, and a device has no end. */
static int read_regular(int fd, size_t limit, char **textp, size_t *np) {
        struct stat status;

        if (fstat(fd, &status) < 0)
                return -errno;
        return S_ISREG(status.st_mode) ? file_read_fd(fd, limit, textp, np) : -EINVAL;
}

int file_read_at(int dir_fd, const char *path, size_t limit, char **textp, size_t *np) {
        cleanup(closep) int fd = -1;

        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        return read_regular(fd, limit, textp, np);
}

int file_open_plain_stat(int dir_fd, const char *name, int flags, mode_t mode,
                         struct stat *status) {
        cleanup(closep) int fd = -1;

        fd = openat(dir_fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode);
        if (fd < 0)
                return errno == ELOOP || errno == ENXIO || errno == EISDIR ? -EINVAL : -errno;
        if (fstat(fd, status) < 0)
                return -errno;
        return S_ISREG(status->st_mode) ? fd_steal(&fd) : -EINVAL;
}

int file_open_plain_at(int dir_fd, const char *name, int flags, mode_t mode) {
        struct stat status;

        return file_open_plain_stat(dir_fd, name, flags, mode, &status);
}

/* Each race is lost to somebody else's rename or mount; a node that does nothing else is not one.
 */
#define RACES_MAX 10000

static int openat2_call(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve) {
        struct open_how how = {
                .flags = (uint64_t)(unsigned int)(flags | O_CLOEXEC),
                .mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
                .resolve = resolve,
        };
        int fd = -1;

        /* A rename or a mount anywhere on the machine while ".." is walked: openat2(2) says to try
         * again. */
        for (int i = 0; i < RACES_MAX; i++) {
                fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
                if (fd >= 0 || errno != EAGAIN)
                        break;
                (void)sched_yield();
        }
        return fd < 0 ? -errno : fd;
}

/* What openat2() does, for kernels before 5.6: one component at a time, none of them a link. */
static int open_walk(int dir_fd, const char *path, int flags, mode_t mode) {
        cleanup(closep) int at = -1;
        char name[NAME_MAX + 1];
        const char *end;
        int fd;

        for (;;) {
                end = strchrnul(path, '/');
                if ((size_t)(end - path) > NAME_MAX)
                        return -ENAMETOOLONG;
                memcpy(name, path, (size_t)(end - path));
                name[end - path] = '\0';
                if (str_equal(name, ".."))
                        return -EXDEV;
                while (*end == '/')
                        end++;
                if (*end == '\0')
                        break;
                fd = openat(at >= 0 ? at : dir_fd, name,
                            O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return errno == ENOTDIR ? -ELOOP : -errno;
                closep(&at);
                at = fd;
                path = end;
        }
        fd = openat(at >= 0 ? at : dir_fd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
        return fd < 0 ? -errno : fd;
}

/* What the kernel allows on one path (MAXSYMLINKS). */
#define LINKS_MAX 40

/* A walk below a root. No component of @done is a link, so ".." is taken off its end. */
typedef struct Walk {
        int root_fd; /* borrowed */
        int at;      /* owned; -1 is the root */
        unsigned int n_links;
        char done[PATH_MAX];
        char rest[PATH_MAX];
} Walk;

/* Cuts the next component off @rest; an empty @name is the end. */
static int walk_next(Walk *walk, char name[static NAME_MAX + 1]) {
        size_t skip = strspn(walk->rest, "/");
        size_t n = strcspn(walk->rest + skip, "/");

        if (n > NAME_MAX)
                return -ENAMETOOLONG;
        memcpy(name, walk->rest + skip, n);
        name[n] = '\0';
        memmove(walk->rest, walk->rest + skip + n, strlen(walk->rest + skip + n) + 1);
        return 0;
}

static void walk_to_root(Walk *walk) {
        closep(&walk->at);
        walk->at = -1;
        walk->done[0] = '\0';
}

static int walk_up(Walk *walk) {
        char *slash = strrchr(walk->done, '/');
        int fd;

        if (!slash || slash == walk->done) {
                walk_to_root(walk);
                return 0;
        }
        *slash = '\0';
        fd = open_walk(walk->root_fd, walk->done + 1, O_PATH | O_DIRECTORY, 0);
        if (fd < 0)
                return fd;
        closep(&walk->at);
        walk->at = fd;
        return 0;
}

static int walk_down(Walk *walk, const char *name) {
        size_t n = strlen(walk->done);
        int fd;

        if (n + 1 + strlen(name) >= sizeof(walk->done))
                return -ENAMETOOLONG;
        fd = openat(walk->at >= 0 ? walk->at : walk->root_fd, name,
                    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        (void)snprintf(walk->done + n, sizeof(walk->done) - n, "/%s", name);
        closep(&walk->at);
        walk->at = fd;
        return 0;
}

/* Return: 1 if @name is a link, which now stands at the front of @rest; 0 if not; -errno. */
static int walk_link(Walk *walk, const char *name) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(walk->at >= 0 ? walk->at : walk->root_fd, name, target,
                               sizeof(target) - 1);
        size_t n_rest = strlen(walk->rest);

        if (n < 0)
                return errno == EINVAL || errno == ENOENT ? 0 : -errno;
        if (++walk->n_links > LINKS_MAX)
                return -ELOOP;
        if ((size_t)n + n_rest >= sizeof(walk->rest))
                return -ENAMETOOLONG;
        memmove(walk->rest + n, walk->rest, n_rest + 1);
        memcpy(walk->rest, target, (size_t)n);
        if (target[0] == '/')
                walk_to_root(walk);
        return 1;
}

/* Return: 1 if @name is what the path ends in, to be opened; 0 to go on; -errno. */
static int walk_step(Walk *walk, int flags, char name[static NAME_MAX + 1]) {
        int r = walk_next(walk, name);
        bool is_last = walk->rest[0] == '\0';

        if (r < 0)
                return r;
        if (str_equal(name, "..")) {
                r = walk_up(walk);
                name[0] = '\0';
        }
        if (r == 0 && (name[0] == '\0' || str_equal(name, "."))) {
                memcpy(name, ".", 2);
                return is_last;
        }
        if (r == 0 && !(is_last && flags & O_NOFOLLOW)) {
                r = walk_link(walk, name);
                if (r > 0)
                        return 0;
        }
        if (r < 0)
                return r;
        return is_last ? 1 : walk_down(walk, name);
}

/* RESOLVE_IN_ROOT for kernels before 5.6, and for sandboxes that know no openat2(). */
static int open_in_root_walk(int root_fd, const char *path, int flags) {
        Walk walk = {.root_fd = root_fd, .at = -1};
        char name[NAME_MAX + 1];
        size_t n = strlen(path);
        int r;

        if (n >= sizeof(walk.rest))
                return -ENAMETOOLONG;
        memcpy(walk.rest, path, n + 1);
        do
                r = walk_step(&walk, flags, name);
        while (r == 0);
        if (r > 0) {
                r = openat(walk.at >= 0 ? walk.at : root_fd, name, flags | O_NOFOLLOW | O_CLOEXEC);
                r = r < 0 ? -errno : r;
        }
        closep(&walk.at);
        return r;
}

int file_open_in_root(int root_fd, const char *path, int flags) {
        int fd;

        fd = openat2_call(root_fd, path, flags, 0, RESOLVE_IN_ROOT);
        return fd == -ENOSYS ? open_in_root_walk(root_fd, path, flags) : fd;
}

int file_read_in_root(int root_fd, const char *path, size_t limit, char **textp, size_t *np) {
        cleanup(closep) int fd = -1;

        fd = file_open_in_root(root_fd, path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return fd;
        return read_regular(fd, limit, textp, np);
}

int file_open_beneath(int dir_fd, const char *path, int flags, mode_t mode) {
        int fd;

        fd = openat2_call(dir_fd, path, flags, mode,
                          RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
        if (fd != -ENOSYS)
                return fd;
        if (path[0] == '/')
                return -EXDEV;
        return open_walk(dir_fd, path, flags, mode);
}

int file_write_all(int fd, const void *data, size_t n) {
        const char *p = data;

        while (n > 0) {
                ssize_t written = write(fd, p, n);

                if (written < 0 && errno == EINTR)
                        continue;
                if (written < 0)
                        return -errno;
                p += written;
                n -= (size_t)written;
        }
        return 0;
}

static int write_synced(int dir_fd, const char *path, const void *data, size_t n, mode_t mode) {
        cleanup(closep) int fd = -1;
        int r;

        fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd < 0)
                return -errno;
        r = file_write_all(fd, data, n);
        if (r < 0)
                return r;
        /* The umask is the caller's business elsewhere; here the mode was asked for by name. */
        if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

/* fsync of the directory that holds @path, so that the rename itself survives a power cut. */
static int sync_parent(int dir_fd, const char *path, size_t n_parent) {
        cleanup(closep) int fd = -1;
        char parent[PATH_MAX];

        if (n_parent >= sizeof(parent))
                return -ENAMETOOLONG;
        memcpy(parent, path, n_parent);
        parent[n_parent] = '\0';
        fd = openat(dir_fd, n_parent ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return fsync(fd) < 0 ? -errno : 0;
}

int file_write_atomic(int dir_fd, const char *path, const void *data, size_t n, mode_t mode) {
        static atomic_uint counter;
        const char *slash = strrchr(path, '/');
        size_t n_parent = slash ? (size_t)(slash - path) + 1 : 0;
        char temporary[PATH_MAX];
        int length, r;

        length = snprintf(temporary, sizeof(temporary), "%.*s.%s.tmp.%d.%u", (int)n_parent, path,
                          path + n_parent, (int)getpid(), atomic_fetch_add(&counter, 1));
        if (length < 0 || (size_t)length >= sizeof(temporary))
                return -ENAMETOOLONG;
        r = write_synced(dir_fd, temporary, data, n, mode);
        if (r == 0 && renameat(dir_fd, temporary, dir_fd, path) < 0)
                r = -errno;
        if (r < 0) {
                if (r != -EEXIST)
                        (void)unlinkat(dir_fd, temporary, 0);
                return r;
        }
        return sync_parent(dir_fd, path, n_parent);
}

int file_make_directories(const char *path, mode_t mode) {
        char part[PATH_MAX];
        size_t n = strlen(path);

        if (n == 0 || n >= sizeof(part))
                return n ? -ENAMETOOLONG : -ENOENT;
        memcpy(part, path, n + 1);
        for (char *p = part + 1;; p++) {
                char end = *p;

                if (end != '/' && end != '\0')
                        continue;
                *p = '\0';
                if (mkdir(part, mode) < 0 && errno != EEXIST)
                        return -errno;
                if (end == '\0')
                        return 0;
                *p = '/';
        }
}
