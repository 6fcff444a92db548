/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_MARKER_H
#define BERTH_CSI_NODE_MARKER_H

/*
 * "A mkfs of ours runs on this disk, and gives it this UUID": a file in the directory that the
 * volume is to be mounted on, from right before mkfs to right after it. When the process is killed
 * between, the half-made filesystem is no longer blank, and without the marker nobody could ever
 * format it again. The same for a LUKS header.
 *
 * It is believed only if it names the same volume, size, boot and disk sequence number
 * (Linux 5.15): then the disk has not left this kernel since it was proven blank. That another host
 * did not write to it is shown by the UUID: see fs_take_back(). Before a pod gets the disk as a raw
 * block device it goes: job_forget_notes(). At unstage, what the marker is of
 * is taken back before the marker goes. After a reboot, or where there is no such number, a
 * half-made filesystem needs a person.
 */

#include "csi/node/facts.h"
#include "fs/make/mkfs.h"

typedef struct Marker {
        const char *volume_id; /* borrowed */
        uint64_t sequence;     /* of the disk; 0: there is no marker without it */
        uint64_t size_bytes;
        FsClaim claim; /* what is being made */
} Marker;

/* Whether there is a marker in @path for that volume and disk; fills @marker->claim. */
bool marker_read(const NodePath *path, Marker *marker);

/* Whether there is anything that may be a marker: only then it is worth to look for the disk. */
bool marker_exists(const NodePath *path);

/* Whether there is one that names the volume, of whatever disk. */
bool marker_names(const NodePath *path, const char *volume_id);

/* What was being made, by the text of a marker; what does not parse is no kind, and compares as
 * something else. */
void marker_claim_parse(const char *text, FsClaim *claim);

/* Return: 0; -errno. */
int marker_write(const NodePath *path, const Marker *marker);

/* Gone already is done. Return: 0; -errno. */
int marker_remove(const NodePath *path);

#endif
