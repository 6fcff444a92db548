/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_FSFREEZE_H
#define BERTH_BLOCK_FSFREEZE_H

/*
 * Stop a mounted filesystem's writers and bring its disk to a clean state, so that a copy of the
 * disk needs no journal replay (FIFREEZE; ext4, xfs, btrfs and others). Writers sleep until the
 * thaw, so whoever freezes must be able to find and thaw it after a crash.
 */

/* @fd: any file or directory of the filesystem. Return: 0; -EBUSY if frozen already; -EOPNOTSUPP;
 * another -errno. */
int fsfreeze_freeze(int fd);

/* Return: 0; -EINVAL if it was not frozen. */
int fsfreeze_thaw(int fd);

#endif
