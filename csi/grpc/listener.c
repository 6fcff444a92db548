/* SPDX-License-Identifier: Apache-2.0 */

/* The listening socket of the gRPC server. gRPC core's own would take over a living instance's
 * socket, unlink whatever is there at its end, and let any user in that the umask lets in. */

#include "csi/grpc/listener.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Connections that wait to be accepted; more are refused by the kernel for a moment. */
#define BACKLOG 128

/* Another instance holds the lock only while it binds; who holds it longer is no reason not to
 * start. */
#define LOCK_TRIES       20
#define LOCK_PAUSE_MSECS 50

struct Listener {
        int fd; /* owned */
        dev_t dev;
        ino_t ino;
        char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

static int address_fill(struct sockaddr_un *address, const char *path, Error *err) {
        *address = (struct sockaddr_un){.sun_family = AF_UNIX};
        if (path[0] != '/')
                return error_set(err, ERROR_INVALID, "socket %s: not an absolute path", path);
        if (strlen(path) >= sizeof(address->sun_path))
                return error_set(err, ERROR_INVALID,
                                 "socket %s: longer than the %zu bytes of a socket's address", path,
                                 sizeof(address->sun_path) - 1);
        memcpy(address->sun_path, path, strlen(path) + 1);
        return 0;
}

/* Held while looking for another instance and binding, so that two that start at once do not both
 * find nobody. A lock on the directory leaves no file behind. */
static int lock_directory(const char *path, Error *err) {
        cleanup(freep) char *copy = strdup(path);
        cleanup(closep) int fd = -1;

        if (!copy)
                return error_set_errno(err, ENOMEM, "socket %s", path);
        fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_set_errno(err, errno, "open the directory of %s", path);
        for (int i = 0; i < LOCK_TRIES; i++) {
                if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
                        break;
                clock_sleep(LOCK_PAUSE_MSECS);
        }
        return fd_steal(&fd);
}

/* Removes what a dead process left at the address. */
static int remove_stale(const struct sockaddr_un *address, Error *err) {
        const char *path = address->sun_path;
        cleanup(closep) int fd = -1;
        struct stat st;

        if (lstat(path, &st) < 0)
                return errno == ENOENT ? 0 : error_set_errno(err, errno, "look at %s", path);
        if (!S_ISSOCK(st.st_mode))
                return error_set(err, ERROR_CONFLICT, "%s exists and is not a socket", path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return error_set_errno(err, errno, "make a socket");
        /* EAGAIN: its queue is full, so somebody listens. */
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
            errno == EAGAIN || errno == EINPROGRESS)
                return error_set(err, ERROR_CONFLICT, "another instance already serves %s", path);
        if (errno != ECONNREFUSED && errno != ENOENT)
                return error_set_errno(err, errno, "probe %s", path);
        if (unlink(path) < 0 && errno != ENOENT)
                return error_set_errno(err, errno, "remove the stale socket %s", path);
        return 0;
}

static int bind_and_listen(Listener *listener, const struct sockaddr_un *address, Error *err) {
        struct stat st;

        /* The mode of an unbound socket is what bind(2) gives the file, less the umask: so there is
         * no moment at which others could connect. */
        if (fchmod(listener->fd, 0600) < 0 ||
            bind(listener->fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
                return error_set_errno(err, errno, "bind %s", address->sun_path);
        if (listen(listener->fd, BACKLOG) < 0 || lstat(address->sun_path, &st) < 0) {
                int saved = errno;

                (void)unlink(address->sun_path);
                return error_set_errno(err, saved, "listen on %s", address->sun_path);
        }
        listener->dev = st.st_dev;
        listener->ino = st.st_ino;
        return 0;
}

static int open_locked(Listener *listener, const struct sockaddr_un *final,
                       const struct sockaddr_un *first, Error *err) {
        int r;

        r = remove_stale(final, err);
        if (r == 0 && first != final)
                r = remove_stale(first, err);
        if (r == 0)
                r = bind_and_listen(listener, first, err);
        if (r < 0)
                return r;
        memcpy(listener->path, first->sun_path, sizeof(listener->path));
        if (first == final)
                return 0;
        if (rename(first->sun_path, final->sun_path) < 0) {
                r = error_set_errno(err, errno, "rename %s to %s", first->sun_path,
                                    final->sun_path);
                (void)unlink(first->sun_path);
                return r;
        }
        memcpy(listener->path, final->sun_path, sizeof(listener->path));
        return 0;
}

int listener_open(Listener **listenerp, const char *path, const char *bind_name, Error *err) {
        struct sockaddr_un final, first;
        cleanup(freep) Listener *listener = calloc(1, sizeof(*listener));
        cleanup(closep) int lock = -1;
        cleanup(closep) int fd = -1;
        int r;

        if (!listener)
                return error_set_errno(err, ENOMEM, "socket %s", path);
        r = address_fill(&final, path, err);
        if (r < 0)
                return r;
        if (bind_name) {
                cleanup(freep) char *name =
                        str_printf("%.*s%s", (int)(strrchr(path, '/') + 1 - path), path, bind_name);

                if (!name)
                        return error_set_errno(err, ENOMEM, "socket %s", path);
                r = address_fill(&first, name, err);
                if (r < 0)
                        return r;
        }
        lock = lock_directory(path, err);
        if (lock < 0)
                return lock;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return error_set_errno(err, errno, "make a socket");
        listener->fd = fd;
        r = open_locked(listener, &final, bind_name ? &first : &final, err);
        if (r < 0)
                return r;
        listener->fd = fd_steal(&fd);
        *listenerp = ptr_steal(&listener);
        return 0;
}

bool listener_is_there(const Listener *listener) {
        struct stat st;

        return lstat(listener->path, &st) == 0 && st.st_dev == listener->dev &&
               st.st_ino == listener->ino;
}

void listener_close(Listener *listener) {
        if (!listener)
                return;
        if (listener_is_there(listener))
                (void)unlink(listener->path);
        (void)close(listener->fd);
        free(listener);
}

int listener_fd(const Listener *listener) {
        return listener->fd;
}

int listener_accept(Listener *listener, uid_t *uidp) {
        cleanup(closep) int fd = -1;
        struct ucred peer;
        socklen_t n = sizeof(peer);

        fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
                return -errno;
        if (uidp)
                *uidp = peer.uid;
        if (peer.uid != 0 && peer.uid != geteuid())
                return -EPERM;
        return fd_steal(&fd);
}
