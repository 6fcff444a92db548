/* SPDX-License-Identifier: Apache-2.0 */

/* The node itself, and what every call of it uses. */

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/exec.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/privilege.h"
#include "common/base/str.h"
#include "csi/metrics/metrics.h"
#include "csi/node/node_internal.h"
#include "csi/wait/limits.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <time.h>

/*
 * kubelet waits two minutes, an fsck may take longer: to kill it then would begin it anew with
 * every call, for ever. So a passed deadline ends nothing; the work goes on, the volume stays
 * locked, and a later call finds it done. A client that went away before its deadline, or a server
 * that stops, ends it.
 */
bool call_is_aborted(void *userdata) {
        const Call *call = userdata;

        if (!call->cancelled(call->userdata))
                return false;
        return call->deadline_msecs == UINT64_MAX ||
               clock_msecs() + DEADLINE_SLACK_MSECS < call->deadline_msecs;
}

static bool read_has_selinux(void) {
        cleanup(freep) char *text = NULL;

        return file_read_at(AT_FDCWD, "/proc/filesystems", 65536, &text, NULL) == 0 &&
               strstr(text, "selinuxfs");
}

int node_new_with_kernel(Node **nodep, const NodeConfig *config, const NodeKernel *kernel,
                         Error *err) {
        const BudgetLimits limits = {.max_running = config->max_formatters};
        Node *node = calloc(1, sizeof(*node));
        int r;

        if (!node)
                return error_set_errno(err, ENOMEM, "node");
        (void)pthread_mutex_init(&node->host_mutex, NULL);
        (void)pthread_mutex_init(&node->hanging_mutex, NULL);
        (void)pthread_mutex_init(&node->growth_mutex, NULL);
        node->config = *config;
        node->root = (NodeRoot){config->kubelet_root,
                                config->kubelet_here ? config->kubelet_here : config->kubelet_root};
        node->kernel = kernel ? *kernel : (NodeKernel){kernel_run, kernel_undo, node};
        if (!node->kernel.userdata)
                node->kernel.userdata = node;
        node->has_selinux = read_has_selinux();
        node->can_grow_mounted_ext = privilege_has(CAP_SYS_RESOURCE);
        node->locks = config->locks;
        r = node->locks ? 0 : hold_table_new(&node->own_locks);
        if (r == 0 && !node->locks)
                node->locks = node->own_locks;
        if (r == 0)
                r = budget_new(&node->budget, &limits);
        if (r == 0)
                r = watchdog_new(&node->watchdog);
        if (r < 0) {
                node_free(node);
                return error_set_errno(err, r, "node");
        }
        *nodep = node;
        return 0;
}

int node_new(Node **nodep, const NodeConfig *config, Error *err) {
        return node_new_with_kernel(nodep, config, NULL, err);
}

void node_free(Node *node) {
        if (!node)
                return;
        hold_table_free(node->own_locks);
        budget_free(node->budget);
        watchdog_free(node->watchdog);
        for (size_t i = 0; i < _NODE_HOST_N; i++)
                free(node->hosts[i]);
        (void)pthread_mutex_destroy(&node->host_mutex);
        for (Hanging *one = node->hanging, *next; one; one = next) {
                next = one->next;
                free(one);
        }
        (void)pthread_mutex_destroy(&node->hanging_mutex);
        (void)pthread_mutex_destroy(&node->growth_mutex);
        free(node);
}

void node_count(const Node *node, const char *metric, const char *label, double value) {
        if (node->config.count)
                node->config.count(node->config.count_userdata, metric, label, value);
}

int node_get_host(Node *node, NodeHost how, const FsHost **hostp, Error *err) {
        const FsHostRead read = {.root_fd = -1,
                                 .tools = how == NODE_HOST_TOOLS,
                                 .probe = how == NODE_HOST_PROBED,
                                 .cache_dir = FS_HOST_CACHE_DIRECTORY};
        FsHost **wherep = &node->hosts[how];
        cleanup(freep) FsHost *host = NULL;
        int r = 0;

        pthread_mutex_lock(&node->host_mutex);
        if (!*wherep) {
                host = calloc(1, sizeof(*host));
                r = host ? fs_host_read(host, &read, err) : error_set_errno(err, ENOMEM, "host");
                if (r == 0)
                        *wherep = ptr_steal(&host);
        }
        *hostp = *wherep;
        pthread_mutex_unlock(&node->host_mutex);
        return r;
}

