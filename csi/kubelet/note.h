/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_KUBELET_NOTE_H
#define BERTH_CSI_KUBELET_NOTE_H

/* A small file in a staging directory that says what is being done to the volume: marker.h,
 * growing.h. What is at a path that is no directory has none. Others are in directories of their
 * own beside the socket: mapper_note.h, share_note.h. */

#include "csi/kubelet/path.h"

/* Whether there is one that nobody else could have written: ours, a regular file, at most 1 KiB.
 * Fills *@textp, caller frees. */
bool note_read(const NodePath *path, const char *name, char **textp);

/* Return: 0, also at what is no directory; -errno. */
int note_write(const NodePath *path, const char *name, const char *text);

/* Gone already is done; takes along what a note_write() left that was killed. Once it returns, it
 * does not come back after a power cut. Return: 0; -errno. */
int note_remove(const NodePath *path, const char *name);

/* <state directory>/@name, which is root's, and nobody else may write to it. @makes: if it is not
 * there. Return: a descriptor; -ENOENT, also with @state_dir NULL or ""; another -errno. */
int note_open_directory(const char *state_dir, const char *name, bool makes);

#endif
