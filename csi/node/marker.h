/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_MARKER_H
#define BERTH_CSI_NODE_MARKER_H

/*
 * "A mkfs of ours runs on this disk": a file in the directory that the volume is to be mounted on,
 * from right before mkfs to right after it. When the process is killed between, the half-made
 * filesystem is no longer blank, and without the marker nobody could ever format it again.
 *
 * It is believed only if it names the same volume, size, boot and disk sequence number
 * (Linux 5.15): then the disk has not left this kernel since it was proven blank, and nothing but
 * our mkfs wrote to it. After a reboot, or where there is no such number, a half-made filesystem
 * needs a person.
 */

#include "csi/node/facts.h"

/* Whether there is a marker in @path for this device as it is. */
bool marker_is_valid(const NodePath *path, const char *volume_id, const DeviceFacts *device);

/* @sequence: of the disk; 0: nothing is written. Return: 0; -errno. */
int marker_write(const NodePath *path, const char *volume_id, uint64_t sequence,
                 uint64_t size_bytes);

/* Gone already is done. Return: 0; -errno. */
int marker_remove(const NodePath *path);

#endif
