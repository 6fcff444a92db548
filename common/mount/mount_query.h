/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_MOUNT_MOUNT_QUERY_H
#define BERTH_MOUNT_MOUNT_QUERY_H

/*
 * What is mounted at one open path. On Linux 6.8 and later the kernel is asked about that one mount
 * (statx(2), statmount(2)), so that it costs the same with one mount on the node and with ten
 * thousand; before, the mount is looked up in /proc/self/mountinfo.
 */

#include "common/mount/mount_options.h"

#include <stdbool.h>
#include <stdint.h>

/* Starts as (MountStatus){0}; mount_status_deinit() frees. */
typedef struct MountStatus {
        bool is_root; /* the path is the root of its mount: something is mounted right there */
        uint64_t id;  /* in mountinfo */
        uint64_t dev; /* of the filesystem */
        unsigned int flags;      /* MOUNT_FLAG_* of this mount */
        bool is_super_read_only; /* of the whole filesystem: asked so, or forced after an error */
        bool is_shared;          /* mounts made below it are seen in other namespaces */
        char *root;    /* owned; what of the filesystem is mounted: "/", "/loop3", "/a//deleted" */
        char *fs_type; /* owned */
        char *source;  /* owned; as it was given to mount: "/dev/loop3" */
        char *super_options; /* owned; the filesystem's own: "errors=remount-ro,emergency_ro"; "" on
                                Linux 6.8 to 6.10, which tell them at no bounded cost */
} MountStatus;

enum {
        MOUNT_QUERY_SHORT = 0,
        MOUNT_QUERY_FULL = 1U << 0, /* also everything after id */
};

/**
 * mount_query() - the mount that @fd lies in
 * @fd:   any descriptor, also O_PATH
 * @what: MOUNT_QUERY_SHORT fills is_root, id and dev
 *
 * Touches no file of the filesystem, so that it answers for a dead one, where that can answer
 * without its server.
 *
 * Return: 0; -ENOTCONN, -ESTALE, -EIO, ... of a filesystem that is dead; another -errno.
 */
int mount_query(int fd, unsigned int what, MountStatus *status);

void mount_status_deinit(MountStatus *status);

#endif
