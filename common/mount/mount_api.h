/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_MOUNT_MOUNT_API_H
#define BERTH_MOUNT_MOUNT_API_H

/*
 * Mount, bind, change and unmount, at places that are already open, so that nobody can put a link
 * in between. The new mount API where the kernel has it (Linux 5.2, attributes of a bind in one
 * step 5.12); mount(2) where it answers ENOSYS, and for a read-only XFS before 6.9, which gets the
 * new API wrong. Decides nothing and execs nothing.
 *
 * Everything returns 0 or -errno; which step failed and the kernel's own words are in MountContext.
 */

#include "common/mount/mount_options.h"

typedef enum MountStep {
        MOUNT_STEP_NONE = 0,
        MOUNT_STEP_TYPE,       /* fsopen: ENODEV: the kernel has no such filesystem */
        MOUNT_STEP_OPTION,     /* one option; its name is in MountContext.option */
        MOUNT_STEP_CREATE,     /* the filesystem looked at the device, or at all options at once */
        MOUNT_STEP_ATTRIBUTES, /* MOUNT_FLAG_* */
        MOUNT_STEP_CLONE,      /* the source of a bind */
        MOUNT_STEP_ATTACH,     /* at the target */
        MOUNT_STEP_DETACH,
        _MOUNT_STEP_N,
} MountStep;

#define MOUNT_LOG_MAX 1024

/* Starts as (MountContext){0}. */
typedef struct MountContext {
        MountStep step;          /* that failed */
        char option[64];         /* its name, never its value, which may be a secret */
        char log[MOUNT_LOG_MAX]; /* lines of the fs-context log: "ext4: Unknown parameter 'foo'";
                                    several are joined by "; ". Also warnings of a success */
        bool is_legacy;          /* mount(2) was used: no log, options are refused as a whole */
} MountContext;

/* Static: "create". */
const char *mount_step_name(MountStep step);

/*
 * Where to mount. @fd is the target itself, a directory or, for a bind of one, a file; O_PATH is
 * enough. What is mounted there already is covered. @parent_fd and @name lead to the same place and
 * are used where mount(2) needs to look up what was just mounted; @name is one component.
 */
typedef struct MountPlace {
        int fd;
        int parent_fd;
        const char *name;
} MountPlace;

typedef struct MountSpec {
        const char *fs_type;
        const char *source;
        const MountOptions *options; /* set: flags of the mount; NULL: none */
        bool writes_super; /* MOUNT_FLAG_READ_ONLY is of the mount alone: the filesystem is written
                            */
} MountSpec;

/**
 * mount_new() - mount a filesystem
 *
 * With MOUNT_FLAG_READ_ONLY the filesystem is made read-only as well as the mount, unless
 * @spec->writes_super. A filesystem is mounted in one way at a time, its mounts may differ.
 *
 * Return: 0; -ENODEV no such filesystem; -EBUSY the device is in use, or the filesystem is mounted
 * with the other of read-only and read-write; -EINVAL for an option or for what is on the device:
 * see the step; -EACCES read-write on a read-only device; another -errno. Nothing is left mounted.
 */
int mount_new(const MountSpec *spec, const MountPlace *place, MountContext *context);

/**
 * mount_new_detached() - mount a filesystem where nobody sees it
 * @fdp: the root of the mount, good for openat(2); the mount goes when it and what was opened below
 *       it are closed
 *
 * To ask the kernel whether it takes a filesystem, and to look into one. A read-only XFS before 6.9
 * is written to.
 *
 * Return: as mount_new(); -ENOSYS before Linux 5.2.
 */
int mount_new_detached(const MountSpec *spec, MountContext *context, int *fdp);

/**
 * mount_bind() - make what is at @source_fd seen at @place
 * @source_fd: directory or file, O_PATH is enough; what is mounted below it is not taken along
 * @set:       MOUNT_FLAG_* on top of those of the source's mount
 * @clear:     MOUNT_FLAG_* without
 *
 * Nobody sees the new mount without its flags, but on kernels before 5.12, where they are set right
 * after it. Propagation is private.
 *
 * Return: 0; -errno, and nothing is left mounted.
 */
int mount_bind(int source_fd, const MountPlace *place, unsigned int set, unsigned int clear,
               MountContext *context);

enum {
        MOUNT_DETACH_LAZY = 1U << 0, /* vanish now, end when the last user has gone: never waits for
                                        a dead device or server */
        MOUNT_DETACH_FORCE = 1U << 1, /* end requests to a server that does not answer with EIO;
                                         those of every mount of that filesystem */
};

/**
 * mount_detach() - unmount the topmost mount at @name below @parent_fd
 *
 * Follows no link, and does not look at the filesystem to be unmounted.
 *
 * Return: 0; -EINVAL: nothing is mounted there; -ENOENT; -EBUSY: in use; another -errno.
 */
int mount_detach(int parent_fd, const char *name, unsigned int how);

/* Whether mounts made below @fd come through to the other members of a peer group: 1, 0, -errno.
 * It is what Kubernetes calls Bidirectional. */
int mount_is_shared(int fd);

#endif
