/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/kubelet/volumes.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>

#define NOTE_MAX 65536

typedef int EachEntry(int fd, const char *name, const char *volume_id);

/* Calls @each with every entry of a directory, until it returns other than 0. Return: that; -ENOENT
 * if there is no such directory; another -errno. */
static int each_entry(int dir_fd, const char *path, EachEntry *each, const char *volume_id) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int fd, r = 0;

        fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOTDIR ? -ENOENT : -errno;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        /* A directory that cannot be read to its end is no directory without volumes. */
        errno = 0;
        while (r == 0 && (entry = readdir(dir))) {
                if (entry->d_name[0] != '.')
                        r = each(fd, entry->d_name, volume_id);
                errno = 0;
        }
        return r == 0 && errno != 0 ? -errno : r;
}

/* One that is gone meanwhile, or is a file, has none. */
static int each_below(int fd, const char *path, EachEntry *each, const char *volume_id) {
        int r = each_entry(fd, path, each, volume_id);

        return r == -ENOENT ? 0 : r;
}

/* Return: 1; 0, also without a note; -EBADMSG: it does not say; another -errno. */
static int read_note(int fd, const char *name, const char *volume_id) {
        cleanup(freep) char *path = str_printf("%s/" KUBELET_NOTE, name);
        cleanup(freep) char *text = NULL;
        const char *handle;
        json_t *root;
        int r;

        if (!path)
                return -ENOMEM;
        r = file_read_at(fd, path, NOTE_MAX, &text, NULL);
        if (r < 0)
                return r == -ENOENT || r == -ENOTDIR ? 0 : r;
        root = json_loads(text, 0, NULL);
        handle = json_string_value(json_object_get(root, "volumeHandle"));
        r = !handle ? -EBADMSG : str_equal(handle, volume_id);
        json_decref(root);
        return r;
}

/* A pod's data may be at stake: words that its note does not say are no "no". */
static int is_pods_volume(int fd, const char *name, const char *volume_id) {
        int r = read_note(fd, name, volume_id);

        return r == -EBADMSG ? 1 : r;
}

/* With a note that lost its words, in a power cut, kubelet itself asks for nothing any more. */
static int is_staged_volume(int fd, const char *name, const char *volume_id) {
        int r = read_note(fd, name, volume_id);

        return r == -EBADMSG ? 0 : r;
}

static int is_in_pod(int fd, const char *name, const char *volume_id) {
        cleanup(freep) char *path = str_printf("%s/volumes/kubernetes.io~csi", name);

        return path ? each_below(fd, path, is_pods_volume, volume_id) : -ENOMEM;
}

static int is_block_volume(int fd, const char *name, const char *volume_id) {
        cleanup(freep) char *path = str_printf("%s/data", name);

        return path ? is_staged_volume(fd, path, volume_id) : -ENOMEM;
}

static int is_staged(int fd, const char *name, const char *volume_id) {
        return each_below(fd, name,
                          str_equal(name, "volumeDevices") ? is_block_volume : is_staged_volume,
                          volume_id);
}

static int is_any(int fd, const char *name, const char *volume_id) {
        return 1;
}

int kubelet_has_volume(const char *root, KubeletPlace place, const char *volume_id) {
        cleanup(freep) char *path = NULL;
        int r;

        path = str_printf("%s/%s", root,
                          place == KUBELET_PODS ? "pods" : "plugins/kubernetes.io/csi");
        if (!path)
                return -ENOMEM;
        r = each_entry(AT_FDCWD, path, place == KUBELET_PODS ? is_in_pod : is_staged, volume_id);
        if (r == 0 && place == KUBELET_PODS)
                r = each_entry(AT_FDCWD, path, is_any, NULL) == 0 ? -ENOENT : 0;
        return r;
}

/* @parts: names, "*" any; NULL after the last. A place that is not there has none. */
static int walk(int dir_fd, const char *path, const char *const *parts, KubeletEach *each,
                void *userdata) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int fd, r = 0;

        fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
        if (!parts[1] || !str_equal(parts[0], "*")) {
                r = parts[1] ? walk(fd, parts[0], parts + 1, each, userdata)
                             : each(fd, parts[0], userdata);
                close(fd);
                return r;
        }
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        errno = 0;
        while (r == 0 && (entry = readdir(dir))) {
                if (entry->d_name[0] != '.')
                        r = walk(fd, entry->d_name, parts + 1, each, userdata);
                errno = 0;
        }
        return r == 0 && errno != 0 ? -errno : r;
}

int kubelet_each_mount_point(const char *root, KubeletEach *each, void *userdata) {
        static const char *const staged[] = {"plugins", "kubernetes.io", "csi", "*",
                                             "*",       "globalmount",   NULL};
        static const char *const pods[] = {"pods", "*",     "volumes", "kubernetes.io~csi",
                                           "*",    "mount", NULL};
        int r = walk(AT_FDCWD, str_is_empty(root) ? "/" : root, staged, each, userdata);

        return r != 0 ? r : walk(AT_FDCWD, str_is_empty(root) ? "/" : root, pods, each, userdata);
}
