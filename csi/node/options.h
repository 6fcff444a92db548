/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_OPTIONS_H
#define BERTH_CSI_NODE_OPTIONS_H

/*
 * Mount flags of a capability, checked. They come from whoever may write a StorageClass or a
 * PersistentVolume; what would reach another device, a file of the node, or bring the node down is
 * refused by its name. Pure. Values are never in a message: mount flags may hold secrets.
 */

#include "common/mount/mount_options.h"
#include "csi/api/provider.h"

/**
 * options_from_capability() - the flags of a request, with what every volume has
 * @context_words: mount options of the volume context, which are looked at as those of the
 *                 capability are, and may not ask for "suid" or "dev"; NULL: none
 *
 * Everything that a stranger asks for is joined here, and looked at once. Without "suid" or "dev"
 * among them, "nosuid" and "nodev" are added: what a container needs of either it gets from its
 * runtime, not from a volume. A reader-only access mode adds "ro". What skips the recovery after a
 * crash is taken only with "ro".
 *
 * Return: 0; ERROR_INVALID.
 */
int options_from_capability(MountOptions *options, const VolumeCapability *capability,
                            const char *context_words, Error *err);

/**
 * options_check_own() - options that a superblock itself asks for (FsVolume.own_options)
 * @mount: what it is mounted with, options_add_for() included: looked at already. What that sets,
 * too, is not judged, since the kernel takes the mount's word
 * @reads: nothing of it is mounted for writing
 *
 * Held against the same table: a disk may have been a tenant's raw block volume.
 *
 * Return: 0; ERROR_PRECONDITION.
 */
int options_check_own(const char *device, const char *own_options, const MountOptions *mount,
                      bool reads, Error *err);

/* What a filesystem of this type always needs: for ext that an error of its disk turns it
 * read-only; "nouuid" for XFS, where a clone on the node of its origin has the same UUID. */
void options_add_for(MountOptions *options, const char *fs_type);

/* SELinux contexts mean nothing to a kernel without SELinux, which would refuse them: mount(8)
 * leaves them out there. Returns whether there were any. */
bool options_drop_selinux(MountOptions *options);

bool access_mode_is_reader(AccessMode mode);
bool access_mode_is_multi_node_writer(AccessMode mode);

#endif
