/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_TIMED_H
#define BERTH_CSI_NODE_TIMED_H

/*
 * What asks the kernel about a mounted filesystem, and may hang there: its server or its disk does
 * not answer, or somebody froze it. It runs on a thread of its own that is waited for only so long
 * (csi/wait/watchdog.h), so that the volume's locks and the caller's thread come free again.
 */

#include "csi/node/node_internal.h"

#include <limits.h>
#include <sys/statvfs.h>

/* Where: the start of what a thread gets. @fd is the thread's, and closed when it is through. */
typedef struct TimedPlace {
        int fd;
        char name[NAME_MAX + 1]; /* in the directory @fd; "": @fd itself */
        int r;                   /* what the work returned */
} TimedPlace;

/**
 * timed_run() - work(data) about a mounted path
 * @what: with @about, names what hangs: "look", "grow"
 * @fd:   of the mount, or of the directory that @name is in; duplicated
 * @data: begins with a TimedPlace, which is filled here; copied for the thread and back
 *
 * Return: what the work returned (>= 0, -errno); -ETIMEDOUT: it is late, or an earlier one is.
 */
int timed_run(const Node *node, const char *what, const char *about, int fd, const char *name,
              int (*work)(void *data), void *data, size_t n_data, uint64_t timeout_msecs);

/* What is one @what with many places that ask for it. */
#define TIMED_LOOK    "look"    /* about a path */
#define TIMED_UNMOUNT "unmount" /* about a path */
#define TIMED_THAW    "thaw"    /* about a path */
#define TIMED_GROW    "grow"    /* about a volume's id */

/* Whether one that was late has not come back. */
bool timed_is_late(const Node *node, const char *what, const char *about);

/* Most that a call waits for something that may take @most_msecs: it answers before its caller's
 * deadline. */
uint64_t timed_left(const Call *call, uint64_t most_msecs);

/**
 * timed_look() - statistics of what is mounted at a path
 *
 * Return: 0; -ETIMEDOUT it does not answer; -ESTALE; another -errno of it.
 */
int timed_look(const Node *node, const NodePath *path, struct statvfs *usage);

/* Sets permission bits of the root. Return: as timed_look(). */
int timed_set_mode(const Node *node, const NodePath *path, unsigned int mode);

/**
 * timed_detach() - umount(2) of the topmost mount at a path
 * @how: MOUNT_DETACH_*
 *
 * At the last unmount of a filesystem what is written goes to its disk or server. One that is late
 * has taken the mount off the path already; timed_is_late(TIMED_UNMOUNT) until it is through, if it
 * was neither lazy nor forced.
 *
 * Return: 0; -ETIMEDOUT; -EBUSY; -EINVAL or -ENOENT nothing is mounted there; another -errno.
 */
int timed_detach(const Node *node, const NodePath *path, unsigned int how, uint64_t timeout_msecs);

/**
 * timed_thaw() - thaw the filesystem at a path, if it is mounted nowhere else in our namespace
 *
 * The kernel keeps a frozen filesystem, and its device, without any mount (Linux 6.18), and whoever
 * froze it has no path to thaw it by then. As long as it is mounted elsewhere it is his.
 *
 * Return: 0: it was frozen; -EINVAL: it was not, or is mounted elsewhere; -ETIMEDOUT, and then the
 * mount is held until timed_is_late(TIMED_THAW) no more; another -errno.
 */
int timed_thaw(const Node *node, const NodePath *path, uint64_t timeout_msecs);

#endif
