/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_ATTACH_H
#define BERTH_CSI_LOCAL_ATTACH_H

/*
 * The loop device of a volume. The kernel knows which file is behind which device, and the device
 * carries a tag of ours, also after a restart and when the file was renamed or removed meanwhile;
 * here only a hint is remembered where to look first. A device that has neither our file nor our
 * tag is never touched, nor is one that somebody else made of our file, which carries his tag. One
 * without any tag is of release 0.1.0: a call uses it and gives it back, the pool by itself does
 * not.
 *
 * Who has a raw block volume can send its loop device ioctls that need no privilege: LOOP_CLR_FD,
 * LOOP_SET_STATUS64, LOOP_CHANGE_FD and more. So it is held open from here, and the kernel detaches
 * it at the last close only; what it shows is proven and put right at each call; and a number that
 * a published node still names is not used for another volume.
 */

#include "csi/local/pool.h"

typedef struct Attachment {
        unsigned int number;
        int fd; /* open for reading, owned; it was proven through this descriptor */
        uint64_t devno;
        bool is_leaving; /* detached, and there as long as others have it open */
        bool is_read_only;
        bool scans_partitions; /* whoever had it has set that, and nothing but a detach ends it */
        bool is_stray;   /* the file behind it is not the one that the pool has by that name (any
                            more): it is there to be given back, and for nothing else */
        bool is_marked;  /* it carries the volume's tag, or is the attachment that was seen last */
        bool is_foreign; /* it shows the file, and carries a tag that is not of our making: it is
                            neither used nor detached */
} Attachment;

#define ATTACHMENT_INIT                                                                            \
        (Attachment) {                                                                             \
                .fd = -1                                                                           \
        }

#define ATTACH_E_NONE 1

/* @entry is held. Return: 0; ATTACH_E_NONE: not attached, or no data file; <0 with @err. */
int attach_find(Pool *pool, Entry *entry, Attachment *attachment, Error *err);

/* Whether what users of the device have is what the pool has by the volume's name: whatever is read
 * from there, or written, would be another disk than theirs. Return: 0; ERROR_PRECONDITION. */
int attach_check_file(const Entry *entry, const Attachment *attachment, Error *err);

/* Whether @devno is a loop device whose file has no name any more, or another one than the data of
 * a volume has. Asks the kernel's memory only, and needs no hold. */
bool attach_has_lost_name(const char *stem, uint64_t devno);

/* Whether @devno is a loop device whose file has the name of another volume's data than @stem's.
 * Likewise. */
bool attach_is_another(const char *stem, uint64_t devno);

/* Whether the loop device that the volume was last on still has a file of its name. Likewise. */
bool attach_is_known(Pool *pool, const char *volume_id);

/* What attach_make() makes. */
typedef enum AttachMode {
        ATTACH_FOR_MOUNT,
        ATTACH_FOR_BLOCK,      /* handed out as a device: held open from here */
        ATTACH_FOR_BLOCK_READ, /* likewise, and the device itself refuses writes, unless somebody
                                  else has it for writing already */
} AttachMode;

/* Whether the data of a volume or snapshot is as long as its record says. ERROR_PRECONDITION. */
int attach_check_size(const Pool *pool, const Entry *entry, int data_fd, Error *err);

/* attach_find(), and attaches it if it is not. @entry is held exclusively. ERROR_PRECONDITION when
 * somebody else has the file on a loop device, or it cannot become writable. */
int attach_make(Pool *pool, const Call *call, Entry *entry, AttachMode mode, Attachment *attachment,
                Error *err);

/* Whether it is ours: marked, or else in use below kubelet's directories; then it is marked. */
bool attach_claim(Pool *pool, Entry *entry, Attachment *attachment);

enum {
        ATTACH_E_MOUNTED = 1,   /* a filesystem on it is mounted, in whatever namespace */
        ATTACH_E_PUBLISHED = 2, /* a node of it is bound somewhere in our namespace, as raw block
                                   volumes are published */
};

/* Return: 0; ATTACH_E_MOUNTED; <0 with @err. */
int attach_is_mounted(const Attachment *attachment, Error *err);

/* Return: 0; ATTACH_E_PUBLISHED; <0 with @err. */
int attach_is_published(const Attachment *attachment, Error *err);

/* Detaches every device of the volume that nobody uses, but for a foreign one. Gone is done.
 * Return: 0; ATTACH_E_*: one stays; <0 with @err. */
int attach_drop(Pool *pool, Entry *entry, Error *err);

/**
 * attach_drop_wait() - attach_drop() of a device that is neither mounted nor published
 * @until_msecs: clock_msecs(); how long to wait for whoever has it open still, who perhaps only
 *               looks at it for a moment
 *
 * Return: ATTACH_E_NONE: it is gone; 0: @attachment is there still; <0 with @err.
 */
int attach_drop_wait(Pool *pool, const Call *call, Entry *entry, uint64_t until_msecs,
                     Attachment *attachment, Error *err);

/* Detached, and somebody has it open still. Return: ERROR_AGAIN. */
int attach_say_leaving(const Entry *entry, const Attachment *attachment, Error *err);

/**
 * attach_copy() - a loop device for a file that is to take the place of a volume's
 * @copy_fd: open for writing
 *
 * It does not carry the volume's tag yet: it is nobody's device by anything but its file.
 */
int attach_copy(Pool *pool, const Entry *entry, int copy_fd, Attachment *attachment, Error *err);

/* The device of such a file. Return: 0; ATTACH_E_NONE; <0 with @err. */
int attach_find_copy(int copy_fd, Attachment *attachment, Error *err);

/* The file has become the volume's, and its device is the one to be found. */
void attach_adopt(Pool *pool, Entry *entry, const Attachment *attachment);

/* attach_drop() for such a file, or for one that lost its place to it. */
int attach_drop_copy(int copy_fd, Error *err);

/* attach_drop() for a volume that the pool has no record of (any more), by the tag. */
int attach_drop_stem(Pool *pool, const char *stem, Error *err);

/* Looks through all devices of the node for the tags of this pool and tells the entries where they
 * are. @orphan is called with the stem of each that no entry is for. Return: 0; -errno. */
int attach_survey(Pool *pool, void (*orphan)(Pool *pool, const char *stem));

/* Likewise of a pool that is not there, or whose disk fails: @unknown is called with the stem of
 * each that no entry is for. Return: 0; -errno. */
int attach_survey_absent(Pool *pool, void (*unknown)(Pool *pool, const char *stem));

/* Gives back what attach_survey() finds to be of no volume, one log line each. */
void pool_drop_orphans(Pool *pool);

void attachment_deinit(Attachment *attachment);

#endif
