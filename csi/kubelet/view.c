/* SPDX-License-Identifier: Apache-2.0 */

/* Which directory is kubelet's, by its own files in this container. */

#include "csi/kubelet/view.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdio.h>
#include <sys/stat.h>

#define DEFAULT_ROOT "/var/lib/kubelet"

/*
 * Where distributions keep it, the longest that fits wins: microk8s's own ends in the usual one.
 * Not here is the snap of Canonical Kubernetes, which is a bind mount of the usual directory.
 */
static const char *const known_roots[] = {
        DEFAULT_ROOT,
        "/var/lib/k0s/kubelet",
        "/var/snap/microk8s/common/var/lib/kubelet",
        "/var/lib/rancher/k3s/agent/kubelet",
        "/opt/rke/var/lib/kubelet",
        "/var/lib/origin/openshift.local.volumes",
        "/cm/local/apps/kubernetes/var/kubelet",
};

/* A file that kubelet made for this container. */
typedef struct OwnFile {
        const Mount *mount;
        size_t n_root;    /* of mount->root: kubelet's directory as its filesystem sees it */
        const char *tail; /* the rest: "/pods/<uid>/etc-hosts"; borrowed */
} OwnFile;

/* "/pods/<uid>" at @text. Return: what follows it, NULL if it is none. */
static const char *after_pod(const char *text) {
        size_t n;

        if (!str_has_prefix(text, "/pods/"))
                return NULL;
        text += strlen("/pods/");
        n = strcspn(text, "/");
        return n > 0 && text[n] == '/' ? text + n : NULL;
}

/* The last "/pods/<uid>" of @path that @rest begins behind. */
static const char *find_pod(const char *path, const char *rest) {
        const char *found = NULL;

        for (const char *at = path; (at = strstr(at, "/pods/")); at++) {
                const char *after = after_pod(at);

                if (after && str_has_prefix(after, rest))
                        found = at;
        }
        return found;
}

static bool find_own_file(const MountTable *table, OwnFile *file) {
        static const struct {
                const char *target, *rest;
        } files[] = {
                {"/dev/termination-log", "/containers/"},
                {"/etc/hosts", "/etc-hosts"},
        };

        for (size_t i = 0; i < N_ELEMENTS(files); i++) {
                const Mount *mount = mount_table_find_target(table, files[i].target);
                const char *tail = mount ? find_pod(mount->root, files[i].rest) : NULL;

                if (!tail || str_has_suffix(mount->root, "//deleted"))
                        continue;
                *file = (OwnFile){mount, (size_t)(tail - mount->root), tail};
                return true;
        }
        return false;
}

/* Whether @path, of @n_path bytes, ends in the whole components of @tail. */
static bool ends_in(const char *path, size_t n_path, const char *tail, size_t n_tail) {
        return n_path >= n_tail && memcmp(path + n_path - n_tail, tail, n_tail) == 0;
}

static bool shows(const KubeletViewQuery *query, const OwnFile *file, const char *directory) {
        char path[PATH_MAX];
        int n = snprintf(path, sizeof(path), "%s%s", directory, file->tail);

        return n > 0 && n < (int)sizeof(path) &&
               query->is_same_file(query->userdata, path, file->mount->target);
}

/*
 * Where kubelet's directory is if @mount shows it or a part of it: mounted as a whole, with
 * something above it, or only its "pods", which are looked for from the other end.
 */
static bool place_of(const Mount *mount, const OwnFile *file, char place[PATH_MAX]) {
        const char *root = str_equal(mount->root, "/") ? "" : mount->root;
        size_t n_root = strlen(root), n_target = strlen(mount->target), n_rest;
        int n;

        if (n_root <= file->n_root) {
                if (memcmp(root, file->mount->root, n_root) != 0)
                        return false;
                n = snprintf(place, PATH_MAX, "%s%.*s",
                             str_equal(mount->target, "/") ? "" : mount->target,
                             (int)(file->n_root - n_root), file->mount->root + n_root);
                return n > 0 && n < PATH_MAX;
        }
        n_rest = n_root - file->n_root;
        if (memcmp(root, file->mount->root, file->n_root) != 0 ||
            !ends_in(mount->target, n_target, root + file->n_root, n_rest) || n_target >= PATH_MAX)
                return false;
        memcpy(place, mount->target, n_target - n_rest);
        place[n_target - n_rest] = '\0';
        return place[0] != '\0';
}

