/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/kubelet/path.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "csi/kubelet/view.h"

#include <fcntl.h>
#include <sys/stat.h>

static int refuse(const char *field, const char *text, const char *expected, const char *root,
                  Error *err) {
        return error_set(err, ERROR_INVALID, "%s: \"%.200s\", expected %s%s", field, text, expected,
                         root);
}

/* Every component of what lies below the root. */
static bool has_dots(const char *path) {
        while (*path) {
                size_t n = strcspn(path, "/");

                if ((n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.'))
                        return true;
                path += n;
                path += strspn(path, "/");
        }
        return false;
}

/* What follows @root in @text; NULL if it is not below it. */
static const char *below(const char *root, const char *text) {
        size_t n = strlen(root);

        return strncmp(text, root, n) == 0 && text[n] == '/' ? text + n : NULL;
}

const char *node_root_below(const char *real, const char *target) {
        return below(real, target);
}

bool node_path_is_staging(const char *path) {
        static const char csi[] = "/plugins/kubernetes.io/csi/";

        if (!str_has_prefix(path, csi))
                return false;
        return str_has_suffix(path, "/globalmount") ||
               str_has_prefix(path + strlen(csi), "volumeDevices/staging/");
}

static int open_root(const NodeRoot *root) {
        int fd = open(*root->here ? root->here : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

int node_root_real(const NodeRoot *root, char real[PATH_MAX], Error *err) {
        cleanup(closep) int fd = open_root(root);
        char link[32];
        ssize_t n;

        if (fd < 0)
                return error_set_errno(err, fd, "open kubelet's root %s", root->here);
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, real, PATH_MAX - 1);
        if (n < 0)
                return error_set_errno(err, errno, "find the real path of %s", root->here);
        real[n == 1 ? 0 : n] = '\0';
        return 0;
}

static const char *below_root(const NodeRoot *root, const char *text) {
        const char *rest = below(root->name, text);
        char real[PATH_MAX];

        if (!rest)
                rest = below(root->here, text);
        /* A kubelet that resolved the links of its root itself. */
        if (!rest && node_root_real(root, real, NULL) == 0)
                rest = below(real, text);
        return rest;
}

static int refuse_root(const NodeRoot *root, const char *field, const char *text, Error *err) {
        size_t n;

        if (!kubelet_view_root_of(text, &n))
                return refuse(field, text, "a path below kubelet's root ", root->name, err);
        return error_set(
                err, ERROR_INVALID,
                "%s: kubelet's root is \"%.*s\", and not %s: set --kubelet-root, and mount "
                "that directory into the container at the same path",
                field, (int)(n > 200 ? 200 : n), text, root->name);
}

int node_path_check(const NodeRoot *root, const char *field, const char *text, const char **belowp,
                    Error *err) {
        const char *rest = below_root(root, text);

        if (strlen(text) >= PATH_MAX)
                return error_set(err, ERROR_INVALID, "%s: longer than %d bytes", field,
                                 PATH_MAX - 1);
        if (!rest)
                return refuse_root(root, field, text, err);
        rest += strspn(rest, "/");
        if (*rest == '\0')
                return refuse(field, text, "a path below kubelet's root ", root->name, err);
        if (has_dots(rest))
                return refuse(field, text, "a path without \".\" and \"..\"", "", err);
        *belowp = rest;
        return 0;
}

MountPlace node_path_place(const NodePath *path) {
        return (MountPlace){path->fd, path->parent_fd, path->name};
}

int node_path_real(const NodePath *path, char text[PATH_MAX], Error *err) {
        char link[32];
        ssize_t n;
        int n_all;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", path->parent_fd);
        n = readlink(link, text, PATH_MAX - 1);
        if (n < 0)
                return error_set_errno(err, errno, "find the real path of %s", path->text);
        n_all = snprintf(text + n, PATH_MAX - (size_t)n, "%s%s", n == 1 ? "" : "/", path->name);
        if ((size_t)n_all >= PATH_MAX - (size_t)n)
                return error_set_errno(err, ENAMETOOLONG, "%s", path->text);
        return 0;
}

void node_path_close(NodePath *path) {
        closep(&path->fd);
        closep(&path->parent_fd);
}

/* From what the kernel knows: a server that hangs is not asked. */
static int read_type(int fd, mode_t *typep) {
        struct statx status;

        if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE,
                  &status) < 0)
                return -errno;
        *typep = status.stx_mode & S_IFMT;
        return 0;
}

bool node_path_is_dead_errno(int r) {
        return r == -ENOTCONN || r == -ESTALE || r == -EIO || r == -EHOSTDOWN || r == -ENODEV ||
               r == -ENXIO || r == -ETIMEDOUT;
}

int node_path_reopen(NodePath *path, Error *err) {
        int r;

        closep(&path->fd);
        path->type = 0;
        path->is_dead = false;
        path->fd = file_open_beneath(path->parent_fd, path->name, O_PATH | O_NOFOLLOW, 0);
        if (path->fd == -ENOENT) {
                path->fd = -1;
                return 0;
        }
        if (path->fd == -ELOOP)
                return error_set(err, ERROR_PRECONDITION, "%s is a symbolic link, not followed",
                                 path->text);
        if (path->fd < 0 && !node_path_is_dead_errno(path->fd))
                return error_set_errno(err, path->fd, "open %s", path->text);
        /* Of a dead filesystem the path can be opened and not be looked at, or not even that. */
        r = path->fd < 0 ? path->fd : read_type(path->fd, &path->type);
        if (r < 0) {
                if (path->fd >= 0 && !node_path_is_dead_errno(r))
                        return error_set_errno(err, r, "look at %s", path->text);
                path->is_dead = true;
                closep(&path->fd);
                return 0;
        }
        if (S_ISLNK(path->type))
                return error_set(err, ERROR_PRECONDITION, "%s is a symbolic link, not followed",
                                 path->text);
        return 0;
}

/* Cuts "a/b/c///" into "a/b" and "c". @parent: PATH_MAX bytes. */
static int split(const char *below, char *parent, char name[NAME_MAX + 1]) {
        size_t n = strlen(below), n_name;
        const char *slash;

        while (n > 0 && below[n - 1] == '/')
                n--;
        memcpy(parent, below, n);
        parent[n] = '\0';
        slash = strrchr(parent, '/');
        n_name = slash ? strlen(slash + 1) : n;
        if (n_name > NAME_MAX)
                return -ENAMETOOLONG;
        memcpy(name, parent + n - n_name, n_name);
        name[n_name] = '\0';
        n -= n_name;
        while (n > 0 && parent[n - 1] == '/')
                n--;
        memcpy(parent + n, n > 0 ? "" : ".", n > 0 ? 1 : 2);
        return 0;
}

static int open_parent(int root_fd, const char *parent) {
        if (str_equal(parent, "."))
                return fcntl(root_fd, F_DUPFD_CLOEXEC, 0);
        return file_open_beneath(root_fd, parent, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
}

int node_path_open_parent(NodePath *path, const NodeRoot *root, const char *field, const char *text,
                          Error *err) {
        cleanup(closep) int root_fd = -1;
        char parent[PATH_MAX];
        const char *rest;
        int r;

        node_path_close(path);
        path->text = text;
        path->type = 0;
        path->is_dead = false;
        r = node_path_check(root, field, text, &rest, err);
        if (r < 0)
                return r;
        if (split(rest, parent, path->name) < 0)
                return error_set(err, ERROR_INVALID, "%s: a component is longer than %d bytes",
                                 field, NAME_MAX);
        /* The root itself is the administrator's, links in it are too. It is opened anew each time:
         * kubelet may have mounted something on it since. */
        root_fd = open_root(root);
        if (root_fd < 0)
                return error_set_errno(err, root_fd, "open kubelet's root %s", root->here);
        path->parent_fd = open_parent(root_fd, parent);
        if (path->parent_fd == -ELOOP || path->parent_fd == -ENOTDIR)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s: \"%.200s\" leads through a symbolic link or a file", field,
                                 text);
        if (path->parent_fd == -ENOENT) {
                path->parent_fd = -1;
                return NODE_PATH_E_NO_PARENT;
        }
        if (path->parent_fd < 0)
                return error_set_errno(err, path->parent_fd, "open the directory of %s", text);
        return 0;
}

int node_path_open(NodePath *path, const NodeRoot *root, const char *field, const char *text,
                   Error *err) {
        int r = node_path_open_parent(path, root, field, text, err);

        return r != 0 ? r : node_path_reopen(path, err);
}
