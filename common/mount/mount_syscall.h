/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_MOUNT_MOUNT_SYSCALL_H
#define BERTH_MOUNT_MOUNT_SYSCALL_H

/*
 * The new mount API by number: the C library of Debian 12 has wrappers for some of it, older ones
 * for none, and none has statmount(2). Values: include/uapi/linux/mount.h. The numbers are the same
 * on every architecture that has them in its own table since 5.x, except Alpha.
 */

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOUNT_NR_OPEN_TREE     428 /* Linux 5.2 */
#define MOUNT_NR_MOVE_MOUNT    429
#define MOUNT_NR_FSOPEN        430
#define MOUNT_NR_FSCONFIG      431
#define MOUNT_NR_FSMOUNT       432
#define MOUNT_NR_MOUNT_SETATTR 442 /* Linux 5.12 */
#define MOUNT_NR_STATMOUNT     457 /* Linux 6.8 */

enum {
        MOUNT_FSOPEN_CLOEXEC = 1,
        MOUNT_FSMOUNT_CLOEXEC = 1,
        MOUNT_OPEN_TREE_CLONE = 1,
        MOUNT_MOVE_F_EMPTY_PATH = 0x04,
        MOUNT_MOVE_T_EMPTY_PATH = 0x40,
        MOUNT_AT_RECURSIVE = 0x8000,
};

enum {
        MOUNT_CONFIG_SET_FLAG = 0,
        MOUNT_CONFIG_SET_STRING = 1,
        MOUNT_CONFIG_CREATE = 6,
};

enum {
        MOUNT_ATTRIBUTE_RDONLY = 0x00000001,
        MOUNT_ATTRIBUTE_NOSUID = 0x00000002,
        MOUNT_ATTRIBUTE_NODEV = 0x00000004,
        MOUNT_ATTRIBUTE_NOEXEC = 0x00000008,
        MOUNT_ATTRIBUTE_ATIME = 0x00000070, /* field: 0 relatime, 0x10 noatime, 0x20 strictatime */
        MOUNT_ATTRIBUTE_NOATIME = 0x00000010,
        MOUNT_ATTRIBUTE_STRICTATIME = 0x00000020,
        MOUNT_ATTRIBUTE_NODIRATIME = 0x00000080,
        MOUNT_ATTRIBUTE_NOSYMFOLLOW = 0x00200000,
};

typedef struct MountAttributeChange {
        uint64_t set, clear, propagation, userns_fd;
} MountAttributeChange;

static inline int mount_syscall_result(long r) {
        return r < 0 ? -errno : (int)r;
}

static inline int sys_fsopen(const char *fs_type) {
        return mount_syscall_result(syscall(MOUNT_NR_FSOPEN, fs_type, MOUNT_FSOPEN_CLOEXEC));
}

static inline int sys_fsconfig(int fd, int command, const char *key, const char *value) {
        return mount_syscall_result(syscall(MOUNT_NR_FSCONFIG, fd, command, key, value, 0));
}

static inline int sys_fsmount(int fd, unsigned int attributes) {
        return mount_syscall_result(
                syscall(MOUNT_NR_FSMOUNT, fd, MOUNT_FSMOUNT_CLOEXEC, attributes));
}

static inline int sys_open_tree(int fd, const char *path, unsigned int flags) {
        return mount_syscall_result(syscall(MOUNT_NR_OPEN_TREE, fd, path, flags));
}

static inline int sys_move_mount(int from_fd, int to_fd) {
        return mount_syscall_result(syscall(MOUNT_NR_MOVE_MOUNT, from_fd, "", to_fd, "",
                                            MOUNT_MOVE_F_EMPTY_PATH | MOUNT_MOVE_T_EMPTY_PATH));
}

static inline int sys_mount_setattr(int fd, unsigned int flags, MountAttributeChange *change) {
        return mount_syscall_result(
                syscall(MOUNT_NR_MOUNT_SETATTR, fd, "", flags, change, sizeof(*change)));
}

#endif
