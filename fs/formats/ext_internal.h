/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_FORMATS_EXT_INTERNAL_H
#define BERTH_FS_FORMATS_EXT_INTERNAL_H

/* Between ext.c, which reads, and ext_check.c, which has the kernel's rules. */

#include "fs/formats/formats_internal.h"

/* Marks @volume malformed by the first rule that @sb breaks. */
void ext_check(const uint8_t *sb, FsVolume *volume);

/* The first group's descriptor and the inodes that a mount reads, of a superblock that broke no
 * rule. Return: 0; -errno of a failed read. */
int ext_check_inodes(FsSource *source, const uint8_t *sb, FsVolume *volume);

/* The first 256 bytes of an inode, zeros behind a shorter one. Return: 0; FS_E_NONE: its descriptor
 * is not where we look (meta_bg); -ENODATA: no such inode; -errno of a failed read. */
int ext_read_inode(FsSource *source, const uint8_t *sb, uint32_t ino, uint8_t inode[256]);

#endif
