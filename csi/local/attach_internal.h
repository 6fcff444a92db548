/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_ATTACH_INTERNAL_H
#define BERTH_CSI_LOCAL_ATTACH_INTERNAL_H

/* What attach_find.c, which finds the loop device of a volume and proves it, tells attach.c, which
 * attaches one and gives it back. */

#include "common/block/loop.h"
#include "csi/local/attach.h"

#define ATTACH_TAG_PREFIX "berth:"

/* The copy of a volume that a tool works on: nobody's device by its tag. */
#define ATTACH_COPY_TAG ATTACH_TAG_PREFIX "copy"

/* Which file, or else whose tag a device must have. */
typedef struct AttachProof {
        uint64_t backing_dev,
                backing_inode; /* by tag, backing_dev 0: the pool's disk is not there */
        const char *tag;
        uint64_t sequence; /* 0: not known */
        bool by_tag;
} AttachProof;

/* "berth:<pool>:<stem>" */
void attach_make_tag(const Pool *pool, const char *stem, char tag[LOOP_TAG_MAX + 1]);

/* Numbers go with the devices of other namespaces and of the past: a node that is missing or dead
 * says nothing about the volume, so it must not become "not found". @devno: what it must be; 0:
 * whatever it is. Return: a descriptor; -EBUSY for O_EXCL; -ENXIO: it is being detached; <0 with
 * @err. */
int attach_open_number(unsigned int number, int flags, uint64_t devno, Error *err);

/* Opens /dev/loop@number and proves what is behind it. Return: 0; ATTACH_E_NONE when it is another
 * one by now; <0 with @err. */
int attach_prove(unsigned int number, const AttachProof *proof, Attachment *attachment, Error *err);

/* Where it is looked for first. Also by those who only share the entry. */
void attach_remember(Pool *pool, Entry *entry, const Attachment *attachment);

/* Whether a device with a tag of the pool is on its disk and not in a copy of the pool, which has
 * the same tags and may be in use on this node. True when the pool is not there. */
bool attach_is_of_pool(const Pool *pool, unsigned int number, const LoopStatus *status);

/* Whether the directory of a device's file is one of a pool, and is seen from here. */
bool attach_is_seen(unsigned int number);

/* The device of a volume whose file or record is gone. Return: as attach_find(). */
int attach_find_by_tag(Pool *pool, const char *stem, Attachment *attachment, Error *err);

#endif