static bool find_place(const KubeletViewQuery *query, const OwnFile *file, char place[PATH_MAX]) {
        for (size_t i = 0; i < query->mounts->n_mounts; i++) {
                const Mount *mount = &query->mounts->mounts[i];

                if (mount->dev == file->mount->dev && place_of(mount, file, place) &&
                    shows(query, file, place))
                        return true;
        }
        return false;
}

/*
 * What kubelet calls it, where nobody said so. Its filesystem may be mounted anywhere, so of its
 * name there only the end is the same: "/kubelet" for /var/lib/kubelet on a disk for /var/lib, and
 * "/@/var/lib/kubelet" in a subvolume.
 */
static const char *name_of(const OwnFile *file, const char *here) {
        const char *best = here;
        size_t n_best = 0;

        if (ends_in(file->mount->root, file->n_root, here, strlen(here)))
                n_best = strlen(here);
        for (size_t i = 0; i < N_ELEMENTS(known_roots); i++) {
                size_t n = strlen(known_roots[i]);

                if (n <= n_best || !ends_in(file->mount->root, file->n_root, known_roots[i], n))
                        continue;
                best = known_roots[i];
                n_best = n;
        }
        return best;
}

static int set_path(char path[PATH_MAX], const char *text, Error *err) {
        size_t n = strlen(text);

        while (n > 1 && text[n - 1] == '/')
                n--;
        if (text[0] != '/' || n >= PATH_MAX)
                return error_set(err, ERROR_INVALID,
                                 "--kubelet-root: \"%.128s\", expected an absolute path", text);
        memcpy(path, text, n);
        path[n] = '\0';
        return 0;
}

static int refuse(const KubeletView *view, const OwnFile *file, Error *err) {
        return error_set(
                err, ERROR_PRECONDITION,
                "%s of this container is not kubelet's directory, which is %.*s%s on its "
                "filesystem: give --kubelet-root kubelet's --root-dir, and mount that directory as "
                "a hostPath volume at the same path with mountPropagation: Bidirectional "
                "(--no-kubelet-check if this is not a pod)",
                view->name, (int)file->n_root, file->mount->root, file->n_root == 0 ? "/" : "");
}

/* In a pod. @view holds what is wanted or detected. */
static int prove(const KubeletViewQuery *query, const OwnFile *file, KubeletView *view,
                 Error *err) {
        view->is_proven = true;
        if (!shows(query, file, view->here)) {
                if (!find_place(query, file, view->here))
                        return refuse(view, file, err);
                /* Whoever names a directory that is not here means kubelet's name for it. */
                if (!str_is_empty(query->wanted))
                        return 0;
        }
        return set_path(view->name, name_of(file, view->here), err);
}

int kubelet_view_find(const KubeletViewQuery *query, KubeletView *view, Error *err) {
        const char *root = DEFAULT_ROOT;
        OwnFile file;
        int r;

        if (!str_is_empty(query->wanted))
                root = query->wanted;
        else if (!str_is_empty(query->detected))
                root = query->detected;
        *view = (KubeletView){0};
        r = set_path(view->name, root, err);
        if (r < 0)
                return r;
        memcpy(view->here, view->name, sizeof(view->here));
        return find_own_file(query->mounts, &file) ? prove(query, &file, view, err) : 0;
}

bool kubelet_view_root_of(const char *path, size_t *n_rootp) {
        const char *at = find_pod(path, "/volumes/kubernetes.io~csi/");

        if (!at)
                at = strstr(path, "/plugins/kubernetes.io/csi/");
        if (!at || path[0] != '/')
                return false;
        *n_rootp = (size_t)(at - path);
        return true;
}

static bool is_same_file(void *userdata, const char *a, const char *b) {
        struct stat status_a, status_b;

        return stat(a, &status_a) == 0 && stat(b, &status_b) == 0 &&
               status_a.st_dev == status_b.st_dev && status_a.st_ino == status_b.st_ino;
}

int kubelet_view_read(const char *wanted, const char *detected, KubeletView *view, Error *err) {
        cleanup(mount_table_freep) MountTable *mounts = NULL;
        KubeletViewQuery query = {wanted, detected, NULL, is_same_file, NULL};
        int r = mountinfo_read(&mounts);

        if (r < 0)
                return error_set_errno(err, r, "read /proc/self/mountinfo");
        query.mounts = mounts;
        return kubelet_view_find(&query, view, err);
}
