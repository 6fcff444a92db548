/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_FACTS_H
#define BERTH_CSI_NODE_FACTS_H

/* What is there: the device of a volume, what is on it, and what is at a path. Reads and decides
 * nothing. */

#include "common/mount/mount_query.h"
#include "csi/api/provider.h"
#include "csi/kubelet/path.h"
#include "csi/node/growing.h"
#include "fs/look/inspect.h"

typedef struct DeviceFacts {
        Device device; /* as the provider proved it */
        char name[32]; /* of the kernel: "loop3" */
        uint64_t size_bytes;
        uint32_t logical_sector_bytes;
        uint64_t sequence; /* of the disk since boot; 0: not known */
        bool is_read_only;
        bool is_free; /* nothing is mounted on it, and nobody has it exclusively, in whatever
                         namespace */
        bool is_inspected;
        FsInspection inspection;
        bool is_uuid_mounted; /* a filesystem with its UUID is mounted from another device, and that
                                 matters to it */
        bool is_new_mapper;   /* encrypted a moment ago: noise but for where a blank test looks for
                                 signatures */
        int (*has_data)(void *userdata); /* the provider's word, as FsExpect.has_data; NULL */
        void *has_data_userdata;
        Growing growth;      /* a resize2fs of ours did not end well on it */
        bool has_unfinished; /* a mkfs of ours was interrupted on it: marker.h */
} DeviceFacts;

typedef struct TargetFacts {
        const char *path;     /* borrowed */
        mode_t type;          /* S_IFMT; 0: there is nothing */
        uint64_t rdev;        /* of a device node */
        bool is_mounted;      /* something is mounted right there */
        bool is_dead;         /* it does not answer, or its device is gone */
        MountStatus mount;    /* with is_mounted and not is_dead */
        uint64_t mounted_on;  /* device number that the mounted filesystem lies on; 0: none */
        bool is_ours;         /* that is our device, or lies on it */
        bool is_forced_ro;    /* the filesystem turned read-only without being asked */
        char source_name[64]; /* for messages */
} TargetFacts;

/**
 * device_facts_read() - open the proven device and look at it
 * @fdp: open for reading; nothing is mounted through it
 *
 * Return: 0; ERROR_UNAVAILABLE if it is not that device any more, has no size, or is shorter than
 * the provider says.
 */
int device_facts_read(DeviceFacts *facts, int *fdp, Error *err);

/* The same of a device that is open and takes the place of another; what was found on that one
 * stays. Return: 0; <0 with @err. */
int device_facts_adopt(DeviceFacts *facts, int fd, Error *err);

/* What is known of it, for the looks that follow. */
FsExpect device_facts_expect(const DeviceFacts *facts);

/* What is on it. Return: 0, whatever was found; negative without memory. */
int device_facts_inspect(DeviceFacts *facts, int fd, Error *err);

/* @device: NULL if it is not known. */
int target_facts_read(TargetFacts *facts, const NodePath *path, const DeviceFacts *device,
                      Error *err);
void target_facts_deinit(TargetFacts *facts);

/* Whether the node of the device is bound somewhere, as block volumes are published: 1, 0, -errno.
 * Reads the whole mountinfo. */
int device_is_bound(uint64_t devno);

/* Whether there is a filesystem on it that is mounted, or an exclusive user: 1, 0, -errno. */
int device_is_busy(const char *path, uint64_t devno);

/* The device that a mounted filesystem lies on; 0: none, or not known. */
uint64_t mount_device(const MountStatus *status);

/* Whether the filesystem that is mounted at @fd is mounted nowhere else in our namespace: 1, 0,
 * -errno. Reads the whole mountinfo. */
int mount_is_only(int fd);

/* Whether the filesystem is read-only although its mount is not, or says that it stopped. */
bool mount_is_forced_ro(const MountStatus *status);

#endif
