/* SPDX-License-Identifier: Apache-2.0 */

/* Whether the kubelets that run beside this process see its mounts. */

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/mount/mount_query.h"
#include "csi/kubelet/view.h"

#include <fcntl.h>
#include <stdio.h>

#define DEFAULT_ROOT "/var/lib/kubelet"

/* A node with more processes than this is not searched to the end. */
#define PROCESSES_MAX 32768U

/* kubelet's flags take a few hundred bytes. */
#define COMMAND_LINE_MAX 65536U

#define NAMESPACE_MAX 64

static bool is_kubelet(const char *pid) {
        cleanup(freep) char *name = NULL;
        char path[64];

        (void)snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
        if (file_read_at(AT_FDCWD, path, 64, &name, NULL) < 0)
                return false;
        str_trim_end(name);
        return str_equal(name, "kubelet");
}

const char *kubelet_view_root_argument(const char *text, size_t n) {
        static const char flag[] = "--root-dir";
        const size_t n_flag = sizeof(flag) - 1;

        for (size_t i = 0; i < n; i += strlen(text + i) + 1) {
                const char *one = text + i;

                if (!str_has_prefix(one, flag))
                        continue;
                if (one[n_flag] == '=')
                        return one + n_flag + 1;
                if (one[n_flag] == '\0' && i + n_flag + 1 < n)
                        return one + n_flag + 1;
        }
        return DEFAULT_ROOT;
}

static bool uses_root(const char *pid, const char *root) {
        cleanup(freep) char *text = NULL;
        size_t n, n_root = strlen(root);
        char path[64];
        const char *its;

        (void)snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
        if (file_read_at(AT_FDCWD, path, COMMAND_LINE_MAX, &text, &n) < 0)
                return false;
        its = kubelet_view_root_argument(text, n);
        return strncmp(its, root, n_root) == 0 && its[n_root + strspn(its + n_root, "/")] == '\0';
}

static bool read_namespace(const char *pid, char name[NAMESPACE_MAX]) {
        char path[64];
        ssize_t n;

        (void)snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", pid);
        n = readlink(path, name, NAMESPACE_MAX - 1);
        name[n < 0 ? 0 : n] = '\0';
        return n > 0;
}

/* Of the mount that a directory of a process is in. */
typedef struct PeerGroups {
        uint64_t shared, master;
} PeerGroups;

static bool read_groups(const char *pid, const char *directory, PeerGroups *groups) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        cleanup(closep) int root = -1, fd = -1;
        cleanup(freep) char *text = NULL;
        const Mount *found;
        char path[64];
        MountStatus status = {0};
        size_t n;

        (void)snprintf(path, sizeof(path), "/proc/%.20s/root", pid);
        root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return false;
        /* Its links lead where they lead for that process. */
        fd = file_open_in_root(root, directory, O_PATH | O_DIRECTORY);
        (void)snprintf(path, sizeof(path), "/proc/%.20s/mountinfo", pid);
        if (fd < 0 || mount_query(fd, MOUNT_QUERY_SHORT, &status) < 0 ||
            file_read_at(AT_FDCWD, path, MOUNTINFO_MAX_BYTES, &text, &n) < 0 ||
            mountinfo_parse(text, n, &table, NULL) != 0)
                return false;
        found = mount_table_find_id(table, status.id);
        if (found)
                *groups = (PeerGroups){found->shared_group, found->master_group};
        return found != NULL;
}

/* Return: false only if that is sure. */
static bool sees_mounts(const KubeletView *view, const char *pid) {
        char ours_name[NAMESPACE_MAX], its_name[NAMESPACE_MAX];
        PeerGroups ours, its;

        if (!read_namespace("self", ours_name) || !read_namespace(pid, its_name) ||
            str_equal(ours_name, its_name) || !read_groups("self", view->here, &ours) ||
            !read_groups(pid, view->name, &its))
                return true;
        return ours.shared != 0 && (its.shared == ours.shared || its.master == ours.shared);
}

int kubelet_view_check_processes(const KubeletView *view, Error *err) {
        cleanup(closedirp) DIR *processes = opendir("/proc");
        const struct dirent *entry;
        size_t n_seen = 0;
        char blind[24] = "";

        /* Those of other nodes, in containers of this machine, have a root of that name too: one
         * that sees the mounts is enough. */
        while (processes && (entry = readdir(processes)) && n_seen < PROCESSES_MAX) {
                if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
                        continue;
                n_seen++;
                if (!is_kubelet(entry->d_name) || !uses_root(entry->d_name, view->name))
                        continue;
                if (sees_mounts(view, entry->d_name))
                        return 0;
                (void)snprintf(blind, sizeof(blind), "%.20s", entry->d_name);
        }
        if (blind[0] == '\0')
                return 0;
        return error_set(err, ERROR_PRECONDITION,
                         "kubelet (process %s) does not see what is mounted below %s here: this "
                         "process has mounts of its own. In a pod, give the volume "
                         "mountPropagation: Bidirectional; a systemd service must not use "
                         "PrivateMounts=, PrivateTmp=, ProtectSystem= and the like "
                         "(--no-kubelet-check if it is another node's)",
                         blind, view->here);
}
