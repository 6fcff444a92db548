/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_WAIT_LIMITS_H
#define BERTH_CSI_WAIT_LIMITS_H

/*
 * How long anything of a call is waited for, and how much a tool may take: the defaults that a user
 * meets, in one place, as man/berth-csi.8 tells them (WAITS). What is shorter, a pause between two
 * looks, stands in the source that makes it. How long fsck has is in fs/make/fsck.c: it goes by the
 * volume.
 */

#include <stdint.h>

/* Another operation on the same volume, path, snapshot or group; then gRPC ABORTED. Longer than a
 * reflink, shorter than any caller waits. */
#define HOLD_WAIT_MSECS 2000

/* The caller's deadline: its answer is on its way so long before it, and what does not hang is
 * given so long in any case. A client's clock and ours differ by the way of the call. */
#define DEADLINE_ANSWER_MSECS UINT64_C(5000)
#define DEADLINE_LEAST_MSECS  UINT64_C(1000)
#define DEADLINE_SLACK_MSECS  2000

/* A disk that is still arriving. */
#define DISK_WAIT_MSECS 100000

/* Tools. The check before a growth writes little, and ends at a safe place when it is asked to; a
 * key derivation of four GiB on one slow core ends within its time. */
#define MKFS_TIMEOUT_MSECS       UINT64_C(3600000)
#define GROW_CHECK_TIMEOUT_MSECS UINT64_C(1800000)
#define GROW_CHECK_GRACE_MSECS   UINT64_C(10000)
#define CRYPT_TIMEOUT_MSECS      UINT64_C(300000)

/* mkfs of ext4 keeps bitmaps of what it writes, XFS and btrfs less; measured below 64 MiB for 16
 * TiB. */
#define MKFS_MEMORY_BYTES (UINT64_C(96) << 20)
/* resize2fs holds block bitmaps of the whole. */
#define GROW_MEMORY_BYTES (UINT64_C(128) << 20)

/* A mounted filesystem that is asked whether it answers: a server that is there answers in
 * milliseconds; a busy one may lose a packet or two. */
#define LOOK_TIMEOUT_MSECS UINT64_C(5000)

/* kubelet gives up after two minutes, and calls again. */
#define SHARE_MOUNT_TIMEOUT_MSECS UINT64_C(60000)

/* At the last unmount what is written goes to its disk or its server. */
#define UNMOUNT_TIMEOUT_MSECS UINT64_C(90000)
/* Of what was just mounted, or is dead. */
#define UNMOUNT_UNDO_MSECS UINT64_C(20000)
/* Of a mount whose server does not answer: nothing is waited for but the kernel's own work. */
#define UNMOUNT_FORCE_MSECS UINT64_C(5000)

/* A moment's work each, unless somebody froze the filesystem. */
#define THAW_TIMEOUT_MSECS UINT64_C(3000)
#define GROW_TIMEOUT_MSECS UINT64_C(3000)

/* The provider local: a filesystem frozen for a snapshot; the volumes of a group together; a copy
 * that a create waits for before it says that it goes on. */
#define CUT_FREEZE_MSECS    3000
#define CUT_GROUP_MSECS     20000
#define COPY_WAIT_MAX_MSECS 30000

/* Calls into the kernel that do not return, at the same time: csi/wait/watchdog.h. */
#define WATCHDOG_LATE_MAX 256

#endif
