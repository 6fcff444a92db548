/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_ATTACH_H
#define BERTH_CSI_LOCAL_ATTACH_H

/*
 * The loop device of a volume. Nothing is remembered but a hint where to look first: the kernel
 * knows which file is behind which device, also after a restart, and a device whose file is not
 * ours is never touched.
 */

#include "csi/local/pool.h"

typedef struct Attachment {
        unsigned int number;
        int fd; /* open for reading, owned; it was proven through this descriptor */
        uint64_t devno;
        bool is_leaving; /* detached, and there as long as others have it open */
} Attachment;

#define ATTACHMENT_INIT                                                                            \
        (Attachment) {                                                                             \
                .fd = -1                                                                           \
        }

#define ATTACH_E_NONE 1

/* @entry is held. Return: 0; ATTACH_E_NONE: not attached, or no data file; <0 with @err. */
int attach_find(Pool *pool, Entry *entry, Attachment *attachment, Error *err);

/* attach_find(), and attaches it if it is not. @entry is held exclusively. */
int attach_make(Pool *pool, Entry *entry, Attachment *attachment, Error *err);

enum {
        ATTACH_E_MOUNTED = 1, /* a filesystem on it is mounted, in whatever namespace */
};

/* Return: 0; ATTACH_E_MOUNTED; <0 with @err. */
int attach_is_mounted(const Attachment *attachment, Error *err);

/* Detaches every device of the volume that no filesystem is mounted on. Gone is done. Return: 0;
 * ATTACH_E_MOUNTED: one stays. */
int attach_drop(Pool *pool, Entry *entry, Error *err);

/* Whether a node of the device is bound somewhere in our namespace, as raw block volumes are
 * published. Return: 1; 0; <0 with @err. */
int attach_is_published(const Attachment *attachment, Error *err);

void attachment_deinit(Attachment *attachment);

#endif
