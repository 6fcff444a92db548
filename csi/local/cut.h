/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_CUT_H
#define BERTH_CSI_LOCAL_CUT_H

/*
 * One point in time of one or several volumes, into new data files. What it promises:
 *
 *   volume not attached      the content, exactly
 *   mounted on this node     frozen for the cut: a clean filesystem with everything written before.
 *                            One that somebody else has frozen (a backup's hook) stays frozen, and
 *                            is his to thaw. ERROR_AGAIN where somebody else thawed either
 *   attached as raw block    crash-consistent: what was written before the cut and completed
 *   several at once          as above, all of the same moment; raw block volumes in use are
 * refused, since nothing stops their writers
 *
 * Where the pool shares extents (xfs with reflink, btrfs) a cut takes milliseconds. Elsewhere the
 * content is copied: in the background if the volume is not attached, and the volume cannot be
 * attached until then; if it is mounted once while its writers go on, which must take no longer
 * than CUT_FREEZE_MSECS, and then what changed under a freeze of the same length at most; and not
 * at all if it is attached as raw block. A cut that is refused leaves nothing, and what could not
 * be copied in that time has not stopped anybody.
 */

#include "csi/local/attach.h"
#include "csi/local/copy.h"
#include "csi/wait/limits.h"

typedef struct CutPart {
        Entry *source; /* held shared */
        Entry *target; /* held exclusively, new; its metadata is on disk after cut_prepare() */
        bool is_mounted;
        bool is_hidden; /* mounted where we do not see it: another namespace has a copy */
        Attachment attachment;
        int from_fd, to_fd, mount_fd;
        bool is_frozen;     /* by this cut, which thaws it */
        bool is_still;      /* frozen by whomever, and nothing is to be written: */
        uint64_t n_sectors; /* what was written to the device before that */
        uint64_t at_bytes;  /* of a copy: what is before it has been copied */
} CutPart;

void cut_part_init(CutPart *part, Entry *source, Entry *target);
void cut_part_deinit(CutPart *part);

enum {
        CUT_E_COPY = 1, /* nothing is in the target yet: copy_start() with part's descriptors */
};

/**
 * cut_run() - make the targets' data files with the content of the sources
 *
 * Writes each target's metadata (CREATING) first. On success the data is on disk and has the
 * targets' sizes; making them READY is the caller's. On failure the caller undoes the targets.
 *
 * Return: 0; CUT_E_COPY for a single part only; ERROR_PRECONDITION when no consistent cut can be
 * made while the volume is in use; ERROR_EXHAUSTED; ERROR_TIMEOUT.
 */
int cut_run(Pool *pool, const Call *call, CutPart *parts, size_t n_parts, Error *err);

/* Whether somebody has @source, which is held shared, attached, and so can write to it. Return: 1;
 * 0: and nobody attaches it while it is held; ERROR_AGAIN one that is being given back; <0 with
 * @err.
 */
int cut_is_attached(Pool *pool, const Call *call, Entry *source, Error *err);

/* After a crash: thaws what the cut that made @target had frozen. Not frozen is fine. */
void cut_thaw_leftover(Pool *pool, const LocalMeta *target);

#endif
