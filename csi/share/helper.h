/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_SHARE_HELPER_H
#define BERTH_CSI_SHARE_HELPER_H

/* The program that mounts what a server has: mount.nfs and its like, util-linux' "mount helpers".
 */

#include "common/mount/mount_options.h"
#include "csi/api/provider.h"

/**
 * share_helper_run() - mount @share by its helper, as mount(8) would run it
 * @target: the real path, which is given to the helper
 * @path:   the same as the request has it, for messages
 * @timeout_msecs: it is ended then
 *
 * Return: 0: the helper said that it is mounted; ERROR_PRECONDITION it is not installed;
 * ERROR_UNAVAILABLE the server did not answer; what share_helper_code() makes of its last words.
 */
int share_helper_run(const Share *share, const MountOptions *options, const char *target,
                     const char *path, uint64_t timeout_msecs, const Call *call, Error *err);

/* What the words of a mount helper mean: "access denied by server" is ERROR_DENIED. Pure. */
ErrorCode share_helper_code(const char *words);

#endif
