/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_SHARE_H
#define BERTH_CSI_NODE_SHARE_H

/*
 * Volumes that are no disks: a directory of this node, shown at the target, and filesystems that a
 * server has. A path with a server's filesystem on it is never opened by a thread that a caller
 * waits for: while the server does not answer, that would be for ever. What is mounted there is
 * read from mountinfo, which asks nobody.
 */

#include "common/mount/mountinfo.h"
#include "csi/node/node_internal.h"
#include "csi/share/source.h"

/* Publishes @share, as the provider told it. */
int share_publish(Job *job, const NodePublishRequest *request, const Share *share, Error *err);

/* STEP_MOUNT_SHARE, and its undo. */
int share_mount(Node *node, Work *work, Error *err);
int share_unmount(Node *node, Work *work, Error *err);

/**
 * share_detach() - unmount what servers have mounted at a path, answering or not
 * @path: opened by node_path_open_parent(); what is below is not looked at
 *
 * Return: 0, also if nothing is mounted there, or a filesystem of this node; ERROR_UNAVAILABLE if
 * it is in use.
 */
int share_detach(Node *node, const NodePath *path, Error *err);

#define SHARE_E_LOCAL 1

/**
 * share_stats() - NodeGetVolumeStats of a server's filesystem
 *
 * Return: 0; SHARE_E_LOCAL if what is there is none; ERROR_NOT_FOUND. A server that does not answer
 * is no failure but an abnormal condition.
 */
int share_stats(Node *node, const Call *call, const NodeStatsRequest *request,
                NodeStatsResult *result, Error *err);

/* --- what is mounted, by mountinfo --- */

/* The topmost mount at @path; NULL: none. @tablep: owns it. */
int share_find_mount(const NodePath *path, MountTable **tablep, const Mount **mountp, Error *err);

/* Whether a mount is of @source, or of what the server led that to. */
bool share_is_of(const Node *node, const Mount *mount, const char *source);

#endif
