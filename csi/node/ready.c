/* SPDX-License-Identifier: Apache-2.0 */

/* What Probe says. Asked every few seconds, so only what costs nothing is looked at. */

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/node/node_internal.h"
#include "fs/formats/format.h"
#include "fs/tools/tools.h"

#include <fcntl.h>

/*
 * Mounts that we make below kubelet's root must be seen by kubelet and by the pods' runtime, else
 * pods write into the directories below, silently. On the host itself there is one namespace for
 * all, and nothing to propagate; a pod knows that it is one by its environment.
 */
static int check_propagation(const Node *node, int fd, Error *err) {
        int r;

        if (!getenv("KUBERNETES_SERVICE_HOST"))
                return 0;
        r = mount_is_shared(fd);
        if (r > 0)
                return 0;
        if (r < 0)
                return error_set_errno(err, r, "look at the mount of %s", node->root.here);
        return error_set(err, ERROR_PRECONDITION,
                         "mounts below %s are not seen outside this container: give its volume "
                         "mountPropagation: Bidirectional, and make it shared on the host",
                         node->root.here);
}

static bool is_in_path(const char *program) {
        const char *at = getenv("PATH");

        while (at && *at) {
                cleanup(freep) char *path = NULL;
                size_t n = strcspn(at, ":");

                path = str_printf("%.*s/%s", (int)n, at, program);
                if (path && access(path, X_OK) == 0)
                        return true;
                at += n;
                at += strspn(at, ":");
        }
        return false;
}

/* Without the others' tools their volumes are refused by name; without these, nearly all are. Which
 * versions there are is in the log (csi/daemon/tend.c): to ask costs an exec each. */
static int check_tools(const Node *node, Error *err) {
        const char *type = node->config.provider->format.default_fs_type;
        const FsToolset *set;

        if (!node->config.provider->find_device)
                return 0;
        if (str_is_empty(type))
                type = "ext4";
        set = fs_toolset_find(fs_kind_from_type(type));
        for (FsProgram i = 0; set && i < _FS_PROGRAM_N; i++)
                if (set->programs[i] && !is_in_path(set->programs[i]))
                        return error_set(err, ERROR_PRECONDITION,
                                         "%s is not installed, and the volumes, which are %s by "
                                         "default, need it",
                                         set->programs[i], type);
        return 0;
}

int node_ready(Node *node, const Call *call, Error *err) {
        const Provider *provider = node->config.provider;
        cleanup(closep) int fd = -1;
        int r;

        fd = open(node->root.here, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_set(err, ERROR_PRECONDITION,
                                 "kubelet's root %s is not there: is it another one "
                                 "(--kubelet-root), or not mounted here?",
                                 node->root.here);
        r = check_propagation(node, fd, err);
        if (r == 0)
                r = check_tools(node, err);
        if (r == 0 && provider->ready)
                r = provider->ready(node->config.provider_self, call, err);
        return r;
}
