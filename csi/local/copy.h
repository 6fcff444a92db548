/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_COPY_H
#define BERTH_CSI_LOCAL_COPY_H

/*
 * Copies in the background, where the pool's filesystem cannot share extents or a thick volume must
 * have blocks of its own. A call waits as long as its caller does and then answers ERROR_AGAIN with
 * the percentage, which provisioners retry; the copy goes on meanwhile. Progress is in the metadata
 * (state "copying"), so a copy that a crash or an update interrupts goes on where it was.
 */

#include "csi/local/pool.h"

/* Copies at once; more would only make a disk's head move. */
#define COPY_MAX_RUNNING 2
/* How often progress goes to disk, at the price of a sync. */
#define COPY_SAVE_BYTES (UINT64_C(256) << 20)

/**
 * copy_start() - copy in a thread
 * @target: held exclusively, state COPYING on disk, copy.at_bytes says where to begin; the hold is
 *          the job's until it ends, also on failure of this
 * @source: held shared, the job's likewise; NULL when the target is rewritten in place
 * @from_fd, @to_fd: owned by the job from now on, also on failure; may be the same
 * @jobp:   a reference for copy_wait()
 *
 * When the copy fails, the target is removed again as if it had never been asked for.
 */
int copy_start(Pool *pool, Entry *target, Entry *source, int from_fd, int to_fd, CopyJob **jobp,
               Error *err);

/* Waits for the end and drops the reference. Return: 0: the target is READY; ERROR_AGAIN with the
 * progress when the call has no more time; what made the copy fail. */
int copy_wait(Pool *pool, const Call *call, CopyJob *job, Error *err);

/* With the mutex held. */
CopyJob *copy_ref(CopyJob *job);
unsigned int copy_percent(const CopyJob *job);

/* With the mutex held: give up and remove the target. */
void copy_cancel(Pool *pool, CopyJob *job);

#endif
