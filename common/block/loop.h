/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_LOOP_H
#define BERTH_BLOCK_LOOP_H

/*
 * Loop devices. They belong to the whole kernel and not to us: other programs and other containers
 * make them, kubelet holds block volumes with them, and numbers are used again. So a loop device is
 * known by the device and inode of the file behind it, and what is not ours is never touched.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a tag without its NUL: lo_file_name of struct loop_info64. */
#define LOOP_TAG_MAX 63

/* "/dev/loop4294967295" */
#define LOOP_PATH_MAX 24

typedef struct LoopConfig {
        int backing_fd; /* borrowed; open for what is asked */
        uint64_t offset_bytes;
        uint64_t limit_bytes;          /* 0: to the end of the file, and on as it grows */
        uint32_t logical_sector_bytes; /* 0: the kernel's choice */
        bool is_read_only;
        bool wants_direct_io; /* past the page cache where the file's filesystem can; not an error
                                 where it cannot */
        bool is_autoclear;    /* detached when the last user closes it or unmounts */
        bool keeps_blocks;    /* discards are refused, so that the file keeps its blocks */
        const char *tag;      /* words that the device carries; NULL: none */
        /* Numbers that must not be used, whatever the kernel says is free; NULL: none. */
        bool (*is_refused)(void *userdata, unsigned int number);
        void *userdata;
} LoopConfig;

typedef struct LoopStatus {
        uint64_t backing_dev, backing_inode; /* as stat(2) tells of the file */
        uint64_t offset_bytes, limit_bytes;
        bool is_read_only, is_direct_io, is_autoclear, scans_partitions;
        char tag[LOOP_TAG_MAX + 1];
} LoopStatus;

/* "/dev/loop3" */
void loop_path(unsigned int number, char path[LOOP_PATH_MAX]);

/**
 * loop_attach() - a free loop device for a file
 * @numberp: which one
 * @fdp:     open on it; with is_autoclear the device lives as long as this or another use
 *
 * Tries again when somebody else takes the free number first. LOOP_CONFIGURE (Linux 5.8) in one
 * step; before, three steps that are undone when one fails. What the number still has from whoever
 * had it before is set anew, see loop_set_queue().
 *
 * Return: 0; -EBUSY when others were quicker too often; -ENOENT or -ENXIO without a device node;
 * another -errno.
 */
int loop_attach(const LoopConfig *config, unsigned int *numberp, int *fdp);

#define LOOP_E_NONE 1

/* What is attached to an open loop device. Return: 0; LOOP_E_NONE: nothing; -errno. */
int loop_get_status(int fd, LoopStatus *status);

/**
 * loop_set_queue() - what belongs to the number and not to the file
 *
 * BLKROSET, the limit of discards, the read-ahead and a write cache that is said to be none outlive
 * a detach (Linux 6.18): set to what a new device has, but for @keeps_blocks. Written only where it
 * differs. So does BLKTRACESETUP, which needs no privilege and takes as much of the kernel's memory
 * as it is asked for: it ends.
 *
 * Return: 0; -errno when the device stays read-only or goes on discarding.
 */
int loop_set_queue(int fd, bool keeps_blocks);

/* A number without a file whose discards were turned off is made anew, as nothing else turns them
 * on again. In use is fine: loop_attach() does the same. */
void loop_renew(unsigned int number);

/**
 * loop_restore() - give an attached device its whole file again, and a tag
 *
 * LOOP_SET_STATUS64 needs no privilege, so whoever has the device can have set an offset, a limit
 * or another tag.
 *
 * Return: 0; -errno.
 */
int loop_restore(int fd, const char *tag);

/**
 * loop_change_file() - put another file behind a device that is attached read-only
 * @backing_fd: of as many bytes as the one before has now
 *
 * LOOP_CHANGE_FD needs no privilege either: it is how a file that somebody put there goes again.
 *
 * Return: 0; -EINVAL when the sizes differ or the device is not read-only; another -errno.
 */
int loop_change_file(int fd, int backing_fd);

/* Partitions that LO_FLAGS_PARTSCAN made the kernel show go, but for those in use. The flag itself
 * stays until the device is detached (Linux 6.18 clears only LO_FLAGS_AUTOCLEAR). Return: how many
 * went. */
unsigned int loop_drop_partitions(int fd);

/**
 * loop_restore_io() - what LOOP_SET_DIRECT_IO and LOOP_SET_BLOCK_SIZE can have changed
 *
 * They need no privilege either. Set only where it differs; direct I/O as loop_attach() does it.
 *
 * Return: 0; -errno when the sectors stay of another size.
 */
int loop_restore_io(int fd, uint32_t logical_sector_bytes);

/**
 * loop_find() - the loop device of a file
 * @backing_dev, @backing_inode: st_dev and st_ino of the file
 * @hint:    looked at first: where it was the last time; UINT_MAX: none. With it the cost does not
 *           grow with the loop devices of the node
 * @numberp: the lowest number if there are several
 *
 * Return: 0; LOOP_E_NONE; -errno.
 */
int loop_find(uint64_t backing_dev, uint64_t backing_inode, unsigned int hint,
              unsigned int *numberp);

/**
 * loop_is_possible() - whether a loop device may be behind a file, at a cost that does not grow
 * @fd: of the file
 *
 * A loop device holds its file open. The kernel grants a write lease only where nobody but @fd does
 * (fcntl(2), F_SETLEASE), so that a granted one, given back at once, is the proof that there is
 * none. Anybody else who has the file open, and a filesystem without leases, make it possible.
 */
bool loop_is_possible(int fd);

/* Calls @each for every number that has a file, until it returns other than 0. Return: that;
 * -errno. */
int loop_each(int (*each)(void *userdata, unsigned int number), void *userdata);

/* Path of the file behind a number, as the kernel names it from here; it ends in " (deleted)" when
 * it has no name any more. Known also when the file's disk is gone. Return: 0; LOOP_E_NONE;
 * -ENAMETOOLONG. */
int loop_get_path(unsigned int number, char *path, size_t n_path);

/* Takes over a new size of the file, which must be changed before. Return: 0; -errno. */
int loop_set_capacity(int fd);

/* Return: 0; -EINVAL where the file's filesystem cannot. */
int loop_set_direct_io(int fd, bool on);

/* Whether it goes when its last user does; off again, it stays after a loop_detach() that others
 * held up. Return: 0; -ENXIO if nothing is attached (any more). */
int loop_set_autoclear(int fd, bool on);

/**
 * loop_detach() - take the file away from the device
 *
 * While others have it open or mounted, the kernel makes it autoclear instead, and it goes when
 * they do. What was written to the device is in the file first, and the number is left as a new one
 * is, see loop_set_queue(). The caller proves with loop_get_status() on the same descriptor that it
 * is his.
 *
 * Return: 0, also if nothing was attached; -errno.
 */
int loop_detach(int fd);

#endif
