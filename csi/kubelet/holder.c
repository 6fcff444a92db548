/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/kubelet/holder.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/process.h"
#include "common/base/str.h"
#include "common/block/block_sysfs.h"
#include "common/mount/mountinfo.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>

/* --- a device of device mapper, md, ... on it --- */

static bool find_above(uint64_t devno, char text[HOLDER_TEXT_MAX]) {
        cleanup(closep) int root_fd = file_open_root();
        char holder[BLOCK_NAME_MAX], name[128];
        BlockInfo info;

        if (block_sysfs_holder(root_fd, devno, holder) != 1)
                return false;
        if (block_sysfs_info_by_name(root_fd, holder, &info) == 0 &&
            block_sysfs_read(root_fd, info.devno, "dm/name", name, sizeof(name), NULL) == 0)
                (void)snprintf(text, HOLDER_TEXT_MAX, "%s (%s) lies on it", holder, name);
        else
                (void)snprintf(text, HOLDER_TEXT_MAX, "%s lies on it", holder);
        return true;
}

/* --- a mount, here or in another namespace --- */

/* btrfs has numbers of its own, and its source is what it was mounted by. */
static bool is_mount_of(const Mount *mount, uint64_t devno, const char *path) {
        return mount->dev == devno ||
               (str_equal(mount->fs_type, "btrfs") && *path && str_equal(mount->source, path));
}

typedef struct MountSearch {
        uint64_t devno;
        char path[BLOCK_NAME_MAX + 8];
        char *text;
} MountSearch;

static const Mount *find_in(const MountSearch *search, const MountTable *table) {
        for (size_t i = 0; i < table->n_mounts; i++)
                if (is_mount_of(&table->mounts[i], search->devno, search->path))
                        return &table->mounts[i];
        return NULL;
}

static int find_elsewhere(void *userdata, const Process *process, const char *mountinfo,
                          size_t n_mountinfo) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        const MountSearch *search = userdata;
        const Mount *mount;

        if (mountinfo_parse(mountinfo, n_mountinfo, &table, NULL) != 0 ||
            !(mount = find_in(search, table)))
                return 0;
        (void)snprintf(search->text, HOLDER_TEXT_MAX,
                       "it is mounted at %.200s in the mount namespace of process %d (%s)",
                       mount->target, process->pid, process->name);
        return 1;
}

static bool find_mount(uint64_t devno, char text[HOLDER_TEXT_MAX]) {
        cleanup(closep) int root_fd = file_open_root();
        cleanup(mount_table_freep) MountTable *table = NULL;
        MountSearch search = {.devno = devno, .text = text};
        char name[BLOCK_NAME_MAX];
        const Mount *mount;

        if (block_sysfs_name(root_fd, devno, name) == 0)
                (void)snprintf(search.path, sizeof(search.path), "/dev/%s", name);
        if (mountinfo_read(&table) == 0 && (mount = find_in(&search, table))) {
                (void)snprintf(text, HOLDER_TEXT_MAX, "it is mounted at %.240s", mount->target);
                return true;
        }
        return process_each_mount_namespace(find_elsewhere, &search) > 0;
}

/* --- its node, bound to where a pod has it --- */

/* Only a device node can be bound from these, by "/sdb" of devtmpfs or by "/dev/sdb". */
static bool is_node_of(const Mount *mount, const char *name) {
        const char *last = strrchr(mount->root, '/');

        return (str_equal(mount->fs_type, "devtmpfs") || str_equal(mount->fs_type, "tmpfs")) &&
               last && str_equal(last + 1, name);
}

static bool find_bound(uint64_t devno, char text[HOLDER_TEXT_MAX]) {
        cleanup(closep) int root_fd = file_open_root();
        cleanup(mount_table_freep) MountTable *table = NULL;
        char name[BLOCK_NAME_MAX];

        if (block_sysfs_name(root_fd, devno, name) != 0 || mountinfo_read(&table) != 0)
                return false;
        for (size_t i = 0; i < table->n_mounts; i++) {
                if (!is_node_of(&table->mounts[i], name))
                        continue;
                (void)snprintf(text, HOLDER_TEXT_MAX,
                               "it is published as a raw block device at %.240s",
                               table->mounts[i].target);
                return true;
        }
        return false;
}

/* --- a process --- */

static bool has_device(void *userdata, const struct statx *status) {
        const uint64_t *devno = userdata;

        return S_ISBLK(status->stx_mode) &&
               makedev(status->stx_rdev_major, status->stx_rdev_minor) == *devno;
}

static bool has_mount(void *userdata, const struct statx *status) {
#ifdef STATX_MNT_ID
        const uint64_t *id = userdata;

        return (status->stx_mask & STATX_MNT_ID) && status->stx_mnt_id == *id;
#else
        return false;
#endif
}

bool holder_of_device(uint64_t devno, char text[HOLDER_TEXT_MAX]) {
        Process process;

        text[0] = '\0';
        if (devno == 0)
                return false;
        if (find_above(devno, text) || find_mount(devno, text) || find_bound(devno, text))
                return true;
        if (process_find_user(has_device, &devno, &process) <= 0)
                return false;
        (void)snprintf(text, HOLDER_TEXT_MAX, "process %d (%s) has it open", process.pid,
                       process.name);
        return true;
}

bool holder_of_mount(uint64_t id, char text[HOLDER_TEXT_MAX]) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        Process process;

        text[0] = '\0';
        if (id == 0)
                return false;
        (void)mountinfo_read(&table);
        for (size_t i = 0; table && i < table->n_mounts; i++) {
                if (table->mounts[i].parent_id == id) {
                        (void)snprintf(text, HOLDER_TEXT_MAX, "something is mounted at %.240s",
                                       table->mounts[i].target);
                        return true;
                }
        }
        if (process_find_user(has_mount, &id, &process) <= 0)
                return false;
        (void)snprintf(text, HOLDER_TEXT_MAX, "process %d (%s) has files open there, or is in it",
                       process.pid, process.name);
        return true;
}

/* --- in an error --- */

static void tell(bool seen, const char *text, Error *err) {
        Error holder = {0};

        if (!err)
                return;
        error_set(&holder, err->code, "%s",
                  seen ? text : "who it is cannot be seen from here: look with lsblk and lsof");
        error_join(err, &holder);
}

void holder_tell_device(uint64_t devno, Error *err) {
        char text[HOLDER_TEXT_MAX];

        tell(holder_of_device(devno, text), text, err);
}

void holder_tell_mount(uint64_t id, Error *err) {
        char text[HOLDER_TEXT_MAX];

        tell(holder_of_mount(id, text), text, err);
}