void node_note_hanging(Node *node, const Call *call, const char *volume_id) {
        const LogField fields[] = {{"volume", volume_id}, {"op", call->method}};
        int pid = exec_take_abandoned();
        Hanging *hanging;

        if (pid == 0)
                return;
        log_fields(LOG_LEVEL_ERROR, fields, 2,
                   "process %d hangs in the kernel and cannot be killed: the disk does not answer; "
                   "it is waited for no more",
                   pid);
        node_count(node, METRIC_ABANDONED_TOOLS, call->method, 1);
        hanging = calloc(1, sizeof(*hanging) + strlen(volume_id) + 1);
        if (!hanging)
                return;
        hanging->pid = pid;
        hanging->since_msecs = clock_msecs();
        memcpy(hanging->volume_id, volume_id, strlen(volume_id) + 1);
        pthread_mutex_lock(&node->hanging_mutex);
        hanging->next = node->hanging;
        node->hanging = hanging;
        pthread_mutex_unlock(&node->hanging_mutex);
}

/* The mutex is held: without those that have ended. */
static Hanging *find_hanging(Node *node, const char *volume_id) {
        Hanging **at = &node->hanging, *found = NULL;

        while (*at) {
                Hanging *one = *at;

                if (!exec_is_abandoned(one->pid)) {
                        *at = one->next;
                        free(one);
                        continue;
                }
                if (str_equal(one->volume_id, volume_id))
                        found = one;
                at = &one->next;
        }
        return found;
}

int node_check_hanging(Node *node, const char *volume_id, Error *err) {
        const Hanging *found;
        int r = 0;

        pthread_mutex_lock(&node->hanging_mutex);
        found = find_hanging(node, volume_id);
        if (found)
                r = error_set(err, ERROR_UNAVAILABLE,
                              "process %d, a tool that works on the volume, has hung in the kernel "
                              "for %llu s and cannot be killed: its disk does not answer",
                              found->pid,
                              (unsigned long long)(clock_msecs() - found->since_msecs) / 1000);
        pthread_mutex_unlock(&node->hanging_mutex);
        return r;
}

int node_locks_acquire(Node *node, const Call *call, const char *volume_id, HoldMode mode,
                       const char *path, NodeLocks *locks, Error *err) {
        const Provider *provider = node->config.provider;
        int r;

        r = wait_for_hold(call, node->locks, "volume", volume_id, mode, &locks->volume, err);
        if (r < 0 && err && err->code == ERROR_AGAIN && provider->tell_busy &&
            !(call->waiting && call->waiting->is_parked))
                provider->tell_busy(node->config.provider_self, volume_id, err);
        if (r == 0)
                r = wait_for_hold(call, node->locks, "path", path, HOLD_EXCLUSIVE, &locks->path,
                                  err);
        if (r == 0)
                r = waiting_is_over(call, call_is_aborted, err);
        return r;
}

void node_locks_release(const Call *call, NodeLocks *locks) {
        hold_release(&locks->disk);
        waiting_release(call, &locks->path);
        waiting_release(call, &locks->volume);
}

int node_check_mode(const Node *node, const VolumeCapability *capability, Error *err) {
        const Provider *provider = node->config.provider;

        if (capability->volume_mount_group && capability->volume_mount_group[0] != '\0')
                return error_set(err, ERROR_INVALID,
                                 "volume_mount_group: expected none: groups are set by kubelet "
                                 "(fsGroup), this driver has no VOLUME_MOUNT_GROUP");
        if (!access_mode_is_multi_node_writer(capability->access_mode))
                return 0;
        if (capability->is_block ? provider->flags & PROVIDER_BLOCK_MULTI_WRITER
                                 : provider->flags & PROVIDER_SHARED)
                return 0;
        return error_set(err, ERROR_PRECONDITION,
                         "access mode %d: writing from several nodes needs %s",
                         (int)capability->access_mode,
                         capability->is_block
                                 ? "a provider whose disks can be attached to several"
                                 : "a raw block volume: a filesystem of one node is destroyed by "
                                   "two");
}

int node_info(Node *node, const Call *call, NodeInfo *result, Error *err) {
        const Provider *provider = node->config.provider;

        if (provider->node_info)
                return provider->node_info(node->config.provider_self, call, result, err);
        if (str_is_empty(node->config.node_name))
                return error_set(err, ERROR_INTERNAL, "this node has no name");
        *result = (NodeInfo){.node_id = arena_strdup(call->arena, node->config.node_name)};
        return result->node_id ? 0 : error_set_errno(err, ENOMEM, "node id");
}
